//! Connections come and go: resuming, taking over, leaving, and the end of a Session.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::Router;
use super::courier::Courier;
use super::flush::{self, Leaving};
use super::link::{Flow, Link, Signal, Wire};
use super::publish::Origin;
use super::shared_subscription::{Connection, Group};
use super::slot::{Attachment, Slot, SlotState};
use crate::change::{CommitNumber, Epoch, Journal, Owed, SessionExpiry, Together};
use crate::message::Publication;
use crate::packet::{ClientId, Identity};
use crate::session::{
    DropReason, Effects, Farewell, Lives, Parting, Session, Terms, Will, WillFate,
};
use crate::topic::SubscriptionFilter;

/// A connection that may have a Session.
#[derive(Debug)]
pub struct Attach {
    pub client_id: ClientId,
    pub identity: Identity,
    pub epoch: Epoch,
    pub clean_start: bool,
    pub expiry: SessionExpiry,
    pub terms: Terms,
    pub will: Option<Will>,
    pub wire: Arc<dyn Wire>,
    pub signal: Arc<Signal>,
}

/// What a connection got.
#[derive(Debug)]
pub struct Attached {
    pub attachment: Attachment,
    /// An earlier Session goes on [MQTT-3.2.2-3].
    pub session_present: bool,
    /// Retained Messages of an earlier connection's SUBSCRIBE are still to be sent.
    pub replaying: bool,
    /// Another connection was ended for this one.
    pub took_over: bool,
}

/// Why a connection gets no Session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unattached {
    /// There is one of another client, which only has the same Client Identifier.
    OtherIdentity,
    /// The store cannot write, and would have to keep that it begins, goes on or ends.
    StoreFailing,
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// By DISCONNECT.
    Farewell(Farewell),
    /// Any other way: the Will is sent [MQTT-3.1.2-8].
    Lost,
    /// The server stops: Sessions stay as they are, and Wills with them.
    Shutdown,
}

/// What became of a connection that wants to end.
#[derive(Debug)]
pub enum Leave {
    /// Somebody is writing to it at this moment: ask again.
    Busy,
    /// Another connection took over before: there is nothing left to end.
    Superseded,
    Left(Leaving),
}

/// What a Session that ended leaves to be done when its slot is unlocked.
#[derive(Debug, Default)]
pub(super) struct Remains {
    filters: Vec<SubscriptionFilter>,
    wills: SmallVec<[Will; 2]>,
    /// Unacknowledged messages of groups that it is no longer in.
    given_back: Vec<Owed>,
    /// Groups that may have to give what waits to others.
    groups: Vec<Arc<Group>>,
}

impl Remains {
    /// A Will that is gone from its Session and those who owe it then, or a restart could find
    /// neither.
    pub(super) fn go_together<'j>(&self, journal: &'j dyn Journal) -> Option<Together<'j>> {
        (!self.wills.is_empty()).then(|| Together::begin(journal))
    }

    /// Takes what a Session that ended leaves.
    fn inherit(&mut self, session: &mut Session, effects: &mut Effects) {
        self.filters = session.filters().collect();
        // Also of groups it had left before it acknowledged all of theirs.
        self.given_back.extend(session.give_back(effects, |_| true));
        effects.drop_messages(DropReason::Ended, session.messages());
    }
}

impl Router {
    /// Gives a connection its Session: the one there is, or a new one. `connack` encodes the
    /// CONNACK, told whether a Session is present; it is the first packet that leaves.
    ///
    /// # Errors
    /// If there is a Session that belongs to another user, connected or away, or the store cannot
    /// write what would change: all stays as it is.
    pub fn attach(
        &self,
        courier: &mut Courier,
        attach: Attach,
        connack: impl FnOnce(bool, &mut Vec<u8>),
    ) -> Result<Attached, Unattached> {
        let slot = self.registry.slot(&attach.client_id);
        let mut remains = Remains::default();
        let mut guard = slot.lock();
        // Between the look-up and the lock the Session may have ended and the slot with it.
        if guard.is_over() {
            drop(guard);
            self.registry.remove(&slot);
            return self.attach(courier, attach, connack);
        }
        if guard.session.as_ref().is_some_and(|session| !may_have(session, &attach.identity)) {
            return Err(Unattached::OtherIdentity);
        }
        if self.is_store_failing() && concerns_store(guard.session.as_ref(), attach.expiry) {
            let unused = guard.session.is_none();
            // Nobody else may use it, who found it in the registry before it is gone.
            guard.generation += u64::from(unused);
            drop(guard);
            if unused {
                self.registry.remove(&slot);
            }
            return Err(Unattached::StoreFailing);
        }
        let state = &mut *guard;
        let before = state.weight();
        state.generation += 1;
        state.away_since = None;
        let superseded = state.link.take();
        if let Some(link) = &superseded {
            state.promised = state.promised.max(link.outbound.promised());
        } else {
            let connected = self.metrics.clients_connected.add(1);
            self.metrics.clients_maximum.raise_to(connected);
        }
        self.claim(courier, &slot, state, attach.epoch, &mut remains);
        let session_present =
            self.settle_session(courier, state, &attach, superseded.is_some(), &mut remains);
        if let Some(session) = &mut state.session {
            session.set_will(attach.will, &mut courier.effects);
        }
        let mut link = Link::new(attach.terms, attach.wire, attach.signal);
        let mut packet = courier.take_buffer();
        connack(session_present, &mut packet);
        let together = remains.go_together(&*self.journal);
        let commit = self.journal_changes(courier).max(state.promised);
        self.open_link(courier, &mut link, &packet, commit);
        courier.give_buffer(packet);
        let mut replaying = false;
        state.tell_groups(&slot, Connection::There);
        if let Some(session) = &mut state.session {
            self.pump(session, &mut link, courier);
            self.draw(&slot, session, &mut link, &state.memberships, courier);
            self.journal_changes(courier);
            replaying = session.is_replaying();
        }
        Self::soiled(courier, &slot, &mut link);
        courier.reweigh(before, state.weight());
        courier.counters.outbound_bytes.change(0, link.outbound.bytes());
        state.link = Some(link);
        let generation = state.generation;
        drop(guard);
        courier.count_drops();
        let took_over = superseded.is_some();
        if let Some(link) = superseded {
            flush::supersede(courier, link, self.journal.kept());
        }
        self.bury(courier, &slot, remains);
        drop(together);
        let attachment = Attachment { slot, generation };
        Ok(Attached { attachment, session_present, replaying, took_over })
    }

    /// A new connection has the slot: from here on changes are written under its claim, also the
    /// end of the Session. What an earlier connection did not acknowledge goes back to its groups.
    fn claim(
        &self,
        courier: &mut Courier,
        slot: &Slot,
        state: &mut SlotState,
        epoch: Epoch,
        remains: &mut Remains,
    ) {
        if let Some(session) = &mut state.session {
            session.claimed(epoch);
            remains.given_back = self.take_back(courier, session, &state.memberships);
            // Not before: who owns its lanes next gets what was given back first.
            state.tell_groups(slot, Connection::Away);
        }
        remains.groups = state.waiting_groups();
    }

    /// Makes `state.session` the one the connection gets: whether it was there before.
    fn settle_session(
        &self,
        courier: &mut Courier,
        state: &mut SlotState,
        attach: &Attach,
        took_over: bool,
        remains: &mut Remains,
    ) -> bool {
        let effects = &mut courier.effects;
        let resumes = !attach.clean_start
            && state.session.as_ref().is_some_and(|old| *old.identity() == attach.identity)
            // A Session without an expiry ended with the connection that is being taken over.
            && state.session.as_ref().is_some_and(|old| old.expiry() != SessionExpiry::AtDisconnect);
        if resumes && let Some(session) = &mut state.session {
            if took_over {
                // That connection is lost; a Will that waits is cancelled by this one.
                let at = courier.now.monotonic;
                remains.wills.extend(session.away(at, at, effects).will);
            }
            session.resume(attach.expiry, effects); // [MQTT-3.1.2-5]
            return true;
        }
        state.memberships = Box::default();
        if let Some(mut old) = state.session.take() {
            remains.inherit(&mut old, effects);
            remains.wills.extend(old.end(effects).will);
        } else {
            self.metrics.sessions.add(1);
        }
        state.incarnation += 1;
        state.session = Some(Session::new(
            attach.client_id.clone(),
            attach.identity.clone(),
            attach.expiry,
            self.journal.keeps(),
            attach.epoch,
            effects,
        ));
        false
    }

    /// The CONNACK is the first packet out, and nothing leaves before what it promises is kept.
    fn open_link(
        &self,
        courier: &mut Courier,
        link: &mut Link,
        connack: &[u8],
        commit: CommitNumber,
    ) {
        let tail = link.outbound.tail(&mut courier.spare, connack.len());
        tail.extend_from_slice(connack);
        link.outbound.grew(connack.len());
        if commit > self.journal.kept() {
            link.outbound.gate = commit;
            self.journal.wake_when_kept(commit, &Arc::clone(&link.signal).into());
        }
    }

    /// Ends a connection: from here on nothing is delivered to it. `goodbye` is appended to what it
    /// has not written yet.
    pub fn leave(
        &self,
        courier: &mut Courier,
        attachment: &Attachment,
        ending: Ending,
        goodbye: &[u8],
    ) -> Leave {
        let slot = &attachment.slot;
        let now = courier.instant();
        let mut remains = Remains::default();
        let mut guard = slot.lock();
        let state = &mut *guard;
        if state.generation != attachment.generation {
            return Leave::Superseded;
        }
        let before = state.weight();
        let (Some(session), Some(link)) = (&mut state.session, state.link.take()) else {
            return Leave::Superseded;
        };
        if link.flow == Flow::Writing {
            state.link = Some(link);
            return Leave::Busy;
        }
        self.metrics.clients_connected.subtract(1);
        courier.counters.outbound_bytes.change(link.outbound.bytes(), 0);
        state.promised = state.promised.max(link.outbound.promised());
        let leaving = if link.outbound.gate <= self.journal.kept() {
            Leaving::new(link, goodbye)
        } else if self.is_store_failing() {
            // It is refused, so it has no Will.
            session.set_will(None, &mut courier.effects);
            Leaving::refused(link)
        } else {
            Leaving::unheard(link)
        };
        if let Ending::Farewell(farewell) = ending {
            if let Some(expiry) = farewell.expiry {
                session.change_expiry(expiry, &mut courier.effects);
            }
            if farewell.will == WillFate::Discarded {
                session.set_will(None, &mut courier.effects);
            }
        }
        state.away_since = Some(now);
        session.disconnect(now, &mut courier.effects);
        if ending == Ending::Shutdown {
            courier.reweigh(before, state.weight());
            self.journal_changes(courier);
            return Leave::Left(leaving);
        }
        remains.given_back = self.take_back(courier, session, &state.memberships);
        let parting = session.away(now, now, &mut courier.effects);
        state.tell_groups(slot, Connection::Away);
        remains.groups = state.waiting_groups();
        self.part(courier, slot, state, parting, &mut remains);
        courier.reweigh(before, state.weight());
        let together = remains.go_together(&*self.journal);
        self.journal_changes(courier);
        drop(guard);
        self.bury(courier, slot, remains);
        drop(together);
        Leave::Left(leaving)
    }

    /// Carries out what became of a Session that is away: when the schedule has to look again.
    pub(super) fn part(
        &self,
        courier: &mut Courier,
        slot: &Arc<Slot>,
        state: &mut SlotState,
        parting: Parting,
        remains: &mut Remains,
    ) {
        remains.wills.extend(parting.will);
        match parting.lives {
            Lives::Forever => {}
            Lives::Until(due) => {
                // It stands in the schedule once: an earlier look finds out and asks again.
                if state.scheduled.as_ref().is_none_or(|scheduled| due < scheduled.at) {
                    self.schedule.cancel(state.scheduled.take());
                    state.scheduled = Some(self.schedule.add(due, slot));
                }
            }
            Lives::Ended => {
                self.schedule.cancel(state.scheduled.take());
                state.memberships = Box::default();
                if let Some(mut session) = state.session.take() {
                    remains.inherit(&mut session, &mut courier.effects);
                    self.metrics.sessions.subtract(1);
                }
            }
        }
    }

    /// Looks at all Sessions that are due: sends Wills whose delay has passed and ends Sessions
    /// whose expiry has. When the next one is due.
    pub fn run_schedule(&self, courier: &mut Courier) -> Option<Instant> {
        self.sweep_retained(courier);
        let now = courier.instant();
        while let Some(slot) = self.schedule.next_due(now) {
            let (mut remains, mut together) = (Remains::default(), None);
            let mut guard = slot.lock();
            let state = &mut *guard;
            state.scheduled = None;
            let before = state.weight();
            if let (Some(since), Some(session)) = (state.away_since, &mut state.session) {
                let parting = session.away(since, now, &mut courier.effects);
                courier.counters.sessions_expired.add((parting.lives == Lives::Ended).into());
                self.part(courier, &slot, state, parting, &mut remains);
                courier.reweigh(before, state.weight());
                together = remains.go_together(&*self.journal);
                self.journal_changes(courier);
            }
            drop(guard);
            self.bury(courier, &slot, remains);
            drop(together);
        }
        self.schedule.first()
    }

    /// What a Session that ended leaves behind, without any lock held.
    pub(super) fn bury(&self, courier: &mut Courier, slot: &Arc<Slot>, remains: Remains) {
        for filter in &remains.filters {
            self.reconcile(courier, slot, filter);
        }
        self.hand_over(courier, remains.given_back);
        for group in &remains.groups {
            self.distribute(courier, group);
        }
        if slot.lock().is_over() {
            self.registry.remove(slot);
        }
        let gone = Attachment { slot: Arc::clone(slot), generation: 0 };
        for will in remains.wills {
            let publication = Publication::of_will(&will.message, will.expiry);
            // Nobody is left to be told that it could not be retained; that is counted.
            let _ = self.publish(courier, &publication, Origin::Will(&gone));
        }
    }
}

/// Whether a store has to keep what a connection makes of a Session, if there is one.
fn concerns_store(session: Option<&Session>, expiry: SessionExpiry) -> bool {
    expiry != SessionExpiry::AtDisconnect || session.is_some_and(Session::is_kept)
}

/// Whether a client may continue a Session or put its own in its place. What an anonymous client
/// began is nobody's, so that devices can be given users later, and no stranger holds a user's
/// place.
fn may_have(session: &Session, identity: &Identity) -> bool {
    let owner = session.identity();
    *owner == Identity::Anonymous || owner == identity
}

#[cfg(test)]
mod tests {
    use std::io::{self, IoSlice};
    use std::num::NonZeroU16;
    use std::task::{Context, Poll};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::change::{Fetch, FetchReply, Fetched, JournalState, Keeps, Recorded, Subscription};
    use crate::metrics::Metrics;
    use crate::packet::{ProtocolVersion, QoS, SubscriptionOptions};
    use crate::router::{OutboundLimits, RetainedLimits, RouterLimits, Strategy};
    use crate::session::{Limits, QueueWhenFull};
    use crate::time::Now;

    /// A wire that takes everything, and a store that keeps nothing.
    #[derive(Debug)]
    struct Nowhere;

    impl Wire for Nowhere {
        fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            Ok(slices.iter().map(|slice| slice.len()).sum())
        }

        fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn shutdown(&self) {}
    }

    impl Journal for Nowhere {
        fn keeps(&self) -> Keeps {
            Keeps::Nothing
        }

        fn submit(&self, changes: &mut Vec<Recorded>) -> CommitNumber {
            changes.clear();
            CommitNumber::NONE
        }

        fn kept(&self) -> CommitNumber {
            CommitNumber::NONE
        }

        fn wake_when_kept(&self, _: CommitNumber, _: &std::task::Waker) {}

        fn state(&self) -> JournalState {
            JournalState::Keeping
        }

        fn fetch(&self, fetch: Fetch, reply: FetchReply) {
            reply(Fetched { fetch, messages: Vec::new() });
        }
    }

    fn router() -> Router {
        let most = NonZeroU16::MAX;
        let limits = RouterLimits {
            session: Limits {
                inflight_max: most,
                receive_maximum: most,
                queue_bytes_max: usize::MAX,
                queue_offline_messages_max: usize::MAX,
                queue_when_full: QueueWhenFull::RefuseNewest,
                expiry_max: SessionExpiry::Never,
                expiry_v3: SessionExpiry::Never,
                keep_alive_max: u16::MAX,
                client_id_bytes_max: usize::MAX,
                topic_bytes_max: usize::MAX,
                topic_levels_max: usize::MAX,
                topic_aliases_in_max: 4,
                topic_aliases_out_max: 4,
                subscriptions_max: usize::MAX,
                packet_bytes_max: usize::MAX,
                response_information: None,
            },
            outbound: OutboundLimits { soft_bytes_max: 1 << 20, hard_bytes_max: 1 << 20 },
            retained: RetainedLimits { messages_max: usize::MAX, bytes_max: u64::MAX },
            sharing: Strategy::LeastInflight,
            memory_bytes_max: u64::MAX,
        };
        Router::new(limits, Arc::new(Nowhere), Arc::new(Metrics::new(1)))
    }

    fn connect(router: &Router, courier: &mut Courier, expiry: SessionExpiry) -> Attachment {
        let attach = Attach {
            client_id: ClientId::new("a").unwrap(),
            identity: Identity::Anonymous,
            epoch: Epoch(1),
            clean_start: false,
            expiry,
            terms: Terms {
                version: ProtocolVersion::V5,
                receive_maximum: NonZeroU16::MAX,
                maximum_packet_size: usize::MAX,
                topic_alias_maximum: 0,
            },
            will: None,
            wire: Arc::new(Nowhere),
            signal: Arc::default(),
        };
        router.attach(courier, attach, |_, _| {}).unwrap().attachment
    }

    fn subscribe(router: &Router, courier: &mut Courier, attachment: &Attachment) {
        for text in ["a", "a/+", "#", "+/b/#"] {
            let filter = SubscriptionFilter::parse(text).unwrap();
            let options = SubscriptionOptions::new(QoS::AtLeastOnce);
            let subscription = Subscription { options, id: None };
            let answered = router.subscribe(courier, attachment, &filter, subscription);
            assert!(answered.unwrap().result.is_ok());
        }
    }

    fn assert_empty(router: &Router) {
        assert!(router.subscriptions.is_empty());
        assert!(router.registry.is_empty());
    }

    #[test]
    fn a_session_that_ended_leaves_nothing_in_the_tree_and_the_registry() {
        let router = router();
        let start = Now { monotonic: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        let mut courier = Courier::new(router.metrics().worker(0), start);
        let expiry = SessionExpiry::After(Duration::from_secs(5));

        // It ends with its connection.
        let attachment = connect(&router, &mut courier, SessionExpiry::AtDisconnect);
        subscribe(&router, &mut courier, &attachment);
        router.leave(&mut courier, &attachment, Ending::Lost, &[]);
        assert_empty(&router);

        // Its expiry passes.
        let attachment = connect(&router, &mut courier, expiry);
        subscribe(&router, &mut courier, &attachment);
        router.leave(&mut courier, &attachment, Ending::Lost, &[]);
        let later = start.monotonic + Duration::from_secs(5);
        courier.begin_turn(Now { monotonic: later, ..start });
        router.run_schedule(&mut courier);
        assert_empty(&router);

        // It is taken over, which ends it, and then its successor ends.
        let attachment = connect(&router, &mut courier, SessionExpiry::AtDisconnect);
        subscribe(&router, &mut courier, &attachment);
        let attachment = connect(&router, &mut courier, SessionExpiry::AtDisconnect);
        assert!(router.subscriptions.is_empty());
        router.leave(&mut courier, &attachment, Ending::Lost, &[]);
        assert_empty(&router);
    }
}
