//! Sessions that outlive their connection.

use crate::support::{
    BOTH, Broker, Client, Connect, Packet, Value, Version, join, numbers,
    wire::{RECEIVE_MAXIMUM, SESSION_EXPIRY_INTERVAL, acknowledge},
};

async fn sleeper(broker: &Broker, version: Version, filter: &str) -> Connect {
    let connect = Connect::lasting(version, &format!("sleeper-{version:?}"));
    let mut client = Client::connect(broker.address, &connect).await;
    assert!(!client.session_present);
    client.subscribe(filter, 2).await;
    client.disconnect(0).await;
    connect
}

/// [MQTT-3.1.2-5], for 3.1.1 [MQTT3-3.1.2-5], [MQTT3-3.2.2-2]
#[tokio::test]
async fn messages_for_an_absent_session_wait_for_it_in_order() {
    let broker = Broker::start();
    for version in BOTH {
        let connect = sleeper(&broker, version, "mail/+").await;
        let mut publisher = join(broker.address, version, "publisher").await;
        for number in 0..300_u32 {
            let qos = 1 + u8::from(number % 2 == 0);
            publisher.publish(&format!("mail/{qos}"), number.to_string(), qos);
            publisher.wait_for_window(100).await;
        }
        publisher.wait_for_window(0).await;

        let mut client = Client::connect(broker.address, &connect).await;

        assert!(client.session_present);
        // Each QoS keeps its own order; between them there is none.
        let mut seen = [Vec::new(), Vec::new()];
        for _ in 0..300 {
            let message = client.message().await;
            seen[usize::from(message.qos - 1)].push(message.number());
        }
        assert_eq!(seen[0], (1..300).step_by(2).collect::<Vec<_>>());
        assert_eq!(seen[1], (0..300).step_by(2).collect::<Vec<_>>());
        publisher.publish_and_wait("mail/2", "300", 2).await;
        assert_eq!(numbers(&mut client, 1).await, [300], "nothing came twice");
    }
}

/// PRODUCT: not kept.
#[tokio::test]
async fn qos_0_is_not_kept_for_an_absent_session() {
    let broker = Broker::start();
    for version in BOTH {
        let connect = sleeper(&broker, version, "mail").await;
        let mut publisher = join(broker.address, version, "publisher").await;
        publisher.publish("mail", "unseen", 0);
        publisher.publish_and_wait("mail", "seen", 1).await;

        let mut client = Client::connect(broker.address, &connect).await;

        assert_eq!(client.message().await.text(), "seen");
    }
}

/// [MQTT-4.4.0-1], for 3.1.1 [MQTT3-4.4.0-1]
#[tokio::test]
async fn what_was_not_acknowledged_is_resent_with_dup_and_its_packet_identifier() {
    let broker = Broker::start();
    for version in BOTH {
        for qos in [1, 2] {
            let connect = Connect::lasting(version, &format!("resend-{version:?}-{qos}"));
            let mut client = Client::connect(broker.address, &connect).await;
            client.subscribe("resend", qos).await;
            client.withhold_answers();
            let mut publisher = join(broker.address, version, "publisher").await;
            for number in 0..10 {
                publisher.publish_and_wait("resend", number.to_string(), qos).await;
            }
            let mut first = Vec::new();
            for _ in 0..10 {
                first.push(client.message().await);
            }
            client.reset();

            let mut client = Client::connect(broker.address, &connect).await;

            for before in first {
                let again = client.message().await;
                assert!(!before.dup && again.dup);
                assert_eq!(again.packet_id, before.packet_id);
                assert_eq!((again.payload, again.qos), (before.payload, qos));
            }
            publisher.publish_and_wait("resend", "marker", qos).await;
            let marker = client.message().await;
            assert_eq!((marker.text(), marker.dup), ("marker", false));
            client.disconnect(0).await;
        }
    }
}

/// [MQTT-4.4.0-1]: after PUBREC it is the PUBREL that is repeated, and never the PUBLISH.
#[tokio::test]
async fn a_pubrel_without_its_pubcomp_is_resent() {
    let broker = Broker::start();
    for version in BOTH {
        let connect = Connect::lasting(version, &format!("pubrel-{version:?}"));
        let mut client = Client::connect(broker.address, &connect).await;
        client.subscribe("pubrel", 2).await;
        client.withhold_answers();
        let mut publisher = join(broker.address, version, "publisher").await;
        publisher.publish_and_wait("pubrel", "once", 2).await;
        let packet_id = client.message().await.packet_id;
        client.send(&acknowledge(0x50, packet_id));
        let released = client.packet().await;
        assert!(
            matches!(released, Packet::PubRel { packet_id: id, code: 0, .. } if id == packet_id)
        );
        client.reset();

        let mut client = Client::connect(broker.address, &connect).await;

        let released = client.packet().await;
        assert!(
            matches!(released, Packet::PubRel { packet_id: id, code: 0, .. } if id == packet_id)
        );
        client.send(&acknowledge(0x70, packet_id));
        client.ping().await;
        assert!(client.messages.is_empty(), "the message came twice");
        client.disconnect(0).await;
        let mut client = Client::connect(broker.address, &connect).await;
        client.ping().await;
        assert!(client.messages.is_empty(), "it is over for good");
    }
}

/// [MQTT-4.3.3-10] over a reconnect: the broker remembers what it received and not yet released.
#[tokio::test]
async fn an_unreleased_publish_repeated_on_a_new_connection_is_delivered_once() {
    let broker = Broker::start();
    for version in BOTH {
        let mut subscriber =
            crate::support::taker(broker.address, version, "subscriber", "in", 2).await;
        let connect = Connect::lasting(version, &format!("sender-{version:?}"));
        let none = Default::default();
        let publish = |first, payload: &str| {
            crate::support::wire::publish(version, first, "in", 5, &none, payload.as_bytes())
        };
        let mut sender = Client::connect(broker.address, &connect).await;
        sender.withhold_answers();
        sender.send(&publish(0x34, "one"));
        assert!(matches!(sender.packet().await, Packet::PubRec { packet_id: 5, .. }));
        sender.reset();

        let mut sender = Client::connect(broker.address, &connect).await;
        assert!(sender.session_present);
        sender.withhold_answers();
        sender.send(&publish(0x3C, "one"));
        assert!(matches!(sender.packet().await, Packet::PubRec { packet_id: 5, .. }));
        sender.send(&acknowledge(0x62, 5));
        assert!(matches!(sender.packet().await, Packet::PubComp { packet_id: 5, code: 0, .. }));
        sender.send(&publish(0x34, "two"));
        assert!(matches!(sender.packet().await, Packet::PubRec { packet_id: 5, .. }));
        sender.send(&acknowledge(0x62, 5));

        assert_eq!(subscriber.message().await.text(), "one");
        assert_eq!(subscriber.message().await.text(), "two");
    }
}

/// [MQTT-3.1.2-4], for 3.1.1 [MQTT3-3.1.2-6]
#[tokio::test]
async fn a_clean_start_discards_the_session() {
    let broker = Broker::start();
    for version in BOTH {
        let connect = sleeper(&broker, version, "mail").await;
        let mut publisher = join(broker.address, version, "publisher").await;
        publisher.publish_and_wait("mail", "discarded", 1).await;

        let mut client = Client::connect(broker.address, &connect.clone().clean_start()).await;
        assert!(!client.session_present);
        publisher.publish_and_wait("mail", "for nobody", 1).await;
        client.ping().await;

        assert!(client.messages.is_empty());
    }
}

/// 3.1.1: Clean Session 1 also means that nothing is left behind afterwards.
#[tokio::test]
async fn a_clean_session_leaves_nothing_behind() {
    let broker = Broker::start();
    for version in BOTH {
        let mut client = join(broker.address, version, "clean").await;
        client.subscribe("mail", 1).await;
        client.disconnect(0).await;

        let client = Client::connect(broker.address, &Connect::lasting(version, "clean")).await;

        assert!(!client.session_present);
        client.disconnect(0).await;
        // So that the next version's turn begins without a Session.
        join(broker.address, version, "clean").await.disconnect(0).await;
    }
}

/// 5.0 s3.14.2.2.2: a DISCONNECT may shorten the Session's life, here to nothing.
#[tokio::test]
async fn a_disconnect_may_end_the_session() {
    let broker = Broker::start();
    let connect = Connect::lasting(Version::V5, "shortened");
    let mut client = Client::connect(broker.address, &connect).await;

    client.send(&[0xE0, 0x07, 0x00, 0x05, SESSION_EXPIRY_INTERVAL, 0, 0, 0, 0]);
    client.end().await;

    let client = Client::connect(broker.address, &connect).await;
    assert!(!client.session_present);
}

/// [MQTT-3.3.4-9]: no more are open than the client allows, and the rest follows answer by answer.
#[tokio::test]
async fn a_receive_maximum_of_the_client_is_kept() {
    let broker = Broker::start();
    let connect = Connect::new(Version::V5, "narrow").property(RECEIVE_MAXIMUM, Value::Two(3));
    let mut client = Client::connect(broker.address, &connect).await;
    client.subscribe("narrow", 1).await;
    client.withhold_answers();
    let mut publisher = join(broker.address, Version::V5, "publisher").await;
    for number in 0..20 {
        publisher.publish_and_wait("narrow", number.to_string(), 1).await;
    }

    client.ping().await;
    assert_eq!(client.messages.len(), 3);
    for expected in 0..20 {
        let message = client.message().await;
        assert_eq!(message.number(), expected);
        client.send(&acknowledge(0x40, message.packet_id));
    }
}

/// The Session belongs to its name, not to the protocol version of its last connection.
#[tokio::test]
async fn a_session_may_be_resumed_in_another_version() {
    let broker = Broker::start();
    let old = Connect::lasting(Version::V311, "upgraded");
    let new = Connect::lasting(Version::V5, "upgraded");
    let mut client = Client::connect(broker.address, &old).await;
    client.subscribe("mail", 1).await;
    client.disconnect(0).await;
    let mut publisher = join(broker.address, Version::V311, "publisher").await;
    publisher.publish_and_wait("mail", "waiting", 1).await;

    let mut client = Client::connect(broker.address, &new).await;

    assert!(client.session_present);
    assert_eq!(client.message().await.text(), "waiting");
}
