//! A message that several Sessions of one commit group are owed is written once.

use std::sync::Arc;

use ahash::AHashMap;

use super::super::keys::{Key, MessageNumber};
use super::super::record::{OutgoingStage, Value};
use super::State;
use super::overlay::InStore;
use crate::change::Owed;
use crate::message::Message;

/// Topic, payload and properties below this are copied to each taker: a record of its own and the
/// references to it cost as much.
const SHARED_BYTES_MIN: usize = 128;

impl State {
    /// Looks for messages that several takers of this group are owed.
    pub(super) fn share(&mut self) {
        let mut takers: AHashMap<*const Message, Takers> = AHashMap::new();
        for (_, value) in self.overlay.values_mut() {
            if let Some((owed, None)) = owed_in(value)
                && own_bytes(&owed.message) >= SHARED_BYTES_MIN
            {
                takers.entry(Arc::as_ptr(&owed.message)).or_default().count += 1;
            }
        }
        takers.retain(|_, takers| takers.count > 1);
        if takers.is_empty() {
            return;
        }
        let next = &mut self.numbers.messages;
        for (key, value) in self.overlay.values_mut() {
            let Some((owed, number @ None)) = owed_in(value) else { continue };
            let Some(takers) = takers.get_mut(&Arc::as_ptr(&owed.message)) else { continue };
            let (message, _) = takers.message.get_or_insert_with(|| {
                *next += 1;
                (MessageNumber(*next - 1), Arc::clone(&owed.message))
            });
            let message = *message;
            *number = Some(message);
            *self.references.entry(message).or_default() += 1;
            if let Key::Queued(session, position) = key
                && let Some(session) = self.sessions.get_mut(session)
            {
                session.shared.insert(*position, message);
            } else if let Key::Outgoing(session, id) = key
                && let Some(session) = self.sessions.get_mut(session)
            {
                session.inflight.share(*id, message);
            }
        }
        for (number, message) in takers.into_values().filter_map(|takers| takers.message) {
            self.overlay.put(Key::Message(number), Value::Message(message), InStore::Never);
        }
        self.reserve();
    }

    /// One taker less.
    pub(super) fn dereference(&mut self, message: MessageNumber) {
        let Some(count) = self.references.get_mut(&message) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.references.remove(&message);
            self.overlay.delete(Key::Message(message), InStore::Yes);
        }
    }
}

#[derive(Default)]
struct Takers {
    count: u32,
    message: Option<(MessageNumber, Arc<Message>)>,
}

/// What is owed in this value, if it may be shared.
fn owed_in(value: &mut Value) -> Option<(&Owed, &mut Option<MessageNumber>)> {
    match value {
        Value::Queued(owed, number) => Some((owed, number)),
        Value::Outgoing(record) => match &mut record.stage {
            OutgoingStage::Own((owed, number)) => Some((owed, number)),
            OutgoingStage::Queued(_) | OutgoingStage::Released { .. } => None,
        },
        Value::Clock(_)
        | Value::Numbers(_)
        | Value::Run(_)
        | Value::Session(_)
        | Value::Subscription(..)
        | Value::Incoming
        | Value::Will(_)
        | Value::Retained(_)
        | Value::Group(_)
        | Value::GroupQueued(..)
        | Value::Message(_) => None,
    }
}

fn own_bytes(message: &Message) -> usize {
    message.topic.as_str().len() + message.payload.len() + message.properties.len()
}
