//! A store that nobody uses, looked at: what it has, how large it is, what is wrong with it.

mod describe;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::clock::Clock;
use super::directory::{Directory, StorageError};
use super::engine::Engine;
use super::journals::{self, Soundness};
use super::keys::{self, Family, SessionNumber};
use super::record::{self, OutgoingRecord, OutgoingStage, OwedRecord, Record};
use crate::time::Now;

pub use describe::{Dumped, Field};

/// A store that is this process's to look at.
#[derive(Debug)]
pub struct Offline {
    directory: Directory,
    engine: Option<Engine>,
    clock: Clock,
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// A family, or a file.
    pub place: String,
    /// The key in hexadecimal digits, if it is about one record.
    pub key: Option<String>,
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(to, "{} {key}: {}", self.place, self.what),
            None => write!(to, "{}: {}", self.place, self.what),
        }
    }
}

/// How much there is.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub families: Vec<FamilyStats>,
    /// All files of the store. Holes do not count where the system says so.
    pub disk_bytes: u64,
    pub journals: usize,
}

#[derive(Clone, Debug)]
pub struct FamilyStats {
    pub name: &'static str,
    pub records: u64,
    /// Keys and values.
    pub bytes: u64,
    /// Tables on disk.
    pub table_bytes: u64,
}

impl Offline {
    /// Takes a data directory that no broker uses. The journals are read, not changed.
    ///
    /// # Errors
    /// If there is no store, or it is in use, or cannot be opened.
    pub fn open(data_dir: &Path) -> Result<(Self, Vec<Problem>), StorageError> {
        let directory = Directory::take_existing(data_dir)?;
        let problems = journal_problems(&directory.store())
            .map_err(|source| engine_error(&directory, source.into()))?;
        // To open a store is to cut its journals off where they cannot be read.
        if problems.iter().any(|problem| [DAMAGED, MISSING].contains(&&*problem.what)) {
            return Ok((Self::unopened(directory), problems));
        }
        let engine = match Engine::open(&directory.store()) {
            Ok(engine) => engine,
            // What was found is why; the next start puts it in order.
            Err(_) if !problems.is_empty() => return Ok((Self::unopened(directory), problems)),
            Err(source) => return Err(engine_error(&directory, source)),
        };
        let clock = clock(&engine);
        Ok((Self { directory, engine: Some(engine), clock }, problems))
    }

    fn unopened(directory: Directory) -> Self {
        let now = Now { monotonic: Instant::now(), wall: SystemTime::now() };
        Self { directory, engine: None, clock: Clock::resume(None, now) }
    }

    /// Walks everything: all that is wrong, together with what opening it found.
    pub fn verify(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut owners = Owners::default();
        for family in Family::ALL {
            let walked = self.walk(family, |key, value| {
                match record::decode(family, key, value, &self.clock) {
                    Ok(record) => owners.see(key, &record),
                    Err(why) => problems.push(Problem {
                        place: family.name().to_owned(),
                        key: Some(describe::hex(key)),
                        what: why.to_string(),
                    }),
                }
            });
            if let Err(what) = walked {
                problems.push(Problem { place: family.name().to_owned(), key: None, what });
            }
        }
        problems.extend(owners.problems());
        problems
    }

    /// Hands on every record, readable. Those that cannot be decoded say why.
    ///
    /// # Errors
    /// Says which family cannot be read.
    pub fn dump(&self, mut take: impl FnMut(Dumped)) -> Result<(), Problem> {
        for family in Family::ALL {
            self.walk(family, |key, value| {
                let record = record::decode(family, key, value, &self.clock);
                take(describe::describe(family, key, record, &self.clock));
            })
            .map_err(|what| Problem {
                place: family.name().to_owned(),
                key: None,
                what,
            })?;
        }
        Ok(())
    }

    /// # Errors
    /// Says which family cannot be read.
    pub fn stats(&self) -> Result<Stats, Problem> {
        let mut stats = Stats::default();
        for family in Family::ALL {
            let (mut records, mut bytes) = (0, 0);
            let name = family.name();
            self.walk(family, |key, value| {
                records += 1;
                bytes += (key.len() + value.len()) as u64;
            })
            .map_err(|what| Problem { place: name.to_owned(), key: None, what })?;
            let tables = self.engine.as_ref().and_then(|it| it.table_bytes(family).ok());
            let table_bytes = tables.unwrap_or_default();
            stats.families.push(FamilyStats { name, records, bytes, table_bytes });
        }
        let store = self.directory.store();
        stats.journals = journals::journals(&store).map_or(0, |journals| journals.len());
        stats.disk_bytes = disk_bytes(&store);
        Ok(stats)
    }

    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.store()
    }

    fn walk(&self, family: Family, mut take: impl FnMut(&[u8], &[u8])) -> Result<(), String> {
        let Some(engine) = &self.engine else {
            return Err("not looked at, since opening it would change the journal".to_owned());
        };
        for pair in engine.scan(family).map_err(|error| error.to_string())? {
            let (key, value) = pair.map_err(|error| error.to_string())?;
            take(&key, &value);
        }
        Ok(())
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.close();
        }
    }
}

const DAMAGED: &str = "damaged in the middle; the next start keeps what is sound";

const EMPTY: &str = "empty; if it had anything, that is gone";

const MISSING: &str = "missing; the next start goes on with what is in tables";

fn journal_problems(store: &Path) -> std::io::Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let all = journals::journals(store)?;
    if all.is_empty() {
        let place = store.join(journals::FIRST).display().to_string();
        problems.push(Problem { place, key: None, what: MISSING.to_owned() });
    }
    for journal in all {
        let length = fs::metadata(&journal)?.len();
        let what = match journals::check(&journal)? {
            Soundness::Sound if length == 0 => EMPTY.to_owned(),
            Soundness::Sound => continue,
            Soundness::CutOff(sound) => {
                let rest = length.saturating_sub(sound);
                format!("ends in {rest} bytes of an incomplete group, as after a power cut")
            }
            Soundness::Damaged => DAMAGED.to_owned(),
        };
        problems.push(Problem { place: journal.display().to_string(), key: None, what });
    }
    Ok(problems)
}

fn engine_error(directory: &Directory, source: super::EngineError) -> StorageError {
    StorageError::Engine { path: directory.path().to_owned(), source }
}

/// The store's own time, so that moments can be told.
fn clock(engine: &Engine) -> Clock {
    let now = Now { monotonic: Instant::now(), wall: SystemTime::now() };
    let any = Clock::resume(None, now);
    let kept = engine.get(Family::Meta, keys::CLOCK).ok().flatten();
    let kept =
        kept.and_then(|value| match record::decode(Family::Meta, keys::CLOCK, &value, &any) {
            Ok(Record::Clock(kept)) => Some(kept),
            Ok(_) | Err(_) => None,
        });
    Clock::resume(kept, now)
}

/// Who is there, to find what has lost its owner. The families come in an order in which an owner
/// is seen before most of what is its own, but for messages.
#[derive(Default)]
struct Owners {
    sessions: ahash::AHashSet<SessionNumber>,
    referred: ahash::AHashSet<u64>,
    messages: ahash::AHashSet<u64>,
    orphans: u64,
}

impl Owners {
    fn see(&mut self, key: &[u8], record: &Record) {
        let owner = keys::owner(key).map(|(owner, _)| owner);
        let session = owner.map(SessionNumber);
        match record {
            Record::Session(_) => self.sessions.extend(session),
            Record::Message(_) => self.messages.extend(owner),
            Record::Subscription(..)
            | Record::Queued(_)
            | Record::Outgoing(_)
            | Record::Incoming
            | Record::Will(_) => {
                self.orphans += u64::from(session.is_none_or(|it| !self.sessions.contains(&it)));
            }
            Record::Clock(_)
            | Record::Numbers(_)
            | Record::Run(_)
            | Record::Retained(_)
            | Record::Group(_)
            | Record::GroupQueued(..) => {}
        }
        let owed = match record {
            Record::Queued(owed)
            | Record::Outgoing(OutgoingRecord { stage: OutgoingStage::Own(owed), .. }) => {
                Some(owed)
            }
            _ => None,
        };
        self.referred.extend(owed.and_then(OwedRecord::shared).map(|message| message.0));
    }

    fn problems(&self) -> Vec<Problem> {
        let problem =
            |place: Family, what| Problem { place: place.name().to_owned(), key: None, what };
        let mut problems = Vec::new();
        if self.orphans > 0 {
            let what = format!(
                "{} records of Sessions that ended; the next start removes them",
                self.orphans
            );
            problems.push(problem(Family::Sessions, what));
        }
        let missing = self.referred.difference(&self.messages).count();
        if missing > 0 {
            let what = format!("{missing} messages are missing that Sessions are owed");
            problems.push(problem(Family::Messages, what));
        }
        problems
    }
}

fn disk_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => occupied(&metadata),
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(unix)]
fn occupied(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

#[cfg(not(unix))]
fn occupied(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}
