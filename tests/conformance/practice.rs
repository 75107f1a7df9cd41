//! What clients do in practice and brokers get wrong.

use crate::vocabulary::*;

/// One after the other, each exchange to its end: 5.0 s4.9.
#[test]
fn v5_mqtt_3_3_4_9_a_client_with_receive_maximum_1_gets_everything_one_by_one() {
    everywhere(|world| {
        let connect = lasting("taker").with(receive_maximum(1));
        let mut taker = world.connect(V5, connect.clone());
        taker.subscribed(subscribe("a").qos(2));
        let mut giver = world.connected(V5, "giver");
        for number in 0..20_u8 {
            giver.published(publish("a").qos(1 + number % 2).payload(number.to_string()));
        }
        giver.published(publish("b"));

        for number in 0..20_u8 {
            let message = publish("a").qos(1 + number % 2).payload(number.to_string());
            let id = taker.message().packet_id;
            taker.expect_nothing();
            if number % 3 == 0 {
                taker.cut();
                taker = world.resume(V5, connect.clone());
                taker.expect(message.id(id).dup());
                taker.expect_nothing();
            }
            if number % 2 == 0 {
                taker.send(puback(id));
            } else {
                taker.send(pubrec(id));
                taker.expect(pubrel(id));
                taker.expect_nothing();
                taker.send(pubcomp(id));
            }
        }
        taker.expect_nothing();
    });
}

/// Two that the client keeps open are passed over, at each turn of the ring [MQTT-2.2.1-4]
/// [MQTT3-2.3.1-4].
#[test]
fn v5_mqtt_4_3_2_1_packet_identifiers_wrap_past_those_in_flight() {
    with_clock_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        let mut giver = world.connected(version, "giver");
        for qos in [1, 2, 2] {
            giver.published(publish("a").qos(qos));
        }
        for (id, qos) in [(1, 1), (2, 2), (3, 2)] {
            taker.expect(publish("a").qos(qos).id(id));
        }
        taker.send(pubrec(3));
        taker.expect(pubrel(3));

        let ring = (4..=65_535).chain(4..=65_535).chain(4..=10);
        for id in ring {
            giver.send(publish("a").qos(1));
            giver.expect(puback(1));
            taker.expect(publish("a").qos(1).id(id));
            taker.send(puback(id));
        }

        taker.cut();
        let mut taker = world.resume(version, lasting("taker"));
        taker.expect(pubrel(3));
        taker.expect(publish("a").qos(1).id(1).dup());
        taker.expect(publish("a").qos(2).id(2).dup());
    });
}

/// Whatever was lost on the way: PUBREC, PUBREL or PUBCOMP [MQTT-4.3.3-10] [MQTT3-4.3.3-2].
#[test]
fn v5_mqtt_4_3_3_10_a_qos_2_exchange_is_finished_after_a_reconnect() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        let giver = || world.resume(version, lasting("giver"));
        let mut first = world.connect(version, lasting("giver"));
        first.send(publish("a").qos(2).id(7).payload("one"));
        first.expect(pubrec(7));
        first.cut();
        taker.expect(publish("a").qos(2).payload("one"));

        let mut second = giver();
        second.send(publish("a").qos(2).id(7).payload("one").dup());
        second.expect(pubrec(7).code(0));
        second.send(pubrel(7));
        second.expect(pubcomp(7).code(0));
        second.cut();
        // The client did not see PUBCOMP and sends PUBREL again (5.0 s3.7.2.1: 0x92 is no fault).
        let mut third = giver();
        third.send(pubrel(7));
        third.next();
        assert_eq!(third.last_bytes[..1], [0x70]);
        taker.expect_nothing();

        third.send(publish("a").qos(2).id(7).payload("two"));
        third.expect(pubrec(7).code(0));
        taker.expect(publish("a").qos(2).payload("two"));
    });
}

/// A clean Session knows nothing of what came before it: the same identifier is a new message.
#[test]
fn v5_mqtt_4_3_3_12_a_new_session_takes_a_known_identifier_for_a_new_message() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a").qos(2));
        for _ in 0..2 {
            let mut giver = world.connected(version, "giver");
            giver.send(publish("a").qos(2).id(7).dup());
            giver.expect(pubrec(7).code(0));
            taker.expect(publish("a").qos(2));
            giver.cut();
        }
    });
}

/// In both directions, without the old connection's knowing; nothing is lost or done twice.
#[test]
fn v5_mqtt_3_1_4_3_a_takeover_goes_on_with_what_was_in_flight() {
    everywhere_in_both(|world, version| {
        let mut old = world.subscriber(version, "client", subscribe("a").qos(2));
        let mut other = world.subscriber(version, "other", subscribe("b").qos(2));
        let mut giver = world.connected(version, "giver");
        for qos in [1, 2, 2] {
            giver.published(publish("a").qos(qos));
        }
        for (id, qos) in [(1, 1), (2, 2), (3, 2)] {
            old.expect(publish("a").qos(qos).id(id));
        }
        old.send(pubrec(3));
        old.expect(pubrel(3));
        old.send(publish("b").qos(2).id(9));
        old.expect(pubrec(9));
        other.expect(publish("b").qos(2));

        let mut new = world.resume(version, lasting("client"));

        old.ends(0x8E);
        new.expect(pubrel(3));
        new.expect(publish("a").qos(1).id(1).dup());
        new.expect(publish("a").qos(2).id(2).dup());
        new.send(pubcomp(3));
        new.send(puback(1));
        new.send(pubrec(2));
        new.expect(pubrel(2));
        new.send(pubcomp(2));
        new.send(publish("b").qos(2).id(9).dup());
        new.expect(pubrec(9).code(0));
        new.send(pubrel(9));
        new.expect(pubcomp(9).code(0));
        other.expect_nothing();
        new.cut();
        world.resume(version, lasting("client")).expect_nothing();
    });
}

/// Nothing of it is left to the new Session.
#[test]
fn v5_mqtt_3_1_4_3_a_takeover_with_clean_start_drops_what_was_in_flight() {
    everywhere_in_both(|world, version| {
        let mut old = world.subscriber(version, "client", subscribe("a").qos(2));
        let mut giver = world.connected(version, "giver");
        for qos in [1, 2] {
            giver.published(publish("a").qos(qos));
        }

        let mut new = world.connect(version, lasting("client").clean_start());

        new.expect_nothing();
        old.expect(publish("a").qos(1));
        old.expect(publish("a").qos(2));
        old.ends(0x8E);
        new.subscribed(subscribe("a").qos(2));
        giver.published(publish("a").qos(2));
        new.expect(publish("a").qos(2).id(1));
    });
}

/// PRODUCT: Sessions belong to Client Identifiers, whichever version they speak. What a version
/// does not know is left out [MQTT3-3.1.2-4] [MQTT3-3.1.2-5].
#[test]
fn v5_mqtt_3_1_2_5_a_session_is_resumed_by_a_client_of_another_version() {
    let versions = [V31, V311, V5];
    for before in versions {
        for after in versions {
            everywhere(|world| resumed_by_another_version(world, before, after));
        }
    }
}

fn resumed_by_another_version(world: &World, before: Version, after: Version) {
    eprintln!("{before:?}, then {after:?}");
    let mut old = world.subscriber(before, "taker", subscribe("a/+").qos(2));
    let mut giver = world.connected(V5, "giver");
    let message = |topic: &str, qos| {
        publish(topic).qos(qos).with(user_property("k", "v")).with(content_type("text"))
    };
    giver.published(message("a/1", 1));
    giver.published(message("a/2", 2));
    giver.published(message("a/3", 2));
    old.expect(message("a/1", 1).id(1));
    old.expect(message("a/2", 2).id(2));
    old.expect(message("a/3", 2).id(3));
    old.send(pubrec(2));
    old.expect(pubrel(2));
    old.cut();
    giver.published(message("a/4", 1));

    let mut new = world.client(after);
    new.send(lasting("taker"));

    // 3.1 reserves the byte that says it.
    new.expect(if after == V31 { connack() } else { connack().session_present() });
    new.expect(pubrel(2));
    new.expect(message("a/1", 1).id(1).dup());
    new.expect(message("a/3", 2).id(3).dup());
    new.expect(message("a/4", 1).id(4));
    giver.published(message("a/5", 0));
    new.expect(message("a/5", 0));
    new.send(unsubscribe("a/+"));
    new.expect(unsuback(1, &[0]));
}

/// 5.0 s3.1.2.11.2: from then on the Session lives as long as the last version says.
#[test]
fn v5_3_1_2_11_2_a_session_lives_as_its_last_connection_said() {
    with_clock_and("[session]\nexpiry_v3 = \"100s\"", |world| {
        let brief = || connect("taker").no_clean_start().with(session_expiry_interval(10));
        world.connect(V311, lasting("taker")).cut();
        world.resume(V5, brief()).cut();
        world.pass(9);
        world.resume(V311, lasting("taker")).cut();
        world.pass(99);
        world.resume(V5, brief()).cut();
        world.pass(10);
        world.connect(V311, lasting("taker")).cut();
        // Clean Start and Clean Session end it, whoever began it.
        world.connect(V5, brief().clean_start()).cut();
        world.connect(V311, connect("taker")).cut();
        world.connect(V5, brief()).leave();
    });
}

/// And what is left of an interval is told [MQTT-3.3.2-6]; a client that knows no intervals gets
/// none of those messages either.
#[test]
fn v5_mqtt_3_3_2_5_what_expired_in_the_queue_is_not_delivered() {
    with_clock_in_both(|world, version| {
        let mut giver = world.connected(V5, "giver");
        let message = |text: &str, qos, seconds| {
            publish("a").qos(qos).payload(text).with(message_expiry_interval(seconds))
        };
        world.subscriber(version, "away", subscribe("a").qos(2)).cut();
        for qos in [1, 2] {
            giver.published(message("short", qos, 5));
            giver.published(publish("a").qos(qos).payload("none"));
            giver.published(message("long", qos, 30));
        }

        world.pass(10);

        let mut away = world.resume(version, lasting("away"));
        for qos in [1, 2] {
            away.expect(publish("a").qos(qos).payload("none"));
            away.expect(message("long", qos, 20));
        }
        away.expect_nothing();
    });
}

/// PRODUCT: as many messages wait for who is away as the configuration says; then the newest is
/// refused and a 5.0 publisher told [MQTT-3.4.2-1] [MQTT-3.5.2-1]. QoS 0 does not wait
/// [MQTT3-3.1.2-5].
#[test]
fn v5_3_4_2_1_what_nobody_can_take_is_refused_with_0x97() {
    everywhere_with("[session]\nqueue_offline_messages_max = 3", |world| {
        for version in BOTH {
            let name = format!("{version:?}");
            world.subscriber(version, &name, subscribe(&name).qos(2)).cut();
            let mut giver = world.connected(version, "giver");
            for (number, code) in [(0, 0), (1, 0), (2, 0), (3, 0x97), (4, 0x97)] {
                let message = publish(&name).payload(number.to_string());
                giver.published(message.clone());
                giver.send(message.clone().qos(1));
                giver.expect(puback(1).code(if version == V5 { code } else { 0 }));
            }
            if version == V5 {
                giver.send(publish(&name).qos(2).id(9));
                giver.expect(pubrec(9).code(0x97));
            }

            let mut taker = world.resume(version, lasting(&name));

            for number in 0..3 {
                taker.expect(publish(&name).qos(1).payload(number.to_string()));
            }
            taker.expect_nothing();
        }
    });
}

/// PRODUCT: or the oldest give way, if the configuration says so.
#[test]
fn v5_3_4_2_1_a_full_queue_may_drop_its_oldest_messages() {
    let configuration =
        "[session]\nqueue_offline_messages_max = 3\nqueue_when_full = \"drop_oldest\"";
    everywhere_with(configuration, |world| {
        for version in BOTH {
            let name = format!("{version:?}");
            world.subscriber(version, &name, subscribe(&name).qos(2)).cut();
            let mut giver = world.connected(version, "giver");
            for number in 0..5 {
                giver.send(publish(&name).qos(1).payload(number.to_string()));
                giver.expect(puback(1).code(0));
            }

            let mut taker = world.resume(version, lasting(&name));

            for number in 2..5 {
                taker.expect(publish(&name).qos(1).payload(number.to_string()));
            }
            taker.expect_nothing();
        }
    });
}
