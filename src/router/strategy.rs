//! Which member of a group gets a message, and whether it has lanes of its own.

use ahash::RandomState;

use super::slot::Slot;

/// Lanes of a group that keeps an order for each key.
const LANES: usize = 256;

/// Which member of a group gets a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strategy {
    /// Who has the fewest unacknowledged messages.
    LeastInflight,
    /// Each in turn.
    RoundRobin,
    /// Always the same for a topic, while the members stay.
    HashTopic,
    /// Always the same for a publisher, while the members stay.
    HashPublisher,
    /// One, until it leaves.
    Sticky,
}

impl Strategy {
    /// Whether a lane belongs to one member.
    pub(super) fn has_owners(self) -> bool {
        match self {
            Self::LeastInflight | Self::RoundRobin => false,
            Self::HashTopic | Self::HashPublisher | Self::Sticky => true,
        }
    }

    /// What a member weighs for a lane, which belongs to the heaviest: so one who comes or goes moves
    /// his own lanes only.
    pub(super) fn weight(self, hasher: &RandomState, lane: usize, slot: &Slot) -> u64 {
        match self {
            Self::HashTopic | Self::HashPublisher => {
                hasher.hash_one((lane, slot.client_id().as_str()))
            }
            Self::LeastInflight | Self::RoundRobin | Self::Sticky => 0,
        }
    }

    pub(super) fn lanes(self) -> usize {
        match self {
            Self::LeastInflight | Self::RoundRobin | Self::Sticky => 1,
            Self::HashTopic | Self::HashPublisher => LANES,
        }
    }
}
