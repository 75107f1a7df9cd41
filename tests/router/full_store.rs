//! A store that takes all the disk it may.

use dunlin::change::Keeps;
use dunlin::packet::QoS;
use dunlin::session::{QueueWhenFull, Refusal};

use crate::support::{Peer, World, client, draft, durable, options, retained, router_limits};

const ZERO: QoS = QoS::AtMostOnce;
const ONE: QoS = QoS::AtLeastOnce;
const TWO: QoS = QoS::ExactlyOnce;

fn keeping() -> (World, Peer) {
    let mut world = World::with(router_limits(), Keeps::Changes);
    let publisher = world.join(client("publisher"));
    (world, publisher)
}

fn dropped(world: &World) -> u64 {
    world.metrics.total(|counters| &counters.dropped_store_full)
}

#[test]
fn what_would_wait_in_it_is_refused_and_all_else_goes_on() {
    let (mut world, publisher) = keeping();
    let away = world.subscriber(durable("away"), "away", TWO);
    world.publish(&publisher, &draft("away", "before", ONE));
    world.lose(&away);
    let here = world.subscriber(durable("here"), "here", ONE);
    let unkept = world.subscriber(client("unkept"), "#", ONE);
    world.journal.set_full(true);

    let queued = world.publish(&publisher, &draft("away", "1", TWO));
    let sent = world.publish(&publisher, &draft("here", "2", ONE));
    let lost = world.publish(&publisher, &draft("here", "3", ZERO));
    world.journal.keep_all();
    world.flush();

    // The one that is not kept took it.
    assert_eq!((queued.refused, queued.accepted), (1, 1));
    assert!(queued.store_full && !queued.all_refused());
    assert_eq!((sent.refused, sent.accepted, sent.store_full), (0, 2, false));
    assert_eq!((lost.refused, lost.store_full), (0, false));
    assert_eq!(here.read(), ["here:2 q1#1", "here:3"]);
    assert_eq!(unkept.read(), ["away:1 q1#1", "here:2 q1#2", "here:3"]);
    assert_eq!(dropped(&world), 1);
}

#[test]
fn nothing_gives_way_for_what_is_refused() {
    let mut limits = router_limits();
    limits.session.queue_when_full = QueueWhenFull::DropOldest;
    let mut world = World::with(limits, Keeps::Changes);
    let publisher = world.join(client("publisher"));
    let away = world.subscriber(durable("away"), "t", ONE);
    world.lose(&away);
    assert_eq!(world.publish(&publisher, &draft("t", "old", ONE)).accepted, 1);

    world.journal.set_full(true);
    assert!(world.publish(&publisher, &draft("t", "new", ONE)).all_refused());
    world.journal.set_full(false);
    assert_eq!(world.publish(&publisher, &draft("t", "newer", ONE)).accepted, 1);

    let position =
        |payload: &str| world.journal.number_of(|change| format!("{change:?}").contains(payload));
    assert!(position("old") < position("newer"));
    assert_eq!((dropped(&world), world.metrics.total(|it| &it.dropped_queue_full)), (1, 0));
}

#[test]
fn retained_messages_may_shrink_and_go_but_not_come_or_grow() {
    let (mut world, publisher) = keeping();
    world.publish(&publisher, &retained("old", "0123456789"));
    world.journal.set_full(true);

    let mut publish = |draft| world.try_publish(&publisher, &draft).map(drop);

    assert_eq!(publish(retained("new", "x")), Err(Refusal::StoreFull));
    assert_eq!(publish(retained("old", "0123456789a")), Err(Refusal::StoreFull));
    assert_eq!(publish(retained("old", "9876543210")), Ok(()));
    assert_eq!(publish(retained("old", "")), Ok(()));
    assert_eq!(publish(retained("old", "x")), Err(Refusal::StoreFull));
    world.journal.set_full(false);
    assert!(world.try_publish(&publisher, &retained("new", "x")).is_ok());
}

#[test]
fn who_is_kept_subscribes_to_nothing_more_and_who_is_not_may() {
    let (mut world, _) = keeping();
    let kept = world.subscriber(durable("kept"), "old", ONE);
    let unkept = world.join(client("unkept"));
    world.journal.set_full(true);

    let mut subscribe = |peer: &Peer, filter: &str| world.try_subscribe(peer, filter, options(TWO));

    assert_eq!(subscribe(&kept, "new"), Err(Refusal::StoreFull));
    assert_eq!(subscribe(&kept, "old"), Ok(()));
    assert_eq!(subscribe(&unkept, "new"), Ok(()));
}

#[test]
fn a_group_of_kept_members_refuses_what_would_wait() {
    let (mut world, publisher) = keeping();
    let kept = world.subscriber(durable("kept"), "$share/kept/k", ONE);
    world.lose(&kept);
    world.subscriber(client("unkept"), "$share/unkept/u", ONE).wire.set_room(0);
    world.journal.set_full(true);

    let to_kept = world.publish(&publisher, &draft("k", "x", ONE));
    let to_unkept = world.publish(&publisher, &draft("u", "x", ONE));

    assert!(to_kept.all_refused() && to_kept.store_full);
    assert!(to_unkept.accepted == 1 && !to_unkept.store_full);
    assert_eq!(dropped(&world), 1);
}
