//! One mistake at a time, and the text that an operator gets for it.

use crate::{load, report};

#[test]
fn a_mistake_is_shown_with_its_place_and_what_would_be_right() {
    for (text, expected) in MISTAKES {
        let report = report(load("mistakes", text, &[]));

        assert_eq!(report, format!("{expected}\n1 mistake in the configuration\n"), "{text}");
    }
}

/// Each file has one mistake; what is expected stands without the last line, which counts.
const MISTAKES: &[(&str, &str)] = &[
    (
        "[limits]\npacket_byte_max = 1",
        "\
dunlin.toml:2:1: unknown key `packet_byte_max`
  |
2 | packet_byte_max = 1
  | ^^^^^^^^^^^^^^^
  = did you mean `packet_bytes_max`?
",
    ),
    (
        "\n\nallow_anonymous = true",
        "\
dunlin.toml:3:1: unknown key `allow_anonymous`
  |
3 | allow_anonymous = true
  | ^^^^^^^^^^^^^^^
  = did you mean `anonymous` in [[listener]]?
",
    ),
    (
        "zzz = 1",
        "\
dunlin.toml:1:1: unknown key `zzz`
  |
1 | zzz = 1
  | ^^^
  = allowed: `workers`, `data_dir` at the top of the file
",
    ),
    (
        "[log]\nworkers = 2",
        "\
dunlin.toml:2:1: unknown key `workers`
  |
2 | workers = 2
  | ^^^^^^^
  = did you mean `workers` at the top of the file?
",
    ),
    (
        "[limit]",
        "\
dunlin.toml:1:2: unknown table [limit]
  |
1 | [limit]
  |  ^^^^^
  = did you mean [limits]?
",
    ),
    (
        "[log]\nzzz = 1",
        "\
dunlin.toml:2:1: unknown key `zzz`
  |
2 | zzz = 1
  | ^^^
  = allowed: `level`, `format` in [log]
",
    ),
    (
        "[zzz]",
        "\
dunlin.toml:1:2: unknown table [zzz]
  |
1 | [zzz]
  |  ^^^
  = allowed: [storage], [limits], [session], [outbound], [retained], [shared], [sys], [log], [[listener]], [[listener.credential]]
",
    ),
    (
        "[listener]\naddress = \"[::1]:1883\"",
        "\
dunlin.toml:1:2: `listener` has the wrong form
  |
1 | [listener]
  |  ^^^^^^^^
  = write it as [[listener]]
",
    ),
    (
        "limits = 5",
        "\
dunlin.toml:1:1: `limits` has the wrong form
  |
1 | limits = 5
  | ^^^^^^
  = write it as [limits]
",
    ),
    (
        "limits.packet_bytes_max = \"1 GiB\" # far",
        "\
dunlin.toml:1:27: `limits.packet_bytes_max` is too large
  |
1 | limits.packet_bytes_max = \"1 GiB\" # far
  |                           ^^^^^^^
  = allowed: a size from 64 bytes to 268435460 bytes, as a number of bytes or such as \"64 KiB\"
",
    ),
    (
        "limits.memory_max = \"1 MiB\"",
        "\
dunlin.toml:1:21: `limits.memory_max` is too small
  |
1 | limits.memory_max = \"1 MiB\"
  |                     ^^^^^^^
  = allowed: \"auto\" or a size from 16 MiB to 1024 TiB, as a number of bytes or such as \"64 KiB\"
",
    ),
    (
        "[limits]\n\tpacket_bytes_max = \"2 MB\"",
        "\
dunlin.toml:2:21: `limits.packet_bytes_max` cannot be \"2 MB\"
  |
2 |  packet_bytes_max = \"2 MB\"
  |                     ^^^^^^
  = allowed: a size from 64 bytes to 268435460 bytes, as a number of bytes or such as \"64 KiB\"
  = did you mean \"2 MiB\"?
",
    ),
    (
        "[limits]\ntopic_levels_max = 99999999999999999999999999999999999999999999",
        "\
dunlin.toml:2:20: `limits.topic_levels_max` is too large
  |
2 | topic_levels_max = 99999999999999999999999999999999999999999999
  |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = allowed: a whole number from 1 to 65535
",
    ),
    (
        "[session]\nreceive_maximum = -1",
        "\
dunlin.toml:2:19: `session.receive_maximum` is too small
  |
2 | receive_maximum = -1
  |                   ^^
  = allowed: a whole number from 1 to 65535
",
    ),
    (
        "[session]\ninflight_max = \"64\"",
        "\
dunlin.toml:2:16: `session.inflight_max` cannot be \"64\"
  |
2 | inflight_max = \"64\"
  |                ^^^^
  = allowed: a whole number from 1 to 65535
",
    ),
    (
        "workers = 0",
        "\
dunlin.toml:1:11: `workers` is too small
  |
1 | workers = 0
  |           ^
  = allowed: \"auto\" or a whole number from 1 to 1024
",
    ),
    (
        "[limits]\nconnect_timeout = 10",
        "\
dunlin.toml:2:19: `limits.connect_timeout` cannot be 10
  |
2 | connect_timeout = 10
  |                   ^^
  = allowed: a time from \"100ms\" to \"1h\" with its unit: ms, s, m, h or d
  = did you mean \"10s\"?
",
    ),
    (
        "[limits]\nkeep_alive_max = \"1500ms\"",
        "\
dunlin.toml:2:18: `limits.keep_alive_max` cannot be \"1500ms\"
  |
2 | keep_alive_max = \"1500ms\"
  |                  ^^^^^^^^
  = allowed: a time from \"1s\" to \"65535s\" with its unit: ms, s, m, h or d, in whole seconds
",
    ),
    (
        "[session]\nexpiry_max = \"1000000d\"",
        "\
dunlin.toml:2:14: `session.expiry_max` is too large
  |
2 | expiry_max = \"1000000d\"
  |              ^^^^^^^^^^
  = allowed: \"never\" or a time from \"1s\" to \"36500d\" with its unit: ms, s, m, h or d, in whole seconds
",
    ),
    (
        "[sys]\ninterval = \"2h\"",
        "\
dunlin.toml:2:12: `sys.interval` is too large
  |
2 | interval = \"2h\"
  |            ^^^^
  = allowed: \"never\" or a time from \"1s\" to \"1h\" with its unit: ms, s, m, h or d, in whole seconds
",
    ),
    (
        "[storage]\nengine = \"rocksdb\"",
        "\
dunlin.toml:2:10: `storage.engine` cannot be \"rocksdb\"
  |
2 | engine = \"rocksdb\"
  |          ^^^^^^^^^
  = allowed: \"fjall\" or \"memory\"
",
    ),
    (
        "[storage]\nsync = \"alway\"",
        "\
dunlin.toml:2:8: `storage.sync` cannot be \"alway\"
  |
2 | sync = \"alway\"
  |        ^^^^^^^
  = allowed: \"always\", \"interval\", \"os\" or \"off\"
  = did you mean \"always\"?
",
    ),
    (
        "[storage]\nsync_interval = \"1ms\"",
        "\
dunlin.toml:2:17: `storage.sync_interval` is too small
  |
2 | sync_interval = \"1ms\"
  |                 ^^^^^
  = allowed: a time from \"10ms\" to \"1h\" with its unit: ms, s, m, h or d
",
    ),
    (
        "[log]\nlevel = \"Warning\"",
        "\
dunlin.toml:2:9: `log.level` cannot be \"Warning\"
  |
2 | level = \"Warning\"
  |         ^^^^^^^^^
  = allowed: \"error\", \"warn\", \"info\", \"debug\" or \"trace\"
  = did you mean \"warn\"?
",
    ),
    (
        "data_dir = \"\"",
        "\
dunlin.toml:1:12: `data_dir` cannot be \"\"
  |
1 | data_dir = \"\"
  |            ^^
  = allowed: the path of a directory
",
    ),
    (
        "data_dir = [\"a\",\n\"b\"]",
        "\
dunlin.toml:1:12: `data_dir` cannot be [\"a\",...
  |
1 | data_dir = [\"a\",
  |            ^^^^^
  = allowed: the path of a directory
",
    ),
    (
        "[limits]\nconnect_bytes_max = \"3 MiB\"",
        "\
dunlin.toml:2:21: `limits.connect_bytes_max` is 3 MiB, above `limits.packet_bytes_max`, which is 2 MiB
  |
2 | connect_bytes_max = \"3 MiB\"
  |                     ^^^^^^^
  = lower `limits.connect_bytes_max` or raise `limits.packet_bytes_max`
",
    ),
    (
        "[outbound]\nhard_bytes_max = 4096\nsoft_bytes_max = 4097",
        "\
dunlin.toml:3:18: `outbound.soft_bytes_max` is 4097, above `outbound.hard_bytes_max`, which is 4 KiB
  |
3 | soft_bytes_max = 4097
  |                  ^^^^
  = lower `outbound.soft_bytes_max` or raise `outbound.hard_bytes_max`
",
    ),
    (
        "[[listener]]\naddress = \"localhost:1883\"",
        "\
dunlin.toml:2:11: `listener.address` cannot be \"localhost:1883\"
  |
2 | address = \"localhost:1883\"
  |           ^^^^^^^^^^^^^^^^
  = allowed: an IP address and a port, such as \"0.0.0.0:1883\" or \"[::]:1883\"
  = did you mean \"127.0.0.1:1883\"?
",
    ),
    (
        "[[listener]]\nname = \"public\"",
        "\
dunlin.toml:1:1: `listener.address` is missing
  |
1 | [[listener]]
  | ^^^^^^^^^^^^
  = allowed: an IP address and a port, such as \"0.0.0.0:1883\" or \"[::]:1883\"
",
    ),
    (
        "[[listener]]\nname = \"Public_TLS\"\naddress = \"[::]:1883\"\n",
        "\
dunlin.toml:2:8: `listener.name` cannot be \"Public_TLS\"
  |
2 | name = \"Public_TLS\"
  |        ^^^^^^^^^^^^
  = allowed: up to 32 lower-case letters, digits and \"-\", beginning with a letter, such as \"public-tls\"
  = did you mean \"public-tls\"?
",
    ),
    (
        "[[listener]]\nname = \"a\"\naddress = \"[::]:1\"\n[[listener]]\nname = \"a\"\naddress = \"[::]:2\"",
        "\
dunlin.toml:5:8: there is another listener called `a`
  |
5 | name = \"a\"
  |        ^^^
  = each listener needs its own name
",
    ),
    (
        "[[listener]]\naddress = \"0.0.0.0:1883\"\n[[listener]]\naddress = \"127.0.0.1:1883\"",
        "\
dunlin.toml:4:11: listener `listener-1` already listens on 0.0.0.0:1883
  |
4 | address = \"127.0.0.1:1883\"
  |           ^^^^^^^^^^^^^^^^
  = each listener needs its own address or port
",
    ),
    (
        "[[listener]]\naddress = \"[::]:1883\"\nanonymous = \"yes\"",
        "\
dunlin.toml:3:13: `listener.anonymous` cannot be \"yes\"
  |
3 | anonymous = \"yes\"
  |             ^^^^^
  = allowed: true or false
",
    ),
    (
        "[[listener]]\naddress = \"[::]:1883\"\nqos_max = 3",
        "\
dunlin.toml:3:11: `listener.qos_max` is too large
  |
3 | qos_max = 3
  |           ^
  = allowed: a whole number from 0 to 2
",
    ),
    (
        "[[listener]]\naddress = \"[::]:1883\"\nprotocols = []",
        "\
dunlin.toml:3:13: `listener.protocols` cannot be []
  |
3 | protocols = []
  |             ^^
  = allowed: a list with at least one of [\"3.1\", \"3.1.1\", \"5.0\"]
",
    ),
    (
        "[[listener]]\naddress = \"[::]:1883\"\nprotocols = \"5.0\"",
        "\
dunlin.toml:3:13: `listener.protocols` cannot be \"5.0\"
  |
3 | protocols = \"5.0\"
  |             ^^^^^
  = allowed: a list with at least one of [\"3.1\", \"3.1.1\", \"5.0\"]
  = did you mean [\"5.0\"]?
",
    ),
    (
        "[[listener]]\naddress = \"[::]:1883\"\nprotocols = [\n  \"5.0\",\n  \"3.1.2\",\n]",
        "\
dunlin.toml:5:3: `listener.protocols` cannot be \"3.1.2\"
  |
5 |   \"3.1.2\",
  |   ^^^^^^^
  = allowed: \"3.1\", \"3.1.1\" or \"5.0\"
  = did you mean \"3.1.1\"?
",
    ),
    (
        "[[listener]]\naddress = \"[::]:1883\"\nprotocols = [\"3.1.1\", 5.0]",
        "\
dunlin.toml:3:23: `listener.protocols` cannot be 5.0
  |
3 | protocols = [\"3.1.1\", 5.0]
  |                       ^^^
  = allowed: \"3.1\", \"3.1.1\" or \"5.0\"
",
    ),
    (
        "[[listener]]\naddress = \"[::]:1883\"\nprotocols = [\"5.0\", [\"3.1\"]]",
        "\
dunlin.toml:3:21: `listener.protocols` cannot be [\"3.1\"]
  |
3 | protocols = [\"5.0\", [\"3.1\"]]
  |                     ^^^^^^^
  = allowed: \"3.1\", \"3.1.1\" or \"5.0\"
",
    ),
    (
        "[[listener]]\naddress = \"[::]:1883\"\nprotocols = [\"5.0\", 99999999999999999999]",
        "\
dunlin.toml:3:21: `listener.protocols` cannot be 99999999999999999999
  |
3 | protocols = [\"5.0\", 99999999999999999999]
  |                     ^^^^^^^^^^^^^^^^^^^^
  = allowed: \"3.1\", \"3.1.1\" or \"5.0\"
",
    ),
    (
        "[[listener]]\naddress = \"[::]:1883\"\nprotocols = [\"5.0\", \"3.1\", \"5.0\"]",
        "\
dunlin.toml:3:28: `listener.protocols` has \"5.0\" twice
  |
3 | protocols = [\"5.0\", \"3.1\", \"5.0\"]
  |                            ^^^^^
  = leave one of them out
",
    ),
    (
        "[[listener]]\naddress = \"[::]:1883\"\nretain = [true]",
        "\
dunlin.toml:3:10: `listener.retain` cannot be [true]
  |
3 | retain = [true]
  |          ^^^^^^
  = allowed: true or false
",
    ),
    (
        "[[listener]]\naddress = \"[::]:1883\"\nprotocols = [\"5.0\"",
        "\
dunlin.toml:3:19: not valid TOML: unclosed array, expected `]`
  |
3 | protocols = [\"5.0\"
  |                   ^
",
    ),
    (
        "[session]\nresponse_information = \"a/+\"",
        "\
dunlin.toml:2:24: `session.response_information` cannot be \"a/+\"
  |
2 | response_information = \"a/+\"
  |                        ^^^^^
  = allowed: \"\" for none, or what a topic may begin with: without \"+\", \"#\" and control characters, and not beginning with \"$\"
",
    ),
    (
        "[session]\nresponse_information = \"$response/\"",
        "\
dunlin.toml:2:24: `session.response_information` cannot be \"$response/\"
  |
2 | response_information = \"$response/\"
  |                        ^^^^^^^^^^^^
  = allowed: \"\" for none, or what a topic may begin with: without \"+\", \"#\" and control characters, and not beginning with \"$\"
  = did you mean \"response/\"?
",
    ),
    (
        "[session]\nresponse_information = \"a\\u0000\"",
        "\
dunlin.toml:2:24: `session.response_information` cannot be \"a\\u0000\"
  |
2 | response_information = \"a\\u0000\"
  |                        ^^^^^^^^^
  = allowed: \"\" for none, or what a topic may begin with: without \"+\", \"#\" and control characters, and not beginning with \"$\"
",
    ),
    (
        "limits.topic_bytes_max = 9\nsession.response_information = \"responses/\"",
        "\
dunlin.toml:2:32: `session.response_information` is 10 bytes long, above `limits.topic_bytes_max`, which is 9
  |
2 | session.response_information = \"responses/\"
  |                                ^^^^^^^^^^^^
  = lower `session.response_information` or raise `limits.topic_bytes_max`
",
    ),
    (
        "limits.topic_levels_max = 2\nsession.response_information = \"a/b/\"",
        "\
dunlin.toml:2:32: `session.response_information` is 3 levels long, above `limits.topic_levels_max`, which is 2
  |
2 | session.response_information = \"a/b/\"
  |                                ^^^^^^
  = lower `session.response_information` or raise `limits.topic_levels_max`
",
    ),
    (
        "workers =\n",
        "\
dunlin.toml:1:10: not valid TOML: text needs quotes around it
  |
1 | workers =
  |          ^
",
    ),
    (
        "[[listener]]\naddress = 127.0.0.1:1883",
        "\
dunlin.toml:2:16: not valid TOML: text needs quotes around it
  |
2 | address = 127.0.0.1:1883
  |                ^^^^^^^^^
",
    ),
    (
        "workers = 1\nworkers = 2",
        "\
dunlin.toml:2:1: not valid TOML: duplicate key
  |
2 | workers = 2
  | ^^^^^^^
",
    ),
    (
        "[[listener]]\naddress = \"[::1]:1\"\n[[listener.credentials]]\nusername = \"a\"",
        "\
dunlin.toml:3:12: unknown table [listener.credentials]
  |
3 | [[listener.credentials]]
  |            ^^^^^^^^^^^
  = did you mean [[listener.credential]]?
",
    ),
    (
        "[[listener]]\naddress = \"[::1]:1\"\n[listener.credential]\nusername = \"a\"",
        "\
dunlin.toml:3:11: `listener.credential` has the wrong form
  |
3 | [listener.credential]
  |           ^^^^^^^^^^
  = write it as [[listener.credential]]
",
    ),
    (
        "[[listener.credential]]\nusername = \"a\"\npassword = \"p\"",
        "\
dunlin.toml:1:3: `listener` has the wrong form
  |
1 | [[listener.credential]]
  |   ^^^^^^^^
  = write it as [[listener]]
",
    ),
    (
        "[[credential]]\nusername = \"a\"",
        "\
dunlin.toml:1:3: unknown table [credential]
  |
1 | [[credential]]
  |   ^^^^^^^^^^
  = did you mean [[listener.credential]]?
",
    ),
    (
        "[[listener]]\naddress = \"[::1]:1\"\nusername = \"a\"",
        "\
dunlin.toml:3:1: unknown key `username`
  |
3 | username = \"a\"
  | ^^^^^^^^
  = did you mean `username` in [[listener.credential]]?
",
    ),
    (
        "password_file = \"passwd\"",
        "\
dunlin.toml:1:1: unknown key `password_file`
  |
1 | password_file = (hidden)
  | ^^^^^^^^^^^^^
  = did you mean `scram_sha_256` in [[listener.credential]]?
",
    ),
    (
        "[[listener]]\naddress = \"[::1]:1\"\n[[listener.credential]]\npassword = \"p\"",
        "\
dunlin.toml:3:1: `listener.credential.username` is missing
  |
3 | [[listener.credential]]
  | ^^^^^^^^^^^^^^^^^^^^^^^
  = allowed: 1 to 256 bytes of text without control characters
",
    ),
    (
        "[[listener]]\naddress = \"[::1]:1\"\n[[listener.credential]]\nusername = \"a\"",
        "\
dunlin.toml:3:1: `listener.credential.password` is missing
  |
3 | [[listener.credential]]
  | ^^^^^^^^^^^^^^^^^^^^^^^
  = allowed: `password`, or `scram_sha_256` in its place
",
    ),
    (
        "[[listener]]\naddress = \"[::1]:1\"\n[[listener.credential]]\nusername = \"\\u00AD\"\npassword = \"p\"",
        "\
dunlin.toml:4:12: `listener.credential.username` cannot be \"\\u00AD\"
  |
4 | username = \"\\u00AD\"
  |            ^^^^^^^^
  = allowed: 1 to 256 bytes of text without control characters
",
    ),
    (
        "[[listener]]\naddress = \"[::1]:1\"\n[[listener.credential]]\nusername = \"a\"\npassword = \"p\"\n[[listener.credential]]\nusername = \"a\"\npassword = \"q\"",
        "\
dunlin.toml:7:12: this listener has another credential of `a`
  |
7 | username = \"a\"
  |            ^^^
  = each user of a listener has one credential
",
    ),
];
