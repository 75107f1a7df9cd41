//! What a process uses, as the kernel counts it.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The unit of utime and stime in /proc/PID/stat: Linux shows 100 a second on all usual machines.
const TICK: Duration = Duration::from_millis(10);

/// A process of this machine.
#[derive(Clone, Debug)]
pub(super) struct Process(PathBuf);

/// The processor time of a process since it started, over all its threads.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Usage {
    /// Exact.
    pub(super) total: Duration,
    /// Of which in the kernel, in ticks.
    pub(super) kernel: Duration,
    pub(super) user: Duration,
}

/// The resident memory of a process, in bytes.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Memory {
    pub(super) now: u64,
    pub(super) peak: u64,
}

impl Process {
    pub(super) fn new(id: u32) -> Self {
        Self(PathBuf::from(format!("/proc/{id}")))
    }

    /// This one.
    pub(super) fn own() -> Self {
        Self(PathBuf::from("/proc/self"))
    }

    pub(super) fn usage(&self) -> io::Result<Usage> {
        let stat = fs::read_to_string(self.0.join("stat"))?;
        // The name, in parentheses, may hold spaces; utime is the 12th field behind it.
        let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let mut ticks =
            behind_name.split_whitespace().skip(11).map_while(|field| field.parse().ok());
        let user = TICK * ticks.next().unwrap_or_default();
        let kernel = TICK * ticks.next().unwrap_or_default();
        let mut total = Duration::ZERO;
        for thread in fs::read_dir(self.0.join("task"))? {
            // A thread may end while we look.
            let Ok(schedule) = fs::read_to_string(thread?.path().join("schedstat")) else {
                continue;
            };
            let nanoseconds = schedule.split_whitespace().next().and_then(|it| it.parse().ok());
            total += Duration::from_nanos(nanoseconds.unwrap_or_default());
        }
        Ok(Usage { total, kernel, user })
    }

    pub(super) fn memory(&self) -> io::Result<Memory> {
        let status = fs::read_to_string(self.0.join("status"))?;
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            number.unwrap_or_default() * 1024
        };
        Ok(Memory { now: kibibytes("VmRSS:"), peak: kibibytes("VmHWM:") })
    }
}

impl Usage {
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            total: self.total.saturating_sub(earlier.total),
            kernel: self.kernel.saturating_sub(earlier.kernel),
            user: self.user.saturating_sub(earlier.user),
        }
    }

    /// Which part of it is the kernel's, 0 to 1.
    pub(super) fn kernel_share(self) -> f64 {
        self.kernel.as_secs_f64() / (self.kernel + self.user).as_secs_f64().max(f64::EPSILON)
    }
}
