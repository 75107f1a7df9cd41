//! Shared Subscriptions over sockets, in both versions.

use crate::support::{
    BOTH, Broker, Connect, Properties, Value, Version, join, numbers, taker,
    wire::{SHARED_SUBSCRIPTION_AVAILABLE, SUBSCRIPTION_IDENTIFIER},
};

const GROUP: &str = "$share/group/work/#";

// 5.0 s3.2.2.3.13: absent means available.
#[tokio::test]
async fn shared_subscriptions_are_announced_as_available() {
    let broker = Broker::start();

    let client = join(broker.address, Version::V5, "client").await;

    assert!(client.properties.all(SHARED_SUBSCRIPTION_AVAILABLE).is_empty());
}

// 5.0 s4.8.2
#[tokio::test]
async fn members_of_any_version_share_what_is_published() {
    let broker = Broker::start();
    let mut publisher = join(broker.address, Version::V5, "publisher").await;
    for qos in [0, 1, 2] {
        let mut members = Vec::new();
        for version in [Version::V31, Version::V311, Version::V5] {
            let name = format!("{version:?}");
            members.push(taker(broker.address, version, &name, GROUP, qos).await);
        }

        for number in 0..30_u32 {
            let code = publisher.publish_and_wait("work/a", number.to_string(), qos).await;
            assert_eq!(code, 0);
        }

        // Each reads until its own marker: how many a member gets depends on how soon it answers.
        let mut all = Vec::new();
        for member in &mut members {
            let own = format!("to/{:?}", member.version);
            member.subscribe(&own, qos).await;
            publisher.publish_and_wait(&own, "marker", qos).await;
            loop {
                let message = member.message().await;
                if message.text() == "marker" {
                    break;
                }
                all.push(message.number());
            }
        }
        all.sort_unstable();
        assert_eq!(all, (0..30).collect::<Vec<u32>>());
    }
}

#[tokio::test]
async fn a_shared_message_carries_the_identifier_of_the_members_subscription() {
    let broker = Broker::start();
    let mut member = join(broker.address, Version::V5, "member").await;
    let named = Properties(vec![(SUBSCRIPTION_IDENTIFIER, Value::Variable(9))]);
    member.subscribe_with(&[(GROUP, 1)], &named).await;
    member.subscribe("work/a", 0).await;

    member.publish_and_wait("work/a", "x", 1).await;

    let mut found = [member.message().await, member.message().await]
        .map(|message| (message.qos, message.properties.subscription_identifiers()));
    found.sort_by_key(|(qos, _)| *qos);
    assert_eq!(found, [(0, vec![]), (1, vec![9])]);
}

#[tokio::test]
async fn what_a_member_leaves_unacknowledged_goes_to_another_at_once() {
    let broker = Broker::start();
    for version in BOTH {
        let mut lost = taker(broker.address, version, "lost", GROUP, 1).await;
        lost.withhold_answers();
        let mut publisher = join(broker.address, version, "publisher").await;
        for number in 0..5_u32 {
            publisher.publish_and_wait("work/a", number.to_string(), 1).await;
        }
        assert_eq!(numbers(&mut lost, 5).await, [0, 1, 2, 3, 4]);
        let mut other = taker(broker.address, version, "other", GROUP, 1).await;

        lost.reset();

        assert_eq!(numbers(&mut other, 5).await, [0, 1, 2, 3, 4]);
    }
}

#[tokio::test]
async fn a_group_keeps_messages_while_its_lasting_members_are_away() {
    let broker = Broker::start();
    for version in BOTH {
        let lasting = Connect::lasting(version, "lasting");
        let mut member = crate::support::Client::connect(broker.address, &lasting).await;
        member.subscribe(GROUP, 1).await;
        member.disconnect(0).await;
        let mut publisher = join(broker.address, version, "publisher").await;
        for number in 0..5_u32 {
            publisher.publish_and_wait("work/a", number.to_string(), 1).await;
        }

        let mut member = crate::support::Client::connect(broker.address, &lasting).await;

        assert!(member.session_present);
        assert_eq!(numbers(&mut member, 5).await, [0, 1, 2, 3, 4]);
        member.unsubscribe(GROUP).await;
    }
}

// 5.0 s4.8.2; so for clients of every version.
#[tokio::test]
async fn a_shared_subscription_brings_no_retained_messages() {
    let broker = Broker::start();
    let mut publisher = join(broker.address, Version::V5, "publisher").await;
    let retained = publisher.publish_retained("work/kept", "old", 1);
    publisher.published(retained).await;
    for version in BOTH {
        let mut member = taker(broker.address, version, "member", GROUP, 1).await;

        publisher.publish_and_wait("work/kept", "marker", 1).await;

        assert_eq!(member.message().await.text(), "marker");
    }
}

// A durable member that is away, and a watcher who is told.
#[tokio::test]
async fn the_lag_of_each_group_is_published() {
    let broker = Broker::start();
    let lasting = Connect::lasting(Version::V5, "lasting");
    let mut member = crate::support::Client::connect(broker.address, &lasting).await;
    member.subscribe(GROUP, 1).await;
    member.disconnect(0).await;
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
