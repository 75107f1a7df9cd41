//! A broker that ends, and the next one that goes on with what the store has kept.

use dunlin::change::{Change, Keeps, Kept, KeptMessage, KeptSession};
use dunlin::packet::{ClientId, Identity, ReasonCode, SubscriptionOptions};
use dunlin::router::{Acknowledged, Ending, Leave, RouterLimits, Strategy};

use crate::support::{
    Connecting, FOREVER, ONE, Peer, TWO, World, ZERO, client, draft, durable, expiry, id, options,
    retained, router_limits, subscription_id, will, will_at,
};

fn world() -> World {
    World::with(router_limits(), Keeps::Changes)
}

/// Connects again and reads all that comes before anything is acknowledged.
fn come_back(world: &mut World, client_id: &'static str) -> (Peer, Vec<String>) {
    let peer = world.connect(durable(client_id));
    let read = settle(world, &peer);
    (peer, read)
}

/// Until the store has kept everything and nothing more comes.
fn settle(world: &mut World, peer: &Peer) -> Vec<String> {
    let mut read = Vec::new();
    loop {
        world.journal.keep_all();
        world.release(peer);
        let more = peer.read();
        if more.is_empty() && world.journal.kept_number() == world.journal.submitted() {
            return read;
        }
        read.extend(more);
    }
}

#[test]
fn a_session_and_its_subscriptions_go_on() {
    let mut world = world();
    let taker = world.join(durable("taker"));
    world.subscribe_as(&taker, "a/+", options(ONE), subscription_id(7));

    world.restart();

    let publisher = world.join(client("publisher"));
    world.publish(&publisher, &draft("a/b", "x", ONE));
    let (_, read) = come_back(&mut world, "taker");
    assert_eq!(read, ["connack present", "a/b:x q1#1 ids7"]);
}

#[test]
fn what_waited_is_sent_in_order_and_before_what_comes_later() {
    let mut world = world();
    let taker = world.subscriber(durable("taker"), "t", TWO);
    world.lose(&taker);
    let publisher = world.join(client("publisher"));
    for (text, qos) in [("a", ONE), ("b", TWO), ("c", ONE)] {
        world.publish(&publisher, &draft("t", text, qos));
    }
    world.journal.keep_all();

    world.restart();

    let publisher = world.join(client("publisher"));
    world.publish(&publisher, &draft("t", "d", ONE));
    let (_, read) = come_back(&mut world, "taker");
    assert_eq!(read, ["connack present", "t:a q1#1", "t:c q1#3", "t:d q1#4", "t:b q2#2"]);
}

// [MQTT-4.4.0-1] [MQTT-4.6.0-1]
#[test]
fn what_was_inflight_is_sent_again_with_its_identifier() {
    let mut world = world();
    let taker = world.subscriber(durable("taker"), "t", TWO);
    let publisher = world.join(client("publisher"));
    for (text, qos) in [("a", ONE), ("b", TWO), ("c", TWO), ("d", ONE)] {
        world.publish(&publisher, &draft("t", text, qos));
    }
    settle(&mut world, &taker);
    world.acknowledge(&taker, Acknowledged::PubRec(id(3), ReasonCode::Success));
    world.puback(&taker, 4);
    world.journal.keep_all();

    world.restart();

    let (taker, read) = come_back(&mut world, "taker");
    assert_eq!(read, ["connack present", "pubrel 3", "t:a q1#1 dup", "t:b q2#2 dup"]);
    // None of these is used again.
    world.publish(&taker, &draft("t", "e", ONE));
    world.flush();
    assert_eq!(taker.read(), ["t:e q1#5"]);
}

// [MQTT-4.3.3-10]
#[test]
fn a_qos_2_publish_that_came_before_is_not_taken_again() {
    let mut world = world();
    let publisher = world.join(durable("publisher"));
    world.router.receive_publish(&mut world.courier, &publisher.attachment, id(9)).unwrap();
    world.journal.keep_all();

    world.restart();

    let (publisher, _) = come_back(&mut world, "publisher");
    let attachment = &publisher.attachment;
    assert_eq!(world.router.has_received(&mut world.courier, attachment, id(9)), Some(true));
    assert_eq!(world.router.has_received(&mut world.courier, attachment, id(8)), Some(false));
}

#[test]
fn what_was_not_kept_is_gone() {
    let mut world = world();
    let taker = world.subscriber(durable("taker"), "t", ONE);
    world.lose(&taker);
    let publisher = world.join(client("publisher"));
    world.publish(&publisher, &draft("t", "kept", ONE));
    world.journal.keep_all();
    world.publish(&publisher, &draft("t", "lost", ONE));

    world.restart();

    let (_, read) = come_back(&mut world, "taker");
    assert_eq!(read, ["connack present", "t:kept q1#1"]);
}

#[test]
fn a_session_that_ended_does_not_come_back() {
    let mut world = world();
    let peer = world.join(durable("a"));
    world.farewell(&peer);
    world.join(Connecting { clean_start: true, ..client("a") });

    world.restart();

    assert_eq!(world.metrics.sessions.value(), 0);
    assert!(!world.connect(durable("a")).session_present);
}

#[test]
fn what_is_retained_is_there_and_counted() {
    let mut world = world();
    let publisher = world.join(client("publisher"));
    for text in ["old", "new"] {
        world.publish(&publisher, &retained("t", text));
    }
    world.publish(&publisher, &retained("gone", "x"));
    world.publish(&publisher, &retained("gone", ""));
    world.journal.keep_all();
    let bytes = world.metrics.retained_bytes.value();

    world.restart();

    assert_eq!(world.metrics.retained_messages.value(), 1);
    assert_eq!(world.metrics.retained_bytes.value(), bytes);
    let taker = world.join(client("taker"));
    world.subscribe(&taker, "#", SubscriptionOptions::new(ZERO));
    world.replay(&taker);
    world.flush();
    assert_eq!(taker.read(), ["t:new retain"]);
}

// The counters of the new process say the same as those of the old one did, but for messages that
// the store alone has.
#[test]
fn everything_is_accounted_as_before() {
    let mut world = world();
    let connecting = Connecting { will: Some(will("w", 0)), ..durable("taker") };
    let taker = world.subscriber(connecting, "t", ONE);
    world.subscribe(&taker, "$share/g/t", options(ONE));
    let publisher = world.join(client("publisher"));
    world.publish(&publisher, &draft("t", "inflight", ONE));
    world.leave(&taker, Ending::Shutdown);
    world.publish(&publisher, &draft("t", "queued", ONE));
    world.farewell(&publisher);
    world.journal.keep_all();
    let before = accounts(&world);

    world.restart();

    assert_eq!(accounts(&world), before);
}

fn accounts(world: &World) -> [i64; 6] {
    let metrics = &world.metrics;
    [
        metrics.sessions.value(),
        metrics.subscriptions.value(),
        metrics.shared_subscriptions.value(),
        metrics.amount(|counters| &counters.session_messages),
        metrics.amount(|counters| &counters.session_bytes),
        metrics.amount(|counters| &counters.session_state_bytes),
    ]
}

// The issue: Wills of clients that do not come back within their keep alive are sent. [MQTT-3.1.2-8]
#[test]
fn a_will_waits_until_its_client_had_time_to_come_back() {
    let mut world = world();
    let _watcher = world.subscriber(durable("watcher"), "will/#", ONE);
    world.join(Connecting { will: Some(will("will/a", 0)), ..durable("a") });
    world.join(Connecting { will: Some(will("will/b", 0)), ..durable("b") });
    world.join(Connecting { will: Some(will("will/late", 90)), ..durable("late") });

    world.restart();

    let watcher = world.join(durable("watcher"));
    world.join(durable("b"));
    world.pass(59);
    world.run_schedule();
    world.flush();
    assert_eq!(watcher.read(), [""; 0]);
    world.pass(1);
    world.run_schedule();
    world.flush();
    assert_eq!(watcher.read(), ["will/a:gone"]);
    world.pass(30);
    world.run_schedule();
    world.flush();
    assert_eq!(watcher.read(), ["will/late:gone"]);
}

#[test]
fn a_graceful_stop_leaves_wills_to_the_restart() {
    let mut world = world();
    let a = world.join(Connecting { will: Some(will("will/a", 0)), ..durable("a") });
    assert!(matches!(world.leave(&a, Ending::Shutdown), Leave::Left(_)));
    world.journal.keep_all();

    world.restart();

    let watcher = world.subscriber(client("watcher"), "will/#", ZERO);
    world.pass(60);
    world.run_schedule();
    world.flush();
    assert_eq!(watcher.read(), ["will/a:gone"]);
}

// [MQTT-4.1.0-2]: its time goes on from when its client went, whoever was down meanwhile.
#[test]
fn a_session_whose_expiry_is_over_ends_with_its_will() {
    let mut world = world();
    let watcher = world.subscriber(durable("watcher"), "will/#", ONE);
    world.lose(&watcher);
    let connecting =
        Connecting { expiry: expiry(10), will: Some(will_at(ONE, "will/a", 100)), ..client("a") };
    let a = world.join(connecting);
    world.subscribe(&a, "t", options(ONE));
    world.lose(&a);
    let lasting = world.join(Connecting { expiry: expiry(12), ..client("lasting") });
    world.lose(&lasting);
    world.journal.keep_all();
    world.pass(11);

    world.restart();

    assert_eq!(world.metrics.sessions.value(), 2);
    assert_eq!(world.metrics.subscriptions.value(), 1);
    let (_, read) = come_back(&mut world, "watcher");
    assert_eq!(read, ["connack present", "will/a:gone q1#1"]);
    world.pass(1);
    world.run_schedule();
    assert_eq!(world.metrics.sessions.value(), 1);
    assert!(world.journal.latest(0, |it| matches!(it, Change::SessionEnded { .. })) > 0);
}

#[test]
fn what_waited_in_a_group_goes_to_who_comes_back_first() {
    let limits = RouterLimits { sharing: Strategy::HashTopic, ..router_limits() };
    let mut world = World::with(limits, Keeps::Changes);
    for name in ["one", "two"] {
        let member = world.subscriber(durable(name), "$share/g/t", ONE);
        world.lose(&member);
    }
    let publisher = world.join(client("publisher"));
    for text in ["a", "b"] {
        world.publish(&publisher, &draft("t", text, ONE));
    }
    world.journal.keep_all();

    world.restart();
    assert_eq!(world.router.groups()[0].waiting, 2);
    let publisher = world.join(client("publisher"));
    world.publish(&publisher, &draft("t", "c", ONE));

    let (two, read) = come_back(&mut world, "two");
    assert_eq!(read, ["connack present", "t:a q1#1", "t:b q1#2", "t:c q1#3"]);
    for value in 1..=3 {
        world.puback(&two, value);
    }
    world.journal.keep_all();
    world.restart();
    assert_eq!(world.router.groups()[0].waiting, 0);
}

// The connection is lost, so another member may have it at once.
#[test]
fn a_groups_message_that_a_member_did_not_acknowledge_waits_again() {
    let mut world = world();
    let one = world.subscriber(durable("one"), "$share/g/t", ONE);
    let publisher = world.join(client("publisher"));
    world.publish(&publisher, &draft("t", "a", ONE));
    assert_eq!(settle(&mut world, &one), ["t:a q1#1"]);

    world.restart();

    let (_, read) = come_back(&mut world, "one");
    assert_eq!(read, ["connack present", "t:a q1#2"]);
}

// Another life of the group must not give a position out that the store still has.
#[test]
fn positions_in_a_group_go_on_behind_those_that_were_kept() {
    let mut world = world();
    let one = world.subscriber(durable("one"), "$share/g/t", ONE);
    world.lose(&one);
    let publisher = world.join(client("publisher"));
    world.publish(&publisher, &draft("t", "a", ONE));
    world.journal.keep_all();

    world.restart();

    let publisher = world.join(client("publisher"));
    // The store fails if one of these positions is taken.
    for text in ["b", "c"] {
        world.publish(&publisher, &draft("t", text, ONE));
    }
    world.journal.keep_all();
    let (_, read) = come_back(&mut world, "one");
    assert_eq!(read, ["connack present", "t:a q1#1", "t:b q1#2", "t:c q1#3"]);
}

#[test]
fn a_second_restart_finds_the_same() {
    let mut world = world();
    let taker = world.subscriber(durable("taker"), "t", TWO);
    let publisher = world.join(client("publisher"));
    world.publish(&publisher, &draft("t", "inflight", TWO));
    settle(&mut world, &taker);
    world.lose(&taker);
    world.publish(&publisher, &draft("t", "queued", ONE));
    world.journal.keep_all();

    world.restart();
    world.restart();
    // A new message must not take the place in the store that one has which was sent.
    let publisher = world.join(client("publisher"));
    world.publish(&publisher, &draft("t", "later", ONE));
    world.journal.keep_all();
    world.restart();

    let (_, read) = come_back(&mut world, "taker");
    let expected = ["connack present", "t:inflight q2#1 dup", "t:queued q1#2", "t:later q1#3"];
    assert_eq!(read, expected);
}

#[test]
fn a_restored_session_is_its_owners_and_can_be_taken_over() {
    let mut world = world();
    world.join(durable("a"));
    world.restart();

    let first = world.join(durable("a"));
    let second = world.join(durable("a"));

    assert!(first.session_present && second.took_over);
    let never = world.join(Connecting { clean_start: true, expiry: FOREVER, ..client("a") });
    assert!(!never.session_present);
    assert_eq!(world.metrics.sessions.value(), 1);
}

// A million messages in a thousand Sessions cost neither much time nor memory before somebody
// comes for them.
#[test]
fn a_long_queue_costs_little_until_its_client_comes() {
    const MESSAGES: u64 = 2_000;
    let mut limits = router_limits();
    limits.session.queue_offline_messages_max = usize::MAX;
    let mut world = World::with(limits, Keeps::Changes);
    let taker = world.subscriber(durable("taker"), "t", ONE);
    world.lose(&taker);
    let publisher = world.join(client("publisher"));
    let empty = world.metrics.held_bytes();

    for _ in 0..MESSAGES {
        world.publish(&publisher, &draft("t", &"x".repeat(200), ONE));
    }

    assert!(world.metrics.held_bytes() - empty <= 24 * MESSAGES);
    world.farewell(&publisher);
    world.journal.keep_all();
    let before = world.metrics.held_bytes();
    world.restart();
    assert_eq!(world.metrics.held_bytes(), before);
    assert_eq!(world.metrics.amount(|counters| &counters.session_messages), 2_000);
}

#[test]
fn a_million_queued_messages_are_there_at_once_and_weigh_24_bytes_each() {
    const SESSIONS: usize = 1_000;
    const EACH: u64 = 1_000;
    let mut world = world();
    let message = |position| KeptMessage { position, bytes: 400 };
    let session = |number: usize| KeptSession {
        client_id: ClientId::new(&format!("client-{number}")).unwrap(),
        identity: Identity::Anonymous,
        expiry: FOREVER,
        away_since: world.now,
        subscriptions: Vec::new(),
        queue: (0..EACH).map(message).collect(),
        next_position: EACH,
        inflight: Vec::new(),
        received: Vec::new(),
        will: None,
        last_packet_id: 0,
    };
    let kept = Kept { sessions: (0..SESSIONS).map(session).collect(), ..Kept::default() };

    world.router.restore(&mut world.courier, kept);

    let messages = world.metrics.amount(|counters| &counters.session_messages);
    assert_eq!(messages, 1_000_000);
    let beside = 1_100 * SESSIONS as u64;
    assert!(world.metrics.held_bytes() <= 24 * 1_000_000 + beside);
}
