//! Queued messages that the store alone has, on their way back.

use dunlin::change::{Keeps, SessionExpiry};
use dunlin::packet::SubscriptionOptions;
use dunlin::router::{Memory, RouterLimits, Step};

use crate::support::{
    Connecting, ONE, Peer, World, ZERO, client, draft, durable, retained, router_limits,
};

fn limits() -> RouterLimits {
    let mut limits = router_limits();
    limits.session.inflight_max = std::num::NonZeroU16::MAX;
    limits
}

/// A subscriber that is away, for which so many messages wait: `t:0` and so on.
fn world_with(messages: usize) -> World {
    let mut world = World::with(limits(), Keeps::Changes);
    let taker = world.subscriber(taker(64), "t", ONE);
    world.lose(&taker);
    publish(&mut world, 0..messages);
    world
}

fn taker(receive_maximum: u16) -> Connecting {
    Connecting { receive_maximum, ..durable("taker") }
}

fn publish(world: &mut World, numbers: impl Iterator<Item = usize>) {
    let publisher = world.join(client("publisher"));
    for number in numbers {
        let outcome = world.publish(&publisher, &draft("t", &number.to_string(), ONE));
        assert!(!outcome.fills, "the store has it");
    }
    world.farewell(&publisher);
    world.journal.keep_all();
}

fn expected(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(|number| format!("t:{number} q1#{}", number + 1)).collect()
}

/// What it reads, acknowledged message by message, until nothing more comes.
fn drain(world: &mut World, peer: &Peer, mut acknowledged: u16) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        world.journal.keep_all();
        world.release(peer);
        let read = peer.read();
        if read.is_empty() {
            return all;
        }
        for word in read {
            if word.starts_with("t:") {
                acknowledged += 1;
                world.puback(peer, acknowledged);
            }
            all.push(word);
        }
    }
}

#[test]
fn a_long_queue_comes_in_slices_and_in_order() {
    let mut world = world_with(700);

    let peer = world.connect(taker(64));
    assert_eq!(world.journal.take_fetched(), [(0, 255)]);
    let mut read = drain(&mut world, &peer, 0);

    assert_eq!(read.remove(0), "connack present");
    assert_eq!(read, expected(0..700));
    assert_eq!(world.journal.take_fetched(), [(256, 511), (512, 699)]);
    assert_eq!(world.metrics.held_bytes(), held_when_nothing_waits());
}

fn held_when_nothing_waits() -> u64 {
    let mut world = world_with(0);
    let peer = world.connect(taker(64));
    assert_eq!(drain(&mut world, &peer, 0), ["connack present"]);
    world.metrics.held_bytes()
}

#[test]
fn the_next_slice_is_asked_for_while_there_is_still_something_to_send() {
    let mut world = world_with(600);
    let peer = world.connect(taker(1));
    world.journal.keep_all();
    world.release(&peer);
    assert_eq!(peer.read(), ["connack present", "t:0 q1#1"]);
    world.journal.fetch_slowly();
    world.journal.take_fetched();

    let mut acknowledged = 0;
    while world.journal.take_fetched().is_empty() {
        acknowledged += 1;
        world.puback(&peer, acknowledged);
        world.flush();
    }

    // There are 127 loaded, and one more was just sent.
    assert_eq!(acknowledged, 128);
    assert_eq!(peer.read().len(), 128);
}

#[test]
fn what_comes_while_a_slice_is_on_its_way_stays_behind_it() {
    let mut world = world_with(3);
    world.journal.fetch_slowly();
    let peer = world.join(taker(64));
    publish(&mut world, 3..5);
    assert_eq!(peer.read(), [""; 0]);

    assert_eq!(world.journal.answer_fetches(), 1);
    world.release(&peer);

    assert_eq!(peer.read(), expected(0..3));
    assert_eq!(world.journal.answer_fetches(), 1);
    world.release(&peer);
    assert_eq!(peer.read(), expected(3..5));
}

#[test]
fn a_connection_that_takes_over_meanwhile_asks_for_itself() {
    let mut world = world_with(3);
    world.journal.fetch_slowly();
    let first = world.join(taker(64));

    let second = world.join(taker(64));
    assert_eq!(world.journal.answer_fetches(), 2);
    world.router.load_fetched(&mut world.courier, &first.attachment);
    world.release(&second);

    assert_eq!(second.read(), expected(0..3));
    assert_eq!(first.read(), ["disconnect 0x8e"]);
}

#[test]
fn who_comes_back_meanwhile_asks_again() {
    let mut world = world_with(3);
    world.journal.fetch_slowly();
    let first = world.join(taker(64));
    world.lose(&first);
    publish(&mut world, 3..4);

    let second = world.join(taker(64));
    world.journal.answer_fetches();
    world.release(&second);

    assert_eq!(second.read(), expected(0..4));
}

#[test]
fn a_session_that_ends_meanwhile_gets_nothing() {
    let mut world = world_with(3);
    world.journal.fetch_slowly();
    let first = world.join(taker(64));

    let second = world.join(Connecting { clean_start: true, ..taker(64) });
    world.journal.answer_fetches();
    world.release(&second);

    assert_eq!((first.read(), second.read()), (vec!["disconnect 0x8e".into()], Vec::new()));
    assert_eq!(world.metrics.total(|counters| &counters.dropped_ended), 3);
    assert_eq!(world.metrics.total(|counters| &counters.dropped_damaged), 0);
}

#[test]
fn a_message_that_cannot_be_read_back_is_counted_and_the_others_come() {
    let mut world = world_with(4);
    world.journal.damage("taker", 1);

    let peer = world.connect(taker(64));
    let read = drain(&mut world, &peer, 0);

    assert_eq!(read, ["connack present", "t:0 q1#1", "t:2 q1#2", "t:3 q1#3"]);
    assert_eq!(world.metrics.total(|counters| &counters.dropped_damaged), 1);
    assert_eq!(world.metrics.amount(|counters| &counters.session_messages), 0);
    // Nor does the store have it any more.
    world.restart();
    let peer = world.connect(taker(64));
    assert_eq!(drain(&mut world, &peer, 0), ["connack present"]);
}

// What a Session owes comes before what is retained.
#[test]
fn a_replay_waits_until_the_queue_has_come() {
    let mut world = world_with(1);
    world.journal.fetch_slowly();
    let publisher = world.join(client("publisher"));
    world.publish(&publisher, &retained("r", "old"));
    let peer = world.join(taker(64));
    world.subscribe(&peer, "r", SubscriptionOptions::new(ZERO));
    assert_eq!(world.replay(&peer), Step::Wait);

    world.journal.answer_fetches();
    world.release(&peer);
    assert_eq!(world.replay(&peer), Step::Done);
    world.flush();

    assert_eq!(peer.read(), ["t:0 q1#1", "r:old retain"]);
}

// It fills no memory, so it is no reason to refuse it.
#[test]
fn who_is_away_takes_messages_however_little_memory_there_is() {
    let mut limits = limits();
    limits.memory_bytes_max = 1;
    let mut world = World::with(limits, Keeps::Changes);
    let taker = world.subscriber(taker(64), "t", ONE);
    world.lose(&taker);
    assert!(matches!(world.look_at_memory(), Memory::Exhausted(_)));

    publish(&mut world, 0..2);

    assert_eq!(world.metrics.total(|counters| &counters.dropped_memory_full), 0);
    assert_eq!(world.metrics.amount(|counters| &counters.session_messages), 2);
}

// Its expiry is 0 from here on, and the store still has what it owes.
#[test]
fn a_session_that_ends_with_this_connection_gets_what_waited_and_ends() {
    let mut world = world_with(2);
    let last = Connecting { expiry: SessionExpiry::AtDisconnect, ..taker(64) };

    let peer = world.connect(last);
    assert_eq!(drain(&mut world, &peer, 0), ["connack present", "t:0 q1#1", "t:1 q1#2"]);

    // Neither a crash nor an ordinary end leaves anything of it.
    world.lose(&peer);
    world.journal.keep_all();
    world.restart();
    assert_eq!(world.metrics.sessions.value(), 0);
}

#[test]
fn it_also_ends_if_the_process_does() {
    let mut world = world_with(2);
    let last = Connecting { expiry: SessionExpiry::AtDisconnect, ..taker(64) };
    world.join(last);

    world.restart();

    assert_eq!(world.metrics.sessions.value(), 0);
    assert_eq!(world.metrics.subscriptions.value(), 0);
}
