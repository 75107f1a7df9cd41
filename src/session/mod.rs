//! A Session and its Network Connection as pure values: what the standard lets a client do, decided
//! without a socket, a clock, a lock or a disk.
//!
//! - [`connect`]: CONNECT to CONNACK, and what a connection was promised ([`Terms`]).
//! - [`features`]: what a listener lets its clients use.
//! - [`receive`]: [`Connection`], what only the connection needs, checks what comes in.
//! - [`state`]: [`Session`], the standard's Session State, shared by everybody who delivers to it.
//! - [`deliver`]: what a Session owes its client: sent now, queued, or refused; [`queue`]: what waits.
//! - [`inflight`], [`received`], [`packet_ids`]: QoS 1 and 2 in both directions.
//! - [`topic_alias`], [`outbound_aliases`]: numbers that stand for topics, from and to the client.
//! - [`subscribe`], [`subscription_set`], [`replay`]: Subscriptions and the Retained Messages they
//!   ask for.
//! - [`shared`]: what belongs to a group and may have to be given back.
//! - [`restore`]: a Session that a store has kept.
//! - [`keep_alive`], [`will`]: what follows when a client falls silent.
//! - [`memory`]: what all of it weighs.
//! - [`error`]: [`ProtocolError`] and the one map from it to Reason Codes.
//!
//! What follows from a decision is in the return value; what has to be kept or counted goes into
//! [`Effects`]. Nothing here ever sends, blocks, or reads the time.

mod connect;
mod deliver;
mod effects;
mod error;
mod features;
mod inflight;
mod keep_alive;
mod limits;
mod memory;
mod outbound_aliases;
mod packet_ids;
mod queue;
mod receive;
mod received;
mod replay;
mod restore;
mod shared;
mod state;
mod subscribe;
mod subscription_set;
mod topic_alias;
mod will;

pub use connect::{
    Accepted, Proof, ServerSide, Terms, accept, accepted, maximum_packet_size, refused,
    refused_unread,
};
pub use deliver::{Next, Offer, Room, Verdict};
pub use effects::{DropReason, Effects};
pub use error::{ProtocolError, Refusal};
pub use features::Features;
pub use inflight::PubRecAnswer;
pub use keep_alive::KeepAlive;
pub use limits::{Limits, QueueWhenFull};
pub use outbound_aliases::{Naming, OutboundAliases};
pub use receive::{Connection, Farewell, Inbound, WillFate, goodbye};
pub use received::Receipt;
pub use replay::{Replay, ReplayStep};
pub use state::{Lives, Parting, Session};
pub use subscribe::Subscribed;

pub use crate::change::SubscriptionIds;
pub use will::Will;
