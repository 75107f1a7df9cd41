//! Properties in the wrong place, twice, unknown, or with a value they may not have.

use crate::{
    case::{Case, Corpus, Expected, code},
    layout::{carrier, padded},
    property::{PLACES, PROPERTIES, Place, Property, property, section},
    wire::{Version, text, variable},
};

pub(super) fn add(corpus: &mut Corpus) {
    corpus.add("misplaced properties", "5.0 s2.2.2.2 [MQTT-3.3.4-6]", misplaced());
    corpus.add(
        "properties twice",
        "5.0 s3.1.2.11, s3.1.3.2, s3.3.2.3, s3.8.2.1, s3.15.2.2",
        twice(),
    );
    corpus.add("unknown properties", "5.0 s2.2.2.2 [MQTT-1.5.5-1]", unknown());
    corpus.add(
        "values of properties",
        "5.0 s3.1.2.11, s3.3.2.3, s3.8.2.1.2 [MQTT-3.3.2-8] [MQTT-3.3.2-14]",
        values(),
    );
}

/// A packet of 5.0 that these properties make wrong. An AUTH is out of place on a connection
/// without an Authentication Method, whatever else is wrong with it.
pub(super) fn offence(name: String, place: Place, section: &[u8], codes: &'static [u8]) -> Case {
    let bytes = carrier(place).with_section(place, section);
    match place {
        Place::Connect | Place::Will => {
            Case::first(name, Version::V5, bytes, Expected::Refused(codes))
        }
        Place::Auth => {
            let either = Expected::Disconnect(&[code::MALFORMED, code::PROTOCOL]);
            Case::new(name, Version::V5, bytes, either)
        }
        Place::Publish
        | Place::PubAck
        | Place::PubRec
        | Place::PubRel
        | Place::PubComp
        | Place::Subscribe
        | Place::Unsubscribe
        | Place::Disconnect => Case::new(name, Version::V5, bytes, Expected::Disconnect(codes)),
    }
}

/// The same packet if nothing is wrong with it.
fn accepted(name: String, place: Place, section: &[u8]) -> Option<Case> {
    let bytes = carrier(place).with_section(place, section);
    match place {
        Place::Auth => None,
        Place::Connect | Place::Will => {
            Some(Case::first(name, Version::V5, bytes, Expected::Alive))
        }
        Place::Disconnect => Some(Case::new(name, Version::V5, bytes, Expected::Closed)),
        Place::Publish
        | Place::PubAck
        | Place::PubRec
        | Place::PubRel
        | Place::PubComp
        | Place::Subscribe
        | Place::Unsubscribe => Some(Case::new(name, Version::V5, bytes, Expected::Alive)),
    }
}

fn misplaced() -> Vec<Case> {
    let mut cases = Vec::new();
    for place in PLACES {
        for property in &PROPERTIES {
            let name = format!("{} in {place:?}", property.name);
            let section = section(&property.encode());
            match (property.places.contains(&place), property.id) {
                (false, _) => cases.push(offence(name, place, &section, &[code::MALFORMED])),
                (true, 0x0B) if place == Place::Publish => {
                    cases.push(offence(name, place, &section, &[code::PROTOCOL]));
                }
                // Nothing is said of a client that sends one; the connection ends anyway.
                (true, 0x1C) => {}
                // Without a method it has no meaning.
                (true, 0x16) if place == Place::Connect => {
                    cases.push(offence(name, place, &section, &[code::PROTOCOL]));
                }
                // A method that nobody has.
                (true, 0x15) if place == Place::Connect => {
                    cases.push(offence(name, place, &section, &[code::METHOD]));
                }
                (true, _) => cases.extend(accepted(name, place, &section)),
            }
        }
    }
    cases
}

fn twice() -> Vec<Case> {
    let mut cases = Vec::new();
    for place in PLACES {
        for property in &PROPERTIES {
            if !property.places.contains(&place) {
                continue;
            }
            let companion = companion(property, place);
            let name = format!("{} twice in {place:?}", property.name);
            let content = [companion, property.encode(), property.encode()].concat();
            if property.id == 0x26 {
                cases.extend(accepted(name, place, &section(&content)));
                continue;
            }
            cases.push(offence(name, place, &section(&content), &[code::PROTOCOL]));
            // Not side by side.
            let name = format!("{} twice, with others between, in {place:?}", property.name);
            let between = property_pair();
            let content = [content, between, property.encode()].concat();
            cases.push(offence(name, place, &section(&content), &[code::PROTOCOL]));
        }
    }
    cases
}

/// A property without which the other one has no meaning.
fn companion(other: &Property, place: Place) -> Vec<u8> {
    match (other.id, place) {
        (0x16, Place::Connect | Place::Auth) => property(0x15).encode(),
        _ => Vec::new(),
    }
}

fn property_pair() -> Vec<u8> {
    property(0x26).encode()
}

fn unknown() -> Vec<Case> {
    let mut cases = Vec::new();
    let is_known = |id: &u8| PROPERTIES.iter().any(|property| property.id == *id);
    let mut ids: Vec<(String, Vec<u8>)> = (0x00..=0x2F)
        .chain([0x3F, 0x40, 0x7E, 0x7F])
        .filter(|id| !is_known(id))
        .map(|id| (format!("property {id:#04x}"), vec![id]))
        .collect();
    for id in [0x80, 0x81, 0x3FFF, 268_435_455] {
        ids.push((format!("property {id:#x}"), variable(id)));
    }
    // Written with more bytes than it needs a known one is none, or it is malformed for that.
    ids.push(("property 0x26 in two bytes".to_owned(), padded(0x26, 2)));
    ids.push(("property 0x26 in four bytes".to_owned(), padded(0x26, 4)));
    ids.push(("a property in five bytes".to_owned(), padded(0x26, 5)));
    for place in PLACES {
        for (name, id) in &ids {
            let content = [&id[..], &property(0x26).sample()].concat();
            let name = format!("{name} in {place:?}");
            cases.push(offence(name, place, &section(&content), &[code::MALFORMED]));
            if id.len() == 1 {
                let name = format!("property {:#04x} alone in {place:?}", id[0]);
                cases.push(offence(name, place, &section(id), &[code::MALFORMED]));
            }
        }
    }
    cases
}

fn values() -> Vec<Case> {
    const PROTOCOL: &[u8] = &[code::PROTOCOL];
    const EITHER: &[u8] = &[code::MALFORMED, code::PROTOCOL];
    let mut cases = Vec::new();
    let mut add = |id: u8, place: Place, value: &[u8], codes: &'static [u8]| {
        let property = property(id);
        let name = format!("{} {value:02x?} in {place:?}", property.name);
        cases.push(offence(name, place, &section(&property.with(value)), codes));
    };
    // Two values are given a meaning, of the others it is not said which error they are.
    for value in [0x02, 0x03, 0x7F, 0x80, 0xFF] {
        add(0x01, Place::Publish, &[value], EITHER);
        add(0x01, Place::Will, &[value], EITHER);
        add(0x17, Place::Connect, &[value], PROTOCOL);
        add(0x19, Place::Connect, &[value], PROTOCOL);
    }
    add(0x21, Place::Connect, &[0, 0], PROTOCOL);
    add(0x27, Place::Connect, &[0, 0, 0, 0], PROTOCOL);
    add(0x23, Place::Publish, &[0, 0], &[code::ALIAS]);
    for alias in [33_u16, 34, 255, 256, 32_768, 65_535] {
        add(0x23, Place::Publish, &alias.to_be_bytes(), &[code::ALIAS]);
    }
    add(0x0B, Place::Subscribe, &[0], PROTOCOL);
    for bytes in 2..=5 {
        add(0x0B, Place::Subscribe, &padded(0, bytes), EITHER);
        add(0x0B, Place::Subscribe, &padded(5, bytes), &[code::MALFORMED]);
    }
    add(0x0B, Place::Subscribe, &[0xFF; 4], &[code::MALFORMED]);
    add(0x0B, Place::Subscribe, &[0xFF; 5], &[code::MALFORMED]);
    // No code is named; a wildcard is refused as in the topic itself or as what is forbidden.
    for topic in ["+", "#", "a/+", "a/#", "a+b", "#/a"] {
        let value = text(topic);
        add(0x08, Place::Publish, &value, &[code::PROTOCOL, code::TOPIC]);
        add(0x08, Place::Will, &value, &[code::PROTOCOL, code::TOPIC]);
    }
    cases
}
