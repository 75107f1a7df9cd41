//! QoS 1 and 2 messages on their way to the client, from PUBLISH to the last acknowledgement.
//!
//! ```text
//! QoS 1   Published --PUBACK--> gone
//! QoS 2   Published --PUBREC--> Released --PUBCOMP--> gone
//!                   |--PUBREC of 0x80 or above--> gone
//!                   `--too large to be sent again--> Released
//! ```
//!
//! Entries stand in the order in which they were first sent, which is the order of resending
//! [MQTT-4.6.0-1]; only those that were released before the last reconnect stand before the others,
//! in the order in which they were released [MQTT-4.6.0-4].
//! After a reconnect all of them are still to be resent: they are the tail of the row, counted by
//! `unsent`, and nothing new is sent before they are.

use std::collections::VecDeque;

use super::error::ProtocolError;
use super::packet_ids::PacketIds;
use crate::change::{KeptInflight, KeptStage, Owed, Ticket};
use crate::packet::{Delivery, PacketId, QoS, ReasonCode};

#[derive(Debug)]
pub(super) enum Stage {
    Published(Owed),
    /// Only the identifier is left to settle: a PUBREL is owed, the message no more. `place` is
    /// among all that were released, in their order.
    Released {
        place: u64,
    },
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: PacketId,
    pub(super) stage: Stage,
    /// Whether its PUBLISH took one of the Receive Maximum of this Network Connection.
    charged: bool,
    /// Whether it was sent on an earlier Network Connection, so that DUP is set [MQTT-3.3.1-1].
    dup: bool,
}

impl Entry {
    pub(super) fn delivery(&self, qos: QoS) -> Delivery {
        let (id, dup) = (self.id, self.dup);
        match qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
        }
    }
}

/// What a PUBREC asks for in return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PubRecAnswer {
    /// PUBREL, success.
    Release,
    /// PUBREL with 0x92: the identifier is unknown, and yet PUBREL has to follow [MQTT-4.3.3-4].
    UnknownId,
    /// Nothing: the client refused the message and the exchange is over.
    Nothing,
}

/// What is left of an exchange whose message was given up.
#[derive(Debug)]
pub(super) enum Abandoned {
    /// Nothing.
    Ended(Entry),
    /// A PUBREL is owed.
    Released(PacketId),
}

#[derive(Debug)]
pub(super) struct Inflight {
    entries: VecDeque<Entry>,
    /// How many at the end of `entries` were not sent again on this Network Connection yet.
    unsent: usize,
    /// How many count against the client's Receive Maximum [MQTT-3.3.4-9].
    charged: u16,
    /// Of the messages still held, as they are accounted.
    bytes: usize,
    released: usize,
    /// The place of the next that is released.
    next_place: u64,
    ids: PacketIds,
}

impl Inflight {
    /// Nothing is inflight. Packet Identifiers begin after `last_packet_id`.
    pub(super) const fn new(last_packet_id: u16) -> Self {
        Self {
            entries: VecDeque::new(),
            unsent: 0,
            charged: 0,
            bytes: 0,
            released: 0,
            next_place: 0,
            ids: PacketIds::new(last_packet_id),
        }
    }

    /// What a store gave back: all of it is to be sent again.
    pub(super) fn restored(kept: Vec<KeptInflight>, last_packet_id: u16) -> Self {
        let mut inflight =
            Self { ids: PacketIds::past(last_packet_id), ..Self::new(last_packet_id) };
        for KeptInflight { id, stage } in kept {
            let stage = match stage {
                KeptStage::Published(owed) => {
                    inflight.bytes += owed.message.bytes();
                    // The group it came through knows nothing of it any more.
                    Stage::Published(Owed { ticket: None, ..owed })
                }
                KeptStage::Released { place } => {
                    inflight.released += 1;
                    inflight.next_place = inflight.next_place.max(place.saturating_add(1));
                    Stage::Released { place }
                }
            };
            inflight.entries.push_back(Entry { id, stage, charged: false, dup: true });
        }
        inflight.reconnect();
        inflight
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many wait for PUBCOMP only.
    pub(super) fn released(&self) -> usize {
        self.released
    }

    /// Whether a Packet Identifier is left for one more.
    pub(super) fn has_free_id(&self) -> bool {
        self.entries.len() < usize::from(u16::MAX)
    }

    /// How many count against no Receive Maximum: they wait for the rest of an exchange that an
    /// earlier connection began.
    pub(super) fn uncharged(&self) -> usize {
        self.entries.len() - usize::from(self.charged)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many count against the client's Receive Maximum.
    pub(super) fn charged(&self) -> u16 {
        self.charged
    }

    /// A new Network Connection: all is to be sent again, none of it counts yet [MQTT-4.4.0-1].
    pub(super) fn reconnect(&mut self) {
        // A PUBREL behind a PUBLISH would wait until the Receive Maximum lets that one pass
        // [MQTT-3.3.4-10]. Those have the order of their first sending [MQTT-4.6.0-1], these that of
        // the PUBRECs [MQTT-4.6.0-4].
        self.entries.make_contiguous().sort_by_key(|entry| match entry.stage {
            Stage::Released { place } => (0, place),
            Stage::Published(_) => (1, 0),
        });
        self.unsent = self.entries.len();
        self.charged = 0;
        for entry in &mut self.entries {
            entry.charged = false;
            entry.dup = true;
        }
    }

    /// The next entry to send again, in the original order.
    pub(super) fn unsent(&self) -> Option<&Entry> {
        self.entries.get(self.entries.len().checked_sub(self.unsent)?)
    }

    /// The entry given by [`Self::unsent`] is sent now.
    pub(super) fn sent_again(&mut self) -> Option<&Entry> {
        let index = self.entries.len().checked_sub(self.unsent)?;
        let entry = self.entries.get_mut(index)?;
        self.unsent -= 1;
        if matches!(entry.stage, Stage::Published(_)) {
            entry.charged = true;
            self.charged += 1;
        }
        Some(entry)
    }

    /// The entry that was begun last.
    pub(super) fn last(&self) -> Option<&Entry> {
        self.entries.back()
    }

    /// Takes a new message in and gives it a Packet Identifier. `None` if all are in use.
    pub(super) fn begin(&mut self, owed: Owed) -> Option<PacketId> {
        let id = self.ids.next(self.entries.iter().map(|entry| entry.id))?;
        self.bytes += owed.message.bytes();
        self.charged += 1;
        self.entries.push_back(Entry {
            id,
            stage: Stage::Published(owed),
            charged: true,
            dup: false,
        });
        Some(id)
    }

    /// PUBACK. What it ended; an unknown identifier ends nothing.
    ///
    /// # Errors
    /// If the identifier belongs to a QoS 2 exchange.
    pub(super) fn acknowledge(&mut self, id: PacketId) -> Result<Option<Entry>, ProtocolError> {
        let Some(index) = self.position(id) else { return Ok(None) };
        match self.entries.get(index).map(|entry| &entry.stage) {
            Some(Stage::Published(owed)) if owed.qos == QoS::AtLeastOnce => Ok(self.remove(index)),
            Some(Stage::Published(_) | Stage::Released { .. }) | None => {
                Err(ProtocolError::WrongAcknowledgement { id, packet: "PUBACK" })
            }
        }
    }

    /// PUBREC [MQTT-4.3.3-4].
    ///
    /// # Errors
    /// If the identifier belongs to a QoS 1 exchange.
    pub(super) fn receive(
        &mut self,
        id: PacketId,
        reason: ReasonCode,
    ) -> Result<PubRecAnswer, ProtocolError> {
        let Some(index) = self.position(id) else {
            let unknown =
                if reason.is_error() { PubRecAnswer::Nothing } else { PubRecAnswer::UnknownId };
            return Ok(unknown);
        };
        let Some(entry) = self.entries.get_mut(index) else { return Ok(PubRecAnswer::UnknownId) };
        match &entry.stage {
            Stage::Published(owed) if owed.qos == QoS::AtLeastOnce => {
                return Err(ProtocolError::WrongAcknowledgement { id, packet: "PUBREC" });
            }
            Stage::Published(_) if reason.is_error() => {
                self.remove(index);
                return Ok(PubRecAnswer::Nothing);
            }
            Stage::Published(owed) => {
                self.bytes -= owed.message.bytes();
                entry.stage = Stage::Released { place: self.next_place };
                self.next_place += 1;
                self.released += 1;
            }
            // It keeps its place: a PUBREC that comes again is not a new one.
            Stage::Released { .. } => {}
        }
        Ok(PubRecAnswer::Release)
    }

    /// PUBCOMP. What it ended.
    ///
    /// # Errors
    /// If no PUBREL was sent for the identifier.
    pub(super) fn complete(&mut self, id: PacketId) -> Result<Option<Entry>, ProtocolError> {
        let Some(index) = self.position(id) else { return Ok(None) };
        match self.entries.get(index).map(|entry| &entry.stage) {
            Some(Stage::Released { .. }) => Ok(self.remove(index)),
            Some(Stage::Published(_)) | None => {
                Err(ProtocolError::WrongAcknowledgement { id, packet: "PUBCOMP" })
            }
        }
    }

    /// Gives up the message of the entry given by [`Self::unsent`]: it can no longer be sent.
    pub(super) fn abandon_unsent(&mut self) -> Option<Abandoned> {
        let index = self.entries.len().checked_sub(self.unsent)?;
        let entry = self.entries.get_mut(index)?;
        match &entry.stage {
            Stage::Published(owed) if owed.qos == QoS::ExactlyOnce => {
                // The client may have it already and wait for PUBREL: until then it would take any
                // other message under this identifier for the same one [MQTT-4.3.3-10].
                self.bytes -= owed.message.bytes();
                entry.stage = Stage::Released { place: self.next_place };
                self.next_place += 1;
                self.released += 1;
                Some(Abandoned::Released(entry.id))
            }
            Stage::Published(_) | Stage::Released { .. } => {
                self.remove(index).map(Abandoned::Ended)
            }
        }
    }

    /// Takes out the next message of QoS 1, from `from` on, that belongs to a group and that
    /// `wanted` picks; also where to go on looking.
    pub(super) fn take_shared(
        &mut self,
        from: usize,
        mut wanted: impl FnMut(&Ticket) -> bool,
    ) -> Option<(Entry, usize)> {
        let mut rest = self.entries.iter().enumerate().skip(from);
        let (index, _) = rest.find(|(_, entry)| match &entry.stage {
            Stage::Published(owed) => {
                owed.qos == QoS::AtLeastOnce && owed.ticket.as_ref().is_some_and(&mut wanted)
            }
            Stage::Released { .. } => false,
        })?;
        self.remove(index).map(|entry| (entry, index))
    }

    /// How many messages are still held.
    pub(super) fn published(&self) -> usize {
        self.entries.len() - self.released
    }

    fn position(&self, id: PacketId) -> Option<usize> {
        // Acknowledgements come in the order of sending, so this is nearly always the first.
        self.entries.iter().position(|entry| entry.id == id)
    }

    fn remove(&mut self, index: usize) -> Option<Entry> {
        if index + self.unsent >= self.entries.len() {
            self.unsent -= 1;
        }
        let entry = self.entries.remove(index)?;
        if entry.charged {
            self.charged -= 1;
        }
        match &entry.stage {
            Stage::Published(owed) => self.bytes -= owed.message.bytes(),
            Stage::Released { .. } => self.released -= 1,
        }
        Some(entry)
    }
}
