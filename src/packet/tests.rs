//! Packets under proptest: what is written is read again, and no bytes whatever are a panic.

mod strategies;

use proptest::collection::vec;
use proptest::prelude::*;

use self::strategies::{any_packet, forwarded, publish, version};
use super::primitives::Sink;
use super::*;

/// The packet without what a version before 5.0 has no room for.
fn before_v5(packet: Packet<'static>) -> Packet<'static> {
    const REFUSED: ReasonCode = ReasonCode::UnspecifiedError;
    match packet {
        Packet::Connect(connect) => {
            let properties = ConnectProperties::default();
            let will =
                connect.will.map(|will| Will { properties: WillProperties::default(), ..will });
            Packet::Connect(Connect { properties, will, ..connect })
        }
        Packet::ConnAck(ack) => {
            Packet::ConnAck(ConnAck { properties: ConnAckProperties::default(), ..ack })
        }
        Packet::Publish(publish) => {
            Packet::Publish(Publish { properties: PublishProperties::default(), ..publish })
        }
        Packet::PubAck(ack) => Packet::PubAck(PubAck::new(ack.id, ReasonCode::Success)),
        Packet::PubRec(ack) => Packet::PubRec(PubRec::new(ack.id, ReasonCode::Success)),
        Packet::PubRel(ack) => Packet::PubRel(PubRel::new(ack.id, ReasonCode::Success)),
        Packet::PubComp(ack) => Packet::PubComp(PubComp::new(ack.id, ReasonCode::Success)),
        Packet::Subscribe(Subscribe { id, filters, .. }) => Packet::Subscribe(Subscribe {
            id,
            subscription_id: None,
            user_properties: UserProperties::default(),
            filters: filters_before_v5(filters),
        }),
        Packet::SubAck(SubAck { id, codes, .. }) => {
            let codes = codes.map(|code| if code.is_error() { REFUSED } else { code });
            let codes = ReasonCodes::from_slice(codes.collect::<Vec<_>>().leak());
            let user_properties = UserProperties::default();
            Packet::SubAck(SubAck { id, codes, reason_string: None, user_properties })
        }
        Packet::Unsubscribe(unsubscribe) => {
            let user_properties = UserProperties::default();
            Packet::Unsubscribe(Unsubscribe { user_properties, ..unsubscribe })
        }
        Packet::UnsubAck(UnsubAck { id, .. }) => {
            let codes = ReasonCodes::from_slice(&[]);
            let user_properties = UserProperties::default();
            Packet::UnsubAck(UnsubAck { id, codes, reason_string: None, user_properties })
        }
        Packet::Disconnect(_) => {
            Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION))
        }
        Packet::PingReq | Packet::PingResp | Packet::Auth(_) => packet,
    }
}

fn filters_before_v5(filters: Filters<'_>) -> Filters<'static> {
    let list = Box::leak(Box::new(FilterList::default()));
    for FilterRequest { filter, options } in filters {
        list.push(filter, SubscriptionOptions::new(options.qos));
    }
    list.as_view()
}

fn encoded(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(version, &mut out);
    out
}

/// Reads bytes that may be anything; what is a packet is printed, written, and read again.
fn read_anything(bytes: &[u8], version: ProtocolVersion) {
    let Ok(Framing::Complete(complete)) = frame(bytes, PACKET_BYTES_MAX) else {
        return;
    };
    _ = complete.decode_connect();
    let Ok(packet) = complete.decode(version) else {
        return;
    };

    let again = encoded(&packet, version);

    assert!(!format!("{packet:?}").is_empty());
    assert_eq!(again.len(), packet.encoded_len(version));
    let Ok(Framing::Complete(complete)) = frame(&again, PACKET_BYTES_MAX) else {
        panic!("{packet:?} was written as what is no packet: {again:02x?}");
    };
    assert_eq!(complete.decode(version).as_ref(), Ok(&packet));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_written_is_read_again((version, packet) in any_packet()) {
        let bytes = encoded(&packet, version);

        prop_assert_eq!(bytes.len(), packet.encoded_len(version));
        let framing = frame(&bytes, bytes.len());
        let Ok(Framing::Complete(complete)) = framing else { panic!("{framing:?}") };
        let expected = if version.is_v5() { packet } else { before_v5(packet) };
        prop_assert_eq!(complete.length, bytes.len());
        prop_assert_eq!(complete.decode(version), Ok(expected));
    }

    #[test]
    fn a_packet_is_incomplete_until_its_last_byte((version, packet) in any_packet()) {
        let bytes = encoded(&packet, version);
        for end in 0..bytes.len() {
            let Ok(Framing::Incomplete { needed }) = frame(&bytes[..end], bytes.len()) else {
                panic!("complete after {end} bytes");
            };
            prop_assert!(needed.is_none_or(|needed| needed == bytes.len()));
            prop_assert!(needed.is_some() || end < 5);
        }
    }

    #[test]
    fn a_packet_whose_body_is_cut_short_is_no_panic(
        (version, packet) in any_packet(),
        cut in 1..20_usize,
    ) {
        let bytes = encoded(&packet, version);
        let Ok(Framing::Complete(complete)) = frame(&bytes, bytes.len()) else {
            panic!("{bytes:02x?} is no packet");
        };
        let Some(end) = complete.body.len().checked_sub(cut) else { return Ok(()) };
        let shorter = Frame { body: &complete.body[..end], ..complete };

        // Only a payload, a list and short forms can end earlier and still be right.
        if let Ok(read) = shorter.decode(version) {
            prop_assert_ne!(&read, &packet);
            prop_assert!(!matches!(read, Packet::ConnAck(_)));
            prop_assert!(version == ProtocolVersion::V31 || !matches!(read, Packet::Connect(_)));
        }
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in vec(any::<u8>(), 0..80), version in version()) {
        read_anything(&bytes, version);
    }

    #[test]
    fn no_body_is_a_panic(
        first_byte in any::<u8>(),
        body in vec(prop_oneof![0..8_u8, any::<u8>()], 0..60),
        version in version(),
    ) {
        let mut bytes = vec![first_byte, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);

        read_anything(&bytes, version);
    }

    #[test]
    fn no_changed_byte_is_a_panic(
        (version, packet) in any_packet(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encoded(&packet, version);
        let at = at.index(bytes.len());
        bytes[at] = byte;

        read_anything(&bytes, version);
    }

    #[test]
    fn a_head_is_the_packet_without_its_payload(publish in publish(), version in version()) {
        let mut out = b"before".to_vec();
        let mut whole = Vec::new();
        publish.encode(version, &mut whole);

        let PublishHead { packet_id_at, length } =
            encode_publish_head(&publish, version, &mut out);

        let head = &out[6..];
        prop_assert_eq!(length, whole.len());
        prop_assert_eq!(length, publish_length(&publish, version));
        prop_assert_eq!(head, &whole[..length - publish.payload.len()]);
        prop_assert_eq!(head[0], publish_first_byte(publish.delivery, publish.retain));
        let id = packet_id_at.map(|at| u16::from_be_bytes([head[at], head[at + 1]]));
        prop_assert_eq!(id, publish.delivery.packet_id().map(PacketId::value));
    }

    // [MQTT-3.3.2-17] [MQTT-3.3.2-18]
    #[test]
    fn what_is_passed_on_survives_what_stands_between(
        forwarded in forwarded(),
        alias in any::<u16>(),
    ) {
        let properties = forwarded.to_owned();
        let alias = [0x23, alias.to_be_bytes()[0], alias.to_be_bytes()[1]];
        let last = b"\x26\0\x01k\0\x01v";
        let section = [properties.as_bytes(), &alias, last].concat();
        let mut body = b"\0\x01t".to_vec();
        body.put_var_int(section.len());
        body.extend(section);
        let frame = Frame { first_byte: 0x30, body: &body, length: body.len() };

        let read = frame.decode(ProtocolVersion::V5);

        let Ok(Packet::Publish(publish)) = read else { panic!("{read:?}") };
        let kept = publish.properties.forwarded.to_owned();
        let expected = [properties.as_bytes(), last].concat();
        prop_assert_eq!(kept.as_bytes(), &expected[..]);
        prop_assert_eq!(kept.len(), publish.properties.forwarded.len());
        prop_assert_eq!(&ForwardedProperties::from_bytes(kept.as_bytes()), &Ok(kept.clone()));
        prop_assert_eq!(kept.as_view(), publish.properties.forwarded);
    }
}

#[test]
fn properties_that_are_not_passed_on_are_no_forwarded_properties() {
    let alias = ForwardedProperties::from_bytes(&[0x23, 0, 1]);
    let cut_off = ForwardedProperties::from_bytes(&[0x01]);

    assert!(matches!(
        alias,
        Err(DecodeError::Malformed(MalformedPacket::PropertyNotAllowed { .. }))
    ));
    assert_eq!(cut_off, Err(DecodeError::Malformed(MalformedPacket::FieldTooLong)));
}

#[test]
fn secrets_and_payloads_are_not_printed() {
    let connect = Connect {
        version: ProtocolVersion::V5,
        clean_start: true,
        keep_alive: 0,
        client_id: "c",
        will: None,
        username: Some("user"),
        password: Some(b"secret"),
        properties: ConnectProperties {
            authentication_data: Some(AuthenticationData(b"secret")),
            ..ConnectProperties::default()
        },
    };

    let printed = format!("{connect:?}");

    let raw = format!("{:?}", b"secret");
    assert!(printed.contains("6 bytes"));
    assert!(!printed.contains("secret") && !printed.contains(&raw), "{printed}");
}

#[test]
fn hidden_bytes_are_printed_as_their_number() {
    let publish = Publish {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: b"a/b",
        properties: PublishProperties::default(),
        payload: b"secret",
    };
    let will = Will {
        topic: "last/words",
        payload: b"secrets",
        qos: QoS::AtMostOnce,
        retain: false,
        properties: WillProperties::default(),
    };
    let auth = Auth {
        authentication_data: Some(AuthenticationData(b"secret too")),
        ..Auth::new(ReasonCode::Success)
    };

    let (publish, will, auth) = (format!("{publish:?}"), format!("{will:?}"), format!("{auth:?}"));

    assert!(publish.contains("a/b") && publish.contains("6 bytes"), "{publish}");
    assert!(will.contains("last/words") && will.contains("7 bytes"), "{will}");
    assert!(auth.contains("10 bytes"), "{auth}");
}

#[test]
fn what_is_passed_on_is_printed_without_its_correlation_data() {
    let mut user_properties = UserPropertyList::default();
    user_properties.push("room", "attic");
    let properties = ForwardedProperties::new(&ForwardedParts {
        payload_format_indicator: Some(PayloadFormatIndicator::Utf8),
        content_type: Some("text/plain"),
        response_topic: Some("answers"),
        correlation_data: Some(b"secret"),
        user_properties: user_properties.as_view(),
    });

    let printed = format!("{properties:?}");

    for part in ["Utf8", "text/plain", "answers", "6 bytes", "room", "attic"] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
    assert!(!printed.contains(&format!("{:?}", b"secret")), "{printed}");
}

#[test]
fn small_values_are_printed_as_what_they_are() {
    let versions = [ProtocolVersion::V5, ProtocolVersion::V31].into_iter();

    assert_eq!(format!("{:?}", versions.collect::<ProtocolVersions>()), "{V31, V5}");
    assert_eq!(PacketId::new(7).unwrap().to_string(), "7");
    assert_eq!(SubscriptionId::new(7).unwrap().to_string(), "7");
    let (user, client) = (UserName::new("ada").unwrap(), ClientId::new("meter-7").unwrap());
    assert_eq!((user.to_string().as_str(), user.as_str()), ("ada", "ada"));
    assert_eq!((client.to_string().as_str(), client.as_str()), ("meter-7", "meter-7"));
}

#[test]
fn nothing_to_pass_on_is_empty() {
    let nothing = ForwardedProperties::new(&ForwardedParts::default());
    let something = ForwardedProperties::new(&ForwardedParts {
        content_type: Some(""),
        ..ForwardedParts::default()
    });

    assert!(nothing.is_empty() && nothing.as_view().is_empty());
    assert!(!something.is_empty() && !something.as_view().is_empty());
    assert_eq!(something.len(), 3);
}

#[test]
fn two_sets_of_properties_to_pass_on_are_equal_if_all_of_them_are() {
    let of = |content_type| {
        let parts = ForwardedParts { content_type, ..ForwardedParts::default() };
        ForwardedProperties::new(&parts)
    };
    let (one, same, other, none) = (of(Some("a")), of(Some("a")), of(Some("b")), of(None));

    assert_eq!(one.as_view(), same.as_view());
    assert_ne!(one.as_view(), other.as_view());
    assert_ne!(one.as_view(), none.as_view());
}

#[test]
fn the_longest_packet_is_the_one_with_the_largest_remaining_length() {
    let longest = [0x30, 0xFF, 0xFF, 0xFF, 0x7F];

    let framing = frame(&longest, PACKET_BYTES_MAX);

    assert_eq!(framing, Ok(Framing::Incomplete { needed: Some(PACKET_BYTES_MAX) }));
}

// A CONNECT that is refused for its length is answered in the version that it names.
#[test]
fn the_version_of_a_connect_is_known_as_soon_as_it_has_come() {
    let names: [(&[u8], ProtocolVersion); 3] = [
        (b"\0\x06MQIsdp\x03", ProtocolVersion::V31),
        (b"\0\x04MQTT\x04", ProtocolVersion::V311),
        (b"\0\x04MQTT\x05", ProtocolVersion::V5),
    ];
    let lengths: [&[u8]; 4] =
        [&[0x7F], &[0x80, 0x01], &[0x80, 0x80, 0x01], &[0xFF, 0xFF, 0xFF, 0x7F]];
    for (name, version) in names {
        for length in lengths {
            let beginning = [&[0x10], length, name].concat();

            let (last, shorter) = beginning.split_last().unwrap();

            assert_eq!(claimed_version(&beginning), Some(version));
            assert_eq!(claimed_version(&[&beginning[..], b"rest"].concat()), Some(version));
            assert_eq!(claimed_version(shorter), None, "without {last}");
        }
    }
}

#[test]
fn what_is_no_connect_of_a_version_we_speak_claims_none() {
    let beginnings: [&[u8]; 9] = [
        b"",
        b"\x10",
        b"\x10\x0C",
        b"\x20\x0C\0\x04MQTT\x05",
        b"\x11\x0C\0\x04MQTT\x05",
        b"\x10\x0C\0\x04MQTT\x06",
        b"\x10\x0C\0\x04MQTT\x03",
        b"\x10\x0C\0\x05MQTT\x05",
        b"\x10\x0C\x01\x04MQTT\x05",
    ];
    for beginning in beginnings {
        assert_eq!(claimed_version(beginning), None, "{beginning:02x?}");
    }
}

// [MQTT-3.2.2-19]
#[test]
fn the_packet_size_that_a_refused_connect_names_is_found_before_what_is_wrong_with_it() {
    const SIZE: &[u8] = b"\x27\0\0\x01\x02";
    const RECEIVE_MAXIMUM_OF_ZERO: &[u8] = b"\x21\0\0";
    const NO_PROPERTY: &[u8] = b"\x7F";
    let claimed = |beginning: &[u8], properties: &[u8]| {
        let length = [u8::try_from(properties.len()).unwrap()];
        let packet = [beginning, b"\0\0\x3C", &length, properties].concat();
        claimed_maximum_packet_size(&packet).map(std::num::NonZeroU32::get)
    };
    let (v5, v311): (&[u8], &[u8]) = (b"\x10\x7F\0\x04MQTT\x05", b"\x10\x7F\0\x04MQTT\x04");

    assert_eq!(claimed(v5, SIZE), Some(258));
    assert_eq!(claimed(v5, &[b"\x11\0\0\0\x09", SIZE].concat()), Some(258));
    assert_eq!(claimed(v5, &[RECEIVE_MAXIMUM_OF_ZERO, SIZE].concat()), Some(258));
    assert_eq!(claimed(v5, &[NO_PROPERTY, SIZE].concat()), None);
    assert_eq!(claimed(v5, b""), None);
    assert_eq!(claimed(v5, b"\x27\0\0"), None);
    assert_eq!(claimed(v311, SIZE), None);
}

#[test]
fn a_client_ends_its_connection_with_codes_of_its_own() {
    // [MQTT-3.14.2-1], table 3-10
    let of_clients =
        [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
    for value in 0..=u8::MAX {
        if let Some(code) = ReasonCode::from_u8(value) {
            assert_eq!(code.is_for_client_disconnect(), of_clients.contains(&value), "{value:#x}");
        }
    }
}
