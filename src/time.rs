//! The moment a batch of work is done at: read once by a shell, passed into everything below it.

use std::time::{Instant, SystemTime};

/// One moment on both clocks.
///
/// Intervals (keep alive, expiry while running) count on `monotonic`; what is kept across a
/// restart is written in `wall` time.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub monotonic: Instant,
    pub wall: SystemTime,
}
