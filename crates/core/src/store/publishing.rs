//! Which conversations are writing an answer into a room, so that whoever takes over there can silence them.

use super::{Sql, SqlError, Value};
use crate::ids::{RoomId, RunId};

/// A conversation writes one answer at a time.
pub fn begin(sql: &mut dyn Sql, room: i64, conversation: &RoomId, run: RunId) -> Result<(), SqlError> {
    sql.run(
        "INSERT INTO publishing (room, conversation, run) VALUES (?, ?, ?)
            ON CONFLICT (room, conversation) DO UPDATE SET run = excluded.run",
        &[Value::Int(room), Value::Text(conversation.as_str()), Value::Text(&run.0.to_string())],
    )
}

pub fn end(sql: &mut dyn Sql, room: i64, conversation: &RoomId, run: RunId) -> Result<(), SqlError> {
    sql.run(
        "DELETE FROM publishing WHERE room = ? AND conversation = ? AND run = ?",
        &[Value::Int(room), Value::Text(conversation.as_str()), Value::Text(&run.0.to_string())],
    )
}

/// All of them, and none from here on.
pub fn take(sql: &mut dyn Sql, room: i64) -> Result<Vec<(RoomId, RunId)>, SqlError> {
    let mut found = Vec::new();
    sql.query(
        "DELETE FROM publishing WHERE room = ? RETURNING conversation, run",
        &[Value::Int(room)],
        &mut |row| {
            found.extend(row.text(1).parse().ok().map(|run| (RoomId::known(row.text(0)), RunId(run))));
        },
    )?;
    Ok(found)
}
