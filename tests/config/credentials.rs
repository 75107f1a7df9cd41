//! The credentials of a listener: what is taken, what is a mistake, and that no secret is ever
//! shown.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use dunlin::config::{Config, Overrides, Secret, Warning};

use crate::{File, dunlin, load, report, text};

/// The keys of "pencil", the password of RFC 7677's example.
const KEYS: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==\
                    $WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=\
                    :wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

fn with(credentials: &str) -> String {
    format!("[[listener]]\naddress = \"127.0.0.1:1883\"\n{credentials}")
}

fn credential(lines: &str) -> String {
    with(&format!("[[listener.credential]]\n{lines}\n"))
}

#[test]
fn credentials_belong_to_the_listener_they_follow() {
    let file = with(&format!(
        "[[listener.credential]]\nusername = \"user\"\nscram_sha_256 = \"{KEYS}\"\n\
         [[listener.credential]]\nusername = \"other\"\npassword = \"secret\"\n\
         [[listener]]\naddress = \"127.0.0.1:1884\"\nanonymous = true\n\
         credential = [{{ username = \"user\", password = \"p\" }}]\n"
    ));

    let loaded = load("credentials", &file, &[]).unwrap();

    let listeners = &loaded.config.listeners;
    let users = |at: usize| -> Vec<_> {
        listeners[at].credentials.iter().map(|it| it.username.as_str()).collect()
    };
    assert_eq!(users(0), ["user", "other"]);
    assert_eq!(users(1), ["user"]);
    let Secret::Scram(keys) = &listeners[0].credentials[0].secret else { panic!("keys") };
    assert_eq!((keys.iterations, keys.salt.len()), (4096, 16));
    assert_eq!((keys.stored_key[0], keys.server_key[0]), (0x58, 0xC1));
    assert_eq!(listeners[0].credentials[1].secret, Secret::Password("secret".to_owned()));
}

#[test]
fn names_and_passwords_are_prepared_as_clients_prepare_them() {
    let file = credential("username = \"I\\u00ADX\"\npassword = \"\\u2168\"");

    let config = load("prepared", &file, &[]).unwrap().config;

    let credential = &config.listeners[0].credentials[0];
    assert_eq!(credential.username, "IX");
    assert_eq!(credential.secret, Secret::Password("IX".to_owned()));
}

#[test]
fn a_listener_with_credentials_does_not_let_nobody_in() {
    let file = credential(&format!("username = \"u\"\nscram_sha_256 = \"{KEYS}\""));

    assert_eq!(load("somebody", &file, &[]).unwrap().warnings, []);
}

#[test]
fn a_secret_is_shown_neither_in_a_mistake_nor_printed() {
    let geheim = "geheim";
    let wrong = format!(
        "{}[[listener.credential]]\nusername = 1\npassword = [\"{geheim}\"]\nscram_sha_256 = \
         \"SCRAM-SHA-256$1:{geheim}\"\npasword = \"{geheim}\"\n\
         [[listener.credential]]\npassword = \"{geheim}\" x\n\
         [[listener.credential]]\npassword = '''\n{geheim}\u{7}'''\n\
         [[listener.credential]]\npassword = {geheim}\n",
        with("credential = 1\n[[listener]]\n")
    );

    let report = report(load("hidden", &wrong, &[]));

    assert!(!report.contains(geheim), "{report}");
    assert!(report.contains("\n16 | password = (hidden)\n   |            ^^^^^^^^\n"), "{report}");
    let file = File::new(
        "hidden-printed",
        credential(&format!("username = \"u\"\npassword = \"{geheim}\"")),
    );
    let printed = dunlin(&["print-config", "--config", file.path.to_str().unwrap()], &[]);
    let printed = text(&printed.stdout);
    assert!(
        printed.ends_with("\n[[listener.credential]]\nusername = \"u\"\n# password = (hidden)\n")
    );
    let config = load("hidden-debug", &fs::read_to_string(&file.path).unwrap(), &[]).unwrap();
    assert!(!format!("{config:?}").contains(geheim));
}

#[test]
fn a_secret_in_the_wrong_place_is_not_shown_either() {
    let geheim = "geheim";
    let user = "username = \"u\"";
    let files = [
        with(&format!("{user}\npassword = \"{geheim}\"\nscram_sha_256 = \"{geheim}\"")),
        format!("password = \"{geheim}\"\n{}", with("")),
        with(&format!("credential = \"{geheim}\"")),
        with(&format!("credential = [{{ password = \"p\", password = \"{geheim}\" }}]")),
        with(&format!("[[listener.credentials]]\n{user} x\npassword = \"{geheim}\" x")),
        credential(&format!("{user} password = \"{geheim}\"")),
        credential(&format!("{user}\npassword.{user}\n\"password\" = \"{geheim}\"")),
        credential(&format!("{user}\npassword.username = \"{geheim}\"")),
        credential(&format!("{user}\npassword: {geheim}\npassword = {geheim} {geheim}")),
    ];
    for file in files {
        let report = report(load("misplaced", &file, &[]));

        assert!(!report.contains(geheim), "{file}\n{report}");
    }
}

#[test]
fn a_secret_in_a_variable_is_not_shown_either() {
    for name in ["DUNLIN_LISTENER__A__PASSWORD", "DUNLIN_PASSWORD", "DUNLIN_A__SCRAM_SHA_256"] {
        let report = report(load("variable", "", &[(name, "geheim")]));

        assert!(report.contains(&format!("{name}=(hidden)")), "{report}");
        assert!(!report.contains("geheim"), "{report}");
    }
}

/// With a value in the secret's place it would be one.
#[test]
fn a_printed_credential_cannot_be_used_as_it_is() {
    let file = credential("username = \"u\"\n# password = (hidden)");

    let report = report(load("reprinted", &file, &[]));

    assert!(report.contains("`listener.credential.password` is missing"), "{report}");
}

#[test]
fn a_file_with_passwords_that_others_may_read_is_announced() {
    let file = File::new("readable", credential("username = \"u\"\npassword = \"p\""));
    let warnings = |mode: u32| {
        fs::set_permissions(&file.path, fs::Permissions::from_mode(mode)).unwrap();
        let loaded =
            Config::load(Some(&file.path), std::iter::empty(), &Overrides::default()).unwrap();
        loaded.warnings
    };

    assert_eq!(warnings(0o600), []);
    assert_eq!(warnings(0o640), [Warning::PasswordsReadable { path: file.path.clone() }]);
    assert_eq!(warnings(0o604), [Warning::PasswordsReadable { path: file.path.clone() }]);
}

#[test]
fn a_listener_has_at_most_a_thousand_credentials() {
    let one = |number: u32| {
        format!("[[listener.credential]]\nusername = \"{number}\"\npassword = \"p\"\n")
    };
    let credentials = |count| with(&(0..count).map(one).collect::<String>());

    let most = load("most", &credentials(1000), &[]).unwrap();
    let report = report(load("too-many", &credentials(1001), &[]));

    assert_eq!(most.config.listeners[0].credentials.len(), 1000);
    assert!(report.contains("more than 1000 credentials of one listener"), "{report}");
}

#[test]
fn keys_that_cannot_be_are_a_mistake() {
    let parts: Vec<&str> = KEYS.split(['$', ':']).collect();
    let [method, iterations, salt, stored, server] = parts[..] else { panic!("five parts") };
    let join = |method: &str, iterations: &str, salt: &str, stored: &str, server: &str| {
        format!("{method}${iterations}:{salt}${stored}:{server}")
    };
    let long_salt = format!("{}AA==", "A".repeat(86));
    let wrong = [
        String::new(),
        "md5abc".to_owned(),
        join("SCRAM-SHA-1", iterations, salt, stored, server),
        join(method, "4095", salt, stored, server),
        join(method, "1000001", salt, stored, server),
        join(method, "", salt, stored, server),
        join(method, iterations, "", stored, server),
        join(method, iterations, "AAAAAAAAAA==", stored, server),
        join(method, iterations, &long_salt, stored, server),
        join(method, iterations, "W22ZaJ0SNY7soEsUEjb6gQ", stored, server),
        join(method, iterations, salt, "", server),
        join(method, iterations, salt, salt, server),
        join(method, iterations, salt, stored, server.trim_end_matches('=')),
        format!("{KEYS}:"),
    ];
    for keys in wrong {
        let file = credential(&format!("username = \"u\"\nscram_sha_256 = \"{keys}\""));

        let report = report(load("wrong-keys", &file, &[]));

        let mistake = "dunlin.toml:5:17: `listener.credential.scram_sha_256` cannot be (hidden)\n";
        assert!(report.starts_with(mistake), "{keys}: {report}");
    }
}
