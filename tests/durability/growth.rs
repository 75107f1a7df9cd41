//! What a store takes: of the disk when its queues were drained, of time and memory when it starts
//! with long ones.

use std::fs;
use std::time::{Duration, Instant};

use crate::broker::Folder;
use crate::bulk::{self, PAYLOAD_BYTES};
use crate::connect::Connect;
use crate::disk::used_bytes;
use crate::is_long;
use crate::link::{Gone, Link};
use crate::probe::{answer_to_one, publish_once, unkept_passes};
use crate::server::{Server, Sync};
use crate::shared::within_time;
use crate::wire::Version;

/// How many Sessions, and messages for each.
fn size() -> (u32, u32) {
    if is_long() { (1_000, 1_000) } else { (50, 1_000) }
}

/// Filling a store with a million messages, and reading them, may take so long.
const BULK: Duration = Duration::from_secs(300);

/// A journal, and tables that are still to be compacted.
const LEFT_BYTES: u64 = 100 * 1024 * 1024;
const SHRINKING: Duration = Duration::from_secs(120);

const START_PER_MILLION: Duration = Duration::from_secs(8);
/// What a start takes anyway, also of a slow build on a busy machine.
const START: Duration = Duration::from_secs(2);

/// Of a message that is read back; of one that is not; and what a process may vary by anyway.
const LOADED_BYTES: u64 = 1_536;
const UNLOADED_BYTES: u64 = 64;
const ANYWAY_BYTES: u64 = 24 * 1024 * 1024;

/// Unanswered messages on their way to a client, by default.
const INFLIGHT: u32 = 64;

/// The messages of the short form are larger instead, or one journal would hold them all.
#[tokio::test]
async fn a_store_whose_queues_were_drained_is_small() {
    let (sessions, each, bytes) =
        if is_long() { (1_000, 1_000, PAYLOAD_BYTES) } else { (20, 1_000, 10_000) };
    let folder = Folder::new();
    let data = folder.path.join("data");
    let server = Server::start(&data, Sync::Os);
    let address = server.address();
    for session in 0..sessions {
        bulk::subscribe_away(address, session).await;
    }
    let publish = bulk::publish(address, sessions, 0..each, bytes);
    within_time(BULK, "all to be queued", publish).await;
    let full = used_bytes(&data);
    let payloads = u64::from(sessions * each) * bytes as u64;
    assert!(full > payloads, "{full} bytes hold no {payloads} bytes of payload");

    for session in 0..sessions {
        let drain = bulk::drain(address, session, each, bytes);
        within_time(BULK, "a Session to be drained", drain).await;
    }

    println!("{} MiB full, {} MiB after the drain", full >> 20, used_bytes(&data) >> 20);
    // A little goes on, so that the engine has a reason to look at what it has.
    let shrinking = async {
        while used_bytes(&data) > LEFT_BYTES {
            publish_once(address, "retained/again", true).await;
        }
    };
    let start = Instant::now();
    within_time(SHRINKING, "the store to become small", shrinking).await;
    println!("{} MiB {:?} later", used_bytes(&data) >> 20, start.elapsed());
}

/// The least that can be configured, and how much is written between two looks at it.
const DISK_MAX: u64 = 256 << 20;
const BETWEEN_LOOKS: u64 = 16 << 20;

#[tokio::test]
async fn a_store_that_takes_all_it_may_refuses_what_would_wait_until_it_was_drained() {
    let bytes = 250_000;
    let folder = Folder::new();
    let data = folder.path.join("data");
    let server = Server::start_configured(&data, Sync::Os, "disk_max = \"256 MiB\"");
    let address = server.address();
    bulk::subscribe_away(address, 0).await;

    let count = within_time(BULK, "a message to be refused", bulk::fill(address, 0, bytes)).await;

    let full = used_bytes(&data);
    println!("{count} messages, {} MiB", full >> 20);
    assert!(full < DISK_MAX + 2 * BETWEEN_LOOKS, "{full} bytes");
    let told = async {
        while !server.log().contains("storage.disk_max") {
            tokio::task::yield_now().await;
        }
    };
    within_time(SHRINKING, "the log to say so", told).await;
    unkept_passes(address).await;
    assert_eq!(answer_to_one(address, "new", true).await, 0x97, "one to be retained");
    for (version, code) in [(Version::V311, 3), (Version::V5, 0x97)] {
        let newcomer = Link::open(address, &Connect::lasting(version, "newcomer")).await;
        assert_eq!(newcomer.err(), Some(Gone::Refused(code)));
    }

    within_time(BULK, "the Session to be drained", bulk::drain(address, 0, count, bytes)).await;

    let room = async { while answer_to_one(address, "new", true).await == 0x97 {} };
    within_time(SHRINKING, "room in the store", room).await;
    bulk::subscribe_away(address, 1).await;
}

#[tokio::test]
async fn a_store_with_long_queues_starts_soon_and_takes_little_memory() {
    let (sessions, each) = size();
    let total = sessions * each;
    let folder = Folder::new();
    let data = folder.path.join("data");
    let mut server = Server::start(&data, Sync::Os);
    let empty = resident_bytes(server.id());
    for session in 0..sessions {
        bulk::subscribe_away(server.address(), session).await;
    }
    let publish = bulk::publish(server.address(), sessions, 0..each, PAYLOAD_BYTES);
    within_time(BULK, "all to be queued", publish).await;
    server.kill();

    let start = Instant::now();
    server.restart();
    let took = start.elapsed();

    let unloaded = resident_bytes(server.id()).saturating_sub(empty);
    let mut links = Vec::new();
    for session in 0..sessions {
        let hold = bulk::hold(server.address(), session, INFLIGHT);
        links.push(within_time(BULK, "the first messages of a Session", hold).await);
    }
    let loaded = resident_bytes(server.id()).saturating_sub(empty + unloaded);
    println!(
        "{total} messages: ready after {took:?}, {} bytes each, {} KiB for each Session that reads",
        unloaded / u64::from(total),
        loaded / u64::from(sessions) / 1_024,
    );
    let allowed = START_PER_MILLION * total / 1_000_000 + START;
    assert!(took < allowed, "ready after {took:?}, allowed {allowed:?}");
    assert!(unloaded < u64::from(total) * UNLOADED_BYTES + ANYWAY_BYTES, "{unloaded} bytes");
    // A slice of 256 messages is read at once.
    let slices = u64::from(sessions) * 256;
    assert!(loaded < slices * LOADED_BYTES + ANYWAY_BYTES, "{loaded} bytes");
}

fn resident_bytes(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the broker runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}
