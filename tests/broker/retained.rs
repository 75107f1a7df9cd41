//! Retained Messages: kept, replaced, cleared, and replayed as the Subscription asks.

use std::collections::BTreeSet;

use crate::support::{
    BOTH, Broker, Client, Connect, Properties, Value, Version, join, taker,
    wire::{Message, RECEIVE_MAXIMUM, SUBSCRIPTION_IDENTIFIER, acknowledge},
};

const MANY: u32 = 10_000;
const RETAIN_AS_PUBLISHED: u8 = 0x08;
const RETAIN_IF_NEW: u8 = 0x10;
const RETAIN_NEVER: u8 = 0x20;

/// A subscriber with a small Receive Maximum is in the middle of a long replay for as long as it
/// answers nothing; what passes between others meanwhile passes during the replay.
#[tokio::test]
async fn ten_thousand_retained_messages_are_replayed_while_others_go_on() {
    let broker = Broker::start();
    let mut publisher = join(broker.address, Version::V311, "publisher").await;
    for number in 0..MANY {
        publisher.publish_retained(&format!("stock/{number}"), &number.to_string(), 1);
        publisher.wait_for_window(500).await;
    }
    publisher.wait_for_window(0).await;
    let mut other = taker(broker.address, Version::V5, "other", "pair", 1).await;

    let narrow = Connect::new(Version::V5, "reader").property(RECEIVE_MAXIMUM, Value::Two(10));
    let mut reader = Client::connect(broker.address, &narrow).await;
    reader.withhold_answers();
    reader.subscribe("stock/+", 1).await;
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(reader.message().await);
    }
    for number in 0..200_u32 {
        publisher.publish("pair", number.to_string(), 1);
        assert_eq!(other.message().await.number(), number, "while the replay stands still");
    }
    publisher.wait_for_window(0).await;

    reader.give_answers();
    for message in &held {
        reader.send(&acknowledge(0x40, message.packet_id));
    }
    let replay = async {
        while held.len() < MANY as usize {
            held.push(reader.message().await);
        }
    };
    let traffic = async {
        for number in 0..500_u32 {
            publisher.publish("pair", number.to_string(), 1);
            assert_eq!(other.message().await.number(), number, "while the replay runs");
        }
        publisher.wait_for_window(0).await;
    };
    tokio::join!(replay, traffic);

    assert!(held.iter().all(|message| message.retain && message.qos == 1));
    let distinct: BTreeSet<u32> = held.iter().map(Message::number).collect();
    assert_eq!(distinct, (0..MANY).collect());
    reader.ping().await;
    assert!(reader.messages.is_empty(), "nothing came twice");
}

/// The same flood at QoS 0, where no acknowledgement paces the broker, only the socket.
#[tokio::test]
async fn ten_thousand_retained_messages_arrive_at_qos_0_too() {
    let broker = Broker::start();
    let mut publisher = join(broker.address, Version::V311, "publisher").await;
    for number in 0..MANY {
        publisher.publish_retained(&format!("stock/{number}"), &number.to_string(), 1);
        publisher.wait_for_window(500).await;
    }
    publisher.wait_for_window(0).await;

    let mut reader = taker(broker.address, Version::V311, "reader", "#", 0).await;
    let mut distinct = BTreeSet::new();
    for _ in 0..MANY {
        let message = reader.message().await;
        assert!(message.retain && message.qos == 0);
        distinct.insert(message.number());
    }

    assert_eq!(distinct, (0..MANY).collect());
}

/// A value replaced while the replay stands still is never followed by its older one.
#[tokio::test]
async fn a_replay_never_sends_an_older_value_after_a_newer_one() {
    let broker = Broker::start();
    let mut publisher = join(broker.address, Version::V5, "publisher").await;
    for number in 0..500 {
        publisher.publish_retained(&format!("value/{number}"), "1", 1);
    }
    publisher.wait_for_window(0).await;
    let narrow = Connect::new(Version::V5, "reader").property(RECEIVE_MAXIMUM, Value::Two(5));
    let mut reader = Client::connect(broker.address, &narrow).await;
    reader.withhold_answers();
    reader.subscribe("value/+", 1).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(reader.message().await);
    }

    for number in 0..500 {
        publisher.publish_retained(&format!("value/{number}"), "2", 1);
    }
    publisher.publish("value/end", "3", 1);
    publisher.wait_for_window(0).await;
    reader.give_answers();
    for message in held.clone() {
        reader.send(&acknowledge(0x40, message.packet_id));
    }
    let mut newest = std::collections::BTreeMap::new();
    let mut twos = 0;
    for message in held {
        newest.insert(message.topic.clone(), message.number());
    }
    while twos < 500 || !newest.contains_key("value/end") {
        let message = reader.message().await;
        let before = newest.insert(message.topic.clone(), message.number());
        assert!(before <= Some(message.number()), "{}: an older value came later", message.topic);
        twos += u32::from(message.number() == 2 && before != Some(2));
    }
    reader.ping().await;

    for message in reader.messages {
        assert_eq!(newest[&message.topic], message.number(), "{}", message.topic);
    }
}

/// [MQTT-3.3.1-6], for 3.1.1 [MQTT3-3.3.1-10]
#[tokio::test]
async fn an_empty_payload_clears_the_retained_message() {
    let broker = Broker::start();
    for version in BOTH {
        let topic = format!("clear/{version:?}");
        let mut live = taker(broker.address, version, "live", &topic, 1).await;
        let mut publisher = join(broker.address, version, "publisher").await;

        let stored = publisher.publish_retained(&topic, "kept", 1);
        publisher.published(stored).await;
        let cleared = publisher.publish_retained(&topic, "", 1);
        publisher.published(cleared).await;

        let mut late = taker(broker.address, version, "late", &topic, 1).await;
        publisher.publish_and_wait(&topic, "marker", 1).await;
        assert_eq!(late.message().await.text(), "marker");
        for expected in ["kept", "", "marker"] {
            let message = live.message().await;
            assert_eq!((message.text(), message.retain), (expected, false));
        }
    }
}

/// [MQTT-3.3.1-5], for 3.1.1 [MQTT3-3.3.1-5], [MQTT3-3.3.1-8]
#[tokio::test]
async fn the_newest_retained_message_replaces_the_older_and_a_plain_one_does_not() {
    let broker = Broker::start();
    for version in BOTH {
        let mut publisher = join(broker.address, version, "publisher").await;
        for payload in ["old", "new"] {
            let packet_id = publisher.publish_retained("replace", payload, 2);
            publisher.published(packet_id).await;
        }
        publisher.publish_and_wait("replace", "passing", 2).await;

        let mut late = taker(broker.address, version, "late", "replace", 1).await;

        let message = late.message().await;
        assert_eq!((message.text(), message.retain, message.qos), ("new", true, 1));
    }
}

/// [MQTT3-3.8.4-3]; [MQTT-3.3.1-9]: with Retain Handling 0 every SUBSCRIBE replays.
#[tokio::test]
async fn subscribing_again_replays_again() {
    let broker = Broker::start();
    for version in BOTH {
        let mut client = join(broker.address, version, "client").await;
        let packet_id = client.publish_retained("again", "kept", 1);
        client.published(packet_id).await;

        for _ in 0..3 {
            assert_eq!(client.subscribe("again", 1).await, 1);
            let message = client.message().await;
            assert_eq!((message.text(), message.retain), ("kept", true));
        }
    }
}

/// [MQTT-3.3.1-10], [MQTT-3.3.1-11]
#[tokio::test]
async fn retain_handling_decides_about_the_replay() {
    let broker = Broker::start();
    let mut publisher = join(broker.address, Version::V5, "publisher").await;
    let packet_id = publisher.publish_retained("handling", "kept", 1);
    publisher.published(packet_id).await;
    let mut client = join(broker.address, Version::V5, "client").await;

    client.subscribe("handling", 1 | RETAIN_NEVER).await;
    publisher.publish_and_wait("handling", "after never", 1).await;
    assert_eq!(client.message().await.text(), "after never");

    client.subscribe("handling", 1 | RETAIN_IF_NEW).await;
    publisher.publish_and_wait("handling", "not new", 1).await;
    assert_eq!(client.message().await.text(), "not new");

    client.unsubscribe("handling").await;
    client.subscribe("handling", 1 | RETAIN_IF_NEW).await;
    assert_eq!(client.message().await.text(), "kept");

    client.subscribe("handling", 1).await;
    assert_eq!(client.message().await.text(), "kept");
}

/// [MQTT-3.3.1-12], [MQTT-3.3.1-13]
#[tokio::test]
async fn retain_as_published_keeps_the_flag_of_a_live_message() {
    let broker = Broker::start();
    let mut keeps = join(broker.address, Version::V5, "keeps").await;
    keeps.subscribe("flag", 1 | RETAIN_AS_PUBLISHED).await;
    let mut plain = taker(broker.address, Version::V5, "plain", "flag", 1).await;
    let mut publisher = join(broker.address, Version::V5, "publisher").await;

    let packet_id = publisher.publish_retained("flag", "retained", 1);
    publisher.published(packet_id).await;
    publisher.publish_and_wait("flag", "passing", 1).await;

    let flags = [keeps.message().await.retain, keeps.message().await.retain];
    assert_eq!(flags, [true, false]);
    let flags = [plain.message().await.retain, plain.message().await.retain];
    assert_eq!(flags, [false, false]);
}

/// [MQTT-3.3.4-3]: a replayed message names the Subscription that asked for it.
#[tokio::test]
async fn a_replayed_message_carries_the_subscription_identifier() {
    let broker = Broker::start();
    let mut client = join(broker.address, Version::V5, "client").await;
    let packet_id = client.publish_retained("named/one", "kept", 1);
    client.published(packet_id).await;

    let named = Properties(vec![(SUBSCRIPTION_IDENTIFIER, Value::Variable(268_435_455))]);
    client.subscribe_with(&[("named/#", 1)], &named).await;

    let message = client.message().await;
    assert_eq!(message.properties.subscription_identifiers(), [268_435_455]);
}

/// [MQTT-4.7.2-1]: a filter that starts with a wildcard sees no topic that starts with `$`.
#[tokio::test]
async fn a_leading_wildcard_replays_no_dollar_topics() {
    let broker = Broker::start();
    let mut client = join(broker.address, Version::V311, "client").await;
    for topic in ["$local/secret", "open"] {
        let packet_id = client.publish_retained(topic, topic, 1);
        client.published(packet_id).await;
    }

    client.subscribe("#", 1).await;
    assert_eq!(client.message().await.topic, "open");
    client.subscribe("+/secret", 1).await;
    client.subscribe("$local/#", 1).await;

    assert_eq!(client.message().await.topic, "$local/secret");
    client.ping().await;
    assert!(client.messages.is_empty());
}
