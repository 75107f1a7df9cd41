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

/// The beginning of a packet whose end has not come yet, or bytes a turn had no time for.
#[derive(Debug, Default)]
pub(super) struct Input {
    rest: Vec<u8>,
    /// `rest` was not looked at since bytes were added to it.
    fresh: bool,
    /// The length of the packet `rest` begins with, where that is known.
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
        self.fresh
    }

    /// How much has come of a packet that is not whole yet, in bytes.
    pub(super) fn unfinished(&self) -> usize {
        if self.fresh { 0 } else { self.rest.len() }
    }

    /// The memory it owns, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.rest.capacity()
    }

    /// Reads once.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut Reader,
        shared: &mut [u8],
    ) -> Poll<io::Result<Read>> {
        // A rest that may become a packet within the shared buffer is completed there.
        let fits = self.needed.unwrap_or(0).max(self.rest.len()) <= shared.len() / 2;
        let start = if fits { self.rest.len() } else { 0 };
        let place = shared.get_mut(start..).unwrap_or_default();
        let mut buffer = ReadBuf::new(place);
        ready!(Pin::new(reader).poll_read(context, &mut buffer))?;
        let count = buffer.filled().len();
        if count == 0 {
            return Poll::Ready(Ok(Read::End));
        }
        if fits {
            if let Some(place) = shared.get_mut(..start) {
                place.copy_from_slice(&self.rest);
            }
            self.rest.clear();
            return Poll::Ready(Ok(Read::Shared { read: count, filled: start + count }));
        }
        self.rest.extend_from_slice(buffer.filled());
        self.fresh = self.needed.is_none_or(|needed| self.rest.len() >= needed);
        Poll::Ready(Ok(Read::Own { read: count }))
    }

    /// Takes the connection's rest to be looked at; [`Self::keep`] gives back what is left of it.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.fresh = false;
        self.needed = None;
        std::mem::take(&mut self.rest)
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
            self.rest = bytes;
        }
        self.note(left);
    }

    /// Keeps what is left of the worker's buffer.
    pub(super) fn keep(&mut self, bytes: &[u8], left: Left, courier: &mut Courier) {
        let rest = bytes.get(left.consumed..).unwrap_or_default();
        if rest.is_empty() {
            courier.give_buffer(std::mem::take(&mut self.rest));
        } else {
            if self.rest.capacity() == 0 {
                self.rest = courier.take_buffer();
            }
            self.rest.extend_from_slice(rest);
        }
        self.note(left);
    }

    fn note(&mut self, left: Left) {
        self.needed = left.needed;
        self.fresh = left.appetite == Appetite::Enough && !self.rest.is_empty();
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
