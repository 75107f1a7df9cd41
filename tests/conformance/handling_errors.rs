//! Handling errors (4.13, in 3.1.1 4.8).

use crate::vocabulary::said::Said;
use crate::vocabulary::*;

/// A broker that leaves out what a listener may leave out.
const NARROW: &str = "\
[[listener]]
name = \"narrow\"
address = \"127.0.0.1:0\"
anonymous = true
qos_max = 1
retain = false
wildcards = false
shared = false
subscription_ids = false
[limits]
packet_bytes_max = \"1 KiB\"
topic_aliases_in_max = 3
";

/// A neighbour that gets all messages to `a` and sees nothing else.
fn witness(world: &World, version: Version) -> Client {
    let mut witness = world.connected(version, "witness");
    witness.subscribed(subscribe("a").qos(1));
    witness
}

/// Nothing of what broke the rules is carried out; the Sessions of others go on [MQTT-4.13.2-1].
#[test]
fn v5_mqtt_4_13_1_1_an_error_with_a_code_closes_the_connection() {
    let second = connect("offender");
    let cases: [(u8, &dyn Said); 16] = [
        // Malformed Packet: QoS 3, wrong bits of a fixed header, more than four bytes of length.
        (0x81, &raw(*b"\x36\x07\x00\x01a\x00\x01\x00x")),
        (0x81, &raw(*b"\x80\x07\x00\x01\x00\x00\x01a\x00")),
        (0x81, &raw(*b"\x30\x80\x80\x80\x80\x01")),
        // Protocol Error.
        (0x82, &second),
        (0x82, &raw(*b"\x82\x03\x00\x01\x00")),
        (0x82, &subscribe("b").qos(3)),
        (0x82, &subscribe("b").with(subscription_identifier(0))),
        (0x82, &publish("a").with(subscription_identifier(1))),
        (0x90, &publish("a/+")),
        (0x94, &publish("a").with(topic_alias(4))),
        (0x95, &publish("a").payload([0; 1_024])),
        (0x9A, &publish("a").retain()),
        (0x9B, &publish("a").qos(2)),
        (0x9E, &subscribe("$share/g/b")),
        (0xA1, &subscribe("b").with(subscription_identifier(1))),
        (0xA2, &subscribe("b/#")),
    ];
    everywhere_with(NARROW, |world| {
        let mut witness = witness(world, V5);
        for (code, said) in cases {
            let mut client = world.connected(V5, "offender");
            client.send_all(&[&publish("a"), said, &publish("a").payload("not read")]);
            client.ends(code);
            witness.expect(publish("a"));
        }
        witness.expect_nothing();
    });
}

/// Nor is the part of it that stands before the error: the Session that goes on has no Subscription
/// of a SUBSCRIBE that was not answered.
#[test]
fn v5_mqtt_4_13_1_1_nothing_of_a_packet_with_an_error_is_carried_out() {
    let narrow = listener("wildcards = false");
    let cases = [
        ("", 0x82, subscribe("b").qos(1).and("$share/g/a").no_local()),
        ("", 0x82, subscribe("b").qos(1).and("a").qos(3)),
        ("", 0x81, subscribe("b").qos(1).and("a").option(0x40)),
        (&narrow, 0xA2, subscribe("b").qos(1).and("a/#")),
    ];
    for (configuration, code, with_an_error) in cases {
        everywhere_with(configuration, |world| {
            let mut client = world.connect(V5, lasting("offender"));
            client.send(with_an_error.clone());
            client.ends(code);

            let mut client = world.resume(V5, lasting("offender"));

            client.published(publish("b").qos(1));
            client.expect_nothing();
        });
    }
}

/// 5.0 s4.13.1: CONNACK says what is wrong with CONNECT.
#[test]
fn v5_mqtt_4_13_1_1_an_error_in_connect_is_told_in_connack() {
    let cases = [
        (0x81, connect("c").toggle_flags(0x01)),
        (0x82, connect("c").with(receive_maximum(0))),
        (0x82, connect("c").with(maximum_packet_size(0))),
        (0x82, connect("c").with(authentication_data(b"x"))),
        (0x84, connect("c").protocol("MQTT", 6)),
        (0x85, connect(&"c".repeat(1_025))),
        (0x90, connect("c").will(Will::new("a/+", "gone"))),
        (0x95, connect("c").username(&"u".repeat(2_000))),
        (0x9A, connect("c").will(Will::new("a", "gone").retained())),
        (0x9B, connect("c").will(Will::new("a", "gone").qos(2))),
    ];
    let packets_of_2000_bytes = NARROW.replace("1 KiB", "2000");
    everywhere_with(&packets_of_2000_bytes, |world| {
        let mut witness = witness(world, V5);
        for (code, connect) in &cases {
            let mut client = world.client(V5);
            client.send_all(&[connect, &publish("a")]);
            client.refused(*code);
        }
        witness.expect_nothing();
    });
}

/// The client said that it takes no packet so large [MQTT-3.1.2-24].
#[test]
fn v5_mqtt_4_13_2_1_a_connection_is_closed_though_its_connack_cannot_be_sent() {
    everywhere(|world| {
        let mut witness = witness(world, V5);
        let too_small = || connect("c").with(maximum_packet_size(4));
        for connect in [too_small(), too_small().will(Will::new("a/#", "gone"))] {
            let mut client = world.client(V5);
            client.send_all(&[&connect, &publish("a")]);
            client.closes();
        }
        witness.expect_nothing();
    });
}

/// The client says it: the broker closes without an answer.
#[test]
fn v5_mqtt_4_13_2_1_a_disconnect_with_an_error_closes_the_connection() {
    everywhere(|world| {
        let mut witness = witness(world, V5);
        for code in [0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99] {
            let mut client = world.connected(V5, "client");
            client.send_all(&[&disconnect().code(code), &publish("a")]);
            client.closes();
        }
        witness.expect_nothing();
    });
}

/// The Session that outlives it is not touched, nor are others [MQTT-4.13.2-1].
#[test]
fn v311_mqtt_4_8_0_1_a_protocol_violation_closes_its_connection() {
    let second = connect("offender");
    let cases: [&dyn Said; 16] = [
        &raw(*b"\x36\x06\x00\x01a\x00\x01x"),
        &raw(*b"\x30\x80\x80\x80\x80\x01"),
        &raw(*b"\x80\x06\x00\x01\x00\x01a\x00"),
        &raw(*b"\x82\x02\x00\x01"),
        &raw(*b"\x82\x06\x00\x01\x00\x01a\x03"),
        &raw(*b"\xA2\x02\x00\x01"),
        &raw(*b"\x60\x02\x00\x01"),
        &raw(*b"\xC1\x00"),
        &raw(*b"\xC0\x01\x00"),
        &raw(*b"\xE1\x00"),
        &raw(*b"\x00\x00"),
        &raw(*b"\xF0\x00"),
        &second,
        &connack(),
        &publish("a/#"),
        &publish("a").dup(),
    ];
    everywhere(|world| {
        let mut witness = witness(world, V311);
        world.subscriber(V311, "offender", subscribe("b").qos(1)).leave();
        for said in cases {
            let mut client = world.resume(V311, lasting("offender"));
            client.send_all(&[&publish("a"), said, &publish("a").payload("not read")]);
            client.closes();
            witness.expect(publish("a"));
        }
        witness.published(publish("b").qos(1));
        let mut client = world.resume(V311, lasting("offender"));
        client.expect(publish("b").qos(1));
    });
}

/// Who fills the memory is closed when it stays full, in 5.0 with 0x97; who was there before sees
/// nothing of it, and what was acknowledged is kept.
#[test]
fn v311_mqtt_4_8_0_2_a_temporary_fault_closes_only_the_connection_that_met_it() {
    const FULL: &str = "\
[limits]
memory_max = \"16 MiB\"
[session]
queue_bytes_max = \"1 GiB\"
queue_offline_messages_max = 100000
[outbound]
stall_timeout = \"100ms\"
";
    for version in BOTH {
        really_with(FULL, |world| {
            let mut witness = witness(world, version);
            world.subscriber(version, "away", subscribe("fill").qos(1)).leave();
            let mut offender = world.connected(version, "offender");

            for id in 1..=400 {
                offender.send(publish("fill").qos(1).id(id).payload([b'x'; 64 * 1024]));
            }

            let mut rest = offender.rest();
            if version == V5 {
                let last = rest.pop();
                assert!(matches!(last, Some(Packet::Disconnect { code: 0x97, .. })), "{last:?}");
            }
            assert!((1..400).contains(&rest.len()), "{}", rest.len());
            witness.send(publish("a"));
            witness.expect(publish("a"));
            let mut away = world.resume(version, lasting("away"));
            for _ in rest {
                let message = away.message();
                assert_eq!(message.payload.len(), 64 * 1024);
                away.send(puback(message.packet_id));
            }
        });
    }
}
