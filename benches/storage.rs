//! What a durable message costs: the store alone, driven as publishers would drive it.
//!
//! `cargo bench --bench storage -- [DIRECTORY] [MESSAGES]` fills the queues of offline Sessions from
//! 16 and from 256 publishers, drains one store again, and says how much is left on disk and how
//! long the other takes to open. The raw time of fdatasync in the same directory stands beside it.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, rounds, and fails loudly"
)]

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use dunlin::change::{
    Change, CommitNumber, Epoch, Fetch, Journal, Owed, Recorded, SessionExpiry, SubscriptionIds,
};
use dunlin::config::{DiskMax, Storage, StorageEngine, StorageSync};
use dunlin::message::Message;
use dunlin::packet::{ClientId, ForwardedProperties, Identity, PacketId, QoS};
use dunlin::storage::{self, Opened, StoreStatus};
use dunlin::time::Now;
use dunlin::topic::TopicName;
use hdrhistogram::Histogram;

const SESSIONS: u64 = 1_000;
const PAYLOAD_BYTES: usize = 200;
const WINDOW: usize = 64;
const THREADS: usize = 2;

fn main() {
    let arguments: Vec<_> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let folder = arguments.first().map_or_else(std::env::temp_dir, PathBuf::from);
    let messages = arguments.get(1).map_or(1_000_000, |text| text.parse().unwrap());
    let path = folder.join(format!("dunlin-bench-{}", std::process::id()));
    println!("fdatasync of 16 KiB, median: {:?}", raw_sync(&folder));
    for publishers in [16, 256] {
        let _ = fs::remove_dir_all(&path);
        let opened = open(&path);
        begin(&*opened.journal);
        fill(&opened, publishers, messages);
        close(opened);
    }
    let started = Instant::now();
    let opened = open(&path);
    let queued: usize = opened.kept.sessions.iter().map(|session| session.queue.len()).sum();
    println!("opened with {queued} queued in {:?}, {} MB resident", started.elapsed(), resident());
    drain(&opened, messages);
    let status = opened.control.as_ref().unwrap().status();
    // The families that are written most are compacted soon after.
    while status.compactions.load(Ordering::Relaxed) == 0 {
        thread::sleep(Duration::from_millis(100));
    }
    println!("drained: {}", written(status));
    close(opened);
    println!("on disk after closing: {} MB", disk(&path) >> 20);
    let started = Instant::now();
    let opened = open(&path);
    println!("opened when drained in {:?}", started.elapsed());
    close(opened);
    fs::remove_dir_all(&path).unwrap();
}

fn open(path: &Path) -> Opened {
    let storage = Storage {
        engine: StorageEngine::Fjall,
        sync: StorageSync::Always,
        sync_interval: Duration::from_secs(1),
        disk_max: DiskMax::OfFileSystem,
    };
    let now = Now { monotonic: Instant::now(), wall: SystemTime::now() };
    storage::open(&storage, path, now).unwrap()
}

fn close(opened: Opened) {
    opened.control.unwrap().close();
}

fn begin(journal: &dyn Journal) {
    let begun = |client_id| Change::SessionBegun {
        client_id,
        identity: Identity::Anonymous,
        expiry: SessionExpiry::Never,
    };
    let number = submit(journal, (0..SESSIONS).map(client_id).map(begun).collect());
    wait(journal, number);
}

fn client_id(number: u64) -> ClientId {
    ClientId::new(&format!("client-{number:08}")).unwrap()
}

fn submit(journal: &dyn Journal, changes: Vec<Change>) -> CommitNumber {
    let recorded = |change| Recorded { epoch: Epoch(1), change };
    journal.submit(&mut changes.into_iter().map(recorded).collect())
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait(journal: &dyn Journal, number: CommitNumber) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    while journal.kept() < number {
        journal.wake_when_kept(number, &waker);
        thread::park();
    }
}

/// Publishers that wait for the acknowledgement of their oldest message when 64 have none.
fn fill(opened: &Opened, publishers: usize, messages: u64) {
    let status = opened.control.as_ref().unwrap().status();
    let journal = &*opened.journal;
    let (started, processor) = (Instant::now(), processor_time());
    let mut latencies = Histogram::<u64>::new(3).unwrap();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS as u64)
            .map(|thread| {
                scope.spawn(move || {
                    publish(journal, thread, publishers / THREADS, messages / THREADS as u64)
                })
            })
            .collect();
        for thread in threads {
            latencies.add(thread.join().unwrap()).unwrap();
        }
    });
    let (took, processor) = (started.elapsed(), processor_time().saturating_sub(processor));
    println!(
        "{publishers} publishers: {:.0} messages/s, {:.1} µs of processor each, {}",
        messages as f64 / took.as_secs_f64(),
        processor.as_secs_f64() * 1e6 / messages as f64,
        written(status),
    );
    println!(
        "  {:.1} messages a sync; kept after: median {} µs, p99 {} µs, worst {} µs; \
         longest commit {} µs; {} MB resident",
        messages as f64 / status.syncs.load(Ordering::Relaxed) as f64,
        latencies.value_at_quantile(0.5),
        latencies.value_at_quantile(0.99),
        latencies.max(),
        status.longest_commit_microseconds.load(Ordering::Relaxed),
        resident(),
    );
}

fn publish(journal: &dyn Journal, thread: u64, publishers: usize, messages: u64) -> Histogram<u64> {
    let mut latencies = Histogram::<u64>::new(3).unwrap();
    let mut windows = vec![VecDeque::<(CommitNumber, Instant)>::new(); publishers];
    let topic = TopicName::parse("sensors/building/7/temperature").unwrap();
    let mut next = 0;
    while next < messages || windows.iter().any(|window| !window.is_empty()) {
        let (mut oldest, mut did) = (CommitNumber(u64::MAX), false);
        for window in &mut windows {
            let kept = journal.kept();
            let now = Instant::now();
            while let Some((number, since)) = window.front()
                && *number <= kept
            {
                latencies.record((now - *since).as_micros() as u64).unwrap();
                window.pop_front();
            }
            while window.len() < WINDOW && next < messages {
                let position = next / SESSIONS * THREADS as u64 + thread;
                let change = Change::Queued {
                    client_id: client_id(next % SESSIONS),
                    position,
                    owed: owed(&topic, next),
                };
                window.push_back((submit(journal, vec![change]), now));
                (next, did) = (next + 1, true);
            }
            oldest = oldest.min(window.front().map_or(oldest, |(number, _)| *number));
        }
        if !did && oldest < CommitNumber(u64::MAX) {
            wait(journal, oldest);
        }
    }
    latencies
}

fn owed(topic: &TopicName, number: u64) -> Owed {
    let mut payload = vec![b'x'; PAYLOAD_BYTES];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    let message = Message {
        topic: topic.clone(),
        payload: Bytes::from(payload),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: ForwardedProperties::default(),
        expires_at: None,
    };
    Owed {
        message: Arc::new(message),
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: SubscriptionIds::new(),
        ticket: None,
    }
}

/// Every client comes back, reads its queue in slices and acknowledges each message.
fn drain(opened: &Opened, messages: u64) {
    let journal = &*opened.journal;
    let started = Instant::now();
    let mut fetched = 0;
    for session in &opened.kept.sessions {
        for slice in session.queue.chunks(256) {
            let (sender, receiver) = mpsc::channel();
            let (first, last) = (slice.first().unwrap().position, slice.last().unwrap().position);
            let fetch = Fetch { client_id: session.client_id.clone(), first, last };
            journal.fetch(fetch, Box::new(move |fetched| sender.send(fetched).unwrap()));
            let messages = receiver.recv().unwrap().messages;
            fetched += messages.len() as u64;
            let mut sent = Vec::new();
            let mut completed = Vec::new();
            for (index, (position, owed)) in (1..).zip(messages) {
                let (client_id, id) = (session.client_id.clone(), PacketId::new(index).unwrap());
                completed.push(Change::Completed { client_id: client_id.clone(), id });
                sent.push(Change::Sent { client_id, position: Some(position), id, owed });
            }
            wait(journal, submit(journal, sent));
            submit(journal, completed);
        }
    }
    let last = submit(journal, vec![Change::SessionResumed { client_id: client_id(0) }]);
    wait(journal, last);
    assert_eq!(fetched, messages);
    println!("{:.0} messages/s drained", messages as f64 / started.elapsed().as_secs_f64());
}

fn written(status: &StoreStatus) -> String {
    format!(
        "{} MB of records written, {} MB to disk, {} commits",
        status.bytes_written.load(Ordering::Relaxed) >> 20,
        written_bytes() >> 20,
        status.commits.load(Ordering::Relaxed),
    )
}

/// By the whole process so far.
fn written_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or_default()
}

/// User and system, of the whole process.
fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = text.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(12) + ticks(13)) * 10)
}

fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() >> 10
}

fn raw_sync(folder: &Path) -> Duration {
    let path = folder.join(format!("dunlin-bench-sync-{}", std::process::id()));
    let mut file = File::create(&path).unwrap();
    let mut times: Vec<_> = (0..200)
        .map(|_| {
            file.write_all(&[7; 16_384]).unwrap();
            let started = Instant::now();
            file.sync_data().unwrap();
            started.elapsed()
        })
        .collect();
    fs::remove_file(path).unwrap();
    times.sort();
    times[times.len() / 2]
}

/// What the files occupy, holes not counted.
fn disk(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() { disk(&entry.path()) } else { metadata.blocks() * 512 }
        })
        .sum()
}
