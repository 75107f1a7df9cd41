//! The Sessions of a store, put together from their records.

use ahash::AHashMap;

use super::super::clock::{Clock, StoreTime};
use super::super::engine::EngineError;
use super::super::fetch::complete;
use super::super::fold::{Body, Sent, Session, State};
use super::super::keys::{self, Direction, Family, SessionNumber};
use super::super::record::{
    self, DecodeError, OutgoingRecord, OutgoingStage, OwedRecord, Record, SessionRecord, skip_ahead,
};
use super::{Found, LoadReport, Loader};
use crate::change::{KeptInflight, KeptMessage, KeptSession, KeptStage, KeptWill, Subscription};
use crate::packet::PacketId;
use crate::topic::SubscriptionFilter;

#[derive(Default)]
pub(super) struct Builders(AHashMap<SessionNumber, Builder>);

/// A Session of which not all is known yet.
struct Builder {
    session: Session,
    subscriptions: Vec<(SubscriptionFilter, Subscription)>,
    queue: Vec<KeptMessage>,
    /// With the order in which they were sent first.
    inflight: Vec<(u64, KeptInflight)>,
    /// Positions of the queue whose message is inflight: under which identifier, and in which
    /// order.
    sent: AHashMap<u64, (u64, PacketId)>,
    received: Vec<PacketId>,
    will: Option<KeptWill>,
    next_position: u64,
}

impl Builder {
    fn new(record: SessionRecord) -> Self {
        Self {
            session: Session::new(record),
            subscriptions: Vec::new(),
            queue: Vec::new(),
            inflight: Vec::new(),
            sent: AHashMap::new(),
            received: Vec::new(),
            will: None,
            next_position: 0,
        }
    }

    /// The last message sent is the one with the highest order.
    fn saw(&mut self, order: u64, id: PacketId) {
        if order >= self.session.record.last_sent.0 {
            self.session.record.last_sent = (order, id.value());
        }
    }

    fn is_inflight(&mut self, order: u64, id: PacketId, body: Body) {
        self.session.inflight.insert(id, Sent { order, body });
    }
}

impl Builders {
    fn of(&mut self, key: &[u8]) -> Result<Option<&mut Builder>, DecodeError> {
        let (number, _) = keys::owner(key).ok_or(DecodeError::Key)?;
        Ok(self.0.get_mut(&SessionNumber(number)))
    }

    /// The Sessions, which from now on are the state's too.
    pub(super) fn finish(
        self,
        state: &mut State,
        gone: StoreTime,
        may_have_lost: bool,
        report: &mut LoadReport,
    ) -> Vec<KeptSession> {
        let clock = state.clock;
        let mut kept = Vec::with_capacity(self.0.len());
        for (number, builder) in self.0 {
            let Builder {
                mut session,
                next_position,
                subscriptions,
                queue,
                mut inflight,
                received,
                will,
                ..
            } = builder;
            inflight.sort_by_key(|(order, _)| *order);
            let inflight: Vec<_> = inflight.into_iter().map(|(_, inflight)| inflight).collect();
            report.sessions += 1;
            report.subscriptions += subscriptions.len();
            report.queued += queue.len();
            report.inflight += inflight.len() + received.len();
            report.wills += usize::from(will.is_some());
            session.has_will = will.is_some();
            let was_connected = session.record.away.is_none();
            let away = *session.record.away.get_or_insert(gone);
            let last = session.record.last_sent.1;
            kept.push(KeptSession {
                next_position,
                client_id: session.record.client_id.clone(),
                identity: session.record.identity.clone(),
                expiry: session.record.expiry,
                away_since: clock.instant(away),
                subscriptions,
                queue,
                inflight,
                received,
                will,
                last_packet_id: if may_have_lost { skip_ahead(last) } else { last },
            });
            state.restore(number, session, was_connected);
        }
        kept
    }
}

impl Loader<'_> {
    pub(super) fn sessions(&mut self) -> Result<(), EngineError> {
        self.each(Family::Sessions, |this, key, value| {
            let number = keys::number(key).ok_or(DecodeError::Key)?;
            this.numbers.sessions = this.numbers.sessions.max(number + 1);
            let Record::Session(record) = this.decode(Family::Sessions, key, value)? else {
                return Err(DecodeError::WrongKind);
            };
            this.builders.0.insert(SessionNumber(number), Builder::new(record));
            Ok(Found::Wanted)
        })
    }

    pub(super) fn inflight(&mut self) -> Result<(), EngineError> {
        let mut own = Vec::new();
        self.each(Family::Inflight, |this, key, value| {
            let (session, direction, id) = keys::inflight(key).ok_or(DecodeError::Key)?;
            this.numbers.sessions = this.numbers.sessions.max(session.0 + 1);
            let record = this.decode(Family::Inflight, key, value)?;
            let Some(builder) = this.builders.0.get_mut(&session) else {
                return Ok(Found::Orphan);
            };
            match (direction, record) {
                (Direction::Incoming, Record::Incoming) => builder.received.push(id),
                (Direction::Outgoing, Record::Outgoing(OutgoingRecord { order, stage })) => {
                    builder.saw(order, id);
                    match stage {
                        OutgoingStage::Queued(position) => {
                            builder.sent.insert(position, (order, id));
                            builder.is_inflight(order, id, Body::Queued(position));
                        }
                        OutgoingStage::Own(owed) => own.push((session, order, id, owed)),
                        OutgoingStage::Released { place } => {
                            builder.saw(place, id);
                            builder.is_inflight(order, id, Body::Released);
                            let stage = KeptStage::Released { place };
                            builder.inflight.push((order, KeptInflight { id, stage }));
                        }
                    }
                }
                _ => return Err(DecodeError::WrongKind),
            }
            Ok(Found::Wanted)
        })?;
        for (session, order, id, owed) in own {
            let refers = owed.shared();
            self.publish(session, order, id, owed, Body::Own(refers))?;
        }
        Ok(())
    }

    /// A message that was sent and not acknowledged.
    fn publish(
        &mut self,
        session: SessionNumber,
        order: u64,
        id: PacketId,
        owed: OwedRecord,
        body: Body,
    ) -> Result<(), EngineError> {
        let shared = owed.shared();
        let owed = complete(self.engine, owed, &self.clock, &mut self.shared)?;
        let Some(builder) = self.builders.0.get_mut(&session) else { return Ok(()) };
        match owed {
            Ok(owed) => {
                let stage = KeptStage::Published(owed);
                builder.inflight.push((order, KeptInflight { id, stage }));
                builder.is_inflight(order, id, body);
                if let Some(message) = shared {
                    // It was there a moment ago.
                    let _ = self.refer(message);
                }
                Ok(())
            }
            Err(why) => {
                let key = keys::Key::Outgoing(session, id).to_bytes();
                self.quarantine.take(Family::Inflight, &key, &[], &why);
                self.remove(Family::Inflight, key)
            }
        }
    }

    pub(super) fn queue(&mut self) -> Result<(), EngineError> {
        let mut sent = Vec::new();
        self.each(Family::Queue, |this, key, value| {
            let (number, position) = keys::position(key).ok_or(DecodeError::Key)?;
            let (bytes, shared) = record::decode_queued_head(key, value)?;
            let session = SessionNumber(number);
            let Some(builder) = this.builders.0.get_mut(&session) else {
                return Ok(Found::Orphan);
            };
            builder.next_position = position + 1;
            if let Some((order, id)) = builder.sent.remove(&position) {
                let owed = read_owed(key, value, &this.clock)?;
                sent.push((session, position, order, id, owed));
            } else {
                builder.queue.push(KeptMessage { position, bytes });
                if let Some(message) = shared {
                    builder.session.shared.insert(position, message);
                    this.refer(message)?;
                }
            }
            Ok(Found::Wanted)
        })?;
        for (session, position, order, id, owed) in sent {
            if let Some(message) = owed.shared()
                && let Some(builder) = self.builders.0.get_mut(&session)
            {
                builder.session.shared.insert(position, message);
            }
            self.publish(session, order, id, owed, Body::Queued(position))?;
        }
        self.forget_sent_without_message()
    }

    /// An exchange whose message is gone cannot go on.
    fn forget_sent_without_message(&mut self) -> Result<(), EngineError> {
        let mut lost = Vec::new();
        for (session, builder) in &mut self.builders.0 {
            for (_, (_, id)) in builder.sent.drain() {
                builder.session.inflight.remove(id);
                lost.push(keys::Key::Outgoing(*session, id).to_bytes());
            }
        }
        for key in lost {
            self.quarantine.take(Family::Inflight, &key, &[], &DecodeError::NoMessage);
            self.remove(Family::Inflight, key)?;
        }
        Ok(())
    }

    pub(super) fn subscriptions(&mut self) -> Result<(), EngineError> {
        self.each(Family::Subscriptions, |this, key, value| {
            let record = this.decode(Family::Subscriptions, key, value)?;
            let Some(builder) = this.builders.of(key)? else { return Ok(Found::Orphan) };
            let Record::Subscription(filter, subscription) = record else {
                return Err(DecodeError::WrongKind);
            };
            builder.subscriptions.push((filter, subscription));
            Ok(Found::Wanted)
        })
    }

    pub(super) fn wills(&mut self) -> Result<(), EngineError> {
        self.each(Family::Wills, |this, key, value| {
            let record = this.decode(Family::Wills, key, value)?;
            let Some(builder) = this.builders.of(key)? else { return Ok(Found::Orphan) };
            let Record::Will(will) = record else { return Err(DecodeError::WrongKind) };
            let record::WillRecord { message, expiry, delay, patience } = will;
            builder.will = Some(KeptWill { message, expiry, delay, patience });
            Ok(Found::Wanted)
        })
    }
}

fn read_owed(key: &[u8], value: &[u8], clock: &Clock) -> Result<OwedRecord, DecodeError> {
    match record::decode(Family::Queue, key, value, clock)? {
        Record::Queued(owed) => Ok(owed),
        _ => Err(DecodeError::WrongKind),
    }
}
