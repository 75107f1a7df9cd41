//! `mosquitto_sub` receives, a `mosquitto_pub` of its own sends each run of messages.

use std::{net::SocketAddr, sync::mpsc::Sender};

use crate::{
    client::{Connection, Driver, Message, Options, Version},
    tool::{Inbox, Tool},
};

/// QoS, RETAIN, topic, alias, Content Type, Response Topic, Correlation Data, expiry, User
/// Properties, payload.
const FORMAT: &str = "MESSAGE\t%q\t%r\t%t\t%A\t%C\t%R\t%D\t%E\t%P\t%x";

/// `mosquitto_sub` has to subscribe to something.
const NOTHING: &str = "nobody/publishes/this";

pub(crate) struct Mosquitto;

struct Tools {
    broker: SocketAddr,
    version: Version,
    subscriber: Tool,
    publisher: Option<Tool>,
}

impl Driver for Mosquitto {
    fn versions(&self) -> &'static [Version] {
        &[Version::V31, Version::V311, Version::V5]
    }

    fn open(
        &self,
        broker: SocketAddr,
        options: Options,
        inbox: Sender<Message>,
    ) -> Result<Box<dyn Connection>, u8> {
        let inbox = Inbox { messages: inbox, parse };
        let mut subscriber = start_subscriber(broker, &options, &[], Some(&inbox));
        let code = subscriber.find("its CONNACK", |line| {
            line.split_once("received CONNACK (")?.1.trim_end_matches(')').parse().ok()
        });
        if code != 0 {
            return Err(code);
        }
        wait_until_subscribed(&mut subscriber, &options);
        Ok(Box::new(Tools { broker, version: options.version, subscriber, publisher: None }))
    }

    /// `-E`: terminated by a signal it asks in 5.0 for its Will to be sent (0x04).
    fn visit(&self, broker: SocketAddr, options: Options) {
        start_subscriber(broker, &options, &["-E"], None).expect_success();
    }
}

impl Connection for Tools {
    fn session_present(&self) -> Option<bool> {
        None
    }

    /// A run is what one `mosquitto_pub` can send: everything is the same but the payload.
    fn publish(&mut self, messages: &[Message]) {
        let mut rest = messages;
        while let Some(first) = rest.first() {
            let follows = |other: &&Message| is_of_one_run(first, other);
            let (run, later) = rest.split_at(1 + rest[1..].iter().take_while(follows).count());
            // In their order: the next one starts when the last one has everything acknowledged.
            self.wait_until_acknowledged();
            self.publisher = Some(start_publisher(self.broker, self.version, run));
            rest = later;
        }
    }

    fn wait_until_acknowledged(&mut self) {
        if let Some(publisher) = self.publisher.take() {
            publisher.expect_success();
        }
    }

    fn said(&mut self) -> String {
        self.subscriber.said()
    }

    fn disconnect(self: Box<Self>) {
        self.subscriber.terminate();
        self.subscriber.expect_success();
    }

    fn kill(self: Box<Self>) {
        self.subscriber.kill();
    }
}

fn start(
    program: &str,
    broker: SocketAddr,
    version: Version,
    arguments: Vec<String>,
    inbox: Option<&Inbox>,
) -> Tool {
    let version = match version {
        Version::V31 => "mqttv31",
        Version::V311 => "mqttv311",
        Version::V5 => "mqttv5",
    };
    // Into a pipe the tools write whole blocks; `stdbuf` has each line written when it is there.
    let common = ["-oL", program, "-d", "-V", version, "-h", &broker.ip().to_string(), "-p"];
    let mut all: Vec<String> = common.map(str::to_owned).to_vec();
    all.push(broker.port().to_string());
    all.extend(arguments);
    Tool::start("stdbuf", all, &[], inbox)
}

fn start_subscriber(
    broker: SocketAddr,
    options: &Options,
    more: &[&str],
    inbox: Option<&Inbox>,
) -> Tool {
    let mut arguments = Arguments(Vec::new());
    arguments.add(more);
    arguments.add(&["-F", FORMAT]);
    if !options.client_id.is_empty() {
        arguments.add(&["-i", &options.client_id]);
    }
    if !options.is_clean() {
        arguments.add(&["-c"]);
        if options.version == Version::V5 {
            arguments.add(&["-x", &options.session_expiry().to_string()]);
        }
    }
    if let Some(expiry) = options.session_expiry_at_end {
        arguments.property("disconnect", "session-expiry-interval", &expiry.to_string());
    }
    if let Some(maximum) = options.topic_alias_maximum {
        arguments.property("connect", "topic-alias-maximum", &maximum.to_string());
    }
    if let Some(will) = &options.will {
        let Message { topic, qos, .. } = &will.message;
        arguments.add(&["--will-topic", topic, "--will-qos", &qos.to_string()]);
        arguments.add(&["--will-payload", &will.message.text()]);
        if let Some(delay) = will.delay_seconds {
            arguments.property("will", "will-delay-interval", &delay.to_string());
        }
    }
    if options.subscriptions.is_empty() {
        arguments.add(&["-t", NOTHING]);
    }
    for (filter, qos) in &options.subscriptions {
        arguments.add(&["-t", filter, "-q", &qos.to_string()]);
    }
    for filter in &options.unsubscriptions {
        arguments.add(&["-U", filter]);
    }
    start("mosquitto_sub", broker, options.version, arguments.0, inbox)
}

fn wait_until_subscribed(subscriber: &mut Tool, options: &Options) {
    let granted = subscriber.find("that it is subscribed", |line| {
        Some(line.strip_prefix("Subscribed (mid: ")?.split_once("): ")?.1.to_owned())
    });
    // It has one QoS for all.
    let wanted: Vec<String> = match options.subscriptions.as_slice() {
        [] => vec!["0".to_owned()],
        subscriptions => subscriptions.iter().map(|(_, qos)| qos.to_string()).collect(),
    };
    assert_eq!(granted, wanted.join(", "));
    if !options.unsubscriptions.is_empty() {
        subscriber.find("its UNSUBACK", |line| line.contains("received UNSUBACK").then_some(()));
    }
}

fn start_publisher(broker: SocketAddr, version: Version, run: &[Message]) -> Tool {
    let Message { topic, qos, retain, .. } = &run[0];
    let mut arguments = Arguments(Vec::new());
    arguments.add(&["-t", topic, "-q", &qos.to_string()]);
    if *retain {
        arguments.add(&["-r"]);
    }
    for (name, value) in properties(&run[0]) {
        arguments.property("publish", name, &value);
    }
    for (name, value) in &run[0].user_properties {
        arguments.add(&["-D", "publish", "user-property", name, value]);
    }
    arguments.add(match run {
        [one] if one.payload.is_empty() => &["-n"],
        [_] => &["-s"],
        _ => &["-l"],
    });
    let mut publisher = start("mosquitto_pub", broker, version, arguments.0, None);
    for message in run {
        publisher.write(&message.payload);
        if run.len() > 1 {
            publisher.write(b"\n");
        }
    }
    publisher.close_input();
    publisher
}

fn properties(message: &Message) -> Vec<(&'static str, String)> {
    let number = |number: u32| number.to_string();
    let given = [
        ("topic-alias", message.topic_alias.map(u32::from).map(number)),
        ("message-expiry-interval", message.message_expiry.map(number)),
        ("content-type", message.content_type.clone()),
        ("response-topic", message.response_topic.clone()),
        ("correlation-data", message.correlation_data.as_deref().map(text)),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// After the first message with an alias it sends the alias alone.
fn is_of_one_run(first: &Message, other: &Message) -> bool {
    let topic = if first.topic_alias.is_some() { "" } else { &first.topic };
    let follower =
        Message { topic: topic.to_owned(), payload: other.payload.clone(), ..first.clone() };
    follower == *other
}

fn parse(line: &str) -> Option<Message> {
    let fields: Vec<&str> = line.strip_prefix("MESSAGE\t")?.split('\t').collect();
    let [qos, retain, topic, alias, content, response, correlation, expiry, pairs, payload] =
        fields[..]
    else {
        panic!("not what was asked for: {line}");
    };
    let given = |field: &str| (!field.is_empty()).then(|| field.to_owned());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once(':').expect("a name and a value");
        (name.to_owned(), value.to_owned())
    };
    Some(Message {
        topic: topic.to_owned(),
        payload: from_hex(payload),
        qos: qos.parse().expect("a QoS"),
        retain: retain == "1",
        topic_alias: alias.parse().ok(),
        resolved: None,
        message_expiry: expiry.parse().ok(),
        content_type: given(content),
        response_topic: given(response),
        correlation_data: given(correlation).map(String::into_bytes),
        user_properties: pairs.split_whitespace().map(pair).collect(),
    })
}

fn from_hex(digits: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(&text(pair), 16).expect("two digits");
    digits.as_bytes().chunks(2).map(byte).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("an argument is text")
}

struct Arguments(Vec<String>);

impl Arguments {
    fn add(&mut self, more: &[&str]) {
        self.0.extend(more.iter().map(|argument| (*argument).to_owned()));
    }

    fn property(&mut self, packet: &str, name: &str, value: &str) {
        self.add(&["-D", packet, name, value]);
    }
}
