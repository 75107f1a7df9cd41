//! The properties of 5.0: their numbers, names and types, and the reading of a property section.
//!
//! Which property may stand where is said by the `match` of each packet that reads them; all but
//! the User Property and the Subscription Identifier stand once.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;

use super::error::{DecodeError, MalformedPacket, PropertyPlace, ProtocolViolation};
use super::primitives::{Counter, Reader, Sink};
use super::{AuthenticationData, PayloadFormatIndicator, QoS, ReceiveMaximum, SubscriptionId};

/// Lists the properties once, and makes of the list their numbers, names, types, reading and
/// writing.
macro_rules! properties {
    ($($id:literal $name:ident($value:ty), $text:literal;)+) => {
        /// The number of a property.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum PropertyId {
            $($name = $id,)+
        }

        impl PropertyId {
            pub fn from_u8(id: u8) -> Option<Self> {
                match id {
                    $($id => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// The standard's name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }

        /// A property and its value.
        #[expect(clippy::enum_variant_names, reason = "User Property is the standard's name")]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub(super) enum Property<'a> {
            $($name($value),)+
        }

        impl<'a> Property<'a> {
            pub(super) fn id(&self) -> PropertyId {
                match self {
                    $(Self::$name(_) => PropertyId::$name,)+
                }
            }

            #[inline]
            fn read_value(id: PropertyId, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
                Ok(match id {
                    $(PropertyId::$name => Self::$name(Value::read(id, reader)?),)+
                })
            }

            #[inline]
            pub(super) fn write(&self, out: &mut impl Sink) {
                match *self {
                    $(Self::$name(value) => {
                        out.put_u8($id);
                        value.write(out);
                    })+
                }
            }
        }
    };
}

properties! {
    0x01 PayloadFormatIndicator(PayloadFormatIndicator), "Payload Format Indicator";
    0x02 MessageExpiryInterval(u32), "Message Expiry Interval";
    0x03 ContentType(&'a str), "Content Type";
    0x08 ResponseTopic(ResponseTopic<'a>), "Response Topic";
    0x09 CorrelationData(&'a [u8]), "Correlation Data";
    0x0B SubscriptionIdentifier(SubscriptionId), "Subscription Identifier";
    0x11 SessionExpiryInterval(u32), "Session Expiry Interval";
    0x12 AssignedClientIdentifier(&'a str), "Assigned Client Identifier";
    0x13 ServerKeepAlive(u16), "Server Keep Alive";
    0x15 AuthenticationMethod(&'a str), "Authentication Method";
    0x16 AuthenticationData(AuthenticationData<'a>), "Authentication Data";
    0x17 RequestProblemInformation(bool), "Request Problem Information";
    0x18 WillDelayInterval(u32), "Will Delay Interval";
    0x19 RequestResponseInformation(bool), "Request Response Information";
    0x1A ResponseInformation(&'a str), "Response Information";
    0x1C ServerReference(&'a str), "Server Reference";
    0x1F ReasonString(&'a str), "Reason String";
    0x21 ReceiveMaximum(ReceiveMaximum), "Receive Maximum";
    0x22 TopicAliasMaximum(u16), "Topic Alias Maximum";
    0x23 TopicAlias(u16), "Topic Alias";
    0x24 MaximumQoS(QoS), "Maximum QoS";
    0x25 RetainAvailable(bool), "Retain Available";
    0x26 UserProperty((&'a str, &'a str)), "User Property";
    0x27 MaximumPacketSize(NonZeroU32), "Maximum Packet Size";
    0x28 WildcardSubscriptionAvailable(bool), "Wildcard Subscription Available";
    0x29 SubscriptionIdentifierAvailable(bool), "Subscription Identifier Available";
    0x2A SharedSubscriptionAvailable(bool), "Shared Subscription Available";
}

impl PropertyId {
    fn may_be_repeated(self) -> bool {
        matches!(self, Self::UserProperty | Self::SubscriptionIdentifier)
    }
}

impl fmt::Display for PropertyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02x} ({})", *self as u8, self.name())
    }
}

impl<'a> Property<'a> {
    /// Reads one property, be it allowed here or not.
    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let id = PropertyId::read(reader)?;
        Self::read_value(id, reader)
    }

    pub(super) fn not_allowed_in(&self, place: PropertyPlace) -> DecodeError {
        MalformedPacket::PropertyNotAllowed { property: self.id(), place }.into()
    }
}

impl PropertyId {
    /// A property's number is a variable byte integer, but none needs more than one byte yet.
    #[inline]
    fn read(reader: &mut Reader<'_>) -> Result<Self, MalformedPacket> {
        let id = reader.byte()?;
        Self::from_u8(id).ok_or(MalformedPacket::UnknownProperty { id })
    }
}

/// Reads the properties of one section, each once unless it may be repeated.
#[derive(Debug)]
pub(super) struct PropertyReader<'a> {
    section: &'a [u8],
    reader: Reader<'a>,
    /// Where the last property begins.
    start: usize,
    /// One bit for each number read so far.
    seen: u64,
}

impl<'a> PropertyReader<'a> {
    /// Takes a section with its length off `packet`.
    #[inline]
    pub(super) fn new(packet: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let length = packet.var_int()?;
        let section =
            packet.take(usize::try_from(length).map_err(|_| MalformedPacket::FieldTooLong)?)?;
        Ok(Self::of_section(section))
    }

    pub(super) fn of_section(section: &'a [u8]) -> Self {
        Self { section, reader: Reader::new(section), start: 0, seen: 0 }
    }

    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Property<'a>>, DecodeError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        self.start = self.end();
        let id = PropertyId::read(&mut self.reader)?;
        let bit = 1 << id as u8;
        if self.seen & bit != 0 && !id.may_be_repeated() {
            return Err(ProtocolViolation::PropertyTwice { property: id }.into());
        }
        self.seen |= bit;
        Property::read_value(id, &mut self.reader).map(Some)
    }

    /// Passes a User Property, if one comes next: who only hands them on need not read them.
    #[inline]
    pub(super) fn pass_user_property(&mut self) -> Result<bool, DecodeError> {
        let mut reader = self.reader;
        if !matches!(reader.byte(), Ok(id) if id == PropertyId::UserProperty as u8) {
            return Ok(false);
        }
        reader.pass_string()?;
        reader.pass_string()?;
        self.start = self.end();
        self.reader = reader;
        Ok(true)
    }

    pub(super) fn section(&self) -> &'a [u8] {
        self.section
    }

    /// Where in the section the last property stands.
    pub(super) fn extent(&self) -> Range<usize> {
        self.start..self.end()
    }

    fn end(&self) -> usize {
        self.section.len() - self.reader.len()
    }
}

/// The Topic Name of a response, so that it has no wildcard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ResponseTopic<'a>(pub(super) &'a str);

/// A type that properties have.
trait Value<'a>: Sized {
    fn read(id: PropertyId, reader: &mut Reader<'a>) -> Result<Self, DecodeError>;

    fn write(self, out: &mut impl Sink);
}

/// Hands on a value that was read, or refuses the number it was made of.
fn permitted<T>(id: PropertyId, value: Option<T>, read: impl Into<u32>) -> Result<T, DecodeError> {
    let forbidden = ProtocolViolation::PropertyValue { property: id, value: read.into() };
    value.ok_or(forbidden.into())
}

impl Value<'_> for bool {
    fn read(id: PropertyId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let byte = reader.byte()?;
        permitted(id, (byte <= 1).then_some(byte == 1), byte)
    }

    fn write(self, out: &mut impl Sink) {
        out.put_u8(u8::from(self));
    }
}

impl Value<'_> for PayloadFormatIndicator {
    fn read(id: PropertyId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let utf8 = bool::read(id, reader)?;
        Ok(if utf8 { Self::Utf8 } else { Self::Unspecified })
    }

    fn write(self, out: &mut impl Sink) {
        out.put_u8(self as u8);
    }
}

/// Only as Maximum QoS, which is 0 or 1: a server that supports QoS 2 sends none.
impl Value<'_> for QoS {
    fn read(id: PropertyId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let byte = reader.byte()?;
        permitted(id, Self::from_bits(byte).filter(|qos| *qos < Self::ExactlyOnce), byte)
    }

    fn write(self, out: &mut impl Sink) {
        out.put_u8(self.bits());
    }
}

impl Value<'_> for u16 {
    fn read(_id: PropertyId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(reader.u16()?)
    }

    fn write(self, out: &mut impl Sink) {
        out.put_u16(self);
    }
}

impl Value<'_> for ReceiveMaximum {
    fn read(id: PropertyId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let value = reader.u16()?;
        permitted(id, Self::new(value), value)
    }

    fn write(self, out: &mut impl Sink) {
        out.put_u16(self.value());
    }
}

impl Value<'_> for u32 {
    fn read(_id: PropertyId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(reader.u32()?)
    }

    fn write(self, out: &mut impl Sink) {
        out.put_u32(self);
    }
}

impl Value<'_> for NonZeroU32 {
    fn read(id: PropertyId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let value = reader.u32()?;
        permitted(id, Self::new(value), value)
    }

    fn write(self, out: &mut impl Sink) {
        out.put_u32(self.get());
    }
}

impl Value<'_> for SubscriptionId {
    fn read(id: PropertyId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let value = reader.var_int()?;
        permitted(id, Self::new(value), value)
    }

    fn write(self, out: &mut impl Sink) {
        out.put_var_int(usize::try_from(self.value()).unwrap_or_default());
    }
}

impl<'a> Value<'a> for &'a [u8] {
    fn read(_id: PropertyId, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(reader.binary()?)
    }

    fn write(self, out: &mut impl Sink) {
        out.put_binary(self);
    }
}

impl<'a> Value<'a> for AuthenticationData<'a> {
    fn read(_id: PropertyId, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self(reader.binary()?))
    }

    fn write(self, out: &mut impl Sink) {
        out.put_binary(self.0);
    }
}

impl<'a> Value<'a> for &'a str {
    fn read(_id: PropertyId, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(reader.string()?)
    }

    fn write(self, out: &mut impl Sink) {
        out.put_string(self);
    }
}

impl<'a> Value<'a> for ResponseTopic<'a> {
    fn read(_id: PropertyId, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let text = reader.string()?;
        // [MQTT-3.3.2-14]
        if text.contains(['+', '#']) {
            return Err(ProtocolViolation::WildcardInResponseTopic.into());
        }
        Ok(Self(text))
    }

    fn write(self, out: &mut impl Sink) {
        out.put_string(self.0);
    }
}

impl<'a> Value<'a> for (&'a str, &'a str) {
    fn read(_id: PropertyId, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        // [MQTT-1.5.7-1]
        Ok((reader.string()?, reader.string()?))
    }

    fn write(self, out: &mut impl Sink) {
        out.put_string(self.0);
        out.put_string(self.1);
    }
}

/// What writes the properties of a packet, without their length.
pub(super) trait Section {
    fn write_properties(&self, out: &mut impl Sink);

    /// The length of the properties, without that of the length itself.
    #[inline]
    fn properties_length(&self) -> usize {
        let mut counter = Counter::default();
        self.write_properties(&mut counter);
        counter.0
    }

    /// Writes the length, which stands even before no properties [MQTT-2.2.2-1], and the
    /// properties.
    #[inline]
    fn write_section(&self, out: &mut impl Sink) {
        let length = self.properties_length();
        out.put_var_int(length);
        if length > 0 {
            out.put_counted(length, |out| self.write_properties(out));
        }
    }
}

/// Writes a property where there is one.
#[inline]
pub(super) fn put_property(out: &mut impl Sink, property: Option<Property<'_>>) {
    if let Some(property) = property {
        property.write(out);
    }
}
