//! From a socket to whole packets, through one large buffer for all connections of a thread.

use std::cell::RefCell;
use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use super::ClientError;
use crate::packet::{Frame, Framing, frame};

/// What one `recv` may bring, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// Where the connections of one thread read to.
#[derive(Clone, Debug)]
pub struct ReadBuffer(Rc<RefCell<Box<[u8]>>>);

impl ReadBuffer {
    #[must_use]
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new(vec![0; READ_BYTES].into())))
    }
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// The beginning of a packet whose end has not come yet.
#[derive(Debug)]
pub(super) struct Input {
    buffer: ReadBuffer,
    rest: Vec<u8>,
    /// `rest` was not looked at.
    fresh: bool,
    /// How long the packet `rest` begins with is, where that is known.
    needed: usize,
    packet_bytes_max: usize,
}

impl Input {
    pub(super) fn new(buffer: ReadBuffer, packet_bytes_max: usize) -> Self {
        Self { buffer, rest: Vec::new(), fresh: false, needed: 0, packet_bytes_max }
    }

    /// Reads once and gives each whole packet to `consume`, until that has enough: what is left then
    /// comes first in the next call.
    pub(super) fn poll_packets(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut TcpStream,
        consume: impl FnMut(Frame<'_>) -> Result<ControlFlow<()>, ClientError>,
    ) -> Poll<Result<(), ClientError>> {
        if self.fresh {
            let bytes = std::mem::take(&mut self.rest);
            self.consume(&bytes, consume)?;
            return Poll::Ready(Ok(()));
        }
        let buffer = Rc::clone(&self.buffer.0);
        let mut shared = buffer.borrow_mut();
        // A rest that may become a packet within the shared buffer is completed there.
        let fits = self.needed.max(self.rest.len()) <= shared.len() / 2;
        let start = if fits { self.rest.len() } else { 0 };
        let count = ready!(poll_read(context, stream, shared.get_mut(start..)))?;
        if !fits {
            self.rest.extend_from_slice(shared.get(..count).unwrap_or_default());
            if self.rest.len() >= self.needed {
                let bytes = std::mem::take(&mut self.rest);
                self.consume(&bytes, consume)?;
            }
            return Poll::Ready(Ok(()));
        }
        if let Some(place) = shared.get_mut(..start) {
            place.copy_from_slice(&self.rest);
        }
        self.rest.clear();
        self.consume(shared.get(..start + count).unwrap_or_default(), consume)?;
        Poll::Ready(Ok(()))
    }

    /// Keeps what follows the last whole packet.
    fn consume(
        &mut self,
        mut bytes: &[u8],
        mut consume: impl FnMut(Frame<'_>) -> Result<ControlFlow<()>, ClientError>,
    ) -> Result<(), ClientError> {
        self.needed = 0;
        self.fresh = false;
        while !bytes.is_empty() {
            match frame(bytes, self.packet_bytes_max)? {
                Framing::Incomplete { needed } => {
                    self.needed = needed.unwrap_or(0);
                    break;
                }
                Framing::Complete(frame) => {
                    bytes = bytes.get(frame.length..).unwrap_or_default();
                    if consume(frame)?.is_break() {
                        self.fresh = !bytes.is_empty();
                        break;
                    }
                }
            }
        }
        if bytes.is_empty() {
            // An idle connection owns no memory.
            self.rest = Vec::new();
        } else {
            self.rest.extend_from_slice(bytes);
        }
        Ok(())
    }
}

/// How many bytes came, which is never 0.
fn poll_read(
    context: &mut Context<'_>,
    stream: &mut TcpStream,
    place: Option<&mut [u8]>,
) -> Poll<Result<usize, ClientError>> {
    let mut place = ReadBuf::new(place.unwrap_or_default());
    match ready!(Pin::new(stream).poll_read(context, &mut place)) {
        Ok(()) if place.filled().is_empty() => Poll::Ready(Err(ClientError::Closed)),
        Ok(()) => Poll::Ready(Ok(place.filled().len())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            Poll::Ready(Err(ClientError::Closed))
        }
        Err(error) => Poll::Ready(Err(ClientError::Broken(error))),
    }
}
