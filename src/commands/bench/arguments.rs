//! The options of `dunlin bench`, each with its bounds.

use std::num::ParseFloatError;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand, ValueEnum};

use super::stamp::STAMP_BYTES;
use crate::client::{ProtocolVersion, QoS};

const EXAMPLES: &str = "\
Examples, with a broker that was started by `dunlin` in another terminal:
  dunlin bench p2p                             10 publishers with a subscriber each
  dunlin bench p2p --window 1                  one message at a time: the shortest latency
  dunlin bench p2p --rate 10000 --qos 1        the latency at a fixed rate
  dunlin bench fan-out --subscribers 1000      one publisher, everybody listens
  dunlin bench fan-in --shared 4               50 publishers, 4 members of a shared subscription
  dunlin bench wildcard --filters 100000       with 100,000 other subscriptions in the broker
  dunlin bench connect --clients 20000         how many connections a second
  dunlin bench retained --beside 1000          whether others wait for a replay

To see what a message costs the broker, name its process (Linux):
  dunlin bench p2p --broker-pid $(pidof -s dunlin)

Every message carries a number, and every one is looked for: a run fails, with exit code 65, if one
was lost, came twice, came out of order or was damaged.

A broker drops messages of QoS 0 that a subscriber does not read fast enough. With --window a
publisher waits for its subscribers, so that little waits in the broker: the windows of a
subscriber's publishers times the payload (dunlin lets 256 KiB wait, outbound.soft_bytes_max).
--rate waits for nobody.";

/// Put a broker under load and measure it
///
/// Runs publishers and subscribers against a broker, checks that every message arrives once and in
/// order, and reports how many a second, how fast, and what they cost. It works with any MQTT broker.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, verbatim_doc_comment)]
pub struct Arguments {
    #[command(subcommand)]
    pub(super) pattern: Pattern,
}

#[derive(Debug, Subcommand)]
pub(super) enum Pattern {
    /// Publishers with one subscriber each
    P2p(P2p),
    /// One publisher, many subscribers
    FanOut(FanOut),
    /// Many publishers, one subscriber or a shared subscription
    FanIn(FanIn),
    /// As p2p by wildcards, with many other subscriptions in the broker
    Wildcard(Wildcard),
    /// Clients that all connect at once
    Connect(Storm),
    /// Clients that connect and do nothing: what they take, of a broker that was just started
    Idle(Idle),
    /// Retained messages, sent to who subscribes to them all
    Retained(Retained),
    /// Messages that wait for clients that are away, sent when they come back
    Offline(Offline),
}

#[derive(Debug, Args)]
pub(super) struct P2p {
    /// Publishers, and as many subscribers
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = count(10_000))]
    pub(super) pairs: usize,
    #[command(flatten)]
    pub(super) traffic: Traffic,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct FanOut {
    /// Subscribers of the one topic
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = count(100_000))]
    pub(super) subscribers: usize,
    #[command(flatten)]
    pub(super) traffic: Traffic,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct FanIn {
    /// Publishers, each with a topic of its own
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = count(100_000))]
    pub(super) publishers: usize,
    /// Instead of one subscriber N members of one Shared Subscription
    #[arg(long, value_name = "N", value_parser = count(10_000))]
    pub(super) shared: Option<usize>,
    #[command(flatten)]
    pub(super) traffic: Traffic,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Wildcard {
    /// Publishers, and as many subscribers
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = count(10_000))]
    pub(super) pairs: usize,
    /// Other subscriptions, which match none of the messages; one in ten has a wildcard
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = amount(10_000_000))]
    pub(super) filters: usize,
    /// Topics each publisher goes through; more than a broker remembers show a cold look-up
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count(1_000_000))]
    pub(super) topics: usize,
    #[command(flatten)]
    pub(super) traffic: Traffic,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Storm {
    /// Clients that connect, and stay until all have
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = count(1_000_000))]
    pub(super) clients: usize,
    /// How many connect at the same time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = count(10_000))]
    pub(super) concurrency: usize,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Idle {
    #[command(flatten)]
    pub(super) storm: Storm,
    /// How long they are left alone
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(super) seconds: Duration,
}

#[derive(Debug, Args)]
pub(super) struct Retained {
    /// Retained messages, each with a topic of its own; they are removed in the end, also by Ctrl-C
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = count(10_000_000))]
    pub(super) messages: usize,
    /// Clients that subscribe at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count(10_000))]
    pub(super) subscribers: usize,
    /// QoS of the messages and the subscriptions
    #[arg(long, value_name = "QOS", default_value = "0", value_parser = qos)]
    pub(super) qos: QoS,
    /// Let 10 other publishers send N messages a second in all, each to a subscriber
    ///
    /// What these messages take is reported while nothing is replayed, and while it is: nobody
    /// should have to wait for it. They are sent by a thread of their own.
    #[arg(long, value_name = "N", value_parser = count(1_000_000), verbatim_doc_comment)]
    pub(super) beside: Option<usize>,
    #[command(flatten)]
    pub(super) payload: Payload,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Offline {
    /// Messages published while the subscribers are away
    ///
    /// A broker keeps only so many for each: dunlin and Mosquitto 1,000, if they are not told
    /// otherwise (session.queue_offline_messages_max, max_queued_messages).
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = count(10_000_000))]
    #[arg(verbatim_doc_comment)]
    pub(super) messages: usize,
    /// Clients that are away, and come back at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count(10_000))]
    pub(super) subscribers: usize,
    /// QoS of the messages and the subscriptions; nothing waits at QoS 0
    #[arg(long, value_name = "QOS", default_value = "1", value_parser = kept_qos)]
    pub(super) qos: QoS,
    #[command(flatten)]
    pub(super) payload: Payload,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What is sent")]
pub(super) struct Traffic {
    /// QoS of the messages and the subscriptions
    #[arg(long, value_name = "QOS", default_value = "0", value_parser = qos)]
    pub(super) qos: QoS,
    #[command(flatten)]
    pub(super) payload: Payload,
    /// Give each message N User Properties of 25 bytes (MQTT 5.0)
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = amount(100))]
    pub(super) user_properties: usize,
    /// Messages a publisher may have on their way; it sends the next when one has arrived
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = count(65_535))]
    pub(super) window: usize,
    /// Send so many messages a second, all publishers together, whether they arrive or not
    #[arg(long, value_name = "N", conflicts_with = "window", value_parser = count(100_000_000))]
    pub(super) rate: Option<usize>,
    /// Send for so long
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(super) seconds: Duration,
    /// Send at most so many messages, all publishers together
    #[arg(long, value_name = "N", value_parser = count(usize::MAX))]
    pub(super) messages: Option<usize>,
    /// Send for so long before, uncounted (but checked)
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(super) warm_up: Duration,
}

#[derive(Clone, Debug, Args)]
pub(super) struct Payload {
    /// Length of each payload, at least 24: number and time
    #[arg(long = "payload", value_name = "BYTES", default_value_t = 64, value_parser = payload())]
    pub(super) bytes: usize,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The broker and the report")]
pub(super) struct Common {
    /// Where the broker listens: HOST, HOST:PORT or [IPv6]:PORT
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1883")]
    pub(super) broker: String,
    /// Version of MQTT
    #[arg(long, value_name = "VERSION", default_value = "3.1.1")]
    pub(super) protocol: Protocol,
    /// Connect from 127.0.0.1 to 127.0.0.N, each with 28,000 ports [default: what is needed]
    #[arg(long, value_name = "N", value_parser = count(254))]
    pub(super) sources: Option<usize>,
    /// Id of the broker's process on this machine: its CPU time and memory are reported
    #[arg(long, value_name = "PID")]
    pub(super) broker_pid: Option<u32>,
    /// Take for lost what does not come for so long
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(super) timeout: Duration,
    /// Report as one JSON object, for programs
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Protocol {
    #[value(name = "3.1.1")]
    V311,
    #[value(name = "5.0")]
    V5,
}

impl From<Protocol> for ProtocolVersion {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::V311 => Self::V311,
            Protocol::V5 => Self::V5,
        }
    }
}

impl Pattern {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::P2p(P2p { common, .. })
            | Self::FanOut(FanOut { common, .. })
            | Self::FanIn(FanIn { common, .. })
            | Self::Wildcard(Wildcard { common, .. })
            | Self::Connect(Storm { common, .. })
            | Self::Idle(Idle { storm: Storm { common, .. }, .. })
            | Self::Retained(Retained { common, .. })
            | Self::Offline(Offline { common, .. }) => common,
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ArgumentError {
    #[error("not a number of seconds")]
    Number(#[from] ParseFloatError),
    #[error("not between 0 and {SECONDS_MAX} seconds")]
    Seconds,
    #[error("not 0, 1 or 2")]
    QoS,
    #[error("not 1 or 2")]
    KeptQoS,
}

const SECONDS_MAX: f64 = 86_400.0;

fn seconds(text: &str) -> Result<Duration, ArgumentError> {
    let seconds: f64 = text.parse()?;
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err(ArgumentError::Seconds);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| ArgumentError::Seconds)
}

fn qos(text: &str) -> Result<QoS, ArgumentError> {
    text.parse().ok().and_then(QoS::from_bits).ok_or(ArgumentError::QoS)
}

fn kept_qos(text: &str) -> Result<QoS, ArgumentError> {
    qos(text).ok().filter(|qos| *qos > QoS::AtMostOnce).ok_or(ArgumentError::KeptQoS)
}

/// 1 to `max`.
fn count(max: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=max as u64)
}

/// 0 to `max`.
fn amount(max: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(..=max as u64)
}

/// Up to 16 MiB.
fn payload() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(STAMP_BYTES as u64..=16 << 20)
}
