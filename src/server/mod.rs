//! The shell around the router: threads, tasks, sockets and clocks.
//!
//! - [`Server`]: starts the workers, hands them connections, stops them.
//! - [`accept`]: an accept loop for each listener, which no error ends.
//! - [`worker`]: one thread with its runtime, and everything its connections share.
//! - [`handshake`]: CONNECT, authentication, a claim, the Session.
//! - [`authentication`]: AUTH packets, before the CONNACK and after it.
//! - [`session_task`]: one connection from its CONNACK to its end; [`turn`]: one packet.
//! - [`stream`]: its socket; [`goodbye`]: its last bytes.
//! - [`input`]: bytes to packets through one buffer for all connections of a worker.
//! - [`pause`]: why a client is not read from for a while.
//! - [`sys_topics`]: what the server says of itself; [`load_averages`]: a part of that.
//! - [`timers`]: a coarse wheel, since a timer for each connection costs more than the connection.
//!
//! A PUBLISH is read, routed and appended to its takers' buffers within one poll of its publisher's
//! task; nothing in between awaits, and no channel or second task stands on that way.

mod accept;
mod authentication;
mod goodbye;
mod handshake;
mod input;
mod limiter;
mod load_averages;
mod log_limit;
mod pause;
mod session_task;
mod stream;
mod sys_topics;
mod timers;
mod turn;
mod worker;

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::Authenticator;
use crate::cluster::Cluster;
use crate::metrics::Metrics;
use crate::router::Router;
use crate::session::Features;
use crate::storage::StoreHandle;
use crate::transport::Door;

pub use limiter::Limiter;
// A dialogue needs neither a socket nor a clock: tests lead it with a clock of their own.
pub use turn::{Answers, Dialogue, End, Handled, Turn};

use worker::WorkerHandle;

/// What every worker needs and none of them changes.
#[derive(Debug)]
pub struct Shared {
    pub router: Arc<Router>,
    pub cluster: Cluster,
    pub limiter: Limiter,
    /// The largest CONNECT, in bytes; other packets have the router's limit.
    pub connect_bytes_max: usize,
    pub connect_timeout: Duration,
    pub stall_timeout: Duration,
    /// How often the server says something of itself; `None`: never.
    pub sys_interval: Option<Duration>,
    /// Of which it then speaks, too.
    pub store: Option<Arc<StoreHandle>>,
}

/// A listener that is open, whom it admits, and what they may use.
#[derive(Debug)]
pub struct Entrance {
    pub name: String,
    pub door: Door,
    pub authenticator: Authenticator,
    pub features: Features,
}

/// The running broker.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    workers: Vec<WorkerHandle>,
}

impl Server {
    /// Starts the workers.
    ///
    /// # Errors
    /// If the machine gives no more threads or runtimes.
    pub fn start(shared: Shared, workers: NonZeroUsize) -> io::Result<Self> {
        let shared = Arc::new(shared);
        let workers = (0..workers.get())
            .map(|index| WorkerHandle::start(index, Arc::clone(&shared)))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { shared, workers })
    }

    /// Accepts at one entrance until the future is dropped.
    pub async fn serve(&self, entrance: Entrance) {
        accept::accept_loop(&self.shared, &self.workers, entrance).await;
    }

    /// Tells 5.0 clients that the server stops, writes what is unwritten, and ends all connections,
    /// those that do not read after `patience`.
    pub fn stop(self, patience: Duration) -> Totals {
        for worker in &self.workers {
            worker.stop(patience);
        }
        for worker in self.workers {
            worker.join();
        }
        Totals::of(self.shared.router.metrics())
    }
}

/// What the broker did while it ran.
#[derive(Clone, Copy, Debug)]
pub struct Totals {
    pub publishes_received: u64,
    pub publishes_sent: u64,
    pub dropped: u64,
    pub refused: u64,
}

impl Totals {
    fn of(metrics: &Metrics) -> Self {
        let dropped = [
            metrics.total(|counters| &counters.dropped_offline),
            metrics.total(|counters| &counters.dropped_outbound_full),
            metrics.total(|counters| &counters.dropped_queue_full),
            metrics.total(|counters| &counters.dropped_memory_full),
            metrics.total(|counters| &counters.dropped_store_full),
            metrics.total(|counters| &counters.dropped_too_large),
            metrics.total(|counters| &counters.dropped_expired),
            metrics.total(|counters| &counters.dropped_ended),
            metrics.total(|counters| &counters.dropped_damaged),
        ];
        Self {
            publishes_received: metrics.total(|counters| &counters.publishes_received),
            publishes_sent: metrics.total(|counters| &counters.publishes_sent),
            dropped: dropped.iter().sum(),
            refused: metrics.total(|counters| &counters.refusals),
        }
    }
}
