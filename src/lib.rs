//! The broker as a library: every room of `ARCHITECTURE.md`, for the binary, the tests and benches.

pub mod auth;
pub mod change;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod control;
pub mod daemon;
pub mod message;
pub mod metrics;
pub mod packet;
pub mod router;
pub mod server;
pub mod session;
pub mod storage;
pub mod time;
pub mod topic;
pub mod transport;
