//! A Session that a store has kept, and messages that the store alone has.

use std::time::Instant;

use dunlin::change::{
    Change, Epoch, Fetch, Fetched, Keeps, KeptInflight, KeptMessage, KeptSession, KeptStage,
    KeptWill, Owed, SessionExpiry, Ticket, TicketStanding,
};
use dunlin::packet::QoS;
use dunlin::session::{DropReason, Lives, QueueWhenFull, Receipt, Room, Session, Verdict};

use crate::changes::{reported, short};
use crate::support::{
    Desk, Sent, again, at_least_once, client_id, exactly_once, expiry, filter, id, message,
    message_until, owner, seconds, subscription, terms,
};

const ONE: QoS = QoS::AtLeastOnce;
const TWO: QoS = QoS::ExactlyOnce;

/// Nothing but a Session.
fn kept(now: Instant) -> KeptSession {
    KeptSession {
        client_id: client_id("meter-7"),
        identity: owner(),
        expiry: expiry(3_600),
        away_since: now,
        subscriptions: Vec::new(),
        queue: Vec::new(),
        next_position: 0,
        inflight: Vec::new(),
        received: Vec::new(),
        will: None,
        last_packet_id: 0,
    }
}

fn owed(text: &str, qos: QoS) -> Owed {
    let (message, subscription_ids) = (message(text), std::iter::empty().collect());
    Owed { message, qos, retain: false, subscription_ids, ticket: None }
}

fn published(value: u16, text: &str, qos: QoS) -> KeptInflight {
    KeptInflight { id: id(value), stage: KeptStage::Published(owed(text, qos)) }
}

fn released(value: u16, place: u64) -> KeptInflight {
    KeptInflight { id: id(value), stage: KeptStage::Released { place } }
}

fn kept_will(delay: u64) -> KeptWill {
    let (message, patience) = (message("gone"), seconds(60));
    KeptWill { message, expiry: None, delay: seconds(delay), patience }
}

/// As it is after a restart.
fn desk(change: impl FnOnce(&mut KeptSession)) -> Desk {
    let mut desk = Desk::new();
    let mut kept = kept(desk.now);
    change(&mut kept);
    desk.session = Session::restore(kept, Epoch(1), desk.now);
    desk
}

/// A Session that a store keeps, of whose messages nothing was reported yet.
fn lasting() -> Desk {
    let mut desk = Desk::with(expiry(3_600), Keeps::Changes);
    desk.effects.changes.clear();
    desk
}

/// One whose client was away for these messages and is back.
fn after(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Desk {
    let mut desk = lasting();
    for text in texts {
        assert_eq!(desk.offer_away(text.as_ref(), ONE), Verdict::Queued);
    }
    desk.effects.changes.clear();
    desk
}

fn fetch(desk: &mut Desk) -> Option<(u64, u64)> {
    let Fetch { client_id, first, last } = desk.session.begin_fetch()?;
    assert_eq!(client_id.as_str(), "meter-7");
    Some((first, last))
}

/// The store answers with these.
fn load(desk: &mut Desk, (first, last): (u64, u64), messages: Vec<(u64, Owed)>) {
    let fetch = Fetch { client_id: client_id("meter-7"), first, last };
    desk.session.load(Fetched { fetch, messages }, &mut desk.effects);
}

fn texts(range: impl IntoIterator<Item = u64>) -> Vec<(u64, Owed)> {
    range.into_iter().map(|position| (position, owed(&position.to_string(), ONE))).collect()
}

#[test]
fn a_restored_session_is_what_it_was_and_reports_nothing() {
    let mut desk = desk(|kept| {
        kept.subscriptions = vec![(filter("a/+"), subscription(TWO))];
        kept.received = vec![id(9)];
        kept.inflight = vec![published(3, "x", ONE)];
        kept.queue = vec![KeptMessage { position: 4, bytes: 200 }];
    });

    assert_eq!(desk.session.identity(), &owner());
    assert_eq!(desk.session.expiry(), expiry(3_600));
    assert!(desk.session.is_kept());
    assert_eq!(desk.session.subscription(&filter("a/+")), Some(subscription(TWO)));
    assert_eq!(desk.session.messages(), 2);
    assert_eq!(desk.session.bytes(), message("x").bytes() + 200);
    assert!(desk.session.has_received(id(9)) && !desk.session.has_received(id(8)));
    assert_eq!(desk.session.receive_publish(id(9), &mut desk.effects), Receipt::Repeated);
    assert_eq!(reported(&mut desk), [""; 0]);
}

#[test]
fn it_weighs_what_it_did_and_24_bytes_for_each_stored_message() {
    let mut before = after(["a", "b", "c"]);
    let state_bytes = before.session.state_bytes();
    before
        .session
        .subscribe(&filter("a/+"), subscription(ONE), &before.limits, &mut before.effects)
        .unwrap();

    let desk = desk(|kept| {
        kept.subscriptions = vec![(filter("a/+"), subscription(ONE))];
        kept.queue = (0..3).map(|position| KeptMessage { position, bytes: 161 }).collect();
    });
    let with_will = self::desk(|kept| kept.will = Some(kept_will(0)));

    assert!(with_will.session.state_bytes() > Desk::new().session.state_bytes() + 100);
    let replays = 192;
    assert_eq!(desk.session.state_bytes(), before.session.state_bytes() - replays);
    assert_eq!(state_bytes - after([""; 0]).session.state_bytes(), 3 * 24);
    assert_eq!(desk.session.loaded_bytes(), 0);
    assert_eq!(desk.session.stored_messages(), 3);
}

// [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-4.6.0-4]
#[test]
fn inflight_messages_are_sent_again_in_their_order_behind_released_ones_in_theirs() {
    let mut desk = desk(|kept| {
        kept.inflight =
            vec![published(5, "a", ONE), released(6, 8), published(7, "b", TWO), released(8, 3)];
    });

    desk.resume();

    let again = [
        Sent::PubRel(id(8)),
        Sent::PubRel(id(6)),
        again(&at_least_once(5, "a")),
        again(&exactly_once(7, "b")),
    ];
    assert_eq!(desk.all(&terms(8)), again);
    assert_eq!(desk.session.bytes(), message("a").bytes() + message("b").bytes());
}

// [MQTT-4.6.0-4]
#[test]
fn what_is_released_after_the_restart_stands_behind_what_was_before() {
    let mut desk = desk(|kept| {
        kept.inflight = vec![published(1, "a", TWO), released(2, 5)];
    });
    desk.resume();
    desk.all(&terms(8));
    let success = dunlin::packet::ReasonCode::Success;
    desk.session.pubrec(id(1), success, &mut desk.effects).unwrap();

    desk.resume();

    assert_eq!(desk.all(&terms(8)), [Sent::PubRel(id(2)), Sent::PubRel(id(1))]);
    assert!(desk.session.pubcomp(id(2), &mut desk.effects).unwrap());
    assert!(desk.session.pubcomp(id(1), &mut desk.effects).unwrap());
    assert_eq!(desk.session.messages(), 0);
}

// [MQTT-2.2.1-4], and none that the client may still know.
#[test]
fn packet_identifiers_begin_behind_the_last_one_and_skip_those_in_use() {
    let mut desk = desk(|kept| {
        kept.last_packet_id = 40_000;
        kept.inflight = vec![published(40_001, "a", ONE)];
    });

    desk.resume();
    desk.all(&terms(8));

    desk.offer("b", ONE, &terms(8));
    assert!(desk.puback(40_001) && desk.puback(40_002));
    // Also when the Session has freed what it did not need.
    desk.session.shrink();
    desk.offer("c", ONE, &terms(8));
    assert!(desk.puback(40_001));
}

#[test]
fn an_inflight_message_is_the_sessions_own_whatever_group_it_came_from() {
    let ticket = Ticket {
        group: std::sync::Arc::new(filter("$share/g/t")),
        position: 3,
        lane: 0,
        standing: TicketStanding::Fleeting,
    };
    let mut desk = desk(|kept| {
        let owed = Owed { ticket: Some(ticket), ..owed("a", ONE) };
        kept.inflight = vec![KeptInflight { id: id(1), stage: KeptStage::Published(owed) }];
    });

    let given_back = desk.session.give_back(&mut desk.effects, |_| true);

    assert!(given_back.is_empty());
    assert_eq!(desk.session.messages(), 1);
}

// [MQTT-3.1.2-8]: it waits for what is left of its delay, and long enough for its client.
#[test]
fn a_will_waits_for_its_delay_and_not_less_than_its_patience() {
    for (delay, away, due) in [(0, 0, 60), (90, 0, 90), (90, 20, 70), (90, 80, 60), (0, 500, 60)] {
        let now = Instant::now() + seconds(1_000);
        let since = now.checked_sub(seconds(away)).unwrap();
        let mut kept = kept(since);
        kept.will = Some(kept_will(delay));
        let mut session = Session::restore(kept, Epoch(1), now);
        let effects = &mut dunlin::session::Effects::default();

        let early = session.away(since, now + seconds(due - 1), effects);
        let parting = session.away(since, now + seconds(due), effects);

        assert!(early.will.is_none(), "{delay} {away}");
        assert_eq!(early.lives, Lives::Until(now + seconds(due)));
        assert!(parting.will.is_some(), "{delay} {away}");
    }
}

#[test]
fn a_store_hears_of_the_end_of_whatever_it_gave_back() {
    let mut desk = desk(|kept| kept.expiry = SessionExpiry::AtDisconnect);

    let parting = desk.session.away(desk.now, desk.now, &mut desk.effects);

    assert_eq!(parting.lives, Lives::Ended);
    assert_eq!(reported(&mut desk), ["ended"]);
}

#[test]
fn what_comes_while_the_client_is_away_is_left_to_the_store() {
    let mut desk = after(["a", "b"]);

    assert_eq!((desk.session.stored_messages(), desk.session.messages()), (2, 2));
    assert_eq!(desk.session.loaded_bytes(), 0);
    assert_eq!(desk.session.bytes(), 2 * message("a").bytes());
    assert!(desk.session.has_queued());
    assert_eq!(desk.next(&terms(8)), None);
}

#[test]
fn without_a_store_everything_stays_in_memory() {
    let mut desk = Desk::new();
    desk.offer_away("a", ONE);
    desk.session.disconnect(desk.now, &mut desk.effects);

    assert_eq!(desk.session.stored_messages(), 0);
    assert_eq!(desk.session.begin_fetch(), None);
    assert_eq!(desk.next(&terms(8)), Some(at_least_once(1, "a")));
}

#[test]
fn what_waits_in_memory_is_left_to_the_store_when_the_client_goes() {
    let mut desk = lasting();
    desk.offer("inflight", ONE, &terms(1));
    desk.offer("a", ONE, &terms(1));
    assert_eq!(desk.session.stored_messages(), 0);
    desk.effects.changes.clear();

    desk.session.disconnect(desk.now, &mut desk.effects);

    assert_eq!(reported(&mut desk), ["away"]);
    assert_eq!(desk.session.stored_messages(), 1);
    assert_eq!(desk.session.loaded_bytes(), message("inflight").bytes());
    desk.resume();
    assert_eq!(fetch(&mut desk), Some((0, 0)));
    load(&mut desk, (0, 0), vec![(0, owed("a", ONE))]);
    let inflight = again(&at_least_once(1, "inflight"));
    assert_eq!(desk.all(&terms(8)), [inflight, at_least_once(2, "a")]);
}

#[test]
fn the_moment_the_client_went_is_what_the_store_hears() {
    let mut desk = lasting();
    let since = desk.now + seconds(5);

    desk.session.disconnect(since, &mut desk.effects);

    let changes: Vec<_> = desk.effects.changes.drain(..).map(|it| it.change).collect();
    let [Change::SessionAway { since: told, .. }] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(*told, since);
    assert_eq!(short(&changes[0]), "away");
}

#[test]
fn fetched_messages_are_sent_in_order_and_others_behind_them() {
    let mut desk = after(["0", "1"]);
    desk.resume();
    desk.effects.changes.clear();
    assert_eq!(fetch(&mut desk), Some((0, 1)));
    // Sent at once it would overtake them.
    assert_eq!(desk.offer("2", ONE, &terms(8)), Verdict::Queued);

    load(&mut desk, (0, 1), texts(0..2));

    assert_eq!(desk.all(&terms(8)), [at_least_once(1, "0"), at_least_once(2, "1")]);
    assert_eq!(fetch(&mut desk), Some((2, 2)));
    load(&mut desk, (2, 2), texts(2..3));
    assert_eq!(desk.all(&terms(8)), [at_least_once(3, "2")]);
    let expected =
        ["queued 2 2", "sent Some(0) as 1 0", "sent Some(1) as 2 1", "sent Some(2) as 3 2"];
    assert_eq!(reported(&mut desk), expected);
    // Nothing is stored any more.
    assert!(matches!(desk.offer("3", ONE, &terms(8)), Verdict::Send(_)));
}

// What the router counts towards the memory of all.
#[test]
fn what_a_queue_loads_weighs_until_it_is_acknowledged() {
    let mut desk = after(["0", "1"]);
    let bytes = message("0").bytes();
    desk.resume();
    let slice = fetch(&mut desk).unwrap();
    assert_eq!(desk.session.loaded_bytes(), 0);

    load(&mut desk, slice, texts(0..2));
    let weights = [1, 2].map(|value| {
        let loaded = desk.session.loaded_bytes();
        desk.next(&terms(8));
        assert_eq!(desk.session.loaded_bytes(), loaded, "it is inflight now");
        desk.puback(value);
        loaded
    });

    assert_eq!(weights, [2 * bytes, bytes]);
    assert_eq!(desk.session.loaded_bytes(), 0);
}

#[test]
fn behind_stored_messages_others_are_stored_too() {
    let mut desk = after(["0"]);
    desk.resume();
    fetch(&mut desk);

    desk.offer_full("1", ONE);

    assert_eq!(desk.session.stored_messages(), 2);
    assert!(desk.session.is_stored(Room::Open));
    load(&mut desk, (0, 0), texts(0..1));
    assert!(desk.session.is_stored(Room::Full));
    fetch(&mut desk);
    load(&mut desk, (1, 1), texts(1..2));
    assert!(!desk.session.is_stored(Room::Full) && desk.session.is_stored(Room::Away));
}

#[test]
fn one_slice_at_a_time_is_fetched_of_256_messages_and_early_enough() {
    let mut desk = after((0..1_000).map(|number| number.to_string()));
    desk.resume();

    assert_eq!(fetch(&mut desk), Some((0, 255)));
    assert_eq!(fetch(&mut desk), None);
    load(&mut desk, (0, 255), texts(0..=255));

    for sent in 0..129 {
        assert_eq!(fetch(&mut desk), None, "after {sent}");
        assert!(desk.next(&terms(u16::MAX)).is_some());
    }
    assert_eq!(fetch(&mut desk), Some((256, 511)));
}

#[test]
fn a_slice_ends_early_by_its_bytes_and_has_at_least_one_message() {
    const LARGE: u32 = 400 * 1024;
    let mut desk = desk(|kept| {
        let sizes = [LARGE, LARGE, LARGE, 3 * LARGE, LARGE];
        let queue = (10..).zip(sizes).map(|(position, bytes)| KeptMessage { position, bytes });
        kept.queue = queue.collect();
    });

    assert_eq!(fetch(&mut desk), Some((10, 11)));
    load(&mut desk, (10, 11), texts(10..=11));
    // More than half a slice of bytes is loaded.
    assert_eq!(fetch(&mut desk), None);
    desk.next(&terms(8));
    assert_eq!(fetch(&mut desk), Some((12, 12)));
    load(&mut desk, (12, 12), texts(12..=12));
    desk.all(&terms(8));
    assert_eq!(fetch(&mut desk), Some((13, 13)));
    load(&mut desk, (13, 13), texts(13..=13));
    desk.all(&terms(8));
    assert_eq!(fetch(&mut desk), Some((14, 14)));
}

#[test]
fn what_was_not_brought_is_dropped_and_what_comes_behind_it_is_not() {
    let mut desk = after(["0", "1", "2", "3"]);
    desk.resume();
    desk.effects.changes.clear();
    fetch(&mut desk);

    load(&mut desk, (0, 3), texts([0, 3]));

    assert_eq!(desk.dropped(), [(DropReason::Damaged, 2)]);
    assert_eq!(reported(&mut desk), ["unqueued 1", "unqueued 2"]);
    assert_eq!(desk.session.bytes(), 2 * message("0").bytes());
    assert_eq!(desk.all(&terms(8)), [at_least_once(1, "0"), at_least_once(2, "3")]);
    assert_eq!(desk.session.messages(), 2);
}

#[test]
fn what_gave_way_while_it_was_fetched_is_no_damage() {
    let mut desk = after(["0", "1", "2"]);
    desk.limits.queue_when_full = QueueWhenFull::DropOldest;
    desk.limits.queue_bytes_max = 3 * message("0").bytes();
    desk.resume();
    fetch(&mut desk);
    desk.offer("3", ONE, &terms(8));
    assert_eq!(desk.dropped(), [(DropReason::QueueFull, 1)]);

    load(&mut desk, (0, 2), texts(0..3));

    assert_eq!(desk.dropped(), []);
    assert_eq!(desk.all(&terms(8)), [at_least_once(1, "1"), at_least_once(2, "2")]);
    assert_eq!(fetch(&mut desk), Some((3, 3)));
}

#[test]
fn stored_messages_give_way_and_are_counted_like_others() {
    let mut desk = after([""; 0]);
    desk.limits.queue_offline_messages_max = 2;
    desk.limits.queue_when_full = QueueWhenFull::DropOldest;
    for text in ["a", "bb", "ccc"] {
        desk.offer_away(text, ONE);
    }

    assert_eq!(desk.session.bytes(), message("bb").bytes() + message("ccc").bytes());
    assert_eq!(desk.dropped(), [(DropReason::QueueFull, 1)]);
    desk.limits.queue_when_full = QueueWhenFull::RefuseNewest;
    assert_eq!(desk.offer_away("d", ONE), Verdict::Refused);
    desk.limits.queue_offline_messages_max = 3;
    desk.limits.queue_bytes_max = desk.session.bytes() + message("d").bytes() - 1;
    assert_eq!(desk.offer_away("d", ONE), Verdict::Refused);
}

#[test]
fn what_expired_in_the_store_or_is_too_large_is_dropped_when_it_was_fetched() {
    let mut desk = after(["0", "1", "2"]);
    desk.resume();
    desk.effects.changes.clear();
    fetch(&mut desk);
    let late = Owed { message: message_until("0", Some(desk.now)), ..owed("", ONE) };
    let large = owed(&"x".repeat(300), ONE);
    let mut small = terms(8);
    small.maximum_packet_size = 100;

    load(&mut desk, (0, 2), vec![(0, late), (1, large), (2, owed("2", ONE))]);

    assert_eq!(desk.all(&small), [at_least_once(1, "2")]);
    assert_eq!(reported(&mut desk), ["unqueued 0", "unqueued 1", "sent Some(2) as 1 2"]);
    assert_eq!(desk.dropped(), [(DropReason::TooLarge, 1), (DropReason::Expired, 1)]);
}

#[test]
fn what_comes_for_a_connection_that_is_gone_is_not_taken_for_another_ones() {
    let mut desk = after(["0", "1"]);
    desk.resume();
    fetch(&mut desk);
    desk.session.disconnect(desk.now, &mut desk.effects);
    desk.offer_away("2", ONE);
    desk.resume();

    load(&mut desk, (0, 1), Vec::new());
    assert_eq!(desk.dropped(), []);

    assert_eq!(fetch(&mut desk), Some((0, 2)));
    // Nor is an answer to another question.
    load(&mut desk, (0, 1), Vec::new());
    assert_eq!(desk.dropped(), []);
    load(&mut desk, (0, 2), texts(0..3));
    assert_eq!(desk.all(&terms(8)).len(), 3);
}

#[test]
fn another_connection_asks_again_also_if_it_takes_over() {
    let mut desk = after(["0"]);
    desk.resume();
    fetch(&mut desk);

    desk.resume();

    assert_eq!(fetch(&mut desk), Some((0, 0)));
}

#[test]
fn an_answer_that_says_too_much_changes_nothing_else() {
    let mut desk = after(["0", "1"]);
    desk.resume();
    let slice = fetch(&mut desk).unwrap();
    desk.offer_full("2", ONE);

    load(&mut desk, slice, texts(0..5));

    assert_eq!(desk.session.stored_messages(), 1);
    assert_eq!(desk.all(&terms(8)).len(), 2);
}

// Its store forgets a Session that ends with its connection, and has its messages alone.
#[test]
fn a_session_that_will_end_with_its_connection_is_kept_while_the_store_has_its_messages() {
    let mut desk = after(["0"]);
    desk.session.claimed(Epoch(2));

    desk.session.resume(SessionExpiry::AtDisconnect, &mut desk.effects);

    assert_eq!(desk.session.expiry(), SessionExpiry::AtDisconnect);
    assert_eq!(reported(&mut desk), ["resumed", "expiry After(0ns)"]);
    fetch(&mut desk);
    load(&mut desk, (0, 0), texts(0..1));
    assert_eq!(desk.all(&terms(8)), [at_least_once(1, "0")]);
    let now = desk.now;
    desk.session.disconnect(now, &mut desk.effects);
    assert_eq!(desk.session.away(now, now, &mut desk.effects).lives, Lives::Ended);
    assert_eq!(reported(&mut desk), ["sent Some(0) as 1 0", "away", "ended"]);
}

#[test]
fn queue_positions_go_on_behind_those_that_the_store_has_and_after_the_queue_was_freed() {
    let mut restored = desk(|kept| kept.next_position = 7);
    restored.offer_away("a", ONE);
    assert_eq!(reported(&mut restored), ["queued 7 a"]);
    let mut restored = desk(|kept| kept.queue = vec![KeptMessage { position: 7, bytes: 200 }]);
    restored.offer_away("a", ONE);
    assert_eq!(reported(&mut restored), ["queued 8 a"]);

    let mut desk = lasting();
    desk.offer_full("a", ONE);
    desk.next(&terms(8));
    desk.puback(1);
    desk.session.shrink();
    desk.effects.changes.clear();
    desk.offer_away("b", ONE);
    assert_eq!(reported(&mut desk), ["queued 1 b"]);
}
