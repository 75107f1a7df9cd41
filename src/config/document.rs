//! From the source to raw values: reads the TOML, removes what no key knows, and puts the variables
//! and options over it.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::environment::{self, Target};
use super::mistake::{Mistake, Problem};
use super::near;
use super::raw::{Form, Raw, TABLES, Table};
use super::source::{SECRET_KEYS, Setting, Source, Span, may_be_secret};

const LISTENER: &str = "listener";
const CREDENTIAL: &str = "credential";
/// What an `i64` holds.
const LEAST: &str = "-9223372036854775808";
const MOST: &str = "9223372036854775807";

/// Where the file holds what must not be shown: every value of a credential but its user name, be
/// its key known or not, and whatever is called a password, be it in its place or not.
pub(super) fn secrets(file: &str) -> Vec<Span> {
    let (document, _) = DeTable::parse_recoverable(file);
    let mut secrets = Vec::new();
    secrets_of(document.get_ref(), Holder::Other, &mut secrets);
    let lost: Vec<Span> = unread_secrets(file)
        .filter(|lost| secrets.iter().all(|known| known.start != lost.start))
        .collect();
    secrets.extend(lost);
    secrets
}

/// What a table is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Credential,
    /// A value of a credential that is a table itself.
    Secret,
    Other,
}

fn secrets_of(table: &DeTable<'_>, holder: Holder, secrets: &mut Vec<Span>) {
    for (key, value) in table {
        let key = key.get_ref();
        // Who writes a credential wrongly writes `credentials`, or its values a table too high.
        let begins = key.starts_with(CREDENTIAL);
        let secret = match holder {
            Holder::Secret => true,
            Holder::Credential => key != "username",
            Holder::Other => may_be_secret(key),
        };
        let inner = if secret {
            Holder::Secret
        } else if begins {
            Holder::Credential
        } else {
            Holder::Other
        };
        match value.get_ref() {
            DeValue::Table(keys) => secrets_of(keys, inner, secrets),
            DeValue::Array(items) if !items.is_empty() && all_tables(items) => {
                for item in items {
                    if let DeValue::Table(keys) = item.get_ref() {
                        secrets_of(keys, inner, secrets);
                    }
                }
            }
            _ if secret || begins => secrets.push(value.span()),
            _ => {}
        }
    }
}

/// The rest of each line behind `password =`, `password:` and their like: where the parser gave up
/// there are no values, yet the line is shown.
fn unread_secrets(file: &str) -> impl Iterator<Item = Span> {
    let after_key =
        SECRET_KEYS.iter().flat_map(|key| file.match_indices(key).map(|(at, key)| at + key.len()));
    after_key.filter_map(|start| {
        let line = file.get(start..)?.lines().next()?;
        let is_key = |c: char| c.is_ascii_alphanumeric() || "_-\"' \t".contains(c);
        let value = line.trim_start_matches(is_key).strip_prefix(['=', ':'])?.trim();
        let end = start + line.trim_end().len();
        Some(end - value.len()..end)
    })
}

/// Whatever is wrong is reported and left out, so that the rest can be checked too.
pub(super) fn read(source: &Source, mistakes: &mut Vec<Mistake>) -> Raw {
    let mut report = |span: &Span, problem| {
        mistakes.push(Mistake { place: source.place(span), problem });
    };
    let (document, errors) = DeTable::parse_recoverable(source.file());
    let mut broken = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or_default();
        report(&span, Problem::Syntax(explained(error.message(), source.text(&span))));
        broken.push(span);
    }
    let span = document.span();
    let mut document = without_unknown(document.into_inner(), &mut report);
    remove_unreadable(&mut document, &broken);
    for setting in source.settings() {
        apply(setting, &mut document, &mut report);
    }
    let document = Spanned::new(span, DeValue::Table(document));
    Raw::from_document(document).unwrap_or_else(|error| {
        report(&error.span().unwrap_or_default(), Problem::Syntax(error.message().to_owned()));
        Raw::default()
    })
}

/// The name of the listener at this position when it has none: `listener-1` for the first.
pub(super) fn default_name(index: usize) -> String {
    format!("{LISTENER}-{}", index + 1)
}

/// The parser's words, or ours where they would puzzle.
fn explained(message: &str, text: &str) -> String {
    let is_number = text.chars().all(|c| c.is_ascii_digit() || "xob_+-.eE".contains(c));
    let about_number = ["number", "integer", "float"].iter().any(|word| message.contains(word));
    if message.starts_with("string values must be quoted") || (about_number && !is_number) {
        return "text needs quotes around it".to_owned();
    }
    message.replace('\n', ", ")
}

/// Takes out the values that the parser could not make sense of, and shortens the numbers that no
/// `RawValue` holds to ones that are still beyond what any key takes.
fn remove_unreadable(table: &mut DeTable<'_>, broken: &[Span]) {
    *table = filtered(std::mem::take(table), |_, _, value| make_readable(value, broken));
}

/// Whether the value, or what is left of it, can be read.
fn make_readable(value: &mut Spanned<DeValue<'_>>, broken: &[Span]) -> bool {
    let span = value.span();
    match value.get_mut() {
        DeValue::Table(keys) => remove_unreadable(keys, broken),
        DeValue::Array(items) if !items.is_empty() && all_tables(items) => {
            for item in items.iter_mut() {
                make_readable(item, broken);
            }
        }
        _ if broken.iter().any(|it| it.start <= span.end && span.start <= it.end) => {
            return false;
        }
        DeValue::Array(items) => {
            for item in items.iter_mut() {
                make_readable(item, broken);
            }
        }
        DeValue::Integer(number)
            if i64::from_str_radix(number.as_str(), number.radix()).is_err() =>
        {
            let beyond = if number.as_str().starts_with('-') { LEAST } else { MOST };
            let shortened = DeValue::parse(beyond).map(Spanned::into_inner);
            *value.get_mut() = shortened.unwrap_or(DeValue::Boolean(false));
        }
        _ => {}
    }
    true
}

/// The table without what `keep` refuses.
fn filtered<'i>(
    table: DeTable<'i>,
    mut keep: impl FnMut(&str, &Span, &mut Spanned<DeValue<'i>>) -> bool,
) -> DeTable<'i> {
    let keep = |(key, mut value): (Spanned<Cow<'i, str>>, _)| {
        keep(key.get_ref(), &key.span(), &mut value).then_some((key, value))
    };
    table.into_iter().filter_map(keep).collect()
}

fn without_unknown<'i>(
    document: DeTable<'i>,
    report: &mut impl FnMut(&Span, Problem),
) -> DeTable<'i> {
    filtered(document, |name, span, value| match Table::named(name) {
        Some(table) if matches!(table.form, Form::Single | Form::Repeated) => {
            in_table(table, span, value, report)
        }
        _ => in_root(name, span, value.get_ref(), report),
    })
}

fn in_table(
    table: &Table,
    span: &Span,
    value: &mut Spanned<DeValue<'_>>,
    report: &mut impl FnMut(&Span, Problem),
) -> bool {
    match (table.form, value.get_mut()) {
        (Form::Single, DeValue::Table(keys)) => remove_unknown_keys(table, keys, report),
        (Form::Repeated | Form::Nested, DeValue::Array(items)) if all_tables(items) => {
            for item in items.iter_mut() {
                if let DeValue::Table(keys) = item.get_mut() {
                    remove_unknown_keys(table, keys, report);
                }
            }
        }
        _ => {
            let allowed = near::Header(table).to_string();
            report(span, Problem::WrongForm { name: table.name.to_owned(), allowed });
            return false;
        }
    }
    true
}

fn all_tables(items: &DeArray<'_>) -> bool {
    items.iter().all(|item| matches!(item.get_ref(), DeValue::Table(_)))
}

fn remove_unknown_keys(
    table: &Table,
    keys: &mut DeTable<'_>,
    report: &mut impl FnMut(&Span, Problem),
) {
    *keys = filtered(std::mem::take(keys), |name, span, value| {
        if table.keys.contains(&name) {
            return true;
        }
        if let Some(nested) = table.nested().find(|nested| nested.own_name() == name) {
            return in_table(nested, span, value, report);
        }
        let nested = table.nested().next().is_some() && holds_tables(value.get_ref());
        report(span, if nested { unknown_nested(table, name) } else { unknown_key(table, name) });
        false
    });
}

fn in_root(
    name: &str,
    span: &Span,
    value: &DeValue<'_>,
    report: &mut impl FnMut(&Span, Problem),
) -> bool {
    let Some(root) = Table::named("") else {
        return false;
    };
    if root.keys.contains(&name) {
        return true;
    }
    let is_table = holds_tables(value);
    report(span, if is_table { unknown_table(name) } else { unknown_key(root, name) });
    false
}

fn holds_tables(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(items) => !items.is_empty() && all_tables(items),
        _ => false,
    }
}

fn unknown_key(table: &Table, name: &str) -> Problem {
    let known: Vec<String> = table.keys.iter().map(|key| format!("`{key}`")).collect();
    let known = format!("{} {}", known.join(", "), near::within(table));
    Problem::UnknownKey { key: name.to_owned(), near: near::key(table, name), known }
}

fn unknown_table(name: &str) -> Problem {
    let tables = TABLES.iter().filter(|table| table.form != Form::Root);
    let known: Vec<String> = tables.map(|table| near::Header(table).to_string()).collect();
    let (name, near) = (name.to_owned(), near::table(name));
    Problem::UnknownTable { name, near, known: known.join(", ") }
}

fn unknown_nested(table: &Table, name: &str) -> Problem {
    let known: Vec<String> =
        table.nested().map(|nested| near::Header(nested).to_string()).collect();
    let near = near::table_in(table, name);
    Problem::UnknownTable { name: table.path(name), near, known: known.join(", ") }
}

/// Puts a setting where the file could have had it, with its own place.
fn apply<'i>(
    setting: &'i Setting,
    document: &mut DeTable<'i>,
    report: &mut impl FnMut(&Span, Problem),
) {
    if setting.value.contains(char::REPLACEMENT_CHARACTER) {
        report(&setting.value_span(), Problem::NotUtf8);
        return;
    }
    let (table, key) = match environment::target(setting) {
        None => {
            let near = environment::near_variable(&setting.name);
            return report(&setting.name_span(), Problem::UnknownVariable { near });
        }
        // Not part of the document: `listeners` reads it from the source.
        Some(Target::Listen) => return,
        Some(Target::Key { table, key }) if table.form == Form::Root => (Some(document), key),
        Some(Target::Key { table, key }) => (table_in(document, table.name, setting), key),
        Some(Target::Listener { name, key }) => (listener_in(document, &name, setting), key),
    };
    if let Some(table) = table {
        let value = DeValue::String(Cow::Borrowed(setting.value.as_str()));
        table.insert(spanned_key(setting, key), Spanned::new(setting.value_span(), value));
    }
}

fn spanned_key<'i>(setting: &Setting, key: &'i str) -> Spanned<Cow<'i, str>> {
    Spanned::new(setting.name_span(), Cow::Borrowed(key))
}

fn table_in<'d, 'i>(
    document: &'d mut DeTable<'i>,
    name: &'static str,
    setting: &Setting,
) -> Option<&'d mut DeTable<'i>> {
    let table = document
        .entry(spanned_key(setting, name))
        .or_insert_with(|| Spanned::new(setting.name_span(), DeValue::Table(DeTable::new())));
    as_table(table)
}

/// The listener that the variable names, or a new one.
fn listener_in<'d, 'i>(
    document: &'d mut DeTable<'i>,
    spelled: &str,
    setting: &Setting,
) -> Option<&'d mut DeTable<'i>> {
    let list = document
        .entry(spanned_key(setting, LISTENER))
        .or_insert_with(|| Spanned::new(setting.name_span(), DeValue::Array(DeArray::new())));
    let DeValue::Array(list) = list.get_mut() else {
        return None;
    };
    let known = list
        .iter()
        .enumerate()
        .position(|(index, item)| environment::spelled(&name_of(index, item.get_ref())) == spelled);
    let index = known.unwrap_or_else(|| {
        let name = spelled.to_ascii_lowercase().replace('_', "-");
        let name = Spanned::new(setting.name_span(), DeValue::String(Cow::Owned(name)));
        let mut table = DeTable::new();
        table.insert(spanned_key(setting, "name"), name);
        list.push(Spanned::new(setting.name_span(), DeValue::Table(table)));
        list.len() - 1
    });
    list.get_mut(index).and_then(as_table)
}

fn name_of(index: usize, listener: &DeValue<'_>) -> String {
    match listener {
        DeValue::Table(table) => match table.get("name").map(Spanned::get_ref) {
            Some(DeValue::String(name)) => name.clone().into_owned(),
            _ => default_name(index),
        },
        _ => String::new(),
    }
}

fn as_table<'d, 'i>(value: &'d mut Spanned<DeValue<'i>>) -> Option<&'d mut DeTable<'i>> {
    match value.get_mut() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}
