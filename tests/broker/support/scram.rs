//! The client's half of SCRAM-SHA-256, written from RFC 5802 and not from the broker's half.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use tokio::time::timeout;

use super::{
    broker::{Broker, PATIENCE},
    client::Client,
    connect::Connect,
    wire::{
        AUTHENTICATION_DATA, AUTHENTICATION_METHOD, Packet, Properties, Value, Version, packet,
    },
};

pub(crate) const METHOD: &str = "SCRAM-SHA-256";

/// A user of the configuration below, or nobody.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
}

pub(crate) const USER: User = User { name: "user", password: "pencil" };
pub(crate) const OTHER: User = User { name: "other", password: "another pencil" };

/// A listener with both users, the first by the keys of RFC 7677's example.
pub(crate) const LISTENER: &str = r#"
[[listener]]
name = "guarded"
address = "127.0.0.1:0"

[[listener.credential]]
username = "user"
scram_sha_256 = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

[[listener.credential]]
username = "other"
password = "another pencil"
"#;

/// An exchange from the client's side.
#[derive(Debug)]
pub(crate) struct Scram {
    user: User,
    nonce: &'static str,
    signature: Option<Vec<u8>>,
}

impl Scram {
    pub(crate) fn new(user: User) -> Self {
        Self { user, nonce: "fyko+d2lbbFgONRv9qkxdawL", signature: None }
    }

    fn bare(&self) -> String {
        format!("n={},r={}", self.user.name, self.nonce)
    }

    pub(crate) fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.bare()).into_bytes()
    }

    /// The client-final-message for this server-first-message.
    pub(crate) fn last(&mut self, challenge: &[u8]) -> Vec<u8> {
        let challenge = std::str::from_utf8(challenge).expect("a challenge of text");
        let parts: Vec<&str> = challenge.split(',').collect();
        let [nonce, salt, iterations] = parts[..] else { panic!("three parts: {challenge}") };
        let nonce = nonce.strip_prefix("r=").expect("a nonce");
        assert!(nonce.starts_with(self.nonce) && nonce.len() >= self.nonce.len() + 16, "{nonce}");
        let salt = STANDARD.decode(salt.strip_prefix("s=").expect("a salt")).expect("Base64");
        let iterations = iterations.strip_prefix("i=").expect("iterations").parse();

        let mut salted = [0; 32];
        let password = self.user.password.as_bytes();
        pbkdf2::pbkdf2_hmac::<Sha256>(password, &salt, iterations.expect("a number"), &mut salted);
        let client_key = hmac(&salted, "Client Key");
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{challenge},{without_proof}", self.bare());
        let signature = hmac(&Sha256::digest(&client_key), &signed);
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        self.signature = Some(hmac(&hmac(&salted, "Server Key"), &signed));
        format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes()
    }

    /// Whether the server knows the password too.
    pub(crate) fn assert_server(&self, data: &[u8]) {
        let signature = self.signature.as_ref().expect("a proof was sent before");
        assert_eq!(data, format!("v={}", STANDARD.encode(signature)).as_bytes());
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// A CONNECT that names the method, with the first message of the exchange.
pub(crate) fn connect(client_id: &str, scram: &Scram) -> Connect {
    with_first(Connect::new(Version::V5, client_id), scram)
}

pub(crate) fn with_first(connect: Connect, scram: &Scram) -> Connect {
    connect
        .property(AUTHENTICATION_METHOD, Value::Text(METHOD.to_owned()))
        .property(AUTHENTICATION_DATA, Value::Binary(scram.first()))
}

/// An AUTH with these properties.
pub(crate) fn auth_of(reason: u8, method: &str, data: Option<&[u8]>) -> Vec<u8> {
    let mut properties = Properties(vec![(AUTHENTICATION_METHOD, Value::Text(method.to_owned()))]);
    if let Some(data) = data {
        properties.0.push((AUTHENTICATION_DATA, Value::Binary(data.to_vec())));
    }
    packet(0xF0, &[vec![reason], properties.encode()].concat())
}

pub(crate) fn auth(reason: u8, data: &[u8]) -> Vec<u8> {
    auth_of(reason, METHOD, Some(data))
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
            client.properties = properties;
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
