//! Sessions and clients to test with: short ways to make them, and owned views of what they send.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dunlin::change::{Epoch, Keeps, SessionExpiry, Subscription};
use dunlin::message::Message;
use dunlin::packet::{
    ClientId, Connect, ConnectProperties, Delivery, ForwardedProperties, Identity, PacketId,
    ProtocolVersion, QoS, SubscriptionId, SubscriptionOptions, UserName, Will, WillProperties,
};
use dunlin::session::{
    Accepted, DropReason, Effects, Features, Limits, Next, Offer, ProtocolError, QueueWhenFull,
    Room, Session, SubscriptionIds, Terms, Verdict, accept,
};
use dunlin::topic::{SubscriptionFilter, TopicName};

pub(crate) const V31: ProtocolVersion = ProtocolVersion::V31;
pub(crate) const V311: ProtocolVersion = ProtocolVersion::V311;
pub(crate) const V5: ProtocolVersion = ProtocolVersion::V5;

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn expiry(after: u64) -> SessionExpiry {
    SessionExpiry::After(seconds(after))
}

pub(crate) fn nonzero(value: u16) -> NonZeroU16 {
    NonZeroU16::new(value).unwrap()
}

pub(crate) fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

pub(crate) fn client_id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

pub(crate) fn topic(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

pub(crate) fn filter(text: &str) -> SubscriptionFilter {
    SubscriptionFilter::parse(text).unwrap()
}

/// Small enough to be reached, large enough not to be met by accident.
/// Nobody has any Topic Name already.
pub(crate) fn unheard_of(_: &[u8]) -> Option<TopicName> {
    None
}

pub(crate) fn limits() -> Limits {
    Limits {
        inflight_max: nonzero(64),
        receive_maximum: nonzero(4),
        queue_bytes_max: 1024 * 1024,
        queue_offline_messages_max: 1_000,
        queue_when_full: QueueWhenFull::RefuseNewest,
        expiry_max: expiry(86_400),
        expiry_v3: expiry(3_600),
        keep_alive_max: 600,
        client_id_bytes_max: 32,
        topic_bytes_max: 64,
        topic_levels_max: 5,
        topic_aliases_in_max: 4,
        topic_aliases_out_max: 3,
        subscriptions_max: 3,
        packet_bytes_max: 65_536,
        response_information: Some(topic("response/")),
    }
}

pub(crate) fn connect(version: ProtocolVersion) -> Connect<'static> {
    Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        client_id: "meter-7",
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

pub(crate) fn will(topic: &str) -> Will<'_> {
    Will {
        topic,
        payload: b"gone",
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: WillProperties::default(),
    }
}

pub(crate) fn accepted(connect: &Connect<'_>, limits: &Limits) -> Result<Accepted, ProtocolError> {
    accept(connect, limits, &Features::default(), || client_id("assigned-1"), Instant::now())
}

pub(crate) fn terms(receive_maximum: u16) -> Terms {
    Terms {
        version: V5,
        receive_maximum: nonzero(receive_maximum),
        maximum_packet_size: usize::MAX,
        topic_alias_maximum: 0,
    }
}

pub(crate) fn message(text: &str) -> Arc<Message> {
    message_until(text, None)
}

/// A message on topic `t` that expires at a moment.
pub(crate) fn message_until(text: &str, expires_at: Option<Instant>) -> Arc<Message> {
    Arc::new(Message {
        topic: topic("t"),
        payload: Bytes::copy_from_slice(text.as_bytes()),
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: ForwardedProperties::default(),
        expires_at,
    })
}

pub(crate) fn subscription(qos: QoS) -> Subscription {
    Subscription { options: SubscriptionOptions::new(qos), id: None }
}

/// A packet towards the client, on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Publish { delivery: Delivery, payload: String, expiry: Option<u32> },
    PubRel(PacketId),
}

impl Sent {
    pub(crate) fn id(&self) -> PacketId {
        match self {
            Self::Publish { delivery, .. } => delivery.packet_id().unwrap(),
            Self::PubRel(id) => *id,
        }
    }
}

pub(crate) fn at_least_once(value: u16, payload: &str) -> Sent {
    let delivery = Delivery::AtLeastOnce { id: id(value), dup: false };
    Sent::Publish { delivery, payload: payload.into(), expiry: None }
}

pub(crate) fn exactly_once(value: u16, payload: &str) -> Sent {
    let delivery = Delivery::ExactlyOnce { id: id(value), dup: false };
    Sent::Publish { delivery, payload: payload.into(), expiry: None }
}

/// The same packet as it is sent once more.
pub(crate) fn again(sent: &Sent) -> Sent {
    match sent {
        Sent::Publish { delivery, payload, expiry } => {
            let delivery = match *delivery {
                Delivery::AtMostOnce => Delivery::AtMostOnce,
                Delivery::AtLeastOnce { id, .. } => Delivery::AtLeastOnce { id, dup: true },
                Delivery::ExactlyOnce { id, .. } => Delivery::ExactlyOnce { id, dup: true },
            };
            Sent::Publish { delivery, payload: payload.clone(), expiry: *expiry }
        }
        Sent::PubRel(id) => Sent::PubRel(*id),
    }
}

/// A Session, what it asks for, and the limits and the clock it works with.
pub(crate) struct Desk {
    pub(crate) session: Session,
    pub(crate) effects: Effects,
    pub(crate) limits: Limits,
    pub(crate) now: Instant,
}

/// Whose the Session of a desk is.
pub(crate) fn owner() -> Identity {
    Identity::User(UserName::new("owner").unwrap())
}

impl Desk {
    /// A Session that outlives its connection, without a store.
    pub(crate) fn new() -> Self {
        Self::with(expiry(3_600), Keeps::Nothing)
    }

    pub(crate) fn with(expiry: SessionExpiry, keeps: Keeps) -> Self {
        let mut effects = Effects::default();
        let client_id = client_id("meter-7");
        let session = Session::new(client_id, owner(), expiry, keeps, Epoch(1), &mut effects);
        Self { session, effects, limits: limits(), now: Instant::now() }
    }

    pub(crate) fn offer_to(
        &mut self,
        message: &Arc<Message>,
        qos: QoS,
        terms: Option<&Terms>,
        room: Room,
    ) -> Verdict {
        let subscription_ids = SubscriptionIds::new();
        let offer = Offer {
            message,
            qos,
            retain: false,
            subscription_ids: &subscription_ids,
            ticket: None,
        };
        self.session.offer(offer, terms, room, &self.limits, &mut self.effects)
    }

    /// To a connected client with room.
    pub(crate) fn offer(&mut self, text: &str, qos: QoS, terms: &Terms) -> Verdict {
        self.offer_to(&message(text), qos, Some(terms), Room::Open)
    }

    /// To a connected client that takes nothing right now.
    pub(crate) fn offer_full(&mut self, text: &str, qos: QoS) -> Verdict {
        self.offer_to(&message(text), qos, Some(&terms(8)), Room::Full)
    }

    /// To a client that is away.
    pub(crate) fn offer_away(&mut self, text: &str, qos: QoS) -> Verdict {
        self.offer_to(&message(text), qos, None, Room::Away)
    }

    pub(crate) fn next(&mut self, terms: &Terms) -> Option<Sent> {
        let now = self.now;
        Some(match self.session.next(terms, now, &mut self.effects)? {
            Next::PubRel(id) => Sent::PubRel(id),
            Next::Publish { publish, message } => {
                assert_eq!(publish.payload, &message.payload[..]);
                assert_eq!(publish.topic, message.topic.as_str().as_bytes());
                Sent::Publish {
                    delivery: publish.delivery,
                    payload: String::from_utf8(message.payload.to_vec()).unwrap(),
                    expiry: publish.properties.message_expiry,
                }
            }
        })
    }

    /// All that may be sent.
    pub(crate) fn all(&mut self, terms: &Terms) -> Vec<Sent> {
        std::iter::from_fn(|| self.next(terms)).collect()
    }

    pub(crate) fn resume(&mut self) {
        let expiry = self.session.expiry();
        self.session.claimed(Epoch(2));
        self.session.resume(expiry, &mut self.effects);
    }

    pub(crate) fn puback(&mut self, value: u16) -> bool {
        self.session.puback(id(value), &mut self.effects).unwrap()
    }

    pub(crate) fn dropped(&mut self) -> Vec<(DropReason, u32)> {
        self.effects.take_dropped().collect()
    }
}

/// What is sent at once.
pub(crate) fn sent(delivery: Delivery) -> Verdict {
    Verdict::Send(delivery)
}

pub(crate) fn subscription_id(value: u32) -> SubscriptionId {
    SubscriptionId::new(value).unwrap()
}
