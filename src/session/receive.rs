//! What comes in on one Network Connection, checked against what that connection was promised.
//!
//! [`Connection`] is owned by the connection's task and needs no lock: the Session State it works
//! on is another value, shared with everybody who delivers to the client.

use super::connect::{expiry_of_seconds, shorter};
use super::error::{ProtocolError, Refusal};
use super::features::Features;
use super::keep_alive::KeepAlive;
use super::limits::Limits;
use super::memory;
use super::subscribe::check_filter;
use super::topic_alias::TopicAliases;
use crate::change::SessionExpiry;
use crate::packet::{
    Delivery, Disconnect, FilterRequest, Filters, ProtocolVersion, Publish, ReasonCode,
    SubscriptionId, SubscriptionOptions, suback_length,
};
use crate::topic::{SubscriptionFilter, TopicName};

/// The first level of a topic that only the server may publish to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reserved {
    Sys,
    Share,
}

/// What only the connection needs, and what ends with it.
#[derive(Debug)]
pub struct Connection {
    pub version: ProtocolVersion,
    pub keep_alive: KeepAlive,
    features: Features,
    receive_maximum: u16,
    /// QoS 1 and 2 messages of the client that were not settled yet.
    open: u16,
    wants_reasons: bool,
    /// By its CONNECT the Session ends with the connection.
    ends_at_disconnect: bool,
    /// In bytes.
    maximum_packet_size: usize,
    topic: Option<KnownTopic>,
    pub(super) aliases: TopicAliases,
    aliases_out: u16,
}

/// What a [`Connection`] starts with.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) version: ProtocolVersion,
    pub(super) keep_alive: KeepAlive,
    pub(super) features: Features,
    pub(super) receive_maximum: u16,
    pub(super) topic_alias_maximum: u16,
    /// How many the server may set towards the client.
    pub(super) topic_aliases_out: u16,
    pub(super) wants_reasons: bool,
    pub(super) maximum_packet_size: usize,
    pub(super) expiry: SessionExpiry,
}

/// The topic of the last PUBLISH: nearly always also that of the next, which then needs no check.
#[derive(Clone, Debug)]
pub(super) struct KnownTopic {
    pub(super) name: TopicName,
    reserved: Option<Reserved>,
}

/// A PUBLISH that is in order.
#[derive(Debug)]
pub struct Inbound<'c> {
    pub topic: &'c TopicName,
    /// It is answered but not routed.
    pub refusal: Option<Refusal>,
}

/// How a client ends its connection by DISCONNECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Farewell {
    pub expiry: Option<SessionExpiry>,
    pub will: WillFate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WillFate {
    /// [MQTT-3.14.4-3]
    Discarded,
    Sent,
}

impl Connection {
    pub(super) fn new(start: Start) -> Self {
        Self {
            version: start.version,
            keep_alive: start.keep_alive,
            features: start.features,
            receive_maximum: start.receive_maximum,
            open: 0,
            wants_reasons: start.wants_reasons,
            ends_at_disconnect: start.expiry == SessionExpiry::AtDisconnect,
            maximum_packet_size: start.maximum_packet_size,
            topic: None,
            aliases: TopicAliases::new(start.topic_alias_maximum),
            aliases_out: start.topic_aliases_out,
        }
    }

    /// Topic Aliases the server may set towards the client.
    pub(super) fn aliases_out(&self) -> usize {
        usize::from(self.aliases_out)
    }

    /// The Reason String of an acknowledgement with so many Reason Codes: none if the client wants
    /// none [MQTT-3.1.2-29], or takes no packet of that size [MQTT-3.4.2-2] [MQTT-3.9.2-1]
    /// [MQTT-3.11.2-1].
    #[must_use]
    pub fn reason_string(&self, refusal: &Refusal, codes: usize) -> Option<String> {
        /// Of an acknowledgement beside its codes and its Reason String, in bytes.
        const REST: usize = 16;
        let wanted = self.version.is_v5() && self.wants_reasons;
        let text = wanted.then(|| refusal.to_string())?;
        (text.len() + codes + REST <= self.maximum_packet_size).then_some(text)
    }

    /// The largest packet the client takes, in bytes.
    #[must_use]
    pub fn maximum_packet_size(&self) -> usize {
        self.maximum_packet_size
    }

    /// The DISCONNECT that tells a 5.0 client why its connection ends; other versions have none.
    #[must_use]
    pub fn goodbye(&self, error: &ProtocolError) -> Vec<u8> {
        goodbye(self.version, self.maximum_packet_size, error)
    }

    /// Checks a PUBLISH. `remembered` finds the Topic Name of a text that somebody has already: it
    /// need not be made again.
    ///
    /// # Errors
    /// Ends the connection.
    pub fn publish(
        &mut self,
        publish: &Publish<'_>,
        limits: &Limits,
        remembered: impl FnOnce(&[u8]) -> Option<TopicName>,
    ) -> Result<Inbound<'_>, ProtocolError> {
        if !publish.properties.subscription_ids.is_empty() {
            return Err(ProtocolError::SubscriptionIdFromClient); // [MQTT-3.3.4-6]
        }
        self.features.check_publish(publish)?;
        match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { .. } | Delivery::ExactlyOnce { .. } => self.open_one()?,
        }
        let known = match publish.properties.topic_alias {
            Some(alias) if publish.topic.is_empty() => self.aliases.topic(alias)?,
            alias => {
                let known = self.known(publish.topic, limits, remembered)?;
                if let Some(alias) = alias {
                    self.aliases.set(alias, known.clone())?;
                }
                known
            }
        };
        let known = self.topic.insert(known);
        let refusal = known.reserved.map(|level| Refusal::ReservedTopic(level.as_str()));
        Ok(Inbound { topic: &known.name, refusal })
    }

    fn known(
        &mut self,
        topic: &[u8],
        limits: &Limits,
        remembered: impl FnOnce(&[u8]) -> Option<TopicName>,
    ) -> Result<KnownTopic, ProtocolError> {
        match self.topic.take() {
            Some(known) if known.name.as_str().as_bytes() == topic => Ok(known),
            _ => match remembered(topic) {
                Some(name) => KnownTopic::of(name, limits),
                None => KnownTopic::learn(topic, limits),
            },
        }
    }

    pub(super) fn topic_bytes(&self) -> usize {
        self.topic.as_ref().map_or(0, |known| memory::of_alias(&known.name))
    }

    fn open_one(&mut self) -> Result<(), ProtocolError> {
        // Clients before 5.0 were not told of a limit.
        if self.version.is_v5() && self.open >= self.receive_maximum {
            return Err(ProtocolError::ReceiveMaximum { max: self.receive_maximum }); // [MQTT-3.3.4-7]
        }
        self.open = self.open.saturating_add(1);
        Ok(())
    }

    /// A PUBACK, a PUBCOMP or a refusing PUBREC goes out: one message less is open.
    pub fn settled_one(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// Checks the Subscription Identifier of a SUBSCRIBE, if it has one.
    ///
    /// # Errors
    /// Ends the connection.
    pub fn check_subscription_id(&self, id: Option<SubscriptionId>) -> Result<(), ProtocolError> {
        self.features.check_subscription_id(id)
    }

    /// Looks for a Topic Filter of a SUBSCRIBE that ends the connection: if there is one, those
    /// before it are not to stand in a Session that goes on, either (5.0 s4.13.1).
    ///
    /// # Errors
    /// Ends the connection.
    pub fn check_filters(
        &self,
        filters: Filters<'_>,
        limits: &Limits,
    ) -> Result<(), ProtocolError> {
        // The first one is checked when it is carried out, and is nearly always the only one.
        for request in filters.take(limits.subscriptions_max).skip(1) {
            // What is refused alone is told in the SUBACK.
            let _ = self.subscribe(&request, limits)?;
        }
        Ok(())
    }

    /// Checks that the client takes a SUBACK or UNSUBACK with so many Reason Codes, of which none
    /// can be left out [MQTT-3.8.4-6] [MQTT-3.1.2-24].
    ///
    /// # Errors
    /// Ends the connection.
    pub fn check_answer(&self, codes: usize) -> Result<(), ProtocolError> {
        let (length, maximum) = (suback_length(codes), self.maximum_packet_size);
        if length > maximum {
            return Err(ProtocolError::AnswerTooLarge { length, maximum });
        }
        Ok(())
    }

    /// What a Subscription gets of the options it asked for.
    #[must_use]
    pub fn grant(&self, asked: SubscriptionOptions) -> SubscriptionOptions {
        self.features.grant(asked)
    }

    /// Whether Retained Messages are sent on this connection. Those that a Session still has to
    /// send from another listener wait until it is back there.
    #[must_use]
    pub fn replays(&self) -> bool {
        self.features.retain
    }

    /// Checks one Topic Filter of a SUBSCRIBE.
    ///
    /// # Errors
    /// The outer error ends the connection, the inner one refuses this filter alone.
    pub fn subscribe(
        &self,
        request: &FilterRequest<'_>,
        limits: &Limits,
    ) -> Result<Result<SubscriptionFilter, Refusal>, ProtocolError> {
        check_filter(request, self.version, &self.features, limits)
    }

    /// Checks a DISCONNECT.
    ///
    /// # Errors
    /// It then counts as no DISCONNECT and the Will is sent.
    pub fn disconnect(
        &self,
        disconnect: &Disconnect<'_>,
        limits: &Limits,
    ) -> Result<Farewell, ProtocolError> {
        let reason = disconnect.reason;
        if !reason.is_for_client_disconnect() {
            return Err(ProtocolError::ServersDisconnect { reason }); // [MQTT-3.14.2-1]
        }
        let expiry = match disconnect.session_expiry {
            None => None,
            Some(seconds) if seconds > 0 && self.ends_at_disconnect => {
                return Err(ProtocolError::ExpiryFromZero); // 5.0 s3.14.2.2.2
            }
            Some(seconds) => Some(shorter(expiry_of_seconds(seconds), limits.expiry_max)),
        };
        let will = if reason == ReasonCode::Success { WillFate::Discarded } else { WillFate::Sent };
        Ok(Farewell { expiry, will })
    }
}

impl KnownTopic {
    fn learn(topic: &[u8], limits: &Limits) -> Result<Self, ProtocolError> {
        let max = limits.topic_bytes_max;
        if topic.len() > max {
            return Err(ProtocolError::TopicNameTooLong { max });
        }
        Self::of(TopicName::from_utf8(topic)?, limits) // [MQTT-3.3.2-2]
    }

    fn of(name: TopicName, limits: &Limits) -> Result<Self, ProtocolError> {
        check_topic_limits(&name, limits)?;
        let reserved = reserved(&name);
        Ok(Self { name, reserved })
    }
}

/// The DISCONNECT that tells a 5.0 client why its connection ends, without words if it takes no
/// packet of that size [MQTT-3.14.2-3]; other versions have none.
#[must_use]
pub fn goodbye(version: ProtocolVersion, maximum: usize, error: &ProtocolError) -> Vec<u8> {
    let mut out = Vec::new();
    if version.is_v5() {
        let text = error.to_string();
        let mut disconnect = Disconnect::new(error.reason());
        disconnect.reason_string = Some(&text);
        if disconnect.encoded_len(version) > maximum {
            disconnect.reason_string = None;
        }
        disconnect.encode(version, &mut out);
    }
    out
}

pub(super) fn check_topic_limits(topic: &TopicName, limits: &Limits) -> Result<(), ProtocolError> {
    let max = limits.topic_bytes_max;
    if topic.as_str().len() > max {
        return Err(ProtocolError::TopicNameTooLong { max });
    }
    let max = limits.topic_levels_max;
    if topic.level_count() > max {
        return Err(ProtocolError::TopicNameTooDeep { max });
    }
    Ok(())
}

/// Which of the first levels that only the server may publish to a topic has, if any.
pub(super) fn reserved(topic: &TopicName) -> Option<Reserved> {
    // Both begin with the `$` that nearly no topic begins with.
    if !topic.is_system() {
        return None;
    }
    let first = topic.first_level();
    [Reserved::Sys, Reserved::Share].into_iter().find(|level| level.as_str() == first)
}

impl Reserved {
    fn as_str(self) -> &'static str {
        match self {
            Self::Sys => "$SYS",
            Self::Share => "$share",
        }
    }
}
