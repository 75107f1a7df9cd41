//! What a Session may grow to, as values: the configuration's limits as this room needs them.

use std::num::NonZeroU16;

use crate::change::SessionExpiry;
use crate::topic::TopicName;

/// Which message goes when a Session owes all it may. Either is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueWhenFull {
    /// The one that comes; a 5.0 publisher is told if nobody else took it.
    RefuseNewest,
    /// The oldest ones that still wait, as many as it takes; their publishers were told long ago
    /// that all is well. What is inflight stays.
    DropOldest,
}

/// All bounds of a Session and its connection. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// At the limit messages wait in the queue.
    pub inflight_max: NonZeroU16,
    /// Announced as Receive Maximum; a 5.0 client beyond it gets 0x93.
    pub receive_maximum: NonZeroU16,
    /// Queued and inflight messages together; what happens there says `queue_when_full`.
    pub queue_bytes_max: usize,
    /// The same, as a count of queued messages, while the client is away.
    pub queue_offline_messages_max: usize,
    pub queue_when_full: QueueWhenFull,
    /// A longer Session Expiry Interval is cut to this and the client is told.
    pub expiry_max: SessionExpiry,
    /// How long a 3.1 or 3.1.1 Session with Clean Session 0 is kept.
    pub expiry_v3: SessionExpiry,
    /// In seconds. A longer Keep Alive of a 5.0 client is replaced by this one.
    pub keep_alive_max: u16,
    /// A longer Client Identifier gets 0x85.
    pub client_id_bytes_max: usize,
    /// A longer Topic Name gets 0x90, a longer Topic Filter 0x8F.
    pub topic_bytes_max: usize,
    /// The same for the number of levels.
    pub topic_levels_max: usize,
    /// One more gets 0x97.
    pub subscriptions_max: usize,
    /// Announced as Topic Alias Maximum; one above it gets 0x94. 0 announces none.
    pub topic_aliases_in_max: u16,
    /// Used towards a client that allows as many. 0 uses none.
    pub topic_aliases_out_max: u16,
    /// Announced as Maximum Packet Size.
    pub packet_bytes_max: usize,
    /// What the Response Information of a client begins with; `None`: there is none.
    pub response_information: Option<TopicName>,
}
