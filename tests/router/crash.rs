//! A process that is killed at any moment, between a publisher and a subscriber that know the
//! standard: what was acknowledged comes, at QoS 2 once, and in order.
//!
//! The store keeps late; what it has not kept is gone. All of it follows from one seed.

use std::collections::{BTreeSet, HashSet};

use dunlin::change::Keeps;
use dunlin::packet::QoS;
use dunlin::router::Ending;

use crate::support::{Connecting, ONE, TWO, V5, World, durable, id, options, router_limits};
use crate::talk::{Talk, at_qos, puback, pubcomp, publish, pubrec, pubrel};

const SEEDS: u64 = 300;
const STEPS: usize = 400;

/// Small numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A message that is not acknowledged to its end.
#[derive(Debug)]
struct Open {
    id: u16,
    qos: QoS,
    number: u64,
    /// PUBREC came.
    released: bool,
}

#[derive(Default)]
struct Publisher {
    talk: Option<Talk>,
    connected: bool,
    open: Vec<Open>,
    next_id: u16,
    published: u64,
}

#[derive(Default)]
struct Subscriber {
    talk: Option<Talk>,
    /// Packet Identifiers of QoS 2 whose PUBREL has not come.
    known: HashSet<u16>,
    taken: Vec<(QoS, u64)>,
}

struct Killed {
    world: World,
    random: Random,
    publisher: Publisher,
    subscriber: Subscriber,
}

fn subscriber() -> Connecting {
    Connecting { receive_maximum: 5, ..durable("subscriber") }
}

impl Killed {
    fn new(seed: u64) -> Self {
        let mut world = World::with(router_limits(), Keeps::Changes);
        let peer = world.join(subscriber());
        world.subscribe(&peer, "t", options(TWO));
        world.lose(&peer);
        let peer = world.join(durable("publisher"));
        world.lose(&peer);
        world.journal.keep_all();
        let (publisher, subscriber) = (Publisher::default(), Subscriber::default());
        Self { world, random: Random(seed), publisher, subscriber }
    }

    fn step(&mut self) {
        match self.random.below(40) {
            0..14 => self.publish(),
            14..20 => {
                let (kept, submitted) =
                    (self.world.journal.kept_number(), self.world.journal.submitted());
                let more = self.random.below(submitted - kept + 1);
                self.world.journal.keep_up_to(kept + more);
            }
            20..28 => self.publisher_reads(),
            28..36 => self.subscriber_reads(),
            36 => self.lose(),
            37 => self.kill(),
            _ => self.connect(),
        }
    }

    fn connect(&mut self) {
        if self.publisher.talk.is_none() {
            self.publisher.talk = Some(self.world.talk(durable("publisher")));
            self.publisher.connected = false;
        }
        if self.subscriber.talk.is_none() {
            self.subscriber.talk = Some(self.world.talk(subscriber()));
        }
    }

    /// One of the connections breaks.
    fn lose(&mut self) {
        let talk = if self.random.below(2) == 0 {
            self.publisher.talk.take()
        } else {
            self.subscriber.talk.take()
        };
        if let Some(talk) = talk {
            self.world.leave(&talk.peer, Ending::Lost);
        }
    }

    fn kill(&mut self) {
        (self.publisher.talk, self.subscriber.talk) = (None, None);
        self.world.restart();
    }

    fn publish(&mut self) {
        let publisher = &mut self.publisher;
        if !publisher.connected || publisher.talk.is_none() || publisher.open.len() > 20 {
            return;
        }
        publisher.published += 1;
        publisher.next_id = publisher.next_id % 60_000 + 1;
        let qos = if self.random.below(2) == 0 { ONE } else { TWO };
        let open =
            Open { id: publisher.next_id, qos, number: publisher.published, released: false };
        publisher.say(&mut self.world, &open, false);
        publisher.open.push(open);
    }

    fn publisher_reads(&mut self) {
        let Publisher { talk: Some(talk), open, connected, .. } = &mut self.publisher else {
            return;
        };
        self.world.release(&talk.peer);
        for word in talk.peer.read() {
            let (kind, rest) = word.split_once(' ').unwrap_or((&word, ""));
            match kind {
                "connack" => {
                    assert_eq!(rest, "present");
                    *connected = true;
                    let all = std::mem::take(open);
                    for open in &all {
                        say(&mut self.world, talk, open, true);
                    }
                    *open = all;
                }
                // PUBCOMP also with 0x92, if the first one was lost.
                "puback" | "pubcomp" => {
                    let value: u16 = rest.split(' ').next().unwrap().parse().unwrap();
                    open.retain(|open| open.id != value);
                }
                "pubrec" => {
                    let value: u16 = rest.parse().unwrap();
                    open.iter_mut()
                        .filter(|open| open.id == value)
                        .for_each(|it| it.released = true);
                    self.world.say(talk, &pubrel(V5, id(value))).unwrap();
                }
                _ => panic!("{word} to a publisher"),
            }
        }
    }

    fn subscriber_reads(&mut self) {
        let Subscriber { talk: Some(talk), known, taken } = &mut self.subscriber else { return };
        self.world.release(&talk.peer);
        for word in talk.peer.read() {
            if word == "connack present" {
                continue;
            }
            if let Some(value) = word.strip_prefix("pubrel ") {
                let value: u16 = value.parse().unwrap();
                known.remove(&value);
                self.world.say(talk, &pubcomp(V5, id(value))).unwrap();
                continue;
            }
            let (number, rest) = word.strip_prefix("t:").unwrap().split_once(' ').unwrap();
            let (qos, value) = rest.trim_end_matches(" dup").split_once('#').unwrap();
            let (number, value): (u64, u16) = (number.parse().unwrap(), value.parse().unwrap());
            if qos == "q1" {
                taken.push((ONE, number));
                self.world.say(talk, &puback(V5, id(value))).unwrap();
            } else {
                if known.insert(value) {
                    taken.push((TWO, number));
                }
                self.world.say(talk, &pubrec(V5, id(value))).unwrap();
            }
        }
    }

    /// Nothing more goes wrong.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            self.connect();
            self.world.journal.keep_all();
            self.publisher_reads();
            self.subscriber_reads();
        }
        assert!(self.publisher.open.is_empty(), "not acknowledged: {:?}", self.publisher.open);
    }

    fn check(&self, seed: u64) {
        let taken = &self.subscriber.taken;
        let got: BTreeSet<u64> = taken.iter().map(|(_, number)| *number).collect();
        let lost: Vec<_> =
            (1..=self.publisher.published).filter(|number| !got.contains(number)).collect();
        assert!(lost.is_empty(), "seed {seed}: lost {lost:?}");
        for qos in [ONE, TWO] {
            let mut seen = BTreeSet::new();
            for (_, number) in taken.iter().filter(|(at, _)| *at == qos) {
                let newest = seen.last().copied().unwrap_or(0);
                let first = seen.insert(*number);
                assert!(first || qos == ONE, "seed {seed}: {number} twice at QoS 2");
                assert!(!first || *number > newest, "seed {seed}: {number} after {newest}");
            }
        }
    }
}

impl Publisher {
    fn say(&mut self, world: &mut World, open: &Open, dup: bool) {
        if let Some(talk) = &mut self.talk {
            say(world, talk, open, dup);
        }
    }
}

fn say(world: &mut World, talk: &mut Talk, open: &Open, dup: bool) {
    let packet = if open.released {
        pubrel(V5, id(open.id))
    } else {
        publish(V5, at_qos(open.qos, id(open.id), dup), &open.number.to_string())
    };
    world.say(talk, &packet).unwrap();
}

// [MQTT-4.3.2-3] [MQTT-4.3.3-6] [MQTT-4.4.0-1] [MQTT-4.6.0-5]
#[test]
fn whenever_it_is_killed_what_was_acknowledged_comes_and_at_qos_2_once() {
    let mut published = 0;
    for seed in 0..SEEDS {
        let mut killed = Killed::new(seed);
        for _ in 0..STEPS {
            killed.step();
        }
        killed.settle();
        killed.check(seed);
        published += killed.publisher.published;
    }
    assert!(published > 30 * SEEDS, "too little happens: {published}");
}
