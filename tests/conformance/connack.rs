//! CONNACK: when it comes, Session Present, and its codes (3.2.0 to 3.2.2.2).

use crate::vocabulary::*;

/// What waits for a client waits for its CONNACK too. [MQTT3-3.2.0-1]
#[test]
fn v5_mqtt_3_2_0_1_nothing_comes_before_the_connack() {
    everywhere(|world| {
        for version in BOTH {
            let name = format!("c {version:?}");
            let mut client = world.connect(version, lasting(&name));
            client.subscribed(subscribe("t").qos(2));
            client.leave();
            let mut publisher = world.connected(version, "publisher");
            for number in 0..100 {
                publisher.published(publish("t").payload(number.to_string()).qos(1));
            }

            let mut client = world.client(version);
            client.send(lasting(&name));

            client.expect(connack().session_present());
            client.expect(publish("t").payload("0").qos(1));
        }
    });
}

/// Also while others publish to the Session that is taken over. [MQTT3-3.2.0-1]
#[test]
fn v5_mqtt_3_2_0_1_nothing_comes_before_the_connack_of_a_takeover() {
    everywhere(|world| {
        for version in BOTH {
            let name = format!("c {version:?}");
            let mut client = world.connect(version, lasting(&name));
            client.subscribed(subscribe("t").qos(1));
            let mut publisher = world.connected(version, "publisher");
            for number in 0..20_u16 {
                let message = publish("t").payload(number.to_string()).qos(1).id(number + 1);
                publisher.send(message);
                let newer = world.resume(version, lasting(&name));
                drop(std::mem::replace(&mut client, newer));
                publisher.expect(puback(number + 1).code(0x00));
            }
        }
    });
}

/// Whatever its client sends: a second CONNECT ends the connection.
#[test]
fn v5_mqtt_3_2_0_2_there_is_one_connack_only() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.client(version);

            client.send_all(&[&connect("c"), &connect("c"), &connect("d")]);

            client.expect(connack());
            client.ends(0x82);
        }
    });
}

/// In 3.1.1 they are reserved as well (3.1.1 s3.2.2.1).
#[test]
fn v5_mqtt_3_2_2_1_of_the_acknowledge_flags_only_the_first_is_used() {
    everywhere(|world| {
        for version in BOTH {
            let name = format!("c {version:?}");
            let flags = |client: &Client| client.last_bytes[2];
            let mut client = world.connect(version, lasting(&name));
            assert_eq!(flags(&client), 0);
            client.send(disconnect());
            client.closes();
            let client = world.resume(version, lasting(&name));
            assert_eq!(flags(&client), 1);
            assert_eq!(flags(&world.connect(version, connect(&name))), 0);
            let mut refused = world.client(version);
            refused.send(connect(&"c".repeat(2_000)));
            refused.next();
            assert_eq!(flags(&refused), 0);
        }
    });
}

/// Whatever there was. [MQTT3-3.2.2-1]
#[test]
fn v5_mqtt_3_2_2_2_with_clean_start_no_session_is_present() {
    everywhere(|world| {
        for version in BOTH {
            let name = format!("c {version:?}");
            world.connect(version, connect(&name)).leave();
            world.connect(version, lasting(&name)).leave();
            world.connect(version, connect(&name)).leave();
            let _online = world.connect(version, lasting(&name));
            world.connect(version, connect(&name)).leave();
        }
    });
}

/// Also one that is connected at this moment, or that the other version made. [MQTT3-3.2.2-2]
/// [MQTT3-3.2.2-3]
#[test]
fn v5_mqtt_3_2_2_3_without_clean_start_a_stored_session_is_present() {
    everywhere(|world| {
        for version in BOTH {
            let name = format!("c {version:?}");
            world.connect(version, lasting(&name)).leave();

            world.resume(version, lasting(&name)).cut();
            let mut online = world.resume(version, lasting(&name));
            let newer = world.resume(version, lasting(&name));
            online.ends(0x8E);
            newer.leave();

            let other = if version == V5 { V311 } else { V5 };
            world.resume(other, lasting(&name)).leave();
            world.connect(version, lasting("nobody before")).leave();
            world.connected(version, "nobody before").leave();
        }
    });
}

/// Though there is one. [MQTT3-3.2.2-4] [MQTT3-3.2.2-5] [MQTT-3.2.2-7]
#[test]
fn v5_mqtt_3_2_2_6_a_refusal_says_that_no_session_is_present() {
    for (served, keys, version, code) in
        [(V311, "\"3.1.1\"", V5, 0x84), (V5, "\"5.0\"", V311, 0x01)]
    {
        everywhere_with(&listener(&format!("protocols = [{keys}]")), |world| {
            world.connect(served, lasting("c")).leave();
            let mut stranger = world.client(version);

            stranger.send(lasting("c"));

            stranger.refused(code);
        });
    }
    everywhere(|world| {
        world.connect(V5, lasting("c")).leave();
        let mut stranger = world.client(V5);

        stranger.send(lasting("c").will(Will::new("wild/#", "gone")));

        stranger.refused(0x90);
    });
}

/// The server's own trouble. [MQTT3-3.2.2-4] [MQTT3-3.2.2-5] [MQTT-3.2.2-7]
#[test]
fn v5_mqtt_3_2_2_6_a_server_that_is_busy_says_that_no_session_is_present() {
    for (version, code) in [(V311, 0x03), (V5, 0x89)] {
        really_with("limits.connections_max = 1", |world| {
            let mut client = world.connect(version, lasting("c"));
            let mut stranger = world.client(version);

            stranger.send(lasting("c"));

            stranger.refused(code);
            client.expect_nothing();
        });
    }
}

/// Each refusal that a client can bring about, in 5.0.
fn refusals() -> Vec<(Box<dyn Said>, u8)> {
    vec![
        (Box::new(connect("c").protocol("MQTT", 6)), 0x84),
        (Box::new(connect("c").toggle_flags(0x01)), 0x81),
        (Box::new(connect("c").with(receive_maximum(0))), 0x82),
        (Box::new(connect(&"c".repeat(2_000))), 0x85),
        (Box::new(connect("c").will(Will::new("#", ""))), 0x90),
        (Box::new(connect("c").will(Will::new("$SYS/c", ""))), 0x87),
        (Box::new(connect("").with(maximum_packet_size(20))), 0x95),
    ]
}

/// Then it is closed, and nothing else is heard of it. [MQTT3-3.2.2-5]
#[test]
fn v5_mqtt_3_2_2_7_after_a_refusal_the_connection_is_closed() {
    everywhere(|world| {
        for (said, code) in refusals() {
            let mut stranger = world.client(V5);

            stranger.send_all(&[&*said, &pingreq()]);

            stranger.refused(code);
        }
        for (version, long) in [V31, V311].map(|version| (version, "c".repeat(2_000))) {
            let mut stranger = world.client(version);

            stranger.send_all(&[&connect(&long), &pingreq()]);

            stranger.refused(0x02);
        }
    });
}

/// The codes of 5.0 s3.2.2.2.
const REASON_CODES: [u8; 22] = [
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
    0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
];

#[test]
fn v5_mqtt_3_2_2_8_a_connack_has_a_code_of_the_table() {
    everywhere_with(&listener("qos_max = 1\nretain = false"), |world| {
        let mut cases = refusals();
        cases.push((Box::new(connect("c").will(Will::new("t", "").qos(2))), 0x9B));
        cases.push((Box::new(connect("c").will(Will::new("t", "").retained())), 0x9A));
        cases.push((Box::new(connect("c")), 0x00));
        for (said, expected) in cases {
            let mut client = world.client(V5);

            client.send_all(&[&*said]);

            let Packet::ConnAck { code, .. } = client.next() else { panic!("no CONNACK") };
            assert_eq!(code, expected);
            assert!(REASON_CODES.contains(&code), "{code:#04x}");
        }
    });
}

/// Where 3.1.1 has no code the connection is closed without a CONNACK. [MQTT3-3.1.4-1]
#[test]
fn v311_mqtt_3_2_2_6_a_reason_without_a_return_code_closes_without_a_connack() {
    everywhere_with(&listener("qos_max = 1\nretain = false"), |world| {
        for version in [V31, V311] {
            for connect in [
                connect("c").will(Will::new("#", "")),
                connect("c").will(Will::new("", "")),
                connect("c").will(Will::new("t", "").qos(2)),
                connect("c").will(Will::new("t", "").retained()),
                connect("c").will(Will::new("t\0", "")),
            ] {
                let mut stranger = world.client(version);

                stranger.send(connect);

                stranger.closes();
            }
        }
    });
}

/// And the others are 1 to 5. [MQTT3-3.2.2-5]
#[test]
fn v311_mqtt_3_2_2_6_a_return_code_is_one_of_the_table() {
    everywhere(|world| {
        let refusals: [(&dyn Said, u8); 4] = [
            (&connect("c").protocol("MQTT", 3), 1),
            (&connect(&"c".repeat(2_000)), 2),
            (&lasting(""), 2),
            (&connect("c").will(Will::new("$SYS/c", "").qos(0)), 5),
        ];
        for (said, code) in refusals {
            let mut stranger = world.client(V311);

            stranger.send_all(&[said]);

            stranger.expect(connack().code(code));
            assert_eq!(stranger.last_bytes, [0x20, 2, 0, code]);
            stranger.closes();
        }
    });
}
