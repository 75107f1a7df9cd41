//! From bytes to packets: where a packet ends, and what it is.

use super::error::{DecodeError, MalformedPacket};
use super::primitives::{Reader, var_int};
use super::{
    Auth, ConnAck, Connect, Disconnect, PacketType, ProtocolVersion, PubAck, PubComp, PubRec,
    PubRel, Publish, SubAck, Subscribe, UnsubAck, Unsubscribe,
};

/// The longest packet there can be: the first byte, four of length and what those can tell.
pub const PACKET_BYTES_MAX: usize = 5 + 268_435_455;

/// Whether a buffer begins with a whole packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing<'a> {
    /// `needed` is the length of the whole packet, once known.
    Incomplete {
        needed: Option<usize>,
    },
    Complete(Frame<'a>),
}

/// One packet whose inside has not been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub first_byte: u8,
    /// What follows the Remaining Length.
    pub body: &'a [u8],
    /// The length of the whole packet.
    pub length: usize,
}

/// A packet as a view of the buffer it was read from.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    PubAck(PubAck<'a>),
    PubRec(PubRec<'a>),
    PubRel(PubRel<'a>),
    PubComp(PubComp<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(UnsubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// Finds the packet that `buffer` begins with, and refuses it as soon as its first bytes show that
/// it is no packet or longer than `packet_bytes_max`.
#[inline]
pub fn frame(buffer: &[u8], packet_bytes_max: usize) -> Result<Framing<'_>, DecodeError> {
    let Some((&first_byte, rest)) = buffer.split_first() else {
        return Ok(Framing::Incomplete { needed: None });
    };
    packet_type(first_byte)?;
    let Some((remaining, length_bytes)) = var_int(rest)? else {
        return Ok(Framing::Incomplete { needed: None });
    };
    let length = usize::try_from(remaining).unwrap_or(usize::MAX).saturating_add(1 + length_bytes);
    if length > packet_bytes_max {
        return Err(DecodeError::TooLarge { length, max: packet_bytes_max });
    }
    Ok(match buffer.get(1 + length_bytes..length) {
        Some(body) => Framing::Complete(Frame { first_byte, body, length }),
        None => Framing::Incomplete { needed: Some(length) },
    })
}

impl<'a> Frame<'a> {
    /// Reads the packet in a version that both sides have agreed on; a CONNECT in its own one.
    // Called from two places it is not inlined otherwise, and handing a `Packet` over costs 0.008
    // µs.
    #[inline(always)]
    pub fn decode(&self, version: ProtocolVersion) -> Result<Packet<'a>, DecodeError> {
        let packet_type = self.packet_type(version)?;
        let reader = Reader::new(self.body);
        Ok(match packet_type {
            PacketType::Publish => {
                Packet::Publish(Publish::decode(self.first_byte, reader, version)?)
            }
            PacketType::Connect => Packet::Connect(Connect::decode(reader)?),
            PacketType::ConnAck => Packet::ConnAck(ConnAck::decode(reader, version)?),
            PacketType::PubAck => Packet::PubAck(PubAck::decode(reader, version)?),
            PacketType::PubRec => Packet::PubRec(PubRec::decode(reader, version)?),
            PacketType::PubRel => Packet::PubRel(PubRel::decode(reader, version)?),
            PacketType::PubComp => Packet::PubComp(PubComp::decode(reader, version)?),
            PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(reader, version)?),
            PacketType::SubAck => Packet::SubAck(SubAck::decode(reader, version)?),
            PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(reader, version)?),
            PacketType::UnsubAck => Packet::UnsubAck(UnsubAck::decode(reader, version)?),
            PacketType::PingReq => {
                reader.finish()?;
                Packet::PingReq
            }
            PacketType::PingResp => {
                reader.finish()?;
                Packet::PingResp
            }
            PacketType::Disconnect => Packet::Disconnect(Disconnect::decode(reader, version)?),
            PacketType::Auth => Packet::Auth(Auth::decode(reader)?),
        })
    }

    /// Reads the first packet of a connection, which tells the version of the others.
    pub fn decode_connect(&self) -> Result<Connect<'a>, DecodeError> {
        // CONNECT has the same flags in all versions.
        let packet = self.packet_type(ProtocolVersion::V5)?;
        if packet != PacketType::Connect {
            return Err(DecodeError::NotConnect { packet });
        }
        Connect::decode(Reader::new(self.body))
    }

    #[inline]
    fn packet_type(&self, version: ProtocolVersion) -> Result<PacketType, MalformedPacket> {
        let first_byte = self.first_byte;
        let packet = packet_type(first_byte)?;
        if packet == PacketType::Auth && !version.is_v5() {
            return Err(MalformedPacket::UnknownPacketType { first_byte });
        }
        // [MQTT-2.1.3-1] [MQTT3-2.2.2-2]
        let flags_are_free = packet == PacketType::Publish || version == ProtocolVersion::V31;
        if !flags_are_free && first_byte != packet.first_byte() {
            return Err(MalformedPacket::WrongFlags { packet, first_byte });
        }
        Ok(packet)
    }
}

/// The kind of packet that begins with this byte in some version.
#[inline]
fn packet_type(first_byte: u8) -> Result<PacketType, MalformedPacket> {
    // 3.1 had DUP in whatever is answered, so that PUBREL, SUBSCRIBE and UNSUBSCRIBE could be
    // sent again.
    const DUP: u8 = 0b1000;
    let packet = PacketType::from_first_byte(first_byte)
        .ok_or(MalformedPacket::UnknownPacketType { first_byte })?;
    let is_right = match packet {
        PacketType::Publish => true,
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => {
            first_byte & !DUP == packet.first_byte()
        }
        PacketType::Connect
        | PacketType::ConnAck
        | PacketType::PubAck
        | PacketType::PubRec
        | PacketType::PubComp
        | PacketType::SubAck
        | PacketType::UnsubAck
        | PacketType::PingReq
        | PacketType::PingResp
        | PacketType::Disconnect
        | PacketType::Auth => first_byte == packet.first_byte(),
    };
    if is_right { Ok(packet) } else { Err(MalformedPacket::WrongFlags { packet, first_byte }) }
}
