//! One run: clients, links, a broker and a store, and whatever happens to them, drawn from a seed.

use std::sync::Arc;

use dunlin::change::Keeps;

use crate::broker::{Bounds, Broker};
use crate::client::{Client, Lasting};
use crate::oracle::Oracle;
use crate::random::Random;

/// Rounds after which a world that still moves never rests.
const ROUNDS_MAX: usize = 3_000;

pub(crate) struct World {
    random: Random,
    broker: Broker,
    clients: Vec<Client>,
    oracle: Oracle,
    /// How often links are cut, in steps of 1,000.
    cuts: u64,
    /// How often a task acts before it looks at what it was woken for, in percent.
    late: u64,
    /// How long a step takes at most, in microseconds.
    pace: u64,
    /// Whether the process is killed now and then. No group knows what it owes then but by its
    /// store, and no Session ends.
    restarts: bool,
}

impl World {
    pub(crate) fn new(seed: u64, keeps: Keeps, verbose: bool) -> Self {
        let mut random = Random::new(seed);
        let bounds = Bounds::draw(&mut random);
        let lasting = if random.chance(40) { Lasting::Always } else { Lasting::Varied };
        let broker = Broker::new(&bounds, keeps);
        let count = 2 + random.index(4);
        let shares = random.pick(&[0, 20, 60]);
        let clients =
            (0..count).map(|index| Client::draw(index, lasting, shares, &mut random)).collect();
        let mut oracle = Oracle::new(Arc::clone(&broker.journal), bounds.clone(), lasting);
        oracle.verbose = verbose;
        oracle.note(&format!("seed {seed}: {lasting:?}, {keeps:?}, {bounds:?}"));
        let cuts = random.pick(&[0, 2, 10, 30]);
        let late = random.pick(&[0, 20]);
        let pace = random.pick(&[1_000, 50_000, 300_000]);
        if seed % 4 == 1 {
            broker.journal.fetch_slowly();
        }
        let restarts = keeps == Keeps::Changes && lasting == Lasting::Always && shares == 0;
        Self { random, broker, clients, oracle, cuts, late, pace, restarts }
    }

    /// Runs it to its end; something that depends on all that happened.
    pub(crate) fn run(mut self) -> impl PartialEq + std::fmt::Debug {
        let steps = 200 + self.random.below(1_500);
        for step in 0..steps {
            self.pass(self.pace);
            self.step();
            if step % 64 == 0 {
                self.oracle.limits_hold(&self.broker.metrics);
            }
            if self.random.below(400) == 0 {
                self.calm();
            }
            if self.restarts && self.random.below(200) == 0 {
                self.restart();
            }
        }
        self.settle();
        self.compare_retained();
        self.end_all();
        self.oracle.fingerprint()
    }

    fn pass(&mut self, micros: u64) {
        self.broker.now += 1 + self.random.below(micros);
        self.oracle.now = self.broker.now;
    }

    fn restart(&mut self) {
        self.broker.restart(&mut self.oracle);
        for client in &mut self.clients {
            client.forget_connection();
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..42 => self.client_acts(),
            42..62 => self.broker_reads(),
            62..75 if self.broker.wants_flush() => self.broker.flush(&mut self.oracle),
            75..92 => self.client_reads(),
            92..96 => self.store_keeps(),
            96..99 => {
                if self.random.chance(5) {
                    self.pass(5_000_000);
                }
                self.broker.run_schedule(&mut self.oracle);
            }
            _ => {}
        }
        if self.random.below(1_000) < self.cuts {
            self.cut();
        }
    }

    fn client_acts(&mut self) {
        let at = self.random.index(self.clients.len());
        let Self { random, broker, clients, .. } = self;
        let client = &mut clients[at];
        let Some(conn) = client.conn else {
            if random.chance(30) {
                client.connect(broker, random);
            }
            return;
        };
        if !client.connected {
            if random.chance(2) {
                drop_connecting(broker, conn);
                client.connect(broker, random);
            }
            return;
        }
        match random.below(100) {
            0..32 => client.publish(broker, random),
            32..40 => client.publish_run(broker, random),
            40..52 => client.subscribe(broker, random),
            52..56 => client.unsubscribe(broker, random),
            56..94 => {
                client.acknowledge(broker, random);
            }
            94..96 => client.ping(broker),
            96..97 => client.disconnect(broker, random),
            97..98 => client.connect(broker, random),
            _ => {}
        }
    }

    fn broker_reads(&mut self) {
        let waiting: Vec<usize> = self.waiting_conns();
        if waiting.is_empty() {
            return;
        }
        let at = self.random.pick(&waiting);
        let most = self.random.pick(&[1, 7, 40, 400, 100_000]);
        let late = self.random.chance(self.late);
        self.broker.poll(at, most, late, &mut self.oracle);
    }

    fn waiting_conns(&self) -> Vec<usize> {
        let conns = self.broker.conns.iter().enumerate();
        conns.filter(|(_, conn)| conn.wants_poll()).map(|(at, _)| at).collect()
    }

    fn client_reads(&mut self) {
        let at = self.random.index(self.clients.len());
        let most = self.random.pick(&[1, 10, 60, 500, 100_000]);
        self.arrive(at, most);
    }

    /// Lets bytes arrive at a client: whether there were any.
    fn arrive(&mut self, at: usize, most: usize) -> bool {
        let Self { random, broker, clients, oracle, .. } = self;
        let client = &mut clients[at];
        let Some(conn) = client.conn else { return false };
        let pipe = Arc::clone(&broker.conns[conn].pipe);
        let bytes = pipe.arrive(most);
        if !bytes.is_empty() {
            client.read(&bytes, broker, random, oracle);
        }
        if pipe.has_ended() {
            broker.conns[conn].end();
            client.forget_connection();
            return true;
        }
        !bytes.is_empty()
    }

    fn store_keeps(&mut self) {
        let (kept, submitted) =
            (self.broker.journal.kept_number(), self.broker.journal.submitted());
        let number = kept + self.random.below(submitted - kept + 1);
        self.broker.journal.keep_up_to(number);
        self.broker.journal.answer_fetches();
    }

    /// A connection breaks at some byte in each direction. Either side may find out late.
    fn cut(&mut self) {
        let at = self.random.index(self.clients.len());
        let Some(conn) = self.clients[at].conn else { return };
        if self.random.chance(70) {
            let waiting = self.broker.conns[conn].pipe.waiting();
            let most = self.random.index(waiting + 1);
            self.arrive(at, most);
        }
        let Some(conn) = self.clients[at].conn else { return };
        let arriving = self.random.index(self.broker.conns[conn].up_waiting() + 1);
        self.oracle.note(&format!("conn {conn}: is cut"));
        if self.random.chance(60) {
            let broken = self.random.chance(50);
            self.broker.conns[conn].cut(arriving, broken);
        } else {
            // The broker does not find out before the client is back.
            self.broker.conns[conn].vanish(arriving);
        }
        self.clients[at].forget_connection();
    }

    /// Who is there reads and acknowledges everything: no group has anything left for them. Now and
    /// then one of them does not and is lost: what it had goes to others who wait for nothing else.
    fn calm(&mut self) {
        self.oracle.note("is calm for a moment");
        if self.random.chance(50) {
            let silent = self.random.index(self.clients.len());
            self.rest_but(Some(silent));
            if let Some(conn) = self.clients[silent].conn {
                self.oracle.note(&format!("conn {conn}: is lost"));
                self.broker.conns[conn].cut(0, true);
                self.clients[silent].forget_connection();
            }
        }
        self.rest();
        let groups = self.broker.groups();
        self.oracle.groups_wait_for_nobody(&groups, |client| {
            let Some(client) = self.clients.get(client) else { return false };
            client.connected && client.conn.is_some_and(|conn| self.broker.conns[conn].is_open())
        });
        self.oracle.groups_are_kept();
    }

    /// All links are healed, all come back, and everything comes to rest.
    fn settle(&mut self) {
        self.oracle.note("settles");
        self.broker.run_schedule(&mut self.oracle);
        for at in 0..self.clients.len() {
            let Self { broker, clients, .. } = self;
            let client = &mut clients[at];
            match client.conn {
                // Also one that still waits for its CONNACK, which has to come.
                Some(conn) => broker.conns[conn].pipe.widen(),
                None => client.come_back(broker),
            }
        }
        self.rest();
        for at in 0..self.clients.len() {
            if self.clients[at].conn.is_none() {
                self.clients[at].come_back(&mut self.broker);
            }
        }
        self.rest();
        for client in &self.clients {
            if !client.connected || !client.is_done() {
                self.oracle.fail(&format!("not at rest: {client:?}"));
            }
        }
        self.oracle.at_rest(self.broker.counts());
        self.oracle.groups_owe_nothing(&self.broker.groups());
        self.oracle.nothing_was_taken_twice();
        self.oracle.limits_hold(&self.broker.metrics);
    }

    fn rest(&mut self) {
        self.rest_but(None);
    }

    /// Until nothing moves any more but one client that neither reads nor acknowledges.
    fn rest_but(&mut self, silent: Option<usize>) {
        for _ in 0..ROUNDS_MAX {
            self.pass(1_000);
            let mut moved = false;
            if self.broker.wants_flush() {
                self.broker.flush(&mut self.oracle);
                moved = true;
            }
            for at in (0..self.clients.len()).filter(|at| Some(*at) != silent) {
                moved |= self.arrive(at, usize::MAX);
                moved |= self.clients[at].has_acks();
                self.clients[at].acknowledge_all(&mut self.broker);
            }
            for at in self.waiting_conns() {
                self.broker.poll(at, usize::MAX, false, &mut self.oracle);
                moved = true;
            }
            let submitted = self.broker.journal.submitted();
            moved |= submitted > self.broker.journal.kept_number();
            self.broker.journal.keep_up_to(submitted);
            moved |= self.broker.journal.answer_fetches() > 0;
            if !moved {
                return;
            }
        }
        self.oracle.fail("it never comes to rest");
    }

    /// Who subscribes now gets the newest retained value of each topic and nothing else.
    fn compare_retained(&mut self) {
        let at = self.clients.len();
        self.clients.push(Client::plain(at, &mut self.random));
        self.clients[at].come_back(&mut self.broker);
        self.rest();
        let subscribed = self.broker.now;
        self.clients[at].subscribe_to_all(&mut self.broker);
        self.rest();
        self.oracle.has_what_is_retained(at, subscribed);
    }

    fn end_all(&mut self) {
        for client in &mut self.clients {
            client.come_back_clean(&mut self.broker);
        }
        self.rest();
        for client in &mut self.clients {
            client.leave(&mut self.broker);
        }
        self.rest();
        self.oracle.all_is_over(&self.broker.metrics);
    }
}

/// A CONNECT that is still on its way never arrives: a client is never overtaken by itself.
fn drop_connecting(broker: &mut Broker, conn: usize) {
    let conn = &mut broker.conns[conn];
    if conn.is_connecting() {
        conn.cut(0, true);
    }
}
