//! A thousand connections at once, more than there may be, and more than there can be.

use std::io;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::task::JoinSet;

use crate::support::{Broker, Client, Connect, Packet, Version, broker::PATIENCE, join, taker};

const CLIENTS: usize = 1_000;

/// A thousand subscribed clients of both versions, connected as fast as they come.
async fn crowd(broker: &Broker, filter: fn(usize) -> String, qos: u8) -> Vec<Client> {
    let address = broker.address;
    let mut joining = JoinSet::new();
    for number in 0..CLIENTS {
        joining.spawn(async move {
            let version = if number % 2 == 0 { Version::V5 } else { Version::V311 };
            let id = format!("crowd-{number}");
            (number, taker(address, version, &id, &filter(number), qos).await)
        });
    }
    let mut clients = joining.join_all().await;
    clients.sort_unstable_by_key(|(number, _)| *number);
    clients.into_iter().map(|(_, client)| client).collect()
}

#[tokio::test]
async fn a_thousand_connections_each_receive_their_own_message() {
    let broker = Broker::start();
    let mut clients = crowd(&broker, |number| format!("crowd/{number}"), 1).await;
    let mut publisher = join(broker.address, Version::V311, "publisher").await;

    for number in 0..CLIENTS {
        publisher.publish(&format!("crowd/{number}"), number.to_string(), 1);
    }
    publisher.wait_for_window(0).await;

    for (number, client) in clients.iter_mut().enumerate() {
        let message = client.message().await;
        assert_eq!(message.topic, format!("crowd/{number}"));
        assert_eq!(message.text(), number.to_string());
    }
    // A second round: nobody was lost, and nobody received anything else.
    for number in 0..CLIENTS {
        publisher.publish(&format!("crowd/{number}"), "again", 1);
    }
    publisher.wait_for_window(0).await;
    for client in &mut clients {
        assert_eq!(client.message().await.text(), "again");
    }
}

#[tokio::test]
async fn one_message_fans_out_to_a_thousand_subscribers_at_each_qos() {
    let broker = Broker::start();
    let mut clients = crowd(&broker, |_| "news/+".to_owned(), 2).await;
    let mut publisher = join(broker.address, Version::V5, "publisher").await;

    for qos in [0, 1, 2] {
        for number in 0..5 {
            publisher.publish("news/today", number.to_string(), qos);
        }
        publisher.wait_for_window(0).await;

        for client in &mut clients {
            for number in 0..5 {
                let message = client.message().await;
                assert_eq!((message.number(), message.qos), (number, qos));
            }
        }
    }
}

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
    second.disconnect().await;
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
