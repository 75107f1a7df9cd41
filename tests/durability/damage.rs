//! Damaged files: whatever is done to one of them, the broker starts, serves what is left and says
//! what is not. And directories that it must leave alone.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::broker::Folder;
use crate::bulk;
use crate::connect::Connect;
use crate::is_long;
use crate::link::Link;
use crate::probe::{publish_once, unkept_passes};
use crate::random::Random;
use crate::seed;
use crate::server::{Server, Sync};
use crate::shared::within;
use crate::wire::Version;

/// How many files at least are damaged in the short form.
const FILES: usize = 6;

const SESSIONS: u32 = 3;
const MESSAGES: u32 = 400;

const OTHER_DATA: i32 = 65;
const TEMPORARY_FAILURE: i32 = 75;
const NO_PERMISSION: i32 = 77;
const CONFIGURATION: i32 = 78;

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// A bit here and there.
    Flipped,
    /// The second half is gone.
    Cut,
    Emptied,
    Deleted,
}

const DAMAGES: [Damage; 4] = [Damage::Flipped, Damage::Cut, Damage::Emptied, Damage::Deleted];

impl Damage {
    fn inflict(self, file: &Path, random: &mut Random) {
        let mut bytes = fs::read(file).expect("a file of the store");
        match self {
            Self::Flipped => {
                for _ in 0..bytes.len().min(8) {
                    let at = random.index(bytes.len());
                    bytes[at] ^= 1 << random.below(8);
                }
            }
            Self::Cut => bytes.truncate(bytes.len() / 2),
            Self::Emptied => bytes.clear(),
            Self::Deleted => return fs::remove_file(file).expect("it can be deleted"),
        }
        fs::write(file, bytes).expect("it can be written");
    }
}

/// A directory with Sessions that have queues, Retained Messages, and some of it read back before.
async fn stocked() -> Folder {
    let folder = Folder::new();
    let data = folder.path.join("data");
    let mut server = Server::start(&data, Sync::Os);
    for session in 0..SESSIONS {
        bulk::subscribe_away(server.address(), session).await;
    }
    for half in 0..2 {
        let numbers = half * MESSAGES / 2..(half + 1) * MESSAGES / 2;
        bulk::publish(server.address(), SESSIONS, numbers, bulk::PAYLOAD_BYTES).await;
        for number in 0..20 {
            publish_once(server.address(), &format!("stock/{half}/{number}"), true).await;
        }
        server.kill();
        server.restart();
    }
    server.kill();
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a directory").flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("a kind of file");
        if kind.is_dir() {
            found.extend(files(&path));
        } else if kind.is_file() {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// All journals and tables, and of the others some or all.
fn chosen(original: &Path, random: &mut Random) -> Vec<PathBuf> {
    let is_of_records = |file: &PathBuf| {
        file.extension().is_some_and(|extension| extension == "jnl")
            || file.parent().is_some_and(|folder| folder.ends_with("tables"))
    };
    let (mut chosen, mut others): (Vec<_>, Vec<_>) =
        files(original).into_iter().partition(is_of_records);
    while !others.is_empty() && (is_long() || chosen.len() < FILES) {
        chosen.push(others.swap_remove(random.index(others.len())));
    }
    chosen
}

/// The regular files of it: a socket is the process's.
fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let copied = to.join(file.strip_prefix(from).expect("below it"));
        fs::create_dir_all(copied.parent().expect("a directory")).expect("a directory");
        fs::copy(&file, &copied).expect("a file can be copied");
    }
}

/// Whether all is there that was, unaltered; what is altered is a failure.
async fn is_whole(address: SocketAddr) -> bool {
    let mut whole = true;
    for session in 0..SESSIONS {
        let found = bulk::take_what_is_there(address, session).await;
        whole &= found == (0..MESSAGES).collect::<BTreeSet<_>>();
    }
    whole && bulk::count_retained(address, "stock/#").await == 40
}

/// The broker goes on: also what it keeps from now on is kept.
async fn check_service(server: &mut Server) {
    unkept_passes(server.address()).await;
    let connect = Connect::lasting(Version::V311, "newcomer");
    let link = Link::open(server.address(), &connect).await.expect("a new Session is kept");
    link.leave().await;
    server.kill();
    server.restart();
    let link = Link::open(server.address(), &connect).await.expect("a connection");
    assert!(link.session_present, "a Session begun after the damage");
    link.leave().await;
}

#[tokio::test]
async fn a_broker_starts_whatever_file_is_damaged_and_says_what_is_gone() {
    let seed = seed();
    println!("to repeat the damage: DUNLIN_DURABILITY_SEED={seed}");
    let mut random = Random::new(seed);
    let stock = stocked().await;
    let original = stock.path.join("data");
    let mut problems = Vec::new();
    for (number, file) in chosen(&original, &mut random).into_iter().enumerate() {
        let name = file.strip_prefix(&original).expect("below it").to_owned();
        let one = DAMAGES[(number + random.index(DAMAGES.len())) % DAMAGES.len()];
        for damage in DAMAGES.into_iter().filter(|damage| is_long() || *damage as u8 == one as u8) {
            println!("{damage:?} {}", name.display());
            let folder = Folder::new();
            let data = folder.path.join("data");
            copy(&original, &data);
            damage.inflict(&data.join(&name), &mut random);

            let mut server = match Server::attempt(&data, Sync::Os) {
                Ok(server) => server,
                Err(failed) => {
                    problems.push(format!("{damage:?} {}: {failed}", name.display()));
                    continue;
                }
            };

            let read = is_whole(server.address());
            let is_whole = within("what is left of a damaged store", read).await;
            let log = server.log();
            let is_told = log.contains("WARN") || log.contains("ERROR");
            if !is_whole && !is_told {
                problems.push(format!("{damage:?} {}: not told what is gone", name.display()));
            }
            within("the service after damage", check_service(&mut server)).await;
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test]
async fn an_unharmed_store_is_whole() {
    let stock = stocked().await;

    let server = Server::start(&stock.path.join("data"), Sync::Os);

    assert!(is_whole(server.address()).await);
    let log = server.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

#[tokio::test]
async fn a_second_broker_on_a_directory_is_refused() {
    let folder = Folder::new();
    let data = folder.path.join("data");
    let first = Server::start(&data, Sync::Os);

    let refused = Server::attempt(&data, Sync::Os).expect_err("one broker a directory");

    assert_eq!(refused.status.code(), Some(TEMPORARY_FAILURE), "{refused}");
    assert!(refused.log.contains("in use"), "{refused}");
    unkept_passes(first.address()).await;
}

/// Refused with this code, and not a file of it is another one than before.
fn assert_left_alone(data: &Path, code: i32, told: &str) {
    let before: Vec<_> = files(data).into_iter().map(|file| (fs::read(&file).ok(), file)).collect();

    let refused = Server::attempt(data, Sync::Os).expect_err("not a directory for this broker");

    assert_eq!(refused.status.code(), Some(code), "{refused}");
    assert!(refused.log.contains(told), "no {told:?} in {refused}");
    let after: Vec<_> = files(data).into_iter().map(|file| (fs::read(&file).ok(), file)).collect();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_directory_with_files_of_somebody_else_is_left_alone() {
    let folder = Folder::new();
    fs::write(folder.path.join("mosquitto.db"), "not ours").expect("a file");

    assert_left_alone(&folder.path, CONFIGURATION, "mosquitto.db");
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_left_alone() {
    let stock = stocked().await;
    let data = stock.path.join("data");
    // With its XXH3, so that it is not taken for damage.
    let newer = "dunlin store schema 999 6aca6d177950eba3\n";
    fs::write(data.join("schema"), newer).expect("a file");

    assert_left_alone(&data, OTHER_DATA, "schema 999");
}

/// Root may write everywhere: then the broker runs as somebody else.
#[tokio::test]
async fn a_directory_that_cannot_be_written_is_refused() {
    let folder = Folder::new();
    let data = folder.path.join("data");
    fs::create_dir(&data).expect("a directory");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o555)).expect("the owner's");

    let refused = Server::attempt_as_nobody(&data).expect_err("it cannot be written");

    assert_eq!(refused.status.code(), Some(NO_PERMISSION), "{refused}");
    assert!(refused.log.contains("data directory"), "{refused}");
    assert!(files(&data).is_empty());
}

#[tokio::test]
async fn a_store_belongs_to_its_owner_alone() {
    let folder = Folder::new();
    let data = folder.path.join("data");

    let mut server = Server::start(&data, Sync::Os);

    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    server.stop();
}
