//! fjall's journals, read without fjall: what is sound in a damaged one is not lost with the rest.
//!
//! fjall stops at the first byte it cannot read and cuts off what follows, or refuses to open. For a
//! group that was being written when the power went that is right; for a damaged byte in the middle
//! it is not. So every journal is checked before fjall sees it:
//!
//! ```text
//! batch   1  items (4)  sequence (8)   entry ..   3  checksum of the entries (8)  "FJL" 3
//! entry   2  type  0  keyspace (8)  key length (2)  value length (4)  length (4)  key  value
//!         4  keyspace (8)
//! ```
//!
//! Numbers are little-endian. The version of fjall is pinned, so this is what it writes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::keys::Family;

/// What a journal is called when there is no other.
pub(super) const FIRST: &str = "0.jnl";

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8] = &[b'F', b'J', b'L', 3];
const START_BYTES: usize = 13;
const VALUE: u8 = 0;

/// Sequence numbers of neighbours are never so far apart.
const GAP_MAX: u64 = 1 << 40;
const CHUNK: usize = 256 << 10;

/// A batch that is as it was written.
#[derive(Clone, Debug)]
struct Batch {
    sequence: u64,
    /// Where its entries are, counted from its first byte.
    entries: Range<usize>,
    length: usize,
}

/// One key of a batch.
pub(super) struct Item<'b> {
    pub(super) family: Family,
    pub(super) key: &'b [u8],
    /// `None` deletes it.
    pub(super) value: Option<&'b [u8]>,
}

/// What a journal is like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Soundness {
    Sound,
    /// It ends in something incomplete; what is before these bytes is sound.
    CutOff(u64),
    /// There is something sound behind something that is not.
    Damaged,
}

/// The journals of a store, the oldest first.
pub(super) fn journals(store: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number
            && path.extension().is_some_and(|extension| extension == "jnl")
        {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Walks a journal, without having more than one batch in memory.
pub(super) fn check(path: &Path) -> io::Result<Soundness> {
    let mut file = File::open(path)?;
    let (mut buffer, mut at, mut before) = (Vec::new(), 0, None);
    loop {
        if buffer.is_empty() && !read_more(&mut file, &mut buffer)? {
            return Ok(Soundness::Sound);
        }
        if buffer.first() == Some(&0) {
            return if is_zero_to_the_end(&mut file, buffer)? {
                Ok(Soundness::Sound)
            } else {
                examine(path, at)
            };
        }
        match parse(&buffer) {
            Ok(batch) if follows(before, batch.sequence) => {
                before = Some(batch.sequence);
                at += batch.length as u64;
                buffer.drain(..batch.length);
            }
            Err(Flaw::TooShort) if read_more(&mut file, &mut buffer)? => {}
            Ok(_) | Err(Flaw::TooShort | Flaw::Damaged) => return examine(path, at),
        }
    }
}

fn follows(before: Option<u64>, sequence: u64) -> bool {
    before.is_none_or(|before| before < sequence && sequence - before < GAP_MAX)
}

/// All up to `sound` is sound, and what comes then is not.
fn examine(path: &Path, sound: u64) -> io::Result<Soundness> {
    let bytes = fs::read(path)?;
    let rest = usize::try_from(sound).ok().and_then(|sound| bytes.get(sound..));
    let goes_on = sound_batches(rest.unwrap_or_default()).next().is_some();
    Ok(if goes_on { Soundness::Damaged } else { Soundness::CutOff(sound) })
}

fn read_more(file: &mut File, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let before = buffer.len();
    // Twice as much for a batch that is large, so that it is not looked at too often.
    file.take(CHUNK.max(before) as u64).read_to_end(buffer)?;
    Ok(buffer.len() > before)
}

fn is_zero_to_the_end(file: &mut File, mut buffer: Vec<u8>) -> io::Result<bool> {
    loop {
        if buffer.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        buffer.clear();
        if !read_more(file, &mut buffer)? {
            return Ok(true);
        }
    }
}

/// Why there is no batch.
enum Flaw {
    /// It may be one if more is read.
    TooShort,
    Damaged,
}

/// The batch that the bytes begin with.
fn parse(bytes: &[u8]) -> Result<Batch, Flaw> {
    let mut reader = Cursor { bytes, at: 0 };
    if reader.byte()? != START {
        return Err(Flaw::Damaged);
    }
    let count = u32::from_le_bytes(*reader.array()?);
    let sequence = u64::from_le_bytes(*reader.array()?);
    for _ in 0..count {
        reader.entry()?;
    }
    let entries = START_BYTES..reader.at;
    if reader.byte()? != END {
        return Err(Flaw::Damaged);
    }
    let checksum = u64::from_le_bytes(*reader.array()?);
    if reader.slice(TRAILER.len())? != TRAILER {
        return Err(Flaw::Damaged);
    }
    if xxh3_64(bytes.get(entries.clone()).unwrap_or_default()) != checksum {
        return Err(Flaw::Damaged);
    }
    Ok(Batch { sequence, entries, length: reader.at })
}

struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Cursor<'b> {
    fn slice(&mut self, length: usize) -> Result<&'b [u8], Flaw> {
        let end = self.at.checked_add(length).ok_or(Flaw::Damaged)?;
        let slice = self.bytes.get(self.at..end).ok_or(Flaw::TooShort)?;
        self.at = end;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self) -> Result<&'b [u8; N], Flaw> {
        self.slice(N)?.try_into().map_err(|_| Flaw::TooShort)
    }

    fn byte(&mut self) -> Result<u8, Flaw> {
        let [byte] = self.array()?;
        Ok(*byte)
    }

    /// None if a keyspace is cleared.
    fn entry(&mut self) -> Result<Option<Item<'b>>, Flaw> {
        match self.byte()? {
            ITEM => {}
            CLEAR => {
                self.slice(8)?;
                return Ok(None);
            }
            _ => return Err(Flaw::Damaged),
        }
        let kind = self.byte()?;
        let compression = self.byte()?;
        let keyspace = u64::from_le_bytes(*self.array()?);
        let key_length = u16::from_le_bytes(*self.array()?);
        let value_length = u32::from_le_bytes(*self.array()?);
        let length = u32::from_le_bytes(*self.array()?);
        // A length that was damaged would ask for more and more of the file.
        let family = family(keyspace).ok_or(Flaw::Damaged)?;
        if compression != 0 || value_length != length {
            return Err(Flaw::Damaged);
        }
        let key = self.slice(key_length.into())?;
        let value = self.slice(usize::try_from(length).map_err(|_| Flaw::Damaged)?)?;
        Ok(Some(Item { family, key, value: (kind == VALUE).then_some(value) }))
    }
}

/// All batches that are sound, wherever they are.
fn sound_batches(bytes: &[u8]) -> impl Iterator<Item = (Range<usize>, Batch)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
            match parse(rest) {
                Ok(batch) => {
                    let range = at..at + batch.length;
                    at = range.end;
                    return Some((range, batch));
                }
                Err(_) => {
                    let next = rest.iter().skip(1).position(|byte| *byte == START)?;
                    at += next + 1;
                }
            }
        }
    })
}

/// Writes a journal anew with what is sound in it: how many gaps it had.
pub(super) fn repair(path: &Path) -> io::Result<usize> {
    let bytes = fs::read(path)?;
    let (mut sound, mut gaps, mut end) = (Vec::new(), 0, 0);
    let batches: Vec<_> = sound_batches(&bytes).collect();
    let mut least_after = u64::MAX;
    let mut limits = Vec::with_capacity(batches.len());
    for (_, batch) in batches.iter().rev() {
        limits.push(least_after);
        least_after = least_after.min(batch.sequence);
    }
    let mut before = None;
    for ((range, batch), limit) in batches.iter().zip(limits.into_iter().rev()) {
        gaps += usize::from(range.start != end);
        end = range.end;
        // The sequence number is not under the checksum. One that is out of order is damaged, and
        // the next one after the batch before is as good.
        let in_order = follows(before, batch.sequence) && batch.sequence < limit;
        let sequence =
            if in_order { batch.sequence } else { before.map_or(0, |before: u64| before + 1) };
        gaps += usize::from(!in_order);
        let start = sound.len();
        sound.extend_from_slice(bytes.get(range.clone()).unwrap_or_default());
        if let Some(field) = sound.get_mut(start + 5..start + START_BYTES) {
            field.copy_from_slice(&sequence.to_le_bytes());
        }
        before = Some(sequence);
    }
    let new = path.with_extension("new");
    fs::write(&new, &sound)?;
    File::open(&new)?.sync_all()?;
    fs::rename(new, path)?;
    Ok(gaps)
}

/// Cuts off what is behind the last batch.
pub(super) fn cut_off(path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

/// Hands on the keys of every batch that is sound, batch by batch. A batch has no key twice.
pub(super) fn replay<E: From<io::Error>>(
    path: &Path,
    mut take: impl FnMut(&[Item<'_>]) -> Result<(), E>,
) -> Result<(), E> {
    let bytes = fs::read(path)?;
    let mut items = Vec::new();
    for (range, batch) in sound_batches(&bytes) {
        let entries = bytes.get(range).and_then(|bytes| bytes.get(batch.entries));
        let mut cursor = Cursor { bytes: entries.unwrap_or_default(), at: 0 };
        while let Ok(entry) = cursor.entry() {
            items.extend(entry);
        }
        take(&items)?;
        items.clear();
    }
    Ok(())
}

/// Keyspaces are numbered from 1, in the order in which they were made.
fn family(keyspace: u64) -> Option<Family> {
    Family::ALL.get(usize::try_from(keyspace.checked_sub(1)?).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn batch(sequence: u64, value: &[u8]) -> Vec<u8> {
        let mut entry = vec![ITEM, VALUE, 0];
        entry.extend_from_slice(&4_u64.to_le_bytes());
        entry.extend_from_slice(&1_u16.to_le_bytes());
        for _ in 0..2 {
            entry.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
        }
        entry.push(b'k');
        entry.extend_from_slice(value);
        let mut bytes = vec![START];
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        bytes.extend_from_slice(&sequence.to_le_bytes());
        bytes.extend_from_slice(&entry);
        bytes.push(END);
        bytes.extend_from_slice(&xxh3_64(&entry).to_le_bytes());
        bytes.extend_from_slice(TRAILER);
        bytes
    }

    #[test]
    fn a_sequence_number_out_of_order_is_put_right() {
        let path = std::env::temp_dir().join(format!("dunlin-journal-{}.jnl", std::process::id()));
        let all: Vec<_> = [5, 1 << 60, 7, 2].iter().flat_map(|it| batch(*it, b"v")).collect();
        fs::write(&path, all).unwrap();

        let before = check(&path).unwrap();
        let gaps = repair(&path).unwrap();
        let after = check(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();

        let sequences: Vec<_> = sound_batches(&bytes).map(|(_, batch)| batch.sequence).collect();
        assert_eq!((before, after), (Soundness::Damaged, Soundness::Sound));
        assert!(sequences.is_sorted() && sequences.len() == 4, "{sequences:?}");
        assert!(gaps > 0);
    }

    proptest! {
        #[test]
        fn sound_batches_are_found_among_anything(
            noise in vec(any::<u8>(), 0..200),
            value in vec(any::<u8>(), 0..100),
        ) {
            let mut bytes = noise.clone();
            let sound = batch(9, &value);
            bytes.extend_from_slice(&sound);

            let found: Vec<_> = sound_batches(&bytes).map(|(range, _)| range).collect();

            prop_assert_eq!(found, vec![noise.len()..bytes.len()]);
        }
    }
}
