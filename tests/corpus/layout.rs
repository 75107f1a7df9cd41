//! What the packets of a client consist of, field by field, written from chapter 3 of the standards.

use crate::{
    case::{CLIENT_ID, REFUSED},
    property::{PROPERTIES, Place, Property, section},
    wire::{Version, binary, packet, text, variable},
};

pub(crate) const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) name: &'static str,
    pub(crate) first: u8,
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The packet may end before it.
    pub(crate) may_be_absent: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Of a fixed length.
    Plain(Vec<u8>),
    Text(Vec<u8>),
    Binary(Vec<u8>),
    /// The properties one after the other.
    Properties(Place, Vec<u8>),
    /// Whatever is left of the packet, which may be nothing.
    Payload(Vec<u8>),
}

impl Kind {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Plain(bytes) | Self::Payload(bytes) => bytes.clone(),
            Self::Text(bytes) | Self::Binary(bytes) => binary(bytes),
            Self::Properties(_, content) => section(content),
        }
    }
}

impl Layout {
    pub(crate) fn encode(&self) -> Vec<u8> {
        packet(self.first, &self.body())
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        self.fields.iter().flat_map(|field| field.kind.encode()).collect()
    }

    /// The packet with other bytes in place of one field's, its length included if it has one.
    pub(crate) fn with(&self, index: usize, bytes: &[u8]) -> Vec<u8> {
        let fields = self.fields.iter().enumerate();
        let parts = fields.map(
            |(at, field)| {
                if at == index { bytes.to_vec() } else { field.kind.encode() }
            },
        );
        packet(self.first, &parts.collect::<Vec<_>>().concat())
    }

    /// The same for the field of this name.
    pub(crate) fn with_field(&self, name: &str, bytes: &[u8]) -> Vec<u8> {
        let index = self.fields.iter().position(|field| field.name == name);
        self.with(index.expect("a field of that name"), bytes)
    }

    /// The same for the properties there, their length included.
    pub(crate) fn with_section(&self, place: Place, bytes: &[u8]) -> Vec<u8> {
        let of_place = |field: &Field| matches!(field.kind, Kind::Properties(at, _) if at == place);
        let index = self.fields.iter().position(of_place);
        self.with(index.expect("properties of that place"), bytes)
    }

    /// After how many bytes of the body the packet may end.
    pub(crate) fn may_end_at(&self, length: usize) -> bool {
        let mut at = 0;
        for field in &self.fields {
            let next = at + field.kind.encode().len();
            let within = matches!(field.kind, Kind::Payload(_)) && (at..=next).contains(&length);
            if within || (field.may_be_absent && at == length) {
                return true;
            }
            at = next;
        }
        at == length
    }
}

fn plain(name: &'static str, bytes: &[u8]) -> Field {
    Field { name, kind: Kind::Plain(bytes.to_vec()), may_be_absent: false }
}

fn string(name: &'static str, string: &str) -> Field {
    Field { name, kind: Kind::Text(string.as_bytes().to_vec()), may_be_absent: false }
}

fn data(name: &'static str, bytes: &[u8]) -> Field {
    Field { name, kind: Kind::Binary(bytes.to_vec()), may_be_absent: false }
}

/// Nothing before 5.0.
fn properties(version: Version, place: Place, fill: Fill) -> Vec<Field> {
    if version != Version::V5 {
        return Vec::new();
    }
    let content = match fill {
        Fill::Bare => Vec::new(),
        Fill::Full => {
            let all = PROPERTIES.iter().filter(|property| property.is_for_clients_in(place));
            all.flat_map(Property::encode).collect()
        }
    };
    let kind = Kind::Properties(place, content);
    vec![Field { name: "properties", kind, may_be_absent: false }]
}

fn optional(field: Field) -> Field {
    Field { may_be_absent: true, ..field }
}

/// Whether everything is there that may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    Bare,
    Full,
}

/// Clean Start, and if it is full a Will, a user name and a password.
pub(crate) fn connect(version: Version, fill: Fill) -> Layout {
    match fill {
        Fill::Bare => connect_of(version, fill, 0x02),
        Fill::Full => connect_of(version, fill, 0xCE),
    }
}

/// With these Connect Flags, and the fields they announce; a Will also if QoS or Retain ask for it.
pub(crate) fn connect_of(version: Version, fill: Fill, flags: u8) -> Layout {
    let (name, level) = match version {
        Version::V31 => ("MQIsdp", 3),
        Version::V311 => ("MQTT", 4),
        Version::V5 => ("MQTT", 5),
    };
    // 3.1 s3.1: whatever the flags say, the last two fields may be missing.
    let credential = |field| if version == Version::V31 { optional(field) } else { field };
    let mut fields = vec![
        string("protocol name", name),
        plain("protocol level", &[level]),
        plain("Connect Flags", &[flags]),
        plain("Keep Alive", &[0, 60]),
    ];
    fields.extend(properties(version, Place::Connect, fill));
    fields.push(string("Client Identifier", CLIENT_ID));
    if flags & 0x04 != 0 {
        fields.extend(properties(version, Place::Will, fill));
        fields.push(string("Will Topic", &format!("{REFUSED}will")));
        fields.push(data("Will Payload", b"will"));
    }
    if flags & 0x80 != 0 {
        fields.push(credential(string("user name", "user")));
    }
    if flags & 0x40 != 0 {
        fields.push(credential(data("password", b"\x00word")));
    }
    Layout { name: "CONNECT", first: 0x10, fields }
}

pub(crate) fn publish(version: Version, first: u8, fill: Fill) -> Layout {
    let (name, qos) = match first >> 1 & 3 {
        0 => ("PUBLISH of QoS 0", 0),
        1 => ("PUBLISH of QoS 1", 1),
        2 => ("PUBLISH of QoS 2", 2),
        _ => ("PUBLISH of QoS 3", 3),
    };
    let mut fields = vec![string("Topic Name", &format!("{REFUSED}t"))];
    if qos > 0 {
        fields.push(plain("Packet Identifier", &[0, 1]));
    }
    fields.extend(properties(version, Place::Publish, fill));
    // No property has the first byte as its identifier, no packet begins with it.
    let payload = Kind::Payload(b"\x0Fpayload".to_vec());
    fields.push(Field { name: "payload", kind: payload, may_be_absent: true });
    Layout { name, first, fields }
}

fn acknowledgement(version: Version, name: &'static str, first: u8, place: Place) -> Layout {
    let mut fields = vec![plain("Packet Identifier", &[0, 1])];
    if version == Version::V5 {
        fields.push(optional(plain("Reason Code", &[0x00])));
        fields.extend(properties(version, place, Fill::Full).into_iter().map(optional));
    }
    Layout { name, first, fields }
}

pub(crate) fn subscribe(version: Version, fill: Fill) -> Layout {
    let mut fields = vec![plain("Packet Identifier", &[0, 1])];
    fields.extend(properties(version, Place::Subscribe, fill));
    fields.push(string("Topic Filter", "one/+"));
    fields.push(plain("options", &[0]));
    fields.push(optional(string("second Topic Filter", "two/#")));
    fields.push(plain("second options", &[1]));
    Layout { name: "SUBSCRIBE", first: 0x82, fields }
}

pub(crate) fn unsubscribe(version: Version, fill: Fill) -> Layout {
    let mut fields = vec![plain("Packet Identifier", &[0, 1])];
    fields.extend(properties(version, Place::Unsubscribe, fill));
    fields.push(string("Topic Filter", "one/+"));
    fields.push(optional(string("second Topic Filter", "two/#")));
    Layout { name: "UNSUBSCRIBE", first: 0xA2, fields }
}

pub(crate) fn ping_req() -> Layout {
    Layout { name: "PINGREQ", first: 0xC0, fields: Vec::new() }
}

pub(crate) fn disconnect(version: Version) -> Layout {
    let mut fields = Vec::new();
    if version == Version::V5 {
        fields.push(optional(plain("Reason Code", &[0x00])));
        fields.extend(properties(version, Place::Disconnect, Fill::Full).into_iter().map(optional));
    }
    Layout { name: "DISCONNECT", first: 0xE0, fields }
}

/// Of 5.0 only. An AUTH without a body means Success, one with a Reason Code has properties too.
pub(crate) fn auth() -> Layout {
    let mut fields = vec![optional(plain("Reason Code", &[0x19]))];
    fields.extend(properties(Version::V5, Place::Auth, Fill::Full));
    Layout { name: "AUTH", first: 0xF0, fields }
}

/// Every packet that a client may send after its CONNECT, but AUTH, as full as can be.
pub(crate) fn established(version: Version) -> Vec<Layout> {
    vec![
        publish(version, 0x30, Fill::Full),
        publish(version, 0x32, Fill::Full),
        publish(version, 0x34, Fill::Full),
        acknowledgement(version, "PUBACK", 0x40, Place::PubAck),
        acknowledgement(version, "PUBREC", 0x50, Place::PubRec),
        acknowledgement(version, "PUBREL", 0x62, Place::PubRel),
        acknowledgement(version, "PUBCOMP", 0x70, Place::PubComp),
        subscribe(version, Fill::Full),
        unsubscribe(version, Fill::Full),
        ping_req(),
        disconnect(version),
    ]
}

/// The packet of 5.0 in which properties stand at this place; its other properties are left out.
pub(crate) fn carrier(place: Place) -> Layout {
    let version = Version::V5;
    match place {
        Place::Connect => connect(version, Fill::Bare),
        Place::Will => connect_of(version, Fill::Bare, 0x06),
        Place::Publish => publish(version, 0x32, Fill::Bare),
        Place::PubAck => acknowledgement(version, "PUBACK", 0x40, place),
        Place::PubRec => acknowledgement(version, "PUBREC", 0x50, place),
        Place::PubRel => acknowledgement(version, "PUBREL", 0x62, place),
        Place::PubComp => acknowledgement(version, "PUBCOMP", 0x70, place),
        Place::Subscribe => subscribe(version, Fill::Bare),
        Place::Unsubscribe => unsubscribe(version, Fill::Bare),
        Place::Disconnect => disconnect(version),
        Place::Auth => auth(),
    }
}

/// The Remaining Length in so many bytes, which may be more than it needs.
pub(crate) fn padded(length: usize, bytes: usize) -> Vec<u8> {
    let mut padded = variable(length);
    while padded.len() < bytes {
        *padded.last_mut().expect("at least one byte") |= 0x80;
        padded.push(0);
    }
    padded
}

/// A SUBSCRIBE of one filter.
pub(crate) fn subscribe_to(version: Version, filter: &[u8], options: u8) -> Vec<u8> {
    let empty: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    packet(0x82, &[&[0, 1], empty, &binary(filter), &[options]].concat())
}

/// An UNSUBSCRIBE of one filter.
pub(crate) fn unsubscribe_from(version: Version, filter: &[u8]) -> Vec<u8> {
    let empty: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    packet(0xA2, &[&[0, 1], empty, &binary(filter)].concat())
}

/// A PUBLISH of QoS 0 to whatever is given as the topic.
pub(crate) fn publish_to(version: Version, topic: &[u8]) -> Vec<u8> {
    let empty: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    packet(0x30, &[&binary(topic), empty, b"payload"].concat())
}

/// A CONNECT with a Will to this topic, of QoS 0 and not retained.
pub(crate) fn connect_with_will(version: Version, topic: &[u8]) -> Vec<u8> {
    connect_of(version, Fill::Bare, 0x06).with_field("Will Topic", &binary(topic))
}

/// A CONNECT with this Client Identifier.
pub(crate) fn connect_as(version: Version, client_id: &str, flags: u8) -> Vec<u8> {
    connect_of(version, Fill::Bare, flags).with_field("Client Identifier", &text(client_id))
}
