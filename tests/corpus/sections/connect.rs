//! CONNECT: protocol names and levels, Client Identifiers, Wills, and what a client cannot take.

use crate::{
    case::{Answer, Case, Corpus, Expected, Step, code, number},
    layout::{
        Fill, Kind, VERSIONS, carrier, connect, connect_as, connect_of, connect_with_will,
        subscribe_to,
    },
    property::{Place, property, section},
    wire::{Properties, Version, packet, publish, text},
};

pub(super) fn add(corpus: &mut Corpus) {
    corpus.add("protocol names", "[MQTT-3.1.2-1] [MQTT3-3.1.2-1]", VERSIONS.map(names).concat());
    corpus.add("protocol levels", "[MQTT-3.1.2-2] [MQTT3-3.1.2-2]", levels());
    let rule = "[MQTT-3.1.3-5] [MQTT-3.1.3-6] [MQTT-3.1.3-8] [MQTT3-3.1.3-5] [MQTT3-3.1.3-7] \
                [MQTT3-3.1.3-8] [MQTT3-3.1.3-9]";
    corpus.add("Client Identifiers", rule, VERSIONS.map(client_ids).concat());
    let rule = "[MQTT-3.1.4-2] [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT3-3.1.4-1] [MQTT3-4.7.1-1]";
    corpus.add("Wills", rule, VERSIONS.map(wills).concat());
    let rule = "[MQTT-3.1.2-24] [MQTT-3.2.2-19] [MQTT-3.14.2-3]";
    corpus.add("small Maximum Packet Sizes", rule, small());
    corpus.add("a second CONNECT", "[MQTT-3.1.0-2] [MQTT3-3.1.0-2]", second());
    corpus.add("behind a refused CONNECT", "[MQTT-3.1.4-6] [MQTT3-3.1.4-5]", behind());
}

/// A CONNECT of which the name and the level are given, as bytes.
fn named(version: Version, name: &[u8], level: u8) -> Vec<u8> {
    let mut layout = connect(version, Fill::Bare);
    layout.fields[0].kind = Kind::Text(name.to_vec());
    layout.fields[1].kind = Kind::Plain(vec![level]);
    layout.encode()
}

fn level(version: Version) -> u8 {
    match version {
        Version::V31 => 3,
        Version::V311 => 4,
        Version::V5 => 5,
    }
}

/// The server may show 5.0 clients that it speaks MQTT, or just close.
fn names(version: Version) -> Vec<Case> {
    let names: [&[u8]; 18] = [
        b"",
        b"M",
        b"MQT",
        b"MQTt",
        b"mqtt",
        b"Mqtt",
        b"MQTT ",
        b" MQTT",
        b"MQTT\0",
        b"\0MQTT",
        b"MQTTT",
        b"MQIsd",
        b"MQIsdP",
        b"MQISDP",
        b"MQIsdp\0",
        b"HTTP",
        b"\xFF\xFF\xFF\xFF",
        b"\xEF\xBB\xBFMQTT",
    ];
    let mut cases: Vec<Case> = names
        .into_iter()
        .map(|name| {
            let bytes = named(version, name, level(version));
            let expected = Expected::RefusedOrClosed(&[code::VERSION]);
            Case::first(
                format!("the name {:?}", name.escape_ascii().to_string()),
                version,
                bytes,
                expected,
            )
        })
        .collect();
    let long = vec![b'M'; 60_000];
    let bytes = named(version, &long, level(version));
    let expected = Expected::RefusedOrClosed(&[code::VERSION]);
    cases.push(Case::first("a name of 60,000 bytes", version, bytes, expected));
    cases
}

/// Above 5 a client knows the codes of 5.0, below 3.1.1 those of 3.1.1.
fn levels() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, level: u8, codes: &'static [u8]| {
        let bytes = named(Version::V5, name.as_bytes(), level);
        let case = format!("{name} of level {level}");
        // In 3.1.1 the code is no matter of choice.
        let expected = match name {
            "MQTT" => Expected::Refused(codes),
            _ => Expected::RefusedOrClosed(codes),
        };
        cases.push(Case::first(case, Version::V5, bytes, expected));
    };
    for level in (0..=3).chain(6..=255) {
        add("MQTT", level, if level > 5 { &[code::VERSION] } else { &[0x01] });
    }
    for level in (0..=2).chain(4..=7).chain([0x83, 0xFF]) {
        add("MQIsdp", level, &[code::VERSION, 0x01]);
    }
    cases
}

fn client_ids(version: Version) -> Vec<Case> {
    let v5 = version == Version::V5;
    let rejected = || Expected::Refused(if v5 { &[code::CLIENT_ID] } else { &[0x02] });
    let accepted = || Expected::Answered(vec![Answer::conn_ack()]);
    let ids = [
        ("of 23 characters", "client-00000-1234567890", accepted()),
        ("of 24 characters", "client-00000-12345678901", accepted()),
        ("with characters of any kind", "client-00000 +/#$%\u{e9}\u{1F600}", accepted()),
        ("of a byte order mark", "client-00000\u{FEFF}", accepted()),
        ("of 1,024 bytes", &format!("client-00000{}", "x".repeat(1_012)), accepted()),
        ("of 1,025 bytes", &format!("client-00000{}", "x".repeat(1_013)), rejected()),
        ("of 65,535 bytes", &format!("client-00000{}", "x".repeat(65_523)), rejected()),
    ];
    let mut cases: Vec<Case> = ids
        .into_iter()
        .map(|(what, id, expected)| {
            let bytes = connect_as(version, id, 0x02);
            Case::first(format!("a Client Identifier {what}"), version, bytes, expected)
        })
        .collect();
    for (what, flags) in [("a clean", 0x02), ("an old", 0x00)] {
        let expected = if v5 || flags == 0x02 { accepted() } else { rejected() };
        // 3.1 has no empty one at all.
        let expected = if version == Version::V31 { rejected() } else { expected };
        let bytes = connect_as(version, "", flags);
        let name = format!("no Client Identifier for {what} Session");
        cases.push(Case::first(name, version, bytes, expected));
    }
    cases
}

/// A Will is published later, so its topic is looked at when it comes.
fn wills(version: Version) -> Vec<Case> {
    let refused = |codes| Expected::refused(version, codes);
    let topics: [(&str, &[u8], Expected); 14] = [
        ("+", b"+", refused(&[code::TOPIC])),
        ("#", b"#", refused(&[code::TOPIC])),
        ("a/+", b"a/+", refused(&[code::TOPIC])),
        ("a/#", b"a/#", refused(&[code::TOPIC])),
        ("a+", b"a+", refused(&[code::TOPIC])),
        ("#/a", b"#/a", refused(&[code::TOPIC])),
        ("+/+/+", b"+/+/+", refused(&[code::TOPIC])),
        ("no topic", b"", refused(&[code::TOPIC, code::MALFORMED, code::PROTOCOL])),
        ("4,097 bytes", &[b't'; 4_097], refused(&[code::TOPIC])),
        ("129 levels", &[b'/'; 128], refused(&[code::TOPIC])),
        ("60,000 bytes", &[b't'; 60_000], refused(&[code::TOPIC])),
        ("a control character", b"a\x01", refused(&[code::TOPIC, code::MALFORMED])),
        ("$SYS", b"$SYS/broker/version", not_authorized(version)),
        ("$share", b"$share/group/t", not_authorized(version)),
    ];
    let mut cases: Vec<Case> = topics
        .into_iter()
        .map(|(what, topic, expected)| {
            let bytes = connect_with_will(version, topic);
            Case::first(format!("a Will to {what}"), version, bytes, expected)
        })
        .collect();
    let fine: [(&str, &[u8]); 4] = [
        ("4,096 bytes", &[b't'; 4_096]),
        ("128 levels", &[b'/'; 127]),
        ("a space", b" "),
        ("another $ name", b"$other/t"),
    ];
    cases.extend(fine.into_iter().map(|(what, topic)| {
        let expected = Expected::Answered(vec![Answer::conn_ack()]);
        let bytes = connect_with_will(version, topic);
        Case::first(format!("a Will to {what}"), version, bytes, expected)
    }));
    cases
}

fn not_authorized(version: Version) -> Expected {
    match version {
        Version::V5 => Expected::Refused(&[code::NOT_AUTHORIZED]),
        Version::V31 | Version::V311 => Expected::Refused(&[0x05]),
    }
}

/// What comes is never longer, be it with fewer properties or not at all.
fn small() -> Vec<Case> {
    let limit = |size: u32| property(0x27).with(&size.to_be_bytes());
    let connect =
        |content: &[u8]| carrier(Place::Connect).with_section(Place::Connect, &section(content));
    let mut cases = Vec::new();
    for size in 1..=60 {
        let expected = Expected::Within(size, &[code::TOO_LARGE]);
        let name = format!("at most {size} bytes");
        cases.push(Case::first(name, Version::V5, connect(&limit(size)), expected));

        // The second Receive Maximum stands behind the limit, so that this can be read.
        let wrong = [limit(size), property(0x21).encode(), property(0x21).encode()].concat();
        let expected = Expected::Within(size, &[code::PROTOCOL]);
        let name = format!("at most {size} bytes of a wrong CONNECT");
        cases.push(Case::first(name, Version::V5, connect(&wrong), expected));
    }
    for size in 20..=60 {
        let steps = vec![Step { bytes: connect(&limit(size)), answers: 1 }];
        let expected = Expected::Within(size, &[code::MALFORMED]);
        let name = format!("at most {size} bytes of a DISCONNECT");
        let qos_3 = publish(Version::V5, 0x36, "refused/t", 1, &Properties::default(), b"x");
        cases.push(Case::new(name, Version::V5, qos_3, expected).after(steps));
    }
    cases
}

/// Of the same version or another, well-formed or not: the first one has counted.
fn second() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in VERSIONS {
        let expected = || Expected::told(version, &[code::PROTOCOL]);
        for other in VERSIONS {
            for (what, fill) in [("a short", Fill::Bare), ("a full", Fill::Full)] {
                let name = format!("{what} one of {}", number(other));
                cases.push(Case::new(name, version, connect(other, fill).encode(), expected()));
            }
        }
        let again = connect(version, Fill::Bare).encode();
        let first = Step { bytes: again.clone(), answers: 1 };
        cases.push(Case::new("the same again", version, again, expected()).after(vec![first]));

        let either = Expected::told(version, &[code::PROTOCOL, code::MALFORMED, code::VERSION]);
        for (what, bytes) in [
            ("one of level 77", named(version, b"MQTT", 77)),
            ("one of another protocol", named(version, b"HTTP", 4)),
            ("one with the reserved bit", connect_of(version, Fill::Bare, 0x03).encode()),
            ("one without a body", packet(0x10, &[])),
        ] {
            if version == Version::V31 && what == "one with the reserved bit" {
                continue;
            }
            cases.push(Case::new(what, version, bytes, either.clone()));
        }
    }
    cases
}

/// Everything in one write: what follows has no effect, and the neighbours see nothing of it.
fn behind() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in VERSIONS {
        let first = connect_of(version, Fill::Bare, 0x1E).encode();
        let none = Properties::default();
        let retained = publish(version, 0x31, "refused/retained", 0, &none, b"x");
        let acknowledged = publish(version, 0x32, "refused/t", 1, &none, b"x");
        for (what, packets) in [
            ("a retained PUBLISH", retained),
            ("a PUBLISH of QoS 1", acknowledged),
            ("a SUBSCRIBE", subscribe_to(version, b"#", 0)),
            ("a good CONNECT", connect(version, Fill::Bare).encode()),
            ("a DISCONNECT", vec![0xE0, 0x00]),
            ("bytes that are nothing", vec![0xFF; 100]),
        ] {
            let bytes = [first.clone(), packets].concat();
            let expected = Expected::refused(version, &[code::MALFORMED]);
            cases.push(Case::first(what, version, bytes, expected));
        }
    }
    for (what, bytes) in [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00".to_vec()),
        ("text", text("MQTT")),
    ] {
        cases.push(Case::first(format!("{what} instead"), Version::V5, bytes, Expected::Closed));
    }
    cases
}
