//! What is kept beyond the process: the contract of a store, and the engines behind it.
//!
//! A store takes changes in the order they were made and numbers them; [`Journal`] is what the
//! router needs of it. No method of that blocks: the router calls them under its locks.
//!
//! ```text
//! router --submit--> waiting --> commit thread: fold -> batch -> fjall -> sync -> kept, wakers
//!        --fetch---> waiting --> commit thread --> reader thread -----> reply
//! start  <--Kept---- load <----- fjall
//! ```
//!
//! It never says that something is kept which is not, never drops what was submitted, and never
//! keeps the broker from starting because of damage.

mod backup;
mod clock;
mod commit;
mod directory;
mod disk;
mod engine;
mod faults;
mod fetch;
mod fold;
mod handle;
mod inspect;
mod journal;
mod journals;
mod keys;
mod load;
mod memory;
mod quarantine;
mod record;
mod salvage;
mod status;
mod tidy;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

pub use directory::{SCHEMA, StorageError};
pub use engine::EngineError;
pub use faults::Fault;
pub use handle::StoreHandle;
pub use inspect::{Dumped, FamilyStats, Field, Offline, Problem, Stats};
pub use journal::{BACKLOG_BYTES_MAX, BACKLOG_CHANGES_MAX};
pub use load::LoadReport;
pub use memory::Memory;
pub use salvage::Damage;
pub use status::StoreStatus;

use crate::change::{Journal, Kept};
use crate::config::{Storage, StorageEngine};
use crate::time::Now;

/// A store that is open.
#[derive(Debug)]
pub struct Opened {
    pub journal: Arc<dyn Journal>,
    /// What it has, to be restored before anything is submitted.
    pub kept: Kept,
    pub report: Report,
    /// `None` if nothing is kept.
    pub control: Option<Arc<StoreHandle>>,
}

/// What was found when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub loaded: LoadReport,
    /// What was wrong with its files.
    pub damage: Damage,
}

/// Opens the engine the configuration names.
///
/// # Errors
/// If the data directory cannot be used. Damage in a store is no error.
pub fn open(storage: &Storage, data_dir: &Path, now: Now) -> Result<Opened, StorageError> {
    match storage.engine {
        StorageEngine::Memory => Ok(Opened {
            journal: Arc::new(Memory),
            kept: Kept::default(),
            report: Report::default(),
            control: None,
        }),
        StorageEngine::Fjall => open_durable(storage, data_dir, now),
    }
}

fn open_durable(storage: &Storage, data_dir: &Path, now: Now) -> Result<Opened, StorageError> {
    let directory = directory::Directory::take(data_dir)?;
    let quarantine = quarantine::Quarantine::new(directory.quarantine());
    let opened = salvage::open(&directory, &quarantine, now)?;
    let salvage::Open { engine, loaded, damage } = opened;
    let load::Loaded { state, kept, report, live } = loaded;
    let tables: Vec<_> = keys::Family::ALL
        .iter()
        .map(|family| engine.table_bytes(*family).unwrap_or_default())
        .collect();
    let sync = (storage.sync, storage.sync_interval);
    let disk_max = disk::max(storage.disk_max, &engine, data_dir);
    let shared =
        Arc::new(journal::Shared::new(directory.store(), engine, sync, disk_max, quarantine));
    shared.status.disk_bytes_max.store(disk_max, Ordering::Relaxed);
    status::add(&shared.status.damaged, report.damaged);
    status::add(&shared.status.orphans, report.orphans);
    for ((family, (records, bytes)), tables) in keys::Family::ALL.into_iter().zip(live).zip(tables)
    {
        shared.tidiness.found(family, records, bytes, tables);
    }
    let tidy = tidy::Tidy::new(Arc::clone(&shared));
    let reader = fetch::Reader::new(Arc::clone(&shared), state.clock);
    let committer = commit::Committer::new(Arc::clone(&shared), state);
    let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().name(name.to_owned()).spawn(run).map_err(StorageError::Threads)
    };
    let handles = vec![
        start("store-commit", Box::new(move || committer.run()))?,
        start("store-read", Box::new(move || reader.run()))?,
        start("store-tidy", Box::new(move || tidy.run()))?,
    ];
    let threads = Arc::new(handle::Threads::new(Arc::clone(&shared), handles, directory));
    let control = StoreHandle { shared: Arc::clone(&shared), threads: Arc::clone(&threads) };
    Ok(Opened {
        journal: Arc::new(journal::Durable { shared, _threads: threads }),
        kept,
        report: Report { loaded: report, damage },
        control: Some(Arc::new(control)),
    })
}
