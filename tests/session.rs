//! Sessions and connections as values: what comes in, what goes out, on a clock of the tests' own.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects has to fail"
)]

/// Sessions and clients to test with.
#[path = "session/support.rs"]
mod support;

/// CONNECT to what a connection gets.
#[path = "session/accept.rs"]
mod accept;
/// How a client is told, or refused.
#[path = "session/connack.rs"]
mod connack;
/// What comes in on a connection.
#[path = "session/connection.rs"]
mod connection;
/// What a listener leaves out.
#[path = "session/features.rs"]
mod features;

/// Topics named by numbers.
#[path = "session/aliases.rs"]
mod aliases;
/// What is sent at once, what waits, and what is refused.
#[path = "session/deliver.rs"]
mod deliver;
/// Acknowledgements in both directions, and Packet Identifiers.
#[path = "session/exchange.rs"]
mod exchange;
/// Reconnecting to a Session that still owes something.
#[path = "session/resume.rs"]
mod resume;
/// What belongs to a group.
#[path = "session/shared.rs"]
mod shared;

/// A client that is away: its Will and its expiry.
#[path = "session/away.rs"]
mod away;
/// What a store is told.
#[path = "session/changes.rs"]
mod changes;
/// What all of it weighs.
#[path = "session/memory.rs"]
mod memory;
/// Retained Messages against live ones.
#[path = "session/replay.rs"]
mod replay;
/// What goes on after a restart, and what the store alone has.
#[path = "session/restore.rs"]
mod restore;
/// Subscriptions of a Session.
#[path = "session/subscriptions.rs"]
mod subscriptions;

/// Random operations beside a small model.
#[path = "session/model.rs"]
mod model;
