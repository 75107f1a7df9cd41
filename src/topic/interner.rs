//! Levels as four-byte numbers, each text kept once and for as long as it is used.

use std::collections::HashMap;

use ahash::RandomState;
use smallvec::SmallVec;

use super::arena::Index;

/// The number of a level's text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Level(Index);

impl Level {
    pub(super) fn number(self) -> u32 {
        self.0.number()
    }
}

/// Levels by text, with how often each is used.
#[derive(Debug)]
pub(super) struct Interner {
    levels: HashMap<Text, Entry, RandomState>,
    /// How many numbers there are, and which of them no level has.
    numbers: usize,
    free: Vec<Level>,
}

/// Most levels are short and stay within the table.
type Text = SmallVec<[u8; 16]>;

#[derive(Debug)]
struct Entry {
    level: Level,
    uses: u32,
}

impl Interner {
    pub(super) fn new() -> Self {
        Self { levels: HashMap::default(), numbers: 0, free: Vec::new() }
    }

    pub(super) fn find(&self, text: &[u8]) -> Option<Level> {
        self.levels.get(text).map(|entry| entry.level)
    }

    /// Counts one more use of a level. `None` if all numbers are taken.
    pub(super) fn acquire(&mut self, text: &str) -> Option<Level> {
        if let Some(entry) = self.levels.get_mut(text.as_bytes()) {
            entry.uses = entry.uses.checked_add(1)?;
            return Some(entry.level);
        }
        let level = match self.free.pop() {
            Some(level) => level,
            None => {
                let level = Level(Index::at(self.numbers)?);
                self.numbers += 1;
                level
            }
        };
        self.levels.insert(Text::from_slice(text.as_bytes()), Entry { level, uses: 1 });
        Some(level)
    }

    /// Counts one use less, and forgets the level with its last one.
    pub(super) fn release(&mut self, text: &str) {
        let Some(entry) = self.levels.get_mut(text.as_bytes()) else {
            return;
        };
        entry.uses -= 1;
        if entry.uses > 0 {
            return;
        }
        if let Some(Entry { level, .. }) = self.levels.remove(text.as_bytes()) {
            self.free.push(level);
        }
        if self.levels.is_empty() {
            // Gives the memory back.
            *self = Self::new();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_has_one_number_until_its_last_use_is_released() {
        let mut interner = Interner::new();
        let long = "a level longer than what fits into the table";
        let first = interner.acquire(long);

        assert_eq!(interner.acquire(long), first);
        interner.release(long);
        assert_eq!(interner.find(long.as_bytes()), first);
        interner.release(long);
        assert_eq!(interner.find(long.as_bytes()), None);
        assert_eq!((interner.len(), interner.numbers), (0, 0));
    }

    #[test]
    fn numbers_are_used_again() {
        let mut interner = Interner::new();
        interner.acquire("kept");
        for number in 0..100 {
            let text = number.to_string();
            interner.acquire(&text);
            interner.release(&text);
        }

        assert_eq!((interner.len(), interner.numbers, interner.free.len()), (1, 2, 1));
    }

    #[test]
    fn different_levels_have_different_numbers() {
        let mut interner = Interner::new();

        assert_ne!(interner.acquire(""), interner.acquire("a"));
        assert_ne!(interner.acquire("a"), interner.acquire("A"));
    }
}
