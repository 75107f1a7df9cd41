//! Packets that proptest makes up: any that there can be.

use std::num::NonZeroU32;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::packet::*;

/// Packets borrow; those that are made up here borrow from what is never freed.
fn text() -> impl Strategy<Value = &'static str> {
    "[^\\x00]{0,12}".prop_map(|text| &*text.leak())
}

fn response_topic() -> impl Strategy<Value = &'static str> {
    "[^\\x00+#]{0,12}".prop_map(|text| &*text.leak())
}

fn bytes() -> impl Strategy<Value = &'static [u8]> {
    vec(any::<u8>(), 0..40).prop_map(|bytes| &*bytes.leak())
}

pub(in crate::packet) fn version() -> impl Strategy<Value = ProtocolVersion> {
    select(vec![ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5])
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|value| PacketId::new(value).unwrap())
}

fn subscription_id() -> impl Strategy<Value = SubscriptionId> {
    (1..=SubscriptionId::MAX).prop_map(|value| SubscriptionId::new(value).unwrap())
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn reason(packet: PacketType) -> impl Strategy<Value = ReasonCode> {
    let mut codes = ReasonCode::ALL.to_vec();
    codes.retain(|code| code.is_allowed_in(packet));
    select(codes)
}

fn codes(packet: PacketType) -> impl Strategy<Value = ReasonCodes<'static>> {
    vec(reason(packet), 1..5).prop_map(|codes| ReasonCodes::from_slice(codes.leak()))
}

fn user_properties() -> impl Strategy<Value = UserProperties<'static>> {
    vec((text(), text()), 0..4).prop_map(|pairs| {
        let list = Box::leak(Box::new(UserPropertyList::default()));
        for (name, value) in pairs {
            list.push(name, value);
        }
        list.as_view()
    })
}

pub(in crate::packet) fn forwarded() -> impl Strategy<Value = Forwarded<'static>> {
    let indicator = select(vec![PayloadFormatIndicator::Unspecified, PayloadFormatIndicator::Utf8]);
    let parts = (
        option::of(indicator),
        option::of(text()),
        option::of(response_topic()),
        option::of(bytes()),
        user_properties(),
    );
    parts.prop_map(
        |(indicator, content_type, response_topic, correlation_data, user_properties)| {
            let owned = ForwardedProperties::new(&ForwardedParts {
                payload_format_indicator: indicator,
                content_type,
                response_topic,
                correlation_data,
                user_properties,
            });
            Box::leak(Box::new(owned)).as_view()
        },
    )
}

fn will() -> impl Strategy<Value = Will<'static>> {
    let properties = (any::<u32>(), option::of(any::<u32>()), forwarded()).prop_map(
        |(delay, message_expiry, forwarded)| WillProperties { delay, message_expiry, forwarded },
    );
    (text(), bytes(), qos(), any::<bool>(), properties).prop_map(
        |(topic, payload, qos, retain, properties)| Will {
            topic,
            payload,
            qos,
            retain,
            properties,
        },
    )
}

fn authentication() -> impl Strategy<Value = (Option<&'static str>, Option<&'static [u8]>)> {
    option::of((text(), option::of(bytes())))
        .prop_map(|both| both.map_or((None, None), |(method, data)| (Some(method), data)))
}

fn connect_properties() -> impl Strategy<Value = ConnectProperties<'static>> {
    let numbers = (any::<u32>(), any::<u16>(), any::<u32>(), any::<u16>());
    (numbers, any::<bool>(), any::<bool>(), authentication(), user_properties()).prop_map(
        |(numbers, response, problem, (method, data), user_properties)| {
            let (session_expiry, receive_maximum, maximum_packet_size, topic_alias_maximum) =
                numbers;
            ConnectProperties {
                session_expiry,
                receive_maximum: ReceiveMaximum::new(receive_maximum),
                maximum_packet_size: NonZeroU32::new(maximum_packet_size),
                topic_alias_maximum,
                request_response_information: response,
                request_problem_information: problem,
                authentication_method: method,
                authentication_data: data.map(AuthenticationData),
                user_properties,
            }
        },
    )
}

fn connect(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let names = (text(), option::of(text()), option::of(bytes()));
    let payload = (names, option::of(will()), connect_properties());
    (any::<bool>(), any::<u16>(), payload).prop_map(move |(clean_start, keep_alive, payload)| {
        let ((client_id, username, password), will, properties) = payload;
        Packet::Connect(Connect {
            version,
            clean_start,
            keep_alive,
            client_id,
            will,
            username,
            password: password.filter(|_| version.is_v5() || username.is_some()),
            properties,
        })
    })
}

fn connack(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let code = (reason(PacketType::ConnAck), select(ConnectReturnCode::ALL.to_vec()));
    let texts = (option::of(text()), option::of(text()), option::of(text()), option::of(text()));
    let numbers = (option::of(any::<u32>()), any::<u16>(), any::<u16>(), option::of(any::<u16>()));
    let rest = (qos(), any::<[bool; 4]>(), authentication(), user_properties());
    (any::<bool>(), code, texts, numbers, rest).prop_map(
        move |(session_present, (v5, v3), texts, numbers, rest)| {
            let (assigned_client_id, reason_string, response_information, server_reference) = texts;
            let (session_expiry, receive_maximum, topic_alias_maximum, server_keep_alive) = numbers;
            let (maximum_qos, [retain, wildcard, ids, shared], (method, data), user_properties) =
                rest;
            let code = if version.is_v5() { ConnAckCode::V5(v5) } else { ConnAckCode::V3(v3) };
            let properties = ConnAckProperties {
                session_expiry,
                receive_maximum: ReceiveMaximum::new(receive_maximum),
                maximum_qos,
                retain_available: retain,
                maximum_packet_size: NonZeroU32::new(u32::from(receive_maximum)),
                assigned_client_id,
                topic_alias_maximum,
                reason_string,
                user_properties,
                wildcard_subscription_available: wildcard,
                subscription_ids_available: ids,
                shared_subscription_available: shared,
                server_keep_alive,
                response_information,
                server_reference,
                authentication_method: method,
                authentication_data: data.map(AuthenticationData),
            };
            Packet::ConnAck(ConnAck { session_present, code, properties })
        },
    )
}

fn delivery() -> impl Strategy<Value = Delivery> {
    (qos(), packet_id(), any::<bool>()).prop_map(|(qos, id, dup)| match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
    })
}

pub(in crate::packet) fn publish() -> impl Strategy<Value = Publish<'static>> {
    let properties = (
        option::of(any::<u16>()),
        option::of(any::<u32>()),
        vec(subscription_id(), 0..3),
        forwarded(),
    )
        .prop_map(|(topic_alias, message_expiry, ids, forwarded)| PublishProperties {
            topic_alias,
            message_expiry,
            subscription_ids: SubscriptionIds::from_slice(ids.leak()),
            forwarded,
        });
    (delivery(), any::<bool>(), "[^\\x00]{1,12}", properties, bytes()).prop_map(
        |(delivery, retain, topic, properties, payload)| {
            let topic = topic.leak().as_bytes();
            Publish { delivery, retain, topic, properties, payload }
        },
    )
}

macro_rules! acknowledgement {
    ($name:ident) => {
        (packet_id(), reason(PacketType::$name), option::of(text()), user_properties()).prop_map(
            |(id, reason, reason_string, user_properties)| {
                Packet::$name($name { id, reason, reason_string, user_properties })
            },
        )
    };
}

macro_rules! answer {
    ($name:ident) => {
        (packet_id(), codes(PacketType::$name), option::of(text()), user_properties()).prop_map(
            |(id, codes, reason_string, user_properties)| {
                Packet::$name($name { id, codes, reason_string, user_properties })
            },
        )
    };
}

fn subscribe() -> impl Strategy<Value = Packet<'static>> {
    let handling =
        select(vec![RetainHandling::Always, RetainHandling::IfNew, RetainHandling::Never]);
    let options = (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        |(qos, no_local, retain_as_published, retain_handling)| SubscriptionOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    );
    let filters = vec((text(), options), 1..4).prop_map(|requests| {
        let list = Box::leak(Box::new(FilterList::default()));
        for (filter, options) in requests {
            list.push(filter, options);
        }
        list.as_view()
    });
    (packet_id(), option::of(subscription_id()), user_properties(), filters).prop_map(
        |(id, subscription_id, user_properties, filters)| {
            Packet::Subscribe(Subscribe { id, subscription_id, user_properties, filters })
        },
    )
}

fn unsubscribe() -> impl Strategy<Value = Packet<'static>> {
    let filters = vec(text(), 1..4).prop_map(|filters| {
        let list = Box::leak(Box::new(TopicFilterList::default()));
        for filter in filters {
            list.push(filter);
        }
        list.as_view()
    });
    (packet_id(), user_properties(), filters).prop_map(|(id, user_properties, filters)| {
        Packet::Unsubscribe(Unsubscribe { id, user_properties, filters })
    })
}

fn disconnect() -> impl Strategy<Value = Packet<'static>> {
    let texts = (option::of(text()), option::of(text()));
    (reason(PacketType::Disconnect), option::of(any::<u32>()), texts, user_properties()).prop_map(
        |(reason, session_expiry, (reason_string, server_reference), user_properties)| {
            Packet::Disconnect(Disconnect {
                reason,
                session_expiry,
                reason_string,
                server_reference,
                user_properties,
            })
        },
    )
}

fn auth() -> impl Strategy<Value = Packet<'static>> {
    let method = (text(), option::of(bytes()));
    (reason(PacketType::Auth), method, option::of(text()), user_properties()).prop_map(
        |(reason, (method, data), reason_string, user_properties)| {
            Packet::Auth(Auth {
                reason,
                authentication_method: Some(method),
                authentication_data: data.map(AuthenticationData),
                reason_string,
                user_properties,
            })
        },
    )
}

/// Any packet there is in this version, with whatever 5.0 can say.
fn packet(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    let old = prop_oneof![
        connect(version),
        connack(version),
        publish().prop_map(Packet::Publish),
        acknowledgement!(PubAck),
        acknowledgement!(PubRec),
        acknowledgement!(PubRel),
        acknowledgement!(PubComp),
        subscribe(),
        answer!(SubAck),
        unsubscribe(),
        answer!(UnsubAck),
        select(vec![Packet::PingReq, Packet::PingResp]),
        disconnect(),
    ];
    if version.is_v5() { prop_oneof![13 => old, 1 => auth()].boxed() } else { old.boxed() }
}

pub(in crate::packet) fn any_packet() -> impl Strategy<Value = (ProtocolVersion, Packet<'static>)> {
    version().prop_flat_map(|version| (Just(version), packet(version)))
}
