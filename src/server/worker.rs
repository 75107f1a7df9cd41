//! One thread with its runtime, and everything its connections share.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use slab::Slab;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc};
use tokio::task::{spawn_local, yield_now};
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::accept::ListenerFacts;
use super::input::READ_BYTES;
use super::limiter::{Admission, Place};
use super::log_limit::LogLimit;
use super::session_task;
use super::sys_topics::SysTopics;
use super::timers::{TICK, Wheel};
use crate::metrics::Counters;
use crate::router::{Courier, Flags, Flushing, Memory, Signal};
use crate::time::Now;
use crate::transport::Incoming;

/// Connections waiting for a worker to take them; beyond it the accept loop waits.
const ARRIVALS: usize = 1_024;

/// How long a worker that stops waits for its connections beyond their own patience.
const GRACE: Duration = Duration::from_secs(2);

/// A connection handed to a worker.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) incoming: Incoming,
    pub(super) facts: Arc<ListenerFacts>,
    pub(super) admission: Admission,
    pub(super) place: Place,
}

#[derive(Debug)]
enum Command {
    Serve(Arrival),
    Stop { patience: Duration },
}

/// A worker as the other threads see it.
#[derive(Debug)]
pub(super) struct WorkerHandle {
    commands: mpsc::Sender<Command>,
    load: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// What the connections of one worker share. It never leaves its thread.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) courier: RefCell<Courier>,
    pub(super) counters: Arc<Counters>,
    pub(super) read_buffer: RefCell<Box<[u8]>>,
    pub(super) wheel: RefCell<Wheel>,
    pub(super) log: LogLimit,
    /// How long a connection may take to say goodbye while the server stops.
    pub(super) patience: Cell<Duration>,
    signals: RefCell<Slab<Arc<Signal>>>,
    load: Arc<AtomicUsize>,
    /// Told when the last connection ended.
    empty: Notify,
    /// Whoever is enlisted from now on is told at once.
    stopping: Cell<bool>,
}

/// A connection's entry in its worker's list; dropping it takes it out.
#[derive(Debug)]
pub(super) struct Enlisted {
    worker: Rc<Worker>,
    key: usize,
    pub(super) signal: Arc<Signal>,
}

impl WorkerHandle {
    pub(super) fn start(index: usize, shared: Arc<Shared>) -> io::Result<Self> {
        let (commands, receiver) = mpsc::channel(ARRIVALS);
        let load = Arc::new(AtomicUsize::new(0));
        let worker_load = Arc::clone(&load);
        let (report, started) = std::sync::mpsc::sync_channel(1);
        let thread =
            std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                let runtime =
                    Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
                match runtime {
                    Ok(runtime) => {
                        let _ = report.send(Ok(()));
                        let worker = Rc::new(Worker::new(index, shared, worker_load));
                        runtime.block_on(worker.run(index, receiver));
                    }
                    Err(error) => drop(report.send(Err(error))),
                }
            })?;
        started.recv().map_err(io::Error::other)??;
        Ok(Self { commands, load, thread })
    }

    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    pub(super) async fn hand_over(&self, arrival: Arrival) {
        self.load.fetch_add(1, Ordering::Relaxed);
        // A worker that is gone takes the connection with it.
        let _ = self.commands.send(Command::Serve(arrival)).await;
    }

    pub(super) fn stop(&self, patience: Duration) {
        let _ = self.commands.blocking_send(Command::Stop { patience });
    }

    pub(super) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("a worker ended by a panic");
        }
    }
}

impl Worker {
    fn new(index: usize, shared: Arc<Shared>, load: Arc<AtomicUsize>) -> Self {
        let counters = shared.router.metrics().worker(index);
        let now = now();
        Self {
            courier: RefCell::new(Courier::new(Arc::clone(&counters), now)),
            counters,
            read_buffer: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            wheel: RefCell::new(Wheel::new(now.monotonic)),
            log: LogLimit::new(now.monotonic),
            patience: Cell::new(Duration::ZERO),
            signals: RefCell::default(),
            empty: Notify::new(),
            stopping: Cell::new(false),
            shared,
            load,
        }
    }

    async fn run(self: Rc<Self>, index: usize, mut commands: mpsc::Receiver<Command>) {
        spawn_local(Rc::clone(&self).flush());
        spawn_local(Rc::clone(&self).tick());
        if index == 0 {
            spawn_local(Rc::clone(&self).run_schedule());
        }
        while let Some(command) = commands.recv().await {
            match command {
                Command::Serve(arrival) => {
                    if let Some(serving) = session_task::serve(&self, arrival) {
                        spawn_local(serving);
                    }
                }
                Command::Stop { patience } => {
                    commands.close();
                    self.stop(patience).await;
                    return;
                }
            }
        }
    }

    /// Ends all connections and waits until they are gone.
    async fn stop(&self, patience: Duration) {
        self.patience.set(patience);
        self.stopping.set(true);
        for (_, signal) in self.signals.borrow().iter() {
            signal.raise(Flags::SHUTDOWN);
        }
        let all_gone = async {
            while !self.signals.borrow().is_empty() {
                self.empty.notified().await;
            }
        };
        if tokio::time::timeout(patience + GRACE, all_gone).await.is_err() {
            let left = self.signals.borrow().len();
            tracing::warn!(connections = left, "connections did not end in time");
        }
    }

    /// Writes to whatever connection something was appended to. It is woken by the first of them,
    /// so it runs behind the sessions that are ready now and writes to each connection once.
    async fn flush(self: Rc<Self>) {
        let mut flushing = Flushing::default();
        poll_fn::<(), _>(|context| {
            let mut courier = self.courier.borrow_mut();
            courier.begin_turn(now());
            if self.shared.router.flush_dirty(&mut courier, &mut flushing, context.waker()) {
                context.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
    }

    async fn tick(self: Rc<Self>) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            interval.tick().await;
            self.wheel.borrow_mut().advance(Instant::now());
        }
    }

    /// Sends Wills that are due, ends Sessions that expired, and says how the server is.
    async fn run_schedule(self: Rc<Self>) {
        let started = Instant::now();
        let sys_interval = self.shared.sys_interval;
        let store = self.shared.store.clone();
        let mut sys_topics = sys_interval.map(|interval| SysTopics::new(interval, started, store));
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            interval.tick().await;
            {
                let mut courier = self.courier.borrow_mut();
                courier.begin_turn(now());
                self.shared.router.run_schedule(&mut courier);
            }
            if let Some(sys_topics) = &mut sys_topics {
                sys_topics.tick(&self.shared.router, Instant::now());
                while self.publish_sys(sys_topics) {
                    yield_now().await;
                }
            }
        }
    }

    fn publish_sys(&self, sys_topics: &mut SysTopics) -> bool {
        let mut courier = self.courier.borrow_mut();
        courier.begin_turn(now());
        sys_topics.publish(&self.shared.router, &mut courier)
    }

    /// Lets the courier know how much memory there is, and the operator when that becomes too
    /// little.
    pub(super) fn look_at_memory(&self, courier: &mut Courier) {
        let router = &self.shared.router;
        let Some(turned) = router.look_at_memory(courier) else { return };
        let held_bytes = router.metrics().held_bytes();
        self.log.line(|suppressed| match turned {
            Memory::Enough => tracing::info!(held_bytes, suppressed, "there is memory again"),
            Memory::Scarce(_) | Memory::Exhausted(_) => {
                let max = router.limits().memory_bytes_max;
                tracing::warn!(held_bytes, max, suppressed, "clients fill limits.memory_max");
            }
        });
    }

    /// Enters a connection into the list of those to be woken when the server stops.
    pub(super) fn enlist(self: &Rc<Self>) -> Enlisted {
        let signal = Arc::new(Signal::default());
        if self.stopping.get() {
            signal.raise(Flags::SHUTDOWN);
        }
        let key = self.signals.borrow_mut().insert(Arc::clone(&signal));
        Enlisted { worker: Rc::clone(self), key, signal }
    }
}

impl Enlisted {
    pub(super) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        let mut signals = self.worker.signals.borrow_mut();
        signals.remove(self.key);
        self.worker.load.fetch_sub(1, Ordering::Relaxed);
        if signals.is_empty() {
            self.worker.empty.notify_one();
        }
    }
}

/// Has the task polled again behind all others, and behind those for whom something has come in by
/// then: of tasks that wake themselves the runtime polls up to 61 before it looks at its sockets.
pub(super) fn come_again(context: &mut Context<'_>) {
    let _ = pin!(yield_now()).poll(context);
}

/// The clocks, read: once for each batch of work.
pub(super) fn now() -> Now {
    Now { monotonic: Instant::now(), wall: SystemTime::now() }
}
