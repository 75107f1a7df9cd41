//! Data representation: strings, Variable Byte Integers and string pairs (1.5).

use crate::vocabulary::*;

/// Two bytes that no UTF-8 has in this order: a stray byte, a cut sequence, an overlong form, and
/// beginnings of sequences that are none.
const ILL_FORMED: [&[u8]; 5] = [b"a\xFF", b"a\xC3", b"\xC0\x80", b"\xE2\x82", b"\xC3\x28"];

/// Three and four bytes: surrogates at both ends of their range, and beyond U+10FFFF.
const IMPOSSIBLE: [&[u8]; 4] =
    [b"\xED\xA0\x80", b"\xED\xBF\xBF", b"\xF4\x90\x80\x80", b"\xF8\x88\x80\x80"];

fn not_utf8() -> impl Iterator<Item = &'static [u8]> {
    ILL_FORMED.into_iter().chain(IMPOSSIBLE)
}

/// As many letters as are replaced.
fn mark(bytes: &[u8]) -> &'static str {
    "QXZW".split_at(bytes.len()).0
}

/// In every string a connected client can write. [MQTT3-1.5.3-1]
#[test]
fn v5_mqtt_1_5_4_1_a_string_that_is_not_utf_8_ends_the_connection() {
    everywhere(|world| {
        for (version, wrong) in BOTH.into_iter().flat_map(|v| not_utf8().map(move |w| (v, w))) {
            let mark = mark(wrong);
            let packets: [&dyn Said; 3] = [
                &altered(publish(&format!("a/{mark}")), mark, wrong),
                &altered(subscribe(&format!("a/{mark}")), mark, wrong),
                &altered(unsubscribe(&format!("a/{mark}")), mark, wrong),
            ];
            for packet in packets {
                let mut client = world.connected(version, "c");

                client.send_all(&[packet]);

                client.ends(0x81);
            }
        }
    });
}

#[test]
fn v5_mqtt_1_5_4_1_a_property_that_is_not_utf_8_ends_the_connection() {
    everywhere(|world| {
        for wrong in not_utf8() {
            let mark = mark(wrong);
            let packets: [&dyn Said; 9] = [
                &altered(publish("a").with(content_type(mark)), mark, wrong),
                &altered(publish("a").with(response_topic(mark)), mark, wrong),
                &altered(puback(1).with(reason_string(mark)), mark, wrong),
                &altered(pubrec(1).with(reason_string(mark)), mark, wrong),
                &altered(pubrel(1).with(reason_string(mark)), mark, wrong),
                &altered(pubcomp(1).with(reason_string(mark)), mark, wrong),
                &altered(disconnect().with(reason_string(mark)), mark, wrong),
                &altered(auth(0x19).with(authentication_method(mark)), mark, wrong),
                &altered(auth(0x19).with(reason_string(mark)), mark, wrong),
            ];
            for packet in packets {
                let mut client = world.connected(V5, "c");

                client.send_all(&[packet]);

                client.ends(0x81);
            }
        }
    });
}

/// A CONNECT gets its answer in a CONNACK, before 5.0 none. [MQTT3-1.5.3-1] [MQTT-3.1.3-4]
/// [MQTT-3.1.3-11] [MQTT-3.1.3-12] [MQTT3-3.1.3-4] [MQTT3-3.1.3-10] [MQTT3-3.1.3-11]
#[test]
fn v5_mqtt_1_5_4_1_a_string_in_connect_that_is_not_utf_8_refuses_it() {
    everywhere(|world| {
        for (version, wrong) in BOTH.into_iter().flat_map(|v| not_utf8().map(move |w| (v, w))) {
            let mark = mark(wrong);
            let connects = [
                connect(mark),
                connect("c").will(Will::new(mark, "gone")),
                connect("c").username(mark),
            ];
            for connect in connects {
                let mut client = world.client(version);

                client.send(altered(connect, mark, wrong));

                client.rejected(0x81);
            }
        }
    });
}

#[test]
fn v5_mqtt_1_5_4_1_a_property_of_connect_that_is_not_utf_8_refuses_it() {
    everywhere(|world| {
        for wrong in not_utf8().chain([&b"a\0"[..]]) {
            let mark = mark(wrong);
            let will = |property| connect("c").will(Will::new("will", "gone").with(property));
            for connect in [
                connect("c").with(authentication_method(mark)),
                will(content_type(mark)),
                will(response_topic(mark)),
            ] {
                let mut client = world.client(V5);

                client.send(altered(connect, mark, wrong));

                client.refused(0x81);
            }
        }
    });
}

/// [MQTT3-1.5.3-2]
#[test]
fn v5_mqtt_1_5_4_2_the_character_u_0000_ends_the_connection() {
    everywhere(|world| {
        for version in BOTH {
            let packets: [&dyn Said; 3] =
                [&publish("a\0b"), &subscribe("a/\0"), &unsubscribe("\0a")];
            for packet in packets {
                let mut client = world.connected(version, "c");

                client.send_all(&[packet]);

                client.ends(0x81);
            }
        }
        let packets: [&dyn Said; 9] = [
            &publish("a").with(content_type("\0")),
            &publish("a").with(response_topic("a\0")),
            &puback(1).with(reason_string("a\0b")),
            &pubrec(1).with(reason_string("a\0b")),
            &pubrel(1).with(reason_string("a\0b")),
            &pubcomp(1).with(reason_string("a\0b")),
            &disconnect().with(reason_string("a\0b")),
            &auth(0x19).with(authentication_method("a\0b")),
            &auth(0x19).with(reason_string("a\0b")),
        ];
        for packet in packets {
            let mut client = world.connected(V5, "c");

            client.send_all(&[packet]);

            client.ends(0x81);
        }
    });
}

/// [MQTT3-1.5.3-2]
#[test]
fn v5_mqtt_1_5_4_2_the_character_u_0000_in_connect_refuses_it() {
    everywhere(|world| {
        for version in BOTH {
            for connect in [
                connect("c\0"),
                connect("\0"),
                connect("c").will(Will::new("will\0", "gone")),
                connect("c").username("user\0"),
            ] {
                let mut client = world.client(version);

                client.send(connect);

                client.rejected(0x81);
            }
        }
    });
}

/// [MQTT3-1.5.3-3]
#[test]
fn v5_mqtt_1_5_4_3_a_byte_order_mark_is_a_character_and_stays() {
    everywhere(|world| {
        for version in BOTH {
            let mut marked = world.connected(version, "marked");
            let mut plain = world.connected(version, "plain");
            marked.subscribed(subscribe("\u{FEFF}a/b").and("a/\u{FEFF}"));
            plain.subscribed(subscribe("a/b").and("a/"));
            let mut publisher = world.connected(version, "publisher");

            for topic in ["\u{FEFF}a/b", "a/\u{FEFF}"] {
                let text = "\u{FEFF}text";
                publisher.published(publish(topic).payload(text).with(content_type(text)));

                marked.expect(publish(topic).payload(text).with(content_type(text)));
                let marks = marked.last_bytes.windows(3).filter(|bytes| *bytes == b"\xEF\xBB\xBF");
                assert_eq!(marks.count(), if version == V5 { 3 } else { 2 });
            }
            plain.expect_nothing();
        }
    });
}

/// [MQTT3-1.5.3-3]
#[test]
fn v5_mqtt_1_5_4_3_a_byte_order_mark_makes_another_client_identifier() {
    everywhere(|world| {
        for version in BOTH {
            let mut plain = world.connected(version, "c");

            let mut marked = world.connected(version, "\u{FEFF}c");

            plain.expect_nothing();
            marked.expect_nothing();
        }
    });
}

/// 5.0 s1.5.4: a string has up to 65,535 bytes.
#[test]
fn v5_s1_5_4_the_longest_string_is_handed_on_whole() {
    everywhere(|world| {
        let mut subscriber = world.connected(V5, "subscriber");
        subscriber.subscribed(subscribe("t"));
        let long = publish("t").with(content_type(&"x".repeat(65_535)));
        let mut publisher = world.connected(V5, "publisher");

        publisher.published(long.clone());

        subscriber.expect(long);
    });
}

/// 5.0 s1.5.4: a receiver may refuse control characters and non-characters; in topics dunlin does.
#[test]
fn v5_s1_5_4_a_control_or_non_character_in_a_topic_is_refused() {
    everywhere(|world| {
        for (version, character) in BOTH.into_iter().flat_map(|version| {
            ['\u{1}', '\u{1F}', '\u{7F}', '\u{9F}', '\u{FDD0}', '\u{FFFF}'].map(|c| (version, c))
        }) {
            let topic = format!("a/{character}");
            let mut publisher = world.connected(version, "publisher");
            publisher.send(publish(&topic));
            publisher.ends(0x90);

            let mut subscriber = world.connected(version, "subscriber");
            subscriber.send(subscribe(&topic));
            subscriber.expect(suback(1, &[if version == V5 { 0x8F } else { 0x80 }]));
        }
    });
}

/// The Remaining Length the broker writes, on both sides of each limit of its encoding. The topic
/// takes three bytes, and in 5.0 the Property Length one.
#[test]
fn v5_mqtt_1_5_5_1_a_length_is_written_in_the_fewest_bytes() {
    everywhere_with("limits.packet_bytes_max = \"3 MiB\"", |world| {
        let cases: [(usize, &[u8]); 7] = [
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (4, &[0x04]),
        ];
        for (version, head) in [(V311, 3), (V5, 4)] {
            let mut subscriber = world.connected(version, "subscriber");
            subscriber.subscribed(subscribe("t"));
            let mut publisher = world.connected(version, "publisher");
            for (length, written) in cases {
                let message = publish("t").payload(vec![b'x'; length - head]);

                publisher.published(message.clone());

                subscriber.expect(message);
                assert_eq!(&subscriber.last_bytes[1..1 + written.len()], written);
                assert_eq!(subscriber.last_bytes.len(), 1 + written.len() + length);
            }
        }
    });
}

/// The Property Length and a Subscription Identifier that the broker writes.
#[test]
fn v5_mqtt_1_5_5_1_numbers_among_the_properties_are_written_in_the_fewest_bytes() {
    everywhere(|world| {
        let cases: [(u32, &[u8]); 7] = [
            (1, &[0x01]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (268_435_455, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ];
        let mut publisher = world.connected(V5, "publisher");
        for (number, written) in cases {
            let mut subscriber = world.connected(V5, "subscriber");
            subscriber.subscribed(subscribe("t").with(subscription_identifier(number)));

            publisher.published(publish("t").payload(""));

            subscriber.expect(publish("t").payload("").with(subscription_identifier(number)));
            let length = u8::try_from(1 + written.len()).unwrap();
            let expected = [&[0x30, 4 + length, 0, 1, b't', length, 0x0B][..], written].concat();
            assert_eq!(subscriber.last_bytes, expected);
        }

        // The Property Length counts a User Property's five bytes besides its texts.
        let mut subscriber = world.connected(V5, "subscriber");
        subscriber.subscribed(subscribe("t").with(subscription_identifier(1)));
        for (text, written) in [(120, &[0x7F][..]), (121, &[0x80, 0x01])] {
            let property = user_property(&"n".repeat(text), "");

            publisher.published(publish("t").with(property.clone()));

            subscriber.expect(publish("t").with(property).with(subscription_identifier(1)));
            let at = subscriber.last_bytes.windows(3).position(|bytes| bytes == [0, 1, b't']);
            let at = at.unwrap() + 3;
            assert_eq!(&subscriber.last_bytes[at..at + written.len()], written);
        }
    });
}

/// 5.0 s1.5.5, which names no reaction: Malformed Packet.
#[test]
fn v5_mqtt_1_5_5_1_a_number_with_more_bytes_than_it_needs_is_malformed() {
    everywhere(|world| {
        let packets: [Vec<u8>; 5] = [
            vec![0xC0, 0x80, 0x00],
            vec![0xC0, 0x80, 0x80, 0x00],
            // A Property Length of 0 in two bytes.
            vec![0x30, 0x06, 0, 1, b't', 0x80, 0x00, b'x'],
            // The Subscription Identifier 1 in two bytes.
            vec![0x82, 0x0A, 0, 1, 3, 0x0B, 0x81, 0x00, 0, 1, b't', 0],
            // A Property Length of 3 in two bytes.
            vec![0x82, 0x0B, 0, 1, 0x83, 0x00, 0x0B, 0x80, 0x01, 0, 1, b't', 0],
        ];
        for packet in packets {
            let mut client = world.connected(V5, "c");

            client.send(raw(packet));

            client.ends(0x81);
        }
    });
}

/// 5.0 s1.5.5, s2.1.4
#[test]
fn v5_mqtt_1_5_5_1_a_number_of_five_bytes_is_malformed() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");
            client.send(raw([0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]));
            client.ends(0x81);

            let mut stranger = world.client(version);
            stranger.send(raw([0x10, 0x80, 0x80, 0x80, 0x80, 0x01]));
            stranger.closes();
        }
        for packet in [
            vec![0x30, 0x09, 0, 1, b't', 0x80, 0x80, 0x80, 0x80, 0x01, b'x'],
            vec![0x82, 0x0D, 0, 1, 6, 0x0B, 0x81, 0x80, 0x80, 0x80, 0x00, 0, 1, b't', 0],
        ] {
            let mut client = world.connected(V5, "c");
            client.send(raw(packet));
            client.ends(0x81);
        }
    });
}

#[test]
fn v5_mqtt_1_5_7_1_name_and_value_of_a_string_pair_are_utf_8() {
    everywhere(|world| {
        for wrong in not_utf8().chain([&b"a\0"[..]]) {
            let mark = mark(wrong);
            for property in [user_property(mark, "value"), user_property("name", mark)] {
                let packets: [&dyn Said; 9] = [
                    &altered(puback(1).with(property.clone()), mark, wrong),
                    &altered(pubrec(1).with(property.clone()), mark, wrong),
                    &altered(pubcomp(1).with(property.clone()), mark, wrong),
                    &altered(auth(0x19).with(property.clone()), mark, wrong),
                    &altered(publish("a").with(property.clone()), mark, wrong),
                    &altered(subscribe("a").with(property.clone()), mark, wrong),
                    &altered(unsubscribe("a").with(property.clone()), mark, wrong),
                    &altered(pubrel(1).with(property.clone()), mark, wrong),
                    &altered(disconnect().with(property.clone()), mark, wrong),
                ];
                for packet in packets {
                    let mut client = world.connected(V5, "c");
                    client.send_all(&[packet]);
                    client.ends(0x81);
                }
                let will = Will::new("will", "gone").with(property.clone());
                for connect in [connect("c").with(property), connect("c").will(will)] {
                    let mut stranger = world.client(V5);
                    stranger.send(altered(connect, mark, wrong));
                    stranger.rejected(0x81);
                }
            }
        }
    });
}
