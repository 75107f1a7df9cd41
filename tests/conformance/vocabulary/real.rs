//! The binary as it ships, over sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use super::broker::PATIENCE;
use super::client::{Incoming, Line};

/// A socket; a thread reads it all the time, so that neither side can block the other.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    incoming: Receiver<Incoming>,
    reader: Option<JoinHandle<()>>,
}

impl Socket {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the broker accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let reading = stream.try_clone().expect("a socket for two");
        let (sender, incoming) = channel();
        let reader = Some(thread::spawn(move || read_all(reading, &sender)));
        Self { stream, incoming, reader }
    }
}

fn read_all(mut stream: TcpStream, sender: &Sender<Incoming>) {
    let mut buffer = vec![0; 64 * 1024];
    // A reset is an end as well: the broker need not read what came too late.
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if sender.send(Incoming::Bytes(buffer[..length].to_vec())).is_err() {
            return;
        }
    }
    let _ = sender.send(Incoming::End);
}

impl Line for Socket {
    fn write(&mut self, bytes: &[u8]) {
        // That the broker has closed already is what the next read says.
        let _ = self.stream.write_all(bytes);
    }

    fn read(&mut self) -> Incoming {
        self.incoming.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            panic!("nothing came from the broker within {PATIENCE:?}");
        })
    }

    fn cut(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        while let Incoming::Bytes(_) = self.read() {}
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
