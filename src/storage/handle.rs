//! The running store, as everybody but the router has it.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use super::backup;
use super::directory::{Directory, StorageError};
use super::faults::Fault;
use super::journal::Shared;
use super::status::StoreStatus;

/// A handle on the running store.
pub struct StoreHandle {
    pub(super) shared: Arc<Shared>,
    pub(super) threads: Arc<Threads>,
}

impl std::fmt::Debug for StoreHandle {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("StoreHandle").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl StoreHandle {
    #[must_use]
    pub fn status(&self) -> &StoreStatus {
        &self.shared.status
    }

    /// Copies what is kept at this moment into a directory that is empty or not there yet, which is
    /// a data directory then. Commits go on meanwhile. How many records it has.
    ///
    /// # Errors
    /// If the directory cannot be used, or the store begins to fail.
    pub fn backup(&self, directory: &Path) -> Result<usize, StorageError> {
        backup::copy(&self.shared, directory)
    }

    /// Keeps all that was submitted, then ends the store. What is submitted later is not kept.
    pub fn close(&self) {
        self.threads.end();
    }

    /// Writes everything into tables, for tests.
    #[doc(hidden)]
    pub fn flush_tables(&self) {
        if let Some(engine) = self.shared.engine.read().as_ref()
            && let Err(error) = engine.flush_tables()
        {
            tracing::warn!(%error, "cannot write tables");
        }
    }

    /// Makes the engine fail from now on, for tests.
    #[doc(hidden)]
    pub fn inject(&self, fault: Fault) {
        self.shared.faults.set(fault);
    }
}

/// The threads of a store, which end when nobody uses it any more.
pub(super) struct Threads {
    shared: Arc<Shared>,
    handles: Mutex<Vec<JoinHandle<()>>>,
    /// The lock on the data directory is given back last.
    directory: Mutex<Option<Directory>>,
}

impl Threads {
    pub(super) fn new(
        shared: Arc<Shared>,
        handles: Vec<JoinHandle<()>>,
        directory: Directory,
    ) -> Self {
        Self { shared, handles: Mutex::new(handles), directory: Mutex::new(Some(directory)) }
    }

    fn end(&self) {
        self.shared.close();
        for handle in self.handles.lock().drain(..) {
            // What replies to a fetch may be the last that had the store, and then this runs on a
            // thread of the store, which cannot wait for itself.
            if handle.thread().id() != thread::current().id() {
                // One that panicked has said so.
                let _ = handle.join();
            }
        }
        self.directory.lock().take();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end();
    }
}
