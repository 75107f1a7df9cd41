//! Retained Messages: kept by topic, replayed to new Subscriptions in slices.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::Router;
use super::courier::Courier;
use super::publish::{Origin, room};
use super::slot::Attachment;
use super::sys::{SYS, SysRetained};
use super::vital::Vital;
use crate::change::{Change, CommitNumber, Epoch, Keeps, Recorded};
use crate::message::{Message, Remaining};
use crate::session::{Refusal, Room};
use crate::topic::{Cursor, RetainedTree, TopicName};

/// Retained Messages in one slice of a replay.
const SLICE_MESSAGES: usize = 256;

/// Nodes of the tree one slice looks at, so that a filter that matches nothing holds nobody up.
const SLICE_STEPS: usize = 4_096;

/// Slices in a row that find nothing. With one in a turn, who made 5,000 Subscriptions was 5,000
/// turns behind, each with an attempt to read, and held 72 bytes for each until then.
const EMPTY_SLICES_MAX: usize = 16;

/// Names one sweep for expired messages looks at.
const SWEEP_STEPS: usize = 4_096;

/// Bytes after which a slice ends early, as messages are accounted.
const SLICE_BYTES: usize = 128 * 1024;

/// What is retained at most; `bytes_max` counts messages as they are accounted.
#[derive(Clone, Copy, Debug)]
pub struct RetainedLimits {
    pub messages_max: usize,
    pub bytes_max: u64,
}

/// The retained tree and what it weighs.
#[derive(Debug, Default)]
pub(super) struct Retained {
    tree: RwLock<Weighed>,
    /// Where the next sweep for expired messages begins. Taken last, by the sweep alone.
    swept: Mutex<Option<Cursor>>,
    /// What the server says of itself. Never taken together with `tree`.
    pub(super) sys: SysRetained,
}

#[derive(Debug, Default)]
struct Weighed {
    messages: RetainedTree<Arc<Message>>,
    bytes: u64,
    /// How many have a Message Expiry Interval.
    expiring: usize,
}

impl Weighed {
    fn insert(&mut self, message: &Arc<Message>) -> Option<Arc<Message>> {
        self.bytes += message.bytes() as u64;
        self.expiring += usize::from(message.expires_at.is_some());
        let old = self.messages.insert(message.topic.clone(), Arc::clone(message));
        self.forget(old.as_ref());
        old
    }

    fn remove(&mut self, topic: &TopicName) -> Option<Arc<Message>> {
        let old = self.messages.remove(topic);
        self.forget(old.as_ref());
        old
    }

    fn forget(&mut self, old: Option<&Arc<Message>>) {
        if let Some(old) = old {
            self.bytes -= old.bytes() as u64;
            self.expiring -= usize::from(old.expires_at.is_some());
        }
    }

    fn grows_by(&self, message: &Message) -> bool {
        self.messages.get(&message.topic).is_none_or(|old| old.bytes() < message.bytes())
    }

    fn has_room(&self, message: &Message, limits: RetainedLimits) -> bool {
        let old = self.messages.get(&message.topic);
        let bytes = self.bytes + message.bytes() as u64;
        let bytes = bytes - old.map_or(0, |old| old.bytes() as u64);
        let count = self.messages.len() + usize::from(old.is_none());
        count <= limits.messages_max && bytes <= limits.bytes_max
    }
}

/// A message that became its topic's Retained Message, or was to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    /// What an acknowledgement has to wait for.
    pub(super) commit: CommitNumber,
    /// The tree holds more than before.
    pub(super) grew: bool,
}

fn removal(old: &Message) -> Change {
    Change::RetainedRemoved { topic: old.topic.clone() }
}

/// How a replay goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// More can be sent at once, when the others had their turn.
    More,
    /// When the outbound buffer has drained, or the client acknowledged something.
    Wait,
    Done,
}

impl Router {
    /// Keeps a message as its topic's Retained Message, or removes that one if it is empty.
    ///
    /// # Errors
    /// At the limits, to a publisher that can be refused.
    pub(super) fn retain(
        &self,
        courier: &mut Courier,
        message: &Arc<Message>,
        origin: Origin<'_>,
    ) -> Result<Kept, Refusal> {
        if let Origin::Server = origin {
            self.retained.sys.insert(message);
            return Ok(Kept::default());
        }
        let mut tree = Vital(self.retained.tree.write());
        if message.payload.is_empty() {
            // [MQTT-3.3.1-6] [MQTT-3.3.1-7]
            let old = tree.remove(&message.topic);
            self.weigh(&tree);
            let removed = old.as_ref().map(|old| removal(old));
            let commit = self.journal_retained(courier, removed);
            drop(tree); // Before `old`, which may be large, is freed.
            return Ok(Kept { commit, grew: false });
        }
        let grew = tree.grows_by(message);
        let refusal = if !tree.has_room(message, self.limits.retained) {
            Some(Refusal::RetainedFull)
        } else if grew && self.journal.is_full() {
            Some(Refusal::StoreFull)
        } else {
            (grew && courier.is_memory_exhausted()).then_some(Refusal::MemoryFull)
        };
        if let Some(refusal) = refusal {
            courier.counters.retained_refused.add(1);
            return match origin {
                Origin::Refusable(_) => Err(refusal),
                Origin::Unrefusable(_) | Origin::Will(_) | Origin::Server => Ok(Kept::default()),
            };
        }
        let old = tree.insert(message); // [MQTT-3.3.1-5]
        self.weigh(&tree);
        let kept = Change::Retained { message: Arc::clone(message) };
        let commit = self.journal_retained(courier, Some(kept));
        drop(tree);
        drop(old);
        Ok(Kept { commit, grew })
    }

    /// Puts back what a store has kept, also beyond limits that were higher then.
    pub(super) fn restore_retained(&self, messages: &[Arc<Message>]) {
        let mut tree = Vital(self.retained.tree.write());
        for message in messages {
            tree.insert(message);
        }
        self.weigh(&tree);
    }

    /// Discards Retained Messages whose Message Expiry Interval has passed (5.0 s3.3.1.3), a part
    /// of the tree at each call.
    pub(super) fn sweep_retained(&self, courier: &mut Courier) {
        let now = courier.instant();
        let mut expired = Vec::new();
        {
            let tree = Vital(self.retained.tree.read());
            if tree.expiring == 0 {
                return;
            }
            let mut swept = self.retained.swept.lock();
            *swept = tree.messages.walk(swept.as_ref(), SWEEP_STEPS, |topic, message| {
                if message.remaining(now) == Remaining::Expired {
                    expired.push(topic.clone());
                }
            });
        }
        for topic in expired {
            let mut tree = Vital(self.retained.tree.write());
            // It may have been replaced meanwhile.
            let is_expired = |message: &Arc<Message>| message.remaining(now) == Remaining::Expired;
            if tree.messages.get(&topic).is_some_and(is_expired)
                && let Some(old) = tree.remove(&topic)
            {
                self.weigh(&tree);
                self.journal_retained(courier, Some(removal(&old)));
            }
        }
    }

    fn weigh(&self, tree: &Weighed) {
        self.metrics.retained_messages.set(tree.messages.len() as u64);
        self.metrics.retained_bytes.set(tree.bytes);
    }

    fn journal_retained(&self, courier: &mut Courier, change: Option<Change>) -> CommitNumber {
        if self.journal.keeps() == Keeps::Nothing {
            return CommitNumber::NONE;
        }
        let recorded = change.map(|change| Recorded { epoch: Epoch::default(), change });
        courier.effects.changes.extend(recorded);
        self.journal_changes(courier)
    }

    /// Sends the next slice of the Retained Messages this connection waits for.
    pub fn replay(&self, courier: &mut Courier, attachment: &Attachment) -> Step {
        for _ in 1..EMPTY_SLICES_MAX {
            let (step, messages) = self.replay_slice(courier, attachment);
            if step != Step::More || messages > 0 {
                return step;
            }
        }
        self.replay_slice(courier, attachment).0
    }

    /// How to go on, and how many messages it was.
    fn replay_slice(&self, courier: &mut Courier, attachment: &Attachment) -> (Step, usize) {
        let now = courier.instant();
        let Some(step) = self.with_session(courier, attachment, |session, link, _| {
            if room(Some(link), self.limits.outbound.soft_bytes_max / 2) == Room::Full {
                link.wants_drained = true;
                return Err(Step::Wait);
            }
            if !session.is_replaying() {
                return Err(Step::Done);
            }
            session.begin_replay_step(&link.terms).ok_or(Step::Wait)
        }) else {
            return (Step::Done, 0);
        };
        let step = match step.result {
            Ok(step) => step,
            Err(outcome) => return (outcome, 0),
        };
        let mut messages = std::mem::take(&mut courier.replayed);
        let limit = step.messages_max.min(SLICE_MESSAGES);
        let visit = |_: &TopicName, message: &Arc<Message>| {
            if message.remaining(now) != Remaining::Expired {
                messages.push(Arc::clone(message));
            }
        };
        let (filter, cursor) = (&step.filter, step.cursor.as_ref());
        // A leading wildcard does not match what begins with `$` [MQTT-4.7.2-1], so no filter finds
        // messages of both trees.
        let mut next = if filter.first_level() == SYS {
            self.retained.sys.scan(filter, cursor, limit, SLICE_STEPS, visit)
        } else {
            let tree = Vital(self.retained.tree.read());
            tree.messages.scan(filter, cursor, limit, SLICE_STEPS, visit)
        };
        if let Some(last) = shorten(&mut messages) {
            next = Some(last);
        }
        let outcome = self.end_replay(courier, attachment, &step, &messages, next);
        let count = messages.len();
        messages.clear();
        courier.replayed = messages;
        (outcome, count)
    }
}

/// Cuts a slice of large messages short: where to go on, if it was cut.
fn shorten(messages: &mut Vec<Arc<Message>>) -> Option<Cursor> {
    let mut bytes = 0;
    let fitting = messages
        .iter()
        .take_while(|message| {
            let fits = bytes < SLICE_BYTES;
            bytes += message.bytes();
            fits
        })
        .count();
    if fitting == messages.len() {
        return None;
    }
    messages.truncate(fitting);
    messages.last().map(|last| Cursor::past(&last.topic))
}
