//! Store time: milliseconds that go on while the broker runs and, as far as the wall clock can be
//! believed, while it does not.
//!
//! Everything with an end is kept in store time. The pair (store time, wall time) is written with
//! the changes; at the next start store time goes on by what the wall clock has gained since. A wall
//! clock that jumps while the broker runs changes nothing, and one that starts in 1970 counts as a
//! downtime of zero. The price: a wall clock that was once kept too far in the future makes later
//! downtimes count as zero until it is caught up with. So things live too long, never too short.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::Now;

/// Milliseconds since the store was made. What was before that is negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct StoreTime(pub(super) i64);

/// 2024-01-01: a wall clock before it was never set, so it says nothing of how long ago it was
/// read.
const SET_AFTER: WallTime = WallTime(1_704_067_200_000);

/// Milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct WallTime(pub(super) i64);

/// The pair that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct KeptClock {
    pub(super) store: StoreTime,
    pub(super) wall: WallTime,
}

/// Turns moments of this process into store time and back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: Instant,
    /// What `started` is in store time.
    store: StoreTime,
    /// The wall time at `started`, or the latest that was ever kept.
    wall: WallTime,
}

impl WallTime {
    pub(super) fn of(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self(milliseconds(since)),
            Err(before) => Self(milliseconds(before.duration()).saturating_neg()),
        }
    }
}

impl Clock {
    /// Goes on from what was kept.
    pub(super) fn resume(kept: Option<KeptClock>, now: Now) -> Self {
        let wall = WallTime::of(now.wall);
        let Some(kept) = kept else {
            return Self { started: now.monotonic, store: StoreTime(0), wall };
        };
        let downtime = if kept.wall < SET_AFTER { 0 } else { wall.0.saturating_sub(kept.wall.0) };
        Self {
            started: now.monotonic,
            store: StoreTime(kept.store.0.saturating_add(downtime.max(0))),
            wall: if kept.wall < SET_AFTER { wall } else { wall.max(kept.wall) },
        }
    }

    /// The pair to keep.
    pub(super) fn pair(&self, now: Now) -> KeptClock {
        // A clock that was set back stands still here, or a later correction would look like a
        // downtime.
        let running = milliseconds(now.monotonic.saturating_duration_since(self.started));
        let least = WallTime(self.wall.0.saturating_add(running));
        let wall = WallTime::of(now.wall);
        let wall = if self.wall < SET_AFTER { wall } else { wall.max(least) };
        KeptClock { store: self.store_time(now.monotonic), wall }
    }

    pub(super) fn store_time(&self, at: Instant) -> StoreTime {
        let since = match at.checked_duration_since(self.started) {
            Some(after) => milliseconds(after),
            None => milliseconds(self.started.saturating_duration_since(at)).saturating_neg(),
        };
        StoreTime(self.store.0.saturating_add(since))
    }

    /// As near as an [`Instant`] comes to it.
    pub(super) fn instant(&self, time: StoreTime) -> Instant {
        let since = time.0.saturating_sub(self.store.0);
        let length = Duration::from_millis(since.unsigned_abs());
        let exact = if since < 0 {
            self.started.checked_sub(length)
        } else {
            self.started.checked_add(length)
        };
        exact.unwrap_or(self.started)
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    /// 2026, roughly.
    const TODAY: Duration = Duration::from_secs(1_790_000_000);

    fn now(monotonic: Instant, since_1970: Duration) -> Now {
        Now { monotonic, wall: UNIX_EPOCH + since_1970 }
    }

    #[test]
    fn a_downtime_counts_as_the_wall_clock_says() {
        let start = Instant::now();
        let kept = Clock::resume(None, now(start, TODAY)).pair(now(start + DAY, TODAY + DAY));

        let resumed = Clock::resume(Some(kept), now(start, TODAY + 3 * DAY));

        assert_eq!(resumed.store_time(start), StoreTime(3 * 86_400_000));
    }

    #[test]
    fn a_boot_in_1970_counts_as_no_downtime_and_is_made_up_for_later() {
        let start = Instant::now();
        let kept = Clock::resume(None, now(start, TODAY)).pair(now(start, TODAY));

        let wrong = Clock::resume(Some(kept), now(start, Duration::ZERO));
        let kept = wrong.pair(now(start + DAY, DAY));
        let right = Clock::resume(Some(kept), now(start, TODAY + 2 * DAY));

        assert_eq!(wrong.store_time(start), StoreTime(0));
        assert_eq!(right.store_time(start), StoreTime(2 * 86_400_000));
    }

    #[test]
    fn a_store_made_before_the_clock_was_set_expires_nothing_when_it_is() {
        let start = Instant::now();
        let kept = Clock::resume(None, now(start, DAY)).pair(now(start + DAY, 2 * DAY));

        let resumed = Clock::resume(Some(kept), now(start, TODAY));

        assert_eq!(resumed.store_time(start), StoreTime(86_400_000));
    }

    #[test]
    fn a_step_of_the_wall_clock_while_running_changes_no_store_time() {
        let start = Instant::now();
        let clock = Clock::resume(None, now(start, TODAY));

        let back = clock.pair(now(start + DAY, TODAY - DAY));
        let ahead = clock.pair(now(start + DAY, TODAY + 30 * DAY));

        assert_eq!(back.store, ahead.store);
        assert_eq!(Clock::resume(Some(back), now(start, TODAY - DAY)).store, back.store);
    }

    #[test]
    fn a_moment_comes_back_as_it_was_even_from_the_past() {
        let start = Instant::now();
        let clock = Clock::resume(None, now(start, TODAY));
        for moment in [start, start + DAY, start - Duration::from_secs(5)] {
            assert_eq!(clock.instant(clock.store_time(moment)), moment);
        }
    }

    #[test]
    fn no_number_overflows() {
        let start = Instant::now();
        let clock = Clock::resume(
            Some(KeptClock { store: StoreTime(i64::MAX), wall: WallTime(i64::MIN) }),
            now(start, TODAY),
        );

        for time in [i64::MIN, -1, 0, i64::MAX] {
            let _ = clock.instant(StoreTime(time));
        }

        assert_eq!(clock.store_time(start + DAY), StoreTime(i64::MAX));
    }
}
