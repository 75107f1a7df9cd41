//! What a listener leaves out, as its clients meet it.

use std::net::SocketAddr;

use tokio::time::timeout;

use crate::support::{
    BOTH, Broker, Client, Connect, End, Packet, Properties, Value, Version, Will,
    broker::PATIENCE,
    join,
    wire::{
        MAXIMUM_QOS, RETAIN_AVAILABLE, SHARED_SUBSCRIPTION_AVAILABLE, SUBSCRIPTION_IDENTIFIER,
        SUBSCRIPTION_IDENTIFIER_AVAILABLE, WILDCARD_SUBSCRIPTION_AVAILABLE,
    },
};

/// A broker with one listener that has these keys.
fn broker_with(keys: &str) -> Broker {
    Broker::start_with(&format!(
        "[[listener]]\nname = \"narrow\"\naddress = \"127.0.0.1:0\"\nanonymous = true\n{keys}\n"
    ))
}

const PLAIN_AND_FULL: &str = "\
[[listener]]
name = \"plain\"
address = \"127.0.0.1:0\"
anonymous = true
retain = false
[[listener]]
name = \"full\"
address = \"127.0.0.1:0\"
anonymous = true
";

/// How the connection of a client that cannot be served further ends.
fn ended(version: Version, code: u8) -> End {
    if version == Version::V5 { End::Disconnect(code) } else { End::Closed }
}

/// Waits until the broker has logged a line with all of these.
async fn logged(broker: &Broker, parts: &[&str]) {
    let wanted = |text: &str| text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    let written = async {
        while !broker.log.lock().is_ok_and(|text| wanted(&text)) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, written).await.expect("the line is written in time");
}

/// Where a broker with two listeners serves, in their order.
async fn both_addresses(broker: &Broker) -> [SocketAddr; 2] {
    let told = |text: &str| {
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix("listening on "));
        let addresses = lines.filter_map(|line| line.split(' ').next()?.parse().ok());
        addresses.collect::<Vec<SocketAddr>>().try_into().ok()
    };
    let written = async {
        loop {
            let addresses = broker.log.lock().ok().and_then(|text| told(&text));
            if let Some(addresses) = addresses {
                return addresses;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, written).await.expect("both listen in time")
}

/// [MQTT-3.1.2-2], for 3.1.1 [MQTT3-3.1.2-2]
#[tokio::test]
async fn a_version_that_is_not_served_is_refused_in_its_own_words() {
    let all = [(Version::V31, "3.1", 1), (Version::V311, "3.1.1", 1), (Version::V5, "5.0", 0x84)];
    for (served, name, _) in all {
        let broker = broker_with(&format!("protocols = [\"{name}\"]"));

        join(broker.address, served, "welcome").await.ping().await;

        for (version, name, code) in all.into_iter().filter(|(version, ..)| *version != served) {
            let mut client = Client::open(broker.address, version).await;
            client.send(&Connect::new(version, "stranger").encode());
            assert_eq!(client.end().await, End::Refused(code), "{name}");
            let reason = format!("does not serve MQTT {name}:");
            logged(&broker, &["listener `narrow`", &reason, "listener.protocols"]).await;
        }
    }
}

/// [MQTT-3.2.2-9]; 5.0 s3.2.2.3.5, s3.2.2.3.11 to s3.2.2.3.13
#[tokio::test]
async fn what_a_listener_leaves_out_is_announced() {
    const AVAILABLE: [u8; 4] = [
        RETAIN_AVAILABLE,
        WILDCARD_SUBSCRIPTION_AVAILABLE,
        SUBSCRIPTION_IDENTIFIER_AVAILABLE,
        SHARED_SUBSCRIPTION_AVAILABLE,
    ];
    let keys = "qos_max = 1\nretain = false\nwildcards = false\nshared = false\n\
                subscription_ids = false";
    let (narrow, wide) = (broker_with(keys), Broker::start());

    let told = join(narrow.address, Version::V5, "told").await;
    let free = join(wide.address, Version::V5, "free").await;

    assert_eq!(told.properties.all(MAXIMUM_QOS), [&Value::Byte(1)]);
    assert!(free.properties.all(MAXIMUM_QOS).is_empty());
    for property in AVAILABLE {
        assert_eq!(told.properties.all(property), [&Value::Byte(0)], "{property:#04x}");
        assert!(!free.properties.all(property).contains(&&Value::Byte(0)), "{property:#04x}");
    }
}

/// [MQTT-3.2.2-12] [MQTT-3.2.2-13]
#[tokio::test]
async fn a_will_that_cannot_be_kept_refuses_the_connection() {
    let broker = broker_with("qos_max = 0\nretain = false");
    let plain = || Will { qos: 0, ..Will::new("last/words", "gone") };
    let cases = [
        (Will { qos: 1, ..plain() }, 0x9B, "listener.qos_max"),
        (Will { qos: 2, ..plain() }, 0x9B, "listener.qos_max"),
        (plain().retained(), 0x9A, "listener.retain"),
    ];
    for version in BOTH {
        for (will, code, key) in &cases {
            let mut client = Client::open(broker.address, version).await;
            let name = format!("will-{version:?}-{code:x}");
            client.send(&Connect::new(version, &name).will(will.clone()).encode());

            let end = if version == Version::V5 { End::Refused(*code) } else { End::Closed };
            assert_eq!(client.end().await, end);
            logged(&broker, &[&name, key]).await;
        }
        let connect = Connect::new(version, "modest").will(plain());
        Client::connect(broker.address, &connect).await.ping().await;
    }
}

/// [MQTT-3.2.2-11] [MQTT-3.2.2-14]
#[tokio::test]
async fn a_message_that_cannot_be_taken_ends_the_connection() {
    let broker = broker_with("qos_max = 1\nretain = false");
    for version in BOTH {
        for (flags, code, key) in [
            (0x04, 0x9B, "listener.qos_max"),
            (0x01, 0x9A, "listener.retain"),
            (0x03, 0x9A, "listener.retain"),
        ] {
            let name = format!("publisher-{version:?}-{flags}");
            let mut client = join(broker.address, version, &name).await;
            assert_eq!(client.publish_and_wait("t", "fits", 1).await & 0x80, 0);

            client.publish_with(flags, "t", "does not", &Properties::default());

            assert_eq!(client.end().await, ended(version, code), "{flags:#04x}");
            logged(&broker, &[&name, key]).await;
        }
    }
}

/// [MQTT-3.2.2-10] [MQTT-3.8.4-8]
#[tokio::test]
async fn a_subscription_is_lowered_to_the_maximum_qos() {
    let broker = broker_with("qos_max = 0");
    for version in BOTH {
        let mut client = join(broker.address, version, "modest").await;

        let filters = [("a", 2), ("b", 1), ("c", 0)];
        let codes = client.subscribe_with(&filters, &Properties::default()).await;

        assert_eq!(codes, [0, 0, 0]);
        client.publish("a", "x", 0);
        assert_eq!(client.message().await.qos, 0);
    }
}

/// What was retained through another listener is not sent through one without.
#[tokio::test]
async fn without_retain_nothing_retained_is_sent() {
    let broker = Broker::start_with(PLAIN_AND_FULL);
    let [plain, full] = both_addresses(&broker).await;
    let mut publisher = join(full, Version::V5, "publisher").await;
    publisher.publish_retained("kept", "retained", 1);
    publisher.wait_for_window(0).await;
    for version in BOTH {
        let mut told = join(full, version, "full").await;
        assert_eq!(told.subscribe("kept", 1).await, 1);
        assert_eq!(told.message().await.text(), "retained");

        let mut client = join(plain, version, "plain").await;
        assert_eq!(client.subscribe("kept", 1).await, 1);
        publisher.publish_and_wait("kept", "live", 1).await;

        assert_eq!(client.message().await.text(), "live");
    }
}

/// A Session that was to get Retained Messages at another listener gets the rest there.
#[tokio::test]
async fn retained_messages_wait_until_their_session_is_back_where_there_are_some() {
    const COUNT: u32 = 1_000;
    let broker = Broker::start_with(PLAIN_AND_FULL);
    let [plain, full] = both_addresses(&broker).await;
    let mut publisher = join(full, Version::V5, "publisher").await;
    for number in 0..COUNT {
        publisher.publish_retained(&format!("kept/{number}"), &"x".repeat(16_000), 1);
        publisher.wait_for_window(100).await;
    }
    publisher.wait_for_window(0).await;
    for version in BOTH {
        let connect = Connect::lasting(version, &format!("mover {version:?}"));
        let mut client = Client::open_narrow(full, version, 4_096).await;
        client.introduce(&connect).await;
        assert_eq!(client.subscribe("kept/#", 0).await, 0);
        client.reset();

        let mut moved = Client::connect(plain, &connect).await;
        moved.ping().await;
        publisher.publish_and_wait("kept/live", "live", 1).await;
        assert!(!moved.message().await.retain);
        moved.disconnect(0).await;

        let mut back = Client::connect(full, &connect).await;
        assert!(back.message().await.retain);
    }
}

/// 5.0 s3.2.2.3.11 to s3.2.2.3.13
#[tokio::test]
async fn a_5_0_client_that_subscribes_to_what_there_is_not_is_closed() {
    let cases = [
        ("wildcards = false", "a/+", Properties::default(), 0xA2),
        ("wildcards = false", "#", Properties::default(), 0xA2),
        ("wildcards = false", "$share/g/a/+", Properties::default(), 0xA2),
        ("shared = false", "$share/g/a", Properties::default(), 0x9E),
        ("shared = false\nwildcards = false", "$share/g/a/+", Properties::default(), 0x9E),
        (
            "subscription_ids = false",
            "a",
            Properties(vec![(SUBSCRIPTION_IDENTIFIER, Value::Variable(7))]),
            0xA1,
        ),
    ];
    for (keys, filter, properties, code) in cases {
        let broker = broker_with(keys);
        let mut client = join(broker.address, Version::V5, "subscriber").await;
        assert_eq!(client.subscribe("a", 1).await, 1, "{keys}");

        client.send_subscribe(&[(filter, 1)], &properties);

        assert_eq!(client.end().await, End::Disconnect(code), "{keys}: {filter}");
        let key = keys.split(' ').next().unwrap_or_default();
        logged(&broker, &["subscriber", &format!("listener.{key}")]).await;
    }
}

/// [MQTT3-3.9.3-2]: nobody told a 3.1.1 client, which keeps what else it asked for.
#[tokio::test]
async fn a_3_1_1_client_is_refused_only_what_there_is_not() {
    let broker = broker_with("wildcards = false\nshared = false");
    for version in [Version::V31, Version::V311] {
        let mut client = join(broker.address, version, "subscriber").await;
        let filters = [("a/+", 1), ("a/b", 1), ("$share/g/a", 0), ("#", 2), ("c", 2)];

        let codes = client.subscribe_with(&filters, &Properties::default()).await;

        assert_eq!(codes, [0x80, 1, 0x80, 0x80, 2]);
        client.publish("a/b", "x", 0);
        assert_eq!(client.message().await.topic, "a/b");
    }
}

/// 5.0 s3.2.2.3.4: the Reason String names the key.
#[tokio::test]
async fn a_refused_version_is_told_why() {
    let broker = broker_with("protocols = [\"3.1.1\"]");
    let mut client = Client::open(broker.address, Version::V5).await;

    client.send(&Connect::new(Version::V5, "stranger").encode());

    let Packet::ConnAck { code: 0x84, properties, .. } = client.packet().await else {
        panic!("something else than a refusal");
    };
    let [Value::Text(text)] = properties.all(0x1F)[..] else { panic!("no Reason String") };
    assert!(text.contains("listener.protocols"), "{text}");
}
