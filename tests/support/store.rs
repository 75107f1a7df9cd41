//! A store in memory: it keeps what it was given when a test says so, reads messages back, and gives
//! all that was kept to the next broker. What no store could make sense of is a failure.

#![allow(dead_code, reason = "no test does everything that a store can do")]

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use dunlin::change::{
    Change, CommitNumber, Fetch, FetchReply, Fetched, Journal, JournalState, Keeps, Kept,
    KeptGroup, KeptInflight, KeptMessage, KeptSession, KeptStage, KeptWaiting, KeptWill, Owed,
    Recorded, SessionExpiry, Subscription, TicketStanding,
};
use dunlin::message::Message;
use dunlin::packet::{ClientId, Identity, PacketId, QoS};
use dunlin::topic::SubscriptionFilter;

#[derive(Debug)]
pub(crate) struct ModelStore {
    keeps: Keeps,
    state: Mutex<State>,
    /// Rings when something was submitted or asked for.
    bell: Condvar,
}

#[derive(Debug)]
struct State {
    health: JournalState,
    full: bool,
    log: Vec<(u64, Change)>,
    submitted: u64,
    kept: u64,
    waiting: Vec<(u64, Waker)>,
    /// Whether it keeps everything at once.
    prompt: bool,
    /// As it is after all that was submitted, and after all that is kept.
    now: Disk,
    disk: Disk,
    pending: VecDeque<(u64, Change)>,
    /// Whether whoever fetches has to wait for [`ModelStore::answer_fetches`].
    slow: bool,
    fetches: Vec<(Fetch, Reply)>,
    fetched: Vec<Fetch>,
    damaged: HashSet<(ClientId, u64)>,
    /// First and last numbers of what is kept together.
    together: Vec<(u64, u64)>,
    /// The first numbers of what goes on.
    begun: Vec<u64>,
}

struct Reply(FetchReply);

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Reply")
    }
}

#[derive(Clone, Debug, Default)]
struct Disk {
    sessions: BTreeMap<String, SessionRecord>,
    groups: BTreeMap<String, GroupRecord>,
    retained: BTreeMap<String, Arc<Message>>,
}

/// What a group owes: by position, with its lane.
type GroupRecord = (SubscriptionFilter, BTreeMap<u64, (u8, Arc<Message>)>);

#[derive(Clone, Debug)]
struct SessionRecord {
    client_id: ClientId,
    identity: Identity,
    expiry: SessionExpiry,
    away: Option<Instant>,
    subscriptions: BTreeMap<String, (SubscriptionFilter, Subscription)>,
    /// Also of messages that were sent from here, until they are completed.
    queue: BTreeMap<u64, Owed>,
    /// Which of them wait.
    waiting: BTreeSet<u64>,
    inflight: BTreeMap<PacketId, Inflight>,
    sent: u64,
    released: u64,
    last_packet_id: u16,
    received: BTreeSet<PacketId>,
    will: Option<WillRecord>,
}

#[derive(Clone, Debug)]
struct Inflight {
    order: u64,
    position: Option<u64>,
    /// `None`: released.
    owed: Option<Owed>,
    place: u64,
}

#[derive(Clone, Debug)]
struct WillRecord {
    message: Arc<Message>,
    expiry: Option<u32>,
    delay: Duration,
    patience: Duration,
}

impl ModelStore {
    pub(crate) fn new(keeps: Keeps) -> Self {
        let state = State {
            health: JournalState::Keeping,
            full: false,
            log: Vec::new(),
            submitted: 0,
            kept: 0,
            waiting: Vec::new(),
            prompt: false,
            now: Disk::default(),
            disk: Disk::default(),
            pending: VecDeque::new(),
            slow: false,
            fetches: Vec::new(),
            fetched: Vec::new(),
            damaged: HashSet::new(),
            together: Vec::new(),
            begun: Vec::new(),
        };
        Self { keeps, state: Mutex::new(state), bell: Condvar::new() }
    }

    /// From here on it keeps everything at once, or again when it is told.
    pub(crate) fn set_prompt(&self, prompt: bool) {
        self.state().prompt = prompt;
    }

    /// Waits until more than this was submitted.
    pub(crate) fn wait_for_more_than(&self, submitted: u64) {
        self.wait_for("nothing was submitted", |state| state.submitted > submitted);
    }

    /// Waits until somebody has asked for messages.
    pub(crate) fn wait_for_fetch(&self) {
        self.wait_for("nothing was asked for", |state| !state.fetches.is_empty());
    }

    fn wait_for(&self, otherwise: &str, has_happened: impl Fn(&State) -> bool) {
        const PATIENCE: Duration = Duration::from_secs(60);
        let waited = self.bell.wait_timeout_while(self.state(), PATIENCE, |it| !has_happened(it));
        assert!(!waited.unwrap().1.timed_out(), "{otherwise}");
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn submitted(&self) -> u64 {
        self.state().submitted
    }

    pub(crate) fn kept_number(&self) -> u64 {
        self.state().kept
    }

    /// Keeps everything submitted up to a number and wakes who waited for it.
    pub(crate) fn keep_up_to(&self, number: u64) {
        let mut state = self.state();
        let number = state.whole(number);
        state.kept = state.kept.max(number);
        let kept = state.kept;
        state.together.retain(|(_, last)| *last > kept);
        while state.pending.front().is_some_and(|(number, _)| *number <= kept) {
            let (_, change) = state.pending.pop_front().unwrap();
            state.disk.apply(&change);
        }
        let waiting = std::mem::take(&mut state.waiting);
        let (due, waiting): (Vec<_>, _) =
            waiting.into_iter().partition(|(wanted, _)| *wanted <= kept);
        state.waiting = waiting;
        drop(state);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    pub(crate) fn keep_all(&self) {
        self.keep_up_to(self.submitted());
    }

    /// The number of the last change after number `after` that `wanted` picks; 0 if there is none.
    pub(crate) fn latest(&self, after: u64, wanted: impl Fn(&Change) -> bool) -> u64 {
        let state = self.state();
        let newest_first = state.log.iter().rev().take_while(|(number, _)| *number > after);
        newest_first.into_iter().find(|(_, change)| wanted(change)).map_or(0, |(number, _)| *number)
    }

    /// The number of the last change that `wanted` picks.
    pub(crate) fn number_of(&self, wanted: impl Fn(&Change) -> bool) -> u64 {
        let number = self.latest(0, wanted);
        assert!(number > 0, "nothing like it was submitted");
        number
    }

    /// Looks at all that was submitted.
    pub(crate) fn with_log<R>(&self, look: impl FnOnce(&[(u64, Change)]) -> R) -> R {
        look(&self.state().log)
    }

    /// From here on it is like this. Who waits is woken if it fails.
    pub(crate) fn set_health(&self, health: JournalState) {
        let mut state = self.state();
        state.health = health;
        let woken = match health {
            JournalState::Failing => std::mem::take(&mut state.waiting),
            JournalState::Keeping | JournalState::Behind(_) => Vec::new(),
        };
        drop(state);
        woken.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Whether it takes all the disk it may.
    pub(crate) fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// From here on who fetches has to wait.
    pub(crate) fn fetch_slowly(&self) {
        self.state().slow = true;
    }

    /// Answers all who wait, as it is now: how many those were.
    pub(crate) fn answer_fetches(&self) -> usize {
        let mut state = self.state();
        let waiting = std::mem::take(&mut state.fetches);
        let answers: Vec<_> =
            waiting.into_iter().map(|(fetch, reply)| (state.read(fetch), reply)).collect();
        drop(state);
        let count = answers.len();
        answers.into_iter().for_each(|(fetched, Reply(reply))| reply(fetched));
        count
    }

    /// What was asked for since the last call: the positions of each slice.
    pub(crate) fn take_fetched(&self) -> Vec<(u64, u64)> {
        let fetched = std::mem::take(&mut self.state().fetched);
        fetched.into_iter().map(|fetch| (fetch.first, fetch.last)).collect()
    }

    /// This message cannot be read back.
    pub(crate) fn damage(&self, client_id: &str, position: u64) {
        let client_id = ClientId::new(client_id).unwrap();
        self.state().damaged.insert((client_id, position));
    }

    /// The process ends at this moment and what was not kept is gone: what the next one finds.
    pub(crate) fn restart(&self, at: Instant) -> Kept {
        let mut state = self.state();
        let kept = state.kept;
        state.pending.clear();
        state.waiting.clear();
        state.fetches.clear();
        state.together.clear();
        state.log.retain(|(number, _)| *number <= kept);
        state.health = JournalState::Keeping;
        // Its engine sees to it that who was connected is away from here on.
        for session in state.disk.sessions.values_mut() {
            session.away.get_or_insert(at);
            session.inflight.retain(|_, inflight| !inflight.is_a_groups());
        }
        state.now = state.disk.clone();
        state.disk.give()
    }
}

impl State {
    /// The last number up to which nothing that belongs together is cut.
    fn whole(&self, number: u64) -> u64 {
        let begun = self.begun.iter().map(|first| (*first, u64::MAX));
        let cut = self.together.iter().copied().chain(begun);
        let cut = cut.filter(|(first, last)| *first <= number && number < *last);
        cut.map(|(first, _)| first - 1).min().map_or(number, |before| self.whole(before))
    }

    fn read(&self, fetch: Fetch) -> Fetched {
        let session = self.now.sessions.get(fetch.client_id.as_str());
        let records = session.into_iter().flat_map(|session| {
            let range = session.queue.range(fetch.first..=fetch.last);
            range.filter(|(position, _)| session.waiting.contains(*position))
        });
        let readable = records
            .filter(|(at, _)| !self.damaged.contains(&(fetch.client_id.clone(), **at)))
            .map(|(position, owed)| (*position, owed.clone()));
        Fetched { messages: readable.collect(), fetch }
    }
}

impl Journal for ModelStore {
    fn keeps(&self) -> Keeps {
        self.keeps
    }

    fn submit(&self, changes: &mut Vec<Recorded>) -> CommitNumber {
        if self.keeps == Keeps::Nothing {
            changes.clear();
            return CommitNumber::NONE;
        }
        let mut state = self.state();
        state.submitted += 1;
        let number = state.submitted;
        for Recorded { change, .. } in changes.drain(..) {
            state.now.apply(&change);
            state.log.push((number, change.clone()));
            if state.prompt {
                state.disk.apply(&change);
                state.kept = number;
            } else {
                state.pending.push_back((number, change));
            }
        }
        drop(state);
        self.bell.notify_all();
        CommitNumber(number)
    }

    fn kept(&self) -> CommitNumber {
        CommitNumber(self.kept_number())
    }

    fn wake_when_kept(&self, number: CommitNumber, waker: &Waker) {
        let mut state = self.state();
        if number.0 <= state.kept || state.health == JournalState::Failing {
            drop(state);
            return waker.wake_by_ref();
        }
        state.waiting.push((number.0, waker.clone()));
    }

    fn state(&self) -> JournalState {
        self.state().health
    }

    fn is_full(&self) -> bool {
        self.state().full
    }

    fn fetch(&self, fetch: Fetch, reply: FetchReply) {
        let mut state = self.state();
        state.fetched.push(fetch.clone());
        if state.slow {
            state.fetches.push((fetch, Reply(reply)));
            self.bell.notify_all();
            return;
        }
        let fetched = state.read(fetch);
        drop(state);
        reply(fetched);
    }

    fn begin_together(&self) -> u64 {
        let mut state = self.state();
        let first = state.submitted + 1;
        state.begun.push(first);
        first
    }

    fn end_together(&self, first: u64) {
        let mut state = self.state();
        let at = state.begun.iter().position(|begun| *begun == first).unwrap();
        state.begun.swap_remove(at);
        let last = state.submitted;
        if last > first {
            state.together.push((first, last));
        }
    }
}

impl Disk {
    fn session(&mut self, client_id: &ClientId, change: &Change) -> &mut SessionRecord {
        let session = self.sessions.get_mut(client_id.as_str());
        session.unwrap_or_else(|| panic!("of a Session that is not kept: {change:?}"))
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::SessionBegun { client_id, identity, expiry } => {
                let record = SessionRecord::new(client_id, identity, *expiry);
                let before = self.sessions.insert(client_id.as_str().into(), record);
                assert!(before.is_none(), "begun twice: {change:?}");
            }
            Change::SessionExpiryChanged { client_id, expiry } => {
                self.session(client_id, change).expiry = *expiry;
                if *expiry == SessionExpiry::AtDisconnect {
                    self.sessions.remove(client_id.as_str());
                }
            }
            Change::SessionEnded { client_id } => {
                self.session(client_id, change);
                self.sessions.remove(client_id.as_str());
            }
            Change::GroupQueued { group, position, lane, message } => {
                let groups = &mut self.groups;
                let (_, owed) = groups
                    .entry(group.to_string())
                    .or_insert_with(|| ((**group).clone(), BTreeMap::new()));
                let before = owed.insert(*position, (*lane, Arc::clone(message)));
                assert!(before.is_none(), "queued twice: {change:?}");
            }
            Change::GroupUnqueued { group, position } => {
                let owed = self.groups.get_mut(&group.to_string());
                let owed = owed.and_then(|(_, owed)| owed.remove(position));
                assert!(owed.is_some(), "not queued: {change:?}");
            }
            Change::Retained { message } => {
                self.retained.insert(message.topic.as_str().into(), Arc::clone(message));
            }
            Change::RetainedRemoved { topic } => {
                self.retained.remove(topic.as_str());
            }
            Change::SessionResumed { client_id }
            | Change::SessionAway { client_id, .. }
            | Change::Subscribed { client_id, .. }
            | Change::Unsubscribed { client_id, .. }
            | Change::Queued { client_id, .. }
            | Change::Unqueued { client_id, .. }
            | Change::Sent { client_id, .. }
            | Change::Released { client_id, .. }
            | Change::Completed { client_id, .. }
            | Change::Received { client_id, .. }
            | Change::Forgotten { client_id, .. }
            | Change::WillKept { client_id, .. }
            | Change::WillDropped { client_id } => {
                self.session(client_id, change).apply(change);
            }
        }
    }

    fn give(&self) -> Kept {
        Kept {
            sessions: self.sessions.values().map(SessionRecord::give).collect(),
            groups: self.groups.values().map(give_group).collect(),
            retained: self.retained.values().cloned().collect(),
        }
    }
}

fn give_group((filter, owed): &GroupRecord) -> KeptGroup {
    let waiting = owed.iter().map(|(position, (lane, message))| KeptWaiting {
        position: *position,
        lane: *lane,
        message: Arc::clone(message),
    });
    KeptGroup { filter: filter.clone(), messages: waiting.collect() }
}

impl SessionRecord {
    fn new(client_id: &ClientId, identity: &Identity, expiry: SessionExpiry) -> Self {
        Self {
            client_id: client_id.clone(),
            identity: identity.clone(),
            expiry,
            away: None,
            subscriptions: BTreeMap::new(),
            queue: BTreeMap::new(),
            waiting: BTreeSet::new(),
            inflight: BTreeMap::new(),
            sent: 0,
            released: 0,
            last_packet_id: 0,
            received: BTreeSet::new(),
            will: None,
        }
    }

    /// A change of this Session.
    fn apply(&mut self, change: &Change) {
        match change {
            Change::SessionResumed { .. } => self.away = None,
            Change::SessionAway { since, .. } => self.away = Some(*since),
            Change::Subscribed { filter, subscription, .. } => {
                self.subscriptions.insert(filter.to_string(), (filter.clone(), *subscription));
            }
            Change::Unsubscribed { filter, .. } => {
                let before = self.subscriptions.remove(&filter.to_string());
                assert!(before.is_some(), "not subscribed: {change:?}");
            }
            Change::Queued { position, owed, .. } => {
                let before = self.queue.insert(*position, owed.clone());
                assert!(before.is_none(), "this position is taken: {change:?}");
                self.waiting.insert(*position);
            }
            Change::Unqueued { position, .. } => {
                assert!(self.waiting.remove(position), "does not wait: {change:?}");
                self.queue.remove(position);
            }
            Change::Sent { position, id, owed, .. } => self.sent(change, *position, *id, owed),
            Change::Released { id, .. } => {
                let Some(inflight) = self.inflight.get_mut(id) else {
                    panic!("not inflight: {change:?}")
                };
                if inflight.owed.take().is_some() {
                    self.released += 1;
                    inflight.place = self.released;
                    inflight.position.take().map(|position| self.queue.remove(&position));
                }
            }
            Change::Completed { id, .. } => {
                let position = self.inflight.remove(id).and_then(|inflight| inflight.position);
                position.map(|position| self.queue.remove(&position));
            }
            Change::Received { id, .. } => {
                assert!(self.received.insert(*id), "received twice: {change:?}");
            }
            Change::Forgotten { id, .. } => {
                assert!(self.received.remove(id), "not received: {change:?}");
            }
            Change::WillKept { message, expiry, delay, patience, .. } => {
                self.will = Some(WillRecord {
                    message: Arc::clone(message),
                    expiry: *expiry,
                    delay: *delay,
                    patience: *patience,
                });
            }
            Change::WillDropped { .. } => self.will = None,
            Change::SessionBegun { .. }
            | Change::SessionExpiryChanged { .. }
            | Change::SessionEnded { .. }
            | Change::GroupQueued { .. }
            | Change::GroupUnqueued { .. }
            | Change::Retained { .. }
            | Change::RetainedRemoved { .. } => {}
        }
    }

    fn sent(&mut self, change: &Change, position: Option<u64>, id: PacketId, owed: &Owed) {
        if let Some(position) = position {
            assert!(self.waiting.remove(&position), "does not wait: {change:?}");
        }
        self.sent += 1;
        let (order, owed) = (self.sent, Some(owed.clone()));
        let before = self.inflight.insert(id, Inflight { order, position, owed, place: 0 });
        assert!(before.is_none(), "this identifier is in use: {change:?}");
        self.last_packet_id = id.value();
    }

    fn give(&self) -> KeptSession {
        let mut inflight: Vec<_> = self.inflight.iter().collect();
        inflight.sort_by_key(|(_, inflight)| inflight.order);
        let give = |(id, inflight): (&PacketId, &Inflight)| KeptInflight {
            id: *id,
            stage: match &inflight.owed {
                Some(owed) => KeptStage::Published(owed.clone()),
                None => KeptStage::Released { place: inflight.place },
            },
        };
        let waiting = self.waiting.iter().map(|position| KeptMessage {
            position: *position,
            bytes: u32::try_from(self.queue[position].message.bytes()).unwrap(),
        });
        KeptSession {
            client_id: self.client_id.clone(),
            identity: self.identity.clone(),
            expiry: self.expiry,
            away_since: self.away.unwrap(),
            subscriptions: self.subscriptions.values().cloned().collect(),
            queue: waiting.collect(),
            next_position: self.queue.last_key_value().map_or(0, |(last, _)| last + 1),
            inflight: inflight.into_iter().map(give).collect(),
            received: self.received.iter().copied().collect(),
            will: self.will.clone().map(|will| KeptWill {
                message: will.message,
                expiry: will.expiry,
                delay: will.delay,
                patience: will.patience,
            }),
            last_packet_id: self.last_packet_id,
        }
    }
}

impl Inflight {
    /// Whether the group it came through still owes it and has it back.
    fn is_a_groups(&self) -> bool {
        self.owed.as_ref().is_some_and(|owed| {
            let kept = |ticket: &dunlin::change::Ticket| ticket.standing == TicketStanding::Kept;
            owed.qos == QoS::AtLeastOnce && owed.ticket.as_ref().is_some_and(kept)
        })
    }
}
