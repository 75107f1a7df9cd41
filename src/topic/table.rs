//! A hash table that grows piece by piece, so that no insert waits for a million others to move.
//!
//! A table that doubles at 900,000 entries stands still for 70 ms, under a lock that every PUBLISH
//! needs. This one is split in 64, of which each doubles when it is its turn.
#![expect(
    clippy::indexing_slicing,
    reason = "a part's number is a remainder of how many there are"
)]

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use ahash::RandomState;

const PARTS: u8 = 64;

/// Values by keys, which a client may have chosen.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    /// Keyed per process, and not what the parts use within.
    hasher: RandomState,
    parts: Box<[HashMap<K, V, RandomState>; PARTS as usize]>,
}

impl<K: Eq + Hash, V> Table<K, V> {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            parts: Box::new(std::array::from_fn(|_| HashMap::default())),
        }
    }

    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.parts[self.part(key)].get(key)
    }

    pub(super) fn get_key_value<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.parts[self.part(key)].get_key_value(key)
    }

    pub(super) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.parts[self.part(key)].get_mut(key)
    }

    pub(super) fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.parts[self.part(&key)].entry(key).or_default()
    }

    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.parts[self.part(&key)].insert(key, value)
    }

    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let part = &mut self.parts[self.part(key)];
        let value = part.remove(key);
        if part.is_empty() {
            // Gives the memory back.
            *part = HashMap::default();
        }
        value
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(HashMap::len).sum()
    }

    fn part<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        let [byte, ..] = self.hasher.hash_one(key).to_le_bytes();
        usize::from(byte % PARTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inserted_is_found_counted_and_removed() {
        let mut table = Table::new();
        for key in 0..1_000 {
            assert_eq!(table.insert(key, 'a'), None);
            assert_eq!(table.insert(key, 'b'), Some('a'));
        }

        assert_eq!(table.len(), 1_000);
        assert_eq!(table.get_key_value(&7), Some((&7, &'b')));
        for key in 0..1_000 {
            assert_eq!(table.remove(&key), Some('b'));
            assert_eq!(table.remove(&key), None);
        }
        assert_eq!(table.len(), 0);
        assert!(table.parts.iter().all(|part| part.capacity() == 0));
    }

    #[test]
    fn keys_are_spread_over_the_parts() {
        let mut table = Table::new();
        for key in 0..64_000 {
            table.insert(key, ());
        }

        assert!(table.parts.iter().all(|part| (500..1_500).contains(&part.len())));
    }
}
