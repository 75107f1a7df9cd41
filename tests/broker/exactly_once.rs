//! QoS 2: exactly once and in order, however it is sent.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::support::{
    BOTH, Broker, Client, Packet, Properties, Version, join, numbers, taker, wire,
};

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

/// [MQTT-4.3.3-10], for 3.1.1 [MQTT3-4.3.3-2]
#[tokio::test]
async fn a_repeated_publish_is_answered_again_and_delivered_once() {
    let broker = Broker::start();
    for version in BOTH {
        let mut subscriber = taker(broker.address, version, "subscriber", "once", 2).await;
        let mut publisher = join(broker.address, version, "publisher").await;
        publisher.withhold_answers();
        let first = publish_bytes(version, 0x34, 7, "first");
        let again = publish_bytes(version, 0x3C, 7, "first");

        publisher.send(&first);
        expect_pubrec(&mut publisher, 7).await;
        publisher.send(&again);
        expect_pubrec(&mut publisher, 7).await;
        publisher.send(&wire::acknowledge(0x62, 7));
        expect_pubcomp(&mut publisher, 7).await;
        // Released: the same Packet Identifier is a new message now.
        publisher.send(&publish_bytes(version, 0x34, 7, "second"));
        expect_pubrec(&mut publisher, 7).await;
        publisher.send(&wire::acknowledge(0x62, 7));
        expect_pubcomp(&mut publisher, 7).await;

        assert_eq!(subscriber.message().await.text(), "first");
        assert_eq!(subscriber.message().await.text(), "second");
    }
}

/// 5.0 s3.6.2.1: 0x92 Packet Identifier not found, and 3.1.1 answers plainly.
#[tokio::test]
async fn a_pubrel_for_an_unknown_packet_identifier_is_completed() {
    let broker = Broker::start();
    for (version, expected) in [(Version::V311, 0x00), (Version::V5, 0x92)] {
        let mut client = join(broker.address, version, "client").await;

        client.send(&wire::acknowledge(0x62, 4_711));

        let packet = client.packet().await;
        assert!(
            matches!(packet, Packet::PubComp { packet_id: 4_711, code, .. } if code == expected),
            "{version:?}: {packet:?}"
        );
    }
}

/// The other direction: the broker repeats nothing on a live connection, and goes on after PUBREC.
#[tokio::test]
async fn the_broker_sends_publish_then_pubrel_once_each() {
    let broker = Broker::start();
    for version in BOTH {
        let mut subscriber = taker(broker.address, version, "subscriber", "steps", 2).await;
        subscriber.withhold_answers();
        let mut publisher = join(broker.address, version, "publisher").await;
        publisher.publish_and_wait("steps", "one", 2).await;

        let Packet::Publish(message) = subscriber.packet().await else { panic!("no PUBLISH") };
        assert_eq!((message.qos, message.dup), (2, false));
        subscriber.send(&wire::acknowledge(0x50, message.packet_id));
        let released = subscriber.packet().await;
        subscriber.send(&wire::acknowledge(0x70, message.packet_id));
        subscriber.ping().await;

        let wanted = message.packet_id;
        assert!(
            matches!(released, Packet::PubRel { packet_id, code: 0, .. } if packet_id == wanted)
        );
        assert!(subscriber.messages.is_empty());
    }
}

fn publish_bytes(version: Version, first: u8, packet_id: u16, payload: &str) -> Vec<u8> {
    let none = Properties::default();
    wire::publish(version, first, "once", packet_id, &none, payload.as_bytes())
}

async fn expect_pubrec(client: &mut Client, wanted: u16) {
    match client.packet().await {
        Packet::PubRec { packet_id, code, .. } if packet_id == wanted && code < 0x80 => {}
        other => panic!("waiting for a PUBREC: {other:?}"),
    }
}

async fn expect_pubcomp(client: &mut Client, wanted: u16) {
    match client.packet().await {
        Packet::PubComp { packet_id, code: 0, .. } if packet_id == wanted => {}
        other => panic!("waiting for a PUBCOMP: {other:?}"),
    }
}
