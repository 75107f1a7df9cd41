//! CONNACK: what it announces, and what becomes of who does not keep to it (3.2.2.3).

use crate::vocabulary::*;

/// A client and the properties of its CONNACK.
#[track_caller]
fn told(world: &World, connect: impl Said) -> (Client, wire::Properties) {
    let mut client = world.client(V5);
    client.send(connect);
    match client.next() {
        Packet::ConnAck { code: 0, properties, .. } => (client, properties),
        other => panic!("{other:?}"),
    }
}

/// Neither is what has no limit mentioned, nor what the client asked for itself.
#[test]
fn v5_mqtt_3_2_2_9_without_limits_nothing_is_said_of_them() {
    everywhere(|world| {
        let asked = connect("c").keep_alive(60).with(session_expiry_interval(60));

        let (_, properties) = told(world, asked);

        let ids: Vec<u8> = properties.0.iter().map(|(id, _)| *id).collect();
        let expected =
            [wire::RECEIVE_MAXIMUM, wire::MAXIMUM_PACKET_SIZE, wire::TOPIC_ALIAS_MAXIMUM];
        assert_eq!(ids, expected);
        assert_eq!(properties.0[0], receive_maximum(1_024));
        assert_eq!(properties.0[1], maximum_packet_size(2 * 1_024 * 1_024));
        assert_eq!(properties.0[2], topic_alias_maximum(32));
    });
}

#[test]
fn v5_mqtt_3_2_2_9_a_limited_qos_is_announced() {
    for (keys, maximum) in [("qos_max = 0", 0), ("qos_max = 1", 1)] {
        everywhere_with(&listener(keys), |world| {
            let mut client = world.client(V5);

            client.send(connect("c"));

            client.expect(connack().with(maximum_qos(maximum)));
        });
    }
    everywhere_with(&listener("qos_max = 2"), |world| {
        let mut client = world.client(V5);

        client.send(connect("c"));

        client.expect(connack().without(wire::MAXIMUM_QOS));
    });
}

/// 5.0 s3.2.2.3.5, s3.2.2.3.11 to s3.2.2.3.13
#[test]
fn v5_s3_2_2_3_what_a_listener_leaves_out_is_announced() {
    for (key, property) in [
        ("retain", retain_available(0)),
        ("wildcards", wildcard_subscription_available(0)),
        ("subscription_ids", subscription_identifier_available(0)),
        ("shared", shared_subscription_available(0)),
    ] {
        everywhere_with(&listener(&format!("{key} = false")), |world| {
            let (_, properties) = told(world, connect("c"));

            let flags = properties.0.iter().filter(|(_, value)| matches!(value, Value::Byte(_)));
            assert_eq!(flags.collect::<Vec<_>>(), [&property]);
        });
    }
}

/// And grants what it has. [MQTT-3.2.2-9]
#[test]
fn v5_mqtt_3_2_2_10_a_server_of_limited_qos_takes_every_subscription() {
    for (keys, granted) in [("qos_max = 0", [0, 0, 0]), ("qos_max = 1", [0, 1, 1])] {
        everywhere_with(&listener(keys), |world| {
            for version in BOTH {
                let mut client = world.connected(version, "c");

                client.send(subscribe("a").and("b").qos(1).and("c").qos(2));

                client.expect(suback(1, &granted));
                client.send(publish("c"));
                client.expect(publish("c"));
            }
        });
    }
}

/// A client before 5.0 was not told, and would lose the message otherwise.
#[test]
fn v5_mqtt_3_2_2_11_a_message_above_the_maximum_qos_ends_the_connection() {
    for (keys, above) in [("qos_max = 0", &[1, 2][..]), ("qos_max = 1", &[2])] {
        everywhere_with(&listener(keys), |world| {
            for version in BOTH {
                let mut watcher = world.connected(version, "watcher");
                watcher.subscribed(subscribe("t"));
                for qos in above {
                    let mut client = world.connected(version, "c");

                    client.send(publish("t").qos(*qos));

                    client.ends(0x9B);
                }
                watcher.expect_nothing();
                let mut client = world.connected(version, "c");
                client.published(publish("t").qos(above[0] - 1));
                watcher.expect(publish("t"));
            }
        });
    }
}

#[test]
fn v5_mqtt_3_2_2_12_a_will_above_the_maximum_qos_is_refused() {
    for (keys, above) in [("qos_max = 0", &[1, 2][..]), ("qos_max = 1", &[2])] {
        everywhere_with(&listener(keys), |world| {
            for version in BOTH {
                for qos in above {
                    let mut stranger = world.client(version);
                    stranger.send(connect("c").will(Will::new("will", "gone").qos(*qos)));
                    stranger.rejected(0x9B);
                }
                let will = Will::new("will", "gone").qos(above[0] - 1);
                world.connect(version, connect("c").will(will)).leave();
            }
        });
    }
}

#[test]
fn v5_mqtt_3_2_2_13_a_retained_will_is_refused_where_nothing_is_retained() {
    everywhere_with(&listener("retain = false"), |world| {
        for version in BOTH {
            let mut stranger = world.client(version);
            stranger.send(connect("c").will(Will::new("will", "gone").retained()));
            stranger.rejected(0x9A);

            world.connect(version, connect("c").will(Will::new("will", "gone"))).leave();
        }
    });
}

#[test]
fn v5_mqtt_3_2_2_14_a_retained_message_is_refused_where_nothing_is_retained() {
    everywhere_with(&listener("retain = false"), |world| {
        for version in BOTH {
            for qos in 0..=2 {
                let mut client = world.connected(version, "c");

                client.send(publish("t").retain().qos(qos));

                client.ends(0x9A);
            }
            let mut late = world.connected(version, "late");
            late.subscribed(subscribe("t"));
            late.expect_nothing();
        }
    });
}

/// 5.0 s3.2.2.3.6; 3.1.1 has no such limit, but a broker has. The largest one is taken.
#[test]
fn v5_mqtt_3_2_2_15_a_packet_above_the_servers_maximum_ends_the_connection() {
    everywhere_with("limits.packet_bytes_max = 1000", |world| {
        let (client, properties) = told(world, connect("c"));
        assert!(properties.0.contains(&maximum_packet_size(1_000)));
        client.leave();
        for version in BOTH {
            // Two bytes of Remaining Length, three of topic, in 5.0 one of properties.
            let room = 1_000 - if version == V5 { 7 } else { 6 };
            let mut client = world.connected(version, "c");
            client.subscribed(subscribe("t"));
            let largest = publish("t").payload(vec![b'x'; room]);

            client.send(largest.clone());
            client.expect(largest);
            assert_eq!(client.last_bytes.len(), 1_000);
            client.send(publish("t").payload(vec![b'x'; room + 1]));

            client.ends(0x95);
            // The head alone is enough to know it.
            let mut client = world.connected(version, "c");
            client.send(raw(*b"\x30\xFF\xFF\xFF\x7F"));
            client.ends(0x95);
        }
    });
}

/// No two of them have the same, nor one that somebody chose. [MQTT-3.1.3-6] [MQTT-3.1.3-7]
#[test]
fn v5_mqtt_3_2_2_16_an_assigned_identifier_is_nobody_elses() {
    everywhere(|world| {
        let mut clients = Vec::new();
        let mut names = Vec::new();
        for _ in 0..50 {
            let (client, properties) = told(world, lasting(""));
            let [Value::Text(name)] = properties.all(wire::ASSIGNED_CLIENT_IDENTIFIER)[..] else {
                panic!("{properties:?}")
            };
            names.push(name.clone());
            clients.push(client);
        }
        for client in &mut clients {
            client.expect_nothing();
        }
        clients.clear();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 50);

        let (_, properties) = told(world, connect("chosen"));
        assert!(properties.all(wire::ASSIGNED_CLIENT_IDENTIFIER).is_empty());
    });
}

/// It is there for who has room for it. [MQTT-3.1.2-24]
#[test]
fn v5_mqtt_3_2_2_19_a_reason_string_that_does_not_fit_is_left_out() {
    everywhere(|world| {
        let refusal = |maximum: u32| {
            let mut stranger = world.client(V5);
            let long = connect(&"c".repeat(1_025)).with(maximum_packet_size(maximum));
            stranger.send(long);
            let Packet::ConnAck { code: 0x85, properties, .. } = stranger.next() else {
                panic!("no refusal")
            };
            (stranger.last_bytes.len(), properties.all(wire::REASON_STRING).len())
        };
        let (whole, texts) = refusal(u32::MAX);
        assert_eq!(texts, 1);
        let whole = u32::try_from(whole).unwrap();

        assert_eq!(refusal(whole), (whole as usize, 1));
        assert_eq!(refusal(whole - 1), (5, 0));
        assert_eq!(refusal(5), (5, 0));
    });
}

/// Though something else in the CONNECT is wrong. [MQTT-3.1.2-24]
#[test]
fn v5_mqtt_3_2_2_19_a_connect_that_is_wrong_gets_no_longer_answer_than_it_allows() {
    everywhere(|world| {
        let narrow = |bytes| connect("c").with(maximum_packet_size(bytes));
        let wrong: [(&dyn Said, u8); 5] = [
            (&narrow(20).with(receive_maximum(0)), 0x82),
            (&connect("c").with(receive_maximum(0)).with(maximum_packet_size(20)), 0x82),
            (&narrow(20).with(topic_alias(1)), 0x81),
            (&narrow(20).will(Will::new("will", "gone")).toggle_flags(0x04), 0x81),
            (&altered(narrow(20).username("XX"), "XX", b"\xC3\x28"), 0x81),
        ];
        for (said, code) in wrong {
            let mut stranger = world.client(V5);

            stranger.send_all(&[said]);

            stranger.refused(code);
            assert_eq!(stranger.last_bytes, [0x20, 3, 0, code, 0]);
        }
        let mut stranger = world.client(V5);
        stranger.send(narrow(4).with(receive_maximum(0)));
        stranger.closes();
    });
}

/// dunlin has none to send.
#[test]
fn v5_mqtt_3_2_2_20_a_connack_has_no_user_properties_that_might_not_fit() {
    everywhere(|world| {
        let (client, properties) = told(world, connect("c").with(user_property("a", "b")));
        assert!(properties.all(wire::USER_PROPERTY).is_empty());
        let length = u32::try_from(client.last_bytes.len()).unwrap();
        client.leave();

        let connect = connect("c").with(user_property("a", "b")).with(maximum_packet_size(length));
        let (client, _) = told(world, connect);
        assert_eq!(client.last_bytes.len(), length as usize);
        client.leave();

        let mut refused = world.client(V5);
        refused.send(connect_too_long());
        let Packet::ConnAck { code: 0x85, properties, .. } = refused.next() else { panic!() };
        assert!(properties.all(wire::USER_PROPERTY).is_empty());
    });
}

fn connect_too_long() -> impl Said {
    connect(&"c".repeat(1_025)).with(user_property("a", "b"))
}

/// It has the Client Identifier that was assigned. 5.0 s3.2.2.3.15 [MQTT-3.1.3-7]
#[test]
fn v5_s3_2_2_3_15_response_information_knows_an_assigned_identifier() {
    everywhere(|world| {
        let (_, properties) = told(world, connect("").with(request_response_information(1)));

        let [Value::Text(name)] = properties.all(wire::ASSIGNED_CLIENT_IDENTIFIER)[..] else {
            panic!("{properties:?}")
        };
        let information = Value::Text(format!("response/{name}"));
        assert_eq!(properties.all(wire::RESPONSE_INFORMATION), [&information]);
    });
}

/// What is of no use without room is left out, too. 5.0 s3.2.2.3.15
#[test]
fn v5_s3_2_2_3_15_response_information_that_does_not_fit_is_left_out() {
    everywhere(|world| {
        let asking = || connect("c").with(request_response_information(1));
        let (client, properties) = told(world, asking());
        assert_eq!(properties.all(wire::RESPONSE_INFORMATION).len(), 1);
        let length = u32::try_from(client.last_bytes.len()).unwrap();
        client.leave();

        let (client, properties) = told(world, asking().with(maximum_packet_size(length - 1)));

        assert!(client.last_bytes.len() < length as usize);
        assert!(properties.all(wire::RESPONSE_INFORMATION).is_empty());
    });
}

/// One of 0 as well.
#[test]
fn v5_mqtt_3_2_2_22_without_another_the_clients_keep_alive_counts() {
    with_clock_and("limits.keep_alive_max = \"10s\"", |world| {
        for (seconds, lasts) in [(10, 14), (3, 4), (1, 1)] {
            let (mut client, properties) = told(world, connect("c").keep_alive(seconds));
            assert!(properties.all(wire::SERVER_KEEP_ALIVE).is_empty());
            world.pass(lasts);
            client.expect_nothing();
            world.pass(lasts + 2);
            client.ends(0x8D);
        }

        let (mut client, properties) = told(world, connect("c").keep_alive(0));
        assert!(properties.all(wire::SERVER_KEEP_ALIVE).is_empty());
        world.pass(10_000);
        client.expect_nothing();
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

/// Not PUBLISH alone: 5.0 s3.2.2.3.6. A DISCONNECT that is too large is none, so the Will is sent.
#[test]
fn v5_mqtt_3_2_2_15_whichever_packet_is_too_large_is_0x95() {
    everywhere_with("[limits]\npacket_bytes_max = 1024", |world| {
        let mut watcher = world.connected(V5, "watcher");
        watcher.subscribed(subscribe("will"));
        let long = || user_property("padding", &"x".repeat(1_024));
        let packets: [&dyn Said; 9] = [
            &publish("a").qos(1).with(long()),
            &puback(1).with(long()),
            &pubrec(1).with(long()),
            &pubrel(1).with(long()),
            &pubcomp(1).with(long()),
            &subscribe("a").with(long()),
            &unsubscribe("a").with(long()),
            &disconnect().with(long()),
            &auth(0x19).with(long()),
        ];
        for packet in packets {
            let will = Will::new("will", "gone").qos(0);
            let mut client = world.connect(V5, connect("client").will(will));

            client.send_all(&[packet]);

            client.ends(0x95);
            watcher.expect(publish("will").payload("gone"));
        }
        let packets: [&dyn Said; 2] =
            [&subscribe(&"x".repeat(1_024)), &unsubscribe(&"x".repeat(1_024))];
        for packet in packets {
            let mut client = world.connected(V311, "client");

            client.send_all(&[packet]);

            client.closes();
        }
    });
}
