//! Client Identifier to slot.

use std::sync::Arc;

use dashmap::DashMap;

use super::slot::Slot;
use crate::packet::ClientId;

/// No guard of the map outlives a call, so none is ever held together with a slot.
#[derive(Debug, Default)]
pub(super) struct Registry {
    slots: DashMap<ClientId, Arc<Slot>, ahash::RandomState>,
}

impl Registry {
    /// The slot of a Client Identifier, made if there is none.
    pub(super) fn slot(&self, client_id: &ClientId) -> Arc<Slot> {
        let slot = self
            .slots
            .entry(client_id.clone())
            .or_insert_with(|| Arc::new(Slot::new(client_id.clone())));
        Arc::clone(&slot)
    }

    /// The slot of a Client Identifier, if there is one.
    pub(super) fn find(&self, client_id: &ClientId) -> Option<Arc<Slot>> {
        self.slots.get(client_id).map(|slot| Arc::clone(&slot))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Removes a slot whose Session ended, unless the place was given to another one meanwhile.
    pub(super) fn remove(&self, slot: &Arc<Slot>) {
        self.slots.remove_if(slot.client_id(), |_, current| Arc::ptr_eq(current, slot));
    }
}
