//! SUBSCRIBE and SUBACK.

use super::acks::Explanation;
use super::encoder::Body;
use super::error::{DecodeError, MalformedPacket, PropertyPlace, ProtocolViolation};
use super::primitives::{Reader, Sink, compare_and_print_by_elements};
use super::properties::{Property, PropertyReader, Section, put_property};
use super::reason_code::ReasonCodes;
use super::selection::{Selecting, UserProperties};
use super::{PacketId, PacketType, ProtocolVersion, QoS, SubscriptionId};

#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe<'a> {
    pub id: PacketId,
    pub subscription_id: Option<SubscriptionId>,
    pub user_properties: UserProperties<'a>,
    pub filters: Filters<'a>,
}

/// The answer to SUBSCRIBE: one code for each filter, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct SubAck<'a> {
    pub id: PacketId,
    pub codes: ReasonCodes<'a>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

/// What a client asks of one Topic Filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    pub qos: QoS,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub retain_handling: RetainHandling,
}

/// When subscribing brings the Retained Messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    Always = 0,
    /// Only if the Subscription did not exist.
    IfNew = 1,
    Never = 2,
}

/// One entry of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterRequest<'a> {
    /// UTF-8, but not yet known to be a Topic Filter.
    pub filter: &'a str,
    pub options: SubscriptionOptions,
}

/// The entries of a SUBSCRIBE, read one after another.
#[derive(Clone, Default)]
pub struct Filters<'a> {
    /// Entries as 5.0 writes them, each of them valid; those of 3.1.1 read the same.
    entries: Reader<'a>,
}

impl<'a> Iterator for Filters<'a> {
    type Item = FilterRequest<'a>;

    fn next(&mut self) -> Option<FilterRequest<'a>> {
        let filter = self.entries.string().ok()?;
        let options = SubscriptionOptions::from_byte(self.entries.byte().ok()?).ok()?;
        Some(FilterRequest { filter, options })
    }
}

compare_and_print_by_elements!(Filters);

/// The owned form of [`Filters`], to make a SUBSCRIBE of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterList(Vec<u8>);

impl FilterList {
    pub fn push(&mut self, filter: &str, options: SubscriptionOptions) {
        self.0.put_string(filter);
        self.0.put_u8(options.to_byte());
    }

    pub fn as_view(&self) -> Filters<'_> {
        Filters { entries: Reader::new(&self.0) }
    }
}

impl<'a> Subscribe<'a> {
    pub(super) fn decode(
        mut reader: Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let id = reader.packet_id()?;
        let properties = if version.is_v5() {
            SubscribeProperties::decode(&mut reader)?
        } else {
            SubscribeProperties::default()
        };
        let SubscribeProperties { subscription_id, user_properties } = properties;
        let filters = Filters::decode(reader, version)?;
        Ok(Self { id, subscription_id, user_properties, filters })
    }
}

impl Body for Subscribe<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::Subscribe.first_byte()
    }

    fn write_body(&self, version: ProtocolVersion, out: &mut impl Sink) {
        out.put_u16(self.id.value());
        if version.is_v5() {
            let user_properties = self.user_properties.clone();
            SubscribeProperties { subscription_id: self.subscription_id, user_properties }
                .write_section(out);
        }
        for FilterRequest { filter, options } in self.filters.clone() {
            out.put_string(filter);
            out.put_u8(if version.is_v5() { options.to_byte() } else { options.qos.bits() });
        }
    }
}

#[derive(Default)]
struct SubscribeProperties<'a> {
    subscription_id: Option<SubscriptionId>,
    user_properties: UserProperties<'a>,
}

impl<'a> SubscribeProperties<'a> {
    fn decode(packet: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut reader = PropertyReader::new(packet)?;
        let mut subscription_id = None;
        let mut user_properties = Selecting::default();
        while let Some(property) = reader.next()? {
            match property {
                // Only a PUBLISH may have several (5.0 s3.8.2.1.2).
                Property::SubscriptionIdentifier(_) if subscription_id.is_some() => {
                    let property = property.id();
                    return Err(ProtocolViolation::PropertyTwice { property }.into());
                }
                Property::SubscriptionIdentifier(id) => subscription_id = Some(id),
                Property::UserProperty(_) => user_properties.add(&reader),
                other => {
                    let place = PropertyPlace::Packet(PacketType::Subscribe);
                    return Err(other.not_allowed_in(place));
                }
            }
        }
        let user_properties = UserProperties::new(user_properties.finish(&reader));
        Ok(Self { subscription_id, user_properties })
    }
}

impl Section for SubscribeProperties<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        put_property(out, self.subscription_id.map(Property::SubscriptionIdentifier));
        self.user_properties.write_properties(out);
    }
}

impl<'a> Filters<'a> {
    /// Checks the payload of a SUBSCRIBE, so that it can be read without checks.
    fn decode(entries: Reader<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        // [MQTT-3.8.3-2] [MQTT3-3.8.3-3]
        if entries.is_empty() {
            let packet = PacketType::Subscribe;
            return Err(ProtocolViolation::EmptyPayload { packet }.into());
        }
        let mut reader = entries;
        while !reader.is_empty() {
            // [MQTT-3.8.3-1] [MQTT3-3.8.3-1]
            reader.string()?;
            let options = reader.byte()?;
            // [MQTT3-3-8.3-4]: before 5.0 there was but the QoS.
            if !version.is_v5() && QoS::from_bits(options).is_none() {
                return Err(MalformedPacket::ReservedSubscriptionOptions { options }.into());
            }
            SubscriptionOptions::from_byte(options)?;
        }
        Ok(Self { entries })
    }
}

const NO_LOCAL: u8 = 0b0000_0100;
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
const RETAIN_HANDLING_SHIFT: u8 = 4;
const RESERVED: u8 = 0b1100_0000;

impl SubscriptionOptions {
    /// What a subscription of 3.1 or 3.1.1 means.
    pub fn new(qos: QoS) -> Self {
        Self {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Always,
        }
    }

    /// Reads the options byte of 5.0.
    pub fn from_byte(options: u8) -> Result<Self, DecodeError> {
        // [MQTT-3.8.3-5]
        if options & RESERVED != 0 {
            return Err(MalformedPacket::ReservedSubscriptionOptions { options }.into());
        }
        let retain_handling = match options >> RETAIN_HANDLING_SHIFT {
            0 => RetainHandling::Always,
            1 => RetainHandling::IfNew,
            2 => RetainHandling::Never,
            _ => return Err(ProtocolViolation::RetainHandling3.into()),
        };
        Ok(Self {
            qos: QoS::from_bits(options & 0b11).ok_or(ProtocolViolation::SubscriptionQoS3)?,
            no_local: options & NO_LOCAL != 0,
            retain_as_published: options & RETAIN_AS_PUBLISHED != 0,
            retain_handling,
        })
    }

    pub fn to_byte(self) -> u8 {
        self.qos.bits()
            | if self.no_local { NO_LOCAL } else { 0 }
            | if self.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 }
            | (self.retain_handling as u8) << RETAIN_HANDLING_SHIFT
    }
}

impl<'a> SubAck<'a> {
    pub(super) fn decode(
        mut reader: Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let id = reader.packet_id()?;
        let explanation = if version.is_v5() {
            Explanation::decode(&mut reader, PacketType::SubAck)?
        } else {
            Explanation::default()
        };
        let Explanation { reason_string, user_properties } = explanation;
        let codes = ReasonCodes::decode(reader, PacketType::SubAck, version)?;
        Ok(Self { id, codes, reason_string, user_properties })
    }
}

impl Body for SubAck<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::SubAck.first_byte()
    }

    fn write_body(&self, version: ProtocolVersion, out: &mut impl Sink) {
        out.put_u16(self.id.value());
        if version.is_v5() {
            let user_properties = self.user_properties.clone();
            Explanation { reason_string: self.reason_string, user_properties }.write_section(out);
        }
        // [MQTT-3.9.3-1] [MQTT3-3.9.3-1]
        self.codes.write(version, out);
    }
}
