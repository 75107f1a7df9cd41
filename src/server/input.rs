//! From a socket to whole packets, through one large buffer for all connections of a worker.
//!
//! A connection owns memory only while a packet is incomplete, so an idle one owns none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::packet::{DecodeError, Frame, Framing, frame};
use crate::router::Courier;
use crate::transport::Reader;

/// The buffer of a worker, in bytes: what one `recv` may bring.
pub(super) const READ_BYTES: usize = 256 * 1024;

/// What came and was not consumed. Nothing, most of the time, so that it takes one word.
#[derive(Debug, Default)]
pub(super) struct Input(Option<Box<Rest>>);

/// The beginning of a packet whose end has not come yet, or bytes a turn had no time for.
#[derive(Debug, Default)]
struct Rest {
    bytes: Vec<u8>,
    /// `bytes` was not looked at since some were added to it.
    fresh: bool,
    /// The length of the packet `bytes` begins with, where that is known.
    needed: Option<usize>,
}

/// What a read brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Read {
    /// Into the worker's buffer, whose first `filled` bytes are the connection's rest and they.
    Shared {
        read: usize,
        filled: usize,
    },
    /// Added to the connection's own rest.
    Own {
        read: usize,
    },
    End,
}

/// Whether a consumer of packets wants the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Appetite {
    More,
    /// The turn is over; what was not consumed is kept.
    Enough,
}

impl Input {
    /// Whether there is something to look at before more is read.
    pub(super) fn has_fresh(&self) -> bool {
        self.0.as_ref().is_some_and(|rest| rest.fresh)
    }

    /// How much has come of a packet that is not whole yet, in bytes.
    pub(super) fn unfinished(&self) -> usize {
        self.0.as_ref().map_or(0, |rest| if rest.fresh { 0 } else { rest.bytes.len() })
    }

    /// The memory it owns, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |rest| size_of::<Rest>() + rest.bytes.capacity())
    }

    /// Reads once.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut Reader,
        shared: &mut [u8],
    ) -> Poll<io::Result<Read>> {
        let (length, needed) = match &self.0 {
            Some(rest) => (rest.bytes.len(), rest.needed.unwrap_or(0)),
            None => (0, 0),
        };
        // A rest that may become a packet within the shared buffer is completed there.
        let fits = needed.max(length) <= shared.len() / 2;
        let start = if fits { length } else { 0 };
        let place = shared.get_mut(start..).unwrap_or_default();
        let mut buffer = ReadBuf::new(place);
        ready!(Pin::new(reader).poll_read(context, &mut buffer))?;
        let count = buffer.filled().len();
        if count == 0 {
            return Poll::Ready(Ok(Read::End));
        }
        if fits {
            if let Some(rest) = &mut self.0
                && let Some(place) = shared.get_mut(..start)
            {
                place.copy_from_slice(&rest.bytes);
                rest.bytes.clear();
            }
            return Poll::Ready(Ok(Read::Shared { read: count, filled: start + count }));
        }
        let rest = self.0.get_or_insert_default();
        rest.bytes.extend_from_slice(buffer.filled());
        rest.fresh = rest.needed.is_none_or(|needed| rest.bytes.len() >= needed);
        Poll::Ready(Ok(Read::Own { read: count }))
    }

    /// Takes the connection's rest to be looked at; [`Self::keep_own`] gives back what is left of
    /// it.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.0.take().map_or(Vec::new(), |rest| rest.bytes)
    }

    /// Gives a buffer taken by [`Self::take`] back without its first `consumed` bytes.
    pub(super) fn keep_own(&mut self, mut bytes: Vec<u8>, left: Left, courier: &mut Courier) {
        bytes.drain(..left.consumed.min(bytes.len()));
        if bytes.len() < bytes.capacity() / 4 && bytes.capacity() > READ_BYTES {
            // The large packet is gone; what follows it needs no buffer of that size.
            bytes.shrink_to_fit();
        }
        if bytes.is_empty() {
            courier.give_buffer(bytes);
        } else {
            self.0 = Some(Box::new(Rest::left(bytes, left)));
        }
    }

    /// Keeps what is left of the worker's buffer.
    pub(super) fn keep(&mut self, bytes: &[u8], left: Left, courier: &mut Courier) {
        let unconsumed = bytes.get(left.consumed..).unwrap_or_default();
        if unconsumed.is_empty() {
            if let Some(rest) = self.0.take() {
                courier.give_buffer(rest.bytes);
            }
            return;
        }
        let rest = self.0.get_or_insert_default();
        if rest.bytes.capacity() == 0 {
            rest.bytes = courier.take_buffer();
        }
        rest.bytes.extend_from_slice(unconsumed);
        rest.note(left);
    }
}

impl Rest {
    fn left(bytes: Vec<u8>, left: Left) -> Self {
        let mut rest = Self { bytes, ..Self::default() };
        rest.note(left);
        rest
    }

    fn note(&mut self, left: Left) {
        self.needed = left.needed;
        self.fresh = left.appetite == Appetite::Enough;
    }
}

/// Where [`packets`] stopped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) consumed: usize,
    /// The length of the packet that begins there, where that is known.
    needed: Option<usize>,
    pub(super) appetite: Appetite,
}

/// Gives each whole packet of `bytes` to `consume`, framed, and all bytes from it on. `consume` says
/// how many of them it is done with: none, that packet, or others behind it too.
///
/// # Errors
/// If the bytes are no packets, or `consume`'s.
pub(super) fn packets<E: From<DecodeError>>(
    bytes: &[u8],
    packet_bytes_max: usize,
    mut consume: impl FnMut(Frame<'_>, &[u8]) -> Result<(usize, Appetite), E>,
) -> Result<Left, E> {
    let mut consumed = 0;
    loop {
        let rest = bytes.get(consumed..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(Left { consumed, needed: None, appetite: Appetite::More });
        }
        match frame(rest, packet_bytes_max)? {
            Framing::Incomplete { needed } => {
                return Ok(Left { consumed, needed, appetite: Appetite::More });
            }
            Framing::Complete(frame) => {
                let (done, appetite) = consume(frame, rest)?;
                consumed += done;
                if appetite != Appetite::More {
                    return Ok(Left { consumed, needed: None, appetite: Appetite::Enough });
                }
            }
        }
    }
}
