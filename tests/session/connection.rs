//! What comes in on a connection: PUBLISH, SUBSCRIBE and DISCONNECT against the rules and limits.

use std::num::NonZeroU32;
use std::time::Instant;

use dunlin::change::SessionExpiry;
use dunlin::packet::{
    Delivery, Disconnect, FilterList, FilterRequest, Framing, Packet, ProtocolVersion, Publish,
    PublishProperties, QoS, ReasonCode, ReasonCodes, SubAck, SubscriptionIds, SubscriptionOptions,
    UserProperties, frame,
};
use dunlin::session::{Connection, Farewell, KeepAlive, ProtocolError, Refusal, WillFate};
use dunlin::topic::{TopicName, TopicNameError};

use crate::support::{
    V5, V31, V311, accepted, connect, expiry, id, limits, seconds, subscription_id, unheard_of,
};

fn connection(version: ProtocolVersion) -> Connection {
    accepted(&connect(version), &limits()).unwrap().connection
}

/// A connection whose Session lasts so many seconds.
fn lasting(session_expiry: u32) -> Connection {
    let mut connect = connect(V5);
    connect.properties.session_expiry = session_expiry;
    accepted(&connect, &limits()).unwrap().connection
}

fn publish(topic: &str, delivery: Delivery) -> Publish<'_> {
    Publish {
        delivery,
        retain: false,
        topic: topic.as_bytes(),
        properties: PublishProperties::default(),
        payload: b"21.5",
    }
}

fn at_least_once(value: u16) -> Delivery {
    Delivery::AtLeastOnce { id: id(value), dup: false }
}

fn exactly_once(value: u16) -> Delivery {
    Delivery::ExactlyOnce { id: id(value), dup: false }
}

#[test]
fn the_topic_of_the_last_publish_is_not_checked_again() {
    let mut connection = connection(V5);
    let publish_a = publish("a/b", Delivery::AtMostOnce);
    let first = connection.publish(&publish_a, &limits(), unheard_of).unwrap().topic.clone();

    let second = connection.publish(&publish_a, &limits(), unheard_of).unwrap().topic.clone();
    let other = publish("a/c", Delivery::AtMostOnce);
    let third = connection.publish(&other, &limits(), unheard_of).unwrap().topic.clone();

    assert!(first.ptr_eq(&second));
    assert_eq!(third.as_str(), "a/c");
}

#[test]
fn a_name_that_somebody_remembers_is_not_made_again_but_has_to_be_allowed() {
    let mut connection = connection(V5);
    let deep = "a".to_owned() + &"/a".repeat(limits().topic_levels_max);
    let [allowed, reserved, deep] =
        ["a/b", "$SYS/a", &deep].map(|text| TopicName::parse(text).unwrap());
    let mut heard = |name: &TopicName| {
        let publish = publish(name.as_str(), Delivery::AtMostOnce);
        let inbound = connection.publish(&publish, &limits(), |_| Some(name.clone()))?;
        Ok::<_, ProtocolError>((inbound.topic.ptr_eq(name), inbound.refusal))
    };

    assert_eq!(heard(&allowed).unwrap(), (true, None));
    assert_eq!(heard(&reserved).unwrap(), (true, Some(Refusal::ReservedTopic("$SYS"))));
    assert!(matches!(heard(&deep), Err(ProtocolError::TopicNameTooDeep { .. })));
}

#[test]
fn a_topic_that_is_wrong_leaves_nothing_of_the_one_before() {
    let mut connection = connection(V5);
    let good = publish("a/b", Delivery::AtMostOnce);
    connection.publish(&good, &limits(), unheard_of).unwrap();

    let wrong = publish("a/#", Delivery::AtMostOnce);
    assert!(connection.publish(&wrong, &limits(), unheard_of).is_err());

    let inbound = connection.publish(&good, &limits(), unheard_of).unwrap();
    assert_eq!(inbound.topic.as_str(), "a/b");
}

#[test]
fn topics_of_the_server_are_refused_each_time_and_the_connection_goes_on() {
    for version in [V31, V311, V5] {
        let mut connection = connection(version);
        for (topic, level) in [("$SYS/broker", "$SYS"), ("$SYS", "$SYS"), ("$share/g/t", "$share")]
        {
            for _ in 0..2 {
                let reserved = publish(topic, Delivery::AtMostOnce);
                let inbound = connection.publish(&reserved, &limits(), unheard_of).unwrap();
                assert_eq!(inbound.refusal, Some(Refusal::ReservedTopic(level)));
            }
        }
        for topic in ["$SYSTEM/x", "$other", "a/$SYS"] {
            let free = publish(topic, Delivery::AtMostOnce);
            assert_eq!(
                connection.publish(&free, &limits(), unheard_of).unwrap().refusal,
                None,
                "{topic}"
            );
        }
    }
}

// [MQTT-3.3.2-2]
#[test]
fn a_topic_name_that_is_none_ends_the_connection() {
    let long = "t".repeat(limits().topic_bytes_max + 1);
    let cases: [(&[u8], ReasonCode); 6] = [
        (b"a/+/b", ReasonCode::TopicNameInvalid),
        (b"a/#", ReasonCode::TopicNameInvalid),
        (b"", ReasonCode::ProtocolError),
        (b"a\xFF", ReasonCode::MalformedPacket),
        (long.as_bytes(), ReasonCode::TopicNameInvalid),
        (b"1/2/3/4/5/6", ReasonCode::TopicNameInvalid),
    ];
    for (topic, reason) in cases {
        let mut wrong = publish("", Delivery::AtMostOnce);
        wrong.topic = topic;

        let error = connection(V5).publish(&wrong, &limits(), unheard_of).unwrap_err();

        assert_eq!(error.reason(), reason, "{error}");
    }
}

#[test]
fn a_topic_name_may_be_as_long_and_as_deep_as_the_limits() {
    let longest = "t".repeat(limits().topic_bytes_max);
    for topic in [&longest, "1/2/3/4/5"] {
        let good = publish(topic, Delivery::AtMostOnce);

        assert_eq!(
            connection(V5).publish(&good, &limits(), unheard_of).unwrap().topic.as_str(),
            topic
        );
    }
}

// [MQTT-3.3.2-8] [MQTT-3.3.2-9]
#[test]
fn a_topic_alias_beyond_the_maximum_is_refused() {
    for alias in [0, 5] {
        let mut aliased = publish("a", Delivery::AtMostOnce);
        aliased.properties.topic_alias = Some(alias);

        let error = connection(V5).publish(&aliased, &limits(), unheard_of).unwrap_err();

        assert_eq!(error, ProtocolError::TopicAlias { alias, maximum: 4 });
        assert_eq!(error.reason(), ReasonCode::TopicAliasInvalid);
    }
}

// 5.0 s3.3.2.3.4
#[test]
fn a_topic_alias_stands_for_the_topic_it_was_given_last() {
    let mut connection = connection(V5);
    let mut told = |topic: &'static str| {
        let mut aliased = publish(topic, Delivery::AtMostOnce);
        aliased.properties.topic_alias = Some(4);
        connection
            .publish(&aliased, &limits(), unheard_of)
            .map(|inbound| inbound.topic.as_str().to_owned())
    };

    let nothing = told("").unwrap_err();
    let topics = ["a", "", "b", ""].map(|topic| told(topic).unwrap());

    assert_eq!(nothing.reason(), ReasonCode::ProtocolError);
    assert_eq!(topics, ["a", "a", "b", "b"]);
}

// [MQTT-3.3.4-6]
#[test]
fn a_subscription_identifier_from_a_client_is_a_protocol_error() {
    let ids = [subscription_id(7)];
    let mut wrong = publish("a", Delivery::AtMostOnce);
    wrong.properties.subscription_ids = SubscriptionIds::from_slice(&ids);

    let error = connection(V5).publish(&wrong, &limits(), unheard_of).unwrap_err();

    assert_eq!(error, ProtocolError::SubscriptionIdFromClient);
    assert_eq!(error.reason(), ReasonCode::ProtocolError);
}

// [MQTT-3.3.4-7]
#[test]
fn a_5_0_client_beyond_the_receive_maximum_is_closed_with_0x93() {
    let mut connection = connection(V5);
    for value in 1..=4 {
        let delivery = if value % 2 == 0 { at_least_once(value) } else { exactly_once(value) };
        connection.publish(&publish("a", delivery), &limits(), unheard_of).unwrap();
    }

    connection.publish(&publish("a", Delivery::AtMostOnce), &limits(), unheard_of).unwrap();
    let error =
        connection.publish(&publish("a", at_least_once(5)), &limits(), unheard_of).unwrap_err();

    assert_eq!(error, ProtocolError::ReceiveMaximum { max: 4 });
    assert_eq!(error.reason(), ReasonCode::ReceiveMaximumExceeded);
}

// [MQTT-3.3.4-7]
#[test]
fn what_is_settled_no_longer_counts_against_the_receive_maximum() {
    let mut connection = connection(V5);
    for value in 1..=4 {
        connection.publish(&publish("a", exactly_once(value)), &limits(), unheard_of).unwrap();
    }

    connection.settled_one();

    connection.publish(&publish("a", at_least_once(5)), &limits(), unheard_of).unwrap();
    assert!(connection.publish(&publish("a", at_least_once(6)), &limits(), unheard_of).is_err());
}

#[test]
fn settling_more_than_was_open_gives_no_extra_room() {
    let mut connection = connection(V5);
    connection.settled_one();
    connection.settled_one();

    let taken = (1..=10)
        .take_while(|value| {
            connection.publish(&publish("a", at_least_once(*value)), &limits(), unheard_of).is_ok()
        })
        .count();

    assert_eq!(taken, 4);
}

#[test]
fn clients_before_5_0_know_no_receive_maximum() {
    for version in [V31, V311] {
        let mut connection = connection(version);

        for value in 1..=u16::MAX {
            connection.publish(&publish("a", exactly_once(value)), &limits(), unheard_of).unwrap();
        }
    }
}

// [MQTT-3.14.4-3]
#[test]
fn disconnect_0x00_discards_the_will_and_any_other_leaves_it() {
    let cases = [
        (ReasonCode::NORMAL_DISCONNECTION, WillFate::Discarded),
        (ReasonCode::DisconnectWithWillMessage, WillFate::Sent),
        (ReasonCode::UnspecifiedError, WillFate::Sent),
    ];
    for (reason, will) in cases {
        let farewell = connection(V5).disconnect(&Disconnect::new(reason), &limits()).unwrap();

        assert_eq!(farewell, Farewell { expiry: None, will });
    }
}

#[test]
fn a_session_that_would_end_cannot_be_prolonged_by_disconnect() {
    let mut disconnect = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
    disconnect.session_expiry = Some(1);

    let error = lasting(0).disconnect(&disconnect, &limits()).unwrap_err();

    assert_eq!(error, ProtocolError::ExpiryFromZero);
    assert_eq!(error.reason(), ReasonCode::ProtocolError);
}

#[test]
fn disconnect_may_set_another_expiry() {
    let cases = [
        (0, 0, SessionExpiry::AtDisconnect),
        (9, 0, SessionExpiry::AtDisconnect),
        (9, 5, expiry(5)),
    ];
    for (connected_with, asked, granted) in cases {
        let mut disconnect = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
        disconnect.session_expiry = Some(asked);

        let farewell = lasting(connected_with).disconnect(&disconnect, &limits()).unwrap();

        assert_eq!(farewell.expiry, Some(granted));
    }
}

// The limit of CONNECT would be none if DISCONNECT went past it.
#[test]
fn disconnect_prolongs_a_session_no_further_than_the_limit() {
    for asked in [86_401, u32::MAX] {
        let mut disconnect = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
        disconnect.session_expiry = Some(asked);

        let farewell = lasting(60).disconnect(&disconnect, &limits()).unwrap();

        assert_eq!(farewell.expiry, Some(expiry(86_400)));
    }
}

// [MQTT-3.1.2-22]
#[test]
fn the_deadline_is_one_and_a_half_intervals_after_the_last_packet() {
    let start = Instant::now();
    let mut keep_alive = KeepAlive::new(10, start);

    keep_alive.heard(start + seconds(4));

    assert_eq!(keep_alive.deadline(), Some(start + seconds(19)));
}

#[test]
fn a_keep_alive_of_zero_turns_it_off() {
    assert_eq!(KeepAlive::new(0, Instant::now()).deadline(), None);
}

/// A connection of a client that takes packets of so many bytes.
fn taking(maximum: usize) -> Connection {
    let mut connect = connect(V5);
    connect.properties.maximum_packet_size = NonZeroU32::new(maximum.try_into().unwrap());
    accepted(&connect, &limits()).unwrap().connection
}

fn suback_length(codes: &[ReasonCode], reason_string: Option<&str>) -> usize {
    let codes = ReasonCodes::from_slice(codes);
    let user_properties = UserProperties::default();
    SubAck { id: id(1), codes, reason_string, user_properties }.encoded_len(V5)
}

#[test]
fn a_connection_knows_what_its_client_takes() {
    assert_eq!(taking(100).maximum_packet_size(), 100);
    assert_eq!(connection(V5).maximum_packet_size(), usize::MAX);
}

// [MQTT-3.9.2-1]
#[test]
fn a_reason_string_never_makes_an_acknowledgement_larger_than_the_client_takes() {
    let refusal = Refusal::QueuesFull;
    let text = refusal.to_string();
    for count in [1, 100] {
        let codes = vec![refusal.reason(); count];
        let whole = suback_length(&codes, Some(&text));

        for maximum in whole - 40..whole + 40 {
            let given = taking(maximum).reason_string(&refusal, count);

            assert!(given.is_none() || whole <= maximum, "{whole} bytes for {maximum}");
            assert!(given.is_some() || maximum < whole + 10, "{maximum} is enough for {whole}");
        }
    }
}

// [MQTT-3.8.4-6] [MQTT-3.1.2-24]
#[test]
fn a_subscribe_is_refused_if_its_client_does_not_take_so_many_reason_codes() {
    for count in [20, 124, 125, 200] {
        let length = suback_length(&vec![ReasonCode::Success; count], None);

        let fitting = taking(length).check_answer(count);
        let too_large = taking(length - 1).check_answer(count);

        fitting.unwrap();
        assert!(
            matches!(
                too_large,
                Err(ProtocolError::AnswerTooLarge { length: found, maximum })
                    if found == length && maximum == length - 1
            ),
            "{count} codes: {too_large:?}",
        );
    }
}

fn disconnect_of(bytes: &[u8]) -> Disconnect<'_> {
    let Ok(Framing::Complete(frame)) = frame(bytes, bytes.len()) else { panic!("{bytes:02X?}") };
    let Ok(Packet::Disconnect(disconnect)) = frame.decode(V5) else { panic!("{bytes:02X?}") };
    disconnect
}

// [MQTT-3.14.2-3] [MQTT-4.13.1-1]
#[test]
fn a_5_0_client_is_told_why_its_connection_ends_in_words_if_it_takes_them() {
    let error = ProtocolError::KeepAlive;
    let bytes = connection(V5).goodbye(&error);

    let told = disconnect_of(&bytes);
    let fitting = taking(bytes.len()).goodbye(&error);
    let shorter = taking(bytes.len() - 1).goodbye(&error);

    assert_eq!(told.reason, ReasonCode::KeepAliveTimeout);
    assert_eq!(told.reason_string, Some(error.to_string().as_str()));
    assert_eq!(fitting, bytes);
    assert_eq!(shorter, [0xE0, 1, 0x8D]);
}

#[test]
fn a_client_before_5_0_has_no_disconnect_to_read() {
    for version in [V31, V311] {
        assert_eq!(connection(version).goodbye(&ProtocolError::KeepAlive), [0; 0]);
    }
}

fn request(filter: &str) -> FilterRequest<'_> {
    FilterRequest { filter, options: SubscriptionOptions::new(QoS::AtLeastOnce) }
}

#[test]
fn a_wrong_filter_is_refused_alone() {
    let long = "t".repeat(limits().topic_bytes_max + 1);
    let cases = [
        ("a/#/b", ReasonCode::TopicFilterInvalid),
        ("", ReasonCode::TopicFilterInvalid),
        (&long, ReasonCode::TopicFilterInvalid),
        ("1/2/3/4/5/6", ReasonCode::TopicFilterInvalid),
        ("$share/group", ReasonCode::TopicFilterInvalid),
        ("$share/gr+up/t", ReasonCode::TopicFilterInvalid),
    ];
    for (filter, reason) in cases {
        let refusal = connection(V5).subscribe(&request(filter), &limits()).unwrap().unwrap_err();

        assert_eq!(refusal.reason(), reason, "{refusal}");
    }
}

#[test]
fn a_topic_filter_may_be_as_long_and_as_deep_as_the_limits() {
    let longest = "t".repeat(limits().topic_bytes_max);
    for text in [&longest, "1/2/3/4/#"] {
        let filter = connection(V5).subscribe(&request(text), &limits()).unwrap().unwrap();

        assert_eq!(filter.filter.as_str(), text);
    }
}

// [MQTT-3.8.3-4]
#[test]
fn no_local_on_a_shared_subscription_ends_the_connection() {
    let mut wrong = request("$share/group/t");
    wrong.options.no_local = true;

    let error = connection(V5).subscribe(&wrong, &limits()).unwrap_err();

    assert_eq!(error, ProtocolError::NoLocalShared);
    assert_eq!(error.reason(), ReasonCode::ProtocolError);
}

// 5.0 s4.13.1: none of the filters before it is to stand.
#[test]
fn a_later_filter_that_ends_the_connection_is_found_before_the_first_stands() {
    let mut filters = FilterList::default();
    for text in ["t", "refused/#/alone"] {
        filters.push(text, request(text).options);
    }
    assert_eq!(connection(V5).check_filters(filters.as_view(), &limits()), Ok(()));

    let no_local = SubscriptionOptions { no_local: true, ..request("t").options };
    filters.push("$share/group/t", no_local);

    let error = connection(V5).check_filters(filters.as_view(), &limits()).unwrap_err();
    assert_eq!(error, ProtocolError::NoLocalShared);
}

#[test]
fn errors_of_a_running_connection_have_the_code_the_standard_names() {
    let cases = [
        (ProtocolError::SecondConnect, ReasonCode::ProtocolError),
        (ProtocolError::FromServerOnly("SUBACK"), ReasonCode::ProtocolError),
        (ProtocolError::UnexpectedAuth, ReasonCode::ProtocolError),
        (ProtocolError::OtherMethod, ReasonCode::ProtocolError),
        (
            ProtocolError::AuthOutOfTurn { reason: ReasonCode::ReAuthenticate },
            ReasonCode::ProtocolError,
        ),
        (ProtocolError::AuthenticationFailed, ReasonCode::NotAuthorized),
        (ProtocolError::KeepAlive, ReasonCode::KeepAliveTimeout),
        (ProtocolError::Stalled, ReasonCode::QuotaExceeded),
        (ProtocolError::TakenOver, ReasonCode::SessionTakenOver),
        (ProtocolError::ShuttingDown, ReasonCode::ServerShuttingDown),
        (ProtocolError::ConnectTimeout, ReasonCode::MaximumConnectTime),
        (ProtocolError::TopicName(TopicNameError::Empty), ReasonCode::ProtocolError),
    ];
    for (error, reason) in cases {
        assert_eq!(error.reason(), reason, "{error}");
    }
}
