//! A run of publications reaches everybody as the same publications do one by one.

use dunlin::change::Keeps;
use dunlin::message::{AsItCame, Payload, Publication};
use dunlin::packet::{
    Delivery, Forwarded, Frame, Framing, Packet, ProtocolVersion, Publish, PublishProperties,
    PublishRun, SubscriptionOptions, frame,
};
use dunlin::router::{
    COPIED_PACKET_MAX, Ending, Origin, OutboundLimits, RouterLimits, Step, Strategy,
};
use dunlin::topic::TopicName;

use crate::support::{
    Connecting, Draft, ONE, Peer, TWO, V5, V311, World, ZERO, client, draft, durable, options,
    retained, router_limits, subscription_id,
};

const TOPIC: &str = "a/topic/that/is/worth/an/alias";

/// Everything a taker can be, and a publisher that takes what it publishes.
struct Cast {
    world: World,
    publisher: Peer,
    takers: Vec<Peer>,
}

fn cast(version: ProtocolVersion, soft_bytes_max: usize) -> Cast {
    let limits = router_limits();
    let outbound = OutboundLimits { soft_bytes_max, ..limits.outbound };
    let sharing = Strategy::RoundRobin;
    let limits = RouterLimits { outbound, sharing, ..limits };
    let mut world = World::with(limits, Keeps::Nothing);
    let publisher = world.join(Connecting { version, ..client("publisher") });
    world.subscribe(&publisher, "a/#", options(ZERO));
    let no_local = SubscriptionOptions { no_local: true, ..options(ZERO) };
    world.subscribe(&publisher, TOPIC, no_local);
    let mut takers = vec![
        world.subscriber(client("5.0"), TOPIC, ZERO),
        world.subscriber(Connecting { version: V311, ..client("3.1.1") }, TOPIC, ONE),
        world.subscriber(Connecting { topic_alias_maximum: 3, ..client("aliases") }, "a/#", ZERO),
        world.subscriber(Connecting { maximum_packet_size: 50, ..client("small") }, TOPIC, ZERO),
        world.subscriber(client("one"), "$share/group/a/#", ZERO),
        world.subscriber(client("other"), "$share/group/a/#", ZERO),
    ];
    let identified = world.join(client("identified"));
    world.subscribe_as(&identified, TOPIC, options(ZERO), subscription_id(7));
    let away = world.subscriber(durable("away"), TOPIC, ZERO);
    world.leave(&away, Ending::Lost);
    takers.extend([identified, away]);
    Cast { world, publisher, takers }
}

impl Cast {
    /// What everybody got, and what was counted.
    fn outcome(mut self) -> (Vec<Vec<String>>, Vec<u64>) {
        self.world.flush();
        let read = [&self.publisher].into_iter().chain(&self.takers).map(Peer::read).collect();
        let counted = [
            self.world.metrics.total(|counters| &counters.publishes_received),
            self.world.metrics.total(|counters| &counters.payload_bytes_received),
            self.world.metrics.total(|counters| &counters.publishes_sent),
            self.world.metrics.total(|counters| &counters.payload_bytes_sent),
            self.world.metrics.total(|counters| &counters.dropped_offline),
            self.world.metrics.total(|counters| &counters.dropped_too_large),
            self.world.metrics.total(|counters| &counters.dropped_outbound_full),
        ];
        (read, counted.to_vec())
    }
}

/// Packets of QoS 0 with these payloads, one behind the other.
fn encoded(version: ProtocolVersion, payloads: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for payload in payloads {
        let publish = Publish {
            delivery: Delivery::AtMostOnce,
            retain: false,
            topic: TOPIC.as_bytes(),
            properties: PublishProperties::default(),
            payload: payload.as_bytes(),
        };
        Packet::Publish(publish).encode(version, &mut bytes);
    }
    bytes
}

fn first(input: &[u8], version: ProtocolVersion) -> (Frame<'_>, Publish<'_>) {
    let Framing::Complete(frame) = frame(input, 1 << 20).unwrap() else { panic!("half a packet") };
    let Packet::Publish(publish) = frame.decode(version).unwrap() else { panic!("no PUBLISH") };
    (frame, publish)
}

fn publication<'a>(
    topic: &'a TopicName,
    version: ProtocolVersion,
    packet: &'a [u8],
    payload: &'a [u8],
) -> Publication<'a> {
    Publication {
        topic,
        payload: Payload::Borrowed(payload),
        qos: ZERO,
        retain: false,
        properties: Forwarded::default(),
        expiry: None,
        as_it_came: Some(AsItCame { version, packet }),
    }
}

/// Publishes twice, as a run and one by one: both outcomes.
fn both_ways(
    version: ProtocolVersion,
    soft_bytes_max: usize,
    payloads: &[&str],
) -> [(Vec<Vec<String>>, Vec<u64>); 2] {
    let topic = TopicName::parse(TOPIC).unwrap();
    let input = encoded(version, payloads);
    let (frame, publish) = first(&input, version);
    let run = PublishRun::find(&frame, &publish, &input, COPIED_PACKET_MAX).unwrap();
    assert_eq!(run.packets(), payloads.len());

    let mut at_once = cast(version, soft_bytes_max);
    let origin = Origin::Unrefusable(&at_once.publisher.attachment);
    let leading = publication(&topic, version, &input[..frame.length], publish.payload);
    let routed =
        at_once.world.router.publish_run(&mut at_once.world.courier, &leading, &run, origin);
    assert_eq!(routed, run);

    let mut singly = cast(version, soft_bytes_max);
    let origin = Origin::Unrefusable(&singly.publisher.attachment);
    for (packet, payload) in run.iter() {
        let each = publication(&topic, version, packet, payload);
        singly.world.router.publish(&mut singly.world.courier, &each, origin).unwrap();
    }
    [at_once.outcome(), singly.outcome()]
}

#[test]
fn everybody_gets_a_run_as_they_get_its_messages_one_by_one() {
    for version in [V311, V5] {
        let [at_once, singly] = both_ways(
            version,
            64 * 1024,
            &["first", "second", "", "one that is too long for some"],
        );

        assert_eq!(at_once, singly);
        let (read, counted) = at_once;
        assert_eq!(read[0].len(), 4, "the publisher, by its Subscription without No Local");
        assert_eq!(read[1].len(), 4, "a plain taker");
        assert_eq!(read[4].len(), 3, "one that takes no long packets");
        assert_eq!(read[5].len() + read[6].len(), 4, "a group");
        assert_eq!(counted[4], 4, "who is away");
    }
}

#[test]
fn who_has_no_room_for_a_run_gets_what_there_is_room_for() {
    for version in [V311, V5] {
        let [at_once, singly] = both_ways(version, 100, &["first", "second", "third", "fourth"]);

        assert_eq!(at_once, singly);
        let (read, counted) = at_once;
        let sent = ["first", "second", "third"].map(|payload| format!("{TOPIC}:{payload}"));
        assert_eq!(read[1], sent);
        assert!(counted[6] > 0);
    }
}

// A turn of its publisher ends when it has cost so much, for nobody else is served meanwhile.
#[test]
fn of_a_run_that_many_take_only_the_beginning_is_handed_on() {
    const TAKERS: usize = 100;
    let topic = TopicName::parse(TOPIC).unwrap();
    for (payload_bytes, packets) in [(1, 40), (700, 14)] {
        let mut world = World::new();
        let publisher = world.join(client("publisher"));
        let takers: Vec<Peer> = (0..TAKERS)
            .map(|at| world.subscriber(client(format!("taker {at}").leak()), TOPIC, ZERO))
            .collect();
        let payload = "x".repeat(payload_bytes);
        let input = encoded(V5, &vec![payload.as_str(); 300]);
        let (frame, publish) = first(&input, V5);
        let run = PublishRun::find(&frame, &publish, &input, COPIED_PACKET_MAX).unwrap();
        let leading = publication(&topic, V5, &input[..frame.length], publish.payload);
        let origin = Origin::Unrefusable(&publisher.attachment);

        let routed = world.router.publish_run(&mut world.courier, &leading, &run, origin);

        assert_eq!(routed.packets(), packets);
        assert!(run.packets() > packets);
        assert_eq!(routed.bytes(), &input[..packets * frame.length]);
        assert_eq!(routed.payload_bytes(), packets * payload_bytes);
        assert_eq!(world.courier.spent(), (packets * TAKERS, routed.bytes().len() * TAKERS));
        world.flush();
        assert!(takers.iter().all(|taker| taker.read().len() == packets));
    }
}

#[test]
fn who_drops_a_message_or_lets_it_wait_costs_its_publisher_a_delivery_too() {
    for run in [false, true] {
        let mut world = World::new();
        let publisher = world.join(client("publisher"));
        for name in ["one", "other"] {
            let away = world.subscriber(durable(name), TOPIC, ONE);
            world.leave(&away, Ending::Lost);
        }
        world.pass(1);

        if run {
            let topic = TopicName::parse(TOPIC).unwrap();
            let input = encoded(V5, &["one", "two", "three"]);
            let (frame, publish) = first(&input, V5);
            let run = PublishRun::find(&frame, &publish, &input, COPIED_PACKET_MAX).unwrap();
            let leading = publication(&topic, V5, &input[..frame.length], publish.payload);
            let origin = Origin::Unrefusable(&publisher.attachment);
            let _ = world.router.publish_run(&mut world.courier, &leading, &run, origin);
        } else {
            for qos in [ZERO, ZERO, ONE] {
                world.publish(&publisher, &draft(TOPIC, "message", qos));
            }
        }

        assert_eq!(world.courier.spent().0, 6);
    }
}

#[test]
fn what_leaves_as_it_came_behind_a_held_packet_has_its_payload_once() {
    let topic = TopicName::parse(TOPIC).unwrap();
    for payload_bytes in [500, 1_500, 3_500, 5_000] {
        let mut world = World::with(router_limits(), Keeps::Changes);
        let publisher = world.join(client("publisher"));
        world.publish(&publisher, &Draft { qos: TWO, ..retained(TOPIC, "older") });
        let taker = world.join(durable("taker"));
        world.subscribe(&taker, TOPIC, SubscriptionOptions::new(TWO));
        assert_eq!(world.replay(&taker), Step::Done);
        let payload = "x".repeat(payload_bytes);
        let packet = encoded(V5, &[&payload]);

        let origin = Origin::Unrefusable(&publisher.attachment);
        let each = publication(&topic, V5, &packet, payload.as_bytes());
        world.router.publish(&mut world.courier, &each, origin).unwrap();
        world.journal.keep_all();
        world.release(&taker);

        let held = format!("{TOPIC}:older q2#1 retain");
        assert_eq!(taker.read(), [held, format!("{TOPIC}:{payload_bytes}*x")]);
    }
}
