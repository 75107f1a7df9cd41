//! Bytes on their way to a client that reads slowly, in pieces, or not at all.

use std::task::Waker;

use dunlin::router::{Ending, Flags, Leave, OutboundLimits};

use crate::support::{
    Connecting, ONE, Peer, TWO, V311, World, ZERO, client, draft, router_limits, words, write_rest,
};

fn small_soft_limit(bytes: usize) -> World {
    let mut limits = router_limits();
    limits.outbound.soft_bytes_max = bytes;
    World::with(limits, dunlin::change::Keeps::Nothing)
}

fn outbound_bytes(world: &World) -> i64 {
    world.metrics.amount(|counters| &counters.outbound_bytes)
}

/// Payloads below and above the size from which they are shared, each of its own letter.
fn mixed() -> Vec<String> {
    let sizes = [10, 1_024, 1_025, 3, 5_000, 5_000, 1, 2_000, 40, 1_030];
    let letters = 'a'..;
    letters.zip(sizes).map(|(letter, size)| letter.to_string().repeat(size)).collect()
}

fn mixed_words() -> Vec<String> {
    let word = |text: &String| match text.len() {
        0..=33 => format!("t:{text}"),
        length => format!("t:{length}*{}", text.chars().next().unwrap()),
    };
    mixed().iter().map(word).collect()
}

#[test]
fn one_write_takes_all_small_messages_of_a_turn() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", ZERO);
    let before = a.wire.writes();

    for _ in 0..100 {
        world.publish(&a, &draft("t", "x", ZERO));
    }
    world.flush();

    assert_eq!(a.wire.writes(), before + 1);
    assert_eq!(a.read().len(), 100);
}

#[test]
fn small_and_large_payloads_leave_in_order() {
    for version in [V311, dunlin::packet::ProtocolVersion::V5] {
        let mut world = World::new();
        let a = world.subscriber(Connecting { version, ..client("a") }, "t", ZERO);

        for text in mixed() {
            world.publish(&a, &draft("t", &text, ZERO));
        }
        world.flush();

        assert_eq!(a.read(), mixed_words());
        assert_eq!(outbound_bytes(&world), 0);
    }
}

#[test]
fn a_wire_that_takes_a_few_bytes_at_once_gets_every_byte_in_order() {
    for at_once in [1, 7, 1_000, 1_025] {
        let mut world = World::new();
        let a = world.subscriber(client("a"), "t", ZERO);
        a.wire.set_at_once(at_once);

        for text in mixed() {
            world.publish(&a, &draft("t", &text, ZERO));
        }
        world.flush();

        assert_eq!(a.read(), mixed_words());
    }
}

#[test]
fn a_wire_that_blocks_at_any_byte_gets_every_byte_in_order() {
    for room in [1, 2, 13, 500, 1_040, 4_999] {
        let mut world = World::new();
        let a = world.subscriber(client("a"), "t", ZERO);
        let mut expected = Vec::new();
        a.wire.set_room(room);
        let mut stream = Vec::new();
        // New messages come before, while and after it is blocked.
        for _ in 0..3 {
            for text in mixed() {
                world.publish(&a, &draft("t", &text, ZERO));
                world.flush();
                a.wire.set_room(room);
                world.unblock(&a);
                stream.extend(a.wire.take());
            }
            expected.extend(mixed_words());
        }

        a.wire.set_room(usize::MAX);
        world.unblock(&a);

        stream.extend(a.wire.take());
        assert_eq!(words(&stream, a.version), expected, "blocked every {room} bytes");
        assert_eq!(outbound_bytes(&world), 0);
    }
}

#[test]
fn a_blocked_connection_wakes_its_task_and_nobody_else_writes_to_it() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", ZERO);
    a.wire.set_room(1);
    world.publish(&a, &draft("t", "x", ZERO));
    world.flush();
    assert!(a.raised(Flags::BLOCKED));
    a.wire.set_room(usize::MAX);
    let writes = a.wire.writes();

    world.publish(&a, &draft("t", "y", ZERO));
    world.flush();

    assert_eq!(a.wire.writes(), writes);
    world.unblock(&a);
    assert_eq!(a.read(), ["t:x", "t:y"]);
}

#[test]
fn a_slow_subscriber_delays_nobody_else() {
    let mut world = World::new();
    let slow = world.subscriber(client("slow"), "t", ZERO);
    let quick = world.subscriber(client("quick"), "t", ZERO);
    slow.wire.set_room(0);

    for _ in 0..10 {
        world.publish(&quick, &draft("t", "x", ZERO));
        world.flush();
    }

    assert_eq!(quick.read().len(), 10);
}

#[test]
fn a_broken_wire_wakes_its_task_to_end() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", ZERO);
    a.wire.break_off();

    world.publish(&a, &draft("t", "x", ZERO));
    world.flush();

    assert!(a.raised(Flags::BROKEN));
    world.lose(&a);
    assert_eq!(outbound_bytes(&world), 0);
}

#[test]
fn qos_0_beyond_the_soft_limit_is_dropped_for_that_client_and_counted() {
    let mut world = small_soft_limit(1_000);
    let slow = world.subscriber(client("slow"), "t", ZERO);
    let quick = world.subscriber(client("quick"), "t", ZERO);
    slow.wire.set_room(0);
    let text = "x".repeat(300);

    for _ in 0..5 {
        world.publish(&quick, &draft("t", &text, ZERO));
        world.flush();
    }
    slow.wire.set_room(usize::MAX);
    world.unblock(&slow);

    assert_eq!(slow.read().len(), 4, "three are less than the limit, so a fourth follows");
    assert_eq!(quick.read().len(), 5);
    assert_eq!(world.metrics.total(|counters| &counters.dropped_outbound_full), 1);
}

#[test]
fn a_message_of_any_size_may_follow_less_than_the_soft_limit() {
    let mut world = small_soft_limit(100);
    let a = world.subscriber(client("a"), "t", ZERO);
    let text = "x".repeat(5_000);

    world.publish(&a, &draft("t", "w", ZERO));
    world.publish(&a, &draft("t", &text, ZERO));
    world.publish(&a, &draft("t", "y", ZERO));
    world.flush();

    assert_eq!(a.read(), ["t:w", "t:5000*x"]);
    assert_eq!(world.metrics.total(|counters| &counters.dropped_outbound_full), 1);
}

#[test]
fn qos_1_beyond_the_soft_limit_waits_and_follows_when_the_buffer_has_drained() {
    let mut world = small_soft_limit(1_000);
    let a = world.subscriber(client("a"), "t", ONE);
    a.wire.set_room(0);
    let text = "x".repeat(300);
    for _ in 0..20 {
        world.publish(&a, &draft("t", &text, ONE));
        world.flush();
    }
    assert!(outbound_bytes(&world) < 1_400);

    a.wire.set_room(usize::MAX);
    world.unblock(&a);
    world.flush();

    let expected: Vec<_> = (1..=20).map(|id| format!("t:300*x q1#{id}")).collect();
    assert_eq!(a.read(), expected);
    assert_eq!(outbound_bytes(&world), 0);
    assert_eq!(world.metrics.total(|counters| &counters.dropped_outbound_full), 0);
}

#[test]
fn qos_2_waits_behind_qos_1_and_both_behind_the_window() {
    let mut world = World::new();
    let a = world.subscriber(Connecting { receive_maximum: 1, ..client("a") }, "t", TWO);
    world.publish(&a, &draft("t", "first", ONE));
    world.publish(&a, &draft("t", "second", TWO));
    world.publish(&a, &draft("t", "third", ONE));
    world.flush();
    assert_eq!(a.read(), ["t:first q1#1"]);

    world.puback(&a, 1);
    world.flush();
    assert_eq!(a.read(), ["t:second q2#2"]);

    let received = dunlin::router::Acknowledged::PubRec(
        crate::support::id(2),
        dunlin::packet::ReasonCode::Success,
    );
    world.acknowledge(&a, received);
    world.flush();
    assert_eq!(a.read(), ["pubrel 2"]);

    world.acknowledge(&a, dunlin::router::Acknowledged::PubComp(crate::support::id(2)));
    world.flush();
    assert_eq!(a.read(), ["t:third q1#3"]);
}

#[test]
fn large_queued_payloads_are_sent_whole_and_in_order() {
    let mut world = World::new();
    let a = world.subscriber(Connecting { receive_maximum: 2, ..client("a") }, "t", ONE);
    for text in mixed() {
        world.publish(&a, &draft("t", &text, ONE));
    }
    let mut got = Vec::new();
    for value in 1..=10 {
        world.flush();
        got.extend(a.read());
        world.puback(&a, value);
    }

    let sent: Vec<_> = (1..=10).zip(mixed_words()).map(|(id, w)| format!("{w} q1#{id}")).collect();
    assert_eq!(got, sent);
    assert_eq!(world.metrics.amount(|counters| &counters.session_bytes), 0);
}

#[test]
fn answers_above_the_hard_limit_stop_the_reading_until_they_are_read() {
    let mut limits = router_limits();
    limits.outbound = OutboundLimits { soft_bytes_max: 100, hard_bytes_max: 100 };
    let mut world = World::with(limits, dunlin::change::Keeps::Nothing);
    let a = world.join(client("a"));
    a.wire.set_room(0);
    let none = dunlin::change::CommitNumber::NONE;
    let answer = |world: &mut World, a: &Peer| {
        world.router.answer(&mut world.courier, &a.attachment, &[0xD0, 0].repeat(25), none)
    };

    assert_eq!(answer(&mut world, &a), Some(false));
    assert_eq!(answer(&mut world, &a), Some(true));

    world.flush();
    assert!(!a.raised(Flags::DRAINED));
    a.wire.set_room(usize::MAX);
    world.unblock(&a);
    assert!(a.raised(Flags::DRAINED));
}

// Else who takes a stream that is faster than its link would not even have its PINGREQ read.
#[test]
fn reading_goes_on_though_publishers_never_let_the_buffer_run_empty() {
    let mut limits = router_limits();
    limits.outbound = OutboundLimits { soft_bytes_max: 1_000, hard_bytes_max: 2_000 };
    let mut world = World::with(limits, dunlin::change::Keeps::Nothing);
    let a = world.subscriber(client("a"), "t", ZERO);
    a.wire.set_room(0);
    for length in [900, 1_500] {
        world.publish(&a, &draft("t", &"x".repeat(length), ZERO));
    }
    world.flush();
    let none = dunlin::change::CommitNumber::NONE;
    let paused = world.router.answer(&mut world.courier, &a.attachment, &[0xD0, 0], none);
    assert_eq!(paused, Some(true));
    let mut goes_on_after = None;

    for round in 1..=10 {
        a.wire.set_room(500);
        world.unblock(&a);
        assert!(outbound_bytes(&world) > 0);
        if a.raised(Flags::DRAINED) {
            goes_on_after.get_or_insert(round);
        }
        world.publish(&a, &draft("t", &"x".repeat(1_500), ZERO));
    }

    assert_eq!(goes_on_after, Some(3));
}

#[test]
fn the_flusher_is_woken_at_the_first_message_after_it_ran_dry() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", ZERO);
    world.flush();
    let woken = std::sync::Arc::new(Woken::default());
    let waker = Waker::from(std::sync::Arc::clone(&woken));
    assert!(!world.router.flush_dirty(&mut world.courier, &mut world.flushing, &waker));

    world.publish(&a, &draft("t", "x", ZERO));
    world.publish(&a, &draft("t", "y", ZERO));

    assert_eq!(woken.0.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn the_flusher_lets_others_go_first_after_256_connections() {
    let mut world = World::new();
    let mut peers = Vec::new();
    for number in 0..600 {
        let name: &'static str = Box::leak(format!("c{number}").into_boxed_str());
        peers.push(world.subscriber(client(name), "t", ZERO));
    }
    world.publish(&peers[0], &draft("t", "x", ZERO));

    let waker = Waker::noop();
    let mut turns = 1;
    while world.router.flush_dirty(&mut world.courier, &mut world.flushing, waker) {
        turns += 1;
    }

    assert_eq!(turns, 3);
    for peer in &peers {
        assert_eq!(peer.read(), ["t:x"]);
    }
}

#[test]
fn the_rest_and_a_goodbye_leave_after_the_session_was_left() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", ZERO);
    a.wire.set_room(3);
    world.publish(&a, &draft("t", "half written", ZERO));
    world.flush();
    world.publish(&a, &draft("t", "behind it", ZERO));
    let goodbye = [0xE0, 0];

    let leave = world.router.leave(&mut world.courier, &a.attachment, Ending::Lost, &goodbye);
    assert!(matches!(leave, Leave::Left(_)));
    a.wire.set_room(usize::MAX);
    write_rest(leave);

    assert_eq!(a.read(), ["t:half written", "t:behind it", "disconnect 0x00"]);
    assert_eq!(outbound_bytes(&world), 0);
}

// Bytes are counted while they wait, so that a connection that stands still can be seen.
#[test]
fn waiting_bytes_are_counted() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", ZERO);
    a.wire.set_room(0);

    world.publish(&a, &draft("t", &"x".repeat(2_000), ZERO));
    world.publish(&a, &draft("t", "y", ZERO));
    let waiting = outbound_bytes(&world);
    world.flush();
    assert_eq!(outbound_bytes(&world), waiting);

    a.wire.set_room(usize::MAX);
    world.unblock(&a);

    let bytes = i64::try_from(a.wire.take().len()).unwrap();
    assert_eq!((waiting, outbound_bytes(&world)), (bytes, 0));
}
