//! A publisher: keeps as many messages on their way as it may, or keeps to a rate.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::board::{Board, Stage, Window};
use super::error::BenchError;
use super::setting::{CHUNK_BYTES, Client};
use crate::client::{Event, Template};

/// A publisher that is later than this with a message is held up, and the message counts from when
/// it was due. Below it is only the timer that was late.
const LATE: u64 = 5_000_000;

/// How a publisher paces itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// So many messages on their way.
    Window(u64),
    /// A message each so many nanoseconds, the first of them after an offset.
    Rate { interval: f64, offset: f64 },
}

pub(super) struct Publisher {
    pub(super) client: Client,
    pub(super) index: usize,
    /// One for each topic, gone through in turn.
    pub(super) templates: Vec<Template>,
    pub(super) pace: Pace,
    pub(super) board: Rc<Board>,
    /// Whether the broker acknowledges what is published.
    pub(super) acknowledgement: Acknowledgement,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Acknowledgement {
    None,
    Expected,
}

impl Publisher {
    /// Publishes whenever the board says so, until it says to leave.
    pub(super) async fn run(mut self) -> Result<(), BenchError> {
        let board = Rc::clone(&self.board);
        let Some(window) = board.windows.get(self.index) else { return Ok(()) };
        loop {
            let stage = board.stage.get();
            match stage {
                Stage::Sending => self.fill(&board, window)?,
                Stage::Resting => {}
                Stage::Leaving | Stage::Over => break,
            }
            let due = self.pause(&board, window, stage);
            let turn = self.client.connection.turn(|event| hear(&event, &board, window));
            let turn = either(turn, either(window.room.notified(), wait(due))).await;
            if let Some(turn) = turn {
                turn.map_err(|source| self.client.failed(source))?;
            }
        }
        self.client.settle(|event| hear(&event, &board, window)).await?;
        self.client.leave().await;
        Ok(())
    }

    /// Appends what may be sent now, unless there is something to be written first.
    fn fill(&mut self, board: &Board, window: &Window) -> Result<(), BenchError> {
        if self.client.connection.unwritten() > 0 {
            return Ok(());
        }
        let now = board.setting.now();
        let mut room = self.room(board, window, now).min(board.left.get());
        if self.acknowledgement == Acknowledgement::Expected {
            room = room.min(u64::from(self.client.connection.quota()));
        }
        let first = window.sent.get();
        let mut count = 0;
        while count < room && self.client.connection.unwritten() < CHUNK_BYTES {
            self.append(board, window, first + count, now)?;
            count += 1;
        }
        window.sent.set(first + count);
        if self.acknowledgement == Acknowledgement::None {
            window.acknowledged.set(first + count);
        }
        board.left.set(board.left.get() - count);
        if board.left.get() == 0 {
            board.progress.notify_one();
        }
        Ok(())
    }

    #[inline]
    fn append(
        &mut self,
        board: &Board,
        window: &Window,
        number: u64,
        now: u64,
    ) -> Result<(), BenchError> {
        let topics = self.templates.len().max(1);
        let topic = usize::try_from(number % topics as u64).unwrap_or(0);
        let Some(template) = self.templates.get(topic) else { return Ok(()) };
        let stream = u32::try_from(self.index * topics + topic).unwrap_or(u32::MAX);
        let sent = match self.pace {
            Pace::Window(_) => now,
            Pace::Rate { .. } => {
                let due = self.due(board, window, number);
                if due + LATE < now { due } else { now }
            }
        };
        let stamp = board.setting.stamp(stream, number / topics as u64, sent).to_bytes();
        let payload = [stamp.as_slice(), board.setting.filler.as_bytes()];
        let published = self.client.connection.publish(template, &payload);
        published.map_err(|source| self.client.failed(source)).map(drop)
    }

    fn room(&self, board: &Board, window: &Window, now: u64) -> u64 {
        match self.pace {
            Pace::Window(size) => size.saturating_sub(window.outstanding()),
            Pace::Rate { .. } => {
                let mut count = 0;
                let sent = window.sent.get();
                // A chunk holds fewer.
                while count < CHUNK_BYTES as u64 && self.due(board, window, sent + count) <= now {
                    count += 1;
                }
                count
            }
        }
    }

    /// When a message is to be sent, in nanoseconds of the run.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "nanoseconds of a run that lasts days at most"
    )]
    fn due(&self, board: &Board, window: &Window, number: u64) -> u64 {
        match self.pace {
            Pace::Window(_) => 0,
            Pace::Rate { interval, offset } => {
                let after = offset + interval * number.saturating_sub(window.base.get()) as f64;
                board.began.get() + after as u64
            }
        }
    }

    /// How long until the next message is due, if that is what is waited for.
    fn pause(&self, board: &Board, window: &Window, stage: Stage) -> Option<Duration> {
        let is_idle = self.client.connection.unwritten() == 0 && board.left.get() > 0;
        if stage != Stage::Sending || matches!(self.pace, Pace::Window(_)) || !is_idle {
            return None;
        }
        let due = self.due(board, window, window.sent.get());
        let pause = due.saturating_sub(board.setting.now());
        // What is due already waits for an acknowledgement.
        (pause > 0).then_some(Duration::from_nanos(pause))
    }
}

fn hear(event: &Event<'_>, board: &Board, window: &Window) {
    match event {
        Event::Published(_, reason) => {
            window.acknowledged.set(window.acknowledged.get() + 1);
            if reason.is_error() {
                board.tally.borrow_mut().refused += 1;
            }
            if board.stage.get() == Stage::Resting {
                board.progress.notify_one();
            }
        }
        // Nobody is subscribed here.
        Event::Message(_) => board.tally.borrow_mut().damaged += 1,
        Event::Subscribed(..) | Event::Pong => {}
    }
}

async fn wait(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

/// Waits for one of two things; `None` if it was the second.
pub(super) async fn either<T>(first: impl Future<Output = T>, second: impl Future) -> Option<T> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| match first.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => second.as_mut().poll(context).map(|_| None),
    })
    .await
}
