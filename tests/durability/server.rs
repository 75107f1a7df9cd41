//! The broker with a data directory: started, killed and started again on what is left there.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::broker::{Broker, Folder, NotStarted, program};
use crate::shim::Shim;

/// Queues that no load here fills, so that no message is refused for anything but its store.
const CONFIGURATION: &str = "\
    [limits]\n\
    memory_max = \"8 GiB\"\n\
    [session]\n\
    queue_bytes_max = \"2 GiB\"\n\
    queue_offline_messages_max = 10000000\n";

/// When an acknowledgement goes out, and what keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    Always,
    Interval,
    Os,
    Off,
    /// The engine that keeps nothing at all.
    Memory,
}

impl Sync {
    fn set(self, command: &mut Command) {
        let (engine, sync) = match self {
            Self::Always => ("fjall", "always"),
            Self::Interval => ("fjall", "interval"),
            Self::Os => ("fjall", "os"),
            Self::Off => ("fjall", "off"),
            Self::Memory => {
                command.env("DUNLIN_STORAGE__ENGINE", "memory");
                return;
            }
        };
        command.env("DUNLIN_STORAGE__ENGINE", engine).env("DUNLIN_STORAGE__SYNC", sync);
    }
}

#[derive(Debug)]
pub(crate) struct Server {
    broker: Option<Broker>,
    data: PathBuf,
    sync: Sync,
    shim: Option<Shim>,
    /// What else is configured of the store.
    storage: &'static str,
}

impl Server {
    pub(crate) fn start(data: &Path, sync: Sync) -> Self {
        Self::start_shimmed(data, sync, None)
    }

    /// With a library before it that lets its files fail.
    pub(crate) fn start_shimmed(data: &Path, sync: Sync, shim: Option<Shim>) -> Self {
        let mut server = Self { shim, ..Self::stopped(data, sync) };
        server.restart();
        server
    }

    /// With these lines in the table of the store.
    pub(crate) fn start_configured(data: &Path, sync: Sync, storage: &'static str) -> Self {
        let mut server = Self { storage, ..Self::stopped(data, sync) };
        server.restart();
        server
    }

    fn stopped(data: &Path, sync: Sync) -> Self {
        Self { broker: None, data: data.to_owned(), sync, shim: None, storage: "" }
    }

    /// Starts it, or says how it ended.
    pub(crate) fn attempt(data: &Path, sync: Sync) -> Result<Self, NotStarted> {
        let mut server = Self::stopped(data, sync);
        server.broker = Some(server.launch()?);
        Ok(server)
    }

    /// The same, run by somebody who owns nothing if root runs this.
    pub(crate) fn attempt_as_nobody(data: &Path) -> Result<Self, NotStarted> {
        const NOBODY: u32 = 65_534;
        let server = Self::stopped(data, Sync::Os);
        let (mut command, folder) = server.command();
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let broker = Broker::launch(command, folder)?;
        Ok(Self { broker: Some(broker), ..server })
    }

    /// Starts it again on the same directory.
    pub(crate) fn restart(&mut self) {
        assert!(self.broker.is_none(), "it still runs");
        self.broker = Some(self.launch().unwrap_or_else(|failed| panic!("{failed}")));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.broker().address
    }

    pub(crate) fn id(&self) -> u32 {
        self.broker().process.id()
    }

    pub(crate) fn log(&self) -> String {
        self.broker().log.lock().expect("the log").clone()
    }

    pub(crate) fn shim(&self) -> &Shim {
        self.shim.as_ref().expect("a broker with a shim")
    }

    /// SIGKILL; it is gone when this returns.
    pub(crate) fn kill(&mut self) {
        let mut broker = self.broker.take().expect("it runs");
        broker.process.kill().expect("a process of ours");
        broker.process.wait().expect("a process of ours");
    }

    /// Not an instruction more is executed until it is killed.
    pub(crate) fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).expect("it runs");
        let waited = waitpid(Some(self.pid()), WaitOptions::UNTRACED).expect("a process of ours");
        assert!(waited.is_some_and(|(_, status)| status.stopped()), "{waited:?}");
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) {
        kill_process(self.pid(), Signal::TERM).expect("it runs");
        let mut broker = self.broker.take().expect("it runs");
        let status = broker.process.wait().expect("a process of ours");
        assert!(status.success(), "a stop by SIGTERM ended with {status}");
    }

    fn launch(&self) -> Result<Broker, NotStarted> {
        let (mut command, folder) = self.command();
        if let Some(shim) = &self.shim {
            shim.set(&mut command, &self.data);
        }
        Broker::launch(command, folder)
    }

    fn command(&self) -> (Command, Folder) {
        let folder = Folder::new();
        let file = folder.path.join("dunlin.toml");
        let configuration = format!("{CONFIGURATION}[storage]\n{}", self.storage);
        fs::write(&file, configuration).expect("the configuration is written");
        let mut command = program();
        command.current_dir(&folder.path).args(["--listen", "127.0.0.1:0"]);
        command.arg("--config").arg(&file).arg("--data-dir").arg(&self.data);
        self.sync.set(&mut command);
        (command, folder)
    }

    fn pid(&self) -> Pid {
        let id = i32::try_from(self.id()).expect("a process id");
        Pid::from_raw(id).expect("not 0")
    }

    fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("it runs")
    }
}
