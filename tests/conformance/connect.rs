//! CONNECT: its protocol, flags, Client Identifier and Keep Alive (3.1).

use crate::vocabulary::*;

/// Silence of one and a half times the Keep Alive ends the connection [MQTT3-3.1.2-24].
#[test]
fn v5_mqtt_3_1_2_22_a_client_silent_for_one_and_a_half_keep_alives_is_closed() {
    with_clock(|world| {
        for version in BOTH {
            let mut client = world.connect(version, connect("c").keep_alive(10));
            world.pass(14);
            client.expect_nothing();

            world.pass(15);

            client.ends(0x8D);
        }
    });
}
