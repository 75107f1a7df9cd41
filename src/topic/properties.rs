//! Both trees compared with the naive matcher, over few levels, so that much collides.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{RetainedTree, SubscriptionTree, TopicFilter, TopicName};

const LEVELS: [&str; 7] = ["", "a", "b", "a-", "é", "$s", "a b"];

fn topic() -> impl Strategy<Value = TopicName> {
    vec(select(LEVELS.as_slice()), 1..5)
        .prop_filter_map("empty", |levels| TopicName::parse(&levels.join("/")).ok())
}

fn filter() -> impl Strategy<Value = TopicFilter> {
    let level = prop_oneof![2 => select(LEVELS.as_slice()), 1 => Just("+")];
    (vec(level, 0..5), any::<bool>()).prop_filter_map("empty", |(mut levels, hash)| {
        if hash {
            levels.push("#");
        }
        TopicFilter::parse(&levels.join("/")).ok()
    })
}

#[derive(Clone, Debug)]
enum Step<N> {
    Insert(N, u8, u16),
    Remove(N, u8),
}

/// Few names, used again and again.
fn steps<N: Clone + std::fmt::Debug + 'static>(
    names: impl Strategy<Value = N>,
    keys: u8,
) -> impl Strategy<Value = Vec<Step<N>>> {
    vec(names, 1..12).prop_flat_map(move |names| {
        let insert = (select(names.clone()), 0..keys, any::<u16>());
        let remove = (select(names), 0..keys);
        let step = prop_oneof![
            2 => insert.prop_map(|(name, key, value)| Step::Insert(name, key, value)),
            1 => remove.prop_map(|(name, key)| Step::Remove(name, key)),
        ];
        vec(step, 0..300)
    })
}

fn matches(tree: &SubscriptionTree<u8, u16>, topic: &TopicName) -> Vec<(u8, u16)> {
    let mut found = Vec::new();
    tree.for_each_match(topic, |subscribers| {
        assert_eq!(subscribers.len(), subscribers.iter().count());
        found.extend(subscribers.iter().map(|(&key, &value)| (key, value)));
    });
    found.sort_unstable();
    found
}

proptest! {
    #[test]
    fn the_subscription_tree_finds_what_the_naive_matcher_finds(
        steps in steps(filter(), 100),
        topics in vec(topic(), 1..20),
    ) {
        let mut tree = SubscriptionTree::new();
        let mut model = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert(filter, key, value) => {
                    let old = tree.insert(&filter, key, value);
                    prop_assert_eq!(old, model.insert((filter, key), value));
                }
                Step::Remove(filter, key) => {
                    let old = tree.remove(&filter, &key);
                    prop_assert_eq!(old, model.remove(&(filter, key)));
                }
            }
        }

        prop_assert_eq!(tree.subscriptions(), model.len());
        let filters: BTreeSet<_> = model.keys().map(|(filter, _)| filter).collect();
        prop_assert_eq!(tree.filters(), filters.len());
        for topic in &topics {
            let taken = model.iter().filter(|((filter, _), _)| filter.matches(topic));
            let mut expected: Vec<_> = taken.map(|((_, key), &value)| (*key, value)).collect();
            expected.sort_unstable();
            prop_assert_eq!(matches(&tree, topic), expected);
        }
        for ((filter, key), value) in &model {
            prop_assert_eq!(tree.get(filter, key), Some(value));
            prop_assert_eq!(tree.remove(filter, key), Some(*value));
        }
        prop_assert!(tree.is_bare());
    }

    #[test]
    fn the_retained_tree_finds_what_the_naive_matcher_finds(
        steps in steps(topic(), 1),
        filters in vec(filter(), 1..20),
        limit in 1..4_usize,
        looks in 1..6_usize,
    ) {
        let mut tree = RetainedTree::new();
        let mut model = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert(topic, _, value) => {
                    prop_assert_eq!(tree.insert(topic.clone(), value), model.insert(topic, value));
                }
                Step::Remove(topic, _) => {
                    prop_assert_eq!(tree.remove(&topic), model.remove(&topic));
                }
            }
        }

        prop_assert_eq!(tree.len(), model.len());
        for filter in &filters {
            let mut found = Vec::new();
            let mut cursor = None;
            loop {
                let before = found.len();
                cursor = tree.scan(filter, cursor.as_ref(), limit, looks, |topic, &value| {
                    found.push((topic.clone(), value));
                });
                prop_assert!(found.len() - before <= limit);
                if cursor.is_none() {
                    break;
                }
            }
            // The naive order of a tree: level by level.
            let mut expected: Vec<_> = model.clone().into_iter().collect();
            expected.retain(|(topic, _)| filter.matches(topic));
            expected.sort_by(|(a, _), (b, _)| a.levels().cmp(b.levels()));
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_scan_meets_every_lasting_topic_once_while_others_come_and_go(
        lasting in vec(topic(), 0..12),
        steps in steps(topic(), 1),
        filter in filter(),
        limit in 1..3_usize,
        looks in 1..4_usize,
    ) {
        let lasting: BTreeSet<_> = lasting.into_iter().collect();
        let mut tree = RetainedTree::new();
        for topic in &lasting {
            tree.insert(topic.clone(), 0);
        }
        let mut steps = steps.into_iter();
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            for step in steps.by_ref().take(3) {
                match step {
                    Step::Insert(topic, _, value) => {
                        tree.insert(topic, value);
                    }
                    Step::Remove(topic, _) if !lasting.contains(&topic) => {
                        tree.remove(&topic);
                    }
                    Step::Remove(..) => {}
                }
            }
            cursor = tree.scan(&filter, cursor.as_ref(), limit, looks, |topic, _| {
                found.push(topic.clone());
            });
            if cursor.is_none() {
                break;
            }
        }

        let once: BTreeSet<_> = found.iter().cloned().collect();
        prop_assert_eq!(once.len(), found.len());
        prop_assert!(found.iter().all(|topic| filter.matches(topic)));
        let expected: Vec<_> = lasting.iter().filter(|topic| filter.matches(topic)).collect();
        prop_assert!(expected.into_iter().all(|topic| once.contains(topic)));
    }

    #[test]
    fn a_text_that_parses_prints_as_it_was(text in "[a-c+#/$ é]{0,6}") {
        if let Ok(topic) = TopicName::parse(&text) {
            prop_assert_eq!(topic.to_string(), text.as_str());
            // A name is a filter that takes itself.
            prop_assert!(TopicFilter::parse(&text).unwrap().matches(&topic));
        }
        if let Ok(filter) = super::SubscriptionFilter::parse(&text) {
            prop_assert_eq!(filter.to_string(), text);
        }
    }
}
