//! The small values that packets are made of, each unable to hold a wrong one.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use super::primitives::Hidden;

/// The version of MQTT that a connection speaks, fixed by its CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: protocol name `MQTT`, level 4.
    V311,
    /// MQTT 5.0: protocol name `MQTT`, level 5.
    V5,
}

impl ProtocolVersion {
    pub fn is_v5(self) -> bool {
        self == Self::V5
    }

    /// The byte that stands for this version in a CONNECT.
    pub fn level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }

    /// The protocol name that stands before the level in a CONNECT.
    pub fn name(self) -> &'static str {
        match self {
            Self::V31 => "MQIsdp",
            Self::V311 | Self::V5 => "MQTT",
        }
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V31 => "3.1",
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}

/// Some of the versions, or all.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProtocolVersions(u8);

impl ProtocolVersions {
    pub const ALL: Self = Self(0b111);

    pub fn contains(self, version: ProtocolVersion) -> bool {
        self.0 & Self::bit(version) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// From the oldest to the newest.
    pub fn iter(self) -> impl Iterator<Item = ProtocolVersion> {
        let versions = [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];
        versions.into_iter().filter(move |version| self.contains(*version))
    }

    fn bit(version: ProtocolVersion) -> u8 {
        match version {
            ProtocolVersion::V31 => 0b001,
            ProtocolVersion::V311 => 0b010,
            ProtocolVersion::V5 => 0b100,
        }
    }
}

impl FromIterator<ProtocolVersion> for ProtocolVersions {
    fn from_iter<T: IntoIterator<Item = ProtocolVersion>>(versions: T) -> Self {
        Self(versions.into_iter().fold(0, |set, version| set | Self::bit(version)))
    }
}

impl fmt::Debug for ProtocolVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    AtMostOnce = 0,
    AtLeastOnce = 1,
    ExactlyOnce = 2,
}

impl QoS {
    /// The QoS that the whole of `bits` stands for; 3 and above stand for none.
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    pub fn bits(self) -> u8 {
        self as u8
    }
}

/// A Packet Identifier, which is never 0 [MQTT-2.2.1-3] [MQTT3-2.3.1-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    pub const MIN: Self = Self(NonZeroU16::MIN);

    pub fn new(value: u16) -> Option<Self> {
        NonZeroU16::new(value).map(Self)
    }

    pub fn value(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A Subscription Identifier: 1 to 268,435,455.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    pub const MAX: u32 = 268_435_455;

    pub fn new(value: u32) -> Option<Self> {
        NonZeroU32::new(value).filter(|value| value.get() <= Self::MAX).map(Self)
    }

    pub fn value(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many QoS 1 and QoS 2 publications one side takes before it has acknowledged any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiveMaximum(NonZeroU16);

impl ReceiveMaximum {
    /// What holds where the property is absent.
    pub const DEFAULT: Self = Self(NonZeroU16::MAX);

    pub fn new(value: u16) -> Option<Self> {
        NonZeroU16::new(value).map(Self)
    }

    pub fn value(self) -> u16 {
        self.0.get()
    }
}

/// What a publisher says of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PayloadFormatIndicator {
    Unspecified = 0,
    Utf8 = 1,
}

/// Authentication Data, which is not printed, for it may be as good as a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthenticationData<'a>(pub &'a [u8]);

impl fmt::Debug for AuthenticationData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hidden(self.0).fmt(f)
    }
}

/// The kinds of packet, numbered as in the upper half of a packet's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    /// The first byte of a packet of this kind; of a PUBLISH the one with all flags 0.
    pub fn first_byte(self) -> u8 {
        let flags = match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            Self::Connect
            | Self::ConnAck
            | Self::Publish
            | Self::PubAck
            | Self::PubRec
            | Self::PubComp
            | Self::SubAck
            | Self::UnsubAck
            | Self::PingReq
            | Self::PingResp
            | Self::Disconnect
            | Self::Auth => 0,
        };
        (self as u8) << 4 | flags
    }

    /// The kind of packet that begins with this byte, whatever its flags; 0 is no kind.
    pub fn from_first_byte(first_byte: u8) -> Option<Self> {
        Some(match first_byte >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        })
    }
}
