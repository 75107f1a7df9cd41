//! Bytes on their way to one client: appended by anybody, written by one.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

use super::link::Wire;
use crate::change::CommitNumber;

/// Slices given to one `writev`.
const SLICES: usize = 64;

/// A buffer that grew beyond this is large: it goes only to who has more than this to write, so that
/// nobody holds much memory for little.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// A buffer that grew beyond this is freed, not kept for the next connection.
const LARGE_BYTES_MAX: usize = 512 * 1024;

/// As many spare buffers are kept by a worker, and so many large ones.
const SPARE_COUNT_MAX: usize = 128;
const LARGE_COUNT_MAX: usize = 16;

/// Empty buffers, so that a delivery allocates nothing and an idle connection holds nothing.
#[derive(Debug, Default)]
pub(super) struct Spare {
    buffers: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

impl Spare {
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        let (kept, count_max) = match buffer.capacity() {
            1..=SPARE_BYTES_MAX => (&mut self.buffers, SPARE_COUNT_MAX),
            ..=LARGE_BYTES_MAX => (&mut self.large, LARGE_COUNT_MAX),
            _ => return,
        };
        if kept.len() < count_max && buffer.capacity() > 0 {
            buffer.clear();
            kept.push(buffer);
        }
    }

    /// Makes room for so many bytes more, in a large buffer if that takes one.
    fn enlarge(&mut self, buffer: &mut Vec<u8>, more: usize) {
        if buffer.len() + more > SPARE_BYTES_MAX
            && buffer.capacity() <= SPARE_BYTES_MAX
            && let Some(mut large) = self.large.pop()
        {
            large.extend_from_slice(buffer);
            self.give(std::mem::replace(buffer, large));
        }
    }
}

/// What is to be written, in order: `segments`, then `tail`.
///
/// Small packets are copied into `tail`, which is cheaper than a slice each; large payloads stand
/// as segments that all their takers share.
#[derive(Debug, Default)]
pub(super) struct Batch {
    segments: Segments,
    pub(super) tail: Vec<u8>,
    /// How much of `tail` is already written; a segment is shortened instead.
    written: usize,
}

/// Large payloads. Nearly always none, so that they take one word.
#[derive(Debug, Default)]
struct Segments {
    #[expect(clippy::box_collection, reason = "an idle connection holds one word instead of four")]
    row: Option<Box<VecDeque<Bytes>>>,
}

/// A client's unwritten bytes.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    batch: Batch,
    /// All unwritten bytes, also those somebody is writing at this moment, and those held.
    bytes: usize,
    /// Nothing may be written before this is kept: what a CONNACK promises.
    pub(super) gate: CommitNumber,
    held: Option<Box<Waiting>>,
}

/// Packets that wait until what they promise is kept, in the order they have to leave in: one at
/// least.
#[derive(Debug, Default)]
struct Waiting {
    row: VecDeque<Held>,
    /// A Retained Message is among them. What comes live could be newer and must not pass it.
    replayed: bool,
}

#[derive(Debug)]
struct Held {
    commit: CommitNumber,
    bytes: Vec<u8>,
}

impl Segments {
    fn is_empty(&self) -> bool {
        self.row.is_none()
    }

    fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.row.iter().flat_map(|row| row.iter())
    }

    fn front_mut(&mut self) -> Option<&mut Bytes> {
        self.row.as_mut()?.front_mut()
    }

    fn push_back(&mut self, segment: Bytes) {
        self.row.get_or_insert_default().push_back(segment);
    }

    fn pop_front(&mut self) {
        if let Some(row) = &mut self.row {
            row.pop_front();
        }
        self.row = self.row.take().filter(|row| !row.is_empty());
    }

    fn append(&mut self, newer: Self) {
        match (&mut self.row, newer.row) {
            (Some(row), Some(mut newer)) => row.append(&mut newer),
            (row @ None, newer) => *row = newer,
            (Some(_), None) => {}
        }
    }
}

impl Outbound {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing that could be written now.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// The place to append about so many bytes of encoded packets to, with a spare buffer if there
    /// is none. What is appended has to be reported by [`Self::grew`].
    #[inline]
    pub(super) fn tail(&mut self, spare: &mut Spare, more: usize) -> &mut Vec<u8> {
        let tail = &mut self.batch.tail;
        if tail.capacity() == 0 {
            *tail = spare.take();
        }
        if tail.len() + more > tail.capacity() {
            spare.enlarge(tail, more);
        }
        tail
    }

    pub(super) fn grew(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// A payload shared with others, after the packet's head was appended to the tail.
    pub(super) fn append_shared(&mut self, payload: Bytes) {
        self.bytes += payload.len();
        self.batch.seal();
        self.batch.segments.push_back(payload);
    }

    /// Packets that may leave only when `commit` is kept, and not before others held earlier.
    pub(super) fn hold(&mut self, commit: CommitNumber, bytes: &[u8]) {
        self.bytes += bytes.len();
        let row = &mut self.held.get_or_insert_default().row;
        match row.back_mut().filter(|held| held.commit >= commit) {
            Some(last) => last.bytes.extend_from_slice(bytes),
            None => row.push_back(Held { commit, bytes: bytes.to_vec() }),
        }
    }

    /// The latest change that something here promises, written or not.
    pub(super) fn promised(&self) -> CommitNumber {
        let last = self.held.as_ref().and_then(|held| held.row.back());
        last.map_or(self.gate, |held| held.commit.max(self.gate))
    }

    pub(super) fn holds_any(&self) -> bool {
        self.held.is_some()
    }

    /// A Retained Message of QoS 2 was appended, which may have to wait.
    pub(super) fn note_replayed(&mut self) {
        if let Some(held) = &mut self.held {
            held.replayed = true;
        }
    }

    /// Whether everything appended has to go behind what is held.
    pub(super) fn holds_replayed(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.replayed)
    }

    /// Moves what is kept now to the packets that may leave. The next number to wait for, if any.
    pub(super) fn release(&mut self, kept: CommitNumber) -> Option<CommitNumber> {
        let held = self.held.as_mut()?;
        while let Some(first) = held.row.front() {
            if first.commit > kept {
                return Some(first.commit);
            }
            self.batch.tail.extend_from_slice(&first.bytes);
            held.row.pop_front();
        }
        self.held = None;
        None
    }

    /// Takes all that can be written.
    pub(super) fn take(&mut self) -> Batch {
        std::mem::take(&mut self.batch)
    }

    /// Puts an unfinished batch back in front of what came meanwhile.
    pub(super) fn put_back(&mut self, mut unfinished: Batch) {
        let newer = std::mem::take(&mut self.batch);
        unfinished.compact();
        if !newer.is_empty() {
            unfinished.append(newer);
        }
        self.batch = unfinished;
    }

    pub(super) fn wrote(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.tail.is_empty()
    }

    /// Forgets what is written of the tail. A client always a little behind would otherwise let it
    /// grow by all that ever passed. Moving the rest at half way costs no more than writing it did.
    fn compact(&mut self) {
        if self.written > self.tail.len() / 2 {
            self.tail.drain(..self.written);
            self.written = 0;
        }
    }

    fn append(&mut self, newer: Self) {
        self.seal();
        self.segments.append(newer.segments);
        self.tail = newer.tail;
    }

    /// Makes the tail a segment.
    fn seal(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        if tail.is_empty() {
            return;
        }
        let mut segment = Bytes::from(tail);
        segment.advance(std::mem::take(&mut self.written).min(segment.len()));
        self.segments.push_back(segment);
    }

    /// Writes until all is written or the wire takes no more; how much that was.
    ///
    /// # Errors
    /// The wire's, with what was written before it lost.
    pub(super) fn write(&mut self, wire: &dyn Wire) -> io::Result<usize> {
        let mut total = 0;
        while !self.is_empty() {
            let count = match self.write_once(wire) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            total += count;
            self.advance(count);
        }
        Ok(total)
    }

    fn write_once(&self, wire: &dyn Wire) -> io::Result<usize> {
        if self.segments.is_empty() {
            let rest = self.tail.get(self.written..).unwrap_or_default();
            return wire.try_write(&[IoSlice::new(rest)]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        let pieces = self.segments.iter().map(|segment| &segment[..]);
        let pieces = pieces.chain((!self.tail.is_empty()).then_some(&self.tail[..]));
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        wire.try_write(slices.get(..count).unwrap_or_default())
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.segments.front_mut() {
            let step = count.min(first.len());
            first.advance(step);
            count -= step;
            if !first.is_empty() {
                return;
            }
            self.segments.pop_front();
        }
        self.written += count;
        if self.written >= self.tail.len() {
            self.written = 0;
            self.tail.clear();
        }
    }

    /// The empty buffer of a finished batch, for the next one who needs it.
    pub(super) fn recycle(self, spare: &mut Spare) {
        spare.give(self.tail);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    use super::*;

    /// Takes so many bytes and then no more until it is given room again.
    #[derive(Debug, Default)]
    struct Narrow {
        room: AtomicUsize,
    }

    impl Wire for Narrow {
        fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let offered = slices.iter().map(|slice| slice.len()).sum::<usize>();
            let taken = offered.min(self.room.load(Ordering::Relaxed));
            self.room.fetch_sub(taken, Ordering::Relaxed);
            if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
        }

        fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn shutdown(&self) {}
    }

    #[test]
    fn a_large_buffer_goes_only_to_who_has_much_to_write() {
        let mut spare = Spare::default();
        spare.give(vec![0; 2 * SPARE_BYTES_MAX]);
        spare.give(Vec::with_capacity(LARGE_BYTES_MAX + 1));
        let mut little = Outbound::default();
        little.tail(&mut spare, 10).extend_from_slice(&[1; 10]);
        assert!(little.take().tail.capacity() <= SPARE_BYTES_MAX);
        assert!(spare.take().capacity() <= SPARE_BYTES_MAX);

        let mut much = Outbound::default();
        much.tail(&mut spare, 10).extend_from_slice(&[1; 10]);
        much.tail(&mut spare, SPARE_BYTES_MAX).extend_from_slice(&[2; SPARE_BYTES_MAX]);

        let tail = much.take().tail;
        assert_eq!(tail.capacity(), 2 * SPARE_BYTES_MAX);
        assert_eq!(tail, [&[1; 10][..], &[2; SPARE_BYTES_MAX]].concat());
        assert!(spare.large.is_empty());
    }

    // A client as fast as its publishers, but always a little behind.
    #[test]
    fn a_backlog_that_never_ends_holds_no_more_memory_than_its_unwritten_bytes() {
        const BACKLOG: usize = 10_000;
        const ROUND: usize = 1_000;
        let (mut outbound, mut spare) = (Outbound::default(), Spare::default());
        let wire = Narrow::default();
        outbound.tail(&mut spare, BACKLOG).resize(BACKLOG, 0);
        outbound.grew(BACKLOG);

        for _ in 0..1_000 {
            outbound.tail(&mut spare, ROUND).extend_from_slice(&[0; ROUND]);
            outbound.grew(ROUND);
            wire.room.store(ROUND, Ordering::Relaxed);
            let mut batch = outbound.take();
            outbound.wrote(batch.write(&wire).unwrap());
            outbound.put_back(batch);
        }

        assert_eq!(outbound.bytes(), BACKLOG);
        assert!(outbound.batch.tail.capacity() <= 4 * BACKLOG);
    }
}
