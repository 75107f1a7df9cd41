//! What an idle connection holds in the real broker.

use std::fs;

use dunlin::packet::ProtocolVersion;

use crate::broker::Broker;
use crate::counted::Client;

/// Bytes of process memory for each connection, of both versions. 1,328 to 1,330 of
/// 3.1.1 on 2026-11-22.
const CONNECTION_BYTES_MAX: f64 = 1_434.0;

const CONNECTIONS: u32 = 5_000;

/// Before it is counted, so that the code and the first of each table are there.
const WARM_UP: u32 = 100;

#[test]
fn an_idle_connection_holds_little_memory() {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let broker = Broker::start();
        let join = |number| Client::join(broker.address, version, &format!("idle-{number}"));
        let mut clients: Vec<Client> = (0..WARM_UP).map(join).collect();

        let before = resident_bytes(&broker);
        clients.extend((0..CONNECTIONS).map(|number| join(WARM_UP + number)));
        let after = resident_bytes(&broker);

        let each = (after - before) as f64 / f64::from(CONNECTIONS);
        assert!(each <= CONNECTION_BYTES_MAX, "{each} bytes a connection of {version:?}");
        drop(clients);
    }
}

/// Without what lies in files, such as the code.
fn resident_bytes(broker: &Broker) -> u64 {
    let file = format!("/proc/{}/status", broker.process.id());
    let status = fs::read_to_string(file).expect("the broker runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
    let kibibytes = line.split_whitespace().next().expect("a number");
    kibibytes.parse::<u64>().expect("a number") * 1_024
}
