//! Lengths that are announced cost nothing before their bytes come. What else is malformed is in
//! `tests/corpus`.

use crate::support::{BOTH, Broker, Client, End, Version, join, wire::variable};

/// The largest length that can be written is refused when it is read, and nothing is kept for it.
#[tokio::test]
async fn a_length_of_256_mebibytes_is_refused_at_once_and_reserves_nothing() {
    let broker = Broker::start();
    let mut warm = join(broker.address, Version::V5, "warm").await;
    warm.ping().await;
    let before = resident_kibibytes(&broker);

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

    let grown = resident_kibibytes(&broker).saturating_sub(before);
    assert!(grown <= 4 * 1_024, "the broker grew by {grown} KiB");
    warm.ping().await;
}

/// A length within the limit is believed, but costs memory only as its bytes arrive.
#[tokio::test]
async fn an_announced_megabyte_that_never_comes_costs_nothing() {
    let broker = Broker::start();
    let mut warm = join(broker.address, Version::V5, "warm").await;
    warm.ping().await;
    let before = resident_kibibytes(&broker);
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

    let grown = resident_kibibytes(&broker).saturating_sub(before);
    assert!(grown <= 8 * 1_024, "the broker grew by {grown} KiB");
}

/// What the broker's process holds in memory (`VmRSS`).
fn resident_kibibytes(broker: &Broker) -> u64 {
    let path = format!("/proc/{}/status", broker.process.id());
    let status = std::fs::read_to_string(path).expect("the broker runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
