//! Flow control (4.9): the send quota of the server, and what it does not hold back.

use crate::vocabulary::*;

/// A client with a Session that lasts and this Receive Maximum, subscribed to everything.
fn taker(world: &World, receive_max: u16) -> Client {
    let connect = lasting("taker").with(receive_maximum(receive_max));
    let mut taker = world.connect(V5, connect);
    taker.subscribed(subscribe("#").qos(2));
    taker
}

/// How many messages come before the first acknowledgement, each marked with its number.
#[track_caller]
fn come(taker: &mut Client) -> u32 {
    taker.send(pingreq());
    let mut count = 0;
    loop {
        match taker.next() {
            Packet::PingResp => return count,
            Packet::Publish(message) => assert_eq!(message.number(), count),
            other => panic!("{other:?}"),
        }
        count += 1;
    }
}

/// PRODUCT: 64 by default, and never more than the client's Receive Maximum, which is 65,535 if it
/// names none.
#[test]
fn v5_mqtt_4_9_0_1_the_quota_begins_with_the_receive_maximum_or_less() {
    everywhere(|world| {
        for (receive_max, quota) in
            [(Some(1), 1), (Some(3), 3), (Some(64), 64), (Some(65_535), 64), (None, 64)]
        {
            let connect = connect("taker");
            let connect = match receive_max {
                Some(receive_max) => connect.with(receive_maximum(receive_max)),
                None => connect,
            };
            let mut taker = world.connect(V5, connect);
            taker.subscribed(subscribe("a").qos(2));
            let mut giver = world.connected(V5, "giver");
            for number in 0..70_u8 {
                giver.published(publish("a").qos(1 + number % 2).payload(number.to_string()));
            }

            assert_eq!(come(&mut taker), quota);
        }
    });
}

/// 5.0 s4.9: neither is kept between two connections, the new one begins anew.
#[test]
fn v5_mqtt_4_9_0_1_each_connection_begins_with_its_own_quota() {
    everywhere(|world| {
        let mut first = taker(world, 3);
        let mut giver = world.connected(V5, "giver");
        for number in 0..70_u8 {
            giver.published(publish("a").qos(1 + number % 2).payload(number.to_string()));
        }
        assert_eq!(come(&mut first), 3);

        for (receive_max, quota) in [(2, 2), (5, 5), (65_535, 64)] {
            let connect = lasting("taker").with(receive_maximum(receive_max));
            let mut taker = world.resume(V5, connect);
            assert_eq!(come(&mut taker), quota);
        }
    });
}

/// QoS 0 goes on. PUBACK, PUBCOMP and a PUBREC of 0x80 or above make room for one, a PUBREC that
/// goes on does not [MQTT-3.3.4-9].
#[test]
fn v5_mqtt_4_9_0_2_at_quota_zero_only_qos_0_is_sent() {
    everywhere(|world| {
        let mut taker = taker(world, 3);
        let mut giver = world.connected(V5, "giver");
        for (number, qos) in [1, 2, 2, 1, 2, 1, 1].into_iter().enumerate() {
            giver.published(publish("a").qos(qos).payload(number.to_string()));
        }
        giver.published(publish("b").qos(0));

        taker.expect(publish("a").qos(1).id(1).payload("0"));
        taker.expect(publish("a").qos(2).id(2).payload("1"));
        taker.expect(publish("a").qos(2).id(3).payload("2"));
        taker.expect(publish("b").qos(0));
        taker.expect_nothing();
        taker.send(pubrec(2));
        taker.expect(pubrel(2));
        taker.expect_nothing();
        taker.send(pubcomp(2));
        taker.expect(publish("a").qos(1).id(4).payload("3"));
        taker.expect_nothing();
        taker.send(puback(1));
        taker.expect(publish("a").qos(2).id(5).payload("4"));
        taker.expect_nothing();
        taker.send(pubrec(3).code(0x80));
        taker.expect(publish("a").qos(1).id(6).payload("5"));
        taker.expect_nothing();
        taker.send(puback(6).code(0x97));
        taker.expect(publish("a").qos(1).id(7).payload("6"));
        // 5.0 s4.9: what ends nothing makes no room.
        giver.published(publish("a").qos(1).payload("7"));
        taker.send(puback(6));
        taker.expect_nothing();
    });
}

/// Nor are they held back [MQTT-3.3.4-10].
#[test]
fn v5_mqtt_4_9_0_3_at_quota_zero_all_other_packets_are_answered() {
    everywhere(|world| {
        let mut taker = taker(world, 2);
        let mut giver = world.connected(V5, "giver");
        for qos in [1, 2, 1] {
            giver.published(publish("a").qos(qos));
        }
        taker.expect(publish("a").qos(1).id(1));
        taker.expect(publish("a").qos(2).id(2));

        taker.send(subscribe("b").qos(1).id(10));
        taker.expect(suback(10, &[1]));
        taker.send(unsubscribe("b").id(11));
        taker.expect(unsuback(11, &[0]));
        taker.published(publish("$device/c").qos(1).id(9));
        taker.published(publish("$device/c").qos(2).id(9));
        taker.send(publish("$SYS/c").qos(1).id(12));
        taker.expect(puback(12).code(0x87));
        taker.send(publish("$SYS/c").qos(2).id(13));
        taker.expect(pubrec(13).code(0x87));
        taker.send(pubrel(13));
        taker.expect(pubcomp(13).code(0x92));
        taker.send(pubrec(2));
        taker.expect(pubrel(2));
        taker.send(pingreq());
        taker.expect(pingresp());
    });
}

/// The PUBRELs of an earlier connection wait for nobody, though PUBLISH packets that were sent
/// before them do [MQTT-3.3.4-10].
#[test]
fn v5_mqtt_4_9_0_3_a_pubrel_is_sent_again_at_quota_zero() {
    everywhere(|world| {
        let mut first = taker(world, 4);
        let mut giver = world.connected(V5, "giver");
        for (id, qos) in [(1, 1), (2, 1), (3, 2), (4, 2)] {
            giver.published(publish("a").qos(qos));
            first.expect(publish("a").qos(qos).id(id));
        }
        for id in [3, 4] {
            first.send(pubrec(id));
            first.expect(pubrel(id));
        }
        first.cut();

        let mut again = world.resume(V5, lasting("taker").with(receive_maximum(1)));

        again.expect_any_order(&[&publish("a").qos(1).id(1).dup(), &pubrel(3), &pubrel(4)]);
        again.expect_nothing();
        again.send(puback(1));
        again.expect(publish("a").qos(1).id(2).dup());
    });
}
