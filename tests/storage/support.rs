//! A store in a directory of its own, and short ways to make changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use dunlin::change::{
    Change, CommitNumber, Epoch, Fetch, Fetched, Journal, JournalState, Kept, KeptSession, Owed,
    Recorded, SessionExpiry, Subscription, SubscriptionIds,
};
use dunlin::config::{DiskMax, Storage, StorageEngine, StorageSync};
use dunlin::message::Message;
use dunlin::packet::{
    ClientId, ForwardedProperties, Identity, PacketId, QoS, RetainHandling, SubscriptionOptions,
};
use dunlin::storage::{self, Opened, Report, StorageError, StoreHandle};
use dunlin::time::Now;
use dunlin::topic::{SubscriptionFilter, TopicName};

/// A directory that is gone with the value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("dunlin-storage-{}-{number}", std::process::id());
        // Syncs cost nothing in memory, and most of what is tested makes many.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = parent.join(name);
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// As it is at this moment: what a killed process leaves behind.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new();
        copy_all(&self.0, &copy.0);
        copy
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            // A file may go away while the others are copied, as it may before a crash.
            let _ = fs::copy(entry.path(), to);
        }
    }
}

/// An open store.
pub(crate) struct Store {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) kept: Kept,
    pub(crate) report: Report,
    pub(crate) control: Arc<StoreHandle>,
}

impl Store {
    pub(crate) fn open(folder: &Folder) -> Self {
        Self::open_with(folder, StorageSync::Always)
    }

    pub(crate) fn open_with(folder: &Folder, sync: StorageSync) -> Self {
        Self::open_at(folder, sync, now()).unwrap()
    }

    pub(crate) fn open_at(
        folder: &Folder,
        sync: StorageSync,
        now: Now,
    ) -> Result<Self, StorageError> {
        let storage = Storage {
            engine: StorageEngine::Fjall,
            sync,
            sync_interval: Duration::from_millis(50),
            disk_max: DiskMax::OfFileSystem,
        };
        let Opened { journal, kept, report, control } =
            storage::open(&storage, folder.path(), now)?;
        Ok(Self { journal, kept, report, control: control.unwrap() })
    }

    pub(crate) fn submit(&self, changes: Vec<Change>) -> CommitNumber {
        let mut changes: Vec<_> =
            changes.into_iter().map(|change| Recorded { epoch: Epoch(1), change }).collect();
        self.journal.submit(&mut changes)
    }

    /// Submits and waits until it is kept.
    pub(crate) fn keep(&self, changes: Vec<Change>) {
        self.wait_for(self.submit(changes));
    }

    pub(crate) fn wait_for(&self, number: CommitNumber) {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        while self.journal.kept() < number {
            self.journal.wake_when_kept(number, &waker);
            thread::park();
        }
    }

    /// Waits until it is kept, through failures: the store wakes who waits when it begins to fail, so
    /// there it is asked again and again.
    pub(crate) fn wait_for_mended(&self, number: CommitNumber) {
        while self.journal.kept() < number || self.journal.state() == JournalState::Failing {
            thread::yield_now();
        }
    }

    pub(crate) fn fetch(&self, client: &str, first: u64, last: u64) -> Vec<(u64, Owed)> {
        let (sender, receiver) = mpsc::channel();
        let fetch = Fetch { client_id: client_id(client), first, last };
        self.journal
            .fetch(fetch, Box::new(move |Fetched { messages, .. }| sender.send(messages).unwrap()));
        receiver.recv().unwrap()
    }

    /// Closes it in order.
    pub(crate) fn close(self) {
        self.control.close();
    }

    pub(crate) fn session(&self, client: &str) -> &KeptSession {
        let session = self.kept.sessions.iter().find(|it| it.client_id.as_str() == client);
        session.unwrap_or_else(|| panic!("no session of {client}"))
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(crate) fn now() -> Now {
    Now { monotonic: Instant::now(), wall: SystemTime::now() }
}

pub(crate) fn client_id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

pub(crate) fn filter(text: &str) -> SubscriptionFilter {
    SubscriptionFilter::parse(text).unwrap()
}

pub(crate) fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

pub(crate) fn message(topic: &str, payload: &str) -> Arc<Message> {
    Arc::new(Message {
        topic: TopicName::parse(topic).unwrap(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: ForwardedProperties::default(),
        expires_at: None,
    })
}

pub(crate) fn owed(message: &Arc<Message>) -> Owed {
    Owed {
        message: Arc::clone(message),
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: SubscriptionIds::new(),
        ticket: None,
    }
}

pub(crate) fn subscription() -> Subscription {
    let options = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: false,
        retain_handling: RetainHandling::IfNew,
    };
    Subscription { options, id: None }
}

pub(crate) fn begun(client: &str) -> Change {
    Change::SessionBegun {
        client_id: client_id(client),
        identity: Identity::Anonymous,
        expiry: SessionExpiry::Never,
    }
}

pub(crate) fn ended(client: &str) -> Change {
    Change::SessionEnded { client_id: client_id(client) }
}

pub(crate) fn subscribed(client: &str, text: &str) -> Change {
    let (client_id, filter) = (client_id(client), filter(text));
    Change::Subscribed { client_id, filter, subscription: subscription() }
}

pub(crate) fn queued(client: &str, position: u64, owed: Owed) -> Change {
    Change::Queued { client_id: client_id(client), position, owed }
}

pub(crate) fn unqueued(client: &str, position: u64) -> Change {
    Change::Unqueued { client_id: client_id(client), position }
}

pub(crate) fn sent(client: &str, position: Option<u64>, packet_id: u16, owed: Owed) -> Change {
    Change::Sent { client_id: client_id(client), position, id: id(packet_id), owed }
}

pub(crate) fn released(client: &str, packet_id: u16) -> Change {
    Change::Released { client_id: client_id(client), id: id(packet_id) }
}

pub(crate) fn completed(client: &str, packet_id: u16) -> Change {
    Change::Completed { client_id: client_id(client), id: id(packet_id) }
}
