//! Who gets a message, how often, at which QoS and with which flags.

use dunlin::packet::SubscriptionOptions;
use dunlin::router::Ending;
use dunlin::topic::SubscriptionFilter;

use crate::support::{
    Connecting, ONE, TWO, V5, V311, World, ZERO, client, draft, durable, options, router_limits,
    subscription_id,
};

#[test]
fn a_publication_reaches_all_subscribers_and_only_them() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "sport/+", ZERO);
    let b = world.subscriber(Connecting { version: V311, ..client("b") }, "#", ZERO);
    let c = world.subscriber(client("c"), "news/#", ZERO);

    let outcome = world.publish(&c, &draft("sport/golf", "x", ONE));
    world.flush();

    assert_eq!(outcome.takers, 2);
    assert_eq!((outcome.accepted, outcome.refused), (0, 0));
    assert_eq!(a.read(), ["sport/golf:x"]);
    assert_eq!(b.read(), ["sport/golf:x"]);
    assert_eq!(c.read(), [""; 0]);
}

// [MQTT-3.8.4-8]
#[test]
fn delivery_is_at_the_lower_of_published_and_granted_qos() {
    let mut world = World::new();
    let mut peers = Vec::new();
    for (name, qos) in [("zero", ZERO), ("one", ONE), ("two", TWO)] {
        peers.push(world.subscriber(client(name), "t", qos));
    }

    for qos in [ZERO, ONE, TWO] {
        world.publish(&peers[0], &draft("t", "x", qos));
    }
    world.flush();

    assert_eq!(peers[0].read(), ["t:x", "t:x", "t:x"]);
    assert_eq!(peers[1].read(), ["t:x", "t:x q1#1", "t:x q1#2"]);
    assert_eq!(peers[2].read(), ["t:x", "t:x q1#1", "t:x q2#2"]);
}

// [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT3-3.3.5-1]
#[test]
fn overlapping_subscriptions_give_one_copy_at_the_highest_qos_with_all_ids() {
    let mut world = World::new();
    let peer = world.join(client("a"));
    world.subscribe_as(&peer, "t/#", options(ZERO), subscription_id(1));
    world.subscribe_as(&peer, "t/x", options(TWO), subscription_id(2));
    world.subscribe_as(&peer, "+/x", options(ONE), None);
    world.subscribe_as(&peer, "#", options(ONE), subscription_id(2));

    let outcome = world.publish(&peer, &draft("t/x", "v", TWO));
    world.flush();

    assert_eq!(outcome.takers, 1);
    let words = peer.read();
    let mut parts: Vec<_> = words[0].split(' ').collect();
    parts[2..].sort_unstable();
    assert_eq!(words.len(), 1);
    assert_eq!(parts, ["t/x:v", "q2#1", "ids1", "ids2", "ids2"]);
}

#[test]
fn many_subscribers_with_overlapping_filters_get_one_copy_each() {
    const NAMES: [&str; 40] = [
        "00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14",
        "15", "16", "17", "18", "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29",
        "30", "31", "32", "33", "34", "35", "36", "37", "38", "39",
    ];
    let mut world = World::new();
    let peers: Vec<_> = NAMES.into_iter().map(|name| world.join(client(name))).collect();
    for filter in ["t", "#", "+"] {
        for peer in &peers {
            world.subscribe(peer, filter, options(ZERO));
        }
    }

    let outcome = world.publish(&peers[0], &draft("t", "x", ZERO));
    world.flush();

    assert_eq!(outcome.takers, 40);
    for peer in &peers {
        assert_eq!(peer.read(), ["t:x"]);
    }
}

#[test]
fn more_topics_than_a_worker_remembers_reach_whoever_is_subscribed() {
    let mut world = World::new();
    let stays = world.subscriber(client("stays"), "t/+", ZERO);
    let leaves = world.subscriber(client("leaves"), "t/#", ZERO);
    let topics: Vec<_> = (0..5_000).map(|number| format!("t/{number}")).collect();

    let mut read = Vec::new();
    for round in 0..3 {
        for topic in &topics {
            let outcome = world.publish(&stays, &draft(topic, "x", ZERO));
            world.flush();
            read.extend(stays.read());
            assert_eq!(outcome.takers, if round < 2 { 2 } else { 1 }, "{topic}");
        }
        if round == 1 {
            world.farewell(&leaves);
        }
    }

    let expected = topics.iter().map(|topic| format!("{topic}:x"));
    assert!(
        read.iter().eq(&expected
            .clone()
            .chain(expected.clone())
            .chain(expected)
            .collect::<Vec<_>>())
    );
}

// [MQTT-3.8.3-3]
#[test]
fn no_local_keeps_a_message_from_its_own_publisher_alone() {
    let mut world = World::new();
    let no_local = SubscriptionOptions { no_local: true, ..options(ONE) };
    let a = world.join(client("a"));
    let b = world.join(client("b"));
    world.subscribe(&a, "t", no_local);
    world.subscribe(&b, "t", no_local);

    let outcome = world.publish(&a, &draft("t", "x", ONE));
    world.flush();

    assert_eq!(outcome.takers, 1);
    assert_eq!(a.read(), [""; 0]);
    assert_eq!(b.read(), ["t:x q1#1"]);
}

// [MQTT-3.8.3-3]: it belongs to the Subscription, not to the Session.
// In whatever order they were made.
#[test]
fn a_subscription_with_no_local_has_no_part_in_the_own_message() {
    for no_local_first in [true, false] {
        let mut world = World::new();
        let a = world.join(client("a"));
        let no_local = SubscriptionOptions { no_local: true, ..options(TWO) };
        let mut subscriptions = [("t", no_local, 1), ("+", options(ONE), 2), ("#", no_local, 3)];
        if !no_local_first {
            subscriptions.reverse();
            subscriptions.swap(0, 1);
        }
        for (filter, options, id) in subscriptions {
            world.subscribe_as(&a, filter, options, subscription_id(id));
        }
        let b = world.join(client("b"));

        world.publish(&a, &draft("t", "own", TWO));
        world.publish(&b, &draft("t", "other", TWO));
        world.flush();

        let mut read = a.read();
        assert_eq!(read.remove(0), "t:own q1#1 ids2", "{no_local_first}");
        assert!(read[0].starts_with("t:other q2#2"), "{read:?}");
        for id in ["ids1", "ids2", "ids3"] {
            assert!(read[0].contains(id), "{read:?}");
        }
    }
}

#[test]
fn another_subscription_without_no_local_takes_the_own_message() {
    let mut world = World::new();
    let a = world.join(client("a"));
    world.subscribe(&a, "t", SubscriptionOptions { no_local: true, ..options(ZERO) });
    world.subscribe(&a, "#", options(ZERO));

    world.publish(&a, &draft("t", "x", ZERO));
    world.flush();

    assert_eq!(a.read(), ["t:x"]);
}

// [MQTT-3.3.1-12] [MQTT-3.3.1-13]
#[test]
fn retain_as_published_keeps_the_flag() {
    let mut world = World::new();
    let plain = world.subscriber(client("a"), "t", ZERO);
    let as_published = world.join(client("b"));
    let asked = SubscriptionOptions { retain_as_published: true, ..options(ZERO) };
    world.subscribe(&as_published, "t", asked);

    world.publish(&plain, &crate::support::retained("t", "x"));
    world.publish(&plain, &draft("t", "y", ZERO));
    world.flush();

    assert_eq!(plain.read(), ["t:x", "t:y"]);
    assert_eq!(as_published.read(), ["t:x retain", "t:y"]);
}

// [MQTT-3.8.4-3]
#[test]
fn a_replaced_subscription_has_its_new_qos_and_id() {
    let mut world = World::new();
    let a = world.join(client("a"));
    world.subscribe_as(&a, "t", options(TWO), subscription_id(1));
    world.publish(&a, &draft("t", "x", ONE));

    world.subscribe_as(&a, "t", options(ZERO), subscription_id(9));
    world.publish(&a, &draft("t", "y", ONE));
    world.flush();

    assert_eq!(a.read(), ["t:x q1#1 ids1", "t:y ids9"]);
}

// [MQTT-3.10.4-2]
#[test]
fn after_unsubscribe_nothing_comes_any_more() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", ZERO);
    world.publish(&a, &draft("t", "x", ZERO));
    let filter = SubscriptionFilter::parse("t").unwrap();

    let removed = world.router.unsubscribe(&mut world.courier, &a.attachment, &filter).unwrap();

    assert_eq!(removed.result, Ok(true));
    assert_eq!(world.publish(&a, &draft("t", "y", ZERO)).takers, 0);
    world.flush();
    assert_eq!(a.read(), ["t:x"]);
}

#[test]
fn subscriptions_of_a_session_that_ended_deliver_nothing() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", ZERO);
    world.publish(&a, &draft("t", "x", ZERO));
    world.farewell(&a);

    let again = world.join(client("a"));
    let outcome = world.publish(&again, &draft("t", "y", ZERO));
    world.flush();

    assert!(!again.session_present);
    assert_eq!(outcome.takers, 0);
    assert_eq!(again.read(), [""; 0]);
}

// [MQTT-3.1.2-4]
#[test]
fn clean_start_discards_the_session_with_all_it_was_subscribed_to() {
    let mut world = World::new();
    let a = world.subscriber(durable("a"), "t", ONE);
    world.lose(&a);
    world.publish(&a, &draft("t", "queued", ONE));

    let again = world.connect(Connecting { clean_start: true, ..durable("a") });
    let outcome = world.publish(&again, &draft("t", "live", ONE));
    world.flush();

    assert!(!again.session_present);
    assert_eq!(outcome.takers, 0);
    assert_eq!(again.read(), ["connack"]);
    assert_eq!(world.metrics.sessions.value(), 1);
    assert_eq!(world.metrics.amount(|counters| &counters.session_bytes), 0);
}

// [MQTT-3.1.2-5] [MQTT3-3.1.2-5]
#[test]
fn a_durable_session_gets_what_came_while_it_was_away_but_no_qos_0() {
    let mut world = World::new();
    let a = world.subscriber(durable("a"), "t", TWO);
    world.lose(&a);
    for (text, qos) in [("zero", ZERO), ("one", ONE), ("two", TWO)] {
        world.publish(&a, &draft("t", text, qos));
    }

    let again = world.connect(durable("a"));
    world.flush();

    assert_eq!(again.read(), ["connack present", "t:one q1#1", "t:two q2#2"]);
    assert_eq!(world.metrics.total(|counters| &counters.dropped_offline), 1);
}

#[test]
fn a_publisher_is_told_only_if_every_session_that_wanted_it_refused() {
    let mut limits = router_limits();
    limits.session.queue_offline_messages_max = 1;
    let mut world = World::with(limits, dunlin::change::Keeps::Nothing);
    let forgotten = world.subscriber(durable("forgotten"), "t", ONE);
    let publisher = world.join(client("publisher"));
    world.lose(&forgotten);

    assert!(!world.publish(&publisher, &draft("t", "1", ONE)).all_refused());
    assert!(world.publish(&publisher, &draft("t", "2", ONE)).all_refused());
    let _reader = world.subscriber(client("reader"), "t", ONE);
    assert!(!world.publish(&publisher, &draft("t", "3", ONE)).all_refused());

    // A subscriber at QoS 0 is no proof that it was kept.
    assert_eq!(world.metrics.total(|counters| &counters.dropped_queue_full), 2);
}

// [MQTT-3.1.2-25]
#[test]
fn a_message_too_large_for_one_client_reaches_the_others() {
    let mut world = World::new();
    let small = Connecting { maximum_packet_size: 20, ..client("small") };
    let small = world.subscriber(small, "t", ONE);
    let large = world.subscriber(client("large"), "t", ONE);
    let text = "x".repeat(100);

    let outcome = world.publish(&large, &draft("t", &text, ONE));
    world.publish(&large, &draft("t", &text, ZERO));
    world.publish(&large, &draft("t", "y", ONE));
    world.flush();

    assert!(!outcome.all_refused());
    assert_eq!(small.read(), ["t:y q1#1"]);
    assert_eq!(large.read(), ["t:100*x q1#1", "t:100*x", "t:y q1#2"]);
    assert_eq!(world.metrics.total(|counters| &counters.dropped_too_large), 2);
}

// [MQTT-3.3.2-6]
#[test]
fn message_expiry_is_passed_on_to_5_0_and_counted_down_in_the_queue() {
    let mut world = World::new();
    let a = world.subscriber(durable("a"), "t", ONE);
    let b = world.subscriber(Connecting { version: V311, ..durable("b") }, "t", ONE);
    world.lose(&a);
    let expiring = crate::support::Draft { expiry: Some(10), ..draft("t", "x", ONE) };
    world.publish(&b, &expiring);
    world.pass(4);

    let a = world.connect(durable("a"));
    world.flush();

    assert_eq!(a.read(), ["connack present", "t:x q1#1 expiry6"]);
    assert_eq!(b.read(), ["t:x q1#1"]);
}

#[test]
fn a_topic_is_matched_anew_when_a_subscription_changed() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t/1", ZERO);
    for filter in ["t/+", "+/1", "#"] {
        assert_eq!(world.publish(&a, &draft("t/1", "x", ZERO)).takers, 1);
        let b = world.subscriber(client("b"), filter, ZERO);

        assert_eq!(world.publish(&a, &draft("t/1", "x", ZERO)).takers, 2);

        world.farewell(&b);
    }
}

#[test]
fn the_client_itself_is_not_in_its_own_way() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", TWO);

    for _ in 0..10 {
        world.publish(&a, &draft("t", "x", TWO));
    }
    world.flush();

    assert_eq!(a.read().len(), 10);
    assert!(matches!(world.leave(&a, Ending::Lost), dunlin::router::Leave::Left(_)));
}

// [MQTT-3.3.4-3]: encodings are shared between takers, but not for every number of different ones.
#[test]
fn each_of_many_takers_gets_its_own_subscription_identifier_and_the_right_bytes() {
    let mut world = World::new();
    let mut peers = Vec::new();
    for number in 0..100_u32 {
        let name: &'static str = Box::leak(format!("c{number}").into_boxed_str());
        let version = if number % 7 == 6 { V311 } else { V5 };
        let peer = world.join(Connecting { version, ..client(name) });
        // Half of them share an identifier with others, before and behind them.
        let id = if number % 2 == 0 { number + 1 } else { 1_000 + number % 5 };
        let qos = [ZERO, ONE][number as usize / 3 % 2];
        world.subscribe_as(&peer, "t", options(qos), subscription_id(id));
        let flags = if qos == ONE { " q1#" } else { "" };
        peers.push((peer, flags, id));
    }

    let large = "y".repeat(5_000);
    for text in ["small", &large] {
        world.publish(&peers[0].0, &draft("t", text, ONE));
    }
    world.flush();

    for (peer, flags, id) in &peers {
        let mut expected = Vec::new();
        for (number, payload) in [(1, "small"), (2, "5000*y")] {
            let mut word = format!("t:{payload}{flags}");
            word += &if flags.is_empty() { String::new() } else { number.to_string() };
            word += &if peer.version == V311 { String::new() } else { format!(" ids{id}") };
            expected.push(word);
        }
        assert_eq!(peer.read(), expected, "{id}");
    }
}
