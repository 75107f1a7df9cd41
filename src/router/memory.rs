//! One memory budget for the whole process, and what Sessions and groups weigh against it.
//!
//! ```text
//! Enough --above memory_bytes_max--> Scarce <--a quarter above--> Exhausted
//!    ^----below seven eighths of it----'
//! ```
//! Scarce, what fills the memory waits: its publishers are not read from. Each new one brings one
//! message before that is known of it, so there is a second line: exhausted, nothing is queued or
//! retained that would have to stay.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::Router;
use super::courier::Courier;
use super::slot::{Attachment, SlotState};
use crate::packet::ClientId;
use crate::session::Session;

/// How old a worker's look may become. It reads what all workers write all the time, so one for
/// each turn would cost the most where there are many.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What clients made the process hold, against its budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Memory {
    #[default]
    Enough,
    Scarce(Episode),
    Exhausted(Episode),
}

/// One time of scarcity, from its beginning to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Episode(NonZeroU32);

impl Default for Episode {
    fn default() -> Self {
        Self(NonZeroU32::MIN)
    }
}

impl Memory {
    /// `None` while there is enough.
    #[must_use]
    pub fn episode(self) -> Option<Episode> {
        match self {
            Self::Enough => None,
            Self::Scarce(episode) | Self::Exhausted(episode) => Some(episode),
        }
    }
}

/// Which episode it is: odd in one, even between two.
#[derive(Debug, Default)]
pub(super) struct Budget {
    episode: AtomicU32,
}

impl Budget {
    /// What `held` bytes mean now, and whether this very look began or ended an episode.
    fn look(&self, held: u64, max: u64) -> (Memory, bool) {
        let before = self.episode.load(Ordering::Relaxed);
        let is_scarce = !before.is_multiple_of(2);
        let turns = if is_scarce { held < max - max / 8 } else { held > max };
        // Another worker may see the same at the same moment: only one turns it.
        let turned = turns
            && self
                .episode
                .compare_exchange(
                    before,
                    before.wrapping_add(1),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        let number = self.episode.load(Ordering::Relaxed);
        let episode = NonZeroU32::new(number).filter(|number| number.get() % 2 == 1).map(Episode);
        let memory = match episode {
            None => Memory::Enough,
            Some(episode) if held > max.saturating_add(max / 4) => Memory::Exhausted(episode),
            Some(episode) => Memory::Scarce(episode),
        };
        (memory, turned)
    }
}

impl Router {
    /// Lets a worker know, at the beginning of a turn, how much memory there is. `Some` if an
    /// episode of scarcity began or ended with this look: to one worker, once.
    pub fn look_at_memory(&self, courier: &mut Courier) -> Option<Memory> {
        let now = courier.instant();
        if courier.looked_at_memory.is_some_and(|looked| now < looked + LOOK_EVERY) {
            return None;
        }
        courier.looked_at_memory = Some(now);
        let held = self.metrics.held_bytes();
        let (memory, turned) = self.budget.look(held, self.limits.memory_bytes_max);
        courier.memory = memory;
        turned.then_some(memory)
    }

    /// Whether this client's acknowledgements would free something.
    #[must_use]
    pub fn awaits_acknowledgement(&self, attachment: &Attachment) -> bool {
        let state = attachment.slot.lock();
        state.generation == attachment.generation
            && state.session.as_ref().is_some_and(Session::awaits_acknowledgement)
    }

    /// Whether there is a Session for this Client Identifier: one that a connection would continue
    /// or end.
    #[must_use]
    pub fn has_session(&self, client_id: &ClientId) -> bool {
        let slot = self.registry.find(client_id);
        slot.is_some_and(|slot| slot.lock().session.is_some())
    }
}

impl Courier {
    /// What the last [`Router::look_at_memory`] found.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// Whether nothing more may be taken in that would have to stay.
    #[must_use]
    pub fn is_memory_exhausted(&self) -> bool {
        matches!(self.memory, Memory::Exhausted(_))
    }
}

/// What one Session is accounted with.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Weight {
    messages: usize,
    message_bytes: usize,
    state_bytes: usize,
}

impl Weight {
    pub(super) fn of(session: &Session) -> Self {
        Self {
            messages: session.messages(),
            message_bytes: session.loaded_bytes(),
            state_bytes: session.state_bytes(),
        }
    }
}

impl SlotState {
    /// Nothing, if there is no Session.
    pub(super) fn weight(&self) -> Weight {
        self.session.as_ref().map_or(Weight::default(), Weight::of)
    }
}

impl Courier {
    /// Accounts what a Session weighs now against what it weighed before.
    pub(super) fn reweigh(&self, before: Weight, now: Weight) {
        self.counters.session_messages.change(before.messages, now.messages);
        self.counters.session_bytes.change(before.message_bytes, now.message_bytes);
        self.counters.session_state_bytes.change(before.state_bytes, now.state_bytes);
    }

    /// Messages of so many bytes wait in a group.
    pub(super) fn weigh_waiting(&self, messages: usize, bytes: usize) {
        self.counters.session_messages.change(0, messages);
        self.counters.session_bytes.change(0, bytes);
    }

    /// They wait there no more.
    pub(super) fn weigh_drawn(&self, messages: usize, bytes: usize) {
        self.counters.session_messages.change(messages, 0);
        self.counters.session_bytes.change(bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episode(number: u32) -> Episode {
        Episode(NonZeroU32::new(number).unwrap())
    }

    #[test]
    fn scarcity_begins_above_the_budget_and_ends_an_eighth_below_it() {
        let budget = Budget::default();

        assert_eq!(budget.look(800, 800), (Memory::Enough, false));
        assert_eq!(budget.look(801, 800), (Memory::Scarce(episode(1)), true));
        assert_eq!(budget.look(700, 800), (Memory::Scarce(episode(1)), false));
        assert_eq!(budget.look(1000, 800), (Memory::Scarce(episode(1)), false));
        assert_eq!(budget.look(1001, 800), (Memory::Exhausted(episode(1)), false));
        assert_eq!(budget.look(699, 800), (Memory::Enough, true));
        assert_eq!(budget.look(801, 800), (Memory::Scarce(episode(3)), true));
    }

    #[test]
    fn without_a_budget_there_is_always_enough() {
        assert_eq!(Budget::default().look(u64::MAX, u64::MAX), (Memory::Enough, false));
    }
}
