//! A broker in the calling thread, without sockets, for what is counted or timed: clients are values,
//! what one read would bring is handed over as bytes, and what is written to them stays with them.
//!
//! It does what `server` does around a turn, in the same order: handle all packets, append the
//! answers, let the flusher write.

#![allow(dead_code, reason = "nobody needs all of it")]

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Instant, SystemTime};

use dunlin::auth::Authenticator;
use dunlin::change::{CommitNumber, Epoch};
use dunlin::config::Config;
use dunlin::daemon;
use dunlin::metrics::Metrics;
use dunlin::packet::{
    ClientId, Connect, ConnectProperties, Delivery, FilterList, ForwardedParts,
    ForwardedProperties, Framing, Identity, PACKET_BYTES_MAX, Packet, PacketId, ProtocolVersion,
    PubAck, PubComp, PubRec, PubRel, Publish, PublishProperties, QoS, ReasonCode, Subscribe,
    SubscriptionOptions, UserProperties, UserPropertyList, frame,
};
use dunlin::router::{Attach, Courier, Ending, Flags, Flushing, Leave, Router, Signal, Step, Wire};
use dunlin::server::{Answers, Dialogue, Turn};
use dunlin::session::{self, Features};
use dunlin::storage;
use dunlin::time::Now;

/// A broker with the limits of the product, and the worker that uses it.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) router: Router,
    courier: Courier,
    flushing: Flushing,
    features: Features,
    authenticator: Authenticator,
    now: Now,
    connections: u64,
}

/// A connected client.
#[derive(Debug)]
pub(crate) struct Peer {
    dialogue: Dialogue,
    wire: Arc<Tube>,
    signal: Arc<Signal>,
}

/// What a client makes of all that was written to it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Reaction {
    /// PUBLISH packets.
    pub(crate) messages: usize,
    /// What it has to say to them, and to whatever acknowledges its own.
    pub(crate) answers: Vec<u8>,
}

impl Broker {
    pub(crate) fn new() -> Self {
        let config = Config::default();
        let listener = config.listeners.first().expect("a listener");
        let metrics = Arc::new(Metrics::new(1));
        let now = Now { monotonic: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        let courier = Courier::new(metrics.worker(0), now);
        let journal = Arc::new(storage::Memory);
        Self {
            router: Router::new(daemon::router_limits(&config), journal, metrics),
            courier,
            flushing: Flushing::default(),
            features: daemon::features(&listener.features),
            authenticator: Authenticator::of(listener).expect("random numbers"),
            now,
            connections: 0,
        }
    }

    /// Connects a client that allows so many Topic Aliases; its CONNACK is read and forgotten.
    pub(crate) fn join(
        &mut self,
        version: ProtocolVersion,
        client_id: &str,
        topic_alias_maximum: u16,
    ) -> Peer {
        let mut connect = connect(version, client_id);
        connect.properties.topic_alias_maximum = topic_alias_maximum;
        let limits = &self.router.limits().session;
        let assign = || ClientId::new("assigned").expect("short");
        let accepted =
            session::accept(&connect, limits, &self.features, assign, self.now.monotonic)
                .expect("a CONNECT that is in order");
        self.connections += 1;
        let (wire, signal) = (Arc::new(Tube::default()), Arc::new(Signal::default()));
        let attach = Attach {
            client_id: accepted.client_id,
            identity: Identity::Anonymous,
            epoch: Epoch(self.connections),
            clean_start: accepted.clean_start,
            expiry: accepted.expiry,
            terms: accepted.terms,
            will: accepted.will,
            wire: Arc::clone(&wire) as Arc<dyn Wire>,
            signal: Arc::clone(&signal),
        };
        let server_side = &accepted.server_side;
        let attached = self.router.attach(&mut self.courier, attach, |session_present, out| {
            session::accepted(version, session_present, server_side, limits, out);
        });
        let dialogue = Dialogue {
            attachment: attached.expect("everybody is anonymous").attachment,
            connection: accepted.connection,
            replaying: false,
            authentication: None,
            filled_in: None,
        };
        self.flush();
        wire.clear();
        Peer { dialogue, wire, signal }
    }

    /// A client of one Subscription; its SUBACK is read and forgotten.
    pub(crate) fn subscriber(
        &mut self,
        version: ProtocolVersion,
        client_id: &str,
        filter: &str,
        qos: QoS,
    ) -> Peer {
        let mut peer = self.join(version, client_id, 0);
        self.subscribe(&mut peer, filter, qos);
        peer
    }

    pub(crate) fn subscribe(&mut self, peer: &mut Peer, filter: &str, qos: QoS) {
        self.hear(peer, &subscribe(peer.version(), filter, qos));
        self.flush();
        peer.forget();
    }

    /// One turn of a connection whose read brought these whole packets.
    pub(crate) fn hear(&mut self, peer: &mut Peer, bytes: &[u8]) {
        self.courier.begin_turn(self.now);
        let mut answers = Answers {
            bytes: self.courier.take_buffer(),
            commit: CommitNumber::NONE,
            acknowledged: false,
        };
        let version = peer.version();
        let packet_bytes_max = self.router.limits().session.packet_bytes_max;
        let mut rest = bytes;
        while let Framing::Complete(frame) = frame(rest, packet_bytes_max).expect("packets") {
            let packet = frame.decode(version).expect("a right packet");
            let mut turn = Turn {
                dialogue: &mut peer.dialogue,
                router: &self.router,
                authenticator: &self.authenticator,
                courier: &mut self.courier,
                answers: &mut answers,
            };
            let handled = turn.packet(&packet, &frame, rest).expect("nobody is closed");
            rest = rest.get(handled.bytes..).unwrap_or_default();
        }
        assert!(rest.is_empty(), "whole packets");
        let Answers { bytes, commit, acknowledged } = answers;
        if !bytes.is_empty() || acknowledged {
            let attachment = &peer.dialogue.attachment;
            let answered = self.router.answer(&mut self.courier, attachment, &bytes, commit);
            answered.expect("nobody takes a Session over");
        }
        self.courier.give_buffer(bytes);
    }

    /// Writes whatever was appended.
    pub(crate) fn flush(&mut self) {
        let waker = Waker::noop();
        while self.router.flush_dirty(&mut self.courier, &mut self.flushing, waker) {}
    }

    /// Sends the next slice of Retained Messages to a client that has subscribed; whether there
    /// are more.
    pub(crate) fn replay(&mut self, peer: &Peer) -> bool {
        self.courier.begin_turn(self.now);
        let step = self.router.replay(&mut self.courier, &peer.dialogue.attachment);
        self.flush();
        step == Step::More || peer.signal.take().has(Flags::DRAINED)
    }

    /// The connection breaks.
    pub(crate) fn lose(&mut self, peer: &Peer) {
        let attachment = &peer.dialogue.attachment;
        let left = self.router.leave(&mut self.courier, attachment, Ending::Lost, &[]);
        assert!(matches!(left, Leave::Left(_)), "nobody writes in the meantime");
    }
}

impl Peer {
    fn version(&self) -> ProtocolVersion {
        self.dialogue.connection.version
    }

    /// Throws away what was written to it.
    pub(crate) fn forget(&self) {
        self.wire.clear();
    }

    /// Reads what was written to it.
    pub(crate) fn react(&self) -> Reaction {
        let reaction = Reaction::to(self.version(), &self.wire.written());
        self.forget();
        reaction
    }
}

impl Reaction {
    /// To these whole packets.
    pub(crate) fn to(version: ProtocolVersion, bytes: &[u8]) -> Self {
        let mut reaction = Self::default();
        let mut rest = bytes;
        while let Framing::Complete(frame) = frame(rest, PACKET_BYTES_MAX).expect("packets") {
            let answers = &mut reaction.answers;
            let success = ReasonCode::Success;
            match frame.decode(version).expect("a right packet") {
                Packet::Publish(Publish { delivery, .. }) => {
                    reaction.messages += 1;
                    match delivery {
                        Delivery::AtMostOnce => {}
                        Delivery::AtLeastOnce { id, .. } => {
                            PubAck::new(id, success).encode(version, answers);
                        }
                        Delivery::ExactlyOnce { id, .. } => {
                            PubRec::new(id, success).encode(version, answers);
                        }
                    }
                }
                Packet::PubRec(ack) => PubRel::new(ack.id, success).encode(version, answers),
                Packet::PubRel(ack) => PubComp::new(ack.id, success).encode(version, answers),
                _ => {}
            }
            rest = rest.get(frame.length..).unwrap_or_default();
        }
        assert!(rest.is_empty(), "whole packets");
        reaction
    }
}

/// What one read of a publisher brings: messages to its topics in turn, numbered from 1 above QoS 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) version: ProtocolVersion,
    pub(crate) topics: &'a [&'a str],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) count: u16,
    pub(crate) payload_bytes: usize,
    pub(crate) user_properties: usize,
}

impl<'a> Batch<'a> {
    /// Short ones of QoS 0 in MQTT 5.0.
    pub(crate) fn new(topics: &'a [&'a str], count: u16) -> Self {
        let (version, qos) = (ProtocolVersion::V5, QoS::AtMostOnce);
        let (retain, payload_bytes, user_properties) = (false, 64, 0);
        Self { version, topics, qos, retain, count, payload_bytes, user_properties }
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let payload = vec![b'x'; self.payload_bytes];
        let mut user_properties = UserPropertyList::default();
        for number in 0..self.user_properties {
            user_properties.push(&format!("property-{number:03}"), "its value 000");
        }
        let parts =
            ForwardedParts { user_properties: user_properties.as_view(), ..Default::default() };
        let forwarded = ForwardedProperties::new(&parts);
        let mut bytes = Vec::new();
        for (number, topic) in (1..=self.count).zip(self.topics.iter().cycle()) {
            let id = PacketId::new(number).expect("from 1 on");
            let publish = Publish {
                delivery: match self.qos {
                    QoS::AtMostOnce => Delivery::AtMostOnce,
                    QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup: false },
                    QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup: false },
                },
                retain: self.retain,
                topic: topic.as_bytes(),
                properties: PublishProperties {
                    forwarded: forwarded.as_view(),
                    ..PublishProperties::default()
                },
                payload: &payload,
            };
            publish.encode(self.version, &mut bytes);
        }
        bytes
    }
}

/// A CONNECT of a Session that ends with its connection.
pub(crate) fn connect(version: ProtocolVersion, client_id: &str) -> Connect<'_> {
    Connect {
        version,
        clean_start: true,
        keep_alive: 0,
        client_id,
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// A SUBSCRIBE, encoded.
pub(crate) fn subscribe(version: ProtocolVersion, filter: &str, qos: QoS) -> Vec<u8> {
    let mut filters = FilterList::default();
    filters.push(filter, SubscriptionOptions::new(qos));
    let packet = Packet::Subscribe(Subscribe {
        id: PacketId::MIN,
        subscription_id: None,
        user_properties: UserProperties::default(),
        filters: filters.as_view(),
    });
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes);
    bytes
}

/// What was written and not read. Its memory is kept, so that in time it allocates nothing.
#[derive(Debug, Default)]
struct Tube(Mutex<Vec<u8>>);

impl Tube {
    fn written(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        self.written().clear();
    }
}

impl Wire for Tube {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = self.written();
        for slice in slices {
            written.extend_from_slice(slice);
        }
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn shutdown(&self) {}
}
