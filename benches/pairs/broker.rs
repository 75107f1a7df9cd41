//! A broker as a child process: started on a port of its own, measured from outside, ended.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Where Debian puts it, which is not on every user's path.
const MOSQUITTO_PLACES: [&str; 2] = ["mosquitto", "/usr/sbin/mosquitto"];

const START_TIMEOUT: Duration = Duration::from_secs(5);
const START_PAUSE: Duration = Duration::from_millis(10);

/// The unit of utime and stime in /proc/PID/stat: Linux shows 100 a second on all usual machines.
const TICK: Duration = Duration::from_millis(10);

#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    #[error("mosquitto is not installed: `apt-get install mosquitto`, or `--only dunlin`")]
    NoMosquitto,
    #[error("cannot start {0}")]
    Start(Kind, #[source] io::Error),
    #[error("{0} does not listen")]
    Silent(Kind),
    #[error("cannot read the processor time of {0}")]
    Usage(Kind, #[source] io::Error),
}

/// Which broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Mosquitto,
    Dunlin { workers: usize },
}

/// A running broker. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Broker {
    kind: Kind,
    child: Child,
    pub(crate) address: SocketAddr,
    /// Removed with the broker.
    configuration: Option<PathBuf>,
    /// Kept open, or the broker could not print what it has still to say.
    output: Option<BufReader<ChildStdout>>,
}

/// What a process has used since it started, over all its threads.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Usage {
    /// Exact.
    pub(crate) total: Duration,
    /// Of which in the kernel, in ticks.
    pub(crate) kernel: Duration,
    pub(crate) user: Duration,
    /// How often a thread went to sleep.
    pub(crate) sleeps: u64,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mosquitto => to.pad("mosquitto"),
            Self::Dunlin { workers } => to.pad(&format!("dunlin x{workers}")),
        }
    }
}

impl Broker {
    pub(crate) fn start(kind: Kind) -> Result<Self, BrokerError> {
        let broker = match kind {
            Kind::Mosquitto => Self::start_mosquitto(kind),
            Kind::Dunlin { workers } => Self::start_dunlin(kind, workers),
        }?;
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(broker.address).is_err() {
            if Instant::now() >= deadline {
                return Err(BrokerError::Silent(kind));
            }
            std::thread::sleep(START_PAUSE);
        }
        Ok(broker)
    }

    fn start_mosquitto(kind: Kind) -> Result<Self, BrokerError> {
        let failed = |error| BrokerError::Start(kind, error);
        let address = free_address().map_err(failed)?;
        let file = format!("dunlin-pairs-{}-{}.conf", std::process::id(), address.port());
        let file = std::env::temp_dir().join(file);
        // Nothing may be lost, and nothing may wait for a limit: 0 is no limit.
        let text = format!(
            "listener {} {}\nallow_anonymous true\nset_tcp_nodelay true\npersistence false\n\
             max_queued_messages 0\nmax_inflight_messages 0\nlog_type none\n",
            address.port(),
            address.ip()
        );
        fs::write(&file, text).map_err(failed)?;
        for place in MOSQUITTO_PLACES {
            let mut command = Command::new(place);
            command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
            match command.spawn() {
                Ok(child) => {
                    return Ok(Self {
                        kind,
                        child,
                        address,
                        configuration: Some(file),
                        output: None,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let _ = fs::remove_file(&file);
        Err(BrokerError::NoMosquitto)
    }

    fn start_dunlin(kind: Kind, workers: usize) -> Result<Self, BrokerError> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dunlin"))
            .args(["--memory", "--listen", "127.0.0.1:0"])
            .env("DUNLIN_WORKERS", workers.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| BrokerError::Start(kind, error))?;
        let output = child.stdout.take().map(BufReader::new);
        let unspecified = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut broker = Self { kind, child, address: unspecified, configuration: None, output };
        let lines = broker.output.iter_mut().flat_map(BufRead::lines);
        let address = lines.map_while(Result::ok).find_map(|line| listening(&line));
        broker.address = address.ok_or(BrokerError::Silent(kind))?;
        Ok(broker)
    }

    pub(crate) fn usage(&self) -> Result<Usage, BrokerError> {
        Usage::of(&self.child.id().to_string())
            .map_err(|error| BrokerError::Usage(self.kind, error))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(file) = &self.configuration {
            let _ = fs::remove_file(file);
        }
    }
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

impl Usage {
    /// `process` is a number, or `self`.
    pub(crate) fn of(process: &str) -> io::Result<Self> {
        let folder = PathBuf::from("/proc").join(process);
        let stat = fs::read_to_string(folder.join("stat"))?;
        // The name, in parentheses, may hold spaces; utime is the 12th field behind it.
        let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let mut ticks =
            behind_name.split_whitespace().skip(11).map_while(|field| field.parse().ok());
        let user = TICK * ticks.next().unwrap_or_default();
        let kernel = TICK * ticks.next().unwrap_or_default();
        let mut usage = Self { user, kernel, ..Self::default() };
        for thread in fs::read_dir(folder.join("task"))? {
            let thread = thread?.path();
            let schedule = fs::read_to_string(thread.join("schedstat"))?;
            let nanoseconds =
                schedule.split_whitespace().next().and_then(|field| field.parse().ok());
            usage.total += Duration::from_nanos(nanoseconds.unwrap_or_default());
            let status = fs::read_to_string(thread.join("status"))?;
            let sleeps =
                status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            usage.sleeps += sleeps.and_then(|count| count.trim().parse().ok()).unwrap_or(0);
        }
        Ok(usage)
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            total: self.total.saturating_sub(earlier.total),
            kernel: self.kernel.saturating_sub(earlier.kernel),
            user: self.user.saturating_sub(earlier.user),
            sleeps: self.sleeps.saturating_sub(earlier.sleeps),
        }
    }
}
