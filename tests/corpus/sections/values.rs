//! Fields whose every value is tried: Connect Flags, options of Subscriptions; Packet Identifier 0.

use crate::{
    case::{Answer, Case, Corpus, Expected, code},
    layout::{Fill, VERSIONS, connect_of, established, subscribe_to},
    wire::Version,
};

pub(super) fn add(corpus: &mut Corpus) {
    let rule = "[MQTT-3.1.2-3] [MQTT-3.1.2-11] [MQTT-3.1.2-12] [MQTT-3.1.2-13] [MQTT3-3.1.2-3] \
                [MQTT3-3.1.2-11] [MQTT3-3.1.2-13] [MQTT3-3.1.2-14] [MQTT3-3.1.2-15] [MQTT3-3.1.2-22]";
    corpus.add("Connect Flags", rule, VERSIONS.map(connect_flags).concat());
    let rule = "[MQTT-3.1.2-9] [MQTT-3.1.2-16] [MQTT-3.1.2-17] [MQTT-3.1.2-18] [MQTT-3.1.2-19] \
                [MQTT3-3.1.2-9] [MQTT3-3.1.2-11] [MQTT3-3.1.2-18] [MQTT3-3.1.2-19] [MQTT3-3.1.2-20] \
                [MQTT3-3.1.2-21]";
    let lies = VERSIONS.map(flags_that_lie).concat();
    corpus.add("Connect Flags that do not fit the payload", rule, lies);
    let rule = "[MQTT-3.8.3-5] [MQTT3-3-8.3-4] 5.0 s3.8.3.1";
    corpus.add("Subscription Options", rule, VERSIONS.map(options).concat());
    let rule = "[MQTT-2.2.1-3] [MQTT3-2.3.1-1]";
    corpus.add("Packet Identifier 0", rule, VERSIONS.map(packet_id_0).concat());
}

/// Each value, with a payload that fits it.
fn connect_flags(version: Version) -> Vec<Case> {
    let cases = (0x00..=0xFF).map(|flags: u8| {
        let layout = connect_of(version, Fill::Bare, flags);
        let right = are_right(version, flags);
        let expected = if right {
            Expected::Answered(vec![Answer::conn_ack()])
        } else {
            Expected::refused(version, &[code::MALFORMED])
        };
        Case::first(format!("Connect Flags {flags:#010b}"), version, layout.encode(), expected)
    });
    cases.collect()
}

fn are_right(version: Version, flags: u8) -> bool {
    let (has_will, will_qos) = (flags & 0x04 != 0, flags >> 3 & 3);
    let describes_a_will = will_qos != 0 || flags & 0x20 != 0;
    // 3.1 has the bits of no Will ignored, and the reserved bit is "unused".
    let is_v31 = version == Version::V31;
    let reserved = flags & 0x01 != 0 && !is_v31;
    let will = if has_will { will_qos < 3 } else { !describes_a_will || is_v31 };
    let password = flags & 0xC0 != 0x40 || version == Version::V5;
    !reserved && will && password
}

/// A payload for other flags: a field is missing, or one is left over.
fn flags_that_lie(version: Version) -> Vec<Case> {
    // All of them right where their own fields follow.
    let all = [0x02, 0x06, 0x82, 0x86, 0xC2, 0xC6];
    let mut cases = Vec::new();
    for said in all {
        for meant in all {
            if said == meant || may_fit(version, said, meant) {
                continue;
            }
            let bytes = connect_of(version, Fill::Bare, meant).with_field("Connect Flags", &[said]);
            let name = format!("Connect Flags {said:#04x} with the payload of {meant:#04x}");
            let expected = Expected::refused(version, &[code::MALFORMED]);
            cases.push(Case::first(name, version, bytes, expected));
        }
    }
    cases
}

/// Before 5.0 a Will is two fields like a user name and a password; 3.1 lets the last ones be absent.
fn may_fit(version: Version, said: u8, meant: u8) -> bool {
    let fields = |flags: u8| {
        let count = |bit: u8, fields| if flags & bit == 0 { 0 } else { fields };
        count(0x04, 2) + count(0x80, 1) + count(0x40, 1)
    };
    match version {
        Version::V5 => false,
        Version::V311 => fields(said) == fields(meant),
        Version::V31 => fields(said) >= fields(meant),
    }
}

fn options(version: Version) -> Vec<Case> {
    let cases = (0x00..=0xFF).map(|options: u8| {
        let (qos, handling, reserved) = (options & 3, options >> 4 & 3, options >> 6);
        let (malformed, forbidden) = match version {
            Version::V5 => (reserved != 0, qos == 3 || handling == 3),
            // Of 3.1 the upper bits are reserved, and as with 3.1.1 nobody may use them.
            Version::V31 | Version::V311 => (options > 2, false),
        };
        let expected = match (malformed, forbidden) {
            (false, false) => Expected::Answered(vec![Answer::sub_ack(&[qos])]),
            (true, false) => Expected::told(version, &[code::MALFORMED]),
            (false, true) => Expected::told(version, &[code::PROTOCOL]),
            (true, true) => Expected::told(version, &[code::MALFORMED, code::PROTOCOL]),
        };
        let name = format!("options {options:#010b}");
        Case::new(name, version, subscribe_to(version, b"some/filter", options), expected)
    });
    cases.collect()
}

/// In whatever has a Packet Identifier.
fn packet_id_0(version: Version) -> Vec<Case> {
    let mut layouts = established(version);
    layouts.retain(|layout| layout.fields.iter().any(|field| field.name == "Packet Identifier"));
    let cases = layouts.into_iter().map(|layout| {
        let expected = Expected::told(version, &[code::MALFORMED, code::PROTOCOL]);
        let bytes = layout.with_field("Packet Identifier", &[0, 0]);
        Case::new(layout.name, version, bytes, expected)
    });
    cases.collect()
}
