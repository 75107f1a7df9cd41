//! A Session that a store has kept, as it goes on after a restart.

use std::time::Instant;

use super::deliver::Outgoing;
use super::inflight::Inflight;
use super::memory;
use super::queue::Queue;
use super::received::Received;
use super::state::Session;
use super::will::Will;
use crate::change::{Epoch, KeptSession, KeptWill};

impl Session {
    /// The Session as it was kept, whose client is away. `now`: the server starts. Nothing is
    /// reported: the store knows.
    #[must_use]
    pub fn restore(kept: KeptSession, epoch: Epoch, now: Instant) -> Self {
        let KeptSession { client_id, identity, expiry, subscriptions, will, .. } = kept;
        let mut session = Self::kept(client_id, identity, expiry, epoch);
        session.last_packet_id = kept.last_packet_id;
        let behind = kept.queue.last().map_or(0, |last| last.position.saturating_add(1));
        session.next_position = kept.next_position.max(behind);
        session.received = Received::restored(kept.received);
        for (filter, subscription) in subscriptions {
            session.lasting_bytes += memory::of_subscription(&filter);
            session.subscriptions.insert(filter, subscription);
        }
        if !kept.queue.is_empty() || !kept.inflight.is_empty() {
            let inflight = Inflight::restored(kept.inflight, kept.last_packet_id);
            let queue = Queue::restored(kept.queue);
            session.outgoing = Some(Box::new(Outgoing { inflight, queue }));
        }
        session.will = will.map(|will| Box::new(restored_will(will, kept.away_since, now)));
        session.lasting_bytes += memory::of_will(session.will.as_deref());
        session
    }
}

/// A Will goes on waiting, and not before its client had time to come back to this server.
fn restored_will(kept: KeptWill, away_since: Instant, now: Instant) -> Will {
    let KeptWill { message, expiry, delay, patience } = kept;
    let away = now.saturating_duration_since(away_since);
    Will { message, expiry, delay: delay.max(away.saturating_add(patience)), patience }
}
