//! What a store is told: each durable fact, in order, and only of Sessions that are kept.

use std::sync::Arc;

use dunlin::change::{Change, Epoch, Keeps, SessionExpiry};
use dunlin::packet::{QoS, ReasonCode};
use dunlin::session::{Offer, QueueWhenFull, Room, Will};

use crate::support::{
    Desk, expiry, filter, id, message, message_until, owner, seconds, subscription,
    subscription_id, terms,
};

const ONE: QoS = QoS::AtLeastOnce;
const TWO: QoS = QoS::ExactlyOnce;

/// One change in short.
pub(crate) fn short(change: &Change) -> String {
    let text =
        |message: &dunlin::message::Message| String::from_utf8(message.payload.to_vec()).unwrap();
    match change {
        Change::SessionBegun { identity, expiry, .. } => {
            assert_eq!(*identity, owner());
            format!("begun {expiry:?}")
        }
        Change::SessionExpiryChanged { expiry, .. } => format!("expiry {expiry:?}"),
        Change::SessionResumed { .. } => "resumed".into(),
        Change::SessionAway { .. } => "away".into(),
        Change::SessionEnded { .. } => "ended".into(),
        Change::Subscribed { filter, .. } => format!("subscribed {}", filter.filter.as_str()),
        Change::Unsubscribed { filter, .. } => format!("unsubscribed {}", filter.filter.as_str()),
        Change::Queued { position, owed, .. } => {
            format!("queued {position} {}", text(&owed.message))
        }
        Change::Unqueued { position, .. } => format!("unqueued {position}"),
        Change::Sent { position, id, owed, .. } => {
            format!("sent {position:?} as {id} {}", text(&owed.message))
        }
        Change::Released { id, .. } => format!("released {id}"),
        Change::Completed { id, .. } => format!("completed {id}"),
        Change::Received { id, .. } => format!("received {id}"),
        Change::Forgotten { id, .. } => format!("forgotten {id}"),
        Change::WillKept { delay, patience, .. } => {
            assert_eq!(patience.as_secs(), 60);
            format!("will {}", delay.as_secs())
        }
        Change::WillDropped { .. } => "no will".into(),
        Change::GroupUnqueued { position, .. } => format!("group unqueued {position}"),
        Change::Retained { .. } | Change::RetainedRemoved { .. } | Change::GroupQueued { .. } => {
            panic!("not a Session's")
        }
    }
}

/// What was reported since the last call.
pub(crate) fn reported(desk: &mut Desk) -> Vec<String> {
    desk.effects.changes.drain(..).map(|recorded| short(&recorded.change)).collect()
}

fn kept() -> Desk {
    let mut desk = Desk::with(expiry(60), Keeps::Changes);
    desk.effects.changes.clear();
    desk
}

/// One of everything that changes a Session.
fn live(desk: &mut Desk) {
    let terms = terms(1);
    let will =
        Will { message: message("gone"), expiry: None, delay: seconds(3), patience: seconds(60) };
    desk.session.set_will(Some(will), &mut desk.effects);
    let options = subscription(TWO);
    let filter = filter("a/+");
    desk.session.subscribe(&filter, options, &desk.limits, &mut desk.effects).unwrap();
    desk.offer("first", ONE, &terms);
    desk.offer("second", TWO, &terms);
    desk.puback(1);
    desk.next(&terms);
    desk.session.pubrec(id(2), ReasonCode::Success, &mut desk.effects).unwrap();
    desk.session.pubcomp(id(2), &mut desk.effects).unwrap();
    desk.session.receive_publish(id(9), &mut desk.effects);
    desk.session.receive_publish(id(9), &mut desk.effects);
    desk.session.release_publish(id(9), &mut desk.effects);
    desk.session.unsubscribe(&filter, &mut desk.effects);
}

#[test]
fn every_durable_fact_is_reported_in_the_order_it_happened() {
    let mut desk = Desk::with(expiry(60), Keeps::Changes);

    live(&mut desk);
    desk.session.end(&mut desk.effects);

    let expected = [
        "begun After(60s)",
        "will 3",
        "subscribed a/+",
        "sent None as 1 first",
        "queued 0 second",
        "completed 1",
        "sent Some(0) as 2 second",
        "released 2",
        "completed 2",
        "received 9",
        "forgotten 9",
        "unsubscribed a/+",
        "no will",
        "ended",
    ];
    assert_eq!(reported(&mut desk), expected);
}

#[test]
fn a_session_that_ends_with_its_connection_is_not_reported() {
    let mut desk = Desk::with(SessionExpiry::AtDisconnect, Keeps::Changes);

    live(&mut desk);
    desk.session.end(&mut desk.effects);

    assert_eq!(reported(&mut desk), [""; 0]);
}

#[test]
fn a_store_that_keeps_nothing_is_told_nothing() {
    let mut desk = Desk::with(SessionExpiry::Never, Keeps::Nothing);

    live(&mut desk);
    desk.session.change_expiry(expiry(5), &mut desk.effects);
    desk.session.end(&mut desk.effects);

    assert_eq!(reported(&mut desk), [""; 0]);
}

#[test]
fn a_session_that_stops_being_kept_is_reported_once_more() {
    let mut desk = kept();

    desk.session.change_expiry(SessionExpiry::AtDisconnect, &mut desk.effects);
    live(&mut desk);

    assert_eq!(reported(&mut desk), ["expiry AtDisconnect"]);
}

#[test]
fn an_expiry_that_stays_the_same_is_no_change() {
    let mut desk = kept();

    desk.session.change_expiry(expiry(60), &mut desk.effects);
    desk.resume();

    assert_eq!(reported(&mut desk), ["resumed"]);
}

#[test]
fn changes_carry_the_claim_they_were_made_under() {
    let mut desk = kept();
    desk.offer_away("a", ONE);

    desk.session.claimed(Epoch(2));
    desk.session.resume(expiry(30), &mut desk.effects);
    desk.offer_away("b", ONE);

    let epochs: Vec<_> = desk.effects.changes.iter().map(|recorded| recorded.epoch).collect();
    assert_eq!(epochs, [Epoch(1), Epoch(2), Epoch(2), Epoch(2)]);
}

// [MQTT-4.3.3-10]: the first of them is the fact.
#[test]
fn a_qos_2_publish_is_reported_when_it_comes_first() {
    let mut desk = kept();

    desk.session.receive_publish(id(9), &mut desk.effects);
    assert_eq!(reported(&mut desk), ["received 9"]);

    desk.session.receive_publish(id(9), &mut desk.effects);
    assert_eq!(reported(&mut desk), [""; 0]);
}

// [MQTT-4.4.0-1]: the same exchange goes on.
#[test]
fn sending_again_changes_nothing_durable() {
    let mut desk = kept();
    desk.offer("a", TWO, &terms(8));
    desk.effects.changes.clear();

    desk.resume();
    desk.all(&terms(8));

    assert_eq!(reported(&mut desk), ["resumed"]);
}

#[test]
fn what_leaves_the_queue_unsent_is_reported() {
    let mut desk = kept();
    let expiring = message_until("late", Some(desk.now + seconds(1)));
    desk.offer_to(&expiring, ONE, Some(&terms(8)), Room::Full);
    desk.offer_full(&"x".repeat(300), ONE);
    desk.offer_full("b", ONE);
    desk.effects.changes.clear();
    desk.now += seconds(1);
    let mut small = terms(8);
    small.maximum_packet_size = 100;

    desk.all(&small);

    assert_eq!(reported(&mut desk), ["unqueued 0", "unqueued 1", "sent Some(2) as 1 b"]);
}

#[test]
fn what_gives_way_to_a_newer_message_leaves_the_store_before_that_enters_it() {
    let mut desk = kept();
    desk.limits.queue_when_full = QueueWhenFull::DropOldest;
    desk.limits.queue_offline_messages_max = 1;
    desk.offer_away("a", ONE);
    desk.effects.changes.clear();

    desk.offer_away("b", ONE);

    assert_eq!(reported(&mut desk), ["unqueued 0", "queued 1 b"]);
}

#[test]
fn what_is_given_up_when_sending_again_is_completed_or_at_qos_2_released() {
    for (qos, change) in [(ONE, "completed 1"), (TWO, "released 1")] {
        let mut desk = kept();
        desk.offer(&"x".repeat(300), qos, &terms(8));
        desk.resume();
        desk.effects.changes.clear();
        let mut small = terms(8);
        small.maximum_packet_size = 100;

        desk.all(&small);

        assert_eq!(reported(&mut desk), [change]);
    }
}

#[test]
fn what_was_refused_or_dropped_is_not_reported() {
    let mut desk = kept();
    desk.limits.queue_offline_messages_max = 0;
    let mut small = terms(8);
    small.maximum_packet_size = 10;

    desk.offer_away("a", ONE);
    desk.offer(&"x".repeat(300), ONE, &small);

    assert_eq!(reported(&mut desk), [""; 0]);
}

#[test]
fn a_pubrec_with_an_error_completes() {
    let mut desk = kept();
    desk.offer("a", TWO, &terms(8));
    desk.effects.changes.clear();

    desk.session.pubrec(id(1), ReasonCode::QuotaExceeded, &mut desk.effects).unwrap();

    assert_eq!(reported(&mut desk), ["completed 1"]);
}

#[test]
fn acknowledgements_nobody_waits_for_are_not_reported() {
    let mut desk = kept();
    desk.offer("a", TWO, &terms(8));
    desk.session.pubrec(id(1), ReasonCode::Success, &mut desk.effects).unwrap();
    desk.effects.changes.clear();

    desk.puback(7);
    desk.session.pubrec(id(7), ReasonCode::Success, &mut desk.effects).unwrap();
    desk.session.pubcomp(id(7), &mut desk.effects).unwrap();
    desk.session.release_publish(id(7), &mut desk.effects);

    assert_eq!(reported(&mut desk), [""; 0]);
}

#[test]
fn queue_positions_are_never_given_twice() {
    let mut desk = kept();
    desk.offer_full("a", ONE);
    desk.all(&terms(8));
    desk.puback(1);

    desk.offer_full("b", ONE);

    let expected = ["queued 0 a", "sent Some(0) as 1 a", "completed 1", "queued 1 b"];
    assert_eq!(reported(&mut desk), expected);
}

/// What a store has to give back after a restart is more than the message: how this client gets it.
#[test]
fn a_kept_message_says_how_its_client_gets_it() {
    let mut desk = kept();
    let (message, ids) = (message("m"), [subscription_id(7)].into_iter().collect());
    let offer =
        Offer { message: &message, qos: ONE, retain: true, subscription_ids: &ids, ticket: None };
    let limits = desk.limits.clone();

    desk.session.offer(offer, Some(&terms(1)), Room::Full, &limits, &mut desk.effects);
    desk.next(&terms(1));

    let kept: Vec<_> = desk.effects.changes.drain(..).map(|recorded| recorded.change).collect();
    let [Change::Queued { owed: queued, .. }, Change::Sent { owed: sent, .. }] = &kept[..] else {
        panic!("queued, then sent: {kept:?}");
    };
    for owed in [queued, sent] {
        assert!(Arc::ptr_eq(&owed.message, &message));
        assert_eq!((owed.qos, owed.retain, &owed.subscription_ids), (ONE, true, &ids));
    }
}
