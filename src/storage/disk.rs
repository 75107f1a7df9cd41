//! How much disk a store may take.

use std::path::Path;

use super::engine::Engine;
use crate::config::DiskMax;

/// The least that "auto" gives: journals alone may take most of it. On a smaller file system the disk
/// itself is the limit.
const AUTO_MIN: u64 = 256 << 20;

/// In bytes. Three quarters of what there is leave room for compactions, which write a table anew
/// before they remove it, and for the others on the file system.
pub(super) fn max(configured: DiskMax, engine: &Engine, data_dir: &Path) -> u64 {
    match configured {
        DiskMax::At(bytes) => bytes,
        DiskMax::OfFileSystem => match rustix::fs::statvfs(data_dir) {
            Ok(file_system) => {
                let free = file_system.f_bavail.saturating_mul(file_system.f_frsize);
                let own = engine.disk_bytes().unwrap_or_default();
                ((free.saturating_add(own)) / 4 * 3).max(AUTO_MIN)
            }
            Err(error) => {
                tracing::warn!(%error, "cannot ask how much room the data directory has: the store has no limit");
                u64::MAX
            }
        },
    }
}
