//! Allocations of a delivery, from a publisher's bytes to its takers' wires: none at QoS 0, a few that
//! are known above it.
//!
//! The router, its Sessions and `server::Turn` do their work in the test's own thread, whose allocations
//! are counted. Before that each of them has met what it will meet: buffers, caches and tables have the
//! size that they keep. What the shells around them allocate is counted in `system_calls`.

use allocation_counter::{AllocationInfo, measure};
use dunlin::packet::{ProtocolVersion, QoS};

use crate::in_thread::{Batch, Broker, Peer};

const V311: ProtocolVersion = ProtocolVersion::V311;
const V5: ProtocolVersion = ProtocolVersion::V5;

/// Messages that one read brings.
const BATCH: u16 = 64;

/// Reads before it is counted, and while it is.
const WARM_UP: usize = 40;
const COUNTED: usize = 40;

const ALLOCATIONS_OF_A_KEPT_MESSAGE: u64 = 2;
/// 1.29 on 2026-11-21.
const ALLOCATIONS_OF_A_LONG_DELIVERY_MAX: f64 = 1.5;

/// A publisher, what it says at each read, and who takes it.
struct Scene {
    broker: Broker,
    publisher: Peer,
    takers: Vec<Peer>,
    bytes: Vec<u8>,
}

/// What was counted.
#[derive(PartialEq, Eq, Debug)]
struct Count {
    deliveries: usize,
    allocations: u64,
}

impl Scene {
    /// Takers of this filter, by turns of 3.1.1 and 5.0, and a publisher of 5.0 that sends `bytes`.
    fn new(count: usize, filter: &str, qos: QoS, bytes: Vec<u8>) -> Self {
        let mut broker = Broker::new();
        let taker = |number: usize| {
            let version = if number.is_multiple_of(2) { V5 } else { V311 };
            broker.subscriber(version, &format!("taker-{number}"), filter, qos)
        };
        let takers = (0..count).map(taker).collect();
        let publisher = broker.join(V5, "publisher", 0);
        Self { broker, publisher, takers, bytes }
    }

    /// Hands the publisher's bytes over again and again, and what everybody says to what he gets.
    fn run(mut self) -> Count {
        for _ in 0..WARM_UP {
            self.round();
        }
        let mut total = Count { deliveries: 0, allocations: 0 };
        for _ in 0..COUNTED {
            let Count { deliveries, allocations } = self.round();
            total.deliveries += deliveries;
            total.allocations += allocations;
        }
        total
    }

    /// One read of the publisher, and of everybody as long as there is something to answer.
    fn round(&mut self) -> Count {
        let Self { broker, publisher, takers, bytes } = self;
        let mut counted = AllocationInfo::default();
        counted += measure(|| {
            broker.hear(publisher, bytes);
            broker.flush();
        });
        let (mut deliveries, mut busy) = (0, true);
        while std::mem::take(&mut busy) {
            for peer in takers.iter_mut().chain([&mut *publisher]) {
                let reaction = peer.react();
                deliveries += reaction.messages;
                if !reaction.answers.is_empty() {
                    busy = true;
                    counted += measure(|| {
                        broker.hear(peer, &reaction.answers);
                        broker.flush();
                    });
                }
            }
        }
        Count { deliveries, allocations: counted.count_total }
    }
}

#[track_caller]
fn assert_allocates_nothing(scene: Scene) {
    let deliveries = scene.takers.len() * usize::from(BATCH) * COUNTED;

    assert_eq!(scene.run(), Count { deliveries, allocations: 0 });
}

/// What is counted is counted at all.
#[test]
fn an_allocation_is_noticed() {
    let counted = measure(|| drop(std::hint::black_box(Box::new(7))));

    assert_eq!(counted.count_total, 1);
}

#[test]
fn a_run_of_publications_allocates_nothing() {
    let bytes = Batch::new(&["meter/7"], BATCH).encode();

    assert_allocates_nothing(Scene::new(1, "meter/7", QoS::AtMostOnce, bytes));
}

/// Topics by turns are no run: each message is routed by itself.
#[test]
fn single_publications_allocate_nothing() {
    for user_properties in [0, 3] {
        let batch = Batch { user_properties, ..Batch::new(&["meter/7", "meter/8"], BATCH) };

        assert_allocates_nothing(Scene::new(1, "meter/+", QoS::AtMostOnce, batch.encode()));
    }
}

/// Those of the other version than the publisher's get each packet encoded anew.
#[test]
fn a_fan_out_to_both_versions_allocates_nothing() {
    for topics in [&["meter/7"][..], &["meter/7", "meter/8"]] {
        let bytes = Batch { user_properties: 1, ..Batch::new(topics, BATCH) }.encode();

        assert_allocates_nothing(Scene::new(50, "meter/+", QoS::AtMostOnce, bytes));
    }
}

/// More topics than a connection remembers, fewer than a worker does.
#[test]
fn matches_of_wildcards_from_the_cache_allocate_nothing() {
    let names: Vec<String> = (0..BATCH).map(|number| format!("site/{number}/kw")).collect();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    let batch = Batch { version: V311, ..Batch::new(&topics, BATCH) };

    for filter in ["site/+/kw", "site/#", "#", "$share/group/site/#"] {
        let mut scene = Scene::new(1, filter, QoS::AtMostOnce, batch.encode());
        scene.publisher = scene.broker.join(V311, "publisher of 3.1.1", 0);

        assert_allocates_nothing(scene);
    }
}

#[test]
fn topic_aliases_allocate_nothing() {
    let bytes = Batch::new(&["meter/7", "meter/8"], BATCH).encode();
    let mut scene = Scene::new(0, "", QoS::AtMostOnce, bytes);
    let mut taker = scene.broker.join(V5, "taker", 16);
    scene.broker.subscribe(&mut taker, "meter/#", QoS::AtMostOnce);
    scene.takers.push(taker);

    assert_allocates_nothing(scene);
}

/// Nobody has to keep a message that is delivered at QoS 0, whatever it was published with.
#[test]
fn a_publication_above_qos_0_to_takers_at_qos_0_allocates_nothing() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let batch = Batch { qos, ..Batch::new(&["meter/7"], BATCH) };

        assert_allocates_nothing(Scene::new(2, "meter/7", QoS::AtMostOnce, batch.encode()));
    }
}

/// One message and its payload, for all that have to keep them.
#[test]
fn what_is_allocated_above_qos_0_does_not_grow_with_the_takers() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for takers in [1, 50] {
            let batch = Batch { qos, ..Batch::new(&["meter/7"], BATCH) };
            let count = Scene::new(takers, "meter/7", qos, batch.encode()).run();

            let messages = usize::from(BATCH) * COUNTED;
            assert_eq!(count.deliveries, messages * takers);
            assert_eq!(count.allocations, ALLOCATIONS_OF_A_KEPT_MESSAGE * messages as u64);
        }
    }
}

/// A payload that is too long to be copied is shared, but what stands before it in each packet is a
/// segment of its own.
#[test]
fn a_long_payload_allocates_little_for_each_taker() {
    let batch = Batch { payload_bytes: 8_192, ..Batch::new(&["meter/7"], 16) };
    let count = Scene::new(50, "meter/7", QoS::AtMostOnce, batch.encode()).run();

    let each = count.allocations as f64 / count.deliveries as f64;
    assert!(each <= ALLOCATIONS_OF_A_LONG_DELIVERY_MAX, "{each} a delivery");
}
