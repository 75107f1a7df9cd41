//! Subscriptions by Topic Filter: who takes a message published to a Topic Name.
//!
//! Nine filters of ten have no wildcard and match one name: they are keys of a table. The others
//! are in a trie by levels.

use std::hash::Hash;

use super::filter::TopicFilter;
use super::name::TopicName;
use super::subscribers::Subscribers;
use super::table::Table;
use super::wildcard_trie::WildcardTrie;

/// Subscriptions by Topic Filter. `K` is a subscriber, `V` what is kept with its Subscription.
#[derive(Debug)]
pub struct SubscriptionTree<K, V> {
    exact: Table<TopicFilter, Subscribers<K, V>>,
    wildcard: WildcardTrie<Subscribers<K, V>>,
    subscriptions: usize,
}

impl<K: Clone + Eq + Hash, V: Clone> SubscriptionTree<K, V> {
    pub fn new() -> Self {
        Self { exact: Table::new(), wildcard: WildcardTrie::new(), subscriptions: 0 }
    }

    /// The old value if the subscriber had this filter already.
    ///
    /// Filters with wildcards share some four thousand million nodes, 80 GB of memory; one that
    /// finds none left is not kept.
    pub fn insert(&mut self, filter: &TopicFilter, key: K, value: V) -> Option<V> {
        let subscribers = if filter.has_wildcard() {
            self.wildcard.get_or_default(filter)?
        } else {
            self.exact.get_or_default(filter.clone())
        };
        let old = subscribers.insert(key, value);
        self.subscriptions += usize::from(old.is_none());
        old
    }

    pub fn remove(&mut self, filter: &TopicFilter, key: &K) -> Option<V> {
        let subscribers = if filter.has_wildcard() {
            self.wildcard.get_mut(filter)?
        } else {
            self.exact.get_mut(filter)?
        };
        let old = subscribers.remove(key)?;
        self.subscriptions -= 1;
        if subscribers.is_empty() {
            if filter.has_wildcard() {
                self.wildcard.remove(filter);
            } else {
                self.exact.remove(filter);
            }
        }
        Some(old)
    }

    pub fn get(&self, filter: &TopicFilter, key: &K) -> Option<&V> {
        let subscribers = if filter.has_wildcard() {
            self.wildcard.get(filter)?
        } else {
            self.exact.get(filter)?
        };
        subscribers.get(key)
    }

    /// Visits the subscribers of every filter that matches: who has several is met several times.
    pub fn for_each_match(&self, topic: &TopicName, mut visit: impl FnMut(&Subscribers<K, V>)) {
        if self.subscriptions == 0 {
            return; // Hashing the name would cost more than all the rest.
        }
        if let Some(subscribers) = self.exact.get(topic.as_str()) {
            visit(subscribers);
        }
        self.wildcard.for_each_match(topic, visit);
    }

    /// How many different filters there are.
    pub fn filters(&self) -> usize {
        self.exact.len() + self.wildcard.len()
    }

    /// How many pairs of a filter and a subscriber there are.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// Whether no node, edge, level, list or key is in use.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.wildcard.footprint() == [0; 4] && self.exact.len() == 0 && self.subscriptions == 0
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Default for SubscriptionTree<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap()
    }

    fn subscribers(tree: &SubscriptionTree<u32, char>, topic: &str) -> Vec<(u32, char)> {
        let mut found = Vec::new();
        tree.for_each_match(&TopicName::parse(topic).unwrap(), |subscribers| {
            found.extend(subscribers.iter().map(|(&key, &value)| (key, value)));
        });
        found.sort_unstable();
        found
    }

    #[test]
    fn exact_and_wildcard_filters_are_both_matched() {
        let mut tree = SubscriptionTree::new();
        tree.insert(&filter("a/b"), 1, 'x');
        tree.insert(&filter("a/+"), 1, 'y');
        tree.insert(&filter("a/+"), 2, 'z');
        tree.insert(&filter("a/b/#"), 3, 'w');

        assert_eq!(subscribers(&tree, "a/b"), [(1, 'x'), (1, 'y'), (2, 'z'), (3, 'w')]);
        assert_eq!(subscribers(&tree, "a/c"), [(1, 'y'), (2, 'z')]);
        assert_eq!(subscribers(&tree, "a"), []);
    }

    #[test]
    fn a_subscription_made_again_replaces_the_first() {
        let mut tree = SubscriptionTree::new();
        for text in ["a", "+"] {
            assert_eq!(tree.insert(&filter(text), 1, 'x'), None);
            assert_eq!(tree.insert(&filter(text), 1, 'y'), Some('x'));
            assert_eq!(tree.get(&filter(text), &1), Some(&'y'));
        }

        assert_eq!((tree.filters(), tree.subscriptions()), (2, 2));
        assert_eq!(subscribers(&tree, "a"), [(1, 'y'), (1, 'y')]);
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let mut tree = SubscriptionTree::new();
        tree.insert(&filter("a/+"), 1, 'x');

        assert_eq!(tree.remove(&filter("a/+"), &2), None);
        assert_eq!(tree.remove(&filter("a/#"), &1), None);
        assert_eq!(tree.remove(&filter("a"), &1), None);
        assert_eq!((tree.filters(), tree.subscriptions()), (1, 1));
    }

    #[test]
    fn churn_leaves_nothing_behind() {
        let mut tree = SubscriptionTree::new();
        for round in 0..3_u32 {
            let texts = (0..500).flat_map(|n| {
                [format!("r{round}/{n}/+/x"), format!("r{round}/{n}"), format!("+/{n}/#")]
            });
            let filters: Vec<_> = texts.map(|text| filter(&text)).collect();
            for filter in &filters {
                tree.insert(filter, 1, 'x');
                tree.insert(filter, 2, 'x');
            }
            for filter in filters.iter().rev() {
                assert_eq!(tree.remove(filter, &1), Some('x'));
                assert_eq!(tree.remove(filter, &2), Some('x'));
            }
        }

        assert!(tree.is_bare());
    }
}
