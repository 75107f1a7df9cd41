//! Each check of the architecture on sources that break it, and on ones that only look like it.

use super::{Check, RAW, deserialize, head, imports, known_room, length, purity, unfinished};

fn lines(check: Check, path: &str, text: &str) -> Vec<usize> {
    check(path, text).iter().map(|breach| breach.line).collect()
}

#[test]
fn imports_upwards_are_found_in_every_form() {
    for text in [
        "use crate::router::Router;",
        "use crate::{topic::TopicName, router::Router};",
        "use crate::{topic::{self, TopicName}, router};",
        "fn route(router: &mut crate::router::Router) {}",
        "type A = Vec<crate::router::Router>;",
        "pub(in crate::router) struct A;",
        "use super::super::router::Router;",
        "macro_rules! a { () => { $crate::router::Router } }",
        "use crate::nowhere::Nothing;",
    ] {
        assert_eq!(lines(imports, "src/session/state.rs", text), [1], "{text}");
    }
    assert_eq!(lines(imports, "src/message.rs", "\nuse super::router::Router;"), [2]);
    assert_eq!(lines(imports, "src/session/mod.rs", "use super::router::Router;"), [1]);
    assert_eq!(lines(imports, "src/server/mod.rs", "use crate::daemon::run;"), [1]);
    assert_eq!(lines(imports, "src/main.rs", "use dunlin::server::Worker;"), [1]);
}

#[test]
fn imports_downwards_and_within_a_room_are_fine() {
    for text in [
        "use crate::topic::TopicName;",
        "use crate::{topic::TopicName, packet::{Packet, Publish}};",
        "use crate::session::state::State;",
        "use super::inflight::Inflight;",
        "// crate::router is above us\n/* crate::router */",
        "const A: &str = \"crate::router\"; const B: &str = r#\"\"crate::router\"#;",
        "fn a<'a>(b: &'a str) -> char { 'b' }",
    ] {
        assert_eq!(lines(imports, "src/session/state.rs", text), [0; 0], "{text}");
    }
    assert_eq!(lines(imports, "src/main.rs", "use dunlin::cli::{self, Exit};"), [0; 0]);
}

#[test]
fn a_character_that_is_a_quote_hides_nothing_after_it() {
    let text = "const A: [char; 3] = ['\"', '\\'', '\\\\'];\nuse crate::router::Router;";

    assert_eq!(lines(imports, "src/session/state.rs", text), [2]);
}

#[test]
fn unknown_rooms_are_found() {
    assert_eq!(lines(known_room, "src/util.rs", ""), [1]);
    assert_eq!(lines(known_room, "src/helpers/mod.rs", ""), [1]);
    assert_eq!(lines(known_room, "src/config/raw.rs", ""), [0; 0]);
}

#[test]
fn impurities_are_found_in_every_form() {
    for text in [
        "use tokio::sync::mpsc;",
        "use std::net::SocketAddr;",
        "use std::{fmt, fs};",
        "use std::{collections::{HashMap, VecDeque}, net::IpAddr};",
        "fn a() -> Instant { Instant::now() }",
        "fn a() { std::time::SystemTime::now(); }",
        "async fn a() {}",
        "fn a() { b.await; }",
        "use rand::Rng;",
        "use parking_lot::Mutex;",
        "struct A(std::sync::Mutex<u8>);",
        "#[cfg(test)] mod tests { use std::fs; }",
    ] {
        let broken = purity("src/topic/name.rs", text);
        assert!(!broken.is_empty(), "{text}");
    }
}

#[test]
fn what_only_sounds_impure_is_fine() {
    let text = "//! No tokio, no async, no std::fs.\nuse std::{fmt, time::Duration};\n\
                fn a(now: Now, random: u8) -> &'static str { \"Instant::now()\" }";

    assert_eq!(purity("src/topic/name.rs", text), []);
    assert_eq!(purity("src/server/mod.rs", "use tokio::net::TcpStream;"), []);
}

#[test]
fn long_files_are_found() {
    assert_eq!(lines(length, "src/a.rs", &"\n".repeat(600)), [0; 0]);
    assert_eq!(lines(length, "src/a.rs", &"\n".repeat(601)), [601]);
}

#[test]
fn missing_heads_are_found() {
    assert_eq!(lines(head, "src/a.rs", "//! What it is for.\n"), [0; 0]);
    for text in ["", "//!", "//! ", "// A comment.", "\n//! Too late."] {
        assert_eq!(lines(head, "src/a.rs", text), [1], "{text:?}");
    }
}

#[test]
fn deserialize_elsewhere_is_found() {
    let text = "use serde::{Serialize, Deserialize};\n#[derive(serde::Deserialize)] struct A;";

    assert_eq!(lines(deserialize, "src/config/mod.rs", text), [1, 2]);
    assert_eq!(lines(deserialize, RAW, text), [0; 0]);
}

#[test]
fn unfinished_work_is_found() {
    let text = "#[ignore]\nfn a() { todo!() }\nfn b() { unimplemented!(\"x\") }\n\
                #[ignore = \"slow\"]\nfn ignore(todo: u8) -> bool { !todo }";

    assert_eq!(lines(unfinished, "src/a.rs", text), [1, 2, 3, 4]);
}
