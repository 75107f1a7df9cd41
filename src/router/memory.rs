//! What Sessions weigh against the memory of the process.

use super::courier::Courier;
use super::slot::SlotState;
use crate::session::Session;

/// What one Session is accounted with, in bytes.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Weight {
    messages: usize,
    state: usize,
}

impl Weight {
    pub(super) fn of(session: &Session) -> Self {
        Self { messages: session.bytes(), state: session.state_bytes() }
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
        self.counters.session_bytes.change(before.messages, now.messages);
        self.counters.session_state_bytes.change(before.state, now.state);
    }
}
