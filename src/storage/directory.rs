//! The data directory: whose it is, who uses it, and what a store in it looks like.
//!
//! ```text
//! dunlin.lock     held by the process that uses the directory
//! schema          the schema of the store, checked before the engine is asked
//! store/          the engine's
//! quarantine      records that could not be read
//! damaged-1/ ..   stores that could not be opened
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::engine::EngineError;
use super::journals;

/// The schema this version writes and reads. A store that has a newer one is not touched.
pub const SCHEMA: u32 = 1;

const LOCK: &str = "dunlin.lock";
const SCHEMA_FILE: &str = "schema";
const STORE: &str = "store";
const QUARANTINE: &str = "quarantine";
const DAMAGED: &str = "damaged-";
/// What else may be in a data directory that has no store yet.
const HARMLESS: [&str; 4] = [LOCK, QUARANTINE, "control.sock", "lost+found"];

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("cannot create the data directory {path}; create it, or set data_dir")]
    Create { path: PathBuf, source: io::Error },
    #[error("the data directory {path} is not a directory; set data_dir")]
    NotADirectory { path: PathBuf },
    #[error("cannot use the data directory {path}; its owner has to be who runs dunlin")]
    Unusable { path: PathBuf, source: io::Error },
    #[error("the disk of the data directory {path} is full; free some space, or set data_dir")]
    Full { path: PathBuf, source: io::Error },
    #[error("the data directory {path} is in use by another dunlin; set data_dir")]
    InUse { path: PathBuf },
    #[error(
        "{path} has files that are not dunlin's, such as \"{entry}\"; set data_dir to a directory \
         of its own"
    )]
    Foreign { path: PathBuf, entry: String },
    #[error(
        "the store in {path} has schema {found}, and this version knows schemas up to {SCHEMA}; \
         use the version that wrote it, or a newer one"
    )]
    Newer { path: PathBuf, found: u32 },
    #[error("there is no store in {path}")]
    Missing { path: PathBuf },
    #[error("{path} is not empty; a backup goes into a directory that is empty or not there yet")]
    NotEmpty { path: PathBuf },
    #[error("{path} is in the data directory; a backup goes elsewhere, best to another disk")]
    Inside { path: PathBuf },
    #[error("the store is closed, or cannot be written right now")]
    Closed,
    #[error("the store in {path} cannot be used")]
    Engine { path: PathBuf, source: EngineError },
    #[error("cannot start the threads of the store")]
    Threads(#[source] io::Error),
}

/// A data directory that is this process's until the value is gone.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

/// Whether a store is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Store,
    Nothing,
}

impl Directory {
    /// Takes the directory for this process, making it if it is missing.
    pub(super) fn take(path: &Path) -> Result<Self, StorageError> {
        make(path)?;
        let directory = Self::lock(path)?;
        if directory.check()? == Found::Nothing {
            directory.write_schema().map_err(|source| unusable(path, source))?;
        }
        Ok(directory)
    }

    /// Takes a directory with nothing in it.
    pub(super) fn take_empty(path: &Path) -> Result<Self, StorageError> {
        make(path)?;
        let mut entries = fs::read_dir(path).map_err(|source| unusable(path, source))?;
        if entries.next().is_some() {
            return Err(StorageError::NotEmpty { path: path.to_owned() });
        }
        Self::take(path)
    }

    /// Takes a directory that has a store.
    pub(super) fn take_existing(path: &Path) -> Result<Self, StorageError> {
        let missing = || StorageError::Missing { path: path.to_owned() };
        if !path.join(STORE).is_dir() {
            return Err(missing());
        }
        let directory = Self::lock(path)?;
        match directory.check()? {
            Found::Store => Ok(directory),
            Found::Nothing => Err(missing()),
        }
    }

    fn lock(path: &Path) -> Result<Self, StorageError> {
        refuse_foreign(path)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK))
            .map_err(|source| unusable(path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StorageError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(unusable(path, source)),
        }
    }

    /// Whether there is a store, and one that this version may touch.
    fn check(&self) -> Result<Found, StorageError> {
        let path = &self.path;
        match fs::read(path.join(SCHEMA_FILE)) {
            Ok(bytes) => match parse_schema(&bytes) {
                Some(found) if found > SCHEMA => {
                    Err(StorageError::Newer { path: path.clone(), found })
                }
                Some(_) => Ok(Found::Store),
                None => {
                    tracing::error!(
                        file = %path.join(SCHEMA_FILE).display(),
                        "the schema file is damaged: written anew"
                    );
                    self.write_schema().map_err(|source| unusable(path, source))?;
                    Ok(Found::Store)
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(source) => Err(unusable(path, source)),
        }
    }

    /// Written as a whole or not at all.
    fn write_schema(&self) -> io::Result<()> {
        let (new, path) = (self.path.join("schema.new"), self.path.join(SCHEMA_FILE));
        let mut file = File::create(&new)?;
        file.write_all(schema_text(SCHEMA).as_bytes())?;
        file.sync_all()?;
        fs::rename(new, path)?;
        sync_directory(&self.path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn store(&self) -> PathBuf {
        self.path.join(STORE)
    }

    pub(super) fn quarantine(&self) -> PathBuf {
        self.path.join(QUARANTINE)
    }
}

/// Moves a store out of the way that cannot be opened: where it is now.
pub(super) fn set_aside(store: &Path) -> io::Result<PathBuf> {
    let aside = free_aside(store);
    fs::rename(store, &aside)?;
    sync_directory(parent(store))?;
    Ok(aside)
}

/// A new directory for damaged files of a store.
pub(super) fn new_aside(store: &Path) -> io::Result<PathBuf> {
    let aside = free_aside(store);
    fs::create_dir(&aside)?;
    Ok(aside)
}

fn free_aside(store: &Path) -> PathBuf {
    let names = (1_u32..).map(|number| parent(store).join(format!("{DAMAGED}{number}")));
    names.into_iter().find(|path| !path.exists()).unwrap_or_default()
}

fn parent(store: &Path) -> &Path {
    store.parent().unwrap_or(store)
}

/// Gives a store that was made under another name its own.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_directory(parent(to))
}

fn make(path: &Path) -> Result<(), StorageError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(StorageError::NotADirectory { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut builder = DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(path).map_err(|source| match source.kind() {
                io::ErrorKind::StorageFull => StorageError::Full { path: path.to_owned(), source },
                _ => StorageError::Create { path: path.to_owned(), source },
            })
        }
        Err(source) => Err(unusable(path, source)),
    }
}

/// Nothing is written into a directory that somebody else uses for something else.
fn refuse_foreign(path: &Path) -> Result<(), StorageError> {
    if path.join(SCHEMA_FILE).exists() {
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(|source| unusable(path, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| unusable(path, source))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = HARMLESS.contains(&&*name)
            || name.starts_with(DAMAGED)
            || name.starts_with(SCHEMA_FILE)
            || name.split('.').next() == Some(STORE);
        if !ours {
            return Err(StorageError::Foreign { path: path.to_owned(), entry: name.into_owned() });
        }
    }
    Ok(())
}

fn schema_text(schema: u32) -> String {
    let text = format!("dunlin store schema {schema}");
    let checksum = xxh3_64(text.as_bytes());
    format!("{text} {checksum:016x}\n")
}

/// `None` if the file is damaged: a schema that is merely newer has a right checksum.
fn parse_schema(bytes: &[u8]) -> Option<u32> {
    let text = str::from_utf8(bytes).ok()?;
    let schema = text.split(' ').nth(3)?.parse().ok()?;
    (text == schema_text(schema)).then_some(schema)
}

fn unusable(path: &Path, source: io::Error) -> StorageError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StorageError::Full { path: path.to_owned(), source }
        }
        _ => StorageError::Unusable { path: path.to_owned(), source },
    }
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Writes every journal anew, so that all of it is on disk when this returns: after a sync failed
/// the system may have dropped pages that were not written, and hold them for clean.
pub(super) fn rewrite_journals(store: &Path) -> io::Result<()> {
    for path in journals::journals(store)? {
        let new = path.with_extension("new");
        copy_and_sync(&path, &new)?;
        fs::rename(&new, &path)?;
    }
    sync_directory(store)
}

/// Runs of zeros become holes again.
fn copy_and_sync(from: &Path, to: &Path) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    let mut block = vec![0; 64 << 10];
    let mut length = 0;
    loop {
        let count = from.read(&mut block)?;
        let read = block.get(..count).unwrap_or_default();
        if read.is_empty() {
            break;
        }
        if read.iter().all(|byte| *byte == 0) {
            to.seek(SeekFrom::Current(i64::try_from(count).unwrap_or_default()))?;
        } else {
            to.write_all(read)?;
        }
        length += count as u64;
    }
    to.set_len(length)?;
    to.sync_all()
}
