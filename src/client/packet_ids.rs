//! Packet Identifiers for what the client sends [MQTT-2.2.1-3].

use crate::packet::PacketId;

/// One bit for each Packet Identifier, and one for 0, which is none.
const WORDS: usize = 65_536 / 64;

/// Hands out Packet Identifiers in turn, past those still in use.
#[derive(Debug, Default)]
pub(super) struct PacketIds {
    /// Empty until the first one is asked for: who only publishes at QoS 0 needs none.
    used: Vec<u64>,
    count: u16,
    last: u16,
}

impl PacketIds {
    /// How many are in use.
    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// The next free one. `None` if all 65,535 are in use.
    pub(super) fn take(&mut self) -> Option<PacketId> {
        if self.count == u16::MAX {
            return None;
        }
        self.used.resize(WORDS, 0);
        loop {
            // They run in a ring of 65,535, without 0.
            self.last = self.last.checked_add(1).unwrap_or(1);
            let id = PacketId::new(self.last)?;
            let word = self.word(id)?;
            let bit = bit(id);
            if *word & bit == 0 {
                *word |= bit;
                self.count += 1;
                return Some(id);
            }
        }
    }

    /// Makes one free again; whether it was in use.
    pub(super) fn release(&mut self, id: PacketId) -> bool {
        let Some(word) = self.word(id) else { return false };
        let was_used = *word & bit(id) != 0;
        *word &= !bit(id);
        self.count -= u16::from(was_used);
        was_used
    }

    pub(super) fn is_used(&mut self, id: PacketId) -> bool {
        self.word(id).is_some_and(|word| *word & bit(id) != 0)
    }

    fn word(&mut self, id: PacketId) -> Option<&mut u64> {
        self.used.get_mut(usize::from(id.value()) / 64)
    }
}

fn bit(id: PacketId) -> u64 {
    1 << (id.value() % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_go_round_past_those_in_use() {
        let mut ids = PacketIds::default();
        let first = ids.take().unwrap();
        for _ in 1..u16::MAX {
            let id = ids.take().unwrap();
            assert!(ids.release(id));
        }

        let next = ids.take().unwrap();

        assert_eq!((first.value(), next.value()), (1, 2));
    }

    #[test]
    fn a_full_ring_has_no_next_until_one_is_released() {
        let mut ids = PacketIds::default();
        let all: Vec<_> = std::iter::from_fn(|| ids.take()).collect();
        let ninth = all[8];

        assert_eq!((all.len(), ids.count()), (65_535, 65_535));
        assert!(ids.release(ninth) && !ids.release(ninth));
        assert_eq!(ids.take(), Some(ninth));
    }
}
