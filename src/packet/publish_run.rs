//! PUBLISH packets that follow one another and differ in nothing but their payloads.

use super::primitives::var_int;
use super::{Delivery, Frame, Publish};

/// A run ends before it is longer, in bytes: it is handed on to all its takers in one go.
const RUN_BYTES_MAX: usize = 16 * 1024;

/// Two or more whole packets of QoS 0, not to be retained and without Topic Alias.
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
