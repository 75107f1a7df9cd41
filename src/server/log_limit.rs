//! Log lines that clients can cause, kept to a number an operator can read.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Lines a worker may write in one [`PERIOD`].
const LINES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(1);

/// Counts lines and leaves out those beyond the limit; the next one written tells how many.
#[derive(Debug)]
pub(super) struct LogLimit {
    since: Cell<Instant>,
    written: Cell<u32>,
    suppressed: Cell<u64>,
}

impl LogLimit {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: Cell::new(now), written: Cell::new(0), suppressed: Cell::new(0) }
    }

    /// Calls `write` with the number of lines left out before, if any, or leaves this one out.
    pub(super) fn line(&self, write: impl FnOnce(Option<u64>)) {
        let now = Instant::now();
        if now.saturating_duration_since(self.since.get()) >= PERIOD {
            self.since.set(now);
            self.written.set(0);
        }
        if self.written.get() < LINES {
            self.written.set(self.written.get() + 1);
            let suppressed = self.suppressed.take();
            write((suppressed > 0).then_some(suppressed));
        } else {
            self.suppressed.set(self.suppressed.get() + 1);
        }
    }
}
