//! What a failed commit takes back, whom it is told, and what is done again.

use std::cmp::Reverse;

use weeziq_core::ids::{ConnId, RoomId};
use weeziq_core::limits::VISITOR_GRACE_MS;
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;
use weeziq_core::rooms::{Room, RoomInput, Spoken};
use weeziq_core::store::SqlError;
use weeziq_core::time::UnixMs;
use weeziq_core::visitors::VisitorsInput;

use super::{AFTER_FAILURE_MS, COMPLAIN_EVERY_MS};
use super::{Held, Parting, Source, Timer};
use crate::metrics::count;
use crate::shard::Shard;

impl Shard {
    /// The transaction came to nothing. Whatever it was about is forgotten and will be rebuilt from what is stored;
    /// whoever asked for something is told that nothing of it happened.
    pub(in crate::shard) fn fail(&mut self, error: &SqlError) {
        if self.now >= self.complain_at {
            self.complain_at = self.now.plus(COMPLAIN_EVERY_MS);
            tracing::error!(%error, "storage failed; what was under way is taken back and its senders are told");
        }
        self.is_failing = true;
        count(|counters| counters.commits_failed += 1);
        self.store.rollback();
        self.gate.open.retain(|held| matches!(held, Held::Said { source: Source::Host, .. }));
        let pending = std::mem::take(&mut self.pending);
        let again = self.now.plus(AFTER_FAILURE_MS);
        for (slot, spoken) in pending.told {
            self.rooms.get_mut(slot).into_iter().for_each(|room| room.told.push(spoken.clone()));
        }
        let mut rooms = pending.rooms;
        rooms.sort_unstable();
        rooms.dedup();
        for slot in rooms {
            let Some(room) = self.rooms.get_mut(slot) else { continue };
            let spoken = room.room.take().map(Room::into_spoken).unwrap_or_default();
            if !std::mem::replace(&mut room.has_failed, true) {
                self.timers.push(Reverse((again, Timer::Room { slot, generation: room.generation })));
            }
            for (_, (_, task)) in self.runs.extract_if(|_, (writes, _)| *writes == room.id) {
                task.abort();
            }
            self.tell_owed(slot, &spoken);
        }
        for slot in pending.domains {
            if let Some(domain) = self.domains.get_mut(slot) {
                domain.visitors = None;
                if !std::mem::replace(&mut domain.has_failed, true) {
                    let timer = Timer::Domain { slot, generation: domain.generation };
                    self.timers.push(Reverse((self.now.plus(VISITOR_GRACE_MS), timer)));
                }
            }
        }
        self.look_into_outbox_at(again);
        for caller in pending.callers {
            let event = Event::error(&ClientError::unavailable(), self.now);
            self.answer(caller, event);
        }
        self.pending.retried = pending.retried;
        let recovering = pending.recovering;
        self.pending.retried.extend(pending.farewells);
        // They were told that they are back, or wait to be told.
        recovering.into_iter().for_each(|conn| self.let_go(conn));
    }

    /// Whoever waits for an answer hears now that it will not come, and not when storage works again.
    fn tell_owed(&mut self, slot: usize, spoken: &[Spoken]) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(slot) else { return };
        let opened = Room::open(room.id.clone(), [], &mut self.store);
        // Where not even reading works they have to wait.
        let owed = opened.and_then(|opened| opened.owed(spoken, &mut self.store, now)).unwrap_or_default();
        for (spoken, outputs) in owed {
            if room.told.iter().all(|told| told.run != spoken.run) {
                room.told.push(spoken);
                let said = outputs.into_iter().map(|output| Held::Said { source: Source::Host, output });
                self.gate.open.extend(said);
            }
        }
    }

    /// A connection that is gone stays gone, even if that could not be handled when it went.
    pub(in crate::shard) fn retry_farewells(&mut self) {
        for parting in std::mem::take(&mut self.pending.retried) {
            match parting {
                Parting::Room { room, conn, how, at } if !self.is_back(&room, conn, at) => {
                    self.tell_room(room, RoomInput::Disconnected { conn, how });
                }
                Parting::Room { .. } => {}
                // Whoever left and is on the site again meanwhile is not to be parted.
                Parting::Domain(domain, conn, visitor) if self.claims(&domain, conn, &visitor) => {}
                Parting::Domain(domain, conn, visitor) => {
                    self.tell_visitors(domain, VisitorsInput::Disconnected { conn, visitor });
                }
            }
        }
    }

    /// Whether a connection has joined again since it left.
    fn is_back(&self, room: &RoomId, conn: ConnId, left_at: UnixMs) -> bool {
        let slot = self.room_slots.get(room).and_then(|slot| self.rooms.get(*slot));
        slot.and_then(|slot| slot.audience_of(conn)?.member(conn))
            .is_some_and(|member| member.since > left_at)
    }
}
