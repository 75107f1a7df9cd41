//! Publishers with a window, and takers who are away, there, or both in turn.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use dunlin::client::{
    Connection, Event, Options, Outgoing, PacketId, ProtocolVersion, QoS, ReadBuffer, Target,
    Template,
};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::broker::{Broker, Usage};

pub(crate) const PAYLOAD_BYTES: usize = 200;

/// Unacknowledged messages of a publisher.
const WINDOW: usize = 64;

/// How long a publisher with a rate waits until more is due.
const TICK: Duration = Duration::from_millis(1);

/// Nothing takes longer, but for a broker that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What takes longer is counted as this.
const LATENCY_MICROS_MAX: u64 = 60_000_000;

/// How long takers that come and go are away.
const AWAY: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Takers {
    /// Persistent Sessions, without a connection.
    Away,
    /// Persistent Sessions that acknowledge at once.
    Online,
    /// The same with Sessions that nobody keeps.
    Fleeting,
    ComeAndGo,
}

/// Publishers, each with a taker of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) publishers: usize,
    pub(crate) takers: Takers,
    /// Messages a second, all publishers together; `None` for as many as are acknowledged.
    pub(crate) rate: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'p> {
    pub(crate) parts: &'p [Part],
    pub(crate) time: Duration,
}

#[derive(Debug)]
pub(crate) struct Measured {
    /// Acknowledged.
    pub(crate) messages: u64,
    pub(crate) time: Duration,
    pub(crate) processor: Duration,
    pub(crate) syncs: u64,
    pub(crate) syncing: Duration,
    pub(crate) sync_max: Duration,
    pub(crate) written: u64,
    /// From PUBLISH to PUBACK, in µs.
    pub(crate) latency: Histogram<u64>,
}

/// What all clients see and count.
#[derive(Debug)]
struct Board {
    is_over: Cell<bool>,
    acknowledged: Cell<u64>,
    latency: RefCell<Histogram<u64>>,
}

impl Load<'_> {
    pub(crate) async fn run(self, broker: &Broker) -> Measured {
        let latency = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).expect("three digits");
        let (is_over, acknowledged) = (Cell::new(false), Cell::new(0));
        let board = Rc::new(Board { is_over, acknowledged, latency: RefCell::new(latency) });
        let target = Target { address: broker.address, source: None };
        let buffer = ReadBuffer::default();
        let mut clients = JoinSet::new();
        for (number, part) in self.pairs() {
            let taker = Taker { target, number, buffer: buffer.clone(), takers: part.takers };
            let connection = taker.subscribe().await;
            match part.takers {
                Takers::Away => drop(connection),
                Takers::Online | Takers::Fleeting => {
                    clients.spawn_local(stay(connection));
                }
                Takers::ComeAndGo => {
                    drop(connection);
                    clients.spawn_local(taker.come_and_go(Rc::clone(&board)));
                }
            }
        }
        let mut publishers = JoinSet::new();
        for (number, part) in self.pairs() {
            let (board, buffer) = (Rc::clone(&board), buffer.clone());
            let rate = part.rate.map(|rate| rate / part.publishers as f64);
            publishers.spawn_local(publish(target, number, buffer, board, rate));
        }

        sleep(self.time.min(Duration::from_secs(40)) / 4).await;
        board.latency.borrow_mut().reset();
        let (start, before, first) = (Instant::now(), broker.usage(), board.acknowledged.get());
        sleep(self.time).await;
        let (time, after) = (start.elapsed(), broker.usage());
        let messages = board.acknowledged.get() - first;
        let latency = board.latency.borrow().clone();

        board.is_over.set(true);
        let ended = timeout(PATIENCE, async {
            while let Some(ended) = publishers.join_next().await {
                ended.expect("a publisher");
            }
        });
        ended.await.expect("the last messages are acknowledged in time");
        let Usage { processor, written, syncs, syncing } = after;
        Measured {
            messages,
            time,
            processor: processor.saturating_sub(before.processor),
            syncs: syncs - before.syncs,
            syncing: syncing.saturating_sub(before.syncing),
            sync_max: broker.sync_max(),
            written: written - before.written,
            latency,
        }
    }

    /// All publishers, with the part they belong to.
    fn pairs(&self) -> impl Iterator<Item = (usize, Part)> {
        let parts = self.parts.iter().flat_map(|part| std::iter::repeat_n(*part, part.publishers));
        parts.enumerate()
    }
}

#[derive(Clone, Debug)]
struct Taker {
    target: Target,
    number: usize,
    buffer: ReadBuffer,
    takers: Takers,
}

impl Taker {
    async fn connect(&self) -> Connection {
        let is_kept = self.takers != Takers::Fleeting;
        connect(self.target, &format!("taker-{}", self.number), is_kept, &self.buffer).await
    }

    async fn subscribe(&self) -> Connection {
        let mut connection = self.connect().await;
        let topic = topic(self.number);
        connection.subscribe([topic.as_str()], QoS::AtLeastOnce).expect("an identifier");
        let mut is_subscribed = false;
        while !is_subscribed {
            let turn = connection.turn(|event| {
                is_subscribed |= matches!(event, Event::Subscribed(..));
            });
            timeout(PATIENCE, turn).await.expect("a SUBACK in time").expect("a connection");
        }
        connection
    }

    /// Away for a while, then there until all that waited has come.
    async fn come_and_go(self, board: Rc<Board>) {
        while !board.is_over.get() {
            sleep(AWAY).await;
            let mut connection = self.connect().await;
            let arrived = Instant::now();
            // Messages come in bursts while there are any that waited.
            while arrived.elapsed() < AWAY {
                let turn = timeout(AWAY / 5, connection.turn(|_| ())).await;
                if turn.is_err() {
                    break;
                }
            }
        }
    }
}

/// Takes and acknowledges until the broker ends.
async fn stay(mut connection: Connection) {
    while connection.turn(|_| ()).await.is_ok() {}
}

async fn publish(
    target: Target,
    number: usize,
    buffer: ReadBuffer,
    board: Rc<Board>,
    rate: Option<f64>,
) {
    let mut connection = connect(target, &format!("publisher-{number}"), false, &buffer).await;
    let topic = topic(number);
    let outgoing =
        Outgoing { topic: &topic, qos: QoS::AtLeastOnce, retain: false, user_properties: &[] };
    let payload = vec![b'x'; PAYLOAD_BYTES];
    let template = Template::new(ProtocolVersion::V311, &outgoing, &payload);
    let template = template.expect("a Topic Name");
    let mut open: HashMap<PacketId, Instant> = HashMap::new();
    let (start, mut sent) = (Instant::now(), 0.0);
    loop {
        let now = Instant::now();
        let due = rate.map_or(f64::INFINITY, |rate| (now - start).as_secs_f64() * rate);
        while !board.is_over.get() && open.len() < WINDOW && sent < due {
            sent += 1.0;
            let id = connection.publish(&template, &[&payload]).expect("a window below the quota");
            open.extend(id.map(|id| (id, now)));
        }
        if open.is_empty() {
            if board.is_over.get() {
                return;
            }
            sleep(TICK).await;
            continue;
        }
        let turn = connection.turn(|event| {
            if let Event::Published(id, reason) = event {
                assert!(!reason.is_error(), "a message was refused: {reason}");
                let began = open.remove(&id).expect("a message of ours");
                let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                board.latency.borrow_mut().saturating_record(took);
                board.acknowledged.set(board.acknowledged.get() + 1);
            }
        });
        timeout(PATIENCE, turn).await.expect("a PUBACK in time").expect("a connection");
    }
}

async fn connect(
    target: Target,
    client_id: &str,
    is_kept: bool,
    buffer: &ReadBuffer,
) -> Connection {
    let options = Options {
        version: ProtocolVersion::V311,
        client_id,
        clean_start: !is_kept,
        session_expiry: 0,
        packet_bytes_max: 1024 * 1024,
    };
    let opened = timeout(PATIENCE, Connection::open(target, &options, buffer)).await;
    opened.expect("a CONNACK in time").expect("a connection").0
}

fn topic(number: usize) -> String {
    format!("durable/{number}")
}
