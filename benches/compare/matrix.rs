//! What is measured: the arguments of `dunlin bench`, and what of its report counts.

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pattern: &'static str,
    lasts: Lasts,
    pub(crate) measure: Measure,
    /// The relay can take part: it knows QoS 0 and 3.1.1, and keeps nothing.
    pub(crate) relayed: bool,
}

/// What ends a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lasts {
    /// Time, after a warm-up.
    Time,
    /// That there is no more to be done.
    UntilDone,
}

/// The number in the report that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Measure {
    /// Processor time of the server for each delivered message, in µs.
    Message,
    /// The same for each connection.
    Connection,
    /// Memory of the server for each connection, in bytes.
    ConnectionMemory,
    /// The latency that one message in a hundred exceeds, in µs.
    Latency,
    /// The same of others, while something goes on beside them.
    LatencyBeside,
    /// From the first to the last message, in ms.
    Duration,
    /// Memory of the server for each subscription, in bytes.
    FilterMemory,
    /// From the start of the process until it can be reached, in ms. There is no load.
    Start,
    /// Memory of a server that was just started, in KiB. There is no load either.
    Empty,
}

impl Measure {
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Message => "CPU-µs a message",
            Self::Connection => "CPU-µs a connection",
            Self::ConnectionMemory => "bytes a connection",
            Self::Latency | Self::LatencyBeside => "p99 in µs",
            Self::Duration => "ms",
            Self::FilterMemory => "bytes a filter",
            Self::Start => "ms to be reached",
            Self::Empty => "KiB",
        }
    }

    /// Where it is in the report of `dunlin bench`, and what it is multiplied by; `None` if it is
    /// none of its.
    pub(crate) fn place(self) -> Option<(&'static str, f64)> {
        match self {
            Self::Message => Some(("/broker_cpu_us_per_message", 1.0)),
            Self::Connection => Some(("/broker_cpu_us_per_connection", 1.0)),
            Self::ConnectionMemory => Some(("/broker_memory_bytes_per_connection", 1.0)),
            Self::Latency => Some(("/latency_us/p99", 1.0)),
            Self::LatencyBeside => Some(("/beside_meanwhile_us/p99", 1.0)),
            Self::Duration => Some(("/seconds", 1e3)),
            Self::FilterMemory => Some(("/broker_memory_bytes_per_filter", 1.0)),
            Self::Start | Self::Empty => None,
        }
    }
}

impl Row {
    /// How a user runs the load.
    pub(crate) fn command(&self, seconds: f64) -> String {
        match self.measure.place() {
            Some(_) => format!("dunlin bench {}", self.arguments(seconds)),
            None => "the server alone".to_owned(),
        }
    }

    /// The words after `dunlin bench`.
    pub(crate) fn arguments(&self, seconds: f64) -> String {
        match self.lasts {
            Lasts::Time => {
                format!("{} --seconds {seconds} --warm-up {}", self.pattern, seconds / 4.0)
            }
            Lasts::UntilDone => self.pattern.to_owned(),
        }
    }
}

const fn row(name: &'static str, pattern: &'static str) -> Row {
    Row { name, pattern, lasts: Lasts::Time, measure: Measure::Message, relayed: false }
}

const fn relayed(name: &'static str, pattern: &'static str) -> Row {
    Row { relayed: true, ..row(name, pattern) }
}

pub(crate) const MATRIX: &[Row] = &[
    relayed("p2p-w256", "p2p --window 256"),
    relayed("p2p-w16", "p2p --window 16"),
    relayed("p2p-w1", "p2p --window 1"),
    row("p2p-w256-v5", "p2p --window 256 --protocol 5.0"),
    row("p2p-w256-props", "p2p --window 256 --protocol 5.0 --user-properties 3"),
    relayed("p2p-1kib", "p2p --window 64 --payload 1024"),
    row("qos1", "p2p --qos 1 --window 64"),
    row("qos2", "p2p --qos 2 --window 64"),
    relayed("fan-out-100", "fan-out --subscribers 100 --window 64"),
    relayed("fan-out-1000", "fan-out --subscribers 1000 --window 64"),
    relayed("fan-in-50", "fan-in --publishers 50 --window 16"),
    row("fan-in-shared", "fan-in --publishers 50 --shared 4 --window 16"),
    row("wildcard-none", "wildcard --filters 0 --window 64"),
    row("wildcard-100k", "wildcard --filters 100000 --window 64"),
    row("wildcard-cold", "wildcard --filters 1000000 --topics 10000 --window 64"),
    Row {
        lasts: Lasts::UntilDone,
        measure: Measure::Connection,
        ..relayed("connect", "connect --clients 5000")
    },
    Row {
        lasts: Lasts::UntilDone,
        measure: Measure::ConnectionMemory,
        ..row("idle", "idle --clients 5000 --seconds 1")
    },
    Row {
        lasts: Lasts::UntilDone,
        measure: Measure::Duration,
        ..row("retained-100k", "retained --messages 100000")
    },
    Row {
        lasts: Lasts::UntilDone,
        measure: Measure::LatencyBeside,
        ..row("retained-beside", "retained --messages 100000 --beside 10000")
    },
    Row { lasts: Lasts::UntilDone, ..row("offline-1k", "offline --messages 1000 --qos 1") },
    Row { measure: Measure::Latency, ..relayed("rate-10k", "p2p --rate 10000") },
    Row {
        lasts: Lasts::UntilDone,
        measure: Measure::FilterMemory,
        ..row("filters-1m", "wildcard --filters 1000000 --messages 1000")
    },
    Row { measure: Measure::Start, ..relayed("start", "") },
    Row { measure: Measure::Empty, ..relayed("empty", "") },
];
