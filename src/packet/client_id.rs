//! The Client Identifier: whose a Session is.

use std::fmt;
use std::sync::Arc;

/// A Client Identifier that names a Session: never empty, since an empty one is replaced by an
/// assigned one at CONNECT.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ClientId(Arc<str>);

impl ClientId {
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

impl fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
