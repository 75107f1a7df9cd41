//! Whether every normative statement is shown by a test: `requirements.toml` against the sources.
//!
//! - [`table`]: the rows; [`citations`]: statements that a text cites; [`tests`]: the tests of this
//!   project, and what each of them cites.

mod checks_can_fail;
mod citations;
mod table;
mod tests;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use citations::{Standard, Statement};
use table::{Row, Shown, Table};
use tests::Test;

/// How many statements there are.
const STATEMENTS: [(Standard, usize); 2] = [(Standard::V311, 141), (Standard::V5, 251)];

#[test]
fn every_statement_is_shown_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = Table::parse(&read(&root.join("tests/conformance/requirements.toml")));
    let files: Vec<(String, String)> = ["src", "tests", "benches"]
        .iter()
        .flat_map(|folder| rust_files(&root.join(folder)))
        .map(|path| (relative(root, &path), read(&path)))
        .collect();
    let tests: Vec<Test> = files.iter().flat_map(|(path, text)| tests::of(path, text)).collect();
    let exists = |path: &str| root.join(path).exists();

    let mut problems = incomplete(&table, &STATEMENTS);
    problems.extend(table.rows.iter().flat_map(|row| unshown(row, &tests, &exists)));
    problems.extend(unlisted(&table, &tests));
    problems.extend(files.iter().flat_map(|(path, text)| unknown(&table, path, text)));

    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    // Past the harness, which keeps what a test that passes prints to itself.
    let _ = writeln!(io::stderr(), "{}", summary(&table));
}

/// `3.1.1: N/N, 5.0: M/M`: of the statements that a server can show those that are tested.
fn summary(table: &Table) -> String {
    let of = |standard: Standard| {
        let rows = || table.rows.iter().filter(|row| row.of == standard && row.shown != Shown::No);
        let tested = rows().filter(|row| !row.tested_by.is_empty()).count();
        let exempt = rows().filter(|row| row.exempt.is_some()).count();
        let exempt = if exempt == 0 { String::new() } else { format!(" ({exempt} exempt)") };
        format!("{standard}: {tested}/{}{exempt}", rows().count())
    };
    STATEMENTS.map(|(standard, _)| of(standard)).join(", ")
}

/// Every statement has its row, and only one.
fn incomplete(table: &Table, statements: &[(Standard, usize)]) -> Vec<String> {
    let mut problems = Vec::new();
    for (standard, expected) in statements {
        let rows = table.rows.iter().filter(|row| row.of == *standard).count();
        if rows != *expected {
            problems.push(format!("{standard} has {expected} statements but {rows} rows"));
        }
    }
    for (at, row) in table.rows.iter().enumerate() {
        let statement = row.statement();
        if table.rows[..at].iter().any(|earlier| earlier.statement() == statement) {
            problems.push(format!("{statement} has two rows"));
        }
    }
    problems
}

/// What is wrong with a row: no test that shows it, and no good reason for that.
fn unshown(row: &Row, tests: &[Test], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let statement = row.statement();
    let mut problems = Vec::new();
    match (&row.exempt, row.tested_by.is_empty()) {
        (None, true) => problems.push(format!("{statement} is neither tested nor exempt")),
        (Some(_), false) => problems.push(format!("{statement} is tested and exempt")),
        (Some(reason), true) => {
            let absent = row.until.as_ref().is_some_and(|path| !exists(path));
            if row.shown != Shown::No && !absent {
                problems.push(format!("{statement} is exempt, but a server can show it"));
            }
            if reason.trim().is_empty() {
                problems.push(format!("{statement} is exempt for no reason"));
            }
        }
        (None, false) => {}
    }
    for name in &row.tested_by {
        match tests.iter().find(|test| test.path == *name) {
            None => problems.push(format!("{statement} is tested by {name}, which is no test")),
            Some(test) if !test.cites.contains(&statement) => {
                problems.push(format!("{statement} is tested by {name}, which does not cite it"));
            }
            Some(_) => {}
        }
    }
    problems
}

/// Tests that are named after a statement and do not stand in its row.
fn unlisted(table: &Table, tests: &[Test]) -> Vec<String> {
    let mut problems = Vec::new();
    for test in tests {
        let Some(named) = &test.named_after else { continue };
        let row = table.rows.iter().find(|row| row.statement() == *named);
        match row {
            None => problems.push(format!("{} is named after {named}, which is none", test.path)),
            Some(row) if !row.tested_by.contains(&test.path) => {
                problems.push(format!("{} is not in the row of {named}", test.path));
            }
            Some(_) => {}
        }
    }
    problems
}

/// Citations of statements that do not exist.
fn unknown(table: &Table, path: &str, text: &str) -> Vec<String> {
    let known = |statement: &Statement| table.rows.iter().any(|row| row.statement() == *statement);
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for cited in citations::of(line).iter().filter(|cited| !known(cited)) {
            problems.push(format!("{path}:{}: there is no {cited}", number + 1));
        }
    }
    problems
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).expect("a path within").to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
