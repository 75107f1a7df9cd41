//! A case: what is sent, and what must become of who sends it. A corpus: cases by section.

use std::collections::{BTreeMap, HashSet};

use crate::wire::{Packet, Properties, REASON_STRING, SESSION_EXPIRY_INTERVAL, Version, publish};

/// What is sent where nothing of it may count begins with this; a neighbour watches it.
pub(crate) const REFUSED: &str = "refused/";

/// The same where it may count, of the same length.
const ALLOWED: &str = "allowed/";

/// The Client Identifier of all packets that are described; each case gets one of its own.
pub(crate) const CLIENT_ID: &str = "client-00000";

/// Reason Codes of 5.0 by their names.
pub(crate) mod code {
    pub(crate) const MALFORMED: u8 = 0x81;
    pub(crate) const PROTOCOL: u8 = 0x82;
    pub(crate) const VERSION: u8 = 0x84;
    pub(crate) const CLIENT_ID: u8 = 0x85;
    pub(crate) const NOT_AUTHORIZED: u8 = 0x87;
    pub(crate) const METHOD: u8 = 0x8C;
    pub(crate) const FILTER: u8 = 0x8F;
    pub(crate) const TOPIC: u8 = 0x90;
    pub(crate) const ID_NOT_FOUND: u8 = 0x92;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x93;
    pub(crate) const ALIAS: u8 = 0x94;
    pub(crate) const TOO_LARGE: u8 = 0x95;
}

/// What the broker is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    /// DISCONNECT with one of these codes and nothing before it, then the end.
    Disconnect(&'static [u8]),
    /// The same, or the end without a word where the standard leaves it open.
    DisconnectOrClosed(&'static [u8]),
    /// CONNACK with one of these codes, then the end.
    Refused(&'static [u8]),
    /// The same, or the end without a word where the standard leaves it open.
    RefusedOrClosed(&'static [u8]),
    /// The end without a word.
    Closed,
    /// The end with one of these codes in a CONNACK or DISCONNECT, or without a word, or else an
    /// accepted CONNECT: whatever comes has so few bytes.
    Within(u32, &'static [u8]),
    /// Whatever is due is answered, and the connection goes on.
    Alive,
    /// The same, with exactly these answers; messages that others publish are none.
    Answered(Vec<Answer>),
}

impl Expected {
    /// After CONNECT: 5.0 is told why in DISCONNECT, before 5.0 there is none.
    pub(crate) fn told(version: Version, codes: &'static [u8]) -> Self {
        match version {
            Version::V5 => Self::Disconnect(codes),
            Version::V31 | Version::V311 => Self::Closed,
        }
    }

    /// Of a malformed CONNECT: 5.0 is told in CONNACK, before 5.0 nothing [MQTT3-3.1.4-1].
    pub(crate) fn refused(version: Version, codes: &'static [u8]) -> Self {
        match version {
            Version::V5 => Self::Refused(codes),
            Version::V31 | Version::V311 => Self::Closed,
        }
    }

    fn may_go_on(&self) -> bool {
        matches!(self, Self::Alive | Self::Answered(_) | Self::Within(..))
    }
}

/// An answer by its first byte and its codes; those of the short forms count as 0x00.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    first: u8,
    codes: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(first: u8, codes: &[u8]) -> Self {
        Self { first, codes: codes.to_vec() }
    }

    pub(crate) fn conn_ack() -> Self {
        Self::new(0x20, &[0])
    }

    pub(crate) fn sub_ack(codes: &[u8]) -> Self {
        Self::new(0x90, codes)
    }

    /// What an accepted PUBLISH of that QoS gets.
    pub(crate) fn published(qos: u8) -> Vec<Self> {
        match qos {
            0 => vec![],
            1 => vec![Self::new(0x40, &[0])],
            _ => vec![Self::new(0x50, &[0])],
        }
    }

    /// None is for a message. That nobody matches is a success like another: who else is there is
    /// no matter of a case.
    fn to(packet: &Packet) -> Option<Self> {
        const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
        let mut answer = match packet {
            Packet::Publish(_) => return None,
            Packet::ConnAck { code, .. } => Self::new(0x20, &[*code]),
            Packet::PubAck { code, .. } => Self::new(0x40, &[*code]),
            Packet::PubRec { code, .. } => Self::new(0x50, &[*code]),
            Packet::PubRel { code, .. } => Self::new(0x62, &[*code]),
            Packet::PubComp { code, .. } => Self::new(0x70, &[*code]),
            Packet::SubAck { codes, .. } => Self::new(0x90, codes),
            Packet::UnsubAck { codes, .. } => Self::new(0xB0, codes),
            Packet::PingResp => Self::new(0xD0, &[]),
            Packet::Disconnect { code, .. } => Self::new(0xE0, &[*code]),
            Packet::Auth { code, .. } => Self::new(0xF0, &[*code]),
        };
        if matches!(answer.first, 0x40 | 0x50) && answer.codes == [NO_MATCHING_SUBSCRIBERS] {
            answer.codes = vec![0];
        }
        Some(answer)
    }
}

/// What comes before the bytes of the case.
#[derive(Debug, Clone)]
pub(crate) enum Opening {
    /// They are the first of the connection.
    Nothing,
    /// A CONNECT that was accepted.
    Connected,
    /// Packets of the case's own, in steps: each is sent once the one before had all its answers.
    Prepared(Vec<Step>),
}

#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) bytes: Vec<u8>,
    pub(crate) answers: usize,
}

/// What comes behind the bytes of the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// In the same write a PINGREQ; if the case must end the connection, before that a PUBLISH,
    /// which then must not count.
    Packets,
    /// The end of what the client has to say.
    EndOfStream,
}

#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) rule: &'static str,
    pub(crate) version: Version,
    pub(crate) opening: Opening,
    pub(crate) bytes: Vec<u8>,
    pub(crate) behind: Behind,
    pub(crate) expected: Expected,
}

impl Case {
    /// A case on a connection that is established.
    pub(crate) fn new(
        name: impl Into<String>,
        version: Version,
        bytes: Vec<u8>,
        expected: Expected,
    ) -> Self {
        Self {
            name: name.into(),
            rule: "",
            version,
            opening: Opening::Connected,
            bytes,
            behind: Behind::Packets,
            expected,
        }
    }

    /// A case that begins its connection.
    pub(crate) fn first(
        name: impl Into<String>,
        version: Version,
        bytes: Vec<u8>,
        expected: Expected,
    ) -> Self {
        Self { opening: Opening::Nothing, ..Self::new(name, version, bytes, expected) }
    }

    /// The same, but nothing follows: the client stops in the middle.
    pub(crate) fn then_end(self) -> Self {
        Self { behind: Behind::EndOfStream, ..self }
    }

    /// The same after these steps.
    pub(crate) fn after(self, steps: Vec<Step>) -> Self {
        Self { opening: Opening::Prepared(steps), ..self }
    }

    /// The bytes of the case and what follows them.
    pub(crate) fn sent(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if self.behind == Behind::EndOfStream {
            return bytes;
        }
        if !self.expected.may_go_on() {
            let (topic, none) = (format!("{REFUSED}behind"), Properties::default());
            let name = self.name.as_bytes();
            bytes.extend(publish(self.version, 0x30, &topic, 0, &none, name));
        }
        bytes.extend([0xC0, 0x00]);
        bytes
    }

    /// What is wrong with what the broker did, if anything.
    pub(crate) fn judge(&self, seen: &Seen) -> Option<&'static str> {
        let answers: Vec<Answer> = seen.packets.iter().filter_map(Answer::to).collect();
        let closed = seen.end == End::Closed;
        let is_right = match &self.expected {
            Expected::Disconnect(codes) => closed && is_one(&answers, 0xE0, codes),
            Expected::DisconnectOrClosed(codes) => {
                closed && (answers.is_empty() || is_one(&answers, 0xE0, codes))
            }
            Expected::Refused(codes) => closed && is_one(&answers, 0x20, codes),
            Expected::RefusedOrClosed(codes) => {
                closed && (answers.is_empty() || is_one(&answers, 0x20, codes))
            }
            Expected::Closed => closed && answers.is_empty(),
            Expected::Within(bytes, codes) => {
                let told = is_one(&answers, 0x20, codes) || is_one(&answers, 0xE0, codes);
                let accepted = seen.end == End::Pinged && answers == [Answer::conn_ack()];
                seen.longest <= *bytes as usize
                    && (accepted || (closed && (answers.is_empty() || told)))
            }
            Expected::Alive => seen.end == End::Pinged,
            Expected::Answered(wanted) => seen.end == End::Pinged && answers == *wanted,
        };
        if !is_right {
            return Some("another answer");
        }
        let explains = matches!(self.expected, Expected::Disconnect(_) | Expected::Refused(_));
        match seen.packets.last() {
            Some(
                Packet::Disconnect { properties, code } | Packet::ConnAck { properties, code, .. },
            ) if explains && *code >= 0x80 => flaw_of_a_goodbye(properties),
            _ => None,
        }
    }
}

/// PRODUCT: every refusal says why.
fn flaw_of_a_goodbye(properties: &Properties) -> Option<&'static str> {
    if properties.all(REASON_STRING).len() != 1 {
        return Some("no Reason String");
    }
    // [MQTT-3.14.2-2]
    if !properties.all(SESSION_EXPIRY_INTERVAL).is_empty() {
        return Some("a Session Expiry Interval from a server");
    }
    None
}

/// Whether this packet with one of these codes came and nothing else.
fn is_one(answers: &[Answer], first: u8, codes: &[u8]) -> bool {
    codes.iter().any(|code| answers == [Answer::new(first, &[*code])])
}

/// What the broker did.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Without the PINGRESP that shows that the connection goes on.
    pub(crate) packets: Vec<Packet>,
    /// The bytes of the longest packet.
    pub(crate) longest: usize,
    pub(crate) end: End,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The PINGREQ behind the case was answered.
    Pinged,
    Closed,
    /// A connection reset, which may swallow what was said last.
    Reset,
    /// Nothing came for longer than anything takes.
    Silent,
    /// What came is no MQTT.
    Nonsense(String),
}

/// Cases in sections, each with the rules it is about.
#[derive(Debug, Default)]
pub(crate) struct Corpus {
    pub(crate) cases: Vec<Case>,
    pub(crate) counts: BTreeMap<&'static str, usize>,
    names: HashSet<String>,
}

impl Corpus {
    pub(crate) fn add(&mut self, section: &'static str, rule: &'static str, cases: Vec<Case>) {
        *self.counts.entry(section).or_default() += cases.len();
        for case in cases {
            let name = format!("{section}: {} {}", number(case.version), case.name);
            assert!(self.names.insert(name.clone()), "two cases are called {name}");
            self.cases.push(adapted(Case { name, rule, ..case }, self.cases.len()));
        }
    }
}

/// Two clients with one Client Identifier would end each other, and what is allowed goes elsewhere.
fn adapted(mut case: Case, index: usize) -> Case {
    let own = format!("client-{index:05}");
    if let Opening::Prepared(steps) = &mut case.opening {
        for Step { bytes, .. } in steps {
            replace(bytes, CLIENT_ID.as_bytes(), own.as_bytes());
            replace(bytes, REFUSED.as_bytes(), ALLOWED.as_bytes());
        }
    }
    replace(&mut case.bytes, CLIENT_ID.as_bytes(), own.as_bytes());
    if case.expected.may_go_on() {
        replace(&mut case.bytes, REFUSED.as_bytes(), ALLOWED.as_bytes());
    }
    case
}

fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len());
    let mut at = 0;
    while at + old.len() <= bytes.len() {
        if &bytes[at..at + old.len()] == old {
            bytes[at..at + old.len()].copy_from_slice(new);
        }
        at += 1;
    }
}

pub(crate) fn number(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    }
}
