//! What others do while somebody writes to a connection, without two threads that have to meet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Waker;

use dunlin::change::Subscription;
use dunlin::packet::QoS;
use dunlin::router::{Courier, Ending, Flags, Flushing, Leave, Origin, Router};
use dunlin::topic::SubscriptionFilter;

use crate::support::{
    Connecting, ONE, World, ZERO, client, connect, draft, durable, moment, options, publish,
};

/// Another worker.
fn courier(router: &Router) -> Courier {
    Courier::new(router.metrics().worker(1), moment(std::time::Instant::now()))
}

fn flush(router: &Router, courier: &mut Courier) {
    let mut flushing = Flushing::default();
    while router.flush_dirty(courier, &mut flushing, Waker::noop()) {}
}

/// Publishes `count` numbered messages to `t`, one before each of as many writes.
fn publish_during_writes(world: &World, peer: &crate::support::Peer, qos: QoS, count: usize) {
    let (router, attachment) = (Arc::clone(&world.router), peer.attachment.clone());
    let done = AtomicUsize::new(0);
    peer.wire.set_meanwhile(move || {
        let number = done.fetch_add(1, Ordering::Relaxed);
        if number < count {
            let mut courier = courier(&router);
            let text = format!("during {number}");
            let origin = Origin::Refusable(&attachment);
            publish(&router, &mut courier, origin, &draft("t", &text, qos)).unwrap();
            // The other worker has nothing to write: it is taken care of.
            flush(&router, &mut courier);
        }
    });
}

#[test]
fn what_is_appended_while_somebody_writes_is_written_by_him() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", ZERO);
    publish_during_writes(&world, &a, ZERO, 2);

    world.publish(&a, &draft("t", "before", ZERO));
    world.flush();

    assert_eq!(a.read(), ["t:before", "t:during 0", "t:during 1"]);
    assert_eq!(world.metrics.amount(|counters| &counters.outbound_bytes), 0);
}

#[test]
fn a_writer_who_finds_more_and_more_lets_others_go_first_and_loses_nothing() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", ONE);
    publish_during_writes(&world, &a, ONE, 20);

    world.publish(&a, &draft("t", "before", ONE));
    let waker = Waker::noop();
    let more = world.router.flush_dirty(&mut world.courier, &mut world.flushing, waker);
    assert!(more, "the rest waits on the dirty list");
    world.flush();

    let mut expected = vec!["t:before q1#1".to_owned()];
    expected.extend((0..20).map(|number| format!("t:during {number} q1#{}", number + 2)));
    assert_eq!(a.read(), expected);
}

#[test]
fn what_could_not_be_written_stays_in_front_of_what_came_meanwhile() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", ZERO);
    publish_during_writes(&world, &a, ZERO, 1);
    a.wire.set_room(5);

    let text = "x".repeat(3_000);
    world.publish(&a, &draft("t", &text, ZERO));
    world.flush();
    assert!(a.raised(Flags::BLOCKED));
    a.wire.set_room(usize::MAX);
    world.unblock(&a);

    assert_eq!(a.read(), ["t:3000*x", "t:during 0"]);
}

#[test]
fn a_connection_somebody_writes_to_cannot_be_left_yet() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "t", ZERO);
    let (router, attachment) = (Arc::clone(&world.router), a.attachment.clone());
    a.wire.set_meanwhile(move || {
        let leave = router.leave(&mut courier(&router), &attachment, Ending::Lost, &[]);
        assert!(matches!(leave, Leave::Busy));
    });

    world.publish(&a, &draft("t", "x", ZERO));
    world.flush();

    assert_eq!(a.read(), ["t:x"]);
    world.lose(&a);
}

fn take_over_during_a_write(world: &World, peer: &crate::support::Peer, client: &Connecting) {
    let (router, client) = (Arc::clone(&world.router), client.clone());
    let mut first = true;
    peer.wire.set_meanwhile(move || {
        if std::mem::take(&mut first) {
            let mut courier = courier(&router);
            let new = connect(&router, &mut courier, client.clone(), 7);
            assert!(new.took_over);
            flush(&router, &mut courier);
            assert_eq!(new.read()[0], "connack present");
        }
    });
}

// [MQTT-3.1.4-3]
#[test]
fn a_takeover_during_a_write_is_told_by_the_writer() {
    let mut world = World::new();
    let a = world.subscriber(durable("a"), "t", ONE);
    take_over_during_a_write(&world, &a, &durable("a"));

    world.publish(&a, &draft("t", "x", ONE));
    world.flush();

    assert_eq!(a.read(), ["t:x q1#1", "disconnect 0x8e"]);
    assert!(a.raised(Flags::SUPERSEDED));
    assert_eq!(world.metrics.amount(|counters| &counters.outbound_bytes), 0);
}

#[test]
fn a_takeover_during_a_write_that_blocks_ends_in_the_middle_without_a_word() {
    let mut world = World::new();
    let a = world.subscriber(durable("a"), "t", ONE);
    a.wire.set_room(2);
    take_over_during_a_write(&world, &a, &durable("a"));

    world.publish(&a, &draft("t", "x", ONE));
    world.flush();

    assert_eq!(a.wire.take().len(), 2);
    assert!(!a.raised(Flags::BLOCKED));
    assert_eq!(world.metrics.amount(|counters| &counters.outbound_bytes), 0);
}

// [MQTT-3.3.4-2]: while the Subscriptions of the Session that ended still stand in the tree, those
// of the new one are merged nevertheless.
#[test]
fn overlapping_subscriptions_of_a_session_begun_anew_give_one_copy() {
    // Whichever of them a match comes to first.
    let (some, rest) = (["t", "+", "t/#"], ["#", "+/#"]);
    for (old_filters, new_filters) in [(&some[..], &rest[..]), (&rest[..], &some[..])] {
        for others in [0, 30] {
            let mut world = World::new();
            for number in 0..others {
                let name: &'static str = Box::leak(format!("c{number}").into_boxed_str());
                world.subscriber(client(name), "t", ZERO);
            }
            let old = world.join(durable("a"));
            for filter in old_filters {
                world.subscribe(&old, filter, options(ONE));
            }
            let (router, filters) = (Arc::clone(&world.router), new_filters.to_vec());
            let (told, copies) = mpsc::channel();
            // The old connection is told that it was taken over before its Subscriptions are gone.
            old.wire.set_meanwhile(move || {
                let mut courier = courier(&router);
                let new = connect(&router, &mut courier, durable("a"), 7);
                for filter in &filters {
                    let filter = SubscriptionFilter::parse(filter).unwrap();
                    let subscription = Subscription { options: options(ONE), id: None };
                    let done =
                        router.subscribe(&mut courier, &new.attachment, &filter, subscription);
                    done.unwrap().result.unwrap();
                }
                let origin = Origin::Refusable(&new.attachment);
                publish(&router, &mut courier, origin, &draft("t", "x", ONE)).unwrap();
                flush(&router, &mut courier);
                told.send(new.read()).unwrap();
            });

            world.connect(Connecting { clean_start: true, ..durable("a") });

            let words = copies.recv().unwrap();
            assert_eq!(words, ["connack present", "t:x q1#1"], "{new_filters:?}, {others} others");
        }
    }
}
