//! The real binary as a child process: started on a free port, ended by its own handle.

#![allow(dead_code, reason = "no test starts it in every way")]

use std::{
    collections::HashMap,
    fmt, fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How long a test waits for something that must happen. It bounds a failure and paces nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const OPEN_FILES_WANTED: u64 = 20_000;

/// A running broker; dropping it kills the process and, after a failed test, prints its log.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    pub(crate) process: Child,
    pub(crate) log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    folder: Folder,
}

impl Broker {
    /// A broker in memory on a free loopback port, with the defaults of the product.
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// The same, with this text as its configuration file; if that has listeners, on these alone.
    pub(crate) fn start_with(configuration: &str) -> Self {
        Self::start_by(program(), configuration)
    }

    /// The same by a command that names the binary and may say more about its process.
    pub(crate) fn start_by(mut command: Command, configuration: &str) -> Self {
        let folder = Folder::new();
        command.arg("--memory").current_dir(&folder.path);
        if !configuration.contains("[[listener]]") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if !configuration.is_empty() {
            let file = folder.path.join("dunlin.toml");
            fs::write(&file, configuration).expect("the configuration is written");
            command.arg("--config").arg(&file);
        }
        Self::launch(command, folder).unwrap_or_else(|failed| panic!("{failed}"))
    }

    /// Starts what the command says; `folder` is removed with the broker.
    pub(crate) fn launch(mut command: Command, folder: Folder) -> Result<Self, NotStarted> {
        raise_open_file_limit();
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the broker's binary starts");

        let log = Arc::new(Mutex::new(String::new()));
        let (found, address) = mpsc::channel();
        let stdout = process.stdout.take().expect("stdout is a pipe");
        let stderr = process.stderr.take().expect("stderr is a pipe");
        let readers = vec![
            keep_lines(stdout, Arc::clone(&log), Some(found)),
            keep_lines(stderr, Arc::clone(&log), None),
        ];
        let Ok(address) = address.recv_timeout(PATIENCE) else {
            let _ = process.kill();
            let status = process.wait().expect("a process of ours");
            for reader in readers {
                let _ = reader.join();
            }
            let log = log.lock().map(|text| text.clone()).unwrap_or_default();
            return Err(NotStarted { status, log });
        };
        Ok(Self { address, process, log, readers, folder })
    }
}

/// A process that ended, or was ended, before it said where it listens.
#[derive(Debug)]
pub(crate) struct NotStarted {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl fmt::Display for NotStarted {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, log } = self;
        write!(to, "no line `listening on ADDRESS` from the broker ({status}):\n{log}")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        if thread::panicking() {
            let text = self.log.lock().map(|text| text.clone()).unwrap_or_default();
            eprintln!("--- log of the broker in {}\n{text}---", self.folder.path.display());
        }
    }
}

/// The broker's command without arguments. `BROKER_UNDER_TEST` names another build of it, say the
/// one in `target/release`. Settings from the tester's own environment are left out.
pub(crate) fn program() -> Command {
    let path = std::env::var("BROKER_UNDER_TEST")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_dunlin").to_owned());
    let mut command = Command::new(path);
    let inherited: HashMap<_, _> = std::env::vars_os().collect();
    for name in inherited.keys().filter(|name| name.to_string_lossy().starts_with("DUNLIN_")) {
        command.env_remove(name);
    }
    command
}

/// A folder of one test's own, removed with it.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a folder for the test");
        Self { path }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Collects a pipe's lines; the first `listening on ADDRESS` is reported.
fn keep_lines(
    pipe: impl Read + Send + 'static,
    log: Arc<Mutex<String>>,
    mut found: Option<Sender<SocketAddr>>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).into_owned();
            if let Ok(mut log) = log.lock() {
                log.push_str(&text);
            }
            if let Some(address) = listening_address(&text)
                && let Some(found) = found.take()
            {
                let _ = found.send(address);
            }
            line.clear();
        }
    })
}

fn listening_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    rest.split_whitespace().next()?.trim_matches(',').parse().ok()
}

/// A thousand connections need as many open files, here and in the broker, which inherits this.
fn raise_open_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(OPEN_FILES_WANTED).min(OPEN_FILES_WANTED);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).expect("the open-file limit can be raised");
    }
}
