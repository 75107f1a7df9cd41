//! The running broker: builds every room from the configuration, and takes it down again.

mod errands;
mod store;

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use crate::auth::{Authenticator, EngineError};
use crate::change::SessionExpiry;
use crate::cluster::{Cluster, Standalone};
use crate::config::{
    self, Anonymous, Config, ConnectionsMax, Listener, LogFormat, LogLevel, MemoryMax,
    SessionExpiryMax, SharingStrategy, StorageEngine, SysInterval, Warning,
};
use crate::metrics::Metrics;
use crate::router::{Courier, OutboundLimits, RetainedLimits, Router, RouterLimits, Strategy};
use crate::server::{Entrance, Limiter, Server, Shared, Totals};
use crate::session::{Features, Limits, QueueWhenFull};
use crate::storage::{Opened, StoreHandle};
use crate::time::Now;
use crate::transport::Door;

pub use crate::storage::StorageError;

use errands::Errands;

/// How long clients may take to read what is left for them when the server stops.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the disk may take to keep what was submitted before it stops.
const STORE_PATIENCE: Duration = Duration::from_secs(20);

/// Files the process opens beside its connections: listeners, runtimes, logs, and those clients
/// that are let in only to be told that there are enough.
const OTHER_FILES: u64 = 128;

/// The least that `limits.memory_max = "auto"` gives, whatever the machine has.
const MEMORY_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// What it takes the machine to have where that cannot be found out.
const MEMORY_BYTES_UNKNOWN: u64 = 1024 * 1024 * 1024;

/// Why the broker could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("cannot listen on {address} (address of listener `{listener}`): {}", explain(source))]
    Listen { listener: String, address: SocketAddr, source: io::Error },
    #[error("cannot check who connects to listener `{listener}`: {source}")]
    Engine { listener: String, source: EngineError },
    #[error("cannot start the workers: {0}")]
    Workers(io::Error),
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
    #[error("{0}{cause}", cause = cause(.0))]
    Storage(#[from] StorageError),
    #[error("cannot write where it listens to standard output: {0}")]
    Banner(io::Error),
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot start.
pub fn run(config: Config, warnings: &[Warning]) -> Result<(), DaemonError> {
    start_log(&config);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime =
        Builder::new_current_thread().enable_all().build().map_err(DaemonError::Workers)?;
    let (server, store) = runtime.block_on(serve(config))?;
    let totals = server.stop(PATIENCE);
    store::close(store, STORE_PATIENCE);
    let Totals { publishes_received, publishes_sent, dropped, refused } = totals;
    tracing::info!(publishes_received, publishes_sent, dropped, refused, "stopped");
    Ok(())
}

/// Starts everything and serves until a signal says stop; the server that is then to be stopped, and
/// the store that is to be closed behind it.
async fn serve(mut config: Config) -> Result<(Server, Option<Arc<StoreHandle>>), DaemonError> {
    let mut stop = [SignalKind::terminate(), SignalKind::interrupt()]
        .map(signal)
        .into_iter()
        .collect::<io::Result<Vec<_>>>()
        .map_err(DaemonError::Signals)?;
    // Nobody may connect before everything is there that he left.
    let Opened { journal, kept, control: store, .. } = store::open(&config)?;
    let entrances = open_entrances(&config)?;
    // The engines have made their keys; no password stays.
    config.forget_credentials();
    let connections_max = connections_max(&config);
    let metrics = Arc::new(Metrics::new(config.workers.get()));
    let limits = router_limits(&config);
    let memory_max = limits.memory_bytes_max;
    let router = Arc::new(Router::new(limits, journal, metrics));
    let now = Now { monotonic: Instant::now(), wall: SystemTime::now() };
    // The first worker's counters are this thread's until the workers start.
    router.restore(&mut Courier::new(router.metrics().worker(0), now), kept);
    let shared = Shared {
        router: Arc::clone(&router),
        cluster: Cluster::Standalone(Standalone::default()),
        limiter: Limiter::new(connections_max),
        connect_bytes_max: config.limits.connect_bytes_max,
        connect_timeout: config.limits.connect_timeout,
        stall_timeout: config.outbound.stall_timeout,
        sys_interval: match config.sys.interval {
            SysInterval::Never => None,
            SysInterval::Every(interval) => Some(interval),
        },
        store: store.clone(),
    };
    let server = Server::start(shared, config.workers).map_err(DaemonError::Workers)?;
    let errands = store.clone().and_then(|it| Errands::open(&config.data_dir, it, router));
    print_banner(&config, &entrances).map_err(DaemonError::Banner)?;
    tracing::info!(workers = config.workers, connections_max, memory_max, "started");
    let errands = errands.map(|errands| Box::pin(errands.run()) as Task<'_>);
    let doors = entrances.into_iter().map(|(_, entrance)| Box::pin(server.serve(entrance)) as _);
    let name = serve_until(doors.chain(errands).collect(), &mut stop).await;
    tracing::info!(signal = name, "stopping");
    Ok((server, store))
}

/// An accept loop.
type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs the accept loops until one of the signals comes: its name.
async fn serve_until(mut doors: Vec<Task<'_>>, stop: &mut [Signal]) -> &'static str {
    poll_fn(|context| {
        for (signal, name) in stop.iter_mut().zip(["SIGTERM", "SIGINT"]) {
            if signal.poll_recv(context).is_ready() {
                return Poll::Ready(name);
            }
        }
        // A handful of doors: looking at each costs less than knowing which one was woken. One that
        // ends has no worker left to serve it.
        doors.retain_mut(|door| door.as_mut().poll(context).is_pending());
        Poll::Pending
    })
    .await
}

fn open_entrances(config: &Config) -> Result<Vec<(SocketAddr, Entrance)>, DaemonError> {
    let mut entrances = Vec::new();
    for listener in &config.listeners {
        let opened = Door::open(listener).and_then(|door| Ok((door.address()?, door)));
        match opened {
            Ok((address, door)) => {
                let name = listener.name.clone();
                let authenticator = Authenticator::of(listener)
                    .map_err(|source| DaemonError::Engine { listener: name.clone(), source })?;
                let features = features(&listener.features);
                entrances.push((address, Entrance { name, door, authenticator, features }));
            }
            // The default listeners are for this machine, whichever of the two it has.
            Err(error) if is_missing_ipv6(listener, &error) && !entrances.is_empty() => {
                tracing::info!(address = %listener.address, "this machine has no IPv6: not listening there");
            }
            Err(source) => {
                let (listener, address) = (listener.name.clone(), listener.address);
                return Err(DaemonError::Listen { listener, address, source });
            }
        }
    }
    Ok(entrances)
}

/// What a listener's clients may use.
#[must_use]
pub fn features(features: &config::Features) -> Features {
    Features {
        qos_max: features.qos_max,
        retain: features.retain,
        wildcards: features.wildcards,
        shared: features.shared,
        subscription_ids: features.subscription_ids,
        protocols: features.protocols,
    }
}

fn is_missing_ipv6(listener: &Listener, error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    listener.address.is_ipv6()
        && listener.address.ip().is_loopback()
        && (error.kind() == io::ErrorKind::AddrNotAvailable
            || error.raw_os_error() == Some(EAFNOSUPPORT))
}

fn cause(error: &dyn Error) -> String {
    error.source().map_or_else(String::new, |source| format!(": {source}"))
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use, perhaps by another broker; choose another one there or with --listen"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address; 0.0.0.0 stands for all it has".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need the capability CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => error.to_string(),
    }
}

/// As many connections as the open files allow, unless the configuration says.
fn connections_max(config: &Config) -> usize {
    let files = raise_open_files();
    let possible = files.map_or(usize::MAX, |files| {
        usize::try_from(files.saturating_sub(OTHER_FILES).max(1)).unwrap_or(usize::MAX)
    });
    match config.limits.connections_max {
        ConnectionsMax::FromOpenFiles => possible,
        ConnectionsMax::At(connections) => {
            let wanted = usize::try_from(connections.get()).unwrap_or(usize::MAX);
            if wanted > possible {
                tracing::warn!(
                    wanted,
                    possible,
                    "limits.connections_max is more than the open-file limit allows; raise that \
                     (LimitNOFILE= in a systemd unit, ulimit -n in a shell)"
                );
            }
            wanted.min(possible)
        }
    }
}

/// Raises the soft limit of open files to the hard one: the limit now. `None`: no limit.
fn raise_open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// In bytes. Half of what there is leaves room for what is not accounted to the byte, and for the
/// others on the machine.
fn memory_bytes_max(config: &Config) -> u64 {
    match config.limits.memory_max {
        MemoryMax::At(bytes) => bytes,
        MemoryMax::OfMachine => {
            let bytes = config::memory_bytes().unwrap_or(MEMORY_BYTES_UNKNOWN);
            (bytes / 2).max(MEMORY_BYTES_MIN)
        }
    }
}

/// What the router and its Sessions may grow to.
#[must_use]
pub fn router_limits(config: &Config) -> RouterLimits {
    let (limits, session) = (&config.limits, &config.session);
    RouterLimits {
        session: Limits {
            inflight_max: session.inflight_max,
            receive_maximum: session.receive_maximum,
            queue_bytes_max: session.queue_bytes_max,
            queue_offline_messages_max: session.queue_offline_messages_max,
            queue_when_full: match session.queue_when_full {
                config::QueueWhenFull::RefuseNewest => QueueWhenFull::RefuseNewest,
                config::QueueWhenFull::DropOldest => QueueWhenFull::DropOldest,
            },
            expiry_max: expiry(session.expiry_max),
            expiry_v3: expiry(session.expiry_v3),
            keep_alive_max: u16::try_from(limits.keep_alive_max.as_secs()).unwrap_or(u16::MAX),
            client_id_bytes_max: limits.client_id_bytes_max,
            topic_bytes_max: limits.topic_bytes_max,
            topic_levels_max: limits.topic_levels_max,
            topic_aliases_in_max: limits.topic_aliases_in_max,
            topic_aliases_out_max: limits.topic_aliases_out_max,
            subscriptions_max: limits.subscriptions_per_client_max,
            packet_bytes_max: limits.packet_bytes_max,
            response_information: session.response_information.clone(),
        },
        outbound: OutboundLimits {
            soft_bytes_max: config.outbound.soft_bytes_max,
            hard_bytes_max: config.outbound.hard_bytes_max,
        },
        retained: RetainedLimits {
            messages_max: config.retained.messages_max,
            bytes_max: config.retained.bytes_max,
        },
        sharing: match config.shared.strategy {
            SharingStrategy::LeastInflight => Strategy::LeastInflight,
            SharingStrategy::RoundRobin => Strategy::RoundRobin,
            SharingStrategy::HashTopic => Strategy::HashTopic,
            SharingStrategy::HashPublisher => Strategy::HashPublisher,
            SharingStrategy::Sticky => Strategy::Sticky,
        },
        memory_bytes_max: memory_bytes_max(config),
    }
}

fn expiry(expiry: SessionExpiryMax) -> SessionExpiry {
    match expiry {
        SessionExpiryMax::Never => SessionExpiry::Never,
        SessionExpiryMax::After(expiry) if expiry.is_zero() => SessionExpiry::AtDisconnect,
        SessionExpiryMax::After(expiry) => SessionExpiry::After(expiry),
    }
}

/// What a newcomer needs next, on standard output: where it listens, where it stores, and how to
/// publish a first message.
fn print_banner(config: &Config, entrances: &[(SocketAddr, Entrance)]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "dunlin {}", env!("CARGO_PKG_VERSION"))?;
    for (address, entrance) in entrances {
        let admits = match &entrance.authenticator {
            Authenticator::Anonymous(Anonymous::Allowed) => "anonymous",
            Authenticator::Anonymous(Anonymous::Refused) => "no anonymous clients",
            Authenticator::Scram { others: Anonymous::Allowed, .. } => "anonymous, SCRAM-SHA-256",
            Authenticator::Scram { others: Anonymous::Refused, .. } => "SCRAM-SHA-256",
        };
        writeln!(out, "  listening on {address} (mqtt, {admits})")?;
    }
    if entrances.iter().all(|(address, _)| address.ip().is_loopback()) {
        writeln!(
            out,
            "  reachable from this machine only; to open it to everybody: dunlin --listen 0.0.0.0:1883"
        )?;
    }
    match config.storage.engine {
        StorageEngine::Fjall => {
            let (directory, sync) = (config.data_dir.display(), config.storage.sync);
            writeln!(out, "  storing in {directory} (sync {})", store::sync_word(sync))?;
        }
        StorageEngine::Memory => writeln!(
            out,
            "  storing in memory: sessions and retained messages are gone when dunlin stops"
        )?,
    }
    // The commands say nothing of who they are.
    let open = entrances.iter().find(|(_, entrance)| admits_anonymous(&entrance.authenticator));
    if let Some((address, _)) = open {
        let port = match address.port() {
            1883 => String::new(),
            port => format!(" -p {port}"),
        };
        writeln!(out, "  try it:  mosquitto_sub{port} -t greetings -C 1 &")?;
        writeln!(out, "           mosquitto_pub{port} -t greetings -m hello")?;
    }
    out.flush()
}

fn admits_anonymous(authenticator: &Authenticator) -> bool {
    match authenticator {
        Authenticator::Anonymous(others) | Authenticator::Scram { others, .. } => match others {
            Anonymous::Allowed => true,
            Anonymous::Refused => false,
        },
    }
}

fn start_log(config: &Config) {
    let level = match config.log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let log =
        tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).with_target(false);
    // A log that was set up before, by a test, stays.
    let _ = match config.log.format {
        LogFormat::Text => log.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}
