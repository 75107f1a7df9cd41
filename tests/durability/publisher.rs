//! A publisher that sends again what the broker did not answer for [MQTT-4.4.0-1].

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::connect::Connect;
use crate::ledger::StreamId;
use crate::link::{Gone, Link};
use crate::shared::Shared;
use crate::wire::{Packet, Properties, Version, acknowledge, publish};

const PUBREL: u8 = 0x62;

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Go on until it is over.
    Load,
    /// Bring everything to an end and leave.
    Finish,
}

#[derive(Debug)]
pub(crate) struct Publisher {
    name: String,
    connect: Connect,
    streams: Vec<StreamId>,
    /// How many messages may be unanswered.
    window: usize,
    /// In the order of sending.
    open: VecDeque<Open>,
    last_id: u16,
    turn: usize,
    /// Whether the broker has answered for its Session.
    promised: bool,
    /// Whether a message was refused on this connection, which gets no more of them.
    refused: bool,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    id: u16,
    stream: StreamId,
    number: u32,
    /// PUBREC came.
    received: bool,
}

impl Publisher {
    pub(crate) fn new(version: Version, name: &str, streams: Vec<StreamId>, window: usize) -> Self {
        let (name, connect) = (name.to_owned(), Connect::lasting(version, name));
        let (open, last_id, turn) = (VecDeque::new(), 0, 0);
        let (promised, refused) = (false, false);
        Self { name, connect, streams, window, open, last_id, turn, promised, refused }
    }

    pub(crate) async fn run(
        &mut self,
        address: SocketAddr,
        shared: &Shared,
        task: Task,
    ) -> Result<(), Gone> {
        let mut link = Link::open(address, &self.connect).await?;
        self.resume(&mut link, shared);
        let mut last_ones = self.streams.clone();
        loop {
            match task {
                Task::Load => self.fill(&mut link, shared),
                // The last of a stream follows when all before it was answered for.
                Task::Finish if self.open.is_empty() => match last_ones.pop() {
                    Some(stream) => self.send(&mut link, shared, stream),
                    None => {
                        link.leave().await;
                        return Ok(());
                    }
                },
                Task::Finish => {}
            }
            let packet = link.packet().await?;
            self.receive(&mut link, shared, &packet);
        }
    }

    fn resume(&mut self, link: &mut Link, shared: &Shared) {
        self.refused = false;
        shared.resumed(&self.name, self.promised, link.session_present);
        self.promised |= link.session_present;
        if !link.session_present {
            // A broker that knows nothing of them takes no PUBREL.
            self.open.retain(|open| !open.received);
        }
        for open in &self.open {
            if open.received {
                link.send(&acknowledge(PUBREL, open.id));
            } else {
                link.send(&encode(link.version, shared, open, true));
            }
        }
    }

    fn fill(&mut self, link: &mut Link, shared: &Shared) {
        while self.open.len() < self.window && !self.refused {
            let stream = self.streams[self.turn % self.streams.len()];
            self.turn += 1;
            self.send(link, shared, stream);
        }
    }

    fn send(&mut self, link: &mut Link, shared: &Shared, stream: StreamId) {
        let (number, _) = shared.ledger().send(stream);
        let open = Open { id: self.new_id(), stream, number, received: false };
        link.send(&encode(link.version, shared, &open, false));
        self.open.push_back(open);
    }

    fn receive(&mut self, link: &mut Link, shared: &Shared, packet: &Packet) {
        let (id, code) = match *packet {
            Packet::PubAck { packet_id, code, .. }
            | Packet::PubRec { packet_id, code, .. }
            | Packet::PubComp { packet_id, code, .. } => (packet_id, code),
            ref other => panic!("{} got {other:?}", self.name),
        };
        let Some(at) = self.open.iter().position(|open| open.id == id) else {
            panic!("{} got {packet:?} for nothing that is open", self.name);
        };
        let Open { stream, number, .. } = self.open[at];
        match packet {
            // PUBCOMP only ends the exchange.
            Packet::PubComp { .. } => {
                self.open.remove(at);
                return;
            }
            _ if code >= 0x80 => {
                shared.ledger().refused(stream, number);
                self.open.remove(at);
                self.refused = true;
                return;
            }
            Packet::PubRec { .. } => {
                self.open[at].received = true;
                link.send(&acknowledge(PUBREL, id));
            }
            _ => {
                self.open.remove(at);
            }
        }
        self.promised = true;
        shared.ledger().acknowledged(stream, number);
        shared.count_acknowledged();
    }

    fn new_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.open.iter().all(|open| open.id != self.last_id) {
                return self.last_id;
            }
        }
    }
}

fn encode(version: Version, shared: &Shared, open: &Open, dup: bool) -> Vec<u8> {
    let ledger = shared.ledger();
    let (topic, qos, retained) = ledger.topic(open.stream);
    let first = 0x30 | (qos << 1) | u8::from(retained) | if dup { 8 } else { 0 };
    let payload = ledger.payload(open.stream, open.number);
    publish(version, first, topic, open.id, &Properties::default(), &payload)
}
