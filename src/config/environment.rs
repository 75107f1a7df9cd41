//! What is set outside the file, and which key each of it belongs to.
//!
//! `DUNLIN_WORKERS`, `DUNLIN_LIMITS__PACKET_BYTES_MAX`, and for the listener called `public-tls`
//! `DUNLIN_LISTENER__PUBLIC_TLS__ADDRESS`, which creates it when the file has none of that name.

use std::ffi::OsString;

use super::Overrides;
use super::near;
use super::raw::{Form, TABLES, Table};
use super::source::{Setting, SettingKind};

const PREFIX: &str = "DUNLIN_";
const LISTENER_PREFIX: &str = "DUNLIN_LISTENER__";
pub(super) const LISTEN: &str = "--listen";
const DATA_DIR: &str = "--data-dir";
const MEMORY: &str = "--memory";

/// The key that a setting gives a value to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Key {
        table: &'static Table,
        key: &'static str,
    },
    /// The name is as the variable spells it: upper case, `_` for `-`.
    Listener {
        name: String,
        key: &'static str,
    },
    /// A listener that replaces all others.
    Listen,
}

/// Our variables in alphabetical order, then the options: what comes later wins.
pub(super) fn settings(
    environment: impl Iterator<Item = (OsString, OsString)>,
    overrides: &Overrides,
) -> Vec<Setting> {
    let lossy = |text: &OsString| text.to_string_lossy().into_owned();
    let mut variables: Vec<_> = environment
        .map(|(name, value)| (lossy(&name), lossy(&value)))
        .filter(|(name, value)| name.starts_with(PREFIX) && !is_service_link(name, value))
        .collect();
    variables.sort();
    let variables =
        variables.into_iter().map(|(name, value)| Setting::new(SettingKind::Variable, name, value));

    let argument = |name: &str, value| Setting::new(SettingKind::Argument, name.to_owned(), value);
    let listen = overrides.listen.iter().map(|address| argument(LISTEN, address.clone()));
    let memory = overrides.memory.then(|| argument(MEMORY, "memory".to_owned()));
    let data_dir = overrides.data_dir.as_ref();
    let data_dir = data_dir.map(|path| argument(DATA_DIR, path.to_string_lossy().into_owned()));
    variables.chain(listen).chain(memory).chain(data_dir).collect()
}

/// `None` when no key belongs to it.
pub(super) fn target(setting: &Setting) -> Option<Target> {
    match (setting.kind, setting.name.as_str()) {
        (SettingKind::Argument, LISTEN) => Some(Target::Listen),
        (SettingKind::Argument, MEMORY) => known("storage", "engine"),
        (SettingKind::Argument, DATA_DIR) => known("", "data_dir"),
        (SettingKind::Argument, _) => None,
        (SettingKind::Variable, name) => listener_target(name).or_else(|| key_target(name)),
    }
}

/// The variable that was probably meant.
pub(super) fn near_variable(name: &str) -> Option<String> {
    let mut candidates: Vec<String> = TABLES
        .iter()
        .filter(|table| table.is_single())
        .flat_map(|table| table.keys.iter().map(move |key| variable(table, key)))
        .collect();
    let listener = name.strip_prefix(LISTENER_PREFIX).and_then(|rest| rest.rsplit_once("__"));
    if let Some((listener, _)) = listener {
        let keys = listener_keys().map(|key| listener_variable(listener, key));
        candidates.extend(keys);
    }
    // Without the prefix, in which all of them are alike.
    let bare = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    let candidates: Vec<String> = candidates.iter().map(|name| bare(name)).collect();
    let near = near::word(&bare(name), candidates.iter().map(String::as_str))?;
    Some(format!("`{PREFIX}{near}`"))
}

/// How a variable spells a listener's name. Two names never meet: they are lower case without `_`.
pub(super) fn spelled(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

fn listener_target(name: &str) -> Option<Target> {
    let (listener, key) = name.strip_prefix(LISTENER_PREFIX)?.rsplit_once("__")?;
    let key = listener_keys().find(|known| known.to_ascii_uppercase() == key)?;
    (!listener.is_empty()).then(|| Target::Listener { name: listener.to_owned(), key })
}

fn key_target(name: &str) -> Option<Target> {
    let single = TABLES.iter().filter(|table| table.is_single());
    let mut keys = single.flat_map(|table| table.keys.iter().map(move |key| (table, *key)));
    let (table, key) = keys.find(|(table, key)| variable(table, key) == name)?;
    Some(Target::Key { table, key })
}

fn known(table: &str, key: &str) -> Option<Target> {
    let table = Table::named(table)?;
    let key = table.keys.iter().copied().find(|known| *known == key)?;
    Some(Target::Key { table, key })
}

/// Without the name, which is part of the variable.
fn listener_keys() -> impl Iterator<Item = &'static str> {
    let table = Table::named("listener");
    table.into_iter().flat_map(|table| table.keys).copied().filter(|key| *key != "name")
}

fn variable(table: &Table, key: &str) -> String {
    match table.form {
        Form::Root => format!("{PREFIX}{}", key.to_ascii_uppercase()),
        Form::Single | Form::Repeated | Form::Nested => {
            format!("{PREFIX}{}__{}", table.name, key).to_ascii_uppercase()
        }
    }
}

fn listener_variable(listener: &str, key: &str) -> String {
    format!("{LISTENER_PREFIX}{listener}__{}", key.to_ascii_uppercase())
}

/// Kubernetes announces a Service called `dunlin` or `dunlin-mqtt` to every pod through variables
/// with our prefix. They are nobody's mistake.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_port = |rest: &str| {
        let (digits, protocol) = rest.split_once('_').unwrap_or((rest, ""));
        !digits.is_empty()
            && digits.chars().all(|c| c.is_ascii_digit())
            && ["TCP", "UDP", "SCTP"].iter().any(|known| protocol.starts_with(known))
    };
    !name.contains("__")
        && (name.ends_with("_SERVICE_HOST")
            || name.ends_with("_SERVICE_PORT")
            || name.contains("_SERVICE_PORT_")
            || (name.ends_with("_PORT") && value.contains("://"))
            || name
                .match_indices("_PORT_")
                .any(|(at, link)| name.get(at + link.len()..).is_some_and(is_port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable_target(name: &str) -> Option<Target> {
        target(&Setting::new(SettingKind::Variable, name.to_owned(), String::new()))
    }

    #[test]
    fn every_key_but_a_listeners_name_has_a_variable() {
        for table in TABLES.iter().filter(|table| table.is_single()) {
            for key in table.keys {
                let expected = Target::Key { table, key };
                let Some(Target::Key { table: found, key }) =
                    variable_target(&variable(table, key))
                else {
                    panic!("{expected:?} has no variable");
                };
                assert_eq!(Target::Key { table: found, key }, expected);
            }
        }
        assert!(variable_target("DUNLIN_LISTENER__A__ADDRESS").is_some());
        assert!(variable_target("DUNLIN_LISTENER__A__NAME").is_none());
    }

    #[test]
    fn a_listeners_name_may_hold_the_separator() {
        let target = variable_target("DUNLIN_LISTENER__A__B__ADDRESS");

        assert_eq!(target, Some(Target::Listener { name: "A__B".to_owned(), key: "address" }));
    }

    #[test]
    fn variables_that_announce_a_service_are_not_ours() {
        for (name, value) in [
            ("DUNLIN_SERVICE_HOST", "10.0.0.1"),
            ("DUNLIN_SERVICE_PORT", "1883"),
            ("DUNLIN_SERVICE_PORT_MQTT", "1883"),
            ("DUNLIN_PORT", "tcp://10.0.0.1:1883"),
            ("DUNLIN_MQTT_PORT_1883_TCP_ADDR", "10.0.0.1"),
        ] {
            assert!(is_service_link(name, value), "{name}");
        }
        assert!(!is_service_link("DUNLIN_PORT", "1883"));
        assert!(!is_service_link("DUNLIN_LISTENER__SERVICE_HOST__ADDRESS", "1883"));
    }
}
