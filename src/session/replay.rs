//! Retained Messages that a Subscription asked for, sent in slices as the client reads.
//!
//! A slice is read from the retained tree without the Session's lock. What is delivered live to
//! this Session in between is remembered by topic, so that the older value read before it is
//! skipped: an older value of a topic never follows a newer one.

use std::collections::VecDeque;
use std::sync::Arc;

use super::connect::Terms;
use super::deliver::Offer;
use super::state::Session;
use crate::change::{Subscription, SubscriptionIds};
use crate::message::Message;
use crate::packet::QoS;
use crate::topic::{Cursor, TopicFilter, TopicName};

/// The Retained Messages still to be sent for one Subscription.
#[derive(Debug)]
pub struct Replay {
    filter: TopicFilter,
    subscription: Subscription,
    cursor: Option<Cursor>,
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    No,
    /// A slice is being read; these topics were delivered live meanwhile.
    Since {
        overtaken: Vec<TopicName>,
    },
}

/// What to read next from the retained tree.
#[derive(Debug)]
pub struct ReplayStep {
    pub filter: TopicFilter,
    pub cursor: Option<Cursor>,
    /// As many as can be sent at once: one that waited for the window could be overtaken by a newer
    /// value of QoS 0, which needs none.
    pub messages_max: usize,
}

impl Replay {
    pub(super) fn new(filter: TopicFilter, subscription: Subscription) -> Self {
        Self { filter, subscription, cursor: None, reading: Reading::No }
    }

    pub(super) fn filter(&self) -> &TopicFilter {
        &self.filter
    }
}

/// The replays of a Session, in their order. Nearly always none, so that they take one word.
#[derive(Debug, Default)]
pub(super) struct Replays {
    #[expect(clippy::box_collection, reason = "an idle Session holds one word instead of four")]
    list: Option<Box<VecDeque<Replay>>>,
}

impl Replays {
    pub(super) fn len(&self) -> usize {
        self.list.as_ref().map_or(0, |list| list.len())
    }

    fn front_mut(&mut self) -> Option<&mut Replay> {
        self.list.as_mut()?.front_mut()
    }

    pub(super) fn push_back(&mut self, replay: Replay) {
        self.list.get_or_insert_default().push_back(replay);
    }

    pub(super) fn retain(&mut self, wanted: impl FnMut(&Replay) -> bool) {
        if let Some(list) = &mut self.list {
            list.retain(wanted);
        }
        self.free();
    }

    fn pop_front(&mut self) {
        if let Some(list) = &mut self.list {
            list.pop_front();
        }
        self.free();
    }

    /// Frees what the last of many leaves: 5,000 Subscriptions made as fast as a client can leave
    /// room for as many, 72 bytes each, which nobody would use again.
    fn free(&mut self) {
        if self.len() == 0 {
            self.list = None;
        }
    }
}

impl Session {
    /// Whether Retained Messages are still to be sent.
    #[must_use]
    pub fn is_replaying(&self) -> bool {
        self.replays.len() > 0
    }

    /// Starts a slice, if there is one to send, nothing older waits in the queue and the window has
    /// room.
    pub fn begin_replay_step(&mut self, terms: &Terms) -> Option<ReplayStep> {
        if self.has_queued() {
            return None;
        }
        let window = self.window_left(terms);
        let replay = self.replays.front_mut()?;
        let messages_max = match replay.subscription.options.qos {
            QoS::AtMostOnce => usize::MAX,
            QoS::AtLeastOnce | QoS::ExactlyOnce => window,
        };
        if messages_max == 0 {
            return None;
        }
        replay.reading = Reading::Since { overtaken: Vec::new() };
        let (filter, cursor) = (replay.filter.clone(), replay.cursor.clone());
        Some(ReplayStep { filter, cursor, messages_max })
    }

    /// The connection that was reading a slice is gone: the next one reads it again.
    pub(super) fn abandon_replay_step(&mut self) {
        if let Some(replay) = self.replays.front_mut() {
            replay.reading = Reading::No;
        }
    }

    /// A message published with RETAIN is delivered live to this Session.
    pub fn note_live(&mut self, topic: &TopicName) {
        if let Some(Reading::Since { overtaken }) =
            self.replays.front_mut().map(|replay| &mut replay.reading)
        {
            overtaken.push(topic.clone());
        }
    }

    /// Ends a slice: gives each message that is still the newest to `deliver`, and remembers where
    /// to go on. A step that another connection's reconnect or an UNSUBSCRIBE made obsolete gives
    /// nothing.
    pub fn end_replay_step(
        &mut self,
        step: &ReplayStep,
        messages: &[Arc<Message>],
        next: Option<Cursor>,
        mut deliver: impl FnMut(&mut Self, Offer<'_>),
    ) {
        let Some(replay) = self.replays.front_mut().filter(|replay| replay.filter == step.filter)
        else {
            return;
        };
        let Reading::Since { overtaken } = std::mem::replace(&mut replay.reading, Reading::No)
        else {
            return;
        };
        let subscription = replay.subscription;
        let done = next.is_none();
        replay.cursor = next;
        let subscription_ids: SubscriptionIds = subscription.id.into_iter().collect();
        for message in messages {
            if overtaken.contains(&message.topic) {
                continue;
            }
            let offer = Offer {
                message,
                qos: message.qos.min(subscription.options.qos),
                retain: true, // 5.0 s3.8.3.1 [MQTT3-3.3.1-8]
                subscription_ids: &subscription_ids,
                ticket: None,
            };
            deliver(self, offer);
        }
        if done {
            self.replays.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Epoch, Keeps, SessionExpiry};
    use crate::packet::{ClientId, Identity, SubscriptionOptions};
    use crate::session::Effects;

    fn filter(number: usize) -> TopicFilter {
        TopicFilter::parse(&format!("a/{number}")).unwrap()
    }

    /// A Session that just subscribed to many filters.
    fn session() -> Session {
        let (client_id, identity) = (ClientId::new("c").unwrap(), Identity::Anonymous);
        let (expiry, epoch) = (SessionExpiry::AtDisconnect, Epoch::default());
        let effects = &mut Effects::default();
        let mut session = Session::new(client_id, identity, expiry, Keeps::Nothing, epoch, effects);
        let options = SubscriptionOptions::new(QoS::AtMostOnce);
        let subscription = Subscription { options, id: None };
        for number in 0..100 {
            session.replays.push_back(Replay::new(filter(number), subscription));
        }
        session
    }

    #[test]
    fn replays_that_are_done_leave_no_memory_behind() {
        let mut session = session();

        for number in 0..100 {
            let first = session.replays.front_mut().unwrap();
            first.reading = Reading::Since { overtaken: Vec::new() };
            let step =
                ReplayStep { filter: filter(number), cursor: None, messages_max: usize::MAX };
            session.end_replay_step(&step, &[], None, |_, _| {});
        }

        assert_eq!(session.replays.len(), 0);
        assert!(session.replays.list.is_none());
    }
}
