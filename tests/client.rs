//! The client against a server of raw bytes: what it says, what it answers, what it refuses.

// Helpers of an integration test are test code too, but the lints see only `#[test]` functions.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed test is a panic"
)]

use std::time::Duration;

use dunlin::client::{
    ClientError, Connection, Event, Options, Outgoing, ProtocolVersion, QoS, ReadBuffer,
    ReasonCode, Target, Template,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// It bounds a failure and paces nothing.
const PATIENCE: Duration = Duration::from_secs(20);

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
/// Success and Receive Maximum 2.
const CONNACK_V5: [u8; 8] = [0x20, 6, 0, 0, 3, 0x21, 0, 2];

const OPTIONS: Options<'_> = Options {
    version: ProtocolVersion::V311,
    client_id: "c",
    clean_start: true,
    session_expiry: 0,
    packet_bytes_max: 1_000_000,
};
const OPTIONS_V5: Options<'_> = Options { version: ProtocolVersion::V5, ..OPTIONS };

/// A client and its server, which has already said what it says first.
async fn connected(options: &Options<'_>, first: &[u8]) -> (Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target { address: listener.local_addr().unwrap(), source: None };
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = if options.version.is_v5() { 1 + 1 + 10 + 6 + 3 } else { 1 + 1 + 10 + 3 };
        read(&mut stream, length).await;
        stream.write_all(first).await.unwrap();
        stream
    };
    let buffer = ReadBuffer::new();
    let opened = Connection::open(target, options, &buffer);
    let (opened, server) = timeout(PATIENCE, async { tokio::join!(opened, server) }).await.unwrap();
    (opened.unwrap().0, server)
}

async fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

/// Turns until something has come; what it was.
async fn next(client: &mut Connection) -> Result<Vec<String>, ClientError> {
    let mut found = Vec::new();
    while found.is_empty() {
        let turn = client.turn(|event| {
            found.push(match event {
                Event::Message(message) => String::from_utf8_lossy(message.payload).into_owned(),
                Event::Published(id, reason) => format!("published {id}: {reason}"),
                Event::Subscribed(id, codes) => format!("subscribed {id}: {}", codes.count()),
                Event::Pong => "pong".to_owned(),
            });
        });
        timeout(PATIENCE, turn).await.unwrap()?;
    }
    Ok(found)
}

fn template(version: ProtocolVersion, qos: QoS) -> Template {
    let outgoing = Outgoing { topic: "t", qos, retain: false, user_properties: &[("n", "v")] };
    Template::new(version, &outgoing, b"xy").unwrap()
}

// [MQTT3-3.2.0-1]
#[tokio::test]
async fn what_follows_the_connack_in_one_segment_is_not_lost() {
    let message = [0x32, 6, 0, 1, b't', 0, 9, b'm'];
    let (mut client, mut server) = connected(&OPTIONS, &[&CONNACK[..], &message].concat()).await;

    assert_eq!(next(&mut client).await.unwrap(), ["m"]);
    // [MQTT3-4.3.2-2]
    assert_eq!(read(&mut server, 4).await, [0x40, 2, 0, 9]);
}

#[tokio::test]
async fn packets_are_read_however_they_are_cut() {
    let (mut client, mut server) = connected(&OPTIONS, &CONNACK).await;
    let message = [0x30, 6, 0, 1, b't', b'o', b'n', b'e'].repeat(3);
    let send = async {
        for byte in message {
            server.write_all(&[byte]).await.unwrap();
            server.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let receive = async {
        let mut found = Vec::new();
        while found.len() < 3 {
            found.extend(next(&mut client).await.unwrap());
        }
        found
    };

    let ((), found) = tokio::join!(send, receive);

    assert_eq!(found, ["one"; 3]);
}

#[tokio::test]
async fn a_packet_longer_than_the_read_buffer_is_put_together() {
    let (mut client, mut server) = connected(&OPTIONS, &CONNACK).await;
    let length = 600_000_u32;
    let mut message = vec![0x30, 0xC0, 0xCF, 0x24, 0, 1, b't'];
    message.resize(4 + usize::try_from(length).unwrap(), b'x');
    let expected = message.len() - 4 - 3;
    let send = async { server.write_all(&message).await.unwrap() };

    let ((), found) = tokio::join!(send, next(&mut client));

    assert_eq!(found.unwrap().iter().map(String::len).sum::<usize>(), expected);
}

// [MQTT3-4.3.3-1] [MQTT3-4.3.3-2]
#[tokio::test]
async fn exchanges_of_qos_2_are_carried_out_in_both_directions() {
    let (mut client, mut server) = connected(&OPTIONS, &CONNACK).await;
    let template = template(ProtocolVersion::V311, QoS::ExactlyOnce);

    client.publish(&template, &[b"x", b"y"]).unwrap();
    client.flush().await.unwrap();
    assert_eq!(read(&mut server, 9).await, [0x34, 7, 0, 1, b't', 0, 1, b'x', b'y']);
    server.write_all(&[0x50, 2, 0, 1]).await.unwrap();
    client.turn(|_| panic!("a PUBREC ends nothing")).await.unwrap();
    assert_eq!(read(&mut server, 4).await, [0x62, 2, 0, 1]);
    server.write_all(&[0x70, 2, 0, 1]).await.unwrap();
    assert_eq!(next(&mut client).await.unwrap(), ["published 1: Success"]);

    server.write_all(&[0x34, 6, 0, 1, b't', 0, 5, b'm']).await.unwrap();
    assert_eq!(next(&mut client).await.unwrap(), ["m"]);
    assert_eq!(read(&mut server, 4).await, [0x50, 2, 0, 5]);
    server.write_all(&[0x62, 2, 0, 5]).await.unwrap();
    client.turn(|_| panic!("a PUBREL brings nothing")).await.unwrap();
    assert_eq!(read(&mut server, 4).await, [0x70, 2, 0, 5]);
}

// [MQTT-3.3.4-7]
#[tokio::test]
async fn no_more_is_published_than_the_server_s_receive_maximum_allows() {
    let (mut client, mut server) = connected(&OPTIONS_V5, &CONNACK_V5).await;
    let template = template(ProtocolVersion::V5, QoS::AtLeastOnce);

    for left in [1, 0] {
        client.publish(&template, &[b"xy"]).unwrap();
        assert_eq!(client.quota(), left);
    }
    assert!(matches!(client.publish(&template, &[b"xy"]), Err(ClientError::Quota)));
    client.flush().await.unwrap();
    // With the User Property that 3.1.1 has no place for.
    let first = [0x32, 15, 0, 1, b't', 0, 1, 7, 0x26, 0, 1, b'n', 0, 1, b'v', b'x', b'y'];
    assert_eq!(read(&mut server, first.len()).await, first);
    // Refused with 0x97, which ends the exchange like a success.
    server.write_all(&[0x40, 3, 0, 1, 0x97]).await.unwrap();

    assert_eq!(next(&mut client).await.unwrap(), ["published 1: Quota exceeded"]);
    assert_eq!(client.quota(), 1);
}

#[tokio::test]
async fn an_answer_to_nothing_ends_the_connection() {
    let (mut client, mut server) = connected(&OPTIONS, &CONNACK).await;

    server.write_all(&[0x40, 2, 0, 7]).await.unwrap();

    assert!(
        matches!(next(&mut client).await, Err(ClientError::UnknownPacketId(id)) if id.value() == 7)
    );
}

#[tokio::test]
async fn the_server_s_reason_to_end_the_connection_is_told() {
    let (mut client, mut server) = connected(&OPTIONS_V5, &CONNACK_V5).await;

    server.write_all(&[0xE0, 1, 0x8B]).await.unwrap();

    let end = next(&mut client).await;
    assert!(matches!(end, Err(ClientError::Dismissed(ReasonCode::ServerShuttingDown))), "{end:?}");
}

#[tokio::test]
async fn a_connection_that_is_closed_and_bytes_that_are_no_packet_are_errors() {
    let (mut client, server) = connected(&OPTIONS, &CONNACK).await;
    drop(server);
    let (mut other, mut server) = connected(&OPTIONS, &CONNACK).await;
    server.write_all(&[0x00, 0]).await.unwrap();

    assert!(matches!(next(&mut client).await, Err(ClientError::Closed)));
    assert!(matches!(next(&mut other).await, Err(ClientError::Malformed(_))));
}
