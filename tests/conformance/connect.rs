//! CONNECT: its place, its protocol, Clean Start and Keep Alive (3.1.0, 3.1.2).

use crate::vocabulary::*;

/// 3.1.1 wants it closed without a word. [MQTT3-3.1.0-1]
#[test]
fn v5_mqtt_3_1_0_1_another_first_packet_than_connect_closes() {
    everywhere(|world| {
        for version in BOTH {
            let mut watcher = world.connected(version, "watcher");
            watcher.subscribed(subscribe("t"));
            let others: [&dyn Said; 17] = [
                &publish("t"),
                &publish("t").qos(1),
                &puback(1),
                &pubrec(1),
                &pubrel(1),
                &pubcomp(1),
                &suback(1, &[0]),
                &unsuback(1, &[0]),
                &pingresp(),
                &subscribe("t"),
                &unsubscribe("t"),
                &pingreq(),
                &disconnect(),
                &auth(0x18),
                &connack(),
                &packet(0x00, &[]),
                &raw("GET / HTTP/1.1\r\nHost: broker\r\n\r\n"),
            ];
            for first in others {
                let mut stranger = world.client(version);

                stranger.send_all(&[first, &connect("c"), &publish("t")]);

                stranger.closes();
            }
            watcher.expect_nothing();
        }
    });
}

/// However it looks. Its Will is published, as after any violation. [MQTT3-3.1.0-2]
#[test]
fn v5_mqtt_3_1_0_2_a_second_connect_is_a_protocol_error() {
    everywhere(|world| {
        for version in BOTH {
            let mut watcher = world.connected(version, "watcher");
            watcher.subscribed(subscribe("will"));
            for second in
                [connect("c"), connect("another"), lasting("c"), connect("c").toggle_flags(0x01)]
            {
                let mut client =
                    world.connect(version, connect("c").will(Will::new("will", "twice")));

                client.send(second);

                client.ends(0x82);
                watcher.expect(publish("will").payload("twice"));
            }
        }
    });
}

/// [MQTT3-3.1.2-1]
#[test]
fn v5_mqtt_3_1_2_1_the_protocol_name_is_mqtt() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.client(version);
            let level = if version == V5 { 5 } else { 4 };
            let start = [0, 4, 0x4D, 0x51, 0x54, 0x54, level, 0x02, 0, 0];
            let rest: &[u8] = if version == V5 { &[0, 0, 1, b'c'] } else { &[0, 1, b'c'] };

            client.send(packet(0x10, &[&start, rest].concat()));

            client.expect(connack());
        }
    });
}

/// Nor is what follows it taken for MQTT. [MQTT3-3.1.2-1]
#[test]
fn v5_mqtt_3_1_2_1_another_protocol_name_is_not_served() {
    everywhere(|world| {
        for (version, level) in [(V311, 4), (V5, 5)] {
            let mut watcher = world.connected(version, "watcher");
            watcher.subscribed(subscribe("t"));
            for name in ["mqtt", "MQTTT", "MQT", "", "HTTP", "MQISDP", "MQTT\0"] {
                let mut stranger = world.client(version);

                stranger.send_all(&[&connect("c").protocol(name, level), &publish("t")]);

                stranger.closes();
            }
            watcher.expect_nothing();
        }
    });
}

/// Levels that may come later are answered as 5.0, others as 3.1.1. [MQTT3-3.1.2-2]
#[test]
fn v5_mqtt_3_1_2_2_a_level_that_is_not_served_is_refused() {
    everywhere(|world| {
        let newer = [6, 7, 0x80, 0x84, 0xFF].map(|level| ("MQTT", level, V5, 0x84));
        let older = [0, 1, 2, 3].map(|level| ("MQTT", level, V311, 0x01));
        let mixed = [(4, V311, 0x01), (5, V311, 0x01), (9, V5, 0x84)];
        let mixed = mixed.map(|(level, version, code)| ("MQIsdp", level, version, code));
        for (name, level, version, code) in newer.into_iter().chain(older).chain(mixed) {
            let mut stranger = world.client(version);

            stranger.send(connect("c").protocol(name, level));

            stranger.refused(code);
        }
    });
}

/// [MQTT3-3.1.2-2]
#[test]
fn v5_mqtt_3_1_2_2_a_version_that_the_listener_does_not_serve_is_refused() {
    let all = [("3.1", V31, 0x01), ("3.1.1", V311, 0x01), ("5.0", V5, 0x84)];
    for (name, served, _) in all {
        everywhere_with(&listener(&format!("protocols = [\"{name}\"]")), |world| {
            world.connected(served, "c").expect_nothing();
            for (_, version, code) in all.into_iter().filter(|(_, version, _)| *version != served) {
                let mut stranger = world.client(version);

                stranger.send(connect("c"));

                stranger.refused(code);
            }
        });
    }
}

/// [MQTT3-3.1.2-3]
#[test]
fn v5_mqtt_3_1_2_3_the_reserved_connect_flag_is_0() {
    everywhere(|world| {
        for version in BOTH {
            for connect in [connect("c"), lasting("c"), connect("c").will(Will::new("will", "x"))] {
                let mut stranger = world.client(version);

                stranger.send(connect.toggle_flags(0x01));

                stranger.rejected(0x81);
            }
        }
    });
}

/// Away, with a Subscription and a message that waits.
fn leave_something(world: &World, version: Version, client_id: &str) {
    let mut client = world.connect(version, lasting(client_id));
    client.subscribed(subscribe("t").qos(2));
    client.leave();
    let mut publisher = world.connected(version, "publisher");
    publisher.published(publish("t").payload("waits").qos(1));
}

/// [MQTT3-3.1.2-6] [MQTT3-3.1.4-3] [MQTT-3.1.4-4]
#[test]
fn v5_mqtt_3_1_2_4_clean_start_throws_the_session_away() {
    everywhere(|world| {
        for version in BOTH {
            leave_something(world, version, "c");

            let mut client = world.connect(version, lasting("c").clean_start());

            client.expect_nothing();
            let mut publisher = world.connected(version, "publisher");
            publisher.published(publish("t").qos(1));
            client.expect_nothing();
            client.leave();
            // Before 5.0 it is Clean Session, which says as well when the new one ends.
            match version {
                V5 => world.resume(version, lasting("c")).leave(),
                V31 | V311 => world.connect(version, lasting("c")).leave(),
            }
            world.connected(version, "c").leave();
        }
    });
}

/// Another connection has it at that moment. [MQTT3-3.1.2-6]
#[test]
fn v5_mqtt_3_1_2_4_clean_start_throws_away_a_session_that_is_in_use() {
    everywhere(|world| {
        for version in BOTH {
            let name = format!("c {version:?}");
            let mut old = world.connect(version, lasting(&name));
            old.subscribed(subscribe("t").qos(2));

            let mut new = world.connect(version, lasting(&name).clean_start());

            old.ends(0x8E);
            world.connected(version, "publisher").published(publish("t").qos(1));
            new.expect_nothing();
        }
    });
}

/// CleanSession 1 of 3.1.1 is both: the Session is new, and it ends with the connection.
#[test]
fn v311_mqtt_3_1_2_6_a_clean_session_ends_with_its_connection() {
    everywhere(|world| {
        let mut client = world.connected(V311, "c");
        client.subscribed(subscribe("t").qos(2));
        let mut publisher = world.connected(V311, "publisher");
        publisher.published(publish("t").payload("open").qos(1));
        client.expect(publish("t").payload("open").qos(1));
        client.cut();
        publisher.published(publish("t").payload("missed").qos(1));

        let mut back = world.connect(V311, lasting("c"));

        publisher.published(publish("t").payload("later").qos(1));
        back.expect_nothing();
    });
}

/// With its Subscriptions, what waits, and what is open on either side. [MQTT3-3.1.2-4]
/// [MQTT3-3.1.2-5] [MQTT3-3.1.4-3] [MQTT-3.1.4-4]
#[test]
fn v5_mqtt_3_1_2_5_without_clean_start_a_session_goes_on() {
    everywhere(|world| {
        for version in BOTH {
            let name = format!("c {version:?}");
            let mut client = world.connect(version, lasting(&name));
            client.subscribed(subscribe("t").qos(2));
            client.send(publish("mine").qos(2).id(9));
            client.expect(pubrec(9));
            client.cut();
            let mut publisher = world.connected(version, "publisher");
            let (one, two) = (publish("t").payload("1").qos(1), publish("t").payload("2").qos(2));
            publisher.published(one.clone());
            publisher.published(two.clone());

            let mut client = world.resume(version, lasting(&name));

            client.expect(one);
            client.expect(two);
            // The broker still knows the message it had received.
            client.send(pubrel(9));
            client.expect(pubcomp(9).code(0x00));
            publisher.published(publish("t").payload("live").qos(0));
            client.expect(publish("t").payload("live"));
        }
    });
}

/// It is kept after the disconnect, whoever ends it. [MQTT3-3.1.2-4]
#[test]
fn v5_mqtt_3_1_2_6_without_clean_start_a_session_is_made_where_there_is_none() {
    everywhere(|world| {
        for version in BOTH {
            let name = format!("c {version:?}");
            let mut client = world.connect(version, lasting(&name));
            client.subscribed(subscribe("t").qos(1));
            client.leave();

            world.resume(version, lasting(&name)).cut();

            let mut client = world.resume(version, lasting(&name));
            world.connected(version, "publisher").published(publish("t"));
            client.expect(publish("t"));
        }
    });
}

#[test]
fn v311_mqtt_3_1_2_7_retained_messages_do_not_end_with_a_session() {
    everywhere(|world| {
        for version in BOTH {
            let topic = format!("kept/{version:?}");
            let mut client = world.connected(version, "c");
            client.published(publish(&topic).retain().qos(1));
            client.leave();
            world.connected(version, "c").leave();

            let mut subscriber = world.connected(version, "subscriber");
            subscriber.subscribed(subscribe(&topic));

            subscriber.expect(publish(&topic).retain());
        }
    });
}

/// Silence of one and a half times the Keep Alive ends the connection, as a failure of the network
/// would. [MQTT3-3.1.2-24]
#[test]
fn v5_mqtt_3_1_2_22_a_client_silent_for_one_and_a_half_keep_alives_is_closed() {
    with_clock(|world| {
        for version in BOTH {
            let mut watcher = world.connected(version, "watcher");
            watcher.subscribed(subscribe("will"));
            let will = Will::new("will", "silent");
            let mut client = world.connect(version, connect("c").keep_alive(10).will(will));
            world.pass(14);
            client.expect_nothing();
            world.pass(14);
            watcher.expect_nothing();

            world.pass(2);

            client.ends(0x8D);
            watcher.expect(publish("will").payload("silent"));
        }
    });
}

/// Any packet will do; only what the broker says itself does not count. [MQTT3-3.1.2-24]
#[test]
fn v5_mqtt_3_1_2_22_any_packet_of_the_client_keeps_it_alive() {
    with_clock(|world| {
        for version in BOTH {
            let mut publisher = world.connected(version, "publisher");
            let mut client = world.connect(version, connect("c").keep_alive(10));
            client.subscribed(subscribe("t").qos(1));
            world.pass(14);
            client.send(publish("other"));
            world.pass(14);
            publisher.published(publish("t").qos(1));
            let id = client.message().packet_id;
            client.send(puback(id));
            world.pass(14);
            client.expect_nothing();

            world.pass(14);
            publisher.published(publish("t"));
            client.expect(publish("t"));
            world.pass(2);

            client.ends(0x8D);
        }
    });
}

/// 5.0 s3.1.2.10 [MQTT3-3.1.2-24]
#[test]
fn v5_mqtt_3_1_2_22_a_keep_alive_of_0_is_none() {
    with_clock(|world| {
        for version in BOTH {
            let mut client = world.connect(version, connect("c").keep_alive(0));

            world.pass(3_600 * 10);

            client.expect_nothing();
        }
    });
}

/// The longest one that can be said is kept to: 3.1.1 clients cannot be told another.
#[test]
fn v311_mqtt_3_1_2_24_a_client_that_cannot_be_told_keeps_its_own() {
    with_clock_and("limits.keep_alive_max = \"60s\"", |world| {
        let mut client = world.connect(V311, connect("c").keep_alive(u16::MAX));

        world.pass(98_301);

        client.expect_nothing();
        world.pass(98_303);
        client.ends(0x8D);
    });
}

/// What the CONNACK announced holds. [MQTT-3.2.2-21]
#[test]
fn v5_mqtt_3_1_2_21_a_server_keep_alive_replaces_the_clients() {
    with_clock_and("limits.keep_alive_max = \"60s\"", |world| {
        let mut client = world.client(V5);
        client.send(connect("c").keep_alive(61));
        client.expect(connack().with(server_keep_alive(60)));
        world.pass(89);
        client.expect_nothing();

        world.pass(91);

        client.ends(0x8D);
    });
}
