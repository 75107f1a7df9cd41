//! Each pattern delivers what it says, all of it, once and in order.

use std::io::Read;
use std::process::Stdio;

use dunlin::client::{Connection, Event, Options, ProtocolVersion, QoS, ReadBuffer, Target};
use rustix::process::{Pid, Signal, kill_process};

use crate::bench;
use crate::broker::{Broker, PATIENCE, program};

/// Sends exactly so many messages, however long that takes.
const COUNTED: &str = "--warm-up 0 --seconds 60 --messages";

#[track_caller]
fn assert_delivers(broker: &Broker, words: &str, delivered: u64) {
    for protocol in ["3.1.1", "5.0"] {
        let outcome = bench(broker.address, &format!("{words} --protocol {protocol}"));

        assert_eq!(outcome.code, Some(0), "{words}: {}", outcome.errors);
        assert_eq!(outcome.number("delivered"), delivered, "{}", outcome.report);
        assert_eq!(outcome.faults(), [0; 4]);
        assert_eq!(outcome.report["protocol"], protocol);
        assert!(outcome.report["messages_per_second"].as_f64() > Some(0.0));
        assert!(outcome.report["latency_us"]["p99_9"].as_f64() > Some(0.0));
        // Standard error is no terminal, so there is no line of progress.
        assert_eq!(outcome.errors, "");
    }
}

#[test]
fn pairs_deliver_every_message_at_each_qos() {
    let broker = Broker::start();

    for qos in 0..=2 {
        assert_delivers(&broker, &format!("p2p --pairs 4 --qos {qos} {COUNTED} 2000"), 2_000);
    }
    assert_delivers(&broker, &format!("p2p --pairs 3 --window 1 {COUNTED} 100"), 100);
    assert_delivers(&broker, &format!("p2p --payload 5000 --window 8 {COUNTED} 500"), 500);
}

#[test]
fn user_properties_change_nothing_else() {
    let broker = Broker::start();

    let words = format!("p2p --protocol 5.0 --user-properties 3 {COUNTED} 500");
    let outcome = bench(broker.address, &words);

    assert_eq!((outcome.code, outcome.faults()), (Some(0), [0; 4]), "{}", outcome.errors);
    assert_eq!(outcome.number("delivered"), 500);
}

#[test]
fn a_message_larger_than_the_read_buffer_arrives() {
    let broker = Broker::start();

    let words = format!("p2p --pairs 2 --payload 700000 --window 1 --qos 1 {COUNTED} 6");
    assert_delivers(&broker, &words, 6);
}

#[test]
fn a_rate_is_kept() {
    let broker = Broker::start();

    let words = format!("p2p --pairs 4 --rate 2000 {COUNTED} 500");
    let outcome = bench(broker.address, &words);

    assert_eq!((outcome.code, outcome.number("delivered")), (Some(0), 500), "{}", outcome.errors);
    // The last of 500 messages is due after 249 ms. Under load it may be later.
    assert!(outcome.report["seconds"].as_f64() > Some(0.24), "{}", outcome.report);
}

#[test]
fn a_run_ends_when_its_time_is_over() {
    let broker = Broker::start();

    let outcome = bench(broker.address, "p2p --seconds 0.2 --warm-up 0.1");

    assert_eq!((outcome.code, outcome.faults()), (Some(0), [0; 4]), "{}", outcome.errors);
    assert_eq!(outcome.number("delivered"), outcome.number("published"));
}

#[test]
fn fan_out_delivers_to_each_subscriber() {
    let broker = Broker::start();

    assert_delivers(&broker, &format!("fan-out --subscribers 20 {COUNTED} 100"), 2_000);
}

#[test]
fn fan_in_delivers_from_each_publisher() {
    let broker = Broker::start();

    assert_delivers(&broker, &format!("fan-in --publishers 20 {COUNTED} 1000"), 1_000);
    assert_delivers(&broker, &format!("fan-in --shared 3 --qos 1 {COUNTED} 1000"), 1_000);
}

#[test]
fn wildcards_deliver_beside_other_filters() {
    let broker = Broker::start();

    let words = "wildcard --pairs 4 --filters 5500 --topics 7";
    assert_delivers(&broker, &format!("{words} {COUNTED} 1000"), 1_000);
}

#[test]
fn retained_messages_are_replayed_and_then_removed() {
    let broker = Broker::start();

    for qos in 0..=2 {
        let words = format!("retained --messages 700 --subscribers 3 --qos {qos}");
        assert_delivers(&broker, &words, 2_100);
    }

    assert_eq!(retained_below(&broker, "dunlin-bench/#"), 0);
}

#[test]
fn what_others_wait_beside_a_replay_is_reported() {
    let broker = Broker::start();

    let outcome = bench(broker.address, "retained --messages 20000 --beside 5000");

    assert_eq!((outcome.code, outcome.faults()), (Some(0), [0; 4]), "{}", outcome.errors);
    assert_eq!((outcome.number("delivered"), outcome.number("beside_rate")), (20_000, 5_000));
    for name in ["beside_alone_us", "beside_meanwhile_us"] {
        assert!(outcome.report[name]["p99"].as_f64() > Some(0.0), "{}", outcome.report);
    }
    assert_eq!(retained_below(&broker, "dunlin-bench/#"), 0);
}

/// A user's broker is left as it was, also when he has seen enough.
#[test]
fn an_interrupt_leaves_no_retained_message_behind() {
    let broker = Broker::start();
    let mut process = program()
        .args(["bench", "retained", "--messages", "500000", "--broker"])
        .arg(broker.address.to_string())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    wait_for_message(&broker, "dunlin-bench/#");

    let id = i32::try_from(process.id()).expect("a process id");
    kill_process(Pid::from_raw(id).expect("not 0"), Signal::INT).expect("it runs");

    assert_eq!(process.wait().expect("it ends").code(), Some(130));
    let mut told = String::new();
    process.stderr.take().expect("a pipe").read_to_string(&mut told).expect("text");
    assert_eq!(told, "dunlin bench: interrupted\n");
    assert_eq!(retained_below(&broker, "dunlin-bench/#"), 0);
}

#[test]
fn messages_wait_for_clients_that_are_away() {
    let broker = Broker::start();

    for qos in 1..=2 {
        let words = format!("offline --messages 300 --subscribers 2 --qos {qos}");
        assert_delivers(&broker, &words, 600);
    }
}

#[test]
fn clients_connect_and_stay() {
    let broker = Broker::start();

    for words in ["connect --clients 300 --sources 3", "idle --clients 100 --seconds 0.1"] {
        let outcome = bench(broker.address, words);

        assert_eq!(outcome.code, Some(0), "{}", outcome.errors);
        assert_eq!(outcome.number("connected"), outcome.number("clients"));
        assert!(outcome.report["connections_per_second"].as_f64() > Some(0.0));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_costs_of_the_broker_are_reported() {
    let broker = Broker::start();
    let id = broker.process.id();

    let words = format!("p2p --qos 1 --broker-pid {id} {COUNTED} 20000");
    let messages = bench(broker.address, &words).report;
    let connections =
        bench(broker.address, &format!("idle --clients 300 --broker-pid {id}")).report;

    assert!(messages["broker_cpu_us_per_message"].as_f64() > Some(0.0), "{messages}");
    assert!(messages["broker_memory_peak_bytes"].as_u64() > Some(1 << 20), "{messages}");
    assert!(connections["broker_cpu_us_per_connection"].as_f64() > Some(0.0), "{connections}");
    assert!(connections["broker_memory_bytes_per_connection"].is_number(), "{connections}");
}

/// How many Retained Messages a new subscriber is sent.
fn retained_below(broker: &Broker, filter: &str) -> usize {
    block_on(async {
        let mut connection = subscribed(broker, filter).await;
        // What there is comes before the answer to what is asked for behind the SUBACK.
        let (mut count, mut has_subscribed, mut is_over) = (0, false, false);
        while !is_over {
            let turn = connection.turn(|event| match event {
                Event::Message(_) => count += 1,
                Event::Subscribed(..) => has_subscribed = true,
                Event::Pong => is_over = true,
                Event::Published(..) => {}
            });
            turn.await.expect("connected");
            if std::mem::take(&mut has_subscribed) {
                connection.ping();
            }
        }
        count
    })
}

/// Waits until something has been published.
fn wait_for_message(broker: &Broker, filter: &str) {
    block_on(async {
        let mut connection = subscribed(broker, filter).await;
        let mut has_come = false;
        while !has_come {
            let turn = connection.turn(|event| has_come |= matches!(event, Event::Message(_)));
            turn.await.expect("connected");
        }
    });
}

async fn subscribed(broker: &Broker, filter: &str) -> Connection {
    let target = Target { address: broker.address, source: None };
    let options = Options {
        version: ProtocolVersion::V5,
        client_id: "looks",
        clean_start: true,
        session_expiry: 0,
        packet_bytes_max: 1 << 20,
    };
    let opened = Connection::open(target, &options, &ReadBuffer::new()).await;
    let (mut connection, _) = opened.expect("welcomed");
    connection.subscribe([filter], QoS::AtLeastOnce).expect("an identifier");
    connection
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let work = async { tokio::time::timeout(PATIENCE, work).await.expect("in time") };
    runtime.block_on(work)
}
