//! One memory budget for the whole process: who fills it waits, and nobody else notices.

use rustix::process::{Pid, Signal, kill_process};
use tokio::{task::JoinHandle, time::timeout};

use crate::support::{
    BOTH, Broker, Client, Connect, End, Packet, Properties, Version, Will,
    broker::PATIENCE,
    join,
    scram::{LISTENER, Scram, USER, challenge, connect},
    taker,
    wire::{USER_PROPERTY, Value, publish},
};

const BULK_BYTES: usize = 64 * 1024;

/// The smallest budget, and queues that leave it the only limit.
const CONFIGURATION: &str = "workers = 1\n\
    [limits]\n\
    memory_max = \"16 MiB\"\n\
    [session]\n\
    queue_bytes_max = \"1 GiB\"\n\
    queue_offline_messages_max = 100000\n";

/// More than the budget, in messages of `BULK_BYTES`.
const MANY: u32 = 400;

/// A broker with a small budget and a client that takes `fill` and is away.
struct Scene {
    broker: Broker,
    neighbour: Client,
    version: Version,
}

impl Scene {
    async fn new(version: Version) -> Self {
        Self::with(version, "").await
    }

    async fn with(version: Version, more: &str) -> Self {
        let broker = Broker::start_with(&format!("{CONFIGURATION}{more}"));
        let neighbour = join(broker.address, version, "neighbour").await;
        let mut scene = Self { broker, neighbour, version };
        let mut forgotten = scene.come_back().await;
        forgotten.subscribe("fill", 2).await;
        forgotten.disconnect().await;
        scene
    }

    async fn join(&self, client_id: &str) -> Client {
        join(self.broker.address, self.version, client_id).await
    }

    /// The client that was away.
    async fn come_back(&mut self) -> Client {
        let connect = Connect::lasting(self.version, "forgotten");
        Client::connect(self.broker.address, &connect).await
    }

    /// Waits for a line of the log, each answer to the neighbour being a turn of the worker.
    async fn until_logged(&mut self, text: &str) {
        let log = std::sync::Arc::clone(&self.broker.log);
        let logged = async {
            while !log.lock().expect("the log").contains(text) {
                self.neighbour.ping().await;
            }
        };
        timeout(PATIENCE, logged).await.expect(text);
    }

    /// Fills the budget: how many messages wait now.
    async fn fill(&mut self) -> u32 {
        let mut filler = self.join("filler").await;
        let mut count = 0;
        loop {
            let published = filler.publish_and_wait("fill", numbered(count), 1);
            tokio::select! {
                _ = published => count += 1,
                () = self.until_logged("clients fill limits.memory_max") => {
                    filler.reset();
                    return count;
                }
            }
        }
    }

    /// Empties it again.
    async fn drain(&mut self, count: u32) {
        let mut forgotten = self.come_back().await;
        take_numbered(&mut forgotten, count).await;
        self.until_logged("there is memory again").await;
    }

    async fn until_paused(&mut self, client_id: &str) {
        self.until_logged(&format!("client_id=\"{client_id}\" reason=Filling")).await;
    }
}

fn numbered(number: u32) -> String {
    let text = number.to_string();
    let padding = " ".repeat(BULK_BYTES - text.len());
    text + &padding
}

async fn take_numbered(client: &mut Client, count: u32) {
    for expected in 0..count {
        let message = client.message().await;
        assert_eq!(message.payload.len(), BULK_BYTES);
        assert_eq!(message.text().trim().parse(), Ok(expected));
    }
}

/// Publishes more than the budget and ends when all of it was acknowledged.
fn publish_many(mut publisher: Client, qos: u8) -> JoinHandle<Client> {
    tokio::spawn(async move {
        for number in 0..MANY {
            publisher.publish("fill", numbered(number), qos);
            publisher.wait_for_window(10).await;
        }
        publisher.wait_for_window(0).await;
        publisher
    })
}

#[tokio::test]
async fn a_publisher_that_fills_the_memory_waits_and_loses_nothing() {
    for version in BOTH {
        for qos in [1, 2] {
            let mut scene = Scene::new(version).await;
            let publisher = scene.join("publisher").await;

            let publishing = publish_many(publisher, qos);
            scene.until_paused("publisher").await;
            assert!(!publishing.is_finished());
            let mut forgotten = scene.come_back().await;

            take_numbered(&mut forgotten, MANY).await;
            publishing.await.expect("all is acknowledged").ping().await;
        }
    }
}

/// The end of another client with the same Keep Alive shows that it has passed.
#[tokio::test]
async fn keep_alive_stands_still_while_a_client_waits() {
    let mut scene = Scene::new(Version::V311).await;
    let connect = |id: &str| Connect::new(Version::V311, id).keep_alive(1);
    let address = scene.broker.address;
    let publisher = Client::connect(address, &connect("publisher")).await;
    let mut halting = Client::connect(address, &connect("halting")).await;
    let none = Properties::default();
    let large = publish(Version::V311, 0x30, "t", 0, &none, &vec![b'x'; 1024 * 1024]);
    let (first, rest) = large.split_at(large.len() / 2);
    let publishing = publish_many(publisher, 1);
    scene.until_paused("publisher").await;
    halting.send(first);
    let halting = tokio::spawn(async move {
        halting.flush().await;
        halting
    });
    scene.until_logged("client_id=\"halting\" reason=LargePacket").await;

    let mut silent = Client::connect(address, &connect("silent")).await;
    assert_eq!(silent.end().await, End::Closed);
    let mut forgotten = scene.come_back().await;

    take_numbered(&mut forgotten, MANY).await;
    publishing.await.expect("it was not closed").ping().await;
    let mut halting = halting.await.expect("it was not closed either");
    halting.send(rest);
    halting.ping().await;
}

#[tokio::test]
async fn a_client_that_waits_for_too_long_is_told_why_and_closed() {
    for (version, expected) in [(Version::V311, End::Closed), (Version::V5, End::Disconnect(0x97))]
    {
        let mut scene = Scene::with(version, "[outbound]\nstall_timeout = \"500ms\"\n").await;
        let mut publisher = scene.join("publisher").await;

        for number in 0..MANY {
            publisher.publish("fill", numbered(number), 1);
        }

        assert_eq!(publisher.end().await, expected);
        assert!(!publisher.open.is_empty(), "what was not taken is not acknowledged");
        scene.until_logged("the server held more than limits.memory_max").await;
    }
}

/// Each holds back what the other one waits for: neither may wait for the stall time-out.
#[tokio::test]
async fn two_that_fill_each_others_queues_do_not_wait_for_each_other() {
    let mut scene = Scene::new(Version::V5).await;
    let address = scene.broker.address;
    let mut one = taker(address, Version::V5, "one", "to/one", 1).await;
    let mut other = taker(address, Version::V311, "other", "to/other", 1).await;
    one.withhold_answers();
    other.withhold_answers();
    scene.fill().await;

    for number in 0..200_u32 {
        one.publish("to/other", number.to_string(), 1);
        other.publish("to/one", number.to_string(), 1);
    }

    let ends = tokio::join!(one.end(), other.end());
    assert_eq!(ends, (End::Disconnect(0x97), End::Closed));
}

#[tokio::test]
async fn who_does_not_fill_the_memory_goes_on() {
    let mut scene = Scene::new(Version::V5).await;
    let address = scene.broker.address;
    let mut subscriber = taker(address, Version::V311, "subscriber", "t", 2).await;
    let mut publisher = join(address, Version::V5, "publisher").await;
    scene.fill().await;

    for qos in [0, 1, 2] {
        for number in 0..100_u32 {
            assert_eq!(publisher.publish_and_wait("t", number.to_string(), qos).await, 0);
            assert_eq!(subscriber.message().await.number(), number);
        }
    }
}

#[tokio::test]
async fn new_subscriptions_are_refused_until_there_is_memory() {
    for (version, refused) in [(Version::V311, 0x80), (Version::V5, 0x97)] {
        let mut scene = Scene::new(version).await;
        let mut client = taker(scene.broker.address, version, "client", "old", 1).await;
        let count = scene.fill().await;

        assert_eq!(client.subscribe("new", 1).await, refused);
        assert_eq!(client.subscribe("old", 1).await, 1);
        scene.drain(count).await;

        client.ping().await;
        assert_eq!(client.subscribe("new", 1).await, 1);
    }
}

#[tokio::test]
async fn a_large_will_is_refused_unless_its_client_has_something_to_drain() {
    for (version, refused) in [(Version::V311, 0x03), (Version::V5, 0x97)] {
        let mut scene = Scene::new(version).await;
        scene.fill().await;
        let will = |length: usize| Will::new("will", &"w".repeat(length));
        let address = scene.broker.address;

        let mut newcomer = Client::open(address, version).await;
        newcomer.send(&Connect::new(version, "newcomer").will(will(8_000)).encode());
        assert_eq!(newcomer.end().await, End::Refused(refused));

        let small = Connect::new(version, "newcomer").will(will(1_000));
        Client::connect(address, &small).await.ping().await;
        let draining = Connect::lasting(version, "forgotten").will(will(8_000));
        let mut draining = Client::connect(address, &draining).await;
        assert!(draining.session_present);
        take_numbered(&mut draining, 1).await;
    }
}

#[tokio::test]
async fn the_rest_of_a_large_packet_is_not_waited_for_for_ever() {
    let mut scene = Scene::with(Version::V5, "[outbound]\nstall_timeout = \"500ms\"\n").await;
    let mut halting = scene.join("halting").await;
    scene.fill().await;
    let whole =
        publish(Version::V5, 0x30, "t", 0, &Properties::default(), &vec![b'x'; 1024 * 1024]);

    halting.send(&whole[..whole.len() - 1]);

    assert_eq!(halting.end().await, End::Disconnect(0x97));
    scene.until_logged("client_id=\"halting\" reason=LargePacket").await;
}

#[tokio::test]
async fn a_waiting_client_can_be_taken_over_and_the_server_can_stop() {
    let mut scene = Scene::new(Version::V5).await;
    let mut first = scene.join("publisher").await;
    for number in 0..MANY {
        first.publish("fill", numbered(number), 1);
    }
    let ending = tokio::spawn(async move { first.end().await });
    scene.until_paused("publisher").await;

    let second = scene.join("publisher").await;
    assert_eq!(ending.await.expect("it ends"), End::Disconnect(0x8E));

    let mut third = scene.join("other").await;
    for number in 0..MANY {
        third.publish("fill", numbered(number), 1);
    }
    let ending = tokio::spawn(async move { third.end().await });
    scene.until_paused("other").await;
    let id = i32::try_from(scene.broker.process.id()).expect("a process id");
    kill_process(Pid::from_raw(id).expect("not 0"), Signal::TERM).expect("the broker runs");
    assert_eq!(ending.await.expect("it ends"), End::Disconnect(0x8B));
    drop(second);
}

/// Nobody knows them yet, and their CONNECTs wait until they have proved who they are.
#[tokio::test]
async fn what_clients_hold_that_are_asked_for_a_proof_is_accounted() {
    let listener = LISTENER.replace("[[listener]]", "[[listener]]\nanonymous = true");
    let mut scene = Scene::with(Version::V5, &listener).await;
    let large = Value::Pair(String::new(), " ".repeat(60_000));
    let mut strangers = Vec::new();

    for number in 0..80 {
        let mut connect = connect(&format!("stranger-{number}"), &Scram::new(USER));
        for _ in 0..4 {
            connect = connect.property(USER_PROPERTY, large.clone());
        }
        let mut stranger = Client::open(scene.broker.address, Version::V5).await;
        stranger.send(&connect.encode());
        challenge(&mut stranger, 0x18).await;
        strangers.push(stranger);
    }

    scene.until_logged("clients fill limits.memory_max").await;
    drop(strangers);
    scene.until_logged("there is memory again").await;
}

/// What would free them would be behind the pause.
#[tokio::test]
async fn reading_pauses_neither_for_a_full_queue_nor_for_open_pubrels() {
    const OPEN: u32 = 5_000;
    let broker = Broker::start_with("[session]\nqueue_bytes_max = \"1 KiB\"\n");
    let away = Connect::lasting(Version::V311, "away");
    let mut away = Client::connect(broker.address, &away).await;
    away.subscribe("t", 2).await;
    away.disconnect().await;
    let mut publisher = join(broker.address, Version::V311, "publisher").await;
    publisher.withhold_answers();

    for number in 0..OPEN {
        publisher.publish("t", number.to_string(), 2);
    }

    publisher.send(&[0xC0, 0x00]);
    for _ in 0..OPEN {
        let packet = publisher.packet().await;
        assert!(matches!(packet, Packet::PubRec { .. }), "{packet:?}");
    }
    assert_eq!(publisher.packet().await, Packet::PingResp);
}

// Each new client brings one message before it is known to fill; a quarter above the budget nothing
// more stays, and who could not be told would take its acknowledgement for a promise.
#[tokio::test]
async fn far_above_the_budget_a_client_is_refused_or_if_it_cannot_be_waits() {
    let mut scene = Scene::new(Version::V5).await;
    let count = scene.fill().await;
    for number in 0.. {
        let mut client = scene.join(&format!("crowd-{number}")).await;
        if client.publish_and_wait("fill", numbered(number), 1).await == 0x97 {
            break;
        }
    }

    let mut old = join(scene.broker.address, Version::V311, "old").await;
    let id = old.publish("fill", numbered(0), 1);
    scene.until_paused("old").await;
    assert!(old.open.contains(&id), "acknowledged, but not kept");
    scene.drain(count).await;

    assert_eq!(old.published(id).await, 0);
}
