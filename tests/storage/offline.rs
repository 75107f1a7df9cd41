//! Copies of a running store, and looking into one that nobody uses.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, UNIX_EPOCH};

use dunlin::change::{Change, SessionExpiry};
use dunlin::config::StorageSync;
use dunlin::packet::{Identity, UserName};
use dunlin::storage::{Offline, StorageError};
use dunlin::time::Now;

use crate::support::{
    Folder, Store, begun, client_id, ended, message, now, owed, queued, subscribed, unqueued,
};

#[test]
fn a_backup_has_what_was_kept_and_is_a_store_of_its_own() {
    let (folder, backup) = (Folder::new(), Folder::new());
    let store = Store::open(&folder);
    store.keep(vec![begun("c"), queued("c", 0, owed(&message("t", "x")))]);

    let copied = store.control.backup(backup.path()).unwrap();
    let again = store.control.backup(backup.path());
    store.keep(vec![queued("c", 1, owed(&message("t", "later")))]);

    let restored = Store::open(&backup);
    assert_eq!(restored.session("c").queue.len(), 1);
    assert!(copied >= 2);
    assert!(matches!(again, Err(StorageError::NotEmpty { .. })));
    assert_eq!(store.fetch("c", 0, 9).len(), 2);
}

#[test]
fn a_store_that_nobody_uses_can_be_looked_into() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    let shared = message("t/\"1\"", &"x".repeat(500));
    store.keep(vec![
        begun("a"),
        begun("b"),
        subscribed("a", "t/#"),
        queued("a", 0, owed(&shared)),
        queued("b", 0, owed(&shared)),
    ]);
    let in_use = Offline::open(folder.path());
    store.close();

    let (offline, problems) = Offline::open(folder.path()).unwrap();
    let mut lines = Vec::new();
    offline.dump(|record| lines.push(record.to_json())).unwrap();
    let stats = offline.stats().unwrap();

    assert!(matches!(in_use, Err(StorageError::InUse { .. })));
    assert_eq!((problems, offline.verify()), (Vec::new(), Vec::new()));
    for line in &lines {
        let parsed: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(parsed["family"].is_string(), "{line}");
    }
    let has = |text: &str| lines.iter().any(|line| line.contains(text));
    assert!(has("\"client_id\":\"a\"") && has("\"filter\":\"t/#\"") && has("t/\\\"1\\\""));
    let records = |name| stats.families.iter().find(|it| it.name == name).unwrap().records;
    assert_eq!((records("sessions"), records("queue"), records("messages")), (2, 2, 1));
    assert!(stats.disk_bytes > 0);
}

#[test]
fn a_directory_without_a_store_cannot_be_looked_into() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path()).unwrap();

    assert!(matches!(Offline::open(folder.path()), Err(StorageError::Missing { .. })));
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[test]
fn a_directory_of_somebody_else_is_not_touched() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path()).unwrap();
    fs::write(folder.path().join("thesis.tex"), "").unwrap();

    let error = Store::open_at(&folder, StorageSync::Always, now()).err().unwrap();

    assert!(error.to_string().contains("thesis.tex"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_store_with_a_newer_schema_is_refused_and_not_touched() {
    let folder = Folder::new();
    Store::open(&folder).close();
    // As a later version would write it.
    let text = "dunlin store schema 2";
    let line = format!("{text} {:016x}\n", xxhash_rust::xxh3::xxh3_64(text.as_bytes()));
    fs::write(folder.path().join("schema"), &line).unwrap();
    let before = fs::read(folder.path().join("store/0.jnl")).unwrap();

    let error = Store::open_at(&folder, StorageSync::Always, now()).err().unwrap();

    assert!(error.to_string().contains("has schema 2"), "{error}");
    assert_eq!(fs::read_to_string(folder.path().join("schema")).unwrap(), line);
    assert_eq!(fs::read(folder.path().join("store/0.jnl")).unwrap(), before);
}

#[cfg(unix)]
#[test]
fn only_its_owner_may_look_into_a_new_data_directory() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();

    Store::open(&folder).close();

    let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn what_an_ended_session_left_is_removed() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    let mut changes = vec![begun("c"), subscribed("c", "#")];
    for position in 0..3_000 {
        changes.push(queued("c", position, owed(&message("t", "x"))));
    }
    store.keep(changes);
    store.keep(vec![ended("c")]);
    // The copy may be made before all of it was removed: then the start removes the rest.
    let killed = folder.copy();
    store.close();

    let store = Store::open(&killed);
    let (records, orphans) = (store.report.loaded.records(), store.report.loaded.orphans);
    store.close();
    let (offline, _) = Offline::open(killed.path()).unwrap();

    assert_eq!(records, 0, "{orphans} orphans");
    assert_eq!(offline.verify(), []);
    let stats = offline.stats().unwrap();
    assert!(stats.families.iter().all(|it| it.name == "meta" || it.records == 0), "{stats:?}");
}

#[test]
fn a_queue_that_was_drained_leaves_little() {
    const MESSAGES: u64 = 120_000;
    let folder = Folder::new();
    let store = Store::open_with(&folder, StorageSync::Os);
    store.keep(vec![begun("c")]);
    let text = "x".repeat(200);
    for from in (0..MESSAGES).step_by(1_000) {
        let all = from..from + 1_000;
        store.keep(all.map(|it| queued("c", it, owed(&message("t", &text)))).collect());
    }
    store.control.flush_tables();
    for from in (0..MESSAGES).step_by(1_000) {
        store.keep((from..from + 1_000).map(|it| unqueued("c", it)).collect());
    }
    while store.control.status().compactions.load(Ordering::Relaxed) < 2 {
        std::thread::yield_now();
    }
    store.close();

    let (offline, _) = Offline::open(folder.path()).unwrap();
    let stats = offline.stats().unwrap();
    let queue = stats.families.iter().find(|it| it.name == "queue").unwrap();

    assert_eq!(queue.records, 0);
    // What was deleted since the last of them, and 33 MB without any.
    assert!(queue.table_bytes < 16 << 20, "{} bytes of tables", queue.table_bytes);
}

#[test]
fn expiry_goes_on_while_the_broker_is_down_and_no_clock_is_believed_that_was_not_set() {
    const DAY: Duration = Duration::from_secs(86_400);
    let today = Duration::from_secs(1_790_000_000);
    let folder = Folder::new();
    let start = Instant::now();
    let at = |since_1970| Now { monotonic: start, wall: UNIX_EPOCH + since_1970 };
    let open = |since_1970| Store::open_at(&folder, StorageSync::Always, at(since_1970)).unwrap();
    let store = open(today);
    let mut expiring = message("t", "x");
    std::sync::Arc::get_mut(&mut expiring).unwrap().expires_at = Some(start + 2 * DAY);
    store.keep(vec![
        Change::SessionBegun {
            client_id: client_id("c"),
            identity: Identity::User(UserName::new("ann").unwrap()),
            expiry: SessionExpiry::After(3 * DAY),
        },
        queued("c", 0, owed(&expiring)),
        Change::SessionAway { client_id: client_id("c"), since: start },
    ]);
    store.close();
    // The clock kept at the end is the machine's own, so the downtime is told from that.
    let machine = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap().max(today);

    let unset = open(Duration::ZERO);
    let (away, expires) = (unset.session("c").away_since, unset.fetch("c", 0, 0));
    let close = Duration::from_secs(60);
    assert!(start.duration_since(away) < close);
    let left = expires[0].1.message.expires_at.unwrap() - start;
    assert!(left > 2 * DAY - close, "{left:?}");
    unset.close();

    let later = open(machine + DAY);
    let down = start.duration_since(later.session("c").away_since);
    assert!(down >= DAY && down < DAY + close, "{down:?}");
    let left = later.fetch("c", 0, 0)[0].1.message.expires_at.unwrap() - start;
    assert!(left > DAY - close && left <= DAY, "{left:?}");
    assert_eq!(later.session("c").identity, Identity::User(UserName::new("ann").unwrap()));
}
