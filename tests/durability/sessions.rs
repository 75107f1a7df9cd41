//! A client that changes its Subscriptions all the time, and one that ended its Session.

use std::net::SocketAddr;

use crate::connect::Connect;
use crate::ledger::Fault;
use crate::link::{Gone, Link};
use crate::random::Random;
use crate::shared::{Shared, within};
use crate::wire::{Message, Packet, Properties, Version, acknowledge, packet, publish, text};

const FILTERS: usize = 6;

/// What the broker answered for last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Subscribed,
    Unsubscribed,
    /// A SUBSCRIBE or UNSUBSCRIBE was not answered.
    Open,
}

/// Subscribes and unsubscribes, one packet at a time.
#[derive(Debug)]
pub(crate) struct Fickle {
    connect: Connect,
    standing: [Standing; FILTERS],
    promised: bool,
    random: Random,
    round: u32,
}

impl Fickle {
    pub(crate) fn new(random: Random) -> Self {
        let connect = Connect::lasting(Version::V5, "fickle");
        let standing = [Standing::Unsubscribed; FILTERS];
        Self { connect, standing, promised: false, random, round: 0 }
    }

    /// Until the connection is over.
    pub(crate) async fn run(&mut self, address: SocketAddr, shared: &Shared) -> Result<(), Gone> {
        let mut link = Link::open(address, &self.connect).await?;
        shared.resumed("fickle", self.promised, link.session_present);
        loop {
            let at = self.random.index(FILTERS);
            let before = std::mem::replace(&mut self.standing[at], Standing::Open);
            let wanted = match before {
                Standing::Subscribed => Standing::Unsubscribed,
                Standing::Unsubscribed => Standing::Subscribed,
                Standing::Open => self.random.pick(&[Standing::Subscribed, Standing::Unsubscribed]),
            };
            let code = match wanted {
                Standing::Subscribed => subscribe(&mut link, &filter(at)).await?,
                Standing::Unsubscribed | Standing::Open => {
                    unsubscribe(&mut link, &filter(at)).await?
                }
            };
            if code >= 0x80 {
                // What was refused is as it was.
                self.standing[at] = before;
                return Err(Gone::Dismissed(code));
            }
            self.standing[at] = wanted;
            self.promised = true;
        }
    }

    /// Whether it is subscribed to what it was told to be, and to nothing else.
    pub(crate) async fn check(&mut self, address: SocketAddr, shared: &Shared) -> Result<(), Gone> {
        self.round += 1;
        let mut link = Link::open(address, &self.connect).await?;
        shared.resumed("fickle", self.promised, link.session_present);
        assert_eq!(subscribe(&mut link, "fickle/end").await?, 1);
        self.promised = true;
        let probes = (0..FILTERS).map(filter).chain(["fickle/end".to_owned()]);
        for (topic, id) in probes.zip(1..) {
            let payload = self.round.to_string();
            let (properties, payload) = (Properties::default(), payload.as_bytes());
            link.send(&publish(Version::V5, 0x32, &topic, id, &properties, payload));
        }
        let mut found = [false; FILTERS];
        loop {
            match link.packet().await? {
                Packet::Publish(Message { topic, payload, packet_id, .. }) => {
                    link.send(&acknowledge(0x40, packet_id));
                    if payload != self.round.to_string().as_bytes() {
                        continue;
                    }
                    let Some(at) = (0..FILTERS).find(|at| filter(*at) == topic) else { break };
                    found[at] = true;
                }
                Packet::PubAck { .. } => {}
                other => panic!("fickle got {other:?}"),
            }
        }
        for (at, (found, standing)) in found.into_iter().zip(self.standing).enumerate() {
            let wanted = standing == Standing::Subscribed;
            if found != wanted && standing != Standing::Open {
                let (client, filter) = ("fickle".to_owned(), filter(at));
                shared.ledger().fault(Fault::Subscription { client, filter, wanted });
            }
        }
        link.leave().await;
        Ok(())
    }
}

/// Begins a Session and ends it by a clean one: the CONNACK promises that it is over.
pub(crate) async fn end_a_session(address: SocketAddr) {
    let lasting = Connect::lasting(Version::V5, "ended");
    let mut link = Link::open(address, &lasting).await.expect("a connection");
    assert_eq!(within("a SUBACK", subscribe(&mut link, "ended")).await, Ok(1));
    link.leave().await;
    let clean = Connect::new(Version::V5, "ended");
    let link = Link::open(address, &clean).await.expect("a connection");
    link.reset();
}

/// Whether what ended stayed so.
pub(crate) async fn check_ended(address: SocketAddr, shared: &Shared) {
    let lasting = Connect::lasting(Version::V5, "ended");
    let link = Link::open(address, &lasting).await.expect("a connection");
    if link.session_present {
        shared.ledger().fault(Fault::SessionBack { client: "ended".to_owned() });
    }
    link.leave().await;
}

fn filter(at: usize) -> String {
    format!("fickle/{at}")
}

/// The Reason Code of the SUBACK.
async fn subscribe(link: &mut Link, filter: &str) -> Result<u8, Gone> {
    let body = [&[0, 9], &Properties::default().encode()[..], &text(filter), &[1]].concat();
    link.send(&packet(0x82, &body));
    match answer(link).await? {
        Packet::SubAck { codes, .. } => Ok(codes[0]),
        other => panic!("waiting for a SUBACK: {other:?}"),
    }
}

/// The Reason Code of the UNSUBACK.
async fn unsubscribe(link: &mut Link, filter: &str) -> Result<u8, Gone> {
    let body = [&[0, 9], &Properties::default().encode()[..], &text(filter)].concat();
    link.send(&packet(0xA2, &body));
    match answer(link).await? {
        Packet::UnsubAck { codes, .. } => Ok(codes[0]),
        other => panic!("waiting for an UNSUBACK: {other:?}"),
    }
}

/// The next packet that is no message of a round before.
async fn answer(link: &mut Link) -> Result<Packet, Gone> {
    loop {
        match link.packet().await? {
            Packet::Publish(message) => link.send(&acknowledge(0x40, message.packet_id)),
            packet => return Ok(packet),
        }
    }
}
