//! Wills, and Sessions that end while nobody looks, on a clock of the test's own.

use std::sync::Arc;
use std::time::Duration;

use dunlin::packet::{QoS, SubscriptionOptions};
use dunlin::router::Ending;
use dunlin::session::{Farewell, Will, WillFate};

use crate::support::{
    Connecting, ONE, Peer, World, ZERO, client, draft, durable, expiry, options, will,
};

fn watched() -> (World, Peer) {
    let mut world = World::new();
    let watcher = world.subscriber(client("watcher"), "w/#", ZERO);
    (world, watcher)
}

fn dying(expiry: dunlin::change::SessionExpiry, delay: u64) -> Connecting {
    Connecting { expiry, will: Some(will("w/1", delay)), ..client("a") }
}

impl World {
    fn seen(&mut self, watcher: &Peer) -> Vec<String> {
        self.run_schedule();
        self.flush();
        watcher.read()
    }
}

// [MQTT-3.1.2-8]
#[test]
fn a_lost_connection_sends_its_will_and_a_farewell_does_not() {
    let (mut world, watcher) = watched();
    let a = world.join(dying(expiry(60), 0));
    world.lose(&a);
    assert_eq!(world.seen(&watcher), ["w/1:gone"]);

    let a = world.join(dying(expiry(60), 0));
    world.farewell(&a);

    world.pass(60);
    assert_eq!(world.seen(&watcher), [""; 0]);
}

// [MQTT-3.14.4-3]
#[test]
fn a_farewell_that_keeps_the_will_sends_it() {
    let (mut world, watcher) = watched();
    let a = world.join(dying(expiry(60), 0));

    let farewell = Farewell { expiry: None, will: WillFate::Sent };
    world.leave(&a, Ending::Farewell(farewell));

    assert_eq!(world.seen(&watcher), ["w/1:gone"]);
}

#[test]
fn a_shutdown_sends_no_will_and_ends_no_session() {
    let (mut world, watcher) = watched();
    let a = world.join(dying(expiry(60), 0));

    world.leave(&a, Ending::Shutdown);

    assert_eq!(world.seen(&watcher), [""; 0]);
    assert_eq!(world.metrics.sessions.value(), 2);
}

// [MQTT-3.1.2-8]
#[test]
fn a_delayed_will_goes_out_on_time() {
    let (mut world, watcher) = watched();
    let a = world.join(dying(expiry(60), 10));
    world.lose(&a);
    let due = world.run_schedule();
    assert_eq!(due, Some(world.now + Duration::from_secs(10)));

    world.pass(9);
    assert_eq!(world.seen(&watcher), [""; 0]);
    world.pass(1);
    assert_eq!(world.seen(&watcher), ["w/1:gone"]);

    assert_eq!(world.run_schedule(), Some(world.now + Duration::from_secs(50)));
    world.pass(50);
    assert_eq!(world.seen(&watcher), [""; 0]);
    assert_eq!(world.metrics.sessions.value(), 1);
}

// [MQTT-3.1.2-8]
#[test]
fn a_will_goes_out_when_its_session_ends_first() {
    let (mut world, watcher) = watched();
    let a = world.join(dying(expiry(5), 10));
    world.lose(&a);

    world.pass(5);

    assert_eq!(world.seen(&watcher), ["w/1:gone"]);
    assert_eq!(world.metrics.sessions.value(), 1);
}

// [MQTT-3.1.3-9]
#[test]
fn coming_back_cancels_a_will_that_waits() {
    let (mut world, watcher) = watched();
    let a = world.join(dying(expiry(60), 10));
    world.lose(&a);
    world.pass(9);

    let again = world.join(Connecting { expiry: expiry(60), ..client("a") });

    assert!(again.session_present);
    world.pass(100);
    assert_eq!(world.seen(&watcher), [""; 0]);
    // It is connected, so nothing ends.
    assert_eq!(world.metrics.sessions.value(), 2);
}

#[test]
fn a_second_absence_counts_from_its_own_start() {
    let (mut world, watcher) = watched();
    let a = world.join(dying(expiry(60), 10));
    world.lose(&a);
    world.pass(9);
    let again = world.join(dying(expiry(60), 10));
    world.pass(1);
    world.lose(&again);

    world.pass(9);
    assert_eq!(world.seen(&watcher), [""; 0]);

    world.pass(1);
    assert_eq!(world.seen(&watcher), ["w/1:gone"]);
}

// [MQTT-4.1.0-2]
#[test]
fn a_session_ends_when_its_expiry_has_passed_and_takes_its_subscriptions_along() {
    let mut world = World::new();
    let a = world.subscriber(Connecting { expiry: expiry(60), ..client("a") }, "t", ONE);
    let publisher = world.join(client("publisher"));
    world.lose(&a);
    world.publish(&publisher, &draft("t", "x", ONE));

    world.pass(59);
    world.run_schedule();
    assert_eq!(world.publish(&publisher, &draft("t", "x", ONE)).takers, 1);
    world.pass(1);
    assert_eq!(world.run_schedule(), None);

    assert_eq!(world.publish(&publisher, &draft("t", "x", ONE)).takers, 0);
    assert_eq!(world.metrics.sessions.value(), 1);
    assert_eq!(world.metrics.amount(|counters| &counters.session_bytes), 0);
    let again = world.connect(Connecting { expiry: expiry(60), ..client("a") });
    assert!(!again.session_present);
}

#[test]
fn a_farewell_may_shorten_the_expiry() {
    let mut world = World::new();
    let a = world.join(durable("a"));
    let farewell = Farewell { expiry: Some(expiry(5)), will: WillFate::Discarded };
    world.leave(&a, Ending::Farewell(farewell));

    world.pass(5);
    world.run_schedule();

    assert_eq!(world.metrics.sessions.value(), 0);
}

#[test]
fn a_shorter_absence_is_not_held_up_by_a_longer_one_before() {
    let mut world = World::new();
    let a = world.join(Connecting { expiry: expiry(1_000), ..client("a") });
    world.lose(&a);
    let a = world.join(Connecting { expiry: expiry(5), ..client("a") });
    world.lose(&a);

    world.pass(5);
    world.run_schedule();

    assert_eq!(world.metrics.sessions.value(), 0);
}

#[test]
fn a_longer_absence_is_not_cut_by_a_shorter_one_before() {
    let mut world = World::new();
    let a = world.join(Connecting { expiry: expiry(5), ..client("a") });
    world.lose(&a);
    let a = world.join(Connecting { expiry: expiry(1_000), ..client("a") });
    world.lose(&a);

    world.pass(999);
    world.run_schedule();
    assert_eq!(world.metrics.sessions.value(), 1);

    world.pass(1);
    world.run_schedule();
    assert_eq!(world.metrics.sessions.value(), 0);
}

// [MQTT-3.1.2-15]
#[test]
fn a_retained_will_is_retained_with_its_own_expiry() {
    let (mut world, watcher) = watched();
    let mut will = will("w/1", 0);
    let message = dunlin::message::Message {
        topic: will.message.topic.clone(),
        payload: will.message.payload.clone(),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: dunlin::packet::ForwardedProperties::default(),
        expires_at: None,
    };
    will = Will { message: Arc::new(message), expiry: Some(30), ..will };
    let a = world.join(Connecting { will: Some(will), ..client("a") });
    world.pass(100);
    world.lose(&a);
    assert_eq!(world.seen(&watcher), ["w/1:gone expiry30"]);

    world.pass(10);
    let late = world.join(client("late"));
    let always = SubscriptionOptions::new(ZERO);
    world.subscribe(&late, "w/+", always);
    world.replay(&late);
    world.flush();

    assert_eq!(late.read(), ["w/1:gone retain expiry20"]);
}

#[test]
fn many_sessions_due_at_once_all_end() {
    let mut world = World::new();
    for number in 0..300_u64 {
        let name: &'static str = Box::leak(format!("c{number}").into_boxed_str());
        let peer = world.join(Connecting { expiry: expiry(10 + number % 7), ..client(name) });
        world.lose(&peer);
    }
    assert_eq!(world.metrics.sessions.value(), 300);

    world.pass(12);
    world.run_schedule();
    assert_eq!(world.metrics.sessions.value(), 300 - 43 * 3);

    world.pass(4);
    assert_eq!(world.run_schedule(), None);
    assert_eq!(world.metrics.sessions.value(), 0);
}

// [MQTT-3.8.3-3]: a Will is a message of the client whose Will it is.
#[test]
fn a_client_with_no_local_does_not_get_its_own_will() {
    for delay in [0, 10] {
        let mut world = World::new();
        let no_local = SubscriptionOptions { no_local: true, ..options(ONE) };
        let watcher = world.join(client("watcher"));
        world.subscribe(&watcher, "w/1", no_local);
        let mut will = will("w/1", delay);
        Arc::get_mut(&mut will.message).unwrap().qos = ONE;
        let a = world.join(Connecting { will: Some(will), ..durable("a") });
        world.subscribe(&a, "w/1", no_local);

        world.lose(&a);
        world.pass(10);

        assert_eq!(world.seen(&watcher), ["w/1:gone q1#1"], "delay {delay}");
        let again = world.connect(durable("a"));
        world.flush();
        assert_eq!(again.read(), ["connack present"], "delay {delay}");
    }
}

#[test]
fn a_session_that_ended_early_is_waited_for_no_longer() {
    let mut world = World::new();
    let a = world.join(Connecting { expiry: expiry(60), ..client("a") });
    world.lose(&a);
    assert!(world.run_schedule().is_some());

    let again = world.join(Connecting { clean_start: true, ..client("a") });
    world.farewell(&again);

    assert_eq!(world.run_schedule(), None);
    assert_eq!(world.metrics.sessions.value(), 0);
}
