//! Sends cases to a broker, several at once, and says which were answered wrongly.

use std::{
    net::SocketAddr,
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::{
    case::{Behind, Case, End, Opening, Seen},
    connect::Connect,
    line::{Heard, Line, hex, words},
    neighbour::Neighbourhood,
    wire::Packet,
};

/// Connections at the same time.
const AT_ONCE: usize = 16;

/// How many of them there are to each round of messages next door.
const TO_A_ROUND: usize = 10;

/// Does the work for each index below `count`, several at once, while messages are exchanged next
/// door. Returns what was wrong, in the order of the indices.
pub(crate) fn at_once(
    count: usize,
    neighbours: &Neighbourhood,
    work: impl Fn(usize) -> Result<(), String> + Sync,
) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let serve = || {
        let mut wrong = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return wrong;
            }
            let result = panic::catch_unwind(AssertUnwindSafe(|| work(index)));
            let result = result.unwrap_or_else(|panic| Err(words(panic.as_ref()).to_owned()));
            wrong.extend(result.err().map(|why| (index, why)));
            if index.is_multiple_of(TO_A_ROUND) {
                neighbours.another_round();
            }
        }
    };
    let mut wrong: Vec<(usize, String)> = thread::scope(|scope| {
        let served: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(serve)).collect();
        served.into_iter().flat_map(|thread| thread.join().expect("nothing panics")).collect()
    });
    wrong.sort();
    wrong.into_iter().map(|(_, why)| why).collect()
}

/// How the bytes of a case are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Whole,
    /// In two writes, the first of which has so many bytes.
    Split(usize),
}

/// Says a case and compares what becomes of it.
pub(crate) fn check(address: SocketAddr, case: &Case, delivery: Delivery) -> Result<(), String> {
    let seen = observe(address, case, delivery).map_err(|why| format!("{}: {why}", case.name))?;
    match case.judge(&seen) {
        None => Ok(()),
        Some(flaw) => {
            let Case { name, rule, bytes, expected, .. } = case;
            let sent = hex(bytes);
            Err(format!(
                "{name}: {flaw}\n    sent     {sent} {delivery:?}\n    expected {expected:x?}\n    \
                 seen     {seen:x?}\n    after    {rule}"
            ))
        }
    }
}

fn observe(address: SocketAddr, case: &Case, delivery: Delivery) -> Result<Seen, String> {
    let mut line = Line::open(address, case.version);
    match &case.opening {
        Opening::Nothing => {}
        Opening::Connected => {
            // Names are different, and so are their Client Identifiers.
            line.say(&Connect::new(case.version, &case.name).encode());
            prepared(&mut line, 1)?;
        }
        Opening::Prepared(steps) => {
            for step in steps {
                line.say(&step.bytes);
                prepared(&mut line, step.answers)?;
            }
        }
    }
    let bytes = case.sent();
    match delivery {
        Delivery::Whole => line.say(&bytes),
        Delivery::Split(first) => {
            line.say(&bytes[..first.min(bytes.len())]);
            line.say(&bytes[first.min(bytes.len())..]);
        }
    }
    if case.behind == Behind::EndOfStream {
        line.finish();
    }
    Ok(listen(&mut line))
}

/// Waits for so many answers to what comes before the case.
fn prepared(line: &mut Line, answers: usize) -> Result<(), String> {
    for _ in 0..answers {
        match line.hear() {
            Heard::Packet(Packet::ConnAck { code: 0, .. }) => {}
            Heard::Packet(
                packet @ (Packet::ConnAck { .. } | Packet::Disconnect { .. } | Packet::PingResp),
            ) => return Err(format!("refused before its own bytes: {packet:?}")),
            Heard::Packet(_) => {}
            other => return Err(format!("ended before its own bytes: {other:?}")),
        }
    }
    Ok(())
}

/// Everything up to the answer to the PINGREQ or to the end.
pub(crate) fn listen(line: &mut Line) -> Seen {
    let mut packets = Vec::new();
    let end = loop {
        match line.hear() {
            Heard::Packet(Packet::PingResp) => break End::Pinged,
            Heard::Packet(packet) => packets.push(packet),
            Heard::Closed => break End::Closed,
            Heard::Reset => break End::Reset,
            Heard::Silence => break End::Silent,
            Heard::Nonsense(what) => break End::Nonsense(what),
        }
    };
    Seen { packets, longest: line.longest, end }
}
