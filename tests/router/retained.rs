//! Retained Messages: kept, replaced, removed, limited, and replayed in slices.

use dunlin::change::{Change, Keeps};
use dunlin::message::{Payload, Publication};
use dunlin::packet::{ForwardedProperties, QoS, RetainHandling, SubscriptionOptions};
use dunlin::router::{Flags, Origin, Step};
use dunlin::session::Refusal;
use dunlin::topic::TopicName;

use crate::support::{
    Connecting, Draft, ONE, Peer, World, ZERO, client, draft, durable, publish, retained,
    router_limits, subscription_id,
};

fn always(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { retain_handling: RetainHandling::Always, ..SubscriptionOptions::new(qos) }
}

/// Subscribes and reads what is retained.
fn look(world: &mut World, peer: &Peer, filter: &str) -> Vec<String> {
    world.subscribe(peer, filter, always(ZERO));
    assert_eq!(world.replay(peer), Step::Done);
    world.flush();
    peer.read()
}

fn topics(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("r/{number:04}")).collect()
}

// [MQTT-3.3.1-5] [MQTT-3.3.1-8]
#[test]
fn the_last_retained_message_of_a_topic_is_kept() {
    let mut world = World::new();
    let a = world.join(client("a"));
    world.publish(&a, &retained("r", "old"));
    world.publish(&a, &retained("r", "new"));
    world.publish(&a, &draft("r", "passing", ZERO));

    assert_eq!(look(&mut world, &a, "r"), ["r:new retain"]);
    assert_eq!(world.metrics.retained_messages.value(), 1);
}

// [MQTT-3.3.1-6] [MQTT-3.3.1-7]
#[test]
fn an_empty_payload_removes_it_and_is_handed_on() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "r", ZERO);
    world.publish(&a, &retained("r", "x"));

    world.publish(&a, &retained("r", ""));
    world.flush();

    assert_eq!(a.read(), ["r:x", "r:"]);
    assert_eq!(look(&mut world, &a, "r"), [""; 0]);
    assert_eq!(world.metrics.retained_messages.value(), 0);
    assert_eq!(world.metrics.retained_bytes.value(), 0);
}

// [MQTT3-3.1.2.7]
#[test]
fn it_outlives_the_session_of_its_publisher() {
    let mut world = World::new();
    let a = world.join(client("a"));
    world.publish(&a, &retained("r", "x"));
    world.farewell(&a);

    let b = world.join(client("b"));
    assert_eq!(look(&mut world, &b, "#"), ["r:x retain"]);
}

#[test]
fn replay_has_the_lower_qos_and_the_subscription_id() {
    let mut world = World::new();
    let a = world.join(client("a"));
    world.publish(&a, &Draft { retain: true, ..draft("r/1", "one", ONE) });
    world.publish(&a, &retained("r/0", "zero"));

    world.subscribe_as(&a, "r/#", always(QoS::ExactlyOnce), subscription_id(4));
    world.replay(&a);
    world.flush();

    let mut words = a.read();
    words.sort_unstable();
    assert_eq!(words, ["r/0:zero retain ids4", "r/1:one q1#1 retain ids4"]);
}

#[test]
fn at_the_limits_a_publisher_that_can_be_told_is_refused_and_nobody_gets_it() {
    let mut limits = router_limits();
    limits.retained.messages_max = 2;
    let mut world = World::with(limits, Keeps::Nothing);
    let a = world.subscriber(client("a"), "#", ZERO);
    world.publish(&a, &retained("1", "x"));
    world.publish(&a, &retained("2", "x"));

    let refused = world.try_publish(&a, &retained("3", "x"));

    assert_eq!(refused.unwrap_err(), Refusal::RetainedFull);
    world.publish(&a, &retained("2", "replaced"));
    world.publish(&a, &retained("1", ""));
    world.publish(&a, &retained("3", "fits now"));
    world.flush();
    assert_eq!(a.read(), ["1:x", "2:x", "2:replaced", "1:", "3:fits now"]);
    assert_eq!(world.metrics.total(|counters| &counters.retained_refused), 1);
}

#[test]
fn at_the_limits_one_that_cannot_be_told_is_delivered_but_not_retained() {
    let mut limits = router_limits();
    limits.retained.bytes_max = 100;
    let mut world = World::with(limits, Keeps::Nothing);
    let a = world.subscriber(client("a"), "#", ZERO);

    let origin = Origin::Unrefusable(&a.attachment);
    publish(&world.router, &mut world.courier, origin, &retained("r", "x")).unwrap();
    world.flush();

    assert_eq!(a.read(), ["r:x"]);
    assert_eq!(world.metrics.retained_messages.value(), 0);
    assert_eq!(world.metrics.total(|counters| &counters.retained_refused), 1);
}

// [MQTT-3.3.2-5] [MQTT-3.3.2-6]
#[test]
fn an_expired_one_is_not_replayed() {
    let mut world = World::new();
    let a = world.join(client("a"));
    world.publish(&a, &Draft { expiry: Some(10), ..retained("r", "x") });

    world.pass(4);
    assert_eq!(look(&mut world, &a, "r"), ["r:x retain expiry6"]);
    world.pass(6);
    assert_eq!(look(&mut world, &a, "r"), [""; 0]);
}

#[test]
fn a_thousand_topics_come_in_slices_each_once() {
    let mut world = World::new();
    let a = world.join(client("a"));
    for topic in topics(1_000) {
        world.publish(&a, &retained(&topic, "v1"));
    }
    world.subscribe(&a, "r/+", always(ZERO));

    let mut slices = 0;
    while world.router.replay(&mut world.courier, &a.attachment) == Step::More {
        slices += 1;
        world.flush();
    }
    world.flush();

    let mut words = a.read();
    words.sort_unstable();
    let expected: Vec<_> = topics(1_000).iter().map(|topic| format!("{topic}:v1 retain")).collect();
    assert_eq!(words, expected);
    assert!((3..10).contains(&slices), "{slices}");
}

#[test]
fn subscriptions_that_find_nothing_share_a_slice() {
    let mut world = World::new();
    let a = world.join(client("a"));
    world.publish(&a, &retained("last", "v1"));
    for topic in topics(99) {
        world.subscribe(&a, &topic, always(ZERO));
    }
    world.subscribe(&a, "last", always(ZERO));

    let mut slices = 0;
    while world.router.replay(&mut world.courier, &a.attachment) == Step::More {
        slices += 1;
    }
    world.flush();

    assert_eq!(a.read(), ["last:v1 retain"]);
    assert_eq!(slices, 6);
}

#[test]
fn live_updates_between_slices_never_come_before_an_older_value() {
    for live in [ZERO, ONE] {
        let mut world = World::new();
        let a = world.join(client("a"));
        let publisher = world.join(client("publisher"));
        let topics = topics(1_000);
        for topic in &topics {
            world.publish(&publisher, &retained(topic, "1"));
        }
        world.subscribe(&a, "r/+", always(ONE));

        let mut version = 1;
        let mut stream = Vec::new();
        loop {
            let step = world.router.replay(&mut world.courier, &a.attachment);
            if step == Step::Done {
                break;
            }
            if version < 8 {
                version += 1;
                let text = version.to_string();
                for topic in topics.iter().step_by(7) {
                    let update = Draft { retain: true, ..draft(topic, &text, live) };
                    world.publish(&publisher, &update);
                }
            }
            world.flush();
            for word in a.read() {
                acknowledge(&mut world, &a, &word);
                stream.push(word);
            }
        }
        world.flush();
        stream.extend(a.read());

        for topic in &topics {
            let values = values(&stream, topic);
            assert!(values.is_sorted(), "{topic}: {values:?}");
            let newest =
                if topics.iter().step_by(7).any(|other| other == topic) { version } else { 1 };
            assert_eq!(values.last(), Some(&newest), "{topic}");
        }
    }
}

fn acknowledge(world: &mut World, peer: &Peer, word: &str) {
    if let Some((_, rest)) = word.split_once(" q1#") {
        let id = rest.split(' ').next().unwrap().parse().unwrap();
        world.puback(peer, id);
    }
}

/// The values of one topic in the order they came.
fn values(stream: &[String], topic: &str) -> Vec<i32> {
    let of_topic = stream.iter().filter_map(|word| word.strip_prefix(topic)?.strip_prefix(':'));
    of_topic.map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect()
}

// The older value waits for the window, the newer one needs none.
#[test]
fn a_live_qos_0_update_does_not_overtake_a_retained_value_that_waits_for_the_window() {
    let mut world = World::new();
    let a = world.join(Connecting { receive_maximum: 1, ..client("a") });
    for topic in ["r/1", "r/2"] {
        world.publish(&a, &Draft { retain: true, ..draft(topic, "1", ONE) });
    }
    world.subscribe(&a, "r/+", always(ONE));
    world.replay(&a);
    world.flush();
    let mut stream = a.read();
    assert_eq!(stream.len(), 1);

    for topic in ["r/1", "r/2"] {
        world.publish(&a, &retained(topic, "2"));
    }
    for value in 1..=2 {
        world.puback(&a, value);
        world.replay(&a);
        world.flush();
        stream.extend(a.read());
    }

    for topic in ["r/1", "r/2"] {
        let values = values(&stream, topic);
        assert!(values.is_sorted(), "{topic}: {values:?} in {stream:?}");
        assert_eq!(values.last(), Some(&2));
    }
}

#[test]
fn a_replay_waits_while_the_client_does_not_read_and_holds_nobody_up() {
    let mut limits = router_limits();
    limits.outbound.soft_bytes_max = 4_000;
    let mut world = World::with(limits, Keeps::Nothing);
    let slow = world.join(client("slow"));
    let quick = world.subscriber(client("quick"), "t", ZERO);
    for topic in topics(1_000) {
        world.publish(&quick, &retained(&topic, "v1"));
    }
    slow.wire.set_room(0);
    world.subscribe(&slow, "r/+", always(ZERO));

    assert_eq!(world.replay(&slow), Step::Wait);
    world.flush();
    world.publish(&quick, &draft("t", "x", ZERO));
    world.flush();
    assert_eq!(quick.read(), ["t:x"]);

    let mut got = 0;
    loop {
        slow.signal.take();
        slow.wire.set_room(usize::MAX);
        world.unblock(&slow);
        world.flush();
        got += slow.read().len();
        if world.replay(&slow) == Step::Done {
            break;
        }
        world.flush();
        assert!(slow.raised(Flags::DRAINED), "nobody would go on");
    }
    world.flush();
    got += slow.read().len();
    assert_eq!(got, 1_000);
    assert_eq!(world.metrics.total(|counters| &counters.dropped_outbound_full), 0);
}

#[test]
fn a_slice_of_large_messages_ends_early() {
    let mut world = World::new();
    let a = world.join(client("a"));
    let text = "x".repeat(50_000);
    for topic in topics(20) {
        world.publish(&a, &retained(&topic, &text));
    }
    world.subscribe(&a, "r/+", always(ZERO));

    world.router.replay(&mut world.courier, &a.attachment);

    assert!(world.metrics.amount(|counters| &counters.outbound_bytes) < 200_000);
    let mut got = 0;
    loop {
        world.flush();
        got += a.read().len();
        if world.router.replay(&mut world.courier, &a.attachment) == Step::Done {
            break;
        }
    }
    world.flush();
    assert_eq!(got + a.read().len(), 20);
}

#[test]
fn a_qos_1_replay_goes_on_as_the_client_acknowledges() {
    let mut world = World::new();
    let a = world.join(Connecting { receive_maximum: 10, ..client("a") });
    for topic in topics(600) {
        world.publish(&a, &Draft { retain: true, ..draft(&topic, "v", ONE) });
    }
    world.subscribe(&a, "r/+", always(ONE));

    let mut got = Vec::new();
    loop {
        let step = world.replay(&a);
        world.flush();
        let words = a.read();
        if words.is_empty() && step == Step::Done {
            break;
        }
        for word in words {
            acknowledge(&mut world, &a, &word);
            got.push(word.split(':').next().unwrap().to_owned());
        }
    }

    got.sort_unstable();
    assert_eq!(got, topics(600));
    assert_eq!(world.metrics.amount(|counters| &counters.session_bytes), 0);
}

#[test]
fn a_durable_session_goes_on_with_its_replay_after_a_reconnect() {
    let mut world = World::new();
    let a = world.join(durable("a"));
    for topic in topics(600) {
        world.publish(&a, &retained(&topic, "v"));
    }
    world.subscribe(&a, "r/+", always(ZERO));
    world.router.replay(&mut world.courier, &a.attachment);
    world.flush();
    let first = a.read().len();
    assert!(first < 600);
    world.lose(&a);

    let again = world.connect(durable("a"));
    assert!(again.replaying);
    assert_eq!(world.replay(&again), Step::Done);
    world.flush();

    // One more for the CONNACK.
    assert_eq!(first + again.read().len(), 600 + 1);
}

#[test]
fn retained_updates_are_kept_before_they_are_answered() {
    let mut world = World::with(router_limits(), Keeps::Changes);
    let a = world.join(client("a"));

    world.publish_and_answer(&a, 1, &Draft { retain: true, ..draft("r", "x", ONE) });
    world.publish_and_answer(&a, 2, &Draft { retain: true, ..draft("r", "", ONE) });
    world.flush();
    assert_eq!(a.read(), [""; 0]);
    let put = world.journal.number_of(|change| matches!(change, Change::Retained { .. }));
    let removed =
        world.journal.number_of(|change| matches!(change, Change::RetainedRemoved { .. }));
    assert!(put < removed);

    world.journal.keep_up_to(put);
    world.release(&a);
    assert_eq!(a.read(), ["puback 1"]);
    world.journal.keep_up_to(removed);
    world.release(&a);
    assert_eq!(a.read(), ["puback 2"]);
}

#[test]
fn removing_what_is_not_there_changes_nothing() {
    let mut world = World::with(router_limits(), Keeps::Changes);
    let a = world.join(client("a"));
    let before = world.journal.submitted();

    world.publish(&a, &retained("r", ""));

    assert_eq!(world.journal.submitted(), before);
}

// 5.0 s3.3.1.3: a Retained Message is discarded when its Message Expiry Interval has passed.
#[test]
fn an_expired_one_takes_no_place_whatever_its_topic() {
    for topic in ["r", "r/1", "$r", "$r/1"] {
        let mut limits = router_limits();
        limits.retained.messages_max = 1;
        let mut world = World::with(limits, Keeps::Changes);
        let a = world.join(client("a"));
        world.publish(&a, &Draft { expiry: Some(10), ..retained(topic, "x") });

        world.pass(9);
        world.run_schedule();
        let early = world.try_publish(&a, &retained("other", "y"));
        world.pass(1);
        // Each goes on where the one before ended, here behind the only name.
        world.run_schedule();
        world.run_schedule();
        let late = world.try_publish(&a, &retained("other", "y"));

        assert_eq!(early.unwrap_err(), Refusal::RetainedFull, "{topic}");
        assert!(late.is_ok(), "{topic}");
        assert_eq!(world.metrics.retained_messages.value(), 1, "{topic}");
        // Also a restart does not bring it back.
        let gone = |change: &Change| matches!(change, Change::RetainedRemoved { topic: gone } if gone.as_str() == topic);
        world.journal.number_of(gone);
    }
}

#[test]
fn of_many_only_the_expired_ones_are_discarded() {
    let mut world = World::new();
    let a = world.join(client("a"));
    let topics = topics(10_000);
    for (number, topic) in topics.iter().enumerate() {
        let expiry = (number % 2 == 0).then_some(10);
        world.publish(&a, &Draft { expiry, ..retained(topic, "x") });
    }
    // One that was replaced meanwhile by one that stays.
    world.publish(&a, &retained(&topics[0], "new"));

    world.pass(10);
    // Each call looks at a part.
    for _ in 0..10 {
        world.run_schedule();
    }

    assert_eq!(world.metrics.retained_messages.value(), 5_001);
    assert_eq!(look(&mut world, &a, &topics[0]), ["r/0000:new retain"]);
    assert_eq!(look(&mut world, &a, &topics[2]), [""; 0]);
}

// A slice is one turn of a worker and one piece of memory: what the properties take counts too.
#[test]
fn a_slice_of_messages_with_large_properties_ends_early() {
    const MESSAGES: usize = 64;
    let mut world = World::new();
    let a = world.join(client("a"));
    let properties = ForwardedProperties::from_bytes(&user_properties(4, 60_000)).unwrap();
    for topic in topics(MESSAGES) {
        let topic = TopicName::parse(&topic).unwrap();
        let publication = Publication {
            topic: &topic,
            payload: Payload::Borrowed(b"x"),
            qos: ZERO,
            retain: true,
            properties: properties.as_view(),
            expiry: None,
            as_it_came: None,
        };
        let origin = Origin::Refusable(&a.attachment);
        world.router.publish(&mut world.courier, &publication, origin).unwrap();
    }
    a.wire.set_room(0);
    world.subscribe(&a, "r/+", always(ZERO));

    world.router.replay(&mut world.courier, &a.attachment);

    assert!(world.metrics.amount(|counters| &counters.outbound_bytes) < 1024 * 1024);
    let mut got = 0;
    a.wire.set_room(usize::MAX);
    loop {
        world.unblock(&a);
        world.flush();
        got += a.read().len();
        if world.router.replay(&mut world.courier, &a.attachment) == Step::Done {
            break;
        }
    }
    world.flush();
    assert_eq!(got + a.read().len(), MESSAGES);
}

/// So many User Properties with values of so many bytes, as they are sent.
fn user_properties(count: usize, value_bytes: u16) -> Vec<u8> {
    let mut one = vec![0x26, 0, 1, b'k'];
    one.extend(value_bytes.to_be_bytes());
    one.extend(std::iter::repeat_n(b'v', usize::from(value_bytes)));
    one.repeat(count)
}
