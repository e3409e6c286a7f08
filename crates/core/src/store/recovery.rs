//! Socket.IO sessions that a client may take up again: under which name, who it is in which rooms. Where it stands in
//! them the client says itself.

use serde::{Deserialize, Serialize};

use super::{Sql, SqlError, Value, first};
use crate::ids::{ConnId, DomainId, RoomId, SocketId, UserId};
use crate::protocol::command::Join;
use crate::time::UnixMs;

/// What a member joined as.
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    pub user: UserId,
    pub user_name: Box<str>,
    pub role: Option<Box<str>>,
    pub domain: Option<DomainId>,
}

/// A session as it is stored.
pub struct Kept {
    pub socket: SocketId,
    pub rooms: Vec<(RoomId, Identity)>,
    /// The connection that it belonged to, if that has not ended as far as anybody knows.
    pub conn: Option<ConnId>,
}

impl Identity {
    pub fn of(join: &Join) -> Self {
        let (user, user_name) = (join.user.clone(), join.user_name.clone());
        Self { user, user_name, role: join.role.clone(), domain: join.domain.clone() }
    }

    pub fn into_join(self) -> Join {
        let Self { user, user_name, role, domain } = self;
        Join { user, user_name, role, domain, resume: None, token: None }
    }
}

/// For a host that has such sessions: their tables, beside those that every host has.
pub fn open(sql: &mut dyn Sql) -> Result<(), SqlError> {
    TABLES.iter().try_for_each(|statement| sql.run(statement, &[]))
}

const TABLES: [&str; 3] = [
    // `conn` is that of its connection while it lives; then `until` says how long the session is kept.
    "CREATE TABLE IF NOT EXISTS recovery (
        pid TEXT PRIMARY KEY,
        socket_id TEXT NOT NULL,
        conn TEXT,
        until INTEGER
    ) STRICT",
    "CREATE INDEX IF NOT EXISTS recovery_by_until ON recovery (until) WHERE until IS NOT NULL",
    // `identity` is Identity as JSON.
    "CREATE TABLE IF NOT EXISTS recovery_room (
        pid TEXT NOT NULL,
        room TEXT NOT NULL,
        identity TEXT NOT NULL,
        PRIMARY KEY (pid, room)
    ) STRICT",
];

/// A session is stored with its first room.
pub fn join(
    sql: &mut dyn Sql,
    (pid, socket, conn): (&str, SocketId, ConnId),
    room: &RoomId,
    identity: &Identity,
) -> Result<(), SqlError> {
    let json = serde_json::to_string(identity).map_err(|error| SqlError(error.to_string()))?;
    sql.run(
        "INSERT INTO recovery (pid, socket_id, conn) VALUES (?, ?, ?) ON CONFLICT (pid) DO NOTHING",
        &[Value::Text(pid), Value::Text(socket.as_str()), Value::Text(&number(conn))],
    )?;
    sql.run(
        "INSERT INTO recovery_room (pid, room, identity) VALUES (?, ?, ?)
            ON CONFLICT (pid, room) DO UPDATE SET identity = excluded.identity",
        &[Value::Text(pid), Value::Text(room.as_str()), Value::Text(&json)],
    )
}

pub fn leave(sql: &mut dyn Sql, pid: &str, room: &RoomId) -> Result<(), SqlError> {
    sql.run(
        "DELETE FROM recovery_room WHERE pid = ? AND room = ?",
        &[Value::Text(pid), Value::Text(room.as_str())],
    )
}

/// Its connection has ended; it may be taken up until then. Not if another one has already done so.
pub fn part(sql: &mut dyn Sql, pid: &str, conn: ConnId, until: UnixMs) -> Result<(), SqlError> {
    sql.run(
        "UPDATE recovery SET conn = NULL, until = ? WHERE pid = ? AND conn = ?",
        &[Value::Int(until.0), Value::Text(pid), Value::Text(&number(conn))],
    )
}

pub fn forget(sql: &mut dyn Sql, pid: &str) -> Result<(), SqlError> {
    sql.run("DELETE FROM recovery_room WHERE pid = ?", &[Value::Text(pid)])?;
    sql.run("DELETE FROM recovery WHERE pid = ?", &[Value::Text(pid)])
}

/// Hands a session that is still kept over to another connection.
pub fn take(sql: &mut dyn Sql, pid: &str, conn: ConnId, now: UnixMs) -> Result<Option<Kept>, SqlError> {
    let found = first(
        sql,
        "SELECT socket_id, conn FROM recovery WHERE pid = ? AND (until IS NULL OR until > ?)",
        &[Value::Text(pid), Value::Int(now.0)],
        |row| (SocketId::parse(row.text(0)), row.opt_text(1).and_then(|conn| conn.parse().ok()).map(ConnId)),
    )?;
    let Some((Some(socket), was)) = found else { return Ok(None) };
    sql.run(
        "UPDATE recovery SET conn = ?, until = NULL WHERE pid = ?",
        &[Value::Text(&number(conn)), Value::Text(pid)],
    )?;
    let mut rooms = Vec::new();
    sql.query("SELECT room, identity FROM recovery_room WHERE pid = ?", &[Value::Text(pid)], &mut |row| {
        let identity = serde_json::from_str(row.text(1)).ok();
        rooms.extend(identity.map(|identity| (RoomId::known(row.text(0)), identity)));
    })?;
    Ok(Some(Kept { socket, rooms, conn: was }))
}

/// Of sessions whose connections ended with the process: they may be taken up until then.
pub fn part_all(sql: &mut dyn Sql, until: UnixMs) -> Result<(), SqlError> {
    sql.run("UPDATE recovery SET conn = NULL, until = ? WHERE until IS NULL", &[Value::Int(until.0)])
}

/// Forgets those who did not come back in time.
pub fn sweep(sql: &mut dyn Sql, now: UnixMs) -> Result<(), SqlError> {
    // A statement that finds nothing must not count as a write: it would cost a sync each time.
    let due = first(sql, "SELECT 1 FROM recovery WHERE until <= ? LIMIT 1", &[Value::Int(now.0)], |_| ())?;
    if due.is_none() {
        return Ok(());
    }
    sql.run(
        "DELETE FROM recovery_room WHERE pid IN (SELECT pid FROM recovery WHERE until <= ?)",
        &[Value::Int(now.0)],
    )?;
    sql.run("DELETE FROM recovery WHERE until <= ?", &[Value::Int(now.0)])
}

/// A connection's number is an unsigned one of 64 bits, which no integer here holds.
fn number(ConnId(conn): ConnId) -> String {
    conn.to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;
    use crate::store::memory::Memory;

    const ANN: ConnId = ConnId(u64::MAX);
    const BACK: ConnId = ConnId(7);

    fn joined(sql: &mut Memory, pid: &str) {
        for room in ["a", "b"] {
            let identity = Identity {
                user: UserId::parse("ann").unwrap(),
                user_name: "Ann".into(),
                role: None,
                domain: None,
            };
            join(sql, (pid, SocketId::from_entropy(5), ANN), &RoomId::known(room), &identity).unwrap();
        }
    }

    #[test]
    fn is_kept_while_its_connection_lives_and_a_while_longer() {
        let mut sql = Memory::new();
        open(&mut sql).unwrap();
        joined(&mut sql, "p");
        leave(&mut sql, "p", &RoomId::known("b")).unwrap();
        let kept = take(&mut sql, "p", BACK, UnixMs(1)).unwrap().unwrap();
        assert_eq!((kept.socket, kept.conn), (SocketId::from_entropy(5), Some(ANN)));
        assert_eq!(kept.rooms.iter().map(|(room, _)| room.as_str()).collect::<Vec<_>>(), ["a"]);
        // The end of a connection that it no longer belongs to changes nothing.
        part(&mut sql, "p", ANN, UnixMs(2)).unwrap();
        sweep(&mut sql, UnixMs(10)).unwrap();
        assert_eq!(take(&mut sql, "p", ANN, UnixMs(10)).unwrap().unwrap().conn, Some(BACK));
        part(&mut sql, "p", ANN, UnixMs(20)).unwrap();
        assert!(take(&mut sql, "p", BACK, UnixMs(20)).unwrap().is_none());
    }

    #[test]
    fn is_swept_with_its_rooms_and_no_other() {
        let mut sql = Memory::new();
        open(&mut sql).unwrap();
        joined(&mut sql, "gone");
        part_all(&mut sql, UnixMs(5)).unwrap();
        joined(&mut sql, "here");
        sweep(&mut sql, UnixMs(5)).unwrap();
        assert!(take(&mut sql, "gone", BACK, UnixMs(0)).unwrap().is_none());
        let rooms = first(&mut sql, "SELECT count(*) FROM recovery_room", &[], |row| row.int(0)).unwrap();
        assert_eq!(rooms, Some(2));
        forget(&mut sql, "here").unwrap();
        assert!(take(&mut sql, "here", BACK, UnixMs(0)).unwrap().is_none());
    }
}
