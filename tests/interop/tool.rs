//! A client program as a child process whose lines are events.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{broker::PATIENCE, client::Message};

/// `stdbuf` ends so if it does not find the program that it is to run.
const NOT_FOUND: i32 = 127;

/// Where the messages go that a program reports, and how its line becomes one.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    pub(crate) messages: Sender<Message>,
    pub(crate) parse: fn(&str) -> Option<Message>,
}

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
        inbox: Option<&Inbox>,
    ) -> Self {
        let mut command = Command::new(name);
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        let spawned =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
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
        let readers = vec![
            read_lines(stdout, sender.clone(), inbox.cloned()),
            read_lines(stderr, sender, None),
        ];
        Self { name: name.to_owned(), process, lines, seen: Vec::new(), readers }
    }

    /// Into its standard input. If it has ended meanwhile, what is waited for next says so.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let input = self.process.stdin.as_mut().expect("stdin is open");
        let _ = input.write_all(bytes).and_then(|()| input.flush());
    }

    pub(crate) fn close_input(&mut self) {
        self.process.stdin = None;
    }

    /// Waits for a line in which this finds something.
    pub(crate) fn find<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let found = find(&line);
                    self.seen.push(line);
                    if let Some(found) = found {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("never said {what}")),
                Err(RecvTimeoutError::Disconnected) => {
                    self.wait();
                    self.fail(&format!("ended without saying {what}"))
                }
            }
        }
    }

    /// Waits until the program ends by itself, and well.
    pub(crate) fn expect_success(mut self) {
        self.close_input();
        // The pipes close with the process, so their end is the event.
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.fail("does not end"),
            }
        }
        self.wait();
    }

    /// Everything up to now but messages.
    pub(crate) fn said(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.seen.join("\n")
    }

    /// Asks the program to end, which it does in its own way.
    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).expect("it runs");
    }

    /// Ends the program the hard way: no DISCONNECT is sent.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it has ended");
    }

    fn wait(&mut self) {
        let status = self.process.wait().expect("it has ended");
        if status.code() == Some(NOT_FOUND) {
            self.fail("a program is missing: run tests/run.sh, which installs it");
        }
        if !status.success() {
            self.fail(&status.to_string());
        }
    }

    fn fail(&mut self, why: &str) -> ! {
        let said = self.said();
        panic!("{}: {why}; it said:\n{said}", self.name)
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

/// A program of ours in `tests/interop`.
pub(crate) fn source(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

fn read_lines(
    pipe: impl Read + Send + 'static,
    lines: Sender<String>,
    inbox: Option<Inbox>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            let message = inbox.as_ref().and_then(|inbox| (inbox.parse)(&line));
            // Whoever no longer listens does not stop the program from printing.
            match (message, &inbox) {
                (Some(message), Some(inbox)) => drop(inbox.messages.send(message)),
                _ => drop(lines.send(line.into_owned())),
            }
        }
    })
}
