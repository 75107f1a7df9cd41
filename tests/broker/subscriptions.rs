//! Subscriptions: which messages they select and in what form they arrive.

use crate::support::{
    BOTH, Broker, Properties, Value, Version, join, taker,
    wire::{
        CONTENT_TYPE, CORRELATION_DATA, RESPONSE_TOPIC, SUBSCRIPTION_IDENTIFIER, TOPIC_ALIAS,
        TOPIC_ALIAS_MAXIMUM, USER_PROPERTY,
    },
};

const NO_LOCAL: u8 = 0x04;

#[tokio::test]
async fn unsubscribing_ends_the_deliveries() {
    let broker = Broker::start();
    for version in BOTH {
        let mut client = taker(broker.address, version, "client", "over", 1).await;
        client.subscribe("stays", 1).await;
        let codes = client.unsubscribe("over").await;
        let again = client.unsubscribe("over").await;

        client.publish_and_wait("over", "unseen", 1).await;
        client.publish_and_wait("stays", "seen", 1).await;

        assert_eq!(client.message().await.text(), "seen");
        match version {
            Version::V5 => assert_eq!((codes, again), (vec![0x00], vec![0x11])),
            Version::V31 | Version::V311 => assert!(codes.is_empty() && again.is_empty()),
        }
    }
}

/// [MQTT-3.8.4-8], for 3.1.1 [MQTT3-3.8.4-6]
#[tokio::test]
async fn a_message_arrives_with_the_lower_of_both_qos() {
    let broker = Broker::start();
    for version in BOTH {
        for granted in [0, 1, 2] {
            let id = format!("qos-{granted}");
            let mut subscriber = taker(broker.address, version, &id, &id, granted).await;
            let mut publisher = join(broker.address, version, "publisher").await;
            for sent in [0, 1, 2] {
                publisher.publish_and_wait(&id, "x", sent).await;
                assert_eq!(subscriber.message().await.qos, sent.min(granted), "{sent} {granted}");
            }
        }
    }
}

/// [MQTT-3.3.4-2], for 3.1.1 [MQTT3-3.3.5-1]; one copy is what the product chose.
#[tokio::test]
async fn overlapping_filters_deliver_one_copy_at_the_highest_qos() {
    let broker = Broker::start();
    for version in BOTH {
        let mut client = join(broker.address, version, "client").await;
        client.subscribe("home/#", 0).await;
        client.subscribe("home/+/light", 2).await;
        client.subscribe("home/hall/light", 1).await;

        client.publish_and_wait("home/hall/light", "on", 2).await;
        client.publish_and_wait("home/hall", "marker", 2).await;

        let message = client.message().await;
        assert_eq!((message.text(), message.qos), ("on", 2));
        let message = client.message().await;
        assert_eq!((message.text(), message.qos), ("marker", 0));
    }
}

/// [MQTT-3.3.4-3], [MQTT-3.3.4-4]
#[tokio::test]
async fn one_copy_carries_all_subscription_identifiers() {
    let broker = Broker::start();
    let mut client = join(broker.address, Version::V5, "client").await;
    for (filter, qos, identifier) in [("a/#", 0, 1), ("a/+", 2, 70_000), ("a/b", 1, 300)] {
        let named = Properties(vec![(SUBSCRIPTION_IDENTIFIER, Value::Variable(identifier))]);
        client.subscribe_with(&[(filter, qos)], &named).await;
    }
    client.subscribe("+/b", 1).await;

    client.publish_and_wait("a/b", "one", 2).await;
    client.publish_and_wait("a", "two", 2).await;

    let message = client.message().await;
    assert_eq!((message.text(), message.qos), ("one", 2));
    assert_eq!(message.properties.subscription_identifiers(), [1, 300, 70_000]);
    let message = client.message().await;
    assert_eq!(message.text(), "two", "`#` also matches its parent");
    assert_eq!(message.properties.subscription_identifiers(), [1]);
}

/// [MQTT-3.8.4-3]: the same filter again replaces the Subscription, its QoS and its identifier.
#[tokio::test]
async fn subscribing_again_replaces_the_subscription() {
    let broker = Broker::start();
    let mut client = join(broker.address, Version::V5, "client").await;
    let named = Properties(vec![(SUBSCRIPTION_IDENTIFIER, Value::Variable(9))]);
    client.subscribe_with(&[("same", 2)], &named).await;
    client.subscribe("same", 1).await;

    client.publish_and_wait("same", "x", 2).await;

    let message = client.message().await;
    assert_eq!(message.qos, 1);
    assert!(message.properties.subscription_identifiers().is_empty());
    client.ping().await;
    assert!(client.messages.is_empty());
}

/// [MQTT-3.8.3-3]
#[tokio::test]
async fn no_local_keeps_a_clients_own_messages_from_it() {
    let broker = Broker::start();
    let mut client = join(broker.address, Version::V5, "client").await;
    client.subscribe("local", 1 | NO_LOCAL).await;
    let mut other = join(broker.address, Version::V5, "other").await;

    client.publish_and_wait("local", "own", 1).await;
    other.publish_and_wait("local", "foreign", 1).await;

    assert_eq!(client.message().await.text(), "foreign");
}

/// [MQTT-3.3.2-18], [MQTT-3.3.2-20]: forwarded unaltered and in order.
#[tokio::test]
async fn properties_of_a_publish_arrive_unaltered_and_in_order() {
    let broker = Broker::start();
    let mut subscriber = taker(broker.address, Version::V5, "subscriber", "rich", 2).await;
    let mut publisher = join(broker.address, Version::V5, "publisher").await;
    let pair =
        |name: &str, value: &str| (USER_PROPERTY, Value::Pair(name.to_owned(), value.to_owned()));
    let sent = Properties(vec![
        pair("b", "1"),
        (0x01, Value::Byte(1)),
        pair("a", "2"),
        (CONTENT_TYPE, Value::Text("text/plain".to_owned())),
        pair("b", "1"),
        (RESPONSE_TOPIC, Value::Text("answers".to_owned())),
        pair("", ""),
        (CORRELATION_DATA, Value::Binary(vec![0, 255, 7])),
        pair("a", "0"),
    ]);

    for qos in [0, 1, 2] {
        publisher.publish_with(qos << 1, "rich", "text", &sent);
        publisher.wait_for_window(0).await;

        let received = subscriber.message().await.properties;
        let pairs: Vec<&Value> =
            sent.0.iter().filter(|(id, _)| *id == USER_PROPERTY).map(|(_, value)| value).collect();
        assert_eq!(received.all(USER_PROPERTY), pairs);
        for id in [0x01, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA] {
            assert_eq!(received.all(id), sent.all(id), "property {id:#x}");
        }
        assert_eq!(received.0.len(), sent.0.len());
    }
}

/// A 5.0 message reaches a 3.1.1 subscriber without its properties, and the other way round.
#[tokio::test]
async fn versions_meet_in_one_topic() {
    let broker = Broker::start();
    for (from, to) in [
        (Version::V5, Version::V311),
        (Version::V311, Version::V5),
        (Version::V31, Version::V5),
        (Version::V5, Version::V31),
    ] {
        let mut subscriber = taker(broker.address, to, "subscriber", "meet", 2).await;
        let mut publisher = join(broker.address, from, "publisher").await;
        for qos in [0, 1, 2] {
            publisher.publish_and_wait("meet", "hello", qos).await;

            let message = subscriber.message().await;
            assert_eq!((message.topic.as_str(), message.text()), ("meet", "hello"));
            assert_eq!((message.qos, message.properties), (qos, Properties::default()));
        }
    }
}

/// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-4], for 3.1.1 [MQTT3-4.7.1-2] [MQTT3-4.7.1-3]
/// [MQTT3-4.7.3-4]
#[tokio::test]
async fn filters_select_as_the_standard_shows() {
    let broker = Broker::start();
    let cases = [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("a//b", "a//b", true),
        ("a/+/b", "a//b", true),
        ("ACCOUNTS", "Accounts", false),
        ("#", "anything/at/all", true),
        ("#", "$other", false),
        ("+/x", "$other/x", false),
        ("$other/+", "$other/x", true),
    ];
    let mut publisher = join(broker.address, Version::V311, "publisher").await;
    for (filter, topic, matches) in cases {
        let mut client = taker(broker.address, Version::V5, "client", filter, 1).await;
        client.subscribe("the/marker", 1).await;

        publisher.publish_and_wait(topic, "case", 1).await;
        publisher.publish_and_wait("the/marker", "marker", 1).await;

        let message = client.message().await;
        assert_eq!(message.text() == "case", matches, "{filter} and {topic}");
    }
}

/// [MQTT-3.8.4-6], [MQTT-3.8.3-2]: one code for each filter, in order.
#[tokio::test]
async fn one_subscribe_may_hold_many_filters() {
    let broker = Broker::start();
    for version in BOTH {
        let mut client = join(broker.address, version, "client").await;

        let codes = client
            .subscribe_with(&[("m/0", 0), ("m/1", 1), ("m/2", 2), ("m/+", 0)], &Default::default())
            .await;

        assert_eq!(codes, [0, 1, 2, 0]);
        client.publish_and_wait("m/1", "x", 2).await;
        assert_eq!(client.message().await.qos, 1);
    }
}

/// [MQTT-3.3.2-9], 5.0 s3.3.2.3.4: an alias stands for its topic until it is given another.
#[tokio::test]
async fn a_topic_alias_stands_for_its_topic() {
    let broker = Broker::start();
    let mut subscriber = taker(broker.address, Version::V5, "subscriber", "alias/#", 1).await;
    let mut publisher = join(broker.address, Version::V5, "publisher").await;
    let announced = publisher.properties.all(TOPIC_ALIAS_MAXIMUM);
    assert_eq!(announced, [&Value::Two(32)], "PRODUCT: Topic Aliases in 32");
    let alias = Properties(vec![(TOPIC_ALIAS, Value::Two(1))]);

    for topic in ["alias/one", "", "", "alias/two", ""] {
        publisher.publish_with(0x02, topic, "x", &alias);
    }
    publisher.wait_for_window(0).await;

    for expected in ["alias/one", "alias/one", "alias/one", "alias/two", "alias/two"] {
        let message = subscriber.message().await;
        assert_eq!(message.topic, expected);
        assert!(message.properties.all(TOPIC_ALIAS).is_empty(), "an alias is a connection's own");
    }
}

/// PRODUCT: 0x10 to 5.0 publishers when nobody is subscribed.
#[tokio::test]
async fn a_publisher_learns_that_nobody_is_subscribed() {
    let broker = Broker::start();
    let mut publisher = join(broker.address, Version::V5, "publisher").await;

    assert_eq!(publisher.publish_and_wait("nobody", "x", 1).await, 0x10);

    let _subscriber = taker(broker.address, Version::V5, "subscriber", "nobody", 0).await;
    assert_eq!(publisher.publish_and_wait("nobody", "x", 1).await, 0x00);
    assert_eq!(publisher.publish_and_wait("nobody", "x", 2).await, 0x00);
}
