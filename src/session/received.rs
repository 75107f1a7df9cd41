//! Packet Identifiers of QoS 2 messages that came in and wait for their PUBREL.

use std::collections::HashSet;

use super::memory::RECEIVED_BYTES;
use crate::packet::PacketId;

/// Whether a QoS 2 PUBLISH is the first with its Packet Identifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receipt {
    /// To be routed.
    New,
    /// The same message again: answered, not routed [MQTT-4.3.3-10].
    Repeated,
}

/// Bounded by the 65,535 Packet Identifiers there are; a 5.0 client is held to its Receive Maximum
/// before it comes here. Allocated at the first QoS 2 message.
#[derive(Debug, Default)]
pub(super) struct Received {
    #[expect(clippy::box_collection, reason = "an idle Session holds one word instead of eight")]
    ids: Option<Box<HashSet<PacketId, ahash::RandomState>>>,
}

impl Received {
    pub(super) fn publish(&mut self, id: PacketId) -> Receipt {
        if self.ids.get_or_insert_default().insert(id) { Receipt::New } else { Receipt::Repeated }
    }

    /// What a store gave back.
    pub(super) fn restored(kept: Vec<PacketId>) -> Self {
        Self { ids: (!kept.is_empty()).then(|| Box::new(kept.into_iter().collect())) }
    }

    pub(super) fn contains(&self, id: PacketId) -> bool {
        self.ids.as_ref().is_some_and(|ids| ids.contains(&id))
    }

    /// Whether the identifier was known.
    pub(super) fn release(&mut self, id: PacketId) -> bool {
        self.ids.as_mut().is_some_and(|ids| ids.remove(&id))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.ids.as_ref().map_or(0, |ids| ids.capacity() * RECEIVED_BYTES)
    }

    pub(super) fn shrink(&mut self) {
        if self.ids.as_ref().is_some_and(|ids| ids.is_empty()) {
            self.ids = None;
        }
    }
}
