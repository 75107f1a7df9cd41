//! What the clients of a run know of each other: how far publishers and subscribers are.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use hdrhistogram::Histogram;
use tokio::sync::Notify;

use super::error::BenchError;
use super::sequence::{Seen, Sequence};
use super::setting::Setting;

/// Latencies from a nanosecond to an hour, with three digits.
const LATENCY_MAX: u64 = 3_600_000_000_000;
const LATENCY_DIGITS: u8 = 3;

/// What is remembered for every publisher, topic and taker takes some 40 bytes.
const STREAMS_MAX: usize = 50_000_000;

/// # Errors
/// If so many sequences are more than fit into memory.
pub(super) fn check_streams(streams: usize) -> Result<(), BenchError> {
    let max = STREAMS_MAX;
    if streams > max { Err(BenchError::Streams { streams, max }) } else { Ok(()) }
}

/// What everybody is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Nothing new is sent; what is on its way arrives.
    Resting,
    Sending,
    /// Publishers say goodbye.
    Leaving,
    /// They have all left, so that subscribers have all they will ever get.
    Over,
}

#[derive(Debug)]
pub(super) struct Board {
    pub(super) setting: Setting,
    pub(super) stage: Cell<Stage>,
    /// Messages that may still be sent.
    pub(super) left: Cell<u64>,
    /// When the sending began, in nanoseconds of the run.
    pub(super) began: Cell<u64>,
    pub(super) windows: Vec<Window>,
    pub(super) tally: RefCell<Tally>,
    /// Whoever may have been the last to come to rest says so.
    pub(super) progress: Notify,
    /// Subscribers, each by its index, are told of a new stage.
    pub(super) news: Vec<Notify>,
}

/// What arrived, and how.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) delivered: u64,
    pub(super) duplicated: u64,
    pub(super) out_of_order: u64,
    pub(super) damaged: u64,
    /// By the broker, with a Reason Code.
    pub(super) refused: u64,
    pub(super) latency: Histogram<u64>,
    /// When the last message arrived, in nanoseconds of the run.
    pub(super) last: u64,
}

/// How far a publisher is, and how far its takers follow.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) sent: Cell<u64>,
    /// What had been sent when the sending began.
    pub(super) base: Cell<u64>,
    /// By the broker; at QoS 0 all that was sent.
    pub(super) acknowledged: Cell<u64>,
    /// What each taker has received or lost: each subscriber is one, or a whole group that shares.
    takers: Vec<Cell<u64>>,
    /// The least of them, and how many have no more.
    lowest: Cell<u64>,
    at_lowest: Cell<usize>,
    /// The publisher is told that there may be room, and of a new stage.
    pub(super) room: Notify,
}

impl Board {
    pub(super) fn new(
        setting: Setting,
        windows: Vec<Window>,
        subscribers: usize,
    ) -> Result<Rc<Self>, BenchError> {
        let mut news = Vec::new();
        news.resize_with(subscribers, Notify::new);
        Ok(Rc::new(Self {
            setting,
            stage: Cell::new(Stage::Resting),
            left: Cell::new(0),
            began: Cell::new(0),
            windows,
            tally: RefCell::new(Tally::new()?),
            progress: Notify::new(),
            news,
        }))
    }

    /// Lets at most so many messages be sent from now on.
    pub(super) fn begin(&self, messages: u64) {
        self.began.set(self.setting.now());
        self.left.set(messages);
        for window in &self.windows {
            window.base.set(window.sent.get());
        }
        self.enter(Stage::Sending);
    }

    /// Lets everybody know of a new stage.
    pub(super) fn enter(&self, stage: Stage) {
        self.stage.set(stage);
        for notify in self.windows.iter().map(|window| &window.room).chain(&self.news) {
            notify.notify_one();
        }
    }

    /// Whether all that was sent has arrived or is known to be lost.
    pub(super) fn is_quiet(&self) -> bool {
        self.windows.iter().all(|window| window.outstanding() == 0)
    }

    /// What moves while anything arrives at all.
    pub(super) fn moves(&self) -> u64 {
        let acknowledged = self.windows.iter().map(|window| window.acknowledged.get());
        self.tally.borrow().delivered + acknowledged.sum::<u64>()
    }
}

impl Tally {
    pub(super) fn new() -> Result<Self, BenchError> {
        let latency = Histogram::new_with_max(LATENCY_MAX, LATENCY_DIGITS);
        Ok(Self {
            delivered: 0,
            duplicated: 0,
            out_of_order: 0,
            damaged: 0,
            refused: 0,
            latency: latency.map_err(|_| BenchError::Histogram)?,
            last: 0,
        })
    }
}

impl Window {
    pub(super) fn new(takers: usize) -> Self {
        let takers = vec![Cell::new(0); takers];
        Self { at_lowest: Cell::new(takers.len()), takers, ..Self::default() }
    }

    /// Messages that some taker has not received or the broker not acknowledged.
    pub(super) fn outstanding(&self) -> u64 {
        self.sent.get() - self.lowest.get().min(self.acknowledged.get()).min(self.sent.get())
    }

    /// A taker is further on; whether all of them are.
    #[inline]
    fn advance(&self, taker: usize, by: u64) -> bool {
        let Some(count) = self.takers.get(taker) else { return false };
        let before = count.replace(count.get() + by);
        if by == 0 || before != self.lowest.get() {
            return false;
        }
        self.at_lowest.set(self.at_lowest.get() - 1);
        if self.at_lowest.get() > 0 {
            return false;
        }
        let lowest = self.takers.iter().map(Cell::get).min().unwrap_or(0);
        self.lowest.set(lowest);
        self.at_lowest.set(self.takers.iter().filter(|count| count.get() == lowest).count());
        true
    }
}

/// Whether messages have to come in the order they were sent in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    Sent,
    /// Members of a group share the messages, each at its own pace.
    Any,
}

/// What one taker has received: one subscriber, or the members of a group together.
#[derive(Debug)]
pub(super) struct Inbox {
    /// Its place in the windows of its publishers.
    pub(super) taker: usize,
    /// Its publishers.
    pub(super) publishers: Range<usize>,
    /// Topics each of them goes through, which are a sequence each.
    pub(super) topics: usize,
    pub(super) order: Order,
    pub(super) sequences: Vec<Sequence>,
    /// What latencies are counted from, if not from when a message was sent.
    pub(super) since: Option<u64>,
}

/// One subscriber's, or that of a whole group.
pub(super) type SharedInbox = Rc<RefCell<Inbox>>;

/// What one read brought a subscriber, to be noted at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    delivered: u64,
    duplicated: u64,
    out_of_order: u64,
    damaged: u64,
    /// Messages sent at the same time, and how many: most of a batch were.
    together: (u64, u64),
    /// When the read was; asked for at the first message.
    now: Option<u64>,
    /// Publishers that may go on.
    moved: Vec<usize>,
}

impl Inbox {
    pub(super) fn new(
        taker: usize,
        publishers: Range<usize>,
        topics: usize,
        order: Order,
    ) -> SharedInbox {
        let sequences = vec![Sequence::default(); publishers.len() * topics];
        let since = None;
        Rc::new(RefCell::new(Self { taker, publishers, topics, order, sequences, since }))
    }

    /// Checks one message.
    #[inline]
    pub(super) fn take(&mut self, payload: &[u8], board: &Board, batch: &mut Batch) {
        let setting = &board.setting;
        batch.now.get_or_insert_with(|| setting.now());
        let stamp = setting.filler.read(payload).filter(|stamp| stamp.run == setting.run);
        let found = stamp.and_then(|stamp| {
            let stream = usize::try_from(stamp.stream).ok()?;
            let (publisher, topic) = (stream / self.topics, stream % self.topics);
            let first = self.publishers.start * self.topics;
            let sequence = self.sequences.get_mut(stream.checked_sub(first)?)?;
            let window = board.windows.get(publisher)?;
            // One that nobody has sent would count as many losses.
            let sent = stamp.number.checked_mul(self.topics as u64)? + (topic as u64);
            (sent < window.sent.get()).then_some((stamp, publisher, sequence, window))
        });
        let Some((stamp, publisher, sequence, window)) = found else {
            batch.damaged += 1;
            return;
        };
        let seen = sequence.see(stamp.number);
        let by = match (seen, self.order) {
            (Seen::Repeated, _) => {
                batch.duplicated += 1;
                return;
            }
            (Seen::Next { skipped }, Order::Sent) => 1 + skipped,
            (Seen::Next { .. } | Seen::Late, Order::Any) => 1,
            (Seen::Late, Order::Sent) => {
                batch.out_of_order += 1;
                0
            }
        };
        batch.delivered += 1;
        let sent = self.since.unwrap_or(stamp.sent);
        if sent != batch.together.0 {
            batch.note_latency(&mut board.tally.borrow_mut().latency);
        }
        batch.together = (sent, batch.together.1 + 1);
        if window.advance(self.taker, by) && batch.moved.last() != Some(&publisher) {
            batch.moved.push(publisher);
        }
    }

    /// How much of what was sent has not come.
    pub(super) fn lost(&self, board: &Board) -> u64 {
        let windows = board.windows.get(self.publishers.clone()).unwrap_or_default();
        let topics = self.topics as u64;
        let counts = windows.iter().flat_map(|window| {
            // The topics are gone through in turn.
            let sent = window.sent.get();
            (0..topics).map(move |topic| (sent + topics - 1 - topic) / topics)
        });
        self.sequences.iter().zip(counts).map(|(sequence, count)| sequence.lost(count)).sum()
    }
}

impl Batch {
    fn note_latency(&mut self, latency: &mut Histogram<u64>) {
        let (sent, count) = std::mem::take(&mut self.together);
        if count > 0 {
            let taken = self.now.unwrap_or(sent).saturating_sub(sent);
            latency.saturating_record_n(taken.max(1), count);
        }
    }

    /// Adds the batch to what is known, lets publishers go on, and begins the next one.
    pub(super) fn note(&mut self, board: &Board) {
        let Some(now) = self.now else { return };
        let mut tally = board.tally.borrow_mut();
        self.note_latency(&mut tally.latency);
        self.now = None;
        tally.delivered += std::mem::take(&mut self.delivered);
        tally.duplicated += std::mem::take(&mut self.duplicated);
        tally.out_of_order += std::mem::take(&mut self.out_of_order);
        tally.damaged += std::mem::take(&mut self.damaged);
        tally.last = now;
        for publisher in self.moved.drain(..) {
            if let Some(window) = board.windows.get(publisher) {
                window.room.notify_one();
            }
        }
        if board.stage.get() == Stage::Resting {
            board.progress.notify_one();
        }
    }
}
