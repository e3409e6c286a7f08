//! The proof that each message reached each member of its room once, in one order, and nobody else.
//!
//! A room's order is its `seq`: 1, 2, 3 … in rooms that this run created. The ledger keeps what each number stands for
//! as first seen anywhere, and per connection only the next number expected and the gaps behind it. So the usual
//! delivery costs two comparisons, and memory grows with the messages, not with the deliveries.

use std::collections::BTreeSet;
use std::fmt;

use crate::wire::Member;

/// One message as the ledger names it: its sender's `number`th, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sender: Member,
    pub(crate) number: u32,
}

/// Whatever went wrong; all zero is the only good result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Errors {
    /// Deliveries that never came: messages × members, minus the distinct ones that did.
    pub(crate) lost: u64,
    pub(crate) duplicate: u64,
    /// Came after a later one on that connection, or a sender's messages were numbered out of his order.
    pub(crate) reordered: u64,
    /// On a connection that is not in the room, or labelled with another room.
    pub(crate) misrouted: u64,
    /// No `seq`, one beyond the log, or one that stands for two messages.
    pub(crate) misnumbered: u64,
    /// Not sent by this run.
    pub(crate) foreign: u64,
    /// Sends without a `message-sent`.
    pub(crate) unacked: u64,
    /// More `message-sent` than sends.
    pub(crate) overacked: u64,
    /// `error` events.
    pub(crate) refused: u64,
    /// Connections that the server ended, or that broke.
    pub(crate) disconnected: u64,
    /// Answers of the AI with something else in them than the model said, or that did not end as it did.
    pub(crate) garbled: u64,
}

impl Errors {
    pub(crate) fn named(&self) -> [(&'static str, u64); 11] {
        [
            ("lost", self.lost),
            ("duplicate", self.duplicate),
            ("reordered", self.reordered),
            ("misrouted", self.misrouted),
            ("misnumbered", self.misnumbered),
            ("foreign", self.foreign),
            ("unacked", self.unacked),
            ("overacked", self.overacked),
            ("refused", self.refused),
            ("disconnected", self.disconnected),
            ("garbled", self.garbled),
        ]
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            duplicate: self.duplicate + other.duplicate,
            reordered: self.reordered + other.reordered,
            misrouted: self.misrouted + other.misrouted,
            misnumbered: self.misnumbered + other.misnumbered,
            foreign: self.foreign + other.foreign,
            unacked: self.unacked + other.unacked,
            overacked: self.overacked + other.overacked,
            refused: self.refused + other.refused,
            disconnected: self.disconnected + other.disconnected,
            garbled: self.garbled + other.garbled,
        }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, count) in self.named().iter().filter(|(_, count)| *count > 0) {
            write!(f, "{separator}{name} {count}")?;
            separator = ", ";
        }
        if separator.is_empty() { write!(f, "none") } else { Ok(()) }
    }
}

pub(crate) struct Ledger {
    members_per_room: u32,
    rooms: Vec<Room>,
    senders: Vec<Sender>,
    receivers: Vec<Receiver>,
    expected: u64,
    distinct: u64,
    errors: Errors,
}

#[derive(Clone, Default)]
struct Room {
    /// By `seq - 1`.
    order: Vec<Option<Entry>>,
    /// How many members have it, likewise.
    reached: Vec<u32>,
    sent: u64,
}

/// What a delivery was to the whole room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Nobody had it before: its envelope is worth a closer look.
    pub(crate) is_first: bool,
    /// Now all members have it.
    pub(crate) is_last: bool,
}

#[derive(Clone, Default)]
struct Sender {
    /// The `seq` of each message, by number; 0 until it is seen.
    seqs: Vec<u32>,
}

#[derive(Clone)]
struct Receiver {
    next: u32,
    missing: BTreeSet<u32>,
}

impl Ledger {
    pub(crate) fn new(rooms: u32, members_per_room: u32) -> Self {
        let members = (rooms * members_per_room) as usize;
        Self {
            members_per_room,
            rooms: vec![Room::default(); rooms as usize],
            senders: vec![Sender::default(); members],
            receivers: vec![Receiver { next: 1, missing: BTreeSet::new() }; members],
            expected: 0,
            distinct: 0,
            errors: Errors::default(),
        }
    }

    pub(crate) fn room_of(&self, member: Member) -> u32 {
        member.0 / self.members_per_room.max(1)
    }

    /// Enters a send; every member of the room is now owed it.
    pub(crate) fn sent(&mut self, sender: Member) -> Entry {
        let room = self.room_of(sender) as usize;
        let mut number = 0;
        if let (Some(room), Some(log)) = (self.rooms.get_mut(room), self.senders.get_mut(sender.0 as usize)) {
            number = log.seqs.len() as u32;
            log.seqs.push(0);
            room.sent += 1;
            self.expected += u64::from(self.members_per_room);
        }
        Entry { sender, number }
    }

    /// Enters a delivery.
    pub(crate) fn delivered(&mut self, receiver: Member, entry: Entry, seq: Option<u64>) -> Sight {
        let unseen = Sight::default();
        let number = self.room_of(entry.sender);
        if self.room_of(receiver) != number {
            self.errors.misrouted += 1;
            return unseen;
        }
        let (Some(room), Some(sender), Some(receiver)) = (
            self.rooms.get_mut(number as usize),
            self.senders.get_mut(entry.sender.0 as usize),
            self.receivers.get_mut(receiver.0 as usize),
        ) else {
            self.errors.foreign += 1;
            return unseen;
        };
        let Some(known_seq) = sender.seqs.get_mut(entry.number as usize) else {
            self.errors.foreign += 1;
            return unseen;
        };
        // A server that stores a message twice numbers past `sent`; anything further off is no number of this room.
        let Some(seq) = seq.filter(|seq| (1..=room.sent * 2 + 1).contains(seq)) else {
            self.errors.misnumbered += 1;
            return unseen;
        };
        let seq = seq as u32;
        let place = seq as usize - 1;
        if room.order.len() <= place {
            room.order.resize(place + 1, None);
            room.reached.resize(place + 1, 0);
        }
        let (Some(slot), Some(reached)) = (room.order.get_mut(place), room.reached.get_mut(place)) else {
            return unseen;
        };
        let is_first = slot.is_none();
        if *slot.get_or_insert(entry) != entry {
            self.errors.misnumbered += 1;
            return unseen;
        }
        if *known_seq == 0 {
            *known_seq = seq;
        }
        let stored_twice = *known_seq != seq;
        let is_new = match receiver.take(seq) {
            Arrival::Again => false,
            _ if stored_twice => false,
            Arrival::Next => true,
            Arrival::Late => {
                self.errors.reordered += 1;
                true
            }
        };
        if !is_new {
            self.errors.duplicate += 1;
            return Sight { is_first, is_last: false };
        }
        self.distinct += 1;
        *reached += 1;
        Sight { is_first, is_last: *reached == self.members_per_room }
    }

    pub(crate) fn outstanding(&self) -> u64 {
        self.expected.saturating_sub(self.distinct)
    }

    pub(crate) fn misrouted(&mut self) {
        self.errors.misrouted += 1;
    }

    pub(crate) fn foreign(&mut self) {
        self.errors.foreign += 1;
    }

    /// What is owed now counts as lost.
    pub(crate) fn errors(&self) -> Errors {
        let against_sender: u64 = self.senders.iter().map(Sender::inversions).sum();
        Errors { lost: self.outstanding(), reordered: self.errors.reordered + against_sender, ..self.errors }
    }
}

enum Arrival {
    Next,
    Late,
    Again,
}

impl Receiver {
    fn take(&mut self, seq: u32) -> Arrival {
        if seq == self.next {
            self.next += 1;
            return Arrival::Next;
        }
        if seq > self.next {
            self.missing.extend(self.next..seq);
            self.next = seq + 1;
            return Arrival::Next;
        }
        if self.missing.remove(&seq) { Arrival::Late } else { Arrival::Again }
    }
}

impl Sender {
    /// Messages that the room put before an earlier one of the same sender.
    fn inversions(&self) -> u64 {
        let seen = self.seqs.iter().filter(|seq| **seq != 0);
        let mut highest = 0;
        seen.map(|seq| {
            let back = *seq < highest;
            highest = highest.max(*seq);
            u64::from(back)
        })
        .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: u32 = 3;

    /// Two rooms of three; the first member of the first room sends five messages.
    fn five_sent() -> (Ledger, Vec<Entry>) {
        let mut ledger = Ledger::new(2, MEMBERS);
        let entries = (0..5).map(|_| ledger.sent(Member(0))).collect();
        (ledger, entries)
    }

    /// Delivers to each member of the first room, in the order that `plan` gives for him.
    fn deliver(plan: impl Fn(u32) -> Vec<usize>) -> Errors {
        let (mut ledger, entries) = five_sent();
        for member in 0..MEMBERS {
            for index in plan(member) {
                ledger.delivered(Member(member), entries[index], Some(index as u64 + 1));
            }
        }
        ledger.errors()
    }

    fn check(what: &str, broken: &[usize], expected: Errors) {
        for victim in 0..MEMBERS {
            let got = deliver(|m| if m == victim { broken.to_vec() } else { vec![0, 1, 2, 3, 4] });
            assert_eq!(got, expected, "{what} at member {victim}");
        }
    }

    #[test]
    fn each_fault_is_seen_as_what_it_is_whoever_reads_first() {
        let none = Errors::default();
        check("nothing wrong", &[0, 1, 2, 3, 4], none);
        check("drop", &[0, 1, 3, 4], Errors { lost: 1, ..none });
        check("drop of the last", &[0, 1, 2, 3], Errors { lost: 1, ..none });
        check("duplicate", &[0, 1, 2, 2, 3, 4], Errors { duplicate: 1, ..none });
        check("late duplicate", &[0, 1, 2, 3, 4, 0], Errors { duplicate: 1, ..none });
        check("swap", &[0, 2, 1, 3, 4], Errors { reordered: 1, ..none });
        check("one falls back by two", &[0, 2, 3, 1, 4], Errors { reordered: 1, ..none });
        check("drop and duplicate", &[0, 1, 1, 3, 4], Errors { lost: 1, duplicate: 1, ..none });
        check("nothing at all", &[], Errors { lost: 5, ..none });
    }

    #[test]
    fn a_message_in_a_foreign_room_is_misrouted() {
        let (mut ledger, entries) = five_sent();
        ledger.delivered(Member(MEMBERS), entries[0], Some(1));
        assert_eq!(ledger.errors().misrouted, 1);
    }

    #[test]
    fn numbers_must_exist_stand_for_one_message_and_not_run_away() {
        let (mut ledger, entries) = five_sent();
        let sights = [0, 1, 2, 2].map(|member| ledger.delivered(Member(member), entries[0], Some(1)));
        assert_eq!(sights.map(|sight| sight.is_first), [true, false, false, false]);
        assert_eq!(sights.map(|sight| sight.is_last), [false, false, true, false]);
        ledger.delivered(Member(0), entries[1], Some(1));
        ledger.delivered(Member(0), entries[1], None);
        ledger.delivered(Member(0), entries[1], Some(0));
        ledger.delivered(Member(0), entries[1], Some(u64::MAX));
        assert_eq!(ledger.errors(), Errors { misnumbered: 4, lost: 12, duplicate: 1, ..Errors::default() });
    }

    #[test]
    fn a_message_stored_twice_is_a_duplicate_though_its_number_is_new() {
        let (mut ledger, entries) = five_sent();
        for (entry, seq) in [(0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)] {
            for member in 0..MEMBERS {
                ledger.delivered(Member(member), entries[entry], Some(seq));
            }
        }
        assert_eq!(ledger.errors(), Errors { duplicate: 3, ..Errors::default() });
    }

    #[test]
    fn a_sender_s_own_order_holds_even_if_all_members_agree_on_another() {
        let (mut ledger, entries) = five_sent();
        for (entry, seq) in [(0, 1), (2, 2), (1, 3), (3, 4), (4, 5)] {
            for member in 0..MEMBERS {
                ledger.delivered(Member(member), entries[entry], Some(seq));
            }
        }
        assert_eq!(ledger.errors(), Errors { reordered: 1, ..Errors::default() });
    }

    #[test]
    fn what_nobody_sent_is_foreign() {
        let (mut ledger, _) = five_sent();
        ledger.delivered(Member(0), Entry { sender: Member(0), number: 5 }, Some(1));
        ledger.delivered(Member(0), Entry { sender: Member(1), number: 0 }, Some(1));
        assert_eq!(ledger.errors().foreign, 2);
        assert_eq!(ledger.errors().to_string(), "lost 15, foreign 2");
        assert_eq!(Errors::default().to_string(), "none");
    }
}
