//! From a socket to a Session: CONNECT, authentication, a claim, CONNACK.

use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use super::accept::ListenerFacts;
use super::authentication::{Admitted, authenticate};
use super::input::{Appetite, Read, packets};
use super::limiter::{Admission, Place};
use super::stream::Stream;
use super::turn::Dialogue;
use super::worker::{Worker, now};
use crate::auth::Rejected;
use crate::change::{Epoch, SessionExpiry};
use crate::packet::{ClientId, Connect, DecodeError, Frame, Framing, frame};
use crate::router::{Attach, Attached, Flags, Memory, Unattached};
use crate::session::{self, Accepted, Proof, ProtocolError};

/// The largest Will Message of a new client while memory is scarce, as it is accounted.
const SCARCE_WILL_BYTES: usize = 4 * 1024;

/// The memory of a packet that has come whole, which is in the input no more.
pub(super) fn polled_bytes(polled: &Poll<Result<Vec<u8>, Unread>>) -> usize {
    match polled {
        Poll::Ready(Ok(packet)) => packet.len(),
        Poll::Ready(Err(_)) | Poll::Pending => 0,
    }
}

/// A connection whose first packet has not come yet. What follows that packet is mostly over within
/// one poll and gets its memory then: begun earlier, or larger than what the allocator keeps at hand
/// (1 KiB), it would leave holes between the memory of connections that stay.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) stream: Stream,
    pub(super) facts: Arc<ListenerFacts>,
    /// When the handshake has to be over.
    pub(super) deadline: Instant,
    pub(super) admission: Admission,
    pub(super) place: Place,
}

/// How a handshake ends without a Session.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client is told, as far as it understands.
    Refused {
        error: ProtocolError,
        answer: Vec<u8>,
        client_id: String,
    },
    /// The client is refused because it did not prove to be who it says.
    Unproven {
        rejected: Rejected,
        answer: Vec<u8>,
        client_id: String,
    },
    /// Closed or broken before the handshake was over: a probe, or a client that changed its mind.
    Closed,
    Shutdown,
}

/// Why a packet did not come.
#[derive(Debug)]
pub(super) enum Unread {
    /// What came is no packet; were it to be the first, this is the answer.
    NoPacket {
        error: DecodeError,
        answer: Vec<u8>,
    },
    TooLate,
    Closed,
    Shutdown,
}

impl Newcomer {
    /// Waits for the first packet.
    pub(super) fn poll_first(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Vec<u8>, Unread>> {
        let worker = Rc::clone(self.stream.worker());
        let polled = poll_packet(context, &worker, &mut self.stream, self.deadline);
        self.stream.account(polled_bytes(&polled));
        polled
    }

    /// Goes through the handshake, of which its first packet should be the CONNECT.
    pub(super) async fn handshake(&mut self, bytes: Vec<u8>) -> Result<Dialogue, Failure> {
        let Self { stream, facts, deadline, admission, .. } = self;
        let worker = &Rc::clone(stream.worker());
        let max = worker.shared.connect_bytes_max;
        let connect = match frame(&bytes, max).and_then(|framing| match framing {
            Framing::Complete(frame) => frame.decode_connect(),
            Framing::Incomplete { .. } => Err(DecodeError::TooLarge { length: bytes.len(), max }),
        }) {
            Ok(connect) => connect,
            Err(error) => return Err(refuse_unread(&bytes, error)),
        };
        {
            let courier = worker.courier.borrow();
            courier.counters().packets_received.add(1);
            courier.counters().connects_received.add(1);
        }
        let refuse = |error| refuse(&connect, error);
        facts.features.check_version(connect.version, &facts.name).map_err(refuse)?;
        if *admission == Admission::Refused {
            return Err(refuse(ProtocolError::TooManyConnections));
        }
        let held = bytes.len();
        let mut admitted = authenticate(stream, facts, &connect, held, *deadline).await?;
        let accepted = accept(worker, facts, &connect, admitted.proof.take()).map_err(refuse)?;
        let claim = worker.shared.cluster.claim(&accepted.client_id).await;
        let epoch = claim.map_err(|_| refuse(ProtocolError::Unclaimed))?;
        attach(worker, stream, accepted, epoch, admitted).map_err(refuse)
    }
}

fn accept(
    worker: &Worker,
    facts: &ListenerFacts,
    connect: &Connect<'_>,
    proof: Option<Proof>,
) -> Result<Accepted, ProtocolError> {
    let limits = &worker.shared.router.limits().session;
    let now = Instant::now();
    let mut accepted = session::accept(connect, limits, &facts.features, assigned_client_id, now)?;
    accepted.prove(proof, limits)?;
    check_room(worker, &accepted)?;
    Ok(accepted)
}

/// While memory is scarce or the store full, who has a Session is let in: it drains what waits for it,
/// or ends it, and refused with its Will it never would. Of all others a large Will is not taken, and
/// in the end no Session that would stay without its client.
fn check_room(worker: &Worker, accepted: &Accepted) -> Result<(), ProtocolError> {
    let max = SCARCE_WILL_BYTES;
    let has_large_will = accepted.will.as_ref().is_some_and(|will| will.message.bytes() > max);
    let stays = accepted.expiry != SessionExpiry::AtDisconnect;
    if !has_large_will && !stays {
        return Ok(());
    }
    let router = &worker.shared.router;
    let mut courier = worker.courier.borrow_mut();
    courier.begin_turn(now());
    worker.look_at_memory(&mut courier);
    let is_full = courier.is_memory_exhausted() || router.journal().is_full();
    let refusal = if stays && is_full {
        ProtocolError::NoNewSession
    } else if has_large_will && courier.memory() != Memory::Enough {
        ProtocolError::WillTooLarge { max }
    } else {
        return Ok(());
    };
    if router.has_session(&accepted.client_id) { Ok(()) } else { Err(refusal) }
}

fn attach(
    worker: &Worker,
    stream: &Stream,
    accepted: Accepted,
    epoch: Epoch,
    admitted: Admitted,
) -> Result<Dialogue, ProtocolError> {
    let Accepted { client_id, clean_start, expiry, terms, will, connection, server_side } =
        accepted;
    let Admitted { identity, authentication, .. } = admitted;
    let router = &worker.shared.router;
    let limits = &router.limits().session;
    let wire = stream.wire();
    let signal = stream.signal();
    let attach =
        Attach { client_id, identity, epoch, clean_start, expiry, terms, will, wire, signal };
    let mut courier = worker.courier.borrow_mut();
    courier.begin_turn(now());
    let attached = router.attach(&mut courier, attach, |session_present, out| {
        session::accepted(terms.version, session_present, &server_side, limits, out);
    });
    let attached = attached.map_err(|unattached| match unattached {
        Unattached::OtherIdentity => ProtocolError::OtherIdentity,
        Unattached::StoreFailing => {
            courier.counters().store_refusals.add(1);
            ProtocolError::StoreUnavailable
        }
    })?;
    courier.counters().connects_accepted.add(1);
    courier.counters().answers_sent.add(1);
    tracing::debug!(
        client_id = attached.attachment.client_id().as_str(),
        peer = %stream.peer(),
        version = %terms.version,
        session_present = attached.session_present,
        took_over = attached.took_over,
        "connected"
    );
    let Attached { attachment, replaying, .. } = attached;
    let replaying = replaying && connection.replays();
    Ok(Dialogue { attachment, connection, replaying, filled_in: None, authentication })
}

/// Waits for a whole packet and gives it on its own; what follows it stays in the input.
pub(super) fn poll_packet(
    context: &mut Context<'_>,
    worker: &Rc<Worker>,
    stream: &mut Stream,
    deadline: Instant,
) -> Poll<Result<Vec<u8>, Unread>> {
    stream.register(context);
    let flags = stream.flags();
    if flags.has(Flags::SHUTDOWN) {
        return Poll::Ready(Err(Unread::Shutdown));
    }
    if Instant::now() >= deadline {
        return Poll::Ready(Err(Unread::TooLate));
    }
    stream.arm(deadline);
    let max = worker.shared.connect_bytes_max;
    let mut shared = worker.read_buffer.borrow_mut();
    let mut courier = worker.courier.borrow_mut();
    loop {
        let mut first = None;
        let take_first = |frame: Frame<'_>, bytes: &[u8]| {
            first = bytes.get(..frame.length).map(<[u8]>::to_vec);
            Ok::<_, DecodeError>((frame.length, Appetite::Enough))
        };
        let own;
        let bytes = if stream.input().has_fresh() {
            // What came together with the packet before.
            own = stream.input().take();
            &own
        } else {
            match stream.poll_read(context, &mut shared) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_) | Ok(Read::End)) => return Poll::Ready(Err(Unread::Closed)),
                Poll::Ready(Ok(Read::Shared { read, filled })) => {
                    courier.counters().bytes_received.add(read as u64);
                    shared.get(..filled).unwrap_or_default()
                }
                Poll::Ready(Ok(Read::Own { read })) => {
                    courier.counters().bytes_received.add(read as u64);
                    own = stream.input().take();
                    &own
                }
            }
        };
        match packets(bytes, max, take_first) {
            Err(error) => {
                let mut answer = Vec::new();
                session::refused_unread(bytes, error, &mut answer);
                return Poll::Ready(Err(Unread::NoPacket { error, answer }));
            }
            Ok(left) => {
                stream.input().keep(bytes, left, &mut courier);
                if let Some(first) = first {
                    return Poll::Ready(Ok(first));
                }
            }
        }
    }
}

impl Unread {
    /// For the first packet, of which nothing is known.
    pub(super) fn failure_unread(self) -> Failure {
        match self {
            Self::NoPacket { error, answer } => refuse_stranger(error.into(), answer),
            Self::TooLate => refuse_stranger(ProtocolError::ConnectTimeout, Vec::new()),
            Self::Closed => Failure::Closed,
            Self::Shutdown => Failure::Shutdown,
        }
    }

    /// For a packet that follows this CONNECT.
    pub(super) fn failure(self, connect: &Connect<'_>) -> Failure {
        match self {
            Self::NoPacket { error, .. } => refuse(connect, error.into()),
            Self::TooLate => refuse(connect, ProtocolError::AuthenticationTimeout),
            Self::Closed => Failure::Closed,
            Self::Shutdown => Failure::Shutdown,
        }
    }
}

impl Failure {
    /// Whatever was wrong, the client is told the same.
    pub(super) fn unproven(connect: &Connect<'_>, rejected: Rejected) -> Self {
        let answer = refusal(connect, &ProtocolError::AuthenticationFailed);
        Self::Unproven { rejected, answer, client_id: shown(connect.client_id) }
    }
}

/// As much of a Client Identifier as a line of the log has of a client that nobody knows.
fn shown(client_id: &str) -> String {
    const CHARS_MAX: usize = 128;
    client_id.chars().take(CHARS_MAX).collect()
}

/// Refuses a CONNECT that was understood.
pub(super) fn refuse(connect: &Connect<'_>, error: ProtocolError) -> Failure {
    let answer = refusal(connect, &error);
    Failure::Refused { error, answer, client_id: shown(connect.client_id) }
}

fn refusal(connect: &Connect<'_>, error: &ProtocolError) -> Vec<u8> {
    let mut answer = Vec::new();
    let maximum = session::maximum_packet_size(connect);
    session::refused(connect.version, maximum, error, &mut answer);
    answer
}

/// Refuses a CONNECT that was not.
fn refuse_unread(bytes: &[u8], error: DecodeError) -> Failure {
    let mut answer = Vec::new();
    session::refused_unread(bytes, error, &mut answer);
    refuse_stranger(error.into(), answer)
}

fn refuse_stranger(error: ProtocolError, answer: Vec<u8>) -> Failure {
    Failure::Refused { error, answer, client_id: String::new() }
}

/// A Client Identifier nobody can guess: whoever knows it can take its Session over.
fn assigned_client_id() -> ClientId {
    static KEYS: std::sync::OnceLock<[RandomState; 2]> = std::sync::OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [one, two] = KEYS.get_or_init(|| [RandomState::new(), RandomState::new()]);
    let text = format!("dunlin-{:016x}{:016x}", one.hash_one(number), two.hash_one(number));
    match ClientId::new(&text) {
        Some(client_id) => client_id,
        None => assigned_client_id(),
    }
}
