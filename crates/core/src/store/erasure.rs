//! What goes for good: a whole room, what is older than a site keeps, a visitor.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::log::Kind;
use super::{Row, Sql, SqlError, Value, first};
use crate::ids::{DomainId, RoomId, Seq, UserId, VisitorId};
use crate::time::UnixMs;

/// How many of each were removed: the receipt of an erasure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Removed(pub BTreeMap<&'static str, u64>);

impl Removed {
    pub fn add(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Runs a statement that ends in `RETURNING`, and counts what it took.
    pub(super) fn take(
        &mut self,
        sql: &mut dyn Sql,
        what: &'static str,
        statement: &'static str,
        params: &[Value<'_>],
    ) -> Result<(), SqlError> {
        let mut count = 0;
        sql.query(statement, params, &mut |_| count += 1)?;
        self.add(what, count);
        Ok(())
    }
}

/// As whom those write who were forgotten.
const NOBODY: &str = "deleted";

/// All rows of a room, its own included.
pub fn room(sql: &mut dyn Sql, room: i64, name: &RoomId, removed: &mut Removed) -> Result<(), SqlError> {
    let row = [Value::Int(room)];
    removed.take(sql, "messages", "DELETE FROM event WHERE room = ? AND kind = 0 RETURNING 1", &row)?;
    removed.take(sql, "changes", "DELETE FROM event WHERE room = ? RETURNING 1", &row)?;
    removed.take(sql, "aiTurns", "DELETE FROM turn WHERE room = ? RETURNING 1", &row)?;
    removed.take(sql, "aiAnswers", "DELETE FROM run WHERE room = ? RETURNING 1", &row)?;
    removed.take(sql, "readMarks", "DELETE FROM read_mark WHERE room = ? RETURNING 1", &row)?;
    sql.run("DELETE FROM departed WHERE room = ?", &row)?;
    sql.run("DELETE FROM publishing WHERE room = ?", &row)?;
    sql.run("DELETE FROM outbox WHERE room = ?", &[Value::Text(name.as_str())])?;
    sql.run("DELETE FROM room WHERE id = ?", &row)
}

/// What was said before a time. The newest place that goes stays as an empty one, so that places behind it are counted on
/// from there and whoever stands before it learns that it has missed what nobody can tell any more.
pub fn log_before(
    sql: &mut dyn Sql,
    room: i64,
    before: UnixMs,
    removed: &mut Removed,
) -> Result<Option<Seq>, SqlError> {
    let newest = "SELECT seq, at, kind FROM event WHERE room = ? AND at < ? ORDER BY seq DESC LIMIT 1";
    let cut = first(sql, newest, &[Value::Int(room), Value::Int(before.0)], |row| {
        (row.count(0), row.int(1), row.int(2) == Kind::Cut as i64)
    })?;
    let Some((cut, at, false)) = cut else { return Ok(None) };
    let gone = [Value::Int(room), Value::Int(cut as i64)];
    let messages = "DELETE FROM event WHERE room = ? AND seq <= ? AND kind = 0 RETURNING 1";
    removed.take(sql, "messages", messages, &gone)?;
    sql.run("DELETE FROM event WHERE room = ? AND seq <= ?", &gone)?;
    sql.run(
        "INSERT INTO event (room, seq, kind, at, user_id, user_name, role, socket_id, text)
            VALUES (?, ?, ?, ?, '-', '', '', '', '')",
        &[Value::Int(room), Value::Int(cut as i64), Value::Int(Kind::Cut as i64), Value::Int(at)],
    )?;
    Ok(Some(Seq(cut)))
}

/// What the AI remembers from before a time.
pub fn memory_before(
    sql: &mut dyn Sql,
    room: i64,
    before: UnixMs,
    removed: &mut Removed,
) -> Result<(), SqlError> {
    let params = [Value::Int(room), Value::Int(before.0)];
    removed.take(sql, "aiTurns", "DELETE FROM turn WHERE room = ? AND at < ? RETURNING 1", &params)?;
    let ended = "DELETE FROM run WHERE room = ? AND ended_at < ? AND state <> 0 RETURNING 1";
    removed.take(sql, "aiAnswers", ended, &params)?;
    let is_empty =
        "UPDATE room SET answer = NULL WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM turn WHERE room = ?1)";
    sql.run(is_empty, &[Value::Int(room)])
}

/// Whether a room has rows from before a time.
pub fn rooms_older_than(
    sql: &mut dyn Sql,
    domain: &str,
    before: UnixMs,
    after: &str,
    limit: u32,
) -> Result<Vec<RoomId>, SqlError> {
    let mut rooms = Vec::new();
    sql.query(
        "SELECT name FROM room WHERE domain = ? AND created_at < ? AND name > ? ORDER BY name LIMIT ?",
        &[Value::Text(domain), Value::Int(before.0), Value::Text(after), Value::Int(limit.into())],
        &mut |row| rooms.push(RoomId::known(row.text(0))),
    )?;
    Ok(rooms)
}

/// The owner of a conversation that was begun where nobody proves anything.
pub fn said_to_be(user: &UserId) -> String {
    format!("user {user}")
}

/// Conversations of a domain that a visitor has begun, with a token or without.
pub fn conversations_of(
    sql: &mut dyn Sql,
    domain: &DomainId,
    visitor: &VisitorId,
) -> Result<Vec<RoomId>, SqlError> {
    let mut rooms = Vec::new();
    let (said, proved) = (format!("user {visitor}"), format!("subject {visitor}"));
    sql.query(
        "SELECT name FROM room WHERE domain = ? AND owner IN (?, ?) ORDER BY name",
        &[Value::Text(domain.as_str()), Value::Text(&said), Value::Text(&proved)],
        &mut |row| rooms.push(RoomId::known(row.text(0))),
    )?;
    Ok(rooms)
}

/// Rooms of no domain behind a name, so many, and whether somebody of that name has written there.
pub fn rooms_without_domain(
    sql: &mut dyn Sql,
    visitor: &VisitorId,
    after: &str,
    limit: u32,
) -> Result<Vec<(RoomId, bool)>, SqlError> {
    let mut rooms = Vec::new();
    sql.query(
        "SELECT name, EXISTS (SELECT 1 FROM event WHERE room = listed.id AND user_id = ?)
            FROM (SELECT id, name FROM room WHERE domain IS NULL AND name > ? ORDER BY name LIMIT ?) AS listed",
        &[Value::Text(visitor.as_str()), Value::Text(after), Value::Int(limit.into())],
        &mut |row| rooms.push((RoomId::known(row.text(0)), row.int(1) != 0)),
    )?;
    Ok(rooms)
}

/// Nobody is told any more who wrote what this user has written here; what they wrote stays.
pub fn anonymise(sql: &mut dyn Sql, room: i64, user: &UserId, removed: &mut Removed) -> Result<(), SqlError> {
    let params = [Value::Int(room), Value::Text(user.as_str()), Value::Text(NOBODY)];
    removed.take(
        sql,
        "messagesAnonymised",
        "UPDATE event SET user_id = ?3, user_name = ?3, socket_id = '', client_message_id = NULL
            WHERE room = ?1 AND user_id = ?2 AND kind = 0 RETURNING 1",
        &params,
    )?;
    sql.run("UPDATE event SET user_id = ?3 WHERE room = ?1 AND user_id = ?2", &params)?;
    removed.take(
        sql,
        "readMarks",
        "DELETE FROM read_mark WHERE room = ?1 AND user_id = ?2 RETURNING ?3",
        &params,
    )
}

/// The visitor's own row.
pub fn visitor(
    sql: &mut dyn Sql,
    domain: i64,
    visitor: &VisitorId,
    removed: &mut Removed,
) -> Result<(), SqlError> {
    let params = [Value::Int(domain), Value::Text(visitor.as_str())];
    removed.take(sql, "visitors", "DELETE FROM visitor WHERE domain = ? AND name = ? RETURNING 1", &params)
}

/// Visitors who have not been there since.
pub fn visitors_before(
    sql: &mut dyn Sql,
    domain: i64,
    before: UnixMs,
    removed: &mut Removed,
) -> Result<(), SqlError> {
    let params = [Value::Int(domain), Value::Int(before.0)];
    let statement = "DELETE FROM visitor WHERE domain = ? AND here = 0 AND last_at < ? RETURNING 1";
    removed.take(sql, "visitors", statement, &params)
}

/// What is known of a visitor, as an export has it.
pub fn known_visitor(sql: &mut dyn Sql, domain: i64, visitor: &VisitorId) -> Result<Option<Json>, SqlError> {
    let time = |row: &dyn Row, column| json!(UnixMs(row.int(column)));
    first(
        sql,
        "SELECT data, first_at, joined_at, last_at, country FROM visitor WHERE domain = ? AND name = ?",
        &[Value::Int(domain), Value::Text(visitor.as_str())],
        |row| {
            json!({
                "visitorId": visitor,
                "visitorData": serde_json::from_str::<Json>(row.text(0)).unwrap_or_default(),
                "country": row.opt_text(4),
                "firstSeen": time(row, 1),
                "lastJoined": time(row, 2),
                "lastActivity": time(row, 3),
            })
        },
    )
}
