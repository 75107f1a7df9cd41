//! The last bytes of a connection, and the wait until its client has read them.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::accept::ListenerFacts;
use super::handshake::Failure;
use super::input::{Input, Read};
use super::stream::Stream;
use super::worker::Worker;
use crate::auth::Rejected;
use crate::router::Leaving;

/// How long a client may take to read what ends its connection.
pub(super) const GOODBYE: Duration = Duration::from_secs(5);

/// How long the server waits for a client to close after it did.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes thrown away while lingering before the server gives up.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// Writes the last bytes: whether the client took them all.
pub(super) async fn write_rest(
    worker: &Worker,
    stream: &mut Stream,
    mut leaving: Leaving,
    patience: Duration,
) -> bool {
    let deadline = Instant::now() + patience;
    let all = poll_fn(|context| {
        stream.register(context);
        stream.flags();
        if let Poll::Ready(result) = leaving.poll_write(context) {
            return Poll::Ready(result.is_ok());
        }
        if Instant::now() >= deadline {
            return Poll::Ready(false);
        }
        stream.arm(deadline);
        Poll::Pending
    })
    .await;
    worker.courier.borrow().counters().bytes_sent.add(leaving.written() as u64);
    all
}

/// Reads on and throws away until the client closes. Closing a socket with unread bytes resets it,
/// and a reset may overtake the packet that told the client why.
pub(super) async fn linger(worker: &Worker, stream: &mut Stream) {
    let deadline = Instant::now() + LINGER;
    let mut thrown_away = 0;
    poll_fn(|context| {
        stream.register(context);
        stream.flags();
        let mut shared = worker.read_buffer.borrow_mut();
        *stream.input() = Input::default();
        stream.account(0);
        loop {
            match stream.poll_read(context, &mut shared) {
                Poll::Ready(Ok(Read::Shared { read, .. })) if thrown_away < LINGER_BYTES => {
                    thrown_away += read;
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if Instant::now() >= deadline {
            return Poll::Ready(());
        }
        stream.arm(deadline);
        Poll::Pending
    })
    .await;
}

/// Tells a client without a Session why it gets none.
pub(super) async fn refuse(mut stream: Stream, facts: Arc<ListenerFacts>, failure: Failure) {
    let worker = &Rc::clone(stream.worker());
    let peer = stream.peer();
    let listener = &facts.name;
    let answer = match failure {
        Failure::Closed => {
            tracing::debug!(listener, %peer, "closed before a CONNACK");
            return;
        }
        Failure::Shutdown => return,
        Failure::Refused { error, answer, client_id } => {
            let courier = worker.courier.borrow();
            courier.counters().connects_refused.add(1);
            courier.counters().answers_sent.add((!answer.is_empty()).into());
            let reason = error.reason();
            worker.log.line(|suppressed| {
                tracing::info!(listener, %peer, client_id, code = format_args!("0x{:02x}", reason.value()), %error, suppressed, "refused a client");
            });
            answer
        }
        Failure::Unproven { rejected, answer, client_id } => {
            worker.courier.borrow().counters().connects_refused.add(1);
            log_unproven(worker, listener, peer, &client_id, &rejected);
            answer
        }
    };
    let leaving = Leaving::new_connection(answer, stream.wire());
    if write_rest(worker, &mut stream, leaving, GOODBYE).await {
        stream.wire().shutdown();
        linger(worker, &mut stream).await;
    }
}

/// Says who was not believed and why, which the client is not told.
pub(super) fn log_unproven(
    worker: &Worker,
    listener: &str,
    peer: SocketAddr,
    client_id: &str,
    rejected: &Rejected,
) {
    let Rejected { username, cause } = rejected;
    let username = username.as_deref();
    worker.courier.borrow().counters().authentications_failed.add(1);
    worker.log.line(|suppressed| {
        tracing::info!(listener, %peer, client_id, username, %cause, suppressed, "auth_failed");
    });
}
