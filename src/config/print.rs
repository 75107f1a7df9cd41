//! The checked configuration as TOML that, loaded again, gives the same.

use std::fmt::{self, Display};
use std::path::Path;
use std::time::Duration;

use super::check::{ENGINES, FORMATS, LEVELS, QUEUES_WHEN_FULL, STRATEGIES, SYNCS};
use super::checked::{
    Anonymous, Config, ConnectionsMax, Credential, DiskMax, Features, Limits, Listener, MemoryMax,
    OutboundLimits, RetainedLimits, Secret, SessionExpiryMax, SessionLimits, Storage, SysInterval,
};
use super::listeners::{PROTOCOLS, VERSIONS};
use super::source::HIDDEN;
use super::value;
use crate::topic::TopicName;

/// A `Config` that displays as TOML.
#[derive(Debug)]
pub struct Toml<'a>(&'a Config);

impl Config {
    pub fn to_toml(&self) -> Toml<'_> {
        Toml(self)
    }
}

impl Display for Toml<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        writeln!(to, "workers = {}", config.workers)?;
        writeln!(to, "data_dir = {}", path(&config.data_dir))?;
        storage(&config.storage, to)?;
        limits(&config.limits, to)?;
        session(&config.session, to)?;
        outbound(&config.outbound, to)?;
        retained(&config.retained, to)?;
        writeln!(to, "\n[shared]")?;
        writeln!(to, "strategy = {}", word(STRATEGIES, &config.shared.strategy))?;
        writeln!(to, "\n[sys]")?;
        writeln!(to, "interval = {}", sys_interval(config.sys.interval))?;
        writeln!(to, "\n[log]")?;
        writeln!(to, "level = {}", word(LEVELS, &config.log.level))?;
        writeln!(to, "format = {}", word(FORMATS, &config.log.format))?;
        config.listeners.iter().try_for_each(|it| listener(it, to))
    }
}

fn storage(storage: &Storage, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(to, "\n[storage]")?;
    writeln!(to, "engine = {}", word(ENGINES, &storage.engine))?;
    writeln!(to, "sync = {}", word(SYNCS, &storage.sync))?;
    writeln!(to, "sync_interval = {}", duration(storage.sync_interval))?;
    let disk = match storage.disk_max {
        DiskMax::OfFileSystem => text("auto"),
        DiskMax::At(limit) => bytes(limit),
    };
    writeln!(to, "disk_max = {disk}")
}

fn limits(limits: &Limits, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    let connections: &dyn Display = match &limits.connections_max {
        ConnectionsMax::FromOpenFiles => &"\"auto\"",
        ConnectionsMax::At(number) => number,
    };
    let memory = match limits.memory_max {
        MemoryMax::OfMachine => text("auto"),
        MemoryMax::At(limit) => bytes(limit),
    };
    writeln!(to, "\n[limits]")?;
    writeln!(to, "memory_max = {memory}")?;
    writeln!(to, "connections_max = {connections}")?;
    writeln!(to, "packet_bytes_max = {}", bytes(limits.packet_bytes_max))?;
    writeln!(to, "connect_bytes_max = {}", bytes(limits.connect_bytes_max))?;
    writeln!(to, "connect_timeout = {}", duration(limits.connect_timeout))?;
    writeln!(to, "keep_alive_max = {}", duration(limits.keep_alive_max))?;
    writeln!(to, "client_id_bytes_max = {}", bytes(limits.client_id_bytes_max))?;
    writeln!(to, "topic_bytes_max = {}", bytes(limits.topic_bytes_max))?;
    writeln!(to, "topic_levels_max = {}", limits.topic_levels_max)?;
    writeln!(to, "topic_aliases_in_max = {}", limits.topic_aliases_in_max)?;
    writeln!(to, "topic_aliases_out_max = {}", limits.topic_aliases_out_max)?;
    writeln!(to, "subscriptions_per_client_max = {}", limits.subscriptions_per_client_max)
}

fn session(session: &SessionLimits, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(to, "\n[session]")?;
    writeln!(to, "inflight_max = {}", session.inflight_max)?;
    writeln!(to, "receive_maximum = {}", session.receive_maximum)?;
    writeln!(to, "queue_bytes_max = {}", bytes(session.queue_bytes_max))?;
    writeln!(to, "queue_offline_messages_max = {}", session.queue_offline_messages_max)?;
    writeln!(to, "queue_when_full = {}", word(QUEUES_WHEN_FULL, &session.queue_when_full))?;
    writeln!(to, "expiry_max = {}", expiry(session.expiry_max))?;
    writeln!(to, "expiry_v3 = {}", expiry(session.expiry_v3))?;
    let response_information = session.response_information.as_ref().map_or("", TopicName::as_str);
    writeln!(to, "response_information = {}", text(response_information))
}

fn outbound(outbound: &OutboundLimits, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(to, "\n[outbound]")?;
    writeln!(to, "soft_bytes_max = {}", bytes(outbound.soft_bytes_max))?;
    writeln!(to, "hard_bytes_max = {}", bytes(outbound.hard_bytes_max))?;
    writeln!(to, "stall_timeout = {}", duration(outbound.stall_timeout))
}

fn retained(retained: &RetainedLimits, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(to, "\n[retained]")?;
    writeln!(to, "messages_max = {}", retained.messages_max)?;
    writeln!(to, "bytes_max = {}", bytes(retained.bytes_max))
}

fn listener(listener: &Listener, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    let anonymous = match listener.anonymous {
        Anonymous::Allowed => true,
        Anonymous::Refused => false,
    };
    writeln!(to, "\n[[listener]]")?;
    writeln!(to, "name = {}", text(&listener.name))?;
    writeln!(to, "address = {}", text(&listener.address.to_string()))?;
    writeln!(to, "protocol = {}", word(PROTOCOLS, &listener.protocol))?;
    writeln!(to, "anonymous = {anonymous}")?;
    features(&listener.features, to)?;
    listener.credentials.iter().try_for_each(|it| credential(it, to))
}

fn features(features: &Features, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    let protocols: Vec<String> =
        features.protocols.iter().map(|version| word(VERSIONS, &version)).collect();
    writeln!(to, "protocols = [{}]", protocols.join(", "))?;
    writeln!(to, "qos_max = {}", features.qos_max.bits())?;
    writeln!(to, "retain = {}", features.retain)?;
    writeln!(to, "wildcards = {}", features.wildcards)?;
    writeln!(to, "shared = {}", features.shared)?;
    writeln!(to, "subscription_ids = {}", features.subscription_ids)
}

/// A comment in place of the secret: a made-up value would be loaded again as if it were one.
fn credential(credential: &Credential, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    let key = match &credential.secret {
        Secret::Password(_) => "password",
        Secret::Scram(_) => "scram_sha_256",
    };
    writeln!(to, "\n[[listener.credential]]")?;
    writeln!(to, "username = {}", text(&credential.username))?;
    writeln!(to, "# {key} = {HIDDEN}")
}

/// The word for a choice. The lists of words are those that are read, so none is missing.
fn word<T: PartialEq>(choices: &[(&str, T)], choice: &T) -> String {
    let word = choices.iter().find(|(_, known)| known == choice);
    text(word.map_or("", |(word, _)| word))
}

/// In quotes where a unit makes it a text.
fn bytes(bytes: impl TryInto<u64>) -> String {
    let printed = value::bytes_text(bytes.try_into().unwrap_or(u64::MAX));
    if printed.contains(' ') { text(&printed) } else { printed }
}

fn duration(duration: Duration) -> String {
    text(&value::duration_text(duration))
}

fn expiry(expiry: SessionExpiryMax) -> String {
    match expiry {
        SessionExpiryMax::Never => text("never"),
        SessionExpiryMax::After(time) => duration(time),
    }
}

fn sys_interval(interval: SysInterval) -> String {
    match interval {
        SysInterval::Never => text("never"),
        SysInterval::Every(time) => duration(time),
    }
}

/// Always UTF-8: `check` takes no other path.
fn path(path: &Path) -> String {
    text(&path.to_string_lossy())
}

fn text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
