//! Which node a Session is on: the contract of a cluster, and the engines behind it.
//!
//! Before a connection gets its Session the node claims the Client Identifier. The claim's
//! [`Epoch`] goes with every change of that Session, so that a store can refuse a node whose claim
//! is no longer the newest.

mod standalone;

use crate::change::Epoch;
use crate::packet::ClientId;

pub use standalone::Standalone;

/// The engine in use.
#[derive(Debug)]
pub enum Cluster {
    Standalone(Standalone),
}

/// A claim could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error("another node holds this Client Identifier and cannot be reached")]
    Unreachable,
}

impl Cluster {
    /// Makes this node the owner of a Client Identifier.
    ///
    /// # Errors
    /// If another node has it and does not give it up.
    #[expect(clippy::unused_async, reason = "an engine with other nodes has to ask them")]
    pub async fn claim(&self, client_id: &ClientId) -> Result<Epoch, ClaimError> {
        match self {
            Self::Standalone(standalone) => Ok(standalone.claim(client_id)),
        }
    }
}
