//! Strings that are no UTF-8, or hold what no string may.

use crate::{
    case::{Case, Corpus, Expected, Opening, code},
    layout::{Fill, Kind, VERSIONS, connect, publish, subscribe, unsubscribe},
    property::{PLACES, PROPERTIES, Type, section},
    wire::{Version, binary},
};

/// Byte sequences that RFC 3629 does not allow, and U+0000.
const ILL_FORMED: [(&str, &[u8]); 18] = [
    ("U+0000", b"a\0b"),
    ("U+0000 alone", b"\0"),
    ("a continuation byte alone", b"a\x80b"),
    ("two continuation bytes", b"\xBF\xBF"),
    ("0xFE", b"a\xFEb"),
    ("0xFF", b"\xFF"),
    ("U+0000 in two bytes", b"a\xC0\x80b"),
    ("a letter in two bytes", b"\xC1\xA1"),
    ("two bytes in three", b"\xE0\x9F\xBF"),
    ("three bytes in four", b"\xF0\x8F\xBF\xBF"),
    ("the first surrogate", b"\xED\xA0\x80"),
    ("the last surrogate", b"a\xED\xBF\xBF"),
    ("a pair of surrogates", b"\xED\xA1\x8C\xED\xBE\xB4"),
    ("U+110000", b"\xF4\x90\x80\x80"),
    ("a sequence of five bytes", b"\xF8\x88\x80\x80\x80"),
    ("one byte of two", b"a\xC3"),
    ("two bytes of three", b"a\xE2\x82"),
    ("three bytes of four", b"\xF0\x9F\x98"),
];

pub(super) fn add(corpus: &mut Corpus) {
    let rule = "[MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-3.1.3-4] [MQTT-3.1.3-11] [MQTT-3.1.3-12] \
                [MQTT-3.3.2-1] [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-4.7.3-2] [MQTT3-1.5.3-1] \
                [MQTT3-1.5.3-2] [MQTT3-3.1.3-4] [MQTT3-3.1.3-10] [MQTT3-3.1.3-11] [MQTT3-3.3.2-1] \
                [MQTT3-3.8.3-1] [MQTT3-3.10.3-1] [MQTT3-4.7.3-2]";
    corpus.add("strings in fields", rule, VERSIONS.map(fields).concat());
    let rule = "[MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-1.5.7-1] [MQTT-3.3.2-13] [MQTT-3.3.2-19]";
    corpus.add("strings in properties", rule, properties());
}

fn fields(version: Version) -> Vec<Case> {
    let told = Expected::told(version, &[code::MALFORMED]);
    let refused = Expected::refused(version, &[code::MALFORMED]);
    let packets = [
        (connect(version, Fill::Full), Opening::Nothing, refused),
        (publish(version, 0x30, Fill::Bare), Opening::Connected, told.clone()),
        (publish(version, 0x32, Fill::Bare), Opening::Connected, told.clone()),
        (publish(version, 0x34, Fill::Bare), Opening::Connected, told.clone()),
        (subscribe(version, Fill::Bare), Opening::Connected, told.clone()),
        (unsubscribe(version, Fill::Bare), Opening::Connected, told),
    ];
    let mut cases = Vec::new();
    for (layout, opening, expected) in packets {
        for (index, field) in layout.fields.iter().enumerate() {
            // The name of the protocol is compared as bytes.
            if !matches!(field.kind, Kind::Text(_)) || field.name == "protocol name" {
                continue;
            }
            for (what, text) in ILL_FORMED {
                let name = format!("{}: {} with {what}", layout.name, field.name);
                let bytes = layout.with(index, &binary(text));
                let case = Case::new(name, version, bytes, expected.clone());
                cases.push(Case { opening: opening.clone(), ..case });
            }
        }
    }
    cases
}

fn properties() -> Vec<Case> {
    let mut cases = Vec::new();
    for place in PLACES {
        for property in PROPERTIES.iter().filter(|property| property.is_for_clients_in(place)) {
            let good = binary(b"good");
            for (what, text) in ILL_FORMED {
                let bad = binary(text);
                let values = match property.kind {
                    Type::Text => vec![(property.name.to_owned(), bad)],
                    Type::Pair => vec![
                        (format!("name of a {}", property.name), [&bad[..], &good].concat()),
                        (format!("value of a {}", property.name), [&good[..], &bad].concat()),
                    ],
                    Type::Byte | Type::Two | Type::Four | Type::Variable | Type::Binary => vec![],
                };
                for (field, value) in values {
                    let name = format!("{place:?}: {field} with {what}");
                    let section = section(&property.with(&value));
                    let codes = &[code::MALFORMED];
                    cases.push(super::properties::offence(name, place, &section, codes));
                }
            }
        }
    }
    cases
}
