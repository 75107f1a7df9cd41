//! The broker's end of the socket: who may connect, and how much of anything.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::line::{self, COMMAND_BYTES_MAX};
use super::{Answer, Reason, Refusal, Request, SOCKET};

/// Local clients at the same time; further ones wait in the kernel's backlog.
const CLIENTS_MAX: usize = 8;

/// How long the loop rests after an error of the machine, such as too many open files.
const REST: Duration = Duration::from_millis(100);

/// What the name of a socket may have, its end included (unix(7)).
const ADDRESS_BYTES_MAX: usize = 108;

/// The socket, listening. Dropping it removes the file.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("{} is not a socket of a broker: move it away", path.display())]
    Foreign { path: PathBuf },
    #[error("another broker listens at {}", path.display())]
    InUse { path: PathBuf },
    #[error("cannot listen at {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Where the socket is, and a name for it that the kernel takes.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) path: PathBuf,
    /// Of a path that is too long: the same file by way of its open directory.
    short: Option<(PathBuf, File)>,
}

impl Address {
    pub(super) fn of(data_dir: &Path) -> Self {
        let path = data_dir.join(SOCKET);
        let is_long = path.as_os_str().as_bytes().len() >= ADDRESS_BYTES_MAX;
        let short = if is_long { File::open(data_dir).ok() } else { None };
        let short = short.map(|directory| {
            let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
            (PathBuf::from(path), directory)
        });
        Self { path, short }
    }

    pub(super) fn reachable(&self) -> &Path {
        self.short.as_ref().map_or(&self.path, |(path, _)| path)
    }
}

impl Control {
    /// Listens in the directory, which nobody else uses: the caller holds its lock. A runtime has to
    /// run.
    ///
    /// # Errors
    /// If something else has that name, or the machine refuses.
    pub fn open(data_dir: &Path) -> Result<Self, ControlError> {
        let address = Address::of(data_dir);
        let path = address.path.clone();
        let failed = |source| ControlError::Io { path: path.clone(), source };
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ControlError::Foreign { path });
            }
            // A broker that crashed leaves its socket behind; nobody answers there.
            Ok(_) => match std::os::unix::net::UnixStream::connect(address.reachable()) {
                Ok(_) => return Err(ControlError::InUse { path }),
                Err(_) => fs::remove_file(&path).map_err(failed)?,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(address.reachable()).map_err(failed)?;
        let control = Self { listener, path: path.clone() };
        // Whoever came before it is asked who he is, too.
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(control)
    }

    /// Serves until the future is dropped. A client that takes longer than `patience` to say what it
    /// wants, or to read the answer, is let go.
    pub async fn serve(&self, commands: mpsc::Sender<Request>, patience: Duration) {
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        let mut failing = false;
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    failing = false;
                    let commands = commands.clone();
                    tokio::spawn(async move {
                        let client = Client { stream, commands, patience };
                        // Who goes away before the answer wants none.
                        if let Err(error) = client.serve().await {
                            tracing::debug!(%error, "a client of the control socket went away");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    if !failing {
                        tracing::error!(%error, "cannot accept at the control socket");
                    }
                    failing = true;
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // One that stays is found to be stale by the next broker.
        let _ = fs::remove_file(&self.path);
    }
}

struct Client {
    stream: UnixStream,
    commands: mpsc::Sender<Request>,
    patience: Duration,
}

impl Client {
    async fn serve(self) -> io::Result<()> {
        let peer = self.stream.peer_cred()?;
        let own = rustix::process::geteuid().as_raw();
        let answer = if is_admitted(peer.uid(), own) {
            match timeout(self.patience, self.read()).await {
                Ok(line) => self.carried_out(&line?).await,
                Err(_) => Err(Refusal::new(Reason::Unknown, "no command came in time")),
            }
        } else {
            tracing::warn!(uid = peer.uid(), "refused another user at the control socket");
            Err(Refusal::new(Reason::Permission, "the control socket is for the broker's own user"))
        };
        let written = timeout(self.patience, self.write(&line::of_answer(&answer))).await;
        written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// What comes before the end of the line; of a line that is too long, as much as shows it.
    async fn read(&self) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        let mut part = [0; 4096];
        while read.len() <= COMMAND_BYTES_MAX {
            self.stream.readable().await?;
            let bytes = match self.stream.try_read(&mut part) {
                Ok(0) => break,
                Ok(count) => part.get(..count).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                read.extend_from_slice(bytes.get(..end).unwrap_or_default());
                break;
            }
            read.extend_from_slice(bytes);
        }
        Ok(read)
    }

    async fn carried_out(&self, line: &[u8]) -> Answer {
        if line.len() > COMMAND_BYTES_MAX {
            return Err(Refusal::new(Reason::Unknown, "the command is too long"));
        }
        let command = line::command(line)?;
        let (reply, answer) = oneshot::channel();
        let busy = || Refusal::new(Reason::Busy, "the broker is busy with other commands");
        self.commands.try_send(Request { command, reply }).map_err(|_| busy())?;
        let stopped = |_| Refusal::new(Reason::Io, "the broker stopped before it was done");
        answer.await.map_err(stopped)?
    }

    async fn write(&self, text: &str) -> io::Result<()> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The file's mode says the same; but it cannot say it before the socket has its name.
fn is_admitted(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_and_root_are_admitted() {
        assert!(is_admitted(1000, 1000));
        assert!(is_admitted(0, 1000));
        assert!(!is_admitted(1000, 0));
        assert!(!is_admitted(1001, 1000));
    }
}
