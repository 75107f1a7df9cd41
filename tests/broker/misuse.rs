//! Well-formed packets that the standard or the product forbids.

use crate::support::{
    BOTH, Broker, Client, Connect, End, Packet, Properties, Value, Version, join, taker,
    wire::{MAXIMUM_PACKET_SIZE, RECEIVE_MAXIMUM, TOPIC_ALIAS, packet, publish, text},
};

async fn publish_ends(broker: &Broker, version: Version, topic: &str) -> End {
    let mut client = join(broker.address, version, "offender").await;
    client.send(&publish(version, 0x30, topic, 0, &Properties::default(), b"x"));
    client.end().await
}

/// [MQTT-3.3.2-2], for 3.1.1 [MQTT3-3.3.2-2]
#[tokio::test]
async fn a_wildcard_in_a_topic_name_is_refused() {
    let broker = Broker::start();
    for topic in ["a/+", "a/#", "#", "+/a", "a+b"] {
        assert_eq!(publish_ends(&broker, Version::V5, topic).await, End::Disconnect(0x90));
        assert_eq!(publish_ends(&broker, Version::V311, topic).await, End::Closed);
    }
}

/// [MQTT-4.7.3-1], for 3.1.1 [MQTT3-4.7.3-1]; 5.0 s3.3.2.1: without an alias either.
#[tokio::test]
async fn an_empty_topic_name_is_refused() {
    let broker = Broker::start();
    let end = publish_ends(&broker, Version::V5, "").await;
    assert!(matches!(end, End::Disconnect(0x82 | 0x90)), "{end:?}");
    assert_eq!(publish_ends(&broker, Version::V311, "").await, End::Closed);
}

/// PRODUCT: 4,096 bytes and 128 levels.
#[tokio::test]
async fn a_topic_name_beyond_the_limits_is_refused() {
    let broker = Broker::start();
    for topic in ["t".repeat(4_097), "/".repeat(128)] {
        assert_eq!(publish_ends(&broker, Version::V5, &topic).await, End::Disconnect(0x90));
        assert_eq!(publish_ends(&broker, Version::V311, &topic).await, End::Closed);
    }
    for topic in ["t".repeat(4_096), "/".repeat(127)] {
        let mut client = taker(broker.address, Version::V5, "client", &topic, 0).await;
        client.publish(&topic, "fits", 0);
        assert_eq!(client.message().await.text(), "fits");
    }
}

/// [MQTT-4.7.1-1]; PRODUCT: 0x8F, for that filter alone or for the connection.
#[tokio::test]
async fn a_topic_filter_of_bad_syntax_is_refused() {
    let broker = Broker::start();
    for filter in ["a/#/b", "a#", "a/b+", "+a", "##", "", "$share/group", "$share//t", "$share/+/t"]
    {
        for version in BOTH {
            let mut client = join(broker.address, version, "offender").await;
            client.send_subscribe(&[(filter, 0)], &Properties::default());

            match client.subscribed_or_closed().await {
                Ok(codes) if version == Version::V5 => assert_eq!(codes, [0x8F], "{filter}"),
                Ok(codes) => assert_eq!(codes, [0x80], "{filter}"),
                Err(End::Disconnect(0x8F | 0x81 | 0x82)) => {}
                Err(End::Closed) if version == Version::V311 => {}
                Err(other) => panic!("{filter} in {version:?}: {other:?}"),
            }
        }
    }
}

/// [MQTT-3.8.3-4]
#[tokio::test]
async fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    let broker = Broker::start();
    let mut client = join(broker.address, Version::V5, "offender").await;

    client.send_subscribe(&[("$share/group/t", 0x04)], &Properties::default());

    assert_eq!(client.end().await, End::Disconnect(0x82));
}

/// [MQTT-3.3.2-8], 5.0 s3.3.4: alias 0, one above the maximum, and one that stands for nothing.
#[tokio::test]
async fn an_impossible_topic_alias_is_refused() {
    let broker = Broker::start();
    let cases: [(&str, u16, &[u8]); 4] =
        [("t", 0, &[0x94]), ("t", 33, &[0x94]), ("t", 65_535, &[0x94]), ("", 5, &[0x82])];
    for (topic, alias, codes) in cases {
        let mut client = join(broker.address, Version::V5, "offender").await;

        let alias = Properties(vec![(TOPIC_ALIAS, Value::Two(alias))]);
        client.send(&publish(Version::V5, 0x30, topic, 0, &alias, b"x"));

        let end = client.end().await;
        assert!(
            matches!(end, End::Disconnect(code) if codes.contains(&code)),
            "{alias:?}: {end:?}"
        );
    }
}

/// [MQTT-3.3.4-6]: only a broker names Subscription Identifiers in a PUBLISH.
#[tokio::test]
async fn a_subscription_identifier_from_a_client_is_refused() {
    let broker = Broker::start();
    let mut client = join(broker.address, Version::V5, "offender").await;

    let named = Properties(vec![(0x0B, Value::Variable(1))]);
    client.send(&publish(Version::V5, 0x30, "t", 0, &named, b"x"));

    let end = client.end().await;
    assert!(matches!(end, End::Disconnect(0x81 | 0x82)), "{end:?}");
}

/// 5.0 s3.8.2.1.2: a Subscription Identifier is never 0.
#[tokio::test]
async fn subscription_identifier_0_is_refused() {
    let broker = Broker::start();
    let mut client = join(broker.address, Version::V5, "offender").await;

    client.send_subscribe(&[("t", 0)], &Properties(vec![(0x0B, Value::Variable(0))]));

    assert_eq!(client.end().await, End::Disconnect(0x82));
}

/// 5.0 s3.3.4: the announced Receive Maximum is enforced, and everything up to it is taken.
#[tokio::test]
async fn more_open_messages_than_the_receive_maximum_are_refused() {
    let broker = Broker::start();
    let mut client = join(broker.address, Version::V5, "offender").await;
    let announced = match client.properties.all(RECEIVE_MAXIMUM)[..] {
        [Value::Two(number)] => *number,
        _ => 65_535,
    };
    assert_eq!(announced, 1_024);
    client.withhold_answers();
    for _ in 0..announced {
        client.publish("t", "x", 2);
    }
    for _ in 0..announced {
        let packet = client.packet().await;
        assert!(matches!(packet, Packet::PubRec { code: 0x00..0x80, .. }), "{packet:?}");
    }

    client.publish("t", "one too many", 2);

    assert_eq!(client.end().await, End::Disconnect(0x93));
}

/// [MQTT-3.3.1-2], for 3.1.1 [MQTT3-3.3.1-2]
#[tokio::test]
async fn dup_at_qos_0_is_refused() {
    let broker = Broker::start();
    for (version, expected) in [
        (Version::V311, &[End::Closed][..]),
        (Version::V5, &[End::Disconnect(0x81), End::Disconnect(0x82)]),
    ] {
        let mut client = join(broker.address, version, "offender").await;

        client.send(&publish(version, 0x38, "t", 0, &Properties::default(), b"x"));

        let end = client.end().await;
        assert!(expected.contains(&end), "{end:?}");
    }
}

/// 5.0 s3.15: AUTH without an Authentication Method in CONNECT.
#[tokio::test]
async fn an_auth_out_of_place_is_refused() {
    let broker = Broker::start();
    let mut client = join(broker.address, Version::V5, "offender").await;

    let body = [vec![0x18, 0x04, 0x15], text("x")].concat();
    client.send(&packet(0xF0, &body));

    assert_eq!(client.end().await, End::Disconnect(0x82));
}

/// PRODUCT: publishing to `$SYS` and `$share` is refused; the acknowledgement of 5.0 says so.
#[tokio::test]
async fn publishing_to_the_brokers_own_topics_is_refused() {
    let broker = Broker::start();
    for topic in ["$SYS/broker/version", "$share/group/t"] {
        let mut client = join(broker.address, Version::V5, "v5").await;
        for qos in [1, 2] {
            assert_eq!(client.publish_and_wait(topic, "x", qos).await, 0x87, "{topic}");
        }
        let mut client = join(broker.address, Version::V311, "v311").await;
        for qos in [1, 2] {
            assert_eq!(client.publish_and_wait(topic, "x", qos).await, 0x00, "{topic}");
        }
        client.ping().await;
    }
}

/// [MQTT-3.1.2-24], [MQTT-3.1.2-25]: what the client cannot take is not sent, and is not waited
/// for.
#[tokio::test]
async fn a_message_above_the_clients_maximum_packet_size_is_left_out() {
    let broker = Broker::start();
    let connect =
        Connect::new(Version::V5, "small").property(MAXIMUM_PACKET_SIZE, Value::Four(1_000));
    let mut small = Client::connect(broker.address, &connect).await;
    small.subscribe("sizes", 2).await;
    let mut publisher = join(broker.address, Version::V5, "publisher").await;

    for qos in [0, 1, 2] {
        publisher.publish_and_wait("sizes", vec![b'x'; 1_000], qos).await;
        publisher.publish_and_wait("sizes", "small", qos).await;
        assert_eq!(small.message().await.text(), "small");
    }
}

/// [MQTT-3.14.4-1]: after DISCONNECT nothing more is read.
#[tokio::test]
async fn what_follows_a_disconnect_is_not_read() {
    let broker = Broker::start();
    for version in BOTH {
        let mut watcher = taker(broker.address, version, "watcher", "after", 1).await;
        let mut client = join(broker.address, version, "client").await;
        let late = publish(version, 0x30, "after", 0, &Properties::default(), b"late");
        client.send(&[&[0xE0, 0x00][..], &late].concat());
        client.end().await;

        let mut publisher = join(broker.address, version, "publisher").await;
        publisher.publish_and_wait("after", "marker", 1).await;

        assert_eq!(watcher.message().await.text(), "marker");
    }
}
