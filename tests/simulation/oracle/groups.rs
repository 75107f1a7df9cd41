//! What Shared Subscriptions have to do: a group owns its messages and gives each to one member.
//!
//! A member that goes away gives back at once what of QoS 1 it had not acknowledged; a QoS 2 message
//! whose PUBLISH was written stays with its member and dies with its Session [MQTT-4.8.2-4]
//! [MQTT-4.8.2-5]. A group lasts as long as it has a member, connected or not.

use std::collections::BTreeMap;

use dunlin::change::Subscription;
use dunlin::packet::{QoS, SubscriptionId};

use super::{Facts, matches};

/// Where a message of a group is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Nobody has it.
    Waiting,
    /// Its PUBLISH was written to this Session at this QoS and is not settled.
    With(usize, QoS),
    Settled,
}

#[derive(Debug)]
struct Shared {
    facts: Facts,
    place: Place,
}

#[derive(Debug, Default)]
struct Group {
    /// By Session.
    members: BTreeMap<usize, Subscription>,
    /// QoS 0 was granted to a member once: what it was to get may be lost with a connection.
    may_lose: bool,
    messages: Vec<Shared>,
}

/// All groups by the whole text of their filter.
#[derive(Debug, Default)]
pub(super) struct Groups(BTreeMap<String, Group>);

/// A message that no member got.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) group: String,
    pub(super) facts: Facts,
}

/// The Topic Filter of a Shared Subscription: `$share/name/filter`.
pub(super) fn shared_filter(filter: &str) -> Option<&str> {
    filter.strip_prefix("$share/")?.split_once('/').map(|(_, filter)| filter)
}

impl Groups {
    pub(super) fn joined(&mut self, filter: &str, session: usize, subscription: Subscription) {
        let group = self.0.entry(filter.to_owned()).or_default();
        group.may_lose |= subscription.options.qos == QoS::AtMostOnce;
        group.members.insert(session, subscription);
    }

    pub(super) fn left(&mut self, filter: &str, session: usize) {
        if let Some(group) = self.0.get_mut(filter) {
            group.members.remove(&session);
            group.give_back(session);
        }
        self.0.retain(|_, group| !group.members.is_empty());
    }

    /// A Session lost its connection: the group may give what was not acknowledged to another one.
    pub(super) fn away(&mut self, session: usize) {
        self.0.values_mut().for_each(|group| group.give_back(session));
    }

    /// A Session ended, and its memberships with it.
    pub(super) fn ended(&mut self, session: usize) {
        for group in self.0.values_mut() {
            group.give_back(session);
            for shared in &mut group.messages {
                if matches!(shared.place, Place::With(with, _) if with == session) {
                    shared.place = Place::Settled;
                }
            }
            group.members.remove(&session);
        }
        self.0.retain(|_, group| !group.members.is_empty());
    }

    /// How many groups take a message.
    pub(super) fn offer(&mut self, facts: &Facts) -> usize {
        let mut takers = 0;
        for (text, group) in &mut self.0 {
            if shared_filter(text).is_some_and(|filter| matches(filter, &facts.topic)) {
                group.messages.push(Shared { facts: facts.clone(), place: Place::Waiting });
                takers += 1;
            }
        }
        takers
    }

    /// A PUBLISH is written to a Session for the first time: whether a group owed it to a member.
    pub(super) fn take(&mut self, session: usize, identity: &str, qos: QoS, ids: &[u32]) -> bool {
        for group in self.0.values_mut() {
            let Some(member) = group.members.get(&session) else { continue };
            let granted = member.options.qos;
            let id = member.id.map(SubscriptionId::value);
            let found = group.messages.iter_mut().find(|shared| {
                let right_qos = qos == granted.min(shared.facts.qos);
                right_qos && shared.facts.identity == identity && shared.place == Place::Waiting
            });
            if let Some(shared) = found.filter(|_| id.as_slice() == ids || ids.is_empty()) {
                let above_zero = qos > QoS::AtMostOnce;
                shared.place = if above_zero { Place::With(session, qos) } else { Place::Settled };
                return true;
            }
        }
        false
    }

    /// The member acknowledged it, or refused it for good [MQTT-4.8.2-6].
    pub(super) fn settled(&mut self, session: usize, identity: &str) {
        let all = self.0.values_mut().flat_map(|group| &mut group.messages);
        let mut its = all.filter(|shared| {
            let with = matches!(shared.place, Place::With(with, _) if with == session);
            with && shared.facts.identity == identity
        });
        if let Some(shared) = its.next() {
            shared.place = Place::Settled;
        }
    }

    /// What no member got although each of them could have.
    pub(super) fn missing(&self) -> Vec<Missing> {
        let owed = self.0.iter().filter(|(_, group)| !group.may_lose);
        owed.flat_map(|(text, group)| {
            let waiting = group.messages.iter().filter(|shared| {
                shared.place == Place::Waiting && shared.facts.qos > QoS::AtMostOnce
            });
            waiting.map(|shared| Missing { group: text.clone(), facts: shared.facts.clone() })
        })
        .collect()
    }
}

impl Group {
    fn give_back(&mut self, session: usize) {
        for shared in &mut self.messages {
            if shared.place == Place::With(session, QoS::AtLeastOnce) {
                shared.place = Place::Waiting;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dunlin::packet::SubscriptionOptions;

    use super::*;

    const FILTER: &str = "$share/g/a/+";

    fn groups(qos: QoS) -> Groups {
        let mut groups = Groups::default();
        for session in [1, 2] {
            let options = SubscriptionOptions::new(qos);
            groups.joined(FILTER, session, Subscription { options, id: None });
        }
        groups
    }

    fn facts(qos: QoS) -> Facts {
        Facts {
            identity: "m".to_owned(),
            publisher: 0,
            topic: "a/b".to_owned(),
            payload_bytes: 1,
            qos,
            retain: false,
            expiry: None,
            expires_at: None,
            number: 1,
        }
    }

    #[test]
    fn one_member_gets_a_message() {
        let mut groups = groups(QoS::ExactlyOnce);

        assert_eq!(groups.offer(&facts(QoS::AtLeastOnce)), 1);

        assert_eq!(groups.missing().len(), 1);
        assert!(groups.take(1, "m", QoS::AtLeastOnce, &[]));
        assert!(!groups.take(2, "m", QoS::AtLeastOnce, &[]));
        assert!(groups.missing().is_empty());
    }

    #[test]
    fn what_a_member_did_not_acknowledge_goes_to_another_one_at_qos_1_only() {
        for (qos, again) in [(QoS::AtLeastOnce, true), (QoS::ExactlyOnce, false)] {
            let mut groups = groups(QoS::ExactlyOnce);
            groups.offer(&facts(qos));
            groups.take(1, "m", qos, &[]);

            groups.away(1);

            assert_eq!(groups.take(2, "m", qos, &[]), again);
        }
    }

    #[test]
    fn what_a_member_acknowledged_stays_with_it() {
        let mut groups = groups(QoS::AtLeastOnce);
        groups.offer(&facts(QoS::AtLeastOnce));
        groups.take(1, "m", QoS::AtLeastOnce, &[]);

        groups.settled(1, "m");
        groups.ended(1);

        assert!(!groups.take(2, "m", QoS::AtLeastOnce, &[]));
        assert!(groups.missing().is_empty());
    }

    #[test]
    fn a_group_without_members_takes_nothing() {
        let mut groups = groups(QoS::AtLeastOnce);

        groups.left(FILTER, 1);
        groups.ended(2);

        assert_eq!(groups.offer(&facts(QoS::AtLeastOnce)), 0);
    }
}
