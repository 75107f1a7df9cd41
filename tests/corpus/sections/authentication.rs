//! An exchange of AUTH packets that goes wrong, between CONNECT and CONNACK.

use crate::{
    case::{CLIENT_ID, Case, Corpus, Expected, Step, code},
    connect::Connect,
    layout::{auth, established},
    property::{property, section},
    wire::{
        AUTHENTICATION_DATA, AUTHENTICATION_METHOD, Value, Version, binary, packet, text, variable,
    },
};

const METHOD: &str = "SCRAM-SHA-256";

/// A listener with a credential, for others anonymous.
pub(crate) const LISTENER: &str = r#"
[[listener]]
address = "127.0.0.1:0"
anonymous = true

[[listener.credential]]
username = "user"
password = "pencil"
"#;

const FIRST: &[u8] = b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL";

pub(super) fn add(corpus: &mut Corpus) {
    let rule = "[MQTT-4.12.0-1] [MQTT-4.12.0-4] 5.0 s4.12";
    corpus.add("methods", rule, methods());
    corpus.add("first messages", rule, first_messages());
    let rule = "[MQTT-3.1.2-30] [MQTT-4.12.0-3] [MQTT-4.12.0-5] [MQTT-3.15.1-1] [MQTT-3.15.2-1]";
    corpus.add("answers to a challenge", rule, answers());
    corpus.add("packets within the exchange", rule, within());
}

fn connect(method: &str, data: Option<&[u8]>) -> Vec<u8> {
    let connect = Connect::new(Version::V5, CLIENT_ID);
    let mut connect = connect.property(AUTHENTICATION_METHOD, Value::Text(method.to_owned()));
    if let Some(data) = data {
        connect = connect.property(AUTHENTICATION_DATA, Value::Binary(data.to_vec()));
    }
    connect.encode()
}

/// A client that was sent its challenge.
fn challenged() -> Vec<Step> {
    vec![Step { bytes: connect(METHOD, Some(FIRST)), answers: 1 }]
}

fn methods() -> Vec<Case> {
    let names =
        ["", " ", "SCRAM-SHA-1", "scram-sha-256", "SCRAM-SHA-256-PLUS", "PLAIN", "\u{FEFF}"];
    let mut cases: Vec<Case> = names
        .iter()
        .map(|name| {
            let expected = Expected::Refused(&[code::METHOD, code::NOT_AUTHORIZED]);
            let bytes = connect(name, Some(FIRST));
            Case::first(format!("the method {name:?}"), Version::V5, bytes, expected)
        })
        .collect();
    let long = "M".repeat(60_000);
    let expected = Expected::Refused(&[code::METHOD, code::NOT_AUTHORIZED]);
    cases.push(Case::first("a long method", Version::V5, connect(&long, None), expected));
    cases
}

fn first_messages() -> Vec<Case> {
    let messages: [&[u8]; 16] = [
        b"n",
        b"n,,",
        b"n,,n=user",
        b"n,,n=,r=nonce",
        b"n,,n=user,r=",
        b"y,,n=user",
        b"p=tls-unique,,n=user,r=nonce",
        b"n,,r=nonce,n=user",
        b"n,,n=us=er,r=nonce",
        b"n,,m=ext,n=user,r=nonce",
        b"n,a=other,n=user,r=nonce",
        b"n,,n=user,r=no,nce",
        b"n,,n=user,r=\x7F",
        b"n,,n=\xFF,r=nonce",
        b"\0\0\0\0",
        &[b'n'; 60_000],
    ];
    let cases = messages.map(|message| {
        let shown = &message[..message.len().min(40)];
        let name = format!("{} bytes: {}", message.len(), shown.escape_ascii());
        let expected = Expected::Refused(&[code::NOT_AUTHORIZED, code::PROTOCOL]);
        Case::first(name, Version::V5, connect(METHOD, Some(message)), expected)
    });
    cases.into()
}

fn auth_of(reason: u8, content: &[u8]) -> Vec<u8> {
    packet(0xF0, &[&[reason], &section(content)[..]].concat())
}

fn answers() -> Vec<Case> {
    const WRONG: &[u8] = &[code::MALFORMED, code::PROTOCOL, code::NOT_AUTHORIZED];
    let mut cases = Vec::new();
    let mut add = |name: String, bytes: Vec<u8>, codes: &'static [u8]| {
        let case = Case::new(name, Version::V5, bytes, Expected::Refused(codes));
        cases.push(case.after(challenged()));
    };
    let method = property(0x15).with(&text(METHOD));
    let with = |data: &[u8]| [method.clone(), property(0x16).with(&binary(data))].concat();
    for reason in (0x00..=0xFF).filter(|reason| *reason != 0x18) {
        let codes = &[code::MALFORMED, code::PROTOCOL];
        add(format!("AUTH with {reason:#04x}"), auth_of(reason, &with(b"x")), codes);
    }
    let proofs: [&[u8]; 8] = [
        b"",
        b"x",
        b"c=biws",
        b"c=biws,r=other,p=AAAA",
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL,p=",
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL,p=!!!!",
        b"\xFF\xFF",
        &[b'c'; 10_000],
    ];
    for proof in proofs {
        let shown = proof[..proof.len().min(40)].escape_ascii().to_string();
        add(format!("the proof {shown:?}"), auth_of(0x18, &with(proof)), &[code::NOT_AUTHORIZED]);
    }
    let other = property(0x15).with(&text("SCRAM-SHA-1"));
    add("another method".to_owned(), auth_of(0x18, &other), &[code::PROTOCOL]);
    add("no method".to_owned(), auth_of(0x18, &[]), &[code::PROTOCOL]);
    add("no data".to_owned(), auth_of(0x18, &method), WRONG);
    add("no body".to_owned(), packet(0xF0, &[]), &[code::PROTOCOL]);
    let body = auth().body();
    for length in 1..body.len() {
        let codes = &[code::MALFORMED, code::PROTOCOL];
        add(format!("an AUTH cut after {length} bytes"), packet(0xF0, &body[..length]), codes);
    }
    let large = [&[0xF0], &variable(300 << 10)[..]].concat();
    add("an AUTH above 256 KiB".to_owned(), large, &[code::TOO_LARGE]);
    cases
}

/// Only AUTH and DISCONNECT may come before the CONNACK, and no code is named for others.
fn within() -> Vec<Case> {
    let mut cases = Vec::new();
    for layout in established(Version::V5) {
        let leaves = layout.first == 0xE0;
        let expected = if leaves { Expected::Closed } else { Expected::Refused(&[code::PROTOCOL]) };
        let name = format!("{} of first byte {:#04x}", layout.name, layout.first);
        let case = Case::new(name, Version::V5, layout.encode(), expected);
        cases.push(case.after(challenged()));
    }
    let again = connect(METHOD, Some(FIRST));
    let expected = Expected::Refused(&[code::PROTOCOL]);
    let case = Case::new("another CONNECT", Version::V5, again, expected);
    cases.push(case.after(challenged()));
    for first in [0x00, 0x0F, 0xF1, 0xFF, 0x11, 0xC1, 0x20, 0x90, 0xB0, 0xD0] {
        let name = format!("the first byte {first:#04x}");
        let expected = Expected::Refused(&[code::MALFORMED, code::PROTOCOL]);
        let case = Case::new(name, Version::V5, vec![first, 0], expected);
        cases.push(case.after(challenged()));
    }
    cases
}
