//! The other end of the socket: one command to a running broker, and its answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::line::{self, ANSWER_BYTES_MAX};
use super::socket::Address;
use super::{Command, Figures, Refusal};

/// How long a broker may take to read a command, and to answer one that takes it no time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer, or not the wanted one.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(
        "no broker answers at {}: none runs on this data directory, or it stores in memory",
        path.display()
    )]
    NoBroker { path: PathBuf },
    #[error("{} is for the broker's own user and root", path.display())]
    Permission { path: PathBuf },
    #[error("the path is not UTF-8")]
    NotText,
    #[error("no answer from the broker at {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the broker at {} stopped before it answered", path.display())]
    Stopped { path: PathBuf },
    #[error("the broker at {} gave no answer that this version understands", path.display())]
    Garbled { path: PathBuf },
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Asks the broker that stores in this directory. It blocks until the answer is there.
///
/// # Errors
/// If there is no such broker, or it refuses.
pub fn ask(data_dir: &Path, command: &Command) -> Result<Figures, AskError> {
    let address = Address::of(data_dir);
    let path = address.path.clone();
    let failed = |source: io::Error| {
        let path = path.clone();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                AskError::NoBroker { path }
            }
            io::ErrorKind::PermissionDenied => AskError::Permission { path },
            _ => AskError::Io { path, source },
        }
    };
    let written = line::of_command(command).ok_or(AskError::NotText)?;
    let mut stream = UnixStream::connect(address.reachable()).map_err(failed)?;
    let patience = match command {
        Command::Status => Some(PATIENCE),
        // As long as the copy takes; who loses patience ends this process.
        Command::Backup { .. } => None,
    };
    let timeouts = stream.set_write_timeout(Some(PATIENCE));
    timeouts.and_then(|()| stream.set_read_timeout(patience)).map_err(failed)?;
    stream.write_all(written.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    let mut bounded = BufReader::new(stream).take(ANSWER_BYTES_MAX as u64);
    bounded.read_until(b'\n', &mut answer).map_err(failed)?;
    match line::answer(&answer) {
        Some(answer) => Ok(answer?),
        None if answer.is_empty() => Err(AskError::Stopped { path }),
        None => Err(AskError::Garbled { path }),
    }
}
