//! What Sessions and groups weigh against the memory of the process.

use super::courier::Courier;
use super::slot::SlotState;
use crate::session::Session;

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
            message_bytes: session.bytes(),
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
