//! What follows when writing or syncing fails: nothing submitted is dropped, and whoever waits is
//! told.

use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Wake, Waker};

use dunlin::change::{CommitNumber, JournalState};
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
    let first = store.submit(vec![begun("a")]);
    store.journal.wake_when_kept(first, &waker);
    store.journal.wake_when_kept(first, &waker);
    woken.recv().unwrap();
    let (other, others_woken) = told();
    store.journal.wake_when_kept(CommitNumber(first.0 + 1), &other);

    store.keep(vec![begun("b")]);

    others_woken.recv().unwrap();
    assert!(woken.try_recv().is_err());
    assert_eq!(first, CommitNumber(1));
}

#[test]
fn a_store_that_cannot_keep_up_says_until_when_to_wait() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    // Nothing is written while it fails, so that the backlog grows as it would behind a slow disk.
    store.control.inject(Fault::Open);
    let (waker, woken) = told();
    let begun = store.submit(vec![begun("c")]);
    store.journal.wake_when_kept(begun, &waker);
    woken.recv().unwrap();
    let small = message("t", "x");
    for position in 0..=BACKLOG_CHANGES_MAX {
        store.submit(vec![queued("c", position, owed(&small))]);
    }
    let status = store.control.status();
    let backlog = status.backlog_changes.load(std::sync::atomic::Ordering::Relaxed);

    store.control.inject(Fault::None);
    let last = store.submit(vec![queued("c", u64::MAX, owed(&small))]);
    store.wait_for_mended(last);

    assert!(backlog > BACKLOG_CHANGES_MAX);
    assert_eq!(store.journal.state(), JournalState::Keeping);
    assert_eq!(status.backlog_changes.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert_eq!(status.backlog_bytes.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn a_group_of_large_messages_puts_the_store_behind() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    let large = message("t", &"x".repeat(1 << 20));
    let mut changes = vec![begun("c")];
    for position in 0..=BACKLOG_BYTES_MAX >> 20 {
        changes.push(queued("c", position, owed(&large)));
    }

    let number = store.submit(changes);
    let state = store.journal.state();
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
