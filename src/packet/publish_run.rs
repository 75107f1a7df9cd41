//! PUBLISH packets that follow one another and differ in nothing but their payloads.

use super::primitives::var_int;
use super::{Delivery, Frame, Publish};

/// A run ends before it is longer, in bytes: it is handed on to all its takers in one go.
const RUN_BYTES_MAX: usize = 16 * 1024;

/// Whole packets of QoS 0, not to be retained and without Topic Alias: two or more as they are found.
///
/// The first one was decoded. Of the others only the frame and the bytes before the payload are
/// looked at: where these are the same, nothing can be wrong that was right in the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishRun<'a> {
    bytes: &'a [u8],
    /// What stands between fixed header and payload in each of them.
    head: &'a [u8],
    packets: usize,
    longest: usize,
    payload_bytes: usize,
}

impl<'a> PublishRun<'a> {
    /// The run that `input` begins with, of packets up to `packet_bytes_max` long. `frame` and
    /// `publish` are its first packet.
    #[inline]
    #[must_use]
    pub fn find(
        frame: &Frame<'a>,
        publish: &Publish<'_>,
        input: &'a [u8],
        packet_bytes_max: usize,
    ) -> Option<Self> {
        // The usual end of what came at once.
        if input.get(frame.length) != Some(&frame.first_byte) {
            return None;
        }
        let plain = publish.delivery == Delivery::AtMostOnce
            && !publish.retain
            && publish.properties.topic_alias.is_none()
            && frame.length <= packet_bytes_max;
        if !plain {
            return None;
        }
        let head = frame.body.len().checked_sub(publish.payload.len())?;
        let head = frame.body.get(..head)?;
        Self::measure(frame.first_byte, head, input, packet_bytes_max.min(RUN_BYTES_MAX))
    }

    fn measure(
        first_byte: u8,
        head: &'a [u8],
        input: &'a [u8],
        packet_bytes_max: usize,
    ) -> Option<Self> {
        let (mut end, mut packets, mut longest, mut payload_bytes) = (0, 0, 0, 0);
        while let Some((packet, payload)) = next(first_byte, head, input.get(end..)?) {
            let length = packet.len();
            if length > packet_bytes_max || end + length > RUN_BYTES_MAX {
                break;
            }
            end += length;
            packets += 1;
            longest = longest.max(length);
            payload_bytes += payload.len();
        }
        let bytes = input.get(..end)?;
        (packets > 1).then_some(Self { bytes, head, packets, longest, payload_bytes })
    }

    /// Its first packets: as many as stay within both bounds, but never none.
    #[must_use]
    pub fn within(self, packets_max: usize, bytes_max: usize) -> Self {
        if self.packets <= packets_max && self.bytes.len() <= bytes_max {
            return self;
        }
        let mut first = Self { packets: 0, longest: 0, payload_bytes: 0, ..self };
        let mut end = 0;
        for (packet, payload) in self.iter() {
            let fits = first.packets < packets_max && end + packet.len() <= bytes_max;
            if first.packets > 0 && !fits {
                break;
            }
            end += packet.len();
            first.packets += 1;
            first.longest = first.longest.max(packet.len());
            first.payload_bytes += payload.len();
        }
        first.bytes = self.bytes.get(..end).unwrap_or(self.bytes);
        first
    }

    /// All packets, one behind the other.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many packets it has.
    #[must_use]
    pub fn packets(&self) -> usize {
        self.packets
    }

    /// The length of its longest packet, in bytes.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The length of all payloads together, in bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Each packet with its payload.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let (mut rest, head) = (self.bytes, self.head);
        std::iter::from_fn(move || {
            let found = next(*rest.first()?, head, rest)?;
            rest = rest.get(found.0.len()..)?;
            Some(found)
        })
    }
}

/// The packet that `input` begins with and its payload, if it is whole and like the others.
#[inline]
fn next<'a>(first_byte: u8, head: &[u8], input: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (&first, rest) = input.split_first()?;
    if first != first_byte {
        return None;
    }
    let (remaining, length_bytes) = var_int(rest).ok()??;
    let length = 1 + length_bytes + usize::try_from(remaining).ok()?;
    let packet = input.get(..length)?;
    let payload = packet.get(1 + length_bytes..)?.strip_prefix(head)?;
    Some((packet, payload))
}

#[cfg(test)]
mod tests {
    use super::super::{Framing, Packet, ProtocolVersion, PublishProperties, frame};
    use super::*;

    const TOPIC: &[u8] = b"a/b";
    const PACKET_BYTES_MAX: usize = 1_000;

    fn plain(payload: &[u8]) -> Publish<'_> {
        let properties = PublishProperties::default();
        let delivery = Delivery::AtMostOnce;
        Publish { delivery, retain: false, topic: TOPIC, properties, payload }
    }

    fn encoded(publishes: &[Publish<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for publish in publishes {
            Packet::Publish(publish.clone()).encode(ProtocolVersion::V5, &mut bytes);
        }
        bytes
    }

    fn found(input: &[u8]) -> Option<PublishRun<'_>> {
        let Ok(Framing::Complete(frame)) = frame(input, input.len()) else { panic!("no packet") };
        let Ok(Packet::Publish(publish)) = frame.decode(ProtocolVersion::V5) else {
            panic!("no PUBLISH");
        };
        PublishRun::find(&frame, &publish, input, PACKET_BYTES_MAX)
    }

    /// How many packets a run has that begins with two of the same kind, when this follows them.
    fn followed_by(more: &[u8]) -> usize {
        let alike = encoded(&[plain(b"one"), plain(b"two")]);
        found(&[&alike[..], more].concat()).map_or(1, |run| run.packets())
    }

    #[test]
    fn a_run_knows_its_packets() {
        let input = encoded(&[plain(b"one"), plain(b""), plain(b"three")]);
        let run = found(&input).unwrap();

        let packets: Vec<_> = run.iter().collect();

        assert_eq!(run.packets(), 3);
        assert_eq!(run.bytes(), input);
        assert_eq!(run.longest(), encoded(&[plain(b"three")]).len());
        assert_eq!(run.payload_bytes(), 8);
        assert_eq!(
            packets.iter().map(|found| found.1).collect::<Vec<_>>(),
            [&b"one"[..], b"", b"three"]
        );
        assert_eq!(packets.iter().map(|found| found.0).collect::<Vec<_>>().concat(), input);
    }

    #[test]
    fn one_packet_is_no_run() {
        assert_eq!(found(&encoded(&[plain(b"one")])), None);
        assert_eq!(found(&[encoded(&[plain(b"one")]), vec![0xC0, 0x00]].concat()), None);
    }

    #[test]
    fn a_run_ends_where_more_than_the_payload_differs() {
        let other_topic = Publish { topic: b"a/c", ..plain(b"x") };
        let longer_topic = Publish { topic: b"a/bc", ..plain(b"x") };
        let retained = Publish { retain: true, ..plain(b"x") };
        let expiring = PublishProperties { message_expiry: Some(1), ..Default::default() };
        let expiring = Publish { properties: expiring, ..plain(b"x") };

        assert_eq!(followed_by(&encoded(&[plain(b"three")])), 3);
        assert_eq!(followed_by(&encoded(&[other_topic])), 2);
        assert_eq!(followed_by(&encoded(&[longer_topic])), 2);
        assert_eq!(followed_by(&encoded(&[retained])), 2);
        assert_eq!(followed_by(&encoded(std::slice::from_ref(&expiring))), 2);
        assert_eq!(found(&encoded(&[expiring.clone(), expiring])).unwrap().packets(), 2);
    }

    #[test]
    fn one_packet_before_another_topic_is_no_run() {
        let other_topic = Publish { topic: b"a/c", ..plain(b"x") };

        assert_eq!(found(&encoded(&[plain(b"one"), other_topic])), None);
    }

    #[test]
    fn the_beginning_of_a_run_stays_within_both_bounds() {
        let payloads: [&[u8]; 4] = [b"one", b"three", b"", b"seventeen"];
        let input = encoded(&payloads.map(plain));
        let run = found(&input).unwrap();
        let of = |count: usize| {
            let bytes = encoded(&payloads.map(plain)[..count]);
            let packets = &payloads[..count];
            let longest = packets.iter().map(|payload| encoded(&[plain(payload)]).len()).max();
            let payload_bytes = packets.iter().map(|payload| payload.len()).sum();
            (count, bytes, longest.unwrap(), payload_bytes)
        };
        let within = |packets_max, bytes_max| {
            let first = run.within(packets_max, bytes_max);
            let bytes = first.bytes().to_vec();
            assert_eq!(first.iter().count(), first.packets());
            (first.packets(), bytes, first.longest(), first.payload_bytes())
        };
        let two = of(2).1.len();

        assert_eq!(within(4, input.len()), of(4));
        assert_eq!(within(3, input.len()), of(3));
        assert_eq!(within(4, input.len() - 1), of(3));
        assert_eq!(within(3, two), of(2));
        assert_eq!(within(2, input.len()), of(2));
        assert_eq!(within(4, two), of(2));
        assert_eq!(within(4, two - 1), of(1));
        assert_eq!(within(1, 1), of(1), "one is always handed on");
        assert_eq!(within(0, 0), of(1));
    }

    #[test]
    fn a_run_ends_before_what_is_no_whole_packet() {
        let next = encoded(&[plain(b"three")]);

        assert_eq!(followed_by(&next[..1]), 2);
        assert_eq!(followed_by(&next[..next.len() - 1]), 2);
        assert_eq!(followed_by(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF]), 2);
        assert_eq!(followed_by(&[0x30, 0x80, 0x00]), 2);
    }

    #[test]
    fn only_plain_messages_of_qos_0_make_a_run() {
        let id = super::super::PacketId::new(1).unwrap();
        let one = Delivery::AtLeastOnce { id, dup: false };
        let aliased = PublishProperties { topic_alias: Some(1), ..Default::default() };
        for other in [
            Publish { delivery: one, ..plain(b"x") },
            Publish { retain: true, ..plain(b"x") },
            Publish { properties: aliased, ..plain(b"x") },
        ] {
            assert_eq!(found(&encoded(&[other.clone(), other])), None);
        }
    }

    #[test]
    fn neither_a_packet_nor_a_run_is_too_long() {
        let overhead = encoded(&[plain(&[b'x'; 500])]).len() - 500;
        let longest = vec![b'x'; PACKET_BYTES_MAX - overhead];
        let too_long = [&longest[..], b"x"].concat();

        assert_eq!(followed_by(&encoded(&[plain(&longest)])), 3);
        assert_eq!(followed_by(&encoded(&[plain(&too_long)])), 2);
        assert_eq!(found(&encoded(&[plain(&too_long), plain(b"x")])), None);
        let many = vec![plain(&longest); 20];
        assert_eq!(found(&encoded(&many)).unwrap().packets(), RUN_BYTES_MAX / PACKET_BYTES_MAX);
        let exact = vec![plain(&[b'x'; 512 - 9]); 40];
        assert_eq!(encoded(&exact[..1]).len(), 512);
        assert_eq!(found(&encoded(&exact)).unwrap().bytes().len(), RUN_BYTES_MAX);
    }
}
