//! One network connection in the hand of a test.
//!
//! Nothing is answered for the test: it says every packet and expects every packet.

use super::expected::Expected;
use super::said::{
    Codes, Publish, Said, Subscribe, connack, disconnect, pingreq, pingresp, puback, pubcomp,
    pubrec, pubrel, suback,
};
use super::wire::{Message, Packet, Version, decode};

/// What a read brings.
#[derive(Debug)]
pub(crate) enum Incoming {
    Bytes(Vec<u8>),
    /// The broker closed the connection.
    End,
}

/// The client's end of a network connection.
pub(crate) trait Line {
    fn write(&mut self, bytes: &[u8]);

    /// Waits for what comes next. Panics if nothing does.
    fn read(&mut self) -> Incoming;

    /// Breaks off without a word. Returns when the broker has noticed.
    fn cut(&mut self);
}

/// A client that says and expects packets in its version.
pub(crate) struct Client {
    pub(crate) version: Version,
    /// What the packet last read looks like on the wire.
    pub(crate) last_bytes: Vec<u8>,
    line: Box<dyn Line>,
    received: Vec<u8>,
}

impl Client {
    pub(crate) fn new(version: Version, line: Box<dyn Line>) -> Self {
        Self { version, last_bytes: Vec::new(), line, received: Vec::new() }
    }

    #[expect(clippy::needless_pass_by_value, reason = "a chapter reads better without a &")]
    pub(crate) fn send(&mut self, said: impl Said) {
        self.line.write(&said.encode(self.version));
    }

    /// Several packets at once, as one write.
    pub(crate) fn send_all(&mut self, said: &[&dyn Said]) {
        let bytes: Vec<u8> = said.iter().flat_map(|said| said.encode(self.version)).collect();
        self.line.write(&bytes);
    }

    /// The next packet is this one.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a chapter reads better without a &")]
    pub(crate) fn expect(&mut self, expected: impl Expected) {
        let packet = self.next();
        assert!(
            expected.is(&packet, self.version),
            "expected ({:?})\n  {expected:?}\nbut came\n  {packet:?}\n",
            self.version
        );
    }

    /// The next packets are these, in any order.
    #[track_caller]
    pub(crate) fn expect_any_order(&mut self, expected: &[&dyn Expected]) {
        let mut open = expected.to_vec();
        while !open.is_empty() {
            let packet = self.next();
            let found = open.iter().position(|expected| expected.is(&packet, self.version));
            let Some(found) = found else {
                panic!("expected ({:?}) one of\n  {open:?}\nbut came\n  {packet:?}\n", self.version)
            };
            open.remove(found);
        }
    }

    /// The next packet, whatever it is.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Packet {
        self.next_or_end().expect("a packet, but the broker closed the connection")
    }

    /// The next packet, which is a PUBLISH.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Message {
        match self.next() {
            Packet::Publish(message) => message,
            other => panic!("expected a PUBLISH but came\n  {other:?}\n"),
        }
    }

    /// The next packet, or nothing if the broker closes the connection.
    #[track_caller]
    pub(crate) fn next_or_end(&mut self) -> Option<Packet> {
        loop {
            if let Some((packet, length)) = decode(&self.received, self.version) {
                self.last_bytes = self.received.drain(..length).collect();
                return Some(packet);
            }
            match self.line.read() {
                Incoming::Bytes(bytes) => self.received.extend(bytes),
                Incoming::End => {
                    assert!(self.received.is_empty(), "ended in a packet: {:?}", self.received);
                    return None;
                }
            }
        }
    }

    /// Nothing has come that was not expected: the answer to a PINGREQ comes next. What others
    /// said before has been carried out if they waited for its acknowledgement or for [`Self::sync`].
    #[track_caller]
    pub(crate) fn expect_nothing(&mut self) {
        self.send(pingreq());
        self.expect(pingresp());
    }

    /// All that this client said has been carried out.
    #[track_caller]
    pub(crate) fn sync(&mut self) {
        self.expect_nothing();
    }

    /// The broker closes the connection: in 5.0 after a DISCONNECT with this Reason Code, before
    /// without a word.
    #[track_caller]
    pub(crate) fn ends(&mut self, code: u8) {
        if self.version == Version::V5 {
            self.expect(disconnect().code(code));
        }
        self.closes();
    }

    /// The broker closes the connection after a CONNACK with this code.
    #[track_caller]
    pub(crate) fn refused(&mut self, code: u8) {
        self.expect(connack().code(code));
        self.closes();
    }

    /// The broker takes no such CONNECT: in 5.0 it says so by a CONNACK with this Reason Code,
    /// before it closes without a word.
    #[track_caller]
    pub(crate) fn rejected(&mut self, code: u8) {
        if self.version == Version::V5 {
            self.expect(connack().code(code));
        }
        self.closes();
    }

    /// The broker closes the connection without another word.
    #[track_caller]
    pub(crate) fn closes(&mut self) {
        if let Some(packet) = self.next_or_end() {
            panic!("expected the end of the connection but came\n  {packet:?}\n");
        }
    }

    /// All that comes until the broker closes the connection.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<Packet> {
        std::iter::from_fn(|| self.next_or_end()).collect()
    }

    /// Breaks off without a DISCONNECT.
    pub(crate) fn cut(mut self) {
        self.line.cut();
    }

    /// Says DISCONNECT; the broker closes.
    #[track_caller]
    pub(crate) fn leave(mut self) {
        self.send(disconnect());
        self.closes();
    }

    /// Subscribes, and each filter is granted the QoS it asks for.
    #[track_caller]
    pub(crate) fn subscribed(&mut self, subscribe: Subscribe) {
        let granted = subscribe.granted();
        self.send(subscribe);
        self.expect(granted);
    }

    /// Publishes and goes through the whole handshake of the message's QoS, with nothing in between.
    #[track_caller]
    pub(crate) fn published(&mut self, publish: Publish) {
        let (qos, id) = (publish.qos, publish.id.unwrap_or(1));
        self.send(publish);
        match qos {
            0 => self.sync(),
            1 => self.expect(puback(id)),
            _ => {
                self.expect(pubrec(id));
                self.send(pubrel(id));
                self.expect(pubcomp(id));
            }
        }
    }

    /// The next packet is this message; acknowledges it to the end.
    #[track_caller]
    pub(crate) fn takes(&mut self, publish: Publish) {
        self.expect(publish);
        let Some((Packet::Publish(message), _)) = decode(&self.last_bytes, self.version) else {
            panic!("it was a PUBLISH");
        };
        let id = message.packet_id;
        match message.qos {
            0 => {}
            1 => self.send(puback(id)),
            _ => {
                self.send(pubrec(id));
                self.expect(pubrel(id));
                self.send(pubcomp(id));
            }
        }
    }
}

impl Subscribe {
    fn granted(&self) -> Codes {
        let codes: Vec<u8> = self.filters.iter().map(|(_, options)| options & 3).collect();
        suback(self.id, &codes)
    }
}
