//! Retained Messages against live ones: an older value of a topic never follows a newer one.

use std::sync::Arc;

use bytes::Bytes;
use dunlin::message::Message;
use dunlin::packet::{ForwardedProperties, QoS};
use dunlin::session::{Room, Verdict};
use dunlin::topic::Cursor;

use crate::support::{Desk, filter, subscription, subscription_id, terms, topic};

fn retained(text: &str, qos: QoS) -> Arc<Message> {
    Arc::new(Message {
        topic: topic(text),
        payload: Bytes::from_static(b"value"),
        qos,
        retain: true,
        properties: ForwardedProperties::default(),
        expires_at: None,
    })
}

fn subscribed(granted: QoS) -> Desk {
    let mut desk = Desk::new();
    let mut wanted = subscription(granted);
    wanted.id = Some(subscription_id(5));
    desk.session.subscribe(&filter("a/#"), wanted, &desk.limits, &mut desk.effects).unwrap();
    desk
}

/// Topics a slice gives.
fn slice(desk: &mut Desk, messages: &[Arc<Message>], next: Option<Cursor>) -> Vec<String> {
    let step = desk.session.begin_replay_step(&terms(8)).unwrap();
    end(desk, &step, messages, next)
}

fn end(
    desk: &mut Desk,
    step: &dunlin::session::ReplayStep,
    messages: &[Arc<Message>],
    next: Option<Cursor>,
) -> Vec<String> {
    let mut given = Vec::new();
    desk.session.end_replay_step(step, messages, next, |_, offer| {
        given.push(offer.message.topic.as_str().to_owned());
    });
    given
}

// [MQTT-3.8.4-8]
#[test]
fn retained_messages_come_with_retain_the_lower_qos_and_the_subscription_id() {
    let mut desk = subscribed(QoS::AtLeastOnce);
    let step = desk.session.begin_replay_step(&terms(8)).unwrap();
    let messages = [retained("a/0", QoS::AtMostOnce), retained("a/2", QoS::ExactlyOnce)];

    let mut given = Vec::new();
    desk.session.end_replay_step(&step, &messages, None, |_, offer| {
        given.push((offer.qos, offer.retain, offer.subscription_ids.to_vec()));
    });

    let ids = vec![subscription_id(5)];
    let expected = [(QoS::AtMostOnce, true, ids.clone()), (QoS::AtLeastOnce, true, ids)];
    assert_eq!(given, expected);
}

#[test]
fn the_next_slice_goes_on_where_the_last_one_ended() {
    let mut desk = subscribed(QoS::AtMostOnce);
    let cursor = Cursor::past(&topic("a/1"));

    let first = slice(&mut desk, &[retained("a/1", QoS::AtMostOnce)], Some(cursor));
    assert_eq!(first, ["a/1"]);
    assert!(desk.session.is_replaying());

    let step = desk.session.begin_replay_step(&terms(8)).unwrap();
    assert!(step.cursor.is_some());
    assert_eq!(end(&mut desk, &step, &[], None), [""; 0]);
    assert!(!desk.session.is_replaying());
}

#[test]
fn a_topic_that_was_delivered_live_while_a_slice_was_read_is_skipped() {
    let mut desk = subscribed(QoS::AtMostOnce);
    let step = desk.session.begin_replay_step(&terms(8)).unwrap();
    let read = [retained("a/1", QoS::AtMostOnce), retained("a/2", QoS::AtMostOnce)];

    desk.session.note_live(&topic("a/1"));

    assert_eq!(end(&mut desk, &step, &read, None), ["a/2"]);
}

// Between slices nothing was read yet, so the next slice finds the newest value itself.
#[test]
fn a_topic_that_was_delivered_live_between_slices_is_not_skipped() {
    let mut desk = subscribed(QoS::AtMostOnce);
    slice(&mut desk, &[], Some(Cursor::past(&topic("a/0"))));

    desk.session.note_live(&topic("a/1"));

    assert_eq!(slice(&mut desk, &[retained("a/1", QoS::AtMostOnce)], None), ["a/1"]);
}

#[test]
fn a_slice_waits_while_something_older_waits() {
    let mut desk = subscribed(QoS::AtLeastOnce);
    let narrow = terms(1);
    desk.offer("x", QoS::AtLeastOnce, &narrow);
    assert_eq!(desk.offer("y", QoS::AtLeastOnce, &narrow), Verdict::Queued);

    assert!(desk.session.begin_replay_step(&terms(8)).is_none());

    desk.puback(1);
    desk.all(&narrow);
    assert!(desk.session.begin_replay_step(&terms(8)).is_some());
}

#[test]
fn a_slice_waits_until_what_is_sent_again_was() {
    let mut desk = subscribed(QoS::AtLeastOnce);
    desk.offer("x", QoS::AtLeastOnce, &terms(8));
    desk.resume();

    assert!(desk.session.begin_replay_step(&terms(8)).is_none());

    desk.all(&terms(8));
    assert!(desk.session.begin_replay_step(&terms(8)).is_some());
}

#[test]
fn a_slice_of_a_subscription_that_is_gone_gives_nothing() {
    let mut desk = subscribed(QoS::AtMostOnce);
    let step = desk.session.begin_replay_step(&terms(8)).unwrap();

    desk.session.unsubscribe(&filter("a/#"), &mut desk.effects);

    assert_eq!(end(&mut desk, &step, &[retained("a/1", QoS::AtMostOnce)], None), [""; 0]);
}

// Another connection took over between reading the slice and sending it: it will read its own.
#[test]
fn a_replay_goes_on_after_a_reconnect() {
    let mut desk = subscribed(QoS::AtMostOnce);
    slice(&mut desk, &[retained("a/1", QoS::AtMostOnce)], Some(Cursor::past(&topic("a/1"))));
    let now = desk.now;
    desk.session.away(now, now, &mut desk.effects);

    desk.resume();

    assert!(desk.session.is_replaying());
    assert_eq!(slice(&mut desk, &[retained("a/2", QoS::AtMostOnce)], None), ["a/2"]);
}

// What was read for the old connection may be older than what the new one got since.
#[test]
fn a_slice_that_a_reconnect_made_obsolete_gives_nothing_and_is_read_again() {
    let mut desk = subscribed(QoS::AtMostOnce);
    let step = desk.session.begin_replay_step(&terms(8)).unwrap();
    let read = [retained("a/1", QoS::AtMostOnce)];

    desk.resume();

    assert_eq!(end(&mut desk, &step, &read, None), [""; 0]);
    assert_eq!(slice(&mut desk, &read, None), ["a/1"]);
}

// A newer value of QoS 0 would need no window and overtake what waits for it.
#[test]
fn a_slice_has_no_more_messages_than_the_window_has_room_for() {
    let mut desk = subscribed(QoS::AtLeastOnce);
    assert_eq!(desk.session.begin_replay_step(&terms(2)).unwrap().messages_max, 2);

    desk.offer("x", QoS::AtLeastOnce, &terms(2));
    assert_eq!(desk.session.begin_replay_step(&terms(2)).unwrap().messages_max, 1);

    desk.offer("y", QoS::AtLeastOnce, &terms(2));
    assert!(desk.session.begin_replay_step(&terms(2)).is_none());
}

#[test]
fn a_slice_for_a_subscription_of_qos_0_needs_no_window() {
    let mut desk = subscribed(QoS::AtMostOnce);
    desk.offer("x", QoS::AtLeastOnce, &terms(1));

    assert_eq!(desk.session.begin_replay_step(&terms(1)).unwrap().messages_max, usize::MAX);
}

#[test]
fn a_slice_is_offered_like_any_other_message() {
    let mut desk = subscribed(QoS::AtLeastOnce);
    let step = desk.session.begin_replay_step(&terms(8)).unwrap();
    let read = [retained("a/1", QoS::AtLeastOnce), retained("a/2", QoS::AtLeastOnce)];
    let limits = desk.limits.clone();
    let narrow = terms(1);

    let mut verdicts = Vec::new();
    let effects = &mut desk.effects;
    desk.session.end_replay_step(&step, &read, None, |session, offer| {
        verdicts.push(session.offer(offer, Some(&narrow), Room::Open, &limits, effects));
    });

    assert!(matches!(verdicts[..], [Verdict::Send(_), Verdict::Queued]));
}
