//! Keep Alive: a client silent for one and a half times its interval is gone [MQTT-3.1.2-22].

use std::time::{Duration, Instant};

/// The interval of one Network Connection and when it last heard from its client.
#[derive(Debug)]
pub struct KeepAlive {
    /// 0 if the client turned it off.
    seconds: u16,
    heard: Instant,
}

impl KeepAlive {
    #[must_use]
    pub fn new(seconds: u16, now: Instant) -> Self {
        Self { seconds, heard: now }
    }

    /// How long a client with this Keep Alive may be silent. `None`: for ever.
    #[must_use]
    pub fn allowed(seconds: u16) -> Option<Duration> {
        (seconds > 0).then(|| Duration::from_millis(u64::from(seconds) * 1_500))
    }

    /// A whole packet came.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When the client will have been silent for too long. `None`: never.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        Self::allowed(self.seconds).map(|allowed| self.heard + allowed)
    }
}
