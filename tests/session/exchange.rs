//! Acknowledgements in both directions, and the Packet Identifiers they are about.

use std::collections::HashSet;

use dunlin::packet::{PacketId, QoS, ReasonCode};
use dunlin::session::{ProtocolError, PubRecAnswer, Receipt, Verdict};

use crate::support::{Desk, at_least_once, exactly_once, id, terms};

const ONE: QoS = QoS::AtLeastOnce;
const TWO: QoS = QoS::ExactlyOnce;

fn pubrec(desk: &mut Desk, value: u16) -> PubRecAnswer {
    desk.session.pubrec(id(value), ReasonCode::Success, &mut desk.effects).unwrap()
}

fn pubcomp(desk: &mut Desk, value: u16) -> bool {
    desk.session.pubcomp(id(value), &mut desk.effects).unwrap()
}

// [MQTT-4.3.2-3]
#[test]
fn a_puback_ends_its_exchange_once() {
    let mut desk = Desk::new();
    desk.offer("a", ONE, &terms(8));

    assert!(desk.puback(1));

    assert!(!desk.puback(1));
    assert_eq!(desk.session.bytes(), 0);
}

#[test]
fn acknowledgements_nobody_waits_for_change_nothing() {
    let mut desk = Desk::new();
    assert!(!desk.puback(7));
    assert!(!pubcomp(&mut desk, 7));

    desk.offer("a", ONE, &terms(8));
    assert!(!desk.puback(7));
    assert!(!pubcomp(&mut desk, 7));

    assert_eq!(desk.session.bytes(), crate::support::message("a").bytes());
}

// [MQTT-4.3.3-3] [MQTT-4.3.3-4] [MQTT-4.3.3-5]
#[test]
fn a_qos_2_message_goes_through_pubrec_and_pubcomp() {
    let mut desk = Desk::new();
    desk.offer("a", TWO, &terms(8));

    assert_eq!(pubrec(&mut desk, 1), PubRecAnswer::Release);

    assert!(pubcomp(&mut desk, 1));
    assert!(!pubcomp(&mut desk, 1));
}

// [MQTT-4.3.3-4]
#[test]
fn a_pubrec_that_comes_again_is_answered_again() {
    let mut desk = Desk::new();
    desk.offer("a", TWO, &terms(8));

    assert_eq!(pubrec(&mut desk, 1), PubRecAnswer::Release);
    assert_eq!(pubrec(&mut desk, 1), PubRecAnswer::Release);

    assert!(pubcomp(&mut desk, 1));
}

// [MQTT-3.3.4-9]: until PUBCOMP, not only until PUBREC.
#[test]
fn a_qos_2_message_fills_the_window_until_its_pubcomp() {
    let mut desk = Desk::new();
    let terms = terms(1);
    desk.offer("a", TWO, &terms);
    pubrec(&mut desk, 1);

    assert_eq!(desk.offer("b", TWO, &terms), Verdict::Queued);
    assert_eq!(desk.next(&terms), None);

    pubcomp(&mut desk, 1);
    assert_eq!(desk.next(&terms), Some(exactly_once(2, "b")));
}

// [MQTT-2.2.1-4] [MQTT-4.4.0-2]
#[test]
fn a_pubrec_with_an_error_ends_the_exchange() {
    let mut desk = Desk::new();
    let terms = terms(1);
    desk.offer("a", TWO, &terms);
    desk.offer("b", ONE, &terms);

    let answer = desk.session.pubrec(id(1), ReasonCode::QuotaExceeded, &mut desk.effects);

    assert_eq!(answer, Ok(PubRecAnswer::Nothing));
    assert_eq!(desk.all(&terms), [at_least_once(2, "b")]);
    desk.puback(2);
    desk.resume();
    assert_eq!(desk.all(&terms), []);
    assert_eq!(desk.session.bytes(), 0);
}

#[test]
fn a_pubrec_for_an_unknown_id_is_told_so() {
    let mut desk = Desk::new();
    assert_eq!(pubrec(&mut desk, 9), PubRecAnswer::UnknownId);

    desk.offer("a", TWO, &terms(8));

    assert_eq!(pubrec(&mut desk, 9), PubRecAnswer::UnknownId);
    let refused = desk.session.pubrec(id(9), ReasonCode::UnspecifiedError, &mut desk.effects);
    assert_eq!(refused, Ok(PubRecAnswer::Nothing));
}

#[test]
fn an_acknowledgement_of_another_exchange_is_an_error_and_changes_nothing() {
    let mut desk = Desk::new();
    desk.offer("one", ONE, &terms(8));
    desk.offer("two", TWO, &terms(8));
    desk.offer("released", TWO, &terms(8));
    pubrec(&mut desk, 3);
    let effects = &mut desk.effects;
    let bytes = desk.session.bytes();

    let wrong = |id, packet| ProtocolError::WrongAcknowledgement { id, packet };
    assert_eq!(desk.session.puback(id(2), effects), Err(wrong(id(2), "PUBACK")));
    assert_eq!(desk.session.puback(id(3), effects), Err(wrong(id(3), "PUBACK")));
    let answer = desk.session.pubrec(id(1), ReasonCode::Success, effects);
    assert_eq!(answer, Err(wrong(id(1), "PUBREC")));
    let answer = desk.session.pubrec(id(1), ReasonCode::UnspecifiedError, effects);
    assert_eq!(answer, Err(wrong(id(1), "PUBREC")));
    assert_eq!(desk.session.pubcomp(id(1), effects), Err(wrong(id(1), "PUBCOMP")));
    assert_eq!(desk.session.pubcomp(id(2), effects), Err(wrong(id(2), "PUBCOMP")));

    assert_eq!(wrong(id(1), "PUBACK").reason(), ReasonCode::ProtocolError);
    assert_eq!(desk.session.bytes(), bytes);
    assert!(desk.puback(1));
    assert_eq!(pubrec(&mut desk, 2), PubRecAnswer::Release);
    assert!(pubcomp(&mut desk, 2) && pubcomp(&mut desk, 3));
}

#[test]
fn acknowledgements_out_of_order_are_accepted() {
    let mut desk = Desk::new();
    let terms = terms(3);
    for text in ["a", "b", "c", "d"] {
        desk.offer(text, ONE, &terms);
    }

    assert!(desk.puback(2) && desk.puback(3) && desk.puback(1));

    assert_eq!(desk.all(&terms), [at_least_once(4, "d")]);
}

// [MQTT-2.2.1-4]
#[test]
fn an_identifier_in_flight_is_passed_over_when_the_others_come_round() {
    let mut desk = Desk::new();
    let terms = terms(3);
    desk.offer("stays", TWO, &terms);
    desk.offer("released", TWO, &terms);
    pubrec(&mut desk, 2);

    let mut seen = HashSet::new();
    for _ in 0..2 * 65_535 {
        let Verdict::Send(delivery) = desk.offer("x", ONE, &terms) else { panic!("not sent") };
        let id = delivery.packet_id().unwrap();
        seen.insert(id);
        assert!(desk.session.puback(id, &mut desk.effects).unwrap());
    }

    let all: HashSet<_> = (3..=u16::MAX).filter_map(PacketId::new).collect();
    assert_eq!(seen, all);
}

// [MQTT-4.3.3-10]
#[test]
fn a_second_publish_with_the_same_id_is_answered_but_not_routed() {
    let mut desk = Desk::new();

    assert_eq!(desk.session.receive_publish(id(5), &mut desk.effects), Receipt::New);

    assert_eq!(desk.session.receive_publish(id(5), &mut desk.effects), Receipt::Repeated);
    assert_eq!(desk.session.receive_publish(id(6), &mut desk.effects), Receipt::New);
}

// [MQTT-4.3.3-11] [MQTT-4.3.3-12]
#[test]
fn after_pubrel_the_same_id_is_a_new_message() {
    let mut desk = Desk::new();
    desk.session.receive_publish(id(5), &mut desk.effects);

    assert!(desk.session.release_publish(id(5), &mut desk.effects));
    assert!(!desk.session.release_publish(id(5), &mut desk.effects));

    assert_eq!(desk.session.receive_publish(id(5), &mut desk.effects), Receipt::New);
}

// [MQTT-4.3.3-10]: the identifier belongs to the Session, not to the connection.
#[test]
fn an_id_received_is_remembered_over_a_reconnect() {
    let mut desk = Desk::new();
    desk.session.receive_publish(id(5), &mut desk.effects);

    let now = desk.now;
    desk.session.away(now, now, &mut desk.effects);
    desk.resume();

    assert_eq!(desk.session.receive_publish(id(5), &mut desk.effects), Receipt::Repeated);
}

#[test]
fn all_65_535_ids_may_be_open_at_once() {
    let mut desk = Desk::new();
    let all: Vec<_> = (1..=u16::MAX).filter_map(PacketId::new).collect();

    for id in &all {
        assert_eq!(desk.session.receive_publish(*id, &mut desk.effects), Receipt::New);
    }

    for id in &all {
        assert!(desk.session.release_publish(*id, &mut desk.effects));
    }
}

// Our own identifiers and the client's are two sets.
#[test]
fn the_same_id_may_be_in_use_in_both_directions() {
    let mut desk = Desk::new();
    desk.offer("a", TWO, &terms(8));

    assert_eq!(desk.session.receive_publish(id(1), &mut desk.effects), Receipt::New);

    assert_eq!(pubrec(&mut desk, 1), PubRecAnswer::Release);
    assert!(desk.session.release_publish(id(1), &mut desk.effects));
    assert!(pubcomp(&mut desk, 1));
}
