//! Whatever happens in whatever groups, a store that is opened again has what a small model has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dunlin::change::{Change, KeptStage, SessionExpiry};
use dunlin::config::StorageSync;
use dunlin::message::Message;
use dunlin::topic::TopicName;
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};

use crate::support::{
    Folder, Store, begun, client_id, completed, ended, filter, id, message, owed, queued, released,
    sent, subscription, unqueued,
};

const CLIENTS: [&str; 3] = ["a", "b", "c"];

/// What a store is to have.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    sessions: BTreeMap<&'static str, Session>,
    groups: BTreeMap<String, BTreeMap<u64, String>>,
    retained: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Session {
    expires: bool,
    subscriptions: BTreeSet<String>,
    queue: BTreeMap<u64, String>,
    /// In the order of sending; without a text it was released.
    inflight: Vec<(u16, Option<String>)>,
    received: BTreeSet<u16>,
    will: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// What is to be done, to which client, with what.
    Change(u8, usize, u8),
    Keep,
    Close,
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (0_u8..17, 0..CLIENTS.len(), any::<u8>())
        .prop_map(|(what, who, with)| Step::Change(what, who, with));
    let step = prop_oneof![40 => change, 4 => Just(Step::Keep), 1 => Just(Step::Close),
        1 => Just(Step::Kill)];
    vec(step, 1..250)
}

/// Applies a step to the model, if it may happen: the changes the router would submit.
struct World {
    model: Model,
    next_position: u64,
    /// One message that several are owed, so that it is kept once.
    shared: Arc<Message>,
}

impl World {
    fn new() -> Self {
        let shared = message("shared", &"s".repeat(300));
        Self { model: Model::default(), next_position: 0, shared }
    }

    fn message(&self, with: u8) -> Arc<Message> {
        if with.is_multiple_of(3) {
            Arc::clone(&self.shared)
        } else {
            message("own", &format!("payload {with}"))
        }
    }

    fn change(&mut self, what: u8, client: &'static str, with: u8) -> Option<Change> {
        match what {
            0 => {
                let is_new = !self.model.sessions.contains_key(client);
                is_new.then(|| {
                    self.model.sessions.insert(client, Session::default());
                    begun(client)
                })
            }
            1..=4 => self.change_of_all(what, with),
            5..=9 => self.change_of_session(what, client, with),
            10..=14 => self.change_outgoing(what, client, with),
            _ => self.change_incoming(what, client, with),
        }
    }

    fn change_of_all(&mut self, what: u8, with: u8) -> Option<Change> {
        let message = self.message(with);
        let (topic, name) = (topic(with), format!("$share/g{}/#", with % 2));
        Some(match what {
            1 => {
                self.model.retained.insert(topic.clone(), text(&message));
                Change::Retained { message: crate::support::message(&topic, &text(&message)) }
            }
            2 => {
                self.model.retained.remove(&topic);
                Change::RetainedRemoved { topic: TopicName::parse(&topic).unwrap() }
            }
            3 => {
                let position = self.next_position;
                self.next_position += 1;
                let waiting = self.model.groups.entry(name.clone()).or_default();
                waiting.insert(position, text(&message));
                let group = Arc::new(filter(&name));
                Change::GroupQueued { group, position, lane: with, message }
            }
            _ => {
                let waiting = self.model.groups.get_mut(&name)?;
                let (position, _) = waiting.pop_first()?;
                if waiting.is_empty() {
                    self.model.groups.remove(&name);
                }
                Change::GroupUnqueued { group: Arc::new(filter(&name)), position }
            }
        })
    }

    fn change_of_session(&mut self, what: u8, client: &str, with: u8) -> Option<Change> {
        let topic = topic(with);
        let session = self.model.sessions.get_mut(client)?;
        let client_id = client_id(client);
        match what {
            5 if with < 20 => {
                self.model.sessions.remove(client);
                Some(ended(client))
            }
            6 if with < 20 => {
                self.model.sessions.remove(client);
                let expiry = SessionExpiry::AtDisconnect;
                Some(Change::SessionExpiryChanged { client_id, expiry })
            }
            7 => {
                session.expires = true;
                let expiry = SessionExpiry::After(Duration::from_secs(1_000_000));
                Some(Change::SessionExpiryChanged { client_id, expiry })
            }
            8 => {
                session.subscriptions.insert(topic.clone());
                let (filter, subscription) = (filter(&topic), subscription());
                Some(Change::Subscribed { client_id, filter, subscription })
            }
            9 => {
                session.subscriptions.remove(&topic);
                Some(Change::Unsubscribed { client_id, filter: filter(&topic) })
            }
            _ => None,
        }
    }

    fn change_outgoing(&mut self, what: u8, client: &str, with: u8) -> Option<Change> {
        let (message, packet_id) = (self.message(with), packet_id(with));
        let position = self.next_position;
        let session = self.model.sessions.get_mut(client)?;
        let is_sent = session.inflight.iter().any(|(id, _)| *id == packet_id);
        match what {
            10 => {
                self.next_position += 1;
                session.queue.insert(position, text(&message));
                Some(queued(client, position, owed(&message)))
            }
            11 => {
                let (position, _) = session.queue.pop_first()?;
                Some(unqueued(client, position))
            }
            12 if !is_sent && with < 128 => {
                let (position, payload) = session.queue.pop_first()?;
                let message = crate::support::message("own", &payload);
                session.inflight.push((packet_id, Some(payload)));
                Some(sent(client, Some(position), packet_id, owed(&message)))
            }
            12 if !is_sent => {
                session.inflight.push((packet_id, Some(text(&message))));
                Some(sent(client, None, packet_id, owed(&message)))
            }
            13 => {
                let sent = session.inflight.iter_mut().find(|(id, _)| *id == packet_id)?;
                sent.1.take()?;
                Some(released(client, packet_id))
            }
            14 if is_sent => {
                session.inflight.retain(|(id, _)| *id != packet_id);
                Some(completed(client, packet_id))
            }
            _ => None,
        }
    }

    fn change_incoming(&mut self, what: u8, client: &str, with: u8) -> Option<Change> {
        let (message, packet_id) = (self.message(with), packet_id(with));
        let session = self.model.sessions.get_mut(client)?;
        let (client_id, id) = (client_id(client), id(packet_id));
        Some(if what == 15 {
            if session.received.insert(packet_id) {
                Change::Received { client_id, id }
            } else {
                session.received.remove(&packet_id);
                Change::Forgotten { client_id, id }
            }
        } else if session.will.take().is_some() {
            Change::WillDropped { client_id }
        } else {
            session.will = Some(text(&message));
            let delay = Duration::ZERO;
            Change::WillKept { client_id, message, expiry: None, delay, patience: delay }
        })
    }
}

fn text(message: &Message) -> String {
    String::from_utf8(message.payload.to_vec()).unwrap()
}

fn topic(with: u8) -> String {
    format!("topic/{}", with % 4)
}

fn packet_id(with: u8) -> u16 {
    u16::from(with % 8) + 1
}

/// What a store has, as the model says it.
fn seen(store: &Store) -> Model {
    let mut model = Model::default();
    for session in &store.kept.sessions {
        let client = CLIENTS.into_iter().find(|it| *it == session.client_id.as_str()).unwrap();
        let queue = store.fetch(client, 0, u64::MAX);
        let waiting: BTreeSet<_> = session.queue.iter().map(|it| it.position).collect();
        let kept = Session {
            expires: session.expiry != SessionExpiry::Never,
            subscriptions: session.subscriptions.iter().map(|(it, _)| it.to_string()).collect(),
            // What is inflight lies in the queue as well.
            queue: queue
                .iter()
                .filter(|(position, _)| waiting.contains(position))
                .map(|(position, owed)| (*position, text(&owed.message)))
                .collect(),
            inflight: session
                .inflight
                .iter()
                .map(|it| match &it.stage {
                    KeptStage::Published(owed) => (it.id.value(), Some(text(&owed.message))),
                    KeptStage::Released { .. } => (it.id.value(), None),
                })
                .collect(),
            received: session.received.iter().map(|id| id.value()).collect(),
            will: session.will.as_ref().map(|will| text(&will.message)),
        };
        assert_eq!(kept.queue.len(), waiting.len(), "each that waits can be read");
        model.sessions.insert(client, kept);
    }
    for group in &store.kept.groups {
        let waiting = group.messages.iter().map(|it| (it.position, text(&it.message)));
        model.groups.insert(group.filter.to_string(), waiting.collect());
    }
    let retained = store.kept.retained.iter();
    model.retained = retained.map(|it| (it.topic.as_str().to_owned(), text(it))).collect();
    model
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        max_shrink_iters: 400,
        // What failed is printed, and nothing is written into the sources.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_store_that_is_opened_again_has_what_the_model_has(steps in steps()) {
        let mut folder = Folder::new();
        let mut store = Store::open_with(&folder, StorageSync::Os);
        let mut world = World::new();
        let mut group = Vec::new();
        for step in steps.into_iter().chain([Step::Kill, Step::Close]) {
            match step {
                Step::Change(what, who, with) => {
                    group.extend(world.change(what, CLIENTS[who], with));
                    // Sometimes several changes are submitted together.
                    if with % 5 != 0 {
                        store.submit(std::mem::take(&mut group));
                    }
                }
                Step::Keep => store.keep(std::mem::take(&mut group)),
                Step::Close => {
                    store.submit(std::mem::take(&mut group));
                    store.close();
                    store = Store::open_with(&folder, StorageSync::Os);
                    assert_eq!(seen(&store), world.model);
                    assert_eq!(store.report.loaded.damaged, 0);
                }
                Step::Kill => {
                    // A group that is empty has no number to wait for.
                    let topic = TopicName::parse("x").unwrap();
                    group.push(Change::RetainedRemoved { topic });
                    store.keep(std::mem::take(&mut group));
                    let killed = folder.copy();
                    store.close();
                    folder = killed;
                    store = Store::open_with(&folder, StorageSync::Os);
                    assert_eq!(seen(&store), world.model);
                    assert_eq!(store.report.loaded.damaged, 0);
                }
            }
        }
    }
}
