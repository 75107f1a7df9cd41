//! A damaged store never keeps the broker from starting, and what is not damaged is served.

use std::fs;
use std::path::{Path, PathBuf};

use dunlin::config::StorageSync;
use dunlin::storage::Fault;

use crate::support::{Folder, Store, begun, message, now, owed, queued, subscribed};

/// Everything a store has, in journals and in tables.
fn filled() -> Folder {
    let folder = Folder::new();
    let store = Store::open(&folder);
    for client in ["a", "b", "c"] {
        let mut changes = vec![begun(client), subscribed(client, "t/#")];
        for position in 0..40 {
            let text = format!("{client} {position} {}", "x".repeat(300));
            changes.push(queued(client, position, owed(&message("t", &text))));
        }
        store.keep(changes);
    }
    store.control.flush_tables();
    for position in 40..60 {
        store.keep(vec![queued("a", position, owed(&message("t", "journal")))]);
    }
    store.close();
    folder
}

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

/// Damages each file of a store in some way and opens it: how many messages came back at least.
fn damage_each_file(damage: impl Fn(&mut Vec<u8>)) -> usize {
    let original = filled();
    let mut all = Vec::new();
    files(original.path(), &mut all);
    let mut least = usize::MAX;
    for path in all {
        let within = path.strip_prefix(original.path()).unwrap();
        let copy = original.copy();
        let damaged = copy.path().join(within);
        let mut bytes = fs::read(&damaged).unwrap();
        if bytes.is_empty() {
            continue;
        }
        damage(&mut bytes);
        fs::write(&damaged, bytes).unwrap();

        let opened = Store::open_at(&copy, StorageSync::Always, now());

        let store = opened.unwrap_or_else(|error| panic!("{}: {error}", within.display()));
        let waiting: usize = store.kept.sessions.iter().map(|it| it.queue.len()).sum();
        let fetched: usize = store
            .kept
            .sessions
            .iter()
            .map(|it| store.fetch(it.client_id.as_str(), 0, 99).len())
            .sum();
        assert_eq!(waiting, fetched, "{}", within.display());
        // It keeps what comes, and starts again without complaint.
        store.keep(vec![begun("new"), queued("new", 0, owed(&message("t", "x")))]);
        store.close();
        let again = Store::open(&copy);
        assert_eq!(again.session("new").queue.len(), 1, "{}", within.display());
        assert_eq!(again.report.loaded.damaged, 0, "{}", within.display());
        assert!(again.report.damage.set_aside.is_none(), "{}", within.display());
        least = least.min(waiting);
    }
    least
}

#[test]
fn a_flipped_bit_in_any_file_costs_little() {
    for place in [3, 5, 7] {
        let least = damage_each_file(|bytes| {
            let at = bytes.len() * place / 10;
            bytes[at] ^= 0x10;
        });
        assert!(least >= 139, "at {place} tenths only {least} came back");
    }
}

#[test]
fn a_flipped_bit_at_either_end_of_any_file_keeps_no_store_closed() {
    damage_each_file(|bytes| bytes[0] ^= 0x01);
    damage_each_file(|bytes| *bytes.last_mut().unwrap() ^= 0x80);
}

#[test]
fn any_file_may_be_cut_short() {
    damage_each_file(|bytes| bytes.truncate(bytes.len() / 2));
    damage_each_file(Vec::clear);
}

#[test]
fn a_damaged_group_in_a_journal_costs_no_other() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    store.keep(vec![begun("c")]);
    for position in 0..50 {
        let text = format!("message number {position}.");
        store.keep(vec![queued("c", position, owed(&message("t", &text)))]);
    }
    let copy = folder.copy();
    let journal = copy.path().join("store/0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    let at = find(&bytes, b"message number 20.");
    bytes[at] ^= 1;
    fs::write(&journal, &bytes).unwrap();

    let store = Store::open(&copy);

    let positions: Vec<_> = store.session("c").queue.iter().map(|it| it.position).collect();
    assert_eq!(positions, (0..50).filter(|it| *it != 20).collect::<Vec<_>>());
    let damage = &store.report.damage;
    assert_eq!(damage.gaps, 1);
    let aside = damage.set_aside.as_ref().unwrap().join("0.jnl");
    assert_eq!(fs::read(aside).unwrap(), bytes);
}

#[test]
fn a_damaged_block_of_a_table_costs_what_is_in_it() {
    let original = filled();
    // Long ago written into tables, so that no journal has it any more.
    fs::remove_file(original.path().join("store/0.jnl")).unwrap();
    let whole = Store::open(&original.copy());
    let all: usize = whole.kept.sessions.iter().map(|it| it.queue.len()).sum();
    assert_eq!(all, 120);
    let mut tables = Vec::new();
    files(&original.path().join("store/keyspaces/4/tables"), &mut tables);
    for place in [1, 4, 7] {
        let copy = original.copy();
        let table = copy.path().join(tables[0].strip_prefix(original.path()).unwrap());
        let mut bytes = fs::read(&table).unwrap();
        let at = bytes.len() * place / 10;
        bytes[at] ^= 1;
        fs::write(&table, bytes).unwrap();

        let store = Store::open(&copy);

        // What is written now is newer than what was there.
        store.keep(vec![crate::support::ended("a"), begun("a")]);
        let left: usize = store.kept.sessions.iter().map(|it| it.queue.len()).sum();
        assert!(left < all && left > all * 3 / 4, "{left} of {all} at {place} tenths");
        assert!(store.report.damage.gaps > 0);
        assert_eq!(store.kept.sessions.len(), 3);
    }
}

#[test]
fn a_group_that_was_being_written_is_cut_off() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    store.keep(vec![begun("c"), queued("c", 0, owed(&message("t", "first")))]);
    store.keep(vec![queued("c", 1, owed(&message("t", "second")))]);
    let copy = folder.copy();
    let journal = copy.path().join("store/0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    let end = find(&bytes, b"second") + 6;
    bytes[end..].fill(0);
    fs::write(&journal, &bytes).unwrap();

    let store = Store::open(&copy);

    assert_eq!(store.session("c").queue.len(), 1);
    assert!(store.report.damage.cut_off_bytes > 0);
    assert!(store.report.damage.set_aside.is_none());
}

#[test]
fn a_store_that_is_gone_while_it_runs_is_made_again() {
    let folder = Folder::new();
    let store = Store::open(&folder);
    store.keep(vec![begun("c")]);

    store.control.inject(Fault::Write);
    let number = store.submit(vec![queued("c", 0, owed(&message("t", "x")))]);
    store.control.inject(Fault::None);
    store.wait_for_mended(number);

    assert_eq!(store.fetch("c", 0, 0).len(), 1);
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap()
}
