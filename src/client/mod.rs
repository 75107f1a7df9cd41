//! An MQTT client on our own codec, for the subcommands that talk to a broker.
//!
//! ```text
//! open --- CONNECT, CONNACK ---> Connection
//!            publish, subscribe, ping, disconnect   append to what is unwritten
//!            turn                                   one write, one read, each packet an Event
//! ```
//!
//! A [`Connection`] writes once for all that was appended and reads once for all that came, which is
//! what makes it light. It answers PUBLISH, PUBREC and PUBREL by itself and holds its user to the
//! server's Receive Maximum. All connections of a thread read through one [`ReadBuffer`], so an idle
//! one owns no memory.
//!
//! It never reconnects, knows no clock (time-outs and Keep Alive are its user's) and keeps nothing
//! of a Session beyond the connection: a message of QoS 2 that a server sends again is handed on
//! again, with DUP.

mod connection;
mod error;
mod input;
mod packet_ids;
mod template;

pub use connection::{Connection, Event, Options, Target, Welcome};
pub use error::ClientError;
pub use input::ReadBuffer;
pub use template::{Outgoing, Template};

// What stands in the signatures above.
pub use crate::packet::{PacketId, ProtocolVersion, Publish, QoS, ReasonCode, ReasonCodes};
