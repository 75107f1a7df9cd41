//! What a Session sends at once, what it keeps waiting, and what it refuses.

use dunlin::change::SessionExpiry;
use dunlin::packet::{Delivery, Publish, PublishProperties, QoS, ReasonCode, publish_length};
use dunlin::session::{DropReason, Offer, QueueWhenFull, Room, SubscriptionIds, Verdict};

use crate::support::{
    Desk, V5, V311, at_least_once, exactly_once, id, message, message_until, seconds, sent,
    subscription_id, terms,
};

const ONE: QoS = QoS::AtLeastOnce;
const TWO: QoS = QoS::ExactlyOnce;

// [MQTT-4.3.2-2] [MQTT-4.3.3-2]
#[test]
fn a_message_for_an_open_window_is_sent_at_once_with_a_new_id_and_no_dup() {
    let mut desk = Desk::new();

    let first = desk.offer("a", ONE, &terms(8));
    let second = desk.offer("b", TWO, &terms(8));

    assert_eq!(first, sent(Delivery::AtLeastOnce { id: id(1), dup: false }));
    assert_eq!(second, sent(Delivery::ExactlyOnce { id: id(2), dup: false }));
    assert!(!desk.session.has_queued());
}

// [MQTT-3.3.4-9]
#[test]
fn messages_beyond_the_window_wait_until_an_acknowledgement() {
    let mut desk = Desk::new();
    let terms = terms(2);
    desk.offer("a", ONE, &terms);
    desk.offer("b", TWO, &terms);

    assert_eq!(desk.offer("c", ONE, &terms), Verdict::Queued);
    assert_eq!(desk.next(&terms), None);

    assert!(desk.puback(1));
    assert_eq!(desk.all(&terms), [at_least_once(3, "c")]);
}

// [MQTT-4.6.0-5]
#[test]
fn nothing_is_sent_past_something_that_waits() {
    let mut desk = Desk::new();
    let terms = terms(1);
    desk.offer("a", ONE, &terms);
    desk.offer("b", ONE, &terms);
    desk.puback(1);

    // The window is open, but "b" stands in the queue.
    assert_eq!(desk.offer("c", TWO, &terms), Verdict::Queued);

    assert_eq!(desk.next(&terms), Some(at_least_once(2, "b")));
    desk.puback(2);
    assert_eq!(desk.next(&terms), Some(exactly_once(3, "c")));
}

#[test]
fn a_full_outbound_buffer_makes_messages_wait() {
    let mut desk = Desk::new();
    let terms = terms(8);

    let verdict = desk.offer_to(&message("a"), ONE, Some(&terms), Room::Full);

    assert_eq!(verdict, Verdict::Queued);
    assert_eq!(desk.all(&terms), [at_least_once(1, "a")]);
}

// [MQTT3-3.1.2-5]
#[test]
fn messages_for_a_client_that_is_away_wait() {
    let mut desk = Desk::new();

    assert_eq!(desk.offer_away("a", ONE), Verdict::Queued);
    assert_eq!(desk.offer_away("b", TWO), Verdict::Queued);

    assert_eq!(desk.all(&terms(8)), [at_least_once(1, "a"), exactly_once(2, "b")]);
}

#[test]
fn a_full_queue_refuses_the_newest_and_counts_it() {
    let mut desk = Desk::new();
    let bytes = message("a").bytes();
    desk.limits.queue_bytes_max = 2 * bytes;
    let terms = terms(1);
    desk.offer("a", ONE, &terms);
    desk.offer("b", ONE, &terms);

    let verdict = desk.offer("c", ONE, &terms);

    assert_eq!(verdict, Verdict::Refused);
    assert_eq!(desk.session.bytes(), 2 * bytes);
    assert_eq!(desk.dropped(), [(DropReason::QueueFull, 1)]);
}

#[test]
fn what_was_acknowledged_makes_room_in_a_full_queue() {
    let mut desk = Desk::new();
    desk.limits.queue_bytes_max = message("a").bytes();
    let terms = terms(8);
    desk.offer("a", ONE, &terms);
    assert_eq!(desk.offer("b", ONE, &terms), Verdict::Refused);

    desk.puback(1);

    assert_eq!(desk.offer("c", ONE, &terms), sent(Delivery::AtLeastOnce { id: id(2), dup: false }));
}

/// One that drops the oldest of three.
fn dropping_desk() -> Desk {
    let mut desk = Desk::new();
    desk.limits.queue_when_full = QueueWhenFull::DropOldest;
    desk.limits.queue_bytes_max = 3 * message("a").bytes();
    desk
}

#[test]
fn a_full_queue_may_drop_its_oldest_messages_but_none_that_is_inflight() {
    let mut desk = dropping_desk();
    let terms = terms(1);
    for text in ["a", "b", "c"] {
        desk.offer(text, ONE, &terms);
    }

    // Larger by one byte, so that one is not enough.
    let verdict = desk.offer("dd", ONE, &terms);

    assert_eq!(verdict, Verdict::Queued);
    assert_eq!(desk.dropped(), [(DropReason::QueueFull, 2)]);
    assert_eq!(desk.session.bytes(), message("a").bytes() + message("dd").bytes());
    assert_eq!(desk.session.loaded_bytes(), desk.session.bytes());
    desk.puback(1);
    assert_eq!(desk.all(&terms), [at_least_once(2, "dd")]);
}

#[test]
fn what_no_dropping_makes_room_for_is_refused_and_nothing_is_dropped_for_it() {
    let mut desk = dropping_desk();
    let terms = terms(1);
    for text in ["a", "b", "c"] {
        desk.offer(text, ONE, &terms);
    }

    let verdict = desk.offer(&"x".repeat(2 * message("a").bytes()), ONE, &terms);

    assert_eq!(verdict, Verdict::Refused);
    assert_eq!(desk.dropped(), [(DropReason::QueueFull, 1)]);
    desk.puback(1);
    assert_eq!(desk.next(&terms), Some(at_least_once(2, "b")));
}

#[test]
fn nothing_is_dropped_for_a_message_its_client_does_not_take() {
    let mut desk = dropping_desk();
    let mut small = terms(1);
    small.maximum_packet_size = 100;
    for text in ["a", "b", "c"] {
        desk.offer(text, ONE, &small);
    }

    assert_eq!(desk.offer(&"x".repeat(120), ONE, &small), Verdict::Dropped);

    assert_eq!(desk.dropped(), [(DropReason::TooLarge, 1)]);
}

#[test]
fn an_absent_clients_oldest_message_gives_way_by_count_too() {
    let mut desk = dropping_desk();
    desk.limits.queue_offline_messages_max = 2;
    for text in ["a", "b", "c"] {
        assert_eq!(desk.offer_away(text, ONE), Verdict::Queued);
    }

    assert_eq!(desk.dropped(), [(DropReason::QueueFull, 1)]);
    assert_eq!(desk.all(&terms(8)), [at_least_once(1, "b"), at_least_once(2, "c")]);
}

#[test]
fn an_empty_session_takes_one_message_of_any_size_for_all_it_drops() {
    let mut desk = dropping_desk();
    let large = "x".repeat(4 * message("a").bytes());
    desk.offer_away("a", ONE);

    assert_eq!(desk.offer_away(&large, ONE), Verdict::Queued);

    assert_eq!(desk.dropped(), [(DropReason::QueueFull, 1)]);
    assert_eq!(desk.all(&terms(8)), [at_least_once(1, &large)]);
}

#[test]
fn one_message_always_fits_a_session_that_owes_nothing() {
    let mut desk = Desk::new();
    desk.limits.queue_bytes_max = 1;

    assert_eq!(desk.offer_away("larger than the limit", ONE), Verdict::Queued);
    assert_eq!(desk.offer_away("b", ONE), Verdict::Refused);

    assert_eq!(desk.all(&terms(8)), [at_least_once(1, "larger than the limit")]);
    desk.puback(1);
    assert_eq!(desk.offer_away("c", TWO), Verdict::Queued);
}

#[test]
fn a_released_qos_2_message_no_longer_weighs_anything() {
    let mut desk = Desk::new();
    let terms = terms(8);
    desk.offer("a", TWO, &terms);
    assert_eq!(desk.session.bytes(), message("a").bytes());

    desk.session.pubrec(id(1), ReasonCode::Success, &mut desk.effects).unwrap();

    assert_eq!(desk.session.bytes(), 0);
}

#[test]
fn the_count_of_queued_messages_is_limited_only_while_the_client_is_away() {
    let mut desk = Desk::new();
    desk.limits.queue_offline_messages_max = 2;
    desk.offer_away("a", ONE);
    desk.offer_away("b", ONE);

    assert_eq!(desk.offer_away("c", ONE), Verdict::Refused);
    assert_eq!(desk.dropped(), [(DropReason::QueueFull, 1)]);

    let full = desk.offer_to(&message("d"), ONE, Some(&terms(1)), Room::Full);
    assert_eq!(full, Verdict::Queued);
}

/// A QoS 1 PUBLISH of `payload` on topic `t`, as long as it is on the wire.
fn length(payload: &str, ids: &SubscriptionIds) -> usize {
    let publish = Publish {
        delivery: Delivery::AtLeastOnce { id: id(1), dup: false },
        retain: false,
        topic: b"t",
        properties: PublishProperties {
            subscription_ids: dunlin::packet::SubscriptionIds::from_slice(ids),
            ..PublishProperties::default()
        },
        payload: payload.as_bytes(),
    };
    publish_length(&publish, V5)
}

// [MQTT-3.1.2-24] [MQTT-3.1.2-25]
#[test]
fn a_message_too_large_for_the_client_is_dropped_for_it_and_blocks_nothing() {
    let mut desk = Desk::new();
    let mut small = terms(8);
    small.maximum_packet_size = length("1234567890", &SubscriptionIds::new());

    assert_eq!(desk.offer("12345678901", ONE, &small), Verdict::Dropped);

    assert_eq!(desk.dropped(), [(DropReason::TooLarge, 1)]);
    assert_eq!(desk.session.bytes(), 0);
    assert!(matches!(desk.offer("1234567890", ONE, &small), Verdict::Send(_)));
}

// [MQTT-3.1.2-24]: all its bytes count, the Subscription Identifiers too.
#[test]
fn subscription_identifiers_count_towards_the_maximum_packet_size() {
    let mut desk = Desk::new();
    let ids: SubscriptionIds =
        [subscription_id(268_435_455), subscription_id(1)].into_iter().collect();
    let message = message("0123456789");
    let offer =
        Offer { message: &message, qos: ONE, retain: false, subscription_ids: &ids, ticket: None };
    let mut exact = terms(8);
    exact.maximum_packet_size = length("0123456789", &ids);
    let mut short = exact;
    short.maximum_packet_size -= 1;

    assert!(offer.fits(&exact));
    assert!(!offer.fits(&short));

    let verdict =
        desk.session.offer(offer, Some(&short), Room::Open, &desk.limits, &mut desk.effects);
    assert_eq!(verdict, Verdict::Dropped);
}

// 3.1.1 has no properties to count.
#[test]
fn a_client_of_3_1_1_is_measured_without_properties() {
    let ids: SubscriptionIds = [subscription_id(9)].into_iter().collect();
    let message = message("0123456789");
    let offer =
        Offer { message: &message, qos: ONE, retain: false, subscription_ids: &ids, ticket: None };
    let mut terms = terms(8);
    terms.version = V311;
    terms.maximum_packet_size = 2 + 3 + 2 + 10;

    assert!(offer.fits(&terms));
}

// [MQTT-3.1.2-25]
#[test]
fn a_message_queued_while_away_that_is_too_large_is_dropped_on_its_turn() {
    let mut desk = Desk::new();
    desk.offer_away("larger than the others", ONE);
    desk.offer_away("b", ONE);
    let mut small = terms(8);
    small.maximum_packet_size = length("b", &SubscriptionIds::new());

    assert_eq!(desk.all(&small), [at_least_once(1, "b")]);

    assert_eq!(desk.dropped(), [(DropReason::TooLarge, 1)]);
    assert_eq!(desk.session.bytes(), message("b").bytes());
}

// [MQTT-3.3.2-5]
#[test]
fn a_message_that_expired_in_the_queue_is_dropped_on_its_turn() {
    let mut desk = Desk::new();
    let expiring = message_until("a", Some(desk.now + seconds(10)));
    desk.offer_to(&expiring, ONE, None, Room::Away);
    desk.offer_away("b", ONE);

    desk.now += seconds(10);

    assert_eq!(desk.all(&terms(8)), [at_least_once(1, "b")]);
    assert_eq!(desk.dropped(), [(DropReason::Expired, 1)]);
    assert_eq!(desk.session.bytes(), message("b").bytes());
}

// [MQTT-3.3.2-6]
#[test]
fn the_rest_of_the_message_expiry_interval_is_passed_on() {
    let mut desk = Desk::new();
    let expiring = message_until("a", Some(desk.now + seconds(10)));
    desk.offer_to(&expiring, ONE, None, Room::Away);

    desk.now += seconds(4);

    let Some(crate::support::Sent::Publish { expiry, .. }) = desk.next(&terms(8)) else {
        panic!("it had six seconds left");
    };
    assert_eq!(expiry, Some(6));
}

// [MQTT-4.3.3-7]
#[test]
fn a_message_that_was_sent_expires_no_more() {
    let mut desk = Desk::new();
    let expiring = message_until("a", Some(desk.now + seconds(10)));
    desk.offer_to(&expiring, TWO, Some(&terms(8)), Room::Open);

    desk.now += seconds(60);
    desk.resume();

    let Some(crate::support::Sent::Publish { delivery, expiry, .. }) = desk.next(&terms(8)) else {
        panic!("it was sent before");
    };
    assert_eq!(delivery, Delivery::ExactlyOnce { id: id(1), dup: true });
    assert_eq!(expiry, Some(0));
    assert!(desk.effects.dropped_nothing());
}

#[test]
fn messages_are_counted_while_they_wait_or_are_unacknowledged() {
    let mut desk = Desk::new();
    let terms = terms(2);
    let count = |desk: &Desk| (desk.session.messages(), desk.session.open_messages());
    assert_eq!(count(&desk), (0, 0));

    desk.offer("a", ONE, &terms);
    desk.offer("b", TWO, &terms);
    desk.offer("c", ONE, &terms);
    assert_eq!(count(&desk), (3, 2));
    desk.puback(1);
    assert_eq!(count(&desk), (2, 1));
    desk.all(&terms);
    assert_eq!(count(&desk), (2, 2));

    // It is no message any more, but still open.
    desk.session.pubrec(id(2), ReasonCode::Success, &mut desk.effects).unwrap();
    assert_eq!(count(&desk), (1, 2));
}

#[test]
fn a_client_owes_an_acknowledgement_from_publish_to_puback_or_pubcomp() {
    let mut desk = Desk::new();
    assert!(!desk.session.awaits_acknowledgement());
    desk.offer_away("a", TWO);
    assert!(!desk.session.awaits_acknowledgement());

    desk.all(&terms(8));
    assert!(desk.session.awaits_acknowledgement());
    desk.session.pubrec(id(1), ReasonCode::Success, &mut desk.effects).unwrap();
    assert!(desk.session.awaits_acknowledgement());

    desk.session.pubcomp(id(1), &mut desk.effects).unwrap();
    assert!(!desk.session.awaits_acknowledgement());
}

#[test]
fn drops_are_counted_once() {
    let mut desk = Desk::new();
    desk.limits.queue_offline_messages_max = 0;
    desk.offer_away("a", ONE);
    desk.offer_away("b", ONE);

    assert!(!desk.effects.dropped_nothing());
    assert_eq!(desk.dropped(), [(DropReason::QueueFull, 2)]);

    assert!(desk.effects.dropped_nothing());
    assert_eq!(desk.dropped(), []);
}

#[test]
fn a_session_that_owes_nothing_can_be_shrunk_and_goes_on() {
    let mut desk = Desk::with(SessionExpiry::Never, dunlin::change::Keeps::Nothing);
    desk.offer("a", ONE, &terms(8));
    desk.session.shrink();
    assert_eq!(desk.session.bytes(), message("a").bytes());

    desk.puback(1);
    desk.session.shrink();

    assert_eq!(desk.session.bytes(), 0);
    assert!(matches!(desk.offer("b", ONE, &terms(8)), Verdict::Send(_)));
}
