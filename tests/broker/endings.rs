//! Connections that end in the midst of traffic, by a reset, or for another with their Client
//! Identifier, and Sessions that end by the clock.

use std::collections::BTreeSet;

use crate::support::{
    BOTH, Broker, Client, Connect, End, Packet, Value, Version, Will, join, taker,
    wire::{self, SESSION_EXPIRY_INTERVAL, WILL_DELAY_INTERVAL},
};

const NUMBERS: u32 = 3_000;
const TAKEOVERS: u32 = 5;

fn old_connection_ends(version: Version) -> End {
    match version {
        Version::V5 => End::Disconnect(0x8E),
        Version::V31 | Version::V311 => End::Closed,
    }
}

/// A publisher pumps QoS 1 while the subscriber is taken over again and again.
#[tokio::test]
async fn a_takeover_under_traffic_loses_nothing_of_qos_1() {
    let broker = Broker::start();
    for version in BOTH {
        let connect = Connect::lasting(version, &format!("taker-{version:?}"));
        let mut current = Client::connect(broker.address, &connect).await;
        current.subscribe("pump", 1).await;
        let mut publisher = join(broker.address, Version::V311, "publisher").await;
        let pump = tokio::spawn(async move {
            for number in 0..NUMBERS {
                publisher.publish("pump", number.to_string(), 1);
                publisher.wait_for_window(50).await;
            }
            publisher.wait_for_window(0).await;
        });

        let mut seen = BTreeSet::new();
        for round in 1..=TAKEOVERS {
            for _ in 0..NUMBERS / (2 * TAKEOVERS) {
                seen.insert(current.message().await.number());
            }
            let next = Client::connect(broker.address, &connect).await;
            assert!(next.session_present, "takeover {round}");
            assert_eq!(current.end().await, old_connection_ends(version));
            seen.extend(current.messages.iter().map(wire::Message::number));
            current = next;
        }
        let mut last = None;
        while last != Some(NUMBERS - 1) {
            let number = current.message().await.number();
            assert!(last < Some(number), "{number} came after {last:?} on one connection");
            last = Some(number);
            seen.insert(number);
        }
        pump.await.expect("the publisher finishes");

        let missing: Vec<u32> = (0..NUMBERS).filter(|number| !seen.contains(number)).collect();
        assert!(missing.is_empty(), "{version:?}: lost {missing:?}");
    }
}

/// Many connections ask for one name at the same time: the last one has it, and it works.
#[tokio::test]
async fn a_fight_for_one_client_identifier_leaves_exactly_one_connection() {
    let broker = Broker::start();
    let connect = Connect::lasting(Version::V5, "wanted");
    let mut fighters = Vec::new();
    for _ in 0..50 {
        let mut client = Client::open(broker.address, Version::V5).await;
        client.send(&connect.encode());
        fighters.push(client);
    }
    let mut publisher = join(broker.address, Version::V5, "publisher").await;
    for client in &mut fighters {
        assert!(matches!(client.packet().await, Packet::ConnAck { code: 0, .. }));
    }

    let mut last = Client::connect(broker.address, &connect).await;
    last.subscribe("wanted", 1).await;
    publisher.publish_and_wait("wanted", "to the last", 1).await;

    for client in &mut fighters {
        assert_eq!(client.end().await, End::Disconnect(0x8E));
    }
    assert!(last.session_present);
    assert_eq!(last.message().await.text(), "to the last");
}

/// [MQTT-3.1.2-8], for 3.1.1 [MQTT3-3.1.2-8]: as when a device loses its power.
#[tokio::test]
async fn a_reset_connection_sends_the_will() {
    let broker = Broker::start();
    for version in BOTH {
        let mut watcher = taker(broker.address, version, "watcher", "will", 1).await;
        let connect = Connect::new(version, "victim").will(Will::new("will", "reset"));
        let client = Client::connect(broker.address, &connect).await;

        client.reset();

        let message = watcher.message().await;
        assert_eq!((message.text(), message.qos, message.retain), ("reset", 1, false));
    }
}

/// [MQTT-3.1.2-8]: the end of the Session does not wait for the delay. Here it is the broker's own
/// clock that ends it.
#[tokio::test]
async fn a_delayed_will_is_sent_when_its_session_expires() {
    let broker = Broker::start();
    let mut watcher = taker(broker.address, Version::V5, "watcher", "will", 1).await;
    let delayed = Will::new("will", "ended").property(WILL_DELAY_INTERVAL, Value::Four(3_000));
    let connect = Connect::new(Version::V5, "brief")
        .property(SESSION_EXPIRY_INTERVAL, Value::Four(1))
        .will(delayed);

    Client::connect(broker.address, &connect).await.reset();

    assert_eq!(watcher.message().await.text(), "ended");
}
