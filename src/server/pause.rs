//! Why nothing is read from a client for a while, and how long that may last.
//!
//! A pause waits for something that comes without this client's help. Its acknowledgements are
//! behind the pause, and where they would free something the pause ends soon, with the connection
//! if it must: so no two clients can wait for each other. A queue that is full, and PUBRELs of the
//! client's own that are missing, are no reason: what frees them would be behind the pause.

use std::time::{Duration, Instant};

use crate::change::{CommitNumber, Journal, JournalState};
use crate::router::{Episode, Memory};

/// How long a pause may last while the client has something to acknowledge.
const OWING_MAX: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PauseReason {
    /// Messages of this client fill the memory: the next of them waits in its input.
    Filling,
    /// The rest of a large packet is left in the kernel.
    LargePacket,
    /// The store is behind: the next message that it may have to keep waits in the input.
    Backlog,
}

/// What a pause waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Awaited {
    /// The end of this scarcity of memory.
    Memory(Episode),
    /// That so much is kept. The store needs nothing of the client for that, so it may take its
    /// time also if the client has something to acknowledge.
    Kept(CommitNumber),
}

/// How far the store is, at one look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    state: JournalState,
    kept: CommitNumber,
}

impl Progress {
    pub(super) fn of(journal: &dyn Journal) -> Self {
        Self { state: journal.state(), kept: journal.kept() }
    }
}

impl Awaited {
    /// What a client waits for that has a message of QoS 1 or 2, if the store is behind.
    pub(super) fn backlog(progress: Progress) -> Option<Self> {
        match progress.state {
            JournalState::Behind(number) if number > progress.kept => Some(Self::Kept(number)),
            JournalState::Behind(_) | JournalState::Keeping | JournalState::Failing => None,
        }
    }
}

/// A pause that will end the connection if what it waits for does not come.
#[derive(Debug)]
pub(super) struct Pause {
    pub(super) awaited: Awaited,
    began: Instant,
    /// Since when the client is known to have something to acknowledge.
    owing: Option<Instant>,
}

impl Pause {
    pub(super) fn new(awaited: Awaited, now: Instant) -> Self {
        Self { awaited, began: now, owing: None }
    }

    /// Whether the scarcity it began in is over, also if another one has begun; or the store has
    /// kept enough, or fails, of which its client is to be told.
    pub(super) fn is_over(&self, memory: Memory, progress: Progress) -> bool {
        match self.awaited {
            Awaited::Memory(episode) => memory.episode() != Some(episode),
            Awaited::Kept(number) => {
                progress.kept >= number || progress.state == JournalState::Failing
            }
        }
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
        Pause::new(Awaited::Memory(Episode::default()), start)
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
        let keeping = progress(JournalState::Keeping, 0);

        assert!(pause.is_over(Memory::Enough, keeping));
        assert!(!pause.is_over(Memory::Scarce(Episode::default()), keeping));
        assert!(!pause.is_over(Memory::Exhausted(Episode::default()), keeping));
    }

    fn progress(state: JournalState, kept: u64) -> Progress {
        Progress { state, kept: CommitNumber(kept) }
    }

    #[test]
    fn a_store_is_waited_for_while_it_is_behind_and_not_there_yet() {
        let behind = JournalState::Behind(CommitNumber(7));

        let awaited = Awaited::backlog(progress(behind, 6));

        assert_eq!(awaited, Some(Awaited::Kept(CommitNumber(7))));
        assert_eq!(Awaited::backlog(progress(behind, 7)), None);
        assert_eq!(Awaited::backlog(progress(JournalState::Keeping, 0)), None);
        assert_eq!(Awaited::backlog(progress(JournalState::Failing, 0)), None);
    }

    #[test]
    fn a_pause_for_the_store_is_over_when_enough_is_kept_or_it_fails() {
        let pause = Pause::new(Awaited::Kept(CommitNumber(7)), Instant::now());
        let behind = JournalState::Behind(CommitNumber(9));

        assert!(!pause.is_over(Memory::Enough, progress(behind, 6)));
        assert!(pause.is_over(Memory::Enough, progress(behind, 7)));
        assert!(pause.is_over(Memory::Enough, progress(JournalState::Failing, 6)));
    }
}
