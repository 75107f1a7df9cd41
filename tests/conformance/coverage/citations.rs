//! Statements by their printed identifiers, and where a text cites them.

use std::fmt;

use serde::Deserialize;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(super) enum Standard {
    #[serde(rename = "3.1.1")]
    V311,
    #[serde(rename = "5.0")]
    V5,
}

impl fmt::Display for Standard {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}

/// A normative statement: `[MQTT-3.3.1-1]` of 5.0, `[MQTT3-3.3.1-1]` of 3.1.1.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    standard: Standard,
    /// Without brackets and `MQTT-`: `3.3.1-1`.
    number: String,
}

impl Statement {
    pub(super) fn new(standard: Standard, number: &str) -> Self {
        Self { standard, number: number.to_owned() }
    }

    /// `mqtt_3_3_1_1`. The two identifiers that 3.1.1 prints with other marks (`3.1.2.7` and
    /// `3-8.3-4`) are like the others so.
    fn in_a_name(&self) -> String {
        format!("mqtt_{}", self.number.replace(['.', '-'], "_"))
    }

    /// The statement a test's name begins with.
    pub(super) fn named_in(test: &str) -> Option<Self> {
        let (standard, rest) = match test.split_once("_mqtt_")? {
            ("v5", rest) => (Standard::V5, rest),
            ("v311", rest) => (Standard::V311, rest),
            _ => return None,
        };
        let mut numbers = rest.split('_').take_while(|part| part.parse::<u32>().is_ok());
        let section = numbers.by_ref().take(3).collect::<Vec<_>>().join(".");
        Some(Self { standard, number: format!("{section}-{}", numbers.next()?) })
    }
}

impl PartialEq for Statement {
    fn eq(&self, other: &Self) -> bool {
        self.standard == other.standard && self.in_a_name() == other.in_a_name()
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let three = if self.standard == Standard::V311 { "3" } else { "" };
        write!(to, "[MQTT{three}-{}]", self.number)
    }
}

/// The statements cited in a line.
pub(super) fn of(line: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    for part in line.split("[MQTT").skip(1) {
        let (standard, rest) = match part.strip_prefix("3-") {
            Some(rest) => (Standard::V311, Some(rest)),
            None => (Standard::V5, part.strip_prefix('-')),
        };
        let is_number = |text: &&str| text.starts_with(|first: char| first.is_ascii_digit());
        if let Some((number, _)) = rest.filter(is_number).and_then(|rest| rest.split_once(']')) {
            found.push(Statement::new(standard, number));
        }
    }
    found
}
