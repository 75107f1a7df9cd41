//! CONNECT: what the broker does about it (3.1.4).

use crate::vocabulary::*;

/// A listener that lets nobody in who proves nothing.
const CLOSED: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\n";

fn listener_with_users_and_others() -> String {
    scram::LISTENER.replace("[[listener]]", "[[listener]]\nanonymous = true")
}

/// 3.1.1 wants no CONNACK for it. [MQTT3-3.1.4-1]
#[test]
fn v5_mqtt_3_1_4_1_a_connect_that_breaks_the_format_is_refused() {
    everywhere(|world| {
        for version in BOTH {
            let whole = Said::encode(&connect("c"), version);
            let mut longer = [&whole[..], &[0]].concat();
            longer[1] += 1;
            let mut shorter = whole[..whole.len() - 1].to_vec();
            shorter[1] -= 1;
            for packet in [longer, shorter] {
                let mut stranger = world.client(version);

                stranger.send(raw(packet));

                stranger.rejected(0x81);
            }
            // Less than its protocol: nobody knows how to answer it.
            for rest in 0..7 {
                let mut stranger = world.client(version);
                stranger.send(packet(0x10, &whole[2..2 + rest]));
                stranger.closes();
            }
            // Its flags, its Keep Alive, its properties and its payload are cut off.
            for rest in 7..whole.len() - 2 {
                let mut stranger = world.client(version);
                stranger.send(packet(0x10, &whole[2..2 + rest]));
                stranger.rejected(0x81);
            }
        }
    });
}

/// 3.1.1 has a return code for it. [MQTT3-3.2.2-4] [MQTT3-3.2.2-5]
#[test]
fn v5_mqtt_3_1_4_2_who_is_not_authorised_is_refused() {
    for listener in [CLOSED, scram::LISTENER] {
        really_with(listener, |world| {
            for (version, code) in [(V31, 0x05), (V311, 0x05), (V5, 0x87)] {
                for connect in [connect("c"), connect("c").username("user"), lasting("c")] {
                    let mut stranger = world.client(version);

                    stranger.send(connect);

                    stranger.refused(code);
                }
            }
        });
    }
    // Unless others are let in beside them.
    really_with(&listener_with_users_and_others(), |world| {
        for version in [V31, V311, V5] {
            world.connect(version, connect("c").username("user")).leave();
        }
    });
}

/// [MQTT3-3.1.4-2]
#[test]
fn v5_mqtt_3_1_4_3_an_older_connection_of_the_same_client_is_closed() {
    everywhere(|world| {
        for (old, new) in [(V311, V311), (V5, V5), (V311, V5), (V5, V311)] {
            let mut older = world.connected(old, "c");
            older.subscribed(subscribe("t"));

            let mut newer = world.connected(new, "c");

            older.ends(0x8E);
            world.connected(new, "publisher").published(publish("t"));
            newer.expect_nothing();
            newer.leave();
        }
    });
}

/// A client that is refused takes nothing over. [MQTT3-3.1.4-2] [MQTT3-3.1.4-5] [MQTT-3.1.4-6]
#[test]
fn v5_mqtt_3_1_4_3_a_refused_client_takes_nothing_over() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");
            for connect in [
                connect("c").toggle_flags(0x01),
                connect("c").will(Will::new("wild/#", "gone")),
                connect("c").protocol("MQTT", 9),
            ] {
                let mut stranger = world.client(version);

                stranger.send(connect);

                ends_after_a_connack_at_most(stranger);
                client.expect_nothing();
            }
        }
    });
}

/// [MQTT3-3.1.4-4]
#[test]
fn v5_mqtt_3_1_4_5_an_accepted_connect_is_answered_by_a_connack() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");
            assert_eq!(client.last_bytes[..1], [0x20]);
            if version == V311 {
                assert_eq!(client.last_bytes, [0x20, 2, 0, 0]);
            }
            client.expect_nothing();
        }
    });
}

/// [MQTT3-3.1.4-5]
#[test]
fn v5_mqtt_3_1_4_6_what_follows_a_refused_connect_has_no_effect() {
    everywhere(|world| {
        for version in BOTH {
            let mut watcher = world.connected(version, "watcher");
            watcher.subscribed(subscribe("#"));
            let refused: [&dyn Said; 5] = [
                &connect(&"c".repeat(1_025)),
                &connect("c").will(Will::new("wild/#", "gone")),
                &connect("c").toggle_flags(0x01),
                &connect("c").protocol("MQTT", 9),
                &connect("c").protocol("mqtt", 4),
            ];
            for connect in refused {
                let mut stranger = world.client(version);
                let follows = publish("t").retain().qos(1);

                stranger.send_all(&[connect, &subscribe("#"), &follows, &pingreq()]);

                // At most a CONNACK, and nothing after it.
                ends_after_a_connack_at_most(stranger);
                watcher.expect_nothing();
                let mut late = world.connected(version, "late");
                late.subscribed(subscribe("#"));
                late.expect_nothing();
            }
        }
    });
}

#[track_caller]
fn ends_after_a_connack_at_most(mut stranger: Client) {
    // A refused level is answered in the version it may be of.
    match stranger.next_or_end() {
        Some(Packet::ConnAck { code: 1.., session_present: false, .. }) => stranger.closes(),
        Some(other) => panic!("{other:?}"),
        None => {}
    }
}

/// Before it has come whole.
#[test]
fn v5_mqtt_3_1_4_2_a_connect_that_is_too_long_is_refused() {
    everywhere_with("limits.connect_bytes_max = 1000", |world| {
        for version in BOTH {
            let whole = Said::encode(&connect("c").username(&"u".repeat(1_000)), version);
            let mut stranger = world.client(version);

            stranger.send(raw(&whole[..100]));

            stranger.rejected(0x95);
        }
    });
}

/// However few bytes come at once.
#[test]
fn v5_s3_1_4_a_connect_in_single_bytes_is_understood() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.client(version);
            let connect = connect("c").will(Will::new("will", "gone")).username("user");

            for byte in Said::encode(&connect, version) {
                client.send(raw([byte]));
            }

            client.expect(connack());
        }
    });
}

/// 5.0 s3.1.4, 3.1.1 s3.1.4: a client need not wait for its CONNACK.
#[test]
fn v5_s3_1_4_packets_may_follow_a_connect_at_once() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.client(version);

            client.send_all(&[
                &connect("c"),
                &subscribe("t").qos(1),
                &publish("t").qos(1),
                &pingreq(),
            ]);

            client.expect(connack());
            client.expect_any_order(&[
                &suback(1, &[1]),
                &publish("t").qos(1),
                &puback(1).code(0x00),
                &pingresp(),
            ]);
        }
    });
}

/// 5.0 s3.1.4, 3.1.1 s3.1.4: also of one that is in the midst of it.
#[test]
fn v5_s3_1_4_a_connection_without_a_connect_is_closed_in_time() {
    really_with("limits.connect_timeout = \"200ms\"", |world| {
        for version in BOTH {
            let mut silent = world.client(version);
            let mut slow = world.client(version);
            let whole = Said::encode(&connect("slow"), version);
            slow.send(raw(&whole[..whole.len() - 1]));
            let mut served = world.connected(version, "served");

            silent.closes();
            slow.closes();
            served.expect_nothing();
        }
    });
}
