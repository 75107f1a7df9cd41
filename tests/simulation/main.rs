//! Many clients, the real router and a store in one thread, under a clock of the simulation's own,
//! over links that are slow, narrow, cut and broken. All of it follows from one seed.
//!
//! Packets are really encoded and decoded on both sides; [`broker`] does what `server` does with
//! the router, [`client`] is a correct client library, and [`oracle`] works out what has to follow.
//! Even seeds run with a store that keeps nothing, odd ones with one that keeps changes later.
//!
//! ```sh
//! cargo test --test simulation                                              # some thousand seeds
//! DUNLIN_SIMULATION_SEEDS=10000 cargo test --release --test simulation      # more
//! DUNLIN_SIMULATION_SEED=17 cargo test --test simulation -- --nocapture     # one, told in full
//! ```

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a failed test is a panic"
)]

mod broker;
mod client;
mod journal;
mod oracle;
mod random;
#[path = "../support/store.rs"]
mod store;
mod wire;
mod world;

use std::cell::Cell;
use std::sync::Once;

use dunlin::change::Keeps;

use world::World;

/// Seeds of the short form.
const SEEDS: u64 = 3_000;

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// A panic of the broker's, too, says how to repeat it.
fn tell_seed_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            if let Some(seed) = SEED.get() {
                eprintln!(
                    "to repeat it: DUNLIN_SIMULATION_SEED={seed} cargo test --test simulation -- --nocapture"
                );
            }
        }));
    });
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

fn keeps(seed: u64) -> Keeps {
    if seed.is_multiple_of(2) { Keeps::Nothing } else { Keeps::Changes }
}

fn run(seed: u64, verbose: bool) -> impl PartialEq + std::fmt::Debug {
    tell_seed_on_panic();
    SEED.set(Some(seed));
    let result = World::new(seed, keeps(seed), verbose).run();
    SEED.set(None);
    result
}

fn run_all(wanted: Keeps) {
    if let Some(seed) = number("DUNLIN_SIMULATION_SEED") {
        if keeps(seed) == wanted {
            run(seed, true);
        }
        return;
    }
    let seeds = number("DUNLIN_SIMULATION_SEEDS").unwrap_or(SEEDS);
    for seed in (0..seeds).filter(|seed| keeps(*seed) == wanted) {
        run(seed, false);
    }
}

// [MQTT-4.3.2-3] [MQTT-4.3.3-6] [MQTT-4.4.0-1] [MQTT-4.6.0-5] [MQTT-3.3.4-9] [MQTT-2.2.1-4]
#[test]
fn whatever_happens_everybody_gets_what_is_theirs() {
    run_all(Keeps::Nothing);
}

// The same, and nothing is promised before it is kept.
#[test]
fn whatever_happens_nothing_is_promised_before_it_is_kept() {
    run_all(Keeps::Changes);
}

#[test]
fn a_seed_says_all() {
    for seed in 0..16 {
        assert_eq!(run(seed, false), run(seed, false));
    }
}
