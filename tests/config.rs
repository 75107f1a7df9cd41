//! What an operator meets: the texts for mistakes, the environment, the printed configuration, the
//! documented file, and the exit codes of the binary.

#![expect(clippy::unwrap_used, reason = "a helper that panics is a test that fails")]

#[path = "config/mistakes.rs"]
mod mistakes;

#[path = "config/credentials.rs"]
mod credentials;

#[path = "config/documented.rs"]
mod documented;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use documented::{documented_file, uncommented};
use dunlin::config::{
    Anonymous, Config, ConfigErrors, ConnectionsMax, DiskMax, Features, Loaded, LogFormat,
    LogLevel, MemoryMax, Overrides, QueueWhenFull, SessionExpiryMax, Storage, StorageEngine,
    StorageSync, SysInterval, Warning,
};
use dunlin::packet::{ProtocolVersion, QoS};
use dunlin::topic::TopicName;

/// A file in a directory of its own, removed with it.
struct File {
    path: PathBuf,
}

impl File {
    fn new(test: &str, text: impl AsRef<[u8]>) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("dunlin.toml");
        fs::write(&path, text).unwrap();
        Self { path }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // A file left behind harms nobody: the next run writes over it.
        let _ = fs::remove_dir_all(self.path.parent().unwrap());
    }
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn load(test: &str, text: &str, environment: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let file = File::new(test, text);
    let environment = variables(environment).into_iter();
    Config::load(Some(&file.path), environment, &Overrides::default())
}

fn load_environment(environment: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    Config::load(None, variables(environment).into_iter(), &Overrides::default())
}

fn listen(addresses: &[&str]) -> Result<Loaded, ConfigErrors> {
    let listen = addresses.iter().map(ToString::to_string).collect();
    let overrides = Overrides { listen, ..Overrides::default() };
    Config::load(None, std::iter::empty(), &overrides)
}

/// The report, with the file's directory left out.
fn report(loaded: Result<Loaded, ConfigErrors>) -> String {
    let text = loaded.map(|loaded| loaded.config).unwrap_err().to_string();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let lines = text.lines().map(|line| match line.strip_prefix(folder.to_str().unwrap()) {
        Some(rest) => rest.trim_start_matches('/').split_once('/').unwrap().1,
        None => line,
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_they_were_written() {
    let file = "workers = 2 MiB\nworker = 1\n[log]\nlevel = \"loud\"\n[[listener]]\n";
    let environment = [("DUNLIN_LOG__FORMAT", "xml"), ("DUNLIN_LOG_FORMAT", "text")];

    let report = report(load("all", file, &environment));

    assert_eq!(
        report,
        "\
dunlin.toml:1:11: not valid TOML: text needs quotes around it
  |
1 | workers = 2 MiB
  |           ^^^^^

dunlin.toml:2:1: unknown key `worker`
  |
2 | worker = 1
  | ^^^^^^
  = did you mean `workers`?

dunlin.toml:4:9: `log.level` cannot be \"loud\"
  |
4 | level = \"loud\"
  |         ^^^^^^
  = allowed: \"error\", \"warn\", \"info\", \"debug\" or \"trace\"

environment variable DUNLIN_LOG_FORMAT: no key belongs to this variable
 |
 | DUNLIN_LOG_FORMAT=text
 | ^^^^^^^^^^^^^^^^^
 = did you mean `DUNLIN_LOG__FORMAT`?

environment variable DUNLIN_LOG__FORMAT: `log.format` cannot be \"xml\"
 |
 | DUNLIN_LOG__FORMAT=xml
 |                    ^^^
 = allowed: \"text\" or \"json\"

5 mistakes in the configuration
"
    );
}

#[test]
fn bytes_that_are_not_text_are_a_mistake_like_any_other() {
    let file = File::new("bytes", b"data_dir = \"\xff\"\nworkers = 0\n");

    let loaded = Config::load(Some(&file.path), std::iter::empty(), &Overrides::default());

    let report = report(loaded);
    assert!(report.starts_with("dunlin.toml:1:13: not UTF-8 text\n"), "{report}");
    assert!(report.contains("\ndunlin.toml:2:11: `workers` is too small\n"), "{report}");
    assert!(report.ends_with("\n2 mistakes in the configuration\n"), "{report}");
}

#[test]
fn no_text_makes_loading_panic() {
    let file = fs::read(documented_file()).unwrap();
    let text = uncommented(std::str::from_utf8(&file).unwrap());
    // Cut anywhere, and with every line broken in turn.
    for end in (0..text.len()).step_by(5) {
        let _ = load("cut", text.get(..end).unwrap_or_default(), &[]);
    }
    for at in 0..text.lines().count() {
        for broken in ["= = [[", "a.b.c = {", "\"é\" = '''", "[[limits]]", "listener = [1]"] {
            let lines = text.lines().enumerate();
            let lines = lines.map(|(line, text)| if line == at { broken } else { text });
            let _ = load("broken", &lines.collect::<Vec<_>>().join("\n"), &[]);
        }
    }
}

#[test]
fn a_file_is_read_into_every_kind_of_value() {
    let file = "\
        workers = 3\n\
        data_dir = '/srv/mqtt data'\n\
        [storage]\n\
        engine = \"fjall\"\n\
        sync = \"interval\"\n\
        sync_interval = \"250ms\"\n\
        disk_max = \"1 GiB\"\n\
        [limits]\n\
        connections_max = 100\n\
        packet_bytes_max = 65_536\n\
        memory_max = \"1 GiB\"\n\
        connect_timeout = \"500ms\"\n\
        [session]\n\
        expiry_max = \"never\"\n\
        expiry_v3 = \"1h\"\n\
        queue_bytes_max = \"1MiB\"\n\
        queue_when_full = \"drop_oldest\"\n\
        [outbound]\n\
        hard_bytes_max = \"100 KiB\"\n\
        [sys]\n\
        interval = \"1m\"\n\
        [log]\n\
        level = \"debug\"\n\
        format = \"json\"\n";

    let Config { workers, data_dir, storage, limits, session, outbound, sys, log, .. } =
        load("values", file, &[]).unwrap().config;

    assert_eq!(workers.get(), 3);
    assert_eq!(data_dir, Path::new("/srv/mqtt data"));
    assert_eq!(
        storage,
        Storage {
            engine: StorageEngine::Fjall,
            sync: StorageSync::Interval,
            sync_interval: Duration::from_millis(250),
            disk_max: DiskMax::At(1 << 30),
        }
    );
    assert_eq!(limits.connections_max, ConnectionsMax::At(100.try_into().unwrap()));
    assert_eq!(limits.packet_bytes_max, 65_536);
    assert_eq!(limits.memory_max, MemoryMax::At(1 << 30));
    assert_eq!(limits.connect_bytes_max, 65_536, "lowered with the limit above it");
    assert_eq!(limits.connect_timeout, Duration::from_millis(500));
    assert_eq!(session.expiry_max, SessionExpiryMax::Never);
    assert_eq!(session.expiry_v3, SessionExpiryMax::After(Duration::from_secs(3600)));
    assert_eq!(session.queue_bytes_max, 1 << 20);
    assert_eq!(session.queue_when_full, QueueWhenFull::DropOldest);
    assert_eq!(outbound.soft_bytes_max, 100 << 10, "lowered with the limit above it");
    assert_eq!(sys.interval, SysInterval::Every(Duration::from_secs(60)));
    assert_eq!((log.level, log.format), (LogLevel::Debug, LogFormat::Json));
}

#[test]
fn without_a_file_the_defaults_are_in_effect() {
    let loaded = load_environment(&[("PATH", "/bin"), ("DUNLINX", "1")]).unwrap();

    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, []);
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = "[limits]\ntopic_levels_max = 7\ntopic_bytes_max = 100";
    let environment = [
        ("DUNLIN_LIMITS__TOPIC_LEVELS_MAX", "8"),
        ("DUNLIN_DATA_DIR", "17"),
        ("DUNLIN_WORKERS", "auto"),
    ];

    let config = load("environment", file, &environment).unwrap().config;

    assert_eq!(config.limits.topic_levels_max, 8);
    assert_eq!(config.limits.topic_bytes_max, 100);
    assert_eq!(config.data_dir, Path::new("17"));
    assert_eq!(config.workers, Config::default().workers);
}

#[test]
fn a_variable_changes_the_listener_it_names_or_creates_it() {
    let file = "[[listener]]\nname = \"public-tls\"\naddress = \"0.0.0.0:8883\"";
    let environment = [
        ("DUNLIN_LISTENER__PUBLIC_TLS__ANONYMOUS", "true"),
        ("DUNLIN_LISTENER__INSIDE__ADDRESS", "[::1]:1883"),
    ];

    let listeners = load("listener", file, &environment).unwrap().config.listeners;

    let told: Vec<_> = listeners
        .iter()
        .map(|it| (it.name.as_str(), it.address.to_string(), it.anonymous))
        .collect();
    assert_eq!(
        told,
        [
            ("public-tls", "0.0.0.0:8883".to_owned(), Anonymous::Allowed),
            ("inside", "[::1]:1883".to_owned(), Anonymous::Refused),
        ]
    );
}

#[test]
fn a_listener_may_leave_features_out() {
    let file = "\
        [[listener]]\n\
        address = \"[::]:1883\"\n\
        protocols = [\n  \"5.0\", # new ones\n  \"3.1.1\",\n]\n\
        qos_max = 1\n\
        retain = false\n\
        wildcards = false\n\
        shared = false\n\
        subscription_ids = false\n\
        [[listener]]\n\
        address = \"[::]:1884\"\n";

    let listeners = load("features", file, &[]).unwrap().config.listeners;

    let told: Vec<_> = listeners.iter().map(|it| it.features).collect();
    let narrow = Features {
        protocols: [ProtocolVersion::V311, ProtocolVersion::V5].into_iter().collect(),
        qos_max: QoS::AtLeastOnce,
        retain: false,
        wildcards: false,
        shared: false,
        subscription_ids: false,
    };
    assert_eq!(told, [narrow, Features::default()]);
}

#[test]
fn response_information_may_be_turned_off() {
    let default = Config::default().session.response_information;
    assert_eq!(default.map(|topic| topic.as_str().to_owned()).as_deref(), Some("response/"));

    let config = load("response", "session.response_information = \"\"", &[]).unwrap().config;

    assert_eq!(config.session.response_information, None);
    let printed = load("response-again", &config.to_toml().to_string(), &[]).unwrap().config;
    assert_eq!(printed, config);
}

#[test]
fn the_default_response_information_gives_way_to_a_limit_it_is_beyond() {
    for (limit, expected) in [(8, None), (9, Some("response/"))] {
        let text = format!("limits.topic_bytes_max = {limit}");

        let config = load("response-limit", &text, &[]).unwrap().config;

        let topic = config.session.response_information.as_ref();
        assert_eq!(topic.map(TopicName::as_str), expected);
        let printed = load("response-limit", &config.to_toml().to_string(), &[]).unwrap();
        assert_eq!(printed.config, config);
    }
}

#[test]
fn a_variable_holds_a_list_between_commas() {
    let address = ("DUNLIN_LISTENER__A__ADDRESS", "[::]:1883");
    for (text, expected) in [
        ("3.1.1,5.0", &[ProtocolVersion::V311, ProtocolVersion::V5][..]),
        (" 5.0 , 3.1", &[ProtocolVersion::V31, ProtocolVersion::V5]),
        ("5.0", &[ProtocolVersion::V5]),
    ] {
        let protocols = ("DUNLIN_LISTENER__A__PROTOCOLS", text);

        let config = load_environment(&[address, protocols]).unwrap().config;

        let protocols: Vec<_> = config.listeners[0].features.protocols.iter().collect();
        assert_eq!(protocols, expected, "{text}");
    }
}

#[test]
fn a_mistake_in_a_list_of_a_variable_has_its_own_place() {
    let address = ("DUNLIN_LISTENER__A__ADDRESS", "[::]:1883");
    let protocols = ("DUNLIN_LISTENER__A__PROTOCOLS", "5.0, v5,3.1.1,5.0,");

    assert_eq!(
        report(load_environment(&[address, protocols])),
        "\
environment variable DUNLIN_LISTENER__A__PROTOCOLS: `listener.protocols` cannot be \"v5\"
 |
 | DUNLIN_LISTENER__A__PROTOCOLS=5.0, v5,3.1.1,5.0,
 |                                    ^^
 = allowed: \"3.1\", \"3.1.1\" or \"5.0\"

environment variable DUNLIN_LISTENER__A__PROTOCOLS: `listener.protocols` has \"5.0\" twice
 |
 | DUNLIN_LISTENER__A__PROTOCOLS=5.0, v5,3.1.1,5.0,
 |                                             ^^^
 = leave one of them out

environment variable DUNLIN_LISTENER__A__PROTOCOLS: `listener.protocols` cannot be \"\"
 |
 | DUNLIN_LISTENER__A__PROTOCOLS=5.0, v5,3.1.1,5.0,
 |                                                 ^
 = allowed: \"3.1\", \"3.1.1\" or \"5.0\"

3 mistakes in the configuration
"
    );
    assert_eq!(
        report(load_environment(&[address, ("DUNLIN_LISTENER__A__PROTOCOLS", " ")])),
        "\
environment variable DUNLIN_LISTENER__A__PROTOCOLS: `listener.protocols` cannot be \" \"
 |
 | DUNLIN_LISTENER__A__PROTOCOLS=
 |                               ^
 = allowed: a list with at least one of 3.1,3.1.1,5.0

1 mistake in the configuration
"
    );
}

#[test]
fn a_listener_created_by_a_variable_without_an_address_is_a_mistake_of_that_variable() {
    assert_eq!(
        report(load_environment(&[("DUNLIN_LISTENER__A__ANONYMOUS", "true")])),
        "\
environment variable DUNLIN_LISTENER__A__ANONYMOUS: `listener.address` is missing
 |
 | DUNLIN_LISTENER__A__ANONYMOUS=true
 | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
 = allowed: an IP address and a port, such as \"0.0.0.0:1883\" or \"[::]:1883\"

1 mistake in the configuration
"
    );
}

#[test]
fn variables_that_kubernetes_makes_from_a_service_called_dunlin_are_left_alone() {
    let environment = [
        ("DUNLIN_SERVICE_HOST", "10.0.0.1"),
        ("DUNLIN_SERVICE_PORT_MQTT", "1883"),
        ("DUNLIN_PORT", "tcp://10.0.0.1:1883"),
        ("DUNLIN_PORT_1883_TCP_PROTO", "tcp"),
    ];

    assert_eq!(load_environment(&environment).unwrap().config, Config::default());
}

#[test]
fn listen_replaces_all_listeners_and_says_what_that_opens() {
    let file = File::new("listen", "[[listener]]\naddress = \"127.0.0.1:1\"\nanonymous = true");
    let listen = vec!["0.0.0.0:0".to_owned(), "1884".to_owned()];
    let overrides = Overrides { listen, ..Overrides::default() };

    let loaded = Config::load(Some(&file.path), std::iter::empty(), &overrides).unwrap();

    let listeners = &loaded.config.listeners;
    let addresses: Vec<_> = listeners.iter().map(|it| it.address.to_string()).collect();
    assert_eq!(addresses, ["0.0.0.0:0", "127.0.0.1:1884", "[::1]:1884"]);
    assert!(listeners.iter().all(|it| it.anonymous == Anonymous::Allowed));
    let address = "0.0.0.0:0".parse().unwrap();
    assert_eq!(
        loaded.warnings,
        [
            Warning::ListenersReplaced { count: 1 },
            Warning::EverybodyAdmitted { listener: "listen-1".to_owned(), address },
        ]
    );
}

#[test]
fn a_bad_listen_names_the_option() {
    assert_eq!(
        report(listen(&["1884", "example.org:1883"])),
        "\
option --listen: `--listen` cannot be \"example.org:1883\"
 |
 | --listen example.org:1883
 |          ^^^^^^^^^^^^^^^^
 = allowed: a port, or an IP address with or without one: 1884, 0.0.0.0:1883, [::]:1883

1 mistake in the configuration
"
    );
}

#[test]
fn a_listener_that_admits_nobody_is_announced_in_plain_words() {
    let loaded = load("nobody", "[[listener]]\naddress = \"0.0.0.0:1883\"", &[]).unwrap();

    let told: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["listener `listener-1` on 0.0.0.0:1883 lets nobody in: it refuses anonymous clients and \
          has no [[listener.credential]] for others; `anonymous = true` in its [[listener]] table \
          lets everybody in"]
    );
}

#[test]
fn a_queue_that_no_large_message_fits_is_announced() {
    let loaded = load("queue", "session.queue_bytes_max = \"1 MiB\"", &[]).unwrap();

    let expected =
        Warning::QueueBelowPacket { queue_bytes_max: 1 << 20, packet_bytes_max: 2 << 20 };
    assert_eq!(loaded.warnings, [expected]);
}

// The binary.

fn dunlin(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.args(arguments).stdin(Stdio::null());
    command.env_clear().envs(environment.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_printed_configuration_loaded_again_is_the_same() {
    let written = "\
        data_dir = 'C:\\data \"é\"'\n\
        [storage]\n\
        engine = \"fjall\"\n\
        sync = \"os\"\n\
        sync_interval = \"1500ms\"\n\
        [limits]\n\
        connections_max = 7\n\
        packet_bytes_max = 100_001\n\
        memory_max = \"100 MiB\"\n\
        connect_timeout = \"1500ms\"\n\
        [session]\n\
        expiry_max = \"never\"\n\
        queue_when_full = \"drop_oldest\"\n\
        response_information = \"reply/to/\"\n\
        [sys]\n\
        interval = \"never\"\n\
        [[listener]]\n\
        name = \"a-b\"\n\
        address = \"[::]:1884\"\n\
        anonymous = true\n\
        protocols = [\"5.0\", \"3.1\"]\n\
        qos_max = 0\n\
        retain = false\n\
        shared = false\n";
    let file = File::new("printed", written);
    let path = file.path.to_str().unwrap();
    let environment =
        [("DUNLIN_LOG__LEVEL", "trace"), ("DUNLIN_LISTENER__C__ADDRESS", "10.0.0.1:0")];

    for options in [vec![], vec!["--data-dir", "/x y"], vec!["--memory", "--listen", "[::1]:9"]] {
        let overrides = Overrides {
            listen: options
                .iter()
                .filter(|it| **it == "[::1]:9")
                .map(ToString::to_string)
                .collect(),
            memory: options.contains(&"--memory"),
            data_dir: options.contains(&"--data-dir").then(|| PathBuf::from("/x y")),
        };
        let environment_read = variables(&environment).into_iter();
        let effective = Config::load(Some(&file.path), environment_read, &overrides).unwrap();

        let arguments = [vec!["print-config", "--config", path], options].concat();
        let printed = dunlin(&arguments, &environment);

        assert_eq!(printed.status.code(), Some(0), "{}", text(&printed.stderr));
        let again = load("printed-again", text(&printed.stdout), &[]).unwrap();
        assert_eq!(again.config, effective.config);
    }
}

#[test]
fn check_says_that_a_file_is_right_or_what_is_wrong() {
    let right = dunlin(&["check", documented_file().to_str().unwrap()], &[]);
    assert_eq!(right.status.code(), Some(0));
    assert!(text(&right.stdout).ends_with("config/dunlin.toml: ok\n"));

    let file = File::new("check", "worker = 1");
    let wrong = dunlin(&["check", file.path.to_str().unwrap()], &[]);
    assert_eq!(wrong.status.code(), Some(78));
    assert!(text(&wrong.stderr).contains("did you mean `workers`?"));
    assert!(wrong.stdout.is_empty());
}

#[test]
fn warnings_go_to_standard_error_and_refuse_nothing() {
    let printed = dunlin(&["print-config", "--listen", "0.0.0.0:1883"], &[]);

    assert_eq!(printed.status.code(), Some(0));
    assert!(
        text(&printed.stderr).starts_with("warning: listener `listen-1` on 0.0.0.0:1883 is open")
    );
}

#[test]
fn the_exit_code_says_whose_fault_it_is() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    for (arguments, code) in [
        (&["--version"][..], 0),
        (&["--help"], 0),
        (&["--no-such-option"], 64),
        (&["check"], 64),
        (&["--listen", "nowhere"], 64),
        (&["check", "/no/such/file"], 66),
        (&["--config", "/no/such/file"], 66),
        (&["check", folder], 74),
    ] {
        let run = dunlin(arguments, &[]);

        assert_eq!(run.status.code(), Some(code), "{arguments:?}: {}", text(&run.stderr));
    }
    let run = dunlin(&["print-config"], &[("DUNLIN_WORKERS", "0")]);
    assert_eq!(run.status.code(), Some(78));
}

#[test]
fn help_begins_with_what_it_is_and_shows_a_first_try() {
    let help = dunlin(&["--help"], &[]);

    let help = text(&help.stdout);
    assert!(help.starts_with("An MQTT 3.1.1 and 5.0 broker"), "{help}");
    assert!(help.contains("mosquitto_sub"), "{help}");
    assert!(help.contains("mosquitto_pub"), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
}
