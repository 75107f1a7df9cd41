//! The power goes: a file system is shut down under load, with all that was not synced dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::ledger::{Fault, Report};
use crate::random::Random;
use crate::server::Sync;
use crate::world::World;
use crate::{rounds, seed};

const MEBIBYTES: u64 = 256;

/// `storage.sync_interval`, and what a sync may take then.
const INTERVAL: Duration = Duration::from_millis(1_000 + 500);

/// What was found after each power cut, with its moment.
struct Cut {
    moment: Instant,
    faults: Vec<Fault>,
}

/// Cuts the power so many times, each after a load that lasted that long; until something is found.
async fn cut_power(sync: Sync, rounds: u64, lasting: Duration) -> Option<Vec<Cut>> {
    let seed = seed();
    println!("power, {sync:?}: to repeat its moments: DUNLIN_DURABILITY_SEED={seed}");
    let mut random = Random::new(seed);
    let disk = Arc::new(Disk::ext4(MEBIBYTES)?);
    let mut world = World::new(&disk.data(), sync, &random).await;
    let mut cuts = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        let load = world.load(random.below(600) + 1).await;
        while start.elapsed() < lasting {
            world.shared.until_acknowledged(1).await;
        }
        let moment = Instant::now();
        // Who has no power acknowledges nothing: a sync that returns while the file system goes
        // down says nothing of a disk.
        world.server.freeze();
        let cut = Arc::clone(&disk);
        tokio::task::spawn_blocking(move || cut.power_down()).await.expect("the power goes");
        world.server.kill();
        world.settle(load).await;
        disk.power_up();
        world.server.restart();
        world.check_restart().await;
        let faults = world.finish().await;
        let is_over = !faults.is_empty();
        cuts.push(Cut { moment, faults });
        if is_over {
            break;
        }
    }
    drop(world);
    Some(cuts)
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_a_power_cut_under_always() {
    let cuts = cut_power(Sync::Always, rounds(4), Duration::ZERO).await;
    for Cut { faults, .. } in cuts.unwrap_or_default() {
        assert!(faults.is_empty(), "{}", Report(&faults));
    }
}

#[tokio::test]
async fn a_power_cut_under_interval_loses_nothing_older_than_the_interval() {
    let cuts = cut_power(Sync::Interval, rounds(1).min(10), INTERVAL * 2).await;
    for Cut { moment, mut faults } in cuts.unwrap_or_default() {
        faults.retain(|fault| match fault {
            Fault::Lost { acknowledged: Some(at), .. } => *at + INTERVAL < moment,
            Fault::Lost { acknowledged: None, .. }
            | Fault::SessionLost { .. }
            | Fault::Silent { .. }
            | Fault::NeverSent { .. } => true,
            // What follows from state that is a second old.
            Fault::Twice { .. }
            | Fault::OutOfOrder { .. }
            | Fault::Retained { .. }
            | Fault::SessionBack { .. }
            | Fault::Subscription { .. } => false,
        });
        assert!(faults.is_empty(), "{}", Report(&faults));
    }
}

/// The checker sees what a power cut takes.
#[tokio::test]
async fn a_power_cut_under_os_loses_messages_and_the_checker_sees_it() {
    let Some(cuts) = cut_power(Sync::Os, 4, Duration::ZERO).await else { return };
    let mut faults = cuts.iter().flat_map(|cut| &cut.faults);
    let is_loss = |fault: &Fault| matches!(fault, Fault::Lost { .. } | Fault::SessionLost { .. });
    assert!(faults.any(is_loss), "four power cuts under `os` lost nothing that the checker sees");
}
