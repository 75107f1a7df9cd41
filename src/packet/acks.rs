//! PUBACK, PUBREC, PUBREL and PUBCOMP, which look alike.

use super::encoder::Body;
use super::error::{DecodeError, PropertyPlace};
use super::primitives::{Reader, Sink};
use super::properties::{Property, PropertyReader, Section, put_property};
use super::selection::{Selecting, UserProperties};
use super::{PacketId, PacketType, ProtocolVersion, ReasonCode};

/// Makes a type of each, for a PUBACK is no PUBREC.
macro_rules! acknowledgements {
    ($($(#[$attribute:meta])* $name:ident;)+) => {$(
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name<'a> {
            pub id: PacketId,
            /// Always Success before 5.0, which had none.
            pub reason: ReasonCode,
            pub reason_string: Option<&'a str>,
            pub user_properties: UserProperties<'a>,
        }

        impl<'a> $name<'a> {
            /// One with a Reason Code and nothing more.
            pub fn new(id: PacketId, reason: ReasonCode) -> Self {
                Self { id, reason, reason_string: None, user_properties: UserProperties::default() }
            }

            #[inline]
            pub(super) fn decode(
                mut reader: Reader<'a>,
                version: ProtocolVersion,
            ) -> Result<Self, DecodeError> {
                let id = reader.packet_id()?;
                let Outcome { reason, explanation } =
                    Outcome::decode(reader, version, PacketType::$name)?;
                let Explanation { reason_string, user_properties } = explanation;
                Ok(Self { id, reason, reason_string, user_properties })
            }
        }

        impl Body for $name<'_> {
            fn first_byte(&self) -> u8 {
                PacketType::$name.first_byte()
            }

            fn write_body(&self, version: ProtocolVersion, out: &mut impl Sink) {
                out.put_u16(self.id.value());
                let explanation = Explanation {
                    reason_string: self.reason_string,
                    user_properties: self.user_properties.clone(),
                };
                Outcome { reason: self.reason, explanation }.write(version, out);
            }
        }
    )+};
}

acknowledgements! {
    /// The answer to a PUBLISH of QoS 1.
    PubAck;
    /// The first answer to a PUBLISH of QoS 2.
    PubRec;
    /// The answer to PUBREC.
    PubRel;
    /// The answer to PUBREL, which ends a QoS 2 exchange.
    PubComp;
}

/// What follows the Packet Identifier: nothing, a Reason Code, or a Reason Code and properties.
struct Outcome<'a> {
    reason: ReasonCode,
    explanation: Explanation<'a>,
}

impl<'a> Outcome<'a> {
    #[inline]
    fn decode(
        mut reader: Reader<'a>,
        version: ProtocolVersion,
        packet: PacketType,
    ) -> Result<Self, DecodeError> {
        // A Remaining Length of 2 means Success, one of 3 no properties (5.0 s3.4.2.1).
        let mut outcome = Self { reason: ReasonCode::Success, explanation: Explanation::default() };
        if version.is_v5() && !reader.is_empty() {
            outcome.reason = ReasonCode::read(&mut reader, packet)?;
            if !reader.is_empty() {
                outcome.explanation = Explanation::decode(&mut reader, packet)?;
            }
        }
        reader.finish()?;
        Ok(outcome)
    }

    fn write(&self, version: ProtocolVersion, out: &mut impl Sink) {
        let has_explanation = !self.explanation.is_empty();
        if version.is_v5() && (has_explanation || self.reason != ReasonCode::Success) {
            out.put_u8(self.reason.value());
            if has_explanation {
                self.explanation.write_section(out);
            }
        }
    }
}

/// The properties of all packets that have no other ones: Reason String and User Properties.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Explanation<'a> {
    pub(super) reason_string: Option<&'a str>,
    pub(super) user_properties: UserProperties<'a>,
}

impl<'a> Explanation<'a> {
    pub(super) fn decode(
        packet: &mut Reader<'a>,
        packet_type: PacketType,
    ) -> Result<Self, DecodeError> {
        let mut reader = PropertyReader::new(packet)?;
        let mut reason_string = None;
        let mut user_properties = Selecting::default();
        while let Some(property) = reader.next()? {
            match property {
                Property::ReasonString(text) => reason_string = Some(text),
                Property::UserProperty(_) => user_properties.add(&reader),
                other => return Err(other.not_allowed_in(PropertyPlace::Packet(packet_type))),
            }
        }
        let user_properties = UserProperties::new(user_properties.finish(&reader));
        Ok(Self { reason_string, user_properties })
    }

    fn is_empty(&self) -> bool {
        self.reason_string.is_none() && self.user_properties.is_empty()
    }
}

impl Section for Explanation<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        put_property(out, self.reason_string.map(Property::ReasonString));
        self.user_properties.write_properties(out);
    }
}
