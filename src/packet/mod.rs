//! The MQTT packets of 3.1, 3.1.1 and 5.0, from bytes and to bytes.
//!
//! ```text
//! bytes --- frame ---> Frame --- decode ---> Packet<'_>, a view of the same bytes
//! bytes <---------------- encode ----------- Packet<'_>
//! ```
//!
//! What a `Packet` says was checked when it was decoded: strings are UTF-8 without U+0000, numbers
//! are in their range, each property is where it may be and as often, and the lists, which are read
//! from the bytes as they are asked for, can be read to their end. Two things are left to others:
//! a PUBLISH's topic is bytes, and no string is known to be a Topic Name or Topic Filter.
//!
//! Nothing here allocates while it decodes, knows who sent a packet or what came before it, or
//! chooses the Reason Code by which a packet is refused.

// The two ways, and what can be wrong on the first.
mod ack_run;
mod decoder;
mod encoder;
mod error;

// What packets are made of.
mod ids;
mod primitives;
mod reason_code;

// The properties of 5.0, and views of them.
mod forwarded;
mod properties;
mod selection;

// The packets.
mod acks;
mod auth;
mod client_id;
mod conn_ack;
mod connect;
mod disconnect;
mod identity;
mod publish;
mod publish_run;
mod subscribe;
mod unsubscribe;

#[cfg(test)]
mod tests;

pub use ack_run::AckRun;
pub use acks::{PubAck, PubComp, PubRec, PubRel};
pub use auth::Auth;
pub use client_id::ClientId;
pub use conn_ack::{ConnAck, ConnAckCode, ConnAckProperties};
pub use connect::{
    Connect, ConnectProperties, Will, WillProperties, claimed_maximum_packet_size, claimed_version,
};
pub use decoder::{Frame, Framing, PACKET_BYTES_MAX, Packet, frame};
pub use disconnect::Disconnect;
pub use encoder::suback_length;
pub use error::{DecodeError, MalformedPacket, PropertyPlace, ProtocolViolation};
pub use forwarded::{Forwarded, ForwardedParts, ForwardedProperties};
pub use identity::{Identity, UserName};
pub use ids::{
    AuthenticationData, PacketId, PacketType, PayloadFormatIndicator, ProtocolVersion,
    ProtocolVersions, QoS, ReceiveMaximum, SubscriptionId,
};
pub use properties::PropertyId;
pub use publish::{
    Delivery, Publish, PublishHead, PublishProperties, encode_publish_head, publish_first_byte,
    publish_length,
};
pub use publish_run::PublishRun;
pub use reason_code::{ConnectReturnCode, ReasonCode, ReasonCodes};
pub use selection::{SubscriptionIds, UserProperties, UserPropertyList};
pub use subscribe::{
    FilterList, FilterRequest, Filters, RetainHandling, SubAck, Subscribe, SubscriptionOptions,
};
pub use unsubscribe::{TopicFilterList, TopicFilters, UnsubAck, Unsubscribe};
