//! What a listener knows of its users: for each a salt and two keys, never a password.
//!
//! A user that does not exist has a salt and keys as well, made from its name and a secret of this
//! process: whoever asks for a user's salt, however often, does not learn whether there is one.

use std::collections::HashMap;
use std::fmt;

use hmac::digest::CtOutput;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::config::{Credential, ScramKeys, Secret};

/// The least that RFC 7677 allows, and what PostgreSQL uses: small clients work through it at each
/// login, and nobody can steal what is only in memory.
const ITERATIONS: u32 = 4096;
const SALT_BYTES: usize = 16;

pub(super) type Key = [u8; 32];

/// The users of one listener.
#[derive(Debug)]
pub struct Table {
    users: HashMap<String, ScramKeys>,
    /// What the users' challenges look like, one each: the others' look like one of them.
    looks: Vec<Look>,
    secret: ProcessSecret,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    iterations: u32,
    salt_bytes: usize,
}

/// Random, and gone with the process.
struct ProcessSecret(Key);

impl fmt::Debug for ProcessSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ProcessSecret(..)")
    }
}

/// What a name is challenged with.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) keys: ScramKeys,
    pub(super) standing: Standing,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    Known,
    /// No proof is good enough.
    Unknown,
}

impl Table {
    pub(super) fn new(credentials: &[Credential]) -> Result<Self, getrandom::Error> {
        let mut secret = Key::default();
        getrandom::fill(&mut secret)?;
        let mut users = HashMap::with_capacity(credentials.len());
        let mut looks = Vec::with_capacity(credentials.len());
        for credential in credentials {
            let keys = match &credential.secret {
                Secret::Scram(keys) => keys.clone(),
                Secret::Password(password) => {
                    let mut salt = vec![0; SALT_BYTES];
                    getrandom::fill(&mut salt)?;
                    keys_of(password, salt, ITERATIONS)
                }
            };
            looks.push(Look { iterations: keys.iterations, salt_bytes: keys.salt.len() });
            users.insert(credential.username.clone(), keys);
        }
        Ok(Self { users, looks, secret: ProcessSecret(secret) })
    }

    /// Whatever the name is, the same work is done for it.
    pub(super) fn entry(&self, username: &str) -> Entry {
        let decoy = self.decoy(username);
        match self.users.get(username) {
            Some(keys) => Entry { keys: keys.clone(), standing: Standing::Known },
            None => Entry { keys: decoy, standing: Standing::Unknown },
        }
    }

    fn decoy(&self, username: &str) -> ScramKeys {
        let made = |purpose: u8| hmac(&self.secret.0, &[&[purpose], username.as_bytes()]);
        let (stored_key, server_key) = (made(0), made(1));
        let mut salt = [made(2), made(3)].concat();
        let number = made(4).iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        let look = self.looks.get(number % self.looks.len().max(1));
        let look = look.copied().unwrap_or(Look { iterations: ITERATIONS, salt_bytes: SALT_BYTES });
        salt.truncate(look.salt_bytes);
        ScramKeys { iterations: look.iterations, salt, stored_key, server_key }
    }
}

/// RFC 5802, section 3.
pub(super) fn keys_of(password: &str, salt: Vec<u8>, iterations: u32) -> ScramKeys {
    let salted: Key =
        pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), &salt, iterations);
    let client_key = hmac(&salted, &[b"Client Key"]);
    let stored_key = Sha256::digest(client_key).into();
    let server_key = hmac(&salted, &[b"Server Key"]);
    ScramKeys { iterations, salt, stored_key, server_key }
}

/// HMAC-SHA-256 over the parts, one after the other.
pub(super) fn hmac(key: &Key, parts: &[&[u8]]) -> Key {
    // A key shorter than a block is filled up with zeros (RFC 2104).
    let mut block = [0; 64];
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut hmac = Hmac::<Sha256>::new(&block.into());
    for part in parts {
        hmac.update(part);
    }
    hmac.finalize().into_bytes().into()
}

/// Takes as long for keys that differ in the first byte as for those that differ in the last.
pub(super) fn equal(one: &Key, other: &Key) -> bool {
    let opaque = |key: &Key| CtOutput::<Hmac<Sha256>>::new((*key).into());
    opaque(one) == opaque(other)
}
