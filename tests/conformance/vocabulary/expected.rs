//! How what comes is compared with what a test expects.

use std::fmt::Debug;

use super::said::{Ack, Codes, ConnAck, Kind, Outcome, Ping, Publish};
use super::wire::{Packet, Properties, REASON_STRING, SUBSCRIPTION_IDENTIFIER, Value, Version};

/// What a client can expect.
pub(crate) trait Expected: Debug {
    fn is(&self, packet: &Packet, version: Version) -> bool;
}

impl Expected for Publish {
    /// The same in everything, properties included.
    fn is(&self, packet: &Packet, version: Version) -> bool {
        let Packet::Publish(message) = packet else { return false };
        let properties = match version {
            Version::V5 => sorted(&self.properties),
            Version::V31 | Version::V311 => Vec::new(),
        };
        message.topic == self.topic
            && message.payload == self.payload
            && message.qos == self.qos
            && message.retain == self.retain
            && message.dup == self.dup
            && (self.qos == 0 || self.id.is_none_or(|id| id == message.packet_id))
            && sorted(&message.properties) == properties
    }
}

/// Only User Properties have an order, which stays.
fn sorted(properties: &Properties) -> Vec<(u8, Value)> {
    let mut sorted = properties.0.clone();
    sorted.sort_by_key(|(id, value)| match (*id, value) {
        (SUBSCRIPTION_IDENTIFIER, Value::Variable(number)) => (*id, *number),
        (id, _) => (id, 0),
    });
    sorted
}

impl Expected for Ack {
    fn is(&self, packet: &Packet, version: Version) -> bool {
        let (kind, packet_id, code, properties) = match packet {
            Packet::PubAck { packet_id, code, properties } => {
                (Kind::PubAck, packet_id, code, properties)
            }
            Packet::PubRec { packet_id, code, properties } => {
                (Kind::PubRec, packet_id, code, properties)
            }
            Packet::PubRel { packet_id, code, properties } => {
                (Kind::PubRel, packet_id, code, properties)
            }
            Packet::PubComp { packet_id, code, properties } => {
                (Kind::PubComp, packet_id, code, properties)
            }
            _ => return false,
        };
        kind == self.kind
            && *packet_id == self.id
            && is_code(self.code, *code, version)
            && has(properties, &self.properties)
    }
}

/// Without a name, any that is no error.
fn is_code(expected: Option<u8>, code: u8, version: Version) -> bool {
    match expected {
        Some(expected) if version == Version::V5 => code == expected,
        Some(_) | None => code < 0x80,
    }
}

/// Reason Strings are for people: they are compared only where a test names one.
fn has(properties: &Properties, expected: &Properties) -> bool {
    let named = |id: u8| expected.0.iter().any(|(other, _)| *other == id);
    let compared = Properties(
        properties.0.iter().filter(|(id, _)| *id != REASON_STRING || named(*id)).cloned().collect(),
    );
    sorted(&compared) == sorted(expected)
}

impl Expected for Codes {
    fn is(&self, packet: &Packet, version: Version) -> bool {
        let (unsubscribed, packet_id, codes, properties) = match packet {
            Packet::SubAck { packet_id, codes, properties } => {
                (false, packet_id, codes, properties)
            }
            Packet::UnsubAck { packet_id, codes, properties } => {
                (true, packet_id, codes, properties)
            }
            _ => return false,
        };
        let silent = self.unsubscribed && version != Version::V5;
        let expected: &[u8] = if silent { &[] } else { &self.codes };
        unsubscribed == self.unsubscribed
            && *packet_id == self.id
            && codes == expected
            && has(properties, &self.properties)
    }
}

impl Expected for Ping {
    fn is(&self, packet: &Packet, _: Version) -> bool {
        self.first == 0xD0 && *packet == Packet::PingResp
    }
}

impl Expected for Outcome {
    fn is(&self, packet: &Packet, _: Version) -> bool {
        let (first, code, properties) = match packet {
            Packet::Disconnect { code, properties } => (0xE0, code, properties),
            Packet::Auth { code, properties } => (0xF0, code, properties),
            _ => return false,
        };
        first == self.first && *code == self.code.unwrap_or(0) && has(properties, &self.properties)
    }
}

impl Expected for ConnAck {
    fn is(&self, packet: &Packet, version: Version) -> bool {
        let Packet::ConnAck { session_present, code, properties } = packet else { return false };
        *session_present == self.session_present
            && *code == self.code
            && (version != Version::V5 || self.has_properties(properties))
    }
}

impl ConnAck {
    fn has_properties(&self, properties: &Properties) -> bool {
        self.properties.0.iter().all(|property| properties.0.contains(property))
            && self.absent.iter().all(|id| properties.all(*id).is_empty())
    }
}
