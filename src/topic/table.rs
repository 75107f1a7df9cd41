//! A hash table that grows piece by piece, and knows without a look at its rows what it has not.
//!
//! ```text
//!        part      group of 32 places, 2 bytes each: one line of the processor's cache
//! hash --> 0 .. 63 --> 3f07 a512 free ..
//!                      `-- says which row may be the key's
//! ```
//!
//! A table that doubles at 900,000 entries stands still for 70 ms, under a lock that every PUBLISH
//! needs. This one is split in 64, of which each doubles when it is its turn.
//!
//! Most topics that are looked up are no filter. A `HashMap` has 7 bits of each hash beside its
//! rows, so a tenth of those topics is compared with a wrong row and its text, both far away in
//! memory: of the time in which 1,000,000 filters were matched that was a quarter. Here it is one
//! in a thousand.
#![expect(
    clippy::indexing_slicing,
    reason = "a part's number is a remainder of how many there are, a group's and a place's too"
)]

use std::borrow::Borrow;
use std::hash::Hash;
use std::mem;

use ahash::RandomState;

const PARTS: usize = 64;

/// Places of a group.
const GROUP: usize = 32;

/// Nothing was ever put here, or nothing further.
const FREE: u16 = 0;

/// What was here is gone, but a search goes on behind it.
const GONE: u16 = 1;

/// Values by keys, which a client may have chosen.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    /// Keyed per process.
    hasher: RandomState,
    parts: Box<[Part<K, V>; PARTS]>,
}

#[derive(Debug)]
struct Part<K, V> {
    /// None, or a power of two of them.
    groups: Vec<Tags>,
    /// For each group as many as it has places.
    rows: Vec<Option<(K, V)>>,
    len: usize,
    /// Places that are not `FREE`: at most 7 of 8, so that every search ends.
    used: usize,
}

/// What is in the places of a group: `FREE`, `GONE`, or a part of the hash of the row's key.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Tags([u16; GROUP]);

/// A key's hash, whose ends say different things.
#[derive(Clone, Copy)]
struct Hashed(u64);

impl<K: Eq + Hash, V> Table<K, V> {
    pub(super) fn new() -> Self {
        let parts = Box::new(std::array::from_fn(|_| Part::new()));
        Self { hasher: RandomState::new(), parts }
    }

    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_key_value(key).map(|(_, value)| value)
    }

    pub(super) fn get_key_value<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let hash = self.hash(key);
        let part = &self.parts[hash.part()];
        let (key, value) = part.rows[part.find(hash, key)?].as_ref()?;
        Some((key, value))
    }

    pub(super) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hash(key);
        let part = &mut self.parts[hash.part()];
        let place = part.find(hash, key)?;
        part.rows[place].as_mut().map(|(_, value)| value)
    }

    pub(super) fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let hash = self.hash(&key);
        let part = &mut self.parts[hash.part()];
        let place = match part.find(hash, &key) {
            Some(place) => place,
            None => part.take_place(hash, &self.hasher),
        };
        let (_, value) = part.rows[place].get_or_insert_with(|| (key, V::default()));
        value
    }

    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = self.hash(&key);
        let part = &mut self.parts[hash.part()];
        if let Some(place) = part.find(hash, &key) {
            return part.rows[place].as_mut().map(|(_, old)| mem::replace(old, value));
        }
        let place = part.take_place(hash, &self.hasher);
        part.rows[place] = Some((key, value));
        None
    }

    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hash(key);
        let part = &mut self.parts[hash.part()];
        let place = part.find(hash, key)?;
        let (_, value) = part.remove(place)?;
        if part.len == 0 {
            // Gives the memory back.
            *part = Part::new();
        }
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len).sum()
    }

    fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> Hashed {
        Hashed(self.hasher.hash_one(key))
    }
}

impl<K: Eq + Hash, V> Part<K, V> {
    const fn new() -> Self {
        Self { groups: Vec::new(), rows: Vec::new(), len: 0, used: 0 }
    }

    /// The place of a key's row.
    fn find<Q: Eq + Hash + ?Sized>(&self, hash: Hashed, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        let last = self.groups.len().checked_sub(1)?;
        let mut group = hash.group() & last;
        loop {
            let tags = &self.groups[group];
            if tags.has(hash.tag())
                && let Some(place) = (group * GROUP..).zip(&tags.0).find_map(|(place, tag)| {
                    let row = (*tag == hash.tag()).then(|| self.rows[place].as_ref());
                    row.flatten().is_some_and(|(other, _)| other.borrow() == key).then_some(place)
                })
            {
                return Some(place);
            }
            if tags.has(FREE) {
                return None;
            }
            group = (group + 1) & last;
        }
    }

    /// A place for the row of a key that has none yet.
    fn take_place(&mut self, hash: Hashed, hasher: &RandomState) -> usize {
        if (self.used + 1) * 8 > self.rows.len() * 7 {
            self.grow(hasher);
        }
        let last = self.groups.len() - 1;
        let mut group = hash.group() & last;
        loop {
            let mut tags = self.groups[group].0.iter_mut();
            if let Some((at, tag)) = tags.by_ref().enumerate().find(|(_, tag)| **tag <= GONE) {
                self.used += usize::from(*tag == FREE);
                self.len += 1;
                *tag = hash.tag();
                return group * GROUP + at;
            }
            group = (group + 1) & last;
        }
    }

    /// Makes all places that are `GONE` free again, and if that is not much, twice as many of them.
    fn grow(&mut self, hasher: &RandomState) {
        let groups = self.groups.len();
        let groups = if self.len * 2 >= self.rows.len() { (groups * 2).max(1) } else { groups };
        let rows = mem::take(&mut self.rows);
        *self = Self::new();
        self.groups.resize(groups, Tags([FREE; GROUP]));
        self.rows.resize_with(groups * GROUP, || None);
        for (key, value) in rows.into_iter().flatten() {
            let place = self.take_place(Hashed(hasher.hash_one(&key)), hasher);
            self.rows[place] = Some((key, value));
        }
    }

    fn remove(&mut self, place: usize) -> Option<(K, V)> {
        let row = self.rows[place].take()?;
        let tags = &mut self.groups[place / GROUP];
        // No search ever went on behind a group that has a place left.
        let has_free = tags.has(FREE);
        tags.0[place % GROUP] = if has_free { FREE } else { GONE };
        self.used -= usize::from(has_free);
        self.len -= 1;
        Some(row)
    }
}

impl Tags {
    /// Without an early exit the loop is vectorised.
    fn has(&self, tag: u16) -> bool {
        self.0.iter().fold(false, |found, &other| found | (other == tag))
    }
}

impl Hashed {
    fn part(self) -> usize {
        let [byte, ..] = self.0.to_le_bytes();
        usize::from(byte) % PARTS
    }

    /// To be cut to how many there are.
    fn group(self) -> usize {
        let [_, a, b, c, d, ..] = self.0.to_le_bytes();
        u32::from_le_bytes([a, b, c, d]) as usize
    }

    /// Neither `FREE` nor `GONE`.
    fn tag(self) -> u16 {
        let [.., a, b] = self.0.to_le_bytes();
        u16::from_le_bytes([a, b]) | 2
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
        assert!(table.parts.iter().all(|part| part.rows.capacity() == 0));
    }

    #[test]
    fn keys_are_spread_over_the_parts() {
        let mut table = Table::new();
        for key in 0..64_000 {
            table.insert(key, ());
        }

        assert!(table.parts.iter().all(|part| (500..1_500).contains(&part.len)));
    }

    #[test]
    fn keys_that_come_and_go_need_no_more_places_than_those_that_are_there() {
        let mut table = Table::new();
        for key in 0..100_000 {
            table.insert(key, key);
            if key >= 1_000 {
                assert_eq!(table.remove(&(key - 1_000)), Some(key - 1_000));
            }
        }

        assert_eq!(table.len(), 1_000);
        for key in 98_000..100_000 {
            assert_eq!(table.get(&key), (key >= 99_000).then_some(&key));
        }
        assert!(table.parts.iter().all(|part| part.rows.len() <= 4 * GROUP));
        for part in table.parts.iter() {
            let tags = part.groups.iter().flat_map(|tags| tags.0);
            assert_eq!(tags.filter(|tag| *tag != FREE).count(), part.used);
        }
    }

    /// Two groups, and keys with this hash.
    fn part(hash: Hashed, keys: std::ops::Range<u32>) -> Part<u32, ()> {
        let mut part = Part::new();
        part.groups = vec![Tags([FREE; GROUP]); 2];
        part.rows.resize_with(2 * GROUP, || None);
        put(&mut part, hash, keys);
        part
    }

    fn put(part: &mut Part<u32, ()>, hash: Hashed, keys: std::ops::Range<u32>) {
        for key in keys {
            let place = part.take_place(hash, &RandomState::new());
            part.rows[place] = Some((key, ()));
        }
    }

    fn remove(part: &mut Part<u32, ()>, hash: Hashed, keys: impl Iterator<Item = u32>) {
        for key in keys {
            let place = part.find(hash, &key).unwrap();
            assert_eq!(part.remove(place), Some((key, ())));
        }
    }

    #[test]
    fn what_stands_behind_a_full_group_is_found_when_that_has_gaps() {
        let hash = Hashed(0);
        let mut part = part(hash, 0..50);

        remove(&mut part, hash, (0..50).step_by(2));

        assert!((0..50).all(|key| part.find(hash, &key).is_some() == (key % 2 == 1)));
        assert_eq!((part.len, part.used), (25, 25 + 16));
    }

    #[test]
    fn places_that_were_given_up_are_used_again() {
        let (hash, other) = (Hashed(0), Hashed(1 << 8));
        let mut part = part(hash, 0..32);
        remove(&mut part, hash, 0..32);

        put(&mut part, hash, 32..50);
        assert_eq!((part.len, part.used, part.rows.len()), (18, 32, 64));
        remove(&mut part, hash, 32..50);
        put(&mut part, other, 50..75);

        // The last one found no place that was free, and made the others so.
        assert_eq!((part.len, part.used, part.rows.len()), (25, 25, 64));
    }
}
