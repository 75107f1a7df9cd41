//! How long a Session outlives its connection (5.0 3.1.2.11.2, 3.14.2.2.2; Clean Session before).

use crate::vocabulary::connect::Connect;
use crate::vocabulary::*;

/// CONNECT that resumes a Session and lets it outlive the connection by so many seconds.
fn lives(seconds: u32) -> Connect {
    connect("client").no_clean_start().with(session_expiry_interval(seconds))
}

/// Whether there is a Session, which is then resumed and as long as before.
#[track_caller]
fn is_present(world: &World, version: Version, connect: Connect) -> bool {
    let mut client = world.client(version);
    client.send(connect);
    let Packet::ConnAck { session_present, code: 0, .. } = client.next() else {
        panic!("the client is refused");
    };
    client.cut();
    session_present
}

/// 5.0 s3.1.2.11.2: 0, or none at all.
#[test]
fn v5_3_1_2_11_2_without_an_interval_a_session_ends_with_its_connection() {
    everywhere(|world| {
        for connect in [connect("client").no_clean_start(), lives(0)] {
            for ends in [Client::cut, Client::leave] {
                ends(world.connect(V5, connect.clone()));

                assert!(!is_present(world, V5, connect.clone()));
            }
            // Taken over, it has lost its connection too.
            let mut first = world.connect(V5, connect.clone());
            first.subscribed(subscribe("a"));
            let mut second = world.connect(V5, connect.clone());
            first.ends(0x8E);
            second.published(publish("a"));
        }
    });
}

/// [MQTT-3.1.2-23]; 5.0 s3.1.2.11.2: counted from the end of the last connection, however it ended.
#[test]
fn v5_3_1_2_11_2_a_session_ends_when_its_interval_is_over() {
    with_clock(|world| {
        for ends in [Client::cut, Client::leave] {
            let client = world.connect(V5, lives(10));
            world.pass(100);
            ends(client);
            world.pass(9);
            assert!(is_present(world, V5, lives(10)));
            world.pass(9);
            assert!(is_present(world, V5, lives(10)));
            world.pass(10);
            assert!(!is_present(world, V5, lives(10)));
            world.pass(10);
        }
    });
}

/// [MQTT-3.1.2-23]; 5.0 s3.1.2.11.2: the interval of the last CONNECT counts.
#[test]
fn v5_3_1_2_11_2_each_connect_sets_the_interval_anew() {
    with_clock(|world| {
        world.connect(V5, lives(10)).cut();
        world.resume(V5, lives(100)).cut();
        world.pass(99);
        assert!(is_present(world, V5, lives(5)));
        world.pass(5);
        assert!(!is_present(world, V5, lives(5)));
        world.resume(V5, lives(0)).leave();
        assert!(!is_present(world, V5, lives(0)));
    });
}

/// [MQTT-3.1.2-23]; 5.0 s3.1.2.11.2: 0xFFFFFFFF, if the configuration sets no end; else the client
/// is told which.
#[test]
fn v5_3_1_2_11_2_a_session_with_the_greatest_interval_never_ends() {
    with_clock_and("[session]\nexpiry_max = \"never\"", |world| {
        let mut client = world.client(V5);
        client.send(lives(u32::MAX));
        client.expect(connack().without(session_expiry_interval(0).0));
        client.cut();

        world.pass(200_000);

        assert!(is_present(world, V5, lives(u32::MAX)));
    });
    with_clock_and("[session]\nexpiry_max = \"10s\"", |world| {
        for seconds in [11, u32::MAX] {
            let mut client = world.client(V5);
            client.send(lives(seconds));
            client.expect(connack().with(session_expiry_interval(10)));
            client.cut();
            world.pass(9);
            assert!(is_present(world, V5, lives(seconds)));
            world.pass(10);
            assert!(!is_present(world, V5, lives(10)));
            world.pass(10);
        }
    });
}

/// PRODUCT: 30 days at most by default, and a client that asks for more is told so.
#[test]
fn v5_3_1_2_11_2_the_longest_interval_is_thirty_days() {
    everywhere(|world| {
        for (asked, told) in [(2_592_001, Some(2_592_000)), (2_592_000, None), (1, None)] {
            let mut client = world.client(V5);
            client.send(connect("client").with(session_expiry_interval(asked)));
            match told {
                Some(told) => client.expect(connack().with(session_expiry_interval(told))),
                None => client.expect(connack().without(session_expiry_interval(0).0)),
            }
        }
    });
}

/// 5.0 s3.14.2.2.2
#[test]
fn v5_3_14_2_2_2_a_disconnect_may_change_the_interval() {
    with_clock(|world| {
        for (before, after) in [(10, 100), (100, 10)] {
            let mut client = world.connect(V5, lives(before));
            client.send(disconnect().with(session_expiry_interval(after)));
            client.closes();
            world.pass(u64::from(after) - 1);
            let mut client = world.resume(V5, lives(before));
            client.send(disconnect().with(session_expiry_interval(after)));
            client.closes();
            world.pass(u64::from(after));
            let mut client = world.connect(V5, lives(before));
            client.send(disconnect().with(session_expiry_interval(0)));
            client.closes();
            assert!(!is_present(world, V5, lives(0)));
        }
    });
}

/// PRODUCT: the administrator says how long, or that there is no end.
#[test]
fn v311_3_1_2_4_a_session_that_is_not_clean_ends_as_configured() {
    let session = || lasting("client");
    for (configuration, end) in
        [("[session]\nexpiry_v3 = \"100s\"", Some(100)), ("[session]\nexpiry_v3 = \"never\"", None)]
    {
        with_clock_and(configuration, |world| {
            world.connect(V311, session()).cut();
            world.pass(end.unwrap_or(200_000) - 1);
            assert!(is_present(world, V311, session()));
            world.pass(end.unwrap_or(200_000));
            assert_eq!(is_present(world, V311, session()), end.is_none());
        });
    }
}
