//! The data types that packets are written in: reading them with checks, writing them without.

use super::PacketId;
use super::error::{DecodeError, MalformedPacket, ProtocolViolation};

/// Takes fields off the front of a slice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been taken yet.
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn len(self) -> usize {
        self.rest.len()
    }

    pub(super) fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    /// Ends the reading of a packet, which has to be used up.
    pub(super) fn finish(self) -> Result<(), MalformedPacket> {
        if self.rest.is_empty() { Ok(()) } else { Err(MalformedPacket::TrailingBytes) }
    }

    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], MalformedPacket> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or(MalformedPacket::FieldTooLong)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], MalformedPacket> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(MalformedPacket::FieldTooLong)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, MalformedPacket> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, MalformedPacket> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, MalformedPacket> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(super) fn var_int(&mut self) -> Result<u32, MalformedPacket> {
        let (value, length) = var_int(self.rest)?.ok_or(MalformedPacket::FieldTooLong)?;
        self.take(length)?;
        Ok(value)
    }

    /// Binary Data: two bytes of length, then as many bytes.
    #[inline]
    pub(super) fn binary(&mut self) -> Result<&'a [u8], MalformedPacket> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    pub(super) fn string(&mut self) -> Result<&'a str, MalformedPacket> {
        well_formed(self.binary()?)
    }

    /// Passes a string that has to be in order, but that nobody here reads.
    #[inline]
    pub(super) fn pass_string(&mut self) -> Result<(), MalformedPacket> {
        let bytes = self.binary()?;
        if is_plain(bytes) { Ok(()) } else { well_formed(bytes).map(drop) }
    }

    #[inline]
    pub(super) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        // [MQTT-2.2.1-3] [MQTT3-2.3.1-1]
        PacketId::new(self.u16()?).ok_or(ProtocolViolation::ZeroPacketId.into())
    }
}

fn well_formed(bytes: &[u8]) -> Result<&str, MalformedPacket> {
    // [MQTT-1.5.4-1] [MQTT3-1.5.3-1]: surrogates are ill-formed for `from_utf8` too.
    let text = str::from_utf8(bytes).map_err(|_| MalformedPacket::IllFormedString)?;
    // [MQTT-1.5.4-2] [MQTT3-1.5.3-2]
    if bytes.contains(&0) {
        return Err(MalformedPacket::NullCharacter);
    }
    Ok(text)
}

/// Whether it is all ASCII without U+0000, as nearly all strings are; eight bytes at a time, which
/// for the short ones takes a tenth of what `from_utf8` does.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    const LOWEST: u64 = 0x0101_0101_0101_0101;
    const HIGHEST: u64 = 0x8080_8080_8080_8080;
    // Of a byte that is 0 the subtraction borrows, which sets its highest bit.
    let is_plain_word = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        (word | word.wrapping_sub(LOWEST)) & HIGHEST == 0
    };
    match bytes.last_chunk() {
        // The last word may overlap the one before.
        Some(last) => bytes.as_chunks().0.iter().chain([last]).all(is_plain_word),
        None => bytes.iter().all(|byte| (1..0x80).contains(byte)),
    }
}

/// The value and length of the variable byte integer that `bytes` begin with; `None` if they are
/// too few to tell.
#[inline]
pub(super) fn var_int(bytes: &[u8]) -> Result<Option<(u32, usize)>, MalformedPacket> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            // [MQTT-1.5.5-1]: 80 00 would be a second way to write 0.
            if *byte == 0 && at > 0 {
                return Err(MalformedPacket::VariableByteIntegerNotShortest);
            }
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(MalformedPacket::VariableByteIntegerTooLong) }
}

/// How many bytes a variable byte integer has.
#[inline]
pub(super) fn var_int_length(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Where fields are written to: a buffer, or a count of the bytes they would take in one. With
/// both behind one trait, the lengths in a packet cannot differ from what is written.
///
/// A string or binary field holds 65,535 bytes. Decoded values, Topic Names and Topic Filters are
/// never longer; whatever else is, such as a Reason String of ours, is cut.
pub(super) trait Sink {
    fn put_bytes(&mut self, bytes: &[u8]);

    /// Writes what is known to have this length, or only counts it.
    fn put_counted(&mut self, length: usize, write: impl FnOnce(&mut Self));

    #[inline]
    fn put_u8(&mut self, value: u8) {
        self.put_bytes(&[value]);
    }

    #[inline]
    fn put_u16(&mut self, value: u16) {
        self.put_bytes(&value.to_be_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.put_bytes(&value.to_be_bytes());
    }

    #[inline]
    fn put_var_int(&mut self, value: usize) {
        let mut rest = value;
        while rest > 0x7F {
            let [low, ..] = rest.to_le_bytes();
            self.put_u8(low | 0x80);
            rest >>= 7;
        }
        let [low, ..] = rest.to_le_bytes();
        self.put_u8(low);
    }

    #[inline]
    fn put_binary(&mut self, bytes: &[u8]) {
        let (length, bytes) = match u16::try_from(bytes.len()) {
            Ok(length) => (length, bytes),
            Err(_) => (u16::MAX, bytes.get(..usize::from(u16::MAX)).unwrap_or_default()),
        };
        self.put_u16(length);
        self.put_bytes(bytes);
    }

    fn put_string(&mut self, text: &str) {
        let end = text.floor_char_boundary(usize::from(u16::MAX));
        self.put_binary(text.as_bytes().get(..end).unwrap_or_default());
    }
}

impl Sink for Vec<u8> {
    #[inline]
    fn put_bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn put_counted(&mut self, _length: usize, write: impl FnOnce(&mut Self)) {
        write(self);
    }
}

/// Counts what is written to it.
#[derive(Debug, Default)]
pub(super) struct Counter(pub(super) usize);

impl Sink for Counter {
    #[inline]
    fn put_bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    #[inline]
    fn put_counted(&mut self, length: usize, _write: impl FnOnce(&mut Self)) {
        self.0 += length;
    }
}

/// Gives views of several values, which are iterators, equality and a printed form by what they
/// hold: the bytes beneath may be interleaved with other things.
macro_rules! compare_and_print_by_elements {
    ($($name:ident),+) => {$(
        impl PartialEq for $name<'_> {
            fn eq(&self, other: &Self) -> bool {
                self.clone().eq(other.clone())
            }
        }

        impl Eq for $name<'_> {}

        impl std::fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_list().entries(self.clone()).finish()
            }
        }
    )+};
}
pub(super) use compare_and_print_by_elements;

/// Stands in printed packets for bytes that no log may show: payloads, passwords and the like.
pub(super) struct Hidden<'a>(pub(super) &'a [u8]);

impl std::fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // [MQTT-1.5.4-2]
    #[test]
    fn plain_is_what_has_neither_a_null_nor_a_byte_above_ascii_wherever_it_stands() {
        for length in 0..40 {
            let plain = vec![b'a'; length];
            assert!(is_plain(&plain), "{length}");
            for at in 0..length {
                for other in [0, 0x80, 0xFF] {
                    let mut bytes = plain.clone();
                    bytes[at] = other;
                    assert!(!is_plain(&bytes), "{other} at {at} of {length}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn passing_a_string_finds_wrong_what_reading_it_finds_wrong(
            text in prop::collection::vec(prop_oneof![0_u8..4, 0x7E_u8..0x82, any::<u8>()], 0..40)
        ) {
            let mut bytes = vec![0, u8::try_from(text.len()).unwrap()];
            bytes.extend(text);

            let (mut read, mut passed) = (Reader::new(&bytes), Reader::new(&bytes));

            prop_assert_eq!(read.string().map(drop), passed.pass_string());
            prop_assert_eq!(read.len(), passed.len());
        }
    }

    #[test]
    fn var_ints_have_the_lengths_of_the_standard_s_table() {
        for (value, length) in [
            (0, 1),
            (127, 1),
            (128, 2),
            (16_383, 2),
            (16_384, 3),
            (2_097_151, 3),
            (2_097_152, 4),
            (268_435_455, 4),
        ] {
            let mut bytes = Vec::new();
            bytes.put_var_int(value as usize);

            assert_eq!(bytes.len(), length);
            assert_eq!(var_int_length(value as usize), length);
            assert_eq!(var_int(&bytes), Ok(Some((value, length))));
            assert_eq!(var_int(&bytes[..length - 1]), Ok(None));
        }
    }

    #[test]
    fn a_string_too_long_for_its_field_is_cut_between_characters() {
        let mut bytes = Vec::new();

        bytes.put_string(&"é".repeat(40_000));

        assert_eq!(bytes.len(), 2 + 65_534);
        assert!(Reader::new(&bytes).string().is_ok());
    }

    #[test]
    fn binary_data_too_long_for_its_field_is_cut() {
        let mut bytes = Vec::new();

        bytes.put_binary(&[7; 70_000]);

        assert_eq!(bytes.len(), 2 + 65_535);
    }
}
