//! fjall, with what it is set to and what it is guarded against.
//!
//! A group is one batch: it is in the journal as a whole or not at all. What a batch wrote can be
//! read at once; it is on disk after [`Engine::sync`].
//!
//! fjall panics on some kinds of damage, so every call into it is guarded and a panic is an error.

use std::any::Any;
use std::fs;
use std::io;
use std::ops::RangeBounds;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::compaction::Leveled;
use fjall::{
    Database, Iter, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable, Slice,
    Snapshot,
};

use super::directory;
use super::keys::Family;

/// Blocks of tables that are kept in memory.
const CACHE_BYTES: u64 = 8 << 20;
/// One thread flushes and compacts. With a second one the first spins while the second compacts.
const WORKERS: usize = 1;
/// The least that fjall takes. A journal is rotated at 64 MB, when a memtable is flushed.
pub(super) const JOURNALS_BYTES: u64 = 64 << 20;
/// Open files of tables.
const FILES: usize = 128;
/// What a keyspace gathers in memory before it becomes a table. When four wait to be written the
/// engine lets commits wait, and they are not written while the one thread compacts: so the queue,
/// into which most goes, has room for 64 MiB meanwhile.
const QUEUE_MEMTABLE_BYTES: u64 = 16 << 20;
const MEMTABLE_BYTES: u64 = 8 << 20;
const SMALL_MEMTABLE_BYTES: u64 = 2 << 20;
/// Four of these are a first level, and a compaction into it rewrites all of it: with fjall's own
/// 64 MiB that took longer than four memtables take to fill.
const TABLE_BYTES: u64 = 32 << 20;

/// What went wrong in the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Io(io::Error),
    #[error("{0:?}")]
    Engine(fjall::Error),
    #[error("the engine panicked: {0}")]
    Panic(String),
    #[error("its keyspaces are not numbered as they were made")]
    Numbering,
}

impl EngineError {
    /// Whether the disk is full, which passes without anybody repairing something.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Io(error) => Self::is_full_disk(error),
            Self::Engine(_) | Self::Panic(_) | Self::Numbering => false,
        }
    }

    pub(super) fn is_full_disk(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

impl From<io::Error> for EngineError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<fjall::Error> for EngineError {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
                Self::Io(error)
            }
            error => Self::Engine(error),
        }
    }
}

/// An open store of fjall's.
pub(super) struct Engine {
    database: Database,
    /// In the order of [`Family::ALL`].
    keyspaces: Vec<Keyspace>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// What is to be written at once.
pub(super) struct Batch<'e> {
    engine: &'e Engine,
    batch: OwnedWriteBatch,
    bytes: usize,
    /// Puts and deletes, by family.
    counts: [(u32, u32); Family::ALL.len()],
}

/// A key and its value.
pub(super) type Pair = (Slice, Slice);

impl Engine {
    /// Opens the store in `path`, or makes one there.
    pub(super) fn open(path: &Path) -> Result<Self, EngineError> {
        if !path.exists() {
            // Made as a whole or not at all, so that the families are always numbered alike.
            let new = path.with_extension("new");
            if new.exists() {
                fs::remove_dir_all(&new).map_err(EngineError::Io)?;
            }
            Self::open_at(&new)?.close();
            directory::rename(&new, path).map_err(EngineError::Io)?;
        }
        let engine = Self::open_at(path)?;
        if engine.keyspaces.iter().zip(1..).any(|(keyspace, number)| keyspace.id() != number) {
            engine.close();
            return Err(EngineError::Numbering);
        }
        Ok(engine)
    }

    /// Where the tables of a family are.
    pub(super) fn tables(store: &Path, family: Family) -> PathBuf {
        store.join("keyspaces").join((family as usize + 1).to_string())
    }

    fn open_at(path: &Path) -> Result<Self, EngineError> {
        guarded(|| {
            let database = Database::builder(path)
                .manual_journal_persist(true)
                .cache_size(CACHE_BYTES)
                .worker_threads(WORKERS)
                .max_journaling_size(JOURNALS_BYTES)
                .max_cached_files(Some(FILES))
                .open()?;
            let keyspaces = Family::ALL
                .iter()
                .map(|family| database.keyspace(family.name(), || options(*family)))
                .collect::<Result<_, _>>()?;
            Ok(Self { database, keyspaces })
        })
    }

    fn keyspace(&self, family: Family) -> Result<&Keyspace, EngineError> {
        // `open` made one for each family.
        self.keyspaces.get(family as usize).ok_or(EngineError::Engine(fjall::Error::Unrecoverable))
    }

    pub(super) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Slice>, EngineError> {
        let keyspace = self.keyspace(family)?;
        guarded(|| keyspace.get(key))
    }

    pub(super) fn scan(&self, family: Family) -> Result<Scan, EngineError> {
        let keyspace = self.keyspace(family)?;
        Ok(Scan(Some(guarded(|| Ok(keyspace.iter()))?)))
    }

    pub(super) fn range<R: RangeBounds<Vec<u8>>>(
        &self,
        family: Family,
        range: R,
    ) -> Result<Scan, EngineError> {
        let keyspace = self.keyspace(family)?;
        Ok(Scan(Some(guarded(|| Ok(keyspace.range(range)))?)))
    }

    pub(super) fn prefix(&self, family: Family, prefix: &[u8]) -> Result<Scan, EngineError> {
        let keyspace = self.keyspace(family)?;
        Ok(Scan(Some(guarded(|| Ok(keyspace.prefix(prefix)))?)))
    }

    /// All families as they are at this moment, whatever is written later.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.database.snapshot()
    }

    pub(super) fn scan_in(&self, at: &Snapshot, family: Family) -> Result<Scan, EngineError> {
        let keyspace = self.keyspace(family)?;
        Ok(Scan(Some(guarded(|| Ok(at.iter(keyspace)))?)))
    }

    pub(super) fn batch(&self, capacity: usize) -> Batch<'_> {
        let batch = OwnedWriteBatch::with_capacity(self.database.clone(), capacity);
        Batch { engine: self, batch, bytes: 0, counts: Default::default() }
    }

    /// Hands what was written to the operating system.
    pub(super) fn flush(&self) -> Result<(), EngineError> {
        guarded(|| self.database.persist(PersistMode::Buffer))
    }

    /// Waits until what was written is on disk.
    pub(super) fn sync(&self) -> Result<(), EngineError> {
        guarded(|| self.database.persist(PersistMode::SyncData))
    }

    /// Writes what is in memory into tables.
    pub(super) fn flush_tables(&self) -> Result<(), EngineError> {
        guarded(|| self.keyspaces.iter().try_for_each(Keyspace::rotate_memtable_and_wait))
    }

    /// Begins to write what is in memory into tables, so that journals can go.
    pub(super) fn rotate(&self) -> Result<(), EngineError> {
        guarded(|| self.keyspaces.iter().try_for_each(|it| it.rotate_memtable().map(drop)))
    }

    /// Whether some of a family's memory waits to be written.
    pub(super) fn is_flushing(&self, family: Family) -> Result<bool, EngineError> {
        let keyspace = self.keyspace(family)?;
        guarded(|| Ok(keyspace.sealed_memtable_count() > 0))
    }

    /// Writes all tables of a family anew, without what is dead.
    pub(super) fn compact(&self, family: Family) -> Result<(), EngineError> {
        let keyspace = self.keyspace(family)?;
        guarded(|| keyspace.major_compact())
    }

    /// Journals and tables, in bytes.
    pub(super) fn disk_bytes(&self) -> Result<u64, EngineError> {
        guarded(|| self.database.disk_space())
    }

    /// The tables of a family, in bytes.
    pub(super) fn table_bytes(&self, family: Family) -> Result<u64, EngineError> {
        Ok(self.keyspace(family)?.disk_space())
    }

    /// Ends it. What was not handed to the operating system before is, as far as that works.
    pub(super) fn close(self) {
        if let Err(error) = guarded(|| {
            drop(self);
            Ok(())
        }) {
            tracing::warn!(%error, "the storage engine did not close in order");
        }
    }
}

fn options(family: Family) -> KeyspaceCreateOptions {
    let memtable = match family {
        Family::Queue => QUEUE_MEMTABLE_BYTES,
        Family::Messages | Family::Inflight | Family::Retained | Family::Groups => MEMTABLE_BYTES,
        Family::Meta | Family::Sessions | Family::Subscriptions | Family::Wills => {
            SMALL_MEMTABLE_BYTES
        }
    };
    let compaction = Leveled::default().with_table_target_size(TABLE_BYTES);
    KeyspaceCreateOptions::default()
        .manual_journal_persist(true)
        .max_memtable_size(memtable)
        .compaction_strategy(Arc::new(compaction))
}

impl Batch<'_> {
    pub(super) fn put(
        &mut self,
        family: Family,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), EngineError> {
        self.bytes += key.len() + value.len();
        if let Some((puts, _)) = self.counts.get_mut(family as usize) {
            *puts += 1;
        }
        self.batch.insert(self.engine.keyspace(family)?, key, value);
        Ok(())
    }

    pub(super) fn delete(&mut self, family: Family, key: &[u8]) -> Result<(), EngineError> {
        self.bytes += key.len();
        if let Some((_, deletes)) = self.counts.get_mut(family as usize) {
            *deletes += 1;
        }
        self.batch.remove(self.engine.keyspace(family)?, key);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.batch.len()
    }

    /// Keys and values, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts and deletes, by family.
    pub(super) fn counts(&self) -> [(u32, u32); Family::ALL.len()] {
        self.counts
    }

    pub(super) fn write(self) -> Result<(), EngineError> {
        guarded(|| self.batch.commit())
    }
}

/// Pairs in the order of their keys.
pub(super) struct Scan(Option<Iter>);

impl Iterator for Scan {
    type Item = Result<Pair, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        let iterator = self.0.as_mut()?;
        let next = guarded(|| iterator.next().map(fjall::Guard::into_inner).transpose());
        if next.is_err() {
            // Nobody knows where it would go on.
            self.0 = None;
        }
        next.transpose()
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        let iterator = self.0.as_mut()?;
        let next = guarded(|| iterator.next_back().map(fjall::Guard::into_inner).transpose());
        if next.is_err() {
            self.0 = None;
        }
        next.transpose()
    }
}

/// Calls into fjall. It is not used again after a panic.
fn guarded<T>(call: impl FnOnce() -> fjall::Result<T>) -> Result<T, EngineError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => Ok(result?),
        Err(panic) => Err(EngineError::Panic(text_of(panic.as_ref()))),
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
