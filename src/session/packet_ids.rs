//! Packet Identifiers for what the server sends [MQTT-2.2.1-4].

use crate::packet::PacketId;

/// One bit for each Packet Identifier, and one for 0, which is none.
const WORDS: usize = 65_536 / 64;

/// Hands out Packet Identifiers in turn, past those still in use.
///
/// Looking through the window for each new one would cost more than the rest of a delivery, so the
/// next run of free ones is looked up once and then counted down. A client that releases nothing
/// can have tens of thousands in use, so one look-up has to find a run however many stand before
/// it.
#[derive(Debug)]
pub(super) struct PacketIds {
    last: u16,
    /// How many after `last` are known to be free.
    free: u16,
}

impl PacketIds {
    /// None is in use, and the first will be the one after `last`.
    pub(super) const fn new(last: u16) -> Self {
        Self { last, free: u16::MAX }
    }

    /// The same while some are in use.
    pub(super) const fn past(last: u16) -> Self {
        Self { last, free: 0 }
    }

    /// The next one that is not among `used`. `None` if all 65,535 are.
    pub(super) fn next(&mut self, used: impl Iterator<Item = PacketId>) -> Option<PacketId> {
        if self.free == 0 {
            self.find_run(used)?;
        }
        self.free -= 1;
        self.last = after(self.last);
        PacketId::new(self.last)
    }

    /// Moves to before the next run of free identifiers. `None` if there is none.
    fn find_run(&mut self, used: impl Iterator<Item = PacketId>) -> Option<()> {
        let mut taken = [0_u64; WORDS];
        for id in used {
            let id = usize::from(id.value());
            if let Some(word) = taken.get_mut(id / 64) {
                *word |= 1 << (id % 64);
            }
        }
        let is_free = |id: u16| {
            let id = usize::from(id);
            taken.get(id / 64).is_some_and(|word| word & (1 << (id % 64)) == 0)
        };
        for _ in 0..u16::MAX {
            if is_free(after(self.last)) {
                break;
            }
            self.last = after(self.last);
        }
        let mut end = self.last;
        while self.free < u16::MAX && is_free(after(end)) {
            end = after(end);
            self.free += 1;
        }
        (self.free > 0).then_some(())
    }
}

/// Identifiers run in a ring of 65,535, without 0.
fn after(id: u16) -> u16 {
    id.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(values: &[u16]) -> Vec<PacketId> {
        values.iter().filter_map(|value| PacketId::new(*value)).collect()
    }

    #[test]
    fn identifiers_go_round_past_those_in_use() {
        let mut packet_ids = PacketIds::new(0);
        let used = ids(&[1, 3, 65_535]);
        for _ in 0..65_534 {
            packet_ids.next(std::iter::empty());
        }

        let next: Vec<_> = (0..3)
            .filter_map(|_| packet_ids.next(used.iter().copied()))
            .map(PacketId::value)
            .collect();

        // 65,535 was still counted as free when it was measured without `used`.
        assert_eq!(next, [65_535, 2, 4]);
    }

    #[test]
    fn while_none_is_in_use_identifiers_go_round_from_1() {
        let mut packet_ids = PacketIds::new(0);

        for round in 0..3 {
            for value in 1..=u16::MAX {
                let next = packet_ids.next(std::iter::empty());
                assert_eq!(next, PacketId::new(value), "in round {round}");
            }
        }
    }

    #[test]
    fn a_full_ring_has_no_next() {
        let used: Vec<_> = (1..=u16::MAX).filter_map(PacketId::new).collect();
        let mut packet_ids = PacketIds { last: 7, free: 0 };

        assert_eq!(packet_ids.next(used.iter().copied()), None);
    }

    // A client that never sends PUBCOMP fills the ring, connection by connection.
    #[test]
    fn a_crowded_ring_is_looked_through_once() {
        let used: Vec<_> = (1..=65_000).filter_map(PacketId::new).collect();
        let mut packet_ids = PacketIds { last: 65_535, free: 0 };
        let looks = std::cell::Cell::new(0);

        let next = packet_ids.next(used.iter().copied().inspect(|_| looks.set(looks.get() + 1)));

        assert_eq!(next, PacketId::new(65_001));
        assert_eq!(looks.get(), 65_000);
    }

    #[test]
    fn the_only_free_identifier_is_found() {
        let used: Vec<_> = (1..=u16::MAX).filter(|id| *id != 9).filter_map(PacketId::new).collect();
        let mut packet_ids = PacketIds { last: 9, free: 0 };

        assert_eq!(packet_ids.next(used.iter().copied()), PacketId::new(9));
    }
}
