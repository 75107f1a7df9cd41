//! A line that shows how far a run is.

use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

use super::report::Grouped;

const INTERVAL: Duration = Duration::from_millis(250);

/// Where the line is shown, if anywhere: it goes over itself, which only a terminal can show.
pub struct Progress<'a> {
    terminal: Option<&'a mut dyn Write>,
    start: Instant,
    shown: Option<Instant>,
}

impl<'a> Progress<'a> {
    #[must_use]
    pub fn new(terminal: Option<&'a mut dyn Write>) -> Self {
        Self { terminal, start: Instant::now(), shown: None }
    }

    /// Shows what is done and how much of it, now and then.
    pub(super) fn say(&mut self, doing: &str, count: u64, what: &str) {
        let Some(terminal) = &mut self.terminal else { return };
        if self.shown.is_some_and(|shown| shown.elapsed() < INTERVAL) {
            return;
        }
        self.shown = Some(Instant::now());
        let (seconds, count) = (self.start.elapsed().as_secs_f64(), Grouped(count as f64));
        // A terminal that is gone is no reason to stop measuring.
        let _ = write!(terminal, "\r\x1b[K{seconds:5.1} s  {doing}: {count} {what}");
        let _ = terminal.flush();
    }

    /// Makes room for what is printed next.
    pub(super) fn clear(&mut self) {
        if let (Some(terminal), Some(_)) = (&mut self.terminal, self.shown.take()) {
            let _ = write!(terminal, "\r\x1b[K");
            let _ = terminal.flush();
        }
    }
}

impl fmt::Debug for Progress<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Progress").field("shown", &self.shown).finish_non_exhaustive()
    }
}
