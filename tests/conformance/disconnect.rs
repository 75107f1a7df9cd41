//! DISCONNECT, from either side (3.14).

use rustix::process::{Pid, Signal, kill_process};

use crate::vocabulary::said::Said;
use crate::vocabulary::wire::SESSION_EXPIRY_INTERVAL;
use crate::vocabulary::*;

/// The codes a client may send beside 0x00.
const OF_CLIENTS: [u8; 13] =
    [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];

/// Some limits that a client can go beyond at once.
const LIMITED: &str = r#"
[limits]
packet_bytes_max = "1 KiB"
connect_bytes_max = "512 B"

[[listener]]
name = "narrow"
address = "127.0.0.1:0"
anonymous = true
qos_max = 1
retain = false
wildcards = false
shared = false
subscription_ids = false
"#;

/// A client whose Will says `gone`, and one who hears it.
fn with_watcher(world: &World, version: Version) -> (Client, Client) {
    let mut watcher = world.connected(version, "watcher");
    watcher.subscribed(subscribe("will"));
    let will = Will::new("will", "gone").qos(0);
    (world.connect(version, connect("c").will(will)), watcher)
}

#[test]
fn v5_mqtt_3_14_0_1_nothing_but_a_connack_tells_why_a_client_is_not_admitted() {
    everywhere(|world| {
        for (said, code) in [
            (&connect("c").protocol("MQTT", 6) as &dyn Said, 0x84),
            (&connect("c").with(receive_maximum(0)), 0x82),
            (&connect("c").toggle_flags(0x01), 0x81),
            (&connect("c").with(authentication_data(b"x")), 0x82),
        ] {
            let mut client = world.client(V5);

            client.send_all(&[said]);

            client.refused(code);
        }
        for said in [&pingreq() as &dyn Said, &disconnect(), &publish("a"), &raw([0, 0])] {
            let mut client = world.client(V5);

            client.send_all(&[said]);

            client.closes();
        }
    });
}

/// What has wrong flags is no DISCONNECT, so that the Will is sent [MQTT3-3.14.1-1].
#[test]
fn v5_mqtt_3_14_1_1_flags_other_than_0000_are_malformed() {
    everywhere(|world| {
        for version in BOTH {
            for first in 0xE1..=0xEF {
                let (mut client, mut watcher) = with_watcher(world, version);

                client.send(raw([first, 0]));

                client.ends(0x81);
                watcher.expect(publish("will").payload("gone"));
            }
        }
    });
}

/// 5.0 s3.14.2.1: the Reason Code and the Property Length may be left out.
#[test]
fn v5_a_short_disconnect_means_what_the_long_one_does() {
    everywhere(|world| {
        for (bytes, sent) in [
            (&[0xE0, 0][..], false),
            (&[0xE0, 1, 0], false),
            (&[0xE0, 2, 0, 0], false),
            (&[0xE0, 1, 4], true),
            (&[0xE0, 2, 4, 0], true),
        ] {
            let (mut client, mut watcher) = with_watcher(world, V5);

            client.send(raw(bytes));

            client.closes();
            if sent {
                watcher.expect(publish("will").payload("gone"));
            }
            watcher.expect_nothing();
        }
    });
}

/// It has neither a variable header nor a payload (3.1.1 s3.14.2, s3.14.3).
#[test]
fn v311_a_disconnect_with_a_content_is_malformed() {
    everywhere(|world| {
        let (mut client, mut watcher) = with_watcher(world, V311);

        client.send(raw([0xE0, 1, 0]));

        client.closes();
        watcher.expect(publish("will").payload("gone"));
    });
}

#[test]
fn v5_mqtt_3_14_2_1_a_client_may_send_the_codes_for_clients_and_no_others() {
    everywhere(|world| {
        for code in 0x00..=0xFF {
            let (mut client, mut watcher) = with_watcher(world, V5);

            client.send(raw([0xE0, 1, code]));

            if code == 0 || OF_CLIENTS.contains(&code) {
                client.closes();
            } else {
                client.ends(0x82);
            }
            if code != 0 {
                watcher.expect(publish("will").payload("gone"));
            }
            watcher.expect_nothing();
        }
    });
}

/// The DISCONNECT that comes next and is the last packet: its code. The server sends no Session
/// Expiry Interval [MQTT-3.14.2-2].
#[track_caller]
fn told(client: &mut Client) -> u8 {
    let packet = client.next();
    let Packet::Disconnect { code, properties } = packet else { panic!("{packet:?}") };
    assert!(properties.all(SESSION_EXPIRY_INTERVAL).is_empty());
    client.closes();
    code
}

/// [MQTT-3.14.2-2]
#[test]
fn v5_mqtt_3_14_2_1_each_mistake_has_its_code() {
    everywhere_with(LIMITED, |world| {
        let id = subscription_identifier(1);
        let cases: [(u8, &dyn Said); 12] = [
            (0x81, &raw([0x00, 0])),
            (0x82, &connect("c")),
            (0x82, &pingresp()),
            (0x90, &publish("a/+")),
            (0x94, &publish("a").with(topic_alias(0))),
            (0x94, &publish("a").with(topic_alias(33))),
            (0x95, &publish("a").payload([b'x'; 1_100])),
            (0x9A, &publish("a").retain()),
            (0x9B, &publish("a").qos(2)),
            (0x9E, &subscribe("$share/g/a")),
            (0xA1, &subscribe("a").with(id)),
            (0xA2, &subscribe("a/#")),
        ];
        for (code, said) in cases {
            let mut client = world.connect(V5, lasting("c").clean_start());

            client.send_all(&[said]);

            assert_eq!(told(&mut client), code);
        }
    });
}

/// In words as well, if there is room for them [MQTT-3.14.2-2] [MQTT-3.14.2-3].
#[test]
fn v5_mqtt_3_14_2_1_who_is_silent_or_replaced_is_told_so() {
    with_clock(|world| {
        for (session, narrow) in [
            (lasting("roomy").keep_alive(10), false),
            (lasting("narrow").keep_alive(10).with(maximum_packet_size(NARROW)), true),
        ] {
            let mut silent = world.connect(V5, session.clone());
            world.pass(16);
            assert_eq!(told(&mut silent), 0x8D);
            assert_eq!(silent.last_bytes.len() == 3, narrow);

            let mut old = world.resume(V5, session.clone());
            let _new = world.resume(V5, session);
            assert_eq!(told(&mut old), 0x8E);
            assert_eq!(old.last_bytes.len() == 3, narrow);
        }
    });
}

/// A Maximum Packet Size that has no room for words.
const NARROW: u32 = 30;

/// In words as well, if there is room for them [MQTT-3.14.2-2] [MQTT-3.14.2-3] [MQTT-3.14.4-2].
#[test]
fn v5_mqtt_3_14_2_1_the_clients_of_a_server_that_stops_are_told_so() {
    really(|world| {
        let World::Real(broker) = world else { panic!("the binary") };
        let mut told_why = world.connect(V5, lasting("c"));
        let mut told_briefly = world.connect(V5, lasting("b").with(maximum_packet_size(NARROW)));
        let mut closed = world.connected(V311, "d");
        let id = Pid::from_child(&broker.process);

        kill_process(id, Signal::TERM).expect("the broker runs");

        assert_eq!(told(&mut told_why), 0x8B);
        assert!(told_why.last_bytes.len() > 3);
        assert_eq!(told(&mut told_briefly), 0x8B);
        assert_eq!(told_briefly.last_bytes.len(), 3);
        closed.closes();
    });
}

/// Neither are there User Properties [MQTT-3.14.2-4], which a comparison with none would find.
#[test]
fn v5_mqtt_3_14_2_3_a_reason_string_is_left_out_of_a_disconnect_it_would_make_too_large() {
    everywhere(|world| {
        let length = |maximum: usize| {
            let size = u32::try_from(maximum).unwrap();
            let mut client = world.connect(V5, connect("c").with(maximum_packet_size(size)));
            client.send(publish("a/+"));
            client.ends(0x90);
            client.last_bytes.len()
        };

        let (whole, without) = (length(1_000), 2 + 1);

        assert!(whole > without, "a client is told why");
        let lengths: Vec<usize> = (20..whole + 5).map(length).collect();
        assert_eq!((lengths[0], lengths[lengths.len() - 1]), (without, whole));
        for (maximum, length) in (20..).zip(lengths) {
            assert!(length == without || length == whole && whole <= maximum, "{maximum}");
        }
    });
}

/// 5.0 s3.14.2.2: what it may have, it has once. What is wrong with it is no DISCONNECT.
#[test]
fn v5_a_disconnect_with_wrong_properties_leaves_the_will_in_force() {
    everywhere(|world| {
        let twice = |property: (u8, Value)| disconnect().with(property.clone()).with(property);
        for (disconnect, code) in [
            (disconnect().with(receive_maximum(1)), 0x81),
            (disconnect().with(subscription_identifier(1)), 0x81),
            (twice(session_expiry_interval(0)), 0x82),
            (twice(reason_string("why")), 0x82),
        ] {
            let (mut client, mut watcher) = with_watcher(world, V5);

            client.send(disconnect);

            client.ends(code);
            watcher.expect(publish("will").payload("gone"));
        }
        let (mut client, mut watcher) = with_watcher(world, V5);
        client.send(twice(user_property("name", "value")).with(reason_string("why")));
        client.closes();
        watcher.expect_nothing();
    });
}

/// What the server was sending is sent before; what others publish meanwhile, and what the client
/// itself said behind its mistake, is not. Then the connection is closed [MQTT-3.14.4-2].
#[test]
fn v5_mqtt_3_14_4_1_disconnect_is_the_last_packet_of_a_connection() {
    everywhere(|world| {
        for version in BOTH {
            let mut watcher = world.connected(version, "watcher");
            watcher.subscribed(subscribe("a"));
            let mut client = world.connected(version, "c");
            client.subscribed(subscribe("a"));

            client.send_all(&[
                &publish("a").payload("before"),
                &pingresp(),
                &publish("a").payload("behind"),
                &pingreq(),
            ]);

            client.expect(publish("a").payload("before"));
            client.ends(0x82);
            watcher.expect(publish("a").payload("before"));
            watcher.expect_nothing();
        }
    });
}

/// [MQTT-3.14.4-1] [MQTT-3.14.4-2]: nothing is answered either, and the server closes if the client
/// does not.
#[test]
fn v311_mqtt_3_14_4_2_nothing_behind_a_clients_disconnect_is_heard() {
    everywhere(|world| {
        for version in BOTH {
            let mut watcher = world.connected(version, "watcher");
            watcher.subscribed(subscribe("a"));
            let mut client = world.connected(version, "c");
            client.subscribed(subscribe("a"));

            client.send_all(&[
                &disconnect(),
                &publish("a").qos(1),
                &pingreq(),
                &subscribe("b"),
                &raw([0x00, 0]),
            ]);

            client.closes();
            watcher.expect_nothing();
        }
    });
}

/// Not even the end of the Session, which the Will might have waited for, brings it.
#[test]
fn v5_mqtt_3_14_4_3_a_deleted_will_does_not_come_later() {
    with_clock(|world| {
        let mut watcher = world.connected(V5, "watcher");
        watcher.subscribed(subscribe("will"));
        let will = || Will::new("will", "gone").qos(0).with(will_delay_interval(5));
        let session = || connect("c").with(session_expiry_interval(10)).will(will());
        world.connect(V5, session()).leave();

        world.pass(11);
        watcher.expect_nothing();

        world.connect(V5, session()).cut();
        world.pass(6);
        watcher.expect(publish("will").payload("gone"));
    });
}

/// Without waiting: a Session that DISCONNECT ended is gone at once (5.0 s3.14.2.2.2).
#[test]
fn v5_disconnect_may_end_the_session() {
    everywhere(|world| {
        let mut client = world.connect(V5, lasting("c"));
        client.subscribed(subscribe("a").qos(1));
        client.send(disconnect().with(session_expiry_interval(0)));
        client.closes();

        let mut client = world.connect(V5, lasting("c"));

        client.published(publish("a").qos(1));
        client.expect_nothing();
    });
}

/// 5.0 s3.14.2.2.2: it is a Protocol Error, and no DISCONNECT that would delete the Will.
#[test]
fn v5_disconnect_cannot_make_a_session_last_that_was_to_end_with_the_connection() {
    everywhere(|world| {
        let (mut client, mut watcher) = with_watcher(world, V5);
        client.send(disconnect().with(session_expiry_interval(1)));
        client.ends(0x82);
        watcher.expect(publish("will").payload("gone"));

        let (mut client, mut watcher) = with_watcher(world, V5);
        client.send(disconnect().with(session_expiry_interval(0)));
        client.closes();
        watcher.expect_nothing();

        world.connect(V5, connect("c").no_clean_start());
    });
}
