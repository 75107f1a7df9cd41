//! Properties: their length, their types, and where each may stand (2.2.2).

use crate::vocabulary::wire::{self, Properties};
use crate::vocabulary::*;

/// Each property once, with a value that is right for it.
fn all_properties() -> Vec<(u8, Value)> {
    vec![
        payload_format_indicator(1),
        message_expiry_interval(1),
        content_type("x"),
        response_topic("x"),
        correlation_data(b"x"),
        subscription_identifier(1),
        session_expiry_interval(1),
        assigned_client_identifier("x"),
        server_keep_alive(1),
        authentication_method("x"),
        authentication_data(b"x"),
        request_problem_information(1),
        will_delay_interval(1),
        request_response_information(1),
        response_information("x"),
        server_reference("x"),
        reason_string("x"),
        receive_maximum(1),
        topic_alias_maximum(1),
        topic_alias(1),
        maximum_qos(1),
        retain_available(1),
        user_property("x", "x"),
        maximum_packet_size(1_000),
        wildcard_subscription_available(1),
        subscription_identifier_available(1),
        shared_subscription_available(1),
    ]
}

/// A packet of a connected client around a section of properties.
struct Place {
    first: u8,
    head: &'static [u8],
    tail: &'static [u8],
    /// The properties that 5.0 s2.2.2.2 allows there.
    allowed: &'static [u8],
}

const ACKNOWLEDGEMENT: Place =
    Place { first: 0x40, head: b"\0\x01\0", tail: b"", allowed: &[0x1F, 0x26] };
const PUBLISH: Place = Place {
    first: 0x30,
    head: b"\0\x01t",
    tail: b"",
    allowed: &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26],
};
const SUBSCRIBE: Place =
    Place { first: 0x82, head: b"\0\x01", tail: b"\0\x01t\0", allowed: &[0x0B, 0x26] };
const UNSUBSCRIBE: Place =
    Place { first: 0xA2, head: b"\0\x01", tail: b"\0\x01t", allowed: &[0x26] };
/// With the Server Reference of a server's: the table says nothing of who sends it.
const DISCONNECT: Place =
    Place { first: 0xE0, head: b"\0", tail: b"", allowed: &[0x11, 0x1C, 0x1F, 0x26] };
const AUTH: Place =
    Place { first: 0xF0, head: b"\x18", tail: b"", allowed: &[0x15, 0x16, 0x1F, 0x26] };

const PLACES: [Place; 9] = [
    PUBLISH,
    ACKNOWLEDGEMENT,
    Place { first: 0x50, ..ACKNOWLEDGEMENT },
    Place { first: 0x62, ..ACKNOWLEDGEMENT },
    Place { first: 0x70, ..ACKNOWLEDGEMENT },
    SUBSCRIBE,
    UNSUBSCRIBE,
    DISCONNECT,
    AUTH,
];

impl Place {
    fn with(&self, section: &[u8]) -> impl Said {
        packet(self.first, &[self.head, section, self.tail].concat())
    }
}

/// In CONNECT, and among the properties of its Will.
const IN_CONNECT: [u8; 9] = [0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27];
const IN_WILL: [u8; 7] = [0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26];

#[test]
fn v5_mqtt_2_2_2_1_no_properties_are_written_as_the_length_0() {
    everywhere(|world| {
        let mut client = world.connected(V5, "c");

        client.subscribed(subscribe("t").qos(1));
        assert_eq!(client.last_bytes, [0x90, 4, 0, 1, 0, 1]);
        client.send(publish("t").payload("x").qos(1));
        client.expect_any_order(&[&puback(1), &publish("t").payload("x").qos(1)]);
        world.connected(V5, "publisher").published(publish("t").payload("x"));
        client.expect(publish("t").payload("x"));
        assert_eq!(client.last_bytes, [0x30, 5, 0, 1, b't', 0, b'x']);
        world.connected(V311, "publisher").published(publish("t").payload("").qos(1));
        client.expect(publish("t").payload("").qos(1).id(2));
        assert_eq!(client.last_bytes, [0x32, 6, 0, 1, b't', 0, 2, 0]);
        client.send(unsubscribe("t"));
        client.expect(unsuback(1, &[0]));
        assert_eq!(client.last_bytes, [0xB0, 4, 0, 1, 0, 0]);
    });
}

/// Where the length is missing the next field is taken for it.
#[test]
fn v5_mqtt_2_2_2_1_a_packet_without_its_property_length_is_malformed() {
    everywhere(|world| {
        let packets: [&dyn Said; 3] = [
            &packet(0x30, b"\0\x01t"),
            &packet(0x82, b"\0\x01\0\x01t\0"),
            &packet(0xA2, b"\0\x01\0\x01t"),
        ];
        for packet in packets {
            let mut client = world.connected(V5, "c");
            client.send_all(&[packet]);
            client.ends(0x81);
        }

        let mut stranger = world.client(V5);
        stranger.send(packet(0x10, b"\0\x04MQTT\x05\x02\0\0\0\x01c"));
        stranger.rejected(0x81);
    });
}

/// 5.0 s2.2.2.2
#[test]
fn v5_s2_2_2_2_a_property_of_other_packets_is_malformed() {
    everywhere(|world| {
        for place in PLACES {
            let others = all_properties().into_iter().filter(|(id, _)| !place.allowed.contains(id));
            for property in others {
                let mut client = world.connected(V5, "c");
                let section = Properties(vec![property]).encode();

                client.send(place.with(&section));

                client.ends(0x81);
            }
        }
    });
}

/// 5.0 s2.2.2.2
#[test]
fn v5_s2_2_2_2_a_property_that_connect_or_its_will_has_not_is_malformed() {
    everywhere(|world| {
        for property in all_properties() {
            if !IN_CONNECT.contains(&property.0) {
                let mut stranger = world.client(V5);
                stranger.send(connect("c").with(property.clone()));
                stranger.rejected(0x81);
            }
            if !IN_WILL.contains(&property.0) {
                let mut stranger = world.client(V5);
                stranger.send(connect("c").will(Will::new("will", "gone").with(property)));
                stranger.rejected(0x81);
            }
        }
    });
}

/// 5.0 s2.2.2.2
#[test]
fn v5_s2_2_2_2_a_number_that_is_no_property_is_malformed() {
    everywhere(|world| {
        let known: Vec<u8> = all_properties().into_iter().map(|(id, _)| id).collect();
        for unknown in (0..=0x7F_u8).filter(|id| !known.contains(id)) {
            let section = [5, unknown, 0, 1, 0, 0];
            for place in PLACES {
                let mut client = world.connected(V5, "c");
                client.send(place.with(&section));
                client.ends(0x81);
            }
        }
        // A property's number is a Variable Byte Integer: 128, and 1 in more bytes than it needs.
        for section in [&[3, 0x80, 0x01, 0x00], &[3, 0x81, 0x00, 0x00]] {
            let mut client = world.connected(V5, "c");
            client.send(PUBLISH.with(section));
            client.ends(0x81);
        }
    });
}

/// 5.0 s2.2.2.2, s4.13.1: a value that is cut off by the Property Length, and a length that runs
/// past the packet.
#[test]
fn v5_s2_2_2_2_a_value_that_is_not_whole_is_malformed() {
    everywhere(|world| {
        for place in PLACES {
            for property in
                all_properties().into_iter().filter(|(id, _)| place.allowed.contains(id))
            {
                let mut short = Properties(vec![property]).encode();
                short.pop();
                short[0] -= 1;
                let mut client = world.connected(V5, "c");
                client.send(place.with(&short));
                client.ends(0x81);
            }

            let mut client = world.connected(V5, "c");
            client.send(place.with(&wire::variable(100)));
            client.ends(0x81);
        }
    });
}

/// 5.0 s2.2.2.2 and the sections of each: only a User Property may stand twice.
#[test]
fn v5_s2_2_2_2_a_property_that_stands_twice_is_a_protocol_error() {
    everywhere(|world| {
        for place in PLACES {
            let once = |id: &u8| place.allowed.contains(id) && *id != 0x26;
            for property in all_properties().into_iter().filter(|(id, _)| once(id)) {
                let section = Properties(vec![property.clone(), property]).encode();
                let mut client = world.connected(V5, "c");

                client.send(place.with(&section));

                client.ends(0x82);
            }
        }
        for property in all_properties().into_iter().filter(|(id, _)| *id != 0x26) {
            if IN_CONNECT.contains(&property.0) {
                let mut stranger = world.client(V5);
                stranger.send(connect("c").with(property.clone()).with(property.clone()));
                stranger.rejected(0x82);
            }
            if IN_WILL.contains(&property.0) {
                let mut stranger = world.client(V5);
                let will = Will::new("will", "gone").with(property.clone()).with(property);
                stranger.send(connect("c").will(will));
                stranger.rejected(0x82);
            }
        }
    });
}

/// 5.0 s2.2.2.2: also with one name.
#[test]
fn v5_s2_2_2_2_a_user_property_may_stand_any_number_of_times() {
    everywhere(|world| {
        let twice = Properties(vec![user_property("a", "1"), user_property("a", "2")]).encode();
        let mut client = world.connect(
            V5,
            connect("c").with(user_property("a", "1")).with(user_property("a", "2")).will(
                Will::new("will", "gone")
                    .with(user_property("a", "1"))
                    .with(user_property("a", "2")),
            ),
        );
        client.send(PUBLISH.with(&twice));
        client.expect_nothing();
        for (place, answer) in [(SUBSCRIBE, 0x90), (UNSUBSCRIBE, 0xB0)] {
            client.send(place.with(&twice));
            client.next();
            assert_eq!(client.last_bytes[0], answer);
        }
        client.send(DISCONNECT.with(&twice));
        client.closes();
    });
}
