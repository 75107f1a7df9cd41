//! CONNECT: the payload, its order, its flags and the Client Identifier (3.1.2.8, 3.1.2.9, 3.1.3).

use crate::vocabulary::*;

const ID: &[u8] = b"\0\x01c";

/// Every field in the order of the standard; and what the broker made of each. [MQTT3-3.1.3-1]
#[test]
fn v5_mqtt_3_1_3_1_the_fields_come_in_their_order() {
    everywhere(|world| {
        for version in BOTH {
            let mut watcher = world.connected(version, "watcher");
            watcher.subscribed(subscribe("will"));
            let none = if version == V5 { &b"\0"[..] } else { b"" };
            // A Password need not be UTF-8, a User Name has to be.
            let (topic, payload) = (&b"\0\x04will"[..], &b"\0\x04text"[..]);
            let (username, password) = (&b"\0\x01u"[..], &b"\0\x02\xFF\0"[..]);
            let mut client = world.client(version);

            client.send(connect_with(
                version,
                0xC6,
                &[ID, none, topic, payload, username, password],
            ));

            client.expect(connack());
            world.connected(version, "c").leave();
            client.ends(0x8E);
            watcher.expect(publish("will").payload("text"));

            let mut stranger = world.client(version);
            stranger.send(connect_with(
                version,
                0xC6,
                &[ID, none, topic, payload, password, username],
            ));
            stranger.rejected(0x81);
        }
    });
}

/// [MQTT3-3.1.2-18]
#[test]
fn v5_mqtt_3_1_2_16_without_its_flag_there_is_no_user_name() {
    everywhere(|world| {
        for version in BOTH {
            let mut stranger = world.client(version);

            stranger.send(connect_with(version, 0x02, &[ID, b"\0\x04user"]));

            stranger.rejected(0x81);
        }
    });
}

/// [MQTT3-3.1.2-19]
#[test]
fn v5_mqtt_3_1_2_17_with_its_flag_there_is_a_user_name() {
    everywhere(|world| {
        for version in BOTH {
            for cut_off in [&b""[..], b"\0", b"\0\x04use"] {
                let mut stranger = world.client(version);
                stranger.send(connect_with(version, 0x82, &[ID, cut_off]));
                stranger.rejected(0x81);
            }
            for whole in [&b"\0\x04user"[..], b"\0\0"] {
                let mut client = world.client(version);
                client.send(connect_with(version, 0x82, &[ID, whole]));
                client.expect(connack());
            }
        }
    });
}

/// [MQTT3-3.1.2-20]
#[test]
fn v5_mqtt_3_1_2_18_without_its_flag_there_is_no_password() {
    everywhere(|world| {
        for version in BOTH {
            let mut stranger = world.client(version);

            stranger.send(connect_with(version, 0x82, &[ID, b"\0\x04user", b"\0\x04pass"]));

            stranger.rejected(0x81);
        }
    });
}

/// [MQTT3-3.1.2-21]
#[test]
fn v5_mqtt_3_1_2_19_with_its_flag_there_is_a_password() {
    everywhere(|world| {
        for version in BOTH {
            for cut_off in [&b""[..], b"\0", b"\0\x04pas"] {
                let mut stranger = world.client(version);
                stranger.send(connect_with(version, 0xC2, &[ID, b"\0\x04user", cut_off]));
                stranger.rejected(0x81);
            }
            let longest = [&[0xFF, 0xFF][..], &vec![0; 65_535]].concat();
            for whole in [&b"\0\x04pass"[..], b"\0\0", b"\0\x03\xFF\0\xC0", &longest] {
                let mut client = world.client(version);
                client.send(connect_with(version, 0xC2, &[ID, b"\0\x04user", whole]));
                client.expect(connack());
            }
        }
    });
}

/// 5.0 allows it (5.0 s3.1.2.9). [MQTT-3.1.2-16] [MQTT-3.1.2-19]
#[test]
fn v311_mqtt_3_1_2_22_a_password_needs_a_user_name_before_5_0() {
    everywhere(|world| {
        let mut stranger = world.client(V311);
        stranger.send(connect("c").password(b"pass"));
        stranger.closes();

        world.connect(V5, connect("c").password(b"pass")).expect_nothing();
    });
}

/// [MQTT3-3.1.3-2]
#[test]
fn v5_mqtt_3_1_3_2_a_session_is_found_by_its_client_identifier_alone() {
    everywhere(|world| {
        for version in BOTH {
            let name = format!("meter-{version:?}");
            let mut client = world.connect(version, lasting(&name));
            client.subscribed(subscribe("t").qos(1));
            client.leave();

            let others = [
                name.to_uppercase(),
                name.replace("meter", "mete"),
                format!("{name} "),
                format!("{name}\u{FEFF}"),
            ];
            for other in others {
                let mut stranger = world.connected(version, &other);
                world.connected(version, "publisher").published(publish("t"));
                stranger.expect_nothing();
                stranger.leave();
            }

            // Whatever else its CONNECT says, and whichever version it is in.
            let mut back = world.resume(version, lasting(&name).keep_alive(60).username("user"));
            world.connected(version, "publisher").published(publish("t"));
            back.expect(publish("t"));
            back.leave();
        }
    });
}

/// [MQTT3-3.1.3-3]
#[test]
fn v5_mqtt_3_1_3_3_the_client_identifier_is_never_absent() {
    everywhere(|world| {
        for version in BOTH {
            for cut_off in [&b""[..], b"\0", b"\0\x02c"] {
                let mut stranger = world.client(version);

                stranger.send(connect_with(version, 0x02, &[cut_off]));

                stranger.rejected(0x81);
            }
        }
    });
}

/// [MQTT3-3.1.3-4]
#[test]
fn v5_mqtt_3_1_3_4_the_client_identifier_is_utf_8() {
    everywhere(|world| {
        for version in BOTH {
            let mut stranger = world.client(version);
            stranger.send(connect_with(version, 0x02, &[b"\0\x02\xC3\x28"]));
            stranger.rejected(0x81);

            world.connected(version, "caf\u{E9} \u{1F600}").expect_nothing();
        }
    });
}

/// [MQTT3-3.1.3-5]
#[test]
fn v5_mqtt_3_1_3_5_identifiers_of_1_to_23_letters_and_digits_are_accepted() {
    everywhere(|world| {
        for version in [V31, V311, V5] {
            let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
            for length in 1..=23 {
                let letters: Vec<char> = letters.chars().collect();
                for name in letters.chunks(length) {
                    let name: String = name.iter().collect();
                    world.connected(version, &name).leave();
                }
            }
        }
    });
}

/// Longer ones, and with whatever characters, up to `limits.client_id_bytes_max`.
#[test]
fn v5_mqtt_3_1_3_5_longer_and_stranger_identifiers_are_accepted() {
    everywhere(|world| {
        for version in [V31, V311, V5] {
            let longest = "c".repeat(1_024);
            for name in ["a/b", "#", "+", "$SYS/c", " ", "a\u{1}b", "\u{4E2D}", &longest] {
                world.connected(version, name).leave();
            }
        }
    });
}

/// [MQTT3-3.1.3-9]
#[test]
fn v5_mqtt_3_1_3_8_an_identifier_that_is_too_long_is_refused() {
    everywhere(|world| {
        for (version, code) in [(V31, 0x02), (V311, 0x02), (V5, 0x85)] {
            for connect in [connect(&"c".repeat(1_025)), lasting(&"c".repeat(65_535))] {
                let mut stranger = world.client(version);

                stranger.send(connect);

                stranger.refused(code);
            }
        }
    });
}

/// The Client Identifier that a client was assigned.
#[track_caller]
fn assigned(client: &mut Client) -> String {
    let Packet::ConnAck { session_present: false, code: 0, properties } = client.next() else {
        panic!("something else than a new Session")
    };
    match properties.all(wire::ASSIGNED_CLIENT_IDENTIFIER)[..] {
        [Value::Text(name)] => name.clone(),
        ref other => panic!("one Assigned Client Identifier is expected: {other:?}"),
    }
}

/// With every Clean Start and Session Expiry Interval: unlike those before, 5.0 can tell it.
#[test]
fn v5_mqtt_3_1_3_6_an_empty_identifier_gets_one_of_its_own() {
    everywhere(|world| {
        let mut clients = Vec::new();
        let mut names = Vec::new();
        for connect in [connect(""), connect("").no_clean_start()] {
            for expiry in [None, Some(0), Some(60), Some(u32::MAX)] {
                let connect = match expiry {
                    Some(seconds) => connect.clone().with(session_expiry_interval(seconds)),
                    None => connect.clone(),
                };
                let mut client = world.client(V5);
                client.send(connect);
                names.push(assigned(&mut client));
                clients.push(client);
            }
        }

        for client in &mut clients {
            client.expect_nothing();
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), clients.len());
        assert!(names.iter().all(|name| !name.is_empty()));
    });
}

/// Two of them are two clients, each with a Session that ends with it. [MQTT3-3.1.3-7]
#[test]
fn v311_mqtt_3_1_3_6_an_empty_identifier_with_clean_session_is_a_client_of_its_own() {
    everywhere(|world| {
        let mut one = world.connected(V311, "");
        one.subscribed(subscribe("t"));
        let mut two = world.connected(V311, "");
        two.subscribed(subscribe("other"));

        world.connected(V311, "publisher").published(publish("t"));

        one.expect(publish("t"));
        two.expect_nothing();
        one.leave();
        world.connected(V311, "publisher").published(publish("t").qos(1));
        world.connected(V311, "").expect_nothing();
    });
}

/// 3.1 has no empty one at all. [MQTT3-3.1.3-7] [MQTT3-3.1.3-9]
#[test]
fn v311_mqtt_3_1_3_8_an_empty_identifier_without_clean_session_is_refused() {
    everywhere(|world| {
        for (version, connect) in [(V311, lasting("")), (V31, lasting("")), (V31, connect(""))] {
            let mut stranger = world.client(version);

            stranger.send(connect);

            stranger.refused(0x02);
        }
    });
}

/// [MQTT-3.2.2-16]
#[test]
fn v5_mqtt_3_1_3_7_an_assigned_identifier_is_as_good_as_a_chosen_one() {
    everywhere(|world| {
        let mut client = world.client(V5);
        client.send(lasting(""));
        let name = assigned(&mut client);
        client.subscribed(subscribe("t").qos(1));
        client.leave();
        world.connected(V5, "publisher").published(publish("t").qos(1));

        let mut back = world.client(V5);
        back.send(lasting(&name));
        back.expect(connack().session_present().without(wire::ASSIGNED_CLIENT_IDENTIFIER));

        back.expect(publish("t").qos(1));
        let _new = world.resume(V5, lasting(&name));
        back.ends(0x8E);
    });
}

/// [MQTT3-3.1.3-11]
#[test]
fn v5_mqtt_3_1_3_12_the_user_name_is_utf_8() {
    everywhere(|world| {
        for version in BOTH {
            for name in [&b"\0\x02\xC3\x28"[..], b"\0\x03\xED\xA0\x80", b"\0\x01\0"] {
                let mut stranger = world.client(version);

                stranger.send(connect_with(version, 0x82, &[ID, name]));

                stranger.rejected(0x81);
            }
        }
    });
}

/// [MQTT3-3.1.3-10]
#[test]
fn v5_mqtt_3_1_3_11_the_will_topic_is_utf_8() {
    everywhere(|world| {
        for version in BOTH {
            let none = if version == V5 { &b"\0"[..] } else { b"" };
            for topic in [&b"\0\x02\xC3\x28"[..], b"\0\x03\xED\xA0\x80", b"\0\x01\0"] {
                let mut stranger = world.client(version);

                stranger.send(connect_with(version, 0x06, &[ID, none, topic, b"\0\x01p"]));

                stranger.rejected(0x81);
            }
        }
    });
}
