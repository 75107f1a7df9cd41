//! The matches of a worker's latest topics, so that the trees are asked once for each.
//!
//! ```text
//!             tags       places
//! hash --> set: 3f 07 ..   (a/b: takers) (c: takers) ..      8 of each
//!               `-- says which place may be the topic's
//! ```
//!
//! A new topic takes the place of one of the eight that it could be confused with. That is why it
//! is no `HashMap`, which can only be emptied when it is full: what thousands of topics held had
//! left the processor's cache by then, and the allocator took it slowly (row `wildcard-cold`).

use std::mem;
use std::rc::Rc;

use ahash::RandomState;
use smallvec::SmallVec;

use super::matches::Matches;
use super::subscriptions::{Subscriptions, TreeEpoch};
use crate::topic::TopicName;

/// Topics a worker remembers.
const TOPICS_MAX: usize = 4_096;

/// Takers of all remembered topics together; a topic with more is looked up each time it alternates
/// with another.
const TAKERS_MAX: usize = 262_144;

/// Places of a set.
const PLACES: usize = 8;

/// Powers of two.
const SETS_MIN: usize = 8;
const SETS_MAX: usize = TOPICS_MAX / PLACES;

/// The matches of one worker's latest topics.
#[derive(Debug, Default)]
pub(super) struct MatchCache {
    /// The topic of the last message, found without hashing: publishers come in runs.
    latest: Option<(TopicName, Remembered)>,
    /// None before the first topic, and twice as many whenever one of them is full.
    sets: Vec<Set>,
    hasher: RandomState,
    takers: usize,
}

/// The topics whose hashes end alike.
#[derive(Debug, Default)]
struct Set {
    /// The other end of their hashes, in one cache line.
    tags: [u32; PLACES],
    places: [Option<Place>; PLACES],
    /// Whose turn it is to be forgotten.
    next: usize,
}

#[derive(Debug)]
struct Place {
    topic: Text,
    /// The name, from the second message on: a topic that comes once is let go of without it.
    name: Option<TopicName>,
    known: Remembered,
}

/// A topic's own text and not a share of it: who lets go of a share writes to where the text is,
/// which the processor has to fetch first.
type Text = SmallVec<[u8; 64]>;

#[derive(Clone, Debug)]
struct Remembered {
    epoch: TreeEpoch,
    matches: Rc<Matches>,
}

impl MatchCache {
    /// The takers of a topic: remembered ones if no Subscription changed that could matter.
    pub(super) fn look_up(&mut self, topic: &TopicName, tree: &Subscriptions) -> Rc<Matches> {
        if let Some((latest, known)) = &self.latest
            && latest.ptr_eq(topic)
            && tree.is_current(known.epoch)
        {
            return Rc::clone(&known.matches);
        }
        let hash = self.hash(topic.as_str());
        let count = self.sets.len();
        let mut set = self.sets.get_mut(set_of(hash, count));
        let own = set.as_ref().and_then(|set| set.position(tag_of(hash), topic.as_str()));
        let place = set.as_mut().zip(own).and_then(|(set, place)| set.place_mut(place));
        let known = match place.map(|place| place.known_as(topic)) {
            Some(known) if tree.is_current(known.epoch) => known.clone(),
            Some(_) | None => self.match_anew(hash, topic, own, tree),
        };
        let matches = Rc::clone(&known.matches);
        self.latest = Some((topic.clone(), known));
        matches
    }

    /// The Topic Name of this text, if it came more than once lately.
    pub(super) fn name(&self, text: &str) -> Option<TopicName> {
        let hash = self.hash(text);
        let set = self.sets.get(set_of(hash, self.sets.len()))?;
        let place = set.position(tag_of(hash), text)?;
        set.places.get(place)?.as_ref()?.name.clone()
    }

    fn hash(&self, text: &str) -> u64 {
        self.hasher.hash_one(text.as_bytes())
    }

    /// Shares the takers of the topic before, if this one's are the same: many topics with one taker
    /// are what there is most of, and memory that is used each time need not be fetched.
    fn share(&self, matches: Matches) -> Rc<Matches> {
        match &self.latest {
            Some((_, latest)) if latest.matches.is_same(&matches) => Rc::clone(&latest.matches),
            Some(_) | None => Rc::new(matches),
        }
    }

    /// Asks the trees. `own` is the topic's place, if it has one.
    fn match_anew(
        &mut self,
        hash: u64,
        topic: &TopicName,
        own: Option<usize>,
        tree: &Subscriptions,
    ) -> Remembered {
        // First, so that the allocator can give at once what it gets.
        self.make_room(hash, own);
        let (matches, epoch) = Matches::find(topic, tree, &self.hasher);
        if self.takers + matches.len() > TAKERS_MAX {
            self.sets.clear();
            self.sets.resize_with(SETS_MIN, Set::default);
            self.takers = 0;
        }
        self.takers += matches.len();
        let known = Remembered { epoch, matches: self.share(matches) };
        let text = Text::from_slice(topic.as_str().as_bytes());
        let name = own.map(|_| topic.clone());
        self.put(hash, Place { topic: text, name, known: known.clone() });
        known
    }

    /// Sees to it that a topic's set has a place that is free: its own, or that of another one.
    fn make_room(&mut self, hash: u64, own: Option<usize>) {
        let is_full = self.sets.get(set_of(hash, self.sets.len())).is_none_or(Set::is_full);
        if own.is_none() && is_full && self.sets.len() < SETS_MAX {
            self.grow();
        }
        let set = set_of(hash, self.sets.len());
        let forgotten = self.sets.get_mut(set).and_then(|set| set.vacate(own));
        self.takers -= forgotten.map_or(0, |place| place.known.matches.len());
    }

    fn grow(&mut self) {
        let sets = (self.sets.len() * 2).max(SETS_MIN);
        let mut old = mem::take(&mut self.sets);
        self.sets.resize_with(sets, Set::default);
        // A set becomes two, so each topic has a place; in bad luck they are all in one again.
        for place in old.iter_mut().flat_map(|set| &mut set.places).filter_map(Option::take) {
            self.put(self.hasher.hash_one(place.topic.as_slice()), place);
        }
    }

    fn put(&mut self, hash: u64, place: Place) {
        let set = set_of(hash, self.sets.len());
        if let Some(set) = self.sets.get_mut(set) {
            set.put(tag_of(hash), place);
        }
    }
}

impl Place {
    /// What is remembered, and the name from now on.
    fn known_as(&mut self, topic: &TopicName) -> &Remembered {
        self.name.get_or_insert_with(|| topic.clone());
        &self.known
    }
}

impl Set {
    fn position(&self, tag: u32, topic: &str) -> Option<usize> {
        let places = self.tags.iter().zip(&self.places);
        places.into_iter().position(|(other, place)| {
            let place = place.as_ref().filter(|_| *other == tag);
            place.is_some_and(|place| place.topic.as_slice() == topic.as_bytes())
        })
    }

    fn place_mut(&mut self, place: usize) -> Option<&mut Place> {
        self.places.get_mut(place)?.as_mut()
    }

    fn is_full(&self) -> bool {
        self.places.iter().all(Option::is_some)
    }

    /// Frees this place, or if there is none any place. What stood there, if it was not free.
    fn vacate(&mut self, own: Option<usize>) -> Option<Place> {
        if own.is_none() && !self.is_full() {
            return None;
        }
        let place = own.unwrap_or(self.next);
        if own.is_none() {
            self.next = (place + 1) % PLACES;
        }
        self.places.get_mut(place)?.take()
    }

    fn put(&mut self, tag: u32, place: Place) {
        let mut places = self.tags.iter_mut().zip(&mut self.places);
        if let Some((its_tag, free)) = places.find(|(_, place)| place.is_none()) {
            *its_tag = tag;
            *free = Some(place);
        }
    }
}

/// Which of so many sets, a power of two.
fn set_of(hash: u64, sets: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "the lower end is as good as all of it")]
    let lower = hash as usize;
    lower & sets.wrapping_sub(1)
}

fn tag_of(hash: u64) -> u32 {
    let [_, _, _, _, a, b, c, d] = hash.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Metrics;

    fn topics(count: usize) -> Vec<TopicName> {
        (0..count).map(|n| TopicName::parse(&format!("a/{n}")).unwrap()).collect()
    }

    fn nobody() -> Subscriptions {
        Subscriptions::new(Arc::new(Metrics::new(1)))
    }

    fn has(cache: &MatchCache, topic: &TopicName) -> bool {
        let hash = cache.hash(topic.as_str());
        let set = cache.sets.get(set_of(hash, cache.sets.len()));
        set.is_some_and(|set| set.position(tag_of(hash), topic.as_str()).is_some())
    }

    fn remembered(cache: &MatchCache) -> usize {
        cache.sets.iter().flat_map(|set| &set.places).flatten().count()
    }

    #[test]
    fn few_topics_are_all_remembered() {
        let (tree, topics, mut cache) = (nobody(), topics(2_000), MatchCache::default());
        for topic in &topics {
            cache.look_up(topic, &tree);
        }

        assert!(topics.iter().filter(|topic| has(&cache, topic)).count() > 1_800);
    }

    #[test]
    fn of_many_topics_the_latest_are_remembered() {
        let (tree, topics, mut cache) = (nobody(), topics(20_000), MatchCache::default());
        for topic in &topics {
            cache.look_up(topic, &tree);
        }

        assert!(topics.iter().rev().take(500).all(|topic| has(&cache, topic)));
        assert_eq!(remembered(&cache), TOPICS_MAX);
    }

    #[test]
    fn a_topic_has_one_place_however_often_it_is_matched() {
        let (tree, topics, mut cache) = (nobody(), topics(100), MatchCache::default());
        for topic in topics.iter().cycle().take(1_000) {
            let hash = cache.hash(topic.as_str());
            let set = cache.sets.get(set_of(hash, cache.sets.len()));
            let own = set.and_then(|set| set.position(tag_of(hash), topic.as_str()));
            cache.match_anew(hash, topic, own, &tree);
        }

        assert_eq!(remembered(&cache), 100);
    }

    #[test]
    fn the_name_of_a_topic_is_there_from_its_second_message_on() {
        let (tree, topics, mut cache) = (nobody(), topics(3), MatchCache::default());
        let [often, once, never] = &topics[..] else { panic!("{topics:?}") };
        for topic in [often, once, &TopicName::parse(often.as_str()).unwrap()] {
            cache.look_up(topic, &tree);
        }

        let second = cache.name(often.as_str()).unwrap();

        assert_eq!(second, *often);
        assert!(!second.ptr_eq(often));
        assert_eq!([once, never].map(|topic| cache.name(topic.as_str())), [None, None]);
    }
}
