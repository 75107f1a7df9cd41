//! Holds what `STYLE.md` and `DESIGN.md` say about the shape of the sources: who may import whom,
//! what the pure rooms must not touch, and how long a file may be.

#![expect(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a check that panics is a test that fails"
)]

/// Every check fails on what it is there to find, and on nothing like it.
#[path = "architecture/checks_can_fail.rs"]
mod checks_can_fail;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A room, and the rooms it may import. A row names only rows above it. A new edge is a decision:
/// its own commit, with the reason.
const ROOMS: &[(&str, &[&str])] = &[
    ("topic", &[]),
    ("time", &[]),
    ("metrics", &[]),
    ("packet", &["topic"]),
    ("message", &["topic", "time", "packet"]),
    ("change", &["topic", "time", "packet", "message"]),
    ("session", &["topic", "time", "packet", "message", "change"]),
    ("router", &["topic", "time", "metrics", "packet", "message", "change", "session"]),
    ("config", &["topic", "packet"]),
    ("auth", &["topic", "time", "metrics", "packet", "config"]),
    ("storage", &["topic", "time", "metrics", "packet", "message", "change", "config"]),
    ("cluster", &["topic", "time", "metrics", "packet", "message", "change", "config"]),
    ("transport", &["metrics", "router", "config"]),
    ("control", &["topic", "time", "metrics", "message", "config"]),
    (
        "server",
        &[
            "topic",
            "time",
            "metrics",
            "packet",
            "message",
            "change",
            "session",
            "router",
            "config",
            "auth",
            "storage",
            "cluster",
            "transport",
            "control",
        ],
    ),
    ("client", &["topic", "packet"]),
    ("bridge", BELOW_BRIDGES),
    ("gateway", BELOW_BRIDGES),
    ("admin", &["topic", "time", "metrics", "message", "config", "control"]),
    ("commands", &["config", "auth", "storage", "control", "client"]),
    (
        "daemon",
        &[
            "topic",
            "time",
            "metrics",
            "packet",
            "message",
            "change",
            "session",
            "router",
            "config",
            "auth",
            "storage",
            "cluster",
            "transport",
            "control",
            "server",
            "client",
            "bridge",
            "gateway",
            "admin",
        ],
    ),
    ("cli", &["config", "commands", "daemon"]),
    ("lib", &[]),
    ("main", &["daemon", "cli"]),
];

const BELOW_BRIDGES: &[&str] = &[
    "topic",
    "time",
    "metrics",
    "packet",
    "message",
    "change",
    "session",
    "router",
    "config",
    "auth",
    "storage",
    "cluster",
    "transport",
    "control",
    "server",
    "client",
];

/// No clock, network, disk, random numbers, lock or `async`, in their tests neither.
const PURE: &[&str] = &["topic", "packet", "time", "message", "change", "session"];
const IMPURE_PATHS: &[&str] = &["std::net", "std::fs", "std::thread", "std::env", "std::process"];
const IMPURE_WORDS: &[&str] =
    &["tokio", "async", "await", "rand", "parking_lot", "dashmap", "Mutex", "RwLock", "Condvar"];

const LINES_MAX: usize = 600;
const RAW: &str = "src/config/raw.rs";

/// A rule broken at a line of a file.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}:{}: {}", self.path, self.line, self.what)
    }
}

type Check = fn(path: &str, text: &str) -> Vec<Breach>;

#[test]
fn rooms_import_only_rooms_below_them() {
    assert_holds(imports, &["src"]);
}

#[test]
fn the_table_has_no_cycle() {
    for (at, (room, below)) in ROOMS.iter().enumerate() {
        for other in *below {
            let above = ROOMS.iter().take(at).any(|(name, _)| name == other);
            assert!(above, "{room} imports {other}, which is not above it in the table");
        }
    }
}

#[test]
fn every_room_is_in_the_table() {
    assert_holds(known_room, &["src"]);
}

#[test]
fn pure_rooms_are_pure() {
    assert_holds(purity, &["src"]);
}

#[test]
fn no_file_is_too_long() {
    assert_holds(length, &["src"]);
}

#[test]
fn every_file_says_what_it_is_for() {
    assert_holds(head, &["src", "tests", "benches"]);
}

#[test]
fn only_the_raw_configuration_is_deserialized() {
    assert_holds(deserialize, &["src"]);
}

#[test]
fn nothing_is_ignored_or_left_to_do() {
    assert_holds(unfinished, &["src", "tests", "benches"]);
}

// The checks: each a function of a path and the text of that file.

fn imports(path: &str, text: &str) -> Vec<Breach> {
    let room = room(path);
    let Some((_, below)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return Vec::new();
    };
    breaches(path, &paths(text), |found| {
        let other = imported(path, &found.path)?;
        let allowed = other == room || below.contains(&other);
        (!allowed).then(|| format!("{room} may not import {other}"))
    })
}

/// The room that a path in this file leads to, when it leads out of the file's room.
fn imported<'a>(file: &str, path: &'a str) -> Option<&'a str> {
    let segments: Vec<&str> = path.split("::").collect();
    let supers = segments.iter().take_while(|segment| **segment == "super").count();
    match *segments.first()? {
        // The binary sees the library from outside.
        "crate" => segments.get(1).copied(),
        "dunlin" if room(file) == "main" => segments.get(1).copied(),
        "super" if supers >= depth(file) => {
            // In a module within a file it may lead to less than a room.
            let other = segments.get(supers).copied()?;
            ROOMS.iter().any(|(room, _)| *room == other).then_some(other)
        }
        _ => None,
    }
}

fn known_room(path: &str, _: &str) -> Vec<Breach> {
    let room = room(path);
    if ROOMS.iter().any(|(name, _)| *name == room) {
        return Vec::new();
    }
    vec![breach(path, 1, format!("{room} is not in the table of rooms"))]
}

fn purity(path: &str, text: &str) -> Vec<Breach> {
    let room = room(path);
    if !PURE.contains(&room) {
        return Vec::new();
    }
    breaches(path, &paths(text), |found| {
        let within =
            |known: &&&str| found.path == **known || found.path.starts_with(&format!("{known}::"));
        let word = |known: &&&str| found.path.split("::").any(|segment| segment == **known);
        let clock = found.path.ends_with("::now").then_some("::now");
        let impure = IMPURE_PATHS.iter().find(within).or_else(|| IMPURE_WORDS.iter().find(word));
        let what = impure.copied().or(clock)?;
        Some(format!("{room} is pure and may not use {what}"))
    })
}

fn length(path: &str, text: &str) -> Vec<Breach> {
    let lines = text.lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    vec![breach(path, lines, format!("{lines} lines, more than {LINES_MAX}"))]
}

fn head(path: &str, text: &str) -> Vec<Breach> {
    let first = text.lines().next().unwrap_or_default();
    if first.strip_prefix("//! ").is_some_and(|sentence| !sentence.trim().is_empty()) {
        return Vec::new();
    }
    vec![breach(path, 1, "the first line is not a `//!` that says what the file is for".to_owned())]
}

fn deserialize(path: &str, text: &str) -> Vec<Breach> {
    if path == RAW {
        return Vec::new();
    }
    breaches(path, &paths(text), |found| {
        let mentioned = found.path.split("::").any(|segment| segment == "Deserialize");
        mentioned.then(|| format!("only {RAW} derives Deserialize"))
    })
}

fn unfinished(path: &str, text: &str) -> Vec<Breach> {
    let tokens = tokens(text);
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    let found = tokens.iter().enumerate().filter_map(|(at, token)| {
        let what = match token.text.as_str() {
            "todo" | "unimplemented" if is(at + 1, "!") => format!("{}!", token.text),
            "ignore" if at > 1 && is(at - 1, "[") && is(at - 2, "#") => "#[ignore]".to_owned(),
            _ => return None,
        };
        Some(breach(path, token.line, format!("{what} has no place here")))
    });
    found.collect()
}

// What the checks look at.

/// `config` for src/config/raw.rs, `message` for src/message.rs.
fn room(path: &str) -> &str {
    let within = path.strip_prefix("src/").unwrap_or(path);
    let first = within.split('/').next().unwrap_or_default();
    first.strip_suffix(".rs").unwrap_or(first)
}

/// How many times `super` leads from the file to the root.
fn depth(path: &str) -> usize {
    let within = path.strip_prefix("src/").unwrap_or(path);
    let depth = within.split('/').count();
    if within.ends_with("/mod.rs") { depth - 1 } else { depth }
}

struct Token {
    text: String,
    line: usize,
}

/// A path such as `crate::topic::TopicName`, or a word alone.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    path: String,
    line: usize,
}

/// Every path in the code; a group in braces gives one for each of its members.
fn paths(text: &str) -> Vec<Found> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = path_from(&tokens, at, "", &mut found);
    }
    found
}

/// Reads the path or the one token at `at`, and returns where the next begins.
fn path_from(tokens: &[Token], mut at: usize, prefix: &str, found: &mut Vec<Found>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let line = tokens[at].line;
    let mut path = prefix.to_owned();
    loop {
        if text(at) == "{" && path.ends_with("::") {
            at += 1;
            while !matches!(text(at), "}" | "") {
                at = path_from(tokens, at, &path, found);
            }
            return at + 1;
        }
        let is_word = text(at).starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if !is_word {
            return at + 1;
        }
        path.push_str(text(at));
        at += 1;
        if text(at) != "::" {
            found.push(Found { path, line });
            return at;
        }
        path.push_str("::");
        at += 1;
    }
}

/// The code without comments, and without what stands in quotes.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = quoted(rest) {
            length
        } else {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                _ => word,
            };
            if !first.is_whitespace() {
                tokens.push(Token { text: rest[..length].to_owned(), line });
            }
            length
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// The length of the text or character literal that `rest` begins with.
fn quoted(rest: &str) -> Option<usize> {
    let bare = rest.strip_prefix("br").or(rest.strip_prefix('r')).unwrap_or(rest);
    let hashes = bare.len() - bare.trim_start_matches('#').len();
    if bare.len() < rest.len() && bare[hashes..].starts_with('"') {
        let start = rest.len() - bare.len() + hashes + 1;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len());
        return Some(length);
    }
    let start = usize::from(rest.starts_with("b\"") || rest.starts_with("b'"));
    let quote = rest[start..].chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut inside = rest[start + 1..].char_indices();
    // A lifetime is a quote that is not closed after one character.
    if quote == '\'' {
        let closed = inside.clone().nth(1).is_some_and(|(_, second)| second == '\'');
        if !closed && !rest[start + 1..].starts_with('\\') {
            return None;
        }
    }
    while let Some((at, c)) = inside.next() {
        match c {
            '\\' => drop(inside.next()),
            c if c == quote => return Some(start + 1 + at + 1),
            _ => {}
        }
    }
    Some(rest.len())
}

fn breach(path: &str, line: usize, what: String) -> Breach {
    Breach { path: path.to_owned(), line, what }
}

fn breaches(path: &str, found: &[Found], wrong: impl Fn(&Found) -> Option<String>) -> Vec<Breach> {
    found.iter().filter_map(|it| Some(breach(path, it.line, wrong(it)?))).collect()
}

fn assert_holds(check: Check, folders: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut files);
    }
    assert!(!files.is_empty(), "no sources found");
    files.sort();

    let mut broken = Vec::new();
    for file in files {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        broken.extend(check(&path, &fs::read_to_string(&file).unwrap()));
    }

    let lines: Vec<String> = broken.iter().map(ToString::to_string).collect();
    assert!(broken.is_empty(), "\n{}", lines.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
