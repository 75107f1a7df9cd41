//! The thread that keeps the store as small as what lives in it.
//!
//! A queue is put once and deleted once. A delete is 30 bytes that stand above a record of hundreds
//! until a compaction brings the two together, and the engine's own compactions come with what is
//! written, not with what is dead: a million messages queued and drained left 200 MB, and a start
//! that walked all of it. So when half of a family is dead, it is compacted as a whole. And a journal
//! stays until all that it has is in tables, which comes with what is written too.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::disk;
use super::engine::{Engine, EngineError};
use super::journal::Shared;
use super::keys::Family;
use super::status::add;

/// The families whose records come and go; each is put once.
const FLEETING: [Family; 4] = [Family::Queue, Family::Inflight, Family::Groups, Family::Messages];
/// Less is not worth a compaction.
const DEAD_MIN: u64 = 50_000;
/// What is worth one when not much is going on: fewer deletes than this between two looks.
const DEAD_MIN_QUIET: u64 = 5_000;
const QUIET: u64 = 1_000;
/// Which part of a family has to be dead if the store takes more than it may.
const PRESSED_PART: u64 = 8;
/// Tables may be so much larger than what is live in them at the start.
const TABLES_SPARE_BYTES: u64 = 16 << 20;
/// What a disk has to have beyond what a compaction writes: others write meanwhile.
const SPARE_BYTES: u64 = 64 << 20;
/// How long the engine may take to write its memory into tables, and how often it is looked at.
const FLUSH_PATIENCE: u32 = 300;
const FLUSH_LOOK: Duration = Duration::from_millis(100);

/// What lives and what is dead, by family.
#[derive(Debug, Default)]
pub(super) struct Tidiness {
    live: [AtomicI64; Family::ALL.len()],
    dead: [AtomicU64; Family::ALL.len()],
    /// What was dead when it was looked at last.
    seen: [AtomicU64; Family::ALL.len()],
    wanted: Mutex<Wanted>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    families: Vec<Family>,
    rotation: bool,
    is_closing: bool,
}

impl Tidiness {
    /// What a batch did, once it is written.
    pub(super) fn wrote(&self, counts: &[(u32, u32)]) {
        for (family, (puts, deletes)) in Family::ALL.into_iter().zip(counts) {
            let (Some(live), Some(dead)) =
                (self.live.get(family as usize), self.dead.get(family as usize))
            else {
                continue;
            };
            let change = i64::from(*puts) - i64::from(*deletes);
            let live = live.fetch_add(change, Ordering::Relaxed) + change;
            if *deletes == 0 {
                continue;
            }
            let dead = dead.fetch_add(u64::from(*deletes), Ordering::Relaxed);
            let is_half = dead >= DEAD_MIN && dead >= u64::try_from(live).unwrap_or_default();
            if is_half && FLEETING.contains(&family) {
                self.want(family);
            }
        }
    }

    /// What was found at the start: so many records, with so many bytes.
    pub(super) fn found(&self, family: Family, records: u64, bytes: u64, tables: u64) {
        if let Some(live) = self.live.get(family as usize) {
            live.store(i64::try_from(records).unwrap_or_default(), Ordering::Relaxed);
        }
        if FLEETING.contains(&family) && tables > 2 * bytes + TABLES_SPARE_BYTES {
            if let Some(dead) = self.dead.get(family as usize) {
                dead.store(dead_beside(records, bytes, tables), Ordering::Relaxed);
            }
            self.want(family);
        }
    }

    /// Looks for what is worth a compaction now that it is quiet. Whether there is more to look for.
    pub(super) fn look(&self, table_bytes: impl Fn(Family) -> u64) -> bool {
        let mut is_untidy = false;
        for ((family, live), (dead, seen)) in
            Family::ALL.into_iter().zip(&self.live).zip(self.dead.iter().zip(&self.seen))
        {
            let (live, dead) = (live.load(Ordering::Relaxed), dead.load(Ordering::Relaxed));
            let seen = seen.swap(dead, Ordering::Relaxed);
            let is_half = dead >= u64::try_from(live).unwrap_or_default();
            if dead == 0 || !is_half || !FLEETING.contains(&family) {
                continue;
            }
            // Few records may be large ones.
            if dead < DEAD_MIN_QUIET && table_bytes(family) < TABLES_SPARE_BYTES {
                continue;
            }
            if dead.saturating_sub(seen) < QUIET {
                self.want(family);
            } else {
                is_untidy = true;
            }
        }
        is_untidy
    }

    /// The store takes more than it may: whatever gives something back is worth a compaction.
    pub(super) fn press(&self) {
        for family in Family::ALL {
            let (live, dead) = self.counts(family);
            if dead > live / PRESSED_PART {
                self.want(family);
            }
        }
    }

    /// How many records of a family live and are dead.
    fn counts(&self, family: Family) -> (u64, u64) {
        let live = self.live.get(family as usize).map(|live| live.load(Ordering::Relaxed));
        let dead = self.dead.get(family as usize).map(|dead| dead.load(Ordering::Relaxed));
        (u64::try_from(live.unwrap_or_default()).unwrap_or_default(), dead.unwrap_or_default())
    }

    /// From here on what dies is not in the compaction that begins.
    fn begin(&self, family: Family) {
        if let Some(dead) = self.dead.get(family as usize) {
            dead.store(0, Ordering::Relaxed);
        }
    }

    /// Journals are to become smaller.
    pub(super) fn want_rotation(&self) {
        self.wanted.lock().rotation = true;
        self.bell.notify_one();
    }

    fn want(&self, family: Family) {
        let mut wanted = self.wanted.lock();
        if !wanted.families.contains(&family) {
            wanted.families.push(family);
            self.bell.notify_one();
        }
    }

    pub(super) fn live(&self) -> u64 {
        let live = self.live.iter().map(|live| live.load(Ordering::Relaxed)).sum::<i64>();
        u64::try_from(live).unwrap_or_default()
    }

    pub(super) fn close(&self) {
        self.wanted.lock().is_closing = true;
        self.bell.notify_one();
    }

    fn next(&self) -> Option<Task> {
        let mut wanted = self.wanted.lock();
        loop {
            if wanted.is_closing {
                return None;
            }
            if let Some(family) = wanted.families.pop() {
                // Which rotates too.
                wanted.rotation = false;
                return Some(Task::Compact(family));
            }
            if std::mem::take(&mut wanted.rotation) {
                return Some(Task::Rotate);
            }
            self.bell.wait(&mut wanted);
        }
    }

    /// Whether the store is to be closed meanwhile.
    fn pause(&self, length: Duration) -> bool {
        let mut wanted = self.wanted.lock();
        if !wanted.is_closing {
            self.bell.wait_for(&mut wanted, length);
        }
        wanted.is_closing
    }
}

/// About how many bytes of a family's tables are left when what is dead is gone.
fn rewritten(live: u64, dead: u64, tables: u64) -> u64 {
    let left = u128::from(tables) * u128::from(live) / (u128::from(live) + u128::from(dead)).max(1);
    u64::try_from(left).unwrap_or(tables)
}

/// How many records there is room for that are not there, beside so many that are.
fn dead_beside(records: u64, bytes: u64, tables: u64) -> u64 {
    let dead = u128::from(records.max(1)) * u128::from(tables.saturating_sub(bytes));
    u64::try_from(dead / u128::from(bytes.max(1))).unwrap_or(u64::MAX)
}

enum Task {
    Compact(Family),
    /// Writes what is in memory into tables.
    Rotate,
}

pub(super) struct Tidy {
    shared: Arc<Shared>,
}

impl Tidy {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(super) fn run(self) {
        while let Some(task) = self.shared.tidiness.next() {
            let (done, family) = match task {
                Task::Compact(family) => (self.compact(family), Some(family.name())),
                Task::Rotate => (self.with(Engine::rotate), None),
            };
            if let Err(error) = done {
                tracing::warn!(%error, family, "cannot tidy the store");
            }
        }
    }

    fn compact(&self, family: Family) -> Result<(), EngineError> {
        if !self.fits(family)? {
            return Ok(());
        }
        self.shared.tidiness.begin(family);
        self.with(Engine::rotate)?;
        // What waits to be written is not in a compaction, and the engine writes on its own thread.
        for _ in 0..FLUSH_PATIENCE {
            if self.shared.tidiness.pause(FLUSH_LOOK) {
                return Ok(());
            }
            if !self.with(|engine| engine.is_flushing(family))? {
                break;
            }
        }
        self.with(|engine| engine.compact(family))?;
        add(&self.shared.status.compactions, 1);
        Ok(())
    }

    /// Whether the disk has room for what lives in a family before what is dead goes: if not, more has
    /// to die first.
    fn fits(&self, family: Family) -> Result<bool, EngineError> {
        let (live, dead) = self.shared.tidiness.counts(family);
        let tables = self.with(|engine| engine.table_bytes(family))?;
        let free = disk::free(&self.shared.path).map_err(EngineError::Io)?;
        Ok(rewritten(live, dead, tables) + SPARE_BYTES < free)
    }

    /// Nothing is done while the engine is gone.
    fn with<T: Default>(
        &self,
        call: impl FnOnce(&Engine) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.shared.engine.read().as_ref().map_or_else(|| Ok(T::default()), call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_compaction_writes_is_what_lives() {
        assert_eq!(rewritten(30, 10, 4_000), 3_000);
        assert_eq!(rewritten(0, 10, 4_000), 0);
        assert_eq!(rewritten(0, 0, 4_000), 0);
        assert_eq!(rewritten(u64::MAX, u64::MAX, u64::MAX), u64::MAX / 2);
    }

    #[test]
    fn what_tables_have_beyond_the_records_is_dead() {
        assert_eq!(dead_beside(10, 1_000, 4_000), 30);
        assert_eq!(dead_beside(10, 4_000, 1_000), 0);
        assert_eq!(rewritten(10, dead_beside(10, 1_000, 4_000), 4_000), 1_000);
        assert_eq!(rewritten(0, dead_beside(0, 0, 4_000), 4_000), 0);
    }
}
