//! The tasks of a run, and waiting for what they do.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::board::{Board, Stage, Tally};
use super::error::BenchError;
use super::progress::Progress;
use super::publisher::Publisher;
use super::report::Faults;
use super::subscriber::Subscriber;

/// How often is looked whether time is over.
const GLANCE: Duration = Duration::from_millis(10);

type Tasks = JoinSet<Result<(), BenchError>>;

/// Publishers and subscribers at work.
pub(super) struct Run {
    pub(super) board: Rc<Board>,
    publishers: Tasks,
    subscribers: Tasks,
}

/// When a phase ends: with whatever comes first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) time: Duration,
    /// Published.
    pub(super) messages: u64,
}

impl Run {
    pub(super) fn new(board: Rc<Board>) -> Self {
        Self { board, publishers: JoinSet::new(), subscribers: JoinSet::new() }
    }

    pub(super) fn publish(&mut self, publisher: Publisher) {
        self.publishers.spawn_local(publisher.run());
    }

    pub(super) fn subscribe(&mut self, subscriber: Subscriber) {
        self.subscribers.spawn_local(subscriber.run());
    }

    /// Sends until a bound is reached, and waits until all has arrived or nothing comes any more.
    pub(super) async fn phase(
        &mut self,
        name: &str,
        bounds: Bounds,
        progress: &mut Progress<'_>,
    ) -> Result<(), BenchError> {
        self.board.begin(bounds.messages);
        let start = Instant::now();
        let mut watch = Watch::new(&self.board);
        while start.elapsed() < bounds.time && self.board.left.get() > 0 && !watch.is_stalled() {
            self.glance(name, &mut watch, progress).await?;
        }
        self.arrive(name, progress).await
    }

    /// Waits until all that was sent has arrived or nothing comes any more.
    pub(super) async fn arrive(
        &mut self,
        name: &str,
        progress: &mut Progress<'_>,
    ) -> Result<(), BenchError> {
        self.board.enter(Stage::Resting);
        let mut watch = Watch::new(&self.board);
        while !self.board.is_quiet() && !watch.is_stalled() {
            self.glance(name, &mut watch, progress).await?;
        }
        Ok(())
    }

    /// Forgets what was measured, but not what went wrong.
    pub(super) fn forget(&self) -> Result<(), BenchError> {
        let mut tally = self.board.tally.borrow_mut();
        let Tally { duplicated, out_of_order, damaged, refused, .. } = *tally;
        *tally = Tally { duplicated, out_of_order, damaged, refused, ..Tally::new()? };
        Ok(())
    }

    /// Lets the publishers leave, and then the subscribers.
    pub(super) async fn leave(&mut self) -> Result<(), BenchError> {
        for (stage, tasks) in
            [(Stage::Leaving, &mut self.publishers), (Stage::Over, &mut self.subscribers)]
        {
            self.board.enter(stage);
            while let Some(ended) = tasks.join_next().await {
                outcome(ended)?;
            }
        }
        Ok(())
    }

    /// From the beginning of the last phase to the last message.
    pub(super) fn elapsed(&self) -> Duration {
        let last = self.board.tally.borrow().last;
        Duration::from_nanos(last.saturating_sub(self.board.began.get()))
    }

    pub(super) fn faults(&self, lost: u64) -> Faults {
        let Tally { duplicated, out_of_order, damaged, .. } = *self.board.tally.borrow();
        Faults { lost, duplicated, out_of_order, damaged }
    }

    async fn glance(
        &mut self,
        name: &str,
        watch: &mut Watch,
        progress: &mut Progress<'_>,
    ) -> Result<(), BenchError> {
        let _ = timeout(GLANCE, self.board.progress.notified()).await;
        for tasks in [&mut self.publishers, &mut self.subscribers] {
            // Nobody leaves before he is told to, except by an error.
            while let Some(ended) = tasks.try_join_next() {
                outcome(ended)?;
            }
        }
        watch.look(&self.board);
        let delivered = self.board.tally.borrow().delivered;
        progress.say(name, delivered, "delivered");
        Ok(())
    }
}

fn outcome(ended: Result<Result<(), BenchError>, JoinError>) -> Result<(), BenchError> {
    ended.unwrap_or(Err(BenchError::Task))
}

/// Notices when nothing comes any more.
struct Watch {
    moves: u64,
    moved: Instant,
    patience: Duration,
}

impl Watch {
    fn new(board: &Board) -> Self {
        let patience = board.setting.timeout;
        Self { moves: board.moves(), moved: Instant::now(), patience }
    }

    fn look(&mut self, board: &Board) {
        let moves = board.moves();
        // Who has nothing on its way waits for nothing.
        if moves != self.moves || board.is_quiet() {
            self.moves = moves;
            self.moved = Instant::now();
        }
    }

    fn is_stalled(&self) -> bool {
        self.moved.elapsed() > self.patience
    }
}
