//! What dunlin costs beside Debian's mosquitto and beside a bare relay of bytes, over the whole matrix.
//!
//! ```text
//! cargo bench --bench compare                                        all of it
//! cargo bench --bench compare -- --only p2p-w256,qos1 --rounds 7     some of it
//! cargo bench --bench compare -- --list                              what there is
//! ```
//! The servers run in turn (A B C, A B C), each freshly started for each run, under the load of
//! `dunlin bench`, which also reads what the kernel counted for them. Prints a table in Markdown for
//! `RESULTS.md`. Needs Linux, and Debian's mosquitto unless `--servers` leaves it out.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is the result")]

#[path = "compare/matrix.rs"]
mod matrix;
#[path = "compare/relay.rs"]
mod relay;
#[path = "compare/report.rs"]
mod report;
#[path = "compare/server.rs"]
mod server;

use std::error::Error;
use std::io;
use std::process::{Command, ExitCode, Stdio};

use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use matrix::{MATRIX, Measure, Row};
use report::{Sample, Series};
use server::{Kind, Server, ServerError};

/// Connections, here and in the server.
const OPEN_FILES: u64 = 20_000;

#[derive(Debug, Parser)]
struct Arguments {
    /// Rows of the matrix, by name
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Show the rows of the matrix
    #[arg(long)]
    list: bool,
    #[arg(long, value_delimiter = ',', default_value = "mosquitto,dunlin,relay")]
    servers: Vec<Name>,
    /// Worker threads of dunlin; a column for each
    #[arg(long, value_delimiter = ',', default_value = "1")]
    workers: Vec<usize>,
    /// Runs of each server for each row
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a run is measured; a quarter of it comes before, uncounted
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Be the relay
    #[arg(long, hide = true)]
    relay: bool,
    /// What cargo says when it runs benches, and not when it runs tests
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Name {
    Mosquitto,
    Dunlin,
    Relay,
}

#[derive(Debug, thiserror::Error)]
enum CompareError {
    #[error("there is no row '{0}': see --list")]
    Row(String),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("cannot run `dunlin bench`")]
    Bench(#[source] io::Error),
    #[error("`dunlin bench {arguments}` against {kind} has no result: {told}")]
    NoResult { kind: Kind, arguments: String, told: String },
    #[error("cannot read how much memory {0} has")]
    NoMemory(Kind),
    #[error("the relay failed")]
    Relay(#[source] io::Error),
}

impl Arguments {
    fn kinds(&self) -> Vec<Kind> {
        let dunlins = || self.workers.iter().map(|&workers| Kind::Dunlin { workers });
        let of = |name: &Name| match name {
            Name::Mosquitto => vec![Kind::Mosquitto],
            Name::Dunlin => dunlins().collect(),
            Name::Relay => vec![Kind::Relay],
        };
        self.servers.iter().flat_map(of).collect()
    }

    fn rows(&self) -> Result<Vec<&'static Row>, CompareError> {
        if self.only.is_empty() {
            return Ok(MATRIX.iter().collect());
        }
        let row = |name: &String| {
            let found = MATRIX.iter().find(|row| row.name == name);
            found.ok_or_else(|| CompareError::Row(name.clone()))
        };
        self.only.iter().map(row).collect()
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = if arguments.relay {
        relay::run().map(|()| true).map_err(CompareError::Relay)
    } else if arguments.list {
        for row in MATRIX {
            println!("{:<16} {}", row.name, row.command(arguments.seconds));
        }
        Ok(true)
    } else if !arguments.bench {
        println!("compare: measures only under `cargo bench --bench compare`");
        Ok(true)
    } else {
        raise_open_files();
        compare(&arguments)
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprint!("compare: {error}");
            let mut source = error.source();
            while let Some(error) = source {
                eprint!(": {error}");
                source = error.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

/// Whether every message arrived as it was sent.
fn compare(arguments: &Arguments) -> Result<bool, CompareError> {
    let (rows, kinds) = (arguments.rows()?, arguments.kinds());
    println!("{}", report::head(&kinds, arguments.rounds));
    let mut is_clean = true;
    for row in rows {
        let takes_part = |kind: &&Kind| **kind != Kind::Relay || row.relayed;
        let series = |&kind: &Kind| Series { kind, samples: Vec::new() };
        let mut all: Vec<Series> = kinds.iter().filter(takes_part).map(series).collect();
        for round in 1..=arguments.rounds {
            for series in &mut all {
                let sample = measure(series.kind, row, arguments.seconds)?;
                eprintln!("{} {round}/{} {}: {sample}", row.name, arguments.rounds, series.kind);
                is_clean &= sample.faults == 0;
                series.samples.push(sample);
            }
        }
        println!("{}", report::line(row, &kinds, &all));
    }
    println!("\n{}", report::versions(&kinds));
    Ok(is_clean)
}

/// One run against a server that was just started.
fn measure(kind: Kind, row: &Row, seconds: f64) -> Result<Sample, CompareError> {
    let server = Server::start(kind)?;
    match row.measure {
        Measure::Start => return Ok(Sample::alone(server.took.as_secs_f64() * 1e3)),
        Measure::Empty => {
            return server.memory().map(Sample::alone).ok_or(CompareError::NoMemory(kind));
        }
        Measure::Message
        | Measure::Connection
        | Measure::ConnectionMemory
        | Measure::Latency
        | Measure::LatencyBeside
        | Measure::Duration
        | Measure::FilterMemory => {}
    }
    let arguments = row.arguments(seconds);
    let output = Command::new(env!("CARGO_BIN_EXE_dunlin"))
        .arg("bench")
        .args(arguments.split_whitespace())
        .args(["--json", "--timeout", "60", "--broker", &server.address.to_string()])
        .args(["--broker-pid", &server.id().to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(CompareError::Bench)?;
    let report = serde_json::from_slice::<Value>(&output.stdout).ok();
    let sample = report.and_then(|report| Sample::read(row, &report));
    sample.ok_or_else(|| {
        let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        CompareError::NoResult { kind, arguments, told }
    })
}

/// Whom we start inherits it.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(OPEN_FILES).min(OPEN_FILES);
    if limit.current.is_some_and(|current| current < wanted) {
        // If it is refused the rows with many connections say so.
        let _ =
            setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
}
