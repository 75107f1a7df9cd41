//! The credentials of a listener: user names, and what proves them.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use toml::Spanned;

use super::checked::{Credential, ScramKeys, Secret};
use super::mistake::Problem;
use super::raw;
use super::reader::Reader;

/// More belong in a file of their own.
const CREDENTIALS_MAX: usize = 1000;

const USERNAME_BYTES_MAX: usize = 256;
const PASSWORD_BYTES_MAX: usize = 1024;
const SALT_BYTES: RangeInclusive<usize> = 8..=64;
/// RFC 7677 asks for 4096 at least; a client has to work through them at each login.
const ITERATIONS: RangeInclusive<u32> = 4096..=1_000_000;

const USERNAME_ALLOWED: &str = "1 to 256 bytes of text without control characters";
const PASSWORD_ALLOWED: &str = "1 to 1024 bytes of text without control characters";
const SCRAM_ALLOWED: &str = "\"SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>\", the \
                             last three in Base64, with 4096 to 1000000 iterations and a salt of 8 \
                             to 64 bytes";
const SECRET_ALLOWED: &str = "`password`, or `scram_sha_256` in its place";

pub(super) fn check(raw: &[Spanned<raw::Credential>], reader: &mut Reader<'_>) -> Vec<Credential> {
    if let Some(first) = raw.get(CREDENTIALS_MAX) {
        reader.report(&first.span(), Problem::TooManyCredentials { max: CREDENTIALS_MAX });
    }
    let mut known = HashSet::new();
    let mut credentials = Vec::new();
    for raw in raw.iter().take(CREDENTIALS_MAX) {
        let Some(credential) = credential(raw, reader) else { continue };
        if known.insert(credential.username.clone()) {
            credentials.push(credential);
        } else {
            let field = &raw.get_ref().username;
            let span = field.as_ref().map_or_else(|| raw.span(), Spanned::span);
            reader.report(&span, Problem::UsernameTaken(credential.username));
        }
    }
    credentials
}

/// `None` when a part of it is missing or wrong, which has been reported.
fn credential(raw: &Spanned<raw::Credential>, reader: &mut Reader<'_>) -> Option<Credential> {
    const USERNAME: &str = "listener.credential.username";
    const PASSWORD: &str = "listener.credential.password";
    const SCRAM: &str = "listener.credential.scram_sha_256";
    let (span, raw) = (raw.span(), raw.get_ref());
    let missing = |key: &str, allowed: &str| Problem::Missing {
        key: key.to_owned(),
        allowed: allowed.to_owned(),
    };
    if raw.username.is_none() {
        reader.report(&span, missing(USERNAME, USERNAME_ALLOWED));
    }
    let username = reader
        .text(USERNAME, &raw.username, USERNAME_ALLOWED, |text| prepared(text, USERNAME_BYTES_MAX));
    let password = reader
        .text(PASSWORD, &raw.password, PASSWORD_ALLOWED, |text| prepared(text, PASSWORD_BYTES_MAX));
    let keys =
        reader.text(SCRAM, &raw.scram_sha_256, SCRAM_ALLOWED, |text| scram_keys(text).ok_or(None));
    let secret = match (&raw.password, &raw.scram_sha_256) {
        (None, None) => {
            reader.report(&span, missing(PASSWORD, SECRET_ALLOWED));
            None
        }
        (Some(_), Some(keys)) => {
            reader.report(&keys.span(), Problem::Both { key: SCRAM, other: PASSWORD });
            None
        }
        (Some(_), None) => password.map(Secret::Password),
        (None, Some(_)) => keys.map(Secret::Scram),
    };
    Some(Credential { username: username?, secret: secret? })
}

/// The form of a text in which clients and servers compare it (RFC 5802, section 5.1).
fn prepared(text: &str, bytes_max: usize) -> Result<String, Option<String>> {
    let prepared = stringprep::saslprep(text).map_err(|_| None)?;
    // MQTT has no string with U+0000, and nobody types another control character.
    let right = (1..=bytes_max).contains(&prepared.len())
        && text.len() <= bytes_max
        && !prepared.contains(char::is_control);
    if right { Ok(prepared.into_owned()) } else { Err(None) }
}

/// A password's keys as PostgreSQL writes them in `pg_authid`.
fn scram_keys(text: &str) -> Option<ScramKeys> {
    let (parameters, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
    let (iterations, salt) = parameters.split_once(':')?;
    let (stored_key, server_key) = keys.split_once(':')?;
    let iterations = iterations.parse().ok().filter(|number| ITERATIONS.contains(number))?;
    let salt = STANDARD.decode(salt).ok().filter(|salt| SALT_BYTES.contains(&salt.len()))?;
    let key = |text: &str| STANDARD.decode(text).ok()?.try_into().ok();
    Some(ScramKeys { iterations, salt, stored_key: key(stored_key)?, server_key: key(server_key)? })
}
