//! Packets as values: what a client says, and what it expects.
//!
//! Each begins as the plainest of its kind and is changed word by word. What a version does not
//! have is left out in it, so that one text fits all versions.

use super::connect::Connect;
use super::property::Property;
use super::wire::{self, Properties, Version, packet, text};

/// What a client can put on the wire.
pub(crate) trait Said {
    fn encode(&self, version: Version) -> Vec<u8>;
}

/// Bytes that are no packet, or not as a client would write it.
#[derive(Clone, Debug)]
pub(crate) struct Raw(Vec<u8>);

pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Raw {
    Raw(bytes.into())
}

impl Said for Raw {
    fn encode(&self, _: Version) -> Vec<u8> {
        self.0.clone()
    }
}

/// CONNECT with Clean Start, no Keep Alive and no Will; its version is the client's.
pub(crate) fn connect(client_id: &str) -> Connect {
    Connect::new(Version::V5, client_id)
}

/// CONNECT that resumes a Session, which in 5.0 outlives the connection by an hour.
pub(crate) fn lasting(client_id: &str) -> Connect {
    Connect::lasting(Version::V5, client_id)
}

impl Said for Connect {
    fn encode(&self, version: Version) -> Vec<u8> {
        let mut connect = self.clone();
        connect.version = version;
        connect.encode()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Publish {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) dup: bool,
    /// Not compared if it is not named.
    pub(super) id: Option<u16>,
    pub(super) properties: Properties,
}

/// PUBLISH at QoS 0 with the payload `payload`.
pub(crate) fn publish(topic: &str) -> Publish {
    Publish {
        topic: topic.to_owned(),
        payload: b"payload".to_vec(),
        qos: 0,
        retain: false,
        dup: false,
        id: None,
        properties: Properties::default(),
    }
}

impl Publish {
    pub(crate) fn payload(mut self, payload: impl AsRef<[u8]>) -> Self {
        self.payload = payload.as_ref().to_vec();
        self
    }

    pub(crate) fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// Said without one, a message has the Packet Identifier 1.
    pub(crate) fn id(mut self, id: u16) -> Self {
        self.id = Some(id);
        self
    }

    pub(crate) fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    pub(crate) fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    pub(crate) fn with(mut self, property: Property) -> Self {
        self.properties.0.push(property);
        self
    }
}

impl Said for Publish {
    fn encode(&self, version: Version) -> Vec<u8> {
        let flags = u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        let (id, first) = (self.id.unwrap_or(1), 0x30 | flags);
        wire::publish(version, first, &self.topic, id, &self.properties, &self.payload)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "so the standard names them")]
pub(super) enum Kind {
    PubAck = 0x40,
    PubRec = 0x50,
    PubRel = 0x62,
    PubComp = 0x70,
}

/// One of the four acknowledgements.
#[derive(Clone, Debug)]
pub(crate) struct Ack {
    pub(super) kind: Kind,
    pub(super) id: u16,
    pub(super) code: Option<u8>,
    pub(super) properties: Properties,
}

/// Expected without a Reason Code it is any that is no error, as before 5.0.
pub(crate) fn puback(id: u16) -> Ack {
    Ack::new(Kind::PubAck, id)
}

pub(crate) fn pubrec(id: u16) -> Ack {
    Ack::new(Kind::PubRec, id)
}

pub(crate) fn pubrel(id: u16) -> Ack {
    Ack::new(Kind::PubRel, id)
}

pub(crate) fn pubcomp(id: u16) -> Ack {
    Ack::new(Kind::PubComp, id)
}

impl Ack {
    fn new(kind: Kind, id: u16) -> Self {
        Self { kind, id, code: None, properties: Properties::default() }
    }

    /// Only 5.0 has one.
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn with(mut self, property: Property) -> Self {
        self.properties.0.push(property);
        self
    }
}

impl Said for Ack {
    fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = self.id.to_be_bytes().to_vec();
        if version == Version::V5 {
            body.extend(code_and_properties(self.code, &self.properties));
        }
        packet(self.kind as u8, &body)
    }
}

/// The shortest form: nothing for Success without properties (5.0 s3.4.2.1, s3.14.2.1).
fn code_and_properties(code: Option<u8>, properties: &Properties) -> Vec<u8> {
    match (code, properties.0.is_empty()) {
        (None, true) => Vec::new(),
        (Some(code), true) => vec![code],
        (code, false) => [vec![code.unwrap_or(0)], properties.encode()].concat(),
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Subscribe {
    pub(super) id: u16,
    pub(super) filters: Vec<(String, u8)>,
    properties: Properties,
}

/// SUBSCRIBE with the Packet Identifier 1 to one Topic Filter at QoS 0.
pub(crate) fn subscribe(filter: &str) -> Subscribe {
    let filters = vec![(filter.to_owned(), 0)];
    Subscribe { id: 1, filters, properties: Properties::default() }
}

impl Subscribe {
    pub(crate) fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// The options that follow are for this filter.
    pub(crate) fn and(mut self, filter: &str) -> Self {
        self.filters.push((filter.to_owned(), 0));
        self
    }

    pub(crate) fn qos(self, qos: u8) -> Self {
        self.option(qos)
    }

    pub(crate) fn no_local(self) -> Self {
        self.option(0x04)
    }

    pub(crate) fn retain_as_published(self) -> Self {
        self.option(0x08)
    }

    pub(crate) fn retain_handling(self, handling: u8) -> Self {
        self.option(handling << 4)
    }

    /// Bits of the Subscription Options, whichever.
    pub(crate) fn option(mut self, bits: u8) -> Self {
        let (_, options) = self.filters.last_mut().expect("a Topic Filter");
        *options |= bits;
        self
    }

    pub(crate) fn with(mut self, property: Property) -> Self {
        self.properties.0.push(property);
        self
    }
}

impl Said for Subscribe {
    fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = self.id.to_be_bytes().to_vec();
        if version == Version::V5 {
            body.extend(self.properties.encode());
        }
        for (filter, options) in &self.filters {
            body.extend(text(filter));
            body.push(*options);
        }
        packet(0x82, &body)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Unsubscribe {
    id: u16,
    filters: Vec<String>,
    properties: Properties,
}

/// UNSUBSCRIBE with the Packet Identifier 1 from one Topic Filter.
pub(crate) fn unsubscribe(filter: &str) -> Unsubscribe {
    Unsubscribe { id: 1, filters: vec![filter.to_owned()], properties: Properties::default() }
}

impl Unsubscribe {
    pub(crate) fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    pub(crate) fn and(mut self, filter: &str) -> Self {
        self.filters.push(filter.to_owned());
        self
    }

    pub(crate) fn with(mut self, property: Property) -> Self {
        self.properties.0.push(property);
        self
    }
}

impl Said for Unsubscribe {
    fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = self.id.to_be_bytes().to_vec();
        if version == Version::V5 {
            body.extend(self.properties.encode());
        }
        body.extend(self.filters.iter().flat_map(|filter| text(filter)));
        packet(0xA2, &body)
    }
}

/// The Reason Codes of a SUBACK or an UNSUBACK.
#[derive(Clone, Debug)]
pub(crate) struct Codes {
    pub(super) unsubscribed: bool,
    pub(super) id: u16,
    pub(super) codes: Vec<u8>,
    pub(super) properties: Properties,
}

pub(crate) fn suback(id: u16, codes: &[u8]) -> Codes {
    let (codes, properties) = (codes.to_vec(), Properties::default());
    Codes { unsubscribed: false, id, codes, properties }
}

/// Before 5.0 it has no Reason Codes.
pub(crate) fn unsuback(id: u16, codes: &[u8]) -> Codes {
    Codes { unsubscribed: true, ..suback(id, codes) }
}

impl Said for Codes {
    fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = self.id.to_be_bytes().to_vec();
        if version == Version::V5 {
            body.extend(self.properties.encode());
        }
        if version == Version::V5 || !self.unsubscribed {
            body.extend(&self.codes);
        }
        packet(if self.unsubscribed { 0xB0 } else { 0x90 }, &body)
    }
}

/// The two packets without a content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ping {
    pub(super) first: u8,
}

pub(crate) fn pingreq() -> Ping {
    Ping { first: 0xC0 }
}

pub(crate) fn pingresp() -> Ping {
    Ping { first: 0xD0 }
}

impl Said for Ping {
    fn encode(&self, _: Version) -> Vec<u8> {
        vec![self.first, 0]
    }
}

/// DISCONNECT or AUTH.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(super) first: u8,
    pub(super) code: Option<u8>,
    pub(super) properties: Properties,
}

pub(crate) fn disconnect() -> Outcome {
    Outcome { first: 0xE0, code: None, properties: Properties::default() }
}

pub(crate) fn auth(code: u8) -> Outcome {
    Outcome { first: 0xF0, code: Some(code), properties: Properties::default() }
}

impl Outcome {
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn with(mut self, property: Property) -> Self {
        self.properties.0.push(property);
        self
    }
}

impl Said for Outcome {
    fn encode(&self, version: Version) -> Vec<u8> {
        let body = match version {
            Version::V5 => code_and_properties(self.code, &self.properties),
            Version::V31 | Version::V311 => Vec::new(),
        };
        packet(self.first, &body)
    }
}

/// CONNACK. Expected, it has at least these properties.
#[derive(Clone, Debug)]
pub(crate) struct ConnAck {
    pub(super) session_present: bool,
    pub(super) code: u8,
    pub(super) properties: Properties,
    pub(super) absent: Vec<u8>,
}

pub(crate) fn connack() -> ConnAck {
    let properties = Properties::default();
    ConnAck { session_present: false, code: 0, properties, absent: Vec::new() }
}

impl ConnAck {
    pub(crate) fn session_present(mut self) -> Self {
        self.session_present = true;
        self
    }

    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    pub(crate) fn with(mut self, property: Property) -> Self {
        self.properties.0.push(property);
        self
    }

    /// Expected without this property.
    pub(crate) fn without(mut self, id: u8) -> Self {
        self.absent.push(id);
        self
    }
}

impl Said for ConnAck {
    fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = vec![u8::from(self.session_present), self.code];
        if version == Version::V5 {
            body.extend(self.properties.encode());
        }
        packet(0x20, &body)
    }
}
