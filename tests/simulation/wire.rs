//! A network connection without a network: bytes on their way in both directions, in order, taken
//! from it as slowly as the simulation likes, and lost when it is cut.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use dunlin::router::Wire;

/// Whether a task was woken since the last look. Nothing is done for a task that was not.
#[derive(Debug, Default)]
pub(crate) struct Woken(AtomicBool);

impl Woken {
    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.set();
    }
}

/// The broker's half of a connection: what it writes waits here for the client.
#[derive(Debug)]
pub(crate) struct Pipe(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Written and not yet looked at by the oracle.
    tapped: Vec<u8>,
    on_the_way: VecDeque<u8>,
    /// As many bytes are on the way at most; then writing would block.
    capacity: usize,
    /// As many are taken by one write.
    at_once: usize,
    /// What is written meets an error.
    broken: bool,
    /// What is written goes nowhere, as long as nobody noticed.
    cut: bool,
    shut: bool,
    waiting: Option<Waker>,
}

impl Pipe {
    pub(crate) fn new(capacity: usize, at_once: usize) -> Self {
        Self(Mutex::new(State {
            tapped: Vec::new(),
            on_the_way: VecDeque::new(),
            capacity,
            at_once,
            broken: false,
            cut: false,
            shut: false,
            waiting: None,
        }))
    }

    /// What was written since the last call.
    pub(crate) fn tap(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap().tapped)
    }

    /// How many bytes are on the way to the client.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().unwrap().on_the_way.len()
    }

    /// Lets some bytes arrive at the client.
    pub(crate) fn arrive(&self, count: usize) -> Vec<u8> {
        let mut state = self.0.lock().unwrap();
        let count = count.min(state.on_the_way.len());
        let bytes = state.on_the_way.drain(..count).collect();
        state.wake();
        bytes
    }

    /// The broker closed it and everything has arrived.
    pub(crate) fn has_ended(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.shut && state.on_the_way.is_empty()
    }

    /// From here on nothing reaches the client.
    pub(crate) fn cut(&self, broken: bool) {
        let mut state = self.0.lock().unwrap();
        state.cut = true;
        state.broken |= broken;
        state.on_the_way.clear();
        state.wake();
    }

    pub(crate) fn widen(&self) {
        let mut state = self.0.lock().unwrap();
        state.capacity = usize::MAX;
        state.at_once = usize::MAX;
        state.wake();
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

impl Wire for Pipe {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.lock().unwrap();
        if state.broken || state.shut {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = state.capacity.saturating_sub(state.on_the_way.len());
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = room.min(state.at_once);
        let before = taken;
        for slice in slices {
            let part = &slice[..slice.len().min(taken)];
            state.tapped.extend_from_slice(part);
            if !state.cut {
                state.on_the_way.extend(part);
            }
            taken -= part.len();
        }
        Ok(before - taken)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap();
        if state.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.on_the_way.len() < state.capacity {
            return Poll::Ready(Ok(()));
        }
        state.waiting = Some(context.waker().clone());
        Poll::Pending
    }

    fn shutdown(&self) {
        self.0.lock().unwrap().shut = true;
    }
}
