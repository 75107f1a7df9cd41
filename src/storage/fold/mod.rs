//! From changes to the keys they put and delete.
//!
//! All changes of a commit group are folded into one overlay, key by key, before anything is
//! encoded: what is put and deleted within a group, and was not in the store before, is never
//! written. A message that all its takers acknowledge at once costs no disk.

mod inflight;
mod overlay;
mod sharing;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use ahash::AHashMap;

pub(super) use self::inflight::{Body, Inflight, Sent};
use self::overlay::{InStore, Overlay};
use super::clock::{Clock, KeptClock};
use super::engine::{Batch, EngineError};
use super::keys::{GroupNumber, Key, MessageNumber, SessionNumber};
use super::record::{Numbers, Run, SessionRecord, Value, WillRecord};
use crate::change::{Change, SessionExpiry};
use crate::packet::{ClientId, Identity};
use crate::topic::SubscriptionFilter;

/// How many numbers are taken at a time, so that giving one out rarely has to be written.
const NUMBERS_AT_ONCE: u64 = 1_024;

/// What the store knows of what it keeps, and what it has still to write.
#[derive(Debug)]
pub(super) struct State {
    pub(super) clock: Clock,
    pub(super) by_client: AHashMap<ClientId, SessionNumber>,
    pub(super) sessions: AHashMap<SessionNumber, Session>,
    pub(super) groups: AHashMap<Arc<SubscriptionFilter>, Group>,
    /// How many records refer to each message that is kept once for several.
    pub(super) references: AHashMap<MessageNumber, u32>,
    /// The next of each.
    numbers: Numbers,
    reserved: Numbers,
    overlay: Overlay,
    /// Sessions that ended while `overlay` was made. Nothing of theirs has to be written.
    ended: HashSet<SessionNumber, ahash::RandomState>,
    /// Of those, the ones that have something in the store.
    to_sweep: Vec<SessionNumber>,
    /// Changes of Sessions that are not kept.
    pub(super) unknown: u64,
}

/// What is remembered of a Session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) record: SessionRecord,
    pub(super) inflight: Inflight,
    /// Positions in the queue whose message is kept once for several.
    pub(super) shared: BTreeMap<u64, MessageNumber>,
    pub(super) has_will: bool,
}

/// What is remembered of a group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) number: GroupNumber,
    pub(super) positions: HashSet<u64, ahash::RandomState>,
}

impl Session {
    pub(super) fn new(record: SessionRecord) -> Self {
        let inflight = Inflight::default();
        Self { record, inflight, shared: BTreeMap::new(), has_will: false }
    }
}

impl State {
    /// `numbers` are those that nothing in the store has.
    pub(super) fn new(clock: Clock, numbers: Numbers) -> Self {
        Self {
            clock,
            by_client: AHashMap::new(),
            sessions: AHashMap::new(),
            groups: AHashMap::new(),
            references: AHashMap::new(),
            numbers,
            reserved: numbers,
            overlay: Overlay::default(),
            ended: HashSet::default(),
            to_sweep: Vec::new(),
            unknown: 0,
        }
    }

    /// Takes a Session over from the store. One that was connected has to be kept as away, or every
    /// restart would begin its expiry anew.
    pub(super) fn restore(&mut self, number: SessionNumber, session: Session, connected: bool) {
        let record = session.record.clone();
        self.by_client.insert(record.client_id.clone(), number);
        self.sessions.insert(number, session);
        if connected {
            self.overlay.put(Key::Session(number), Value::Session(record), InStore::Yes);
        }
    }

    pub(super) fn keep_clock(&mut self, pair: KeptClock) {
        self.overlay.put(Key::Clock, Value::Clock(pair), InStore::Maybe);
    }

    pub(super) fn keep_run(&mut self, run: Run) {
        self.overlay.put(Key::Run, Value::Run(run), InStore::Maybe);
    }

    /// Takes one change in. A Session that is not kept has none to keep: the change is ignored.
    pub(super) fn fold(&mut self, change: Change) {
        match change {
            Change::SessionBegun { client_id, identity, expiry } => {
                self.begin(client_id, identity, expiry);
            }
            Change::SessionExpiryChanged { client_id, expiry: SessionExpiry::AtDisconnect }
            | Change::SessionEnded { client_id } => self.end(&client_id),
            Change::SessionExpiryChanged { client_id, expiry } => {
                self.update(&client_id, |record| record.expiry = expiry);
            }
            Change::SessionResumed { client_id } => {
                self.update(&client_id, |record| record.away = None);
            }
            Change::SessionAway { client_id, since } => self.away(&client_id, since),
            Change::Subscribed { client_id, filter, subscription } => {
                let Some(session) = self.known(&client_id) else { return };
                let value = Value::Subscription(filter.clone(), subscription);
                self.overlay.put(Key::Subscription(session, filter), value, InStore::Maybe);
            }
            Change::Unsubscribed { client_id, filter } => {
                let Some(session) = self.known(&client_id) else { return };
                self.overlay.delete(Key::Subscription(session, filter), InStore::Maybe);
            }
            Change::Queued { client_id, position, owed } => {
                let Some(session) = self.known(&client_id) else { return };
                let value = Value::Queued(owed, None);
                self.overlay.put(Key::Queued(session, position), value, InStore::Never);
            }
            Change::Unqueued { client_id, position } => {
                let Some(session) = self.known(&client_id) else { return };
                self.unqueue(session, position);
            }
            Change::Sent { client_id, position, id, owed } => {
                let Some(session) = self.known(&client_id) else { return };
                self.send(session, position, id, owed);
            }
            Change::Released { client_id, id } => {
                let Some(session) = self.known(&client_id) else { return };
                self.release(session, id);
            }
            Change::Completed { client_id, id } => {
                let Some(session) = self.known(&client_id) else { return };
                self.complete(session, id);
            }
            Change::Received { client_id, id } => {
                let Some(session) = self.known(&client_id) else { return };
                self.overlay.put(Key::Incoming(session, id), Value::Incoming, InStore::Never);
            }
            Change::Forgotten { client_id, id } => {
                let Some(session) = self.known(&client_id) else { return };
                self.overlay.delete(Key::Incoming(session, id), InStore::Maybe);
            }
            Change::WillKept { client_id, message, expiry, delay, patience } => {
                self.keep_will(&client_id, WillRecord { message, expiry, delay, patience });
            }
            Change::WillDropped { client_id } => self.drop_will(&client_id),
            Change::GroupQueued { group, position, lane, message } => {
                let number = self.group(group, position);
                let value = Value::GroupQueued(lane, message);
                self.overlay.put(Key::GroupQueued(number, position), value, InStore::Never);
            }
            Change::GroupUnqueued { group, position } => self.group_unqueue(&group, position),
            Change::Retained { message } => {
                let key = Key::Retained(message.topic.clone());
                self.overlay.put(key, Value::Retained(message), InStore::Maybe);
            }
            Change::RetainedRemoved { topic } => {
                self.overlay.delete(Key::Retained(topic), InStore::Maybe);
            }
        }
    }

    fn known(&mut self, client_id: &ClientId) -> Option<SessionNumber> {
        let session = self.by_client.get(client_id).copied();
        if session.is_none() {
            self.unknown += 1;
            tracing::debug!(%client_id, "a change of a Session that is not kept");
        }
        session
    }

    fn begin(&mut self, client_id: ClientId, identity: Identity, expiry: SessionExpiry) {
        if self.by_client.contains_key(&client_id) {
            self.end(&client_id);
        }
        let number = SessionNumber(self.numbers.sessions);
        self.numbers.sessions += 1;
        self.reserve();
        let last_sent = (0, 0);
        let record =
            SessionRecord { client_id: client_id.clone(), identity, expiry, away: None, last_sent };
        let value = Value::Session(record.clone());
        self.overlay.put(Key::Session(number), value, InStore::Never);
        self.by_client.insert(client_id, number);
        self.sessions.insert(number, Session::new(record));
    }

    fn update(&mut self, client_id: &ClientId, update: impl FnOnce(&mut SessionRecord)) {
        let Some(number) = self.known(client_id) else { return };
        let Some(session) = self.sessions.get_mut(&number) else { return };
        update(&mut session.record);
        let value = Value::Session(session.record.clone());
        self.overlay.put(Key::Session(number), value, InStore::Yes);
    }

    fn away(&mut self, client_id: &ClientId, since: Instant) {
        let since = self.clock.store_time(since);
        self.update(client_id, |record| record.away = Some(since));
    }

    fn end(&mut self, client_id: &ClientId) {
        let Some(number) = self.known(client_id) else { return };
        self.by_client.remove(client_id);
        let Some(session) = self.sessions.remove(&number) else { return };
        self.ended.insert(number);
        if self.overlay.delete(Key::Session(number), InStore::Yes) == InStore::Yes {
            self.to_sweep.push(number);
        }
        let own = session.inflight.shared_messages();
        for message in session.shared.into_values().chain(own) {
            self.dereference(message);
        }
    }

    /// What was in the queue at this position is no longer needed.
    fn unqueue(&mut self, session: SessionNumber, position: u64) {
        let shared = self.sessions.get_mut(&session).and_then(|it| it.shared.remove(&position));
        self.overlay.delete(Key::Queued(session, position), InStore::Yes);
        if let Some(message) = shared {
            self.dereference(message);
        }
    }

    fn keep_will(&mut self, client_id: &ClientId, will: WillRecord) {
        let Some(number) = self.known(client_id) else { return };
        let Some(session) = self.sessions.get_mut(&number) else { return };
        let before = if session.has_will { InStore::Yes } else { InStore::Never };
        session.has_will = true;
        self.overlay.put(Key::Will(number), Value::Will(will), before);
    }

    fn drop_will(&mut self, client_id: &ClientId) {
        let Some(number) = self.known(client_id) else { return };
        let Some(session) = self.sessions.get_mut(&number) else { return };
        if std::mem::take(&mut session.has_will) {
            self.overlay.delete(Key::Will(number), InStore::Yes);
        }
    }

    /// The number of a group, which is kept from its first message to its last.
    fn group(&mut self, filter: Arc<SubscriptionFilter>, position: u64) -> GroupNumber {
        if let Some(group) = self.groups.get_mut(&filter) {
            group.positions.insert(position);
            return group.number;
        }
        let number = GroupNumber(self.numbers.groups);
        self.numbers.groups += 1;
        self.reserve();
        let value = Value::Group(Arc::clone(&filter));
        self.overlay.put(Key::Group(number), value, InStore::Never);
        let positions = HashSet::from_iter([position]);
        self.groups.insert(filter, Group { number, positions });
        number
    }

    fn group_unqueue(&mut self, filter: &Arc<SubscriptionFilter>, position: u64) {
        let Some(group) = self.groups.get_mut(filter) else {
            self.unknown += 1;
            return;
        };
        let number = group.number;
        if !group.positions.remove(&position) {
            self.unknown += 1;
            return;
        }
        self.overlay.delete(Key::GroupQueued(number, position), InStore::Yes);
        if group.positions.is_empty() {
            self.groups.remove(filter);
            self.overlay.delete(Key::Group(number), InStore::Yes);
        }
    }

    /// Takes more numbers before the last is given.
    fn reserve(&mut self) {
        let (next, reserved) = (self.numbers, &mut self.reserved);
        let all = [
            (next.sessions, &mut reserved.sessions),
            (next.groups, &mut reserved.groups),
            (next.messages, &mut reserved.messages),
        ];
        let mut took = false;
        for (next, reserved) in all {
            if next > *reserved {
                *reserved = next + NUMBERS_AT_ONCE;
                took = true;
            }
        }
        if took {
            self.overlay.put(Key::Numbers, Value::Numbers(self.reserved), InStore::Maybe);
        }
    }

    /// Whether there is anything to write.
    pub(super) fn is_written(&self) -> bool {
        self.overlay.is_empty()
    }

    /// How many keys wait to be written.
    pub(super) fn unwritten(&self) -> usize {
        self.overlay.len()
    }

    /// Puts everything that is to be written into the batch.
    pub(super) fn write_to(&mut self, batch: &mut Batch<'_>) -> Result<(), EngineError> {
        self.overlay.drop_all_of(&self.ended);
        self.share();
        self.overlay.write_to(&self.clock, batch)
    }

    /// All of it is in the store: the Sessions of which more is there than is wanted.
    pub(super) fn written(&mut self) -> Vec<SessionNumber> {
        self.overlay.clear();
        self.ended.clear();
        std::mem::take(&mut self.to_sweep)
    }

    /// Some of it may be in the store, some not.
    pub(super) fn not_written(&mut self) {
        self.overlay.assume_in_store();
    }
}
