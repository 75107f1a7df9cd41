//! PUBLISH: flags, topic, Packet Identifier and what is done with it (3.3).

use crate::vocabulary::*;

/// [MQTT3-3.3.4-1]
#[test]
fn v5_mqtt_3_3_4_1_each_quality_of_service_has_its_answer() {
    everywhere(|world| {
        for version in BOTH {
            let mut client = world.connected(version, "c");

            client.send(publish("a/b").qos(0));
            client.expect_nothing();
            client.send(publish("a/b").qos(1).id(6));
            client.expect(puback(6).code(0x10));
            client.send(publish("a/b").qos(2).id(7));
            client.expect(pubrec(7).code(0x10));
        }
    });
}
