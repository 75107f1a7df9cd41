//! A store of each schema, as a version that had it wrote it and a crash left it: every later version
//! has to read it.
//!
//! `tests/storage/schemas/N.tar.gz` has the data directory of schema N. Whoever makes a new schema
//! writes its directory, with the code that has it, for those who come later:
//!
//! ```sh
//! DUNLIN_SCHEMA_ARCHIVE=/tmp/2.tar.gz cargo test --test storage what_this_version
//! ```

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use dunlin::change::{
    Change, KeptStage, Owed, SessionExpiry, Subscription, SubscriptionIds, Ticket, TicketStanding,
};
use dunlin::config::StorageSync;
use dunlin::message::Message;
use dunlin::packet::{
    ForwardedProperties, Identity, QoS, RetainHandling, SubscriptionId, SubscriptionOptions,
    UserName,
};
use dunlin::storage::SCHEMA;
use dunlin::time::Now;
use dunlin::topic::TopicName;

use crate::support::{
    Folder, Store, begun, client_id, completed, ended, filter, id, message, owed, queued, released,
    sent, subscribed, unqueued,
};

/// Every one that is passed on.
const PROPERTIES: &[u8] =
    b"\x01\x01\x03\x00\x04json\x08\x00\x01r\x09\x00\x02\x00\xFF\x26\x00\x01k\x00\x01v";

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn a_store_of_each_schema_is_read() {
    for schema in 1..=SCHEMA {
        let archive =
            format!("{}/tests/storage/schemas/{schema}.tar.gz", env!("CARGO_MANIFEST_DIR"));
        let folder = Folder::new();
        std::fs::create_dir_all(folder.path()).unwrap();
        tar(&["-xzf", &archive], folder.path());

        assert_eq!(described(&open(&folder)), EXPECTED, "schema {schema}");
    }
}

#[test]
fn what_this_version_writes_it_reads() {
    let folder = Folder::new();
    let store = open(&folder);
    write(&store);

    let left = folder.copy();
    if let Ok(archive) = std::env::var("DUNLIN_SCHEMA_ARCHIVE") {
        tar(&["--sparse", "-czf", &archive, "."], left.path());
    }

    assert_eq!(described(&open(&left)), EXPECTED);
}

fn tar(arguments: &[&str], directory: &Path) {
    let ran = Command::new("tar").args(arguments).current_dir(directory).status();
    assert!(ran.unwrap().success(), "{arguments:?}");
}

/// With a wall clock that is always behind the one it was written with, so that nothing expires.
fn open(folder: &Folder) -> Store {
    let now = Now { monotonic: Instant::now(), wall: UNIX_EPOCH };
    Store::open_at(folder, StorageSync::Always, now).unwrap()
}

/// Something of everything, a part of it in tables and the rest in the journal.
fn write(store: &Store) {
    store.keep(vec![
        Change::SessionBegun {
            client_id: client_id("user"),
            identity: Identity::User(UserName::new("alice").unwrap()),
            expiry: SessionExpiry::After(HOUR),
        },
        Change::Subscribed {
            client_id: client_id("user"),
            filter: filter("a/+/#"),
            subscription: Subscription {
                options: SubscriptionOptions {
                    qos: QoS::ExactlyOnce,
                    no_local: false,
                    retain_as_published: true,
                    retain_handling: RetainHandling::Never,
                },
                id: SubscriptionId::new(268_435_455),
            },
        },
        subscribed("user", "$share/g/b/#"),
        subscribed("user", "gone"),
        Change::WillKept {
            client_id: client_id("user"),
            message: rich("will"),
            expiry: Some(5),
            delay: Duration::from_secs(3),
            patience: Duration::from_secs(60),
        },
        Change::Received { client_id: client_id("user"), id: id(9) },
        Change::Received { client_id: client_id("user"), id: id(65_535) },
    ]);
    store.keep(vec![begun("other"), begun("ended"), subscribed("ended", "e")]);
    let large = large();
    store.keep(vec![
        queued("user", 0, ids(owed(&rich("rich")))),
        queued("user", 1, owed(&large)),
        queued("other", 0, owed(&large)),
        queued("user", 2, owed(&message("left", ""))),
        queued("user", 3, owed(&message("sent", "from the queue"))),
        queued("user", 4, owed(&message("done", ""))),
    ]);
    store.keep(vec![
        Change::Retained { message: rich("r/rich") },
        Change::Retained { message: message("r/old", "") },
        Change::Retained { message: message("r/replaced", "old") },
    ]);
    for position in 0..3 {
        let message = message("shared", &position.to_string());
        store.keep(vec![Change::GroupQueued { group: group(), position, lane: 1, message }]);
    }
    store.control.flush_tables();
    write_behind(store);
}

fn write_behind(store: &Store) {
    store.keep(vec![
        Change::Unsubscribed { client_id: client_id("user"), filter: filter("gone") },
        Change::Forgotten { client_id: client_id("user"), id: id(9) },
        unqueued("user", 2),
        sent("user", Some(3), 30, owed(&message("sent", "from the queue"))),
        sent("user", Some(4), 31, owed(&message("done", ""))),
        sent("user", None, 20, owed(&large())),
        sent("user", None, 10, owed(&message("released", ""))),
        completed("user", 31),
        released("user", 10),
        ended("ended"),
        Change::SessionExpiryChanged {
            client_id: client_id("other"),
            expiry: SessionExpiry::After(2 * HOUR),
        },
        Change::SessionAway { client_id: client_id("other"), since: Instant::now() },
        Change::GroupUnqueued { group: group(), position: 0 },
        Change::Retained { message: message("r/replaced", "new") },
        Change::RetainedRemoved { topic: TopicName::parse("r/old").unwrap() },
    ]);
    let from_group =
        Ticket { group: group(), position: 1, lane: 1, standing: TicketStanding::Kept };
    let of_group = Owed { ticket: Some(from_group), ..owed(&message("shared", "1")) };
    store.keep(vec![sent("user", None, 40, of_group)]);
}

fn group() -> Arc<dunlin::topic::SubscriptionFilter> {
    Arc::new(filter("$share/g/b/#"))
}

/// One that is kept by itself if several are owed it at once.
fn large() -> Arc<Message> {
    message("large", &"x".repeat(500))
}

/// A message with properties and an expiry.
fn rich(topic: &str) -> Arc<Message> {
    Arc::new(Message {
        topic: TopicName::parse(topic).unwrap(),
        payload: Bytes::from_static(b"\x00rich\xFF"),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: ForwardedProperties::from_bytes(PROPERTIES).unwrap(),
        expires_at: Some(Instant::now() + HOUR),
    })
}

/// At QoS 2, to be sent as retained and with Subscription Identifiers.
fn ids(owed: Owed) -> Owed {
    let subscription_ids: SubscriptionIds =
        [1, 200_000].into_iter().filter_map(SubscriptionId::new).collect();
    Owed { qos: QoS::ExactlyOnce, retain: true, subscription_ids, ..owed }
}

fn described(store: &Store) -> Vec<String> {
    let mut lines = Vec::new();
    for session in &store.kept.sessions {
        let name = session.client_id.as_str();
        let (identity, expiry) = (&session.identity, session.expiry);
        lines.push(format!("{name}: {identity:?} {expiry:?}, after {}", session.last_packet_id));
        for (filter, subscription) in &session.subscriptions {
            let SubscriptionOptions { qos, no_local, retain_as_published, retain_handling } =
                subscription.options;
            let (options, id) = ([no_local, retain_as_published], subscription.id);
            lines.push(format!(
                "{name} to {filter}: {qos:?} {options:?} {retain_handling:?} {id:?}"
            ));
        }
        let positions: Vec<_> = session.queue.iter().map(|it| it.position).collect();
        // The record of one that was sent stays until it is completed.
        let mut waiting = store.fetch(name, 0, u64::MAX);
        waiting.retain(|(position, _)| positions.contains(position));
        for (position, owed) in waiting {
            lines.push(format!("{name} queued {position}: {}", text_of_owed(&owed)));
        }
        for inflight in &session.inflight {
            let stage = match &inflight.stage {
                KeptStage::Published(owed) => text_of_owed(owed),
                KeptStage::Released { .. } => "released".to_owned(),
            };
            lines.push(format!("{name} inflight {}: {stage}", inflight.id.value()));
        }
        lines.push(format!("{name} received {:?}", session.received));
        if let Some(will) = &session.will {
            let (expiry, delay, patience) = (will.expiry, will.delay, will.patience);
            let message = text_of(&will.message);
            lines.push(format!("{name} will {expiry:?} {delay:?} {patience:?}: {message}"));
        }
    }
    for group in &store.kept.groups {
        for waiting in &group.messages {
            let (position, lane) = (waiting.position, waiting.lane);
            let message = text_of(&waiting.message);
            lines.push(format!("{} {position} in {lane}: {message}", group.filter));
        }
    }
    lines
        .extend(store.kept.retained.iter().map(|message| format!("retained {}", text_of(message))));
    lines.sort();
    lines
}

fn text_of_owed(owed: &Owed) -> String {
    let Owed { message, qos, retain, subscription_ids, ticket } = owed;
    let message = text_of(message);
    format!("{qos:?} {retain} {subscription_ids:?} {} {message}", ticket.is_some())
}

fn text_of(message: &Message) -> String {
    let Message { topic, payload, qos, retain, properties, expires_at } = message;
    let payload = &payload.slice(..payload.len().min(20));
    let now = Instant::now();
    let lives = expires_at.map(|at| at > now + HOUR / 2 && at < now + HOUR * 2);
    let properties = match properties.as_bytes() {
        [] => "",
        PROPERTIES => "all",
        _ => "altered",
    };
    format!("{} {payload:?} {qos:?} {retain} {properties:?} {lives:?}", topic.as_str())
}

const EXPECTED: [&str; 18] = [
    r#"$share/g/b/# 1 in 1: shared b"1" ExactlyOnce false "" None"#,
    r#"$share/g/b/# 2 in 1: shared b"2" ExactlyOnce false "" None"#,
    r#"other queued 0: AtLeastOnce false [] false large b"xxxxxxxxxxxxxxxxxxxx" ExactlyOnce false "" None"#,
    "other received []",
    "other: Anonymous After(7200s), after 0",
    r#"retained r/replaced b"new" ExactlyOnce false "" None"#,
    r#"retained r/rich b"\0rich\xff" AtLeastOnce true "all" Some(true)"#,
    "user inflight 10: released",
    r#"user inflight 20: AtLeastOnce false [] false large b"xxxxxxxxxxxxxxxxxxxx" ExactlyOnce false "" None"#,
    r#"user inflight 30: AtLeastOnce false [] false sent b"from the queue" ExactlyOnce false "" None"#,
    r#"user inflight 40: AtLeastOnce false [] true shared b"1" ExactlyOnce false "" None"#,
    r#"user queued 0: ExactlyOnce true [SubscriptionId(1), SubscriptionId(200000)] false rich b"\0rich\xff" AtLeastOnce true "all" Some(true)"#,
    r#"user queued 1: AtLeastOnce false [] false large b"xxxxxxxxxxxxxxxxxxxx" ExactlyOnce false "" None"#,
    "user received [PacketId(65535)]",
    "user to $share/g/b/#: AtLeastOnce [true, false] IfNew None",
    "user to a/+/#: ExactlyOnce [false, true] Never Some(SubscriptionId(268435455))",
    r#"user will Some(5) 3s 60s: will b"\0rich\xff" AtLeastOnce true "all" Some(true)"#,
    r#"user: User(UserName("alice")) After(3600s), after 40"#,
];
