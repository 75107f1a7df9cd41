//! Messages a Session has from a group and may have to give back (5.0 s4.8.2).
//!
//! A message belongs to its group until a member has acknowledged it. One of QoS 1 that a member
//! leaves unacknowledged is given to another; one of QoS 2 becomes the member's own when it is
//! sent.

use super::effects::Effects;
use super::inflight::Stage;
use super::state::Session;
use crate::change::{Change, Owed, Ticket};

impl Session {
    /// The client is gone: takes out what it did not acknowledge of the groups that `wanted` picks,
    /// to be given to another member.
    pub fn give_back(
        &mut self,
        effects: &mut Effects,
        mut wanted: impl FnMut(&Ticket) -> bool,
    ) -> Vec<Owed> {
        let mut given_back = Vec::new();
        let mut from = 0;
        while let Some(outgoing) = &mut self.outgoing
            && let Some((entry, index)) = outgoing.inflight.take_shared(from, &mut wanted)
        {
            from = index;
            let id = entry.id;
            self.keep(effects, |client_id| Change::Completed { client_id, id });
            if let Stage::Published(owed) = entry.stage {
                given_back.push(owed);
            }
        }
        given_back
    }

    /// The group no longer owes this message.
    pub fn settled_ticket(&self, ticket: Option<&Ticket>, effects: &mut Effects) {
        self.keep_for_all(effects, ticket.and_then(Ticket::settled));
    }
}
