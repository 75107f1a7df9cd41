//! Lengths: the Remaining Length, and those of fields within a packet.

use crate::{
    case::{Behind, Case, Corpus, Expected, Opening, code},
    layout::{Fill, Kind, Layout, VERSIONS, auth, connect, established, padded},
    property::{PLACES, PROPERTIES, Place, Type, property, section},
    wire::{Version, packet, variable},
};

pub(super) fn add(corpus: &mut Corpus) {
    let rule = "[MQTT-1.5.5-1] 5.0 s1.5.5, 3.1.1 s2.2.3";
    corpus.add("Remaining Length", rule, VERSIONS.map(remaining_lengths).concat());
    let rule = "[MQTT-3.2.2-15] 5.0 s3.2.2.3.6";
    corpus.add("packets that are too large", rule, VERSIONS.map(too_large).concat());
    let rule = "[MQTT-3.1.4-1] [MQTT-4.13.1-1] [MQTT3-3.1.4-1] [MQTT3-4.8.0-1]";
    corpus.add("left-over bytes", rule, VERSIONS.map(left_over).concat());
    corpus.add("lengths of fields", rule, VERSIONS.map(fields).concat());
    corpus.add("lengths of properties", "5.0 s2.2.2", properties());
    corpus.add("Property Lengths", "[MQTT-1.5.5-1] 5.0 s2.2.2.1", property_lengths());
}

/// Each packet of a client, the case that would begin with it, and what a malformed one gets. The
/// first AUTH is out of place whatever is in it.
fn packets(version: Version) -> Vec<(Layout, Opening, Expected)> {
    let told = Expected::told(version, &[code::MALFORMED]);
    let refused = Expected::refused(version, &[code::MALFORMED]);
    let mut packets = vec![(connect(version, Fill::Full), Opening::Nothing, refused)];
    let established = established(version).into_iter();
    packets.extend(established.map(|layout| (layout, Opening::Connected, told.clone())));
    if version == Version::V5 {
        let either = Expected::told(version, &[code::MALFORMED, code::PROTOCOL]);
        packets.push((auth(), Opening::Connected, either));
    }
    packets
}

/// Over-long forms; 3.1.1 does not forbid those of up to four bytes, and nobody writes them.
fn remaining_lengths(version: Version) -> Vec<Case> {
    let mut cases = Vec::new();
    for (layout, opening, expected) in packets(version) {
        // Read before anything else of the packet, of a CONNECT before its version.
        let early = match (&opening, version) {
            (Opening::Nothing, Version::V5) => Expected::RefusedOrClosed(&[code::MALFORMED]),
            (_, Version::V5) => Expected::Disconnect(&[code::MALFORMED]),
            (_, Version::V31 | Version::V311) => expected,
        };
        let body = layout.body();
        let of = |what: &str, length: Vec<u8>, body: &[u8]| {
            let name = format!("{} with {what}", layout.name);
            let bytes = [&[layout.first], &length[..], body].concat();
            Case { opening: opening.clone(), ..Case::new(name, version, bytes, early.clone()) }
        };
        for bytes in variable(body.len()).len() + 1..=5 {
            let what = format!("a Remaining Length in {bytes} bytes");
            cases.push(of(&what, padded(body.len(), bytes), &body));
        }
        cases.push(of("a Remaining Length that goes on and on", vec![0xFF; 5], &[]));
        let endless = of("a Remaining Length of four bytes that goes on", vec![0x80; 4], &[]);
        cases.push(Case { behind: Behind::EndOfStream, ..endless });
        for bytes in 0..4 {
            let what = format!("a Remaining Length that ends after {bytes} bytes");
            let case = of(&what, vec![0x80; bytes], &[]);
            cases.push(Case { expected: Expected::Closed, ..case }.then_end());
        }
    }
    cases
}

/// The first bytes are enough: a packet is refused before it has come.
fn too_large(version: Version) -> Vec<Case> {
    const MIB: usize = 1 << 20;
    let mut cases = Vec::new();
    for length in [2 * MIB, 2 * MIB + 1, 3 * MIB, 127 * MIB, 268_435_455] {
        for (layout, opening, _) in packets(version) {
            let expected = match (&opening, version) {
                (Opening::Nothing, _) => Expected::RefusedOrClosed(&[code::TOO_LARGE]),
                (_, Version::V5) => Expected::Disconnect(&[code::TOO_LARGE]),
                (_, Version::V31 | Version::V311) => Expected::Closed,
            };
            let name = format!("{} that announces {length} bytes", layout.name);
            let bytes = [&[layout.first], &variable(length)[..]].concat();
            cases.push(Case { opening, ..Case::new(name, version, bytes, expected) });
        }
    }
    // PRODUCT: a CONNECT may have 256 KiB.
    let bytes = [&[0x10], &variable(MIB / 4)[..], &connect(version, Fill::Bare).body()].concat();
    let expected = match version {
        Version::V5 => Expected::Refused(&[code::TOO_LARGE]),
        Version::V31 | Version::V311 => Expected::Closed,
    };
    cases.push(Case::first("CONNECT above 256 KiB", version, bytes, expected));
    cases
}

/// Something behind the last field, within the Remaining Length.
fn left_over(version: Version) -> Vec<Case> {
    let mut cases = Vec::new();
    for (layout, opening, expected) in packets(version) {
        if matches!(layout.fields.last().map(|field| &field.kind), Some(Kind::Payload(_))) {
            continue;
        }
        for (what, more) in [("a byte", &[0x00][..]), ("a PINGREQ", &[0xC0, 0x00])] {
            let name = format!("{} with {what} left over", layout.name);
            let bytes = packet(layout.first, &[&layout.body(), more].concat());
            let case = Case::new(name, version, bytes, expected.clone());
            cases.push(Case { opening: opening.clone(), ..case });
        }
    }
    cases
}

/// The two bytes before a string or binary data say more than the packet has.
fn fields(version: Version) -> Vec<Case> {
    let mut cases = Vec::new();
    for (layout, opening, expected) in packets(version) {
        for (index, field) in layout.fields.iter().enumerate() {
            let (Kind::Text(bytes) | Kind::Binary(bytes)) = &field.kind else { continue };
            // Without its name nobody knows which version the rest would be in.
            let is_name = field.name == "protocol name";
            let expected = if is_name { Expected::Closed } else { expected.clone() };
            for length in [0x7FFF_u16, 0xFFFF] {
                let name = format!("{} whose {} has {length} bytes", layout.name, field.name);
                let bytes = layout.with(index, &[&length.to_be_bytes(), &bytes[..]].concat());
                let case = Case::new(name, version, bytes, expected.clone());
                cases.push(Case { opening: opening.clone(), ..case });
            }
        }
    }
    cases
}

/// A property that ends within its value: each number of bytes too few, and lengths that lie.
fn properties() -> Vec<Case> {
    let mut cases = Vec::new();
    for place in PLACES {
        for property in PROPERTIES.iter().filter(|property| property.is_for_clients_in(place)) {
            let value = property.sample();
            for left in 0..value.len() {
                let name = format!("{} of {left} bytes in {place:?}", property.name);
                cases.push(offence(name, place, &section(&property.with(&value[..left]))));
            }
            if matches!(property.kind, Type::Text | Type::Binary | Type::Pair) {
                let long = [&[0xFF, 0xFF], &value[2..]].concat();
                let name = format!("{} of 65,535 bytes in {place:?}", property.name);
                cases.push(offence(name, place, &section(&property.with(&long))));
            }
        }
    }
    cases
}

fn property_lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for place in PLACES {
        let pair = property(0x26).encode();
        let length = pair.len();
        let lengths = [
            ("one byte too short", variable(length - 1)),
            // The next byte is no property, or there is none.
            ("one byte too long", variable(length + 1)),
            ("too long by far", variable(10_000)),
            ("as long as can be", variable(268_435_455)),
            ("in two bytes", padded(length, 2)),
            ("in three bytes", padded(length, 3)),
            ("in four bytes", padded(length, 4)),
            ("in five bytes", padded(length, 5)),
            ("that goes on", vec![0xFF; 5]),
        ];
        for (what, bytes) in lengths {
            let name = format!("a Property Length {what} in {place:?}");
            cases.push(offence(name, place, &[bytes, pair.clone()].concat()));
        }
    }
    cases
}

/// A malformed packet of 5.0 because of its properties.
fn offence(name: String, place: Place, section: &[u8]) -> Case {
    super::properties::offence(name, place, section, &[code::MALFORMED])
}
