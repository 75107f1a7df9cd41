//! Values addressed by a four-byte index, whose places are used again.

use std::num::NonZeroU32;

/// A place in an `Arena`. `Option<Index>` has four bytes as well.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Index(NonZeroU32);

/// Places for values, the free ones in a list through the places themselves.
#[derive(Debug)]
pub(super) struct Arena<T> {
    places: Vec<Place<T>>,
    free: Option<Index>,
    len: usize,
}

#[derive(Debug)]
enum Place<T> {
    Used(T),
    Free { next: Option<Index> },
}

impl<T> Arena<T> {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), free: None, len: 0 }
    }

    /// `None` if every index is taken, which needs more than 4,294,967,294 values.
    pub(super) fn insert(&mut self, value: T) -> Option<Index> {
        let index = match self.free {
            Some(index) => {
                let place = self.places.get_mut(index.position())?;
                if let Place::Free { next } = place {
                    self.free = *next;
                }
                *place = Place::Used(value);
                index
            }
            None => {
                let index = Index::at(self.places.len())?;
                self.places.push(Place::Used(value));
                index
            }
        };
        self.len += 1;
        Some(index)
    }

    pub(super) fn remove(&mut self, index: Index) -> Option<T> {
        let place = self.places.get_mut(index.position())?;
        let value = match std::mem::replace(place, Place::Free { next: self.free }) {
            Place::Used(value) => value,
            free @ Place::Free { .. } => {
                *place = free;
                return None;
            }
        };
        self.free = Some(index);
        self.len -= 1;
        if self.len == 0 {
            // Gives the memory back.
            *self = Self::new();
        }
        Some(value)
    }

    pub(super) fn get(&self, index: Index) -> Option<&T> {
        match self.places.get(index.position())? {
            Place::Used(value) => Some(value),
            Place::Free { .. } => None,
        }
    }

    pub(super) fn get_mut(&mut self, index: Index) -> Option<&mut T> {
        match self.places.get_mut(index.position())? {
            Place::Used(value) => Some(value),
            Place::Free { .. } => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Index {
    /// Counts from one, so that zero is left for `None`.
    pub(super) fn at(position: usize) -> Option<Self> {
        NonZeroU32::new(u32::try_from(position).ok()?.checked_add(1)?).map(Self)
    }

    /// Not zero.
    pub(super) fn number(self) -> u32 {
        self.0.get()
    }

    fn position(self) -> usize {
        // Lossless on every machine with 32 bits or more; the subtraction cannot wrap.
        usize::try_from(self.0.get() - 1).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_until_it_is_removed() {
        let mut arena = Arena::new();
        let a = arena.insert('a').unwrap();
        let b = arena.insert('b').unwrap();

        assert_eq!(arena.remove(a), Some('a'));
        assert_eq!((arena.get(a), arena.get(b)), (None, Some(&'b')));
        assert_eq!(arena.remove(a), None);
        assert_eq!(arena.len(), 1);
    }

    #[test]
    fn freed_places_are_used_again() {
        let mut arena = Arena::new();
        let kept = arena.insert(0).unwrap();
        let indexes: Vec<_> = (1..100).filter_map(|value| arena.insert(value)).collect();
        for &index in &indexes {
            arena.remove(index);
        }

        let mut again: Vec<_> = (1..100).filter_map(|value| arena.insert(value)).collect();

        again.sort_unstable();
        assert_eq!(again, indexes);
        assert_eq!(arena.get(kept), Some(&0));
    }

    #[test]
    fn an_optional_index_has_four_bytes() {
        assert_eq!(size_of::<Option<Index>>(), 4);
    }
}
