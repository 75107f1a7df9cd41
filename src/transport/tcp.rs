//! Plain TCP.

use std::io::{self, IoSlice, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, ReadBuf};

use super::Reader;
use crate::router::Wire;

/// Connections the kernel keeps until they are accepted; a reconnecting fleet needs room here.
const BACKLOG: i32 = 4_096;

/// Not tokio's listener: that one would watch each accepted socket on the acceptor's runtime, only
/// to have it taken off again for the worker's.
#[derive(Debug)]
pub struct TcpDoor(AsyncFd<TcpListener>);

#[derive(Debug)]
pub struct TcpIncoming {
    stream: TcpStream,
    pub(super) peer: SocketAddr,
}

/// Both halves of a connection: one reads, anybody writes.
#[derive(Debug)]
pub struct TcpConnection(tokio::net::TcpStream);

impl TcpDoor {
    pub(super) fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            // So that an IPv4 listener on the same port can stand beside it.
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types that may change their descriptor; a \
                      std listener cannot"
        )]
        let listener = AsyncFd::with_interest(socket.into(), Interest::READABLE)?;
        Ok(Self(listener))
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }

    pub(super) async fn accept(&self) -> io::Result<TcpIncoming> {
        let (stream, peer) = self.0.async_io(Interest::READABLE, TcpListener::accept).await?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(TcpIncoming { stream, peer })
    }
}

impl TcpIncoming {
    pub(super) fn open(self) -> io::Result<Reader> {
        let stream = tokio::net::TcpStream::from_std(self.stream)?;
        Ok(Reader::Tcp(Arc::new(TcpConnection(stream))))
    }
}

impl TcpConnection {
    /// Reads once. Not tokio's own, which asks for a stream or a half of it that nobody else has,
    /// and a half for each is an allocation for each.
    pub(super) fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            let place = buffer.initialize_unfilled();
            let (room, mut read) = (place.len(), 0);
            let tried = self.0.try_io(Interest::READABLE, || {
                read = (&*SockRef::from(&self.0)).read(place)?;
                // Less than there is room for is all there was: like tokio, this knows without
                // a second call that the next one would block.
                if (1..room).contains(&read) {
                    Err(io::ErrorKind::WouldBlock.into())
                } else {
                    Ok(())
                }
            });
            match tried {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && read == 0 => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                Ok(()) | Err(_) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl Wire for TcpConnection {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            // `send` costs less than a `writev` of one slice.
            [slice] => self.0.try_write(slice),
            slices => self.0.try_write_vectored(slices),
        }
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_write_ready(context)
    }

    fn shutdown(&self) {
        // A connection that is gone already needs no goodbye.
        let _ = SockRef::from(&self.0).shutdown(Shutdown::Write);
    }
}
