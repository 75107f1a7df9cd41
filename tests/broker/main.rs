//! The real binary over real sockets, spoken to by a client that shares no code with it.
//!
//! Tests wait for events and never for a time: what must happen is awaited, and that something does
//! not happen is seen from what follows it, since a broker keeps a publisher's order.

// Helpers of an integration test are test code too, but the lints see only `#[test]` functions.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a failed test is a panic"
)]

mod support;

mod announced;
mod authentication;
mod endings;
mod exactly_once;
mod features;
mod identity;
mod keep_alive;
mod many;
mod memory;
mod neighbours;
mod process;
mod retained;
mod slow;
mod sys_topics;
