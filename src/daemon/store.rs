//! The store as the daemon has it: opened before the doors, told of in the log, closed last.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::Mode;
use rustix::process::umask;

use crate::config::{Config, StorageEngine, StorageSync};
use crate::storage::{self, LoadReport, Opened, Report, StorageError, StoreHandle};
use crate::time::Now;

/// Opens the store and says what it has.
pub(super) fn open(config: &Config) -> Result<Opened, StorageError> {
    match config.storage.engine {
        // A volume of a container may be open to everybody: what is made there is the owner's alone.
        StorageEngine::Fjall => drop(umask(Mode::RWXG | Mode::RWXO)),
        StorageEngine::Memory => {}
    }
    let now = Now { monotonic: Instant::now(), wall: SystemTime::now() };
    let opened = storage::open(&config.storage, &config.data_dir, now)?;
    if let Some(store) = &opened.control {
        let disk_max = store.status().disk_bytes_max.load(Ordering::Relaxed);
        log(config, &opened.report, disk_max, now.monotonic.elapsed());
    }
    Ok(opened)
}

fn log(config: &Config, report: &Report, disk_max: u64, took: Duration) {
    let directory = config.data_dir.display();
    let LoadReport { sessions, subscriptions, queued, inflight, wills, retained, groups, .. } =
        &report.loaded;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        %directory,
        sync = sync_word(config.storage.sync),
        disk_max, sessions, subscriptions, queued, inflight, wills, retained, groups, took_ms,
        "restored"
    );
    // Of damaged files the store itself has told.
    if report.loaded.damaged > 0 {
        tracing::error!(
            %directory,
            damaged = report.loaded.damaged,
            "records of the store were damaged and are left out; the file `quarantine` in the data \
             directory has them"
        );
    }
}

/// Waits until all that was submitted is kept, but not for ever: a disk may never answer.
pub(super) fn close(store: Option<Arc<StoreHandle>>, patience: Duration) {
    let Some(store) = store else { return };
    let (ended, end) = sync_channel(1);
    let closing = Arc::clone(&store);
    let thread = std::thread::Builder::new().name("store-close".to_owned()).spawn(move || {
        closing.close();
        // Nobody waits any more if it took too long.
        let _ = ended.send(());
    });
    let not_kept = || store.status().backlog_changes.load(Ordering::Relaxed);
    match thread {
        Ok(_) => match end.recv_timeout(patience) {
            Ok(()) if not_kept() == 0 => tracing::info!("the store is closed, and has everything"),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                tracing::error!(changes = not_kept(), "the store ended without them");
            }
            Err(RecvTimeoutError::Timeout) => tracing::error!(
                changes = not_kept(),
                waited = ?patience,
                "the store did not end in time; it is left as after a crash"
            ),
        },
        Err(error) => {
            tracing::warn!(%error, "no thread to close the store in");
            store.close();
        }
    }
}

/// As the configuration has it.
pub(super) fn sync_word(sync: StorageSync) -> &'static str {
    match sync {
        StorageSync::Always => "always",
        StorageSync::Interval => "interval",
        StorageSync::Os => "os",
        StorageSync::Off => "off",
    }
}
