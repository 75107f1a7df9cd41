//! What a listener lets its clients use, and what becomes of the rest in each version.

use std::time::Instant;

use dunlin::packet::{
    Delivery, FilterRequest, ProtocolVersion, ProtocolVersions, Publish, PublishProperties, QoS,
    ReasonCode, RetainHandling, SubscriptionOptions,
};
use dunlin::session::{
    self, Accepted, Connection, Features, ProtocolError, Refusal, ServerSide, accept,
};

use crate::connack::with_connack;
use crate::support::{
    V5, V31, V311, client_id, connect, id, limits, subscription_id, unheard_of, will as will_on,
};

const ALL: [ProtocolVersion; 3] = [V31, V311, V5];

fn up_to(qos_max: QoS) -> Features {
    Features { qos_max, ..Features::default() }
}

fn without_retain() -> Features {
    Features { retain: false, ..Features::default() }
}

fn accepted_with(
    version: ProtocolVersion,
    features: &Features,
    will: Option<(QoS, bool)>,
) -> Result<Accepted, ProtocolError> {
    let mut connect = connect(version);
    connect.will = will.map(|(qos, retain)| {
        let mut asked = will_on("last/words");
        (asked.qos, asked.retain) = (qos, retain);
        asked
    });
    accept(&connect, &limits(), features, || client_id("x"), Instant::now())
}

fn connection(version: ProtocolVersion, features: &Features) -> Connection {
    accepted_with(version, features, None).unwrap().connection
}

fn published(
    version: ProtocolVersion,
    features: &Features,
    (qos, retain): (QoS, bool),
) -> Result<(), ProtocolError> {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { id: id(1), dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id: id(1), dup: false },
    };
    let properties = PublishProperties::default();
    let publish = Publish { delivery, retain, topic: b"a", properties, payload: b"21.5" };
    connection(version, features).publish(&publish, &limits(), unheard_of).map(drop)
}

fn subscribed(
    version: ProtocolVersion,
    features: &Features,
    filter: &str,
) -> Result<Option<Refusal>, ProtocolError> {
    let options = SubscriptionOptions::new(QoS::AtLeastOnce);
    let request = FilterRequest { filter, options };
    connection(version, features).subscribe(&request, &limits()).map(Result::err)
}

// [MQTT-3.1.2-2] [MQTT3-3.1.2-2]
#[test]
fn a_version_that_a_listener_does_not_serve_is_refused_by_its_name() {
    let protocols = ProtocolVersions::from_iter([V311]);
    let features = Features { protocols, ..Features::default() };

    assert_eq!(features.check_version(V311, "devices"), Ok(()));
    for version in [V31, V5] {
        let error = features.check_version(version, "devices").unwrap_err();

        assert_eq!(error, ProtocolError::VersionNotServed { version, listener: "devices".into() });
        let text = error.to_string();
        assert!(text.contains("listener `devices`"), "{text}");
        assert!(text.contains("listener.protocols"), "{text}");
    }
}

#[test]
fn a_set_of_versions_holds_what_it_was_made_of() {
    let some = ProtocolVersions::from_iter([V5, V31, V5]);

    assert_eq!(some.iter().collect::<Vec<_>>(), [V31, V5]);
    assert!(!some.contains(V311));
    assert!(!some.is_empty() && ProtocolVersions::from_iter([]).is_empty());
    assert_eq!(ProtocolVersions::from_iter(ALL), ProtocolVersions::ALL);
}

// [MQTT-3.2.2-9]; 5.0 s3.2.2.3.5, s3.2.2.3.11 to s3.2.2.3.13
#[test]
fn a_5_0_client_is_told_what_its_listener_leaves_out() {
    let features = Features {
        qos_max: QoS::AtLeastOnce,
        retain: false,
        wildcards: false,
        shared: false,
        subscription_ids: false,
        ..Features::default()
    };
    let server_side = accepted_with(V5, &features, None).unwrap().server_side;
    let mut bytes = Vec::new();

    session::accepted(V5, false, &server_side, &limits(), &mut bytes);

    with_connack(V5, &bytes, |connack| {
        let properties = connack.properties;
        assert_eq!(properties.maximum_qos, QoS::AtLeastOnce);
        assert!(!properties.retain_available);
        assert!(!properties.wildcard_subscription_available);
        assert!(!properties.shared_subscription_available);
        assert!(!properties.subscription_ids_available);
    });
}

#[test]
fn each_feature_is_announced_on_its_own() {
    let all = Features::default();
    let cases = [
        Features { qos_max: QoS::AtMostOnce, ..all },
        Features { retain: false, ..all },
        Features { wildcards: false, ..all },
        Features { shared: false, ..all },
        Features { subscription_ids: false, ..all },
    ];
    for features in cases {
        let server_side = ServerSide { features, ..ServerSide::default() };
        let mut bytes = Vec::new();

        session::accepted(V5, false, &server_side, &limits(), &mut bytes);

        with_connack(V5, &bytes, |connack| {
            let told = Features {
                qos_max: connack.properties.maximum_qos,
                retain: connack.properties.retain_available,
                wildcards: connack.properties.wildcard_subscription_available,
                shared: connack.properties.shared_subscription_available,
                subscription_ids: connack.properties.subscription_ids_available,
                ..all
            };
            assert_eq!(told, features);
        });
    }
}

// [MQTT-3.2.2-12]
#[test]
fn a_will_above_the_maximum_qos_refuses_the_connection() {
    for version in ALL {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let error = accepted_with(version, &up_to(QoS::AtMostOnce), Some((qos, false)));

            let error = error.unwrap_err();
            assert_eq!(error, ProtocolError::WillQoS { qos: qos.bits(), max: 0 });
            assert_eq!(error.reason(), ReasonCode::QoSNotSupported);
            assert!(error.to_string().contains("listener.qos_max"), "{error}");
        }
        let up_to_one = up_to(QoS::AtLeastOnce);
        assert!(accepted_with(version, &up_to_one, Some((QoS::AtLeastOnce, false))).is_ok());
    }
}

// [MQTT-3.2.2-13]
#[test]
fn a_will_to_be_retained_refuses_the_connection_where_nothing_is() {
    for version in ALL {
        let refused = accepted_with(version, &without_retain(), Some((QoS::AtMostOnce, true)));

        let error = refused.unwrap_err();
        assert_eq!(error, ProtocolError::WillRetain);
        assert_eq!(error.reason(), ReasonCode::RetainNotSupported);
        let allowed = accepted_with(version, &without_retain(), Some((QoS::ExactlyOnce, false)));
        assert!(allowed.is_ok());
    }
}

// [MQTT-3.2.2-11]: a 3.1.1 client cannot be told, and dropping its message would be silent.
#[test]
fn a_publish_above_the_maximum_qos_ends_the_connection() {
    for version in ALL {
        for (qos, max) in [
            (QoS::AtLeastOnce, QoS::AtMostOnce),
            (QoS::ExactlyOnce, QoS::AtMostOnce),
            (QoS::ExactlyOnce, QoS::AtLeastOnce),
        ] {
            let error = published(version, &up_to(max), (qos, false)).unwrap_err();

            assert_eq!(error, ProtocolError::PublishQoS { qos: qos.bits(), max: max.bits() });
            assert_eq!(error.reason(), ReasonCode::QoSNotSupported);
            assert!(error.to_string().contains("listener.qos_max"), "{error}");
            assert_eq!(published(version, &up_to(max), (max, true)), Ok(()));
        }
    }
}

// [MQTT-3.2.2-14]
#[test]
fn a_publish_to_be_retained_ends_the_connection_where_nothing_is() {
    for version in ALL {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let error = published(version, &without_retain(), (qos, true)).unwrap_err();

            assert_eq!(error, ProtocolError::PublishRetain);
            assert_eq!(error.reason(), ReasonCode::RetainNotSupported);
            assert!(error.to_string().contains("listener.retain"), "{error}");
            assert_eq!(published(version, &without_retain(), (qos, false)), Ok(()));
        }
    }
}

// [MQTT-3.2.2-10] [MQTT-3.8.4-7]
#[test]
fn a_subscription_above_the_maximum_qos_is_granted_the_maximum() {
    for version in ALL {
        let connection = connection(version, &up_to(QoS::AtLeastOnce));
        for (asked, granted) in [
            (QoS::AtMostOnce, QoS::AtMostOnce),
            (QoS::AtLeastOnce, QoS::AtLeastOnce),
            (QoS::ExactlyOnce, QoS::AtLeastOnce),
        ] {
            let options = SubscriptionOptions::new(asked);

            assert_eq!(connection.grant(options), SubscriptionOptions { qos: granted, ..options });
        }
    }
}

// 5.0 s3.2.2.3.5
#[test]
fn without_retain_no_retained_messages_are_sent() {
    for version in ALL {
        let (with, without) =
            (connection(version, &Features::default()), connection(version, &without_retain()));
        for retain_handling in [RetainHandling::Always, RetainHandling::IfNew] {
            let options = SubscriptionOptions {
                retain_handling,
                ..SubscriptionOptions::new(QoS::AtMostOnce)
            };

            assert_eq!(without.grant(options).retain_handling, RetainHandling::Never);
            assert_eq!(with.grant(options), options);
        }
        // Those that a Session brings from another listener.
        assert!(with.replays() && !without.replays());
    }
}

// 5.0 s3.2.2.3.12
#[test]
fn a_subscription_identifier_ends_the_connection_where_there_are_none() {
    let features = Features { subscription_ids: false, ..Features::default() };
    let connection = connection(V5, &features);

    let error = connection.check_subscription_id(Some(subscription_id(7))).unwrap_err();

    assert_eq!(error.reason(), ReasonCode::SubscriptionIdentifiersNotSupported);
    assert!(error.to_string().contains("listener.subscription_ids"), "{error}");
    assert_eq!(connection.check_subscription_id(None), Ok(()));
}

/// What a filter is refused with if both kinds are off, one of them, or none.
const FILTERS: [(&str, [Option<ReasonCode>; 4]); 6] = {
    const SHARED: Option<ReasonCode> = Some(ReasonCode::SharedSubscriptionsNotSupported);
    const WILDCARD: Option<ReasonCode> = Some(ReasonCode::WildcardSubscriptionsNotSupported);
    [
        // Neither, no `shared`, no `wildcards`, all.
        ("a/b", [None, None, None, None]),
        ("a/+", [WILDCARD, None, WILDCARD, None]),
        ("#", [WILDCARD, None, WILDCARD, None]),
        ("$share/g/a", [SHARED, SHARED, None, None]),
        ("$share/g/a/+", [SHARED, SHARED, WILDCARD, None]),
        ("$share/g/#", [SHARED, SHARED, WILDCARD, None]),
    ]
};

fn with_and_without() -> [Features; 4] {
    [(false, false), (true, false), (false, true), (true, true)]
        .map(|(wildcards, shared)| Features { wildcards, shared, ..Features::default() })
}

// 5.0 s3.2.2.3.11, s3.2.2.3.13: a Protocol Error of a client that was told.
#[test]
fn a_5_0_client_that_asks_for_what_it_was_told_it_cannot_have_is_closed() {
    for (filter, expected) in FILTERS {
        for (features, reason) in with_and_without().iter().zip(expected) {
            let result = subscribed(V5, features, filter);

            let code = result.as_ref().err().map(ProtocolError::reason);
            assert_eq!(code, reason, "{filter} with {features:?}: {result:?}");
        }
    }
}

// [MQTT3-3.9.3-2]: who could not be told keeps its connection and its other filters.
#[test]
fn a_client_before_5_0_is_refused_that_filter_alone() {
    for version in [V31, V311] {
        for (filter, expected) in FILTERS {
            for (features, reason) in with_and_without().iter().zip(expected) {
                let result = subscribed(version, features, filter).unwrap();

                let Some(reason) = reason else { continue };
                let refusal = result.unwrap();
                assert_eq!(refusal.reason(), reason, "{filter} with {features:?}");
                assert_eq!(refusal.suback_code(version), ReasonCode::UnspecifiedError);
                assert!(refusal.to_string().contains("listener."), "{refusal}");
            }
        }
    }
}

#[test]
fn a_filter_of_bad_syntax_is_that_first() {
    let [neither, ..] = with_and_without();

    for filter in ["a/#/b", "$share//t"] {
        let refusal = subscribed(V5, &neither, filter).unwrap().unwrap();

        assert_eq!(refusal.reason(), ReasonCode::TopicFilterInvalid);
    }
}
