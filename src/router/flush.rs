//! From outbound buffers to the wire: one writer at a time, one write for each dirty connection.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::Router;
use super::courier::Courier;
use super::link::{Flags, Flow, Link, Wire};
use super::memory::Weight;
use super::outbound::Batch;
use super::slot::{Attachment, Slot, SlotState};
use crate::change::CommitNumber;
use crate::session::{ProtocolError, Terms, goodbye, refused};

/// Connections written to before the other tasks of a worker have their turn.
const TURN: usize = 256;

/// How often a writer looks for more before it lets the others of its worker go first.
const LOOKS: usize = 4;

/// What the flusher has still to do.
#[derive(Debug, Default)]
pub struct Flushing {
    list: Vec<Arc<Slot>>,
}

/// The last bytes of a connection that is no longer anybody's: its own task writes them.
#[derive(Debug)]
pub struct Leaving {
    batch: Batch,
    wire: Arc<dyn Wire>,
    written: usize,
}

/// A batch taken for writing.
struct Taken {
    batch: Batch,
    wire: Arc<dyn Wire>,
    terms: Terms,
    generation: u64,
}

impl Router {
    /// Writes to connections that something was appended to. Whether others wait: then the caller
    /// yields and calls again; otherwise `flusher` is woken when there is something to do.
    pub fn flush_dirty(
        &self,
        courier: &mut Courier,
        flushing: &mut Flushing,
        flusher: &Waker,
    ) -> bool {
        if flushing.list.is_empty() {
            courier.take_dirty(&mut flushing.list, flusher);
        }
        let first = flushing.list.len().saturating_sub(TURN);
        for slot in flushing.list.drain(first..) {
            self.flush_slot(courier, &slot);
        }
        if flushing.list.is_empty() {
            courier.take_dirty(&mut flushing.list, flusher);
        }
        !flushing.list.is_empty()
    }

    /// Goes on writing to a connection that was blocked, by its own task.
    pub fn flush_unblocked(&self, courier: &mut Courier, attachment: &Attachment) {
        {
            let mut state = attachment.slot.lock();
            if state.generation != attachment.generation {
                return;
            }
            if let Some(link) = &mut state.link
                && link.flow == Flow::Blocked
            {
                link.flow = Flow::Dirty;
            }
        }
        self.flush_slot(courier, &attachment.slot);
    }

    fn flush_slot(&self, courier: &mut Courier, slot: &Arc<Slot>) {
        let Some(mut taken) = self.take(slot) else { return };
        for _ in 0..LOOKS {
            let written = taken.batch.write(&*taken.wire).ok();
            match self.put_back(courier, slot, taken, written) {
                Some(more) => taken = more,
                None => return,
            }
        }
        // More and more is appended: the others of this worker go first.
        let mut state = slot.lock();
        if state.generation == taken.generation
            && let Some(link) = &mut state.link
        {
            link.outbound.put_back(taken.batch);
            link.flow = Flow::Dirty;
            drop(state);
            courier.mark_dirty(Arc::clone(slot));
        } else if state.generation != taken.generation {
            // Taken over between the last look and this one, at the end of a packet.
            drop(state);
            taken.batch = Batch::default();
            say_superseded(courier, taken);
        }
    }

    /// Takes what a dirty connection has to write.
    fn take(&self, slot: &Slot) -> Option<Taken> {
        let mut state = slot.lock();
        let generation = state.generation;
        let link = state.link.as_mut().filter(|link| link.flow == Flow::Dirty)?;
        if link.outbound.gate > self.journal.kept() {
            link.flow = Flow::Gated;
            return None;
        }
        link.flow = Flow::Writing;
        Some(Taken {
            batch: link.outbound.take(),
            wire: Arc::clone(&link.wire),
            terms: link.terms,
            generation,
        })
    }

    /// Ends a write, of which `None` means that it failed: the next batch, if something came
    /// meanwhile.
    fn put_back(
        &self,
        courier: &mut Courier,
        slot: &Arc<Slot>,
        taken: Taken,
        written: Option<usize>,
    ) -> Option<Taken> {
        let mut guard = slot.lock();
        let SlotState { session, link, generation, memberships, .. } = &mut *guard;
        if *generation != taken.generation {
            drop(guard);
            say_superseded(courier, taken);
            return None;
        }
        let link = link.as_mut()?;
        let before = link.outbound.bytes();
        let Some(written) = written else {
            link.flow = Flow::Clean;
            link.signal.raise(Flags::BROKEN);
            return None;
        };
        tracing::trace!(client_id = %slot.client_id(), written, "wrote");
        courier.counters.bytes_sent.add(written as u64);
        link.outbound.wrote(written);
        if !taken.batch.is_empty() {
            link.outbound.put_back(taken.batch);
            link.flow = Flow::Blocked;
            link.signal.raise(Flags::BLOCKED);
            // It need never run empty: from here on others append more.
            if link.outbound.bytes() < self.limits.outbound.soft_bytes_max {
                link.say_drained();
            }
            courier.counters.outbound_bytes.change(before, link.outbound.bytes());
            return None;
        }
        taken.batch.recycle(&mut courier.spare);
        if let Some(session) = session
            && (session.has_queued() || !memberships.is_empty())
        {
            let before = Weight::of(session);
            self.pump(session, link, courier);
            self.draw_if_ready_now(slot, session, link, memberships, courier);
            self.journal_changes(courier);
            courier.reweigh(before, Weight::of(session));
            courier.count_drops();
        }
        courier.counters.outbound_bytes.change(before, link.outbound.bytes());
        if !link.outbound.is_empty() {
            let batch = link.outbound.take();
            return Some(Taken { batch, ..taken });
        }
        link.flow = Flow::Clean;
        link.say_drained();
        None
    }
}

impl Leaving {
    /// What it has not written yet, and `goodbye`.
    pub(super) fn new(mut link: Link, goodbye: &[u8]) -> Self {
        let mut batch = link.outbound.take();
        batch.tail.extend_from_slice(goodbye);
        Self { batch, wire: link.wire, written: 0 }
    }

    /// Nothing: its CONNACK promises what is not kept, and nothing may go before it.
    pub(super) fn unheard(link: Link) -> Self {
        Self { batch: Batch::default(), wire: link.wire, written: 0 }
    }

    /// The same, but the CONNACK is one that refuses.
    pub(super) fn refused(link: Link) -> Self {
        let Terms { version, maximum_packet_size, .. } = link.terms;
        let mut answer = Vec::new();
        refused(version, maximum_packet_size, &ProtocolError::StoreUnavailable, &mut answer);
        Self::new_connection(answer, link.wire)
    }

    /// The only bytes of a connection that never had a Session.
    #[must_use]
    pub fn new_connection(answer: Vec<u8>, wire: Arc<dyn Wire>) -> Self {
        let mut batch = Batch::default();
        batch.tail = answer;
        Self { batch, wire, written: 0 }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written(&self) -> usize {
        self.written
    }

    /// Writes what can be written. Ready when nothing is left.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.written += self.batch.write(&*self.wire)?;
            if self.batch.is_empty() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.wire.poll_writable(context))?;
        }
    }
}

/// Ends a connection whose Session was taken over: what it had not sent is gone with it, and its
/// task is woken to close.
pub(super) fn supersede(courier: &mut Courier, mut link: Link, kept: CommitNumber) {
    courier.counters.outbound_bytes.change(link.outbound.bytes(), 0);
    // Somebody who writes at this moment finds out and says it himself, at the end of a packet.
    // A client whose CONNACK still waits is told nothing [MQTT-3.14.0-1].
    if link.flow != Flow::Writing && link.outbound.gate <= kept {
        let batch = link.outbound.take();
        // What the client does not take now it will never get: its connection ends.
        write_last(courier, batch, taken_over(&link.terms), &*link.wire);
    }
    link.signal.raise(Flags::SUPERSEDED);
}

fn say_superseded(courier: &Courier, taken: Taken) {
    if taken.batch.is_empty() {
        write_last(courier, taken.batch, taken_over(&taken.terms), &*taken.wire);
    }
}

fn write_last(courier: &Courier, mut batch: Batch, goodbye: Vec<u8>, wire: &dyn Wire) {
    courier.counters.answers_sent.add((!goodbye.is_empty()).into());
    batch.tail.extend(goodbye);
    let written = batch.write(wire).unwrap_or(0);
    courier.counters.bytes_sent.add(written as u64);
}

/// [MQTT-3.1.4-3]
fn taken_over(terms: &Terms) -> Vec<u8> {
    goodbye(terms.version, terms.maximum_packet_size, &ProtocolError::TakenOver)
}
