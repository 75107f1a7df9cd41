//! A store that cannot write: who is refused what, and who goes on.

use dunlin::change::{CommitNumber, JournalState, Keeps};
use dunlin::packet::{Delivery, ProtocolVersion};
use dunlin::router::{Attach, Unattached};
use dunlin::server::End;
use dunlin::session::{ProtocolError, Terms};

use crate::support::{
    Connecting, ONE, TWO, V5, V311, World, ZERO, client, draft, durable, id, router_limits, will,
};
use crate::talk::{PINGREQ, Talk, at_qos, publish, pubrec, pubrel, subscribe, unsubscribe};

const FAILING: JournalState = JournalState::Failing;

fn world() -> World {
    World::with(router_limits(), Keeps::Changes)
}

/// A client that is connected and has read its CONNACK.
fn talker(world: &mut World, connecting: Connecting) -> Talk {
    let talk = world.talk(connecting);
    world.journal.keep_all();
    world.release(&talk.peer);
    talk.peer.read();
    talk
}

fn of_version(version: ProtocolVersion, connecting: Connecting) -> Connecting {
    Connecting { version, ..connecting }
}

fn one(value: u16) -> Delivery {
    at_qos(ONE, id(value), false)
}

fn two(value: u16) -> Delivery {
    at_qos(TWO, id(value), false)
}

fn refusals(world: &World) -> u64 {
    world.metrics.total(|counters| &counters.store_refusals)
}

#[test]
fn a_publish_above_qos_0_is_refused_with_0x97_and_nobody_gets_it() {
    let mut world = world();
    let taker = world.subscriber(client("taker"), "t", TWO);
    let mut talk = talker(&mut world, client("publisher"));
    world.journal.set_health(FAILING);

    let said = [publish(V5, one(1), "a"), publish(V5, two(2), "b")].concat();

    assert_eq!(world.ask(&mut talk, &said), ["puback 1 0x97", "pubrec 2 0x97"]);
    assert_eq!(taker.read(), [""; 0]);
    assert_eq!(refusals(&world), 2);
    // Both identifiers are free again.
    world.journal.set_health(JournalState::Keeping);
    let said = [publish(V5, one(1), "c"), publish(V5, two(2), "d")].concat();
    assert_eq!(world.ask(&mut talk, &said), ["puback 1", "pubrec 2"]);
    world.flush();
    assert_eq!(taker.read(), ["t:c q1#1", "t:d q2#2"]);
}

// [MQTT3-3.3.5-2]: it could only be acknowledged, so it is not.
#[test]
fn a_client_before_5_0_is_closed_without_an_acknowledgement() {
    for delivery in [one(1), two(1)] {
        let mut world = world();
        let mut talk = talker(&mut world, of_version(V311, client("publisher")));
        world.journal.set_health(FAILING);

        let end = world.say(&mut talk, &publish(V311, delivery, "a")).unwrap_err();

        assert!(matches!(end, End::Protocol(ProtocolError::StoreFailing)));
        world.flush();
        assert_eq!(world.end(&talk, &end), [""; 0]);
        assert_eq!(refusals(&world), 1);
    }
}

#[test]
fn qos_0_pings_and_sessions_that_are_not_kept_go_on() {
    for version in [V311, V5] {
        let mut world = world();
        let away = world.subscriber(durable("away"), "t", ONE);
        let mut talk = talker(&mut world, of_version(version, client("a")));
        world.journal.set_health(FAILING);

        let code = if version.is_v5() { " 0x00" } else { "" };
        assert_eq!(world.ask(&mut talk, &subscribe(version, 1, "t")), ["suback 1 0x02"]);
        let said = [&publish(version, Delivery::AtMostOnce, "x")[..], &PINGREQ].concat();
        assert_eq!(world.ask(&mut talk, &said), ["t:x", "pingresp"]);
        let answer = [format!("unsuback 1{code}")];
        assert_eq!(world.ask(&mut talk, &unsubscribe(version, 1, "t")), answer);
        assert_eq!(away.read(), ["t:x"]);
        assert!(!world.connect(client("b")).session_present);
        assert_eq!(refusals(&world), 0);
    }
}

#[test]
fn subscriptions_of_a_session_that_is_kept_stay_as_they_are() {
    let mut world = world();
    let mut talk = talker(&mut world, durable("a"));
    let filter = "$share/g/t";
    world.ask(&mut talk, &subscribe(V5, 1, filter));
    world.journal.set_health(FAILING);

    assert_eq!(world.ask(&mut talk, &subscribe(V5, 2, "new")), ["suback 2 0x97"]);
    assert_eq!(world.ask(&mut talk, &unsubscribe(V5, 3, filter)), ["unsuback 3 0x80"]);

    assert_eq!(world.router.groups().len(), 1);
    assert_eq!(world.metrics.subscriptions.value(), 0);
    assert_eq!(refusals(&world), 2);
}

// [MQTT3-3.9.3-2]: one failure is known for SUBACK, none for UNSUBACK.
#[test]
fn before_5_0_a_subscribe_fails_and_an_unsubscribe_ends_the_connection() {
    let mut world = world();
    let mut talk = talker(&mut world, of_version(V311, durable("a")));
    world.journal.set_health(FAILING);

    assert_eq!(world.ask(&mut talk, &subscribe(V311, 1, "t")), ["suback 1 0x80"]);
    let end = world.say(&mut talk, &unsubscribe(V311, 2, "t")).unwrap_err();

    assert!(matches!(end, End::Protocol(ProtocolError::StoreFailing)));
    assert_eq!(refusals(&world), 2);
}

fn attach(world: &mut World, connecting: &Connecting) -> Result<bool, Unattached> {
    use dunlin::change::Epoch;
    use dunlin::packet::{ClientId, Identity};

    let attach = Attach {
        client_id: ClientId::new(connecting.client_id).unwrap(),
        identity: Identity::Anonymous,
        epoch: Epoch(99),
        clean_start: connecting.clean_start,
        expiry: connecting.expiry,
        terms: Terms {
            version: connecting.version,
            receive_maximum: std::num::NonZeroU16::MAX,
            maximum_packet_size: usize::MAX,
            topic_alias_maximum: 0,
        },
        will: None,
        wire: std::sync::Arc::new(crate::support::FakeWire::default()),
        signal: std::sync::Arc::default(),
    };
    let attached = world.router.attach(&mut world.courier, attach, |_, _| {});
    attached.map(|attached| attached.session_present)
}

#[test]
fn a_session_that_is_kept_neither_begins_nor_goes_on_nor_ends() {
    let mut world = world();
    let kept = world.subscriber(durable("kept"), "t", ONE);
    world.lose(&kept);
    world.journal.set_health(FAILING);

    let refused = Err(Unattached::StoreFailing);
    assert_eq!(attach(&mut world, &durable("new")), refused);
    assert_eq!(attach(&mut world, &durable("kept")), refused);
    assert_eq!(attach(&mut world, &client("kept")), refused);
    let clean = Connecting { clean_start: true, ..client("kept") };
    assert_eq!(attach(&mut world, &clean), refused);
    assert_eq!(attach(&mut world, &client("other")), Ok(false));

    assert_eq!(world.metrics.sessions.value(), 2);
    world.journal.set_health(JournalState::Keeping);
    // Who was refused before anything began is no one yet.
    assert_eq!(attach(&mut world, &durable("new")), Ok(false));
    assert_eq!(attach(&mut world, &durable("kept")), Ok(true));
}

#[test]
fn who_was_promised_something_is_closed_with_0x97_when_the_store_begins_to_fail() {
    for (version, goodbye) in [(V5, &["disconnect 0x97"][..]), (V311, &[])] {
        let mut world = world();
        let _taker = world.subscriber(durable("taker"), "t", ONE);
        let mut talk = talker(&mut world, of_version(version, client("publisher")));
        world.say(&mut talk, &publish(version, one(1), "a")).unwrap();
        world.flush();

        world.journal.set_health(FAILING);

        let error = world.heed(&talk.peer).unwrap_err();
        assert_eq!(error, ProtocolError::StoreFailing);
        assert_eq!(world.end(&talk, &error.into()), goodbye);
    }
}

#[test]
fn who_waits_for_nothing_stays() {
    let mut world = world();
    let mut talk = talker(&mut world, durable("a"));
    world.ask(&mut talk, &subscribe(V5, 1, "t"));
    talk.peer.signal.raise(dunlin::router::Flags::KEPT);

    world.journal.set_health(FAILING);

    assert_eq!(world.heed(&talk.peer), Ok(()));
}

// Its CONNACK has not left, so it may still be another one.
#[test]
fn who_still_waits_for_its_connack_is_refused_with_0x88_and_has_no_will() {
    for (version, answer) in [(V5, "connack 0x88"), (V311, "connack ServerUnavailable")] {
        let mut world = world();
        let watcher = world.subscriber(client("watcher"), "w", ZERO);
        let connecting = Connecting { will: Some(will("w", 0)), ..durable("a") };
        let talk = world.talk(of_version(version, connecting));
        world.flush();

        world.journal.set_health(FAILING);

        let error = world.heed(&talk.peer).unwrap_err();
        assert_eq!(world.end(&talk, &error.into()), [answer]);
        world.flush();
        assert_eq!(watcher.read(), [""; 0]);
    }
}

#[test]
fn a_subscribers_acknowledgements_go_on() {
    let mut world = world();
    let mut taker = talker(&mut world, durable("taker"));
    world.ask(&mut taker, &subscribe(V5, 1, "t"));
    let publisher = world.join(client("publisher"));
    world.publish(&publisher, &draft("t", "a", ONE));
    world.flush();
    assert_eq!(taker.peer.read(), ["t:a q1#1"]);
    world.journal.set_health(FAILING);

    world.puback(&taker.peer, 1);

    assert_eq!(world.metrics.amount(|counters| &counters.session_messages), 0);
    assert_eq!(world.heed(&taker.peer), Ok(()));
}

// [MQTT-4.3.3-10]: what was taken before is no new promise.
#[test]
fn a_qos_2_publish_that_was_kept_is_answered_again_and_ends() {
    let mut world = world();
    let mut talk = talker(&mut world, client("publisher"));
    assert_eq!(world.ask(&mut talk, &publish(V5, two(7), "a")), ["pubrec 7"]);
    world.journal.set_health(FAILING);

    let again = publish(V5, at_qos(TWO, id(7), true), "a");

    assert_eq!(world.ask(&mut talk, &again), ["pubrec 7"]);
    assert_eq!(world.ask(&mut talk, &pubrel(V5, id(7))), ["pubcomp 7"]);
}

// The second answer promises no less than the first.
#[test]
fn a_repeated_qos_2_publish_is_not_answered_before_the_first_one_is_kept() {
    let mut world = world();
    let mut first = talker(&mut world, durable("publisher"));
    let before = world.journal.submitted();
    world.say(&mut first, &publish(V5, two(7), "a")).unwrap();
    let received = world.journal.submitted();
    assert!(received > before);

    let attachment = &first.peer.attachment;
    let answered = world.router.receive_publish(&mut world.courier, attachment, id(7)).unwrap();

    assert_eq!(answered.commit, CommitNumber(received));
}

// It had no time to say what it answers, so the next one has to know.
#[test]
fn a_connection_that_takes_over_waits_for_what_the_other_one_changed() {
    let mut world = world();
    let first = world.join(durable("publisher"));
    world.router.receive_publish(&mut world.courier, &first.attachment, id(7)).unwrap();
    let received = world.journal.submitted();

    let mut second = world.talk(durable("publisher"));
    world.journal.keep_up_to(received);
    world.release(&second.peer);
    assert_eq!(second.peer.read(), [""; 0]);
    world.journal.keep_all();
    world.release(&second.peer);
    assert_eq!(second.peer.read(), ["connack present"]);

    assert_eq!(world.ask(&mut second, &publish(V5, two(7), "a")), ["pubrec 7"]);
}

#[test]
fn when_the_store_works_again_everybody_is_served() {
    let mut world = world();
    let mut taker = talker(&mut world, durable("taker"));
    world.ask(&mut taker, &subscribe(V5, 1, "t"));
    let mut publisher = talker(&mut world, client("publisher"));
    world.say(&mut publisher, &publish(V5, two(1), "a")).unwrap();
    world.journal.set_health(FAILING);
    let error = world.heed(&publisher.peer).unwrap_err();
    world.end(&publisher, &error.into());
    // What was submitted is kept when it can be.
    world.journal.set_health(JournalState::Keeping);
    world.journal.keep_all();
    world.release(&taker.peer);

    assert_eq!(taker.peer.read(), ["t:a q2#1"]);
    assert_eq!(world.ask(&mut taker, &pubrec(V5, id(1))), ["pubrel 1"]);
    let mut publisher = talker(&mut world, client("publisher"));
    assert_eq!(world.ask(&mut publisher, &publish(V5, one(1), "b")), ["puback 1"]);
    world.flush();
    assert_eq!(taker.peer.read(), ["t:b q1#2"]);
}
