//! A subscriber that subscribes once in its life, and comes back to its Session ever after.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;

use tokio::time::timeout;

use crate::broker::PATIENCE;
use crate::connect::Connect;
use crate::ledger::{Fault, TakerId};
use crate::link::{Gone, Link};
use crate::publisher::Task;
use crate::shared::{Shared, within};
use crate::wire::{Message, Packet, Properties, Version, acknowledge, packet, text};

/// How many messages who is slow leaves unanswered.
const UNANSWERED: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    Prompt,
    /// Answers the oldest only when so many came.
    Slow,
    /// Is there only to bring everything to an end.
    Away,
}

#[derive(Debug)]
pub(crate) struct Subscriber {
    name: String,
    connect: Connect,
    filter: String,
    qos: u8,
    pub(crate) taker: TakerId,
    pub(crate) habit: Habit,
    promised: bool,
    /// QoS 2 messages that came and whose PUBREL did not: what comes again under such a Packet
    /// Identifier is the same message [MQTT-4.3.3-10].
    unreleased: HashSet<u16>,
}

impl Subscriber {
    pub(crate) fn new(
        version: Version,
        name: &str,
        (filter, qos): (&str, u8),
        taker: TakerId,
        habit: Habit,
    ) -> Self {
        let (name, filter) = (name.to_owned(), filter.to_owned());
        let connect = Connect::lasting(version, &name);
        let (promised, unreleased) = (false, HashSet::new());
        Self { name, connect, filter, qos, taker, habit, promised, unreleased }
    }

    /// The one time it subscribes.
    pub(crate) async fn subscribe(&mut self, address: SocketAddr) {
        let mut link = Link::open(address, &self.connect).await.expect("a new Session");
        let properties = match link.version {
            Version::V5 => Properties::default().encode(),
            Version::V31 | Version::V311 => Vec::new(),
        };
        let body = [&[0, 1], &properties[..], &text(&self.filter), &[self.qos]].concat();
        link.send(&packet(0x82, &body));
        match within("a SUBACK", link.packet()).await {
            Ok(Packet::SubAck { codes, .. }) => assert_eq!(codes, [self.qos]),
            other => panic!("waiting for a SUBACK: {other:?}"),
        }
        self.promised = true;
        link.leave().await;
    }

    pub(crate) async fn run(
        &mut self,
        address: SocketAddr,
        shared: &Shared,
        task: Task,
    ) -> Result<(), Gone> {
        let mut link = Link::open(address, &self.connect).await?;
        shared.resumed(&self.name, self.promised, link.session_present);
        if !link.session_present {
            self.unreleased.clear();
            if self.promised && task == Task::Finish {
                // Without its Subscription nothing will come; the fault is noted.
                link.leave().await;
                return Ok(());
            }
        }
        let mut unanswered = VecDeque::new();
        let is_slow = self.habit == Habit::Slow && task == Task::Load;
        let bound = if is_slow { UNANSWERED } else { 0 };
        loop {
            let packet = tokio::select! {
                biased;
                packet = link.packet() => packet?,
                () = shared.until_finished(self.taker), if task == Task::Finish => break,
            };
            self.receive(&mut link, shared, packet, &mut unanswered);
            while unanswered.len() > bound {
                link.send(&unanswered.pop_front().unwrap_or_default());
            }
        }
        // What came twice, or belongs to nobody, is behind the last.
        link.send(&[0xC0, 0x00]);
        loop {
            match link.packet().await? {
                Packet::PingResp => break,
                packet => self.receive(&mut link, shared, packet, &mut unanswered),
            }
            unanswered.drain(..).for_each(|answer| link.send(&answer));
        }
        link.leave().await;
        Ok(())
    }

    /// Takes all there is; if it does not come in time that is a fault.
    pub(crate) async fn finish(&mut self, address: SocketAddr, shared: &Shared) {
        let (name, taker) = (self.name.clone(), self.taker);
        match timeout(PATIENCE, self.run(address, shared, Task::Finish)).await {
            Ok(done) => assert_eq!(done, Ok(()), "{name}"),
            Err(_) => {
                let topics = shared.ledger().unfinished(taker);
                shared.ledger().fault(Fault::Silent { taker: name, topics });
            }
        }
    }

    fn receive(
        &mut self,
        link: &mut Link,
        shared: &Shared,
        packet: Packet,
        unanswered: &mut VecDeque<Vec<u8>>,
    ) {
        match packet {
            Packet::Publish(Message { topic, payload, qos, packet_id, .. }) => {
                let is_new = qos < 2 || self.unreleased.insert(packet_id);
                if is_new {
                    shared.arrived(self.taker, &topic, &payload);
                }
                if qos > 0 {
                    let first = if qos == 1 { 0x40 } else { 0x50 };
                    unanswered.push_back(acknowledge(first, packet_id));
                }
            }
            Packet::PubRel { packet_id, .. } => {
                self.unreleased.remove(&packet_id);
                link.send(&acknowledge(0x70, packet_id));
            }
            other => panic!("{} got {other:?}", self.name),
        }
    }
}
