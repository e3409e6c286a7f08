//! Who hears a room, and how far each has heard what the room says in this turn.
//!
//! A room writes its frames of a turn into one buffer. At the end of the turn every member gets what joined up from
//! where it stands, in one write. A member with words of its own in between (an ack, a history) has the room's
//! frames before them copied into its queue first, so everyone sees the order in which things happened.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use weeziq_core::ids::ConnId;
use weeziq_core::rooms::Member;

use super::conn::Weight;
use crate::socketio::Place;

#[derive(Default)]
pub(super) struct Audience {
    pub(super) seats: Vec<Seat>,
    /// Where each sits, so that coming and going takes the same time in a room of any size.
    places: HashMap<ConnId, usize>,
    /// The frames of this turn.
    pub(super) frames: Vec<u8>,
    /// The parts of `frames` that may be dropped for slow readers, in order.
    pub(super) volatile: Vec<Range<usize>>,
    /// A copy of `frames` for those who cannot take them now, made when there is one.
    pub(super) shared: RefCell<Bytes>,
    pub(super) is_dirty: bool,
    /// The last place in the room's log that was told here, where listeners want to know it.
    pub(super) place: Option<Place>,
    /// Until when what a crowd hears waits for company.
    pub(super) gathers_until: Option<Instant>,
}

pub(super) struct Seat {
    pub(super) conn: ConnId,
    pub(super) member: Arc<Member>,
    /// Up to where this member has, or must not have, the frames of this turn.
    pub(super) heard: usize,
}

/// From so many members on, telling them all takes long enough for more to come meanwhile.
pub(super) const CROWD: usize = 64;
/// Frames wait for company half as long as the last round of writes took, if that is long enough to be worth a wait, ...
const GATHER_MIN: Duration = Duration::from_micros(500);
const GATHER_MAX: Duration = Duration::from_millis(2);
/// ... and until there are so many bytes for each member.
const GATHER_BYTES_MAX: usize = 32 * 1024;

impl Audience {
    pub(super) fn gathers(&self, now: Instant) -> bool {
        self.frames.len() < GATHER_BYTES_MAX && self.gathers_until.is_some_and(|until| now < until)
    }

    /// Everybody has been told; that began then and is over now.
    pub(super) fn has_told(&mut self, began: Instant, now: Instant) {
        let wait = now.saturating_duration_since(began) / 2;
        self.gathers_until = (wait >= GATHER_MIN).then(|| now + wait.min(GATHER_MAX));
    }

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
    pub(super) fn hear(&mut self, seat: usize) -> Option<Frames<'_>> {
        let end = self.frames.len();
        let seat = self.seats.get_mut(seat)?;
        let from = std::mem::replace(&mut seat.heard, end);
        Some(self.from(from)).filter(|frames| !frames.bytes.is_empty())
    }

    pub(super) fn from(&self, from: usize) -> Frames<'_> {
        let bytes = self.frames.get(from..).unwrap_or_default();
        Frames { all: &self.frames, bytes, volatile: &self.volatile, shared: &self.shared, offset: from }
    }

    /// What was written since then may be dropped.
    pub(super) fn is_volatile_since(&mut self, from: usize) {
        match self.volatile.last_mut().filter(|last| last.end == from) {
            Some(last) => last.end = self.frames.len(),
            None => self.volatile.push(from..self.frames.len()),
        }
    }
}

/// Whole frames, and which of them may be dropped for slow readers.
#[derive(Clone, Copy)]
pub(super) struct Frames<'a> {
    all: &'a [u8],
    /// The end of `all`, from `offset` on.
    pub(super) bytes: &'a [u8],
    offset: usize,
    /// In `all`.
    volatile: &'a [Range<usize>],
    shared: &'a RefCell<Bytes>,
}

impl<'a> Frames<'a> {
    pub(super) fn of(all: &'a [u8], volatile: &'a [Range<usize>], shared: &'a RefCell<Bytes>) -> Self {
        Self { all, bytes: all, offset: 0, volatile, shared }
    }

    /// Where in `bytes` those lie that may be dropped.
    pub(super) fn volatile(&self) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let offset = self.offset;
        let within =
            move |range: &Range<usize>| range.start.max(offset) - offset..range.end.max(offset) - offset;
        self.volatile.iter().map(within).filter(|range| !range.is_empty())
    }

    /// From one end of `bytes` to the other.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Range<usize>, Weight)> + use<'a> {
        let (len, mut at) = (self.bytes.len(), 0);
        self.volatile().chain(std::iter::once(len..len)).flat_map(move |range| {
            let before = std::mem::replace(&mut at, range.end)..range.start;
            [(before, Weight::Durable), (range, Weight::Volatile)]
        })
    }

    /// A part of `bytes` to be kept: of one copy, however many keep it.
    pub(super) fn share(&self, part: Range<usize>) -> Bytes {
        let mut shared = self.shared.borrow_mut();
        if shared.len() != self.all.len() {
            *shared = Bytes::copy_from_slice(self.all);
        }
        shared.slice(self.offset + part.start..self.offset + part.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_waits_for_company_only_when_telling_it_took_long_and_little_waits() {
        let (began, ms) = (Instant::now(), Duration::from_millis);
        let mut audience = Audience::default();
        assert!(!audience.gathers(began), "whoever has not been told anything yet does not wait");
        audience.has_told(began, began + GATHER_MIN);
        assert!(!audience.gathers(began + GATHER_MIN), "a short round is not worth a wait");
        for (took, wait) in [(ms(3), ms(3) / 2), (ms(60), GATHER_MAX)] {
            let told = began + took;
            audience.has_told(began, told);
            assert!(audience.gathers(told + wait - ms(1) / 2));
            assert!(!audience.gathers(told + wait));
        }
        audience.frames = vec![0; GATHER_BYTES_MAX];
        assert!(!audience.gathers(began + ms(60)), "there is enough already");
    }

    #[test]
    fn parts_are_the_whole_in_order_whatever_was_heard() {
        let mut audience = Audience::default();
        for (text, is_volatile) in [("ab", true), ("c", true), ("de", false), ("f", true), ("g", false)] {
            let from = audience.frames.len();
            audience.frames.extend_from_slice(text.as_bytes());
            if is_volatile {
                audience.is_volatile_since(from);
            }
        }
        let durable = |from| {
            let frames = audience.from(from);
            let parts = frames.parts().filter(|(_, weight)| *weight == Weight::Durable);
            let text: Vec<u8> = parts.flat_map(|(part, _)| frames.share(part)).collect();
            String::from_utf8_lossy(&text).into_owned()
        };
        for from in 0..=audience.frames.len() {
            let frames = audience.from(from);
            let whole: Vec<u8> = frames.parts().flat_map(|(part, _)| frames.share(part)).collect();
            assert_eq!(whole, audience.frames[from..], "from {from}");
        }
        assert_eq!(
            [durable(0), durable(1), durable(3), durable(5), durable(6)],
            ["deg", "deg", "deg", "g", "g"]
        );
    }
}
