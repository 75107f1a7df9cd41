//! A server as a child process: started on a port of its own, ended by its own handle.

use std::env;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Where Debian puts it, which is not on every user's path.
const MOSQUITTO_PLACES: [&str; 2] = ["mosquitto", "/usr/sbin/mosquitto"];

const START_TIMEOUT: Duration = Duration::from_secs(10);
const START_PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("mosquitto is not installed: `apt-get install mosquitto`, or `--servers dunlin,relay`")]
    NoMosquitto,
    #[error("cannot start {0}")]
    Start(Kind, #[source] io::Error),
    #[error("{0} does not listen")]
    Silent(Kind),
}

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Mosquitto,
    Dunlin {
        workers: usize,
    },
    /// What is left of a broker without MQTT.
    Relay,
}

/// A running server. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// From the start of the process until it could be reached.
    pub(crate) took: Duration,
    /// Removed with the server.
    configuration: Option<PathBuf>,
    /// Kept open, or the server could not print what it has still to say.
    _output: Option<BufReader<ChildStdout>>,
}

impl fmt::Display for Kind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mosquitto => to.pad("mosquitto"),
            Self::Dunlin { workers } => to.pad(&format!("dunlin x{workers}")),
            Self::Relay => to.pad("relay"),
        }
    }
}

impl Server {
    pub(crate) fn start(kind: Kind) -> Result<Self, ServerError> {
        let start = Instant::now();
        let mut server = Self::start_process(kind)?;
        server.took = start.elapsed();
        Ok(server)
    }

    /// Resident, in KiB.
    pub(crate) fn memory(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    fn start_process(kind: Kind) -> Result<Self, ServerError> {
        match kind {
            Kind::Mosquitto => Self::start_mosquitto(),
            Kind::Dunlin { workers } => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
                command.args(["--memory", "--listen", "127.0.0.1:0"]);
                command.env("DUNLIN_WORKERS", workers.to_string());
                Self::start_listening(kind, command)
            }
            Kind::Relay => {
                let own = env::current_exe().map_err(|error| ServerError::Start(kind, error))?;
                let mut command = Command::new(own);
                command.arg("--relay");
                Self::start_listening(kind, command)
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn start_mosquitto() -> Result<Self, ServerError> {
        let failed = |error| ServerError::Start(Kind::Mosquitto, error);
        let address = free_address().map_err(failed)?;
        let file = format!("dunlin-compare-{}-{}.conf", std::process::id(), address.port());
        let file = env::temp_dir().join(file);
        // Nothing may be lost, and nothing may wait for a limit: 0 is no limit.
        let text = format!(
            "listener {} {}\nallow_anonymous true\nset_tcp_nodelay true\npersistence false\n\
             max_queued_messages 0\nmax_inflight_messages 0\nlog_type none\n",
            address.port(),
            address.ip()
        );
        fs::write(&file, text).map_err(failed)?;
        let mut child = None;
        for place in MOSQUITTO_PLACES {
            let mut command = Command::new(place);
            command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
            match command.spawn() {
                Ok(started) => {
                    child = Some(started);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let Some(child) = child else {
            let _ = fs::remove_file(&file);
            return Err(ServerError::NoMosquitto);
        };
        let (took, configuration) = (Duration::ZERO, Some(file));
        let server = Self { child, address, took, configuration, _output: None };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(server.address).is_err() {
            if Instant::now() >= deadline {
                return Err(ServerError::Silent(Kind::Mosquitto));
            }
            std::thread::sleep(START_PAUSE);
        }
        Ok(server)
    }

    /// One that says where it listens.
    fn start_listening(kind: Kind, mut command: Command) -> Result<Self, ServerError> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| ServerError::Start(kind, error))?;
        let mut output = child.stdout.take().map(BufReader::new);
        let lines = output.iter_mut().flat_map(BufRead::lines);
        let address = lines.map_while(Result::ok).find_map(|line| listening(&line));
        let (took, configuration) = (Duration::ZERO, None);
        let unspecified = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut server = Self { child, address: unspecified, took, configuration, _output: output };
        server.address = address.ok_or(ServerError::Silent(kind))?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(file) = &self.configuration {
            let _ = fs::remove_file(file);
        }
    }
}

/// What mosquitto says of itself.
pub(crate) fn mosquitto_version() -> Option<String> {
    let help = MOSQUITTO_PLACES
        .iter()
        .find_map(|place| Command::new(place).arg("-h").stdin(Stdio::null()).output().ok())?;
    String::from_utf8(help.stdout).ok()?.lines().next().map(str::to_owned)
}

/// The address in a line such as `listening on 127.0.0.1:1883`.
fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    rest.split_whitespace().find_map(|word| word.trim_end_matches(',').parse().ok())
}

/// Free a moment ago, which has to be enough for a broker that cannot be asked for its port.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
