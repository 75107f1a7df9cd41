//! CONNECT: its properties and what the broker keeps to because of them (3.1.2.11).

use crate::vocabulary::*;

/// 5.0 s3.1.2.11.3 to s3.1.2.11.10: what these properties may not say, by the Reason Code.
#[test]
fn v5_s3_1_2_11_a_forbidden_value_is_a_protocol_error() {
    everywhere(|world| {
        for property in [
            receive_maximum(0),
            maximum_packet_size(0),
            request_response_information(2),
            request_response_information(0xFF),
            request_problem_information(2),
            authentication_data(b"data"),
        ] {
            let mut stranger = world.client(V5);

            stranger.send(connect("c").with(property));

            stranger.refused(0x82);
        }
    });
}

#[test]
fn v5_s3_1_2_11_the_values_at_the_limits_are_taken() {
    everywhere(|world| {
        for property in [
            receive_maximum(1),
            receive_maximum(u16::MAX),
            maximum_packet_size(100),
            maximum_packet_size(u32::MAX),
            topic_alias_maximum(0),
            topic_alias_maximum(u16::MAX),
            request_response_information(0),
            request_response_information(1),
            request_problem_information(0),
            request_problem_information(1),
            session_expiry_interval(0),
            user_property("", ""),
        ] {
            world.connect(V5, connect("c").with(property)).leave();
        }
    });
}

/// A client to whom the broker may send packets of so many bytes.
fn narrow(world: &World, client_id: &str, bytes: u32) -> Client {
    world.connect(V5, connect(client_id).with(maximum_packet_size(bytes)))
}

/// Takes a message to the end of its exchange, and gives the length of its packet.
#[track_caller]
fn take(client: &mut Client, payload_bytes: usize) -> usize {
    let message = client.message();
    assert_eq!(message.payload.len(), payload_bytes);
    let (length, id) = (client.last_bytes.len(), message.packet_id);
    match message.qos {
        0 => {}
        1 => client.send(puback(id)),
        _ => {
            client.send(pubrec(id));
            client.expect(pubrel(id));
            client.send(pubcomp(id));
        }
    }
    length
}

/// All bytes of a packet count. One that is too long is dropped for this client only.
#[test]
fn v5_mqtt_3_1_2_24_no_packet_is_longer_than_the_clients_maximum() {
    everywhere(|world| {
        let mut small = narrow(world, "small", 200);
        let mut others = [world.connected(V5, "wide"), world.connected(V311, "old")];
        let mut publisher = world.connected(V5, "publisher");
        for qos in 0..=2 {
            small.subscribed(subscribe("t").qos(qos));
            for other in &mut others {
                other.subscribed(subscribe("t").qos(qos));
            }
            // The fixed header takes 3 bytes, the topic 3, no properties 1, a Packet Identifier 2.
            let fits = if qos == 0 { 193 } else { 191 };
            for length in [fits, fits + 1, 10, 2_000, fits] {
                publisher.published(publish("t").payload(vec![b'x'; length]).qos(qos));

                for other in &mut others {
                    take(other, length);
                }
                if length <= fits {
                    let whole = take(&mut small, length);
                    assert_eq!(whole == 200, length == fits);
                }
            }
            small.expect_nothing();
        }
    });
}

/// What the broker adds counts too: here a Subscription Identifier of two bytes.
#[test]
fn v5_mqtt_3_1_2_24_a_subscription_identifier_counts() {
    everywhere(|world| {
        let mut small = narrow(world, "small", 200);
        small.subscribed(subscribe("t").qos(1).with(subscription_identifier(1)));
        let mut publisher = world.connected(V5, "publisher");
        for (qos, fits) in [(0, 191), (1, 189)] {
            publisher.published(publish("t").payload(vec![b'x'; fits]).qos(qos));
            publisher.published(publish("t").payload(vec![b'x'; fits + 1]).qos(qos));
            publisher.published(publish("t").payload("next").qos(qos));

            assert_eq!(take(&mut small, fits), 200);
            take(&mut small, 4);
        }
    });
}

/// A Topic Alias is not set where the packet would become too long by it.
#[test]
fn v5_mqtt_3_1_2_24_a_topic_alias_makes_no_packet_too_long() {
    everywhere(|world| {
        let properties = (maximum_packet_size(200), topic_alias_maximum(2));
        let connect = connect("small").with(properties.0).with(properties.1);
        let mut small = world.connect(V5, connect);
        small.subscribed(subscribe("#"));
        let mut publisher = world.connected(V5, "publisher");
        for missing in 0..8 {
            let topic = format!("topic-{missing}");
            // Beside the payload there are 3 + 2 + 7 + 1 bytes.
            publisher.published(publish(&topic).payload(vec![b'x'; 187 - missing]));

            let length = take(&mut small, 187 - missing);
            assert!((200 - missing..=200).contains(&length), "{length}");
        }
        small.expect_nothing();
    });
}

/// With a Receive Maximum of 1 a message that counted as open would stop all others.
#[test]
fn v5_mqtt_3_1_2_25_a_message_that_is_too_long_counts_as_delivered() {
    everywhere(|world| {
        let connect = lasting("small").with(maximum_packet_size(100)).with(receive_maximum(1));
        let mut small = world.connect(V5, connect.clone());
        small.subscribed(subscribe("t").qos(2));
        let mut publisher = world.connected(V5, "publisher");
        for qos in [1, 2, 1] {
            // Who published it is not told of any trouble.
            publisher.published(publish("t").payload(vec![b'x'; 100]).qos(qos));
        }
        publisher.published(publish("t").payload("fits").qos(1));

        small.expect(publish("t").payload("fits").qos(1));
        small.cut();
        // Nor is it sent when the client is back and would take it.
        let mut wide = world.resume(V5, lasting("small"));
        wide.expect(publish("t").payload("fits").qos(1).dup());
        wide.expect_nothing();
    });
}

/// 5.0 s3.1.2.11.4 leaves it to the server what becomes of it. dunlin drops it for the member whose
/// turn it was.
#[test]
fn v5_mqtt_3_1_2_25_a_shared_message_that_is_too_long_stops_nothing() {
    everywhere(|world| {
        let mut small = narrow(world, "small", 100);
        small.subscribed(subscribe("$share/g/t").qos(1));
        let mut publisher = world.connected(V5, "publisher");
        for qos in [0, 1] {
            publisher.published(publish("t").payload(vec![b'x'; 100]).qos(qos));
            publisher.published(publish("t").payload("fits").qos(qos));

            take(&mut small, 4);
        }
        small.expect_nothing();
    });
}

/// Nor does one that waited while the client took longer ones, or that was retained.
#[test]
fn v5_mqtt_3_1_2_25_a_kept_message_that_is_too_long_is_left_out() {
    everywhere(|world| {
        let mut client = world.connect(V5, lasting("c"));
        client.subscribed(subscribe("t").qos(1));
        client.leave();
        let mut publisher = world.connected(V5, "publisher");
        publisher.published(publish("t").payload(vec![b'x'; 100]).qos(1));
        publisher.published(publish("t").payload("fits").qos(1));
        publisher.published(publish("kept/long").payload(vec![b'x'; 100]).retain().qos(1));
        publisher.published(publish("kept/short").retain().qos(1));

        let narrow = lasting("c").with(maximum_packet_size(100)).with(receive_maximum(1));
        let mut client = world.resume(V5, narrow);

        client.expect(publish("t").payload("fits").qos(1));
        client.subscribed(subscribe("kept/+"));
        client.expect(publish("kept/short").retain());
        client.expect_nothing();
    });
}

/// Nor one that was sent before, to a client that takes it no more. At QoS 2 it may have it already
/// and wait for the PUBREL, which it takes.
#[test]
fn v5_mqtt_3_1_2_25_a_message_sent_before_that_is_too_long_is_not_sent_again() {
    everywhere(|world| {
        let mut client = world.connect(V5, lasting("c"));
        client.subscribed(subscribe("t").qos(2));
        let mut publisher = world.connected(V5, "publisher");
        let long = publish("t").payload(vec![b'x'; 100]);
        for message in [long.clone().qos(2), long.clone().qos(1), long.qos(2)] {
            publisher.published(message.clone());
            client.expect(message);
        }
        client.send(pubrec(1));
        client.expect(pubrel(1));
        client.cut();
        publisher.published(publish("t").payload("fits").qos(1));

        let narrow = lasting("c").with(maximum_packet_size(100)).with(receive_maximum(3));
        let mut client = world.resume(V5, narrow);

        let fits = publish("t").payload("fits").qos(1);
        client.expect_any_order(&[&pubrel(1), &pubrel(3), &fits]);
        client.expect_nothing();
    });
}

/// Of each Reason Code a SUBACK or an UNSUBACK has a byte, and they cannot be left out: the client
/// is told that they are too many.
#[test]
fn v5_mqtt_3_1_2_24_an_acknowledgement_that_is_too_long_ends_the_connection() {
    everywhere(|world| {
        let many = |count: usize| {
            (1..count).fold(subscribe("t/0"), |said, number| said.and(&format!("t/{number}")))
        };
        let fewer = |count: usize| {
            (1..count).fold(unsubscribe("t/0"), |said, number| said.and(&format!("t/{number}")))
        };
        // Beside the codes there are 5 bytes.
        let mut client = narrow(world, "c", 40);
        client.subscribed(many(35));
        assert_eq!(client.last_bytes.len(), 40);
        client.send(fewer(35));
        client.expect(unsuback(1, &[0; 35]));
        client.send(many(36));
        client.ends(0x95);

        let mut client = narrow(world, "c", 40);
        client.send(fewer(36));
        client.ends(0x95);
    });
}

/// The answer to the CONNECT is a packet too.
#[test]
fn v5_mqtt_3_1_2_24_a_client_without_room_for_its_connack_is_not_served() {
    everywhere(|world| {
        let mut stranger = world.client(V5);
        stranger.send(connect("c").with(maximum_packet_size(15)));
        stranger.refused(0x95);
        assert!(stranger.last_bytes.len() <= 15);

        let mut stranger = world.client(V5);
        stranger.send(connect("c").with(maximum_packet_size(4)));
        stranger.closes();
    });
}

/// It begins the topics that are the client's own (5.0 s4.10.1).
#[test]
fn v5_mqtt_3_1_2_28_response_information_is_for_who_asks() {
    everywhere(|world| {
        for connect in [connect("c"), connect("c").with(request_response_information(0))] {
            let mut client = world.client(V5);
            client.send(connect);
            client.expect(connack().without(wire::RESPONSE_INFORMATION));
        }

        // A name with a wildcard begins no topic.
        let mut client = world.client(V5);
        client.send(connect("a#b").with(request_response_information(1)));
        client.expect(connack().without(wire::RESPONSE_INFORMATION));

        let mut client = world.client(V5);
        client.send(connect("c").with(request_response_information(1)));
        client.expect(connack().with(response_information("response/c")));
        client.subscribed(subscribe("response/c"));
        world.connected(V5, "responder").published(publish("response/c"));
        client.expect(publish("response/c"));
    });
}

/// PRODUCT: the administrator says how it begins, or that there is none.
#[test]
fn v5_mqtt_3_1_2_28_response_information_is_as_configured() {
    for (begin, expected) in [
        ("reply/to/", connack().with(response_information("reply/to/c"))),
        ("", connack().without(wire::RESPONSE_INFORMATION)),
    ] {
        everywhere_with(&format!("session.response_information = \"{begin}\""), |world| {
            let mut client = world.client(V5);
            client.send(connect("c").with(request_response_information(1)));
            client.expect(expected.clone());
        });
    }
}

/// The Reason Strings and User Properties of what comes next, which has this Reason Code.
#[track_caller]
fn explanations(client: &mut Client, expected: u8) -> usize {
    let (code, properties) = match client.next() {
        Packet::PubAck { code, properties, .. }
        | Packet::PubRec { code, properties, .. }
        | Packet::PubComp { code, properties, .. }
        | Packet::PubRel { code, properties, .. } => (code, properties),
        Packet::SubAck { codes, properties, .. } | Packet::UnsubAck { codes, properties, .. } => {
            (codes[0], properties)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(code, expected);
    properties.all(wire::REASON_STRING).len() + properties.all(wire::USER_PROPERTY).len()
}

/// Each refusal that does not end the connection.
fn refusals(client: &mut Client) -> Vec<usize> {
    let mut found = Vec::new();
    client.send(publish("$SYS/x").qos(1));
    found.push(explanations(client, 0x87));
    client.send(publish("$SYS/x").qos(2));
    found.push(explanations(client, 0x87));
    client.send(subscribe("a/#/b"));
    found.push(explanations(client, 0x8F));
    client.send(pubrel(77));
    found.push(explanations(client, 0x92));
    client.send(unsubscribe("a/#/b"));
    found.push(explanations(client, 0x8F));
    client.send(pubrec(78));
    found.push(explanations(client, 0x92));
    found
}

/// Explanations are left to what may have them all the same.
#[test]
fn v5_mqtt_3_1_2_29_who_wants_no_problem_information_gets_none() {
    everywhere(|world| {
        let mut client = world.connect(V5, connect("c").with(request_problem_information(0)));
        assert_eq!(refusals(&mut client), [0; 6]);

        // Who does not say so gets it (5.0 s3.1.2.11.7).
        for connect in [connect("c"), connect("c").with(request_problem_information(1))] {
            let mut client = world.connect(V5, connect);
            assert_eq!(refusals(&mut client)[..3], [1; 3]);
        }
    });
}

/// A message's own User Properties are not the broker's.
#[test]
fn v5_mqtt_3_1_2_29_the_properties_of_messages_are_no_problem_information() {
    everywhere(|world| {
        let mut client = world.connect(V5, connect("c").with(request_problem_information(0)));
        client.subscribed(subscribe("t"));

        let message = publish("t").with(user_property("a", "b"));
        world.connected(V5, "publisher").published(message.clone());

        client.expect(message);
    });
}

/// dunlin takes anything else for a Protocol Error.
#[test]
fn v5_mqtt_3_1_2_30_before_its_connack_a_client_sends_auth_or_disconnect_only() {
    const GUARDED: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
        [[listener.credential]]\nusername = \"user\"\npassword = \"pencil\"\n";
    really_with(GUARDED, |world| {
        let mut watcher = world.connected(V5, "watcher");
        watcher.subscribed(subscribe("#"));
        let others: [&dyn Said; 4] =
            [&publish("t").retain(), &subscribe("t"), &pingreq(), &connect("c")];
        for other in others {
            let mut client = world.client(V5);
            client.send(connect("c").with(authentication_method("SCRAM-SHA-256")));
            client.expect(auth(0x18).with(authentication_method("SCRAM-SHA-256")));

            client.send_all(&[other]);

            client.refused(0x82);
            watcher.expect_nothing();
        }
        let mut client = world.client(V5);
        client.send(connect("c").with(authentication_method("SCRAM-SHA-256")));
        client.expect(auth(0x18).with(authentication_method("SCRAM-SHA-256")));
        client.send(disconnect());
        client.closes();
    });
}
