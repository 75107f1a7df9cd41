//! The table of clients and scenarios: the tests it makes, and that it has no silent gap.

use std::{collections::BTreeSet, io::Write};

use crate::{
    broker::Broker,
    client::{Driver, Version},
    scenarios::{SCENARIOS, Scenario},
    world::World,
};

/// A column.
pub(crate) struct Column {
    pub(crate) client: &'static str,
    pub(crate) driver: fn() -> Box<dyn Driver>,
    pub(crate) runs: &'static [&'static str],
    /// A scenario, and why this client has no part in it.
    pub(crate) cannot: &'static [(&'static str, &'static str)],
}

/// A column for each client, and a test `client::scenario` for each scenario that it runs.
macro_rules! table {
    ($($client:ident {
        runs: $($runs:ident)*;
        cannot: $($cannot:ident: $reason:expr;)*
    })*) => {
        pub(crate) const TABLE: &[table::Column] = &[$(table::Column {
            client: stringify!($client),
            driver: drivers::$client,
            runs: &[$(stringify!($runs)),*],
            cannot: &[$((stringify!($cannot), $reason)),*],
        }),*];

        $(mod $client {
            $(#[test]
            fn $runs() {
                crate::table::run(crate::drivers::$client, stringify!($runs));
            })*
        })*
    };
}

/// In each version that client and scenario have, with a broker of its own.
pub(crate) fn run(driver: fn() -> Box<dyn Driver>, scenario: &str) {
    let driver = driver();
    let scenario = SCENARIOS.iter().find(|known| known.name == scenario).expect("it is known");
    for &version in versions(driver.as_ref(), scenario) {
        let broker = match scenario.configuration {
            "" => Broker::start(),
            configuration => Broker::start_with(configuration),
        };
        let world = World { broker, driver: driver.as_ref(), version };
        (scenario.run)(&world);
    }
}

fn versions<'a>(driver: &'a dyn Driver, scenario: &Scenario) -> &'a [Version] {
    let versions = driver.versions();
    let first = versions.iter().position(|version| *version >= scenario.since);
    first.map_or(&[], |first| &versions[first..])
}

#[test]
fn every_client_has_every_scenario_or_a_reason() {
    let scenarios: BTreeSet<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    let mut gaps = String::new();
    for Column { client, runs, cannot, .. } in crate::TABLE {
        let reasons = cannot.iter().map(|(scenario, _)| *scenario);
        let mentioned: Vec<&str> = runs.iter().copied().chain(reasons).collect();

        assert_eq!(mentioned.iter().copied().collect::<BTreeSet<_>>(), scenarios, "{client}");
        assert_eq!(mentioned.len(), scenarios.len(), "{client} has one of them twice");
        for (scenario, reason) in *cannot {
            assert!(!reason.is_empty(), "{client} {scenario}");
            gaps.push_str(&format!("  {client} {scenario}: {reason}\n"));
        }
    }

    // Not by a macro: the output of a test that succeeds would not be shown.
    let text = format!("\n{}\nwhat a client cannot do:\n{gaps}", rows());
    std::io::stdout().write_all(text.as_bytes()).expect("stdout takes it");
}

/// The versions in which each client runs each scenario.
fn rows() -> String {
    let drivers: Vec<_> = crate::TABLE.iter().map(|column| (column, (column.driver)())).collect();
    let mut rows = format!("{:<34}", "scenario");
    rows.extend(drivers.iter().map(|(column, _)| format!("{:<16}", column.client)));
    for scenario in SCENARIOS {
        rows.push_str(&format!("\n{:<34}", scenario.name));
        for (column, driver) in &drivers {
            let runs = column.runs.contains(&scenario.name);
            let names = versions(driver.as_ref(), scenario).iter().map(|version| version.name());
            let cell = if runs { names.collect::<Vec<_>>().join(" ") } else { "-".to_owned() };
            rows.push_str(&format!("{cell:<16}"));
        }
    }
    rows + "\n"
}
