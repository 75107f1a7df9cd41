//! Who takes a message, as the trees say: each Session once.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use smallvec::SmallVec;

use super::publish::Origin;
use super::shared_subscription::Group;
use super::slot::Slot;
use super::subscriptions::{Entry, Match, Subscriptions, TreeEpoch};
use crate::packet::QoS;
use crate::session::SubscriptionIds;
use crate::topic::TopicName;

/// From here on a taker who is there already is found by hashing.
const LINEAR_MAX: usize = 16;

/// One Session that takes a message, once, however many of its Subscriptions match.
#[derive(Debug)]
pub(super) struct Taker {
    pub(super) slot: Arc<Slot>,
    pub(super) incarnation: u64,
    /// The highest of the matching Subscriptions [MQTT-3.3.4-2].
    pub(super) qos: QoS,
    pub(super) retain_as_published: bool,
    pub(super) subscription_ids: SubscriptionIds,
    /// What it takes of what its own client publishes.
    pub(super) own: Own,
}

/// The part of a client's matching Subscriptions that have no No Local [MQTT-3.8.3-3].
#[derive(Debug)]
pub(super) enum Own {
    All,
    Nothing,
    Some(Box<Taker>),
}

impl Taker {
    /// By one Subscription.
    pub(super) fn by(slot: Arc<Slot>, entry: Entry) -> Self {
        let Entry { incarnation, subscription } = entry;
        let options = subscription.options;
        Self {
            slot,
            incarnation,
            qos: options.qos,
            retain_as_published: options.retain_as_published,
            subscription_ids: subscription.id.into_iter().collect(),
            own: if options.no_local { Own::Nothing } else { Own::All },
        }
    }

    /// What of it takes the messages of this origin [MQTT-3.8.3-3].
    #[inline]
    pub(super) fn of(&self, origin: Origin<'_>) -> Option<&Self> {
        match &self.own {
            Own::All => Some(self),
            Own::Nothing | Own::Some(_) if !origin.is(&self.slot) => Some(self),
            Own::Nothing => None,
            Own::Some(own) => Some(own),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.slot, &other.slot)
            && self.incarnation == other.incarnation
            && self.qos == other.qos
            && self.retain_as_published == other.retain_as_published
            && self.subscription_ids == other.subscription_ids
            && match (&self.own, &other.own) {
                (Own::All, Own::All) | (Own::Nothing, Own::Nothing) => true,
                (Own::All | Own::Nothing | Own::Some(_), _) => false,
            }
    }

    /// By one Subscription more.
    fn add(&mut self, entry: &Entry) {
        match (&mut self.own, entry.subscription.options.no_local) {
            (Own::All, false) | (Own::Nothing | Own::Some(_), true) => {}
            (Own::All, true) => {
                let Self { slot, incarnation, qos, retain_as_published, .. } = &*self;
                let subscription_ids = self.subscription_ids.clone();
                self.own = Own::Some(Box::new(Self {
                    slot: Arc::clone(slot),
                    incarnation: *incarnation,
                    qos: *qos,
                    retain_as_published: *retain_as_published,
                    subscription_ids,
                    own: Own::All,
                }));
            }
            (Own::Nothing, false) => {
                self.own = Own::Some(Box::new(Self::by(Arc::clone(&self.slot), *entry)));
            }
            (Own::Some(own), false) => own.add(entry),
        }
        let options = entry.subscription.options;
        self.qos = self.qos.max(options.qos);
        self.retain_as_published |= options.retain_as_published;
        self.subscription_ids.extend(entry.subscription.id);
    }
}

/// Everybody who takes messages of one topic.
#[derive(Debug, Default)]
pub(super) struct Matches {
    /// The first has its place here, since most topics have one: no allocation of its own.
    pub(super) takers: SmallVec<[Taker; 1]>,
    /// One member of each takes it too.
    pub(super) groups: Vec<Arc<Group>>,
    /// The highest QoS any of them was granted; of a group the highest there is.
    pub(super) qos: Option<QoS>,
}

/// Where a Session stands among the takers.
type Places = HashMap<(*const Slot, u64), usize, RandomState>;

impl Matches {
    /// Asks the trees, and says which state of them answered.
    pub(super) fn find(
        topic: &TopicName,
        tree: &Subscriptions,
        hasher: &RandomState,
    ) -> (Self, TreeEpoch) {
        let mut matches = Self::default();
        let mut places = Places::with_hasher(hasher.clone());
        let epoch = tree.for_each_match(topic, |found| match found {
            Match::Client(slot, entry) => matches.add(slot, entry, &mut places),
            Match::Group(group) => {
                matches.qos = Some(QoS::ExactlyOnce);
                matches.groups.push(Arc::clone(group));
            }
        });
        (matches, epoch)
    }

    pub(super) fn len(&self) -> usize {
        self.takers.len() + self.groups.len()
    }

    /// Whether the same Sessions take it in the same way. False if that is not easily seen.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.groups.is_empty()
            && other.groups.is_empty()
            && match (self.takers.as_slice(), other.takers.as_slice()) {
                ([], []) => true,
                ([one], [other]) => one.is_same(other),
                _ => false,
            }
    }

    fn add(&mut self, slot: &Arc<Slot>, entry: &Entry, places: &mut Places) {
        let options = entry.subscription.options;
        self.qos = self.qos.max(Some(options.qos));
        if let Some(taker) = self.taker(slot, entry.incarnation, places) {
            return taker.add(entry);
        }
        if self.takers.len() >= LINEAR_MAX {
            places.insert((Arc::as_ptr(slot), entry.incarnation), self.takers.len());
        }
        self.takers.push(Taker::by(Arc::clone(slot), *entry));
    }

    /// The first takers are found by looking, the others through `places`.
    fn taker(&mut self, slot: &Arc<Slot>, incarnation: u64, places: &Places) -> Option<&mut Taker> {
        let first = self.takers.iter().take(LINEAR_MAX);
        let place = first
            .enumerate()
            .find(|(_, taker)| taker.incarnation == incarnation && Arc::ptr_eq(&taker.slot, slot))
            .map(|(place, _)| place)
            .or_else(|| places.get(&(Arc::as_ptr(slot), incarnation)).copied())?;
        self.takers.get_mut(place)
    }
}
