//! A client program as a child process whose lines are events.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, ErrorKind, Read},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
};

use crate::broker::PATIENCE;

/// A running program; dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Tool {
    name: String,
    process: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    readers: Vec<JoinHandle<()>>,
}

impl Tool {
    pub(crate) fn start<I: AsRef<OsStr>>(
        name: &str,
        arguments: impl IntoIterator<Item = I>,
        environment: &[(&str, PathBuf)],
    ) -> Self {
        let mut command = Command::new(name);
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        let spawned =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut process = match spawned {
            Ok(process) => process,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("{name} is missing: run tests/run.sh, which installs it")
            }
            Err(error) => panic!("{name} does not start: {error}"),
        };
        let (sender, lines) = mpsc::channel();
        let stdout = process.stdout.take().expect("stdout is a pipe");
        let stderr = process.stderr.take().expect("stderr is a pipe");
        let readers = vec![read_lines(stdout, sender.clone()), read_lines(stderr, sender)];
        Self { name: name.to_owned(), process, lines, seen: Vec::new(), readers }
    }

    /// Waits for a line with this beginning and returns the rest of it.
    pub(crate) fn expect_line(&mut self, beginning: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("{} never said `{beginning}`, but:\n{}", self.name, self.seen.join("\n"));
            };
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.to_owned();
            }
            self.seen.push(line);
        }
    }

    /// Waits until the program ends by itself, and well.
    pub(crate) fn expect_success(mut self) {
        // The pipes close with the process, so their end is the event.
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("{} does not end; it said:\n{}", self.name, self.seen.join("\n"))
                }
            }
        }
        let status = self.process.wait().expect("it has ended");
        assert_ne!(status.code(), Some(127), "missing: run tests/run.sh, which installs it");
        assert!(status.success(), "{}: {status}\n{}", self.name, self.seen.join("\n"));
    }

    /// Ends the program the hard way: no DISCONNECT is sent.
    pub(crate) fn kill(mut self) -> ExitStatus {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it has ended")
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// Where `tests/run.sh` puts the libraries.
pub(crate) fn libraries(of: &str) -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    target.parent().expect("the target folder").join("test-tools").join(of)
}

/// A script of ours in `tests/interop`.
pub(crate) fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

fn read_lines(pipe: impl Read + Send + 'static, lines: Sender<String>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    })
}
