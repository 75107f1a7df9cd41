//! A test's client of the broker that proves itself by SCRAM-SHA-256.

#[path = "../../support/scram.rs"]
mod exchange;

use tokio::time::timeout;

pub(crate) use exchange::{LISTENER, METHOD, OTHER, Scram, USER, User};

use super::{
    broker::{Broker, PATIENCE},
    client::Client,
    connect::Connect,
    wire::{
        AUTHENTICATION_DATA, AUTHENTICATION_METHOD, Packet, Properties, Value, Version, packet,
    },
};

/// A CONNECT that names the method, with the first message of the exchange.
pub(crate) fn connect(client_id: &str, scram: &Scram) -> Connect {
    with_first(Connect::new(Version::V5, client_id), scram)
}

pub(crate) fn with_first(connect: Connect, scram: &Scram) -> Connect {
    connect
        .property(AUTHENTICATION_METHOD, Value::Text(METHOD.to_owned()))
        .property(AUTHENTICATION_DATA, Value::Binary(scram.first()))
}

/// An AUTH of the method.
pub(crate) fn auth(reason: u8, data: &[u8]) -> Vec<u8> {
    let properties = Properties(vec![
        (AUTHENTICATION_METHOD, Value::Text(METHOD.to_owned())),
        (AUTHENTICATION_DATA, Value::Binary(data.to_vec())),
    ]);
    packet(0xF0, &[vec![reason], properties.encode()].concat())
}

/// The data of properties that name the method.
pub(crate) fn data_of(properties: &Properties) -> Option<Vec<u8>> {
    let method = Value::Text(METHOD.to_owned());
    assert_eq!(properties.all(AUTHENTICATION_METHOD), [&method]);
    match properties.all(AUTHENTICATION_DATA)[..] {
        [] => None,
        [Value::Binary(data)] => Some(data.clone()),
        ref other => panic!("one Authentication Data at most: {other:?}"),
    }
}

/// The data of the AUTH that comes next, which has this Reason Code.
pub(crate) async fn challenge(client: &mut Client, reason: u8) -> Option<Vec<u8>> {
    match client.packet().await {
        Packet::Auth { code, properties } if code == reason => data_of(&properties),
        other => panic!("waiting for an AUTH with {reason:#04x}: {other:?}"),
    }
}

/// Takes a client whose CONNECT was sent through its exchange up to the last message.
pub(crate) async fn prove(client: &mut Client, scram: &mut Scram) {
    let challenge = challenge(client, 0x18).await.expect("a challenge");
    client.send(&auth(0x18, &scram.last(&challenge)));
}

/// Waits for the CONNACK that ends an exchange well.
pub(crate) async fn admitted(client: &mut Client, scram: &Scram) {
    match client.packet().await {
        Packet::ConnAck { session_present, code: 0, properties } => {
            scram.assert_server(&data_of(&properties).expect("a signature"));
            client.session_present = session_present;
        }
        other => panic!("waiting for a CONNACK: {other:?}"),
    }
}

/// The lines about failed authentications, once there are so many. A line is written before the
/// client is told, but read from the broker's pipe by a thread of its own.
pub(crate) async fn failures(broker: &Broker, count: usize) -> Vec<String> {
    let written = async {
        loop {
            let log = broker.log.lock().expect("the log").clone();
            let lines = log.lines().filter(|line| line.contains("auth_failed"));
            let lines: Vec<_> = lines.map(str::to_owned).collect();
            if lines.len() >= count {
                return lines;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, written).await.expect("lines about failed authentications")
}

/// A connected client that proved to be this user.
pub(crate) async fn login(address: std::net::SocketAddr, connect: Connect, user: User) -> Client {
    let mut scram = Scram::new(user);
    let mut client = Client::open(address, Version::V5).await;
    client.send(&with_first(connect, &scram).encode());
    prove(&mut client, &mut scram).await;
    admitted(&mut client, &scram).await;
    client
}
