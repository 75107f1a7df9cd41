//! Nothing is promised before it is kept: answers, CONNACK, and QoS 2 towards a durable subscriber.

use dunlin::change::{Change, Keeps};
use dunlin::packet::{PubRec, ReasonCode, SubscriptionOptions};
use dunlin::router::{Acknowledged, Ending, Flags, Step};

use crate::support::{
    Connecting, Draft, ONE, TWO, World, ZERO, client, draft, durable, id, retained, router_limits,
    will, write_rest,
};

fn world() -> World {
    World::with(router_limits(), Keeps::Changes)
}

#[test]
fn an_answer_waits_until_what_it_promises_is_kept() {
    let mut world = world();
    let taker = world.subscriber(durable("taker"), "t", ONE);
    let publisher = world.join(client("publisher"));

    world.publish_and_answer(&publisher, 7, &draft("t", "x", ONE));
    world.flush();
    // QoS 1 may be handed on meanwhile.
    assert_eq!(taker.read(), ["t:x q1#1"]);
    assert_eq!(publisher.read(), [""; 0]);

    world.journal.keep_all();
    world.release(&publisher);

    assert_eq!(publisher.read(), ["puback 7"]);
}

#[test]
fn an_answer_that_promises_nothing_does_not_wait() {
    let mut world = world();
    let _taker = world.subscriber(client("taker"), "t", ONE);
    let publisher = world.join(client("publisher"));

    world.publish_and_answer(&publisher, 7, &draft("t", "x", ONE));
    world.flush();

    assert_eq!(publisher.read(), ["puback 7"]);
}

// [MQTT3-4.6.0-2]
#[test]
fn answers_leave_in_order_even_if_a_later_one_waits_for_nothing() {
    let mut world = world();
    let _taker = world.subscriber(durable("taker"), "kept", ONE);
    let publisher = world.join(client("publisher"));
    let before = world.journal.submitted();

    world.publish_and_answer(&publisher, 1, &draft("kept", "x", ONE));
    world.publish_and_answer(&publisher, 2, &draft("other", "x", ONE));
    world.publish_and_answer(&publisher, 3, &draft("kept", "x", ONE));
    world.flush();
    assert_eq!(publisher.read(), [""; 0]);

    world.journal.keep_up_to(before + 1);
    world.release(&publisher);
    assert_eq!(publisher.read(), ["puback 1", "puback 2"]);

    world.journal.keep_all();
    world.release(&publisher);
    assert_eq!(publisher.read(), ["puback 3"]);
}

#[test]
fn what_is_kept_but_not_released_yet_is_not_overtaken() {
    let mut world = world();
    let _taker = world.subscriber(durable("taker"), "kept", ONE);
    let publisher = world.join(client("publisher"));
    world.publish_and_answer(&publisher, 1, &draft("kept", "x", ONE));

    world.journal.keep_all();
    world.publish_and_answer(&publisher, 2, &draft("other", "x", ONE));
    world.flush();
    assert_eq!(publisher.read(), [""; 0]);

    world.release(&publisher);
    assert_eq!(publisher.read(), ["puback 1", "puback 2"]);
}

// A restart would repeat it to a client that has released its identifier.
#[test]
fn qos_2_towards_a_durable_subscriber_is_not_sent_before_it_is_kept() {
    let mut world = world();
    let taker = world.subscriber(durable("taker"), "t", TWO);
    let publisher = world.join(client("publisher"));

    world.publish(&publisher, &draft("t", "two", TWO));
    world.publish(&publisher, &draft("t", "one", ONE));
    world.publish(&publisher, &draft("t", "zero", ZERO));
    world.flush();
    assert_eq!(taker.read(), ["t:one q1#2", "t:zero"]);

    world.journal.keep_all();
    world.release(&taker);
    assert_eq!(taker.read(), ["t:two q2#1"]);
}

#[test]
fn qos_2_towards_a_session_that_is_not_kept_does_not_wait() {
    let mut world = world();
    let taker = world.subscriber(client("taker"), "t", TWO);

    world.publish(&taker, &draft("t", &"x".repeat(2_000), TWO));
    world.flush();

    assert_eq!(taker.read(), ["t:2000*x q2#1"]);
}

#[test]
fn queued_qos_2_messages_wait_too_and_keep_their_order() {
    let mut world = world();
    let connecting = Connecting { receive_maximum: 2, ..durable("taker") };
    let taker = world.subscriber(connecting, "t", TWO);
    for text in ["a", "b", "c"] {
        world.publish(&taker, &draft("t", text, TWO));
    }
    world.journal.keep_all();
    world.release(&taker);
    assert_eq!(taker.read(), ["t:a q2#1", "t:b q2#2"]);

    world.acknowledge(&taker, Acknowledged::PubRec(id(1), ReasonCode::QuotaExceeded));
    world.flush();
    assert_eq!(taker.read(), [""; 0]);

    world.journal.keep_all();
    world.release(&taker);
    assert_eq!(taker.read(), ["t:c q2#3"]);
}

#[test]
fn pubrel_waits_until_the_pubrec_is_kept() {
    let mut world = world();
    let taker = world.subscriber(durable("taker"), "t", TWO);
    world.publish(&taker, &draft("t", "x", TWO));
    world.journal.keep_all();
    world.release(&taker);
    taker.read();

    world.acknowledge(&taker, Acknowledged::PubRec(id(1), ReasonCode::Success));
    world.flush();
    assert_eq!(taker.read(), [""; 0]);

    world.journal.keep_all();
    world.release(&taker);
    assert_eq!(taker.read(), ["pubrel 1"]);
}

#[test]
fn connack_waits_until_the_session_is_kept_and_everything_waits_behind_it() {
    let mut world = world();
    let a = world.connect(durable("a"));
    let publisher = world.connect(client("publisher"));
    world.flush();
    assert_eq!(publisher.read(), ["connack"]);
    let none = dunlin::change::CommitNumber::NONE;
    world.router.answer(&mut world.courier, &a.attachment, &[0xE0, 0], none);
    world.flush();
    assert_eq!(a.read(), [""; 0]);

    world.journal.keep_all();
    world.release(&a);

    assert_eq!(a.read(), ["connack", "disconnect 0x00"]);
}

// [MQTT-3.1.2-7]
#[test]
fn connack_waits_until_the_will_is_kept() {
    let mut world = world();
    let a = world.connect(Connecting { will: Some(will("w", 0)), ..durable("a") });
    let begun = world.journal.number_of(|change| matches!(change, Change::SessionBegun { .. }));
    let will = world.journal.number_of(|change| matches!(change, Change::WillKept { .. }));

    if begun < will {
        world.journal.keep_up_to(begun);
        world.release(&a);
        assert_eq!(a.read(), [""; 0]);
    }

    world.journal.keep_up_to(will);
    world.release(&a);
    assert_eq!(a.read(), ["connack"]);
}

// A CONNACK that says Session Present must not leave before that Session is kept, even if this
// connection itself changed nothing.
#[test]
fn connack_waits_for_what_an_earlier_connection_changed() {
    let mut world = world();
    let first = world.connect(durable("a"));
    world.lose(&first);

    let second = world.connect(durable("a"));
    world.flush();
    assert_eq!(second.read(), [""; 0]);

    world.journal.keep_all();
    world.release(&second);
    assert_eq!(second.read(), ["connack present"]);
}

#[test]
fn qos_2_that_was_not_kept_yet_is_not_sent_by_reconnecting() {
    let mut world = world();
    let first = world.subscriber(durable("a"), "t", TWO);
    world.publish(&first, &draft("t", "x", TWO));

    let second = world.connect(durable("a"));
    world.flush();
    assert_eq!(second.read(), [""; 0]);

    world.journal.keep_all();
    world.release(&second);
    assert_eq!(second.read(), ["connack present", "t:x q2#1 dup"]);
}

// [MQTT-4.3.3-8]: the second PUBREC promises what the first one did.
#[test]
fn a_repeated_qos_2_publish_is_answered_no_earlier_than_the_first() {
    let mut world = world();
    let _taker = world.subscriber(durable("taker"), "t", TWO);
    let first = world.join(durable("a"));
    let publish = |world: &mut World, peer: &crate::support::Peer| {
        let router = std::sync::Arc::clone(&world.router);
        let receipt = router.receive_publish(&mut world.courier, &peer.attachment, id(5)).unwrap();
        let mut commit = receipt.commit;
        if receipt.result == dunlin::session::Receipt::New {
            commit = commit.max(world.publish(peer, &draft("t", "x", TWO)).commit);
        }
        let mut answer = Vec::new();
        PubRec::new(id(5), ReasonCode::Success).encode(peer.version, &mut answer);
        router.answer(&mut world.courier, &peer.attachment, &answer, commit).unwrap();
    };
    publish(&mut world, &first);

    let second = world.connect(durable("a"));
    publish(&mut world, &second);
    world.flush();
    let received = world.journal.number_of(|change| matches!(change, Change::Received { .. }));
    world.journal.keep_up_to(received);
    world.release(&second);
    assert_eq!(second.read(), [""; 0]);

    world.journal.keep_all();
    world.release(&second);
    assert_eq!(second.read(), ["connack present", "pubrec 5"]);
}

#[test]
fn a_connection_that_ends_leaves_unsaid_what_is_not_kept() {
    let mut world = world();
    let _taker = world.subscriber(durable("taker"), "t", ONE);
    let publisher = world.join(client("publisher"));
    world.publish_and_answer(&publisher, 7, &draft("t", "x", ONE));

    let leave = world.leave(&publisher, Ending::Lost);
    write_rest(leave);

    assert_eq!(publisher.read(), [""; 0]);
}

#[test]
fn a_connection_that_ends_at_once_leaves_its_connack_unsaid() {
    for flushed in [true, false] {
        let mut world = world();
        let a = world.connect(durable("a"));
        if flushed {
            world.flush();
        }

        let leave = world.router.leave(&mut world.courier, &a.attachment, Ending::Lost, &[0xE0, 0]);
        write_rest(leave);

        assert_eq!(a.read(), [""; 0], "flushed before: {flushed}");
    }
}

#[test]
fn a_connection_that_is_taken_over_at_once_leaves_its_connack_unsaid() {
    for flushed in [true, false] {
        let mut world = world();
        let first = world.connect(durable("a"));
        if flushed {
            world.flush();
        }

        let _second = world.connect(durable("a"));

        assert_eq!(first.read(), [""; 0], "flushed before: {flushed}");
        assert!(first.raised(Flags::SUPERSEDED));
    }
}

#[test]
fn subscribing_promises_something_only_for_a_session_that_is_kept() {
    let mut world = world();
    let none = dunlin::change::CommitNumber::NONE;
    for (connecting, promises) in [(durable("a"), true), (client("b"), false)] {
        let peer = world.join(connecting);
        let filter = dunlin::topic::SubscriptionFilter::parse("t").unwrap();
        let options = crate::support::options(ONE);
        let subscription = dunlin::change::Subscription { options, id: None };
        let router = &world.router;

        let subscribed =
            router.subscribe(&mut world.courier, &peer.attachment, &filter, subscription).unwrap();
        let removed = router.unsubscribe(&mut world.courier, &peer.attachment, &filter).unwrap();

        assert_eq!(subscribed.commit > none, promises);
        assert_eq!(removed.commit > subscribed.commit, promises);
    }
}

#[test]
fn what_is_held_counts_towards_the_outbound_limit() {
    let mut limits = router_limits();
    limits.outbound.soft_bytes_max = 1_000;
    let mut world = World::with(limits, Keeps::Changes);
    let taker = world.subscriber(durable("taker"), "t", TWO);
    let text = "x".repeat(300);
    for _ in 0..10 {
        world.publish(&taker, &draft("t", &text, TWO));
        world.flush();
    }
    let held = world.metrics.amount(|counters| &counters.outbound_bytes);
    assert!((900..1_400).contains(&held), "{held}");

    while world.metrics.amount(|counters| &counters.outbound_bytes) > 0 {
        world.journal.keep_all();
        world.release(&taker);
    }

    assert_eq!(taker.read().len(), 10);
}

#[test]
fn a_newer_value_does_not_pass_a_retained_one_that_is_not_kept_yet() {
    let mut world = world();
    let publisher = world.join(client("publisher"));
    world.publish(&publisher, &Draft { retain: true, ..draft("t", "older", TWO) });
    let taker = world.join(durable("taker"));
    world.subscribe(&taker, "t", SubscriptionOptions::new(TWO));

    assert_eq!(world.replay(&taker), Step::Done);
    world.publish(&publisher, &retained("t", "newer"));
    world.publish(&publisher, &draft("t", "newest", ZERO));
    world.publish(&publisher, &draft("t", "last", ONE));
    world.flush();
    let meanwhile = taker.read();
    world.journal.keep_all();
    world.release(&taker);

    assert_eq!(meanwhile, [""; 0]);
    assert_eq!(taker.read(), ["t:older q2#1 retain", "t:newer", "t:newest", "t:last q1#2"]);

    // With nothing held nobody waits.
    world.publish(&publisher, &draft("t", "free", ONE));
    world.flush();
    assert_eq!(taker.read(), ["t:free q1#3"]);
}
