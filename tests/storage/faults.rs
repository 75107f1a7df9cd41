//! What follows when writing or syncing fails: nothing submitted is dropped, and whoever waits is
//! told.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Wake, Waker};

use dunlin::change::{CommitNumber, Fetch, JournalState};
use dunlin::config::StorageSync;
use dunlin::storage::{BACKLOG_BYTES_MAX, BACKLOG_CHANGES_MAX, Fault};

use crate::support::{Folder, Store, begun, message, owed, queued};

/// Says that it was woken.
struct Told(mpsc::Sender<()>);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

fn told() -> (Waker, mpsc::Receiver<()>) {
    let (sender, receiver) = mpsc::channel();
    (Waker::from(Arc::new(Told(sender))), receiver)
}

#[test]
fn what_could_not_be_written_is_kept_when_it_can_be() {
    for fault in [Fault::Write, Fault::Sync, Fault::Open] {
        let folder = Folder::new();
        let store = Store::open(&folder);
        store.keep(vec![begun("c"), queued("c", 0, owed(&message("t", "before")))]);
        let (waker, woken) = told();

        store.control.inject(fault);
        let number = store.submit(vec![queued("c", 1, owed(&message("t", "while")))]);
        store.journal.wake_when_kept(number, &waker);
        woken.recv().unwrap();
        // The kernel may have taken it or not, but nobody was told that it is kept.
        let (kept, state) = (store.journal.kept(), store.journal.state());
        let later = store.submit(vec![queued("c", 2, owed(&message("t", "later")))]);
        store.control.inject(Fault::None);
        store.wait_for_mended(later);
        let fetched = store.fetch("c", 0, 9);
        let copy = folder.copy();

        assert!(kept < number, "{fault:?}");
        assert_eq!(state, JournalState::Failing, "{fault:?}");
        assert_eq!(fetched.len(), 3, "{fault:?}");
        assert_eq!(Store::open(&copy).session("c").queue.len(), 3, "{fault:?}");
    }
}

#[test]
fn who_begins_to_wait_while_the_store_fails_is_told_at_once() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    store.control.inject(Fault::Write);
    let (waker, woken) = told();
    let number = store.submit(vec![begun("c")]);
    store.journal.wake_when_kept(number, &waker);
    woken.recv().unwrap();

    store.journal.wake_when_kept(number, &waker);

    woken.try_recv().unwrap();
    store.control.inject(Fault::None);
    store.wait_for_mended(number);
    assert_eq!(store.journal.state(), JournalState::Keeping);
}

#[test]
fn waiters_are_woken_once_and_only_for_their_number() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    let (waker, woken) = told();
    let (first, second) = (CommitNumber(1), CommitNumber(2));
    let (other, others_woken) = told();
    // Asked for twice, and before there is anything to wait for.
    store.journal.wake_when_kept(first, &waker);
    store.journal.wake_when_kept(first, &waker);
    store.journal.wake_when_kept(second, &other);

    let number = store.submit(vec![begun("a")]);
    woken.recv().unwrap();
    let early = others_woken.try_recv();
    store.keep(vec![begun("b")]);
    others_woken.recv().unwrap();

    assert_eq!(number, first);
    assert!(early.is_err());
    assert!(woken.try_recv().is_err());
}

/// Keeps the store's thread from going on until it is told to.
struct Held {
    arrived: mpsc::SyncSender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Wake for Held {
    fn wake(self: Arc<Self>) {
        self.arrived.send(()).unwrap();
        self.go_on.lock().unwrap().recv().unwrap();
    }
}

/// A store with one Session whose thread is held, and what lets it go on.
fn held(folder: &Folder) -> (Store, mpsc::Sender<()>) {
    let store = Store::open(folder);
    let (arrived, arrival) = mpsc::sync_channel(1);
    let (sender, go_on) = mpsc::channel();
    let waker = Waker::from(Arc::new(Held { arrived, go_on: Mutex::new(go_on) }));
    store.journal.wake_when_kept(CommitNumber(1), &waker);
    store.submit(vec![begun("c")]);
    arrival.recv().unwrap();
    (store, sender)
}

#[test]
fn a_store_that_cannot_keep_up_says_until_when_to_wait() {
    let folder = Folder::new();
    let (store, go_on) = held(&folder);
    let small = message("t", "x");
    let mut last = CommitNumber::NONE;
    for position in 0..BACKLOG_CHANGES_MAX {
        last = store.submit(vec![queued("c", position, owed(&small))]);
    }

    let full = store.journal.state();
    let number = store.submit(vec![queued("c", BACKLOG_CHANGES_MAX, owed(&small))]);
    let above = store.journal.state();
    go_on.send(()).unwrap();
    store.wait_for(number);

    assert_eq!(full, JournalState::Keeping, "{last:?}");
    assert_eq!(above, JournalState::Behind(number));
    assert_eq!(store.journal.state(), JournalState::Keeping);
    let status = store.control.status();
    assert_eq!(status.backlog_changes.load(Ordering::Relaxed), 0);
    assert_eq!(status.backlog_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn large_messages_put_the_store_behind() {
    let folder = Folder::new();
    let (store, go_on) = held(&folder);
    let large = message("t", &"x".repeat(1 << 20));
    let positions = 0..=BACKLOG_BYTES_MAX >> 20;
    let changes = positions.map(|position| queued("c", position, owed(&large))).collect();

    let number = store.submit(changes);
    let state = store.journal.state();
    go_on.send(()).unwrap();
    store.wait_for(number);

    assert_eq!(state, JournalState::Behind(number));
    assert_eq!(store.journal.state(), JournalState::Keeping);
    store.close();
    assert_eq!(Store::open(&folder).session("c").queue.len(), 65);
}

#[test]
fn every_policy_keeps_what_was_submitted_before_it_is_closed() {
    for sync in [StorageSync::Always, StorageSync::Interval, StorageSync::Os, StorageSync::Off] {
        let folder = Folder::new();
        let store = Store::open_with(&folder, sync);
        let number = store.submit(vec![begun("c"), queued("c", 0, owed(&message("t", "x")))]);
        let waits = number > CommitNumber::NONE;
        store.wait_for(number);
        let copied = waits.then(|| folder.copy());
        store.close();

        assert_eq!(waits, sync != StorageSync::Off);
        // Whoever was told that it is kept finds it after the process was killed.
        for folder in copied.iter().chain([&folder]) {
            assert_eq!(Store::open(folder).session("c").queue.len(), 1, "{sync:?}");
        }
    }
}

#[test]
fn identifiers_skip_ahead_if_more_may_have_been_sent_than_was_kept() {
    for (sync, ahead) in [(StorageSync::Always, 0), (StorageSync::Os, 1 << 15)] {
        let folder = Folder::new();
        let store = Store::open_with(&folder, sync);
        let number = store
            .submit(vec![begun("c"), crate::support::sent("c", None, 7, owed(&message("t", "x")))]);
        store.wait_for(number);
        let killed = folder.copy();
        store.close();

        let (killed, closed) = (Store::open(&killed), Store::open(&folder));

        assert_eq!(killed.session("c").last_packet_id, 7 + ahead, "{sync:?}");
        assert_eq!(closed.session("c").last_packet_id, 7, "{sync:?}");
    }
}

#[test]
fn a_second_broker_is_refused() {
    let folder = Folder::new();
    let store = Store::open(&folder);

    let error = Store::open_at(&folder, StorageSync::Always, crate::support::now());

    assert!(error.err().unwrap().to_string().contains("in use by another dunlin"));
    store.close();
    Store::open(&folder);
}

#[test]
fn a_reply_may_be_the_last_that_has_the_store() {
    let folder = Folder::new();
    let Store { journal, control, .. } = Store::open(&folder);
    drop(control);
    let (sender, receiver) = mpsc::channel();
    let fetch = Fetch { client_id: crate::support::client_id("c"), first: 0, last: 0 };
    let (own, (go_on, held)) = (Arc::clone(&journal), mpsc::channel::<()>());

    journal.fetch(
        fetch,
        Box::new(move |_| {
            held.recv().unwrap();
            drop(own);
            sender.send(()).unwrap();
        }),
    );
    drop(journal);
    go_on.send(()).unwrap();

    receiver.recv().unwrap();
}
