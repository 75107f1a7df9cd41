//! Message Expiry Interval (3.3.2.3.3), also of Retained Messages (3.3.1.3).

use crate::vocabulary::*;

#[test]
fn v5_mqtt_3_3_2_5_a_message_that_expired_before_its_delivery_is_deleted() {
    with_clock(|world| {
        let mut away = world.connect(V5, lasting("away"));
        away.subscribed(subscribe("t").qos(2));
        away.leave();
        // One that does not read on keeps the rest of its messages waiting too.
        let mut slow = world.connect(V5, connect("slow").with(receive_maximum(1)));
        slow.subscribed(subscribe("t").qos(2));
        let mut publisher = world.connected(V5, "publisher");
        publisher.published(publish("t").qos(1).payload("in time"));
        slow.expect(publish("t").qos(1).payload("in time"));
        for qos in 1..=2 {
            let short = publish("t").qos(qos).payload("short").with(message_expiry_interval(10));
            publisher.published(short);
            let long = publish("t").qos(qos).payload("long").with(message_expiry_interval(20));
            publisher.published(long);
        }

        world.pass(10);

        slow.send(puback(1));
        let mut away = world.resume(V5, lasting("away"));
        away.takes(publish("t").qos(1).payload("in time"));
        for qos in 1..=2 {
            let long = publish("t").qos(qos).payload("long").with(message_expiry_interval(10));
            slow.takes(long.clone());
            away.takes(long);
        }
        slow.expect_nothing();
        away.expect_nothing();
    });
}

/// 3.1.1 has no such interval, but a message has it for all its subscribers.
#[test]
fn v5_mqtt_3_3_2_5_a_message_expires_for_subscribers_of_every_version() {
    with_clock(|world| {
        let mut away = world.connect(V311, lasting("away"));
        away.subscribed(subscribe("t").qos(1));
        away.leave();
        let mut publisher = world.connected(V5, "publisher");
        publisher.published(publish("t").qos(1).with(message_expiry_interval(10)));
        publisher.published(publish("t").qos(1).payload("stays"));

        world.pass(10);

        let mut away = world.resume(V311, lasting("away"));
        away.takes(publish("t").qos(1).payload("stays"));
        away.expect_nothing();
    });
}

/// In a group no member may have begun to take it, or one that is gone: then the next one gets none
/// that expired, and of the others what is left [MQTT-3.3.2-6].
#[test]
fn v5_mqtt_3_3_2_5_what_expired_in_a_group_is_given_to_nobody() {
    with_clock(|world| {
        for was_sent in [false, true] {
            let group = || subscribe("$share/g/t").qos(1);
            let mut first = world.subscriber(V5, "first", group());
            world.subscriber(V5, "second", group()).leave();
            let mut publisher = world.connected(V5, "publisher");
            let message = |text, seconds| {
                publish("t").qos(1).payload(text).with(message_expiry_interval(seconds))
            };
            if !was_sent {
                first.cut();
                first = world.connected(V5, "nobody");
            }
            for (text, seconds) in [("short", 10), ("long", 30)] {
                publisher.published(message(text, seconds));
                if was_sent {
                    first.expect(message(text, seconds));
                }
            }
            first.cut();

            world.pass(10);

            let mut second = world.resume(V5, lasting("second"));
            second.takes(message("long", 20));
            second.expect_nothing();
            second.leave();
            world.connected(V5, "first").leave();
            world.connected(V5, "second").leave();
        }
    });
}

#[test]
fn v5_mqtt_3_3_2_6_the_seconds_a_message_waited_are_taken_off() {
    with_clock(|world| {
        let mut away = world.connect(V5, lasting("away"));
        away.subscribed(subscribe("t").qos(2));
        away.leave();
        let mut publisher = world.connected(V5, "publisher");
        publisher.published(publish("t").qos(1).with(message_expiry_interval(100)));
        world.pass(25);
        publisher.published(publish("t").qos(2).with(message_expiry_interval(100)));
        publisher.published(publish("t").qos(2).with(message_expiry_interval(u32::MAX)));
        publisher.published(publish("t").qos(2));
        world.pass(5);

        let mut away = world.resume(V5, lasting("away"));

        away.expect(publish("t").qos(1).with(message_expiry_interval(70)));
        away.expect(publish("t").qos(2).with(message_expiry_interval(95)));
        away.expect(publish("t").qos(2).with(message_expiry_interval(u32::MAX - 5)));
        away.expect(publish("t").qos(2));
        away.expect_nothing();
    });
}

/// What is handed on at once is handed on as it came.
#[test]
fn v5_mqtt_3_3_2_6_a_message_that_does_not_wait_keeps_its_interval() {
    everywhere(|world| {
        let mut subscriber = world.connected(V5, "subscriber");
        subscriber.subscribed(subscribe("t").qos(2));
        let mut old = world.connected(V311, "old");
        old.subscribed(subscribe("t").qos(2));
        let mut publisher = world.connected(V5, "publisher");

        for seconds in [0, 1, 3_600, u32::MAX] {
            for qos in 0..=2 {
                let message = publish("t").qos(qos).with(message_expiry_interval(seconds));

                publisher.published(message.clone());

                subscriber.takes(message.clone());
                old.takes(message);
            }
        }
    });
}

/// [MQTT-4.3.3-7]: what the client may have already is sent again, and its interval is over.
#[test]
fn v5_mqtt_3_3_2_6_a_message_sent_before_is_sent_again_with_what_is_left() {
    with_clock(|world| {
        let mut subscriber = world.connect(V5, lasting("subscriber"));
        subscriber.subscribed(subscribe("t").qos(2));
        let mut publisher = world.connected(V5, "publisher");
        for qos in 1..=2 {
            let message = publish("t").qos(qos).with(message_expiry_interval(10));
            publisher.published(message.clone());
            subscriber.expect(message);
        }
        subscriber.cut();

        for (seconds, left) in [(4, 6), (6, 0), (10, 0)] {
            world.pass(seconds);
            let mut subscriber = world.resume(V5, lasting("subscriber"));
            for qos in 1..=2 {
                let message = publish("t").qos(qos).dup();
                subscriber.expect(message.with(message_expiry_interval(left)));
            }
            subscriber.cut();
        }
    });
}

/// 5.0 s3.3.1.3 [MQTT-3.3.2-5] [MQTT-3.3.2-6]
#[test]
fn a_retained_message_counts_down_and_is_gone_when_it_expires() {
    with_clock(|world| {
        let mut publisher = world.connected(V5, "publisher");
        publisher.published(publish("t").qos(1).with(message_expiry_interval(60)).retain());
        publisher.published(publish("stays").qos(1).retain());
        let mut counted = Vec::new();

        for _ in 0..3 {
            world.pass(15);
            let mut late = world.connected(V5, "late");
            late.subscribed(subscribe("t").qos(1));
            counted.push(late.message().properties);
            let mut old = world.connected(V311, "old");
            old.subscribed(subscribe("t").qos(1));
            old.expect(publish("t").qos(1).retain());
        }
        world.pass(15);

        let left = counted.into_iter().map(|properties| properties.0);
        let expected = [45, 30, 15].map(|seconds| vec![message_expiry_interval(seconds)]);
        assert_eq!(left.collect::<Vec<_>>(), expected);
        for version in BOTH {
            let mut late = world.connected(version, "late");
            late.subscribed(subscribe("#").qos(1));
            late.expect(publish("stays").qos(1).retain());
            late.expect_nothing();
        }
    });
}

/// 5.0 s3.3.1.3: the interval is that of the message, not of the topic.
#[test]
fn a_retained_message_does_not_expire_with_the_interval_of_the_one_it_replaced() {
    with_clock(|world| {
        let mut publisher = world.connected(V5, "publisher");
        publisher.published(publish("forever").with(message_expiry_interval(10)).retain());
        publisher.published(publish("forever").payload("new").retain());
        publisher.published(publish("longer").with(message_expiry_interval(10)).retain());
        let longer = publish("longer").payload("new").with(message_expiry_interval(30));
        publisher.published(longer.retain());
        publisher.published(publish("shorter").retain());
        let shorter = publish("shorter").payload("new").with(message_expiry_interval(10));
        publisher.published(shorter.retain());

        world.pass(20);

        let mut late = world.connected(V5, "late");
        late.subscribed(subscribe("#"));
        let longer = publish("longer").payload("new").with(message_expiry_interval(10));
        late.expect_any_order(&[&publish("forever").payload("new").retain(), &longer.retain()]);
        late.expect_nothing();
    });
}

/// 5.0 s3.3.1.3: an expired message makes room, and its topic can have another.
#[test]
fn an_expired_retained_message_does_not_count() {
    with_clock_and("[retained]\nmessages_max = 1\n", |world| {
        let mut publisher = world.connected(V5, "publisher");
        let first = publish("first").qos(1).with(message_expiry_interval(10));
        publisher.published(first.retain());
        publisher.send(publish("second").qos(1).retain());
        publisher.expect(puback(1).code(0x97));

        world.pass(11);

        publisher.published(publish("second").qos(1).retain());
        let mut late = world.connected(V5, "late");
        late.subscribed(subscribe("#").qos(1));
        late.expect(publish("second").qos(1).retain());
        late.expect_nothing();
    });
}

/// 5.0 s3.3.2.3.3 leaves open what 0 means: delivered at once or not at all. [MQTT-3.3.2-5]
#[test]
fn a_message_with_expiry_interval_0_reaches_only_who_takes_it_at_once() {
    everywhere(|world| {
        let mut away = world.connect(V5, lasting("away"));
        away.subscribed(subscribe("t").qos(2));
        away.leave();
        let mut full = world.connect(V5, connect("full").with(receive_maximum(1)));
        full.subscribed(subscribe("t").qos(2));
        let mut live = world.connected(V5, "live");
        live.subscribed(subscribe("t").qos(2));
        let mut publisher = world.connected(V5, "publisher");
        publisher.published(publish("t").qos(1).payload("first"));
        full.expect(publish("t").qos(1).payload("first"));
        live.takes(publish("t").qos(1).payload("first"));

        for qos in 1..=2 {
            let fleeting = publish("t").qos(qos).with(message_expiry_interval(0));
            publisher.published(fleeting.clone());
            live.takes(fleeting);
        }

        full.send(puback(1));
        full.expect_nothing();
        let mut away = world.resume(V5, lasting("away"));
        away.takes(publish("t").qos(1).payload("first"));
        away.expect_nothing();
    });
}

/// It takes the place of the earlier one all the same. [MQTT-3.3.1-5]
#[test]
fn a_retained_message_with_expiry_interval_0_is_not_kept() {
    everywhere(|world| {
        let mut live = world.connected(V5, "live");
        live.subscribed(subscribe("t").qos(1));
        let mut publisher = world.connected(V5, "publisher");
        publisher.published(publish("t").qos(1).payload("earlier").retain());
        live.takes(publish("t").qos(1).payload("earlier"));

        publisher.published(publish("t").qos(1).with(message_expiry_interval(0)).retain());

        live.takes(publish("t").qos(1).with(message_expiry_interval(0)));
        for version in BOTH {
            let mut late = world.connected(version, "late");
            late.subscribed(subscribe("t").qos(1));
            late.expect_nothing();
        }
    });
}
