//! Every (client, message) pair of a run: owed, and come once, twice, late or never.
//!
//! A message is owed to each client that had joined its room before it was sent, if it is stored: somebody was told
//! so (acknowledged), or somebody has seen it. Clients join while nothing is under way, so there is no doubtful pair.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::mark::{Client, Entry, Room};

pub(crate) struct Ledger {
    rooms: Vec<Log>,
    readers: Vec<Reader>,
    stored_twice: BTreeSet<(Entry, u64)>,
    misnumbered: u64,
}

#[derive(Default)]
struct Log {
    messages: Vec<Message>,
    /// Which message each `seq` stands for, by `seq - 1`.
    by_seq: Vec<Option<u32>>,
}

#[derive(Clone, Copy)]
struct Message {
    publisher: Client,
    acked: bool,
    seen: bool,
    /// Somebody was handed it a second time.
    repeated: bool,
    /// 0: not known yet.
    seq: u64,
}

struct Reader {
    room: Room,
    /// Messages of the room from here on are owed; `None` until the first join.
    owed_from: Option<u32>,
    /// A bit for each message of the room.
    seen: Vec<u64>,
    highest_seq: u64,
    /// The latest message of each publisher.
    latest: Vec<(Client, u32)>,
    delivered: u64,
    duplicate: u64,
    out_of_order: u64,
    foreign: u64,
}

/// Sums over some clients and their rooms' messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Pairs that ought to be: each stored message with each client that was in its room.
    pub(crate) owed: u64,
    /// Pairs that are, each counted once.
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) duplicate: u64,
    /// After a later one: by `seq`, or by the publisher's own order.
    pub(crate) out_of_order: u64,
    /// Of another room, or sent by nobody.
    pub(crate) foreign: u64,
}

/// About messages rather than pairs; all rooms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Storage {
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    /// Handed a second time to anybody; each counts once, however many it reached.
    pub(crate) repeated: u64,
    /// One message under two numbers.
    pub(crate) stored_twice: u64,
    /// One number for two messages.
    pub(crate) misnumbered: u64,
}

impl Ledger {
    /// `room_of` has the room of each client.
    pub(crate) fn new(room_of: &[Room]) -> Self {
        let rooms = room_of.iter().map(|room| room.0 + 1).max().unwrap_or_default();
        Self {
            rooms: (0..rooms).map(|_| Log::default()).collect(),
            readers: room_of.iter().map(|room| Reader::new(*room)).collect(),
            stored_twice: BTreeSet::new(),
            misnumbered: 0,
        }
    }

    /// From now on what is sent to the client's room is owed to it. A later join changes nothing.
    pub(crate) fn joined(&mut self, client: Client) {
        if let Some(reader) = self.readers.get_mut(client.0 as usize) {
            let sent = self.rooms.get(reader.room.0 as usize).map_or(0, |log| log.messages.len() as u32);
            reader.owed_from.get_or_insert(sent);
        }
    }

    /// A message that `publisher` will send until it is acknowledged.
    pub(crate) fn sent(&mut self, publisher: Client) -> Option<Entry> {
        let room = self.readers.get(publisher.0 as usize)?.room;
        let log = self.rooms.get_mut(room.0 as usize)?;
        let index = log.messages.len() as u32;
        log.messages.push(Message { publisher, acked: false, seen: false, repeated: false, seq: 0 });
        Some(Entry { room, index })
    }

    pub(crate) fn acked(&mut self, entry: Entry, seq: Option<u64>) {
        if let Some(message) = self.message(entry) {
            message.acked = true;
        }
        self.numbered(entry, seq);
    }

    pub(crate) fn delivered(&mut self, client: Client, entry: Entry, seq: Option<u64>) {
        let Some(publisher) = self.message(entry).map(|message| message.publisher) else {
            self.foreign(client);
            return;
        };
        let Some(reader) = self.readers.get_mut(client.0 as usize) else { return };
        if reader.room != entry.room {
            reader.foreign += 1;
            return;
        }
        let repeated = !reader.take(entry.index, publisher, seq);
        if let Some(message) = self.message(entry) {
            message.seen = true;
            message.repeated |= repeated;
        }
        self.numbered(entry, seq);
    }

    /// Something that this run did not send.
    pub(crate) fn foreign(&mut self, client: Client) {
        if let Some(reader) = self.readers.get_mut(client.0 as usize) {
            reader.foreign += 1;
        }
    }

    pub(crate) fn verdict(&self, clients: Range<u32>) -> Verdict {
        let owed: Vec<Vec<u64>> = self.rooms.iter().map(Log::owed).collect();
        let mut sum = Verdict::default();
        let readers = self.readers.get(clients.start as usize..clients.end as usize).unwrap_or_default();
        for reader in readers {
            let of_room = owed.get(reader.room.0 as usize).map(Vec::as_slice).unwrap_or_default();
            let (owed, lost) = reader.owed_and_lost(of_room);
            sum.owed += owed;
            sum.lost += lost;
            sum.delivered += reader.delivered;
            sum.duplicate += reader.duplicate;
            sum.out_of_order += reader.out_of_order;
            sum.foreign += reader.foreign;
        }
        sum
    }

    pub(crate) fn everyone(&self) -> Range<u32> {
        0..self.readers.len() as u32
    }

    pub(crate) fn storage(&self) -> Storage {
        let messages = || self.rooms.iter().flat_map(|log| &log.messages);
        Storage {
            sent: messages().count() as u64,
            acked: messages().filter(|message| message.acked).count() as u64,
            repeated: messages().filter(|message| message.repeated).count() as u64,
            stored_twice: self.stored_twice.len() as u64,
            misnumbered: self.misnumbered,
        }
    }

    /// All is acknowledged, and none of these clients lacks anything.
    pub(crate) fn settled(&self, clients: Range<u32>) -> bool {
        let storage = self.storage();
        storage.acked == storage.sent && self.verdict(clients).lost == 0
    }

    /// The room's acknowledged messages.
    pub(crate) fn acked_in(&self, room: Room) -> impl Iterator<Item = Entry> {
        let messages = self.rooms.get(room.0 as usize).map(|log| log.messages.as_slice()).unwrap_or_default();
        let acked = messages.iter().enumerate().filter(|(_, message)| message.acked);
        acked.map(move |(index, _)| Entry { room, index: index as u32 })
    }

    pub(crate) fn knows(&self, entry: Entry) -> bool {
        self.rooms.get(entry.room.0 as usize).is_some_and(|log| (entry.index as usize) < log.messages.len())
    }

    fn message(&mut self, entry: Entry) -> Option<&mut Message> {
        self.rooms.get_mut(entry.room.0 as usize)?.messages.get_mut(entry.index as usize)
    }

    /// A number, once seen, stands for one message, and a message for one number.
    fn numbered(&mut self, entry: Entry, seq: Option<u64>) {
        let Some(seq) = seq.filter(|seq| (1..=SEQ_MAX).contains(seq)) else { return };
        let Some(log) = self.rooms.get_mut(entry.room.0 as usize) else { return };
        let place = seq as usize - 1;
        if log.by_seq.len() <= place {
            log.by_seq.resize(place + 1, None);
        }
        if let Some(slot) = log.by_seq.get_mut(place)
            && *slot.get_or_insert(entry.index) != entry.index
        {
            self.misnumbered += 1;
        }
        if let Some(message) = log.messages.get_mut(entry.index as usize) {
            if message.seq == 0 {
                message.seq = seq;
            } else if message.seq != seq {
                self.stored_twice.insert((entry, seq));
            }
        }
    }
}

/// More than any run sends into one room; keeps a wild number from taking the memory.
const SEQ_MAX: u64 = 10_000_000;

impl Log {
    fn owed(&self) -> Vec<u64> {
        let mut bits = vec![0; self.messages.len().div_ceil(64)];
        for (index, message) in self.messages.iter().enumerate() {
            if (message.acked || message.seen)
                && let Some(word) = bits.get_mut(index / 64)
            {
                *word |= 1 << (index % 64);
            }
        }
        bits
    }
}

impl Reader {
    fn new(room: Room) -> Self {
        Self {
            room,
            owed_from: None,
            seen: Vec::new(),
            highest_seq: 0,
            latest: Vec::new(),
            delivered: 0,
            duplicate: 0,
            out_of_order: 0,
            foreign: 0,
        }
    }

    /// False if it had come before.
    fn take(&mut self, index: u32, publisher: Client, seq: Option<u64>) -> bool {
        let (word, bit) = (index as usize / 64, 1u64 << (index % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let Some(word) = self.seen.get_mut(word) else { return true };
        if *word & bit != 0 {
            self.duplicate += 1;
            return false;
        }
        *word |= bit;
        self.delivered += 1;
        let behind = seq.is_some_and(|seq| seq < self.highest_seq);
        if self.behind_its_publisher(publisher, index) || behind {
            self.out_of_order += 1;
        }
        self.highest_seq = self.highest_seq.max(seq.unwrap_or_default());
        true
    }

    fn behind_its_publisher(&mut self, publisher: Client, index: u32) -> bool {
        match self.latest.iter_mut().find(|(known, _)| *known == publisher) {
            None => {
                self.latest.push((publisher, index));
                false
            }
            Some((_, latest)) => {
                let behind = index < *latest;
                *latest = index.max(*latest);
                behind
            }
        }
    }

    fn owed_and_lost(&self, of_room: &[u64]) -> (u64, u64) {
        let Some(from) = self.owed_from else { return (0, 0) };
        let (mut owed, mut lost) = (0, 0);
        for (index, word) in of_room.iter().enumerate() {
            let before = u64::from(from).saturating_sub(index as u64 * 64);
            let mine = if before >= 64 { 0 } else { word >> before << before };
            let seen = self.seen.get(index).copied().unwrap_or_default();
            owed += u64::from(mine.count_ones());
            lost += u64::from((mine & !seen).count_ones());
        }
        (owed, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rooms of two; client 0 has sent `count` messages, all acknowledged.
    fn sent(count: u32) -> (Ledger, Vec<Entry>) {
        let mut ledger = Ledger::new(&[Room(0), Room(0), Room(1), Room(1)]);
        (0..4).for_each(|client| ledger.joined(Client(client)));
        let entries: Vec<_> = (0..count).filter_map(|_| ledger.sent(Client(0))).collect();
        for (entry, seq) in entries.iter().zip(1..) {
            ledger.acked(*entry, Some(seq));
        }
        (ledger, entries)
    }

    fn deliver(ledger: &mut Ledger, client: u32, entries: &[Entry]) {
        for entry in entries {
            ledger.delivered(Client(client), *entry, Some(u64::from(entry.index) + 1));
        }
    }

    #[test]
    fn who_joins_later_is_owed_what_came_later() {
        for before in [0, 1, 63, 64, 65, 200] {
            let mut ledger = Ledger::new(&[Room(0), Room(0)]);
            ledger.joined(Client(0));
            let send = |ledger: &mut Ledger| {
                let entry = ledger.sent(Client(0)).unwrap();
                ledger.acked(entry, None);
                ledger.delivered(Client(0), entry, None);
                entry
            };
            for _ in 0..before {
                send(&mut ledger);
            }
            ledger.joined(Client(1));
            ledger.joined(Client(1));
            let later: Vec<_> = (0..70).map(|_| send(&mut ledger)).collect();
            assert_eq!(ledger.verdict(1..2).lost, 70, "{before} before");
            later.iter().for_each(|entry| ledger.delivered(Client(1), *entry, None));
            assert_eq!(ledger.verdict(1..2), Verdict { owed: 70, delivered: 70, ..Verdict::default() });
            assert!(ledger.settled(0..2));
        }
    }

    #[test]
    fn a_message_that_one_has_seen_is_owed_to_all_though_nobody_acknowledged_it() {
        let mut ledger = Ledger::new(&[Room(0), Room(0)]);
        (0..2).for_each(|client| ledger.joined(Client(client)));
        let entry = ledger.sent(Client(0)).unwrap();
        assert_eq!(ledger.verdict(0..2).lost, 0);
        ledger.delivered(Client(0), entry, Some(1));
        assert_eq!(ledger.verdict(0..2).lost, 1);
        assert!(!ledger.settled(0..2));
    }

    #[test]
    fn a_swap_is_seen_by_the_publisher_s_order_even_without_numbers() {
        let (mut ledger, entries) = sent(3);
        for entry in [entries[1], entries[0], entries[2]] {
            ledger.delivered(Client(1), entry, None);
        }
        let expected = Verdict { owed: 3, delivered: 3, out_of_order: 1, ..Verdict::default() };
        assert_eq!(ledger.verdict(1..2), expected);
    }

    #[test]
    fn numbers_stand_for_one_message_and_messages_for_one_number() {
        let (mut ledger, entries) = sent(3);
        deliver(&mut ledger, 1, &entries);
        assert_eq!(ledger.storage(), Storage { sent: 3, acked: 3, ..Storage::default() });
        ledger.delivered(Client(0), entries[0], Some(4));
        ledger.delivered(Client(1), entries[0], Some(4));
        ledger.delivered(Client(0), entries[1], Some(3));
        let storage = ledger.storage();
        assert_eq!((storage.stored_twice, storage.misnumbered), (2, 1));
        ledger.delivered(Client(0), entries[2], Some(u64::MAX));
    }

    #[test]
    fn what_is_of_another_room_or_of_nobody_is_foreign() {
        let (mut ledger, entries) = sent(1);
        ledger.delivered(Client(2), entries[0], Some(1));
        ledger.delivered(Client(3), Entry { room: Room(1), index: 0 }, Some(1));
        assert_eq!(ledger.verdict(2..4), Verdict { foreign: 2, ..Verdict::default() });
    }
}
