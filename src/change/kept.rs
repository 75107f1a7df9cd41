//! What a store gives back when the broker starts.
//!
//! Moments are [`Instant`]s of this process, so one that lies before its start is in the past by
//! as much as was left of the downtime and what came before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Owed, SessionExpiry, Subscription};
use crate::message::Message;
use crate::packet::{ClientId, Identity, PacketId};
use crate::topic::SubscriptionFilter;

/// All that a store has kept.
#[derive(Debug, Default)]
pub struct Kept {
    pub sessions: Vec<KeptSession>,
    pub groups: Vec<KeptGroup>,
    pub retained: Vec<Arc<Message>>,
}

/// A Session that goes on.
#[derive(Debug)]
pub struct KeptSession {
    pub client_id: ClientId,
    pub identity: Identity,
    pub expiry: SessionExpiry,
    /// When its Network Connection ended, which may have been with the process.
    pub away_since: Instant,
    pub subscriptions: Vec<(SubscriptionFilter, Subscription)>,
    /// By position. The messages themselves stay in the store until they are fetched.
    pub queue: Vec<KeptMessage>,
    /// Behind all positions that anything of the Session still has, `inflight` included: messages
    /// that were queued once stand there until they are completed.
    pub next_position: u64,
    /// In the order in which they were first sent.
    pub inflight: Vec<KeptInflight>,
    /// QoS 2 messages that came in and wait for their PUBREL.
    pub received: Vec<PacketId>,
    pub will: Option<KeptWill>,
    /// The Packet Identifier after which new ones begin, so that none is used again that its client
    /// may still know.
    pub last_packet_id: u16,
}

/// A message that waits in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeptMessage {
    pub position: u64,
    /// As it is accounted.
    pub bytes: u32,
}

#[derive(Debug)]
pub struct KeptInflight {
    pub id: PacketId,
    pub stage: KeptStage,
}

#[derive(Debug)]
pub enum KeptStage {
    Published(Owed),
    /// PUBREC came; `place` orders those that were released.
    Released {
        place: u64,
    },
}

#[derive(Debug)]
pub struct KeptWill {
    pub message: Arc<Message>,
    /// The Message Expiry Interval it is published with, in seconds.
    pub expiry: Option<u32>,
    pub delay: Duration,
    /// How long its client may take to come back, if the delay is shorter.
    pub patience: Duration,
}

/// What a group owes.
#[derive(Debug)]
pub struct KeptGroup {
    pub filter: SubscriptionFilter,
    /// By position.
    pub messages: Vec<KeptWaiting>,
}

#[derive(Debug)]
pub struct KeptWaiting {
    pub position: u64,
    pub lane: u8,
    pub message: Arc<Message>,
}
