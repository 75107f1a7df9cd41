//! The Topic Name: what a PUBLISH is about.

use std::borrow::Borrow;
use std::fmt;
use std::str;
use std::sync::Arc;

use super::text::{self, Flaw};

/// A Topic Name: 1 to 65,535 bytes without wildcards, control and non-characters.
///
/// Clones share the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TopicName(Arc<str>);

/// Why a text is no Topic Name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TopicNameError {
    #[error("topic name is empty")]
    Empty,
    #[error("topic name has more than 65535 bytes")]
    TooLong,
    /// Ill-formed, U+0000 included: a Malformed Packet, where the others are a bad name.
    #[error("topic name is not well-formed UTF-8 without U+0000")]
    NotUtf8,
    #[error("topic name has a wildcard")]
    Wildcard,
    #[error("topic name has the character U+{:04X}", u32::from(*.0))]
    Character(char),
}

impl TopicName {
    /// # Errors
    /// Says what makes `text` no Topic Name.
    pub fn parse(text: &str) -> Result<Self, TopicNameError> {
        text::check(text)?;
        // Wildcards are for filters only [MQTT-4.7.0-1].
        if text::has_wildcard(text) {
            return Err(TopicNameError::Wildcard);
        }
        Ok(Self(text.into()))
    }

    /// # Errors
    /// Says what makes `bytes` no Topic Name.
    pub fn from_utf8(bytes: &[u8]) -> Result<Self, TopicNameError> {
        // Encoded surrogates are ill-formed as well [MQTT-1.5.4-1].
        Self::parse(str::from_utf8(bytes).map_err(|_| TopicNameError::NotUtf8)?)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands between the slashes; a level may be empty.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    pub fn level_count(&self) -> usize {
        1 + self.0.bytes().filter(|&byte| byte == b'/').count()
    }

    pub fn first_level(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// Whether it starts with `$`, so that a leading wildcard does not match it.
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }

    /// Whether the two share one text: cheaper than `==`, and false for equal ones parsed twice.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The text itself, for a neighbour that orders it differently.
    pub(super) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl From<Flaw> for TopicNameError {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Empty => Self::Empty,
            Flaw::TooLong => Self::TooLong,
            Flaw::Null => Self::NotUtf8,
            Flaw::Character(character) => Self::Character(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [MQTT-4.7.3-1]
    #[test]
    fn a_name_has_at_least_one_character_and_a_slash_is_one() {
        assert_eq!(TopicName::parse(""), Err(TopicNameError::Empty));
        assert_eq!(TopicName::parse("/").unwrap().levels().collect::<Vec<_>>(), ["", ""]);
    }

    // [MQTT-4.7.0-1]
    #[test]
    fn a_name_with_a_wildcard_is_refused() {
        for text in ["+", "#", "a/+", "a/#", "a+b", "a#"] {
            assert_eq!(TopicName::parse(text), Err(TopicNameError::Wildcard), "{text}");
        }
    }

    // [MQTT-1.5.4-1] [MQTT-1.5.4-2]
    #[test]
    fn ill_formed_bytes_surrogates_and_null_are_not_utf8() {
        for bytes in [&b"a\xff"[..], b"\xed\xa0\x80", b"a\0b", b"\xc0\x80"] {
            assert_eq!(TopicName::from_utf8(bytes), Err(TopicNameError::NotUtf8));
        }
    }

    #[test]
    fn a_control_character_is_named_in_the_error() {
        let error = TopicName::parse("a\u{7}").unwrap_err();

        assert_eq!(error.to_string(), "topic name has the character U+0007");
    }

    // [MQTT-1.5.4-3]
    #[test]
    fn a_byte_order_mark_is_a_character_like_any_other() {
        let marked = TopicName::from_utf8(b"\xef\xbb\xbfa").unwrap();

        assert_ne!(marked, TopicName::parse("a").unwrap());
        assert_eq!(marked.as_str().len(), 4);
    }

    #[test]
    fn levels_are_counted_as_they_are_listed() {
        for text in ["a", "/", "a/b", "/a//b/", "//"] {
            let name = TopicName::parse(text).unwrap();

            assert_eq!(name.level_count(), name.levels().count(), "{text}");
            assert_eq!(Some(name.first_level()), name.levels().next(), "{text}");
        }
    }

    #[test]
    fn only_a_leading_dollar_makes_a_system_topic() {
        assert!(TopicName::parse("$SYS/x").unwrap().is_system());
        assert!(!TopicName::parse("a/$SYS").unwrap().is_system());
    }

    #[test]
    fn clones_share_their_text() {
        let name = TopicName::parse("a/b").unwrap();

        assert!(name.ptr_eq(&name.clone()));
        assert!(!name.ptr_eq(&TopicName::parse("a/b").unwrap()));
    }
}
