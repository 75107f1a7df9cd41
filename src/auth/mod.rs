//! Who may connect: the contract of an authentication, and the engines behind it.
//!
//! An engine is asked once for each CONNECT, by listener, and may take its time: nothing else of the
//! worker waits for it.

use crate::config::{Anonymous, Listener};

/// What a client says of itself.
#[derive(Debug)]
pub struct Credentials<'a> {
    pub username: Option<&'a str>,
    pub password: Option<&'a [u8]>,
}

/// What was decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    Admitted,
    /// The listener admits no client that proves nothing.
    AnonymousRefused,
}

/// A listener's engine.
#[derive(Debug)]
pub enum Authenticator {
    /// No engine that could check a password: everybody is anonymous, whatever he says.
    Anonymous(Anonymous),
}

impl Authenticator {
    #[must_use]
    pub fn of(listener: &Listener) -> Self {
        Self::Anonymous(listener.anonymous)
    }

    /// Decides about a client.
    #[expect(clippy::unused_async, reason = "an engine that asks a service has to wait for it")]
    pub async fn decide(&self, _: &Credentials<'_>) -> Decision {
        match self {
            Self::Anonymous(Anonymous::Allowed) => Decision::Admitted,
            Self::Anonymous(Anonymous::Refused) => Decision::AnonymousRefused,
        }
    }
}
