//! Topic Aliases in both directions (3.3.2.3.4).

use std::collections::BTreeMap;

use crate::vocabulary::*;

/// Also of a Session that goes on.
#[test]
fn v5_mqtt_3_3_2_7_an_alias_ends_with_the_connection_that_set_it() {
    everywhere(|world| {
        let mut client = world.connect(V5, lasting("client"));
        client.published(publish("t").qos(1).with(topic_alias(1)));
        client.published(publish("").qos(1).with(topic_alias(1)));
        client.leave();

        let mut client = world.resume(V5, lasting("client"));
        client.send(publish("").qos(1).with(topic_alias(1)));

        client.ends(0x82);
    });
}

/// The broker's own too: what it sends again, it names again.
#[test]
fn v5_mqtt_3_3_2_7_the_brokers_aliases_end_with_the_connection() {
    everywhere(|world| {
        let aliasing = || lasting("subscriber").with(topic_alias_maximum(4));
        let named = || publish("topic/1").qos(1).with(topic_alias(1));
        let by_alias = || publish("").qos(1).with(topic_alias(1));
        let mut subscriber = world.connect(V5, aliasing());
        subscriber.subscribed(subscribe("topic/+").qos(1));
        let mut publisher = world.connected(V5, "publisher");
        publisher.published(publish("topic/1").qos(1));
        publisher.published(publish("topic/1").qos(1));
        subscriber.expect(named());
        subscriber.expect(by_alias());
        subscriber.cut();

        let mut subscriber = world.resume(V5, aliasing());

        subscriber.expect(named().dup());
        subscriber.expect(by_alias().dup());
        subscriber.cut();
        // Who allows none on the next connection gets none.
        let mut subscriber = world.resume(V5, lasting("subscriber"));
        subscriber.expect(publish("topic/1").qos(1).dup());
        subscriber.expect(publish("topic/1").qos(1).dup());
    });
}

#[test]
fn v5_mqtt_3_3_2_8_alias_0_closes_the_connection() {
    everywhere(|world| {
        for topic in ["t", ""] {
            for qos in 0..=2 {
                let mut client = world.connected(V5, "client");

                client.send(publish(topic).qos(qos).with(topic_alias(0)));

                client.ends(0x94);
            }
        }
    });
}

/// A subscriber that allows so many aliases gets these, each standing for the topic it came with.
#[track_caller]
fn gets_aliases(world: &World, version: Version, allowed: u16, expected: &[u16]) {
    let connect = connect("subscriber").with(topic_alias_maximum(allowed));
    let mut subscriber = world.connect(V5, connect);
    subscriber.subscribed(subscribe("topic/+").qos(1));
    let mut publisher = world.connected(version, "publisher");

    let mut meant = BTreeMap::new();
    let mut alone = 0;
    for round in 0..4 {
        for number in 0..40 {
            let topic = format!("topic/{number}");
            publisher.published(publish(&topic).qos(round % 2));
            let message = subscriber.message();
            if message.qos == 1 {
                subscriber.send(puback(message.packet_id));
            }
            match alias_of(&message) {
                Some(alias) if message.topic.is_empty() => {
                    assert_eq!(meant[&alias], topic);
                    alone += 1;
                }
                Some(alias) => {
                    assert_eq!(message.topic, topic);
                    meant.insert(alias, topic);
                }
                None => assert_eq!(message.topic, topic),
            }
        }
    }

    assert_eq!(meant.into_keys().collect::<Vec<_>>(), expected);
    assert_eq!(alone, 3 * expected.len());
}

/// And so none is 0 [MQTT-3.3.2-8]. Who publishes need not know of aliases. [MQTT-3.1.2-26]
#[test]
fn v5_mqtt_3_3_2_11_the_brokers_aliases_are_those_that_the_client_takes() {
    everywhere_in_both(|world, version| {
        for maximum in [1, 2, 5] {
            gets_aliases(world, version, maximum, &(1..=maximum).collect::<Vec<_>>());
        }
    });
}

/// PRODUCT: 32 by default, however many the client takes. [MQTT-3.1.2-26]
#[test]
fn the_configuration_limits_the_brokers_aliases() {
    for (configuration, maximum) in [
        ("", 32),
        ("[limits]\ntopic_aliases_out_max = 2\n", 2),
        ("[limits]\ntopic_aliases_out_max = 0\n", 0),
    ] {
        everywhere_with(configuration, |world| {
            gets_aliases(world, V5, u16::MAX, &(1..=maximum).collect::<Vec<_>>());
        });
    }
}

/// 5.0 s3.1.2.11.5: 0 and none are the same. [MQTT-3.1.2-27]
#[test]
fn v5_mqtt_3_3_2_11_a_client_that_takes_no_alias_gets_none() {
    everywhere(|world| {
        for connect in [connect("none"), connect("zero").with(topic_alias_maximum(0))] {
            let mut subscriber = world.connect(V5, connect);
            subscriber.subscribed(subscribe("topic/+").qos(2));
            let mut publisher = world.connected(V5, "publisher");

            for qos in [0, 0, 1, 1, 2, 2] {
                publisher.published(publish("topic/1").qos(qos));
                subscriber.takes(publish("topic/1").qos(qos));
            }
        }
    });
}

/// [MQTT-3.2.2-17]
#[test]
fn v5_mqtt_3_3_2_9_an_alias_above_the_announced_maximum_closes_the_connection() {
    for (configuration, maximum) in [("", 32), ("[limits]\ntopic_aliases_in_max = 3\n", 3)] {
        everywhere_with(configuration, |world| {
            for alias in [maximum + 1, u16::MAX] {
                for topic in ["t", ""] {
                    let mut client = world.client(V5);
                    client.send(connect("client"));
                    client.expect(connack().with(topic_alias_maximum(maximum)));

                    client.send(publish(topic).with(topic_alias(alias)));

                    client.ends(0x94);
                }
            }
        });
    }
}

/// [MQTT-3.2.2-18]
#[test]
fn v5_mqtt_3_3_2_9_a_broker_that_takes_no_alias_says_so_and_takes_none() {
    everywhere_with("[limits]\ntopic_aliases_in_max = 0\n", |world| {
        let mut client = world.client(V5);
        client.send(connect("client"));
        client.expect(connack().without(0x22));

        client.send(publish("t").with(topic_alias(1)));

        client.ends(0x94);
    });
}

#[test]
fn v5_mqtt_3_3_2_12_every_alias_up_to_the_announced_maximum_is_taken() {
    for (configuration, maximum) in [("", 32), ("[limits]\ntopic_aliases_in_max = 65535\n", 65_535)]
    {
        everywhere_with(configuration, |world| {
            let mut subscriber = world.connected(V5, "subscriber");
            subscriber.subscribed(subscribe("#").qos(2));
            let mut client = world.connected(V5, "client");
            let aliases = || (1..=maximum).filter(|alias| *alias <= 32 || alias % 4_369 == 0);

            for alias in aliases() {
                let topic = format!("topic/{alias}");
                client.published(publish(&topic).with(topic_alias(alias)));
                subscriber.takes(publish(&topic));
            }
            for alias in aliases() {
                for qos in 0..=2 {
                    client.published(publish("").qos(qos).with(topic_alias(alias)));
                    subscriber.takes(publish(&format!("topic/{alias}")).qos(qos));
                }
            }
        });
    }
}

/// 5.0 s3.3.2.3.4: from then on it stands for the new topic, and only that alias.
#[test]
fn an_alias_can_be_given_another_topic() {
    everywhere(|world| {
        let mut subscriber = world.connected(V5, "subscriber");
        subscriber.subscribed(subscribe("#"));
        let mut client = world.connected(V5, "client");

        for (topic, alias, expected) in [
            ("a", 1, "a"),
            ("a", 2, "a"),
            ("b", 1, "b"),
            ("", 1, "b"),
            ("", 2, "a"),
            ("b", 2, "b"),
            ("a", 1, "a"),
            ("", 2, "b"),
            ("", 1, "a"),
        ] {
            client.send(publish(topic).with(topic_alias(alias)));
            subscriber.expect(publish(expected));
        }
        // A topic by name alone changes no alias.
        client.send(publish("c"));
        subscriber.expect(publish("c"));
        client.send(publish("").with(topic_alias(1)));
        subscriber.expect(publish("a"));
    });
}

/// 5.0 s3.3.2.3.4: also if the message itself goes nowhere, since it came before.
#[test]
fn a_repeated_publish_sets_its_alias() {
    everywhere(|world| {
        let mut subscriber = world.connected(V5, "subscriber");
        subscriber.subscribed(subscribe("t"));
        let first = publish("t").qos(2).id(7).payload("first");
        let mut client = world.connect(V5, lasting("client"));
        client.send(first.clone());
        client.expect(pubrec(7));
        client.cut();

        let mut client = world.resume(V5, lasting("client"));
        client.published(first.dup().with(topic_alias(1)));
        client.published(publish("").payload("by alias").with(topic_alias(1)));

        subscriber.expect(publish("t").payload("first"));
        subscriber.expect(publish("t").payload("by alias"));
        subscriber.expect_nothing();
    });
}

/// 5.0 s3.3.2.3.4, s3.3.4: nor does an alias of another client, or of the other direction, count.
#[test]
fn an_alias_that_stands_for_nothing_is_a_protocol_error() {
    everywhere(|world| {
        let mut other = world.connected(V5, "other");
        other.published(publish("t").with(topic_alias(2)));
        for alias in 1..=3 {
            for qos in 0..=2 {
                let mut client = world.connect(V5, connect("client").with(topic_alias_maximum(9)));
                client.subscribed(subscribe("topic/1"));
                other.published(publish("topic/1"));
                client.expect(publish("topic/1").with(topic_alias(1)));

                client.send(publish("").qos(qos).with(topic_alias(alias)));

                client.ends(0x82);
            }
        }
    });
}

/// 5.0 s3.3.2.3.4: an alias is between one client and the broker. What is kept is kept by name.
#[test]
fn an_alias_of_the_publisher_is_handed_on_to_nobody() {
    everywhere(|world| {
        let mut away = world.connect(V5, lasting("away"));
        away.subscribed(subscribe("topic/+").qos(1));
        away.leave();
        let mut live = world.connect(V5, connect("live").with(topic_alias_maximum(1)));
        live.subscribed(subscribe("topic/+").qos(1));
        let mut old = world.connected(V311, "old");
        old.subscribed(subscribe("topic/+").qos(1));
        let mut client = world.connected(V5, "client");

        client.published(publish("topic/1").qos(1).with(topic_alias(7)));
        client.published(publish("").qos(1).retain().with(topic_alias(7)));

        live.expect(publish("topic/1").qos(1).with(topic_alias(1)));
        live.expect(publish("").qos(1).with(topic_alias(1)));
        for _ in 0..2 {
            old.expect(publish("topic/1").qos(1));
        }
        let mut away = world.resume(V5, lasting("away"));
        for _ in 0..2 {
            away.expect(publish("topic/1").qos(1));
        }
        let mut late = world.connected(V5, "late");
        late.subscribed(subscribe("topic/+"));
        late.expect(publish("topic/1").retain());
        client.published(publish("").payload("").retain().with(topic_alias(7)));
        let mut later = world.connected(V5, "later");
        later.subscribed(subscribe("topic/+"));
        later.expect_nothing();
    });
}

/// Whoever takes it by an alias: each Subscription's own wish [MQTT-3.3.1-12] [MQTT-3.3.1-13].
#[test]
fn a_message_by_alias_has_the_retain_flag_that_its_subscription_asks_for() {
    everywhere(|world| {
        let mut publisher = world.connected(V5, "publisher");
        for keeps in [false, true] {
            let connect = connect("subscriber").with(topic_alias_maximum(1));
            let mut subscriber = world.connect(V5, connect);
            let quietly = subscribe("topic").qos(1).retain_handling(2);
            subscriber.subscribed(if keeps { quietly.retain_as_published() } else { quietly });

            for (qos, topic) in [(0, "topic"), (1, ""), (0, "")] {
                publisher.published(publish("topic").qos(qos).retain());

                let message = publish(topic).qos(qos).with(topic_alias(1));
                subscriber.takes(if keeps { message.retain() } else { message });
            }
            publisher.published(publish("topic"));
            subscriber.takes(publish("").with(topic_alias(1)));
        }
    });
}

fn alias_of(message: &Message) -> Option<u16> {
    match message.properties.0[..] {
        [] => None,
        [(0x23, Value::Two(alias))] => Some(alias),
        ref other => panic!("expected at most a Topic Alias but there is\n  {other:?}\n"),
    }
}
