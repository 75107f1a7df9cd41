//! CONNECT: the Will, its flags and its properties, and that it is published (3.1.2.5 to 3.1.2.7,
//! 3.1.3.2 to 3.1.3.4).

use crate::vocabulary::*;

/// A client that gets what is published below `will`, with the QoS it is published with.
fn watcher(world: &World, version: Version) -> Client {
    let mut watcher = world.connected(version, "watcher");
    watcher.subscribed(subscribe("will/#").qos(2));
    watcher
}

fn will() -> Will {
    Will::new("will/c", "gone").qos(0)
}

/// By whatever the connection ends but a DISCONNECT. [MQTT-3.1.2-7] [MQTT3-3.1.2-8]
#[test]
fn v5_mqtt_3_1_2_8_the_will_is_published_when_the_connection_ends() {
    everywhere(|world| {
        for version in BOTH {
            let mut watcher = watcher(world, version);
            let will = || connect("c").will(will());

            world.connect(version, will()).cut();
            watcher.expect(publish("will/c").payload("gone"));

            drop(world.connect(version, will()));
            watcher.expect(publish("will/c").payload("gone"));

            let mut violator = world.connect(version, will());
            violator.send(publish("wild/#"));
            violator.ends(0x90);
            watcher.expect(publish("will/c").payload("gone"));

            let mut malformed = world.connect(version, will());
            malformed.send(packet(0x00, &[]));
            malformed.ends(0x81);
            watcher.expect(publish("will/c").payload("gone"));

            let mut old = world.connect(version, will());
            let new = world.connect(version, connect("c"));
            old.ends(0x8E);
            watcher.expect(publish("will/c").payload("gone"));
            new.leave();
        }
    });
}

/// [MQTT3-3.1.2-8]
#[test]
fn v5_mqtt_3_1_2_8_a_will_of_a_refused_client_is_not_published() {
    everywhere(|world| {
        for version in BOTH {
            let mut watcher = watcher(world, version);
            let too_long = "c".repeat(1_025);
            let mut stranger = world.client(version);

            stranger.send(connect(&too_long).will(will()));

            stranger.refused(if version == V5 { 0x85 } else { 0x02 });
            watcher.expect_nothing();
        }
    });
}

/// Not even after its delay, or for a Session that goes on. [MQTT3-3.1.2-10] [MQTT3-3.1.2-8]
/// [MQTT-3.1.2-8] [MQTT-3.14.4-3] [MQTT3-3.14.4-3]
#[test]
fn v5_mqtt_3_1_2_10_a_disconnect_removes_the_will() {
    everywhere(|world| {
        for version in BOTH {
            let mut watcher = watcher(world, version);

            world.connect(version, connect("c").will(will())).leave();
            watcher.expect_nothing();

            let mut client = world.connect(version, connect("c").will(will()));
            client.send(disconnect().code(0x00));
            client.closes();
            watcher.expect_nothing();

            let name = format!("lasting {version:?}");
            world.connect(version, lasting(&name).will(will())).leave();
            world.resume(version, lasting(&name)).cut();
            watcher.expect_nothing();
        }
    });
    with_clock(|world| {
        let mut watcher = watcher(world, V5);
        let will = will().with(will_delay_interval(5));
        world.connect(V5, lasting("c").will(will)).leave();

        world.pass(3_700);

        watcher.expect_nothing();
    });
}

/// Whatever an earlier connection had. [MQTT-3.1.2-7]
#[test]
fn v311_mqtt_3_1_2_12_without_a_will_nothing_is_published() {
    everywhere(|world| {
        for version in BOTH {
            let mut everything = world.connected(version, "everything");
            everything.subscribed(subscribe("#").qos(2));

            world.connect(version, connect("c").will(will())).leave();
            world.connected(version, "c").cut();
            let mut violator = world.connected(version, "c");
            violator.send(packet(0x00, &[]));
            violator.ends(0x81);

            everything.expect_nothing();
        }
    });
}

/// The fields that the Will Flag promises. [MQTT3-3.1.2-9]
#[test]
fn v5_mqtt_3_1_2_9_a_will_flag_without_its_fields_is_malformed() {
    everywhere(|world| {
        for version in BOTH {
            let (id, topic, payload) = (&b"\0\x01c"[..], &b"\0\x01w"[..], &b"\0\x01p"[..]);
            let none = if version == V5 { &b"\0"[..] } else { b"" };
            let cases: [&[&[u8]]; 5] = [
                &[id],
                &[id, none],
                &[id, none, topic],
                &[id, none, topic, b"\0"],
                &[id, none, topic, b"\0\x02p"],
            ];
            for payload in cases {
                let mut stranger = world.client(version);
                stranger.send(connect_with(version, 0x06, payload));
                stranger.rejected(0x81);
            }

            let mut client = world.client(version);
            client.send(connect_with(version, 0x06, &[id, none, topic, payload]));
            client.expect(connack());
        }
        // Without its properties the topic is taken for them.
        let mut stranger = world.client(V5);
        stranger.send(connect_with(V5, 0x06, &[b"\0\x01c", b"\0\x04will", b"\0\x01p"]));
        stranger.rejected(0x81);
    });
}

/// What is left over makes the CONNECT malformed.
#[test]
fn v311_mqtt_3_1_2_11_without_the_will_flag_there_are_no_will_fields() {
    everywhere(|world| {
        for version in BOTH {
            let mut stranger = world.client(version);

            stranger.send(connect("c").will(will()).toggle_flags(0x04));

            stranger.rejected(0x81);
        }
    });
}

/// [MQTT3-3.1.2-13] [MQTT3-3.1.2-11]
#[test]
fn v5_mqtt_3_1_2_11_a_will_qos_without_a_will_is_malformed() {
    everywhere(|world| {
        for (version, qos) in BOTH.into_iter().flat_map(|v| [0x08, 0x10, 0x18].map(|q| (v, q))) {
            let mut stranger = world.client(version);

            stranger.send(connect("c").toggle_flags(qos));

            stranger.rejected(0x81);
        }
    });
}

/// [MQTT3-3.1.2-15] [MQTT3-3.1.2-11]
#[test]
fn v5_mqtt_3_1_2_13_will_retain_without_a_will_is_malformed() {
    everywhere(|world| {
        for version in BOTH {
            let mut stranger = world.client(version);

            stranger.send(connect("c").toggle_flags(0x20));

            stranger.rejected(0x81);
        }
    });
}

/// [MQTT3-3.1.2-14] [MQTT3-3.1.2-9]
#[test]
fn v5_mqtt_3_1_2_12_a_will_has_the_qos_of_the_flags() {
    everywhere(|world| {
        for version in BOTH {
            let mut watcher = watcher(world, version);
            for qos in 0..=2 {
                world.connect(version, connect("c").will(will().qos(qos))).cut();

                watcher.expect(publish("will/c").payload("gone").qos(qos));
            }
        }
    });
}

/// [MQTT3-3.1.2-14]
#[test]
fn v5_mqtt_3_1_2_12_a_will_of_qos_3_is_malformed() {
    everywhere(|world| {
        for version in BOTH {
            let mut watcher = watcher(world, version);
            let mut stranger = world.client(version);

            stranger.send(connect("c").will(will().qos(3)));

            stranger.rejected(0x81);
            watcher.expect_nothing();
        }
    });
}

/// [MQTT3-3.1.2-16] [MQTT3-3.1.2-9]
#[test]
fn v5_mqtt_3_1_2_14_a_will_without_will_retain_is_not_retained() {
    everywhere(|world| {
        for version in BOTH {
            let mut watcher = watcher(world, version);
            world.connect(version, connect("c").will(will())).cut();
            watcher.expect(publish("will/c").payload("gone"));

            let mut late = world.connected(version, "late");
            late.subscribed(subscribe("will/#"));

            late.expect_nothing();
        }
    });
}

/// Who is subscribed gets it as any message, who comes later as a retained one. [MQTT3-3.1.2-17]
/// [MQTT3-3.1.2-9]
#[test]
fn v5_mqtt_3_1_2_15_a_will_with_will_retain_is_retained() {
    everywhere(|world| {
        for version in BOTH {
            let topic = format!("will/{version:?}");
            let mut watcher = world.connected(version, "watcher");
            watcher.subscribed(subscribe(&topic).qos(2));
            let will = Will::new(&topic, "gone").qos(1).retained();
            world.connect(version, connect("c").will(will)).cut();
            watcher.expect(publish(&topic).payload("gone").qos(1));

            let mut late = world.connected(version, "late");
            late.subscribed(subscribe(&topic).qos(2));

            late.expect(publish(&topic).payload("gone").qos(1).retain());
        }
    });
}

/// One that is empty removes what was retained (5.0 s3.1.3.4, 3.1.1 s3.1.3.3).
#[test]
fn v5_mqtt_3_1_2_15_an_empty_retained_will_removes_the_retained_message() {
    everywhere(|world| {
        for version in BOTH {
            let topic = format!("will/{version:?}");
            world.connected(version, "publisher").published(publish(&topic).retain().qos(1));
            let mut watcher = world.connected(version, "watcher");
            watcher.subscribed(subscribe(&topic));
            watcher.expect(publish(&topic).retain());

            let will = Will::new(&topic, "").qos(0).retained();
            world.connect(version, connect("c").will(will)).cut();

            watcher.expect(publish(&topic).payload(""));
            let mut late = world.connected(version, "late");
            late.subscribed(subscribe(&topic));
            late.expect_nothing();
        }
    });
}

/// 5.0 s3.1.3.2.3, s3.1.3.2.5 to s3.1.3.2.8; the Will Delay Interval is for the broker.
#[test]
fn v5_s3_1_3_2_a_will_is_published_with_its_properties() {
    everywhere(|world| {
        let mut watcher = watcher(world, V5);
        let properties = [
            payload_format_indicator(1),
            content_type("text/plain"),
            response_topic("answers/c"),
            correlation_data(&[0, 1, 0xFF]),
            user_property("b", "1"),
            user_property("a", "1"),
        ];
        let (mut will, mut expected) = (will(), publish("will/c").payload("gone"));
        for property in properties {
            will = will.with(property.clone());
            expected = expected.with(property);
        }

        world.connect(V5, connect("c").will(will.with(will_delay_interval(0)))).cut();

        watcher.expect(expected);
    });
}

/// 5.0 s3.1.3.2.3: values that there are not.
#[test]
fn v5_s3_1_3_2_3_a_payload_format_that_there_is_not_is_a_protocol_error() {
    everywhere(|world| {
        let mut stranger = world.client(V5);

        stranger.send(connect("c").will(will().with(payload_format_indicator(2))));

        stranger.rejected(0x82);
    });
}

/// It reaches its own client's next connection too, like any message.
#[test]
fn v311_mqtt_3_1_2_8_a_will_goes_to_whoever_is_subscribed() {
    everywhere(|world| {
        for version in BOTH {
            let name = format!("c {version:?}");
            let mut client = world.connect(version, lasting(&name).will(will().qos(1)));
            client.subscribed(subscribe("will/c").qos(1));
            client.cut();

            let mut client = world.resume(version, lasting(&name));

            client.expect(publish("will/c").payload("gone").qos(1));
        }
    });
}
