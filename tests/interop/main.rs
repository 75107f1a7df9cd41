//! The MQTT clients that people use, unmodified, against the real binary: Mosquitto's tools, paho
//! for Python and MQTT.js. `tests/run.sh` installs them; none of these tests is ever skipped.

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
mod tool;

mod mosquitto;
mod mqttjs;
mod paho_python;
