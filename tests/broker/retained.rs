//! Retained Messages by the thousand. What becomes of a single one is in `tests/conformance`.

use std::collections::BTreeSet;

use crate::support::{
    Broker, Client, Connect, Value, Version, join, taker,
    wire::{Message, RECEIVE_MAXIMUM, acknowledge},
};

const MANY: u32 = 10_000;

/// A broker with so many Retained Messages, and who published them.
async fn stocked() -> (Broker, Client) {
    let broker = Broker::start();
    let mut publisher = join(broker.address, Version::V311, "publisher").await;
    for number in 0..MANY {
        publisher.publish_retained(&format!("stock/{number}"), &number.to_string(), 1);
        publisher.wait_for_window(500).await;
    }
    publisher.wait_for_window(0).await;
    (broker, publisher)
}

/// A subscriber with a small Receive Maximum is in the middle of a long replay for as long as it
/// answers nothing; what passes between others meanwhile passes during the replay.
#[tokio::test]
async fn ten_thousand_retained_messages_are_replayed_while_others_go_on() {
    let (broker, mut publisher) = stocked().await;
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
    let (broker, _publisher) = stocked().await;

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
