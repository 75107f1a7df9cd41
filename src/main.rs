//! From arguments to an exit code.

use std::process::ExitCode;

use dunlin::cli::{self, Exit};

fn main() -> ExitCode {
    // What unwinds to here is a bug of ours, and its exit code says so. The message is out already.
    let exit = std::panic::catch_unwind(|| cli::run(std::env::args_os()));
    exit.unwrap_or(Exit::Bug).into()
}
