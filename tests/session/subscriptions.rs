//! Subscriptions of a Session: added, replaced, removed, and the Retained Messages they ask for.

use dunlin::packet::{QoS, RetainHandling};
use dunlin::session::{Refusal, Subscribed, Will};

use crate::support::{Desk, filter, id, message, seconds, subscription, subscription_id, terms};

fn subscribe(desk: &mut Desk, text: &str, handling: RetainHandling) -> Result<Subscribed, Refusal> {
    let mut wanted = subscription(QoS::AtLeastOnce);
    wanted.options.retain_handling = handling;
    desk.session.subscribe(&filter(text), wanted, &desk.limits, &mut desk.effects)
}

// [MQTT-3.8.4-3]
#[test]
fn the_same_filter_again_replaces_the_subscription() {
    let mut desk = Desk::new();
    subscribe(&mut desk, "a", RetainHandling::Never).unwrap();
    let mut other = subscription(QoS::ExactlyOnce);
    other.id = Some(subscription_id(7));

    desk.session.subscribe(&filter("a"), other, &desk.limits, &mut desk.effects).unwrap();

    assert_eq!(desk.session.subscription(&filter("a")), Some(other));
    assert_eq!(desk.session.filters().count(), 1);
}

// [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.8.4-4]
#[test]
fn retained_messages_follow_as_retain_handling_says() {
    let cases = [
        (RetainHandling::Always, Subscribed::Replaying, Subscribed::Replaying),
        (RetainHandling::IfNew, Subscribed::Replaying, Subscribed::Quietly),
        (RetainHandling::Never, Subscribed::Quietly, Subscribed::Quietly),
    ];
    for (handling, first, second) in cases {
        let mut desk = Desk::new();

        assert_eq!(subscribe(&mut desk, "a", handling), Ok(first));
        assert_eq!(desk.session.is_replaying(), first == Subscribed::Replaying);

        assert_eq!(subscribe(&mut desk, "a", handling), Ok(second));
    }
}

// 5.0 s4.8.2
#[test]
fn a_shared_subscription_brings_no_retained_messages_and_ends_none() {
    for handling in [RetainHandling::Always, RetainHandling::IfNew, RetainHandling::Never] {
        let mut desk = Desk::new();

        assert_eq!(subscribe(&mut desk, "$share/g/a", handling), Ok(Subscribed::Quietly));
        assert!(!desk.session.is_replaying());

        subscribe(&mut desk, "a", RetainHandling::Always).unwrap();
        desk.session.unsubscribe(&filter("$share/g/a"), &mut desk.effects);
        assert!(desk.session.is_replaying());
    }
}

#[test]
fn one_subscription_too_many_is_refused_and_a_known_one_is_not() {
    let mut desk = Desk::new();
    for text in ["a", "b", "c"] {
        subscribe(&mut desk, text, RetainHandling::Never).unwrap();
    }

    let refused = subscribe(&mut desk, "d", RetainHandling::Never);

    assert_eq!(refused, Err(Refusal::TooManySubscriptions { max: 3 }));
    assert_eq!(subscribe(&mut desk, "a", RetainHandling::Never), Ok(Subscribed::Quietly));
    assert_eq!(desk.session.subscription(&filter("d")), None);
}

#[test]
fn replays_that_wait_are_limited_too() {
    let mut desk = Desk::new();
    for _ in 0..3 {
        subscribe(&mut desk, "a", RetainHandling::Always).unwrap();
    }

    let refused = subscribe(&mut desk, "a", RetainHandling::Always);

    assert_eq!(refused, Err(Refusal::TooManySubscriptions { max: 3 }));
}

// [MQTT-3.10.4-1]
#[test]
fn unsubscribing_removes_only_an_equal_filter() {
    let mut desk = Desk::new();
    subscribe(&mut desk, "a/b", RetainHandling::Never).unwrap();

    assert!(!desk.session.unsubscribe(&filter("a/+"), &mut desk.effects));
    assert!(!desk.session.unsubscribe(&filter("a"), &mut desk.effects));

    assert!(desk.session.unsubscribe(&filter("a/b"), &mut desk.effects));
    assert!(!desk.session.unsubscribe(&filter("a/b"), &mut desk.effects));
}

#[test]
fn unsubscribing_stops_its_replays() {
    let mut desk = Desk::new();
    subscribe(&mut desk, "a", RetainHandling::Always).unwrap();
    subscribe(&mut desk, "b", RetainHandling::Always).unwrap();

    desk.session.unsubscribe(&filter("a"), &mut desk.effects);

    let step = desk.session.begin_replay_step(&terms(8)).unwrap();
    assert_eq!(step.filter.as_str(), "b");
    desk.session.unsubscribe(&filter("b"), &mut desk.effects);
    assert!(!desk.session.is_replaying());
}

#[test]
fn what_a_session_no_longer_has_weighs_nothing() {
    let mut desk = Desk::new();
    let empty = desk.session.state_bytes();
    let will =
        Will { message: message("gone"), expiry: None, delay: seconds(3), patience: seconds(60) };
    desk.session.set_will(Some(will.clone()), &mut desk.effects);
    desk.session.set_will(Some(will), &mut desk.effects);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let filter = filter("a/+");
        desk.session
            .subscribe(&filter, subscription(qos), &desk.limits, &mut desk.effects)
            .unwrap();
    }
    desk.session.receive_publish(id(7), &mut desk.effects);
    let full = desk.session.state_bytes();

    desk.session.take_will(&mut desk.effects);
    desk.session.take_will(&mut desk.effects);
    desk.session.unsubscribe(&filter("a/+"), &mut desk.effects);
    desk.session.unsubscribe(&filter("a/+"), &mut desk.effects);
    desk.session.release_publish(id(7), &mut desk.effects);
    desk.session.shrink();

    assert!(full > empty + message("gone").bytes());
    assert_eq!(desk.session.state_bytes(), empty);
}
