//! What all clients of a world write down, and what they wait for.

use std::future::Future;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::broker::PATIENCE;
use crate::ledger::{Fault, Ledger, StreamId, TakerId};
use crate::link::Gone;

#[derive(Debug)]
pub(crate) struct Shared {
    ledger: Mutex<Ledger>,
    /// How many messages the broker has answered for.
    acknowledged: watch::Sender<u64>,
    /// Changes when a taker may have got the last of its messages.
    progress: watch::Sender<u64>,
    /// Changes when all connections are to be lost at once.
    cut: watch::Sender<()>,
}

impl Default for Shared {
    fn default() -> Self {
        let (acknowledged, progress) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { ledger: Mutex::default(), acknowledged, progress, cut: watch::Sender::new(()) }
    }
}

impl Shared {
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody panicked with it")
    }

    /// Whether the Session of a client that was promised one is there.
    pub(crate) fn resumed(&self, client: &str, promised: bool, present: bool) {
        if promised && !present {
            self.ledger().fault(Fault::SessionLost { client: client.to_owned() });
        }
    }

    pub(crate) fn count_acknowledged(&self) {
        self.acknowledged.send_modify(|count| *count += 1);
    }

    /// Waits until so many more messages were answered for; each has to come in time.
    pub(crate) async fn until_acknowledged(&self, more: u64) {
        let mut acknowledged = self.acknowledged.subscribe();
        let wanted = *acknowledged.borrow_and_update() + more;
        while *acknowledged.borrow_and_update() < wanted {
            within("one more acknowledgement", acknowledged.changed()).await.expect("it is ours");
        }
    }

    /// Does what a client does with its connection until that is over, or cut.
    pub(crate) async fn until_cut(
        &self,
        client: impl Future<Output = Result<(), Gone>>,
    ) -> Result<(), Gone> {
        let mut cut = self.cut.subscribe();
        tokio::select! {
            end = client => end,
            _ = cut.changed() => Err(Gone::Closed),
        }
    }

    /// All connections of a load are lost at once.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(());
    }

    pub(crate) fn arrived(&self, taker: TakerId, topic: &str, payload: &[u8]) {
        self.ledger().arrived(taker, topic, payload);
        self.progress.send_modify(|count| *count += 1);
    }

    /// Waits until the taker has this message.
    pub(crate) async fn until_arrived(&self, taker: TakerId, stream: StreamId, number: u32) {
        let mut progress = self.progress.subscribe();
        while !self.ledger().has_arrived(taker, stream, number) {
            progress.changed().await.expect("it is ours");
        }
    }

    /// Waits until the taker has the last of all its messages.
    pub(crate) async fn until_finished(&self, taker: TakerId) {
        let mut progress = self.progress.subscribe();
        while !self.ledger().unfinished(taker).is_empty() {
            progress.changed().await.expect("it is ours");
        }
    }
}

/// Waits for what must happen, and says what did not.
pub(crate) async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    within_time(PATIENCE, what, event).await
}

pub(crate) async fn within_time<T>(
    patience: Duration,
    what: &str,
    event: impl Future<Output = T>,
) -> T {
    timeout(patience, event).await.unwrap_or_else(|_| panic!("waited {patience:?} for {what}"))
}
