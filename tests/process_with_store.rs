//! The process of a broker that keeps what it acknowledged: how it starts and stops, what it says when
//! it cannot, and what its owner may ask of it meanwhile.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper that panics is a test that fails")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Bounds a failure and paces nothing.
const LONG: Duration = Duration::from_secs(30);

// MQTT 3.1.1, as much as is needed here.
const CONNECT_LASTING: &[u8] = b"\x10\x11\x00\x04MQTT\x04\x00\x00\x00\x00\x05taker";
const CONNECT_CLEAN: &[u8] = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05giver";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";
const CONNACK_PRESENT: &[u8] = b"\x20\x02\x01\x00";
const SUBSCRIBE: &[u8] = b"\x82\x06\x00\x01\x00\x01t\x01";
const SUBACK: &[u8] = b"\x90\x03\x00\x01\x01";
const PUBLISH: &[u8] = b"\x32\x09\x00\x01t\x00\x01kept";
const PUBACK: &[u8] = b"\x40\x02\x00\x01";
const DISCONNECT: &[u8] = b"\xe0\x00";

/// A directory of one test's own, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("process-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        let inherited = std::env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|name| name.to_string_lossy().starts_with("DUNLIN_")) {
            command.env_remove(name);
        }
        command.current_dir(&self.0);
        command
    }

    /// A broker that stores in `data`, ready for clients.
    fn start(&self) -> Broker {
        self.start_in("data")
    }

    fn start_in(&self, data_dir: &str) -> Broker {
        let mut process = self
            .command()
            .args(["--listen", "127.0.0.1:0", "--data-dir", data_dir])
            .env("DUNLIN_SYS__INTERVAL", "1s")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = lines(process.stdout.take().unwrap());
        let log = lines(process.stderr.take().unwrap());
        let banner = until(&output, "storing in");
        let listening = banner.lines().find_map(|line| line.split_once("listening on ")).unwrap();
        let address = listening.1.split(' ').next().unwrap().to_owned();
        let started = until(&log, "started");
        Broker { process, address, banner, started, log }
    }

    /// A start that must fail, or a subcommand.
    fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Broker {
    process: Child,
    address: String,
    banner: String,
    /// The log up to there.
    started: String,
    log: Receiver<String>,
}

impl Broker {
    fn connect(&self, connect: &[u8], answer: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(connect).unwrap();
        expect(&mut stream, answer);
        stream
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// All lines up to the one that has this.
fn until(lines: &Receiver<String>, wanted: &str) -> String {
    let mut text = String::new();
    while let Ok(line) = lines.recv_timeout(LONG) {
        text += &line;
        text += "\n";
        if line.contains(wanted) {
            return text;
        }
    }
    panic!("no line with {wanted:?}:\n{text}");
}

fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    stream.read_exact(&mut read).unwrap();
    assert_eq!(read, bytes);
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Everything below a directory, itself included.
fn all_below(path: &Path, found: &mut Vec<PathBuf>) {
    found.push(path.to_owned());
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries {
        all_below(&entry.unwrap().path(), found);
    }
}

/// A message for a client that is away.
fn leave_a_message(broker: &Broker) {
    let mut taker = broker.connect(CONNECT_LASTING, CONNACK);
    taker.write_all(SUBSCRIBE).unwrap();
    expect(&mut taker, SUBACK);
    taker.write_all(DISCONNECT).unwrap();
    assert_eq!(taker.read(&mut [0]).unwrap(), 0, "it is away");
    let mut giver = broker.connect(CONNECT_CLEAN, CONNACK);
    giver.write_all(PUBLISH).unwrap();
    expect(&mut giver, PUBACK);
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash_and_told_of() {
    let folder = Folder::new("crash");
    let mut broker = folder.start();
    leave_a_message(&broker);

    broker.process.kill().unwrap();
    broker.process.wait().unwrap();
    let again = folder.start();

    let restored = again.started.lines().find(|line| line.contains("restored")).unwrap();
    for told in ["sessions=1", "subscriptions=1", "queued=1", "retained=0", "took_ms="] {
        assert!(restored.contains(told), "{restored}");
    }
    expect(&mut again.connect(CONNECT_LASTING, CONNACK_PRESENT), PUBLISH);
}

#[test]
fn the_banner_says_where_and_how_it_stores() {
    let folder = Folder::new("banner");

    let broker = folder.start();

    assert!(broker.banner.contains("  storing in data (sync always)\n"), "{}", broker.banner);
}

#[test]
fn what_it_makes_is_its_owners_alone_even_where_everybody_may_write() {
    let folder = Folder::new("owner");
    fs::create_dir(folder.data()).unwrap();
    fs::set_permissions(folder.data(), Permissions::from_mode(0o1777)).unwrap();

    let _broker = folder.start();

    let mut made = Vec::new();
    all_below(&folder.data(), &mut made);
    assert!(made.len() > 3, "{made:?}");
    for path in made.iter().skip(1) {
        let mode = fs::symlink_metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
}

#[test]
fn a_stop_keeps_everything_and_leaves_no_socket() {
    let folder = Folder::new("stop");
    let mut broker = folder.start();
    assert!(folder.data().join("control.sock").exists());

    broker.signal(Signal::TERM);

    let told = until(&broker.log, "the store is closed, and has everything");
    assert!(!told.contains("ERROR"), "{told}");
    assert_eq!(broker.process.wait().unwrap().code(), Some(0));
    assert!(!folder.data().join("control.sock").exists());
}

#[test]
fn two_brokers_do_not_share_a_directory() {
    let folder = Folder::new("shared");
    let broker = folder.start();

    let second = folder.run(&["--listen", "127.0.0.1:0", "--data-dir", "data"]);

    let errors = text(&second.stderr);
    assert_eq!(second.status.code(), Some(75), "{errors}");
    assert!(errors.contains("data is in use by another dunlin"), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    drop(broker.connect(CONNECT_CLEAN, CONNACK));
    let status = folder.run(&["store", "status", "--data-dir", "data"]);
    assert_eq!(status.status.code(), Some(0), "its socket is still there");
}

#[test]
fn a_directory_that_is_somebody_elses_is_left_alone() {
    let folder = Folder::new("foreign");
    fs::create_dir(folder.data()).unwrap();
    fs::write(folder.data().join("thesis.tex"), "precious").unwrap();
    fs::write(folder.0.join("file"), "").unwrap();
    for (data_dir, told) in [("data", "thesis.tex"), ("file", "not a directory")] {
        let refused = folder.run(&["--listen", "127.0.0.1:0", "--data-dir", data_dir]);

        let errors = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(78), "{errors}");
        assert!(errors.contains(told), "{errors}");
        assert!(errors.contains("data_dir"), "{errors}");
    }
    let mut left = Vec::new();
    all_below(&folder.data(), &mut left);
    assert_eq!(left, [folder.data(), folder.data().join("thesis.tex")]);
}

#[test]
fn a_broker_in_memory_makes_no_directory() {
    let folder = Folder::new("memory");
    // It cannot start, but it would have made the directory before it found that out.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let run = folder.run(&["--memory", "--data-dir", "data", "--listen", &address]);

    assert_eq!(run.status.code(), Some(69), "{}", text(&run.stderr));
    assert!(!folder.data().exists());
}

#[test]
fn the_owner_may_ask_how_it_is() {
    let folder = Folder::new("status");
    let broker = folder.start();
    let _taker = broker.connect(CONNECT_LASTING, CONNACK);

    let status = folder.run(&["store", "status", "--json", "--data-dir", "data"]);

    assert_eq!(status.status.code(), Some(0), "{}", text(&status.stderr));
    let figures: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(figures["clients_connected"], 1);
    assert_eq!(figures["sessions"], 1);
    assert_eq!(figures["process"], broker.process.id());
    assert_eq!(figures["store_directory"], "data");
    assert_eq!(figures["store_failing_since"], 0);
    assert!(figures["store_commits"].as_u64() > Some(0), "{figures}");
    let words = folder.run(&["store", "status", "--data-dir", "data"]);
    assert!(text(&words.stdout).contains("clients connected: 1\n"), "{}", text(&words.stdout));
}

#[test]
fn a_file_in_the_place_of_the_socket_stays_and_keeps_nobody_from_serving() {
    let folder = Folder::new("in-the-way");
    fs::create_dir(folder.data()).unwrap();
    fs::write(folder.data().join("control.sock"), "precious").unwrap();

    let broker = folder.start();

    drop(broker.connect(CONNECT_CLEAN, CONNACK));
    let told = &broker.started;
    assert!(told.contains("control.sock is not a socket of a broker: move it away"), "{told}");
    drop(broker);
    assert_eq!(fs::read_to_string(folder.data().join("control.sock")).unwrap(), "precious");
}

#[test]
fn the_figures_of_the_store_are_published() {
    let folder = Folder::new("sys");
    let broker = folder.start();
    let mut watcher = broker.connect(CONNECT_CLEAN, CONNACK);

    let filter = b"$SYS/broker/store/failing/since";
    let length = u8::try_from(filter.len()).unwrap();
    let subscribe = [&[0x82, length + 5, 0, 1, 0, length], &filter[..], &[0]].concat();
    watcher.write_all(&subscribe).unwrap();

    expect(&mut watcher, b"\x90\x03\x00\x01\x00");
    let publish = [&[0x30, length + 3, 0, length], &filter[..], b"0"].concat();
    expect(&mut watcher, &publish);
}

#[test]
fn a_backup_of_a_running_broker_is_served_by_another_one() {
    let folder = Folder::new("backup");
    let broker = folder.start();
    leave_a_message(&broker);

    let ran = folder.run(&["store", "backup", "some/copy", "--data-dir", "data"]);

    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let path = folder.0.join("some/copy");
    let told = format!("backed up to: {}\n", path.display());
    assert!(text(&ran.stdout).starts_with(&told), "{}", text(&ran.stdout));
    // Both go on, and what one of them delivers the other still has.
    for broker in [folder.start_in("some/copy"), broker] {
        expect(&mut broker.connect(CONNECT_LASTING, CONNACK_PRESENT), PUBLISH);
    }
}

#[test]
fn a_backup_does_not_touch_what_is_there_already() {
    let folder = Folder::new("not-empty");
    let _broker = folder.start();
    fs::create_dir(folder.0.join("full")).unwrap();
    fs::write(folder.0.join("full/thesis.tex"), "precious").unwrap();
    fs::create_dir(folder.0.join("empty")).unwrap();
    let back_up = |target| folder.run(&["store", "backup", target, "--data-dir", "data"]);

    for (target, code) in
        [("full", 73), ("full/thesis.tex", 73), ("data/copy", 73), ("empty", 0), ("empty", 73)]
    {
        let ran = back_up(target);

        assert_eq!(ran.status.code(), Some(code), "{target}: {}", text(&ran.stderr));
    }
    assert_eq!(fs::read_dir(folder.0.join("full")).unwrap().count(), 1);
    assert!(!folder.data().join("copy").exists());
}

#[test]
fn a_stopped_brokers_store_can_be_looked_into() {
    let folder = Folder::new("look");
    let mut broker = folder.start();
    leave_a_message(&broker);
    let look =
        |arguments: &[&str]| folder.run(&[&["store"], arguments, &["--data-dir", "data"]].concat());

    for arguments in [["verify"], ["dump"], ["stats"]] {
        let refused = look(&arguments);

        assert_eq!(refused.status.code(), Some(75), "it runs");
        assert!(text(&refused.stderr).contains("dunlin store backup"), "{arguments:?}");
    }
    broker.process.kill().unwrap();
    broker.process.wait().unwrap();
    let verified = look(&["verify"]);
    let stats = look(&["stats", "--json"]);
    let dump = look(&["dump", "--json"]);

    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stderr));
    assert!(text(&verified.stdout).starts_with("data: ok, "), "{}", text(&verified.stdout));
    let stats: serde_json::Value = serde_json::from_slice(&stats.stdout).unwrap();
    assert_eq!(stats["schema"], 1);
    assert_eq!(stats["families"]["queue"]["records"], 1);
    assert_eq!(stats["families"]["subscriptions"]["records"], 1);
    let lines = text(&dump.stdout).lines();
    let entries: Vec<serde_json::Value> =
        lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let queued = entries.iter().find(|entry| entry["family"] == "queue").unwrap();
    assert_eq!(queued["topic"], "t", "{queued}");
    assert!(text(&look(&["stats"]).stdout).contains("subscriptions"));
    assert!(text(&look(&["dump"]).stdout).contains("taker"));
}

#[test]
fn looking_finds_damage_and_changes_nothing() {
    let folder = Folder::new("damage");
    let mut broker = folder.start();
    leave_a_message(&broker);
    broker.process.kill().unwrap();
    broker.process.wait().unwrap();
    let mut files = Vec::new();
    all_below(&folder.data().join("store"), &mut files);
    let journal = files.iter().find(|path| path.extension().is_some_and(|it| it == "jnl")).unwrap();
    let mut bytes = fs::read(journal).unwrap();
    let at = bytes.windows(4).position(|window| window == b"kept").unwrap();
    bytes[at] ^= 1;
    fs::write(journal, &bytes).unwrap();
    let before = fs::read_dir(folder.data()).unwrap().count();

    let verified = folder.run(&["store", "verify", "--data-dir", "data"]);

    assert_eq!(verified.status.code(), Some(65), "{}", text(&verified.stderr));
    assert!(text(&verified.stdout).contains(".jnl: "), "{}", text(&verified.stdout));
    assert_eq!(fs::read(journal).unwrap(), bytes);
    // The lock and the socket of the broker that was killed are among them.
    assert_eq!(fs::read_dir(folder.data()).unwrap().count(), before);
}

#[test]
fn where_there_is_no_store_nothing_is_made() {
    let folder = Folder::new("none");
    fs::create_dir(folder.data()).unwrap();
    for data_dir in ["data", "missing"] {
        let looked = folder.run(&["store", "stats", "--data-dir", data_dir]);

        assert_eq!(looked.status.code(), Some(66), "{}", text(&looked.stderr));
        assert!(text(&looked.stderr).contains("there is no store in"), "{}", text(&looked.stderr));
    }
    assert_eq!(fs::read_dir(folder.data()).unwrap().count(), 0);
    assert!(!folder.0.join("missing").exists());
}
