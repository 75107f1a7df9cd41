//! A PUBLISH from its publisher to everybody who takes it.

use std::sync::Arc;

use super::Router;
use super::courier::Courier;
use super::encode::Encoder;
use super::link::{Flow, Link};
use super::matches::Taker;
use super::slot::{Attachment, Slot};
use crate::change::{CommitNumber, Keeps};
use crate::message::{Message, Publication};
use crate::packet::{Delivery, QoS};
use crate::session::{DropReason, Offer, Refusal, Room, Session, Verdict};

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// A client that is gone, whose Will it is.
    Will(&'a Attachment),
    /// A client that can be told that its message was refused.
    Refusable(&'a Attachment),
    /// A client that cannot: before 5.0, or at QoS 0.
    Unrefusable(&'a Attachment),
}

impl Origin<'_> {
    fn is(&self, slot: &Arc<Slot>) -> bool {
        let (Self::Will(client) | Self::Refusable(client) | Self::Unrefusable(client)) = self;
        Arc::ptr_eq(&client.slot, slot)
    }
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Sessions that take it.
    pub takers: usize,
    /// Of these, Sessions of QoS 1 or 2 that had no room.
    pub refused: usize,
    /// Of these, all other Sessions of QoS 1 or 2.
    pub accepted: usize,
    /// What an acknowledgement has to wait for.
    pub commit: CommitNumber,
}

impl Outcome {
    /// Every Session that wanted it at QoS 1 or 2 refused: the publisher is told, so that one
    /// forgotten Session fails nobody else.
    #[must_use]
    pub fn all_refused(&self) -> bool {
        self.refused > 0 && self.accepted == 0
    }
}

/// What the deliveries of one publication have in common.
struct Delivering<'a> {
    publication: &'a Publication<'a>,
    /// The publication on its own, if anybody may have to keep it.
    message: Option<Arc<Message>>,
    outcome: Outcome,
}

impl Router {
    /// Routes a publication. The slot of its sender must not be locked.
    ///
    /// # Errors
    /// If it was to be retained and the retained messages are at their limit: nobody got it. One
    /// that cannot be refused is delivered, but not retained.
    pub fn publish(
        &self,
        courier: &mut Courier,
        publication: &Publication<'_>,
        origin: Origin<'_>,
    ) -> Result<Outcome, Refusal> {
        courier.counters.publishes_received.add(1);
        let (mut message, mut outcome) = (None, Outcome::default());
        if publication.retain {
            // Before the takers are looked up: who subscribes in between gets it one way or the
            // other, and never neither.
            let retained = message.insert(publication.to_message(courier.instant()));
            outcome.commit = self.retain(courier, retained, origin)?;
        }
        let matches = courier.cache.look_up(publication.topic, &self.subscriptions);
        let above_zero = Some(QoS::AtMostOnce);
        if message.is_none() && Some(publication.qos) > above_zero && matches.qos > above_zero {
            message = Some(publication.to_message(courier.instant()));
        }
        let mut delivering = Delivering { publication, message, outcome };
        let mut scratch = courier.scratch.take().unwrap_or_default();
        let mut encoder = Encoder::new(publication, &mut scratch);
        for taker in &matches.takers {
            if taker.no_local && origin.is(&taker.slot) {
                continue; // [MQTT-3.8.3-3]
            }
            self.deliver(courier, taker, &mut encoder, &mut delivering);
        }
        courier.scratch = Some(scratch);
        courier.count_drops();
        Ok(delivering.outcome)
    }

    fn deliver(
        &self,
        courier: &mut Courier,
        taker: &Taker,
        encoder: &mut Encoder<'_>,
        delivering: &mut Delivering<'_>,
    ) {
        let mut guard = taker.slot.lock();
        let state = &mut *guard;
        if state.incarnation != taker.incarnation {
            return; // Of a Session that ended; its Subscriptions are about to leave the tree.
        }
        let Some(session) = &mut state.session else { return };
        delivering.outcome.takers += 1;
        let publication = delivering.publication;
        let retain = publication.retain && taker.retain_as_published; // [MQTT-3.3.1-12]
        let qos = publication.qos.min(taker.qos); // [MQTT-3.8.4-8]
        let soft = self.limits.outbound.soft_bytes_max;
        let mut commit = CommitNumber::NONE;
        let delivery = match &delivering.message {
            Some(message) if qos > QoS::AtMostOnce => {
                let room = room(state.link.as_ref(), soft);
                let terms = state.link.as_ref().map(|link| &link.terms);
                let offer =
                    Offer { message, qos, retain, subscription_ids: &taker.subscription_ids };
                let before = session.bytes();
                let verdict =
                    session.offer(offer, terms, room, &self.limits.session, &mut courier.effects);
                courier.counters.session_bytes.change(before, session.bytes());
                commit = self.journal_changes(courier);
                delivering.outcome.commit = delivering.outcome.commit.max(commit);
                delivering.outcome.refused += usize::from(verdict == Verdict::Refused);
                delivering.outcome.accepted += usize::from(verdict != Verdict::Refused);
                match verdict {
                    Verdict::Send(delivery) => delivery,
                    Verdict::Queued => return note_live(session, publication),
                    Verdict::Refused | Verdict::Dropped => return,
                }
            }
            Some(_) | None => Delivery::AtMostOnce,
        };
        let Some(link) = &mut state.link else {
            return courier.effects.drop_message(DropReason::Offline);
        };
        let chosen = encoder.choose(link.terms.version, delivery, &taker.subscription_ids);
        if delivery == Delivery::AtMostOnce
            && let Some(reason) = at_most_once_refused(link, chosen.length, soft)
        {
            return courier.effects.drop_message(reason);
        }
        let before = link.outbound.bytes();
        if matches!(delivery, Delivery::ExactlyOnce { .. })
            && self.journal.keeps() == Keeps::Changes
        {
            // Sent before it is kept, it could be sent once more after a restart, to a client that
            // has released its identifier.
            let mut packet = courier.spare.take();
            encoder.write(chosen, delivery, retain, &mut packet);
            link.append(&packet, commit, &*self.journal, &mut courier.spare);
            courier.spare.give(packet);
        } else {
            encoder.append(chosen, delivery, retain, link, &mut courier.spare);
        }
        courier.counters.outbound_bytes.change(before, link.outbound.bytes());
        courier.spend(chosen.length);
        courier.counters.publishes_sent.add(1);
        note_live(session, publication);
        Self::soiled(courier, &taker.slot, link);
    }

    /// Submits what the last decision changed, under the lock it was made under.
    pub(super) fn journal_changes(&self, courier: &mut Courier) -> CommitNumber {
        if courier.effects.changes.is_empty() {
            return CommitNumber::NONE;
        }
        self.journal.submit(&mut courier.effects.changes)
    }

    /// Something was appended: puts the slot on the dirty list unless it is taken care of.
    pub(super) fn soiled(courier: &mut Courier, slot: &Arc<Slot>, link: &mut Link) {
        if link.flow == Flow::Clean && link.soil() {
            courier.mark_dirty(Arc::clone(slot));
        }
    }
}

/// Tells a replay that this topic's newest value is on its way already.
fn note_live(session: &mut Session, publication: &Publication<'_>) {
    if publication.retain && session.is_replaying() {
        session.note_live(publication.topic);
    }
}

fn at_most_once_refused(link: &Link, length: usize, soft: usize) -> Option<DropReason> {
    if length > link.terms.maximum_packet_size {
        return Some(DropReason::TooLarge); // [MQTT-3.1.2-25]
    }
    let bytes = link.outbound.bytes();
    // One message always fits an empty buffer.
    (bytes > 0 && bytes + length > soft).then_some(DropReason::OutboundFull)
}

/// Whether a client takes more of QoS 1 and 2 right now.
pub(super) fn room(link: Option<&Link>, soft: usize) -> Room {
    match link {
        None => Room::Away,
        Some(link) if link.outbound.bytes() >= soft => Room::Full,
        Some(_) => Room::Open,
    }
}
