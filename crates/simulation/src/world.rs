//! The run of one seed: a host, its clients and what lies between them, in virtual time.
//!
//! Everything that will happen stands in one queue by its time; a run draws one step after another (somebody does
//! something, something breaks), lets the queue come to the present, and looks at the checkers. At the end all is
//! mended, everybody comes back, time passes, and the rest is checked.

mod ending;
mod faults;

use std::collections::BTreeMap;

use weeziq_core::Caller;
use weeziq_core::ai::model::ModelEvent;
use weeziq_core::ids::{ConnId, RoomId, RunId};
use weeziq_core::limits::ROOMS_PER_CONNECTION_MAX;
use weeziq_core::protocol::command::Ask;
use weeziq_core::rooms::{Farewell, RoomInput};
use weeziq_core::time::UnixMs;

use crate::answers::Read;
use crate::checks::{Breach, Checker, Checks};
use crate::client::Client;
use crate::frame::{Frame, fingerprint};
use crate::host::{Effect, Flavour, Host, Place};
use crate::link::Link;
use crate::model;
use crate::rng::Rng;
use crate::trace::Trace;

/// What came of one seed.
pub(crate) struct Outcome {
    pub(crate) hash: u64,
    pub(crate) step: usize,
    pub(crate) breach: Option<Breach>,
    pub(crate) lines: Vec<String>,
    pub(crate) tally: Tally,
}

/// What there was of it, so that a run that tested nothing is noticed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) frames: u64,
    pub(crate) events: u64,
    pub(crate) crashes: u64,
    pub(crate) evictions: u64,
    pub(crate) failed_turns: u64,
    pub(crate) asked: u64,
    /// Of those, the ones whose text was held against what the model sent.
    pub(crate) read: Read,
}

/// Something that is going to happen.
enum Due {
    Up {
        conn: ConnId,
        frame: String,
    },
    Down {
        conn: ConnId,
        frame: Frame,
    },
    /// The host notices that a connection is gone.
    Gone {
        conn: ConnId,
        how: Farewell,
    },
    Wake {
        place: Place,
        life: u32,
    },
    Says {
        room: RoomId,
        run: RunId,
        event: ModelEvent,
        life: u32,
        talks_on: bool,
    },
    Relayed {
        to: RoomId,
        input: RoomInput,
        kept: Option<i64>,
        life: u32,
    },
    /// What a customer said is asked of the room.
    Said {
        room: RoomId,
        ask: Box<(Caller, Ask)>,
        life: u32,
    },
    Synced {
        life: u32,
    },
    Heal,
    Start,
    Tick,
}

pub(crate) struct World {
    seed: u64,
    rng: Rng,
    wire: Rng,
    now: i64,
    queue: BTreeMap<(i64, u64), Due>,
    queued: u64,
    host: Host,
    clients: Vec<Client>,
    links: BTreeMap<ConnId, Link>,
    /// When the last word of each room for another arrives there.
    relays: BTreeMap<RoomId, i64>,
    next_conn: u64,
    delay_ms_max: i64,
    /// Storage fails and memory is lost.
    has_faults: bool,
    /// Nothing breaks any more.
    is_calm: bool,
    checks: Checks,
    trace: Trace,
    tally: Tally,
}

/// How the world is made: which of these a seed gets is drawn from it.
struct Plan {
    flavour: Flavour,
    clients: usize,
    rooms: usize,
    delay_ms_max: i64,
    has_faults: bool,
}

const START_MS: i64 = 1_700_000_000_000;
const TICK_MS: i64 = 1_000;
const RELAY_AGAIN_MS: i64 = 300;
/// What arrives within so many milliseconds at a process is one turn.
const TURN_MS: i64 = 4;

impl Plan {
    fn of(rng: &mut Rng) -> Self {
        let flavour = match rng.below(3) {
            0 => Flavour::Process { syncs: false },
            1 => Flavour::Process { syncs: true },
            _ => Flavour::Objects,
        };
        let clients = match rng.below(60) {
            0 => rng.between(150, 320),
            1..6 => rng.between(20, 60),
            _ => rng.between(2, 14),
        };
        let delay_ms_max = if rng.chance(30) { 3_000 } else { 200 };
        let (clients, rooms) = (clients as usize, rng.between(1, 4) as usize);
        Self { flavour, clients, rooms, delay_ms_max, has_faults: rng.chance(75) }
    }
}

/// Runs one seed. `lines_max` of the last events are kept.
pub(crate) fn run(seed: u64, steps: usize, lines_max: usize) -> Outcome {
    let mut rng = Rng::new(seed);
    let plan = Plan::of(&mut rng);
    match Host::new(plan.flavour, rng.fork(), UnixMs(START_MS)) {
        Ok(host) => World::new(seed, &plan, rng, host, lines_max).play(steps),
        Err(error) => {
            let breach = Some(Breach { checker: Checker::Sanity, what: error.to_string() });
            Outcome { hash: 0, step: 0, breach, lines: Vec::new(), tally: Tally::default() }
        }
    }
}

impl World {
    fn new(seed: u64, plan: &Plan, mut rng: Rng, host: Host, lines_max: usize) -> Self {
        let rooms: Vec<String> = (0..plan.rooms).map(|room| format!("room-{room}")).collect();
        let clients = (0..plan.clients).map(|index| {
            // Every fifth is a second tab of the one before.
            let user = if index % 5 == 4 { index - 1 } else { index };
            let role = [Some("user"), None, Some("agent"), Some("customer")];
            let role = role.get(user % role.len()).copied().flatten();
            let wanted = 1 + rng.below(rooms.len());
            Client::new(index, user, role, rooms.get(..wanted).unwrap_or_default())
        });
        let clients = clients.collect();
        let mut world = Self {
            seed,
            wire: rng.fork(),
            rng,
            now: START_MS,
            queue: BTreeMap::new(),
            queued: 0,
            host,
            clients,
            links: BTreeMap::new(),
            relays: BTreeMap::new(),
            next_conn: 0,
            delay_ms_max: plan.delay_ms_max,
            has_faults: plan.has_faults,
            is_calm: false,
            checks: Checks::new(plan.flavour == Flavour::Objects),
            trace: Trace::new(lines_max),
            tally: Tally::default(),
        };
        world.queue_in(TICK_MS, Due::Tick);
        let (clients, flavour) = (plan.clients, plan.flavour);
        world.note(|| format!("seed {seed}: {flavour:?}, {clients} clients, rooms: {rooms:?}"));
        world
    }

    fn play(mut self, steps: usize) -> Outcome {
        for client in 0..self.clients.len() {
            self.connect(client);
        }
        let mut step = 0;
        while step < steps && self.checks.breach.is_none() {
            self.step();
            step += 1;
        }
        if self.checks.breach.is_none() {
            self.calm_down();
        }
        if self.checks.breach.is_none() {
            self.check_the_end();
        }
        self.tally.failed_turns = self.host.failed_turns;
        self.tally.read = self.checks.answers.read();
        let hash = self.trace.hash;
        Outcome { hash, step, breach: self.checks.breach, lines: self.trace.lines(), tally: self.tally }
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..3 => self.cut(),
            3..5 => self.say_goodbye(),
            5..12 => self.reconnect(),
            12..14 if self.has_faults => self.break_store(),
            14 => self.kill(),
            15..17 if self.has_faults => self.evict(),
            _ => self.act(),
        }
        let gap_ms = match self.rng.below(40) {
            0 => self.rng.between(1_000, 12_000),
            1..8 => self.rng.between(50, 400),
            _ => self.rng.between(0, 30),
        };
        self.pass(gap_ms);
        let waiting = self.checks.waiting(&mut self.host.store);
        self.sane(waiting);
        let most = self.host.rooms_of_one_max;
        self.checks.require(most <= ROOMS_PER_CONNECTION_MAX, Checker::Caps, || {
            format!("one connection was in {most} rooms")
        });
    }

    fn act(&mut self) {
        let index = self.rng.below(self.clients.len());
        let Some(client) = self.clients.get_mut(index).filter(|client| client.conn.is_some()) else { return };
        if self.rng.below(4_000) == 0 {
            client.hoard();
        } else {
            client.act(&mut self.rng);
        }
        self.flush(index);
    }

    fn connect(&mut self, index: usize) {
        if self.host.is_dead {
            return;
        }
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let Some(client) = self.clients.get_mut(index).filter(|client| client.conn.is_none()) else { return };
        self.links.insert(conn, Link::new(index, self.delay_ms_max));
        self.host.connect(conn);
        client.connect(conn, &mut self.rng);
        self.note(|| format!("c{index} connects as {conn:?}"));
        self.flush(index);
    }

    /// What a client has to say goes onto its wire.
    fn flush(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let Some(conn) = client.conn else { return };
        let frames = std::mem::take(&mut client.out);
        for frame in frames {
            let Some(link) = self.links.get_mut(&conn) else { return };
            let at = self.host.flavour.turn_at(link.up(self.now, &mut self.wire));
            self.enqueue(at, Due::Up { conn, frame });
        }
    }

    fn hang_up(&mut self, index: usize) {
        self.clients.get_mut(index).into_iter().for_each(Client::disconnect);
    }

    fn reconnect(&mut self) {
        let away = self.clients.iter().enumerate().filter(|(_, client)| client.conn.is_none());
        let away: Vec<usize> = away.map(|(index, _)| index).collect();
        if let Some(index) = self.rng.pick(&away).copied() {
            self.connect(index);
        }
    }

    fn pick_connected(&mut self) -> Option<(usize, ConnId)> {
        let connected = self.clients.iter().enumerate().filter_map(|(index, c)| Some((index, c.conn?)));
        let connected: Vec<(usize, ConnId)> = connected.collect();
        self.rng.pick(&connected).copied()
    }

    /// Lets so much time pass, and happen what is due in it.
    fn pass(&mut self, ms: i64) {
        let until = self.now + ms;
        while self.checks.breach.is_none() {
            let Some((at, _)) = self.queue.first_key_value().map(|(at, _)| *at).filter(|at| at.0 <= until)
            else {
                break;
            };
            self.now = self.now.max(at);
            self.host.now = UnixMs(self.now);
            while let Some(next) = self.queue.first_entry().filter(|next| next.key().0 <= self.now) {
                let due = next.remove();
                self.tally.events += 1;
                self.happen(due);
                self.drain_effects();
            }
            self.host.end_turn();
            self.drain_effects();
        }
        self.now = self.now.max(until);
        self.host.now = UnixMs(self.now);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Up { conn, frame } => self.take_up(conn, &frame),
            Due::Down { conn, frame } => self.take_down(conn, &frame),
            Due::Gone { conn, how } => {
                self.note(|| format!("the host parts with {conn:?}: {how:?}"));
                self.links.remove(&conn);
                self.host.part(conn, how);
            }
            Due::Wake { place, life } => {
                // A process keeps its timers in memory, an object in storage.
                if life == self.host.life || self.host.flavour == Flavour::Objects {
                    self.host.alarm(place);
                }
            }
            Due::Says { room, run, event, life, talks_on } => {
                if life == self.host.life && (talks_on || self.host.is_listening(run)) {
                    self.note(|| format!("the model says {event:?} in {room}"));
                    self.checks.answers.say(run.0, &event);
                    self.host.model_says(&room, run, event);
                }
            }
            Due::Relayed { to, input, kept, life } if life == self.host.life => {
                self.hand_over(&to, input, kept);
            }
            Due::Relayed { .. } => {}
            Due::Said { room, ask, life } if life == self.host.life => self.host.ask(&room, ask.0, ask.1),
            Due::Said { .. } => {}
            Due::Synced { life } if life == self.host.life => self.host.synced(),
            Due::Synced { .. } => {}
            Due::Heal => self.host.store.is_broken = false,
            Due::Start => self.start(),
            Due::Tick => self.tick(),
        }
    }

    /// What an object says into another room is handed over until that has stored it, and so at times once more.
    fn hand_over(&mut self, to: &RoomId, input: RoomInput, kept: Option<i64>) {
        let again = match (&input, kept) {
            (RoomInput::Post(post), Some(_)) => serde_json::to_string(post).ok(),
            _ => None,
        };
        let failed_before = self.host.failed_turns;
        self.host.tell_room(to, input);
        let is_taken = !self.host.is_dead && self.host.failed_turns == failed_before;
        if let Some(row) = kept.filter(|_| is_taken) {
            self.host.forget_kept(row);
        }
        if !is_taken || self.wire.chance(10) {
            let post = again.and_then(|json| serde_json::from_str(&json).ok());
            if let Some(input) = post.map(RoomInput::Post) {
                let life = self.host.life;
                self.queue_in(RELAY_AGAIN_MS, Due::Relayed { to: to.clone(), input, kept, life });
            }
        }
    }

    fn take_up(&mut self, conn: ConnId, frame: &str) {
        if self.links.get(&conn).is_some_and(|link| !link.is_cut) {
            self.tally.frames += 1;
            let print = fingerprint(frame);
            self.trace.note(self.now - START_MS, print, || format!("{} > {frame}", conn.0));
            self.host.receive(conn, frame);
        }
    }

    fn take_down(&mut self, conn: ConnId, frame: &Frame) {
        let Some(index) = self.links.get(&conn).filter(|link| !link.is_cut).map(|link| link.client) else {
            return;
        };
        let Some(client) = self.clients.get_mut(index).filter(|client| client.conn == Some(conn)) else {
            return;
        };
        self.tally.frames += 1;
        let print = frame.heard.print ^ conn.0;
        self.trace.note(self.now - START_MS, print, || {
            let reply_to = frame.reply_to.as_ref().map(|id| format!("({id}) ")).unwrap_or_default();
            format!("{} < {reply_to}{}", conn.0, frame.heard.json)
        });
        client.hear(frame, self.now, &mut self.checks);
        self.flush(index);
    }

    fn tick(&mut self) {
        self.host.tick();
        for index in 0..self.clients.len() {
            let now = self.now;
            if let Some(client) = self.clients.get_mut(index).filter(|client| client.conn.is_some()) {
                client.keep_up(now, &mut self.rng);
                self.flush(index);
            } else if self.is_calm {
                self.connect(index);
            }
        }
        self.queue_in(TICK_MS, Due::Tick);
    }

    /// The host's wishes, and what its death means.
    fn drain_effects(&mut self) {
        for effect in std::mem::take(&mut self.host.effects) {
            self.carry_out(effect);
        }
        if self.host.is_dead && self.host.dies.is_some() {
            self.bury();
        }
    }

    fn bury(&mut self) {
        self.note(|| "the process dies".into());
        self.tally.crashes += 1;
        self.host.crash();
        for (conn, link) in std::mem::take(&mut self.links) {
            let client = self.clients.get_mut(link.client).filter(|client| client.conn == Some(conn));
            client.into_iter().for_each(Client::disconnect);
        }
        let down_ms = self.rng.between(0, 2_000);
        self.queue_in(down_ms, Due::Start);
    }

    fn start(&mut self) {
        self.note(|| "the process starts".into());
        // A process that cannot read its rows does not start; it is the supervisor's to try again.
        self.host.store.heal();
        let started = self.host.start();
        self.sane(started);
        for index in 0..self.clients.len() {
            if self.rng.chance(50) {
                self.connect(index);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let life = self.host.life;
        match effect {
            Effect::Send { to, frame } => {
                if let Some(link) = self.links.get_mut(&to).filter(|link| !link.is_cut) {
                    let at = link.down(self.now, &mut self.wire);
                    self.enqueue(at, Due::Down { conn: to, frame });
                }
            }
            Effect::Wake { place, at } => self.enqueue(at.0.max(self.now), Due::Wake { place, life }),
            Effect::Ask { room, run } => self.ask(&room, run),
            Effect::Said { room, ask } => {
                let look_up_ms = self.wire.between(1, 300);
                self.queue_in(look_up_ms, Due::Said { room, ask, life });
            }
            Effect::Relay { from, to, input, kept } => {
                // One at a time and in order, as an object's outbox sends them.
                let last = self.relays.get(&from).copied().unwrap_or_default();
                let at = last.max(self.now + self.wire.between(1, 40));
                self.relays.insert(from, at);
                self.enqueue(at, Due::Relayed { to, input: *input, kept, life });
            }
            Effect::Sync => {
                let sync_ms = self.wire.between(1, 15);
                self.queue_in(sync_ms, Due::Synced { life });
            }
            Effect::Close(conn) => {
                if let Some(link) = self.links.remove(&conn) {
                    self.hang_up(link.client);
                }
            }
            Effect::Note(what) => self.note(|| what),
            Effect::Unreadable => self.checks.fail(Checker::Sanity, "an event that no client can read"),
        }
    }

    fn ask(&mut self, room: &RoomId, run: RunId) {
        self.tally.asked += 1;
        self.checks.answers.ask(run.0);
        let (life, mut at) = (self.host.life, self.now);
        let talks_on = self.wire.chance(30);
        for (wait_ms, event) in model::script(run.0, &mut self.wire) {
            at += wait_ms;
            self.enqueue(at, Due::Says { room: room.clone(), run, event, life, talks_on });
        }
    }

    fn sane(&mut self, done: Result<(), weeziq_core::store::SqlError>) {
        if let Err(error) = done {
            self.checks.fail(Checker::Sanity, error.to_string());
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        self.trace.note(self.now - START_MS, 0, || format!("-- {}", line()));
    }

    fn queue_in(&mut self, ms: i64, due: Due) {
        self.enqueue(self.now + ms, due);
    }

    fn enqueue(&mut self, at: i64, due: Due) {
        self.queued += 1;
        self.queue.insert((at, self.queued), due);
    }
}

impl Flavour {
    /// A process takes what arrives close together in one turn.
    fn turn_at(self, at: i64) -> i64 {
        match self {
            Self::Process { .. } => (at + TURN_MS - 1) / TURN_MS * TURN_MS,
            Self::Objects => at,
        }
    }
}
