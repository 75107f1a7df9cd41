//! Packet format: the fixed header and Packet Identifiers (2.1, 2.2.1; in 3.1.1 2.2, 2.3).

use crate::vocabulary::*;

/// Each packet a client may send but PUBLISH, whose bits mean something.
fn packets_with_reserved_bits(version: Version) -> Vec<Vec<u8>> {
    let mut packets = vec![
        puback(1).encode(version),
        pubrec(1).encode(version),
        pubrel(1).encode(version),
        pubcomp(1).encode(version),
        subscribe("t").encode(version),
        unsubscribe("t").encode(version),
        pingreq().encode(version),
        disconnect().encode(version),
    ];
    if version == V5 {
        packets.push(auth(0x18).encode(version));
    }
    packets
}

/// [MQTT3-2.2.2-2]
#[test]
fn v5_mqtt_2_1_3_1_other_reserved_bits_than_the_packets_are_malformed() {
    everywhere(|world| {
        for version in BOTH {
            for packet in packets_with_reserved_bits(version) {
                let right = packet[0] & 0x0F;
                for wrong in (0..16).filter(|bits| *bits != right) {
                    let mut client = world.connected(version, "c");
                    let mut packet = packet.clone();
                    packet[0] = packet[0] & 0xF0 | wrong;

                    client.send(raw(packet));

                    client.ends(0x81);
                }
            }
        }
    });
}

/// [MQTT3-2.2.2-2]
#[test]
fn v5_mqtt_2_1_3_1_a_connect_with_reserved_bits_is_no_connect() {
    everywhere(|world| {
        for (version, bits) in BOTH.into_iter().flat_map(|v| (1..16).map(move |b| (v, b))) {
            let mut packet = Said::encode(&connect("c"), version);
            packet[0] |= bits;
            let mut stranger = world.client(version);

            stranger.send(raw(packet));

            stranger.closes();
        }
    });
}

/// What the client says is answered with a packet of this first byte.
#[track_caller]
fn exchange(client: &mut Client, said: &dyn Said, first: u8) {
    client.send_all(&[said]);
    client.next();
    assert_eq!(client.last_bytes[0], first);
}

/// [MQTT3-2.2.2-1]
#[test]
fn v5_mqtt_2_1_3_1_the_broker_writes_the_bits_of_the_table() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");
            assert_eq!(client.last_bytes[0], 0x20, "CONNACK");
            exchange(&mut client, &subscribe("t").qos(2), 0x90);
            exchange(&mut client, &publish("x").qos(1), 0x40);
            exchange(&mut client, &publish("x").qos(2), 0x50);
            exchange(&mut client, &pubrel(1), 0x70);
            exchange(&mut client, &pingreq(), 0xD0);
            world.connected(version, "publisher").published(publish("t").qos(2));
            assert_eq!(client.message().packet_id, 1);
            assert_eq!(client.last_bytes[0], 0x34, "PUBLISH at QoS 2");
            exchange(&mut client, &pubrec(1), 0x62);
            exchange(&mut client, &unsubscribe("t"), 0xB0);
            if version == V5 {
                exchange(&mut client, &connect("c"), 0xE0);
            }
        }
    });
}

/// 5.0 s2.1.2: types that are reserved, or that only a server sends; AUTH came with 5.0.
#[test]
fn v5_s2_1_2_a_packet_type_that_no_client_sends_ends_the_connection() {
    everywhere(|world| {
        for version in BOTH {
            let served: [(&dyn Said, u8); 6] = [
                (&packet(0x00, &[]), 0x81),
                (&connack(), 0x82),
                (&suback(1, &[0]), 0x82),
                (&unsuback(1, &[0]), 0x82),
                (&pingresp(), 0x82),
                (&packet(0xF0, &[]), 0x82),
            ];
            for (said, code) in served {
                let mut client = world.connected(version, "c");

                client.send_all(&[said]);

                client.ends(code);
            }
        }
    });
}

/// 5.0 s2.1.4, s4.13.1: fields that run past the Remaining Length, and bytes left over in it.
#[test]
fn v5_s2_1_4_a_remaining_length_that_does_not_fit_the_packet_is_malformed() {
    everywhere(|world| {
        for version in BOTH {
            let whole = [
                subscribe("t").encode(version),
                unsubscribe("t").encode(version),
                publish("t").payload("").qos(1).encode(version),
            ];
            for packet in whole {
                let mut short = packet.clone();
                short[1] -= 1;
                short.pop();
                let mut client = world.connected(version, "c");
                client.send(raw(short));
                client.ends(0x81);
            }
            // What may follow the Packet Identifier of a PUBACK in 5.0, and one byte more.
            let after_puback: &[u8] = if version == V5 { &[0, 0, 0] } else { &[0] };
            let whole: [(Vec<u8>, &[u8]); 3] = [
                (pingreq().encode(version), &[0]),
                (puback(1).encode(version), after_puback),
                (unsubscribe("t").encode(version), &[0]),
            ];
            for (mut long, added) in whole {
                long[1] += u8::try_from(added.len()).unwrap();
                long.extend(added);
                let mut client = world.connected(version, "c");
                client.send(raw(long));
                client.ends(0x81);
            }
        }
    });
}

/// [MQTT3-2.3.1-5]
#[test]
fn v5_mqtt_2_2_1_2_a_publish_at_qos_0_has_no_packet_identifier() {
    everywhere(|world| {
        for (publisher, version) in [(V311, V311), (V5, V5), (V311, V5), (V5, V311)] {
            let mut subscriber = world.connected(version, "subscriber");
            subscriber.subscribed(subscribe("t").qos(2));
            let mut publisher = world.connected(publisher, "publisher");

            publisher.published(publish("t").payload("xy"));

            subscriber.expect(publish("t").payload("xy"));
            let expected: &[u8] = match version {
                V5 => &[0x30, 6, 0, 1, b't', 0, b'x', b'y'],
                V31 | V311 => &[0x30, 5, 0, 1, b't', b'x', b'y'],
            };
            assert_eq!(subscriber.last_bytes, expected);
        }
    });
}

/// Nor if a lower QoS is all that the Subscription asks for. [MQTT3-2.3.1-5]
#[test]
fn v5_mqtt_2_2_1_2_a_message_lowered_to_qos_0_loses_its_packet_identifier() {
    everywhere(|world| {
        for version in BOTH {
            let mut subscriber = world.connected(version, "subscriber");
            subscriber.subscribed(subscribe("t"));
            let mut publisher = world.connected(version, "publisher");

            publisher.published(publish("t").payload("").qos(2).id(7));

            subscriber.expect(publish("t").payload(""));
            let expected: &[u8] = match version {
                V5 => &[0x30, 4, 0, 1, b't', 0],
                V31 | V311 => &[0x30, 3, 0, 1, b't'],
            };
            assert_eq!(subscriber.last_bytes, expected);
        }
    });
}

/// [MQTT3-2.3.1-1]
#[test]
fn v5_mqtt_2_2_1_3_packet_identifier_0_ends_the_connection() {
    everywhere(|world| {
        for version in BOTH {
            let packets: [&dyn Said; 4] = [
                &publish("t").qos(1).id(0),
                &publish("t").qos(2).id(0),
                &subscribe("t").id(0),
                &unsubscribe("t").id(0),
            ];
            for packet in packets {
                let mut client = world.connected(version, "c");

                client.send_all(&[packet]);

                client.ends(0x82);
            }
        }
    });
}

/// The first and the last that there are. [MQTT3-2.3.1-1]
#[test]
fn v5_mqtt_2_2_1_3_any_other_packet_identifier_is_served() {
    everywhere(|world| {
        for (version, id) in BOTH.into_iter().flat_map(|v| [1, 255, 256, 65_535].map(|id| (v, id)))
        {
            let mut client = world.connected(version, "c");

            client.subscribed(subscribe("t").id(id));
            client.send(unsubscribe("t").id(id));
            client.expect(unsuback(id, &[0]));
            client.published(publish("t").qos(1).id(id));
            client.published(publish("t").qos(2).id(id));
        }
    });
}

/// The identifiers of the two sides have nothing to do with each other. [MQTT-2.2.1-3]
#[test]
fn v311_mqtt_2_3_1_3_an_identifier_is_free_again_after_its_exchange() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");
            for round in ["one", "two", "three"] {
                client.subscribed(subscribe("t").id(1));
                for qos in [1, 2] {
                    client.send(publish("t").payload(round).qos(qos).id(1));
                    let answer = if qos == 1 { puback(1) } else { pubrec(1) };
                    let message = publish("t").payload(round);
                    client.expect_any_order(&[&answer, &message]);
                    if qos == 2 {
                        client.send(pubrel(1));
                        client.expect(pubcomp(1));
                    }
                }
                client.send(unsubscribe("t").id(1));
                client.expect(unsuback(1, &[0]));
            }
        }
    });
}

/// What is sent again has its first identifier, and DUP. [MQTT3-2.3.1-4]
#[test]
fn v5_mqtt_2_2_1_4_a_message_sent_again_keeps_its_identifier() {
    everywhere(|world| {
        for version in BOTH {
            let name = format!("subscriber {version:?}");
            let mut subscriber = world.connect(version, lasting(&name));
            subscriber.subscribed(subscribe("t").qos(2));
            let mut publisher = world.connected(version, "publisher");
            let (one, two) = (publish("t").payload("1").qos(1), publish("t").payload("2").qos(2));
            publisher.published(one.clone());
            publisher.published(two.clone());
            let ids = [subscriber.message().packet_id, subscriber.message().packet_id];
            assert_ne!(ids[0], ids[1]);
            subscriber.cut();

            let mut subscriber = world.resume(version, lasting(&name));

            subscriber.expect(one.dup().id(ids[0]));
            subscriber.expect(two.dup().id(ids[1]));
            subscriber.send(puback(ids[0]));
            subscriber.send(pubrec(ids[1]));
            subscriber.expect(pubrel(ids[1]));
            subscriber.leave();
        }
    });
}

/// However many messages go by, the identifier of one that is open is not given to another, and
/// those that are acknowledged come again. [MQTT3-2.3.1-4]
#[test]
fn v5_mqtt_2_2_1_4_an_identifier_is_not_given_twice_while_it_is_in_use() {
    with_clock(|world| {
        for version in BOTH {
            let mut subscriber = world.connected(version, "subscriber");
            subscriber.subscribed(subscribe("t").qos(2));
            let mut publisher = world.connected(version, "publisher");
            publisher.published(publish("t").qos(1));
            let held = subscriber.message().packet_id;
            let mut given = vec![0_u32; 65_536];

            for number in 0..131_072 {
                let qos = if number % 2 == 0 { 1 } else { 2 };
                publisher.send(publish("t").qos(qos));
                publisher.next();
                let id = subscriber.message().packet_id;
                given[usize::from(id)] += 1;
                match (qos, version) {
                    (1, _) => subscriber.send(puback(id)),
                    // A refusal frees it as well as a PUBCOMP.
                    (_, V5) if number % 4 == 1 => subscriber.send(pubrec(id).code(0x80)),
                    _ => {
                        subscriber.send(pubrec(id));
                        subscriber.expect(pubrel(id));
                        subscriber.send(pubcomp(id));
                    }
                }
                if qos == 2 {
                    publisher.send(pubrel(1));
                    publisher.expect(pubcomp(1));
                }
            }

            assert_eq!(given[0], 0);
            assert_eq!(given[usize::from(held)], 0);
            assert!(
                given
                    .iter()
                    .enumerate()
                    .all(|(id, times)| { *times >= 2 || id == 0 || id == usize::from(held) })
            );
        }
    });
}

/// As many as may be open have an identifier each. [MQTT3-2.3.1-4]
#[test]
fn v5_mqtt_2_2_1_4_open_messages_have_identifiers_of_their_own() {
    everywhere(|world| {
        for version in BOTH {
            let mut subscriber = world.connected(version, "subscriber");
            subscriber.subscribed(subscribe("t").qos(2));
            let mut publisher = world.connected(version, "publisher");

            let mut ids: Vec<u16> = (0..60)
                .map(|number| {
                    publisher.published(publish("t").qos(1 + number % 2));
                    subscriber.message().packet_id
                })
                .collect();

            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 60);
            assert!(!ids.contains(&0));
        }
    });
}

/// [MQTT3-2.3.1-6]
#[test]
fn v5_mqtt_2_2_1_5_an_acknowledgement_has_the_identifier_of_its_publish() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");
            for (one, two) in [(1, 2), (0x0102, 0x0201), (0xFFFF, 1)] {
                client.send_all(&[&publish("a").qos(1).id(one), &publish("b").qos(2).id(two)]);
                client.expect(puback(one));
                client.expect(pubrec(two));
                client.send(pubrel(two));
                client.expect(pubcomp(two));
            }

            // In the other direction the broker's PUBREL follows the client's PUBREC.
            client.subscribed(subscribe("t").qos(2));
            let mut publisher = world.connected(version, "publisher");
            for _ in 0..2 {
                publisher.published(publish("t").qos(2));
            }
            let (one, two) = (client.message().packet_id, client.message().packet_id);
            for id in [two, one] {
                client.send(pubrec(id));
                client.expect(pubrel(id));
            }
        }
    });
}

/// [MQTT3-2.3.1-7]
#[test]
fn v5_mqtt_2_2_1_6_suback_and_unsuback_have_the_identifier_of_what_they_answer() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");

            client.send_all(&[
                &subscribe("a").id(0xFFFF),
                &subscribe("b").id(0x0102),
                &unsubscribe("a").id(7),
                &unsubscribe("b").id(0x0700),
            ]);

            client.expect(suback(0xFFFF, &[0]));
            client.expect(suback(0x0102, &[0]));
            client.expect(unsuback(7, &[0]));
            client.expect(unsuback(0x0700, &[0]));
        }
    });
}
