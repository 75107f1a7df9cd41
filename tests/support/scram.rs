//! The client's half of SCRAM-SHA-256, written from RFC 5802 and not from the broker's half.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

pub(crate) const METHOD: &str = "SCRAM-SHA-256";

/// A user of the configuration below, or nobody.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
}

pub(crate) const USER: User = User { name: "user", password: "pencil" };
pub(crate) const OTHER: User = User { name: "other", password: "another pencil" };

/// A listener with both users, the first by the keys of RFC 7677's example.
pub(crate) const LISTENER: &str = r#"
[[listener]]
name = "guarded"
address = "127.0.0.1:0"

[[listener.credential]]
username = "user"
scram_sha_256 = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

[[listener.credential]]
username = "other"
password = "another pencil"
"#;

/// An exchange from the client's side.
#[derive(Debug)]
pub(crate) struct Scram {
    user: User,
    nonce: &'static str,
    signature: Option<Vec<u8>>,
}

impl Scram {
    pub(crate) fn new(user: User) -> Self {
        Self { user, nonce: "fyko+d2lbbFgONRv9qkxdawL", signature: None }
    }

    fn bare(&self) -> String {
        format!("n={},r={}", self.user.name, self.nonce)
    }

    pub(crate) fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.bare()).into_bytes()
    }

    /// The client-final-message for this server-first-message.
    pub(crate) fn last(&mut self, challenge: &[u8]) -> Vec<u8> {
        let challenge = std::str::from_utf8(challenge).expect("a challenge of text");
        let parts: Vec<&str> = challenge.split(',').collect();
        let [nonce, salt, iterations] = parts[..] else { panic!("three parts: {challenge}") };
        let nonce = nonce.strip_prefix("r=").expect("a nonce");
        assert!(nonce.starts_with(self.nonce) && nonce.len() >= self.nonce.len() + 16, "{nonce}");
        let salt = STANDARD.decode(salt.strip_prefix("s=").expect("a salt")).expect("Base64");
        let iterations = iterations.strip_prefix("i=").expect("iterations").parse();

        let mut salted = [0; 32];
        let password = self.user.password.as_bytes();
        pbkdf2::pbkdf2_hmac::<Sha256>(password, &salt, iterations.expect("a number"), &mut salted);
        let client_key = hmac(&salted, "Client Key");
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{challenge},{without_proof}", self.bare());
        let signature = hmac(&Sha256::digest(&client_key), &signed);
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        self.signature = Some(hmac(&hmac(&salted, "Server Key"), &signed));
        format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes()
    }

    /// Whether the server knows the password too.
    pub(crate) fn assert_server(&self, data: &[u8]) {
        let signature = self.signature.as_ref().expect("a proof was sent before");
        assert_eq!(data, format!("v={}", STANDARD.encode(signature)).as_bytes());
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
