//! An Application Message on its own: what outlives the packet it came in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::packet::{Forwarded, ForwardedProperties, ProtocolVersion, QoS};
use crate::topic::TopicName;

/// What a Message costs beside its topic, payload and properties, in bytes: the struct, the two
/// counts of its `Arc` and an allocator's rounding.
const MESSAGE_OVERHEAD_BYTES: usize = 160;

/// An Application Message, owned and immutable, shared by all the Sessions that owe it.
#[derive(Debug)]
pub struct Message {
    pub topic: TopicName,
    pub payload: Bytes,
    /// The QoS it was published with; a Subscription may lower it.
    pub qos: QoS,
    /// Whether it was published as a Retained Message.
    pub retain: bool,
    /// What 5.0 passes on unaltered: User Properties and their like.
    pub properties: ForwardedProperties,
    /// The end of its Message Expiry Interval, if it has one.
    pub expires_at: Option<Instant>,
}

/// What is left of a Message Expiry Interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remaining {
    Unlimited,
    /// Whole seconds, as a PUBLISH carries them.
    Seconds(u32),
    Expired,
}

impl Message {
    /// The memory it is accounted with, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        MESSAGE_OVERHEAD_BYTES
            + self.topic.as_str().len()
            + self.payload.len()
            + self.properties.len()
    }

    /// What a receiver at `now` is told of its Message Expiry Interval [MQTT-3.3.2-6].
    #[must_use]
    pub fn remaining(&self, now: Instant) -> Remaining {
        let Some(expires_at) = self.expires_at else {
            return Remaining::Unlimited;
        };
        let left = expires_at.saturating_duration_since(now);
        if left.is_zero() {
            return Remaining::Expired;
        }
        // A started second counts as whole, so that a fresh interval is passed on as it came.
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Remaining::Seconds(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

/// An Application Message on its way through the router: borrowed from the packet it came in, and
/// made into a shared [`Message`] only if somebody has to keep it.
#[derive(Clone, Debug)]
pub struct Publication<'a> {
    pub topic: &'a TopicName,
    pub payload: Payload<'a>,
    pub qos: QoS,
    pub retain: bool,
    pub properties: Forwarded<'a>,
    /// The Message Expiry Interval, in seconds.
    pub expiry: Option<u32>,
    /// The packet it came in, if a taker of that version may get it byte for byte.
    pub as_it_came: Option<AsItCame<'a>>,
}

/// A PUBLISH of QoS 0 without RETAIN and Topic Alias: what leaves for a taker without Subscription
/// Identifier is what came in, so nothing has to be encoded.
#[derive(Clone, Copy, Debug)]
pub struct AsItCame<'a> {
    pub version: ProtocolVersion,
    pub packet: &'a [u8],
}

impl<'a> AsItCame<'a> {
    /// Another packet that is like it but for its payload.
    #[must_use]
    pub fn with(self, packet: &'a [u8]) -> Self {
        Self { packet, ..self }
    }
}

/// A payload, where it lies.
#[derive(Clone, Debug)]
pub enum Payload<'a> {
    /// In a worker's read buffer, which the next read overwrites.
    Borrowed(&'a [u8]),
    /// In memory of its own, which may be kept.
    Shared(&'a Bytes),
}

impl Payload<'_> {
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Payload::Borrowed(bytes) => bytes,
            Payload::Shared(bytes) => bytes,
        }
    }

    /// The payload in memory of its own, copied only if it was borrowed.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Payload::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Payload::Shared(bytes) => (*bytes).clone(),
        }
    }
}

impl<'a> Publication<'a> {
    /// A Will Message, whose Message Expiry Interval begins when it is published.
    #[must_use]
    pub fn of_will(message: &'a Message, expiry: Option<u32>) -> Self {
        Self {
            topic: &message.topic,
            payload: Payload::Shared(&message.payload),
            qos: message.qos,
            retain: message.retain,
            properties: message.properties.as_view(),
            expiry,
            as_it_came: None,
        }
    }

    /// The message on its own, to be kept by whoever owes it.
    #[must_use]
    pub fn to_message(&self, now: Instant) -> Arc<Message> {
        Arc::new(Message {
            topic: self.topic.clone(),
            payload: self.payload.to_bytes(),
            qos: self.qos,
            retain: self.retain,
            properties: self.properties.to_owned(),
            expires_at: self.expiry.map(|seconds| now + Duration::from_secs(seconds.into())),
        })
    }
}
