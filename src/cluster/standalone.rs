//! The engine of a broker that runs alone: every claim succeeds at once.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::change::Epoch;
use crate::packet::ClientId;

#[derive(Debug, Default)]
pub struct Standalone {
    last: AtomicU64,
}

impl Standalone {
    pub(super) fn claim(&self, _: &ClientId) -> Epoch {
        Epoch(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
