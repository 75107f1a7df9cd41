//! Values by Topic Name, enumerated by Topic Filter a slice at a time.
//!
//! Values are in a table by name: nearly every update is of a name that is known. Beside it the
//! names stand in the order of a tree, which changes only when a name comes or goes:
//!
//! ```text
//! a  a/  a/b  a/b/c  a/c  a-b  b        a name, all names below it, the next name
//! ```
//!
//! A scan with `a/+/c` looks at a name, and where it does not match jumps to the next one that may.

use std::cmp::Ordering;
use std::collections::{BTreeSet, btree_set};
use std::ops::Bound;
use std::sync::Arc;

use smallvec::SmallVec;

use super::filter::TopicFilter;
use super::name::TopicName;
use super::table::Table;

/// How many names a scan passes one by one before it searches: a search costs as much as several.
const HOPS_MAX: usize = 8;

/// Values by Topic Name.
#[derive(Debug)]
pub struct RetainedTree<T> {
    values: Table<TopicName, T>,
    order: BTreeSet<Place>,
}

/// Where a scan goes on: a place between names, whichever come or go meanwhile.
#[derive(Clone, Debug)]
pub struct Cursor(Bound<Place>);

/// A place in the order of the tree, be there a name or not.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place(Arc<str>);

impl<T> RetainedTree<T> {
    pub fn new() -> Self {
        Self { values: Table::new(), order: BTreeSet::new() }
    }

    /// The old value if there was one.
    pub fn insert(&mut self, topic: TopicName, value: T) -> Option<T> {
        if let Some(old) = self.values.get_mut(&topic) {
            return Some(std::mem::replace(old, value));
        }
        self.order.insert(Place::of(&topic));
        self.values.insert(topic, value)
    }

    pub fn remove(&mut self, topic: &TopicName) -> Option<T> {
        let old = self.values.remove(topic)?;
        self.order.remove(&Place::of(topic));
        Some(old)
    }

    pub fn get(&self, topic: &TopicName) -> Option<&T> {
        self.values.get(topic)
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Looks at no more than `steps` names and visits no more than `limit` values that match, in
    /// the order of the tree, from where `cursor` stands. Returns where to go on, `None` at the
    /// end.
    ///
    /// A name that is there from the first call to the last is visited exactly once, whatever
    /// is inserted and removed between the calls.
    pub fn scan(
        &self,
        filter: &TopicFilter,
        cursor: Option<&Cursor>,
        limit: usize,
        steps: usize,
        mut visit: impl FnMut(&TopicName, &T),
    ) -> Option<Cursor> {
        let pattern = Pattern::new(filter);
        let mut cursor = cursor.cloned().unwrap_or_else(|| Cursor::from(pattern.first()));
        let mut names = self.names(&cursor);
        let mut last = None;
        let (mut visited, mut hops) = (0, None);
        for _ in 0..steps {
            if visited == limit {
                break;
            }
            let place = names.next()?;
            if let Some(count) = hops
                && cursor.is_beyond(place)
            {
                hops = Some(count + 1);
                if count == HOPS_MAX {
                    names = self.names(&cursor);
                }
                continue;
            }
            hops = None;
            match pattern.judge(&place.0) {
                Verdict::Match => {
                    if let Some((topic, value)) = self.values.get_key_value(&*place.0) {
                        visit(topic, value);
                        visited += 1;
                    }
                    if !pattern.has_wildcard {
                        return None;
                    }
                    last = Some(place);
                }
                Verdict::Jump(target) => {
                    cursor = Cursor::from(target);
                    (last, hops) = (None, Some(0));
                }
                Verdict::End => return None,
            }
        }
        Some(last.map_or(cursor, Cursor::after))
    }

    /// Looks at the next `steps` values, whatever their names; otherwise like [`Self::scan`].
    pub fn walk(
        &self,
        cursor: Option<&Cursor>,
        steps: usize,
        mut visit: impl FnMut(&TopicName, &T),
    ) -> Option<Cursor> {
        let from = cursor.map_or(Bound::Unbounded, |cursor| cursor.0.as_ref());
        let mut last = None;
        for place in self.order.range((from, Bound::Unbounded)).take(steps) {
            if let Some((topic, value)) = self.values.get_key_value(&*place.0) {
                visit(topic, value);
            }
            last = Some(place);
        }
        last.map(Cursor::after)
    }

    fn names(&self, cursor: &Cursor) -> btree_set::Range<'_, Place> {
        self.order.range((cursor.0.as_ref(), Bound::Unbounded))
    }
}

impl<T> Default for RetainedTree<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl Cursor {
    /// Where a scan goes on that got no further than this name.
    pub fn past(topic: &TopicName) -> Self {
        Self(Bound::Excluded(Place::of(topic)))
    }

    fn from(target: String) -> Self {
        Self(Bound::Included(Place(target.into())))
    }

    fn after(place: &Place) -> Self {
        Self(Bound::Excluded(place.clone()))
    }

    fn is_beyond(&self, place: &Place) -> bool {
        match &self.0 {
            Bound::Included(target) => place < target,
            Bound::Excluded(last) => place <= last,
            Bound::Unbounded => false,
        }
    }
}

impl Place {
    fn of(topic: &TopicName) -> Self {
        Self(topic.shared())
    }
}

/// Byte by byte, a slash before all else: it is followed by what is below.
impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let (ours, theirs) = (self.0.as_bytes(), other.0.as_bytes());
        let (our_eights, _) = ours.as_chunks::<8>();
        let (their_eights, _) = theirs.as_chunks::<8>();
        // Neighbours have long beginnings in common.
        let same = 8 * our_eights.iter().zip(their_eights).take_while(|(a, b)| a == b).count();
        let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        let our_rest = ours.iter().skip(same).map(rank);
        our_rest.cmp(theirs.iter().skip(same).map(rank))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A Topic Filter that is held against names in their order.
struct Pattern<'a> {
    levels: SmallVec<[&'a str; 16]>,
    has_wildcard: bool,
    first_level_is_wildcard: bool,
}

enum Verdict {
    Match,
    /// No match before this place, which is beyond the name.
    Jump(String),
    /// No match any more.
    End,
}

impl<'a> Pattern<'a> {
    fn new(filter: &'a TopicFilter) -> Self {
        Self {
            levels: filter.levels().collect(),
            has_wildcard: filter.has_wildcard(),
            first_level_is_wildcard: filter.first_level_is_wildcard(),
        }
    }

    /// No match is before this place.
    fn first(&self) -> String {
        self.with_names_from(String::new(), 0)
    }

    fn judge(&self, name: &str) -> Verdict {
        // [MQTT-4.7.2-1]: on to what follows the dollar sign.
        if self.first_level_is_wildcard && name.starts_with('$') {
            return Verdict::Jump("%".to_owned());
        }
        let mut names = name.split('/');
        let mut start = 0;
        let mut plus_end = None;
        for (depth, &level) in self.levels.iter().enumerate() {
            if level == "#" {
                return Verdict::Match;
            }
            let Some(here) = names.next() else {
                return Verdict::Jump(self.with_names_from(format!("{name}/"), depth));
            };
            let end = start + here.len();
            if level == "+" {
                plus_end = Some(end);
            } else {
                match here.cmp(level) {
                    Ordering::Equal => {}
                    Ordering::Less => {
                        let parent = beginning(name, start);
                        return Verdict::Jump(self.with_names_from(parent, depth));
                    }
                    Ordering::Greater => return beyond(name, plus_end),
                }
            }
            start = end + 1;
        }
        match names.next() {
            None => Verdict::Match,
            Some(_) => beyond(name, plus_end),
        }
    }

    /// Adds the filter's levels from `depth` up to its next wildcard.
    fn with_names_from(&self, mut place: String, depth: usize) -> String {
        let levels = self.levels.iter().skip(depth);
        for (count, level) in levels.take_while(|level| !matches!(**level, "+" | "#")).enumerate() {
            if count > 0 {
                place.push('/');
            }
            place.push_str(level);
        }
        place
    }
}

/// The next match, if any, is beyond everything below the last level that a `+` took.
fn beyond(name: &str, plus_end: Option<usize>) -> Verdict {
    let Some(end) = plus_end else {
        return Verdict::End;
    };
    // A space is the lowest character next to the slash: no name is between.
    Verdict::Jump(beginning(name, end) + " ")
}

fn beginning(name: &str, end: usize) -> String {
    name.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree_of(names: &[&str]) -> RetainedTree<usize> {
        let mut tree = RetainedTree::new();
        for (value, name) in names.iter().enumerate() {
            tree.insert(TopicName::parse(name).unwrap(), value);
        }
        tree
    }

    fn names(tree: &RetainedTree<usize>, filter: &str) -> Vec<String> {
        let mut found = Vec::new();
        let filter = TopicFilter::parse(filter).unwrap();
        let end = tree.scan(&filter, None, usize::MAX, usize::MAX, |topic, _| {
            found.push(topic.to_string());
        });
        assert!(end.is_none());
        found
    }

    #[test]
    fn a_name_is_followed_by_what_is_below_it() {
        let tree = tree_of(&["a-b", "a/c", "b", "a/b/c", "a", "a/", "a/b", "a "]);

        assert_eq!(names(&tree, "#"), ["a", "a/", "a/b", "a/b/c", "a/c", "a ", "a-b", "b"]);
    }

    #[test]
    fn a_filter_finds_what_it_matches() {
        let tree = tree_of(&["a", "a/b", "a/b/c", "a/c", "/b", "b/b", "ab", "a/b/c/d"]);

        assert_eq!(names(&tree, "a/#"), ["a", "a/b", "a/b/c", "a/b/c/d", "a/c"]);
        assert_eq!(names(&tree, "+/b"), ["/b", "a/b", "b/b"]);
        assert_eq!(names(&tree, "a/+/c"), ["a/b/c"]);
        assert_eq!(names(&tree, "a/b"), ["a/b"]);
        assert_eq!(names(&tree, "c"), [""; 0]);
    }

    // [MQTT-4.7.2-1]
    #[test]
    fn a_leading_wildcard_finds_no_system_topic() {
        let tree = tree_of(&["$SYS", "$SYS/a", "!", "a", "%"]);

        assert_eq!(names(&tree, "#"), ["!", "%", "a"]);
        assert_eq!(names(&tree, "+/#"), ["!", "%", "a"]);
        assert_eq!(names(&tree, "+/a"), [""; 0]);
        assert_eq!(names(&tree, "$SYS/#"), ["$SYS", "$SYS/a"]);
    }

    #[test]
    fn a_second_insert_replaces_the_value() {
        let mut tree = tree_of(&["a"]);
        let name = TopicName::parse("a").unwrap();

        assert_eq!(tree.insert(name.clone(), 7), Some(0));
        assert_eq!((tree.get(&name), tree.len()), (Some(&7), 1));
        assert_eq!(tree.remove(&name), Some(7));
        assert_eq!(tree.remove(&name), None);
        assert!(tree.is_empty() && tree.order.is_empty());
    }

    #[test]
    fn a_scan_that_may_do_nothing_keeps_its_place() {
        let tree = tree_of(&["a", "b"]);
        let filter = TopicFilter::parse("#").unwrap();

        for (limit, steps) in [(0, 1), (1, 0), (0, 0)] {
            let cursor = tree.scan(&filter, None, limit, steps, |_, _| panic!("visited"));
            let mut found = 0;
            assert!(tree.scan(&filter, cursor.as_ref(), 9, 9, |_, _| found += 1).is_none());
            assert_eq!(found, 2);
        }
    }

    #[test]
    fn a_scan_jumps_over_what_cannot_match() {
        let below = |n: usize| format!("dev{n:03}/other/{n}");
        let mut all: Vec<String> = (0..20_000).map(|n| below(n / 1_000) + &n.to_string()).collect();
        all.extend((0..20).map(|n| format!("dev{n:03}/state")));
        let tree = tree_of(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let mut found = 0;

        let filter = TopicFilter::parse("+/state").unwrap();
        let end = tree.scan(&filter, None, 100, 500, |_, _| found += 1);

        assert_eq!((end.is_none(), found), (true, 20));
    }

    #[test]
    fn the_deepest_name_is_handled() {
        let deepest = "/".repeat(65_535);
        let tree = tree_of(&[&deepest, "a"]);

        assert_eq!(names(&tree, &"+/".repeat(32_767)), [""; 0]);
        assert_eq!(names(&tree, "/#"), [deepest]);
    }
}
