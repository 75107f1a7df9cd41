//! Locks whose content must never be seen half changed.

use std::ops::{Deref, DerefMut};

/// EX_SOFTWARE of sysexits: our bug.
const EXIT_SOFTWARE: i32 = 70;

/// A guard that ends the process if a panic unwinds through it.
///
/// A panic anywhere else costs one connection. Under one of these locks it would leave a Session or
/// a tree that no longer holds what was promised, and serving on from it would lose messages
/// silently; a restart does not.
#[derive(Debug)]
pub(super) struct Vital<G>(pub(super) G);

impl<G: Deref> Deref for Vital<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.0
    }
}

impl<G: DerefMut> DerefMut for Vital<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.0
    }
}

impl<G> Drop for Vital<G> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a panic while shared state was being changed: exiting with 70");
            std::process::exit(EXIT_SOFTWARE);
        }
    }
}
