//! What the broker says of itself below `$SYS`, to whoever asks.

use std::collections::HashMap;

use crate::support::{
    BOTH, Broker, Client, Connect, Packet, Properties, Value, Version, Will, join, taker,
    wire::{WILL_DELAY_INTERVAL, publish},
};

const EVERY_SECOND: &str = "[sys]\ninterval = \"1s\"\n";

const RETAIN_AS_PUBLISHED: u8 = 0x08;

/// Reads on until each of these topics had this payload.
async fn wait_for(client: &mut Client, wanted: &[(&str, &str)]) {
    let mut missing: HashMap<String, &str> =
        wanted.iter().map(|(topic, payload)| (format!("$SYS/broker/{topic}"), *payload)).collect();
    let mut last = HashMap::new();
    while !missing.is_empty() {
        let message = client.message().await;
        assert_eq!(message.qos, 0);
        if missing.get(&message.topic) == Some(&message.text()) {
            missing.remove(&message.topic);
        }
        last.insert(message.topic.clone(), message.text().to_owned());
        // Each interval says how long the broker runs, so a value that never comes ends the test.
        let uptime = last.get("$SYS/broker/uptime").and_then(|text| text.split(' ').next());
        let seconds: u32 = uptime.map_or(0, |text| text.parse().expect("a number"));
        assert!(seconds < 60, "{missing:?} never came, but {last:?}");
    }
}

#[tokio::test]
async fn the_values_are_those_of_the_traffic() {
    for version in BOTH {
        let broker = Broker::start_with(EVERY_SECOND);
        let lasting = Connect::lasting(version, "lasting");
        let mut away = Client::connect(broker.address, &lasting).await;
        away.subscribe("traffic", 1).await;
        away.disconnect().await;
        let mut publisher = taker(broker.address, version, "publisher", "traffic", 0).await;
        for _ in 0..3 {
            publisher.publish_and_wait("traffic", "four", 1).await;
        }
        let packet_id = publisher.publish_retained("kept", "retained", 1);
        publisher.published(packet_id).await;
        for _ in 0..3 {
            assert_eq!(publisher.message().await.text(), "four");
        }

        let mut watcher = taker(broker.address, version, "watcher", "$SYS/#", 2).await;

        let version = format!("dunlin version {}", env!("CARGO_PKG_VERSION"));
        let wanted = [
            ("version", version.as_str()),
            ("clients/connected", "2"),
            ("clients/active", "2"),
            ("clients/disconnected", "1"),
            ("clients/inactive", "1"),
            ("clients/total", "3"),
            ("clients/maximum", "2"),
            ("clients/expired", "0"),
            // CONNECT, SUBSCRIBE and DISCONNECT; CONNECT, SUBSCRIBE and 4 PUBLISH; CONNECT and
            // SUBSCRIBE.
            ("messages/received", "11"),
            ("messages/stored", "4"),
            ("store/messages/count", "4"),
            ("retained messages/count", "1"),
            ("subscriptions/count", "3"),
            ("shared_subscriptions/count", "0"),
            ("publish/messages/received", "4"),
            ("publish/messages/dropped", "0"),
            ("publish/bytes/received", "20"),
            ("load/publish/dropped/15min", "0.00"),
        ];
        wait_for(&mut watcher, &wanted).await;
    }
}

/// What is sent goes up by what is said here, so only its beginning is known.
#[tokio::test]
async fn packets_of_all_kinds_are_counted() {
    // With one worker nothing is published in the middle of a turn.
    let broker = Broker::start_with(&format!("workers = 1\n{EVERY_SECOND}"));
    let mut client = taker(broker.address, Version::V311, "client", "traffic", 0).await;
    client.publish_and_wait("traffic", "four", 1).await;
    assert_eq!(client.message().await.text(), "four");
    client.send(&[0xC0, 0x00, 0xC0, 0x00]);
    for _ in 0..2 {
        assert!(matches!(client.packet().await, Packet::PingResp));
    }

    // The values are taken all at once, before the first of them is published.
    client.subscribe("$SYS/broker/messages/+", 0).await;
    // CONNECT, SUBSCRIBE, PUBLISH, two PINGREQ, SUBSCRIBE.
    assert_eq!(client.message().await.text(), "6");
    // CONNACK, SUBACK, PUBLISH, PUBACK, two PINGRESP, SUBACK.
    assert_eq!(client.message().await.text(), "7");
}

#[tokio::test]
async fn a_publish_that_is_refused_or_repeated_was_received_too() {
    for version in BOTH {
        let broker = Broker::start_with(EVERY_SECOND);
        let mut client = join(broker.address, version, "client").await;
        client.publish_and_wait("$SYS/broker/uptime", "three", 1).await;
        client.withhold_answers();
        for first in [0x34, 0x3C] {
            client.send(&publish(version, first, "t", 100, &Properties::default(), b"four"));
            assert!(matches!(client.packet().await, Packet::PubRec { packet_id: 100, .. }));
        }

        client.subscribe("$SYS/broker/publish/+/received", 0).await;

        let wanted = [("publish/messages/received", "3"), ("publish/bytes/received", "13")];
        wait_for(&mut client, &wanted).await;
    }
}

#[tokio::test]
async fn a_later_subscriber_gets_what_is_retained_at_once() {
    for version in BOTH {
        let broker = Broker::start_with("[sys]\ninterval = \"1h\"\n");
        let mut first = join(broker.address, version, "first").await;
        let options = if version == Version::V5 { RETAIN_AS_PUBLISHED } else { 0 };
        first.subscribe("$SYS/broker/version", options).await;
        let message = first.message().await;
        assert_eq!(message.retain, version == Version::V5, "as it was published");

        // Nothing more is published for an hour.
        let mut second = taker(broker.address, version, "second", "$SYS/+/version", 1).await;
        let message = second.message().await;

        assert!(message.retain);
        assert_eq!(message.text(), format!("dunlin version {}", env!("CARGO_PKG_VERSION")));
    }
}

#[tokio::test]
async fn the_uptime_goes_on_and_what_does_not_change_is_not_repeated() {
    for version in BOTH {
        let broker = Broker::start_with(EVERY_SECOND);
        let mut client = join(broker.address, version, "client").await;
        let filters = [("$SYS/broker/uptime", 0), ("$SYS/broker/version", 0)];
        client.subscribe_with(&filters, &Properties::default()).await;

        let mut topics = Vec::new();
        let mut seconds = Vec::new();
        while seconds.len() < 3 {
            let message = client.message().await;
            if let Some(uptime) = message.text().strip_suffix(" seconds") {
                seconds.push(uptime.parse::<u32>().expect("a number"));
            }
            topics.push(message.topic);
        }

        assert!(seconds.is_sorted_by(|a, b| a < b), "{seconds:?}");
        topics.retain(|topic| topic == "$SYS/broker/version");
        assert_eq!(topics.len(), 1);
    }
}

/// [MQTT-4.7.2-1]
#[tokio::test]
async fn a_leading_wildcard_hears_nothing_of_it() {
    let broker = Broker::start_with(EVERY_SECOND);
    let mut watcher =
        taker(broker.address, Version::V311, "watcher", "$SYS/broker/uptime", 0).await;
    let mut client = join(broker.address, Version::V5, "client").await;
    client.subscribe_with(&[("#", 0), ("+/broker/#", 0)], &Properties::default()).await;
    for _ in 0..2 {
        watcher.message().await;
    }

    client.publish_and_wait("marker", "marker", 0).await;

    assert_eq!(client.message().await.topic, "marker");
}

#[tokio::test]
async fn never_is_never() {
    let broker = Broker::start_with("[sys]\ninterval = \"never\"\n");
    let mut client = taker(broker.address, Version::V5, "client", "$SYS/#", 0).await;

    // A Session that expires is ended by the same clock that would publish: a second later at most.
    let will = Will::new("clock", "struck");
    let mut watcher = taker(broker.address, Version::V5, "watcher", "clock", 0).await;
    let connect = Connect::lasting(Version::V5, "late")
        .will(will.property(WILL_DELAY_INTERVAL, Value::Four(1)));
    Client::connect(broker.address, &connect).await.reset();
    assert_eq!(watcher.message().await.text(), "struck");

    client.ping().await;
    assert!(client.messages.is_empty());
}

/// A durable member that is away, and a watcher who is told.
#[tokio::test]
async fn the_lag_of_each_shared_subscription_is_published() {
    let broker = Broker::start();
    let lasting = Connect::lasting(Version::V5, "lasting");
    let mut member = Client::connect(broker.address, &lasting).await;
    member.subscribe("$share/group/work/#", 1).await;
    member.disconnect().await;
    let mut publisher = join(broker.address, Version::V5, "publisher").await;
    for number in 0..3_u32 {
        publisher.publish_and_wait("work/a", number.to_string(), 1).await;
    }

    let lag = "$SYS/broker/shared_subscriptions/lag";
    let mut watcher = taker(broker.address, Version::V5, "watcher", lag, 0).await;

    let text = watcher.message().await.text().to_owned();
    assert!(text.starts_with("3 waiting ("), "{text}");
    assert!(text.ends_with(" bytes), 0 of 1 connected: $share/group/work/#"), "{text}");
}
