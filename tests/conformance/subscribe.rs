//! SUBSCRIBE and SUBACK: what may be asked for, and how it is answered (3.8, 3.9).

use crate::vocabulary::wire::binary;
use crate::vocabulary::*;

const WITHOUT_WILDCARDS: &str = r#"
[[listener]]
name = "narrow"
address = "127.0.0.1:0"
anonymous = true
wildcards = false
"#;

const LIMITED: &str = "
[limits]
subscriptions_per_client_max = 2
topic_bytes_max = 16
topic_levels_max = 4
";

/// A SUBSCRIBE with this first byte, whose only Topic Filter is these bytes.
fn subscribe_of(version: Version, first: u8, filter: &[u8]) -> impl Said {
    let properties: &[u8] = if version == V5 { &[0] } else { &[] };
    packet(first, &[&[0, 1], properties, &binary(filter), &[0]].concat())
}

/// [MQTT3-3.8.1-1]
#[test]
fn v5_mqtt_3_8_1_1_flags_other_than_0010_close_the_connection() {
    everywhere(|world| {
        for version in BOTH {
            for first in (0x80..=0x8F).filter(|first| *first != 0x82) {
                let mut client = world.connected(version, "c");

                client.send(subscribe_of(version, first, b"a"));

                client.ends(0x81);
            }
        }
    });
}

/// [MQTT3-3.8.3-1]
#[test]
fn v5_mqtt_3_8_3_1_a_topic_filter_that_is_not_utf_8_closes_the_connection() {
    everywhere(|world| {
        for version in BOTH {
            for filter in [&b"a/\xFF"[..], b"\xED\xA0\x80", b"\xC0\x80", b"a\0b", b"a/\xE2\x82"] {
                let mut client = world.connected(version, "c");

                client.send(subscribe_of(version, 0x82, filter));

                client.ends(0x81);
            }
        }
    });
}

/// [MQTT3-3.8.3-3]
#[test]
fn v5_mqtt_3_8_3_2_a_subscribe_without_a_topic_filter_closes_the_connection() {
    everywhere(|world| {
        for (version, body) in [(V311, &[0, 1][..]), (V5, &[0, 1, 0])] {
            let mut client = world.connected(version, "c");

            client.send(packet(0x82, body));

            client.ends(0x82);
        }
    });
}

#[test]
fn v311_mqtt_3_8_3_2_without_wildcards_each_filter_that_has_one_is_refused() {
    everywhere_with(WITHOUT_WILDCARDS, |world| {
        let mut client = world.connected(V311, "c");

        client.send(subscribe("a/+").and("a/b").and("#").and("$share/g/a/#").and("c").qos(1));

        client.expect(suback(1, &[0x80, 0, 0x80, 0x80, 1]));
        client.send(publish("a/b"));
        client.expect(publish("a/b"));
        client.expect_nothing();
    });
}

#[test]
fn v5_mqtt_3_8_3_5_reserved_bits_of_the_options_close_the_connection() {
    everywhere(|world| {
        for bits in [0x40, 0x80, 0xC0] {
            let mut client = world.connected(V5, "c");

            client.send(subscribe("a").and("b").qos(1).option(bits));

            client.ends(0x81);
        }
    });
}

/// 5.0 s3.8.3.1
#[test]
fn v5_qos_3_and_retain_handling_3_are_protocol_errors() {
    everywhere(|world| {
        for subscribe in [subscribe("a").qos(3), subscribe("a").retain_handling(3)] {
            let mut client = world.connected(V5, "c");

            client.send(subscribe);

            client.ends(0x82);
        }
    });
}

/// The standard prints this identifier as MQTT-3-8.3-4 [MQTT3-3-8.3-4].
#[test]
fn v311_mqtt_3_8_3_4_anything_but_a_qos_in_its_byte_closes_the_connection() {
    everywhere(|world| {
        for bits in [0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80] {
            let mut client = world.connected(V311, "c");

            client.send(subscribe("a").and("b").option(bits));

            client.closes();
        }
    });
}

/// 5.0 s3.8.2.1: a Subscription Identifier and User Properties, and nothing else.
#[test]
fn v5_a_subscribe_with_a_property_of_another_packet_is_malformed() {
    everywhere(|world| {
        for property in [topic_alias(1), reason_string("why"), session_expiry_interval(1)] {
            let mut client = world.connected(V5, "c");

            client.send(subscribe("a").with(property));

            client.ends(0x81);
        }
        let mut client = world.connected(V5, "c");
        let pair = || user_property("name", "value");
        client.subscribed(subscribe("a").with(pair()).with(pair()));
        client.send(publish("a"));
        client.expect(publish("a"));
    });
}

/// [MQTT-3.8.4-2] [MQTT3-3.8.4-1] [MQTT3-3.8.4-2]
#[test]
fn v5_mqtt_3_8_4_1_each_subscribe_is_answered_with_its_packet_identifier() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");

            client.send_all(&[
                &subscribe("a").id(1),
                &subscribe("a").id(0x1234),
                &subscribe("b").id(0xFFFF),
                &subscribe("#/no filter").id(1),
            ]);

            client.expect(suback(1, &[0]));
            client.expect(suback(0x1234, &[0]));
            client.expect(suback(0xFFFF, &[0]));
            client.expect(suback(1, &[if version == V5 { 0x8F } else { 0x80 }]));
            client.expect_nothing();
        }
    });
}

/// As two SUBSCRIBE packets would, one entry replaces what an earlier one asked for, and only the
/// first is a new Subscription to Retain Handling 1 [MQTT3-3.8.4-4].
#[test]
fn v5_mqtt_3_8_4_5_several_filters_act_like_a_sequence_with_one_suback() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");

            client.send(subscribe("a/#").qos(2).and("b").qos(1).and("a/#").qos(0));

            client.expect(suback(1, &[2, 1, 0]));
            client.send(publish("a/x").qos(2).id(5));
            client.expect_any_order(&[&publish("a/x"), &pubrec(5)]);
            client.send(publish("b").qos(2).id(6));
            client.expect_any_order(&[&publish("b").qos(1), &pubrec(6)]);
            client.expect_nothing();
        }

        let mut client = world.connected(V5, "c");
        client.published(publish("kept").qos(1).retain());
        client.send(subscribe("kept").retain_handling(1).and("kept").qos(1).retain_handling(1));
        client.expect(suback(1, &[0, 1]));
        client.expect(publish("kept").retain());
        client.expect_nothing();
    });
}

/// [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT3-3.8.4-5] [MQTT3-3.9.3-1]
#[test]
fn v5_mqtt_3_8_4_6_the_suback_has_a_code_for_each_filter_in_their_order() {
    everywhere(|world| {
        for (version, refused) in [(V311, 0x80), (V5, 0x8F)] {
            let mut client = world.connected(version, "c");
            let filters = subscribe("a").qos(2).and("a/#/b").qos(1).and("b").and("c").qos(1);

            client.send(filters.and("a+").and("d").qos(2).id(7));

            client.expect(suback(7, &[2, refused, 0, 1, refused, 2]));
            if version == V311 {
                assert_eq!(client.last_bytes, [0x90, 8, 0, 7, 2, 0x80, 0, 1, 0x80, 2]);
            }
        }
    });
}

/// [MQTT3-3.8.4-6]
#[test]
fn v5_mqtt_3_8_4_8_a_message_arrives_with_the_lower_of_both_qos() {
    everywhere(|world| {
        for version in BOTH {
            let mut publisher = world.connected(version, "publisher");
            for granted in [0, 1, 2] {
                let mut client = world.connected(version, "c");
                client.subscribed(subscribe("a").qos(granted));

                for sent in [0, 1, 2] {
                    publisher.published(publish("a").qos(sent));
                    client.expect(publish("a").qos(granted.min(sent)));
                }
                client.expect_nothing();
            }
        }
    });
}

/// Neither are there User Properties [MQTT-3.9.2-2], which a comparison with none would find.
#[test]
fn v5_mqtt_3_9_2_1_a_reason_string_is_left_out_of_a_suback_it_would_make_too_large() {
    everywhere(|world| {
        let refused = |maximum: usize| {
            let size = u32::try_from(maximum).unwrap();
            let mut client = world.connect(V5, connect("c").with(maximum_packet_size(size)));
            client.send(subscribe("a/#/b").and("b").qos(1));
            client.expect(suback(1, &[0x8F, 1]));
            client.last_bytes.len()
        };

        let (whole, without) = (refused(1_000), 2 + 2 + 1 + 2);

        assert!(whole > without, "a refusal says why");
        let lengths: Vec<usize> = (40..whole + 20).map(refused).collect();
        assert_eq!((lengths[0], lengths[lengths.len() - 1]), (without, whole));
        for (maximum, length) in (40..).zip(lengths) {
            assert!(length == without || length == whole && whole <= maximum, "{maximum}");
        }
    });
}

/// A client that does not want to know why is not told (5.0 s3.1.2.11.7).
#[test]
fn v5_a_suback_has_no_reason_string_for_a_client_that_wants_none() {
    everywhere(|world| {
        let silent = connect("c").with(request_problem_information(0));
        let mut client = world.connect(V5, silent);

        client.send(subscribe("a/#/b"));

        client.expect(suback(1, &[0x8F]));
        assert_eq!(client.last_bytes, [0x90, 4, 0, 1, 0, 0x8F]);
    });
}

/// The codes of what a listener leaves out are in DISCONNECT. Before 5.0 there is one for all that
/// is refused [MQTT3-3.9.3-2].
#[test]
fn v5_mqtt_3_9_3_2_what_is_granted_and_what_is_refused_has_its_code() {
    everywhere_with(LIMITED, |world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");
            let cases = [
                ("a#", 0x8F),
                ("", 0x8F),
                ("$share/g", 0x8F),
                ("a/b/c/d/e", 0x8F),
                ("0123456789/123456", 0x8F),
                ("a/b/c/d", 1),
                ("0123456789/12345", 1),
                ("third", 0x97),
                ("a/b/c/d", 1),
            ];
            for (filter, code) in cases {
                let code = if version == V311 && code > 2 { 0x80 } else { code };

                client.send(subscribe(filter).qos(1));

                client.expect(suback(1, &[code]));
            }
        }
    });
}
