//! The durable store, through its contract alone: changes in, and what is kept after a restart.

#[path = "storage/support.rs"]
mod support;

/// What is kept comes back.
#[path = "storage/keeping.rs"]
mod keeping;
