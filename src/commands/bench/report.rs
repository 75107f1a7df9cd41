//! What a run came to, for people and for programs.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::usage::Usage;
use crate::client::ProtocolVersion;

#[derive(Debug)]
pub(super) struct Report {
    pub(super) pattern: &'static str,
    pub(super) address: SocketAddr,
    pub(super) version: ProtocolVersion,
    /// What was asked for, by the names of the options.
    pub(super) load: Vec<(&'static str, u64)>,
    pub(super) unit: Unit,
    /// Messages delivered, or connections made, while it was counted.
    pub(super) count: u64,
    pub(super) published: Option<u64>,
    pub(super) elapsed: Duration,
    pub(super) latency: Histogram<u64>,
    pub(super) broker: Option<Usage>,
    pub(super) own: Usage,
    pub(super) broker_memory_peak: Option<u64>,
    /// Memory of the broker for each of what the pattern is about.
    pub(super) broker_memory_each: Option<MemoryEach>,
    pub(super) faults: Faults,
    /// By the broker, with a Reason Code: if nobody else got them they count as lost as well.
    pub(super) refused: u64,
    pub(super) beside: Option<Beside>,
}

/// What the messages of others took beside what was measured.
#[derive(Debug)]
pub(super) struct Beside {
    /// So many a second.
    pub(super) rate: u64,
    pub(super) alone: Histogram<u64>,
    pub(super) meanwhile: Histogram<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    Message,
    Connection,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct MemoryEach {
    pub(super) of: &'static str,
    pub(super) bytes: f64,
}

/// What went wrong with messages over the whole run, warm-up included.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Faults {
    pub lost: u64,
    pub duplicated: u64,
    pub out_of_order: u64,
    /// Not what was sent, or sent by nobody.
    pub damaged: u64,
}

impl Faults {
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            out_of_order: self.out_of_order + other.out_of_order,
            damaged: self.damaged + other.damaged,
        }
    }
}

impl Unit {
    fn plural(self) -> &'static str {
        match self {
            Self::Message => "messages",
            Self::Connection => "connections",
        }
    }

    fn singular(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Connection => "connection",
        }
    }
}

/// Their names in JSON, in text, and where they are in the histogram.
const QUANTILES: [(&str, &str, f64); 5] = [
    ("p50", "p50", 0.5),
    ("p90", "p90", 0.9),
    ("p99", "p99", 0.99),
    ("p99_9", "p99.9", 0.999),
    ("max", "max", 1.0),
];

impl Report {
    fn per_second(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// Microseconds of processor time for each message or connection.
    fn cost(&self, usage: Usage) -> Option<f64> {
        (self.count > 0).then(|| usage.total.as_secs_f64() * 1e6 / self.count as f64)
    }

    pub(super) fn write_text(&self, to: &mut impl Write) -> io::Result<()> {
        let Self { pattern, version, address, .. } = self;
        write!(to, "dunlin bench {pattern}: MQTT {version} at {address}")?;
        for (name, value) in &self.load {
            write!(to, ", {} {value}", name.replace('_', " "))?;
        }
        writeln!(to, "\n")?;
        let (seconds, speed) = (self.elapsed.as_secs_f64(), Grouped(self.per_second()));
        let (count, units) = (Grouped(self.count as f64), self.unit.plural());
        writeln!(to, "  {count} {units} in {seconds:.2} s: {speed} a second")?;
        if !self.latency.is_empty() {
            write_latency(to, "latency", &self.latency)?;
        }
        if let Some(Beside { rate, alone, meanwhile }) = &self.beside {
            let rate = Grouped(*rate as f64);
            writeln!(to, "  others   {rate} messages a second, alone and meanwhile")?;
            write_latency(to, "alone", alone)?;
            write_latency(to, "meanwhile", meanwhile)?;
        }
        self.write_costs(to)?;
        if self.unit == Unit::Message {
            let Faults { lost, duplicated, out_of_order, damaged } = self.faults;
            writeln!(
                to,
                "  lost {lost}, duplicated {duplicated}, out of order {out_of_order}, \
                 damaged {damaged}"
            )?;
            if self.refused > 0 {
                writeln!(to, "  the broker refused {} of them", self.refused)?;
            }
        }
        to.flush()
    }

    fn write_costs(&self, to: &mut impl Write) -> io::Result<()> {
        let each = self.unit.singular();
        if let Some((usage, cost)) = self.broker.and_then(|it| Some((it, self.cost(it)?))) {
            let kernel = usage.kernel_share() * 100.0;
            writeln!(to, "  broker   {cost:.3} µs of CPU a {each}, {kernel:.0} % in the kernel")?;
        }
        if let Some(peak) = self.broker_memory_peak {
            let mebibytes = peak as f64 / 1_048_576.0;
            writeln!(to, "  broker   {mebibytes:.1} MiB of memory at most")?;
        }
        if let Some(MemoryEach { of, bytes }) = self.broker_memory_each {
            writeln!(to, "  broker   {bytes:.0} bytes of memory a {of}")?;
        }
        match self.cost(self.own) {
            Some(cost) => writeln!(to, "  load     {cost:.3} µs of CPU a {each}"),
            None => Ok(()),
        }
    }

    pub(super) fn write_json(&self, to: &mut impl Write) -> io::Result<()> {
        let Self { pattern, version, address, .. } = self;
        write!(to, r#"{{"pattern":"{pattern}","protocol":"{version}","broker":"{address}""#)?;
        for (name, value) in &self.load {
            write!(to, r#","{name}":{value}"#)?;
        }
        if let Some(published) = self.published {
            write!(to, r#","published":{published}"#)?;
        }
        let name = match self.unit {
            Unit::Message => "delivered",
            Unit::Connection => "connected",
        };
        let (each, units) = (self.unit.singular(), self.unit.plural());
        write!(to, r#","{name}":{},"seconds":{}"#, self.count, self.elapsed.as_secs_f64())?;
        write!(to, r#","{units}_per_second":{:.1}"#, self.per_second())?;
        write_latency_json(to, "latency_us", &self.latency)?;
        if let Some(Beside { rate, alone, meanwhile }) = &self.beside {
            write!(to, r#","beside_rate":{rate}"#)?;
            write_latency_json(to, "beside_alone_us", alone)?;
            write_latency_json(to, "beside_meanwhile_us", meanwhile)?;
        }
        if let Some((usage, cost)) = self.broker.and_then(|it| Some((it, self.cost(it)?))) {
            let kernel = usage.kernel_share();
            write!(to, r#","broker_cpu_us_per_{each}":{cost:.4}"#)?;
            write!(to, r#","broker_cpu_kernel_share":{kernel:.3}"#)?;
        }
        if let Some(peak) = self.broker_memory_peak {
            write!(to, r#","broker_memory_peak_bytes":{peak}"#)?;
        }
        if let Some(MemoryEach { of, bytes }) = self.broker_memory_each {
            write!(to, r#","broker_memory_bytes_per_{of}":{bytes:.1}"#)?;
        }
        if let Some(cost) = self.cost(self.own) {
            write!(to, r#","load_cpu_us_per_{each}":{cost:.4}"#)?;
        }
        let Faults { lost, duplicated, out_of_order, damaged } = self.faults;
        write!(to, r#","lost":{lost},"duplicated":{duplicated}"#)?;
        write!(to, r#","out_of_order":{out_of_order},"damaged":{damaged}"#)?;
        writeln!(to, r#","refused":{}}}"#, self.refused)?;
        to.flush()
    }
}

/// Microseconds.
fn quantile(latency: &Histogram<u64>, quantile: f64) -> f64 {
    latency.value_at_quantile(quantile) as f64 / 1e3
}

fn write_latency(to: &mut impl Write, name: &str, latency: &Histogram<u64>) -> io::Result<()> {
    write!(to, "  {name}")?;
    for (_, name, at) in QUANTILES {
        write!(to, "  {name} {}", Microseconds(quantile(latency, at)))?;
    }
    writeln!(to)
}

fn write_latency_json(to: &mut impl Write, name: &str, latency: &Histogram<u64>) -> io::Result<()> {
    write!(to, r#","{name}":{{"#)?;
    for (index, (name, _, at)) in QUANTILES.into_iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(to, r#"{comma}"{name}":{:.3}"#, quantile(latency, at))?;
    }
    write!(to, "}}")
}

/// A number with a comma between thousands.
pub(super) struct Grouped(pub(super) f64);

/// A time in the unit in which it is easily read.
struct Microseconds(f64);

impl fmt::Display for Grouped {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:.0}", self.0);
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at) % 3 == 0 {
                to.write_str(",")?;
            }
            write!(to, "{digit}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Microseconds {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value < 1e3 => write!(to, "{value:.0} µs"),
            value if value < 1e6 => write!(to, "{:.2} ms", value / 1e3),
            value => write!(to, "{:.2} s", value / 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let shown = [0.0, 999.0, 1_000.0, 1_234_567.4].map(|it| Grouped(it).to_string());

        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_time_is_shown_in_a_unit_that_suits_it() {
        let shown = [12.3, 1_500.0, 2.5e6].map(|it| Microseconds(it).to_string());

        assert_eq!(shown, ["12 µs", "1.50 ms", "2.50 s"]);
    }
}
