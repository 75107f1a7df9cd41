//! PINGREQ and PINGRESP (3.12, 3.13).

use crate::vocabulary::*;

/// [MQTT3-3.12.4-1]
#[test]
fn v5_mqtt_3_12_4_1_each_pingreq_is_answered_by_a_pingresp() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");

            client.send(pingreq());
            client.expect(pingresp());
            assert_eq!(client.last_bytes, [0xD0, 0]);

            client.send_all(&[&pingreq(), &pingreq(), &publish("a").qos(1).id(3), &pingreq()]);
            client.expect(pingresp());
            client.expect(pingresp());
            client.expect(puback(3));
            client.expect(pingresp());
            client.leave();
        }
    });
}

/// 5.0 s3.12: it says that the client is alive.
#[test]
fn v5_pingreq_keeps_a_connection_alive() {
    with_clock(|world| {
        for version in BOTH {
            let mut client = world.connect(version, connect("c").keep_alive(10));

            for _ in 0..5 {
                world.pass(14);
                client.send(pingreq());
                client.expect(pingresp());
            }

            client.leave();
        }
    });
}

/// It has neither a variable header nor a payload (5.0 s3.12.2, s3.12.3).
#[test]
fn v5_a_pingreq_with_a_content_is_malformed() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");

            client.send(raw([0xC0, 1, 0]));

            client.ends(0x81);
        }
    });
}

/// PINGRESP is sent by servers only (5.0 s3.13).
#[test]
fn v5_a_pingresp_from_a_client_is_a_protocol_error() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");

            client.send(pingresp());

            client.ends(0x82);
        }
    });
}
