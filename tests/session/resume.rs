//! Reconnecting to a Session that still owes something: what is sent again, and in which order.

use dunlin::packet::{QoS, ReasonCode};
use dunlin::session::{DropReason, Verdict};

use crate::support::{Desk, Sent, again, at_least_once, exactly_once, id, message, terms};

const ONE: QoS = QoS::AtLeastOnce;
const TWO: QoS = QoS::ExactlyOnce;

fn pubrec(desk: &mut Desk, value: u16) {
    desk.session.pubrec(id(value), ReasonCode::Success, &mut desk.effects).unwrap();
}

// [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-3.3.1-1] [MQTT-4.3.3-6]
#[test]
fn all_that_is_open_is_sent_again_in_order_with_dup_and_its_old_id() {
    let mut desk = Desk::new();
    for (text, qos) in [("a", ONE), ("b", TWO), ("c", TWO), ("d", ONE)] {
        desk.offer(text, qos, &terms(8));
    }
    pubrec(&mut desk, 2);

    desk.resume();

    let expected = [
        Sent::PubRel(id(2)),
        again(&at_least_once(1, "a")),
        again(&exactly_once(3, "c")),
        again(&at_least_once(4, "d")),
    ];
    assert_eq!(desk.all(&terms(8)), expected);
}

// [MQTT-3.3.4-10]
#[test]
fn a_pubrel_waits_for_no_publish_that_the_receive_maximum_holds_back() {
    let mut desk = Desk::new();
    for (text, qos) in [("a", ONE), ("b", ONE), ("c", TWO), ("d", TWO)] {
        desk.offer(text, qos, &terms(4));
    }
    pubrec(&mut desk, 3);
    pubrec(&mut desk, 4);

    desk.resume();

    let expected = [Sent::PubRel(id(3)), Sent::PubRel(id(4)), again(&at_least_once(1, "a"))];
    assert_eq!(desk.all(&terms(1)), expected);
}

// [MQTT-4.6.0-4]: also on a connection that comes later, whatever was sent first.
#[test]
fn pubrels_are_sent_again_in_the_order_of_the_pubrecs() {
    let mut desk = Desk::new();
    for text in ["a", "b", "c", "d"] {
        desk.offer(text, TWO, &terms(4));
    }
    pubrec(&mut desk, 3);
    pubrec(&mut desk, 1);
    desk.resume();
    desk.all(&terms(4));
    for value in [4, 3, 2] {
        pubrec(&mut desk, value);
    }

    desk.resume();

    let expected = [3, 1, 4, 2].map(|value| Sent::PubRel(id(value)));
    assert_eq!(desk.all(&terms(4)), expected);
}

// [MQTT-4.4.0-1]: at no other time.
#[test]
fn nothing_is_sent_again_on_the_same_connection() {
    let mut desk = Desk::new();
    desk.offer("a", ONE, &terms(8));
    desk.offer("b", TWO, &terms(8));

    assert_eq!(desk.all(&terms(8)), []);
}

#[test]
fn each_reconnect_sends_again_what_is_still_open() {
    let mut desk = Desk::new();
    desk.offer("a", ONE, &terms(8));
    for _ in 0..3 {
        desk.resume();

        assert_eq!(desk.all(&terms(8)), [again(&at_least_once(1, "a"))]);
    }

    desk.puback(1);
    desk.resume();

    assert_eq!(desk.all(&terms(8)), []);
}

// [MQTT-4.6.0-5]
#[test]
fn new_messages_go_after_what_is_sent_again_and_after_the_queue() {
    let mut desk = Desk::new();
    desk.offer("a", ONE, &terms(8));
    desk.offer_away("b", TWO);
    desk.resume();

    assert_eq!(desk.offer("c", ONE, &terms(8)), Verdict::Queued);

    let expected = [again(&at_least_once(1, "a")), exactly_once(2, "b"), at_least_once(3, "c")];
    assert_eq!(desk.all(&terms(8)), expected);
}

// [MQTT-3.3.4-9] [MQTT-4.6.0-1]
#[test]
fn a_smaller_receive_maximum_holds_for_what_is_sent_again() {
    let mut desk = Desk::new();
    for text in ["a", "b", "c", "d"] {
        desk.offer(text, ONE, &terms(8));
    }
    desk.resume();
    let narrow = terms(2);

    assert_eq!(desk.all(&narrow), [again(&at_least_once(1, "a")), again(&at_least_once(2, "b"))]);
    desk.puback(2);
    assert_eq!(desk.all(&narrow), [again(&at_least_once(3, "c"))]);
    desk.puback(1);
    assert_eq!(desk.all(&narrow), [again(&at_least_once(4, "d"))]);
    assert_eq!(desk.all(&narrow), []);
}

// [MQTT-3.3.4-10]: PUBREL is not held back.
#[test]
fn pubrel_is_sent_again_whatever_the_receive_maximum() {
    let mut desk = Desk::new();
    for text in ["a", "b", "c"] {
        desk.offer(text, TWO, &terms(8));
    }
    pubrec(&mut desk, 1);
    pubrec(&mut desk, 2);
    pubrec(&mut desk, 3);
    desk.resume();

    let expected = [Sent::PubRel(id(1)), Sent::PubRel(id(2)), Sent::PubRel(id(3))];
    assert_eq!(desk.all(&terms(1)), expected);

    // They were charged on the earlier connection, not on this one.
    desk.offer_away("d", ONE);
    assert_eq!(desk.all(&terms(1)), [at_least_once(4, "d")]);
}

#[test]
fn what_was_sent_again_can_be_acknowledged_before_all_is() {
    let mut desk = Desk::new();
    for text in ["a", "b", "c"] {
        desk.offer(text, ONE, &terms(8));
    }
    desk.resume();
    assert_eq!(desk.next(&terms(8)), Some(again(&at_least_once(1, "a"))));

    desk.puback(1);

    let rest = [again(&at_least_once(2, "b")), again(&at_least_once(3, "c"))];
    assert_eq!(desk.all(&terms(8)), rest);
}

// A PUBACK that was under way when the connection broke may come before the message goes again.
#[test]
fn an_acknowledgement_of_what_was_not_sent_again_yet_ends_it() {
    let mut desk = Desk::new();
    for text in ["a", "b", "c"] {
        desk.offer(text, ONE, &terms(8));
    }
    desk.resume();

    assert!(desk.puback(2));

    let rest = [again(&at_least_once(1, "a")), again(&at_least_once(3, "c"))];
    assert_eq!(desk.all(&terms(8)), rest);
    assert!(desk.puback(1) && desk.puback(3));
    assert_eq!(desk.session.bytes(), 0);
}

#[test]
fn a_second_reconnect_before_all_is_sent_again_starts_over() {
    let mut desk = Desk::new();
    for text in ["a", "b"] {
        desk.offer(text, ONE, &terms(8));
    }
    desk.resume();
    desk.next(&terms(8));

    desk.resume();

    let both = [again(&at_least_once(1, "a")), again(&at_least_once(2, "b"))];
    assert_eq!(desk.all(&terms(8)), both);
}

// [MQTT-3.1.2-25]
#[test]
fn a_message_that_grew_too_large_for_its_client_is_given_up() {
    let mut desk = Desk::new();
    let long = "x".repeat(300);
    desk.offer(&long, ONE, &terms(8));
    desk.offer("b", ONE, &terms(8));
    desk.resume();
    let mut small = terms(8);
    small.maximum_packet_size = 100;

    assert_eq!(desk.all(&small), [again(&at_least_once(2, "b"))]);

    assert_eq!(desk.dropped(), [(DropReason::TooLarge, 1)]);
    assert_eq!(desk.session.bytes(), message("b").bytes());
    assert!(!desk.puback(1));
}

// [MQTT-3.1.2-25] [MQTT-4.3.3-10]: a client that has it already holds its identifier until PUBREL.
#[test]
fn a_qos_2_message_that_grew_too_large_is_given_up_and_its_identifier_settled() {
    let mut desk = Desk::new();
    let long = "x".repeat(300);
    desk.offer(&long, TWO, &terms(8));
    desk.resume();
    let mut small = terms(8);
    small.maximum_packet_size = 100;

    assert_eq!(desk.all(&small), [Sent::PubRel(id(1))]);

    assert_eq!(desk.dropped(), [(DropReason::TooLarge, 1)]);
    assert_eq!(desk.session.bytes(), 0);
    assert_eq!(desk.session.pubcomp(id(1), &mut desk.effects), Ok(true));
}

// [MQTT-4.6.0-4]: what is released without a PUBREC has its place as well.
#[test]
fn a_pubrec_after_a_message_was_given_up_comes_behind_it() {
    let mut desk = Desk::new();
    desk.offer("a", TWO, &terms(8));
    desk.offer(&"x".repeat(300), TWO, &terms(8));
    desk.resume();
    let mut small = terms(8);
    small.maximum_packet_size = 100;
    assert_eq!(desk.all(&small), [again(&exactly_once(1, "a")), Sent::PubRel(id(2))]);
    pubrec(&mut desk, 1);

    desk.resume();

    assert_eq!(desk.all(&small), [Sent::PubRel(id(2)), Sent::PubRel(id(1))]);
}

// [MQTT-2.2.1-4]: an identifier that still waits for PUBCOMP is in use.
#[test]
fn identifiers_from_the_earlier_connection_are_not_given_out_again() {
    let mut desk = Desk::new();
    for text in ["a", "b"] {
        desk.offer(text, TWO, &terms(8));
    }
    pubrec(&mut desk, 1);
    desk.resume();
    desk.all(&terms(8));

    let mut ids = Vec::new();
    for _ in 0..65_533 {
        let Verdict::Send(delivery) = desk.offer("x", ONE, &terms(8)) else { panic!("not sent") };
        let id = delivery.packet_id().unwrap();
        ids.push(id);
        desk.session.puback(id, &mut desk.effects).unwrap();
    }

    assert!(!ids.contains(&id(1)) && !ids.contains(&id(2)));
}

/// A Session whose client reconnects with so many exchanges that wait for PUBCOMP.
fn released(count: u16) -> Desk {
    let mut desk = Desk::new();
    for value in 1..=count {
        desk.offer("a", TWO, &terms(count));
        pubrec(&mut desk, value);
    }
    desk.resume();
    desk.all(&terms(1));
    desk
}

// Exchanges of earlier connections count against no Receive Maximum: they could pile up.
#[test]
fn while_1_024_earlier_exchanges_wait_for_pubcomp_new_messages_wait() {
    let mut desk = released(1_024);

    assert_eq!(desk.offer("b", ONE, &terms(8)), Verdict::Queued);
    assert_eq!(desk.next(&terms(8)), None);

    desk.session.pubcomp(id(7), &mut desk.effects).unwrap();
    assert_eq!(desk.next(&terms(8)), Some(at_least_once(1_025, "b")));
}

// [MQTT-2.2.1-4]: all 65,535 identifiers are in use, though the Receive Maximum allows one more.
#[test]
fn without_a_free_identifier_messages_wait_and_are_not_lost() {
    let mut desk = released(1);
    desk.limits.queue_bytes_max = usize::MAX;
    let widest = terms(u16::MAX);
    for _ in 0..65_534 {
        assert!(matches!(desk.offer("b", ONE, &widest), Verdict::Send(_)));
    }

    assert_eq!(desk.offer("c", ONE, &widest), Verdict::Queued);
    assert_eq!(desk.next(&widest), None);

    desk.puback(9);
    assert_eq!(desk.next(&widest), Some(at_least_once(9, "c")));
}
