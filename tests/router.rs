//! The router with wires and a store that a test controls: one thread, and a clock of its own.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects has to fail"
)]

/// A store that gives back what it has kept.
#[path = "support/store.rs"]
mod store;
/// A router, its clients, their wires and its store.
#[path = "router/support.rs"]
mod support;

/// Acknowledgements that come in a row.
#[path = "router/acknowledged.rs"]
mod acknowledged;
/// Who gets a message, and how.
#[path = "router/matching.rs"]
mod matching;
/// Messages that come in a row and differ in their payloads alone.
#[path = "router/runs.rs"]
mod runs;
/// Bytes on their way to a client that reads slowly, or not at all.
#[path = "router/writing.rs"]
mod writing;

/// What clients make the process hold, and the budget for it.
#[path = "router/memory.rs"]
mod memory;

/// What others do while somebody writes.
#[path = "router/meanwhile.rs"]
mod meanwhile;

/// Topics named by numbers.
#[path = "router/aliases.rs"]
mod aliases;

/// What is counted, and what is counted as what.
#[path = "router/counted.rs"]
mod counted;
/// Nothing is promised before it is kept.
#[path = "router/held.rs"]
mod held;
/// Clients that send packets.
#[path = "router/talk.rs"]
mod talk;

/// A process that is killed again and again.
#[path = "router/crash.rs"]
mod crash;
/// A store that cannot write.
#[path = "router/failing.rs"]
mod failing;
/// What the store alone has, on its way back.
#[path = "router/fetched.rs"]
mod fetched;
/// A store that takes all the disk it may.
#[path = "router/full_store.rs"]
mod full_store;
/// What the next process finds.
#[path = "router/restart.rs"]
mod restart;
/// Retained Messages, and their replay in slices.
#[path = "router/retained.rs"]
mod retained;
/// Groups that share a Subscription.
#[path = "router/shared.rs"]
mod shared;
/// What the server says of itself.
#[path = "router/sys.rs"]
mod sys;
/// One Client Identifier, several connections.
#[path = "router/takeover.rs"]
mod takeover;
/// Wills, and Sessions that end while nobody looks.
#[path = "router/wills.rs"]
mod wills;

/// Two workers at once.
#[path = "router/threads.rs"]
mod threads;
