//! UNSUBSCRIBE and UNSUBACK.

use super::acks::Explanation;
use super::encoder::Body;
use super::error::{DecodeError, PropertyPlace, ProtocolViolation};
use super::primitives::{Reader, Sink, compare_and_print_by_elements};
use super::properties::{Property, PropertyReader, Section};
use super::reason_code::ReasonCodes;
use super::selection::{Selecting, UserProperties};
use super::{PacketId, PacketType, ProtocolVersion};

#[derive(Clone, Debug, PartialEq)]
pub struct Unsubscribe<'a> {
    pub id: PacketId,
    pub user_properties: UserProperties<'a>,
    pub filters: TopicFilters<'a>,
}

/// The answer to UNSUBSCRIBE: one code for each filter, in their order; none before 5.0.
#[derive(Clone, Debug, PartialEq)]
pub struct UnsubAck<'a> {
    pub id: PacketId,
    pub codes: ReasonCodes<'a>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

/// The entries of an UNSUBSCRIBE, read one after another; UTF-8, but not yet Topic Filters.
#[derive(Clone, Default)]
pub struct TopicFilters<'a> {
    /// Strings, each of them valid.
    entries: Reader<'a>,
}

impl<'a> Iterator for TopicFilters<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.entries.string().ok()
    }
}

compare_and_print_by_elements!(TopicFilters);

/// The owned form of [`TopicFilters`], to make an UNSUBSCRIBE of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicFilterList(Vec<u8>);

impl TopicFilterList {
    pub fn push(&mut self, filter: &str) {
        self.0.put_string(filter);
    }

    pub fn as_view(&self) -> TopicFilters<'_> {
        TopicFilters { entries: Reader::new(&self.0) }
    }
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn decode(
        mut reader: Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let id = reader.packet_id()?;
        let user_properties = if version.is_v5() {
            read_user_properties(&mut reader)?
        } else {
            UserProperties::default()
        };
        let filters = TopicFilters::decode(reader)?;
        Ok(Self { id, user_properties, filters })
    }
}

impl Body for Unsubscribe<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::Unsubscribe.first_byte()
    }

    fn write_body(&self, version: ProtocolVersion, out: &mut impl Sink) {
        out.put_u16(self.id.value());
        if version.is_v5() {
            self.user_properties.write_section(out);
        }
        for filter in self.filters.clone() {
            out.put_string(filter);
        }
    }
}

fn read_user_properties<'a>(packet: &mut Reader<'a>) -> Result<UserProperties<'a>, DecodeError> {
    let mut reader = PropertyReader::new(packet)?;
    let mut user_properties = Selecting::default();
    while let Some(property) = reader.next()? {
        match property {
            Property::UserProperty(_) => user_properties.add(&reader),
            other => {
                let place = PropertyPlace::Packet(PacketType::Unsubscribe);
                return Err(other.not_allowed_in(place));
            }
        }
    }
    Ok(UserProperties::new(user_properties.finish(&reader)))
}

impl<'a> TopicFilters<'a> {
    /// Checks the payload of an UNSUBSCRIBE, so that it can be read without checks.
    fn decode(entries: Reader<'a>) -> Result<Self, DecodeError> {
        // [MQTT-3.10.3-2] [MQTT3-3.10.3-2]
        if entries.is_empty() {
            let packet = PacketType::Unsubscribe;
            return Err(ProtocolViolation::EmptyPayload { packet }.into());
        }
        let mut reader = entries;
        while !reader.is_empty() {
            // [MQTT-3.10.3-1] [MQTT3-3.10.3-1]
            reader.string()?;
        }
        Ok(Self { entries })
    }
}

impl<'a> UnsubAck<'a> {
    pub(super) fn decode(
        mut reader: Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let id = reader.packet_id()?;
        if !version.is_v5() {
            reader.finish()?;
            let codes = ReasonCodes::from_slice(&[]);
            let user_properties = UserProperties::default();
            return Ok(Self { id, codes, reason_string: None, user_properties });
        }
        let Explanation { reason_string, user_properties } =
            Explanation::decode(&mut reader, PacketType::UnsubAck)?;
        let codes = ReasonCodes::decode(reader, PacketType::UnsubAck, version)?;
        Ok(Self { id, codes, reason_string, user_properties })
    }
}

impl Body for UnsubAck<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::UnsubAck.first_byte()
    }

    fn write_body(&self, version: ProtocolVersion, out: &mut impl Sink) {
        out.put_u16(self.id.value());
        if version.is_v5() {
            let user_properties = self.user_properties.clone();
            Explanation { reason_string: self.reason_string, user_properties }.write_section(out);
            // [MQTT-3.11.3-1]
            self.codes.write(version, out);
        }
    }
}
