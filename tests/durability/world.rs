//! Everybody who uses the broker: load until it dies, and what has to be so afterwards.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::connect::Connect;
use crate::ledger::{Fault, Kind, StreamId};
use crate::link::{Gone, Link};
use crate::publisher::{Publisher, Task};
use crate::random::Random;
use crate::server::{Server, Sync};
use crate::sessions::{Fickle, check_ended, end_a_session};
use crate::shared::{Shared, within};
use crate::subscriber::{Habit, Subscriber};
use crate::wills::{Living, Wills};
use crate::wire::{Message, Packet, Properties, Version, acknowledge, packet, publish, text};

/// Messages of a publisher that may be unanswered.
const WINDOW: usize = 24;

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) shared: Arc<Shared>,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    wills: Wills,
    fickle: Fickle,
}

/// A load that goes on until the broker is gone.
pub(crate) struct Load {
    publishers: Vec<JoinHandle<(Publisher, Result<(), Gone>)>>,
    subscribers: Vec<JoinHandle<(Subscriber, Result<(), Gone>)>>,
    away: Vec<Subscriber>,
    fickle: JoinHandle<(Fickle, Result<(), Gone>)>,
    _living: Living,
}

impl World {
    pub(crate) async fn new(data: &Path, sync: Sync, random: &Random) -> Self {
        Self::on(Server::start(data, sync), random).await
    }

    pub(crate) async fn on(server: Server, random: &Random) -> Self {
        let shared = Arc::new(Shared::default());
        let publishers = publishers(&shared);
        let (wills, taker) = Wills::new(&shared);
        let mut subscribers = subscribers(&shared);
        subscribers.push(taker);
        for subscriber in &mut subscribers {
            subscriber.subscribe(server.address()).await;
        }
        let fickle = Fickle::new(random.clone());
        Self { server, shared, publishers, subscribers, wills, fickle }
    }

    /// Starts a load that is still running, after so many messages more were answered for.
    pub(crate) async fn load(&mut self, messages: u64) -> Load {
        let address = self.server.address();
        let (present, away): (Vec<_>, _) =
            self.subscribers.drain(..).partition(|one| one.habit != Habit::Away);
        let subscribers = present.into_iter().map(|mut subscriber| {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move {
                let load = subscriber.run(address, &shared, Task::Load);
                let end = shared.until_cut(load).await;
                (subscriber, end)
            })
        });
        let subscribers = subscribers.collect();
        end_a_session(address).await;
        let _living = self.wills.live(address, &self.shared).await;
        let publishers = self.publishers.drain(..).map(|mut publisher| {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move {
                let load = publisher.run(address, &shared, Task::Load);
                let end = shared.until_cut(load).await;
                (publisher, end)
            })
        });
        let publishers = publishers.collect();
        let shared = Arc::clone(&self.shared);
        let no_fickle = Fickle::new(Random::new(0));
        let mut fickle = std::mem::replace(&mut self.fickle, no_fickle);
        let fickle = tokio::spawn(async move {
            let end = shared.until_cut(fickle.run(address, &shared)).await;
            (fickle, end)
        });
        self.shared.until_acknowledged(messages).await;
        Load { publishers, subscribers, away, fickle, _living }
    }

    /// Takes everybody back from a load that is over: how their connections ended.
    pub(crate) async fn settle(&mut self, load: Load) -> Vec<Gone> {
        let mut ends = Vec::new();
        for publisher in load.publishers {
            let ended = within("the end of a publisher", publisher).await;
            let (publisher, end) = ended.expect("a publisher ran");
            self.publishers.push(publisher);
            ends.push(end);
        }
        for subscriber in load.subscribers {
            let ended = within("the end of a subscriber", subscriber).await;
            let (subscriber, end) = ended.expect("a subscriber ran");
            self.subscribers.push(subscriber);
            ends.push(end);
        }
        self.subscribers.extend(load.away);
        let ended = within("the end of the fickle one", load.fickle).await;
        let (fickle, end) = ended.expect("the fickle one ran");
        self.fickle = fickle;
        ends.push(end);
        ends.into_iter().map(|end| end.expect_err("nobody leaves a load")).collect()
    }

    /// What is to be seen at once after a restart.
    pub(crate) async fn check_restart(&mut self) {
        let address = self.server.address();
        self.check_retained().await;
        check_ended(address, &self.shared).await;
        let check = self.fickle.check(address, &self.shared);
        within("the probes of the fickle one", check).await.expect("a connection");
    }

    /// Brings all publishers and then all subscribers to their end: the faults found.
    pub(crate) async fn finish(&mut self) -> Vec<Fault> {
        let address = self.server.address();
        self.wills.leave(address, &self.shared).await;
        for publisher in &mut self.publishers {
            let finished = publisher.run(address, &self.shared, Task::Finish);
            within("a publisher's last answers", finished).await.expect("a connection");
        }
        let shared = Arc::clone(&self.shared);
        let subscribers = self.subscribers.drain(..).map(|mut subscriber| {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                subscriber.finish(address, &shared).await;
                subscriber
            })
        });
        let tasks: Vec<_> = subscribers.collect();
        for task in tasks {
            self.subscribers.push(task.await.expect("a subscriber ends"));
        }
        self.check_retained().await;
        shared.ledger().faults()
    }

    async fn check_retained(&self) {
        let streams = self.shared.ledger().retained_streams();
        let read = retained(self.server.address());
        let found = within("what is retained", read).await.expect("a connection");
        for (id, topic) in streams {
            let message = found.iter().find(|message| message.topic == topic);
            let payload = message.map(|message| message.payload.as_slice());
            self.shared.ledger().found_retained(id, payload);
        }
    }
}

fn publishers(shared: &Shared) -> Vec<Publisher> {
    let versions = [Version::V5, Version::V311, Version::V5, Version::V311];
    let publishers = versions.into_iter().enumerate().map(|(number, version)| {
        let mut ledger = shared.ledger();
        let mut streams: Vec<StreamId> = Vec::new();
        for topic in ["a", "b"] {
            for qos in [1, 2] {
                streams.push(ledger.stream(&format!("load/{number}/{topic}{qos}"), qos));
            }
        }
        for qos in [1, 2] {
            streams.push(ledger.retained_stream(&format!("kept/{number}/{qos}"), qos));
        }
        Publisher::new(version, &format!("publisher-{number}"), streams, WINDOW)
    });
    publishers.collect()
}

fn subscribers(shared: &Shared) -> Vec<Subscriber> {
    use {Habit::*, Version::*};
    let of = |version, name: &str, filter: &str, qos, habit| {
        let prefix = filter.trim_end_matches('#');
        let taker = shared.ledger().taker(name, prefix, qos, Kind::Session);
        Subscriber::new(version, name, (filter, qos), taker, habit)
    };
    let mut all = vec![
        of(V5, "prompt-5", "load/#", 2, Prompt),
        of(V311, "prompt-311", "load/#", 2, Prompt),
        of(V5, "lowered", "load/0/#", 1, Prompt),
        of(V5, "slow-5", "load/0/#", 2, Slow),
        of(V311, "slow-311", "load/1/#", 2, Slow),
        of(V5, "away-5", "load/#", 2, Away),
        of(V311, "away-311", "load/2/#", 1, Away),
    ];
    let group = shared.ledger().taker("group", "load/3/", 2, Kind::Group);
    let filter = ("$share/group/load/3/#", 2);
    for (name, version, habit) in [("member-5", V5, Prompt), ("member-311", V311, Slow)] {
        all.push(Subscriber::new(version, name, filter, group, habit));
    }
    all
}

/// All that is retained below `kept`: a newer message is retained elsewhere and asked for after it.
async fn retained(address: SocketAddr) -> Result<Vec<Message>, Gone> {
    let version = Version::V5;
    let mut link = Link::open(address, &Connect::new(version, "reader")).await?;
    let none = Properties::default();
    link.send(&publish(version, 0x33, "end-of-kept", 1, &none, b"end"));
    let filters = [text("kept/#"), vec![1], text("end-of-kept"), vec![1]].concat();
    link.send(&packet(0x82, &[&[0, 2], &none.encode()[..], &filters].concat()));
    let mut found = Vec::new();
    loop {
        match link.packet().await? {
            Packet::Publish(message) => {
                link.send(&acknowledge(0x40, message.packet_id));
                if message.topic == "end-of-kept" {
                    link.leave().await;
                    return Ok(found);
                }
                found.push(message);
            }
            Packet::PubAck { .. } | Packet::SubAck { .. } => {}
            other => panic!("waiting for what is retained: {other:?}"),
        }
    }
}
