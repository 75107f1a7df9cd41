//! A correct client: its half of the protocol, its own Session State, and its moods.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use dunlin::packet::{
    ConnAck, ConnAckCode, Connect, ConnectProperties, ConnectReturnCode, Delivery, Disconnect,
    FilterList, Framing, Packet, PacketId, ProtocolVersion, PubAck, PubComp, PubRec, PubRel,
    Publish, PublishProperties, QoS, ReasonCode, ReceiveMaximum, RetainHandling, Subscribe,
    SubscriptionId, SubscriptionOptions, TopicFilterList, Unsubscribe, UserProperties, Will,
    WillProperties, frame,
};

use crate::broker::{Broker, PACKET_BYTES_MAX};
use crate::oracle::{Oracle, identity, matches, shared_filter};
use crate::random::Random;

/// Some are so long that a Topic Alias is shorter.
const TOPICS: [&str; 12] =
    ["a", "a/b", "a/b/c", "b", "b/a", "c/a", "/a", "$d/a", "$d", "a/long", "b/long", "c/b/long"];

const FILTERS: [&str; 18] = [
    "a", "a/b", "a/b/c", "b", "b/a", "#", "+", "+/a", "a/+", "a/#", "+/b/#", "+/+/c", "b/#", "/+",
    "$d/#", "$d/+", "w/+", "w/#",
];

const SHARED_FILTERS: [&str; 4] = ["$share/g/a/#", "$share/g/+", "$share/h/#", "$share/h/b/a"];

/// Subscription Identifiers of the shared filters count from here on, so that a PUBLISH says to
/// whom a message belongs. Where there are none, a client has no other Subscription for the same
/// topics.
pub(crate) const SHARED_ID: u32 = 11;

const QUALITIES: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// More than this a client leaves unacknowledged never.
const OUTGOING_MAX: usize = 10;

/// And waits for no more answers to SUBSCRIBE and UNSUBSCRIBE. Together they leave identifiers
/// free.
const REQUESTS_MAX: usize = 20;
const IDS: u16 = 40;

/// How long a Session is to outlive its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lasting {
    /// It never ends before the simulation does.
    Always,
    Varied,
}

#[derive(Clone, Debug)]
struct Message {
    topic: String,
    payload: Vec<u8>,
    qos: QoS,
    retain: bool,
    expiry: Option<u32>,
}

#[derive(Debug)]
struct Outgoing {
    id: PacketId,
    message: Message,
    /// PUBREC came: PUBREL is what is left to say.
    released: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ack {
    One(PacketId),
    Rec(PacketId, ReasonCode),
    Rel(PacketId),
    Comp(PacketId),
}

#[derive(Debug)]
pub(crate) struct Client {
    index: usize,
    pub(crate) name: String,
    pub(crate) version: ProtocolVersion,
    pub(crate) conn: Option<usize>,
    /// CONNACK came.
    pub(crate) connected: bool,
    lasting: Lasting,
    receive_maximum: u16,
    maximum_packet_size: Option<u32>,
    /// How often it asks for Shared Subscriptions, in percent.
    shares: u64,
    /// The shared filter a client has that is sent no Subscription Identifiers.
    own_share: &'static str,
    topic_alias_maximum: u16,
    /// Topics the broker's Topic Aliases stand for.
    aliases: BTreeMap<u16, Vec<u8>>,
    /// And its own.
    own_aliases: BTreeMap<u16, String>,
    own_alias_maximum: u16,
    /// Acknowledges in any order, and refuses QoS 2 messages now and then.
    sloppy: bool,
    inbox: Vec<u8>,
    /// Its own state is thrown away; whatever Session there is has to go, too.
    must_clean: bool,
    asked_clean: bool,
    expires: bool,
    outgoing: Vec<Outgoing>,
    received: BTreeSet<PacketId>,
    /// The Session its own state belongs to.
    session: Option<usize>,
    acks: Vec<Ack>,
    requests: BTreeSet<PacketId>,
    next_id: u16,
    next_message: u64,
    server_receive_maximum: u16,
}

impl Ack {
    fn encode(self, version: ProtocolVersion, out: &mut Vec<u8>) {
        match self {
            Self::One(id) => PubAck::new(id, ReasonCode::Success).encode(version, out),
            Self::Rec(id, reason) => PubRec::new(id, reason).encode(version, out),
            Self::Rel(id) => PubRel::new(id, ReasonCode::Success).encode(version, out),
            Self::Comp(id) => PubComp::new(id, ReasonCode::Success).encode(version, out),
        }
    }

    fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

impl Client {
    pub(crate) fn draw(index: usize, lasting: Lasting, shares: u64, random: &mut Random) -> Self {
        let versions = [ProtocolVersion::V311, ProtocolVersion::V5, ProtocolVersion::V5];
        Self {
            index,
            name: format!("c{index}"),
            version: random.pick(&versions),
            conn: None,
            connected: false,
            lasting,
            receive_maximum: random.pick(&[1, 2, 5, u16::MAX]),
            maximum_packet_size: random.pick(&[None, None, Some(60), Some(200)]),
            shares,
            own_share: random.pick(&SHARED_FILTERS),
            topic_alias_maximum: random.pick(&[0, 1, 3, 10]),
            aliases: BTreeMap::new(),
            own_aliases: BTreeMap::new(),
            own_alias_maximum: 0,
            sloppy: random.chance(30),
            inbox: Vec::new(),
            must_clean: false,
            asked_clean: false,
            expires: false,
            outgoing: Vec::new(),
            received: BTreeSet::new(),
            session: None,
            acks: Vec::new(),
            requests: BTreeSet::new(),
            next_id: 0,
            next_message: 0,
            server_receive_maximum: u16::MAX,
        }
    }

    /// One that asks nothing of anybody.
    pub(crate) fn plain(index: usize, random: &mut Random) -> Self {
        Self {
            version: ProtocolVersion::V5,
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            sloppy: false,
            ..Self::draw(index, Lasting::Varied, 0, random)
        }
    }

    /// Opens a connection; one it still has is forgotten, which the broker may find out or not.
    pub(crate) fn connect(&mut self, broker: &mut Broker, random: &mut Random) {
        if let Some(conn) = self.conn {
            broker.conns[conn].pipe.cut(false);
        }
        let clean = self.must_clean || self.lasting == Lasting::Varied && random.chance(20);
        let expiry = match self.lasting {
            Lasting::Always => u32::MAX,
            Lasting::Varied => random.pick(&[0, 3, 30, 100_000, u32::MAX]),
        };
        let capacity = if random.chance(30) { 20 + random.index(400) } else { usize::MAX };
        let at_once = if random.chance(30) { 1 + random.index(50) } else { usize::MAX };
        if self.lasting == Lasting::Varied && random.chance(20) {
            self.maximum_packet_size = random.pick(&[None, Some(60), Some(200)]);
        }
        let will = random.chance(40).then(|| {
            let topic = format!("w/{}", self.index);
            self.draw_message(topic, random)
        });
        let delay = random.pick(&[0, 0, 2, 10]);
        let conn = broker.accept(self.index, capacity, at_once);
        self.open(broker, conn, clean, expiry, will.as_ref().map(|will| (will, delay)));
    }

    /// Comes back for what it is owed.
    pub(crate) fn come_back(&mut self, broker: &mut Broker) {
        let conn = broker.accept(self.index, usize::MAX, usize::MAX);
        let clean = self.must_clean;
        self.open(broker, conn, clean, u32::MAX, None);
    }

    /// Connects once more to end its Session.
    pub(crate) fn come_back_clean(&mut self, broker: &mut Broker) {
        let conn = broker.accept(self.index, usize::MAX, usize::MAX);
        self.open(broker, conn, true, 0, None);
    }

    fn open(
        &mut self,
        broker: &mut Broker,
        conn: usize,
        clean: bool,
        expiry: u32,
        will: Option<(&Message, u32)>,
    ) {
        self.forget_connection();
        if clean {
            self.must_clean = true;
            self.outgoing.clear();
            self.received.clear();
        }
        let is_v5 = self.version.is_v5();
        self.asked_clean = clean;
        self.expires = if is_v5 { expiry == 0 } else { clean };
        let properties = ConnectProperties {
            session_expiry: expiry,
            receive_maximum: ReceiveMaximum::new(self.receive_maximum),
            maximum_packet_size: self.maximum_packet_size.and_then(NonZeroU32::new),
            topic_alias_maximum: self.topic_alias_maximum,
            ..ConnectProperties::default()
        };
        let connect = Connect {
            version: self.version,
            clean_start: clean,
            keep_alive: 0,
            client_id: &self.name,
            will: will.map(|(message, delay)| Will {
                topic: &message.topic,
                payload: &message.payload,
                qos: message.qos,
                retain: message.retain,
                properties: WillProperties {
                    delay: if is_v5 { delay } else { 0 },
                    message_expiry: message.expiry,
                    ..WillProperties::default()
                },
            }),
            username: None,
            password: None,
            properties: if is_v5 { properties } else { ConnectProperties::default() },
        };
        let mut bytes = Vec::new();
        connect.encode(self.version, &mut bytes);
        broker.conns[conn].send(&bytes);
        self.conn = Some(conn);
    }

    /// What does not outlive a connection is gone.
    pub(crate) fn forget_connection(&mut self) {
        self.conn = None;
        self.connected = false;
        self.inbox.clear();
        self.acks.clear();
        self.requests.clear();
        self.aliases.clear();
        self.own_aliases.clear();
    }

    /// Says DISCONNECT in one way or another.
    pub(crate) fn disconnect(&mut self, broker: &mut Broker, random: &mut Random) {
        let mut disconnect = Disconnect::new(ReasonCode::Success);
        if self.version.is_v5() {
            if random.chance(30) {
                disconnect.reason = ReasonCode::DisconnectWithWillMessage;
            }
            if self.lasting == Lasting::Varied && !self.expires && random.chance(30) {
                disconnect.session_expiry = Some(random.pick(&[0, 2, u32::MAX]));
            }
        }
        self.say_goodbye(broker, &disconnect);
    }

    pub(crate) fn leave(&mut self, broker: &mut Broker) {
        self.say_goodbye(broker, &Disconnect::new(ReasonCode::Success));
    }

    fn say_goodbye(&mut self, broker: &mut Broker, disconnect: &Disconnect<'_>) {
        let mut bytes = Vec::new();
        disconnect.encode(self.version, &mut bytes);
        let Some(conn) = self.conn else { return };
        let conn = &mut broker.conns[conn];
        conn.send(&bytes);
        conn.pipe.cut(false);
        conn.end();
        self.forget_connection();
    }

    fn send(&self, broker: &mut Broker, encode: impl FnOnce(ProtocolVersion, &mut Vec<u8>)) {
        let Some(conn) = self.conn else { return };
        let mut bytes = Vec::new();
        encode(self.version, &mut bytes);
        broker.conns[conn].send(&bytes);
    }

    fn draw_message(&mut self, topic: String, random: &mut Random) -> Message {
        self.next_message += 1;
        let length = random.pick(&[0, 0, 10, 100, 300, 1_500]);
        let head = format!("{}-{}-{length};", self.name, self.next_message);
        let mut payload = head.into_bytes();
        payload.resize(payload.len() + length, b'.');
        Message {
            topic,
            payload,
            qos: random.pick(&QUALITIES),
            retain: random.chance(25),
            expiry: (self.version.is_v5() && random.chance(15))
                .then(|| random.pick(&[0, 1, 5, 1_000])),
        }
    }

    pub(crate) fn publish(&mut self, broker: &mut Broker, random: &mut Random) {
        let at = random.index(TOPICS.len());
        let mut message = self.draw_message(TOPICS[at].to_owned(), random);
        // Only one client clears a topic, for an empty payload does not tell whose it is.
        if message.retain && at % 3 == self.index % 3 && self.index < 3 && random.chance(30) {
            message.payload.clear();
            message.expiry = None;
        }
        let open_max = OUTGOING_MAX.min(self.server_receive_maximum.into());
        if message.qos > QoS::AtMostOnce {
            if self.outgoing.len() >= open_max {
                return;
            }
            let id = self.free_id();
            self.outgoing.push(Outgoing { id, message: message.clone(), released: false });
            self.send_publish(broker, &message, Some(id), false);
        } else {
            self.send_publish(broker, &message, None, false);
        }
    }

    /// Publishes some messages of QoS 0 that differ in nothing but their payloads.
    pub(crate) fn publish_run(&mut self, broker: &mut Broker, random: &mut Random) {
        let topic = random.pick(&TOPICS);
        let expiry = self.draw_message(topic.to_owned(), random).expiry;
        for _ in 0..2 + random.index(5) {
            let drawn = self.draw_message(topic.to_owned(), random);
            let message = Message { qos: QoS::AtMostOnce, retain: false, expiry, ..drawn };
            self.send_publish(broker, &message, None, false);
        }
    }

    fn send_publish(
        &mut self,
        broker: &mut Broker,
        message: &Message,
        id: Option<PacketId>,
        dup: bool,
    ) {
        let delivery = match (message.qos, id) {
            (QoS::AtLeastOnce, Some(id)) => Delivery::AtLeastOnce { id, dup },
            (QoS::ExactlyOnce, Some(id)) => Delivery::ExactlyOnce { id, dup },
            _ => Delivery::AtMostOnce,
        };
        let (topic, topic_alias) = self.name(&message.topic);
        let publish = Publish {
            delivery,
            retain: message.retain,
            topic: topic.as_bytes(),
            properties: PublishProperties {
                topic_alias,
                message_expiry: message.expiry,
                ..PublishProperties::default()
            },
            payload: &message.payload,
        };
        self.send(broker, |version, out| publish.encode(version, out));
    }

    /// How a PUBLISH names its topic: by a Topic Alias, if the broker takes any. Which one follows
    /// from the topic, so they take turns.
    fn name<'t>(&mut self, topic: &'t str) -> (&'t str, Option<u16>) {
        let turn = topic.len() as u64 + self.next_message;
        if self.own_alias_maximum == 0 || turn.is_multiple_of(3) {
            return (topic, None);
        }
        let alias = topic.len() as u16 % self.own_alias_maximum + 1;
        if self.own_aliases.insert(alias, topic.to_owned()).as_deref() == Some(topic) {
            return ("", Some(alias));
        }
        (topic, Some(alias))
    }

    fn free_id(&mut self) -> PacketId {
        loop {
            // A small ring, so that identifiers come back soon.
            self.next_id = self.next_id % IDS + 1;
            let id = PacketId::new(self.next_id).unwrap();
            let used = self.outgoing.iter().any(|outgoing| outgoing.id == id);
            if !used && !self.requests.contains(&id) {
                return id;
            }
        }
    }

    pub(crate) fn subscribe(&mut self, broker: &mut Broker, random: &mut Random) {
        if self.requests.len() >= REQUESTS_MAX {
            return;
        }
        let mut filters = FilterList::default();
        if random.chance(self.shares) {
            let mut options = SubscriptionOptions::new(random.pick(&QUALITIES[1..]));
            if random.chance(10) {
                options = SubscriptionOptions::new(QoS::AtMostOnce);
            }
            options.retain_as_published = self.version.is_v5() && random.chance(30);
            let filter = self.draw_shared_filter(random);
            let place = SHARED_FILTERS.iter().position(|shared| *shared == filter).unwrap();
            let id = SubscriptionId::new(SHARED_ID + place as u32);
            filters.push(filter, options);
            return self.send_subscribe(broker, &filters, id.filter(|_| self.version.is_v5()));
        }
        for _ in 0..=random.below(2) {
            let mut options = SubscriptionOptions::new(random.pick(&QUALITIES));
            if self.version.is_v5() {
                let handling =
                    [RetainHandling::Always, RetainHandling::IfNew, RetainHandling::Never];
                options.no_local = random.chance(20);
                options.retain_as_published = random.chance(30);
                options.retain_handling = random.pick(&handling);
            }
            filters.push(self.draw_filter(random), options);
        }
        let number = if self.version.is_v5() { random.below(6) } else { 0 };
        self.send_subscribe(broker, &filters, SubscriptionId::new(u32::try_from(number).unwrap()));
    }

    fn draw_shared_filter(&self, random: &mut Random) -> &'static str {
        if self.version.is_v5() { random.pick(&SHARED_FILTERS) } else { self.own_share }
    }

    fn draw_filter(&self, random: &mut Random) -> &'static str {
        let shared = shared_filter(self.own_share).unwrap();
        let wills = ["w/0", "w/1"];
        let mut all = TOPICS.iter().chain(&wills);
        let filter = random.pick(&FILTERS);
        let overlaps = all.any(|topic| matches(shared, topic) && matches(filter, topic));
        if self.version.is_v5() || self.shares == 0 || !overlaps { filter } else { "$d/#" }
    }

    pub(crate) fn subscribe_to_all(&mut self, broker: &mut Broker) {
        let mut filters = FilterList::default();
        for filter in ["#", "$d/#"] {
            filters.push(filter, SubscriptionOptions::new(QoS::ExactlyOnce));
        }
        self.send_subscribe(broker, &filters, None);
    }

    fn send_subscribe(
        &mut self,
        broker: &mut Broker,
        filters: &FilterList,
        subscription_id: Option<SubscriptionId>,
    ) {
        let id = self.free_id();
        self.requests.insert(id);
        let user_properties = UserProperties::default();
        let filters = filters.as_view();
        let subscribe = Subscribe { id, subscription_id, user_properties, filters };
        self.send(broker, |version, out| subscribe.encode(version, out));
    }

    pub(crate) fn unsubscribe(&mut self, broker: &mut Broker, random: &mut Random) {
        if self.requests.len() >= REQUESTS_MAX {
            return;
        }
        let mut filters = TopicFilterList::default();
        if random.chance(self.shares) {
            filters.push(self.draw_shared_filter(random));
        } else {
            filters.push(random.pick(&FILTERS));
        }
        let id = self.free_id();
        self.requests.insert(id);
        let user_properties = UserProperties::default();
        let unsubscribe = Unsubscribe { id, user_properties, filters: filters.as_view() };
        self.send(broker, |version, out| unsubscribe.encode(version, out));
    }

    pub(crate) fn ping(&mut self, broker: &mut Broker) {
        self.send(broker, |version, out| Packet::PingReq.encode(version, out));
    }

    pub(crate) fn has_acks(&self) -> bool {
        !self.acks.is_empty()
    }

    /// Sends one of the acknowledgements it owes: of its kind the oldest, unless it is sloppy.
    pub(crate) fn acknowledge(&mut self, broker: &mut Broker, random: &mut Random) {
        if !self.connected || self.acks.is_empty() {
            return;
        }
        let mut at = random.index(self.acks.len());
        if !self.sloppy {
            let chosen = self.acks[at];
            at = self.acks.iter().position(|ack| ack.is_like(chosen)).unwrap();
        }
        let ack = self.acks.remove(at);
        self.send(broker, |version, out| ack.encode(version, out));
    }

    pub(crate) fn acknowledge_all(&mut self, broker: &mut Broker) {
        for ack in std::mem::take(&mut self.acks) {
            self.send(broker, |version, out| ack.encode(version, out));
        }
    }

    /// Reads what arrived.
    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        broker: &mut Broker,
        random: &mut Random,
        oracle: &mut Oracle,
    ) {
        self.inbox.extend(bytes);
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = &inbox[..];
        while let Framing::Complete(frame) = frame(rest, PACKET_BYTES_MAX).unwrap() {
            rest = &rest[frame.length..];
            let packet = frame.decode(self.version).unwrap();
            match packet {
                Packet::ConnAck(ack) => self.heard_connack(&ack, broker, oracle),
                _ if !self.connected => oracle.fail(&format!("{packet:?} before CONNACK")),
                packet => self.heard(&packet, random, oracle),
            }
        }
        self.inbox = rest.to_vec();
    }

    fn heard_connack(&mut self, ack: &ConnAck<'_>, broker: &mut Broker, oracle: &Oracle) {
        let accepted =
            [ConnAckCode::V5(ReasonCode::Success), ConnAckCode::V3(ConnectReturnCode::Accepted)];
        assert!(accepted.contains(&ack.code) && !self.connected, "{ack:?}");
        assert!(!(self.asked_clean && ack.session_present), "a Session after Clean Start");
        self.connected = true;
        self.must_clean = false;
        if self.version.is_v5() {
            self.server_receive_maximum =
                ack.properties.receive_maximum.map_or(u16::MAX, ReceiveMaximum::value);
            self.own_alias_maximum = ack.properties.topic_alias_maximum;
        }
        // A CONNACK that said that no Session was present may have been lost, and the next one
        // finds the Session that began with it. The standard lets no client see that; this one is
        // told.
        let session = self.conn.map(|conn| oracle.session_of(conn));
        if !ack.session_present || self.session != session {
            self.outgoing.clear();
            self.received.clear();
        }
        self.session = session;
        // [MQTT-4.4.0-1]
        let outgoing = std::mem::take(&mut self.outgoing);
        for Outgoing { id, message, released } in &outgoing {
            if *released {
                let release = PubRel::new(*id, ReasonCode::Success);
                self.send(broker, |version, out| release.encode(version, out));
            } else {
                self.send_publish(broker, message, Some(*id), true);
            }
        }
        self.outgoing = outgoing;
    }

    fn heard(&mut self, packet: &Packet<'_>, random: &mut Random, oracle: &mut Oracle) {
        match packet {
            Packet::Publish(publish) => self.heard_publish(publish, random, oracle),
            Packet::PubAck(ack) => {
                let outgoing = self.outgoing.iter().find(|outgoing| outgoing.id == ack.id);
                if let Some(Outgoing { message, .. }) = outgoing.filter(|_| !ack.reason.is_error())
                {
                    oracle.confirmed(&message.topic, &message.payload);
                }
                self.ended(ack.id);
            }
            Packet::PubRec(ack) if ack.reason.is_error() => self.ended(ack.id),
            Packet::PubRec(ack) => {
                let outgoing = self.outgoing.iter_mut().find(|outgoing| outgoing.id == ack.id);
                let Some(outgoing) = outgoing else { panic!("{ack:?} for nothing") };
                assert_eq!(outgoing.message.qos, QoS::ExactlyOnce, "{ack:?}");
                oracle.confirmed(&outgoing.message.topic, &outgoing.message.payload);
                outgoing.released = true;
                self.acks.push(Ack::Rel(ack.id));
            }
            Packet::PubRel(ack) => {
                self.received.remove(&ack.id);
                self.acks.push(Ack::Comp(ack.id));
            }
            Packet::PubComp(ack) => self.ended(ack.id),
            Packet::SubAck(ack) => assert!(self.requests.remove(&ack.id), "{ack:?} for nothing"),
            Packet::UnsubAck(ack) => assert!(self.requests.remove(&ack.id), "{ack:?} for nothing"),
            Packet::PingResp => {}
            Packet::Disconnect(disconnect) => {
                let taken_over = disconnect.reason == ReasonCode::SessionTakenOver;
                assert!(taken_over, "the broker says {disconnect:?}");
            }
            other => panic!("the broker says {other:?}"),
        }
    }

    fn ended(&mut self, id: PacketId) {
        let before = self.outgoing.len();
        self.outgoing.retain(|outgoing| outgoing.id != id);
        assert_eq!(self.outgoing.len() + 1, before, "an acknowledgement of nothing: {id}");
    }

    fn heard_publish(&mut self, publish: &Publish<'_>, random: &mut Random, oracle: &mut Oracle) {
        let conn = self.conn.unwrap();
        let mut topic = publish.topic.to_vec();
        if let Some(alias) = publish.properties.topic_alias {
            if topic.is_empty() {
                topic.clone_from(&self.aliases[&alias]);
            } else {
                self.aliases.insert(alias, topic.clone());
            }
        }
        let identity = identity(&topic, publish.payload);
        match publish.delivery {
            Delivery::AtMostOnce => oracle.received(conn, &identity, QoS::AtMostOnce),
            Delivery::AtLeastOnce { id, .. } => {
                oracle.received(conn, &identity, QoS::AtLeastOnce);
                self.acks.push(Ack::One(id));
            }
            Delivery::ExactlyOnce { id, .. } => {
                let refuses = self.sloppy && self.version.is_v5() && random.chance(3);
                if refuses && !self.received.contains(&id) {
                    oracle.client_refuses(conn, &identity);
                    self.acks.push(Ack::Rec(id, ReasonCode::QuotaExceeded));
                    return;
                }
                if self.received.insert(id) {
                    oracle.received(conn, &identity, QoS::ExactlyOnce);
                }
                self.acks.push(Ack::Rec(id, ReasonCode::Success));
            }
        }
    }

    /// Whether everything it began has ended.
    pub(crate) fn is_done(&self) -> bool {
        let idle = self.acks.is_empty() && self.requests.is_empty() && self.outgoing.is_empty();
        idle && self.received.is_empty()
    }
}
