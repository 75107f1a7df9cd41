//! One Client Identifier's place: its Session and its connection, under one lock.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use super::link::{Flow, Link};
use super::schedule::Place;
use super::shared_subscription::Membership;
use super::standing::Standing;
use super::vital::Vital;
use crate::change::CommitNumber;
use crate::packet::ClientId;
use crate::session::Session;

/// A place that stays the same across reconnects, so that Subscriptions keep pointing at it.
#[derive(Debug)]
pub(super) struct Slot {
    client_id: ClientId,
    /// For its groups; kept up only while it is a member of one.
    pub(super) standing: Standing,
    state: Mutex<SlotState>,
}

#[derive(Debug)]
pub(super) struct SlotState {
    /// `None` once the Session ended: the slot is then removed and never used again.
    pub(super) session: Option<Session>,
    /// Which Session of this Client Identifier it is. Subscriptions of an earlier one are ignored.
    pub(super) incarnation: u64,
    /// Which connection. Whoever finds another one than his own touches nothing.
    pub(super) generation: u64,
    pub(super) link: Option<Link>,
    /// The last change that a client was or will be promised, on this connection or an earlier one.
    /// What it repeats must not leave before that is kept either.
    pub(super) promised: CommitNumber,
    pub(super) away_since: Option<Instant>,
    /// When the schedule looks at this slot next, so that it stands there once.
    pub(super) scheduled: Option<Box<Place>>,
    /// The groups whose messages it takes.
    pub(super) memberships: Box<[Membership]>,
}

/// What a connection may hold unwritten, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct OutboundLimits {
    /// While so much waits QoS 0 is dropped and QoS 1 and 2 wait in the queue.
    pub soft_bytes_max: usize,
    /// Beyond it nothing more is read from the client, whose answers could not be written.
    pub hard_bytes_max: usize,
}

/// A connection's hold on its Session: good until another connection takes over.
#[derive(Clone, Debug)]
pub struct Attachment {
    pub(super) slot: Arc<Slot>,
    pub(super) generation: u64,
}

impl Attachment {
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        self.slot.client_id()
    }
}

/// A slot as the key of its Subscriptions: the same place in memory.
#[derive(Clone, Debug)]
pub(super) struct SlotKey(pub(super) Arc<Slot>);

impl PartialEq for SlotKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SlotKey {}

impl Hash for SlotKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl Slot {
    /// A place for a Session that is about to begin.
    pub(super) fn new(client_id: ClientId) -> Self {
        let state = SlotState {
            session: None,
            incarnation: 0,
            generation: 0,
            link: None,
            promised: CommitNumber::NONE,
            away_since: None,
            scheduled: None,
            memberships: Box::default(),
        };
        Self { client_id, standing: Standing::default(), state: Mutex::new(state) }
    }

    pub(super) fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    pub(super) fn lock(&self) -> Vital<MutexGuard<'_, SlotState>> {
        Vital(self.state.lock())
    }
}

impl SlotState {
    /// The Session ended and the slot is about to leave the registry.
    pub(super) fn is_over(&self) -> bool {
        self.session.is_none() && self.generation > 0
    }
}

impl Link {
    /// Marks the link as having something to write. Whether it has to go on a dirty list.
    pub(super) fn soil(&mut self) -> bool {
        if self.flow == Flow::Clean {
            self.flow = Flow::Dirty;
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Every client has one, and most of them do nothing: what few need is boxed.
    #[test]
    fn the_slot_of_an_idle_client_is_small() {
        assert!(size_of::<Slot>() <= 368, "{}", size_of::<Slot>());
    }
}
