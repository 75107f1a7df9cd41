//! Records come back as they were, and no bytes are taken for one that are none.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, proptest};

use super::super::keys::Key;
use super::*;
use crate::change::{SubscriptionIds, Ticket, TicketStanding};
use crate::packet::{ForwardedParts, ForwardedProperties, QoS};
use crate::time::Now;
use crate::topic::TopicName;

const SESSION: super::super::keys::SessionNumber = super::super::keys::SessionNumber(7);

fn clock() -> Clock {
    Clock::resume(None, Now { monotonic: Instant::now(), wall: SystemTime::UNIX_EPOCH })
}

fn message(payload: &[u8], expires_at: Option<Instant>) -> Arc<Message> {
    let parts = ForwardedParts {
        content_type: Some("text/plain"),
        correlation_data: Some(&[0, 255]),
        ..ForwardedParts::default()
    };
    Arc::new(Message {
        topic: TopicName::parse("a/ä").unwrap(),
        payload: Bytes::copy_from_slice(payload),
        qos: QoS::ExactlyOnce,
        retain: true,
        properties: ForwardedProperties::new(&parts),
        expires_at,
    })
}

fn owed(message: Arc<Message>) -> Owed {
    Owed {
        message,
        qos: QoS::AtLeastOnce,
        retain: true,
        subscription_ids: SubscriptionIds::from_iter(SubscriptionId::new(SubscriptionId::MAX)),
        ticket: Some(Ticket {
            group: Arc::new(SubscriptionFilter::parse("$share/g/a/#").unwrap()),
            position: u64::MAX,
            lane: 255,
            standing: TicketStanding::Kept,
        }),
    }
}

fn encoded(key: &Key, value: &Value, clock: &Clock) -> (Vec<u8>, Vec<u8>) {
    let (key_bytes, mut bytes) = (key.to_bytes(), Vec::new());
    encode(key.family(), &key_bytes, value, clock, &mut bytes);
    (key_bytes, bytes)
}

#[test]
fn what_is_owed_comes_back_whole() {
    let clock = clock();
    let soon = clock.instant(StoreTime(12_345));
    let value = Value::Queued(owed(message(b"payload", Some(soon))), None);
    let (key, bytes) = encoded(&Key::Queued(SESSION, 3), &value, &clock);

    let head = decode_queued_head(&key, &bytes).unwrap();
    let Ok(Record::Queued(record)) = decode(Family::Queue, &key, &bytes, &clock) else { panic!() };
    let back = record.with(|_| None).unwrap();

    let Value::Queued(owed, _) = value else { panic!() };
    assert_eq!(head, (u32::try_from(owed.message.bytes()).unwrap(), None));
    assert_eq!(format!("{back:?}"), format!("{owed:?}"));
}

#[test]
fn a_session_comes_back_whole() {
    let clock = clock();
    for (expiry, away) in [
        (SessionExpiry::Never, None),
        (SessionExpiry::After(Duration::from_secs(u32::MAX.into())), Some(StoreTime(-5))),
    ] {
        let record = SessionRecord {
            client_id: ClientId::new("c").unwrap(),
            identity: Identity::User(UserName::new("ann").unwrap()),
            expiry,
            away,
            last_sent: (u64::MAX, u16::MAX),
        };
        let (key, bytes) = encoded(&Key::Session(SESSION), &Value::Session(record.clone()), &clock);

        let Ok(Record::Session(back)) = decode(Family::Sessions, &key, &bytes, &clock) else {
            panic!()
        };

        assert_eq!(back, record);
    }
}

#[test]
fn a_record_in_another_place_is_none() {
    let clock = clock();
    let value = Value::Queued(owed(message(b"x", None)), None);
    let (key, bytes) = encoded(&Key::Queued(SESSION, 3), &value, &clock);
    let other = Key::Queued(SESSION, 4).to_bytes();

    assert_eq!(decode_queued_head(&other, &bytes), Err(DecodeError::Checksum));
    assert!(decode(Family::Groups, &key, &bytes, &clock).is_err());
}

#[test]
fn a_key_of_the_longest_filter_is_short_and_its_own() {
    let long = |end: &str| {
        let text = format!("{}{end}", "x".repeat(65_534));
        Key::Subscription(SESSION, SubscriptionFilter::parse(&text).unwrap()).to_bytes()
    };

    assert_ne!(long("a"), long("b"));
    assert_eq!(long("a").len(), 8 + 1 + 32);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(kind in 0_u8..16, body in vec(any::<u8>(), 0..80)) {
        let (clock, key) = (clock(), Key::Queued(SESSION, 1).to_bytes());
        let mut bytes = vec![FORMAT, kind];
        bytes.extend_from_slice(&body);
        for family in Family::ALL {
            // Such a checksum would be right, so that what it covers is looked at.
            let mut record = bytes.clone();
            record.extend_from_slice(&checksum(family, &key, &bytes));
            let _ = decode(family, &key, &record, &clock);
            let _ = decode_queued_head(&key, &record);
            prop_assert!(decode(family, &key, &bytes, &clock).is_err() || bytes.len() < 2);
        }
    }

    #[test]
    fn a_flipped_bit_is_found(payload in vec(any::<u8>(), 0..50), at in any::<usize>(), bit in 0_u32..8) {
        let clock = clock();
        let value = Value::Queued(owed(message(&payload, None)), None);
        let (key, mut bytes) = encoded(&Key::Queued(SESSION, 3), &value, &clock);
        let at = at % bytes.len();
        bytes[at] ^= 1_u8 << bit;

        prop_assert!(decode(Family::Queue, &key, &bytes, &clock).is_err());
        prop_assert!(decode_queued_head(&key, &bytes).is_err());
    }
}
