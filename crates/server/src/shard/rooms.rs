//! The rooms of a shard: finding, opening, timing and forgetting them (`domains.rs`: its domains; `failure.rs`: what a
//! failed commit takes back).

mod failure;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use weeziq_core::ids::{ConnId, DomainId, RoomId, RunId, VisitorId};
use weeziq_core::inbox::Listing;
use weeziq_core::protocol::command::RoomCommand;
use weeziq_core::rooms::{Farewell, Member, Room, RoomInput, Spoken};
use weeziq_core::store::SqlError;
use weeziq_core::store::outbox::{self, Word};
use weeziq_core::time::UnixMs;
use weeziq_core::visitors::VisitorsInput;
use weeziq_core::{Caller, Output};

use super::audience::Audience;
use super::mailbox::{Kept, Message, Rows};
use super::{Shard, context_of};

pub(super) struct RoomSlot {
    pub(super) id: RoomId,
    generation: u32,
    /// None: to be opened from its rows at the next input.
    room: Option<Room>,
    pub(super) audience: Audience,
    /// Those who speak Socket.IO, if there ever was one.
    pub(super) socket_io: Option<Box<Audience>>,
    is_idling: bool,
    /// Its last commit failed, and a timer will look at it again.
    has_failed: bool,
    /// The answers whose end their askers know of, though it is not stored.
    told: Vec<Spoken>,
}

/// Something to look at later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Room {
        slot: usize,
        generation: u32,
    },
    Domain {
        slot: usize,
        generation: u32,
    },
    /// The token of a connection ends, unless it has been renewed.
    Token {
        conn: ConnId,
    },
}

/// Where an output came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Room(usize),
    Domain,
    /// The host itself: true whatever becomes of the transaction.
    Host,
}

/// What waits for the transaction that it speaks of.
pub(super) enum Held {
    Said {
        source: Source,
        output: Output,
    },
    /// An input from another shard's outbox has been handled.
    Taken(Kept),
    /// Whoever asked for something with rows hears that it is done.
    Done(Box<dyn FnOnce() + Send>),
    /// How a room stands, for a domain of another shard.
    Listed(Box<Listing>, Kept),
}

/// What the open transaction holds: whom to tell, what to forget and what to do again, should it fail.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) callers: Vec<Caller>,
    rooms: Vec<usize>,
    pub(super) domains: Vec<usize>,
    /// What rooms were opened with the knowledge of.
    told: Vec<(usize, Spoken)>,
    pub(super) farewells: Vec<Parting>,
    /// Connections that go on as who they were: they have to try again.
    pub(super) recovering: Vec<ConnId>,
    /// Partings of transactions that failed, until storage works again.
    retried: Vec<Parting>,
}

pub(super) enum Parting {
    /// Of a connection as it was in the room then: it may have come back since.
    Room {
        room: RoomId,
        conn: ConnId,
        how: Farewell,
        at: UnixMs,
    },
    Domain(DomainId, ConnId, VisitorId),
}

impl Pending {
    pub(super) fn clear(&mut self) {
        self.callers.clear();
        self.rooms.clear();
        self.domains.clear();
        self.told.clear();
        self.farewells.clear();
        self.recovering.clear();
    }
}

/// A disk that is full fails every turn; the log needs to hear of it now and then.
const COMPLAIN_EVERY_MS: i64 = 5_000;
/// How long a room without members stays in memory.
pub(super) const IDLE_MS: i64 = 60_000;
/// After a failed commit, what is owed is looked at again by then.
const AFTER_FAILURE_MS: i64 = 1_000;
/// What another shard was given and has not been heard of by then is given again.
pub(super) const OUTBOX_RETRY_MS: i64 = 5_000;

impl Shard {
    pub(super) fn tell_room(&mut self, id: RoomId, input: RoomInput) {
        self.tell_room_kept(id, input, None);
    }

    /// An input that its sender keeps until it is stored here.
    pub(super) fn tell_room_kept(&mut self, id: RoomId, input: RoomInput, kept: Option<Kept>) {
        let shard = self.shards.of(id.as_str());
        if shard != self.index {
            if kept.is_some() {
                self.look_into_outbox_at(self.now.plus(OUTBOX_RETRY_MS));
            }
            return self.shards.send(shard, Message::Room { room: id, input, kept });
        }
        self.pending.callers.extend(caller_of(&input));
        if let RoomInput::Recover { from, .. } = &input {
            self.pending.recovering.push(from.conn);
        }
        self.pending.farewells.extend(parting_of(&id, &input, self.now));
        if let RoomInput::Model { run, event } = &input
            && event.is_terminal()
        {
            self.runs.remove(run);
        }
        self.relays.push_back((id, input, kept));
        // What rooms of one shard say to each other is part of the same transaction: nothing lies between a takeover
        // and the answer that it ends.
        while let Some((room, input, kept)) = self.relays.pop_front() {
            if let Err(error) = self.take(room, input, kept) {
                self.relays.clear();
                self.listings.clear();
                self.fail(&error);
            }
        }
        self.isolate();
    }

    /// While storage fails, each input has a transaction of its own, so that what can be done is done: reading, mostly.
    pub(super) fn isolate(&mut self) {
        if self.is_failing && !self.is_ending_turn {
            self.end_turn();
        }
    }

    fn take(&mut self, id: RoomId, input: RoomInput, kept: Option<Kept>) -> Result<(), SqlError> {
        let slot = self.room_slot(id);
        self.handle_room(slot, input)?;
        self.list_rooms()?;
        self.has_taken(kept)
    }

    /// What came from an outbox is stored here.
    pub(super) fn has_taken(&mut self, kept: Option<Kept>) -> Result<(), SqlError> {
        match kept {
            // Of the same file: with the transaction that stores it, it is not kept any more.
            Some(kept) if kept.shard == self.index => outbox::remove(&mut self.store, kept.row)?,
            Some(kept) => self.gate.open.push(Held::Taken(kept)),
            None => {}
        }
        Ok(())
    }

    pub(super) fn work(&mut self, rows: Rows) {
        match rows(&mut self.store, self.now) {
            Ok(done) => self.gate.open.push(Held::Done(done)),
            Err(error) => self.fail(&error),
        }
        self.isolate();
    }

    pub(super) fn forget_kept(&mut self, row: i64) {
        if let Err(error) = outbox::remove(&mut self.store, row) {
            self.fail(&error);
        }
    }

    pub(super) fn look_into_outbox_at(&mut self, at: UnixMs) {
        self.outbox_at = Some(self.outbox_at.map_or(at, |due| due.min(at)));
    }

    /// Gives again what was not heard of: after a crash, a failed commit, here or elsewhere.
    pub(super) fn empty_outbox(&mut self) {
        if self.outbox_at.is_none_or(|due| due > self.now) {
            return;
        }
        self.outbox_at = None;
        match outbox::all(&mut self.store) {
            Ok(all) => {
                for outbox::Kept { row, word } in all {
                    let kept = Some(Kept { shard: self.index, row });
                    match word {
                        Word::Post(room, post) => self.tell_room_kept(room, RoomInput::Post(*post), kept),
                        Word::Relist(room) => self.tell_room_kept(room, RoomInput::List, kept),
                        Word::Listing(listing) => {
                            let domain = listing.domain.clone();
                            self.tell_visitors_kept(domain, VisitorsInput::Listed(listing), kept);
                        }
                    }
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    fn handle_room(&mut self, slot: usize, input: RoomInput) -> Result<(), SqlError> {
        self.open_room(slot)?;
        let moment = self.context();
        let Some(room_slot) = self.rooms.get_mut(slot) else {
            return Ok(());
        };
        let Some(room) = &mut room_slot.room else {
            return Ok(());
        };
        self.pending.rooms.push(slot);
        let mut outputs = Vec::new();
        room.handle(context_of(&self.environment.policy, moment), input, &mut self.store, &mut outputs)?;
        if !room_slot.is_idling && room.is_vacant() {
            room_slot.is_idling = true;
            let timer = Timer::Room { slot, generation: room_slot.generation };
            self.idle.push_back((moment.0.plus(IDLE_MS), timer));
        }
        self.hold(slot, outputs)
    }

    fn hold(&mut self, slot: usize, outputs: Vec<Output>) -> Result<(), SqlError> {
        for output in outputs {
            match output {
                Output::Relay { room, input, kept } if self.shards.of(room.as_str()) == self.index => {
                    let kept = kept.map(|row| Kept { shard: self.index, row });
                    self.relays.push_back((room, *input, kept));
                }
                Output::List(listing) if self.shards.of(listing.domain.as_str()) == self.index => {
                    self.listings.push_back(listing);
                }
                Output::List(listing) => {
                    let row = outbox::add_listing(&mut self.store, &listing)?;
                    self.gate.open.push(Held::Listed(listing, Kept { shard: self.index, row }));
                }
                output => self.gate.open.push(Held::Said { source: Source::Room(slot), output }),
            }
        }
        Ok(())
    }

    fn room_slot(&mut self, id: RoomId) -> usize {
        if let Some(slot) = self.room_slots.get(&id) {
            return *slot;
        }
        self.next_generation = self.next_generation.wrapping_add(1);
        let slot = self.rooms.insert(RoomSlot {
            id: id.clone(),
            generation: self.next_generation,
            room: None,
            audience: Audience::default(),
            socket_io: None,
            is_idling: true,
            has_failed: false,
            told: Vec::new(),
        });
        let generation = self.next_generation;
        self.idle.push_back((self.now.plus(IDLE_MS), Timer::Room { slot, generation }));
        self.room_slots.insert(id, slot);
        slot
    }

    /// From its rows and its connections: those whom it has admitted, and those whose admission waits at the gate.
    fn open_room(&mut self, slot: usize) -> Result<(), SqlError> {
        let moment = self.context();
        let Some(room_slot) = self.rooms.get_mut(slot) else {
            return Ok(());
        };
        if room_slot.room.is_some() {
            return Ok(());
        }
        let own = Source::Room(slot);
        let seats = room_slot.audiences().flat_map(|audience| &audience.seats);
        let seats = seats.map(|seat| (seat.conn, seat.member.clone()));
        let mut members: HashMap<ConnId, Arc<Member>> = seats.collect();
        for held in self.gate.pending() {
            match held {
                Held::Said { source, output: Output::Admit { conn, member } } if *source == own => {
                    members.insert(*conn, member.clone());
                }
                Held::Said { source, output: Output::Dismiss { conn } } if *source == own => {
                    members.remove(conn);
                }
                Held::Said { .. } | Held::Taken(_) | Held::Done(_) | Held::Listed(..) => {}
            }
        }
        self.pending.rooms.push(slot);
        let mut outputs = Vec::new();
        let mut room = Room::open(room_slot.id.clone(), members, &mut self.store)?;
        let cx = context_of(&self.environment.policy, moment);
        let told = std::mem::take(&mut room_slot.told);
        self.pending.told.extend(told.iter().map(|spoken| (slot, spoken.clone())));
        room.handle(cx, RoomInput::Awoken { told }, &mut self.store, &mut outputs)?;
        room_slot.room = Some(room);
        self.hold(slot, outputs)
    }

    pub(super) fn arm_room(&mut self, slot: usize, at: UnixMs) {
        if let Some(room) = self.rooms.get(slot) {
            self.timers.push(Reverse((at, Timer::Room { slot, generation: room.generation })));
        }
    }

    pub(super) fn fire_timers(&mut self) {
        while let Some(Reverse((at, timer))) = self.timers.peek().copied() {
            if at > self.now {
                return;
            }
            self.timers.pop();
            match timer {
                Timer::Room { slot, generation } => {
                    let room = self.rooms.get_mut(slot).filter(|room| room.generation == generation);
                    if let Some(room) = room {
                        room.has_failed = false;
                        let id = room.id.clone();
                        self.tell_room(id, RoomInput::Alarm);
                    }
                }
                Timer::Token { conn } => self.expire_if_due(conn),
                Timer::Domain { slot, generation } => {
                    let domain = self.domains.get_mut(slot).filter(|domain| domain.generation == generation);
                    if let Some(domain) = domain {
                        domain.has_failed = false;
                        let id = domain.id.clone();
                        self.tell_visitors(id, VisitorsInput::Alarm);
                    }
                }
            }
        }
    }

    /// Rooms that nobody is in leave memory; their rows stay.
    pub(super) fn evict_idle(&mut self) {
        while let Some((at, timer)) = self.idle.front().copied() {
            if at > self.now {
                return;
            }
            self.idle.pop_front();
            match timer {
                Timer::Room { slot, generation } => self.evict_room(slot, generation),
                Timer::Domain { slot, generation } => self.evict_domain(slot, generation),
                Timer::Token { .. } => {}
            }
        }
    }

    fn evict_room(&mut self, slot: usize, generation: u32) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(slot).filter(|room| room.generation == generation) else {
            return;
        };
        let is_empty = room.audiences().all(|audience| audience.seats.is_empty());
        let is_vacant = is_empty && room.room.as_ref().is_none_or(Room::is_vacant);
        room.is_idling = is_vacant;
        // A sync under way may still hold outputs for this slot.
        if is_vacant && !self.gate.is_syncing() {
            self.room_slots.remove(&room.id);
            self.rooms.remove(slot);
        } else if is_vacant {
            self.idle.push_back((now.plus(IDLE_MS), Timer::Room { slot, generation }));
        }
    }
}

impl RoomSlot {
    pub(super) fn is_writing(&self, run: RunId) -> bool {
        self.room.as_ref().is_some_and(|room| room.is_writing(run))
    }
}

/// What must not be forgotten if the transaction fails, because nobody will say it again.
fn parting_of(room: &RoomId, input: &RoomInput, at: UnixMs) -> Option<Parting> {
    let (conn, how) = match input {
        RoomInput::Disconnected { conn, how } => (*conn, *how),
        RoomInput::Command { from, command: RoomCommand::Leave } => (from.conn, Farewell::Clean),
        _ => return None,
    };
    Some(Parting::Room { room: room.clone(), conn, how, at })
}

fn caller_of(input: &RoomInput) -> Option<Caller> {
    match input {
        // Nobody waits for it.
        RoomInput::Ask { ask, .. } if ask.is_unasked() => None,
        RoomInput::Command { from, .. } | RoomInput::Ask { from, .. } | RoomInput::Desk { from, .. } => {
            Some(from.clone())
        }
        _ => None,
    }
}
