//! What Sessions and connections weigh against the memory budget: everything that a client makes
//! them hold, and no more once it is gone.

use dunlin::change::{Epoch, Keeps};
use dunlin::packet::{Delivery, Identity, Publish, PublishProperties, QoS, ReasonCode};
use dunlin::session::{Connection, Effects, Session, Will};

use crate::support::{
    Desk, V5, accepted, client_id, connect, expiry, filter, id, limits, message, seconds,
    subscription, terms, unheard_of,
};

/// Of a Session alone, as measured.
const SESSION_BYTES: usize = 781;

/// Less than anything can be that stands in a list of the Session.
const ENTRY_BYTES_MIN: usize = 32;

fn weight_of_session(name: &str) -> usize {
    let mut effects = Effects::default();
    let identity = Identity::Anonymous;
    Session::new(client_id(name), identity, expiry(60), Keeps::Nothing, Epoch(1), &mut effects)
        .state_bytes()
}

/// What a Subscription adds.
fn weight_of_subscription(text: &str) -> usize {
    let mut desk = Desk::new();
    let before = desk.session.state_bytes();
    let mut wanted = subscription(QoS::AtMostOnce);
    wanted.options.retain_handling = dunlin::packet::RetainHandling::Never;
    desk.session.subscribe(&filter(text), wanted, &desk.limits, &mut desk.effects).unwrap();
    desk.session.state_bytes() - before
}

#[test]
fn a_session_weighs_what_was_measured_and_its_name_twice() {
    let short = weight_of_session("a");
    let long = weight_of_session(&"a".repeat(101));

    assert!(short > SESSION_BYTES);
    assert_eq!(long - short, 2 * 100);
}

#[test]
fn a_subscription_weighs_what_was_measured_and_its_filter_twice() {
    let short = weight_of_subscription("a");
    let long = weight_of_subscription(&"a".repeat(41));

    assert!(short > 222 + 2 * 26);
    assert_eq!(long - short, 2 * 40);
}

#[test]
fn each_subscription_that_waits_for_retained_messages_adds_to_the_weight() {
    let mut desk = Desk::new();
    let mut weights = Vec::new();

    // The same one again: only what waits grows.
    for _ in 0..3 {
        let wanted = subscription(QoS::AtMostOnce);
        desk.session.subscribe(&filter("a"), wanted, &desk.limits, &mut desk.effects).unwrap();
        weights.push(desk.session.state_bytes());
    }

    assert!(weights[0] > weight_of_subscription("a"));
    assert!(weights[1] > weights[0] + ENTRY_BYTES_MIN);
    assert_eq!(weights[2] - weights[1], weights[1] - weights[0]);
}

#[test]
fn each_identifier_that_waits_for_its_pubcomp_adds_to_the_weight_and_no_longer() {
    let mut desk = Desk::new();
    let mut weights = vec![desk.session.state_bytes()];
    for value in 1..=2 {
        desk.offer("a", QoS::ExactlyOnce, &terms(8));
        desk.session.pubrec(id(value), ReasonCode::Success, &mut desk.effects).unwrap();
        weights.push(desk.session.state_bytes());
    }

    desk.session.pubcomp(id(1), &mut desk.effects).unwrap();
    let one_left = desk.session.state_bytes();
    desk.session.pubcomp(id(2), &mut desk.effects).unwrap();

    assert!(weights[1] > weights[0] + ENTRY_BYTES_MIN);
    assert_eq!(weights[2] - weights[1], weights[1] - weights[0]);
    assert_eq!((one_left, desk.session.state_bytes()), (weights[1], weights[0]));
}

#[test]
fn identifiers_that_wait_for_pubrel_add_to_the_weight() {
    let mut desk = Desk::new();
    let before = desk.session.state_bytes();

    for value in 1..=1_000 {
        desk.session.receive_publish(id(value), &mut desk.effects);
    }

    let bytes_of_identifiers = 1_000 * 2;
    assert!(desk.session.state_bytes() >= before + bytes_of_identifiers);
}

#[test]
fn a_will_weighs_its_message_and_a_little_more() {
    let mut desk = Desk::new();
    let before = desk.session.state_bytes();
    let will =
        Will { message: message("gone"), expiry: None, delay: seconds(3), patience: seconds(60) };

    desk.session.set_will(Some(will), &mut desk.effects);

    let weight = desk.session.state_bytes() - before;
    assert!((1..=128).contains(&(weight - message("gone").bytes())), "{weight}");
}

/// A connection whose client allows the server so many Topic Aliases.
fn connection(topic_alias_maximum: u16) -> Connection {
    let mut connect = connect(V5);
    connect.properties.topic_alias_maximum = topic_alias_maximum;
    accepted(&connect, &limits()).unwrap().connection
}

fn publish(connection: &mut Connection, topic: &str, topic_alias: Option<u16>) {
    let publish = Publish {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: topic.as_bytes(),
        properties: PublishProperties { topic_alias, ..PublishProperties::default() },
        payload: b"",
    };
    connection.publish(&publish, &limits(), unheard_of).unwrap();
}

#[test]
fn a_connection_weighs_the_topic_of_its_last_publish() {
    let mut connection = connection(0);
    assert_eq!(connection.memory_bytes(), 0);

    publish(&mut connection, "a/b", None);
    let short = connection.memory_bytes();
    publish(&mut connection, "a/b/cd", None);
    let longer = connection.memory_bytes();

    assert!(short > "a/b".len());
    assert_eq!(longer - short, "/cd".len());
}

#[test]
fn a_connection_weighs_the_topic_of_each_alias_until_it_is_replaced() {
    let mut connection = connection(0);
    publish(&mut connection, "topic", None);
    let one = connection.memory_bytes();

    publish(&mut connection, "topic", Some(2));
    let two = connection.memory_bytes();
    publish(&mut connection, "topic", Some(3));
    let three = connection.memory_bytes();
    publish(&mut connection, "topic/x", Some(3));
    let longer = connection.memory_bytes();

    assert_eq!((two, three), (2 * one, 3 * one));
    assert_eq!(longer - three, 2 * "/x".len(), "the alias and the last topic");
}

#[test]
fn each_alias_the_server_may_set_adds_to_the_weight_before_it_does() {
    let weights = [0, 1, 3].map(|maximum| connection(maximum).memory_bytes());

    assert_eq!(weights[0], 0);
    assert!(weights[1] > 0);
    assert_eq!(weights[2], 3 * weights[1]);
}
