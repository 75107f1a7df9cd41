//! The broker on a directory of its own, and what the kernel counts for it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::shim::Shim;

/// Nothing here is to be refused for its number.
const CONFIGURATION: &str = "\
    [limits]\n\
    memory_max = \"8 GiB\"\n\
    [session]\n\
    queue_bytes_max = \"64 GiB\"\n\
    queue_offline_messages_max = 1000000000\n";

/// Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Broker {
    process: Child,
    pub(crate) address: SocketAddr,
    shim: Shim,
    /// Kept open, or it could not print what it has still to say.
    _output: BufReader<ChildStdout>,
}

/// So far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) processor: Duration,
    /// To the disk, by way of the page cache.
    pub(crate) written: u64,
    pub(crate) syncs: u64,
    pub(crate) syncing: Duration,
}

impl Broker {
    pub(crate) fn start(folder: &Path, sync: &str) -> Self {
        let shim = Shim::new(folder);
        let (data, file) = (folder.join("data"), folder.join("dunlin.toml"));
        fs::write(&file, CONFIGURATION).expect("the configuration is written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(["--listen", "127.0.0.1:0", "--config"]).arg(&file);
        command.arg("--data-dir").arg(&data);
        if sync == "memory" {
            command.env("DUNLIN_STORAGE__ENGINE", "memory");
        } else {
            command.env("DUNLIN_STORAGE__ENGINE", "fjall").env("DUNLIN_STORAGE__SYNC", sync);
        }
        shim.set(&mut command, &data);
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the broker's binary starts");
        let mut output = BufReader::new(process.stdout.take().expect("stdout is a pipe"));
        let lines = output.by_ref().lines().map_while(Result::ok);
        let address = lines.filter_map(|line| listening(&line)).next();
        let address = address.expect("the broker listens");
        Self { process, address, shim, _output: output }
    }

    pub(crate) fn usage(&self) -> Usage {
        let folder = format!("/proc/{}", self.process.id());
        let mut processor = Duration::ZERO;
        for thread in fs::read_dir(format!("{folder}/task")).expect("it runs").flatten() {
            let schedule = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            let nanos = schedule.split_whitespace().next().and_then(|word| word.parse().ok());
            processor += Duration::from_nanos(nanos.unwrap_or_default());
        }
        let io = fs::read_to_string(format!("{folder}/io")).expect("it runs");
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        let written = written.and_then(|number| number.parse().ok()).expect("write_bytes");
        let [syncs, nanos, _] = self.shim.syncs();
        Usage { processor, written, syncs, syncing: Duration::from_nanos(nanos) }
    }

    pub(crate) fn sync_max(&self) -> Duration {
        let [_, _, max] = self.shim.syncs();
        Duration::from_nanos(max)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The address in a line such as `listening on 127.0.0.1:1883`.
fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    rest.split_whitespace().find_map(|word| word.trim_end_matches(',').parse().ok())
}
