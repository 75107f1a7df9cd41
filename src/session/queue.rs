//! What waits to be sent, oldest first. A message of a Session that a store keeps may be in the
//! store alone; its entry then says no more than where, and what it weighs.
//!
//! ```text
//! oldest                                             newest
//! [ loaded ... loaded | stored ... stored ... stored ]
//!                       '-- fetched next --'
//! ```
//! While anything is stored, what comes is stored behind it: so a client that works off a backlog
//! makes nobody hold more of it in memory than a slice or two.

use std::collections::VecDeque;

use crate::change::{KeptMessage, Owed};

/// Messages fetched at once.
const SLICE_MESSAGES: usize = 256;

/// Bytes after which a slice ends early, as messages are accounted.
const SLICE_BYTES: usize = 1024 * 1024;

/// The next slice is asked for when less than this part of one is loaded.
const EARLY: usize = 2;

/// The memory an entry takes whose message is in the store alone.
pub(super) const STORED_BYTES: usize = size_of::<Waiting>();

#[derive(Debug)]
struct Waiting {
    position: u64,
    /// As it is accounted.
    bytes: u32,
    /// `None`: the store alone has it.
    owed: Option<Box<Owed>>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Waiting>,
    /// How many of the oldest are loaded; all others are stored.
    loaded: usize,
    /// Of all messages, as they are accounted.
    bytes: usize,
    /// The same of those that are loaded.
    loaded_bytes: usize,
    fetching: Option<Slice>,
}

/// The positions of messages that are to be fetched, or were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slice {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Queue {
    /// A queue whose messages are all in the store.
    pub(super) fn restored(kept: Vec<KeptMessage>) -> Self {
        let bytes = kept.iter().map(|message| message.bytes as usize).sum();
        let stored = |KeptMessage { position, bytes }| Waiting { position, bytes, owed: None };
        Self { entries: kept.into_iter().map(stored).collect(), bytes, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many messages are in the store alone.
    pub(super) fn stored(&self) -> usize {
        self.entries.len() - self.loaded
    }

    /// Of all messages, as they are accounted.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same of those in memory.
    pub(super) fn loaded_bytes(&self) -> usize {
        self.loaded_bytes
    }

    /// What each message weighs, from the oldest on.
    pub(super) fn weights(&self) -> impl ExactSizeIterator<Item = usize> {
        self.entries.iter().map(|waiting| waiting.bytes as usize)
    }

    /// Lets a message wait that stays in memory. Its position is behind all others.
    pub(super) fn push(&mut self, position: u64, owed: Owed) {
        let bytes = accounted(owed.message.bytes());
        self.loaded += 1;
        self.loaded_bytes += bytes as usize;
        self.push_back(position, bytes, Some(Box::new(owed)));
    }

    /// The same for a message of so many bytes that only the store has.
    pub(super) fn push_stored(&mut self, position: u64, bytes: usize) {
        self.push_back(position, accounted(bytes), None);
    }

    fn push_back(&mut self, position: u64, bytes: u32, owed: Option<Box<Owed>>) {
        self.bytes += bytes as usize;
        self.entries.push_back(Waiting { position, bytes, owed });
    }

    /// Takes the oldest message out, wherever it is: its position.
    pub(super) fn drop_oldest(&mut self) -> Option<u64> {
        let Waiting { position, bytes, owed } = self.entries.pop_front()?;
        self.forget(bytes as usize, owed.is_some());
        Some(position)
    }

    /// Takes the oldest message out, unless it has to be fetched first.
    pub(super) fn pop(&mut self) -> Option<(u64, Owed)> {
        let owed = self.entries.front_mut()?.owed.take()?;
        let Waiting { position, bytes, .. } = self.entries.pop_front()?;
        self.forget(bytes as usize, true);
        Some((position, *owed))
    }

    fn forget(&mut self, bytes: usize, loaded: bool) {
        self.bytes -= bytes;
        if loaded {
            self.loaded -= 1;
            self.loaded_bytes -= bytes;
        }
    }

    /// Leaves all messages to the store, which has them.
    pub(super) fn unload(&mut self) {
        for waiting in self.entries.iter_mut().take(self.loaded) {
            waiting.owed = None;
        }
        self.loaded = 0;
        self.loaded_bytes = 0;
    }

    /// What is to be fetched now: so early that there is still something to send meanwhile, and one
    /// slice at a time.
    pub(super) fn begin_fetch(&mut self) -> Option<Slice> {
        let many =
            self.loaded >= SLICE_MESSAGES / EARLY || self.loaded_bytes >= SLICE_BYTES / EARLY;
        if many || self.fetching.is_some() {
            return None;
        }
        let mut stored = self.entries.iter().skip(self.loaded).take(SLICE_MESSAGES);
        let first = stored.next()?;
        let mut bytes = first.bytes as usize;
        let fitting = stored.take_while(|waiting| {
            bytes += waiting.bytes as usize;
            bytes <= SLICE_BYTES
        });
        let last = fitting.last().unwrap_or(first);
        let slice = Slice { first: first.position, last: last.position };
        self.fetching = Some(slice);
        Some(slice)
    }

    /// Whoever waited for a slice is gone.
    pub(super) fn abandon_fetch(&mut self) {
        self.fetching = None;
    }

    /// Loads what was fetched. `lost` gets the position of each message that did not come although
    /// it waits: it waits no more.
    pub(super) fn load(
        &mut self,
        slice: Slice,
        messages: Vec<(u64, Owed)>,
        mut lost: impl FnMut(u64),
    ) {
        if self.fetching != Some(slice) {
            return;
        }
        self.fetching = None;
        for (position, owed) in messages {
            let found = self.entries.binary_search_by_key(&position, |waiting| waiting.position);
            // It may have given way to a newer one meanwhile.
            if let Some(waiting) = found.ok().and_then(|at| self.entries.get_mut(at))
                && (slice.first..=slice.last).contains(&position)
            {
                waiting.owed = Some(Box::new(owed));
            }
        }
        while let Some(waiting) = self.entries.get(self.loaded)
            && waiting.position <= slice.last
        {
            let (position, bytes) = (waiting.position, waiting.bytes as usize);
            if waiting.owed.is_some() {
                self.loaded += 1;
                self.loaded_bytes += bytes;
            } else {
                self.entries.remove(self.loaded);
                self.bytes -= bytes;
                lost(position);
            }
        }
    }
}

/// Always exact: a packet has less than 2^28 bytes.
fn accounted(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
