//! How a room stands, in its own store.

use super::{Sql, SqlError, Value, first};
use crate::ids::{Seq, UserId};
use crate::inbox::{Desk, Person};
use crate::time::UnixMs;

pub fn set(sql: &mut dyn Sql, room: i64, desk: &Desk) -> Result<(), SqlError> {
    let json = serde_json::to_string(desk).map_err(|error| SqlError(error.to_string()))?;
    sql.run("UPDATE room SET desk = ? WHERE id = ?", &[Value::Text(&json), Value::Int(room)])
}

/// Messages behind a place of the log, and those of them that the AI wrote.
pub fn count_after(sql: &mut dyn Sql, room: i64, seq: Seq) -> Result<(u64, u64), SqlError> {
    let statement = "SELECT count(*), coalesce(sum(role = 'assistant'), 0) FROM event
        WHERE room = ? AND seq > ? AND kind = 0";
    let params = [Value::Int(room), Value::Int(seq.0 as i64)];
    Ok(first(sql, statement, &params, |row| (row.count(0), row.count(1)))?.unwrap_or_default())
}

/// When a place of the log was taken.
pub fn time_of(sql: &mut dyn Sql, room: i64, seq: Seq) -> Result<Option<UnixMs>, SqlError> {
    let statement = "SELECT at FROM event WHERE room = ? AND seq = ?";
    first(sql, statement, &[Value::Int(room), Value::Int(seq.0 as i64)], |row| UnixMs(row.int(0)))
}

/// Who was the first to write as somebody who is served.
pub fn first_customer(sql: &mut dyn Sql, room: i64) -> Result<Option<Person>, SqlError> {
    let found = first(
        sql,
        "SELECT user_id, user_name FROM event WHERE room = ? AND kind = 0 AND role IN ('user', 'customer')
            ORDER BY seq LIMIT 1",
        &[Value::Int(room)],
        |row| UserId::parse(row.text(0)).map(|user_id| Person { user_id, user_name: row.text(1).into() }),
    )?;
    Ok(found.flatten())
}

/// Who has read how far, whoever did last first.
pub fn readers(sql: &mut dyn Sql, room: i64, most: usize) -> Result<Vec<(UserId, Seq)>, SqlError> {
    let mut readers = Vec::new();
    sql.query(
        "SELECT user_id, seq FROM read_mark WHERE room = ? ORDER BY at DESC LIMIT ?",
        &[Value::Int(room), Value::Int(most as i64)],
        &mut |row| readers.extend(UserId::parse(row.text(0)).map(|user| (user, Seq(row.count(1))))),
    )?;
    Ok(readers)
}

/// A room that was made before it was known whose it is.
pub fn set_domain(sql: &mut dyn Sql, room: i64, domain: &str) -> Result<(), SqlError> {
    sql.run("UPDATE room SET domain = ? WHERE id = ?", &[Value::Text(domain), Value::Int(room)])
}
