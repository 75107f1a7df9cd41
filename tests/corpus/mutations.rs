//! Whole dialogues as clients have them, damaged at random: bits flipped, bytes and packets cut out,
//! repeated, put elsewhere. What comes of each is anybody's guess, but not how it looks.

use std::net::SocketAddr;

use crate::{
    case::{End, number},
    connect::{Connect, Will},
    layout::{VERSIONS, subscribe_to, unsubscribe_from},
    line::{Line, hex},
    run::listen,
    wire::{Packet, Properties, TOPIC_ALIAS, USER_PROPERTY, Value, Version, acknowledge, publish},
};

pub(crate) const SEED: u64 = 0x64_75_6E_6C_69_6E;

const COUNT: usize = 5_000;

#[derive(Debug)]
pub(crate) struct Dialogue {
    name: String,
    /// What was written; the version of what comes back is that which the bytes came to say.
    version: Version,
    bytes: Vec<u8>,
    /// The broker gets it in pieces that end here.
    cuts: Vec<usize>,
}

/// `SplitMix64`: numbers that look random and follow from one seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).expect("a small number");
        usize::try_from(self.next() % end).expect("a small number")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

pub(crate) fn all() -> Vec<Dialogue> {
    let mut random = Random(SEED);
    (0..COUNT).map(|index| damaged(&mut random, index)).collect()
}

fn damaged(random: &mut Random, index: usize) -> Dialogue {
    let version = VERSIONS[random.below(VERSIONS.len())];
    let mut packets = said(version, &format!("damaged-{index}"));
    let mut what = Vec::new();
    // Damage behind a good CONNECT goes deeper.
    let first = usize::from(random.below(4) > 0);
    for _ in 0..=random.below(4) {
        let at = first + random.below(packets.len() - first);
        what.push(damage(random, &mut packets, at));
    }
    let bytes = packets.concat();
    let cuts = (0..random.below(4)).map(|_| random.below(bytes.len() + 1));
    let mut cuts: Vec<usize> = cuts.collect();
    cuts.sort_unstable();
    let name = format!("{index}: {} with {}", number(version), what.join(", "));
    Dialogue { name, version: spoken(&bytes).unwrap_or(version), bytes, cuts }
}

fn damage(random: &mut Random, packets: &mut Vec<Vec<u8>>, at: usize) -> String {
    let length = packets[at].len();
    let (from, to) = (random.below(length), random.below(length));
    let (from, to) = (from.min(to), from.max(to) + 1);
    let other = random.below(packets.len());
    let byte = random.byte();
    let packet = &mut packets[at];
    if packet.is_empty() {
        return "nothing more".to_owned();
    }
    match random.below(9) {
        0 | 1 => {
            packet[from] ^= 1 << (byte % 8);
            format!("bit {} of byte {from} of packet {at} flipped", byte % 8)
        }
        2 => {
            packet[from] = [0x00, 0x01, 0x7F, 0x80, 0xFF, byte][usize::from(byte % 6)];
            format!("byte {from} of packet {at} replaced by {:#04x}", packet[from])
        }
        3 => {
            packet.drain(from..to);
            format!("bytes {from}..{to} of packet {at} cut out")
        }
        4 => {
            let part = packet[from..to].to_vec();
            packet.splice(from..from, part);
            format!("bytes {from}..{to} of packet {at} repeated")
        }
        5 => {
            packet.insert(from, byte);
            format!("{byte:#04x} inserted at {from} in packet {at}")
        }
        6 => {
            packet.truncate(from);
            format!("packet {at} cut after {from} bytes")
        }
        7 => {
            let again = packet.clone();
            packets.insert(other, again);
            format!("packet {at} repeated at {other}")
        }
        _ => {
            packets.swap(at, other);
            format!("packets {at} and {other} swapped")
        }
    }
}

/// What a client of the usual libraries says that has a Will, takes messages and publishes.
fn said(version: Version, client_id: &str) -> Vec<Vec<u8>> {
    let own = format!("{client_id}/t");
    let mut properties = Properties::default();
    let mut aliased = Properties::default();
    if version == Version::V5 {
        let pair = Value::Pair("name".to_owned(), "value".to_owned());
        properties.0.extend([(0x02, Value::Four(60)), (USER_PROPERTY, pair)]);
        aliased.0.push((TOPIC_ALIAS, Value::Two(1)));
    }
    let mut connect = Connect::new(version, client_id).keep_alive(60).username("user");
    connect = connect.will(Will::new("damaged/will", "gone"));
    if version == Version::V5 {
        connect = connect.property(0x21, Value::Two(20)).property(0x22, Value::Two(10));
    }
    vec![
        connect.encode(),
        subscribe_to(version, format!("{client_id}/#").as_bytes(), 2),
        publish(version, 0x30, &own, 0, &properties, b"at most once"),
        publish(version, 0x32, &own, 1, &properties, b"at least once"),
        publish(version, 0x34, &own, 2, &aliased, b"exactly once"),
        acknowledge(0x62, 2),
        // To what the broker sends on: it begins to count at 1.
        acknowledge(0x40, 1),
        acknowledge(0x50, 2),
        acknowledge(0x70, 2),
        vec![0xC0, 0x00],
        publish(version, 0x3A, &own, 3, &properties, b"again"),
        unsubscribe_from(version, format!("{client_id}/#").as_bytes()),
        vec![0xC0, 0x00],
        vec![0xE0, 0x00],
    ]
}

/// The version that the bytes say, if they still begin with a CONNECT.
fn spoken(bytes: &[u8]) -> Option<Version> {
    let length = bytes.iter().skip(1).take_while(|byte| **byte >= 0x80).count() + 2;
    let (name_bytes, name) = bytes.get(length..)?.split_at_checked(2)?;
    let name_bytes = usize::from(u16::from_be_bytes([name_bytes[0], name_bytes[1]]));
    let (name, rest) = name.split_at_checked(name_bytes)?;
    let level = *rest.first().filter(|_| matches!(name, b"MQTT" | b"MQIsdp"))?;
    match level {
        3 => Some(Version::V31),
        4 => Some(Version::V311),
        5.. => Some(Version::V5),
        _ => None,
    }
}

/// The broker answers in packets, at most one CONNACK and first, ends the connection at the latest
/// with what the client has to say, and says nothing behind a DISCONNECT.
pub(crate) fn check(address: SocketAddr, dialogue: &Dialogue) -> Result<(), String> {
    let mut line = Line::open(address, dialogue.version);
    let mut said = 0;
    for cut in dialogue.cuts.iter().copied().chain([dialogue.bytes.len()]) {
        line.say(&dialogue.bytes[said..cut]);
        said = cut;
    }
    line.finish();
    let mut packets = Vec::new();
    let end = loop {
        let seen = listen(&mut line);
        packets.extend(seen.packets);
        if seen.end != End::Pinged {
            break seen.end;
        }
        packets.push(Packet::PingResp);
    };
    match flaw(&packets, &end) {
        None => Ok(()),
        Some(flaw) => {
            let Dialogue { name, bytes, .. } = dialogue;
            let sent = hex(bytes);
            Err(format!("{name}: {flaw}\n    sent {sent}\n    seen {packets:x?} {end:?}"))
        }
    }
}

fn flaw(packets: &[Packet], end: &End) -> Option<&'static str> {
    if *end != End::Closed {
        return Some("the connection did not end well");
    }
    let is_conn_ack = |packet: &Packet| matches!(packet, Packet::ConnAck { .. });
    // [MQTT-3.2.0-1] [MQTT-3.2.0-2]
    if packets.first().is_some_and(|first| !is_conn_ack(first)) {
        return Some("something else came before the CONNACK");
    }
    if packets.iter().skip(1).any(is_conn_ack) {
        return Some("two CONNACKs");
    }
    // [MQTT-3.2.2-7] [MQTT-3.14.4-1]
    let is_last = |packet: &Packet| match packet {
        Packet::ConnAck { code, .. } => *code != 0,
        Packet::Disconnect { .. } => true,
        Packet::Publish(_)
        | Packet::PubAck { .. }
        | Packet::PubRec { .. }
        | Packet::PubRel { .. }
        | Packet::PubComp { .. }
        | Packet::SubAck { .. }
        | Packet::UnsubAck { .. }
        | Packet::PingResp
        | Packet::Auth { .. } => false,
    };
    let before_the_last = packets.len().saturating_sub(1);
    if packets.iter().take(before_the_last).any(is_last) {
        return Some("something came behind the last word");
    }
    None
}

#[test]
fn a_dialogue_that_looks_wrong_fails() {
    let conn_ack = |code| {
        let properties = Properties::default();
        Packet::ConnAck { session_present: false, code, properties }
    };
    let disconnect = || Packet::Disconnect { code: 0x81, properties: Properties::default() };
    let right = [
        vec![],
        vec![conn_ack(0x81)],
        vec![conn_ack(0), Packet::PingResp],
        vec![conn_ack(0), Packet::PingResp, disconnect()],
    ];
    let wrong = [
        vec![Packet::PingResp],
        vec![disconnect()],
        vec![conn_ack(0), conn_ack(0)],
        vec![conn_ack(0x81), Packet::PingResp],
        vec![conn_ack(0), disconnect(), Packet::PingResp],
    ];

    for packets in right {
        assert_eq!(flaw(&packets, &End::Closed), None, "{packets:?}");
        for end in [End::Reset, End::Silent, End::Nonsense(String::new())] {
            assert!(flaw(&packets, &end).is_some(), "{packets:?} {end:?}");
        }
    }
    for packets in wrong {
        assert!(flaw(&packets, &End::Closed).is_some(), "{packets:?}");
    }
}
