//! `mosquitto_sub` and `mosquitto_pub` in the three versions that they speak.

use std::fs;

use crate::{
    broker::{Broker, Folder},
    tool::Tool,
};

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];
const FORMAT: &str = "MESSAGE %q %r %t %p";

fn start(program: &str, broker: &Broker, version: &str, arguments: &[&str]) -> Tool {
    let host = broker.address.ip().to_string();
    let port = broker.address.port().to_string();
    // Into a pipe the tools write whole blocks; `stdbuf` has each line written when it is there.
    let common = ["-oL", program, "-h", &host, "-p", &port, "-V", version];
    Tool::start("stdbuf", common.iter().chain(arguments), &[])
}

/// Runs until its SUBACK is there.
fn subscriber(broker: &Broker, version: &str, arguments: &[&str]) -> Tool {
    let arguments = [&["-d", "-F", FORMAT], arguments].concat();
    let mut tool = start("mosquitto_sub", broker, version, &arguments);
    tool.expect_line("Subscribed (mid: ");
    tool
}

/// Runs until everything is acknowledged.
fn publish(broker: &Broker, version: &str, arguments: &[&str]) {
    start("mosquitto_pub", broker, version, arguments).expect_success();
}

#[test]
fn mosquitto_passes_messages_at_every_qos_in_every_version() {
    let broker = Broker::start();
    for version in VERSIONS {
        for granted in ["0", "1", "2"] {
            let mut subscriber = subscriber(&broker, version, &["-t", "plain", "-q", granted]);
            for sent in ["0", "1", "2"] {
                publish(&broker, version, &["-t", "plain", "-q", sent, "-m", "hello"]);

                let expected = format!("{} 0 plain hello", granted.min(sent));
                assert_eq!(subscriber.expect_line("MESSAGE "), expected, "{version}");
            }
        }
    }
}

#[test]
fn mosquitto_receives_from_every_other_version() {
    let broker = Broker::start();
    for to in VERSIONS {
        let mut subscriber = subscriber(&broker, to, &["-t", "between/+", "-q", "2"]);
        for from in VERSIONS {
            publish(&broker, from, &["-t", "between/them", "-q", "2", "-m", from]);

            assert_eq!(subscriber.expect_line("MESSAGE "), format!("2 0 between/them {from}"));
        }
    }
}

#[test]
fn mosquitto_sees_and_clears_retained_messages() {
    let broker = Broker::start();
    for version in VERSIONS {
        let topic = format!("retained/{version}");
        publish(&broker, version, &["-t", &topic, "-q", "1", "-r", "-m", "kept"]);
        let mut late = subscriber(&broker, version, &["-t", "retained/#", "-q", "1"]);
        assert_eq!(late.expect_line("MESSAGE "), format!("1 1 {topic} kept"));

        publish(&broker, version, &["-t", &topic, "-q", "1", "-r", "-n"]);

        let mut later = subscriber(&broker, version, &["-t", "retained/#", "-q", "1"]);
        publish(&broker, version, &["-t", "retained/marker", "-q", "1", "-m", "marker"]);
        assert_eq!(later.expect_line("MESSAGE "), "1 0 retained/marker marker");
    }
}

#[test]
fn mosquittos_will_is_sent_when_its_process_is_killed() {
    let broker = Broker::start();
    for version in VERSIONS {
        let mut watcher = subscriber(&broker, version, &["-t", "will", "-q", "2"]);
        let will = ["--will-topic", "will", "--will-payload", "gone", "--will-qos", "2"];
        let victim = subscriber(&broker, version, &[&["-t", "other"], &will[..]].concat());

        victim.kill();

        assert_eq!(watcher.expect_line("MESSAGE "), "2 0 will gone", "{version}");
    }
}

/// It ends by itself after one message, with a DISCONNECT.
#[test]
fn mosquittos_will_is_not_sent_after_a_plain_end() {
    let broker = Broker::start();
    for version in VERSIONS {
        let mut watcher = subscriber(&broker, version, &["-t", "will", "-q", "1"]);
        let will = ["--will-topic", "will", "--will-payload", "gone"];
        let polite = subscriber(
            &broker,
            version,
            &[&["-t", "end", "-q", "1", "-C", "1"], &will[..]].concat(),
        );
        publish(&broker, version, &["-t", "end", "-q", "1", "-m", "end"]);
        polite.expect_success();

        publish(&broker, version, &["-t", "will", "-q", "1", "-m", "marker"]);

        assert_eq!(watcher.expect_line("MESSAGE "), "1 0 will marker", "{version}");
    }
}

#[test]
fn mosquittos_session_keeps_what_it_missed() {
    let broker = Broker::start();
    for version in VERSIONS {
        let session = ["-c", "-i", "sleeper", "-t", "mail", "-q", "2"];
        subscriber(&broker, version, &session).kill();
        for (qos, payload) in [("1", "one"), ("2", "two"), ("1", "three"), ("2", "four")] {
            publish(&broker, version, &["-t", "mail", "-q", qos, "-m", payload]);
        }

        let arguments = [&session[..], &["-d", "-F", FORMAT, "-C", "4"]].concat();
        let mut back = start("mosquitto_sub", &broker, version, &arguments);

        // It shows a QoS 2 message at its PUBREL, so the order shows for each QoS by itself.
        let mut seen: Vec<String> = (0..4).map(|_| back.expect_line("MESSAGE ")).collect();
        seen.sort_by_key(|line| line.starts_with('2'));
        let expected = ["1 0 mail one", "1 0 mail three", "2 0 mail two", "2 0 mail four"];
        assert_eq!(seen, expected, "{version}");
        back.expect_success();
        // The next version begins without this Session.
        publish(&broker, version, &["-i", "sleeper", "-t", "mail", "-m", "clean start"]);
    }
}

#[test]
fn mosquittos_wildcards_select() {
    let broker = Broker::start();
    for version in VERSIONS {
        let filters = ["-t", "house/+/light", "-t", "garden/#", "-q", "1"];
        let mut subscriber = subscriber(&broker, version, &filters);
        for topic in ["house/light", "house/hall/light", "house/a/b/light", "garden", "garden/a/b"]
        {
            publish(&broker, version, &["-t", topic, "-q", "1", "-m", "x"]);
        }

        for topic in ["house/hall/light", "garden", "garden/a/b"] {
            assert_eq!(subscriber.expect_line("MESSAGE "), format!("1 0 {topic} x"), "{version}");
        }
    }
}

#[test]
fn mosquitto_passes_a_mebibyte_at_every_qos() {
    let broker = Broker::start();
    let folder = Folder::new();
    let file = folder.path.join("payload");
    let payload: String = (0..131_072).map(|number| format!("{number:08}")).collect();
    fs::write(&file, &payload).expect("the payload is written");
    let file = file.to_str().expect("a path of text");
    for version in VERSIONS {
        let mut subscriber = subscriber(&broker, version, &["-t", "large", "-q", "2"]);
        for qos in ["0", "1", "2"] {
            publish(&broker, version, &["-t", "large", "-q", qos, "-f", file]);

            let received = subscriber.expect_line("MESSAGE ");
            assert!(received == format!("{qos} 0 large {payload}"), "{version} at QoS {qos}");
        }
    }
}

/// `--repeat` without a delay: as many at once as its inflight window allows.
#[test]
fn mosquitto_sends_two_hundred_qos_2_messages_in_a_row() {
    let broker = Broker::start();
    for version in VERSIONS {
        let arguments = ["-t", "burst", "-q", "2", "-C", "200"];
        let mut subscriber = subscriber(&broker, version, &arguments);

        publish(&broker, version, &["-t", "burst", "-q", "2", "-m", "x", "--repeat", "200"]);

        for number in 0..200 {
            assert_eq!(subscriber.expect_line("MESSAGE "), "2 0 burst x", "number {number}");
        }
        subscriber.expect_success();
    }
}

#[test]
fn mosquitto_passes_user_properties_on() {
    let broker = Broker::start();
    let arguments = ["-d", "-F", "MESSAGE %p %P", "-t", "rich", "-q", "1"];
    let mut subscriber = start("mosquitto_sub", &broker, "mqttv5", &arguments);
    subscriber.expect_line("Subscribed (mid: ");

    let pair = |name, value| ["-D", "publish", "user-property", name, value];
    let arguments = [&["-t", "rich", "-q", "1", "-m", "x"][..], &pair("b", "1"), &pair("a", "2")];
    publish(&broker, "mqttv5", &arguments.concat());

    assert_eq!(subscriber.expect_line("MESSAGE "), "x b:1 a:2");
}

/// Its users watch these two with it.
#[test]
fn mosquitto_reads_the_version_and_the_uptime() {
    let broker = Broker::start_with("[sys]\ninterval = \"1s\"\n");
    for version in VERSIONS {
        let mut one = subscriber(&broker, version, &["-t", "$SYS/broker/version", "-C", "1"]);
        let said = one.expect_line("MESSAGE ");
        let dunlin = concat!("$SYS/broker/version dunlin version ", env!("CARGO_PKG_VERSION"));
        assert!(said.starts_with("0 ") && said.ends_with(dunlin), "{said}");
        one.expect_success();

        let mut all = subscriber(&broker, version, &["-t", "$SYS/#", "-q", "2"]);
        for _ in 0..2 {
            let uptime = loop {
                let said = all.expect_line("MESSAGE 0 ");
                if let Some((_, uptime)) = said.split_once(" $SYS/broker/uptime ") {
                    break uptime.to_owned();
                }
            };
            let seconds = uptime.strip_suffix(" seconds").expect("its unit");
            seconds.parse::<u32>().expect("a number");
        }
    }
}
