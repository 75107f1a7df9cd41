//! The thread that reads: queued messages for clients that come back, and what ended Sessions leave
//! behind.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use ahash::AHashMap;
use parking_lot::{Condvar, Mutex};

use super::clock::Clock;
use super::engine::{Engine, EngineError};
use super::journal::Shared;
use super::keys::{self, Family, Key, MessageNumber, SessionNumber};
use super::record::{self, DecodeError, OwedRecord, Record};
use super::status::add;
use crate::change::{Fetch, FetchReply, Fetched, Owed};
use crate::message::Message;

/// So many records of an ended Session are removed at once, and then it is somebody else's turn.
const SWEEP_SLICE: usize = 1_024;

/// What the thread is asked for.
pub(super) enum Job {
    /// Without a Session there is nothing to read.
    Fetch(Option<SessionNumber>, Fetch, FetchReply),
    /// Remove all that is left of it.
    Sweep(SessionNumber),
}

/// What waits to be done.
#[derive(Default)]
pub(super) struct Jobs {
    state: Mutex<JobState>,
    bell: Condvar,
}

#[derive(Default)]
struct JobState {
    fetches: VecDeque<Job>,
    /// Done when nobody waits for messages.
    sweeps: VecDeque<Job>,
    is_paused: bool,
    is_closing: bool,
}

impl Jobs {
    pub(super) fn push(&self, jobs: impl Iterator<Item = Job>) {
        let mut jobs = jobs.peekable();
        if jobs.peek().is_none() {
            return;
        }
        let mut state = self.state.lock();
        for job in jobs {
            match job {
                Job::Fetch(..) => state.fetches.push_back(job),
                Job::Sweep(_) => state.sweeps.push_back(job),
            }
        }
        drop(state);
        self.bell.notify_one();
    }

    /// The engine goes away.
    pub(super) fn pause(&self) {
        self.state.lock().is_paused = true;
    }

    pub(super) fn resume(&self) {
        self.state.lock().is_paused = false;
        self.bell.notify_one();
    }

    pub(super) fn close(&self) {
        self.state.lock().is_closing = true;
        self.bell.notify_one();
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if state.is_closing {
                // Whoever waits for messages is told that there are none.
                return state.fetches.pop_front();
            }
            if !state.is_paused {
                let next = state.fetches.pop_front();
                if let Some(job) = next.or_else(|| state.sweeps.pop_front()) {
                    return Some(job);
                }
            }
            self.bell.wait(&mut state);
        }
    }
}

pub(super) struct Reader {
    shared: Arc<Shared>,
    clock: Clock,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, clock: Clock) -> Self {
        Self { shared, clock }
    }

    /// Does what it is asked for until the store is closed.
    pub(super) fn run(self) {
        while let Some(job) = self.shared.jobs.next() {
            match job {
                Job::Fetch(session, fetch, reply) => {
                    let messages = match session {
                        Some(session) => self.fetch(session, &fetch),
                        None => Vec::new(),
                    };
                    add(&self.shared.status.fetched, messages.len());
                    reply(Fetched { fetch, messages });
                }
                Job::Sweep(session) => {
                    if let Err(error) = self.sweep(session) {
                        // What is left is an orphan, which the next start removes.
                        tracing::debug!(%error, "cannot remove what an ended Session left");
                    }
                }
            }
        }
    }

    fn fetch(&self, session: SessionNumber, fetch: &Fetch) -> Vec<(u64, Owed)> {
        let mut messages = Vec::new();
        let slot = self.shared.engine.read();
        let Some(engine) = slot.as_ref() else { return messages };
        if let Err(error) = self.read(engine, session, fetch, &mut messages) {
            add(&self.shared.status.damaged, 1);
            let client_id = &fetch.client_id;
            tracing::error!(%error, %client_id, "cannot read queued messages back");
        }
        messages
    }

    fn read(
        &self,
        engine: &Engine,
        session: SessionNumber,
        fetch: &Fetch,
        messages: &mut Vec<(u64, Owed)>,
    ) -> Result<(), EngineError> {
        let [first, last] =
            [fetch.first, fetch.last].map(|position| Key::Queued(session, position).to_bytes());
        let range = (Bound::Included(first), Bound::Included(last));
        let mut shared = AHashMap::new();
        for pair in engine.range(Family::Queue, range)? {
            let (key, value) = pair?;
            match self.owed(engine, &key, &value, &mut shared)? {
                Ok(message) => messages.push(message),
                Err(why) => {
                    add(&self.shared.status.damaged, 1);
                    self.shared.quarantine.take(Family::Queue, &key, &value, &why);
                }
            }
        }
        Ok(())
    }

    fn owed(
        &self,
        engine: &Engine,
        key: &[u8],
        value: &[u8],
        shared: &mut AHashMap<MessageNumber, Arc<Message>>,
    ) -> Result<Result<(u64, Owed), DecodeError>, EngineError> {
        let Some((_, position)) = keys::position(key) else { return Ok(Err(DecodeError::Key)) };
        let record = match record::decode(Family::Queue, key, value, &self.clock) {
            Ok(Record::Queued(record)) => record,
            Ok(_) => return Ok(Err(DecodeError::WrongKind)),
            Err(why) => return Ok(Err(why)),
        };
        let owed = complete(engine, record, &self.clock, shared)?;
        Ok(owed.map(|owed| (position, owed)))
    }

    /// Removes what an ended Session left, in slices.
    fn sweep(&self, session: SessionNumber) -> Result<(), EngineError> {
        let prefix = session.0.to_be_bytes();
        for family in [Family::Subscriptions, Family::Queue, Family::Inflight, Family::Wills] {
            loop {
                let slot = self.shared.engine.read();
                let Some(engine) = slot.as_ref() else { return Ok(()) };
                let mut batch = engine.batch(SWEEP_SLICE);
                for pair in engine.prefix(family, &prefix)?.take(SWEEP_SLICE) {
                    batch.delete(family, &pair?.0)?;
                }
                let (removed, counts) = (batch.len(), batch.counts());
                batch.write()?;
                self.shared.tidiness.wrote(&counts);
                if removed < SWEEP_SLICE {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// What is owed, with the message it refers to.
pub(super) fn complete(
    engine: &Engine,
    record: OwedRecord,
    clock: &Clock,
    shared: &mut AHashMap<MessageNumber, Arc<Message>>,
) -> Result<Result<Owed, DecodeError>, EngineError> {
    if let Some(number) = record.shared()
        && !shared.contains_key(&number)
        && let Some(message) = read_message(engine, number, clock)?
    {
        shared.insert(number, message);
    }
    Ok(record.with(|number| shared.get(&number).cloned()))
}

/// A message that is kept once for several. A damaged one is as good as none.
fn read_message(
    engine: &Engine,
    number: MessageNumber,
    clock: &Clock,
) -> Result<Option<Arc<Message>>, EngineError> {
    let key = Key::Message(number).to_bytes();
    let Some(value) = engine.get(Family::Messages, &key)? else { return Ok(None) };
    match record::decode(Family::Messages, &key, &value, clock) {
        Ok(Record::Message(message)) => Ok(Some(Arc::new(message))),
        Ok(_) | Err(_) => Ok(None),
    }
}
