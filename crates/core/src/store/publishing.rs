//! Which conversations write answers into a room: so that whoever takes over there can silence those that do just now,
//! and all of them learn what was said meanwhile.

use super::{Sql, SqlError, Value, first};
use crate::ids::{RoomId, RunId};

/// A conversation writes one answer at a time.
pub fn begin(sql: &mut dyn Sql, room: i64, conversation: &RoomId, run: RunId) -> Result<(), SqlError> {
    sql.run(
        "INSERT INTO publishing (room, conversation, run) VALUES (?, ?, ?)
            ON CONFLICT (room, conversation) DO UPDATE SET run = excluded.run",
        &[Value::Int(room), Value::Text(conversation.as_str()), Value::Text(&run.0.to_string())],
    )
}

/// Whether that answer was being written here.
pub fn end(sql: &mut dyn Sql, room: i64, conversation: &RoomId, run: RunId) -> Result<bool, SqlError> {
    let ended = first(
        sql,
        "UPDATE publishing SET run = '' WHERE room = ? AND conversation = ? AND run = ? RETURNING 1",
        &[Value::Int(room), Value::Text(conversation.as_str()), Value::Text(&run.0.to_string())],
        |_| (),
    )?;
    Ok(ended.is_some())
}

/// Those that ever did, the last of them at least.
pub fn all(sql: &mut dyn Sql, room: i64) -> Result<Vec<RoomId>, SqlError> {
    let mut found = Vec::new();
    sql.query(
        "SELECT conversation FROM publishing WHERE room = ? ORDER BY rowid DESC LIMIT 32",
        &[Value::Int(room)],
        &mut |row| found.push(RoomId::known(row.text(0))),
    )?;
    Ok(found)
}

/// All of them that do, and none from here on.
pub fn take(sql: &mut dyn Sql, room: i64) -> Result<Vec<(RoomId, RunId)>, SqlError> {
    let mut found = Vec::new();
    sql.query(
        "SELECT conversation, run FROM publishing WHERE room = ? AND run <> ''",
        &[Value::Int(room)],
        &mut |row| {
            found.extend(row.text(1).parse().ok().map(|run| (RoomId::known(row.text(0)), RunId(run))));
        },
    )?;
    if !found.is_empty() {
        sql.run("UPDATE publishing SET run = '' WHERE room = ? AND run <> ''", &[Value::Int(room)])?;
    }
    Ok(found)
}
