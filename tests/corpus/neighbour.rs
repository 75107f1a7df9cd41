//! Clients that do nothing wrong, while others do: messages of each QoS flow between them, and none
//! may be lost, repeated or overtaken, nor may anything arrive of what the broker refused.

use std::{
    net::SocketAddr,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use crate::{
    case::REFUSED,
    connect::Connect,
    line::{Heard, Line},
    wire::{Message, Packet, Properties, Version, acknowledge, packet, publish, text},
};

/// How many clients the neighbourhood consists of.
pub(crate) const CLIENTS: u64 = 3;

/// The last message; its payload says how many rounds there were.
const LAST: &str = "neighbour/last";

pub(crate) struct Neighbourhood {
    rounds: SyncSender<()>,
    publisher: JoinHandle<u64>,
    subscribers: Vec<JoinHandle<u64>>,
}

impl Neighbourhood {
    /// Returns once everybody is there.
    pub(crate) fn move_in(address: SocketAddr) -> Self {
        let (rounds, asked_for) = sync_channel(1);
        let subscribers = [(Version::V311, "neighbour-v311"), (Version::V5, "neighbour-v5")];
        let subscribers = subscribers.map(|(version, client_id)| {
            let mut line = connected(address, version, client_id);
            subscribe(&mut line, version);
            thread::spawn(move || take(line))
        });
        let line = connected(address, Version::V5, "neighbour-from");
        let publisher = thread::spawn(move || give(line, &asked_for));
        Self { rounds, publisher, subscribers: subscribers.into() }
    }

    /// Has a message of each QoS sent, and waits while earlier ones are under way.
    pub(crate) fn another_round(&self) {
        // If the publisher is gone, `move_out` says why.
        let _ = self.rounds.send(());
    }

    /// How many messages of each QoS arrived, every one at each subscriber and in order.
    pub(crate) fn move_out(self) -> u64 {
        drop(self.rounds);
        let sent = self.publisher.join().expect("every PUBLISH next door was acknowledged");
        for subscriber in self.subscribers {
            let taken = subscriber.join().expect("the subscribers next door lost nothing");
            assert_eq!(taken, sent, "rounds that arrived next door");
        }
        sent
    }
}

fn connected(address: SocketAddr, version: Version, client_id: &str) -> Line {
    let mut line = Line::open(address, version);
    line.say(&Connect::new(version, client_id).encode());
    match line.hear() {
        Heard::Packet(Packet::ConnAck { code: 0, .. }) => line,
        other => panic!("{client_id} is not let in: {other:?}"),
    }
}

fn subscribe(line: &mut Line, version: Version) {
    let mut body = vec![0, 1];
    if version == Version::V5 {
        body.push(0);
    }
    for filter in ["neighbour/+", &format!("{REFUSED}#")] {
        body.extend(text(filter));
        body.push(2);
    }
    line.say(&packet(0x82, &body));
    match line.hear() {
        Heard::Packet(Packet::SubAck { codes, .. }) if codes == [2, 2] => {}
        other => panic!("waiting for a SUBACK: {other:?}"),
    }
}

/// A round is a message of each QoS, to a topic for each. Returns how many there were.
fn give(mut line: Line, asked_for: &Receiver<()>) -> u64 {
    let none = Properties::default();
    let mut rounds = 0_u64;
    while asked_for.recv().is_ok() {
        let payload = rounds.to_string();
        for (first, topic) in [(0x30, "neighbour/0"), (0x32, "neighbour/1"), (0x34, "neighbour/2")]
        {
            let packet_id = u16::from(first >> 1 & 3);
            line.say(&publish(Version::V5, first, topic, packet_id, &none, payload.as_bytes()));
        }
        match line.hear() {
            Heard::Packet(Packet::PubAck { packet_id: 1, code: 0, .. }) => {}
            other => panic!("waiting for a PUBACK: {other:?}"),
        }
        match line.hear() {
            Heard::Packet(Packet::PubRec { packet_id: 2, code: 0, .. }) => {}
            other => panic!("waiting for a PUBREC: {other:?}"),
        }
        line.say(&acknowledge(0x62, 2));
        match line.hear() {
            Heard::Packet(Packet::PubComp { packet_id: 2, code: 0, .. }) => {}
            other => panic!("waiting for a PUBCOMP: {other:?}"),
        }
        rounds += 1;
    }
    let payload = rounds.to_string();
    line.say(&publish(Version::V5, 0x32, LAST, 1, &none, payload.as_bytes()));
    match line.hear() {
        Heard::Packet(Packet::PubAck { packet_id: 1, code: 0, .. }) => rounds,
        other => panic!("waiting for the last PUBACK: {other:?}"),
    }
}

/// Takes messages up to the last one and returns how many of each QoS there were.
fn take(mut line: Line) -> u64 {
    let mut next = [0_u64; 3];
    let mut refused = Vec::new();
    loop {
        let message = match line.hear() {
            Heard::Packet(Packet::Publish(message)) => message,
            Heard::Packet(Packet::PubRel { packet_id, .. }) => {
                line.say(&acknowledge(0x70, packet_id));
                continue;
            }
            other => panic!("waiting for a message: {other:?}"),
        };
        match message.qos {
            0 => {}
            1 => line.say(&acknowledge(0x40, message.packet_id)),
            _ => line.say(&acknowledge(0x50, message.packet_id)),
        }
        if message.topic.starts_with(REFUSED) {
            refused.push(format!("{}: {}", message.topic, message.payload.escape_ascii()));
            continue;
        }
        if message.topic == LAST {
            let first = &refused[..refused.len().min(20)];
            assert!(refused.is_empty(), "what was refused came next door: {first:#?}");
            assert_eq!(next, [number(&message); 3], "messages of QoS 0, 1 and 2 next door");
            return next[0];
        }
        let qos = usize::from(message.qos);
        let topic = format!("neighbour/{qos}");
        assert_eq!(message.topic, topic, "a stranger's message next door: {message:?}");
        assert_eq!(number(&message), next[qos], "lost or overtaken next door: {message:?}");
        assert!(!message.dup && !message.retain, "{message:?}");
        next[qos] += 1;
    }
}

fn number(message: &Message) -> u64 {
    message.text().parse().expect("a number next door")
}
