//! `dunlin bench` as a user runs it: against the real broker, and against a server that loses,
//! repeats, swaps and damages messages.

// Helpers of an integration test are test code too, but the lints see only `#[test]` functions.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a failed test is a panic"
)]

#[path = "../support/broker.rs"]
mod broker;
mod faults;
mod mischief;
mod patterns;
mod refusals;

use std::net::SocketAddr;

use broker::program;
use serde_json::Value;

/// What a run came to.
struct Outcome {
    code: Option<i32>,
    /// `Null` if there was none.
    report: Value,
    errors: String,
}

impl Outcome {
    #[track_caller]
    fn number(&self, name: &str) -> u64 {
        self.report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {}", self.report))
    }

    /// Lost, duplicated, out of order, damaged.
    #[track_caller]
    fn faults(&self) -> [u64; 4] {
        ["lost", "duplicated", "out_of_order", "damaged"].map(|name| self.number(name))
    }
}

/// Runs `dunlin bench` with these words and what makes it short and its result readable.
fn bench(address: SocketAddr, words: &str) -> Outcome {
    let output = program()
        .arg("bench")
        .args(words.split_whitespace())
        .args(["--json", "--broker", &address.to_string()])
        .output()
        .expect("the binary starts");
    let text = String::from_utf8(output.stdout).expect("text");
    Outcome {
        code: output.status.code(),
        report: serde_json::from_str(&text).unwrap_or(Value::Null),
        errors: String::from_utf8(output.stderr).expect("text"),
    }
}
