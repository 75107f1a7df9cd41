//! What a delivered message costs the broker in processor time, beside mosquitto under the same
//! load.
//!
//! ```text
//! cargo bench --bench pairs -- --pattern pairs --windows 256,16,1 --workers 1,2 --rounds 5
//! ```
//! Both brokers run alternately, each freshly started, and are measured from outside by what the
//! kernel counted for their threads. Needs Linux, and Debian's mosquitto unless `--only dunlin`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is the result")]

#[path = "pairs/broker.rs"]
mod broker;
#[path = "pairs/load.rs"]
mod load;
#[path = "pairs/packets.rs"]
mod packets;
#[path = "pairs/report.rs"]
mod report;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};

use broker::{Broker, BrokerError, Kind, Usage};
use load::{Bounds, Load, LoadError, Shape};
use report::{HEADING, Line, Sample, Series};

/// The share of a counted run that is run before it, uncounted.
const WARM_UP: u32 = 4;

#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long, default_values = ["pairs"], value_delimiter = ',')]
    pattern: Vec<Pattern>,
    /// Unreceived messages a publisher may have; by default what the pattern is about.
    #[arg(long, value_delimiter = ',')]
    windows: Vec<u64>,
    #[arg(long, default_value = "1,2", value_delimiter = ',')]
    workers: Vec<usize>,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A counted run ends after so many seconds,
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// or after so many deliveries.
    #[arg(long, default_value_t = u64::MAX)]
    messages: u64,
    /// Measure one of the brokers alone.
    #[arg(long)]
    only: Option<Only>,
    /// What cargo says when it runs benches, and not when it runs tests.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Only {
    Dunlin,
    Mosquitto,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Pattern {
    /// Ten publishers with a subscriber each, at QoS 0.
    Pairs,
    /// One publisher with a hundred subscribers, at QoS 0.
    Fanout,
    /// Ten publishers with a subscriber each, at QoS 1.
    Qos1,
}

#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("{kind}, {pattern}, window {window}")]
    Load { kind: Kind, pattern: &'static str, window: u64, source: LoadError },
    #[error("cannot read the processor time of the load")]
    Usage(#[source] std::io::Error),
}

impl Pattern {
    fn name(self) -> &'static str {
        match self {
            Self::Pairs => "pairs",
            Self::Fanout => "fanout",
            Self::Qos1 => "qos1",
        }
    }

    fn windows(self) -> &'static [u64] {
        match self {
            Self::Pairs => &[256, 16, 1],
            Self::Fanout | Self::Qos1 => &[64],
        }
    }

    fn shape(self, window: u64) -> Shape {
        let (publishers, subscribers_each, qos) = match self {
            Self::Pairs => (10, 1, 0),
            Self::Fanout => (1, 100, 0),
            Self::Qos1 => (10, 1, 1),
        };
        Shape { publishers, subscribers_each, qos, window }
    }
}

impl Arguments {
    fn kinds(&self) -> Vec<Kind> {
        let mosquitto = (self.only != Some(Only::Dunlin)).then_some(Kind::Mosquitto);
        let workers = self.workers.iter().filter(|_| self.only != Some(Only::Mosquitto));
        mosquitto.into_iter().chain(workers.map(|&workers| Kind::Dunlin { workers })).collect()
    }

    fn bounds(&self) -> Bounds {
        let time = Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::MAX);
        Bounds { time, messages: self.messages }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("pairs: measures only under `cargo bench --bench pairs`");
        return ExitCode::SUCCESS;
    }
    match measure_all(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("pairs: {error}");
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

fn measure_all(arguments: &Arguments) -> Result<(), BenchError> {
    println!("{HEADING}");
    for &pattern in &arguments.pattern {
        let windows = match arguments.windows.as_slice() {
            [] => pattern.windows(),
            windows => windows,
        };
        for &window in windows {
            let all = measure_window(arguments, pattern, window)?;
            let reference = all.iter().find(|series| series.kind == Kind::Mosquitto);
            for series in &all {
                println!("{}", Line { series, reference });
            }
        }
    }
    Ok(())
}

fn measure_window(
    arguments: &Arguments,
    pattern: Pattern,
    window: u64,
) -> Result<Vec<Series>, BenchError> {
    let series = |kind| Series { pattern: pattern.name(), window, kind, samples: Vec::new() };
    let mut all: Vec<Series> = arguments.kinds().into_iter().map(series).collect();
    for _ in 0..arguments.rounds {
        for series in &mut all {
            let shape = pattern.shape(window);
            series.samples.push(measure(series.kind, pattern, shape, arguments.bounds())?);
        }
    }
    Ok(all)
}

fn measure(
    kind: Kind,
    pattern: Pattern,
    shape: Shape,
    bounds: Bounds,
) -> Result<Sample, BenchError> {
    let window = shape.window;
    let failed = |source| BenchError::Load { kind, pattern: pattern.name(), window, source };
    let broker = Broker::start(kind)?;
    let mut load = Load::connect(broker.address, shape).map_err(failed)?;
    let Bounds { time, messages } = bounds;
    load.run(Bounds { time: time / WARM_UP, messages: messages / u64::from(WARM_UP) })
        .map_err(failed)?;
    let broker_before = broker.usage()?;
    let load_before = Usage::of("self").map_err(BenchError::Usage)?;
    let start = Instant::now();
    let delivered = load.run(bounds).map_err(failed)?;
    let wall = start.elapsed();
    let load_usage = Usage::of("self").map_err(BenchError::Usage)?.since(load_before);
    let broker_usage = broker.usage()?.since(broker_before);
    load.finish().map_err(failed)?;
    Ok(Sample { delivered, wall, broker: broker_usage, load: load_usage })
}
