//! The configuration: one TOML file, the environment and the command line, as one checked value.
//!
//! ```text
//!   file -------------> source (one text, so every mistake has a place)
//!   DUNLIN_ variables -> environment -> raw (as written) -> check -> Config (checked)
//!   command line -----> Overrides ----------------------------^        |
//!                                                            print <---+
//! ```
//!
//! Nothing outside this room sees a raw value, and a `Config` is never checked again. No mistake
//! hides another: loading reports all of them, in the order in which they were written. This room
//! never opens a socket, never creates a file, and writes nothing to a terminal or a log.

mod checked;
mod mistake;

mod check;
mod credentials;
mod document;
mod environment;
mod listeners;
mod machine;
mod near;
mod print;
mod raw;
mod reader;
mod source;
mod value;

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub use checked::{
    Anonymous, Config, ConnectionsMax, Credential, DiskMax, Features, Limits, Listener, Log,
    LogFormat, LogLevel, MemoryMax, OutboundLimits, Protocol, QueueWhenFull, RetainedLimits,
    ScramKeys, Secret, SessionExpiryMax, SessionLimits, Shared, SharingStrategy, Storage,
    StorageEngine, StorageSync, Sys, SysInterval,
};
pub use machine::memory_bytes;
pub use mistake::{ConfigErrors, Mistake, Mistakes, Problem, Warning};
pub use print::Toml;
pub use raw::keys;
pub use source::{Origin, Place};

use reader::Reader;
use source::Source;

/// What the command line says; it wins over the environment, which wins over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Plain listeners that let anonymous clients in. One or more replace every other listener,
    /// those of the file and the environment included. See `--help` for the forms.
    pub listen: Vec<String>,
    /// `storage.engine = "memory"`.
    pub memory: bool,
    pub data_dir: Option<PathBuf>,
}

/// A configuration to start with, and what to tell the operator about it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Without a path the file is empty. `environment` is `std::env::vars_os()`.
    pub fn load(
        path: Option<&Path>,
        environment: impl Iterator<Item = (OsString, OsString)>,
        overrides: &Overrides,
    ) -> Result<Loaded, ConfigErrors> {
        let bytes = path.map(read).transpose()?.unwrap_or_default();
        let settings = environment::settings(environment, overrides);
        let text = String::from_utf8_lossy(&bytes);
        let mut source = Source::new(path.map(Path::to_owned), text.into_owned(), settings);
        source.hide(document::secrets(source.file()));
        let (mut mistakes, mut warnings) = (Vec::new(), Vec::new());
        if let Err(error) = std::str::from_utf8(&bytes) {
            let at = error.valid_up_to();
            let place = source.place(&(at..at + char::REPLACEMENT_CHARACTER.len_utf8()));
            mistakes.push(Mistake { place, problem: Problem::NotUtf8 });
        }
        let raw = document::read(&source, &mut mistakes);
        let mut reader = Reader::new(&source, &mut mistakes);
        let config = check::config(&raw, &mut reader, &mut warnings);
        if let Some(path) = path
            && config.listeners.iter().any(Listener::has_passwords)
            && others_may_read(path)
        {
            warnings.push(Warning::PasswordsReadable { path: path.to_owned() });
        }
        match Mistakes::new(mistakes) {
            None => Ok(Loaded { config, warnings }),
            Some(mistakes) => Err(mistakes.into()),
        }
    }
}

/// Whether more than the file's owner may read it.
fn others_may_read(path: &Path) -> bool {
    const OTHERS: u32 = 0o044;
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & OTHERS != 0)
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigErrors> {
    let unreadable = |source: io::Error| ConfigErrors::Unreadable { path: path.to_owned(), source };
    std::fs::read(path).map_err(unreadable)
}
