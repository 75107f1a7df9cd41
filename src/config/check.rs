//! From raw values to checked ones: what each key takes, and which keys must agree.

use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::checked::{
    Config, ConnectionsMax, DiskMax, Limits, Log, LogFormat, LogLevel, MemoryMax, OutboundLimits,
    QueueWhenFull, RetainedLimits, SessionExpiryMax, SessionLimits, Shared, SharingStrategy,
    Storage, StorageEngine, StorageSync, Sys, SysInterval, usable_cores,
};
use super::listeners;
use super::mistake::{Problem, Warning};
use super::raw::{self, Field, Raw};
use super::reader::Reader;
use super::value;
use crate::topic::TopicName;

pub(super) const ENGINES: &[(&str, StorageEngine)] =
    &[("fjall", StorageEngine::Fjall), ("memory", StorageEngine::Memory)];
pub(super) const SYNCS: &[(&str, StorageSync)] = &[
    ("always", StorageSync::Always),
    ("interval", StorageSync::Interval),
    ("os", StorageSync::Os),
    ("off", StorageSync::Off),
];
pub(super) const STRATEGIES: &[(&str, SharingStrategy)] = &[
    ("least_inflight", SharingStrategy::LeastInflight),
    ("round_robin", SharingStrategy::RoundRobin),
    ("hash_topic", SharingStrategy::HashTopic),
    ("hash_publisher", SharingStrategy::HashPublisher),
    ("sticky", SharingStrategy::Sticky),
];
pub(super) const QUEUES_WHEN_FULL: &[(&str, QueueWhenFull)] =
    &[("refuse_newest", QueueWhenFull::RefuseNewest), ("drop_oldest", QueueWhenFull::DropOldest)];
pub(super) const LEVELS: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];
pub(super) const FORMATS: &[(&str, LogFormat)] =
    &[("text", LogFormat::Text), ("json", LogFormat::Json)];

/// The fixed header, its longest Remaining Length, and the 268,435,455 bytes that names.
const PACKET_BYTES: RangeInclusive<u64> = 64..=268_435_460;
/// A length prefix has two bytes.
const STRING_BYTES_MAX: u64 = 65_535;
/// Every server must take 23 bytes [MQTT-3.1.3-5].
const CLIENT_ID_BYTES: RangeInclusive<u64> = 23..=STRING_BYTES_MAX;
const BUFFER_BYTES: RangeInclusive<u64> = 1024..=1 << 40;
/// Less holds not even one client that sends large packets.
const MEMORY_BYTES: RangeInclusive<u64> = 16 << 20..=1 << 50;
/// Less is taken by the journals alone.
const DISK_BYTES: RangeInclusive<u64> = 256 << 20..=1 << 60;
const COUNT: RangeInclusive<u64> = 1..=u32::MAX as u64;
const PORTION: RangeInclusive<u64> = 1..=u16::MAX as u64;
const ALIASES: RangeInclusive<u64> = 0..=u16::MAX as u64;
const WORKERS: RangeInclusive<u64> = 1..=1024;
/// Keep Alive is two bytes of seconds.
const KEEP_ALIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(65_535);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
/// A shorter one is `always` with more work; a longer one keeps the journal open for too long.
const SYNC_INTERVAL: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(3600);
/// 100 years, in days; 0xFFFFFFFF seconds, which mean never, are 136.
const EXPIRY: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(36_500 * 24 * 60 * 60);

const RESPONSE_INFORMATION_ALLOWED: &str = "\"\" for none, or what a topic may begin with: \
    without \"+\", \"#\" and control characters, and not beginning with \"$\"";
const SYS_INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// Missing and wrong keys have their default, so that one mistake does not cause another.
pub(super) fn config(raw: &Raw, reader: &mut Reader<'_>, warnings: &mut Vec<Warning>) -> Config {
    let default = Config::default();
    let limits = limits(&raw.limits, reader);
    let workers = reader.number_or_auto::<usize>("workers", &raw.workers, WORKERS);
    let config = Config {
        workers: workers.flatten().and_then(NonZeroUsize::new).unwrap_or_else(usable_cores),
        data_dir: reader
            .text("data_dir", &raw.data_dir, "the path of a directory", parse_path)
            .unwrap_or(default.data_dir),
        storage: storage(&raw.storage, reader),
        session: session(&raw.session, &limits, reader),
        limits,
        outbound: outbound(&raw.outbound, reader),
        retained: retained(&raw.retained, reader),
        shared: Shared {
            strategy: reader
                .choice("shared.strategy", &raw.shared.strategy, STRATEGIES)
                .unwrap_or(default.shared.strategy),
        },
        sys: sys(&raw.sys, reader),
        log: log(&raw.log, reader),
        listeners: listeners::check(&raw.listener, reader, warnings),
    };
    let (queue_bytes_max, packet_bytes_max) =
        (config.session.queue_bytes_max, config.limits.packet_bytes_max);
    if queue_bytes_max < packet_bytes_max {
        warnings.push(Warning::QueueBelowPacket { queue_bytes_max, packet_bytes_max });
    }
    config
}

fn storage(raw: &raw::Storage, reader: &mut Reader<'_>) -> Storage {
    let default = Storage::default();
    let disk = reader.bytes_or_auto("storage.disk_max", &raw.disk_max, DISK_BYTES);
    Storage {
        engine: reader.choice("storage.engine", &raw.engine, ENGINES).unwrap_or(default.engine),
        sync: reader.choice("storage.sync", &raw.sync, SYNCS).unwrap_or(default.sync),
        sync_interval: reader
            .duration("storage.sync_interval", &raw.sync_interval, SYNC_INTERVAL)
            .unwrap_or(default.sync_interval),
        disk_max: disk.flatten().map_or(default.disk_max, DiskMax::At),
    }
}

fn limits(raw: &raw::Limits, reader: &mut Reader<'_>) -> Limits {
    let default = Limits::default();
    let memory = reader.bytes_or_auto("limits.memory_max", &raw.memory_max, MEMORY_BYTES);
    let connections =
        reader.number_or_auto::<u32>("limits.connections_max", &raw.connections_max, COUNT);
    let connections = match connections.flatten().and_then(NonZeroU32::new) {
        Some(number) => ConnectionsMax::At(number),
        None => ConnectionsMax::FromOpenFiles,
    };
    let connect = Part { key: "limits.connect_bytes_max", field: &raw.connect_bytes_max };
    let packet = Part { key: "limits.packet_bytes_max", field: &raw.packet_bytes_max };
    let defaults = (default.connect_bytes_max, default.packet_bytes_max);
    let (connect_bytes_max, packet_bytes_max) =
        ordered(&connect, &packet, PACKET_BYTES, defaults, reader);
    let connect_timeout = reader.duration("limits.connect_timeout", &raw.connect_timeout, TIMEOUT);
    let keep_alive_max = reader.seconds("limits.keep_alive_max", &raw.keep_alive_max, KEEP_ALIVE);
    let topic = 1..=STRING_BYTES_MAX;
    let subscriptions = &raw.subscriptions_per_client_max;
    Limits {
        memory_max: memory.flatten().map_or(default.memory_max, MemoryMax::At),
        connections_max: connections,
        packet_bytes_max,
        connect_bytes_max,
        connect_timeout: connect_timeout.unwrap_or(default.connect_timeout),
        keep_alive_max: keep_alive_max.unwrap_or(default.keep_alive_max),
        client_id_bytes_max: reader
            .bytes("limits.client_id_bytes_max", &raw.client_id_bytes_max, CLIENT_ID_BYTES)
            .unwrap_or(default.client_id_bytes_max),
        topic_bytes_max: reader
            .bytes("limits.topic_bytes_max", &raw.topic_bytes_max, topic.clone())
            .unwrap_or(default.topic_bytes_max),
        topic_levels_max: reader
            .number("limits.topic_levels_max", &raw.topic_levels_max, topic)
            .unwrap_or(default.topic_levels_max),
        topic_aliases_in_max: reader
            .number("limits.topic_aliases_in_max", &raw.topic_aliases_in_max, ALIASES)
            .unwrap_or(default.topic_aliases_in_max),
        topic_aliases_out_max: reader
            .number("limits.topic_aliases_out_max", &raw.topic_aliases_out_max, ALIASES)
            .unwrap_or(default.topic_aliases_out_max),
        subscriptions_per_client_max: reader
            .number("limits.subscriptions_per_client_max", subscriptions, COUNT)
            .unwrap_or(default.subscriptions_per_client_max),
    }
}

fn session(raw: &raw::Session, limits: &Limits, reader: &mut Reader<'_>) -> SessionLimits {
    let default = SessionLimits::default();
    let inflight = reader.number::<u16>("session.inflight_max", &raw.inflight_max, PORTION);
    let receive = reader.number::<u16>("session.receive_maximum", &raw.receive_maximum, PORTION);
    let offline = &raw.queue_offline_messages_max;
    SessionLimits {
        inflight_max: inflight.and_then(NonZeroU16::new).unwrap_or(default.inflight_max),
        receive_maximum: receive.and_then(NonZeroU16::new).unwrap_or(default.receive_maximum),
        queue_bytes_max: reader
            .bytes("session.queue_bytes_max", &raw.queue_bytes_max, BUFFER_BYTES)
            .unwrap_or(default.queue_bytes_max),
        queue_offline_messages_max: reader
            .number("session.queue_offline_messages_max", offline, COUNT)
            .unwrap_or(default.queue_offline_messages_max),
        queue_when_full: reader
            .choice("session.queue_when_full", &raw.queue_when_full, QUEUES_WHEN_FULL)
            .unwrap_or(default.queue_when_full),
        expiry_max: expiry("session.expiry_max", &raw.expiry_max, reader)
            .unwrap_or(default.expiry_max),
        expiry_v3: expiry("session.expiry_v3", &raw.expiry_v3, reader).unwrap_or(default.expiry_v3),
        response_information: response_information(&raw.response_information, limits, reader),
    }
}

/// The default gives way to limits that it is beyond.
fn response_information(
    field: &Field,
    limits: &Limits,
    reader: &mut Reader<'_>,
) -> Option<TopicName> {
    const KEY: &str = "session.response_information";
    let default = SessionLimits::default().response_information;
    let default = default.filter(|topic| beyond(topic, limits).is_none());
    let written = reader.text(KEY, field, RESPONSE_INFORMATION_ALLOWED, parse_prefix);
    let (Some(prefix), Some(field)) = (written, field) else { return default };
    match prefix.as_ref().and_then(|topic| beyond(topic, limits)) {
        Some((value, limit, limit_value)) => {
            let problem = Problem::Above { key: KEY, value, limit, limit_value };
            reader.report(&field.span(), problem);
            default
        }
        None => prefix,
    }
}

/// The size of a topic that is beyond a limit, that limit, and its value.
fn beyond(topic: &TopicName, limits: &Limits) -> Option<(String, &'static str, String)> {
    let sizes = [
        (topic.as_str().len(), "bytes", "limits.topic_bytes_max", limits.topic_bytes_max),
        (topic.level_count(), "levels", "limits.topic_levels_max", limits.topic_levels_max),
    ];
    let (size, unit, limit, max) = sizes.into_iter().find(|(size, .., max)| size > max)?;
    Some((format!("{size} {unit} long"), limit, max.to_string()))
}

/// The empty text stands for none.
fn parse_prefix(text: &str) -> Result<Option<TopicName>, Option<String>> {
    if text.is_empty() {
        return Ok(None);
    }
    // Such topics are the server's, and no leading wildcard takes them [MQTT-4.7.2-1].
    if let Some(rest) = text.strip_prefix('$') {
        return Err(TopicName::parse(rest).ok().map(|rest| format!("\"{rest}\"")));
    }
    TopicName::parse(text).map(Some).map_err(|_| None)
}

fn expiry(key: &str, field: &Field, reader: &mut Reader<'_>) -> Option<SessionExpiryMax> {
    let expiry = reader.seconds_or_never(key, field, EXPIRY)?;
    Some(expiry.map_or(SessionExpiryMax::Never, SessionExpiryMax::After))
}

fn outbound(raw: &raw::Outbound, reader: &mut Reader<'_>) -> OutboundLimits {
    let default = OutboundLimits::default();
    let soft = Part { key: "outbound.soft_bytes_max", field: &raw.soft_bytes_max };
    let hard = Part { key: "outbound.hard_bytes_max", field: &raw.hard_bytes_max };
    let defaults = (default.soft_bytes_max, default.hard_bytes_max);
    let (soft_bytes_max, hard_bytes_max) = ordered(&soft, &hard, BUFFER_BYTES, defaults, reader);
    let stall_timeout = reader.duration("outbound.stall_timeout", &raw.stall_timeout, TIMEOUT);
    OutboundLimits {
        soft_bytes_max,
        hard_bytes_max,
        stall_timeout: stall_timeout.unwrap_or(default.stall_timeout),
    }
}

fn retained(raw: &raw::Retained, reader: &mut Reader<'_>) -> RetainedLimits {
    let default = RetainedLimits::default();
    RetainedLimits {
        messages_max: reader
            .number("retained.messages_max", &raw.messages_max, COUNT)
            .unwrap_or(default.messages_max),
        bytes_max: reader
            .bytes("retained.bytes_max", &raw.bytes_max, BUFFER_BYTES)
            .unwrap_or(default.bytes_max),
    }
}

fn sys(raw: &raw::Sys, reader: &mut Reader<'_>) -> Sys {
    let interval = reader.seconds_or_never("sys.interval", &raw.interval, SYS_INTERVAL);
    let interval = interval.map(|it| it.map_or(SysInterval::Never, SysInterval::Every));
    Sys { interval: interval.unwrap_or(Sys::default().interval) }
}

fn log(raw: &raw::Log, reader: &mut Reader<'_>) -> Log {
    let default = Config::default().log;
    Log {
        level: reader.choice("log.level", &raw.level, LEVELS).unwrap_or(default.level),
        format: reader.choice("log.format", &raw.format, FORMATS).unwrap_or(default.format),
    }
}

/// One of two sizes that must not cross.
struct Part<'a> {
    key: &'static str,
    field: &'a Field,
}

/// Two sizes, the first not above the second. A default never crosses what is written: who lowers
/// the upper one alone lowers the lower one with it.
fn ordered(
    lower: &Part<'_>,
    upper: &Part<'_>,
    range: RangeInclusive<u64>,
    (lower_default, upper_default): (usize, usize),
    reader: &mut Reader<'_>,
) -> (usize, usize) {
    let low = reader.bytes::<usize>(lower.key, lower.field, range.clone());
    let high = reader.bytes::<usize>(upper.key, upper.field, range);
    let high_is_wrong = high.is_none() && upper.field.is_some();
    let high = high.unwrap_or(upper_default);
    match (low, lower.field) {
        (Some(low), Some(field)) if low > high && !high_is_wrong => {
            let text =
                |bytes| u64::try_from(bytes).map_or_else(|_| String::new(), value::bytes_text);
            reader.report(
                &field.span(),
                Problem::Above {
                    key: lower.key,
                    value: text(low),
                    limit: upper.key,
                    limit_value: text(high),
                },
            );
            (high, high)
        }
        (low, _) => (low.unwrap_or(lower_default.min(high)), high),
    }
}

fn parse_path(text: &str) -> Result<PathBuf, Option<String>> {
    if text.is_empty() { Err(None) } else { Ok(PathBuf::from(text)) }
}
