//! Acknowledgements of one kind that follow one another and say nothing but that all went well.

use super::{Frame, PacketId};

/// A run ends before it has more packets.
const RUN_PACKETS_MAX: usize = 64;

/// PUBACK, PUBREC, PUBREL or PUBCOMP packets behind one that was decoded, of its kind and without a
/// Reason Code: in every version each is two bytes and a Packet Identifier then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckRun<'a>(&'a [[u8; 4]]);

impl<'a> AckRun<'a> {
    /// The packets behind `frame`, with which `input` begins; often there are none.
    #[inline]
    #[must_use]
    pub fn behind(frame: &Frame<'_>, input: &'a [u8]) -> Self {
        let (packets, _) = input.get(frame.length..).unwrap_or_default().as_chunks();
        let alike = |[first_byte, length, high, low]: &&[u8; 4]| {
            *first_byte == frame.first_byte && *length == 2 && (*high, *low) != (0, 0)
        };
        let count = packets.iter().take(RUN_PACKETS_MAX).take_while(alike).count();
        Self(packets.get(..count).unwrap_or_default())
    }

    /// How many packets it has.
    #[must_use]
    pub fn packets(&self) -> usize {
        self.0.len()
    }

    /// The length of all of them together, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.as_flattened().len()
    }

    pub fn ids(&self) -> impl Iterator<Item = PacketId> + use<'a> {
        self.0.iter().filter_map(|[.., high, low]| PacketId::new(u16::from_be_bytes([*high, *low])))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Framing, frame};
    use super::*;

    /// What stands behind the first packet.
    fn found(input: &[u8]) -> (Vec<u16>, usize, usize) {
        let Framing::Complete(frame) = frame(input, 1_000).unwrap() else {
            panic!("half a packet")
        };
        let run = AckRun::behind(&frame, input);
        (run.ids().map(PacketId::value).collect(), run.packets(), run.bytes())
    }

    const FIRST: [u8; 4] = [0x40, 2, 0, 9];

    fn behind(others: &[u8]) -> (Vec<u16>, usize, usize) {
        found(&[&FIRST, others].concat())
    }

    #[test]
    fn it_is_what_follows_and_is_of_the_same_kind() {
        assert_eq!(behind(&[]), (vec![], 0, 0));
        assert_eq!(behind(&[0x40, 2, 1, 0, 0x40, 2, 0, 1]), (vec![256, 1], 2, 8));
        assert_eq!(behind(&[0x40, 2, 0, 1, 0x50, 2, 0, 2, 0x40, 2, 0, 3]), (vec![1], 1, 4));
        assert_eq!(behind(&[0x40, 2, 0, 1, 0x40, 2, 0]), (vec![1], 1, 4));
    }

    #[test]
    fn it_ends_before_what_has_to_be_decoded() {
        // A Reason Code, a longer length than is needed, and no Packet Identifier.
        for odd in [&[0x40, 3, 0, 1, 0x97][..], &[0x40, 0x82, 0, 0, 1], &[0x40, 2, 0, 0]] {
            let others = [&[0x40, 2, 0, 1], odd, &[0x40, 2, 0, 2]].concat();
            assert_eq!(behind(&others), (vec![1], 1, 4), "{odd:?}");
        }
    }

    #[test]
    fn its_first_packet_may_be_longer() {
        assert_eq!(found(&[0x50, 3, 0, 9, 0x97, 0x50, 2, 0, 1]), (vec![1], 1, 4));
    }

    #[test]
    fn it_has_a_bound() {
        let others = [0x40, 2, 0, 1].repeat(100);
        assert_eq!(behind(&others).1, RUN_PACKETS_MAX);
    }
}
