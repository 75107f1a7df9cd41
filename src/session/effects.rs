//! What has to follow a decision: facts to keep, and drops to count.

use crate::change::Recorded;

/// Why a message did not reach a Session or its client. Each has a counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DropReason {
    /// QoS 0 for a client that is away.
    Offline,
    /// QoS 0 for a client that does not read fast enough.
    OutboundFull,
    /// QoS 1 or 2, and the Session owed all it may: the message that came, or older ones for it.
    QueueFull,
    /// The process is over its memory budget: QoS 0 for a client with something unread, or, far
    /// over it, QoS 1 or 2 that would have to wait.
    MemoryFull,
    /// The store takes all the disk it may: QoS 1 or 2 that would have to wait in it.
    StoreFull,
    /// Larger than the client's Maximum Packet Size [MQTT-3.1.2-25].
    TooLarge,
    /// Its Message Expiry Interval passed in the queue [MQTT-3.3.2-5].
    Expired,
    /// The Session or the group that owed it ended.
    Ended,
    /// The store could not read it back.
    Damaged,
}

impl DropReason {
    pub const ALL: [Self; 9] = [
        Self::Offline,
        Self::OutboundFull,
        Self::QueueFull,
        Self::MemoryFull,
        Self::StoreFull,
        Self::TooLarge,
        Self::Expired,
        Self::Ended,
        Self::Damaged,
    ];
}

/// Filled by a Session, carried out by the shell above it and then emptied: one value serves a
/// worker for its lifetime, so that no decision allocates.
#[derive(Debug, Default)]
pub struct Effects {
    /// To be submitted while the Session's lock is held, in this order.
    pub changes: Vec<Recorded>,
    dropped: [u32; DropReason::ALL.len()],
}

impl Effects {
    pub fn drop_message(&mut self, reason: DropReason) {
        self.drop_messages(reason, 1);
    }

    pub fn drop_messages(&mut self, reason: DropReason, messages: usize) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count = count.saturating_add(u32::try_from(messages).unwrap_or(u32::MAX));
        }
    }

    /// How many were dropped for each reason since the last call.
    pub fn take_dropped(&mut self) -> impl Iterator<Item = (DropReason, u32)> + use<> {
        let dropped = std::mem::take(&mut self.dropped);
        DropReason::ALL.into_iter().zip(dropped).filter(|(_, count)| *count > 0)
    }

    /// Whether nothing was dropped: the usual case, worth one look.
    #[must_use]
    pub fn dropped_nothing(&self) -> bool {
        self.dropped.iter().all(|count| *count == 0)
    }
}
