//! CONNECT to what a connection gets, for all three versions.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use dunlin::change::SessionExpiry;
use dunlin::packet::{ReceiveMaximum, WillProperties};
use dunlin::session::{self, Features, Limits, Proof, ProtocolError, Refusal, accept};

use crate::connack::with_connack;
use crate::support::{
    V5, V31, V311, accepted, client_id, connect, expiry, limits, nonzero, seconds, will,
};

// [MQTT-3.1.3-6] [MQTT-3.1.3-7]: with either Clean Start.
#[test]
fn an_empty_client_id_of_5_0_is_replaced_by_an_assigned_one() {
    for clean_start in [true, false] {
        let mut connect = connect(V5);
        connect.client_id = "";
        connect.clean_start = clean_start;

        let accepted = accepted(&connect, &limits()).unwrap();

        assert_eq!(accepted.client_id, client_id("assigned-1"));
        assert_eq!(accepted.server_side.assigned_client_id, Some(client_id("assigned-1")));
    }
}

#[test]
fn a_client_that_brings_an_id_is_assigned_none() {
    for version in [V31, V311, V5] {
        let assign = || panic!("nobody asked for an id");

        let accepted =
            accept(&connect(version), &limits(), &Features::default(), assign, Instant::now())
                .unwrap();

        assert_eq!(accepted.client_id, client_id("meter-7"));
        assert_eq!(accepted.server_side.assigned_client_id, None);
    }
}

// [MQTT3-3.1.3-6] [MQTT3-3.1.3-7]
#[test]
fn an_empty_client_id_of_3_1_1_needs_clean_session() {
    let mut connect = connect(V311);
    connect.client_id = "";
    assert_eq!(accepted(&connect, &limits()).unwrap().client_id, client_id("assigned-1"));

    connect.clean_start = false;

    assert_eq!(accepted(&connect, &limits()).unwrap_err(), ProtocolError::ClientIdEmpty);
}

#[test]
fn an_empty_client_id_of_3_1_is_refused() {
    let mut connect = connect(V31);
    connect.client_id = "";

    assert_eq!(accepted(&connect, &limits()).unwrap_err(), ProtocolError::ClientIdEmpty);
}

// [MQTT-3.1.3-5]
#[test]
fn a_client_id_may_be_as_long_as_the_limit_and_no_longer() {
    let mut connect = connect(V5);
    let longest = "c".repeat(limits().client_id_bytes_max);
    connect.client_id = &longest;
    assert_eq!(accepted(&connect, &limits()).unwrap().client_id, client_id(&longest));

    let longer = "c".repeat(limits().client_id_bytes_max + 1);
    connect.client_id = &longer;

    let max = limits().client_id_bytes_max;
    assert_eq!(accepted(&connect, &limits()).unwrap_err(), ProtocolError::ClientIdTooLong { max });
}

// [MQTT-3.1.2-21] [MQTT-3.2.2-21]
#[test]
fn a_keep_alive_above_the_limit_is_replaced_by_a_server_keep_alive() {
    let mut connect = connect(V5);
    connect.keep_alive = limits().keep_alive_max + 1;
    let now = Instant::now();

    let accepted =
        accept(&connect, &limits(), &Features::default(), || client_id("x"), now).unwrap();

    assert_eq!(accepted.server_side.keep_alive, Some(600));
    assert_eq!(accepted.connection.keep_alive.deadline(), Some(now + seconds(900)));
}

// [MQTT-3.2.2-22]
#[test]
fn a_keep_alive_within_the_limit_or_off_stays_as_it_is() {
    let now = Instant::now();
    for (keep_alive, deadline) in [(600, Some(now + seconds(900))), (0, None)] {
        let mut connect = connect(V5);
        connect.keep_alive = keep_alive;

        let accepted =
            accept(&connect, &limits(), &Features::default(), || client_id("x"), now).unwrap();

        assert_eq!(accepted.server_side.keep_alive, None);
        assert_eq!(accepted.connection.keep_alive.deadline(), deadline);
    }
}

// [MQTT3-3.1.2-24]: they could not be told of another one.
#[test]
fn clients_before_5_0_keep_the_keep_alive_they_asked_for() {
    for version in [V31, V311] {
        let mut connect = connect(version);
        connect.keep_alive = u16::MAX;
        let now = Instant::now();

        let accepted =
            accept(&connect, &limits(), &Features::default(), || client_id("x"), now).unwrap();

        let allowed = Duration::from_millis(65_535 * 1_500);
        assert_eq!(accepted.server_side.keep_alive, None);
        assert_eq!(accepted.connection.keep_alive.deadline(), Some(now + allowed));
    }
}

// [MQTT-3.1.2-23]
#[test]
fn a_session_expiry_interval_above_the_limit_is_cut_and_the_client_told() {
    for asked in [86_401, u32::MAX] {
        let mut connect = connect(V5);
        connect.properties.session_expiry = asked;

        let accepted = accepted(&connect, &limits()).unwrap();

        assert_eq!(accepted.expiry, expiry(86_400));
        assert_eq!(accepted.server_side.session_expiry, Some(86_400));
    }
}

// [MQTT-3.1.2-23]
#[test]
fn a_session_expiry_interval_within_the_limit_is_granted_silently() {
    let cases = [(0, SessionExpiry::AtDisconnect), (1, expiry(1)), (86_400, expiry(86_400))];
    for (asked, granted) in cases {
        let mut connect = connect(V5);
        connect.properties.session_expiry = asked;

        let accepted = accepted(&connect, &limits()).unwrap();

        assert_eq!(accepted.expiry, granted);
        assert_eq!(accepted.server_side.session_expiry, None);
    }
}

#[test]
fn without_a_limit_a_session_may_last_for_ever() {
    let mut limits = limits();
    limits.expiry_max = SessionExpiry::Never;
    let mut connect = connect(V5);
    connect.properties.session_expiry = u32::MAX;

    let accepted = accepted(&connect, &limits).unwrap();

    assert_eq!(accepted.expiry, SessionExpiry::Never);
    assert_eq!(accepted.server_side.session_expiry, None);
}

// [MQTT3-3.1.2-4] [MQTT3-3.1.2-6]
#[test]
fn clean_session_becomes_clean_start_and_an_expiry() {
    for version in [V31, V311] {
        for (clean, granted) in [(true, SessionExpiry::AtDisconnect), (false, expiry(3_600))] {
            let mut connect = connect(version);
            connect.clean_start = clean;

            let accepted = accepted(&connect, &limits()).unwrap();

            assert_eq!((accepted.clean_start, accepted.expiry), (clean, granted));
            assert_eq!(accepted.server_side.session_expiry, None);
        }
    }
}

// [MQTT-3.3.4-9]
#[test]
fn the_window_is_the_smaller_of_the_clients_and_ours() {
    for (theirs, window) in [(None, 64), (Some(10), 10), (Some(65), 64), (Some(65_535), 64)] {
        let mut connect = connect(V5);
        connect.properties.receive_maximum = theirs.and_then(ReceiveMaximum::new);

        let accepted = accepted(&connect, &limits()).unwrap();

        assert_eq!(accepted.terms.receive_maximum, nonzero(window));
    }
}

// [MQTT-3.1.2-24]
#[test]
fn the_maximum_packet_size_is_the_clients_or_none() {
    let mut connect = connect(V5);
    assert_eq!(accepted(&connect, &limits()).unwrap().terms.maximum_packet_size, usize::MAX);

    connect.properties.maximum_packet_size = NonZeroU32::new(100);

    assert_eq!(accepted(&connect, &limits()).unwrap().terms.maximum_packet_size, 100);
}

// [MQTT-3.1.2-26] [MQTT-3.1.2-27]
#[test]
fn the_topic_aliases_sent_are_as_few_as_either_side_allows() {
    let limits = Limits { topic_aliases_out_max: 3, ..limits() };
    for (maximum, expected) in [(0, 0), (2, 2), (3, 3), (u16::MAX, 3)] {
        let mut connect = connect(V5);
        connect.properties.topic_alias_maximum = maximum;

        let accepted = accepted(&connect, &limits).unwrap();

        assert_eq!(accepted.terms.topic_alias_maximum, expected);
    }
}

/// What a client with this name is told when it asks for Response Information.
fn told(name: &str, limits: &Limits) -> Option<String> {
    let mut connect = connect(V5);
    connect.client_id = name;
    connect.properties.request_response_information = true;
    let server_side = accepted(&connect, limits).unwrap().server_side;
    server_side.response_information.map(|topic| topic.as_str().to_owned())
}

// 5.0 s3.1.2.11.6, s3.2.2.3.15
#[test]
fn who_asks_for_response_information_gets_a_beginning_of_its_own() {
    for (name, expected) in [
        ("meter-7", "response/meter-7"),
        ("floor/2", "response/floor/2"),
        ("$SYS", "response/$SYS"),
        ("", "response/assigned-1"),
    ] {
        assert_eq!(told(name, &limits()).as_deref(), Some(expected));
    }
}

#[test]
fn a_client_id_that_makes_no_topic_gets_no_response_information() {
    let long = "c".repeat(limits().client_id_bytes_max);
    let mut narrow = limits();
    narrow.topic_bytes_max = "response/".len() + long.len() - 1;

    for name in ["a+b", "#", "a/#", "\u{7f}", "2/3/4/5/6"] {
        assert_eq!(told(name, &limits()), None, "{name:?}");
    }
    assert_eq!(told(&long, &narrow), None);
    assert!(told(&long, &limits()).is_some());
}

#[test]
fn without_a_beginning_there_is_no_response_information() {
    let limits = Limits { response_information: None, ..limits() };

    assert_eq!(told("meter-7", &limits), None);
}

// [MQTT-3.1.2-28]
#[test]
fn who_does_not_ask_for_response_information_gets_none() {
    for version in [V31, V311, V5] {
        let accepted = accepted(&connect(version), &limits()).unwrap();

        assert_eq!(accepted.server_side.response_information, None);
    }
}

// [MQTT-3.1.2-24]: it is the one thing that a CONNACK may go without.
#[test]
fn response_information_is_left_out_where_the_client_has_no_room_for_it() {
    let mut connect = connect(V5);
    connect.properties.request_response_information = true;
    let mut bytes_up_to = |maximum: Option<usize>| {
        let maximum = maximum.and_then(|it| NonZeroU32::new(it.try_into().unwrap()));
        connect.properties.maximum_packet_size = maximum;
        let server_side = accepted(&connect, &limits()).unwrap().server_side;
        let mut bytes = Vec::new();
        session::accepted(V5, false, &server_side, &limits(), &mut bytes);
        bytes
    };
    let whole = bytes_up_to(None);

    let fits = bytes_up_to(Some(whole.len()));
    let shorter = bytes_up_to(Some(whole.len() - 1));

    let told = |bytes: &[u8]| {
        with_connack(V5, bytes, |connack| connack.properties.response_information.is_some())
    };
    assert_eq!(fits, whole);
    assert!(told(&whole) && !told(&shorter));
}

// [MQTT-3.1.2-24]: what the server announces it goes by, so that it cannot be left out.
#[test]
fn a_client_without_room_for_its_connack_is_refused() {
    let mut connect = connect(V5);
    connect.client_id = "";
    connect.keep_alive = u16::MAX;
    connect.properties.session_expiry = u32::MAX;
    let mut bytes = Vec::new();
    let server_side = accepted(&connect, &limits()).unwrap().server_side;
    session::accepted(V5, true, &server_side, &limits(), &mut bytes);
    let length = bytes.len();
    let mut accepted_up_to = |maximum: usize| {
        connect.properties.maximum_packet_size = NonZeroU32::new(maximum.try_into().unwrap());
        accepted(&connect, &limits()).map(drop)
    };

    assert_eq!(accepted_up_to(length), Ok(()));
    let maximum = length - 1;
    assert_eq!(accepted_up_to(maximum), Err(ProtocolError::ConnAckTooLarge { length, maximum }));
}

fn proof() -> Option<Proof> {
    Some(Proof { method: "SCRAM-SHA-256", data: b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=".to_vec() })
}

// [MQTT-4.12.0-5] [MQTT-3.1.2-24]
#[test]
fn the_end_of_an_authentication_is_told_before_response_information() {
    let mut connect = connect(V5);
    connect.properties.request_response_information = true;
    let mut proved = |maximum: u32| {
        connect.properties.maximum_packet_size = NonZeroU32::new(maximum);
        let mut accepted = accepted(&connect, &limits()).unwrap();
        accepted.prove(proof(), &limits()).map(|()| accepted.server_side)
    };

    let roomy = proved(1_000).unwrap();
    let narrow = proved(80).unwrap();
    let refused = proved(50);

    assert!(roomy.proof.is_some() && roomy.response_information.is_some());
    assert!(narrow.proof.is_some() && narrow.response_information.is_none());
    assert!(matches!(refused, Err(ProtocolError::ConnAckTooLarge { maximum: 50, .. })));
}

// [MQTT-3.1.2-7] [MQTT-3.1.2-9]
#[test]
fn a_will_is_taken_over_as_it_came() {
    let mut connect = connect(V5);
    let properties =
        WillProperties { delay: 30, message_expiry: Some(60), ..WillProperties::default() };
    let mut asked = will("last/words");
    asked.retain = true;
    asked.properties = properties;
    connect.will = Some(asked);

    let will = accepted(&connect, &limits()).unwrap().will.unwrap();

    assert_eq!((will.delay, will.expiry), (seconds(30), Some(60)));
    assert_eq!(will.message.topic.as_str(), "last/words");
    assert_eq!(&will.message.payload[..], b"gone");
    assert!(will.message.retain);
    // The interval counts from when it is published.
    assert_eq!(will.message.expires_at, None);
}

#[test]
fn a_will_on_a_topic_that_is_none_of_the_clients_refuses_the_connection() {
    let long = "t".repeat(limits().topic_bytes_max + 1);
    let expected = [
        ("sport/+", "wildcard"),
        ("", "empty"),
        (&long, "long"),
        ("1/2/3/4/5/6", "deep"),
        ("$SYS/uptime", "reserved"),
        ("$share/g/t", "reserved"),
    ];
    for (topic, why) in expected {
        let mut connect = connect(V5);
        connect.will = Some(will(topic));

        let error = accepted(&connect, &limits()).unwrap_err();

        let is_right = match why {
            "wildcard" | "empty" => matches!(error, ProtocolError::WillTopic(_)),
            "long" => error == ProtocolError::TopicNameTooLong { max: 64 },
            "deep" => error == ProtocolError::TopicNameTooDeep { max: 5 },
            _ => error == ProtocolError::WillTopicReserved,
        };
        assert!(is_right, "{topic}: {error}");
    }
}

#[test]
fn a_will_topic_may_be_as_long_and_as_deep_as_the_limits() {
    for topic in [&"t".repeat(limits().topic_bytes_max), "1/2/3/4/5"] {
        let mut connect = connect(V5);
        connect.will = Some(will(topic));

        let will = accepted(&connect, &limits()).unwrap().will.unwrap();

        assert_eq!(will.message.topic.as_str(), topic);
    }
}

// [MQTT-3.1.2-29]: before 5.0 there were no Reason Strings to want.
#[test]
fn reasons_go_only_to_those_who_want_them() {
    for (version, asked, wants) in [(V5, true, true), (V5, false, false), (V311, true, false)] {
        let mut connect = connect(version);
        connect.properties.request_problem_information = asked;

        let accepted = accepted(&connect, &limits()).unwrap();

        let told = accepted.connection.reason_string(&Refusal::QueuesFull, 1);
        assert_eq!(told.is_some(), wants);
    }
}
