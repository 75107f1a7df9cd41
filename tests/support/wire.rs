//! MQTT packets as bytes, written from the standard and not from the broker's codec.

#![allow(dead_code, reason = "no test needs every part of every packet")]

/// Which protocol a test's client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V31,
    V311,
    V5,
}

/// The value of a property of 5.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Byte(u8),
    Two(u16),
    Four(u32),
    Variable(u32),
    Text(String),
    Binary(Vec<u8>),
    Pair(String, String),
}

/// Properties in the order of the wire, by their identifiers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Properties(pub(crate) Vec<(u8, Value)>);

pub(crate) const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
pub(crate) const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
pub(crate) const CONTENT_TYPE: u8 = 0x03;
pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
pub(crate) const CORRELATION_DATA: u8 = 0x09;
pub(crate) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
pub(crate) const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
pub(crate) const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
pub(crate) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
pub(crate) const WILL_DELAY_INTERVAL: u8 = 0x18;
pub(crate) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
pub(crate) const RESPONSE_INFORMATION: u8 = 0x1A;
pub(crate) const SERVER_REFERENCE: u8 = 0x1C;
pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(crate) const AUTHENTICATION_METHOD: u8 = 0x15;
pub(crate) const AUTHENTICATION_DATA: u8 = 0x16;
pub(crate) const REASON_STRING: u8 = 0x1F;
pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(crate) const TOPIC_ALIAS: u8 = 0x23;
pub(crate) const MAXIMUM_QOS: u8 = 0x24;
pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
pub(crate) const USER_PROPERTY: u8 = 0x26;
pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
pub(crate) const WILDCARD_SUBSCRIPTION_AVAILABLE: u8 = 0x28;
pub(crate) const SUBSCRIPTION_IDENTIFIER_AVAILABLE: u8 = 0x29;
pub(crate) const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2A;

impl Properties {
    pub(crate) fn all(&self, wanted: u8) -> Vec<&Value> {
        self.0.iter().filter(|(id, _)| *id == wanted).map(|(_, value)| value).collect()
    }

    /// All Subscription Identifiers in ascending order.
    pub(crate) fn subscription_identifiers(&self) -> Vec<u32> {
        let mut found: Vec<u32> = self
            .all(SUBSCRIPTION_IDENTIFIER)
            .into_iter()
            .map(|value| match value {
                Value::Variable(number) => *number,
                other => panic!("a Subscription Identifier of the wrong type: {other:?}"),
            })
            .collect();
        found.sort_unstable();
        found
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut content = Vec::new();
        for (id, value) in &self.0 {
            content.push(*id);
            match value {
                Value::Byte(number) => content.push(*number),
                Value::Two(number) => content.extend(number.to_be_bytes()),
                Value::Four(number) => content.extend(number.to_be_bytes()),
                Value::Variable(number) => content.extend(variable(*number as usize)),
                Value::Text(string) => content.extend(text(string)),
                Value::Binary(bytes) => content.extend(binary(bytes)),
                Value::Pair(name, value) => content.extend([text(name), text(value)].concat()),
            }
        }
        [variable(content.len()), content].concat()
    }

    fn decode(cursor: &mut Cursor<'_>) -> Self {
        let length = cursor.variable();
        let mut inner = Cursor(cursor.take(length));
        let mut found = Vec::new();
        while !inner.0.is_empty() {
            let id = inner.byte();
            let value = match id {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => Value::Byte(inner.byte()),
                0x13 | 0x21 | 0x22 | 0x23 => Value::Two(inner.two()),
                0x02 | 0x11 | 0x18 | 0x27 => Value::Four(inner.four()),
                0x0B => Value::Variable(inner.variable().try_into().expect("28 bits")),
                0x03 | 0x08 | 0x12 | 0x15 | 0x1A | 0x1C | 0x1F => Value::Text(inner.text()),
                0x09 | 0x16 => Value::Binary(inner.binary().to_vec()),
                0x26 => Value::Pair(inner.text(), inner.text()),
                other => panic!("the broker sent an unknown property {other:#x}"),
            };
            found.push((id, value));
        }
        Self(found)
    }
}

/// An Application Message as it reached a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// 0 for QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) properties: Properties,
}

impl Message {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("a payload of text")
    }

    pub(crate) fn number(&self) -> u32 {
        self.text().parse().expect("a payload that is a number")
    }
}

/// What a broker may send. The body of a packet that ends early reads as the standard says:
/// Reason Code 0x00, no properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packet {
    ConnAck { session_present: bool, code: u8, properties: Properties },
    Publish(Message),
    PubAck { packet_id: u16, code: u8, properties: Properties },
    PubRec { packet_id: u16, code: u8, properties: Properties },
    PubRel { packet_id: u16, code: u8, properties: Properties },
    PubComp { packet_id: u16, code: u8, properties: Properties },
    SubAck { packet_id: u16, codes: Vec<u8>, properties: Properties },
    UnsubAck { packet_id: u16, codes: Vec<u8>, properties: Properties },
    PingResp,
    Disconnect { code: u8, properties: Properties },
    Auth { code: u8, properties: Properties },
}

/// The packet at the start of `bytes` and its length, or nothing while it is incomplete.
pub(crate) fn decode(bytes: &[u8], version: Version) -> Option<(Packet, usize)> {
    let (length, header) = remaining_length(bytes)?;
    let body = bytes.get(header..header + length)?;
    Some((decode_body(bytes[0], body, version), header + length))
}

fn remaining_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for position in 0..4 {
        let byte = *bytes.get(1 + position)?;
        length |= usize::from(byte & 0x7F) << (7 * position);
        if byte & 0x80 == 0 {
            let shortest = byte != 0 || position == 0;
            assert!(shortest, "the broker sent a Remaining Length with more bytes than it needs");
            return Some((length, 2 + position));
        }
    }
    panic!("the broker sent a Remaining Length of more than four bytes");
}

fn decode_body(first: u8, body: &[u8], version: Version) -> Packet {
    let mut cursor = Cursor(body);
    let packet = match first {
        0x20 => {
            let flags = cursor.byte();
            assert!(flags <= 1, "the broker sent reserved bits in the Connect Acknowledge Flags");
            let session_present = flags == 1;
            let code = cursor.byte();
            // A refusal may come in the form of another version than the client's.
            let properties = cursor.properties_if_any();
            let has_properties = body.len() > 2;
            assert!(code != 0 || has_properties == (version == Version::V5), "another version's");
            Packet::ConnAck { session_present, code, properties }
        }
        0x30..=0x3F => Packet::Publish(decode_publish(first, &mut cursor, version)),
        0x40 | 0x50 | 0x62 | 0x70 => {
            let packet_id = cursor.two();
            assert!(version == Version::V5 || cursor.0.is_empty(), "a Reason Code before 5.0");
            let code = cursor.byte_if_any();
            let properties = cursor.properties_if_any();
            match first {
                0x40 => Packet::PubAck { packet_id, code, properties },
                0x50 => Packet::PubRec { packet_id, code, properties },
                0x62 => Packet::PubRel { packet_id, code, properties },
                _ => Packet::PubComp { packet_id, code, properties },
            }
        }
        0x90 | 0xB0 => {
            let packet_id = cursor.two();
            let properties = match version {
                Version::V5 => Properties::decode(&mut cursor),
                Version::V31 | Version::V311 => Properties::default(),
            };
            let codes = cursor.take(cursor.0.len()).to_vec();
            match first {
                0x90 => Packet::SubAck { packet_id, codes, properties },
                _ => Packet::UnsubAck { packet_id, codes, properties },
            }
        }
        0xD0 => Packet::PingResp,
        0xE0 => {
            let code = cursor.byte_if_any();
            Packet::Disconnect { code, properties: cursor.properties_if_any() }
        }
        0xF0 => {
            let code = cursor.byte_if_any();
            Packet::Auth { code, properties: cursor.properties_if_any() }
        }
        other => panic!("the broker sent a packet with the first byte {other:#04x}"),
    };
    assert!(cursor.0.is_empty(), "the broker sent more than belongs to {packet:?}");
    packet
}

fn decode_publish(first: u8, cursor: &mut Cursor<'_>, version: Version) -> Message {
    let qos = (first >> 1) & 3;
    assert!(qos < 3, "the broker sent a PUBLISH of QoS 3");
    let topic = cursor.text();
    let packet_id = if qos == 0 { 0 } else { cursor.two() };
    assert!(qos == 0 || packet_id != 0, "the broker sent Packet Identifier 0");
    let properties = match version {
        Version::V5 => Properties::decode(cursor),
        Version::V31 | Version::V311 => Properties::default(),
    };
    let payload = cursor.take(cursor.0.len()).to_vec();
    let (retain, dup) = (first & 1 == 1, first & 8 == 8);
    Message { topic, payload, qos, retain, dup, packet_id, properties }
}

/// A whole packet: fixed header and body.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(body.len() + 5);
    whole.push(first);
    whole.extend(variable(body.len()));
    whole.extend(body);
    whole
}

/// A PUBLISH; `packet_id` counts only above QoS 0, `first` is the whole first byte.
pub(crate) fn publish(
    version: Version,
    first: u8,
    topic: &str,
    packet_id: u16,
    properties: &Properties,
    payload: &[u8],
) -> Vec<u8> {
    let mut body = text(topic);
    if first & 6 != 0 {
        body.extend(packet_id.to_be_bytes());
    }
    if version == Version::V5 {
        body.extend(properties.encode());
    }
    body.extend(payload);
    packet(first, &body)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP in the short form that every version has.
pub(crate) fn acknowledge(first: u8, packet_id: u16) -> Vec<u8> {
    packet(first, &packet_id.to_be_bytes())
}

pub(crate) fn text(string: &str) -> Vec<u8> {
    binary(string.as_bytes())
}

pub(crate) fn binary(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("at most 65,535 bytes");
    [&length.to_be_bytes(), bytes].concat()
}

pub(crate) fn variable(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7F).expect("seven bits");
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        assert!(length <= self.0.len(), "the broker sent a packet that ends too early");
        let (head, rest) = self.0.split_at(length);
        self.0 = rest;
        head
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn byte_if_any(&mut self) -> u8 {
        if self.0.is_empty() { 0 } else { self.byte() }
    }

    fn properties_if_any(&mut self) -> Properties {
        if self.0.is_empty() { Properties::default() } else { Properties::decode(self) }
    }

    fn two(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().expect("two bytes"))
    }

    fn four(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn variable(&mut self) -> usize {
        let mut number = 0;
        for position in 0..4 {
            let byte = self.byte();
            number |= usize::from(byte & 0x7F) << (7 * position);
            if byte & 0x80 == 0 {
                return number;
            }
        }
        panic!("the broker sent a Variable Byte Integer of more than four bytes");
    }

    fn binary(&mut self) -> &'a [u8] {
        let length = self.two();
        self.take(usize::from(length))
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.binary().to_vec()).expect("the broker sends UTF-8")
    }
}
