//! Enhanced authentication (5.0 s4.12): AUTH packets until CONNACK, and again on a live connection.
//!
//! ```text
//! CONNECT(method) ---> AUTH 0x18 <--> AUTH 0x18 ... ---> CONNACK(method)
//! AUTH 0x19 ---------> AUTH 0x18 <--> AUTH 0x18 ... ---> AUTH 0x00        others go on in between
//! ```
//! The method is that of the CONNECT in each of them [MQTT-4.12.0-5].

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use super::accept::ListenerFacts;
use super::handshake::{Failure, Unread, poll_packet, polled_bytes, refuse};
use super::stream::Stream;
use super::turn::End;
use crate::auth::{Authenticator, Cause, Credentials, Decision, Exchange, Method, Rejected, Step};
use crate::packet::{
    Auth, AuthenticationData, Connect, Framing, Identity, Packet, ProtocolVersion, ReasonCode,
    UserName, frame,
};
use crate::router::{Flags, Leaving};
use crate::session::{self, Proof, ProtocolError};

/// As much of an unknown method as its client and the log are told.
const METHOD_CHARS_SHOWN: usize = 64;

/// A client that may have a Session.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) identity: Identity,
    /// Goes into the CONNACK.
    pub(super) proof: Option<Proof>,
    /// Only a client whose CONNECT named a method may send AUTH [MQTT-4.12.0-7].
    pub(super) authentication: Option<Box<Authentication>>,
}

/// What a client proved in its CONNECT and may prove again.
#[derive(Debug)]
pub struct Authentication {
    method: Method,
    user: UserName,
    /// A re-authentication that has begun: one at most.
    again: Option<Exchange>,
}

/// Finds out who a client is, by as many packets as its method takes. Its CONNECT stays in memory
/// so long, with `connect_bytes`.
pub(super) async fn authenticate(
    stream: &mut Stream,
    facts: &ListenerFacts,
    connect: &Connect<'_>,
    connect_bytes: usize,
    deadline: Instant,
) -> Result<Admitted, Failure> {
    let refuse = |error| refuse(connect, error);
    let Some(name) = connect.properties.authentication_method else {
        let credentials = Credentials { username: connect.username, password: connect.password };
        return match facts.authenticator.decide(&credentials).await {
            Decision::Admitted(identity) => {
                Ok(Admitted { identity, proof: None, authentication: None })
            }
            Decision::AnonymousRefused => {
                let listener = facts.name.clone();
                // To let everybody in is no advice for who has passwords.
                Err(refuse(if connect.password.is_some() {
                    ProtocolError::PlainPassword { listener }
                } else {
                    ProtocolError::Anonymous { listener }
                }))
            }
        };
    };
    // Most clients name none, and those pay nothing for it.
    Box::pin(exchange(stream, facts, connect, name, connect_bytes, deadline)).await
}

async fn exchange(
    stream: &mut Stream,
    facts: &ListenerFacts,
    connect: &Connect<'_>,
    name: &str,
    connect_bytes: usize,
    deadline: Instant,
) -> Result<Admitted, Failure> {
    let worker = &Rc::clone(stream.worker());
    let refuse = |error| refuse(connect, error);
    // [MQTT-4.12.0-1]
    let method = facts.authenticator.method(name);
    let shown = || name.chars().take(METHOD_CHARS_SHOWN).collect();
    let unknown = || ProtocolError::AuthenticationMethod { method: shown() };
    let method = method.ok_or_else(|| refuse(unknown()))?;
    let maximum = session::maximum_packet_size(connect);
    let mut exchange = Exchange::new(method);
    let mut data = connect.properties.authentication_data.map(|data| data.0.to_vec());
    loop {
        let step = facts.authenticator.step(&mut exchange, data.as_deref());
        let step = step.map_err(|rejected| Failure::unproven(connect, rejected))?;
        let challenge = match step {
            Step::Proven { user, data } => return Ok(Admitted::by(method, user, data)),
            Step::Challenge(challenge) => challenge,
        };
        let mut packet = Vec::new();
        // [MQTT-4.12.0-2]
        let reason = ReasonCode::ContinueAuthentication;
        put(reason, method, challenge.as_deref(), maximum, &mut packet).map_err(refuse)?;
        send(stream, packet, deadline).await.map_err(|unread| unread.failure(connect))?;
        let answer = poll_fn(|context| {
            let polled = poll_packet(context, worker, stream, deadline);
            stream.account(connect_bytes + polled_bytes(&polled));
            polled
        });
        let answer = answer.await;
        let answer = answer.map_err(|unread| unread.failure(connect))?;
        let max = worker.shared.connect_bytes_max;
        data = match answered(&answer, max, method).map_err(refuse)? {
            Answer::Auth(data) => data,
            Answer::Disconnect => return Err(Failure::Closed),
        };
    }
}

/// What a client may send between its CONNECT and the CONNACK.
enum Answer {
    Auth(Option<Vec<u8>>),
    Disconnect,
}

/// Reads the answer to a challenge: AUTH with 0x18 [MQTT-4.12.0-3] and the same method
/// [MQTT-4.12.0-5], or DISCONNECT [MQTT-3.1.2-30].
fn answered(packet: &[u8], max: usize, method: Method) -> Result<Answer, ProtocolError> {
    let Framing::Complete(frame) = frame(packet, max)? else {
        return Err(ProtocolError::BeforeConnAck);
    };
    match frame.decode(ProtocolVersion::V5)? {
        Packet::Auth(auth) => {
            check_method(&auth, method)?;
            if auth.reason != ReasonCode::ContinueAuthentication {
                return Err(ProtocolError::AuthOutOfTurn { reason: auth.reason });
            }
            Ok(Answer::Auth(auth.authentication_data.map(|data| data.0.to_vec())))
        }
        Packet::Disconnect(_) => Ok(Answer::Disconnect),
        Packet::Connect(_) => Err(ProtocolError::SecondConnect), // [MQTT-3.1.0-2]
        Packet::ConnAck(_)
        | Packet::Publish(_)
        | Packet::PubAck(_)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_)
        | Packet::Subscribe(_)
        | Packet::SubAck(_)
        | Packet::Unsubscribe(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq
        | Packet::PingResp => Err(ProtocolError::BeforeConnAck),
    }
}

/// Writes a packet to a connection that has no Session yet.
async fn send(stream: &mut Stream, packet: Vec<u8>, deadline: Instant) -> Result<(), Unread> {
    let mut writing = Leaving::new_connection(packet, stream.wire());
    poll_fn(|context| {
        stream.register(context);
        if stream.flags().has(Flags::SHUTDOWN) {
            return Poll::Ready(Err(Unread::Shutdown));
        }
        if let Poll::Ready(written) = writing.poll_write(context) {
            return Poll::Ready(written.map_err(|_| Unread::Closed));
        }
        if Instant::now() >= deadline {
            return Poll::Ready(Err(Unread::TooLate));
        }
        stream.arm(deadline);
        Poll::Pending
    })
    .await
}

/// Appends an AUTH, unless the client takes no packet of that size [MQTT-3.1.2-24].
fn put(
    reason: ReasonCode,
    method: Method,
    data: Option<&[u8]>,
    maximum: usize,
    out: &mut Vec<u8>,
) -> Result<(), ProtocolError> {
    let auth = Auth {
        authentication_method: Some(method.name()),
        authentication_data: data.map(AuthenticationData),
        ..Auth::new(reason)
    };
    if auth.encoded_len(ProtocolVersion::V5) > maximum {
        return Err(ProtocolError::AuthTooLarge);
    }
    auth.encode(ProtocolVersion::V5, out);
    Ok(())
}

fn check_method(auth: &Auth<'_>, method: Method) -> Result<(), ProtocolError> {
    if auth.authentication_method == Some(method.name()) {
        Ok(())
    } else {
        Err(ProtocolError::OtherMethod)
    }
}

impl Admitted {
    fn by(method: Method, user: UserName, data: Vec<u8>) -> Self {
        let authentication = Authentication { method, user: user.clone(), again: None };
        Self {
            identity: Identity::User(user),
            proof: Some(Proof { method: method.name(), data }),
            authentication: Some(Box::new(authentication)),
        }
    }
}

impl Authentication {
    /// Takes an AUTH on a live connection and appends the answer.
    ///
    /// # Errors
    /// Ends the connection; one that fails to prove itself again as well [MQTT-4.12.1-2].
    pub(super) fn again(
        &mut self,
        authenticator: &Authenticator,
        auth: &Auth<'_>,
        maximum: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), End> {
        check_method(auth, self.method)?; // [MQTT-4.12.1-1]
        let mut exchange = match (auth.reason, self.again.take()) {
            (ReasonCode::ReAuthenticate, None) => Exchange::new(self.method),
            (ReasonCode::ContinueAuthentication, Some(exchange)) => exchange,
            (reason, _) => return Err(ProtocolError::AuthOutOfTurn { reason }.into()),
        };
        let data = auth.authentication_data.map(|data| data.0);
        let (reason, data) = match authenticator.step(&mut exchange, data)? {
            Step::Challenge(challenge) => {
                self.again = Some(exchange);
                (ReasonCode::ContinueAuthentication, challenge)
            }
            Step::Proven { user, data } if user == self.user => (ReasonCode::Success, Some(data)),
            Step::Proven { user, .. } => {
                let username = Some(user.as_str().to_owned());
                return Err(Rejected { username, cause: Cause::OtherUser }.into());
            }
        };
        Ok(put(reason, self.method, data.as_deref(), maximum, out)?)
    }
}
