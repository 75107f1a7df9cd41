//! The store cannot write for a while: its disk is full, or answers with errors.
//!
//! Each kind of trouble meets a broker under load. While it lasts, nothing that has to be kept is
//! accepted, the rest goes on; afterwards all goes on in the same process; and after a kill nothing
//! acknowledged is missing.

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::broker::Folder;
use crate::connect::Connect;
use crate::disk::Disk;
use crate::ledger::Report;
use crate::link::{Gone, Link};
use crate::probe::{Probe, publish_once, retained_reaches, unkept_passes};
use crate::random::Random;
use crate::seed;
use crate::server::{Server, Sync};
use crate::shared::{within, within_time};
use crate::shim::{Call, EIO, ENOSPC, Shim};
use crate::wire::Version;
use crate::world::World;

/// How long the broker may take to notice that it can write again.
const RECOVERY: Duration = Duration::from_secs(30);

const MEBIBYTES: u64 = 160;

/// What is done to the broker's files, and undone.
enum Trouble {
    Full(Disk),
    Failing { call: Call, error: u64, skip: u64 },
}

impl Trouble {
    fn begin(&self, server: &Server) {
        match self {
            Self::Full(disk) => disk.fill(),
            Self::Failing { call, error, skip } => server.shim().fail(*call, *error, *skip),
        }
    }

    fn end(&self, server: &Server) {
        match self {
            Self::Full(disk) => disk.free(),
            Self::Failing { .. } => {
                assert!(server.shim().hits() > 0, "no call of the broker failed");
                server.shim().heal();
            }
        }
    }
}

async fn meet(trouble: Trouble) {
    let seed = seed();
    println!("to repeat its moments: DUNLIN_DURABILITY_SEED={seed}");
    let mut random = Random::new(seed);
    let folder = Folder::new();
    let server = match &trouble {
        Trouble::Full(disk) => Server::start(&disk.data(), Sync::Always),
        Trouble::Failing { .. } => {
            let data = folder.path.join("data");
            Server::start_shimmed(&data, Sync::Always, Some(Shim::new(&folder.path)))
        }
    };
    let mut world = World::on(server, &random).await;
    let address = world.server.address();
    let id = world.server.id();
    let mut probe = Probe::new(&world.shared);
    publish_once(address, "retained/probe", true).await;

    let load = world.load(random.below(300) + 1).await;
    trouble.begin(&world.server);

    within_time(RECOVERY, "a PUBACK with 0x97", probe.until_refused(address, &world.shared)).await;
    check_trouble(address, &mut probe, &world).await;
    world.shared.cut();
    world.settle(load).await;

    trouble.end(&world.server);
    let accepted = probe.until_accepted(address, &world.shared);
    within_time(RECOVERY, "an acknowledgement after the trouble", accepted).await;
    let lasting = Connect::lasting(Version::V311, "a-new-one");
    let joined = until(|| Link::open(address, &lasting));
    within("a CONNACK after the trouble", joined).await.leave().await;
    world.check_restart().await;
    let load = world.load(random.below(300) + 1).await;
    assert_eq!(world.server.id(), id, "the same process");
    world.server.kill();
    world.settle(load).await;
    world.server.restart();

    let faults = world.finish().await;
    let (sent, acknowledged, refused) = world.shared.ledger().counts();
    println!("{sent} messages sent, {acknowledged} acknowledged, {refused} refused");
    // Who came back too late for the moment of the trouble had its Will sent.
    let faults: Vec<_> =
        faults.into_iter().filter(|fault| !fault.is_of("will/returning")).collect();
    assert!(faults.is_empty(), "{}", Report(&faults));
}

/// What clients are told while nothing can be kept.
async fn check_trouble(address: SocketAddr, probe: &mut Probe, world: &World) {
    for (version, code) in [(Version::V5, 0x88), (Version::V311, 0x03)] {
        let lasting = Connect::lasting(version, "wants-to-be-kept");
        let refused = within("a CONNACK", Link::open(address, &lasting)).await;
        assert_eq!(refused.err(), Some(Gone::Refused(code)), "{version:?}");
    }
    let refused = within("a PUBREC", probe.publish(address, &world.shared, Version::V5, 2)).await;
    assert_eq!(refused, Ok(0x97));
    for qos in [1, 2] {
        let closing = probe.publish(address, &world.shared, Version::V311, qos);
        let closed = within("the close before an acknowledgement", closing).await;
        assert_eq!(closed, Err(Gone::Closed), "3.1.1 at QoS {qos}");
    }
    within("a retained message", retained_reaches(address, "retained/probe")).await;
    within("a message of QoS 0", unkept_passes(address)).await;
    let told = async {
        while !world.server.log().contains("ERROR") {
            tokio::task::yield_now().await;
        }
    };
    within("an error in the log", told).await;
}

/// Tries until it works; each try is an answer of the broker's.
async fn until<T, F: Future<Output = Result<T, Gone>>>(mut attempt: impl FnMut() -> F) -> T {
    loop {
        if let Ok(done) = attempt().await {
            return done;
        }
    }
}

/// Writes and syncs two files; the shim is for one of them.
const WRITER: &str = "\
import os, sys
for path in sys.argv[1:]:
    file = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        print('wrote', os.write(file, b'0123456789'))
        print('synced', os.fsync(file))
    except OSError as error:
        print('failed', error.errno)
";

/// Calls that do not fail would prove nothing.
#[test]
fn the_shim_lets_the_chosen_calls_on_the_chosen_files_fail() {
    for (call, skip, expected, length) in [
        (Call::Write, 0, "failed 5", 0),
        (Call::TornWrite, 0, "failed 5", 5),
        (Call::Write, 1, "wrote 10\nsynced None", 10),
        (Call::Sync, 0, "wrote 10\nfailed 5", 10),
    ] {
        let folder = Folder::new();
        let (data, other) = (folder.path.join("data"), folder.path.join("other"));
        let shim = Shim::new(&folder.path);
        let mut writer = Command::new("python3");
        shim.set(&mut writer, &data);
        shim.fail(call, EIO, skip);

        let output = writer.args(["-c", WRITER]).args([&data, &other]).output().expect("python3");

        let told = String::from_utf8(output.stdout).expect("text");
        assert_eq!(told.trim(), format!("{expected}\nwrote 10\nsynced None"), "{call:?}");
        assert_eq!(fs::metadata(&data).expect("it was made").len(), length, "{call:?}");
        assert_eq!(shim.hits(), u64::from(expected.contains("failed")));
    }
}

#[tokio::test]
async fn a_full_disk() {
    if let Some(disk) = Disk::ext4(MEBIBYTES) {
        meet(Trouble::Full(disk)).await;
    }
}

#[tokio::test]
async fn a_full_file_system_in_memory() {
    if let Some(disk) = Disk::memory(MEBIBYTES) {
        meet(Trouble::Full(disk)).await;
    }
}

#[tokio::test]
async fn a_write_that_fails() {
    meet(Trouble::Failing { call: Call::Write, error: EIO, skip: 3 }).await;
}

#[tokio::test]
async fn a_write_of_which_half_is_done() {
    meet(Trouble::Failing { call: Call::TornWrite, error: ENOSPC, skip: 0 }).await;
}

#[tokio::test]
async fn a_sync_that_fails() {
    meet(Trouble::Failing { call: Call::Sync, error: EIO, skip: 2 }).await;
}

#[tokio::test]
async fn files_that_can_neither_be_written_nor_made() {
    meet(Trouble::Failing { call: Call::All, error: EIO, skip: 0 }).await;
}
