//! Strange, excessive or needless, and yet allowed: the connection goes on.

use crate::{
    case::{Answer, CLIENT_ID, Case, Corpus, Expected, Step},
    connect::Connect,
    layout::{
        Fill, VERSIONS, carrier, connect_as, connect_of, publish_to, subscribe_to, unsubscribe_from,
    },
    property::{PLACES, Place, property, section},
    wire::{Properties, TOPIC_ALIAS, Value, Version, acknowledge, binary, packet, publish, text},
};

pub(super) fn add(corpus: &mut Corpus) {
    let rule = "[MQTT-1.5.4-3] [MQTT-3.3.4-1] [MQTT-3.12.4-1] [MQTT-4.3.3-10] [MQTT-4.7.3-1] \
                [MQTT3-1.5.3-3] [MQTT3-3.3.4-1] [MQTT3-3.12.4-1] [MQTT3-4.3.3-2] [MQTT3-4.7.3-1]";
    corpus.add("excess that is allowed", rule, VERSIONS.map(excess).concat());
    corpus.add("odd topics that are allowed", rule, VERSIONS.map(topics).concat());
    corpus.add("short forms", "5.0 s3.4.2, s3.14.2", short_forms());
    corpus.add("many User Properties", "5.0 s1.5.7, s2.2.2.2", user_properties());
    corpus.add("odd values that are allowed", "5.0 s3.1.2.11, s3.3.2.3", values());
}

fn excess(version: Version) -> Vec<Case> {
    let none = Properties::default();
    let mut cases = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, answers: Vec<Answer>| {
        cases.push(Case::new(name, version, bytes, Expected::Answered(answers)));
    };
    let again = |first| publish(version, first, "refused/t", 7, &none, b"x");
    let published = Answer::published;
    add("DUP of a new PUBLISH of QoS 1", again(0x3A), published(1));
    add("DUP of a new PUBLISH of QoS 2", again(0x3C), published(2));
    // At QoS 1 it is a new message each time; of QoS 2 only the first one is.
    let twice = [published(1), published(1)].concat();
    add("one Packet Identifier twice at QoS 1", [again(0x32), again(0x32)].concat(), twice);
    let twice = [published(2), vec![Answer::new(0x50, &[0])]].concat();
    add("one Packet Identifier twice at QoS 2", [again(0x34), again(0x3C)].concat(), twice);
    let released = [again(0x34), acknowledge(0x62, 7), again(0x34)].concat();
    let answers = [published(2), vec![Answer::new(0x70, &[0])], published(2)].concat();
    add("one Packet Identifier again after PUBREL", released, answers);
    add("no payload", publish(version, 0x32, "refused/t", 1, &none, b""), published(1));
    let payload = vec![0xFF; 1 << 20];
    add(
        "a payload of 1 MiB",
        publish(version, 0x32, "refused/t", 1, &none, &payload),
        published(1),
    );
    add("a hundred PUBLISH packets", publish_to(version, b"refused/t").repeat(100), vec![]);
    let filters: Vec<u8> =
        (0..1_000).flat_map(|number| [text(&format!("many/{number}")), vec![0]].concat()).collect();
    let empty: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let subscribe = packet(0x82, &[&[0, 1], empty, &filters].concat());
    add("a thousand Topic Filters", subscribe, vec![Answer::sub_ack(&[0; 1_000])]);
    let same = subscribe_to(version, b"same", 1).repeat(50);
    add("one Topic Filter fifty times", same, vec![Answer::sub_ack(&[1]); 50]);
    let codes: &[u8] = if version == Version::V5 { &[0x11] } else { &[] };
    let gone = unsubscribe_from(version, b"never/had");
    add("UNSUBSCRIBE from what was not had", gone, vec![Answer::new(0xB0, codes)]);

    let connected = || Expected::Answered(vec![Answer::conn_ack()]);
    let mut first = |name: &str, bytes: Vec<u8>| {
        cases.push(Case::first(name, version, bytes, connected()));
    };
    let with = |flags: u8, field: &str, bytes: &[u8]| {
        connect_of(version, Fill::Bare, flags).with_field(field, bytes)
    };
    first("an empty user name", with(0x82, "user name", &[0, 0]));
    first("an empty password", with(0xC2, "password", &[0, 0]));
    first("a password of 65,535 bytes", with(0xC2, "password", &binary(&[0xFF; 65_535])));
    first("a Will without a payload", with(0x06, "Will Payload", &[0, 0]));
    first("the highest Keep Alive", with(0x02, "Keep Alive", &[0xFF, 0xFF]));
    let bytes = connect_as(version, CLIENT_ID, 0x02);
    let packets = [bytes, subscribe_to(version, b"one", 2), publish_to(version, b"refused/t")];
    let answers = vec![Answer::conn_ack(), Answer::sub_ack(&[2])];
    let name = "CONNECT, SUBSCRIBE and PUBLISH in one write";
    cases.push(Case::first(name, version, packets.concat(), Expected::Answered(answers)));
    cases
}

fn topics(version: Version) -> Vec<Case> {
    let names = [
        "/",
        "//",
        "a//b",
        " ",
        "a b",
        "$other",
        "$SYSother",
        "$shared/t",
        "a/$SYS",
        "\u{FEFF}",
        "\u{e9}",
        "e\u{301}",
        "\u{1F600}",
        "*",
        "a/..",
        "A",
        "%2B",
    ];
    let none = Properties::default();
    let mut cases = Vec::new();
    for name in names {
        let bytes = publish(version, 0x32, name, 1, &none, b"x");
        let expected = Expected::Answered(Answer::published(1));
        cases.push(Case::new(format!("PUBLISH to {name:?}"), version, bytes, expected));
    }
    let filters = [
        "/",
        "//",
        "+/+/+/+/+/+/+",
        "a//#",
        "/+",
        "/#",
        " ",
        "$other/#",
        "$SYSother",
        "$shared/t",
        "$share/group/t/#",
        "$share/group//",
        "$share/\u{1F600}/t",
        "$share/$share/$share/a/b",
        "\u{FEFF}",
        "a/$SYS/+",
        // Without a slash it is no Shared Subscription.
        "$share",
    ];
    for filter in filters {
        let bytes = subscribe_to(version, filter.as_bytes(), 2);
        let expected = Expected::Answered(vec![Answer::sub_ack(&[2])]);
        cases.push(Case::new(format!("SUBSCRIBE to {filter:?}"), version, bytes, expected));
    }
    for length in [4_096, 128] {
        let topic = if length == 128 { "/".repeat(127) } else { "t".repeat(length) };
        let bytes = publish(version, 0x32, &topic, 1, &none, b"x");
        let expected = Expected::Answered(Answer::published(1));
        let name = format!("PUBLISH to the longest of {length}");
        cases.push(Case::new(name, version, bytes, expected));
        let bytes = subscribe_to(version, topic.as_bytes(), 0);
        let expected = Expected::Answered(vec![Answer::sub_ack(&[0])]);
        let name = format!("SUBSCRIBE to the longest of {length}");
        cases.push(Case::new(name, version, bytes, expected));
    }
    cases
}

/// Without a Reason Code, or without properties.
fn short_forms() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, first) in [("PUBACK", 0x40), ("PUBREC", 0x50), ("PUBREL", 0x62), ("PUBCOMP", 0x70)] {
        for body in [&[0, 1][..], &[0, 1, 0], &[0, 1, 0, 0]] {
            let name = format!("{name} of {} bytes", body.len());
            cases.push(Case::new(name, Version::V5, packet(first, body), Expected::Alive));
        }
    }
    for body in [&[][..], &[0], &[4], &[0, 0]] {
        let name = format!("DISCONNECT {body:02x?}");
        cases.push(Case::new(name, Version::V5, packet(0xE0, body), Expected::Closed));
    }
    cases
}

/// Any number of them, empty, long and with one name.
fn user_properties() -> Vec<Case> {
    let mut cases = Vec::new();
    let pair = |name: &str, value: &str| property(0x26).with(&[text(name), text(value)].concat());
    let long = "x".repeat(60_000);
    let forms = [
        ("a thousand User Properties", pair("name", "value").repeat(1_000)),
        ("an empty User Property", pair("", "")),
        ("a long User Property", pair(&long, &long)),
        ("a User Property of odd characters", pair("\u{1}\u{FEFF}", "\u{1F600}\u{FFFF}")),
    ];
    for place in PLACES {
        for (what, content) in &forms {
            let name = format!("{what} in {place:?}");
            let bytes = carrier(place).with_section(place, &section(content));
            cases.push(match place {
                Place::Connect | Place::Will => {
                    Case::first(name, Version::V5, bytes, Expected::Alive)
                }
                Place::Disconnect => Case::new(name, Version::V5, bytes, Expected::Closed),
                // Allowed nowhere on a connection like this.
                Place::Auth => continue,
                Place::Publish
                | Place::PubAck
                | Place::PubRec
                | Place::PubRel
                | Place::PubComp
                | Place::Subscribe
                | Place::Unsubscribe => Case::new(name, Version::V5, bytes, Expected::Alive),
            });
        }
    }
    cases
}

fn values() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |id: u8, place: Place, value: &[u8]| {
        let property = property(id);
        let name = format!("{} {value:02x?} in {place:?}", property.name);
        let section = section(&property.with(value));
        let bytes = carrier(place).with_section(place, &section);
        cases.push(match place {
            Place::Connect | Place::Will => Case::first(name, Version::V5, bytes, Expected::Alive),
            Place::Publish
            | Place::PubAck
            | Place::PubRec
            | Place::PubRel
            | Place::PubComp
            | Place::Subscribe
            | Place::Unsubscribe
            | Place::Disconnect
            | Place::Auth => Case::new(name, Version::V5, bytes, Expected::Alive),
        });
    };
    for place in [Place::Publish, Place::Will] {
        for value in [0_u32, 1, 0xFFFF_FFFF] {
            add(0x02, place, &value.to_be_bytes());
        }
        add(0x01, place, &[0]);
        add(0x03, place, &text(""));
        add(0x03, place, &text(" \u{FEFF}"));
        add(0x09, place, &[0, 0]);
        add(0x08, place, &text("$SYS/anything"));
    }
    for value in [0_u32, 1, 0xFFFF_FFFF] {
        add(0x18, Place::Will, &value.to_be_bytes());
    }
    for value in [0_u16, 1, 65_535] {
        add(0x22, Place::Connect, &value.to_be_bytes());
    }
    for value in [1_u16, 65_535] {
        add(0x21, Place::Connect, &value.to_be_bytes());
    }
    for value in [100_u32, 0xFFFF_FFFF] {
        add(0x27, Place::Connect, &value.to_be_bytes());
    }
    for value in [0, 1] {
        add(0x17, Place::Connect, &[value]);
        add(0x19, Place::Connect, &[value]);
    }
    add(0x0B, Place::Subscribe, &[1]);
    add(0x0B, Place::Subscribe, &[0xFF, 0xFF, 0xFF, 0x7F]);
    for alias in [1_u16, 32] {
        add(0x23, Place::Publish, &alias.to_be_bytes());
    }
    cases.push(remapped());
    cases
}

/// An alias gets another topic, and stands for that at once.
fn remapped() -> Case {
    let aliased = |topic: &str| {
        let properties = Properties(vec![(TOPIC_ALIAS, Value::Two(32))]);
        publish(Version::V5, 0x32, topic, 1, &properties, b"x")
    };
    let connect = Connect::new(Version::V5, CLIENT_ID).encode();
    let steps = vec![
        Step { bytes: connect, answers: 1 },
        Step { bytes: aliased("refused/one"), answers: 1 },
    ];
    let bytes = [aliased("refused/two"), aliased(""), aliased("refused/one"), aliased("")].concat();
    let expected = Expected::Answered((0..4).flat_map(|_| Answer::published(1)).collect());
    Case::new("an alias that gets another topic", Version::V5, bytes, expected).after(steps)
}
