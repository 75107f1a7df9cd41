//! Will Messages: sent when a connection ends any other way than by a plain DISCONNECT.

use crate::support::{
    BOTH, Broker, Client, Connect, End, Packet, Value, Version, Will, join, taker,
    wire::{SESSION_EXPIRY_INTERVAL, WILL_DELAY_INTERVAL, publish},
};

async fn victim(broker: &Broker, version: Version, will: Will) -> Client {
    Client::connect(broker.address, &Connect::new(version, "victim").will(will)).await
}

/// [MQTT-3.1.2-8], for 3.1.1 [MQTT3-3.1.2-8]
#[tokio::test]
async fn a_reset_connection_sends_the_will() {
    let broker = Broker::start();
    for version in BOTH {
        let mut watcher = taker(broker.address, version, "watcher", "will", 1).await;
        let client = victim(&broker, version, Will::new("will", "reset")).await;

        client.reset();

        let message = watcher.message().await;
        assert_eq!((message.text(), message.qos, message.retain), ("reset", 1, false));
    }
}

#[tokio::test]
async fn a_connection_closed_without_disconnect_sends_the_will() {
    let broker = Broker::start();
    for version in BOTH {
        let mut watcher = taker(broker.address, version, "watcher", "will", 1).await;
        let client = victim(&broker, version, Will::new("will", "closed")).await;

        drop(client);

        assert_eq!(watcher.message().await.text(), "closed");
    }
}

/// A protocol error ends the connection from the broker's side.
#[tokio::test]
async fn a_connection_the_broker_ends_for_an_error_sends_the_will() {
    let broker = Broker::start();
    for version in BOTH {
        let mut watcher = taker(broker.address, version, "watcher", "will", 1).await;
        let mut client = victim(&broker, version, Will::new("will", "error")).await;

        client.send(&publish(version, 0x30, "wild/#", 0, &Default::default(), b""));
        client.end().await;

        assert_eq!(watcher.message().await.text(), "error");
    }
}

/// [MQTT-3.1.2-10], for 3.1.1 [MQTT3-3.1.2-10]
#[tokio::test]
async fn a_disconnect_discards_the_will() {
    let broker = Broker::start();
    for version in BOTH {
        let mut watcher = taker(broker.address, version, "watcher", "will", 1).await;

        victim(&broker, version, Will::new("will", "never")).await.disconnect(0).await;
        victim(&broker, version, Will::new("will", "later")).await.reset();

        assert_eq!(watcher.message().await.text(), "later");
    }
}

/// 5.0 s3.14.2.1: 0x04 Disconnect with Will Message.
#[tokio::test]
async fn a_disconnect_with_0x04_sends_the_will() {
    let broker = Broker::start();
    let mut watcher = taker(broker.address, Version::V5, "watcher", "will", 1).await;
    let client = victim(&broker, Version::V5, Will::new("will", "on purpose")).await;

    client.disconnect(0x04).await;

    assert_eq!(watcher.message().await.text(), "on purpose");
}

/// [MQTT-3.1.2-15], for 3.1.1 [MQTT3-3.1.2-17]
#[tokio::test]
async fn a_will_may_be_a_retained_message() {
    let broker = Broker::start();
    for version in BOTH {
        let topic = format!("will/{version:?}");
        let mut watcher = taker(broker.address, version, "watcher", &topic, 1).await;
        victim(&broker, version, Will::new(&topic, "kept").retained()).await.reset();
        let live = watcher.message().await;

        let mut late = taker(broker.address, version, "late", &topic, 1).await;
        let replayed = late.message().await;

        assert_eq!((live.text(), live.retain), ("kept", false));
        assert_eq!((replayed.text(), replayed.retain), ("kept", true));
    }
}

/// [MQTT-3.1.3-9]
#[tokio::test]
async fn a_delayed_will_is_not_sent_when_its_client_returns() {
    let broker = Broker::start();
    let mut watcher = taker(broker.address, Version::V5, "watcher", "will", 1).await;
    let delayed = Will::new("will", "too early").property(WILL_DELAY_INTERVAL, Value::Four(3_000));
    let connect = Connect::lasting(Version::V5, "victim");

    Client::connect(broker.address, &connect.clone().will(delayed)).await.reset();
    let back = Client::connect(broker.address, &connect).await;
    assert!(back.session_present);
    back.disconnect(0).await;
    let mut publisher = join(broker.address, Version::V5, "publisher").await;
    publisher.publish_and_wait("will", "marker", 1).await;

    assert_eq!(watcher.message().await.text(), "marker");
}

/// [MQTT-3.1.2-8]: the end of the Session does not wait for the delay.
#[tokio::test]
async fn a_delayed_will_is_sent_when_its_session_ends() {
    let broker = Broker::start();
    let mut watcher = taker(broker.address, Version::V5, "watcher", "will", 1).await;
    let delayed = || Will::new("will", "ended").property(WILL_DELAY_INTERVAL, Value::Four(3_000));

    // Without a Session Expiry Interval the Session ends with the connection.
    Client::connect(broker.address, &Connect::new(Version::V5, "short").will(delayed()))
        .await
        .reset();
    assert_eq!(watcher.message().await.text(), "ended");

    // A Clean Start ends a Session that was waiting.
    let waiting = Connect::lasting(Version::V5, "waiting").will(delayed());
    Client::connect(broker.address, &waiting).await.reset();
    let _new = Client::connect(broker.address, &Connect::new(Version::V5, "waiting")).await;
    assert_eq!(watcher.message().await.text(), "ended");

    // So does an interval that runs out first.
    let brief = Connect::new(Version::V5, "brief")
        .property(SESSION_EXPIRY_INTERVAL, Value::Four(1))
        .will(delayed());
    Client::connect(broker.address, &brief).await.reset();
    assert_eq!(watcher.message().await.text(), "ended");
}

/// The Will goes the way of any other message: to its sender's own Session, with its properties.
#[tokio::test]
async fn a_will_carries_its_properties() {
    let broker = Broker::start();
    let mut watcher = taker(broker.address, Version::V5, "watcher", "will", 1).await;
    let properties = [
        (0x01, Value::Byte(1)),
        (0x03, Value::Text("text/plain".to_owned())),
        (0x08, Value::Text("answer/here".to_owned())),
        (0x09, Value::Binary(vec![1, 2, 3])),
        (0x26, Value::Pair("a".to_owned(), "1".to_owned())),
        (0x26, Value::Pair("a".to_owned(), "2".to_owned())),
    ];
    let mut will = Will::new("will", "rich");
    for (id, value) in properties.clone() {
        will = will.property(id, value);
    }

    victim(&broker, Version::V5, will).await.reset();

    let message = watcher.message().await;
    for (id, _) in &properties {
        let expected: Vec<&Value> =
            properties.iter().filter(|(other, _)| other == id).map(|(_, value)| value).collect();
        assert_eq!(message.properties.all(*id), expected, "property {id:#x}");
    }
}

/// 5.0 s3.14.2.2.2: a DISCONNECT that raises a Session Expiry Interval of 0 is a Protocol Error,
/// does not count as a DISCONNECT, and the Will is sent.
#[tokio::test]
async fn a_disconnect_that_may_not_extend_the_session_sends_the_will() {
    let broker = Broker::start();
    let mut watcher = taker(broker.address, Version::V5, "watcher", "will", 1).await;
    let mut client = victim(&broker, Version::V5, Will::new("will", "error")).await;

    client.send(&[0xE0, 0x07, 0x00, 0x05, SESSION_EXPIRY_INTERVAL, 0, 0, 0, 9]);

    assert_eq!(client.end().await, End::Disconnect(0x82));
    assert_eq!(watcher.message().await.text(), "error");
}

/// The connection is over for its client, yet what it sent last is still worked off.
#[tokio::test]
async fn what_was_sent_before_the_close_is_delivered_before_the_will() {
    let broker = Broker::start();
    let mut watcher = taker(broker.address, Version::V311, "watcher", "will", 1).await;
    let mut client = victim(&broker, Version::V311, Will::new("will", "last")).await;

    for number in 0..100 {
        client.publish("will", number.to_string(), 1);
    }
    client.flush().await;
    client.finish_writing();

    for number in 0..100 {
        assert_eq!(watcher.message().await.number(), number);
    }
    assert_eq!(watcher.message().await.text(), "last");
    let first = client.packet().await;
    assert!(matches!(first, Packet::PubAck { .. }), "{first:?}");
}
