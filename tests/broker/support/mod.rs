//! What the tests of the broker share: its process, a raw client, and bytes of the protocol.

#[path = "../../support/broker.rs"]
pub(crate) mod broker;
pub(crate) mod client;
#[path = "../../support/connect.rs"]
pub(crate) mod connect;
pub(crate) mod scram;
#[path = "../../support/wire.rs"]
pub(crate) mod wire;

pub(crate) use broker::Broker;
pub(crate) use client::{Client, End};
pub(crate) use connect::{Connect, Will};
pub(crate) use wire::{Packet, Properties, Value, Version};

use std::net::SocketAddr;

/// The versions that most behaviours have in common.
pub(crate) const BOTH: [Version; 2] = [Version::V311, Version::V5];

/// A connected client with a clean Session.
pub(crate) async fn join(address: SocketAddr, version: Version, client_id: &str) -> Client {
    Client::connect(address, &Connect::new(version, client_id)).await
}

/// A connected client that is subscribed.
pub(crate) async fn taker(
    address: SocketAddr,
    version: Version,
    client_id: &str,
    filter: &str,
    qos: u8,
) -> Client {
    let mut client = join(address, version, client_id).await;
    assert_eq!(client.subscribe(filter, qos).await, qos);
    client
}

/// The next messages as the numbers in their payloads.
pub(crate) async fn numbers(client: &mut Client, count: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for _ in 0..count {
        found.push(client.message().await.number());
    }
    found
}

/// What the broker's process holds in memory (`VmRSS`).
pub(crate) fn resident_bytes(broker: &Broker) -> u64 {
    let file = format!("/proc/{}/status", broker.process.id());
    let status = std::fs::read_to_string(file).expect("the broker runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}
