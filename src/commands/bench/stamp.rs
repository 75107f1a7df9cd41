//! What a payload begins with, so that whoever receives it can tell what it is and when it was sent.

/// The least that a payload has.
pub(super) const STAMP_BYTES: usize = 24;

const FILLER: u8 = b'x';

/// ```text
/// | run, 4 bytes | stream, 4 | number, 8 | sent, 8 | filler |
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    /// Told apart by it: what another run left in the broker.
    pub(super) run: u32,
    /// Whose sequence it is: one publisher's on one topic.
    pub(super) stream: u32,
    pub(super) number: u64,
    /// In nanoseconds of the run.
    pub(super) sent: u64,
}

/// What all payloads of a run have behind their stamps.
#[derive(Clone, Debug)]
pub(super) struct Filler(Box<[u8]>);

impl Filler {
    /// For payloads of this length.
    pub(super) fn new(payload_bytes: usize) -> Self {
        Self(vec![FILLER; payload_bytes.saturating_sub(STAMP_BYTES)].into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The stamp of a payload, if all the rest of it is as it was sent.
    #[inline]
    pub(super) fn read(&self, payload: &[u8]) -> Option<Stamp> {
        let (stamp, rest) = payload.split_first_chunk()?;
        (*rest == *self.0).then(|| Stamp::read(stamp))
    }

    pub(super) fn payload_bytes(&self) -> usize {
        STAMP_BYTES + self.0.len()
    }

    /// A payload to take the length from.
    pub(super) fn sample(&self) -> Vec<u8> {
        vec![FILLER; self.payload_bytes()]
    }
}

impl Stamp {
    #[inline]
    pub(super) fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let ([a, b, c, d], [e, f, g, h]) = (self.run.to_be_bytes(), self.stream.to_be_bytes());
        let [i, j, k, l, m, n, o, p] = self.number.to_be_bytes();
        let [q, r, s, t, u, v, w, x] = self.sent.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x]
    }

    #[inline]
    fn read(bytes: &[u8; STAMP_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x] = *bytes;
        Self {
            run: u32::from_be_bytes([a, b, c, d]),
            stream: u32::from_be_bytes([e, f, g, h]),
            number: u64::from_be_bytes([i, j, k, l, m, n, o, p]),
            sent: u64::from_be_bytes([q, r, s, t, u, v, w, x]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written_and_a_damaged_payload_is_not() {
        let stamp = Stamp { run: 0x0102_0304, stream: 5, number: 6 << 40, sent: 7 << 33 };
        let filler = Filler::new(64);
        let mut payload = [&stamp.to_bytes(), filler.as_bytes()].concat();

        assert_eq!(payload.len(), 64);
        assert_eq!(filler.read(&payload), Some(stamp));
        assert_eq!(filler.read(&payload[..63]), None);
        payload[40] = b'y';
        assert_eq!(filler.read(&payload), None);
    }
}
