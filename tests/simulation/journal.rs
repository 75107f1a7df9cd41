//! A store that keeps what it was given later, in order, when the simulation says so.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::task::Waker;

use dunlin::change::{
    self, Change, CommitNumber, Fetch, FetchReply, Fetched, Journal, Keeps, Recorded,
};

use crate::oracle::identity;

#[derive(Debug)]
pub(crate) struct LateJournal {
    keeps: Keeps,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    changes: Vec<(u64, Change)>,
    submitted: u64,
    kept: u64,
    waiting: Vec<(u64, Waker)>,
}

impl LateJournal {
    pub(crate) fn new(keeps: Keeps) -> Self {
        Self { keeps, state: Mutex::default() }
    }

    pub(crate) fn submitted(&self) -> u64 {
        self.state.lock().unwrap().submitted
    }

    pub(crate) fn kept_number(&self) -> u64 {
        self.state.lock().unwrap().kept
    }

    /// Keeps what was submitted up to a number and wakes who waited for it.
    pub(crate) fn keep_up_to(&self, number: u64) {
        let mut state = self.state.lock().unwrap();
        state.kept = state.kept.max(number);
        let kept = state.kept;
        let waiting = std::mem::take(&mut state.waiting);
        let (due, waiting): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(wanted, _)| *wanted <= kept);
        state.waiting = waiting;
        drop(state);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// The number of the last change after number `after` that `wanted` picks; 0 if there is none.
    pub(crate) fn latest(&self, after: u64, wanted: impl Fn(&Change) -> bool) -> u64 {
        let state = self.state.lock().unwrap();
        let newest_first = state.changes.iter().rev().take_while(|(number, _)| *number > after);
        newest_first.into_iter().find(|(_, change)| wanted(change)).map_or(0, |(number, _)| *number)
    }

    /// Which messages groups owe, by group and position, as the store was told.
    pub(crate) fn owed_by_groups(&self) -> Result<BTreeMap<(String, u64), String>, String> {
        let state = self.state.lock().unwrap();
        let mut owed = BTreeMap::new();
        for (_, change) in &state.changes {
            match change {
                Change::GroupQueued { group, position, message, .. } => {
                    let message = identity(message.topic.as_str().as_bytes(), &message.payload);
                    let key = (group.to_string(), *position);
                    let before = owed.insert(key, message);
                    before.map_or(Ok(()), |_| Err(format!("{change:?} for the second time")))?;
                }
                Change::GroupUnqueued { group, position } => {
                    let key = (group.to_string(), *position);
                    owed.remove(&key).ok_or_else(|| format!("{change:?} for nothing"))?;
                }
                _ => {}
            }
        }
        Ok(owed)
    }
}

impl Journal for LateJournal {
    fn keeps(&self) -> Keeps {
        self.keeps
    }

    fn submit(&self, changes: &mut Vec<Recorded>) -> CommitNumber {
        if self.keeps == Keeps::Nothing {
            changes.clear();
            return CommitNumber::NONE;
        }
        let mut state = self.state.lock().unwrap();
        state.submitted += 1;
        let number = state.submitted;
        state.changes.extend(changes.drain(..).map(|recorded| (number, recorded.change)));
        CommitNumber(number)
    }

    fn kept(&self) -> CommitNumber {
        CommitNumber(self.kept_number())
    }

    fn wake_when_kept(&self, number: CommitNumber, waker: &Waker) {
        let mut state = self.state.lock().unwrap();
        if number.0 <= state.kept {
            drop(state);
            return waker.wake_by_ref();
        }
        state.waiting.push((number.0, waker.clone()));
    }

    fn state(&self) -> change::JournalState {
        change::JournalState::Keeping
    }

    fn fetch(&self, fetch: Fetch, reply: FetchReply) {
        reply(Fetched { fetch, messages: Vec::new() });
    }
}
