//! The Will Message in time: delays, silence, takeovers, ends of Sessions (3.1.2.5, 3.1.3.2).

use crate::vocabulary::said::Publish;
use crate::vocabulary::*;

fn watcher(world: &World, version: Version) -> Client {
    let mut watcher = world.connected(version, "watcher");
    watcher.subscribed(subscribe("will").qos(2));
    watcher
}

fn will() -> Will {
    Will::new("will", "gone")
}

/// A Will of 5.0 that waits for so many seconds.
fn late(seconds: u32) -> Will {
    will().with(will_delay_interval(seconds))
}

/// What the watcher gets of it.
fn gone() -> Publish {
    publish("will").payload("gone").qos(1)
}

/// [MQTT-3.1.2-8] [MQTT3-3.1.2-24]
#[test]
fn v311_mqtt_3_1_2_8_the_will_is_published_when_a_client_is_silent() {
    with_clock_in_both(|world, version| {
        let mut watcher = watcher(world, version);
        let mut client = world.connect(version, connect("client").keep_alive(10).will(will()));
        world.pass(14);
        watcher.expect_nothing();

        world.pass(1);

        client.ends(0x8D);
        watcher.expect(gone());
        world.pass(1_000);
        watcher.expect_nothing();
    });
}

/// Nor on a later connection, with a Will or without [MQTT-3.1.2-10].
#[test]
fn v311_mqtt_3_1_2_10_a_will_is_published_once() {
    everywhere_in_both(|world, version| {
        let mut watcher = watcher(world, version);
        world.connect(version, lasting("client").will(will())).cut();
        watcher.expect(gone());

        world.resume(version, lasting("client")).cut();
        world.resume(version, lasting("client").will(Will::new("will", "other"))).cut();

        watcher.expect(publish("will").payload("other").qos(1));
        world.resume(version, lasting("client")).leave();
        watcher.expect_nothing();
    });
}

/// It is stored with the Session: the connection it came on may be long gone [MQTT-3.1.2-7].
#[test]
fn v5_mqtt_3_1_2_8_a_will_with_a_delay_waits_for_it() {
    with_clock(|world| {
        let mut watcher = watcher(world, V5);
        world.connect(V5, lasting("client").will(late(10))).cut();

        world.pass(9);
        watcher.expect_nothing();
        world.pass(1);
        watcher.expect(gone());

        world.resume(V5, lasting("client")).cut();
        world.pass(3_600);
        watcher.expect_nothing();
    });
}

/// 5.0 s3.1.3.2.2: the end of the Session does not wait for the delay.
#[test]
fn v5_mqtt_3_1_2_8_a_will_is_published_when_its_session_ends() {
    with_clock(|world| {
        let mut watcher = watcher(world, V5);
        let brief = || connect("client").with(session_expiry_interval(10));

        // With the connection, since it has no Session Expiry Interval.
        world.connect(V5, connect("client").will(late(100))).cut();
        watcher.expect(gone());
        // When that interval is over.
        world.connect(V5, brief().will(late(100))).cut();
        world.pass(9);
        watcher.expect_nothing();
        world.pass(1);
        watcher.expect(gone());
        // As the DISCONNECT says.
        let mut client = world.connect(V5, brief().will(late(100)));
        client.send(disconnect().code(0x04).with(session_expiry_interval(0)));
        client.closes();
        watcher.expect(gone());
        // By a Clean Start.
        world.connect(V5, brief().will(late(100))).cut();
        let fresh = world.connect(V5, brief());
        watcher.expect(gone());
        fresh.leave();
        // With a connection that is taken over, since it has no Session Expiry Interval.
        let short = || connect("short").no_clean_start();
        let mut old = world.connect(V5, short().will(late(100)));
        world.connect(V5, short()).leave();
        old.ends(0x8E);
        watcher.expect(gone());

        world.pass(1_000);
        watcher.expect_nothing();
    });
}

/// [MQTT-3.1.2-8]: on a new connection it is a new Will that waits.
#[test]
fn v5_mqtt_3_1_3_9_a_client_that_is_back_in_time_cancels_its_will() {
    with_clock(|world| {
        let mut watcher = watcher(world, V5);
        world.connect(V5, lasting("client").will(late(10))).cut();
        world.pass(9);

        let client = world.resume(V5, lasting("client"));

        world.pass(100);
        watcher.expect_nothing();
        client.cut();
        world.pass(100);
        watcher.expect_nothing();
        let other = Will::new("will", "other").with(will_delay_interval(20));
        world.resume(V5, lasting("client").will(late(10))).cut();
        world.pass(9);
        world.resume(V5, lasting("client").will(other)).cut();
        world.pass(19);
        watcher.expect_nothing();
        world.pass(1);
        watcher.expect(publish("will").payload("other").qos(1));
    });
}

/// 5.0 s3.1.3.2.2: a new connection to the Session cancels what waits; what has no delay does not.
#[test]
fn v5_mqtt_3_1_3_9_a_takeover_cancels_only_a_will_with_a_delay() {
    with_clock(|world| {
        let mut watcher = watcher(world, V5);
        let mut first = world.connect(V5, lasting("client").will(late(10)));

        let mut second = world.resume(V5, lasting("client").will(will()));
        first.ends(0x8E);
        world.pass(100);
        watcher.expect_nothing();
        let third = world.resume(V5, lasting("client").will(late(10)));
        second.ends(0x8E);
        watcher.expect(gone());
        let fourth = world.connect(V5, connect("client"));
        // A Clean Start ends the Session and with it the wait.
        watcher.expect(gone());

        drop((third, fourth));
        world.pass(100);
        watcher.expect_nothing();
    });
}

/// 5.0 s3.14.2.1: 0x04 asks for it, and errors do not forbid it; the delay counts from then on.
#[test]
fn v5_mqtt_3_14_4_3_any_other_disconnect_leaves_the_will_in_force() {
    with_clock(|world| {
        let mut watcher = watcher(world, V5);
        for code in [0x04, 0x80, 0x81, 0x93, 0x99] {
            let mut client = world.connect(V5, connect("client").will(will()));
            client.send(disconnect().code(code));
            client.closes();
            watcher.expect(gone());

            let lasting = connect("late").with(session_expiry_interval(100));
            let mut client = world.connect(V5, lasting.will(late(10)));
            client.send(disconnect().code(code));
            client.closes();
            world.pass(9);
            watcher.expect_nothing();
            world.pass(1);
            watcher.expect(gone());
        }
        watcher.expect_nothing();
    });
}

/// 5.0 s3.1.3.2.4: the interval begins when the Will is published, not when it was stored.
#[test]
fn v5_3_1_3_2_4_the_lifetime_of_a_will_begins_with_its_publication() {
    with_clock(|world| {
        let mut watcher = watcher(world, V5);
        world.subscriber(V5, "away", subscribe("will").qos(1)).cut();
        world.subscriber(V5, "too late", subscribe("will").qos(1)).cut();
        let client = lasting("client").will(late(20).with(message_expiry_interval(10)));
        let client = world.connect(V5, client);
        world.pass(50);
        client.cut();
        world.pass(20);
        watcher.expect(gone().with(message_expiry_interval(10)));

        world.pass(4);

        let mut away = world.resume(V5, lasting("away"));
        away.expect(gone().with(message_expiry_interval(6)));
        world.pass(6);
        let mut too_late = world.resume(V5, lasting("too late"));
        too_late.expect_nothing();
    });
}

/// With the other properties of the Will, after a delay too (5.0 s3.1.3.2.3, .5 to .7).
#[test]
fn v5_mqtt_3_1_3_10_a_will_keeps_its_user_properties_in_their_order() {
    with_clock(|world| {
        let mut watcher = watcher(world, V5);
        let will = late(10)
            .with(user_property("b", "1"))
            .with(payload_format_indicator(1))
            .with(user_property("a", "2"))
            .with(content_type("text/plain"))
            .with(response_topic("answer"))
            .with(correlation_data(b"\x00\x01"))
            .with(user_property("b", "1"))
            .with(user_property("b", "0"));
        world.connect(V5, lasting("client").will(will)).cut();

        world.pass(10);

        watcher.expect(
            gone()
                .with(payload_format_indicator(1))
                .with(content_type("text/plain"))
                .with(response_topic("answer"))
                .with(correlation_data(b"\x00\x01"))
                .with(user_property("b", "1"))
                .with(user_property("a", "2"))
                .with(user_property("b", "1"))
                .with(user_property("b", "0")),
        );
    });
}

/// Also out of a queue, at QoS 2 and as a Retained Message.
#[test]
fn v5_mqtt_3_1_3_10_a_will_that_is_kept_keeps_its_user_properties() {
    everywhere(|world| {
        world.subscriber(V5, "away", subscribe("will").qos(2)).leave();
        let pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("b", "0")];
        let properties = pairs.map(|(name, value)| user_property(name, value));
        let will = properties.iter().cloned().fold(will().qos(2).retained(), Will::with);
        let kept = properties.into_iter().fold(gone().qos(2), Publish::with);

        world.connect(V5, connect("client").will(will)).cut();

        let mut away = world.resume(V5, lasting("away"));
        away.takes(kept.clone());
        let mut late = world.connected(V5, "late");
        late.subscribed(subscribe("will").qos(2));
        late.takes(kept.retain());
    });
}

/// What the client said before is carried out before its Will.
#[test]
fn v5_3_1_2_5_a_will_is_the_last_word() {
    everywhere_in_both(|world, version| {
        let mut watcher = watcher(world, version);
        let mut client = world.connect(version, connect("client").will(will()));

        for number in 1..=50 {
            client.send(publish("will").qos(1).id(number).payload(number.to_string()));
        }
        client.cut();

        for number in 1..=50 {
            watcher.expect(publish("will").qos(1).payload(number.to_string()));
        }
        watcher.expect(gone());
    });
}
