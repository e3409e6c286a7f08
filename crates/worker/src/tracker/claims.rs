//! Which visitor each connection speaks for, so that its end is theirs. In rows, because one connection may speak for more than
//! an attachment holds.

use weeziq_core::ids::{ConnId, VisitorId};
use weeziq_core::protocol::command::VisitorsCommand;
use weeziq_core::store::{Sql, SqlError, Value};
use weeziq_core::visitors::{Via, VisitorsInput};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS claim (
    conn TEXT NOT NULL,
    visitor TEXT NOT NULL,
    -- The room that holds the connection, if it does not end here. It says when it is gone.
    room TEXT,
    PRIMARY KEY (conn, visitor)
) STRICT, WITHOUT ROWID";

pub(super) fn open(sql: &mut dyn Sql) -> Result<(), SqlError> {
    sql.run(TABLE, &[])
}

/// Which visitor a connection speaks for.
pub(super) struct Claim {
    pub(super) conn: ConnId,
    pub(super) visitor: VisitorId,
    /// The room that holds it, where one does.
    pub(super) room: Option<String>,
}

pub(super) fn note(sql: &mut dyn Sql, input: &VisitorsInput, room: Option<&str>) -> Result<(), SqlError> {
    let (conn, visitor, is_here) = match input {
        VisitorsInput::Command {
            from,
            via: Via::Connection { .. },
            command: VisitorsCommand::Join { visitor, .. } | VisitorsCommand::Activity { visitor, .. },
        } => (from.conn, visitor, true),
        VisitorsInput::Command { from, command: VisitorsCommand::Leave { visitor }, .. } => {
            (from.conn, visitor, false)
        }
        VisitorsInput::Disconnected { conn, visitor } => (*conn, visitor, false),
        VisitorsInput::Command { .. }
        | VisitorsInput::Listed(_)
        | VisitorsInput::Unlisted { .. }
        | VisitorsInput::Alarm => return Ok(()),
    };
    let conn = conn.0.to_string();
    let params = [Value::Text(&conn), Value::Text(visitor.as_str()), Value::text(room)];
    match is_here {
        true => sql
            .run("INSERT INTO claim (conn, visitor, room) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", &params),
        false => sql.run("DELETE FROM claim WHERE conn = ? AND visitor = ?", &[params[0], params[1]]),
    }
}

pub(super) fn all(sql: &mut dyn Sql) -> Result<Vec<Claim>, SqlError> {
    let mut found = Vec::new();
    sql.query("SELECT conn, visitor, room FROM claim", &[], &mut |row| {
        let named = row.text(0).parse().ok().map(ConnId).zip(VisitorId::parse(row.text(1)));
        let room = row.opt_text(2).map(String::from);
        found.extend(named.map(|(conn, visitor)| Claim { conn, visitor, room }));
    })?;
    Ok(found)
}

/// Claims of connections that ended while the object was not there to see it are of no use.
pub(super) fn living(sql: &mut dyn Sql, here: &[ConnId]) -> Result<Vec<(ConnId, VisitorId)>, SqlError> {
    let is_alive = |claim: &Claim| claim.room.is_some() || here.contains(&claim.conn);
    let (living, dead): (Vec<_>, Vec<_>) = all(sql)?.into_iter().partition(is_alive);
    for Claim { conn, .. } in dead {
        sql.run("DELETE FROM claim WHERE conn = ?", &[Value::Text(&conn.0.to_string())])?;
    }
    Ok(living.into_iter().map(|Claim { conn, visitor, .. }| (conn, visitor)).collect())
}
