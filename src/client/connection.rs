//! One connection to a server, from CONNECT to DISCONNECT.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::net::{TcpSocket, TcpStream};

use super::input::Input;
use super::packet_ids::PacketIds;
use super::{ClientError, ReadBuffer, Template};
use crate::packet::{
    ConnAck, ConnAckCode, Connect, ConnectProperties, ConnectReturnCode, Delivery, Disconnect,
    FilterList, Frame, PACKET_BYTES_MAX, Packet, PacketId, PacketType, ProtocolVersion, PubAck,
    PubComp, PubRec, PubRel, Publish, QoS, ReasonCode, ReasonCodes, ReceiveMaximum, Subscribe,
    SubscriptionOptions, UserProperties,
};

/// What a connection keeps of its buffer while nothing is unwritten, in bytes.
const KEPT_BYTES: usize = 1024 * 1024;

/// A server, and the address of ours to reach it from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    pub address: SocketAddr,
    /// The machine's choice if `None`. Each address has about 28,000 ports.
    pub source: Option<IpAddr>,
}

/// What a client says in its CONNECT.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    pub version: ProtocolVersion,
    pub client_id: &'a str,
    pub clean_start: bool,
    /// Seconds that the Session outlives the connection. Before 5.0 it does if `clean_start` is
    /// not set.
    pub session_expiry: u32,
    /// What the server may send at most in one packet; a 5.0 server is told.
    pub packet_bytes_max: usize,
}

/// What a server said in its CONNACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Welcome {
    pub session_present: bool,
    pub qos_max: QoS,
    pub retain_available: bool,
}

/// What came from the server; whatever had to be answered has been.
#[derive(Debug)]
pub enum Event<'a> {
    Message(Publish<'a>),
    /// A message of QoS 1 or 2 has arrived, or was refused for this reason.
    Published(PacketId, ReasonCode),
    Subscribed(PacketId, ReasonCodes<'a>),
    Pong,
}

#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    input: Input,
    dialogue: Dialogue,
}

/// All of a connection that is not its socket.
#[derive(Debug)]
struct Dialogue {
    version: ProtocolVersion,
    output: Output,
    ids: PacketIds,
    /// How many messages of QoS 1 and 2 the server takes before it has acknowledged any.
    receive_maximum: ReceiveMaximum,
}

/// What is still to be written.
#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    written: usize,
}

impl Connection {
    /// Connects and waits to be welcomed.
    ///
    /// # Errors
    /// If the server cannot be reached, refuses, or does not speak MQTT.
    pub async fn open(
        target: Target,
        options: &Options<'_>,
        buffer: &ReadBuffer,
    ) -> Result<(Self, Welcome), ClientError> {
        let Target { address, .. } = target;
        let stream = connect(target).await;
        let stream = stream.map_err(|source| ClientError::Connect { address, source })?;
        let dialogue = Dialogue {
            version: options.version,
            output: Output::default(),
            ids: PacketIds::default(),
            receive_maximum: ReceiveMaximum::DEFAULT,
        };
        let input = Input::new(buffer.clone(), options.packet_bytes_max);
        let mut connection = Self { stream, input, dialogue };
        connection.dialogue.encode(&Packet::Connect(introduction(options)));
        let mut welcome = None;
        while welcome.is_none() {
            poll_fn(|context| connection.poll_welcome(context, &mut welcome)).await?;
        }
        welcome.map(|welcome| (connection, welcome)).ok_or(ClientError::Closed)
    }

    /// How many messages of QoS 1 and 2 may be published before others are acknowledged.
    #[must_use]
    pub fn quota(&self) -> u16 {
        self.dialogue.receive_maximum.value().saturating_sub(self.dialogue.ids.count())
    }

    /// How many bytes wait to be written.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.dialogue.output.bytes.len() - self.dialogue.output.written
    }

    /// Publishes a payload, given in parts that together are as long as the template's sample.
    ///
    /// # Errors
    /// If the [`Self::quota`] is used up.
    pub fn publish(
        &mut self,
        template: &Template,
        payload: &[&[u8]],
    ) -> Result<Option<PacketId>, ClientError> {
        let id = if template.has_packet_id() {
            if self.quota() == 0 {
                return Err(ClientError::Quota);
            }
            Some(self.dialogue.ids.take().ok_or(ClientError::Quota)?)
        } else {
            None
        };
        template.write(id, payload, &mut self.dialogue.output.bytes);
        Ok(id)
    }

    /// Subscribes to all filters in one packet.
    ///
    /// # Errors
    /// If no Packet Identifier is free.
    pub fn subscribe<'a>(
        &mut self,
        filters: impl IntoIterator<Item = &'a str>,
        qos: QoS,
    ) -> Result<PacketId, ClientError> {
        let id = self.dialogue.ids.take().ok_or(ClientError::Quota)?;
        let mut list = FilterList::default();
        for filter in filters {
            list.push(filter, SubscriptionOptions::new(qos));
        }
        self.dialogue.encode(&Packet::Subscribe(Subscribe {
            id,
            subscription_id: None,
            user_properties: UserProperties::default(),
            filters: list.as_view(),
        }));
        Ok(id)
    }

    pub fn ping(&mut self) {
        self.dialogue.encode(&Packet::PingReq);
    }

    /// Says goodbye; what is unwritten has still to be written.
    pub fn disconnect(&mut self) {
        self.dialogue
            .encode(&Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION)));
    }

    /// Reads what has come, hands each packet to `handle` and writes what is unwritten, answers
    /// included; waits until something was read or everything was written. Cancel safe.
    ///
    /// # Errors
    /// If the connection is at its end.
    pub async fn turn(&mut self, mut handle: impl FnMut(Event<'_>)) -> Result<(), ClientError> {
        poll_fn(|context| self.poll_turn(context, &mut handle)).await
    }

    /// Writes all that is unwritten, without reading.
    ///
    /// # Errors
    /// If the connection is at its end.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        if self.unwritten() == 0 {
            return Ok(());
        }
        poll_fn(|context| self.dialogue.output.poll_write(context, &mut self.stream)).await
    }

    fn poll_turn(
        &mut self,
        context: &mut Context<'_>,
        handle: &mut impl FnMut(Event<'_>),
    ) -> Poll<Result<(), ClientError>> {
        let Self { stream, input, dialogue } = self;
        let read = input.poll_packets(context, stream, |frame| {
            dialogue.receive(&frame, &mut *handle)?;
            Ok(ControlFlow::Continue(()))
        })?;
        let wrote = dialogue.output.poll_write(context, stream)?;
        if read.is_ready() || wrote.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Writes the CONNECT and reads the CONNACK, and nothing behind it: a Session that is resumed may
    /// send messages at once.
    fn poll_welcome(
        &mut self,
        context: &mut Context<'_>,
        welcome: &mut Option<Welcome>,
    ) -> Poll<Result<(), ClientError>> {
        let Self { stream, input, dialogue } = self;
        let wrote = dialogue.output.poll_write(context, stream)?.is_ready();
        let read = input.poll_packets(context, stream, |frame| {
            match frame.decode(dialogue.version)? {
                Packet::ConnAck(connack) => *welcome = Some(dialogue.welcome(&connack)?),
                other => return Err(ClientError::Unexpected(packet_type(&other))),
            }
            Ok(ControlFlow::Break(()))
        })?;
        if read.is_ready() || wrote { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl Dialogue {
    fn welcome(&mut self, connack: &ConnAck<'_>) -> Result<Welcome, ClientError> {
        match connack.code {
            ConnAckCode::V5(ReasonCode::Success) | ConnAckCode::V3(ConnectReturnCode::Accepted) => {
            }
            ConnAckCode::V5(code) => return Err(ClientError::Refused(code)),
            ConnAckCode::V3(code) => return Err(ClientError::RefusedV3(code)),
        }
        let properties = &connack.properties;
        self.receive_maximum = properties.receive_maximum.unwrap_or(ReceiveMaximum::DEFAULT);
        Ok(Welcome {
            session_present: connack.session_present,
            qos_max: properties.maximum_qos,
            retain_available: properties.retain_available,
        })
    }

    /// Reads one packet, answers it, and hands it on if it is of interest.
    #[inline]
    fn receive(
        &mut self,
        frame: &Frame<'_>,
        handle: &mut impl FnMut(Event<'_>),
    ) -> Result<(), ClientError> {
        match frame.decode(self.version)? {
            Packet::Publish(publish) => {
                self.acknowledge(publish.delivery);
                handle(Event::Message(publish));
            }
            Packet::PubAck(PubAck { id, reason, .. })
            | Packet::PubComp(PubComp { id, reason, .. }) => {
                self.release(id)?;
                handle(Event::Published(id, reason));
            }
            Packet::PubRec(PubRec { id, reason, .. }) if reason.is_error() => {
                self.release(id)?;
                handle(Event::Published(id, reason));
            }
            Packet::PubRec(PubRec { id, .. }) => {
                if !self.ids.is_used(id) {
                    return Err(ClientError::UnknownPacketId(id));
                }
                self.encode(&Packet::PubRel(PubRel::new(id, ReasonCode::Success)));
            }
            Packet::PubRel(PubRel { id, .. }) => {
                self.encode(&Packet::PubComp(PubComp::new(id, ReasonCode::Success)));
            }
            Packet::SubAck(suback) => {
                self.release(suback.id)?;
                handle(Event::Subscribed(suback.id, suback.codes));
            }
            Packet::PingResp => handle(Event::Pong),
            Packet::Disconnect(Disconnect { reason, .. }) => {
                return Err(ClientError::Dismissed(reason));
            }
            packet @ (Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::UnsubAck(_)
            | Packet::PingReq
            | Packet::Auth(_)) => return Err(ClientError::Unexpected(packet_type(&packet))),
        }
        Ok(())
    }

    // [MQTT-4.3.2-4] [MQTT-4.3.3-8]
    #[inline]
    fn acknowledge(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { id, .. } => {
                self.encode(&Packet::PubAck(PubAck::new(id, ReasonCode::Success)));
            }
            Delivery::ExactlyOnce { id, .. } => {
                self.encode(&Packet::PubRec(PubRec::new(id, ReasonCode::Success)));
            }
        }
    }

    fn release(&mut self, id: PacketId) -> Result<(), ClientError> {
        if self.ids.release(id) { Ok(()) } else { Err(ClientError::UnknownPacketId(id)) }
    }

    fn encode(&mut self, packet: &Packet<'_>) {
        packet.encode(self.version, &mut self.output.bytes);
    }
}

impl Output {
    /// Writes what there is. Ready only if there was something and now is nothing.
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut TcpStream,
    ) -> Poll<Result<(), ClientError>> {
        let mut wrote = false;
        while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            let count = ready!(Pin::new(&mut *stream).poll_write(context, rest));
            self.written += count.map_err(ClientError::Broken)?;
            wrote = true;
        }
        if !wrote {
            return Poll::Pending;
        }
        self.written = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

async fn connect(Target { address, source }: Target) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn introduction<'a>(options: &Options<'a>) -> Connect<'a> {
    let Options { version, client_id, clean_start, session_expiry, packet_bytes_max } = *options;
    let size = u32::try_from(packet_bytes_max).ok().and_then(NonZeroU32::new);
    let maximum_packet_size = size.filter(|_| packet_bytes_max < PACKET_BYTES_MAX);
    Connect {
        version,
        clean_start,
        keep_alive: 0,
        client_id,
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties {
            session_expiry,
            maximum_packet_size,
            ..ConnectProperties::default()
        },
    }
}

fn packet_type(packet: &Packet<'_>) -> PacketType {
    match packet {
        Packet::Connect(_) => PacketType::Connect,
        Packet::ConnAck(_) => PacketType::ConnAck,
        Packet::Publish(_) => PacketType::Publish,
        Packet::PubAck(_) => PacketType::PubAck,
        Packet::PubRec(_) => PacketType::PubRec,
        Packet::PubRel(_) => PacketType::PubRel,
        Packet::PubComp(_) => PacketType::PubComp,
        Packet::Subscribe(_) => PacketType::Subscribe,
        Packet::SubAck(_) => PacketType::SubAck,
        Packet::Unsubscribe(_) => PacketType::Unsubscribe,
        Packet::UnsubAck(_) => PacketType::UnsubAck,
        Packet::PingReq => PacketType::PingReq,
        Packet::PingResp => PacketType::PingResp,
        Packet::Disconnect(_) => PacketType::Disconnect,
        Packet::Auth(_) => PacketType::Auth,
    }
}
