//! A connection's socket, its input, and how its task is woken.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::input::{Input, Read};
use super::timers::TICK;
use super::worker::{Enlisted, Worker};
use crate::router::{Flags, Signal, Wire};
use crate::transport::Reader;

/// What a connection is accounted with beside its buffers: its task, its socket, its link.
const CONNECTION_BYTES: usize = 1_536;

/// A socket and how its task is woken.
#[derive(Debug)]
pub(super) struct Stream {
    reader: Reader,
    enlisted: Enlisted,
    input: Input,
    peer: SocketAddr,
    /// When the wheel wakes the task, if it was asked to.
    armed: Option<Instant>,
    /// The memory it is accounted with, in bytes.
    accounted: usize,
}

impl Stream {
    pub(super) fn new(reader: Reader, enlisted: Enlisted, peer: SocketAddr) -> Self {
        let (input, armed, accounted) = (Input::default(), None, 0);
        let mut stream = Self { reader, enlisted, input, peer, armed, accounted };
        stream.account(0);
        stream
    }

    pub(super) fn wire(&self) -> Arc<dyn Wire> {
        self.reader.wire()
    }

    pub(super) fn signal(&self) -> Arc<Signal> {
        Arc::clone(&self.enlisted.signal)
    }

    pub(super) fn worker(&self) -> &Rc<Worker> {
        self.enlisted.worker()
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    pub(super) fn register(&self, context: &Context<'_>) {
        self.enlisted.signal.register(context.waker());
    }

    /// Accounts the memory the connection owns now; `beside` is what is not in its input.
    pub(super) fn account(&mut self, beside: usize) {
        let bytes = CONNECTION_BYTES + self.input.capacity() + beside;
        self.enlisted.worker().counters.connection_bytes.change(self.accounted, bytes);
        self.accounted = bytes;
    }

    /// The flags raised since the last call.
    pub(super) fn flags(&mut self) -> Flags {
        let flags = self.enlisted.signal.take();
        // An earlier wake-up than the one last asked for asks for nothing again, or each of them
        // would go on for the connection's life.
        if flags.has(Flags::TIMER) && self.armed.is_some_and(|armed| armed <= Instant::now()) {
            self.armed = None;
        }
        flags
    }

    /// Asks to be woken at a deadline, unless that will happen earlier anyway.
    pub(super) fn arm(&mut self, deadline: Instant) {
        if self.armed.is_none_or(|armed| armed > deadline + TICK) {
            let at =
                self.enlisted.worker().wheel.borrow_mut().wake_at(deadline, &self.enlisted.signal);
            self.armed = Some(at);
        }
    }

    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        shared: &mut [u8],
    ) -> Poll<io::Result<Read>> {
        self.input.poll_read(context, &mut self.reader, shared)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.enlisted.worker().counters.connection_bytes.change(self.accounted, 0);
    }
}
