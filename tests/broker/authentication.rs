//! Enhanced authentication while a client connects (5.0 s4.12).

use crate::support::{
    BOTH, Broker, Client, Connect, End, Packet, Value, Version, join,
    scram::{
        LISTENER, METHOD, OTHER, Scram, USER, User, admitted, auth, auth_of, challenge, connect,
        failures, login, prove,
    },
    wire::{
        AUTHENTICATION_DATA, AUTHENTICATION_METHOD, MAXIMUM_PACKET_SIZE, Properties, REASON_STRING,
        packet,
    },
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

/// [MQTT-4.12.0-2] [MQTT-4.12.0-5]
#[tokio::test]
async fn who_has_the_password_is_admitted_and_learns_that_the_server_has_it() {
    let broker = guarded();
    for user in [USER, OTHER] {
        let mut client = login(broker.address, Connect::new(Version::V5, user.name), user).await;

        client.ping().await;
    }
}

#[tokio::test]
async fn a_client_may_begin_after_the_server_asked_it_to() {
    let broker = guarded();
    let mut scram = Scram::new(USER);
    let mut client = saying(&broker, &named(METHOD).encode()).await;

    assert_eq!(challenge(&mut client, 0x18).await, None);
    client.send(&auth(0x18, &scram.first()));
    prove(&mut client, &mut scram).await;

    admitted(&mut client, &scram).await;
    client.ping().await;
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
async fn a_message_that_is_none_of_the_method_is_refused() {
    let broker = guarded();
    let wrong: [&[u8]; 5] =
        [b"x", &[0xFF; 8], &[b'n'; 4_000], b"p=tls-unique,,n=user,r=x", b"n,a=other,n=user,r=x"];
    for message in wrong {
        let connect = named(METHOD).property(AUTHENTICATION_DATA, Value::Binary(message.to_vec()));
        let mut client = saying(&broker, &connect.encode()).await;

        assert_eq!(client.end().await, End::Refused(0x87), "{message:?}");
    }
    for last in [&b""[..], b"x", b"c=biws,r=x,p=AAAA"] {
        let connect = connect("client", &Scram::new(USER)).encode();
        let mut client = saying(&broker, &connect).await;
        challenge(&mut client, 0x18).await;
        client.send(&auth(0x18, last));

        assert_eq!(client.end().await, End::Refused(0x87), "{last:?}");
    }
}

/// The server asks once.
#[tokio::test]
async fn who_does_not_begin_is_refused() {
    let broker = guarded();
    let mut client = saying(&broker, &named(METHOD).encode()).await;
    challenge(&mut client, 0x18).await;

    client.send(&auth_of(0x18, METHOD, None));

    assert_eq!(client.end().await, End::Refused(0x87));
}

/// [MQTT-4.12.0-1]: the names of methods differ by case, too.
#[tokio::test]
async fn a_method_that_the_listener_does_not_have_is_refused() {
    let brokers = [Broker::start(), guarded()];
    for (broker, methods) in
        [(&brokers[0], &[METHOD][..]), (&brokers[1], &["scram-sha-256", "SCRAM-SHA-1", ""])]
    {
        for method in methods {
            let mut client = saying(broker, &named(method).encode()).await;

            assert_eq!(client.end().await, End::Refused(0x8C), "{method}");
        }
    }
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

/// [MQTT-4.12.0-3] [MQTT-4.12.0-5] [MQTT-3.1.2-30]
#[tokio::test]
async fn nothing_but_the_answer_may_follow_a_challenge() {
    let broker = guarded();
    let first = Scram::new(USER).first();
    let publish =
        crate::support::wire::publish(Version::V5, 0x30, "t", 0, &Properties::default(), b"x");
    let wrong = [
        auth(0x00, &first),
        auth(0x19, &first),
        vec![0xF0, 0x00],
        packet(0xF0, &[0x18, 0x00]),
        auth_of(0x18, "SCRAM-SHA-1", Some(&first)),
        Connect::new(Version::V5, "client").encode(),
        vec![0xC0, 0x00],
        publish,
        vec![0x82, 0x07, 0x00, 0x01, 0x00, 0x00, 0x01, b'a', 0x00],
    ];
    for packet in wrong {
        let mut client = saying(&broker, &connect("client", &Scram::new(USER)).encode()).await;
        challenge(&mut client, 0x18).await;
        client.send(&packet);

        assert_eq!(client.end().await, End::Refused(0x82), "{packet:?}");
    }
    for malformed in [vec![0xF1, 0x00], packet(0xF0, &[0x17, 0x00]), vec![0x00, 0x00]] {
        let mut client = saying(&broker, &connect("client", &Scram::new(USER)).encode()).await;
        challenge(&mut client, 0x18).await;
        client.send(&malformed);

        let end = client.end().await;
        assert!(matches!(end, End::Refused(0x81 | 0x82)), "{malformed:?}: {end:?}");
    }
}

#[tokio::test]
async fn a_packet_of_an_exchange_is_no_longer_than_a_connect_may_be() {
    let broker = Broker::start_with(&format!("limits.connect_bytes_max = \"1 KiB\"\n{LISTENER}"));
    let mut client = saying(&broker, &named(METHOD).encode()).await;
    challenge(&mut client, 0x18).await;

    client.send(&auth(0x18, &[b'n'; 1_024]));

    assert_eq!(client.end().await, End::Refused(0x95));
}

#[tokio::test]
async fn a_client_may_leave_during_its_exchange() {
    let broker = guarded();
    let mut client = saying(&broker, &connect("client", &Scram::new(USER)).encode()).await;
    challenge(&mut client, 0x18).await;

    client.send(&[0xE0, 0x00]);

    assert_eq!(client.end().await, End::Closed);
}

#[tokio::test]
async fn an_exchange_has_the_time_of_a_connect() {
    let broker = Broker::start_with(&format!("limits.connect_timeout = \"300ms\"\n{LISTENER}"));
    let mut silent = saying(&broker, &connect("client", &Scram::new(USER)).encode()).await;
    challenge(&mut silent, 0x18).await;

    assert_eq!(refusal(&mut silent).await.0, 0x87);
    assert_eq!(silent.end().await, End::Closed);
}

/// A client gets no AUTH that is larger than the packets it takes [MQTT-3.1.2-24].
#[tokio::test]
async fn a_client_that_takes_no_challenge_is_refused() {
    let broker = guarded();
    let connect = connect("client", &Scram::new(USER));
    let connect = connect.property(MAXIMUM_PACKET_SIZE, Value::Four(64));
    let mut client = saying(&broker, &connect.encode()).await;

    assert_eq!(client.end().await, End::Refused(0x83));
    assert!(client.longest_packet <= 64);
}

#[tokio::test]
async fn without_a_method_anonymous_decides() {
    let broker = guarded();
    let open =
        Broker::start_with(&LISTENER.replace("[[listener]]", "[[listener]]\nanonymous = true"));
    for (version, refused) in BOTH.into_iter().zip([0x05, 0x87]) {
        let connect = Connect::new(version, "client").username("user");
        let mut client = Client::open(broker.address, version).await;
        client.send(&connect.encode());
        assert_eq!(client.end().await, End::Refused(refused));

        join(open.address, version, "client").await.ping().await;
    }
    login(open.address, Connect::new(Version::V5, "user"), USER).await.ping().await;
}

#[tokio::test]
async fn who_sends_a_plain_password_is_told_that_nobody_checks_it() {
    let broker = guarded();
    let connect = Connect::new(Version::V5, "client").username("user");
    let mut client = saying(&broker, &connect.encode()).await;

    let (code, text) = refusal(&mut client).await;

    assert_eq!(code, 0x87);
    assert!(text.contains("SCRAM-SHA-256") && !text.contains("anonymous"), "{text}");
}

/// [MQTT-4.12.0-6]
#[tokio::test]
async fn a_client_without_a_method_gets_no_word_of_one() {
    let open =
        Broker::start_with(&LISTENER.replace("[[listener]]", "[[listener]]\nanonymous = true"));

    let client = join(open.address, Version::V5, "client").await;

    assert!(client.properties.all(AUTHENTICATION_METHOD).is_empty());
    assert!(client.properties.all(AUTHENTICATION_DATA).is_empty());
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
