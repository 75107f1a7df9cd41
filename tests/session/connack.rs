//! How a client is told what it got, or why it gets nothing.

use std::num::NonZeroU32;

use dunlin::packet::{
    AuthenticationData, ConnAck, ConnAckCode, ConnectReturnCode, DecodeError, Framing,
    MalformedPacket, Packet, PacketType, ProtocolVersion, QoS, ReasonCode, ReceiveMaximum, frame,
};
use dunlin::session::{self, Proof, ProtocolError, Refusal, ServerSide};
use dunlin::topic::TopicNameError;

use crate::support::{V5, V31, V311, client_id, limits};

pub(crate) fn with_connack<R>(
    version: ProtocolVersion,
    bytes: &[u8],
    look: impl FnOnce(ConnAck<'_>) -> R,
) -> R {
    let Framing::Complete(frame) = frame(bytes, 65_536).unwrap() else { panic!("half a packet") };
    assert_eq!(frame.length, bytes.len());
    let Packet::ConnAck(connack) = frame.decode(version).unwrap() else { panic!("no CONNACK") };
    look(connack)
}

// [MQTT-3.1.4-5] [MQTT-3.2.2-16] [MQTT-3.2.2-18] [MQTT-4.12.0-5]
#[test]
fn a_5_0_client_is_told_what_differs_from_what_it_asked() {
    let server_side = ServerSide {
        assigned_client_id: Some(client_id("assigned-1")),
        keep_alive: Some(600),
        session_expiry: Some(86_400),
        proof: Some(Proof { method: "SCRAM-SHA-256", data: b"v=x".to_vec() }),
        ..ServerSide::default()
    };
    let mut bytes = Vec::new();

    session::accepted(V5, false, &server_side, &limits(), &mut bytes);

    with_connack(V5, &bytes, |connack| {
        assert_eq!(connack.code, ConnAckCode::V5(ReasonCode::Success));
        let properties = connack.properties;
        assert_eq!(properties.assigned_client_id, Some("assigned-1"));
        assert_eq!(properties.server_keep_alive, Some(600));
        assert_eq!(properties.session_expiry, Some(86_400));
        assert_eq!(properties.receive_maximum, ReceiveMaximum::new(4));
        assert_eq!(properties.maximum_packet_size, NonZeroU32::new(65_536));
        assert_eq!(properties.topic_alias_maximum, 4);
        assert!(properties.retain_available && properties.wildcard_subscription_available);
        assert!(properties.subscription_ids_available && properties.shared_subscription_available);
        assert_eq!(properties.maximum_qos, QoS::ExactlyOnce);
        assert_eq!(properties.authentication_method, Some("SCRAM-SHA-256"));
        assert_eq!(properties.authentication_data, Some(AuthenticationData(b"v=x")));
        assert_eq!(properties.reason_string, None);
    });
}

#[test]
fn a_5_0_client_that_got_what_it_asked_is_not_told_again() {
    let mut bytes = Vec::new();

    session::accepted(V5, true, &ServerSide::default(), &limits(), &mut bytes);

    with_connack(V5, &bytes, |connack| {
        assert!(connack.session_present);
        assert_eq!(connack.properties.assigned_client_id, None);
        assert_eq!(connack.properties.server_keep_alive, None);
        assert_eq!(connack.properties.session_expiry, None);
    });
}

// [MQTT3-3.1.4-4] [MQTT3-3.2.2-2] [MQTT3-3.2.2-3]; 3.1 reserves the byte of Session Present.
#[test]
fn clients_before_5_0_get_a_return_code_and_session_present() {
    let server_side = ServerSide { keep_alive: Some(600), ..ServerSide::default() };
    for version in [V31, V311] {
        for present in [false, true] {
            let mut bytes = Vec::new();

            session::accepted(version, present, &server_side, &limits(), &mut bytes);

            assert_eq!(bytes, [0x20, 2, u8::from(present && version == V311), 0]);
        }
    }
}

fn refusals() -> Vec<(ProtocolError, u8, Option<u8>)> {
    vec![
        (ProtocolError::ClientIdEmpty, 0x85, Some(2)),
        (ProtocolError::ClientIdTooLong { max: 1 }, 0x85, Some(2)),
        (DecodeError::UnsupportedProtocolVersion { level: 9 }.into(), 0x84, Some(1)),
        (DecodeError::UnsupportedProtocolName.into(), 0x84, Some(1)),
        (ProtocolError::Anonymous { listener: "plain".into() }, 0x87, Some(5)),
        (ProtocolError::PlainPassword { listener: "plain".into() }, 0x87, Some(5)),
        (ProtocolError::WillTopicReserved, 0x87, Some(5)),
        (ProtocolError::VersionNotServed { version: V31, listener: "a".into() }, 0x84, Some(1)),
        (ProtocolError::WillQoS { qos: 2, max: 1 }, 0x9B, None),
        (ProtocolError::WillRetain, 0x9A, None),
        (ProtocolError::ConnAckTooLarge { length: 60, maximum: 30 }, 0x95, None),
        (ProtocolError::AuthenticationFailed, 0x87, Some(5)),
        (ProtocolError::AuthenticationTimeout, 0x87, Some(5)),
        (ProtocolError::OtherIdentity, 0x87, Some(5)),
        (ProtocolError::BeforeConnAck, 0x82, None),
        (ProtocolError::AuthTooLarge, 0x83, None),
        (ProtocolError::TooManyConnections, 0x89, Some(3)),
        (ProtocolError::Unclaimed, 0x88, Some(3)),
        (ProtocolError::ShuttingDown, 0x88, Some(3)),
        (ProtocolError::AuthenticationMethod { method: "x".into() }, 0x8C, None),
        (ProtocolError::WillTopic(TopicNameError::Empty), 0x90, None),
        (ProtocolError::WillTopic(TopicNameError::NotUtf8), 0x81, None),
        (ProtocolError::TopicNameTooLong { max: 1 }, 0x90, None),
        (DecodeError::TooLarge { length: 2, max: 1 }.into(), 0x95, None),
        (ProtocolError::WillTooLarge { max: 1 }, 0x97, Some(3)),
        (ProtocolError::NoNewSession, 0x97, Some(3)),
        (ProtocolError::Bug, 0x80, None),
    ]
}

// [MQTT-3.1.4-2] [MQTT-3.2.2-6]
#[test]
fn a_refused_5_0_client_gets_a_reason_code_and_the_reason_in_words() {
    for (error, code, _) in refusals() {
        let mut bytes = Vec::new();

        session::refused(V5, usize::MAX, &error, &mut bytes);

        with_connack(V5, &bytes, |connack| {
            assert_eq!(connack.code.value(), code, "{error}");
            assert_eq!(connack.properties.reason_string, Some(error.to_string().as_str()));
            assert!(!connack.session_present);
        });
    }
}

// [MQTT3-3.2.2-4] [MQTT3-3.2.2-6]
#[test]
fn a_refused_client_before_5_0_gets_one_of_five_codes_or_nothing() {
    for version in [V31, V311] {
        for (error, _, code) in refusals() {
            let mut bytes = Vec::new();

            session::refused(version, usize::MAX, &error, &mut bytes);

            let expected = code.map_or(Vec::new(), |code| vec![0x20, 2, 0, code]);
            assert_eq!(bytes, expected, "{error}");
        }
    }
    let rejected = ProtocolError::ClientIdEmpty.connack_code(V311);
    assert_eq!(rejected, Some(ConnAckCode::V3(ConnectReturnCode::IdentifierRejected)));
}

// [MQTT-3.2.2-8]: these may stand in a CONNACK.
#[test]
fn every_refusal_of_a_connection_is_one_a_connack_may_carry() {
    for (error, _, _) in refusals() {
        let mut bytes = Vec::new();

        session::refused(V5, usize::MAX, &error, &mut bytes);

        // Decoding refuses codes that do not belong there.
        with_connack(V5, &bytes, |connack| assert_ne!(connack.code.value(), 0));
    }
}

// [MQTT-3.1.2-24] [MQTT-3.2.2-19]
#[test]
fn a_refusal_is_never_larger_than_the_client_takes() {
    let error = ProtocolError::ClientIdEmpty;
    let mut words = Vec::new();
    session::refused(V5, usize::MAX, &error, &mut words);
    let bare = vec![0x20, 3, 0, 0x85, 0];

    for (maximum, expected) in [
        (words.len(), words.clone()),
        (words.len() - 1, bare.clone()),
        (bare.len(), bare.clone()),
        (bare.len() - 1, Vec::new()),
        (1, Vec::new()),
    ] {
        let mut bytes = Vec::new();

        session::refused(V5, maximum, &error, &mut bytes);

        assert_eq!(bytes, expected, "{maximum}");
    }
}

// [MQTT3-3.9.3-2]
#[test]
fn a_refused_filter_has_one_code_before_5_0() {
    let refusal = Refusal::TooManySubscriptions { max: 1 };

    assert_eq!(refusal.suback_code(V5), ReasonCode::QuotaExceeded);
    assert_eq!(refusal.suback_code(V311), ReasonCode::UnspecifiedError);
}

/// A CONNECT of this name and level as far as it can be read, with a Maximum Packet Size in 5.0.
fn unread(name: &str, level: u8) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    let maximum_packet_size = [5, 0x27, 0, 0, 0, 30];
    let head = [&[0x10, 30, 0, length], name.as_bytes(), &[level, 0, 0, 0]].concat();
    if level == 5 { [head, maximum_packet_size.to_vec()].concat() } else { head }
}

// [MQTT-3.1.2-2] [MQTT-3.1.4-1] [MQTT-3.2.2-19] [MQTT3-3.1.2-2]
#[test]
fn a_connect_that_cannot_be_decoded_is_refused_in_the_version_it_names() {
    let malformed = || DecodeError::Malformed(MalformedPacket::FieldTooLong);
    let level = |level| DecodeError::UnsupportedProtocolVersion { level };
    let cases: [(Vec<u8>, DecodeError, &[u8]); 9] = [
        (unread("MQTT", 5), malformed(), &[0x20, 3, 0, 0x81, 0]),
        (unread("MQTT", 5), DecodeError::TooLarge { length: 9, max: 8 }, &[0x20, 3, 0, 0x95, 0]),
        // 3.1.1 has no code for it.
        (unread("MQTT", 4), malformed(), &[]),
        (unread("MQIsdp", 3), malformed(), &[]),
        (unread("MQTT", 2), level(2), &[0x20, 2, 0, 1]),
        (unread("MQTT", 0x84), DecodeError::UnsupportedProtocolName, &[]),
        (vec![0xC0, 0], DecodeError::NotConnect { packet: PacketType::PingReq }, &[]),
        (vec![0x10], malformed(), &[]),
        (Vec::new(), malformed(), &[]),
    ];
    for (bytes, error, expected) in cases {
        let mut out = Vec::new();
        session::refused_unread(&bytes, error, &mut out);
        assert_eq!(out, expected, "{error} in {bytes:?}");
    }

    let mut later = Vec::new();
    session::refused_unread(&unread("MQTT", 6), level(6), &mut later);
    with_connack(V5, &later, |connack| assert_eq!(connack.code.value(), 0x84));
}
