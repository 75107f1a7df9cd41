//! What clients make the process hold: accounted to the last byte, and bounded by one budget.

use dunlin::change::Keeps;
use dunlin::router::{Ending, Episode, Memory, RouterLimits};
use dunlin::session::{QueueWhenFull, Refusal};
use dunlin::topic::SubscriptionFilter;

use crate::support::{
    Connecting, Draft, ONE, Peer, TWO, World, ZERO, client, draft, durable, expiry, id, options,
    retained, router_limits, will,
};

/// One of everything that a client can make a router hold.
fn fill(world: &mut World) {
    let lasting =
        Connecting { expiry: expiry(5), will: Some(will("a/will", 2)), ..client("taker") };
    let taker = world.join(lasting.clone());
    world.subscribe(&taker, "a/#", options(TWO));
    world.subscribe(&taker, "a/+", options(ONE));
    world.router.unsubscribe(
        &mut world.courier,
        &taker.attachment,
        &SubscriptionFilter::parse("a/+").unwrap(),
    );
    let publisher = world.join(client("publisher"));
    world.router.receive_publish(&mut world.courier, &publisher.attachment, id(7));
    for qos in [ONE, TWO] {
        world.publish(&publisher, &draft("a/b", "inflight", qos));
    }
    world.lose(&taker);
    world.publish(&publisher, &draft("a/b", "queued", ONE));
    world.publish(&publisher, &retained("a/b", "retained"));
    let taker = world.join(lasting.clone());
    world.puback(&taker, 1);
    let taker = world.join(lasting);
    world.lose(&taker);
    world.lose(&publisher);
}

#[test]
fn all_that_was_accounted_is_given_back_when_it_is_gone() {
    let mut world = World::new();
    let before = world.metrics.held_bytes();

    fill(&mut world);
    let full = world.metrics.held_bytes();
    world.pass(60);
    world.run_schedule();
    let publisher = world.join(client("publisher"));
    world.publish(&publisher, &retained("a/b", ""));
    world.leave(&publisher, Ending::Lost);

    assert!(full > before + 1_000, "{full}");
    assert_eq!(world.metrics.held_bytes(), before);
}

#[test]
fn sessions_subscriptions_and_wills_are_accounted() {
    let mut world = World::with(router_limits(), Keeps::Nothing);
    let mut last = world.metrics.held_bytes();
    let mut grew = |world: &World, what: &str| {
        let now = world.metrics.held_bytes();
        assert!(now > last, "{what}");
        last = now;
    };

    let taker = world.join(durable("taker"));
    grew(&world, "a Session");
    world.subscribe(&taker, "a", options(ONE));
    grew(&world, "a Subscription");
    world.join(Connecting { will: Some(will("w", 0)), ..client("other") });
    grew(&world, "a Session with a Will");
    world.router.receive_publish(&mut world.courier, &taker.attachment, id(7));
    grew(&world, "a Packet Identifier");
    world.lose(&taker);
    let publisher = world.join(client("publisher"));
    grew(&world, "another Session");
    world.publish(&publisher, &draft("a", "x", ONE));
    grew(&world, "a queued message");
    world.publish(&publisher, &retained("a", "x"));
    grew(&world, "a Retained Message");
}

const BULK_BYTES: usize = 4 * 1024;
const BUDGET_BYTES: usize = 16 * BULK_BYTES;

/// A router with a budget, a publisher, and a durable client that is away and takes `fill`.
fn budgeted() -> (World, Peer) {
    let limits = RouterLimits { memory_bytes_max: BUDGET_BYTES as u64, ..router_limits() };
    let mut world = World::with(limits, Keeps::Nothing);
    let forgotten = world.subscriber(durable("forgotten"), "fill", ONE);
    world.lose(&forgotten);
    let publisher = world.join(client("publisher"));
    (world, publisher)
}

fn bulk() -> String {
    "b".repeat(BULK_BYTES)
}

/// Publishes until the budget is reached.
fn make_scarce(world: &mut World, publisher: &Peer) -> Episode {
    while world.look_at_memory() == Memory::Enough {
        world.publish(publisher, &draft("fill", &bulk(), ONE));
    }
    world.courier.memory().episode().unwrap()
}

fn make_exhausted(world: &mut World, publisher: &Peer) {
    while !matches!(world.look_at_memory(), Memory::Exhausted(_)) {
        world.publish(publisher, &draft("fill", &bulk(), ONE));
    }
}

#[test]
fn scarcity_ends_when_what_fills_the_memory_is_drained() {
    let (mut world, publisher) = budgeted();
    let first = make_scarce(&mut world, &publisher);

    let taker = world.join(durable("forgotten"));
    assert_eq!(world.look_at_memory(), Memory::Scarce(first), "sent, but not acknowledged");
    for value in 1..=16 {
        world.puback(&taker, value);
        world.flush();
    }
    assert_eq!(world.look_at_memory(), Memory::Enough);
    world.lose(&taker);

    assert_ne!(make_scarce(&mut world, &publisher), first);
}

#[test]
fn scarce_memory_sheds_qos_0_for_who_has_something_unread_and_counts_it() {
    let (mut world, publisher) = budgeted();
    let reading = world.subscriber(client("reading"), "t", ONE);
    let slow = world.subscriber(client("slow"), "t", ONE);
    world.publish(&slow, &draft("t", "before", ZERO));
    slow.wire.set_room(0);
    world.flush();
    make_scarce(&mut world, &publisher);

    world.publish(&publisher, &draft("t", "now", ZERO));
    world.publish(&publisher, &draft("t", "one", ONE));
    world.publish(&publisher, &retained("t", "kept"));
    slow.wire.set_room(usize::MAX);
    world.unblock(&slow);
    world.flush();

    assert_eq!(reading.read(), ["t:before", "t:now", "t:one q1#1", "t:kept"]);
    assert_eq!(slow.read(), ["t:before", "t:one q1#1", "t:kept"]);
    assert_eq!(world.metrics.total(|counters| &counters.dropped_memory_full), 1);
}

#[test]
fn an_outcome_says_whether_something_stays_in_the_memory() {
    let mut limits = router_limits();
    limits.session.queue_when_full = QueueWhenFull::DropOldest;
    limits.session.queue_offline_messages_max = 1;
    let mut world = World::with(limits, Keeps::Nothing);
    let away = world.subscriber(durable("away"), "away", ONE);
    world.lose(&away);
    let peer = world.subscriber(client("here"), "here", TWO);
    let mut fills = |draft: &Draft<'_>| world.publish(&peer, draft).fills;

    assert!(!fills(&draft("nobody", "x", TWO)));
    assert!(!fills(&draft("here", "sent", TWO)));
    assert!(!fills(&draft("away", "dropped", ZERO)));
    assert!(fills(&draft("away", "queued", ONE)));
    assert!(!fills(&draft("away", "droops", ONE)), "another one of its size gave way");
    assert!(fills(&retained("kept", "x")));
    assert!(!fills(&retained("kept", "y")), "in the place of another one");
    assert!(fills(&retained("kept", "longer")));
    assert!(!fills(&retained("kept", "")));
}

#[test]
fn scarce_memory_refuses_a_new_subscription_and_leaves_the_others() {
    let (mut world, publisher) = budgeted();
    let peer = world.subscriber(client("peer"), "old", ONE);
    make_scarce(&mut world, &publisher);
    let mut subscribe = |filter: &str| world.try_subscribe(&peer, filter, options(TWO));

    assert_eq!(subscribe("new"), Err(Refusal::MemoryFull));
    assert_eq!(subscribe("old"), Ok(()), "replacing one takes nothing");

    let outcome = world.publish(&publisher, &draft("old", "x", TWO));
    assert_eq!((outcome.takers, outcome.accepted), (1, 1));
    assert_eq!(world.publish(&publisher, &draft("new", "x", TWO)).takers, 0);
}

#[test]
fn exhausted_memory_refuses_what_would_stay_and_nothing_else() {
    let (mut world, publisher) = budgeted();
    let here = world.subscriber(client("here"), "fresh", ONE);
    world.publish(&publisher, &retained("old", "0123456789"));
    make_exhausted(&mut world, &publisher);
    let held = world.metrics.held_bytes();

    let all = world.publish(&publisher, &draft("fill", "x", ONE));
    let sent = world.publish(&publisher, &draft("fresh", "x", ONE));
    let new = world.try_publish(&publisher, &retained("new", "x"));
    let replaced = world.try_publish(&publisher, &retained("old", "x"));
    world.flush();

    assert!(all.all_refused());
    assert_eq!(here.read(), ["fresh:x q1#1"]);
    assert!(sent.accepted == 1 && !sent.all_refused());
    assert_eq!(new.unwrap_err(), Refusal::MemoryFull);
    assert!(replaced.is_ok());
    assert_eq!(world.metrics.total(|counters| &counters.dropped_memory_full), 1);
    assert!(world.metrics.held_bytes() < held + BULK_BYTES as u64);
}

#[test]
fn answers_are_never_dropped_however_little_memory_there_is() {
    let (mut world, publisher) = budgeted();
    make_exhausted(&mut world, &publisher);
    publisher.wire.take();

    publisher.wire.set_room(0);
    for value in 1..=100 {
        world.publish_and_answer(&publisher, value, &draft("nobody", "x", ONE));
        world.flush();
    }
    publisher.wire.set_room(usize::MAX);
    world.unblock(&publisher);

    assert_eq!(publisher.read().len(), 100);
}
