//! What must follow from what the broker was told, worked out from the standard and from nothing of
//! the router's but its counters.
//!
//! - here: Sessions, Subscriptions, Wills and Retained Messages, as the shell reports what it does;
//! - [`written`]: each packet the broker writes, at the moment it does, be it lost afterwards
//!   or not;
//! - [`groups`]: Shared Subscriptions;
//! - [`end`]: what must be left when everything has come to rest.
//!
//! A publication becomes an [`Offer`] for each Session with a matching Subscription. A PUBLISH that
//! is written takes its offer; an offer that is passed over or left needs an excuse with a counter.

mod end;
mod groups;
mod written;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::Duration;

use dunlin::change::{Change, Journal, Keeps, SessionExpiry, Subscription};
use dunlin::packet::{
    Connect, Delivery, PacketId, ProtocolVersion, Publish, QoS, RetainHandling, SubscriptionId,
    SubscriptionOptions,
};
use dunlin::router::{Acknowledged, Ending, Outcome};
use dunlin::session::{QueueWhenFull, Terms, WillFate};

use crate::broker::{Bounds, Micros};
use crate::client::Lasting;
use crate::store::ModelStore;
pub(crate) use groups::shared_filter;
use groups::{Groups, Share};

/// Lines of what happened last, shown when something is wrong.
const LOG_LINES: usize = 60;

/// The broker's counters of what it dropped, or their growth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) offline: u64,
    pub(crate) outbound_full: u64,
    pub(crate) queue_full: u64,
    pub(crate) too_large: u64,
    pub(crate) expired: u64,
    pub(crate) retained_refused: u64,
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            offline: self.offline + other.offline,
            outbound_full: self.outbound_full + other.outbound_full,
            queue_full: self.queue_full + other.queue_full,
            too_large: self.too_large + other.too_large,
            expired: self.expired + other.expired,
            retained_refused: self.retained_refused + other.retained_refused,
        }
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            offline: self.offline - before.offline,
            outbound_full: self.outbound_full - before.outbound_full,
            queue_full: self.queue_full - before.queue_full,
            too_large: self.too_large - before.too_large,
            expired: self.expired - before.expired,
            retained_refused: self.retained_refused - before.retained_refused,
        }
    }
}

/// What the broker owes its client in return for a packet, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    PubAck(PacketId),
    PubRec(PacketId),
    PubComp(PacketId),
    SubAck(PacketId),
    UnsubAck(PacketId),
    PingResp,
}

/// A connection that was given its Session.
#[derive(Debug)]
pub(crate) struct Arrived<'a> {
    pub(crate) conn: usize,
    pub(crate) client: usize,
    pub(crate) connect: &'a Connect<'a>,
    pub(crate) terms: Terms,
    /// What the store had been given before.
    pub(crate) submitted: u64,
}

/// A PUBLISH that was routed.
#[derive(Debug)]
pub(crate) struct Routed<'a> {
    pub(crate) conn: usize,
    pub(crate) topic: &'a str,
    pub(crate) publish: &'a Publish<'a>,
    pub(crate) refusable: bool,
    /// What the store had been given before.
    pub(crate) submitted: u64,
}

/// A message as all its takers have it in common.
#[derive(Clone, Debug)]
struct Facts {
    identity: String,
    publisher: usize,
    topic: String,
    payload_bytes: usize,
    qos: QoS,
    retain: bool,
    expiry: Option<u32>,
    expires_at: Option<Micros>,
    /// Publications are numbered as the broker got them.
    number: u64,
}

/// A message one Session is to get.
#[derive(Clone, Debug)]
struct Offer {
    facts: Facts,
    qos: QoS,
    retain: bool,
    ids: Vec<u32>,
    /// The connection it was offered on; QoS 0 is lost with it.
    conn: Option<usize>,
    /// Of its PUBLISH, in bytes.
    size: usize,
    /// The smallest Maximum Packet Size since it was offered.
    size_max: usize,
}

/// Who takes a message.
#[derive(Debug, Default)]
struct Offered {
    takers: usize,
    /// How many of them are groups.
    groups: usize,
    /// How many would get it at QoS 0 and are away.
    offline: u64,
    /// How many take no packet of that size.
    too_large: u64,
    /// Groups that owe it although no store knows.
    unkept: Vec<String>,
}

/// A QoS 1 or 2 message whose PUBLISH was written and that is not settled.
#[derive(Clone, Debug)]
struct Exchange {
    id: PacketId,
    identity: String,
    qos: QoS,
    size: usize,
    /// PUBREC came in.
    released: bool,
    /// The connection on which it counts against the Receive Maximum.
    charged: Option<usize>,
    /// Of a group's message.
    share: Option<Share>,
}

/// A SUBSCRIBE that asked for Retained Messages.
#[derive(Clone, Debug)]
struct Right {
    filter: String,
    subscription: Subscription,
    /// Publications after this number came later than the SUBSCRIBE.
    number: u64,
    conn: usize,
    given: BTreeSet<String>,
    cancelled: bool,
}

/// A message that was written for this [`Right`], if it was not the live one.
#[derive(Debug)]
struct Indistinct {
    identity: String,
    qos: QoS,
    ids: Vec<u32>,
    right: usize,
}

#[derive(Clone, Debug)]
struct WillModel {
    topic: String,
    identity: String,
    payload_bytes: usize,
    qos: QoS,
    retain: bool,
    expiry: Option<u32>,
    delay: Micros,
}

/// Offers of one publisher, topic and QoS, of which the order counts [MQTT-4.6.0-5].
type Stream = (usize, String, QoS);

#[derive(Debug)]
struct SessionModel {
    client: usize,
    version: ProtocolVersion,
    expiry: SessionExpiry,
    /// It outlived its connection from its beginning on, so a store knows all of it.
    always_kept: bool,
    subscriptions: BTreeMap<String, Subscription>,
    conn: Option<usize>,
    away_since: Micros,
    will: Option<WillModel>,
    ended: bool,
    offers: BTreeMap<Stream, VecDeque<Offer>>,
    exchanges: Vec<Exchange>,
    rights: Vec<Right>,
    /// The newest publication of a topic with RETAIN that was written live.
    newest: BTreeMap<String, u64>,
    /// Exchanges begun, and messages the client took, by message and QoS.
    begun: BTreeMap<(String, QoS), u64>,
    taken: BTreeMap<(String, QoS), u64>,
    /// Messages of which an exchange was given up, by the client or since they grew too large.
    given_up: BTreeSet<String>,
    /// Exchanges of which nobody can tell whether their group has their message again.
    perhaps_given_back: BTreeSet<PacketId>,
    /// What PUBREC of each identifier has to wait for.
    received: BTreeMap<PacketId, u64>,
    promised: u64,
    /// What the store had been given before the Session began.
    began: u64,
    size_min: usize,
    replays_refused: u64,
    /// At most so many of what it was to get gave way to newer messages.
    gave_way_max: u64,
    /// Messages that did, as it seems.
    gave_way: Vec<String>,
    /// Offers that were taken though they could have been dropped. If the same message was offered
    /// again, by a publisher that sent it again, the other one may be what came.
    droppable: Vec<Offer>,
    /// Written as Retained Messages while the same message was offered live, too: one of the two
    /// came.
    indistinct: Vec<Indistinct>,
    /// Messages taken as live ones that could have been replayed: then the live ones are to come.
    perhaps_replayed: BTreeSet<String>,
    /// What was written with RETAIN: how often each message at this QoS with these identifiers.
    with_retain: BTreeMap<(String, QoS, Vec<u32>), usize>,
}

#[derive(Debug)]
struct ConnModel {
    session: usize,
    terms: Terms,
    inbox: Vec<u8>,
    /// What the CONNACK has to say and to wait for, until it is written.
    connack: Option<(bool, u64)>,
    answers: VecDeque<(Answer, u64)>,
    /// The Session is somebody else's, or nobody's.
    left: bool,
    resumed: bool,
    /// Exchanges to be sent again, in order.
    resend: Vec<(PacketId, QoS)>,
    /// QoS of which something was sent for the first time.
    fresh: BTreeSet<QoS>,
    /// What each Topic Alias stands for.
    aliases: BTreeMap<u16, Vec<u8>>,
    alias_max: u16,
    closing: bool,
}

/// One value a topic retained.
#[derive(Clone, Debug)]
struct Value {
    facts: Facts,
    /// The publication that replaced it.
    until: u64,
}

#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) now: Micros,
    pub(crate) verbose: bool,
    journal: Arc<ModelStore>,
    bounds: Bounds,
    lasting: Lasting,
    sessions: Vec<SessionModel>,
    conns: BTreeMap<usize, ConnModel>,
    /// The living Session of each client.
    living: BTreeMap<usize, usize>,
    groups: Groups,
    messages: BTreeMap<String, Facts>,
    /// QoS 2 messages that were routed for good.
    settled: BTreeSet<String>,
    retained: BTreeMap<String, Vec<Value>>,
    publications: u64,
    /// Counted refusals by message, not yet used as an excuse.
    refused: BTreeMap<String, u64>,
    /// The same for groups: a refusal does not say whose it is.
    refused_by_groups: BTreeMap<String, u64>,
    /// How many of the oldest messages of groups may have been dropped for newer ones.
    groups_gave_way_max: u64,
    outbound_full: BTreeMap<String, u64>,
    /// The first of the run that a message was routed in: a run's drops are counted together.
    run_of: BTreeMap<String, String>,
    /// Dropped for good, and counted as such by the broker, as far as known.
    excused: u64,
    zero_too_large: u64,
    replay_refused: u64,
    /// In a replay, of Retained Messages, or of what waited for its end: nobody says which.
    replay_too_large: u64,
    ambiguous: u64,
    log: VecDeque<String>,
}

/// A message by its payload, all of which has to be there.
pub(crate) fn identity(topic: &[u8], payload: &[u8]) -> String {
    if payload.is_empty() {
        return format!("nothing for {}", String::from_utf8_lossy(topic));
    }
    let end = payload.iter().position(|byte| *byte == b';').expect("a payload of ours");
    let head = std::str::from_utf8(&payload[..end]).unwrap();
    let length: usize = head.rsplit('-').next().unwrap().parse().unwrap();
    assert_eq!(payload.len(), end + 1 + length, "{head} has another length");
    assert!(payload[end + 1..].iter().all(|byte| *byte == b'.'), "{head} is damaged");
    head.to_owned()
}

/// Whether a Topic Filter matches a Topic Name, level by level.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    // [MQTT-4.7.2-1]
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

fn variable(value: usize) -> usize {
    1 + usize::from(value > 0x7F) + usize::from(value > 0x3FFF) + usize::from(value > 0x1F_FFFF)
}

/// The length of a PUBLISH, in bytes.
fn publish_size(version: ProtocolVersion, facts: &Facts, qos: QoS, ids: &[u32]) -> usize {
    let mut body = 2 + facts.topic.len() + facts.payload_bytes;
    body += if qos > QoS::AtMostOnce { 2 } else { 0 };
    if version.is_v5() {
        let ids: usize = ids.iter().map(|id| 1 + variable(*id as usize)).sum();
        let properties = ids + if facts.expiry.is_some() { 5 } else { 0 };
        body += variable(properties) + properties;
    }
    1 + variable(body) + body
}

impl SessionModel {
    fn matching(&self, topic: &str) -> Vec<Subscription> {
        let all = self.subscriptions.iter().filter(|(filter, _)| matches(filter, topic));
        all.map(|(_, subscription)| *subscription).collect()
    }

    fn end(&mut self) {
        self.ended = true;
        self.conn = None;
        self.subscriptions.clear();
    }
}

impl Oracle {
    pub(crate) fn new(journal: Arc<ModelStore>, bounds: Bounds, lasting: Lasting) -> Self {
        Self {
            now: 0,
            verbose: false,
            journal,
            groups: Groups::new(bounds.sharing),
            bounds,
            lasting,
            sessions: Vec::new(),
            conns: BTreeMap::new(),
            living: BTreeMap::new(),
            messages: BTreeMap::new(),
            settled: BTreeSet::new(),
            retained: BTreeMap::new(),
            publications: 0,
            refused: BTreeMap::new(),
            refused_by_groups: BTreeMap::new(),
            groups_gave_way_max: 0,
            outbound_full: BTreeMap::new(),
            run_of: BTreeMap::new(),
            excused: 0,
            zero_too_large: 0,
            replay_refused: 0,
            replay_too_large: 0,
            ambiguous: 0,
            log: VecDeque::new(),
        }
    }

    pub(crate) fn note(&mut self, line: &str) {
        if self.verbose {
            eprintln!("{:>12} {line}", self.now);
        }
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(format!("{:>12} {line}", self.now));
    }

    /// Something is wrong.
    pub(crate) fn fail(&self, what: &str) -> ! {
        let log: Vec<&str> = self.log.iter().map(String::as_str).collect();
        panic!("{}\n{:>12} {what}", log.join("\n"), self.now);
    }

    /// A number that depends on all that happened.
    pub(crate) fn fingerprint(&self) -> (u64, usize, usize, Vec<String>) {
        let log = self.log.iter().cloned().collect();
        (self.publications, self.conns.len(), self.sessions.len(), log)
    }

    fn facts_of_will(&mut self, client: usize, will: WillModel) -> Facts {
        self.publications += 1;
        let expires_at = will.expiry.map(|seconds| self.now + u64::from(seconds) * 1_000_000);
        Facts {
            identity: will.identity,
            publisher: client,
            topic: will.topic,
            payload_bytes: will.payload_bytes,
            qos: will.qos,
            retain: will.retain,
            expiry: will.expiry,
            expires_at,
            number: self.publications,
        }
    }

    pub(crate) fn arrived(&mut self, arrived: &Arrived<'_>, present: bool, growth: Counts) {
        let Arrived { conn, client, connect, terms, submitted } = *arrived;
        self.note(&format!(
            "conn {conn}: c{client} {}, clean {}, expiry {}, present {present}, {terms:?}",
            connect.version, connect.clean_start, connect.properties.session_expiry
        ));
        let expiry = expiry_of(connect);
        let old = self.living.get(&client).copied();
        let resumes = !connect.clean_start
            && old.is_some_and(|old| self.sessions[old].expiry != SessionExpiry::AtDisconnect);
        if resumes != present {
            self.fail(&format!("[MQTT-3.2.2-3] Session Present is {present}"));
        }
        let mut wills = Vec::new();
        if let Some(old) = old {
            let session = &mut self.sessions[old];
            let will = session.will.take();
            if let Some(conn) = session.conn.take() {
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.left = true;
                }
                // Its connection is lost, and then resumed before the delay passed.
                wills.extend(will.filter(|will| !resumes || will.delay == 0));
            } else {
                wills.extend(will.filter(|_| !resumes)); // [MQTT-3.1.3-9]
            }
            self.away(old);
            if !resumes {
                self.sessions[old].end();
                self.groups.ended(old);
            }
        }
        let mut required =
            self.journal.latest(submitted, |change| is_session_change(change, connect.client_id));
        let at = match old.filter(|_| resumes) {
            Some(at) => at,
            None => {
                self.sessions.push(new_session(client, connect.version, expiry, submitted));
                self.sessions.len() - 1
            }
        };
        let session = &mut self.sessions[at];
        if resumes {
            required = required.max(session.promised);
        }
        self.living.insert(client, at);
        session.will = will_of(connect);
        for open in session.exchanges.iter().filter(|open| open.size > terms.maximum_packet_size) {
            self.groups.settled(at, open);
        }
        session.resume(conn, expiry, &terms);
        self.groups.there(at);
        let resend = session.exchanges.iter().map(|open| (open.id, open.qos)).collect();
        let model = ConnModel {
            session: at,
            terms,
            inbox: Vec::new(),
            connack: Some((present, required)),
            answers: VecDeque::new(),
            left: false,
            resumed: present,
            resend,
            fresh: BTreeSet::new(),
            aliases: BTreeMap::new(),
            alias_max: connect.properties.topic_alias_maximum,
            closing: false,
        };
        self.conns.insert(conn, model);
        let wills = wills.into_iter().map(|will| (client, will)).collect();
        self.publish_wills(wills, growth, 0, submitted);
    }

    /// A Session lost its connection.
    fn away(&mut self, at: usize) {
        let SessionModel { exchanges, perhaps_given_back, .. } = &mut self.sessions[at];
        exchanges.retain(|open| {
            let share = open.share.as_ref().filter(|_| open.qos == QoS::AtLeastOnce);
            let given_back = share.filter(|share| self.groups.gives_back(at, share));
            perhaps_given_back.extend(given_back.filter(|share| !share.is_sure()).map(|_| open.id));
            given_back.is_none()
        });
        self.groups.away(at);
    }

    /// Publishes Wills in this order, which the broker did while its counters grew. `spare`:
    /// messages of QoS 0 may have been offered to so many Sessions that ended meanwhile.
    fn publish_wills(
        &mut self,
        wills: Vec<(usize, WillModel)>,
        growth: Counts,
        spare: usize,
        submitted: u64,
    ) {
        let mut offline = 0;
        let mut retained_refused = 0;
        let mut identities = Vec::new();
        let count = wills.len();
        for (client, will) in wills {
            let facts = self.facts_of_will(client, will);
            self.note(&format!("Will {} on {} q{}", facts.identity, facts.topic, facts.qos.bits()));
            identities.push(facts.identity.clone());
            if facts.retain {
                if growth.retained_refused > retained_refused && self.retained_may_be_full(&facts) {
                    retained_refused += 1;
                } else {
                    self.retain(&facts);
                }
            }
            offline += self.offer(&facts, submitted).offline;
        }
        let most = offline + (spare * count) as u64;
        if !(offline..=most).contains(&growth.offline) {
            self.fail(&format!("{offline} Wills were for nobody, not {}", growth.offline));
        }
        for identity in identities {
            self.refuse(&identity, growth.queue_full);
            *self.outbound_full.entry(identity).or_default() += growth.outbound_full;
        }
        self.some_gave_way(growth.queue_full);
    }

    /// So many Sessions or groups have no room for a message.
    fn refuse(&mut self, identity: &str, count: u64) {
        *self.refused.entry(identity.to_owned()).or_default() += count;
        *self.refused_by_groups.entry(identity.to_owned()).or_default() += count;
    }

    /// So many messages may have been dropped for newer ones.
    fn some_gave_way(&mut self, count: u64) {
        if self.bounds.queue_when_full == QueueWhenFull::DropOldest {
            for at in self.living.values() {
                self.sessions[*at].gave_way_max += count;
            }
            self.groups_gave_way_max += count;
        }
    }

    /// Whether there certainly is no room to retain this message. What expired may be there still.
    fn retained_is_full(&self, facts: &Facts) -> bool {
        self.others_retained(facts, false) >= self.bounds.retained_messages_max
    }

    fn retained_may_be_full(&self, facts: &Facts) -> bool {
        self.others_retained(facts, true) >= self.bounds.retained_messages_max
    }

    fn others_retained(&self, facts: &Facts, expired: bool) -> usize {
        let others = self.retained.iter().filter(|(topic, _)| **topic != facts.topic);
        let current = others.filter_map(|(_, values)| values.last()).filter(|value| {
            let expires_at = value.facts.expires_at;
            let has_expired = expires_at.is_some_and(|expires_at| expires_at <= self.now);
            value.until == u64::MAX && (expired || !has_expired)
        });
        current.count()
    }

    fn retain(&mut self, facts: &Facts) {
        let values = self.retained.entry(facts.topic.clone()).or_default();
        if let Some(last) = values.last_mut() {
            last.until = last.until.min(facts.number);
        }
        if facts.payload_bytes > 0 {
            values.push(Value { facts: facts.clone(), until: u64::MAX });
        }
    }

    /// Offers a message to every Session and every group that takes it. Before it was published the
    /// store had been given so much.
    fn offer(&mut self, facts: &Facts, submitted: u64) -> Offered {
        self.messages.entry(facts.identity.clone()).or_insert_with(|| facts.clone());
        let mut offered = self.offer_to_groups(facts, submitted);
        for at in self.living.values() {
            let session = &mut self.sessions[*at];
            let mut found = session.matching(&facts.topic);
            if facts.publisher == session.client {
                found.retain(|subscription| !subscription.options.no_local); // [MQTT-3.8.3-3]
            }
            if found.is_empty() {
                continue;
            }
            offered.takers += 1;
            let granted = found.iter().map(|subscription| subscription.options.qos).max();
            let qos = granted.unwrap().min(facts.qos); // [MQTT-3.3.4-2] [MQTT-3.8.4-8]
            let as_published =
                found.iter().any(|subscription| subscription.options.retain_as_published);
            let mut ids: Vec<u32> = if session.version.is_v5() {
                found.iter().filter_map(|found| found.id).map(SubscriptionId::value).collect()
            } else {
                Vec::new()
            };
            ids.sort_unstable();
            let size = publish_size(session.version, facts, qos, &ids);
            let conn = session.conn;
            let size_max =
                conn.map_or(usize::MAX, |conn| self.conns[&conn].terms.maximum_packet_size);
            offered.too_large += u64::from(size > size_max);
            if qos == QoS::AtMostOnce {
                self.zero_too_large += u64::from(size > size_max);
                if conn.is_none() {
                    offered.offline += 1;
                    continue;
                }
            }
            let retain = facts.retain && as_published; // [MQTT-3.3.1-12]
            let stream = (facts.publisher, facts.topic.clone(), qos);
            let offer = Offer { facts: facts.clone(), qos, retain, ids, conn, size, size_max };
            session.offers.entry(stream).or_default().push_back(offer);
        }
        offered
    }

    fn offer_to_groups(&mut self, facts: &Facts, submitted: u64) -> Offered {
        let journal = Arc::clone(&self.journal);
        let queued = |group: &str| {
            let number = journal.latest(submitted, |change| {
                matches!(change, Change::GroupQueued { group: found, message, .. }
                    if found.to_string() == group
                        && identity(message.topic.as_str().as_bytes(), &message.payload)
                            == facts.identity)
            });
            number > 0
        };
        let mut offered = Offered::default();
        for taker in self.groups.offer(facts, queued) {
            offered.takers += 1;
            offered.groups += 1;
            let mut members = taker.members.iter().map(|at| &self.sessions[*at]);
            let above_zero = facts.qos > QoS::AtMostOnce && !taker.all_zero;
            let nobody = members.clone().all(|member| member.conn.is_none());
            offered.offline += u64::from(!above_zero && nobody);
            let lasting = members.any(|member| member.expiry != SessionExpiry::AtDisconnect);
            let owed = facts.qos > QoS::AtMostOnce && lasting && !taker.some_zero;
            if owed && journal.keeps() == Keeps::Changes && !queued(&taker.group) {
                offered.unkept.push(taker.group);
            }
        }
        offered
    }

    pub(crate) fn routed(&mut self, routed: &Routed<'_>, outcome: Option<&Outcome>, grown: Counts) {
        let Routed { conn, publish, refusable, submitted, .. } = *routed;
        let facts = self.facts(routed);
        self.note(&format!("conn {conn}: routes {facts:?}: {outcome:?}, {grown:?}"));
        // One that was refused is not settled and may come again.
        let refused = refusable && outcome.is_none_or(Outcome::all_refused);
        if let Delivery::ExactlyOnce { id, .. } = publish.delivery
            && !refused
        {
            self.sessions[self.conns[&conn].session].received.insert(id, 0);
        }
        if facts.qos == QoS::ExactlyOnce && facts.payload_bytes > 0 && !refused {
            let is_new = self.settled.insert(facts.identity.clone());
            if !is_new {
                self.fail("[MQTT-4.3.3-10] routed twice");
            }
        }
        if grown.retained_refused > 0 {
            let has_value = facts.retain && facts.payload_bytes > 0;
            if !has_value || !self.retained_may_be_full(&facts) || outcome.is_some() == refusable {
                self.fail("not retained without need");
            }
            if refusable {
                return;
            }
        } else if facts.retain {
            if facts.payload_bytes > 0 && self.retained_is_full(&facts) {
                self.fail("retained beyond the limit");
            }
            self.retain(&facts);
        }
        let Some(outcome) = outcome else { self.fail("refused without need") };
        let offered = self.offer(&facts, submitted);
        let (takers, offline) = (offered.takers, offered.offline);
        if outcome.takers != takers {
            self.fail(&format!("{takers} Sessions take it"));
        }
        if grown.offline != offline {
            self.fail(&format!("{offline} Sessions that take it at QoS 0 are away"));
        }
        self.dropped(&facts, outcome.refused as u64, &offered, grown);
    }

    /// What became of a publication that was dropped for some of its takers.
    fn dropped(&mut self, facts: &Facts, refused: u64, offered: &Offered, grown: Counts) {
        let Offered { groups, too_large, unkept, .. } = offered;
        let gave_way = grown.queue_full.saturating_sub(refused);
        let may_give_way = self.bounds.queue_when_full == QueueWhenFull::DropOldest;
        if refused > grown.queue_full || gave_way > 0 && !may_give_way {
            self.fail("refusals are not counted");
        }
        // What waited in a group may be sent now, or prove too large.
        let too_many = grown.too_large > *too_large && *groups == 0;
        if too_many || grown.too_large < *too_large && refused == 0 {
            self.fail(&format!("{too_large} Sessions take no packet of that size"));
        }
        if let Some(group) = unkept.first().filter(|_| refused == 0) {
            self.fail(&format!("no store was told that {group} owes it"));
        }
        self.some_gave_way(gave_way);
        self.refuse(&facts.identity, refused);
        *self.outbound_full.entry(facts.identity.clone()).or_default() += grown.outbound_full;
    }

    /// A run of publications was routed as one. Nobody says which of its messages were dropped.
    pub(crate) fn routed_run(&mut self, run: &[Routed<'_>], grown: Counts) {
        let (mut all, mut first) = (Offered::default(), None);
        for routed in run {
            let facts = self.facts(routed);
            self.note(&format!("conn {}: routes in a run {facts:?}: {grown:?}", routed.conn));
            let offered = self.offer(&facts, routed.submitted);
            all.groups += offered.groups;
            all.offline += offered.offline;
            all.too_large += offered.too_large;
            let first = first.get_or_insert_with(|| facts.clone());
            self.run_of.insert(facts.identity, first.identity.clone());
        }
        if grown.offline != all.offline {
            self.fail(&format!("{} takers at QoS 0 are away, all in all", all.offline));
        }
        if let Some(first) = first {
            self.dropped(&first, 0, &all, grown);
        }
    }

    /// The message whose name a message's drops are counted under.
    fn counted_as<'o>(&'o self, identity: &'o String) -> &'o String {
        self.run_of.get(identity).unwrap_or(identity)
    }

    fn facts(&mut self, routed: &Routed<'_>) -> Facts {
        let Routed { conn, topic, publish, .. } = *routed;
        self.publications += 1;
        let expiry = publish.properties.message_expiry;
        Facts {
            identity: identity(topic.as_bytes(), publish.payload),
            publisher: self.sessions[self.conns[&conn].session].client,
            topic: topic.to_owned(),
            payload_bytes: publish.payload.len(),
            qos: publish.delivery.qos(),
            retain: publish.retain,
            expiry,
            expires_at: expiry.map(|seconds| self.now + u64::from(seconds) * 1_000_000),
            number: self.publications,
        }
    }

    /// An answer was appended, which has to wait until `required` is kept.
    pub(crate) fn answered(&mut self, conn: usize, answer: Answer, required: u64) {
        let Some(model) = self.conns.get_mut(&conn) else { return };
        if model.left {
            return; // It goes nowhere.
        }
        model.answers.push_back((answer, required));
        let session = &mut self.sessions[model.session];
        session.promised = session.promised.max(required);
        if let Answer::PubRec(id) = answer
            && let Some(first) = session.received.get_mut(&id)
        {
            *first = required.max(*first);
        }
        self.note(&format!("conn {conn}: owes {answer:?}, kept at {required}"));
    }

    /// A QoS 2 PUBLISH came once more.
    pub(crate) fn answered_again(&mut self, conn: usize, id: PacketId) {
        let session = &self.sessions[self.conns[&conn].session];
        let required = session.received.get(&id).copied();
        let Some(required) = required else { self.fail("repeated what was never received") };
        self.answered(conn, Answer::PubRec(id), required);
    }

    /// A PUBREL came: the identifier was known to the broker or not.
    pub(crate) fn released(&mut self, conn: usize, id: PacketId, known: bool) {
        let model = &self.conns[&conn];
        let expected = self.sessions[model.session].received.remove(&id).is_some();
        if expected != known && !model.left {
            self.fail(&format!("[MQTT-4.3.3-11] {id} was known: {known}"));
        }
    }

    /// A publisher was told that its message is taken care of.
    pub(crate) fn confirmed(&self, topic: &str, payload: &[u8]) {
        let identity = identity(topic.as_bytes(), payload);
        if !self.messages.contains_key(&identity) {
            self.fail(&format!("{identity} was acknowledged but never routed"));
        }
    }

    pub(crate) fn subscribed(
        &mut self,
        conn: usize,
        filter: &str,
        subscription: Subscription,
        done: bool,
    ) {
        self.note(&format!("conn {conn}: subscribes {filter} {subscription:?}: {done}"));
        let session = &mut self.sessions[self.conns[&conn].session];
        let max = self.bounds.subscriptions_max;
        let known = session.subscriptions.contains_key(filter);
        let no_room = !known && session.subscriptions.len() >= max;
        let SubscriptionOptions { retain_handling, .. } = subscription.options;
        let replays = match retain_handling {
            RetainHandling::Always => true,
            RetainHandling::IfNew => !known,
            RetainHandling::Never => false,
        };
        let is_shared = shared_filter(filter).is_some();
        let replays = replays && !is_shared; // 5.0 s3.8.4
        let many_replays = replays && session.rights.len() >= max;
        if done && no_room || !done && !no_room && !many_replays {
            self.fail("a Subscription too many or too few");
        }
        if !done {
            return;
        }
        session.subscriptions.insert(filter.to_owned(), subscription); // [MQTT-3.8.4-3]
        if is_shared {
            let version = session.version;
            self.groups.joined(filter, self.conns[&conn].session, version, subscription);
        }
        if replays {
            session.rights.push(Right {
                filter: filter.to_owned(),
                subscription,
                number: self.publications,
                conn,
                given: BTreeSet::new(),
                cancelled: false,
            });
        }
    }

    pub(crate) fn unsubscribed(&mut self, conn: usize, filter: &str, existed: bool) {
        self.note(&format!("conn {conn}: unsubscribes {filter}: {existed}"));
        let at = self.conns[&conn].session;
        self.groups.left(filter, at);
        let session = &mut self.sessions[at];
        if session.subscriptions.remove(filter).is_some() != existed {
            self.fail("a Subscription that was or was not there");
        }
        let gone = session.rights.iter_mut().filter(|right| right.filter == filter);
        gone.for_each(|right| right.cancelled = true);
    }

    pub(crate) fn acknowledged(&mut self, conn: usize, acknowledged: Acknowledged) {
        self.note(&format!("conn {conn}: says {acknowledged:?}"));
        let model = self.conns.get_mut(&conn).unwrap();
        let session = &mut self.sessions[model.session];
        if model.left || session.conn != Some(conn) {
            return;
        }
        let ended = match acknowledged {
            Acknowledged::PubAck(id) | Acknowledged::PubComp(id) => id,
            Acknowledged::PubRec(id, reason) => {
                if !reason.is_error() {
                    let open = session.exchanges.iter_mut().find(|open| open.id == id);
                    if let Some(open) = open {
                        open.released = true;
                    }
                    return;
                }
                id
            }
        };
        if let Some(open) = session.exchanges.iter().find(|open| open.id == ended) {
            self.groups.settled(model.session, open);
        }
        session.exchanges.retain(|open| open.id != ended);
        model.resend.retain(|(id, _)| *id != ended);
    }

    pub(crate) fn left(&mut self, conn: usize, ending: &Ending, growth: Counts, submitted: u64) {
        self.note(&format!("conn {conn}: leaves, {ending:?}"));
        let model = self.conns.get_mut(&conn).unwrap();
        model.left = true;
        let at = model.session;
        self.away(at);
        let session = &mut self.sessions[at];
        let client = session.client;
        session.conn = None;
        session.away_since = self.now;
        if let Ending::Farewell(farewell) = ending {
            if let Some(expiry) = farewell.expiry {
                session.change_expiry(expiry);
            }
            if farewell.will == WillFate::Discarded {
                session.will = None; // [MQTT-3.14.4-3]
            }
        }
        let ends = session.expiry == SessionExpiry::AtDisconnect;
        let due = session.will.as_ref().is_some_and(|will| ends || will.delay == 0);
        let will = if due { session.will.take() } else { None };
        if ends {
            session.end();
            self.groups.ended(at);
            self.living.remove(&client);
        }
        let wills = will.into_iter().map(|will| (client, will)).collect();
        self.publish_wills(wills, growth, 0, submitted);
    }

    /// The process ended, and this connection with it.
    pub(crate) fn killed(&mut self, conn: usize) {
        let model = self.conns.get_mut(&conn).unwrap();
        if std::mem::replace(&mut model.left, true) {
            return;
        }
        let at = model.session;
        self.note(&format!("conn {conn}: is killed"));
        self.away(at);
        let session = &mut self.sessions[at];
        session.conn = None;
        session.away_since = self.now;
    }

    /// Another process goes on. All Sessions are kept; their Wills wait until their clients had time
    /// to come back, and what was still to be replayed is forgotten.
    pub(crate) fn restarted(&mut self) {
        /// In microseconds.
        const PATIENCE: Micros = 60_000_000;
        self.note("restarts");
        for at in self.living.values() {
            let session = &mut self.sessions[*at];
            session.rights.iter_mut().for_each(|right| right.cancelled = true);
            let away = self.now - session.away_since;
            if let Some(will) = &mut session.will {
                will.delay = will.delay.max(away + PATIENCE);
            }
        }
    }

    pub(crate) fn superseded(&mut self, conn: usize) {
        self.note(&format!("conn {conn}: finds that it was taken over"));
        if self.conns.get(&conn).is_some_and(|model| !model.left) {
            self.fail("it was not");
        }
    }

    /// Wills whose delay has passed were published, and Sessions ended.
    pub(crate) fn schedule_ran(&mut self, growth: Counts, submitted: u64) {
        let mut wills = Vec::new();
        let mut ended = Vec::new();
        for (client, at) in &self.living {
            let session = &mut self.sessions[*at];
            if session.conn.is_some() {
                continue;
            }
            let away = self.now - session.away_since;
            let ends = match session.expiry {
                SessionExpiry::AtDisconnect => true,
                SessionExpiry::After(expiry) => expiry.as_micros() <= away.into(),
                SessionExpiry::Never => false,
            };
            if ends {
                ended.push(*client);
            }
            // [MQTT-3.1.2-8] [MQTT-3.1.3-9]
            if session.will.as_ref().is_some_and(|will| ends || will.delay <= away) {
                wills.extend(session.will.take().map(|will| (*client, will)));
            }
        }
        for client in &ended {
            self.note(&format!("the Session of c{client} ends"));
            if let Some(at) = self.living.remove(client) {
                self.sessions[at].end();
                self.groups.ended(at);
            }
        }
        let spare = if ended.is_empty() { 0 } else { ended.len() + self.groups.len() };
        self.publish_wills(wills, growth, spare, submitted);
    }

    pub(crate) fn replayed(&mut self, conn: usize, growth: Counts) {
        self.replay_refused += growth.queue_full;
        self.replay_too_large += growth.too_large;
        if growth.too_large > 0 {
            self.note(&format!("conn {conn}: {} were too large in a replay", growth.too_large));
        }
        let session = &mut self.sessions[self.conns[&conn].session];
        session.replays_refused += growth.queue_full;
    }

    /// Which Session a connection was given.
    pub(crate) fn session_of(&self, conn: usize) -> usize {
        self.conns[&conn].session
    }

    /// The client read a message and took it.
    pub(crate) fn received(&mut self, conn: usize, identity: &str, qos: QoS) {
        let session = &mut self.sessions[self.conns[&conn].session];
        *session.taken.entry((identity.to_owned(), qos)).or_default() += 1;
    }

    /// The client read a QoS 2 message and answers with an error.
    pub(crate) fn client_refuses(&mut self, conn: usize, identity: &str) {
        let session = &mut self.sessions[self.conns[&conn].session];
        session.given_up.insert(identity.to_owned());
    }
}

impl SessionModel {
    fn change_expiry(&mut self, expiry: SessionExpiry) {
        self.expiry = expiry;
        self.always_kept &= expiry != SessionExpiry::AtDisconnect;
    }

    /// A connection has the Session now.
    fn resume(&mut self, conn: usize, expiry: SessionExpiry, terms: &Terms) {
        let size_max = terms.maximum_packet_size;
        self.change_expiry(expiry);
        self.conn = Some(conn);
        self.size_min = self.size_min.min(size_max);
        for offer in self.offers.values_mut().flatten() {
            offer.size_max = offer.size_max.min(size_max);
        }
        for open in &mut self.exchanges {
            open.charged = None;
            if !open.released && open.size > size_max {
                // [MQTT-3.1.2-25]: of QoS 2 the identifier is still to be settled.
                open.released = true;
                self.given_up.insert(open.identity.clone());
            }
        }
        self.exchanges.retain(|open| !open.released || open.qos == QoS::ExactlyOnce);
    }
}

fn new_session(
    client: usize,
    version: ProtocolVersion,
    expiry: SessionExpiry,
    began: u64,
) -> SessionModel {
    SessionModel {
        client,
        version,
        expiry,
        always_kept: expiry != SessionExpiry::AtDisconnect,
        subscriptions: BTreeMap::new(),
        conn: None,
        away_since: 0,
        will: None,
        ended: false,
        offers: BTreeMap::new(),
        exchanges: Vec::new(),
        rights: Vec::new(),
        newest: BTreeMap::new(),
        begun: BTreeMap::new(),
        taken: BTreeMap::new(),
        given_up: BTreeSet::new(),
        perhaps_given_back: BTreeSet::new(),
        received: BTreeMap::new(),
        promised: 0,
        began,
        size_min: usize::MAX,
        replays_refused: 0,
        gave_way_max: 0,
        gave_way: Vec::new(),
        droppable: Vec::new(),
        indistinct: Vec::new(),
        perhaps_replayed: BTreeSet::new(),
        with_retain: BTreeMap::new(),
    }
}

/// Whether a change is what a CONNECT makes of this client's Session.
fn is_session_change(change: &Change, client: &str) -> bool {
    match change {
        Change::SessionBegun { client_id, .. }
        | Change::SessionEnded { client_id }
        | Change::SessionExpiryChanged { client_id, .. }
        | Change::WillKept { client_id, .. }
        | Change::WillDropped { client_id } => client_id.as_str() == client,
        _ => false,
    }
}

fn expiry_of(connect: &Connect<'_>) -> SessionExpiry {
    match (connect.version.is_v5(), connect.properties.session_expiry) {
        (true, 0) => SessionExpiry::AtDisconnect,
        (true, u32::MAX) => SessionExpiry::Never,
        (true, seconds) => SessionExpiry::After(Duration::from_secs(seconds.into())),
        (false, _) if connect.clean_start => SessionExpiry::AtDisconnect,
        (false, _) => SessionExpiry::Never,
    }
}

fn will_of(connect: &Connect<'_>) -> Option<WillModel> {
    let will = connect.will.as_ref()?;
    Some(WillModel {
        topic: will.topic.to_owned(),
        identity: identity(will.topic.as_bytes(), will.payload),
        payload_bytes: will.payload.len(),
        qos: will.qos,
        retain: will.retain,
        expiry: will.properties.message_expiry,
        delay: u64::from(will.properties.delay) * 1_000_000,
    })
}
