//! A library before the broker that lets calls on its files fail, compiled by the test.

#![allow(dead_code, reason = "tests let calls fail, a bench counts them")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

pub(crate) const EIO: u64 = 5;
pub(crate) const ENOSPC: u64 = 28;

/// Which calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Write = 1,
    Sync = 2,
    /// A write of which half is done.
    TornWrite = 1 | 4,
    /// Writes, syncs, and whatever makes a file.
    All = 1 | 2 | 8,
}

/// The page through which the library is told; `shim.c` says what stands where.
#[derive(Debug)]
pub(crate) struct Shim {
    page: File,
    path: PathBuf,
}

impl Shim {
    /// With its page in this folder.
    pub(crate) fn new(folder: &Path) -> Self {
        let path = folder.join("shim-page");
        fs::write(&path, [0; 4096]).expect("the page is written");
        let page = OpenOptions::new().read(true).write(true).open(&path).expect("the page");
        Self { page, path }
    }

    pub(crate) fn set(&self, command: &mut Command, data: &Path) {
        command
            .env("LD_PRELOAD", library())
            .env("STORE_SHIM_CONTROL", &self.path)
            .env("STORE_SHIM_FOLDER", data);
    }

    /// From now on such calls fail with the error, after the next `skip` of them.
    pub(crate) fn fail(&self, call: Call, error: u64, skip: u64) {
        self.put(1, error);
        self.put(2, skip);
        self.put(3, 0);
        self.put(0, call as u64);
    }

    pub(crate) fn heal(&self) {
        self.put(0, 0);
    }

    /// How many calls failed since `fail`.
    pub(crate) fn hits(&self) -> u64 {
        self.number(3)
    }

    /// How many syncs reached the disk, how long they took together, and the longest, in ns.
    pub(crate) fn syncs(&self) -> [u64; 3] {
        [4, 5, 6].map(|at| self.number(at))
    }

    fn number(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.page.read_exact_at(&mut bytes, at * 8).expect("the page can be read");
        u64::from_ne_bytes(bytes)
    }

    fn put(&self, at: u64, number: u64) {
        let bytes = number.to_ne_bytes();
        self.page.write_all_at(&bytes, at * 8).expect("the page can be written");
    }
}

fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/durability/shim.c");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = folder.join("durability-shim.so");
        // Another test may be using it: it is replaced as a whole.
        let new = folder.join(format!("durability-shim-{}.so", std::process::id()));
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]);
        let status = compiler.arg(&new).arg(&source).arg("-ldl").status();
        let status = status.expect("cc runs: tests/run.sh installs it");
        assert!(status.success(), "cc cannot compile {}", source.display());
        fs::rename(new, &library).expect("the library can be replaced");
        library
    })
}
