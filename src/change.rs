//! Durable facts: what a Session, the retained tree or a Will changed, as a store has to keep it.
//!
//! A [`Change`] is submitted while the lock under which it was made is held, so that no delete
//! overtakes its put. The [`CommitNumber`] it gets is what an acknowledgement waits for.
//! [`kept`] is the way back: what a store still has when the broker starts.

mod kept;

use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::message::Message;
use crate::packet::{ClientId, Identity, PacketId, QoS, SubscriptionId, SubscriptionOptions};
use crate::topic::{SubscriptionFilter, TopicName};

pub use kept::{
    Kept, KeptGroup, KeptInflight, KeptMessage, KeptSession, KeptStage, KeptWaiting, KeptWill,
};

/// How far a store has come: what was submitted under a number up to [`Journal::kept`] is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct CommitNumber(pub u64);

impl CommitNumber {
    /// Promises nothing, so nothing waits for it.
    pub const NONE: Self = Self(0);
}

/// A fencing token: which claim on a Client Identifier a change was made under. A store shared by
/// several nodes refuses the changes of an older claim.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Epoch(pub u64);

/// How long a Session outlives its Network Connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionExpiry {
    /// It ends with the connection.
    AtDisconnect,
    After(Duration),
    Never,
}

/// A Subscription as its Session holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscription {
    pub options: SubscriptionOptions,
    pub id: Option<SubscriptionId>,
}

/// The Subscription Identifiers a message is delivered with: of all its Subscriptions that match
/// [MQTT-3.3.4-3]. Nearly always none or one.
pub type SubscriptionIds = SmallVec<[SubscriptionId; 2]>;

/// The place of a message that belongs to a group (5.0 s4.8.2), so that it can be given back.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The Shared Subscription, the same value for as long as it has a member.
    pub group: Arc<SubscriptionFilter>,
    /// In the order in which the group got its messages.
    pub position: u64,
    /// Which of the group's lanes it waits in: messages of one lane stay in order.
    pub lane: u8,
    pub standing: TicketStanding,
}

/// Whether a store was told that the group owes the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TicketStanding {
    /// It is gone with the process, as all of the group's members are.
    Fleeting,
    /// [`Change::GroupQueued`] was submitted: [`Change::GroupUnqueued`] has to follow.
    Kept,
}

impl Ticket {
    /// What a store is told when the group no longer owes the message.
    #[must_use]
    pub fn settled(&self) -> Option<Change> {
        let Self { group, position, standing, .. } = self;
        let kept = *standing == TicketStanding::Kept;
        kept.then(|| Change::GroupUnqueued { group: Arc::clone(group), position: *position })
    }
}

/// One message a Session owes its client, as this client's Subscription wants it.
#[derive(Clone, Debug)]
pub struct Owed {
    pub message: Arc<Message>,
    /// Lowered to what was granted [MQTT-3.8.4-8].
    pub qos: QoS,
    /// The RETAIN flag to send.
    pub retain: bool,
    pub subscription_ids: SubscriptionIds,
    /// Of a message that came through a Shared Subscription.
    pub ticket: Option<Ticket>,
}

/// One durable fact. Those of a Session name it by its Client Identifier.
#[derive(Clone, Debug)]
pub enum Change {
    SessionBegun {
        client_id: ClientId,
        identity: Identity,
        expiry: SessionExpiry,
    },
    SessionExpiryChanged {
        client_id: ClientId,
        expiry: SessionExpiry,
    },
    /// A Network Connection continues it.
    SessionResumed {
        client_id: ClientId,
    },
    /// Its Network Connection ended: from here on its expiry and the delay of its Will count.
    SessionAway {
        client_id: ClientId,
        since: Instant,
    },
    SessionEnded {
        client_id: ClientId,
    },
    Subscribed {
        client_id: ClientId,
        filter: SubscriptionFilter,
        subscription: Subscription,
    },
    Unsubscribed {
        client_id: ClientId,
        filter: SubscriptionFilter,
    },
    /// A message waits in the queue at this position.
    Queued {
        client_id: ClientId,
        position: u64,
        owed: Owed,
    },
    /// It left the queue unsent: it expired, was too large for its client, or gave way to a newer
    /// one.
    Unqueued {
        client_id: ClientId,
        position: u64,
    },
    /// It is inflight; without a position it never waited.
    Sent {
        client_id: ClientId,
        position: Option<u64>,
        id: PacketId,
        owed: Owed,
    },
    /// PUBREC came: from here on only PUBREL is resent.
    Released {
        client_id: ClientId,
        id: PacketId,
    },
    /// Inflight no more.
    Completed {
        client_id: ClientId,
        id: PacketId,
    },
    /// A QoS 2 PUBLISH came in under this Packet Identifier.
    Received {
        client_id: ClientId,
        id: PacketId,
    },
    /// Its PUBREL came.
    Forgotten {
        client_id: ClientId,
        id: PacketId,
    },
    /// A group with a member that is kept owes this message, be it waiting or sent to a member.
    GroupQueued {
        group: Arc<SubscriptionFilter>,
        position: u64,
        lane: u8,
        message: Arc<Message>,
    },
    /// A member acknowledged it, it became a QoS 2 member's own, or it was dropped.
    GroupUnqueued {
        group: Arc<SubscriptionFilter>,
        position: u64,
    },
    WillKept {
        client_id: ClientId,
        message: Arc<Message>,
        /// The Message Expiry Interval it is published with, in seconds.
        expiry: Option<u32>,
        delay: Duration,
        /// How long after a restart its client may take to come back, if the delay is shorter.
        patience: Duration,
    },
    WillDropped {
        client_id: ClientId,
    },
    Retained {
        message: Arc<Message>,
    },
    RetainedRemoved {
        topic: TopicName,
    },
}

/// A change and the claim it was made under.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub epoch: Epoch,
    pub change: Change,
}

/// Whether a store wants to be told of changes at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeps {
    Nothing,
    Changes,
}

/// How a store is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JournalState {
    Keeping,
    /// So much is submitted and not kept that publishers have to wait until this is.
    Behind(CommitNumber),
    /// It cannot write: what was submitted stays submitted, but nobody knows for how long.
    Failing,
}

/// Queued messages of a Session that are to be read back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetch {
    pub client_id: ClientId,
    /// The first and the last position.
    pub first: u64,
    pub last: u64,
}

/// What was read back, by position. What is missing was damaged, or left the queue meanwhile.
#[derive(Debug)]
pub struct Fetched {
    pub fetch: Fetch,
    pub messages: Vec<(u64, Owed)>,
}

/// Called once, by a thread of the store.
pub type FetchReply = Box<dyn FnOnce(Fetched) + Send>;

/// Where changes are submitted. A store implements it; the router calls it under its locks, so no
/// method may block.
pub trait Journal: Send + Sync + fmt::Debug {
    fn keeps(&self) -> Keeps;

    /// Takes the changes out of `changes`, in order, as one group.
    fn submit(&self, changes: &mut Vec<Recorded>) -> CommitNumber;

    /// All up to this number is kept.
    fn kept(&self) -> CommitNumber;

    /// Wakes once when `number` is kept, or when the store begins to fail.
    fn wake_when_kept(&self, number: CommitNumber, waker: &Waker);

    fn state(&self) -> JournalState;

    /// Whether it takes all the disk it may, so that nothing may be submitted that would stay.
    fn is_full(&self) -> bool {
        false
    }

    /// Reads queued messages back, as they are after all that was submitted until now.
    fn fetch(&self, fetch: Fetch, reply: FetchReply);

    /// From here until [`Self::end_together`] is given the same number, whatever is submitted, by
    /// others too, is kept at once or not at all.
    fn begin_together(&self) -> u64 {
        0
    }

    fn end_together(&self, _: u64) {}
}

/// While it lives, what is submitted is kept at once or not at all: facts that are made under
/// different locks, and of which a restart must not find only some. It lasts as long as a message is
/// routed, never longer.
#[derive(Debug)]
pub struct Together<'j> {
    journal: &'j dyn Journal,
    number: u64,
}

impl<'j> Together<'j> {
    pub fn begin(journal: &'j dyn Journal) -> Self {
        Self { journal, number: journal.begin_together() }
    }
}

impl Drop for Together<'_> {
    fn drop(&mut self) {
        self.journal.end_together(self.number);
    }
}
