//! Lengths that are announced cost nothing before their bytes come. What else is malformed is in
//! `tests/corpus`.

use crate::support::{BOTH, Broker, Client, End, Version, join, resident_bytes, wire::variable};

/// The largest length that can be written is refused when it is read, and nothing is kept for it.
#[tokio::test]
async fn a_length_of_256_mebibytes_is_refused_at_once_and_reserves_nothing() {
    let broker = Broker::start();
    let mut warm = join(broker.address, Version::V5, "warm").await;
    warm.ping().await;
    let before = resident_bytes(&broker);

    for _ in 0..25 {
        for (version, expected) in BOTH.into_iter().zip([End::Closed, End::Disconnect(0x95)]) {
            let mut client = join(broker.address, version, "offender").await;
            client.send(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
            assert_eq!(client.end().await, expected);
        }
        let mut stranger = Client::open(broker.address, Version::V5).await;
        stranger.send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]);
        let end = stranger.end().await;
        assert!(matches!(end, End::Closed | End::Refused(0x95)), "{end:?}");
    }

    let grown = resident_bytes(&broker).saturating_sub(before);
    assert!(grown <= 4 << 20, "the broker grew by {grown} bytes");
    warm.ping().await;
}

/// A length within the limit is believed, but costs memory only as its bytes arrive.
#[tokio::test]
async fn an_announced_megabyte_that_never_comes_costs_nothing() {
    let broker = Broker::start();
    let mut warm = join(broker.address, Version::V5, "warm").await;
    warm.ping().await;
    let before = resident_bytes(&broker);
    let mut waiting = Vec::new();

    for number in 0..100 {
        let mut client = join(broker.address, Version::V311, &format!("promises-{number}")).await;
        client.send(&[&[0x30][..], &variable(1 << 20), &[0, 1]].concat());
        client.flush().await;
        waiting.push(client);
    }
    // Answered behind all of them.
    for client in &mut waiting {
        client.finish_writing();
    }
    for client in &mut waiting {
        client.end().await;
    }
    warm.ping().await;

    let grown = resident_bytes(&broker).saturating_sub(before);
    assert!(grown <= 8 << 20, "the broker grew by {grown} bytes");
}
