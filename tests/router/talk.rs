//! Clients that send packets: what a connection's task does with them, without its socket.

use dunlin::auth::Authenticator;
use dunlin::change::CommitNumber;
use dunlin::config::Config;
use dunlin::packet::{
    Connect, ConnectProperties, Delivery, ForwardedProperties, Framing, PacketId, ProtocolVersion,
    PubAck, PubComp, PubRec, PubRel, Publish, PublishProperties, QoS, ReasonCode, SubscriptionIds,
    encode_publish_head, frame,
};
use dunlin::router::{Ending, Leave};
use dunlin::server::{Answers, Dialogue, End, Turn};
use dunlin::session::{Connection, Features, accept};

use crate::support::{Connecting, Peer, World, words};

/// A connection, and what its client says.
pub(crate) struct Talk {
    pub(crate) peer: Peer,
    dialogue: Dialogue,
}

/// A PUBLISH on topic `t`.
pub(crate) fn publish(version: ProtocolVersion, delivery: Delivery, payload: &str) -> Vec<u8> {
    let forwarded = ForwardedProperties::default();
    let publish = Publish {
        delivery,
        retain: false,
        topic: b"t",
        properties: PublishProperties {
            topic_alias: None,
            message_expiry: None,
            subscription_ids: SubscriptionIds::from_slice(&[]),
            forwarded: forwarded.as_view(),
        },
        payload: payload.as_bytes(),
    };
    let mut out = Vec::new();
    encode_publish_head(&publish, version, &mut out);
    out.extend_from_slice(payload.as_bytes());
    out
}

pub(crate) fn at_qos(qos: QoS, id: PacketId, dup: bool) -> Delivery {
    match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
    }
}

pub(crate) fn puback(version: ProtocolVersion, id: PacketId) -> Vec<u8> {
    let mut out = Vec::new();
    PubAck::new(id, ReasonCode::Success).encode(version, &mut out);
    out
}

pub(crate) fn pubrec(version: ProtocolVersion, id: PacketId) -> Vec<u8> {
    let mut out = Vec::new();
    PubRec::new(id, ReasonCode::Success).encode(version, &mut out);
    out
}

pub(crate) fn pubrel(version: ProtocolVersion, id: PacketId) -> Vec<u8> {
    let mut out = Vec::new();
    PubRel::new(id, ReasonCode::Success).encode(version, &mut out);
    out
}

pub(crate) fn pubcomp(version: ProtocolVersion, id: PacketId) -> Vec<u8> {
    let mut out = Vec::new();
    PubComp::new(id, ReasonCode::Success).encode(version, &mut out);
    out
}

/// SUBSCRIBE to one filter at QoS 2, or UNSUBSCRIBE.
fn filters(first: u8, version: ProtocolVersion, id: u8, filter: &str, options: &[u8]) -> Vec<u8> {
    let properties: &[u8] = if version.is_v5() { &[0] } else { &[] };
    let length = u8::try_from(filter.len()).unwrap();
    let body = [&[0, id], properties, &[0, length], filter.as_bytes(), options].concat();
    [&[first, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

pub(crate) fn subscribe(version: ProtocolVersion, id: u8, filter: &str) -> Vec<u8> {
    filters(0x82, version, id, filter, &[2])
}

pub(crate) fn unsubscribe(version: ProtocolVersion, id: u8, filter: &str) -> Vec<u8> {
    filters(0xA2, version, id, filter, &[])
}

pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];

fn connection(world: &World, connecting: &Connecting) -> Connection {
    let connect = Connect {
        version: connecting.version,
        clean_start: connecting.clean_start,
        keep_alive: 0,
        client_id: connecting.client_id,
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    };
    let limits = &world.router.limits().session;
    let assign = || panic!("it has a Client Identifier");
    accept(&connect, limits, &Features::default(), assign, world.now).unwrap().connection
}

impl World {
    /// Connects a client that goes on to talk.
    pub(crate) fn talk(&mut self, connecting: Connecting) -> Talk {
        let connection = connection(self, &connecting);
        let peer = self.connect(connecting);
        let attachment = peer.attachment.clone();
        let dialogue = Dialogue {
            attachment,
            connection,
            replaying: false,
            authentication: None,
            filled_in: None,
        };
        Talk { peer, dialogue }
    }

    /// What came in one read is handled and answered, as a task does it.
    pub(crate) fn say(&mut self, talk: &mut Talk, bytes: &[u8]) -> Result<(), End> {
        let config = Config::default();
        let authenticator = Authenticator::of(&config.listeners[0]).unwrap();
        let mut answers =
            Answers { bytes: Vec::new(), commit: CommitNumber::NONE, acknowledged: false };
        let result = self.each_packet(talk, &authenticator, bytes, &mut answers);
        let (bytes, commit) = (answers.bytes, answers.commit);
        let attachment = &talk.dialogue.attachment;
        self.router.answer(&mut self.courier, attachment, &bytes, commit).ok_or(End::Superseded)?;
        result
    }

    fn each_packet(
        &mut self,
        talk: &mut Talk,
        authenticator: &Authenticator,
        mut rest: &[u8],
        answers: &mut Answers,
    ) -> Result<(), End> {
        while let Framing::Complete(frame) = frame(rest, 1 << 20).unwrap() {
            let packet = frame.decode(talk.peer.version).unwrap();
            let mut turn = Turn {
                dialogue: &mut talk.dialogue,
                router: &self.router,
                authenticator,
                courier: &mut self.courier,
                answers,
            };
            let handled = turn.packet(&packet, &frame, rest)?;
            rest = &rest[handled.bytes..];
        }
        assert!(rest.is_empty());
        Ok(())
    }

    /// Says it, and reads what is answered when the store has kept all.
    pub(crate) fn ask(&mut self, talk: &mut Talk, bytes: &[u8]) -> Vec<String> {
        self.say(talk, bytes).unwrap();
        self.journal.keep_all();
        self.release(&talk.peer);
        talk.peer.read()
    }

    /// The connection ends like this: what its client still reads.
    pub(crate) fn end(&mut self, talk: &Talk, end: &End) -> Vec<String> {
        let (ending, goodbye): (Ending, _) = end.ending(&talk.dialogue.connection);
        let leave = self.router.leave(&mut self.courier, &talk.peer.attachment, ending, &goodbye);
        let Leave::Left(mut leaving) = leave else { panic!("not left: {leave:?}") };
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = leaving.poll_write(&mut context);
        words(&talk.peer.wire.take(), talk.peer.version)
    }
}
