//! A host as the core meets one, without sockets and threads: it parses, takes turns, commits, and lets outputs out
//! only then. It does what the native host does, or what a Durable Object does, by its [`Flavour`].

mod loss;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use weeziq_core::access::identity::Identity;
use weeziq_core::access::rate::Quota;
use weeziq_core::ai::model::ModelEvent;
use weeziq_core::ai::models::Models;
use weeziq_core::ids::{ConnId, DomainId, RoomId, RunId, SocketId, VisitorId};
use weeziq_core::protocol::command::{Ask, Command, Request, VisitorsCommand};
use weeziq_core::protocol::event::Event;
use weeziq_core::rooms::{Farewell, Member, Room, RoomInput, Spoken};
use weeziq_core::session::{Received, Session};
use weeziq_core::store::{
    SqlError,
    outbox::{self, Word},
};
use weeziq_core::time::UnixMs;
use weeziq_core::visitors::{Via, Visitors, VisitorsInput};
use weeziq_core::{Caller, Context, Output, Policy};

use crate::frame::{Frame, Heard};
use crate::gate::{Gate, Held, Parting, Pending, Source};
use crate::rng::Rng;
use crate::store::Store;

/// Which host is modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// One transaction for all that arrives together; words for other rooms are inputs of the next one.
    Process {
        /// Outputs also wait for the disk, while the next transaction goes on.
        syncs: bool,
    },
    /// Each input is a transaction; memory may go at any time; words for other rooms travel.
    Objects,
}

/// Where the process dies in its next turn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Death {
    BeforeCommit,
    BeforeRelease,
}

/// Something to look at later.
#[derive(Clone)]
pub(crate) enum Place {
    Room(RoomId),
    Domain(DomainId),
}

/// What the world has to do for the host.
pub(crate) enum Effect {
    Send {
        to: ConnId,
        frame: Frame,
    },
    Wake {
        place: Place,
        at: UnixMs,
    },
    Ask {
        room: RoomId,
        run: RunId,
    },
    /// To be asked of a room, once it is known what its domain wants.
    Said {
        room: RoomId,
        ask: Box<(Caller, Ask)>,
    },
    Relay {
        from: RoomId,
        to: RoomId,
        input: Box<RoomInput>,
        kept: Option<i64>,
    },
    Sync,
    /// A connection has been refused too often.
    Close(ConnId),
    /// The core wrote what no client can read.
    Unreadable,
    /// For whoever reads the trace.
    Note(String),
}

pub(crate) struct Host {
    pub(crate) flavour: Flavour,
    policy: Policy,
    rng: Rng,
    pub(crate) now: UnixMs,
    pub(crate) store: Store,
    conns: BTreeMap<ConnId, Conn>,
    rooms: BTreeMap<RoomId, RoomSlot>,
    domains: BTreeMap<DomainId, DomainSlot>,
    /// Answers that are being written, and where.
    runs: BTreeMap<u64, RoomId>,
    gate: Gate,
    /// What rooms of this process have to hear in the same transaction.
    relays: VecDeque<(RoomId, RoomInput, Option<i64>)>,
    pending: Pending,
    pub(crate) effects: Vec<Effect>,
    pub(crate) dies: Option<Death>,
    pub(crate) is_dead: bool,
    /// How often memory was lost: what belonged to an earlier life is stale.
    pub(crate) life: u32,
    /// The most rooms that one connection was ever in.
    pub(crate) rooms_of_one_max: usize,
    pub(crate) failed_turns: u64,
}

struct Conn {
    session: Session,
    rooms: BTreeSet<RoomId>,
}

#[derive(Default)]
struct RoomSlot {
    room: Option<Room>,
    /// Whom the host was told to admit, and as whom.
    seats: BTreeMap<ConnId, Arc<Member>>,
    /// The answers whose end their askers know of, though it is not stored.
    told: Vec<Spoken>,
}

#[derive(Default)]
struct DomainSlot {
    visitors: Option<Visitors>,
    claims: BTreeSet<(ConnId, VisitorId)>,
}

/// The domain whose AI does.
pub(crate) const ANSWERS_BY_ITSELF: &str = "shop-1";
const EVENTS: Quota = Quota::per_second(50, 100);

impl Host {
    pub(crate) fn new(flavour: Flavour, rng: Rng, now: UnixMs) -> Result<Self, SqlError> {
        let models = Models::new(Some("gpt-4o"), true, true);
        Ok(Self {
            flavour,
            policy: Policy { models, context_messages: 10, ai_per_user: Quota::per_minute(20) },
            rng,
            now,
            store: Store::new()?,
            conns: BTreeMap::new(),
            rooms: BTreeMap::new(),
            domains: BTreeMap::new(),
            runs: BTreeMap::new(),
            gate: Gate::default(),
            relays: VecDeque::new(),
            pending: Pending::default(),
            effects: Vec::new(),
            dies: None,
            is_dead: false,
            life: 0,
            rooms_of_one_max: 0,
            failed_turns: 0,
        })
    }

    pub(crate) fn connect(&mut self, conn: ConnId) {
        let entropy = u128::from(self.rng.next()) << 64 | u128::from(self.rng.next());
        let session = Session::new(SocketId::from_entropy(entropy), None);
        self.conns.insert(conn, Conn { session, rooms: BTreeSet::new() });
    }

    pub(crate) fn receive(&mut self, id: ConnId, frame: &str) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let socket = conn.session.socket;
        match conn.session.receive(self.now, frame, EVENTS) {
            Received::Request(request) => self.dispatch(id, socket, request),
            // Nobody has a token here, so none expires.
            Received::Refused(refusal) | Received::Expired(refusal) => {
                let caller =
                    Caller { conn: id, socket, reply_to: refusal.reply_to, identity: Identity::Open };
                self.answer(&caller, Event::error(&refusal.error, self.now));
                self.settle();
            }
            Received::Abusive => {
                self.effects.push(Effect::Close(id));
                self.part(id, Farewell::Died);
            }
        }
    }

    fn dispatch(&mut self, conn: ConnId, socket: SocketId, request: Request) {
        let from = Caller { conn, socket, reply_to: request.reply_to, identity: Identity::Open };
        match request.command {
            Command::Ping | Command::AllDomainStats | Command::Search(_) => self.answer(&from, Event::Pong),
            Command::Room(room, command) => self.tell_room(&room, RoomInput::Command { from, command }),
            Command::Desk(room, command) => self.tell_room(&room, RoomInput::Desk { from, command }),
            Command::Visitors(domain, command) => {
                let via = Via::Connection { user_agent: None };
                self.tell_domain(&domain, VisitorsInput::Command { from, via, command });
            }
            Command::Ask(conversation, ask) => {
                let own = || RoomId::of_visitor("connection", socket.as_str());
                let room = conversation.unwrap_or_else(own);
                self.ask(&room, from, ask);
            }
        }
    }

    pub(crate) fn ask(&mut self, conversation: &RoomId, from: Caller, ask: Ask) {
        self.tell_room(conversation, RoomInput::Ask { from, ask, briefing: Box::default() });
    }

    /// A connection is gone; everything that it was in learns of it.
    pub(crate) fn part(&mut self, conn: ConnId, how: Farewell) {
        let Some(Conn { mut session, .. }) = self.conns.remove(&conn) else { return };
        for room in session.take_rooms() {
            self.tell_room(&room, RoomInput::Disconnected { conn, how });
        }
        for (domain, visitor) in session.take_visits() {
            self.tell_domain(&domain, VisitorsInput::Disconnected { conn, visitor });
        }
    }

    pub(crate) fn alarm(&mut self, place: Place) {
        match place {
            Place::Room(room) => self.tell_room(&room, RoomInput::Alarm),
            Place::Domain(domain) => self.tell_domain(&domain, VisitorsInput::Alarm),
        }
    }

    pub(crate) fn model_says(&mut self, room: &RoomId, run: RunId, event: ModelEvent) {
        if event.is_terminal() {
            self.runs.remove(&run.0);
        }
        self.tell_room(room, RoomInput::Model { run, event });
    }

    /// Whether the host still reads this model's stream.
    pub(crate) fn is_listening(&self, run: RunId) -> bool {
        self.runs.contains_key(&run.0)
    }

    /// Every second: partings of failed turns again, and empty rooms out of memory.
    pub(crate) fn tick(&mut self) {
        for parting in std::mem::take(&mut self.pending.retried) {
            match parting {
                Parting::Room { room, conn, how } => {
                    // Whoever left and has joined again meanwhile is not to be parted.
                    let is_back = self.conns.get(&conn).is_some_and(|known| known.session.is_in(&room));
                    if !is_back {
                        self.tell_room(&room, RoomInput::Disconnected { conn, how });
                    }
                }
                Parting::Domain { domain, conn, visitor } => {
                    let claim = (conn, visitor);
                    let is_back = self.domains.get(&domain).is_some_and(|slot| slot.claims.contains(&claim));
                    if !is_back {
                        let (conn, visitor) = claim;
                        self.tell_domain(&domain, VisitorsInput::Disconnected { conn, visitor });
                    }
                }
            }
        }
        if std::mem::take(&mut self.pending.is_outbox_due)
            && let Err(error) = self.empty_outbox()
        {
            self.fail(&error);
        }
        self.end_turn();
        for slot in self.rooms.values_mut().filter(|slot| slot.seats.is_empty()) {
            slot.room.take_if(|room| room.is_vacant());
        }
    }

    pub(crate) fn tell_room(&mut self, id: &RoomId, input: RoomInput) {
        if self.is_dead {
            return;
        }
        self.tell_room_kept(id, input, None);
    }

    fn handle_room(&mut self, id: &RoomId, input: RoomInput) -> Result<(), SqlError> {
        self.open_room(id)?;
        let entropy = self.rng.next();
        let Some(room) = self.rooms.get_mut(id).and_then(|slot| slot.room.as_mut()) else { return Ok(()) };
        let cx = Context { now: self.now, entropy, policy: &self.policy };
        let mut outputs = Vec::new();
        room.handle(cx, input, &mut self.store, &mut outputs)?;
        self.hold_of_room(id, outputs);
        Ok(())
    }

    /// What rooms of one process say to each other is part of the same transaction.
    fn hold_of_room(&mut self, from: &RoomId, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Relay { room, input, kept } if self.flavour != Flavour::Objects => {
                    self.relays.push_back((room, *input, kept));
                }
                output => self.hold(&Source::Room(from.clone()), vec![output]),
            }
        }
    }

    /// From its rows, and from those whom the host has admitted or will when the gate opens.
    fn open_room(&mut self, id: &RoomId) -> Result<(), SqlError> {
        let slot = self.rooms.entry(id.clone()).or_default();
        if slot.room.is_some() {
            return Ok(());
        }
        let mut members = slot.seats.clone();
        let own = Source::Room(id.clone());
        for held in self.gate.syncing.iter().flatten().filter(|held| held.source == own) {
            match &held.output {
                Output::Admit { conn, member } => drop(members.insert(*conn, member.clone())),
                Output::Dismiss { conn } => drop(members.remove(conn)),
                _ => {}
            }
        }
        let mut room = Room::open(id.clone(), members.into_iter().map(as_kept), &mut self.store)?;
        let mut outputs = Vec::new();
        let cx = Context { now: self.now, entropy: self.rng.next(), policy: &self.policy };
        let told = std::mem::take(&mut slot.told);
        self.pending.told.extend(told.iter().map(|spoken| (id.clone(), spoken.clone())));
        room.handle(cx, RoomInput::Awoken { told }, &mut self.store, &mut outputs)?;
        slot.room = Some(room);
        self.hold_of_room(id, outputs);
        Ok(())
    }

    fn tell_domain(&mut self, id: &DomainId, input: VisitorsInput) {
        if self.is_dead {
            return;
        }
        self.pending.note_domain(id, &input);
        self.domains.entry(id.clone()).or_default().note_claim(&input);
        if let Err(error) = self.handle_domain(id, input) {
            self.fail(&error);
        }
        self.settle();
    }

    fn handle_domain(&mut self, id: &DomainId, input: VisitorsInput) -> Result<(), SqlError> {
        let entropy = self.rng.next();
        let slot = self.domains.entry(id.clone()).or_default();
        let visitors = match &mut slot.visitors {
            Some(visitors) => visitors,
            empty => {
                let claims = slot.claims.iter().cloned();
                empty.insert(Visitors::open(id.clone(), claims, self.now, &mut self.store)?)
            }
        };
        let cx = Context { now: self.now, entropy, policy: &self.policy };
        let mut outputs = Vec::new();
        visitors.handle(cx, input, &mut self.store, &mut outputs)?;
        self.hold(&Source::Domain(id.clone()), outputs);
        Ok(())
    }

    fn hold(&mut self, source: &Source, outputs: Vec<Output>) {
        let held = |output| Held { source: source.clone(), output };
        self.gate.open.extend(outputs.into_iter().map(held));
    }

    fn answer(&mut self, to: &Caller, event: Event) {
        let output = Output::Reply { to: to.conn, reply_to: to.reply_to.clone(), event };
        self.gate.open.push(Held { source: Source::Host, output });
    }

    /// An object's turn ends with its input.
    fn settle(&mut self) {
        if self.flavour == Flavour::Objects {
            self.end_turn();
        }
    }

    /// Commits and releases; again while what is released brings new inputs.
    pub(crate) fn end_turn(&mut self) {
        while !self.is_dead && self.gate.syncing.is_none() {
            if matches!(self.dies, Some(Death::BeforeCommit)) {
                self.is_dead = true;
                return;
            }
            match self.store.commit() {
                Ok(()) => self.release(),
                Err(error) => self.fail(&error),
            }
            if self.gate.open.is_empty() {
                return;
            }
        }
    }

    /// What was committed may be seen, or has to wait for the disk.
    fn release(&mut self) {
        self.pending.clear();
        if matches!(self.dies, Some(Death::BeforeRelease)) {
            self.is_dead = true;
            return;
        }
        let released = std::mem::take(&mut self.gate.open);
        if self.flavour == (Flavour::Process { syncs: true }) && !released.is_empty() {
            self.gate.syncing = Some(released);
            self.effects.push(Effect::Sync);
        } else {
            self.let_out(released);
        }
    }

    /// The disk has what was committed.
    pub(crate) fn synced(&mut self) {
        let released = self.gate.syncing.take().unwrap_or_default();
        self.let_out(released);
    }

    /// What a room says to itself is another turn: what this one has to tell is told before.
    fn let_out(&mut self, released: Vec<Held>) {
        let is_own = |held: &Held| match (&held.output, &held.source) {
            (Output::Relay { room, .. }, Source::Room(from)) => room == from,
            _ => false,
        };
        let (own, told): (Vec<_>, Vec<_>) = released.into_iter().partition(is_own);
        told.into_iter().chain(own).for_each(|held| self.carry_out(held));
    }

    fn carry_out(&mut self, Held { source, output }: Held) {
        match (output, source) {
            (Output::Reply { to, reply_to, mut event }, _) => {
                let fence = self.conns.get_mut(&to).map(|known| &mut known.session.fence);
                if fence.is_none_or(|fence| fence.passes(&mut event)) {
                    self.send(to, reply_to, Heard::of(&event));
                }
            }
            (Output::TellObservers { event, .. }, _) => self.tell_observers(&event),
            (Output::List(listing), _) => {
                let domain = listing.domain.clone();
                self.tell_domain(&domain, VisitorsInput::Listed(listing));
            }
            (Output::CancelModel { run }, _) => drop(self.runs.remove(&run.0)),
            (Output::WakeAt(at), Source::Room(room)) => self.wake(Place::Room(room), at),
            (Output::WakeAt(at), Source::Domain(domain)) => self.wake(Place::Domain(domain), at),
            (Output::Relay { room, input, kept }, Source::Room(from)) => {
                self.relay(from, room, *input, kept);
            }
            (output, Source::Room(room)) => self.carry_out_in_room(room, output),
            _ => {}
        }
    }

    fn carry_out_in_room(&mut self, id: RoomId, output: Output) {
        match output {
            Output::Publish { event, except } => self.publish(&id, &event, except),
            Output::Admit { conn, member } => {
                // One that died while its join waited at the gate is parted with by what comes behind.
                self.rooms.entry(id.clone()).or_default().seats.insert(conn, member);
                if let Some(known) = self.conns.get_mut(&conn) {
                    known.rooms.insert(id);
                    self.rooms_of_one_max = self.rooms_of_one_max.max(known.rooms.len());
                }
            }
            Output::Dismiss { conn } => {
                self.rooms.entry(id.clone()).or_default().seats.remove(&conn);
                self.conns.get_mut(&conn).map(|known| known.rooms.remove(&id));
            }
            // Forgotten with a failed commit since, it is ended by its room.
            Output::AskModel { run, .. } if !self.is_writing(&id, run) => {}
            Output::AskModel { run, .. } => {
                self.runs.insert(run.0, id.clone());
                self.effects.push(Effect::Ask { room: id, run });
            }
            Output::Said { domain, message } if domain.as_str() == ANSWERS_BY_ITSELF => {
                let ask = Box::new((Caller::unasked(&message), Ask::unasked(domain, &message)));
                self.effects.push(Effect::Said { room: id, ask });
            }
            _ => {}
        }
    }

    fn relay(&mut self, from: RoomId, to: RoomId, input: RoomInput, kept: Option<i64>) {
        if self.flavour == Flavour::Objects && from != to {
            self.effects.push(Effect::Relay { from, to, input: Box::new(input), kept });
        } else {
            self.tell_room_kept(&to, input, kept);
        }
    }

    fn tell_room_kept(&mut self, to: &RoomId, input: RoomInput, kept: Option<i64>) {
        if self.is_dead {
            return;
        }
        self.relays.push_back((to.clone(), input, kept));
        while let Some((room, input, kept)) = self.relays.pop_front() {
            if let Err(error) = self.take(&room, input, kept) {
                self.relays.clear();
                self.fail(&error);
            }
        }
        self.settle();
    }

    fn take(&mut self, to: &RoomId, input: RoomInput, kept: Option<i64>) -> Result<(), SqlError> {
        self.pending.note_room(to, &input);
        self.handle_room(to, input)?;
        match kept {
            // With the transaction that stores it, it is not kept any more.
            Some(row) => outbox::remove(&mut self.store, row),
            None => Ok(()),
        }
    }

    /// Another object has it.
    pub(crate) fn forget_kept(&mut self, row: i64) {
        if let Err(error) = outbox::remove(&mut self.store, row) {
            self.fail(&error);
        }
        self.settle();
    }

    /// What has not been taken is given again.
    pub(super) fn empty_outbox(&mut self) -> Result<(), SqlError> {
        for outbox::Kept { row, word } in outbox::all(&mut self.store)? {
            match word {
                // Whose words they are matters only for their order.
                Word::Post(room, post) => {
                    self.relay(post.conversation.clone(), room, RoomInput::Post(*post), Some(row));
                }
                Word::Relist(room) => self.relay(room.clone(), room, RoomInput::List, Some(row)),
                Word::Listing(_) => {} // only where a process has several stores
            }
        }
        Ok(())
    }

    fn is_writing(&self, room: &RoomId, run: RunId) -> bool {
        self.rooms.get(room).and_then(|slot| slot.room.as_ref()).is_some_and(|room| room.is_writing(run))
    }

    fn wake(&mut self, place: Place, at: UnixMs) {
        self.effects.push(Effect::Wake { place, at });
    }

    fn publish(&mut self, room: &RoomId, event: &Event, except: Option<ConnId>) {
        let Some(slot) = self.rooms.get(room).filter(|slot| !slot.seats.is_empty()) else { return };
        let heard = Heard::of(event);
        let to: Vec<ConnId> = slot.seats.keys().copied().filter(|conn| Some(*conn) != except).collect();
        for conn in to {
            if let Some(known) = self.conns.get_mut(&conn) {
                known.session.fence.notice(event);
            }
            self.send(conn, None, heard.clone());
        }
    }

    fn tell_observers(&mut self, event: &Event) {
        let heard = Heard::of(event);
        let observers = self.conns.iter().filter(|(_, conn)| conn.session.observes());
        let observers: Vec<ConnId> = observers.map(|(id, _)| *id).collect();
        for conn in observers {
            self.send(conn, None, heard.clone());
        }
    }

    fn send(&mut self, to: ConnId, reply_to: Option<Box<str>>, heard: Option<Arc<Heard>>) {
        self.effects.push(match heard {
            Some(heard) => Effect::Send { to, frame: Frame { heard, reply_to } },
            None => Effect::Unreadable,
        });
    }
}

impl DomainSlot {
    fn note_claim(&mut self, input: &VisitorsInput) {
        match input {
            VisitorsInput::Command {
                from,
                command: VisitorsCommand::Join { visitor, .. } | VisitorsCommand::Activity { visitor, .. },
                ..
            } => drop(self.claims.insert((from.conn, visitor.clone()))),
            VisitorsInput::Command { from, command: VisitorsCommand::Leave { visitor }, .. } => {
                self.claims.remove(&(from.conn, visitor.clone()));
            }
            VisitorsInput::Disconnected { conn, visitor } => {
                self.claims.remove(&(*conn, visitor.clone()));
            }
            VisitorsInput::Command { .. }
            | VisitorsInput::Listed(_)
            | VisitorsInput::Unlisted { .. }
            | VisitorsInput::Alarm => {}
        }
    }
}

/// A member as it comes back from an attachment: as JSON.
fn as_kept((conn, member): (ConnId, Arc<Member>)) -> (ConnId, Arc<Member>) {
    let kept = serde_json::to_string(&*member).ok().and_then(|json| serde_json::from_str(&json).ok());
    (conn, kept.map_or(member, Arc::new))
}
