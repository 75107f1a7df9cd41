//! Topic Names, Topic Filters, Shared Subscriptions and Topic Aliases that may not be.

use crate::{
    case::{Answer, CLIENT_ID, Case, Corpus, Expected, Step, code},
    connect::Connect,
    layout::{VERSIONS, publish_to, subscribe_to, unsubscribe_from},
    wire::{Properties, TOPIC_ALIAS, Value, Version, binary, packet, publish},
};

/// Control characters and non-characters, which nobody should have in a string.
const DISLIKED: [(&str, &str); 9] = [
    ("U+0001", "\u{1}"),
    ("a tabulator", "a\tb"),
    ("a new line", "a\nb"),
    ("U+001F", "\u{1F}"),
    ("U+007F", "a\u{7F}"),
    ("U+009F", "\u{9F}b"),
    ("U+FDD0", "a\u{FDD0}"),
    ("U+FFFF", "a\u{FFFF}b"),
    ("U+10FFFE", "\u{10FFFE}"),
];

/// Filters that break the rules of section 4.7.
const ILL_FORMED: [&str; 22] = [
    "",
    "a#",
    "#a",
    "a/#/b",
    "#/",
    "#/#",
    "a/b#",
    "a/#b",
    "/#/",
    "##",
    "a+",
    "+a",
    "a/+b",
    "a/b+/c",
    "++",
    "+/a+",
    "+#",
    "#+",
    "+/#/+",
    "a/+#",
    "sport+",
    "sport/tennis#",
];

/// Shared Subscriptions that break the rules of section 4.8.2.
const ILL_SHARED: [&str; 15] = [
    "$share/",
    "$share/group",
    "$share/group/",
    "$share//",
    "$share//t",
    "$share//#",
    "$share/+/t",
    "$share/#/t",
    "$share/#",
    "$share/+",
    "$share/gro+up/t",
    "$share/group#/t",
    "$share/group/a#",
    "$share/group/a/#/b",
    "$share/group/+a",
];

pub(super) fn add(corpus: &mut Corpus) {
    let rule = "[MQTT-3.3.2-2] [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT3-3.3.2-2] [MQTT3-4.7.1-1] \
                [MQTT3-4.7.3-1]";
    corpus.add("Topic Names", rule, VERSIONS.map(names).concat());
    let rule = "[MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.8.2-1] [MQTT-4.8.2-2] \
                [MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT3-4.7.3-1]";
    corpus.add("Topic Filters", rule, VERSIONS.map(filters).concat());
    corpus.add("No Local of Shared Subscriptions", "[MQTT-3.8.3-4]", no_local());
    let rule = "[MQTT-3.8.3-2] [MQTT-3.10.3-2] [MQTT3-3.8.3-3] [MQTT3-3.10.3-2]";
    corpus.add("no Topic Filter", rule, VERSIONS.map(nothing).concat());
    corpus.add("Topic Aliases", "[MQTT-3.3.2-7] [MQTT-3.3.2-8] 5.0 s3.3.2.3.4, s3.3.4", aliases());
}

/// PRODUCT: 0x90 for wildcards and beyond the limits, control and non-characters are refused.
fn names(version: Version) -> Vec<Case> {
    let wildcards = ["+", "#", "a/+", "a/#", "+/a", "#/a", "a+b", "a#b", "a/+/b", "a+", "$SYS/#"];
    let mut topics: Vec<(String, Vec<u8>, &'static [u8])> = Vec::new();
    for topic in wildcards {
        topics.push((topic.to_owned(), topic.into(), &[code::TOPIC]));
    }
    for (what, topic) in DISLIKED {
        topics.push((what.to_owned(), topic.into(), &[code::TOPIC, code::MALFORMED]));
    }
    topics.push(("no topic".to_owned(), vec![], &[code::PROTOCOL]));
    for length in [4_097, 5_000, 65_535] {
        topics.push((format!("{length} bytes"), vec![b't'; length], &[code::TOPIC]));
    }
    for levels in [129, 4_000] {
        topics.push((format!("{levels} levels"), vec![b'/'; levels - 1], &[code::TOPIC]));
    }
    let none = Properties::default();
    let mut cases = Vec::new();
    for (what, topic, codes) in topics {
        let expected = Expected::told(version, codes);
        let bytes = publish_to(version, &topic);
        cases.push(Case::new(format!("PUBLISH to {what}"), version, bytes, expected.clone()));
        let topic = String::from_utf8(topic).expect("these are strings");
        for (first, qos) in [(0x33, 1), (0x35, 2)] {
            let name = format!("retained PUBLISH of QoS {qos} to {what}");
            let bytes = publish(version, first, &topic, 1, &none, b"x");
            cases.push(Case::new(name, version, bytes, expected.clone()));
        }
    }
    // PRODUCT: acknowledged with a refusal, before 5.0 plainly, and not handed on.
    let refused = if version == Version::V5 { code::NOT_AUTHORIZED } else { 0 };
    for topic in ["$SYS/broker/version", "$SYS", "$share/group/t", "$share"] {
        for (first, qos, ack) in [(0x32, 1, 0x40), (0x34, 2, 0x50)] {
            let name = format!("PUBLISH of QoS {qos} to {topic}");
            let bytes = publish(version, first, topic, 1, &none, b"x");
            let expected = Expected::Answered(vec![Answer::new(ack, &[refused])]);
            cases.push(Case::new(name, version, bytes, expected));
        }
        let name = format!("PUBLISH of QoS 0 to {topic}");
        let bytes = publish_to(version, topic.as_bytes());
        cases.push(Case::new(name, version, bytes, Expected::Answered(vec![])));
    }
    cases
}

/// PRODUCT: 0x8F for that filter, before 5.0 a failure; the others of the packet stand.
fn filters(version: Version) -> Vec<Case> {
    let failure = if version == Version::V5 { code::FILTER } else { 0x80 };
    let mut filters: Vec<(String, Vec<u8>)> = Vec::new();
    for filter in ILL_FORMED.into_iter().chain(ILL_SHARED) {
        filters.push((format!("{filter:?}"), filter.into()));
    }
    for (what, filter) in DISLIKED {
        filters.push((what.to_owned(), filter.into()));
    }
    for length in [4_097, 65_535] {
        filters.push((format!("{length} bytes"), vec![b't'; length]));
    }
    filters.push(("129 levels".to_owned(), vec![b'/'; 128]));
    let mut cases = Vec::new();
    for (what, filter) in filters {
        let expected = Expected::Answered(vec![Answer::sub_ack(&[failure])]);
        let bytes = subscribe_to(version, &filter, 1);
        cases.push(Case::new(format!("SUBSCRIBE to {what}"), version, bytes, expected));

        let between = several(0x82, version, &[b"good", &filter, b"good/#"]);
        let expected = Expected::Answered(vec![Answer::sub_ack(&[0, failure, 0])]);
        let name = format!("SUBSCRIBE to {what} among others");
        cases.push(Case::new(name, version, between, expected));

        // What cannot be subscribed to was not, whatever else it is.
        let bytes = unsubscribe_from(version, &filter);
        cases.push(Case::new(format!("UNSUBSCRIBE from {what}"), version, bytes, Expected::Alive));
    }
    cases
}

/// Several filters, in a SUBSCRIBE with QoS 0.
fn several(first: u8, version: Version, filters: &[&[u8]]) -> Vec<u8> {
    let mut body = vec![0, 1];
    if version == Version::V5 {
        body.push(0);
    }
    for filter in filters {
        body.extend(binary(filter));
        if first == 0x82 {
            body.push(0);
        }
    }
    packet(first, &body)
}

fn no_local() -> Vec<Case> {
    let cases = [0x04, 0x05, 0x06, 0x0C, 0x14, 0x2E].map(|options| {
        let bytes = subscribe_to(Version::V5, b"$share/group/t", options);
        let expected = Expected::Disconnect(&[code::PROTOCOL]);
        Case::new(format!("options {options:#04x}"), Version::V5, bytes, expected)
    });
    cases.into()
}

fn nothing(version: Version) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, first) in [("SUBSCRIBE", 0x82), ("UNSUBSCRIBE", 0xA2)] {
        let bytes = several(first, version, &[]);
        cases.push(Case::new(name, version, bytes, Expected::told(version, &[code::PROTOCOL])));
    }
    cases
}

/// A PUBLISH with this alias; the connection was told that 32 is the highest.
fn aliased(first: u8, topic: &str, alias: u16) -> Vec<u8> {
    let properties = Properties(vec![(TOPIC_ALIAS, Value::Two(alias))]);
    publish(Version::V5, first, topic, 1, &properties, b"x")
}

fn aliases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, steps: Vec<Step>, bytes: Vec<u8>, codes: &'static [u8]| {
        let case = Case::new(name, Version::V5, bytes, Expected::Disconnect(codes));
        cases.push(if steps.is_empty() { case } else { case.after(steps) });
    };
    for (first, qos) in [(0x30, 0), (0x32, 1), (0x34, 2)] {
        for alias in [0, 33, 100, 65_535] {
            let name = format!("alias {alias} for a topic at QoS {qos}");
            add(name, vec![], aliased(first, "refused/t", alias), &[code::ALIAS]);
            let name = format!("alias {alias} for no topic at QoS {qos}");
            let codes = &[code::ALIAS, code::PROTOCOL];
            add(name, vec![], aliased(first, "", alias), codes);
        }
        for alias in [1, 5, 32] {
            let name = format!("alias {alias} that stands for nothing at QoS {qos}");
            add(name, vec![], aliased(first, "", alias), &[code::PROTOCOL]);
            let set = aliased(0x32, "refused/t", if alias == 1 { 2 } else { 1 });
            let steps = vec![joined(), Step { bytes: set, answers: 1 }];
            let name = format!("alias {alias} while another one is set at QoS {qos}");
            add(name, steps, aliased(first, "", alias), &[code::PROTOCOL]);
        }
    }
    for topic in ["+", "a/#", "a\u{1}"] {
        let name = format!("an alias for {topic:?}");
        let codes = &[code::TOPIC, code::MALFORMED];
        add(name, vec![], aliased(0x30, topic, 1), codes);
    }
    cases
}

/// A CONNECT that is accepted.
fn joined() -> Step {
    let connect = Connect::new(Version::V5, CLIENT_ID).encode();
    Step { bytes: connect, answers: 1 }
}
