//! The Session State of the standard (3.1.1 and 5.0, 4.1): Subscriptions, what was not acknowledged
//! yet in either direction, and what waits to be sent.

use std::time::{Duration, Instant};

use super::deliver::Outgoing;
use super::effects::Effects;
use super::error::ProtocolError;
use super::inflight::{Entry, PubRecAnswer, Stage};
use super::memory;
use super::received::{Receipt, Received};
use super::replay::Replays;
use super::subscription_set::SubscriptionSet;
use super::will::Will;
use crate::change::{Change, Epoch, Keeps, Owed, Recorded, SessionExpiry};
use crate::packet::{ClientId, Identity, PacketId, QoS, ReasonCode};

/// One client's Session. It outlives its Network Connection by its Session Expiry Interval.
#[derive(Debug)]
pub struct Session {
    client_id: ClientId,
    identity: Identity,
    expiry: SessionExpiry,
    store: Keeps,
    /// The claim it is held under.
    epoch: Epoch,
    /// It ends with its connection, but the store has messages that it owes: until then it is kept.
    kept_to_its_end: bool,
    /// Packet Identifiers begin after this one.
    pub(super) last_packet_id: u16,
    /// In the queue. None is given twice, also after the queue was freed.
    pub(super) next_position: u64,
    pub(super) subscriptions: SubscriptionSet,
    /// Allocated at the first QoS 1 or 2 message towards the client, freed when it owes none.
    pub(super) outgoing: Option<Box<Outgoing>>,
    pub(super) received: Received,
    pub(super) replays: Replays,
    pub(super) will: Option<Box<Will>>,
    /// What the Session weighs beside messages on their way: itself, its Subscriptions, its Will.
    pub(super) lasting_bytes: usize,
}

/// What a Network Connection leaves behind.
#[derive(Debug)]
pub struct Parting {
    /// To be published at once.
    pub will: Option<Will>,
    pub lives: Lives,
}

/// How a Session goes on without its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lives {
    Ended,
    /// Then [`Session::away`] has to be asked again: for its Will, or because it ends.
    Until(Instant),
    Forever,
}

impl Session {
    /// A new Session without any state. `store` says whether a store wants its changes; they are
    /// reported only if the Session outlives its connection.
    pub fn new(
        client_id: ClientId,
        identity: Identity,
        expiry: SessionExpiry,
        store: Keeps,
        epoch: Epoch,
        effects: &mut Effects,
    ) -> Self {
        let lasting_bytes = memory::of_new_session(&client_id);
        let session = Self {
            client_id,
            identity,
            expiry,
            store,
            epoch,
            kept_to_its_end: false,
            last_packet_id: 0,
            next_position: 0,
            subscriptions: SubscriptionSet::default(),
            outgoing: None,
            received: Received::default(),
            replays: Replays::default(),
            will: None,
            lasting_bytes,
        };
        session.keep(effects, |client_id| {
            let identity = session.identity.clone();
            Change::SessionBegun { client_id, identity, expiry }
        });
        session
    }

    /// The same for one that a store has kept: all of its state follows.
    pub(super) fn kept(
        client_id: ClientId,
        identity: Identity,
        expiry: SessionExpiry,
        epoch: Epoch,
    ) -> Self {
        let store = Keeps::Changes;
        let unheard = &mut Effects::default();
        let session = Self::new(client_id, identity, expiry, store, epoch, unheard);
        // The store hears of the end of whatever it has.
        Self { kept_to_its_end: expiry == SessionExpiry::AtDisconnect, ..session }
    }

    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// Nobody else may continue it, end it or take it over.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    #[must_use]
    pub fn expiry(&self) -> SessionExpiry {
        self.expiry
    }

    /// The Client Identifier was claimed anew: changes are recorded under this claim from now on.
    pub fn claimed(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// A new Network Connection continues this Session [MQTT-3.1.2-5].
    pub fn resume(&mut self, expiry: SessionExpiry, effects: &mut Effects) {
        self.keep(effects, |client_id| Change::SessionResumed { client_id });
        self.change_expiry(expiry, effects);
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.inflight.reconnect();
            outgoing.queue.abandon_fetch();
        }
        self.abandon_replay_step();
        self.set_will(None, effects); // [MQTT-3.1.3-9]
    }

    /// CONNECT and DISCONNECT set it.
    pub fn change_expiry(&mut self, expiry: SessionExpiry, effects: &mut Effects) {
        if self.expiry == expiry {
            return;
        }
        // A store hears of a Session that stops being kept, too: then it forgets all of it. Not
        // while it alone has messages that are still to be sent.
        let stays = expiry == SessionExpiry::AtDisconnect && self.stored_messages() > 0;
        let told = if stays { SessionExpiry::After(Duration::ZERO) } else { expiry };
        self.keep(effects, |client_id| Change::SessionExpiryChanged { client_id, expiry: told });
        self.kept_to_its_end = stays;
        self.expiry = expiry;
    }

    /// Its Network Connection ended. A store is told since when, and has the queue from here on.
    pub fn disconnect(&mut self, since: Instant, effects: &mut Effects) {
        self.keep(effects, |client_id| Change::SessionAway { client_id, since });
        if self.is_kept()
            && let Some(outgoing) = &mut self.outgoing
        {
            outgoing.queue.unload();
            outgoing.queue.abandon_fetch();
        }
    }

    /// Stored with the Session [MQTT-3.1.2-7]; `None` removes it [MQTT-3.14.4-3].
    pub fn set_will(&mut self, will: Option<Will>, effects: &mut Effects) {
        if self.will.is_none() && will.is_none() {
            return;
        }
        self.lasting_bytes -= memory::of_will(self.will.as_deref());
        self.will = will.map(Box::new);
        self.lasting_bytes += memory::of_will(self.will.as_deref());
        match &self.will {
            Some(will) => {
                let Will { message, expiry, delay, patience } = (**will).clone();
                self.keep(effects, |client_id| Change::WillKept {
                    client_id,
                    message,
                    expiry,
                    delay,
                    patience,
                });
            }
            None => self.keep(effects, |client_id| Change::WillDropped { client_id }),
        }
    }

    /// The Will, to be published now.
    pub fn take_will(&mut self, effects: &mut Effects) -> Option<Will> {
        let will = self.will.take()?;
        self.lasting_bytes -= memory::of_will(Some(&will));
        self.keep(effects, |client_id| Change::WillDropped { client_id });
        Some(*will)
    }

    /// The client has been away since `since`, which may be `now`. Its Will goes out when its delay
    /// has passed or the Session ends [MQTT-3.1.2-8].
    pub fn away(&mut self, since: Instant, now: Instant, effects: &mut Effects) -> Parting {
        let away = now.saturating_duration_since(since);
        let left = match self.expiry {
            SessionExpiry::AtDisconnect => return self.end(effects),
            SessionExpiry::After(expiry) if expiry <= away => return self.end(effects),
            SessionExpiry::After(expiry) => Some(expiry.saturating_sub(away)),
            SessionExpiry::Never => None,
        };
        let due = self.will.as_ref().is_some_and(|will| will.delay <= away);
        let will = if due { self.take_will(effects) } else { None };
        let will_in = self.will.as_ref().map(|will| will.delay.saturating_sub(away));
        let next: Option<Duration> = match (left, will_in) {
            (Some(left), Some(will_in)) => Some(left.min(will_in)),
            (left, will_in) => left.or(will_in),
        };
        self.shrink();
        Parting { will, lives: next.map_or(Lives::Forever, |next| Lives::Until(now + next)) }
    }

    /// The Session is over; its Will goes out if it still has one.
    pub fn end(&mut self, effects: &mut Effects) -> Parting {
        let will = self.take_will(effects);
        self.keep(effects, |client_id| Change::SessionEnded { client_id });
        Parting { will, lives: Lives::Ended }
    }

    /// A QoS 2 PUBLISH came in.
    pub fn receive_publish(&mut self, id: PacketId, effects: &mut Effects) -> Receipt {
        let receipt = self.received.publish(id);
        if receipt == Receipt::New {
            self.keep(effects, |client_id| Change::Received { client_id, id });
        }
        receipt
    }

    /// Whether a QoS 2 PUBLISH of this Packet Identifier came in and waits for its PUBREL.
    #[must_use]
    pub fn has_received(&self, id: PacketId) -> bool {
        self.received.contains(id)
    }

    /// A PUBREL came in, or the PUBLISH was refused: the identifier may be used again
    /// [MQTT-4.3.3-11]. Whether it was known.
    pub fn release_publish(&mut self, id: PacketId, effects: &mut Effects) -> bool {
        let known = self.received.release(id);
        if known {
            self.keep(effects, |client_id| Change::Forgotten { client_id, id });
        }
        known
    }

    /// A PUBACK came in. Whether it ended something, so that something else may be sent.
    ///
    /// # Errors
    /// If the identifier belongs to a QoS 2 exchange.
    pub fn puback(&mut self, id: PacketId, effects: &mut Effects) -> Result<bool, ProtocolError> {
        let Some(outgoing) = &mut self.outgoing else { return Ok(false) };
        let ended = outgoing.inflight.acknowledge(id)?;
        Ok(self.settled_any(ended.as_ref(), effects))
    }

    /// A PUBREC came in.
    ///
    /// # Errors
    /// If the identifier belongs to a QoS 1 exchange.
    pub fn pubrec(
        &mut self,
        id: PacketId,
        reason: ReasonCode,
        effects: &mut Effects,
    ) -> Result<PubRecAnswer, ProtocolError> {
        let Some(outgoing) = &mut self.outgoing else {
            let unknown =
                if reason.is_error() { PubRecAnswer::Nothing } else { PubRecAnswer::UnknownId };
            return Ok(unknown);
        };
        let answer = outgoing.inflight.receive(id, reason)?;
        match answer {
            PubRecAnswer::Release => {
                self.keep(effects, |client_id| Change::Released { client_id, id });
            }
            // Also the end of a group's message [MQTT-4.8.2-6].
            PubRecAnswer::Nothing => {
                self.keep(effects, |client_id| Change::Completed { client_id, id });
            }
            PubRecAnswer::UnknownId => {}
        }
        Ok(answer)
    }

    /// A PUBCOMP came in. Whether it ended something.
    ///
    /// # Errors
    /// If no PUBREL was sent for the identifier.
    pub fn pubcomp(&mut self, id: PacketId, effects: &mut Effects) -> Result<bool, ProtocolError> {
        let Some(outgoing) = &mut self.outgoing else { return Ok(false) };
        let ended = outgoing.inflight.complete(id)?;
        Ok(self.settled_any(ended.as_ref(), effects))
    }

    fn settled_any(&self, ended: Option<&Entry>, effects: &mut Effects) -> bool {
        if let Some(ended) = ended {
            self.settled(ended, effects);
        }
        ended.is_some()
    }

    /// Reports that an exchange is over.
    pub(super) fn settled(&self, ended: &Entry, effects: &mut Effects) {
        let id = ended.id;
        self.keep(effects, |client_id| Change::Completed { client_id, id });
        match &ended.stage {
            Stage::Published(Owed { qos: QoS::AtLeastOnce, ticket, .. }) => {
                self.settled_ticket(ticket.as_ref(), effects);
            }
            Stage::Published(_) | Stage::Released { .. } => {}
        }
    }

    /// Reports a change that is not of this Session alone.
    pub(super) fn keep_for_all(&self, effects: &mut Effects, change: Option<Change>) {
        if self.store == Keeps::Changes {
            let change = change.map(|change| Recorded { epoch: self.epoch, change });
            effects.changes.extend(change);
        }
    }

    /// Whether a store keeps this Session: then it outlives the process.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        let lasts = self.expiry != SessionExpiry::AtDisconnect || self.kept_to_its_end;
        self.store == Keeps::Changes && lasts
    }

    /// Reports a change, if a store keeps this Session.
    pub(super) fn keep(&self, effects: &mut Effects, change: impl FnOnce(ClientId) -> Change) {
        if self.is_kept() {
            let change = change(self.client_id.clone());
            effects.changes.push(Recorded { epoch: self.epoch, change });
        }
    }
}
