//! Messages of a group: taken at once or not at all, given back, and settled (5.0 s4.8.2).

use std::sync::Arc;

use dunlin::change::{Change, Keeps, Owed, Ticket, TicketStanding};
use dunlin::packet::{Delivery, QoS, ReasonCode};
use dunlin::session::{DropReason, Offer, Room, SubscriptionIds, Terms, Verdict};

use crate::support::{Desk, expiry, filter, id, message, sent, terms};

const ONE: QoS = QoS::AtLeastOnce;
const TWO: QoS = QoS::ExactlyOnce;

fn ticket(group: &str, position: u64) -> Ticket {
    let group = Arc::new(filter(&format!("$share/{group}/t")));
    Ticket { group, position, lane: 0, standing: TicketStanding::Kept }
}

fn offer(desk: &mut Desk, text: &str, qos: QoS, ticket: &Ticket, terms: &Terms) -> Verdict {
    let (message, ids) = (message(text), SubscriptionIds::new());
    let offer = Offer {
        message: &message,
        qos,
        retain: false,
        subscription_ids: &ids,
        ticket: Some(ticket),
    };
    desk.session.offer(offer, Some(terms), Room::Open, &desk.limits, &mut desk.effects)
}

/// A Session with a store that was sent `a` and `d` of the group `one`, `b` of the group `two`, and
/// `c` of none.
fn member() -> Desk {
    let mut desk = Desk::with(expiry(60), Keeps::Changes);
    offer(&mut desk, "a", ONE, &ticket("one", 1), &terms(8));
    offer(&mut desk, "b", ONE, &ticket("two", 2), &terms(8));
    desk.offer("c", ONE, &terms(8));
    offer(&mut desk, "d", ONE, &ticket("one", 4), &terms(8));
    desk.effects.changes.clear();
    desk
}

fn is_of(group: &str) -> impl FnMut(&Ticket) -> bool + use<> {
    let group = filter(&format!("$share/{group}/t"));
    move |ticket| *ticket.group == group
}

fn texts(given_back: &[Owed]) -> Vec<&[u8]> {
    given_back.iter().map(|owed| &owed.message.payload[..]).collect()
}

/// Positions that a store was told their group no longer owes, since the last call.
fn settled(desk: &mut Desk) -> Vec<u64> {
    let changes = desk.effects.changes.drain(..);
    changes
        .filter_map(|recorded| match recorded.change {
            Change::GroupUnqueued { position, .. } => Some(position),
            _ => None,
        })
        .collect()
}

#[test]
fn what_a_member_did_not_acknowledge_is_given_back_in_its_order() {
    let mut desk = member();

    let given_back = desk.session.give_back(&mut desk.effects, |_| true);

    assert_eq!(texts(&given_back), [b"a", b"b", b"d"]);
    assert_eq!(desk.session.bytes(), message("c").bytes());
}

#[test]
fn only_messages_of_the_groups_that_are_picked_are_given_back() {
    let mut desk = member();

    let given_back = desk.session.give_back(&mut desk.effects, is_of("one"));

    assert_eq!(texts(&given_back), [b"a", b"d"]);
    assert_eq!(texts(&desk.session.give_back(&mut desk.effects, is_of("one"))), [b""; 0]);
    assert_eq!(texts(&desk.session.give_back(&mut desk.effects, |_| true)), [b"b"]);
}

#[test]
fn what_is_given_back_leaves_the_member_but_not_its_group() {
    let mut desk = member();

    desk.session.give_back(&mut desk.effects, |_| true);

    let changes: Vec<_> = desk.effects.changes.iter().map(|recorded| &recorded.change).collect();
    let completed = |change: &Change, value| matches!(change, Change::Completed { id: it, .. } if *it == id(value));
    assert!(completed(changes[0], 1) && completed(changes[1], 2) && completed(changes[2], 4));
    assert_eq!(changes.len(), 3);
}

// [MQTT-4.8.2-4] [MQTT-4.8.2-5]: it is the member's own, though not acknowledged.
#[test]
fn a_qos_2_message_is_not_given_back() {
    let mut desk = Desk::new();
    offer(&mut desk, "sent", TWO, &ticket("one", 1), &terms(8));
    offer(&mut desk, "released", TWO, &ticket("one", 2), &terms(8));
    desk.session.pubrec(id(2), ReasonCode::Success, &mut desk.effects).unwrap();

    let given_back = desk.session.give_back(&mut desk.effects, |_| true);

    assert_eq!(texts(&given_back), [b""; 0]);
    assert!(desk.session.awaits_acknowledgement());
}

#[test]
fn what_was_given_back_counts_against_no_receive_maximum() {
    let mut desk = Desk::new();
    offer(&mut desk, "a", ONE, &ticket("one", 1), &terms(1));

    desk.session.give_back(&mut desk.effects, |_| true);

    assert_eq!(desk.session.open_messages(), 0);
    let next = Delivery::AtLeastOnce { id: id(2), dup: false };
    assert_eq!(desk.offer("b", ONE, &terms(1)), sent(next));
}

// [MQTT-4.8.2-6]
#[test]
fn an_acknowledged_message_is_settled_with_its_group() {
    let mut desk = member();

    desk.puback(4);
    desk.puback(3);
    desk.puback(1);

    assert_eq!(settled(&mut desk), [4, 1]);
}

// [MQTT-4.8.2-5]
#[test]
fn a_qos_2_message_is_settled_with_its_group_once_when_it_is_sent() {
    let mut desk = Desk::with(expiry(60), Keeps::Changes);

    offer(&mut desk, "a", TWO, &ticket("one", 7), &terms(8));
    let when_sent = settled(&mut desk);
    desk.session.pubrec(id(1), ReasonCode::Success, &mut desk.effects).unwrap();
    desk.session.pubcomp(id(1), &mut desk.effects).unwrap();

    assert_eq!(when_sent, [7]);
    assert_eq!(settled(&mut desk), [0; 0]);
}

#[test]
fn a_message_that_grew_too_large_for_the_member_is_settled_with_its_group() {
    let mut desk = Desk::with(expiry(60), Keeps::Changes);
    offer(&mut desk, &"x".repeat(300), ONE, &ticket("one", 7), &terms(8));
    desk.resume();
    let small = Terms { maximum_packet_size: 100, ..terms(8) };

    assert_eq!(desk.all(&small), []);

    assert_eq!(settled(&mut desk), [7]);
    assert_eq!(desk.dropped(), [(DropReason::TooLarge, 1)]);
}

// The store was never told that the group owes it.
#[test]
fn a_message_whose_group_is_not_kept_is_settled_in_silence() {
    let mut desk = Desk::with(expiry(60), Keeps::Changes);
    let fleeting = Ticket { standing: TicketStanding::Fleeting, ..ticket("one", 1) };
    offer(&mut desk, "a", ONE, &fleeting, &terms(8));

    desk.puback(1);

    assert_eq!(settled(&mut desk), [0; 0]);
}

#[test]
fn without_a_store_nothing_is_told_of_a_group() {
    let mut desk = Desk::new();
    offer(&mut desk, "a", ONE, &ticket("one", 1), &terms(8));

    desk.puback(1);

    assert_eq!(settled(&mut desk), [0; 0]);
}

#[test]
fn a_member_takes_a_message_at_once_until_its_window_is_full() {
    let mut desk = Desk::new();
    let terms = terms(2);

    let mut takes = Vec::new();
    for text in ["a", "b", "c"] {
        takes.push(desk.session.takes_at_once(&terms, &desk.limits));
        desk.offer(text, ONE, &terms);
    }

    assert_eq!(takes, [true, true, false]);
}

#[test]
fn a_member_takes_nothing_at_once_while_something_older_waits() {
    let mut queued = Desk::new();
    queued.offer_away("waits", ONE);
    let mut resumed = Desk::new();
    resumed.offer("goes again", ONE, &terms(8));
    resumed.resume();

    for mut desk in [queued, resumed] {
        assert!(!desk.session.takes_at_once(&terms(8), &desk.limits));

        desk.all(&terms(8));
        assert!(desk.session.takes_at_once(&terms(8), &desk.limits));
    }
}

#[test]
fn the_last_message_a_member_takes_may_pass_the_limit() {
    let mut desk = Desk::new();
    desk.limits.queue_bytes_max = message("a").bytes() + 1;

    offer(&mut desk, "a", ONE, &ticket("one", 1), &terms(8));
    assert!(desk.session.takes_at_once(&terms(8), &desk.limits));
    let last = offer(&mut desk, "b", ONE, &ticket("one", 2), &terms(8));

    assert!(matches!(last, Verdict::Send(_)));
    assert!(!desk.session.takes_at_once(&terms(8), &desk.limits));
}

#[test]
fn a_member_at_its_limit_takes_nothing_at_once() {
    let mut desk = Desk::new();
    desk.limits.queue_bytes_max = message("a").bytes();

    desk.offer("a", ONE, &terms(8));

    assert!(!desk.session.takes_at_once(&terms(8), &desk.limits));
}
