//! Clients that connect: all at once, and then do nothing.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::arguments::Storm;
use super::board::Tally;
use super::error::BenchError;
use super::progress::Progress;
use super::report::{Faults, MemoryEach, Report, Unit};
use super::setting::{Client, Setting, Stay};
use crate::client::Event;

/// Connects all clients, leaves them alone for `idle`, and asks each whether it is still there.
pub(super) async fn run(
    pattern: &'static str,
    storm: &Storm,
    idle: Duration,
    progress: &mut Progress<'_>,
) -> Result<Report, BenchError> {
    let setting = Rc::new(Setting::new(&storm.common, storm.clients, 0)?);
    let memory_before = setting.broker_memory()?;
    let before = setting.used()?;
    let begun = setting.now();
    let (mut clients, tally) = connect(&setting, storm, progress).await?;
    let after = setting.used()?;
    tokio::time::sleep(idle).await;
    let memory = setting.broker_memory()?;

    for client in &mut clients {
        client.connection.ping();
        client.connection.flush().await.map_err(|source| client.failed(source))?;
    }
    for client in &mut clients {
        client.wait(|event| matches!(event, Event::Pong)).await?;
    }
    for client in &mut clients {
        client.leave().await;
    }
    let grown = memory_before.zip(memory);
    Ok(Report {
        pattern,
        address: setting.address,
        version: setting.version,
        load: vec![("clients", storm.clients as u64), ("concurrency", storm.concurrency as u64)],
        unit: Unit::Connection,
        count: tally.delivered,
        published: None,
        elapsed: Duration::from_nanos(tally.last.saturating_sub(begun)),
        latency: tally.latency,
        broker: after.broker.zip(before.broker).map(|(after, before)| after.since(before)),
        own: after.own.since(before.own),
        broker_memory_peak: memory.map(|memory| memory.peak),
        broker_memory_each: grown.map(|(before, after)| MemoryEach {
            of: "connection",
            bytes: after.now.saturating_sub(before.now) as f64 / storm.clients as f64,
        }),
        faults: Faults::default(),
        refused: 0,
        beside: None,
    })
}

async fn connect(
    setting: &Rc<Setting>,
    storm: &Storm,
    progress: &mut Progress<'_>,
) -> Result<(Vec<Client>, Tally), BenchError> {
    let mut tally = Tally::new()?;
    let mut tasks = JoinSet::new();
    let mut clients = Vec::with_capacity(storm.clients);
    let mut waiting = 0..storm.clients;
    loop {
        while tasks.len() < storm.concurrency
            && let Some(index) = waiting.next()
        {
            let setting = Rc::clone(setting);
            tasks.spawn_local(async move {
                let start = setting.now();
                let client = setting.open("client", index, Stay::Brief).await?;
                Ok((client, start, setting.now()))
            });
        }
        let Some(ended) = tasks.join_next().await else { break };
        let (client, start, end) = ended.unwrap_or(Err(BenchError::Task))?;
        tally.latency.saturating_record(end.saturating_sub(start).max(1));
        tally.delivered += 1;
        tally.last = tally.last.max(end);
        clients.push(client);
        progress.say("connecting", tally.delivered, "clients");
    }
    Ok((clients, tally))
}
