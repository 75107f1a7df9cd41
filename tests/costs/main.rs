//! What must not grow unnoticed and is no time: allocations, system calls and bytes. These numbers are
//! the same on every machine, however busy it is.

// Helpers of an integration test are test code too, but the lints see only `#[test]` functions.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a failed test is a panic"
)]

#[path = "../support/broker.rs"]
mod broker;
mod counted;
#[path = "../support/in_thread.rs"]
mod in_thread;

mod allocations;
mod memory;
mod system_calls;
