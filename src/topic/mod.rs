//! Topic Names and Topic Filters, and the two trees that bring them together.
//!
//! ```text
//! TopicName            what a PUBLISH names                 sport/tennis/player1
//! TopicFilter          what a Subscription takes            sport/+/player1, sport/#
//! SubscriptionFilter   what a SUBSCRIBE names               $share/{name}/{filter}, or a filter
//! SubscriptionTree     Topic Name  -> the Subscribers of every filter that matches it
//! RetainedTree         Topic Filter -> the values of every name it matches, slice by slice
//! ```
//!
//! Invariants:
//! - A value of these types is valid; nobody checks it again.
//! - Names are compared byte by byte, as they came: no case folding, no normalisation
//!   [MQTT-4.7.3-4], and U+FEFF is a character like any other [MQTT-1.5.4-3].
//! - Nothing here recurses over levels, of which a client may send 65,535. A match looks at a node
//!   of the trie at most once, and only at those whose path matches the beginning of the name.
//! - Nothing here panics. What grows with what clients send is given back when they take it back.
//! - Every map is keyed per process, since clients choose the keys.
//! - The room is pure: it never looks at a clock, a socket, a file or a lock.

mod arena;
mod filter;
mod interner;
mod name;
mod retained_tree;
mod share;
mod subscribers;
mod subscription_tree;
mod table;
mod text;
mod wildcard_trie;

#[cfg(test)]
mod properties;

pub use filter::{TopicFilter, TopicFilterError};
pub use name::{TopicName, TopicNameError};
pub use retained_tree::{Cursor, RetainedTree};
pub use share::{ShareError, ShareName, SubscriptionFilter};
pub use subscribers::{SubscriberChunk, Subscribers};
pub use subscription_tree::SubscriptionTree;
