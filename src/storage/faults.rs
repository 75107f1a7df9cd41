//! Faults on demand, so that a test can see what follows from one.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

use super::engine::EngineError;

/// Where the engine is to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing fails.
    None,
    /// Writing a group, before anything of it is written.
    Write,
    /// The sync of a group, after it was written.
    Sync,
    /// A write, and opening the engine again.
    Open,
}

#[derive(Debug, Default)]
pub(super) struct Faults(AtomicU8);

impl Faults {
    pub(super) fn set(&self, fault: Fault) {
        self.0.store(fault as u8, Ordering::Release);
    }

    fn is(&self, fault: Fault) -> bool {
        self.0.load(Ordering::Acquire) == fault as u8
    }

    pub(super) fn before_write(&self) -> Result<(), EngineError> {
        fail_if(self.is(Fault::Write) || self.is(Fault::Open))
    }

    pub(super) fn before_sync(&self) -> Result<(), EngineError> {
        fail_if(self.is(Fault::Sync))
    }

    pub(super) fn before_open(&self) -> Result<(), EngineError> {
        fail_if(self.is(Fault::Open))
    }
}

fn fail_if(wanted: bool) -> Result<(), EngineError> {
    if wanted { Err(EngineError::Io(io::Error::other("a fault on demand"))) } else { Ok(()) }
}
