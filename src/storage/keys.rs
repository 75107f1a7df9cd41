//! The keys: what is kept where, in an order in which what belongs together lies together.
//!
//! ```text
//! meta           <what>                                the clock, the numbers given, the run
//! sessions       <session>
//! subscriptions  <session><filter>
//! queue          <session><position>
//! inflight       <session><direction><Packet Identifier>
//! wills          <session>
//! retained       <topic>
//! groups         <group>                               its filter
//!                <group><position>                     what it owes
//! messages       <message>                             a message that several Sessions are owed
//! ```
//!
//! Numbers are big-endian, so that byte order is their order, and a number is never given twice: a
//! Session that ends is one delete, and what else was its own can be removed later.

use sha2::{Digest, Sha256};

use crate::packet::PacketId;
use crate::topic::{SubscriptionFilter, TopicName};

/// A Session in the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct SessionNumber(pub(super) u64);

/// A group in the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct GroupNumber(pub(super) u64);

/// A message that is kept once for several takers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct MessageNumber(pub(super) u64);

/// A keyspace of the engine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Family {
    Meta,
    Sessions,
    Subscriptions,
    Queue,
    Inflight,
    Wills,
    Retained,
    Groups,
    Messages,
}

impl Family {
    /// In the order in which they are made, which numbers them on disk.
    pub(super) const ALL: [Self; 9] = [
        Self::Meta,
        Self::Sessions,
        Self::Subscriptions,
        Self::Queue,
        Self::Inflight,
        Self::Wills,
        Self::Retained,
        Self::Groups,
        Self::Messages,
    ];

    /// Whether its keys begin with the number of whose they are.
    pub(super) fn has_owners(self) -> bool {
        match self {
            Self::Sessions
            | Self::Subscriptions
            | Self::Queue
            | Self::Inflight
            | Self::Wills
            | Self::Groups
            | Self::Messages => true,
            Self::Meta | Self::Retained => false,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Sessions => "sessions",
            Self::Subscriptions => "subscriptions",
            Self::Queue => "queue",
            Self::Inflight => "inflight",
            Self::Wills => "wills",
            Self::Retained => "retained",
            Self::Groups => "groups",
            Self::Messages => "messages",
        }
    }
}

/// One record's place.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Key {
    Clock,
    Numbers,
    Run,
    Session(SessionNumber),
    Subscription(SessionNumber, SubscriptionFilter),
    Queued(SessionNumber, u64),
    /// A message on its way to the client.
    Outgoing(SessionNumber, PacketId),
    /// A QoS 2 message that came from the client.
    Incoming(SessionNumber, PacketId),
    Will(SessionNumber),
    Retained(TopicName),
    Group(GroupNumber),
    GroupQueued(GroupNumber, u64),
    Message(MessageNumber),
}

pub(super) const CLOCK: &[u8] = b"clock";
pub(super) const NUMBERS: &[u8] = b"numbers";
pub(super) const RUN: &[u8] = b"run";

/// The direction in a key of `inflight`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Outgoing = 0,
    Incoming = 1,
}

/// A text up to this length stands in its key as it is. A key may have 65,535 bytes, and a filter
/// alone may have as many; a longer text is in the value only and its digest in the key.
const TEXT_BYTES_MAX: usize = 1_024;

/// Stands before a digest. No text has this byte, since it is not UTF-8.
const DIGEST: u8 = 0xFF;

impl Key {
    pub(super) fn family(&self) -> Family {
        match self {
            Self::Clock | Self::Numbers | Self::Run => Family::Meta,
            Self::Session(_) => Family::Sessions,
            Self::Subscription(..) => Family::Subscriptions,
            Self::Queued(..) => Family::Queue,
            Self::Outgoing(..) | Self::Incoming(..) => Family::Inflight,
            Self::Will(_) => Family::Wills,
            Self::Retained(_) => Family::Retained,
            Self::Group(_) | Self::GroupQueued(..) => Family::Groups,
            Self::Message(_) => Family::Messages,
        }
    }

    /// The Session whose own it is.
    pub(super) fn session(&self) -> Option<SessionNumber> {
        match self {
            Self::Subscription(session, _)
            | Self::Queued(session, _)
            | Self::Outgoing(session, _)
            | Self::Incoming(session, _)
            | Self::Will(session) => Some(*session),
            Self::Clock
            | Self::Numbers
            | Self::Run
            | Self::Session(_)
            | Self::Retained(_)
            | Self::Group(_)
            | Self::GroupQueued(..)
            | Self::Message(_) => None,
        }
    }

    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Clock => out.extend_from_slice(CLOCK),
            Self::Numbers => out.extend_from_slice(NUMBERS),
            Self::Run => out.extend_from_slice(RUN),
            Self::Session(session) | Self::Will(session) => put(out, session.0),
            Self::Subscription(session, filter) => {
                put(out, session.0);
                put_text(out, &filter.to_string());
            }
            Self::Queued(session, position) => {
                put(out, session.0);
                put(out, *position);
            }
            Self::Outgoing(session, id) => put_inflight(out, *session, Direction::Outgoing, *id),
            Self::Incoming(session, id) => put_inflight(out, *session, Direction::Incoming, *id),
            Self::Retained(topic) => put_text(out, topic.as_str()),
            Self::Group(group) => put(out, group.0),
            Self::GroupQueued(group, position) => {
                put(out, group.0);
                put(out, *position);
            }
            Self::Message(message) => put(out, message.0),
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(24);
        self.write_to(&mut bytes);
        bytes
    }
}

fn put(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn put_inflight(out: &mut Vec<u8>, session: SessionNumber, direction: Direction, id: PacketId) {
    put(out, session.0);
    out.push(direction as u8);
    out.extend_from_slice(&id.value().to_be_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    if text.len() <= TEXT_BYTES_MAX {
        out.extend_from_slice(text.as_bytes());
    } else {
        out.push(DIGEST);
        out.extend_from_slice(&Sha256::digest(text.as_bytes()));
    }
}

/// The number a key of its family is.
pub(super) fn number(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.try_into().ok()?))
}

/// The number a key begins with, and the rest.
pub(super) fn owner(key: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = key.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// Takes a key of `queue`, or of a message in `groups`, apart.
pub(super) fn position(key: &[u8]) -> Option<(u64, u64)> {
    let (owner, rest) = owner(key)?;
    Some((owner, number(rest)?))
}

/// Takes a key of `inflight` apart.
pub(super) fn inflight(key: &[u8]) -> Option<(SessionNumber, Direction, PacketId)> {
    let (session, rest) = owner(key)?;
    let [direction, high, low] = *rest else { return None };
    let direction = match direction {
        0 => Direction::Outgoing,
        1 => Direction::Incoming,
        _ => return None,
    };
    Some((SessionNumber(session), direction, PacketId::new(u16::from_be_bytes([high, low]))?))
}
