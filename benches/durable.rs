//! What it costs to keep every message: sent to persistent Sessions that are away, and to takers who
//! acknowledge them before they are written.
//!
//! ```text
//! cargo bench --bench durable                                   all of it
//! cargo bench --bench durable -- --only away-16 --seconds 20    some of it
//! cargo bench --bench durable -- --sync os --dir /mnt/disk      another policy, another disk
//! cargo bench --bench durable -- --beside                       what it costs those who are not kept
//! cargo bench --bench durable -- --soak 30                      minutes; the longest PUBACK
//! ```
//! The broker is freshly started on an empty directory for each row. One thread is all of the load, so
//! on two cores the broker has about one. The disk is asked for its raw fdatasync right before and
//! after each row; `tests/durability/shim.c`, preloaded into the broker, counts its syncs. Linux only.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "the table is the result, and without a result there is nothing to tell"
)]

#[path = "durable/broker.rs"]
mod broker;
#[path = "durable/disk.rs"]
mod disk;
#[path = "durable/load.rs"]
mod load;
#[path = "../tests/durability/shim.rs"]
mod shim;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tokio::runtime::{Builder, LocalOptions};

use broker::Broker;
use load::{Load, Measured, Part, Takers};

#[derive(Debug, Parser)]
struct Arguments {
    /// Rows, by name
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How long a row is measured; a quarter of it comes before, uncounted
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    #[arg(long, default_value = "always")]
    sync: Sync,
    /// Where the broker stores; its disk is what is measured
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// Instead of the rows: so many minutes, in which the takers come and go
    #[arg(long, value_name = "MINUTES")]
    soak: Option<f64>,
    /// Messages a second of the soak, all publishers together
    #[arg(long, default_value_t = 25_000.0, requires = "soak")]
    rate: f64,
    /// Instead of the rows: messages for takers that nobody keeps, alone and beside kept ones
    #[arg(long, conflicts_with = "soak")]
    beside: bool,
    /// What cargo says when it runs benches, and not when it runs tests
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Sync {
    Always,
    Interval,
    Os,
    Off,
    /// Not a policy: the engine that keeps nothing, for comparison
    Memory,
}

impl Sync {
    fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Interval => "interval",
            Self::Os => "os",
            Self::Off => "off",
            Self::Memory => "memory",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Row {
    name: &'static str,
    part: Part,
}

const ROWS: &[Row] = &[
    row("away-16", 16, Takers::Away),
    row("away-256", 256, Takers::Away),
    row("away-1", 1, Takers::Away),
    paced("paced-16", 16, 25_000.0),
    paced("paced-256", 256, 40_000.0),
    row("online-16", 16, Takers::Online),
    row("fleeting-16", 16, Takers::Fleeting),
];

const fn row(name: &'static str, publishers: usize, takers: Takers) -> Row {
    Row { name, part: Part { publishers, takers, rate: None } }
}

/// Takers who are away, and a rate.
const fn paced(name: &'static str, publishers: usize, rate: f64) -> Row {
    Row { name, part: Part { publishers, takers: Takers::Away, rate: Some(rate) } }
}

/// What goes on beside each other, at rates that leave two cores time to spare.
const KEPT: Part = Part { publishers: 16, takers: Takers::Away, rate: Some(10_000.0) };
const NOT_KEPT: Part = Part { publishers: 16, takers: Takers::Fleeting, rate: Some(40_000.0) };
const BESIDE_ROUNDS: usize = 5;

fn main() {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("durable: measures only under `cargo bench --bench durable`");
        return;
    }
    println!("storage.sync = {:?}, in {}\n", arguments.sync.name(), arguments.dir.display());
    if arguments.beside {
        return beside(&arguments);
    }
    println!("{}", head());
    if let Some(minutes) = arguments.soak {
        let time = Duration::from_secs_f64(minutes * 60.0);
        let part = Part { publishers: 16, takers: Takers::ComeAndGo, rate: Some(arguments.rate) };
        return print_row(&arguments, Row { name: "soak-16", part }, time);
    }
    let is_wanted = |row: &&Row| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| name == row.name)
    };
    for row in ROWS.iter().filter(is_wanted) {
        print_row(&arguments, *row, Duration::from_secs_f64(arguments.seconds));
    }
}

fn print_row(arguments: &Arguments, row: Row, time: Duration) {
    let (measured, raw) = measure(arguments, &[row.part], time);
    println!("{}", line(row.name, &measured, raw));
}

/// What the processor of the broker is used for by one part, by the other, and by both at once. What
/// both take beyond the two is what one costs the other.
fn beside(arguments: &Arguments) {
    println!(
        "| round | kept alone, CPU-µs a second | not kept alone | both | more a message not kept |"
    );
    println!("| --- | --- | --- | --- | --- |");
    let mut shares = Vec::new();
    for round in 1..=BESIDE_ROUNDS {
        let time = Duration::from_secs_f64(arguments.seconds);
        let used = [&[KEPT][..], &[NOT_KEPT], &[KEPT, NOT_KEPT]].map(|parts| {
            let (measured, _) = measure(arguments, parts, time);
            let wanted = parts.iter().filter_map(|part| part.rate).sum::<f64>();
            let rate = measured.messages as f64 / measured.time.as_secs_f64();
            assert!(rate > wanted * 0.98, "{rate} messages a second instead of {wanted}");
            measured.processor.as_secs_f64() * 1e6 / measured.time.as_secs_f64()
        });
        let [kept, not_kept, both] = used;
        let share = (both - kept - not_kept) / not_kept * 100.0;
        println!("| {round} | {kept:.0} | {not_kept:.0} | {both:.0} | {share:+.1} % |");
        shares.push(share);
    }
    shares.sort_by(f64::total_cmp);
    let median = shares.get(shares.len() / 2).copied().unwrap_or_default();
    println!("\nmedian: {median:+.1} %");
}

/// And the raw fdatasync.
fn measure(arguments: &Arguments, parts: &[Part], time: Duration) -> (Measured, Duration) {
    let folder = Folder::new(&arguments.dir);
    let before = disk::raw_sync(&folder.0);
    let broker = Broker::start(&folder.0, arguments.sync.name());
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = runtime.expect("a runtime");
    let load = Load { parts, time };
    let measured = runtime.block_on(load.run(&broker));
    drop(broker);
    let after = disk::raw_sync(&folder.0);
    (measured, before.min(after))
}

fn head() -> String {
    "| row | msg/s | CPU-µs a message | messages a sync | a sync in µs | longest sync in ms | \
     raw fdatasync in µs | PUBACK p50 ms | p99 ms | max ms | bytes written a payload byte |\n\
     | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
        .to_owned()
}

fn line(name: &str, measured: &Measured, raw: Duration) -> String {
    let Measured { messages, time, processor, syncs, syncing, sync_max, written, latency } =
        measured;
    let count = *messages as f64;
    let milliseconds = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    format!(
        "| {name} | {:.0} | {:.1} | {:.1} | {:.0} | {:.1} | {:.0} | {:.2} | {:.2} | {:.1} | {:.2} |",
        count / time.as_secs_f64(),
        processor.as_secs_f64() * 1e6 / count,
        count / (*syncs).max(1) as f64,
        syncing.as_secs_f64() * 1e6 / (*syncs).max(1) as f64,
        sync_max.as_secs_f64() * 1e3,
        raw.as_secs_f64() * 1e6,
        milliseconds(0.5),
        milliseconds(0.99),
        latency.max() as f64 / 1e3,
        *written as f64 / (count * load::PAYLOAD_BYTES as f64),
    )
}

/// Removed with all that is in it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new(below: &Path) -> Self {
        let path = below.join(format!("durable-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder for the store");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
