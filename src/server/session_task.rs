//! One connection from its first byte to its last.
//!
//! ```text
//! handshake --CONNACK--> turns --End--> leave --> write the rest --> linger
//! ```
//! A turn is one poll of the task: it reads once or a few times, routes, answers, and never awaits.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::accept::ListenerFacts;
use super::goodbye::{GOODBYE, linger, log_unproven, refuse, write_rest};
use super::handshake::{Newcomer, Unread};
use super::input::{Appetite, Left, READ_BYTES, Read, packets};
use super::limiter::Place;
use super::pause::{Awaited, Pause, PauseReason, Progress};
use super::stream::Stream;
use super::timers::TICK;
use super::turn::{Answers, Dialogue, End, Turn};
use super::worker::{Arrival, Worker, come_again, now};
use crate::change::CommitNumber;
use crate::packet::{Frame, Packet, QoS};
use crate::router::{Courier, Flags, Leave, Memory, Step};
use crate::session::ProtocolError;

/// A turn ends after as many deliveries, or bytes appended to outbound buffers, or bytes read.
pub(super) const TURN_DELIVERIES: usize = 4_096;
const TURN_APPENDED: usize = 1024 * 1024;
const TURN_READ: usize = READ_BYTES;

/// What one `recv` may bring while memory is scarce: it is what a client that has to wait holds.
const SCARCE_READ_BYTES: usize = 16 * 1024;

/// A packet of which more than this has come waits for the rest while memory is scarce.
const LARGE_PACKET_BYTES: usize = 64 * 1024;

/// The task of one connection, from its first byte to its last.
///
/// By hand, since an `async fn` keeps room for each value that one of its steps hands to the next
/// beside that of the others: it took three times what a connected client needs.
pub(super) struct Serving(Stage);

enum Stage {
    Silent(Newcomer),
    Handshake(Pin<Box<dyn Future<Output = Option<Client>>>>),
    Turns(Client),
    Farewell(Pin<Box<dyn Future<Output = ()>>>),
    Over,
}

/// A connected client.
struct Client {
    facts: Arc<ListenerFacts>,
    stream: Stream,
    /// Boxed, since the task is aligned to 128 bytes and would have to be that much larger.
    dialogue: Box<Dialogue>,
    /// Since when output waits for the client to read.
    blocked: Option<Instant>,
    /// Nothing is read until the client has read its answers.
    paused: bool,
    /// Nothing is read until something else has come.
    pause: Option<Box<Pause>>,
    /// The operator knows that this client was paused.
    pause_is_told: bool,
    /// Its Keep Alive had run out at the last look.
    overdue: bool,
    place: Place,
}

/// Serves one connection to its end. `None` if it cannot be watched.
pub(super) fn serve(worker: &Rc<Worker>, arrival: Arrival) -> Option<Serving> {
    let Arrival { incoming, facts, admission, place } = arrival;
    worker.courier.borrow().counters().connections_opened.add(1);
    let peer = incoming.peer();
    let deadline = Instant::now() + worker.shared.connect_timeout;
    let enlisted = worker.enlist();
    match incoming.open() {
        Ok(reader) => {
            let stream = Stream::new(reader, enlisted, peer);
            let newcomer = Newcomer { stream, facts, deadline, admission, place };
            Some(Serving(Stage::Silent(newcomer)))
        }
        Err(error) => {
            tracing::warn!(%peer, %error, "cannot watch a new connection");
            None
        }
    }
}

impl Future for Serving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.0 {
                Stage::Silent(newcomer) => {
                    let first = ready!(newcomer.poll_first(context));
                    if let Stage::Silent(newcomer) = self.leave() {
                        self.0 = Stage::Handshake(shake(newcomer, first));
                    }
                }
                Stage::Handshake(handshake) => {
                    let client = ready!(handshake.as_mut().poll(context));
                    self.0 = client.map_or(Stage::Over, Stage::Turns);
                }
                Stage::Turns(client) => {
                    let end = ready!(client.poll(context));
                    if let Stage::Turns(client) = self.leave() {
                        self.0 = Stage::Farewell(client.finish(&end));
                    }
                }
                Stage::Farewell(farewell) => {
                    ready!(farewell.as_mut().poll(context));
                    self.0 = Stage::Over;
                }
                Stage::Over => return Poll::Ready(()),
            }
        }
    }
}

impl Serving {
    /// Takes the stage out, for the next one to be made of it.
    fn leave(&mut self) -> Stage {
        std::mem::replace(&mut self.0, Stage::Over)
    }
}

/// Takes a connection through its handshake. `None`: there is no Session for it, and it is closed.
fn shake(
    mut newcomer: Newcomer,
    first: Result<Vec<u8>, Unread>,
) -> Pin<Box<dyn Future<Output = Option<Client>>>> {
    Box::pin(async move {
        let shaken = match first {
            Ok(bytes) => newcomer.handshake(bytes).await,
            Err(unread) => Err(unread.failure_unread()),
        };
        let Newcomer { stream, facts, place, .. } = newcomer;
        match shaken {
            Ok(dialogue) => Some(Client {
                facts,
                stream,
                dialogue: Box::new(dialogue),
                blocked: None,
                paused: false,
                pause: None,
                pause_is_told: false,
                overdue: false,
                place,
            }),
            Err(failure) => {
                Box::pin(refuse(stream, facts, failure)).await;
                drop(place);
                None
            }
        }
    })
}

impl Client {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        // A panic is a bug of ours; it costs this client its connection and nobody else anything.
        match catch_unwind(AssertUnwindSafe(|| self.poll_turn(context))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(ProtocolError::Bug.into()),
        }
    }

    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.stream.register(context);
        let worker = Rc::clone(self.stream.worker());
        let mut courier = worker.courier.borrow_mut();
        courier.begin_turn(now());
        worker.look_at_memory(&mut courier);
        if let Some(end) = self.heed(&worker, context, &mut courier) {
            return Poll::Ready(end);
        }
        if !self.is_paused() {
            let read = self.read(&worker, context, &mut courier);
            self.stream.account(self.dialogue.connection.memory_bytes());
            if let Err(end) = read {
                return Poll::Ready(end);
            }
        }
        // After the read: what came in time counts, even if this task comes late to it.
        if let Some(end) = self.check_deadlines(&worker, courier.now().monotonic) {
            return Poll::Ready(end);
        }
        if self.dialogue.replaying {
            self.replay(&worker, context, &mut courier);
        }
        Poll::Pending
    }

    /// Does what others woke the task for.
    fn heed(
        &mut self,
        worker: &Worker,
        context: &mut Context<'_>,
        courier: &mut Courier,
    ) -> Option<End> {
        let flags = self.stream.flags();
        let router = &worker.shared.router;
        if flags.has(Flags::SUPERSEDED) {
            return Some(End::Superseded);
        }
        if flags.has(Flags::BROKEN) {
            return Some(End::Closed);
        }
        if flags.has(Flags::SHUTDOWN) {
            return Some(End::Shutdown);
        }
        if flags.has(Flags::KEPT)
            && let Err(error) = router.release_kept(courier, &self.dialogue.attachment)
        {
            courier.counters().store_refusals.add(1);
            return Some(error.into());
        }
        if flags.has(Flags::FETCHED) {
            router.load_fetched(courier, &self.dialogue.attachment);
        }
        if flags.has(Flags::DRAINED) && self.paused {
            self.paused = false;
            // What the client sent meanwhile was not heard; its Keep Alive stood still.
            self.dialogue.connection.keep_alive.heard(courier.now().monotonic);
        }
        let is_over =
            |pause: &Pause| pause.is_over(courier.memory(), Progress::of(router.journal()));
        if self.pause.as_deref().is_some_and(is_over) {
            self.pause = None;
            self.dialogue.connection.keep_alive.heard(courier.now().monotonic);
        }
        if flags.has(Flags::BLOCKED) {
            self.blocked = Some(courier.now().monotonic);
        }
        if self.blocked.is_some() {
            match self.stream.wire().poll_writable(context) {
                Poll::Pending => {}
                Poll::Ready(Err(_)) => return Some(End::Closed),
                Poll::Ready(Ok(())) => {
                    self.blocked = None;
                    router.flush_unblocked(courier, &self.dialogue.attachment);
                }
            }
        }
        None
    }

    /// Ends the connection if a deadline has passed, else asks to be woken at the next one.
    fn check_deadlines(&mut self, worker: &Worker, now: Instant) -> Option<End> {
        let stalled = self.blocked.map(|since| since + worker.shared.stall_timeout);
        if stalled.is_some_and(|deadline| deadline <= now) {
            return Some(ProtocolError::Stalled.into());
        }
        let mut look = None;
        if let Some(pause) = self.pause.as_deref_mut() {
            let shared = &worker.shared;
            let (owes, error) = match pause.awaited {
                Awaited::Memory(_) => {
                    let attachment = &self.dialogue.attachment;
                    (shared.router.awaits_acknowledgement(attachment), ProtocolError::MemoryFull)
                }
                Awaited::Kept(_) => (false, ProtocolError::StoreBehind),
            };
            let ends = pause.deadline(owes, shared.stall_timeout, now);
            if ends <= now {
                return Some(error.into());
            }
            look = Some(match pause.awaited {
                // At each tick it looks whether there is memory again.
                Awaited::Memory(_) => ends.min(now + TICK),
                Awaited::Kept(_) => ends,
            });
        }
        // Keep Alive stands still while nothing is read.
        let silent =
            if self.is_paused() { None } else { self.dialogue.connection.keep_alive.deadline() };
        let overdue =
            silent.is_some_and(|deadline| deadline <= now) && !self.stream.input().has_fresh();
        // Twice, a tick apart: after the process was stopped for a while its timers come before
        // what its clients sent meanwhile.
        if overdue && self.overdue {
            return Some(ProtocolError::KeepAlive.into());
        }
        self.overdue = overdue;
        if let Some(next) = stalled.into_iter().chain(look).chain(silent).min() {
            self.stream.arm(next);
        }
        None
    }

    /// Reads and handles packets until nothing is left or the turn is over.
    fn read(
        &mut self,
        worker: &Worker,
        context: &mut Context<'_>,
        courier: &mut Courier,
    ) -> Result<(), End> {
        let mut shared = worker.read_buffer.borrow_mut();
        let scarce = courier.memory() != Memory::Enough;
        let most = if scarce { SCARCE_READ_BYTES } else { shared.len() };
        let shared = shared.get_mut(..most).unwrap_or_default();
        let mut total = 0;
        loop {
            let appetite = if self.stream.input().has_fresh() {
                let bytes = self.stream.input().take();
                let left = self.packets(worker, &bytes, courier)?;
                self.stream.input().keep_own(bytes, left, courier);
                left.appetite
            } else {
                match self.stream.poll_read(context, shared) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Err(_) | Ok(Read::End)) => return Err(End::Closed),
                    Poll::Ready(Ok(Read::Own { read })) => {
                        total += read;
                        courier.counters().bytes_received.add(read as u64);
                        // A client busy sending a large packet cannot ping.
                        self.dialogue.connection.keep_alive.heard(courier.now().monotonic);
                        Appetite::More
                    }
                    Poll::Ready(Ok(Read::Shared { read, filled })) => {
                        total += read;
                        courier.counters().bytes_received.add(read as u64);
                        let bytes = shared.get(..filled).unwrap_or_default();
                        let left = self.packets(worker, bytes, courier)?;
                        self.stream.input().keep(bytes, left, courier);
                        left.appetite
                    }
                }
            };
            if let Some(episode) = courier.memory().episode()
                && self.stream.input().unfinished() > LARGE_PACKET_BYTES
            {
                self.begin_pause(PauseReason::LargePacket, Awaited::Memory(episode), courier);
            }
            if self.is_paused() {
                return Ok(());
            }
            if appetite == Appetite::Enough || total >= TURN_READ {
                // Among the flushers' slices and not behind all of them: in a fan-out to 1,000, where
                // a turn is four messages, each write then carries four turns.
                context.waker().wake_by_ref();
                return Ok(());
            }
        }
    }

    /// Handles each whole packet of `bytes` and appends the answers.
    fn packets(
        &mut self,
        worker: &Worker,
        bytes: &[u8],
        courier: &mut Courier,
    ) -> Result<Left, End> {
        let router = &*worker.shared.router;
        let max = router.limits().session.packet_bytes_max;
        let version = self.dialogue.connection.version;
        let mut answers = Answers {
            bytes: courier.take_buffer(),
            commit: CommitNumber::NONE,
            acknowledged: false,
        };
        let (mut received, mut answered, mut withheld) = (0_u64, 0_u64, None);
        let result = packets(bytes, max, |frame: Frame<'_>, input: &[u8]| {
            let packet = frame.decode(version).map_err(|error| End::undecodable(&frame, error))?;
            if let Some(episode) = courier.memory().episode()
                && self.dialogue.must_wait(episode, courier)
                && may_stay(&packet)
            {
                withheld = Some((PauseReason::Filling, Awaited::Memory(episode)));
                return Ok((0, Appetite::Enough));
            }
            if is_acknowledged(&packet)
                && let Some(awaited) = Awaited::backlog(Progress::of(router.journal()))
            {
                withheld = Some((PauseReason::Backlog, awaited));
                return Ok((0, Appetite::Enough));
            }
            tracing::debug!(
                client_id = self.dialogue.attachment.client_id().as_str(),
                ?packet,
                "received"
            );
            let before = answers.bytes.len();
            let mut turn = Turn {
                dialogue: &mut self.dialogue,
                router,
                authenticator: &self.facts.authenticator,
                courier: &mut *courier,
                answers: &mut answers,
            };
            received += 1; // Also one that ends the connection.
            let handled = turn.packet(&packet, &frame, input)?;
            let more = handled.packets - 1;
            received += more as u64;
            if more > 0 {
                tracing::debug!(
                    client_id = self.dialogue.attachment.client_id().as_str(),
                    packets = more,
                    "received more that differ in their payloads or identifiers only"
                );
            }
            if answers.bytes.len() > before {
                answered += handled.packets as u64;
            }
            let (deliveries, appended) = courier.spent();
            let over =
                deliveries >= TURN_DELIVERIES || appended + answers.bytes.len() >= TURN_APPENDED;
            Ok::<_, End>((handled.bytes, if over { Appetite::Enough } else { Appetite::More }))
        });
        courier.counters().packets_received.add(received);
        courier.counters().answers_sent.add(answered);
        if received > 0 {
            self.dialogue.connection.keep_alive.heard(courier.now().monotonic);
        }
        self.answer(worker, answers, courier)?;
        if let Some((reason, awaited)) = withheld {
            self.begin_pause(reason, awaited, courier);
        }
        result
    }

    fn is_paused(&self) -> bool {
        self.paused || self.pause.is_some()
    }

    fn begin_pause(&mut self, reason: PauseReason, awaited: Awaited, courier: &Courier) {
        self.pause = Some(Box::new(Pause::new(awaited, courier.now().monotonic)));
        let limit = match awaited {
            Awaited::Memory(_) => {
                courier.counters().memory_pauses.add(1);
                "limits.memory_max is reached"
            }
            Awaited::Kept(number) => {
                let waker = self.stream.signal().into();
                self.stream.worker().shared.router.journal().wake_when_kept(number, &waker);
                courier.counters().store_pauses.add(1);
                "the store is behind"
            }
        };
        if std::mem::replace(&mut self.pause_is_told, true) {
            return;
        }
        let (peer, client_id) = (self.stream.peer(), self.dialogue.attachment.client_id().as_str());
        self.stream.worker().log.line(|suppressed| {
            tracing::info!(%peer, client_id, ?reason, suppressed, "paused a client: {limit}");
        });
    }

    fn answer(
        &mut self,
        worker: &Worker,
        answers: Answers,
        courier: &mut Courier,
    ) -> Result<(), End> {
        let Answers { bytes, commit, acknowledged } = answers;
        if !bytes.is_empty() || acknowledged {
            let router = &worker.shared.router;
            let answered = router.answer(courier, &self.dialogue.attachment, &bytes, commit);
            self.paused = answered.ok_or(End::Superseded)?;
        }
        courier.give_buffer(bytes);
        Ok(())
    }

    fn replay(&mut self, worker: &Worker, context: &mut Context<'_>, courier: &mut Courier) {
        match worker.shared.router.replay(courier, &self.dialogue.attachment) {
            Step::More => come_again(context),
            Step::Wait => {}
            Step::Done => self.dialogue.replaying = false,
        }
    }

    /// Ends the connection: the Session is left first, so that nothing more is delivered to it.
    fn finish(self, end: &End) -> Pin<Box<dyn Future<Output = ()>>> {
        let (ending, goodbye) = end.ending(&self.dialogue.connection);
        let patience = match end {
            End::Farewell(_) | End::Closed => None,
            End::Superseded | End::Protocol(_) | End::Unproven(_) => Some(GOODBYE),
            End::Shutdown => Some(self.stream.worker().patience.get()),
        };
        self.log(end);
        let Self { mut stream, dialogue, place, .. } = self;
        let worker = Rc::clone(stream.worker());
        Box::pin(async move {
            let left = poll_fn(|context| {
                let mut courier = worker.courier.borrow_mut();
                courier.begin_turn(now());
                let router = &worker.shared.router;
                match router.leave(&mut courier, &dialogue.attachment, ending, &goodbye) {
                    Leave::Busy => {
                        context.waker().wake_by_ref();
                        Poll::Pending
                    }
                    Leave::Superseded => Poll::Ready(None),
                    Leave::Left(leaving) => Poll::Ready(Some(leaving)),
                }
            })
            .await;
            if left.is_some() && !goodbye.is_empty() {
                worker.courier.borrow().counters().answers_sent.add(1);
            }
            let Some(patience) = patience else { return };
            if let Some(leaving) = left
                && !write_rest(&worker, &mut stream, leaving, patience).await
            {
                return;
            }
            stream.wire().shutdown();
            linger(&worker, &mut stream).await;
            drop(place);
        })
    }

    fn log(&self, end: &End) {
        // As a text, which is written with quotes: it may hold a new line.
        let client_id = self.dialogue.attachment.client_id().as_str();
        let (peer, listener) = (self.stream.peer(), &self.facts.name);
        match end {
            End::Protocol(error) => {
                self.stream.worker().courier.borrow().counters().protocol_errors.add(1);
                let reason = error.reason();
                self.stream.worker().log.line(|suppressed| {
                    tracing::info!(listener, %peer, client_id, code = format_args!("0x{:02x}", reason.value()), %error, suppressed, "closed a client");
                });
            }
            End::Unproven(rejected) => {
                log_unproven(self.stream.worker(), listener, peer, client_id, rejected);
            }
            End::Farewell(_) | End::Closed | End::Superseded | End::Shutdown => {
                tracing::debug!(listener, %peer, client_id, end = ?end, "disconnected");
            }
        }
    }
}

/// Whether a packet is a message that is acknowledged, which may have to be kept first.
fn is_acknowledged(packet: &Packet<'_>) -> bool {
    matches!(packet, Packet::Publish(publish) if publish.delivery.qos() > QoS::AtMostOnce)
}

/// Whether a packet may leave something in the memory of the process.
fn may_stay(packet: &Packet<'_>) -> bool {
    let Packet::Publish(publish) = packet else { return false };
    let retained = publish.retain && !publish.payload.is_empty();
    retained || publish.delivery.qos() > QoS::AtMostOnce
}

#[cfg(test)]
mod tests {
    use super::*;

    // Beside 104 bytes of tokio's, and all together a multiple of 128.
    #[test]
    fn the_task_of_an_idle_connection_is_small() {
        assert!(size_of::<Serving>() <= 256 - 104, "{}", size_of::<Serving>());
        assert!(size_of::<Dialogue>() <= 120, "{}", size_of::<Dialogue>());
    }
}
