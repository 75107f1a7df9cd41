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

mod aliases;
mod announced;
mod authentication;
mod connecting;
mod crowded;
mod exactly_once;
mod features;
mod identity;
mod keep_alive;
mod many;
mod memory;
mod neighbours;
mod payloads;
mod process;
mod reasons;
mod reauthentication;
mod resume;
mod retained;
mod shared;
mod sizes;
mod slow;
mod subscriptions;
mod sys_topics;
mod takeover;
mod will;
