//! Counters of what the broker did, and gauges of what it holds.
//!
//! Each worker counts in its own [`Counters`], which nobody else writes: two workers adding to one
//! cache line cost more than the delivery they count.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A count that only grows, written by one thread and read by any.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Only the owning thread may call it: two at once could lose one of the additions.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One worker's part of an amount: what it added less what it took away, which may be negative.
/// Only the sum over all workers means something. Written by one thread, like [`Counter`].
#[derive(Debug, Default)]
pub struct Share(AtomicI64);

impl Share {
    /// Only the owning thread may call it.
    pub fn change(&self, before: usize, after: usize) {
        if before == after {
            return;
        }
        let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        let value = self.0.load(Ordering::Relaxed) + signed(after) - signed(before);
        self.0.store(value, Ordering::Relaxed);
    }
}

/// An amount that rises and falls, written by any thread.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// The new amount.
    pub fn add(&self, amount: usize) -> i64 {
        let amount = i64::try_from(amount).unwrap_or(i64::MAX);
        self.0.fetch_add(amount, Ordering::Relaxed).saturating_add(amount)
    }

    /// Sets it to this amount unless it is higher already.
    pub fn raise_to(&self, amount: i64) {
        self.0.fetch_max(amount, Ordering::Relaxed);
    }

    pub fn subtract(&self, amount: usize) {
        self.0.fetch_sub(i64::try_from(amount).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    pub fn set(&self, amount: u64) {
        self.0.store(i64::try_from(amount).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    #[must_use]
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker did.
#[derive(Debug, Default)]
pub struct Counters {
    /// Of all kinds, PUBLISH included.
    pub packets_received: Counter,
    /// PUBLISH packets of clients, those that were refused included.
    pub publishes_received: Counter,
    /// Handed to a connection's outbound buffer.
    pub publishes_sent: Counter,
    /// Of all other kinds than PUBLISH, which is counted where it costs nothing more.
    pub answers_sent: Counter,
    /// Bytes of payload in `publishes_received`.
    pub payload_bytes_received: Counter,
    /// Bytes of payload in `publishes_sent`.
    pub payload_bytes_sent: Counter,
    pub bytes_received: Counter,
    pub bytes_sent: Counter,
    /// Network Connections, whatever became of them.
    pub connections_opened: Counter,
    /// CONNECT packets that were understood, whatever they were answered with.
    pub connects_received: Counter,
    /// Connections ended because of something the client did wrong.
    pub protocol_errors: Counter,
    pub connects_accepted: Counter,
    pub connects_refused: Counter,
    /// Sessions that ended because nobody came back to them in time.
    pub sessions_expired: Counter,
    /// Clients that did not prove to be who they said, at CONNECT or later.
    pub authentications_failed: Counter,
    /// PUBLISH or SUBSCRIBE entries answered with a refusal.
    pub refusals: Counter,
    pub dropped_offline: Counter,
    pub dropped_outbound_full: Counter,
    pub dropped_queue_full: Counter,
    pub dropped_memory_full: Counter,
    pub dropped_store_full: Counter,
    pub dropped_too_large: Counter,
    pub dropped_expired: Counter,
    /// Owed by a Session or a group that ended.
    pub dropped_ended: Counter,
    /// Not read back by the store.
    pub dropped_damaged: Counter,
    /// Not retained, because the retained messages reached their limit.
    pub retained_refused: Counter,
    /// Times that reading from a client paused for the memory budget.
    pub memory_pauses: Counter,
    /// The same until the store has kept what was waiting for it.
    pub store_pauses: Counter,
    /// What clients were refused, and connections closed, because the store could not write.
    pub store_refusals: Counter,
    /// Queued and inflight messages of all Sessions that are in memory, as they are accounted.
    pub session_bytes: Share,
    /// All of them, counted: once for each Session that owes one.
    pub session_messages: Share,
    /// All else of the Sessions: themselves, their Subscriptions and Wills, by an estimate.
    pub session_state_bytes: Share,
    /// Encoded and not yet taken by the kernel.
    pub outbound_bytes: Share,
    /// All connections: what came and was not handled yet, Topic Aliases, themselves.
    pub connection_bytes: Share,
}

/// All counters and gauges of the process.
#[derive(Debug)]
pub struct Metrics {
    workers: Vec<Arc<Counters>>,
    pub connections: Gauge,
    pub sessions: Gauge,
    /// Sessions with a Network Connection.
    pub clients_connected: Gauge,
    /// The most there ever were of them at once.
    pub clients_maximum: Gauge,
    /// Shared Subscriptions not included.
    pub subscriptions: Gauge,
    pub shared_subscriptions: Gauge,
    /// Of the groups they make, beside what waits in them, by an estimate.
    pub group_bytes: Gauge,
    pub retained_messages: Gauge,
    pub retained_bytes: Gauge,
}

impl Metrics {
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| Arc::default()).collect(),
            connections: Gauge::default(),
            sessions: Gauge::default(),
            clients_connected: Gauge::default(),
            clients_maximum: Gauge::default(),
            subscriptions: Gauge::default(),
            shared_subscriptions: Gauge::default(),
            group_bytes: Gauge::default(),
            retained_messages: Gauge::default(),
            retained_bytes: Gauge::default(),
        }
    }

    /// The counters of one worker. One that does not exist gets counters nobody reads.
    #[must_use]
    pub fn worker(&self, index: usize) -> Arc<Counters> {
        self.workers.get(index).cloned().unwrap_or_default()
    }

    /// The sum over all workers.
    pub fn total(&self, counter: impl Fn(&Counters) -> &Counter) -> u64 {
        self.workers.iter().map(|worker| counter(worker).value()).sum()
    }

    /// The sum over all workers' parts.
    pub fn amount(&self, share: impl Fn(&Counters) -> &Share) -> i64 {
        self.workers.iter().map(|worker| share(worker).0.load(Ordering::Relaxed)).sum()
    }

    /// What clients made the process hold, in bytes as they are accounted: a handful of loads for
    /// each worker.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        let of = |share: &Share| share.0.load(Ordering::Relaxed);
        let workers = self.workers.iter().map(|worker| {
            of(&worker.session_bytes)
                + of(&worker.session_state_bytes)
                + of(&worker.outbound_bytes)
                + of(&worker.connection_bytes)
        });
        let all = self.retained_bytes.value() + self.group_bytes.value();
        let held = workers.sum::<i64>() + all;
        u64::try_from(held).unwrap_or(0)
    }
}
