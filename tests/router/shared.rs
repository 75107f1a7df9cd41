//! Shared Subscriptions: one member gets each message, and none is parked at a member that is gone.

use std::cell::Cell;

use dunlin::change::{Change, Keeps};
use dunlin::packet::{PacketId, ReasonCode};
use dunlin::router::{Acknowledged, RouterLimits, Strategy};
use dunlin::session::QueueWhenFull;

use crate::support::{
    Connecting, ONE, Peer, TWO, V5, V311, World, ZERO, client, draft, durable, id, options,
    router_limits, subscription_id,
};

const GROUP: &str = "$share/g/a/+";

fn world(strategy: Strategy) -> World {
    World::with(RouterLimits { sharing: strategy, ..router_limits() }, Keeps::Nothing)
}

fn names(count: usize) -> [&'static str; 4] {
    assert!(count <= 4);
    ["m1", "m2", "m3", "m4"]
}

/// So many members that are ready to read.
fn members(world: &mut World, count: usize) -> Vec<Peer> {
    let names = names(count).into_iter().take(count);
    names.map(|name| world.subscriber(client(name), GROUP, TWO)).collect()
}

/// Publishes numbers and flushes.
fn publish(world: &mut World, publisher: &Peer, numbers: std::ops::Range<u32>) {
    for number in numbers {
        world.publish(publisher, &draft("a/b", &number.to_string(), ONE));
    }
    world.flush();
}

/// The Packet Identifier of a PUBLISH in words.
fn packet_id(word: &str) -> PacketId {
    let (_, rest) = word.split_once('#').unwrap();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    id(digits.parse().unwrap())
}

/// Reads, acknowledges all, and gives the payloads.
fn read_all(world: &mut World, peer: &Peer) -> Vec<String> {
    let mut payloads = Vec::new();
    loop {
        world.flush();
        let words = peer.read();
        if words.is_empty() {
            return payloads;
        }
        for word in words.iter().filter(|word| word.contains(':')) {
            let payload = word.split_once(':').unwrap().1.split(' ').next().unwrap().to_owned();
            if word.contains('#') {
                let id = packet_id(word);
                world.acknowledge(peer, Acknowledged::PubAck(id));
            }
            payloads.push(payload);
        }
    }
}

fn dropped_ended(world: &World) -> u64 {
    world.metrics.total(|counters| &counters.dropped_ended)
}

fn held_bytes(world: &World) -> i64 {
    world.metrics.amount(|counters| &counters.session_bytes)
}

fn narrow(client_id: &'static str) -> Connecting {
    Connecting { receive_maximum: 1, ..client(client_id) }
}

// 5.0 s4.8.2
#[test]
fn each_message_goes_to_one_member() {
    for qos in [ZERO, ONE, TWO] {
        let mut world = World::new();
        let publisher = world.join(client("publisher"));
        let members = members(&mut world, 3);

        for number in 0..30 {
            let outcome = world.publish(&publisher, &draft("a/b", &number.to_string(), qos));
            assert_eq!(outcome.takers, 1);
        }
        world.flush();

        let got: Vec<usize> = members.iter().map(|member| member.read().len()).collect();
        assert_eq!(got, [10, 10, 10], "{qos:?}");
    }
}

#[test]
fn clients_of_every_version_share() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let one = world.subscriber(Connecting { version: V311, ..client("one") }, GROUP, ONE);
    let other = world.subscriber(Connecting { version: V5, ..client("other") }, GROUP, ONE);

    publish(&mut world, &publisher, 0..2);

    assert_eq!((one.read().len(), other.read().len()), (1, 1));
}

#[test]
fn a_group_and_a_subscription_of_ones_own_are_two_subscriptions() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let member = world.subscriber(client("member"), "a/b", ONE);
    world.subscribe_as(&member, GROUP, options(ONE), subscription_id(7));
    world.subscribe_as(&member, "$share/h/a/#", options(ZERO), subscription_id(8));

    let outcome = world.publish(&publisher, &draft("a/b", "x", ONE));
    world.flush();

    assert_eq!(outcome.takers, 3);
    let mut words = member.read();
    words.sort_unstable();
    assert_eq!(words, ["a/b:x ids8", "a/b:x q1#1", "a/b:x q1#2 ids7"]);
}

// 5.0 s4.8.2: in every version.
#[test]
fn a_group_gets_no_retained_messages() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    world.publish(&publisher, &crate::support::retained("a/b", "old"));
    let member = world.join(client("member"));

    let always = dunlin::packet::SubscriptionOptions::new(ONE);
    world.subscribe(&member, GROUP, always);
    world.replay(&member);
    world.flush();

    assert!(member.read().is_empty());
}

#[test]
fn who_has_the_fewest_unacknowledged_messages_is_asked_first() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let members = members(&mut world, 2);
    publish(&mut world, &publisher, 0..4);
    let quick = members[0].read();
    for word in &quick {
        world.acknowledge(&members[0], Acknowledged::PubAck(packet_id(word)));
    }

    publish(&mut world, &publisher, 4..6);

    assert_eq!((members[0].read().len(), members[1].read().len()), (2, 2));
}

#[test]
fn a_full_member_is_passed_over_and_the_rest_waits_in_the_group() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let narrow = world.subscriber(narrow("narrow"), GROUP, ONE);
    let wide = world.subscriber(Connecting { receive_maximum: 2, ..client("wide") }, GROUP, ONE);

    publish(&mut world, &publisher, 0..6);

    assert_eq!(world.router.groups()[0].waiting, 3);
    let (first, others) = (narrow.read(), wide.read());
    assert_eq!((first.len(), others.len()), (1, 2));
    // Who acknowledges gets what waits longest.
    world.acknowledge(&wide, Acknowledged::PubAck(packet_id(&others[0])));
    world.flush();
    assert!(wide.read()[0].starts_with("a/b:3 "));
    assert_eq!(world.router.groups()[0].waiting, 2);
}

#[test]
fn what_waits_in_a_group_is_sent_before_what_comes_later() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let member = world.subscriber(narrow("member"), GROUP, ONE);

    publish(&mut world, &publisher, 0..9);

    let expected: Vec<String> = (0..9).map(|number| number.to_string()).collect();
    assert_eq!(read_all(&mut world, &member), expected);
    assert_eq!(held_bytes(&world), 0);
}

// 5.0 s4.8.2: at once, not when the client comes back.
#[test]
fn what_a_lost_member_did_not_acknowledge_goes_to_another() {
    for session in [client("lost"), durable("lost")] {
        let mut world = World::new();
        let publisher = world.join(client("publisher"));
        let lost = world.subscriber(session, GROUP, ONE);
        let other = world.subscriber(client("other"), GROUP, ONE);
        publish(&mut world, &publisher, 0..10);

        world.lose(&lost);

        let mut got = read_all(&mut world, &other);
        got.sort_by_key(|payload| payload.parse::<u32>().unwrap());
        let expected: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        assert_eq!(got, expected);
        assert_eq!((held_bytes(&world), dropped_ended(&world)), (0, 0));
    }
}

#[test]
fn a_takeover_hands_over_too() {
    for clean_start in [false, true] {
        let mut world = World::new();
        let publisher = world.join(client("publisher"));
        let old = world.subscriber(durable("member"), GROUP, ONE);
        publish(&mut world, &publisher, 0..3);
        let other = world.subscriber(client("other"), GROUP, ONE);

        let new = world.connect(Connecting { clean_start, ..durable("member") });

        assert_eq!(old.read().len(), 3 + 1, "three messages and a DISCONNECT");
        let mut got = read_all(&mut world, &other);
        got.extend(read_all(&mut world, &new));
        got.sort_unstable();
        assert_eq!(got, ["0", "1", "2"]);
    }
}

#[test]
fn what_a_takeover_hands_back_comes_before_what_waited_behind_it() {
    let mut world = world(Strategy::HashTopic);
    let publisher = world.join(client("publisher"));
    let two = || Connecting { receive_maximum: 2, ..durable("member") };
    world.subscriber(two(), GROUP, ONE);
    publish(&mut world, &publisher, 0..6);

    let new = world.connect(two());

    assert_eq!(read_all(&mut world, &new), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(held_bytes(&world), 0);
}

// [MQTT-4.8.2-4] [MQTT-4.8.2-5]
#[test]
fn a_qos_2_message_stays_with_the_member_it_was_sent_to() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let member = world.subscriber(durable("member"), GROUP, TWO);
    world.publish(&publisher, &draft("a/b", "x", TWO));
    world.flush();
    assert_eq!(member.read(), ["a/b:x q2#1"]);
    let other = world.subscriber(client("other"), GROUP, TWO);

    world.lose(&member);
    world.flush();
    assert!(other.read().is_empty());
    let again = world.connect(durable("member"));
    world.flush();

    assert_eq!(again.read(), ["connack present", "a/b:x q2#1 dup"]);
    let gone = world.join(Connecting { clean_start: true, ..durable("member") });
    world.flush();
    assert!(other.read().is_empty() && gone.read().is_empty());
    assert_eq!(dropped_ended(&world), 1);
}

// [MQTT-4.8.2-6]
#[test]
fn a_message_that_a_member_refused_is_over() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let member = world.subscriber(client("member"), GROUP, TWO);
    world.publish(&publisher, &draft("a/b", "x", TWO));
    world.flush();
    let other = world.subscriber(client("other"), GROUP, TWO);

    let refused = Acknowledged::PubRec(id(1), ReasonCode::UnspecifiedError);
    world.acknowledge(&member, refused);
    world.lose(&member);
    world.flush();

    assert!(other.read().is_empty());
    assert_eq!(held_bytes(&world), 0);
}

#[test]
fn a_group_with_a_lasting_member_keeps_messages_while_all_are_away() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let lasting = world.subscriber(durable("lasting"), GROUP, ONE);
    let fleeting = world.subscriber(client("fleeting"), GROUP, ONE);
    world.lose(&lasting);
    world.lose(&fleeting);
    assert_eq!(world.router.groups()[0].members, 1);

    publish(&mut world, &publisher, 0..5);
    let offline = world.publish(&publisher, &draft("a/b", "zero", ZERO));

    assert_eq!(offline.takers, 1);
    let status = world.router.groups().remove(0);
    assert_eq!((status.connected, status.waiting), (0, 5));
    // Any member gets it, also one that was not there.
    let newcomer = world.subscriber(client("newcomer"), GROUP, ONE);
    assert_eq!(read_all(&mut world, &newcomer), ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_lasting_member_that_comes_back_gets_what_waited() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let member = world.subscriber(durable("member"), GROUP, ONE);
    world.lose(&member);
    publish(&mut world, &publisher, 0..3);

    let member = world.connect(durable("member"));
    world.flush();

    let words = member.read();
    assert_eq!(words, ["connack present", "a/b:0 q1#1", "a/b:1 q1#2", "a/b:2 q1#3"]);
}

#[test]
fn the_queue_of_a_group_is_limited_like_that_of_a_session() {
    let mut limits = router_limits();
    limits.session.queue_offline_messages_max = 3;
    let mut world = World::with(limits, Keeps::Nothing);
    let publisher = world.join(client("publisher"));
    let member = world.subscriber(durable("member"), GROUP, ONE);
    world.lose(&member);
    publish(&mut world, &publisher, 0..3);

    let outcome = world.publish(&publisher, &draft("a/b", "3", ONE));

    assert!(outcome.all_refused());
    assert_eq!(world.metrics.total(|counters| &counters.dropped_queue_full), 1);
    assert_eq!(world.router.groups()[0].waiting, 3);
}

#[test]
fn the_oldest_messages_of_a_full_group_make_room_if_they_are_to() {
    for strategy in [Strategy::LeastInflight, Strategy::HashTopic] {
        let mut limits = RouterLimits { sharing: strategy, ..router_limits() };
        limits.session.queue_offline_messages_max = 3;
        limits.session.queue_when_full = QueueWhenFull::DropOldest;
        let mut world = World::with(limits, Keeps::Nothing);
        let publisher = world.join(client("publisher"));
        let member = world.subscriber(durable("member"), GROUP, ONE);
        world.lose(&member);

        for number in 0..5 {
            let topic = format!("a/{number}");
            let outcome = world.publish(&publisher, &draft(&topic, &number.to_string(), ONE));
            assert!(!outcome.all_refused());
        }

        let member = world.connect(durable("member"));
        assert_eq!(read_all(&mut world, &member), ["2", "3", "4"]);
        assert_eq!(world.metrics.total(|counters| &counters.dropped_queue_full), 2);
        assert_eq!(held_bytes(&world), 0);
    }
}

#[test]
fn a_group_that_loses_its_last_member_drops_and_counts_what_it_owed() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let member = world.subscriber(narrow("member"), GROUP, ONE);
    publish(&mut world, &publisher, 0..5);

    world.lose(&member);

    assert!(world.router.groups().is_empty());
    assert_eq!((dropped_ended(&world), held_bytes(&world)), (5, 0));
    assert_eq!(world.publish(&publisher, &draft("a/b", "x", ONE)).takers, 0);
}

// [MQTT-3.10.4-3]
#[test]
fn a_member_that_unsubscribes_finishes_what_it_has() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let leaver = world.subscriber(client("leaver"), GROUP, ONE);
    publish(&mut world, &publisher, 0..2);
    let other = world.subscriber(client("other"), GROUP, ONE);

    let filter = dunlin::topic::SubscriptionFilter::parse(GROUP).unwrap();
    let removed =
        world.router.unsubscribe(&mut world.courier, &leaver.attachment, &filter).unwrap();
    assert_eq!(removed.result, Ok(true));
    publish(&mut world, &publisher, 2..4);
    assert_eq!((leaver.read().len(), other.read().len()), (2, 2));
    world.puback(&leaver, 1);
    // One it acknowledged, one it did not.
    world.lose(&leaver);
    world.flush();

    assert_eq!(other.read(), ["a/b:1 q1#3"]);
}

#[test]
fn expired_messages_leave_the_queue_of_a_group_uncounted_by_anybody_else() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let member = world.subscriber(durable("member"), GROUP, ONE);
    world.lose(&member);
    let brief = crate::support::Draft { expiry: Some(2), ..draft("a/b", "brief", ONE) };
    world.publish(&publisher, &brief);
    world.publish(&publisher, &draft("a/b", "lasting", ONE));
    world.pass(3);

    let member = world.connect(durable("member"));
    world.flush();

    assert_eq!(member.read(), ["connack present", "a/b:lasting q1#1"]);
    assert_eq!(world.metrics.total(|counters| &counters.dropped_expired), 1);
    assert_eq!(read_all(&mut world, &member), [""; 0]);
}

#[test]
fn a_message_too_large_for_one_member_goes_to_another() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let small = Connecting { maximum_packet_size: 40, ..client("small") };
    let small = world.subscriber(small, GROUP, ONE);
    let large = world.subscriber(client("large"), GROUP, ONE);
    let payload = "x".repeat(100);

    for _ in 0..4 {
        world.publish(&publisher, &draft("a/b", &payload, ONE));
        world.publish(&publisher, &draft("a/b", &payload, ZERO));
    }
    world.flush();

    assert_eq!((small.read().len(), large.read().len()), (0, 8));
    world.lose(&large);
    world.publish(&publisher, &draft("a/b", &payload, ONE));
    assert_eq!(world.metrics.total(|counters| &counters.dropped_too_large), 5);
}

#[test]
fn hashing_keeps_each_topic_with_one_member_and_in_order() {
    let mut world = world(Strategy::HashTopic);
    let publisher = world.join(client("publisher"));
    let mut all = members(&mut world, 4);
    for number in 0..60 {
        let topic = format!("a/{}", number % 20);
        world.publish(&publisher, &draft(&topic, &number.to_string(), ONE));
    }
    world.flush();

    let mut takers = 0;
    for member in &mut all {
        let topics: Vec<String> =
            member.read().iter().map(|word| word.split(':').next().unwrap().to_owned()).collect();
        let mut distinct = topics.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(topics.len(), distinct.len() * 3, "a topic went to two members");
        takers += usize::from(!topics.is_empty());
    }
    assert!(takers > 1);
}

#[test]
fn a_key_whose_member_left_goes_on_in_order_at_another() {
    for strategy in [Strategy::HashTopic, Strategy::HashPublisher, Strategy::Sticky] {
        let mut world = world(strategy);
        let publisher = world.join(client("publisher"));
        let all = members(&mut world, 2);
        publish(&mut world, &publisher, 0..5);
        let first = all.iter().position(|member| member.read().len() == 5).unwrap();

        world.lose(&all[first]);
        publish(&mut world, &publisher, 5..8);

        let got = read_all(&mut world, &all[1 - first]);
        assert_eq!(got, ["0", "1", "2", "3", "4", "5", "6", "7"], "{strategy:?}");
    }
}

#[test]
fn a_full_owner_is_waited_for() {
    for strategy in [Strategy::HashTopic, Strategy::HashPublisher, Strategy::Sticky] {
        let mut world = world(strategy);
        let publisher = world.join(client("publisher"));
        let one = world.subscriber(narrow("one"), GROUP, ONE);
        let other = world.subscriber(narrow("other"), GROUP, ONE);

        publish(&mut world, &publisher, 0..3);

        let mut got = read_all(&mut world, &one);
        let of_one = got.len();
        got.extend(read_all(&mut world, &other));
        assert_eq!(got, ["0", "1", "2"], "{strategy:?}");
        assert!(of_one == 0 || of_one == 3);
    }
}

#[test]
fn each_in_turn_means_each_in_turn() {
    let mut world = world(Strategy::RoundRobin);
    let publisher = world.join(client("publisher"));
    let all = members(&mut world, 3);

    for number in 0..3 {
        publish(&mut world, &publisher, number..number + 1);
        assert_eq!(all.iter().filter(|member| member.read().len() == 1).count(), 1);
    }
    publish(&mut world, &publisher, 3..6);

    assert!(all.iter().all(|member| member.read().len() == 1));
}

// A durable group owes a message from its PUBACK to the member's, whoever has it.
#[test]
fn a_store_is_told_what_a_lasting_group_owes() {
    let mut world = World::with(router_limits(), Keeps::Changes);
    let publisher = world.join(client("publisher"));
    let lasting = world.subscriber(durable("lasting"), GROUP, ONE);
    world.lose(&lasting);
    let fleeting = world.subscriber(client("fleeting"), GROUP, ONE);

    let outcome = world.publish(&publisher, &draft("a/b", "x", ONE));

    let queued = world.journal.number_of(|change| matches!(change, Change::GroupQueued { .. }));
    assert_eq!(outcome.commit.0, queued);
    world.journal.keep_all();
    world.flush();
    assert_eq!(fleeting.read(), ["a/b:x q1#1"]);
    world.puback(&fleeting, 1);
    let unqueued = world.journal.number_of(|change| matches!(change, Change::GroupUnqueued { .. }));
    assert!(unqueued > queued);
}

// What a store was told under one position it would else never be told the end of.
#[test]
fn a_message_keeps_its_place_in_the_store_when_the_group_begins_anew() {
    let mut world = World::with(router_limits(), Keeps::Changes);
    let publisher = world.join(client("publisher"));
    let leaver = world.subscriber(durable("leaver"), GROUP, ONE);
    world.publish(&publisher, &draft("a/b", "x", ONE));
    world.journal.keep_all();
    let filter = dunlin::topic::SubscriptionFilter::parse(GROUP).unwrap();
    world.router.unsubscribe(&mut world.courier, &leaver.attachment, &filter).unwrap();
    let heir = world.subscriber(durable("heir"), GROUP, ONE);

    world.connect(Connecting { clean_start: true, ..durable("leaver") });
    world.journal.keep_all();
    world.flush();

    assert_eq!(heir.read(), ["a/b:x q1#1"]);
    let queued_at = Cell::new(None);
    world.journal.number_of(|change| match change {
        Change::GroupQueued { position, .. } => queued_at.replace(Some(*position)).is_none(),
        _ => false,
    });
    world.puback(&heir, 1);
    world.journal.number_of(|change| match change {
        Change::GroupUnqueued { position, .. } => Some(*position) == queued_at.get(),
        _ => false,
    });
}

// It was full when the message came, and nobody looked when a part of it had been written.
#[test]
fn what_waits_for_a_member_half_written_to_is_sent_when_it_has_read_the_rest() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let member = world.subscriber(client("member"), GROUP, ONE);
    world.subscribe(&member, "own", options(ZERO));
    let large = "x".repeat(40_000);
    member.wire.set_room(30_000);
    for _ in 0..3 {
        world.publish(&publisher, &draft("a/b", &large, ONE));
    }
    world.flush();
    assert_eq!(world.router.groups()[0].waiting, 1);

    world.publish(&publisher, &draft("own", "small", ZERO));
    member.wire.set_room(usize::MAX);
    world.unblock(&member);
    world.flush();

    let words = member.read();
    assert_eq!(words.iter().filter(|word| word.starts_with("a/b:40000*x")).count(), 3);
    assert_eq!(world.router.groups()[0].waiting, 0);
}
