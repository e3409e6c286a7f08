//! Who hears a room, and how far each has heard what the room says in this turn.
//!
//! A room writes its frames of a turn into one buffer. At the end of the turn every member gets what joined up from
//! where it stands, in one write. A member with words of its own in between (an ack, a history) has the room's
//! frames before them copied into its queue first, so everyone sees the order in which things happened.

use std::collections::HashMap;
use std::sync::Arc;

use weeziq_core::ids::ConnId;
use weeziq_core::rooms::Member;

#[derive(Default)]
pub(super) struct Audience {
    pub(super) seats: Vec<Seat>,
    /// Where each sits, so that coming and going takes the same time in a room of any size.
    places: HashMap<ConnId, usize>,
    /// The frames of this turn.
    pub(super) frames: Vec<u8>,
    /// The part of `frames` that may be dropped for slow readers, if all of it may.
    pub(super) all_volatile: bool,
    pub(super) is_dirty: bool,
}

pub(super) struct Seat {
    pub(super) conn: ConnId,
    pub(super) member: Arc<Member>,
    /// Up to where this member has, or must not have, the frames of this turn.
    pub(super) heard: usize,
}

impl Audience {
    pub(super) fn find(&self, conn: ConnId) -> Option<usize> {
        self.places.get(&conn).copied()
    }

    pub(super) fn member(&self, conn: ConnId) -> Option<&Arc<Member>> {
        self.seats.get(self.find(conn)?).map(|seat| &seat.member)
    }

    /// Takes a seat, or renews who sits there. The number of a new seat.
    pub(super) fn admit(&mut self, conn: ConnId, member: Arc<Member>) -> Option<usize> {
        if let Some(seat) = self.find(conn).and_then(|place| self.seats.get_mut(place)) {
            seat.member = member;
            return None;
        }
        self.places.insert(conn, self.seats.len());
        self.seats.push(Seat { conn, member, heard: self.frames.len() });
        Some(self.seats.len() - 1)
    }

    /// Empties a seat. The last member moves into it: who that is, and its old seat.
    pub(super) fn dismiss(&mut self, seat: usize) -> Option<(ConnId, usize)> {
        self.places.remove(&self.seats.swap_remove(seat).conn);
        let moved = self.seats.get(seat)?.conn;
        self.places.insert(moved, seat);
        Some((moved, self.seats.len()))
    }

    /// What a member has not heard yet of this turn; it counts as heard from now on.
    pub(super) fn hear(&mut self, seat: usize) -> Option<&[u8]> {
        let end = self.frames.len();
        let seat = self.seats.get_mut(seat)?;
        let from = std::mem::replace(&mut seat.heard, end);
        self.frames.get(from..end).filter(|frames| !frames.is_empty())
    }
}
