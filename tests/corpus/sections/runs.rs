//! Good PUBLISH packets one behind the other, and then a bad one: what is known of the first must
//! not be believed of the last.

use crate::{
    case::{Case, Corpus, Expected, code},
    layout::{VERSIONS, padded},
    wire::{Version, packet, text, variable},
};

/// Where good packets go; no neighbour is there.
const TOPIC: &str = "allowed/run";

/// How many good ones there are. A read brings all of them but of the last.
const LENGTHS: [usize; 4] = [1, 2, 40, 2_000];

pub(super) fn add(corpus: &mut Corpus) {
    let rule = "[MQTT-1.5.5-1] [MQTT-3.3.1-2] [MQTT-3.3.1-4] [MQTT-3.3.2-1] [MQTT-3.3.2-2] \
                [MQTT-4.13.1-1] [MQTT3-3.3.1-2] [MQTT3-3.3.1-4] [MQTT3-3.3.2-1] [MQTT3-3.3.2-2] \
                [MQTT3-4.8.0-1]";
    corpus.add("behind good PUBLISH packets", rule, VERSIONS.map(behind).concat());
}

/// What stands before the payload, or a wrong form of it.
fn head(version: Version, topic: &[u8]) -> Vec<u8> {
    let no_properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    [topic, no_properties].concat()
}

fn behind(version: Version) -> Vec<Case> {
    let good = head(version, &text(TOPIC));
    let run = |count: usize| -> Vec<u8> {
        // Payloads of any length, with Remaining Lengths of one and of two bytes.
        let payload = |number: usize| vec![b'x'; number * 7 % 300];
        let packets = (0..count).map(|number| [&good[..], &payload(number)].concat());
        packets.flat_map(|body| packet(0x30, &body)).collect()
    };
    let told = |codes| Expected::told(version, codes);
    let mut cases = Vec::new();
    for count in LENGTHS {
        for (what, bytes, expected) in bad(version, &good, told) {
            let name = format!("{what} behind {count}");
            cases.push(Case::new(name, version, [run(count), bytes].concat(), expected));
        }
        for cut in [1, 2, 3, good.len(), good.len() + 2] {
            let last = packet(0x30, &[&good[..], b"payload"].concat());
            let bytes = [run(count), last[..cut].to_vec()].concat();
            let name = format!("{cut} bytes of one behind {count}");
            cases.push(Case::new(name, version, bytes, Expected::Closed).then_end());
        }
        let name = format!("nothing bad behind {count}");
        cases.push(Case::new(name, version, run(count), Expected::Answered(vec![])));
    }
    cases
}

/// Packets that begin like the good ones.
fn bad(
    version: Version,
    good: &[u8],
    told: impl Fn(&'static [u8]) -> Expected,
) -> Vec<(&'static str, Vec<u8>, Expected)> {
    const MALFORMED: &[u8] = &[code::MALFORMED];
    let framed = |length: &[u8], body: &[u8]| [&[0x30], length, body].concat();
    let whole = [good, b"payload"].concat();
    let mut bad = vec![
        ("a Remaining Length within the topic", framed(&[5], &whole), told(MALFORMED)),
        ("a Remaining Length within its length", framed(&[1], &whole), told(MALFORMED)),
        ("a Remaining Length of 0", framed(&[0], &whole), told(MALFORMED)),
        (
            "a Remaining Length of two bytes",
            framed(&padded(whole.len(), 2), &whole),
            told(MALFORMED),
        ),
        (
            "a Remaining Length of five bytes",
            framed(&padded(whole.len(), 5), &whole),
            told(MALFORMED),
        ),
        ("256 MiB", framed(&variable(268_435_455), &whole), told(&[code::TOO_LARGE])),
        ("QoS 3", packet(0x36, &whole), told(MALFORMED)),
        ("DUP", packet(0x38, &whole), told(&[code::MALFORMED, code::PROTOCOL])),
        ("U+0000", packet(0x30, &head(version, &text("allowed/\0un"))), told(MALFORMED)),
        ("a byte that is no UTF-8", packet(0x30, b"\x00\x02a\xFF\x00"), told(MALFORMED)),
        ("a wildcard", packet(0x30, &head(version, &text("allowed/ru+"))), told(&[code::TOPIC])),
        ("no topic", packet(0x30, &head(version, &text(""))), told(&[code::PROTOCOL])),
        ("packet type 0", packet(0x00, &whole), told(MALFORMED)),
    ];
    if version == Version::V5 {
        let with = |section: &[u8]| packet(0x30, &[&text(TOPIC), section, b"payload"].concat());
        bad.extend([
            ("no Property Length", packet(0x30, &text(TOPIC)), told(MALFORMED)),
            ("a Property Length that lies", with(&[100]), told(MALFORMED)),
            ("a Property Length of two bytes", with(&[0x80, 0]), told(MALFORMED)),
            ("an unknown property", with(&[2, 0x7F, 0]), told(MALFORMED)),
            ("Topic Alias 0", with(&[3, 0x23, 0, 0]), told(&[code::ALIAS])),
        ]);
    }
    bad
}
