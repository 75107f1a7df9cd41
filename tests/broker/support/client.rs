//! A raw MQTT client for tests: it says what it is told, answers as the standard wants it unless
//! told otherwise, and reads while it writes, so that neither side can block the other.

use std::{
    collections::{HashSet, VecDeque},
    io::ErrorKind,
    net::SocketAddr,
    time::Duration,
};

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::{
    io::Interest,
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{
    broker::PATIENCE,
    connect::Connect,
    wire::{Message, Packet, Properties, Version, acknowledge, decode, packet, publish, text},
};

/// What became of a connection that the broker closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Closed after a DISCONNECT with this Reason Code.
    Disconnect(u8),
    /// Closed after a CONNACK with this refusal.
    Refused(u8),
    Closed,
}

/// One thing that happened to a client.
#[derive(Debug)]
enum Event {
    Message(Message),
    /// A publish of ours is done, with the Reason Code that ended it.
    Published {
        packet_id: u16,
        code: u8,
    },
    Other(Packet),
}

/// A connection and the little a client has to remember.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) version: Version,
    pub(crate) session_present: bool,
    /// Messages that arrived while the test waited for something else.
    pub(crate) messages: VecDeque<Message>,
    /// Our publishes above QoS 0 that are not done.
    pub(crate) open: HashSet<u16>,
    stream: TcpStream,
    inbound: BytesMut,
    outbound: BytesMut,
    next_id: u16,
    released: HashSet<u16>,
    answers: Answers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    Given,
    Withheld,
}

impl Client {
    /// A TCP connection that has said nothing yet.
    pub(crate) async fn open(address: SocketAddr, version: Version) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(address))
            .await
            .expect("the broker accepts in time")
            .expect("the broker accepts");
        Self::on(stream, version)
    }

    /// The same with a receive buffer of this size, to be a reader who is soon full.
    pub(crate) async fn open_narrow(address: SocketAddr, version: Version, bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a receive buffer of that size");
        let stream = socket.connect(address).await.expect("the broker accepts");
        Self::on(stream, version)
    }

    fn on(stream: TcpStream, version: Version) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Self {
            version,
            session_present: false,
            messages: VecDeque::new(),
            open: HashSet::new(),
            stream,
            inbound: BytesMut::new(),
            outbound: BytesMut::new(),
            next_id: 0,
            released: HashSet::new(),
            answers: Answers::Given,
        }
    }

    /// A client that the broker let in.
    pub(crate) async fn connect(address: SocketAddr, connect: &Connect) -> Self {
        let mut client = Self::open(address, connect.version).await;
        client.introduce(connect).await;
        client
    }

    pub(crate) async fn introduce(&mut self, connect: &Connect) {
        self.send(&connect.encode());
        let Packet::ConnAck { session_present, code, .. } = self.packet().await else {
            panic!("something else than a CONNACK came first");
        };
        assert_eq!(code, 0, "the CONNECT was refused");
        self.session_present = session_present;
    }

    /// From now on nothing that arrives is answered.
    pub(crate) fn withhold_answers(&mut self) {
        self.answers = Answers::Withheld;
    }

    pub(crate) fn give_answers(&mut self) {
        self.answers = Answers::Given;
    }

    /// Queues bytes and hands the socket what it takes at once; `packet` and `flush` send the rest.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.outbound.extend_from_slice(bytes);
        let _ = self.write();
    }

    /// Hands the socket what it takes at once, without reading: how many bytes are left.
    pub(crate) fn push(&mut self) -> usize {
        self.write().expect("the connection stands");
        self.outbound.len()
    }

    pub(crate) fn publish(&mut self, topic: &str, payload: impl AsRef<[u8]>, qos: u8) -> u16 {
        self.publish_with(qos << 1, topic, payload, &Properties::default())
    }

    pub(crate) fn publish_retained(&mut self, topic: &str, payload: &str, qos: u8) -> u16 {
        self.publish_with(qos << 1 | 1, topic, payload, &Properties::default())
    }

    /// A PUBLISH with these flags in its first byte. Returns its Packet Identifier, 0 for QoS 0.
    pub(crate) fn publish_with(
        &mut self,
        flags: u8,
        topic: &str,
        payload: impl AsRef<[u8]>,
        properties: &Properties,
    ) -> u16 {
        let packet_id = if flags & 6 == 0 { 0 } else { self.new_packet_id() };
        if packet_id != 0 {
            self.open.insert(packet_id);
        }
        let first = 0x30 | flags;
        self.send(&publish(self.version, first, topic, packet_id, properties, payload.as_ref()));
        packet_id
    }

    /// Publishes and waits until the broker has taken it over; returns the Reason Code.
    pub(crate) async fn publish_and_wait(
        &mut self,
        topic: &str,
        payload: impl AsRef<[u8]>,
        qos: u8,
    ) -> u8 {
        let wanted = self.publish(topic, payload, qos);
        self.published(wanted).await
    }

    pub(crate) async fn published(&mut self, wanted: u16) -> u8 {
        if wanted == 0 {
            self.flush().await;
            return 0;
        }
        loop {
            match self.event().await {
                Event::Published { packet_id, code } if packet_id == wanted => return code,
                Event::Published { .. } => {}
                Event::Message(message) => self.messages.push_back(message),
                Event::Other(other) => panic!("waiting for a PUBACK or PUBCOMP: {other:?}"),
            }
        }
    }

    /// Waits until at most `count` of our publishes are under way.
    pub(crate) async fn wait_for_window(&mut self, count: usize) {
        while self.open.len() > count {
            match self.event().await {
                Event::Published { .. } => {}
                Event::Message(message) => self.messages.push_back(message),
                Event::Other(other) => panic!("waiting for a PUBACK or PUBCOMP: {other:?}"),
            }
        }
        self.flush().await;
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, options: u8) -> u8 {
        self.subscribe_with(&[(filter, options)], &Properties::default()).await[0]
    }

    pub(crate) async fn subscribe_with(
        &mut self,
        filters: &[(&str, u8)],
        properties: &Properties,
    ) -> Vec<u8> {
        let wanted = self.send_subscribe(filters, properties);
        loop {
            match self.event().await {
                Event::Other(Packet::SubAck { packet_id, codes, .. }) if packet_id == wanted => {
                    return codes;
                }
                Event::Message(message) => self.messages.push_back(message),
                other => panic!("waiting for a SUBACK: {other:?}"),
            }
        }
    }

    pub(crate) fn send_subscribe(
        &mut self,
        filters: &[(&str, u8)],
        properties: &Properties,
    ) -> u16 {
        let packet_id = self.new_packet_id();
        let mut body = packet_id.to_be_bytes().to_vec();
        if self.version == Version::V5 {
            body.extend(properties.encode());
        }
        for (filter, options) in filters {
            body.extend(text(filter));
            body.push(*options);
        }
        self.send(&packet(0x82, &body));
        packet_id
    }

    /// A PINGREQ and its answer: the broker has read everything that was sent before.
    pub(crate) async fn ping(&mut self) {
        self.send(&[0xC0, 0x00]);
        loop {
            match self.event().await {
                Event::Other(Packet::PingResp) => return,
                Event::Message(message) => self.messages.push_back(message),
                Event::Published { .. } => {}
                Event::Other(other) => panic!("waiting for a PINGRESP: {other:?}"),
            }
        }
    }

    /// The next message, no matter how long the broker's patience with us.
    pub(crate) async fn message(&mut self) -> Message {
        if let Some(message) = self.messages.pop_front() {
            return message;
        }
        loop {
            match self.event().await {
                Event::Message(message) => return message,
                Event::Published { .. } => {}
                Event::Other(other) => panic!("waiting for a message: {other:?}"),
            }
        }
    }

    /// The next thing that happens, answered: PUBACK, PUBREC, PUBREL and PUBCOMP go out by
    /// themselves. A QoS 2 message that repeats one not yet released is answered and not told.
    async fn event(&mut self) -> Event {
        loop {
            let packet = self.packet().await;
            if let Some(event) = self.digest(packet) {
                return event;
            }
        }
    }

    fn digest(&mut self, packet: Packet) -> Option<Event> {
        match packet {
            Packet::Publish(message) => {
                let first = [0, 0x40, 0x50][usize::from(message.qos)];
                if first != 0 && self.answers == Answers::Given {
                    self.send(&acknowledge(first, message.packet_id));
                    if message.qos == 2 && !self.released.insert(message.packet_id) {
                        return None;
                    }
                }
                Some(Event::Message(message))
            }
            Packet::PubRel { packet_id, .. } if self.answers == Answers::Given => {
                self.released.remove(&packet_id);
                self.send(&acknowledge(0x70, packet_id));
                None
            }
            Packet::PubRec { packet_id, code, .. } if self.answers == Answers::Given => {
                if code >= 0x80 {
                    self.open.remove(&packet_id);
                    return Some(Event::Published { packet_id, code });
                }
                self.send(&acknowledge(0x62, packet_id));
                None
            }
            Packet::PubAck { packet_id, code, .. } | Packet::PubComp { packet_id, code, .. } => {
                assert!(self.open.remove(&packet_id), "{packet_id} was acknowledged twice");
                Some(Event::Published { packet_id, code })
            }
            other => Some(Event::Other(other)),
        }
    }

    /// The next packet as it is, unanswered.
    pub(crate) async fn packet(&mut self) -> Packet {
        match timeout(PATIENCE, self.read_packet()).await {
            Ok(Some(packet)) => packet,
            Ok(None) => panic!("the broker closed the connection"),
            Err(_) => panic!("nothing came for {PATIENCE:?}"),
        }
    }

    /// Reads to the end of the connection; messages on the way are kept and answered.
    pub(crate) async fn end(&mut self) -> End {
        let mut end = End::Closed;
        loop {
            let Ok(packet) = timeout(PATIENCE, self.read_packet()).await else {
                panic!("the broker did not close within {PATIENCE:?}");
            };
            match packet {
                None => return end,
                Some(Packet::Disconnect { code, .. }) => end = End::Disconnect(code),
                Some(Packet::ConnAck { code, .. }) if code != 0 => end = End::Refused(code),
                Some(packet) => {
                    if let Some(Event::Message(message)) = self.digest(packet) {
                        self.messages.push_back(message);
                    }
                }
            }
        }
    }

    /// Waits for the end of the connection and does not look at what comes before it.
    pub(crate) async fn closed(&mut self) {
        let over = async {
            while self.exchange().await {
                self.inbound.clear();
            }
        };
        timeout(PATIENCE, over).await.expect("the broker closes in time");
    }

    /// Waits until the socket has taken everything; what arrives meanwhile is buffered.
    pub(crate) async fn flush(&mut self) {
        while !self.outbound.is_empty() {
            let open = timeout(PATIENCE, self.exchange()).await.expect("the broker reads in time");
            assert!(open, "the broker closed the connection while we were writing");
        }
    }

    /// DISCONNECT, then wait for the broker's close.
    pub(crate) async fn disconnect(mut self) {
        self.send(&[0xE0, 0x00]);
        assert_eq!(self.end().await, End::Closed);
    }

    /// The connection ends with a reset, as when a device loses its power behind a NAT.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("a connection can be reset");
    }

    /// No more bytes from us; the other direction stays open.
    pub(crate) fn finish_writing(&mut self) {
        let _ = SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
    }

    pub(crate) fn new_packet_id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if !self.open.contains(&self.next_id) {
                return self.next_id;
            }
        }
    }

    async fn read_packet(&mut self) -> Option<Packet> {
        loop {
            if let Some((packet, length)) = decode(&self.inbound, self.version) {
                self.inbound.advance(length);
                return Some(packet);
            }
            if !self.exchange().await {
                return None;
            }
        }
    }

    /// One round of reading and writing; false once the connection is over.
    async fn exchange(&mut self) -> bool {
        let interest = if self.outbound.is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        let Ok(ready) = self.stream.ready(interest).await else {
            return false;
        };
        if ready.is_writable() && self.write().is_err() {
            // The reading side still holds what the broker said before it closed.
            self.outbound.clear();
        }
        if ready.is_readable() {
            match self.stream.try_read_buf(&mut self.inbound) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
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
