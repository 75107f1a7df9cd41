//! What happens to Sessions while nobody is connected to them: Wills that waited, expiry.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use super::slot::Slot;

/// Slots by the moment they have to be looked at.
///
/// A slot stands here once: its `scheduled` says where. A slot that is looked at too early says
/// when it is really due, so nothing is taken out when a client comes back. The lock is the last
/// one taken: a slot's may be held.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: Mutex<Due>,
}

#[derive(Debug, Default)]
struct Due {
    slots: BTreeMap<Place, Weak<Slot>>,
    next: u64,
}

/// Where a slot stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    pub(super) at: Instant,
    number: u64,
}

impl Schedule {
    /// The place is boxed, since most slots have none.
    pub(super) fn add(&self, at: Instant, slot: &Arc<Slot>) -> Box<Place> {
        let mut due = self.due.lock();
        due.next += 1;
        let place = Place { at, number: due.next };
        due.slots.insert(place, Arc::downgrade(slot));
        Box::new(place)
    }

    pub(super) fn cancel(&self, place: Option<Box<Place>>) {
        if let Some(place) = place {
            self.due.lock().slots.remove(&place);
        }
    }

    /// The next slot that is due at `now`.
    pub(super) fn next_due(&self, now: Instant) -> Option<Arc<Slot>> {
        let mut due = self.due.lock();
        while let Some(first) = due.slots.first_entry().filter(|first| first.key().at <= now) {
            if let Some(slot) = first.remove().upgrade() {
                return Some(slot);
            }
        }
        None
    }

    /// When the first slot is due.
    pub(super) fn first(&self) -> Option<Instant> {
        self.due.lock().slots.first_key_value().map(|(first, _)| first.at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::packet::ClientId;

    #[test]
    fn slots_come_when_they_are_due_and_those_that_were_cancelled_never() {
        let schedule = Schedule::default();
        let start = Instant::now();
        let slot = || Arc::new(Slot::new(ClientId::new("a").unwrap()));
        let (early, late, cancelled) = (slot(), slot(), slot());
        schedule.add(start + Duration::from_secs(2), &late);
        schedule.add(start + Duration::from_secs(1), &early);
        let place = schedule.add(start + Duration::from_secs(1), &cancelled);

        schedule.cancel(Some(place));

        assert!(schedule.next_due(start).is_none());
        let end = start + Duration::from_secs(2);
        let due: Vec<_> = std::iter::from_fn(|| schedule.next_due(end)).collect();
        assert_eq!(due.len(), 2);
        assert!(Arc::ptr_eq(&due[0], &early) && Arc::ptr_eq(&due[1], &late));
        assert!(schedule.first().is_none());
    }
}
