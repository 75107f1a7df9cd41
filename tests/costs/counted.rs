//! The real broker with its calls counted, and clients that take turns with it.
//!
//! The calls are counted by a library in front of the C library (`count_calls.c`), compiled here and
//! loaded by LD_PRELOAD: that takes a C compiler, which Rust needs anyway, and no privilege. ptrace
//! (strace) and tracepoints (perf) are refused in many containers, and ptrace would slow the broker
//! down at each of the calls that are counted.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Sub;
use std::path::{Path, PathBuf};
use std::process::{Command, id};
use std::sync::OnceLock;

use dunlin::packet::{Framing, PACKET_BYTES_MAX, Packet, ProtocolVersion, QoS, frame};

use crate::broker::{Broker, Folder, PATIENCE, program};
use crate::in_thread::{connect, subscribe};

const COUNTERS: usize = 7;

/// What a broker has asked of its kernel and of its allocator.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Calls {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) waits: u64,
    pub(crate) others: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    pub(crate) allocations: u64,
}

impl Calls {
    pub(crate) fn of_the_system(self) -> u64 {
        self.reads + self.writes + self.waits + self.others
    }
}

impl Sub for Calls {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            reads: self.reads - earlier.reads,
            writes: self.writes - earlier.writes,
            waits: self.waits - earlier.waits,
            others: self.others - earlier.others,
            bytes_read: self.bytes_read - earlier.bytes_read,
            bytes_written: self.bytes_written - earlier.bytes_written,
            allocations: self.allocations - earlier.allocations,
        }
    }
}

/// A broker whose calls are counted.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) broker: Broker,
    counters: PathBuf,
    _folder: Folder,
}

impl Counted {
    /// With one worker: who flushes for whom is then the same in every run.
    pub(crate) fn start() -> Self {
        let folder = Folder::new();
        let counters = folder.path.join("counters");
        fs::write(&counters, [0; COUNTERS * size_of::<u64>()]).expect("the counters are written");
        let mut command = program();
        command.env("LD_PRELOAD", library()).env("COUNT_CALLS", &counters);
        let broker = Broker::start_by(command, "workers = 1\n");
        Self { broker, counters, _folder: folder }
    }

    pub(crate) fn calls(&self) -> Calls {
        let bytes = fs::read(&self.counters).expect("the counters");
        let mut counters = bytes.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes));
        let mut next = || counters.next().expect("a counter");
        Calls {
            reads: next(),
            writes: next(),
            waits: next(),
            others: next(),
            bytes_read: next(),
            bytes_written: next(),
            allocations: next(),
        }
    }
}

/// A client that waits for each answer.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    pub(crate) version: ProtocolVersion,
}

impl Client {
    pub(crate) fn join(address: SocketAddr, version: ProtocolVersion, client_id: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut client = Self { stream, version };
        let mut bytes = Vec::new();
        Packet::Connect(connect(version, client_id)).encode(version, &mut bytes);
        client.write(&bytes);
        client.read_packet();
        client
    }

    pub(crate) fn subscribe(&mut self, filter: &str, qos: QoS) {
        let bytes = subscribe(self.version, filter, qos);
        self.write(&bytes);
        self.read_packet();
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
    }

    /// Reads so many bytes.
    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("the broker writes");
        bytes
    }

    /// Everything written before was handled.
    pub(crate) fn ping(&mut self) {
        let mut bytes = Vec::new();
        Packet::PingReq.encode(self.version, &mut bytes);
        self.write(&bytes);
        self.read_packet();
    }

    /// Reads one packet, whatever it is.
    fn read_packet(&mut self) {
        let mut bytes = Vec::new();
        loop {
            bytes.extend(self.read(1));
            if let Framing::Complete(_) = frame(&bytes, PACKET_BYTES_MAX).expect("a packet") {
                return;
            }
        }
    }
}

fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(compile)
}

fn compile() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (library, mine) =
        (folder.join("count_calls.so"), folder.join(format!("count_calls-{}.so", id())));
    let mut compiler = Command::new("cc");
    compiler.args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]);
    compiler
        .arg(&mine)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/costs/count_calls.c"));
    let output = match compiler.arg("-ldl").output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("cc is missing: run tests/run.sh, which installs it")
        }
        Err(error) => panic!("cc does not start: {error}"),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Whoever runs these tests at the same time sees one or the other, and each of them whole.
    fs::rename(mine, &library).expect("the library is put in its place");
    library
}
