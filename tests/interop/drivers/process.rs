//! A library in a program of ours around it, one process for each connection. The programs speak
//! one protocol of lines on their standard input and output:
//!
//! ```text
//! connect client_id clean session_expiry will_topic ..     connected session_present
//!                                                          refused code
//! subscribe filter qos                                     subscribed code
//! unsubscribe filter                                       unsubscribed
//! publish topic payload qos retain topic_alias ..          (nothing yet)
//! wait                                                     acknowledged
//! disconnect session_expiry                                disconnected
//!                                                          message topic payload qos retain ..
//!                                                          alias_alone
//! ```
//!
//! The fields follow their command behind tabs as `name=value`, in any order; what is not set is
//! left out. Values are percent-encoded; a `user_property` is `user_property=name=value`. Who has a
//! library choose aliases is told of each message that it sends with its alias alone.

use std::{net::SocketAddr, path::PathBuf, sync::mpsc::Sender};

use crate::{
    client::{Connection, Driver, Message, Options, Version},
    tool::{Inbox, Tool},
};

pub(crate) struct Program {
    pub(crate) versions: &'static [Version],
    pub(crate) command: Command,
}

/// Host, port and version are added to the arguments.
pub(crate) struct Command {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<PathBuf>,
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
}

struct Process {
    tool: Tool,
    session_present: Option<bool>,
    session_expiry_at_end: Option<u32>,
}

impl Driver for Program {
    fn versions(&self) -> &'static [Version] {
        self.versions
    }

    fn open(
        &self,
        broker: SocketAddr,
        options: Options,
        inbox: Sender<Message>,
    ) -> Result<Box<dyn Connection>, u8> {
        let Command { program, arguments, environment } = &self.command;
        let address = [broker.ip().to_string(), broker.port().to_string()];
        let version = options.version.name().to_owned();
        let arguments = arguments
            .iter()
            .cloned()
            .chain(address.into_iter().chain([version]).map(PathBuf::from));
        let program = program.to_str().expect("a path of text");
        let inbox = Inbox { messages: inbox, parse };
        let mut tool = Tool::start(program, arguments, environment, Some(&inbox));
        tool.write(connect(&options).end().as_bytes());
        let answer = tool.find("an answer to CONNECT", |line| {
            let line = Line::read(line);
            matches!(line.word.as_str(), "connected" | "refused").then_some(line)
        });
        if answer.word == "refused" {
            return Err(answer.number("code").expect("its Reason Code"));
        }
        let shown = answer.number::<u8>("session_present").map(|present| present == 1);
        // A CONNACK of 3.1 does not say it.
        let session_present = shown.filter(|_| options.version > Version::V31);
        for (filter, qos) in &options.subscriptions {
            let command = Written::new("subscribe").text("filter", filter).number("qos", *qos);
            tool.write(command.end().as_bytes());
            assert_eq!(reply(&mut tool, "subscribed").number("code"), Some(*qos), "{filter}");
        }
        for filter in &options.unsubscriptions {
            tool.write(Written::new("unsubscribe").text("filter", filter).end().as_bytes());
            reply(&mut tool, "unsubscribed");
        }
        let session_expiry_at_end = options.session_expiry_at_end;
        Ok(Box::new(Process { tool, session_present, session_expiry_at_end }))
    }
}

impl Connection for Process {
    fn session_present(&self) -> Option<bool> {
        self.session_present
    }

    fn publish(&mut self, messages: &[Message]) {
        let lines: String = messages.iter().map(publish).collect();
        self.tool.write(lines.as_bytes());
    }

    fn wait_until_acknowledged(&mut self) {
        self.tool.write(b"wait\n");
        reply(&mut self.tool, "acknowledged");
    }

    fn said(&mut self) -> String {
        self.tool.said()
    }

    fn disconnect(mut self: Box<Self>) {
        let mut command = Written::new("disconnect");
        if let Some(expiry) = self.session_expiry_at_end {
            command = command.number("session_expiry", expiry);
        }
        self.tool.write(command.end().as_bytes());
        reply(&mut self.tool, "disconnected");
        self.tool.expect_success();
    }

    fn kill(self: Box<Self>) {
        self.tool.kill();
    }
}

fn reply(tool: &mut Tool, word: &str) -> Line {
    tool.find(word, |line| {
        let line = Line::read(line);
        (line.word == word).then_some(line)
    })
}

fn connect(options: &Options) -> Written {
    let mut command = Written::new("connect")
        .text("client_id", &options.client_id)
        .number("clean", u8::from(options.is_clean()))
        .number("chooses_aliases", u8::from(options.chooses_aliases));
    if options.version == Version::V5 {
        command = command.number("session_expiry", options.session_expiry());
    }
    if let Some(maximum) = options.topic_alias_maximum {
        command = command.number("topic_alias_maximum", maximum);
    }
    if let Some(will) = &options.will {
        command = command
            .text("will_topic", &will.message.topic)
            .value("will_payload", &will.message.payload)
            .number("will_qos", will.message.qos);
        if let Some(delay) = will.delay_seconds {
            command = command.number("will_delay", delay);
        }
    }
    command
}

fn publish(message: &Message) -> String {
    let mut command = Written::new("publish")
        .text("topic", &message.topic)
        .value("payload", &message.payload)
        .number("qos", message.qos)
        .number("retain", u8::from(message.retain));
    if let Some(alias) = message.topic_alias {
        command = command.number("topic_alias", alias);
    }
    if let Some(expiry) = message.message_expiry {
        command = command.number("message_expiry", expiry);
    }
    if let Some(content_type) = &message.content_type {
        command = command.text("content_type", content_type);
    }
    if let Some(response_topic) = &message.response_topic {
        command = command.text("response_topic", response_topic);
    }
    if let Some(correlation_data) = &message.correlation_data {
        command = command.value("correlation_data", correlation_data);
    }
    for (name, value) in &message.user_properties {
        command = command.user_property(name, value);
    }
    command.end()
}

fn parse(line: &str) -> Option<Message> {
    let line = Line::read(line);
    (line.word == "message").then(|| Message {
        topic: line.text("topic").expect("a topic"),
        payload: line.value("payload").expect("a payload"),
        qos: line.number("qos").expect("a QoS"),
        retain: line.number::<u8>("retain") == Some(1),
        topic_alias: line.number("topic_alias"),
        resolved: line.text("resolved"),
        message_expiry: line.number("message_expiry"),
        content_type: line.text("content_type"),
        response_topic: line.text("response_topic"),
        correlation_data: line.value("correlation_data"),
        user_properties: line.user_properties(),
    })
}

/// A line of the protocol as it is read.
struct Line {
    word: String,
    /// As they came, since a User Property has a `=` more.
    fields: Vec<(String, String)>,
}

impl Line {
    fn read(line: &str) -> Self {
        let mut parts = line.split('\t').map(str::to_owned);
        let word = parts.next().unwrap_or_default();
        let field = |field: String| {
            let (name, value) = field.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        Self { word, fields: parts.filter_map(field).collect() }
    }

    fn value(&self, name: &str) -> Option<Vec<u8>> {
        let (_, value) = self.fields.iter().find(|(field, _)| field == name)?;
        Some(decode(value))
    }

    fn text(&self, name: &str) -> Option<String> {
        Some(String::from_utf8(self.value(name)?).expect("text"))
    }

    fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.text(name)?.parse().ok()
    }

    fn user_properties(&self) -> Vec<(String, String)> {
        let pair = |(_, pair): &(String, String)| {
            let (name, value) = pair.split_once('=').expect("a name and a value");
            let text = |part| String::from_utf8(decode(part)).expect("text");
            (text(name), text(value))
        };
        self.fields.iter().filter(|(name, _)| name == "user_property").map(pair).collect()
    }
}

fn decode(value: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut parts = value.split('%');
    decoded.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        let (digits, rest) = part.split_at(2);
        decoded.push(u8::from_str_radix(digits, 16).expect("two digits"));
        decoded.extend(rest.bytes());
    }
    decoded
}

/// A line of the protocol as it is written.
struct Written(String);

impl Written {
    fn new(word: &str) -> Self {
        Self(word.to_owned())
    }

    fn value(mut self, name: &str, value: &[u8]) -> Self {
        self.0.push_str(&format!("\t{name}="));
        self.encode(value);
        self
    }

    fn text(self, name: &str, value: &str) -> Self {
        self.value(name, value.as_bytes())
    }

    fn number(self, name: &str, value: impl Into<u32>) -> Self {
        self.text(name, &value.into().to_string())
    }

    fn user_property(mut self, name: &str, value: &str) -> Self {
        self.0.push_str("\tuser_property=");
        self.encode(name.as_bytes());
        self.0.push('=');
        self.encode(value.as_bytes());
        self
    }

    fn encode(&mut self, value: &[u8]) {
        for byte in value {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                    self.0.push(char::from(*byte));
                }
                _ => self.0.push_str(&format!("%{byte:02X}")),
            }
        }
    }

    fn end(mut self) -> String {
        self.0.push('\n');
        self.0
    }
}
