//! What can be wrong with a packet, grouped by the Reason Code that the caller answers with.

use std::fmt;

use super::PacketType;
use super::properties::PropertyId;

/// Why bytes are not a packet we go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes cannot be read by the standard's grammar: 0x81.
    #[error(transparent)]
    Malformed(#[from] MalformedPacket),
    /// The bytes can be read, and say what the standard forbids: 0x82.
    #[error(transparent)]
    Protocol(#[from] ProtocolViolation),
    #[error("the packet has {length} bytes, more than the {max} allowed")]
    TooLarge { length: usize, max: usize },
    #[error("level {level} of the protocol is not one we speak")]
    UnsupportedProtocolVersion { level: u8 },
    #[error("the protocol name is neither MQTT nor MQIsdp")]
    UnsupportedProtocolName,
    #[error("the first packet is {packet}, not CONNECT")]
    NotConnect { packet: PacketType },
}

/// A packet that breaks the standard's grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedPacket {
    #[error("the first byte 0x{first_byte:02x} names no packet type of this version")]
    UnknownPacketType { first_byte: u8 },
    #[error("the flag bits of {packet} are wrong in the first byte 0x{first_byte:02x}")]
    WrongFlags { packet: PacketType, first_byte: u8 },
    #[error("a variable byte integer has more than four bytes")]
    VariableByteIntegerTooLong,
    #[error("a variable byte integer has more bytes than its value needs")]
    VariableByteIntegerNotShortest,
    #[error("a field runs past the end of the packet")]
    FieldTooLong,
    #[error("bytes are left over after the last field")]
    TrailingBytes,
    #[error("a string is not well-formed UTF-8")]
    IllFormedString,
    #[error("a string contains U+0000")]
    NullCharacter,
    #[error("a PUBLISH asks for QoS 3")]
    PublishQoS3,
    #[error("a PUBLISH of QoS 0 has DUP set")]
    DupWithQoS0,
    #[error("the reserved bit of the connect flags is set")]
    ReservedConnectFlag,
    #[error("the Will asks for QoS 3")]
    WillQoS3,
    #[error("the connect flags describe a Will but the Will Flag is 0")]
    WillFlagsWithoutWill,
    #[error("a password stands without a user name, which only 5.0 allows")]
    PasswordWithoutUserName,
    #[error("reserved bits of the connect acknowledge flags are set")]
    ReservedConnectAcknowledgeFlags,
    #[error("{value} is no return code of {packet} in this version")]
    UnknownReturnCode { packet: PacketType, value: u8 },
    #[error("reserved bits of the subscription options 0x{options:02x} are set")]
    ReservedSubscriptionOptions { options: u8 },
    #[error("0x{id:02x} is no property")]
    UnknownProperty { id: u8 },
    #[error("the property {property} is not allowed in {place}")]
    PropertyNotAllowed { property: PropertyId, place: PropertyPlace },
}

/// A packet that can be read, but says what the standard forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolViolation {
    #[error("the Packet Identifier is 0")]
    ZeroPacketId,
    #[error("the property {property} stands twice")]
    PropertyTwice { property: PropertyId },
    #[error("the property {property} has the forbidden value {value}")]
    PropertyValue { property: PropertyId, value: u32 },
    #[error("a PUBLISH has neither a Topic Name nor a Topic Alias")]
    NoTopic,
    #[error("the Response Topic has a wildcard")]
    WildcardInResponseTopic,
    #[error("Authentication Data stands without an Authentication Method")]
    AuthenticationDataWithoutMethod,
    #[error("an AUTH has no Authentication Method")]
    AuthWithoutMethod,
    #[error("{packet} has no payload")]
    EmptyPayload { packet: PacketType },
    #[error("a Topic Filter asks for QoS 3")]
    SubscriptionQoS3,
    #[error("a Topic Filter has Retain Handling 3")]
    RetainHandling3,
    #[error("0x{value:02x} is no Reason Code of {packet}")]
    ReasonCode { packet: PacketType, value: u8 },
}

/// Where a property may stand; a Will has a section of its own within CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyPlace {
    Packet(PacketType),
    Will,
    /// Among the properties that a server keeps to pass on.
    Forwarded,
}

impl fmt::Display for PropertyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet(packet) => packet.fmt(f),
            Self::Will => f.write_str("the Will"),
            Self::Forwarded => f.write_str("a kept message"),
        }
    }
}
