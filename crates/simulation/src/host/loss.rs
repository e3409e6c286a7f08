//! How a host loses what it holds, and what it has to do about it: a failed commit, an eviction, a crash.

use weeziq_core::ids::RoomId;
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;
use weeziq_core::rooms::{Room, RoomInput, Spoken, rooms_unanswered};
use weeziq_core::store::conversations::rooms_with_unfinished;
use weeziq_core::store::{SqlError, visitors};
use weeziq_core::visitors::VisitorsInput;

use super::{Effect, Flavour, Host, Place};
use crate::gate::{Gate, Held, Pending, Source};

/// A room that lost what it was doing is looked at again by then.
const WAKE_AFTER_LOSS_MS: i64 = 1_000;

impl Host {
    /// Nothing of the open transaction happened. What it was about is rebuilt from what is stored; whoever asked for
    /// something is told.
    pub(super) fn fail(&mut self, error: &SqlError) {
        self.failed_turns += 1;
        let about = self.pending.rooms.iter().map(RoomId::as_str);
        self.effects
            .push(Effect::Note(format!("a turn fails: {error}; rooms: {:?}", about.collect::<Vec<_>>())));
        self.store.rollback();
        self.gate.open.retain(|held| held.source == Source::Host);
        let pending = std::mem::take(&mut self.pending);
        for (id, spoken) in pending.told {
            self.rooms.entry(id).or_default().told.push(spoken);
        }
        let mut rooms = pending.rooms;
        rooms.sort();
        rooms.dedup();
        for id in rooms {
            let room = self.rooms.get_mut(&id).and_then(|slot| slot.room.take());
            let spoken = room.map(Room::into_spoken).unwrap_or_default();
            self.runs.retain(|_, writes| *writes != id);
            if self.flavour != Flavour::Objects {
                self.tell_owed(&id, &spoken);
            }
            self.wake(Place::Room(id), self.now.plus(WAKE_AFTER_LOSS_MS));
        }
        for id in pending.domains {
            self.domains.entry(id.clone()).or_default().visitors = None;
            self.wake(Place::Domain(id), self.now.plus(WAKE_AFTER_LOSS_MS));
        }
        for caller in pending.callers {
            self.answer(&caller, Event::error(&ClientError::unavailable(), self.now));
        }
        self.pending.retried = pending.retried;
        self.pending.retried.extend(pending.partings);
        self.pending.is_outbox_due = true;
    }

    /// A process tells those who wait for an answer at once, and its rooms of that later.
    fn tell_owed(&mut self, id: &RoomId, spoken: &[Spoken]) {
        let opened = Room::open(id.clone(), [], &mut self.store);
        let owed = opened.and_then(|room| room.owed(spoken, &mut self.store, self.now)).unwrap_or_default();
        for (spoken, outputs) in owed {
            let told = &mut self.rooms.entry(id.clone()).or_default().told;
            if told.iter().all(|told| told.run != spoken.run) {
                told.push(spoken);
                let said = outputs.into_iter().map(|output| Held { source: Source::Host, output });
                self.gate.open.extend(said);
            }
        }
    }

    /// The memory of some objects goes, their connections and rows stay.
    pub(crate) fn evict(&mut self, mut which: impl FnMut() -> bool) {
        let mut woken = Vec::new();
        for (id, slot) in self.rooms.iter_mut().filter(|(_, slot)| slot.room.is_some()) {
            if which() {
                slot.room = None;
                self.runs.retain(|_, writes| writes != id);
                woken.push(Place::Room(id.clone()));
            }
        }
        for (id, slot) in self.domains.iter_mut().filter(|(_, slot)| slot.visitors.is_some()) {
            if which() {
                slot.visitors = None;
                woken.push(Place::Domain(id.clone()));
            }
        }
        for place in woken {
            self.wake(place, self.now.plus(WAKE_AFTER_LOSS_MS));
        }
        // An object that wakes says again what it had kept to say.
        self.pending.is_outbox_due = true;
    }

    /// The process is gone: all that was not committed, all memory, all connections.
    pub(crate) fn crash(&mut self) {
        self.store.rollback();
        self.life += 1;
        self.conns.clear();
        self.rooms.clear();
        self.domains.clear();
        self.runs.clear();
        self.gate = Gate::default();
        self.pending = Pending::default();
        self.effects.clear();
        (self.dies, self.is_dead) = (None, true);
    }

    /// A new process on the same rows.
    pub(crate) fn start(&mut self) -> Result<(), SqlError> {
        self.is_dead = false;
        if self.flavour != Flavour::Objects {
            for room in rooms_with_unfinished(&mut self.store)? {
                self.tell_room(&room, RoomInput::Alarm);
            }
            for (room, _) in rooms_unanswered(&mut self.store, self.now)? {
                self.tell_room(&room, RoomInput::Alarm);
            }
        }
        // An object hears of the end of its sockets by itself; here that is one word to each.
        for domain in visitors::domains_with_visitors(&mut self.store)? {
            self.tell_domain(&domain, VisitorsInput::Alarm);
        }
        self.empty_outbox()?;
        self.end_turn();
        Ok(())
    }
}
