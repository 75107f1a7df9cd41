//! Opening a store whatever state it is in.

use std::io;
use std::path::PathBuf;

use super::directory::{Directory, StorageError};
use super::engine::{Engine, EngineError};
use super::load::{self, Loaded};
use super::quarantine::Quarantine;
use crate::time::Now;

pub(super) struct Open {
    pub(super) engine: Engine,
    pub(super) loaded: Loaded,
    pub(super) set_aside: Option<PathBuf>,
}

/// Opens the store and reads what it has. One that is damaged is set aside.
pub(super) fn open(
    directory: &Directory,
    quarantine: &Quarantine,
    now: Now,
) -> Result<Open, StorageError> {
    let error = match open_and_load(directory, quarantine, now) {
        Ok((engine, loaded)) => return Ok(Open { engine, loaded, set_aside: None }),
        Err(error) if is_of_the_machine(&error) => {
            return Err(StorageError::Engine { path: directory.path().to_owned(), source: error });
        }
        Err(error) => error,
    };
    let aside = directory.set_aside()?;
    tracing::error!(%error, aside = %aside.display(), "the store is damaged: set aside");
    let (engine, loaded) = open_and_load(directory, quarantine, now)
        .map_err(|source| StorageError::Engine { path: directory.path().to_owned(), source })?;
    Ok(Open { engine, loaded, set_aside: Some(aside) })
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

/// What no other store would change: the operator has to.
fn is_of_the_machine(error: &EngineError) -> bool {
    let EngineError::Io(error) = error else { return false };
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::OutOfMemory
    )
}
