//! What one room says into another, kept until that one has it.

use super::{Sql, SqlError, Value, first};
use crate::ids::RoomId;
use crate::rooms::Post;

pub struct Kept {
    pub row: i64,
    pub room: RoomId,
    pub post: Post,
}

pub fn add(sql: &mut dyn Sql, room: &RoomId, post: &Post) -> Result<i64, SqlError> {
    let post = serde_json::to_string(post).map_err(|error| SqlError(error.to_string()))?;
    let row = first(
        sql,
        "INSERT INTO outbox (room, post) VALUES (?, ?) RETURNING id",
        &[Value::Text(room.as_str()), Value::Text(&post)],
        |row| row.int(0),
    )?;
    row.ok_or_else(|| SqlError("INSERT … RETURNING gave no row".into()))
}

pub fn remove(sql: &mut dyn Sql, row: i64) -> Result<(), SqlError> {
    sql.run("DELETE FROM outbox WHERE id = ?", &[Value::Int(row)])
}

/// All that is kept, oldest first.
pub fn all(sql: &mut dyn Sql) -> Result<Vec<Kept>, SqlError> {
    let mut kept = Vec::new();
    sql.query("SELECT id, room, post FROM outbox ORDER BY id", &[], &mut |row| {
        kept.extend(serde_json::from_str(row.text(2)).ok().map(|post| Kept {
            row: row.int(0),
            room: RoomId::known(row.text(1)),
            post,
        }));
    })?;
    Ok(kept)
}
