//! Whether a Session could take a message of a group right now, for who may not lock its slot.

use std::sync::atomic::{AtomicU32, Ordering};

use super::link::Link;
use super::publish::room;
use crate::packet::QoS;
use crate::session::{Limits, Room, Session};

const AWAY: u32 = 1 << 31;
const OUTBOUND_FULL: u32 = 1 << 30;
const WINDOW_FULL: u32 = 1 << 29;
/// The rest counts unacknowledged messages, of which there are 65,535 at most.
const OPEN: u32 = WINDOW_FULL - 1;

/// Written under the slot's lock, read by anybody.
///
/// Whoever becomes ready writes it first and then looks what waits in his groups; whoever lets a
/// message wait does so first and then looks who is ready. So one of them sees the other, and no
/// message waits beside a member that could take it.
#[derive(Debug)]
pub(super) struct Standing(AtomicU32);

/// One look at a [`Standing`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen(u32);

impl Default for Standing {
    fn default() -> Self {
        Self(AtomicU32::new(AWAY))
    }
}

impl Standing {
    pub(super) fn see(&self) -> Seen {
        Seen(self.0.load(Ordering::SeqCst))
    }

    pub(super) fn away(&self) {
        self.0.store(AWAY, Ordering::SeqCst);
    }

    /// Writes what the Session and its connection are up to.
    pub(super) fn update(
        &self,
        session: &Session,
        link: &Link,
        limits: &Limits,
        soft: usize,
    ) -> Seen {
        let seen = Seen::of(session, link, limits, soft);
        self.0.store(seen.0, Ordering::SeqCst);
        seen
    }

    /// The same after the client took something. If it had become ready without anybody looking
    /// what waits for it, it stays as it is until somebody does.
    pub(super) fn took(&self, session: &Session, link: &Link, limits: &Limits, soft: usize) {
        let seen = Seen::of(session, link, limits, soft);
        let was_ready = self.see().is_ready(QoS::ExactlyOnce);
        if was_ready || !seen.is_ready(QoS::ExactlyOnce) {
            self.0.store(seen.0, Ordering::SeqCst);
        }
    }
}

impl Seen {
    fn of(session: &Session, link: &Link, limits: &Limits, soft: usize) -> Self {
        let mut standing = u32::from(session.open_messages());
        if room(Some(link), soft) != Room::Open {
            standing |= OUTBOUND_FULL;
        }
        if !session.takes_at_once(&link.terms, limits) {
            standing |= WINDOW_FULL;
        }
        Self(standing)
    }

    pub(super) fn is_ready(self, qos: QoS) -> bool {
        let obstacles = if qos == QoS::AtMostOnce {
            AWAY | OUTBOUND_FULL
        } else {
            AWAY | OUTBOUND_FULL | WINDOW_FULL
        };
        self.0 & obstacles == 0
    }

    /// Messages the client has and did not acknowledge.
    pub(super) fn open(self) -> u32 {
        self.0 & OPEN
    }
}
