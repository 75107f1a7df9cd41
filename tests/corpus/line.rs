//! One connection of a client that says what it is given and reads what comes.

use std::{
    any::Any,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    panic::{self, AssertUnwindSafe},
};

use crate::{
    broker::PATIENCE,
    wire::{Packet, Version, decode},
};

#[derive(Debug)]
pub(crate) struct Line {
    version: Version,
    stream: TcpStream,
    inbound: Vec<u8>,
    /// The bytes of the longest packet that came.
    pub(crate) longest: usize,
}

/// What came next.
#[derive(Debug)]
pub(crate) enum Heard {
    Packet(Packet),
    Closed,
    Reset,
    Silence,
    Nonsense(String),
}

impl Line {
    pub(crate) fn open(address: SocketAddr, version: Version) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the broker accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
        Self { version, stream, inbound: Vec::new(), longest: 0 }
    }

    /// A broker that has closed takes no more; what it said before is still there to be read.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    pub(crate) fn hear(&mut self) -> Heard {
        loop {
            let decoding = AssertUnwindSafe(|| decode(&self.inbound, self.version));
            match panic::catch_unwind(decoding) {
                Ok(Some((packet, length))) => {
                    self.inbound.drain(..length);
                    self.longest = self.longest.max(length);
                    return Heard::Packet(packet);
                }
                Ok(None) => {}
                Err(reason) => {
                    let reason = words(reason.as_ref());
                    return Heard::Nonsense(format!("{reason}: {}", hex(&self.inbound)));
                }
            }
            let mut buffer = [0; 4_096];
            match self.stream.read(&mut buffer) {
                Ok(0) if self.inbound.is_empty() => return Heard::Closed,
                Ok(0) => return Heard::Nonsense(format!("half a packet: {}", hex(&self.inbound))),
                Ok(length) => self.inbound.extend(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::Silence,
                Err(error) if error.kind() == ErrorKind::TimedOut => return Heard::Silence,
                Err(_) => return Heard::Reset,
            }
        }
    }
}

/// What a panic says.
pub(crate) fn words(reason: &(dyn Any + Send)) -> &str {
    let text = reason.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| reason.downcast_ref::<&str>().copied()).unwrap_or("a panic")
}

/// The bytes as digits, the middle left out if there are very many.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 150;
    let digits =
        |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ");
    if bytes.len() <= 2 * SHOWN {
        return digits(bytes);
    }
    let left_out = bytes.len() - 2 * SHOWN;
    let (head, tail) = (&bytes[..SHOWN], &bytes[bytes.len() - SHOWN..]);
    format!("{} ({left_out} more) {}", digits(head), digits(tail))
}
