//! The checker: what was sent, what the broker answered for, what arrived, and what follows.
//!
//! A stream is what one publisher sends to one topic: numbers from 0 on, each in a payload that can
//! be told from every other. A taker is a Session or a group, which is to get all of the streams
//! below its prefix. The last number of a stream is sent when all before it were answered for, so
//! that whoever has it has everything else, or has lost it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Instant;

const PAYLOAD_BYTES: usize = 200;

/// Every so many retained messages one is empty, which removes what is retained.
const REMOVAL_EVERY: u32 = 20;

/// How many faults a report names.
const NAMED: usize = 20;

/// Where a stream or a taker stands in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId(usize);
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TakerId(usize);

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Lost {
        taker: String,
        topic: String,
        number: u32,
        acknowledged: Option<Instant>,
    },
    Twice {
        taker: String,
        topic: String,
        number: u32,
        times: u32,
    },
    OutOfOrder {
        taker: String,
        topic: String,
        number: u32,
        after: u32,
    },
    NeverSent {
        taker: String,
        topic: String,
        payload: String,
    },
    Retained {
        topic: String,
        found: Option<u32>,
        allowed: RangeInclusive<u32>,
    },
    SessionLost {
        client: String,
    },
    /// A Session that was ended is there again.
    SessionBack {
        client: String,
    },
    /// Nothing more came although the rest of these topics was to come.
    Silent {
        taker: String,
        topics: Vec<String>,
    },
    /// A Subscription that was acknowledged is gone, or one that was ended is there.
    Subscription {
        client: String,
        filter: String,
        wanted: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Sent,
    Acknowledged(Instant),
    /// Answered with an error: it may arrive or not.
    Refused,
}

#[derive(Debug)]
struct Stream {
    topic: String,
    qos: u8,
    retained: bool,
    sent: Vec<Fate>,
}

/// Whether all of a taker's messages come over one connection at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Session,
    Group,
}

#[derive(Debug)]
struct Taker {
    name: String,
    prefix: String,
    qos: u8,
    kind: Kind,
    /// How often each number came.
    arrived: BTreeMap<StreamId, Vec<u32>>,
    highest: BTreeMap<StreamId, u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    streams: Vec<Stream>,
    takers: Vec<Taker>,
    faults: Vec<Fault>,
}

impl Ledger {
    pub(crate) fn stream(&mut self, topic: &str, qos: u8) -> StreamId {
        self.add(topic, qos, false)
    }

    /// One whose messages replace each other.
    pub(crate) fn retained_stream(&mut self, topic: &str, qos: u8) -> StreamId {
        self.add(topic, qos, true)
    }

    pub(crate) fn taker(&mut self, name: &str, prefix: &str, qos: u8, kind: Kind) -> TakerId {
        let (name, prefix) = (name.to_owned(), prefix.to_owned());
        let (arrived, highest) = (BTreeMap::new(), BTreeMap::new());
        self.takers.push(Taker { name, prefix, qos, kind, arrived, highest });
        TakerId(self.takers.len() - 1)
    }

    pub(crate) fn topic(&self, id: StreamId) -> (&str, u8, bool) {
        let Stream { topic, qos, retained, .. } = &self.streams[id.0];
        (topic, *qos, *retained)
    }

    pub(crate) fn stream_of(&self, topic: &str) -> StreamId {
        let found = self.streams.iter().position(|stream| stream.topic == topic);
        StreamId(found.expect("a stream of that topic"))
    }

    /// Sends the next one: its number and payload.
    pub(crate) fn send(&mut self, id: StreamId) -> (u32, Vec<u8>) {
        let stream = &mut self.streams[id.0];
        stream.sent.push(Fate::Sent);
        let number = u32::try_from(stream.sent.len() - 1).expect("fewer messages");
        (number, stream.payload(number))
    }

    pub(crate) fn payload(&self, id: StreamId, number: u32) -> Vec<u8> {
        self.streams[id.0].payload(number)
    }

    pub(crate) fn acknowledged(&mut self, id: StreamId, number: u32) {
        let fate = &mut self.streams[id.0].sent[number as usize];
        if *fate == Fate::Sent {
            *fate = Fate::Acknowledged(Instant::now());
        }
    }

    pub(crate) fn refused(&mut self, id: StreamId, number: u32) {
        self.streams[id.0].sent[number as usize] = Fate::Refused;
    }

    /// It was counted as refused as long as nobody answered.
    pub(crate) fn accepted_after_all(&mut self, id: StreamId, number: u32) {
        self.streams[id.0].sent[number as usize] = Fate::Acknowledged(Instant::now());
    }

    pub(crate) fn arrived(&mut self, id: TakerId, topic: &str, payload: &[u8]) {
        let taker = &mut self.takers[id.0];
        let found = self.streams.iter().position(|stream| stream.topic == topic);
        let number = found.and_then(|at| self.streams[at].number(payload));
        let (Some(at), Some(number)) = (found, number) else {
            let payload = String::from_utf8_lossy(payload).into_owned();
            let (taker, topic) = (taker.name.clone(), topic.to_owned());
            self.faults.push(Fault::NeverSent { taker, topic, payload });
            return;
        };
        let stream = StreamId(at);
        let counts = taker.arrived.entry(stream).or_default();
        counts.resize(counts.len().max(number as usize + 1), 0);
        counts[number as usize] += 1;
        let highest = taker.highest.entry(stream).or_insert(number);
        // Only first arrivals have an order: at least once is whenever it likes.
        if counts[number as usize] == 1 && number < *highest && taker.kind == Kind::Session {
            let (taker, topic) = (taker.name.clone(), topic.to_owned());
            self.faults.push(Fault::OutOfOrder { taker, topic, number, after: *highest });
        }
        *highest = number.max(*highest);
    }

    /// What is retained under the topic, as somebody new got it.
    pub(crate) fn found_retained(&mut self, id: StreamId, payload: Option<&[u8]>) {
        let stream = &self.streams[id.0];
        let topic = stream.topic.clone();
        let found = payload.map(|payload| stream.number(payload));
        let Some(last) = stream.sent.len().checked_sub(1) else { return };
        let least = stream.sent.iter().rposition(|fate| matches!(fate, Fate::Acknowledged(_)));
        let to_number = |at: usize| u32::try_from(at).expect("fewer messages");
        let allowed = to_number(least.unwrap_or(0))..=to_number(last);
        let is_right = match found {
            None => least.is_none() || allowed.clone().any(is_removal),
            Some(number) => number.is_some_and(|number| allowed.contains(&number)),
        };
        if !is_right {
            let found = found.flatten();
            self.faults.push(Fault::Retained { topic, found, allowed });
        }
    }

    pub(crate) fn retained_streams(&self) -> Vec<(StreamId, String)> {
        let retained = self.streams.iter().enumerate().filter(|(_, stream)| stream.retained);
        retained.map(|(at, stream)| (StreamId(at), stream.topic.clone())).collect()
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// The topics of which the taker has not got the last message yet.
    pub(crate) fn unfinished(&self, id: TakerId) -> Vec<String> {
        let taker = &self.takers[id.0];
        let unfinished = self.streams_of(taker).filter(|(stream, sent)| {
            let last = sent.sent.iter().rposition(|fate| *fate != Fate::Refused);
            last.is_some_and(|last| taker.times(*stream, last) == 0)
        });
        unfinished.map(|(_, stream)| stream.topic.clone()).collect()
    }

    pub(crate) fn has_arrived(&self, id: TakerId, stream: StreamId, number: u32) -> bool {
        self.takers[id.0].times(stream, number as usize) > 0
    }

    /// Everything that is wrong, when all takers are said to have everything.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = self.faults.clone();
        for taker in &self.takers {
            for (id, stream) in self.streams_of(taker) {
                let exactly_once = stream.qos == 2 && taker.qos == 2;
                for (number, fate) in (0_u32..).zip(&stream.sent) {
                    let times = taker.times(id, number as usize);
                    let (taker, topic) = (taker.name.clone(), stream.topic.clone());
                    let acknowledged = match fate {
                        Fate::Acknowledged(at) => Some(*at),
                        Fate::Sent | Fate::Refused => None,
                    };
                    if times == 0 && *fate != Fate::Refused {
                        faults.push(Fault::Lost { taker, topic, number, acknowledged });
                    } else if times > 1 && exactly_once {
                        faults.push(Fault::Twice { taker, topic, number, times });
                    }
                }
            }
        }
        faults
    }

    /// How many messages were sent, how many answered for and how many refused.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let all = || self.streams.iter().flat_map(|stream| &stream.sent);
        let acknowledged = all().filter(|fate| matches!(fate, Fate::Acknowledged(_))).count();
        let refused = all().filter(|fate| **fate == Fate::Refused).count();
        (all().count(), acknowledged, refused)
    }

    fn add(&mut self, topic: &str, qos: u8, retained: bool) -> StreamId {
        self.streams.push(Stream { topic: topic.to_owned(), qos, retained, sent: Vec::new() });
        StreamId(self.streams.len() - 1)
    }

    fn streams_of<'a>(&'a self, taker: &'a Taker) -> impl Iterator<Item = (StreamId, &'a Stream)> {
        let all = self.streams.iter().enumerate();
        all.filter(|(_, stream)| stream.topic.starts_with(&taker.prefix))
            .map(|(at, stream)| (StreamId(at), stream))
    }
}

impl Taker {
    fn times(&self, stream: StreamId, number: usize) -> u32 {
        let counts = self.arrived.get(&stream);
        counts.and_then(|counts| counts.get(number)).copied().unwrap_or(0)
    }
}

impl Stream {
    fn payload(&self, number: u32) -> Vec<u8> {
        if self.retained && is_removal(number) {
            return Vec::new();
        }
        let mut payload = format!("{number} {} ", self.topic).into_bytes();
        let mut letters = (b'a'..=b'z').cycle().skip(number as usize % 26);
        while payload.len() < PAYLOAD_BYTES {
            payload.extend(letters.next());
        }
        payload
    }

    /// Of a message that was sent, whole and unaltered.
    fn number(&self, payload: &[u8]) -> Option<u32> {
        let text = std::str::from_utf8(payload).ok()?;
        let number: u32 = text.split(' ').next()?.parse().ok()?;
        let was_sent = (number as usize) < self.sent.len() && self.payload(number) == payload;
        was_sent.then_some(number)
    }
}

fn is_removal(number: u32) -> bool {
    number % REMOVAL_EVERY == REMOVAL_EVERY - 1
}

impl Fault {
    /// Whether it is about a message to this topic that nobody was to get.
    pub(crate) fn is_of(&self, wanted: &str) -> bool {
        matches!(self, Self::NeverSent { topic, .. } if topic == wanted)
    }
}

/// Some of the faults, and how many there are.
pub(crate) struct Report<'a>(pub(crate) &'a [Fault]);

impl fmt::Display for Report<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "{} faults", self.0.len())?;
        for fault in self.0.iter().take(NAMED) {
            writeln!(to, "  {fault:?}")?;
        }
        Ok(())
    }
}

/// The checker finds what it is there to find, and nothing else.
#[cfg(test)]
mod tests {
    use super::*;

    struct Scene {
        ledger: Ledger,
        stream: StreamId,
        taker: TakerId,
    }

    /// A stream of which this many were sent and answered for.
    fn scene(qos: u8, count: u32) -> Scene {
        let mut ledger = Ledger::default();
        let stream = ledger.stream("load/a", qos);
        let taker = ledger.taker("taker", "load/", 2, Kind::Session);
        for number in 0..count {
            ledger.send(stream);
            ledger.acknowledged(stream, number);
        }
        Scene { ledger, stream, taker }
    }

    impl Scene {
        fn arrive(&mut self, numbers: &[u32]) -> Vec<Fault> {
            for number in numbers {
                let payload = self.ledger.payload(self.stream, *number);
                self.ledger.arrived(self.taker, "load/a", &payload);
            }
            self.ledger.faults()
        }
    }

    #[test]
    fn all_that_was_sent_in_its_order_is_right() {
        for qos in [1, 2] {
            assert_eq!(scene(qos, 3).arrive(&[0, 1, 2]), []);
        }
        assert_eq!(scene(1, 3).arrive(&[0, 1, 0, 1, 2]), [], "at least once");
    }

    #[test]
    fn a_message_that_did_not_come_is_lost() {
        let mut scene = scene(1, 3);

        let faults = scene.arrive(&[0, 2]);

        assert!(matches!(faults[..], [Fault::Lost { number: 1, .. }]), "{faults:?}");
    }

    #[test]
    fn a_second_copy_of_qos_2_is_seen() {
        let mut scene = scene(2, 2);

        let faults = scene.arrive(&[0, 1, 0]);

        assert!(matches!(faults[..], [Fault::Twice { number: 0, times: 2, .. }]), "{faults:?}");
    }

    #[test]
    fn a_first_arrival_after_a_later_one_is_out_of_order() {
        let mut scene = scene(1, 3);

        let faults = scene.arrive(&[0, 2, 1]);

        let is_seen = matches!(faults[..], [Fault::OutOfOrder { number: 1, after: 2, .. }]);
        assert!(is_seen, "{faults:?}");
    }

    #[test]
    fn what_was_never_sent_and_what_was_damaged_is_seen() {
        let mut scene = scene(1, 1);
        scene.arrive(&[0]);
        let mut damaged = scene.ledger.payload(scene.stream, 0);
        damaged[100] ^= 1;

        scene.ledger.arrived(scene.taker, "load/a", &damaged);
        scene.ledger.arrived(scene.taker, "load/b", b"0 load/b");

        assert_eq!(scene.ledger.faults().len(), 2);
    }

    #[test]
    fn what_was_refused_may_come_or_not_but_qos_2_never_twice() {
        for (numbers, faults) in [(&[0][..], 0), (&[0, 1], 0), (&[0, 1, 1], 1)] {
            let mut scene = scene(2, 2);
            scene.ledger.refused(scene.stream, 1);

            assert_eq!(scene.arrive(numbers).len(), faults);
        }
    }

    #[test]
    fn a_taker_is_finished_with_the_last_of_each_stream() {
        let mut scene = scene(1, 3);
        scene.arrive(&[0, 1]);
        assert_eq!(scene.ledger.unfinished(scene.taker), ["load/a"]);

        scene.arrive(&[2]);

        assert!(scene.ledger.unfinished(scene.taker).is_empty());
    }

    #[test]
    fn retained_is_the_last_answered_for_or_a_later_one() {
        // Of 22 0 to 19 are answered for, and 19 removes what is retained.
        let found = |found: Option<u32>| {
            let mut ledger = Ledger::default();
            let stream = ledger.retained_stream("kept/a", 1);
            (0..22).for_each(|_| drop(ledger.send(stream)));
            (0..20).for_each(|number| ledger.acknowledged(stream, number));
            let payload = found.map(|number| ledger.payload(stream, number));
            ledger.found_retained(stream, payload.as_deref());
            ledger.faults().len()
        };

        assert_eq!([None, Some(20), Some(21)].map(found), [0, 0, 0]);
        assert_eq!([Some(18), Some(0)].map(found), [1, 1], "older than the last answered for");
    }

    #[test]
    fn a_retained_message_that_is_gone_is_seen() {
        let mut ledger = Ledger::default();
        let stream = ledger.retained_stream("kept/a", 1);
        ledger.send(stream);
        ledger.acknowledged(stream, 0);

        ledger.found_retained(stream, None);

        assert_eq!(ledger.faults().len(), 1);
    }
}
