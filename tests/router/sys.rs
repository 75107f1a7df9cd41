//! The server's own topics: wanted or not, retained beside the clients' messages, and forgotten.

use dunlin::change::Keeps;
use dunlin::packet::{RetainHandling, SubscriptionOptions};
use dunlin::topic::{SubscriptionFilter, TopicName};

use crate::support::{
    ONE, Peer, V311, World, ZERO, client, durable, options, retained, router_limits,
};

fn say(world: &mut World, topic: &str, payload: &str) {
    let topic = TopicName::parse(topic).unwrap();
    world.router.publish_sys(&mut world.courier, &topic, payload.as_bytes());
}

fn unsubscribe(world: &mut World, peer: &Peer, filter: &str) {
    let filter = SubscriptionFilter::parse(filter).unwrap();
    world.router.unsubscribe(&mut world.courier, &peer.attachment, &filter).unwrap();
}

/// Subscribes and reads what is retained.
fn look(world: &mut World, peer: &Peer, filter: &str) -> Vec<String> {
    let retain_handling = RetainHandling::Always;
    let options = SubscriptionOptions { retain_handling, ..SubscriptionOptions::new(ZERO) };
    world.subscribe(peer, filter, options);
    world.replay(peer);
    world.flush();
    peer.read()
}

#[test]
fn they_are_wanted_while_a_filter_begins_with_their_first_level() {
    let mut world = World::new();
    let a = world.join(client("a"));
    for filter in ["#", "+/broker/uptime", "$SYSTEM/#", "sys/#", "a/$SYS"] {
        world.subscribe(&a, filter, options(ZERO));
        assert!(!world.router.has_sys_subscriptions(), "{filter}");
    }

    for filter in ["$SYS/#", "$SYS", "$SYS/broker/uptime", "$SYS/+/uptime"] {
        world.subscribe(&a, filter, options(ZERO));
        assert!(world.router.has_sys_subscriptions(), "{filter}");
        unsubscribe(&mut world, &a, filter);
        assert!(!world.router.has_sys_subscriptions(), "{filter}");
    }
}

#[test]
fn they_are_wanted_until_the_last_subscription_is_gone() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "$SYS/#", ZERO);
    world.subscribe(&a, "$SYS/#", options(ONE));
    world.subscribe(&a, "$SYS/+", options(ONE));
    let b = world.subscriber(durable("b"), "$SYS/#", ZERO);

    unsubscribe(&mut world, &a, "$SYS/#");
    unsubscribe(&mut world, &a, "$SYS/#");
    world.lose(&a);
    world.lose(&b);
    assert!(world.router.has_sys_subscriptions(), "of a Session that is away");

    let b = world.join(durable("b"));
    unsubscribe(&mut world, &b, "$SYS/#");
    assert!(!world.router.has_sys_subscriptions());
}

#[test]
fn they_are_retained_for_who_comes_later_and_for_no_leading_wildcard() {
    let mut world = World::new();
    let early = world.subscriber(client("early"), "$SYS/#", ZERO);
    let all = world.subscriber(client("all"), "#", ZERO);
    say(&mut world, "$SYS/broker/uptime", "1 seconds");
    say(&mut world, "$SYS/broker/uptime", "2 seconds");
    say(&mut world, "$SYS/broker/version", "dunlin");
    world.publish(&all, &retained("user/x", "kept"));
    world.flush();
    let words = ["$SYS/broker/uptime:1 seconds", "$SYS/broker/uptime:2 seconds"];
    assert_eq!(early.read(), [words[0], words[1], "$SYS/broker/version:dunlin"]);

    let late = world.join(client("late"));

    let words = ["$SYS/broker/uptime:2 seconds retain", "$SYS/broker/version:dunlin retain"];
    assert_eq!(look(&mut world, &late, "$SYS/#"), words);
    assert_eq!(look(&mut world, &late, "$SYS/+/uptime"), words[..1]);
    assert_eq!(look(&mut world, &late, "$SYS/broker/version"), words[1..]);
    assert_eq!(look(&mut world, &late, "#"), ["user/x:kept retain"]);
    assert_eq!(look(&mut world, &late, "+/broker/+"), [""; 0]);
    assert_eq!(all.read(), ["user/x:kept"]);
}

#[test]
fn forgotten_nothing_of_them_is_left_and_nobody_is_told() {
    let mut world = World::new();
    let a = world.subscriber(client("a"), "$SYS/#", ZERO);
    world.publish(&a, &retained("user/x", "kept"));
    say(&mut world, "$SYS/broker/uptime", "1 seconds");
    world.flush();
    a.read();

    world.router.forget_sys();
    world.flush();

    assert_eq!(a.read(), [""; 0]);
    assert_eq!(look(&mut world, &a, "$SYS/#"), [""; 0]);
    assert_eq!(look(&mut world, &a, "#"), ["user/x:kept retain"]);
}

#[test]
fn no_limit_counts_them_and_no_store_keeps_them() {
    let mut limits = router_limits();
    limits.retained.messages_max = 1;
    let mut world = World::with(limits, Keeps::Changes);
    let a = world.join(client("a"));
    let (metrics, submitted) = (world.metrics.clone(), world.journal.submitted());
    for number in 0..10 {
        say(&mut world, &format!("$SYS/broker/{number}"), "x");
    }
    assert_eq!(world.journal.submitted(), submitted);
    assert_eq!([metrics.retained_messages.value(), metrics.retained_bytes.value()], [0, 0]);
    assert_eq!(metrics.total(|counters| &counters.retained_refused), 0);
    assert_eq!(metrics.total(|counters| &counters.publishes_received), 0);

    world.publish(&a, &retained("user/x", "the one"));
    world.journal.keep_all();

    assert_eq!(metrics.retained_messages.value(), 1);
    assert_eq!(look(&mut world, &a, "$SYS/#").len(), 10);
}

#[test]
fn they_wait_for_nobody_who_is_away() {
    let mut world = World::new();
    let a = world.subscriber(durable("a"), "$SYS/#", ONE);
    world.lose(&a);

    say(&mut world, "$SYS/broker/uptime", "1 seconds");

    assert_eq!(world.metrics.amount(|counters| &counters.session_messages), 0);
    let mut connecting = durable("a");
    connecting.version = V311;
    let a = world.join(connecting);
    say(&mut world, "$SYS/broker/uptime", "2 seconds");
    world.flush();
    assert_eq!(a.read(), ["$SYS/broker/uptime:2 seconds"]);
}
