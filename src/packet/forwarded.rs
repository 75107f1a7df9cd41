//! The properties that a server passes on unaltered, kept encoded so that passing on is a copy.

use std::fmt;

use super::PayloadFormatIndicator;
use super::error::{DecodeError, PropertyPlace};
use super::primitives::{Hidden, Sink};
use super::properties::{Property, PropertyReader, ResponseTopic, Section, put_property};
use super::selection::{Selection, UserProperties, is_user_property};

/// Payload Format Indicator, Content Type, Response Topic, Correlation Data and User Properties of
/// an Application Message, in the order they came in and still encoded.
///
/// They were all checked: nothing below can fail.
#[derive(Clone, Copy, Default)]
pub struct Forwarded<'a>(Selection<'a>);

impl<'a> Forwarded<'a> {
    pub(super) fn new(selection: Selection<'a>) -> Self {
        Self(selection)
    }

    /// The length of what `write_to` appends.
    pub fn len(self) -> usize {
        self.0.len()
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub fn write_to(self, out: &mut Vec<u8>) {
        self.write(out);
    }

    /// One copy, unless properties that are not passed on stand in between.
    // [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18]
    // [MQTT-3.3.2-20]
    #[inline]
    pub(super) fn write(self, out: &mut impl Sink) {
        self.0.write(is_forwarded, out);
    }

    /// A copy that outlives the packet.
    pub fn to_owned(self) -> ForwardedProperties {
        let mut bytes = Vec::with_capacity(self.len());
        self.write_to(&mut bytes);
        ForwardedProperties(bytes.into_boxed_slice())
    }

    pub fn payload_format_indicator(self) -> Option<PayloadFormatIndicator> {
        self.properties().find_map(|property| match property {
            Property::PayloadFormatIndicator(indicator) => Some(indicator),
            _ => None,
        })
    }

    pub fn content_type(self) -> Option<&'a str> {
        self.properties().find_map(|property| match property {
            Property::ContentType(content_type) => Some(content_type),
            _ => None,
        })
    }

    /// Without wildcards, but else not yet known to be a Topic Name.
    pub fn response_topic(self) -> Option<&'a str> {
        self.properties().find_map(|property| match property {
            Property::ResponseTopic(ResponseTopic(topic)) => Some(topic),
            _ => None,
        })
    }

    pub fn correlation_data(self) -> Option<&'a [u8]> {
        self.properties().find_map(|property| match property {
            Property::CorrelationData(data) => Some(data),
            _ => None,
        })
    }

    pub fn user_properties(self) -> UserProperties<'a> {
        UserProperties::new(self.0.narrow(is_user_property))
    }

    fn properties(self) -> impl Iterator<Item = Property<'a>> {
        let mut selection = self.0;
        std::iter::from_fn(move || selection.next(is_forwarded))
    }
}

pub(super) fn is_forwarded(property: &Property<'_>) -> bool {
    matches!(
        property,
        Property::PayloadFormatIndicator(_)
            | Property::ContentType(_)
            | Property::ResponseTopic(_)
            | Property::CorrelationData(_)
            | Property::UserProperty(_)
    )
}

impl PartialEq for Forwarded<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.properties().eq(other.properties())
    }
}

impl fmt::Debug for Forwarded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarded")
            .field("payload_format_indicator", &self.payload_format_indicator())
            .field("content_type", &self.content_type())
            .field("response_topic", &self.response_topic())
            .field("correlation_data", &self.correlation_data().map(Hidden))
            .field("user_properties", &self.user_properties())
            .finish()
    }
}

/// The owned form of [`Forwarded`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ForwardedProperties(Box<[u8]>);

impl ForwardedProperties {
    pub fn new(parts: &ForwardedParts<'_>) -> Self {
        let mut bytes = Vec::with_capacity(parts.properties_length());
        parts.write_properties(&mut bytes);
        Self(bytes.into_boxed_slice())
    }

    /// Reads what `as_bytes` gave, for instance from a disk.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = PropertyReader::of_section(bytes);
        while let Some(property) = reader.next()? {
            if !is_forwarded(&property) {
                return Err(property.not_allowed_in(PropertyPlace::Forwarded));
            }
        }
        Ok(Self(bytes.into()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn as_view(&self) -> Forwarded<'_> {
        Forwarded(Selection::of_all(&self.0))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for ForwardedProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_view().fmt(f)
    }
}

/// What [`ForwardedProperties::new`] is made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForwardedParts<'a> {
    pub payload_format_indicator: Option<PayloadFormatIndicator>,
    pub content_type: Option<&'a str>,
    /// Without wildcards.
    pub response_topic: Option<&'a str>,
    pub correlation_data: Option<&'a [u8]>,
    pub user_properties: UserProperties<'a>,
}

impl Section for ForwardedParts<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        put_property(out, self.payload_format_indicator.map(Property::PayloadFormatIndicator));
        put_property(out, self.content_type.map(Property::ContentType));
        let response_topic = self.response_topic.map(ResponseTopic);
        put_property(out, response_topic.map(Property::ResponseTopic));
        put_property(out, self.correlation_data.map(Property::CorrelationData));
        self.user_properties.write_properties(out);
    }
}
