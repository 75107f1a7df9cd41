//! What Topic Names and Topic Filters have in common: the characters they may hold.

/// The two-byte length in front of a string allows no more [MQTT-4.7.3-3].
const BYTES_MAX: usize = 65_535;

/// Why a text is neither a Topic Name nor a Topic Filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flaw {
    Empty,
    TooLong,
    Null,
    Character(char),
}

/// Checks everything but wildcards.
pub(super) fn check(text: &str) -> Result<(), Flaw> {
    // At least one character [MQTT-4.7.3-1].
    if text.is_empty() {
        return Err(Flaw::Empty);
    }
    if text.len() > BYTES_MAX {
        return Err(Flaw::TooLong);
    }
    // Nearly every topic is printable ASCII; without an early exit the loop is vectorised.
    let printable = text.bytes().fold(true, |all, byte| all & (0x20..0x7f).contains(&byte));
    if printable {
        return Ok(());
    }
    match text.chars().find(|&character| is_forbidden(character)) {
        None => Ok(()),
        // Not a matter of taste, but of a well-formed string [MQTT-1.5.4-2] [MQTT-4.7.3-2].
        Some('\0') => Err(Flaw::Null),
        Some(character) => Err(Flaw::Character(character)),
    }
}

/// Whether a `+` or `#` stands anywhere.
pub(super) fn has_wildcard(text: &str) -> bool {
    text.bytes().fold(false, |found, byte| found | (byte == b'+') | (byte == b'#'))
}

/// Control characters and Unicode non-characters, which the standard lets a server refuse.
fn is_forbidden(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_non_characters_are_forbidden_and_their_neighbours_are_not() {
        for bad in ['\u{1}', '\u{1f}', '\u{7f}', '\u{9f}', '\u{fdd0}', '\u{fdef}', '\u{ffff}'] {
            assert_eq!(check(&format!("a{bad}")), Err(Flaw::Character(bad)));
        }
        for bad in ['\u{fffe}', '\u{1fffe}', '\u{10ffff}'] {
            assert_eq!(check(&format!("é{bad}")), Err(Flaw::Character(bad)));
        }
        for good in [' ', '~', '\u{a0}', '\u{fdcf}', '\u{fdf0}', '\u{fffd}', '\u{feff}'] {
            assert_eq!(check(&format!("a{good}")), Ok(()));
        }
    }

    // [MQTT-1.5.4-2]
    #[test]
    fn the_null_character_is_its_own_flaw() {
        assert_eq!(check("a\0b"), Err(Flaw::Null));
    }

    // [MQTT-4.7.3-3]
    #[test]
    fn the_longest_text_has_65535_bytes() {
        assert_eq!(check(&"a".repeat(65_535)), Ok(()));
        assert_eq!(check(&"a".repeat(65_536)), Err(Flaw::TooLong));
    }
}
