//! Where records go that cannot be read: into a file, for whoever wants to look, and out of the
//! store.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::keys::Family;

/// Beyond it damaged records are counted and dropped.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Of one record; the rest is cut off.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// The file is made when it is needed.
pub(super) struct Quarantine {
    path: PathBuf,
    file: Mutex<Option<File>>,
    records: AtomicU64,
}

impl Quarantine {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: Mutex::new(None), records: AtomicU64::new(0) }
    }

    /// How many came in.
    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Takes a record in. That it cannot be written down keeps nobody from going on.
    pub(super) fn take(
        &self,
        family: Family,
        key: &[u8],
        value: &[u8],
        why: &dyn std::fmt::Display,
    ) {
        let before = self.records.fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            tracing::error!(
                family = family.name(), file = %self.path.display(),
                "a record of the store is damaged: {why}; it goes to the quarantine file"
            );
        }
        if let Err(error) = self.write(family, key, value, why) {
            tracing::warn!(%error, file = %self.path.display(), "cannot write to the quarantine");
        }
    }

    fn write(
        &self,
        family: Family,
        key: &[u8],
        value: &[u8],
        why: &dyn std::fmt::Display,
    ) -> io::Result<()> {
        let mut slot = self.file.lock();
        let file = match &mut *slot {
            Some(file) => file,
            none => none.insert(OpenOptions::new().create(true).append(true).open(&self.path)?),
        };
        if file.metadata()?.len() > FILE_BYTES_MAX {
            return Ok(());
        }
        let mut line = format!("{} key=", family.name());
        put_hex(&mut line, key);
        line.push_str(" value=");
        put_hex(&mut line, value.get(..RECORD_BYTES_MAX).unwrap_or(value));
        let _ = writeln!(line, " why=\"{why}\"");
        file.write_all(line.as_bytes())
    }
}

fn put_hex(line: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(line, "{byte:02x}");
    }
}
