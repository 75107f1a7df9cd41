//! Listeners that leave something out: what is logged of it, and what passes between two of them.

use std::net::SocketAddr;

use tokio::time::timeout;

use crate::support::{
    BOTH, Broker, Client, Connect, Packet, Properties, Value, Version, Will,
    broker::PATIENCE,
    join,
    wire::{REASON_STRING, SUBSCRIPTION_IDENTIFIER, publish},
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

/// The Reason String of what ends the connection.
async fn last_words(client: &mut Client) -> String {
    loop {
        match client.packet().await {
            Packet::ConnAck { code: 1.., properties, .. }
            | Packet::Disconnect { properties, .. } => match properties.all(REASON_STRING)[..] {
                [Value::Text(text)] => return text.clone(),
                ref other => panic!("one Reason String is expected: {other:?}"),
            },
            _ => {}
        }
    }
}

/// Which of a listener's keys it was, a client of 5.0 is told and whoever reads the log.
#[tokio::test]
async fn a_version_that_is_not_served_is_told_why_and_logged() {
    let all = [(Version::V31, "3.1"), (Version::V311, "3.1.1"), (Version::V5, "5.0")];
    for (served, name) in all {
        let broker = broker_with(&format!("protocols = [\"{name}\"]"));
        for (version, name) in all.into_iter().filter(|(version, _)| *version != served) {
            let mut client = Client::open(broker.address, version).await;

            client.send(&Connect::new(version, "stranger").encode());

            if version == Version::V5 {
                let text = last_words(&mut client).await;
                assert!(text.contains("listener.protocols"), "{text}");
            }
            let reason = format!("does not serve MQTT {name}:");
            logged(&broker, &["listener `narrow`", &reason, "listener.protocols"]).await;
        }
    }
}

/// The same of what a client asks for later, or in its Will.
#[tokio::test]
async fn what_a_listener_leaves_out_is_told_and_logged_by_its_key() {
    // One for each version: what a client brings about is logged only now and then.
    let broker = || {
        broker_with(
            "qos_max = 1\nretain = false\nwildcards = false\nshared = false\n\
             subscription_ids = false",
        )
    };
    let will = || Will::new("last/words", "gone");
    for version in BOTH {
        let broker = broker();
        let none = Properties::default();
        let cases = [
            ("retain", Some(will().retained()), Vec::new()),
            ("qos_max", Some(will().qos(2)), Vec::new()),
            ("retain", None, publish(version, 0x31, "t", 0, &none, b"x")),
            ("qos_max", None, publish(version, 0x34, "t", 1, &none, b"x")),
        ];
        for (number, (key, will, said)) in cases.into_iter().enumerate() {
            let name = format!("client-{version:?}-{number}");
            let connect = Connect::new(version, &name);
            let connect = will.map_or(connect.clone(), |will| connect.will(will));
            let mut client = Client::open(broker.address, version).await;

            client.send(&[connect.encode(), said].concat());

            is_told(&broker, &mut client, &name, key).await;
        }
    }
    let broker = broker();
    let named = Properties(vec![(SUBSCRIPTION_IDENTIFIER, Value::Variable(7))]);
    for (key, filter, properties) in [
        ("wildcards", "a/+", Properties::default()),
        ("shared", "$share/g/a", Properties::default()),
        ("subscription_ids", "a", named),
    ] {
        let name = format!("subscriber-{key}");
        let mut client = join(broker.address, Version::V5, &name).await;

        client.send_subscribe(&[(filter, 1)], &properties);

        is_told(&broker, &mut client, &name, key).await;
    }
}

/// A client whose connection ends for this key.
async fn is_told(broker: &Broker, client: &mut Client, name: &str, key: &str) {
    let key = format!("listener.{key}");
    if client.version == Version::V5 {
        let text = last_words(client).await;
        assert!(text.contains(&key), "{key}: {text}");
    }
    logged(broker, &[name, &key]).await;
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
        moved.disconnect().await;

        let mut back = Client::connect(full, &connect).await;
        assert!(back.message().await.retain);
    }
}
