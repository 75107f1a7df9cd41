//! Why a connection to a server did not come about, or came to an end.

use std::io;
use std::net::SocketAddr;

use crate::packet::{ConnectReturnCode, DecodeError, PacketId, PacketType, ReasonCode};
use crate::topic::TopicNameError;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot connect to {address}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("the server refused the connection: {0} (0x{code:02x})", code = .0.value())]
    Refused(ReasonCode),
    /// The same, by a server of 3.1 or 3.1.1.
    #[error("the server refused the connection: {0} ({code})", code = .0.value())]
    RefusedV3(ConnectReturnCode),
    #[error("the server ended the connection: {0} (0x{code:02x})", code = .0.value())]
    Dismissed(ReasonCode),
    #[error("the server closed the connection")]
    Closed,
    #[error("the connection failed")]
    Broken(#[source] io::Error),
    #[error("the server sent what is no packet")]
    Malformed(#[from] DecodeError),
    #[error("the server sent {0} where it has no place")]
    Unexpected(PacketType),
    #[error("the server answered with Packet Identifier {0}, which is not in use")]
    UnknownPacketId(PacketId),
    #[error("the server lets no further message be unacknowledged")]
    Quota,
    #[error(transparent)]
    Topic(#[from] TopicNameError),
}
