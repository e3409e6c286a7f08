//! What a message says: which one it is and when it was due. So whoever gets it can be credited with it, in either
//! protocol, whatever envelope the server puts around it.

use std::fmt::Write as _;

/// A client of this run, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Client(pub(crate) u32);

/// A room of this run, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Room(pub(crate) u32);

/// One message: the room's `index`th that anybody wished to send, counted from 0. Not its `seq`, which is the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) room: Room,
    pub(crate) index: u32,
}

impl Entry {
    /// As `clientMessageId`.
    pub(crate) fn id(self) -> String {
        format!("m{}-{}", self.room.0, self.index)
    }

    pub(crate) fn from_id(id: &str) -> Option<Self> {
        let (room, index) = id.strip_prefix('m')?.split_once('-')?;
        Some(Self { room: Room(room.parse().ok()?), index: index.parse().ok()? })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) entry: Entry,
    /// µs since the run began. Latency counts from here, however late the sender came to send it.
    pub(crate) due_us: u64,
}

impl Mark {
    /// Padded to `bytes`, so that a message weighs what messages weigh.
    pub(crate) fn text(self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes);
        let _ = write!(text, "{} {} {} ", self.entry.room.0, self.entry.index, self.due_us);
        let padding = bytes.saturating_sub(text.len());
        text.extend(std::iter::repeat_n('x', padding));
        text
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(' ');
        let mut number = || fields.next()?.parse::<u64>().ok();
        let (room, index, due_us) = (number()?, number()?, number()?);
        let entry = Entry { room: Room(room.try_into().ok()?), index: index.try_into().ok()? };
        Some(Self { entry, due_us })
    }
}

/// What a client is asked to send.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) entry: Entry,
    pub(crate) text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_its_text_and_an_entry_its_id() {
        let mark = Mark { entry: Entry { room: Room(17), index: 4_000_000 }, due_us: 89_000_123 };
        let text = mark.text(128);
        assert_eq!(text.len(), 128);
        assert_eq!(Mark::parse(&text), Some(mark));
        assert_eq!(Mark::parse("hello"), None);
        assert_eq!(Entry::from_id(&mark.entry.id()), Some(mark.entry));
        assert_eq!(Entry::from_id("m1"), None);
    }
}
