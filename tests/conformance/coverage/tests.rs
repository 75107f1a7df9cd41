//! The tests in a file: their names, and what they cite.

use super::citations::{self, Statement};

#[derive(Debug)]
pub(super) struct Test {
    /// `conformance::publish::v5_mqtt_3_3_1_1_...`: the target, the modules, the function.
    pub(super) path: String,
    /// In its name, above it or in a comment within it.
    pub(super) cites: Vec<Statement>,
    pub(super) named_after: Option<Statement>,
}

/// The tests of a file, in which each stands at its margin.
pub(super) fn of(path: &str, text: &str) -> Vec<Test> {
    let module = module(path);
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if !(*line == "#[test]" || line.starts_with("#[tokio::test")) {
            continue;
        }
        let above = lines[..at].iter().rev().take_while(|line| is_about_what_follows(line)).count();
        let signature = lines[at..].iter().find_map(|line| name(line));
        let Some(name) = signature else { continue };
        let end = lines[at..].iter().position(|line| *line == "}").unwrap_or(0);
        let comments = lines[at - above..=at + end].iter().filter_map(|line| comment(line));
        let named_after = Statement::named_in(name);
        let mut cites: Vec<Statement> = comments.flat_map(citations::of).collect();
        cites.extend(named_after.clone());
        found.push(Test { path: format!("{module}::{name}"), cites, named_after });
    }
    found
}

fn is_about_what_follows(line: &str) -> bool {
    line.starts_with("//") || line.starts_with("#[")
}

fn name(line: &str) -> Option<&str> {
    let signature = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    signature.split_once('(').map(|(name, _)| name)
}

fn comment(line: &str) -> Option<&str> {
    line.split_once("//").map(|(_, comment)| comment)
}

/// `conformance::publish` for tests/conformance/publish.rs, `dunlin::time` for src/time.rs.
fn module(path: &str) -> String {
    let within = path.trim_end_matches(".rs").trim_end_matches("/mod").trim_end_matches("/main");
    let within = match within.split_once('/') {
        Some(("src", rest)) => format!("dunlin/{rest}"),
        Some((_, rest)) => rest.to_owned(),
        None => within.to_owned(),
    };
    within.replace('/', "::")
}
