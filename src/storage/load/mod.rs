//! What the store has when the broker starts.
//!
//! Everything is walked once. What has lost its owner is removed: a crash between two groups, or
//! while an ended Session was cleared away, leaves such records behind. What cannot be read goes to
//! the quarantine, and the rest is served.

mod sessions;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::AHashMap;

use self::sessions::Builders;
use super::clock::{Clock, KeptClock, StoreTime};
use super::engine::{Engine, EngineError};
use super::fold::{Group, State};
use super::keys::{self, Family, GroupNumber, MessageNumber};
use super::quarantine::Quarantine;
use super::record::{self, DecodeError, Numbers, Record, Run};
use crate::change::{Kept, KeptGroup, KeptWaiting};
use crate::message::Message;
use crate::time::Now;
use crate::topic::SubscriptionFilter;

/// A client that was connected when the broker died is taken to have gone this long after the clock
/// was kept last, since nobody knows when it was: later than the truth rather than earlier.
const DIED_WITHIN: Duration = Duration::from_secs(60);

/// How many records are removed at once.
const REMOVED_AT_ONCE: usize = 4_096;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    pub sessions: usize,
    pub subscriptions: usize,
    pub queued: usize,
    pub inflight: usize,
    pub wills: usize,
    pub retained: usize,
    pub groups: usize,
    /// Records without their owner, removed.
    pub orphans: usize,
    /// Records that could not be read, in the quarantine now.
    pub damaged: usize,
    pub took: Duration,
}

impl LoadReport {
    /// All that is kept, counted.
    #[must_use]
    pub fn records(&self) -> usize {
        let Self { sessions, subscriptions, queued, inflight, wills, retained, groups, .. } = self;
        sessions + subscriptions + queued + inflight + wills + retained + groups
    }
}

pub(super) struct Loaded {
    pub(super) state: State,
    pub(super) kept: Kept,
    pub(super) report: LoadReport,
    /// Records and their bytes, by family.
    pub(super) live: [(u64, u64); Family::ALL.len()],
}

pub(super) fn load(
    engine: &Engine,
    quarantine: &Quarantine,
    now: Now,
) -> Result<Loaded, EngineError> {
    let started = Instant::now();
    let mut loader = Loader::new(engine, quarantine, now)?;
    loader.sessions()?;
    loader.messages()?;
    loader.inflight()?;
    loader.queue()?;
    loader.subscriptions()?;
    loader.wills()?;
    let groups = loader.groups()?;
    let retained = loader.retained()?;
    let mut loaded = loader.finish(groups, retained)?;
    loaded.report.took = started.elapsed();
    Ok(loaded)
}

struct Loader<'e> {
    engine: &'e Engine,
    quarantine: &'e Quarantine,
    clock: Clock,
    run: Option<Run>,
    /// When clients went that were connected.
    gone: StoreTime,
    numbers: Numbers,
    builders: Builders,
    references: AHashMap<MessageNumber, u32>,
    /// Shared messages that were read for what is inflight.
    shared: AHashMap<MessageNumber, Arc<Message>>,
    group_state: AHashMap<Arc<SubscriptionFilter>, Group>,
    /// Keys to be removed.
    removed: Vec<(Family, Vec<u8>)>,
    report: LoadReport,
    /// Records and their bytes, by family.
    live: [(u64, u64); Family::ALL.len()],
}

/// What a record is.
enum Found {
    Wanted,
    Orphan,
}

impl<'e> Loader<'e> {
    fn new(engine: &'e Engine, quarantine: &'e Quarantine, now: Now) -> Result<Self, EngineError> {
        // Nothing in these depends on a clock.
        let any = Clock::resume(None, now);
        let (mut kept, mut numbers, mut run) = (None, Numbers::default(), None);
        for pair in engine.scan(Family::Meta)? {
            let (key, value) = pair?;
            match record::decode(Family::Meta, &key, &value, &any) {
                Ok(Record::Clock(pair)) => kept = Some(pair),
                Ok(Record::Numbers(reserved)) => numbers = reserved,
                Ok(Record::Run(last)) => run = Some(last),
                Ok(_) => {}
                Err(why) => quarantine.take(Family::Meta, &key, &value, &why),
            }
        }
        let clock = Clock::resume(kept, now);
        Ok(Self {
            engine,
            quarantine,
            clock,
            run,
            gone: gone(kept, run, clock.store_time(now.monotonic)),
            numbers,
            builders: Builders::default(),
            references: AHashMap::new(),
            shared: AHashMap::new(),
            group_state: AHashMap::new(),
            removed: Vec::new(),
            report: LoadReport::default(),
            live: Default::default(),
        })
    }

    /// Walks a family. A record that `take` cannot read goes to the quarantine.
    fn each(
        &mut self,
        family: Family,
        mut take: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<Found, DecodeError>,
    ) -> Result<(), EngineError> {
        for pair in self.engine.scan(family)? {
            let (key, value) = pair?;
            if let Some((records, bytes)) = self.live.get_mut(family as usize) {
                *records += 1;
                *bytes += (key.len() + value.len()) as u64;
            }
            match take(self, &key, &value) {
                Ok(Found::Wanted) => continue,
                Ok(Found::Orphan) => self.report.orphans += 1,
                Err(why) => self.quarantine.take(family, &key, &value, &why),
            }
            self.remove(family, key.to_vec())?;
        }
        Ok(())
    }

    fn remove(&mut self, family: Family, key: Vec<u8>) -> Result<(), EngineError> {
        self.removed.push((family, key));
        if self.removed.len() >= REMOVED_AT_ONCE { self.write_removed() } else { Ok(()) }
    }

    fn write_removed(&mut self) -> Result<(), EngineError> {
        let mut batch = self.engine.batch(self.removed.len());
        for (family, key) in self.removed.drain(..) {
            batch.delete(family, &key)?;
        }
        batch.write()
    }

    fn decode(&self, family: Family, key: &[u8], value: &[u8]) -> Result<Record, DecodeError> {
        record::decode(family, key, value, &self.clock)
    }

    /// Only which there are: what they say is read when somebody takes them.
    fn messages(&mut self) -> Result<(), EngineError> {
        self.each(Family::Messages, |this, key, _| {
            let number = keys::number(key).ok_or(DecodeError::Key)?;
            this.numbers.messages = this.numbers.messages.max(number + 1);
            this.references.insert(MessageNumber(number), 0);
            Ok(Found::Wanted)
        })
    }

    fn refer(&mut self, message: MessageNumber) -> Result<(), DecodeError> {
        *self.references.get_mut(&message).ok_or(DecodeError::NoMessage)? += 1;
        Ok(())
    }

    fn groups(&mut self) -> Result<Vec<KeptGroup>, EngineError> {
        let mut groups: AHashMap<GroupNumber, KeptGroup> = AHashMap::new();
        self.each(Family::Groups, |this, key, value| {
            let (number, _) = keys::owner(key).ok_or(DecodeError::Key)?;
            this.numbers.groups = this.numbers.groups.max(number + 1);
            match this.decode(Family::Groups, key, value)? {
                Record::Group(filter) => {
                    groups.insert(GroupNumber(number), KeptGroup { filter, messages: Vec::new() });
                }
                Record::GroupQueued(lane, message) => {
                    let (_, position) = keys::position(key).ok_or(DecodeError::Key)?;
                    let Some(group) = groups.get_mut(&GroupNumber(number)) else {
                        return Ok(Found::Orphan);
                    };
                    let message = Arc::new(message);
                    group.messages.push(KeptWaiting { position, lane, message });
                }
                _ => return Err(DecodeError::WrongKind),
            }
            Ok(Found::Wanted)
        })?;
        let mut kept = Vec::new();
        for (number, group) in groups {
            if group.messages.is_empty() {
                self.report.orphans += 1;
                self.remove(Family::Groups, number.0.to_be_bytes().to_vec())?;
                continue;
            }
            let positions: HashSet<_, _> = group.messages.iter().map(|it| it.position).collect();
            self.group_state.insert(Arc::new(group.filter.clone()), Group { number, positions });
            kept.push(group);
        }
        Ok(kept)
    }

    fn retained(&mut self) -> Result<Vec<Arc<Message>>, EngineError> {
        let mut retained = Vec::new();
        self.each(Family::Retained, |this, key, value| {
            match this.decode(Family::Retained, key, value)? {
                Record::Retained(message) => retained.push(Arc::new(message)),
                _ => return Err(DecodeError::WrongKind),
            }
            Ok(Found::Wanted)
        })?;
        Ok(retained)
    }

    fn finish(
        mut self,
        groups: Vec<KeptGroup>,
        retained: Vec<Arc<Message>>,
    ) -> Result<Loaded, EngineError> {
        let unused: Vec<_> =
            self.references.extract_if(|_, count| *count == 0).map(|(number, _)| number).collect();
        for MessageNumber(number) in unused {
            self.report.orphans += 1;
            self.remove(Family::Messages, number.to_be_bytes().to_vec())?;
        }
        self.write_removed()?;
        let mut state = State::new(self.clock, self.numbers);
        state.references = self.references;
        state.groups = self.group_state;
        self.report.damaged = usize::try_from(self.quarantine.records()).unwrap_or(usize::MAX);
        self.report.groups = groups.iter().map(|group| group.messages.len()).sum();
        self.report.retained = retained.len();
        // What was kept last may be less than what clients were sent.
        let may_have_lost = self.run == Some(Run::Unsynced);
        let sessions = self.builders.finish(&mut state, self.gone, may_have_lost, &mut self.report);
        let (kept, live) = (Kept { sessions, groups, retained }, self.live);
        Ok(Loaded { state, kept, report: self.report, live })
    }
}

/// When clients went that were connected to the end.
fn gone(kept: Option<KeptClock>, run: Option<Run>, now: StoreTime) -> StoreTime {
    let Some(KeptClock { store, .. }) = kept else { return now };
    let within = match run {
        Some(Run::Ended) => 0,
        Some(Run::Synced | Run::Unsynced) | None => {
            i64::try_from(DIED_WITHIN.as_millis()).unwrap_or_default()
        }
    };
    StoreTime(store.0.saturating_add(within)).min(now)
}
