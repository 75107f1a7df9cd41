//! A second connection with the same Client Identifier takes the Session over.

use std::collections::BTreeSet;

use crate::support::{
    BOTH, Broker, Client, Connect, End, Packet, Version, Will, join, taker, wire,
};

const NUMBERS: u32 = 3_000;
const TAKEOVERS: u32 = 5;

fn old_connection_ends(version: Version) -> End {
    match version {
        Version::V5 => End::Disconnect(0x8E),
        Version::V31 | Version::V311 => End::Closed,
    }
}

/// [MQTT-3.1.4-3], for 3.1.1 [MQTT3-3.1.4-2]
#[tokio::test]
async fn the_older_connection_is_closed_and_told_why() {
    let broker = Broker::start();
    for version in BOTH {
        let connect = Connect::new(version, "twice");
        let mut old = Client::connect(broker.address, &connect).await;

        let mut new = Client::connect(broker.address, &connect).await;

        assert_eq!(old.end().await, old_connection_ends(version));
        assert!(!new.session_present);
        new.ping().await;
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

#[tokio::test]
async fn a_takeover_with_clean_start_begins_anew() {
    let broker = Broker::start();
    for version in BOTH {
        let lasting = Connect::lasting(version, "anew");
        let mut old = Client::connect(broker.address, &lasting).await;
        old.subscribe("anew", 1).await;

        let mut new = Client::connect(broker.address, &lasting.clone().clean_start()).await;

        assert!(!new.session_present);
        assert_eq!(old.end().await, old_connection_ends(version));
        let mut publisher = join(broker.address, version, "publisher").await;
        publisher.publish_and_wait("anew", "for nobody", 1).await;
        new.ping().await;
        assert!(new.messages.is_empty(), "the old Subscription is gone");
    }
}

/// [MQTT3-3.1.2-8]; 5.0 s3.1.3.2.2: a Will without delay is sent when the connection is taken over.
#[tokio::test]
async fn the_older_connections_will_is_sent() {
    let broker = Broker::start();
    for version in BOTH {
        let mut watcher = taker(broker.address, version, "watcher", "will/taken", 1).await;
        let connect = Connect::new(version, "taken");
        let with_will = connect.clone().will(Will::new("will/taken", "taken over"));
        let mut old = Client::connect(broker.address, &with_will).await;

        let _new = Client::connect(broker.address, &connect).await;

        assert_eq!(old.end().await, old_connection_ends(version));
        assert_eq!(watcher.message().await.text(), "taken over");
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
