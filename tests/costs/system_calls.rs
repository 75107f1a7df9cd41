//! System calls of the real broker for each delivered message, and its allocations.
//!
//! A publisher writes all of a window at once and goes on when everybody has everything: so how many
//! messages a read brings does not depend on who runs when.

use dunlin::packet::{ProtocolVersion, QoS};

use crate::counted::{Calls, Client, Counted};
use crate::in_thread::{Batch, Reaction};

const V311: ProtocolVersion = ProtocolVersion::V311;

/// Rounds before it is counted, and while it is.
const WARM_UP: u16 = 50;
const COUNTED: u16 = 500;

/// What may come besides: ticks of timers, more of them the slower the machine is.
const SLACK: f64 = 0.02;

/// Who publishes to whom, and what that may cost.
#[derive(Debug)]
struct Pattern {
    takers: u16,
    qos: QoS,
    window: u16,
    /// Reads and writes for each window: one read of what a client has written, one write of what
    /// it is to get.
    transfers: u16,
    /// For each delivered message: twice what it was on 2026-11-21.
    system_calls_max: f64,
    /// Exactly, for each published message.
    allocations: u16,
}

impl Pattern {
    fn run(&self) -> Calls {
        let counted = Counted::start();
        let address = counted.broker.address;
        let mut takers: Vec<Client> = (0..self.takers)
            .map(|number| {
                let mut taker = Client::join(address, V311, &format!("taker-{number}"));
                taker.subscribe("meter/7", self.qos);
                taker
            })
            .collect();
        let mut publisher = Client::join(address, V311, "publisher");
        for _ in 0..WARM_UP {
            self.round(&mut publisher, &mut takers);
        }

        let before = counted.calls();
        for _ in 0..COUNTED {
            self.round(&mut publisher, &mut takers);
        }
        counted.calls() - before
    }

    fn batch(&self) -> Vec<u8> {
        let batch = Batch::new(&["meter/7"], self.window);
        Batch { version: V311, qos: self.qos, ..batch }.encode()
    }

    /// Ends when everybody has everything.
    fn round(&self, publisher: &mut Client, takers: &mut [Client]) {
        const PUBACK_BYTES: usize = 4;
        let bytes = self.batch();
        publisher.write(&bytes);
        for taker in takers {
            let reaction = Reaction::to(V311, &taker.read(bytes.len()));
            assert_eq!(reaction.messages, usize::from(self.window));
            taker.write(&reaction.answers);
        }
        if self.qos == QoS::AtLeastOnce {
            publisher.read(usize::from(self.window) * PUBACK_BYTES);
        }
    }

    #[track_caller]
    fn assert_costs(&self) {
        let calls = self.run();

        let published = f64::from(self.window) * f64::from(COUNTED);
        let delivered = published * f64::from(self.takers);
        let written = self.batch().len() as f64 * f64::from(COUNTED) * f64::from(self.takers);
        // What does not go by the counted functions is not seen: nothing else may be believed then.
        assert!(calls.bytes_written as f64 >= written * (1.0 - SLACK), "{self:?}: {calls:?}");
        let transfers = (calls.reads + calls.writes) as f64 / f64::from(COUNTED);
        assert!(transfers <= f64::from(self.transfers) * (1.0 + SLACK), "{self:?}: {calls:?}");
        let system_calls = calls.of_the_system() as f64 / delivered;
        assert!(system_calls <= self.system_calls_max, "{system_calls} {self:?}: {calls:?}");
        let allocations = calls.allocations as f64 / published;
        assert!(allocations <= f64::from(self.allocations) + SLACK, "{self:?}: {calls:?}");
    }
}

const P2P: Pattern = Pattern {
    takers: 1,
    qos: QoS::AtMostOnce,
    window: 1,
    transfers: 2,
    system_calls_max: 6.0,
    allocations: 0,
};

/// One `recv`, one `send` and one `epoll_wait` for each window, however large it is.
#[test]
fn a_window_from_one_to_one_takes_three_system_calls() {
    P2P.assert_costs();
    Pattern { window: 16, system_calls_max: 0.375, ..P2P }.assert_costs();
    Pattern { window: 256, system_calls_max: 0.0235, ..P2P }.assert_costs();
}

#[test]
fn a_fan_out_takes_one_write_for_each_taker() {
    let pattern = Pattern { takers: 50, window: 64, transfers: 51, ..P2P };

    Pattern { system_calls_max: 0.0325, ..pattern }.assert_costs();
}

/// Whoever sends something while Retained Messages are replayed waits for a slice of them, and not
/// for as many as the runtime polls tasks before it looks at its sockets.
#[test]
fn between_the_slices_of_a_replay_sockets_are_looked_at() {
    const RETAINED: u16 = 8_192;
    const SLICE: u16 = 256;
    let counted = Counted::start();
    let names: Vec<String> = (0..RETAINED).map(|number| format!("meter/{number}")).collect();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut publisher = Client::join(counted.broker.address, V311, "publisher");
    let batch =
        Batch { version: V311, retain: true, payload_bytes: 1, ..Batch::new(&topics, RETAINED) };
    publisher.write(&batch.encode());
    publisher.ping();
    let mut taker = Client::join(counted.broker.address, V311, "taker");

    let before = counted.calls();
    taker.subscribe("meter/#", QoS::AtMostOnce);
    taker.read(batch.encode().len());
    let calls = counted.calls() - before;

    // Between two slices each; the taker may have read the last one before the broker waits again.
    assert!(calls.waits >= u64::from(RETAINED / SLICE - 1), "{calls:?}");
}

/// The messages of a window, its acknowledgements, and those of the taker.
#[test]
fn at_qos_1_a_window_takes_two_transfers_of_each_client() {
    let pattern = Pattern { qos: QoS::AtLeastOnce, window: 64, transfers: 4, ..P2P };

    Pattern { system_calls_max: 0.17, allocations: 2, ..pattern }.assert_costs();
}
