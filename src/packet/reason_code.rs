//! The Reason Codes of 5.0 and the CONNACK return codes of 3.1 and 3.1.1.

use std::fmt;

use super::error::{DecodeError, MalformedPacket, ProtocolViolation};
use super::primitives::{Reader, Sink, compare_and_print_by_elements};
use super::{PacketType, ProtocolVersion, QoS};

/// Lists the codes once, and makes of the list the enum, its numbers and its names.
macro_rules! codes {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident { $($variant:ident = $value:literal, $text:literal;)+ }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name {
            $(#[doc = $text] $variant = $value,)+
        }

        impl $name {
            /// Every code, in the order of their values.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            pub fn from_u8(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$variant),)+
                    _ => None,
                }
            }

            pub fn value(self) -> u8 {
                self as u8
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $text,)+
                })
            }
        }
    };
}

codes! {
    /// A Reason Code of 5.0. 0x00 is also called Normal disconnection and Granted QoS 0.
    pub enum ReasonCode {
        Success = 0x00, "Success";
        GrantedQoS1 = 0x01, "Granted QoS 1";
        GrantedQoS2 = 0x02, "Granted QoS 2";
        DisconnectWithWillMessage = 0x04, "Disconnect with Will Message";
        NoMatchingSubscribers = 0x10, "No matching subscribers";
        NoSubscriptionExisted = 0x11, "No subscription existed";
        ContinueAuthentication = 0x18, "Continue authentication";
        ReAuthenticate = 0x19, "Re-authenticate";
        UnspecifiedError = 0x80, "Unspecified error";
        MalformedPacket = 0x81, "Malformed Packet";
        ProtocolError = 0x82, "Protocol Error";
        ImplementationSpecificError = 0x83, "Implementation specific error";
        UnsupportedProtocolVersion = 0x84, "Unsupported Protocol Version";
        ClientIdentifierNotValid = 0x85, "Client Identifier not valid";
        BadUserNameOrPassword = 0x86, "Bad User Name or Password";
        NotAuthorized = 0x87, "Not authorized";
        ServerUnavailable = 0x88, "Server unavailable";
        ServerBusy = 0x89, "Server busy";
        Banned = 0x8A, "Banned";
        ServerShuttingDown = 0x8B, "Server shutting down";
        BadAuthenticationMethod = 0x8C, "Bad authentication method";
        KeepAliveTimeout = 0x8D, "Keep Alive timeout";
        SessionTakenOver = 0x8E, "Session taken over";
        TopicFilterInvalid = 0x8F, "Topic Filter invalid";
        TopicNameInvalid = 0x90, "Topic Name invalid";
        PacketIdentifierInUse = 0x91, "Packet Identifier in use";
        PacketIdentifierNotFound = 0x92, "Packet Identifier not found";
        ReceiveMaximumExceeded = 0x93, "Receive Maximum exceeded";
        TopicAliasInvalid = 0x94, "Topic Alias invalid";
        PacketTooLarge = 0x95, "Packet too large";
        MessageRateTooHigh = 0x96, "Message rate too high";
        QuotaExceeded = 0x97, "Quota exceeded";
        AdministrativeAction = 0x98, "Administrative action";
        PayloadFormatInvalid = 0x99, "Payload format invalid";
        RetainNotSupported = 0x9A, "Retain not supported";
        QoSNotSupported = 0x9B, "QoS not supported";
        UseAnotherServer = 0x9C, "Use another server";
        ServerMoved = 0x9D, "Server moved";
        SharedSubscriptionsNotSupported = 0x9E, "Shared Subscriptions not supported";
        ConnectionRateExceeded = 0x9F, "Connection rate exceeded";
        MaximumConnectTime = 0xA0, "Maximum connect time";
        SubscriptionIdentifiersNotSupported = 0xA1, "Subscription Identifiers not supported";
        WildcardSubscriptionsNotSupported = 0xA2, "Wildcard Subscriptions not supported";
    }
}

impl ReasonCode {
    pub const NORMAL_DISCONNECTION: Self = Self::Success;
    pub const GRANTED_QOS_0: Self = Self::Success;

    /// Whether the code refuses something: 0x80 and above.
    pub fn is_error(self) -> bool {
        self.value() >= 0x80
    }

    /// Whether a client may end its connection with this code; the others that DISCONNECT has are
    /// the server's [MQTT-3.14.2-1].
    pub fn is_for_client_disconnect(self) -> bool {
        matches!(self.value(), 0 | 4 | 0x80..=0x83 | 0x90 | 0x93..=0x99)
    }

    /// The code by which a SUBACK grants this QoS.
    pub fn granted(qos: QoS) -> Self {
        match qos {
            QoS::AtMostOnce => Self::GRANTED_QOS_0,
            QoS::AtLeastOnce => Self::GrantedQoS1,
            QoS::ExactlyOnce => Self::GrantedQoS2,
        }
    }
}

codes! {
    /// A return code in a CONNACK of 3.1 or 3.1.1.
    pub enum ConnectReturnCode {
        Accepted = 0, "Connection Accepted";
        UnacceptableProtocolVersion = 1, "unacceptable protocol version";
        IdentifierRejected = 2, "identifier rejected";
        ServerUnavailable = 3, "Server unavailable";
        BadUserNameOrPassword = 4, "bad user name or password";
        NotAuthorized = 5, "not authorized";
    }
}

/// The codes of a SUBACK or UNSUBACK in their order.
#[derive(Clone)]
pub struct ReasonCodes<'a>(Codes<'a>);

#[derive(Clone)]
enum Codes<'a> {
    /// Each byte was checked to be a code.
    Encoded(&'a [u8]),
    Values(&'a [ReasonCode]),
}

impl<'a> ReasonCodes<'a> {
    pub fn from_slice(codes: &'a [ReasonCode]) -> Self {
        Self(Codes::Values(codes))
    }

    /// The codes that the rest of a SUBACK or UNSUBACK consists of.
    pub(super) fn decode(
        reader: Reader<'a>,
        packet: PacketType,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        if reader.is_empty() {
            return Err(ProtocolViolation::EmptyPayload { packet }.into());
        }
        for &value in reader.rest() {
            let code = check(value, packet)?;
            // [MQTT3-3.9.3-2]
            if !version.is_v5() && code.is_error() && code != ReasonCode::UnspecifiedError {
                return Err(MalformedPacket::UnknownReturnCode { packet, value }.into());
            }
        }
        Ok(Self(Codes::Encoded(reader.rest())))
    }

    /// Before 5.0 all that is refused is 0x80 [MQTT3-3.9.3-2].
    pub(super) fn write(&self, version: ProtocolVersion, out: &mut impl Sink) {
        for code in self.clone() {
            let refused_before_v5 = code.is_error() && !version.is_v5();
            let written = if refused_before_v5 { ReasonCode::UnspecifiedError } else { code };
            out.put_u8(written.value());
        }
    }
}

impl Iterator for ReasonCodes<'_> {
    type Item = ReasonCode;

    fn next(&mut self) -> Option<ReasonCode> {
        match &mut self.0 {
            Codes::Encoded(bytes) => bytes.split_off_first().copied().and_then(ReasonCode::from_u8),
            Codes::Values(codes) => codes.split_off_first().copied(),
        }
    }
}

compare_and_print_by_elements!(ReasonCodes);

impl ReasonCode {
    /// Reads the Reason Code of a packet that has one.
    pub(super) fn read(reader: &mut Reader<'_>, packet: PacketType) -> Result<Self, DecodeError> {
        check(reader.byte()?, packet)
    }

    /// Whether the standard lists this code for this packet, from either side.
    pub fn is_allowed_in(self, packet: PacketType) -> bool {
        match packet {
            // [MQTT-3.2.2-8]
            PacketType::ConnAck => {
                matches!(self.value(), 0 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97)
                    || matches!(self.value(), 0x99..=0x9D | 0x9F)
            }
            // [MQTT-3.4.2-1] [MQTT-3.5.2-1]
            PacketType::PubAck | PacketType::PubRec => {
                matches!(self.value(), 0 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
            }
            // [MQTT-3.6.2-1] [MQTT-3.7.2-1]
            PacketType::PubRel | PacketType::PubComp => matches!(self.value(), 0 | 0x92),
            // [MQTT-3.9.3-2]
            PacketType::SubAck => {
                matches!(self.value(), 0 | 1 | 2 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97)
                    || matches!(self.value(), 0x9E | 0xA1 | 0xA2)
            }
            // [MQTT-3.11.3-2]
            PacketType::UnsubAck => {
                matches!(self.value(), 0 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91)
            }
            // [MQTT-3.14.2-1]
            PacketType::Disconnect => {
                matches!(self.value(), 0 | 4 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B | 0x8D..=0x90)
                    || matches!(self.value(), 0x93..=0xA2)
            }
            // [MQTT-3.15.2-1]
            PacketType::Auth => matches!(self.value(), 0 | 0x18 | 0x19),
            PacketType::Connect
            | PacketType::Publish
            | PacketType::Subscribe
            | PacketType::Unsubscribe
            | PacketType::PingReq
            | PacketType::PingResp => false,
        }
    }
}

fn check(value: u8, packet: PacketType) -> Result<ReasonCode, DecodeError> {
    ReasonCode::from_u8(value)
        .filter(|code| code.is_allowed_in(packet))
        .ok_or(ProtocolViolation::ReasonCode { packet, value }.into())
}
