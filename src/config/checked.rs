//! The checked configuration: what every other room may rely on without looking again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use crate::packet::{ProtocolVersions, QoS};
use crate::topic::TopicName;

/// The whole configuration. `Config::default()` is what `dunlin` without file, environment and
/// arguments runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// At least one; names and addresses are unique (port 0 may repeat).
    pub listeners: Vec<Listener>,
    /// One runtime and thread each; `auto` has become the number of usable cores.
    pub workers: NonZeroUsize,
    pub data_dir: PathBuf,
    pub storage: Storage,
    pub limits: Limits,
    pub session: SessionLimits,
    pub outbound: OutboundLimits,
    pub retained: RetainedLimits,
    pub shared: Shared,
    pub sys: Sys,
    pub log: Log,
}

/// A door: an address, what is spoken there, who may come in, and what they may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Lower-case letters, digits and `-`, so that a variable's name can spell it.
    pub name: String,
    pub address: SocketAddr,
    pub protocol: Protocol,
    pub anonymous: Anonymous,
    pub features: Features,
    /// Each user name once.
    pub credentials: Vec<Credential>,
}

/// What the clients of a listener may use of the standard; the default is everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Never empty. A CONNECT of another version: 0x84 (0x01 before 5.0).
    pub protocols: ProtocolVersions,
    /// A PUBLISH or Will above it: 0x9B, closed. A Subscription is lowered to it.
    pub qos_max: QoS,
    /// Without it a PUBLISH or Will with RETAIN: 0x9A, closed. No Retained Messages are sent.
    pub retain: bool,
    /// Without it a Topic Filter with wildcards: 0xA2, closed (0x80 for it alone before 5.0).
    pub wildcards: bool,
    /// Without it a Shared Subscription: 0x9E, closed (0x80 for it alone before 5.0).
    pub shared: bool,
    /// Without it a SUBSCRIBE with a Subscription Identifier: 0xA1, closed.
    pub subscription_ids: bool,
}

/// A user, and what a client has to know to be it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// As SASLprep (RFC 4013) leaves it; never empty.
    pub username: String,
    pub secret: Secret,
}

/// What proves a user name. It is never printed, not even for debugging.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// As SASLprep leaves it; never empty.
    Password(String),
    Scram(ScramKeys),
}

/// What a server keeps of a password for SCRAM-SHA-256 (RFC 5802, section 3): enough to know a
/// client that has it, not enough to be one.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    pub iterations: u32,
    pub salt: Vec<u8>,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

impl fmt::Debug for Secret {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password(_) => to.write_str("Password(..)"),
            Self::Scram(_) => to.write_str("Scram(..)"),
        }
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("ScramKeys").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT over plain TCP.
    Mqtt,
}

/// Whether a client without credentials is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    Allowed,
    Refused,
}

/// Where what has to survive is kept, and when it counts as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    pub engine: StorageEngine,
    pub sync: StorageSync,
    /// The longest time between two syncs under [`StorageSync::Interval`].
    pub sync_interval: Duration,
    /// What the store may take on disk.
    pub disk_max: DiskMax,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageEngine {
    /// In `data_dir`.
    Fjall,
    /// Nothing survives a restart.
    Memory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskMax {
    /// Three quarters of what the store can have in its file system.
    OfFileSystem,
    /// In bytes.
    At(u64),
}

/// What an acknowledgement waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageSync {
    /// The disk has it: a power cut loses nothing acknowledged.
    Always,
    /// The operating system has it, and gives it to the disk within `sync_interval`.
    Interval,
    /// The operating system has it, and gives it to the disk when it likes.
    Os,
    /// Nothing: it is written behind the acknowledgement.
    Off,
}

/// What a client may ask for before and while it is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What clients may make the process hold, all together.
    pub memory_max: MemoryMax,
    /// One more is answered with 0x89 (0x03 to 3.1.1), then not accepted.
    pub connections_max: ConnectionsMax,
    /// The whole packet with its fixed header. A larger one: 0x95, closed.
    pub packet_bytes_max: usize,
    /// The same for a CONNECT, whose sender nobody knows yet. Never above `packet_bytes_max`.
    pub connect_bytes_max: usize,
    /// From accept to a complete CONNECT; then closed.
    pub connect_timeout: Duration,
    /// Whole seconds. A longer Keep Alive is lowered through Server Keep Alive.
    pub keep_alive_max: Duration,
    /// A longer Client Identifier: 0x85.
    pub client_id_bytes_max: usize,
    /// A longer Topic Name or Topic Filter: 0x90 or 0x8F.
    pub topic_bytes_max: usize,
    /// More levels in a Topic Name or Topic Filter: 0x90 or 0x8F.
    pub topic_levels_max: usize,
    /// A further Subscription: 0x97.
    /// Topic Aliases a client may set; 0 for none.
    pub topic_aliases_in_max: u16,
    /// Topic Aliases the server sets for a client that takes any; 0 for none.
    pub topic_aliases_out_max: u16,
    pub subscriptions_per_client_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryMax {
    /// Half of what the machine or the container has.
    OfMachine,
    /// In bytes.
    At(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionsMax {
    /// As many as the process may have open files, less what the broker needs itself.
    FromOpenFiles,
    At(NonZeroU32),
}

/// What the broker keeps for one Session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Messages sent to a client and not yet acknowledged; further ones wait in the queue.
    pub inflight_max: NonZeroU16,
    /// Announced to 5.0 clients as Receive Maximum; one more open PUBLISH: 0x93, closed.
    pub receive_maximum: NonZeroU16,
    /// What happens beyond it says `queue_when_full`.
    pub queue_bytes_max: usize,
    /// The same, in messages, while the client is away.
    pub queue_offline_messages_max: usize,
    pub queue_when_full: QueueWhenFull,
    /// A longer Session Expiry Interval is lowered to this.
    pub expiry_max: SessionExpiryMax,
    /// How long a persistent 3.1 or 3.1.1 Session, which cannot name an expiry, is kept.
    pub expiry_v3: SessionExpiryMax,
    /// What the Response Information of a client begins with; `None`: there is none. Within
    /// `topic_bytes_max` and `topic_levels_max`.
    pub response_information: Option<TopicName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionExpiryMax {
    Never,
    /// Whole seconds, below the 0xFFFFFFFF that means never.
    After(Duration),
}

/// Which message goes when a Session owes all it may; either is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueWhenFull {
    RefuseNewest,
    /// The oldest ones that were not sent yet, until the newest fits.
    DropOldest,
}

/// What may wait to be written to one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundLimits {
    /// While so much waits QoS 0 for this client is dropped and counted, and QoS 1 and 2 wait in its
    /// queue.
    pub soft_bytes_max: usize,
    /// Beyond it nothing is read from the client. Never below `soft_bytes_max`.
    pub hard_bytes_max: usize,
    /// A connection that takes nothing for so long is closed.
    pub stall_timeout: Duration,
}

/// What all Retained Messages together may take; one more is refused with 0x97 and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedLimits {
    pub messages_max: usize,
    pub bytes_max: u64,
}

/// How Shared Subscriptions choose among their members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    pub strategy: SharingStrategy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharingStrategy {
    LeastInflight,
    RoundRobin,
    HashTopic,
    HashPublisher,
    Sticky,
}

/// What the broker says of itself below `$SYS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sys {
    pub interval: SysInterval,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysInterval {
    Never,
    /// Whole seconds.
    Every(Duration),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
pub(super) const MQTT_PORT: u16 = 1883;

impl Default for Config {
    fn default() -> Self {
        Self {
            listeners: vec![
                Listener::on_loopback("local", Ipv4Addr::LOCALHOST.into()),
                Listener::on_loopback("local6", Ipv6Addr::LOCALHOST.into()),
            ],
            workers: usable_cores(),
            data_dir: PathBuf::from("./dunlin-data"),
            storage: Storage::default(),
            limits: Limits::default(),
            session: SessionLimits::default(),
            outbound: OutboundLimits::default(),
            retained: RetainedLimits::default(),
            shared: Shared { strategy: SharingStrategy::LeastInflight },
            sys: Sys::default(),
            log: Log { level: LogLevel::Info, format: LogFormat::Text },
        }
    }
}

/// What `workers = "auto"` means: the cores that the machine, its affinity mask and a container's
/// CPU quota leave to this process.
pub(super) fn usable_cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

impl Config {
    /// Lets go of what proves users once nobody needs it here any more.
    pub fn forget_credentials(&mut self) {
        for listener in &mut self.listeners {
            listener.credentials = Vec::new();
        }
    }
}

impl Listener {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }

    pub(super) fn has_passwords(&self) -> bool {
        self.credentials.iter().any(|it| matches!(it.secret, Secret::Password(_)))
    }

    /// Anonymous clients are let in because nobody outside this machine can reach it.
    fn on_loopback(name: &str, address: IpAddr) -> Self {
        Self {
            name: name.to_owned(),
            address: SocketAddr::new(address, MQTT_PORT),
            protocol: Protocol::Mqtt,
            anonymous: Anonymous::Allowed,
            features: Features::default(),
            credentials: Vec::new(),
        }
    }
}

impl Default for Features {
    fn default() -> Self {
        Self {
            protocols: ProtocolVersions::ALL,
            qos_max: QoS::ExactlyOnce,
            retain: true,
            wildcards: true,
            shared: true,
            subscription_ids: true,
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            engine: StorageEngine::Fjall,
            sync: StorageSync::Always,
            sync_interval: Duration::from_secs(1),
            disk_max: DiskMax::OfFileSystem,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_max: MemoryMax::OfMachine,
            connections_max: ConnectionsMax::FromOpenFiles,
            packet_bytes_max: 2 * MIB,
            connect_bytes_max: 256 * KIB,
            connect_timeout: Duration::from_secs(10),
            keep_alive_max: Duration::from_secs(3600),
            client_id_bytes_max: 1024,
            topic_bytes_max: 4096,
            topic_levels_max: 128,
            topic_aliases_in_max: 32,
            topic_aliases_out_max: 32,
            subscriptions_per_client_max: 10_000,
        }
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        const INFLIGHT_MAX: NonZeroU16 = NonZeroU16::new(64).unwrap();
        const RECEIVE_MAXIMUM: NonZeroU16 = NonZeroU16::new(1024).unwrap();
        Self {
            inflight_max: INFLIGHT_MAX,
            receive_maximum: RECEIVE_MAXIMUM,
            queue_bytes_max: 8 * MIB,
            queue_offline_messages_max: 1000,
            queue_when_full: QueueWhenFull::RefuseNewest,
            expiry_max: SessionExpiryMax::After(30 * DAY),
            expiry_v3: SessionExpiryMax::After(7 * DAY),
            response_information: TopicName::parse("response/").ok(),
        }
    }
}

impl Default for OutboundLimits {
    fn default() -> Self {
        Self {
            soft_bytes_max: 256 * KIB,
            hard_bytes_max: MIB,
            stall_timeout: Duration::from_secs(60),
        }
    }
}

impl Default for RetainedLimits {
    fn default() -> Self {
        Self { messages_max: 1_000_000, bytes_max: 1024 * 1024 * 1024 }
    }
}

impl Default for Sys {
    fn default() -> Self {
        Self { interval: SysInterval::Every(Duration::from_secs(10)) }
    }
}
