//! The process: how it starts, how it stops, and what it says when it cannot start.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::{TcpListener, TcpStream},
    process::{ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::support::{
    Broker, Client, Connect, End, Packet, Properties, Version,
    broker::{Folder, PATIENCE, program},
    join,
    scram::LISTENER,
    taker,
    wire::publish,
};

fn signal(broker: &Broker, signal: Signal) {
    let id = i32::try_from(broker.process.id()).expect("a process id");
    kill_process(Pid::from_raw(id).expect("not 0"), signal).expect("the broker runs");
}

/// Stops the process with all its threads until it gets `Signal::CONT`.
fn stand_still(broker: &Broker) {
    signal(broker, Signal::STOP);
    let id = i32::try_from(broker.process.id()).expect("a process id");
    let waited = waitpid(Pid::from_raw(id), WaitOptions::UNTRACED).expect("a child of ours");
    assert!(waited.is_some_and(|(_, status)| status.stopped()), "{waited:?}");
}

/// Waits without holding up the test's other tasks.
async fn exit_status(mut broker: Broker) -> (ExitStatus, Broker) {
    tokio::task::spawn_blocking(move || {
        let status = broker.process.wait().expect("the broker ends");
        (status, broker)
    })
    .await
    .expect("a thread")
}

#[tokio::test]
async fn a_signal_to_stop_tells_the_clients_and_exits_with_0() {
    for stop in [Signal::TERM, Signal::INT] {
        let broker = Broker::start();
        let mut told = taker(broker.address, Version::V5, "told", "t", 1).await;
        let mut closed = taker(broker.address, Version::V311, "closed", "t", 1).await;
        let mut silent = Client::open(broker.address, Version::V5).await;

        signal(&broker, stop);

        assert_eq!(told.end().await, End::Disconnect(0x8B));
        assert_eq!(closed.end().await, End::Closed);
        assert_eq!(silent.end().await, End::Closed);
        let (status, _broker) = exit_status(broker).await;
        assert_eq!(status.code(), Some(0));
    }
}

/// What the publisher's PUBACK promised is on its way before the connections close.
#[tokio::test]
async fn a_stop_delivers_what_was_acknowledged() {
    let broker = Broker::start();
    let mut subscriber = taker(broker.address, Version::V5, "subscriber", "t", 0).await;
    let mut publisher = join(broker.address, Version::V5, "publisher").await;
    let payload = "x".repeat(1_000);
    for _ in 0..100 {
        publisher.publish("t", &payload, 1);
    }
    publisher.wait_for_window(0).await;

    signal(&broker, Signal::TERM);

    assert_eq!(subscriber.end().await, End::Disconnect(0x8B));
    assert_eq!(subscriber.messages.len(), 100);
    let (status, _broker) = exit_status(broker).await;
    assert_eq!(status.code(), Some(0));
}

/// A client that reads nothing does not keep the broker from stopping.
#[tokio::test]
async fn a_stop_does_not_wait_for_a_stalled_client_for_ever() {
    let broker = Broker::start();
    let mut stalled = Client::open_narrow(broker.address, Version::V5, 4_096).await;
    stalled.introduce(&Connect::new(Version::V5, "stalled")).await;
    stalled.subscribe("t", 0).await;
    let mut publisher = join(broker.address, Version::V5, "publisher").await;
    for _ in 0..200 {
        publisher.publish_and_wait("t", vec![0; 65_536], 1).await;
    }

    signal(&broker, Signal::TERM);

    let wait = tokio::time::timeout(PATIENCE, exit_status(broker));
    let (status, _broker) = wait.await.expect("it stops");
    assert_eq!(status.code(), Some(0));
}

/// Who arrives in the moment of the stop is told like everybody else, and not waited for.
#[tokio::test]
async fn a_stop_does_not_wait_for_connections_that_just_arrive() {
    const BOUND: Duration = Duration::from_secs(4);
    for _ in 0..5 {
        let broker = Broker::start_with("workers = 1\n");
        // Its worker has something to do, so that it finds the arrivals together with the stop.
        let mut busy = join(broker.address, Version::V5, "busy").await;
        busy.ping().await;
        let message = publish(Version::V5, 0x30, "t", 0, &Properties::default(), b"x");
        busy.send(&message.repeat(500_000));
        let connect = |_| TcpStream::connect(broker.address).expect("the kernel accepts");
        let arrivals: Vec<_> = (0..20).map(connect).collect();

        signal(&broker, Signal::TERM);

        assert_eq!(busy.end().await, End::Disconnect(0x8B));
        drop(busy);
        let wait = tokio::time::timeout(BOUND, exit_status(broker));
        let (status, _broker) = wait.await.expect("it stops in time");
        assert_eq!(status.code(), Some(0));
        drop(arrivals);
    }
}

/// [MQTT-3.1.2-22]: what a client sent in time counts, even if the broker comes late to it, as
/// after a suspend of its machine. Here the clock is what is tested: a Keep Alive has to run out.
#[tokio::test]
async fn a_broker_that_stood_still_first_hears_what_its_clients_said() {
    const KEEP_ALIVE: u16 = 2;
    const STANDSTILL: Duration = Duration::from_millis(3_500);
    let broker = Broker::start();
    let mut clients = Vec::new();
    for number in 0..10 {
        let id = format!("client {number}");
        let connect = Connect::new(Version::V5, &id).keep_alive(KEEP_ALIVE);
        clients.push(Client::connect(broker.address, &connect).await);
    }

    stand_still(&broker);
    for client in &mut clients {
        client.send(&[0xC0, 0]);
    }
    let said = tokio::time::timeout(STANDSTILL, clients[0].packet()).await;
    assert!(said.is_err(), "it stands still");
    signal(&broker, Signal::CONT);

    for client in &mut clients {
        assert_eq!(client.packet().await, Packet::PingResp);
    }
}

/// One line that names the address, and an exit code of sysexits.
#[test]
fn a_port_in_use_is_named_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();

    let (code, errors) = failed_start(&["--memory", "--listen", &address]);

    assert!((64..=78).contains(&code), "exit code {code}: {errors}");
    assert!(errors.contains(&address), "{errors}");
    assert_eq!(errors.trim_end().lines().count(), 1, "{errors}");
}

#[test]
fn an_impossible_address_is_named() {
    for address in ["nonsense", "127.0.0.1:99999", "203.0.113.7:0"] {
        let (code, errors) = failed_start(&["--memory", "--listen", address]);

        assert!((64..=78).contains(&code), "exit code {code}: {errors}");
        let host = address.split(':').next().expect("a first part");
        assert!(errors.contains(host), "{errors}");
    }
}

#[test]
fn an_unreadable_configuration_is_named() {
    let (code, errors) = failed_start(&["--memory", "--config", "missing.toml"]);

    assert!((64..=78).contains(&code), "exit code {code}: {errors}");
    assert!(errors.contains("missing.toml"), "{errors}");
}

/// What it tells a newcomer to try works: the commands say nothing of who they are.
#[test]
fn the_commands_to_try_are_for_a_listener_that_lets_them_in() {
    let open = "[[listener]]\naddress = \"127.0.0.1:0\"\nanonymous = true\n";
    assert!(!banner(LISTENER).contains("mosquitto_pub"), "{}", banner(LISTENER));
    let both = banner(&format!("{LISTENER}{open}"));

    let open =
        both.lines().filter_map(|line| line.split_once("listening on 127.0.0.1:")).next_back();
    let port = open.and_then(|(_, rest)| rest.split(' ').next());
    assert!(both.contains(&format!("mosquitto_pub -p {} ", port.expect("a port"))), "{both}");
}

#[test]
fn version_and_help_are_answered() {
    for argument in ["--version", "--help"] {
        let output = program().arg(argument).output().expect("the binary runs");

        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
        assert!(text.contains("dunlin"), "{text}");
    }
}

/// Standard output of a broker with this configuration.
fn banner(configuration: &str) -> String {
    let folder = Folder::new();
    fs::write(folder.path.join("dunlin.toml"), configuration)
        .expect("the configuration is written");
    let mut process = program()
        .args(["--memory", "--config", "dunlin.toml"])
        .current_dir(&folder.path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let errors = BufReader::new(process.stderr.take().expect("stderr is a pipe"));
    // It comes after all of the banner; without it the broker has ended.
    let started = errors.lines().map_while(Result::ok).any(|line| line.contains("started"));
    process.kill().expect("the broker runs");
    let output = process.wait_with_output().expect("the broker ends");
    assert!(started);
    String::from_utf8(output.stdout).expect("text")
}

/// The exit code and stderr of a start that must fail; one that succeeds is ended and reported.
fn failed_start(arguments: &[&str]) -> (i32, String) {
    let folder = Folder::new();
    let mut process = program()
        .args(arguments)
        .current_dir(&folder.path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stderr = process.stderr.take().expect("stderr is a pipe");
    let (ended, end) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut errors = String::new();
        let _ = stderr.read_to_string(&mut errors);
        let _ = ended.send(());
        errors
    });
    if end.recv_timeout(PATIENCE).is_err() {
        process.kill().expect("it runs");
    }
    let errors = reader.join().expect("the reader ends");
    let status = process.wait().expect("the broker ends");
    (status.code().unwrap_or_else(|| panic!("it started: {arguments:?}\n{errors}")), errors)
}
