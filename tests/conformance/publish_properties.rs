//! PUBLISH: its properties (3.3.2.3), but for the Topic Alias and the Message Expiry Interval.

use crate::vocabulary::property::Property;
use crate::vocabulary::said::{Publish, Raw};
use crate::vocabulary::wire::Properties;
use crate::vocabulary::*;

/// A message reaches every 5.0 subscriber as it came, and the others without its properties: at
/// once, by a Topic Alias, out of a queue, sent again, as a member of a group and as a Retained
/// Message.
fn is_handed_on(with: impl Fn(Publish) -> Publish) {
    everywhere(|world| {
        reaches_who_is_there(world, &with);
        reaches_who_comes_later(world, &with);
    });
}

fn reaches_who_is_there(world: &World, with: &impl Fn(Publish) -> Publish) {
    let mut live: Vec<_> = [(V5, "0"), (V5, "1"), (V5, "2"), (V311, "old")]
        .into_iter()
        .zip([0, 1, 2, 2])
        .map(|((version, client_id), granted)| {
            let mut client = world.connected(version, client_id);
            client.subscribed(subscribe("topic").qos(granted));
            (client, granted)
        })
        .collect();
    // What names its Subscription is encoded anew at every QoS.
    let mut numbering = world.connected(V5, "numbering");
    numbering.subscribed(subscribe("topic").qos(2).with(subscription_identifier(9)));
    let mut member = world.connected(V5, "member");
    member.subscribed(subscribe("$share/g/topic").qos(2));
    let aliasing = connect("aliasing").with(topic_alias_maximum(1));
    let mut aliasing = world.connect(V5, aliasing);
    aliasing.subscribed(subscribe("topic").qos(1));
    let mut publisher = world.connected(V5, "publisher");

    for qos in 0..=2 {
        publisher.published(with(publish("topic").qos(qos)));
        for (client, granted) in &mut live {
            client.takes(with(publish("topic").qos(qos.min(*granted))));
        }
        numbering.takes(with(publish("topic").qos(qos)).with(subscription_identifier(9)));
        member.takes(with(publish("topic").qos(qos)));
        // The topic stands beside its alias once.
        let topic = if qos == 0 { "topic" } else { "" };
        aliasing.takes(with(publish(topic).qos(qos.min(1))).with(topic_alias(1)));
    }
}

fn reaches_who_comes_later(world: &World, with: &impl Fn(Publish) -> Publish) {
    world.subscriber(V5, "away", subscribe("topic").qos(2)).leave();
    world.subscriber(V5, "member away", subscribe("$share/h/topic").qos(2)).leave();
    let mut cut_off = world.subscriber(V5, "cut off", subscribe("topic").qos(2));
    let mut publisher = world.connected(V5, "publisher");
    let messages = || [1, 2].map(|qos| with(publish("topic").qos(qos)));
    for message in messages() {
        publisher.published(message.clone());
        cut_off.expect(message);
    }
    publisher.published(with(publish("kept").qos(2).retain()));
    cut_off.cut();

    let mut away = world.resume(V5, lasting("away"));
    let mut member = world.resume(V5, lasting("member away"));
    let mut again = world.resume(V5, lasting("cut off"));
    for message in messages() {
        away.takes(message.clone());
        member.takes(message.clone());
        again.expect(message.dup());
    }
    for mut later in [away, member, again] {
        later.subscribed(subscribe("kept").qos(2));
        later.takes(with(publish("kept").qos(2).retain()));
        later.expect_nothing();
    }
}

/// PUBLISH of QoS 0 to `t` with these bytes as its properties.
fn publish_with(properties: &[u8]) -> Raw {
    let length = u8::try_from(properties.len()).expect("few properties");
    let body = [&[0, 1, b't', length], properties, b"payload"].concat();
    let remaining = u8::try_from(body.len()).expect("a short packet");
    raw([&[0x30, remaining], &body[..]].concat())
}

/// The properties make the PUBLISH one that ends the connection, and nobody gets it.
fn is_refused(properties: &[&[u8]], code: u8) {
    everywhere(|world| {
        let mut watcher = world.connected(V5, "watcher");
        watcher.subscribed(subscribe("#"));
        for bytes in properties {
            eprintln!("{bytes:02x?}");
            let mut client = world.connected(V5, "client");

            client.send(publish_with(bytes));

            client.ends(code);
        }
        watcher.expect_nothing();
    });
}

#[test]
fn v5_mqtt_3_3_2_4_the_payload_format_indicator_is_handed_on() {
    for value in 0..=1 {
        is_handed_on(|message| message.with(payload_format_indicator(value)));
    }
}

/// 5.0 s3.3.2.3.2: a server may look whether the payload is what the indicator says. This one does
/// not, and hands it on. [MQTT-3.3.2-4]
#[test]
fn a_payload_that_is_not_the_text_it_claims_to_be_is_handed_on() {
    is_handed_on(|message| message.payload(b"\xff\xfe").with(payload_format_indicator(1)));
}

#[test]
fn v5_mqtt_3_3_2_15_the_response_topic_is_handed_on() {
    let longest = "r".repeat(65_535);
    for topic in ["answers/to me", "/", "$SYS/x", &longest] {
        is_handed_on(|message| message.with(response_topic(topic)));
    }
}

#[test]
fn v5_mqtt_3_3_2_16_the_correlation_data_are_handed_on() {
    for data in [&b""[..], b"\0\xff\0", &[7; 65_535]] {
        is_handed_on(|message| message.with(correlation_data(data)));
    }
}

#[test]
fn v5_mqtt_3_3_2_17_all_user_properties_are_handed_on() {
    let longest = "v".repeat(65_535);
    is_handed_on(|message| {
        let message = message.with(user_property("", "")).with(user_property("name", ""));
        let message = message.with(user_property("name", "value"));
        message.with(user_property("name", "value")).with(user_property("n", &longest))
    });
}

/// Also those that other properties stand between.
#[test]
fn v5_mqtt_3_3_2_18_user_properties_keep_their_order() {
    is_handed_on(|message| {
        message
            .with(user_property("b", "1"))
            .with(content_type("text"))
            .with(user_property("a", "2"))
            .with(correlation_data(b"x"))
            .with(user_property("b", "1"))
            .with(user_property("a", "0"))
            .with(payload_format_indicator(0))
            .with(user_property("c", "3"))
    });
}

/// What stands between them may also be what is not handed on as it is. [MQTT-3.3.2-17]
#[test]
fn v5_mqtt_3_3_2_18_user_properties_keep_their_order_around_a_topic_alias() {
    everywhere(|world| {
        let mut subscriber = world.connected(V5, "subscriber");
        subscriber.subscribed(subscribe("t").qos(2));
        let mut publisher = world.connected(V5, "publisher");
        let ordered = |message: Publish, between: [Property; 2]| {
            let message = message.with(user_property("z", "1")).with(between[0].clone());
            let message = message.with(user_property("a", "2")).with(between[1].clone());
            message.with(user_property("z", "0"))
        };

        for qos in 0..=2 {
            let between = [topic_alias(1), message_expiry_interval(60)];
            publisher.published(ordered(publish("t").qos(qos), between));

            let received = publish("t").qos(qos).with(message_expiry_interval(60));
            let received = received.with(user_property("z", "1")).with(user_property("a", "2"));
            subscriber.takes(received.with(user_property("z", "0")));
        }
    });
}

#[test]
fn v5_mqtt_3_3_2_20_the_content_type_is_handed_on() {
    for value in ["", "application/json; charset=utf-8", "\u{1F986}"] {
        is_handed_on(|message| message.with(content_type(value)));
    }
}

/// All at once, before a payload that is not copied for each subscriber. The clock stands still, so
/// that nothing is taken off the interval [MQTT-3.3.2-6].
#[test]
fn a_message_with_every_property_is_handed_on() {
    let with = |message: Publish| {
        message
            .payload([b'p'; 5_000])
            .with(user_property("first", "1"))
            .with(correlation_data(b"id"))
            .with(response_topic("answers"))
            .with(payload_format_indicator(1))
            .with(content_type("text/plain"))
            .with(message_expiry_interval(u32::MAX))
            .with(user_property("last", "2"))
    };
    with_clock(|world| {
        reaches_who_is_there(world, &with);
        reaches_who_comes_later(world, &with);
    });
    is_handed_on(|message| {
        let message = message.payload([b'p'; 5_000]).with(correlation_data(b"id"));
        message.with(user_property("last", "2"))
    });
}

#[test]
fn v5_mqtt_3_3_2_13_a_response_topic_that_is_not_utf_8_is_malformed() {
    let ill_formed: [&[u8]; 4] = [
        &[0x08, 0, 1, 0xFF],
        &[0x08, 0, 3, 0xED, 0xA0, 0x80],
        &[0x08, 0, 2, b'r', 0],
        &[0x08, 0, 9, b'r'],
    ];
    is_refused(&ill_formed, 0x81);
}

/// The code is the broker's choice.
#[test]
fn v5_mqtt_3_3_2_14_a_response_topic_with_a_wildcard_is_a_protocol_error() {
    everywhere(|world| {
        let mut watcher = world.connected(V5, "watcher");
        watcher.subscribed(subscribe("t"));
        for topic in ["#", "+", "answers/+", "answers/#", "+/a", "a+b", "a#"] {
            let mut client = world.connected(V5, "client");

            client.send(publish("t").qos(1).with(response_topic(topic)));

            client.ends(0x82);
        }
        watcher.expect_nothing();
    });
}

/// 5.0 s3.1.3.2.6: that of a Will is handed on with it. [MQTT-3.3.2-14]
#[test]
fn a_will_whose_response_topic_has_a_wildcard_is_refused() {
    everywhere(|world| {
        for topic in ["#", "answers/+"] {
            let properties = Properties(vec![response_topic(topic)]);
            let mut client = world.client(V5);

            client.send(connect("client").will(Will { properties, ..Will::new("t", "gone") }));

            client.refused(0x82);
        }
    });
}

#[test]
fn v5_mqtt_3_3_2_19_a_content_type_that_is_not_utf_8_is_malformed() {
    let ill_formed: [&[u8]; 4] = [
        &[0x03, 0, 1, 0xFF],
        &[0x03, 0, 3, 0xED, 0xA0, 0x80],
        &[0x03, 0, 2, b'r', 0],
        &[0x03, 0, 9, b'r'],
    ];
    is_refused(&ill_formed, 0x81);
}

/// 5.0 s3.3.2.3, s2.2.2.2: all but the User Property stand once.
#[test]
fn a_property_that_stands_twice_in_a_publish_is_a_protocol_error() {
    let twice: [&[u8]; 6] = [
        &[0x01, 0, 0x01, 0],
        &[0x02, 0, 0, 0, 9, 0x02, 0, 0, 0, 9],
        &[0x03, 0, 1, b'c', 0x03, 0, 1, b'c'],
        &[0x08, 0, 1, b'r', 0x26, 0, 0, 0, 0, 0x08, 0, 1, b'r'],
        &[0x09, 0, 0, 0x09, 0, 0],
        &[0x23, 0, 1, 0x23, 0, 1],
    ];
    is_refused(&twice, 0x82);
}

/// 5.0 s2.2.2.2
#[test]
fn a_property_that_a_publish_cannot_have_is_malformed() {
    let elsewhere: [&[u8]; 19] = [
        &[0x11, 0, 0, 0, 1],
        &[0x12, 0, 1, b'c'],
        &[0x13, 0, 1],
        &[0x15, 0, 1, b'm'],
        &[0x16, 0, 1, b'd'],
        &[0x17, 1],
        &[0x18, 0, 0, 0, 1],
        &[0x19, 1],
        &[0x1A, 0, 1, b'i'],
        &[0x1C, 0, 1, b's'],
        &[0x1F, 0, 1, b'r'],
        &[0x21, 0, 1],
        &[0x22, 0, 1],
        &[0x24, 1],
        &[0x25, 1],
        &[0x27, 0, 0, 1, 0],
        &[0x28, 1],
        &[0x29, 1],
        &[0x2A, 1],
    ];
    is_refused(&elsewhere, 0x81);
    let unknown: [&[u8]; 5] = [&[0x00], &[0x04, 0], &[0x7F, 0], &[0x80, 0x01, 0], &[0x2B, 1]];
    is_refused(&unknown, 0x81);
}

/// 5.0 s3.3.2.3.2: it is 0 or 1.
#[test]
fn a_payload_format_indicator_above_1_is_a_protocol_error() {
    is_refused(&[&[0x01, 2], &[0x01, 0xFF]], 0x82);
}

/// 5.0 s2.2.2.2: a value is of its type, and ends with the properties.
#[test]
fn a_property_that_is_cut_off_is_malformed() {
    let cut_off: [&[u8]; 6] = [
        &[0x01],
        &[0x02, 0, 0, 0],
        &[0x09, 0, 200, 1],
        &[0x23, 0],
        &[0x26, 0, 1, b'n'],
        &[0x26, 0, 1, b'n', 0, 9, b'v'],
    ];
    is_refused(&cut_off, 0x81);
}

/// 5.0 s3.3.2.3.1: their length is there, in its shortest form, and true.
#[test]
fn a_wrong_length_of_the_properties_is_malformed() {
    let wrong: [&[u8]; 5] = [
        &[0x30, 3, 0, 1, b't'],
        &[0x30, 5, 0, 1, b't', 2, 0x01],
        &[0x30, 5, 0, 1, b't', 0x80, 0x00],
        &[0x30, 4, 0, 1, b't', 0x80],
        &[0x30, 8, 0, 1, b't', 0x80, 0x80, 0x80, 0x80, 0x01],
    ];
    everywhere(|world| {
        for bytes in wrong {
            let mut client = world.connected(V5, "client");

            client.send(raw(bytes));

            client.ends(0x81);
        }
    });
}
