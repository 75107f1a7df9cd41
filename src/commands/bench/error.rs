//! Why there is no result.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::client::{ClientError, QoS, ReasonCode};

#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("'{name}' is no address of a broker: give HOST, HOST:PORT or [IPv6]:PORT")]
    Name { name: String, source: io::Error },
    #[error("'{name}' has no address")]
    NoAddress { name: String },
    #[error("--sources is for a broker at 127.0.0.1, not at {address}")]
    Sources { address: SocketAddr },
    #[error("cannot connect to {address} (is the broker running there?)")]
    Unreachable { address: SocketAddr, source: io::Error },
    #[error("{client}")]
    Client { client: String, source: ClientError },
    #[error("{client} has got no answer for {} s", waited.as_secs_f64())]
    NoAnswer { client: String, waited: Duration },
    #[error("the broker refused the subscription of {client}: {code} (0x{:02x})", code.value())]
    NotSubscribed { client: String, code: ReasonCode },
    #[error("the broker allows at most QoS {}", qos_max.bits())]
    QoS { qos_max: QoS },
    #[error("the broker retains no messages")]
    NoRetain,
    #[error("the broker has forgotten the session of {client}")]
    NoSession { client: String },
    #[error("the broker refused {count} of {of} messages")]
    Refused { count: u64, of: u64 },
    #[error(
        "{connections} connections need {needed} open files, but this process may have {limit}: \
         raise it with `ulimit -n {needed}`, here and for the broker"
    )]
    OpenFiles { connections: usize, needed: u64, limit: u64 },
    #[error("{streams} sequences of messages are more than the {max} that fit into memory")]
    Streams { streams: usize, max: usize },
    #[error("cannot read what process {id} uses in /proc (is that the broker's id?)")]
    Usage { id: u32, source: io::Error },
    #[error("cannot read what this process uses in /proc")]
    OwnUsage(#[source] io::Error),
    #[error("the machine refuses what a run needs")]
    Machine(#[source] io::Error),
    #[error("--user-properties is for --protocol 5.0")]
    UserProperties,
    #[error("interrupted")]
    Interrupted,
    #[error("the machine has no random numbers")]
    Random,
    #[error("a client's task ended by a bug")]
    Task,
    #[error("the latencies cannot be counted")]
    Histogram,
}
