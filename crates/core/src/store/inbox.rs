//! The list of a domain's rooms, as far as they have told it.

use super::{Row, Sql, SqlError, Value, first};
use crate::ids::{DomainId, RoomId, UserId};
use crate::inbox::query::{Assignee, Cursor, Filter, RoomsQuery, Way};
use crate::inbox::{Listing, RoomSummary, State};

/// The tables of the list; made when the first room has something to say.
pub fn open(sql: &mut dyn Sql) -> Result<(), SqlError> {
    TABLES.iter().try_for_each(|statement| sql.run(statement, &[]))
}

const TABLES: [&str; 5] = [
    // `change` counts the changes of the whole list: the room's last one. `state` is inbox::State, `summary` is
    // inbox::RoomSummary as JSON.
    "CREATE TABLE IF NOT EXISTS inbox_room (
        id INTEGER PRIMARY KEY,
        domain TEXT NOT NULL,
        room TEXT NOT NULL,
        epoch TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        change INTEGER NOT NULL,
        state INTEGER NOT NULL,
        assignee TEXT,
        messages INTEGER NOT NULL,
        answers INTEGER NOT NULL,
        summary TEXT NOT NULL
    ) STRICT",
    "CREATE UNIQUE INDEX IF NOT EXISTS inbox_room_by_name ON inbox_room (domain, room)",
    "CREATE INDEX IF NOT EXISTS inbox_room_by_change ON inbox_room (domain, change)",
    // The few that an inbox is opened for must not be searched for among the many that are done.
    "CREATE INDEX IF NOT EXISTS inbox_room_at_hand ON inbox_room (domain, change) WHERE state IN (1, 2)",
    // How many of a room's messages an agent has read.
    "CREATE TABLE IF NOT EXISTS inbox_read (
        room INTEGER NOT NULL,
        user_id TEXT NOT NULL,
        messages INTEGER NOT NULL,
        PRIMARY KEY (room, user_id)
    ) STRICT, WITHOUT ROWID",
];

/// What is new of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// Said since it was last told, and of these by the AI.
    pub messages: u64,
    pub answers: u64,
}

/// Keeps what a room tells. None if that is no news.
pub fn hear(sql: &mut dyn Sql, listing: &Listing) -> Result<Option<News>, SqlError> {
    let domain = Value::Text(listing.domain.as_str());
    let name = Value::Text(listing.summary.room_id.as_str());
    let known = first(
        sql,
        "SELECT id, epoch, created_at, revision, messages, answers FROM inbox_room WHERE domain = ? AND room = ?",
        &[domain, name],
        |row| {
            let is_same = row.text(1) == &*listing.epoch;
            let is_newer = match is_same {
                true => listing.revision > row.count(3),
                false => listing.summary.created_at.0 >= row.int(2),
            };
            let told = if is_same { (row.count(4), row.count(5)) } else { (0, 0) };
            (row.int(0), is_newer, told)
        },
    )?;
    let is_news = known.is_none_or(|(_, is_newer, _)| is_newer);
    let id = match (known, is_news) {
        (Some((id, ..)), false) => Some(id),
        _ => keep(sql, listing)?,
    };
    let told = known.map_or((0, 0), |(_, _, told)| told);
    let news = News {
        messages: listing.messages.saturating_sub(told.0),
        answers: listing.answers.saturating_sub(told.1),
    };
    if let Some(id) = id {
        for (user, messages) in &listing.reads {
            note_read(sql, id, user, *messages)?;
        }
    }
    Ok(is_news.then_some(news))
}

fn keep(sql: &mut dyn Sql, listing: &Listing) -> Result<Option<i64>, SqlError> {
    let Listing { domain, epoch, revision, messages, answers, summary, .. } = listing;
    let json = serde_json::to_string(summary).map_err(|error| SqlError(error.to_string()))?;
    first(
        sql,
        "INSERT INTO inbox_room (domain, room, epoch, created_at, revision, change, state, assignee, messages, answers,
                summary)
            VALUES (?1, ?2, ?3, ?4, ?5,
                coalesce((SELECT max(change) FROM inbox_room WHERE domain = ?1), 0) + 1, ?6, ?7, ?8, ?9, ?10)
            ON CONFLICT (domain, room) DO UPDATE SET epoch = excluded.epoch, created_at = excluded.created_at,
                revision = excluded.revision, change = excluded.change, state = excluded.state,
                assignee = excluded.assignee, messages = excluded.messages, answers = excluded.answers, summary = excluded.summary
            RETURNING id",
        &[
            Value::Text(domain.as_str()),
            Value::Text(summary.room_id.as_str()),
            Value::Text(epoch),
            Value::Int(summary.created_at.0),
            Value::Int(*revision as i64),
            Value::Int(summary.state as i64),
            Value::text(summary.assignee.as_ref().map(|assignee| assignee.user_id.as_str())),
            Value::Int(*messages as i64),
            Value::Int(*answers as i64),
            Value::Text(&json),
        ],
        |row| row.int(0),
    )
}

fn note_read(sql: &mut dyn Sql, room: i64, user: &UserId, messages: u64) -> Result<(), SqlError> {
    sql.run(
        "INSERT INTO inbox_read (room, user_id, messages) VALUES (?, ?, ?)
            ON CONFLICT (room, user_id) DO UPDATE SET messages = excluded.messages
            WHERE excluded.messages > inbox_read.messages",
        &[Value::Int(room), Value::Text(user.as_str()), Value::Int(messages as i64)],
    )
}

/// Rooms of the list that serve that user, or in which they have read.
pub fn rooms_of(sql: &mut dyn Sql, user: &str) -> Result<Vec<RoomId>, SqlError> {
    let mut rooms = Vec::new();
    sql.query(
        "SELECT room FROM inbox_room WHERE json_extract(summary, '$.customer.userId') = ?1
            OR id IN (SELECT room FROM inbox_read WHERE user_id = ?1) ORDER BY room",
        &[Value::Text(user)],
        &mut |row| rooms.push(RoomId::known(row.text(0))),
    )?;
    Ok(rooms)
}

/// The room is no more.
pub fn forget(sql: &mut dyn Sql, domain: &DomainId, room: &RoomId) -> Result<(), SqlError> {
    let gone = first(
        sql,
        "DELETE FROM inbox_room WHERE domain = ? AND room = ? RETURNING id",
        &[Value::Text(domain.as_str()), Value::Text(room.as_str())],
        |row| row.int(0),
    )?;
    gone.map_or(Ok(()), |id| sql.run("DELETE FROM inbox_read WHERE room = ?", &[Value::Int(id)]))
}

/// How many of its messages this agent has not read.
pub fn unread(
    sql: &mut dyn Sql,
    domain: &DomainId,
    room: &RoomId,
    reader: &UserId,
) -> Result<Option<u64>, SqlError> {
    first(
        sql,
        "SELECT messages, (SELECT messages FROM inbox_read WHERE room = inbox_room.id AND user_id = ?)
            FROM inbox_room WHERE domain = ? AND room = ?",
        &[Value::Text(reader.as_str()), Value::Text(domain.as_str()), Value::Text(room.as_str())],
        |row| row.count(0).saturating_sub(row.count(1)),
    )
}

/// One page, and the cursor of the next if there is one.
pub fn list(sql: &mut dyn Sql, query: &RoomsQuery) -> Result<(Vec<RoomSummary>, Option<Cursor>), SqlError> {
    let cursor = match query.cursor {
        Some(cursor) => cursor,
        None => {
            let top = top(sql, &query.domain)?;
            Cursor { way: Way::Down(top + 1), top }
        }
    };
    let mut page = match cursor.way {
        Way::Down(before) => read(sql, query, (DOWN, DOWN_AT_HAND), before, query.limit + 1)?,
        Way::Up(_) => Vec::new(),
    };
    if page.len() > query.limit {
        page.truncate(query.limit);
        let before = page.last().map_or(0, |(change, _)| *change);
        return Ok((summaries(page), Some(Cursor { way: Way::Down(before), ..cursor })));
    }
    let after = match cursor.way {
        Way::Down(_) => cursor.top,
        Way::Up(after) => after,
    };
    let room_left = query.limit - page.len();
    let mut moved = read(sql, query, (UP, UP_AT_HAND), after, room_left + 1)?;
    let has_more = moved.len() > room_left;
    moved.truncate(room_left);
    let after = moved.last().map_or(after, |(change, _)| *change);
    page.extend(moved);
    let next = has_more.then_some(Cursor { way: Way::Up(after), ..cursor });
    Ok((summaries(page), next))
}

fn top(sql: &mut dyn Sql, domain: &DomainId) -> Result<u64, SqlError> {
    let statement = "SELECT coalesce(max(change), 0) FROM inbox_room WHERE domain = ?";
    Ok(first(sql, statement, &[Value::Text(domain.as_str())], |row| row.count(0))?.unwrap_or(0))
}

macro_rules! listed {
    ($change:literal, $order:literal, $among:literal) => {
        concat!(
            "SELECT change, summary, messages,
                (SELECT messages FROM inbox_read WHERE room = inbox_room.id AND user_id = ?3)
            FROM inbox_room WHERE domain = ?1 AND change ",
            $change,
            " ?2 AND (?4 IS NULL OR state = ?4) AND (?5 IS NULL OR coalesce(assignee, '') = ?5)",
            $among,
            " ORDER BY change ",
            $order,
            " LIMIT ?6"
        )
    };
}

const DOWN: &str = listed!("<", "DESC", "");
const UP: &str = listed!(">", "ASC", "");
/// The same, said so that SQLite sees that the small index answers it.
const DOWN_AT_HAND: &str = listed!("<", "DESC", " AND state IN (1, 2)");
const UP_AT_HAND: &str = listed!(">", "ASC", " AND state IN (1, 2)");

fn read(
    sql: &mut dyn Sql,
    query: &RoomsQuery,
    (all, at_hand): (&'static str, &'static str),
    change: u64,
    limit: usize,
) -> Result<Vec<(u64, RoomSummary)>, SqlError> {
    let Filter { state, assignee } = &query.filter;
    let statement = if matches!(state, Some(State::Waiting | State::Live)) { at_hand } else { all };
    let mut found = Vec::new();
    let reader = query.reader.as_ref().map(UserId::as_str);
    let params = [
        Value::Text(query.domain.as_str()),
        Value::Int(change as i64),
        Value::text(reader),
        state.map_or(Value::Null, |state| Value::Int(state as i64)),
        match assignee {
            Assignee::Anyone => Value::Null,
            Assignee::Nobody => Value::Text(""),
            Assignee::One(user) => Value::Text(user.as_str()),
        },
        Value::Int(limit as i64),
    ];
    sql.query(statement, &params, &mut |row| found.extend(listed(row, reader.is_some())))?;
    Ok(found)
}

/// None for a row that no release of ours can have written.
fn listed(row: &dyn Row, counts_unread: bool) -> Option<(u64, RoomSummary)> {
    let summary: RoomSummary = serde_json::from_str(row.text(1)).ok()?;
    let unread = counts_unread.then(|| row.count(2).saturating_sub(row.count(3)));
    Some((row.count(0), RoomSummary { unread, ..summary }))
}

fn summaries(page: Vec<(u64, RoomSummary)>) -> Vec<RoomSummary> {
    page.into_iter().map(|(_, summary)| summary).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ids::Seq;
    use crate::store::log;
    use crate::store::memory::Memory;
    use crate::time::UnixMs;

    fn listing(room: &str, revision: u64) -> Listing {
        let summary = RoomSummary {
            room_id: RoomId::known(room),
            domain_id: DomainId::parse("shop"),
            state: State::Open,
            assignee: None,
            customer: None,
            last_message: None,
            seq: Seq(revision),
            unread: None,
            page: None,
            rating: None,
            waiting_since: None,
            created_at: UnixMs(1),
            updated_at: UnixMs(1),
        };
        let domain = DomainId::parse("shop").unwrap();
        Listing {
            domain,
            epoch: "e".into(),
            revision,
            messages: revision,
            answers: 0,
            summary,
            reads: Vec::new(),
        }
    }

    fn store() -> Memory {
        let mut store = Memory::new();
        open(&mut store).unwrap();
        store
    }

    fn page(store: &mut Memory, limit: usize, cursor: Option<Cursor>) -> (Vec<String>, Option<Cursor>) {
        let mut query = RoomsQuery::parse("domainId=shop").unwrap();
        (query.limit, query.cursor) = (limit, cursor);
        let (rooms, next) = list(store, &query).unwrap();
        (rooms.into_iter().map(|room| room.room_id.to_string()).collect(), next)
    }

    #[test]
    fn what_was_told_late_or_twice_changes_nothing() {
        let mut store = store();
        assert_eq!(hear(&mut store, &listing("a", 5)).unwrap(), Some(News { messages: 5, answers: 0 }));
        for old in [5, 4, 0] {
            assert_eq!(hear(&mut store, &listing("a", old)).unwrap(), None);
        }
        assert_eq!(hear(&mut store, &listing("a", 6)).unwrap(), Some(News { messages: 1, answers: 0 }));
        let anew = Listing { epoch: "f".into(), ..listing("a", 1) };
        assert!(hear(&mut store, &anew).unwrap().is_some(), "erased and made anew");
    }

    #[test]
    fn a_room_that_begins_a_new_epoch_with_its_list_is_not_counted_again() {
        let mut store = store();
        let id = log::create_room(&mut store, &RoomId::known("a"), "e", Some("shop"), UnixMs(1)).unwrap();
        hear(&mut store, &listing("a", 5)).unwrap();
        log::renew_epochs(&mut store, 7).unwrap();
        let epoch = "SELECT epoch FROM room WHERE id = ?";
        let renewed =
            first(&mut store, epoch, &[Value::Int(id)], |row| row.text(0).to_owned()).unwrap().unwrap();
        assert_ne!(renewed, "e");
        let next = Listing { epoch: renewed.as_str().into(), ..listing("a", 6) };
        assert_eq!(hear(&mut store, &next).unwrap(), Some(News { messages: 1, answers: 0 }));
    }

    #[test]
    fn a_reader_of_pages_misses_no_room_however_they_change() {
        let mut store = store();
        for n in 0..100 {
            hear(&mut store, &listing(&format!("room {n}"), 1)).unwrap();
        }
        let (mut seen, mut cursor, mut pages) = (BTreeSet::new(), None, 0);
        loop {
            let (rooms, next) = page(&mut store, 7, cursor);
            assert!(rooms.len() <= 7);
            seen.extend(rooms);
            pages += 1;
            // Behind the reader's back the rooms that come last move to the top.
            for n in 0..5 {
                let name = format!("room {}", (pages * 5 + n) % 40);
                hear(&mut store, &listing(&name, 1 + pages)).unwrap();
            }
            match next {
                Some(next) if pages < 20 => cursor = Some(Cursor::parse(&next.written()).unwrap()),
                Some(_) => break,
                None => break,
            }
        }
        assert_eq!(seen.len(), 100);
    }

    #[test]
    fn a_list_that_rests_is_read_once_and_newest_first() {
        let mut store = store();
        for n in 0..10 {
            hear(&mut store, &listing(&format!("{n}"), 1)).unwrap();
        }
        let (first, cursor) = page(&mut store, 5, None);
        let (second, end) = page(&mut store, 5, cursor);
        assert_eq!([first, second].concat().concat(), "9876543210");
        assert_eq!(end, None);
    }

    #[test]
    fn what_is_at_hand_is_not_searched_for_among_all() {
        let mut store = store();
        let mut plan = |statement: &str| {
            let explained: &'static str =
                Box::leak(format!("EXPLAIN QUERY PLAN {statement}").into_boxed_str());
            let mut steps = String::new();
            store.query(explained, &[Value::Null; 6], &mut |row| steps += row.text(3)).unwrap();
            steps
        };
        for statement in [DOWN_AT_HAND, UP_AT_HAND] {
            assert!(
                plan(statement).contains("inbox_room_at_hand (domain=? AND change"),
                "{}",
                plan(statement)
            );
        }
        for statement in [DOWN, UP] {
            assert!(
                plan(statement).contains("inbox_room_by_change (domain=? AND change"),
                "{}",
                plan(statement)
            );
        }
    }

    #[test]
    fn a_room_that_is_no_more_is_in_no_list() {
        let mut store = store();
        let user = UserId::parse("ann").unwrap();
        hear(&mut store, &Listing { reads: vec![(user.clone(), 2)], ..listing("a", 3) }).unwrap();
        let (domain, room) = (DomainId::parse("shop").unwrap(), RoomId::known("a"));
        assert_eq!(unread(&mut store, &domain, &room, &user).unwrap(), Some(1));
        forget(&mut store, &domain, &room).unwrap();
        assert_eq!(unread(&mut store, &domain, &room, &user).unwrap(), None);
        assert_eq!(page(&mut store, 5, None), (Vec::new(), None));
        hear(&mut store, &listing("a", 3)).unwrap();
        assert_eq!(unread(&mut store, &domain, &room, &user).unwrap(), Some(3), "nothing of it is left");
    }
}
