//! Reads one raw value as one checked one, and reports what it cannot be.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;

use super::mistake::{Mistake, Problem};
use super::near;
use super::raw::{Field, RawValue};
use super::source::{Source, Span};
use super::value::{self, Unclear};

#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) source: &'a Source,
    mistakes: &'a mut Vec<Mistake>,
}

/// Why a value is not what its key takes.
enum Wrong {
    Kind { near: Option<String> },
    Small,
    Large,
}

impl From<Unclear> for Wrong {
    fn from(unclear: Unclear) -> Self {
        Self::Kind { near: unclear.near }
    }
}

const NO_IDEA: Wrong = Wrong::Kind { near: None };

/// A value as written. Outside the file there are no types: `64` is a number and a text.
struct Written<'a> {
    value: &'a RawValue,
    in_file: bool,
}

impl<'a> Written<'a> {
    fn integer(&self) -> Option<i64> {
        match self.value {
            RawValue::Integer(number) => Some(*number),
            RawValue::Text(text) if !self.in_file => text.trim().parse().ok(),
            RawValue::Text(_) | RawValue::Boolean(_) | RawValue::List(_) | RawValue::Other => None,
        }
    }

    fn boolean(&self) -> Option<bool> {
        match self.value {
            RawValue::Boolean(value) => Some(*value),
            RawValue::Text(text) if !self.in_file => text.trim().parse().ok(),
            RawValue::Text(_) | RawValue::Integer(_) | RawValue::List(_) | RawValue::Other => None,
        }
    }

    fn text(&self) -> Option<&'a str> {
        match self.value {
            RawValue::Text(text) => Some(text),
            RawValue::Integer(_) | RawValue::Boolean(_) | RawValue::List(_) | RawValue::Other => {
                None
            }
        }
    }

    /// The elements of a list that has some, each with its place. Outside the file they stand
    /// between commas; there the list begins at `start`.
    fn elements(&self, start: usize) -> Option<Vec<Spanned<RawValue>>> {
        match self.value {
            RawValue::List(items) if !items.is_empty() => Some(items.clone()),
            RawValue::Text(text) if !self.in_file && !text.trim().is_empty() => {
                let mut next = start;
                let items = text.split(',').map(|item| {
                    let at = next + item.len() - item.trim_start().len();
                    next += item.len() + 1;
                    let item = item.trim();
                    Spanned::new(at..at + item.len(), RawValue::Text(item.to_owned()))
                });
                Some(items.collect())
            }
            RawValue::List(_)
            | RawValue::Text(_)
            | RawValue::Integer(_)
            | RawValue::Boolean(_)
            | RawValue::Other => None,
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source, mistakes: &'a mut Vec<Mistake>) -> Self {
        Self { source, mistakes }
    }

    pub(super) fn report(&mut self, span: &Span, problem: Problem) {
        self.mistakes.push(Mistake { place: self.source.place(span), problem });
    }

    /// `None` when nothing is written or what is written is wrong.
    fn read<T>(
        &mut self,
        key: &str,
        field: &Field,
        allowed: impl FnOnce() -> String,
        parse: impl FnOnce(Written<'_>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let field = field.as_ref()?;
        let span = field.span();
        let in_file = self.source.setting_at(span.start).is_none();
        let wrong = match parse(Written { value: field.get_ref(), in_file }) {
            Ok(value) => return Some(value),
            Err(wrong) => wrong,
        };
        let (key, allowed) = (key.to_owned(), allowed());
        let problem = match wrong {
            Wrong::Kind { near } => {
                let found = self.found(&span, in_file);
                Problem::Value { key, found, allowed, near }
            }
            Wrong::Small => Problem::TooSmall { key, allowed },
            Wrong::Large => Problem::TooLarge { key, allowed },
        };
        self.report(&span, problem);
        None
    }

    /// What is written there, short enough for a sentence.
    fn found(&self, span: &Span, in_file: bool) -> String {
        const CHARS_MAX: usize = 40;
        let text = self.source.shown(span);
        let line = text.lines().next().unwrap_or_default();
        let mut short: String = line.chars().take(CHARS_MAX).collect();
        if short.len() < text.len() {
            short.push_str("...");
        }
        if in_file { short } else { format!("\"{short}\"") }
    }

    pub(super) fn number<T: TryFrom<u64>>(
        &mut self,
        key: &str,
        field: &Field,
        range: RangeInclusive<u64>,
    ) -> Option<T> {
        let allowed = || format!("a whole number from {} to {}", range.start(), range.end());
        self.read(key, field, allowed, |written| {
            let number = written.integer().ok_or(NO_IDEA)?;
            // A negative number is below every range.
            let number = u64::try_from(number).map_err(|_| Wrong::Small)?;
            T::try_from(within(number, &range)?).map_err(|_| Wrong::Large)
        })
    }

    /// The word `auto`, or a number.
    pub(super) fn number_or_auto<T: TryFrom<u64>>(
        &mut self,
        key: &str,
        field: &Field,
        range: RangeInclusive<u64>,
    ) -> Option<Option<T>> {
        if self.is_word(field, "auto") {
            return Some(None);
        }
        let allowed =
            || format!("\"auto\" or a whole number from {} to {}", range.start(), range.end());
        self.read(key, field, allowed, |written| {
            let near = written.text().and_then(|text| quoted_near(text, &["auto"]));
            let number = written.integer().ok_or(Wrong::Kind { near })?;
            let number = u64::try_from(number).map_err(|_| Wrong::Small)?;
            T::try_from(within(number, &range)?).map(Some).map_err(|_| Wrong::Large)
        })
    }

    pub(super) fn bytes<T: TryFrom<u64>>(
        &mut self,
        key: &str,
        field: &Field,
        range: RangeInclusive<u64>,
    ) -> Option<T> {
        let allowed = || size_allowed(&range);
        self.read(key, field, allowed, |written| {
            T::try_from(parse_size(&written, &range)?).map_err(|_| Wrong::Large)
        })
    }

    /// The word `auto`, or a size.
    pub(super) fn bytes_or_auto(
        &mut self,
        key: &str,
        field: &Field,
        range: RangeInclusive<u64>,
    ) -> Option<Option<u64>> {
        if self.is_word(field, "auto") {
            return Some(None);
        }
        let allowed = || format!("\"auto\" or {}", size_allowed(&range));
        self.read(key, field, allowed, |written| parse_size(&written, &range).map(Some))
    }

    pub(super) fn duration(
        &mut self,
        key: &str,
        field: &Field,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let allowed = || time_allowed(&range);
        self.read(key, field, allowed, |written| within(parse_time(&written)?, &range))
    }

    /// For what goes over the wire in seconds.
    pub(super) fn seconds(
        &mut self,
        key: &str,
        field: &Field,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let allowed = || format!("{}, in whole seconds", time_allowed(&range));
        self.read(key, field, allowed, |written| whole_seconds(&written, &range))
    }

    /// The word `never`, or a time in whole seconds.
    pub(super) fn seconds_or_never(
        &mut self,
        key: &str,
        field: &Field,
        range: RangeInclusive<Duration>,
    ) -> Option<Option<Duration>> {
        if self.is_word(field, "never") {
            return Some(None);
        }
        let allowed = || format!("\"never\" or {}, in whole seconds", time_allowed(&range));
        self.read(key, field, allowed, |written| whole_seconds(&written, &range).map(Some))
    }

    pub(super) fn boolean(&mut self, key: &str, field: &Field) -> Option<bool> {
        let allowed = || "true or false".to_owned();
        self.read(key, field, allowed, |written| written.boolean().ok_or(NO_IDEA))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &str,
        field: &Field,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let allowed = || list(words.iter().map(|word| format!("\"{word}\"")));
        self.read(key, field, allowed, |written| {
            let text = written.text().ok_or(NO_IDEA)?.trim();
            let choice = choices.iter().find(|(word, _)| *word == text);
            let wrong = || Wrong::Kind { near: quoted_near(&text.to_lowercase(), &words) };
            choice.map(|(_, choice)| *choice).ok_or_else(wrong)
        })
    }

    /// At least one of a few words, none of them twice.
    pub(super) fn choices<T: Copy + PartialEq>(
        &mut self,
        key: &str,
        field: &Field,
        choices: &[(&str, T)],
    ) -> Option<Vec<T>> {
        let start = field.as_ref()?.span().start;
        let words = || choices.iter().map(|(word, _)| format!("\"{word}\""));
        let all = match self.source.setting_at(start) {
            None => format!("[{}]", words().collect::<Vec<_>>().join(", ")),
            Some(_) => choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(","),
        };
        let allowed = || format!("a list with at least one of {all}");
        let items = self.read(key, field, allowed, |written| {
            let alone = written.text().map(|text| format!("\"{text}\""));
            let near = alone.filter(|text| words().any(|word| word == *text));
            let near = near.map(|text| format!("[{text}]"));
            written.elements(start).ok_or(Wrong::Kind { near })
        })?;
        let count = items.len();
        let mut chosen = Vec::new();
        for item in items {
            let span = item.span();
            let Some(choice) = self.choice(key, &Some(item), choices) else { continue };
            if chosen.contains(&choice) {
                let in_file = self.source.setting_at(span.start).is_none();
                let (key, found) = (key.to_owned(), self.found(&span, in_file));
                self.report(&span, Problem::Repeated { key, found });
            } else {
                chosen.push(choice);
            }
        }
        (chosen.len() == count).then_some(chosen)
    }

    /// A text that `parse` understands; its error is what may have been meant.
    pub(super) fn text<T>(
        &mut self,
        key: &str,
        field: &Field,
        allowed: &str,
        parse: impl FnOnce(&str) -> Result<T, Option<String>>,
    ) -> Option<T> {
        let allowed = || allowed.to_owned();
        self.read(key, field, allowed, |written| {
            parse(written.text().ok_or(NO_IDEA)?).map_err(|near| Wrong::Kind { near })
        })
    }

    fn is_word(&self, field: &Field, word: &str) -> bool {
        match field.as_ref().map(Spanned::get_ref) {
            Some(RawValue::Text(text)) => text.trim() == word,
            Some(
                RawValue::Integer(_) | RawValue::Boolean(_) | RawValue::List(_) | RawValue::Other,
            )
            | None => false,
        }
    }
}

fn within<T: PartialOrd>(value: T, range: &RangeInclusive<T>) -> Result<T, Wrong> {
    if value < *range.start() {
        Err(Wrong::Small)
    } else if value > *range.end() {
        Err(Wrong::Large)
    } else {
        Ok(value)
    }
}

fn parse_size(written: &Written<'_>, range: &RangeInclusive<u64>) -> Result<u64, Wrong> {
    let bytes = match (written.integer(), written.text()) {
        (Some(number), _) => u64::try_from(number).map_err(|_| Wrong::Small)?,
        (None, Some(text)) => value::parse_bytes(text)?,
        (None, None) => return Err(NO_IDEA),
    };
    within(bytes, range)
}

fn size_allowed(range: &RangeInclusive<u64>) -> String {
    let unit = |bytes: &u64| match value::bytes_text(*bytes) {
        plain if plain.contains(' ') => plain,
        plain => format!("{plain} bytes"),
    };
    let (least, most) = (unit(range.start()), unit(range.end()));
    format!("a size from {least} to {most}, as a number of bytes or such as \"64 KiB\"")
}

fn parse_time(written: &Written<'_>) -> Result<Duration, Wrong> {
    match (written.text(), written.integer()) {
        (Some(text), _) => Ok(value::parse_duration(text)?),
        (None, Some(number)) => Ok(value::parse_duration(&number.to_string())?),
        (None, None) => Err(NO_IDEA),
    }
}

fn whole_seconds(
    written: &Written<'_>,
    range: &RangeInclusive<Duration>,
) -> Result<Duration, Wrong> {
    let time = within(parse_time(written)?, range)?;
    if time.subsec_nanos() == 0 { Ok(time) } else { Err(NO_IDEA) }
}

fn time_allowed(range: &RangeInclusive<Duration>) -> String {
    let (least, most) = (value::duration_text(*range.start()), value::duration_text(*range.end()));
    format!("a time from \"{least}\" to \"{most}\" with its unit: ms, s, m, h or d")
}

fn quoted_near(text: &str, words: &[&str]) -> Option<String> {
    near::word(text, words.iter().copied()).map(|word| format!("\"{word}\""))
}

/// "a, b or c".
fn list(items: impl Iterator<Item = impl Display>) -> String {
    let mut items: Vec<String> = items.map(|item| item.to_string()).collect();
    match items.pop() {
        Some(last) if items.is_empty() => last,
        Some(last) => format!("{} or {last}", items.join(", ")),
        None => String::new(),
    }
}
