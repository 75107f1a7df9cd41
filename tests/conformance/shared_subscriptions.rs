//! Shared Subscriptions (5.0 4.8), which dunlin has for clients of every version.

use crate::vocabulary::connect::Connect;
use crate::vocabulary::*;

const GROUP: &str = "$share/g/a/+";

/// A Session of a client of its own, which outlives its connection.
fn session(version: Version, client_id: &str) -> Connect {
    lasting(&format!("{client_id} {version:?}"))
}

/// Publishes numbers at QoS 1.
fn publish_numbers(publisher: &mut Client, numbers: std::ops::Range<u32>) {
    for number in numbers {
        publisher.published(publish("a/b").qos(1).payload(number.to_string()));
    }
}

/// What has come, as numbers.
fn numbers(client: &mut Client) -> Vec<u32> {
    client.send(pingreq());
    let mut numbers = Vec::new();
    loop {
        match client.next() {
            Packet::Publish(message) => numbers.push(message.number()),
            Packet::PingResp => return numbers,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn v5_mqtt_4_8_2_1_a_share_name_has_at_least_one_character() {
    everywhere(|world| {
        for (version, invalid) in [(V311, 0x80), (V5, 0x8F)] {
            let mut client = world.connected(version, "c");

            for filter in ["$share//a", "$share/", "$share///", "$share//#"] {
                client.send(subscribe(filter));
                client.expect(suback(1, &[invalid]));
            }

            client.subscribed(subscribe("$share/x/a").and("$share/\u{e9}t\u{e9} $!/b"));
            client.send_all(&[&publish("a"), &publish("b"), &publish("/"), &publish("//")]);
            client.expect(publish("a"));
            client.expect(publish("b"));
            client.expect_nothing();
        }
    });
}

#[test]
fn v5_mqtt_4_8_2_2_a_share_name_has_no_wildcard_and_a_filter_follows_it() {
    everywhere(|world| {
        for (version, invalid) in [(V311, 0x80), (V5, 0x8F)] {
            let mut client = world.connected(version, "c");
            let none = ["$share/g", "$share/g/", "$share/+/a", "$share/g+/a", "$share/#/a"];
            let wrong = ["$share/#", "$share/g#/a", "$share/g/a#", "$share/g/#/a", "$share/g/a+"];

            for filter in none.into_iter().chain(wrong) {
                client.send(subscribe(filter));
                client.expect(suback(1, &[invalid]));
            }

            client.subscribed(subscribe("$share/g//a").and("$share/g/$share/h/b"));
            client.send_all(&[&publish("/a"), &publish("a")]);
            client.expect(publish("/a"));
            client.expect_nothing();
        }
    });
}

#[test]
fn v5_mqtt_4_8_2_3_a_message_is_within_the_qos_granted_to_its_member() {
    everywhere(|world| {
        for version in BOTH {
            let mut publisher = world.connected(version, "publisher");
            for granted in [0, 1, 2] {
                let mut member = world.connected(version, "member");
                member.subscribed(subscribe(GROUP).qos(granted));

                for sent in [0, 1, 2] {
                    publisher.published(publish("a/b").qos(sent));
                    member.expect(publish("a/b").qos(granted.min(sent)));
                }
                member.expect_nothing();
            }
        }
    });
}

/// Each member's own, though they share the messages; and the newest one of a member.
#[test]
fn v5_mqtt_4_8_2_3_members_of_one_group_may_have_different_qos() {
    everywhere(|world| {
        let mut publisher = world.connected(V5, "publisher");
        let mut members = [0, 1, 2].map(|qos| {
            let mut member = world.connected(V5, &format!("member {qos}"));
            member.subscribed(subscribe(GROUP).qos(2 - qos));
            member.subscribed(subscribe(GROUP).qos(qos));
            member
        });

        for _ in 0..30 {
            publisher.published(publish("a/b").qos(2));
        }

        let mut count = 0;
        for (qos, member) in (0..).zip(&mut members) {
            member.send(pingreq());
            while let Packet::Publish(message) = member.next() {
                assert_eq!(message.qos, qos);
                count += 1;
            }
        }
        assert_eq!(count, 30);
    });
}

/// 5.0 s4.8.2
#[test]
fn v5_each_message_goes_to_one_member_of_each_group() {
    everywhere(|world| {
        let mut publisher = world.connected(V5, "publisher");
        let mut members = [("a", V31), ("b", V311), ("c", V5), ("d", V5)].map(|(id, version)| {
            let mut member = world.connected(version, id);
            member.subscribed(subscribe("$share/g/a/+").qos(1));
            member
        });
        let mut alone = world.connected(V5, "alone");
        alone.subscribed(subscribe("$share/h/a/+").and("$share/g/a/#"));

        publish_numbers(&mut publisher, 0..40);

        let got: Vec<Vec<u32>> = members.iter_mut().map(numbers).collect();
        assert!(got.iter().all(|numbers| !numbers.is_empty()), "{got:?}");
        let mut all: Vec<u32> = got.concat();
        all.sort_unstable();
        assert_eq!(all, (0..40).collect::<Vec<u32>>());
        // It has two groups of its own: another name, and another filter.
        let twice: Vec<u32> = (0..40).flat_map(|number| [number, number]).collect();
        let mut both = numbers(&mut alone);
        both.sort_unstable();
        assert_eq!(both, twice);
    });
}

/// 5.0 s4.8.2: a Session has both, with their identifiers and options.
#[test]
fn v5_shared_and_own_subscriptions_of_one_client_bring_a_message_each() {
    everywhere(|world| {
        let mut member = world.connected(V5, "member");
        member.subscribed(subscribe("a/b").qos(1).no_local().with(subscription_identifier(1)));
        member.subscribed(subscribe("a/#").qos(2).with(subscription_identifier(2)));
        member.subscribed(subscribe("$share/g/a/b").qos(0).with(subscription_identifier(3)));
        member.subscribed(subscribe("$share/g/a/+").qos(1).with(subscription_identifier(4)));
        let mut publisher = world.connected(V5, "publisher");

        publisher.published(publish("a/b").qos(2));

        let own = publish("a/b").qos(2);
        let own = own.with(subscription_identifier(1)).with(subscription_identifier(2));
        member.expect_any_order(&[
            &own,
            &publish("a/b").with(subscription_identifier(3)),
            &publish("a/b").qos(1).with(subscription_identifier(4)),
        ]);
        member.expect_nothing();
    });
}

/// Also what waited in the group, with the member's own Subscription Identifier [MQTT-3.3.4-5].
#[test]
fn v5_mqtt_4_8_2_3_a_message_that_waited_is_within_the_qos_of_who_takes_it() {
    everywhere(|world| {
        let as_granted = |id: u32| subscribe(GROUP).qos(1).with(subscription_identifier(id));
        world.subscriber(V5, "first", as_granted(7)).leave();
        let mut second = world.subscriber(V5, "second", as_granted(8));
        second.subscribed(subscribe(GROUP).qos(2).with(subscription_identifier(9)));
        second.leave();
        let mut publisher = world.connected(V5, "publisher");
        for payload in ["1", "2"] {
            publisher.published(publish("a/b").qos(2).payload(payload));
        }

        let mut first = world.resume(V5, lasting("first").with(receive_maximum(1)));
        let mut second = world.resume(V5, lasting("second"));

        let message = publish("a/b").qos(1).payload("1");
        first.expect(message.with(subscription_identifier(7)));
        let message = publish("a/b").qos(2).payload("2");
        second.takes(message.with(subscription_identifier(9)));
        second.expect_nothing();
        first.expect_nothing();
    });
}

/// Each member as it asked, at once and out of the group [MQTT-3.3.1-12] [MQTT-3.3.1-13].
#[test]
fn v5_retain_as_published_holds_for_a_member_as_for_others() {
    everywhere(|world| {
        let mut publisher = world.connected(V5, "publisher");
        for keeps in [false, true] {
            let options = if keeps { 0x08 } else { 0x00 };
            let as_sent = |qos| {
                let message = publish("a/b").qos(qos);
                if keeps { message.retain() } else { message }
            };
            let mut member =
                world.subscriber(V5, "member", subscribe(GROUP).qos(2).option(options));
            for qos in 0..=2 {
                publisher.published(publish("a/b").qos(qos).retain());
                member.takes(as_sent(qos));
                publisher.published(publish("a/b").qos(qos));
                member.takes(publish("a/b").qos(qos));
            }
            member.leave();
            for qos in 1..=2 {
                publisher.published(publish("a/b").qos(qos).retain());
            }

            let mut member = world.resume(V5, lasting("member"));

            member.takes(as_sent(1));
            member.takes(as_sent(2));
            member.expect_nothing();
            world.connected(V5, "member").leave();
        }
    });
}

/// 5.0 s3.8.4, s4.8.2; dunlin does so in every version.
#[test]
fn v5_a_shared_subscription_brings_no_retained_messages() {
    everywhere(|world| {
        let mut publisher = world.connected(V5, "publisher");
        publisher.published(publish("a/kept").qos(1).retain());
        for version in BOTH {
            let mut member = world.connected(version, "member");

            member.subscribed(subscribe(GROUP).qos(1));
            member.subscribed(subscribe(GROUP).qos(0));

            member.expect_nothing();
            publisher.published(publish("a/kept").qos(1).payload("live"));
            member.expect(publish("a/kept").payload("live"));
            member.expect_nothing();
        }
    });
}

#[test]
fn v5_mqtt_4_8_2_4_a_member_that_returns_gets_the_rest_of_a_qos_2_delivery() {
    everywhere(|world| {
        for version in BOTH {
            let session = session(version, "member");
            let mut member = world.connect(version, session.clone());
            member.subscribed(subscribe(GROUP).qos(2));
            let mut publisher = world.connected(version, "publisher");
            publisher.published(publish("a/b").qos(2).payload("sent"));
            publisher.published(publish("a/b").qos(2).payload("received"));
            member.expect(publish("a/b").qos(2).id(1).payload("sent"));
            member.expect(publish("a/b").qos(2).id(2).payload("received"));
            member.send(pubrec(2));
            member.expect(pubrel(2));
            let mut other = world.connected(version, "other");
            other.subscribed(subscribe(GROUP).qos(2));

            member.cut();

            other.expect_nothing();
            let mut member = world.resume(version, session);
            member.expect(pubrel(2));
            member.expect(publish("a/b").qos(2).id(1).dup().payload("sent"));
            member.send_all(&[&pubrec(1), &pubcomp(2)]);
            member.expect(pubrel(1));
            member.send(pubcomp(1));
            member.expect_nothing();
            other.expect_nothing();
            member.send(unsubscribe(GROUP));
            member.expect(unsuback(1, &[0]));
        }
    });
}

/// A member to whom a message of QoS 2 was sent, and another one.
fn with_qos_2_open(world: &World, version: Version, session: Connect) -> (Client, Client) {
    let mut member = world.connect(version, session);
    member.subscribed(subscribe(GROUP).qos(2));
    let mut other = world.connected(version, "other");
    other.published(publish("a/b").qos(2));
    member.expect(publish("a/b").qos(2));
    other.subscribed(subscribe(GROUP).qos(2));
    (member, other)
}

#[test]
fn v5_mqtt_4_8_2_5_a_qos_2_message_of_a_session_that_ended_goes_to_no_other_member() {
    everywhere(|world| {
        for version in BOTH {
            let (member, mut other) = with_qos_2_open(world, version, connect("member"));
            member.cut();
            other.expect_nothing();

            let session = session(version, "member");
            let (member, mut other) = with_qos_2_open(world, version, session.clone());
            member.cut();
            let mut member = world.connect(version, session.clean_start());
            member.expect_nothing();
            other.expect_nothing();
        }

        let (mut member, mut other) = with_qos_2_open(world, V5, lasting("member"));
        member.send(disconnect().with(session_expiry_interval(0)));
        member.closes();
        other.expect_nothing();
    });
}

#[test]
fn v5_mqtt_4_8_2_5_a_qos_2_message_of_a_session_that_expired_goes_to_no_other_member() {
    with_clock(|world| {
        let short = connect("member").with(session_expiry_interval(5));
        let (member, mut other) = with_qos_2_open(world, V5, short);
        member.cut();

        world.pass(6);

        other.expect_nothing();
    });
}

/// 5.0 s4.8.2: it should; dunlin does not even wait for the end of the Session.
#[test]
fn v5_a_qos_1_message_that_a_member_left_unacknowledged_goes_to_another() {
    everywhere(|world| {
        for version in BOTH {
            for session in [connect("member"), session(version, "lasting")] {
                let mut member = world.connect(version, session.clone());
                member.subscribed(subscribe(GROUP).qos(1));
                let mut other = world.connected(version, "other");
                for payload in ["acknowledged", "1", "2"] {
                    other.published(publish("a/b").qos(1).payload(payload));
                    member.expect(publish("a/b").qos(1).payload(payload));
                }
                member.send(puback(1));
                member.sync();
                other.subscribed(subscribe(GROUP).qos(1));

                member.cut();

                other.expect(publish("a/b").qos(1).payload("1"));
                other.expect(publish("a/b").qos(1).payload("2"));
                other.expect_nothing();
                other.send_all(&[&puback(1), &puback(2)]);
                other.leave();
                world.connected(version, "member").leave();
            }
        }
    });
}

/// Nor if the member left the group before.
#[test]
fn v5_a_qos_1_message_is_not_lost_with_the_session_of_the_member_it_was_sent_to() {
    with_clock(|world| {
        for leaves in [false, true] {
            let short = connect("member").with(session_expiry_interval(5));
            let mut member = world.connect(V5, short);
            member.subscribed(subscribe(GROUP).qos(1));
            let mut other = world.connected(V5, "other");
            other.published(publish("a/b").qos(1));
            member.expect(publish("a/b").qos(1));
            other.subscribed(subscribe(GROUP).qos(1));
            if leaves {
                member.send(unsubscribe(GROUP));
                member.expect(unsuback(1, &[0]));
            }
            other.expect_nothing();

            member.cut();
            world.pass(6);

            other.expect(publish("a/b").qos(1));
            other.expect_nothing();
        }
    });
}

/// Nobody of the next group of that name gets what was before it.
#[test]
fn v5_a_group_ends_with_its_last_member() {
    everywhere(|world| {
        for version in BOTH {
            let mut member = world.connected(version, "member");
            member.subscribed(subscribe(GROUP).qos(1));
            let mut publisher = world.connected(version, "publisher");
            publish_numbers(&mut publisher, 0..3);
            assert_eq!(numbers(&mut member), [0, 1, 2]);
            member.cut();

            let mut member = world.connected(version, "member");
            member.subscribed(subscribe(GROUP).qos(1));

            member.expect_nothing();
            publish_numbers(&mut publisher, 3..4);
            assert_eq!(numbers(&mut member), [3]);
        }
    });
}

/// What the standard leaves open: messages wait in the group, for whoever of it comes first.
#[test]
fn v5_messages_wait_for_a_group_whose_members_are_away() {
    everywhere(|world| {
        for version in BOTH {
            let session = session(version, "member");
            let mut member = world.connect(version, session.clone());
            member.subscribed(subscribe(GROUP).qos(1));
            member.leave();
            let mut publisher = world.connected(version, "publisher");
            publish_numbers(&mut publisher, 0..3);

            let mut member = world.resume(version, session);

            assert_eq!(numbers(&mut member), [0, 1, 2]);
            member.send(unsubscribe(GROUP));
            member.expect(unsuback(1, &[0]));
        }
    });
}

#[test]
fn v5_mqtt_4_8_2_6_a_message_that_a_member_refused_is_offered_to_nobody() {
    everywhere(|world| {
        let mut member = world.connect(V5, lasting("member"));
        member.subscribed(subscribe(GROUP).qos(2));
        let mut other = world.connected(V5, "other");
        for (id, qos) in [(1, 1), (2, 2)] {
            other.published(publish("a/b").qos(qos));
            member.expect(publish("a/b").qos(qos).id(id));
        }
        other.subscribed(subscribe(GROUP).qos(2));

        member.send_all(&[&puback(1).code(0x97), &pubrec(2).code(0x83)]);

        member.expect_nothing();
        other.expect_nothing();
        member.cut();
        other.expect_nothing();
        let mut member = world.resume(V5, lasting("member"));
        member.expect_nothing();
        other.expect_nothing();
    });
}
