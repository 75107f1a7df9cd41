//! The server's half of SCRAM-SHA-256 (RFC 5802, RFC 7677) as values: two messages in, two out.
//!
//! ```text
//! client-first  n,,n=user,r=CLIENT             -> challenge -> Challenged
//! server-first  r=CLIENTSERVER,s=salt,i=4096   <-
//! client-final  c=biws,r=CLIENTSERVER,p=proof  -> verify    -> who it is
//! server-final  v=signature                    <-
//! ```
//!
//! A mistake ends the exchange at once, with two exceptions: an unknown user is challenged like a
//! known one, and is refused as if the password were wrong.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::credentials::{Entry, Key, Standing, Table, equal, hmac};
use super::{Cause, Rejected};
use crate::packet::UserName;

/// A message of a client, which names it twice at most and has a nonce.
const MESSAGE_BYTES_MAX: usize = 2048;
const USERNAME_BYTES_MAX: usize = 256;
const CLIENT_NONCE_BYTES_MAX: usize = 256;
/// As many as RFC 7677 has in its example; Base64 makes 24 of them.
const SERVER_NONCE_BYTES: usize = 18;

/// The server waits for the proof.
pub(super) struct Challenged {
    username: String,
    entry: Entry,
    /// What the client has to repeat: the beginning of its first message, in Base64.
    binding: String,
    nonce: String,
    /// What was said so far of what both sides sign.
    said: String,
}

impl std::fmt::Debug for Challenged {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Challenged")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// A client-first-message in its parts.
struct First<'a> {
    /// With the comma at its end.
    header: &'a str,
    authorization: Option<String>,
    username: String,
    nonce: &'a str,
    bare: &'a str,
}

/// The server's part of a nonce, which no two exchanges share.
pub(super) fn nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0; SERVER_NONCE_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(STANDARD.encode(bytes))
}

/// Takes the client-first-message and makes the server-first-message.
pub(super) fn challenge(
    table: &Table,
    message: &[u8],
    server_nonce: &str,
) -> Result<(Challenged, Vec<u8>), Rejected> {
    let first = First::parse(message).map_err(|cause| Rejected { username: None, cause })?;
    let First { header, authorization, username, nonce, bare } = first;
    if authorization.is_some_and(|other| other != username) {
        let cause = Cause::AuthorizationIdentity;
        return Err(Rejected { username: Some(username), cause });
    }
    let entry = table.entry(&username);
    let nonce = format!("{nonce}{server_nonce}");
    let salt = STANDARD.encode(&entry.keys.salt);
    let answer = format!("r={nonce},s={salt},i={}", entry.keys.iterations);
    let said = format!("{bare},{answer},");
    let binding = STANDARD.encode(header);
    Ok((Challenged { username, entry, binding, nonce, said }, answer.into_bytes()))
}

impl Challenged {
    /// Takes the client-final-message: who the client is, and the server-final-message.
    pub(super) fn verify(self, message: &[u8]) -> Result<(UserName, Vec<u8>), Rejected> {
        match self.proven(message) {
            Ok(proven) => Ok(proven),
            Err(cause) => Err(Rejected { username: Some(self.username), cause }),
        }
    }

    fn proven(&self, message: &[u8]) -> Result<(UserName, Vec<u8>), Cause> {
        let message = text(message)?;
        let (unsigned, proof) = message.rsplit_once(",p=").ok_or(Cause::Malformed)?;
        let mut parts = unsigned.split(',');
        let binding = value(parts.next(), "c=")?;
        let nonce = value(parts.next(), "r=")?;
        extensions(parts)?;
        let proof: Key = STANDARD
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or(Cause::Malformed)?;
        if binding != self.binding || nonce != self.nonce {
            return Err(Cause::Mismatch);
        }
        let keys = &self.entry.keys;
        let signed: [&[u8]; 2] = [self.said.as_bytes(), unsigned.as_bytes()];
        let mut client_key = hmac(&keys.stored_key, &signed);
        client_key.iter_mut().zip(proof).for_each(|(byte, proof)| *byte ^= proof);
        let right = equal(&Sha256::digest(client_key).into(), &keys.stored_key);
        match (self.entry.standing, right) {
            (Standing::Known, true) => {}
            (Standing::Known, false) => return Err(Cause::WrongPassword),
            (Standing::Unknown, _) => return Err(Cause::UnknownUser),
        }
        let user = UserName::new(&self.username).ok_or(Cause::Malformed)?;
        let signature = STANDARD.encode(hmac(&keys.server_key, &signed));
        Ok((user, format!("v={signature}").into_bytes()))
    }
}

impl<'a> First<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Cause> {
        let message = text(message)?;
        let (flag, rest) = message.split_once(',').ok_or(Cause::Malformed)?;
        match flag {
            // "y": the client could, and believes that the server cannot, which is right.
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err(Cause::ChannelBinding),
            _ => return Err(Cause::Malformed),
        }
        let (authorization, bare) = rest.split_once(',').ok_or(Cause::Malformed)?;
        let header = message.strip_suffix(bare).ok_or(Cause::Malformed)?;
        let authorization = match authorization {
            "" => None,
            _ => Some(name(value(Some(authorization), "a=")?)?),
        };
        let mut parts = bare.split(',');
        let first = parts.next();
        if first.is_some_and(|first| first.starts_with("m=")) {
            return Err(Cause::Extension);
        }
        let username = name(value(first, "n=")?)?;
        let nonce = value(parts.next(), "r=")?;
        let printable = |byte: u8| byte.is_ascii_graphic();
        if nonce.len() > CLIENT_NONCE_BYTES_MAX || !nonce.bytes().all(printable) {
            return Err(Cause::Malformed);
        }
        extensions(parts)?;
        Ok(Self { header, authorization, username, nonce, bare })
    }
}

fn text(message: &[u8]) -> Result<&str, Cause> {
    if message.len() > MESSAGE_BYTES_MAX || message.contains(&0) {
        return Err(Cause::Malformed);
    }
    std::str::from_utf8(message).map_err(|_| Cause::Malformed)
}

/// What stands behind the attribute's name: at least something.
fn value<'a>(part: Option<&'a str>, attribute: &str) -> Result<&'a str, Cause> {
    let value = part.and_then(|part| part.strip_prefix(attribute));
    value.filter(|value| !value.is_empty()).ok_or(Cause::Malformed)
}

/// A name in which "," and "=" are spelled, as both sides compare it.
fn name(spelled: &str) -> Result<String, Cause> {
    let mut parts = spelled.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (None, Some(rest)) => ('=', rest),
            (None, None) => return Err(Cause::Malformed),
        };
        name.push(sign);
        name.push_str(rest);
    }
    if name.len() > USERNAME_BYTES_MAX {
        return Err(Cause::Malformed);
    }
    let prepared = stringprep::saslprep(&name).map_err(|_| Cause::Malformed)?;
    if prepared.is_empty() { Err(Cause::Malformed) } else { Ok(prepared.into_owned()) }
}

/// Extensions that a server may ignore have to look like one at least.
fn extensions<'a>(mut parts: impl Iterator<Item = &'a str>) -> Result<(), Cause> {
    let optional = |part: &str| {
        let (attribute, value) = part.split_once('=')?;
        let letter = attribute.len() == 1 && attribute.bytes().all(|it| it.is_ascii_alphabetic());
        (letter && attribute != "m" && !value.is_empty()).then_some(())
    };
    if parts.all(|part| optional(part).is_some()) { Ok(()) } else { Err(Cause::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Credential, Secret};

    /// RFC 7677, section 3.
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const CHALLENGE: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                             s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const UNSIGNED: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const PROOF: &str = ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SIGNATURE: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn keys(password: &str) -> Secret {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        Secret::Scram(super::super::credentials::keys_of(password, salt, 4096))
    }

    fn table() -> Table {
        let credential = |username: &str, secret| Credential { username: username.into(), secret };
        let users = [
            credential("user", keys("pencil")),
            credential("a,=b", keys("pencil")),
            credential("IX", Secret::Password("IX".to_owned())),
        ];
        Table::new(&users).unwrap()
    }

    fn challenged(first: &str) -> (Challenged, String) {
        let (challenged, answer) = challenge(&table(), first.as_bytes(), SERVER_NONCE).unwrap();
        (challenged, String::from_utf8(answer).unwrap())
    }

    fn cause(first: impl AsRef<[u8]>) -> Option<Cause> {
        challenge(&table(), first.as_ref(), SERVER_NONCE).err().map(|rejected| rejected.cause)
    }

    fn final_cause(message: impl AsRef<[u8]>) -> Cause {
        challenged(FIRST).0.verify(message.as_ref()).unwrap_err().cause
    }

    /// A client-final-message for what was said, by whoever has the password.
    fn answer(challenged: &Challenged, password: &str) -> String {
        let keys = &challenged.entry.keys;
        let salted: Key = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(
            password.as_bytes(),
            &keys.salt,
            keys.iterations,
        );
        let mut proof = hmac(&salted, &[b"Client Key"]);
        let stored: Key = Sha256::digest(proof).into();
        let unsigned = format!("c={},r={}", challenged.binding, challenged.nonce);
        let signature = hmac(&stored, &[challenged.said.as_bytes(), unsigned.as_bytes()]);
        proof.iter_mut().zip(signature).for_each(|(byte, sign)| *byte ^= sign);
        format!("{unsigned},p={}", STANDARD.encode(proof))
    }

    #[test]
    fn the_example_of_rfc_7677_is_played_to_its_end() {
        let (challenged, challenge) = challenged(FIRST);
        let (user, answer) = challenged.verify(format!("{UNSIGNED}{PROOF}").as_bytes()).unwrap();

        assert_eq!(challenge, CHALLENGE);
        assert_eq!(user.as_str(), "user");
        assert_eq!(String::from_utf8(answer).unwrap(), SIGNATURE);
    }

    #[test]
    fn a_wrong_password_is_refused() {
        let (challenged, _) = challenged(FIRST);
        let answer = answer(&challenged, "pen");

        let rejected = challenged.verify(answer.as_bytes()).unwrap_err();

        assert_eq!(rejected.cause, Cause::WrongPassword);
        assert_eq!(rejected.username.as_deref(), Some("user"));
    }

    #[test]
    fn no_bit_of_a_proof_may_differ() {
        let proof: Key =
            STANDARD.decode(PROOF.trim_start_matches(",p=")).unwrap().try_into().unwrap();
        for bit in 0..256 {
            let mut wrong = proof;
            wrong[bit / 8] ^= 1 << (bit % 8);

            let message = format!("{UNSIGNED},p={}", STANDARD.encode(wrong));

            assert_eq!(final_cause(message), Cause::WrongPassword);
        }
    }

    #[test]
    fn an_unknown_user_is_challenged_like_a_known_one_and_always_the_same() {
        let table = table();
        let ask = |name: &str| {
            let first = format!("n,,n={name},r=x");
            let (challenged, answer) = challenge(&table, first.as_bytes(), "y").unwrap();
            (challenged, String::from_utf8(answer).unwrap())
        };

        let (challenged, one) = ask("nobody");

        assert_eq!(one, ask("nobody").1);
        assert_ne!(one, ask("nobody2").1);
        assert_eq!(one.len(), ask("user").1.len());
        assert!(one.ends_with("==,i=4096"), "{one}");
        for password in ["", "pencil"] {
            let answer = answer(&challenged, password);
            assert_eq!(challenged.proven(answer.as_bytes()), Err(Cause::UnknownUser));
        }
    }

    /// Who made up a user cannot be let in, whatever its keys are.
    #[test]
    fn an_unknown_user_fails_even_with_the_proof_that_fits() {
        let (mut challenged, _) = challenged(FIRST);
        challenged.entry.standing = Standing::Unknown;

        let rejected = challenged.verify(format!("{UNSIGNED}{PROOF}").as_bytes()).unwrap_err();

        assert_eq!(rejected.cause, Cause::UnknownUser);
    }

    #[test]
    fn commas_and_equals_signs_in_names_are_spelled() {
        let (challenged, _) = challenged("y,a=a=2C=3Db,n=a=2C=3Db,r=x,z=ignored");
        let answer = answer(&challenged, "pencil");

        let (user, _) = challenged.verify(answer.as_bytes()).unwrap();

        assert_eq!(user.as_str(), "a,=b");
    }

    #[test]
    fn a_name_is_prepared_before_it_is_compared() {
        let (challenged, _) = challenged("n,,n=I\u{AD}X,r=x");
        let answer = answer(&challenged, "IX");

        let (user, _) = challenged.verify(answer.as_bytes()).unwrap();

        assert_eq!(user.as_str(), "IX");
    }

    #[test]
    fn what_this_server_does_not_have_is_refused() {
        assert_eq!(cause("p=tls-unique,,n=user,r=x"), Some(Cause::ChannelBinding));
        assert_eq!(cause("n,,m=must,n=user,r=x"), Some(Cause::Extension));
        assert_eq!(cause("n,a=admin,n=user,r=x"), Some(Cause::AuthorizationIdentity));
        assert_eq!(cause("n,a=user,n=user,r=x"), None);
    }

    #[test]
    fn a_first_message_that_is_none_is_refused() {
        let longest = "u".repeat(256);
        let (names, nonces) = (format!("{longest}u"), format!("{longest}r"));
        let extensions = format!("n,,n=user,r=x,z={}", "z".repeat(2048));
        let long = [format!("n,,n={names},r=x"), format!("n,,n=user,r={nonces}"), extensions];
        let wrong = [
            "",
            "n",
            "n,",
            "n,,",
            ",,n=user,r=x",
            "x,,n=user,r=x",
            "n,user,n=user,r=x",
            "n,a=,n=user,r=x",
            "n,a=a=2,n=user,r=x",
            "n,,user,r=x",
            "n,,n=,r=x",
            "n,,n=user",
            "n,,n=user,",
            "n,,n=user,r=",
            "n,,n=user,x=x",
            "n,,r=x,n=user",
            "n,,n=us=er,r=x",
            "n,,n=us=2cer,r=x",
            "n,,n=user=,r=x",
            "n,,n=user,r=a b",
            "n,,n=user,r=\u{e4}",
            "n,,n=user,r=x,",
            "n,,n=user,r=x,zz",
            "n,,n=user,r=x,zz=1",
            "n,,n=user,r=x,1=1",
            "n,,n=user,r=x,z=",
            "n,,n=user,r=x,m=1",
            "n,,n=us\0er,r=x",
            "n,,n=\u{AD},r=x",
            "n,,n=\u{7},r=x",
            "n,,n=\u{FFF9},r=x",
        ];
        for message in wrong.into_iter().chain(long.iter().map(String::as_str)) {
            assert_eq!(cause(message), Some(Cause::Malformed), "{message}");
        }
        assert_eq!(cause([b'n', b',', b',', 0xFF]), Some(Cause::Malformed));
        assert_eq!(cause(format!("n,,n={longest},r={longest}")), None);
    }

    #[test]
    fn a_final_message_that_is_none_is_refused() {
        let unsigned = UNSIGNED.split(',').collect::<Vec<_>>();
        let (binding, nonce) = (unsigned[0], unsigned[1]);
        let wrong = [
            String::new(),
            UNSIGNED.to_owned(),
            format!("{UNSIGNED},p="),
            format!("{UNSIGNED},p=AAAA"),
            format!("{UNSIGNED},p=!"),
            format!("{UNSIGNED}{PROOF}="),
            format!("{UNSIGNED}{PROOF},z=1"),
            format!("{nonce},{binding}{PROOF}"),
            format!("{nonce}{PROOF}"),
            format!("{binding}{PROOF}"),
            format!("{UNSIGNED},z{PROOF}"),
            format!("{UNSIGNED},z={}{PROOF}", "z".repeat(2048)),
        ];
        for message in wrong {
            assert_eq!(final_cause(&message), Cause::Malformed, "{message}");
        }
    }

    #[test]
    fn a_final_message_has_to_belong_to_the_first() {
        let other_binding = UNSIGNED.replace("biws", "eSws");
        let other_nonce = UNSIGNED.replace("k0", "k1");
        let client_nonce = UNSIGNED.replace(SERVER_NONCE, "");

        for unsigned in [other_binding, other_nonce, client_nonce] {
            assert_eq!(final_cause(format!("{unsigned}{PROOF}")), Cause::Mismatch, "{unsigned}");
        }
    }

    #[test]
    fn nonces_are_printable_and_never_the_same() {
        let (one, other) = (nonce().unwrap(), nonce().unwrap());

        assert_ne!(one, other);
        assert_eq!(one.len(), 24);
        assert!(one.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let (challenged, _) = challenged(FIRST);

        assert_eq!(format!("{challenged:?}"), "Challenged { username: \"user\", .. }");
        assert!(!format!("{:?}", table()).contains("stored_key"));
    }
}
