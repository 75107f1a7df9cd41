//! A router, its clients, their wires and its store, all in the hand of a test.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use dunlin::change::{Epoch, Journal, Keeps, SessionExpiry, Subscription};
use dunlin::message::{Message, Payload, Publication};
use dunlin::metrics::Metrics;
use dunlin::packet::{
    ClientId, ConnAckCode, ConnectReturnCode, Delivery, Disconnect, ForwardedProperties, Framing,
    Identity, Packet, PacketId, ProtocolVersion, PubAck, Publish, QoS, ReasonCode, RetainHandling,
    SubscriptionId, SubscriptionOptions, frame,
};
use dunlin::router::{
    Acknowledged, Attach, Attached, Attachment, Courier, Ending, Flags, Flushing, Leave, Leaving,
    Memory, Origin, OutboundLimits, Outcome, RetainedLimits, Router, RouterLimits, Signal, Step,
    Strategy, Wire,
};
use dunlin::session::{
    self, Farewell, Limits, ProtocolError, QueueWhenFull, Refusal, ServerSide, Terms, Will,
    WillFate,
};
use dunlin::time::Now;
use dunlin::topic::{SubscriptionFilter, TopicName};

use crate::store::ModelStore;

pub(crate) const V311: ProtocolVersion = ProtocolVersion::V311;
pub(crate) const V5: ProtocolVersion = ProtocolVersion::V5;
pub(crate) const ZERO: QoS = QoS::AtMostOnce;
pub(crate) const ONE: QoS = QoS::AtLeastOnce;
pub(crate) const TWO: QoS = QoS::ExactlyOnce;
pub(crate) const FOREVER: SessionExpiry = SessionExpiry::Never;

pub(crate) fn expiry(seconds: u64) -> SessionExpiry {
    SessionExpiry::After(Duration::from_secs(seconds))
}

pub(crate) fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

pub(crate) fn subscription_id(value: u32) -> Option<SubscriptionId> {
    SubscriptionId::new(value)
}

/// A wire that takes as much as a test lets it.
#[derive(Debug, Default)]
pub(crate) struct FakeWire(Mutex<WireState>);

/// What others do while somebody writes.
struct Meanwhile(Box<dyn FnMut() + Send>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Meanwhile")
    }
}

#[derive(Debug)]
struct WireState {
    bytes: Vec<u8>,
    /// Bytes it still takes before it would block.
    room: usize,
    /// Bytes it takes in one write.
    at_once: usize,
    broken: bool,
    writes: usize,
    meanwhile: Option<Meanwhile>,
}

impl Default for WireState {
    fn default() -> Self {
        let (room, at_once) = (usize::MAX, usize::MAX);
        Self { bytes: Vec::new(), room, at_once, broken: false, writes: 0, meanwhile: None }
    }
}

impl FakeWire {
    /// From here on it takes so many bytes and then blocks.
    pub(crate) fn set_room(&self, room: usize) {
        self.0.lock().unwrap().room = room;
    }

    pub(crate) fn set_at_once(&self, at_once: usize) {
        self.0.lock().unwrap().at_once = at_once;
    }

    pub(crate) fn break_off(&self) {
        self.0.lock().unwrap().broken = true;
    }

    /// Before each write from here on.
    pub(crate) fn set_meanwhile(&self, act: impl FnMut() + Send + 'static) {
        self.0.lock().unwrap().meanwhile = Some(Meanwhile(Box::new(act)));
    }

    pub(crate) fn writes(&self) -> usize {
        self.0.lock().unwrap().writes
    }

    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap().bytes)
    }
}

impl Wire for FakeWire {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let meanwhile = self.0.lock().unwrap().meanwhile.take();
        if let Some(mut meanwhile) = meanwhile {
            (meanwhile.0)();
            self.0.lock().unwrap().meanwhile.get_or_insert(meanwhile);
        }
        let mut state = self.0.lock().unwrap();
        state.writes += 1;
        if state.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if state.room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = state.room.min(state.at_once);
        let before = taken;
        for slice in slices {
            let part = &slice[..slice.len().min(taken)];
            state.bytes.extend_from_slice(part);
            taken -= part.len();
        }
        let written = before - taken;
        state.room -= written;
        Ok(written)
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.lock().unwrap().room == 0 { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn shutdown(&self) {}
}

/// A connected client.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) attachment: Attachment,
    pub(crate) wire: Arc<FakeWire>,
    pub(crate) signal: Arc<Signal>,
    pub(crate) version: ProtocolVersion,
    pub(crate) session_present: bool,
    pub(crate) took_over: bool,
    pub(crate) replaying: bool,
}

impl Peer {
    /// All whole packets since the last call, in words. Half a packet is a failure.
    pub(crate) fn read(&self) -> Vec<String> {
        words(&self.wire.take(), self.version)
    }

    pub(crate) fn raised(&self, flags: Flags) -> bool {
        self.signal.take().has(flags)
    }
}

pub(crate) fn words(bytes: &[u8], version: ProtocolVersion) -> Vec<String> {
    let mut rest = bytes;
    let mut words = Vec::new();
    while !rest.is_empty() {
        let Framing::Complete(frame) = frame(rest, 1 << 28).unwrap() else {
            panic!("half a packet after {words:?}");
        };
        rest = &rest[frame.length..];
        words.push(word(&frame.decode(version).unwrap()));
    }
    words
}

fn word(packet: &Packet<'_>) -> String {
    match packet {
        Packet::ConnAck(ack) if ack.session_present => "connack present".into(),
        Packet::Publish(publish) => publish_word(publish),
        Packet::ConnAck(ack) if ack.code != ConnAckCode::V5(ReasonCode::Success) => {
            match ack.code {
                ConnAckCode::V5(reason) => format!("connack 0x{:02x}", reason.value()),
                ConnAckCode::V3(ConnectReturnCode::Accepted) => "connack".into(),
                ConnAckCode::V3(code) => format!("connack {code:?}"),
            }
        }
        Packet::ConnAck(_) => "connack".into(),
        Packet::PubAck(ack) => format!("puback {}{}", ack.id, unless_success(ack.reason)),
        Packet::PubRec(ack) => format!("pubrec {}{}", ack.id, unless_success(ack.reason)),
        Packet::PubComp(ack) => format!("pubcomp {}{}", ack.id, unless_success(ack.reason)),
        Packet::SubAck(ack) => format!("suback {}{}", ack.id, codes(ack.codes.clone())),
        Packet::UnsubAck(ack) => format!("unsuback {}{}", ack.id, codes(ack.codes.clone())),
        Packet::PingResp => "pingresp".into(),
        Packet::PubRel(ack) if ack.reason != ReasonCode::Success => {
            format!("pubrel {} 0x{:02x}", ack.id, ack.reason.value())
        }
        Packet::PubRel(ack) => format!("pubrel {}", ack.id),
        Packet::Disconnect(Disconnect { reason, .. }) => {
            format!("disconnect 0x{:02x}", reason.value())
        }
        other => panic!("no client expects {other:?}"),
    }
}

fn unless_success(reason: ReasonCode) -> String {
    if reason.is_error() { format!(" 0x{:02x}", reason.value()) } else { String::new() }
}

fn codes(codes: impl IntoIterator<Item = ReasonCode>) -> String {
    codes.into_iter().map(|code| format!(" 0x{:02x}", code.value())).collect()
}

/// `topic:payload`, then what is not the default: QoS and identifier, `dup`, `retain`, identifiers,
/// expiry, alias.
fn publish_word(publish: &Publish<'_>) -> String {
    let topic = String::from_utf8_lossy(publish.topic);
    let payload = match publish.payload {
        [first, rest @ ..] if rest.len() > 32 && rest.iter().all(|byte| byte == first) => {
            format!("{}*{}", publish.payload.len(), char::from(*first))
        }
        payload => String::from_utf8_lossy(payload).into_owned(),
    };
    let mut word = format!("{topic}:{payload}");
    match publish.delivery {
        Delivery::AtMostOnce => {}
        Delivery::AtLeastOnce { id, dup } | Delivery::ExactlyOnce { id, dup } => {
            word += &format!(" q{}#{id}", publish.delivery.qos().bits());
            word += if dup { " dup" } else { "" };
        }
    }
    word += if publish.retain { " retain" } else { "" };
    for id in publish.properties.subscription_ids.clone() {
        word += &format!(" ids{id}");
    }
    if let Some(expiry) = publish.properties.message_expiry {
        word += &format!(" expiry{expiry}");
    }
    if let Some(alias) = publish.properties.topic_alias {
        word += &format!(" alias{alias}");
    }
    word
}

/// How a client connects.
#[derive(Clone, Debug)]
pub(crate) struct Connecting {
    pub(crate) client_id: &'static str,
    pub(crate) version: ProtocolVersion,
    pub(crate) clean_start: bool,
    pub(crate) expiry: SessionExpiry,
    pub(crate) receive_maximum: u16,
    pub(crate) maximum_packet_size: usize,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) will: Option<Will>,
}

/// A 5.0 client whose Session ends with its connection.
pub(crate) fn client(client_id: &'static str) -> Connecting {
    Connecting {
        client_id,
        version: V5,
        clean_start: false,
        expiry: SessionExpiry::AtDisconnect,
        receive_maximum: 64,
        maximum_packet_size: usize::MAX,
        topic_alias_maximum: 0,
        will: None,
    }
}

/// One whose Session lasts.
pub(crate) fn durable(client_id: &'static str) -> Connecting {
    Connecting { expiry: FOREVER, ..client(client_id) }
}

pub(crate) fn will(topic: &str, delay: u64) -> Will {
    will_at(ZERO, topic, delay)
}

pub(crate) fn will_at(qos: QoS, topic: &str, delay: u64) -> Will {
    let message = Message {
        topic: TopicName::parse(topic).unwrap(),
        payload: Bytes::from_static(b"gone"),
        qos,
        retain: false,
        properties: ForwardedProperties::default(),
        expires_at: None,
    };
    Will {
        message: Arc::new(message),
        expiry: None,
        delay: Duration::from_secs(delay),
        patience: Duration::from_secs(60),
    }
}

/// A message to publish.
#[derive(Clone, Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expiry: Option<u32>,
}

pub(crate) fn draft<'a>(topic: &'a str, payload: &'a str, qos: QoS) -> Draft<'a> {
    Draft { topic, payload: payload.as_bytes(), qos, retain: false, expiry: None }
}

pub(crate) fn retained<'a>(topic: &'a str, payload: &'a str) -> Draft<'a> {
    Draft { retain: true, ..draft(topic, payload, ZERO) }
}

pub(crate) fn options(qos: QoS) -> SubscriptionOptions {
    // Retained Messages have tests of their own.
    let retain_handling = RetainHandling::Never;
    SubscriptionOptions { retain_handling, ..SubscriptionOptions::new(qos) }
}

pub(crate) fn router_limits() -> RouterLimits {
    RouterLimits {
        session: Limits {
            inflight_max: std::num::NonZeroU16::new(64).unwrap(),
            receive_maximum: std::num::NonZeroU16::new(64).unwrap(),
            queue_bytes_max: 8 * 1024 * 1024,
            queue_offline_messages_max: 1_000,
            queue_when_full: QueueWhenFull::RefuseNewest,
            expiry_max: FOREVER,
            expiry_v3: FOREVER,
            keep_alive_max: 600,
            client_id_bytes_max: 64,
            topic_bytes_max: 256,
            topic_levels_max: 16,
            topic_aliases_in_max: 4,
            topic_aliases_out_max: 4,
            subscriptions_max: 100,
            packet_bytes_max: 1024 * 1024,
            response_information: None,
        },
        outbound: OutboundLimits { soft_bytes_max: 64 * 1024, hard_bytes_max: 256 * 1024 },
        retained: RetainedLimits { messages_max: 100_000, bytes_max: 64 * 1024 * 1024 },
        sharing: Strategy::LeastInflight,
        memory_bytes_max: u64::MAX,
    }
}

/// A router and one worker.
pub(crate) struct World {
    pub(crate) router: Arc<Router>,
    pub(crate) journal: Arc<ModelStore>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) courier: Courier,
    pub(crate) flushing: Flushing,
    pub(crate) now: Instant,
    epoch: u64,
}

impl World {
    /// One whose store keeps nothing.
    pub(crate) fn new() -> Self {
        Self::with(router_limits(), Keeps::Nothing)
    }

    pub(crate) fn with(limits: RouterLimits, keeps: Keeps) -> Self {
        let journal = Arc::new(ModelStore::new(keeps));
        let metrics = Arc::new(Metrics::new(2));
        let store = Arc::clone(&journal) as Arc<dyn Journal>;
        let router = Arc::new(Router::new(limits, store, Arc::clone(&metrics)));
        let now = Instant::now();
        let courier = Courier::new(metrics.worker(0), moment(now));
        Self { router, journal, metrics, courier, flushing: Flushing::default(), now, epoch: 0 }
    }

    /// The process ends at this moment, and the next one begins with what the store has kept.
    pub(crate) fn restart(&mut self) {
        let limits = self.router.limits().clone();
        let kept = self.journal.restart(self.now);
        self.metrics = Arc::new(Metrics::new(2));
        let store = Arc::clone(&self.journal) as Arc<dyn Journal>;
        self.router = Arc::new(Router::new(limits, store, Arc::clone(&self.metrics)));
        self.courier = Courier::new(self.metrics.worker(0), moment(self.now));
        self.flushing = Flushing::default();
        self.router.restore(&mut self.courier, kept);
        self.journal.keep_all();
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.courier.begin_turn(moment(self.now));
    }

    /// What a worker finds at the beginning of its next turn.
    pub(crate) fn look_at_memory(&mut self) -> Memory {
        self.now += Duration::from_millis(1);
        self.courier.begin_turn(moment(self.now));
        self.router.look_at_memory(&mut self.courier);
        self.courier.memory()
    }

    pub(crate) fn connect(&mut self, connecting: Connecting) -> Peer {
        self.epoch += 1;
        connect(&self.router, &mut self.courier, connecting, self.epoch)
    }

    /// Connects and throws the CONNACK away.
    pub(crate) fn join(&mut self, connecting: Connecting) -> Peer {
        let peer = self.connect(connecting);
        self.journal.keep_all();
        self.flush();
        peer.wire.take();
        peer.signal.take();
        peer
    }

    pub(crate) fn subscribe(&mut self, peer: &Peer, filter: &str, options: SubscriptionOptions) {
        self.subscribe_as(peer, filter, options, None);
    }

    pub(crate) fn subscribe_as(
        &mut self,
        peer: &Peer,
        filter: &str,
        options: SubscriptionOptions,
        id: Option<SubscriptionId>,
    ) {
        self.try_subscribe_as(peer, filter, options, id).unwrap();
        self.journal.keep_all();
    }

    pub(crate) fn try_subscribe(
        &mut self,
        peer: &Peer,
        filter: &str,
        options: SubscriptionOptions,
    ) -> Result<(), Refusal> {
        self.try_subscribe_as(peer, filter, options, None)
    }

    fn try_subscribe_as(
        &mut self,
        peer: &Peer,
        filter: &str,
        options: SubscriptionOptions,
        id: Option<SubscriptionId>,
    ) -> Result<(), Refusal> {
        let filter = SubscriptionFilter::parse(filter).unwrap();
        let subscription = Subscription { options, id };
        let router = &self.router;
        let answered = router.subscribe(&mut self.courier, &peer.attachment, &filter, subscription);
        answered.unwrap().result.map(drop)
    }

    /// A subscriber of one filter that is ready to read.
    pub(crate) fn subscriber(&mut self, connecting: Connecting, filter: &str, qos: QoS) -> Peer {
        let peer = self.join(connecting);
        self.subscribe(&peer, filter, options(qos));
        peer
    }

    pub(crate) fn try_publish(
        &mut self,
        peer: &Peer,
        draft: &Draft<'_>,
    ) -> Result<Outcome, Refusal> {
        publish(&self.router, &mut self.courier, Origin::Refusable(&peer.attachment), draft)
    }

    pub(crate) fn publish(&mut self, peer: &Peer, draft: &Draft<'_>) -> Outcome {
        self.try_publish(peer, draft).unwrap()
    }

    /// Publishes at QoS 1 and answers, as a connection's task does.
    pub(crate) fn publish_and_answer(&mut self, peer: &Peer, value: u16, draft: &Draft<'_>) {
        let outcome = self.publish(peer, draft);
        let mut answer = Vec::new();
        PubAck::new(id(value), ReasonCode::Success).encode(peer.version, &mut answer);
        self.router.answer(&mut self.courier, &peer.attachment, &answer, outcome.commit).unwrap();
    }

    pub(crate) fn flush(&mut self) {
        let waker = Waker::noop();
        while self.router.flush_dirty(&mut self.courier, &mut self.flushing, waker) {}
    }

    /// What a task does when others woke it.
    pub(crate) fn heed(&mut self, peer: &Peer) -> Result<(), ProtocolError> {
        let flags = peer.signal.take();
        if flags.has(Flags::KEPT) {
            self.router.release_kept(&mut self.courier, &peer.attachment)?;
        }
        if flags.has(Flags::FETCHED) {
            self.router.load_fetched(&mut self.courier, &peer.attachment);
        }
        Ok(())
    }

    /// What a task does when the store has kept something or read something back.
    pub(crate) fn release(&mut self, peer: &Peer) {
        self.heed(peer).unwrap();
        self.flush();
    }

    pub(crate) fn unblock(&mut self, peer: &Peer) {
        self.router.flush_unblocked(&mut self.courier, &peer.attachment);
    }

    pub(crate) fn puback(&mut self, peer: &Peer, value: u16) {
        self.acknowledge(peer, Acknowledged::PubAck(id(value)));
    }

    pub(crate) fn acknowledge(&mut self, peer: &Peer, acknowledged: Acknowledged) {
        self.router.acknowledge(&mut self.courier, &peer.attachment, [acknowledged]).unwrap();
    }

    pub(crate) fn leave(&mut self, peer: &Peer, ending: Ending) -> Leave {
        self.router.leave(&mut self.courier, &peer.attachment, ending, &[])
    }

    /// The connection breaks.
    pub(crate) fn lose(&mut self, peer: &Peer) {
        assert!(matches!(self.leave(peer, Ending::Lost), Leave::Left(_)));
    }

    /// The client says DISCONNECT 0x00.
    pub(crate) fn farewell(&mut self, peer: &Peer) {
        let farewell = Farewell { expiry: None, will: WillFate::Discarded };
        assert!(matches!(self.leave(peer, Ending::Farewell(farewell)), Leave::Left(_)));
    }

    pub(crate) fn run_schedule(&mut self) -> Option<Instant> {
        self.router.run_schedule(&mut self.courier)
    }

    /// Sends all Retained Messages, as far as the client takes them.
    pub(crate) fn replay(&mut self, peer: &Peer) -> Step {
        loop {
            let step = self.router.replay(&mut self.courier, &peer.attachment);
            if step != Step::More {
                return step;
            }
        }
    }
}

/// Writes the last bytes of a connection, as far as its wire takes them.
pub(crate) fn write_rest(leave: Leave) {
    let Leave::Left(mut leaving): Leave = leave else { panic!("not left: {leave:?}") };
    poll_rest(&mut leaving);
}

fn poll_rest(leaving: &mut Leaving) {
    let mut context = Context::from_waker(Waker::noop());
    let _ = leaving.poll_write(&mut context);
}

pub(crate) fn moment(monotonic: Instant) -> Now {
    Now { monotonic, wall: SystemTime::UNIX_EPOCH }
}

pub(crate) fn connect(
    router: &Router,
    courier: &mut Courier,
    connecting: Connecting,
    epoch: u64,
) -> Peer {
    let wire = Arc::new(FakeWire::default());
    let signal = Arc::new(Signal::default());
    let version = connecting.version;
    let attach = Attach {
        client_id: ClientId::new(connecting.client_id).unwrap(),
        identity: Identity::Anonymous,
        epoch: Epoch(epoch),
        clean_start: connecting.clean_start,
        expiry: connecting.expiry,
        terms: Terms {
            version,
            receive_maximum: std::num::NonZeroU16::new(connecting.receive_maximum).unwrap(),
            maximum_packet_size: connecting.maximum_packet_size,
            topic_alias_maximum: connecting.topic_alias_maximum,
        },
        will: connecting.will,
        wire: Arc::clone(&wire) as Arc<dyn Wire>,
        signal: Arc::clone(&signal),
    };
    let limits = router.limits().session.clone();
    let attached = router.attach(courier, attach, |present, out| {
        session::accepted(version, present, &ServerSide::default(), &limits, out);
    });
    let Attached { attachment, session_present, replaying, took_over } = attached.unwrap();
    Peer { attachment, wire, signal, version, session_present, took_over, replaying }
}

pub(crate) fn publish(
    router: &Router,
    courier: &mut Courier,
    origin: Origin<'_>,
    draft: &Draft<'_>,
) -> Result<Outcome, Refusal> {
    let topic = TopicName::parse(draft.topic).unwrap();
    let properties = ForwardedProperties::default();
    let publication = Publication {
        topic: &topic,
        payload: Payload::Borrowed(draft.payload),
        qos: draft.qos,
        retain: draft.retain,
        properties: properties.as_view(),
        expiry: draft.expiry,
        as_it_came: None,
    };
    router.publish(courier, &publication, origin)
}
