//! CONNACK: the server's answer to CONNECT.

use std::num::NonZeroU32;

use super::encoder::Body;
use super::error::{DecodeError, MalformedPacket, PropertyPlace};
use super::primitives::{Reader, Sink};
use super::properties::{Property, PropertyReader, Section, put_property};
use super::selection::{Selecting, UserProperties};
use super::{
    AuthenticationData, ConnectReturnCode, PacketType, ProtocolVersion, QoS, ReasonCode,
    ReceiveMaximum,
};

#[derive(Clone, Debug, PartialEq)]
pub struct ConnAck<'a> {
    pub session_present: bool,
    pub code: ConnAckCode,
    pub properties: ConnAckProperties<'a>,
}

/// The codes differ between the versions in number and meaning. The one of the version that the
/// packet is encoded for has to be chosen: its value is written as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnAckCode {
    V5(ReasonCode),
    /// 3.1.1 and 3.1.
    V3(ConnectReturnCode),
}

impl ConnAckCode {
    pub fn value(self) -> u8 {
        match self {
            Self::V5(code) => code.value(),
            Self::V3(code) => code.value(),
        }
    }
}

/// The properties of CONNACK; the default is what holds where they are absent.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnAckProperties<'a> {
    /// Session Expiry Interval in seconds, where it is not the one the client asked for.
    pub session_expiry: Option<u32>,
    pub receive_maximum: Option<ReceiveMaximum>,
    /// Written only below QoS 2 [MQTT-3.2.2-9].
    pub maximum_qos: QoS,
    pub retain_available: bool,
    pub maximum_packet_size: Option<NonZeroU32>,
    pub assigned_client_id: Option<&'a str>,
    pub topic_alias_maximum: u16,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    pub wildcard_subscription_available: bool,
    pub subscription_ids_available: bool,
    pub shared_subscription_available: bool,
    /// Server Keep Alive in seconds.
    pub server_keep_alive: Option<u16>,
    pub response_information: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<AuthenticationData<'a>>,
}

impl Default for ConnAckProperties<'_> {
    fn default() -> Self {
        Self {
            session_expiry: None,
            receive_maximum: None,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            maximum_packet_size: None,
            assigned_client_id: None,
            topic_alias_maximum: 0,
            reason_string: None,
            user_properties: UserProperties::default(),
            wildcard_subscription_available: true,
            subscription_ids_available: true,
            shared_subscription_available: true,
            server_keep_alive: None,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
        }
    }
}

impl<'a> ConnAck<'a> {
    pub(super) fn decode(
        mut reader: Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let session_present = match reader.byte()? {
            0 => false,
            1 => true,
            // [MQTT-3.2.2-1]
            _ => return Err(MalformedPacket::ReservedConnectAcknowledgeFlags.into()),
        };
        let mut properties = ConnAckProperties::default();
        let code = if version.is_v5() {
            let code = ReasonCode::read(&mut reader, PacketType::ConnAck)?;
            properties.read(PropertyReader::new(&mut reader)?)?;
            ConnAckCode::V5(code)
        } else {
            let value = reader.byte()?;
            let packet = PacketType::ConnAck;
            let unknown = MalformedPacket::UnknownReturnCode { packet, value };
            ConnAckCode::V3(ConnectReturnCode::from_u8(value).ok_or(unknown)?)
        };
        reader.finish()?;
        Ok(Self { session_present, code, properties })
    }
}

impl Body for ConnAck<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::ConnAck.first_byte()
    }

    fn write_body(&self, version: ProtocolVersion, out: &mut impl Sink) {
        out.put_u8(u8::from(self.session_present));
        out.put_u8(self.code.value());
        if version.is_v5() {
            self.properties.write_section(out);
        }
    }
}

impl<'a> ConnAckProperties<'a> {
    fn read(&mut self, mut reader: PropertyReader<'a>) -> Result<(), DecodeError> {
        let mut user_properties = Selecting::default();
        while let Some(property) = reader.next()? {
            match property {
                Property::SessionExpiryInterval(seconds) => self.session_expiry = Some(seconds),
                Property::ReceiveMaximum(maximum) => self.receive_maximum = Some(maximum),
                Property::MaximumQoS(qos) => self.maximum_qos = qos,
                Property::RetainAvailable(available) => self.retain_available = available,
                Property::MaximumPacketSize(size) => self.maximum_packet_size = Some(size),
                Property::AssignedClientIdentifier(id) => self.assigned_client_id = Some(id),
                Property::TopicAliasMaximum(maximum) => self.topic_alias_maximum = maximum,
                Property::ReasonString(text) => self.reason_string = Some(text),
                Property::UserProperty(_) => user_properties.add(&reader),
                Property::WildcardSubscriptionAvailable(available) => {
                    self.wildcard_subscription_available = available;
                }
                Property::SubscriptionIdentifierAvailable(available) => {
                    self.subscription_ids_available = available;
                }
                Property::SharedSubscriptionAvailable(available) => {
                    self.shared_subscription_available = available;
                }
                Property::ServerKeepAlive(seconds) => self.server_keep_alive = Some(seconds),
                Property::ResponseInformation(text) => self.response_information = Some(text),
                Property::ServerReference(server) => self.server_reference = Some(server),
                Property::AuthenticationMethod(method) => self.authentication_method = Some(method),
                Property::AuthenticationData(data) => self.authentication_data = Some(data),
                other => {
                    return Err(other.not_allowed_in(PropertyPlace::Packet(PacketType::ConnAck)));
                }
            }
        }
        self.user_properties = UserProperties::new(user_properties.finish(&reader));
        Ok(())
    }
}

impl Section for ConnAckProperties<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        let limited_qos = Some(self.maximum_qos).filter(|qos| *qos < QoS::ExactlyOnce);
        let topic_alias_maximum = Some(self.topic_alias_maximum).filter(|maximum| *maximum > 0);
        // What is available needs no mention.
        let missing = |available: bool| (!available).then_some(false);

        put_property(out, self.session_expiry.map(Property::SessionExpiryInterval));
        put_property(out, self.receive_maximum.map(Property::ReceiveMaximum));
        put_property(out, limited_qos.map(Property::MaximumQoS));
        put_property(out, missing(self.retain_available).map(Property::RetainAvailable));
        put_property(out, self.maximum_packet_size.map(Property::MaximumPacketSize));
        put_property(out, self.assigned_client_id.map(Property::AssignedClientIdentifier));
        put_property(out, topic_alias_maximum.map(Property::TopicAliasMaximum));
        put_property(out, self.reason_string.map(Property::ReasonString));
        self.user_properties.write_properties(out);
        let wildcards = missing(self.wildcard_subscription_available);
        put_property(out, wildcards.map(Property::WildcardSubscriptionAvailable));
        let subscription_ids = missing(self.subscription_ids_available);
        put_property(out, subscription_ids.map(Property::SubscriptionIdentifierAvailable));
        let shared = missing(self.shared_subscription_available);
        put_property(out, shared.map(Property::SharedSubscriptionAvailable));
        put_property(out, self.server_keep_alive.map(Property::ServerKeepAlive));
        put_property(out, self.response_information.map(Property::ResponseInformation));
        put_property(out, self.server_reference.map(Property::ServerReference));
        put_property(out, self.authentication_method.map(Property::AuthenticationMethod));
        put_property(out, self.authentication_data.map(Property::AuthenticationData));
    }
}
