//! CONNECT and what may come in its place.

use std::collections::HashSet;

use crate::support::{
    BOTH, Broker, Client, Connect, End, Event, Packet, Value, Version, join, taker,
    wire::{
        ASSIGNED_CLIENT_IDENTIFIER, REQUEST_RESPONSE_INFORMATION, RESPONSE_INFORMATION, packet,
        text,
    },
};

fn connect_bytes(name: &str, level: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    packet(0x10, &[text(name), vec![level, flags, 0, 0], rest.to_vec()].concat())
}

/// [MQTT-3.1.0-1], for 3.1.1 [MQTT3-3.1.0-1]
#[tokio::test]
async fn a_first_packet_that_is_no_connect_closes() {
    let broker = Broker::start();
    let packets: [&[u8]; 6] = [
        &[0xC0, 0x00],
        &[0x30, 0x05, 0x00, 0x01, b'a', b'h', b'i'],
        &[0x82, 0x06, 0x00, 0x01, 0x00, 0x01, b'a', 0x00],
        &[0xE0, 0x00],
        &[0x00, 0x00],
        b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n",
    ];
    for bytes in packets {
        let mut client = Client::open(broker.address, Version::V5).await;

        client.send(bytes);

        assert_ne!(client.end().await, End::Refused(0), "{bytes:?}");
    }
}

#[tokio::test]
async fn a_connection_without_connect_is_closed_in_time() {
    let broker = Broker::start_with("[limits]\nconnect_timeout = \"300ms\"\n");
    let mut silent = Client::open(broker.address, Version::V5).await;
    let mut slow = Client::open(broker.address, Version::V5).await;
    let whole = Connect::new(Version::V5, "slow").encode();
    slow.send(&whole[..whole.len() - 1]);
    let mut served = join(broker.address, Version::V5, "served").await;

    assert_eq!(silent.end().await, End::Closed);
    slow.end().await;
    served.ping().await;
}

#[tokio::test]
async fn a_connect_in_single_bytes_is_understood() {
    let broker = Broker::start();
    for version in BOTH {
        let mut client = Client::open(broker.address, version).await;
        for byte in Connect::new(version, "bytewise").encode() {
            client.send(&[byte]);
            client.flush().await;
            // Each byte is its own segment, and the broker gets its turn in between.
            tokio::task::yield_now().await;
        }
        assert!(matches!(client.packet().await, Packet::ConnAck { code: 0, .. }));
    }
}

/// A client need not wait for the CONNACK before it goes on (5.0 s3.1.4).
#[tokio::test]
async fn packets_may_follow_connect_without_waiting() {
    let broker = Broker::start();
    for version in BOTH {
        let mut client = Client::open(broker.address, version).await;
        client.send(&Connect::new(version, "eager").encode());
        client.send_subscribe(&[("eager", 1)], &Default::default());
        client.publish("eager", "at once", 1);

        let first = client.packet().await;
        assert!(matches!(first, Packet::ConnAck { code: 0, .. }), "{first:?}");
        // A message may come before the SUBACK of its Subscription (5.0 s3.8.4).
        let (mut granted, mut seen, mut taken) = (false, false, false);
        while !(granted && seen && taken) {
            match client.event().await {
                Event::Other(Packet::SubAck { codes, .. }) => granted = codes == [1],
                Event::Message(message) => seen = message.text() == "at once",
                Event::Published { code, .. } => taken = code == 0,
                Event::Other(other) => panic!("{other:?}"),
            }
        }
    }
}

/// [MQTT-3.1.0-2], for 3.1.1 [MQTT3-3.1.0-2]
#[tokio::test]
async fn a_second_connect_is_a_protocol_error() {
    let broker = Broker::start();
    for (version, expected) in [(Version::V311, End::Closed), (Version::V5, End::Disconnect(0x82))]
    {
        let mut client = join(broker.address, version, "again").await;

        client.send(&Connect::new(version, "again").encode());

        assert_eq!(client.end().await, expected);
    }
}

/// [MQTT-3.1.2-2], for 3.1.1 [MQTT3-3.1.2-2]; nobody knows which form of CONNACK that client reads.
#[tokio::test]
async fn an_unknown_protocol_level_is_refused() {
    let broker = Broker::start();
    for (name, level) in [("MQTT", 6), ("MQTT", 255), ("MQTT", 2), ("MQTT", 0), ("MQIsdp", 9)] {
        let mut client = Client::open(broker.address, Version::V311).await;

        client.send(&connect_bytes(name, level, 0x02, &[0, 0, 1, b'x']));

        let end = client.end().await;
        assert!(
            matches!(end, End::Refused(0x84 | 0x01)),
            "protocol {name}, level {level}: {end:?}"
        );
    }
}

/// [MQTT-3.1.2-1], for 3.1.1 [MQTT3-3.1.2-1]
#[tokio::test]
async fn another_protocols_name_closes() {
    let broker = Broker::start();
    for name in ["mqtt", "HTTP", "", "MQTTT"] {
        let mut client = Client::open(broker.address, Version::V311).await;

        client.send(&connect_bytes(name, 4, 0x02, &[0, 1, b'x']));

        let end = client.end().await;
        assert!(matches!(end, End::Closed | End::Refused(0x84 | 0x01)), "{name}: {end:?}");
    }
}

/// [MQTT-3.1.2-3], for 3.1.1 [MQTT3-3.1.2-3]; a Will QoS of 3 [MQTT-3.1.2-12]; Will flags without a
/// Will [MQTT-3.1.2-11]; a password without a user name in 3.1.1 [MQTT3-3.1.2-22].
#[tokio::test]
async fn impossible_connect_flags_are_refused() {
    let broker = Broker::start();
    for (level, version) in [(4, Version::V311), (5, Version::V5)] {
        for flags in [0x03, 0x1E, 0x0A, 0x22] {
            let mut rest = if version == Version::V5 { vec![0] } else { vec![] };
            rest.extend([0, 1, b'x', 0, 1, b't', 0, 1, b'p']);
            let mut client = Client::open(broker.address, version).await;

            client.send(&connect_bytes("MQTT", level, flags, &rest));

            let end = client.end().await;
            assert!(
                matches!(end, End::Closed | End::Refused(0x81 | 0x82)),
                "{version:?} with flags {flags:#04x}: {end:?}"
            );
        }
    }
}

/// 5.0 s3.1.2.11: values that the standard forbids.
#[tokio::test]
async fn impossible_connect_properties_are_refused() {
    let broker = Broker::start();
    let cases: [&[(u8, Value)]; 6] = [
        &[(0x21, Value::Two(0))],
        &[(0x27, Value::Four(0))],
        &[(0x19, Value::Byte(2))],
        &[(0x11, Value::Four(1)), (0x11, Value::Four(1))],
        &[(0x16, Value::Binary(vec![1]))],
        &[(0x23, Value::Two(1))],
    ];
    for properties in cases {
        let mut connect = Connect::new(Version::V5, "x");
        for (id, value) in properties {
            connect = connect.property(*id, value.clone());
        }
        let mut client = Client::open(broker.address, Version::V5).await;

        client.send(&connect.encode());

        let end = client.end().await;
        assert!(matches!(end, End::Refused(0x81 | 0x82)), "{properties:?}: {end:?}");
    }
}

/// [MQTT-3.1.3-6], [MQTT-3.1.3-7]: each gets a name of its own and is told it.
#[tokio::test]
async fn an_empty_client_identifier_is_assigned() {
    let broker = Broker::start();
    let mut names = HashSet::new();
    let mut clients = Vec::new();
    for _ in 0..10 {
        let client = join(broker.address, Version::V5, "").await;
        let name = match client.properties.all(ASSIGNED_CLIENT_IDENTIFIER)[..] {
            [Value::Text(name)] => name.clone(),
            ref other => panic!("one Assigned Client Identifier is expected: {other:?}"),
        };
        assert!(names.insert(name));
        clients.push(client);
    }
    for client in &mut clients {
        client.ping().await;
    }

    let back = join(broker.address, Version::V5, names.iter().next().expect("a name")).await;
    assert!(back.properties.all(ASSIGNED_CLIENT_IDENTIFIER).is_empty());
}

/// [MQTT3-3.1.3-7], [MQTT3-3.1.3-8]
#[tokio::test]
async fn an_empty_client_identifier_of_3_1_1_needs_a_clean_session() {
    let broker = Broker::start();
    let mut one = join(broker.address, Version::V311, "").await;
    let mut two = join(broker.address, Version::V311, "").await;
    one.ping().await;
    two.ping().await;

    let mut lasting = Client::open(broker.address, Version::V311).await;
    lasting.send(&Connect::lasting(Version::V311, "").encode());

    assert_eq!(lasting.end().await, End::Refused(0x02));
}

#[tokio::test]
async fn a_3_1_client_is_served() {
    let broker = Broker::start();
    let mut subscriber = taker(broker.address, Version::V31, "old", "old/+", 2).await;
    let mut publisher = join(broker.address, Version::V31, "older").await;

    for qos in [0, 1, 2] {
        publisher.publish_and_wait("old/one", "x", qos).await;
        assert_eq!(subscriber.message().await.qos, qos);
    }

    let connect = Connect::lasting(Version::V31, "lasting");
    let mut lasting = Client::connect(broker.address, &connect).await;
    lasting.subscribe("mail", 1).await;
    lasting.disconnect(0).await;
    publisher.publish_and_wait("mail", "kept", 1).await;
    let mut lasting = Client::connect(broker.address, &connect).await;
    assert_eq!(lasting.message().await.text(), "kept");
}

/// What the CONNACK of a client that asks for Response Information has of it.
async fn response_information(broker: &Broker, name: &str, asked: u8) -> Option<String> {
    let connect =
        Connect::new(Version::V5, name).property(REQUEST_RESPONSE_INFORMATION, Value::Byte(asked));
    let client = Client::connect(broker.address, &connect).await;
    match client.properties.all(RESPONSE_INFORMATION)[..] {
        [] => None,
        [Value::Text(text)] => Some(text.clone()),
        ref other => panic!("at most one text is expected: {other:?}"),
    }
}

/// [MQTT-3.1.2-28], 5.0 s4.10.1
#[tokio::test]
async fn response_information_is_given_to_who_asks_and_can_be_published_to() {
    let broker = Broker::start();
    assert_eq!(response_information(&broker, "asker", 0).await, None);
    assert_eq!(response_information(&broker, "a#b", 1).await, None);

    let begins = response_information(&broker, "asker", 1).await.expect("it is given");

    assert_eq!(begins, "response/asker");
    let mut requester = taker(broker.address, Version::V5, "asker", &begins, 1).await;
    let mut responder = join(broker.address, Version::V5, "responder").await;
    assert_eq!(responder.publish_and_wait(&begins, "42", 1).await, 0);
    assert_eq!(requester.message().await.text(), "42");
}

#[tokio::test]
async fn response_information_can_be_named_or_turned_off() {
    for (text, expected) in [("reply/to/", Some("reply/to/asker")), ("", None)] {
        let broker = Broker::start_with(&format!("session.response_information = \"{text}\""));

        assert_eq!(response_information(&broker, "asker", 1).await.as_deref(), expected);
    }
}

/// The longest name that the product takes, and one that is too long.
#[tokio::test]
async fn a_client_identifier_may_have_1024_bytes() {
    let broker = Broker::start();
    for (version, code) in [(Version::V311, 0x02), (Version::V5, 0x85)] {
        join(broker.address, version, &"n".repeat(1_024)).await.ping().await;

        let mut long = Client::open(broker.address, version).await;
        long.send(&Connect::new(version, &"n".repeat(1_025)).encode());

        assert_eq!(long.end().await, End::Refused(code));
    }
}
