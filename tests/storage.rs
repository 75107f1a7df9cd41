//! The durable store, through its contract alone: changes in, and what is kept after a restart.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects has to fail"
)]

#[path = "storage/support.rs"]
mod support;

/// Files that are not as they were written.
#[path = "storage/damage.rs"]
mod damage;
/// Writes and syncs that fail, and slow ones.
#[path = "storage/faults.rs"]
mod faults;
/// What is kept comes back.
#[path = "storage/keeping.rs"]
mod keeping;
/// A small model of what is kept.
#[path = "storage/model.rs"]
mod model;
/// Copies, a store that nobody uses, and what it occupies.
#[path = "storage/offline.rs"]
mod offline;
/// Stores of earlier versions.
#[path = "storage/schemas.rs"]
mod schemas;
