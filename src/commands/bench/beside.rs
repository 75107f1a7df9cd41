//! Other clients beside a replay: what their messages take while it goes on, and before.
//!
//! They have a thread of their own. In that of the replay they would wait for the checks of what is
//! replayed, and what is asked is how long they wait for the broker.

use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;

use super::arguments::{Common, Payload, Retained, Traffic};
use super::board::{Board, Window};
use super::error::BenchError;
use super::progress::Progress;
use super::report::{Beside, Faults};
use super::run::Bounds;
use super::setting::Setting;
use super::traffic::{Plan, gather, lost};
use crate::client::QoS;

const PAIRS: usize = 10;

/// How long they are alone, first uncounted.
const WARM_UP: Duration = Duration::from_millis(250);
const ALONE: Duration = Duration::from_secs(1);

/// The longest replay.
const MEANWHILE_MAX: Duration = Duration::from_secs(86_400);

/// Publishers and subscribers at work in another thread.
pub(super) struct Others {
    thread: JoinHandle<Result<(Beside, Faults), BenchError>>,
    /// They have been alone for long enough; what comes now is meanwhile.
    were_alone: Option<oneshot::Receiver<()>>,
    /// Dropped, it says so too.
    over: oneshot::Sender<()>,
}

impl Others {
    /// Lets them send so many messages a second.
    pub(super) fn start(rate: usize, options: &Retained) -> Result<Self, BenchError> {
        let (common, payload) = (options.common.clone(), options.payload.clone());
        let traffic = Traffic {
            qos: QoS::AtMostOnce,
            payload,
            user_properties: 0,
            window: 1,
            rate: Some(rate),
            seconds: MEANWHILE_MAX,
            messages: None,
            warm_up: WARM_UP,
        };
        let (alone, were_alone) = oneshot::channel();
        let (over, is_over) = oneshot::channel();
        let work = move || {
            let runtime =
                Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            let runtime = runtime.map_err(BenchError::Machine)?;
            runtime.block_on(send(rate, &traffic, &common, alone, is_over))
        };
        let thread = thread::Builder::new().name("beside".to_owned()).spawn(work);
        let thread = thread.map_err(BenchError::Machine)?;
        Ok(Self { thread, were_alone: Some(were_alone), over })
    }

    /// Waits until it is known what their messages take alone.
    pub(super) async fn alone(mut self) -> Result<Self, BenchError> {
        if let Some(were_alone) = self.were_alone.take()
            && were_alone.await.is_err()
        {
            // Why, is what their thread ends with.
            self.end()?;
            return Err(BenchError::Task);
        }
        Ok(self)
    }

    /// Ends them: what their messages took, and what went wrong with these.
    pub(super) fn end(self) -> Result<(Beside, Faults), BenchError> {
        drop(self.over);
        self.thread.join().unwrap_or(Err(BenchError::Task))
    }
}

async fn send(
    rate: usize,
    traffic: &Traffic,
    common: &Common,
    alone: oneshot::Sender<()>,
    is_over: oneshot::Receiver<()>,
) -> Result<(Beside, Faults), BenchError> {
    let plan = Plan::Pairs { pairs: PAIRS };
    let Payload { bytes } = traffic.payload;
    let setting = Setting::new(common, 2 * PAIRS, bytes)?;
    let windows = (0..PAIRS).map(|_| Window::new(1)).collect();
    let board = Board::new(setting, windows, PAIRS)?;
    let mut progress = Progress::new(None);
    let (mut run, inboxes) = gather(plan, traffic, &board, &mut progress).await?;

    let bounds = |time| Bounds { time, messages: u64::MAX };
    run.phase("", bounds(traffic.warm_up), &mut progress).await?;
    run.forget()?;
    run.phase("", bounds(ALONE), &mut progress).await?;
    let before = board.tally.borrow().latency.clone();
    run.forget()?;
    // Nobody waits for it any more if the replay has failed.
    let _ = alone.send(());
    let ending = Rc::clone(&board);
    let end = tokio::task::spawn_local(async move {
        let _ = is_over.await;
        ending.left.set(0);
        ending.progress.notify_one();
    });
    run.phase("", bounds(traffic.seconds), &mut progress).await?;
    end.abort();
    run.leave().await?;

    let faults = run.faults(lost(&inboxes, &board));
    let meanwhile = board.tally.borrow().latency.clone();
    Ok((Beside { rate: rate as u64, alone: before, meanwhile }, faults))
}
