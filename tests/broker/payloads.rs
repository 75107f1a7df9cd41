//! Payloads of every size up to a mebibyte arrive byte by byte as they were sent.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::support::{BOTH, Broker, Version, join, taker};

const MEBIBYTE: usize = 1 << 20;

/// Bytes that repeat only after 16 MiB, so that a piece lost or swapped changes the hash.
fn payload(length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0_u32..).flat_map(u32::to_be_bytes).take(length).collect();
    bytes.truncate(length);
    bytes
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[tokio::test]
async fn a_mebibyte_arrives_whole_at_each_qos_in_both_versions() {
    let broker = Broker::start();
    let sent = payload(MEBIBYTE);

    for version in BOTH {
        for qos in [0, 1, 2] {
            let id = format!("{version:?}-{qos}");
            let mut subscriber = taker(broker.address, version, &id, &id, 2).await;
            let mut publisher = join(broker.address, version, &format!("{id}-from")).await;

            publisher.publish(&id, &sent, qos);
            let (message, ()) = tokio::join!(subscriber.message(), publisher.wait_for_window(0));

            assert_eq!(message.qos, qos);
            assert_eq!(message.payload.len(), sent.len());
            assert_eq!(hash(&message.payload), hash(&sent), "{version:?} at QoS {qos}");
        }
    }
}

#[tokio::test]
async fn a_retained_mebibyte_is_replayed_whole() {
    let broker = Broker::start();
    let sent = payload(MEBIBYTE);
    let mut publisher = join(broker.address, Version::V5, "publisher").await;
    let packet_id = publisher.publish_with(0x03, "large", &sent, &Default::default());
    publisher.published(packet_id).await;

    let mut subscriber = taker(broker.address, Version::V311, "subscriber", "large", 1).await;
    let message = subscriber.message().await;

    assert!(message.retain);
    assert_eq!(hash(&message.payload), hash(&sent));
}

/// Around the sizes where a Remaining Length grows by a byte and where buffers end.
#[tokio::test]
async fn payloads_around_every_boundary_arrive_in_order() {
    let broker = Broker::start();
    let around = [0, 120, 1_024, 2_048, 4_096, 16_384, 65_536, 131_072, 262_144];
    let sizes: Vec<usize> = around
        .iter()
        .flat_map(|size| (0..16).map(move |more| (size + more) - 8.min(*size)))
        .collect();
    let mut subscriber = taker(broker.address, Version::V5, "subscriber", "sizes", 1).await;
    let mut publisher = join(broker.address, Version::V5, "publisher").await;

    let send = async {
        for size in &sizes {
            publisher.publish("sizes", payload(*size), 1);
            publisher.wait_for_window(20).await;
        }
        publisher.wait_for_window(0).await;
    };
    let receive = async {
        for size in &sizes {
            let message = subscriber.message().await;
            assert_eq!(message.payload.len(), *size);
            assert_eq!(hash(&message.payload), hash(&payload(*size)));
        }
    };

    tokio::join!(send, receive);
}
