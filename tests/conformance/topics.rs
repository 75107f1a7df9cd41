//! Topic Names and Topic Filters (4.7).

use crate::vocabulary::*;

/// What the Topic Filter takes of the topics, published in their order.
#[track_caller]
fn taken(world: &World, version: Version, filter: &str, topics: &[&str]) -> Vec<String> {
    let mut taker = world.connected(version, "taker");
    taker.subscribed(subscribe(filter).qos(1));
    let mut giver = world.connected(version, "giver");
    for topic in topics {
        giver.published(publish(topic).qos(1));
    }
    taker.send(pingreq());
    let mut taken = Vec::new();
    loop {
        match taker.next() {
            Packet::PingResp => return taken,
            Packet::Publish(message) => taken.push(message.topic),
            other => panic!("{other:?}"),
        }
    }
}

/// The filters are refused one by one: by SUBACK and UNSUBACK, which before 5.0 has no codes.
#[track_caller]
fn refused_filters(world: &World, version: Version, filters: &[&str]) {
    let mut client = world.connected(version, "client");
    let code = if version == V5 { 0x8F } else { 0x80 };
    for filter in filters {
        eprintln!("filter {filter:?}");
        client.send(subscribe("good").qos(1).and(filter).qos(1));
        client.expect(suback(1, &[1, code]));
        client.send(unsubscribe(filter));
        client.expect(unsuback(1, &[0x8F]));
    }
}

/// [MQTT3-4.7.1-1] [MQTT-3.3.2-2] [MQTT3-3.3.2-2]; in the Topic Name of a Will as well. 5.0 s4.13.1:
/// 0x90.
#[test]
fn v5_mqtt_4_7_0_1_a_wildcard_in_a_topic_name_closes_the_connection() {
    everywhere_in_both(|world, version| {
        let mut taker = world.connected(version, "taker");
        taker.subscribed(subscribe("#").qos(1));
        for topic in ["+", "#", "a/+", "a/#", "+/a", "a+b", "a#b"] {
            for qos in [0, 1, 2] {
                let mut client = world.connected(version, "client");
                client.send(publish(topic).qos(qos));
                client.ends(0x90);
            }
            let mut client = world.client(version);
            client.send(connect("client").will(Will::new(topic, "gone")));
            client.rejected(0x90);
        }
        taker.expect_nothing();
        assert_eq!(taken(world, version, "a/+/#", &["a/b", "a/b/c"]), ["a/b", "a/b/c"]);
    });
}

/// [MQTT3-4.7.1-2]
#[test]
fn v5_mqtt_4_7_1_1_a_hash_stands_alone_in_the_last_level() {
    everywhere_in_both(|world, version| {
        refused_filters(world, version, &["a#", "#a", "a/b#", "a/#b", "##", "#/a", "a/#/b", "#/"]);
        let topics = ["sport", "sport/", "sport/tennis", "sport/tennis/1", "sports", "a/sport"];
        assert_eq!(taken(world, version, "sport/#", &topics), topics[..4]);
        assert_eq!(taken(world, version, "#", &topics), topics);
        assert_eq!(taken(world, version, "sport/tennis/#", &topics), topics[2..4]);
    });
}

/// [MQTT3-4.7.1-3]
#[test]
fn v5_mqtt_4_7_1_2_a_plus_fills_the_whole_of_its_level() {
    everywhere_in_both(|world, version| {
        refused_filters(world, version, &["a+", "+a", "++", "a/+b", "a/b+/c", "+#", "+a/#"]);
        let topics = ["sport/a", "sport/a/b", "sport/", "sport", "/sport", "a/sport/b"];
        assert_eq!(taken(world, version, "sport/+", &topics), ["sport/a", "sport/"]);
        assert_eq!(taken(world, version, "+", &topics), ["sport"]);
        assert_eq!(taken(world, version, "/+", &topics), ["/sport"]);
        assert_eq!(taken(world, version, "+/+", &topics), ["sport/a", "sport/", "/sport"]);
        assert_eq!(taken(world, version, "+/sport/#", &topics), ["/sport", "a/sport/b"]);
    });
}

/// Live or retained, whatever follows the wildcard [MQTT3-4.7.2-1].
#[test]
fn v5_mqtt_4_7_2_1_a_leading_wildcard_takes_no_topic_that_begins_with_a_dollar() {
    everywhere_in_both(|world, version| {
        let topics = ["$", "$a", "$a/b", "a/$b", "a/b"];
        assert_eq!(taken(world, version, "#", &topics), topics[3..]);
        assert_eq!(taken(world, version, "+/#", &topics), topics[3..]);
        assert_eq!(taken(world, version, "+", &topics), [""; 0]);
        assert_eq!(taken(world, version, "+/b", &topics), ["a/b"]);
        assert_eq!(taken(world, version, "$a/#", &topics), topics[1..3]);
        assert_eq!(taken(world, version, "$a/+", &topics), ["$a/b"]);
        assert_eq!(taken(world, version, "$", &topics), ["$"]);
        // Shared, it is the filter behind the ShareName that counts.
        assert_eq!(taken(world, version, "$share/g/#", &topics), topics[3..]);
        assert_eq!(taken(world, version, "$share/g/+/b", &topics), ["a/b"]);
        assert_eq!(taken(world, version, "$share/g/$a/#", &topics), topics[1..3]);

        let mut giver = world.connected(version, "giver");
        giver.published(publish("$a/b").qos(1).retain());
        giver.published(publish("a/b").qos(1).retain());
        let mut taker = world.connected(version, "taker");
        taker.subscribed(subscribe("+/b").and("#"));
        for _ in 0..2 {
            taker.expect(publish("a/b").retain());
        }
        taker.expect_nothing();
        taker.subscribed(subscribe("$a/#"));
        taker.expect(publish("$a/b").retain());
    });
}

/// 5.0 s4.7.2: what the server itself says or reads in topics that begin with `$` no client says.
#[test]
fn v5_4_7_2_no_client_publishes_to_topics_of_the_server() {
    everywhere_in_both(|world, version| {
        let mut taker = world.connected(version, "taker");
        taker.subscribed(subscribe("$SYS/a").qos(1).and("$device/a").qos(1));
        let mut giver = world.connected(version, "giver");
        for topic in ["$SYS", "$SYS/a", "$share", "$share/g/a"] {
            giver.send(publish(topic).qos(1));
            giver.expect(puback(1).code(if version == V5 { 0x87 } else { 0 }));
        }

        giver.published(publish("$device/a").qos(1));

        taker.expect(publish("$device/a").qos(1));
    });
}

/// A Topic Name may be empty only beside a Topic Alias [MQTT3-4.7.3-1].
#[test]
fn v5_mqtt_4_7_3_1_a_topic_has_at_least_one_character() {
    everywhere_in_both(|world, version| {
        refused_filters(world, version, &[""]);
        for qos in [0, 1, 2] {
            let mut client = world.connected(version, "client");
            client.send(publish("").qos(qos));
            client.ends(0x82);
        }
        let mut client = world.client(version);
        client.send(connect("client").will(Will::new("", "gone")));
        client.rejected(0x90);

        let topics = ["/", "a//b", "//", " ", "a"];
        for topic in topics {
            assert_eq!(taken(world, version, topic, &topics), [topic]);
        }
        assert_eq!(taken(world, version, "+/+", &topics), ["/"]);
        assert_eq!(taken(world, version, "a/+/b", &topics), ["a//b"]);
        let mut giver = world.connected(V5, "giver");
        let mut taker = world.connected(version, "taker");
        taker.subscribed(subscribe("a"));
        giver.published(publish("a").with(topic_alias(1)));
        giver.published(publish("").with(topic_alias(1)));
        for _ in 0..2 {
            taker.expect(publish("a"));
        }
    });
}

/// [MQTT3-4.7.3-2]
#[test]
fn v5_mqtt_4_7_3_2_a_null_character_closes_the_connection() {
    everywhere_in_both(|world, version| {
        for topic in ["\0", "a\0", "a/\0/b"] {
            let mut client = world.connected(version, "client");
            client.send(publish(topic));
            client.ends(0x81);
            let mut client = world.connected(version, "client");
            client.send(subscribe("a").and(topic));
            client.ends(0x81);
            let mut client = world.connected(version, "client");
            client.send(unsubscribe(topic));
            client.ends(0x81);
            let mut client = world.client(version);
            client.send(connect("client").will(Will::new(topic, "gone")));
            client.rejected(0x81);
        }
    });
}

/// If the configuration allows it; no string on the wire is longer [MQTT3-4.7.3-3].
#[test]
fn v5_mqtt_4_7_3_3_a_topic_has_up_to_65535_bytes() {
    everywhere_with("[limits]\ntopic_bytes_max = 65535", |world| {
        for version in BOTH {
            let longest = "t".repeat(65_535);
            let utf8 = format!("{}é", "/t".repeat(20).repeat(3) + &"t".repeat(65_413));
            assert_eq!(utf8.len(), 65_535);
            for topic in [&longest, &utf8] {
                assert_eq!(taken(world, version, topic, &[topic]), [&**topic]);
            }
        }
    });
}

/// PRODUCT: longer or deeper than the limits, a Topic Name is refused with 0x90 and a Topic Filter
/// with 0x8F; 4,096 bytes and 128 levels are allowed.
#[test]
fn v5_4_7_3_a_topic_beyond_the_limits_is_refused() {
    everywhere_in_both(|world, version| {
        for topic in ["t".repeat(4_097), "/".repeat(128)] {
            let mut client = world.connected(version, "client");
            client.send(publish(&topic));
            client.ends(0x90);
            let mut client = world.connected(version, "client");
            client.send(subscribe(&topic));
            client.expect(suback(1, &[if version == V5 { 0x8F } else { 0x80 }]));
        }
        for topic in ["t".repeat(4_096), "/".repeat(127)] {
            assert_eq!(taken(world, version, &topic, &[&topic]), [&*topic]);
        }
    });
}

/// [MQTT3-4.7.3-4]
#[test]
fn v5_mqtt_4_7_3_4_topics_are_compared_character_by_character() {
    everywhere_in_both(|world, version| {
        let topics = [
            "ACCOUNTS",
            "accounts",
            "Accounts",
            "caf\u{e9}",
            "cafe\u{301}",
            "\u{212b}",
            "\u{c5}",
            "a\u{feff}b",
            "ab",
            "a b",
            "a\u{a0}b",
            "a\u{fffd}b",
            "\u{fb01}n",
            "fin",
            "stra\u{df}e",
            "strasse",
        ];
        for topic in topics {
            assert_eq!(taken(world, version, topic, &topics), [topic]);
        }
        assert_eq!(taken(world, version, "#", &topics), topics);
    });
}
