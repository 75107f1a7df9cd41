//! A coarse wheel of deadlines for the connections of one worker.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::router::{Flags, Signal};

/// How late a connection may learn of its deadline.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// Ticks of one round. A deadline beyond it wakes its connection early, which then asks again.
const SLOTS: usize = 256;

/// Connections by the tick at which to wake them. Each asks for one wake-up at a time and looks at
/// its own deadlines then, so one that moved costs nothing to move here.
#[derive(Debug)]
pub(super) struct Wheel {
    slots: Vec<Vec<Weak<Signal>>>,
    now: usize,
    /// The moment of `now`.
    at: Instant,
}

impl Wheel {
    pub(super) fn new(at: Instant) -> Self {
        Self { slots: vec![Vec::new(); SLOTS], now: 0, at }
    }

    /// Raises [`Flags::TIMER`] not before `deadline`, unless that is more than a round away. When
    /// that will be.
    pub(super) fn wake_at(&mut self, deadline: Instant, signal: &Arc<Signal>) -> Instant {
        let left = deadline.saturating_duration_since(self.at);
        let ticks = left.as_millis().div_ceil(TICK.as_millis());
        let ticks = usize::try_from(ticks).unwrap_or(SLOTS).clamp(1, SLOTS - 1);
        if let Some(slot) = self.slots.get_mut((self.now + ticks) % SLOTS) {
            slot.push(Arc::downgrade(signal));
        }
        self.at + TICK * u32::try_from(ticks).unwrap_or(1)
    }

    /// Moves on to `now` and wakes everybody on the way.
    pub(super) fn advance(&mut self, now: Instant) {
        while self.at + TICK <= now {
            self.at += TICK;
            self.now = (self.now + 1) % SLOTS;
            let Some(slot) = self.slots.get_mut(self.now) else { continue };
            for signal in std::mem::take(slot).iter().filter_map(Weak::upgrade) {
                signal.raise(Flags::TIMER);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_woken_not_before_its_deadline_and_at_most_a_tick_after() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let signal = Arc::new(Signal::default());

        wheel.wake_at(start + Duration::from_millis(600), &signal);

        wheel.advance(start + Duration::from_millis(599));
        assert!(!signal.take().has(Flags::TIMER));
        wheel.advance(start + Duration::from_millis(850));
        assert!(signal.take().has(Flags::TIMER));
    }

    #[test]
    fn a_deadline_beyond_a_round_wakes_early() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let signal = Arc::new(Signal::default());

        let woken = wheel.wake_at(start + Duration::from_secs(86_400), &signal);

        assert!(woken < start + Duration::from_secs(86_400));
        wheel.advance(woken);
        assert!(signal.take().has(Flags::TIMER));
    }
}
