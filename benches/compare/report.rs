//! What was measured, as a table in Markdown.

use std::fmt::{self, Write};
use std::fs;

use serde_json::Value;

use crate::matrix::Row;
use crate::server::{Kind, mosquitto_version};

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// What the row is about.
    measured: f64,
    per_second: f64,
    /// Processor time of the load for each message or connection, in µs: what it takes bounds what
    /// the server can be driven to.
    load: f64,
    /// Messages that were lost, came twice, out of order or damaged.
    pub(crate) faults: u64,
}

/// All runs of one server for one row.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) kind: Kind,
    pub(crate) samples: Vec<Sample>,
}

impl Sample {
    /// Without a load.
    pub(crate) fn alone(measured: f64) -> Self {
        Self { measured, per_second: f64::NAN, load: f64::NAN, faults: 0 }
    }

    /// `None` if the report lacks something.
    pub(crate) fn read(row: &Row, report: &Value) -> Option<Self> {
        let number = |place: &str| report.pointer(place).and_then(Value::as_f64);
        let (place, factor) = row.measure.place()?;
        let faults = ["/lost", "/duplicated", "/out_of_order", "/damaged"];
        let faults = faults.map(|place| report.pointer(place).and_then(Value::as_u64));
        Some(Self {
            measured: number(place)? * factor,
            per_second: number("/messages_per_second")
                .or_else(|| number("/connections_per_second"))?,
            load: number("/load_cpu_us_per_message")
                .or_else(|| number("/load_cpu_us_per_connection"))?,
            faults: faults.into_iter().sum::<Option<u64>>()?,
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { measured, per_second, load, faults } = self;
        write!(to, "{}", short(*measured))?;
        if per_second.is_finite() {
            write!(to, " ({per_second:.0}/s, load {load:.3} µs)")?;
        }
        if *faults > 0 {
            write!(to, ", {faults} messages did not arrive as they were sent")?;
        }
        Ok(())
    }
}

impl Series {
    fn median(&self, value: impl Fn(&Sample) -> f64) -> f64 {
        let values = self.sorted(value);
        let middle = values.len() / 2;
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        if values.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
        }
    }

    fn sorted(&self, value: impl Fn(&Sample) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.samples.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn cell(&self) -> String {
        let values = self.sorted(|sample| sample.measured);
        let end = |value: Option<&f64>| short(value.copied().unwrap_or(f64::NAN));
        let median = short(self.median(|sample| sample.measured));
        let mut cell = format!("{median} ({} to {})", end(values.first()), end(values.last()));
        let faults: u64 = self.samples.iter().map(|sample| sample.faults).sum();
        if faults > 0 {
            let _ = write!(cell, ", **{faults} lost or wrong**");
        }
        cell
    }
}

/// The head of the table, with a column for each server, and one for each other by the ratio.
pub(crate) fn head(kinds: &[Kind], rounds: usize) -> String {
    let mut names = vec!["row".to_owned(), "unit".to_owned()];
    names.extend(kinds.iter().map(ToString::to_string));
    names.extend(ratios(kinds).map(|kind| format!("mosquitto / {kind}")));
    names.extend(["deliveries a second".to_owned(), "load, CPU-µs".to_owned()]);
    let rule = vec!["---"; names.len()].join(" | ");
    format!("Medians of {rounds} runs, and their range.\n\n| {} |\n| {rule} |", names.join(" | "))
}

pub(crate) fn line(row: &Row, kinds: &[Kind], all: &[Series]) -> String {
    let find = |kind: Kind| all.iter().find(|series| series.kind == kind);
    let dash = || "-".to_owned();
    let measured = |series: &Series| series.median(|sample| sample.measured);
    let mut cells = vec![row.name.to_owned(), row.measure.unit().to_owned()];
    cells.extend(kinds.iter().map(|kind| find(*kind).map_or_else(dash, Series::cell)));
    cells.extend(ratios(kinds).map(|kind| {
        let pair = find(Kind::Mosquitto).zip(find(kind));
        pair.map_or_else(dash, |(mosquitto, it)| {
            format!("{:.1}", measured(mosquitto) / measured(it))
        })
    }));
    // Of the first dunlin, since the servers' own are read off their costs.
    let dunlin = all.iter().find(|series| matches!(series.kind, Kind::Dunlin { .. }));
    let loaded = dunlin.filter(|_| row.measure.place().is_some());
    let speed = loaded.map(|it| format!("{:.0}", it.median(|sample| sample.per_second)));
    let load = loaded.map(|it| short(it.median(|sample| sample.load)));
    cells.extend([speed.unwrap_or_else(dash), load.unwrap_or_else(dash)]);
    format!("| {} |", cells.join(" | "))
}

/// What ran, and on what.
pub(crate) fn versions(kinds: &[Kind]) -> String {
    let read = |place: &str| fs::read_to_string(place).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let processors = read("/proc/cpuinfo");
    let models: Vec<&str> = processors
        .lines()
        .filter_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()))
        .collect();
    let model = models.first().copied().unwrap_or("processors of unknown name");
    let mut text = format!("dunlin {}", env!("CARGO_PKG_VERSION"));
    if kinds.contains(&Kind::Mosquitto) {
        let version = mosquitto_version();
        let _ = write!(text, "; {}", version.as_deref().unwrap_or("mosquitto of unknown version"));
    }
    let _ = write!(text, "; Linux {}; {} x {model}", kernel.trim(), models.len());
    text
}

/// The servers that mosquitto is compared with, if it took part.
fn ratios(kinds: &[Kind]) -> impl Iterator<Item = Kind> {
    let with_mosquitto = kinds.contains(&Kind::Mosquitto);
    let dunlin = move |kind: &&Kind| with_mosquitto && matches!(kind, Kind::Dunlin { .. });
    kinds.iter().filter(dunlin).copied()
}

/// Three significant digits, as far as they stand behind the point.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
