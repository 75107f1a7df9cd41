//! Topics named by numbers, to clients that allow it.

use std::collections::HashMap;

use dunlin::change::Keeps;
use dunlin::packet::{Framing, QoS, ReasonCode, SubscriptionOptions, frame};
use dunlin::router::Acknowledged;
use proptest::prelude::*;

use crate::support::{
    Connecting, Draft, ONE, Peer, TWO, V311, World, ZERO, client, draft, durable, id, options,
    retained, router_limits, subscription_id, words,
};

fn aliasing(connecting: Connecting, topic_alias_maximum: u16) -> Connecting {
    Connecting { topic_alias_maximum, ..connecting }
}

/// A subscriber of everything.
fn taker(world: &mut World, topic_alias_maximum: u16, qos: QoS) -> Peer {
    world.subscriber(aliasing(client("taker"), topic_alias_maximum), "#", qos)
}

// 5.0 s3.3.2.3.4
#[test]
fn the_second_packet_of_a_topic_has_its_alias_alone() {
    let mut world = World::new();
    let taker = taker(&mut world, 4, TWO);

    for (topic, qos) in [("topic/a", ZERO), ("topic/b", ONE)] {
        world.publish(&taker, &draft(topic, "x", qos));
        world.publish(&taker, &draft(topic, "y", qos));
    }
    world.flush();

    let expected = ["topic/a:x alias1", ":y alias1", "topic/b:x q1#1 alias2", ":y q1#2 alias2"];
    assert_eq!(taker.read(), expected);
}

// [MQTT-3.1.2-27]
#[test]
fn a_client_that_allows_no_alias_gets_none() {
    let mut world = World::new();
    let none = world.subscriber(client("none"), "#", ZERO);
    let old = world.subscriber(Connecting { version: V311, ..client("old") }, "#", ZERO);
    let aliasing = taker(&mut world, 4, ZERO);

    for _ in 0..2 {
        world.publish(&none, &draft("topic/a", "x", ZERO));
    }
    world.flush();

    assert_eq!(none.read(), ["topic/a:x", "topic/a:x"]);
    assert_eq!(old.read(), ["topic/a:x", "topic/a:x"]);
    assert_eq!(aliasing.read(), ["topic/a:x alias1", ":x alias1"]);
}

// [MQTT-3.1.2-26]
#[test]
fn no_alias_is_above_the_maximum_and_the_others_go_by_name() {
    let mut world = World::new();
    let taker = taker(&mut world, 2, ZERO);

    for topic in ["topic/a", "topic/b", "topic/c", "topic/c", "topic/a"] {
        world.publish(&taker, &draft(topic, "x", ZERO));
    }
    world.flush();

    let expected = ["topic/a:x alias1", "topic/b:x alias2", "topic/c:x", "topic/c:x", ":x alias1"];
    assert_eq!(taker.read(), expected);
}

#[test]
fn a_topic_shorter_than_an_alias_goes_by_name() {
    let mut world = World::new();
    let taker = taker(&mut world, 2, ZERO);

    for _ in 0..2 {
        world.publish(&taker, &draft("abcd", "x", ZERO));
    }
    world.flush();

    assert_eq!(taker.read(), ["abcd:x", "abcd:x"]);
}

#[test]
fn an_alias_leaves_everything_else_of_a_packet_as_it_is() {
    let mut world = World::new();
    let options = SubscriptionOptions { retain_as_published: true, ..options(ONE) };
    let taker = world.join(aliasing(client("taker"), 4));
    world.subscribe_as(&taker, "#", options, subscription_id(7));
    let large = "z".repeat(3_000);
    let draft = Draft { retain: true, expiry: Some(9), ..draft("topic/a", &large, ONE) };

    for _ in 0..2 {
        world.publish(&taker, &draft);
    }
    world.flush();

    let expected = [
        "topic/a:3000*z q1#1 retain ids7 expiry9 alias1",
        ":3000*z q1#2 retain ids7 expiry9 alias1",
    ];
    assert_eq!(taker.read(), expected);
}

#[test]
fn messages_that_waited_in_the_queue_use_aliases_too() {
    let mut world = World::new();
    let connecting = Connecting { receive_maximum: 1, ..aliasing(client("taker"), 4) };
    let taker = world.subscriber(connecting, "#", ONE);
    for text in ["a", "b", "c"] {
        world.publish(&taker, &draft("topic/a", text, ONE));
    }

    for number in 1..=3 {
        world.flush();
        world.puback(&taker, number);
    }

    let expected = ["topic/a:a q1#1 alias1", ":b q1#2 alias1", ":c q1#3 alias1"];
    assert_eq!(taker.read(), expected);
}

#[test]
fn retained_messages_use_aliases_too() {
    let mut world = World::new();
    let taker = world.join(aliasing(client("taker"), 4));
    world.publish(&taker, &retained("topic/a", "old"));
    world.subscribe(&taker, "topic/+", SubscriptionOptions::new(ONE));
    world.replay(&taker);

    world.publish(&taker, &retained("topic/a", "new"));
    world.flush();

    assert_eq!(taker.read(), ["topic/a:old retain alias1", ":new alias1"]);
}

// MQTT.js forgets the topic until the PUBREL.
#[test]
fn a_packet_of_qos_2_goes_by_name() {
    let mut world = World::new();
    let connecting = Connecting { receive_maximum: 3, ..aliasing(client("taker"), 4) };
    let taker = world.subscriber(connecting, "#", TWO);

    for (text, qos) in [("a", TWO), ("b", ONE), ("c", TWO), ("queued", TWO)] {
        world.publish(&taker, &draft("topic/a", text, qos));
    }
    world.puback(&taker, 2);
    world.flush();

    let expected =
        ["topic/a:a q2#1", "topic/a:b q1#2 alias1", "topic/a:c q2#3", "topic/a:queued q2#4"];
    assert_eq!(taker.read(), expected);
}

// What is not held overtakes it.
#[test]
fn a_packet_that_is_held_neither_sets_nor_uses_an_alias() {
    let mut world = World::with(router_limits(), Keeps::Changes);
    let taker = world.subscriber(aliasing(durable("taker"), 4), "#", TWO);

    world.publish(&taker, &draft("topic/a", "two", TWO));
    world.publish(&taker, &draft("topic/a", "one", ONE));
    world.publish(&taker, &draft("topic/a", "again", TWO));
    world.publish(&taker, &draft("topic/a", "zero", ZERO));
    world.flush();
    assert_eq!(taker.read(), ["topic/a:one q1#2 alias1", ":zero alias1"]);

    world.journal.keep_all();
    world.release(&taker);
    assert_eq!(taker.read(), ["topic/a:two q2#1", "topic/a:again q2#3"]);
}

#[test]
fn a_packet_from_the_queue_that_is_held_neither_sets_nor_uses_an_alias() {
    let mut world = World::with(router_limits(), Keeps::Changes);
    let connecting = Connecting { receive_maximum: 1, ..aliasing(durable("taker"), 4) };
    let taker = world.subscriber(connecting, "#", TWO);
    for text in ["first", "second"] {
        world.publish(&taker, &draft("topic/a", text, TWO));
    }
    world.acknowledge(&taker, Acknowledged::PubRec(id(1), ReasonCode::QuotaExceeded));

    world.publish(&taker, &draft("topic/a", "zero", ZERO));
    world.flush();
    assert_eq!(taker.read(), ["topic/a:zero alias1"]);

    world.journal.keep_all();
    world.release(&taker);
    assert_eq!(taker.read(), ["topic/a:first q2#1", "topic/a:second q2#2"]);
}

#[test]
fn a_message_that_is_dropped_has_set_no_alias() {
    let mut limits = router_limits();
    limits.outbound.soft_bytes_max = 100;
    let mut world = World::with(limits, Keeps::Nothing);
    let taker = taker(&mut world, 4, ZERO);
    taker.wire.set_room(0);
    let filling = "f".repeat(100);
    world.publish(&taker, &draft("topic/a", &filling, ZERO));
    world.publish(&taker, &draft("topic/b", "dropped", ZERO));
    world.flush();

    taker.wire.set_room(usize::MAX);
    world.unblock(&taker);
    world.publish(&taker, &draft("topic/b", "x", ZERO));
    world.publish(&taker, &draft("topic/b", "y", ZERO));
    world.flush();

    let expected = ["topic/a:100*f alias1", "topic/b:x alias2", ":y alias2"];
    assert_eq!(taker.read(), expected);
}

// [MQTT-3.1.2-24]
#[test]
fn a_packet_that_an_alias_would_make_too_large_goes_without() {
    const NAMED: usize = 2 + 2 + 7 + 1 + 50;
    const SETTING_MAX: usize = 5;
    for (maximum_packet_size, expected) in [
        (NAMED - 1, vec![]),
        (NAMED, vec!["topic/a:50*x", "topic/a:50*x"]),
        (NAMED + SETTING_MAX - 1, vec!["topic/a:50*x", "topic/a:50*x"]),
        (NAMED + SETTING_MAX, vec!["topic/a:50*x alias1", ":50*x alias1"]),
    ] {
        for qos in [ZERO, ONE] {
            let mut world = World::new();
            let id_bytes = if qos == ONE { 2 } else { 0 };
            let maximum_packet_size = maximum_packet_size + id_bytes;
            let connecting = Connecting { maximum_packet_size, ..aliasing(client("taker"), 4) };
            let taker = world.subscriber(connecting, "#", qos);

            for _ in 0..2 {
                world.publish(&taker, &draft("topic/a", &"x".repeat(50), qos));
            }
            world.flush();

            let words = taker.read();
            let words = words.iter().map(|word| word.replace(" q1#1", "").replace(" q1#2", ""));
            assert_eq!(words.collect::<Vec<_>>(), expected, "{maximum_packet_size} bytes");
        }
    }
}

// [MQTT-3.3.2-7]
#[test]
fn aliases_end_with_their_connection() {
    let mut world = World::new();
    let first = world.subscriber(aliasing(durable("taker"), 4), "#", ONE);
    for (topic, text) in [("topic/a", "x"), ("topic/b", "y"), ("topic/b", "z")] {
        world.publish(&first, &draft(topic, text, ONE));
    }
    world.flush();
    first.read();

    let second = world.connect(aliasing(durable("taker"), 1));
    world.flush();
    let expected = [
        "connack present",
        "topic/a:x q1#1 dup alias1",
        "topic/b:y q1#2 dup",
        "topic/b:z q1#3 dup",
    ];
    assert_eq!(second.read(), expected);

    let third = world.connect(durable("taker"));
    world.flush();
    let expected =
        ["connack present", "topic/a:x q1#1 dup", "topic/b:y q1#2 dup", "topic/b:z q1#3 dup"];
    assert_eq!(third.read(), expected);
}

#[derive(Clone, Debug)]
enum Operation {
    Publish { topic: usize, qos: QoS, bytes: usize },
    Acknowledge,
    Keep,
    SetRoom(usize),
    Reconnect(u16),
}

fn operation() -> impl Strategy<Value = Operation> {
    let qos = prop_oneof![Just(ZERO), Just(ONE), Just(TWO)];
    let room = prop_oneof![Just(0), 1..200_usize, Just(usize::MAX)];
    prop_oneof![
        16 => (0..12_usize, qos, 0..120_usize)
            .prop_map(|(topic, qos, bytes)| Operation::Publish { topic, qos, bytes }),
        4 => Just(Operation::Acknowledge),
        2 => Just(Operation::Keep),
        2 => room.prop_map(Operation::SetRoom),
        1 => (0..6_u16).prop_map(Operation::Reconnect),
    ]
}

/// What a client that resolves aliases makes of what it reads.
#[derive(Debug, Default)]
struct Resolver {
    bytes: Vec<u8>,
    topics: HashMap<String, String>,
    /// Not acknowledged yet.
    open: Vec<(u16, QoS)>,
}

impl Resolver {
    fn read(&mut self, peer: &Peer, maximum: u16) {
        self.bytes.extend(peer.wire.take());
        while let Framing::Complete(packet) = frame(&self.bytes, 1 << 20).unwrap() {
            let packet: Vec<u8> = self.bytes.drain(..packet.length).collect();
            for word in words(&packet, peer.version) {
                self.read_word(&word, maximum);
            }
        }
    }

    fn read_word(&mut self, word: &str, maximum: u16) {
        let Some((name, rest)) = word.split_once(':') else { return };
        let mut fields = rest.split(' ');
        let payload = fields.next().unwrap();
        let mut topic = name.to_owned();
        for field in fields {
            if let Some(alias) = field.strip_prefix("alias") {
                assert!((1..=maximum).contains(&alias.parse().unwrap()), "{word}");
                match name {
                    "" => topic = self.topics[alias].clone(),
                    name => drop(self.topics.insert(alias.to_owned(), name.to_owned())),
                }
            } else if let Some((qos, id)) = field.split_once('#') {
                let qos = if qos == "q1" { ONE } else { TWO };
                self.open.push((id.parse().unwrap(), qos));
            }
        }
        assert_eq!(payload.trim_end_matches('.'), topic, "{word}");
    }
}

proptest! {
    #[test]
    fn whatever_happens_each_message_arrives_under_its_own_topic(
        keeps in prop_oneof![Just(Keeps::Nothing), Just(Keeps::Changes)],
        operations in prop::collection::vec(operation(), 1..200),
    ) {
        let mut limits = router_limits();
        limits.outbound.soft_bytes_max = 500;
        let mut world = World::with(limits, keeps);
        let publisher = world.join(client("publisher"));
        let mut maximum = 3;
        let mut taker = world.subscriber(aliasing(durable("taker"), maximum), "#", TWO);
        let mut resolver = Resolver::default();
        for operation in operations {
            match operation {
                Operation::Publish { topic, qos, bytes } => {
                    let topic = format!("topic/{topic}");
                    // Dots behind it tell nothing but its size.
                    let payload = format!("{topic}{}", ".".repeat(bytes));
                    world.publish(&publisher, &draft(&topic, &payload, qos));
                }
                Operation::Acknowledge => match resolver.open.pop() {
                    Some((number, ONE)) => world.puback(&taker, number),
                    Some((number, _)) => {
                        let refused = ReasonCode::QuotaExceeded;
                        world.acknowledge(&taker, Acknowledged::PubRec(id(number), refused));
                    }
                    None => {}
                },
                Operation::Keep => {
                    world.journal.keep_all();
                    world.release(&taker);
                }
                Operation::SetRoom(room) => {
                    taker.wire.set_room(room);
                    world.unblock(&taker);
                }
                Operation::Reconnect(topic_alias_maximum) => {
                    maximum = topic_alias_maximum;
                    taker = world.connect(aliasing(durable("taker"), maximum));
                    resolver = Resolver::default();
                }
            }
            world.flush();
            resolver.read(&taker, maximum);
        }
        taker.wire.set_room(usize::MAX);
        world.unblock(&taker);
        world.journal.keep_all();
        world.release(&taker);
        resolver.read(&taker, maximum);
    }
}
