//! UNSUBSCRIBE and UNSUBACK (3.10, 3.11).

use crate::vocabulary::wire::binary;
use crate::vocabulary::*;

/// An UNSUBSCRIBE with this first byte, whose only Topic Filter is these bytes.
fn unsubscribe_of(version: Version, first: u8, filter: &[u8]) -> impl Said {
    let properties: &[u8] = if version == V5 { &[0] } else { &[] };
    packet(first, &[&[0, 1], properties, &binary(filter)].concat())
}

/// [MQTT3-3.10.1-1]
#[test]
fn v5_mqtt_3_10_1_1_flags_other_than_0010_close_the_connection() {
    everywhere(|world| {
        for version in BOTH {
            for first in (0xA0..=0xAF).filter(|first| *first != 0xA2) {
                let mut client = world.connected(version, "c");

                client.send(unsubscribe_of(version, first, b"a"));

                client.ends(0x81);
            }
        }
    });
}

/// [MQTT3-3.10.3-1]
#[test]
fn v5_mqtt_3_10_3_1_a_topic_filter_that_is_not_utf_8_closes_the_connection() {
    everywhere(|world| {
        for version in BOTH {
            for filter in [&b"a/\xFF"[..], b"\xED\xA0\x80", b"\xC0\x80", b"a\0b", b"a/\xE2\x82"] {
                let mut client = world.connected(version, "c");

                client.send(unsubscribe_of(version, 0xA2, filter));

                client.ends(0x81);
            }
        }
    });
}

/// [MQTT3-3.10.3-2]
#[test]
fn v5_mqtt_3_10_3_2_an_unsubscribe_without_a_topic_filter_closes_the_connection() {
    everywhere(|world| {
        for (version, body) in [(V311, &[0, 1][..]), (V5, &[0, 1, 0])] {
            let mut client = world.connected(version, "c");

            client.send(packet(0xA2, body));

            client.ends(0x82);
        }
    });
}

/// 5.0 s3.10.2.1: User Properties and nothing else.
#[test]
fn v5_an_unsubscribe_with_a_property_of_another_packet_is_malformed() {
    everywhere(|world| {
        for property in [subscription_identifier(1), reason_string("why")] {
            let mut client = world.connected(V5, "c");

            client.send(unsubscribe("a").with(property));

            client.ends(0x81);
        }
        let mut client = world.connected(V5, "c");
        let pair = || user_property("name", "value");
        client.send(unsubscribe("a").with(pair()).with(pair()));
        client.expect(unsuback(1, &[0x11]));
    });
}

/// [MQTT3-3.10.4-1]
#[test]
fn v5_mqtt_3_10_4_1_filters_are_compared_character_by_character() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");
            client.subscribed(subscribe("a/+").and("$share/g/b"));
            let others = ["a/b", "A/+", "a/#", "#", "a/+/", "+/+", "b", "$share/h/b", "$share/g/+"];
            for other in others {
                client.send(unsubscribe(other));
                client.expect(unsuback(1, &[0x11]));
            }
            client.send(publish("a/b"));
            client.expect(publish("a/b"));
            client.send(publish("b"));
            client.expect(publish("b"));

            client.send(unsubscribe("a/+").and("$share/g/b"));

            client.expect(unsuback(1, &[0, 0]));
            client.send(publish("a/b"));
            client.send(publish("b"));
            client.expect_nothing();
        }
    });
}

/// What another Subscription brings goes on [MQTT3-3.10.4-2].
#[test]
fn v5_mqtt_3_10_4_2_nothing_new_comes_for_a_subscription_that_was_removed() {
    everywhere(|world| {
        for version in BOTH {
            for qos in [0, 1, 2] {
                let mut client = world.connected(version, "c");
                let mut publisher = world.connected(version, "publisher");
                client.subscribed(subscribe("a/+").qos(qos).and("a/other"));
                publisher.published(publish("a/b").qos(qos));
                client.expect(publish("a/b").qos(qos));

                client.send(unsubscribe("a/+"));
                client.expect(unsuback(1, &[0]));

                publisher.published(publish("a/b").qos(qos));
                publisher.published(publish("a/other").qos(qos));
                client.expect(publish("a/other"));
                client.expect_nothing();
            }
        }
    });
}

/// Nor does anything wait for a client that is away [MQTT3-3.10.4-2].
#[test]
fn v5_mqtt_3_10_4_2_nothing_is_queued_for_a_subscription_that_was_removed() {
    everywhere(|world| {
        for version in BOTH {
            let session = lasting(&format!("{version:?}"));
            let mut client = world.connect(version, session.clone());
            let mut publisher = world.connected(version, "publisher");
            client.subscribed(subscribe("a").qos(1).and("b").qos(1));
            client.send(unsubscribe("a"));
            client.expect(unsuback(1, &[0]));
            client.leave();
            publisher.published(publish("a").qos(1));
            publisher.published(publish("b").qos(1));

            let mut client = world.resume(version, session.clone());

            client.expect(publish("b").qos(1));
            client.expect_nothing();
        }
    });
}

/// Nor what is retained and was not sent yet, though the SUBSCRIBE asked for it [MQTT3-3.10.4-2].
#[test]
fn v5_mqtt_3_10_4_2_no_more_retained_messages_come_for_a_subscription_that_was_removed() {
    everywhere(|world| {
        let mut publisher = world.connected(V5, "publisher");
        for topic in ["kept/1", "kept/2", "kept/3"] {
            publisher.published(publish(topic).qos(1).retain());
        }
        let mut client = world.connect(V5, connect("c").with(receive_maximum(1)));
        client.subscribed(subscribe("kept/+").qos(1));
        let first = client.message();
        client.expect_nothing();

        client.send(unsubscribe("kept/+"));
        client.expect(unsuback(1, &[0]));

        client.send(puback(first.packet_id));
        client.expect_nothing();
    });
}

/// [MQTT3-3.10.4-3]
#[test]
fn v5_mqtt_3_10_4_3_a_delivery_that_has_begun_is_carried_to_its_end() {
    everywhere(|world| {
        for version in BOTH {
            let session = lasting(&format!("{version:?}"));
            let mut client = world.connect(version, session.clone());
            client.subscribed(subscribe("a").qos(2));
            let mut publisher = world.connected(version, "publisher");
            publisher.published(publish("a").qos(1).payload("one"));
            publisher.published(publish("a").qos(2).payload("two"));
            publisher.published(publish("a").qos(2).payload("three"));
            client.expect(publish("a").qos(1).id(1).payload("one"));
            client.expect(publish("a").qos(2).id(2).payload("two"));
            client.expect(publish("a").qos(2).id(3).payload("three"));
            client.send(pubrec(3));
            client.expect(pubrel(3));

            client.send(unsubscribe("a"));
            client.expect(unsuback(1, &[0]));
            client.cut();

            let mut client = world.resume(version, session.clone());
            client.expect(pubrel(3));
            client.expect(publish("a").qos(1).id(1).dup().payload("one"));
            client.expect(publish("a").qos(2).id(2).dup().payload("two"));
            client.send_all(&[&puback(1), &pubrec(2), &pubcomp(3)]);
            client.expect(pubrel(2));
            client.send(pubcomp(2));
            client.leave();
            let mut client = world.resume(version, session.clone());
            client.expect_nothing();
        }
    });
}

/// [MQTT-3.10.4-5] [MQTT3-3.10.4-4] [MQTT3-3.10.4-5]
#[test]
fn v5_mqtt_3_10_4_4_each_unsubscribe_is_answered_with_its_packet_identifier() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");
            client.subscribed(subscribe("a"));

            client.send_all(&[
                &unsubscribe("a").id(0xFFFF),
                &unsubscribe("a").id(0x1234),
                &unsubscribe("never").id(1),
                &unsubscribe("#/no filter").id(1),
            ]);

            client.expect(unsuback(0xFFFF, &[0]));
            client.expect(unsuback(0x1234, &[0x11]));
            client.expect(unsuback(1, &[0x11]));
            client.expect(unsuback(1, &[0x8F]));
            if version == V311 {
                assert_eq!(client.last_bytes, [0xB0, 2, 0, 1]);
            }
            client.expect_nothing();
        }
    });
}

/// What an entry removed is no longer there for the next one [MQTT3-3.10.4-6].
#[test]
fn v5_mqtt_3_10_4_6_several_filters_act_like_a_sequence_with_one_unsuback() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");
            client.subscribed(subscribe("a").and("b").and("c"));

            client.send(unsubscribe("a").and("b").and("a").id(9));

            client.expect(unsuback(9, &[0, 0, 0x11]));
            client.send_all(&[&publish("a"), &publish("b"), &publish("c")]);
            client.expect(publish("c"));
            client.expect_nothing();
        }
    });
}

/// Neither are there User Properties [MQTT-3.11.2-2], which a comparison with none would find.
#[test]
fn v5_mqtt_3_11_2_1_a_reason_string_is_left_out_of_an_unsuback_it_would_make_too_large() {
    everywhere(|world| {
        let refused = |maximum: usize| {
            let size = u32::try_from(maximum).unwrap();
            let mut client = world.connect(V5, connect("c").with(maximum_packet_size(size)));
            client.send(unsubscribe("a/#/b").and("b"));
            client.expect(unsuback(1, &[0x8F, 0x11]));
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

/// [MQTT-3.11.3-2]: 0x00, 0x11 and 0x8F are what dunlin has reasons for.
#[test]
fn v5_mqtt_3_11_3_1_the_unsuback_has_a_code_for_each_filter_in_their_order() {
    everywhere(|world| {
        let mut client = world.connected(V5, "c");
        client.subscribed(subscribe("a").and("$share/g/a").and("b/#"));
        let filters = unsubscribe("none").and("b/#").and("b/#/c").and("$share/g/a").and("$share/g");

        client.send(filters.and("").and("a").id(7));

        client.expect(unsuback(7, &[0x11, 0, 0x8F, 0, 0x8F, 0x8F, 0]));
    });
}
