//! What it costs to hand messages on: through a Session alone, and through the router to
//! connections that throw their bytes away.

use std::hint::black_box;
use std::io::{self, IoSlice};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dunlin::change::{Epoch, Keeps, SessionExpiry, Subscription};
use dunlin::message::{Message, Payload, Publication};
use dunlin::metrics::Metrics;
use dunlin::packet::{
    ClientId, Delivery, ForwardedProperties, Identity, PacketId, ProtocolVersion, PubAck, QoS,
    ReasonCode, SubscriptionOptions,
};
use dunlin::router::{
    Acknowledged, Attach, Attachment, Courier, Flushing, Origin, OutboundLimits, RetainedLimits,
    Router, RouterLimits, Signal, Strategy, Wire,
};
use dunlin::session::{
    Effects, Limits, Offer, QueueWhenFull, Room, Session, SubscriptionIds, Terms, Verdict,
};
use dunlin::storage::Memory;
use dunlin::time::Now;
use dunlin::topic::{SubscriptionFilter, TopicName};

const TOPIC: &str = "site/7/meter/0042/kw";
const PAYLOAD: &[u8] = &[b'x'; 64];

/// Publications between two runs of the flusher, as in a turn of a busy worker.
const TURN: usize = 64;

/// A wire that takes everything and sends it nowhere.
#[derive(Debug)]
struct Nowhere;

impl Wire for Nowhere {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| black_box(slice).len()).sum())
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn shutdown(&self) {}
}

fn limits() -> Limits {
    Limits {
        inflight_max: NonZeroU16::MAX,
        receive_maximum: NonZeroU16::MAX,
        queue_bytes_max: 8 * 1024 * 1024,
        queue_offline_messages_max: 1_000,
        queue_when_full: QueueWhenFull::RefuseNewest,
        expiry_max: SessionExpiry::Never,
        expiry_v3: SessionExpiry::Never,
        keep_alive_max: 3_600,
        client_id_bytes_max: 256,
        topic_bytes_max: 1_024,
        topic_levels_max: 32,
        topic_aliases_in_max: 4,
        topic_aliases_out_max: 32,
        subscriptions_max: 1_000,
        packet_bytes_max: 1024 * 1024,
        response_information: None,
    }
}

fn terms(topic_alias_maximum: u16) -> Terms {
    Terms {
        version: ProtocolVersion::V5,
        receive_maximum: NonZeroU16::MAX,
        maximum_packet_size: usize::MAX,
        topic_alias_maximum,
    }
}

/// A router and the worker that uses it.
struct Broker {
    router: Router,
    courier: Courier,
    flushing: Flushing,
}

impl Broker {
    fn new() -> Self {
        let limits = RouterLimits {
            session: limits(),
            outbound: OutboundLimits { soft_bytes_max: 256 * 1024, hard_bytes_max: 1024 * 1024 },
            retained: RetainedLimits { messages_max: 1_000, bytes_max: 1_000_000 },
            sharing: Strategy::LeastInflight,
            memory_bytes_max: u64::MAX,
        };
        let metrics = Arc::new(Metrics::new(1));
        let now = Now { monotonic: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        let courier = Courier::new(metrics.worker(0), now);
        let router = Router::new(limits, Arc::new(Memory), metrics);
        Self { router, courier, flushing: Flushing::default() }
    }

    fn connect(&mut self, client_id: &str, topic_alias_maximum: u16) -> Option<Attachment> {
        let attach = Attach {
            client_id: ClientId::new(client_id)?,
            identity: Identity::Anonymous,
            epoch: Epoch(1),
            clean_start: true,
            expiry: SessionExpiry::AtDisconnect,
            terms: terms(topic_alias_maximum),
            will: None,
            wire: Arc::new(Nowhere),
            signal: Arc::new(Signal::default()),
        };
        Some(self.router.attach(&mut self.courier, attach, |_, _| {}).ok()?.attachment)
    }

    /// Connects as many takers of the filter, which allow so many Topic Aliases.
    fn takers(
        &mut self,
        filter: &str,
        count: usize,
        qos: QoS,
        topic_alias_maximum: u16,
    ) -> Vec<Attachment> {
        let Ok(filter) = SubscriptionFilter::parse(filter) else { return Vec::new() };
        let options = SubscriptionOptions::new(qos);
        let mut takers = Vec::new();
        for number in 0..count {
            let Some(taker) = self.connect(&format!("taker-{number}"), topic_alias_maximum) else {
                continue;
            };
            let subscription = Subscription { options, id: None };
            self.router.subscribe(&mut self.courier, &taker, &filter, subscription);
            takers.push(taker);
        }
        takers
    }

    fn publish(&mut self, publisher: &Attachment, topic: &TopicName, qos: QoS) {
        let properties = ForwardedProperties::default();
        let publication = Publication {
            topic,
            payload: Payload::Borrowed(PAYLOAD),
            qos,
            retain: false,
            properties: properties.as_view(),
            expiry: None,
            as_it_came: None,
        };
        let origin = Origin::Refusable(publisher);
        let _ = black_box(self.router.publish(&mut self.courier, &publication, origin));
    }

    fn flush(&mut self) {
        let waker = Waker::noop();
        while self.router.flush_dirty(&mut self.courier, &mut self.flushing, waker) {}
    }
}

/// Nanoseconds are per delivered message where the throughput says so.
fn routing(criterion: &mut Criterion) {
    let Ok(topic) = TopicName::parse(TOPIC) else { return };
    let mut group = criterion.benchmark_group("router");
    for count in [1, 100] {
        let mut broker = Broker::new();
        let Some(publisher) = broker.connect("publisher", 0) else { return };
        let _takers = broker.takers(TOPIC, count, QoS::AtMostOnce, 0);
        broker.flush();
        group.throughput(Throughput::Elements((TURN * count) as u64));
        group.bench_function(format!("publish_qos0_to_{count}_x{TURN}_and_flush"), |bencher| {
            bencher.iter(|| {
                for _ in 0..TURN {
                    broker.publish(&publisher, &topic, QoS::AtMostOnce);
                }
                broker.flush();
            });
        });
    }

    let mut broker = Broker::new();
    let Some(publisher) = broker.connect("publisher", 0) else { return };
    let takers = broker.takers(TOPIC, 1, QoS::AtLeastOnce, 0);
    let Some(taker) = takers.first() else { return };
    broker.flush();
    let mut next = 0_u16;
    group.throughput(Throughput::Elements(TURN as u64));
    group.bench_function(format!("publish_qos1_answer_and_ack_x{TURN}_and_flush"), |bencher| {
        bencher.iter(|| {
            let mut answers = broker.courier.take_buffer();
            for _ in 0..TURN {
                broker.publish(&publisher, &topic, QoS::AtLeastOnce);
                PubAck::new(PacketId::MIN, ReasonCode::Success)
                    .encode(ProtocolVersion::V5, &mut answers);
            }
            let none = dunlin::change::CommitNumber::NONE;
            broker.router.answer(&mut broker.courier, &publisher, &answers, none);
            broker.courier.give_buffer(answers);
            broker.flush();
            for _ in 0..TURN {
                // Identifiers are given out in turn.
                next = next.checked_add(1).unwrap_or(1);
                let Some(id) = PacketId::new(next) else { continue };
                let acknowledged = Acknowledged::PubAck(id);
                let _ = broker.router.acknowledge(&mut broker.courier, taker, [acknowledged]);
            }
        });
    });
    group.finish();
}

/// The same messages to takers with and without Topic Aliases: one topic again and again, topics
/// that all have an alias, and more topics than aliases.
fn aliases(criterion: &mut Criterion) {
    const ALIASES: u16 = 32;
    let mut group = criterion.benchmark_group("aliases");
    for count in [1, 100] {
        for topic_alias_maximum in [0, ALIASES] {
            for topics in [1, 32, 64] {
                let names =
                    (0..topics).map(|number| TopicName::parse(&format!("{TOPIC}/{number}")));
                let names: Vec<TopicName> = names.filter_map(Result::ok).collect();
                let mut broker = Broker::new();
                let Some(publisher) = broker.connect("publisher", 0) else { return };
                let _takers = broker.takers("#", count, QoS::AtMostOnce, topic_alias_maximum);
                broker.flush();
                group.throughput(Throughput::Elements((TURN * count) as u64));
                let name = format!("{topics}_topics_to_{count}_with_{topic_alias_maximum}_aliases");
                group.bench_function(name, |bencher| {
                    bencher.iter(|| {
                        for topic in names.iter().cycle().take(TURN) {
                            broker.publish(&publisher, topic, QoS::AtMostOnce);
                        }
                        broker.flush();
                    });
                });
            }
        }
    }
    group.finish();
}

fn session(effects: &mut Effects) -> Option<Session> {
    let client_id = ClientId::new("meter-7")?;
    let identity = Identity::Anonymous;
    Some(Session::new(client_id, identity, SessionExpiry::Never, Keeps::Nothing, Epoch(1), effects))
}

/// A Session alone: no lock, no bytes.
fn sessions(criterion: &mut Criterion) {
    let Ok(topic) = TopicName::parse(TOPIC) else { return };
    let message = Arc::new(Message {
        topic,
        payload: Bytes::from_static(PAYLOAD),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: ForwardedProperties::default(),
        expires_at: None,
    });
    let ids = SubscriptionIds::new();
    let offer = Offer {
        message: &message,
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: &ids,
        ticket: None,
    };
    let (limits, terms, now) = (limits(), terms(0), Instant::now());
    let mut effects = Effects::default();
    let mut group = criterion.benchmark_group("session");

    let Some(mut direct) = session(&mut effects) else { return };
    group.bench_function("offer_and_puback", |bencher| {
        bencher.iter(|| {
            let verdict = direct.offer(offer, Some(&terms), Room::Open, &limits, &mut effects);
            if let Verdict::Send(Delivery::AtLeastOnce { id, .. }) = verdict {
                let _ = black_box(direct.puback(id, &mut effects));
            }
        });
    });

    let Some(mut queued) = session(&mut effects) else { return };
    let mut next = 0_u16;
    group.bench_function("offer_next_and_puback", |bencher| {
        bencher.iter(|| {
            queued.offer(offer, Some(&terms), Room::Full, &limits, &mut effects);
            black_box(queued.next(&terms, now, &mut effects));
            next = next.checked_add(1).unwrap_or(1);
            let Some(id) = PacketId::new(next) else { return };
            let _ = black_box(queued.puback(id, &mut effects));
        });
    });

    let Some(mut windowed) = session(&mut effects) else { return };
    for _ in 0..1_000 {
        windowed.offer(offer, Some(&terms), Room::Open, &limits, &mut effects);
    }
    let mut oldest = 0_u16;
    group.bench_function("offer_and_puback_with_1000_in_flight", |bencher| {
        bencher.iter(|| {
            windowed.offer(offer, Some(&terms), Room::Open, &limits, &mut effects);
            oldest = oldest.checked_add(1).unwrap_or(1);
            let Some(id) = PacketId::new(oldest) else { return };
            let _ = black_box(windowed.puback(id, &mut effects));
        });
    });
    group.finish();
}

criterion_group!(benches, routing, aliases, sessions);
criterion_main!(benches);
