//! What every client is asked to do, written once for all of them.

use std::{
    collections::BTreeSet,
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::{
    broker::PATIENCE,
    client::{Message, Version},
    world::World,
};

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&World<'_>),
    pub(crate) since: Version,
    pub(crate) configuration: &'static str,
}

/// The rows of the table.
pub(crate) const SCENARIOS: &[Scenario] = &[
    every_version("connect", connect),
    Scenario { configuration: NO_ANONYMOUS, ..every_version("refused", refused) },
    every_version("every_qos", every_qos),
    every_version("between_versions", between_versions),
    every_version("retained", retained),
    every_version("will", will),
    Scenario {
        configuration: EVERY_SECOND,
        ..every_version("will_dropped_at_disconnect", will_dropped_at_disconnect)
    },
    Scenario { configuration: EVERY_SECOND, ..every_version("resume", resume) },
    every_version("wildcards", wildcards),
    every_version("unsubscribe", unsubscribe),
    every_version("shared_group", shared_group),
    every_version("shared_group_while_members_die", shared_group_while_members_die),
    every_version("mebibyte", mebibyte),
    every_version("burst", burst),
    Scenario { configuration: EVERY_SECOND, ..every_version("sys_topics", sys_topics) },
    only_5("user_properties", user_properties),
    only_5("user_properties_in_order", user_properties_in_order),
    only_5("request_and_response", request_and_response),
    only_5("aliases_to_the_client", aliases_to_the_client),
    only_5("aliases_from_the_client", aliases_from_the_client),
    only_5("aliases_chosen_by_the_client", aliases_chosen_by_the_client),
    Scenario { configuration: EVERY_SECOND, ..only_5("message_expiry", message_expiry) },
    only_5("will_delay", will_delay),
    only_5("will_delay_ended_by_reconnecting", will_delay_ended_by_reconnecting),
    Scenario { configuration: EVERY_SECOND, ..only_5("session_expiry", session_expiry) },
    Scenario {
        configuration: EVERY_SECOND,
        ..only_5("session_ended_by_disconnect", session_ended_by_disconnect)
    },
];

const NO_ANONYMOUS: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
const EVERY_SECOND: &str = "[sys]\ninterval = \"1s\"\n";
const HOUR: u32 = 3_600;

const fn every_version(name: &'static str, run: fn(&World<'_>)) -> Scenario {
    Scenario { name, run, since: Version::V31, configuration: "" }
}

const fn only_5(name: &'static str, run: fn(&World<'_>)) -> Scenario {
    Scenario { name, run, since: Version::V5, configuration: "" }
}

fn connect(world: &World<'_>) {
    for _ in 0..2 {
        let client = world.open(world.client("device"));
        assert_ne!(client.session_present(), Some(true));
        client.disconnect();
    }
    // Before 3.1.1 a client has to have a name.
    if world.version >= Version::V311 {
        world.open(world.client("")).disconnect();
    }
}

fn refused(world: &World<'_>) {
    let code = world.try_open(world.client("stranger")).err();

    // Not authorized; paho for Python says it in the words of 5.0 in every version.
    let expected = if world.version == Version::V5 { [0x87, 0x87] } else { [0x05, 0x87] };
    assert!(code.is_some_and(|code| expected.contains(&code)), "{code:?}");
}

fn every_qos(world: &World<'_>) {
    let mut publisher = world.open(world.client("publisher"));
    for granted in [0, 1, 2] {
        let mut subscriber = world.open(world.client("subscriber").subscribe("plain", granted));
        for sent in [0, 1, 2] {
            publisher.publish(Message::new("plain", "hello", sent));

            subscriber.expect("plain", "hello", sent.min(granted));
        }
        subscriber.disconnect();
    }
}

fn between_versions(world: &World<'_>) {
    let mut subscriber = world.open(world.client("subscriber").subscribe("between/+", 2));
    for from in world.every_version() {
        let mut publisher = world.open(world.client_of(from, "publisher"));
        publisher.publish(Message::new("between/them", from.name(), 2));

        subscriber.expect("between/them", from.name(), 2);
        publisher.disconnect();
    }
}

fn retained(world: &World<'_>) {
    let mut publisher = world.open(world.client("publisher"));
    publisher.publish(Message::new("kept", "value", 1).retained());
    let mut late = world.open(world.client("late").subscribe("kept", 1));
    late.expect_retained("kept", "value", 1);

    publisher.publish(Message::new("kept", "", 1).retained());

    late.expect("kept", "", 1);
    let mut later = world.open(world.client("later").subscribe("kept", 1));
    publisher.publish(Message::new("kept", "marker", 1));
    later.expect("kept", "marker", 1);
}

fn will(world: &World<'_>) {
    let mut watcher = world.open(world.client("watcher").subscribe("will", 2));
    let victim = world.open(world.client("victim").will("will", "gone", 2));

    victim.kill();

    watcher.expect("will", "gone", 2);
}

fn will_dropped_at_disconnect(world: &World<'_>) {
    let mut watcher = world.open(world.client("watcher").subscribe("will", 1));

    world.visit(world.client("polite").will("will", "never", 1));

    world.wait_until_connected_are(1);
    watcher.publish(Message::new("will", "marker", 1));
    watcher.expect("will", "marker", 1);
}

fn resume(world: &World<'_>) {
    let sleeper = || world.client("sleeper").lasting(HOUR);
    let client = world.open(sleeper().subscribe("mail", 2));
    assert_ne!(client.session_present(), Some(true));
    client.disconnect();
    world.wait_until_connected_are(0);
    let mut publisher = world.open(world.client("publisher"));
    let mail = (0..20_u8).map(|number| Message::new("mail", number.to_string(), 1 + number % 2));
    publisher.publish_all(&mail.collect::<Vec<_>>());
    publisher.wait_until_acknowledged();

    let mut client = world.open(sleeper());

    assert_ne!(client.session_present(), Some(false));
    // Some hand a QoS 2 message over at its PUBREL, so the order shows for each QoS by itself.
    let mut seen: Vec<(u8, String)> = (0..20).map(|_| essence(&client.message())).collect();
    seen.sort_by_key(|(qos, _)| *qos);
    let evens = (0..20).step_by(2).map(|number| (1, number.to_string()));
    let odds = (1..20).step_by(2).map(|number| (2, number.to_string()));
    assert_eq!(seen, evens.chain(odds).collect::<Vec<_>>());
    client.disconnect();
    let mut clean = world.open(world.client("sleeper").subscribe("marker", 1));
    assert_ne!(clean.session_present(), Some(true));
    publisher.publish(Message::new("mail", "to nobody", 1));
    publisher.publish(Message::new("marker", "", 1));
    clean.expect("marker", "", 1);
}

fn essence(message: &Message) -> (u8, String) {
    (message.qos, message.text())
}

fn wildcards(world: &World<'_>) {
    let wild = world.client("client").subscribe("house/+/light", 1).subscribe("garden/#", 1);
    let mut client = world.open(wild);

    for topic in ["house/light", "house/hall/light", "house/a/b/light", "garden", "garden/a/b"] {
        client.publish(Message::new(topic, "x", 1));
    }

    for topic in ["house/hall/light", "garden", "garden/a/b"] {
        client.expect(topic, "x", 1);
    }
}

fn unsubscribe(world: &World<'_>) {
    let options = world.client("client").subscribe("one", 1).subscribe("other", 1);
    let mut client = world.open(options.unsubscribe("other"));

    client.publish(Message::new("other", "unseen", 1));
    client.publish(Message::new("one", "seen", 1));

    client.expect("one", "seen", 1);
}

fn shared_group(world: &World<'_>) {
    let (inbox, arrived) = mpsc::channel();
    let member = |number: u8| {
        let options = world.client(&format!("member-{number}")).subscribe("marker", 1);
        world.open_into(options.subscribe("$share/group/work/#", 1), &inbox)
    };
    let members: Vec<_> = (0..3).map(member).collect();
    let mut publisher = world.open(world.client("publisher"));

    let work = (0..60).map(|number| Message::new("work/item", number.to_string(), 1));
    publisher.publish_all(&work.collect::<Vec<_>>());
    publisher.wait_until_acknowledged();
    publisher.publish(Message::new("marker", "", 1));

    let (mut seen, mut markers) = (Vec::new(), 0);
    while seen.len() < 60 || markers < members.len() {
        let message = arrived.recv_timeout(PATIENCE).expect("a message for one of them");
        if message.topic == "marker" {
            markers += 1;
        } else {
            seen.push(message.text().parse::<u32>().expect("a number"));
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..60).collect::<Vec<u32>>());
}

/// Members leave and join while messages come: none of QoS 1 is lost.
fn shared_group_while_members_die(world: &World<'_>) {
    const COUNT: usize = 2_000;
    let (inbox, arrived) = mpsc::channel();
    let member = |number: usize| {
        let options = world.client(&format!("member-{number}"));
        world.open_into(options.subscribe("$share/group/work/#", 1), &inbox)
    };
    let mut members: Vec<_> = (0..3).map(member).collect();
    let mut publisher = world.open(world.client("publisher"));
    let mut seen = BTreeSet::new();
    let mut take = || {
        let message = arrived.recv_timeout(PATIENCE).expect("a message for one of them");
        seen.insert(message.text());
        seen.len()
    };

    let work = (0..COUNT).map(|number| Message::new("work/item", number.to_string(), 1));
    publisher.publish_all(&work.collect::<Vec<_>>());
    for round in 0..5 {
        for _ in 0..100 {
            take();
        }
        // In the middle of the stream: what it did not acknowledge goes to the others.
        members.remove(0).kill();
        members.push(member(3 + round));
    }

    while take() < COUNT {}
    publisher.wait_until_acknowledged();
}

fn mebibyte(world: &World<'_>) {
    let mut client = world.open(world.client("client").subscribe("large", 2));
    let payload: String = (0..131_072).map(|number| format!("{number:08}")).collect();
    for qos in [0, 1, 2] {
        client.publish(Message::new("large", payload.clone(), qos));

        let message = client.message();
        // Not `assert_eq`, which would print them.
        assert!(message == Message { resolved: message.resolved.clone(), ..large(&payload, qos) });
    }
}

fn large(payload: &str, qos: u8) -> Message {
    Message::new("large", payload, qos)
}

/// Without a Receive Maximum, as before 5.0, all of them at once.
fn burst(world: &World<'_>) {
    let mut subscriber = world.open(world.client("subscriber").subscribe("burst", 2));
    let mut publisher = world.open(world.client("publisher"));

    let burst = (0..200).map(|number| Message::new("burst", number.to_string(), 2));
    publisher.publish_all(&burst.collect::<Vec<_>>());

    for number in 0..200 {
        subscriber.expect("burst", &number.to_string(), 2);
    }
    publisher.wait_until_acknowledged();
    publisher.publish(Message::new("burst", "marker", 2));
    subscriber.expect("burst", "marker", 2);
}

/// What Mosquitto's users watch.
fn sys_topics(world: &World<'_>) {
    let version = world.client("version").subscribe("$SYS/broker/version", 1);
    let said = world.open(version).message().text();
    assert_eq!(said, concat!("dunlin version ", env!("CARGO_PKG_VERSION")));

    let mut all = world.open(world.client("all").subscribe("$SYS/#", 2));
    for _ in 0..2 {
        let uptime = loop {
            let message = all.message();
            if message.topic == "$SYS/broker/uptime" {
                break message.text();
            }
        };
        let seconds = uptime.strip_suffix(" seconds").expect("its unit");
        seconds.parse::<u32>().expect("a number");
    }
}

fn user_properties(world: &World<'_>) {
    let pairs = [("b", "1"), ("b", "3"), ("b", "1"), ("a", "2")];
    let mut client = world.open(world.client("client").subscribe("rich", 2));
    for qos in [0, 1, 2] {
        let message = Message::new("rich", "x", qos).with_user_properties(&pairs);
        client.publish(message.clone());

        let seen = client.expect("rich", "x", qos);
        assert_eq!(seen.user_properties, message.user_properties);
    }
    for qos in [1, 2] {
        let topic = format!("kept/{qos}");
        let message = Message::new(&topic, "x", qos).with_user_properties(&pairs).retained();
        client.publish(message.clone());

        let mut late = world.open(world.client("late").subscribe(&topic, qos));
        let seen = late.expect_retained(&topic, "x", qos);
        assert_eq!(seen.user_properties, message.user_properties);
        late.disconnect();
    }
}

fn user_properties_in_order(world: &World<'_>) {
    let pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("a", "1")];
    let mut client = world.open(world.client("client").subscribe("rich", 1));
    let message = Message::new("rich", "x", 1).with_user_properties(&pairs);

    client.publish(message.clone());

    assert_eq!(client.expect("rich", "x", 1).user_properties, message.user_properties);
}

fn request_and_response(world: &World<'_>) {
    let mut answerer = world.open(world.client("answerer").subscribe("questions", 1));
    let mut asker = world.open(world.client("asker").subscribe("answers", 1));
    let question = Message {
        response_topic: Some("answers".to_owned()),
        correlation_data: Some(vec![0x00, b'=', b'\t', 0xFF]),
        content_type: Some("text/plain; charset=utf-8".to_owned()),
        ..Message::new("questions", "?", 1)
    };

    asker.publish(question.clone());
    let asked = answerer.expect("questions", "?", 1);
    let topic = asked.response_topic.clone().expect("where to answer");
    let correlation_data = asked.correlation_data.clone();
    answerer.publish(Message { correlation_data, ..Message::new(&topic, "!", 1) });

    assert_eq!(asked.content_type, question.content_type);
    let answer = asker.expect("answers", "!", 1);
    assert_eq!(answer.correlation_data, question.correlation_data);
}

fn aliases_to_the_client(world: &World<'_>) {
    let mut publisher = world.open(world.client("publisher"));
    let options = world.client("subscriber").topic_alias_maximum(3);
    let mut subscriber = world.open(options.subscribe("alias/+", 2));
    let mut alone = 0;
    for round in 0..6 {
        for topic in ["alias/a", "alias/b", "alias/c", "alias/d", "alias/e"] {
            let qos = round % 3;
            publisher.publish(Message::new(topic, topic, qos));

            let message = subscriber.expect(topic, topic, qos);
            alone += usize::from(message.topic.is_empty());
            assert!(message.topic_alias.is_none_or(|alias| (1..=3).contains(&alias)));
        }
    }
    // Three topics in four rounds, less the first one, which sets; rounds of QoS 2 use none.
    assert_eq!(alone, 9);
}

fn aliases_from_the_client(world: &World<'_>) {
    let mut publisher = world.open(world.client("publisher"));
    let mut subscriber = world.open(world.client("subscriber").subscribe("alias/+", 2));
    for (topic, qos) in [("alias/a", 0), ("alias/b", 1), ("alias/c", 2)] {
        let named = Message::new(topic, "named", qos).with_topic_alias(32);
        let alone = Message::new("", "alone", qos).with_topic_alias(32);

        publisher.publish_all(&[named, alone.clone(), alone]);
        publisher.wait_until_acknowledged();

        for payload in ["named", "alone", "alone"] {
            subscriber.expect(topic, payload, qos);
        }
    }
}

fn aliases_chosen_by_the_client(world: &World<'_>) {
    let mut publisher = world.open(world.client("publisher").choosing_aliases());
    let mut subscriber = world.open(world.client("subscriber").subscribe("alias/+", 2));
    // In the last round more than the broker allows: numbers are given to other topics.
    for (round, topics) in [(0, 20), (1, 20), (2, 40)] {
        for number in 0..topics {
            let topic = format!("alias/{number}");
            publisher.publish(Message::new(&topic, "x", round));

            subscriber.expect(&topic, "x", round);
        }
    }
    let alone = publisher.said().lines().filter(|line| *line == "alias_alone").count();
    assert!(alone >= 40, "{alone} messages had their alias alone");
}

fn message_expiry(world: &World<'_>) {
    let sleeper = |qos| world.client(&format!("sleeper-{qos}")).lasting(HOUR);
    for qos in [1, 2] {
        world.visit(sleeper(qos).subscribe(&format!("mail/{qos}"), qos));
    }
    // Whatever was sent to one that is still there does not expire any more [MQTT-4.3.3-7].
    world.wait_until_connected_are(0);
    let mut publisher = world.open(world.client("publisher"));
    for qos in [1, 2] {
        let topic = format!("mail/{qos}");
        publisher.publish(Message::new(&topic, "kept", qos).expiring_after(100));
        publisher.publish(Message::new(&topic, "expired", qos).expiring_after(1));
        publisher.publish(Message::new(&topic, "marker", qos));
    }

    world.wait_until_the_broker_is_older_by(2);

    for qos in [1, 2] {
        let topic = format!("mail/{qos}");
        let mut client = world.open(sleeper(qos));
        let left = client.expect(&topic, "kept", qos).message_expiry.expect("it still expires");
        assert!((100 - PATIENCE.as_secs()..=98).contains(&u64::from(left)), "{left} s are left");
        assert_eq!(client.expect(&topic, "marker", qos).message_expiry, None);
    }
}

fn will_delay(world: &World<'_>) {
    let mut watcher = world.open(world.client("watcher").subscribe("will", 1));
    let victim = world.client("victim").lasting(HOUR).delayed_will("will", "gone", 2);
    let victim = world.open(victim);
    let killed = Instant::now();

    victim.kill();

    watcher.expect("will", "gone", 1);
    assert!(killed.elapsed() >= Duration::from_secs(2));
}

fn will_delay_ended_by_reconnecting(world: &World<'_>) {
    let mut watcher = world.open(world.client("watcher").subscribe("will", 1));
    let victim = || world.client("victim").lasting(HOUR);
    world.open(victim().delayed_will("will", "gone", HOUR)).kill();

    let client = world.open(victim());

    assert_ne!(client.session_present(), Some(false));
    client.kill();
    // If that Will still waited, the end of the Session would send it (5.0 s3.1.3.2.2).
    world.open(world.client("victim")).disconnect();
    watcher.publish(Message::new("will", "marker", 1));
    watcher.expect("will", "marker", 1);
}

fn session_expiry(world: &World<'_>) {
    let mut watcher = world.open(world.client("watcher").subscribe("ended", 1));
    for (expiry, present) in [(HOUR, true), (0, false)] {
        world.open(world.client("client").lasting(expiry)).kill();
        // A takeover before the broker has noticed would keep the Session.
        world.wait_until_connected_are(1);
        // A Will whose delay is longer than the Session's expiry tells when that ends
        // (5.0 s3.1.3.2.2).
        let options = world.client("client").lasting(1).delayed_will("ended", "gone", HOUR);
        let client = world.open(options);
        assert_ne!(client.session_present(), Some(!present));
        let killed = Instant::now();

        client.kill();

        watcher.expect("ended", "gone", 1);
        assert!(killed.elapsed() >= Duration::from_secs(1));
        let client = world.open(world.client("client").lasting(0));
        assert_ne!(client.session_present(), Some(true));
        client.disconnect();
    }
}

fn session_ended_by_disconnect(world: &World<'_>) {
    let client = || world.client("client").lasting(HOUR);
    world.open(client().subscribe("mail", 1).ending_its_session()).disconnect();
    // A takeover before it is read would be no end of the Session.
    world.wait_until_connected_are(0);

    let mut client = world.open(client().subscribe("marker", 1));

    assert_ne!(client.session_present(), Some(true));
    client.publish(Message::new("mail", "to nobody", 1));
    client.publish(Message::new("marker", "", 1));
    client.expect("marker", "", 1);
}
