//! First bytes: packet types that do not exist, that only a server sends, and flag bits.

use crate::{
    case::{Case, Corpus, Expected, code},
    layout::{Fill, Layout, VERSIONS, auth, connect, established, publish},
    wire::{Version, packet},
};

pub(super) fn add(corpus: &mut Corpus) {
    let rule = "[MQTT-3.1.0-1] [MQTT-3.14.0-1] [MQTT3-3.1.0-1]";
    corpus.add("first bytes before CONNECT", rule, VERSIONS.map(before_connect).concat());
    let rule = "[MQTT-2.1.3-1] [MQTT3-2.2.2-2]";
    corpus.add("flags of CONNECT", rule, VERSIONS.map(flags_of_connect).concat());
    let rule = "[MQTT-2.1.3-1] [MQTT-3.1.0-2] [MQTT-3.3.1-4] [MQTT-3.6.1-1] [MQTT-3.8.1-1] \
                [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1] [MQTT3-2.2.2-2] [MQTT3-3.1.0-2] \
                [MQTT3-3.3.1-4] [MQTT3-3.6.1-1] [MQTT3-3.8.1-1] [MQTT3-3.10.1-1] [MQTT3-3.14.1-1]";
    corpus.add("first bytes", rule, VERSIONS.map(after_connect).concat());
}

/// Nothing but CONNECT is told why: no DISCONNECT may be sent yet, and no CONNACK is due.
fn before_connect(version: Version) -> Vec<Case> {
    let first = (0x00..=0xFF).filter(|first| first >> 4 != 1);
    let cases = first.map(|first| {
        let name = format!("the first byte {first:#04x}");
        Case::first(name, version, with_first(version, first), Expected::Closed)
    });
    cases.collect()
}

fn flags_of_connect(version: Version) -> Vec<Case> {
    let cases = (0x11..=0x1F).map(|first| {
        let bytes = Layout { first, ..connect(version, Fill::Full) }.encode();
        let expected = match version {
            Version::V5 => Expected::RefusedOrClosed(&[code::MALFORMED]),
            Version::V31 | Version::V311 => Expected::Closed,
        };
        Case::first(format!("CONNECT with the first byte {first:#04x}"), version, bytes, expected)
    });
    cases.collect()
}

fn after_connect(version: Version) -> Vec<Case> {
    // A retained message would stay.
    let firsts = (0x00..=0xFF).filter(|first| !matches!(first, 0x31 | 0x33 | 0x35 | 0x3B | 0x3D));
    let cases = firsts.map(|first| {
        let bytes = with_first(version, first);
        let expected = expected(version, first);
        Case::new(format!("the first byte {first:#04x}"), version, bytes, expected)
    });
    cases.collect()
}

fn expected(version: Version, first: u8) -> Expected {
    let malformed = Expected::told(version, &[code::MALFORMED]);
    let forbidden = Expected::told(version, &[code::PROTOCOL]);
    let either = Expected::told(version, &[code::MALFORMED, code::PROTOCOL]);
    match (first >> 4, first & 0x0F) {
        (3, flags) if flags & 0x06 == 0x06 => malformed,
        // DUP of QoS 0, to which the standard names no reaction, and what only a server sends.
        (3, 0x08 | 0x09) | (2 | 9 | 11 | 13, _) => either,
        (3, _) | (4 | 5 | 7 | 12, 0) | (6 | 8 | 10, 2) => Expected::Alive,
        // 3.1 had DUP in whatever is answered.
        (6 | 8 | 10, 10) if version == Version::V31 => Expected::Alive,
        (14, 0) => Expected::Closed,
        // A second CONNECT, and an AUTH where CONNECT named no Authentication Method.
        (1 | 15, 0) => forbidden,
        _ => malformed,
    }
}

/// Behind the byte comes what its packet consists of, in order but for the first byte.
fn with_first(version: Version, first: u8) -> Vec<u8> {
    let short: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let body = match first >> 4 {
        1 => connect(version, Fill::Bare).body(),
        2 => [&[0, 0], short].concat(),
        3 if first & 0x06 == 0 => publish(version, 0x30, Fill::Full).body(),
        3 => publish(version, 0x32, Fill::Full).body(),
        9 => [&[0, 1], short, &[0]].concat(),
        11 if version == Version::V5 => vec![0, 1, 0, 0],
        11 => vec![0, 1],
        0 | 13 => vec![],
        15 => auth().body(),
        kind => {
            let mut layouts = established(version).into_iter();
            let layout = layouts.find(|layout| layout.first >> 4 == kind);
            layout.expect("a packet of that type").body()
        }
    };
    packet(first, &body)
}
