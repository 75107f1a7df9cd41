//! MQTT 3.1 (`MQIsdp`, level 3) where it differs, and beside clients of the later versions.

use crate::vocabulary::*;

#[test]
fn v31_a_client_is_served_under_the_old_protocol_name() {
    everywhere(|world| {
        let start = b"\0\x06MQIsdp\x03\x02\0\0";
        let mut client = world.client(V31);

        client.send(packet(0x10, &[&start[..], b"\0\x01c"].concat()));

        client.expect(connack());
        assert_eq!(client.last_bytes, [0x20, 2, 0, 0]);
        client.subscribed(subscribe("t").qos(2));
        client.expect_nothing();
        client.send(unsubscribe("t"));
        client.expect(unsuback(1, &[]));
        assert_eq!(client.last_bytes, [0xB0, 2, 0, 1]);
        client.leave();
    });
}

/// 3.1 s3.2 reserves the byte in which 3.1.1 says it.
#[test]
fn v31_session_present_is_not_said_though_the_session_goes_on() {
    everywhere(|world| {
        let mut client = world.connect(V31, lasting("c"));
        client.subscribed(subscribe("t").qos(1));
        client.leave();
        world.connected(V5, "publisher").published(publish("t").qos(1));

        let mut back = world.connect(V31, lasting("c"));

        back.expect(publish("t").qos(1));
        back.leave();
        // It ends as one of 3.1.1 does.
        world.connect(V31, connect("c")).leave();
        world.connect(V311, lasting("c")).leave();
    });
}

#[test]
fn v31_messages_travel_between_all_versions() {
    everywhere(|world| {
        let versions = [V31, V311, V5];
        for (from, to) in versions.into_iter().flat_map(|from| versions.map(|to| (from, to))) {
            let mut subscriber = world.connected(to, "subscriber");
            subscriber.subscribed(subscribe("t/+").qos(2));
            let mut publisher = world.connected(from, "publisher");
            for (id, qos) in [(0, 0), (1, 1), (2, 2)] {
                publisher.published(publish("t/x").qos(qos).id(9));

                subscriber.expect(publish("t/x").qos(qos));
                match qos {
                    0 => {}
                    1 => subscriber.send(puback(id)),
                    _ => {
                        subscriber.send(pubrec(id));
                        subscriber.expect(pubrel(id));
                        subscriber.send(pubcomp(id));
                    }
                }
            }
        }
    });
}

/// 3.1 s2.1 has it in what asks for an answer, when it is sent again.
#[test]
fn v31_dup_may_be_set_in_pubrel_subscribe_and_unsubscribe() {
    everywhere(|world| {
        let again = |said: &dyn Said| {
            let mut bytes = said.encode(V31);
            bytes[0] |= 0x08;
            raw(bytes)
        };
        let mut client = world.connected(V31, "c");

        client.send(again(&subscribe("t").qos(1)));
        client.expect(suback(1, &[1]));
        client.send(again(&unsubscribe("t")));
        client.expect(unsuback(1, &[]));
        client.send(publish("t").qos(2));
        client.expect(pubrec(1));
        client.send(again(&pubrel(1)));
        client.expect(pubcomp(1));

        // Later versions reserve the bit [MQTT-2.1.3-1] [MQTT3-2.2.2-2].
        for version in BOTH {
            let mut client = world.connected(version, "c");
            let mut bytes = subscribe("t").encode(version);
            bytes[0] |= 0x08;
            client.send(raw(bytes));
            client.ends(0x81);
        }
    });
}

/// 3.1 s3.1: nobody looks at the bits that later versions reserve.
#[test]
fn v31_reserved_connect_flags_are_not_looked_at() {
    everywhere(|world| {
        for bits in [0x01, 0x08, 0x10, 0x18, 0x20, 0x39] {
            world.connect(V31, connect("c").toggle_flags(bits)).leave();
        }
    });
}

/// 3.1 s3.1: the Remaining Length has precedence over the flags of the last two fields.
#[test]
fn v31_a_user_name_or_password_that_is_not_there_is_not_missed() {
    everywhere(|world| {
        for (flags, payload) in [
            (0x82, &[&b"\0\x01c"[..]][..]),
            (0xC2, &[b"\0\x01c"]),
            (0xC2, &[b"\0\x01c", b"\0\x04user"]),
        ] {
            let mut client = world.client(V31);
            client.send(connect_with(V31, flags, payload));
            client.expect(connack());
        }

        // But a field that begins is there.
        let mut stranger = world.client(V31);
        stranger.send(connect_with(V31, 0x82, &[b"\0\x01c", b"\0\x04us"]));
        stranger.closes();
    });
}

#[test]
fn v31_a_will_is_published_as_in_later_versions() {
    everywhere(|world| {
        let mut watcher = world.connected(V5, "watcher");
        watcher.subscribed(subscribe("will").qos(2));
        let will = || connect("c").will(Will::new("will", "gone").qos(0));

        world.connect(V31, will()).cut();
        watcher.expect(publish("will").payload("gone"));
        world.connect(V31, will()).leave();
        watcher.expect_nothing();
    });
}

/// AUTH and DISCONNECT with a Reason Code came with 5.0.
#[test]
fn v31_what_only_5_0_has_ends_the_connection() {
    everywhere(|world| {
        for version in [V31, V311] {
            for said in [packet(0xF0, &[]), packet(0xE0, &[0x04]), packet(0x40, &[0, 1, 0])] {
                let mut client = world.connected(version, "c");

                client.send(said);

                client.closes();
            }
        }
    });
}
