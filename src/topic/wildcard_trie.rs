//! Values by Topic Filters with wildcards, in a trie by levels.
//!
//! ```text
//! (root) --"a"--> (1) --"+"--> (2) --"b"--> (3)      a/+/b    is (3).here
//!                  |                                 a/#      is (1).below
//!                  +------------> values             #        is (root).below
//! ```
//!
//! A node holds no text and no table of children: named children are found in one table by parent
//! and level, `+` is a link of the node, and `#` is a second value beside the node's own.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use ahash::RandomState;
use smallvec::{SmallVec, smallvec};

use super::arena::{Arena, Index};
use super::filter::TopicFilter;
use super::interner::{Interner, Level};
use super::name::TopicName;

/// Values by Topic Filters with wildcards.
#[derive(Debug)]
pub(super) struct WildcardTrie<T> {
    root: Node,
    nodes: Arena<Node>,
    children: HashMap<Edge, Index, RandomState>,
    levels: Interner,
    values: Arena<T>,
}

/// A node's place; the root has none.
type NodeId = Option<Index>;

/// A node and the level that leads to one of its named children.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Edge(NodeId, Level);

impl Hash for Edge {
    /// As one number, which takes a third of the time of its parts.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let parent = self.0.map_or(0, Index::number);
        state.write_u64(u64::from(parent) << 32 | u64::from(self.1.number()));
    }
}

#[derive(Default, Debug)]
struct Node {
    /// How many named children it has: most have none, which saves the look-up.
    named: u32,
    plus: Option<Index>,
    /// The value of the filter that ends here.
    here: Option<Index>,
    /// The value of the filter that goes on with `#`.
    below: Option<Index>,
}

/// A filter as the trie sees it: the nodes to pass, and which value of the last one.
#[derive(Clone, Copy)]
struct Path<'a> {
    levels: Option<&'a str>,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    Here,
    Below,
}

/// The nodes of a path so far, the root first.
type Trail = SmallVec<[NodeId; 16]>;

impl<T> WildcardTrie<T> {
    pub(super) fn new() -> Self {
        Self {
            root: Node::default(),
            nodes: Arena::new(),
            children: HashMap::default(),
            levels: Interner::new(),
            values: Arena::new(),
        }
    }

    /// How many filters have a value.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn get(&self, filter: &TopicFilter) -> Option<&T> {
        let path = Path::of(filter);
        let (_, value) = self.find(path)?;
        self.values.get(value)
    }

    pub(super) fn get_mut(&mut self, filter: &TopicFilter) -> Option<&mut T> {
        let path = Path::of(filter);
        let (_, value) = self.find(path)?;
        self.values.get_mut(value)
    }

    /// `None` if four-byte indexes run out, long after the memory of most machines.
    pub(super) fn get_or_default(&mut self, filter: &TopicFilter) -> Option<&mut T>
    where
        T: Default,
    {
        let path = Path::of(filter);
        let trail = self.make(path)?;
        let last = trail.last().copied().flatten();
        let value = match self.node(last)?.value(path.end) {
            Some(value) => value,
            None => match self.values.insert(T::default()) {
                Some(value) => {
                    *self.node_mut(last)?.value_mut(path.end) = Some(value);
                    value
                }
                None => {
                    self.prune(path, trail);
                    return None;
                }
            },
        };
        self.values.get_mut(value)
    }

    pub(super) fn remove(&mut self, filter: &TopicFilter) -> Option<T> {
        let path = Path::of(filter);
        let (trail, value) = self.find(path)?;
        let last = trail.last().copied().flatten();
        *self.node_mut(last)?.value_mut(path.end) = None;
        self.prune(path, trail);
        self.values.remove(value)
    }

    /// Visits the value of every filter that matches.
    ///
    /// Each node whose path matches the beginning of the name is looked at once, so the work is
    /// bounded by what was subscribed, whatever the name.
    pub(super) fn for_each_match(&self, topic: &TopicName, mut visit: impl FnMut(&T)) {
        let mut names = Names::new(topic);
        let mut stack: SmallVec<[(NodeId, &Node, usize); 16]> = smallvec![(None, &self.root, 0)];
        while let Some((id, node, depth)) = stack.pop() {
            // [MQTT-4.7.2-1]
            let wildcards = depth > 0 || !topic.is_system();
            // `#` takes all that is left, and nothing left as well.
            if wildcards && let Some(value) = self.value(node.below) {
                visit(value);
            }
            let Some(name) = names.at(depth) else {
                if let Some(value) = self.value(node.here) {
                    visit(value);
                }
                continue;
            };
            if wildcards
                && let Some(plus) = node.plus
                && let Some(next) = self.nodes.get(plus)
            {
                stack.push((Some(plus), next, depth + 1));
            }
            if node.named > 0
                && let Some(level) = name.level(&self.levels)
                && let Some(&child) = self.children.get(&Edge(id, level))
                && let Some(next) = self.nodes.get(child)
            {
                stack.push((Some(child), next, depth + 1));
            }
        }
    }

    /// The nodes that lead to a filter's value, and the value's place.
    fn find(&self, path: Path<'_>) -> Option<(Trail, Index)> {
        let mut trail: Trail = smallvec![None];
        let mut id = None;
        for level in path.levels() {
            id = Some(self.child(id, level)?);
            trail.push(id);
        }
        Some((trail, self.node(id)?.value(path.end)?))
    }

    /// The nodes that lead to a filter, made where they are missing.
    fn make(&mut self, path: Path<'_>) -> Option<Trail> {
        let mut trail: Trail = smallvec![None];
        let mut id = None;
        for level in path.levels() {
            let Some(next) = self.child(id, level).or_else(|| self.add_child(id, level)) else {
                self.prune(path, trail);
                return None;
            };
            id = Some(next);
            trail.push(id);
        }
        Some(trail)
    }

    fn child(&self, id: NodeId, level: &str) -> Option<Index> {
        if level == "+" {
            return self.node(id)?.plus;
        }
        self.children.get(&Edge(id, self.levels.find(level.as_bytes())?)).copied()
    }

    fn add_child(&mut self, id: NodeId, text: &str) -> Option<Index> {
        let child = self.nodes.insert(Node::default())?;
        if text == "+" {
            self.node_mut(id)?.plus = Some(child);
            return Some(child);
        }
        let Some(level) = self.levels.acquire(text) else {
            self.nodes.remove(child);
            return None;
        };
        self.node_mut(id)?.named += 1;
        self.children.insert(Edge(id, level), child);
        Some(child)
    }

    fn remove_child(&mut self, id: NodeId, text: &str, child: Index) {
        self.nodes.remove(child);
        if let Some(level) = self.levels.find(text.as_bytes()).filter(|_| text != "+") {
            self.children.remove(&Edge(id, level));
            self.levels.release(text);
            if let Some(parent) = self.node_mut(id) {
                parent.named -= 1;
            }
        } else if let Some(parent) = self.node_mut(id) {
            parent.plus = None;
        }
    }

    /// Removes the nodes at the end of a trail that lead nowhere any more.
    fn prune(&mut self, path: Path<'_>, mut trail: Trail) {
        let levels: SmallVec<[&str; 16]> = path.levels().take(trail.len() - 1).collect();
        for text in levels.into_iter().rev() {
            let Some(Some(child)) = trail.pop() else {
                return;
            };
            if !self.nodes.get(child).is_some_and(Node::is_empty) {
                return;
            }
            self.remove_child(trail.last().copied().flatten(), text, child);
        }
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        match id {
            Some(index) => self.nodes.get(index),
            None => Some(&self.root),
        }
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        match id {
            Some(index) => self.nodes.get_mut(index),
            None => Some(&mut self.root),
        }
    }

    fn value(&self, index: Option<Index>) -> Option<&T> {
        self.values.get(index?)
    }

    /// Nodes, edges, levels and values in use.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> [usize; 4] {
        [self.nodes.len(), self.children.len(), self.levels.len(), self.values.len()]
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.named == 0 && self.plus.is_none() && self.here.is_none() && self.below.is_none()
    }

    fn value(&self, end: End) -> Option<Index> {
        match end {
            End::Here => self.here,
            End::Below => self.below,
        }
    }

    fn value_mut(&mut self, end: End) -> &mut Option<Index> {
        match end {
            End::Here => &mut self.here,
            End::Below => &mut self.below,
        }
    }
}

impl<'a> Path<'a> {
    fn of(filter: &'a TopicFilter) -> Self {
        let text = filter.as_str();
        if text == "#" {
            return Self { levels: None, end: End::Below };
        }
        match text.strip_suffix("/#") {
            Some(parent) => Self { levels: Some(parent), end: End::Below },
            None => Self { levels: Some(text), end: End::Here },
        }
    }

    fn levels(self) -> impl Iterator<Item = &'a str> {
        self.levels.into_iter().flat_map(|levels| levels.split('/'))
    }
}

/// The levels of the Topic Name that is matched, taken apart only as deep as the trie goes.
///
/// As bytes: the levels of a `str` are found with a search made for long texts.
struct Names<'a> {
    /// What was not taken apart yet, without the slash before it.
    rest: Option<&'a [u8]>,
    seen: SmallVec<[NameLevel<'a>; 16]>,
}

/// A level of a Topic Name and, once asked for, its number.
enum NameLevel<'a> {
    Text(&'a [u8]),
    Known(Option<Level>),
}

impl<'a> Names<'a> {
    fn new(topic: &'a TopicName) -> Self {
        Self { rest: Some(topic.as_str().as_bytes()), seen: SmallVec::new() }
    }

    fn at(&mut self, depth: usize) -> Option<&mut NameLevel<'a>> {
        // A node's parent was asked for before it: at most one level is missing.
        if depth == self.seen.len() {
            let level = self.next()?;
            self.seen.push(NameLevel::Text(level));
        }
        self.seen.get_mut(depth)
    }

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let (level, after) = rest.split_at_checked(end)?;
        self.rest = after.get(1..);
        Some(level)
    }
}

impl NameLevel<'_> {
    fn level(&mut self, levels: &Interner) -> Option<Level> {
        match *self {
            Self::Text(text) => {
                let level = levels.find(text);
                *self = Self::Known(level);
                level
            }
            Self::Known(level) => level,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap()
    }

    fn matches(trie: &WildcardTrie<String>, topic: &str) -> Vec<String> {
        let mut found = Vec::new();
        let topic = TopicName::parse(topic).unwrap();
        trie.for_each_match(&topic, |value| found.push(value.clone()));
        found.sort();
        found
    }

    fn trie_of(filters: &[&str]) -> WildcardTrie<String> {
        let mut trie = WildcardTrie::new();
        for text in filters {
            *trie.get_or_default(&filter(text)).unwrap() = (*text).to_owned();
        }
        trie
    }

    #[test]
    fn every_matching_filter_is_visited_once() {
        let trie = trie_of(&["#", "a/#", "a/+", "+/b", "+/+", "a/b/#", "a/+/#", "b/#", "+"]);

        assert_eq!(
            matches(&trie, "a/b"),
            ["#", "+/+", "+/b", "a/#", "a/+", "a/+/#", "a/b/#"].map(str::to_owned)
        );
        assert_eq!(matches(&trie, "a"), ["#", "+", "a/#"].map(str::to_owned));
    }

    // [MQTT-4.7.2-1]
    #[test]
    fn wildcards_at_the_root_are_passed_over_for_system_topics() {
        let trie = trie_of(&["#", "+/a", "$SYS/#", "$SYS/+"]);

        assert_eq!(matches(&trie, "$SYS/a"), ["$SYS/#", "$SYS/+"].map(str::to_owned));
    }

    #[test]
    fn a_removed_filter_leaves_nothing_behind_that_others_do_not_use() {
        let mut trie = trie_of(&["a/+/b", "a/+/b/#", "a/+"]);
        let before = trie.footprint();
        *trie.get_or_default(&filter("a/+/b/c/d/e/+")).unwrap() = String::new();

        assert!(trie.remove(&filter("a/+/b/c/d/e/+")).is_some());
        assert_eq!(trie.footprint(), before);
        for text in ["a/+/b", "a/+/b/#", "a/+"] {
            assert_eq!(trie.remove(&filter(text)), Some(text.to_owned()));
        }
        assert_eq!(trie.footprint(), [0; 4]);
        assert!(trie.root.is_empty());
    }

    #[test]
    fn asking_for_what_is_not_there_changes_nothing() {
        let mut trie = trie_of(&["a/+/b"]);

        assert_eq!(trie.remove(&filter("a/+")), None);
        assert_eq!(trie.remove(&filter("a/+/b/#")), None);
        assert_eq!(trie.get(&filter("+/+/b")), None);
        assert_eq!(trie.get(&filter("a/+/b")), Some(&"a/+/b".to_owned()));
    }

    #[test]
    fn the_deepest_filter_and_name_are_handled() {
        let deepest = filter(&format!("{}+", "+/".repeat(32_767)));
        let mut trie = WildcardTrie::new();
        *trie.get_or_default(&deepest).unwrap() = "deep".to_owned();

        assert_eq!(matches(&trie, &"/".repeat(32_767)), ["deep"].map(str::to_owned));
        assert_eq!(matches(&trie, &"/".repeat(65_535)), [""; 0].map(str::to_owned));
        trie.remove(&deepest);
        assert_eq!(trie.footprint(), [0; 4]);
    }

    #[test]
    fn a_node_has_sixteen_bytes() {
        assert_eq!(size_of::<Node>(), 16);
    }
}
