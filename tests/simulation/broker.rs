//! The broker's shell: what `server` does with the router, without its threads, sockets and clocks.
//! Each thing done is told to the oracle, in the order in which it is done.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dunlin::change::{
    Change, CommitNumber, Epoch, Journal, Keeps, Owed, SessionExpiry, Subscription,
};
use dunlin::message::{AsItCame, Payload, Publication};
use dunlin::metrics::Metrics;
use dunlin::packet::{
    ClientId, Connect, Delivery, Frame, Framing, Identity, Packet, PacketId, PubAck, PubComp,
    PubRec, Publish, PublishRun, ReasonCode, ReasonCodes, SubAck, Subscribe, UnsubAck, Unsubscribe,
    UserProperties, frame,
};
use dunlin::router::{
    Acknowledged, Attach, Attachment, COPIED_PACKET_MAX, Courier, Ending, Flags, Flushing,
    GroupStatus, Leave, Origin, OutboundLimits, RetainedLimits, Router, RouterLimits, Signal, Step,
    Strategy, Wire,
};
use dunlin::session::{
    self, Accepted, Connection, Farewell, Features, Limits, ProtocolError, QueueWhenFull, Receipt,
    Subscribed,
};
use dunlin::time::Now;
use dunlin::topic::SubscriptionFilter;

use crate::oracle::{Answer, Arrived, Counts, Oracle, Routed, identity};
use crate::random::Random;
use crate::store::ModelStore;
use crate::wire::{Pipe, Woken};

/// Microseconds since the simulation began.
pub(crate) type Micros = u64;

/// A packet larger than this is sent by nobody here.
pub(crate) const PACKET_BYTES_MAX: usize = 64 * 1024;

/// What the broker may grow to in one run.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) inflight_max: u16,
    pub(crate) receive_maximum: u16,
    pub(crate) queue_bytes_max: usize,
    pub(crate) queue_offline_messages_max: usize,
    pub(crate) subscriptions_max: usize,
    pub(crate) soft_bytes_max: usize,
    pub(crate) hard_bytes_max: usize,
    pub(crate) retained_messages_max: usize,
    pub(crate) sharing: Strategy,
    pub(crate) queue_when_full: QueueWhenFull,
    pub(crate) topic_aliases_max: u16,
}

impl Bounds {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let tight = random.chance(40);
        let soft_bytes_max = random.pick(&[100, 600, 2_000, 100_000]);
        Self {
            inflight_max: random.pick(&[1, 3, 64]),
            receive_maximum: random.pick(&[2, 5, 64]),
            queue_bytes_max: if tight { random.pick(&[900, 3_000]) } else { 1 << 24 },
            queue_offline_messages_max: if tight { random.pick(&[2, 8]) } else { 100_000 },
            subscriptions_max: random.pick(&[3, 100]),
            soft_bytes_max,
            hard_bytes_max: soft_bytes_max * random.pick(&[1, 4]),
            retained_messages_max: random.pick(&[3, 1_000, 1_000]),
            sharing: random.pick(&[
                Strategy::LeastInflight,
                Strategy::RoundRobin,
                Strategy::HashTopic,
                Strategy::HashPublisher,
                Strategy::Sticky,
            ]),
            queue_when_full: random.pick(&[QueueWhenFull::RefuseNewest, QueueWhenFull::DropOldest]),
            topic_aliases_max: random.pick(&[0, 2, 4]),
        }
    }

    fn router_limits(&self) -> RouterLimits {
        RouterLimits {
            session: Limits {
                inflight_max: NonZeroU16::new(self.inflight_max).unwrap(),
                receive_maximum: NonZeroU16::new(self.receive_maximum).unwrap(),
                queue_bytes_max: self.queue_bytes_max,
                queue_offline_messages_max: self.queue_offline_messages_max,
                expiry_max: SessionExpiry::Never,
                expiry_v3: SessionExpiry::Never,
                keep_alive_max: u16::MAX,
                client_id_bytes_max: 64,
                topic_bytes_max: 256,
                topic_levels_max: 16,
                topic_aliases_in_max: self.topic_aliases_max,
                topic_aliases_out_max: self.topic_aliases_max,
                queue_when_full: self.queue_when_full,
                response_information: None,
                subscriptions_max: self.subscriptions_max,
                packet_bytes_max: PACKET_BYTES_MAX,
            },
            outbound: OutboundLimits {
                soft_bytes_max: self.soft_bytes_max,
                hard_bytes_max: self.hard_bytes_max,
            },
            retained: RetainedLimits {
                messages_max: self.retained_messages_max,
                bytes_max: u64::MAX,
            },
            sharing: self.sharing,
            memory_bytes_max: u64::MAX,
        }
    }
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    Farewell(Farewell),
    Closed,
    Superseded,
}

#[derive(Debug)]
struct Dialogue {
    attachment: Attachment,
    connection: Connection,
    replaying: bool,
}

#[derive(Debug)]
enum Stage {
    Connecting,
    Open(Box<Dialogue>),
    Closed,
}

#[derive(Debug)]
struct Answers {
    bytes: Vec<u8>,
    commit: CommitNumber,
    acknowledged: bool,
}

/// One network connection, both ends of it.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) client: usize,
    pub(crate) pipe: Arc<Pipe>,
    /// On the way from the client.
    up: VecDeque<u8>,
    /// Nothing follows `up`.
    up_ended: bool,
    vanished: bool,
    signal: Arc<Signal>,
    woken: Arc<Woken>,
    stage: Stage,
    input: Vec<u8>,
    paused: bool,
    blocked: bool,
}

#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) journal: Arc<ModelStore>,
    pub(crate) conns: Vec<Conn>,
    pub(crate) now: Micros,
    router: Arc<Router>,
    courier: Courier,
    flushing: Flushing,
    flusher: Arc<Woken>,
    base: Instant,
    epoch: u64,
    /// Of the processes before this one.
    counted: Counts,
}

impl Conn {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if !self.up_ended && !self.vanished {
            self.up.extend(bytes);
            self.woken.set();
        }
    }

    /// The client sends no more; the broker finds out after what is on the way.
    pub(crate) fn end(&mut self) {
        self.up_ended = true;
        self.woken.set();
    }

    /// The connection breaks: of what is on the way so many bytes still arrive.
    pub(crate) fn cut(&mut self, arriving: usize, broken: bool) {
        self.up.truncate(arriving);
        self.pipe.cut(broken);
        self.end();
    }

    /// The connection breaks, and the broker hears nothing more of it.
    pub(crate) fn vanish(&mut self, arriving: usize) {
        self.up.truncate(arriving);
        self.pipe.cut(false);
        self.vanished = true;
    }

    pub(crate) fn is_connecting(&self) -> bool {
        matches!(self.stage, Stage::Connecting)
    }

    pub(crate) fn up_waiting(&self) -> usize {
        self.up.len()
    }

    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Closed)
    }

    pub(crate) fn wants_poll(&self) -> bool {
        self.is_open() && self.woken.is_set()
    }
}

impl Broker {
    pub(crate) fn new(bounds: &Bounds, keeps: Keeps) -> Self {
        let journal = Arc::new(ModelStore::new(keeps));
        let metrics = Arc::new(Metrics::new(1));
        let store = Arc::clone(&journal) as Arc<dyn Journal>;
        let router = Arc::new(Router::new(bounds.router_limits(), store, Arc::clone(&metrics)));
        let base = Instant::now();
        let start = Now { monotonic: base, wall: SystemTime::UNIX_EPOCH };
        let flusher = Arc::new(Woken::default());
        flusher.set();
        Self {
            courier: Courier::new(metrics.worker(0), start),
            metrics,
            journal,
            conns: Vec::new(),
            now: 0,
            router,
            flushing: Flushing::default(),
            flusher,
            base,
            epoch: 0,
            counted: Counts::default(),
        }
    }

    /// The process ends, and the next one goes on with what the store has kept, which is all that it
    /// was given. Every connection is lost.
    pub(crate) fn restart(&mut self, oracle: &mut Oracle) {
        self.journal.keep_all();
        for (at, conn) in self.conns.iter_mut().enumerate() {
            if let Stage::Open(_) = std::mem::replace(&mut conn.stage, Stage::Closed) {
                oracle.killed(at);
            }
            conn.cut(0, true);
        }
        oracle.restarted();
        self.counted = self.counts();
        let now = self.base + Duration::from_micros(self.now);
        let kept = self.journal.restart(now);
        self.metrics = Arc::new(Metrics::new(1));
        let limits = self.router.limits().clone();
        let store = Arc::clone(&self.journal) as Arc<dyn Journal>;
        self.router = Arc::new(Router::new(limits, store, Arc::clone(&self.metrics)));
        let start = Now { monotonic: now, wall: SystemTime::UNIX_EPOCH };
        self.courier = Courier::new(self.metrics.worker(0), start);
        self.flushing = Flushing::default();
        self.flusher.set();
        self.router.restore(&mut self.courier, kept);
    }

    fn begin_turn(&mut self) {
        let since = Duration::from_micros(self.now);
        let wall = SystemTime::UNIX_EPOCH + since;
        self.courier.begin_turn(Now { monotonic: self.base + since, wall });
    }

    /// A client opens a connection.
    pub(crate) fn accept(&mut self, client: usize, capacity: usize, at_once: usize) -> usize {
        self.conns.push(Conn {
            client,
            pipe: Arc::new(Pipe::new(capacity, at_once)),
            up: VecDeque::new(),
            up_ended: false,
            vanished: false,
            signal: Arc::default(),
            woken: Arc::default(),
            stage: Stage::Connecting,
            input: Vec::new(),
            paused: false,
            blocked: false,
        });
        self.conns.len() - 1
    }

    pub(crate) fn counts(&self) -> Counts {
        let damaged = self.metrics.total(|counters| &counters.dropped_damaged);
        assert_eq!(damaged, 0, "the store gives everything back");
        let now = Counts {
            offline: self.metrics.total(|counters| &counters.dropped_offline),
            outbound_full: self.metrics.total(|counters| &counters.dropped_outbound_full),
            queue_full: self.metrics.total(|counters| &counters.dropped_queue_full),
            too_large: self.metrics.total(|counters| &counters.dropped_too_large),
            expired: self.metrics.total(|counters| &counters.dropped_expired),
            retained_refused: self.metrics.total(|counters| &counters.retained_refused),
        };
        now + self.counted
    }

    pub(crate) fn groups(&self) -> Vec<GroupStatus> {
        self.router.groups()
    }

    /// Shows the oracle what was written.
    fn tap(&self, oracle: &mut Oracle) {
        for (at, conn) in self.conns.iter().enumerate() {
            let bytes = conn.pipe.tap();
            if !bytes.is_empty() {
                oracle.written(at, &bytes);
            }
        }
    }

    pub(crate) fn wants_flush(&self) -> bool {
        self.flusher.is_set()
    }

    pub(crate) fn flush(&mut self, oracle: &mut Oracle) {
        self.flusher.take();
        self.begin_turn();
        let waker = self.flusher.waker();
        if self.router.flush_dirty(&mut self.courier, &mut self.flushing, &waker) {
            self.flusher.set();
        }
        self.tap(oracle);
    }

    pub(crate) fn run_schedule(&mut self, oracle: &mut Oracle) {
        self.begin_turn();
        let (before, submitted) = (self.counts(), self.journal.submitted());
        self.router.run_schedule(&mut self.courier);
        oracle.schedule_ran(self.counts() - before, submitted);
        self.tap(oracle);
    }

    /// One turn of a connection's task, which reads at most so many bytes. `late`: what others woke
    /// it for is heeded only after what it reads.
    pub(crate) fn poll(&mut self, at: usize, read_max: usize, late: bool, oracle: &mut Oracle) {
        let conn = &mut self.conns[at];
        conn.woken.take();
        conn.signal.register(&conn.woken.waker());
        let stage = std::mem::replace(&mut conn.stage, Stage::Closed);
        self.begin_turn();
        let stage = match stage {
            Stage::Closed => Stage::Closed,
            Stage::Connecting => self.handshake(at, read_max, oracle),
            Stage::Open(mut dialogue) => {
                match self.turn(at, &mut dialogue, read_max, late, oracle) {
                    Ok(()) => Stage::Open(dialogue),
                    Err(end) => {
                        self.finish(at, &dialogue, &end, oracle);
                        Stage::Closed
                    }
                }
            }
        };
        self.tap(oracle);
        let conn = &mut self.conns[at];
        conn.stage = stage;
        if !conn.paused && (!conn.up.is_empty() || conn.up_ended) {
            conn.woken.set();
        }
    }

    /// Whether the end was reached.
    fn read(&mut self, at: usize, read_max: usize) -> bool {
        let conn = &mut self.conns[at];
        let count = conn.up.len().min(read_max);
        conn.input.extend(conn.up.drain(..count));
        conn.up.is_empty() && conn.up_ended
    }

    fn handshake(&mut self, at: usize, read_max: usize, oracle: &mut Oracle) -> Stage {
        let ended = self.read(at, read_max);
        let input = std::mem::take(&mut self.conns[at].input);
        let Framing::Complete(frame) = frame(&input, PACKET_BYTES_MAX).unwrap() else {
            self.conns[at].input = input;
            return if ended { Stage::Closed } else { Stage::Connecting };
        };
        let connect = frame.decode_connect().unwrap();
        self.conns[at].input = input[frame.length..].to_vec();
        let limits = self.router.limits().session.clone();
        let assign = || ClientId::new("assigned").unwrap();
        let now = self.base + Duration::from_micros(self.now);
        let accepted =
            session::accept(&connect, &limits, &Features::default(), assign, now).unwrap();
        // The task goes straight on to its first turn.
        self.conns[at].woken.set();
        Stage::Open(Box::new(self.attach(at, accepted, &connect, oracle)))
    }

    fn attach(
        &mut self,
        at: usize,
        accepted: Accepted,
        connect: &Connect<'_>,
        oracle: &mut Oracle,
    ) -> Dialogue {
        self.epoch += 1;
        let conn = &self.conns[at];
        let (wire, signal) = (Arc::clone(&conn.pipe) as Arc<dyn Wire>, Arc::clone(&conn.signal));
        let client = conn.client;
        let Accepted { client_id, clean_start, expiry, terms, will, connection, server_side } =
            accepted;
        let epoch = Epoch(self.epoch);
        let identity = Identity::Anonymous;
        let attach =
            Attach { client_id, identity, epoch, clean_start, expiry, terms, will, wire, signal };
        let limits = self.router.limits().session.clone();
        let (before, submitted) = (self.counts(), self.journal.submitted());
        let attached = self.router.attach(&mut self.courier, attach, |present, out| {
            session::accepted(terms.version, present, &server_side, &limits, out);
        });
        let attached = attached.unwrap();
        // What a connection that was taken over could still write came before.
        self.tap(oracle);
        let arrived = Arrived { conn: at, client, connect, terms, submitted };
        oracle.arrived(&arrived, attached.session_present, self.counts() - before);
        Dialogue { attachment: attached.attachment, connection, replaying: attached.replaying }
    }

    fn turn(
        &mut self,
        at: usize,
        dialogue: &mut Dialogue,
        read_max: usize,
        late: bool,
        oracle: &mut Oracle,
    ) -> Result<(), End> {
        if !late {
            self.heed(at, dialogue, oracle)?;
        }
        if !self.conns[at].paused {
            let ended = self.read(at, read_max);
            let result = self.packets(at, dialogue, oracle);
            if late {
                self.heed(at, dialogue, oracle)?;
            }
            result?;
            if ended && !self.conns[at].paused {
                return Err(End::Closed);
            }
        } else if late {
            self.heed(at, dialogue, oracle)?;
        }
        if dialogue.replaying {
            let before = self.counts();
            let step = self.router.replay(&mut self.courier, &dialogue.attachment);
            oracle.replayed(at, self.counts() - before);
            match step {
                Step::More => self.conns[at].woken.set(),
                Step::Wait => {}
                Step::Done => dialogue.replaying = false,
            }
        }
        Ok(())
    }

    fn heed(&mut self, at: usize, dialogue: &Dialogue, oracle: &mut Oracle) -> Result<(), End> {
        let conn = &mut self.conns[at];
        let flags = conn.signal.take();
        if flags.has(Flags::SUPERSEDED) {
            return Err(End::Superseded);
        }
        if flags.has(Flags::BROKEN) {
            return Err(End::Closed);
        }
        if flags.has(Flags::KEPT) {
            let released = self.router.release_kept(&mut self.courier, &dialogue.attachment);
            assert_eq!(released, Ok(()), "the store never fails");
        }
        if flags.has(Flags::FETCHED) {
            self.router.load_fetched(&mut self.courier, &dialogue.attachment);
        }
        if flags.has(Flags::DRAINED) {
            conn.paused = false;
        }
        conn.blocked |= flags.has(Flags::BLOCKED);
        if conn.blocked {
            let waker = conn.woken.waker();
            let mut context = std::task::Context::from_waker(&waker);
            match conn.pipe.poll_writable(&mut context) {
                std::task::Poll::Pending => {}
                std::task::Poll::Ready(Err(_)) => return Err(End::Closed),
                std::task::Poll::Ready(Ok(())) => {
                    conn.blocked = false;
                    self.router.flush_unblocked(&mut self.courier, &dialogue.attachment);
                    self.tap(oracle);
                }
            }
        }
        Ok(())
    }

    fn packets(
        &mut self,
        at: usize,
        dialogue: &mut Dialogue,
        oracle: &mut Oracle,
    ) -> Result<(), End> {
        let input = std::mem::take(&mut self.conns[at].input);
        let mut rest = &input[..];
        let mut answers =
            Answers { bytes: Vec::new(), commit: CommitNumber::NONE, acknowledged: false };
        let mut result = Ok(());
        while let Framing::Complete(frame) = frame(rest, PACKET_BYTES_MAX).unwrap() {
            let packet = frame.decode(dialogue.connection.version).unwrap();
            let mut turn = Turn { broker: self, at, dialogue, answers: &mut answers, oracle };
            match turn.packet(&packet, &frame, rest) {
                Ok(handled) => rest = &rest[handled..],
                Err(end) => {
                    rest = &rest[frame.length..];
                    result = Err(end);
                    break;
                }
            }
        }
        self.conns[at].input = rest.to_vec();
        let Answers { bytes, commit, acknowledged } = answers;
        if !bytes.is_empty() || acknowledged {
            let attachment = &dialogue.attachment;
            let answered = self.router.answer(&mut self.courier, attachment, &bytes, commit);
            if result.is_ok() {
                self.conns[at].paused = answered.ok_or(End::Superseded)?;
            }
        }
        result
    }

    fn finish(&mut self, at: usize, dialogue: &Dialogue, end: &End, oracle: &mut Oracle) {
        self.tap(oracle);
        let ending = match end {
            End::Farewell(farewell) => Ending::Farewell(*farewell),
            End::Closed | End::Superseded => Ending::Lost,
        };
        let (before, submitted) = (self.counts(), self.journal.submitted());
        match self.router.leave(&mut self.courier, &dialogue.attachment, ending, &[]) {
            Leave::Busy => panic!("nobody writes in the meantime"),
            Leave::Superseded => oracle.superseded(at),
            Leave::Left(_) => {
                oracle.left(at, &ending, self.counts() - before, submitted);
            }
        }
        self.conns[at].pipe.shutdown();
    }
}

/// One packet of a connected client, as `server::turn` treats it.
struct Turn<'a> {
    broker: &'a mut Broker,
    at: usize,
    dialogue: &'a mut Dialogue,
    answers: &'a mut Answers,
    oracle: &'a mut Oracle,
}

impl Turn<'_> {
    /// How many bytes of `input`, which begins with the packet, are done with.
    fn packet(
        &mut self,
        packet: &Packet<'_>,
        frame: &Frame<'_>,
        input: &[u8],
    ) -> Result<usize, End> {
        match packet {
            Packet::Publish(publish) => self.publish(publish, frame, input),
            other => self.other(other).map(|()| frame.length),
        }
    }

    fn other(&mut self, packet: &Packet<'_>) -> Result<(), End> {
        match packet {
            Packet::PubAck(ack) => self.acknowledged(Acknowledged::PubAck(ack.id)),
            Packet::PubRec(ack) => self.acknowledged(Acknowledged::PubRec(ack.id, ack.reason)),
            Packet::PubComp(ack) => self.acknowledged(Acknowledged::PubComp(ack.id)),
            Packet::PubRel(release) => self.release(release.id),
            Packet::Subscribe(subscribe) => self.subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe),
            Packet::PingReq => {
                let Broker { router, courier, .. } = &mut *self.broker;
                router.shrink(courier, &self.dialogue.attachment);
                let version = self.dialogue.connection.version;
                Packet::PingResp.encode(version, &mut self.answers.bytes);
                self.oracle.answered(self.at, Answer::PingResp, 0);
                Ok(())
            }
            Packet::Disconnect(disconnect) => {
                let limits = &self.broker.router.limits().session;
                let farewell = self.dialogue.connection.disconnect(disconnect, limits);
                Err(End::Farewell(farewell.unwrap()))
            }
            other => panic!("no client sends {other:?}"),
        }
    }

    /// What an answer has to wait for: the last change it promises of all that were submitted
    /// since.
    fn required_since(&self, submitted: u64, promises: impl Fn(&Change) -> bool) -> u64 {
        self.broker.journal.latest(submitted, promises)
    }

    /// Whether a change is one of this client's own Session, and not of messages it is sent.
    fn is_own(&self) -> impl Fn(&Change) -> bool + use<> {
        let name = self.dialogue.attachment.client_id().clone();
        move |change| match change {
            Change::Subscribed { client_id, .. }
            | Change::Unsubscribed { client_id, .. }
            | Change::Received { client_id, .. }
            | Change::Forgotten { client_id, .. } => *client_id == name,
            _ => false,
        }
    }

    /// Whether a change makes somebody owe or retain this message.
    fn is_taken(&self, topic: &str, payload: &[u8]) -> impl Fn(&Change) -> bool + use<> {
        let is_own = self.is_own();
        let (name, wanted) = (topic.to_owned(), identity(topic.as_bytes(), payload));
        move |change| match change {
            // What waited in a group for a moment was kept before it was sent on.
            Change::Sent { owed, .. } if owed.ticket.is_some() => false,
            Change::Queued { owed: Owed { message, .. }, .. }
            | Change::Sent { owed: Owed { message, .. }, .. }
            | Change::GroupQueued { message, .. }
            | Change::Retained { message } => {
                identity(message.topic.as_str().as_bytes(), &message.payload) == wanted
            }
            Change::RetainedRemoved { topic } => topic.as_str() == name,
            other => is_own(other),
        }
    }

    fn promise(&mut self, commit: CommitNumber) {
        self.answers.commit = self.answers.commit.max(commit);
    }

    fn publish(
        &mut self,
        publish: &Publish<'_>,
        frame: &Frame<'_>,
        input: &[u8],
    ) -> Result<usize, End> {
        let submitted = self.broker.journal.submitted();
        let broker = &mut *self.broker;
        let Dialogue { attachment, connection, .. } = &mut *self.dialogue;
        let version = connection.version;
        let limits = &broker.router.limits().session;
        let courier = &broker.courier;
        let inbound =
            connection.publish(publish, limits, |topic| courier.known_name(topic)).unwrap();
        let mut commit = CommitNumber::NONE;
        if let Delivery::ExactlyOnce { id, .. } = publish.delivery {
            let receipt = broker.router.receive_publish(&mut broker.courier, attachment, id);
            let receipt = receipt.ok_or(End::Superseded)?;
            commit = receipt.commit;
            if receipt.result == Receipt::Repeated {
                connection.settled_one();
                PubRec::new(id, ReasonCode::Success).encode(version, &mut self.answers.bytes);
                self.oracle.answered_again(self.at, id);
                self.promise(commit);
                return Ok(frame.length);
            }
        }
        let refusable = version.is_v5() && publish.delivery != Delivery::AtMostOnce;
        let origin =
            if refusable { Origin::Refusable(attachment) } else { Origin::Unrefusable(attachment) };
        let plain = publish.delivery == Delivery::AtMostOnce
            && !publish.retain
            && publish.properties.topic_alias.is_none();
        let publication = Publication {
            topic: inbound.topic,
            payload: Payload::Borrowed(publish.payload),
            qos: publish.delivery.qos(),
            retain: publish.retain,
            properties: publish.properties.forwarded,
            expiry: publish.properties.message_expiry,
            as_it_came: plain.then_some(AsItCame { version, packet: &input[..frame.length] }),
        };
        assert!(inbound.refusal.is_none(), "no client publishes where it must not");
        let topic = inbound.topic.as_str().to_owned();
        let (before, routed_after) = (broker.counts(), broker.journal.submitted());
        let routed =
            Routed { conn: self.at, topic: &topic, publish, refusable, submitted: routed_after };
        if let Some(run) = PublishRun::find(frame, publish, input, COPIED_PACKET_MAX) {
            let run = broker.router.publish_run(&mut broker.courier, &publication, &run, origin);
            let publishes: Vec<Publish<'_>> =
                run.iter().map(|(_, payload)| Publish { payload, ..publish.clone() }).collect();
            let routed: Vec<Routed<'_>> =
                publishes.iter().map(|publish| Routed { publish, ..routed }).collect();
            self.oracle.routed_run(&routed, broker.counts() - before);
            return Ok(run.bytes().len());
        }
        let outcome = broker.router.publish(&mut broker.courier, &publication, origin);
        self.oracle.routed(&routed, outcome.as_ref().ok(), broker.counts() - before);
        self.promise(commit);
        let reason = match outcome {
            Ok(outcome) => {
                self.promise(outcome.commit);
                if outcome.all_refused() { ReasonCode::QuotaExceeded } else { ReasonCode::Success }
            }
            Err(refusal) => refusal.reason(),
        };
        let required = self.required_since(submitted, self.is_taken(&topic, publish.payload));
        self.answer_publish(publish.delivery, reason, required);
        Ok(frame.length)
    }

    fn answer_publish(&mut self, delivery: Delivery, reason: ReasonCode, required: u64) {
        let version = self.dialogue.connection.version;
        let reason = if version.is_v5() { reason } else { ReasonCode::Success };
        match delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { id, .. } => {
                self.dialogue.connection.settled_one();
                PubAck::new(id, reason).encode(version, &mut self.answers.bytes);
                self.oracle.answered(self.at, Answer::PubAck(id), required);
            }
            Delivery::ExactlyOnce { id, .. } => {
                if reason.is_error() {
                    self.dialogue.connection.settled_one();
                    let Broker { router, courier, .. } = &mut *self.broker;
                    let attachment = &self.dialogue.attachment;
                    if let Some(forgotten) = router.release_publish(courier, attachment, id) {
                        self.promise(forgotten.commit);
                    }
                }
                PubRec::new(id, reason).encode(version, &mut self.answers.bytes);
                self.oracle.answered(self.at, Answer::PubRec(id), required);
            }
        }
    }

    fn release(&mut self, id: PacketId) -> Result<(), End> {
        let submitted = self.broker.journal.submitted();
        let Broker { router, courier, .. } = &mut *self.broker;
        let released = router.release_publish(courier, &self.dialogue.attachment, id);
        let released = released.ok_or(End::Superseded)?;
        self.oracle.released(self.at, id, released.result);
        self.promise(released.commit);
        let reason = if released.result {
            self.dialogue.connection.settled_one();
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        let version = self.dialogue.connection.version;
        PubComp::new(id, reason).encode(version, &mut self.answers.bytes);
        let required = self.required_since(submitted, self.is_own());
        self.oracle.answered(self.at, Answer::PubComp(id), required);
        Ok(())
    }

    fn acknowledged(&mut self, acknowledged: Acknowledged) -> Result<(), End> {
        self.answers.acknowledged = true;
        let Broker { router, courier, .. } = &mut *self.broker;
        let result = router.acknowledge(courier, &self.dialogue.attachment, [acknowledged]);
        let result: Result<(), ProtocolError> = result;
        assert_eq!(result, Ok(()), "the client is right");
        self.oracle.acknowledged(self.at, acknowledged);
        Ok(())
    }

    fn subscribe(&mut self, subscribe: &Subscribe<'_>) -> Result<(), End> {
        let submitted = self.broker.journal.submitted();
        let mut codes = Vec::new();
        for request in subscribe.filters.clone() {
            let limits = &self.broker.router.limits().session;
            let checked = self.dialogue.connection.subscribe(&request, limits).unwrap();
            let filter = checked.unwrap();
            let options = request.options;
            let subscription = Subscription { options, id: subscribe.subscription_id };
            let Broker { router, courier, .. } = &mut *self.broker;
            let attachment = &self.dialogue.attachment;
            let subscribed = router.subscribe(courier, attachment, &filter, subscription);
            let subscribed = subscribed.ok_or(End::Superseded)?;
            self.promise(subscribed.commit);
            let done = subscribed.result.is_ok();
            self.oracle.subscribed(self.at, request.filter, subscription, done);
            codes.push(match subscribed.result {
                Ok(subscribed) => {
                    self.dialogue.replaying |= subscribed == Subscribed::Replaying;
                    ReasonCode::granted(options.qos)
                }
                Err(refusal) => refusal.suback_code(self.dialogue.connection.version),
            });
        }
        let suback = SubAck {
            id: subscribe.id,
            codes: ReasonCodes::from_slice(&codes),
            reason_string: None,
            user_properties: UserProperties::default(),
        };
        suback.encode(self.dialogue.connection.version, &mut self.answers.bytes);
        let required = self.required_since(submitted, self.is_own());
        self.oracle.answered(self.at, Answer::SubAck(subscribe.id), required);
        Ok(())
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe<'_>) -> Result<(), End> {
        let submitted = self.broker.journal.submitted();
        let mut codes = Vec::new();
        for text in unsubscribe.filters.clone() {
            let filter = SubscriptionFilter::parse(text).unwrap();
            let Broker { router, courier, .. } = &mut *self.broker;
            let removed = router.unsubscribe(courier, &self.dialogue.attachment, &filter);
            let removed = removed.ok_or(End::Superseded)?;
            self.promise(removed.commit);
            self.oracle.unsubscribed(self.at, text, removed.result.unwrap());
            codes.push(ReasonCode::Success);
        }
        let unsuback = UnsubAck {
            id: unsubscribe.id,
            codes: ReasonCodes::from_slice(&codes),
            reason_string: None,
            user_properties: UserProperties::default(),
        };
        unsuback.encode(self.dialogue.connection.version, &mut self.answers.bytes);
        let required = self.required_since(submitted, self.is_own());
        self.oracle.answered(self.at, Answer::UnsubAck(unsubscribe.id), required);
        Ok(())
    }
}
