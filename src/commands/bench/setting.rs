//! What all patterns share: the broker, how clients reach it, and how long they wait.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::timeout;

use super::arguments::Common;
use super::error::BenchError;
use super::stamp::{Filler, Stamp};
use super::usage::{Memory, Process, Usage};
use crate::client::{
    ClientError, Connection, Event, Options, Outgoing, ProtocolVersion, QoS, ReadBuffer,
    ReasonCode, Target, Template, Welcome,
};

const DEFAULT_PORT: u16 = 1883;

/// Connections from one address of ours. It has about 28,000 ports, but once half of them are taken
/// the kernel looks long for the next.
const CONNECTIONS_OF_A_SOURCE: usize = 10_000;

/// The last of 127.0.0.1 to 127.0.0.254.
const SOURCES_MAX: usize = 254;

/// Files this process has open beside its connections.
const OTHER_FILES: u64 = 64;

/// Bytes a packet has beside its payload, at most.
const HEAD_BYTES: usize = 64 * 1024;

/// What is appended to a connection before it is written.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Setting {
    pub(super) address: SocketAddr,
    pub(super) version: ProtocolVersion,
    pub(super) timeout: Duration,
    pub(super) filler: Filler,
    /// Random, so that nothing another run left in the broker is taken for this one's.
    pub(super) run: u32,
    sources: usize,
    broker: Option<(u32, Process)>,
    buffer: ReadBuffer,
    start: Instant,
}

/// Whether a Session outlives its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stay {
    Brief,
    Lasting,
}

/// An hour: a run that is broken off leaves no Session for ever.
const LASTING_SECONDS: u32 = 3_600;

/// What a run has used until a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) broker: Option<Usage>,
    pub(super) own: Usage,
}

impl Setting {
    /// Finds the broker and makes room for so many connections.
    pub(super) fn new(
        common: &Common,
        connections: usize,
        payload_bytes: usize,
    ) -> Result<Self, BenchError> {
        let address = resolve(&common.broker)?;
        let is_local = matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let needed = connections.div_ceil(CONNECTIONS_OF_A_SOURCE).clamp(1, SOURCES_MAX);
        let sources = match common.sources {
            Some(count) if count > 1 && !is_local => return Err(BenchError::Sources { address }),
            Some(count) => count,
            None if is_local => needed,
            None => 1,
        };
        raise_open_files(connections)?;
        let mut run = [0; 4];
        getrandom::fill(&mut run).map_err(|_| BenchError::Random)?;
        Ok(Self {
            address,
            version: common.protocol.into(),
            timeout: common.timeout,
            filler: Filler::new(payload_bytes),
            run: u32::from_ne_bytes(run),
            sources,
            broker: common.broker_pid.map(|id| (id, Process::new(id))),
            buffer: ReadBuffer::new(),
            start: Instant::now(),
        })
    }

    /// Nanoseconds since the run began.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// What all topics of this run begin with.
    pub(super) fn topic(&self, rest: &str) -> String {
        format!("dunlin-bench/{:08x}/{rest}", self.run)
    }

    /// For payloads of this run.
    pub(super) fn template(&self, outgoing: &Outgoing<'_>) -> Result<Template, BenchError> {
        self.template_of(outgoing, &self.filler.sample())
    }

    /// For payloads as long as `sample`.
    pub(super) fn template_of(
        &self,
        outgoing: &Outgoing<'_>,
        sample: &[u8],
    ) -> Result<Template, BenchError> {
        let client = || outgoing.topic.to_owned();
        Template::new(self.version, outgoing, sample)
            .map_err(|source| BenchError::Client { client: client(), source })
    }

    /// The stamp of a message that is sent now.
    pub(super) fn stamp(&self, stream: u32, number: u64, sent: u64) -> Stamp {
        Stamp { run: self.run, stream, number, sent }
    }

    /// Connects a client, the `index`-th of those that go by this name.
    pub(super) async fn open(
        &self,
        name: &str,
        index: usize,
        stay: Stay,
    ) -> Result<Client, BenchError> {
        let address = Ipv4Addr::new(127, 0, 0, u8::try_from(index % self.sources + 1).unwrap_or(1));
        let source = (self.sources > 1).then_some(IpAddr::V4(address));
        let target = Target { address: self.address, source };
        let client_id = format!("{:08x}-{name}{index}", self.run);
        let options = Options {
            version: self.version,
            client_id: &client_id,
            clean_start: stay == Stay::Brief,
            session_expiry: if stay == Stay::Lasting { LASTING_SECONDS } else { 0 },
            packet_bytes_max: self.filler.payload_bytes() + HEAD_BYTES,
        };
        let client = format!("{name} {index}");
        match timeout(self.timeout, Connection::open(target, &options, &self.buffer)).await {
            Ok(Ok((connection, welcome))) => {
                Ok(Client { name: client, connection, welcome, timeout: self.timeout })
            }
            Ok(Err(ClientError::Connect { address, source })) => {
                Err(BenchError::Unreachable { address, source })
            }
            Ok(Err(source)) => Err(BenchError::Client { client, source }),
            Err(_) => Err(BenchError::NoAnswer { client, waited: self.timeout }),
        }
    }

    pub(super) fn used(&self) -> Result<Used, BenchError> {
        let failed = |id| move |source| BenchError::Usage { id, source };
        let broker = self.broker.as_ref();
        Ok(Used {
            broker: broker.map(|(id, it)| it.usage().map_err(failed(*id))).transpose()?,
            own: Process::own().usage().map_err(BenchError::OwnUsage)?,
        })
    }

    pub(super) fn broker_memory(&self) -> Result<Option<Memory>, BenchError> {
        let Some((id, broker)) = &self.broker else { return Ok(None) };
        broker.memory().map(Some).map_err(|source| BenchError::Usage { id: *id, source })
    }
}

/// A connected client with its name, for what goes wrong.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) connection: Connection,
    pub(super) welcome: Welcome,
    pub(super) timeout: Duration,
}

impl Client {
    pub(super) fn failed(&self, source: ClientError) -> BenchError {
        BenchError::Client { client: self.name.clone(), source }
    }

    /// Takes turns until `handle` says that what was waited for has come.
    pub(super) async fn wait(
        &mut self,
        mut handle: impl FnMut(Event<'_>) -> bool,
    ) -> Result<(), BenchError> {
        let mut is_done = false;
        while !is_done {
            let turn = self.connection.turn(|event| is_done |= handle(event));
            match timeout(self.timeout, turn).await {
                Ok(turn) => turn.map_err(|source| self.failed(source))?,
                Err(_) => return Err(self.no_answer()),
            }
        }
        Ok(())
    }

    /// Subscribes and waits for the SUBACK, handing what comes meanwhile to `handle`.
    pub(super) async fn subscribe(
        &mut self,
        filters: impl IntoIterator<Item = &str>,
        qos: QoS,
    ) -> Result<(), BenchError> {
        self.connection.subscribe(filters, qos).map_err(|source| self.failed(source))?;
        let mut refused: Option<ReasonCode> = None;
        self.wait(|event| match event {
            Event::Subscribed(_, mut codes) => {
                refused = codes.find(|code| code.is_error());
                true
            }
            Event::Message(_) | Event::Published(..) | Event::Pong => false,
        })
        .await?;
        match refused {
            Some(code) => Err(BenchError::NotSubscribed { client: self.name.clone(), code }),
            None => Ok(()),
        }
    }

    /// Waits until the broker has answered all that was sent before; what it had to send to this
    /// client has come by then too, and goes to `handle`.
    pub(super) async fn settle(
        &mut self,
        mut handle: impl FnMut(Event<'_>),
    ) -> Result<(), BenchError> {
        self.connection.ping();
        self.wait(|event| {
            let is_pong = matches!(event, Event::Pong);
            handle(event);
            is_pong
        })
        .await
    }

    /// Says goodbye. A broker that has closed the connection already has got what it wanted.
    pub(super) async fn leave(&mut self) {
        self.connection.disconnect();
        let _ = timeout(self.timeout, self.connection.flush()).await;
    }

    /// Says goodbye and waits until the broker has heard it and closes the connection, as it should
    /// (5.0 s3.14.4).
    pub(super) async fn leave_and_wait(&mut self) {
        self.connection.disconnect();
        let end = async { while self.connection.turn(|_| {}).await.is_ok() {} };
        let _ = timeout(self.timeout, end).await;
    }

    pub(super) fn no_answer(&self) -> BenchError {
        BenchError::NoAnswer { client: self.name.clone(), waited: self.timeout }
    }

    /// # Errors
    /// If the broker said that it takes no such messages.
    pub(super) fn may_publish(&self, outgoing: &Outgoing<'_>) -> Result<(), BenchError> {
        let qos_max = self.welcome.qos_max;
        if outgoing.qos > qos_max {
            return Err(BenchError::QoS { qos_max });
        }
        if outgoing.retain && !self.welcome.retain_available {
            return Err(BenchError::NoRetain);
        }
        Ok(())
    }
}

fn resolve(name: &str) -> Result<SocketAddr, BenchError> {
    let failed = |source| BenchError::Name { name: name.to_owned(), source };
    let no_address = || BenchError::NoAddress { name: name.to_owned() };
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, DEFAULT_PORT));
    }
    let mut addresses = if name.contains(':') {
        name.to_socket_addrs().map_err(failed)?
    } else {
        (name, DEFAULT_PORT).to_socket_addrs().map_err(failed)?
    };
    addresses.next().ok_or_else(no_address)
}

/// As many open files as the connections need, if the machine lets this process have them.
fn raise_open_files(connections: usize) -> Result<(), BenchError> {
    let needed = connections as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(limit) = limit.maximum.filter(|maximum| *maximum < needed) {
        return Err(BenchError::OpenFiles { connections, needed, limit });
    }
    let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|error| BenchError::Machine(io::Error::from(error)))
}
