//! More connections than there may be, and more than there can be.

use std::io;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::{Broker, Client, Connect, Packet, Version, broker::PATIENCE, join};

/// Who is refused is told so and leaves no trace: the next one in his place is served.
#[tokio::test]
async fn beyond_the_limit_a_client_is_told_that_there_are_enough() {
    let broker = Broker::start_with("[limits]\nconnections_max = 2\n");
    let mut first = join(broker.address, Version::V5, "first").await;
    let second = join(broker.address, Version::V5, "second").await;

    for (version, code) in [(Version::V5, 0x89), (Version::V311, 0x03)] {
        let mut third = Client::open(broker.address, version).await;
        third.send(&Connect::new(version, "third").encode());
        let answer = third.packet().await;
        assert!(matches!(answer, Packet::ConnAck { code: c, .. } if c == code), "{answer:?}");
        third.closed().await;
    }

    first.ping().await;
    second.disconnect(0).await;
    let served = async {
        loop {
            let mut next = Client::open(broker.address, Version::V5).await;
            next.send(&Connect::new(Version::V5, "next").encode());
            if matches!(next.packet().await, Packet::ConnAck { code: 0, .. }) {
                return;
            }
        }
    };
    served.await;
}

/// The accept loop outlives the process's last file descriptor: clients that are there notice
/// nothing, and those that wait are served when there are descriptors again.
#[tokio::test]
async fn a_broker_without_file_descriptors_accepts_again_when_there_are_some() {
    const WAITING: usize = 20;
    let broker = Broker::start();
    let mut witness = join(broker.address, Version::V5, "witness").await;
    let before = limit_open_files(&broker, 0).expect("the limit of a child of ours");

    let mut waiting = Vec::new();
    for number in 0..WAITING {
        let version = if number % 2 == 0 { Version::V5 } else { Version::V311 };
        let mut client = Client::open(broker.address, version).await;
        client.send(&Connect::new(version, &format!("waiting {number}")).encode());
        waiting.push(client);
    }
    let complaint = "cannot accept connections";
    let complained = async {
        while !broker.log.lock().expect("the log").contains(complaint) {
            witness.ping().await;
        }
    };
    tokio::time::timeout(PATIENCE, complained).await.expect("the log says so");
    limit_open_files(&broker, before.current.unwrap_or(1_024)).expect("it is raised again");

    for client in &mut waiting {
        let answer = client.packet().await;
        assert!(matches!(answer, Packet::ConnAck { code: 0, .. }), "{answer:?}");
    }
    witness.ping().await;
}

/// Sets the soft limit of the broker's open files: the limits before.
fn limit_open_files(broker: &Broker, files: u64) -> io::Result<Rlimit> {
    let id = i32::try_from(broker.process.id()).map_err(io::Error::other)?;
    let before = rustix::process::getrlimit(Resource::Nofile);
    let limit = Rlimit { current: Some(files), maximum: before.maximum };
    Ok(prlimit(Pid::from_raw(id), Resource::Nofile, limit)?)
}
