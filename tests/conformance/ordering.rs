//! Message ordering (4.6).

use std::collections::BTreeMap;

use crate::vocabulary::*;

/// Also if the client answered some of those in between, and if it had time for a part of them only
/// [MQTT3-4.6.0-1] [MQTT3-4.6.0-6].
#[test]
fn v5_mqtt_4_6_0_1_messages_are_sent_again_in_their_first_order() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(version, "giver");
        for (number, qos) in [1, 2, 1, 1, 2, 2, 1].into_iter().enumerate() {
            giver.published(publish("a").qos(qos).payload(number.to_string()));
        }
        for number in 0..7 {
            assert_eq!(taker.message().number(), number);
        }
        taker.send(puback(4));
        taker.send(puback(1));
        taker.sync();

        for receive_max in [2, 3, 100] {
            taker.cut();
            let connect = lasting("taker").with(receive_maximum(receive_max));
            taker = world.resume(version, connect);

            let all = ["1", "2", "4", "5", "6"].into_iter().zip([2, 1, 2, 2, 1]);
            let room = if version == V5 { usize::from(receive_max) } else { 5 };
            for (payload, qos) in all.take(room) {
                taker.expect(publish("a").qos(qos).payload(payload).dup());
            }
            taker.expect_nothing();
        }
    });
}

/// On the connection on which they came, and on each that follows [MQTT3-4.6.0-4] [MQTT3-4.6.0-6].
#[test]
fn v5_mqtt_4_6_0_4_pubrels_follow_in_the_order_of_the_pubrecs() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(version, "giver");
        for id in 1..=7 {
            giver.published(publish("a").qos(2));
            taker.expect(publish("a").qos(2).id(id));
        }

        taker.send_all(&[&pubrec(3), &pubrec(1), &pubrec(5), &pubrec(2), &pubrec(4)]);

        for id in [3, 1, 5, 2, 4] {
            taker.expect(pubrel(id));
        }
        taker.send(pubcomp(5));
        taker.cut();
        let mut taker = world.resume(version, lasting("taker"));
        for id in [3, 1, 2, 4] {
            taker.expect(pubrel(id));
        }
        for id in [6, 7] {
            taker.expect(publish("a").qos(2).id(id).dup());
        }
        // A PUBREC that comes again is not a new one.
        for id in [7, 3, 6] {
            taker.send(pubrec(id));
            taker.expect(pubrel(id));
        }
        taker.send(pubcomp(1));
        taker.cut();
        let mut taker = world.resume(version, lasting("taker"));
        for id in [3, 2, 4, 7, 6] {
            taker.expect(pubrel(id));
        }
        taker.expect_nothing();
    });
}

/// Though the client takes few at once and is away for a while. Every topic is an ordered one,
/// whichever filter takes it [MQTT-4.6.0-6] [MQTT3-4.6.0-5] [MQTT3-4.6.0-6].
#[test]
fn v5_mqtt_4_6_0_5_messages_of_a_publisher_arrive_in_their_order() {
    const COUNT: u8 = 60;
    let topics = ["a", "a/b", "$device/c"];
    everywhere_with("[session]\ninflight_max = 3", |world| {
        for version in BOTH {
            let filters = subscribe("a/#").qos(2).and("$device/+").qos(2);
            let name = format!("{version:?}");
            let mut taker = Some(world.subscriber(version, &name, filters));
            let mut giver = world.connected(version, "giver");
            let mut sent: BTreeMap<(String, u8), Vec<u32>> = BTreeMap::new();
            for number in 0..COUNT {
                let (topic, qos) = (topics[usize::from(number) / 2 % 3], 1 + number % 2);
                giver.published(publish(topic).qos(qos).payload(number.to_string()));
                sent.entry((topic.to_owned(), qos)).or_default().push(number.into());
                if number == COUNT / 2 {
                    taker.take().expect("a connected client").cut();
                }
            }

            let mut taker = world.resume(version, lasting(&name));

            let mut came: BTreeMap<(String, u8), Vec<u32>> = BTreeMap::new();
            let mut open = COUNT;
            while open > 0 {
                match taker.next() {
                    Packet::PubRel { packet_id, .. } => {
                        taker.send(pubcomp(packet_id));
                        open -= 1;
                    }
                    Packet::Publish(message) => {
                        let number = message.number();
                        came.entry((message.topic, message.qos)).or_default().push(number);
                        if message.qos == 1 {
                            taker.send(puback(message.packet_id));
                            open -= 1;
                        } else {
                            taker.send(pubrec(message.packet_id));
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(came, sent);
            taker.expect_nothing();
        }
    });
}

/// [MQTT3-4.6.0-6]
#[test]
fn v5_mqtt_4_6_0_5_messages_of_qos_0_arrive_in_their_order() {
    everywhere_in_both(|world, version| {
        let mut taker = world.connected(version, "taker");
        taker.subscribed(subscribe("#").qos(2));
        let mut giver = world.connected(version, "giver");

        for number in 0..500 {
            giver.send(publish("a").payload(number.to_string()));
        }

        for number in 0..500 {
            taker.expect(publish("a").payload(number.to_string()));
        }
    });
}
