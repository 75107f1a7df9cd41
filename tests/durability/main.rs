//! What the broker acknowledged survives its end: the real binary with a data directory, killed,
//! cut off its power, with a full disk, failing files and damaged ones.
//!
//! ```sh
//! cargo test --test durability                                   # the short form
//! DUNLIN_DURABILITY_ROUNDS=100 cargo test --release --test durability -- --nocapture   # the long one
//! DUNLIN_DURABILITY_SEED=17 cargo test --test durability kill    # the moments of one run
//! ```
//! [`world`] is everybody who uses a broker, [`ledger`] the checker, which has tests of its own and
//! is shown here to see loss where nobody promised anything.

// Helpers of an integration test are test code too, but the lints see only `#[test]` functions.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a failed test is a panic"
)]

#[path = "../support/broker.rs"]
mod broker;
mod bulk;
#[path = "../support/connect.rs"]
mod connect;
mod damage;
mod disk;
mod faults;
mod growth;
mod kill;
mod ledger;
mod link;
mod power;
mod probe;
mod publisher;
#[path = "../simulation/random.rs"]
mod random;
mod server;
mod sessions;
mod shared;
mod shim;
mod subscriber;
mod wills;
#[path = "../support/wire.rs"]
mod wire;
mod world;

/// How many rounds to do of what is done so often in the short form.
fn rounds(short: u64) -> u64 {
    number("DUNLIN_DURABILITY_ROUNDS").unwrap_or(short)
}

fn is_long() -> bool {
    number("DUNLIN_DURABILITY_ROUNDS").is_some()
}

/// What the random moments of a run follow from.
fn seed() -> u64 {
    let random = || {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).expect("random numbers");
        u64::from_le_bytes(bytes) >> 32
    };
    number("DUNLIN_DURABILITY_SEED").unwrap_or_else(random)
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}
