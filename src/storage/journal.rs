//! What the router sees of the store: it takes changes, numbers them, and says how far it is.
//!
//! Nothing here waits for the disk. The threads that do share [`Shared`] with it.

use std::collections::BTreeMap;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex, RwLock};

use super::engine::Engine;
use super::faults::Faults;
use super::fetch::Jobs;
use super::quarantine::Quarantine;
use super::status::{StoreStatus, add, subtract};
use super::tidy::Tidiness;
use crate::change::{
    Change, CommitNumber, Fetch, FetchReply, Journal, JournalState, Keeps, Owed, Recorded,
};
use crate::config::StorageSync;

/// What may be submitted and not kept before publishers have to wait: about two seconds of work for
/// a slow disk, and what a burst may cost in memory.
pub const BACKLOG_CHANGES_MAX: u64 = 65_536;
/// The same in bytes of messages, as they are accounted.
pub const BACKLOG_BYTES_MAX: u64 = 64 << 20;

/// What all threads of the store see.
pub(super) struct Shared {
    /// The store itself.
    pub(super) path: PathBuf,
    pub(super) sync: StorageSync,
    pub(super) sync_interval: Duration,
    /// What the store may take on disk, in bytes.
    pub(super) disk_max: u64,
    /// It takes that.
    full: AtomicBool,
    waiting: Mutex<Waiting>,
    /// Rings when something waits.
    bell: Condvar,
    /// The number of the last group that is kept.
    kept: AtomicU64,
    /// The number given last.
    submitted: AtomicU64,
    failing: AtomicBool,
    /// Changes that belong together leave no gap at which a commit group could end.
    crowded: AtomicBool,
    wakers: Mutex<BTreeMap<u64, Vec<Waker>>>,
    /// Gone while it is opened again, and when the store is closed.
    pub(super) engine: RwLock<Option<Engine>>,
    pub(super) jobs: Jobs,
    pub(super) quarantine: Quarantine,
    pub(super) status: StoreStatus,
    pub(super) faults: Faults,
    pub(super) tidiness: Tidiness,
}

/// How long changes that belong together may follow each other without a gap before publishers have
/// to wait for one.
const TOGETHER_MAX: Duration = Duration::from_millis(5);

/// What is submitted and not yet taken by the commit thread.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) changes: Vec<Recorded>,
    pub(super) fetches: Vec<(Fetch, FetchReply)>,
    /// Of the last group in `changes`.
    pub(super) number: u64,
    pub(super) bytes: usize,
    pub(super) is_closing: bool,
    /// How many are submitting what belongs together.
    together: usize,
    /// The first that was submitted meanwhile: from here on nothing is taken before the last of them
    /// is done, since who began later belongs to them too.
    whole_from: Option<Whole>,
}

/// How far the changes were before the first that belongs together with others.
#[derive(Clone, Copy)]
struct Whole {
    changes: usize,
    bytes: usize,
    number: u64,
    since: Instant,
}

impl Waiting {
    /// How many changes may be taken.
    fn ready(&self) -> usize {
        self.whole_from.map_or(self.changes.len(), |whole| whole.changes)
    }

    fn is_idle(&self) -> bool {
        let nothing_to_read = self.fetches.is_empty() || self.whole_from.is_some();
        self.ready() == 0 && nothing_to_read && !self.is_closing
    }
}

impl Shared {
    pub(super) fn new(
        path: PathBuf,
        engine: Engine,
        (sync, sync_interval): (StorageSync, Duration),
        disk_max: u64,
        quarantine: Quarantine,
    ) -> Self {
        Self {
            path,
            sync,
            sync_interval,
            disk_max,
            full: AtomicBool::new(false),
            waiting: Mutex::default(),
            bell: Condvar::new(),
            kept: AtomicU64::new(0),
            submitted: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            crowded: AtomicBool::new(false),
            wakers: Mutex::default(),
            engine: RwLock::new(Some(engine)),
            jobs: Jobs::default(),
            quarantine,
            status: StoreStatus::default(),
            faults: Faults::default(),
            tidiness: Tidiness::default(),
        }
    }

    fn submit(&self, changes: &mut Vec<Recorded>) -> CommitNumber {
        if changes.is_empty() {
            return CommitNumber::NONE;
        }
        let (count, bytes) = (changes.len(), changes.iter().map(|it| bytes_of(&it.change)).sum());
        add(&self.status.backlog_changes, count);
        add(&self.status.backlog_bytes, bytes);
        let mut waiting = self.waiting.lock();
        if waiting.together > 0 && waiting.whole_from.is_none() {
            waiting.whole_from = Some(Whole {
                changes: waiting.changes.len(),
                bytes: waiting.bytes,
                number: waiting.number,
                since: Instant::now(),
            });
        }
        waiting.number += 1;
        let number = waiting.number;
        self.submitted.store(number, Ordering::Release);
        let is_first = waiting.changes.is_empty();
        waiting.changes.append(changes);
        waiting.bytes += bytes;
        drop(waiting);
        // Behind others it is taken with them, and who waits for the end of what belongs together is
        // rung for then: each ring may be a system call.
        if is_first {
            self.bell.notify_one();
        }
        match self.sync {
            StorageSync::Always | StorageSync::Interval | StorageSync::Os => CommitNumber(number),
            StorageSync::Off => CommitNumber::NONE,
        }
    }

    fn state(&self) -> JournalState {
        if self.failing.load(Ordering::Acquire) {
            return JournalState::Failing;
        }
        let status = &self.status;
        if self.crowded.load(Ordering::Acquire)
            || status.backlog_changes.load(Ordering::Relaxed) > BACKLOG_CHANGES_MAX
            || status.backlog_bytes.load(Ordering::Relaxed) > BACKLOG_BYTES_MAX
        {
            return JournalState::Behind(CommitNumber(self.submitted.load(Ordering::Acquire)));
        }
        JournalState::Keeping
    }

    fn wake_when_kept(&self, number: CommitNumber, waker: &Waker) {
        let mut wakers = self.wakers.lock();
        // Both are set before the wakers are looked through, so what is not seen here is woken
        // there.
        if self.kept.load(Ordering::Acquire) >= number.0 || self.failing.load(Ordering::Acquire) {
            drop(wakers);
            waker.wake_by_ref();
            return;
        }
        let same = wakers.entry(number.0).or_default();
        if !same.iter().any(|known| known.will_wake(waker)) {
            same.push(waker.clone());
        }
    }

    /// Takes all that waits and is whole; waits for something, or for so long.
    pub(super) fn take(&self, spare: Vec<Recorded>, patience: Duration) -> Waiting {
        let mut waiting = self.waiting.lock();
        let deadline = Instant::now() + patience;
        while waiting.is_idle() {
            // Nobody rings when it takes too long.
            let until = waiting.whole_from.map_or(deadline, |whole| whole.since + TOGETHER_MAX);
            let timed_out = self.bell.wait_until(&mut waiting, until.min(deadline)).timed_out();
            if timed_out && until < deadline && waiting.is_idle() {
                self.crowded.store(true, Ordering::Release);
                self.bell.wait_until(&mut waiting, deadline);
            }
            if timed_out || Instant::now() >= deadline {
                break;
            }
        }
        let is_closing = waiting.is_closing;
        // Whoever submitted is gone when the store is closed.
        let Some(whole) = waiting.whole_from.filter(|_| !is_closing) else {
            self.crowded.store(false, Ordering::Release);
            let changes = mem::replace(&mut waiting.changes, spare);
            let (fetches, bytes) = (mem::take(&mut waiting.fetches), mem::take(&mut waiting.bytes));
            let number = waiting.number;
            return Waiting { changes, fetches, number, bytes, is_closing, ..Waiting::default() };
        };
        let Whole { changes: count, bytes, number, .. } = whole;
        if count == 0 {
            return Waiting { changes: spare, number, ..Waiting::default() };
        }
        let count = count.min(waiting.changes.len());
        let rest = waiting.changes.split_off(count);
        let changes = mem::replace(&mut waiting.changes, rest);
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        waiting.whole_from = Some(Whole { changes: 0, bytes: 0, ..whole });
        Waiting { changes, number, bytes, ..Waiting::default() }
    }

    fn begin_together(&self) {
        self.waiting.lock().together += 1;
    }

    fn end_together(&self) {
        let mut waiting = self.waiting.lock();
        waiting.together = waiting.together.saturating_sub(1);
        if waiting.together == 0 && waiting.whole_from.take().is_some() {
            drop(waiting);
            self.bell.notify_one();
        }
    }

    /// Waits so long, or until the store is to be closed. What is submitted meanwhile stays.
    pub(super) fn pause(&self, length: Duration) -> bool {
        let mut waiting = self.waiting.lock();
        let deadline = Instant::now() + length;
        while !waiting.is_closing && !self.bell.wait_until(&mut waiting, deadline).timed_out() {}
        waiting.is_closing
    }

    pub(super) fn close(&self) {
        self.waiting.lock().is_closing = true;
        self.bell.notify_all();
    }

    /// All up to this number is kept: so many changes with so many bytes.
    pub(super) fn keep(&self, number: u64, changes: usize, bytes: usize) {
        subtract(&self.status.backlog_changes, changes);
        subtract(&self.status.backlog_bytes, bytes);
        self.kept.store(number, Ordering::Release);
        let mut wakers = self.wakers.lock();
        let later = wakers.split_off(&(number + 1));
        let woken = mem::replace(&mut *wakers, later);
        drop(wakers);
        woken.into_values().flatten().for_each(Waker::wake);
    }

    pub(super) fn begin_to_fail(&self) {
        add(&self.status.failures, 1);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.status.failing_since.store(since.as_secs(), Ordering::Relaxed);
        self.failing.store(true, Ordering::Release);
        let woken = mem::take(&mut *self.wakers.lock());
        woken.into_values().flatten().for_each(Waker::wake);
    }

    /// Whether it takes all it may with so much on disk: until an eighth of that is free again.
    pub(super) fn would_be_full(&self, disk_bytes: u64) -> bool {
        let spare = if self.is_full() { self.disk_max / 8 } else { 0 };
        disk_bytes >= self.disk_max - spare
    }

    pub(super) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Release);
    }

    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    pub(super) fn fails(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    pub(super) fn no_longer_fails(&self) {
        self.status.failing_since.store(0, Ordering::Relaxed);
        self.failing.store(false, Ordering::Release);
    }
}

/// What a change holds in memory beside itself.
fn bytes_of(change: &Change) -> usize {
    match change {
        Change::Queued { owed: Owed { message, .. }, .. }
        | Change::Sent { position: None, owed: Owed { message, .. }, .. }
        | Change::GroupQueued { message, .. }
        | Change::WillKept { message, .. }
        | Change::Retained { message } => message.bytes(),
        Change::SessionBegun { .. }
        | Change::SessionExpiryChanged { .. }
        | Change::SessionResumed { .. }
        | Change::SessionAway { .. }
        | Change::SessionEnded { .. }
        | Change::Subscribed { .. }
        | Change::Unsubscribed { .. }
        | Change::Unqueued { .. }
        | Change::Sent { position: Some(_), .. }
        | Change::Released { .. }
        | Change::Completed { .. }
        | Change::Received { .. }
        | Change::Forgotten { .. }
        | Change::GroupUnqueued { .. }
        | Change::WillDropped { .. }
        | Change::RetainedRemoved { .. } => 0,
    }
}

/// The store as the router has it.
pub(super) struct Durable {
    pub(super) shared: Arc<Shared>,
    /// Ends the threads when the last that uses the store is gone.
    pub(super) _threads: Arc<super::handle::Threads>,
}

impl std::fmt::Debug for Durable {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Durable").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl Journal for Durable {
    fn keeps(&self) -> Keeps {
        Keeps::Changes
    }

    fn submit(&self, changes: &mut Vec<Recorded>) -> CommitNumber {
        self.shared.submit(changes)
    }

    fn kept(&self) -> CommitNumber {
        CommitNumber(self.shared.kept.load(Ordering::Acquire))
    }

    fn wake_when_kept(&self, number: CommitNumber, waker: &Waker) {
        self.shared.wake_when_kept(number, waker);
    }

    fn state(&self) -> JournalState {
        self.shared.state()
    }

    fn is_full(&self) -> bool {
        self.shared.is_full()
    }

    fn fetch(&self, fetch: Fetch, reply: FetchReply) {
        // Behind the changes before it: the commit thread passes it on when they can be read.
        self.shared.waiting.lock().fetches.push((fetch, reply));
        self.shared.bell.notify_one();
    }

    fn begin_together(&self) -> u64 {
        self.shared.begin_together();
        0
    }

    fn end_together(&self, _: u64) {
        self.shared.end_together();
    }
}
