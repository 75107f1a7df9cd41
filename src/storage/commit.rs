//! The one thread that writes.
//!
//! ```text
//! take all that waits -> fold -> one batch -> sync -> publish the number, wake who waits for it
//!                                  | failed              ^
//!                                  v                     |
//!                  close, wait, open again, write all that is not kept
//! ```
//!
//! There is no timer: while a group is synced the next one gathers. Nothing that was submitted is
//! ever dropped: what could not be written stays in the overlay and is written again, with what
//! came meanwhile, as soon as the engine can be opened.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::directory;
use super::engine::{Engine, EngineError, JOURNALS_BYTES};
use super::fetch::Job;
use super::fold::State;
use super::journal::{Shared, Waiting};
use super::keys::Family;
use super::record::Run;
use super::salvage::{self, Damage};
use super::status::add;
use crate::change::{Fetch, FetchReply, Fetched, Recorded};
use crate::config::StorageSync;
use crate::time::Now;

/// How often the clock is kept while there is nothing else to keep.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// How often at most it is kept together with other changes.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again at first, and at last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(5);
/// So many failures within so long are looked into.
const FAILURES_MAX: usize = 3;
const FAILURES_WITHIN: Duration = Duration::from_secs(60);
/// How often the size on disk is looked at, and after how much written it is at once.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);
const MEASURE_BYTES: usize = 16 << 20;
/// What is written between two looks while not much is going on.
const QUIET_BYTES: usize = 4 << 20;
/// Above this an empty list of changes gives its memory back.
const CHANGES_KEPT: usize = 16_384;

pub(super) struct Committer {
    shared: Arc<Shared>,
    state: State,
    spare: Vec<Recorded>,
    fetches: Vec<(Fetch, FetchReply)>,
    /// What is folded and not kept.
    folded: Folded,
    clock_kept: Instant,
    synced: Instant,
    measured: Instant,
    written_since: usize,
    is_unsynced: bool,
    /// There is more to look for soon.
    is_untidy: bool,
    /// When it began to fail, of late.
    failures: Vec<Instant>,
}

#[derive(Clone, Copy, Default)]
struct Folded {
    number: u64,
    changes: usize,
    bytes: usize,
}

/// What a turn of the thread ended with.
enum Turn {
    GoOn,
    Close,
}

/// Where in a group something went wrong.
enum Failure {
    Write(EngineError),
    Sync(EngineError),
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, state: State) -> Self {
        let now = Instant::now();
        Self {
            shared,
            state,
            spare: Vec::new(),
            fetches: Vec::new(),
            folded: Folded::default(),
            clock_kept: now,
            synced: now,
            measured: now,
            written_since: 0,
            is_unsynced: false,
            is_untidy: true,
            failures: Vec::new(),
        }
    }

    /// Keeps what is submitted until the store is closed.
    pub(super) fn run(self) {
        let shared = Arc::clone(&self.shared);
        if catch_unwind(AssertUnwindSafe(|| self.keep())).is_err() {
            // Nothing is kept any more, so nothing may be acknowledged either.
            tracing::error!("the store's thread panicked: nothing is kept until a restart");
            shared.begin_to_fail();
        }
    }

    fn keep(mut self) {
        let run = if self.shared.sync == StorageSync::Always { Run::Synced } else { Run::Unsynced };
        self.state.keep_run(run);
        self.measure();
        while let Turn::GoOn = self.turn() {}
        for (fetch, reply) in self.fetches.drain(..) {
            reply(Fetched { fetch, messages: Vec::new() });
        }
        self.shared.jobs.close();
        self.shared.tidiness.close();
        if let Some(engine) = self.shared.engine.write().take() {
            engine.close();
        }
    }

    fn turn(&mut self) -> Turn {
        let is_closing = self.gather(self.patience());
        if is_closing {
            self.state.keep_run(Run::Ended);
        }
        let idle = self.clock_kept.elapsed();
        let interval = if self.state.is_written() { HEARTBEAT } else { CLOCK_INTERVAL };
        if idle >= interval || is_closing {
            self.keep_clock();
        }
        if !self.state.is_written()
            && let Err(failure) = self.commit()
            && self.recover(failure) == Recovered::GaveUp
        {
            return Turn::Close;
        }
        self.kept();
        if let Err(failure) = self.sync_if_due(is_closing)
            && self.recover(failure) == Recovered::GaveUp
        {
            return Turn::Close;
        }
        if self.measured.elapsed() >= MEASURE_INTERVAL || self.written_since >= MEASURE_BYTES {
            self.measure();
        }
        if is_closing { Turn::Close } else { Turn::GoOn }
    }

    /// How long nothing has to be done if nothing is submitted.
    fn patience(&self) -> Duration {
        let mut heartbeat = HEARTBEAT.saturating_sub(self.clock_kept.elapsed());
        if self.is_untidy {
            heartbeat = heartbeat.min(MEASURE_INTERVAL);
        }
        if self.is_unsynced && self.shared.sync == StorageSync::Interval {
            heartbeat.min(self.shared.sync_interval.saturating_sub(self.synced.elapsed()))
        } else {
            heartbeat
        }
    }

    /// Folds all that waits. Whether the store is to be closed.
    fn gather(&mut self, patience: Duration) -> bool {
        let spare = std::mem::take(&mut self.spare);
        let Waiting { mut changes, mut fetches, number, bytes, is_closing, .. } =
            self.shared.take(spare, patience);
        add(&self.shared.status.changes, changes.len());
        self.folded.number = number;
        self.folded.changes += changes.len();
        self.folded.bytes += bytes;
        for Recorded { change, epoch: _ } in changes.drain(..) {
            self.state.fold(change);
        }
        if changes.capacity() <= CHANGES_KEPT {
            self.spare = changes;
        }
        self.fetches.append(&mut fetches);
        self.shared.status.unknown.store(self.state.unknown, Ordering::Relaxed);
        is_closing
    }

    fn keep_clock(&mut self) {
        let now = Now { monotonic: Instant::now(), wall: SystemTime::now() };
        self.state.keep_clock(self.state.clock.pair(now));
        self.clock_kept = now.monotonic;
    }

    /// Writes what is folded, as one group.
    fn commit(&mut self) -> Result<(), Failure> {
        let (shared, started) = (Arc::clone(&self.shared), Instant::now());
        let slot = shared.engine.read();
        let engine = slot.as_ref().ok_or_else(gone).map_err(Failure::Write)?;
        shared.faults.before_write().map_err(Failure::Write)?;
        let mut batch = engine.batch(self.state.unwritten());
        self.state.write_to(&mut batch).map_err(Failure::Write)?;
        let (keys, bytes, counts) = (batch.len(), batch.bytes(), batch.counts());
        batch.write().map_err(Failure::Write)?;
        self.is_unsynced = true;
        shared.tidiness.wrote(&counts);
        match shared.sync {
            StorageSync::Always => {}
            StorageSync::Interval | StorageSync::Os | StorageSync::Off => {
                engine.flush().map_err(Failure::Write)?;
            }
        }
        drop(slot);
        if shared.sync == StorageSync::Always {
            self.sync()?;
        }
        add(&shared.status.keys_written, keys);
        add(&shared.status.bytes_written, bytes);
        self.written_since += bytes;
        shared.status.committed(started.elapsed());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Failure> {
        let slot = self.shared.engine.read();
        let engine = slot.as_ref().ok_or_else(gone).map_err(Failure::Sync)?;
        self.shared.faults.before_sync().map_err(Failure::Sync)?;
        engine.sync().map_err(Failure::Sync)?;
        add(&self.shared.status.syncs, 1);
        self.is_unsynced = false;
        self.synced = Instant::now();
        Ok(())
    }

    fn sync_if_due(&mut self, is_closing: bool) -> Result<(), Failure> {
        let is_due = match self.shared.sync {
            StorageSync::Interval => self.synced.elapsed() >= self.shared.sync_interval,
            StorageSync::Always | StorageSync::Os | StorageSync::Off => false,
        };
        if self.is_unsynced && (is_due || is_closing) { self.sync() } else { Ok(()) }
    }

    /// All that is folded is kept.
    fn kept(&mut self) {
        let sweeps = self.state.written();
        let Folded { number, changes, bytes } = self.folded;
        self.folded = Folded { number, changes: 0, bytes: 0 };
        if changes > 0 {
            self.shared.keep(number, changes, bytes);
        }
        let fetches = self.fetches.drain(..).map(|(fetch, reply)| {
            let session = self.state.by_client.get(&fetch.client_id).copied();
            Job::Fetch(session, fetch, reply)
        });
        self.shared.jobs.push(fetches.chain(sweeps.into_iter().map(Job::Sweep)));
    }

    fn measure(&mut self) {
        self.measured = Instant::now();
        let written = std::mem::take(&mut self.written_since);
        let slot = self.shared.engine.read();
        let table_bytes = |family| {
            let bytes = slot.as_ref().and_then(|engine| engine.table_bytes(family).ok());
            bytes.unwrap_or_default()
        };
        self.is_untidy = self.shared.tidiness.look(table_bytes);
        let live = self.shared.tidiness.live();
        self.shared.status.records.store(live, Ordering::Relaxed);
        let Some(disk_bytes) = slot.as_ref().and_then(|engine| engine.disk_bytes().ok()) else {
            return;
        };
        let tables = Family::ALL.into_iter().map(table_bytes).sum();
        drop(slot);
        if written < QUIET_BYTES && disk_bytes.saturating_sub(tables) > JOURNALS_BYTES {
            self.shared.tidiness.want_rotation();
        }
        self.measured_disk(disk_bytes);
    }

    fn measured_disk(&mut self, disk_bytes: u64) {
        let (shared, disk_max) = (&self.shared, self.shared.disk_max);
        shared.status.disk_bytes.store(disk_bytes, Ordering::Relaxed);
        let full = shared.would_be_full(disk_bytes);
        // The log says why before a client is told.
        match (shared.is_full(), full) {
            (false, true) => tracing::warn!(
                disk_bytes,
                disk_max,
                "the store has reached storage.disk_max: what would have to wait in it is refused"
            ),
            (true, false) => tracing::info!(disk_bytes, disk_max, "the store has room again"),
            (false, false) | (true, true) => {}
        }
        shared.set_full(full);
        if full {
            shared.tidiness.press();
            self.is_untidy = true;
        }
    }

    /// Opens the engine again and again until what is folded is kept.
    fn recover(&mut self, failure: Failure) -> Recovered {
        self.failures.push(Instant::now());
        let (error, mut rewrite) = match failure {
            Failure::Write(error) => (error, false),
            Failure::Sync(error) => (error, true),
        };
        // The log says why before a client is told.
        report(&error);
        self.shared.begin_to_fail();
        let mut delay = RETRY_FIRST;
        loop {
            self.state.not_written();
            self.shared.jobs.pause();
            if let Some(engine) = self.shared.engine.write().take() {
                engine.close();
            }
            let is_closing = self.shared.pause(delay);
            delay = (delay * 2).min(RETRY_LAST);
            self.gather(Duration::ZERO);
            let error = match self.open_again(rewrite).map_err(Failure::Write) {
                Ok(()) => match self.commit().and_then(|()| self.sync()) {
                    Ok(()) => break,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            let error = match error {
                Failure::Write(error) => error,
                Failure::Sync(error) => {
                    rewrite = true;
                    error
                }
            };
            if is_closing {
                let Folded { changes, .. } = self.folded;
                tracing::error!(%error, changes, "the store ends without having kept everything");
                return Recovered::GaveUp;
            }
            tracing::debug!(%error, "the store still fails");
        }
        self.shared.no_longer_fails();
        let changes = self.folded.changes;
        tracing::info!(changes, "the store keeps again what is submitted, and what was meanwhile");
        Recovered::Keeps
    }

    /// After a sync failed nobody knows which pages of a journal are on disk: the system may have
    /// dropped them and say nothing any more. So the journals are written anew.
    fn open_again(&mut self, rewrite: bool) -> Result<(), EngineError> {
        self.shared.faults.before_open()?;
        if rewrite {
            directory::rewrite_journals(&self.shared.path).map_err(EngineError::Io)?;
        }
        let is_often = self.fails_again_and_again();
        let (path, mut damage) = (&self.shared.path, Damage::default());
        salvage::prepare(path, &mut damage)?;
        let mut engine = Engine::open(path)?;
        if is_often {
            // Its own threads fail on tables that are damaged, whenever they come to them.
            match salvage::is_readable(&engine) {
                Err(error) if !salvage::is_of_the_machine(&error) => {
                    tracing::error!(%error, "the store is damaged: a new one is made of it");
                    engine.close();
                    salvage::rebuild(path, &mut damage)?;
                    engine = Engine::open(path)?;
                }
                Ok(()) | Err(_) => {}
            }
        }
        salvage::report(&damage);
        add(&self.shared.status.damaged, damage.gaps);
        *self.shared.engine.write() = Some(engine);
        self.shared.jobs.resume();
        Ok(())
    }
}

impl Committer {
    /// Whether it began to fail so often of late that waiting does not help.
    fn fails_again_and_again(&mut self) -> bool {
        self.failures.retain(|failure| failure.elapsed() < FAILURES_WITHIN);
        self.failures.len() >= FAILURES_MAX
    }
}

#[derive(PartialEq, Eq)]
enum Recovered {
    Keeps,
    GaveUp,
}

fn gone() -> EngineError {
    EngineError::Panic("it is closed".to_owned())
}

fn report(error: &EngineError) {
    let hint = if error.is_full() {
        "the disk is full: free some space"
    } else {
        "look at the disk and at the system's log"
    };
    tracing::error!(
        %error,
        hint,
        "the store cannot write: nothing of QoS 1 or 2 is acknowledged until it can"
    );
}
