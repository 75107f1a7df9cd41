//! Everybody subscribed to one Topic Filter, be it one or a hundred thousand.
//!
//! ```text
//! One    the entry itself, no allocation
//! Few    up to 64 entries in one chunk, searched from its start
//! Many   chunks that are full but for the last, and where each key stands
//! ```

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::slice;
use std::sync::Arc;

use ahash::RandomState;

const CHUNK_LEN_MAX: usize = 64;

/// Below this many a list gives up its index. Far from `CHUNK_LEN_MAX`, lest one subscriber who
/// comes and goes builds and drops it each time.
const INDEXED_LEN_MIN: usize = CHUNK_LEN_MAX / 2;

/// The subscribers of one Topic Filter, each with what the caller keeps with it.
#[derive(Debug)]
pub struct Subscribers<K, V>(Entries<K, V>);

/// Up to 64 subscribers in a row.
///
/// A chunk that someone else holds is copied before it is changed, so that a match can keep it.
#[derive(Clone, Debug)]
pub struct SubscriberChunk<K, V>(Vec<(K, V)>);

#[derive(Default, Debug)]
enum Entries<K, V> {
    #[default]
    Nobody,
    One(K, V),
    Few(Arc<SubscriberChunk<K, V>>),
    Many(Box<Many<K, V>>),
}

#[derive(Debug)]
struct Many<K, V> {
    chunks: Vec<Arc<SubscriberChunk<K, V>>>,
    /// Counted over all chunks.
    positions: HashMap<K, usize, RandomState>,
}

impl<K, V> Subscribers<K, V> {
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.only().into_iter().chain(self.chunks().iter().flat_map(|chunk| chunk.iter()))
    }

    /// The one subscriber, who is in no chunk; `None` if there are several.
    pub fn only(&self) -> Option<(&K, &V)> {
        match &self.0 {
            Entries::One(key, value) => Some((key, value)),
            Entries::Nobody | Entries::Few(_) | Entries::Many(_) => None,
        }
    }

    /// Several subscribers, for who wants to keep them: a chunk is shared by cloning its `Arc`.
    pub fn chunks(&self) -> &[Arc<SubscriberChunk<K, V>>] {
        match &self.0 {
            Entries::Nobody | Entries::One(..) => &[],
            Entries::Few(chunk) => slice::from_ref(chunk),
            Entries::Many(many) => &many.chunks,
        }
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Entries::Nobody => 0,
            Entries::One(..) => 1,
            Entries::Few(chunk) => chunk.len(),
            Entries::Many(many) => many.positions.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self.0, Entries::Nobody)
    }
}

impl<K, V> SubscriberChunk<K, V> {
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Subscribers<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        match &self.0 {
            Entries::Nobody => None,
            Entries::One(only, value) => (only == key).then_some(value),
            Entries::Few(chunk) => chunk.0.get(chunk.position(key)?).map(|(_, value)| value),
            Entries::Many(many) => many.get(key),
        }
    }

    /// The old value if the key was there.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (entries, old) = match mem::take(&mut self.0) {
            Entries::Nobody => (Entries::One(key, value), None),
            Entries::One(only, old) if only == key => (Entries::One(only, value), Some(old)),
            Entries::One(first, its) => (Entries::few(vec![(first, its), (key, value)]), None),
            Entries::Few(mut chunk) => match chunk.position(&key) {
                None if chunk.len() == CHUNK_LEN_MAX => {
                    let mut many = Many::new(chunk);
                    many.push(key, value);
                    (Entries::Many(Box::new(many)), None)
                }
                position => {
                    let old = Arc::make_mut(&mut chunk).put(position, key, value);
                    (Entries::Few(chunk), old)
                }
            },
            Entries::Many(mut many) => {
                let old = many.insert(key, value);
                (Entries::Many(many), old)
            }
        };
        self.0 = entries;
        old
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let (entries, old) = match mem::take(&mut self.0) {
            Entries::One(only, value) if only == *key => (Entries::Nobody, Some(value)),
            entries @ (Entries::Nobody | Entries::One(..)) => (entries, None),
            Entries::Few(mut chunk) => match chunk.position(key) {
                Some(position) => {
                    let (_, value) = Arc::make_mut(&mut chunk).0.swap_remove(position);
                    (Entries::of_chunk(chunk), Some(value))
                }
                None => (Entries::Few(chunk), None),
            },
            Entries::Many(mut many) => {
                let old = many.remove(key);
                (Entries::of_many(many), old)
            }
        };
        self.0 = entries;
        old
    }
}

impl<K, V> Default for Subscribers<K, V> {
    fn default() -> Self {
        Self(Entries::Nobody)
    }
}

impl<K: Clone, V: Clone> Entries<K, V> {
    fn few(entries: Vec<(K, V)>) -> Self {
        Self::Few(Arc::new(SubscriberChunk(entries)))
    }

    /// The smallest form of a chunk that has lost an entry.
    fn of_chunk(chunk: Arc<SubscriberChunk<K, V>>) -> Self {
        match chunk.0.as_slice() {
            [] => Self::Nobody,
            [(key, value)] => Self::One(key.clone(), value.clone()),
            _ => Self::Few(chunk),
        }
    }

    /// The smallest form of chunks that have lost an entry.
    fn of_many(mut many: Box<Many<K, V>>) -> Self {
        if many.positions.len() < INDEXED_LEN_MIN
            && let Some(chunk) = many.chunks.pop()
        {
            // So few are all in the first chunk.
            return Self::of_chunk(chunk);
        }
        Self::Many(many)
    }
}

impl<K: Eq, V> SubscriberChunk<K, V> {
    fn position(&self, key: &K) -> Option<usize> {
        self.0.iter().position(|(other, _)| other == key)
    }

    /// Replaces the value at a position, or adds an entry where there is none.
    fn put(&mut self, position: Option<usize>, key: K, value: V) -> Option<V> {
        match position.and_then(|position| self.0.get_mut(position)) {
            Some((_, old)) => Some(mem::replace(old, value)),
            None => {
                self.0.push((key, value));
                None
            }
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Many<K, V> {
    fn new(chunk: Arc<SubscriberChunk<K, V>>) -> Self {
        let keys = chunk.iter().map(|(key, _)| key.clone());
        let positions = keys.enumerate().map(|(position, key)| (key, position)).collect();
        Self { chunks: vec![chunk], positions }
    }

    fn get(&self, key: &K) -> Option<&V> {
        let &position = self.positions.get(key)?;
        let chunk = self.chunks.get(position / CHUNK_LEN_MAX)?;
        chunk.0.get(position % CHUNK_LEN_MAX).map(|(_, value)| value)
    }

    fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(&position) = self.positions.get(&key) {
            return self.entry_mut(position).map(|(_, old)| mem::replace(old, value));
        }
        self.push(key, value);
        None
    }

    fn push(&mut self, key: K, value: V) {
        self.positions.insert(key.clone(), self.positions.len());
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_LEN_MAX => Arc::make_mut(chunk).0.push((key, value)),
            Some(_) | None => self.chunks.push(Arc::new(SubscriberChunk(vec![(key, value)]))),
        }
    }

    /// Moves the last entry to where the removed one was, so that chunks stay full.
    fn remove(&mut self, key: &K) -> Option<V> {
        let hole = self.positions.remove(key)?;
        let (last_key, last_value) = self.pop()?;
        if hole == self.positions.len() {
            return Some(last_value);
        }
        let entry = self.entry_mut(hole)?;
        let (_, value) = mem::replace(entry, (last_key.clone(), last_value));
        self.positions.insert(last_key, hole);
        Some(value)
    }

    fn pop(&mut self) -> Option<(K, V)> {
        let chunk = Arc::make_mut(self.chunks.last_mut()?);
        let entry = chunk.0.pop();
        if chunk.is_empty() {
            self.chunks.pop();
        }
        entry
    }

    fn entry_mut(&mut self, position: usize) -> Option<&mut (K, V)> {
        let chunk = Arc::make_mut(self.chunks.get_mut(position / CHUNK_LEN_MAX)?);
        chunk.0.get_mut(position % CHUNK_LEN_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(keys: std::ops::Range<u32>) -> Subscribers<u32, char> {
        let mut subscribers = Subscribers::default();
        for key in keys {
            subscribers.insert(key, 'a');
        }
        subscribers
    }

    #[test]
    fn a_subscriber_is_found_at_every_size() {
        let mut subscribers = Subscribers::default();
        for key in 0..1_000_u32 {
            assert_eq!(subscribers.insert(key, key), None);
            assert_eq!(subscribers.len(), key as usize + 1);
            assert_eq!(subscribers.get(&(key / 2)), Some(&(key / 2)));
            assert_eq!(subscribers.get(&(key + 1)), None);
        }

        for key in 0..1_000 {
            assert_eq!(subscribers.remove(&key), Some(key));
            assert_eq!(subscribers.remove(&key), None);
            assert_eq!(subscribers.iter().count(), subscribers.len());
        }
        assert!(subscribers.is_empty());
    }

    #[test]
    fn a_second_insert_replaces_the_value_and_returns_the_old_one() {
        for size in [1, 2, 64, 65, 200] {
            let mut subscribers = of(0..size);

            assert_eq!(subscribers.insert(size / 2, 'b'), Some('a'));
            assert_eq!(subscribers.get(&(size / 2)), Some(&'b'));
            assert_eq!(subscribers.len(), size as usize);
        }
    }

    #[test]
    fn a_chunk_that_is_kept_does_not_see_later_changes() {
        let mut subscribers = of(0..200);
        let kept = subscribers.chunks().to_vec();

        subscribers.insert(0, 'b');
        subscribers.remove(&1);
        subscribers.insert(1_000, 'b');

        let seen = kept.iter().flat_map(|chunk| chunk.iter()).map(|(&key, &value)| (key, value));
        assert!(seen.eq((0..200).map(|key| (key, 'a'))));
    }

    #[test]
    fn only_the_chunks_that_change_are_copied() {
        let mut subscribers = of(0..640);
        let kept = subscribers.chunks().to_vec();

        subscribers.remove(&100);

        let chunks = subscribers.chunks();
        let shared = kept.iter().zip(chunks).filter(|(old, new)| Arc::ptr_eq(old, new)).count();
        assert_eq!(shared, 8);
    }

    #[test]
    fn chunks_stay_full_when_subscribers_leave() {
        let mut subscribers = of(0..640);
        for key in (0..640).step_by(2) {
            subscribers.remove(&key);
        }

        assert_eq!(subscribers.chunks().len(), 5);
        assert!(subscribers.chunks().iter().all(|chunk| chunk.len() == CHUNK_LEN_MAX));
    }

    #[test]
    fn one_subscriber_needs_no_allocation() {
        let mut subscribers = of(0..65);
        for key in 1..65 {
            subscribers.remove(&key);
        }

        assert!(matches!(subscribers.0, Entries::One(0, 'a')));
        assert!(size_of::<Subscribers<u64, u64>>() <= 24);
    }
}
