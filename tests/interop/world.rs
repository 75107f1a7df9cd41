//! A broker and clients of one kind and version, as a scenario finds them.

use std::sync::mpsc::{self, Sender};

use crate::{
    broker::Broker,
    client::{Client, Driver, Message, Options, Version},
};

pub(crate) struct World<'a> {
    pub(crate) broker: Broker,
    pub(crate) driver: &'a dyn Driver,
    pub(crate) version: Version,
}

impl World<'_> {
    pub(crate) fn client(&self, client_id: &str) -> Options {
        self.client_of(self.version, client_id)
    }

    pub(crate) fn client_of(&self, version: Version, client_id: &str) -> Options {
        Options::new(version, client_id)
    }

    pub(crate) fn every_version(&self) -> impl Iterator<Item = Version> {
        self.driver.versions().iter().copied()
    }

    pub(crate) fn open(&self, options: Options) -> Client {
        self.try_open(options).unwrap_or_else(|code| panic!("refused with {code:#04x}"))
    }

    /// The error is the Reason Code of the CONNACK.
    pub(crate) fn try_open(&self, options: Options) -> Result<Client, u8> {
        let (inbox, messages) = mpsc::channel();
        let connection = self.driver.open(self.broker.address, options, inbox)?;
        Ok(Client::new(connection, messages))
    }

    /// What it receives comes to an inbox that it shares with others.
    pub(crate) fn open_into(&self, options: Options, inbox: &Sender<Message>) -> Client {
        let opened = self.driver.open(self.broker.address, options, inbox.clone());
        let connection = opened.unwrap_or_else(|code| panic!("refused with {code:#04x}"));
        let (_, nothing) = mpsc::channel();
        Client::new(connection, nothing)
    }

    /// Connects, subscribes and disconnects.
    pub(crate) fn visit(&self, options: Options) {
        self.driver.visit(self.broker.address, options);
    }

    /// A client that disconnected may be gone before the broker has read that. The broker has to
    /// say `$SYS` often enough.
    pub(crate) fn wait_until_connected_are(&self, clients: usize) {
        let topic = "$SYS/broker/clients/connected";
        let mut watcher = self.open(self.client("counter").subscribe(topic, 0));
        let count = (clients + 1).to_string();
        while watcher.message().text() != count {}
        watcher.disconnect();
    }

    /// The event is a Will with this delay, so it is the broker's time that has passed.
    pub(crate) fn wait_until_the_broker_is_older_by(&self, seconds: u32) {
        let mut watcher = self.open(self.client("clock watcher").subscribe("clock", 1));
        let clock = self.client("clock").lasting(3_600).delayed_will("clock", "it is", seconds);
        self.open(clock).kill();
        watcher.expect("clock", "it is", 1);
        watcher.disconnect();
    }
}
