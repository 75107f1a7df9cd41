//! Runs the byte-exact packets in `tests/packets/*.toml` through the codec.
//!
//! A case has the bytes of one packet and either what they mean (`ok`) or what is wrong with them
//! (`error`, and in `says` a part of the message). What was understood is written again: it has to
//! be the same bytes, unless the case says `canonical = false`, and to be understood again.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its cases has to fail")]

#[path = "packets/fields.rs"]
mod fields;

use std::fs;
use std::path::Path;

use dunlin::packet::{DecodeError, Framing, PACKET_BYTES_MAX, Packet, ProtocolVersion, frame};
use serde::Deserialize;
use toml::Table;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    case: Vec<Case>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// All three if left out.
    versions: Option<Vec<String>>,
    bytes: String,
    packet_bytes_max: Option<usize>,
    #[serde(default)]
    is_first_packet: bool,
    ok: Option<Table>,
    error: Option<String>,
    says: Option<String>,
    canonical: Option<bool>,
}

/// The places where properties stand, and where each property may.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PropertyFile {
    place: Vec<Place>,
    property: Vec<Property>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    name: String,
    first_byte: String,
    before: String,
    after: String,
    /// A property without which some others are an error.
    companion: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Property {
    name: String,
    bytes: String,
    places: Vec<String>,
    #[serde(default)]
    may_be_repeated_in: Vec<String>,
}

#[test]
fn every_packet_is_understood_or_refused_as_its_case_says() {
    let mut count = 0;
    let mut failures = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let is_other = path.extension().is_none_or(|extension| extension != "toml");
        if is_other || path.ends_with("properties.toml") {
            continue;
        }
        let file: CaseFile = toml::from_str(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in file.case {
            count += 1;
            failures.extend(check(&case).err().map(|why| format!("{}: {why}", case.name)));
        }
    }

    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count >= 150, "only {count} cases were found");
}

// [MQTT-2.2.2-1], 5.0 s2.2.2.2
#[test]
fn every_property_is_taken_once_where_it_belongs_and_nowhere_else() {
    let text = fs::read_to_string(folder().join("properties.toml")).unwrap();
    let file: PropertyFile = toml::from_str(&text).unwrap();
    let mut failures = Vec::new();
    for property in &file.property {
        let unknown = property.places.iter().find(|name| {
            let mut places = file.place.iter();
            !places.any(|place| place.name == **name)
        });
        assert_eq!(unknown, None, "{} names a place that is not described", property.name);
        for place in &file.place {
            let cases = [once(property, place), twice(property, place)];
            for case in cases.into_iter().flatten() {
                failures.extend(check(&case).err().map(|why| format!("{}: {why}", case.name)));
            }
        }
    }

    assert_eq!(file.property.len(), 27, "5.0 has 27 properties");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_case_that_is_wrong_fails() {
    let right = Case {
        bytes: "C0 00".into(),
        ok: Some(toml::from_str("packet = 'PINGREQ'").unwrap()),
        ..Case::default()
    };
    let other_bytes = Case { bytes: "D0 00".into(), ..right.clone() };
    let expects_error = Case { error: Some("malformed".into()), ok: None, ..right.clone() };
    let bad_packet = Case { bytes: "C0 01 00".into(), ..right.clone() };
    let wrong_class = Case { error: Some("protocol".into()), ok: None, ..bad_packet.clone() };
    let wrong_message = Case {
        error: Some("malformed".into()),
        says: Some("no such words".into()),
        ok: None,
        ..bad_packet.clone()
    };
    let expects_nothing = Case { ok: None, ..right.clone() };
    let two_packets = Case { bytes: "C0 00 C0 00".into(), ..right.clone() };
    let not_canonical = Case {
        bytes: "40 03 00 01 00".into(),
        ok: Some(toml::from_str("packet = 'PUBACK'\nid = 1").unwrap()),
        versions: Some(vec!["5.0".into()]),
        ..Case::default()
    };

    assert_eq!(check(&right), Ok(()));
    for wrong in [
        other_bytes,
        expects_error,
        bad_packet,
        wrong_class,
        wrong_message,
        expects_nothing,
        two_packets,
        not_canonical,
    ] {
        assert!(check(&wrong).is_err(), "{} passed", wrong.bytes);
    }
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/packets"))
}

/// The property alone: fine where it belongs, malformed elsewhere.
fn once(property: &Property, place: &Place) -> Option<Case> {
    let case = Case {
        name: format!("{} in {}", property.name, place.name),
        versions: Some(vec!["5.0".into()]),
        bytes: with_properties(place, &companion(property, place), &property.bytes),
        canonical: Some(false),
        ..Case::default()
    };
    Some(if property.places.contains(&place.name) {
        // What it means is in the other files; here it is enough that it is taken.
        Case { ok: Some(Table::new()), ..case }
    } else {
        Case { error: Some("malformed".into()), says: Some(property.name.clone()), ..case }
    })
}

/// The property twice where it belongs: a violation for nearly all.
fn twice(property: &Property, place: &Place) -> Option<Case> {
    let both = format!("{} {}", property.bytes, property.bytes);
    let case = Case {
        name: format!("{} twice in {}", property.name, place.name),
        versions: Some(vec!["5.0".into()]),
        bytes: with_properties(place, &companion(property, place), &both),
        canonical: Some(false),
        ..Case::default()
    };
    if !property.places.contains(&place.name) {
        return None;
    }
    Some(if property.may_be_repeated_in.contains(&place.name) {
        Case { ok: Some(Table::new()), ..case }
    } else {
        let says = Some(format!("({}) stands twice", property.name));
        Case { error: Some("protocol".into()), says, ..case }
    })
}

fn companion(property: &Property, place: &Place) -> String {
    let companion = place.companion.clone().unwrap_or_default();
    if property.bytes.get(..2) == companion.get(..2) { String::new() } else { companion }
}

fn with_properties(place: &Place, companion: &str, properties: &str) -> String {
    let section = hex(&format!("{companion} {properties}")).unwrap();
    let body = [
        hex(&place.before).unwrap(),
        vec![u8::try_from(section.len()).unwrap()],
        section,
        hex(&place.after).unwrap(),
    ]
    .concat();
    let digits: Vec<String> = body.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("{} {:02X} {}", place.first_byte, body.len(), digits.join(" "))
}

/// Runs one case in each of its versions.
fn check(case: &Case) -> Result<(), String> {
    let bytes = hex(&case.bytes)?;
    let all = ["3.1", "3.1.1", "5.0"].map(String::from).to_vec();
    for version in case.versions.as_ref().unwrap_or(&all) {
        check_version(case, &bytes, self::version(version)?)
            .map_err(|why| format!("in {version}: {why}"))?;
    }
    Ok(())
}

fn check_version(case: &Case, bytes: &[u8], version: ProtocolVersion) -> Result<(), String> {
    let outcome = read(case, bytes, version);
    match (&case.ok, &case.error, outcome) {
        (Some(expected), None, Ok(packet)) => {
            let found = fields::of(&packet);
            if !expected.is_empty() && *expected != found {
                return Err(format!("expected\n  {expected}found\n  {found}"));
            }
            check_encoding(&packet, version, bytes, case.canonical.unwrap_or(true))
        }
        (None, Some(expected), Err(Refusal { class, message })) => {
            if expected != class {
                return Err(format!("refused as {class}: {message}"));
            }
            let says = case.says.as_deref().unwrap_or_default();
            if !message.contains(says) {
                return Err(format!("the message is: {message}"));
            }
            Ok(())
        }
        (Some(_), None, Err(Refusal { class, message })) => {
            Err(format!("refused as {class}: {message}"))
        }
        (None, Some(_), Ok(packet)) => Err(format!("understood as {packet:?}")),
        (None, None, _) | (Some(_), Some(_), _) => {
            Err("a case has either `ok` or `error`".to_owned())
        }
    }
}

fn check_encoding(
    packet: &Packet<'_>,
    version: ProtocolVersion,
    bytes: &[u8],
    canonical: bool,
) -> Result<(), String> {
    let mut encoded = Vec::new();
    packet.encode(version, &mut encoded);
    if encoded.len() != packet.encoded_len(version) {
        return Err("encoded_len is not the length".to_owned());
    }
    if canonical && encoded != bytes {
        return Err(format!("written as {encoded:02X?}"));
    }
    let Ok(Framing::Complete(frame)) = frame(&encoded, PACKET_BYTES_MAX) else {
        return Err(format!("written as what is no packet: {encoded:02X?}"));
    };
    if frame.decode(version).as_ref() != Ok(packet) {
        return Err(format!("written as another packet: {encoded:02X?}"));
    }
    Ok(())
}

struct Refusal {
    class: &'static str,
    message: String,
}

fn read<'a>(case: &Case, bytes: &'a [u8], version: ProtocolVersion) -> Result<Packet<'a>, Refusal> {
    let packet_bytes_max = case.packet_bytes_max.unwrap_or(PACKET_BYTES_MAX);
    let packet = match frame(bytes, packet_bytes_max).map_err(refusal)? {
        Framing::Incomplete { needed } => {
            let message = format!("needed: {needed:?}");
            return Err(Refusal { class: "incomplete", message });
        }
        Framing::Complete(frame) if frame.length != bytes.len() => {
            let message = format!("the packet ends after {} bytes", frame.length);
            return Err(Refusal { class: "several", message });
        }
        Framing::Complete(frame) if case.is_first_packet => {
            frame.decode_connect().map(Packet::Connect)
        }
        Framing::Complete(frame) => frame.decode(version),
    };
    packet.map_err(refusal)
}

fn refusal(error: DecodeError) -> Refusal {
    let class = match error {
        DecodeError::Malformed(_) => "malformed",
        DecodeError::Protocol(_) => "protocol",
        DecodeError::TooLarge { .. } => "too_large",
        DecodeError::UnsupportedProtocolVersion { .. } => "unsupported_version",
        DecodeError::UnsupportedProtocolName => "unsupported_name",
        DecodeError::NotConnect { .. } => "not_connect",
    };
    Refusal { class, message: error.to_string() }
}

fn version(text: &str) -> Result<ProtocolVersion, String> {
    match text {
        "3.1" => Ok(ProtocolVersion::V31),
        "3.1.1" => Ok(ProtocolVersion::V311),
        "5.0" => Ok(ProtocolVersion::V5),
        _ => Err(format!("{text} is no version")),
    }
}

/// Bytes from pairs of digits; `#` begins a comment, `*40000` repeats the byte before it.
fn hex(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let digits = line.split('#').next().unwrap_or_default();
        for word in digits.split_whitespace() {
            if let Some(times) = word.strip_prefix('*') {
                let times: usize = times.parse().map_err(|_| format!("{word} is no number"))?;
                let last = *bytes.last().ok_or("nothing to repeat")?;
                bytes.resize(bytes.len() + times - 1, last);
            } else {
                bytes.push(u8::from_str_radix(word, 16).map_err(|_| format!("{word} is no byte"))?);
            }
        }
    }
    Ok(bytes)
}
