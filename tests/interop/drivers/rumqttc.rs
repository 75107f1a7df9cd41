//! rumqttc in this process: for each connection a thread polls its event loop.

use std::{
    net::SocketAddr,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use ::rumqttc::{self as v4, Outgoing, QoS, SubscribeReasonCode, v5};
use tokio::{runtime, select, sync::oneshot};

use crate::{
    broker::PATIENCE,
    client::{Connection, Driver, Message, Options, Version, Will},
};

/// More requests than a scenario has at once; the event loop takes them from a channel.
const REQUESTS: usize = 10_000;
const PACKET_BYTES_MAX: u32 = 2 * 1024 * 1024;

pub(crate) struct Rumqttc;

/// What became of a request, in the order of the event loop.
#[derive(Debug)]
enum Progress {
    Connected {
        session_present: bool,
    },
    Refused(u8),
    Subscribed {
        code: u8,
    },
    Unsubscribed,
    /// A PUBLISH of QoS 0 is written, or one above it acknowledged for good.
    Done,
    Disconnecting,
    Ended(String),
}

enum Seen {
    Message(Message),
    Progress(Progress),
    Nothing,
}

enum Requests {
    V4(v4::AsyncClient),
    V5(v5::AsyncClient),
}

enum EventLoop {
    V4(Box<v4::EventLoop>),
    V5(Box<v5::EventLoop>),
}

struct Link {
    requests: Requests,
    progress: Receiver<Progress>,
    session_present: bool,
    unfinished: usize,
    said: Vec<String>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Driver for Rumqttc {
    fn versions(&self) -> &'static [Version] {
        &[Version::V311, Version::V5]
    }

    fn open(
        &self,
        broker: SocketAddr,
        options: Options,
        inbox: Sender<Message>,
    ) -> Result<Box<dyn Connection>, u8> {
        let (requests, event_loop) = match options.version {
            Version::V5 => {
                let (requests, event_loop) = v5::AsyncClient::new(v5(broker, &options), REQUESTS);
                (Requests::V5(requests), EventLoop::V5(Box::new(event_loop)))
            }
            Version::V311 => {
                let (requests, event_loop) = v4::AsyncClient::new(v4(broker, &options), REQUESTS);
                (Requests::V4(requests), EventLoop::V4(Box::new(event_loop)))
            }
            Version::V31 => panic!("rumqttc does not speak 3.1"),
        };
        let (reports, progress) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || run(event_loop, stopped, &inbox, &reports));
        let mut link = Link {
            requests,
            progress,
            session_present: false,
            unfinished: 0,
            said: Vec::new(),
            stop: Some(stop),
            thread: Some(thread),
        };
        link.session_present = link.wait(|progress| match progress {
            Progress::Connected { session_present } => Some(Ok(*session_present)),
            Progress::Refused(code) => Some(Err(*code)),
            _ => None,
        })?;
        for (filter, qos) in &options.subscriptions {
            link.requests.subscribe(filter, *qos);
            let code = link.wait(|progress| match progress {
                Progress::Subscribed { code } => Some(*code),
                _ => None,
            });
            assert_eq!(code, *qos, "{filter}");
        }
        for filter in &options.unsubscriptions {
            link.requests.unsubscribe(filter);
            link.wait(|progress| matches!(progress, Progress::Unsubscribed).then_some(()));
        }
        Ok(Box::new(link))
    }
}

impl Connection for Link {
    fn session_present(&self) -> Option<bool> {
        Some(self.session_present)
    }

    fn publish(&mut self, messages: &[Message]) {
        for message in messages {
            self.requests.publish(message);
        }
        self.unfinished += messages.len();
    }

    fn wait_until_acknowledged(&mut self) {
        while self.unfinished > 0 {
            self.wait(|progress| matches!(progress, Progress::Done).then_some(()));
            self.unfinished -= 1;
        }
    }

    fn said(&mut self) -> String {
        self.said.extend(self.progress.try_iter().map(|progress| format!("{progress:?}")));
        self.said.join("\n")
    }

    fn disconnect(mut self: Box<Self>) {
        self.requests.disconnect();
        self.wait(|progress| matches!(progress, Progress::Disconnecting).then_some(()));
    }

    /// Without its event loop the connection is closed.
    fn kill(self: Box<Self>) {}
}

impl Link {
    fn wait<T>(&mut self, find: impl Fn(&Progress) -> Option<T>) -> T {
        loop {
            match self.progress.recv_timeout(PATIENCE) {
                Ok(Progress::Ended(why)) => panic!("rumqttc ended: {why}\n{}", self.said()),
                Ok(progress) => match find(&progress) {
                    Some(found) => return found,
                    None => self.said.push(format!("{progress:?}")),
                },
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("rumqttc did not get on:\n{}", self.said())
                }
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Requests {
    fn subscribe(&self, filter: &str, level: u8) {
        match self {
            Self::V4(client) => client.try_subscribe(filter, qos(level)).expect("room"),
            Self::V5(client) => client.try_subscribe(filter, v5_qos(level)).expect("room"),
        }
    }

    fn unsubscribe(&self, filter: &str) {
        match self {
            Self::V4(client) => client.try_unsubscribe(filter).expect("room"),
            Self::V5(client) => client.try_unsubscribe(filter).expect("room"),
        }
    }

    fn publish(&self, message: &Message) {
        let Message { topic, qos: level, retain, payload, .. } = message;
        match self {
            Self::V4(client) => {
                let sent = client.try_publish(topic, qos(*level), *retain, payload.clone());
                sent.expect("room");
            }
            Self::V5(client) => {
                let properties = v5::mqttbytes::v5::PublishProperties {
                    message_expiry_interval: message.message_expiry,
                    topic_alias: message.topic_alias,
                    response_topic: message.response_topic.clone(),
                    correlation_data: message.correlation_data.clone().map(Into::into),
                    user_properties: message.user_properties.clone(),
                    content_type: message.content_type.clone(),
                    ..Default::default()
                };
                let level = v5_qos(*level);
                let payload = payload.clone();
                let sent =
                    client.try_publish_with_properties(topic, level, *retain, payload, properties);
                sent.expect("room");
            }
        }
    }

    fn disconnect(&self) {
        match self {
            Self::V4(client) => client.try_disconnect().expect("room"),
            Self::V5(client) => client.try_disconnect().expect("room"),
        }
    }
}

fn run(
    mut event_loop: EventLoop,
    mut stopped: oneshot::Receiver<()>,
    inbox: &Sender<Message>,
    reports: &Sender<Progress>,
) {
    let report = |seen| match seen {
        Seen::Message(message) => drop(inbox.send(message)),
        Seen::Progress(progress) => drop(reports.send(progress)),
        Seen::Nothing => {}
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        loop {
            let seen = select! {
                _ = &mut stopped => break,
                seen = event_loop.poll() => seen,
            };
            let is_last = matches!(seen, Seen::Progress(Progress::Refused(_) | Progress::Ended(_)));
            report(seen);
            if is_last {
                break;
            }
        }
        // They are acknowledged already, so nobody else gets them.
        event_loop.rest().into_iter().for_each(report);
    });
}

impl EventLoop {
    async fn poll(&mut self) -> Seen {
        match self {
            Self::V4(event_loop) => match event_loop.poll().await {
                Ok(event) => see_v4(event),
                Err(v4::ConnectionError::ConnectionRefused(code)) => {
                    Seen::Progress(Progress::Refused(code as u8))
                }
                Err(error) => Seen::Progress(Progress::Ended(error.to_string())),
            },
            Self::V5(event_loop) => match event_loop.poll().await {
                Ok(event) => see_v5(event),
                Err(v5::ConnectionError::ConnectionRefused(code)) => {
                    Seen::Progress(Progress::Refused(v5_code(code)))
                }
                Err(error) => Seen::Progress(Progress::Ended(error.to_string())),
            },
        }
    }

    fn rest(&mut self) -> Vec<Seen> {
        match self {
            Self::V4(event_loop) => event_loop.state.events.drain(..).map(see_v4).collect(),
            Self::V5(event_loop) => event_loop.state.events.drain(..).map(see_v5).collect(),
        }
    }
}

fn see_v4(event: v4::Event) -> Seen {
    use v4::Packet;
    let packet = match event {
        v4::Event::Incoming(packet) => packet,
        v4::Event::Outgoing(outgoing) => return see_outgoing(&outgoing),
    };
    Seen::Progress(match packet {
        Packet::ConnAck(connack) => {
            Progress::Connected { session_present: connack.session_present }
        }
        Packet::Publish(publish) => {
            return Seen::Message(Message {
                retain: publish.retain,
                ..Message::new(&publish.topic, publish.payload, publish.qos as u8)
            });
        }
        Packet::SubAck(suback) => Progress::Subscribed {
            code: match suback.return_codes[..] {
                [SubscribeReasonCode::Success(granted)] => granted as u8,
                _ => 0x80,
            },
        },
        Packet::UnsubAck(_) => Progress::Unsubscribed,
        Packet::PubAck(_) | Packet::PubComp(_) => Progress::Done,
        _ => return Seen::Nothing,
    })
}

fn see_v5(event: v5::Event) -> Seen {
    use v5::mqttbytes::v5::{Packet, SubscribeReasonCode};
    let packet = match event {
        v5::Event::Incoming(packet) => packet,
        v5::Event::Outgoing(outgoing) => return see_outgoing(&outgoing),
    };
    Seen::Progress(match packet {
        Packet::ConnAck(connack) => {
            Progress::Connected { session_present: connack.session_present }
        }
        Packet::Publish(publish) => {
            let topic = String::from_utf8(publish.topic.to_vec()).expect("a topic of text");
            let properties = publish.properties.unwrap_or_default();
            return Seen::Message(Message {
                retain: publish.retain,
                topic_alias: properties.topic_alias,
                message_expiry: properties.message_expiry_interval,
                content_type: properties.content_type,
                response_topic: properties.response_topic,
                correlation_data: properties.correlation_data.map(|data| data.to_vec()),
                user_properties: properties.user_properties,
                ..Message::new(&topic, publish.payload, publish.qos as u8)
            });
        }
        Packet::SubAck(suback) => Progress::Subscribed {
            code: match suback.return_codes[..] {
                [SubscribeReasonCode::Success(granted)] => granted as u8,
                _ => 0x80,
            },
        },
        Packet::UnsubAck(_) => Progress::Unsubscribed,
        Packet::PubAck(_) | Packet::PubComp(_) => Progress::Done,
        _ => return Seen::Nothing,
    })
}

fn see_outgoing(outgoing: &Outgoing) -> Seen {
    match outgoing {
        // QoS 0 has no Packet Identifier, and nothing answers it.
        Outgoing::Publish(0) => Seen::Progress(Progress::Done),
        Outgoing::Disconnect => Seen::Progress(Progress::Disconnecting),
        _ => Seen::Nothing,
    }
}

fn v4(broker: SocketAddr, options: &Options) -> v4::MqttOptions {
    let mut all = v4::MqttOptions::new(&options.client_id, broker.ip().to_string(), broker.port());
    all.set_clean_session(options.is_clean());
    let bytes = PACKET_BYTES_MAX as usize;
    all.set_max_packet_size(bytes, bytes);
    if let Some(Will { message, .. }) = &options.will {
        let payload = message.payload.clone();
        all.set_last_will(v4::LastWill::new(&message.topic, payload, qos(message.qos), false));
    }
    all
}

fn v5(broker: SocketAddr, options: &Options) -> v5::MqttOptions {
    use v5::mqttbytes::v5::{LastWill, LastWillProperties};
    let mut all = v5::MqttOptions::new(&options.client_id, broker.ip().to_string(), broker.port());
    all.set_clean_start(options.is_clean());
    all.set_session_expiry_interval(Some(options.session_expiry()));
    all.set_max_packet_size(Some(PACKET_BYTES_MAX));
    all.set_topic_alias_max(options.topic_alias_maximum);
    all.set_keep_alive(Duration::from_secs(60));
    if let Some(Will { message, delay_seconds }) = &options.will {
        let properties = LastWillProperties {
            delay_interval: *delay_seconds,
            payload_format_indicator: None,
            message_expiry_interval: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        };
        let (topic, payload) = (&message.topic, message.payload.clone());
        let will = LastWill::new(topic, payload, v5_qos(message.qos), false, Some(properties));
        all.set_last_will(will);
    }
    all
}

fn qos(level: u8) -> QoS {
    v4::qos(level).expect("a QoS")
}

fn v5_qos(level: u8) -> v5::mqttbytes::QoS {
    v5::mqttbytes::qos(level).expect("a QoS")
}

/// The ones that dunlin may say here.
fn v5_code(code: v5::mqttbytes::v5::ConnectReturnCode) -> u8 {
    use v5::mqttbytes::v5::ConnectReturnCode;
    match code {
        ConnectReturnCode::NotAuthorized => 0x87,
        other => panic!("refused with {other:?}"),
    }
}
