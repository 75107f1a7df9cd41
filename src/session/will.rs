//! The Will Message of a Session.

use std::sync::Arc;
use std::time::Duration;

use crate::message::Message;

/// Published when its Network Connection ends without DISCONNECT 0x00 [MQTT-3.1.2-8].
#[derive(Clone, Debug)]
pub struct Will {
    /// Its `expires_at` is empty: the interval counts from when it is published.
    pub message: Arc<Message>,
    /// The Message Expiry Interval it is published with, in seconds.
    pub expiry: Option<u32>,
    /// The Will Delay Interval.
    pub delay: Duration,
    /// How long after a restart of the server its client may take to come back, if the delay is
    /// shorter.
    pub patience: Duration,
}
