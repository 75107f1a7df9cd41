//! What a packet costs in a broker without sockets: decoded, routed, delivered and answered in one
//! thread, with what stands between (match cache, runs, groups, replays, connections).

#![expect(clippy::expect_used, reason = "a bench that does something wrong shall stop")]

#[path = "../tests/support/in_thread.rs"]
mod in_thread;

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use dunlin::packet::{Framing, Packet, ProtocolVersion, PublishRun, QoS, frame};
use dunlin::router::COPIED_PACKET_MAX;

use in_thread::{Batch, Broker, Peer};

const V5: ProtocolVersion = ProtocolVersion::V5;
const V311: ProtocolVersion = ProtocolVersion::V311;

/// Messages that one read brings.
const BATCH: u16 = 64;

/// Nanoseconds are per delivered message.
fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group
}

/// A publisher whose read brings these bytes, to those who take them at QoS 0.
fn publishing(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut broker: Broker,
    takers: &[Peer],
    batch: Batch<'_>,
) {
    let mut publisher = broker.join(batch.version, "publisher", 0);
    let bytes = batch.encode();
    group.throughput(Throughput::Elements(u64::from(batch.count) * takers.len() as u64));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            broker.hear(&mut publisher, &bytes);
            broker.flush();
            takers.iter().for_each(Peer::forget);
        });
    });
}

/// So many of them, of these versions by turns.
fn takers(
    broker: &mut Broker,
    count: usize,
    filter: &str,
    versions: &[ProtocolVersion],
) -> Vec<Peer> {
    let versions = versions.iter().cycle().take(count).enumerate();
    let taker = |(number, version): (usize, &ProtocolVersion)| {
        broker.subscriber(*version, &format!("taker-{number}"), filter, QoS::AtMostOnce)
    };
    versions.map(taker).collect()
}

/// From the bytes of a read to those of a write: one topic comes as a run, two by turns do not.
fn from_read_to_write(criterion: &mut Criterion) {
    let mut group = group(criterion, "from read to write");
    let one = Batch::new(&["meter/7"], BATCH);
    let two = Batch::new(&["meter/7", "meter/8"], BATCH);
    for (name, count, versions, batch) in [
        ("a run to 1", 1, &[V5][..], one),
        ("a run with 3 User Properties to 1", 1, &[V5], Batch { user_properties: 3, ..one }),
        ("a run to 1 of the other version", 1, &[V311], one),
        ("a run to 100", 100, &[V5], one),
        ("2 topics to 1", 1, &[V5], two),
        ("2 topics with 3 User Properties to 1", 1, &[V5], Batch { user_properties: 3, ..two }),
        ("2 topics to 1 of the other version", 1, &[V311], two),
        ("2 topics to 100 of both versions", 100, &[V5, V311], two),
        ("8 KiB to 10", 10, &[V5], Batch { payload_bytes: 8_192, count: 16, ..one }),
    ] {
        let mut broker = Broker::new();
        let takers = takers(&mut broker, count, "meter/+", versions);
        publishing(&mut group, name, broker, &takers, batch);
    }
    group.finish();
}

/// The same message when its takers are remembered, and when they have to be looked up: there are
/// more topics than a worker remembers.
fn matching(criterion: &mut Criterion) {
    let mut group = group(criterion, "match");
    for (name, count) in [("remembered", 1_024), ("forgotten", 8_192)] {
        let names: Vec<String> = (0..count).map(|number| format!("site/{number}/kw")).collect();
        let topics: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut broker = Broker::new();
        let taker = broker.subscriber(V5, "taker", "site/+/kw", QoS::AtMostOnce);
        let mut publisher = broker.join(V5, "publisher", 0);
        let reads = topics.chunks(usize::from(BATCH));
        let reads: Vec<Vec<u8>> = reads.map(|topics| Batch::new(topics, BATCH).encode()).collect();
        group.throughput(Throughput::Elements((reads.len() * usize::from(BATCH)) as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for bytes in &reads {
                    broker.hear(&mut publisher, bytes);
                    broker.flush();
                    taker.forget();
                }
            });
        });
    }
    group.finish();
}

/// What says that packets follow which differ in nothing but their payloads.
fn finding_a_run(criterion: &mut Criterion) {
    let mut group = group(criterion, "find a run");
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    for (name, topics) in [("of 64", &["meter/7"][..]), ("where there is none", &["a/7", "a/8"])] {
        let bytes = Batch::new(topics, BATCH).encode();
        let Ok(Framing::Complete(first)) = frame(&bytes, COPIED_PACKET_MAX) else { return };
        let Ok(Packet::Publish(publish)) = first.decode(V5) else { return };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                black_box(PublishRun::find(&first, &publish, black_box(&bytes), COPIED_PACKET_MAX))
            });
        });
    }
    group.finish();
}

/// All packets of an exchange, with those of the taker; and one of many members of a group.
fn exchanges(criterion: &mut Criterion) {
    let mut group = group(criterion, "exchange");
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    for (name, qos, members) in [
        ("QoS 1", QoS::AtLeastOnce, 0),
        ("QoS 2", QoS::ExactlyOnce, 0),
        ("QoS 0, 10 members of a group", QoS::AtMostOnce, 10),
        ("QoS 1, 10 members of a group", QoS::AtLeastOnce, 10),
    ] {
        let mut broker = Broker::new();
        let filter = if members > 0 { "$share/group/meter/7" } else { "meter/7" };
        let taker = |number| broker.subscriber(V5, &format!("taker-{number}"), filter, qos);
        let mut peers: Vec<Peer> = (0..members.max(1)).map(taker).collect();
        let mut publisher = broker.join(V5, "publisher", 0);
        let bytes = Batch { qos, ..Batch::new(&["meter/7"], BATCH) }.encode();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                broker.hear(&mut publisher, &bytes);
                broker.flush();
                let mut busy = true;
                while std::mem::take(&mut busy) {
                    for peer in peers.iter_mut().chain([&mut publisher]) {
                        let answers = peer.react().answers;
                        if !answers.is_empty() {
                            busy = true;
                            broker.hear(peer, &answers);
                            broker.flush();
                        }
                    }
                }
            });
        });
    }
    group.finish();
}

/// Retained Messages: stored in the place of others, and sent to who subscribes to them all.
fn retaining(criterion: &mut Criterion) {
    const RETAINED: u16 = 10_000;
    let mut group = group(criterion, "retained");
    let mut broker = Broker::new();
    let mut publisher = broker.join(V5, "publisher", 0);
    let names: Vec<String> = (0..RETAINED).map(|number| format!("site/{number}/kw")).collect();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    let bytes = Batch { retain: true, ..Batch::new(&topics, RETAINED) }.encode();
    group.throughput(Throughput::Elements(u64::from(RETAINED)));
    group.bench_function("replace", |bencher| {
        bencher.iter(|| broker.hear(&mut publisher, &bytes));
    });

    let mut taker = broker.join(V5, "taker", 0);
    broker.subscribe(&mut taker, "site/#", QoS::AtMostOnce);
    while broker.replay(&taker) {}
    assert_eq!(taker.react().messages, names.len(), "a replay ends when all were sent");
    group.bench_function("replay", |bencher| {
        bencher.iter(|| {
            broker.subscribe(&mut taker, "site/#", QoS::AtMostOnce);
            while broker.replay(&taker) {}
            taker.forget();
        });
    });
    group.finish();
}

/// A client that comes, subscribes and goes, beside others who stay.
fn coming_and_going(criterion: &mut Criterion) {
    let mut group = group(criterion, "connection");
    let mut broker = Broker::new();
    let _others = takers(&mut broker, 1_000, "meter/+", &[V5, V311]);
    group.bench_function("attach and leave", |bencher| {
        bencher.iter(|| {
            let peer = broker.join(V5, "guest", 0);
            broker.lose(&peer);
        });
    });
    group.bench_function("attach, subscribe and leave", |bencher| {
        bencher.iter(|| {
            let peer = broker.subscriber(V5, "guest", "guest/7", QoS::AtLeastOnce);
            broker.lose(&peer);
        });
    });
    group.finish();
}

criterion_group!(
    benches,
    from_read_to_write,
    matching,
    finding_a_run,
    exchanges,
    retaining,
    coming_and_going
);
criterion_main!(benches);
