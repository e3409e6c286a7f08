//! Full-text search over what was said in the rooms of a web site.
//!
//! The index follows the log: it remembers up to which event it has read, and reads on when somebody searches, or when
//! the host has nothing better to do. So a message pays nothing for being found later, edits and deletions are what they are
//! in the log, and a crash loses nothing. What it follows is the tables `room` and `event`: natively those of the shard, on
//! Cloudflare copies of them in the domain's object, which rooms send along when they tell how they stand.

use serde::{Deserialize, Serialize};

use super::log::{Kind, Log};
use super::{Sql, SqlError, Value, first};
use crate::ids::{DomainId, RoomId, Seq, fnv1a};
use crate::inbox::search::SearchQuery;
use crate::limits::SEARCH_FOLLOWED_AT_ONCE;
use crate::rooms::message::Message;

/// An event of a room's log as it is copied.
#[derive(Serialize, Deserialize)]
pub struct LogRow {
    pub seq: u64,
    kind: i64,
    at: i64,
    user_id: String,
    user_name: String,
    role: String,
    socket_id: String,
    client_message_id: Option<String>,
    text: String,
    attachments: Option<String>,
    target_seq: Option<i64>,
}

/// The index, for a store that holds logs.
pub fn open(sql: &mut dyn Sql) -> Result<(), SqlError> {
    TABLES.iter().try_for_each(|statement| sql.run(statement, &[]))
}

/// What is followed, for a store that does not hold it anyway. The index itself is made when somebody searches.
pub fn open_copies(sql: &mut dyn Sql) -> Result<(), SqlError> {
    COPIES.iter().try_for_each(|statement| sql.run(statement, &[]))
}

const COPIES: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS room (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        epoch TEXT NOT NULL,
        domain TEXT
    ) STRICT",
    "CREATE TABLE IF NOT EXISTS event (
        id INTEGER PRIMARY KEY,
        room INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        at INTEGER NOT NULL,
        user_id TEXT NOT NULL,
        user_name TEXT NOT NULL,
        role TEXT NOT NULL,
        socket_id TEXT NOT NULL,
        client_message_id TEXT,
        text TEXT NOT NULL,
        attachments TEXT,
        target_seq INTEGER
    ) STRICT",
    "CREATE UNIQUE INDEX IF NOT EXISTS event_by_seq ON event (room, seq)",
    "CREATE INDEX IF NOT EXISTS event_by_target ON event (room, target_seq, kind) WHERE target_seq IS NOT NULL",
];

const TABLES: [&str; 8] = [
    // Words only: the text itself stands in the log. `site` keeps the words of one domain from those of others.
    "CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5 (
        site, text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2')",
    // Up to which event has been read.
    "CREATE TABLE IF NOT EXISTS search_followed (id INTEGER PRIMARY KEY, event INTEGER NOT NULL) STRICT",
    // Rooms that came to a domain after they had been read.
    "CREATE TABLE IF NOT EXISTS search_late (room INTEGER PRIMARY KEY) STRICT",
    // Up to which place of its log such a room has been read, if that takes more than one go.
    "CREATE TABLE IF NOT EXISTS search_late_read (room INTEGER PRIMARY KEY, seq INTEGER NOT NULL) STRICT",
    "CREATE TRIGGER IF NOT EXISTS search_disowns AFTER DELETE ON room BEGIN
        DELETE FROM search_late WHERE room = old.id;
        DELETE FROM search_late_read WHERE room = old.id;
    END",
    "CREATE TRIGGER IF NOT EXISTS search_adopts AFTER UPDATE OF domain ON room BEGIN
        INSERT OR IGNORE INTO search_late (room) VALUES (new.id);
    END",
    "CREATE TRIGGER IF NOT EXISTS search_forgets AFTER DELETE ON event WHEN old.kind = 0 BEGIN
        DELETE FROM search WHERE rowid = old.id;
    END",
    // An event's id is one above the highest there is, so those of the newest events are given again once these are gone:
    // the mark must not stand above what is left, or their successors would never be read.
    "CREATE TRIGGER IF NOT EXISTS search_recedes AFTER DELETE ON event BEGIN
        UPDATE search_followed SET event = (SELECT coalesce(max(id), 0) FROM event)
            WHERE event > (SELECT coalesce(max(id), 0) FROM event);
    END",
];

/// Reads on. True if it has read all there is.
pub fn follow(sql: &mut dyn Sql) -> Result<bool, SqlError> {
    if !follow_late(sql)? {
        return Ok(false);
    }
    let from =
        first(sql, "SELECT event FROM search_followed WHERE id = 1", &[], |row| row.int(0))?.unwrap_or(0);
    let news = events(
        sql,
        "SELECT event.id, room.domain, event.kind, event.text, event.room, event.target_seq, event.seq
            FROM event JOIN room ON room.id = event.room WHERE event.id > ? ORDER BY event.id LIMIT ?",
        &[Value::Int(from), Value::Int(SEARCH_FOLLOWED_AT_ONCE as i64)],
    )?;
    let Some(last) = news.last().map(|event| event.id) else { return Ok(true) };
    for event in &news {
        event.enter(sql)?;
    }
    sql.run(
        "INSERT INTO search_followed (id, event) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET event = excluded.event",
        &[Value::Int(last)],
    )?;
    Ok(news.len() < SEARCH_FOLLOWED_AT_ONCE)
}

/// A part of one room. True if there is none.
fn follow_late(sql: &mut dyn Sql) -> Result<bool, SqlError> {
    let late = first(
        sql,
        "SELECT room, coalesce(seq, 0) FROM search_late LEFT JOIN search_late_read USING (room) LIMIT 1",
        &[],
        |row| (row.int(0), row.int(1)),
    )?;
    let Some((room, from)) = late else { return Ok(true) };
    let part = events(
        sql,
        "SELECT event.id, room.domain, event.kind, event.text, event.room, event.target_seq, event.seq
            FROM event JOIN room ON room.id = event.room WHERE event.room = ? AND event.seq > ?
            ORDER BY event.seq LIMIT ?",
        &[Value::Int(room), Value::Int(from), Value::Int(SEARCH_FOLLOWED_AT_ONCE as i64)],
    )?;
    for event in &part {
        event.enter(sql)?;
    }
    match part.last().filter(|_| part.len() == SEARCH_FOLLOWED_AT_ONCE) {
        Some(last) => sql.run(
            "INSERT OR REPLACE INTO search_late_read (room, seq) VALUES (?, ?)",
            &[Value::Int(room), Value::Int(last.seq)],
        )?,
        None => ["DELETE FROM search_late WHERE room = ?", "DELETE FROM search_late_read WHERE room = ?"]
            .into_iter()
            .try_for_each(|statement| sql.run(statement, &[Value::Int(room)]))?,
    }
    Ok(false)
}

/// What of an event matters to the index.
struct Followed {
    id: i64,
    site: Option<String>,
    kind: i64,
    text: String,
    room: i64,
    target: i64,
    seq: i64,
}

fn events(
    sql: &mut dyn Sql,
    statement: &'static str,
    params: &[Value<'_>],
) -> Result<Vec<Followed>, SqlError> {
    let mut found = Vec::new();
    sql.query(statement, params, &mut |row| {
        found.push(Followed {
            id: row.int(0),
            site: row.opt_text(1).map(site_word),
            kind: row.int(2),
            text: row.text(3).into(),
            room: row.int(4),
            target: row.int(5),
            seq: row.int(6),
        });
    })?;
    Ok(found)
}

impl Followed {
    fn enter(&self, sql: &mut dyn Sql) -> Result<(), SqlError> {
        // In no domain's list, so nobody can look for it.
        let Some(site) = &self.site else { return Ok(()) };
        match self.kind {
            0 => write(sql, self.id, site, &self.text),
            1 | 2 => match self.target_id(sql)? {
                Some(id) if self.kind == 1 => write(sql, id, site, &self.text),
                Some(id) => sql.run("DELETE FROM search WHERE rowid = ?", &[Value::Int(id)]),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn target_id(&self, sql: &mut dyn Sql) -> Result<Option<i64>, SqlError> {
        let statement = "SELECT id FROM event WHERE room = ? AND seq = ? AND kind = 0";
        first(sql, statement, &[Value::Int(self.room), Value::Int(self.target)], |row| row.int(0))
    }
}

fn write(sql: &mut dyn Sql, id: i64, site: &str, text: &str) -> Result<(), SqlError> {
    sql.run(
        "INSERT OR REPLACE INTO search (rowid, site, text) VALUES (?, ?, ?)",
        &[Value::Int(id), Value::Text(site), Value::Text(text)],
    )
}

/// One word that stands for a domain, whatever characters it is made of.
fn site_word(domain: &str) -> String {
    format!("d{:016x}", fnv1a(domain))
}

/// The newest messages that a query means, and one more if there are more.
pub fn find(sql: &mut dyn Sql, query: &SearchQuery) -> Result<Vec<Message>, SqlError> {
    let SearchQuery { domain, words, before, limit } = query;
    let matching = format!("site : {} AND text : ({})", site_word(domain.as_str()), words.matching());
    let (at, room, seq) = match before {
        Some(before) => (before.at.0, before.room.as_str(), before.seq.0 as i64),
        None => (i64::MAX >> 11, "", 0), // what crosses as a double stays a whole number
    };
    let mut found = Vec::new();
    sql.query(
        "SELECT event.seq, event.at, event.user_id, event.user_name, event.role, event.socket_id,
            event.client_message_id,
            coalesce((SELECT edit.text FROM event AS edit WHERE edit.room = event.room
                AND edit.target_seq = event.seq AND edit.kind = 1 ORDER BY +edit.seq DESC LIMIT 1), event.text),
            event.attachments, room.name, room.epoch
            FROM search JOIN event ON event.id = search.rowid JOIN room ON room.id = event.room
            WHERE search MATCH ?1 AND room.domain = ?2 AND (event.at < ?3 OR (event.at = ?3
                AND (room.name > ?4 OR (room.name = ?4 AND event.seq < ?5))))
            ORDER BY event.at DESC, room.name, event.seq DESC LIMIT ?6",
        &[
            Value::Text(&matching),
            Value::Text(domain.as_str()),
            Value::Int(at),
            Value::Text(room),
            Value::Int(seq),
            Value::Int(*limit as i64 + 1),
        ],
        &mut |row| {
            let name = RoomId::known(row.text(9));
            found.extend(Log { room: 0, name: &name, epoch: row.text(10) }.message(row));
        },
    )?;
    Ok(found)
}

/// A part of a room's log to be copied.
pub fn log_rows(sql: &mut dyn Sql, room: &RoomId, after: Seq, limit: usize) -> Result<Vec<LogRow>, SqlError> {
    let mut rows = Vec::new();
    sql.query(
        "SELECT seq, kind, at, user_id, user_name, role, socket_id, client_message_id, text, attachments, target_seq
            FROM event WHERE room = (SELECT id FROM room WHERE name = ?) AND seq > ? ORDER BY seq LIMIT ?",
        &[Value::Text(room.as_str()), Value::Int(after.0 as i64), Value::Int(limit as i64)],
        &mut |row| {
            rows.push(LogRow {
                seq: row.count(0),
                kind: row.int(1),
                at: row.int(2),
                user_id: row.text(3).into(),
                user_name: row.text(4).into(),
                role: row.text(5).into(),
                socket_id: row.text(6).into(),
                client_message_id: row.opt_text(7).map(Into::into),
                text: row.text(8).into(),
                attachments: row.opt_text(9).map(Into::into),
                target_seq: Some(row.int(10)).filter(|seq| *seq > 0),
            });
        },
    )?;
    Ok(rows)
}

/// Copies what is new of a part of a room's log. Up to which place it is known then: less than was sent where something in
/// between is missing.
pub fn copy(
    sql: &mut dyn Sql,
    (domain, room, epoch): (&DomainId, &RoomId, &str),
    rows: &[LogRow],
) -> Result<Seq, SqlError> {
    let id = room_copy(sql, (domain, room, epoch))?;
    let last = "SELECT coalesce(max(seq), 0) FROM event WHERE room = ?";
    let mut known = first(sql, last, &[Value::Int(id)], |row| row.count(0))?.unwrap_or(0);
    for row in rows {
        // What was there before a cut is not kept any more.
        let is_cut = row.kind == Kind::Cut as i64 && row.seq > known;
        if row.seq == known + 1 || is_cut {
            row.keep(sql, id)?;
            known = row.seq;
        }
    }
    Ok(Seq(known))
}

impl LogRow {
    fn keep(&self, sql: &mut dyn Sql, room: i64) -> Result<(), SqlError> {
        sql.run(
            "INSERT INTO event (room, seq, kind, at, user_id, user_name, role, socket_id, client_message_id, text,
                attachments, target_seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            &[
                Value::Int(room),
                Value::Int(self.seq as i64),
                Value::Int(self.kind),
                Value::Int(self.at),
                Value::Text(&self.user_id),
                Value::Text(&self.user_name),
                Value::Text(&self.role),
                Value::Text(&self.socket_id),
                Value::text(self.client_message_id.as_deref()),
                Value::Text(&self.text),
                Value::text(self.attachments.as_deref()),
                self.target_seq.map_or(Value::Null, Value::Int),
            ],
        )
    }
}

fn room_copy(sql: &mut dyn Sql, (domain, room, epoch): (&DomainId, &RoomId, &str)) -> Result<i64, SqlError> {
    let name = Value::Text(room.as_str());
    let known = first(sql, "SELECT id, epoch FROM room WHERE name = ?", &[name], |row| {
        (row.int(0), row.text(1) == epoch)
    })?;
    if let Some((id, true)) = known {
        return Ok(id);
    }
    if known.is_some() {
        forget_copy(sql, room)?;
    }
    let made = first(
        sql,
        "INSERT INTO room (name, epoch, domain) VALUES (?, ?, ?) RETURNING id",
        &[name, Value::Text(epoch), Value::Text(domain.as_str())],
        |row| row.int(0),
    )?;
    made.ok_or_else(|| SqlError("INSERT … RETURNING gave no row".into()))
}

/// Rooms in whose copies that user has said something.
pub fn rooms_of_author(sql: &mut dyn Sql, user: &str) -> Result<Vec<RoomId>, SqlError> {
    let mut rooms = Vec::new();
    sql.query(
        "SELECT name FROM room WHERE EXISTS (SELECT 1 FROM event WHERE event.room = room.id AND user_id = ?)",
        &[Value::Text(user)],
        &mut |row| rooms.push(RoomId::known(row.text(0))),
    )?;
    Ok(rooms)
}

/// The room is no more.
pub fn forget_copy(sql: &mut dyn Sql, room: &RoomId) -> Result<(), SqlError> {
    sql.run(
        "DELETE FROM event WHERE room IN (SELECT id FROM room WHERE name = ?)",
        &[Value::Text(room.as_str())],
    )?;
    sql.run("DELETE FROM room WHERE name = ?", &[Value::Text(room.as_str())])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;
    use crate::ids::UserId;
    use crate::store::desk::set_domain;
    use crate::store::erasure;
    use crate::store::log::{self, Change, Kind};
    use crate::store::memory::Memory;
    use crate::time::UnixMs;

    struct World {
        store: Memory,
        seq: u64,
        at: i64,
    }

    impl World {
        fn new() -> Self {
            let mut store = Memory::new();
            open(&mut store).unwrap();
            Self { store, seq: 0, at: 0 }
        }

        fn room(&mut self, name: &str, domain: Option<&str>) -> i64 {
            log::create_room(&mut self.store, &RoomId::known(name), "epoch", domain, UnixMs(0)).unwrap()
        }

        fn say(&mut self, room: i64, text: &str) -> Seq {
            (self.seq, self.at) = (self.seq + 1, self.at + 1);
            let message = Message {
                id: Message::id_of("epoch", Seq(self.seq)),
                room_id: RoomId::known("any"),
                seq: Seq(self.seq),
                message: text.into(),
                user_id: user(),
                user_name: "Ann".into(),
                role: "user".into(),
                socket_id: "socket".into(),
                client_message_id: None,
                attachments: None,
                sources: None,
                timestamp: UnixMs(self.at),
            };
            log::append_message(&mut self.store, room, &message).unwrap();
            message.seq
        }

        fn change(&mut self, room: i64, kind: Kind, target: Seq, text: &str) {
            self.seq += 1;
            let user = user();
            let change = Change {
                seq: Seq(self.seq),
                kind,
                at: UnixMs(self.at),
                user: &user,
                text,
                target: Some(target),
            };
            log::append_change(&mut self.store, room, &change).unwrap();
        }

        fn found(&mut self, query: &str) -> Vec<String> {
            while !follow(&mut self.store).unwrap() {}
            let query = SearchQuery::parse(query).unwrap();
            let found = find(&mut self.store, &query).unwrap();
            found.into_iter().map(|message| message.message.to_string()).collect()
        }
    }

    fn user() -> UserId {
        UserId::parse("ann").unwrap()
    }

    /// Where nothing is but copies.
    fn copies() -> Memory {
        let mut store = Memory::new();
        store.control("DROP TABLE event; DROP TABLE room;");
        open_copies(&mut store).unwrap();
        open(&mut store).unwrap();
        store
    }

    #[test]
    fn what_was_said_is_found_by_its_words_newest_first_and_in_its_own_domain() {
        let mut world = World::new();
        let (shop, other, none) =
            (world.room("a", Some("shop")), world.room("b", Some("other")), world.room("c", None));
        for room in [shop, other, none] {
            world.say(room, "a red hat");
            world.say(room, "ein roter Hüt");
        }
        assert_eq!(world.found("domainId=shop&q=hat"), ["a red hat"]);
        assert_eq!(world.found("domainId=shop&q=HUT"), ["ein roter Hüt"], "however it is accented");
        assert_eq!(
            world.found("domainId=shop&q=r"),
            ["ein roter Hüt", "a red hat"],
            "by the beginning of a word"
        );
        assert_eq!(world.found("domainId=shop&q=red+hu"), [""; 0], "all words have to be there");
        assert_eq!(world.found("domainId=nobody&q=hat"), [""; 0]);
    }

    #[test]
    fn edits_and_deletions_are_what_they_are() {
        let mut world = World::new();
        let room = world.room("a", Some("shop"));
        let (one, two) = (world.say(room, "first"), world.say(room, "second"));
        assert_eq!(world.found("domainId=shop&q=first"), ["first"]);
        world.change(room, Kind::Edit, one, "third");
        world.change(room, Kind::Deletion, two, "");
        assert_eq!(world.found("domainId=shop&q=first"), [""; 0]);
        assert_eq!(world.found("domainId=shop&q=second"), [""; 0]);
        assert_eq!(world.found("domainId=shop&q=third"), ["third"]);
    }

    #[test]
    fn a_room_that_comes_to_a_domain_late_brings_what_was_said() {
        let mut world = World::new();
        let room = world.room("a", None);
        world.say(room, "early");
        assert_eq!(world.found("domainId=shop&q=early"), [""; 0]);
        set_domain(&mut world.store, room, "shop").unwrap();
        assert_eq!(world.found("domainId=shop&q=early"), ["early"]);
    }

    #[test]
    fn a_long_room_that_comes_late_is_read_in_parts() {
        let mut world = World::new();
        let room = world.room("a", None);
        for n in 0..SEARCH_FOLLOWED_AT_ONCE + 1 {
            world.say(room, &format!("hat {n}"));
        }
        while !follow(&mut world.store).unwrap() {}
        set_domain(&mut world.store, room, "shop").unwrap();
        let words = |world: &mut World| {
            first(&mut world.store, "SELECT count(*) FROM search", &[], |row| row.int(0)).unwrap()
        };
        assert!(!follow(&mut world.store).unwrap());
        assert_eq!(words(&mut world), Some(SEARCH_FOLLOWED_AT_ONCE as i64));
        while !follow(&mut world.store).unwrap() {}
        assert_eq!(words(&mut world), Some(SEARCH_FOLLOWED_AT_ONCE as i64 + 1));
    }

    #[test]
    fn what_is_erased_is_not_found() {
        let mut world = World::new();
        let room = world.room("a", Some("shop"));
        world.say(room, "secret");
        assert_eq!(world.found("domainId=shop&q=secret"), ["secret"]);
        world.store.control("DELETE FROM event");
        let mut words = 0;
        world.store.query("SELECT count(*) FROM search", &[], &mut |row| words = row.int(0)).unwrap();
        assert_eq!(words, 0);
    }

    #[test]
    fn what_is_said_after_the_newest_was_erased_is_found() {
        let mut world = World::new();
        let (kept, erased) = (world.room("a", Some("shop")), world.room("b", Some("shop")));
        world.say(kept, "hat 1");
        for n in 2..6 {
            world.say(erased, &format!("hat {n}"));
        }
        assert_eq!(world.found("domainId=shop&q=hat").len(), 5);
        let mut removed = erasure::Removed::default();
        erasure::room(&mut world.store, erased, &RoomId::known("b"), &mut removed).unwrap();
        world.say(kept, "hat 6");
        assert_eq!(world.found("domainId=shop&q=hat"), ["hat 6", "hat 1"]);
        let until = UnixMs(world.at + 1);
        erasure::log_before(&mut world.store, kept, until, &mut removed).unwrap();
        world.say(kept, "hat 7");
        assert_eq!(world.found("domainId=shop&q=hat"), ["hat 7"]);
    }

    #[test]
    fn what_is_copied_after_a_copy_was_forgotten_is_found() {
        let mut world = World::new();
        for name in ["a", "b"] {
            let room = world.room(name, Some("shop"));
            for n in 1..4 {
                world.say(room, &format!("hat {n}"));
            }
            world.seq = 0;
        }
        let mut elsewhere = copies();
        let domain = DomainId::parse("shop").unwrap();
        let mut copied = |world: &mut World, name: &str, epoch| {
            let rows = log_rows(&mut world.store, &RoomId::known(name), Seq(0), 9).unwrap();
            copy(&mut elsewhere, (&domain, &RoomId::known(name), epoch), &rows).unwrap();
            while !follow(&mut elsewhere).unwrap() {}
            find(&mut elsewhere, &SearchQuery::parse("domainId=shop&q=hat").unwrap()).unwrap().len()
        };
        assert_eq!(copied(&mut world, "a", "epoch"), 3);
        assert_eq!(copied(&mut world, "b", "epoch"), 6);
        assert_eq!(copied(&mut world, "b", "another"), 6, "the first copy of b is forgotten");
    }

    #[test]
    fn pages_go_on_where_the_last_ended() {
        let mut world = World::new();
        let room = world.room("a", Some("shop"));
        for n in 0..25 {
            world.say(room, &format!("hat {n}"));
        }
        while !follow(&mut world.store).unwrap() {}
        let (mut seen, mut cursor) = (0, String::new());
        loop {
            let query = SearchQuery::parse(&format!("domainId=shop&q=hat&limit=10{cursor}")).unwrap();
            let page = query.page(find(&mut world.store, &query).unwrap(), false);
            seen += page.results.len();
            match page.cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, 25);
    }

    #[test]
    fn a_copy_has_no_gap_and_no_double() {
        let mut world = World::new();
        let room = world.room("a", Some("shop"));
        for n in 0..9 {
            world.say(room, &format!("hat {n}"));
        }
        let rows = |world: &mut World, after, limit| {
            log_rows(&mut world.store, &RoomId::known("a"), Seq(after), limit).unwrap()
        };
        let parts =
            [rows(&mut world, 0, 3), rows(&mut world, 5, 4), rows(&mut world, 2, 4), rows(&mut world, 0, 9)];
        let mut elsewhere = copies();
        let (domain, name) = (DomainId::parse("shop").unwrap(), RoomId::known("a"));
        let known: Vec<u64> = parts
            .iter()
            .map(|part| copy(&mut elsewhere, (&domain, &name, "epoch"), part).unwrap().0)
            .collect();
        assert_eq!(known, [3, 3, 6, 9]);
    }
}
