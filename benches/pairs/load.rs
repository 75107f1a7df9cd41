//! Publishers and subscribers on one thread, with less work for each message than any broker has.
//!
//! A publisher writes, in one go, as many messages as its window allows; whenever a subscriber gets
//! some, the window has room again. Every byte received is checked.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::packets::{CONNACK, PUBACK_BYTES, Template, connect, puback, suback, subscribe};

/// A broker that says nothing for so long has lost something.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long is listened, in the end, for messages that nobody sent.
const AFTERMATH: Duration = Duration::from_millis(50);

const READ_BYTES: usize = 256 * 1024;
const EVENTS: usize = 256;

#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("a client cannot connect or subscribe")]
    Connect(#[source] io::Error),
    #[error("the connection of {client} failed after {messages} messages")]
    Connection { client: String, messages: u64, source: io::Error },
    #[error("{client} expected message {expected} and got {got:?}: lost, repeated or out of order")]
    Order { client: String, expected: u64, got: Option<u64> },
    #[error("{client} has only {messages} of {sent} messages and nothing comes any more")]
    Stalled { client: String, messages: u64, sent: u64 },
    #[error("a byte came after the last message")]
    Surplus,
    #[error("cannot wait for events")]
    Wait(#[source] io::Error),
}

/// Who publishes to whom.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) publishers: usize,
    pub(crate) subscribers_each: usize,
    pub(crate) qos: u8,
    /// Messages a publisher may have sent that some subscriber of its has not received, or the
    /// broker not acknowledged.
    pub(crate) window: u64,
}

/// When a run ends: with whatever comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) time: Duration,
    /// Delivered.
    pub(crate) messages: u64,
}

/// All clients, connected to one broker.
#[derive(Debug)]
pub(crate) struct Load {
    poll: Poll,
    shape: Shape,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    read_buffer: Vec<u8>,
    /// Further messages are sent.
    sending: bool,
    delivered: u64,
}

#[derive(Debug)]
struct Publisher {
    stream: mio::net::TcpStream,
    template: Template,
    /// A window of packets to be numbered and written.
    packets: Vec<u8>,
    sent: u64,
    /// By all its subscribers.
    received: u64,
    acknowledged_bytes: usize,
    /// What of `packets` a full socket has not taken.
    unwritten: std::ops::Range<usize>,
}

#[derive(Debug)]
struct Subscriber {
    stream: mio::net::TcpStream,
    received: u64,
    /// The beginning of a packet.
    rest: Vec<u8>,
    acknowledgements: Vec<u8>,
}

impl Load {
    pub(crate) fn connect(address: SocketAddr, shape: Shape) -> Result<Self, LoadError> {
        Self::try_connect(address, shape).map_err(LoadError::Connect)
    }

    fn try_connect(address: SocketAddr, shape: Shape) -> io::Result<Self> {
        let poll = Poll::new()?;
        let topic = |publisher| format!("bench/pair/{publisher}");
        let watch = |stream: TcpStream, token| {
            stream.set_nonblocking(true)?;
            let mut stream = mio::net::TcpStream::from_std(stream);
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(token), both)?;
            io::Result::Ok(stream)
        };
        let mut subscribers = Vec::new();
        for index in 0..shape.publishers * shape.subscribers_each {
            let mut stream = handshake(address, &format!("subscriber-{index}"))?;
            stream.write_all(&subscribe(&topic(index / shape.subscribers_each), shape.qos))?;
            expect(&mut stream, &suback(shape.qos))?;
            let stream = watch(stream, index)?;
            let (rest, acknowledgements) = (Vec::new(), Vec::new());
            subscribers.push(Subscriber { stream, received: 0, rest, acknowledgements });
        }
        let mut publishers: Vec<Option<Publisher>> = Vec::new();
        publishers.resize_with(shape.publishers, || None);
        for index in (0..shape.publishers).map(mixed) {
            let Some(place) = publishers.get_mut(index) else { continue };
            let stream = handshake(address, &format!("publisher-{index}"))?;
            let stream = watch(stream, subscribers.len() + index)?;
            *place = Some(Publisher::new(stream, &topic(index), &shape));
        }
        Ok(Self {
            poll,
            publishers: publishers.into_iter().flatten().collect(),
            subscribers,
            shape,
            read_buffer: vec![0; READ_BYTES],
            sending: false,
            delivered: 0,
        })
    }

    /// Sends until a bound is reached and waits until all has arrived; how many were delivered.
    pub(crate) fn run(&mut self, bounds: Bounds) -> Result<u64, LoadError> {
        let mut events = Events::with_capacity(EVENTS);
        let before = self.delivered;
        let start = Instant::now();
        self.sending = true;
        for publisher in 0..self.publishers.len() {
            self.send(publisher)?;
        }
        while self.sending || !self.is_quiet() {
            self.poll.poll(&mut events, Some(PATIENCE)).map_err(LoadError::Wait)?;
            if events.is_empty() {
                return Err(self.stalled());
            }
            for event in &events {
                self.serve(event)?;
            }
            let enough = self.delivered - before >= bounds.messages;
            self.sending &= !enough && start.elapsed() < bounds.time;
        }
        Ok(self.delivered - before)
    }

    /// Asserts that nothing more arrives than was sent.
    pub(crate) fn finish(mut self) -> Result<(), LoadError> {
        let mut events = Events::with_capacity(EVENTS);
        self.poll.poll(&mut events, Some(AFTERMATH)).map_err(LoadError::Wait)?;
        for event in events.iter().filter(|event| event.is_readable()) {
            self.serve(event)?;
        }
        if self.is_quiet() { Ok(()) } else { Err(LoadError::Surplus) }
    }

    /// All that was sent has arrived, was acknowledged if it had to be, and no more.
    fn is_quiet(&self) -> bool {
        let at_rest = |subscriber: &Subscriber| {
            subscriber.rest.is_empty() && subscriber.acknowledgements.is_empty()
        };
        self.publishers.iter().all(|publisher| publisher.outstanding(self.shape.qos) == 0)
            && self.subscribers.iter().all(at_rest)
    }

    fn stalled(&self) -> LoadError {
        let publishers = self.publishers.iter().enumerate();
        let late = publishers.max_by_key(|(_, one)| one.outstanding(self.shape.qos));
        let (index, sent, messages) =
            late.map_or((0, 0, 0), |(index, one)| (index, one.sent, one.received));
        LoadError::Stalled { client: format!("a subscriber of {index}"), messages, sent }
    }

    fn serve(&mut self, event: &mio::event::Event) -> Result<(), LoadError> {
        let Token(token) = event.token();
        let publisher = match token.checked_sub(self.subscribers.len()) {
            None => {
                if event.is_readable() && self.receive(token)? == 0 {
                    return Ok(());
                }
                self.acknowledge(token)?;
                token / self.shape.subscribers_each
            }
            Some(publisher) => {
                if event.is_readable() {
                    self.receive_acknowledgements(publisher)?;
                }
                publisher
            }
        };
        self.send(publisher)
    }

    /// Reads what there is and checks it; how many messages that were.
    fn receive(&mut self, index: usize) -> Result<u64, LoadError> {
        let owner = index / self.shape.subscribers_each;
        let (Some(subscriber), Some(publisher)) =
            (self.subscribers.get_mut(index), self.publishers.get_mut(owner))
        else {
            return Ok(0);
        };
        let before = subscriber.received;
        loop {
            let kept = subscriber.rest.len();
            let Some((rest, place)) = self.read_buffer.split_at_mut_checked(kept) else { break };
            let Some(count) = read(&mut subscriber.stream, place)
                .map_err(|error| connection(format!("subscriber-{index}"), before, error))?
            else {
                break;
            };
            let room = place.len();
            rest.copy_from_slice(&subscriber.rest);
            let bytes = self.read_buffer.get(..kept + count).unwrap_or_default();
            subscriber.check(index, bytes, &publisher.template)?;
            // mio tells once of new bytes; a read that was not filled has got them all.
            if count < room {
                break;
            }
        }
        let received = subscriber.received - before;
        self.delivered += received;
        // Only the last of them moves the window on.
        if before == publisher.received && received > 0 {
            let first = owner * self.shape.subscribers_each;
            let all = self.subscribers.iter().skip(first).take(self.shape.subscribers_each);
            publisher.received = all.map(|one| one.received).min().unwrap_or_default();
        }
        Ok(received)
    }

    fn acknowledge(&mut self, index: usize) -> Result<(), LoadError> {
        let Some(subscriber) = self.subscribers.get_mut(index) else { return Ok(()) };
        let bytes = &mut subscriber.acknowledgements;
        let written = write(&mut subscriber.stream, bytes).map_err(|error| {
            connection(format!("subscriber-{index}"), subscriber.received, error)
        })?;
        bytes.drain(..written);
        Ok(())
    }

    fn receive_acknowledgements(&mut self, index: usize) -> Result<(), LoadError> {
        let Some(publisher) = self.publishers.get_mut(index) else { return Ok(()) };
        let sent = publisher.sent;
        while let Some(count) = read(&mut publisher.stream, &mut self.read_buffer)
            .map_err(|error| connection(format!("publisher-{index}"), sent, error))?
        {
            publisher.acknowledged_bytes += count;
            if count < self.read_buffer.len() {
                break;
            }
        }
        Ok(())
    }

    /// Writes what the window allows.
    fn send(&mut self, index: usize) -> Result<(), LoadError> {
        let Some(publisher) = self.publishers.get_mut(index) else { return Ok(()) };
        if publisher.unwritten.is_empty() {
            let room = self.shape.window.saturating_sub(publisher.outstanding(self.shape.qos));
            if room == 0 || !self.sending {
                return Ok(());
            }
            publisher.prepare(room);
        }
        let bytes = publisher.packets.get(publisher.unwritten.clone()).unwrap_or_default();
        let written = write(&mut publisher.stream, bytes)
            .map_err(|error| connection(format!("publisher-{index}"), publisher.sent, error))?;
        publisher.unwritten.start += written;
        Ok(())
    }
}

impl Publisher {
    fn new(stream: mio::net::TcpStream, topic: &str, shape: &Shape) -> Self {
        let template = Template::new(topic, shape.qos);
        let packets = template.packets(usize::try_from(shape.window).unwrap_or_default());
        let (sent, received, acknowledged_bytes) = (0, 0, 0);
        Self { stream, template, packets, sent, received, acknowledged_bytes, unwritten: 0..0 }
    }

    fn outstanding(&self, qos: u8) -> u64 {
        let settled = match qos {
            0 => self.received,
            _ => self.received.min((self.acknowledged_bytes / PUBACK_BYTES) as u64),
        };
        self.sent - settled
    }

    /// Numbers the next `count` packets.
    fn prepare(&mut self, count: u64) {
        let length = self.template.length();
        let first = self.sent;
        for (packet, number) in self.packets.chunks_exact_mut(length).zip(first..first + count) {
            self.template.write_number(packet, number);
            self.sent += 1;
        }
        self.unwritten = 0..length * usize::try_from(self.sent - first).unwrap_or_default();
    }
}

impl Subscriber {
    /// Checks each whole packet and keeps what follows the last one.
    fn check(&mut self, index: usize, bytes: &[u8], template: &Template) -> Result<(), LoadError> {
        let packets = bytes.chunks_exact(template.length());
        self.rest.clear();
        self.rest.extend_from_slice(packets.remainder());
        for packet in packets {
            let numbered = template.read(packet);
            let Some(numbered) = numbered.filter(|read| read.number == self.received) else {
                let got = numbered.map(|read| read.number);
                let client = format!("subscriber-{index}");
                return Err(LoadError::Order { client, expected: self.received, got });
            };
            self.received += 1;
            if template.has_id() {
                self.acknowledgements.extend_from_slice(&puback(numbered.id));
            }
        }
        Ok(())
    }
}

/// The order in which publishers connect. A broker that gives connections to its workers in turn
/// has so some pairs within one worker and some across two.
fn mixed(index: usize) -> usize {
    if index / 2 % 2 == 1 { index ^ 1 } else { index }
}

fn handshake(address: SocketAddr, client_id: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&connect(client_id))?;
    expect(&mut stream, &CONNACK)?;
    Ok(stream)
}

fn expect<const COUNT: usize>(stream: &mut TcpStream, answer: &[u8; COUNT]) -> io::Result<()> {
    let mut got = [0; COUNT];
    stream.read_exact(&mut got)?;
    if got == *answer { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// `None` if there is nothing to read.
fn read(stream: &mut mio::net::TcpStream, place: &mut [u8]) -> io::Result<Option<usize>> {
    match stream.read(place) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// How much of it the socket took.
fn write(stream: &mut mio::net::TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

fn connection(client: String, messages: u64, source: io::Error) -> LoadError {
    LoadError::Connection { client, messages, source }
}
