//! Topic Aliases the server sets: which topics get one of the few numbers a client allows.
//!
//! First come: while numbers are free, each new topic gets the next. Then least used: topics
//! without a number are counted too, and one that was sent more than twice as often lately as the
//! least used takes its number. Twice, because topics that take turns differ by a count or two at
//! any moment: if there are more of them than numbers they must not chase each other, since setting
//! an alias is what makes a packet longer. Lately, because all counts are halved after every
//! [`HALVING`] packets for each number, so that a favourite of former times makes room.

use std::collections::HashMap;
use std::num::NonZeroU16;

use ahash::RandomState;

use crate::packet::Publish;
use crate::topic::TopicName;

/// A shorter topic gets no alias, which costs 3 bytes of properties and at most one more for their
/// length: an alias alone always makes the packet shorter.
const TOPIC_BYTES_MIN: usize = 5;

/// What setting an alias adds to a packet at most: the property, and a byte each for the length of
/// the properties and the Remaining Length, if they cross a limit of their encoding.
const SETTING_BYTES_MAX: usize = 5;

/// Packets for each number between two halvings of the counts.
const HALVING: u32 = 16;

/// Numbers looked at for the least used one: up to here it is found exactly, and among many numbers
/// looking at the next few each time keeps the cost of a packet bounded.
const LOOKS: usize = 32;

/// Topics without an alias that are counted among those whose hash leads to the same place: so many
/// of them take turns without hiding each other.
const ROW: usize = 8;

/// How a PUBLISH names its topic to the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Naming {
    /// By its Topic Name.
    Name,
    /// By its Topic Name, for which the alias stands from now on.
    NameAndAlias(NonZeroU16),
    /// By the alias alone.
    Alias(NonZeroU16),
}

impl Naming {
    /// Names the topic of a PUBLISH that has its Topic Name.
    pub fn apply(self, publish: &mut Publish<'_>) {
        match self {
            Self::Name => {}
            Self::NameAndAlias(alias) => publish.properties.topic_alias = Some(alias.get()),
            Self::Alias(alias) => {
                publish.topic = &[];
                publish.properties.topic_alias = Some(alias.get());
            }
        }
    }
}

/// What each Topic Alias stands for towards the client of one Network Connection, with which it
/// ends [MQTT-3.3.2-7]. Grows with the topics that are sent, up to the maximum.
#[derive(Debug)]
pub struct OutboundAliases {
    maximum: NonZeroU16,
    /// By alias, from 1.
    topics: Vec<Aliased>,
    places: HashMap<TopicName, NonZeroU16, RandomState>,
    /// The alias of the last packet, found without hashing: messages come in runs.
    latest: Option<NonZeroU16>,
    newcomers: Newcomers,
    /// Where looking for the least used goes on.
    next_look: usize,
    since_halving: u32,
}

#[derive(Debug)]
struct Aliased {
    topic: TopicName,
    sent: u32,
}

/// Counts of topics without an alias, by hash. Nothing before all aliases are taken, then a row for
/// every two.
#[derive(Debug, Default)]
struct Newcomers(Vec<[Newcomer; ROW]>);

#[derive(Clone, Copy, Debug, Default)]
struct Newcomer {
    hash: u64,
    sent: u32,
}

impl OutboundAliases {
    /// With the largest alias that may be sent [MQTT-3.1.2-26] [MQTT-3.3.2-11].
    #[must_use]
    pub fn new(maximum: NonZeroU16) -> Self {
        Self {
            maximum,
            topics: Vec::new(),
            places: HashMap::default(),
            latest: None,
            newcomers: Newcomers::default(),
            next_look: 0,
            since_halving: 0,
        }
    }

    /// Whether an alias is shorter than this topic.
    #[must_use]
    pub fn shorten(topic: &TopicName) -> bool {
        topic.as_str().len() >= TOPIC_BYTES_MIN
    }

    /// How the next PUBLISH names its topic, which [`Self::shorten`] was asked for. It has to be
    /// sent, and before any later one: the client does not know the alias before it reads it.
    ///
    /// `room` is by how many bytes the packet may be longer than with the Topic Name alone.
    pub fn name(&mut self, topic: &TopicName, room: usize) -> Naming {
        self.count_packet();
        if let Some(alias) = self.find(topic) {
            self.latest = Some(alias);
            return Naming::Alias(alias);
        }
        if room < SETTING_BYTES_MAX {
            return Naming::Name;
        }
        match self.take_free(topic).or_else(|| self.take_over(topic)) {
            Some(alias) => {
                self.places.insert(topic.clone(), alias);
                self.latest = Some(alias);
                Naming::NameAndAlias(alias)
            }
            None => Naming::Name,
        }
    }

    /// The alias of a topic, which is used once more.
    fn find(&mut self, topic: &TopicName) -> Option<NonZeroU16> {
        if let Some(latest) = self.latest
            && let Some(aliased) = self.topics.get_mut(index(latest))
            && aliased.topic.ptr_eq(topic)
        {
            aliased.sent += 1;
            return Some(latest);
        }
        let alias = *self.places.get(topic)?;
        self.topics.get_mut(index(alias))?.sent += 1;
        Some(alias)
    }

    fn take_free(&mut self, topic: &TopicName) -> Option<NonZeroU16> {
        let taken = u16::try_from(self.topics.len()).ok()?;
        if taken >= self.maximum.get() {
            return None;
        }
        self.topics.push(Aliased { topic: topic.clone(), sent: 1 });
        NonZeroU16::MIN.checked_add(taken)
    }

    /// Takes the alias of the least used topic, if this one was sent more than twice as often.
    fn take_over(&mut self, topic: &TopicName) -> Option<NonZeroU16> {
        let hash = self.places.hasher().hash_one(topic);
        let sent = self.newcomers.count(hash, self.maximum);
        if sent < 2 {
            return None;
        }
        let (alias, least) = self.least_used()?;
        if sent <= 2 * least.sent + 1 {
            return None;
        }
        let old = std::mem::replace(least, Aliased { topic: topic.clone(), sent });
        self.places.remove(&old.topic);
        self.newcomers.forget(hash);
        Some(alias)
    }

    fn least_used(&mut self) -> Option<(NonZeroU16, &mut Aliased)> {
        if self.next_look >= self.topics.len() {
            self.next_look = 0;
        }
        let looks = self.topics.iter_mut().enumerate().skip(self.next_look).take(LOOKS);
        self.next_look += LOOKS;
        let (place, least) = looks.min_by_key(|(_, aliased)| aliased.sent)?;
        let alias = NonZeroU16::MIN.checked_add(u16::try_from(place).ok()?)?;
        Some((alias, least))
    }

    fn count_packet(&mut self) {
        self.since_halving += 1;
        if self.since_halving < HALVING * u32::from(self.maximum.get()) {
            return;
        }
        self.since_halving = 0;
        self.topics.iter_mut().for_each(|aliased| aliased.sent /= 2);
        self.newcomers.halve();
    }
}

impl Newcomers {
    /// How often a topic was sent lately, this time included.
    fn count(&mut self, hash: u64, aliases: NonZeroU16) -> u32 {
        if self.0.is_empty() {
            let rows = usize::from(aliases.get()) / 2 + 1;
            self.0.resize(rows, <[Newcomer; ROW]>::default());
        }
        let Some(row) = self.row(hash) else { return 0 };
        if let Some(known) = row.iter_mut().find(|newcomer| newcomer.hash == hash) {
            known.sent += 1;
            return known.sent;
        }
        // In a full row the others wait until one was halved to nothing.
        let Some(free) = row.iter_mut().find(|newcomer| newcomer.sent == 0) else { return 0 };
        *free = Newcomer { hash, sent: 1 };
        free.sent
    }

    fn forget(&mut self, hash: u64) {
        if let Some(row) = self.row(hash)
            && let Some(known) = row.iter_mut().find(|newcomer| newcomer.hash == hash)
        {
            known.sent = 0;
        }
    }

    fn row(&mut self, hash: u64) -> Option<&mut [Newcomer; ROW]> {
        let rows = u64::try_from(self.0.len()).ok()?;
        self.0.get_mut(usize::try_from(hash.checked_rem(rows)?).ok()?)
    }

    fn halve(&mut self) {
        self.0.iter_mut().flatten().for_each(|newcomer| newcomer.sent /= 2);
    }
}

fn index(alias: NonZeroU16) -> usize {
    usize::from(alias.get()) - 1
}
