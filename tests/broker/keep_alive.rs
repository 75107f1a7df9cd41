//! Keep alive: a client that says nothing for one and a half times its interval is gone.

use std::time::{Duration, Instant};

use crate::support::{
    BOTH, Broker, Client, Connect, End, Packet, Properties, Version, Will, taker, wire::publish,
};

/// [MQTT-3.1.2-22], for 3.1.1 [MQTT3-3.1.2-24]
#[tokio::test]
async fn a_silent_client_is_closed_and_its_will_is_sent() {
    let broker = Broker::start();
    for (version, expected) in [(Version::V311, End::Closed), (Version::V5, End::Disconnect(0x8D))]
    {
        let mut watcher = taker(broker.address, version, "watcher", "will", 1).await;
        let connect =
            Connect::new(version, "silent").keep_alive(1).will(Will::new("will", "silent"));
        let started = Instant::now();
        let mut client = Client::connect(broker.address, &connect).await;

        assert_eq!(client.end().await, expected);

        assert!(started.elapsed() >= Duration::from_secs(1), "not before its time");
        assert_eq!(watcher.message().await.text(), "silent");
    }
}

/// What the broker sends is no sign of life from the client.
#[tokio::test]
async fn receiving_messages_does_not_keep_a_client_alive() {
    let broker = Broker::start();
    let connect = Connect::new(Version::V5, "listener").keep_alive(1);
    let mut client = Client::connect(broker.address, &connect).await;
    client.subscribe("tick", 0).await;
    let mut publisher = crate::support::join(broker.address, Version::V5, "publisher").await;
    let ticking = async {
        loop {
            publisher.publish_and_wait("tick", "x", 1).await;
        }
    };

    let end = tokio::select! {
        end = client.end() => end,
        () = ticking => unreachable!("it ticks for ever"),
    };

    assert_eq!(end, End::Disconnect(0x8D));
}

/// One of two clients pings; the other's end shows that their common time has passed.
#[tokio::test]
async fn a_client_that_pings_stays() {
    let broker = Broker::start();
    for version in BOTH {
        let connect = |id: &str| Connect::new(version, id).keep_alive(1);
        let mut silent = Client::connect(broker.address, &connect("silent")).await;
        let mut lively = Client::connect(broker.address, &connect("lively")).await;
        let pinging = async {
            loop {
                lively.ping().await;
            }
        };

        tokio::select! {
            _ = silent.end() => {}
            () = pinging => unreachable!("it pings for ever"),
        }

        lively.ping().await;
    }
}

/// A keep alive of 0 switches it off: this client outlives one that has an interval.
#[tokio::test]
async fn without_keep_alive_a_client_may_be_silent() {
    let broker = Broker::start();
    let connect = Connect::new(Version::V5, "patient").keep_alive(0);
    let mut patient = Client::connect(broker.address, &connect).await;
    let connect = Connect::new(Version::V5, "brief").keep_alive(1);
    let mut brief = Client::connect(broker.address, &connect).await;

    assert_eq!(brief.end().await, End::Disconnect(0x8D));

    patient.ping().await;
}

/// 5.0 s3.1.2.10: a large packet on a slow line is a sign of life, piece by piece. Here the clock
/// is what is tested, so the pieces follow it.
#[tokio::test]
async fn a_client_busy_sending_a_large_packet_stays() {
    let broker = Broker::start();
    let started = Instant::now();

    let [left, right] = BOTH.map(|version| send_in_pieces(&broker, version));
    tokio::join!(left, right);

    assert!(started.elapsed() > Duration::from_millis(2_500), "longer than one and a half");
}

/// 1.5 MiB in three seconds, by a client with a Keep Alive of one, to their PUBACK.
async fn send_in_pieces(broker: &Broker, version: Version) {
    const PIECES: usize = 12;
    let connect = Connect::new(version, &format!("busy {version:?}")).keep_alive(1);
    let mut client = Client::connect(broker.address, &connect).await;
    let payload = vec![b'x'; 3 * 512 * 1024];
    let whole = publish(version, 0x32, "t", 1, &Properties::default(), &payload);
    let mut clock = tokio::time::interval(Duration::from_millis(250));
    for piece in whole.chunks(whole.len().div_ceil(PIECES)) {
        clock.tick().await;
        client.send(piece);
        client.flush().await;
    }
    assert!(matches!(client.packet().await, Packet::PubAck { packet_id: 1, code: 0 | 0x10, .. }));
}

/// But half of one followed by silence is not.
#[tokio::test]
async fn a_client_that_stops_in_the_middle_of_a_large_packet_is_closed() {
    let broker = Broker::start();
    let connect = Connect::new(Version::V5, "stuck").keep_alive(1);
    let mut client = Client::connect(broker.address, &connect).await;
    let payload = vec![b'x'; 512 * 1024];
    let whole = publish(Version::V5, 0x32, "t", 1, &Properties::default(), &payload);

    client.send(&whole[..whole.len() / 2]);

    assert_eq!(client.end().await, End::Disconnect(0x8D));
}
