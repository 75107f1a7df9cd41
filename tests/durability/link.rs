//! One connection of a client that expects the broker to die at any moment.

use std::io::ErrorKind;
use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::connect::Connect;
use crate::wire::{Packet, Version, decode};

/// How a connection ended, or why it did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    Closed,
    /// By a CONNACK with this code.
    Refused(u8),
    /// By a DISCONNECT with this code.
    Dismissed(u8),
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) version: Version,
    pub(crate) session_present: bool,
    stream: TcpStream,
    inbound: BytesMut,
    outbound: BytesMut,
}

impl Link {
    pub(crate) async fn open(address: SocketAddr, connect: &Connect) -> Result<Self, Gone> {
        let stream = TcpStream::connect(address).await.map_err(|_| Gone::Closed)?;
        stream.set_nodelay(true).map_err(|_| Gone::Closed)?;
        let (inbound, outbound) = (BytesMut::new(), BytesMut::new());
        let version = connect.version;
        let mut link = Self { version, session_present: false, stream, inbound, outbound };
        link.send(&connect.encode());
        match link.packet().await? {
            Packet::ConnAck { session_present, code: 0, .. } => {
                link.session_present = session_present;
                Ok(link)
            }
            Packet::ConnAck { code, .. } => Err(Gone::Refused(code)),
            other => panic!("waiting for a CONNACK: {other:?}"),
        }
    }

    /// Hands the socket what it takes at once; `packet` sends the rest.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.outbound.extend_from_slice(bytes);
        // Why it fails is seen by who reads next.
        let _ = self.write();
    }

    /// Leaves it to `packet` to send it, with all that was appended meanwhile.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.outbound.extend_from_slice(bytes);
    }

    /// The next packet, a DISCONNECT being the end. Cancel safe, for all that was read or is to be
    /// written is kept here.
    pub(crate) async fn packet(&mut self) -> Result<Packet, Gone> {
        loop {
            if let Some((packet, length)) = decode(&self.inbound, self.version) {
                self.inbound.advance(length);
                return match packet {
                    Packet::Disconnect { code, .. } => Err(Gone::Dismissed(code)),
                    packet => Ok(packet),
                };
            }
            self.exchange().await?;
        }
    }

    /// DISCONNECT, and the broker's close; what comes meanwhile is not looked at.
    pub(crate) async fn leave(mut self) {
        self.send(&[0xE0, 0x00]);
        while self.packet().await.is_ok() {}
    }

    /// The connection ends with a reset, as when a device loses its power.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(std::time::Duration::ZERO))
            .expect("a connection can be reset");
    }

    /// One round of reading and writing.
    async fn exchange(&mut self) -> Result<(), Gone> {
        let interest = if self.outbound.is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        let ready = self.stream.ready(interest).await.map_err(|_| Gone::Closed)?;
        if ready.is_writable() && self.write().is_err() {
            // What the broker said before its end is still to be read.
            self.outbound.clear();
        }
        if ready.is_readable() {
            match self.stream.try_read_buf(&mut self.inbound) {
                Ok(0) => return Err(Gone::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Err(Gone::Closed),
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), std::io::Error> {
        while !self.outbound.is_empty() {
            match self.stream.try_write(&self.outbound) {
                Ok(written) => self.outbound.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
