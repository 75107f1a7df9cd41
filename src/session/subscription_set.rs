//! The Subscriptions of one Session, in little memory: a server may hold millions of them, and most
//! Sessions have one.

use std::collections::HashMap;
use std::hash::Hash;

use crate::change::Subscription;
use crate::topic::{SubscriptionFilter, TopicFilter};

/// As many are looked through one by one: a map of one takes four times the memory of a list of one.
const FEW: usize = 8;

/// Subscriptions by what a SUBSCRIBE named. Bounded by `subscriptions_per_client_max`.
///
/// Shared ones stand apart, since most Sessions have none: so a place among the others needs no room
/// for the name of a group, 16 bytes instead of 24.
#[derive(Default, Debug)]
pub(super) struct SubscriptionSet {
    own: Table<TopicFilter>,
    /// None rather than empty.
    shared: Option<Box<Table<SubscriptionFilter>>>,
}

/// Each filter once.
#[derive(Debug)]
enum Table<K> {
    Few(Vec<(K, Subscription)>),
    #[expect(clippy::box_collection, reason = "most Sessions have few, and those hold a list only")]
    Many(Box<HashMap<K, Subscription>>),
}

impl SubscriptionSet {
    pub(super) fn len(&self) -> usize {
        self.own.len() + self.shared.as_ref().map_or(0, |shared| shared.len())
    }

    pub(super) fn get(&self, filter: &SubscriptionFilter) -> Option<Subscription> {
        match filter.share {
            None => self.own.get(&filter.filter),
            Some(_) => self.shared.as_ref()?.get(filter),
        }
    }

    /// The old one if there was one.
    pub(super) fn insert(
        &mut self,
        filter: SubscriptionFilter,
        subscription: Subscription,
    ) -> Option<Subscription> {
        match filter.share {
            None => self.own.insert(filter.filter, subscription),
            Some(_) => self.shared.get_or_insert_default().insert(filter, subscription),
        }
    }

    /// The one there was.
    pub(super) fn remove(&mut self, filter: &SubscriptionFilter) -> Option<Subscription> {
        if filter.share.is_none() {
            return self.own.remove(&filter.filter);
        }
        let shared = self.shared.as_mut()?;
        let old = shared.remove(filter);
        if shared.len() == 0 {
            self.shared = None;
        }
        old
    }

    /// In no order.
    pub(super) fn filters(&self) -> impl Iterator<Item = SubscriptionFilter> {
        let own = self.own.keys();
        let own = own.map(|filter| SubscriptionFilter { share: None, filter: filter.clone() });
        own.chain(self.shared.iter().flat_map(|shared| shared.keys().cloned()))
    }
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<K: Eq + Hash> Table<K> {
    fn len(&self) -> usize {
        match self {
            Self::Few(list) => list.len(),
            Self::Many(map) => map.len(),
        }
    }

    fn get(&self, key: &K) -> Option<Subscription> {
        match self {
            Self::Few(list) => {
                let found = list.iter().find(|(known, _)| known == key)?;
                Some(found.1)
            }
            Self::Many(map) => map.get(key).copied(),
        }
    }

    fn insert(&mut self, key: K, subscription: Subscription) -> Option<Subscription> {
        let list = match self {
            Self::Many(map) => return map.insert(key, subscription),
            Self::Few(list) => list,
        };
        if let Some((_, known)) = list.iter_mut().find(|(known, _)| *known == key) {
            return Some(std::mem::replace(known, subscription));
        }
        if list.len() < FEW {
            if list.len() == list.capacity() {
                list.reserve_exact(list.len().max(1));
            }
            list.push((key, subscription));
        } else {
            let mut map: Box<HashMap<_, _>> = Box::new(list.drain(..).collect());
            map.insert(key, subscription);
            *self = Self::Many(map);
        }
        None
    }

    fn remove(&mut self, key: &K) -> Option<Subscription> {
        let removed = match self {
            Self::Few(list) => {
                let index = list.iter().position(|(known, _)| known == key)?;
                list.swap_remove(index).1
            }
            Self::Many(map) => map.remove(key)?,
        };
        if self.len() == 0 {
            // Gives the memory back.
            *self = Self::default();
        }
        Some(removed)
    }

    fn keys(&self) -> impl Iterator<Item = &K> {
        let (few, many) = match self {
            Self::Few(list) => (list.as_slice(), None),
            Self::Many(map) => (&[][..], Some(map)),
        };
        few.iter().map(|(key, _)| key).chain(many.into_iter().flat_map(|map| map.keys()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::packet::{QoS, SubscriptionId, SubscriptionOptions};

    fn filter(text: &str) -> SubscriptionFilter {
        SubscriptionFilter::parse(text).unwrap()
    }

    fn subscription(id: u32) -> Subscription {
        let options = SubscriptionOptions::new(QoS::AtMostOnce);
        Subscription { options, id: SubscriptionId::new(id) }
    }

    #[test]
    fn one_filter_of_ones_own_and_of_two_groups_are_three_subscriptions() {
        let texts = ["a", "$share/g/a", "$share/h/a"];
        let mut set = SubscriptionSet::default();
        for (id, text) in (1..).zip(texts) {
            assert_eq!(set.insert(filter(text), subscription(id)), None);
            assert_eq!(set.insert(filter(text), subscription(id)), Some(subscription(id)));
        }

        let mut found: Vec<_> = set.filters().map(|filter| filter.to_string()).collect();
        found.sort_unstable();
        assert_eq!(found, ["$share/g/a", "$share/h/a", "a"]);
        assert_eq!(set.len(), 3);
        for (id, text) in (1..).zip(texts) {
            assert_eq!(set.get(&filter(text)), Some(subscription(id)));
            assert_eq!(set.remove(&filter(text)), Some(subscription(id)));
            assert_eq!(set.remove(&filter(text)), None);
        }
        assert_eq!((set.len(), set.shared.is_none()), (0, true));
        assert!(matches!(&set.own, Table::Few(list) if list.capacity() == 0));
    }

    #[test]
    fn few_and_many_subscriptions_are_found_replaced_and_removed_alike() {
        let name = |number: u32| filter(&format!("a/{number}"));
        let most = u32::try_from(3 * FEW).unwrap();
        for count in 1..=most {
            let mut set = SubscriptionSet::default();
            for number in 1..=count {
                assert_eq!(set.insert(name(number), subscription(number)), None);
            }
            for number in 1..=count {
                let before = set.insert(name(number), subscription(number + 1));
                assert_eq!(before, Some(subscription(number)));
            }

            assert_eq!(set.len(), count as usize);
            assert_eq!(set.filters().collect::<HashSet<_>>(), (1..=count).map(name).collect());
            assert_eq!(set.get(&name(count + 1)), None);
            for number in 1..=count {
                assert_eq!(set.get(&name(number)), Some(subscription(number + 1)));
                assert_eq!(set.remove(&name(number)), Some(subscription(number + 1)));
                assert_eq!(set.remove(&name(number)), None);
            }
            assert_eq!((set.len(), set.filters().count()), (0, 0));
        }
    }

    // The usual client: it pays for one.
    #[test]
    fn one_subscription_takes_the_memory_of_one() {
        let mut set = SubscriptionSet::default();

        set.insert(filter("a"), subscription(1));

        assert!(matches!(&set.own, Table::Few(list) if list.capacity() == 1));
        assert_eq!(size_of::<(TopicFilter, Subscription)>(), 16);
    }
}
