//! When the server speaks of itself, to whom, and in which topics.

use std::io::{self, IoSlice};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use super::*;
use crate::change::{Epoch, SessionExpiry, Subscription};
use crate::packet::{ClientId, Identity, ProtocolVersion, QoS, SubscriptionOptions};
use crate::router::{
    Attach, Attachment, OutboundLimits, RetainedLimits, RouterLimits, Step, Strategy, Wire,
};
use crate::session::{Limits, QueueWhenFull, Terms};
use crate::storage;
use crate::time::Now;
use crate::topic::SubscriptionFilter;

const INTERVAL: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(250);

/// A wire that takes everything.
#[derive(Debug)]
struct Nowhere;

impl Wire for Nowhere {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn shutdown(&self) {}
}

/// A router, and a server that speaks of itself.
struct World {
    router: Router,
    courier: Courier,
    sys_topics: SysTopics,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let most = NonZeroU16::MAX;
        let session = Limits {
            inflight_max: most,
            receive_maximum: most,
            queue_bytes_max: usize::MAX,
            queue_offline_messages_max: usize::MAX,
            expiry_max: SessionExpiry::Never,
            expiry_v3: SessionExpiry::Never,
            keep_alive_max: u16::MAX,
            client_id_bytes_max: usize::MAX,
            topic_bytes_max: usize::MAX,
            topic_levels_max: usize::MAX,
            queue_when_full: QueueWhenFull::RefuseNewest,
            response_information: None,
            topic_aliases_out_max: 0,
            topic_aliases_in_max: 4,
            subscriptions_max: usize::MAX,
            packet_bytes_max: usize::MAX,
        };
        let limits = RouterLimits {
            session,
            outbound: OutboundLimits { soft_bytes_max: 1 << 20, hard_bytes_max: 1 << 20 },
            retained: RetainedLimits { messages_max: usize::MAX, bytes_max: u64::MAX },
            sharing: Strategy::LeastInflight,
            memory_bytes_max: u64::MAX,
        };
        let router = Router::new(limits, Arc::new(storage::Memory), Arc::new(Metrics::new(1)));
        let now = Instant::now();
        let courier = Courier::new(router.metrics().worker(0), moment(now));
        Self { router, courier, sys_topics: SysTopics::new(INTERVAL, now, None), now }
    }

    fn subscriber(&mut self, client_id: &str, filter: &str) -> Attachment {
        let attach = Attach {
            client_id: ClientId::new(client_id).unwrap(),
            identity: Identity::Anonymous,
            epoch: Epoch(1),
            clean_start: true,
            expiry: SessionExpiry::AtDisconnect,
            terms: Terms {
                version: ProtocolVersion::V311,
                receive_maximum: NonZeroU16::MAX,
                maximum_packet_size: usize::MAX,
                topic_alias_maximum: 0,
            },
            will: None,
            wire: Arc::new(Nowhere),
            signal: Arc::default(),
        };
        let attachment =
            self.router.attach(&mut self.courier, attach, |_, _| {}).unwrap().attachment;
        self.subscribe(&attachment, filter);
        attachment
    }

    /// Subscribes, and gets what is retained.
    fn subscribe(&mut self, attachment: &Attachment, filter: &str) {
        let filter = SubscriptionFilter::parse(filter).unwrap();
        let subscription =
            Subscription { options: SubscriptionOptions::new(QoS::AtMostOnce), id: None };
        let router = &self.router;
        let answered = router.subscribe(&mut self.courier, attachment, &filter, subscription);
        assert!(answered.unwrap().result.is_ok());
        while router.replay(&mut self.courier, attachment) == Step::More {}
    }

    fn unsubscribe(&mut self, attachment: &Attachment, filter: &str) {
        let filter = SubscriptionFilter::parse(filter).unwrap();
        self.router.unsubscribe(&mut self.courier, attachment, &filter).unwrap();
    }

    /// What the first worker does at each tick.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.sys_topics.tick(&self.router, self.now);
        loop {
            self.courier.begin_turn(moment(self.now));
            if !self.sys_topics.publish(&self.router, &mut self.courier) {
                return;
            }
        }
    }

    /// Messages that subscribers got since the last call.
    fn heard(&self, before: &mut u64) -> u64 {
        let all = self.router.metrics().total(|counters| &counters.publishes_sent);
        all - std::mem::replace(before, all)
    }
}

fn moment(monotonic: Instant) -> Now {
    Now { monotonic, wall: SystemTime::UNIX_EPOCH }
}

#[test]
fn nothing_is_said_while_nobody_subscribes_and_everything_at_the_next_tick() {
    let mut world = World::new();
    let mut before = 0;
    let all = world.sys_topics.topics.len() as u64;
    world.subscriber("other", "#");
    world.pass(INTERVAL * 3);
    assert_eq!(world.heard(&mut before), 0);

    world.subscriber("first", "$SYS/#");
    assert_eq!(world.heard(&mut before), 0, "nothing was retained");
    world.pass(TICK);

    assert_eq!(world.heard(&mut before), all);
}

#[test]
fn only_what_changed_is_said_again_when_the_interval_is_over() {
    let mut world = World::new();
    let mut before = 0;
    world.subscriber("first", "$SYS/broker/uptime");
    world.subscriber("second", "$SYS/broker/version");
    world.subscriber("third", "$SYS/broker/clients/+");
    world.pass(TICK);
    assert_eq!(world.heard(&mut before), 9);

    world.pass(INTERVAL - TICK * 2);
    assert_eq!(world.heard(&mut before), 0, "too early");

    world.pass(TICK);
    assert_eq!(world.heard(&mut before), 1, "the uptime");

    world.subscriber("fourth", "other");
    world.pass(INTERVAL);
    assert_eq!(world.heard(&mut before), 5, "the uptime, total, maximum, connected and active");
}

#[test]
fn who_comes_later_gets_what_is_retained_and_after_the_last_one_nothing_is() {
    let mut world = World::new();
    let mut before = 0;
    let all = world.sys_topics.topics.len() as u64;
    let first = world.subscriber("first", "$SYS/#");
    world.pass(TICK);
    assert_eq!(world.heard(&mut before), all);

    let second = world.subscriber("second", "$SYS/#");
    assert_eq!(world.heard(&mut before), all, "retained");

    world.unsubscribe(&first, "$SYS/#");
    world.pass(TICK);
    world.unsubscribe(&second, "$SYS/#");
    world.pass(INTERVAL);
    world.subscribe(&first, "$SYS/#");
    assert_eq!(world.heard(&mut before), 0, "forgotten");

    world.pass(TICK);
    assert_eq!(world.heard(&mut before), all, "said anew");
}

#[test]
fn after_a_long_stop_it_is_said_once_and_then_as_before() {
    let mut world = World::new();
    let mut before = 0;
    world.subscriber("first", "$SYS/broker/uptime");
    world.pass(TICK);

    world.pass(INTERVAL * 100);
    world.pass(INTERVAL - TICK);
    assert_eq!(world.heard(&mut before), 2);

    world.pass(TICK);
    assert_eq!(world.heard(&mut before), 1);
}

#[test]
fn load_averages_go_on_while_nobody_subscribes() {
    let mut world = World::new();
    let counters = world.router.metrics().worker(0);
    for _ in 0..60 {
        counters.bytes_received.add(1_000);
        world.pass(INTERVAL);
    }

    world.subscriber("first", "$SYS/#");
    world.pass(TICK);

    let name = "$SYS/broker/load/bytes/received/1min";
    let topic = world.sys_topics.topics.iter().find(|topic| topic.name.as_str() == name).unwrap();
    assert_eq!(topic.said, "5999.73");
}

#[test]
fn many_subscribers_do_not_hold_the_worker_up() {
    let mut world = World::new();
    for number in 0..1_000 {
        world.subscriber(&number.to_string(), "$SYS/#");
    }
    world.sys_topics.tick(&world.router, world.now);
    let (mut before, mut turns) = (0, 0);
    loop {
        world.courier.begin_turn(moment(world.now));
        let more = world.sys_topics.publish(&world.router, &mut world.courier);
        turns += 1;
        assert!(world.heard(&mut before) < 6_000);
        if !more {
            break;
        }
    }

    assert!(turns > 10);
}

#[test]
fn every_topic_has_a_name_of_its_own() {
    let mut names: Vec<_> = topics(None).iter().map(|topic| topic.name.to_string()).collect();
    assert_eq!(names.len(), 2 + NUMBERS.len() + 3 + 3 * LOADS.len());

    names.sort_unstable();
    names.dedup();

    assert_eq!(names.len(), topics(None).len());
    assert!(names.iter().any(|name| name == "$SYS/broker/load/bytes/received/15min"));
    // Of those of a store, which are there with one only.
    for (name, _) in STORE {
        assert!(!names.contains(&format!("$SYS/broker/{name}")), "{name}");
    }
}

#[test]
fn the_memory_is_read_from_the_kernels_words() {
    let status = "Name:\tdunlin\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t3\n";

    assert_eq!(Memory::parse(status), Some(Memory { now: 1 << 20, most: 2 << 20 }));
    assert_eq!(Memory::parse("VmRSS:\t1024 kB\n"), None);
    assert_eq!(Memory::parse("VmHWM:\t1 kB\nVmRSS:\tsome kB\n"), None);
}
