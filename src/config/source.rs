//! Where things were written: the file, the variables and the options as one text with one kind of
//! position, so that a mistake in any of them is shown the same way.
//!
//! ```text
//!   offset 0 .. file.len()     the file
//!   then, one after the other  DUNLIN_WORKERS=2
//!                              --listen 0.0.0.0:1883
//! ```

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// A stretch of a `Source`.
pub(super) type Span = Range<usize>;

#[derive(Debug)]
pub(super) struct Source {
    path: Option<PathBuf>,
    file: String,
    settings: Vec<Setting>,
    /// Stretches of the file that nobody is shown, in any order.
    secrets: Vec<Span>,
}

/// What the key of a secret has in it, well spelled or not.
pub(super) const SECRET_KEYS: &[&str] = &["passw", "pasw", "scram"];

/// What stands for a secret wherever it would be shown.
pub(super) const HIDDEN: &str = "(hidden)";

/// One value from outside the file.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) kind: SettingKind,
    /// `DUNLIN_WORKERS` or `--listen`.
    pub(super) name: String,
    pub(super) value: String,
    start: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SettingKind {
    Variable,
    Argument,
}

impl Setting {
    /// Its place in the source is given when the source takes it.
    pub(super) fn new(kind: SettingKind, name: String, value: String) -> Self {
        Self { kind, name, value, start: 0 }
    }

    pub(super) fn name_span(&self) -> Span {
        self.start..self.start + self.name.len()
    }

    pub(super) fn value_span(&self) -> Span {
        let start = self.start + self.name.len() + 1;
        start..start + self.value.len()
    }

    /// What of its value is within `span`.
    fn part(&self, span: &Span) -> &str {
        let value = self.value_span();
        let within = |offset: usize| offset.checked_sub(value.start);
        let part = within(span.start).zip(within(span.end));
        part.and_then(|(start, end)| self.value.get(start..end)).unwrap_or(&self.value)
    }

    /// No variable holds a secret that would be read, yet somebody may try to give one.
    fn line(&self) -> String {
        match self.kind {
            SettingKind::Variable if may_be_secret(&self.name) => {
                format!("{}={HIDDEN}", self.name)
            }
            SettingKind::Variable => format!("{}={}", self.name, self.value),
            SettingKind::Argument => format!("{} {}", self.name, self.value),
        }
    }
}

impl Source {
    pub(super) fn new(path: Option<PathBuf>, file: String, settings: Vec<Setting>) -> Self {
        let mut source = Self { path, file, settings, secrets: Vec::new() };
        let mut start = source.file.len() + 1;
        for setting in &mut source.settings {
            setting.start = start;
            start = setting.value_span().end + 1;
        }
        source
    }

    /// From here on these stretches of the file are never shown.
    pub(super) fn hide(&mut self, secrets: Vec<Span>) {
        self.secrets = secrets;
        self.secrets.sort_by_key(|span| span.start);
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The variable or option a position lies in; `None` within the file.
    pub(super) fn setting_at(&self, offset: usize) -> Option<&Setting> {
        let next = self.settings.partition_point(|setting| setting.start <= offset);
        next.checked_sub(1).and_then(|index| self.settings.get(index))
    }

    /// The text as written: with its quotes in the file, without any outside it.
    pub(super) fn text(&self, span: &Span) -> &str {
        match self.setting_at(span.start) {
            Some(setting) => setting.part(span),
            None => self.file.get(span.clone()).unwrap_or_default(),
        }
    }

    /// The same for somebody to read: without secrets.
    pub(super) fn shown(&self, span: &Span) -> String {
        match self.setting_at(span.start) {
            Some(setting) => setting.part(span).to_owned(),
            None => self.unsecret(span.clone()),
        }
    }

    /// A stretch of the file with something else for its secrets.
    fn unsecret(&self, range: Span) -> String {
        let mut shown = String::new();
        let mut from = range.start;
        for secret in &self.secrets {
            if secret.start >= range.end || secret.end <= from {
                continue;
            }
            shown.push_str(self.file.get(from..secret.start.max(from)).unwrap_or_default());
            shown.push_str(HIDDEN);
            from = secret.end.min(range.end);
        }
        shown.push_str(self.file.get(from..range.end).unwrap_or_default());
        shown
    }

    pub(super) fn place(&self, span: &Span) -> Place {
        match self.setting_at(span.start) {
            Some(setting) => setting_place(setting, span),
            None => self.file_place(span),
        }
    }

    fn file_place(&self, span: &Span) -> Place {
        let start = floor_boundary(&self.file, span.start);
        let (before, after) = self.file.split_at_checked(start).unwrap_or((&self.file, ""));
        let head = before.rsplit('\n').next().unwrap_or_default();
        let tail = after.lines().next().unwrap_or_default();
        let end = floor_boundary(&self.file, span.end.max(start));
        let marked = self.file.get(start..end).unwrap_or_default();
        let marked = marked.lines().next().unwrap_or_default();
        let shown_head = self.unsecret(start - head.len()..start);
        Place {
            offset: span.start,
            origin: Origin::File {
                path: self.path.clone().unwrap_or_default(),
                line: before.matches('\n').count() + 1,
                column: head.chars().count() + 1,
            },
            text: format!("{shown_head}{}", self.unsecret(start..start + tail.len())),
            indent: shown_head.chars().count(),
            width: self.unsecret(start..start + marked.len()).chars().count(),
        }
    }
}

fn setting_place(setting: &Setting, span: &Span) -> Place {
    let line = setting.line();
    let within = |offset: usize| floor_boundary(&line, offset.saturating_sub(setting.start));
    let chars = |range: Range<usize>| line.get(range).unwrap_or_default().chars().count();
    let (start, end) = (within(span.start), within(span.end));
    Place {
        offset: span.start,
        origin: match setting.kind {
            SettingKind::Variable => Origin::Variable(setting.name.clone()),
            SettingKind::Argument => Origin::Argument(setting.name.clone()),
        },
        indent: chars(0..start),
        width: chars(start..end),
        text: line,
    }
}

/// Whether the key, as it is spelled, or one near it holds a secret.
pub(super) fn may_be_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_KEYS.iter().any(|secret| key.contains(secret))
}

fn floor_boundary(text: &str, offset: usize) -> usize {
    text.floor_char_boundary(offset.min(text.len()))
}

/// One place, with the line it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    offset: usize,
    origin: Origin,
    text: String,
    indent: usize,
    width: usize,
}

/// What a place is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Line and column count from 1, the column in characters.
    File { path: PathBuf, line: usize, column: usize },
    /// An environment variable.
    Variable(String),
    /// An option on the command line.
    Argument(String),
}

impl Place {
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The line within the file.
    pub(super) fn line(&self) -> Option<usize> {
        match self.origin {
            Origin::File { line, .. } => Some(line),
            Origin::Variable(_) | Origin::Argument(_) => None,
        }
    }

    /// Places sort by this: the file from top to bottom, then the variables, then the options.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The line with a caret below it, and the margin that further lines start with.
    pub(super) fn excerpt(&self, to: &mut fmt::Formatter<'_>) -> Result<String, fmt::Error> {
        let number = match &self.origin {
            Origin::File { line, .. } => line.to_string(),
            Origin::Variable(_) | Origin::Argument(_) => String::new(),
        };
        let margin = " ".repeat(number.len() + 1);
        // A tab would move the caret, and an escape sequence has no business on a terminal.
        let text = self.text.replace(char::is_control, " ");
        let (indent, carets) = (" ".repeat(self.indent), "^".repeat(self.width.max(1)));
        writeln!(to, "{margin}|")?;
        writeln!(to, "{number: <width$}| {}", text.trim_end(), width = margin.len())?;
        write!(to, "{margin}| {indent}{carets}")?;
        Ok(margin)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(to, "{}:{line}:{column}", path.display()),
            Self::Variable(name) => write!(to, "environment variable {name}"),
            Self::Argument(name) => write!(to, "option {name}"),
        }
    }
}
