//! What a Session and its connection weigh in memory: messages as they are accounted, everything
//! else a client can make grow by an estimate for each entry.
//!
//! The estimates are on the large side of what was measured, allocator included; they bound the
//! process, so too much is better than too little.

use super::queue::STORED_BYTES;
use super::receive::Connection;
use super::state::Session;
use super::will::Will;
use crate::packet::ClientId;
use crate::topic::{SubscriptionFilter, TopicName};

/// A Session with nothing in it: the value, its slot and its place in the registry. Measured by
/// `VmRSS` over 20,000 of them: 781.
const SESSION_BYTES: usize = 1_024;

/// A Subscription beside its text: in the Session and in the subscription tree. Measured over
/// 1,000,000 of them, a tenth with wildcards, their 53 bytes of text included: 159. Tables that
/// have just doubled hold up to twice as much.
const SUBSCRIPTION_BYTES: usize = 384;

/// Retained Messages still to be sent for a Subscription: where the replay is.
const REPLAY_BYTES: usize = 192;

/// A Packet Identifier of ours that waits for its PUBCOMP. One whose message is still held is
/// accounted with that.
pub(super) const RELEASED_BYTES: usize = 96;

/// A Packet Identifier of the client that waits for its PUBREL.
pub(super) const RECEIVED_BYTES: usize = 4;

/// A Will beside its message.
const WILL_BYTES: usize = 64;

/// A topic a Topic Alias stands for, beside its text.
const ALIAS_BYTES: usize = 64;

/// A Topic Alias that the server may set, whether it does or not: the topic it keeps alive and what is
/// counted of topics without one.
const ALIAS_OUT_BYTES: usize = 512;

pub(super) fn of_new_session(client_id: &ClientId) -> usize {
    // Twice: in the Session and in the registry.
    SESSION_BYTES + 2 * client_id.as_str().len()
}

pub(super) fn of_subscription(filter: &SubscriptionFilter) -> usize {
    // Twice: whole in the Session, by levels in the tree.
    SUBSCRIPTION_BYTES + 2 * filter.filter.as_str().len()
}

pub(super) fn of_will(will: Option<&Will>) -> usize {
    will.map_or(0, |will| WILL_BYTES + will.message.bytes())
}

pub(super) fn of_alias(topic: &TopicName) -> usize {
    ALIAS_BYTES + topic.as_str().len()
}

impl Session {
    /// All that the Session holds beside [`Self::loaded_bytes`], in bytes as they are accounted.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        let released = self.outgoing.as_ref().map_or(0, |outgoing| outgoing.inflight.released());
        let replays = self.replays.len() * REPLAY_BYTES;
        let received = self.received.memory_bytes();
        let stored = self.stored_messages() * STORED_BYTES;
        self.lasting_bytes + released * RELEASED_BYTES + replays + received + stored
    }
}

impl Connection {
    /// What the client made its connection hold beside packets, in bytes as they are accounted.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.topic_bytes() + self.aliases.bytes() + self.aliases_out() * ALIAS_OUT_BYTES
    }
}
