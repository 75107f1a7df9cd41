//! What clients make the process hold: accounted to the last byte, and bounded by one budget.

use dunlin::change::Keeps;
use dunlin::router::Ending;

use crate::support::{
    ONE, TWO, World, client, draft, durable, expiry, id, options, retained, router_limits, will,
};

/// One of everything that a client can make a router hold.
fn fill(world: &mut World) {
    let lasting = crate::support::Connecting {
        expiry: expiry(5),
        will: Some(will("a/will", 2)),
        ..client("taker")
    };
    let taker = world.join(lasting.clone());
    world.subscribe(&taker, "a/#", options(TWO));
    world.subscribe(&taker, "a/+", options(ONE));
    world.router.unsubscribe(
        &mut world.courier,
        &taker.attachment,
        &dunlin::topic::SubscriptionFilter::parse("a/+").unwrap(),
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
    world.join(crate::support::Connecting { will: Some(will("w", 0)), ..client("other") });
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
