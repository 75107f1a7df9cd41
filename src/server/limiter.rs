//! How many connections there may be, and who is told that there are enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Connections beyond the limit that are let in only to be told so.
const REFUSED_MAX: usize = 64;

/// Counts connections against a limit.
#[derive(Debug)]
pub struct Limiter {
    connections_max: usize,
    count: AtomicUsize,
    /// Told when a connection ends.
    ended: Notify,
}

/// A connection's place. Dropping it makes room.
#[derive(Debug)]
pub(super) struct Place(Arc<super::Shared>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admission {
    Served,
    /// There are too many: its CONNECT is answered with 0x89 or 0x03.
    Refused,
}

impl Limiter {
    #[must_use]
    pub fn new(connections_max: usize) -> Self {
        Self { connections_max, count: AtomicUsize::new(0), ended: Notify::new() }
    }

    /// Waits until a connection may be accepted at all.
    pub(super) async fn wait_for_room(&self) {
        while self.count.load(Ordering::Acquire) >= self.connections_max + REFUSED_MAX {
            self.ended.notified().await;
        }
    }

    fn take(&self) -> Admission {
        if self.count.fetch_add(1, Ordering::AcqRel) < self.connections_max {
            Admission::Served
        } else {
            Admission::Refused
        }
    }
}

impl Place {
    /// A connection was accepted: its place, and whether that is one within the limit.
    pub(super) fn take(shared: &Arc<super::Shared>) -> (Self, Admission) {
        shared.router.metrics().connections.add(1);
        (Self(Arc::clone(shared)), shared.limiter.take())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.router.metrics().connections.subtract(1);
        self.0.limiter.count.fetch_sub(1, Ordering::AcqRel);
        self.0.limiter.ended.notify_one();
    }
}
