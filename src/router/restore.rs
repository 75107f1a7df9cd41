//! What a store has kept, put back before anybody connects: Sessions without a connection, what
//! their Subscriptions find, what groups owe, and the Retained Messages.

use std::sync::Arc;

use super::Router;
use super::attach::Remains;
use super::courier::Courier;
use super::memory::Weight;
use super::slot::Slot;
use crate::change::{Epoch, Kept, KeptGroup, KeptSession};
use crate::session::{DropReason, Session};
use crate::topic::SubscriptionFilter;

impl Router {
    /// Takes over what a store has kept. Called once, before the first connection.
    ///
    /// Messages that wait in queues stay in the store until their clients take them. Sessions whose
    /// expiry is over end now, with their Wills; the other Wills have the time that clients need to
    /// come back.
    pub fn restore(&self, courier: &mut Courier, kept: Kept) {
        let Kept { sessions, groups, retained } = kept;
        self.restore_retained(&retained);
        drop(retained);
        let positions = groups.iter().flat_map(|group| &group.messages);
        self.subscriptions.begin_groups_behind(positions.map(|waiting| waiting.position));
        let slots: Vec<_> =
            sessions.into_iter().map(|session| self.restore_session(courier, session)).collect();
        for group in groups {
            self.restore_group(courier, group);
        }
        // Not before all are there who may take a Will.
        for slot in slots {
            self.look_after(courier, &slot);
        }
        courier.count_drops();
    }

    fn restore_session(&self, courier: &mut Courier, kept: KeptSession) -> Arc<Slot> {
        let slot = self.registry.slot(&kept.client_id);
        let away_since = kept.away_since;
        let session = Session::restore(kept, Epoch::default(), courier.instant());
        let filters: Vec<SubscriptionFilter> = session.filters().collect();
        let mut state = slot.lock();
        courier.reweigh(Weight::default(), Weight::of(&session));
        state.session = Some(session);
        state.incarnation += 1;
        state.generation += 1;
        state.away_since = Some(away_since);
        drop(state);
        self.metrics.sessions.add(1);
        for filter in &filters {
            self.reconcile(courier, &slot, filter);
        }
        slot
    }

    fn restore_group(&self, courier: &mut Courier, kept: KeptGroup) {
        let KeptGroup { filter, messages } = kept;
        let Some(group) = self.subscriptions.group(&filter) else {
            // Its last member is gone, and was when the store heard of it last.
            courier.effects.drop_messages(DropReason::Ended, messages.len());
            let filter = Arc::new(filter);
            for waiting in messages {
                self.journal_unowed(courier, &filter, waiting.position);
            }
            return;
        };
        for waiting in messages {
            courier.weigh_waiting(1, waiting.message.bytes());
            group.restore(&waiting);
        }
    }

    /// Finds out how a Session goes on whose client is away, and when to look at it next.
    fn look_after(&self, courier: &mut Courier, slot: &Arc<Slot>) {
        let now = courier.instant();
        let mut remains = Remains::default();
        let mut guard = slot.lock();
        let state = &mut *guard;
        let before = state.weight();
        let (Some(since), Some(session)) = (state.away_since, &mut state.session) else { return };
        let parting = session.away(since, now, &mut courier.effects);
        self.part(courier, slot, state, parting, &mut remains);
        courier.reweigh(before, state.weight());
        let together = remains.go_together(&*self.journal);
        self.journal_changes(courier);
        drop(guard);
        self.bury(courier, slot, remains);
        drop(together);
    }
}
