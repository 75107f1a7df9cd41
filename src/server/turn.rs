//! One packet of a connected client: decided by its Session, carried out by the router, answered.
//!
//! Answers are collected over a turn and appended at its end, after the messages were handed on:
//! nothing is acknowledged before what it promises was done.

use std::iter;

use smallvec::SmallVec;

use super::authentication::Authentication;
use crate::auth::{Authenticator, Rejected};
use crate::change::{CommitNumber, Subscription, Together};
use crate::message::{AsItCame, Payload, Publication};
use crate::packet::{
    AckRun, Auth, DecodeError, Delivery, FilterRequest, Frame, Packet, PacketId, PacketType,
    ProtocolVersion, PubAck, PubComp, PubRec, Publish, PublishRun, QoS, ReasonCode, ReasonCodes,
    SubAck, Subscribe, SubscriptionId, UnsubAck, Unsubscribe, UserProperties,
};
use crate::router::{
    Acknowledged, Attachment, COPIED_PACKET_MAX, Courier, Ending, Episode, Memory, Origin, Outcome,
    Router,
};
use crate::session::{Connection, Farewell, ProtocolError, Receipt, Refusal, Subscribed};
use crate::topic::SubscriptionFilter;

/// Why a connection ends.
#[derive(Debug)]
pub enum End {
    /// The client said DISCONNECT.
    Farewell(Farewell),
    /// The client did something wrong, or is silent.
    Protocol(ProtocolError),
    /// The client did not prove again to be who it is.
    Unproven(Rejected),
    /// The connection is closed or broken.
    Closed,
    /// Another connection has the Session now.
    Superseded,
    Shutdown,
}

impl End {
    /// What becomes of the Session, and the last packet its client gets.
    #[must_use]
    pub fn ending(&self, connection: &Connection) -> (Ending, Vec<u8>) {
        match self {
            Self::Farewell(farewell) => (Ending::Farewell(*farewell), Vec::new()),
            Self::Closed | Self::Superseded => (Ending::Lost, Vec::new()),
            Self::Protocol(error) => (Ending::Lost, connection.goodbye(error)),
            Self::Unproven(_) => {
                (Ending::Lost, connection.goodbye(&ProtocolError::AuthenticationFailed))
            }
            Self::Shutdown => (Ending::Shutdown, connection.goodbye(&ProtocolError::ShuttingDown)),
        }
    }

    /// A packet that cannot be decoded. A second CONNECT is what it is, whatever else is wrong with
    /// it [MQTT-3.1.0-2].
    #[must_use]
    pub fn undecodable(frame: &Frame<'_>, error: DecodeError) -> Self {
        match PacketType::from_first_byte(frame.first_byte) {
            Some(PacketType::Connect) => ProtocolError::SecondConnect.into(),
            Some(_) | None => error.into(),
        }
    }
}

impl From<ProtocolError> for End {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<Rejected> for End {
    fn from(rejected: Rejected) -> Self {
        Self::Unproven(rejected)
    }
}

impl From<DecodeError> for End {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error.into())
    }
}

/// What a connected client and its Session say to each other.
#[derive(Debug)]
pub struct Dialogue {
    pub attachment: Attachment,
    pub connection: Connection,
    /// Retained Messages are still to be sent.
    pub replaying: bool,
    /// Of a client whose CONNECT named an Authentication Method.
    pub authentication: Option<Box<Authentication>>,
    /// In which scarcity of memory a message of the client stayed in it.
    pub filled_in: Option<Episode>,
}

impl Dialogue {
    /// Whether a message that may stay in the memory is left in the client's input while memory is
    /// scarce: if an earlier one of it stayed. If nothing more may stay at all, a client that
    /// cannot be refused waits too, since it would take its acknowledgement for a promise.
    pub(super) fn must_wait(&self, episode: Episode, courier: &Courier) -> bool {
        let can_be_refused = self.connection.version.is_v5();
        self.filled_in == Some(episode) || (courier.is_memory_exhausted() && !can_be_refused)
    }
}

/// The answers of one turn, encoded.
#[derive(Debug)]
pub struct Answers {
    pub bytes: Vec<u8>,
    /// What they promise is kept under this number.
    pub commit: CommitNumber,
    /// Something was acknowledged, which the router answers by itself.
    pub acknowledged: bool,
}

/// How much was handled at once.
#[derive(Clone, Copy, Debug)]
pub struct Handled {
    pub packets: usize,
    pub bytes: usize,
}

impl Handled {
    fn one(frame: &Frame<'_>) -> Self {
        Self { packets: 1, bytes: frame.length }
    }
}

/// What a PUBLISH is answered with.
struct PublishAnswer {
    reason: ReasonCode,
    refusal: Option<Refusal>,
}

/// A dialogue and what its packets work with.
#[derive(Debug)]
pub struct Turn<'a> {
    pub dialogue: &'a mut Dialogue,
    pub router: &'a Router,
    pub authenticator: &'a Authenticator,
    pub courier: &'a mut Courier,
    pub answers: &'a mut Answers,
}

impl Turn<'_> {
    /// Handles a packet, and of what follows it in `input`, which begins with it, as much as differs
    /// in nothing but the payload of a publication or the identifier of an acknowledgement.
    ///
    /// # Errors
    /// The connection ends, after the answers.
    pub fn packet(
        &mut self,
        packet: &Packet<'_>,
        frame: &Frame<'_>,
        input: &[u8],
    ) -> Result<Handled, End> {
        if let Packet::Publish(publish) = packet {
            return self.publish(publish, frame, input);
        }
        // Each by itself took a lock and two looks at what the Session weighs.
        let run = AckRun::behind(frame, input);
        match packet {
            Packet::PubAck(ack) => {
                let ids = iter::once(ack.id).chain(run.ids());
                self.acknowledged(ids.map(Acknowledged::PubAck))?;
            }
            Packet::PubRec(ack) => {
                let others = run.ids().map(|id| Acknowledged::PubRec(id, ReasonCode::Success));
                let first = Acknowledged::PubRec(ack.id, ack.reason);
                self.acknowledged(iter::once(first).chain(others))?;
            }
            Packet::PubComp(ack) => {
                let ids = iter::once(ack.id).chain(run.ids());
                self.acknowledged(ids.map(Acknowledged::PubComp))?;
            }
            Packet::PubRel(release) => self.release(iter::once(release.id).chain(run.ids()))?,
            other => return self.other(other).map(|()| Handled::one(frame)),
        }
        Ok(Handled { packets: 1 + run.packets(), bytes: frame.length + run.bytes() })
    }

    fn other(&mut self, packet: &Packet<'_>) -> Result<(), End> {
        match packet {
            Packet::Publish(_)
            | Packet::PubAck(_)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_) => Ok(()),
            Packet::Subscribe(subscribe) => self.subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe),
            Packet::PingReq => {
                // An idle client: nothing it does not need is kept for it.
                self.router.shrink(self.courier, &self.dialogue.attachment);
                Packet::PingResp.encode(self.version(), &mut self.answers.bytes);
                Ok(())
            }
            Packet::Disconnect(disconnect) => {
                let limits = &self.router.limits().session;
                Err(End::Farewell(self.dialogue.connection.disconnect(disconnect, limits)?))
            }
            Packet::Connect(_) => Err(ProtocolError::SecondConnect.into()), // [MQTT-3.1.0-2]
            Packet::Auth(auth) => self.authenticate(auth),
            Packet::ConnAck(_) => Err(ProtocolError::FromServerOnly("CONNACK").into()),
            Packet::SubAck(_) => Err(ProtocolError::FromServerOnly("SUBACK").into()),
            Packet::UnsubAck(_) => Err(ProtocolError::FromServerOnly("UNSUBACK").into()),
            Packet::PingResp => Err(ProtocolError::FromServerOnly("PINGRESP").into()),
        }
    }

    fn version(&self) -> ProtocolVersion {
        self.dialogue.connection.version
    }

    fn authenticate(&mut self, auth: &Auth<'_>) -> Result<(), End> {
        let Some(authentication) = &mut self.dialogue.authentication else {
            return Err(ProtocolError::UnexpectedAuth.into()); // [MQTT-4.12.0-7]
        };
        let maximum = self.dialogue.connection.maximum_packet_size();
        authentication.again(self.authenticator, auth, maximum, &mut self.answers.bytes)
    }

    fn promise(&mut self, commit: CommitNumber) {
        self.answers.commit = self.answers.commit.max(commit);
    }

    fn publish(
        &mut self,
        publish: &Publish<'_>,
        frame: &Frame<'_>,
        input: &[u8],
    ) -> Result<Handled, End> {
        let limits = &self.router.limits().session;
        let connection = &mut self.dialogue.connection;
        let version = connection.version;
        let is_v5 = version.is_v5();
        if publish.delivery != Delivery::AtMostOnce && self.router.is_store_failing() {
            return self.publish_unkept(publish, frame);
        }
        let courier = &*self.courier;
        let inbound = connection.publish(publish, limits, |topic| courier.known_name(topic))?;
        // That it came, and who owes it: with only one of them it would be lost or routed twice.
        let exactly_once = publish.delivery.qos() == QoS::ExactlyOnce;
        let together = exactly_once.then(|| Together::begin(self.router.journal()));
        if let Delivery::ExactlyOnce { id, .. } = publish.delivery {
            let receipt = self.router.receive_publish(self.courier, &self.dialogue.attachment, id);
            let receipt = receipt.ok_or(End::Superseded)?;
            self.answers.commit = self.answers.commit.max(receipt.commit);
            if receipt.result == Receipt::Repeated {
                self.repeated(publish, id);
                return Ok(Handled::one(frame));
            }
        }
        let attachment = &self.dialogue.attachment;
        let origin = match publish.delivery {
            Delivery::AtLeastOnce { .. } | Delivery::ExactlyOnce { .. } if is_v5 => {
                Origin::Refusable(attachment)
            }
            Delivery::AtMostOnce | Delivery::AtLeastOnce { .. } | Delivery::ExactlyOnce { .. } => {
                Origin::Unrefusable(attachment)
            }
        };
        let mut handled = Handled::one(frame);
        let outcome = match inbound.refusal {
            Some(refusal) => {
                self.courier.count_publish(publish.payload.len());
                Err(refusal)
            }
            None => {
                let publication = Publication {
                    topic: inbound.topic,
                    payload: Payload::Borrowed(publish.payload),
                    qos: publish.delivery.qos(),
                    retain: publish.retain,
                    properties: publish.properties.forwarded,
                    expiry: publish.properties.message_expiry,
                    as_it_came: as_it_came(publish, version, input.get(..frame.length)),
                };
                // A packet longer than the limit is for whoever frames it [MQTT-3.2.2-15].
                let longest = COPIED_PACKET_MAX.min(limits.packet_bytes_max);
                let run = match self.courier.memory() {
                    Memory::Enough => PublishRun::find(frame, publish, input, longest),
                    // Each message by itself may be shed.
                    Memory::Scarce(_) | Memory::Exhausted(_) => None,
                };
                match run {
                    Some(run) => {
                        let run = self.router.publish_run(self.courier, &publication, &run, origin);
                        handled = Handled { packets: run.packets(), bytes: run.bytes().len() };
                        Ok(Outcome::default())
                    }
                    None => self.router.publish(self.courier, &publication, origin),
                }
            }
        };
        let answer = match outcome {
            Ok(outcome) => self.routed(&outcome),
            Err(refusal) => PublishAnswer::refused(refusal),
        };
        self.answer_publish(publish.delivery, &answer);
        drop(together);
        Ok(handled)
    }

    /// A QoS 2 PUBLISH that came before.
    fn repeated(&mut self, publish: &Publish<'_>, id: PacketId) {
        self.courier.count_publish(publish.payload.len());
        // The first one counts until its PUBREL; this one is settled [MQTT-4.3.3-10].
        self.dialogue.connection.settled_one();
        PubRec::new(id, ReasonCode::Success).encode(self.version(), &mut self.answers.bytes);
    }

    /// A PUBLISH of QoS 1 or 2 while the store cannot write: no acknowledgement would be kept. One
    /// that was taken before is no new promise.
    fn publish_unkept(&mut self, publish: &Publish<'_>, frame: &Frame<'_>) -> Result<Handled, End> {
        let limits = &self.router.limits().session;
        let courier = &*self.courier;
        self.dialogue.connection.publish(publish, limits, |topic| courier.known_name(topic))?;
        if let Delivery::ExactlyOnce { id, .. } = publish.delivery {
            let attachment = &self.dialogue.attachment;
            let known = self.router.has_received(self.courier, attachment, id);
            if known.ok_or(End::Superseded)? {
                let receipt = self.router.receive_publish(self.courier, attachment, id);
                self.promise(receipt.ok_or(End::Superseded)?.commit);
                self.repeated(publish, id);
                return Ok(Handled::one(frame));
            }
        }
        self.courier.count_publish(publish.payload.len());
        self.courier.counters().store_refusals.add(1);
        if !self.version().is_v5() {
            // It can only be left unacknowledged [MQTT3-3.3.5-2].
            return Err(ProtocolError::StoreFailing.into());
        }
        self.answer_publish(publish.delivery, &PublishAnswer::refused(Refusal::StoreFailing));
        Ok(Handled::one(frame))
    }

    fn routed(&mut self, outcome: &Outcome) -> PublishAnswer {
        self.promise(outcome.commit);
        if outcome.fills {
            self.dialogue.filled_in = self.courier.memory().episode();
        }
        if outcome.all_refused() {
            let refusal = match self.courier.memory() {
                _ if outcome.store_full => Refusal::StoreFull,
                Memory::Exhausted(_) => Refusal::MemoryFull,
                Memory::Enough | Memory::Scarce(_) => Refusal::QueuesFull,
            };
            PublishAnswer::refused(refusal)
        } else if outcome.takers == 0 {
            PublishAnswer::of(ReasonCode::NoMatchingSubscribers)
        } else {
            PublishAnswer::of(ReasonCode::Success)
        }
    }

    fn answer_publish(&mut self, delivery: Delivery, answer: &PublishAnswer) {
        if answer.refusal.is_some() {
            self.courier.counters().refusals.add(1);
        }
        let version = self.version();
        // Before 5.0 a PUBLISH cannot be refused, only acknowledged or not [MQTT3-3.3.5-2].
        let reason = if version.is_v5() { answer.reason } else { ReasonCode::Success };
        let text = self.reason_string(answer.refusal.as_ref(), 1);
        match delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { id, .. } => {
                self.dialogue.connection.settled_one();
                let ack = PubAck { reason_string: text.as_deref(), ..PubAck::new(id, reason) };
                ack.encode(version, &mut self.answers.bytes);
            }
            Delivery::ExactlyOnce { id, .. } => {
                if reason.is_error() {
                    // The exchange ends here and the identifier is free [MQTT-4.3.3-9].
                    self.dialogue.connection.settled_one();
                    self.forget(id);
                }
                let rec = PubRec { reason_string: text.as_deref(), ..PubRec::new(id, reason) };
                rec.encode(version, &mut self.answers.bytes);
            }
        }
    }

    fn forget(&mut self, id: PacketId) {
        let attachment = &self.dialogue.attachment;
        if let Some(forgotten) = self.router.release_publish(self.courier, attachment, id) {
            self.promise(forgotten.commit);
        }
    }

    fn count_refusal(&self, refusal: &Refusal) {
        let counters = self.courier.counters();
        counters.refusals.add(1);
        counters.store_refusals.add((*refusal == Refusal::StoreFailing).into());
    }

    fn reason_string(&self, refusal: Option<&Refusal>, codes: usize) -> Option<String> {
        refusal.and_then(|refusal| self.dialogue.connection.reason_string(refusal, codes))
    }

    fn release(&mut self, ids: impl Iterator<Item = PacketId>) -> Result<(), End> {
        let Dialogue { attachment, connection, .. } = &mut *self.dialogue;
        let bytes = &mut self.answers.bytes;
        let answer = |id, is_known| {
            let reason = if is_known {
                connection.settled_one();
                ReasonCode::Success
            } else {
                ReasonCode::PacketIdentifierNotFound
            };
            PubComp::new(id, reason).encode(connection.version, bytes);
        };
        let released = self.router.release_publishes(self.courier, attachment, ids, answer);
        self.promise(released.ok_or(End::Superseded)?.commit);
        Ok(())
    }

    fn acknowledged(
        &mut self,
        acknowledged: impl IntoIterator<Item = Acknowledged>,
    ) -> Result<(), End> {
        self.answers.acknowledged = true;
        self.router.acknowledge(self.courier, &self.dialogue.attachment, acknowledged)?;
        Ok(())
    }

    fn subscribe(&mut self, subscribe: &Subscribe<'_>) -> Result<(), End> {
        let mut codes: SmallVec<[ReasonCode; 8]> = SmallVec::new();
        let mut first_refusal = None;
        let connection = &self.dialogue.connection;
        connection.check_subscription_id(subscribe.subscription_id)?;
        connection.check_answer(subscribe.filters.clone().count())?;
        let limits = &self.router.limits().session;
        connection.check_filters(subscribe.filters.clone(), limits)?;
        let max = limits.subscriptions_max;
        for (index, request) in subscribe.filters.clone().enumerate() {
            let options = self.dialogue.connection.grant(request.options);
            let request = FilterRequest { options, ..request };
            // More than a client may have cannot stand, however often they repeat each other.
            let subscribed = if index < max {
                self.subscribe_one(&request, subscribe.subscription_id)?
            } else {
                Err(Refusal::TooManySubscriptions { max })
            };
            let code = match subscribed {
                Ok(()) => ReasonCode::granted(request.options.qos),
                Err(refusal) => {
                    self.count_refusal(&refusal);
                    let code = refusal.suback_code(self.version());
                    first_refusal.get_or_insert(refusal);
                    code
                }
            };
            codes.push(code);
        }
        let text = self.reason_string(first_refusal.as_ref(), codes.len());
        let suback = SubAck {
            id: subscribe.id,
            codes: ReasonCodes::from_slice(&codes), // [MQTT-3.8.4-6]
            reason_string: text.as_deref(),
            user_properties: UserProperties::default(),
        };
        suback.encode(self.version(), &mut self.answers.bytes);
        Ok(())
    }

    fn subscribe_one(
        &mut self,
        request: &FilterRequest<'_>,
        id: Option<SubscriptionId>,
    ) -> Result<Result<(), Refusal>, End> {
        let limits = &self.router.limits().session;
        let filter = match self.dialogue.connection.subscribe(request, limits)? {
            Ok(filter) => filter,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let subscription = Subscription { options: request.options, id };
        let attachment = &self.dialogue.attachment;
        let subscribed = self.router.subscribe(self.courier, attachment, &filter, subscription);
        let subscribed = subscribed.ok_or(End::Superseded)?;
        self.promise(subscribed.commit);
        Ok(subscribed.result.map(|subscribed| {
            self.dialogue.replaying |= subscribed == Subscribed::Replaying;
        }))
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe<'_>) -> Result<(), End> {
        self.dialogue.connection.check_answer(unsubscribe.filters.clone().count())?;
        let mut codes: SmallVec<[ReasonCode; 8]> = SmallVec::new();
        let mut first_refusal = None;
        for text in unsubscribe.filters.clone() {
            let removed = match SubscriptionFilter::parse(text) {
                Err(error) => Err(Refusal::TopicFilter(error)),
                Ok(filter) => {
                    let attachment = &self.dialogue.attachment;
                    let removed = self.router.unsubscribe(self.courier, attachment, &filter);
                    let removed = removed.ok_or(End::Superseded)?;
                    self.promise(removed.commit);
                    removed.result
                }
            };
            let code = match removed {
                Ok(true) => ReasonCode::Success,
                Ok(false) => ReasonCode::NoSubscriptionExisted,
                // An UNSUBACK before 5.0 has no code: it would say that all went well.
                Err(Refusal::StoreFailing) if !self.version().is_v5() => {
                    self.count_refusal(&Refusal::StoreFailing);
                    return Err(ProtocolError::StoreFailing.into());
                }
                Err(refusal) => {
                    self.count_refusal(&refusal);
                    let code = refusal.unsuback_code();
                    first_refusal.get_or_insert(refusal);
                    code
                }
            };
            codes.push(code);
        }
        let text = self.reason_string(first_refusal.as_ref(), codes.len());
        let unsuback = UnsubAck {
            id: unsubscribe.id,
            codes: ReasonCodes::from_slice(&codes),
            reason_string: text.as_deref(),
            user_properties: UserProperties::default(),
        };
        unsuback.encode(self.version(), &mut self.answers.bytes);
        Ok(())
    }
}

impl PublishAnswer {
    fn of(reason: ReasonCode) -> Self {
        Self { reason, refusal: None }
    }

    fn refused(refusal: Refusal) -> Self {
        Self { reason: refusal.reason(), refusal: Some(refusal) }
    }
}

/// The packet itself, if it may be handed on as it is.
fn as_it_came<'a>(
    publish: &Publish<'_>,
    version: ProtocolVersion,
    packet: Option<&'a [u8]>,
) -> Option<AsItCame<'a>> {
    let plain = publish.delivery == Delivery::AtMostOnce
        && !publish.retain
        && publish.properties.topic_alias.is_none();
    packet.filter(|_| plain).map(|packet| AsItCame { version, packet })
}
