//! Session State: what is kept and how long (4.1); the connection it is kept for (4.2, and in 3.1.1
//! chapter 7).

use crate::vocabulary::*;

/// What a Session consists of: Subscriptions, what was not acknowledged in either direction, and
/// what was not sent yet.
#[test]
fn v311_mqtt_4_1_0_1_a_session_keeps_its_state_between_two_connections() {
    everywhere_in_both(|world, version| {
        let mut taker = world.subscriber(version, "taker", subscribe("a/+").qos(2));
        let mut other = world.subscriber(version, "other", subscribe("b").qos(2));
        let mut giver = world.connected(version, "giver");
        giver.published(publish("a/1").qos(1));
        giver.published(publish("a/2").qos(2));
        giver.published(publish("a/3").qos(2));
        taker.expect(publish("a/1").qos(1).id(1));
        taker.expect(publish("a/2").qos(2).id(2));
        taker.expect(publish("a/3").qos(2).id(3));
        taker.send(pubrec(2));
        taker.expect(pubrel(2));
        taker.send(publish("b").qos(2).id(9));
        taker.expect(pubrec(9));
        other.expect(publish("b").qos(2));
        taker.cut();
        giver.published(publish("a/4").qos(1));

        let mut taker = world.resume(version, lasting("taker"));

        taker.expect(pubrel(2));
        taker.expect(publish("a/1").qos(1).id(1).dup());
        taker.expect(publish("a/3").qos(2).id(3).dup());
        taker.expect(publish("a/4").qos(1));
        taker.send(publish("b").qos(2).id(9).dup());
        taker.expect(pubrec(9));
        other.expect_nothing();
        giver.published(publish("a/5").qos(1));
        taker.expect(publish("a/5").qos(1));
    });
}

/// It would be over long since, had its client gone, or not come back from an earlier absence
/// [MQTT3-4.1.0-2].
#[test]
fn v5_mqtt_4_1_0_1_no_session_ends_while_its_connection_is_open() {
    with_clock_and("[session]\nexpiry_v3 = \"10s\"", |world| {
        for version in BOTH {
            let brief = || connect("taker").no_clean_start().with(session_expiry_interval(10));
            world.connect(version, brief()).cut();
            world.pass(5);
            let mut taker = world.resume(version, brief());
            taker.subscribed(subscribe("a").qos(1));
            let mut clean = world.connected(version, "clean");
            clean.subscribed(subscribe("a").qos(1));
            let mut giver = world.connected(version, "giver");
            giver.published(publish("a").qos(1));
            taker.expect(publish("a").qos(1).id(1));
            clean.expect(publish("a").qos(1).id(1));

            world.pass(1_000);

            giver.published(publish("a").qos(1).payload("later"));
            clean.expect(publish("a").qos(1).payload("later"));
            taker.expect(publish("a").qos(1).id(2).payload("later"));
            let mut again = world.resume(version, brief());
            taker.ends(0x8E);
            again.expect(publish("a").qos(1).id(1).dup());
            again.expect(publish("a").qos(1).id(2).dup().payload("later"));
            again.cut();
            world.pass(10);
        }
    });
}

#[test]
fn v5_mqtt_4_1_0_2_a_session_is_dropped_when_its_expiry_interval_is_over() {
    with_clock(|world| {
        let brief = || connect("taker").no_clean_start().with(session_expiry_interval(10));
        let mut taker = world.connect(V5, brief());
        taker.subscribed(subscribe("a").qos(1));
        let mut giver = world.connected(V5, "giver");
        taker.cut();
        world.pass(9);
        giver.published(publish("a").qos(1));
        let mut taker = world.resume(V5, brief());
        taker.expect(publish("a").qos(1));

        taker.cut();
        world.pass(10);

        giver.send(publish("a").qos(1));
        giver.expect(puback(1).code(0x10));
        let mut taker = world.connect(V5, brief());
        taker.expect_nothing();
        giver.send(publish("a").qos(1));
        giver.expect(puback(1).code(0x10));
        taker.expect_nothing();
    });
}

/// TCP carries bytes in order and without loss, in whatever pieces [MQTT3-7.1.1-1].
#[test]
fn v5_mqtt_4_2_0_1_tcp_carries_all_packets_in_order() {
    const COUNT: u32 = 500;
    really(|world| {
        for version in BOTH {
            let mut taker = world.connected(version, "taker");
            taker.subscribed(subscribe("a").qos(1));
            let mut giver = world.connected(version, "giver");
            giver.send(raw([0xC0]));
            taker.sync();
            giver.send(raw([0x00, 0xC0]));
            giver.expect(pingresp());
            giver.send(raw([0x00]));
            giver.expect(pingresp());

            for number in 0..COUNT {
                let payload = format!("{number:02000}");
                giver.send(publish("a").qos(1).id(1).payload(payload));
            }

            for number in 0..COUNT {
                let message = taker.message();
                assert_eq!((message.number(), message.payload.len()), (number, 2_000));
                taker.send(puback(message.packet_id));
                giver.expect(puback(1));
            }
        }
    });
}

/// Each byte is one that the standard names.
#[test]
fn v311_mqtt_7_0_0_2_a_client_needs_nothing_but_the_standard() {
    everywhere(|world| {
        let mut client = world.client(V311);
        let dialogue: [(&[u8], &[u8]); 10] = [
            // CONNECT with Clean Session and nothing else.
            (b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01c", b"\x20\x02\x00\x00"),
            (b"\x82\x06\x00\x01\x00\x01a\x02", b"\x90\x03\x00\x01\x02"),
            (b"\x30\x04\x00\x01a0", b"\x30\x04\x00\x01a0"),
            (b"\x32\x06\x00\x01b\x00\x021", b"\x40\x02\x00\x02"),
            (b"\x34\x06\x00\x01b\x00\x032", b"\x50\x02\x00\x03"),
            (b"\x62\x02\x00\x03", b"\x70\x02\x00\x03"),
            (b"\x34\x06\x00\x01a\x00\x043", b"\x34\x06\x00\x01a\x00\x013"),
            (b"\x50\x02\x00\x01", b"\x50\x02\x00\x04"),
            (b"\xA2\x05\x00\x05\x00\x01a", b"\x62\x02\x00\x01"),
            (b"\xC0\x00", b"\xB0\x02\x00\x05"),
        ];
        for (said, answer) in dialogue {
            client.send(raw(said));
            client.next();
            assert_eq!(client.last_bytes, answer, "to {said:02x?}");
        }
        client.expect(pingresp());
        client.send(raw(*b"\xE0\x00"));
        client.closes();
    });
}
