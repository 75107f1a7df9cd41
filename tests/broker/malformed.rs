//! Bytes that are no MQTT: 5.0 is told 0x81 or what fits better, every version is closed.

use crate::support::{
    BOTH, Broker, Client, Connect, End, Version, join,
    wire::{packet, publish, text},
};

/// Sends bytes on a fresh connection of each version and compares what 5.0 is told.
async fn refused(broker: &Broker, bytes: impl Fn(Version) -> Vec<u8>, codes: &[u8], what: &str) {
    for version in BOTH {
        let mut client = join(broker.address, version, "offender").await;

        client.send(&bytes(version));

        let end = client.end().await;
        match (version, end) {
            (Version::V5, End::Disconnect(code)) if codes.contains(&code) => {}
            (Version::V311, End::Closed) => {}
            _ => panic!("{what} in {version:?}: {end:?}, but 5.0 should see one of {codes:02x?}"),
        }
    }
}

fn publish_to(topic: &[u8], version: Version) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).expect("a short topic").to_be_bytes().to_vec();
    body.extend(topic);
    if version == Version::V5 {
        body.push(0);
    }
    packet(0x30, &body)
}

/// The variable header of SUBSCRIBE and UNSUBSCRIBE.
fn identified(packet_id: u16, version: Version) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    body
}

/// [MQTT-1.5.4-1], [MQTT-1.5.4-2], for 3.1.1 [MQTT3-1.5.3-1], [MQTT3-1.5.3-2]
#[tokio::test]
async fn a_topic_that_is_not_utf_8_is_refused() {
    let broker = Broker::start();
    let topics: [&[u8]; 7] = [
        b"a\xFFb",
        b"\xC3",
        b"a\xC0\x80",
        b"\xED\xA0\x80",
        b"\xF4\x90\x80\x80",
        b"\xE2\x82",
        b"a\0b",
    ];
    for topic in topics {
        let what = format!("the topic {topic:02x?}");
        refused(&broker, |version| publish_to(topic, version), &[0x81], &what).await;
    }
}

#[tokio::test]
async fn a_topic_filter_that_is_not_utf_8_is_refused() {
    let broker = Broker::start();
    let bytes = |version| {
        let mut body = identified(1, version);
        body.extend([0, 3, b'a', 0xFF, b'b', 0]);
        packet(0x82, &body)
    };
    refused(&broker, bytes, &[0x81], "a filter that is not UTF-8").await;
}

/// [MQTT-3.1.3-4], for 3.1.1 [MQTT3-3.1.3-4]
#[tokio::test]
async fn a_client_identifier_that_is_not_utf_8_is_refused() {
    let broker = Broker::start();
    for (level, version) in [(4, Version::V311), (5, Version::V5)] {
        let mut body = [text("MQTT"), vec![level, 0x02, 0, 0]].concat();
        if version == Version::V5 {
            body.push(0);
        }
        body.extend([0, 2, 0xC3, 0x28]);
        let mut client = Client::open(broker.address, version).await;

        client.send(&packet(0x10, &body));

        let end = client.end().await;
        assert!(matches!(end, End::Closed | End::Refused(0x81 | 0x85 | 0x02)), "{end:?}");
    }
}

/// [MQTT-2.2.1-3], for 3.1.1 [MQTT3-2.3.1-1]
#[tokio::test]
async fn packet_identifier_0_is_refused() {
    let broker = Broker::start();
    let codes = [0x81, 0x82];
    let none = Default::default();
    for first in [0x32, 0x34] {
        let bytes = |version| publish(version, first, "t", 0, &none, b"x");
        refused(&broker, bytes, &codes, "PUBLISH with Packet Identifier 0").await;
    }
    let subscribe = |version| packet(0x82, &[identified(0, version), text("t"), vec![0]].concat());
    refused(&broker, subscribe, &codes, "SUBSCRIBE with Packet Identifier 0").await;
    let unsubscribe = |version| packet(0xA2, &[identified(0, version), text("t")].concat());
    refused(&broker, unsubscribe, &codes, "UNSUBSCRIBE with Packet Identifier 0").await;
}

/// [MQTT-2.1.3-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1], [MQTT-3.6.1-1]; for 3.1.1 [MQTT3-2.2.2-2]
#[tokio::test]
async fn reserved_bits_of_the_fixed_header_are_refused() {
    let broker = Broker::start();
    let body = |first: u8, version| match first >> 4 {
        8 => [identified(1, version), text("t"), vec![0]].concat(),
        10 => [identified(1, version), text("t")].concat(),
        12 | 14 => vec![],
        _ => vec![0, 1],
    };
    for first in [0x80, 0x83, 0xA0, 0xA3, 0x60, 0x63, 0x41, 0x58, 0x71, 0xC1, 0xE1] {
        let what = format!("the first byte {first:#04x}");
        refused(&broker, |version| packet(first, &body(first, version)), &[0x81], &what).await;
    }
}

/// [MQTT-3.3.1-4], for 3.1.1 [MQTT3-3.3.1-4]; and the packet type 0, and what only a broker sends.
#[tokio::test]
async fn impossible_first_bytes_are_refused() {
    let broker = Broker::start();
    let none = Default::default();
    let qos_3 = |version| publish(version, 0x36, "t", 1, &none, b"x");
    refused(&broker, qos_3, &[0x81], "PUBLISH with QoS 3").await;
    for (first, body) in
        [(0x00_u8, &[][..]), (0x20, &[0, 0]), (0x90, &[0, 1, 0]), (0xB0, &[0, 1]), (0xD0, &[])]
    {
        let what = format!("the first byte {first:#04x}");
        refused(&broker, |_| packet(first, body), &[0x81, 0x82], &what).await;
    }
}

/// [MQTT-3.8.3-5], for 3.1.1 [MQTT3-3-8.3-4]: reserved bits, QoS 3, and Retain Handling 3 in 5.0.
#[tokio::test]
async fn impossible_subscription_options_are_refused() {
    let broker = Broker::start();
    for options in [0x03, 0x43, 0xC0, 0x80, 0x33] {
        let bytes =
            |version| packet(0x82, &[identified(1, version), text("t"), vec![options]].concat());
        let what = format!("the options {options:#04x}");
        refused(&broker, bytes, &[0x81, 0x82], &what).await;
    }
}

/// [MQTT-3.8.3-2], [MQTT-3.10.3-2], for 3.1.1 [MQTT3-3.8.3-3], [MQTT3-3.10.3-2]
#[tokio::test]
async fn a_subscribe_or_unsubscribe_of_nothing_is_refused() {
    let broker = Broker::start();
    for first in [0x82, 0xA2] {
        let bytes = |version| packet(first, &identified(1, version));
        refused(&broker, bytes, &[0x81, 0x82], "no Topic Filter").await;
    }
}

/// A packet whose inner lengths point beyond its end, or that ends inside a field.
#[tokio::test]
async fn packets_that_end_too_early_are_refused() {
    let broker = Broker::start();
    let bodies: [(u8, &[u8]); 9] = [
        (0x30, &[]),
        (0x30, &[0]),
        (0x30, &[0xFF, 0xFF, b'a']),
        (0x32, &[0, 1, b'a', 0]),
        (0x40, &[0]),
        (0x62, &[]),
        (0x82, &[0]),
        (0x82, &[0, 1, 0, 9, b'a']),
        (0xA2, &[0, 1, 0, 0xFF, b'a']),
    ];
    for (first, body) in bodies {
        let what = format!("{first:#04x} {body:02x?}");
        refused(&broker, |_| packet(first, body), &[0x81], &what).await;
    }
}

/// 5.0 s2.2.2: unknown properties, properties at the wrong packet, lengths that lie, and twice.
#[tokio::test]
async fn properties_that_make_no_sense_are_refused() {
    let broker = Broker::start();
    let properties: [&[u8]; 9] = [
        &[2, 0x7F, 0],
        &[5, 0x11, 0, 0, 0, 1],
        &[3, 0x26, 0, 9],
        &[100, 0x01, 1],
        &[4, 0x01, 0, 0x01, 0],
        &[6, 0x23, 0, 1, 0x23, 0, 1],
        &[2, 0x01, 2],
        &[0x80, 0x80, 0x80, 0x80, 0x01],
        &[5, 0x0B, 0xFF, 0xFF, 0xFF, 0xFF],
    ];
    for bytes in properties {
        let mut client = join(broker.address, Version::V5, "offender").await;

        client.send(&packet(0x30, &[text("t"), bytes.to_vec()].concat()));

        let end = client.end().await;
        assert!(matches!(end, End::Disconnect(0x81 | 0x82)), "{bytes:02x?}: {end:?}");
    }
}

/// 5.0 s1.5.5: a Remaining Length has four bytes at most.
#[tokio::test]
async fn a_remaining_length_of_five_bytes_is_refused() {
    let broker = Broker::start();
    let bytes = |_| vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
    refused(&broker, bytes, &[0x81], "five length bytes").await;
    let mut client = Client::open(broker.address, Version::V5).await;
    client.send(&[0x10, 0x80, 0x80, 0x80, 0x80, 0x01]);
    assert!(matches!(client.end().await, End::Closed | End::Refused(0x81)));
}

/// The largest length that can be written is refused when it is read, and nothing is kept for it.
#[tokio::test]
async fn a_length_of_256_mebibytes_is_refused_at_once_and_reserves_nothing() {
    let broker = Broker::start();
    let mut warm = join(broker.address, Version::V5, "warm").await;
    warm.ping().await;
    let before = resident_kibibytes(&broker);
    let bytes = |_| vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F];

    for _ in 0..25 {
        refused(&broker, bytes, &[0x95], "268,435,455 bytes").await;
        let mut stranger = Client::open(broker.address, Version::V5).await;
        stranger.send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]);
        let end = stranger.end().await;
        assert!(matches!(end, End::Closed | End::Refused(0x95)), "{end:?}");
    }

    let grown = resident_kibibytes(&broker).saturating_sub(before);
    assert!(grown <= 4 * 1_024, "the broker grew by {grown} KiB");
    warm.ping().await;
}

/// A length within the limit is believed, but costs memory only as its bytes arrive.
#[tokio::test]
async fn an_announced_megabyte_that_never_comes_costs_nothing() {
    let broker = Broker::start();
    let mut warm = join(broker.address, Version::V5, "warm").await;
    warm.ping().await;
    let before = resident_kibibytes(&broker);
    let mut waiting = Vec::new();

    for number in 0..100 {
        let mut client = join(broker.address, Version::V311, &format!("promises-{number}")).await;
        client.send(&[&[0x30][..], &crate::support::wire::variable(1 << 20), &[0, 1]].concat());
        client.flush().await;
        waiting.push(client);
    }
    // Answered behind all of them.
    for client in &mut waiting {
        client.finish_writing();
    }
    for client in &mut waiting {
        client.end().await;
    }
    warm.ping().await;

    let grown = resident_kibibytes(&broker).saturating_sub(before);
    assert!(grown <= 8 * 1_024, "the broker grew by {grown} KiB");
}

/// PRODUCT: a packet above 2 MiB is refused, a CONNECT above 256 KiB.
#[tokio::test]
async fn packets_above_the_limit_are_refused_before_they_arrive() {
    let broker = Broker::start();
    let length = crate::support::wire::variable(2 * 1_024 * 1_024 + 100);
    let bytes = |_| [&[0x30][..], &length].concat();
    refused(&broker, bytes, &[0x95], "a PUBLISH above 2 MiB").await;

    let mut stranger = Client::open(broker.address, Version::V5).await;
    let length = crate::support::wire::variable(256 * 1_024 + 100);
    stranger.send(&[&[0x10][..], &length].concat());
    assert!(matches!(stranger.end().await, End::Closed | End::Refused(0x95)));
    join(broker.address, Version::V5, "unharmed").await.ping().await;
}

/// A byte after the end of what the packet may hold.
#[tokio::test]
async fn packets_with_something_left_over_are_refused() {
    let broker = Broker::start();
    refused(&broker, |_| packet(0xC0, &[0]), &[0x81], "PINGREQ with a body").await;
    let mut bytes = Connect::new(Version::V311, "x").encode();
    bytes[1] += 1;
    bytes.push(0);
    let mut client = Client::open(broker.address, Version::V311).await;
    client.send(&bytes);
    assert!(matches!(client.end().await, End::Closed | End::Refused(_)));
}

/// What the broker's process holds in memory (`VmRSS`).
fn resident_kibibytes(broker: &Broker) -> u64 {
    let path = format!("/proc/{}/status", broker.process.id());
    let status = std::fs::read_to_string(path).expect("the broker runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
