//! A copy of the running store, as it was at one moment.

use std::path::Path;

use super::directory::{Directory, StorageError};
use super::engine::{Engine, EngineError};
use super::journal::Shared;
use super::keys::Family;

/// So many records are written at once.
const COPIED_AT_ONCE: usize = 1_024;

/// A snapshot is read, so commits go on and none of them is seen.
pub(super) fn copy(shared: &Shared, to: &Path) -> Result<usize, StorageError> {
    let slot = shared.engine.read();
    let engine = slot.as_ref().ok_or(StorageError::Closed)?;
    if is_inside(to, &shared.path) {
        return Err(StorageError::Inside { path: to.to_owned() });
    }
    let directory = Directory::take_empty(to)?;
    let of = |source| StorageError::Engine { path: to.to_owned(), source };
    let into = Engine::open(&directory.store()).map_err(of)?;
    let copied = copy_all(shared, engine, &into);
    into.close();
    match copied {
        Ok(Some(copied)) => Ok(copied),
        Ok(None) => Err(StorageError::Closed),
        Err(source) => Err(of(source)),
    }
}

/// Whether it would lie in the data directory of the store, where the next start took it for a file
/// of somebody else's.
fn is_inside(to: &Path, store: &Path) -> bool {
    let data_dir = store.parent().and_then(|path| path.canonicalize().ok());
    // It need not be there yet, but what it is made in is.
    let place = to.ancestors().find_map(|path| path.canonicalize().ok());
    place.zip(data_dir).is_some_and(|(place, data_dir)| place.starts_with(data_dir))
}

/// `None` if the store begins to fail: it has to be closed to go on, and this is in the way.
fn copy_all(shared: &Shared, from: &Engine, into: &Engine) -> Result<Option<usize>, EngineError> {
    let (snapshot, mut copied) = (from.snapshot(), 0);
    for family in Family::ALL {
        let mut batch = into.batch(COPIED_AT_ONCE);
        for pair in from.scan_in(&snapshot, family)? {
            let (key, value) = pair?;
            batch.put(family, &key, &value)?;
            if batch.len() >= COPIED_AT_ONCE {
                copied += batch.len();
                batch.write()?;
                batch = into.batch(COPIED_AT_ONCE);
                if shared.fails() {
                    return Ok(None);
                }
            }
        }
        copied += batch.len();
        batch.write()?;
    }
    into.sync()?;
    Ok(Some(copied))
}
