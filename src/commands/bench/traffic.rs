//! Messages from publishers to subscribers: p2p, fan-out, fan-in and wildcard.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use super::arguments::{Common, Protocol, Traffic};
use super::board::{Board, Inbox, Order, SharedInbox, Window, check_streams};
use super::error::BenchError;
use super::progress::Progress;
use super::publisher::{Acknowledgement, Pace, Publisher};
use super::report::{MemoryEach, Report, Unit};
use super::run::{Bounds, Run};
use super::setting::{Client, Setting, Stay};
use super::subscriber::Subscriber;
use crate::client::{Outgoing, QoS};

/// Other subscriptions of one client, which brokers limit, and of one SUBSCRIBE.
const FILTERS_OF_A_CLIENT: usize = 5_000;
const FILTERS_OF_A_PACKET: usize = 500;

/// Who publishes to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    Pairs { pairs: usize },
    FanOut { subscribers: usize },
    FanIn { publishers: usize },
    Shared { publishers: usize, members: usize },
    Wildcard { pairs: usize, filters: usize, topics: usize },
}

impl Plan {
    fn name(self) -> &'static str {
        match self {
            Self::Pairs { .. } => "p2p",
            Self::FanOut { .. } => "fan-out",
            Self::FanIn { .. } | Self::Shared { .. } => "fan-in",
            Self::Wildcard { .. } => "wildcard",
        }
    }

    fn publishers(self) -> usize {
        match self {
            Self::Pairs { pairs } | Self::Wildcard { pairs, .. } => pairs,
            Self::FanOut { .. } => 1,
            Self::FanIn { publishers } | Self::Shared { publishers, .. } => publishers,
        }
    }

    fn subscribers(self) -> usize {
        match self {
            Self::Pairs { pairs } | Self::Wildcard { pairs, .. } => pairs,
            Self::FanOut { subscribers } => subscribers,
            Self::FanIn { .. } => 1,
            Self::Shared { members, .. } => members,
        }
    }

    fn topics(self) -> usize {
        match self {
            Self::Wildcard { topics, .. } => topics,
            Self::Pairs { .. } | Self::FanOut { .. } | Self::FanIn { .. } | Self::Shared { .. } => {
                1
            }
        }
    }

    fn other_filters(self) -> usize {
        match self {
            Self::Wildcard { filters, .. } => filters,
            Self::Pairs { .. } | Self::FanOut { .. } | Self::FanIn { .. } | Self::Shared { .. } => {
                0
            }
        }
    }

    /// Who receives each message of a publisher, a group that shares being one.
    fn takers(self) -> usize {
        match self {
            Self::FanOut { subscribers } => subscribers,
            Self::Pairs { .. }
            | Self::FanIn { .. }
            | Self::Shared { .. }
            | Self::Wildcard { .. } => 1,
        }
    }

    fn topic(self, setting: &Setting, publisher: usize, topic: usize) -> String {
        setting.topic(&match self {
            Self::Pairs { .. } => format!("pair/{publisher}"),
            Self::FanOut { .. } => "all".to_owned(),
            Self::FanIn { .. } | Self::Shared { .. } => format!("in/{publisher}"),
            Self::Wildcard { .. } => format!("site/{publisher}/device/{topic}/temperature"),
        })
    }

    fn filter(self, setting: &Setting, subscriber: usize) -> String {
        match self {
            Self::Pairs { .. } | Self::FanOut { .. } => self.topic(setting, subscriber, 0),
            Self::FanIn { .. } => setting.topic("in/+"),
            Self::Shared { .. } => format!("$share/bench/{}", setting.topic("in/+")),
            Self::Wildcard { .. } => setting.topic(&format!("site/{subscriber}/+/+/temperature")),
        }
    }

    /// What a subscriber receives; the members of a group have one inbox together.
    fn inbox(self, subscriber: usize, shared: &Rc<RefCell<Inbox>>) -> Rc<RefCell<Inbox>> {
        let topics = self.topics();
        let one =
            |taker, publishers: Range<usize>| Inbox::new(taker, publishers, topics, Order::Sent);
        match self {
            Self::Pairs { .. } | Self::Wildcard { .. } => one(0, subscriber..subscriber + 1),
            Self::FanOut { .. } => one(subscriber, 0..1),
            Self::FanIn { publishers } => one(0, 0..publishers),
            Self::Shared { .. } => Rc::clone(shared),
        }
    }

    fn connections(self) -> usize {
        let loaders = self.other_filters().div_ceil(FILTERS_OF_A_CLIENT);
        self.publishers() + self.subscribers() + loaders
    }

    fn streams(self) -> usize {
        let topics = self.publishers().saturating_mul(self.topics());
        topics.saturating_mul(self.takers())
    }
}

pub(super) async fn run(
    plan: Plan,
    traffic: &Traffic,
    common: &Common,
    progress: &mut Progress<'_>,
) -> Result<Report, BenchError> {
    check_streams(plan.streams())?;
    if traffic.user_properties > 0 && common.protocol == Protocol::V311 {
        return Err(BenchError::UserProperties);
    }
    let setting = Setting::new(common, plan.connections(), traffic.payload.bytes)?;
    let windows = (0..plan.publishers()).map(|_| Window::new(plan.takers())).collect();
    let board = Board::new(setting, windows, plan.subscribers())?;
    let (others, memory_each) = subscribe_others(plan, &board.setting, progress).await?;

    let (mut run, inboxes) = gather(plan, traffic, &board, progress).await?;
    let messages = traffic.messages.map_or(u64::MAX, |messages| messages as u64);
    if !traffic.warm_up.is_zero() {
        let bounds = Bounds { time: traffic.warm_up, messages };
        run.phase("warming up", bounds, progress).await?;
        run.forget()?;
    }
    let sent = |board: &Board| board.windows.iter().map(|it| it.sent.get()).sum::<u64>();
    let (sent_before, before) = (sent(&board), board.setting.used()?);
    run.phase("measuring", Bounds { time: traffic.seconds, messages }, progress).await?;
    let after = board.setting.used()?;
    let memory = board.setting.broker_memory()?;
    let elapsed = run.elapsed();
    run.leave().await?;
    drop(others);

    let faults = run.faults(lost(&inboxes, &board));
    let tally = board.tally.borrow();
    Ok(Report {
        pattern: plan.name(),
        address: board.setting.address,
        version: board.setting.version,
        load: load(plan, traffic),
        unit: Unit::Message,
        count: tally.delivered,
        published: Some(sent(&board) - sent_before),
        elapsed,
        latency: tally.latency.clone(),
        broker: after.broker.zip(before.broker).map(|(after, before)| after.since(before)),
        own: after.own.since(before.own),
        broker_memory_peak: memory.map(|memory| memory.peak),
        broker_memory_each: memory_each,
        faults,
        refused: tally.refused,
        beside: None,
    })
}

/// Connects everybody: those at work, and what the takers have received.
pub(super) async fn gather(
    plan: Plan,
    traffic: &Traffic,
    board: &Rc<Board>,
    progress: &mut Progress<'_>,
) -> Result<(Run, Vec<SharedInbox>), BenchError> {
    let mut run = Run::new(Rc::clone(board));
    let shared = Inbox::new(0, 0..plan.publishers(), plan.topics(), Order::Any);
    let mut inboxes = Vec::new();
    for index in 0..plan.subscribers() {
        let mut client = board.setting.open("subscriber", index, Stay::Brief).await?;
        let filter = plan.filter(&board.setting, index);
        client.subscribe([filter.as_str()], traffic.qos).await?;
        let inbox = plan.inbox(index, &shared);
        inboxes.push(Rc::clone(&inbox));
        run.subscribe(Subscriber { client, index, board: Rc::clone(board), inbox });
        progress.say("connecting", index as u64 + 1, "subscribers");
    }
    for index in (0..plan.publishers()).map(|index| mixed(index, plan.publishers())) {
        run.publish(publisher(plan, traffic, board, index).await?);
    }
    inboxes.dedup_by(|one, other| Rc::ptr_eq(one, other));
    Ok((run, inboxes))
}

/// How much of what was sent has not come to all of them.
pub(super) fn lost(inboxes: &[SharedInbox], board: &Board) -> u64 {
    inboxes.iter().map(|inbox| inbox.borrow().lost(board)).sum()
}

async fn publisher(
    plan: Plan,
    traffic: &Traffic,
    board: &Rc<Board>,
    index: usize,
) -> Result<Publisher, BenchError> {
    let client = board.setting.open("publisher", index, Stay::Brief).await?;
    // As long as what people put there.
    let properties: Vec<(String, String)> = (0..traffic.user_properties)
        .map(|number| (format!("property-{number:03}"), format!("its value {number:03}")))
        .collect();
    let user_properties: Vec<(&str, &str)> =
        properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (qos, retain, user_properties) = (traffic.qos, false, user_properties.as_slice());
    client.may_publish(&Outgoing { topic: "", qos, retain, user_properties })?;
    let templates = (0..plan.topics()).map(|topic| {
        let topic = plan.topic(&board.setting, index, topic);
        board.setting.template(&Outgoing { topic: &topic, qos, retain, user_properties })
    });
    let pace = match traffic.rate {
        None => Pace::Window(traffic.window as u64),
        Some(rate) => {
            // In turn, so that not all publish at the same moment.
            let interval = plan.publishers() as f64 * 1e9 / rate as f64;
            let offset = interval * index as f64 / plan.publishers() as f64;
            Pace::Rate { interval, offset }
        }
    };
    let acknowledgement = match traffic.qos {
        QoS::AtMostOnce => Acknowledgement::None,
        QoS::AtLeastOnce | QoS::ExactlyOnce => Acknowledgement::Expected,
    };
    let templates = templates.collect::<Result<_, _>>()?;
    let board = Rc::clone(board);
    Ok(Publisher { client, index, templates, pace, board, acknowledgement })
}

/// Subscribes to what matches no message, by clients that stay; what each takes in the broker.
async fn subscribe_others(
    plan: Plan,
    setting: &Setting,
    progress: &mut Progress<'_>,
) -> Result<(Vec<Client>, Option<MemoryEach>), BenchError> {
    let count = plan.other_filters();
    let before = setting.broker_memory()?;
    let mut clients = Vec::new();
    for first in (0..count).step_by(FILTERS_OF_A_CLIENT) {
        let mut client = setting.open("other", first / FILTERS_OF_A_CLIENT, Stay::Brief).await?;
        let end = count.min(first + FILTERS_OF_A_CLIENT);
        for first in (first..end).step_by(FILTERS_OF_A_PACKET) {
            let filters: Vec<String> = (first..end.min(first + FILTERS_OF_A_PACKET))
                .map(|number| setting.topic(&other_filter(number)))
                .collect();
            client.subscribe(filters.iter().map(String::as_str), QoS::AtMostOnce).await?;
        }
        clients.push(client);
        progress.say("subscribing", end as u64, "other filters");
    }
    let after = setting.broker_memory()?;
    let each = before.zip(after).filter(|_| count > 0).map(|(before, after)| MemoryEach {
        of: "filter",
        bytes: after.now.saturating_sub(before.now) as f64 / count as f64,
    });
    Ok((clients, each))
}

fn other_filter(number: usize) -> String {
    let site = number % 1_000;
    match number % 10 {
        0 => format!("site/{site}/+/{number}/humidity"),
        _ => format!("site/{site}/device/{number}/humidity"),
    }
}

/// The order in which publishers connect. A broker that gives connections to its threads in turn
/// has so some pairs within one thread and some across two.
fn mixed(index: usize, count: usize) -> usize {
    let other = index ^ 1;
    if index / 2 % 2 == 1 && other < count { other } else { index }
}

fn load(plan: Plan, traffic: &Traffic) -> Vec<(&'static str, u64)> {
    let mut load = vec![
        ("publishers", plan.publishers() as u64),
        ("subscribers", plan.subscribers() as u64),
        ("qos", u64::from(traffic.qos.bits())),
        ("payload_bytes", traffic.payload.bytes as u64),
    ];
    match traffic.rate {
        Some(rate) => load.push(("rate", rate as u64)),
        None => load.push(("window", traffic.window as u64)),
    }
    if traffic.user_properties > 0 {
        load.push(("user_properties", traffic.user_properties as u64));
    }
    if let Plan::Wildcard { filters, topics, .. } = plan {
        load.push(("other_filters", filters as u64));
        load.push(("topics", topics as u64));
    }
    load
}
