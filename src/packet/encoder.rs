//! From packets to bytes: the fixed header, which needs the length of what follows.

use super::primitives::{Counter, Sink, var_int_length};
use super::{
    Auth, ConnAck, Connect, Disconnect, Packet, PacketType, ProtocolVersion, PubAck, PubComp,
    PubRec, PubRel, Publish, SubAck, Subscribe, UnsubAck, Unsubscribe,
};

/// A packet from its second field on: all that the Remaining Length counts.
pub(super) trait Body {
    fn first_byte(&self) -> u8;

    fn write_body(&self, version: ProtocolVersion, out: &mut impl Sink);

    fn body_length(&self, version: ProtocolVersion) -> usize {
        let mut counter = Counter::default();
        self.write_body(version, &mut counter);
        counter.0
    }
}

/// The length of a packet with this Remaining Length.
#[inline]
pub(super) fn packet_length(remaining: usize) -> usize {
    1 + var_int_length(remaining) + remaining
}

/// The length of a SUBACK or UNSUBACK of 5.0 with so many Reason Codes and no properties.
pub fn suback_length(codes: usize) -> usize {
    // After the Packet Identifier and the Property Length.
    packet_length(2 + 1 + codes)
}

/// Writes the first byte and the Remaining Length.
#[inline]
pub(super) fn put_fixed_header(out: &mut impl Sink, first_byte: u8, remaining: usize) {
    out.put_u8(first_byte);
    out.put_var_int(remaining);
}

fn encode(packet: &impl Body, version: ProtocolVersion, out: &mut Vec<u8>) {
    let remaining = packet.body_length(version);
    out.reserve(packet_length(remaining));
    put_fixed_header(out, packet.first_byte(), remaining);
    packet.write_body(version, out);
}

macro_rules! encodable {
    ($($name:ident),+) => {$(
        impl $name<'_> {
            /// The length of the whole packet.
            pub fn encoded_len(&self, version: ProtocolVersion) -> usize {
                packet_length(self.body_length(version))
            }

            /// Appends the packet.
            pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
                encode(self, version, out);
            }
        }
    )+};
}

encodable!(
    Connect,
    ConnAck,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    SubAck,
    Unsubscribe,
    UnsubAck,
    Disconnect,
    Auth
);

/// PINGREQ and PINGRESP, of which there is but one each.
struct Ping(PacketType);

impl Body for Ping {
    fn first_byte(&self) -> u8 {
        self.0.first_byte()
    }

    fn write_body(&self, _version: ProtocolVersion, _out: &mut impl Sink) {}
}

impl Packet<'_> {
    /// The length of the whole packet.
    pub fn encoded_len(&self, version: ProtocolVersion) -> usize {
        match self {
            Self::Connect(connect) => connect.encoded_len(version),
            Self::ConnAck(connack) => connack.encoded_len(version),
            Self::Publish(publish) => publish.encoded_len(version),
            Self::PubAck(puback) => puback.encoded_len(version),
            Self::PubRec(pubrec) => pubrec.encoded_len(version),
            Self::PubRel(pubrel) => pubrel.encoded_len(version),
            Self::PubComp(pubcomp) => pubcomp.encoded_len(version),
            Self::Subscribe(subscribe) => subscribe.encoded_len(version),
            Self::SubAck(suback) => suback.encoded_len(version),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encoded_len(version),
            Self::UnsubAck(unsuback) => unsuback.encoded_len(version),
            Self::PingReq | Self::PingResp => packet_length(0),
            Self::Disconnect(disconnect) => disconnect.encoded_len(version),
            Self::Auth(auth) => auth.encoded_len(version),
        }
    }

    /// Appends the packet; a CONNECT in its own version.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        match self {
            Self::Connect(connect) => connect.encode(version, out),
            Self::ConnAck(connack) => connack.encode(version, out),
            Self::Publish(publish) => publish.encode(version, out),
            Self::PubAck(puback) => puback.encode(version, out),
            Self::PubRec(pubrec) => pubrec.encode(version, out),
            Self::PubRel(pubrel) => pubrel.encode(version, out),
            Self::PubComp(pubcomp) => pubcomp.encode(version, out),
            Self::Subscribe(subscribe) => subscribe.encode(version, out),
            Self::SubAck(suback) => suback.encode(version, out),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encode(version, out),
            Self::UnsubAck(unsuback) => unsuback.encode(version, out),
            Self::PingReq => encode(&Ping(PacketType::PingReq), version, out),
            Self::PingResp => encode(&Ping(PacketType::PingResp), version, out),
            Self::Disconnect(disconnect) => disconnect.encode(version, out),
            Self::Auth(auth) => auth.encode(version, out),
        }
    }
}
