//! PUBLISH: flags, topic, Packet Identifier and what is done with it (3.3).

use crate::vocabulary::*;

/// [MQTT3-3.3.1-1]
#[test]
fn v5_mqtt_3_3_1_1_a_redelivered_publish_has_dup() {
    for version in BOTH {
        everywhere(|world| {
            let mut subscriber = world.connect(version, lasting("subscriber"));
            subscriber.subscribed(subscribe("t").qos(2));
            let mut publisher = world.connected(version, "publisher");
            publisher.published(publish("t").qos(1).payload("1"));
            publisher.published(publish("t").qos(2).payload("2"));
            subscriber.expect(publish("t").qos(1).id(1).payload("1"));
            subscriber.expect(publish("t").qos(2).id(2).payload("2"));
            subscriber.cut();

            let mut subscriber = world.resume(version, lasting("subscriber"));

            subscriber.expect(publish("t").qos(1).id(1).payload("1").dup());
            subscriber.expect(publish("t").qos(2).id(2).payload("2").dup());
        });
    }
}

/// [MQTT3-3.3.1-2]
#[test]
fn v5_mqtt_3_3_1_2_dup_with_qos_0_closes_the_connection() {
    for version in BOTH {
        everywhere(|world| {
            let mut client = world.connected(version, "c");

            client.send(publish("t").qos(0).dup());

            client.ends(0x81);
        });
    }
}

/// The broker's own half of the same rule. [MQTT3-3.3.1-2]
#[test]
fn v5_mqtt_3_3_1_2_a_message_lowered_to_qos_0_has_no_dup() {
    for version in BOTH {
        everywhere(|world| {
            let mut subscriber = world.connected(version, "subscriber");
            subscriber.subscribed(subscribe("t").qos(0));
            let mut publisher = world.connected(version, "publisher");

            publisher.published(publish("t").qos(1).dup());
            publisher.published(publish("t").qos(2).dup());

            subscriber.expect(publish("t").qos(0));
            subscriber.expect(publish("t").qos(0));
        });
    }
}

/// [MQTT3-3.3.1-3]
#[test]
fn v5_mqtt_3_3_1_3_the_publishers_dup_is_not_handed_on() {
    for version in BOTH {
        everywhere(|world| {
            let mut away = world.connect(version, lasting("away"));
            away.subscribed(subscribe("t").qos(2));
            away.leave();
            let mut subscriber = world.connected(version, "subscriber");
            subscriber.subscribed(subscribe("t").qos(2));
            let mut publisher = world.connected(version, "publisher");

            publisher.published(publish("t").qos(1).dup());
            publisher.published(publish("t").qos(2).dup());

            // Neither at once nor out of a queue was it sent before.
            let away = world.resume(version, lasting("away"));
            for mut client in [subscriber, away] {
                client.expect(publish("t").qos(1));
                client.expect(publish("t").qos(2));
            }
        });
    }
}

/// [MQTT3-3.3.1-4]
#[test]
fn v5_mqtt_3_3_1_4_qos_3_is_malformed() {
    for version in BOTH {
        everywhere(|world| {
            let mut watcher = world.connected(version, "watcher");
            watcher.subscribed(subscribe("t"));
            for message in [publish("t"), publish("t").dup(), publish("t").retain()] {
                let mut client = world.connected(version, "c");

                client.send(message.qos(3));

                client.ends(0x81);
            }
            watcher.expect_nothing();
        });
    }
}

/// [MQTT3-3.3.2-1]
#[test]
fn v5_mqtt_3_3_2_1_the_topic_name_is_the_first_field() {
    for version in BOTH {
        everywhere(|world| {
            let mut subscriber = world.connected(version, "subscriber");
            subscriber.subscribed(subscribe("#").qos(2));
            let mut publisher = world.connected(version, "publisher");
            let topic = "gr\u{fc}n/\u{1F986}";
            let field = [&[0, 10][..], topic.as_bytes()].concat();

            for qos in 0..=2 {
                publisher.published(publish(topic).qos(qos));

                subscriber.expect(publish(topic).qos(qos));
                assert_eq!(subscriber.last_bytes[2..14], field);
            }
        });
    }
}

/// [MQTT3-3.3.2-1]
#[test]
fn v5_mqtt_3_3_2_1_a_topic_name_that_is_not_utf_8_closes_the_connection() {
    for version in BOTH {
        everywhere(|world| {
            for topic in [&b"\xff"[..], b"a/\xc3\x28", b"\xed\xa0\x80", b"\xc0\x80", b"t\0"] {
                let mut client = world.connected(version, "c");

                client.send(raw(publish_to(version, topic)));

                client.ends(0x81);
            }
        });
    }
}

/// [MQTT3-3.3.2-1]
#[test]
fn v5_mqtt_3_3_2_1_a_topic_name_that_runs_past_the_packet_closes_the_connection() {
    for version in BOTH {
        everywhere(|world| {
            for bytes in [&[0x30, 0][..], &[0x30, 1, 0], &[0x30, 4, 0, 3, b't', b't']] {
                let mut client = world.connected(version, "c");

                client.send(raw(bytes));

                client.ends(0x81);
            }
        });
    }
}

/// [MQTT3-3.3.2-3]
#[test]
fn v5_mqtt_3_3_2_3_what_is_delivered_matches_the_filter() {
    const TOPICS: [&str; 9] = ["a", "a/", "a/b", "a/b/c", "a/b/", "A/b", "/a/b", "ab", "$a/b"];
    let filters: [(&str, &[&str]); 7] = [
        ("a/b", &["a/b"]),
        ("a/+", &["a/", "a/b"]),
        ("+/b", &["a/b", "A/b"]),
        ("a/#", &["a", "a/", "a/b", "a/b/c", "a/b/"]),
        ("a/b/+", &["a/b/c", "a/b/"]),
        ("+", &["a", "ab"]),
        ("$a/#", &["$a/b"]),
    ];
    for version in BOTH {
        everywhere(|world| {
            let mut publisher = world.connected(version, "publisher");
            for (filter, matching) in filters {
                let mut subscriber = world.connected(version, "subscriber");
                subscriber.subscribed(subscribe(filter));

                for topic in TOPICS {
                    publisher.send(publish(topic).payload(topic));
                }
                publisher.sync();

                for topic in matching {
                    subscriber.expect(publish(topic).payload(topic));
                }
                subscriber.expect_nothing();
            }
        });
    }
}

/// [MQTT3-3.3.4-1]
#[test]
fn v5_mqtt_3_3_4_1_each_quality_of_service_has_its_answer() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");

            client.send(publish("a/b").qos(0));
            client.expect_nothing();
            client.send(publish("a/b").qos(1).id(6));
            client.expect(puback(6).code(0x10));
            client.send(publish("a/b").qos(2).id(7));
            client.expect(pubrec(7).code(0x10));
        }
    });
}

/// A payload may be empty, or longer than what a broker writes at once, and goes to clients of other
/// versions too, also as a Retained Message. [MQTT3-3.3.4-1]
#[test]
fn v5_mqtt_3_3_4_1_a_payload_of_any_length_is_answered_and_handed_on() {
    let pairs = [(V31, V311), (V311, V5), (V5, V31), (V311, V311), (V5, V5)];
    for (from, to) in pairs {
        everywhere(|world| {
            let mut subscriber = world.connected(to, "subscriber");
            subscriber.subscribed(subscribe("t").qos(2));
            let mut publisher = world.connected(from, "publisher");
            for length in [0, 1, 1_024, 1_025, 16_383, MEBIBYTE] {
                let payload = payload(length);
                for qos in 0..=2 {
                    let message = publish("t").qos(qos).payload(&payload);

                    publisher.published(message.clone());

                    subscriber.takes(message);
                }
            }
            let retained = publish("kept").qos(1).retain().payload(payload(MEBIBYTE));
            publisher.published(retained.clone());
            subscriber.subscribed(subscribe("kept").qos(1));
            subscriber.takes(retained);
        });
    }
}

/// Around the lengths at which a Remaining Length grows by a byte and at which buffers end, as many
/// at once as fit a window.
#[test]
fn v5_mqtt_3_3_4_1_payloads_around_every_boundary_are_handed_on_in_order() {
    let around = [8, 120, 1_024, 2_048, 4_096, 16_384, 65_536, 131_072, 262_144];
    let lengths: Vec<usize> = around.iter().flat_map(|length| length - 8..length + 8).collect();
    everywhere_in_both(|world, version| {
        let mut subscriber = world.connected(version, "subscriber");
        subscriber.subscribed(subscribe("t").qos(1));
        let mut publisher = world.connected(version, "publisher");
        for lengths in lengths.chunks(16) {
            for (id, length) in (1..).zip(lengths) {
                publisher.send(publish("t").qos(1).id(id).payload(payload(*length)));
            }
            for (id, length) in (1..).zip(lengths) {
                publisher.expect(puback(id));
                subscriber.takes(publish("t").qos(1).payload(payload(*length)));
            }
        }
    });
}

const MEBIBYTE: usize = 1 << 20;

/// Bytes that repeat only after 16 GiB, so that a piece lost or swapped shows.
fn payload(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(u32::to_be_bytes).take(length).collect()
}

/// One copy for all of them. [MQTT3-3.3.5-1]
#[test]
fn v5_mqtt_3_3_4_2_overlapping_subscriptions_deliver_at_the_highest_qos() {
    for version in BOTH {
        everywhere(|world| {
            for qos_of in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
                let mut subscriber = world.connected(version, "subscriber");
                for (filter, qos) in ["o/#", "o/+", "o/t"].into_iter().zip(qos_of) {
                    subscriber.subscribed(subscribe(filter).qos(qos));
                }
                let mut publisher = world.connected(version, "publisher");

                for qos in 0..=2 {
                    publisher.published(publish("o/t").qos(qos).payload([qos]));
                }

                for qos in 0..=2 {
                    subscriber.expect(publish("o/t").qos(qos).payload([qos]));
                }
                subscriber.expect_nothing();
            }
        });
    }
}

/// One of them alone: its own QoS. [MQTT3-3.3.5-1]
#[test]
fn v5_mqtt_3_3_4_2_only_the_subscriptions_that_match_count() {
    for version in BOTH {
        everywhere(|world| {
            let mut subscriber = world.connected(version, "subscriber");
            subscriber.subscribed(subscribe("o/+").qos(0).and("o/t").qos(2).and("o/t/#").qos(1));
            let mut publisher = world.connected(version, "publisher");

            publisher.published(publish("o/u").qos(2).payload("at 0"));
            publisher.published(publish("o/t/u").qos(2).payload("at 1"));
            publisher.published(publish("o/t").qos(2).payload("at 2"));

            subscriber.expect(publish("o/u").qos(0).payload("at 0"));
            subscriber.expect(publish("o/t/u").qos(1).payload("at 1"));
            subscriber.expect(publish("o/t").qos(2).payload("at 2"));
            subscriber.expect_nothing();
        });
    }
}

/// What nobody may publish to is acknowledged like everything else and goes nowhere.
#[test]
fn v311_mqtt_3_3_5_2_an_unauthorised_publish_is_acknowledged_and_dropped() {
    everywhere(|world| {
        for version in [V31, V311] {
            let mut watcher = world.connected(V5, "watcher");
            watcher.subscribed(subscribe("$SYS/mine").and("$share/g/t").and("t").and("#"));
            let mut client = world.connected(version, "c");

            for topic in ["$SYS/mine", "$share/g/t"] {
                for qos in 0..=2 {
                    client.published(publish(topic).qos(qos).retain());
                }
            }

            watcher.expect_nothing();
            let mut late = world.connected(V5, "late");
            late.subscribed(subscribe("$SYS/mine"));
            late.expect_nothing();
        }
    });
}

/// 5.0 s3.4.2.1, s3.5.2.1: 5.0 is told 0x87, and the exchange ends with that.
#[test]
fn a_5_0_client_is_told_that_its_publish_was_not_authorised() {
    everywhere(|world| {
        let mut watcher = world.connected(V5, "watcher");
        watcher.subscribed(subscribe("$SYS/mine").and("$share/g/t").and("t").and("#"));
        let mut client = world.connected(V5, "c");

        for topic in ["$SYS/mine", "$share/g/t"] {
            client.published(publish(topic).qos(0));
            client.send(publish(topic).qos(1).id(1));
            client.expect(puback(1).code(0x87));
            client.send(publish(topic).qos(2).id(2));
            client.expect(pubrec(2).code(0x87));
            client.send(pubrel(2));
            client.expect(pubcomp(2).code(0x92));
        }

        watcher.expect_nothing();
    });
}

fn publish_to(version: Version, topic: &[u8]) -> Vec<u8> {
    let length = u8::try_from(topic.len()).expect("a short topic");
    let mut body = [&[0, length], topic].concat();
    if version == V5 {
        body.push(0);
    }
    body.extend(b"payload");
    let remaining = u8::try_from(body.len()).expect("a short packet");
    [&[0x30, remaining][..], &body].concat()
}
