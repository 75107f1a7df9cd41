//! Enhanced authentication (5.0 s4.12): pieces of packets, time, and what the log says of it. What
//! the standard says is in `tests/conformance`.

use crate::support::{
    Broker, Client, Connect, End, Packet, Value, Version, join,
    scram::{
        LISTENER, METHOD, OTHER, Scram, USER, User, admitted, auth, challenge, connect, failures,
        login, prove,
    },
    wire::{AUTHENTICATION_DATA, AUTHENTICATION_METHOD, REASON_STRING},
};

const NOBODY: User = User { name: "nobody", password: "pencil" };
const FORGETFUL: User = User { name: "user", password: "pen" };

fn guarded() -> Broker {
    Broker::start_with(LISTENER)
}

/// A client that has said this much.
async fn saying(broker: &Broker, bytes: &[u8]) -> Client {
    let mut client = Client::open(broker.address, Version::V5).await;
    client.send(bytes);
    client
}

fn named(method: &str) -> Connect {
    let method = Value::Text(method.to_owned());
    Connect::new(Version::V5, "client").property(AUTHENTICATION_METHOD, method)
}

/// The refusal that comes next: its code and what it says.
async fn refusal(client: &mut Client) -> (u8, String) {
    match client.packet().await {
        Packet::ConnAck { code, properties, .. } => {
            assert!(properties.all(AUTHENTICATION_DATA).is_empty());
            let Value::Text(text) = properties.all(REASON_STRING)[0] else { panic!("a text") };
            (code, text.clone())
        }
        other => panic!("waiting for a CONNACK: {other:?}"),
    }
}

#[tokio::test]
async fn an_exchange_in_single_bytes_is_understood() {
    let broker = guarded();
    let mut scram = Scram::new(USER);
    let mut client = Client::open(broker.address, Version::V5).await;
    let trickle = async |bytes: &[u8], client: &mut Client| {
        for byte in bytes {
            client.send(&[*byte]);
            client.flush().await;
            tokio::task::yield_now().await;
        }
    };

    trickle(&named(METHOD).encode(), &mut client).await;
    assert_eq!(challenge(&mut client, 0x18).await, None);
    trickle(&auth(0x18, &scram.first()), &mut client).await;
    let first = challenge(&mut client, 0x18).await.expect("a challenge");
    trickle(&auth(0x18, &scram.last(&first)), &mut client).await;

    admitted(&mut client, &scram).await;
}

/// What is sent at once is answered one after the other.
#[tokio::test]
async fn packets_may_come_together() {
    let broker = guarded();
    let mut scram = Scram::new(USER);
    let connect = named(METHOD).encode();
    let first = auth(0x18, &scram.first());
    let mut client = saying(&broker, &[connect, first].concat()).await;

    assert_eq!(challenge(&mut client, 0x18).await, None);
    let challenge = challenge(&mut client, 0x18).await.expect("a challenge");
    let last = auth(0x18, &scram.last(&challenge));
    client.send(&[last, vec![0xC0, 0x00]].concat());

    admitted(&mut client, &scram).await;
    assert_eq!(client.packet().await, Packet::PingResp);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_refused_alike() {
    let broker = guarded();
    let mut told = Vec::new();
    for user in [FORGETFUL, NOBODY] {
        let mut scram = Scram::new(user);
        let mut client = saying(&broker, &connect("client", &scram).encode()).await;
        prove(&mut client, &mut scram).await;

        told.push(refusal(&mut client).await);
        assert_eq!(client.end().await, End::Closed);
    }
    assert_eq!(told, vec![(0x87, "the authentication failed".to_owned()); 2]);
    let lines = failures(&broker, 2).await;
    for field in ["INFO", "listener=\"guarded\"", "peer=127.0.0.1:", "client_id=\"client\""] {
        assert!(lines.iter().all(|line| line.contains(field)), "{field}: {lines:?}");
    }
    assert!(lines[0].contains("username=\"user\" cause=the password is wrong"), "{lines:?}");
    assert!(lines[1].contains("username=\"nobody\" cause=there is no such user"), "{lines:?}");
    assert!(!broker.log.lock().unwrap().contains("pencil"));
}

#[tokio::test]
async fn an_unknown_user_gets_the_same_challenge_each_time() {
    let broker = guarded();
    let mut salts = Vec::new();
    for _ in 0..2 {
        let connect = connect("client", &Scram::new(NOBODY)).encode();
        let mut client = saying(&broker, &connect).await;
        let challenge = challenge(&mut client, 0x18).await.expect("a challenge");
        let text = String::from_utf8(challenge).expect("text");
        salts.push(text.split_once(',').expect("a nonce first").1.to_owned());
    }
    assert_eq!(salts[0], salts[1]);
    assert!(salts[0].ends_with(",i=4096"), "{}", salts[0]);
}

#[tokio::test]
async fn a_client_cannot_forge_a_line_of_the_log() {
    let broker =
        Broker::start_with(&LISTENER.replace("[[listener]]", "[[listener]]\nanonymous = true"));
    let forged = "x\nforged\u{1b}[31m";

    let mut stranger = saying(&broker, &named(forged).encode()).await;
    assert_eq!(stranger.end().await, End::Refused(0x8C));
    let mut client = join(broker.address, Version::V5, forged).await;
    client.send(&auth(0x19, b""));
    assert_eq!(client.end().await, End::Disconnect(0x82));
    let connect = connect(forged, &Scram::new(USER)).encode();
    let mut forgetful = saying(&broker, &connect).await;
    challenge(&mut forgetful, 0x18).await;
    forgetful.send(&auth(0x18, b"x"));
    assert_eq!(forgetful.end().await, End::Refused(0x87));

    failures(&broker, 1).await;
    let log = broker.log.lock().unwrap();
    assert_eq!(log.matches("forged").count(), 3, "{log}");
    assert!(!log.contains('\u{1b}') && log.lines().all(|it| !it.starts_with("forged")), "{log}");
}

#[tokio::test]
async fn a_long_method_does_not_fill_the_log() {
    let broker = guarded();
    let mut client = saying(&broker, &named(&"m".repeat(60_000)).encode()).await;

    let (code, text) = refusal(&mut client).await;

    assert_eq!(code, 0x8C);
    assert!(text.len() < 200, "{}", text.len());
}

#[tokio::test]
async fn an_exchange_has_the_time_of_a_connect() {
    let broker = Broker::start_with(&format!("limits.connect_timeout = \"300ms\"\n{LISTENER}"));
    let mut silent = saying(&broker, &connect("client", &Scram::new(USER)).encode()).await;
    challenge(&mut silent, 0x18).await;

    assert_eq!(refusal(&mut silent).await.0, 0x87);
    assert_eq!(silent.end().await, End::Closed);
}

/// What is refused leaves no Session behind, and takes none over.
#[tokio::test]
async fn a_session_begins_and_changes_hands_only_after_the_proof() {
    let broker = guarded();
    let lasting = || Connect::lasting(Version::V5, "client");
    let mut owner = login(broker.address, lasting(), USER).await;
    let mut scram = Scram::new(FORGETFUL);
    let mut thief = saying(&broker, &connect("client", &scram).encode()).await;
    prove(&mut thief, &mut scram).await;
    assert_eq!(thief.end().await, End::Refused(0x87));

    owner.ping().await;
    drop(owner);
    let again = login(broker.address, lasting(), USER).await;
    assert!(again.session_present);
}

/// Begins again as this user, up to the last message.
async fn answer(client: &mut Client, user: User) -> (Scram, Vec<u8>) {
    let mut scram = Scram::new(user);
    client.send(&auth(0x19, &scram.first()));
    let challenge = challenge(client, 0x18).await.expect("a challenge");
    let last = auth(0x18, &scram.last(&challenge));
    (scram, last)
}

/// [MQTT-4.12.1-2]
#[tokio::test]
async fn who_fails_to_prove_itself_again_is_disconnected_and_logged() {
    let broker = guarded();
    // Another user is refused even with its own password.
    for user in [FORGETFUL, NOBODY, OTHER] {
        let connect = Connect::new(Version::V5, "client");
        let mut client = login(broker.address, connect, USER).await;
        let (_, last) = answer(&mut client, user).await;
        client.send(&last);

        assert_eq!(client.end().await, End::Disconnect(0x87), "{user:?}");
    }
    let lines = failures(&broker, 3).await;
    let words = ["\"user\" cause=the password", "\"nobody\" cause=there", "\"other\" cause=the"];
    for (line, words) in lines.iter().zip(words) {
        assert!(line.contains(words), "{words}: {line}");
    }
}
