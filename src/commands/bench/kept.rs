//! Messages that the broker keeps and sends later: retained ones, and those for clients that are
//! away.

use std::future::pending;
use std::rc::Rc;

use tokio::signal::ctrl_c;
use tokio::time::timeout;

use super::arguments::{Common, Offline, Retained};
use super::beside::Others;
use super::board::{Board, Inbox, Order, SharedInbox, Window, check_streams};
use super::error::BenchError;
use super::progress::Progress;
use super::publisher::either;
use super::report::{Report, Unit};
use super::run::Run;
use super::setting::{CHUNK_BYTES, Client, Setting, Stay, Used};
use super::subscriber::Subscriber;
use super::traffic::lost;
use crate::client::{Event, Outgoing, QoS, Template};

/// Retained messages, sent to who subscribes to them all.
pub(super) async fn retained(
    options: &Retained,
    progress: &mut Progress<'_>,
) -> Result<Report, BenchError> {
    let Retained { messages, subscribers, qos, common, .. } = options;
    check_streams(messages.saturating_mul(*subscribers))?;
    let board = board(common, *messages, *subscribers, options.payload.bytes)?;
    let result = async {
        let mut publisher = board.setting.open("publisher", 0, Stay::Brief).await?;
        // Not the QoS that is asked for: at QoS 0 nobody would say that they are retained.
        let kept_qos = (*qos).max(QoS::AtLeastOnce);
        let setting = &board.setting;
        publisher.may_publish(&retained_message("", kept_qos))?;
        let kept = (0..*messages).map(|number| {
            let topic = retained_topic(setting, number);
            let template = setting.template(&retained_message(&topic, kept_qos))?;
            Ok((template, payload(setting, number, 0)))
        });
        publish(&mut publisher, kept, "storing", progress).await?;
        publisher.leave().await;

        let mut run = Run::new(Rc::clone(&board));
        let mut clients = Vec::new();
        for index in 0..*subscribers {
            clients.push(board.setting.open("subscriber", index, Stay::Brief).await?);
        }
        let others = match options.beside {
            Some(rate) => Some(Others::start(rate, options)?.alone().await?),
            None => None,
        };
        let before = board.setting.used()?;
        board.began.set(board.setting.now());
        let filter = board.setting.topic("retained/#");
        let mut inboxes = Vec::new();
        for (index, mut client) in clients.into_iter().enumerate() {
            let subscribed = client.connection.subscribe([filter.as_str()], *qos);
            subscribed.map_err(|source| client.failed(source))?;
            inboxes.push(join(&mut run, client, index, *messages));
        }
        let mut report =
            measure("retained", &mut run, inboxes, before, qos.bits(), progress).await?;
        if let Some(others) = others {
            let (beside, faults) = others.end()?;
            report.beside = Some(beside);
            report.faults = report.faults.and(faults);
        }
        Ok(report)
    };
    let result = until_interrupted(result).await;
    let forgotten = forget(&board.setting, *messages, progress).await;
    result.and_then(|report| forgotten.map(|()| report))
}

/// Messages published while their subscribers are away, sent when they come back.
pub(super) async fn offline(
    options: &Offline,
    progress: &mut Progress<'_>,
) -> Result<Report, BenchError> {
    let Offline { messages, subscribers, qos, common, .. } = options;
    let board = board(common, *messages, *subscribers, options.payload.bytes)?;
    let result = async {
        let topic = board.setting.topic("offline");
        for index in 0..*subscribers {
            let mut client = board.setting.open("subscriber", index, Stay::Lasting).await?;
            client.subscribe([topic.as_str()], *qos).await?;
            client.leave_and_wait().await;
        }
        let mut publisher = board.setting.open("publisher", 0, Stay::Brief).await?;
        let outgoing = Outgoing { topic: &topic, qos: *qos, retain: false, user_properties: &[] };
        publisher.may_publish(&outgoing)?;
        let template = board.setting.template(&outgoing)?;
        let queued =
            (0..*messages).map(|number| Ok((template.clone(), payload(&board.setting, 0, number))));
        publish(&mut publisher, queued, "storing", progress).await?;
        publisher.leave().await;

        let mut run = Run::new(Rc::clone(&board));
        let before = board.setting.used()?;
        board.began.set(board.setting.now());
        let mut inboxes = Vec::new();
        for index in 0..*subscribers {
            let client = board.setting.open("subscriber", index, Stay::Lasting).await?;
            if !client.welcome.session_present {
                return Err(BenchError::NoSession { client: client.name });
            }
            inboxes.push(join(&mut run, client, index, 1));
        }
        measure("offline", &mut run, inboxes, before, qos.bits(), progress).await
    };
    let result = until_interrupted(result).await;
    for index in 0..*subscribers {
        // Clean Start ends the Session. What is left of one by a failure expires.
        if let Ok(mut client) = board.setting.open("subscriber", index, Stay::Brief).await {
            client.leave().await;
        }
    }
    result
}

/// Ctrl-C ends the work, and not what cleans up behind it.
async fn until_interrupted(
    work: impl Future<Output = Result<Report, BenchError>>,
) -> Result<Report, BenchError> {
    let interrupt = async {
        if ctrl_c().await.is_err() {
            // Then it ends the process, as it does where nobody listens for it.
            pending::<()>().await;
        }
    };
    either(work, interrupt).await.unwrap_or(Err(BenchError::Interrupted))
}

/// One publisher, whose messages each subscriber takes.
fn board(
    common: &Common,
    messages: usize,
    subscribers: usize,
    payload_bytes: usize,
) -> Result<Rc<Board>, BenchError> {
    let setting = Setting::new(common, subscribers + 1, payload_bytes)?;
    let board = Board::new(setting, vec![Window::new(subscribers)], subscribers)?;
    if let Some(window) = board.windows.first() {
        window.sent.set(messages as u64);
        window.acknowledged.set(messages as u64);
    }
    Ok(board)
}

fn retained_topic(setting: &Setting, number: usize) -> String {
    setting.topic(&format!("retained/{}/{number}", number % 1_000))
}

fn retained_message(topic: &str, qos: QoS) -> Outgoing<'_> {
    Outgoing { topic, qos, retain: true, user_properties: &[] }
}

/// Publishes all messages and waits until the broker has them.
async fn publish(
    client: &mut Client,
    mut messages: impl Iterator<Item = Result<(Template, Vec<u8>), BenchError>>,
    doing: &str,
    progress: &mut Progress<'_>,
) -> Result<(), BenchError> {
    let (mut sent, mut acknowledged, mut refused) = (0, 0, 0);
    loop {
        while client.connection.quota() > 0
            && client.connection.unwritten() < CHUNK_BYTES
            && let Some(message) = messages.next()
        {
            let (template, payload) = message?;
            let published = client.connection.publish(&template, &[&payload]);
            published.map_err(|source| client.failed(source))?;
            sent += 1;
        }
        if acknowledged == sent {
            break;
        }
        let turn = client.connection.turn(|event| {
            if let Event::Published(_, reason) = event {
                acknowledged += 1;
                refused += u64::from(reason.is_error());
            }
        });
        match timeout(client.timeout, turn).await {
            Ok(turn) => turn.map_err(|source| client.failed(source))?,
            Err(_) => return Err(client.no_answer()),
        }
        progress.say(doing, acknowledged, "messages");
    }
    if refused > 0 { Err(BenchError::Refused { count: refused, of: sent }) } else { Ok(()) }
}

fn payload(setting: &Setting, stream: usize, number: usize) -> Vec<u8> {
    let stream = u32::try_from(stream).unwrap_or(u32::MAX);
    let stamp = setting.stamp(stream, number as u64, setting.now());
    [&stamp.to_bytes(), setting.filler.as_bytes()].concat()
}

/// Sets a subscriber to work; its latencies count from now.
fn join(run: &mut Run, client: Client, index: usize, topics: usize) -> SharedInbox {
    let board = Rc::clone(&run.board);
    let inbox = Inbox::new(index, 0..1, topics, Order::Sent);
    inbox.borrow_mut().since = Some(board.setting.now());
    run.subscribe(Subscriber { client, index, board, inbox: Rc::clone(&inbox) });
    inbox
}

async fn measure(
    pattern: &'static str,
    run: &mut Run,
    inboxes: Vec<SharedInbox>,
    before: Used,
    qos: u8,
    progress: &mut Progress<'_>,
) -> Result<Report, BenchError> {
    run.arrive("measuring", progress).await?;
    let board = Rc::clone(&run.board);
    let after = board.setting.used()?;
    let memory = board.setting.broker_memory()?;
    let elapsed = run.elapsed();
    run.leave().await?;

    let tally = board.tally.borrow();
    let messages = board.windows.first().map_or(0, |window| window.sent.get());
    Ok(Report {
        pattern,
        address: board.setting.address,
        version: board.setting.version,
        load: vec![
            ("messages", messages),
            ("subscribers", inboxes.len() as u64),
            ("qos", u64::from(qos)),
            ("payload_bytes", board.setting.filler.payload_bytes() as u64),
        ],
        unit: Unit::Message,
        count: tally.delivered,
        published: Some(messages),
        elapsed,
        latency: tally.latency.clone(),
        broker: after.broker.zip(before.broker).map(|(after, before)| after.since(before)),
        own: after.own.since(before.own),
        broker_memory_peak: memory.map(|memory| memory.peak),
        broker_memory_each: None,
        faults: run.faults(lost(&inboxes, &board)),
        refused: 0,
        beside: None,
    })
}

/// Removes the Retained Messages, as an empty one does for its topic [MQTT-3.3.1-6].
async fn forget(
    setting: &Setting,
    messages: usize,
    progress: &mut Progress<'_>,
) -> Result<(), BenchError> {
    let mut client = setting.open("publisher", 0, Stay::Brief).await?;
    let empty = (0..messages).map(|number| {
        let topic = retained_topic(setting, number);
        let template = setting.template_of(&retained_message(&topic, QoS::AtLeastOnce), &[])?;
        Ok((template, Vec::new()))
    });
    publish(&mut client, empty, "removing", progress).await?;
    client.leave().await;
    Ok(())
}
