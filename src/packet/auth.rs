//! AUTH: one step of an extended authentication, in 5.0 only.

use super::encoder::Body;
use super::error::{DecodeError, PropertyPlace, ProtocolViolation};
use super::primitives::{Reader, Sink};
use super::properties::{Property, PropertyReader, Section, put_property};
use super::selection::{Selecting, UserProperties};
use super::{AuthenticationData, PacketType, ProtocolVersion, ReasonCode};

#[derive(Clone, Debug, PartialEq)]
pub struct Auth<'a> {
    pub reason: ReasonCode,
    /// Absent only in the short form, an AUTH without a body.
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<AuthenticationData<'a>>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

impl<'a> Auth<'a> {
    /// One with a Reason Code and nothing more.
    pub fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            authentication_method: None,
            authentication_data: None,
            reason_string: None,
            user_properties: UserProperties::default(),
        }
    }

    pub(super) fn decode(mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let mut auth = Self::new(ReasonCode::Success);
        if !reader.is_empty() {
            auth.reason = ReasonCode::read(&mut reader, PacketType::Auth)?;
            auth.read_properties(PropertyReader::new(&mut reader)?)?;
        }
        reader.finish()?;
        Ok(auth)
    }

    fn read_properties(&mut self, mut reader: PropertyReader<'a>) -> Result<(), DecodeError> {
        let mut user_properties = Selecting::default();
        while let Some(property) = reader.next()? {
            match property {
                Property::AuthenticationMethod(method) => self.authentication_method = Some(method),
                Property::AuthenticationData(data) => self.authentication_data = Some(data),
                Property::ReasonString(text) => self.reason_string = Some(text),
                Property::UserProperty(_) => user_properties.add(&reader),
                other => {
                    return Err(other.not_allowed_in(PropertyPlace::Packet(PacketType::Auth)));
                }
            }
        }
        // 5.0 s3.15.2.2.2
        if self.authentication_method.is_none() {
            return Err(ProtocolViolation::AuthWithoutMethod.into());
        }
        self.user_properties = UserProperties::new(user_properties.finish(&reader));
        Ok(())
    }
}

impl Body for Auth<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::Auth.first_byte()
    }

    fn write_body(&self, _version: ProtocolVersion, out: &mut impl Sink) {
        // Both are left out or neither (5.0 s3.15.2.1).
        if self.reason != ReasonCode::Success || self.properties_length() > 0 {
            out.put_u8(self.reason.value());
            self.write_section(out);
        }
    }
}

impl Section for Auth<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        put_property(out, self.authentication_method.map(Property::AuthenticationMethod));
        put_property(out, self.authentication_data.map(Property::AuthenticationData));
        put_property(out, self.reason_string.map(Property::ReasonString));
        self.user_properties.write_properties(out);
    }
}
