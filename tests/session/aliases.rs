//! Topic Aliases to a client: who gets a number, and who takes it over.

use std::collections::HashMap;
use std::num::NonZeroU16;

use dunlin::packet::{Delivery, Publish, PublishProperties};
use dunlin::session::{Naming, OutboundAliases};
use dunlin::topic::TopicName;
use proptest::prelude::*;

const ROOM: usize = usize::MAX;

fn aliases(maximum: u16) -> OutboundAliases {
    OutboundAliases::new(NonZeroU16::new(maximum).unwrap())
}

fn alias(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn topic(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

fn topics(count: usize) -> Vec<TopicName> {
    (0..count).map(|number| topic(&format!("topic/{number}"))).collect()
}

/// How many of these packets set an alias, and how many used one alone.
fn set_and_used<'t>(
    aliases: &mut OutboundAliases,
    topics: impl IntoIterator<Item = &'t TopicName>,
) -> (usize, usize) {
    let (mut set, mut used) = (0, 0);
    for topic in topics {
        match aliases.name(topic, ROOM) {
            Naming::Name => {}
            Naming::NameAndAlias(_) => set += 1,
            Naming::Alias(_) => used += 1,
        }
    }
    (set, used)
}

// 5.0 s3.3.2.3.4
#[test]
fn the_first_packet_of_a_topic_sets_its_alias_and_the_others_use_it() {
    let mut aliases = aliases(2);
    let [a, b] = [topic("first"), topic("second")];

    let namings = [&a, &b, &a, &a, &b].map(|topic| aliases.name(topic, ROOM));

    let set = Naming::NameAndAlias;
    let used = Naming::Alias;
    let [one, two] = [alias(1), alias(2)];
    assert_eq!(namings, [set(one), set(two), used(one), used(one), used(two)]);
}

#[test]
fn an_equal_topic_in_other_memory_has_the_same_alias() {
    let mut aliases = aliases(2);
    aliases.name(&topic("first"), ROOM);

    assert_eq!(aliases.name(&topic("first"), ROOM), Naming::Alias(alias(1)));
}

/// How a PUBLISH to `fives` names its topic.
fn named(naming: Naming) -> (&'static [u8], Option<u16>) {
    let mut publish = Publish {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: b"fives",
        properties: PublishProperties::default(),
        payload: b"",
    };
    naming.apply(&mut publish);
    (publish.topic, publish.properties.topic_alias)
}

// 5.0 s3.3.2.3.4
#[test]
fn a_packet_has_its_topic_name_or_an_alias_or_both() {
    assert_eq!(named(Naming::Name), (&b"fives"[..], None));
    assert_eq!(named(Naming::NameAndAlias(alias(7))), (&b"fives"[..], Some(7)));
    assert_eq!(named(Naming::Alias(alias(7))), (&b""[..], Some(7)));
}

#[test]
fn a_topic_that_an_alias_would_not_shorten_needs_none() {
    assert!(!OutboundAliases::shorten(&topic("four")));
    assert!(OutboundAliases::shorten(&topic("fives")));
}

#[test]
fn an_alias_is_used_but_not_set_where_the_packet_must_not_grow() {
    let mut aliases = aliases(2);
    let a = topic("first");

    assert_eq!(aliases.name(&a, 4), Naming::Name);
    assert_eq!(aliases.name(&a, 5), Naming::NameAndAlias(alias(1)));
    assert_eq!(aliases.name(&a, 0), Naming::Alias(alias(1)));
}

#[test]
fn a_topic_beyond_the_maximum_takes_over_from_the_least_used() {
    let mut aliases = aliases(3);
    let [often, seldom, middling, newcomer] =
        ["often", "seldom", "middling", "newcomer"].map(topic);
    let packets = [(&often, 8), (&seldom, 2), (&middling, 5)];
    for (topic, count) in packets {
        set_and_used(&mut aliases, [topic].repeat(count));
    }

    let namings = [(); 7].map(|()| aliases.name(&newcomer, ROOM));

    assert_eq!(namings[..5], [Naming::Name; 5]);
    assert_eq!(namings[5..], [Naming::NameAndAlias(alias(2)), Naming::Alias(alias(2))]);
    assert_eq!(aliases.name(&often, ROOM), Naming::Alias(alias(1)));
    assert_eq!(aliases.name(&middling, ROOM), Naming::Alias(alias(3)));
    assert_eq!(aliases.name(&seldom, ROOM), Naming::Name);
}

/// How often a topic is sent until it takes an alias over.
fn sent_until_it_takes_over(aliases: &mut OutboundAliases, topic: &TopicName) -> usize {
    1 + (0..100).take_while(|_| aliases.name(topic, ROOM) == Naming::Name).count()
}

#[test]
fn a_topic_that_lost_its_alias_is_counted_from_nothing() {
    // Hashes are random, and what two topics share by chance 20 pairs do not.
    for round in 0..20 {
        let mut aliases = aliases(2);
        let [often, first, second] =
            ["often", "first", "second"].map(|name| topic(&format!("{name}{round}")));
        set_and_used(&mut aliases, [&often].repeat(6));
        set_and_used(&mut aliases, [&first]);

        // More than twice as often as 1, as 4, and as 6, which is now the least.
        let takes =
            [&second, &first, &second].map(|topic| sent_until_it_takes_over(&mut aliases, topic));

        assert_eq!(takes[..2], [4, 10]);
        assert!(takes[2] > 10, "{takes:?}");
    }
}

#[test]
fn all_counts_are_halved_after_16_packets_for_each_alias() {
    for (maximum, times) in [(1, 12), (2, 14)] {
        let mut aliases = aliases(maximum);
        let favourites = topics(maximum.into());
        let newcomer = topic("newcomer");
        let before = 16 * usize::from(maximum) - 3;
        set_and_used(&mut aliases, favourites.iter().cycle().take(before));

        // The last of these halves: 2 before it is now 1, and 13 or 14 of the favourites 6 or 7.
        set_and_used(&mut aliases, [&newcomer; 3]);

        assert_eq!(sent_until_it_takes_over(&mut aliases, &newcomer), times);
    }
}

#[test]
fn a_topic_sent_twice_takes_over_from_one_that_was_halved_to_nothing() {
    let mut aliases = aliases(1);
    let topics = topics(16);
    set_and_used(&mut aliases, &topics[..15]);

    // Its first packet is the one that halves.
    let times = sent_until_it_takes_over(&mut aliases, &topics[15]);

    assert_eq!(times, 2);
}

#[test]
fn eight_topics_without_an_alias_are_counted_beside_one_and_no_more() {
    let topics = topics(10);
    let namings = |topic: usize| {
        let mut aliases = aliases(1);
        set_and_used(&mut aliases, &topics[..9]);
        // All before the counts are halved for the first time.
        [(); 6].map(|()| aliases.name(&topics[topic], ROOM))
    };

    let counted = namings(8);
    let not_counted = namings(9);

    assert_eq!(counted[..3], [Naming::Name, Naming::Name, Naming::NameAndAlias(alias(1))]);
    assert_eq!(not_counted, [Naming::Name; 6]);
}

#[test]
fn former_favourites_make_room_for_what_is_sent_now() {
    for maximum in [1, 4, 32, 100] {
        let mut aliases = aliases(maximum);
        let count = usize::from(maximum);
        let (former, present) = (topics(count), topics(2 * count).split_off(count));
        set_and_used(&mut aliases, former.iter().cycle().take(count * 10_000));

        set_and_used(&mut aliases, present.iter().cycle().take(count * 200));
        let (_, used) = set_and_used(&mut aliases, present.iter().cycle().take(count * 10));

        // Topics whose hashes meet in one place keep each other's counts down.
        assert!(used * 4 >= count * 10 * 3, "{maximum} aliases: {used} of {} packets", count * 10);
    }
}

#[test]
fn more_topics_than_aliases_that_take_turns_do_not_chase_each_other() {
    for (maximum, count) in [(1, 2), (4, 5), (4, 40), (32, 33), (32, 64), (32, 1_000), (100, 150)] {
        let mut aliases = aliases(maximum);
        let topics = topics(count);
        let packets = 100 * count;
        set_and_used(&mut aliases, topics.iter().cycle().take(packets));

        let (set, used) = set_and_used(&mut aliases, topics.iter().cycle().take(packets));

        assert!(set <= packets / 100, "{count} topics, {maximum} aliases: {set} of {packets} set");
        assert!(used >= 98 * usize::from(maximum), "{count} topics, {maximum} aliases: {used}");
    }
}

#[test]
fn topics_that_never_return_do_not_keep_the_aliases_of_those_that_do() {
    let mut aliases = aliases(4);
    let passing = topics(4_000);
    let returning = ["returning/a", "returning/b"].map(topic);
    set_and_used(&mut aliases, &passing[..100]);

    let mut used = 0;
    for round in passing[100..].chunks(10) {
        set_and_used(&mut aliases, round);
        used += set_and_used(&mut aliases, &returning).1;
    }

    assert!(used > 600, "{used} of 780 packets");
}

/// A client that knows what every alias stands for, as 5.0 s3.3.2.3.4 has it.
#[derive(Debug, Default)]
struct Client(HashMap<NonZeroU16, TopicName>);

impl Client {
    /// What it takes for the topic, if it can tell.
    fn read(&mut self, topic: &TopicName, naming: Naming) -> Option<TopicName> {
        match naming {
            Naming::Name => Some(topic.clone()),
            Naming::NameAndAlias(alias) => {
                self.0.insert(alias, topic.clone());
                Some(topic.clone())
            }
            Naming::Alias(alias) => self.0.get(&alias).cloned(),
        }
    }
}

proptest! {
    // [MQTT-3.1.2-26] [MQTT-3.3.2-11]
    #[test]
    fn a_client_that_resolves_aliases_always_ends_with_the_right_topic(
        maximum in 1..40_u16,
        packets in prop::collection::vec((0..60_usize, 0..8_usize, 1..6_usize), 1..400),
    ) {
        let mut aliases = aliases(maximum);
        let mut client = Client::default();
        let topics = topics(60);

        for (number, room, times) in packets {
            for _ in 0..times {
                let topic = &topics[number];
                let naming = aliases.name(topic, room);

                prop_assert_eq!(client.read(topic, naming), Some(topic.clone()));
                match naming {
                    Naming::Name => {}
                    Naming::NameAndAlias(alias) => {
                        prop_assert!(alias.get() <= maximum);
                        prop_assert!(room >= 5);
                    }
                    Naming::Alias(alias) => prop_assert!(alias.get() <= maximum),
                }
            }
        }
    }
}
