//! The broker without sockets and threads: its dialogue, its router and its Sessions, whose time a
//! test lets pass.
//!
//! What a client says is carried out at once and to its end, so that a read that finds nothing will
//! never find anything.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::mem;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use dunlin::auth::Authenticator;
use dunlin::change::{CommitNumber, Epoch};
use dunlin::config::Config;
use dunlin::daemon;
use dunlin::metrics::Metrics;
use dunlin::packet::{ClientId, DecodeError, Framing, Identity, frame};
use dunlin::router::{
    Attach, Courier, Flags, Flushing, Leave, Leaving, Router, Signal, Step, Wire,
};
use dunlin::server::{Answers, Dialogue, End, Turn};
use dunlin::session::{self, Accepted, Features, ProtocolError};
use dunlin::storage::Memory;
use dunlin::time::Now;

use super::client::{Incoming, Line};

/// How far the clock goes at once. The broker itself looks no more often.
const TICK: Duration = Duration::from_millis(100);

/// A broker in this thread.
#[derive(Clone, Debug)]
pub(crate) struct Clockwork(Rc<RefCell<Broker>>);

#[derive(Debug)]
struct Broker {
    router: Arc<Router>,
    courier: Courier,
    flushing: Flushing,
    features: Features,
    authenticator: Authenticator,
    connect_bytes_max: usize,
    began: Instant,
    elapsed: Duration,
    connections: Vec<Connection>,
    assigned: u64,
}

#[derive(Debug)]
struct Connection {
    wire: Arc<Tube>,
    signal: Arc<Signal>,
    input: Vec<u8>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Nothing but a CONNECT may come.
    Opened,
    Connected(Box<Dialogue>),
    Closed,
}

impl Clockwork {
    pub(crate) fn new(config: &Config) -> Self {
        let limits = daemon::router_limits(config);
        let listener = config.listeners.first().expect("a listener");
        let metrics = Arc::new(Metrics::new(1));
        let began = Instant::now();
        let now = Now { monotonic: began, wall: SystemTime::now() };
        let courier = Courier::new(metrics.worker(0), now);
        let router = Arc::new(Router::new(limits, Arc::new(Memory), metrics));
        Self(Rc::new(RefCell::new(Broker {
            router,
            courier,
            flushing: Flushing::default(),
            features: daemon::features(&listener.features),
            authenticator: Authenticator::of(listener).expect("random numbers"),
            connect_bytes_max: config.limits.connect_bytes_max,
            began,
            elapsed: Duration::ZERO,
            connections: Vec::new(),
            assigned: 0,
        })))
    }

    pub(crate) fn open(&self) -> Thread {
        let mut broker = self.0.borrow_mut();
        broker.connections.push(Connection {
            wire: Arc::default(),
            signal: Arc::default(),
            input: Vec::new(),
            stage: Stage::Opened,
        });
        Thread { broker: self.clone(), at: broker.connections.len() - 1 }
    }

    /// Lets time pass and what it brings happen.
    pub(crate) fn pass(&self, duration: Duration) {
        let mut broker = self.0.borrow_mut();
        let until = broker.elapsed + duration;
        while broker.elapsed < until {
            broker.elapsed = until.min(broker.elapsed + TICK);
            broker.tick();
        }
    }
}

/// One connection to a broker in this thread.
#[derive(Debug)]
pub(crate) struct Thread {
    broker: Clockwork,
    at: usize,
}

impl Line for Thread {
    fn write(&mut self, bytes: &[u8]) {
        let mut broker = self.broker.0.borrow_mut();
        broker.connections[self.at].input.extend(bytes);
        broker.run();
    }

    fn read(&mut self) -> Incoming {
        let broker = self.broker.0.borrow();
        let mut tube = broker.connections[self.at].wire.0.lock().unwrap();
        if !tube.bytes.is_empty() {
            return Incoming::Bytes(mem::take(&mut tube.bytes));
        }
        assert!(tube.shut, "nothing came from the broker, and nothing will");
        Incoming::End
    }

    fn cut(&mut self) {
        self.broker.0.borrow_mut().end(self.at, &End::Closed);
        self.broker.0.borrow_mut().run();
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // After a failed test the rooms would take its panic for one of theirs.
        if !thread::panicking() {
            self.cut();
        }
    }
}

impl Broker {
    fn begin_turn(&mut self) {
        let monotonic = self.began + self.elapsed;
        self.courier.begin_turn(Now { monotonic, wall: SystemTime::UNIX_EPOCH + self.elapsed });
    }

    fn tick(&mut self) {
        let now = self.began + self.elapsed;
        for at in 0..self.connections.len() {
            let Stage::Connected(dialogue) = &self.connections[at].stage else { continue };
            if dialogue.connection.keep_alive.deadline().is_some_and(|deadline| deadline <= now) {
                self.end(at, &ProtocolError::KeepAlive.into());
            }
        }
        self.begin_turn();
        self.router.run_schedule(&mut self.courier);
        self.run();
    }

    /// Carries out all that was said, and all that follows from it.
    fn run(&mut self) {
        let mut busy = true;
        while mem::take(&mut busy) {
            for at in 0..self.connections.len() {
                busy |= self.poll(at);
            }
            self.begin_turn();
            let before = self.written();
            while self.router.flush_dirty(&mut self.courier, &mut self.flushing, Waker::noop()) {}
            busy |= self.written() > before;
        }
    }

    /// How many bytes the clients have not read.
    fn written(&self) -> usize {
        self.connections
            .iter()
            .map(|connection| connection.wire.0.lock().unwrap().bytes.len())
            .sum()
    }

    /// One turn of a connection. Whether anything was done.
    fn poll(&mut self, at: usize) -> bool {
        self.begin_turn();
        let connection = &mut self.connections[at];
        connection.signal.register(Waker::noop());
        let flags = connection.signal.take();
        let stage = mem::replace(&mut connection.stage, Stage::Closed);
        let input = mem::take(&mut connection.input);
        match stage {
            Stage::Closed => false,
            Stage::Opened => self.handshake(at, &input),
            Stage::Connected(mut dialogue) => {
                let turned = if flags.has(Flags::SUPERSEDED) {
                    Err(End::Superseded)
                } else {
                    self.packets(at, &mut dialogue, &input)
                };
                let mut busy = !matches!(turned, Ok(0));
                if dialogue.replaying {
                    let step = self.router.replay(&mut self.courier, &dialogue.attachment);
                    dialogue.replaying = step != Step::Done;
                    // One that waits goes on when something else has happened.
                    busy |= step == Step::More;
                }
                self.connections[at].stage = Stage::Connected(dialogue);
                if let Err(end) = turned {
                    self.end(at, &end);
                }
                busy
            }
        }
    }

    /// Takes a CONNECT if it is whole. Whether it was.
    fn handshake(&mut self, at: usize, input: &[u8]) -> bool {
        let frame = match frame(input, self.connect_bytes_max) {
            Ok(Framing::Complete(frame)) => frame,
            Ok(Framing::Incomplete { .. }) => {
                self.connections[at].input = input.to_vec();
                self.connections[at].stage = Stage::Opened;
                return false;
            }
            Err(error) => return self.refuse_unread(at, input, error),
        };
        let connect = match frame.decode_connect() {
            Ok(connect) => connect,
            Err(error) => return self.refuse_unread(at, input, error),
        };
        assert!(
            connect.properties.authentication_method.is_none(),
            "enhanced authentication takes the real broker"
        );
        let limits = self.router.limits().session.clone();
        let now = self.began + self.elapsed;
        self.assigned += 1;
        let assign = || ClientId::new(&format!("assigned-{}", self.assigned)).expect("short");
        let accepted = self
            .features
            .check_version(connect.version, "clockwork")
            .and_then(|()| session::accept(&connect, &limits, &self.features, assign, now))
            .and_then(|mut accepted| accepted.prove(None, &limits).map(|()| accepted));
        match accepted {
            Ok(accepted) => {
                self.attach(at, accepted);
                self.connections[at].input = input[frame.length..].to_vec();
            }
            Err(error) => {
                let mut answer = Vec::new();
                let maximum = session::maximum_packet_size(&connect);
                session::refused(connect.version, maximum, &error, &mut answer);
                self.close(at, answer);
            }
        }
        true
    }

    fn refuse_unread(&self, at: usize, input: &[u8], error: DecodeError) -> bool {
        let mut answer = Vec::new();
        session::refused_unread(input, error, &mut answer);
        self.close(at, answer);
        true
    }

    fn close(&self, at: usize, answer: Vec<u8>) {
        let wire = &self.connections[at].wire;
        write_rest(Leaving::new_connection(answer, Arc::clone(wire) as Arc<dyn Wire>));
        wire.shutdown();
    }

    fn attach(&mut self, at: usize, accepted: Accepted) {
        let connection = &mut self.connections[at];
        let Accepted { client_id, clean_start, expiry, terms, will, server_side, .. } = accepted;
        let attach = Attach {
            client_id,
            identity: Identity::Anonymous,
            epoch: Epoch(self.assigned),
            clean_start,
            expiry,
            terms,
            will,
            wire: Arc::clone(&connection.wire) as Arc<dyn Wire>,
            signal: Arc::clone(&connection.signal),
        };
        let limits = &self.router.limits().session;
        let attached = self.router.attach(&mut self.courier, attach, |session_present, out| {
            session::accepted(terms.version, session_present, &server_side, limits, out);
        });
        let attached = attached.expect("everybody is anonymous");
        connection.stage = Stage::Connected(Box::new(Dialogue {
            attachment: attached.attachment,
            replaying: attached.replaying && accepted.connection.replays(),
            connection: accepted.connection,
            authentication: None,
            filled_in: None,
        }));
    }

    /// How many packets there were.
    fn packets(&mut self, at: usize, dialogue: &mut Dialogue, input: &[u8]) -> Result<usize, End> {
        let mut answers =
            Answers { bytes: Vec::new(), commit: CommitNumber::NONE, acknowledged: false };
        let mut rest = input;
        let result = self.each_packet(dialogue, &mut rest, &mut answers);
        self.connections[at].input = rest.to_vec();
        if result.as_ref().is_ok_and(|packets| *packets > 0) {
            dialogue.connection.keep_alive.heard(self.courier.now().monotonic);
        }
        let Answers { bytes, commit, acknowledged } = answers;
        if !bytes.is_empty() || acknowledged {
            let attachment = &dialogue.attachment;
            let answered = self.router.answer(&mut self.courier, attachment, &bytes, commit);
            answered.ok_or(End::Superseded)?;
        }
        result
    }

    fn each_packet(
        &mut self,
        dialogue: &mut Dialogue,
        rest: &mut &[u8],
        answers: &mut Answers,
    ) -> Result<usize, End> {
        let mut packets = 0;
        let max = self.router.limits().session.packet_bytes_max;
        while let Framing::Complete(frame) = frame(rest, max)? {
            let packet = frame
                .decode(dialogue.connection.version)
                .map_err(|error| End::undecodable(&frame, error))?;
            let mut turn = Turn {
                dialogue,
                router: &self.router,
                authenticator: &self.authenticator,
                courier: &mut self.courier,
                answers,
            };
            let handled = turn.packet(&packet, &frame, rest)?;
            *rest = &rest[handled.bytes..];
            packets += handled.packets;
        }
        Ok(packets)
    }

    fn end(&mut self, at: usize, end: &End) {
        self.begin_turn();
        let connection = &mut self.connections[at];
        let Stage::Connected(dialogue) = mem::replace(&mut connection.stage, Stage::Closed) else {
            return;
        };
        let (ending, goodbye) = end.ending(&dialogue.connection);
        match self.router.leave(&mut self.courier, &dialogue.attachment, ending, &goodbye) {
            Leave::Busy => panic!("nobody writes in the meantime"),
            Leave::Superseded => {}
            Leave::Left(leaving) => write_rest(leaving),
        }
        connection.wire.shutdown();
    }
}

fn write_rest(mut leaving: Leaving) {
    let written = leaving.poll_write(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(written, Poll::Ready(Ok(()))), "a tube takes everything");
}

/// What the broker has written and the client not read.
#[derive(Debug, Default)]
struct Tube(Mutex<Written>);

#[derive(Debug, Default)]
struct Written {
    bytes: Vec<u8>,
    shut: bool,
}

impl Wire for Tube {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = self.0.lock().unwrap();
        let before = written.bytes.len();
        for slice in slices {
            written.bytes.extend_from_slice(slice);
        }
        Ok(written.bytes.len() - before)
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn shutdown(&self) {
        self.0.lock().unwrap().shut = true;
    }
}
