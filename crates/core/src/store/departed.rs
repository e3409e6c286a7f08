//! Members whose connection died and who may be back in a moment: no connection stands for them any more.

use std::sync::Arc;

use super::{Sql, SqlError, Value, first};
use crate::rooms::Member;
use crate::time::UnixMs;

pub struct Departed {
    pub row: i64,
    pub member: Arc<Member>,
    /// They count as present until then.
    pub until: UnixMs,
}

pub fn add(sql: &mut dyn Sql, room: i64, member: &Member, until: UnixMs) -> Result<i64, SqlError> {
    let json = serde_json::to_string(member).map_err(|error| SqlError(error.to_string()))?;
    let row = first(
        sql,
        "INSERT INTO departed (room, member, until) VALUES (?, ?, ?) RETURNING id",
        &[Value::Int(room), Value::Text(&json), Value::Int(until.0)],
        |row| row.int(0),
    )?;
    row.ok_or_else(|| SqlError("INSERT … RETURNING gave no row".into()))
}

pub fn remove(sql: &mut dyn Sql, row: i64) -> Result<(), SqlError> {
    sql.run("DELETE FROM departed WHERE id = ?", &[Value::Int(row)])
}

pub fn of_room(sql: &mut dyn Sql, room: i64) -> Result<Vec<Departed>, SqlError> {
    let mut found = Vec::new();
    sql.query("SELECT id, member, until FROM departed WHERE room = ?", &[Value::Int(room)], &mut |row| {
        found.extend(serde_json::from_str(row.text(1)).ok().map(|member| Departed {
            row: row.int(0),
            member: Arc::new(member),
            until: UnixMs(row.int(2)),
        }));
    })?;
    Ok(found)
}
