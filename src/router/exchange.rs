//! What a client's own packets do to its Session: acknowledgements, Subscriptions, answers.

use std::sync::Arc;

use super::Router;
use super::courier::Courier;
#[cfg(doc)]
use super::link::Flags;
use super::link::{Flow, Link};
use super::memory::{Memory, Weight};
use super::retained::Step;
use super::slot::{Attachment, SlotState};
use crate::change::{CommitNumber, Keeps, Subscription};
use crate::message::Message;
use crate::packet::{
    Delivery, PacketId, PubRel, Publish, QoS, ReasonCode, encode_publish_head, publish_length,
};
use crate::session::{
    DropReason, Next, Offer, ProtocolError, PubRecAnswer, Receipt, Refusal, ReplayStep, Room,
    Session, Subscribed, Verdict,
};
use crate::topic::{Cursor, SubscriptionFilter};

/// What was done, and what an answer has to wait for.
#[derive(Clone, Copy, Debug)]
pub struct Answered<R> {
    pub result: R,
    pub commit: CommitNumber,
}

/// Acknowledgements of a client for what it was sent.
#[derive(Clone, Copy, Debug)]
pub enum Acknowledged {
    PubAck(PacketId),
    PubRec(PacketId, ReasonCode),
    PubComp(PacketId),
}

impl Router {
    /// Works on this connection's Session under its lock. `None` if another connection took over:
    /// nothing may be touched any more.
    pub(super) fn with_session<R>(
        &self,
        courier: &mut Courier,
        attachment: &Attachment,
        act: impl FnOnce(&mut Session, &mut Link, &mut Courier) -> R,
    ) -> Option<Answered<R>> {
        let mut guard = attachment.slot.lock();
        let SlotState { session, link, generation, memberships, promised, .. } = &mut *guard;
        if *generation != attachment.generation {
            return None;
        }
        let (session, link) = (session.as_mut()?, link.as_mut()?);
        let (weight, outbound_bytes) = (Weight::of(session), link.outbound.bytes());
        let result = act(session, link, courier);
        // Before anything is drawn, which may submit what it changes on its own.
        let commit = self.journal_changes(courier);
        *promised = (*promised).max(commit);
        if !memberships.is_empty() {
            self.draw_if_ready_now(&attachment.slot, session, link, memberships, courier);
            self.journal_changes(courier);
        }
        courier.reweigh(weight, Weight::of(session));
        courier.counters.outbound_bytes.change(outbound_bytes, link.outbound.bytes());
        if !link.outbound.is_empty() {
            Self::soiled(courier, &attachment.slot, link);
        }
        drop(guard);
        courier.count_drops();
        Some(Answered { result, commit })
    }

    /// Appends encoded answers. They leave when `commit` is kept, in the order of these calls.
    /// Whether so much is unwritten that the client has to read before it is heard again: then
    /// [`Flags::DRAINED`] follows. `None` if another connection took over.
    pub fn answer(
        &self,
        courier: &mut Courier,
        attachment: &Attachment,
        answers: &[u8],
        commit: CommitNumber,
    ) -> Option<bool> {
        let answered = self.with_session(courier, attachment, |_, link, courier| {
            if !answers.is_empty() {
                link.append(answers, commit, &*self.journal, &mut courier.spare);
            }
            let full = link.outbound.bytes() >= self.limits.outbound.hard_bytes_max;
            link.wants_drained |= full;
            full
        })?;
        Some(answered.result)
    }

    /// A QoS 2 PUBLISH came in: whether it is the first of its Packet Identifier.
    pub fn receive_publish(
        &self,
        courier: &mut Courier,
        attachment: &Attachment,
        id: PacketId,
    ) -> Option<Answered<Receipt>> {
        let mut answered = self.with_session(courier, attachment, |session, _, courier| {
            session.receive_publish(id, &mut courier.effects)
        })?;
        if answered.result == Receipt::Repeated {
            // It changed nothing, but the first one may not be kept yet.
            answered.commit = answered.commit.max(attachment.slot.lock().promised);
        }
        Some(answered)
    }

    /// Whether a QoS 2 PUBLISH with this Packet Identifier came in before and waits for its PUBREL.
    pub fn has_received(
        &self,
        courier: &mut Courier,
        attachment: &Attachment,
        id: PacketId,
    ) -> Option<bool> {
        let answered =
            self.with_session(courier, attachment, |session, _, _| session.has_received(id))?;
        Some(answered.result)
    }

    /// A PUBREL came in, or a QoS 2 PUBLISH was refused: whether its identifier was known.
    pub fn release_publish(
        &self,
        courier: &mut Courier,
        attachment: &Attachment,
        id: PacketId,
    ) -> Option<Answered<bool>> {
        self.with_session(courier, attachment, |session, _, courier| {
            session.release_publish(id, &mut courier.effects)
        })
    }

    /// The same for several PUBRELs: `released` gets each identifier, and whether it was known.
    pub fn release_publishes(
        &self,
        courier: &mut Courier,
        attachment: &Attachment,
        ids: impl Iterator<Item = PacketId>,
        mut released: impl FnMut(PacketId, bool),
    ) -> Option<Answered<()>> {
        self.with_session(courier, attachment, |session, _, courier| {
            for id in ids {
                released(id, session.release_publish(id, &mut courier.effects));
            }
        })
    }

    /// The client acknowledged something: what waited for it is sent.
    ///
    /// # Errors
    /// If an acknowledgement belongs to another exchange; those behind it are not looked at.
    pub fn acknowledge(
        &self,
        courier: &mut Courier,
        attachment: &Attachment,
        acknowledged: impl IntoIterator<Item = Acknowledged>,
    ) -> Result<(), ProtocolError> {
        let done = self.with_session(courier, attachment, |session, link, courier| {
            for acknowledged in acknowledged {
                match acknowledged {
                    Acknowledged::PubAck(id) => drop(session.puback(id, &mut courier.effects)?),
                    Acknowledged::PubComp(id) => drop(session.pubcomp(id, &mut courier.effects)?),
                    Acknowledged::PubRec(id, reason) => {
                        self.pubrec(session, link, courier, id, reason)?;
                    }
                }
            }
            if session.has_queued() {
                self.pump(session, link, courier);
            }
            Ok(())
        });
        done.map_or(Ok(()), |answered| answered.result)
    }

    fn pubrec(
        &self,
        session: &mut Session,
        link: &mut Link,
        courier: &mut Courier,
        id: PacketId,
        reason: ReasonCode,
    ) -> Result<(), ProtocolError> {
        let reason = match session.pubrec(id, reason, &mut courier.effects)? {
            PubRecAnswer::Release => ReasonCode::Success,
            PubRecAnswer::UnknownId => ReasonCode::PacketIdentifierNotFound,
            PubRecAnswer::Nothing => return Ok(()),
        };
        self.send_pubrel(link, courier, id, reason);
        Ok(())
    }

    fn send_pubrel(
        &self,
        link: &mut Link,
        courier: &mut Courier,
        id: PacketId,
        reason: ReasonCode,
    ) {
        let mut packet = courier.spare.take();
        PubRel::new(id, reason).encode(link.terms.version, &mut packet);
        courier.counters.answers_sent.add(1);
        let commit = self.journal_changes(courier);
        link.append(&packet, commit, &*self.journal, &mut courier.spare);
        courier.spare.give(packet);
    }

    /// Sends what waits in the Session, as far as the connection takes it.
    pub(super) fn pump(&self, session: &mut Session, link: &mut Link, courier: &mut Courier) {
        let soft = self.limits.outbound.soft_bytes_max;
        let now = courier.instant();
        let terms = link.terms;
        while link.outbound.bytes() < soft
            && let Some(next) = session.next(&terms, now, &mut courier.effects)
        {
            self.emit(next, link, courier);
        }
        if let Some(fetch) = session.begin_fetch() {
            link.fetch(fetch, &*self.journal);
        }
    }

    /// The store has read queued messages back: what the client takes of them is sent.
    pub fn load_fetched(&self, courier: &mut Courier, attachment: &Attachment) {
        self.with_session(courier, attachment, |session, link, courier| {
            if let Some(fetched) = link.take_fetched() {
                session.load(fetched, &mut courier.effects);
                self.pump(session, link, courier);
            }
        });
    }

    /// Encodes one packet of the Session into the connection's outbound buffer.
    fn emit(&self, next: Next<'_>, link: &mut Link, courier: &mut Courier) {
        match next {
            Next::PubRel(id) => self.send_pubrel(link, courier, id, ReasonCode::Success),
            Next::Publish { publish, message } => {
                let exactly_once = matches!(publish.delivery, Delivery::ExactlyOnce { .. });
                let must_be_kept = exactly_once && self.journal.keeps() == Keeps::Changes;
                let length = if must_be_kept || link.outbound.holds_replayed() {
                    self.emit_when_kept(&publish, link, courier)
                } else {
                    emit_now(publish, message, link, courier)
                };
                courier.spend(1, length);
                courier.counters.publishes_sent.add(1);
                courier.counters.payload_bytes_sent.add(message.payload.len() as u64);
            }
        }
    }

    /// A QoS 2 PUBLISH of a Session that is kept: sent when its Packet Identifier is kept too.
    fn emit_when_kept(
        &self,
        publish: &Publish<'_>,
        link: &mut Link,
        courier: &mut Courier,
    ) -> usize {
        let mut packet = courier.spare.take();
        let head = encode_publish_head(publish, link.terms.version, &mut packet);
        packet.extend_from_slice(publish.payload);
        let commit = self.journal_changes(courier);
        link.append(&packet, commit, &*self.journal, &mut courier.spare);
        courier.spare.give(packet);
        head.length
    }

    /// The store has kept something: what waited for it may leave.
    ///
    /// # Errors
    /// If something still waits and the store cannot write: nobody knows for how long.
    pub fn release_kept(
        &self,
        courier: &mut Courier,
        attachment: &Attachment,
    ) -> Result<(), ProtocolError> {
        let done = self.with_session(courier, attachment, |_, link, _| {
            if link.flow == Flow::Gated {
                link.flow = Flow::Clean;
            }
            let kept = self.journal.kept();
            let next = link.outbound.release(kept);
            if (next.is_some() || link.outbound.gate > kept) && self.is_store_failing() {
                return Err(ProtocolError::StoreFailing);
            }
            if let Some(commit) = next {
                self.journal.wake_when_kept(commit, &Arc::clone(&link.signal).into());
            }
            Ok(())
        });
        done.map_or(Ok(()), |answered| answered.result)
    }

    /// Adds or replaces a Subscription.
    pub fn subscribe(
        &self,
        courier: &mut Courier,
        attachment: &Attachment,
        filter: &SubscriptionFilter,
        subscription: Subscription,
    ) -> Option<Answered<Result<Subscribed, Refusal>>> {
        let answered = self.with_session(courier, attachment, |session, _, courier| {
            if session.is_kept() && self.is_store_failing() {
                return Err(Refusal::StoreFailing);
            }
            if session.subscription(filter).is_none() {
                if courier.memory() != Memory::Enough {
                    return Err(Refusal::MemoryFull);
                }
                if session.is_kept() && self.journal.is_full() {
                    return Err(Refusal::StoreFull);
                }
            }
            session.subscribe(filter, subscription, &self.limits.session, &mut courier.effects)
        })?;
        if answered.result.is_ok() {
            self.reconcile(courier, &attachment.slot, filter);
        }
        Some(answered)
    }

    /// Removes a Subscription: whether there was one.
    pub fn unsubscribe(
        &self,
        courier: &mut Courier,
        attachment: &Attachment,
        filter: &SubscriptionFilter,
    ) -> Option<Answered<Result<bool, Refusal>>> {
        let answered = self.with_session(courier, attachment, |session, _, courier| {
            if session.is_kept() && self.is_store_failing() {
                return Err(Refusal::StoreFailing);
            }
            Ok(session.unsubscribe(filter, &mut courier.effects))
        })?;
        if answered.result == Ok(true) {
            self.reconcile(courier, &attachment.slot, filter);
        }
        Some(answered)
    }

    /// Sends a slice of Retained Messages that was read from the tree.
    pub(super) fn end_replay(
        &self,
        courier: &mut Courier,
        attachment: &Attachment,
        step: &ReplayStep,
        messages: &[Arc<Message>],
        next: Option<Cursor>,
    ) -> Step {
        let answered = self.with_session(courier, attachment, |session, link, courier| {
            session.end_replay_step(step, messages, next, |session, offer| {
                let exactly_once = offer.qos == QoS::ExactlyOnce;
                self.send_at_once(session, link, courier, offer);
                if exactly_once {
                    link.outbound.note_replayed();
                }
            });
            if session.is_replaying() { Step::More } else { Step::Done }
        });
        answered.map_or(Step::Done, |answered| answered.result)
    }

    /// Sends a message to a client that was found to have room for it.
    pub(super) fn send_at_once(
        &self,
        session: &mut Session,
        link: &mut Link,
        courier: &mut Courier,
        offer: Offer<'_>,
    ) {
        // A slice was measured to fit, so room is asked for once a slice and not for each message;
        // before a group's message it was just looked for.
        let delivery = if offer.qos > QoS::AtMostOnce {
            let limits = &self.limits.session;
            let effects = &mut courier.effects;
            match session.offer(offer, Some(&link.terms), Room::Open, limits, effects) {
                Verdict::Send(delivery) => delivery,
                Verdict::Queued | Verdict::Refused | Verdict::Dropped => return,
            }
        } else if offer.fits(&link.terms) {
            Delivery::AtMostOnce
        } else {
            return courier.effects.drop_message(DropReason::TooLarge);
        };
        let publish = offer.publish(delivery, courier.instant());
        self.emit(Next::Publish { publish, message: offer.message }, link, courier);
    }

    /// Frees what the Session of an idle connection does not need.
    pub fn shrink(&self, courier: &mut Courier, attachment: &Attachment) {
        self.with_session(courier, attachment, |session, _, _| session.shrink());
    }
}

/// By a Topic Alias if the client takes any.
fn emit_now(
    mut publish: Publish<'_>,
    message: &Message,
    link: &mut Link,
    courier: &mut Courier,
) -> usize {
    if link.aliases(&message.topic, publish.delivery) {
        let length = publish_length(&publish, link.terms.version);
        link.name_topic(&message.topic, length).apply(&mut publish);
    }
    link.append_publish(&publish, || message.payload.clone(), &mut courier.spare)
}
