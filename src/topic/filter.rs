//! The Topic Filter: which Topic Names a Subscription takes.

use std::borrow::Borrow;
use std::fmt;
use std::str;

use arcstr::ArcStr;

use super::name::TopicName;
use super::share::ShareError;
use super::text::{self, Flaw};

/// A Topic Filter: a Topic Name whose levels may be `+`, and the last one `#`.
///
/// Clones share the text. A text that begins with `$share/` is read by `SubscriptionFilter`.
///
/// It has 8 bytes, where an `Arc<str>` has 16: it stands in two tables, the Session's and the
/// subscription tree's, whose places are half or fully used. With 1,000,000 filters that is 21
/// bytes for each.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TopicFilter(ArcStr);

/// Why a text is no Topic Filter.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TopicFilterError {
    #[error("topic filter is empty")]
    Empty,
    #[error("topic filter has more than 65535 bytes")]
    TooLong,
    /// Ill-formed, U+0000 included: a Malformed Packet, where the others are a bad filter.
    #[error("topic filter is not well-formed UTF-8 without U+0000")]
    NotUtf8,
    #[error("topic filter has the character U+{:04X}", u32::from(*.0))]
    Character(char),
    #[error("'+' is not alone in its level of the topic filter")]
    Plus,
    #[error("'#' is not alone in the last level of the topic filter")]
    Hash,
    #[error(transparent)]
    Share(#[from] ShareError),
}

impl TopicFilter {
    /// # Errors
    /// Says what makes `text` no Topic Filter.
    pub fn parse(text: &str) -> Result<Self, TopicFilterError> {
        text::check(text)?;
        if text::has_wildcard(text) {
            check_wildcards(text)?;
        }
        Ok(Self(text.into()))
    }

    /// # Errors
    /// Says what makes `bytes` no Topic Filter.
    pub fn from_utf8(bytes: &[u8]) -> Result<Self, TopicFilterError> {
        // Encoded surrogates are ill-formed as well [MQTT-1.5.4-1].
        Self::parse(str::from_utf8(bytes).map_err(|_| TopicFilterError::NotUtf8)?)
    }

    /// Whether a message published to `topic` is taken.
    pub fn matches(&self, topic: &TopicName) -> bool {
        // [MQTT-4.7.2-1]
        if topic.is_system() && self.first_level_is_wildcard() {
            return false;
        }
        let mut names = topic.levels();
        for level in self.levels() {
            // Takes what is left, and the parent when nothing is.
            if level == "#" {
                return true;
            }
            match names.next() {
                Some(name) if level == "+" || level == name => {}
                Some(_) | None => return false,
            }
        }
        names.next().is_none()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands between the slashes, wildcards included; a level may be empty.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    pub fn level_count(&self) -> usize {
        1 + self.0.bytes().filter(|&byte| byte == b'/').count()
    }

    pub fn first_level(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    pub fn has_wildcard(&self) -> bool {
        text::has_wildcard(&self.0)
    }

    pub fn first_level_is_wildcard(&self) -> bool {
        self.0.starts_with(['+', '#'])
    }
}

impl Borrow<str> for TopicFilter {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl From<Flaw> for TopicFilterError {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Empty => Self::Empty,
            Flaw::TooLong => Self::TooLong,
            Flaw::Null => Self::NotUtf8,
            Flaw::Character(character) => Self::Character(character),
        }
    }
}

fn check_wildcards(text: &str) -> Result<(), TopicFilterError> {
    let mut levels = text.split('/').peekable();
    while let Some(level) = levels.next() {
        // [MQTT-4.7.1-2]
        if level.contains('+') && level != "+" {
            return Err(TopicFilterError::Plus);
        }
        // [MQTT-4.7.1-1]
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(TopicFilterError::Hash);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap()
    }

    #[track_caller]
    fn assert_matches(text: &str, taken: &[&str], refused: &[&str]) {
        for name in taken {
            assert!(filter(text).matches(&TopicName::parse(name).unwrap()), "{text} {name}");
        }
        for name in refused {
            assert!(!filter(text).matches(&TopicName::parse(name).unwrap()), "{text} {name}");
        }
    }

    // [MQTT-4.7.1-1]
    #[test]
    fn a_hash_stands_alone_in_the_last_level() {
        for text in ["a#", "a/#/b", "#/a", "a/b#", "##", "a/#b", "#a"] {
            assert_eq!(TopicFilter::parse(text), Err(TopicFilterError::Hash), "{text}");
        }
        for text in ["#", "a/#", "/#", "a//#"] {
            assert!(TopicFilter::parse(text).is_ok(), "{text}");
        }
    }

    // [MQTT-4.7.1-2]
    #[test]
    fn a_plus_stands_alone_in_its_level() {
        for text in ["a+", "a/+b", "++", "+a/b", "a/b+/c", "+#"] {
            assert_eq!(TopicFilter::parse(text), Err(TopicFilterError::Plus), "{text}");
        }
        for text in ["+", "+/+", "a/+/b", "/+", "+/", "+/#"] {
            assert!(TopicFilter::parse(text).is_ok(), "{text}");
        }
    }

    // [MQTT-4.7.3-1] [MQTT-4.7.3-2]
    #[test]
    fn an_empty_filter_and_one_with_null_are_refused() {
        assert_eq!(TopicFilter::parse(""), Err(TopicFilterError::Empty));
        assert_eq!(TopicFilter::parse("a\0"), Err(TopicFilterError::NotUtf8));
        assert_eq!(TopicFilter::from_utf8(b"\xed\xa0\x80"), Err(TopicFilterError::NotUtf8));
    }

    #[test]
    fn a_hash_takes_its_parent_and_all_below() {
        assert_matches("a/b/#", &["a/b", "a/b/", "a/b/c", "a/b/c/d"], &["a", "a/bc", "a/c/b"]);
        assert_matches("#", &["a", "/", "a/b/c"], &[]);
        assert_matches("+/#", &["a", "a/b", "/"], &[]);
    }

    #[test]
    fn a_plus_takes_one_level_even_an_empty_one() {
        assert_matches("a/+", &["a/b", "a/"], &["a", "a/b/c", "b/a"]);
        assert_matches("+/+", &["/finance", "a/b"], &["finance"]);
        assert_matches("/+", &["/finance"], &["finance", "/a/b"]);
        assert_matches("+", &["finance"], &["/finance"]);
    }

    // [MQTT-4.7.2-1]
    #[test]
    fn a_leading_wildcard_takes_no_system_topic() {
        assert_matches("#", &["a/$SYS"], &["$SYS", "$SYS/a", "$"]);
        assert_matches("+/monitor", &["a/monitor"], &["$SYS/monitor"]);
        assert_matches("$SYS/#", &["$SYS", "$SYS/a/b"], &["a"]);
        assert_matches("$SYS/+", &["$SYS/a"], &["$SYS"]);
    }

    // [MQTT-4.7.3-4]
    #[test]
    fn names_are_compared_as_they_are() {
        assert_matches("ACCOUNTS", &["ACCOUNTS"], &["Accounts", "/ACCOUNTS", "ACCOUNTS/"]);
        assert_matches("caf\u{e9}", &["caf\u{e9}"], &["cafe\u{301}"]);
    }

    #[test]
    fn only_filters_with_wildcards_say_so() {
        assert!(filter("a/+").has_wildcard() && !filter("a/+").first_level_is_wildcard());
        assert!(filter("#").has_wildcard() && filter("#").first_level_is_wildcard());
        assert!(!filter("a/b").has_wildcard() && !filter("a/b").first_level_is_wildcard());
    }
}
