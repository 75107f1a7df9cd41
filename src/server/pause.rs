//! Why nothing is read from a client for a while, and how long that may last.
//!
//! A pause waits for something that comes without this client's help. Its acknowledgements are
//! behind the pause, and where they would free something the pause ends soon, with the connection
//! if it must: so no two clients can wait for each other. A queue that is full, and PUBRELs of the
//! client's own that are missing, are no reason: what frees them would be behind the pause.

use std::time::{Duration, Instant};

use crate::router::{Episode, Memory};

/// How long a pause may last while the client has something to acknowledge.
const OWING_MAX: Duration = Duration::from_secs(1);

/// A backlog of commits that a durable store has still to keep will be one more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PauseReason {
    /// Messages of this client fill the memory: the next of them waits in its input.
    Filling,
    /// The rest of a large packet is left in the kernel.
    LargePacket,
}

/// A pause that will end the connection if what it waits for does not come.
#[derive(Debug)]
pub(super) struct Pause {
    episode: Episode,
    began: Instant,
    /// Since when the client is known to have something to acknowledge.
    owing: Option<Instant>,
}

impl Pause {
    pub(super) fn new(episode: Episode, now: Instant) -> Self {
        Self { episode, began: now, owing: None }
    }

    /// Whether the scarcity it began in is over, also if another one has begun.
    pub(super) fn is_over(&self, memory: Memory) -> bool {
        memory.episode() != Some(self.episode)
    }

    /// When the connection ends. `owes`: whether the client has something to acknowledge now;
    /// `longest`: how long the pause may last if it has not.
    pub(super) fn deadline(&mut self, owes: bool, longest: Duration, now: Instant) -> Instant {
        self.owing = owes.then(|| self.owing.unwrap_or(now));
        let last = self.began + longest;
        self.owing.map_or(last, |since| last.min(since + OWING_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(60);
    const TICK: Duration = super::super::timers::TICK;

    fn pause(start: Instant) -> Pause {
        Pause::new(Episode::default(), start)
    }

    #[test]
    fn a_pause_of_a_client_that_owes_nothing_may_last() {
        let start = Instant::now();
        let mut pause = pause(start);

        for seconds in 0..60 {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(pause.deadline(false, LONGEST, now), start + LONGEST);
        }
    }

    #[test]
    fn from_when_the_client_owes_an_acknowledgement_it_lasts_a_second() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut pause = pause(start);

        pause.deadline(false, LONGEST, start);

        assert_eq!(pause.deadline(true, LONGEST, start + 3 * second), start + 4 * second);
        let later = start + 3 * second + TICK;
        assert_eq!(pause.deadline(true, LONGEST, later), start + 4 * second);
        assert_eq!(pause.deadline(true, second / 2, later), start + second / 2);
    }

    #[test]
    fn a_pause_is_over_when_its_scarcity_is() {
        let pause = pause(Instant::now());

        assert!(pause.is_over(Memory::Enough));
        assert!(!pause.is_over(Memory::Scarce(Episode::default())));
        assert!(!pause.is_over(Memory::Exhausted(Episode::default())));
    }
}
