//! "Did you mean": the known name nearest to an unknown one.

use super::raw::{self, Form, Table};

/// What the keys are called in Mosquitto's configuration, where no likeness would find ours.
const FOREIGN: &[(&str, &str)] = &[
    ("allow_anonymous", "listener.anonymous"),
    ("bind_address", "listener.address"),
    ("log_type", "log.level"),
    ("max_connections", "limits.connections_max"),
    ("max_inflight_messages", "session.inflight_max"),
    ("max_keepalive", "limits.keep_alive_max"),
    ("max_packet_size", "limits.packet_bytes_max"),
    ("max_qos", "listener.qos_max"),
    ("max_queued_bytes", "session.queue_bytes_max"),
    ("max_queued_messages", "session.queue_offline_messages_max"),
    ("memory_limit", "limits.memory_max"),
    ("message_size_limit", "limits.packet_bytes_max"),
    ("persistence_location", "data_dir"),
    ("password_file", "listener.credential.scram_sha_256"),
    ("persistent_client_expiration", "session.expiry_v3"),
    ("port", "listener.address"),
    ("retain_available", "listener.retain"),
];

/// Below this two names have nothing to do with each other.
const LIKENESS_MIN: f64 = 0.82;

/// The key meant by one that `table` does not have: Mosquitto's first, then
/// the table's own, then any other's.
pub(super) fn key(table: &Table, unknown: &str) -> Option<String> {
    if let Some((_, ours)) = FOREIGN.iter().find(|(foreign, _)| *foreign == unknown) {
        return Some(located(ours));
    }
    if let Some(near) = nearest(unknown, table.keys.iter().copied()) {
        return Some(format!("`{near}`"));
    }
    let elsewhere =
        raw::TABLES.iter().flat_map(|other| other.keys.iter().map(move |key| (other, key)));
    elsewhere
        .map(|(other, key)| (strsim::jaro_winkler(unknown, key), other, key))
        .filter(|(likeness, ..)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, ..), (b, ..)| a.total_cmp(b))
        .map(|(_, other, key)| located(&other.path(key)))
}

pub(super) fn table(unknown: &str) -> Option<String> {
    nearest_table(unknown, raw::TABLES.iter().filter(|table| table.form != Form::Root))
}

/// The table within `outer` that was meant by an unknown one.
pub(super) fn table_in(outer: &Table, unknown: &str) -> Option<String> {
    nearest_table(unknown, outer.nested())
}

fn nearest_table(unknown: &str, tables: impl Iterator<Item = &'static Table>) -> Option<String> {
    let tables: Vec<_> = tables.collect();
    let near = nearest(unknown, tables.iter().map(|table| table.own_name()))?;
    let table = tables.into_iter().find(|table| table.own_name() == near)?;
    Some(Header(table).to_string())
}

/// One of several words: a variable's name, or a value out of a few.
pub(super) fn word<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    nearest(unknown, known)
}

/// `[limits]` or `[[listener]]`.
pub(super) struct Header<'a>(pub(super) &'a Table);

impl std::fmt::Display for Header<'_> {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.form {
            Form::Root => write!(to, "the top of the file"),
            Form::Single => write!(to, "[{}]", self.0.name),
            Form::Repeated | Form::Nested => write!(to, "[[{}]]", self.0.name),
        }
    }
}

/// "in [log]", for a sentence about a key.
pub(super) fn within(table: &Table) -> String {
    match table.form {
        Form::Root => "at the top of the file".to_owned(),
        Form::Single | Form::Repeated | Form::Nested => format!("in {}", Header(table)),
    }
}

/// "`level` in [log]", from `log.level`.
fn located(path: &str) -> String {
    let (name, key) = path.rsplit_once('.').unwrap_or(("", path));
    match Table::named(name) {
        Some(table) => format!("`{key}` {}", within(table)),
        None => format!("`{path}`"),
    }
}

fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> &'static Table {
        Table::named("limits").unwrap()
    }

    #[test]
    fn a_slip_of_the_pen_finds_the_key_of_the_same_table() {
        assert_eq!(key(limits(), "packet_byte_max").as_deref(), Some("`packet_bytes_max`"));
    }

    #[test]
    fn a_key_of_another_table_is_found_with_its_table() {
        let near = key(limits(), "receive_maximum");

        assert_eq!(near.as_deref(), Some("`receive_maximum` in [session]"));
    }

    #[test]
    fn a_key_of_mosquitto_is_translated() {
        let near = key(limits(), "allow_anonymous");

        assert_eq!(near.as_deref(), Some("`anonymous` in [[listener]]"));
    }

    #[test]
    fn nothing_is_proposed_for_a_word_that_resembles_none() {
        assert_eq!(key(limits(), "zzz"), None);
        assert_eq!(table("zzz"), None);
    }

    #[test]
    fn every_translation_leads_to_a_key() {
        for (_, ours) in FOREIGN {
            assert!(raw::keys().any(|path| path == *ours), "{ours}");
        }
    }
}
