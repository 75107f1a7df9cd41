//! A subscriber that stops reading costs nobody else anything and loses no QoS 1.

use crate::support::{
    Broker, Client, Connect, Packet, Version, join, resident_bytes, taker, wire::acknowledge,
};

const ROUNDS: u32 = 200;
const EACH_ROUND: u32 = 10;
const BULK_BYTES: usize = 64 * 1024;

#[tokio::test]
async fn neighbours_of_a_stalled_subscriber_lose_nothing_and_it_catches_up_in_order() {
    let broker = Broker::start();
    let address = broker.address;
    let mut stalled = Client::open_narrow(address, Version::V5, 4_096).await;
    stalled.introduce(&Connect::new(Version::V5, "stalled")).await;
    stalled.subscribe("numbers", 1).await;
    stalled.subscribe("bulk", 0).await;
    let mut neighbours = Vec::new();
    for (name, version) in [("left", Version::V311), ("right", Version::V5)] {
        let mut neighbour = taker(address, version, name, "numbers", 1).await;
        neighbour.subscribe("bulk", 0).await;
        neighbours.push(neighbour);
    }
    let mut publisher = join(address, Version::V311, "publisher").await;
    let bulk = vec![b'b'; BULK_BYTES];

    // 12.8 MB that the stalled one never reads, more than the kernel keeps for it. A round ends
    // when the neighbours have it, so QoS 0 too must reach them in full.
    for round in 0..ROUNDS {
        for number in 0..EACH_ROUND {
            publisher.publish("numbers", (round * EACH_ROUND + number).to_string(), 1);
        }
        publisher.publish("bulk", &bulk, 0);
        publisher.wait_for_window(0).await;
        for neighbour in &mut neighbours {
            let mut bulks = 0;
            let mut next = round * EACH_ROUND;
            for _ in 0..=EACH_ROUND {
                let message = neighbour.message().await;
                if message.topic == "bulk" {
                    assert_eq!(message.payload.len(), BULK_BYTES);
                    bulks += 1;
                } else {
                    assert_eq!(message.number(), next);
                    next += 1;
                }
            }
            assert_eq!((bulks, next), (1, (round + 1) * EACH_ROUND));
        }
    }

    // It reads again: QoS 0 may have been dropped, QoS 1 may not.
    let mut next = 0;
    let mut bulks = 0;
    while next < ROUNDS * EACH_ROUND {
        let message = stalled.message().await;
        if message.topic == "bulk" {
            assert_eq!(message.payload.len(), BULK_BYTES, "dropped whole or not at all");
            bulks += 1;
        } else {
            assert_eq!((message.number(), message.dup), (next, false));
            next += 1;
        }
    }
    assert!(bulks < ROUNDS, "the test has not stalled anything");
    publisher.publish_and_wait("numbers", "987654", 1).await;
    assert_eq!(stalled.message().await.number(), 987_654, "and it is served like before");
}

/// It never answers: what waits for it waits in its Session, and its publisher goes on.
#[tokio::test]
async fn a_subscriber_that_never_acknowledges_delays_nobody() {
    let broker = Broker::start();
    let address = broker.address;
    let mut silent = taker(address, Version::V311, "silent", "numbers", 2).await;
    silent.withhold_answers();
    let mut neighbour = taker(address, Version::V311, "neighbour", "numbers", 2).await;
    let mut publisher = join(address, Version::V5, "publisher").await;

    for qos in [1, 2] {
        for number in 0..1_000_u32 {
            publisher.publish("numbers", number.to_string(), qos);
            publisher.wait_for_window(100).await;
            assert_eq!(neighbour.message().await.number(), number);
        }
        publisher.wait_for_window(0).await;
    }

    // What was open to it without an answer stays within an inflight window.
    silent.ping().await;
    let open = silent.messages.len();
    assert!((1..1_000).contains(&open), "{open} messages were sent without an answer");
}

/// The broker answers each with PUBREL 0x92 (5.0 s4.13.1). Who does not read these answers is not
/// heard any more, instead of piling them up.
#[tokio::test]
async fn a_flood_of_unknown_acknowledgements_waits_until_the_answers_are_read() {
    /// Far more than the kernel keeps for both directions.
    const FLOOD_BYTES: usize = 64 * 1024 * 1024;
    const GROWTH_MAX: u64 = 32 * 1024 * 1024;
    // The neighbour shares the worker: each of its answers is a turn the flooder could have had.
    const TURNS: usize = 200;
    let broker = Broker::start_with("workers = 1\n");
    let mut flooder = Client::open_narrow(broker.address, Version::V5, 4_096).await;
    flooder.introduce(&Connect::new(Version::V5, "flooder")).await;
    let mut neighbour = join(broker.address, Version::V5, "neighbour").await;
    neighbour.ping().await;
    let before = resident_bytes(&broker);
    let chunk = acknowledge(0x50, 7).repeat(16 * 1024);

    let mut sent = 0;
    let mut turns = 0;
    let mut left = 0;
    while turns < TURNS {
        if left == 0 {
            flooder.send(&chunk);
            sent += chunk.len();
            assert!(sent < FLOOD_BYTES, "the broker still reads");
        } else {
            neighbour.ping().await;
        }
        let now_left = flooder.push();
        turns = if now_left > 0 && now_left == left { turns + 1 } else { 0 };
        left = now_left;
    }
    let growth = resident_bytes(&broker).saturating_sub(before);
    assert!(growth < GROWTH_MAX, "{growth} bytes more than before");

    for _ in 0..sent / 4 {
        let packet = flooder.packet().await;
        assert!(matches!(packet, Packet::PubRel { packet_id: 7, code: 0x92, .. }));
    }
    flooder.ping().await;
    neighbour.ping().await;
}
