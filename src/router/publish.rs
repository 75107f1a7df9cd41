//! A PUBLISH from its publisher to everybody who takes it.

use std::sync::Arc;

use super::Router;
use super::courier::Courier;
use super::encode::Encoder;
use super::link::{Flow, Link};
use super::matches::Taker;
use super::memory::{Memory, Weight};
use super::shared_subscription::queued;
use super::sharing::recorded;
use super::slot::{Attachment, Slot, SlotState};
use crate::change::{CommitNumber, Keeps, Ticket};
use crate::message::{Message, Publication};
use crate::packet::{ClientId, Delivery, QoS};
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
    /// The server itself, in a topic of its own.
    Server,
}

impl Origin<'_> {
    fn client(&self) -> Option<&Attachment> {
        match self {
            Self::Will(client) | Self::Refusable(client) | Self::Unrefusable(client) => {
                Some(client)
            }
            Self::Server => None,
        }
    }

    pub(super) fn client_id(&self) -> Option<&ClientId> {
        self.client().map(Attachment::client_id)
    }

    pub(super) fn is(&self, slot: &Arc<Slot>) -> bool {
        self.client().is_some_and(|client| Arc::ptr_eq(&client.slot, slot))
    }

    /// Whether a PUBLISH came in for it.
    fn is_client(&self) -> bool {
        match self {
            Self::Refusable(_) | Self::Unrefusable(_) => true,
            Self::Will(_) | Self::Server => false,
        }
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
    /// Whether one of those without room would have had some if the store were not full.
    pub store_full: bool,
    /// Whether it fills the memory: a queue or the retained tree holds more than before.
    pub fills: bool,
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
pub(super) struct Delivering<'a> {
    pub(super) publication: &'a Publication<'a>,
    /// The publication on its own, if anybody may have to keep it.
    pub(super) message: Option<Arc<Message>>,
    pub(super) outcome: Outcome,
    /// A member of this group is asked, which takes it at once or not at all.
    pub(super) ticket: Option<Ticket>,
    pub(super) sent: Sent,
}

impl<'a> Delivering<'a> {
    pub(super) fn new(publication: &'a Publication<'a>) -> Self {
        let (outcome, sent) = (Outcome::default(), Sent::default());
        Self { publication, message: None, outcome, ticket: None, sent }
    }
}

/// What was appended to outbound buffers, summed up here: adding to the counters for each taker
/// cost a quarter of a delivery.
#[derive(Clone, Copy, Default)]
pub(super) struct Sent {
    pub(super) packets: usize,
    pub(super) bytes: usize,
}

/// How a packet goes out.
#[derive(Clone, Copy)]
struct Form {
    delivery: Delivery,
    retain: bool,
    /// What has to be kept before one of QoS 2 may leave.
    commit: CommitNumber,
}

/// What came of asking a Session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivered {
    Settled,
    /// It is over, or a member of a group that cannot take it at once: then another one is asked.
    NotNow,
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
        if origin.is_client() {
            courier.count_publish(publication.payload.as_slice().len());
        }
        let (mut message, mut outcome) = (None, Outcome::default());
        if publication.retain {
            // Before the takers are looked up: who subscribes in between gets it one way or the
            // other, and never neither.
            let retained = message.insert(publication.to_message(courier.instant()));
            let kept = self.retain(courier, retained, origin)?;
            outcome.commit = kept.commit;
            outcome.fills = kept.grew;
        }
        let matches = courier.cache.look_up(publication.topic, &self.subscriptions);
        let above_zero = Some(QoS::AtMostOnce);
        if message.is_none() && Some(publication.qos) > above_zero && matches.qos > above_zero {
            message = Some(publication.to_message(courier.instant()));
        }
        let mut delivering = Delivering { message, outcome, ..Delivering::new(publication) };
        let mut scratch = courier.scratch.take().unwrap_or_default();
        let mut encoder = Encoder::new(publication, &mut scratch);
        for taker in &matches.takers {
            let Some(taker) = taker.of(origin) else { continue };
            let delivered = self.deliver(courier, taker, &mut encoder, &mut delivering);
            delivering.outcome.takers += usize::from(delivered == Delivered::Settled);
        }
        for group in &matches.groups {
            self.share(courier, group, &mut encoder, &mut delivering, origin);
        }
        courier.scratch = Some(scratch);
        let Sent { packets, bytes } = delivering.sent;
        courier.spend(matches.len(), bytes);
        courier.count_sent(packets, bytes, packets * publication.payload.as_slice().len());
        courier.count_drops();
        Ok(delivering.outcome)
    }

    /// Asks one Session to take a publication.
    // Likewise: of its two callers the first walks through the takers.
    #[inline(always)]
    pub(super) fn deliver(
        &self,
        courier: &mut Courier,
        taker: &Taker,
        encoder: &mut Encoder<'_>,
        delivering: &mut Delivering<'_>,
    ) -> Delivered {
        let mut guard = taker.slot.lock();
        let state = &mut *guard;
        if state.incarnation != taker.incarnation {
            // Of a Session that ended; its Subscriptions are about to leave the tree.
            return Delivered::NotNow;
        }
        let delivered = self.deliver_to(courier, taker, state, encoder, delivering);
        if !state.memberships.is_empty()
            && let (Some(session), Some(link)) = (&state.session, &state.link)
        {
            let soft = self.limits.outbound.soft_bytes_max;
            taker.slot.standing.took(session, link, &self.limits.session, soft);
        }
        delivered
    }

    /// The same, with the slot locked.
    #[inline(always)]
    fn deliver_to(
        &self,
        courier: &mut Courier,
        taker: &Taker,
        state: &mut SlotState,
        encoder: &mut Encoder<'_>,
        delivering: &mut Delivering<'_>,
    ) -> Delivered {
        let Some(session) = &mut state.session else { return Delivered::NotNow };
        let link = state.link.as_mut();
        let publication = delivering.publication;
        let (subscription_ids, ticket) = (&taker.subscription_ids, delivering.ticket.as_ref());
        let retain = publication.retain && taker.retain_as_published; // [MQTT-3.3.1-12]
        let qos = publication.qos.min(taker.qos); // [MQTT-3.8.4-8]
        let mut commit = CommitNumber::NONE;
        let delivery = match &delivering.message {
            Some(message) if qos > QoS::AtMostOnce => {
                let offer = Offer { message, qos, retain, subscription_ids, ticket };
                if ticket.is_some() && !self.takes_now(session, link.as_deref(), offer) {
                    return Delivered::NotNow;
                }
                let outcome = &mut delivering.outcome;
                let (verdict, kept) = self.offer(courier, session, link.as_deref(), offer, outcome);
                commit = kept;
                match verdict {
                    Verdict::Send(delivery) => delivery,
                    Verdict::Queued => {
                        note_live(session, publication);
                        return Delivered::Settled;
                    }
                    Verdict::Refused | Verdict::Dropped => return Delivered::Settled,
                }
            }
            Some(_) | None => Delivery::AtMostOnce,
        };
        let Some(link) = link else { return refused(courier, ticket, DropReason::Offline) };
        let before = link.outbound.bytes();
        let form = Form { delivery, retain, commit };
        // What is not held could overtake a packet that sets an alias.
        let by_alias = link.aliases(publication.topic, delivery) && !link.outbound.holds_replayed();
        let appended = if by_alias {
            self.append_by_alias(courier, taker, encoder, link, form)
        } else {
            self.append(courier, taker, encoder, link, form)
        };
        if let Err(reason) = appended {
            return refused(courier, ticket, reason);
        }
        delivering.sent.packets += 1;
        delivering.sent.bytes += link.outbound.bytes() - before;
        note_live(session, publication);
        Self::soiled(courier, &taker.slot, link);
        Delivered::Settled
    }

    /// Whether a member of a group can send a message of QoS 1 or 2 at once.
    fn takes_now(&self, session: &Session, link: Option<&Link>, offer: Offer<'_>) -> bool {
        link.is_some_and(|link| {
            room(Some(link), self.limits.outbound.soft_bytes_max) == Room::Open
                && session.takes_at_once(&link.terms, &self.limits.session)
                && offer.fits(&link.terms)
        })
    }

    /// Appends the packet as other takers get it too, or says why it is dropped.
    #[inline]
    fn append(
        &self,
        courier: &mut Courier,
        taker: &Taker,
        encoder: &mut Encoder<'_>,
        link: &mut Link,
        form: Form,
    ) -> Result<(), DropReason> {
        let Form { delivery, retain, commit } = form;
        let chosen = encoder.choose(link.terms.version, delivery, &taker.subscription_ids);
        if delivery == Delivery::AtMostOnce {
            self.may_append(courier, encoder.publication, link, chosen.length)?;
        }
        // Sent before it is kept, it could be sent once more after a restart, to a client that has
        // released its identifier.
        let must_be_kept = matches!(delivery, Delivery::ExactlyOnce { .. })
            && self.journal.keeps() == Keeps::Changes;
        if must_be_kept || link.outbound.holds_replayed() {
            let commit = if must_be_kept { commit } else { CommitNumber::NONE };
            let mut packet = courier.spare.take();
            encoder.write(chosen, delivery, retain, &mut packet);
            link.append(&packet, commit, &*self.journal, &mut courier.spare);
            courier.spare.give(packet);
        } else {
            encoder.append(chosen, delivery, retain, link, &mut courier.spare);
        }
        Ok(())
    }

    /// The same for a taker that allows Topic Aliases. Out of the way of all others, which is
    /// measured.
    #[inline(never)]
    fn append_by_alias(
        &self,
        courier: &mut Courier,
        taker: &Taker,
        encoder: &mut Encoder<'_>,
        link: &mut Link,
        form: Form,
    ) -> Result<(), DropReason> {
        let Form { delivery, retain, .. } = form;
        let own = encoder.own(link.terms.version, delivery, retain, &taker.subscription_ids);
        if delivery == Delivery::AtMostOnce {
            self.may_append(courier, encoder.publication, link, own.length)?;
        }
        encoder.append_own(own, link, &mut courier.spare);
        Ok(())
    }

    /// Offers a message of QoS 1 or 2 to a Session: its answer, and what that waits for.
    fn offer(
        &self,
        courier: &mut Courier,
        session: &mut Session,
        link: Option<&Link>,
        offer: Offer<'_>,
        outcome: &mut Outcome,
    ) -> (Verdict, CommitNumber) {
        let room = room(link, self.limits.outbound.soft_bytes_max);
        let waits = room != Room::Open || session.has_queued();
        let store_full = waits && session.is_kept() && self.journal.is_full();
        let memory_full = waits && courier.is_memory_exhausted() && !session.is_stored(room);
        if store_full || memory_full {
            let reason = if store_full { DropReason::StoreFull } else { DropReason::MemoryFull };
            courier.effects.drop_message(reason);
            outcome.refused += 1;
            outcome.store_full |= store_full;
            return (Verdict::Refused, CommitNumber::NONE);
        }
        if let Some(ticket) = offer.ticket {
            // Until it is acknowledged the group owes it, whatever becomes of this member.
            courier.effects.changes.extend(recorded(queued(ticket, offer.message)));
        }
        let terms = link.map(|link| &link.terms);
        let (bytes, before) = (session.loaded_bytes(), Weight::of(session));
        let verdict = session.offer(offer, terms, room, &self.limits.session, &mut courier.effects);
        courier.reweigh(before, Weight::of(session));
        let commit = self.journal_changes(courier);
        outcome.commit = outcome.commit.max(commit);
        outcome.refused += usize::from(verdict == Verdict::Refused);
        outcome.accepted += usize::from(verdict != Verdict::Refused);
        outcome.fills |= verdict == Verdict::Queued && session.loaded_bytes() > bytes;
        (verdict, commit)
    }

    /// Whether a message of QoS 0 may be appended for a client, or why it is dropped.
    fn may_append(
        &self,
        courier: &Courier,
        publication: &Publication<'_>,
        link: &Link,
        length: usize,
    ) -> Result<(), DropReason> {
        if length > link.terms.maximum_packet_size {
            return Err(DropReason::TooLarge); // [MQTT-3.1.2-25]
        }
        // What is there already counts, not the message: a large one would meet the limit as soon
        // as anything waits, and the last write may only just have ended.
        match room(Some(link), self.limits.outbound.soft_bytes_max) {
            Room::Open if link.outbound.bytes() == 0 => return Ok(()),
            Room::Open => {}
            Room::Full | Room::Away => return Err(DropReason::OutboundFull),
        }
        // One to be retained was taken into the memory already; its takers are to have it too.
        let sheds = courier.memory() != Memory::Enough && !publication.retain;
        if sheds { Err(DropReason::MemoryFull) } else { Ok(()) }
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

/// A message of QoS 0 that a client does not take: another member of its group may.
fn refused(courier: &mut Courier, ticket: Option<&Ticket>, reason: DropReason) -> Delivered {
    if ticket.is_some() {
        return Delivered::NotNow;
    }
    courier.effects.drop_message(reason);
    Delivered::Settled
}

/// Whether a client takes more of QoS 1 and 2 right now.
pub(super) fn room(link: Option<&Link>, soft: usize) -> Room {
    match link {
        None => Room::Away,
        Some(link) if link.outbound.bytes() >= soft => Room::Full,
        Some(_) => Room::Open,
    }
}
