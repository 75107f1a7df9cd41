//! One Network Connection as the router sees it: where to write, whom to wake, what it was
//! promised.

use std::fmt;
use std::io::{self, IoSlice};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use super::encode::COPIED_PAYLOAD_MAX;
use super::outbound::{Outbound, Spare};
use crate::change::{CommitNumber, Fetch, FetchReply, Fetched, Journal};
use crate::packet::{Delivery, Publish, encode_publish_head};
use crate::session::{Naming, OutboundAliases, Terms};
use crate::topic::TopicName;

/// The writing half of a connection, whatever door it came through.
pub trait Wire: Send + Sync + fmt::Debug {
    /// Writes what can be written now and says how many bytes that were.
    ///
    /// # Errors
    /// `WouldBlock` if nothing can; anything else means the connection is broken.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ready when [`Self::try_write`] may succeed again. Only the connection's own task waits.
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Says that nothing more will be written.
    fn shutdown(&self);
}

/// What a connection's task is woken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(u8);

impl Flags {
    pub const NONE: Self = Self(0);
    /// A write could not be finished: wait until it can, then flush.
    pub const BLOCKED: Self = Self(1);
    /// A write failed: the connection is broken.
    pub const BROKEN: Self = Self(1 << 1);
    /// Another connection took over the Session.
    pub const SUPERSEDED: Self = Self(1 << 2);
    /// The outbound buffer is empty, or at least below the soft limit, and something waited for that.
    pub const DRAINED: Self = Self(1 << 3);
    /// A deadline may have passed.
    pub const TIMER: Self = Self(1 << 4);
    /// The server is shutting down.
    pub const SHUTDOWN: Self = Self(1 << 5);
    /// The store has kept something that was waited for.
    pub const KEPT: Self = Self(1 << 6);
    /// The store has read queued messages back.
    pub const FETCHED: Self = Self(1 << 7);

    #[must_use]
    pub fn has(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }
}

/// How others reach the task of a connection: flags to look at, and its waker.
#[derive(Debug, Default)]
pub struct Signal {
    flags: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    /// Sets flags and wakes the task.
    pub fn raise(&self, flags: Flags) {
        self.flags.fetch_or(flags.0, Ordering::AcqRel);
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The flags raised since the last call.
    pub fn take(&self) -> Flags {
        if self.flags.load(Ordering::Acquire) == 0 {
            return Flags::NONE;
        }
        Flags(self.flags.swap(0, Ordering::AcqRel))
    }

    /// Called by the task before it looks at its flags: what is raised later wakes it.
    pub fn register(&self, waker: &Waker) {
        let mut registered = self.waker.lock();
        if !registered.as_ref().is_some_and(|registered| registered.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
    }
}

/// Woken by the store: something this connection waits for is kept.
impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.raise(Flags::KEPT);
    }
}

/// Where a store leaves what it has read back, until the connection's task takes it.
#[derive(Debug, Default)]
struct Mailbox(Mutex<Option<Fetched>>);

/// Whose turn it is to write.
///
/// ```text
/// Clean --append--> Dirty --flush--> Writing --all written--> Clean
///                                    Writing --would block--> Blocked --writable--> Writing
///                                    Writing --not yet kept-> Gated   --kept-----> Writing
/// ```
/// Whatever is appended while somebody writes is written by him before he goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    Clean,
    /// On some worker's dirty list.
    Dirty,
    Writing,
    /// The connection's task waits until it can write.
    Blocked,
    /// What is to be written promises something the store has not kept yet.
    Gated,
}

/// The connection of a Session, under the Session's lock.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) terms: Terms,
    pub(super) wire: Arc<dyn Wire>,
    pub(super) signal: Arc<Signal>,
    pub(super) outbound: Outbound,
    pub(super) flow: Flow,
    /// The task wants to know when the outbound buffer has run empty, or nearly so.
    pub(super) wants_drained: bool,
    /// Made when the first one is set: most connections never need any.
    aliases: Option<Box<OutboundAliases>>,
    /// While the store reads queued messages back.
    mailbox: Option<Arc<Mailbox>>,
}

impl Link {
    pub(super) fn new(terms: Terms, wire: Arc<dyn Wire>, signal: Arc<Signal>) -> Self {
        Self {
            terms,
            wire,
            signal,
            outbound: Outbound::default(),
            flow: Flow::Clean,
            wants_drained: false,
            aliases: None,
            mailbox: None,
        }
    }

    /// Asks the store for queued messages. They come by [`Self::take_fetched`], after
    /// [`Flags::FETCHED`]; if the connection ended meanwhile, to nobody.
    pub(super) fn fetch(&mut self, fetch: Fetch, journal: &dyn Journal) {
        let mailbox = Arc::new(Mailbox::default());
        self.mailbox = Some(Arc::clone(&mailbox));
        let signal = Arc::clone(&self.signal);
        let reply: FetchReply = Box::new(move |fetched| {
            *mailbox.0.lock() = Some(fetched);
            signal.raise(Flags::FETCHED);
        });
        journal.fetch(fetch, reply);
    }

    /// What the store has read back, if it has.
    pub(super) fn take_fetched(&mut self) -> Option<Fetched> {
        let fetched = self.mailbox.as_ref()?.0.lock().take()?;
        self.mailbox = None;
        Some(fetched)
    }

    /// Wakes the task if it waits for that.
    pub(super) fn say_drained(&mut self) {
        if std::mem::take(&mut self.wants_drained) {
            self.signal.raise(Flags::DRAINED);
        }
    }

    /// Whether a PUBLISH of this topic may be sent with a Topic Alias.
    ///
    /// At QoS 2 none is: what is held until its Packet Identifier is kept is overtaken by packets
    /// that could rely on an alias it sets, or set the one it uses to another topic. Nor do all
    /// clients manage it: MQTT.js hands such a message over at its PUBREL with an empty topic.
    #[inline]
    pub(super) fn aliases(&self, topic: &TopicName, delivery: Delivery) -> bool {
        self.terms.topic_alias_maximum > 0
            && OutboundAliases::shorten(topic)
            && !matches!(delivery, Delivery::ExactlyOnce { .. })
    }

    /// How a PUBLISH names its topic, if [`Self::aliases`] says that it may use an alias. `length`
    /// is its length in bytes with the Topic Name. It has to be appended to `outbound` at once:
    /// another one could be appended in between that relies on the alias it sets.
    pub(super) fn name_topic(&mut self, topic: &TopicName, length: usize) -> Naming {
        let Some(maximum) = NonZeroU16::new(self.terms.topic_alias_maximum) else {
            return Naming::Name;
        };
        let aliases = self.aliases.get_or_insert_with(|| Box::new(OutboundAliases::new(maximum)));
        aliases.name(topic, self.terms.maximum_packet_size.saturating_sub(length))
    }

    /// Appends a PUBLISH that nobody else gets in this encoding; its length in bytes. `shared` is
    /// its payload in memory of its own, asked for only if that is large.
    pub(super) fn append_publish(
        &mut self,
        publish: &Publish<'_>,
        shared: impl FnOnce() -> Bytes,
        spare: &mut Spare,
    ) -> usize {
        let tail = self.outbound.tail(spare, publish.payload.len().min(COPIED_PAYLOAD_MAX));
        let start = tail.len();
        let head = encode_publish_head(publish, self.terms.version, tail);
        let copied = publish.payload.len() <= COPIED_PAYLOAD_MAX;
        if copied {
            tail.extend_from_slice(publish.payload);
        }
        let appended = tail.len() - start;
        self.outbound.grew(appended);
        if !copied {
            self.outbound.append_shared(shared());
        }
        head.length
    }

    /// Appends encoded packets, or holds them until what they promise is kept.
    pub(super) fn append(
        &mut self,
        bytes: &[u8],
        commit: CommitNumber,
        journal: &dyn Journal,
        spare: &mut Spare,
    ) {
        if self.outbound.holds_any() || commit > journal.kept() {
            self.hold(bytes, commit, journal);
        } else {
            self.outbound.tail(spare, bytes.len()).extend_from_slice(bytes);
            self.outbound.grew(bytes.len());
        }
    }

    /// Holds packets until `commit` is kept.
    pub(super) fn hold(&mut self, bytes: &[u8], commit: CommitNumber, journal: &dyn Journal) {
        let waits = self.outbound.holds_any();
        self.outbound.hold(commit, bytes);
        if !waits {
            journal.wake_when_kept(commit, &Waker::from(Arc::clone(&self.signal)));
        }
    }
}
