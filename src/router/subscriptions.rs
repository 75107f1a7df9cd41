//! The subscription trees, kept in step with what the Sessions say.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ahash::RandomState;
use parking_lot::{Mutex, RwLock};

use super::shared_subscription::{Connection, Estate, Group, Membership};
use super::slot::{Slot, SlotKey, SlotState};
use super::strategy::Strategy;
use super::sys::SYS;
use super::vital::Vital;
use crate::change::Subscription;
use crate::metrics::Metrics;
use crate::topic::{SubscriptionFilter, SubscriptionTree, TopicFilter, TopicName};

/// Epochs by first level: a device that subscribes to its own topics empties nobody else's cache.
const SHARDS: usize = 64;

/// Room for the positions of one group, far more than it will use.
const POSITIONS: u64 = 1 << 40;

/// Who is subscribed to what.
#[derive(Debug)]
pub(super) struct Subscriptions {
    trees: RwLock<Trees>,
    /// The lock may be held while the trees' is taken, never the other way round.
    groups: Mutex<Groups>,
    /// Changed whenever a filter with this first level changes.
    epochs: [AtomicU64; SHARDS],
    /// Changed whenever a filter whose first level is a wildcard changes.
    wildcard_epoch: AtomicU64,
    hasher: RandomState,
    metrics: Arc<Metrics>,
    /// Subscriptions with the first level `$SYS`. Written under the tree's lock.
    sys: AtomicUsize,
}

#[derive(Debug, Default)]
struct Trees {
    clients: SubscriptionTree<SlotKey, Entry>,
    groups: SubscriptionTree<GroupKey, ()>,
}

/// The Shared Subscriptions that have a member.
#[derive(Debug, Default)]
struct Groups {
    by_filter: HashMap<SubscriptionFilter, Arc<Group>, RandomState>,
    /// Of all groups together.
    members: usize,
    /// How many there ever were.
    made: u64,
}

/// A group as the key of its filter: the same place in memory.
#[derive(Clone, Debug)]
struct GroupKey(Arc<Group>);

impl PartialEq for GroupKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for GroupKey {}

impl Hash for GroupKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// Who takes messages of a topic, in one of the trees.
#[derive(Debug)]
pub(super) enum Match<'a> {
    Client(&'a Arc<Slot>, &'a Entry),
    Group(&'a Arc<Group>),
}

/// A Subscription in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// Of the Session that made it; another one ignores it.
    pub(super) incarnation: u64,
    pub(super) subscription: Subscription,
}

/// Whether a slot took its place in a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Joined {
    Agreed,
    /// Its Session or the group changed meanwhile: what the Session says now.
    Changed(Option<Entry>),
}

/// The state of the tree for topics of one first level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TreeEpoch {
    shard: u8,
    level: u64,
    wildcard: u64,
}

impl Subscriptions {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            trees: RwLock::default(),
            groups: Mutex::default(),
            epochs: std::array::from_fn(|_| AtomicU64::new(0)),
            wildcard_epoch: AtomicU64::new(0),
            hasher: RandomState::new(),
            metrics,
            sys: AtomicUsize::new(0),
        }
    }

    /// Brings the tree in step with what the slot's Session says of one filter.
    ///
    /// The Session may change again, by a connection that took over, between its lock and the
    /// tree's; so whoever changed the tree looks at the Session once more, and the last one to do
    /// so finds them equal.
    pub(super) fn reconcile(&self, slot: &Arc<Slot>, filter: &TopicFilter) {
        let subscription = SubscriptionFilter { share: None, filter: filter.clone() };
        let mut wanted = slot.lock().wanted(&subscription);
        loop {
            self.set(slot, filter, wanted);
            let again = slot.lock().wanted(&subscription);
            if again == wanted {
                return;
            }
            wanted = again;
        }
    }

    /// The same for a Shared Subscription: makes the slot a member of its group, or no longer one.
    /// What groups owed that lost their last member.
    pub(super) fn reconcile_shared(
        &self,
        slot: &Arc<Slot>,
        filter: &SubscriptionFilter,
        strategy: Strategy,
    ) -> Vec<Estate> {
        let mut estates = Vec::new();
        let mut wanted = slot.lock().wanted(filter);
        loop {
            let membership = self.set_member(slot, filter, wanted, strategy, &mut estates);
            match slot.lock().join(slot, filter, wanted, membership) {
                Joined::Agreed => return estates,
                Joined::Changed(again) => wanted = again,
            }
        }
    }

    pub(super) fn has_sys(&self) -> bool {
        self.sys.load(Ordering::Relaxed) > 0
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let groups = self.groups.lock();
        let trees = self.trees.read();
        trees.clients.subscriptions() + trees.groups.subscriptions() == 0
            && groups.by_filter.is_empty()
    }

    fn set(&self, slot: &Arc<Slot>, filter: &TopicFilter, wanted: Option<Entry>) {
        let key = SlotKey(Arc::clone(slot));
        let mut trees = Vital(self.trees.write());
        let before = trees.clients.subscriptions();
        match wanted {
            Some(entry) => drop(trees.clients.insert(filter, key, entry)),
            None => drop(trees.clients.remove(filter, &key)),
        }
        let after = trees.clients.subscriptions();
        self.metrics.subscriptions.set(after as u64);
        self.changed(filter, before, after);
    }

    fn set_member(
        &self,
        slot: &Arc<Slot>,
        filter: &SubscriptionFilter,
        wanted: Option<Entry>,
        strategy: Strategy,
        estates: &mut Vec<Estate>,
    ) -> Option<Membership> {
        let mut groups = Vital(self.groups.lock());
        let known = groups.by_filter.get(filter).cloned();
        let membership = match (wanted, known) {
            (Some(entry), Some(group)) => {
                let before = group.len();
                let number = group.set_member(slot, entry);
                groups.members += group.len() - before;
                Some(Membership { group, number })
            }
            (Some(entry), None) => {
                let group = groups.begin(filter, strategy);
                // Before anybody can find it, or it could be found without a member.
                let number = group.set_member(slot, entry);
                groups.members += 1;
                let mut trees = Vital(self.trees.write());
                trees.groups.insert(&filter.filter, GroupKey(Arc::clone(&group)), ());
                self.changed(&filter.filter, 0, 1);
                Some(Membership { group, number })
            }
            (None, Some(group)) => {
                let before = group.len();
                group.remove_member(slot);
                groups.members -= before - group.len();
                if group.len() == 0 {
                    groups.by_filter.remove(filter);
                    let mut trees = Vital(self.trees.write());
                    trees.groups.remove(&filter.filter, &GroupKey(Arc::clone(&group)));
                    self.changed(&filter.filter, 1, 0);
                    drop(trees);
                    estates.push(group.end());
                }
                None
            }
            (None, None) => None,
        };
        self.metrics.shared_subscriptions.set(groups.members as u64);
        let bytes = groups.by_filter.len() * Group::accounted_bytes(strategy);
        self.metrics.group_bytes.set(bytes as u64);
        membership
    }

    /// A filter was added or removed, so that there are `after` Subscriptions instead of `before`.
    /// Called under the trees' lock, so that a match and the epoch read with it belong together.
    fn changed(&self, filter: &TopicFilter, before: usize, after: usize) {
        if filter.first_level() == SYS {
            let count = self.sys.load(Ordering::Relaxed) + after;
            self.sys.store(count.saturating_sub(before), Ordering::Relaxed);
        }
        let epoch = if filter.first_level_is_wildcard() {
            &self.wildcard_epoch
        } else {
            self.epochs.get(self.shard(filter.first_level())).unwrap_or(&self.wildcard_epoch)
        };
        epoch.fetch_add(1, Ordering::Release);
    }

    pub(super) fn group(&self, filter: &SubscriptionFilter) -> Option<Arc<Group>> {
        self.groups.lock().by_filter.get(filter).cloned()
    }

    /// Groups that begin from here on have positions beyond these, which a store gave back.
    pub(super) fn begin_groups_behind(&self, positions: impl Iterator<Item = u64>) {
        let Some(last) = positions.max() else { return };
        let mut groups = self.groups.lock();
        groups.made = groups.made.max(last / POSITIONS + 1);
    }

    pub(super) fn groups(&self) -> Vec<Arc<Group>> {
        self.groups.lock().by_filter.values().cloned().collect()
    }

    /// Calls `visit` with everybody subscribed to a matching filter, and says which state of the
    /// trees that was.
    pub(super) fn for_each_match(
        &self,
        topic: &TopicName,
        mut visit: impl FnMut(Match<'_>),
    ) -> TreeEpoch {
        let shard = self.shard(topic.first_level());
        let trees = Vital(self.trees.read());
        let epoch = self.epoch(shard);
        trees.clients.for_each_match(topic, |subscribers| {
            for (key, entry) in subscribers.iter() {
                visit(Match::Client(&key.0, entry));
            }
        });
        trees.groups.for_each_match(topic, |groups| {
            for (key, ()) in groups.iter() {
                visit(Match::Group(&key.0));
            }
        });
        epoch
    }

    /// Whether the tree still is what it was, for topics of that first level.
    pub(super) fn is_current(&self, epoch: TreeEpoch) -> bool {
        self.epoch(usize::from(epoch.shard)) == epoch
    }

    fn epoch(&self, shard: usize) -> TreeEpoch {
        let level = self.epochs.get(shard).map_or(0, |epoch| epoch.load(Ordering::Acquire));
        TreeEpoch {
            shard: u8::try_from(shard).unwrap_or_default(),
            level,
            wildcard: self.wildcard_epoch.load(Ordering::Acquire),
        }
    }

    fn shard(&self, first_level: &str) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "a hash has enough bits left")]
        let hash = self.hasher.hash_one(first_level) as usize;
        hash % SHARDS
    }
}

impl Groups {
    fn begin(&mut self, filter: &SubscriptionFilter, strategy: Strategy) -> Arc<Group> {
        let first_position = self.made.wrapping_mul(POSITIONS);
        self.made += 1;
        let group = Arc::new(Group::new(filter.clone(), strategy, first_position));
        self.by_filter.insert(filter.clone(), Arc::clone(&group));
        group
    }
}

impl SlotState {
    /// What the Session says of a filter.
    fn wanted(&self, filter: &SubscriptionFilter) -> Option<Entry> {
        let subscription = self.session.as_ref()?.subscription(filter)?;
        Some(Entry { incarnation: self.incarnation, subscription })
    }

    /// Takes its place in the group of a filter, which was made for the Session as it was `wanted`.
    ///
    /// That the Session says the same again is not enough: it may have left meanwhile and come
    /// back, by a connection that took over, and the group it was made in may be over.
    fn join(
        &mut self,
        slot: &Slot,
        filter: &SubscriptionFilter,
        wanted: Option<Entry>,
        membership: Option<Membership>,
    ) -> Joined {
        let again = self.wanted(filter);
        let stands = |place: &Membership| place.group.has_member(place.number);
        if again != wanted || !membership.as_ref().is_none_or(stands) {
            return Joined::Changed(again);
        }
        let mut memberships = std::mem::take(&mut self.memberships).into_vec();
        memberships.retain(|membership| *membership.group.id != *filter);
        if let Some(Membership { group, number }) = &membership {
            let connection = self.connection();
            if connection == Connection::Away {
                slot.standing.away();
            }
            group.set_presence(*number, self.presence(connection));
        }
        memberships.extend(membership);
        self.memberships = memberships.into_boxed_slice();
        Joined::Agreed
    }

    fn connection(&self) -> Connection {
        if self.link.is_some() { Connection::There } else { Connection::Away }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::change::{Epoch, Keeps, SessionExpiry};
    use crate::message::{Payload, Publication};
    use crate::packet::{ClientId, ForwardedProperties, Identity, QoS, SubscriptionOptions};
    use crate::session::{Effects, Limits, QueueWhenFull, Session};

    fn limits() -> Limits {
        Limits {
            inflight_max: std::num::NonZeroU16::MAX,
            receive_maximum: std::num::NonZeroU16::MAX,
            queue_bytes_max: usize::MAX,
            queue_offline_messages_max: usize::MAX,
            queue_when_full: QueueWhenFull::RefuseNewest,
            expiry_max: SessionExpiry::Never,
            expiry_v3: SessionExpiry::Never,
            keep_alive_max: u16::MAX,
            client_id_bytes_max: usize::MAX,
            topic_bytes_max: usize::MAX,
            topic_levels_max: usize::MAX,
            topic_aliases_in_max: 0,
            topic_aliases_out_max: 0,
            subscriptions_max: usize::MAX,
            packet_bytes_max: usize::MAX,
            response_information: None,
        }
    }

    fn filter() -> SubscriptionFilter {
        SubscriptionFilter::parse("$share/g/t").unwrap()
    }

    fn subscription() -> Subscription {
        Subscription { options: SubscriptionOptions::new(QoS::AtLeastOnce), id: None }
    }

    /// A slot whose Session has the Shared Subscription.
    fn slot(client_id: &str) -> Arc<Slot> {
        let client_id = ClientId::new(client_id).unwrap();
        let slot = Arc::new(Slot::new(client_id.clone()));
        let (expiry, epoch) = (SessionExpiry::Never, Epoch::default());
        let effects = &mut Effects::default();
        let (identity, store) = (Identity::Anonymous, Keeps::Nothing);
        let mut session = Session::new(client_id, identity, expiry, store, epoch, effects);
        session.subscribe(&filter(), subscription(), &limits(), effects).unwrap();
        slot.lock().session = Some(session);
        slot
    }

    fn wait_in(group: &Group) {
        let topic = TopicName::parse("t").unwrap();
        let properties = ForwardedProperties::default();
        let publication = Publication {
            topic: &topic,
            payload: Payload::Borrowed(b"x"),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: properties.as_view(),
            expiry: None,
            as_it_came: None,
        };
        let message = publication.to_message(Instant::now());
        let ticket = group.ticket(&topic, None);
        group.enqueue(&message, &ticket, &limits(), &mut Estate::default(), |_| {});
    }

    // A connection was in the middle of its SUBSCRIBE when another one took over, left and joined.
    #[test]
    fn a_slot_takes_no_place_in_a_group_that_is_over() {
        let subscriptions = Subscriptions::new(Arc::new(Metrics::new(1)));
        let (slot, strategy) = (slot("member"), Strategy::LeastInflight);
        let wanted = slot.lock().wanted(&filter());
        let mut estates = Vec::new();
        let stale = subscriptions.set_member(&slot, &filter(), wanted, strategy, &mut estates);
        subscriptions.set_member(&slot, &filter(), None, strategy, &mut estates);
        subscriptions.reconcile_shared(&slot, &filter(), strategy);

        let joined = slot.lock().join(&slot, &filter(), wanted, stale);

        assert_eq!(joined, Joined::Changed(wanted));
        let group = subscriptions.group(&filter()).unwrap();
        let memberships = slot.lock().memberships.clone();
        assert!(memberships.iter().all(|membership| Arc::ptr_eq(&membership.group, &group)));
        assert_eq!(memberships.len(), 1);
    }

    // Its slot knows only afterwards: a flush in between would look again for ever, under its lock.
    #[test]
    fn nothing_waits_for_a_member_that_left_its_group() {
        let subscriptions = Subscriptions::new(Arc::new(Metrics::new(1)));
        let (stays, leaves) = (slot("stays"), slot("leaves"));
        for slot in [&stays, &leaves] {
            subscriptions.reconcile_shared(slot, &filter(), Strategy::LeastInflight);
        }
        let Membership { group, number } = leaves.lock().memberships[0].clone();
        wait_in(&group);
        assert!(group.waits_for(number));

        group.remove_member(&leaves);

        assert!(group.draw(number).is_none());
        assert!(!group.waits_for(number));
    }
}
