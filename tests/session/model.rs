//! Random operations on a Session and its client, beside a model that is too simple to be wrong.
//!
//! The model knows the client's half of the protocol too: what is lost with a connection, on either
//! way, is sent again on the next one, and the client has to end up with each QoS 1 message at
//! least once and each QoS 2 message exactly once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use dunlin::message::Message;
use dunlin::packet::{Delivery, PacketId, QoS, ReasonCode};
use dunlin::session::{DropReason, PubRecAnswer, QueueWhenFull, Room, Terms, Verdict};
use proptest::prelude::*;

use crate::support::{Desk, Sent, message, message_until, seconds, terms};

#[derive(Clone, Copy, Debug)]
enum Operation {
    Offer {
        qos: QoS,
        expires_in: Option<u64>,
        padding: usize,
    },
    /// The client reads this many packets.
    Read(usize),
    /// One of the client's acknowledgements, which need not be the first, comes in.
    Acknowledge(usize),
    /// The client will refuse the next QoS 2 message it reads.
    RefuseNext,
    Disconnect,
    Connect {
        receive_maximum: u16,
    },
    SetRoom(Room),
    Wait(u64),
}

fn operation() -> impl Strategy<Value = Operation> {
    let qos = prop_oneof![Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)];
    let expires_in = prop_oneof![4 => Just(None), 1 => (1..5_u64).prop_map(Some)];
    prop_oneof![
        8 => (qos, expires_in, 0..60_usize)
            .prop_map(|(qos, expires_in, padding)| Operation::Offer { qos, expires_in, padding }),
        6 => (1..5_usize).prop_map(Operation::Read),
        8 => (0..8_usize).prop_map(Operation::Acknowledge),
        1 => Just(Operation::RefuseNext),
        2 => Just(Operation::Disconnect),
        3 => (1..6_u16).prop_map(|receive_maximum| Operation::Connect { receive_maximum }),
        1 => Just(Operation::SetRoom(Room::Full)),
        2 => Just(Operation::SetRoom(Room::Open)),
        1 => (1..4_u64).prop_map(Operation::Wait),
    ]
}

/// What the client answers with: PUBACK, PUBREC or PUBCOMP.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Ack(PacketId),
    Rec(PacketId, ReasonCode),
    Comp(PacketId),
}

#[derive(Clone, Debug)]
struct Offered {
    number: usize,
    qos: QoS,
    message: Arc<Message>,
}

/// An exchange that was begun.
#[derive(Debug)]
struct Open {
    offered: Offered,
    /// Its place among all that were released.
    released: Option<usize>,
    /// Its PUBLISH was sent on this connection.
    charged: bool,
}

/// The client's half: packets on their way in both directions, and what it holds.
#[derive(Debug, Default)]
struct Client {
    inbox: VecDeque<Sent>,
    answers: Vec<Answer>,
    received: BTreeSet<PacketId>,
    deliveries: Vec<usize>,
    /// What it ever refused: if that is lost, the message comes again, later than its place.
    refused: BTreeSet<usize>,
    refuses_next: bool,
}

struct Model {
    desk: Desk,
    client: Client,
    terms: Option<Terms>,
    room: Room,
    next_number: usize,
    /// PUBRECs that were answered by a PUBREL.
    releases: usize,
    queue: VecDeque<Offered>,
    /// In the order in which they were begun; at a reconnect what was released comes before, in the
    /// order of the PUBRECs.
    open: Vec<(PacketId, Open)>,
    /// Identifiers still to be sent again on this connection, in order.
    unsent: VecDeque<PacketId>,
    /// What the client has to get.
    owed: BTreeMap<usize, QoS>,
    /// What the client refused, which it may have got before.
    given_up: BTreeSet<usize>,
    /// How many messages gave way or were refused because the Session owed all it may.
    drops: usize,
    /// What the Session weighed before anything happened.
    empty_state_bytes: usize,
}

impl Model {
    fn new(when_full: QueueWhenFull) -> Self {
        let mut desk = Desk::new();
        desk.limits.queue_when_full = when_full;
        desk.limits.queue_bytes_max = 20 * message("").bytes();
        desk.limits.queue_offline_messages_max = 8;
        let empty_state_bytes = desk.session.state_bytes();
        Self {
            desk,
            client: Client::default(),
            terms: None,
            room: Room::Open,
            next_number: 0,
            releases: 0,
            queue: VecDeque::new(),
            open: Vec::new(),
            unsent: VecDeque::new(),
            owed: BTreeMap::new(),
            given_up: BTreeSet::new(),
            drops: 0,
            empty_state_bytes,
        }
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Offer { qos, expires_in, padding } => self.offer(qos, expires_in, padding),
            Operation::Read(count) => (0..count).for_each(|_| self.read()),
            Operation::Acknowledge(index) => self.acknowledge(index),
            Operation::RefuseNext => self.client.refuses_next = true,
            Operation::Disconnect => self.disconnect(),
            Operation::Connect { receive_maximum } => self.connect(receive_maximum),
            Operation::SetRoom(room) => {
                self.room = room;
                self.pump();
            }
            Operation::Wait(passed) => self.desk.now += seconds(passed),
        }
        self.check();
    }

    fn inflight_bytes(&self) -> usize {
        let open = self.open.iter().filter(|(_, open)| open.released.is_none());
        open.map(|(_, open)| open.offered.message.bytes()).sum()
    }

    fn bytes(&self) -> usize {
        self.inflight_bytes()
            + self.queue.iter().map(|queued| queued.message.bytes()).sum::<usize>()
    }

    fn charged(&self) -> usize {
        self.open.iter().filter(|(_, open)| open.charged).count()
    }

    fn window(&self) -> usize {
        self.terms.map_or(0, |terms| usize::from(terms.receive_maximum.get()))
    }

    fn check(&self) {
        assert_eq!(self.desk.session.bytes(), self.bytes());
        let released = self.open.iter().filter(|(_, open)| open.released.is_some()).count();
        let state = self.desk.session.state_bytes() - self.empty_state_bytes;
        assert_eq!(state > 0, released > 0, "{released} released weigh {state}");
        assert!(self.charged() <= self.window(), "the window is exceeded");
        if self.terms.is_none() {
            return;
        }
        let waits = !self.queue.is_empty() || !self.unsent.is_empty();
        assert_eq!(self.desk.session.has_queued(), waits);
    }

    fn offer(&mut self, qos: QoS, expires_in: Option<u64>, padding: usize) {
        let number = self.next_number;
        self.next_number += 1;
        let expires_at = expires_in.map(|after| self.desk.now + seconds(after));
        let text = format!("{number:0width$}", width = padding + 1);
        let message = message_until(&text, expires_at);
        let room = if self.terms.is_some() { self.room } else { Room::Away };
        let limits = &self.desk.limits;
        let has_room = |queue: &VecDeque<Offered>, inflight: usize| {
            let owed = inflight + queue.iter().map(|queued| queued.message.bytes()).sum::<usize>();
            let owes_nothing = self.open.is_empty() && queue.is_empty();
            (owes_nothing || owed + message.bytes() <= limits.queue_bytes_max)
                && (room != Room::Away || queue.len() < limits.queue_offline_messages_max)
        };
        let inflight = self.inflight_bytes();
        let mut queue = self.queue.clone();
        if limits.queue_when_full == QueueWhenFull::DropOldest {
            while !has_room(&queue, inflight) && queue.pop_front().is_some() {}
        }
        let refused = !has_room(&queue, inflight);
        if !refused {
            let dropped = self.queue.len() - queue.len();
            for gone in self.queue.iter().take(dropped) {
                self.owed.remove(&gone.number);
            }
            self.queue = queue;
            self.drops += dropped;
        }
        self.drops += usize::from(refused);
        let sent = room == Room::Open
            && self.queue.is_empty()
            && self.unsent.is_empty()
            && self.charged() < self.window();

        let terms = self.terms;
        let verdict = self.desk.offer_to(&message, qos, terms.as_ref(), room);

        let offered = Offered { number, qos, message };
        match verdict {
            Verdict::Refused => assert!(refused, "refused without need"),
            Verdict::Dropped => panic!("nothing here is too large"),
            Verdict::Queued => {
                assert!(!refused && !sent, "queued without need");
                self.owed.insert(number, qos);
                self.queue.push_back(offered);
            }
            Verdict::Send(delivery) => {
                assert!(!refused && sent, "sent too early");
                self.owed.insert(number, qos);
                self.begin(offered, delivery);
                self.client.inbox.push_back(Sent::Publish {
                    delivery,
                    payload: text,
                    expiry: None,
                });
            }
        }
    }

    /// A message is sent for the first time.
    fn begin(&mut self, offered: Offered, delivery: Delivery) {
        let (id, dup) = match delivery {
            Delivery::AtMostOnce => panic!("QoS 0 out of nowhere"),
            Delivery::AtLeastOnce { id, dup } | Delivery::ExactlyOnce { id, dup } => (id, dup),
        };
        assert!(!dup, "DUP on a first delivery");
        assert_eq!(delivery.qos(), offered.qos);
        assert!(self.open.iter().all(|(other, _)| *other != id), "{id} is in use");
        self.open.push((id, Open { offered, released: None, charged: true }));
    }

    fn pump(&mut self) {
        let Some(terms) = self.terms.filter(|_| self.room == Room::Open) else { return };
        while let Some(sent) = self.desk.next(&terms) {
            match self.unsent.pop_front() {
                Some(id) => self.sent_again(id, &sent),
                None => self.sent_from_queue(&sent),
            }
            self.client.inbox.push_back(sent);
        }
        if self.unsent.is_empty() && self.charged() < self.window() {
            // Room was left, so nothing but expired messages can have been.
            while let Some(queued) = self.queue.pop_front() {
                self.expired(&queued);
            }
        }
    }

    fn sent_again(&mut self, id: PacketId, sent: &Sent) {
        assert_eq!(sent.id(), id, "sent again out of order");
        let (_, open) = self.open.iter_mut().find(|(other, _)| *other == id).unwrap();
        match sent {
            Sent::PubRel(_) => assert!(open.released.is_some()),
            Sent::Publish { delivery, payload, .. } => {
                assert!(open.released.is_none(), "sent again after PUBREL");
                let (Delivery::AtLeastOnce { dup, .. } | Delivery::ExactlyOnce { dup, .. }) =
                    *delivery
                else {
                    panic!("QoS 0 out of nowhere");
                };
                assert!(dup, "sent again without DUP");
                assert_eq!(delivery.qos(), open.offered.qos);
                assert_eq!(payload.parse(), Ok(open.offered.number));
                open.charged = true;
            }
        }
    }

    fn sent_from_queue(&mut self, sent: &Sent) {
        let Sent::Publish { delivery, payload, .. } = sent else { panic!("a PUBREL of the queue") };
        let number: usize = payload.parse().unwrap();
        loop {
            let queued = self.queue.pop_front().unwrap();
            if queued.number == number {
                let expires_at = queued.message.expires_at;
                assert!(expires_at.is_none_or(|at| at > self.desk.now), "sent after its expiry");
                return self.begin(queued, *delivery);
            }
            self.expired(&queued);
        }
    }

    fn expired(&mut self, queued: &Offered) {
        let expires_at: Option<Instant> = queued.message.expires_at;
        assert!(expires_at.is_some_and(|at| at <= self.desk.now), "{} is lost", queued.number);
        self.owed.remove(&queued.number);
    }

    /// The client reads a packet and answers it.
    fn read(&mut self) {
        let Some(sent) = self.client.inbox.pop_front() else { return };
        let client = &mut self.client;
        match sent {
            Sent::PubRel(id) => {
                client.received.remove(&id);
                client.answers.push(Answer::Comp(id));
            }
            Sent::Publish { delivery, payload, .. } => {
                let number = payload.parse().unwrap();
                match delivery {
                    Delivery::AtMostOnce => panic!("QoS 0 out of nowhere"),
                    Delivery::AtLeastOnce { id, .. } => {
                        client.deliveries.push(number);
                        client.answers.push(Answer::Ack(id));
                    }
                    Delivery::ExactlyOnce { id, .. } => {
                        let is_new = !client.received.contains(&id);
                        if is_new && std::mem::take(&mut client.refuses_next) {
                            client.refused.insert(number);
                            client.answers.push(Answer::Rec(id, ReasonCode::QuotaExceeded));
                            return;
                        }
                        if client.received.insert(id) {
                            client.deliveries.push(number);
                        }
                        client.answers.push(Answer::Rec(id, ReasonCode::Success));
                    }
                }
            }
        }
    }

    fn acknowledge(&mut self, index: usize) {
        if index >= self.client.answers.len() {
            return;
        }
        let (session, effects) = (&mut self.desk.session, &mut self.desk.effects);
        let ended = match self.client.answers.remove(index) {
            Answer::Ack(id) => session.puback(id, effects).unwrap().then_some(id),
            Answer::Comp(id) => session.pubcomp(id, effects).unwrap().then_some(id),
            Answer::Rec(id, reason) => match session.pubrec(id, reason, effects).unwrap() {
                PubRecAnswer::UnknownId => panic!("{id} is known"),
                PubRecAnswer::Release => {
                    let (_, open) = self.open.iter_mut().find(|(other, _)| *other == id).unwrap();
                    open.released.get_or_insert(self.releases);
                    self.releases += 1;
                    self.client.inbox.push_back(Sent::PubRel(id));
                    None
                }
                PubRecAnswer::Nothing => {
                    let (_, open) = self.open.iter().find(|(other, _)| *other == id).unwrap();
                    self.given_up.insert(open.offered.number);
                    Some(id)
                }
            },
        };
        if let Some(id) = ended {
            let before = self.open.len();
            self.open.retain(|(other, _)| *other != id);
            assert_eq!(self.open.len() + 1, before, "{id} was not open");
        }
        self.pump();
    }

    fn disconnect(&mut self) {
        if self.terms.take().is_none() {
            return;
        }
        let now = self.desk.now;
        self.desk.session.away(now, now, &mut self.desk.effects);
        // What was on its way is lost; what the client holds it keeps.
        self.client.inbox.clear();
        self.client.answers.clear();
        self.unsent.clear();
        for (_, open) in &mut self.open {
            open.charged = false;
        }
    }

    fn connect(&mut self, receive_maximum: u16) {
        self.disconnect();
        self.desk.resume();
        self.terms = Some(terms(receive_maximum));
        self.open.sort_by_key(|(_, open)| open.released.unwrap_or(usize::MAX));
        self.unsent = self.open.iter().map(|(id, _)| *id).collect();
        self.pump();
    }

    /// Lets everything come to its end and looks at what the client got.
    fn settle(&mut self) {
        self.client.refuses_next = false;
        self.room = Room::Open;
        self.connect(3);
        self.check();
        while !self.client.inbox.is_empty() || !self.client.answers.is_empty() {
            self.read();
            self.acknowledge(0);
            self.check();
        }

        assert!(self.open.is_empty() && self.queue.is_empty());
        let full = self.desk.dropped().into_iter().find(|(why, _)| *why == DropReason::QueueFull);
        assert_eq!(full.map_or(0, |(_, count)| count as usize), self.drops, "counted");
        assert_eq!(self.desk.session.bytes(), 0);
        self.desk.session.shrink();
        assert_eq!(self.desk.session.bytes(), 0);
        let mut first = Vec::new();
        for number in &self.client.deliveries {
            if !first.contains(number) && !self.client.refused.contains(number) {
                first.push(*number);
            }
        }
        for (number, qos) in &self.owed {
            let count = self.client.deliveries.iter().filter(|got| *got == number).count();
            match qos {
                _ if self.given_up.contains(number) => assert!(count <= 1, "{number}: {count}"),
                QoS::AtMostOnce => panic!("never offered"),
                QoS::AtLeastOnce => assert!(count >= 1, "{number} was lost"),
                QoS::ExactlyOnce => assert_eq!(count, 1, "{number}"),
            }
        }
        assert!(first.is_sorted(), "out of order: {first:?}");
    }
}

proptest! {
    // [MQTT-4.3.2-3] [MQTT-4.3.3-6] [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-3.3.4-9] [MQTT-2.2.1-4]
    #[test]
    fn whatever_is_lost_on_the_way_every_message_arrives_as_its_qos_says(
        when_full in prop_oneof![
            Just(QueueWhenFull::RefuseNewest),
            Just(QueueWhenFull::DropOldest),
        ],
        operations in prop::collection::vec(operation(), 1..200)
    ) {
        let mut model = Model::new(when_full);

        for operation in operations {
            model.apply(operation);
        }

        model.settle();
    }
}
