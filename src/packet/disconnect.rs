//! DISCONNECT: the last packet of a connection, from either side.

use super::encoder::Body;
use super::error::{DecodeError, PropertyPlace};
use super::primitives::{Reader, Sink};
use super::properties::{Property, PropertyReader, Section, put_property};
use super::selection::{Selecting, UserProperties};
use super::{PacketType, ProtocolVersion, ReasonCode};

#[derive(Clone, Debug, PartialEq)]
pub struct Disconnect<'a> {
    /// Always Normal disconnection before 5.0, which had none.
    pub reason: ReasonCode,
    /// Session Expiry Interval in seconds; only a client may send it [MQTT-3.14.2-2].
    pub session_expiry: Option<u32>,
    pub reason_string: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

impl<'a> Disconnect<'a> {
    /// One with a Reason Code and nothing more.
    pub fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            session_expiry: None,
            reason_string: None,
            server_reference: None,
            user_properties: UserProperties::default(),
        }
    }

    pub(super) fn decode(
        mut reader: Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        // A Remaining Length of 0 means Normal disconnection, one of 1 no properties
        // (5.0 s3.14.2.1).
        let mut disconnect = Self::new(ReasonCode::NORMAL_DISCONNECTION);
        if version.is_v5() && !reader.is_empty() {
            disconnect.reason = ReasonCode::read(&mut reader, PacketType::Disconnect)?;
            if !reader.is_empty() {
                disconnect.read_properties(PropertyReader::new(&mut reader)?)?;
            }
        }
        reader.finish()?;
        Ok(disconnect)
    }

    fn read_properties(&mut self, mut reader: PropertyReader<'a>) -> Result<(), DecodeError> {
        let mut user_properties = Selecting::default();
        while let Some(property) = reader.next()? {
            match property {
                Property::SessionExpiryInterval(seconds) => self.session_expiry = Some(seconds),
                Property::ReasonString(text) => self.reason_string = Some(text),
                Property::ServerReference(server) => self.server_reference = Some(server),
                Property::UserProperty(_) => user_properties.add(&reader),
                other => {
                    let place = PropertyPlace::Packet(PacketType::Disconnect);
                    return Err(other.not_allowed_in(place));
                }
            }
        }
        self.user_properties = UserProperties::new(user_properties.finish(&reader));
        Ok(())
    }
}

impl Body for Disconnect<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::Disconnect.first_byte()
    }

    fn write_body(&self, version: ProtocolVersion, out: &mut impl Sink) {
        let has_properties = self.properties_length() > 0;
        let has_reason = self.reason != ReasonCode::NORMAL_DISCONNECTION;
        if version.is_v5() && (has_properties || has_reason) {
            out.put_u8(self.reason.value());
            if has_properties {
                self.write_section(out);
            }
        }
    }
}

impl Section for Disconnect<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        put_property(out, self.session_expiry.map(Property::SessionExpiryInterval));
        put_property(out, self.reason_string.map(Property::ReasonString));
        put_property(out, self.server_reference.map(Property::ServerReference));
        self.user_properties.write_properties(out);
    }
}
