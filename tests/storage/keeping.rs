//! What is kept comes back after a restart, whether the store was closed or the process killed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dunlin::change::{Change, JournalState, KeptStage, SessionExpiry, Together};
use dunlin::packet::QoS;
use dunlin::storage::Offline;
use dunlin::topic::TopicName;

use crate::support::{
    Folder, Store, begun, client_id, completed, ended, filter, id, message, owed, queued, released,
    sent, subscribed, subscription, unqueued,
};

#[test]
fn everything_of_a_session_comes_back() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    let (first, second) = (message("a/b", "first"), message("a/c", "second"));
    store.keep(vec![
        begun("c"),
        subscribed("c", "a/+"),
        subscribed("c", "$share/g/b/#"),
        queued("c", 0, owed(&first)),
        queued("c", 1, owed(&second)),
        sent("c", None, 7, owed(&second)),
        Change::Received { client_id: client_id("c"), id: id(9) },
        Change::WillKept {
            client_id: client_id("c"),
            message: message("will", "gone"),
            expiry: Some(5),
            delay: Duration::from_secs(3),
            patience: Duration::from_secs(60),
        },
    ]);
    store.close();

    let store = Store::open(&folder);

    let session = store.session("c");
    let mut subscriptions = session.subscriptions.clone();
    subscriptions.sort_by_key(|(filter, _)| filter.to_string());
    assert_eq!(
        subscriptions,
        [(filter("$share/g/b/#"), subscription()), (filter("a/+"), subscription())]
    );
    let queue: Vec<_> = session.queue.iter().map(|it| (it.position, it.bytes as usize)).collect();
    assert_eq!(queue, [(0, first.bytes()), (1, second.bytes())]);
    let [inflight] = &*session.inflight else { panic!("{:?}", session.inflight) };
    let KeptStage::Published(published) = &inflight.stage else { panic!("{inflight:?}") };
    assert_eq!((inflight.id, &*published.message.payload), (id(7), &b"second"[..]));
    assert_eq!(session.received, [id(9)]);
    let will = session.will.as_ref().unwrap();
    assert_eq!((will.expiry, will.delay), (Some(5), Duration::from_secs(3)));
    assert_eq!(will.patience, Duration::from_secs(60));
    assert_eq!(session.last_packet_id, 7);
    assert_eq!(store.report.loaded.records(), 8);
}

#[test]
fn queued_messages_are_fetched_by_position() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    let shared = message("t", &"x".repeat(500));
    let mut changes = vec![begun("a"), begun("b")];
    for position in 0..10 {
        changes.push(queued("a", position, owed(&message("t", &position.to_string()))));
        changes.push(queued("b", position, owed(&shared)));
    }
    changes.push(queued("a", 10, owed(&shared)));
    store.keep(changes);
    store.submit(vec![unqueued("a", 3)]);

    let running = store.fetch("a", 2, 10);
    store.close();
    let store = Store::open(&folder);
    let restarted = store.fetch("a", 2, 10);
    let others = store.fetch("b", 0, 100);

    for messages in [running, restarted] {
        let positions: Vec<_> = messages.iter().map(|(position, _)| *position).collect();
        assert_eq!(positions, [2, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(&*messages[1].1.message.payload, b"4");
        assert_eq!(messages[7].1.message.payload, shared.payload);
        assert_eq!(messages[0].1.qos, QoS::AtLeastOnce);
    }
    assert_eq!(others.len(), 10);
    assert!(others.iter().all(|(_, owed)| Arc::ptr_eq(&owed.message, &others[0].1.message)));
    assert!(store.fetch("nobody", 0, 100).is_empty());
}

#[test]
fn a_killed_process_leaves_what_was_kept() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    store.keep(vec![begun("c"), queued("c", 0, owed(&message("t", "one")))]);
    store.keep(vec![
        queued("c", 1, owed(&message("t", "two"))),
        Change::Retained { message: message("r/1", "kept") },
        Change::Retained { message: message("r/2", "removed") },
    ]);
    store.keep(vec![Change::RetainedRemoved { topic: TopicName::parse("r/2").unwrap() }]);

    let killed = Store::open(&folder.copy());

    assert_eq!(killed.session("c").queue.len(), 2);
    let topics: Vec<_> = killed.kept.retained.iter().map(|it| it.topic.as_str()).collect();
    assert_eq!(topics, ["r/1"]);
}

#[test]
fn inflight_messages_come_back_in_the_order_of_sending() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    let text = |text| owed(&message("t", text));
    store.keep(vec![begun("c"), queued("c", 0, text("0")), queued("c", 1, text("1"))]);
    store.keep(vec![
        sent("c", Some(0), 30, text("0")),
        sent("c", None, 10, text("own")),
        sent("c", Some(1), 20, text("1")),
    ]);
    store.keep(vec![released("c", 20), released("c", 30)]);
    store.close();

    let store = Store::open(&folder);

    let session = store.session("c");
    let ids: Vec<_> = session.inflight.iter().map(|it| it.id.value()).collect();
    assert_eq!(ids, [30, 10, 20]);
    let places: Vec<_> = session
        .inflight
        .iter()
        .filter_map(|it| match it.stage {
            KeptStage::Released { place } => Some((place, it.id.value())),
            KeptStage::Published(_) => None,
        })
        .collect();
    assert!(places[0].0 > places[1].0, "20 was released before 30: {places:?}");
    assert!(session.queue.is_empty());
    assert!(store.fetch("c", 0, 9).is_empty());
}

#[test]
fn what_ended_does_not_come_back() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    let shared = message("t", &"x".repeat(500));
    store.keep(vec![
        begun("a"),
        begun("b"),
        begun("c"),
        subscribed("a", "#"),
        queued("a", 0, owed(&shared)),
        queued("b", 0, owed(&shared)),
        sent("b", None, 1, owed(&shared)),
    ]);
    store.keep(vec![
        ended("a"),
        completed("b", 1),
        unqueued("b", 0),
        Change::SessionExpiryChanged {
            client_id: client_id("c"),
            expiry: SessionExpiry::AtDisconnect,
        },
        // Nobody knows these any more.
        queued("a", 1, owed(&shared)),
        completed("b", 1),
    ]);
    store.close();

    let store = Store::open(&folder);
    let report = store.report.loaded.clone();
    store.close();
    let again = Store::open(&folder).report.loaded.clone();

    assert_eq!((report.sessions, report.records()), (1, 1));
    assert_eq!((again.records(), again.orphans, again.damaged), (1, 0, 0));
}

#[test]
fn what_all_takers_acknowledge_within_a_group_is_never_written() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    store.keep(vec![begun("a"), begun("b")]);
    let written = || store.control.status().bytes_written.load(Ordering::Relaxed);
    let before = written();
    let large = message("t", &"x".repeat(10_000));

    store.keep(vec![
        sent("a", None, 1, owed(&large)),
        queued("b", 0, owed(&large)),
        sent("b", Some(0), 1, owed(&large)),
        completed("a", 1),
        completed("b", 1),
    ]);

    assert!(written() - before < 100, "{} bytes", written() - before);
}

#[test]
fn a_message_of_several_takers_is_written_once_and_goes_with_the_last() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    let clients: Vec<_> = (0..100).map(|number| format!("c{number}")).collect();
    store.keep(clients.iter().map(|client| begun(client)).collect());
    let written = || store.control.status().bytes_written.load(Ordering::Relaxed);
    let before = written();
    let large = message("t", &"x".repeat(10_000));

    store.keep(clients.iter().map(|client| queued(client, 0, owed(&large))).collect());
    let once = written() - before;
    store.keep(clients.iter().skip(1).map(|client| unqueued(client, 0)).collect());
    let last = store.fetch("c0", 0, 0);
    store.keep(vec![unqueued("c0", 0)]);
    store.close();
    let (offline, _) = Offline::open(folder.path()).unwrap();
    let stats = offline.stats().unwrap();

    assert!(once < 20_000, "{once} bytes");
    assert_eq!(last[0].1.message.payload, large.payload);
    let messages = stats.families.iter().find(|it| it.name == "messages").unwrap();
    assert_eq!(messages.records, 0);
}

fn received(client: &str, packet_id: u16) -> Change {
    Change::Received { client_id: client_id(client), id: id(packet_id) }
}

// A QoS 2 PUBLISH that came in, and who owes it: they are submitted under two locks.
#[test]
fn what_belongs_together_is_kept_at_once_or_not_at_all() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    store.keep(vec![begun("c")]);
    let together = Together::begin(&*store.journal);
    let first = store.submit(vec![received("c", 9)]);
    // The commit thread has looked for long enough, and found nowhere to end a group.
    while !matches!(store.journal.state(), JournalState::Behind(_)) {
        std::thread::yield_now();
    }
    assert!(store.journal.kept() < first);
    let killed = folder.copy();
    // Somebody else's, which began meanwhile and is not done when the first is.
    let others = Together::begin(&*store.journal);
    let second = store.submit(vec![queued("c", 0, owed(&message("t", "x")))]);
    drop(together);
    assert!(store.journal.kept() < first);
    drop(others);
    store.wait_for(second);
    assert_eq!(store.journal.state(), JournalState::Keeping);
    store.close();

    let (killed, whole) = (Store::open(&killed), Store::open(&folder));

    let (before, after) = (killed.session("c"), whole.session("c"));
    assert_eq!((before.received.len(), before.queue.len()), (0, 0));
    assert_eq!((after.received.len(), after.queue.len()), (1, 1));
}

#[test]
fn what_is_submitted_before_something_that_belongs_together_waits_for_none_of_it() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    let before = store.submit(vec![begun("c")]);

    let together = Together::begin(&*store.journal);
    let after = store.submit(vec![received("c", 9)]);
    store.wait_for(before);

    assert!(store.journal.kept() < after);
    drop(together);
    store.wait_for(after);
}

// Messages of QoS 2 between clients that nobody keeps.
#[test]
fn while_nothing_is_submitted_that_belongs_together_queues_are_read_back() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    store.keep(vec![begun("c"), queued("c", 0, owed(&message("t", "x")))]);

    let _together = Together::begin(&*store.journal);
    let messages = store.fetch("c", 0, 0);

    assert_eq!(messages.len(), 1);
    assert_eq!(store.journal.state(), JournalState::Keeping);
}

// The order of the PUBRELs is that of the PUBRECs, and not of those that came again [MQTT-4.6.0-4].
#[test]
fn a_message_that_is_released_again_keeps_its_place() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    let both = message("t", "x");
    store.keep(vec![
        begun("c"),
        sent("c", None, 1, owed(&both)),
        sent("c", None, 2, owed(&both)),
        released("c", 1),
        released("c", 2),
        released("c", 1),
    ]);
    store.close();

    let store = Store::open(&folder);

    let places: Vec<_> = store
        .session("c")
        .inflight
        .iter()
        .map(|inflight| match inflight.stage {
            KeptStage::Released { place } => (inflight.id, place),
            KeptStage::Published(_) => panic!("{inflight:?}"),
        })
        .collect();
    let [(first, early), (second, late)] = places[..] else { panic!("{places:?}") };
    assert_eq!([first, second], [id(1), id(2)]);
    assert!(early < late, "{places:?}");
}
