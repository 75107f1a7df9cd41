//! Who may connect: the contract of an authentication, and the engines behind it.
//!
//! An engine is asked by listener: once for each CONNECT without an Authentication Method, which
//! may take its time, since nothing else of the worker waits for it; or for each step of an
//! [`Exchange`], which never waits, because a step of a re-authentication is one packet among
//! others.
//!
//! - [`credentials`]: what a listener knows of its users; [`scram`]: the method, as values.

mod credentials;
mod scram;

use crate::config::{Anonymous, Listener};
use crate::packet::{Identity, UserName};

use credentials::Table;
use scram::Challenged;

/// What a client says of itself.
#[derive(Debug)]
pub struct Credentials<'a> {
    pub username: Option<&'a str>,
    pub password: Option<&'a [u8]>,
}

/// What was decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    Admitted(Identity),
    /// The listener admits no client that proves nothing.
    AnonymousRefused,
}

/// A listener's engine.
#[derive(Debug)]
pub enum Authenticator {
    /// No engine that could check a password: everybody is anonymous, whatever he says.
    Anonymous(Anonymous),
    /// SCRAM-SHA-256 for clients that ask for it; `others` says whether the rest is let in.
    Scram { table: Table, others: Anonymous },
}

/// Why a listener has no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the operating system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

/// An Authentication Method (5.0 s4.12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// RFC 7677.
    ScramSha256,
}

/// One exchange of a method, at CONNECT or to authenticate again.
///
/// ```text
/// Begun --nothing--> Invited
///   |                   |
///   +---- client-first -+-> Challenged --client-final--> Over
/// ```
/// It ends with its first mistake, so it has three steps at most.
#[derive(Debug)]
pub struct Exchange(State);

#[derive(Debug)]
enum State {
    Begun,
    /// The client was asked for its first message.
    Invited,
    Challenged(Box<Challenged>),
    Over,
}

/// What follows from a client's message.
#[derive(Debug)]
pub enum Step {
    /// The client has to answer this, or to begin if there is nothing.
    Challenge(Option<Vec<u8>>),
    /// The client is who it says; `data` proves the server to it.
    Proven { user: UserName, data: Vec<u8> },
}

/// Why a client was not believed. It is for the log: the client learns no more than that.
#[derive(Debug)]
pub struct Rejected {
    /// Whom it wanted to be, where it came to say so.
    pub username: Option<String>,
    pub cause: Cause,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Cause {
    #[error("the message is not one of SCRAM")]
    Malformed,
    #[error("channel binding is asked for, which needs TLS")]
    ChannelBinding,
    #[error("an extension is asked for that this server does not have")]
    Extension,
    #[error("another user's authorization is asked for")]
    AuthorizationIdentity,
    #[error("the messages do not belong together")]
    Mismatch,
    #[error("there is no such user")]
    UnknownUser,
    #[error("the password is wrong")]
    WrongPassword,
    #[error("the connection belongs to another user")]
    OtherUser,
    #[error("the operating system gives no random numbers")]
    NoRandom,
}

impl Authenticator {
    /// Makes the engine. Each plain password takes some milliseconds.
    ///
    /// # Errors
    /// If the machine has no random numbers.
    pub fn of(listener: &Listener) -> Result<Self, EngineError> {
        let others = listener.anonymous;
        if listener.credentials.is_empty() {
            return Ok(Self::Anonymous(others));
        }
        Ok(Self::Scram { table: Table::new(&listener.credentials)?, others })
    }

    /// Decides about a client that names no Authentication Method.
    #[expect(clippy::unused_async, reason = "an engine that asks a service has to wait for it")]
    pub async fn decide(&self, _: &Credentials<'_>) -> Decision {
        match self {
            Self::Anonymous(anonymous) | Self::Scram { others: anonymous, .. } => match anonymous {
                Anonymous::Allowed => Decision::Admitted(Identity::Anonymous),
                Anonymous::Refused => Decision::AnonymousRefused,
            },
        }
    }

    /// The method of this name, if the listener has it. The name is compared byte by byte, as the
    /// standard compares all its strings.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<Method> {
        match self {
            Self::Anonymous(_) => None,
            Self::Scram { .. } => {
                (name == Method::ScramSha256.name()).then_some(Method::ScramSha256)
            }
        }
    }

    /// Takes a client's message. Nothing stands for an AUTH or CONNECT without Authentication Data.
    ///
    /// # Errors
    /// If the client did not prove to be who it says; the exchange is over then.
    pub fn step(&self, exchange: &mut Exchange, data: Option<&[u8]>) -> Result<Step, Rejected> {
        let Self::Scram { table, .. } = self else {
            return Err(Rejected { username: None, cause: Cause::Malformed });
        };
        let state = std::mem::replace(&mut exchange.0, State::Over);
        // No message of the method is empty.
        match (state, data.filter(|data| !data.is_empty())) {
            (State::Begun, None) => {
                exchange.0 = State::Invited;
                Ok(Step::Challenge(None))
            }
            (State::Begun | State::Invited, Some(first)) => {
                let nonce = scram::nonce()
                    .map_err(|_| Rejected { username: None, cause: Cause::NoRandom })?;
                let (challenged, challenge) = scram::challenge(table, first, &nonce)?;
                exchange.0 = State::Challenged(Box::new(challenged));
                Ok(Step::Challenge(Some(challenge)))
            }
            (State::Challenged(challenged), data) => {
                let (user, data) = challenged.verify(data.unwrap_or_default())?;
                Ok(Step::Proven { user, data })
            }
            (State::Invited, None) | (State::Over, _) => {
                Err(Rejected { username: None, cause: Cause::Malformed })
            }
        }
    }
}

impl Method {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => "SCRAM-SHA-256",
        }
    }
}

impl Exchange {
    #[must_use]
    pub fn new(method: Method) -> Self {
        match method {
            Method::ScramSha256 => Self(State::Begun),
        }
    }
}
