//! Malformed and abusive packets by the thousand, each with a name and the answer it must get, sent
//! to the real binary over real sockets while others exchange messages and notice nothing.
//!
//! The packets are described field by field in `layout` and `property`, from the standards and not
//! from the broker's code; `sections` makes the cases of it, each set beside the statements it is
//! about. Where a standard leaves the answer open, the choice is what the product documents, or a
//! small set of codes. `mutations` does without names: whole dialogues are damaged at random, and
//! the broker has only to stay in order.
//!
//! A case that fails says its name, its bytes, what was expected and what was seen. A broker that
//! takes longer than `PATIENCE` to answer fails too; nothing else depends on time.

// Helpers of an integration test are test code too, but the lints see only `#[test]` functions.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a failed test is a panic"
)]

#[path = "../support/broker.rs"]
mod broker;
#[path = "../support/connect.rs"]
mod connect;
#[path = "../support/wire.rs"]
mod wire;

mod case;
mod layout;
mod line;
mod mutations;
mod neighbour;
mod property;
mod run;
mod sections;

use std::{collections::HashMap, fs, net::SocketAddr};

use broker::Broker;
use case::{Case, Corpus, End, Expected, Seen};
use line::{Heard, Line};
use neighbour::{CLIENTS, Neighbourhood};
use run::Delivery;
use wire::{Packet, Properties, Version};

/// Counters are told every second while somebody asks for them.
const EVERY_SECOND: &str = "[sys]\ninterval = \"1s\"\n";

const CASES_WANTED: usize = 3_000;

/// What the broker may hold more after thousands of bad connections: buffers it keeps, and the
/// Sessions that some of them began.
const KIBIBYTES_GROWN_MAX: u64 = 32 * 1_024;

#[test]
fn every_case_gets_the_answer_that_is_named() {
    let corpus = sections::all();
    print_counts(&corpus);
    assert!(corpus.cases.len() >= CASES_WANTED, "only {} cases", corpus.cases.len());

    check_all(&corpus, EVERY_SECOND, 1);
}

#[test]
fn every_case_of_an_authentication_gets_the_answer_that_is_named() {
    let corpus = sections::authenticating();
    print_counts(&corpus);

    check_all(&corpus, &format!("{EVERY_SECOND}{}", sections::LISTENER), 0);
}

#[test]
fn damaged_dialogues_leave_the_broker_in_order() {
    let mut broker = Broker::start_with(EVERY_SECOND);
    let address = broker.address;
    let standing = Standing::of(&broker);
    let neighbours = Neighbourhood::move_in(address);

    let dialogues = mutations::all();
    let wrong = run::at_once(dialogues.len(), &neighbours, |index| {
        mutations::check(address, &dialogues[index])
    });

    println!("{} damaged dialogues, seed {:#x}", dialogues.len(), mutations::SEED);
    report(&wrong, dialogues.len());
    still_in_order(&mut broker, neighbours, &standing);
}

/// A corpus that could not fail would show nothing.
#[test]
fn another_answer_than_the_expected_one_fails() {
    let case = |expected| Case::new("case", Version::V5, vec![0x36], expected);
    let disconnect = |code, words: &str| Packet::Disconnect {
        code,
        properties: Properties(vec![(0x1F, wire::Value::Text(words.to_owned()))]),
    };
    let seen = |packets, end| Seen { packets, longest: 20, end };
    let malformed = || case(Expected::Disconnect(&[0x81]));

    assert_eq!(malformed().judge(&seen(vec![disconnect(0x81, "why")], End::Closed)), None);
    for wrong in [
        seen(vec![disconnect(0x82, "why")], End::Closed),
        seen(vec![], End::Closed),
        seen(vec![], End::Pinged),
        seen(vec![disconnect(0x81, "why")], End::Reset),
        seen(vec![disconnect(0x81, "why")], End::Silent),
        seen(vec![disconnect(0x81, "why")], End::Nonsense(String::new())),
        seen(vec![Packet::PingResp, disconnect(0x81, "why")], End::Closed),
        seen(
            vec![Packet::Disconnect { code: 0x81, properties: Properties::default() }],
            End::Closed,
        ),
    ] {
        assert!(malformed().judge(&wrong).is_some(), "{wrong:?} passed");
    }
    let ended = seen(vec![], End::Closed);
    assert_eq!(case(Expected::Closed).judge(&ended), None);
    assert!(case(Expected::Alive).judge(&ended).is_some());
    assert!(case(Expected::Answered(vec![])).judge(&ended).is_some());
    assert!(case(Expected::Within(19, &[0x95])).judge(&seen(vec![], End::Pinged)).is_some());
}

fn print_counts(corpus: &Corpus) {
    for (section, count) in &corpus.counts {
        println!("{count:>6} {section}");
    }
    println!("{:>6} cases", corpus.cases.len());
}

/// `retained` messages stay at the end, none of them of what was refused.
fn check_all(corpus: &Corpus, configuration: &str, retained: u64) {
    let mut broker = Broker::start_with(configuration);
    let address = broker.address;
    let standing = Standing::of(&broker);
    let neighbours = Neighbourhood::move_in(address);

    let cases = &corpus.cases;
    let count = cases.len();
    // Each once in one write, and once in two that part somewhere.
    let wrong = run::at_once(2 * count, &neighbours, |index| {
        let case = &cases[index % count];
        let split = Delivery::Split(index % case.bytes.len().max(1));
        let delivery = if index < count { Delivery::Whole } else { split };
        run::check(address, case, delivery)
    });

    report(&wrong, 2 * count);
    let mut watcher = still_in_order(&mut broker, neighbours, &standing);
    // Of the Wills of good Connect Flags, all to one topic; and the watcher's own Subscription.
    watcher.wait_for("retained messages/count", retained);
    watcher.wait_for("subscriptions/count", 1);
}

fn report(wrong: &[String], count: usize) {
    const SHOWN: usize = 100;
    let shown = wrong.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {count} went wrong:\n{shown}", wrong.len());
}

/// What a broker that nobody disturbed held.
struct Standing {
    kibibytes: u64,
}

impl Standing {
    fn of(broker: &Broker) -> Self {
        Self { kibibytes: resident_kibibytes(broker) }
    }
}

/// The neighbours lost nothing, nobody else is connected, and nothing was kept.
fn still_in_order(broker: &mut Broker, neighbours: Neighbourhood, before: &Standing) -> Watcher {
    let mut watcher = Watcher::of(broker.address);
    watcher.wait_for("clients/connected", CLIENTS + 1);
    let rounds = neighbours.move_out();
    watcher.wait_for("clients/connected", 1);

    println!("{rounds} rounds of messages next door");
    let grown = resident_kibibytes(broker).saturating_sub(before.kibibytes);
    println!("the broker grew by {grown} KiB");
    assert!(grown <= KIBIBYTES_GROWN_MAX, "the broker grew by {grown} KiB");
    assert_eq!(broker.process.try_wait().expect("the process can be asked"), None);
    let log = broker.log.lock().expect("the log").clone();
    assert!(!log.contains("panicked"), "a panic in the log:\n{log}");
    watcher
}

/// Somebody who is told the counters, each when it changes.
struct Watcher {
    line: Line,
    last: HashMap<String, String>,
}

impl Watcher {
    fn of(address: SocketAddr) -> Self {
        let mut line = Line::open(address, Version::V311);
        line.say(&connect::Connect::new(Version::V311, "watcher").encode());
        line.say(&layout::subscribe_to(Version::V311, b"$SYS/broker/#", 0));
        Self { line, last: HashMap::new() }
    }

    /// Reads on until this counter has this value.
    fn wait_for(&mut self, counter: &str, wanted: u64) {
        const SECONDS_MAX: u64 = 60;
        let wanted = wanted.to_string();
        let mut started = None;
        while self.last.get(counter) != Some(&wanted) {
            match self.line.hear() {
                Heard::Packet(Packet::Publish(message)) => {
                    let name = message.topic.strip_prefix("$SYS/broker/").expect("a counter");
                    self.last.insert(name.to_owned(), message.text().to_owned());
                }
                Heard::Packet(_) => {}
                other => panic!("waiting for {counter}: {other:?}"),
            }
            // Told every second, so that a value that never comes ends the test.
            let Some(uptime) = self.last.get("uptime") else { continue };
            let seconds = uptime.split(' ').next().and_then(|seconds| seconds.parse().ok());
            let seconds: u64 = seconds.expect("a number of seconds");
            let started = *started.get_or_insert(seconds);
            let found = self.last.get(counter);
            assert!(seconds - started < SECONDS_MAX, "{counter} is {found:?}, not {wanted}");
        }
    }
}

/// What the broker's process holds in memory (`VmRSS`).
fn resident_kibibytes(broker: &Broker) -> u64 {
    let path = format!("/proc/{}/status", broker.process.id());
    let status = fs::read_to_string(path).expect("the broker runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
