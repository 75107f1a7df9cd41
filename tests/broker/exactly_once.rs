//! QoS 2 by the thousand: exactly once and in order. Its single exchange is in `tests/conformance`.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::support::{BOTH, Broker, Packet, Version, join, numbers, taker, wire};

const AT_ONCE: u32 = 200;
const EACH: u32 = 2_000;

/// 3.1.1 knows no Receive Maximum: up to 65,535 may be open, and none may be lost.
#[tokio::test]
async fn two_hundred_qos_2_messages_sent_at_once_arrive_once_and_in_order() {
    let broker = Broker::start();
    for sender in BOTH {
        let topic = format!("burst/{sender:?}");
        let mut subscriber = taker(broker.address, Version::V311, "subscriber", &topic, 2).await;
        let mut publisher = join(broker.address, sender, "publisher").await;

        for number in 0..AT_ONCE {
            publisher.publish(&topic, number.to_string(), 2);
        }
        publisher.flush().await;

        let expected: Vec<u32> = (0..AT_ONCE).collect();
        assert_eq!(numbers(&mut subscriber, AT_ONCE).await, expected);
        publisher.wait_for_window(0).await;
        publisher.publish_and_wait(&topic, "999", 2).await;
        assert_eq!(subscriber.message().await.number(), 999, "nothing came twice");
    }
}

/// All PUBLISH packets first, not one PUBREL before the last PUBREC.
#[tokio::test]
async fn three_thousand_open_qos_2_messages_of_a_3_1_1_client_are_all_delivered() {
    let broker = Broker::start();
    let mut subscriber = taker(broker.address, Version::V5, "subscriber", "open", 2).await;
    let mut publisher = join(broker.address, Version::V311, "publisher").await;
    publisher.withhold_answers();

    let send = async {
        for number in 0..3_000_u32 {
            publisher.publish("open", number.to_string(), 2);
        }
        let mut received = Vec::new();
        while received.len() < 3_000 {
            match publisher.packet().await {
                Packet::PubRec { packet_id, .. } => received.push(packet_id),
                other => panic!("waiting for a PUBREC: {other:?}"),
            }
        }
        publisher.give_answers();
        for packet_id in received {
            publisher.send(&wire::acknowledge(0x62, packet_id));
        }
        publisher.wait_for_window(0).await;
    };
    let (found, ()) = tokio::join!(numbers(&mut subscriber, 3_000), send);

    assert_eq!(found, (0..3_000).collect::<Vec<_>>());
}

/// Publishes to its partner and to itself without waiting, and returns what it received by topic.
async fn chatter(
    address: SocketAddr,
    version: Version,
    own: &'static str,
    other: &'static str,
    ready: std::sync::Arc<tokio::sync::Barrier>,
) -> BTreeMap<String, Vec<u32>> {
    let mut client = join(address, version, own).await;
    client.subscribe(&format!("to/{own}/#"), 2).await;
    ready.wait().await;
    let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for number in 0..EACH {
        client.publish(&format!("to/{other}/from/{own}"), number.to_string(), 2);
        client.publish(&format!("to/{own}/from/{own}"), number.to_string(), 2);
        // 5.0: no more than the Receive Maximum that the broker announced.
        client.wait_for_window(if version == Version::V5 { 1_000 } else { 4_000 }).await;
    }
    client.wait_for_window(0).await;
    for _ in 0..2 * EACH {
        let message = client.message().await;
        found.entry(message.topic.clone()).or_default().push(message.number());
    }
    // Nothing came twice: what follows is the next thing.
    ready.wait().await;
    client.publish_and_wait(&format!("to/{own}/from/{own}"), "777777", 2).await;
    assert_eq!(client.message().await.number(), 777_777);
    found
}

#[tokio::test]
async fn two_clients_that_flood_each_other_and_themselves_lose_and_repeat_nothing() {
    let broker = Broker::start();
    let expected: Vec<u32> = (0..EACH).collect();

    for versions in [(Version::V311, Version::V311), (Version::V5, Version::V311)] {
        let ready = std::sync::Arc::new(tokio::sync::Barrier::new(2));
        let (a, b) = tokio::join!(
            chatter(broker.address, versions.0, "a", "b", ready.clone()),
            chatter(broker.address, versions.1, "b", "a", ready.clone()),
        );

        for (own, other, found) in [("a", "b", a), ("b", "a", b)] {
            for from in [own, other] {
                let topic = format!("to/{own}/from/{from}");
                assert!(found[&topic] == expected, "{topic}: {:?}", found[&topic]);
            }
        }
    }
}
