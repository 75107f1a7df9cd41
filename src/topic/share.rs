//! What a SUBSCRIBE names: a Topic Filter, alone or behind `$share/{ShareName}/`.

use std::borrow::Borrow;
use std::fmt;
use std::str;

use arcstr::ArcStr;

use super::filter::{TopicFilter, TopicFilterError};
use super::text::{self, Flaw};

const PREFIX: &str = "$share/";

/// The name of a group that shares a Subscription.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ShareName(ArcStr);

/// A Topic Filter, and the group it is shared with.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SubscriptionFilter {
    pub share: Option<ShareName>,
    pub filter: TopicFilter,
}

/// Why a text that begins with `$share/` names no Shared Subscription.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ShareError {
    #[error("share name is empty")]
    Empty,
    #[error("share name has more than 65535 bytes")]
    TooLong,
    #[error("share name has the character U+{:04X}", u32::from(*.0))]
    Character(char),
    #[error("share name has '{0}'")]
    Reserved(char),
    #[error("no topic filter follows the share name")]
    NoFilter,
}

impl SubscriptionFilter {
    /// # Errors
    /// Says what is wrong with the Topic Filter or with what stands before it.
    pub fn parse(text: &str) -> Result<Self, TopicFilterError> {
        // The limit and the characters of a string hold for the whole of it.
        text::check(text)?;
        let Some(shared) = text.strip_prefix(PREFIX) else {
            return Ok(Self { share: None, filter: TopicFilter::parse(text)? });
        };
        // A name of at least one character [MQTT-4.8.2-1], a slash, a filter [MQTT-4.8.2-2].
        let (name, filter) = shared.split_once('/').unwrap_or((shared, ""));
        let share = Some(ShareName::parse(name)?);
        if filter.is_empty() {
            return Err(ShareError::NoFilter.into());
        }
        Ok(Self { share, filter: TopicFilter::parse(filter)? })
    }

    /// # Errors
    /// Says what is wrong with the Topic Filter or with what stands before it.
    pub fn from_utf8(bytes: &[u8]) -> Result<Self, TopicFilterError> {
        Self::parse(str::from_utf8(bytes).map_err(|_| TopicFilterError::NotUtf8)?)
    }
}

impl ShareName {
    /// # Errors
    /// Says what makes `text` no name of a group.
    pub fn parse(text: &str) -> Result<Self, ShareError> {
        text::check(text)?;
        // [MQTT-4.8.2-2]
        match text.chars().find(|character| matches!(character, '/' | '+' | '#')) {
            Some(reserved) => Err(ShareError::Reserved(reserved)),
            None => Ok(Self(text.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ShareName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShareName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// Prints the text it was parsed from.
impl fmt::Display for SubscriptionFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.share {
            Some(share) => write!(formatter, "{PREFIX}{share}/{}", self.filter),
            None => self.filter.fmt(formatter),
        }
    }
}

impl From<Flaw> for ShareError {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Empty => Self::Empty,
            Flaw::TooLong => Self::TooLong,
            Flaw::Null => Self::Character('\0'),
            Flaw::Character(character) => Self::Character(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_filter_has_no_group() {
        for text in ["a/b", "#", "/", "$share", "$shared/a/b", "a/$share/g/f"] {
            let parsed = SubscriptionFilter::parse(text).unwrap();

            assert_eq!((parsed.share, parsed.filter.as_str()), (None, text));
        }
    }

    // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
    #[test]
    fn a_shared_filter_is_taken_apart_after_the_share_name() {
        for (text, filter) in [("$share/g/a/b", "a/b"), ("$share/g//", "/"), ("$share/g/#", "#")] {
            let parsed = SubscriptionFilter::parse(text).unwrap();

            assert_eq!(parsed.share.as_ref().map(ShareName::as_str), Some("g"));
            assert_eq!(parsed.filter.as_str(), filter);
        }
    }

    // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
    #[test]
    fn a_shared_filter_without_a_name_or_a_filter_is_refused() {
        let cases = [
            ("$share/", ShareError::Empty),
            ("$share//f", ShareError::Empty),
            ("$share/g", ShareError::NoFilter),
            ("$share/g/", ShareError::NoFilter),
            ("$share/g+/f", ShareError::Reserved('+')),
            ("$share/#/f", ShareError::Reserved('#')),
        ];
        for (text, error) in cases {
            assert_eq!(SubscriptionFilter::parse(text), Err(error.into()), "{text}");
        }
    }

    #[test]
    fn the_filter_behind_a_share_name_follows_the_rules_of_filters() {
        assert_eq!(SubscriptionFilter::parse("$share/g/a+"), Err(TopicFilterError::Plus));
        assert_eq!(SubscriptionFilter::parse("$share/g/#/a"), Err(TopicFilterError::Hash));
        assert_eq!(SubscriptionFilter::from_utf8(b"$share/\xff"), Err(TopicFilterError::NotUtf8));
        assert_eq!(SubscriptionFilter::parse("$share/\0/a"), Err(TopicFilterError::NotUtf8));
    }

    #[test]
    fn a_subscription_filter_prints_what_was_parsed() {
        for text in ["a/+/#", "$share/group/a/#", "$share/g//", "$share"] {
            assert_eq!(SubscriptionFilter::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_share_name_alone_has_no_slash() {
        assert_eq!(ShareName::parse("a/b"), Err(ShareError::Reserved('/')));
    }
}
