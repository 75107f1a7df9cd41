//! What the server says of itself below `$SYS/broker`: Mosquitto's topics, in Mosquitto's words.
//!
//! ```text
//! Silent --somebody subscribes--> Speaking --the last one unsubscribes--> Silent
//! ```
//! Speaking, what changed is published at each interval and retained. Silent, nothing is formatted,
//! published or retained; only the load averages go on, so that they are right when somebody asks.

use std::collections::VecDeque;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::load_averages::{LoadAverages, PERIODS};
use super::session_task::TURN_DELIVERIES;
use crate::metrics::Metrics;
use crate::router::{Courier, GroupStatus, Router};
use crate::storage::{StoreHandle, StoreStatus};
use crate::topic::TopicName;

/// What counts, from the metrics.
type Figure = fn(&Metrics) -> u64;

/// Topics that are whole numbers.
const NUMBERS: &[(&str, Figure)] = &[
    ("clients/total", |metrics| whole(metrics.sessions.value())),
    ("clients/maximum", |metrics| whole(metrics.clients_maximum.value())),
    ("clients/disconnected", disconnected),
    ("clients/inactive", disconnected),
    ("clients/connected", |metrics| whole(metrics.clients_connected.value())),
    ("clients/active", |metrics| whole(metrics.clients_connected.value())),
    ("clients/expired", |metrics| metrics.total(|counters| &counters.sessions_expired)),
    ("messages/received", packets_received),
    ("messages/sent", packets_sent),
    ("messages/stored", messages_stored),
    ("store/messages/count", messages_stored),
    ("store/messages/bytes", bytes_stored),
    ("retained messages/count", |metrics| whole(metrics.retained_messages.value())),
    ("subscriptions/count", |metrics| {
        whole(metrics.subscriptions.value() + metrics.shared_subscriptions.value())
    }),
    ("shared_subscriptions/count", |metrics| whole(metrics.shared_subscriptions.value())),
    ("publish/messages/received", publishes_received),
    ("publish/messages/sent", publishes_sent),
    ("publish/messages/dropped", publishes_dropped),
    ("publish/bytes/received", |metrics| metrics.total(|it| &it.payload_bytes_received)),
    ("publish/bytes/sent", |metrics| metrics.total(|it| &it.payload_bytes_sent)),
    ("bytes/received", bytes_received),
    ("bytes/sent", bytes_sent),
];

/// What counts, from a store.
type StoreFigure = fn(&StoreStatus) -> &AtomicU64;

/// Of a store, which Mosquitto has none of; `store/messages` is of all messages, in whatever store.
const STORE: &[(&str, StoreFigure)] = &[
    ("store/records/count", |store| &store.records),
    ("store/disk/bytes", |store| &store.disk_bytes),
    ("store/disk/max/bytes", |store| &store.disk_bytes_max),
    ("store/backlog/count", |store| &store.backlog_changes),
    ("store/backlog/bytes", |store| &store.backlog_bytes),
    ("store/commits/count", |store| &store.commits),
    ("store/commits/longest/microseconds", |store| &store.longest_commit_microseconds),
    ("store/failures/count", |store| &store.failures),
    ("store/failing/since", |store| &store.failing_since),
    ("store/damaged/count", |store| &store.damaged),
];

/// What has load averages; the name of the period follows.
const LOADS: &[(&str, Figure)] = &[
    ("load/messages/received", packets_received),
    ("load/messages/sent", packets_sent),
    ("load/publish/dropped", publishes_dropped),
    ("load/publish/received", publishes_received),
    ("load/publish/sent", publishes_sent),
    ("load/bytes/received", bytes_received),
    ("load/bytes/sent", bytes_sent),
    ("load/sockets", |metrics| metrics.total(|counters| &counters.connections_opened)),
    ("load/connections", |metrics| metrics.total(|counters| &counters.connects_received)),
];

/// The server's own topics and what was said in them.
#[derive(Debug)]
pub(super) struct SysTopics {
    interval: Duration,
    started: Instant,
    /// When the averages are taken next, and what changed is published.
    due: Instant,
    loads: LoadAverages,
    store: Option<Arc<StoreHandle>>,
    state: State,
    topics: Vec<SysTopic>,
    /// Places in `topics` that are still to be published.
    changed: VecDeque<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Silent,
    Speaking,
}

#[derive(Debug)]
struct SysTopic {
    name: TopicName,
    source: Source,
    /// The payload that was last published, empty if none was.
    said: String,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Version,
    Uptime,
    Number(Figure),
    Store(StoreFigure),
    /// The places of a count and of a period.
    Load(usize, usize),
    MemoryNow,
    MemoryMost,
    Groups,
}

/// Groups of Shared Subscriptions that are named, those with the most messages waiting.
const GROUPS_MAX: usize = 100;

/// Memory of the process, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Memory {
    now: u64,
    most: u64,
}

impl SysTopics {
    pub(super) fn new(interval: Duration, now: Instant, store: Option<Arc<StoreHandle>>) -> Self {
        Self {
            interval,
            started: now,
            due: now + interval,
            loads: LoadAverages::new(LOADS.len(), now),
            state: State::Silent,
            topics: topics(store.as_deref()),
            store,
            changed: VecDeque::new(),
        }
    }

    /// Looks at whether somebody subscribes and whether it is time; [`Self::publish`] follows.
    pub(super) fn tick(&mut self, router: &Router, now: Instant) {
        let is_due = now >= self.due;
        if is_due {
            let next = self.due + self.interval;
            self.due = if next > now { next } else { now + self.interval };
            let metrics = router.metrics();
            self.loads.update(now, LOADS.iter().map(|(_, figure)| figure(metrics)));
        }
        let wanted = router.has_sys_subscriptions();
        match self.state {
            State::Silent if wanted => {
                self.state = State::Speaking;
                self.compose(router, now);
            }
            State::Speaking if !wanted => {
                self.state = State::Silent;
                self.changed.clear();
                for topic in &mut self.topics {
                    topic.said.clear();
                }
                router.forget_sys();
            }
            State::Speaking if is_due => self.compose(router, now),
            State::Silent | State::Speaking => {}
        }
    }

    /// Publishes what changed, until the turn is over. Whether something is left for the next.
    pub(super) fn publish(&mut self, router: &Router, courier: &mut Courier) -> bool {
        while let Some(place) = self.changed.pop_front() {
            if let Some(topic) = self.topics.get(place) {
                router.publish_sys(courier, &topic.name, topic.said.as_bytes());
            }
            let (deliveries, _) = courier.spent();
            if deliveries >= TURN_DELIVERIES {
                return !self.changed.is_empty();
            }
        }
        false
    }

    /// Finds out what is to be said that was not said yet.
    fn compose(&mut self, router: &Router, now: Instant) {
        let metrics = router.metrics();
        let memory = Memory::of_this_process();
        let uptime = now.saturating_duration_since(self.started).as_secs();
        for (place, topic) in self.topics.iter_mut().enumerate() {
            let payload = match topic.source {
                Source::Version => {
                    Some(concat!("dunlin version ", env!("CARGO_PKG_VERSION")).into())
                }
                Source::Uptime => Some(format!("{uptime} seconds")),
                Source::Number(figure) => Some(figure(metrics).to_string()),
                Source::Store(figure) => self
                    .store
                    .as_ref()
                    .map(|store| figure(store.status()).load(Ordering::Relaxed).to_string()),
                Source::Load(count, period) => {
                    Some(format!("{:.2}", self.loads.average(count, period)))
                }
                Source::MemoryNow => memory.map(|memory| memory.now.to_string()),
                Source::MemoryMost => memory.map(|memory| memory.most.to_string()),
                Source::Groups => Some(lag(router.groups())),
            };
            if let Some(payload) = payload.filter(|payload| *payload != topic.said) {
                topic.said = payload;
                self.changed.push_back(place);
            }
        }
    }
}

fn topics(store: Option<&StoreHandle>) -> Vec<SysTopic> {
    let first = [("version", Source::Version), ("uptime", Source::Uptime)];
    let last = [
        ("heap/current", Source::MemoryNow),
        ("heap/maximum", Source::MemoryMost),
        ("shared_subscriptions/lag", Source::Groups),
    ];
    let numbers = NUMBERS.iter().map(|(name, figure)| (*name, Source::Number(*figure)));
    let store = store.into_iter().flat_map(|_| STORE);
    let store = store.map(|(name, figure)| (*name, Source::Store(*figure)));
    let plain = first.into_iter().chain(numbers).chain(store).chain(last);
    let plain = plain.map(|(name, source)| (name.to_owned(), source));
    let loads = LOADS.iter().enumerate().flat_map(|(count, (name, _))| {
        let periods = PERIODS.iter().enumerate();
        periods.map(move |(period, (of, _))| (format!("{name}/{of}"), Source::Load(count, period)))
    });
    plain
        .chain(loads)
        .filter_map(|(name, source)| {
            let name = TopicName::parse(&format!("$SYS/broker/{name}")).ok()?;
            Some(SysTopic { name, source, said: String::new() })
        })
        .collect()
}

/// A line for each group, which of all topics is the only one that Mosquitto has not.
fn lag(mut groups: Vec<GroupStatus>) -> String {
    groups.sort_by(|one, other| {
        other.waiting.cmp(&one.waiting).then_with(|| one.filter.cmp(&other.filter))
    });
    groups.truncate(GROUPS_MAX);
    let lines: Vec<String> = groups
        .iter()
        .map(|GroupStatus { filter, members, connected, waiting, bytes }| {
            format!(
                "{waiting} waiting ({bytes} bytes), {connected} of {members} connected: {filter}"
            )
        })
        .collect();
    if lines.is_empty() { "none".to_owned() } else { lines.join("\n") }
}

/// A gauge is a sum of what several threads add and take away, and may pass below zero for a
/// moment.
fn whole(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or(0)
}

fn disconnected(metrics: &Metrics) -> u64 {
    whole(metrics.sessions.value() - metrics.clients_connected.value())
}

fn packets_received(metrics: &Metrics) -> u64 {
    metrics.total(|counters| &counters.packets_received)
}

fn packets_sent(metrics: &Metrics) -> u64 {
    publishes_sent(metrics) + metrics.total(|counters| &counters.answers_sent)
}

fn publishes_received(metrics: &Metrics) -> u64 {
    metrics.total(|counters| &counters.publishes_received)
}

fn publishes_sent(metrics: &Metrics) -> u64 {
    metrics.total(|counters| &counters.publishes_sent)
}

/// At the limits of a queue or an outbound buffer; not what nobody was there to take.
fn publishes_dropped(metrics: &Metrics) -> u64 {
    metrics.total(|counters| &counters.dropped_queue_full)
        + metrics.total(|counters| &counters.dropped_outbound_full)
        + metrics.total(|counters| &counters.dropped_memory_full)
        + metrics.total(|counters| &counters.dropped_store_full)
}

fn bytes_received(metrics: &Metrics) -> u64 {
    metrics.total(|counters| &counters.bytes_received)
}

fn bytes_sent(metrics: &Metrics) -> u64 {
    metrics.total(|counters| &counters.bytes_sent)
}

fn messages_stored(metrics: &Metrics) -> u64 {
    let owed = metrics.amount(|counters| &counters.session_messages);
    whole(metrics.retained_messages.value() + owed)
}

fn bytes_stored(metrics: &Metrics) -> u64 {
    whole(metrics.retained_bytes.value() + metrics.amount(|counters| &counters.session_bytes))
}

impl Memory {
    /// `None` where the kernel is not Linux.
    fn of_this_process() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/status").ok()?)
    }

    /// The resident set, as proc_pid_status(5) has it.
    fn parse(status: &str) -> Option<Self> {
        let bytes = |key: &str| {
            let mut lines = status.lines();
            let kib = lines.find_map(|line| line.strip_prefix(key)?.strip_suffix("kB"))?;
            Some(kib.trim().parse::<u64>().ok()? * 1024)
        };
        Some(Self { now: bytes("VmRSS:")?, most: bytes("VmHWM:")? })
    }
}

#[cfg(test)]
mod tests;
