//! Where a test runs.

use std::fs;
use std::iter;
use std::time::Duration;

use dunlin::config::{Config, Overrides};

use super::BOTH;
use super::broker::{Broker, Folder};
use super::client::Client;
use super::clockwork::Clockwork;
use super::connect::Connect;
use super::real::Socket;
use super::said::{Subscribe, connack, lasting};
use super::wire::Version;

/// A broker of a test's own.
#[derive(Debug)]
pub(crate) enum World {
    /// The binary, over sockets.
    Real(Broker),
    /// The same rooms in this thread, with a clock of the test's.
    Clockwork(Clockwork),
}

/// Runs a test twice: on the binary over sockets, and in this thread.
pub(crate) fn everywhere(test: impl Fn(&World)) {
    everywhere_with("", test);
}

/// The same with this configuration file.
pub(crate) fn everywhere_with(configuration: &str, test: impl Fn(&World)) {
    really_with(configuration, &test);
    with_clock_and(configuration, &test);
}

/// The same for both versions that most rules have in common, each with a broker of its own.
pub(crate) fn everywhere_in_both(test: impl Fn(&World, Version)) {
    for version in BOTH {
        everywhere(|world| test(world, version));
    }
}

/// Runs a test on the binary: for what concerns sockets, threads or authentication.
pub(crate) fn really(test: impl FnOnce(&World)) {
    eprintln!("--- on the binary");
    test(&World::Real(Broker::start()));
}

pub(crate) fn really_with(configuration: &str, test: impl FnOnce(&World)) {
    eprintln!("--- on the binary");
    test(&World::Real(Broker::start_with(configuration)));
}

/// Runs a test in this thread, where it can let time [`World::pass`].
pub(crate) fn with_clock(test: impl FnOnce(&World)) {
    with_clock_and("", test);
}

pub(crate) fn with_clock_and(configuration: &str, test: impl FnOnce(&World)) {
    eprintln!("--- in this thread");
    test(&World::Clockwork(Clockwork::new(&config(configuration))));
}

pub(crate) fn with_clock_in_both(test: impl Fn(&World, Version)) {
    for version in BOTH {
        with_clock(|world| test(world, version));
    }
}

/// The configuration of one listener that lets everybody in and has these keys besides.
pub(crate) fn listener(keys: &str) -> String {
    format!("[[listener]]\naddress = \"127.0.0.1:0\"\nanonymous = true\n{keys}\n")
}

fn config(configuration: &str) -> Config {
    let folder = Folder::new();
    let file = folder.path.join("dunlin.toml");
    fs::write(&file, configuration).expect("the configuration is written");
    let listens = configuration.contains("[[listener]]");
    let listen = if listens { Vec::new() } else { vec!["127.0.0.1:0".to_owned()] };
    let overrides = Overrides { listen, memory: true, data_dir: None };
    Config::load(Some(&file), iter::empty(), &overrides).expect("a right configuration").config
}

impl World {
    /// A network connection on which nothing was said yet.
    pub(crate) fn client(&self, version: Version) -> Client {
        match self {
            Self::Real(broker) => Client::new(version, Box::new(Socket::open(broker.address))),
            Self::Clockwork(clockwork) => Client::new(version, Box::new(clockwork.open())),
        }
    }

    /// A client with a new Session that ends with the connection.
    #[track_caller]
    pub(crate) fn connected(&self, version: Version, client_id: &str) -> Client {
        self.connect(version, super::said::connect(client_id))
    }

    /// A client that had no Session and has one now.
    #[track_caller]
    pub(crate) fn connect(&self, version: Version, connect: Connect) -> Client {
        let mut client = self.client(version);
        client.send(connect);
        client.expect(connack());
        client
    }

    /// A client with a new Session that outlives the connection and has this Subscription.
    #[track_caller]
    pub(crate) fn subscriber(&self, version: Version, client_id: &str, to: Subscribe) -> Client {
        let mut client = self.connect(version, lasting(client_id));
        client.subscribed(to);
        client
    }

    /// A client that has the Session again that it had before.
    #[track_caller]
    pub(crate) fn resume(&self, version: Version, connect: Connect) -> Client {
        let mut client = self.client(version);
        client.send(connect);
        client.expect(connack().session_present());
        client
    }

    /// Lets so many seconds pass, if the clock is the test's.
    pub(crate) fn pass(&self, seconds: u64) {
        match self {
            Self::Real(_) => panic!("nobody can wait {seconds} seconds"),
            Self::Clockwork(clockwork) => clockwork.pass(Duration::from_secs(seconds)),
        }
    }
}
