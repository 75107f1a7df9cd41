//! A Session belongs to whoever proved to be its user, not to whoever knows its Client Identifier.

use crate::support::{
    Broker, Client, Connect, End, Version, join,
    scram::{LISTENER, OTHER, Scram, USER, User, login, prove, with_first},
};

fn open() -> Broker {
    Broker::start_with(&LISTENER.replace("[[listener]]", "[[listener]]\nanonymous = true"))
}

fn lasting() -> Connect {
    Connect::lasting(Version::V5, "meter")
}

/// How a client that proved to be this user is refused.
async fn refused(broker: &Broker, connect: Connect, user: User) -> End {
    let mut scram = Scram::new(user);
    let mut client = Client::open(broker.address, Version::V5).await;
    client.send(&with_first(connect, &scram).encode());
    prove(&mut client, &mut scram).await;
    client.end().await
}

async fn refused_anonymous(broker: &Broker, connect: &Connect) -> End {
    let mut client = Client::open(broker.address, connect.version).await;
    client.send(&connect.encode());
    client.end().await
}

/// Everybody who is not the user, with and without Clean Start.
async fn assert_all_others_are_refused(broker: &Broker) {
    for connect in [lasting(), lasting().clean_start()] {
        assert_eq!(refused_anonymous(broker, &connect).await, End::Refused(0x87));
        assert_eq!(refused(broker, connect, OTHER).await, End::Refused(0x87));
    }
    let old = Connect::lasting(Version::V311, "meter");
    for connect in [old.clone(), old.clean_start()] {
        assert_eq!(refused_anonymous(broker, &connect).await, End::Refused(0x05));
    }
}

#[tokio::test]
async fn nobody_else_takes_over_a_connected_client() {
    let broker = open();
    let mut owner = login(broker.address, lasting(), USER).await;
    owner.subscribe("t", 1).await;

    assert_all_others_are_refused(&broker).await;

    owner.publish_and_wait("t", "still here", 1).await;
    assert_eq!(owner.message().await.text(), "still here");
}

#[tokio::test]
async fn nobody_else_gets_or_ends_the_session_of_a_client_that_is_away() {
    let broker = open();
    let mut owner = login(broker.address, lasting(), USER).await;
    owner.subscribe("mail", 1).await;
    owner.disconnect().await;
    let mut sender = join(broker.address, Version::V5, "sender").await;
    sender.publish_and_wait("mail", "private", 1).await;

    assert_all_others_are_refused(&broker).await;

    let mut owner = login(broker.address, lasting(), USER).await;
    assert!(owner.session_present);
    assert_eq!(owner.message().await.text(), "private");
}

#[tokio::test]
async fn the_same_user_takes_over_as_ever() {
    let broker = open();
    let mut one = login(broker.address, lasting(), USER).await;

    let two = login(broker.address, lasting(), USER).await;

    assert!(two.session_present);
    assert_eq!(one.end().await, End::Disconnect(0x8E));
}

// So that devices can be given users later, and no stranger holds a user's Client Identifier.
#[tokio::test]
async fn what_nobody_proved_gives_way_to_a_user_who_begins_anew() {
    let broker = open();
    let mut anonymous = Client::connect(broker.address, &lasting()).await;
    anonymous.subscribe("planted", 1).await;

    let user = login(broker.address, lasting(), USER).await;

    assert!(!user.session_present);
    assert_eq!(anonymous.end().await, End::Disconnect(0x8E));
    assert_eq!(refused_anonymous(&broker, &lasting()).await, End::Refused(0x87));
}

#[tokio::test]
async fn a_client_identifier_is_free_when_its_session_is_over() {
    let broker = open();
    let connect = || Connect::new(Version::V5, "meter");
    login(broker.address, connect(), USER).await.disconnect().await;

    login(broker.address, connect(), OTHER).await.disconnect().await;

    join(broker.address, Version::V5, "meter").await.ping().await;
}
