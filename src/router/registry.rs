//! Client Identifier to slot.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use dashmap::{DashMap, Entry};

use super::slot::Slot;
use crate::packet::ClientId;

/// No guard of the map outlives a call, so none is ever held together with a slot.
#[derive(Debug, Default)]
pub(super) struct Registry {
    slots: DashMap<Named, (), ahash::RandomState>,
}

/// A slot as it is looked up: by the Client Identifier in it, so that an entry is one word.
#[derive(Debug)]
struct Named(Arc<Slot>);

impl Borrow<ClientId> for Named {
    fn borrow(&self) -> &ClientId {
        self.0.client_id()
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.client_id() == other.0.client_id()
    }
}

impl Eq for Named {}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.client_id().hash(state);
    }
}

impl Registry {
    /// The slot of a Client Identifier, made if there is none.
    pub(super) fn slot(&self, client_id: &ClientId) -> Arc<Slot> {
        if let Some(slot) = self.find(client_id) {
            return slot;
        }
        // Another connection may have made one meanwhile.
        match self.slots.entry(Named(Arc::new(Slot::new(client_id.clone())))) {
            Entry::Occupied(known) => Arc::clone(&known.key().0),
            Entry::Vacant(place) => {
                let slot = Arc::clone(&place.key().0);
                place.insert(());
                slot
            }
        }
    }

    /// The slot of a Client Identifier, if there is one.
    pub(super) fn find(&self, client_id: &ClientId) -> Option<Arc<Slot>> {
        self.slots.get(client_id).map(|known| Arc::clone(&known.key().0))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Removes a slot whose Session ended, unless the place was given to another one meanwhile.
    pub(super) fn remove(&self, slot: &Arc<Slot>) {
        self.slots.remove_if(slot.client_id(), |current, ()| Arc::ptr_eq(&current.0, slot));
    }
}
