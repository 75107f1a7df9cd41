//! What Shared Subscriptions have to do: a group owns its messages and gives each to one member.
//!
//! A member that goes away gives back at once what of QoS 1 it had not acknowledged, if it is a
//! member still; at the latest the end of its Session does. A QoS 2 message that was sent stays
//! with its member and dies with its Session [MQTT-4.8.2-4] [MQTT-4.8.2-5]. A group lasts as long
//! as it has a member, connected or not: its *life*. Another one of the same name may begin later.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use dunlin::change::Subscription;
use dunlin::packet::{ProtocolVersion, Publish, QoS, SubscriptionId};
use dunlin::router::Strategy;

use super::{Exchange, Facts, matches};

/// Where a message of a group is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Nobody has it; or a Session has, and its PUBLISH was never written.
    Waiting,
    /// Its PUBLISH was written to this Session at this QoS and is not settled.
    With(usize, QoS),
    Settled,
}

#[derive(Debug)]
struct Shared {
    facts: Facts,
    place: Place,
    /// Of the group, in which it was published or to which it was handed over.
    life: u64,
    /// The group died with it.
    lost: bool,
    /// A store was told that the group owes it.
    kept: bool,
}

/// A Session that is a member, or was one.
#[derive(Debug)]
struct Member {
    version: ProtocolVersion,
    /// What it was granted, ever.
    granted: Vec<Subscription>,
    /// The last publication before it left.
    until: u64,
}

#[derive(Debug, Default)]
struct Group {
    life: u64,
    /// By Session.
    members: BTreeMap<usize, Subscription>,
    known: BTreeMap<usize, Member>,
    /// QoS 0 was granted to a member once: what it was to get may be lost with a connection.
    may_lose: bool,
    /// The last publication before a member's Session ended: what it had of QoS 2 ended with it.
    mourned: u64,
    /// The last publication before a member came or went.
    unstable: u64,
    /// Who got messages of a key since, and the last one at each QoS.
    owners: BTreeMap<String, (usize, BTreeMap<QoS, u64>)>,
    messages: Vec<Shared>,
}

/// All groups by the whole text of their filter.
#[derive(Debug)]
pub(super) struct Groups {
    strategy: Strategy,
    /// The number of the last publication.
    published: u64,
    by_filter: BTreeMap<String, Group>,
}

/// An exchange that belongs to a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Share {
    group: String,
    /// In which life of the group it was begun, if that is known.
    life: Option<u64>,
}

impl Share {
    /// Whether it is known in which life of its group it was begun.
    pub(super) fn is_sure(&self) -> bool {
        self.life.is_some()
    }

    /// The same, begun in one life or another.
    pub(super) fn of_unknown_life(self) -> Self {
        Self { life: None, ..self }
    }
}

/// A group that takes a message.
#[derive(Debug)]
pub(super) struct Taker {
    pub(super) group: String,
    pub(super) members: Vec<usize>,
    /// Some member takes nothing above QoS 0.
    pub(super) some_zero: bool,
    /// No member takes anything above QoS 0.
    pub(super) all_zero: bool,
}

/// A message that no member got.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) group: String,
    pub(super) facts: Facts,
    /// Who might have got it.
    pub(super) members: Vec<usize>,
    /// It may be gone without being counted.
    pub(super) may_be_lost: bool,
}

/// The Topic Filter of a Shared Subscription: `$share/name/filter`.
pub(crate) fn shared_filter(filter: &str) -> Option<&str> {
    filter.strip_prefix("$share/")?.split_once('/').map(|(_, filter)| filter)
}

impl Groups {
    pub(super) fn new(strategy: Strategy) -> Self {
        Self { strategy, published: 0, by_filter: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_filter.len()
    }

    pub(super) fn members(&self, filter: &str) -> Vec<usize> {
        let group = self.by_filter.get(filter);
        group.map_or_else(Vec::new, |group| group.members.keys().copied().collect())
    }

    pub(super) fn joined(
        &mut self,
        filter: &str,
        session: usize,
        version: ProtocolVersion,
        subscription: Subscription,
    ) {
        let published = self.published;
        let group = self.by_filter.entry(filter.to_owned()).or_default();
        group.may_lose |= subscription.options.qos == QoS::AtMostOnce;
        if group.members.insert(session, subscription).is_none() {
            group.unsettle(published);
        }
        let member =
            group.known.entry(session).or_insert(Member { version, granted: vec![], until: 0 });
        member.granted.push(subscription);
        member.until = u64::MAX;
    }

    /// A member unsubscribed. What it has it finishes.
    pub(super) fn left(&mut self, filter: &str, session: usize) {
        if let Some(group) = self.by_filter.get_mut(filter) {
            group.remove(session, self.published);
        }
    }

    /// A member has a connection now.
    pub(super) fn there(&mut self, session: usize) {
        let published = self.published;
        let mut its = self.of(session);
        its.iter_mut().for_each(|group| group.unsettle(published));
    }

    /// A Session lost its connection: the groups it is in may give what it did not acknowledge to
    /// others.
    pub(super) fn away(&mut self, session: usize) {
        let published = self.published;
        for group in self.of(session) {
            group.unsettle(published);
            for shared in &mut group.messages {
                let of_now = shared.life == group.life || shared.lost;
                if of_now && shared.place == Place::With(session, QoS::AtLeastOnce) {
                    shared.place = Place::Waiting;
                }
            }
        }
    }

    fn of(&mut self, session: usize) -> Vec<&mut Group> {
        let all = self.by_filter.values_mut();
        all.filter(|group| group.members.contains_key(&session)).collect()
    }

    /// Whether a Session that goes away gives this exchange of QoS 1 back.
    pub(super) fn gives_back(&self, session: usize, share: &Share) -> bool {
        let group = &self.by_filter[&share.group];
        let of_now = share.life.is_none_or(|life| life == group.life);
        of_now && group.members.contains_key(&session)
    }

    /// A Session ended, and its memberships with it.
    pub(super) fn ended(&mut self, session: usize) {
        for group in self.by_filter.values_mut() {
            group.remove(session, self.published);
            if group.known.contains_key(&session) {
                group.mourned = self.published;
            }
            for shared in &mut group.messages {
                match shared.place {
                    Place::With(with, QoS::AtLeastOnce) if with == session => {
                        shared.place = Place::Waiting;
                        shared.life = group.life;
                        shared.lost = group.members.is_empty();
                    }
                    Place::With(with, _) if with == session => shared.place = Place::Settled,
                    Place::Waiting | Place::With(..) | Place::Settled => {}
                }
            }
        }
    }

    /// The groups that take a message. `kept`: whether a store was told that a group owes it.
    pub(super) fn offer(&mut self, facts: &Facts, kept: impl Fn(&str) -> bool) -> Vec<Taker> {
        self.published = facts.number;
        let mut takers = Vec::new();
        for (text, group) in &mut self.by_filter {
            let matches = shared_filter(text).is_some_and(|filter| matches(filter, &facts.topic));
            if !matches || group.members.is_empty() {
                continue;
            }
            group.messages.push(Shared {
                facts: facts.clone(),
                place: Place::Waiting,
                life: group.life,
                lost: false,
                kept: kept(text),
            });
            let mut granted = group.members.values().map(|member| member.options.qos);
            takers.push(Taker {
                group: text.clone(),
                members: group.members.keys().copied().collect(),
                some_zero: granted.clone().any(|qos| qos == QoS::AtMostOnce),
                all_zero: granted.all(|qos| qos == QoS::AtMostOnce),
            });
        }
        takers
    }

    /// A PUBLISH is written to a Session for the first time: the exchange, if a group owed it.
    pub(super) fn take(
        &mut self,
        session: usize,
        identity: &str,
        publish: &Publish<'_>,
        ids: &[u32],
    ) -> Result<Option<Share>, &'static str> {
        let qos = publish.delivery.qos();
        for (text, group) in &mut self.by_filter {
            let Some(member) = group.known.get(&session) else { continue };
            let sent_by = |granted: &Subscription| {
                let id = granted.id.filter(|_| member.version.is_v5());
                id.map(SubscriptionId::value).as_slice() == ids
            };
            let waits = |shared: &&mut Shared| {
                let known = shared.facts.identity == identity && shared.place == Place::Waiting;
                let granted = || member.granted.iter();
                known
                    && shared.facts.number <= member.until
                    && granted().any(|granted| {
                        let retain = shared.facts.retain && granted.options.retain_as_published;
                        qos == granted.options.qos.min(shared.facts.qos)
                            && sent_by(granted)
                            && retain == publish.retain
                    })
            };
            // If the same message was published again, one that was lost may have been found, and
            // an older one may be on its way to somebody who has left meanwhile.
            let found = group.messages.iter_mut().filter(waits);
            let found = found.min_by_key(|shared| (shared.lost, Reverse(shared.facts.number)));
            let Some(shared) = found else {
                // Those that clear a topic are all the same: one at QoS 2 may have been taken for
                // another.
                let cleared = shared_filter(text).is_some_and(|filter| {
                    publish.payload.is_empty()
                        && matches(filter, &String::from_utf8_lossy(publish.topic))
                });
                if cleared && member.granted.iter().any(sent_by) {
                    return Ok(Some(Share { group: text.clone(), life: None }));
                }
                continue;
            };
            let life = Some(shared.life).filter(|life| *life == group.life && !shared.lost);
            let above_zero = qos > QoS::AtMostOnce;
            shared.place = if above_zero { Place::With(session, qos) } else { Place::Settled };
            let facts = shared.facts.clone();
            if above_zero && facts.number > group.unstable {
                group.keeps_order(self.strategy, session, qos, &facts)?;
            }
            return Ok(Some(Share { group: text.clone(), life }));
        }
        Ok(None)
    }

    /// The member acknowledged it, or refused it for good [MQTT-4.8.2-6].
    pub(super) fn settled(&mut self, session: usize, exchange: &Exchange) {
        let Exchange { identity, share: Some(share), .. } = exchange else { return };
        let Some(group) = self.by_filter.get_mut(&share.group) else { return };
        let mut its = group.messages.iter_mut().filter(|shared| {
            let with = matches!(shared.place, Place::With(with, _) if with == session);
            with && shared.facts.identity == *identity
        });
        if let Some(shared) = its.next() {
            shared.place = Place::Settled;
        }
    }

    /// What no member got although each of them could have.
    pub(super) fn missing(&self) -> Vec<Missing> {
        let mut missing = Vec::new();
        for (text, group) in &self.by_filter {
            for Shared { facts, place, lost, .. } in &group.messages {
                let mourned = facts.qos == QoS::ExactlyOnce && facts.number <= group.mourned;
                if *place == Place::Waiting && facts.qos > QoS::AtMostOnce {
                    missing.push(Missing {
                        group: text.clone(),
                        facts: facts.clone(),
                        members: group.known.keys().copied().collect(),
                        may_be_lost: *lost || group.may_lose || mourned || facts.payload_bytes == 0,
                    });
                }
            }
        }
        missing
    }

    /// Messages of QoS 1 that a member has and a store was told of, each with its group.
    pub(super) fn kept(&self) -> Vec<(&str, &str)> {
        let mut kept = Vec::new();
        for (text, group) in &self.by_filter {
            let open = |shared: &&Shared| {
                shared.kept && matches!(shared.place, Place::With(_, QoS::AtLeastOnce))
            };
            let messages = group.messages.iter().filter(open);
            kept.extend(messages.map(|shared| (text.as_str(), shared.facts.identity.as_str())));
        }
        kept
    }
}

impl Group {
    fn unsettle(&mut self, published: u64) {
        self.unstable = published;
        self.owners.clear();
    }

    fn remove(&mut self, session: usize, published: u64) {
        if self.members.remove(&session).is_none() {
            return;
        }
        self.unsettle(published);
        if let Some(member) = self.known.get_mut(&session) {
            member.until = published;
        }
        if self.members.is_empty() {
            self.life += 1;
            for shared in &mut self.messages {
                shared.lost |= shared.place == Place::Waiting;
            }
        }
    }

    /// Messages of a key go to one member, in order, as long as nobody comes or goes.
    fn keeps_order(
        &mut self,
        strategy: Strategy,
        session: usize,
        qos: QoS,
        facts: &Facts,
    ) -> Result<(), &'static str> {
        // The same message may have been published again: nobody can tell which one this is.
        let again = |shared: &&Shared| shared.facts.identity == facts.identity;
        if self.messages.iter().filter(again).count() > 1 {
            return Ok(());
        }
        let key = match strategy {
            Strategy::LeastInflight | Strategy::RoundRobin => return Ok(()),
            Strategy::HashTopic => facts.topic.clone(),
            Strategy::HashPublisher => facts.publisher.to_string(),
            Strategy::Sticky => String::new(),
        };
        let (owner, latest) = self.owners.entry(key).or_insert((session, BTreeMap::new()));
        if *owner != session {
            return Err("another member has this key");
        }
        let latest = latest.entry(qos).or_default();
        if facts.number < *latest {
            return Err("it follows a later one of its key");
        }
        *latest = facts.number.max(*latest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use dunlin::packet::{Delivery, PacketId, PublishProperties, SubscriptionOptions};

    use super::*;

    const FILTER: &str = "$share/g/a/+";

    fn groups(strategy: Strategy) -> Groups {
        let mut groups = Groups::new(strategy);
        for session in [1, 2] {
            let options = SubscriptionOptions::new(QoS::ExactlyOnce);
            let subscription = Subscription { options, id: None };
            groups.joined(FILTER, session, ProtocolVersion::V5, subscription);
        }
        groups
    }

    fn facts(identity: &str, qos: QoS, number: u64) -> Facts {
        Facts {
            identity: identity.to_owned(),
            publisher: 0,
            topic: "a/b".to_owned(),
            payload_bytes: 1,
            qos,
            retain: false,
            expiry: None,
            expires_at: None,
            number,
        }
    }

    fn offer(groups: &mut Groups, identity: &str, qos: QoS, number: u64) -> usize {
        groups.offer(&facts(identity, qos, number), |_| false).len()
    }

    fn take(
        groups: &mut Groups,
        session: usize,
        identity: &str,
        qos: QoS,
    ) -> Result<Option<Share>, &'static str> {
        let (id, dup) = (PacketId::new(1).unwrap(), false);
        let delivery = if qos == QoS::ExactlyOnce {
            Delivery::ExactlyOnce { id, dup }
        } else {
            Delivery::AtLeastOnce { id, dup }
        };
        let properties = PublishProperties::default();
        let publish = Publish { delivery, retain: false, topic: b"a/b", properties, payload: b"m" };
        groups.take(session, identity, &publish, &[])
    }

    fn exchange(share: Share) -> Exchange {
        Exchange {
            id: PacketId::new(1).unwrap(),
            identity: "m".to_owned(),
            qos: QoS::AtLeastOnce,
            size: 0,
            released: false,
            charged: None,
            share: Some(share),
        }
    }

    #[test]
    fn one_member_gets_a_message() {
        let mut groups = groups(Strategy::LeastInflight);

        assert_eq!(offer(&mut groups, "m", QoS::AtLeastOnce, 1), 1);

        assert_eq!(groups.missing().len(), 1);
        assert!(take(&mut groups, 1, "m", QoS::AtLeastOnce).unwrap().is_some());
        assert_eq!(take(&mut groups, 2, "m", QoS::AtLeastOnce), Ok(None));
        assert!(groups.missing().is_empty());
    }

    #[test]
    fn what_a_member_did_not_acknowledge_goes_to_another_one_at_qos_1_only() {
        for (qos, again) in [(QoS::AtLeastOnce, true), (QoS::ExactlyOnce, false)] {
            let mut groups = groups(Strategy::LeastInflight);
            offer(&mut groups, "m", qos, 1);
            take(&mut groups, 1, "m", qos).unwrap();

            groups.away(1);

            assert_eq!(take(&mut groups, 2, "m", qos).unwrap().is_some(), again);
        }
    }

    #[test]
    fn what_a_member_acknowledged_stays_with_it() {
        let mut groups = groups(Strategy::LeastInflight);
        offer(&mut groups, "m", QoS::AtLeastOnce, 1);
        let share = take(&mut groups, 1, "m", QoS::AtLeastOnce).unwrap().unwrap();

        groups.settled(1, &exchange(share));
        groups.ended(1);

        assert_eq!(take(&mut groups, 2, "m", QoS::AtLeastOnce), Ok(None));
        assert!(groups.missing().is_empty());
    }

    #[test]
    fn a_group_without_members_takes_nothing() {
        let mut groups = groups(Strategy::LeastInflight);

        groups.left(FILTER, 1);
        groups.ended(2);

        assert_eq!(offer(&mut groups, "m", QoS::AtLeastOnce, 1), 0);
    }

    #[test]
    fn a_key_stays_with_its_member_and_in_order_until_somebody_comes_or_goes() {
        let mut groups = groups(Strategy::HashTopic);
        for (number, identity) in ["k", "l", "m", "n"].into_iter().enumerate() {
            offer(&mut groups, identity, QoS::AtLeastOnce, number as u64 + 1);
        }

        take(&mut groups, 1, "l", QoS::AtLeastOnce).unwrap();

        assert!(take(&mut groups, 1, "k", QoS::AtLeastOnce).is_err());
        assert!(take(&mut groups, 2, "m", QoS::AtLeastOnce).is_err());
        groups.away(1);
        assert!(take(&mut groups, 2, "n", QoS::AtLeastOnce).unwrap().is_some());
    }
}
