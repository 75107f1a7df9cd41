//! What a Subscription with its options does, and what one that replaces another (3.8.3.1, 3.8.4).

use crate::vocabulary::*;

#[test]
fn v5_mqtt_3_8_3_3_no_local_keeps_a_clients_own_messages_from_it() {
    everywhere(|world| {
        let mut client = world.connected(V5, "c");
        let mut watcher = world.connected(V5, "watcher");
        let mut other = world.connected(V5, "other");
        client.subscribed(subscribe("a").qos(2).no_local());
        watcher.subscribed(subscribe("a").qos(2));

        for qos in [0, 1, 2] {
            client.published(publish("a").qos(qos).payload("own"));
            watcher.expect(publish("a").qos(qos).payload("own"));
            other.published(publish("a").qos(qos).payload("of another"));
            watcher.expect(publish("a").qos(qos).payload("of another"));
            client.expect(publish("a").qos(qos).payload("of another"));
        }

        client.expect_nothing();
    });
}

/// What counts is the Client Identifier, not the connection.
#[test]
fn v5_mqtt_3_8_3_3_no_local_holds_for_messages_of_an_earlier_connection() {
    everywhere(|world| {
        let will = Will::new("a", "will").with(will_delay_interval(0));
        let mut client = world.connect(V5, lasting("c").will(will));
        client.subscribed(subscribe("a").qos(1).no_local());
        client.send(publish("a").qos(1).payload("own"));
        client.expect(puback(1));
        let mut other = world.connected(V5, "other");
        other.subscribed(subscribe("a").qos(1));
        client.cut();
        other.expect(publish("a").qos(1).payload("will"));

        let mut client = world.resume(V5, lasting("c"));

        client.expect_nothing();
        other.send(publish("a").qos(1).payload("of another"));
        client.expect(publish("a").qos(1).payload("of another"));
    });
}

/// A message comes for the Subscriptions that want it, with their QoS and identifiers alone.
#[test]
fn v5_mqtt_3_8_3_3_no_local_holds_for_its_own_subscription_only() {
    everywhere(|world| {
        let mut client = world.connected(V5, "c");
        let mut other = world.connected(V5, "other");
        let [all, others, shared] = [1, 2, 3].map(subscription_identifier);
        client.subscribed(subscribe("a/+").qos(2).no_local().with(others.clone()));
        client.subscribed(subscribe("a/#").qos(1).with(all.clone()));
        client.subscribed(subscribe("$share/g/a/b").with(shared.clone()));

        client.send(publish("a/b").qos(2).id(1));
        client.expect_any_order(&[
            &pubrec(1),
            &publish("a/b").qos(1).with(all.clone()),
            &publish("a/b").with(shared.clone()),
        ]);
        client.expect_nothing();

        other.published(publish("a/b").qos(2));
        client.expect_any_order(&[
            &publish("a/b").qos(2).with(all).with(others),
            &publish("a/b").with(shared),
        ]);
        client.expect_nothing();
    });
}

#[test]
fn v5_mqtt_3_8_3_4_no_local_on_a_shared_subscription_is_a_protocol_error() {
    everywhere(|world| {
        for subscribe in [
            subscribe("$share/g/a").qos(1).no_local(),
            subscribe("a").qos(1).no_local().and("$share/g/#").no_local(),
        ] {
            let mut client = world.connected(V5, "c");

            client.send(subscribe);

            client.ends(0x82);
        }
    });
}

#[test]
fn v5_mqtt_3_8_4_3_the_same_filter_again_replaces_options_and_identifier() {
    everywhere(|world| {
        let mut client = world.connected(V5, "c");
        let id = subscription_identifier;
        client.subscribed(subscribe("a/+").qos(2).retain_as_published().with(id(7)));
        client.send(publish("a/b").qos(2).retain().id(1));
        let first = publish("a/b").qos(2).retain().with(id(7));
        client.expect_any_order(&[&first, &pubrec(1)]);

        client.subscribed(subscribe("a/+").qos(1).retain_handling(2).with(id(8)));
        client.send(publish("a/b").qos(2).retain().id(2));
        client.expect_any_order(&[&publish("a/b").qos(1).with(id(8)), &pubrec(2)]);

        client.subscribed(subscribe("a/+").qos(2).no_local().retain_handling(2));
        client.send(publish("a/b").qos(1).id(3));
        client.expect(puback(3));
        client.expect_nothing();

        client.subscribed(subscribe("a/+").qos(2).retain_handling(2));
        client.send(publish("a/b").qos(1).id(4));
        client.expect_any_order(&[&publish("a/b").qos(1), &puback(4)]);

        client.send(unsubscribe("a/+").and("a/+"));
        client.expect(unsuback(1, &[0, 0x11]));
    });
}

/// A Subscription with another Topic Filter, or the same one shared, is another one.
#[test]
fn v5_mqtt_3_8_4_3_only_the_very_same_filter_is_replaced() {
    everywhere(|world| {
        let mut client = world.connected(V5, "c");
        client.subscribed(subscribe("a/+").with(subscription_identifier(1)));
        client.subscribed(subscribe("a/#").with(subscription_identifier(2)));
        client.subscribed(subscribe("A/+").with(subscription_identifier(3)));
        client.subscribed(subscribe("$share/g/a/+").with(subscription_identifier(4)));

        client.send(publish("a/b"));

        let [own, shared] = [&[1, 2][..], &[4]].map(|ids| {
            ids.iter()
                .fold(publish("a/b"), |message, id| message.with(subscription_identifier(*id)))
        });
        client.expect_any_order(&[&own, &shared]);
        client.expect_nothing();
    });
}

#[test]
fn v311_mqtt_3_8_4_3_the_same_filter_again_has_its_new_qos_and_the_retained_messages() {
    everywhere(|world| {
        let mut publisher = world.connected(V311, "publisher");
        publisher.published(publish("a/kept").qos(2).retain());
        let mut client = world.connected(V311, "c");
        for qos in [1, 0, 2] {
            client.subscribed(subscribe("a/#").qos(qos));

            client.expect(publish("a/kept").qos(qos).retain());
            publisher.published(publish("a/b").qos(2));
            client.expect(publish("a/b").qos(qos));
            client.expect_nothing();
        }
    });
}

#[test]
fn v5_mqtt_3_8_4_4_a_replacement_with_retain_handling_0_brings_retained_messages_again() {
    everywhere(|world| {
        let mut client = world.connected(V5, "c");
        client.published(publish("a/kept").qos(1).retain().payload("old"));
        client.subscribed(subscribe("a/#").qos(1).retain_handling(2));
        client.expect_nothing();

        client.subscribed(subscribe("a/#").qos(1).retain_handling(0));
        client.expect(publish("a/kept").qos(1).retain().payload("old"));
        client.subscribed(subscribe("a/#").retain_handling(0));
        client.expect(publish("a/kept").retain().payload("old"));

        client.expect_nothing();
    });
}

/// [MQTT-3.8.4-4] [MQTT3-3.8.4-3]: every message comes once, whatever stood when it was published.
#[test]
fn v5_mqtt_3_8_4_4_no_message_is_lost_or_doubled_while_a_subscription_is_replaced() {
    const COUNT: u16 = 50;
    everywhere(|world| {
        for version in BOTH.repeat(4) {
            let mut client = world.connected(version, "c");
            let mut publisher = world.connected(version, "publisher");
            client.subscribed(subscribe("a/+").qos(1));

            for number in 1..=COUNT {
                let qos = u8::try_from(number % 3).unwrap();
                publisher.send(publish("a/b").qos(1).id(number).payload(number.to_string()));
                client.send(subscribe("a/+").qos(qos).id(number));
            }
            for number in 1..=COUNT {
                publisher.expect(puback(number));
            }
            client.send(pingreq());

            let mut numbers = Vec::new();
            let mut granted = 0;
            loop {
                match client.next() {
                    Packet::Publish(message) => numbers.push(message.number()),
                    Packet::SubAck { .. } => granted += 1,
                    Packet::PingResp => break,
                    other => panic!("{other:?}"),
                }
            }
            numbers.sort_unstable();
            assert_eq!(numbers, (1..=COUNT.into()).collect::<Vec<u32>>());
            assert_eq!(granted, COUNT);
        }
    });
}

/// What was queued under the Subscription as it was is delivered under it.
#[test]
fn v5_mqtt_3_8_4_4_what_waits_for_a_client_survives_the_replacement() {
    everywhere(|world| {
        let narrow = || lasting("c").with(receive_maximum(1));
        let mut client = world.connect(V5, narrow());
        client.subscribed(subscribe("a").qos(1));
        let mut publisher = world.connected(V5, "publisher");
        for payload in ["1", "2", "3"] {
            publisher.published(publish("a").qos(1).payload(payload));
        }
        client.expect(publish("a").qos(1).payload("1").id(1));

        client.subscribed(subscribe("a").qos(0));

        for (id, payload) in [(1, "2"), (2, "3")] {
            client.send(puback(id));
            client.expect(publish("a").qos(1).payload(payload).id(id + 1));
        }
        client.expect_nothing();
    });
}

/// 5.0 s3.8.2.1.2: the identifier is from 1 to 268,435,455, and there is one.
#[test]
fn v5_a_subscription_identifier_is_returned_as_it_was_given() {
    everywhere(|world| {
        for number in [1, 127, 128, 16_384, 268_435_455] {
            let mut client = world.connected(V5, "c");
            client.subscribed(subscribe("a").with(subscription_identifier(number)));

            client.send(publish("a"));

            client.expect(publish("a").with(subscription_identifier(number)));
        }
        for subscribe in [
            subscribe("a").with(subscription_identifier(0)),
            subscribe("a").with(subscription_identifier(1)).with(subscription_identifier(1)),
        ] {
            let mut client = world.connected(V5, "c");

            client.send(subscribe);

            client.ends(0x82);
        }
    });
}

/// 5.0 s3.2.2.3.13. Nobody told a client before 5.0, which keeps what else it asked for
/// [MQTT3-3.9.3-2].
#[test]
fn v5_a_shared_subscription_where_there_is_none_ends_with_0x9e() {
    everywhere_with(&listener("shared = false"), |world| {
        for version in [V31, V311] {
            let mut client = world.connected(version, "c");
            client.send(subscribe("$share/g/a").and("a/+").qos(1));
            client.expect(suback(1, &[0x80, 1]));
            client.send(publish("a/b"));
            client.expect(publish("a/b"));
        }
        let mut client = world.connected(V5, "c");
        client.subscribed(subscribe("a/+").with(subscription_identifier(1)));

        client.send(subscribe("$share/g/a"));

        client.ends(0x9E);
    });
}

/// 5.0 s3.2.2.3.12
#[test]
fn v5_a_subscription_identifier_where_there_is_none_ends_with_0xa1() {
    everywhere_with(&listener("subscription_ids = false"), |world| {
        let mut client = world.connected(V5, "c");
        client.subscribed(subscribe("a/+").and("$share/g/a"));

        client.send(subscribe("a").with(subscription_identifier(1)));

        client.ends(0xA1);
    });
}

/// 5.0 s3.2.2.3.11
#[test]
fn v5_a_wildcard_where_there_is_none_ends_with_0xa2() {
    everywhere_with(&listener("wildcards = false"), |world| {
        for filter in ["a/+", "#", "$share/g/a/#"] {
            let mut client = world.connected(V5, "c");
            client.subscribed(subscribe("a").and("$share/g/a").with(subscription_identifier(1)));

            client.send(subscribe(filter));

            client.ends(0xA2);
        }
    });
}
