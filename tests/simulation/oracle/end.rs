//! What must be left when all links are healed and nothing is on its way any more.

use std::collections::{BTreeMap, BTreeSet};

use dunlin::metrics::Metrics;
use dunlin::packet::{ProtocolVersion, QoS, SubscriptionId};
use dunlin::router::{GroupStatus, Strategy};

use super::groups::Missing;
use super::{Counts, Oracle, matches, publish_size};
use crate::broker::Micros;
use crate::client::Lasting;
use crate::client::SHARED_ID;
use crate::journal::owed_by_groups;

impl Oracle {
    /// Everybody who has a Session is connected and has read everything.
    pub(crate) fn at_rest(&mut self, total: Counts) {
        let living: Vec<usize> = self.living.values().copied().collect();
        for at in living {
            self.session_at_rest(at);
        }
        self.groups_at_rest();
        // No drop without its counter.
        let counted = total.queue_full + total.expired + total.too_large;
        let counted = counted - self.zero_too_large - self.replay_refused;
        if self.excused > counted + self.ambiguous {
            self.fail(&format!(
                "{} were dropped, {counted} counted, {}",
                self.excused, self.ambiguous
            ));
        }
        // Where no Session ended every drop is known.
        // Nor is what a group dropped that nobody is in any more.
        let known = self.lasting == Lasting::Always && self.groups.len() == 0;
        let ambiguous = if known { self.ambiguous } else { u64::MAX };
        let counted = counted - self.replay_too_large;
        if counted.saturating_sub(self.excused) > ambiguous {
            self.fail(&format!("{} were dropped, but {counted} are counted", self.excused));
        }
    }

    fn session_at_rest(&mut self, at: usize) {
        let session = &self.sessions[at];
        let (client, conn) = (session.client, session.conn);
        if conn.is_none() {
            self.fail(&format!("c{client} should be connected"));
        }
        if let Some(open) = session.exchanges.first() {
            self.fail(&format!("c{client} has not settled {open:?}"));
        }
        for (message, begun) in &session.begun {
            let taken = session.taken.get(message).copied().unwrap_or_default();
            let (identity, qos) = message;
            let is_right = match qos {
                _ if session.given_up.contains(identity) => true,
                QoS::ExactlyOnce => taken == *begun,
                QoS::AtLeastOnce | QoS::AtMostOnce => taken >= *begun,
            };
            if !is_right {
                self.fail(&format!("c{client}: {identity} q{} {taken} times", qos.bits()));
            }
        }
        let offers: Vec<_> =
            self.sessions[at].offers.values_mut().flat_map(std::mem::take).collect();
        for offer in offers {
            if offer.qos > QoS::AtMostOnce || offer.conn == conn {
                self.must_be_excused(at, &offer);
            }
        }
        self.replays_at_rest(at);
    }

    /// Each message of a group went to a member, or was dropped for a reason that is counted.
    fn groups_at_rest(&mut self) {
        let missing = self.groups.missing();
        let expired: BTreeSet<String> = missing
            .iter()
            .map(|missing| self.messages.get(&missing.facts.identity).unwrap_or(&missing.facts))
            .filter(|facts| facts.expires_at.is_some_and(|expires_at| expires_at <= self.now))
            .map(|facts| facts.identity.clone())
            .collect();
        for Missing { group, facts, members, may_be_lost } in missing {
            let size = publish_size(ProtocolVersion::V5, &facts, facts.qos, &[SHARED_ID]);
            let too_large = members.iter().any(|at| self.sessions[*at].size_min < size);
            let refused = self.refused_by_groups.get_mut(&facts.identity);
            let refused = refused.filter(|count| **count > 0);
            if may_be_lost {
                self.ambiguous += 1;
                continue;
            }
            match refused {
                _ if expired.contains(&facts.identity) || too_large => {}
                Some(count) => *count -= 1,
                // The oldest of a full group made room for newer ones.
                None if self.groups_gave_way_max > 0 => self.groups_gave_way_max -= 1,
                None => self.fail(&format!("{group} lost {facts:?}")),
            }
            self.excused += u64::from(self.lasting == Lasting::Always);
        }
    }

    /// Of what a store was told that groups owe: nothing twice, nothing left that is owed no more.
    pub(crate) fn groups_are_kept(&self) {
        let owed = match owed_by_groups(&self.journal) {
            Ok(owed) => owed,
            Err(wrong) => self.fail(&wrong),
        };
        for (group, identity) in self.groups.kept() {
            if !owed.iter().any(|((by, _), message)| by == group && message == identity) {
                self.fail(&format!("no store knows that {group} owes {identity}"));
            }
        }
    }

    /// Everybody of whom `is_ready` knows has read and acknowledged all. What waits in a group has
    /// to wait for somebody else: for all members, or for one the broker thinks is connected and
    /// whose part of it nobody else may take.
    pub(crate) fn groups_wait_for_nobody(
        &self,
        groups: &[GroupStatus],
        is_ready: impl Fn(usize) -> bool,
    ) {
        let is_waited_for = |at: &usize| {
            let session = &self.sessions[*at];
            session.conn.is_some() && !is_ready(session.client)
        };
        for group in groups.iter().filter(|group| group.waiting > 0) {
            let members = self.groups.members(&group.filter.to_string());
            let ready = members.iter().any(|at| is_ready(self.sessions[*at].client));
            let owned = match self.bounds.sharing {
                Strategy::LeastInflight | Strategy::RoundRobin => false,
                Strategy::HashTopic | Strategy::HashPublisher | Strategy::Sticky => {
                    members.iter().any(is_waited_for)
                }
            };
            if ready && !owned {
                self.fail(&format!("something waits beside a member that is ready: {group:?}"));
            }
        }
    }

    /// Each message of a group was settled, and the store was told.
    pub(crate) fn groups_owe_nothing(&self, groups: &[GroupStatus]) {
        for group in groups {
            if group.waiting > 0 || group.bytes > 0 {
                self.fail(&format!("[MQTT-4.8.2-4] something waits beside its members: {group:?}"));
            }
        }
        match owed_by_groups(&self.journal) {
            Ok(owed) if owed.is_empty() => {}
            owed => self.fail(&format!("the store says groups owe {owed:?}")),
        }
    }

    /// A value that was retained from before a SUBSCRIBE until now has come, for each of them.
    fn replays_at_rest(&self, at: usize) {
        let session = &self.sessions[at];
        let mut due: BTreeMap<(String, QoS, Vec<u32>), usize> = BTreeMap::new();
        for right in session.rights.iter().filter(|right| !right.cancelled) {
            let all = self.retained.values().flatten().map(|value| (&value.facts, value.until));
            let still = all.filter(|(facts, until)| {
                let unchanged = facts.number <= right.number && *until == u64::MAX;
                let expired = facts.expires_at.is_some_and(|expires_at| expires_at <= self.now);
                unchanged && !expired && matches(&right.filter, &facts.topic)
            });
            for (facts, _) in still {
                let qos = right.subscription.options.qos.min(facts.qos);
                let id = right.subscription.id.filter(|_| session.version.is_v5());
                let ids: Vec<u32> = id.into_iter().map(SubscriptionId::value).collect();
                let lost = qos == QoS::AtMostOnce && Some(right.conn) != session.conn;
                if !lost && publish_size(session.version, facts, qos, &ids) <= session.size_min {
                    *due.entry((facts.identity.clone(), qos, ids)).or_default() += 1;
                }
            }
        }
        let mut missing = 0;
        for (kind, count) in &due {
            let came = session.with_retain.get(kind).copied().unwrap_or_default();
            missing += count.saturating_sub(came) as u64;
        }
        if missing > session.replays_refused {
            self.fail(&format!("c{} misses {missing} of {due:?}", session.client));
        }
    }

    /// What a Session must not have: a QoS 2 message more often than it was sent.
    pub(crate) fn nothing_was_taken_twice(&self) {
        for session in &self.sessions {
            for (message, taken) in
                session.taken.iter().filter(|((_, qos), _)| *qos == QoS::ExactlyOnce)
            {
                if *taken > session.begun.get(message).copied().unwrap_or_default() {
                    self.fail(&format!("c{}: {message:?} {taken} times", session.client));
                }
            }
        }
    }

    /// The client of this number has subscribed to everything and done nothing else: it has the
    /// newest retained value of each topic, except what was refused for its queue's limit.
    pub(crate) fn has_what_is_retained(&self, client: usize, subscribed: Micros) {
        // What expires while it is being sent may come or not.
        let retained_at = |moment: Micros| -> BTreeSet<&String> {
            let last = self.retained.values().filter_map(|values| values.last());
            let current = last.filter(|value| value.until == u64::MAX).map(|value| &value.facts);
            current
                .filter(|facts| facts.expires_at.is_none_or(|expires_at| expires_at > moment))
                .map(|facts| &facts.identity)
                .collect()
        };
        let (retained, before) = (retained_at(self.now), retained_at(subscribed));
        let Some(at) = self.living.get(&client) else { self.fail("it has no Session") };
        let session = &self.sessions[*at];
        let taken: BTreeSet<&String> = session.taken.keys().map(|(identity, _)| identity).collect();
        let missing = retained.difference(&taken).count() as u64;
        if !taken.is_subset(&before) || missing > session.replays_refused {
            self.fail(&format!("retained is {retained:?}, but a subscriber gets {taken:?}"));
        }
    }

    /// All Sessions ended: the router holds nothing for them.
    pub(crate) fn all_is_over(&self, metrics: &Metrics) {
        let sessions = metrics.sessions.value();
        let session_bytes = metrics.amount(|counters| &counters.session_bytes);
        let messages = metrics.amount(|counters| &counters.session_messages);
        let state_bytes = metrics.amount(|counters| &counters.session_state_bytes);
        let outbound_bytes = metrics.amount(|counters| &counters.outbound_bytes);
        let subscriptions = metrics.subscriptions.value() + metrics.shared_subscriptions.value();
        let left = [sessions, messages, session_bytes, state_bytes, outbound_bytes, subscriptions];
        if left != [0; 6] {
            self.fail(&format!(
                "left are Sessions, messages and their bytes, other bytes, outbound bytes, \
                 Subscriptions: {left:?}"
            ));
        }
    }

    /// What may be held while it lasts.
    pub(crate) fn limits_hold(&self, metrics: &Metrics) {
        let sessions = metrics.sessions.value();
        if usize::try_from(sessions) != Ok(self.living.len()) {
            self.fail(&format!("{sessions} Sessions, not {}", self.living.len()));
        }
        let open = self.conns.values().filter(|conn| !conn.left).count();
        // One message always fits a Session that owes nothing, and a packet more an outbound
        // buffer.
        let spare = 4_096;
        let session_bytes = metrics.amount(|counters| &counters.session_bytes);
        let owners = self.living.len() + self.groups.len();
        let most = owners * (self.bounds.queue_bytes_max + spare);
        if !(0..=i64::try_from(most).unwrap()).contains(&session_bytes) {
            self.fail(&format!("{session_bytes} bytes in Sessions"));
        }
        let outbound_bytes = metrics.amount(|counters| &counters.outbound_bytes);
        let most = open * (self.bounds.hard_bytes_max + 64 * 1024);
        if !(0..=i64::try_from(most).unwrap()).contains(&outbound_bytes) {
            self.fail(&format!("{outbound_bytes} bytes on their way out"));
        }
    }
}
