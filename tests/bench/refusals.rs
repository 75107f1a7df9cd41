//! What cannot be measured is told in words that help, with an exit code of sysexits.

use std::net::TcpListener;

use crate::bench;
use crate::broker::Broker;

#[track_caller]
fn assert_refused(address: std::net::SocketAddr, words: &str, code: i32, told: &[&str]) {
    let outcome = bench(address, words);

    assert_eq!(outcome.code, Some(code), "{words}: {}", outcome.errors);
    assert!(outcome.report.is_null());
    for text in told {
        assert!(outcome.errors.contains(text), "{text:?} is not in {:?}", outcome.errors);
    }
}

#[test]
fn where_nobody_listens_it_asks_whether_the_broker_runs() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);

    for pattern in ["p2p", "connect", "retained", "offline"] {
        let told = ["cannot connect to", "is the broker running there?"];
        assert_refused(address, pattern, 69, &told);
    }
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_without_end() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("an address");

    let told = ["subscriber 0 has got no answer for 0.2 s"];
    assert_refused(address, "p2p --timeout 0.2", 69, &told);
}

#[test]
fn a_broker_that_lets_nobody_in_is_named_as_the_reason() {
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    let broker = Broker::start_with(listener);

    for (protocol, code) in [("3.1.1", "(5)"), ("5.0", "(0x87)")] {
        let words = format!("p2p --protocol {protocol}");
        assert_refused(broker.address, &words, 76, &["refused the connection", code]);
    }
}

#[test]
fn what_the_listener_leaves_out_is_not_measured() {
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\nanonymous = true\n";
    let broker = Broker::start_with(&format!("{listener}qos_max = 0\nretain = false\n"));

    assert_refused(broker.address, "p2p --protocol 5.0 --qos 1", 76, &["at most QoS 0"]);
    assert_refused(broker.address, "retained --protocol 5.0", 76, &["at most QoS 0"]);
}

#[test]
fn a_refused_subscription_is_told_with_its_reason() {
    let broker = Broker::start_with("[limits]\ntopic_levels_max = 2\n");

    for (protocol, reason) in [("3.1.1", "(0x80)"), ("5.0", "(0x8f)")] {
        for pattern in ["p2p", "offline"] {
            let words = format!("{pattern} --protocol {protocol}");
            let told = ["the broker refused the subscription of subscriber 0", reason];
            assert_refused(broker.address, &words, 76, &told);
        }
    }
}

/// They would be lost, and the broker says so while they are stored.
#[test]
fn messages_a_full_queue_refuses_are_no_result() {
    let broker = Broker::start_with("[session]\nqueue_offline_messages_max = 10\n");

    let words = "offline --messages 50 --protocol 5.0";
    assert_refused(broker.address, words, 76, &["the broker refused 40 of 50 messages"]);
}

#[test]
fn options_out_of_bounds_are_refused_before_anything_is_done() {
    let address = "127.0.0.1:1".parse().expect("an address");

    for words in [
        "p2p --payload 23",
        "p2p --qos 3",
        "p2p --window 0",
        "p2p --window 8 --rate 100",
        "p2p --seconds -1",
        "p2p --user-properties 1",
        "offline --qos 0",
        "wildcard --pairs 10000 --topics 1000000",
        "retained --messages 10000000 --subscribers 10",
        "",
    ] {
        assert_refused(address, words, 64, &[]);
    }
}
