//! A relay of bytes: the floor under every broker, which has at least to read and to write.
//!
//! It greets like a server of 3.1.1 and looks at a publisher's first PUBLISH to learn where to and how
//! long; whatever follows is copied to the subscribers without a look. Like dunlin it reads all that
//! came, and writes once to each subscriber for all it has read.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use dunlin::topic::{TopicFilter, TopicName};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const READ_BYTES: usize = 256 * 1024;
const EVENTS: usize = 1_024;
const LISTENER: Token = Token(usize::MAX);

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const PINGRESP: [u8; 2] = [0xD0, 0];
/// The first bytes of what a client of QoS 0 sends.
const CONNECT: u8 = 0x10;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const PINGREQ: u8 = 0xC0;

#[derive(Debug)]
struct Peer {
    stream: TcpStream,
    /// The beginning of a packet.
    rest: Vec<u8>,
    unwritten: Vec<u8>,
    filter: Option<TopicFilter>,
    /// Of a publisher: the length of each PUBLISH, and who takes it.
    route: Option<(usize, Vec<usize>)>,
    is_dirty: bool,
}

#[derive(Debug)]
struct Relay {
    poll: Poll,
    listener: TcpListener,
    /// By their tokens; those that have left leave a gap.
    peers: Vec<Option<Peer>>,
    /// Peers with something unwritten.
    dirty: Vec<usize>,
    buffer: Vec<u8>,
}

/// Relays until it is ended from outside.
pub(crate) fn run() -> io::Result<()> {
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    println!("listening on {}", listener.local_addr()?);
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (peers, dirty, buffer) = (Vec::new(), Vec::new(), vec![0; READ_BYTES]);
    let mut relay = Relay { poll, listener, peers, dirty, buffer };
    let mut events = Events::with_capacity(EVENTS);
    loop {
        relay.poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                relay.accept()?;
                continue;
            }
            let Token(index) = event.token();
            if event.is_writable() {
                relay.mark(index);
            }
            if event.is_readable() && relay.receive(index).is_err() {
                relay.remove(index);
            }
        }
        relay.flush();
    }
}

impl Relay {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(self.peers.len()), both)?;
            self.peers.push(Some(Peer {
                stream,
                rest: Vec::new(),
                unwritten: Vec::new(),
                filter: None,
                route: None,
                is_dirty: false,
            }));
        }
    }

    fn peer(&mut self, index: usize) -> Option<&mut Peer> {
        self.peers.get_mut(index)?.as_mut()
    }

    fn remove(&mut self, index: usize) {
        if let Some(peer) = self.peers.get_mut(index) {
            *peer = None;
        }
    }

    fn mark(&mut self, index: usize) {
        let Some(peer) = self.peer(index) else { return };
        if !peer.is_dirty {
            peer.is_dirty = true;
            self.dirty.push(index);
        }
    }

    /// Reads until there is nothing more.
    fn receive(&mut self, index: usize) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let done = self.receive_with(index, &mut buffer);
        self.buffer = buffer;
        done
    }

    fn receive_with(&mut self, index: usize, buffer: &mut [u8]) -> io::Result<()> {
        while let Some(peer) = self.peer(index) {
            let kept = peer.rest.len();
            let Some((rest, place)) = buffer.split_at_mut_checked(kept) else { break };
            rest.copy_from_slice(&peer.rest);
            let count = match peer.stream.read(place) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let room = place.len();
            let bytes = buffer.get(..kept + count).unwrap_or_default();
            let used = self.relay(index, bytes)?;
            if let Some(peer) = self.peer(index) {
                peer.rest.clear();
                peer.rest.extend_from_slice(bytes.get(used..).unwrap_or_default());
            }
            // mio tells once of new bytes; a read that was not filled has got them all.
            if count < room {
                break;
            }
        }
        Ok(())
    }

    /// Hands on what is to be handed on; how many bytes that were.
    fn relay(&mut self, index: usize, bytes: &[u8]) -> io::Result<usize> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let route = self.peer(index).and_then(|peer| peer.route.take());
            let taken = match &route {
                Some((length, takers)) if rest.first() == Some(&PUBLISH) => {
                    let packets = rest.chunks_exact(*length);
                    let run = packets.take_while(|packet| packet.first() == Some(&PUBLISH));
                    let count = run.count() * length;
                    let packets = rest.get(..count).unwrap_or_default();
                    for &taker in takers {
                        if let Some(peer) = self.peer(taker) {
                            peer.unwritten.extend_from_slice(packets);
                            self.mark(taker);
                        }
                    }
                    count
                }
                _ => self.control(index, rest)?,
            };
            if let (Some(peer), Some(route)) = (self.peer(index), route) {
                peer.route = Some(route);
            }
            if taken == 0 {
                break;
            }
            used += taken;
        }
        Ok(used)
    }

    /// Answers one packet, or learns a publisher's route from it; its length, or 0 if it is not
    /// whole or was only learned from.
    fn control(&mut self, index: usize, bytes: &[u8]) -> io::Result<usize> {
        let bad = || io::Error::from(io::ErrorKind::InvalidData);
        let Some((body, length)) = body(bytes) else { return Ok(0) };
        let topic = || -> Option<&str> {
            let (text_length, rest) = body.split_first_chunk()?;
            let text = rest.get(..usize::from(u16::from_be_bytes(*text_length)))?;
            str::from_utf8(text).ok()
        };
        let answer = match bytes.first().copied().unwrap_or_default() {
            CONNECT => CONNACK.to_vec(),
            PINGREQ => PINGRESP.to_vec(),
            SUBSCRIBE => {
                let (id, rest) = body.split_first_chunk::<2>().ok_or_else(bad)?;
                let text = rest.get(2..rest.len().saturating_sub(1)).ok_or_else(bad)?;
                let filter = TopicFilter::from_utf8(text).map_err(|_| bad())?;
                let [high, low] = *id;
                self.peer(index).ok_or_else(bad)?.filter = Some(filter);
                vec![0x90, 3, high, low, 0]
            }
            PUBLISH => {
                let topic = TopicName::parse(topic().ok_or_else(bad)?).map_err(|_| bad())?;
                let takers = self.peers.iter().enumerate().filter(|(_, peer)| {
                    let filter = peer.as_ref().and_then(|peer| peer.filter.as_ref());
                    filter.is_some_and(|filter| filter.matches(&topic))
                });
                let takers = takers.map(|(taker, _)| taker).collect();
                let peer = self.peer(index).ok_or_else(bad)?;
                peer.route = Some((length, takers));
                return self.relay(index, bytes);
            }
            _ => return Err(bad()),
        };
        if let Some(peer) = self.peer(index) {
            peer.unwritten.extend_from_slice(&answer);
            self.mark(index);
        }
        Ok(length)
    }

    fn flush(&mut self) {
        for index in std::mem::take(&mut self.dirty) {
            let Some(peer) = self.peer(index) else { continue };
            peer.is_dirty = false;
            let mut written = 0;
            let ended = loop {
                let rest = peer.unwritten.get(written..).unwrap_or_default();
                if rest.is_empty() {
                    break false;
                }
                match peer.stream.write(rest) {
                    Ok(count) => written += count,
                    // The event that it can go on marks it.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
                    Err(_) => break true,
                }
            };
            peer.unwritten.drain(..written);
            if ended {
                self.remove(index);
            }
        }
    }
}

/// What follows the Remaining Length of a whole packet, and its length.
fn body(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let rest = bytes.get(1..)?;
    let (mut remaining, mut at) = (0, 0);
    loop {
        let byte = *rest.get(at)?;
        remaining |= usize::from(byte & 0x7F) << (7 * at);
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
        if at == 4 {
            return None;
        }
    }
    let length = 1 + at + remaining;
    Some((bytes.get(1 + at..length)?, length))
}
