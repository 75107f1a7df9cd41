//! Every check finds what it is there to find, and nothing else.

use super::citations::Standard;
use super::table::Table;
use super::{incomplete, summary, tests, unknown, unlisted, unshown};

// In one line each, so that they are no tests of this file.
const TESTS: &str = "/// [MQTT3-1.5.3-1]\n#[test]\nfn v5_mqtt_1_5_4_1_holds() {\n    \
     // [MQTT-1.5.4-2]\n}\n\n#[tokio::test]\nasync fn cites_nothing() {}\n";

const RIGHT: &str = r#"
[[statement]]
of = "5.0"
id = "MQTT-1.5.4-1"
shown = "yes"
says = "x"
tested-by = ["conformance::some::v5_mqtt_1_5_4_1_holds"]

[[statement]]
of = "5.0"
id = "MQTT-1.5.4-2"
shown = "indirect"
says = "x"
tested-by = ["conformance::some::v5_mqtt_1_5_4_1_holds"]

[[statement]]
of = "5.0"
id = "MQTT-3.3.1-10"
shown = "no"
says = "x"
exempt = "It binds the client."

[[statement]]
of = "3.1.1"
id = "MQTT-1-5.3.1"
shown = "yes"
says = "x"
tested-by = ["conformance::some::v5_mqtt_1_5_4_1_holds"]

[[statement]]
of = "3.1.1"
id = "MQTT-1.5.3-2"
shown = "yes"
says = "x"
exempt = "There is no such feature."
until = "src/feature.rs"
"#;

/// All problems of a table, with the tests above and perhaps the feature.
fn problems_with(table: &str, feature: bool) -> Vec<String> {
    let table = Table::parse(table);
    let tests = tests::of("tests/conformance/some.rs", TESTS);
    let mut problems = incomplete(&table, &[(Standard::V311, 2), (Standard::V5, 3)]);
    problems.extend(table.rows.iter().flat_map(|row| unshown(row, &tests, &|_| feature)));
    problems.extend(unlisted(&table, &tests));
    problems
}

/// The same after one change to a right table.
fn problems(from: &str, to: &str) -> Vec<String> {
    assert!(RIGHT.contains(from), "{from} is not there to be changed");
    problems_with(&RIGHT.replacen(from, to, 1), false)
}

#[test]
fn a_right_table_has_no_problem_and_is_counted() {
    assert_eq!(problems_with(RIGHT, false), Vec::<String>::new());
    assert_eq!(summary(&Table::parse(RIGHT)), "3.1.1: 1/2 (1 exempt), 5.0: 2/2");
}

#[test]
fn a_statement_without_a_row_or_with_two_is_found() {
    let missing = problems("5.0", "3.1.1");
    let twice = problems("MQTT-3.3.1-10", "MQTT-1.5.4-2");

    assert!(missing.contains(&"3.1.1 has 2 statements but 3 rows".to_owned()), "{missing:?}");
    assert!(missing.contains(&"5.0 has 3 statements but 2 rows".to_owned()), "{missing:?}");
    assert_eq!(twice, ["[MQTT-1.5.4-2] has two rows"]);
}

#[test]
fn a_row_without_a_test_or_a_reason_is_found() {
    let neither = problems("exempt = \"It binds the client.\"", "");
    let both = problems("tested-by", "exempt = \"x\"\ntested-by");
    let silent = problems("It binds the client.", " ");

    assert_eq!(neither, ["[MQTT-3.3.1-10] is neither tested nor exempt"]);
    assert_eq!(both, ["[MQTT-1.5.4-1] is tested and exempt"]);
    assert_eq!(silent, ["[MQTT-3.3.1-10] is exempt for no reason"]);
}

#[test]
fn an_exemption_of_what_a_server_can_show_is_found() {
    let shown = problems("shown = \"no\"", "shown = \"indirect\"");
    let feature = problems_with(RIGHT, true);

    assert_eq!(shown, ["[MQTT-3.3.1-10] is exempt, but a server can show it"]);
    assert_eq!(feature, ["[MQTT3-1.5.3-2] is exempt, but a server can show it"]);
}

#[test]
fn a_test_that_does_not_exist_or_shows_something_else_is_found() {
    let gone = problems("1_holds", "2_holds");
    let other = problems("v5_mqtt_1_5_4_1_holds", "cites_nothing");

    assert!(
        gone.contains(
            &"[MQTT-1.5.4-1] is tested by conformance::some::v5_mqtt_1_5_4_2_holds, which is no test"
                .to_owned()
        ),
        "{gone:?}"
    );
    assert!(
        other.contains(
            &"[MQTT-1.5.4-1] is tested by conformance::some::cites_nothing, which does not cite it"
                .to_owned()
        ),
        "{other:?}"
    );
}

#[test]
fn a_test_that_is_missing_from_its_row_is_found() {
    let unlisted = problems(
        "says = \"x\"\ntested-by = [\"conformance::some::v5_mqtt_1_5_4_1_holds\"]",
        "says = \"x\"\ntested-by = []",
    );

    assert!(
        unlisted.contains(
            &"conformance::some::v5_mqtt_1_5_4_1_holds is not in the row of [MQTT-1.5.4-1]"
                .to_owned()
        ),
        "{unlisted:?}"
    );
}

#[test]
fn a_citation_of_nothing_is_found() {
    let table = Table::parse(RIGHT);
    let [five, three] = ["[MQTT", "[MQTT3"].map(|start| format!("{start}-1.5.4-1]"));

    let found = unknown(&table, "src/some.rs", &format!("// {five}\n// {three} {five}\n"));

    assert_eq!(found, [format!("src/some.rs:2: there is no {three}")]);
}
