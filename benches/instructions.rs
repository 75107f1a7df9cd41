//! How many instructions a message costs dunlin, counted by valgrind's callgrind: the same on a busy
//! machine as on an idle one, so that small differences can be believed.
//!
//! ```text
//! cargo bench --bench instructions                              all rows
//! cargo bench --bench instructions -- --only v5,v5-props-3      some of them
//! callgrind_annotate FILE                                       where they go, of a file it names
//! ```
//! Each row is two runs of `dunlin bench` of different length against a broker with one worker; their
//! difference has neither the start nor the end in it. Under callgrind the broker is so much slower
//! than its load that a publisher's window is always full. Needs valgrind.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is the result")]

use std::collections::HashMap;
use std::env::temp_dir;
use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};

#[derive(Debug, Parser)]
struct Arguments {
    /// Rows, by name
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Messages of the short run; the long one has six times as many
    #[arg(long, default_value_t = 50_000)]
    messages: u64,
    /// What cargo says when it runs benches, and not when it runs tests
    #[arg(long, hide = true)]
    bench: bool,
}

/// A load, and what it may cost beside another.
struct Row {
    name: &'static str,
    load: &'static str,
    /// The same without User Properties: with them it may cost a fifth more.
    plain: Option<&'static str>,
}

const PERCENT_MORE_MAX: f64 = 20.0;

/// Messages of the long run for each of the short one.
const LONG: u64 = 6;

/// How large a copy is before the C library makes it by `rep movsb`. Callgrind counts that one
/// instruction once for each byte, so it has to go without.
const TUNABLES: &str = "glibc.cpu.x86_rep_movsb_threshold=1073741824";

const fn row(name: &'static str, load: &'static str) -> Row {
    Row { name, load, plain: None }
}

const fn with_properties(name: &'static str, plain: &'static str, load: &'static str) -> Row {
    Row { plain: Some(plain), ..row(name, load) }
}

/// Of one topic messages come in runs; of 64 by turns each is routed by itself; and with a window
/// of 1 each is also read and written by itself.
const ROWS: &[Row] = &[
    row("w256", "p2p --window 256 --protocol 5.0"),
    with_properties("w256-1", "w256", "p2p --window 256 --protocol 5.0 --user-properties 1"),
    with_properties("w256-3", "w256", "p2p --window 256 --protocol 5.0 --user-properties 3"),
    row("topics", "wildcard --filters 0 --topics 64 --window 256 --protocol 5.0"),
    with_properties(
        "topics-1",
        "topics",
        "wildcard --filters 0 --topics 64 --window 256 --protocol 5.0 --user-properties 1",
    ),
    with_properties(
        "topics-3",
        "topics",
        "wildcard --filters 0 --topics 64 --window 256 --protocol 5.0 --user-properties 3",
    ),
    row("w1", "p2p --window 1 --protocol 5.0"),
    with_properties("w1-1", "w1", "p2p --window 1 --protocol 5.0 --user-properties 1"),
    with_properties("w1-3", "w1", "p2p --window 1 --protocol 5.0 --user-properties 3"),
    row("qos1", "p2p --qos 1 --window 64 --protocol 5.0"),
    with_properties("qos1-3", "qos1", "p2p --qos 1 --window 64 --protocol 5.0 --user-properties 3"),
    row("v311", "p2p --window 256"),
    row("fan-out-100", "fan-out --subscribers 100 --window 64"),
    row("fan-in-shared", "fan-in --publishers 50 --shared 4 --window 16"),
    row("qos2", "p2p --qos 2 --window 64"),
];

#[derive(Debug, thiserror::Error)]
enum InstructionsError {
    #[error("there is no row '{0}'")]
    Row(String),
    #[error("cannot run valgrind: `apt-get install valgrind`")]
    Valgrind(#[source] io::Error),
    #[error("the broker does not listen")]
    Silent,
    #[error("cannot run `dunlin bench`")]
    Bench(#[source] io::Error),
    #[error("`dunlin bench {load}` failed: {told}")]
    Load { load: String, told: String },
    #[error("cannot end the broker")]
    End(#[source] io::Error),
    #[error("cannot read {0}")]
    Unread(PathBuf, #[source] io::Error),
    #[error("{0} does not say how many instructions there were")]
    NoTotal(PathBuf),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("instructions: counts only under `cargo bench --bench instructions`");
        return ExitCode::SUCCESS;
    }
    match count_all(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprint!("instructions: {error}");
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

/// Whether no row costs more than it may.
fn count_all(arguments: &Arguments) -> Result<bool, InstructionsError> {
    let is_wanted = |row: &&Row| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| name == row.name)
    };
    if let Some(name) =
        arguments.only.iter().find(|name| !ROWS.iter().any(|row| row.name == **name))
    {
        return Err(InstructionsError::Row(name.clone()));
    }
    println!("| row | instructions a message | more than | load |");
    println!("| --- | --- | --- | --- |");
    let (mut counted, mut is_cheap) = (HashMap::new(), true);
    for row in ROWS.iter().filter(is_wanted) {
        let each = count(row, arguments.messages)?;
        counted.insert(row.name, each);
        let plain = row.plain.and_then(|name| Some((name, counted.get(name)?)));
        let beside = plain.map_or_else(String::new, |(name, plain)| {
            let percent_more = (each / plain - 1.0) * 100.0;
            let is_over = percent_more > PERCENT_MORE_MAX;
            is_cheap &= !is_over;
            format!(
                "{percent_more:.1} % than {name}{}",
                if is_over { ", **too much**" } else { "" }
            )
        });
        println!("| {} | {each:.1} | {beside} | `{}` |", row.name, row.load);
    }
    Ok(is_cheap)
}

/// Instructions for each delivered message.
fn count(row: &Row, messages: u64) -> Result<f64, InstructionsError> {
    let short = run(row, messages, "short")?;
    let long = run(row, messages * LONG, "long")?;
    let (instructions, delivered) =
        (long.instructions - short.instructions, long.delivered - short.delivered);
    eprintln!("{}: {instructions} instructions for {delivered} messages", row.name);
    Ok(instructions as f64 / delivered as f64)
}

#[derive(Clone, Copy, Debug)]
struct Counted {
    instructions: u64,
    delivered: u64,
}

fn run(row: &Row, messages: u64, name: &str) -> Result<Counted, InstructionsError> {
    let file = temp_dir().join(format!("dunlin-instructions-{}-{name}.out", row.name));
    let broker = Broker::start(&file)?;
    let load = format!("{} --warm-up 0 --seconds 3600 --messages {messages}", row.load);
    let output = Command::new(env!("CARGO_BIN_EXE_dunlin"))
        .arg("bench")
        .args(load.split_whitespace())
        .args(["--json", "--timeout", "120", "--broker", &broker.address.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(InstructionsError::Bench)?;
    let report = serde_json::from_slice::<serde_json::Value>(&output.stdout).ok();
    let delivered = report.and_then(|report| report.get("delivered")?.as_u64());
    let Some(delivered) = delivered.filter(|_| output.status.success()) else {
        let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(InstructionsError::Load { load, told });
    };
    broker.stop().map_err(InstructionsError::End)?;
    let text = fs::read_to_string(&file)
        .map_err(|error| InstructionsError::Unread(file.clone(), error))?;
    let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    eprintln!("{}: {}", row.name, file.display());
    Ok(Counted { instructions: total.ok_or(InstructionsError::NoTotal(file))?, delivered })
}

/// A broker under callgrind. Dropping it ends the process.
#[derive(Debug)]
struct Broker {
    child: Child,
    address: SocketAddr,
    output: BufReader<ChildStdout>,
}

impl Broker {
    fn start(file: &Path) -> Result<Self, InstructionsError> {
        let mut child = Command::new("valgrind")
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", file.display()))
            .arg(env!("CARGO_BIN_EXE_dunlin"))
            .args(["--memory", "--listen", "127.0.0.1:0"])
            .env("DUNLIN_WORKERS", "1")
            .env("GLIBC_TUNABLES", TUNABLES)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(InstructionsError::Valgrind)?;
        let mut output = BufReader::new(child.stdout.take().ok_or(InstructionsError::Silent)?);
        let address =
            output.by_ref().lines().map_while(Result::ok).find_map(|line| listening(&line));
        match address {
            Some(address) => Ok(Self { child, address, output }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                Err(InstructionsError::Silent)
            }
        }
    }

    /// Lets the broker end, which has callgrind write its file.
    fn stop(mut self) -> io::Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.ok_or(io::ErrorKind::NotFound)?, Signal::TERM)?;
        io::copy(&mut self.output, &mut io::sink())?;
        self.child.wait().map(drop)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in a line such as `listening on 127.0.0.1:1883`.
fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    rest.split_whitespace().find_map(|word| word.trim_end_matches(',').parse().ok())
}
