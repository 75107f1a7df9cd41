//! The subscription tree, kept in step with what the Sessions say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use parking_lot::RwLock;

use super::slot::{Slot, SlotKey};
use super::vital::Vital;
use crate::change::Subscription;
use crate::topic::{SubscriptionFilter, SubscriptionTree, TopicFilter, TopicName};

/// Epochs by first level: a device that subscribes to its own topics empties nobody else's cache.
const SHARDS: usize = 64;

/// Who is subscribed to what.
#[derive(Debug)]
pub(super) struct Subscriptions {
    tree: RwLock<SubscriptionTree<SlotKey, Entry>>,
    /// Changed whenever a filter with this first level changes.
    epochs: [AtomicU64; SHARDS],
    /// Changed whenever a filter whose first level is a wildcard changes.
    wildcard_epoch: AtomicU64,
    hasher: RandomState,
}

/// A Subscription in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// Of the Session that made it; another one ignores it.
    pub(super) incarnation: u64,
    pub(super) subscription: Subscription,
}

/// The state of the tree for topics of one first level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TreeEpoch {
    shard: u8,
    level: u64,
    wildcard: u64,
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self {
            tree: RwLock::default(),
            epochs: std::array::from_fn(|_| AtomicU64::new(0)),
            wildcard_epoch: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }
}

impl Subscriptions {
    /// Brings the tree in step with what the slot's Session says of one filter.
    ///
    /// The Session may change again, by a connection that took over, between its lock and the
    /// tree's; so whoever changed the tree looks at the Session once more, and the last one to do
    /// so finds them equal.
    pub(super) fn reconcile(&self, slot: &Arc<Slot>, filter: &SubscriptionFilter) {
        let mut wanted = Self::wanted(slot, filter);
        loop {
            self.set(slot, &filter.filter, wanted);
            let again = Self::wanted(slot, filter);
            if again == wanted {
                return;
            }
            wanted = again;
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.tree.read().subscriptions() == 0
    }

    fn wanted(slot: &Slot, filter: &SubscriptionFilter) -> Option<Entry> {
        let state = slot.lock();
        let subscription = state.session.as_ref()?.subscription(filter)?;
        Some(Entry { incarnation: state.incarnation, subscription })
    }

    fn set(&self, slot: &Arc<Slot>, filter: &TopicFilter, wanted: Option<Entry>) {
        let key = SlotKey(Arc::clone(slot));
        let mut tree = Vital(self.tree.write());
        match wanted {
            Some(entry) => drop(tree.insert(filter, key, entry)),
            None => drop(tree.remove(filter, &key)),
        }
        let epoch = if filter.first_level_is_wildcard() {
            &self.wildcard_epoch
        } else {
            self.epochs.get(self.shard(filter.first_level())).unwrap_or(&self.wildcard_epoch)
        };
        // Under the lock, so that a match and the epoch read with it belong together.
        epoch.fetch_add(1, Ordering::Release);
    }

    /// Calls `visit` with everybody subscribed to a matching filter, and says which state of the
    /// tree that was.
    pub(super) fn for_each_match(
        &self,
        topic: &TopicName,
        mut visit: impl FnMut(&SlotKey, &Entry),
    ) -> TreeEpoch {
        let shard = self.shard(topic.first_level());
        let tree = Vital(self.tree.read());
        let epoch = self.epoch(shard);
        tree.for_each_match(topic, |subscribers| {
            for (key, entry) in subscribers.iter() {
                visit(key, entry);
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
