//! The doors a client may come through: the contract of a transport, and the engines behind it.
//!
//! A [`Door`] listens and gives [`Incoming`] connections; one is opened on the worker that will
//! serve it and becomes a [`Reader`], owned by the connection's task, and gives a [`Wire`] that anybody
//! may write to. A Session cannot tell which door its client used.

mod tcp;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use crate::config::{Listener, Protocol};
use crate::router::Wire;

/// A listening socket.
#[derive(Debug)]
pub enum Door {
    Tcp(tcp::TcpDoor),
}

/// A connection that was accepted and belongs to no worker yet.
#[derive(Debug)]
pub enum Incoming {
    Tcp(tcp::TcpIncoming),
}

/// The reading half of a connection.
#[derive(Debug)]
pub enum Reader {
    Tcp(Arc<tcp::TcpConnection>),
}

impl Door {
    /// Listens where a listener of the configuration says.
    ///
    /// # Errors
    /// If the address is in use, not this machine's, or not permitted.
    pub fn open(listener: &Listener) -> io::Result<Self> {
        match listener.protocol {
            Protocol::Mqtt => tcp::TcpDoor::open(listener.address).map(Self::Tcp),
        }
    }

    /// Where it really listens, also if port 0 was asked for.
    ///
    /// # Errors
    /// The kernel's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(door) => door.address(),
        }
    }

    /// Waits for a connection. Cancel safe.
    ///
    /// # Errors
    /// The kernel's; the door stays open.
    pub async fn accept(&self) -> io::Result<Incoming> {
        match self {
            Self::Tcp(door) => door.accept().await.map(Incoming::Tcp),
        }
    }
}

impl Incoming {
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        match self {
            Self::Tcp(incoming) => incoming.peer,
        }
    }

    /// Hands it to the worker this is called on.
    ///
    /// # Errors
    /// If the kernel gives no more to watch.
    pub fn open(self) -> io::Result<Reader> {
        match self {
            Self::Tcp(incoming) => incoming.open(),
        }
    }
}

impl Reader {
    /// The writing half of the same connection.
    #[must_use]
    pub fn wire(&self) -> Arc<dyn Wire> {
        match self {
            Self::Tcp(connection) => Arc::<tcp::TcpConnection>::clone(connection),
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(connection) => connection.poll_read(context, buffer),
        }
    }
}
