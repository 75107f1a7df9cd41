//! One Client Identifier, several connections: only the last one may touch the Session.

use dunlin::packet::ReasonCode;
use dunlin::router::{Acknowledged, Ending, Flags, Leave, Step};

use crate::support::{
    Connecting, ONE, Peer, TWO, V311, World, ZERO, client, draft, durable, id, options, will,
};

// [MQTT-3.1.4-3]
#[test]
fn the_older_connection_is_told_0x8e_and_woken() {
    let mut world = World::new();
    let old = world.join(client("a"));

    let new = world.connect(client("a"));
    world.flush();

    assert!(new.took_over && !new.session_present);
    assert_eq!(old.read(), ["disconnect 0x8e"]);
    assert!(old.raised(Flags::SUPERSEDED));
    assert_eq!(new.read(), ["connack"]);
}

// [MQTT3-3.1.4-2]: 3.1.1 has no DISCONNECT from the server.
#[test]
fn an_older_connection_of_3_1_1_is_only_closed() {
    let mut world = World::new();
    let old = world.join(Connecting { version: V311, ..client("a") });

    world.connect(client("a"));

    assert_eq!(old.read(), [""; 0]);
    assert!(old.raised(Flags::SUPERSEDED));
}

#[test]
fn the_older_connection_gets_whole_packets_or_none_before_it_is_told() {
    let mut world = World::new();
    let old = world.subscriber(client("a"), "t", ZERO);
    old.wire.set_room(3);
    world.publish(&old, &draft("t", "half", ZERO));
    world.flush();
    world.publish(&old, &draft("t", "waiting", ZERO));
    old.wire.set_room(usize::MAX);

    world.connect(client("a"));

    assert_eq!(old.read(), ["t:half", "t:waiting", "disconnect 0x8e"]);
}

#[test]
fn a_stale_attachment_touches_nothing() {
    let mut world = World::new();
    let old = world.subscriber(durable("a"), "t", TWO);
    world.publish(&old, &draft("t", "x", TWO));
    let new = world.connect(durable("a"));
    world.flush();
    old.wire.take();
    assert_eq!(new.read(), ["connack present", "t:x q2#1 dup"]);
    let (router, courier, stale) = (&world.router, &mut world.courier, &old.attachment);

    let filter = dunlin::topic::SubscriptionFilter::parse("t").unwrap();
    let subscription = dunlin::change::Subscription { options: options(ZERO), id: None };
    let none = dunlin::change::CommitNumber::NONE;
    assert!(router.subscribe(courier, stale, &filter, subscription).is_none());
    assert!(router.unsubscribe(courier, stale, &filter).is_none());
    assert!(router.receive_publish(courier, stale, id(1)).is_none());
    assert!(router.release_publish(courier, stale, id(1)).is_none());
    assert!(router.answer(courier, stale, &[0xD0, 0], none).is_none());
    let refused = Acknowledged::PubRec(id(1), ReasonCode::QuotaExceeded);
    assert!(router.acknowledge(courier, stale, [refused]).is_ok());
    assert_eq!(router.release_kept(courier, stale), Ok(()));
    router.flush_unblocked(courier, stale);
    router.shrink(courier, stale);
    assert_eq!(router.replay(courier, stale), Step::Done);
    assert!(matches!(router.leave(courier, stale, Ending::Lost, &[]), Leave::Superseded));

    world.flush();
    assert_eq!(old.read(), [""; 0]);
    assert_eq!(new.read(), [""; 0]);
    assert_eq!(world.publish(&new, &draft("t", "y", TWO)).takers, 1);
    world.flush();
    assert_eq!(new.read(), ["t:y q2#2"]);
}

#[test]
fn a_connection_can_be_left_only_once() {
    let mut world = World::new();
    let a = world.join(durable("a"));
    world.lose(&a);

    let again = world.leave(&a, Ending::Lost);

    assert!(matches!(again, Leave::Superseded));
}

// [MQTT-3.1.2-5]
#[test]
fn a_session_without_expiry_ends_with_the_connection_that_is_taken_over() {
    let mut world = World::new();
    let old = world.subscriber(client("a"), "t", ONE);

    let new = world.connect(client("a"));

    assert!(!new.session_present);
    assert_eq!(world.publish(&old, &draft("t", "x", ONE)).takers, 0);
}

#[test]
fn what_was_unwritten_at_a_takeover_is_sent_again_if_it_was_qos_1() {
    let mut world = World::new();
    let old = world.subscriber(durable("a"), "t", ONE);
    old.wire.set_room(0);
    for text in ["1", "2"] {
        world.publish(&old, &draft("t", text, ONE));
    }
    world.publish(&old, &draft("t", "0", ZERO));
    world.flush();

    let new = world.connect(durable("a"));
    world.flush();

    assert_eq!(new.read(), ["connack present", "t:1 q1#1 dup", "t:2 q1#2 dup"]);
    assert_eq!(world.metrics.amount(|counters| &counters.outbound_bytes), 0);
}

// [MQTT-3.1.2-8] [MQTT-3.1.3-9]
#[test]
fn the_will_of_the_older_connection_goes_out_unless_it_waits() {
    for (delay, expected) in [(0, vec!["w:gone"]), (5, vec![])] {
        let mut world = World::new();
        let watcher = world.subscriber(client("watcher"), "w", ZERO);
        world.join(Connecting { will: Some(will("w", delay)), ..durable("a") });

        world.connect(durable("a"));
        world.flush();

        assert_eq!(watcher.read(), expected, "delay {delay}");
    }
}

// [MQTT-3.1.2-8]: with Clean Start the older Session ends, whatever its Will's delay.
#[test]
fn a_clean_takeover_sends_the_will_at_once() {
    let mut world = World::new();
    let watcher = world.subscriber(client("watcher"), "w", ZERO);
    world.join(Connecting { will: Some(will("w", 5)), ..durable("a") });

    world.connect(Connecting { clean_start: true, ..durable("a") });
    world.flush();

    assert_eq!(watcher.read(), ["w:gone"]);
}

#[test]
fn taking_over_again_and_again_leaves_one_session_and_no_bytes() {
    let mut world = World::new();
    for turn in 0..50 {
        let peer = world.connect(Connecting { clean_start: turn % 3 == 0, ..durable("a") });
        world.subscribe(&peer, "t", options(ONE));
        assert_eq!(world.publish(&peer, &draft("t", "x", ONE)).takers, 1);
        assert_eq!(world.metrics.sessions.value(), 1);
    }

    let last = world.connect(Connecting { clean_start: true, ..client("a") });
    world.farewell(&last);

    assert_eq!(world.metrics.sessions.value(), 0);
    assert_eq!(world.metrics.amount(|counters| &counters.session_bytes), 0);
    assert_eq!(world.metrics.amount(|counters| &counters.outbound_bytes), 0);
}

// The bytes of a Session are counted whatever makes it smaller.
#[test]
fn messages_that_expire_before_a_reconnect_are_no_longer_counted() {
    let mut world = World::new();
    let a = world.subscriber(durable("a"), "t", ONE);
    world.lose(&a);
    let expiring = crate::support::Draft { expiry: Some(5), ..draft("t", "x", ONE) };
    world.publish(&a, &expiring);
    world.pass(5);

    let again = world.connect(durable("a"));
    world.flush();

    assert_eq!(again.read(), ["connack present"]);
    assert_eq!(world.metrics.total(|counters| &counters.dropped_expired), 1);
    assert_eq!(world.metrics.amount(|counters| &counters.session_bytes), 0);
}

#[test]
fn messages_that_expire_behind_a_full_buffer_are_counted_as_dropped_and_as_gone() {
    let mut limits = crate::support::router_limits();
    limits.outbound.soft_bytes_max = 100;
    let mut world = World::with(limits, dunlin::change::Keeps::Nothing);
    let a = world.subscriber(client("a"), "t", ONE);
    a.wire.set_room(0);
    world.publish(&a, &draft("t", &"x".repeat(200), ZERO));
    let expiring = crate::support::Draft { expiry: Some(5), ..draft("t", "x", ONE) };
    world.publish(&a, &expiring);
    world.flush();
    world.pass(5);

    a.wire.set_room(usize::MAX);
    world.unblock(&a);

    assert_eq!(a.read(), ["t:200*x"]);
    assert_eq!(world.metrics.total(|counters| &counters.dropped_expired), 1);
    assert_eq!(world.metrics.amount(|counters| &counters.session_bytes), 0);
}

// A client may leave out PUBCOMP and reconnect: what an earlier connection began counts against no
// Receive Maximum [MQTT-4.9.0-1], so it has a bound of its own.
#[test]
fn exchanges_that_are_never_completed_do_not_pile_up_and_nothing_is_lost() {
    const MESSAGES: usize = 30 * 64;
    const OPEN_MAX: usize = 1_024 + 64;
    let mut world = World::new();
    let mut peer = world.subscriber(durable("a"), "t", TWO);
    let mut got = Vec::new();
    for round in 0..30 {
        for number in 0..64 {
            let text = (round * 64 + number).to_string();
            world.publish(&peer, &draft("t", &text, TWO));
        }
        world.flush();
        receive(&mut world, &peer, &mut got);
        peer = world.connect(durable("a"));
        world.flush();
        receive(&mut world, &peer, &mut got);
    }
    assert!((1_024..=OPEN_MAX).contains(&got.len()), "{} exchanges are open", got.len());

    let mut completed = 0;
    while completed < got.len() {
        let (_, value) = got[completed];
        world.acknowledge(&peer, Acknowledged::PubComp(id(value)));
        completed += 1;
        world.flush();
        receive(&mut world, &peer, &mut got);
    }

    let texts: Vec<_> = got.iter().map(|(number, _)| *number).collect();
    assert_eq!(texts, (0..MESSAGES).collect::<Vec<_>>());
    assert_eq!(world.metrics.total(|counters| &counters.dropped_queue_full), 0);
    assert_eq!(world.metrics.amount(|counters| &counters.session_bytes), 0);
}

/// Answers what came with PUBREC and notes its number and Packet Identifier.
fn receive(world: &mut World, peer: &Peer, got: &mut Vec<(usize, u16)>) {
    for word in peer.read() {
        let Some((number, rest)) = word.strip_prefix("t:").and_then(|w| w.split_once(" q2#"))
        else {
            continue;
        };
        let value = rest.split(' ').next().unwrap().parse().unwrap();
        got.push((number.parse().unwrap(), value));
        world.acknowledge(peer, Acknowledged::PubRec(id(value), ReasonCode::Success));
    }
    world.flush();
}
