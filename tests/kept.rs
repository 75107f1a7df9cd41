//! The server over real sockets, with a store in the hand of a test: one that keeps late, is behind
//! or fails.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects has to fail"
)]

/// A store that keeps what it was given when a test says so.
#[path = "support/store.rs"]
mod store;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dunlin::auth::Authenticator;
use dunlin::change::{CommitNumber, Journal, JournalState, Keeps};
use dunlin::cluster::{Cluster, Standalone};
use dunlin::config::Config;
use dunlin::daemon;
use dunlin::metrics::Metrics;
use dunlin::packet::{
    ConnAckCode, Delivery, Framing, Packet, PacketId, ProtocolVersion, PubAck, ReasonCode, frame,
};
use dunlin::router::Router;
use dunlin::server::{Entrance, Limiter, Server, Shared};
use dunlin::session::Features;
use dunlin::transport::Door;
use tokio::sync::oneshot;

use store::ModelStore;

const V311: ProtocolVersion = ProtocolVersion::V311;
const V5: ProtocolVersion = ProtocolVersion::V5;
const FAILING: JournalState = JournalState::Failing;

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    store: Arc<ModelStore>,
    metrics: Arc<Metrics>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl World {
    /// Its store keeps everything at once until it is told something else.
    fn new() -> Self {
        let mut config = Config::default();
        config.listeners.truncate(1);
        config.listeners[0].address.set_port(0);
        let store = Arc::new(ModelStore::new(Keeps::Changes));
        store.set_prompt(true);
        let metrics = Arc::new(Metrics::new(2));
        let journal = Arc::clone(&store) as Arc<dyn Journal>;
        let limits = daemon::router_limits(&config);
        let shared = Shared {
            router: Arc::new(Router::new(limits, journal, Arc::clone(&metrics))),
            cluster: Cluster::Standalone(Standalone::default()),
            limiter: Limiter::new(100),
            connect_bytes_max: 65_536,
            connect_timeout: PATIENCE,
            stall_timeout: PATIENCE,
            sys_interval: None,
            store: None,
        };
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let server = runtime.unwrap().block_on(async {
                let listener = &config.listeners[0];
                let door = Door::open(listener).unwrap();
                tell.send(door.address().unwrap()).unwrap();
                let authenticator = Authenticator::of(listener).unwrap();
                let (name, features) = ("door".into(), Features::default());
                let server = Server::start(shared, NonZeroUsize::new(2).unwrap()).unwrap();
                let entrance = Entrance { name, door, authenticator, features };
                tokio::select! {
                    () = server.serve(entrance) => {}
                    _ = stopped => {}
                }
                server
            });
            server.stop(Duration::ZERO);
        });
        let address = told.recv_timeout(PATIENCE).unwrap();
        Self { store, metrics, address, stop: Some(stop), thread: Some(thread) }
    }

    /// A client that has said CONNECT. 5.0 Sessions of `expiry` never end.
    fn open(&self, version: ProtocolVersion, client_id: &str, lasts: bool) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client { version, stream, input: Vec::new() };
        let flags = if version.is_v5() || !lasts { 2 } else { 0 };
        let flags = if version.is_v5() && lasts { 0 } else { flags };
        let mut body = b"\0\x04MQTT".to_vec();
        body.extend([if version.is_v5() { 5 } else { 4 }, flags, 0, 0]);
        if version.is_v5() {
            let properties: &[u8] = if lasts { &[5, 0x11, 0xFF, 0xFF, 0xFF, 0xFF] } else { &[0] };
            body.extend(properties);
        }
        body.extend([0, u8::try_from(client_id.len()).unwrap()]);
        body.extend(client_id.as_bytes());
        client.send(0x10, &body);
        client
    }

    fn connect(&self, version: ProtocolVersion, client_id: &str, lasts: bool) -> Client {
        let mut client = self.open(version, client_id, lasts);
        let answer = client.read();
        assert!(answer.starts_with("connack 0"), "{answer}");
        client
    }

    /// A 5.0 client with a Session that lasts and that takes all of topic `t`.
    fn subscriber(&self, client_id: &str) -> Client {
        let mut client = self.connect(V5, client_id, true);
        client.send(0x82, b"\0\x01\0\0\x01t\x02");
        assert_eq!(client.read(), "suback");
        client
    }

    fn total(
        &self,
        counter: impl Fn(&dunlin::metrics::Counters) -> &dunlin::metrics::Counter,
    ) -> u64 {
        self.metrics.total(counter)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

struct Client {
    version: ProtocolVersion,
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    fn send(&mut self, first: u8, body: &[u8]) {
        let packet = [&[first, u8::try_from(body.len()).unwrap()], body].concat();
        self.stream.write_all(&packet).unwrap();
    }

    /// PUBLISH on topic `t`; at QoS 0 the identifier is nobody's.
    fn publish(&mut self, qos: u8, id: u8, payload: &str) {
        let id: &[u8] = if qos > 0 { &[0, id] } else { &[] };
        let properties: &[u8] = if self.version.is_v5() { &[0] } else { &[] };
        let body = [b"\0\x01t", id, properties, payload.as_bytes()].concat();
        self.send(0x30 | qos << 1, &body);
    }

    fn puback(&mut self, id: PacketId) {
        let mut packet = Vec::new();
        PubAck::new(id, ReasonCode::Success).encode(self.version, &mut packet);
        self.stream.write_all(&packet).unwrap();
    }

    /// The next packet in words, or the end. What is delivered is acknowledged.
    fn read(&mut self) -> String {
        loop {
            if let Framing::Complete(frame) = frame(&self.input, 1 << 20).unwrap() {
                let packet = frame.decode(self.version).unwrap();
                let (word, acknowledge) = word(&packet);
                let length = frame.length;
                self.input.drain(..length);
                if let Some(id) = acknowledge {
                    self.puback(id);
                }
                return word;
            }
            let mut bytes = [0; 4_096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return "closed".into(),
                Ok(count) => self.input.extend(&bytes[..count]),
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }
}

/// A packet, and the identifier to acknowledge.
fn word(packet: &Packet<'_>) -> (String, Option<PacketId>) {
    let word = match packet {
        Packet::ConnAck(ack) => match ack.code {
            ConnAckCode::V5(reason) => format!("connack {}", reason.value()),
            ConnAckCode::V3(code) => format!("connack {}", code as u8),
        },
        Packet::SubAck(_) => "suback".into(),
        Packet::PubAck(ack) => format!("puback {} {}", ack.id, ack.reason.value()),
        Packet::Disconnect(disconnect) => {
            assert!(disconnect.reason_string.is_some_and(|text| text.contains("store")));
            format!("disconnect {}", disconnect.reason.value())
        }
        Packet::Publish(publish) => {
            let id = match publish.delivery {
                Delivery::AtLeastOnce { id, .. } => Some(id),
                Delivery::AtMostOnce | Delivery::ExactlyOnce { .. } => None,
            };
            return (format!("took {}", String::from_utf8_lossy(publish.payload)), id);
        }
        other => panic!("{other:?}"),
    };
    (word, None)
}

#[test]
fn who_waits_for_an_acknowledgement_is_closed_when_the_store_begins_to_fail_and_may_come_back() {
    for (version, goodbye) in [(V5, &["disconnect 151", "closed"][..]), (V311, &["closed"])] {
        let world = World::new();
        let _taker = world.subscriber("taker");
        let mut publisher = world.connect(version, "publisher", false);
        world.store.set_prompt(false);
        let submitted = world.store.submitted();
        publisher.publish(1, 7, "x");
        world.store.wait_for_more_than(submitted);

        world.store.set_health(FAILING);

        let read: Vec<_> = goodbye.iter().map(|_| publisher.read()).collect();
        assert_eq!(read, goodbye);
        assert_eq!(world.total(|counters| &counters.store_refusals), 1);
        world.store.set_health(JournalState::Keeping);
        world.store.keep_all();
        world.store.set_prompt(true);
        let mut publisher = world.connect(version, "publisher", false);
        publisher.publish(1, 7, "x");
        assert_eq!(publisher.read(), "puback 7 0");
    }
}

#[test]
fn a_connect_that_must_be_kept_is_refused_while_the_store_fails() {
    let world = World::new();
    world.store.set_health(FAILING);

    for (version, answer) in [(V5, "connack 136"), (V311, "connack 3")] {
        let mut refused = world.open(version, "a", true);
        assert_eq!((refused.read().as_str(), refused.read().as_str()), (answer, "closed"));
        world.connect(version, "b", false);
    }

    assert_eq!(world.total(|counters| &counters.store_refusals), 2);
    assert_eq!(world.total(|counters| &counters.connects_refused), 2);
}

#[test]
fn who_waits_for_its_connack_is_refused_when_the_store_begins_to_fail() {
    for (version, answer) in [(V5, "connack 136"), (V311, "connack 3")] {
        let world = World::new();
        world.store.set_prompt(false);
        let submitted = world.store.submitted();
        let mut client = world.open(version, "a", true);
        world.store.wait_for_more_than(submitted);

        world.store.set_health(FAILING);

        assert_eq!((client.read().as_str(), client.read().as_str()), (answer, "closed"));
    }
}

// What is not read cannot have been routed: the taker gets what came later from somebody else.
#[test]
fn while_the_store_is_behind_a_publish_of_qos_1_waits_and_qos_0_does_not() {
    let world = World::new();
    let mut taker = world.subscriber("taker");
    let mut waits = world.connect(V5, "waits", false);
    let mut other = world.connect(V5, "other", false);
    world.store.set_prompt(false);
    let number = world.store.submitted() + 1;
    // Something that is not kept yet.
    let mut late = world.open(V5, "late", true);
    world.store.wait_for_more_than(number - 1);
    world.store.set_health(JournalState::Behind(CommitNumber(number)));

    waits.publish(0, 0, "before");
    waits.publish(1, 7, "waits");
    assert_eq!(taker.read(), "took before");
    while world.total(|counters| &counters.store_pauses) == 0 {
        std::thread::yield_now();
    }
    other.publish(0, 0, "zero");
    assert_eq!(taker.read(), "took zero");
    world.store.set_health(JournalState::Keeping);
    world.store.set_prompt(true);
    world.store.keep_all();

    assert_eq!(late.read(), "connack 0");
    assert_eq!(waits.read(), "puback 7 0");
    assert_eq!(taker.read(), "took waits");
    assert_eq!(world.total(|counters| &counters.store_pauses), 1);
}

#[test]
fn who_waits_for_a_store_that_begins_to_fail_is_refused() {
    let world = World::new();
    let mut waits = world.connect(V5, "waits", false);
    world.store.set_prompt(false);
    let number = CommitNumber(world.store.submitted() + 1);
    let _late = world.open(V5, "late", true);
    world.store.wait_for_more_than(number.0 - 1);
    world.store.set_health(JournalState::Behind(number));
    waits.publish(1, 7, "waits");
    while world.total(|counters| &counters.store_pauses) == 0 {
        std::thread::yield_now();
    }

    world.store.set_health(FAILING);

    assert_eq!(waits.read(), "puback 7 151");
}

#[test]
fn what_the_store_reads_back_on_a_thread_of_its_own_is_sent() {
    const MESSAGES: u8 = 200;
    let world = World::new();
    drop(world.subscriber("taker"));
    let mut publisher = world.connect(V5, "publisher", false);
    for number in 1..=MESSAGES {
        publisher.publish(1, number, &number.to_string());
        assert_eq!(publisher.read(), format!("puback {number} 0"));
    }
    world.store.fetch_slowly();

    let mut taker = world.connect(V5, "taker", true);
    world.store.wait_for_fetch();
    world.store.answer_fetches();

    for number in 1..=MESSAGES {
        assert_eq!(taker.read(), format!("took {number}"));
    }
}
