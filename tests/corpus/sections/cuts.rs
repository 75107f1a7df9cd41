//! Packets that end too early: each one after each of its bytes, and with each lie about it.

use crate::{
    case::{Case, Corpus, Expected, Opening, code},
    layout::{Fill, Layout, VERSIONS, auth, connect, established},
    wire::{Version, packet, variable},
};

pub(super) fn add(corpus: &mut Corpus) {
    let rule = "[MQTT-3.1.4-1] [MQTT-4.13.1-1] [MQTT-3.1.2-9] [MQTT-3.1.2-17] [MQTT-3.1.2-19] \
                [MQTT-3.1.3-3] [MQTT3-3.1.4-1] [MQTT3-4.8.0-1] [MQTT3-3.1.2-9] [MQTT3-3.1.2-19] \
                [MQTT3-3.1.2-21] [MQTT3-3.1.3-3]";
    corpus.add("cut packets", rule, VERSIONS.map(|version| cases(version, cut)).concat());
    let rule = "5.0 s4.13.1, 3.1.1 s4.8";
    corpus.add("cut connections", rule, VERSIONS.map(|version| cases(version, stopped)).concat());
    corpus.add("packets that end in the next", rule, VERSIONS.map(|it| cases(it, split)).concat());
}

/// What is to become of a layout that ends after so many bytes of its body.
struct Cut<'a> {
    version: Version,
    layout: &'a Layout,
    length: usize,
    opening: Opening,
    malformed: Expected,
}

fn cases(version: Version, of: fn(&Cut<'_>) -> Option<Case>) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |layout: &Layout, opening: Opening, malformed: &dyn Fn(usize) -> Expected| {
        for length in 0..layout.body().len() {
            let (opening, malformed) = (opening.clone(), malformed(length));
            let case = of(&Cut { version, layout, length, opening, malformed });
            cases.extend(case);
        }
    };
    let layout = connect(version, Fill::Full);
    // Up to the protocol level nobody knows that it is 5.0.
    let level_at = layout.fields[0].kind.encode().len();
    add(&layout, Opening::Nothing, &|length| {
        let is_known = length > level_at;
        if is_known { Expected::refused(version, &[code::MALFORMED]) } else { Expected::Closed }
    });
    for layout in established(version) {
        add(&layout, Opening::Connected, &|length| {
            let is_empty = is_without_payload(&layout, length);
            let codes = if is_empty { &[code::PROTOCOL] } else { &[code::MALFORMED] };
            Expected::told(version, codes)
        });
    }
    if version == Version::V5 {
        // Out of place as well.
        let either = |_| Expected::told(version, &[code::MALFORMED, code::PROTOCOL]);
        add(&auth(), Opening::Connected, &either);
    }
    cases
}

impl Cut<'_> {
    fn case(&self, how: &str, bytes: Vec<u8>, expected: Expected) -> Case {
        let Self { version, layout, length, .. } = self;
        let name = format!("{} {how} after {length} bytes", layout.name);
        Case { opening: self.opening.clone(), ..Case::new(name, *version, bytes, expected) }
    }
}

/// Whether all Topic Filters are cut off, which is another mistake than one cut in two.
fn is_without_payload(layout: &Layout, length: usize) -> bool {
    let mut at = 0;
    for field in &layout.fields {
        if field.name == "Topic Filter" {
            return at == length;
        }
        at += field.kind.encode().len();
    }
    false
}

/// The Remaining Length says what is there. Where the packet may end, it is another packet.
fn cut(cut: &Cut<'_>) -> Option<Case> {
    let bytes = packet(cut.layout.first, &cut.layout.body()[..cut.length]);
    let expected = match (cut.layout.may_end_at(cut.length), cut.layout.name) {
        (false, _) => cut.malformed.clone(),
        (true, "DISCONNECT") => Expected::Closed,
        // One without a body is well-formed, but no client may send it.
        (true, "AUTH") => Expected::told(cut.version, &[code::PROTOCOL]),
        (true, _) => Expected::Alive,
    };
    Some(cut.case("cut", bytes, expected))
}

/// The Remaining Length says more than comes before the end of the stream.
fn stopped(cut: &Cut<'_>) -> Option<Case> {
    let body = cut.layout.body();
    let header = [&[cut.layout.first], &variable(body.len())[..]].concat();
    let bytes = [&header, &body[..cut.length]].concat();
    Some(cut.case("stopped", bytes, Expected::Closed).then_end())
}

/// The Remaining Length says less than was meant, so that the rest seems to be the next packet,
/// which must not count.
fn split(cut: &Cut<'_>) -> Option<Case> {
    if cut.layout.may_end_at(cut.length) {
        return None;
    }
    let body = cut.layout.body();
    let bytes = [packet(cut.layout.first, &body[..cut.length]), body[cut.length..].to_vec()];
    Some(cut.case("split", bytes.concat(), cut.malformed.clone()))
}
