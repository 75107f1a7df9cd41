//! Retained Messages (3.3.1.3).

use crate::vocabulary::*;

/// Only the newest is left, with its own QoS. [MQTT3-3.3.1-5] [MQTT3-3.3.1-7]
#[test]
fn v5_mqtt_3_3_1_5_a_retained_message_takes_the_place_of_the_earlier_one() {
    for version in BOTH {
        everywhere(|world| {
            let mut publisher = world.connected(version, "publisher");

            for (old, new) in [(0, 2), (2, 0), (1, 0), (1, 1), (0, 0)] {
                publisher.published(publish("t").qos(old).payload("old").retain());
                publisher.published(publish("t").qos(new).payload("new").retain());

                let mut late = world.connected(version, "late");
                late.subscribed(subscribe("t").qos(2));
                late.expect(publish("t").qos(new).payload("new").retain());
                late.expect_nothing();
            }
        });
    }
}

/// The QoS is stored with the message, and lowered by the Subscription. [MQTT-3.3.1-5]
#[test]
fn v311_mqtt_3_3_1_5_a_retained_message_keeps_its_qos() {
    for version in BOTH {
        everywhere(|world| {
            let mut publisher = world.connected(version, "publisher");
            for published in 0..=2 {
                publisher.published(publish("t").qos(published).retain());
                for asked in 0..=2 {
                    let mut late = world.connected(version, "late");

                    late.subscribed(subscribe("t").qos(asked));

                    late.expect(publish("t").qos(published.min(asked)).retain());
                    late.expect_nothing();
                }
            }
        });
    }
}

/// At each QoS, whatever that of the stored one is; who is subscribed gets the empty message as
/// any other. [MQTT3-3.3.1-10]
#[test]
fn v5_mqtt_3_3_1_6_an_empty_payload_deletes_the_retained_message() {
    for version in BOTH {
        everywhere(|world| {
            let mut live = world.connected(version, "live");
            live.subscribed(subscribe("t").qos(2));
            let mut publisher = world.connected(version, "publisher");
            for stored in 0..=2 {
                for empty in 0..=2 {
                    publisher.published(publish("t").qos(stored).retain());
                    publisher.published(publish("t/other").qos(stored).retain());
                    live.takes(publish("t").qos(stored));

                    publisher.published(publish("t").qos(empty).payload("").retain());

                    live.takes(publish("t").qos(empty).payload(""));
                    let mut late = world.connected(version, "late");
                    late.subscribed(subscribe("t").qos(2));
                    late.expect_nothing();
                    late.subscribed(subscribe("t/#"));
                    late.expect(publish("t/other").retain());
                    late.expect_nothing();
                }
            }
        });
    }
}

/// What was deleted may be set again. [MQTT3-3.3.1-10]
#[test]
fn v5_mqtt_3_3_1_6_a_deleted_retained_message_makes_room_for_another() {
    for version in BOTH {
        everywhere_with("[retained]\nmessages_max = 1\n", |world| {
            let mut publisher = world.connected(version, "publisher");
            for topic in ["a", "b", "a"] {
                publisher.published(publish(topic).qos(1).retain());

                let mut late = world.connected(version, "late");
                late.subscribed(subscribe("#"));
                late.expect(publish(topic).retain());
                late.expect_nothing();
                publisher.published(publish(topic).qos(1).payload("").retain());
            }
        });
    }
}

/// [MQTT3-3.3.1-11]
#[test]
fn v5_mqtt_3_3_1_7_an_empty_retained_message_is_not_stored() {
    for version in BOTH {
        everywhere(|world| {
            let mut publisher = world.connected(version, "publisher");
            for qos in 0..=2 {
                publisher.published(publish("t").qos(qos).payload("").retain());

                let mut late = world.connected(version, "late");
                late.subscribed(subscribe("#").qos(2));
                late.expect_nothing();
            }
        });
    }
}

/// A payload of zeros is not empty, nor is an empty one without RETAIN a deletion.
/// [MQTT3-3.3.1-12]
#[test]
fn v5_mqtt_3_3_1_8_a_message_without_retain_changes_no_retained_message() {
    for version in BOTH {
        everywhere(|world| {
            let mut publisher = world.connected(version, "publisher");
            publisher.published(publish("t").qos(1).payload("\0").retain());

            for qos in 0..=2 {
                publisher.published(publish("t").qos(qos).payload("passing"));
                publisher.published(publish("t").qos(qos).payload(""));
                publisher.published(publish("never stored").qos(qos));

                let mut late = world.connected(version, "late");
                late.subscribed(subscribe("#").qos(1));
                late.expect(publish("t").qos(1).payload("\0").retain());
                late.expect_nothing();
            }
        });
    }
}

/// At every SUBSCRIBE, also one that replaces a Subscription. [MQTT3-3.8.4-3]
#[test]
fn v5_mqtt_3_3_1_9_retain_handling_0_sends_all_that_match() {
    for version in BOTH {
        everywhere(|world| {
            let mut publisher = world.connected(version, "publisher");
            for topic in ["house/1", "house/2", "house/1/lamp", "garden"] {
                publisher.published(publish(topic).qos(1).payload(topic).retain());
            }
            let mut client = world.connected(version, "client");
            let retained = |topic| publish(topic).qos(1).payload(topic).retain();

            for _ in 0..3 {
                client.subscribed(subscribe("house/+").qos(1));
                client.expect_any_order(&[&retained("house/1"), &retained("house/2")]);
                client.expect_nothing();
            }
            client.subscribed(subscribe("garden").qos(1));
            client.expect(retained("garden"));
            client.expect_nothing();
        });
    }
}

/// Each Topic Filter of a SUBSCRIBE brings its own, as a Subscription of its own would: at its QoS
/// and, in 5.0, with its Subscription Identifier [MQTT-3.3.4-3].
#[test]
fn v5_mqtt_3_3_1_9_each_filter_brings_what_it_matches() {
    for version in BOTH {
        everywhere(|world| {
            world.connected(version, "publisher").published(publish("t/1").qos(2).retain());
            let mut client = world.connected(version, "client");

            let both = subscribe("t/1").qos(0).and("t/+").qos(1);
            client.subscribed(both.with(subscription_identifier(300)));

            client.expect_any_order(&[
                &publish("t/1").qos(0).retain().with(subscription_identifier(300)),
                &publish("t/1").qos(1).retain().with(subscription_identifier(300)),
            ]);
            client.expect_nothing();
        });
    }
}

/// More than are sent at a time, to a client that takes one at a time.
#[test]
fn v5_mqtt_3_3_1_9_a_client_that_takes_little_gets_all_in_the_end() {
    everywhere(|world| {
        let mut publisher = world.connected(V5, "publisher");
        for number in 0..600 {
            publisher.published(publish(&format!("many/{number:03}")).qos(1).retain());
        }
        let mut client = world.connect(V5, connect("client").with(receive_maximum(1)));

        client.subscribed(subscribe("many/+").qos(1));

        let mut found = Vec::new();
        while found.len() < 600 {
            let message = client.message();
            assert!(message.retain && !message.dup);
            client.send(puback(message.packet_id));
            found.push(message.topic);
        }
        client.expect_nothing();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 600);
    });
}

#[test]
fn v5_mqtt_3_3_1_10_retain_handling_1_sends_to_new_subscriptions_only() {
    everywhere(|world| {
        world.connected(V5, "publisher").published(publish("t").retain());
        let mut client = world.connect(V5, lasting("client"));
        let if_new = |filter: &str| subscribe(filter).retain_handling(1);

        client.subscribed(if_new("t"));
        client.expect(publish("t").retain());
        client.subscribed(if_new("t"));
        client.expect_nothing();
        // With other options it is the same Subscription, under another filter it is a new one.
        client.subscribed(if_new("t").qos(1).no_local().with(subscription_identifier(1)));
        client.expect_nothing();
        client.subscribed(if_new("#"));
        client.expect(publish("t").retain());
        client.leave();

        let mut client = world.resume(V5, lasting("client"));
        client.subscribed(if_new("t"));
        client.expect_nothing();
        client.send(unsubscribe("t"));
        client.expect(unsuback(1, &[0]));
        client.subscribed(if_new("t"));
        client.expect(publish("t").retain());
        client.leave();

        let mut client = world.connected(V5, "client");
        client.subscribed(if_new("t"));
        client.expect(publish("t").retain());
        client.expect_nothing();
    });
}

#[test]
fn v5_mqtt_3_3_1_11_retain_handling_2_sends_none() {
    everywhere(|world| {
        let mut publisher = world.connected(V5, "publisher");
        publisher.published(publish("t").qos(1).payload("stored").retain());
        let mut client = world.connected(V5, "client");

        client.subscribed(subscribe("t").qos(1).retain_handling(2).and("#").retain_handling(2));
        client.expect_nothing();

        // It is only about the time of the SUBSCRIBE.
        publisher.published(publish("t").qos(1).payload("live").retain());
        client.expect(publish("t").qos(1).payload("live"));
        client.subscribed(subscribe("t"));
        client.expect(publish("t").payload("live").retain());
        client.expect_nothing();
    });
}

/// Before 5.0 no Subscription can ask for anything else. [MQTT3-3.3.1-9]
#[test]
fn v5_mqtt_3_3_1_12_over_a_standing_subscription_retain_is_0() {
    for version in BOTH {
        everywhere(|world| {
            let mut live = world.connected(version, "live");
            live.subscribed(subscribe("t").qos(2));
            let mut away = world.connect(version, lasting("away"));
            away.subscribed(subscribe("t").qos(2));
            away.leave();
            let mut publisher = world.connected(version, "publisher");

            for qos in 1..=2 {
                publisher.published(publish("t").qos(qos).retain());
                live.expect(publish("t").qos(qos));
            }
            publisher.published(publish("t").retain());
            live.expect(publish("t"));

            // Out of a queue it is the same.
            let mut away = world.resume(version, lasting("away"));
            away.expect(publish("t").qos(1));
            away.expect(publish("t").qos(2));
            away.expect_nothing();
        });
    }
}

#[test]
fn v5_mqtt_3_3_1_13_retain_as_published_keeps_the_flag() {
    everywhere(|world| {
        let mut live = world.connected(V5, "live");
        live.subscribed(subscribe("t").qos(2).retain_as_published());
        let mut away = world.connect(V5, lasting("away"));
        away.subscribed(subscribe("t").qos(2).retain_as_published());
        away.leave();
        let mut publisher = world.connected(V5, "publisher");

        let messages: Vec<_> = (0..=2)
            .flat_map(|qos| [publish("t").qos(qos), publish("t").qos(qos).retain()])
            .collect();
        for message in &messages {
            publisher.published(message.clone());
            live.expect(message.clone());
        }

        let mut away = world.resume(V5, lasting("away"));
        for message in messages.into_iter().skip(2) {
            away.expect(message);
        }
        away.expect_nothing();
    });
}

/// Overlapping Subscriptions have one copy, which keeps the flag if one of them asks for it.
#[test]
fn v5_mqtt_3_3_1_13_one_copy_keeps_the_flag_if_one_of_its_subscriptions_asks() {
    everywhere(|world| {
        let mut live = world.connected(V5, "live");
        // One by one: what one SUBSCRIBE asks for at once may still be looked for after its SUBACK.
        live.subscribed(subscribe("t"));
        live.subscribed(subscribe("+").retain_as_published());
        live.subscribed(subscribe("#"));

        world.connected(V5, "publisher").published(publish("t").retain());

        live.expect(publish("t").retain());
        live.expect_nothing();
    });
}

/// 5.0 s3.8.3.1: whatever Retain As Published says, and for a 5.0 client too.
#[test]
fn v311_mqtt_3_3_1_8_what_a_new_subscription_brings_has_retain_1() {
    for version in BOTH {
        everywhere(|world| {
            let mut publisher = world.connected(version, "publisher");
            for qos in 0..=2 {
                publisher.published(publish("t").qos(qos).retain());
                for option in [0x00, 0x08] {
                    if version == V311 && option != 0 {
                        continue;
                    }
                    let mut late = world.connected(version, "late");

                    late.subscribed(subscribe("t").qos(2).option(option));

                    late.expect(publish("t").qos(qos).retain());
                    late.expect_nothing();
                }
            }
        });
    }
}

#[test]
fn v311_mqtt_3_3_1_6_a_new_subscription_brings_the_newest_of_each_topic() {
    everywhere(|world| {
        for version in [V31, V311] {
            let mut publisher = world.connected(version, "publisher");
            for payload in ["1", "2", "3"] {
                for topic in ["a/x", "a/y", "b/x"] {
                    publisher.published(publish(topic).qos(1).payload(payload).retain());
                }
            }
            let mut late = world.connected(version, "late");

            late.subscribed(subscribe("a/#").qos(1));

            late.expect_any_order(&[
                &publish("a/x").qos(1).payload("3").retain(),
                &publish("a/y").qos(1).payload("3").retain(),
            ]);
            late.expect_nothing();
        }
    });
}

/// 5.0 s4.1, s3.1.4: who resumes a Session did not subscribe, so that nothing retained is sent.
#[test]
fn a_resumed_session_brings_no_retained_messages() {
    for version in BOTH {
        everywhere(|world| {
            let mut client = world.connect(version, lasting("client"));
            client.subscribed(subscribe("t").qos(1));
            world.connected(version, "publisher").published(publish("t").retain());
            client.expect(publish("t"));
            client.leave();

            let mut client = world.resume(version, lasting("client"));

            client.expect_nothing();
        });
    }
}

/// [MQTT-3.8.3-3]: No Local is about messages on their way. A Retained Message is no longer of the
/// client that published it, so its own new Subscription brings it as any other.
#[test]
fn no_local_keeps_back_what_is_published_but_not_what_is_retained() {
    everywhere(|world| {
        let mut client = world.connected(V5, "client");
        client.subscribed(subscribe("t").no_local());
        client.published(publish("t").payload("own").retain());
        client.expect_nothing();

        client.subscribed(subscribe("t").no_local());
        client.expect(publish("t").payload("own").retain());

        world.connected(V5, "another").published(publish("t").payload("another's").retain());
        client.expect(publish("t").payload("another's"));
        client.subscribed(subscribe("t").no_local());
        client.expect(publish("t").payload("another's").retain());
        client.expect_nothing();
    });
}

/// [MQTT-4.3.3-10] [MQTT3-4.3.3-2]: what comes again at QoS 2 is not retained again either.
#[test]
fn a_repeated_publish_does_not_take_the_place_of_a_newer_retained_message() {
    for version in BOTH {
        everywhere(|world| {
            let first = publish("t").qos(2).id(7).payload("first").retain();
            let mut publisher = world.connect(version, lasting("publisher"));
            publisher.send(first.clone());
            publisher.expect(pubrec(7));
            publisher.cut();
            world.connected(version, "another").published(publish("t").payload("newer").retain());

            let mut publisher = world.resume(version, lasting("publisher"));
            publisher.published(first.dup());

            let mut late = world.connected(version, "late");
            late.subscribed(subscribe("t"));
            late.expect(publish("t").payload("newer").retain());
            late.expect_nothing();
        });
    }
}
