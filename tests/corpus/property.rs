//! The properties of 5.0 as table 2-4 of the standard has them, and where they may stand.

use crate::wire::{binary, text, variable};

/// Where properties stand, of what a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Connect,
    Will,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Auth,
}

pub(crate) const PLACES: [Place; 11] = [
    Place::Connect,
    Place::Will,
    Place::Publish,
    Place::PubAck,
    Place::PubRec,
    Place::PubRel,
    Place::PubComp,
    Place::Subscribe,
    Place::Unsubscribe,
    Place::Disconnect,
    Place::Auth,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Byte,
    Two,
    Four,
    Variable,
    Text,
    Binary,
    Pair,
}

#[derive(Debug)]
pub(crate) struct Property {
    pub(crate) id: u8,
    pub(crate) name: &'static str,
    pub(crate) kind: Type,
    /// Those of a client; some stand in packets of a server alone.
    pub(crate) places: &'static [Place],
}

const MESSAGE: &[Place] = &[Place::Publish, Place::Will];
const CONNECT: &[Place] = &[Place::Connect];
const AUTHENTICATION: &[Place] = &[Place::Connect, Place::Auth];
const EXPLAINED: &[Place] =
    &[Place::PubAck, Place::PubRec, Place::PubRel, Place::PubComp, Place::Disconnect, Place::Auth];
const SERVER: &[Place] = &[];

pub(crate) const PROPERTIES: [Property; 27] = [
    new(0x01, "Payload Format Indicator", Type::Byte, MESSAGE),
    new(0x02, "Message Expiry Interval", Type::Four, MESSAGE),
    new(0x03, "Content Type", Type::Text, MESSAGE),
    new(0x08, "Response Topic", Type::Text, MESSAGE),
    new(0x09, "Correlation Data", Type::Binary, MESSAGE),
    new(0x0B, "Subscription Identifier", Type::Variable, &[Place::Publish, Place::Subscribe]),
    new(0x11, "Session Expiry Interval", Type::Four, &[Place::Connect, Place::Disconnect]),
    new(0x12, "Assigned Client Identifier", Type::Text, SERVER),
    new(0x13, "Server Keep Alive", Type::Two, SERVER),
    new(0x15, "Authentication Method", Type::Text, AUTHENTICATION),
    new(0x16, "Authentication Data", Type::Binary, AUTHENTICATION),
    new(0x17, "Request Problem Information", Type::Byte, CONNECT),
    new(0x18, "Will Delay Interval", Type::Four, &[Place::Will]),
    new(0x19, "Request Response Information", Type::Byte, CONNECT),
    new(0x1A, "Response Information", Type::Text, SERVER),
    new(0x1C, "Server Reference", Type::Text, &[Place::Disconnect]),
    new(0x1F, "Reason String", Type::Text, EXPLAINED),
    new(0x21, "Receive Maximum", Type::Two, CONNECT),
    new(0x22, "Topic Alias Maximum", Type::Two, CONNECT),
    new(0x23, "Topic Alias", Type::Two, &[Place::Publish]),
    new(0x24, "Maximum QoS", Type::Byte, SERVER),
    new(0x25, "Retain Available", Type::Byte, SERVER),
    new(0x26, "User Property", Type::Pair, &PLACES),
    new(0x27, "Maximum Packet Size", Type::Four, CONNECT),
    new(0x28, "Wildcard Subscription Available", Type::Byte, SERVER),
    new(0x29, "Subscription Identifier Available", Type::Byte, SERVER),
    new(0x2A, "Shared Subscription Available", Type::Byte, SERVER),
];

const fn new(id: u8, name: &'static str, kind: Type, places: &'static [Place]) -> Property {
    Property { id, name, kind, places }
}

impl Property {
    /// Whether the standard lets a client send it there. It has a Subscription Identifier stand
    /// in a PUBLISH and a Server Reference in a DISCONNECT of a server only.
    pub(crate) fn is_for_clients_in(&self, place: Place) -> bool {
        let from_server = matches!((self.id, place), (0x0B, Place::Publish) | (0x1C, _));
        self.places.contains(&place) && !from_server
    }

    /// A value that is right wherever the property may stand.
    pub(crate) fn sample(&self) -> Vec<u8> {
        match (self.id, self.kind) {
            // Of a CONNECT it makes no Session that outlives the test by long, and a DISCONNECT
            // may not set it after a CONNECT that had none.
            (0x11, _) => vec![0, 0, 0, 0],
            (0x27, _) => vec![0, 1, 0, 0],
            (_, Type::Byte) => vec![1],
            (_, Type::Two) => vec![0, 1],
            (_, Type::Four) => vec![0, 0, 0, 60],
            (_, Type::Variable) => vec![5],
            (0x08, _) => text("refused/response"),
            (_, Type::Text) => text("text"),
            (_, Type::Binary) => binary(b"\x00\xFF"),
            (_, Type::Pair) => [text("name"), text("value")].concat(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.with(&self.sample())
    }

    pub(crate) fn with(&self, value: &[u8]) -> Vec<u8> {
        [&[self.id], value].concat()
    }
}

pub(crate) fn property(id: u8) -> &'static Property {
    PROPERTIES.iter().find(|property| property.id == id).expect("a property of the table")
}

/// A property section: its length and its content.
pub(crate) fn section(content: &[u8]) -> Vec<u8> {
    [variable(content.len()), content.to_vec()].concat()
}
