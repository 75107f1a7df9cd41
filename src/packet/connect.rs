//! CONNECT: who a client is and how it wants to be served.

use std::fmt;
use std::num::NonZeroU32;

use super::encoder::Body;
use super::error::{DecodeError, MalformedPacket, PropertyPlace, ProtocolViolation};
use super::forwarded::Forwarded;
use super::primitives::{Hidden, Reader, Sink};
use super::properties::{Property, PropertyReader, Section, put_property};
use super::selection::{Selecting, UserProperties};
use super::{AuthenticationData, PacketType, ProtocolVersion, QoS, ReceiveMaximum};

#[derive(Clone, PartialEq)]
pub struct Connect<'a> {
    pub version: ProtocolVersion,
    /// Clean Start of 5.0, Clean Session of 3.1 and 3.1.1.
    pub clean_start: bool,
    /// Seconds; 0 switches the mechanism off.
    pub keep_alive: u16,
    pub client_id: &'a str,
    pub will: Option<Will<'a>>,
    pub username: Option<&'a str>,
    pub password: Option<&'a [u8]>,
    pub properties: ConnectProperties<'a>,
}

/// What is published in the client's name when its connection ends badly.
#[derive(Clone, PartialEq)]
pub struct Will<'a> {
    /// UTF-8, but not yet known to be a Topic Name.
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub qos: QoS,
    pub retain: bool,
    pub properties: WillProperties<'a>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct WillProperties<'a> {
    /// Will Delay Interval in seconds.
    pub delay: u32,
    /// Message Expiry Interval in seconds.
    pub message_expiry: Option<u32>,
    pub forwarded: Forwarded<'a>,
}

/// The properties of CONNECT; the default is what holds where they are absent.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectProperties<'a> {
    /// Session Expiry Interval in seconds; 0xFFFF_FFFF never ends.
    pub session_expiry: u32,
    pub receive_maximum: Option<ReceiveMaximum>,
    pub maximum_packet_size: Option<NonZeroU32>,
    pub topic_alias_maximum: u16,
    pub request_response_information: bool,
    pub request_problem_information: bool,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<AuthenticationData<'a>>,
    pub user_properties: UserProperties<'a>,
}

/// The version that a CONNECT names, of which only the beginning need be there or be in order: a
/// client whose CONNECT is refused is told in its own version.
pub fn claimed_version(packet: &[u8]) -> Option<ProtocolVersion> {
    claim(packet).map(|(version, _)| version)
}

/// The Maximum Packet Size that a CONNECT names, as far as it can be read.
pub fn claimed_maximum_packet_size(packet: &[u8]) -> Option<NonZeroU32> {
    const FLAGS_AND_KEEP_ALIVE: usize = 3;
    let (_, rest) = claim(packet).filter(|(version, _)| version.is_v5())?;
    let mut rest = Reader::new(rest.get(FLAGS_AND_KEEP_ALIVE..)?);
    let mut reader = PropertyReader::new(&mut rest).ok()?;
    loop {
        match reader.next() {
            Ok(Some(Property::MaximumPacketSize(size))) => return Some(size),
            // The next property begins after a forbidden value as after any other.
            Ok(Some(_)) | Err(DecodeError::Protocol(ProtocolViolation::PropertyValue { .. })) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

/// The version that a CONNECT names, and what follows it.
fn claim(packet: &[u8]) -> Option<(ProtocolVersion, &[u8])> {
    let rest = packet.strip_prefix(&[PacketType::Connect.first_byte()])?;
    let length_bytes = 1 + rest.iter().take(3).take_while(|byte| **byte >= 0x80).count();
    let name = rest.get(length_bytes..)?;
    let versions = [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];
    versions.into_iter().find_map(|version| {
        let text = version.name().as_bytes();
        let (length, name) = name.strip_prefix(&[0])?.split_first()?;
        let level = (usize::from(*length) == text.len()).then(|| name.strip_prefix(text))??;
        let rest = level.strip_prefix(&[version.level()])?;
        Some((version, rest))
    })
}

impl Default for ConnectProperties<'_> {
    fn default() -> Self {
        Self {
            session_expiry: 0,
            receive_maximum: None,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            authentication_method: None,
            authentication_data: None,
            user_properties: UserProperties::default(),
        }
    }
}

impl<'a> Connect<'a> {
    pub(super) fn decode(mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let version = read_version(&mut reader)?;
        let flags = ConnectFlags::from_byte(reader.byte()?, version)?;
        let keep_alive = reader.u16()?;
        let properties = if version.is_v5() {
            ConnectProperties::decode(&mut reader)?
        } else {
            ConnectProperties::default()
        };

        // The payload, in this order [MQTT-3.1.3-1] [MQTT3-3.1.3-1].
        let client_id = reader.string()?;
        let will = match flags.will {
            Some(will) => Some(Will::decode(will, &mut reader, version)?),
            None => None,
        };
        let username =
            if flags.username.is_present(reader, version) { Some(reader.string()?) } else { None };
        let password =
            if flags.password.is_present(reader, version) { Some(reader.binary()?) } else { None };
        reader.finish()?;
        let clean_start = flags.clean_start;
        Ok(Self {
            version,
            clean_start,
            keep_alive,
            client_id,
            will,
            username,
            password,
            properties,
        })
    }
}

fn read_version(reader: &mut Reader<'_>) -> Result<ProtocolVersion, DecodeError> {
    // [MQTT-3.1.2-1] [MQTT3-3.1.2-1]: compared as bytes, for the stranger's string may be anything.
    let name = reader.binary()?;
    let versions: &[ProtocolVersion] = match name {
        b"MQTT" => &[ProtocolVersion::V5, ProtocolVersion::V311],
        b"MQIsdp" => &[ProtocolVersion::V31],
        _ => return Err(DecodeError::UnsupportedProtocolName),
    };
    // [MQTT-3.1.2-2] [MQTT3-3.1.2-2]
    let level = reader.byte()?;
    versions
        .iter()
        .copied()
        .find(|version| version.level() == level)
        .ok_or(DecodeError::UnsupportedProtocolVersion { level })
}

/// The flags of a CONNECT, which say what its payload consists of.
struct ConnectFlags {
    clean_start: bool,
    will: Option<WillFlags>,
    username: Flag,
    password: Flag,
}

#[derive(Clone, Copy)]
struct WillFlags {
    qos: QoS,
    retain: bool,
}

/// Whether a field is said to be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flag {
    Set,
    Clear,
}

impl Flag {
    fn of(flags: u8, bit: u8) -> Self {
        if flags & bit == 0 { Self::Clear } else { Self::Set }
    }

    /// For the sake of still older clients, 3.1 lets the Remaining Length overrule the flags of
    /// the last two fields.
    fn is_present(self, reader: Reader<'_>, version: ProtocolVersion) -> bool {
        match self {
            Self::Set => !(reader.is_empty() && version == ProtocolVersion::V31),
            Self::Clear => false,
        }
    }
}

impl ConnectFlags {
    const USERNAME: u8 = 0b1000_0000;
    const PASSWORD: u8 = 0b0100_0000;
    const WILL_RETAIN: u8 = 0b0010_0000;
    const WILL_QOS: u8 = 0b0001_1000;
    const WILL_QOS_SHIFT: u8 = 3;
    const WILL: u8 = 0b0000_0100;
    const CLEAN_START: u8 = 0b0000_0010;
    const RESERVED: u8 = 0b0000_0001;

    fn from_byte(flags: u8, version: ProtocolVersion) -> Result<Self, MalformedPacket> {
        // 3.1 has nobody look at the reserved bit, nor at those of a Will that is not there.
        let is_v31 = version == ProtocolVersion::V31;
        // [MQTT-3.1.2-3] [MQTT3-3.1.2-3]
        if flags & Self::RESERVED != 0 && !is_v31 {
            return Err(MalformedPacket::ReservedConnectFlag);
        }
        let will = if flags & Self::WILL != 0 {
            // [MQTT-3.1.2-12] [MQTT3-3.1.2-14]
            let qos = QoS::from_bits((flags & Self::WILL_QOS) >> Self::WILL_QOS_SHIFT)
                .ok_or(MalformedPacket::WillQoS3)?;
            Some(WillFlags { qos, retain: flags & Self::WILL_RETAIN != 0 })
        } else if flags & (Self::WILL_QOS | Self::WILL_RETAIN) != 0 && !is_v31 {
            // [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT3-3.1.2-11] [MQTT3-3.1.2-13] [MQTT3-3.1.2-15]
            return Err(MalformedPacket::WillFlagsWithoutWill);
        } else {
            None
        };
        let username = Flag::of(flags, Self::USERNAME);
        let password = Flag::of(flags, Self::PASSWORD);
        // [MQTT3-3.1.2-22]
        if password == Flag::Set && username == Flag::Clear && !version.is_v5() {
            return Err(MalformedPacket::PasswordWithoutUserName);
        }
        let clean_start = flags & Self::CLEAN_START != 0;
        Ok(Self { clean_start, will, username, password })
    }

    fn to_byte(connect: &Connect<'_>) -> u8 {
        let mut flags = match &connect.will {
            Some(will) => {
                let retain = if will.retain { Self::WILL_RETAIN } else { 0 };
                Self::WILL | will.qos.bits() << Self::WILL_QOS_SHIFT | retain
            }
            None => 0,
        };
        for (is_set, bit) in [
            (connect.clean_start, Self::CLEAN_START),
            (connect.username.is_some(), Self::USERNAME),
            (connect.password.is_some(), Self::PASSWORD),
        ] {
            if is_set {
                flags |= bit;
            }
        }
        flags
    }
}

impl Body for Connect<'_> {
    fn first_byte(&self) -> u8 {
        PacketType::Connect.first_byte()
    }

    /// A CONNECT brings its version with it, whatever the caller says.
    fn write_body(&self, _version: ProtocolVersion, out: &mut impl Sink) {
        out.put_string(self.version.name());
        out.put_u8(self.version.level());
        out.put_u8(ConnectFlags::to_byte(self));
        out.put_u16(self.keep_alive);
        if self.version.is_v5() {
            self.properties.write_section(out);
        }
        out.put_string(self.client_id);
        if let Some(will) = &self.will {
            if self.version.is_v5() {
                will.properties.write_section(out);
            }
            out.put_string(will.topic);
            out.put_binary(will.payload);
        }
        if let Some(username) = self.username {
            out.put_string(username);
        }
        if let Some(password) = self.password {
            out.put_binary(password);
        }
    }
}

impl<'a> ConnectProperties<'a> {
    fn decode(packet: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut reader = PropertyReader::new(packet)?;
        let mut properties = Self::default();
        let mut user_properties = Selecting::default();
        while let Some(property) = reader.next()? {
            match property {
                Property::SessionExpiryInterval(seconds) => properties.session_expiry = seconds,
                Property::ReceiveMaximum(maximum) => properties.receive_maximum = Some(maximum),
                Property::MaximumPacketSize(size) => properties.maximum_packet_size = Some(size),
                Property::TopicAliasMaximum(maximum) => properties.topic_alias_maximum = maximum,
                Property::RequestResponseInformation(requested) => {
                    properties.request_response_information = requested;
                }
                Property::RequestProblemInformation(requested) => {
                    properties.request_problem_information = requested;
                }
                Property::AuthenticationMethod(method) => {
                    properties.authentication_method = Some(method);
                }
                Property::AuthenticationData(data) => properties.authentication_data = Some(data),
                Property::UserProperty(_) => user_properties.add(&reader),
                other => {
                    return Err(other.not_allowed_in(PropertyPlace::Packet(PacketType::Connect)));
                }
            }
        }
        // 5.0 s3.1.2.11.10
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            return Err(ProtocolViolation::AuthenticationDataWithoutMethod.into());
        }
        properties.user_properties = UserProperties::new(user_properties.finish(&reader));
        Ok(properties)
    }
}

impl Section for ConnectProperties<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        let session_expiry = Some(self.session_expiry).filter(|seconds| *seconds > 0);
        let topic_alias_maximum = Some(self.topic_alias_maximum).filter(|maximum| *maximum > 0);
        let response_information = self.request_response_information.then_some(true);
        let problem_information = (!self.request_problem_information).then_some(false);

        put_property(out, session_expiry.map(Property::SessionExpiryInterval));
        put_property(out, self.receive_maximum.map(Property::ReceiveMaximum));
        put_property(out, self.maximum_packet_size.map(Property::MaximumPacketSize));
        put_property(out, topic_alias_maximum.map(Property::TopicAliasMaximum));
        put_property(out, response_information.map(Property::RequestResponseInformation));
        put_property(out, problem_information.map(Property::RequestProblemInformation));
        put_property(out, self.authentication_method.map(Property::AuthenticationMethod));
        put_property(out, self.authentication_data.map(Property::AuthenticationData));
        self.user_properties.write_properties(out);
    }
}

impl<'a> Will<'a> {
    fn decode(
        flags: WillFlags,
        reader: &mut Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let properties = if version.is_v5() {
            WillProperties::decode(reader)?
        } else {
            WillProperties::default()
        };
        let topic = reader.string()?;
        let payload = reader.binary()?;
        Ok(Self { topic, payload, qos: flags.qos, retain: flags.retain, properties })
    }
}

impl<'a> WillProperties<'a> {
    fn decode(packet: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut reader = PropertyReader::new(packet)?;
        let mut properties = Self::default();
        let mut forwarded = Selecting::default();
        while let Some(property) = reader.next()? {
            match property {
                Property::WillDelayInterval(seconds) => properties.delay = seconds,
                Property::MessageExpiryInterval(seconds) => {
                    properties.message_expiry = Some(seconds);
                }
                Property::PayloadFormatIndicator(_)
                | Property::ContentType(_)
                | Property::ResponseTopic(_)
                | Property::CorrelationData(_)
                | Property::UserProperty(_) => forwarded.add(&reader),
                other => return Err(other.not_allowed_in(PropertyPlace::Will)),
            }
        }
        properties.forwarded = Forwarded::new(forwarded.finish(&reader));
        Ok(properties)
    }
}

impl Section for WillProperties<'_> {
    fn write_properties(&self, out: &mut impl Sink) {
        let delay = Some(self.delay).filter(|seconds| *seconds > 0);
        put_property(out, delay.map(Property::WillDelayInterval));
        put_property(out, self.message_expiry.map(Property::MessageExpiryInterval));
        self.forwarded.write(out);
    }
}

impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("username", &self.username)
            .field("password", &self.password.map(Hidden))
            .field("properties", &self.properties)
            .finish()
    }
}

impl fmt::Debug for Will<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Will")
            .field("topic", &self.topic)
            .field("payload", &Hidden(self.payload))
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("properties", &self.properties)
            .finish()
    }
}
