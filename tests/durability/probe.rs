//! Clients without a Session that is kept, who ask what the broker does with one message.

use std::net::SocketAddr;

use crate::connect::Connect;
use crate::ledger::StreamId;
use crate::link::{Gone, Link};
use crate::shared::Shared;
use crate::wire::{Message, Packet, Properties, Version, packet, publish, text};

/// Publishes to those who are kept, one message at a time over a connection of its own.
#[derive(Debug)]
pub(crate) struct Probe {
    streams: [StreamId; 2],
}

impl Probe {
    pub(crate) fn new(shared: &Shared) -> Self {
        let mut ledger = shared.ledger();
        Self { streams: [1, 2].map(|qos| ledger.stream(&format!("load/probe/{qos}"), qos)) }
    }

    /// The Reason Code of its PUBACK or PUBREC.
    pub(crate) async fn publish(
        &mut self,
        address: SocketAddr,
        shared: &Shared,
        version: Version,
        qos: u8,
    ) -> Result<u8, Gone> {
        let mut link = Link::open(address, &Connect::new(version, "")).await?;
        let stream = self.streams[usize::from(qos) - 1];
        let (number, payload) = shared.ledger().send(stream);
        // Until it is accepted nobody promised anything, and it is never sent again.
        shared.ledger().refused(stream, number);
        let (topic, none) = (format!("load/probe/{qos}"), Properties::default());
        link.send(&publish(version, 0x30 | (qos << 1), &topic, 1, &none, &payload));
        let code = match link.packet().await? {
            Packet::PubAck { code, .. } | Packet::PubRec { code, .. } => code,
            other => panic!("waiting for a PUBACK or PUBREC: {other:?}"),
        };
        if code < 0x80 {
            shared.ledger().accepted_after_all(stream, number);
        }
        link.leave().await;
        Ok(code)
    }

    pub(crate) async fn until_refused(&mut self, address: SocketAddr, shared: &Shared) {
        while self.publish(address, shared, Version::V5, 1).await != Ok(0x97) {}
    }

    pub(crate) async fn until_accepted(&mut self, address: SocketAddr, shared: &Shared) {
        for qos in [1, 2] {
            while self.publish(address, shared, Version::V5, qos).await != Ok(0) {}
        }
    }
}

/// Publishes and waits for the PUBACK.
pub(crate) async fn publish_once(address: SocketAddr, topic: &str, retained: bool) {
    let code = answer_to_one(address, topic, retained).await;
    assert!(matches!(code, 0 | 0x10), "{code:#04X}");
}

/// The Reason Code of the PUBACK.
pub(crate) async fn answer_to_one(address: SocketAddr, topic: &str, retained: bool) -> u8 {
    let version = Version::V5;
    let mut link = Link::open(address, &Connect::new(version, "")).await.expect("a connection");
    let first = 0x32 | u8::from(retained);
    link.send(&publish(version, first, topic, 1, &Properties::default(), b"once"));
    let code = match link.packet().await {
        Ok(Packet::PubAck { code, .. }) => code,
        other => panic!("waiting for a PUBACK: {other:?}"),
    };
    link.leave().await;
    code
}

/// What is retained reaches who is new.
pub(crate) async fn retained_reaches(address: SocketAddr, topic: &str) {
    let mut link = subscribed(address, topic).await;
    let Message { payload, retain, .. } = message(&mut link).await;
    assert_eq!((payload.as_slice(), retain), (&b"once"[..], true));
    link.leave().await;
}

/// A message of QoS 0 passes between two who are not kept.
pub(crate) async fn unkept_passes(address: SocketAddr) {
    let mut link = subscribed(address, "unkept").await;
    link.send(&publish(Version::V311, 0x30, "unkept", 0, &Properties::default(), b"passes"));
    assert_eq!(message(&mut link).await.payload, b"passes");
    link.leave().await;
}

async fn subscribed(address: SocketAddr, filter: &str) -> Link {
    let clean = Connect::new(Version::V311, "reader");
    let mut link = Link::open(address, &clean).await.expect("who is not kept is let in");
    link.send(&packet(0x82, &[&[0, 1], &text(filter)[..], &[0]].concat()));
    let answer = link.packet().await.expect("a SUBACK");
    assert!(matches!(&answer, Packet::SubAck { codes, .. } if codes == &[0]), "{answer:?}");
    link
}

async fn message(link: &mut Link) -> Message {
    match link.packet().await {
        Ok(Packet::Publish(message)) => message,
        other => panic!("waiting for a message: {other:?}"),
    }
}
