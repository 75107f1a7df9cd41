//! Opening a store whatever state it is in.
//!
//! ```text
//! check the journals -- damaged: keep the sound groups, the journal as it was goes aside
//!   `-> open, walk everything -- cannot: the store goes aside, and into a new one
//!                                        each family's tables, as far as they can be read,
//!                                        then the groups of the journals in their order
//! ```

use std::fs;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use super::directory::{self, Directory, StorageError};
use super::engine::{Batch, Engine, EngineError, Pair};
use super::journals::{self, Soundness};
use super::keys::{self, Family};
use super::load::{self, Loaded};
use super::quarantine::Quarantine;
use crate::time::Now;

/// Too many open files, of the system and of the process. They have no name in `io::ErrorKind`.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
/// What a store is called while it is made, and one in which a family is read.
const REBUILT: &str = "rebuilt";
const SCRATCH: &str = "salvage";
/// So many records go into the new store at once.
const COPIED_AT_ONCE: usize = 4_096;
/// How often a family is tried again behind a place that cannot be read.
const RESUMED_MAX: u64 = 4_096;

pub(super) struct Open {
    pub(super) engine: Engine,
    pub(super) loaded: Loaded,
    pub(super) damage: Damage,
}

/// What was wrong with the files of a store.
#[derive(Clone, Debug, Default)]
pub struct Damage {
    /// Where a store is now that could not be opened, or its journals as they were.
    pub set_aside: Option<PathBuf>,
    /// Places in journals and tables that could not be read.
    pub gaps: usize,
    /// Of the group that was being written when the power went.
    pub cut_off_bytes: u64,
    /// Records that went from a store that could not be opened into a new one.
    pub salvaged: usize,
}

/// Opens the store and reads what it has.
pub(super) fn open(
    directory: &Directory,
    quarantine: &Quarantine,
    now: Now,
) -> Result<Open, StorageError> {
    let of_the_machine = |source| {
        let path = directory.path().to_owned();
        match source {
            EngineError::Io(source) if EngineError::is_full_disk(&source) => {
                StorageError::Full { path, source }
            }
            source => StorageError::Engine { path, source },
        }
    };
    let mut damage = Damage::default();
    let opened = look_for_empty(&directory.store(), &mut damage)
        .and_then(|()| prepare(&directory.store(), &mut damage))
        .map_err(EngineError::Io)
        .and_then(|()| open_and_load(directory, quarantine, now));
    let error = match opened {
        Ok((engine, loaded)) => {
            report(&damage);
            return Ok(Open { engine, loaded, damage });
        }
        Err(error) if is_of_the_machine(&error) => return Err(of_the_machine(error)),
        Err(error) => error,
    };
    tracing::error!(%error, "the store is damaged: it is set aside, and what can be read goes on");
    rebuild(&directory.store(), &mut damage).map_err(of_the_machine)?;
    let (engine, loaded) = open_and_load(directory, quarantine, now).map_err(of_the_machine)?;
    report(&damage);
    Ok(Open { engine, loaded, damage })
}

fn open_and_load(
    directory: &Directory,
    quarantine: &Quarantine,
    now: Now,
) -> Result<(Engine, Loaded), EngineError> {
    let engine = Engine::open(&directory.store())?;
    match load::load(&engine, quarantine, now) {
        Ok(loaded) => Ok((engine, loaded)),
        Err(error) => {
            engine.close();
            Err(error)
        }
    }
}

pub(super) fn report(damage: &Damage) {
    let Damage { set_aside, gaps, cut_off_bytes, salvaged } = damage;
    if *cut_off_bytes > 0 {
        tracing::warn!(
            bytes = cut_off_bytes,
            "the last group of the store was incomplete, as after a power cut: cut off"
        );
    }
    if let Some(aside) = set_aside {
        tracing::error!(
            gaps, salvaged, aside = %aside.display(),
            "the store was damaged: what could be read is served, and the damaged files are kept"
        );
    }
}

/// Tells of journals with nothing in them. The engine makes them large and the store writes to them at
/// once, so that at a start this is damage; while it is opened again and again it is not.
fn look_for_empty(store: &Path, damage: &mut Damage) -> io::Result<()> {
    if !store.exists() {
        return Ok(());
    }
    for journal in journals::journals(store)? {
        if fs::metadata(&journal)?.len() == 0 {
            damage.gaps += 1;
            tracing::error!(
                journal = %journal.display(),
                "a journal of the store is empty: if it had anything, that is gone"
            );
        }
    }
    Ok(())
}

/// Has the files of a store in order, if there is one, before the engine sees them.
pub(super) fn prepare(store: &Path, damage: &mut Damage) -> io::Result<()> {
    let rebuilt = store.with_extension(REBUILT);
    if !store.exists() && rebuilt.exists() {
        // The last step of an earlier start was not reached.
        directory::rename(&rebuilt, store)?;
    }
    for leftover in [rebuilt, store.with_extension(SCRATCH)] {
        remove_if_there(&leftover)?;
    }
    if !store.exists() {
        return Ok(());
    }
    let all = journals::journals(store)?;
    if all.is_empty() {
        // Without any the engine takes a store for new and reads nothing of its tables; with an
        // empty one it looks how far they are.
        damage.gaps += 1;
        tracing::error!(store = %store.display(), "the journal of the store is missing");
        fs::File::create_new(store.join(journals::FIRST))?.sync_all()?;
    }
    for journal in all {
        match journals::check(&journal)? {
            Soundness::Sound => {}
            Soundness::CutOff(sound) => {
                damage.cut_off_bytes += fs::metadata(&journal)?.len().saturating_sub(sound);
                journals::cut_off(&journal, sound)?;
            }
            Soundness::Damaged => {
                let aside = match &damage.set_aside {
                    Some(aside) => aside.clone(),
                    None => directory::new_aside(store)?,
                };
                fs::copy(&journal, aside.join(journal.file_name().unwrap_or_default()))?;
                damage.set_aside = Some(aside);
                damage.gaps += journals::repair(&journal)?;
            }
        }
    }
    Ok(())
}

/// Makes a new store of what can be read of this one, which is set aside.
pub(super) fn rebuild(store: &Path, damage: &mut Damage) -> Result<(), EngineError> {
    let rebuilt = store.with_extension(REBUILT);
    remove_if_there(&rebuilt)?;
    let engine = Engine::open(&rebuilt)?;
    let copied = copy_all(store, &engine, damage);
    engine.close();
    copied?;
    damage.set_aside = Some(directory::set_aside(store)?);
    Ok(directory::rename(&rebuilt, store)?)
}

fn copy_all(store: &Path, into: &Engine, damage: &mut Damage) -> Result<(), EngineError> {
    for family in Family::ALL {
        match copy_tables(store, family, into, damage) {
            Ok(()) => {}
            Err(error) if is_of_the_machine(&error) => return Err(error),
            Err(error) => {
                damage.gaps += 1;
                tracing::error!(%error, family = family.name(), "cannot read a family's tables");
            }
        }
    }
    for journal in journals::journals(store)? {
        replay(&journal, into, damage)?;
    }
    into.sync()
}

/// The tables of one family are read as part of a store that is otherwise new, so that what is
/// wrong with the others is not in the way.
fn copy_tables(
    store: &Path,
    family: Family,
    into: &Engine,
    damage: &mut Damage,
) -> Result<(), EngineError> {
    let scratch = store.with_extension(SCRATCH);
    remove_if_there(&scratch)?;
    Engine::open(&scratch)?.close();
    let tables = Engine::tables(&scratch, family);
    fs::remove_dir_all(&tables)?;
    link_all(&Engine::tables(store, family), &tables)?;
    let engine = Engine::open(&scratch)?;
    let copied = copy_family(&engine, family, into, damage);
    engine.close();
    remove_if_there(&scratch)?;
    copied
}

/// Tables are never changed once they are written, so a second name is as good as a copy.
fn link_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            link_all(&from, &to)?;
        } else if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether all tables can be read.
pub(super) fn is_readable(engine: &Engine) -> Result<(), EngineError> {
    for family in Family::ALL {
        for pair in engine.scan(family)? {
            pair?;
        }
    }
    Ok(())
}

fn copy_family(
    from: &Engine,
    family: Family,
    into: &Engine,
    damage: &mut Damage,
) -> Result<(), EngineError> {
    let mut copy = Copy { into, family, batch: into.batch(COPIED_AT_ONCE) };
    let mut first = Vec::new();
    // Behind a place that cannot be read it goes on with the next owner, and further and further.
    for step in 0..RESUMED_MAX {
        let mut last = None;
        let failed = (|| {
            for pair in from.range(family, (Bound::Included(first.clone()), Bound::Unbounded))? {
                let pair = pair?;
                last = Some(pair.0.to_vec());
                damage.salvaged += 1;
                copy.take(&pair)?;
            }
            Ok::<_, EngineError>(())
        })();
        let Err(error) = failed else { break };
        damage.gaps += 1;
        tracing::warn!(%error, family = family.name(), "tables are damaged");
        let reached = last.unwrap_or(first);
        let Some((owner, _)) = keys::owner(&reached).filter(|_| family.has_owners()) else {
            // What is behind the damage is reached from the other end.
            copy_backwards(from, &reached, &mut copy, damage)?;
            break;
        };
        // The failed owner's own records, from their other end.
        copy_owner_backwards(from, owner, &reached, &mut copy, damage)?;
        first = owner.saturating_add(1 + step * step / 16).to_be_bytes().to_vec();
    }
    copy.write()
}

fn copy_backwards(
    from: &Engine,
    reached: &[u8],
    copy: &mut Copy<'_>,
    damage: &mut Damage,
) -> Result<(), EngineError> {
    let range = (Bound::Excluded(reached.to_vec()), Bound::Unbounded);
    copy_until_error(from.range(copy.family, range)?, copy, damage)
}

fn copy_owner_backwards(
    from: &Engine,
    owner: u64,
    reached: &[u8],
    copy: &mut Copy<'_>,
    damage: &mut Damage,
) -> Result<(), EngineError> {
    let end = owner.saturating_add(1).to_be_bytes().to_vec();
    let range = (Bound::Excluded(reached.to_vec()), Bound::Excluded(end));
    copy_until_error(from.range(copy.family, range)?, copy, damage)
}

fn copy_until_error(
    scan: impl DoubleEndedIterator<Item = Result<Pair, EngineError>>,
    copy: &mut Copy<'_>,
    damage: &mut Damage,
) -> Result<(), EngineError> {
    for pair in scan.rev() {
        let Ok(pair) = pair else { break };
        damage.salvaged += 1;
        copy.take(&pair)?;
    }
    Ok(())
}

struct Copy<'e> {
    into: &'e Engine,
    family: Family,
    batch: Batch<'e>,
}

impl Copy<'_> {
    fn take(&mut self, (key, value): &Pair) -> Result<(), EngineError> {
        self.batch.put(self.family, key, value)?;
        if self.batch.len() >= COPIED_AT_ONCE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), EngineError> {
        std::mem::replace(&mut self.batch, self.into.batch(COPIED_AT_ONCE)).write()
    }
}

/// Writes what a journal has, group by group, over what the tables had.
fn replay(journal: &Path, engine: &Engine, damage: &mut Damage) -> Result<(), EngineError> {
    journals::replay(journal, |items| {
        let mut batch = engine.batch(items.len());
        for item in items {
            match item.value {
                Some(value) => {
                    damage.salvaged += 1;
                    batch.put(item.family, item.key, value)?;
                }
                None => batch.delete(item.family, item.key)?,
            }
        }
        batch.write()
    })
}

/// What no other store would change: the operator has to.
pub(super) fn is_of_the_machine(error: &EngineError) -> bool {
    let EngineError::Io(error) = error else { return false };
    let too_many_files = matches!(error.raw_os_error(), Some(ENFILE | EMFILE));
    too_many_files
        || matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::OutOfMemory
        )
}
