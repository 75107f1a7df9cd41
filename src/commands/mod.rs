//! The subcommands, a file each. They write to the handles they are given and return what went
//! wrong; only `cli` knows exit codes, and no subcommand serves.

pub mod bench;
pub mod check;
pub mod print_config;
pub mod store;

use std::io;

use crate::config::ConfigErrors;

/// Why a subcommand did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Bench(#[from] bench::BenchError),
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error("cannot write the output")]
    Output(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] store::StoreError),
}
