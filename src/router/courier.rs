//! What one worker carries along from message to message, so that none of them allocates.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::encode::Scratch;
use super::match_cache::MatchCache;
use super::memory::Memory;
use super::outbound::Spare;
use super::slot::Slot;
use crate::message::Message;
use crate::metrics::Counters;
use crate::session::{DropReason, Effects};
use crate::time::Now;
use crate::topic::TopicName;

/// One worker's: the moment it works at, its match cache, its dirty list and its spare buffers.
#[derive(Debug)]
pub struct Courier {
    pub(super) now: Now,
    pub(super) counters: Arc<Counters>,
    pub(super) cache: MatchCache,
    pub(super) effects: Effects,
    pub(super) spare: Spare,
    /// Taken while a publication is delivered; boxed, since moving it costs as much as encoding.
    pub(super) scratch: Option<Box<Scratch>>,
    pub(super) replayed: Vec<Arc<Message>>,
    /// Which takers of a run get it packet by packet, kept for its memory.
    pub(super) others: Vec<usize>,
    pub(super) memory: Memory,
    pub(super) looked_at_memory: Option<Instant>,
    dirty: Vec<Arc<Slot>>,
    flusher: Option<Waker>,
    deliveries: usize,
    appended: usize,
}

impl Courier {
    #[must_use]
    pub fn new(counters: Arc<Counters>, now: Now) -> Self {
        Self {
            now,
            counters,
            cache: MatchCache::default(),
            effects: Effects::default(),
            spare: Spare::default(),
            scratch: Some(Box::default()),
            replayed: Vec::new(),
            others: Vec::new(),
            memory: Memory::Enough,
            looked_at_memory: None,
            dirty: Vec::new(),
            flusher: None,
            deliveries: 0,
            appended: 0,
        }
    }

    /// Starts a turn at this moment.
    pub fn begin_turn(&mut self, now: Now) {
        self.now = now;
        // Left behind only by a turn that a panic ended: they are nobody else's to submit.
        self.effects.changes.clear();
        self.deliveries = 0;
        self.appended = 0;
    }

    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Deliveries and bytes appended since the turn began. Whoever is asked to take a message counts
    /// as a delivery: one that drops it, or lets it wait in a queue, costs time too.
    #[must_use]
    pub fn spent(&self) -> (usize, usize) {
        (self.deliveries, self.appended)
    }

    pub(super) fn spend(&mut self, deliveries: usize, bytes: usize) {
        self.deliveries += deliveries;
        self.appended += bytes;
    }

    /// So many PUBLISH packets were appended to outbound buffers.
    pub(super) fn count_sent(&mut self, packets: usize, bytes: usize, payload_bytes: usize) {
        self.counters.outbound_bytes.change(0, bytes);
        self.counters.publishes_sent.add(packets as u64);
        self.counters.payload_bytes_sent.add(payload_bytes as u64);
    }

    /// An empty buffer from the worker's spares; [`Self::give_buffer`] takes it back.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        self.spare.take()
    }

    pub fn give_buffer(&mut self, buffer: Vec<u8>) {
        self.spare.give(buffer);
    }

    pub(super) fn mark_dirty(&mut self, slot: Arc<Slot>) {
        if self.dirty.is_empty()
            && let Some(flusher) = self.flusher.take()
        {
            flusher.wake();
        }
        self.dirty.push(slot);
    }

    /// Moves the connections that have something to write to `list`, which is empty. If there are
    /// none, `flusher` is woken at the next one.
    pub(super) fn take_dirty(&mut self, list: &mut Vec<Arc<Slot>>, flusher: &Waker) {
        std::mem::swap(&mut self.dirty, list);
        if list.is_empty() {
            self.flusher = Some(flusher.clone());
        }
    }

    /// The Topic Name of these bytes, if the worker has met it lately: a publisher of many topics
    /// then has none of them made anew for each of its messages.
    #[must_use]
    pub fn known_name(&self, topic: &[u8]) -> Option<TopicName> {
        self.cache.name(str::from_utf8(topic).ok()?)
    }

    /// Counts a PUBLISH that came in. One that is handed to [`super::Router::publish`] is counted
    /// there.
    pub fn count_publish(&self, payload_bytes: usize) {
        self.count_publishes(1, payload_bytes);
    }

    /// The same of so many, with their payloads together.
    pub(super) fn count_publishes(&self, packets: usize, payload_bytes: usize) {
        self.counters.publishes_received.add(packets as u64);
        self.counters.payload_bytes_received.add(payload_bytes as u64);
    }

    /// Adds the drops of the last decisions to the counters.
    pub(super) fn count_drops(&mut self) {
        if self.effects.dropped_nothing() {
            return;
        }
        for (reason, count) in self.effects.take_dropped() {
            let counter = match reason {
                DropReason::Offline => &self.counters.dropped_offline,
                DropReason::OutboundFull => &self.counters.dropped_outbound_full,
                DropReason::QueueFull => &self.counters.dropped_queue_full,
                DropReason::MemoryFull => &self.counters.dropped_memory_full,
                DropReason::StoreFull => &self.counters.dropped_store_full,
                DropReason::TooLarge => &self.counters.dropped_too_large,
                DropReason::Expired => &self.counters.dropped_expired,
                DropReason::Ended => &self.counters.dropped_ended,
                DropReason::Damaged => &self.counters.dropped_damaged,
            };
            counter.add(count.into());
        }
    }

    pub(super) fn instant(&self) -> Instant {
        self.now.monotonic
    }
}
