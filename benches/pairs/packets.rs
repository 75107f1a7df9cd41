//! The few packets of MQTT 3.1.1 that the load needs, as bytes.

/// Of every message.
pub(crate) const PAYLOAD_BYTES: usize = 64;

pub(crate) const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
pub(crate) const PUBACK_BYTES: usize = 4;

/// All lengths here fit one byte of Remaining Length and of a string's length.
fn length(bytes: usize) -> u8 {
    u8::try_from(bytes).ok().filter(|bytes| *bytes < 0x80).unwrap_or_default()
}

pub(crate) fn connect(client_id: &str) -> Vec<u8> {
    let mut packet = vec![0x10, length(12 + client_id.len()), 0, 4];
    packet.extend_from_slice(b"MQTT");
    // Version 4, Clean Session, no Keep Alive.
    packet.extend_from_slice(&[4, 2, 0, 0, 0, length(client_id.len())]);
    packet.extend_from_slice(client_id.as_bytes());
    packet
}

pub(crate) fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut packet = vec![0x82, length(5 + filter.len()), 0, 1, 0, length(filter.len())];
    packet.extend_from_slice(filter.as_bytes());
    packet.push(qos);
    packet
}

pub(crate) fn suback(qos: u8) -> [u8; 5] {
    [0x90, 3, 0, 1, qos]
}

pub(crate) fn puback(id: [u8; 2]) -> [u8; PUBACK_BYTES] {
    let [high, low] = id;
    [0x40, 2, high, low]
}

/// A PUBLISH whose payload begins with a number; all of one topic are equally long.
///
/// ```text
/// | fixed header, topic | Packet Identifier (QoS 1) | number | filler |
/// ```
#[derive(Clone, Debug)]
pub(crate) struct Template {
    head: Vec<u8>,
    has_id: bool,
}

/// What differs between two packets of a [`Template`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbered {
    pub(crate) id: [u8; 2],
    pub(crate) number: u64,
}

const NUMBER_BYTES: usize = size_of::<u64>();
const FILLER: [u8; PAYLOAD_BYTES - NUMBER_BYTES] = [b'x'; PAYLOAD_BYTES - NUMBER_BYTES];

impl Template {
    pub(crate) fn new(topic: &str, qos: u8) -> Self {
        let has_id = qos > 0;
        let id_bytes = if has_id { 2 } else { 0 };
        let remaining = 2 + topic.len() + id_bytes + PAYLOAD_BYTES;
        let mut head = vec![0x30 | qos << 1, length(remaining), 0, length(topic.len())];
        head.extend_from_slice(topic.as_bytes());
        Self { head, has_id }
    }

    pub(crate) fn has_id(&self) -> bool {
        self.has_id
    }

    pub(crate) fn length(&self) -> usize {
        self.head.len() + if self.has_id { 2 } else { 0 } + PAYLOAD_BYTES
    }

    /// As many packets as `count`, to be numbered.
    pub(crate) fn packets(&self, count: usize) -> Vec<u8> {
        let mut packet = self.head.clone();
        packet.resize(self.length() - FILLER.len(), 0);
        packet.extend_from_slice(&FILLER);
        packet.repeat(count)
    }

    pub(crate) fn write_number(&self, packet: &mut [u8], number: u64) {
        let Some(mut place) = packet.get_mut(self.head.len()..) else { return };
        if self.has_id {
            // Never 0; not repeated within any window.
            let id = u16::try_from(number % 0xffff).unwrap_or_default() + 1;
            let Some((first, rest)) = place.split_first_chunk_mut() else { return };
            *first = id.to_be_bytes();
            place = rest;
        }
        if let Some(first) = place.first_chunk_mut() {
            *first = number.to_be_bytes();
        }
    }

    /// The numbers of a packet, if all the rest of it is as it was sent.
    pub(crate) fn read(&self, packet: &[u8]) -> Option<Numbered> {
        let mut rest = packet.strip_prefix(self.head.as_slice())?;
        let mut id = [0; 2];
        if self.has_id {
            (id, rest) = rest.split_first_chunk().map(|(first, rest)| (*first, rest))?;
        }
        let (number, filler) = rest.split_first_chunk()?;
        (filler == FILLER).then_some(Numbered { id, number: u64::from_be_bytes(*number) })
    }
}
