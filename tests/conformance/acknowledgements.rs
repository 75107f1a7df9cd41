//! PUBACK, PUBREC, PUBREL and PUBCOMP (3.4 to 3.7).

use crate::vocabulary::said::Ack;
use crate::vocabulary::*;

type Acknowledgement = fn(u16) -> Ack;

const EACH: [Acknowledgement; 4] = [puback, pubrec, pubrel, pubcomp];

/// Of the acknowledgements in the order of `EACH`.
const FIRST_BYTES: [u8; 4] = [0x40, 0x50, 0x62, 0x70];

const PUBACK_AND_PUBREC_CODES: [u8; 9] = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];

const PUBREL_AND_PUBCOMP_CODES: [u8; 2] = [0x00, 0x92];

/// Sends an acknowledgement of an identifier nobody used with every Reason Code: those that it has
/// change nothing, any other one is a Protocol Error.
fn has_these_codes_only(acknowledgement: Acknowledgement, codes: &[u8]) {
    with_clock(|world| {
        for code in 0..=u8::MAX {
            let mut client = world.connected(V5, "client");

            client.send(acknowledgement(9).code(code));

            if codes.contains(&code) {
                client.send(pingreq());
                while client.next() != Packet::PingResp {}
            } else {
                client.ends(0x82);
            }
        }
    });
}

/// Publishes to what makes the broker say each of its Reason Codes.
fn says_what_became_of_a_message(qos: u8, acknowledgement: Acknowledgement) {
    everywhere_with("[retained]\nmessages_max = 1\n", |world| {
        let mut subscriber = world.connected(V5, "subscriber");
        subscriber.subscribed(subscribe("taken"));
        let mut client = world.connected(V5, "client");

        for (message, code) in [
            (publish("taken"), 0x00),
            (publish("taken").retain(), 0x00),
            (publish("nobody's"), 0x10),
            (publish("$SYS/mine"), 0x87),
            (publish("one/too/many").retain(), 0x97),
        ] {
            client.send(message.qos(qos).id(7));
            client.expect(acknowledgement(7).code(code));
            if qos == 2 && code < 0x80 {
                client.send(pubrel(7));
                client.expect(pubcomp(7).code(0x00));
            }
        }
    });
}

/// A refusal's text is sent if it fits the client's Maximum Packet Size; User Properties, which
/// need not be, never are.
fn leaves_out_what_does_not_fit(qos: u8, acknowledgement: Acknowledgement) {
    everywhere(|world| {
        let refused = publish("$SYS/mine").qos(qos).id(7);
        let mut client = world.connected(V5, "client");
        client.send(refused.clone());
        let whole = client.next();
        let text = match &whole {
            Packet::PubAck { code: 0x87, properties, .. }
            | Packet::PubRec { code: 0x87, properties, .. } => match &properties.0[..] {
                [(0x1F, Value::Text(text))] => text.clone(),
                other => panic!("expected a Reason String alone but there is {other:?}"),
            },
            other => panic!("expected a refusal but came {other:?}"),
        };
        let length = u32::try_from(client.last_bytes.len()).expect("a short packet");

        let roomy = maximum_packet_size(length + 100);
        let mut client = world.connect(V5, connect("client").with(roomy));
        client.send(refused.clone());
        client.expect(acknowledgement(7).code(0x87).with(reason_string(&text)));

        for maximum in [length - 1, length - 10] {
            let small = connect("client").with(maximum_packet_size(maximum));
            let mut client = world.connect(V5, small);
            client.send(refused.clone());
            client.expect(acknowledgement(7).code(0x87));
            let first = client.last_bytes[0];
            assert_eq!(client.last_bytes, [first, 3, 0, 7, 0x87]);
        }
    });
}

/// A message of QoS 1 and one of QoS 2 that a client was sent, under the identifiers 1 and 2, and
/// the client.
fn client_with_two_messages(world: &World, version: Version) -> Client {
    let mut client = world.connected(version, "client");
    client.subscribed(subscribe("t").qos(2));
    let mut publisher = world.connected(version, "publisher");
    for qos in 1..=2 {
        publisher.published(publish("t").qos(qos));
        client.expect(publish("t").qos(qos).id(qos.into()));
    }
    client
}

#[test]
fn v5_mqtt_3_4_2_1_puback_says_what_became_of_a_message() {
    says_what_became_of_a_message(1, puback);
}

#[test]
fn v5_mqtt_3_4_2_1_another_code_in_a_puback_is_a_protocol_error() {
    has_these_codes_only(puback, &PUBACK_AND_PUBREC_CODES);
}

/// [MQTT-3.4.2-3]
#[test]
fn v5_mqtt_3_4_2_2_a_puback_leaves_out_what_does_not_fit() {
    leaves_out_what_does_not_fit(1, puback);
}

#[test]
fn v5_mqtt_3_5_2_1_pubrec_says_what_became_of_a_message() {
    says_what_became_of_a_message(2, pubrec);
}

#[test]
fn v5_mqtt_3_5_2_1_another_code_in_a_pubrec_is_a_protocol_error() {
    has_these_codes_only(pubrec, &PUBACK_AND_PUBREC_CODES);
}

/// [MQTT-3.5.2-3]
#[test]
fn v5_mqtt_3_5_2_2_a_pubrec_leaves_out_what_does_not_fit() {
    leaves_out_what_does_not_fit(2, pubrec);
}

/// [MQTT3-3.6.1-1]
#[test]
fn v5_mqtt_3_6_1_1_a_pubrel_with_other_flags_is_malformed() {
    for version in BOTH {
        everywhere(|world| {
            for flags in (0x0..=0xF).filter(|flags| *flags != 0x2) {
                let mut client = world.connected(version, "client");
                client.send(publish("t").qos(2).id(7));
                client.expect(pubrec(7));

                client.send(packet(0x60 | flags, &[0, 7]));

                client.ends(0x81);
            }
        });
    }
}

/// MQTT 3.1 had DUP in a PUBREL that is sent again (its section 3.6).
#[test]
fn before_3_1_1_a_pubrel_may_have_dup_and_no_other_flags() {
    everywhere(|world| {
        for flags in 0x0..=0xF {
            let mut client = world.connected(V31, "client");
            client.send(publish("t").qos(2).id(7));
            client.expect(pubrec(7));

            client.send(packet(0x60 | flags, &[0, 7]));

            match flags {
                0x2 | 0xA => client.expect(pubcomp(7)),
                _ => client.closes(),
            }
        }
    });
}

/// Also of one that is sent again. [MQTT3-3.6.1-1]
#[test]
fn v5_mqtt_3_6_1_1_the_brokers_pubrel_has_the_flags_0010() {
    for version in BOTH {
        everywhere(|world| {
            let mut client = world.connect(version, lasting("client"));
            client.subscribed(subscribe("t").qos(2));
            world.connected(version, "publisher").published(publish("t").qos(2));
            client.expect(publish("t").qos(2).id(1));

            client.send(pubrec(1));
            client.expect(pubrel(1));
            assert_eq!(client.last_bytes, [0x62, 2, 0, 1]);
            client.cut();

            let mut client = world.resume(version, lasting("client"));
            client.expect(pubrel(1));
            assert_eq!(client.last_bytes, [0x62, 2, 0, 1]);
        });
    }
}

/// 5.0 s3.5.4: every PUBREC that is no refusal has its PUBREL. Before 5.0 it has no code.
#[test]
fn v5_mqtt_3_6_2_1_pubrel_says_whether_the_identifier_is_known() {
    for version in BOTH {
        everywhere(|world| {
            let mut client = client_with_two_messages(world, version);

            client.send(pubrec(2));
            client.expect(pubrel(2).code(0x00));
            client.send(pubrec(2));
            client.expect(pubrel(2).code(0x00));
            client.send(pubrec(9));
            client.expect(pubrel(9).code(0x92));
            client.send(pubcomp(2));
            client.send(pubrec(2));
            client.expect(pubrel(2).code(0x92));
        });
    }
}

#[test]
fn v5_mqtt_3_6_2_1_another_code_in_a_pubrel_is_a_protocol_error() {
    has_these_codes_only(pubrel, &PUBREL_AND_PUBCOMP_CODES);
}

/// It has neither a Reason String nor User Properties, for whomever. [MQTT-3.6.2-3]
#[test]
fn v5_mqtt_3_6_2_2_a_pubrel_is_never_longer_than_its_code() {
    everywhere(|world| {
        for connect in [connect("client"), connect("client").with(maximum_packet_size(40))] {
            let mut client = world.connect(V5, connect);

            client.send(pubrec(9));

            client.expect(pubrel(9).code(0x92));
            assert_eq!(client.last_bytes, [0x62, 3, 0, 9, 0x92]);
        }
    });
}

/// Before 5.0 a PUBREL for an unknown identifier has its PUBCOMP like any other.
#[test]
fn v5_mqtt_3_7_2_1_pubcomp_says_whether_the_identifier_is_known() {
    for version in BOTH {
        everywhere(|world| {
            let mut client = world.connected(version, "client");
            client.send(pubrel(7));
            client.expect(pubcomp(7).code(0x92));
            client.send(publish("t").qos(2).id(7));
            client.expect(pubrec(7));

            client.send(pubrel(7));
            client.expect(pubcomp(7).code(0x00));
            client.send(pubrel(7));
            client.expect(pubcomp(7).code(0x92));

            // An identifier of QoS 1 is done with its PUBACK, one that was refused with its PUBREC.
            client.published(publish("t").qos(1).id(8));
            client.send(pubrel(8));
            client.expect(pubcomp(8).code(0x92));
        });
    }
}

#[test]
fn v5_mqtt_3_7_2_1_another_code_in_a_pubcomp_is_a_protocol_error() {
    has_these_codes_only(pubcomp, &PUBREL_AND_PUBCOMP_CODES);
}

/// It has neither a Reason String nor User Properties, for whomever. [MQTT-3.7.2-3]
#[test]
fn v5_mqtt_3_7_2_2_a_pubcomp_is_never_longer_than_its_code() {
    everywhere(|world| {
        for connect in [connect("client"), connect("client").with(maximum_packet_size(40))] {
            let mut client = world.connect(V5, connect);

            client.send(pubrel(9));

            client.expect(pubcomp(9).code(0x92));
            assert_eq!(client.last_bytes, [0x70, 3, 0, 9, 0x92]);
        }
    });
}

/// 5.0 s3.4.2.1, s3.5.2.1, s3.6.2.1, s3.7.2.1: without a code and without properties, without
/// properties, without any but a length, and with all there can be.
#[test]
fn each_acknowledgement_may_be_as_short_as_it_can() {
    let all =
        [&[0x00, 16, 0x1F, 0, 1, b'r'][..], &[0x26, 0, 1, b'n', 0, 1, b'v'], &[0x26, 0, 0, 0, 0]];
    let forms = [vec![], vec![0x00], vec![0x00, 0x00], all.concat()];
    everywhere(|world| {
        for form in &forms {
            let say = |first, id| packet(first, &[&[0, id], &form[..]].concat());
            let mut client = client_with_two_messages(world, V5);
            client.send(publish("u").qos(2).id(7));
            client.expect(pubrec(7));

            client.send(say(0x40, 1));
            client.send(say(0x50, 2));
            client.expect(pubrel(2).code(0x00));
            client.send(say(0x70, 2));
            client.send(say(0x62, 7));
            client.expect(pubcomp(7).code(0x00));

            // All three were ended by that.
            for id in [1, 2] {
                client.send(say(0x50, id));
                client.expect(pubrel(id.into()).code(0x92));
            }
            client.send(say(0x62, 7));
            client.expect(pubcomp(7).code(0x92));
        }
    });
}

/// 5.0 s3.4.2.1
#[test]
fn the_broker_says_no_more_than_it_needs() {
    everywhere(|world| {
        let mut subscriber = world.connected(V5, "subscriber");
        subscriber.subscribed(subscribe("t"));
        let mut client = world.connected(V5, "client");
        let mut says = |packet: &dyn Fn(&mut Client), expected: &[u8]| {
            packet(&mut client);
            client.next();
            assert_eq!(client.last_bytes, expected);
        };

        says(&|client| client.send(publish("t").qos(1).id(5)), &[0x40, 2, 0, 5]);
        says(&|client| client.send(publish("nobody's").qos(1).id(5)), &[0x40, 3, 0, 5, 0x10]);
        says(&|client| client.send(publish("t").qos(2).id(6)), &[0x50, 2, 0, 6]);
        says(&|client| client.send(publish("nobody's").qos(2).id(7)), &[0x50, 3, 0, 7, 0x10]);
        says(&|client| client.send(pubrel(6)), &[0x70, 2, 0, 6]);
        says(&|client| client.send(pubrel(6)), &[0x70, 3, 0, 6, 0x92]);
    });
}

/// The codes and properties are of 5.0 alone (3.1.1 s3.4.1, s3.5.1, s3.6.1, s3.7.1).
#[test]
fn before_5_0_an_acknowledgement_is_four_bytes() {
    everywhere(|world| {
        for version in [V31, V311] {
            for first in FIRST_BYTES {
                for more in [&[0x00][..], &[0x00, 0x00], &[0x92]] {
                    let mut client = world.connected(version, "client");

                    client.send(packet(first, &[&[0, 9], more].concat()));

                    client.closes();
                }
            }
            let mut client = world.connected(version, "client");
            client.send(publish("t").qos(1).id(5));
            client.expect(puback(5));
            assert_eq!(client.last_bytes, [0x40, 2, 0, 5]);
            client.send(pubrec(9));
            client.expect(pubrel(9));
            assert_eq!(client.last_bytes, [0x62, 2, 0, 9]);
            client.send(pubrel(9));
            client.expect(pubcomp(9));
            assert_eq!(client.last_bytes, [0x70, 2, 0, 9]);
        }
    });
}

/// 5.0 s3.4.2.2, s2.2.2.2: what ends too early or goes on too long, and properties that are not of
/// an acknowledgement.
#[test]
fn an_acknowledgement_that_cannot_be_read_is_malformed() {
    let bodies: [&[u8]; 9] = [
        &[],
        &[0],
        &[0, 9, 0x00, 5],
        &[0, 9, 0x00, 0, 0],
        &[0, 9, 0x00, 4, 0x1F, 0, 9, b'r'],
        &[0, 9, 0x00, 4, 0x1F, 0, 1, 0xFF],
        &[0, 9, 0x00, 3, 0x23, 0, 1],
        &[0, 9, 0x00, 5, 0x11, 0, 0, 0, 1],
        &[0, 9, 0x00, 2, 0x7F, 0],
    ];
    everywhere(|world| {
        for first in FIRST_BYTES {
            for body in bodies {
                eprintln!("{first:#04x} {body:02x?}");
                let mut client = world.connected(V5, "client");

                client.send(packet(first, body));

                client.ends(0x81);
            }
        }
    });
}

/// 5.0 s3.4.2.2.2, s3.5.2.2.2, s3.6.2.2.2, s3.7.2.2.2
#[test]
fn a_reason_string_that_stands_twice_is_a_protocol_error() {
    everywhere(|world| {
        for acknowledgement in EACH {
            let mut client = world.connected(V5, "client");

            let twice = acknowledgement(9).with(reason_string("a")).with(reason_string("b"));
            client.send(twice);

            client.ends(0x82);
        }
    });
}

/// 5.0 s4.3.2, s4.3.3: each exchange has its own acknowledgements in their order. Another one tells
/// that the client has lost its Session.
#[test]
fn an_acknowledgement_of_the_wrong_kind_closes_the_connection() {
    for version in BOTH {
        everywhere(|world| {
            for wrong in [puback(2), pubcomp(2), pubrec(1), pubcomp(1), pubrec(1).code(0x80)] {
                let mut client = client_with_two_messages(world, version);

                client.send(wrong);

                client.ends(0x82);
            }
            let mut client = client_with_two_messages(world, version);
            client.send(pubrec(2));
            client.expect(pubrel(2));
            client.send(puback(2));
            client.ends(0x82);
        });
    }
}

/// An acknowledgement that comes twice, or from before a Session that was lost, harms nobody; and a
/// PUBREL is about what the client sent, not about what it was sent.
#[test]
fn an_acknowledgement_of_an_unknown_identifier_changes_nothing() {
    for version in BOTH {
        everywhere(|world| {
            let mut client = client_with_two_messages(world, version);

            for id in [9, 65_535] {
                client.send(puback(id));
                client.send(pubcomp(id));
                client.expect_nothing();
            }
            client.send(pubrel(2));
            client.expect(pubcomp(2).code(0x92));

            client.send(puback(1));
            client.send(puback(1));
            client.send(pubrec(2));
            client.expect(pubrel(2).code(0x00));
            client.send(pubcomp(2));
            client.send(pubcomp(2));
            client.expect_nothing();
        });
    }
}

/// 5.0 s3.5.2.1, s3.6.2.1, s3.7.2.1: whatever code ends an exchange, it is over.
#[test]
fn a_code_of_failure_ends_an_exchange_as_well() {
    everywhere(|world| {
        let mut client = world.connect(V5, lasting("client"));
        client.subscribed(subscribe("t").qos(2));
        let mut publisher = world.connected(V5, "publisher");
        for (qos, id) in [(1, 1), (2, 2), (2, 3)] {
            publisher.published(publish("t").qos(qos));
            client.expect(publish("t").qos(qos).id(id));
        }
        client.send(publish("u").qos(2).id(4));
        client.expect(pubrec(4));

        client.send(puback(1).code(0x99));
        client.send(pubrec(2).code(0x99).with(reason_string("no")));
        client.expect_nothing();
        client.send(pubrec(3).code(0x10));
        client.expect(pubrel(3));
        client.send(pubcomp(3).code(0x92).with(user_property("a", "b")));
        client.send(pubrel(4).code(0x92));
        client.expect(pubcomp(4).code(0x00));
        client.cut();

        let mut client = world.resume(V5, lasting("client"));
        client.expect_nothing();
    });
}
