//! The Subscriptions of one Session, in little memory: a server may hold millions.

use std::collections::HashMap;

use crate::change::Subscription;
use crate::topic::{SubscriptionFilter, TopicFilter};

/// Subscriptions by what a SUBSCRIBE named.
///
/// Shared ones stand apart, since most Sessions have none: so a place in the table needs no room
/// for the name of a group, 17 bytes instead of 25.
#[derive(Default, Debug)]
pub(super) struct SubscriptionSet {
    own: HashMap<TopicFilter, Subscription>,
    /// None rather than empty.
    #[expect(clippy::box_collection, reason = "8 bytes of a Session that has none, and not 48")]
    shared: Option<Box<HashMap<SubscriptionFilter, Subscription>>>,
}

impl SubscriptionSet {
    pub(super) fn len(&self) -> usize {
        self.own.len() + self.shared.as_ref().map_or(0, |shared| shared.len())
    }

    pub(super) fn get(&self, filter: &SubscriptionFilter) -> Option<Subscription> {
        match filter.share {
            None => self.own.get(&filter.filter).copied(),
            Some(_) => self.shared.as_ref()?.get(filter).copied(),
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

    pub(super) fn remove(&mut self, filter: &SubscriptionFilter) -> Option<Subscription> {
        if filter.share.is_none() {
            let old = self.own.remove(&filter.filter);
            if self.own.is_empty() {
                // Gives the memory back.
                self.own = HashMap::new();
            }
            return old;
        }
        let shared = self.shared.as_mut()?;
        let old = shared.remove(filter);
        if shared.is_empty() {
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

#[cfg(test)]
mod tests {
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
        assert_eq!((set.len(), set.own.capacity(), set.shared.is_none()), (0, 0, true));
    }

    #[test]
    fn a_place_in_the_table_has_sixteen_bytes() {
        assert_eq!(size_of::<(TopicFilter, Subscription)>(), 16);
    }
}
