//! `requirements.toml`.

use serde::Deserialize;

use super::citations::{Standard, Statement};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    #[serde(rename = "statement")]
    pub(super) rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Row {
    pub(super) of: Standard,
    /// As printed: `MQTT-3.3.1-1`.
    pub(super) id: String,
    pub(super) shown: Shown,
    /// For the reader.
    #[serde(rename = "says")]
    _says: String,
    #[serde(default)]
    pub(super) tested_by: Vec<String>,
    pub(super) exempt: Option<String>,
    /// What is exempt because dunlin does not have it is so until this file or folder is there.
    pub(super) until: Option<String>,
}

/// Whether a server shows that it holds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Shown {
    Yes,
    /// By consequence or over time, after a fault, or with a limit configured.
    Indirect,
    /// It binds the client alone.
    No,
}

impl Table {
    pub(super) fn parse(text: &str) -> Self {
        toml::from_str(text).unwrap_or_else(|error| panic!("requirements.toml: {error}"))
    }
}

impl Row {
    pub(super) fn statement(&self) -> Statement {
        let number = self.id.strip_prefix("MQTT-").expect("an identifier of MQTT");
        Statement::new(self.of, number)
    }
}
