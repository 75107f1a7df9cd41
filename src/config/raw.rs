//! The configuration as written: every key may be missing, every value may be of the wrong type.
//!
//! The only file that derives `Deserialize` for the configuration, and the only list of its keys:
//! what is not named here is unknown.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::{DeValue, Error, ValueDeserializer};

/// One value and the place it was written at, or nothing.
pub(super) type Field = Option<Spanned<RawValue>>;

#[derive(Clone, Debug)]
pub(super) enum RawValue {
    Boolean(bool),
    Integer(i64),
    Text(String),
    /// Each element with its own place.
    List(Vec<Spanned<RawValue>>),
    /// A fraction, a date or a table: no key takes one.
    Other,
}

/// By hand, since a derived untagged enum would lose the places within a list.
impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(RawValueVisitor)
    }
}

struct RawValueVisitor;

impl<'de> Visitor<'de> for RawValueVisitor {
    type Value = RawValue;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawValue, E> {
        Ok(RawValue::Boolean(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<RawValue, E> {
        Ok(RawValue::Integer(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<RawValue, E> {
        Ok(RawValue::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<RawValue, E> {
        Ok(RawValue::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawValue, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(RawValue::List(list))
    }

    /// Dates are maps, too.
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawValue, A::Error> {
        IgnoredAny.visit_map(map).map(|_| RawValue::Other)
    }
}

/// The keys of one table; those outside any table have the name "".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) keys: &'static [&'static str],
    pub(super) form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Root,
    /// `[name]`
    Single,
    /// `[[name]]`
    Repeated,
    /// `[[outer.name]]`, within each `[[outer]]`; such a table's name is both.
    Nested,
}

/// Writes the structs and the list of their keys from one source, so that they cannot differ.
macro_rules! document {
    (
        { $($key:ident),* $(,)? }
        $([$table:ident] $Table:ident { $($field:ident),* $(,)? })*
        each [$list:ident] $List:ident { $($item:ident),* $(,)? }
            with [$inner:ident] $Inner:ident { $($part:ident),* $(,)? }
    ) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(default)]
        pub(super) struct Raw {
            $(pub(super) $key: Field,)*
            $(pub(super) $table: $Table,)*
            pub(super) $list: Vec<Spanned<$List>>,
        }

        $(
            #[derive(Debug, Default, Deserialize)]
            #[serde(default)]
            pub(super) struct $Table {
                $(pub(super) $field: Field,)*
            }
        )*

        #[derive(Debug, Default, Deserialize)]
        #[serde(default)]
        pub(super) struct $List {
            $(pub(super) $item: Field,)*
            pub(super) $inner: Vec<Spanned<$Inner>>,
        }

        #[derive(Debug, Default, Deserialize)]
        #[serde(default)]
        pub(super) struct $Inner {
            $(pub(super) $part: Field,)*
        }

        pub(super) const TABLES: &[Table] = &[
            Table { name: "", keys: &[$(stringify!($key)),*], form: Form::Root },
            $(Table {
                name: stringify!($table),
                keys: &[$(stringify!($field)),*],
                form: Form::Single,
            },)*
            Table {
                name: stringify!($list),
                keys: &[$(stringify!($item)),*],
                form: Form::Repeated,
            },
            Table {
                name: concat!(stringify!($list), ".", stringify!($inner)),
                keys: &[$(stringify!($part)),*],
                form: Form::Nested,
            },
        ];
    };
}

document! {
    { workers, data_dir }
    [storage] Storage { engine, sync, sync_interval, disk_max }
    [limits] Limits {
        memory_max,
        connections_max,
        packet_bytes_max,
        connect_bytes_max,
        connect_timeout,
        keep_alive_max,
        client_id_bytes_max,
        topic_bytes_max,
        topic_levels_max,
        topic_aliases_in_max,
        topic_aliases_out_max,
        subscriptions_per_client_max,
    }
    [session] Session {
        inflight_max,
        receive_maximum,
        queue_bytes_max,
        queue_offline_messages_max,
        queue_when_full,
        expiry_max,
        expiry_v3,
        response_information,
    }
    [outbound] Outbound { soft_bytes_max, hard_bytes_max, stall_timeout }
    [retained] Retained { messages_max, bytes_max }
    [shared] Shared { strategy }
    [sys] Sys { interval }
    [log] Log { level, format }
    each [listener] Listener {
        name,
        address,
        protocol,
        anonymous,
        protocols,
        qos_max,
        retain,
        wildcards,
        shared,
        subscription_ids,
    } with [credential] Credential { username, password, scram_sha_256 }
}

impl Raw {
    pub(super) fn from_document(document: Spanned<DeValue<'_>>) -> Result<Self, Error> {
        Self::deserialize(ValueDeserializer::from(document))
    }
}

impl Table {
    /// The table with this name; `""` holds the keys outside any table.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        TABLES.iter().find(|table| table.name == name)
    }

    /// The tables that each table of this name may hold.
    pub(super) fn nested(&self) -> impl Iterator<Item = &'static Self> {
        TABLES.iter().filter(|table| table.outer() == Some(self.name))
    }

    fn outer(&self) -> Option<&'static str> {
        match self.form {
            Form::Nested => self.name.rsplit_once('.').map(|(outer, _)| outer),
            Form::Root | Form::Single | Form::Repeated => None,
        }
    }

    /// What it is called within the table that holds it.
    pub(super) fn own_name(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, name)| name)
    }

    /// Whether the whole table, or each of its keys, has an environment variable to itself.
    pub(super) fn is_single(&self) -> bool {
        match self.form {
            Form::Root | Form::Single => true,
            Form::Repeated | Form::Nested => false,
        }
    }

    /// `limits.packet_bytes_max`, or `workers`.
    pub(super) fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

/// Every key of the file with its table: `workers`, `limits.packet_bytes_max`, `listener.name`.
pub fn keys() -> impl Iterator<Item = String> {
    TABLES.iter().flat_map(|table| table.keys.iter().map(|key| table.path(key)))
}
