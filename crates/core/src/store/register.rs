//! Which conversations with the AI a site has, for a host that keeps each in a store of its own: nobody could list them
//! otherwise, to erase those of a visitor or what the site does not keep any more. Of a conversation it costs a row, and
//! another write on each further day.

use super::{Sql, SqlError, Value};
use crate::ids::{RoomId, UserId, VisitorId};
use crate::time::UnixMs;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Made with the first question.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS conversation (
    room TEXT PRIMARY KEY,
    -- Who began it, as far as that was said.
    user_id TEXT,
    since INTEGER NOT NULL,
    last_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID";

pub fn open(sql: &mut dyn Sql) -> Result<(), SqlError> {
    sql.run(TABLE, &[])
}

/// Somebody asks in it.
pub fn note(sql: &mut dyn Sql, room: &RoomId, user: Option<&UserId>, now: UnixMs) -> Result<(), SqlError> {
    sql.run(
        "INSERT INTO conversation (room, user_id, since, last_at) VALUES (?1, ?2, ?3, ?3)
            ON CONFLICT (room) DO UPDATE SET last_at = ?3 WHERE last_at < ?4",
        &[
            Value::Text(room.as_str()),
            Value::text(user.map(UserId::as_str)),
            Value::Int(now.0),
            Value::Int(now.0 - DAY_MS),
        ],
    )
}

/// Those that a visitor has begun.
pub fn of_visitor(sql: &mut dyn Sql, visitor: &VisitorId) -> Result<Vec<RoomId>, SqlError> {
    let mut rooms = Vec::new();
    sql.query(
        "SELECT room FROM conversation WHERE user_id = ? ORDER BY room",
        &[Value::Text(visitor.as_str())],
        &mut |row| rooms.push(RoomId::known(row.text(0))),
    )?;
    Ok(rooms)
}

/// Those that are older than a time, behind a name: so many.
pub fn since_before(
    sql: &mut dyn Sql,
    before: UnixMs,
    after: &str,
    limit: usize,
) -> Result<Vec<RoomId>, SqlError> {
    let mut rooms = Vec::new();
    sql.query(
        "SELECT room FROM conversation WHERE since < ? AND room > ? ORDER BY room LIMIT ?",
        &[Value::Int(before.0), Value::Text(after), Value::Int(limit as i64)],
        &mut |row| rooms.push(RoomId::known(row.text(0))),
    )?;
    Ok(rooms)
}

/// It has been erased.
pub fn forget(sql: &mut dyn Sql, room: &RoomId) -> Result<(), SqlError> {
    sql.run("DELETE FROM conversation WHERE room = ?", &[Value::Text(room.as_str())])
}

/// Of those in which nobody has asked since, nothing is left.
pub fn forget_before(sql: &mut dyn Sql, before: UnixMs) -> Result<(), SqlError> {
    // A day's questions are noted once.
    sql.run("DELETE FROM conversation WHERE last_at < ?", &[Value::Int(before.0 - DAY_MS)])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;
    use crate::store::memory::Memory;

    #[test]
    fn a_conversation_is_who_began_its_until_nothing_of_it_is_left() {
        let (mut store, now) = (Memory::new(), UnixMs(20 * DAY_MS));
        open(&mut store).unwrap();
        let talk = RoomId::known("talk");
        let user = |name: &str| UserId::parse(name).unwrap();
        note(&mut store, &talk, Some(&user("ann")), now).unwrap();
        note(&mut store, &talk, Some(&user("bob")), now.plus(3 * DAY_MS)).unwrap();
        let of = |store: &mut Memory, name: &str| {
            of_visitor(store, &VisitorId::parse(name).unwrap()).unwrap().len()
        };
        assert_eq!((of(&mut store, "ann"), of(&mut store, "bob")), (1, 0));
        let old = |store: &mut Memory, before| since_before(store, before, "", 9).unwrap().len();
        assert_eq!((old(&mut store, now), old(&mut store, now.plus(1))), (0, 1));
        forget_before(&mut store, now.plus(4 * DAY_MS)).unwrap();
        assert_eq!(
            of(&mut store, "ann"),
            1,
            "somebody may have asked on the day after the last that was noted"
        );
        forget_before(&mut store, now.plus(4 * DAY_MS + 1)).unwrap();
        assert_eq!(of(&mut store, "ann"), 0);
    }
}
