//! A client that is away: when its Will goes out and when its Session ends.

use std::time::Duration;

use dunlin::change::{Keeps, SessionExpiry};
use dunlin::session::{Lives, Will};

use crate::support::{Desk, expiry, message, seconds};

/// A Session with a Will of this delay.
fn desk(expiry: SessionExpiry, delay: u64) -> Desk {
    let mut desk = Desk::with(expiry, Keeps::Nothing);
    let will = Will {
        message: message("gone"),
        expiry: None,
        delay: seconds(delay),
        patience: seconds(60),
    };
    desk.session.set_will(Some(will), &mut desk.effects);
    desk
}

/// Looks at the Session so long after the client went: whether the Will goes out, and what follows.
fn look(desk: &mut Desk, after: Duration) -> (bool, Lives) {
    let since = desk.now;
    let parting = desk.session.away(since, since + after, &mut desk.effects);
    (parting.will.is_some(), parting.lives)
}

// [MQTT-3.1.2-8]
#[test]
fn a_will_without_delay_goes_out_at_once() {
    let mut desk = desk(expiry(60), 0);
    let until = desk.now + seconds(60);

    assert_eq!(look(&mut desk, seconds(0)), (true, Lives::Until(until)));

    assert_eq!(look(&mut desk, seconds(60)), (false, Lives::Ended));
}

// [MQTT-3.1.2-8] [MQTT-3.1.2-10]
#[test]
fn a_delayed_will_goes_out_when_its_delay_has_passed_and_only_once() {
    let mut desk = desk(expiry(60), 10);
    let start = desk.now;

    assert_eq!(look(&mut desk, seconds(0)), (false, Lives::Until(start + seconds(10))));
    assert_eq!(look(&mut desk, seconds(9)), (false, Lives::Until(start + seconds(10))));
    assert_eq!(look(&mut desk, seconds(10)), (true, Lives::Until(start + seconds(60))));
    assert_eq!(look(&mut desk, seconds(11)), (false, Lives::Until(start + seconds(60))));
}

// [MQTT-3.1.2-8]: whichever is first.
#[test]
fn a_will_goes_out_when_its_session_ends_before_the_delay() {
    let mut desk = desk(expiry(5), 10);
    let until = desk.now + seconds(5);

    assert_eq!(look(&mut desk, seconds(0)), (false, Lives::Until(until)));

    assert_eq!(look(&mut desk, seconds(5)), (true, Lives::Ended));
}

// [MQTT-3.1.2-8]
#[test]
fn a_session_without_expiry_ends_at_once_and_its_will_goes_out_whatever_its_delay() {
    let mut desk = desk(SessionExpiry::AtDisconnect, 10);

    assert_eq!(look(&mut desk, seconds(0)), (true, Lives::Ended));
}

#[test]
fn a_session_that_never_expires_is_looked_at_only_for_its_will() {
    let mut desk = desk(SessionExpiry::Never, 10);
    let start = desk.now;

    assert_eq!(look(&mut desk, seconds(0)), (false, Lives::Until(start + seconds(10))));

    assert_eq!(look(&mut desk, seconds(10)), (true, Lives::Forever));
    assert_eq!(look(&mut desk, seconds(1_000_000)), (false, Lives::Forever));
}

// [MQTT-3.1.3-9]
#[test]
fn coming_back_within_the_delay_cancels_the_will() {
    let mut desk = desk(expiry(60), 10);
    look(&mut desk, seconds(0));
    desk.now += seconds(9);

    desk.resume();

    let until = desk.now + seconds(70);
    desk.now += seconds(10);
    assert_eq!(look(&mut desk, seconds(0)), (false, Lives::Until(until)));
}

// [MQTT-3.14.4-3]
#[test]
fn a_will_that_was_taken_back_does_not_go_out() {
    let mut desk = desk(SessionExpiry::AtDisconnect, 0);

    desk.session.set_will(None, &mut desk.effects);

    assert_eq!(look(&mut desk, seconds(0)), (false, Lives::Ended));
}

// [MQTT-4.1.0-2]
#[test]
fn a_session_ends_when_its_expiry_has_passed_and_not_before() {
    let mut desk = Desk::with(expiry(60), Keeps::Nothing);
    let start = desk.now;

    let almost = seconds(60).checked_sub(Duration::from_nanos(1)).unwrap();
    assert_eq!(look(&mut desk, almost), (false, Lives::Until(start + seconds(60))));

    assert_eq!(look(&mut desk, seconds(60)), (false, Lives::Ended));
}

#[test]
fn an_expiry_set_at_disconnect_counts_from_then() {
    let mut desk = Desk::with(expiry(60), Keeps::Nothing);

    desk.session.change_expiry(expiry(5), &mut desk.effects);

    assert_eq!(look(&mut desk, seconds(5)), (false, Lives::Ended));
}

#[test]
fn the_longest_expiry_and_delay_there_are_overflow_nothing() {
    let longest = u64::from(u32::MAX);
    let mut desk = desk(expiry(longest - 1), longest);
    let until = desk.now + seconds(longest - 1);

    assert_eq!(look(&mut desk, seconds(0)), (false, Lives::Until(until)));
}

#[test]
fn a_session_that_is_ended_early_sends_its_will() {
    let mut desk = desk(expiry(60), 10);

    let parting = desk.session.end(&mut desk.effects);

    assert!(parting.will.is_some());
    assert_eq!(parting.lives, Lives::Ended);
}
