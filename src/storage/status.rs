//! How a store is doing, in numbers that anybody may read at any time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters since the start, and gauges.
#[derive(Debug, Default)]
pub struct StoreStatus {
    /// Records, which is an estimate: one that is put again counts twice until the next start.
    pub records: AtomicU64,
    /// Journals and tables.
    pub disk_bytes: AtomicU64,
    /// What they may take.
    pub disk_bytes_max: AtomicU64,
    /// Changes that are submitted and not kept.
    pub backlog_changes: AtomicU64,
    /// Their messages, as they are accounted.
    pub backlog_bytes: AtomicU64,
    pub changes: AtomicU64,
    /// Groups written.
    pub commits: AtomicU64,
    /// Keys put and deleted, and their bytes with the values.
    pub keys_written: AtomicU64,
    pub bytes_written: AtomicU64,
    pub syncs: AtomicU64,
    /// From the first write of a group until it was kept.
    pub last_commit_microseconds: AtomicU64,
    pub longest_commit_microseconds: AtomicU64,
    /// How often it began to fail.
    pub failures: AtomicU64,
    /// Seconds since 1970; 0 while it does not fail.
    pub failing_since: AtomicU64,
    /// Records that could not be read, since the start and at it.
    pub damaged: AtomicU64,
    /// Records that nothing referred to, removed.
    pub orphans: AtomicU64,
    /// Changes of what is not kept.
    pub unknown: AtomicU64,
    /// Families that were compacted because half of them was dead.
    pub compactions: AtomicU64,
    /// Queued messages read back.
    pub fetched: AtomicU64,
}

impl StoreStatus {
    pub(super) fn committed(&self, took: Duration) {
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.last_commit_microseconds.store(microseconds, Ordering::Relaxed);
        self.longest_commit_microseconds.fetch_max(microseconds, Ordering::Relaxed);
    }
}

pub(super) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

pub(super) fn subtract(counter: &AtomicU64, count: usize) {
    counter.fetch_sub(count as u64, Ordering::Relaxed);
}
