//! PUBLISH: Subscription Identifiers and how many may be open at a time (3.3.4).

use crate::vocabulary::*;

/// [MQTT-3.3.4-4]
#[test]
fn v5_mqtt_3_3_4_3_a_message_names_the_subscriptions_that_it_matches() {
    everywhere(|world| {
        let mut subscriber = world.connected(V5, "subscriber");
        for (filter, id) in [("s/#", 1), ("s/+", 268_435_455), ("s/t", 128), ("other", 4)] {
            subscriber.subscribed(subscribe(filter).qos(2).with(subscription_identifier(id)));
        }
        subscriber.subscribed(subscribe("+/t").qos(2));
        let mut publisher = world.connected(V5, "publisher");

        for qos in 0..=2 {
            publisher.published(publish("s/t").qos(qos));

            let all_three = publish("s/t")
                .qos(qos)
                .with(subscription_identifier(1))
                .with(subscription_identifier(128))
                .with(subscription_identifier(268_435_455));
            subscriber.expect(all_three);
        }
        publisher.published(publish("u/t"));
        subscriber.expect(publish("u/t"));
        subscriber.expect_nothing();
    });
}

/// Equal ones are repeated. [MQTT-3.3.4-3]
#[test]
fn v5_mqtt_3_3_4_4_one_copy_names_each_subscription_that_has_an_identifier() {
    everywhere(|world| {
        let mut subscriber = world.connected(V5, "subscriber");
        let numbered = subscribe("s/#").and("s/+").with(subscription_identifier(7));
        subscriber.subscribed(numbered);
        subscriber.subscribed(subscribe("s/t").with(subscription_identifier(3)));
        subscriber.subscribed(subscribe("#"));

        world.connected(V5, "publisher").published(publish("s/t"));

        let named = publish("s/t")
            .with(subscription_identifier(3))
            .with(subscription_identifier(7))
            .with(subscription_identifier(7));
        subscriber.expect(named);
        subscriber.expect_nothing();
    });
}

/// However many clients there are, each is told its own, in one copy. [MQTT-3.3.4-3]
#[test]
fn v5_mqtt_3_3_4_4_each_client_is_named_its_own_subscriptions() {
    everywhere(|world| {
        let mut subscribers: Vec<_> = (1..=20)
            .map(|number| {
                let mut subscriber = world.connected(V5, &format!("subscriber {number}"));
                let own = subscribe("s/t").qos(2).with(subscription_identifier(number));
                subscriber.subscribed(own);
                let another = subscribe("s/+").qos(1).with(subscription_identifier(100 + number));
                subscriber.subscribed(another);
                (number, subscriber)
            })
            .collect();
        let mut publisher = world.connected(V5, "publisher");

        for qos in 0..=2 {
            publisher.published(publish("s/t").qos(qos));
        }

        for (number, subscriber) in &mut subscribers {
            for qos in 0..=2 {
                let named = publish("s/t").qos(qos).with(subscription_identifier(*number));
                subscriber.takes(named.with(subscription_identifier(100 + *number)));
            }
            subscriber.expect_nothing();
        }
    });
}

/// A message that waited for its client names the Subscriptions as well. [MQTT-3.3.4-3]
#[test]
fn v5_mqtt_3_3_4_4_a_queued_message_names_its_subscriptions() {
    everywhere(|world| {
        let mut subscriber = world.connect(V5, lasting("subscriber"));
        subscriber.subscribed(subscribe("s/#").qos(1).with(subscription_identifier(5)));
        subscriber.subscribed(subscribe("s/t").qos(1).with(subscription_identifier(6)));
        subscriber.leave();
        world.connected(V5, "publisher").published(publish("s/t").qos(1));

        let mut subscriber = world.resume(V5, lasting("subscriber"));

        let named = publish("s/t").with(subscription_identifier(5));
        subscriber.expect(named.qos(1).with(subscription_identifier(6)));
    });
}

/// A Shared Subscription has a copy of its own, the others of a client have one together.
#[test]
fn v5_mqtt_3_3_4_5_each_of_several_copies_names_its_own_subscription() {
    everywhere(|world| {
        let mut subscriber = world.connected(V5, "subscriber");
        let shared = subscribe("$share/group/s/t");
        subscriber.subscribed(shared.with(subscription_identifier(1)));
        subscriber.subscribed(subscribe("$share/another/s/t"));
        subscriber.subscribed(subscribe("s/t").with(subscription_identifier(3)));

        world.connected(V5, "publisher").published(publish("s/t"));

        subscriber.expect_any_order(&[
            &publish("s/t").with(subscription_identifier(1)),
            &publish("s/t"),
            &publish("s/t").with(subscription_identifier(3)),
        ]);
        subscriber.expect_nothing();
    });
}

#[test]
fn v5_mqtt_3_3_4_6_a_subscription_identifier_from_a_client_is_a_protocol_error() {
    everywhere(|world| {
        let mut watcher = world.connected(V5, "watcher");
        watcher.subscribed(subscribe("t"));
        for qos in 0..=2 {
            let mut client = world.connected(V5, "c");

            client.send(publish("t").qos(qos).with(subscription_identifier(1)));

            client.ends(0x82);
        }
        watcher.expect_nothing();
    });
}

const RECEIVE_TWO: &str = "[session]\nreceive_maximum = 2\n";

#[test]
fn v5_mqtt_3_3_4_7_more_open_messages_than_the_receive_maximum_close_the_connection() {
    everywhere_with(RECEIVE_TWO, |world| {
        for qos in [1, 2] {
            let mut client = world.client(V5);
            client.send(connect("c"));
            client.expect(connack().with(receive_maximum(2)));
            for id in 1..=2 {
                client.send(publish("t").qos(2).id(id));
                client.expect(pubrec(id));
            }
            // QoS 0 is never open.
            client.published(publish("t").qos(0));

            client.send(publish("t").qos(qos).id(3));

            client.ends(0x93);
        }
    });
}

#[test]
fn v5_mqtt_3_3_4_7_a_message_is_open_until_its_last_acknowledgement() {
    everywhere_with(RECEIVE_TWO, |world| {
        let mut client = world.connect(V5, lasting("c"));
        client.send(publish("t").qos(2).id(1));
        client.expect(pubrec(1));

        // With one place left: PUBACK, PUBCOMP and a refusing PUBREC each give it back.
        for id in 2..5 {
            client.published(publish("t").qos(1).id(id));
            client.published(publish("t").qos(2).id(id));
            client.send(publish("$SYS/mine").qos(1).id(id));
            client.expect(puback(id).code(0x87));
            client.send(publish("$SYS/mine").qos(2).id(id));
            client.expect(pubrec(id).code(0x87));
        }

        client.send(publish("t").qos(2).id(5));
        client.expect(pubrec(5));
        client.send(publish("t").qos(2).id(6));
        client.ends(0x93);
        // A new connection begins to count anew.
        let mut client = world.resume(V5, lasting("c"));
        for id in [1, 7] {
            client.send(publish("t").qos(2).id(id));
            client.expect(pubrec(id));
        }
    });
}

/// 5.0 s3.3.4: clients before 5.0 were told of no limit, and may use each Packet Identifier.
#[test]
fn a_3_1_1_client_is_not_held_to_a_receive_maximum() {
    with_clock_and(RECEIVE_TWO, |world| {
        for version in [V31, V311] {
            let mut taker = world.connected(version, "taker");
            taker.subscribed(subscribe("t"));
            let mut client = world.connected(version, "c");

            for id in 1..=u16::MAX {
                client.send(publish("t").qos(2).id(id));
            }

            for id in 1..=u16::MAX {
                client.expect(pubrec(id));
                taker.expect(publish("t"));
            }
        }
    });
}

/// Not even after a reconnect, where everything unacknowledged is sent again.
#[test]
fn v5_mqtt_3_3_4_9_the_receive_maximum_is_that_of_the_connection() {
    everywhere(|world| {
        let mut subscriber = world.connect(V5, lasting("s").with(receive_maximum(3)));
        subscriber.subscribed(subscribe("t").qos(2));
        let mut publisher = world.connected(V5, "publisher");
        for number in ["1", "2", "3", "4"] {
            publisher.published(publish("t").qos(2).payload(number));
        }
        for number in ["1", "2", "3"] {
            subscriber.expect(publish("t").qos(2).payload(number));
        }
        subscriber.send(pubrec(2));
        subscriber.expect(pubrel(2));
        subscriber.cut();

        let mut subscriber = world.resume(V5, lasting("s").with(receive_maximum(1)));

        // PUBREL is no PUBLISH and does not wait [MQTT-3.3.4-10].
        subscriber.expect(pubrel(2));
        subscriber.expect(publish("t").qos(2).id(1).payload("1").dup());
        subscriber.expect_nothing();
        subscriber.send(pubcomp(2));
        subscriber.send(pubrec(1));
        subscriber.expect(pubrel(1));
        subscriber.expect_nothing();
        subscriber.send(pubcomp(1));
        subscriber.expect(publish("t").qos(2).id(3).payload("3").dup());
        subscriber.expect_nothing();
    });
}

/// 5.0 s3.1.2.11.3: without one it is 65,535, so that only the broker's own limit counts.
#[test]
fn v5_mqtt_3_3_4_9_a_client_that_names_no_receive_maximum_gets_everything() {
    everywhere_with("[session]\ninflight_max = 65535\n", |world| {
        for version in BOTH {
            let mut subscriber = world.connected(version, "subscriber");
            subscriber.subscribed(subscribe("t").qos(1));
            let mut publisher = world.connected(version, "publisher");

            for _ in 0..200 {
                publisher.published(publish("t").qos(1));
            }

            for id in 1..=200 {
                subscriber.expect(publish("t").qos(1).id(id));
            }
        }
    });
}
