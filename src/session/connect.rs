//! CONNECT to CONNACK: what a client asked for, what it gets, and how it is told.
//!
//! The differences between the versions that are not encoding end here: Clean Session becomes Clean
//! Start and a Session Expiry Interval, and what 3.1.1 clients cannot be told is not changed.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::error::ProtocolError;
use super::features::Features;
use super::keep_alive::KeepAlive;
use super::limits::Limits;
use super::receive::{self, Connection};
use super::will::Will;
use crate::change::SessionExpiry;
use crate::message::Message;
use crate::packet::{
    AuthenticationData, ClientId, ConnAck, ConnAckCode, ConnAckProperties, Connect,
    ConnectReturnCode, DecodeError, ProtocolVersion, ReasonCode, ReceiveMaximum,
    Will as WillRequest, claimed_maximum_packet_size, claimed_version,
};
use crate::topic::TopicName;

/// What everybody who delivers to a client has to know of its connection.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub version: ProtocolVersion,
    /// QoS 1 and 2 messages that may be open towards the client.
    pub receive_maximum: NonZeroU16,
    /// In bytes.
    pub maximum_packet_size: usize,
    /// The largest Topic Alias the client may be sent, 0 for none [MQTT-3.1.2-26] [MQTT-3.1.2-27].
    pub topic_alias_maximum: u16,
}

/// What the server decided where the client left it the choice.
#[derive(Clone, Debug, Default)]
pub struct ServerSide {
    pub features: Features,
    pub assigned_client_id: Option<ClientId>,
    /// In seconds.
    pub keep_alive: Option<u16>,
    /// In seconds.
    pub session_expiry: Option<u32>,
    /// Begins the Topic Names that are the client's own, for the responses it waits for.
    pub response_information: Option<TopicName>,
    pub proof: Option<Proof>,
}

/// What tells a client that its authentication is over, and by what the server proved itself.
#[derive(Clone, Debug)]
pub struct Proof {
    pub method: &'static str,
    pub data: Vec<u8>,
}

/// How long after a restart of the server a client may take to come back before its Will is sent.
const PATIENCE_MIN: Duration = Duration::from_secs(60);

/// A CONNECT that is in order.
#[derive(Debug)]
pub struct Accepted {
    pub client_id: ClientId,
    pub clean_start: bool,
    pub expiry: SessionExpiry,
    pub terms: Terms,
    pub will: Option<Will>,
    pub connection: Connection,
    pub server_side: ServerSide,
}

/// Checks a CONNECT of a version that the listener serves, and settles what it leaves open.
/// `assign` makes a Client Identifier for a
/// client that brings none.
///
/// # Errors
/// Refuses the connection; [`refused`] tells the client why.
pub fn accept(
    connect: &Connect<'_>,
    limits: &Limits,
    features: &Features,
    assign: impl FnOnce() -> ClientId,
    now: Instant,
) -> Result<Accepted, ProtocolError> {
    let max = limits.client_id_bytes_max;
    if connect.client_id.len() > max {
        return Err(ProtocolError::ClientIdTooLong { max });
    }
    let mut server_side = ServerSide { features: *features, ..ServerSide::default() };
    let client_id = match ClientId::new(connect.client_id) {
        Some(client_id) => client_id,
        None => {
            may_be_assigned(connect)?;
            let assigned = assign();
            server_side.assigned_client_id = Some(assigned.clone());
            assigned
        }
    };
    let expiry = session_expiry(connect, limits, &mut server_side);
    let keep_alive = keep_alive(connect, limits, &mut server_side);
    let will = connect.will.as_ref();
    let will = will.map(|will| will_message(will, keep_alive, limits, features)).transpose()?;
    let client_receive_maximum =
        connect.properties.receive_maximum.unwrap_or(ReceiveMaximum::DEFAULT).value();
    let terms = Terms {
        version: connect.version,
        receive_maximum: NonZeroU16::new(client_receive_maximum)
            .map_or(limits.inflight_max, |maximum| maximum.min(limits.inflight_max)),
        maximum_packet_size: maximum_packet_size(connect),
        topic_alias_maximum: connect
            .properties
            .topic_alias_maximum
            .min(limits.topic_aliases_out_max),
    };
    server_side.response_information = response_information(connect, &client_id, limits);
    make_room(connect.version, &mut server_side, limits, terms.maximum_packet_size)?;
    let connection = Connection::new(receive::Start {
        version: connect.version,
        keep_alive: KeepAlive::new(keep_alive, now),
        features: *features,
        receive_maximum: limits.receive_maximum.get(),
        topic_alias_maximum: limits.topic_aliases_in_max,
        topic_aliases_out: terms.topic_alias_maximum,
        wants_reasons: connect.properties.request_problem_information,
        maximum_packet_size: terms.maximum_packet_size,
        expiry,
    });
    Ok(Accepted {
        client_id,
        clean_start: connect.clean_start,
        expiry,
        terms,
        will,
        connection,
        server_side,
    })
}

impl Accepted {
    /// Adds what tells the client that its authentication is over.
    ///
    /// # Errors
    /// If its CONNACK is then larger than the client takes.
    pub fn prove(&mut self, proof: Option<Proof>, limits: &Limits) -> Result<(), ProtocolError> {
        self.server_side.proof = proof;
        make_room(self.terms.version, &mut self.server_side, limits, self.terms.maximum_packet_size)
    }
}

/// [MQTT3-3.1.3-7] [MQTT3-3.1.3-8] [MQTT-3.1.3-6]
fn may_be_assigned(connect: &Connect<'_>) -> Result<(), ProtocolError> {
    match connect.version {
        ProtocolVersion::V5 => Ok(()),
        ProtocolVersion::V311 if connect.clean_start => Ok(()),
        ProtocolVersion::V311 | ProtocolVersion::V31 => Err(ProtocolError::ClientIdEmpty),
    }
}

fn session_expiry(
    connect: &Connect<'_>,
    limits: &Limits,
    server_side: &mut ServerSide,
) -> SessionExpiry {
    if !connect.version.is_v5() {
        return if connect.clean_start { SessionExpiry::AtDisconnect } else { limits.expiry_v3 };
    }
    let asked = expiry_of_seconds(connect.properties.session_expiry);
    let granted = shorter(asked, limits.expiry_max);
    if granted != asked {
        server_side.session_expiry = Some(seconds_of_expiry(granted));
    }
    granted
}

/// A Session Expiry Interval as 5.0 writes it.
pub(super) fn expiry_of_seconds(seconds: u32) -> SessionExpiry {
    match seconds {
        0 => SessionExpiry::AtDisconnect,
        u32::MAX => SessionExpiry::Never,
        seconds => SessionExpiry::After(Duration::from_secs(seconds.into())),
    }
}

fn seconds_of_expiry(expiry: SessionExpiry) -> u32 {
    match expiry {
        SessionExpiry::AtDisconnect => 0,
        SessionExpiry::After(expiry) => u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX),
        SessionExpiry::Never => u32::MAX,
    }
}

pub(super) fn shorter(one: SessionExpiry, other: SessionExpiry) -> SessionExpiry {
    match (one, other) {
        (SessionExpiry::AtDisconnect, _) | (_, SessionExpiry::AtDisconnect) => {
            SessionExpiry::AtDisconnect
        }
        (SessionExpiry::Never, expiry) | (expiry, SessionExpiry::Never) => expiry,
        (SessionExpiry::After(one), SessionExpiry::After(other)) => {
            SessionExpiry::After(one.min(other))
        }
    }
}

fn keep_alive(connect: &Connect<'_>, limits: &Limits, server_side: &mut ServerSide) -> u16 {
    // A client before 5.0 cannot be told, and would be closed without knowing why.
    if connect.version.is_v5() && connect.keep_alive > limits.keep_alive_max {
        server_side.keep_alive = Some(limits.keep_alive_max); // [MQTT-3.1.2-21]
        return limits.keep_alive_max;
    }
    connect.keep_alive
}

fn will_message(
    will: &WillRequest<'_>,
    keep_alive: u16,
    limits: &Limits,
    features: &Features,
) -> Result<Will, ProtocolError> {
    features.check_will(will)?;
    let topic = TopicName::parse(will.topic).map_err(ProtocolError::WillTopic)?;
    receive::check_topic_limits(&topic, limits)?;
    if receive::reserved(&topic).is_some() {
        return Err(ProtocolError::WillTopicReserved);
    }
    let message = Message {
        topic,
        payload: Bytes::copy_from_slice(will.payload),
        qos: will.qos,
        retain: will.retain,
        properties: will.properties.forwarded.to_owned(),
        expires_at: None,
    };
    Ok(Will {
        message: Arc::new(message),
        expiry: will.properties.message_expiry,
        delay: Duration::from_secs(will.properties.delay.into()),
        patience: KeepAlive::allowed(keep_alive).unwrap_or_default().max(PATIENCE_MIN),
    })
}

/// Only for who asks [MQTT-3.1.2-28], and whose Client Identifier can be part of a Topic Name.
fn response_information(
    connect: &Connect<'_>,
    client_id: &ClientId,
    limits: &Limits,
) -> Option<TopicName> {
    if !connect.properties.request_response_information {
        return None;
    }
    let prefix = limits.response_information.as_ref()?;
    let topic = TopicName::parse(&format!("{}{client_id}", prefix.as_str())).ok()?;
    receive::check_topic_limits(&topic, limits).ok()?;
    Some(topic)
}

/// Leaves out what the client has no room for. Without the rest it would go past limits it does not
/// know, so that without room for that it cannot be served.
fn make_room(
    version: ProtocolVersion,
    server_side: &mut ServerSide,
    limits: &Limits,
    maximum: usize,
) -> Result<(), ProtocolError> {
    if connack(version, server_side, limits).encoded_len(version) > maximum {
        server_side.response_information = None;
    }
    let length = connack(version, server_side, limits).encoded_len(version);
    if length > maximum {
        return Err(ProtocolError::ConnAckTooLarge { length, maximum }); // [MQTT-3.1.2-24]
    }
    Ok(())
}

/// Appends the CONNACK of an accepted connection to `out`.
pub fn accepted(
    version: ProtocolVersion,
    session_present: bool,
    server_side: &ServerSide,
    limits: &Limits,
    out: &mut Vec<u8>,
) {
    // 3.1 reserves the byte that says it.
    let session_present = session_present && version != ProtocolVersion::V31;
    ConnAck { session_present, ..connack(version, server_side, limits) }.encode(version, out);
}

/// The CONNACK of an accepted connection whose Session is new.
fn connack<'a>(
    version: ProtocolVersion,
    server_side: &'a ServerSide,
    limits: &Limits,
) -> ConnAck<'a> {
    let code = if version.is_v5() {
        ConnAckCode::V5(ReasonCode::Success)
    } else {
        ConnAckCode::V3(ConnectReturnCode::Accepted)
    };
    let features = &server_side.features;
    let properties = ConnAckProperties {
        session_expiry: server_side.session_expiry,
        receive_maximum: ReceiveMaximum::new(limits.receive_maximum.get()),
        maximum_packet_size: u32::try_from(limits.packet_bytes_max).ok().and_then(NonZeroU32::new),
        assigned_client_id: server_side.assigned_client_id.as_ref().map(ClientId::as_str),
        topic_alias_maximum: limits.topic_aliases_in_max,
        maximum_qos: features.qos_max, // [MQTT-3.2.2-9]
        retain_available: features.retain,
        wildcard_subscription_available: features.wildcards,
        subscription_ids_available: features.subscription_ids,
        shared_subscription_available: features.shared,
        server_keep_alive: server_side.keep_alive,
        response_information: server_side.response_information.as_ref().map(TopicName::as_str),
        // [MQTT-4.12.0-5] [MQTT-4.12.0-6]
        authentication_method: server_side.proof.as_ref().map(|proof| proof.method),
        authentication_data: server_side
            .proof
            .as_ref()
            .map(|proof| AuthenticationData(&proof.data)),
        ..ConnAckProperties::default()
    };
    ConnAck { session_present: false, code, properties }
}

/// The largest packet a client takes, in bytes.
#[must_use]
pub fn maximum_packet_size(connect: &Connect<'_>) -> usize {
    bytes_of(connect.properties.maximum_packet_size)
}

fn bytes_of(size: Option<NonZeroU32>) -> usize {
    size.map_or(usize::MAX, |size| usize::try_from(size.get()).unwrap_or(usize::MAX))
}

/// Appends the CONNACK that refuses a CONNECT which cannot be decoded, to a client that is known as
/// far as its first bytes are in order. What is no CONNECT at all is only closed.
pub fn refused_unread(bytes: &[u8], error: DecodeError, out: &mut Vec<u8>) {
    if let Some(version) = version_to_refuse(bytes, &error) {
        let maximum = bytes_of(claimed_maximum_packet_size(bytes)); // [MQTT-3.2.2-19]
        refused(version, maximum, &error.into(), out);
    }
}

/// The version to refuse a CONNECT in that cannot be decoded: the one it names.
fn version_to_refuse(bytes: &[u8], error: &DecodeError) -> Option<ProtocolVersion> {
    match error {
        // Level 6 and above will know what 5.0 knows; lower ones than 3 know what 3.1.1 knows
        // [MQTT-3.1.2-2].
        DecodeError::UnsupportedProtocolVersion { level } if *level > 5 => {
            Some(ProtocolVersion::V5)
        }
        DecodeError::UnsupportedProtocolVersion { .. } => Some(ProtocolVersion::V311),
        DecodeError::Malformed(_) | DecodeError::Protocol(_) | DecodeError::TooLarge { .. } => {
            claimed_version(bytes)
        }
        DecodeError::UnsupportedProtocolName | DecodeError::NotConnect { .. } => None,
    }
}

/// Appends the CONNACK that refuses a connection to `out`, if this version has one for it: without
/// words if the client takes no packet of that size [MQTT-3.2.2-19], and nothing at all if it takes
/// none without them either [MQTT-3.1.2-24].
pub fn refused(version: ProtocolVersion, maximum: usize, error: &ProtocolError, out: &mut Vec<u8>) {
    let Some(code) = error.connack_code(version) else { return };
    let text = error.to_string();
    let properties =
        ConnAckProperties { reason_string: Some(&text), ..ConnAckProperties::default() };
    let mut connack = ConnAck { session_present: false, code, properties }; // [MQTT-3.2.2-6]
    if connack.encoded_len(version) > maximum {
        connack.properties.reason_string = None;
    }
    if connack.encoded_len(version) <= maximum {
        connack.encode(version, out);
    }
}
