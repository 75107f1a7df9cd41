//! What a scenario asks of a client, whichever it is, and what a driver of one has to offer.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::mpsc::{self, Receiver, Sender},
};

use crate::broker::PATIENCE;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V31,
    V311,
    V5,
}

impl Version {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V31 => "3.1",
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        }
    }
}

/// An implementation of MQTT that people use.
pub(crate) trait Driver: Sync {
    fn versions(&self) -> &'static [Version];

    /// Connects, subscribes, then unsubscribes; everything is acknowledged when this returns. What
    /// arrives goes to `inbox`. The Reason Code of a CONNACK that refuses is the error.
    fn open(
        &self,
        broker: SocketAddr,
        options: Options,
        inbox: Sender<Message>,
    ) -> Result<Box<dyn Connection>, u8>;

    /// Connects, subscribes and disconnects.
    fn visit(&self, broker: SocketAddr, options: Options) {
        let (inbox, _) = mpsc::channel();
        self.open(broker, options, inbox).expect("the client is let in").disconnect();
    }
}

/// One Network Connection of a client; dropping it is no DISCONNECT either.
pub(crate) trait Connection {
    /// As the CONNACK said; some clients do not show it.
    fn session_present(&self) -> Option<bool>;

    /// Hands these over to be sent, all at once if the client can do that.
    fn publish(&mut self, messages: &[Message]);

    /// Waits until the broker has everything that was handed over.
    fn wait_until_acknowledged(&mut self);

    /// Whatever the client printed or reported beside messages.
    fn said(&mut self) -> String;

    fn disconnect(self: Box<Self>);

    /// The connection ends without a DISCONNECT.
    fn kill(self: Box<Self>);
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// As in the packet: empty if an alias stands for it.
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) topic_alias: Option<u16>,
    /// What the client itself made of topic and alias, if it does that.
    pub(crate) resolved: Option<String>,
    pub(crate) message_expiry: Option<u32>,
    pub(crate) content_type: Option<String>,
    pub(crate) response_topic: Option<String>,
    pub(crate) correlation_data: Option<Vec<u8>>,
    pub(crate) user_properties: Vec<(String, String)>,
}

impl Message {
    pub(crate) fn new(topic: &str, payload: impl Into<Vec<u8>>, qos: u8) -> Self {
        Self { topic: topic.to_owned(), payload: payload.into(), qos, ..Self::default() }
    }

    pub(crate) fn retained(self) -> Self {
        Self { retain: true, ..self }
    }

    pub(crate) fn with_topic_alias(self, alias: u16) -> Self {
        Self { topic_alias: Some(alias), ..self }
    }

    pub(crate) fn expiring_after(self, seconds: u32) -> Self {
        Self { message_expiry: Some(seconds), ..self }
    }

    pub(crate) fn with_user_properties(self, pairs: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self { user_properties: pairs.iter().map(owned).collect(), ..self }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Session {
    /// Clean Start, which ends with its connection.
    Clean,
    /// Not a Clean Start; before 5.0 a Session has no time of its own.
    Lasting { expiry_seconds: u32 },
}

#[derive(Clone, Debug)]
pub(crate) struct Will {
    pub(crate) message: Message,
    pub(crate) delay_seconds: Option<u32>,
}

/// A CONNECT, and what is subscribed right after it.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) version: Version,
    /// Empty: the broker chooses.
    pub(crate) client_id: String,
    pub(crate) session: Session,
    /// In the DISCONNECT.
    pub(crate) session_expiry_at_end: Option<u32>,
    pub(crate) will: Option<Will>,
    pub(crate) topic_alias_maximum: Option<u16>,
    /// The client is to choose Topic Aliases for what it sends.
    pub(crate) chooses_aliases: bool,
    pub(crate) subscriptions: Vec<(String, u8)>,
    pub(crate) unsubscriptions: Vec<String>,
}

impl Options {
    pub(crate) fn new(version: Version, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.to_owned(),
            session: Session::Clean,
            session_expiry_at_end: None,
            will: None,
            topic_alias_maximum: None,
            chooses_aliases: false,
            subscriptions: Vec::new(),
            unsubscriptions: Vec::new(),
        }
    }

    pub(crate) fn lasting(self, expiry_seconds: u32) -> Self {
        Self { session: Session::Lasting { expiry_seconds }, ..self }
    }

    pub(crate) fn ending_its_session(self) -> Self {
        Self { session_expiry_at_end: Some(0), ..self }
    }

    pub(crate) fn will(self, topic: &str, payload: &str, qos: u8) -> Self {
        let will = Will { message: Message::new(topic, payload, qos), delay_seconds: None };
        Self { will: Some(will), ..self }
    }

    pub(crate) fn delayed_will(self, topic: &str, payload: &str, seconds: u32) -> Self {
        let message = Message::new(topic, payload, 1);
        Self { will: Some(Will { message, delay_seconds: Some(seconds) }), ..self }
    }

    pub(crate) fn topic_alias_maximum(self, maximum: u16) -> Self {
        Self { topic_alias_maximum: Some(maximum), ..self }
    }

    pub(crate) fn choosing_aliases(self) -> Self {
        Self { chooses_aliases: true, ..self }
    }

    pub(crate) fn subscribe(mut self, filter: &str, qos: u8) -> Self {
        self.subscriptions.push((filter.to_owned(), qos));
        self
    }

    pub(crate) fn unsubscribe(mut self, filter: &str) -> Self {
        self.unsubscriptions.push(filter.to_owned());
        self
    }

    /// 0 is a clean start's.
    pub(crate) fn session_expiry(&self) -> u32 {
        match self.session {
            Session::Clean => 0,
            Session::Lasting { expiry_seconds } => expiry_seconds,
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        matches!(self.session, Session::Clean)
    }
}

/// A client that is connected, as a scenario sees it.
pub(crate) struct Client {
    connection: Box<dyn Connection>,
    inbox: Receiver<Message>,
    aliases: HashMap<u16, String>,
}

impl Client {
    pub(crate) fn new(connection: Box<dyn Connection>, inbox: Receiver<Message>) -> Self {
        Self { connection, inbox, aliases: HashMap::new() }
    }

    /// `None` if the client does not show what the CONNACK said.
    pub(crate) fn session_present(&self) -> Option<bool> {
        self.connection.session_present()
    }

    /// Returns when the broker has acknowledged it.
    pub(crate) fn publish(&mut self, message: Message) {
        self.publish_all(&[message]);
        self.wait_until_acknowledged();
    }

    pub(crate) fn publish_all(&mut self, messages: &[Message]) {
        self.connection.publish(messages);
    }

    pub(crate) fn wait_until_acknowledged(&mut self) {
        self.connection.wait_until_acknowledged();
    }

    pub(crate) fn message(&mut self) -> Message {
        match self.inbox.recv_timeout(PATIENCE) {
            Ok(message) => message,
            Err(_) => panic!("no message; the client said:\n{}", self.connection.said()),
        }
    }

    /// The next message, which must be this one.
    pub(crate) fn expect(&mut self, topic: &str, payload: &str, qos: u8) -> Message {
        self.expect_exactly(&Message::new(topic, payload, qos))
    }

    pub(crate) fn expect_retained(&mut self, topic: &str, payload: &str, qos: u8) -> Message {
        self.expect_exactly(&Message::new(topic, payload, qos).retained())
    }

    fn expect_exactly(&mut self, expected: &Message) -> Message {
        let seen = self.message();
        let topic = self.resolve(&seen);
        let essence = |message: &Message| (message.text(), message.qos, message.retain);
        assert_eq!((topic, essence(&seen)), (expected.topic.clone(), essence(expected)));
        seen
    }

    /// The topic that is meant, which a client that knows aliases must have found too.
    fn resolve(&mut self, message: &Message) -> String {
        let topic = match message.topic_alias {
            Some(alias) if message.topic.is_empty() => {
                self.aliases.get(&alias).unwrap_or_else(|| panic!("alias {alias} was not set"))
            }
            Some(alias) => {
                self.aliases.insert(alias, message.topic.clone());
                &message.topic
            }
            None => &message.topic,
        };
        assert!(message.resolved.as_ref().is_none_or(|resolved| resolved == topic), "{message:?}");
        topic.clone()
    }

    pub(crate) fn said(&mut self) -> String {
        self.connection.said()
    }

    pub(crate) fn disconnect(self) {
        self.connection.disconnect();
    }

    pub(crate) fn kill(self) {
        self.connection.kill();
    }
}
