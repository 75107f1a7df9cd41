//! Clients with a Will Message: who dies with the broker and stays away, who comes back in time, and
//! who was dead already.

use std::net::SocketAddr;

use crate::connect::{Connect, Will};
use crate::ledger::{Kind, TakerId};
use crate::link::Link;
use crate::shared::{Shared, within};
use crate::subscriber::{Habit, Subscriber};
use crate::wire::{
    Packet, Properties, SESSION_EXPIRY_INTERVAL, Value, Version, WILL_DELAY_INTERVAL, packet, text,
};

const PREFIX: &str = "will/";

#[derive(Debug)]
pub(crate) struct Wills {
    pub(crate) taker: TakerId,
    count: u32,
    returned: bool,
}

/// The connections that are to end with the broker.
#[derive(Debug)]
pub(crate) struct Living(
    #[expect(dead_code, reason = "a connection is there to be open")] [Link; 2],
);

impl Wills {
    /// With the subscriber who takes all Wills.
    pub(crate) fn new(shared: &Shared) -> (Self, Subscriber) {
        let taker = shared.ledger().taker("wills", PREFIX, 2, Kind::Session);
        let filter = ("will/#", 2);
        let subscriber = Subscriber::new(Version::V5, "wills", filter, taker, Habit::Prompt);
        (Self { taker, count: 0, returned: false }, subscriber)
    }

    /// Some clients with Wills; one loses its connection and has its Will sent before this returns.
    pub(crate) async fn live(&mut self, address: SocketAddr, shared: &Shared) -> Living {
        let number = self.count;
        self.count += 1;

        // Its Session ends a second after the broker, wherever that is then, and its Will is due.
        let dying = format!("dying-{number}");
        let will = expected(shared, &dying).property(WILL_DELAY_INTERVAL, Value::Four(3_600));
        let dying = live(address, &with_expiry(&dying, 1).will(will)).await;

        let reset = format!("reset-{number}");
        let will = expected(shared, &reset);
        live(address, &with_expiry(&reset, 3_600).will(will)).await.reset();
        let stream = shared.ledger().stream_of(&format!("{PREFIX}{reset}"));
        let sent = shared.until_arrived(self.taker, stream, 0);
        within("the Will of a client whose connection was reset", sent).await;

        (dying, self.come_back(address, shared).await).into()
    }

    /// The one who is back each time before its Will is due, which must never be sent.
    async fn come_back(&mut self, address: SocketAddr, shared: &Shared) -> Link {
        let will = Will::new("will/returning", "who comes back has no Will").qos(2);
        let returning = live(address, &with_expiry("returning", 3_600).will(will)).await;
        shared.resumed("returning", self.returned, returning.session_present);
        self.returned = true;
        returning
    }

    /// The one who comes back leaves with a DISCONNECT, which drops its Will [MQTT-3.14.4-3].
    pub(crate) async fn leave(&mut self, address: SocketAddr, shared: &Shared) {
        if self.returned {
            self.come_back(address, shared).await.leave().await;
        }
    }
}

impl From<(Link, Link)> for Living {
    fn from((dying, returning): (Link, Link)) -> Self {
        Self([dying, returning])
    }
}

fn with_expiry(client_id: &str, seconds: u32) -> Connect {
    let connect = Connect::new(Version::V5, client_id).no_clean_start();
    connect.property(SESSION_EXPIRY_INTERVAL, Value::Four(seconds))
}

/// A Will that has to come exactly once.
fn expected(shared: &Shared, client: &str) -> Will {
    let topic = format!("{PREFIX}{client}");
    let stream = shared.ledger().stream(&topic, 2);
    let (_, payload) = shared.ledger().send(stream);
    Will::new(&topic, &String::from_utf8(payload).expect("text")).qos(2)
}

/// Connects; its SUBACK says that Session and Will are kept.
async fn live(address: SocketAddr, connect: &Connect) -> Link {
    let mut link = within("a CONNACK", Link::open(address, connect)).await.expect("a connection");
    let body = [&[0, 1], &Properties::default().encode()[..], &text("of/no/interest"), &[1]];
    link.send(&packet(0x82, &body.concat()));
    match within("a SUBACK", link.packet()).await {
        Ok(Packet::SubAck { codes, .. }) => assert_eq!(codes, [1]),
        other => panic!("waiting for a SUBACK: {other:?}"),
    }
    link
}
