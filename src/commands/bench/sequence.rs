//! Which numbers of a sequence have come: what is lost, what came twice, what came late.

use std::ops::Range;

/// Gaps that are remembered in case what is missing comes late. Of an older gap it stays lost, and
/// what comes of it after all is taken for a repetition.
const GAPS_MAX: usize = 1_024;

/// What one subscriber, or all members of a group together, have of one sequence 0, 1, 2 and so on.
#[derive(Clone, Debug, Default)]
pub(super) struct Sequence {
    next: u64,
    gaps: Vec<Range<u64>>,
    /// Missing, and in no gap any more.
    forgotten: u64,
}

/// What a number is to those that came before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// Greater than all of them, with so many missing in between.
    Next {
        skipped: u64,
    },
    /// One that was missing.
    Late,
    Repeated,
}

impl Sequence {
    #[inline]
    pub(super) fn see(&mut self, number: u64) -> Seen {
        if number < self.next {
            return self.fill(number);
        }
        let skipped = number - self.next;
        if skipped > 0 {
            self.skip(self.next..number);
        }
        self.next = number + 1;
        Seen::Next { skipped }
    }

    /// How many of the first `count` numbers have not come.
    pub(super) fn lost(&self, count: u64) -> u64 {
        let missing: u64 = self.gaps.iter().map(|gap| gap.end - gap.start).sum();
        missing + self.forgotten + count.saturating_sub(self.next)
    }

    fn skip(&mut self, gap: Range<u64>) {
        if self.gaps.len() == GAPS_MAX {
            let oldest = self.gaps.remove(0);
            self.forgotten += oldest.end - oldest.start;
        }
        self.gaps.push(gap);
    }

    fn fill(&mut self, number: u64) -> Seen {
        let Some(at) = self.gaps.iter().position(|gap| gap.contains(&number)) else {
            return Seen::Repeated;
        };
        let gap = self.gaps.remove(at);
        for part in [number + 1..gap.end, gap.start..number] {
            if !part.is_empty() {
                self.gaps.insert(at, part);
            }
        }
        Seen::Late
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_in_order_skip_nothing() {
        let mut sequence = Sequence::default();

        let seen: Vec<_> = (0..4).map(|number| sequence.see(number)).collect();

        assert_eq!(seen, [Seen::Next { skipped: 0 }; 4]);
        assert_eq!((sequence.lost(4), sequence.lost(6)), (0, 2));
    }

    #[test]
    fn what_was_skipped_is_lost_until_it_comes_late() {
        let mut sequence = Sequence::default();

        assert_eq!(sequence.see(5), Seen::Next { skipped: 5 });
        assert_eq!(sequence.lost(6), 5);
        assert_eq!(sequence.see(2), Seen::Late);
        assert_eq!(sequence.see(2), Seen::Repeated);
        assert_eq!(sequence.lost(6), 4);
    }

    #[test]
    fn what_comes_again_is_repeated_and_changes_nothing() {
        let mut sequence = Sequence::default();
        sequence.see(0);

        assert_eq!(sequence.see(0), Seen::Repeated);
        assert_eq!(sequence.see(1), Seen::Next { skipped: 0 });
        assert_eq!(sequence.lost(2), 0);
    }

    #[test]
    fn a_forgotten_gap_stays_lost() {
        let mut sequence = Sequence::default();
        for number in 0..=GAPS_MAX as u64 {
            sequence.see(2 * number + 1);
        }

        assert_eq!(sequence.see(0), Seen::Repeated);
        assert_eq!(sequence.see(2), Seen::Late);
        assert_eq!(sequence.lost(0), GAPS_MAX as u64);
    }

    proptest! {
        #[test]
        fn each_number_counts_once_however_they_come(
            numbers in prop::collection::vec(0_u64..100, 0..300)
        ) {
            let mut sequence = Sequence::default();
            let mut naive = std::collections::BTreeSet::new();
            for number in numbers {
                let greatest = naive.last().is_none_or(|last| number > *last);
                let seen = sequence.see(number);

                prop_assert_eq!(matches!(seen, Seen::Next { .. }), greatest);
                prop_assert_eq!(seen != Seen::Repeated, naive.insert(number));
                prop_assert_eq!(sequence.lost(100), 100 - naive.len() as u64);
            }
        }
    }
}
