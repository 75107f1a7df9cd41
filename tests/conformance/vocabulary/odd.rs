//! Packets that no right client writes.

use super::said::{Raw, Said, raw};
use super::wire::{self, Version, text};

/// A packet with other bytes in one place.
#[derive(Clone, Debug)]
pub(crate) struct Altered<S> {
    said: S,
    from: Vec<u8>,
    to: Vec<u8>,
}

/// The same packet with `to` in place of `from`, which stands in it once and is as long, so that
/// every length in the packet stays true.
pub(crate) fn altered<S: Said>(said: S, from: &str, to: impl AsRef<[u8]>) -> Altered<S> {
    let (from, to) = (from.as_bytes().to_vec(), to.as_ref().to_vec());
    assert_eq!(from.len(), to.len(), "lengths would be wrong");
    Altered { said, from, to }
}

impl<S: Said> Said for Altered<S> {
    fn encode(&self, version: Version) -> Vec<u8> {
        let mut bytes = self.said.encode(version);
        let mut places = bytes.windows(self.from.len()).enumerate();
        let at = places.find(|(_, window)| *window == self.from).expect("what is altered").0;
        assert!(!places.any(|(_, window)| *window == self.from), "it stands twice");
        bytes[at..at + self.to.len()].copy_from_slice(&self.to);
        bytes
    }
}

/// CONNECT without Keep Alive and properties, with these Connect Flags and this payload.
pub(crate) fn connect_with(version: Version, flags: u8, payload: &[&[u8]]) -> Raw {
    let (name, level) = match version {
        Version::V31 => ("MQIsdp", 3),
        Version::V311 => ("MQTT", 4),
        Version::V5 => ("MQTT", 5),
    };
    let mut body = text(name);
    body.extend([level, flags, 0, 0]);
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(payload.concat());
    packet(0x10, &body)
}

/// A packet with this first byte and these bytes after its Remaining Length.
pub(crate) fn packet(first: u8, body: &[u8]) -> Raw {
    raw(wire::packet(first, body))
}
