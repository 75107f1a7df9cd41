//! What is kept beyond the process: the contract of a store, and the engines behind it.
//!
//! A store takes changes in the order they were made and numbers them; [`Journal`] is the whole
//! contract. No method blocks: the router calls them under its locks.

mod memory;

use std::sync::Arc;

pub use memory::Memory;

use crate::change::Journal;
use crate::config::{Storage, StorageEngine};

/// Opens the engine the configuration names.
#[must_use]
pub fn open(storage: &Storage) -> Arc<dyn Journal> {
    match storage.engine {
        // Until there is an engine for it, whose key the file does not know either.
        StorageEngine::Fjall | StorageEngine::Memory => Arc::new(Memory),
    }
}
