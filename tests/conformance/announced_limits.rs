//! What a 5.0 client is told in CONNACK that it may not do, and how it ends if it does: DISCONNECT
//! with 0x93 to 0x9B. Clients before 5.0 are closed where they would lose a message.

use crate::vocabulary::*;

/// A listener that leaves something out.
fn listener(keys: &str) -> String {
    let narrow = "[[listener]]\nname = \"narrow\"\naddress = \"127.0.0.1:0\"\nanonymous = true\n";
    format!("{narrow}{keys}\n")
}

/// [MQTT-3.3.4-7]: QoS 0 does not count, nor what was acknowledged or refused.
#[test]
fn v5_mqtt_3_3_4_7_more_than_the_receive_maximum_is_0x93() {
    everywhere_with("[session]\nreceive_maximum = 3", |world| {
        let mut taker = world.connected(V5, "taker");
        taker.subscribed(subscribe("a").qos(0));
        let mut client = world.client(V5);
        client.send(lasting("client"));
        client.expect(connack().with(receive_maximum(3)));
        for id in 1..=3 {
            client.send(publish("a").qos(2).id(id));
            client.expect(pubrec(id).code(0));
        }
        client.send(publish("a"));
        client.send(pubrel(2));
        client.expect(pubcomp(2));
        // Each is settled before the next.
        for id in 4..=9 {
            client.send(publish("a").qos(1).id(id));
            client.expect(puback(id).code(0));
            client.send(publish("$SYS/a").qos(2).id(id));
            client.expect(pubrec(id).code(0x87));
        }
        client.send(publish("a").qos(2).id(10));
        client.expect(pubrec(10).code(0));

        client.send(publish("a").qos(1).id(11).payload("too many"));

        client.ends(0x93);
        for _ in 0..11 {
            taker.expect(publish("a"));
        }
        taker.expect_nothing();
        // A new connection begins to count anew.
        let mut client = world.resume(V5, lasting("client"));
        for id in [1, 20, 21] {
            client.send(publish("a").qos(2).id(id));
            client.expect(pubrec(id).code(0));
        }
    });
}

/// Nobody told a 3.1.1 client.
#[test]
fn v311_a_client_may_have_as_many_messages_open_as_there_are_identifiers() {
    with_clock(|world| {
        let mut taker = world.connected(V311, "taker");
        taker.subscribed(subscribe("a").qos(0));
        let mut client = world.connected(V311, "client");
        for id in 1..=65_535 {
            client.send(publish("a").qos(2).id(id));
        }
        for id in 1..=65_535 {
            client.expect(pubrec(id));
            taker.expect(publish("a"));
        }
    });
}

/// [MQTT-3.3.2-8] [MQTT-3.3.2-9]; 5.0 s3.3.4: 0, or above the Topic Alias Maximum.
#[test]
fn v5_3_3_4_a_topic_alias_out_of_its_range_is_0x94() {
    everywhere_with("[limits]\ntopic_aliases_in_max = 3", |world| {
        let mut taker = world.connected(V5, "taker");
        taker.subscribed(subscribe("#"));
        for alias in [0, 4, 65_535] {
            for topic in ["a", ""] {
                let mut client = world.client(V5);
                client.send(connect("client"));
                client.expect(connack().with(topic_alias_maximum(3)));
                client.send(publish(topic).with(topic_alias(alias)));
                client.ends(0x94);
            }
        }
        let mut client = world.connected(V5, "client");
        client.send(publish("a").with(topic_alias(3)));
        client.send(publish("b").with(topic_alias(1)));
        client.send(publish("").with(topic_alias(3)));
        client.send(publish("c").with(topic_alias(3)));
        client.send(publish("").with(topic_alias(3)));
        // In its range, but without a topic: a Protocol Error.
        client.send(publish("").with(topic_alias(2)));
        client.ends(0x82);
        for topic in ["a", "b", "a", "c", "c"] {
            taker.expect(publish(topic));
        }
        taker.expect_nothing();
    });
    everywhere_with("[limits]\ntopic_aliases_in_max = 0", |world| {
        let mut client = world.connected(V5, "client");
        client.send(publish("a").with(topic_alias(1)));
        client.ends(0x94);
    });
}

/// 5.0 s3.2.2.3.6; [MQTT-3.2.2-15]
#[test]
fn v5_mqtt_3_2_2_15_a_packet_above_the_maximum_packet_size_is_0x95() {
    everywhere_with("[limits]\npacket_bytes_max = 1024", |world| {
        for version in BOTH {
            // A fixed header of 3 bytes, 3 of the topic, in 5.0 1 of the properties.
            let fits = if version == V5 { 1_017 } else { 1_018 };
            let mut taker = world.connected(version, "taker");
            taker.subscribed(subscribe("a"));
            let mut client = world.client(version);
            client.send(connect("client"));
            client.expect(connack().with(maximum_packet_size(1_024)));
            client.send(publish("a").payload(vec![b'x'; fits]));
            taker.expect(publish("a").payload(vec![b'x'; fits]));
            assert_eq!(taker.last_bytes.len(), 1_024);

            client.send(publish("a").payload(vec![b'x'; fits + 1]));

            client.ends(0x95);
            // The head alone is enough to know it.
            let mut client = world.connected(version, "client");
            client.send(raw(*b"\x30\xFF\xFF\xFF\x7F"));
            client.ends(0x95);
            taker.expect_nothing();
        }
    });
}

/// [MQTT-3.2.2-15]
#[test]
fn v5_mqtt_3_2_2_15_a_packet_that_is_too_long_is_so_behind_others_like_it_too() {
    everywhere_with("[limits]\npacket_bytes_max = 100", |world| {
        for version in BOTH {
            let mut taker = world.connected(version, "taker");
            taker.subscribed(subscribe("a"));
            let mut client = world.connected(version, "client");

            client.send_all(&[
                &publish("a").payload("one"),
                &publish("a").payload("other"),
                &publish("a").payload([b'x'; 100]),
            ]);

            client.ends(0x95);
            taker.expect(publish("a").payload("one"));
            taker.expect(publish("a").payload("other"));
            taker.expect_nothing();
        }
    });
}

/// [MQTT-3.2.2-13] [MQTT-3.2.2-14]; 5.0 s3.2.2.3.5
#[test]
fn v5_mqtt_3_2_2_14_a_retained_message_where_there_are_none_is_0x9a() {
    everywhere_with(&listener("retain = false"), |world| {
        for version in BOTH {
            let mut taker = world.connected(version, "taker");
            taker.subscribed(subscribe("#"));
            for qos in [0, 1, 2] {
                let mut client = world.client(version);
                client.send(connect("client"));
                client.expect(connack().with(retain_available(0)));
                client.send(publish("a").qos(qos).retain());
                client.ends(0x9A);
            }
            let mut client = world.client(version);
            client.send(connect("client").will(Will::new("a", "gone").retained()));
            match version {
                V5 => client.refused(0x9A),
                V31 | V311 => client.closes(),
            }
            taker.expect_nothing();
        }
    });
}

/// [MQTT-3.2.2-11] [MQTT-3.2.2-12]; 5.0 s3.2.2.3.4. Subscriptions are lowered [MQTT-3.2.2-10].
#[test]
fn v5_mqtt_3_2_2_11_a_message_above_the_maximum_qos_is_0x9b() {
    for max in [0, 1] {
        everywhere_with(&listener(&format!("qos_max = {max}")), |world| {
            for version in BOTH {
                let mut taker = world.connected(version, "taker");
                taker.send(subscribe("#").qos(2));
                taker.expect(suback(1, &[max]));
                for qos in max + 1..=2 {
                    let mut client = world.client(version);
                    client.send(connect("client"));
                    client.expect(connack().with(maximum_qos(max)));
                    client.published(publish("a").qos(max));
                    taker.expect(publish("a").qos(max));
                    client.send(publish("a").qos(qos));
                    client.ends(0x9B);
                    let mut client = world.client(version);
                    client.send(connect("client").will(Will::new("a", "gone").qos(qos)));
                    match version {
                        V5 => client.refused(0x9B),
                        V31 | V311 => client.closes(),
                    }
                }
                taker.expect_nothing();
            }
        });
    }
}
