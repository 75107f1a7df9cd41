//! What a client did wrong, and the one map from it to the Reason Code that tells it so.

use crate::packet::{
    ConnAckCode, ConnectReturnCode, DecodeError, PacketId, ProtocolVersion, ReasonCode,
};
use crate::topic::{TopicFilterError, TopicNameError};

/// Ends the Network Connection: sent in DISCONNECT, or in CONNACK while connecting. Its text is the
/// Reason String.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProtocolError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("a second CONNECT on one connection")]
    SecondConnect,
    #[error("{0} is sent by servers only")]
    FromServerOnly(&'static str),
    #[error("the Topic Name is not valid: {0}")]
    TopicName(#[from] TopicNameError),
    #[error("the Topic Name is longer than limits.topic_bytes_max = {max} bytes")]
    TopicNameTooLong { max: usize },
    #[error("the Topic Name has more levels than limits.topic_levels_max = {max}")]
    TopicNameTooDeep { max: usize },
    #[error("Topic Alias {alias} is not within 1 and the Topic Alias Maximum {maximum}")]
    TopicAlias { alias: u16, maximum: u16 },
    #[error("Topic Alias {alias} was not given a topic on this connection")]
    UnknownTopicAlias { alias: u16 },
    #[error("a PUBLISH from a client carries a Subscription Identifier")]
    SubscriptionIdFromClient,
    #[error(
        "more than {max} QoS 1 and 2 messages are open, the Receive Maximum this server announced"
    )]
    ReceiveMaximum { max: u16 },
    #[error("{packet} for Packet Identifier {}, which is in another exchange", id.value())]
    WrongAcknowledgement { id: PacketId, packet: &'static str },
    #[error("QoS {qos} is above listener.qos_max = {max}, the Maximum QoS of this listener")]
    PublishQoS { qos: u8, max: u8 },
    #[error("RETAIN is set, but this listener has listener.retain = false")]
    PublishRetain,
    #[error("this listener has no Subscription Identifiers: listener.subscription_ids = false")]
    SubscriptionIdsOff,
    /// What a 5.0 client was told in CONNACK that it must not ask for.
    #[error("{0}, as the CONNACK said")]
    Announced(Refusal),
    #[error("No Local is set on a Shared Subscription")]
    NoLocalShared,
    #[error("DISCONNECT sets a Session Expiry Interval, but CONNECT had none")]
    ExpiryFromZero,
    #[error("DISCONNECT with {:#04x} ({reason}), which only servers send", reason.value())]
    ServersDisconnect { reason: ReasonCode },
    #[error("AUTH without an Authentication Method in CONNECT")]
    UnexpectedAuth,
    #[error("AUTH names another Authentication Method than CONNECT")]
    OtherMethod,
    #[error("AUTH with {:#04x} ({reason}) is out of turn", reason.value())]
    AuthOutOfTurn { reason: ReasonCode },
    #[error("only AUTH and DISCONNECT may come before the CONNACK")]
    BeforeConnAck,
    #[error("the Maximum Packet Size of the client is too small for the authentication")]
    AuthTooLarge,
    #[error("the authentication failed")]
    AuthenticationFailed,
    #[error("the authentication took longer than limits.connect_timeout")]
    AuthenticationTimeout,
    #[error("nothing came for one and a half times the Keep Alive")]
    KeepAlive,
    #[error("the client read nothing for outbound.stall_timeout while output was waiting")]
    Stalled,
    #[error(
        "the server held more than limits.memory_max for too long while this client was adding to it"
    )]
    MemoryFull,
    #[error(
        "the server holds more than limits.memory_max and takes no Will Message above {max} bytes"
    )]
    WillTooLarge { max: usize },
    #[error(
        "the server has no room for a further Session that outlives its connection: it holds far more than limits.memory_max, or its store has reached storage.disk_max"
    )]
    NoNewSession,
    #[error("the server's store cannot write, so that nothing more can be promised to this client")]
    StoreFailing,
    #[error("the server's store cannot write, and would have to keep what this CONNECT changes")]
    StoreUnavailable,
    #[error("the server's store was behind for longer than outbound.stall_timeout")]
    StoreBehind,
    #[error("no CONNECT came within limits.connect_timeout")]
    ConnectTimeout,
    #[error("the Client Identifier is longer than limits.client_id_bytes_max = {max} bytes")]
    ClientIdTooLong { max: usize },
    #[error("an empty Client Identifier needs Clean Session 1")]
    ClientIdEmpty,
    /// `method` is quoted as a client chose it: a new line in it begins none in a log.
    #[error("this server has no Authentication Method {method:?}")]
    AuthenticationMethod { method: String },
    #[error("the Will's Topic Name is not valid: {0}")]
    WillTopic(TopicNameError),
    #[error("the Will's Topic Name belongs to the server")]
    WillTopicReserved,
    #[error("the Will's QoS {qos} is above listener.qos_max = {max}")]
    WillQoS { qos: u8, max: u8 },
    #[error("the CONNACK takes {length} bytes, and the client's Maximum Packet Size is {maximum}")]
    ConnAckTooLarge { length: usize, maximum: usize },
    #[error("the answer takes {length} bytes, and the client's Maximum Packet Size is {maximum}")]
    AnswerTooLarge { length: usize, maximum: usize },
    #[error("Will Retain is set, but this listener has listener.retain = false")]
    WillRetain,
    #[error(
        "listener `{listener}` does not serve MQTT {version}: add it to listener.protocols to change that"
    )]
    VersionNotServed { version: ProtocolVersion, listener: String },
    #[error(
        "listener `{listener}` admits no anonymous clients: set anonymous = true in its [[listener]] table to change that"
    )]
    Anonymous { listener: String },
    #[error(
        "listener `{listener}` checks no user names and passwords in CONNECT: its clients prove a credential by the Authentication Method SCRAM-SHA-256"
    )]
    PlainPassword { listener: String },
    #[error("the server has reached limits.connections_max")]
    TooManyConnections,
    #[error("another node holds this Client Identifier and cannot be reached")]
    Unclaimed,
    #[error("the Session of this Client Identifier belongs to another user")]
    OtherIdentity,
    #[error("another connection took over this Client Identifier")]
    TakenOver,
    #[error("the server is shutting down")]
    ShuttingDown,
    #[error("an internal error of the server")]
    Bug,
}

impl ProtocolError {
    /// The Reason Code a 5.0 client is told.
    #[must_use]
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::Decode(error) => decode_reason(error),
            Self::TopicName(TopicNameError::NotUtf8) | Self::WillTopic(TopicNameError::NotUtf8) => {
                ReasonCode::MalformedPacket
            }
            // An empty Topic Name needs a Topic Alias (5.0 s3.3.2.1).
            Self::TopicName(TopicNameError::Empty)
            | Self::SecondConnect
            | Self::FromServerOnly(_)
            | Self::SubscriptionIdFromClient
            | Self::UnknownTopicAlias { .. }
            | Self::WrongAcknowledgement { .. }
            | Self::NoLocalShared
            | Self::ExpiryFromZero
            | Self::ServersDisconnect { .. }
            | Self::UnexpectedAuth
            | Self::OtherMethod
            | Self::AuthOutOfTurn { .. }
            | Self::BeforeConnAck => ReasonCode::ProtocolError,
            Self::TopicName(_)
            | Self::TopicNameTooLong { .. }
            | Self::TopicNameTooDeep { .. }
            | Self::WillTopic(_) => ReasonCode::TopicNameInvalid,
            Self::TopicAlias { .. } => ReasonCode::TopicAliasInvalid,
            Self::ReceiveMaximum { .. } => ReasonCode::ReceiveMaximumExceeded,
            Self::PublishQoS { .. } | Self::WillQoS { .. } => ReasonCode::QoSNotSupported,
            Self::PublishRetain | Self::WillRetain => ReasonCode::RetainNotSupported,
            Self::SubscriptionIdsOff => ReasonCode::SubscriptionIdentifiersNotSupported,
            Self::Announced(refusal) => refusal.reason(),
            Self::VersionNotServed { .. } => ReasonCode::UnsupportedProtocolVersion,
            Self::ConnAckTooLarge { .. } | Self::AnswerTooLarge { .. } => {
                ReasonCode::PacketTooLarge
            }
            Self::KeepAlive => ReasonCode::KeepAliveTimeout,
            Self::Stalled
            | Self::MemoryFull
            | Self::WillTooLarge { .. }
            | Self::NoNewSession
            | Self::StoreFailing
            | Self::StoreBehind => ReasonCode::QuotaExceeded,
            Self::ConnectTimeout => ReasonCode::MaximumConnectTime,
            Self::ClientIdTooLong { .. } | Self::ClientIdEmpty => {
                ReasonCode::ClientIdentifierNotValid
            }
            Self::AuthenticationMethod { .. } => ReasonCode::BadAuthenticationMethod,
            // One code for whatever is wrong with a proof: a guesser learns nothing from it.
            Self::Anonymous { .. }
            | Self::PlainPassword { .. }
            | Self::WillTopicReserved
            | Self::AuthenticationFailed
            | Self::OtherIdentity
            | Self::AuthenticationTimeout => ReasonCode::NotAuthorized,
            Self::AuthTooLarge => ReasonCode::ImplementationSpecificError,
            Self::TooManyConnections => ReasonCode::ServerBusy,
            Self::Unclaimed | Self::StoreUnavailable => ReasonCode::ServerUnavailable,
            Self::TakenOver => ReasonCode::SessionTakenOver,
            Self::ShuttingDown => ReasonCode::ServerShuttingDown,
            Self::Bug => ReasonCode::UnspecifiedError,
        }
    }

    /// What a refused CONNECT is answered with. `None`: a 3.1 or 3.1.1 client has no code for it
    /// and is only closed [MQTT3-3.2.2-6].
    #[must_use]
    pub fn connack_code(&self, version: ProtocolVersion) -> Option<ConnAckCode> {
        let reason = self.reason();
        if version.is_v5() {
            // 0x8B is for DISCONNECT alone [MQTT-3.2.2-8].
            let for_disconnect = reason == ReasonCode::ServerShuttingDown;
            let reason = if for_disconnect { ReasonCode::ServerUnavailable } else { reason };
            return Some(ConnAckCode::V5(reason));
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "3.1.1 knows five codes, 5.0 forty")]
        let code = match reason {
            ReasonCode::UnsupportedProtocolVersion => {
                ConnectReturnCode::UnacceptableProtocolVersion
            }
            ReasonCode::ClientIdentifierNotValid => ConnectReturnCode::IdentifierRejected,
            ReasonCode::ServerBusy
            | ReasonCode::ServerUnavailable
            | ReasonCode::ServerShuttingDown
            | ReasonCode::QuotaExceeded => ConnectReturnCode::ServerUnavailable,
            ReasonCode::NotAuthorized => ConnectReturnCode::NotAuthorized,
            _ => return None,
        };
        Some(ConnAckCode::V3(code))
    }
}

fn decode_reason(error: &DecodeError) -> ReasonCode {
    match error {
        DecodeError::Malformed(_) => ReasonCode::MalformedPacket,
        // The first packet has to be CONNECT [MQTT-3.1.0-1].
        DecodeError::Protocol(_) | DecodeError::NotConnect { .. } => ReasonCode::ProtocolError,
        DecodeError::TooLarge { .. } => ReasonCode::PacketTooLarge,
        DecodeError::UnsupportedProtocolVersion { .. } | DecodeError::UnsupportedProtocolName => {
            ReasonCode::UnsupportedProtocolVersion
        }
    }
}

/// Refuses one PUBLISH or one Topic Filter; the Network Connection goes on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("topics that start with `{0}` belong to the server")]
    ReservedTopic(&'static str),
    #[error(
        "every Session that takes this message is full: see session.queue_bytes_max and session.queue_offline_messages_max"
    )]
    QueuesFull,
    #[error("the retained messages have reached retained.messages_max or retained.bytes_max")]
    RetainedFull,
    #[error("the server holds more than limits.memory_max")]
    MemoryFull,
    #[error("the server's store has reached storage.disk_max")]
    StoreFull,
    #[error("the server's store cannot write")]
    StoreFailing,
    #[error("the Topic Filter is not valid: {0}")]
    TopicFilter(#[from] TopicFilterError),
    #[error("the Topic Filter is longer than limits.topic_bytes_max = {max} bytes")]
    TopicFilterTooLong { max: usize },
    #[error("the Topic Filter has more levels than limits.topic_levels_max = {max}")]
    TopicFilterTooDeep { max: usize },
    #[error("the client has limits.subscriptions_per_client_max = {max} Subscriptions")]
    TooManySubscriptions { max: usize },
    #[error("this listener has no Shared Subscriptions: listener.shared = false")]
    SharedOff,
    #[error("this listener has no Wildcard Subscriptions: listener.wildcards = false")]
    WildcardsOff,
}

impl Refusal {
    /// The Reason Code of PUBACK, PUBREC, SUBACK or UNSUBACK.
    #[must_use]
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::ReservedTopic(_) => ReasonCode::NotAuthorized,
            Self::QueuesFull
            | Self::RetainedFull
            | Self::MemoryFull
            | Self::StoreFull
            | Self::StoreFailing
            | Self::TooManySubscriptions { .. } => ReasonCode::QuotaExceeded,
            Self::TopicFilter(_)
            | Self::TopicFilterTooLong { .. }
            | Self::TopicFilterTooDeep { .. } => ReasonCode::TopicFilterInvalid,
            Self::SharedOff => ReasonCode::SharedSubscriptionsNotSupported,
            Self::WildcardsOff => ReasonCode::WildcardSubscriptionsNotSupported,
        }
    }

    /// The same in an UNSUBACK, which knows no quota [MQTT-3.11.3-2].
    #[must_use]
    pub fn unsuback_code(&self) -> ReasonCode {
        match self.reason() {
            ReasonCode::QuotaExceeded => ReasonCode::UnspecifiedError,
            reason => reason,
        }
    }

    /// The same in a SUBACK, where versions before 5.0 know one failure only [MQTT3-3.9.3-2].
    #[must_use]
    pub fn suback_code(&self, version: ProtocolVersion) -> ReasonCode {
        if version.is_v5() { self.reason() } else { ReasonCode::UnspecifiedError }
    }
}
