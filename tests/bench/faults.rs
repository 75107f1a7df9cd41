//! What a broker does wrong with messages is seen, told, and decides the exit code.

use crate::mischief::{Mischief, serve};
use crate::{Outcome, bench};

const MESSAGES: usize = 200;

fn run(mischief: Mischief) -> Outcome {
    let words = "p2p --pairs 1 --payload 30 --warm-up 0 --seconds 60 --timeout 1 --messages";
    bench(serve(mischief), &format!("{words} {MESSAGES}"))
}

#[track_caller]
fn assert_seen(mischief: Mischief, delivered: u64, faults: [u64; 4]) {
    let outcome = run(mischief);

    assert_eq!(outcome.faults(), faults, "{mischief:?}");
    assert_eq!(outcome.number("delivered"), delivered, "{mischief:?}");
    assert_eq!(outcome.code, Some(65), "{mischief:?}");
    assert!(outcome.errors.contains("lost"), "{}", outcome.errors);
}

#[test]
fn a_server_that_does_no_wrong_is_believed() {
    let outcome = run(Mischief::None);

    assert_eq!((outcome.code, outcome.faults()), (Some(0), [0; 4]), "{}", outcome.errors);
    assert_eq!(outcome.number("delivered"), MESSAGES as u64);
}

#[test]
fn a_message_that_is_lost_is_missed() {
    assert_seen(Mischief::Lose(0), 199, [1, 0, 0, 0]);
    assert_seen(Mischief::Lose(100), 199, [1, 0, 0, 0]);
}

/// Nothing follows it by which it could be missed: it is waited for as long as `--timeout` says.
#[test]
fn the_last_message_is_missed_too() {
    assert_seen(Mischief::Lose(MESSAGES - 1), 199, [1, 0, 0, 0]);
}

#[test]
fn a_message_that_comes_twice_is_counted_once() {
    assert_seen(Mischief::Repeat(100), 200, [0, 1, 0, 0]);
}

/// All that was awaited has arrived before it comes again.
#[test]
fn a_repetition_of_the_last_message_is_seen() {
    assert_seen(Mischief::RepeatLast, 200, [0, 1, 0, 0]);
}

#[test]
fn messages_out_of_order_are_seen() {
    assert_seen(Mischief::Delay(100), 200, [0, 0, 1, 0]);
}

#[test]
fn a_damaged_payload_counts_as_lost_and_damaged() {
    assert_seen(Mischief::Damage(100), 199, [1, 0, 0, 1]);
}
