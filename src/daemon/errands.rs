//! What the owner asks for at the control socket, carried out beside the broker.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::control::{Answer, Command, Control, Figures, Reason, Refusal, Request};
use crate::router::Router;
use crate::storage::{StorageError, StoreHandle};

/// Commands that wait for the one before them, which takes no time; further ones are refused.
const WAITING_MAX: usize = 8;

/// How long a local client may take to say what it wants and to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket, and who carries out what comes in there.
#[derive(Debug)]
pub(super) struct Errands {
    control: Control,
    clerk: Clerk,
}

#[derive(Debug)]
struct Clerk {
    data_dir: PathBuf,
    store: Arc<StoreHandle>,
    router: Arc<Router>,
    started: Instant,
    backing_up: Arc<AtomicBool>,
}

impl Errands {
    /// `None` if there can be no socket: the broker serves all the same, and the log says why nobody
    /// can ask for a backup.
    pub(super) fn open(
        data_dir: &Path,
        store: Arc<StoreHandle>,
        router: Arc<Router>,
    ) -> Option<Self> {
        let control = match Control::open(data_dir) {
            Ok(control) => control,
            Err(error) => {
                let cause = error.source().map(tracing::field::display);
                tracing::error!(%error, cause, "no backups: there is no control socket");
                return None;
            }
        };
        let (data_dir, started) = (data_dir.to_owned(), Instant::now());
        let clerk = Clerk { data_dir, store, router, started, backing_up: Arc::default() };
        Some(Self { control, clerk })
    }

    /// Serves until the future is dropped.
    pub(super) async fn run(self) {
        let (commands, requests) = mpsc::channel(WAITING_MAX);
        tokio::spawn(self.clerk.run(requests));
        self.control.serve(commands, PATIENCE).await;
    }
}

impl Clerk {
    async fn run(self, mut requests: mpsc::Receiver<Request>) {
        while let Some(Request { command, reply }) = requests.recv().await {
            match command {
                // Who asked may be gone.
                Command::Status => drop(reply.send(Ok(self.status()))),
                Command::Backup { directory } => self.back_up(directory, reply),
            }
        }
    }

    fn status(&self) -> Figures {
        let (metrics, store) = (self.router.metrics(), self.store.status());
        let whole = |amount: i64| u64::try_from(amount).unwrap_or(0);
        let of = |value: &AtomicU64| value.load(Ordering::Relaxed);
        Figures::default()
            .text("version", env!("CARGO_PKG_VERSION"))
            .number("process", std::process::id().into())
            .number("uptime_seconds", self.started.elapsed().as_secs())
            .number("connections", whole(metrics.connections.value()))
            .number("clients_connected", whole(metrics.clients_connected.value()))
            .number("sessions", whole(metrics.sessions.value()))
            .number("retained_messages", whole(metrics.retained_messages.value()))
            .text("store_directory", self.data_dir.to_string_lossy())
            .number("store_records", of(&store.records))
            .number("store_disk_bytes", of(&store.disk_bytes))
            .number("store_disk_bytes_max", of(&store.disk_bytes_max))
            .number("store_backlog_changes", of(&store.backlog_changes))
            .number("store_backlog_bytes", of(&store.backlog_bytes))
            .number("store_commits", of(&store.commits))
            .number("store_syncs", of(&store.syncs))
            .number("store_longest_commit_microseconds", of(&store.longest_commit_microseconds))
            .number("store_failures", of(&store.failures))
            .number("store_failing_since", of(&store.failing_since))
            .number("store_damaged_records", of(&store.damaged))
    }

    /// On a thread of its own: it takes as long as the disk takes.
    fn back_up(&self, directory: PathBuf, reply: oneshot::Sender<Answer>) {
        if self.backing_up.swap(true, Ordering::AcqRel) {
            let busy = Refusal::new(Reason::Busy, "another backup is being made");
            return drop(reply.send(Err(busy)));
        }
        let (store, backing_up) = (Arc::clone(&self.store), Arc::clone(&self.backing_up));
        let thread = std::thread::Builder::new().name("backup".to_owned()).spawn(move || {
            let answer = backed_up(&store, &directory);
            backing_up.store(false, Ordering::Release);
            let _ = reply.send(answer);
        });
        if let Err(error) = thread {
            // The reply is gone with the thread, which tells who asked.
            tracing::error!(%error, "no thread to make a backup in");
            self.backing_up.store(false, Ordering::Release);
        }
    }
}

fn backed_up(store: &StoreHandle, directory: &Path) -> Answer {
    let began = Instant::now();
    let shown = directory.display();
    match store.backup(directory) {
        Ok(records) => {
            tracing::info!(directory = %shown, records, took = ?began.elapsed(), "backed up");
            Ok(Figures::default()
                .text("backed_up_to", shown.to_string())
                .number("records", records as u64))
        }
        Err(error) => {
            let refusal = refusal(&error);
            tracing::error!(directory = %shown, error = %refusal, "no backup");
            Err(refusal)
        }
    }
}

fn refusal(error: &StorageError) -> Refusal {
    let reason = match error {
        StorageError::Create { source, .. } | StorageError::Unusable { source, .. }
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            Reason::Permission
        }
        StorageError::Create { .. }
        | StorageError::NotADirectory { .. }
        | StorageError::NotEmpty { .. }
        | StorageError::Inside { .. }
        | StorageError::InUse { .. }
        | StorageError::Missing { .. }
        | StorageError::Newer { .. }
        | StorageError::Foreign { .. } => Reason::CannotCreate,
        StorageError::Closed => Reason::Busy,
        StorageError::Unusable { .. }
        | StorageError::Full { .. }
        | StorageError::Engine { .. }
        | StorageError::Threads(_) => Reason::Io,
    };
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    Refusal::new(reason, message)
}
