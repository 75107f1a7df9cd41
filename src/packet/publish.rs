//! PUBLISH: an Application Message on its way.

use std::fmt;

use super::encoder::{Body, packet_length, put_fixed_header};
use super::error::{DecodeError, MalformedPacket, PropertyPlace, ProtocolViolation};
use super::forwarded::Forwarded;
use super::primitives::{Counter, Hidden, Reader, Sink};
use super::properties::{Property, PropertyReader, Section, put_property};
use super::selection::{Selecting, SubscriptionIds};
use super::{PacketId, PacketType, ProtocolVersion, QoS};

#[derive(Clone, PartialEq)]
pub struct Publish<'a> {
    pub delivery: Delivery,
    pub retain: bool,
    /// Not checked at all, since whoever reads it keeps the Topic Names it has seen.
    pub topic: &'a [u8],
    pub properties: PublishProperties<'a>,
    pub payload: &'a [u8],
}

/// QoS, DUP and Packet Identifier, of which only these combinations make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    AtMostOnce,
    AtLeastOnce { id: PacketId, dup: bool },
    ExactlyOnce { id: PacketId, dup: bool },
}

impl Delivery {
    pub fn qos(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce { .. } => QoS::AtLeastOnce,
            Self::ExactlyOnce { .. } => QoS::ExactlyOnce,
        }
    }

    #[inline]
    pub fn packet_id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce { id, .. } | Self::ExactlyOnce { id, .. } => Some(id),
        }
    }

    /// Reads the Packet Identifier, if the flags say that there is one.
    #[inline]
    fn read(first_byte: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let dup = first_byte & DUP != 0;
        match first_byte >> QOS_SHIFT & 0b11 {
            // [MQTT-3.3.1-2] [MQTT3-3.3.1-2]
            0 if dup => Err(MalformedPacket::DupWithQoS0.into()),
            // [MQTT-2.2.1-2] [MQTT3-2.3.1-5]
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce { id: reader.packet_id()?, dup }),
            2 => Ok(Self::ExactlyOnce { id: reader.packet_id()?, dup }),
            // [MQTT-3.3.1-4] [MQTT3-3.3.1-4]
            _ => Err(MalformedPacket::PublishQoS3.into()),
        }
    }
}

const DUP: u8 = 0b1000;
const QOS_SHIFT: u8 = 1;
const RETAIN: u8 = 0b0001;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublishProperties<'a> {
    /// 0 is handed on: refusing it has a Reason Code of its own, 0x94.
    pub topic_alias: Option<u16>,
    /// Message Expiry Interval in seconds.
    pub message_expiry: Option<u32>,
    /// Only a server may send them [MQTT-3.3.4-6], which is for the reader to check.
    pub subscription_ids: SubscriptionIds<'a>,
    pub forwarded: Forwarded<'a>,
}

/// What [`encode_publish_head`] appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishHead {
    /// Where the Packet Identifier stands, counted from the first byte appended.
    pub packet_id_at: Option<usize>,
    /// The length of the whole packet, payload included.
    pub length: usize,
}

/// Appends all of a PUBLISH but its payload, which the Remaining Length counts.
///
/// Packets that differ in nothing but DUP, RETAIN and Packet Identifier need this once: the first
/// byte and the two bytes at `packet_id_at` can be written over. Nobody can read a packet longer
/// than [`PACKET_BYTES_MAX`](super::PACKET_BYTES_MAX), which the caller has to see to.
#[inline]
pub fn encode_publish_head(
    publish: &Publish<'_>,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> PublishHead {
    let mut head = Counter::default();
    publish.write_head(version, &mut head);
    let remaining = head.0 + publish.payload.len();
    let length = packet_length(remaining);
    let fixed_header = length - remaining;

    out.reserve(fixed_header + head.0);
    put_fixed_header(out, publish.first_byte(), remaining);
    publish.write_head(version, out);
    let packet_id_at = publish.delivery.packet_id().map(|_| fixed_header + 2 + publish.topic.len());
    PublishHead { packet_id_at, length }
}

/// The length of the whole packet, payload included.
pub fn publish_length(publish: &Publish<'_>, version: ProtocolVersion) -> usize {
    packet_length(publish.body_length(version))
}

/// The first byte of a PUBLISH, to be written over that of an encoded one.
#[inline]
pub fn publish_first_byte(delivery: Delivery, retain: bool) -> u8 {
    let dup = match delivery {
        Delivery::AtMostOnce => false,
        Delivery::AtLeastOnce { dup, .. } | Delivery::ExactlyOnce { dup, .. } => dup,
    };
    PacketType::Publish.first_byte()
        | if dup { DUP } else { 0 }
        | delivery.qos().bits() << QOS_SHIFT
        | if retain { RETAIN } else { 0 }
}

impl<'a> Publish<'a> {
    #[inline(always)] // As Frame::decode, and for its reason.
    pub(super) fn decode(
        first_byte: u8,
        mut reader: Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let topic = reader.binary()?;
        let delivery = Delivery::read(first_byte, &mut reader)?;
        let properties = if version.is_v5() {
            PublishProperties::decode(&mut reader)?
        } else {
            PublishProperties::default()
        };
        // [MQTT-3.3.2-1]; before 5.0 there are no aliases.
        if topic.is_empty() && properties.topic_alias.is_none() {
            return Err(ProtocolViolation::NoTopic.into());
        }
        let retain = first_byte & RETAIN != 0;
        Ok(Self { delivery, retain, topic, properties, payload: reader.rest() })
    }

    /// Writes what stands between the fixed header and the payload.
    #[inline]
    fn write_head(&self, version: ProtocolVersion, out: &mut impl Sink) {
        out.put_binary(self.topic);
        if let Some(id) = self.delivery.packet_id() {
            out.put_u16(id.value());
        }
        if version.is_v5() {
            self.properties.write_section(out);
        }
    }
}

impl Body for Publish<'_> {
    #[inline]
    fn first_byte(&self) -> u8 {
        publish_first_byte(self.delivery, self.retain)
    }

    fn write_body(&self, version: ProtocolVersion, out: &mut impl Sink) {
        self.write_head(version, out);
        out.put_bytes(self.payload);
    }
}

impl<'a> PublishProperties<'a> {
    #[inline]
    fn decode(packet: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let reader = PropertyReader::new(packet)?;
        if reader.section().is_empty() { Ok(Self::default()) } else { Self::read(reader) }
    }

    fn read(mut reader: PropertyReader<'a>) -> Result<Self, DecodeError> {
        let mut topic_alias = None;
        let mut message_expiry = None;
        let mut subscription_ids = Selecting::default();
        let mut forwarded = Selecting::default();
        loop {
            while reader.pass_user_property()? {
                forwarded.add(&reader);
            }
            let Some(property) = reader.next()? else { break };
            match property {
                Property::TopicAlias(alias) => topic_alias = Some(alias),
                Property::MessageExpiryInterval(seconds) => message_expiry = Some(seconds),
                Property::SubscriptionIdentifier(_) => subscription_ids.add(&reader),
                Property::PayloadFormatIndicator(_)
                | Property::ContentType(_)
                | Property::ResponseTopic(_)
                | Property::CorrelationData(_)
                | Property::UserProperty(_) => forwarded.add(&reader),
                other => {
                    let place = PropertyPlace::Packet(PacketType::Publish);
                    return Err(other.not_allowed_in(place));
                }
            }
        }
        Ok(Self {
            topic_alias,
            message_expiry,
            subscription_ids: SubscriptionIds::new(subscription_ids.finish(&reader)),
            forwarded: Forwarded::new(forwarded.finish(&reader)),
        })
    }
}

impl Section for PublishProperties<'_> {
    #[inline]
    fn write_properties(&self, out: &mut impl Sink) {
        put_property(out, self.topic_alias.map(Property::TopicAlias));
        put_property(out, self.message_expiry.map(Property::MessageExpiryInterval));
        self.subscription_ids.write(out);
        self.forwarded.write(out);
    }
}

impl fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("delivery", &self.delivery)
            .field("retain", &self.retain)
            .field("topic", &String::from_utf8_lossy(self.topic))
            .field("properties", &self.properties)
            .field("payload", &Hidden(self.payload))
            .finish()
    }
}
