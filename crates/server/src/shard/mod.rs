//! One thread that owns a part of everything: rooms, domains, the SQLite file they are kept in and the sockets of
//! those who are in them.
//!
//! It works in turns: read what has arrived, handle each input, commit once, and only then let the outputs out
//! ([`gate`]). Nothing is seen before it is stored, and a busy shard shares one commit and one write per member
//! among everything that arrived together.

pub(crate) mod arrivals;
mod audience;
mod backlog;
mod clock;
mod conn;
mod deliver;
mod dialect;
mod dispatch;
mod domains;
pub(crate) mod engine;
mod flush;
mod gate;
mod intake;
pub(crate) mod mailbox;
pub(crate) mod measure;
pub(crate) mod polling;
mod questions;
pub(crate) mod recovery;
mod rights;
mod rooms;
mod search;
mod stopping;
mod stream;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token};
use slab::Slab;
use tokio::task::AbortHandle;
use weeziq_core::access::rate::Quota;
use weeziq_core::access::token::Key;
use weeziq_core::ids::{ConnId, DomainId, RoomId, RunId, UserId};
use weeziq_core::inbox::Listing;
use weeziq_core::limits::RECOVERY_MS;
use weeziq_core::protocol::command::Request;
use weeziq_core::rooms::{Farewell, RoomInput, rooms_unanswered};
use weeziq_core::store::conversations::rooms_with_unfinished;
use weeziq_core::store::files as file_rows;
use weeziq_core::store::recovery as recovery_rows;
use weeziq_core::store::{Part, SqlError};
use weeziq_core::time::UnixMs;
use weeziq_core::{Context, Policy};

use crate::ai::Asker;
use crate::ai::limiter::{AddressLimiter, Limiter};
use crate::check;
use crate::domains::Domains;
use crate::http::App;
use crate::metrics::count;
use crate::proven::Proven;
use crate::settings::Durability;
use crate::store::{Store, log_path, unusable};
use arrivals::{Entrance, Silent};
use audience::Frames;
use clock::Clock;
pub(crate) use clock::wall_clock;
use conn::{Conn, Link, Socket};
use dialect::Dialect;
use domains::DomainSlot;
use gate::{Gate, Passed};
use mailbox::{Inbox, Kept, Mailbox, Message, Shards};
use recovery::Asked;
use rooms::{Pending, RoomSlot, Timer};
use search::SEARCH_TICK;

/// What all shards share.
pub(crate) struct Environment {
    pub(crate) policy: Policy,
    pub(crate) events: Quota,
    pub(crate) durability: Durability,
    pub(crate) asker: Asker,
    pub(crate) domains: Arc<Domains>,
    pub(crate) addresses: Arc<AddressLimiter>,
    /// AI requests of subjects of tokens.
    pub(crate) subjects: Limiter<UserId>,
    /// What tokens are held against; None is open mode.
    pub(crate) key: Option<Arc<Key>>,
    pub(crate) proven: Proven,
}

pub(crate) struct Shard {
    index: usize,
    app: App,
    shards: Shards,
    environment: Arc<Environment>,
    entrance: Entrance,
    silent: Silent,
    inbox: Inbox,
    poll: Poll,
    store: Store,
    database: PathBuf,
    gate: Gate,
    clock: Clock,
    now: UnixMs,
    entropy: u64,

    conns: Slab<Conn>,
    next_generation: u32,
    /// Connections that watch visitors.
    observers: BTreeSet<usize>,
    /// Closed by us; the peer has until then to hang up.
    closing: Vec<ConnId>,
    /// Sockets that had more to say than one turn takes.
    ready: Vec<usize>,
    /// Whether the inbox had.
    has_mail: bool,
    /// Those whose large replies have to wait for the replies of others, and what they asked for.
    deferred: VecDeque<(ConnId, Request)>,
    /// Clients that come back, and have to wait in the same way.
    recalled: VecDeque<Arc<Asked>>,
    /// How many were taken in this turn, and whether more of them wait to be read than memory is meant for.
    large_in_turn: usize,
    is_laden: bool,
    /// What waited to be read when that was last counted, and how much was asked for since.
    asked_bytes: usize,
    asked_bytes_since: usize,
    tick_at: UnixMs,
    ticks: usize,

    rooms: Slab<RoomSlot>,
    room_slots: HashMap<RoomId, usize>,
    domains: Slab<DomainSlot>,
    domain_slots: HashMap<DomainId, usize>,
    timers: BinaryHeap<Reverse<(UnixMs, Timer)>>,
    /// Rooms and domains that may leave memory, oldest first.
    idle: VecDeque<(UnixMs, Timer)>,
    /// Answers that are being written.
    runs: HashMap<RunId, (RoomId, AbortHandle)>,
    /// What rooms of this shard have to hear in the same transaction.
    relays: VecDeque<(RoomId, RoomInput, Option<Kept>)>,
    /// What domains of this shard have to hear of their rooms in it.
    listings: VecDeque<Box<Listing>>,
    /// What the open transaction holds, should it fail.
    pending: Pending,
    /// When to look for what other rooms have not taken yet.
    outbox_at: Option<UnixMs>,

    dirty_rooms: Vec<usize>,
    dirty_conns: Vec<usize>,
    read_buffer: Vec<u8>,
    scratch: Vec<u8>,
    frame_buffers: Vec<Vec<u8>>,
    stopping: Option<UnixMs>,
    has_drained: bool,
    rounds_after_drain: u32,
    /// Since the last commit that kept something, one has failed.
    is_failing: bool,
    is_ending_turn: bool,
    /// When a failing store may be complained of again.
    complain_at: UnixMs,
}

const WAKER: Token = Token(usize::MAX);
const LISTENER: Token = Token(usize::MAX - 1);
const EVENTS_PER_TURN: usize = 1024;
/// So many newcomers, among others, have their turn before those who are here have theirs again.
const MESSAGES_PER_TURN: usize = 256;
/// What is asked for and not read yet may take so much memory in all; beyond it, large replies are made one at a time.
const ASKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Large replies of one turn: the first of them leave before the last are put together.
const LARGE_PER_TURN: usize = 32;
const LADEN_PATIENCE_MS: i64 = 20;
/// One read; also what one connection may bring in a turn before the others have theirs.
const READ_BYTES: usize = 64 * 1024;
const TICK_MS: i64 = 1_000;
/// The log is begun anew, on the hot path, when checkpoints beside it have not managed to.
const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What a shard is made from, on the thread that starts it, so that a bad start is told before anything listens.
pub(crate) struct Foundation {
    pub(crate) mailbox: Mailbox,
    inbox: Inbox,
    poll: Poll,
    store: Store,
    pub(crate) database: PathBuf,
}

impl Foundation {
    pub(crate) fn lay(database: PathBuf) -> Result<Self, String> {
        check::at_start(&database)?;
        let poll = Poll::new().map_err(|error| format!("epoll is not available: {error}"))?;
        let waker = mio::Waker::new(poll.registry(), WAKER).map_err(|error| format!("no waker: {error}"))?;
        let (mailbox, inbox) = Mailbox::new(waker);
        let mut store = Store::open(&database).map_err(|error| unusable(&database, &error))?;
        weeziq_core::store::open(&mut store, &[Part::Rooms, Part::Visitors])
            .and_then(|()| recovery_rows::open(&mut store))
            .and_then(|()| weeziq_core::store::search::open(&mut store))
            .and_then(|()| file_rows::open(&mut store))
            .and_then(|()| recovery_rows::part_all(&mut store, wall_clock().plus(RECOVERY_MS)))
            .and_then(|()| store.commit())
            .map_err(|error| unusable(&database, &error))?;
        Ok(Self { mailbox, inbox, poll, store, database })
    }
}

impl Shard {
    pub(crate) fn new(
        index: usize,
        foundation: Foundation,
        app: App,
        mut entrance: Entrance,
    ) -> Result<Self, SqlError> {
        let Foundation { mailbox, inbox, poll, store, database } = foundation;
        let now = wall_clock();
        entrance.watch(&poll).map_err(|error| SqlError(error.to_string()))?;
        let App { shards, environment, .. } = app.clone();
        let mut shard = Self {
            index,
            app,
            entrance,
            silent: Silent::default(),
            gate: Gate::new(environment.durability, &database, mailbox)?,
            shards,
            environment,
            inbox,
            poll,
            store,
            database,
            clock: Clock::new(now),
            now,
            entropy: getrandom::u64().map_err(|error| SqlError(error.to_string()))?,
            conns: Slab::new(),
            next_generation: 0,
            observers: BTreeSet::new(),
            closing: Vec::new(),
            ready: Vec::new(),
            has_mail: false,
            deferred: VecDeque::new(),
            recalled: VecDeque::new(),
            large_in_turn: 0,
            is_laden: false,
            asked_bytes: 0,
            asked_bytes_since: 0,
            tick_at: now.plus(TICK_MS),
            ticks: 0,
            rooms: Slab::new(),
            room_slots: HashMap::new(),
            domains: Slab::new(),
            domain_slots: HashMap::new(),
            timers: BinaryHeap::new(),
            idle: VecDeque::new(),
            runs: HashMap::new(),
            relays: VecDeque::new(),
            listings: VecDeque::new(),
            pending: Pending::default(),
            outbox_at: Some(now),
            dirty_rooms: Vec::new(),
            dirty_conns: Vec::new(),
            read_buffer: vec![0; READ_BYTES],
            scratch: Vec::new(),
            frame_buffers: Vec::new(),
            stopping: None,
            has_drained: false,
            rounds_after_drain: 0,
            is_failing: false,
            is_ending_turn: false,
            complain_at: now,
        };
        shard.wake_present_domains()?;
        shard.wake_answers()?;
        Ok(shard)
    }

    /// Answers that the last process was writing end now, and not when somebody comes back to them; and what it did not come
    /// to ask is asked.
    fn wake_answers(&mut self) -> Result<(), SqlError> {
        for room in rooms_with_unfinished(&mut self.store)? {
            self.tell_room(room, RoomInput::Alarm);
        }
        for (room, domain) in rooms_unanswered(&mut self.store, self.now)? {
            if self.environment.domains.of(Some(&domain)).ai.auto_reply {
                self.tell_room(room, RoomInput::Alarm);
            }
        }
        Ok(())
    }

    /// Runs until told to stop and everyone has been let go.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut messages = Vec::new();
        while !self.is_done() {
            if let Err(error) = self.poll.poll(&mut events, Some(self.patience()))
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "epoll failed; the shard stops");
                return;
            }
            let began = Instant::now();
            self.now = self.now.max(self.clock.now());
            self.turn(&events, &mut messages);
            count(|counters| {
                counters.turns += 1;
                counters.busy += began.elapsed();
            });
        }
    }

    fn turn(&mut self, events: &Events, messages: &mut Vec<Message>) {
        self.take_deferred();
        for slot in std::mem::take(&mut self.ready) {
            self.read(slot);
        }
        for event in events {
            match event.token() {
                WAKER => {}
                LISTENER => self.silent.is_due(),
                Token(slot) => self.take_event(slot, event),
            }
        }
        self.accept_if_due();
        self.has_mail = self.inbox.take(MESSAGES_PER_TURN, messages);
        messages.drain(..).for_each(|message| self.take_message(message));
        self.fire_timers();
        if self.now >= self.tick_at {
            self.tick();
        }
        self.end_turn();
    }

    fn take_event(&mut self, slot: usize, event: &Event) {
        if event.is_writable() {
            self.mark_if_blocked(slot);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(slot);
        }
        if event.is_read_closed() {
            // The end came with data, in one edge: the read that sees it is still to come.
            self.ready.push(slot);
        }
    }

    /// Commits, releases, delivers; again while what is released brings new inputs.
    fn end_turn(&mut self) {
        self.is_ending_turn = true;
        loop {
            let wrote = self.store.wrote();
            let passed = self.gate.pass(&mut self.store);
            self.is_failing &= !wrote || matches!(passed, Ok(Passed::Waiting));
            match passed {
                Ok(Passed::Released(outputs)) => {
                    self.pending.clear();
                    outputs.into_iter().for_each(|held| self.carry_out(held));
                }
                Ok(Passed::Committed) => self.pending.clear(),
                Ok(Passed::Waiting) => {}
                Err(error) => self.fail(&error),
            }
            self.flush();
            if self.gate.open.is_empty() || self.gate.is_syncing() {
                self.is_ending_turn = false;
                return;
            }
        }
    }

    fn take_message(&mut self, message: Message) {
        match message {
            Message::Arrived(arrived) => self.arrive(*arrived),
            Message::Adopt(newcomer) => self.adopt(*newcomer),
            Message::Polling(request) => self.take_polling(request),
            Message::Keep(keep) => self.take_keep(*keep),
            Message::Recovery(recovery) => self.take_recovery(*recovery),
            Message::Request { command, identity, socket, events } => {
                self.take_request(command, (identity, socket), events);
            }
            Message::Room { room, input, kept } => self.tell_room_kept(room, input, kept),
            Message::Taken { row } => self.forget_kept(row),
            Message::Visitors { domain, input, kept } => self.tell_visitors_kept(domain, input, kept),
            Message::Reply { to, reply_to, event } => self.reply(to, reply_to.as_deref(), event),
            Message::Notice { to, event } => self.notice(&to, &event),
            Message::Frames { to, frames, volatile } => {
                let shared = RefCell::new(frames.clone());
                self.deliver_remote(&to, Frames::of(&frames, &volatile, &shared));
            }
            Message::Observed { domain, frame } => self.show_observers(domain.as_ref(), &frame),
            Message::Summarise(gathering) => self.summarise(&gathering),
            Message::Rows(rows) => self.work(rows),
            Message::Synced(synced) => self.synced(synced),
            Message::Ready(answer) => self.tell_ready(answer),
            Message::Measure(measurement) => self.measure(measurement),
            Message::Locate(question) => self.locate(question),
            Message::Stop => self.stop(),
        }
    }

    fn synced(&mut self, synced: Result<(), SqlError>) {
        if let Err(error) = synced {
            // After a failed fsync the kernel may have dropped the pages: nothing that is in memory can be trusted
            // to be on disk, so the only honest way on is a restart, which reads what is there.
            tracing::error!(%error, "the disk refused a sync; stopping at once so that nothing is claimed that is not stored");
            std::process::exit(1);
        }
        let outputs = self.gate.synced();
        outputs.into_iter().for_each(|held| self.carry_out(held));
    }

    fn context(&mut self) -> (UnixMs, u64) {
        // SplitMix64 (Steele, Lea, Flood 2014): unique, which is all that names need.
        self.entropy = self.entropy.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.entropy;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (self.now, mixed ^ (mixed >> 31))
    }

    /// How long nothing can be due.
    fn patience(&self) -> Duration {
        let is_deferring = !self.deferred.is_empty() || !self.recalled.is_empty();
        if self.has_mail || !self.ready.is_empty() || (is_deferring && !self.is_laden) {
            return Duration::ZERO;
        }
        if self.stopping.is_some() {
            return STOPPING_PATIENCE;
        }
        if let Some(gathered) = self.gathered_at() {
            return gathered.saturating_duration_since(Instant::now());
        }
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let due = [timer, self.accepts_again_at()].into_iter().flatten().fold(self.tick_at, UnixMs::min);
        let due = if is_deferring { due.min(self.now.plus(LADEN_PATIENCE_MS)) } else { due };
        Duration::from_millis(due.since(self.clock.now()).clamp(0, TICK_MS) as u64)
    }

    fn tick(&mut self) {
        self.tick_at = self.now.plus(TICK_MS);
        self.ticks += 1;
        self.clock.follow(wall_clock());
        self.keep_alive();
        self.drop_unresponsive();
        self.drop_silent();
        self.retry_farewells();
        if self.ticks.is_multiple_of(SWEEP_TICKS) {
            self.sweep_recovery();
        }
        self.empty_outbox();
        self.follow_log(SEARCH_TICK);
        self.evict_idle();
        let is_long = std::fs::metadata(log_path(&self.database)).is_ok_and(|log| log.len() > LOG_BYTES_MAX);
        if is_long && !self.gate.is_syncing() {
            self.end_turn();
            if let Err(error) = self.store.restart_log() {
                tracing::warn!(%error, "the log cannot be begun anew");
            }
        }
    }

    /// Pings each socket every so often, and lets go of those from which nothing comes any more. A part of them at
    /// each tick, so that no tick is long.
    fn keep_alive(&mut self) {
        let (mut gone, mut slow) = (Vec::new(), Vec::new());
        for slot in (self.ticks % SWEEP_TICKS..self.conns.capacity()).step_by(SWEEP_TICKS) {
            let Some(conn) = self.conns.get_mut(slot) else {
                continue;
            };
            let Link::Socket(socket) = &mut conn.link else {
                continue;
            };
            let dialect = conn.engine.as_ref().map_or(Dialect::Plain, |_| Dialect::SocketIo);
            let (silent_ms, is_offer) =
                (self.now.since(socket.heard_at), conn.engine.as_ref().is_some_and(|e| e.is_offer()));
            if silent_ms >= dialect.silence_ms_max()
                || conn.engine.as_ref().is_some_and(|e| e.is_overdue(self.now))
            {
                gone.push(slot);
            } else if socket.is_out_of_pace(self.now) {
                slow.push(slot);
            } else if !is_offer && socket.ping_if_due(dialect, self.now) {
                self.dirty_conns.push(slot);
            }
        }
        for slot in slow {
            self.begin_closing(slot);
        }
        for slot in gone {
            self.part(slot, Farewell::Died);
            self.drop_conn(slot);
        }
    }

    fn drop_unresponsive(&mut self) {
        let now = self.now;
        for id in std::mem::take(&mut self.closing) {
            let Some(slot) = self.local(id) else { continue };
            let deadline = self.conns.get(slot).and_then(Conn::closing_until);
            if deadline.is_some_and(|until| until <= now) {
                self.part(slot, Farewell::Died);
                self.drop_conn(slot);
            } else {
                self.closing.push(id);
            }
        }
    }

    /// The slot of a connection, if it is ours and still the same.
    fn local(&self, id: ConnId) -> Option<usize> {
        let (shard, generation, slot) = split(id);
        let conn = self.conns.get(slot).filter(|conn| conn.generation == generation)?;
        (shard == self.index).then_some(conn).map(|_| slot)
    }

    fn id_of(&self, slot: usize) -> Option<ConnId> {
        let conn = self.conns.get(slot)?;
        Some(conn.dialect().mark(join(self.index, conn.generation, slot)))
    }

    fn socket(&mut self, slot: usize) -> Option<&mut Socket> {
        match &mut self.conns.get_mut(slot)?.link {
            Link::Socket(socket) => Some(socket),
            Link::Request(_) | Link::Arrived(_) | Link::Gone => None,
        }
    }
}

const STOPPING_PATIENCE: Duration = Duration::from_millis(5);
/// A keep-alive sweep takes so many ticks.
const SWEEP_TICKS: usize = 5;

/// A connection id: a bit of dialect, 7 of shard, 24 of generation, 32 of slot.
fn join(shard: usize, generation: u32, slot: usize) -> ConnId {
    ConnId(((shard as u64) << 56) | (u64::from(generation & 0x00FF_FFFF) << 32) | (slot as u64 & 0xFFFF_FFFF))
}

fn split(ConnId(id): ConnId) -> (usize, u32, usize) {
    ((id >> 56) as usize & 0x7F, ((id >> 32) & 0x00FF_FFFF) as u32, (id & 0xFFFF_FFFF) as usize)
}

fn context_of<'a>(policy: &'a Policy, (now, entropy): (UnixMs, u64)) -> Context<'a> {
    Context { now, entropy, policy }
}
