//! Acknowledgements that come in one read do what they do one by one.

use dunlin::change::{Change, Keeps};
use dunlin::packet::{PacketId, ProtocolVersion, PubAck, PubRec, QoS, ReasonCode};
use dunlin::server::End;

use crate::support::{
    Connecting, ONE, TWO, V5, V311, World, client, draft, durable, id, router_limits,
};
use crate::talk::{Talk, at_qos, puback, pubcomp, publish, pubrec, pubrel, subscribe};

/// More than are looked at in one go.
const MANY: u16 = 150;

/// How a client's bytes come in.
#[derive(Clone, Copy)]
enum Reads {
    One,
    OneEach,
}

impl Reads {
    fn say(self, world: &mut World, talk: &mut Talk, packets: &[Vec<u8>]) -> Result<(), End> {
        match self {
            Self::One => world.say(talk, &packets.concat()),
            Self::OneEach => packets.iter().try_for_each(|packet| world.say(talk, packet)),
        }
    }
}

/// A subscriber that is owed many messages of which it may have this many at once.
fn owed(version: ProtocolVersion, qos: QoS, receive_maximum: u16) -> (World, Talk) {
    let mut limits = router_limits();
    limits.session.inflight_max = receive_maximum.try_into().unwrap();
    limits.session.queue_offline_messages_max = 1_000;
    let mut world = World::with(limits, Keeps::Changes);
    let subscriber = Connecting { version, receive_maximum, ..durable("subscriber") };
    let mut talk = world.talk(subscriber);
    world.ask(&mut talk, &subscribe(version, 1, "t"));
    let publisher = world.join(client("publisher"));
    for number in 0..3 * MANY {
        world.publish(&publisher, &draft("t", &number.to_string(), qos));
    }
    world.journal.keep_all();
    world.release(&talk.peer);
    talk.peer.read();
    (world, talk)
}

/// What its client reads, what the store has got, and what was counted. The messages there is room for
/// follow the answers of a read, so only what is of one kind has an order.
fn outcome(world: &mut World, talk: &Talk) -> (Vec<String>, Vec<String>, u64) {
    world.journal.keep_all();
    world.release(&talk.peer);
    let of_log = |log: &[(u64, Change)]| log.iter().map(|(_, it)| format!("{it:?}")).collect();
    let mut changes: Vec<String> = world.journal.with_log(of_log);
    changes.sort();
    let mut words = talk.peer.read();
    words.sort_by_key(|word| word.starts_with("t:"));
    let sent = world.metrics.total(|counters| &counters.publishes_sent);
    (words, changes, sent)
}

fn all(packet: fn(ProtocolVersion, PacketId) -> Vec<u8>, version: ProtocolVersion) -> Vec<Vec<u8>> {
    (1..=MANY).map(|value| packet(version, id(value))).collect()
}

fn compare(qos: QoS, receive_maximum: u16, packets: impl Fn(ProtocolVersion) -> Vec<Vec<u8>>) {
    for version in [V311, V5] {
        let outcomes = [Reads::One, Reads::OneEach].map(|reads| {
            let (mut world, mut talk) = owed(version, qos, receive_maximum);
            reads.say(&mut world, &mut talk, &packets(version)).unwrap();
            outcome(&mut world, &talk)
        });
        let [one, one_each] = outcomes;
        assert!(!one.0.is_empty() || !one.1.is_empty());
        assert_eq!(one, one_each);
    }
}

#[test]
fn pubacks_of_one_read_make_room_for_as_many() {
    compare(ONE, MANY, |version| all(puback, version));
    compare(ONE, MANY, |version| {
        // Twice each, and one that is not alike between them.
        let mut packets = [all(puback, version), all(puback, version)].concat();
        let mut refused = Vec::new();
        PubAck::new(id(7), ReasonCode::QuotaExceeded).encode(version, &mut refused);
        packets.insert(20, refused);
        packets
    });
}

#[test]
fn exchanges_of_qos_2_go_on_alike() {
    let refused = |version| {
        let mut refused = Vec::new();
        PubRec::new(id(1), ReasonCode::QuotaExceeded).encode(version, &mut refused);
        refused
    };
    compare(TWO, MANY, |version| all(pubrec, version));
    compare(TWO, MANY, |version| [vec![refused(version)], all(pubrec, version)].concat());
    compare(TWO, MANY, |version| [all(pubrec, version), all(pubcomp, version)].concat());
}

#[test]
fn pubrels_of_one_read_are_each_answered() {
    for version in [V311, V5] {
        let outcomes = [Reads::One, Reads::OneEach].map(|reads| {
            let mut limits = router_limits();
            limits.session.receive_maximum = MANY.try_into().unwrap();
            let mut world = World::with(limits, Keeps::Changes);
            let mut talk = world.talk(Connecting { version, ..durable("publisher") });
            // Of some nobody knows the identifier.
            let known = (1..=MANY).filter(|value| value % 3 > 0);
            let known = known.map(|value| publish(version, at_qos(TWO, id(value), false), "x"));
            reads.say(&mut world, &mut talk, &known.collect::<Vec<_>>()).unwrap();
            reads.say(&mut world, &mut talk, &all(pubrel, version)).unwrap();
            outcome(&mut world, &talk)
        });
        let [one, one_each] = outcomes;
        let pubcomps = one.0.iter().filter(|word| word.starts_with("pubcomp")).count();
        assert_eq!(pubcomps, usize::from(MANY));
        assert_eq!(one, one_each);
    }
}

#[test]
fn what_comes_before_an_acknowledgement_that_is_wrong_is_done() {
    let outcomes = [Reads::One, Reads::OneEach].map(|reads| {
        let (mut world, mut talk) = owed(V5, ONE, MANY);
        let mut packets = all(puback, V5);
        // In the exchange of a message of QoS 1.
        packets.insert(10, pubcomp(V5, id(11)));
        packets.swap(9, 10);
        let wrong = packets.split_off(9);
        let before = reads.say(&mut world, &mut talk, &packets);
        let end = reads.say(&mut world, &mut talk, &wrong);
        assert!(before.is_ok() && matches!(end, Err(End::Protocol(_))), "{end:?}");
        outcome(&mut world, &talk)
    });
    let [one, one_each] = outcomes;
    assert_eq!(one, one_each);
}
