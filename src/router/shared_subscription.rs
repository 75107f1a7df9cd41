//! A Shared Subscription (5.0 s4.8.2): the Sessions of a group, and the messages the group owes.
//!
//! A message belongs to the group until a member has acknowledged it. It is sent to a member that
//! can take it at once; while there is none it waits here, so that nothing is parked at a member
//! that is slow or gone.
//!
//! ```text
//! lanes  0: [ 7 9 12 ]       one lane, of which every member takes, or
//!        1: [ 8 ]            256 lanes by hash, each owned by one connected member
//! ```
//!
//! The lock of a group is a leaf: it may be taken with a slot held, and nothing is taken under it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use ahash::RandomState;
use parking_lot::{Mutex, MutexGuard};

use super::slot::Slot;
use super::strategy::Strategy;
use super::subscriptions::Entry;
use super::vital::Vital;
use crate::change::{Change, KeptWaiting, Owed, Subscription, Ticket, TicketStanding};
use crate::message::Message;
use crate::packet::{ClientId, QoS};
use crate::session::{Limits, QueueWhenFull};
use crate::topic::{SubscriptionFilter, TopicName};

/// A group, for as long as it has a member.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: Arc<SubscriptionFilter>,
    strategy: Strategy,
    hasher: RandomState,
    next_position: AtomicU64,
    waiting: AtomicUsize,
    /// A member's Session outlives its connection, so that the group owes messages beyond it.
    lasting: AtomicBool,
    state: Mutex<GroupState>,
}

#[derive(Debug)]
struct GroupState {
    /// By number, which is the order of joining.
    members: Vec<Member>,
    next_number: u64,
    /// The number of the member that was chosen last.
    turn: u64,
    lanes: Vec<Lane>,
    /// Of what waits, as messages are accounted.
    bytes: usize,
}

#[derive(Debug)]
struct Member {
    number: u64,
    slot: Arc<Slot>,
    entry: Entry,
    presence: Presence,
}

#[derive(Debug, Default)]
struct Lane {
    /// The number of the one member that takes from it, under the strategies that have one.
    owner: Option<u64>,
    /// Of the owner for this lane.
    weight: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    message: Arc<Message>,
    standing: TicketStanding,
}

/// What a member's coming and going means for its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Presence {
    pub(super) connection: Connection,
    /// The Session outlives its connection.
    pub(super) lasting: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Connection {
    There,
    Away,
}

/// A slot's place in a group.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    pub(super) group: Arc<Group>,
    pub(super) number: u64,
}

/// A member that could take a message.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) number: u64,
    pub(super) slot: Arc<Slot>,
    pub(super) entry: Entry,
}

/// A message that waited, for the member that asked.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) message: Arc<Message>,
    pub(super) subscription: Subscription,
    pub(super) ticket: Ticket,
}

/// A message that left the queue.
#[derive(Debug)]
struct Popped {
    message: Arc<Message>,
    ticket: Ticket,
}

/// What became of a message that nobody could take at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Enqueued {
    Waits,
    /// The group's limits are reached.
    Refused,
    /// No member wants it above QoS 0.
    Useless,
    /// The group has no member any more.
    Over,
}

/// What a group is up to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupStatus {
    pub filter: SubscriptionFilter,
    pub members: usize,
    pub connected: usize,
    /// Messages that wait for a member: the group's lag.
    pub waiting: usize,
    /// Of these messages, as they are accounted.
    pub bytes: usize,
}

/// Messages that a group owed and owes no more.
#[derive(Debug, Default)]
pub(super) struct Estate {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) changes: Vec<Change>,
}

impl Estate {
    fn add(&mut self, popped: &Popped) {
        self.messages += 1;
        self.bytes += popped.message.bytes();
        self.changes.extend(popped.ticket.settled());
    }
}

impl Group {
    /// What a group is accounted with beside its members and what waits, in bytes.
    pub(super) fn accounted_bytes(strategy: Strategy) -> usize {
        size_of::<Self>() + strategy.lanes() * size_of::<Lane>()
    }

    /// Positions count up from `first_position`, which no earlier group of this name reached.
    pub(super) fn new(filter: SubscriptionFilter, strategy: Strategy, first_position: u64) -> Self {
        let state = GroupState {
            members: Vec::new(),
            next_number: 1,
            turn: 0,
            lanes: (0..strategy.lanes()).map(|_| Lane::default()).collect(),
            bytes: 0,
        };
        Self {
            id: Arc::new(filter),
            strategy,
            // The same in each process: who publishes can fill one lane by one topic as well, and
            // which member has a key is the same in each run of a test.
            hasher: RandomState::with_seeds(1, 2, 3, 4),
            next_position: AtomicU64::new(first_position),
            waiting: AtomicUsize::new(0),
            lasting: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> Vital<MutexGuard<'_, GroupState>> {
        Vital(self.state.lock())
    }

    /// Whether a message waits. Together with [`super::standing::Standing`] it is the promise that
    /// none waits beside a member that could take it.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// The lane of a message, and its place in it should it have to wait.
    pub(super) fn ticket(&self, topic: &TopicName, publisher: Option<&ClientId>) -> Ticket {
        let hash = match self.strategy {
            Strategy::LeastInflight | Strategy::RoundRobin | Strategy::Sticky => 0,
            Strategy::HashTopic => self.hasher.hash_one(topic.as_str()),
            Strategy::HashPublisher => self.hasher.hash_one(publisher.map(ClientId::as_str)),
        };
        let lasting = self.lasting.load(Ordering::Acquire);
        Ticket {
            group: Arc::clone(&self.id),
            position: self.next_position.fetch_add(1, Ordering::Relaxed),
            lane: hash.to_be_bytes()[0],
            standing: if lasting { TicketStanding::Kept } else { TicketStanding::Fleeting },
        }
    }

    /// Adds a member or replaces its Subscription: the member's number.
    pub(super) fn set_member(&self, slot: &Arc<Slot>, entry: Entry) -> u64 {
        let mut state = self.lock();
        if let Some(member) = state.members.iter_mut().find(|member| member.is(slot)) {
            member.entry = entry;
            return member.number;
        }
        let number = state.next_number;
        state.next_number += 1;
        // Until the slot knows that it is a member it counts as away.
        let presence = Presence { connection: Connection::Away, lasting: false };
        state.members.push(Member { number, slot: Arc::clone(slot), entry, presence });
        number
    }

    pub(super) fn remove_member(&self, slot: &Arc<Slot>) {
        let mut state = self.lock();
        let Some(at) = state.members.iter().position(|member| member.is(slot)) else { return };
        let left = state.members.remove(at);
        state.went(self.strategy, &self.hasher, left.number);
        self.note_lasting(&state);
    }

    /// Whether it is still a member under this number.
    pub(super) fn has_member(&self, number: u64) -> bool {
        self.lock().member_mut(number).is_some()
    }

    /// How many members it has.
    pub(super) fn len(&self) -> usize {
        self.lock().members.len()
    }

    /// A member's connection came or went.
    pub(super) fn set_presence(&self, number: u64, presence: Presence) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(member) = state.member_mut(number) else { return };
        let before = std::mem::replace(&mut member.presence, presence);
        if before.lasting != presence.lasting {
            self.note_lasting(state);
        }
        match (before.connection, presence.connection) {
            (Connection::Away, Connection::There) => {
                state.came(self.strategy, &self.hasher, number);
            }
            (Connection::There, Connection::Away) => {
                state.went(self.strategy, &self.hasher, number);
            }
            (Connection::There, Connection::There) | (Connection::Away, Connection::Away) => {}
        }
    }

    fn note_lasting(&self, state: &GroupState) {
        let lasting = state.members.iter().any(|member| member.presence.lasting);
        self.lasting.store(lasting, Ordering::Release);
    }

    /// A member that could take a message at once, none of `tried`. Nobody, if older messages of
    /// its lane wait.
    pub(super) fn candidate(&self, lane: u8, qos: QoS, tried: &[u64]) -> Option<Candidate> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let lane = state.lanes.get(usize::from(lane))?;
        if qos > QoS::AtMostOnce && !lane.waiting.is_empty() {
            return None;
        }
        let free = |member: &&Member| {
            let lowered = qos.min(member.entry.subscription.options.qos);
            member.is_ready(lowered) && !tried.contains(&member.number)
        };
        let turn = state.members.partition_point(|member| member.number <= state.turn);
        let (before, after) = state.members.split_at_checked(turn)?;
        let mut in_turn = after.iter().chain(before).filter(free);
        let chosen = match self.strategy {
            Strategy::RoundRobin => in_turn.next(),
            Strategy::LeastInflight => least_inflight(in_turn),
            Strategy::HashTopic | Strategy::HashPublisher | Strategy::Sticky => {
                let owner = lane.owner?;
                in_turn.find(|member| member.number == owner)
            }
        }?;
        let chosen = Candidate {
            number: chosen.number,
            slot: Arc::clone(&chosen.slot),
            entry: chosen.entry,
        };
        state.turn = chosen.number;
        Some(chosen)
    }

    /// Lets a message wait for a member. `submit` is told what to keep, under the group's lock;
    /// `dropped` gets the oldest messages if they have to make room.
    pub(super) fn enqueue(
        &self,
        message: &Arc<Message>,
        ticket: &Ticket,
        limits: &Limits,
        dropped: &mut Estate,
        submit: impl FnOnce(Option<Change>),
    ) -> Enqueued {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.members.is_empty() {
            return Enqueued::Over;
        }
        let wants = |member: &Member| member.entry.subscription.options.qos > QoS::AtMostOnce;
        if !state.members.iter().any(wants) {
            return Enqueued::Useless;
        }
        let away = !state.members.iter().any(Member::is_connected);
        while !self.has_room(state, message, away, limits) {
            let oldest = match limits.queue_when_full {
                QueueWhenFull::RefuseNewest => None,
                QueueWhenFull::DropOldest => state.oldest(|_| true),
            };
            let Some(at) = oldest else { return Enqueued::Refused };
            let Some(drawn) = self.pop(state, at) else { return Enqueued::Refused };
            dropped.add(&drawn);
        }
        submit(queued(ticket, message));
        self.insert(state, message, ticket.lane, ticket.position, ticket.standing);
        Enqueued::Waits
    }

    fn has_room(&self, state: &GroupState, message: &Message, away: bool, limits: &Limits) -> bool {
        let waiting = self.waiting.load(Ordering::Relaxed);
        // One message always fits an empty queue.
        let fits = state.bytes + message.bytes() <= limits.queue_bytes_max || waiting == 0;
        fits && (!away || waiting < limits.queue_offline_messages_max)
    }

    /// Takes the first message out of a lane.
    fn pop(&self, state: &mut GroupState, at: usize) -> Option<Popped> {
        let (position, waiting) = state.lanes.get_mut(at)?.waiting.pop_first()?;
        let Waiting { message, standing } = waiting;
        state.bytes -= message.bytes();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        let lane = u8::try_from(at).unwrap_or_default();
        let group = Arc::clone(&self.id);
        Some(Popped { message, ticket: Ticket { group, position, lane, standing } })
    }

    /// Takes a message back that a member did not acknowledge. It may pass the limits: its
    /// publisher was told that it is safe.
    pub(super) fn put_back(&self, owed: &Owed, submit: impl FnOnce(Option<Change>)) -> Enqueued {
        let Some(ticket) = &owed.ticket else { return Enqueued::Over };
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.members.is_empty() {
            return Enqueued::Over;
        }
        // Its position may be of an earlier group of this name, which ended; no group has the same
        // twice.
        let mut ticket = ticket.clone();
        if ticket.standing == TicketStanding::Fleeting && self.lasting.load(Ordering::Acquire) {
            ticket.standing = TicketStanding::Kept;
            submit(queued(&ticket, &owed.message));
        }
        self.insert(state, &owed.message, ticket.lane, ticket.position, ticket.standing);
        Enqueued::Waits
    }

    /// Lets a message wait that a store gave back. The strategy may have been another one then.
    pub(super) fn restore(&self, kept: &KeptWaiting) {
        let KeptWaiting { position, lane, message } = kept;
        let mut state = self.lock();
        let lane = if usize::from(*lane) < state.lanes.len() { *lane } else { 0 };
        self.insert(&mut state, message, lane, *position, TicketStanding::Kept);
    }

    fn insert(
        &self,
        state: &mut GroupState,
        message: &Arc<Message>,
        lane: u8,
        position: u64,
        standing: TicketStanding,
    ) {
        let Some(lane) = state.lanes.get_mut(usize::from(lane)) else { return };
        // Numbers of groups begin again after 2^24; whoever stands there already keeps its place.
        let mut position = position;
        while lane.waiting.contains_key(&position) {
            position = self.next_position.fetch_add(1, Ordering::Relaxed);
        }
        lane.waiting.insert(position, Waiting { message: Arc::clone(message), standing });
        state.bytes += message.bytes();
        self.waiting.fetch_add(1, Ordering::SeqCst);
    }

    /// The oldest message that waits and that this member may take.
    pub(super) fn draw(&self, number: u64) -> Option<Drawn> {
        if !self.has_waiting() {
            return None;
        }
        let mut guard = self.lock();
        let state = &mut *guard;
        let subscription = state.member_mut(number)?.entry.subscription;
        let owned = self.strategy.has_owners().then_some(number);
        let at = state.oldest(|lane| lane.owner == owned)?;
        let Popped { message, ticket } = self.pop(state, at)?;
        Some(Drawn { message, subscription, ticket })
    }

    /// Whether something waits that this member may take.
    pub(super) fn waits_for(&self, number: u64) -> bool {
        self.has_waiting() && {
            let mut state = self.lock();
            let owned = self.strategy.has_owners().then_some(number);
            // Who just left the group draws nothing any more, and would look again for ever.
            state.member_mut(number).is_some()
                && state.lanes.iter().any(|lane| lane.waits_for(owned))
        }
    }

    pub(super) fn has_connected(&self) -> bool {
        self.lock().members.iter().any(Member::is_connected)
    }

    /// The first member after this number that is ready for something that waits.
    pub(super) fn next_ready(&self, after: u64) -> Option<Candidate> {
        if !self.has_waiting() {
            return None;
        }
        let mut guard = self.lock();
        let state = &mut *guard;
        let from = state.members.partition_point(|member| member.number <= after);
        let ready = state.members.iter().skip(from).find(|member| {
            let owned = self.strategy.has_owners().then_some(member.number);
            member.is_ready(QoS::ExactlyOnce)
                && state.lanes.iter().any(|lane| lane.waits_for(owned))
        })?;
        let slot = Arc::clone(&ready.slot);
        Some(Candidate { number: ready.number, slot, entry: ready.entry })
    }

    /// What the group still owed when its last member left.
    pub(super) fn end(&self) -> Estate {
        let mut state = self.lock();
        let mut estate = Estate::default();
        for at in 0..state.lanes.len() {
            while let Some(popped) = self.pop(&mut state, at) {
                estate.add(&popped);
            }
        }
        // Match caches remember the group longer than it lives.
        state.lanes = Vec::new();
        estate
    }

    pub(super) fn status(&self) -> GroupStatus {
        let state = self.lock();
        GroupStatus {
            filter: (*self.id).clone(),
            members: state.members.len(),
            connected: state.members.iter().filter(|member| member.is_connected()).count(),
            waiting: self.waiting.load(Ordering::Relaxed),
            bytes: state.bytes,
        }
    }
}

/// What a store is told of a message that a group owes from now on.
pub(super) fn queued(ticket: &Ticket, message: &Arc<Message>) -> Option<Change> {
    let Ticket { group, position, lane, standing } = ticket;
    (*standing == TicketStanding::Kept).then(|| Change::GroupQueued {
        group: Arc::clone(group),
        position: *position,
        lane: *lane,
        message: Arc::clone(message),
    })
}

fn least_inflight<'a>(members: impl Iterator<Item = &'a Member>) -> Option<&'a Member> {
    let mut least: Option<(u32, &Member)> = None;
    for member in members {
        let open = member.slot.standing.see().open();
        if open == 0 {
            return Some(member);
        }
        if least.is_none_or(|(fewest, _)| open < fewest) {
            least = Some((open, member));
        }
    }
    least.map(|(_, member)| member)
}

impl Member {
    fn is(&self, slot: &Arc<Slot>) -> bool {
        Arc::ptr_eq(&self.slot, slot)
    }

    fn is_connected(&self) -> bool {
        self.presence.connection == Connection::There
    }

    fn is_ready(&self, qos: QoS) -> bool {
        self.is_connected() && self.slot.standing.see().is_ready(qos)
    }
}

impl Lane {
    /// Whether the owner, or where there is none anybody, would find something.
    fn waits_for(&self, owner: Option<u64>) -> bool {
        self.owner == owner && !self.waiting.is_empty()
    }
}

impl GroupState {
    /// The lane of those `among` looks at whose first message is the oldest.
    fn oldest(&self, among: impl Fn(&Lane) -> bool) -> Option<usize> {
        let first = |lane: &Lane| lane.waiting.first_key_value().map(|(first, _)| *first);
        let lanes = self.lanes.iter().enumerate().filter(|(_, lane)| among(lane));
        let firsts = lanes.filter_map(|(at, lane)| first(lane).map(|first| (first, at)));
        firsts.min().map(|(_, at)| at)
    }

    fn member_mut(&mut self, number: u64) -> Option<&mut Member> {
        let place = self.members.binary_search_by_key(&number, |member| member.number).ok()?;
        self.members.get_mut(place)
    }

    /// A connected member more: by hash the lanes that it weighs most for are its own now, otherwise
    /// only those that were nobody's.
    fn came(&mut self, strategy: Strategy, hasher: &RandomState, number: u64) {
        if !strategy.has_owners() {
            return;
        }
        let Some(client_id) = self.member_mut(number).map(|member| Arc::clone(&member.slot)) else {
            return;
        };
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            let weight = strategy.weight(hasher, at, &client_id);
            if lane.owner.is_none() || weight > lane.weight {
                (lane.owner, lane.weight) = (Some(number), weight);
            }
        }
    }

    /// One less: its lanes go to others that are connected, and nobody else's move.
    fn went(&mut self, strategy: Strategy, hasher: &RandomState, number: u64) {
        if !strategy.has_owners() {
            return;
        }
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            if lane.owner != Some(number) {
                continue;
            }
            let others = self.members.iter().filter(|it| it.is_connected() && it.number != number);
            let weighed = others.map(|it| (strategy.weight(hasher, at, &it.slot), it.number));
            // Of equal ones the first that joined.
            let next = weighed.max_by_key(|(weight, number)| (*weight, Reverse(*number)));
            (lane.owner, lane.weight) = match next {
                Some((weight, number)) => (Some(number), weight),
                None => (None, 0),
            };
        }
    }
}
