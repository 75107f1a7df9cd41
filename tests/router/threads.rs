//! Two workers at once: publishing to each other, and taking over in the middle of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::Waker;
use std::thread;
use std::time::Instant;

use dunlin::change::{Keeps, Subscription};
use dunlin::packet::{QoS, RetainHandling};
use dunlin::router::{Acknowledged, Courier, Ending, Flags, Flushing, Leave, Origin, Router, Step};
use dunlin::topic::SubscriptionFilter;

use crate::support::{
    Connecting, ONE, Peer, TWO, World, client, connect, draft, durable, id, moment, options,
    publish, retained, router_limits, words,
};

/// Rounds of each thread: enough to meet, few enough to be quick.
const ROUNDS: usize = 10_000;

/// A worker of its own, on its own thread.
struct Worker {
    router: Arc<Router>,
    courier: Courier,
    flushing: Flushing,
}

impl Worker {
    fn new(router: &Arc<Router>, index: usize) -> Self {
        let courier = Courier::new(router.metrics().worker(index), moment(Instant::now()));
        Self { router: Arc::clone(router), courier, flushing: Flushing::default() }
    }

    fn flush(&mut self) {
        let waker = Waker::noop();
        while self.router.flush_dirty(&mut self.courier, &mut self.flushing, waker) {}
    }

    /// Reads what came and acknowledges it: how many messages that were.
    fn read(&mut self, peer: &Peer) -> usize {
        let mut messages = 0;
        for word in peer.read() {
            let Some((_, rest)) = word.split_once('#') else { continue };
            messages += 1;
            let value = rest.split(' ').next().unwrap().parse().unwrap();
            let acknowledged = Acknowledged::PubAck(id(value));
            let acknowledging =
                self.router.acknowledge(&mut self.courier, &peer.attachment, [acknowledged]);
            acknowledging.unwrap();
        }
        messages
    }

    /// The same, remembering the payloads, with half a packet left for the next time.
    fn take(&mut self, peer: &Peer, got: &Mutex<BTreeSet<String>>) {
        self.flush();
        for word in peer.read() {
            let Some((publish, rest)) = word.split_once(" q1#") else { continue };
            got.lock().unwrap().insert(publish.to_owned());
            let value = rest.split(' ').next().unwrap().parse().unwrap();
            let acknowledged = Acknowledged::PubAck(id(value));
            self.router.acknowledge(&mut self.courier, &peer.attachment, [acknowledged]).unwrap();
        }
    }
}

#[test]
fn two_that_publish_to_each_other_at_full_speed_both_come_to_an_end() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "to/a", ONE);
    let b = world.subscriber(client("b"), "to/b", ONE);
    let got = AtomicUsize::new(0);

    thread::scope(|scope| {
        for (index, own, other) in [(0, &a, "to/b"), (1, &b, "to/a")] {
            let (router, got) = (&world.router, &got);
            scope.spawn(move || {
                let mut worker = Worker::new(router, index);
                for _ in 0..ROUNDS {
                    let origin = Origin::Refusable(&own.attachment);
                    let draft = draft(other, "x", ONE);
                    let router = Arc::clone(&worker.router);
                    let outcome = publish(&router, &mut worker.courier, origin, &draft).unwrap();
                    assert_eq!((outcome.takers, outcome.refused), (1, 0));
                    worker.flush();
                    got.fetch_add(worker.read(own), Ordering::Relaxed);
                }
                while got.load(Ordering::Relaxed) < 2 * ROUNDS {
                    worker.flush();
                    got.fetch_add(worker.read(own), Ordering::Relaxed);
                    thread::yield_now();
                }
            });
        }
    });

    assert_eq!(got.into_inner(), 2 * ROUNDS);
    assert_eq!(world.metrics.amount(|counters| &counters.session_bytes), 0);
}

#[test]
fn several_writers_to_one_client_never_mix_their_packets() {
    let mut limits = router_limits();
    limits.outbound.soft_bytes_max = 8 * 1024 * 1024;
    let mut world = World::with(limits, Keeps::Nothing);
    let reader = world.subscriber(client("reader"), "t", ONE);
    let reader_durable =
        world.subscriber(Connecting { receive_maximum: 65_535, ..durable("durable") }, "t", TWO);
    reader.wire.set_at_once(700);
    let publishers = [world.join(client("p0")), world.join(client("p1"))];

    thread::scope(|scope| {
        for (index, publisher) in publishers.iter().enumerate() {
            let router = &world.router;
            scope.spawn(move || {
                let mut worker = Worker::new(router, index);
                let text = index.to_string();
                let small = text.repeat(40);
                let large = text.repeat(1_500);
                let router = Arc::clone(&worker.router);
                for round in 0..300 {
                    let text = if round % 3 == 0 { &large } else { &small };
                    let origin = Origin::Refusable(&publisher.attachment);
                    let draft = draft("t", text, QoS::AtMostOnce);
                    publish(&router, &mut worker.courier, origin, &draft).unwrap();
                    worker.flush();
                }
            });
        }
    });
    world.flush();

    for peer in [&reader, &reader_durable] {
        let stream = words(&peer.wire.take(), peer.version);
        for index in ["0", "1"] {
            let sizes: Vec<_> = stream
                .iter()
                .filter(|word| word.ends_with(index))
                .map(|word| word.contains("1500*"))
                .collect();
            let expected: Vec<_> = (0..300).map(|round| round % 3 == 0).collect();
            assert_eq!(sizes, expected, "of publisher {index}");
        }
    }
}

// [MQTT-3.1.4-3]: whoever takes over, each message arrives at least once and nobody waits for ever.
#[test]
fn taking_over_under_traffic_loses_no_qos_1_message() {
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let first = world.subscriber(durable("a"), "t", ONE);
    const TAKEOVERS: usize = 1_000;

    let seen = thread::scope(|scope| {
        let router = &world.router;
        let publishing = scope.spawn(move || {
            let mut worker = Worker::new(router, 0);
            let router = Arc::clone(&worker.router);
            for number in 0..ROUNDS {
                let text = number.to_string();
                let origin = Origin::Refusable(&publisher.attachment);
                let outcome =
                    publish(&router, &mut worker.courier, origin, &draft("t", &text, ONE)).unwrap();
                assert_eq!(outcome.refused, 0);
                worker.flush();
            }
        });
        let taking = scope.spawn(move || {
            let mut worker = Worker::new(router, 1);
            let mut seen = vec![0_usize; ROUNDS];
            let mut current = first;
            let mut takeovers = 0;
            loop {
                let done = publishing.is_finished();
                worker.flush();
                let stream = current.wire.take();
                let got = words(&stream, current.version);
                for word in &got {
                    note(word, &mut seen);
                    acknowledge(&mut worker, &current, word);
                }
                if takeovers < TAKEOVERS {
                    takeovers += 1;
                    let router = Arc::clone(&worker.router);
                    let new = connect(&router, &mut worker.courier, durable("a"), 9);
                    assert!(new.session_present && new.took_over);
                    assert!(current.raised(Flags::SUPERSEDED));
                    let left =
                        router.leave(&mut worker.courier, &current.attachment, Ending::Lost, &[]);
                    assert!(matches!(left, Leave::Superseded));
                    current = new;
                } else if done && seen.iter().all(|count| *count > 0) {
                    return seen;
                }
            }
        });
        taking.join().unwrap()
    });

    assert!(seen.iter().all(|count| *count > 0));
    assert_eq!(world.metrics.sessions.value(), 2);
}

fn note(word: &str, seen: &mut [usize]) {
    if let Some(rest) = word.strip_prefix("t:") {
        let number: usize = rest.split(' ').next().unwrap().parse().unwrap();
        seen[number] += 1;
    }
}

fn acknowledge(worker: &mut Worker, peer: &Peer, word: &str) {
    let Some((_, rest)) = word.split_once(" q1#") else { return };
    let value = rest.split(' ').next().unwrap().parse().unwrap();
    let acknowledged = Acknowledged::PubAck(id(value));
    let router = Arc::clone(&worker.router);
    router.acknowledge(&mut worker.courier, &peer.attachment, [acknowledged]).unwrap();
}

/// Sessions of others that take the message, so that looking the takers up takes its time. They are
/// away, so that handing it on takes none.
fn crowd(world: &mut World, filter: &str) {
    const CROWD: usize = 20_000;
    for number in 0..CROWD {
        let name: &'static str = Box::leak(format!("c{number}").into_boxed_str());
        let peer = world.subscriber(durable(name), filter, QoS::AtMostOnce);
        world.lose(&peer);
    }
}

fn always() -> Subscription {
    let mut options = options(QoS::AtMostOnce);
    options.retain_handling = RetainHandling::Always;
    Subscription { options, id: None }
}

// [MQTT-3.3.1-9]: live or retained, but never neither.
#[test]
fn who_subscribes_while_a_message_is_published_gets_it_one_way_or_the_other() {
    const ROUNDS: usize = 100;
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    crowd(&mut world, "r/#");
    let (start, end) = (Barrier::new(2), Barrier::new(2));

    thread::scope(|scope| {
        let (router, metrics, start, end) = (&world.router, &world.metrics, &start, &end);
        scope.spawn(move || {
            let mut worker = Worker::new(router, 0);
            for round in 0..ROUNDS {
                let text = format!("<{round}>");
                start.wait();
                let origin = Origin::Refusable(&publisher.attachment);
                let draft = retained("r/1", &text);
                publish(router, &mut worker.courier, origin, &draft).unwrap();
                worker.flush();
                end.wait();
            }
        });
        scope.spawn(move || {
            let mut worker = Worker::new(router, 1);
            let filter = SubscriptionFilter::parse("r/1").unwrap();
            // A failure in between would leave the publisher waiting.
            let mut missed = 0;
            for round in 0..ROUNDS {
                let fresh = connect(router, &mut worker.courier, client("fresh"), 1);
                start.wait();
                // From here on the publisher is in the middle of it.
                while metrics.total(|counters| &counters.publishes_received) == round as u64 {
                    std::hint::spin_loop();
                }
                let subscribed =
                    router.subscribe(&mut worker.courier, &fresh.attachment, &filter, always());
                subscribed.unwrap().result.unwrap();
                while router.replay(&mut worker.courier, &fresh.attachment) == Step::More {}
                worker.flush();
                end.wait();
                worker.flush();
                let wanted = format!(":<{round}>");
                missed += usize::from(!fresh.read().iter().any(|word| word.contains(&wanted)));
                router.leave(&mut worker.courier, &fresh.attachment, Ending::Lost, &[]);
            }
            assert_eq!(missed, 0);
        });
    });
}

// Only what is really on its way is newer than a retained value that was read before it.
#[test]
fn a_live_message_that_was_dropped_does_not_hide_the_retained_one() {
    const ROUNDS: usize = 200;
    const TOPICS: usize = 100;
    let mut limits = router_limits();
    // Less than one message: behind one that is unwritten all others are dropped.
    limits.outbound.soft_bytes_max = 1_000;
    let mut world = World::with(limits, Keeps::Nothing);
    let publisher = world.join(client("publisher"));
    let topics: Vec<_> = (0..TOPICS).map(|number| format!("r/{number}")).collect();
    let text = "x".repeat(1_000);
    for topic in &topics {
        world.publish(&publisher, &retained(topic, &text));
    }
    let over = AtomicBool::new(false);

    thread::scope(|scope| {
        let (router, over, text, topics) = (&world.router, &over, &text, &topics);
        scope.spawn(move || {
            let mut worker = Worker::new(router, 0);
            while !over.load(Ordering::Relaxed) {
                for topic in topics {
                    let origin = Origin::Refusable(&publisher.attachment);
                    publish(router, &mut worker.courier, origin, &retained(topic, text)).unwrap();
                }
                worker.flush();
            }
        });
        scope.spawn(move || {
            let mut worker = Worker::new(router, 1);
            let filter = SubscriptionFilter::parse("r/+").unwrap();
            let mut missed = 0;
            for _ in 0..ROUNDS {
                let fresh = connect(router, &mut worker.courier, client("fresh"), 1);
                worker.flush();
                fresh.wire.set_room(0);
                let none = dunlin::change::CommitNumber::NONE;
                router.answer(&mut worker.courier, &fresh.attachment, &[0xE0, 0], none);
                let subscribed =
                    router.subscribe(&mut worker.courier, &fresh.attachment, &filter, always());
                subscribed.unwrap().result.unwrap();
                while router.replay(&mut worker.courier, &fresh.attachment) == Step::More {}
                fresh.wire.set_room(usize::MAX);
                router.flush_unblocked(&mut worker.courier, &fresh.attachment);
                worker.flush();
                let words = fresh.read();
                let came = |topic: &str| words.iter().any(|word| word.starts_with(topic));
                missed += topics.iter().filter(|topic| !came(&format!("{topic}:"))).count();
                router.leave(&mut worker.courier, &fresh.attachment, Ending::Lost, &[]);
            }
            over.store(true, Ordering::Relaxed);
            assert_eq!(missed, 0);
        });
    });
}

// A message that waits beside a member that could take it would wait for ever: nothing else comes.
#[test]
fn a_group_under_two_workers_loses_nothing_and_forgets_nothing() {
    const FILTER: &str = "$share/g/t";
    let mut world = World::new();
    let publisher = world.join(client("publisher"));
    let narrow = |name| Connecting { receive_maximum: 2, ..client(name) };
    let stays = world.subscriber(narrow("stays"), FILTER, ONE);
    let got = Mutex::new(BTreeSet::new());

    thread::scope(|scope| {
        let router = &world.router;
        scope.spawn(|| {
            let mut worker = Worker::new(router, 0);
            for number in 0..ROUNDS {
                let origin = Origin::Refusable(&publisher.attachment);
                let text = number.to_string();
                publish(router, &mut worker.courier, origin, &draft("t", &text, ONE)).unwrap();
                worker.flush();
            }
            while got.lock().unwrap().len() < ROUNDS {
                worker.take(&stays, &got);
                thread::yield_now();
            }
        });
        scope.spawn(|| {
            let mut worker = Worker::new(router, 1);
            let filter = SubscriptionFilter::parse(FILTER).unwrap();
            let subscription = Subscription { options: options(ONE), id: None };
            let mut round = 0;
            while got.lock().unwrap().len() < ROUNDS {
                let leaves = connect(router, &mut worker.courier, narrow("leaves"), 2 + round);
                let peer = &leaves.attachment;
                router.subscribe(&mut worker.courier, peer, &filter, subscription).unwrap();
                for _ in 0..10 {
                    worker.take(&leaves, &got);
                    worker.take(&stays, &got);
                }
                worker.flush();
                while let Leave::Busy = router.leave(&mut worker.courier, peer, Ending::Lost, &[]) {
                    thread::yield_now();
                }
                worker.take(&stays, &got);
                round += 1;
            }
        });
    });

    assert_eq!(world.metrics.amount(|counters| &counters.session_bytes), 0);
    assert_eq!(world.metrics.total(|counters| &counters.dropped_ended), 0);
    assert_eq!(world.router.groups()[0].waiting, 0);
}
