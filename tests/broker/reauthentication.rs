//! Re-authentication on a live connection (5.0 s4.12.1).

use crate::support::{
    Broker, Client, Connect, End, Packet, Version,
    scram::{
        LISTENER, METHOD, OTHER, Scram, USER, User, auth, auth_of, challenge, failures, login,
    },
    wire::packet,
};

async fn client(broker: &Broker) -> Client {
    login(broker.address, Connect::new(Version::V5, "client"), USER).await
}

/// Begins again as this user, up to the last message.
async fn answer(client: &mut Client, user: User) -> (Scram, Vec<u8>) {
    let mut scram = Scram::new(user);
    client.send(&auth(0x19, &scram.first()));
    let challenge = challenge(client, 0x18).await.expect("a challenge");
    let last = auth(0x18, &scram.last(&challenge));
    (scram, last)
}

#[tokio::test]
async fn a_client_may_prove_itself_again_and_again() {
    let broker = Broker::start_with(LISTENER);
    let mut client = client(&broker).await;
    for _ in 0..3 {
        let (scram, last) = answer(&mut client, USER).await;
        client.send(&last);

        let data = challenge(&mut client, 0x00).await.expect("a signature");
        scram.assert_server(&data);
    }
    client.ping().await;
}

#[tokio::test]
async fn it_may_begin_without_data() {
    let broker = Broker::start_with(LISTENER);
    let mut client = client(&broker).await;
    let mut scram = Scram::new(USER);

    client.send(&auth_of(0x19, METHOD, None));
    assert_eq!(challenge(&mut client, 0x18).await, None);
    client.send(&auth(0x18, &scram.first()));
    let first = challenge(&mut client, 0x18).await.expect("a challenge");
    client.send(&auth(0x18, &scram.last(&first)));

    scram.assert_server(&challenge(&mut client, 0x00).await.expect("a signature"));
}

#[tokio::test]
async fn other_packets_go_on_in_between_and_are_answered_in_order() {
    let broker = Broker::start_with(LISTENER);
    let mut client = client(&broker).await;
    client.subscribe("t", 1).await;
    let (scram, last) = answer(&mut client, USER).await;

    client.publish_and_wait("t", "in between", 1).await;
    assert_eq!(client.message().await.text(), "in between");
    client.ping().await;
    client.send(&[vec![0xC0, 0x00], last, vec![0xC0, 0x00]].concat());

    assert_eq!(client.packet().await, Packet::PingResp);
    scram.assert_server(&challenge(&mut client, 0x00).await.expect("a signature"));
    assert_eq!(client.packet().await, Packet::PingResp);
}

/// [MQTT-4.12.1-2]
#[tokio::test]
async fn who_fails_to_prove_itself_again_is_disconnected() {
    let broker = Broker::start_with(LISTENER);
    let forgetful = User { name: "user", password: "pen" };
    let nobody = User { name: "nobody", password: "pencil" };
    // Another user is refused even with its own password.
    for user in [forgetful, nobody, OTHER] {
        let mut client = client(&broker).await;
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

/// [MQTT-4.12.1-1]
#[tokio::test]
async fn an_auth_that_is_not_due_is_a_protocol_error() {
    let broker = Broker::start_with(LISTENER);
    let first = Scram::new(USER).first();
    let wrong = [
        auth(0x18, &first),
        auth(0x00, &first),
        vec![0xF0, 0x00],
        packet(0xF0, &[0x19, 0x00]),
        auth_of(0x19, "SCRAM-SHA-1", Some(&first)),
        [auth(0x19, &first), auth(0x19, &first)].concat(),
        [auth(0x19, &first), auth_of(0x18, "PLAIN", Some(&first))].concat(),
    ];
    for packets in wrong {
        let mut client = client(&broker).await;
        client.send(&packets);
        let mut end = client.packet().await;
        if let Packet::Auth { code: 0x18, .. } = end {
            end = client.packet().await;
        }

        assert!(matches!(end, Packet::Disconnect { code: 0x82, .. }), "{packets:?}: {end:?}");
    }
}

/// [MQTT-4.12.0-7]: also at a listener that has the method.
#[tokio::test]
async fn who_connected_without_a_method_cannot_begin() {
    let open = LISTENER.replace("[[listener]]", "[[listener]]\nanonymous = true");
    let broker = Broker::start_with(&open);
    let mut client = crate::support::join(broker.address, Version::V5, "client").await;

    client.send(&auth(0x19, &Scram::new(USER).first()));

    assert_eq!(client.end().await, End::Disconnect(0x82));
}

/// What follows a proof that failed has no effect.
#[tokio::test]
async fn nothing_after_the_failure_is_heard() {
    let broker = Broker::start_with(LISTENER);
    let mut watcher = login(broker.address, Connect::new(Version::V5, "watcher"), OTHER).await;
    watcher.subscribe("t", 0).await;
    let mut client = client(&broker).await;
    let (_, last) = answer(&mut client, User { name: "user", password: "pen" }).await;
    client.send(&last);
    client.publish("t", "too late", 0);
    assert_eq!(client.end().await, End::Disconnect(0x87));

    watcher.publish("t", "mine", 0);

    assert_eq!(watcher.message().await.text(), "mine");
}
