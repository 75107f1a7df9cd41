//! Whatever one connection sends, the others notice nothing.

use std::net::SocketAddr;

use tokio::sync::oneshot;

use crate::support::{
    BOTH, Broker, Client, Connect, Version, join, taker,
    wire::{packet, publish},
};

const OFFENDERS: u64 = 500;

/// A small generator of numbers that only look random (xorshift), so that a failure repeats.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> usize {
        usize::try_from(self.next() % limit).expect("a small number")
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_be_bytes()[3]).collect()
    }

    /// Noise, noise behind a CONNECT, noise in a frame, or a good packet with one bit wrong.
    fn attack(&mut self, version: Version, id: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let kind = self.below(5);
        if kind > 0 {
            bytes.extend(Connect::new(version, id).encode());
        }
        for _ in 0..self.below(8) {
            let length = self.below(300);
            let first = self.bytes(1)[0];
            match kind {
                0 | 1 => bytes.extend(self.bytes(length)),
                2 | 3 => bytes.extend(packet(first, &self.bytes(length))),
                _ => {
                    let body = self.bytes(length);
                    let properties = Default::default();
                    let mut good = publish(version, 0x32, "noise", 1, &properties, &body);
                    let bit = self.below(u64::try_from(good.len()).expect("short") * 8);
                    good[bit / 8] ^= 1 << (bit % 8);
                    bytes.extend(good);
                }
            }
        }
        bytes
    }
}

/// A pair that passes numbers on, one after the other, until it is told to stop.
async fn witness(address: SocketAddr, mut stop: oneshot::Receiver<()>) -> u32 {
    let mut subscriber = taker(address, Version::V5, "witness-to", "witness", 1).await;
    let mut publisher = join(address, Version::V311, "witness-from").await;
    let mut number = 0;
    while stop.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
        publisher.publish("witness", number.to_string(), 1);
        assert_eq!(subscriber.message().await.number(), number);
        number += 1;
    }
    publisher.wait_for_window(0).await;
    number
}

#[tokio::test]
async fn five_hundred_connections_of_garbage_disturb_nobody() {
    const SEED: u64 = 0x64_75_6E_6C_69_6E;
    println!("seed {SEED:#x}");
    let broker = Broker::start();
    let (stop, stopped) = oneshot::channel();
    let watching = tokio::spawn(witness(broker.address, stopped));
    let mut noise = Noise(SEED);

    for number in 0..OFFENDERS {
        let version = BOTH[noise.below(2)];
        let mut offender = Client::open(broker.address, version).await;
        offender.send(&noise.attack(version, &format!("offender-{number}")));
        if noise.below(3) == 0 {
            offender.reset();
        } else {
            // The broker closes for the bytes, or at the latest for the end of them.
            offender.finish_writing();
            offender.closed().await;
        }
    }
    stop.send(()).expect("the witnesses are still there");

    assert!(watching.await.expect("the witnesses lost nothing") > 0);
}

/// Each kind of packet stops in the middle; the others go on; then it is finished and counts.
#[tokio::test]
async fn half_a_packet_blocks_nobody() {
    let broker = Broker::start();
    for version in BOTH {
        let mut subscriber = taker(broker.address, version, "subscriber", "whole/#", 1).await;
        let mut other = join(broker.address, version, "other").await;
        let mut halting = join(broker.address, version, "halting").await;
        let none = Default::default();
        let whole = publish(version, 0x30, "whole/halting", 0, &none, b"finished");

        for cut in 1..whole.len() {
            halting.send(&whole[..cut]);
            halting.flush().await;
            other.publish_and_wait("whole/other", cut.to_string(), 1).await;
            assert_eq!(subscriber.message().await.text(), cut.to_string());
            halting.send(&whole[cut..]);
            assert_eq!(subscriber.message().await.text(), "finished");
        }
    }
}

/// A reader that takes nothing and a connection that only opens cost the others nothing either.
#[tokio::test]
async fn idle_connections_disturb_nobody() {
    let broker = Broker::start();
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(Client::open(broker.address, Version::V5).await);
    }
    let mut subscriber = taker(broker.address, Version::V5, "subscriber", "t", 1).await;
    let mut publisher = join(broker.address, Version::V311, "publisher").await;

    for number in 0..100_u32 {
        publisher.publish_and_wait("t", number.to_string(), 1).await;
        assert_eq!(subscriber.message().await.number(), number);
    }
    for client in idle {
        client.reset();
    }
    publisher.publish_and_wait("t", "100", 1).await;

    assert_eq!(subscriber.message().await.number(), 100);
}
