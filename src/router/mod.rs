//! Where Sessions meet: who takes a message, what stands in each Session, and what is retained.
//!
//! - [`Router`]: publishes, and joins the rest.
//! - [`registry`]: Client Identifier to [`Slot`]; [`attach`]: connections come and go.
//! - [`restore`]: what a store has kept, before anybody connects.
//! - [`slot`]: one Session and its connection under one lock; [`outbound`]: bytes to be written.
//! - [`flush`]: bytes to the [`Wire`]; [`courier`]: what one worker carries along.
//! - [`memory`]: one budget for the process, and what Sessions weigh against it.
//! - [`matches`], [`match_cache`], [`encode`]: who takes a message, remembered by topic; encoded
//!   once for each kind of taker.
//! - [`subscriptions`]: the trees, kept in step with the Sessions.
//! - [`shared_subscription`]: a group and what it owes; [`sharing`]: from it to its members;
//!   [`strategy`]: which of them gets it; [`standing`]: which could take something.
//! - [`retained`]: Retained Messages and their replay; [`schedule`]: what ends while nobody looks.
//! - [`sys`]: what the server says of itself.
//!
//! The lock rule: a thread holds at most one slot, and never a slot together with the subscription
//! tree, the retained tree or a guard of the registry; a group's lock is a leaf. Nothing here
//! awaits, and no Session calls another: a message received is delivered only after its sender's
//! slot is unlocked, so nobody can deadlock by publishing to whoever publishes to him.

mod attach;
mod courier;
mod encode;
mod exchange;
mod flush;
mod link;
mod match_cache;
mod matches;
mod memory;
mod outbound;
mod publish;
mod publish_run;
mod registry;
mod restore;
mod retained;
mod schedule;
mod shared_subscription;
mod sharing;
mod slot;
mod standing;
mod strategy;
mod subscriptions;
mod sys;
mod vital;

use std::sync::Arc;

use crate::change::{Journal, JournalState};
use crate::metrics::Metrics;
use crate::session::Limits;

pub use attach::{Attach, Attached, Ending, Leave, Unattached};
pub use courier::Courier;
pub use encode::COPIED_PACKET_MAX;
pub use exchange::{Acknowledged, Answered};
pub use flush::{Flushing, Leaving};
pub use link::{Flags, Signal, Wire};
pub use memory::{Episode, Memory};
pub use publish::{Origin, Outcome};
pub use retained::{RetainedLimits, Step};
pub use shared_subscription::GroupStatus;
pub use slot::{Attachment, OutboundLimits};
pub use strategy::Strategy;

use memory::Budget;
use registry::Registry;
use retained::Retained;
use schedule::Schedule;
use subscriptions::Subscriptions;

/// All Sessions, Subscriptions and Retained Messages of this node.
#[derive(Debug)]
pub struct Router {
    registry: Registry,
    subscriptions: Subscriptions,
    retained: Retained,
    schedule: Schedule,
    budget: Budget,
    journal: Arc<dyn Journal>,
    metrics: Arc<Metrics>,
    limits: RouterLimits,
}

/// What Sessions, connections and the retained tree may grow to.
#[derive(Clone, Debug)]
pub struct RouterLimits {
    pub session: Limits,
    pub outbound: OutboundLimits,
    pub retained: RetainedLimits,
    pub sharing: Strategy,
    /// What clients may make the process hold, all together.
    pub memory_bytes_max: u64,
}

impl Router {
    #[must_use]
    pub fn new(limits: RouterLimits, journal: Arc<dyn Journal>, metrics: Arc<Metrics>) -> Self {
        Self {
            registry: Registry::default(),
            subscriptions: Subscriptions::new(Arc::clone(&metrics)),
            retained: Retained::default(),
            schedule: Schedule::default(),
            budget: Budget::default(),
            journal,
            metrics,
            limits,
        }
    }

    #[must_use]
    pub fn limits(&self) -> &RouterLimits {
        &self.limits
    }

    #[must_use]
    pub fn journal(&self) -> &dyn Journal {
        &*self.journal
    }

    /// Whether the store cannot write: then nothing that would have to be kept is taken on.
    #[must_use]
    pub fn is_store_failing(&self) -> bool {
        self.journal.state() == JournalState::Failing
    }

    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
