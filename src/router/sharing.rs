//! Messages of Shared Subscriptions: from a publisher, from those that wait, and from a member that
//! left, to a member that can take them.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Router;
use super::courier::Courier;
use super::encode::Encoder;
use super::link::Link;
use super::matches::Taker;
use super::memory::Weight;
use super::publish::{Delivered, Delivering, Origin, room};
use super::shared_subscription::{
    Candidate, Connection, Enqueued, Estate, Group, GroupStatus, Membership, Presence,
};
use super::slot::{Slot, SlotState};
use crate::change::{
    Change, CommitNumber, Epoch, Owed, Recorded, SessionExpiry, Ticket, TicketStanding,
};
use crate::message::Remaining;
use crate::packet::QoS;
use crate::session::{DropReason, Offer, Room, Session, SubscriptionIds};
use crate::topic::SubscriptionFilter;

/// Members asked for one message before it waits in the group.
const ASKED: usize = 8;

impl Router {
    /// Delivers a publication to one member of a group.
    pub(super) fn share(
        &self,
        courier: &mut Courier,
        group: &Arc<Group>,
        encoder: &mut Encoder<'_>,
        delivering: &mut Delivering<'_>,
        origin: Origin<'_>,
    ) {
        let publication = delivering.publication;
        let ticket = group.ticket(publication.topic, origin.client_id());
        let lane = ticket.lane;
        delivering.ticket = Some(ticket);
        let mut tried: SmallVec<[u64; ASKED]> = SmallVec::new();
        while tried.len() < ASKED
            && let Some(candidate) = group.candidate(lane, publication.qos, &tried)
        {
            tried.push(candidate.number);
            let member = Taker::by(candidate.slot, candidate.entry);
            if self.deliver(courier, &member, encoder, delivering) == Delivered::Settled {
                delivering.outcome.takers += 1;
                return;
            }
        }
        let Some(ticket) = delivering.ticket.take() else { return };
        let Some(message) =
            delivering.message.clone().filter(|message| message.qos > QoS::AtMostOnce)
        else {
            delivering.outcome.takers += 1;
            return self.drop_unshared(courier, group);
        };
        let store_full = ticket.standing == TicketStanding::Kept && self.journal.is_full();
        if store_full || courier.is_memory_exhausted() {
            delivering.outcome.takers += 1;
            delivering.outcome.refused += 1;
            delivering.outcome.store_full |= store_full;
            let reason = if store_full { DropReason::StoreFull } else { DropReason::MemoryFull };
            return courier.effects.drop_message(reason);
        }
        let mut commit = CommitNumber::NONE;
        let (limits, mut dropped) = (&self.limits.session, Estate::default());
        let enqueued = group.enqueue(&message, &ticket, limits, &mut dropped, |change| {
            commit = self.journal_group(courier, change);
        });
        self.bury_estate(courier, dropped, DropReason::QueueFull);
        delivering.outcome.commit = delivering.outcome.commit.max(commit);
        delivering.outcome.takers += usize::from(enqueued != Enqueued::Over);
        match enqueued {
            Enqueued::Waits => {
                delivering.outcome.accepted += 1;
                courier.weigh_waiting(1, message.bytes());
                self.distribute(courier, group);
                delivering.outcome.fills |= group.has_waiting();
            }
            Enqueued::Refused => {
                delivering.outcome.refused += 1;
                courier.effects.drop_message(DropReason::QueueFull);
            }
            Enqueued::Useless => self.drop_unshared(courier, group),
            Enqueued::Over => {}
        }
    }

    /// Nobody takes a message that may not wait.
    fn drop_unshared(&self, courier: &mut Courier, group: &Group) {
        let reason =
            if group.has_connected() { DropReason::OutboundFull } else { DropReason::Offline };
        courier.effects.drop_message(reason);
    }

    fn journal_group(&self, courier: &mut Courier, change: Option<Change>) -> CommitNumber {
        courier.effects.changes.extend(recorded(change));
        self.journal_changes(courier)
    }

    /// Tells the store that a group which is over owes this message no more.
    pub(super) fn journal_unowed(
        &self,
        courier: &mut Courier,
        group: &Arc<SubscriptionFilter>,
        position: u64,
    ) {
        let group = Arc::clone(group);
        self.journal_group(courier, Some(Change::GroupUnqueued { group, position }));
    }

    /// Sends a client what waits in its groups, as far as it takes it, and lets others know whether
    /// it takes more. Called whenever that may have changed, under its slot's lock.
    pub(super) fn draw(
        &self,
        slot: &Slot,
        session: &mut Session,
        link: &mut Link,
        memberships: &[Membership],
        courier: &mut Courier,
    ) {
        let soft = self.limits.outbound.soft_bytes_max;
        let limits = &self.limits.session;
        loop {
            let ready = slot.standing.update(session, link, limits, soft);
            // Something may have begun to wait before that could be seen.
            let waits = |membership: &Membership| membership.group.waits_for(membership.number);
            if !ready.is_ready(QoS::ExactlyOnce) || !memberships.iter().any(waits) {
                return;
            }
            for Membership { group, number } in memberships {
                while room(Some(link), soft) == Room::Open
                    && session.takes_at_once(&link.terms, limits)
                    && let Some(drawn) = group.draw(*number)
                {
                    courier.weigh_drawn(1, drawn.message.bytes());
                    let options = drawn.subscription.options;
                    let ids: SubscriptionIds = drawn.subscription.id.into_iter().collect();
                    let offer = Offer {
                        message: &drawn.message,
                        qos: drawn.message.qos.min(options.qos),
                        retain: drawn.message.retain && options.retain_as_published,
                        subscription_ids: &ids,
                        ticket: Some(&drawn.ticket),
                    };
                    self.send_drawn(session, link, courier, offer);
                }
            }
        }
    }

    /// [`Self::draw`], if the client was not ready before. While it is, whoever lets a message wait
    /// brings it; a client in many groups would have all of them looked at for each of its packets.
    pub(super) fn draw_if_ready_now(
        &self,
        slot: &Slot,
        session: &mut Session,
        link: &mut Link,
        memberships: &[Membership],
        courier: &mut Courier,
    ) {
        if slot.standing.see().is_ready(QoS::ExactlyOnce) {
            let soft = self.limits.outbound.soft_bytes_max;
            slot.standing.update(session, link, &self.limits.session, soft);
        } else {
            self.draw(slot, session, link, memberships, courier);
        }
    }

    fn send_drawn(
        &self,
        session: &mut Session,
        link: &mut Link,
        courier: &mut Courier,
        offer: Offer<'_>,
    ) {
        let expired = offer.message.remaining(courier.instant()) == Remaining::Expired;
        let unsendable = if expired {
            Some(DropReason::Expired)
        } else if offer.fits(&link.terms) {
            None
        } else {
            Some(DropReason::TooLarge)
        };
        match unsendable {
            Some(reason) => courier.effects.drop_message(reason),
            None => self.send_at_once(session, link, courier, offer),
        }
        if unsendable.is_some() || offer.qos == QoS::AtMostOnce {
            session.settled_ticket(offer.ticket, &mut courier.effects);
        }
    }

    /// Gives what waits in a group to members that are ready. No slot may be locked.
    pub(super) fn distribute(&self, courier: &mut Courier, group: &Group) {
        let mut last = 0;
        while let Some(Candidate { number, slot, .. }) = group.next_ready(last) {
            last = number;
            self.draw_for(courier, &slot);
        }
        courier.count_drops();
    }

    /// [`Self::draw`] for a slot that is not locked.
    fn draw_for(&self, courier: &mut Courier, slot: &Arc<Slot>) {
        let mut guard = slot.lock();
        let SlotState { session, link, memberships, .. } = &mut *guard;
        let (Some(session), Some(link)) = (session, link) else { return };
        let (weight, outbound_bytes) = (Weight::of(session), link.outbound.bytes());
        self.draw(slot, session, link, memberships, courier);
        self.journal_changes(courier);
        courier.reweigh(weight, Weight::of(session));
        courier.counters.outbound_bytes.change(outbound_bytes, link.outbound.bytes());
        if !link.outbound.is_empty() {
            Self::soiled(courier, slot, link);
        }
    }

    /// Takes what a member left unacknowledged back to its groups, under its slot's lock: what of
    /// it has no group to go to.
    pub(super) fn take_back(
        &self,
        courier: &mut Courier,
        session: &mut Session,
        memberships: &[Membership],
    ) -> Vec<Owed> {
        let group_of = |ticket: &Ticket| {
            memberships.iter().find(|membership| Arc::ptr_eq(&membership.group.id, &ticket.group))
        };
        let mut left = Vec::new();
        if memberships.is_empty() {
            return left;
        }
        for owed in session.give_back(&mut courier.effects, |ticket| group_of(ticket).is_some()) {
            let membership = owed.ticket.as_ref().and_then(group_of);
            let put_back = membership.map_or(Enqueued::Over, |membership| {
                membership.group.put_back(&owed, |change| {
                    self.journal_group(courier, change);
                })
            });
            if put_back == Enqueued::Waits {
                courier.weigh_waiting(1, owed.message.bytes());
            } else {
                left.push(owed);
            }
        }
        left
    }

    /// Gives what a member left unacknowledged of groups that it had left before to these groups.
    /// No slot may be locked.
    pub(super) fn hand_over(&self, courier: &mut Courier, given_back: Vec<Owed>) {
        let mut groups: SmallVec<[Arc<Group>; 2]> = SmallVec::new();
        for owed in given_back {
            let Some(ticket) = &owed.ticket else { continue };
            let known = groups.iter().find(|group| Arc::ptr_eq(&group.id, &ticket.group)).cloned();
            let group = known.or_else(|| self.subscriptions.group(&ticket.group));
            let put_back = group.as_ref().map_or(Enqueued::Over, |group| {
                group.put_back(&owed, |change| {
                    self.journal_group(courier, change);
                })
            });
            if put_back == Enqueued::Waits {
                courier.weigh_waiting(1, owed.message.bytes());
            } else {
                courier.effects.drop_message(DropReason::Ended);
                self.journal_group(courier, ticket.settled());
            }
            if let Some(group) = group
                && !groups.iter().any(|known| Arc::ptr_eq(known, &group))
            {
                groups.push(group);
            }
        }
        for group in groups {
            self.distribute(courier, &group);
        }
        courier.count_drops();
    }

    /// Brings the tree and the groups in step with what a Session says of a filter.
    pub(super) fn reconcile(
        &self,
        courier: &mut Courier,
        slot: &Arc<Slot>,
        filter: &SubscriptionFilter,
    ) {
        if filter.share.is_none() {
            return self.subscriptions.reconcile(slot, &filter.filter);
        }
        let estates = self.subscriptions.reconcile_shared(slot, filter, self.limits.sharing);
        for estate in estates {
            self.bury_estate(courier, estate, DropReason::Ended);
        }
        self.draw_for(courier, slot);
        // Who leaves may have been the one that messages waited for.
        if let Some(group) = self.subscriptions.group(filter) {
            self.distribute(courier, &group);
        }
        courier.count_drops();
    }

    /// Counts messages that a group owes no more, and tells the store.
    fn bury_estate(&self, courier: &mut Courier, estate: Estate, reason: DropReason) {
        let Estate { messages, bytes, changes } = estate;
        courier.weigh_drawn(messages, bytes);
        courier.effects.drop_messages(reason, messages);
        for change in changes {
            self.journal_group(courier, Some(change));
        }
    }

    /// All groups: who is in them, and what waits.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupStatus> {
        self.subscriptions.groups().iter().map(|group| group.status()).collect()
    }
}

/// A change that no claim on a Client Identifier stands behind.
pub(super) fn recorded(change: Option<Change>) -> Option<Recorded> {
    change.map(|change| Recorded { epoch: Epoch::default(), change })
}

impl SlotState {
    /// Tells the groups that the client is there, or gone.
    pub(super) fn tell_groups(&self, slot: &Slot, connection: Connection) {
        if self.memberships.is_empty() {
            return;
        }
        if connection == Connection::Away {
            slot.standing.away();
        }
        let presence = self.presence(connection);
        for Membership { group, number } in &self.memberships {
            group.set_presence(*number, presence);
        }
    }

    pub(super) fn presence(&self, connection: Connection) -> Presence {
        let expiry = self.session.as_ref().map(Session::expiry);
        let lasting = expiry.is_some_and(|expiry| expiry != SessionExpiry::AtDisconnect);
        Presence { connection, lasting }
    }

    /// Groups that the slot is a member of and that have something waiting.
    pub(super) fn waiting_groups(&self) -> Vec<Arc<Group>> {
        let waiting = self.memberships.iter().filter(|membership| membership.group.has_waiting());
        waiting.map(|membership| Arc::clone(&membership.group)).collect()
    }
}
