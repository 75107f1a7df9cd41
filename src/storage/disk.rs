//! How much disk a store may take.

use std::io;
use std::path::Path;

use super::engine::Engine;
use crate::config::DiskMax;

/// The least that "auto" gives: journals alone may take most of it. On a smaller file system the disk
/// itself is the limit.
const AUTO_MIN: u64 = 256 << 20;

/// What the file system there has left for this user, in bytes.
pub(super) fn free(path: &Path) -> io::Result<u64> {
    let file_system = rustix::fs::statvfs(path)?;
    Ok(file_system.f_bavail.saturating_mul(file_system.f_frsize))
}

/// In bytes. Three quarters of what there is leave room for compactions, which write a table anew
/// before they remove it, and for the others on the file system.
pub(super) fn max(configured: DiskMax, engine: &Engine, data_dir: &Path) -> u64 {
    match configured {
        DiskMax::At(bytes) => bytes,
        DiskMax::OfFileSystem => match free(data_dir) {
            Ok(free) => {
                let own = engine.disk_bytes().unwrap_or_default();
                (free.saturating_add(own) / 4 * 3).max(AUTO_MIN)
            }
            Err(error) => {
                tracing::warn!(
                    %error,
                    "cannot find out how much room the data directory has: the store grows without a \
                     limit unless storage.disk_max names one"
                );
                u64::MAX
            }
        },
    }
}
