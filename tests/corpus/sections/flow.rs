//! Well-formed packets out of place: before CONNECT, out of an exchange, beyond what was agreed.

use crate::{
    case::{Answer, CLIENT_ID, Case, Corpus, Expected, Step, code},
    connect::Connect,
    layout::{Fill, Layout, VERSIONS, auth, established, publish},
    property::{property, section},
    wire::{
        Properties, RECEIVE_MAXIMUM, SESSION_EXPIRY_INTERVAL, Value, Version, acknowledge, packet,
        publish as publication, text,
    },
};

/// PRODUCT: announced in CONNACK and enforced.
const RECEIVE_MAXIMUM_OF_SERVER: u16 = 1_024;

pub(super) fn add(corpus: &mut Corpus) {
    let rule = "[MQTT-3.1.0-1] [MQTT-3.14.0-1] [MQTT-4.12.0-7] [MQTT3-3.1.0-1]";
    corpus.add("good packets before CONNECT", rule, VERSIONS.map(before_connect).concat());
    let rule = "[MQTT-4.3.3-11] 5.0 s3.6.2.1, s3.7.2.1, 3.1.1 s4.3.3";
    corpus.add("acknowledgements of nothing", rule, VERSIONS.map(of_nothing).concat());
    corpus.add("Receive Maximum", "[MQTT-3.3.4-7] 5.0 s3.3.4", receive_maximum());
    corpus.add("Session Expiry in DISCONNECT", "5.0 s3.14.2.2.2", expiry());
    corpus.add("DISCONNECT of old versions", "[MQTT3-3.14.1-1] 3.1.1 s3.14", old_disconnect());
    corpus.add("AUTH without a method", "[MQTT-4.12.0-7] 5.0 s3.15.2.2.2", auths());
    corpus.add("behind DISCONNECT", "[MQTT-3.14.4-1] [MQTT3-3.14.4-2]", behind_disconnect());
}

fn before_connect(version: Version) -> Vec<Case> {
    let mut layouts = established(version);
    layouts.push(publish(version, 0x30, Fill::Bare));
    layouts.push(auth());
    let mut cases = Vec::new();
    for (index, layout) in layouts.iter().enumerate() {
        let name = format!("{} ({index})", layout.name);
        cases.push(Case::first(name, version, layout.encode(), Expected::Closed));
        // A CONNECT that comes too late makes nothing good.
        let name = format!("{} ({index}) and then CONNECT", layout.name);
        let bytes = [layout.encode(), Connect::new(version, CLIENT_ID).encode()].concat();
        cases.push(Case::first(name, version, bytes, Expected::Closed));
    }
    let nothing = Case::first("nothing", version, Vec::new(), Expected::Closed);
    cases.push(nothing.then_end());
    cases
}

/// Nothing was sent that they acknowledge. Only PUBREC and PUBREL have an answer, which in 5.0 says
/// that the Packet Identifier is not known.
fn of_nothing(version: Version) -> Vec<Case> {
    let code = if version == Version::V5 { code::ID_NOT_FOUND } else { 0 };
    let mut cases = Vec::new();
    for (name, first, answer) in [
        ("PUBACK", 0x40, None),
        ("PUBREC", 0x50, Some(0x62)),
        ("PUBREL", 0x62, Some(0x70)),
        ("PUBCOMP", 0x70, None),
    ] {
        for id in [1, 2, 255, 256, 65_535] {
            let answers = answer.map(|first| Answer::new(first, &[code])).into_iter().collect();
            let bytes = acknowledge(first, id);
            let name = format!("{name} of {id}");
            cases.push(Case::new(name, version, bytes, Expected::Answered(answers)));
        }
    }
    cases
}

/// PUBREL is withheld, so each PUBLISH of QoS 2 stays open. Before 5.0 there is no such limit.
fn receive_maximum() -> Vec<Case> {
    let none = Properties::default();
    let publications = |version, count: u16| -> Vec<u8> {
        let packets =
            (1..=count).map(|id| publication(version, 0x34, "refused/t", id, &none, b"x"));
        packets.flatten().collect()
    };
    let mut cases = Vec::new();
    let open = RECEIVE_MAXIMUM_OF_SERVER;
    for (what, first) in [("one more of QoS 2", 0x34), ("one more of QoS 1", 0x32)] {
        let connect = Connect::new(Version::V5, CLIENT_ID).encode();
        let steps = vec![
            Step { bytes: connect, answers: 1 },
            Step { bytes: publications(Version::V5, open), answers: open.into() },
        ];
        let more = publication(Version::V5, first, "refused/t", open + 1, &none, b"x");
        let expected = Expected::Disconnect(&[code::RECEIVE_MAXIMUM]);
        cases.push(Case::new(what, Version::V5, more, expected).after(steps));
    }
    for version in [Version::V31, Version::V311] {
        let connect = Connect::new(version, CLIENT_ID).encode();
        let steps = vec![
            Step { bytes: connect, answers: 1 },
            Step { bytes: publications(version, open), answers: open.into() },
        ];
        let more = publication(version, 0x34, "refused/t", open + 1, &none, b"x");
        let expected = Expected::Answered(vec![Answer::new(0x50, &[0])]);
        cases.push(Case::new("one more of QoS 2", version, more, expected).after(steps));
    }
    // The client's own limit is for the other direction.
    let connect = Connect::new(Version::V5, CLIENT_ID).property(RECEIVE_MAXIMUM, Value::Two(1));
    let steps = vec![Step { bytes: connect.encode(), answers: 1 }];
    let bytes = publications(Version::V5, 2);
    let expected = Expected::Answered(vec![Answer::new(0x50, &[0]); 2]);
    let name = "two open where the client takes one";
    cases.push(Case::new(name, Version::V5, bytes, expected).after(steps));
    cases
}

fn expiry() -> Vec<Case> {
    let mut cases = Vec::new();
    for code in [0x00, 0x04] {
        for seconds in [1_u32, 60, 0xFFFF_FFFF] {
            let property = property(0x11).with(&seconds.to_be_bytes());
            let bytes = packet(0xE0, &[&[code], &section(&property)[..]].concat());
            let name = format!("{seconds} s with {code:#04x} where CONNECT had none");
            let expected = Expected::Disconnect(&[code::PROTOCOL]);
            cases.push(Case::new(name, Version::V5, bytes.clone(), expected));

            let connect = Connect::new(Version::V5, CLIENT_ID);
            let connect = connect.property(SESSION_EXPIRY_INTERVAL, Value::Four(1)).encode();
            let steps = vec![Step { bytes: connect, answers: 1 }];
            let name = format!("{seconds} s with {code:#04x} where CONNECT had some");
            cases.push(Case::new(name, Version::V5, bytes, Expected::Closed).after(steps));
        }
    }
    cases
}

/// What 5.0 has in a DISCONNECT, before it is left over.
fn old_disconnect() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in [Version::V31, Version::V311] {
        for body in [&[0x00][..], &[0x04], &[0x00, 0x00], &[0x04, 0x05, 0x11, 0, 0, 0, 0]] {
            let name = format!("DISCONNECT with the body {body:02x?}");
            cases.push(Case::new(name, version, packet(0xE0, body), Expected::Closed));
        }
    }
    cases
}

fn auths() -> Vec<Case> {
    let method = property(0x15).with(&text("SCRAM-SHA-256"));
    let data = property(0x16).with(&text("data"));
    let mut cases = Vec::new();
    for reason in [0x00, 0x18, 0x19] {
        for (what, content) in [
            ("nothing", vec![]),
            ("a method", method.clone()),
            ("data", data.clone()),
            ("both", [method.clone(), data.clone()].concat()),
            ("an empty method", property(0x15).with(&text(""))),
        ] {
            let bytes = packet(0xF0, &[&[reason], &section(&content)[..]].concat());
            let name = format!("AUTH with {reason:#04x} and {what}");
            let expected = Expected::Disconnect(&[code::PROTOCOL]);
            cases.push(Case::new(name, Version::V5, bytes, expected));
        }
    }
    let bytes = packet(0xF0, &[]);
    let expected = Expected::Disconnect(&[code::PROTOCOL]);
    cases.push(Case::new("AUTH without a body", Version::V5, bytes, expected));
    cases
}

/// The neighbours would see it.
fn behind_disconnect() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in VERSIONS {
        for layout in established(version) {
            let Layout { name, .. } = layout;
            let bytes = [vec![0xE0, 0x00], layout.encode()].concat();
            let name = format!("{name} of first byte {:#04x}", layout.first);
            cases.push(Case::new(name, version, bytes, Expected::Closed));
        }
        let bytes = [&[0xE0, 0x00][..], &[0xFF; 100]].concat();
        cases.push(Case::new("bytes that are nothing", version, bytes, Expected::Closed));
    }
    cases
}
