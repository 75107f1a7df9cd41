//! What a running broker does for its owner: a command over a Unix socket in the data directory, and
//! one answer.
//!
//! ```text
//! dunlin store backup: ask --a line of JSON--> control.sock: Control --bounded channel--> whoever
//!                        <--a line of JSON---                <------- once ----------- carries it out
//! ```
//!
//! The socket is for the owner of the process and for root alone. What a local client may send is
//! bounded in size, in time and in number, and nothing here runs on a worker: whatever happens at the
//! socket, no client of the broker notices. This room knows neither what a store is nor how it is
//! backed up.

mod ask;
mod line;
mod socket;

use std::path::PathBuf;

use serde_json::{Map, Value};
use tokio::sync::oneshot;

pub use ask::{AskError, ask};
pub use socket::{Control, ControlError};

/// The socket's name in the data directory.
pub const SOCKET: &str = "control.sock";

/// What the owner may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// How the broker and its store are doing.
    Status,
    /// A consistent copy of the store in a directory that does not exist or is empty. The path is
    /// absolute: who asks and who answers need not stand in the same place.
    Backup { directory: PathBuf },
}

/// A command on its way to whoever carries it out.
#[derive(Debug)]
pub struct Request {
    pub command: Command,
    /// One that is dropped is answered for: the broker stops.
    pub reply: oneshot::Sender<Answer>,
}

/// What was asked for, or why not.
pub type Answer = Result<Figures, Refusal>;

/// Names and what they come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(Map<String, Value>);

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// Whose it is, for an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The broker does not understand the command.
    Unknown,
    /// Something else has to end first.
    Busy,
    /// The directory cannot be what it was named for.
    CannotCreate,
    Permission,
    Io,
}

impl Figures {
    #[must_use]
    pub fn number(mut self, name: &str, value: u64) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn text(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), Value::String(value.into()));
        self
    }

    /// Each name in words, and its value as people read it.
    pub fn lines(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (name.replace('_', " "), value)
        })
    }

    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
}

impl Refusal {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}
