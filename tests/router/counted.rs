//! What the metrics say of clients that come and go, and of what they send to each other.

use dunlin::metrics::{Counter, Counters, Gauge};
use dunlin::packet::{ReasonCode, RetainHandling, SubscriptionOptions};
use dunlin::router::{Acknowledged, Ending};

use crate::support::{
    Connecting, ONE, TWO, World, ZERO, client, draft, durable, expiry, id, options, retained, will,
};

fn total(world: &World, counter: impl Fn(&Counters) -> &Counter) -> u64 {
    world.metrics.total(counter)
}

/// Connected clients, the most there ever were, and Sessions.
fn clients(world: &World) -> [i64; 3] {
    let metrics = &world.metrics;
    [&metrics.clients_connected, &metrics.clients_maximum, &metrics.sessions].map(Gauge::value)
}

#[test]
fn clients_are_counted_once_however_they_come_and_go() {
    let mut world = World::new();
    let a = world.join(client("a"));
    world.join(durable("b"));
    assert_eq!(clients(&world), [2, 2, 2]);

    let b = world.join(durable("b"));
    assert_eq!(clients(&world), [2, 2, 2], "taken over");

    world.farewell(&a);
    world.lose(&b);
    assert_eq!(clients(&world), [0, 2, 1]);

    let b = world.join(durable("b"));
    assert_eq!(clients(&world), [1, 2, 1]);

    world.leave(&b, Ending::Shutdown);
    assert_eq!(clients(&world), [0, 2, 1]);
}

#[test]
fn only_a_session_that_nobody_came_back_to_is_counted_as_expired() {
    let mut world = World::new();
    let ended = world.join(client("ended"));
    let expiring = world.join(Connecting { expiry: expiry(5), ..client("expiring") });
    let delayed = world.join(Connecting { will: Some(will("w", 3)), ..durable("delayed") });
    for peer in [&ended, &expiring, &delayed] {
        world.lose(peer);
    }

    world.pass(4);
    world.run_schedule();
    assert_eq!(total(&world, |counters| &counters.sessions_expired), 0);

    world.pass(1);
    world.run_schedule();
    assert_eq!(total(&world, |counters| &counters.sessions_expired), 1);
    assert_eq!(clients(&world), [0, 3, 1]);
}

#[test]
fn subscriptions_are_counted_and_end_with_their_session() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", ZERO);
    world.subscribe(&a, "t", options(ONE));
    world.subscribe(&a, "+/t", options(ONE));
    let b = world.subscriber(durable("b"), "t", ZERO);
    assert_eq!(world.metrics.subscriptions.value(), 3);

    world.lose(&a);
    world.lose(&b);

    assert_eq!(world.metrics.subscriptions.value(), 1);
}

#[test]
fn payloads_are_counted_as_they_come_and_for_each_taker() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", ZERO);
    let b = world.subscriber(client("b"), "t", ONE);

    world.publish(&a, &draft("t", "four", ONE));
    world.publish(&b, &retained("other", "seven__"));

    assert_eq!(total(&world, |counters| &counters.publishes_received), 2);
    assert_eq!(total(&world, |counters| &counters.payload_bytes_received), 11);
    assert_eq!(total(&world, |counters| &counters.publishes_sent), 2);
    assert_eq!(total(&world, |counters| &counters.payload_bytes_sent), 8);
}

#[test]
fn what_waited_in_a_queue_and_what_was_retained_is_counted_when_it_is_sent() {
    let mut world = World::new();
    let a = world.subscriber(durable("a"), "t", ONE);
    let b = world.join(client("b"));
    world.lose(&a);
    world.publish(&b, &draft("t", "queued", ONE));
    world.publish(&b, &retained("r", "kept"));
    assert_eq!(total(&world, |counters| &counters.payload_bytes_sent), 0);

    let a = world.join(durable("a"));
    assert_eq!(total(&world, |counters| &counters.payload_bytes_sent), 6);

    let retain_handling = RetainHandling::Always;
    let options = SubscriptionOptions { retain_handling, ..SubscriptionOptions::new(ZERO) };
    world.subscribe(&a, "r", options);
    world.replay(&a);
    assert_eq!(total(&world, |counters| &counters.payload_bytes_sent), 10);
}

#[test]
fn a_will_is_sent_but_was_not_received() {
    let mut world = World::new();
    world.subscriber(client("watcher"), "w", ZERO);
    let a = world.join(Connecting { will: Some(will("w", 0)), ..client("a") });

    world.lose(&a);

    assert_eq!(total(&world, |counters| &counters.publishes_received), 0);
    assert_eq!(total(&world, |counters| &counters.publishes_sent), 1);
}

#[test]
fn a_pubrel_and_a_goodbye_are_answers() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", TWO);
    world.publish(&a, &draft("t", "x", TWO));
    world.acknowledge(&a, Acknowledged::PubRec(id(1), ReasonCode::Success));
    assert_eq!(total(&world, |counters| &counters.answers_sent), 1);

    world.flush();
    world.join(client("a"));
    assert_eq!(total(&world, |counters| &counters.answers_sent), 2, "0x8E");
}

#[test]
fn a_stored_message_is_counted_until_the_last_session_that_owes_it_is_done() {
    let stored = |world: &World| world.metrics.amount(|counters| &counters.session_messages);
    let mut world = World::new();
    let one = world.subscriber(durable("one"), "t", ONE);
    let two = world.subscriber(client("two"), "t", TWO);
    let away = world.subscriber(durable("away"), "t", ONE);
    world.subscriber(client("zero"), "t", ZERO);
    world.lose(&away);

    world.publish(&one, &draft("t", "x", TWO));
    assert_eq!(stored(&world), 3);

    world.puback(&one, 1);
    assert_eq!(stored(&world), 2);

    world.acknowledge(&two, Acknowledged::PubRec(id(1), ReasonCode::Success));
    assert_eq!(stored(&world), 1, "what waits for its PUBCOMP is no message any more");
    world.lose(&two);
    assert_eq!(stored(&world), 1);

    let away = world.join(durable("away"));
    assert_eq!(stored(&world), 1, "sent again");
    world.puback(&away, 1);
    assert_eq!(stored(&world), 0);
}
