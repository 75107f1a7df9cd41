//! Many messages for many Sessions that are away, and what they take.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Range;

use crate::connect::Connect;
use crate::link::{Gone, Link};
use crate::wire::{
    Message, Packet, Properties, Version, acknowledge, packet, publish as encode, text,
};

const VERSION: Version = Version::V311;
pub(crate) const PAYLOAD_BYTES: usize = 200;

/// Unanswered messages of the one publisher; 3.1.1 knows no Receive Maximum.
const WINDOW: u32 = 2_000;

fn name(session: u32) -> String {
    format!("bulk-{session}")
}

fn topic(session: u32) -> String {
    format!("bulk/{session}")
}

fn payload(session: u32, number: u32, bytes: usize) -> Vec<u8> {
    let mut payload = format!("{session} {number} ").into_bytes();
    payload.resize(bytes, b'.');
    payload
}

/// A Session that is subscribed to its own topic and away.
pub(crate) async fn subscribe_away(address: SocketAddr, session: u32) {
    let connect = Connect::lasting(VERSION, &name(session));
    let mut link = Link::open(address, &connect).await.expect("a connection");
    link.append(&subscription(&topic(session)));
    match link.packet().await {
        Ok(Packet::SubAck { codes, .. }) => assert_eq!(codes, [1]),
        other => panic!("waiting for a SUBACK: {other:?}"),
    }
    link.leave().await;
}

/// Messages with these numbers to each of the Sessions in turn, all acknowledged.
pub(crate) async fn publish(
    address: SocketAddr,
    sessions: u32,
    numbers: Range<u32>,
    payload_bytes: usize,
) {
    let mut link = Link::open(address, &Connect::new(VERSION, "")).await.expect("a connection");
    let (mut unanswered, mut id) = (0, 0_u16);
    for number in numbers {
        for session in 0..sessions {
            id = id.checked_add(1).unwrap_or(1);
            let (topic, payload) = (topic(session), payload(session, number, payload_bytes));
            let none = Properties::default();
            link.append(&encode(VERSION, 0x32, &topic, id, &none, &payload));
            unanswered += 1;
            while unanswered >= WINDOW {
                take_puback(&mut link).await;
                unanswered -= 1;
            }
        }
    }
    for _ in 0..unanswered {
        take_puback(&mut link).await;
    }
    link.leave().await;
}

/// Messages for a Session that is away, until one is refused for want of room: how many were not.
pub(crate) async fn fill(address: SocketAddr, session: u32, payload_bytes: usize) -> u32 {
    let (version, none) = (Version::V5, Properties::default());
    let mut link = Link::open(address, &Connect::new(version, "")).await.expect("a connection");
    let mut number = 0;
    loop {
        let payload = payload(session, number, payload_bytes);
        link.append(&encode(version, 0x32, &topic(session), 1, &none, &payload));
        match link.packet().await {
            Ok(Packet::PubAck { code: 0, .. }) => number += 1,
            Ok(Packet::PubAck { code: 0x97, .. }) => break,
            other => panic!("waiting for a PUBACK: {other:?}"),
        }
    }
    link.leave().await;
    number
}

/// Takes so many messages and acknowledges them.
pub(crate) async fn drain(address: SocketAddr, session: u32, count: u32, payload_bytes: usize) {
    let mut link = come_back(address, session).await;
    for number in 0..count {
        let message = next_message(&mut link).await.expect("the connection stands");
        assert_eq!(message.payload, payload(session, number, payload_bytes));
        link.append(&acknowledge(0x40, message.packet_id));
    }
    assert_eq!(next_message_before_pong(&mut link).await, Ok(None), "nothing is left");
    link.leave().await;
}

/// Connects and lets so many messages come without an answer.
pub(crate) async fn hold(address: SocketAddr, session: u32, count: u32) -> Link {
    let mut link = come_back(address, session).await;
    for _ in 0..count {
        next_message(&mut link).await.expect("the connection stands");
    }
    link
}

/// The numbers of the messages that a Session still has, as far as it is there itself.
pub(crate) async fn take_what_is_there(address: SocketAddr, session: u32) -> BTreeSet<u32> {
    let connect = Connect::lasting(VERSION, &name(session));
    let mut link = Link::open(address, &connect).await.expect("a connection");
    let mut found = BTreeSet::new();
    // What is published now follows all that waits.
    link.append(&subscription(&topic(session)));
    link.append(&encode(VERSION, 0x32, &topic(session), 1, &Properties::default(), b"end"));
    loop {
        let message = next_message(&mut link).await.expect("the connection stands");
        link.append(&acknowledge(0x40, message.packet_id));
        if message.payload == b"end" {
            break;
        }
        let text = String::from_utf8_lossy(&message.payload);
        let number = text.split(' ').nth(1).and_then(|number| number.parse().ok());
        let number = number.unwrap_or_else(|| panic!("never sent: {text}"));
        assert_eq!(message.payload, payload(session, number, PAYLOAD_BYTES), "altered");
        found.insert(number);
    }
    link.leave().await;
    found
}

pub(crate) async fn count_retained(address: SocketAddr, filter: &str) -> usize {
    let mut link = Link::open(address, &Connect::new(VERSION, "")).await.expect("a connection");
    let body = [&[0, 2], &text(filter)[..], &[1], &text("end/of/retained"), &[1]].concat();
    let none = Properties::default();
    link.append(&encode(VERSION, 0x33, "end/of/retained", 1, &none, b"end"));
    link.append(&packet(0x82, &body));
    let mut count = 0;
    loop {
        let message = next_message(&mut link).await.expect("the connection stands");
        link.append(&acknowledge(0x40, message.packet_id));
        match (message.retain, message.topic.as_str()) {
            (true, "end/of/retained") => break,
            (true, _) => count += 1,
            (false, _) => {}
        }
    }
    link.leave().await;
    count
}

async fn come_back(address: SocketAddr, session: u32) -> Link {
    let connect = Connect::lasting(VERSION, &name(session));
    let link = Link::open(address, &connect).await.expect("a connection");
    assert!(link.session_present, "{}", name(session));
    link
}

fn subscription(filter: &str) -> Vec<u8> {
    packet(0x82, &[&[0, 1], &text(filter)[..], &[1]].concat())
}

async fn take_puback(link: &mut Link) {
    let answer = link.packet().await;
    assert!(matches!(answer, Ok(Packet::PubAck { .. })), "waiting for a PUBACK: {answer:?}");
}

async fn next_message(link: &mut Link) -> Result<Message, Gone> {
    loop {
        match link.packet().await? {
            Packet::Publish(message) => return Ok(message),
            Packet::PubAck { .. } | Packet::SubAck { .. } => {}
            other => panic!("waiting for a message: {other:?}"),
        }
    }
}

/// The next message, if one comes before the answer to a PINGREQ.
async fn next_message_before_pong(link: &mut Link) -> Result<Option<Message>, Gone> {
    link.append(&[0xC0, 0x00]);
    match link.packet().await? {
        Packet::Publish(message) => Ok(Some(message)),
        Packet::PingResp => Ok(None),
        other => panic!("waiting for a PINGRESP: {other:?}"),
    }
}
