//! Selections of the properties of a section, first of those that may stand several times.

use std::ops::Range;

use super::SubscriptionId;
use super::primitives::{Reader, Sink, compare_and_print_by_elements};
use super::properties::{Property, PropertyReader, Section};

/// The properties of some kind out of a section that was checked:
///
/// ```text
/// section   | alias | content type | expiry | user property | user property | alias |
/// bytes             |<------------------------------------------------------|
/// length            |<------------>|   +    |<----------------------------->|
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Selection<'a> {
    /// From the first selected property to the end of the last one.
    bytes: &'a [u8],
    /// How many of these bytes are selected; usually all.
    length: usize,
}

/// Which properties a [`Selection`] is about.
pub(super) type Wanted = fn(&Property<'_>) -> bool;

impl<'a> Selection<'a> {
    /// A selection of all properties of a section, which has to be valid.
    pub(super) fn of_all(bytes: &'a [u8]) -> Self {
        Self { bytes, length: bytes.len() }
    }

    pub(super) fn is_empty(self) -> bool {
        self.length == 0
    }

    pub(super) fn len(self) -> usize {
        self.length
    }

    #[inline]
    pub(super) fn next(&mut self, wanted: Wanted) -> Option<Property<'a>> {
        while self.length > 0 {
            let mut reader = Reader::new(self.bytes);
            let property = Property::read(&mut reader).ok()?;
            let property_length = self.bytes.len() - reader.len();
            self.bytes = reader.rest();
            if wanted(&property) {
                self.length = self.length.saturating_sub(property_length);
                return Some(property);
            }
        }
        None
    }

    /// Those of the selected properties that are wanted, too.
    pub(super) fn narrow(self, wanted: Wanted) -> Self {
        let mut reader = PropertyReader::of_section(self.bytes);
        let mut selecting = Selecting::default();
        while let Ok(Some(property)) = reader.next() {
            if wanted(&property) {
                selecting.add(&reader);
            }
        }
        selecting.finish(&reader)
    }

    #[inline]
    pub(super) fn write(mut self, wanted: Wanted, out: &mut impl Sink) {
        if self.length == self.bytes.len() {
            out.put_bytes(self.bytes);
            return;
        }
        while let Some(property) = self.next(wanted) {
            property.write(out);
        }
    }
}

/// Collects a [`Selection`] while a section is read.
#[derive(Debug, Default)]
pub(super) struct Selecting {
    extent: Range<usize>,
    length: usize,
}

impl Selecting {
    /// Adds the property that was read last.
    #[inline]
    pub(super) fn add(&mut self, reader: &PropertyReader<'_>) {
        let property = reader.extent();
        if self.length == 0 {
            self.extent.start = property.start;
        }
        self.extent.end = property.end;
        self.length += property.len();
    }

    #[inline]
    pub(super) fn finish<'a>(self, reader: &PropertyReader<'a>) -> Selection<'a> {
        let bytes = reader.section().get(self.extent).unwrap_or_default();
        Selection { bytes, length: self.length }
    }
}

/// The User Properties of a packet in their order: pairs of name and value.
#[derive(Clone, Default)]
pub struct UserProperties<'a>(Selection<'a>);

impl<'a> UserProperties<'a> {
    pub(super) fn new(selection: Selection<'a>) -> Self {
        Self(selection)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Section for UserProperties<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        self.0.write(is_user_property, out);
    }
}

pub(super) fn is_user_property(property: &Property<'_>) -> bool {
    matches!(property, Property::UserProperty(_))
}

impl<'a> Iterator for UserProperties<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.next(is_user_property) {
            Some(Property::UserProperty(pair)) => Some(pair),
            _ => None,
        }
    }
}

/// The owned form of [`UserProperties`], to make packets of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserPropertyList(Vec<u8>);

impl UserPropertyList {
    pub fn push(&mut self, name: &str, value: &str) {
        Property::UserProperty((name, value)).write(&mut self.0);
    }

    pub fn as_view(&self) -> UserProperties<'_> {
        UserProperties(Selection::of_all(&self.0))
    }
}

/// The Subscription Identifiers of a PUBLISH, as they stand in a packet or as a session has them.
#[derive(Clone)]
pub struct SubscriptionIds<'a>(Ids<'a>);

#[derive(Clone)]
enum Ids<'a> {
    Encoded(Selection<'a>),
    Values(&'a [SubscriptionId]),
}

impl<'a> SubscriptionIds<'a> {
    pub fn from_slice(ids: &'a [SubscriptionId]) -> Self {
        Self(Ids::Values(ids))
    }

    pub(super) fn new(selection: Selection<'a>) -> Self {
        Self(Ids::Encoded(selection))
    }

    pub fn is_empty(&self) -> bool {
        match self.0 {
            Ids::Encoded(selection) => selection.is_empty(),
            Ids::Values(ids) => ids.is_empty(),
        }
    }

    #[inline]
    pub(super) fn write(&self, out: &mut impl Sink) {
        match self.0 {
            Ids::Encoded(selection) => selection.write(is_subscription_id, out),
            Ids::Values(ids) => {
                for id in ids {
                    Property::SubscriptionIdentifier(*id).write(out);
                }
            }
        }
    }
}

fn is_subscription_id(property: &Property<'_>) -> bool {
    matches!(property, Property::SubscriptionIdentifier(_))
}

impl Default for SubscriptionIds<'_> {
    fn default() -> Self {
        Self::from_slice(&[])
    }
}

impl Iterator for SubscriptionIds<'_> {
    type Item = SubscriptionId;

    fn next(&mut self) -> Option<SubscriptionId> {
        match &mut self.0 {
            Ids::Encoded(selection) => match selection.next(is_subscription_id) {
                Some(Property::SubscriptionIdentifier(id)) => Some(id),
                _ => None,
            },
            Ids::Values(ids) => ids.split_off_first().copied(),
        }
    }
}

compare_and_print_by_elements!(UserProperties, SubscriptionIds);
