//! What can be wrong with a configuration, and how an operator is told.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::source::{Origin, Place};

/// Why there is no `Config`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigErrors {
    #[error("cannot read {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

/// Every mistake of one configuration, in the order in which they were written. Never empty.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(Vec<Mistake>);

/// One mistake: what, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub place: Place,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("not valid TOML: {0}")]
    Syntax(String),
    #[error("not UTF-8 text")]
    NotUtf8,
    #[error("unknown key `{key}`")]
    UnknownKey { key: String, near: Option<String>, known: String },
    #[error("unknown table [{name}]")]
    UnknownTable { name: String, near: Option<String>, known: String },
    #[error("no key belongs to this variable")]
    UnknownVariable { near: Option<String> },
    #[error("`{name}` has the wrong form")]
    WrongForm { name: String, allowed: String },
    #[error("`{key}` cannot be {found}")]
    Value { key: String, found: String, allowed: String, near: Option<String> },
    #[error("`{key}` is too small")]
    TooSmall { key: String, allowed: String },
    #[error("`{key}` is too large")]
    TooLarge { key: String, allowed: String },
    #[error("`{key}` is missing")]
    Missing { key: String, allowed: String },
    #[error("`{key}` is {value}, above `{limit}`, which is {limit_value}")]
    Above { key: &'static str, value: String, limit: &'static str, limit_value: String },
    #[error("`{key}` has {found} twice")]
    Repeated { key: String, found: String },
    #[error("`{key}` beside `{other}`")]
    Both { key: &'static str, other: &'static str },
    #[error("more than {max} credentials of one listener")]
    TooManyCredentials { max: usize },
    #[error("this listener has another credential of `{0}`")]
    UsernameTaken(String),
    #[error("there is another listener called `{0}`")]
    NameTaken(String),
    #[error("listener `{other}` already listens on {address}")]
    AddressTaken { other: String, address: SocketAddr },
}

/// Something that works, but that an operator should know at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The file holds plain passwords, and not only its owner may read it.
    PasswordsReadable { path: PathBuf },
    /// The listener refuses anonymous clients, and has no credentials for others.
    NobodyAdmitted { listener: String, address: SocketAddr },
    /// The listener takes anonymous clients from beyond this machine.
    EverybodyAdmitted { listener: String, address: SocketAddr },
    /// `--listen` put so many configured listeners aside.
    ListenersReplaced { count: usize },
    /// The largest packets would never fit a Session's queue.
    QueueBelowPacket { queue_bytes_max: usize, packet_bytes_max: usize },
}

impl ConfigErrors {
    /// Whether only the command line is to blame.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Unreadable { .. } => false,
            Self::Mistakes(mistakes) => {
                mistakes.0.iter().all(|it| matches!(it.place.origin(), Origin::Argument(_)))
            }
        }
    }
}

impl Mistakes {
    /// `None` when there is nothing to report. A line that is not TOML has that one mistake, and
    /// what it was to say is not missing.
    pub(super) fn new(mut found: Vec<Mistake>) -> Option<Self> {
        found.sort_by_key(|mistake| mistake.place.offset());
        let broken: Vec<_> =
            found.iter().filter(|it| it.is_syntax()).filter_map(|it| it.place.line()).collect();
        found.retain(|it| {
            let on_broken = it.place.line().is_some_and(|line| broken.contains(&line));
            let missing = matches!(it.problem, Problem::Missing { .. });
            it.is_syntax() || !(on_broken || missing && !broken.is_empty())
        });
        found.dedup_by(|later, earlier| {
            later.is_syntax() && earlier.is_syntax() && later.place.line() == earlier.place.line()
        });
        if found.is_empty() { None } else { Some(Self(found)) }
    }

    pub fn as_slice(&self) -> &[Mistake] {
        &self.0
    }
}

impl Mistake {
    fn is_syntax(&self) -> bool {
        matches!(self.problem, Problem::Syntax(_))
    }
}

impl Problem {
    /// The lines below the caret.
    fn help(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match self {
            Self::Value { allowed, .. }
            | Self::TooSmall { allowed, .. }
            | Self::TooLarge { allowed, .. }
            | Self::Missing { allowed, .. } => lines.push(format!("allowed: {allowed}")),
            Self::WrongForm { allowed, .. } => lines.push(format!("write it as {allowed}")),
            Self::Above { key, limit, .. } => {
                lines.push(format!("lower `{key}` or raise `{limit}`"));
            }
            Self::Repeated { .. } => lines.push("leave one of them out".to_owned()),
            Self::Both { .. } => lines.push("write one of them".to_owned()),
            Self::UsernameTaken(_) => {
                lines.push("each user of a listener has one credential".to_owned());
            }
            Self::TooManyCredentials { .. } => {
                lines.push("leave some out, or give them to another listener".to_owned());
            }
            Self::NameTaken(_) => lines.push("each listener needs its own name".to_owned()),
            Self::AddressTaken { .. } => {
                lines.push("each listener needs its own address or port".to_owned());
            }
            Self::UnknownKey { near: None, known, .. }
            | Self::UnknownTable { near: None, known, .. } => {
                lines.push(format!("allowed: {known}"));
            }
            Self::UnknownVariable { near: None } => lines.push(
                "allowed: DUNLIN_<KEY>, DUNLIN_<TABLE>__<KEY> and DUNLIN_LISTENER__<NAME>__<KEY>, \
                 all in upper case"
                    .to_owned(),
            ),
            Self::Syntax(_)
            | Self::NotUtf8
            | Self::UnknownKey { .. }
            | Self::UnknownTable { .. }
            | Self::UnknownVariable { .. } => {}
        }
        match self {
            Self::UnknownKey { near: Some(near), .. }
            | Self::UnknownTable { near: Some(near), .. }
            | Self::UnknownVariable { near: Some(near) }
            | Self::Value { near: Some(near), .. } => lines.push(format!("did you mean {near}?")),
            _ => {}
        }
        lines
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.0 {
            writeln!(to, "{mistake}\n")?;
        }
        match self.0.len() {
            1 => write!(to, "1 mistake in the configuration"),
            count => write!(to, "{count} mistakes in the configuration"),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "{}: {}", self.place.origin(), self.problem)?;
        let margin = self.place.excerpt(to)?;
        for line in self.problem.help() {
            write!(to, "\n{margin}= {line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyAdmitted { listener, address } => write!(
                to,
                "listener `{listener}` on {address} lets nobody in: it refuses anonymous clients \
                 and has no [[listener.credential]] for others; `anonymous = true` in its \
                 [[listener]] table lets everybody in"
            ),
            Self::PasswordsReadable { path } => write!(
                to,
                "{} holds plain passwords and should be readable by its owner only: chmod 600, or \
                 `scram_sha_256` in place of `password`",
                path.display()
            ),
            Self::EverybodyAdmitted { listener, address } => write!(
                to,
                "listener `{listener}` on {address} is open: anybody who can reach it may publish \
                 and subscribe to everything"
            ),
            Self::ListenersReplaced { count } => write!(
                to,
                "--listen replaces the {count} configured {}",
                if *count == 1 { "listener" } else { "listeners" }
            ),
            Self::QueueBelowPacket { queue_bytes_max, packet_bytes_max } => write!(
                to,
                "`session.queue_bytes_max` ({queue_bytes_max} bytes) is below \
                 `limits.packet_bytes_max` ({packet_bytes_max} bytes): the largest messages can \
                 never wait for a client"
            ),
        }
    }
}
