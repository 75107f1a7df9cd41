//! Who a client proved to be, beside the Client Identifier that it only claims.

use std::fmt;
use std::sync::Arc;

/// Whose a Session is: what its first connection proved.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Identity {
    /// Nothing was proved.
    Anonymous,
    User(UserName),
}

/// A User Name that its client proved to be its own.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct UserName(Arc<str>);

impl UserName {
    /// `None` for the empty string.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
