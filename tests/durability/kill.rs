//! SIGKILL under load, again and again on the same directory.

use crate::broker::Folder;
use crate::ledger::{Fault, Report};
use crate::link::Gone;
use crate::random::Random;
use crate::server::Sync;
use crate::world::World;
use crate::{rounds, seed};

/// After how many rounds everything is brought to its end and looked at.
const FINISH_EVERY: u64 = 4;

/// Kills so many times, each after at least so many messages; the faults that are found.
async fn kill_rounds(sync: Sync, rounds: u64, messages_min: u64) -> Vec<Fault> {
    let seed = seed();
    println!("{sync:?}: {rounds} rounds; to repeat their moments: DUNLIN_DURABILITY_SEED={seed}");
    let mut random = Random::new(seed);
    let folder = Folder::new();
    let mut world = World::new(&folder.path.join("data"), sync, &random).await;
    for round in 1..=rounds {
        let moment = messages_min + random.below(600);
        let load = world.load(moment).await;
        world.server.kill();
        let ends = world.settle(load).await;
        assert!(ends.iter().all(|end| *end == Gone::Closed), "{ends:?}");
        world.server.restart();
        if random.chance(25) {
            // What was read back is not lost by who read it.
            world.server.kill();
            world.server.restart();
        }
        world.check_restart().await;
        if round % FINISH_EVERY == 0 || round == rounds {
            let faults = world.finish().await;
            if !faults.is_empty() {
                return faults;
            }
        }
    }
    let (sent, acknowledged, _) = world.shared.ledger().counts();
    println!("{sync:?}: {sent} messages sent, {acknowledged} acknowledged, none lost");
    Vec::new()
}

fn assert_none(faults: &[Fault]) {
    assert!(faults.is_empty(), "{}", Report(faults));
}

/// Without a kill nothing is missed that is there: a broker in memory that goes on while all its
/// clients lose their connections. That is when the Will of who is to come back is sent at once.
#[tokio::test]
async fn the_checker_finds_nothing_where_nothing_is_lost() {
    let folder = Folder::new();
    let random = &mut Random::new(seed());
    let mut world = World::new(&folder.path.join("data"), Sync::Memory, random).await;
    for _ in 0..rounds(3) {
        let load = world.load(random.below(600) + 1).await;
        world.shared.cut();
        world.settle(load).await;
        world.check_restart().await;

        let mut faults = world.finish().await;

        let is_expected = |fault: &Fault| fault.is_of("will/returning");
        assert!(faults.iter().any(is_expected), "{}", Report(&faults));
        faults.retain(|fault| !is_expected(fault));
        assert_none(&faults);
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_a_kill_under_always() {
    assert_none(&kill_rounds(Sync::Always, rounds(8), 1).await);
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_a_kill_under_interval() {
    assert_none(&kill_rounds(Sync::Interval, rounds(4), 1).await);
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_a_kill_under_os() {
    assert_none(&kill_rounds(Sync::Os, rounds(4), 1).await);
}

/// The checker sees loss where nobody promises anything.
#[tokio::test]
async fn a_kill_under_off_loses_messages_and_the_checker_sees_it() {
    for _ in 0..5 {
        let faults = kill_rounds(Sync::Off, 4, 300).await;
        if faults.iter().any(is_loss) {
            return;
        }
    }
    panic!("twenty rounds under `off` lost nothing that the checker sees");
}

/// Of which kinds depends on the moment.
#[tokio::test]
async fn a_kill_of_a_broker_in_memory_loses_everything_and_the_checker_sees_it() {
    let kinds: [fn(&Fault) -> bool; 4] = [
        |fault| matches!(fault, Fault::SessionLost { .. }),
        |fault| matches!(fault, Fault::Retained { .. }),
        |fault| matches!(fault, Fault::Subscription { .. }),
        |fault| matches!(fault, Fault::Lost { .. }),
    ];
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.extend(kill_rounds(Sync::Memory, 1, 300).await);
        if kinds.iter().all(|kind| seen.iter().any(kind)) {
            return;
        }
    }
    panic!("ten kills of a broker in memory did not lose all kinds: {}", Report(&seen));
}

fn is_loss(fault: &Fault) -> bool {
    match fault {
        Fault::Lost { .. }
        | Fault::Retained { .. }
        | Fault::SessionLost { .. }
        | Fault::Silent { .. }
        | Fault::SessionBack { .. }
        | Fault::Subscription { .. } => true,
        Fault::Twice { .. } | Fault::OutOfOrder { .. } | Fault::NeverSent { .. } => false,
    }
}
