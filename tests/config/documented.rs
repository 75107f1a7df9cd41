//! `config/dunlin.toml` documents every key with its default, and is tested for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dunlin::config::{self, Config};

use crate::load;

pub(crate) fn documented_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/dunlin.toml")
}

/// The file with every option active: `#key = value`, while prose stands behind `# `.
pub(crate) fn uncommented(text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest,
        _ => line,
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// The examples in the file's prose, indented behind `#`.
pub(crate) fn examples(text: &str) -> String {
    let lines = text.lines().filter_map(|line| line.strip_prefix("#   "));
    let toml = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '['));
    toml.map(|line| format!("{line}\n")).collect()
}

/// The keys of a table, also of the tables in it, each with its table's name.
fn keys(prefix: &str, table: &toml::Table, keys_found: &mut BTreeSet<String>) {
    for (name, value) in table {
        let path = format!("{prefix}{name}");
        match value {
            toml::Value::Table(inner) => keys(&format!("{path}."), inner, keys_found),
            toml::Value::Array(tables) if tables.iter().any(toml::Value::is_table) => {
                for inner in tables.iter().filter_map(toml::Value::as_table) {
                    keys(&format!("{path}."), inner, keys_found);
                }
            }
            _ => drop(keys_found.insert(path)),
        }
    }
}

/// What is wrong with the file as documentation, if anything.
fn undocumented(text: &str) -> Vec<String> {
    let active = uncommented(text);
    let document: toml::Table = active.parse().unwrap();
    let mut wrong = Vec::new();

    let mut documented = BTreeSet::new();
    keys("", &document, &mut documented);
    // What is in no default, a credential, is only shown.
    keys("", &examples(text).parse().unwrap(), &mut documented);
    let known: BTreeSet<String> = config::keys().collect();
    wrong.extend(known.difference(&documented).map(|key| format!("{key} is missing")));
    wrong.extend(documented.difference(&known).map(|key| format!("{key} is unknown")));

    let default = format!("{:#?}", Config::default());
    for (what, text) in [("as it is", text), ("with every option active", &active)] {
        let loaded = load("documented", text, &[]);
        let effective = loaded.map(|loaded| format!("{:#?}", loaded.config));
        if effective.as_ref().ok() != Some(&default) {
            wrong.push(format!("{what} it is not the default"));
        }
    }
    // An active option would pin the defaults of the day the file was installed.
    let pinned = text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    wrong.extend(pinned.map(|line| format!("{line} is active")));
    wrong
}

#[test]
fn the_documented_file_lists_every_key_with_its_default() {
    let text = fs::read_to_string(documented_file()).unwrap();

    assert_eq!(undocumented(&text), [""; 0]);
}

#[test]
fn the_example_of_the_documented_file_is_right() {
    let text = fs::read_to_string(documented_file()).unwrap();

    let listeners = load("example", &examples(&text), &[]).unwrap().config.listeners;

    let users = listeners[0].credentials.iter().map(|it| it.username.as_str());
    assert_eq!(users.collect::<Vec<_>>(), ["sensor-1", "sensor-2"]);
}

#[test]
fn the_test_of_the_documented_file_can_fail() {
    let text = fs::read_to_string(documented_file()).unwrap();
    let wrong = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        undocumented(&text.replacen(from, to, 1))
    };

    assert_eq!(
        wrong("#topic_levels_max = 128", "#topic_levels_max = 129"),
        ["with every option active it is not the default"]
    );
    assert_eq!(wrong("#topic_levels_max = 128\n", ""), ["limits.topic_levels_max is missing"]);
    assert_eq!(
        wrong("#topic_levels_max", "#topic_level_max"),
        [
            "limits.topic_levels_max is missing",
            "limits.topic_level_max is unknown",
            "with every option active it is not the default"
        ]
    );
    assert_eq!(
        wrong("#   password = ", "#   pass = "),
        ["listener.credential.password is missing", "listener.credential.pass is unknown"]
    );
    assert_eq!(
        wrong("#workers = \"auto\"", "workers = \"auto\""),
        ["workers = \"auto\" is active"]
    );
}
