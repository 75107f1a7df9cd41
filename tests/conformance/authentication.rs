//! AUTH and enhanced authentication, of which dunlin has the method SCRAM-SHA-256 (5.0 3.15, 4.12).

use crate::vocabulary::connect::Connect;
use crate::vocabulary::said::{Outcome, Said};
use crate::vocabulary::scram::{LISTENER, METHOD, OTHER, Scram, USER, User};
use crate::vocabulary::wire::{
    AUTHENTICATION_DATA, AUTHENTICATION_METHOD, Properties, REASON_STRING,
};
use crate::vocabulary::*;

const FORGETFUL: User = User { name: "user", password: "pen" };

/// Runs a test at a listener with two users.
fn guarded(test: impl FnOnce(&World)) {
    really_with(LISTENER, test);
}

/// A CONNECT that names the method.
fn with_method(client_id: &str) -> Connect {
    connect(client_id).with(authentication_method(METHOD))
}

/// A CONNECT that begins an exchange.
fn beginning(scram: &Scram) -> Connect {
    with_method("c").with(authentication_data(&scram.first()))
}

/// An AUTH of the method.
fn step(code: u8, data: &[u8]) -> Outcome {
    auth(code).with(authentication_method(METHOD)).with(authentication_data(data))
}

/// The data of a packet of the server, which repeats the method [MQTT-4.12.0-5].
#[track_caller]
fn data_of(properties: &Properties) -> Vec<u8> {
    assert_eq!(properties.all(AUTHENTICATION_METHOD), [&Value::Text(METHOD.to_owned())]);
    match properties.all(AUTHENTICATION_DATA)[..] {
        [Value::Binary(data)] => data.clone(),
        ref other => panic!("one Authentication Data: {other:?}"),
    }
}

/// The data of the AUTH that comes next, which has this Reason Code and nothing but the two
/// properties.
#[track_caller]
fn told(client: &mut Client, reason: u8) -> Vec<u8> {
    match client.next() {
        Packet::Auth { code, properties } if code == reason && properties.0.len() == 2 => {
            data_of(&properties)
        }
        other => panic!("expected an AUTH {reason:#04x} but came\n  {other:?}"),
    }
}

/// Answers the challenge that comes next.
#[track_caller]
fn prove(client: &mut Client, scram: &mut Scram) {
    let challenge = told(client, 0x18);
    client.send(step(0x18, &scram.last(&challenge)));
}

/// The exchange ends well: the server proves itself in its CONNACK.
#[track_caller]
fn admitted(client: &mut Client, scram: &Scram) {
    match client.next() {
        Packet::ConnAck { code: 0, properties, .. } => scram.assert_server(&data_of(&properties)),
        other => panic!("expected a CONNACK but came\n  {other:?}"),
    }
}

/// A client on this connection that has proved to be a user.
fn login(mut client: Client, connect: Connect, user: User) -> Client {
    let mut scram = Scram::new(user);
    client.send(connect.with(authentication_data(&scram.first())));
    prove(&mut client, &mut scram);
    admitted(&mut client, &scram);
    client
}

fn logged_in(world: &World) -> Client {
    login(world.client(V5), with_method("c"), USER)
}

/// A client that was challenged and did not answer yet.
fn challenged(world: &World) -> Client {
    let mut client = world.client(V5);
    client.send(beginning(&Scram::new(USER)));
    told(&mut client, 0x18);
    client
}

/// AUTH packets with wrong flags, before the CONNACK and after it.
#[test]
fn v5_mqtt_3_15_1_1_flags_other_than_0000_are_malformed() {
    guarded(|world| {
        for first in 0xF1..=0xFF {
            let mut client = challenged(world);
            client.send(raw([first, 0]));
            client.refused(0x81);

            let mut client = logged_in(world);
            client.send(raw([first, 0]));
            client.ends(0x81);
        }
    });
    everywhere(|world| {
        for first in 0xF1..=0xFF {
            let mut client = world.connected(V5, "c");
            client.send(raw([first, 0]));
            client.ends(0x81);
        }
    });
}

/// A client says 0x18 and 0x19 in their turn; 0x00 is the server's, and there are no others.
#[test]
fn v5_mqtt_3_15_2_1_no_other_reason_code_is_taken_from_a_client() {
    guarded(|world| {
        for code in (0x00..=0xFF).filter(|code| *code != 0x18) {
            let mut client = challenged(world);
            client.send(step(code, &Scram::new(USER).first()));
            client.refused(0x82);
        }
        let mut client = logged_in(world);
        for code in (0x00..=0xFF).filter(|code| *code != 0x19) {
            client.send(step(code, &Scram::new(USER).first()));
            client.ends(0x82);
            client = logged_in(world);
        }
    });
}

/// A challenge is sent whole, without the properties that may be left out [MQTT-3.15.2-3], or not
/// at all: then the client is refused, by a CONNACK that has no room for words either.
#[test]
fn v5_mqtt_3_15_2_2_no_auth_is_larger_than_the_client_allows() {
    guarded(|world| {
        let whole = challenged(world).last_bytes.len();
        for maximum in [5, 20, 64, whole - 1, whole, whole + 1] {
            let size = u32::try_from(maximum).unwrap();
            let mut client = world.client(V5);

            client.send(beginning(&Scram::new(USER)).with(maximum_packet_size(size)));

            if maximum < whole {
                client.refused(0x83);
            } else {
                told(&mut client, 0x18);
            }
            assert!(client.last_bytes.len() <= maximum, "{maximum}");
        }
    });
}

/// Nor has one a Reason String or User Properties for whom it asks for nothing but an answer.
#[test]
fn v5_mqtt_3_1_2_29_an_auth_explains_nothing_to_who_wants_no_problem_information() {
    guarded(|world| {
        for wanted in [0, 1] {
            let connect = with_method("c").with(request_problem_information(wanted));
            let mut client = login(world.client(V5), connect, USER);
            let mut scram = Scram::new(USER);

            client.send(step(0x19, &scram.first()));
            prove(&mut client, &mut scram);

            scram.assert_server(&told(&mut client, 0x00));
        }
    });
}

/// 5.0 s3.15.2.2.2, s3.15.2.2.3: the method is always there, and no property twice.
#[test]
fn v5_an_auth_with_other_properties_is_a_protocol_error() {
    guarded(|world| {
        let first = Scram::new(USER).first();
        for (said, code) in [
            (&raw([0xF0, 2, 0x19, 0]) as &dyn Said, 0x82),
            (&auth(0x19).with(authentication_data(&first)), 0x82),
            (&step(0x19, &first).with(authentication_method(METHOD)), 0x82),
            (&step(0x19, &first).with(authentication_data(&first)), 0x82),
            (&step(0x19, &first).with(session_expiry_interval(1)), 0x81),
        ] {
            let mut client = logged_in(world);

            client.send_all(&[said]);

            client.ends(code);
        }
        let mut client = logged_in(world);
        let user_property = user_property("a", "b");
        client.send(step(0x19, &first).with(reason_string("again")).with(user_property));
        told(&mut client, 0x18);
    });
}

/// 5.0 s3.15.2.1: without a content it means 0x00, which no client may say; any other code has a
/// Property Length behind it.
#[test]
fn v5_the_shortest_auth_is_a_success() {
    guarded(|world| {
        for (bytes, code) in [(&[0xF0, 0][..], 0x82), (&[0xF0, 1, 0x18], 0x81)] {
            let mut client = challenged(world);
            client.send(raw(bytes));
            client.refused(code);

            let mut client = logged_in(world);
            client.send(raw(bytes));
            client.ends(code);
        }
    });
}

#[test]
fn v5_mqtt_4_12_0_1_a_method_that_the_server_does_not_have_is_refused() {
    guarded(|world| {
        for method in ["scram-sha-256", "SCRAM-SHA-1", "PLAIN", ""] {
            let mut client = world.client(V5);

            client.send(connect("c").with(authentication_method(method)));

            client.refused(0x8C);
        }
    });
    really(|world| {
        let mut client = world.client(V5);

        client.send(with_method("c"));

        client.refused(0x8C);
    });
}

/// First for the client's first message, if CONNECT had none, then for its proof. All of them
/// repeat the method [MQTT-4.12.0-5].
#[test]
fn v5_mqtt_4_12_0_2_the_server_asks_for_more_by_0x18() {
    guarded(|world| {
        for user in [USER, OTHER] {
            let mut scram = Scram::new(user);
            let mut client = world.client(V5);

            client.send(with_method(user.name));
            client.expect(auth(0x18).with(authentication_method(METHOD)));
            client.send(step(0x18, &scram.first()));
            prove(&mut client, &mut scram);

            admitted(&mut client, &scram);
            client.sync();
        }
    });
}

/// Nor may anything else follow a challenge.
#[test]
fn v5_mqtt_4_12_0_3_the_client_answers_by_0x18() {
    guarded(|world| {
        let first = Scram::new(USER).first();
        for said in [
            &step(0x00, &first) as &dyn Said,
            &step(0x19, &first),
            &raw([0xF0, 2, 0x18, 0]),
            &beginning(&Scram::new(USER)),
            &publish("a"),
            &pingreq(),
        ] {
            let mut client = challenged(world);

            client.send_all(&[said]);

            client.refused(0x82);
        }
    });
}

/// By a CONNACK, which is the last packet [MQTT-3.14.0-1].
#[test]
fn v5_mqtt_4_12_0_4_the_server_refuses_at_each_step() {
    guarded(|world| {
        let mut client = world.client(V5);
        client.send(with_method("c").with(authentication_data(b"x")));
        client.refused(0x87);

        let mut client = world.client(V5);
        client.send(with_method("c"));
        client.expect(auth(0x18).with(authentication_method(METHOD)));
        client.send(step(0x18, b"x"));
        client.refused(0x87);

        // It asks for the first message once.
        let mut client = world.client(V5);
        client.send(with_method("c"));
        client.expect(auth(0x18).with(authentication_method(METHOD)));
        client.send(auth(0x18).with(authentication_method(METHOD)));
        client.refused(0x87);

        let mut client = challenged(world);
        client.send(step(0x18, b"c=biws,r=x,p=AAAA"));
        client.refused(0x87);

        for user in [FORGETFUL, User { name: "nobody", password: "pencil" }] {
            let mut scram = Scram::new(user);
            let mut client = world.client(V5);
            client.send(beginning(&scram));
            prove(&mut client, &mut scram);
            client.refused(0x87);
        }
    });
}

/// The server's side of it is compared in all of these tests.
#[test]
fn v5_mqtt_4_12_0_5_each_auth_names_the_method_of_the_connect() {
    guarded(|world| {
        for method in ["SCRAM-SHA-1", "scram-sha-256", ""] {
            let named = |code| {
                let data = authentication_data(&Scram::new(USER).first());
                auth(code).with(authentication_method(method)).with(data)
            };
            let mut client = challenged(world);
            client.send(named(0x18));
            client.refused(0x82);

            let mut client = logged_in(world);
            client.send(step(0x19, &Scram::new(USER).first()));
            told(&mut client, 0x18);
            client.send(named(0x18));
            client.ends(0x82);
        }
    });
}

/// Also where others prove themselves. A User Name alone proves nothing, and who counts on it is told
/// what would.
#[test]
fn v5_mqtt_4_12_0_6_without_a_method_the_server_says_nothing_of_one() {
    let open = LISTENER.replace("[[listener]]", "[[listener]]\nanonymous = true");
    everywhere_with(&open, |world| {
        for connect in [connect("c"), connect("c").username("user")] {
            let mut client = world.client(V5);

            client.send(connect);

            client.expect(connack().without(AUTHENTICATION_METHOD).without(AUTHENTICATION_DATA));
            client.expect_nothing();
        }
    });
    really_with(&open, |world| logged_in(world).sync());
    guarded(|world| {
        let mut client = world.client(V5);

        client.send(connect("c").username("user"));

        let packet = client.next();
        let Packet::ConnAck { code, properties, .. } = packet else { panic!("{packet:?}") };
        assert_eq!(code, 0x87);
        let [(REASON_STRING, Value::Text(text))] = &properties.0[..] else {
            panic!("{properties:?}")
        };
        assert!(text.contains("SCRAM-SHA-256") && !text.contains("anonymous"), "{text}");
        client.closes();
    });
}

#[test]
fn v5_mqtt_4_12_0_7_an_auth_of_a_client_without_a_method_is_a_protocol_error() {
    let open = LISTENER.replace("[[listener]]", "[[listener]]\nanonymous = true");
    everywhere_with(&open, |world| {
        for code in [0x18, 0x19, 0x00] {
            let mut client = world.connected(V5, "c");

            client.send(step(code, &Scram::new(USER).first()));

            client.ends(0x82);
        }
    });
}

/// It ends with an AUTH of 0x00 [MQTT-3.15.2-1] and may begin again, also without data; other
/// packets go on in between and are answered in their order.
#[test]
fn v5_mqtt_4_12_1_1_a_client_authenticates_again_by_0x19() {
    guarded(|world| {
        let mut client = logged_in(world);
        client.subscribed(subscribe("a").qos(1));
        for with_data in [true, true, false] {
            let mut scram = Scram::new(USER);

            if with_data {
                client.send(step(0x19, &scram.first()));
            } else {
                client.send(auth(0x19).with(authentication_method(METHOD)));
                client.expect(auth(0x18).with(authentication_method(METHOD)));
                client.send(step(0x18, &scram.first()));
            }
            let challenge = told(&mut client, 0x18);
            client.send(publish("a").qos(1).id(1));
            client.expect_any_order(&[&publish("a").qos(1), &puback(1)]);
            client.send_all(&[&pingreq(), &step(0x18, &scram.last(&challenge)), &pingreq()]);

            client.expect(pingresp());
            scram.assert_server(&told(&mut client, 0x00));
            client.expect(pingresp());
        }
    });
}

#[test]
fn v5_mqtt_4_12_1_1_to_begin_otherwise_is_a_protocol_error() {
    guarded(|world| {
        let first = Scram::new(USER).first();
        let other = auth(0x19).with(authentication_method("SCRAM-SHA-1"));
        for auth in [other.with(authentication_data(&first)), step(0x18, &first)] {
            let mut client = logged_in(world);

            client.send(auth);

            client.ends(0x82);
        }
        let mut client = logged_in(world);
        client.send(step(0x19, &first));
        told(&mut client, 0x18);
        client.send(step(0x19, &first));
        client.ends(0x82);
    });
}

/// What follows the failure is not heard, and the Will is sent. Another user is refused even with
/// its own password.
#[test]
fn v5_mqtt_4_12_1_2_who_fails_to_authenticate_again_is_disconnected() {
    guarded(|world| {
        let mut watcher = login(world.client(V5), with_method("watcher"), OTHER);
        watcher.subscribed(subscribe("will").and("a"));
        for user in [FORGETFUL, OTHER] {
            let will = Will::new("will", "gone").qos(0);
            let mut client = login(world.client(V5), with_method("c").will(will), USER);
            let mut scram = Scram::new(user);
            client.send(step(0x19, &scram.first()));
            let challenge = told(&mut client, 0x18);

            client.send_all(&[&step(0x18, &scram.last(&challenge)), &publish("a")]);

            client.ends(0x87);
            watcher.expect(publish("will").payload("gone"));
            watcher.expect_nothing();
        }
        let mut client = logged_in(world);
        client.send(step(0x19, b"x"));
        client.ends(0x87);
    });
}
