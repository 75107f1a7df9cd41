//! What each Quality of Service means: identifiers, acknowledgements, resending, receipt (4.3 to
//! 4.5).

use std::collections::BTreeSet;

use crate::vocabulary::*;

/// [MQTT3-4.3.1-1]
#[test]
fn v5_mqtt_4_3_1_1_qos_0_goes_out_once_without_dup_and_waits_for_no_answer() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(0));
        let mut giver = world.connected(version, "giver");

        giver.published(publish("a").qos(1).dup());
        giver.published(publish("a").qos(0));

        for _ in 0..2 {
            taker.expect(publish("a").qos(0));
            assert_eq!(taker.last_bytes[0], 0x30);
        }
        taker.cut();
        let mut taker = world.resume(version, lasting("taker"));
        taker.expect_nothing();
    });
}

/// [MQTT3-4.3.2-1] [MQTT3-4.3.3-1], and of QoS 2 [MQTT-4.3.3-1].
#[test]
fn v5_mqtt_4_3_2_1_each_new_message_has_an_identifier_that_is_not_in_use() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(version, "giver");
        for number in 0..60 {
            giver.published(publish("a").qos(1 + number % 2));
        }
        let mut in_use = BTreeSet::new();
        for number in 0..60 {
            let message = taker.message();
            assert_eq!(message.qos, 1 + number % 2);
            assert!(in_use.insert(message.packet_id), "{} twice", message.packet_id);
        }
        // What the client has received is in use until PUBCOMP.
        let released: Vec<u16> = in_use.iter().copied().filter(|id| id % 2 == 0).collect();
        for id in released {
            taker.send(pubrec(id));
            taker.expect(pubrel(id));
        }
        let first = *in_use.first().expect("an identifier");
        taker.send(puback(first));
        in_use.remove(&first);

        giver.published(publish("a").qos(1));
        giver.published(publish("a").qos(2));

        for _ in 0..2 {
            let id = taker.message().packet_id;
            assert!(in_use.insert(id), "{id} is in use");
        }
    });
}

/// Whether the publisher sent it for the first time does not matter [MQTT3-4.3.2-1].
#[test]
fn v5_mqtt_4_3_2_2_qos_1_begins_with_an_identifier_and_without_dup() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(1));
        let mut giver = world.connected(version, "giver");

        giver.published(publish("a").qos(1).id(9).dup());

        taker.expect(publish("a").qos(1).id(1));
        assert_eq!(taker.last_bytes[0], 0x32);
    });
}

/// [MQTT3-4.3.2-1]
#[test]
fn v5_mqtt_4_3_2_3_qos_1_is_unacknowledged_until_its_puback() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(1));
        let mut giver = world.connected(version, "giver");
        giver.published(publish("a").qos(1));
        taker.expect(publish("a").qos(1).id(1));
        for _ in 0..2 {
            taker.cut();
            taker = world.resume(version, lasting("taker"));
            taker.expect(publish("a").qos(1).id(1).dup());
        }

        taker.send(puback(1));
        taker.sync();

        taker.cut();
        taker = world.resume(version, lasting("taker"));
        taker.expect_nothing();
    });
}

/// Its publisher need not stay for it to arrive [MQTT3-4.3.2-2].
#[test]
fn v5_mqtt_4_3_2_4_qos_1_is_answered_by_a_puback_once_the_broker_has_it() {
    everywhere_in_both(|world, version| {
        world.subscriber(version, "taker", subscribe("a").qos(1)).cut();
        let mut giver = world.connected(version, "giver");

        giver.send(publish("a").qos(1).id(0xABCD));

        giver.expect(puback(0xABCD).code(0));
        assert_eq!(giver.last_bytes, [0x40, 2, 0xAB, 0xCD]);
        giver.cut();
        let mut taker = world.resume(version, lasting("taker"));
        taker.expect(publish("a").qos(1));
    });
}

/// [MQTT3-4.3.2-2]
#[test]
fn v5_mqtt_4_3_2_5_after_its_puback_an_identifier_means_a_new_message_whatever_its_dup() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(1));
        let mut giver = world.connected(version, "giver");
        giver.published(publish("a").qos(1).id(7));

        giver.published(publish("a").qos(1).id(7).dup());
        giver.published(publish("a").qos(1).id(7));

        for id in 1..=3 {
            taker.expect(publish("a").qos(1).id(id));
        }
    });
}

/// A message of QoS 1 has none of those that are in use by QoS 2 [MQTT3-4.3.3-1].
#[test]
fn v5_mqtt_4_3_3_1_no_identifier_is_used_again_before_pubcomp() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(version, "giver");
        for _ in 0..3 {
            giver.published(publish("a").qos(2));
        }
        for id in 1..=3 {
            taker.expect(publish("a").qos(2).id(id));
        }
        taker.send(pubrec(2));
        taker.expect(pubrel(2));
        taker.cut();
        let mut taker = world.resume(version, lasting("taker"));
        taker.expect(pubrel(2));
        taker.expect(publish("a").qos(2).id(1).dup());
        taker.expect(publish("a").qos(2).id(3).dup());

        giver.published(publish("a").qos(2).payload("new"));

        taker.expect(publish("a").qos(2).id(4).payload("new"));
    });
}

/// [MQTT3-4.3.3-1]
#[test]
fn v5_mqtt_4_3_3_2_qos_2_begins_with_an_identifier_and_without_dup() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(version, "giver");

        giver.published(publish("a").qos(2).id(9).dup());

        taker.expect(publish("a").qos(2).id(1));
        assert_eq!(taker.last_bytes[0], 0x34);
    });
}

/// [MQTT3-4.3.3-1]
#[test]
fn v5_mqtt_4_3_3_3_qos_2_is_unacknowledged_until_its_pubrec() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(version, "giver");
        giver.published(publish("a").qos(2));
        taker.expect(publish("a").qos(2).id(1));
        for _ in 0..2 {
            taker.cut();
            taker = world.resume(version, lasting("taker"));
            taker.expect(publish("a").qos(2).id(1).dup());
        }

        taker.send(pubrec(1));

        taker.expect(pubrel(1));
        taker.cut();
        let mut taker = world.resume(version, lasting("taker"));
        taker.expect(pubrel(1));
        taker.expect_nothing();
    });
}

/// [MQTT3-4.3.3-1]
#[test]
fn v5_mqtt_4_3_3_4_a_pubrec_is_answered_by_a_pubrel_unless_it_refuses() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(version, "giver");
        for _ in 0..2 {
            giver.published(publish("a").qos(2));
        }
        taker.expect(publish("a").qos(2).id(1));
        taker.expect(publish("a").qos(2).id(2));

        taker.send(pubrec(2));

        taker.expect(pubrel(2));
        assert_eq!(taker.last_bytes, [0x62, 2, 0, 2]);
        if version == V5 {
            taker.send(pubrec(1).code(0x83));
            taker.expect_nothing();
        }
    });
}

/// [MQTT3-4.3.3-1]
#[test]
fn v5_mqtt_4_3_3_5_a_pubrel_is_unacknowledged_until_its_pubcomp() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(version, "giver");
        giver.published(publish("a").qos(2));
        taker.expect(publish("a").qos(2).id(1));
        taker.send(pubrec(1));
        taker.expect(pubrel(1));
        for _ in 0..2 {
            taker.cut();
            taker = world.resume(version, lasting("taker"));
            taker.expect(pubrel(1));
        }

        taker.send(pubcomp(1));
        taker.sync();

        taker.cut();
        let mut taker = world.resume(version, lasting("taker"));
        taker.expect_nothing();
    });
}

/// Not even if PUBREC comes again [MQTT3-4.3.3-1].
#[test]
fn v5_mqtt_4_3_3_6_no_publish_is_sent_after_its_pubrel() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(version, "giver");
        giver.published(publish("a").qos(2));
        taker.expect(publish("a").qos(2).id(1));
        taker.send(pubrec(1));
        taker.expect(pubrel(1));

        taker.send(pubrec(1));
        taker.expect(pubrel(1));
        taker.cut();

        let mut taker = world.resume(version, lasting("taker"));
        taker.expect(pubrel(1));
        taker.send(pubrec(1));
        taker.expect(pubrel(1));
        taker.expect_nothing();
    });
}

#[test]
fn v5_mqtt_4_3_3_7_once_sent_a_message_goes_on_though_it_has_expired() {
    with_clock(|world| {
        let mut taker = world.subscriber(V5, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(V5, "giver");
        for _ in 0..2 {
            giver.published(publish("a").qos(2).with(message_expiry_interval(5)));
        }
        taker.expect(publish("a").qos(2).id(1).with(message_expiry_interval(5)));
        taker.expect(publish("a").qos(2).id(2).with(message_expiry_interval(5)));

        world.pass(10);

        taker.send(pubrec(1));
        taker.expect(pubrel(1));
        taker.cut();
        let mut taker = world.resume(V5, lasting("taker"));
        taker.expect(pubrel(1));
        taker.expect(publish("a").qos(2).id(2).dup().with(message_expiry_interval(0)));
        taker.send(pubrec(2));
        taker.expect(pubrel(2));
    });
}

/// Its publisher need not stay for it to arrive [MQTT3-4.3.3-2].
#[test]
fn v5_mqtt_4_3_3_8_qos_2_is_answered_by_a_pubrec_once_the_broker_has_it() {
    everywhere_in_both(|world, version| {
        world.subscriber(version, "taker", subscribe("a").qos(2)).cut();
        let mut giver = world.connected(version, "giver");

        giver.send(publish("a").qos(2).id(0xABCD));

        giver.expect(pubrec(0xABCD).code(0));
        assert_eq!(giver.last_bytes, [0x50, 2, 0xAB, 0xCD]);
        giver.cut();
        let mut taker = world.resume(version, lasting("taker"));
        taker.expect(publish("a").qos(2));
    });
}

#[test]
fn v5_mqtt_4_3_3_9_after_a_refusing_pubrec_an_identifier_means_a_new_message() {
    everywhere(|world| {
        let mut taker = world.subscriber(V5, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(V5, "giver");
        giver.send(publish("$SYS/a").qos(2).id(7));
        giver.expect(pubrec(7).code(0x87));

        giver.send(publish("a").qos(2).id(7));

        giver.expect(pubrec(7).code(0));
        taker.expect(publish("a").qos(2));
    });
}

/// [MQTT3-4.3.3-2]
#[test]
fn v5_mqtt_4_3_3_10_until_pubrel_a_repeat_is_answered_and_not_delivered() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        let mut giver = world.connect(version, lasting("giver"));
        giver.send(publish("a").qos(2).id(7));
        giver.expect(pubrec(7));

        giver.send(publish("a").qos(2).id(7).dup());
        giver.expect(pubrec(7).code(0));
        giver.send(publish("a").qos(2).id(7));
        giver.expect(pubrec(7).code(0));
        giver.cut();
        let mut giver = world.resume(version, lasting("giver"));
        giver.send(publish("a").qos(2).id(7).dup());
        giver.expect(pubrec(7).code(0));

        taker.expect(publish("a").qos(2));
        taker.expect_nothing();
    });
}

/// [MQTT3-4.3.3-2]
#[test]
fn v5_mqtt_4_3_3_11_a_pubrel_is_answered_by_a_pubcomp() {
    everywhere_in_both(|world, version| {
        let mut giver = world.connected(version, "giver");
        for id in [0xABCD, 7] {
            giver.send(publish("a").qos(2).id(id));
            giver.expect(pubrec(id));
        }

        giver.send(pubrel(0xABCD));

        giver.expect(pubcomp(0xABCD).code(0));
        assert_eq!(giver.last_bytes, [0x70, 2, 0xAB, 0xCD]);
        giver.expect_nothing();
    });
}

/// [MQTT3-4.3.3-2]
#[test]
fn v5_mqtt_4_3_3_12_after_its_pubcomp_an_identifier_means_a_new_message_whatever_its_dup() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(version, "giver");
        giver.published(publish("a").qos(2).id(7));

        giver.published(publish("a").qos(2).id(7).dup());
        giver.published(publish("a").qos(2).id(7));

        for id in 1..=3 {
            taker.expect(publish("a").qos(2).id(id));
        }
    });
}

#[test]
fn v5_mqtt_4_3_3_13_acknowledgements_go_on_though_the_message_has_expired() {
    with_clock(|world| {
        let mut taker = world.subscriber(V5, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(V5, "giver");
        let message = || publish("a").qos(2).id(7).with(message_expiry_interval(5));
        giver.send(message());
        giver.expect(pubrec(7).code(0));
        taker.expect(message().id(1));

        world.pass(10);

        giver.send(message().dup());
        giver.expect(pubrec(7).code(0));
        giver.send(pubrel(7));
        giver.expect(pubcomp(7).code(0));
        taker.expect_nothing();
    });
}

/// Under the old identifiers [MQTT3-4.4.0-1].
#[test]
fn v5_mqtt_4_4_0_1_what_is_unacknowledged_is_sent_again_at_a_reconnect() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(version, "giver");
        for (number, qos) in [1, 2, 2, 1, 2].into_iter().enumerate() {
            giver.published(publish("a").qos(qos).payload(number.to_string()));
            taker.message();
        }
        taker.send(pubrec(3));
        taker.expect(pubrel(3));
        taker.send(puback(4));
        taker.sync();
        taker.cut();

        let mut taker = world.resume(version, lasting("taker"));

        taker.expect(pubrel(3));
        taker.expect(publish("a").qos(1).id(1).payload("0").dup());
        taker.expect(publish("a").qos(2).id(2).payload("1").dup());
        taker.expect(publish("a").qos(2).id(5).payload("4").dup());
        taker.expect_nothing();
    });
}

/// 3.1.1 would allow it.
#[test]
fn v5_mqtt_4_4_0_1_nothing_is_sent_again_on_a_connection_that_lasts() {
    with_clock_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(version, "giver");
        for qos in [1, 2, 2] {
            giver.published(publish("a").qos(qos));
            taker.message();
        }
        taker.send(pubrec(3));
        taker.expect(pubrel(3));

        world.pass(3_600);

        taker.expect_nothing();
    });
}

#[test]
fn v5_mqtt_4_4_0_2_a_message_that_was_refused_is_not_sent_again() {
    everywhere(|world| {
        let mut taker = world.subscriber(V5, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(V5, "giver");
        for qos in [1, 2, 1] {
            giver.published(publish("a").qos(qos));
            taker.message();
        }

        taker.send(puback(1).code(0x80));
        taker.send(pubrec(2).code(0x97));
        taker.sync();
        taker.cut();

        let mut taker = world.resume(V5, lasting("taker"));
        taker.expect(publish("a").qos(1).id(3).dup());
        taker.expect_nothing();
    });
}

/// Connected or away, by whichever filter [MQTT3-4.5.0-1].
#[test]
fn v5_mqtt_4_5_0_1_a_message_goes_into_the_session_of_each_matching_client() {
    everywhere_in_both(|world, version| {
        let filters = ["a/b", "a/+", "a/#", "#", "+/b"];
        let mut takers: Vec<Client> = filters
            .iter()
            .map(|filter| world.subscriber(version, filter, subscribe(filter).qos(2)))
            .collect();
        let mut other = world.subscriber(version, "other", subscribe("a/c").qos(2));
        let mut giver = world.connected(version, "giver");
        takers.pop().expect("the last").cut();
        takers.pop().expect("one before").leave();

        for qos in [1, 2] {
            giver.published(publish("a/b").qos(qos));
        }

        takers.push(world.resume(version, lasting("#")));
        takers.push(world.resume(version, lasting("+/b")));
        for taker in &mut takers {
            taker.expect(publish("a/b").qos(1));
            taker.expect(publish("a/b").qos(2));
        }
        other.expect_nothing();
    });
}
