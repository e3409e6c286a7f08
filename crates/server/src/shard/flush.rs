//! The end of a turn: what has been said goes out, in as few writes as can be.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use weeziq_core::ids::ConnId;
use weeziq_core::rooms::Farewell;

use super::audience::Audience;
use super::conn::Link;
use super::deliver::to_elsewhere;
use super::dialect::Dialect;
use super::rooms::RoomSlot;
use super::{Shard, split};

/// Buffers that are kept for the next turn.
const FRAME_BUFFERS_MAX: usize = 64;
pub(super) const FRAME_BUFFER_BYTES_MAX: usize = 256 * 1024;

impl Shard {
    /// One write per member: the room's frames as they stand, or behind what is queued. Crowds come last, so that whoever
    /// waits for an answer alone does not wait for the writes to all of them; and while one has only just been told
    /// something, what it is to hear next waits for company, since a write costs much more than a frame in it.
    pub(super) fn flush(&mut self) {
        let mut lost = Vec::new();
        let is_crowd = |slot: &usize| self.rooms.get(*slot).is_some_and(RoomSlot::is_crowd);
        let (crowds, rooms): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.dirty_rooms).into_iter().partition(is_crowd);
        rooms.into_iter().for_each(|slot| self.tell_audience(slot, &mut lost));
        self.flush_conns(&mut lost);
        for slot in crowds {
            let began = Instant::now();
            let gathers = self.rooms.get(slot).is_some_and(|room| room.gathers(began));
            if gathers && self.stopping.is_none() {
                self.dirty_rooms.push(slot);
                continue;
            }
            self.tell_audience(slot, &mut lost);
            if let Some(room) = self.rooms.get_mut(slot) {
                room.has_told(began, Instant::now());
            }
        }
        self.flush_conns(&mut lost);
        for (slot, farewell) in lost {
            self.part(slot, farewell);
            self.drop_conn(slot);
        }
    }

    /// When the first crowd has gathered enough.
    pub(super) fn gathered_at(&self) -> Option<Instant> {
        let gathering = self.dirty_rooms.iter().filter_map(|slot| self.rooms.get(*slot));
        gathering.filter_map(|room| room.audience.gathers_until).min()
    }

    fn tell_audience(&mut self, slot: usize, lost: &mut Vec<(usize, Farewell)>) {
        for dialect in [Dialect::Plain, Dialect::SocketIo] {
            let audience = self.rooms.get_mut(slot).and_then(|room| room.dirty_audience(dialect));
            let Some(audience) = audience else { continue };
            let mut audience = std::mem::take(audience);
            self.flush_room(&mut audience, lost);
            let mut frames = std::mem::take(&mut audience.frames);
            frames.clear();
            if frames.capacity() <= FRAME_BUFFER_BYTES_MAX && self.frame_buffers.len() < FRAME_BUFFERS_MAX {
                self.frame_buffers.push(frames);
            }
            if let Some(room) = self.rooms.get_mut(slot) {
                *room.audience_in(dialect) = audience;
            }
        }
    }

    fn flush_conns(&mut self, lost: &mut Vec<(usize, Farewell)>) {
        let now = self.now;
        for slot in std::mem::take(&mut self.dirty_conns) {
            let Some(conn) = self.conns.get_mut(slot) else {
                continue;
            };
            conn.is_dirty = false;
            let Link::Socket(socket) = &mut conn.link else { continue };
            match socket.flush(now) {
                Ok(()) if socket.resumes() => self.ready.push(slot),
                Ok(()) => {}
                Err(farewell) => lost.push((slot, farewell)),
            }
        }
    }

    fn flush_room(&mut self, audience: &mut Audience, lost: &mut Vec<(usize, Farewell)>) {
        audience.is_dirty = false;
        let mut elsewhere: HashMap<(usize, usize), Vec<ConnId>> = HashMap::new();
        let mut seats = std::mem::take(&mut audience.seats);
        for seat in &mut seats {
            let from = std::mem::take(&mut seat.heard);
            let frames = audience.from(from);
            if frames.bytes.is_empty() {
                continue;
            }
            let Some(slot) = self.local(seat.conn) else {
                let (shard, ..) = split(seat.conn);
                if shard != self.index {
                    elsewhere.entry((shard, from)).or_default().push(seat.conn);
                }
                continue;
            };
            let now = self.now;
            let Some(conn) = self.conns.get_mut(slot) else {
                continue;
            };
            let Link::Socket(socket) = &mut conn.link else {
                continue;
            };
            let pushed = match &mut conn.engine {
                Some(engine) => engine.push_shared(socket, frames, audience.place.as_ref(), now),
                None => socket.push_shared(frames, now),
            };
            match pushed {
                // The request of one that polls is answered at the end of the turn, with what all of its rooms have said.
                Ok(false) if Dialect::of(seat.conn) == Dialect::SocketIo => self.mark_dirty(slot),
                Ok(false) => {}
                Ok(true) => self.begin_closing(slot),
                Err(farewell) => lost.push((slot, farewell)),
            }
        }
        for ((shard, from), to) in elsewhere {
            self.shards.send(shard, to_elsewhere(to, audience.from(from)));
        }
        audience.seats = seats;
        audience.volatile.clear();
        *audience.shared.get_mut() = Bytes::new();
    }
}
