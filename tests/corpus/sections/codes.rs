//! Reason Codes: every value in every packet of a client that has one.

use crate::{
    case::{Case, Corpus, Expected, code},
    wire::{Version, packet, text},
};

/// The codes that the standard lets a client use.
const BY_CLIENTS: [(&str, u8, &[u8]); 6] = [
    ("PUBACK", 0x40, &[0x00, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    ("PUBREC", 0x50, &[0x00, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    ("PUBREL", 0x62, &[0x00, 0x92]),
    ("PUBCOMP", 0x70, &[0x00, 0x92]),
    (
        "DISCONNECT",
        0xE0,
        &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99],
    ),
    ("AUTH", 0xF0, &[]),
];

/// Codes that only a server has in a DISCONNECT. Nothing is said of a client that sends one.
const DISCONNECT_BY_SERVERS: [u8; 16] = [
    0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];

/// Of PUBACK and PUBREC of a server: No matching subscribers.
const BY_SERVERS: u8 = 0x10;

pub(super) fn add(corpus: &mut Corpus) {
    let rule = "[MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-3.14.2-1] \
                [MQTT-3.15.2-1]";
    corpus.add("Reason Codes", rule, BY_CLIENTS.into_iter().flat_map(each_code).collect());
}

fn each_code((name, first, allowed): (&str, u8, &[u8])) -> Vec<Case> {
    let cases = (0x00..=0xFF).filter_map(|reason: u8| {
        let body = match first {
            0xE0 => vec![reason, 0],
            // With a method, so that nothing else is wrong with it.
            0xF0 => [&[reason, 7, 0x15], &text("SCRM")[..]].concat(),
            _ => vec![0, 1, reason, 0],
        };
        let expected = match (first, allowed.contains(&reason)) {
            (0xE0, true) => Expected::Closed,
            (_, true) => Expected::Alive,
            (0x40 | 0x50, false) if reason == BY_SERVERS => return None,
            (0xE0, false) if DISCONNECT_BY_SERVERS.contains(&reason) => {
                Expected::DisconnectOrClosed(&[code::MALFORMED, code::PROTOCOL])
            }
            (_, false) => Expected::Disconnect(&[code::MALFORMED, code::PROTOCOL]),
        };
        let name = format!("{name} with {reason:#04x}");
        Some(Case::new(name, Version::V5, packet(first, &body), expected))
    });
    cases.collect()
}
