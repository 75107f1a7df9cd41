//! The engine that keeps nothing beyond the process: whatever is in memory counts as kept.

use std::task::Waker;

use crate::change::{
    CommitNumber, Fetch, FetchReply, Fetched, Journal, JournalState, Keeps, Recorded,
};

#[derive(Debug)]
pub struct Memory;

impl Journal for Memory {
    fn keeps(&self) -> Keeps {
        Keeps::Nothing
    }

    fn submit(&self, changes: &mut Vec<Recorded>) -> CommitNumber {
        changes.clear();
        CommitNumber::NONE
    }

    fn kept(&self) -> CommitNumber {
        CommitNumber::NONE
    }

    fn wake_when_kept(&self, _: CommitNumber, waker: &Waker) {
        waker.wake_by_ref();
    }

    fn state(&self) -> JournalState {
        JournalState::Keeping
    }

    fn fetch(&self, fetch: Fetch, reply: FetchReply) {
        // Nothing ever leaves the memory.
        reply(Fetched { fetch, messages: Vec::new() });
    }
}
