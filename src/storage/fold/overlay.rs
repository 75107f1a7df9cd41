//! What is to be written: the last value of each key.

use std::collections::HashSet;
use std::collections::hash_map::Entry as Place;

use ahash::AHashMap;

use super::super::clock::Clock;
use super::super::engine::{Batch, EngineError};
use super::super::keys::{Key, SessionNumber};
use super::super::record::{self, Value};

/// Above this an empty overlay gives its memory back.
const KEYS_KEPT: usize = 16_384;

/// Whether a key is in the store already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InStore {
    /// It was never used before.
    Never,
    /// It may be: a delete has to be written.
    Maybe,
    Yes,
}

#[derive(Debug, Default)]
pub(super) struct Overlay {
    entries: AHashMap<Key, Entry>,
    key: Vec<u8>,
    value: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    /// `None` deletes it.
    value: Option<Value>,
    in_store: InStore,
}

impl Overlay {
    /// `in_store` is what holds if the key is not in here.
    pub(super) fn put(&mut self, key: Key, value: Value, in_store: InStore) {
        match self.entries.entry(key) {
            Place::Occupied(mut place) => place.get_mut().value = Some(value),
            Place::Vacant(place) => {
                place.insert(Entry { value: Some(value), in_store });
            }
        }
    }

    /// Whether it is, or may be, in the store.
    pub(super) fn delete(&mut self, key: Key, in_store: InStore) -> InStore {
        match self.entries.entry(key) {
            Place::Occupied(place) if place.get().in_store == InStore::Never => {
                place.remove();
                InStore::Never
            }
            Place::Occupied(mut place) => {
                place.get_mut().value = None;
                InStore::Yes
            }
            Place::Vacant(place) => {
                place.insert(Entry { value: None, in_store });
                InStore::Yes
            }
        }
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = (&Key, &mut Value)> {
        self.entries.iter_mut().filter_map(|(key, entry)| Some((key, entry.value.as_mut()?)))
    }

    /// Nothing of these Sessions is wanted any more: who removes what they have in the store finds
    /// it there.
    pub(super) fn drop_all_of(&mut self, sessions: &HashSet<SessionNumber, ahash::RandomState>) {
        if !sessions.is_empty() {
            self.entries
                .retain(|key, _| !key.session().is_some_and(|session| sessions.contains(&session)));
        }
    }

    pub(super) fn write_to(
        &mut self,
        clock: &Clock,
        batch: &mut Batch<'_>,
    ) -> Result<(), EngineError> {
        let Self { entries, key: key_bytes, value: value_bytes } = self;
        for (key, entry) in entries {
            let family = key.family();
            key_bytes.clear();
            key.write_to(key_bytes);
            if let Some(value) = &entry.value {
                value_bytes.clear();
                record::encode(family, key_bytes, value, clock, value_bytes);
                batch.put(family, key_bytes, value_bytes)?;
            } else {
                batch.delete(family, key_bytes)?;
            }
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn clear(&mut self) {
        if self.entries.capacity() > KEYS_KEPT {
            *self = Self::default();
        } else {
            self.entries.clear();
        }
    }

    /// Writing failed, so nobody knows.
    pub(super) fn assume_in_store(&mut self) {
        for entry in self.entries.values_mut() {
            entry.in_store = InStore::Maybe;
        }
    }
}
