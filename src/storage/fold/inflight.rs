//! Messages on their way to a client: which record has the message, and in which order they were
//! sent.

use std::collections::hash_map::Entry;

use ahash::AHashMap;

use super::super::keys::{Key, MessageNumber, SessionNumber};
use super::super::record::{OutgoingRecord, OutgoingStage, Value, last_of};
use super::overlay::InStore;
use super::{Session, State};
use crate::change::Owed;
use crate::packet::PacketId;

/// Those of one Session.
#[derive(Debug, Default)]
pub(in super::super) struct Inflight {
    /// Most Sessions have none.
    sent: Option<Box<AHashMap<PacketId, Sent>>>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Sent {
    pub(in super::super) order: u64,
    pub(in super::super) body: Body,
}

/// Where its message is.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Body {
    Queued(u64),
    /// In its own record, or kept once for several.
    Own(Option<MessageNumber>),
    /// It has none any more.
    Released,
}

impl Inflight {
    /// What was there before.
    pub(in super::super) fn insert(&mut self, id: PacketId, sent: Sent) -> Option<Sent> {
        self.sent.get_or_insert_default().insert(id, sent)
    }

    pub(in super::super) fn remove(&mut self, id: PacketId) -> Option<Sent> {
        let sent = self.sent.as_mut()?;
        let removed = sent.remove(&id);
        if sent.is_empty() {
            self.sent = None;
        }
        removed
    }

    fn get_mut(&mut self, id: PacketId) -> Option<&mut Sent> {
        match self.sent.as_mut()?.entry(id) {
            Entry::Occupied(place) => Some(place.into_mut()),
            Entry::Vacant(_) => None,
        }
    }

    /// Messages that are kept once for several and that these refer to.
    pub(super) fn shared_messages(&self) -> Vec<MessageNumber> {
        let sent = self.sent.iter().flat_map(|sent| sent.values());
        sent.filter_map(|sent| match sent.body {
            Body::Own(message) => message,
            Body::Queued(_) | Body::Released => None,
        })
        .collect()
    }

    pub(super) fn share(&mut self, id: PacketId, message: MessageNumber) {
        if let Some(sent) = self.get_mut(id) {
            sent.body = Body::Own(Some(message));
        }
    }
}

impl Session {
    /// A place in the order of sending and of releasing.
    fn next_order(&mut self) -> u64 {
        self.record.last_sent.0 += 1;
        self.record.last_sent.0
    }
}

impl State {
    pub(super) fn send(
        &mut self,
        number: SessionNumber,
        position: Option<u64>,
        id: PacketId,
        owed: Owed,
    ) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        let order = session.next_order();
        session.record.last_sent.1 = last_of(Some(id));
        let body = position.map_or(Body::Own(None), Body::Queued);
        let before = session.inflight.insert(id, Sent { order, body });
        let stage = match position {
            Some(position) => OutgoingStage::Queued(position),
            None => OutgoingStage::Own((owed, None)),
        };
        let value = Value::Outgoing(OutgoingRecord { order, stage });
        let in_store = if before.is_some() { InStore::Yes } else { InStore::Never };
        self.overlay.put(Key::Outgoing(number, id), value, in_store);
        if let Some(before) = before {
            self.discard(number, before.body);
        }
    }

    pub(super) fn release(&mut self, number: SessionNumber, id: PacketId) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        let Some(sent) = session.inflight.get_mut(id) else {
            self.unknown += 1;
            return;
        };
        // It keeps its place: a PUBREC that comes again is not a new one.
        if matches!(sent.body, Body::Released) {
            return;
        }
        session.record.last_sent.0 += 1;
        let place = session.record.last_sent.0;
        let body = std::mem::replace(&mut sent.body, Body::Released);
        let record = OutgoingRecord { order: sent.order, stage: OutgoingStage::Released { place } };
        self.overlay.put(Key::Outgoing(number, id), Value::Outgoing(record), InStore::Yes);
        self.discard(number, body);
    }

    pub(super) fn complete(&mut self, number: SessionNumber, id: PacketId) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        let Some(sent) = session.inflight.remove(id) else {
            self.unknown += 1;
            return;
        };
        self.overlay.delete(Key::Outgoing(number, id), InStore::Yes);
        self.discard(number, sent.body);
    }

    /// A message is no longer needed for this Session.
    fn discard(&mut self, number: SessionNumber, body: Body) {
        match body {
            Body::Queued(position) => self.unqueue(number, position),
            Body::Own(Some(message)) => self.dereference(message),
            Body::Own(None) | Body::Released => {}
        }
    }
}
