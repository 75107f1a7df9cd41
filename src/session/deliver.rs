//! What a Session owes its client: sent now, queued, or refused.
//!
//! Messages of QoS 1 and 2 reach a client in the order in which they were offered [MQTT-4.6.0-5]:
//! nothing is sent past something that waits. QoS 0 needs none of this and never comes here.

use std::sync::Arc;
use std::time::Instant;

use super::connect::Terms;
use super::effects::{DropReason, Effects};
use super::inflight::{Abandoned, Entry, Inflight, Stage};
use super::limits::{Limits, QueueWhenFull};
use super::queue::{Queue, Slice};
use super::state::Session;
use crate::change::{Change, Fetch, Fetched, Owed, SubscriptionIds, Ticket};
use crate::message::{Message, Remaining};
use crate::packet::{
    Delivery, PacketId, Publish, PublishProperties, QoS, SubscriptionIds as SubscriptionIdsView,
    publish_length,
};

/// Exchanges of earlier connections that may wait for their PUBCOMP while new messages are sent.
/// They count against no Receive Maximum, so a client could pile them up by reconnecting.
const UNCHARGED_MAX: usize = 1_024;

/// One message for one Session, of QoS 1 or 2 after its Subscription lowered it.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    pub message: &'a Arc<Message>,
    pub qos: QoS,
    pub retain: bool,
    pub subscription_ids: &'a SubscriptionIds,
    /// Of a message that belongs to a group: it is sent at once or not taken, see
    /// [`Session::takes_at_once`].
    pub ticket: Option<&'a Ticket>,
}

impl<'a> Offer<'a> {
    fn of(owed: &'a Owed) -> Self {
        Self {
            message: &owed.message,
            qos: owed.qos,
            retain: owed.retain,
            subscription_ids: &owed.subscription_ids,
            ticket: owed.ticket.as_ref(),
        }
    }

    /// The packet it is sent as.
    #[must_use]
    pub fn publish(&self, delivery: Delivery, now: Instant) -> Publish<'a> {
        // Once a PUBLISH was sent it no longer expires [MQTT-4.3.3-7], so an interval that has
        // passed is passed on as 0.
        let message_expiry = match self.message.remaining(now) {
            Remaining::Unlimited => None,
            Remaining::Seconds(seconds) => Some(seconds),
            Remaining::Expired => Some(0),
        };
        self.view(delivery, message_expiry)
    }

    fn to_owed(self) -> Owed {
        Owed {
            message: Arc::clone(self.message),
            qos: self.qos,
            retain: self.retain,
            subscription_ids: self.subscription_ids.clone(),
            ticket: self.ticket.cloned(),
        }
    }

    fn view(&self, delivery: Delivery, message_expiry: Option<u32>) -> Publish<'a> {
        Publish {
            delivery,
            retain: self.retain,
            topic: self.message.topic.as_str().as_bytes(),
            properties: PublishProperties {
                topic_alias: None,
                message_expiry,
                subscription_ids: SubscriptionIdsView::from_slice(self.subscription_ids),
                forwarded: self.message.properties.as_view(),
            },
            payload: &self.message.payload,
        }
    }

    /// Whether the client takes a packet of this size [MQTT-3.1.2-24].
    #[must_use]
    pub fn fits(&self, terms: &Terms) -> bool {
        // What it is accounted with is more than its packet has, so this look is nearly always
        // enough.
        let maximum = terms.maximum_packet_size;
        if self.subscription_ids.is_empty() && self.message.bytes() <= maximum {
            return true;
        }
        let delivery = first_delivery(self.qos, PacketId::MIN);
        let publish = self.view(delivery, self.message.expires_at.map(|_| 0));
        publish_length(&publish, terms.version) <= maximum
    }
}

/// Whether the client's connection takes more right now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// The client is away.
    Away,
    /// Its outbound buffer is beyond the soft limit.
    Full,
    Open,
}

/// What became of an offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// To be sent now, like this.
    Send(Delivery),
    Queued,
    /// Not taken, counted: a 5.0 publisher is told if nobody else took it.
    Refused,
    /// Of no use to this client alone, counted: nobody's fault.
    Dropped,
}

/// The next packet to send to the client.
#[derive(Debug)]
pub enum Next<'s> {
    /// `publish` is made of `message`, whose topic and payload may be shared.
    Publish {
        publish: Publish<'s>,
        message: &'s Message,
    },
    PubRel(PacketId),
}

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) inflight: Inflight,
    pub(super) queue: Queue,
}

impl Outgoing {
    /// Nothing is owed yet. Packet Identifiers begin after this one.
    fn new(last_packet_id: u16) -> Self {
        Self { inflight: Inflight::new(last_packet_id), queue: Queue::default() }
    }

    /// Whether the client's Receive Maximum leaves room for one PUBLISH [MQTT-3.3.4-9].
    fn may_send(&self, terms: &Terms) -> bool {
        self.inflight.charged() < terms.receive_maximum.get()
    }

    /// Whether one more message may become inflight.
    fn may_begin(&self, terms: &Terms) -> bool {
        let uncharged = self.inflight.uncharged();
        self.may_send(terms) && uncharged < UNCHARGED_MAX && self.inflight.has_free_id()
    }

    /// PUBREL counts against no Receive Maximum.
    fn may_resend(&self, terms: &Terms) -> bool {
        let is_pubrel = self
            .inflight
            .unsent()
            .is_some_and(|entry| matches!(entry.stage, Stage::Released { .. }));
        is_pubrel || self.may_send(terms)
    }

    fn bytes(&self) -> usize {
        self.inflight.bytes() + self.queue.bytes()
    }

    fn is_empty(&self) -> bool {
        self.inflight.is_empty() && self.queue.is_empty()
    }

    /// Nothing older waits to be sent.
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.inflight.unsent().is_none()
    }

    /// How many of the oldest queued messages have to go before one of so many bytes fits. `None`:
    /// it is to be refused.
    fn in_the_way(&self, bytes: usize, room: Room, limits: &Limits) -> Option<usize> {
        let queued_max =
            if room == Room::Away { limits.queue_offline_messages_max } else { usize::MAX };
        let (mut left, mut queued) = (self.bytes(), self.queue.weights());
        loop {
            // One message always fits a Session that owes nothing, or a large one could never pass.
            let owes_nothing = queued.len() == 0 && self.inflight.is_empty();
            let fits = left + bytes <= limits.queue_bytes_max || owes_nothing;
            if fits && queued.len() < queued_max {
                return Some(self.queue.len() - queued.len());
            }
            match limits.queue_when_full {
                QueueWhenFull::RefuseNewest => return None,
                QueueWhenFull::DropOldest => left -= queued.next()?,
            }
        }
    }
}

impl Session {
    /// Takes one message of QoS 1 or 2 in.
    pub fn offer(
        &mut self,
        offer: Offer<'_>,
        terms: Option<&Terms>,
        room: Room,
        limits: &Limits,
        effects: &mut Effects,
    ) -> Verdict {
        let bytes = offer.message.bytes();
        let stored = self.is_stored(room);
        let outgoing = self.outgoing();
        // A group's message was found to have a place, and may be the one that passes the limit.
        let in_the_way =
            if offer.ticket.is_some() { Some(0) } else { outgoing.in_the_way(bytes, room, limits) };
        let Some(in_the_way) = in_the_way else {
            effects.drop_message(DropReason::QueueFull);
            return Verdict::Refused;
        };
        if terms.is_some_and(|terms| !offer.fits(terms)) {
            effects.drop_message(DropReason::TooLarge);
            return Verdict::Dropped;
        }
        self.drop_oldest(in_the_way, effects);
        let position = self.next_position;
        let outgoing = self.outgoing();
        if let Some(terms) = terms
            && room == Room::Open
            && outgoing.is_idle()
            && outgoing.may_begin(terms)
            && let Some(id) = outgoing.inflight.begin(offer.to_owed())
        {
            self.keep_sent(None, effects);
            return Verdict::Send(first_delivery(offer.qos, id));
        }
        if stored {
            outgoing.queue.push_stored(position, bytes);
        } else {
            outgoing.queue.push(position, offer.to_owed());
        }
        self.next_position = position.saturating_add(1);
        self.keep(effects, |client_id| Change::Queued {
            client_id,
            position,
            owed: offer.to_owed(),
        });
        Verdict::Queued
    }

    /// Whether a message of a group could be sent now: nothing older waits, and neither the window
    /// nor the limit is reached, which such a message may pass as the last one.
    #[must_use]
    pub fn takes_at_once(&self, terms: &Terms, limits: &Limits) -> bool {
        self.outgoing.as_ref().is_none_or(|outgoing| {
            outgoing.is_idle()
                && outgoing.may_begin(terms)
                && outgoing.bytes() < limits.queue_bytes_max
        })
    }

    fn drop_oldest(&mut self, count: usize, effects: &mut Effects) {
        for _ in 0..count {
            let oldest = self.outgoing.as_mut().and_then(|outgoing| outgoing.queue.drop_oldest());
            let Some(position) = oldest else { return };
            effects.drop_message(DropReason::QueueFull);
            self.keep(effects, |client_id| Change::Unqueued { client_id, position });
        }
    }

    /// Whether something waits for [`Self::next`].
    #[must_use]
    pub fn has_queued(&self) -> bool {
        self.outgoing.as_ref().is_some_and(|outgoing| {
            !outgoing.queue.is_empty() || outgoing.inflight.unsent().is_some()
        })
    }

    /// Whether the client has been sent something that it has still to acknowledge.
    #[must_use]
    pub fn awaits_acknowledgement(&self) -> bool {
        self.outgoing.as_ref().is_some_and(|outgoing| !outgoing.inflight.is_empty())
    }

    /// How many messages of QoS 1 and 2 may be sent before the client acknowledges one.
    pub(super) fn window_left(&self, terms: &Terms) -> usize {
        usize::from(terms.receive_maximum.get().saturating_sub(self.open_messages()))
    }

    /// How many messages of QoS 1 and 2 the client has and did not acknowledge.
    #[must_use]
    pub fn open_messages(&self) -> u16 {
        self.outgoing.as_ref().map_or(0, |outgoing| outgoing.inflight.charged())
    }

    /// Messages waiting or unacknowledged, in bytes as they are accounted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.outgoing.as_ref().map_or(0, |outgoing| outgoing.bytes())
    }

    /// The same without those that the store alone has.
    #[must_use]
    pub fn loaded_bytes(&self) -> usize {
        let outgoing = self.outgoing.as_ref();
        outgoing.map_or(0, |outgoing| outgoing.inflight.bytes() + outgoing.queue.loaded_bytes())
    }

    /// How many messages the store alone has.
    #[must_use]
    pub fn stored_messages(&self) -> usize {
        self.outgoing.as_ref().map_or(0, |outgoing| outgoing.queue.stored())
    }

    /// Whether a message that has to wait now is left to the store alone: while the client is away,
    /// and behind others of which that is so.
    #[must_use]
    pub fn is_stored(&self, room: Room) -> bool {
        self.is_kept() && (room == Room::Away || self.stored_messages() > 0)
    }

    /// The messages that have to be read back now to be sent soon. Until they come, or the
    /// connection ends, no others are asked for.
    pub fn begin_fetch(&mut self) -> Option<Fetch> {
        let Slice { first, last } = self.outgoing.as_mut()?.queue.begin_fetch()?;
        Some(Fetch { client_id: self.client_id().clone(), first, last })
    }

    /// Messages were read back. What is missing of them was damaged.
    pub fn load(&mut self, fetched: Fetched, effects: &mut Effects) {
        let Fetched { fetch: Fetch { first, last, .. }, messages } = fetched;
        let Some(outgoing) = &mut self.outgoing else { return };
        let mut lost = Vec::new();
        outgoing.queue.load(Slice { first, last }, messages, |position| lost.push(position));
        for position in lost {
            effects.drop_message(DropReason::Damaged);
            self.keep(effects, |client_id| Change::Unqueued { client_id, position });
        }
    }

    /// The same, counted. What waits for PUBCOMP alone is no message any more.
    #[must_use]
    pub fn messages(&self) -> usize {
        let outgoing = self.outgoing.as_ref();
        outgoing.map_or(0, |outgoing| outgoing.queue.len() + outgoing.inflight.published())
    }

    /// The next packet the client may have, which counts as sent: first what was sent on an earlier
    /// connection, then the queue.
    pub fn next(&mut self, terms: &Terms, now: Instant, effects: &mut Effects) -> Option<Next<'_>> {
        let entry = if self.must_resend(terms, effects) {
            let outgoing = self.outgoing.as_mut().filter(|outgoing| outgoing.may_resend(terms))?;
            outgoing.inflight.sent_again()?
        } else {
            self.send_queued(terms, now, effects)?
        };
        Some(match &entry.stage {
            Stage::Released { .. } => Next::PubRel(entry.id),
            Stage::Published(owed) => {
                let delivery = entry.delivery(owed.qos);
                let offer = Offer::of(owed);
                Next::Publish { publish: offer.publish(delivery, now), message: &owed.message }
            }
        })
    }

    /// Whether the next packet is one that was sent before; drops those that grew too large for the
    /// client, which may announce less than on its last connection.
    fn must_resend(&mut self, terms: &Terms, effects: &mut Effects) -> bool {
        loop {
            let Some(outgoing) = &mut self.outgoing else { return false };
            let Some(entry) = outgoing.inflight.unsent() else { return false };
            match &entry.stage {
                Stage::Released { .. } => return true,
                Stage::Published(owed) if Offer::of(owed).fits(terms) => return true,
                Stage::Published(_) => effects.drop_message(DropReason::TooLarge),
            }
            match outgoing.inflight.abandon_unsent() {
                Some(Abandoned::Ended(entry)) => self.settled(&entry, effects),
                Some(Abandoned::Released(id)) => {
                    self.keep(effects, |client_id| Change::Released { client_id, id });
                }
                None => {}
            }
        }
    }

    /// Moves the next message that may be sent from the queue to the messages inflight.
    fn send_queued(
        &mut self,
        terms: &Terms,
        now: Instant,
        effects: &mut Effects,
    ) -> Option<&Entry> {
        loop {
            let outgoing = self.outgoing.as_mut()?;
            if !outgoing.may_begin(terms) {
                return None;
            }
            let (position, owed) = outgoing.queue.pop()?;
            let unsendable = if owed.message.remaining(now) == Remaining::Expired {
                Some(DropReason::Expired)
            } else if Offer::of(&owed).fits(terms) {
                None
            } else {
                Some(DropReason::TooLarge)
            };
            if let Some(reason) = unsendable {
                effects.drop_message(reason);
                self.keep(effects, |client_id| Change::Unqueued { client_id, position });
                continue;
            }
            outgoing.inflight.begin(owed)?;
            self.keep_sent(Some(position), effects);
            return self.outgoing.as_ref()?.inflight.last();
        }
    }

    /// Reports the message that became inflight last.
    fn keep_sent(&self, position: Option<u64>, effects: &mut Effects) {
        let last = self.outgoing.as_ref().and_then(|outgoing| outgoing.inflight.last());
        if let Some(Entry { id, stage: Stage::Published(owed), .. }) = last {
            self.keep(effects, |client_id| Change::Sent {
                client_id,
                position,
                id: *id,
                owed: owed.clone(),
            });
            // From here on it is this Session's own and ends with it [MQTT-4.8.2-4] [MQTT-4.8.2-5].
            if owed.qos == QoS::ExactlyOnce {
                self.settled_ticket(owed.ticket.as_ref(), effects);
            }
        }
    }

    pub(super) fn outgoing(&mut self) -> &mut Outgoing {
        let last_packet_id = self.last_packet_id;
        self.outgoing.get_or_insert_with(|| Box::new(Outgoing::new(last_packet_id)))
    }

    /// Frees what is not needed while the client is silent.
    pub fn shrink(&mut self) {
        self.received.shrink();
        if self.outgoing.as_ref().is_some_and(|outgoing| outgoing.is_empty()) {
            self.outgoing = None;
        }
    }
}

fn first_delivery(qos: QoS, id: PacketId) -> Delivery {
    match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup: false },
    }
}
