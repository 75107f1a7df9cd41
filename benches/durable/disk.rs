//! What the disk can do by itself.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const SYNCS: usize = 200;

/// The median time of an fdatasync after a small write at the end of a file.
pub(crate) fn raw_sync(folder: &Path) -> Duration {
    let path = folder.join("raw");
    let mut file = File::create(&path).expect("a file");
    let mut times: Vec<Duration> = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[b'x'; 4096]).expect("a write");
        let start = Instant::now();
        file.sync_data().expect("a sync");
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let _ = std::fs::remove_file(path);
    times.get(SYNCS / 2).copied().unwrap_or_default()
}
