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
