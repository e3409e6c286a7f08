//! A room and its log.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Row, Sql, SqlError, Value, first};
use crate::access::rate::Usage;
use crate::ids::{ClientMessageId, DomainId, RoomId, Seq, UserId, fnv1a, short_random_name};
use crate::inbox::Desk;
use crate::protocol::event::Event;
use crate::rooms::message::Message;
use crate::time::UnixMs;

/// What a row of the log is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Message = 0,
    /// `text` is the message's new one.
    Edit = 1,
    Deletion = 2,
    /// `text` is `1` where people take over from the AI, else `0`.
    LiveAgent = 3,
    /// Up to here nothing is kept any more.
    Cut = 4,
}

/// What is appended beside messages.
pub struct Change<'a> {
    pub seq: Seq,
    pub kind: Kind,
    pub at: UnixMs,
    pub user: &'a UserId,
    pub text: &'a str,
    /// The message that it is about.
    pub target: Option<Seq>,
}

/// A room as its row tells it.
pub struct RoomRow {
    pub id: i64,
    pub epoch: Arc<str>,
    pub last_seq: Seq,
    /// Up to here the log is not kept any more.
    pub cut: Seq,
    pub live_agent: bool,
    /// What the conversation has used of its quota.
    pub asked: Usage,
    /// Up to here what customers said was asked of the room's own AI.
    pub said: Seq,
    /// Whether `room-users` was put off and is still to be told.
    pub users_due: bool,
    pub domain: Option<DomainId>,
    pub created_at: UnixMs,
    pub desk: Option<Box<Desk>>,
    /// Whose conversation it is: one of `Caller::owners`, or in open mode `erasure::said_to_be`.
    pub owner: Option<Box<str>>,
}

pub fn find_room(sql: &mut dyn Sql, name: &RoomId) -> Result<Option<RoomRow>, SqlError> {
    first(
        sql,
        "SELECT id, epoch, live_agent, (SELECT max(seq) FROM event WHERE room = room.id), asked_us, users_due,
            owner, domain, created_at, desk,
            (SELECT iif(kind = 4, seq, 0) FROM event WHERE room = room.id ORDER BY seq LIMIT 1), said
            FROM room WHERE name = ?",
        &[Value::Text(name.as_str())],
        |row| RoomRow {
            id: row.int(0),
            epoch: row.text(1).into(),
            live_agent: row.int(2) != 0,
            last_seq: Seq(row.count(3)),
            cut: Seq(row.count(10)),
            asked: Usage::of_micros(row.int(4)),
            said: Seq(row.count(11)),
            users_due: row.int(5) != 0,
            owner: row.opt_text(6).map(Into::into),
            domain: row.opt_text(7).and_then(DomainId::parse),
            created_at: UnixMs(row.int(8)),
            desk: row.opt_text(9).map(|json| Box::new(Desk::of_stored(json))),
        },
    )
}

/// Of the newest `looked_through` events: rooms where a customer has said something since then that was not asked of the room's
/// own AI, with their domains.
pub fn rooms_unanswered(
    sql: &mut dyn Sql,
    since: UnixMs,
    looked_through: u32,
) -> Result<Vec<(RoomId, DomainId)>, SqlError> {
    let mut rooms = Vec::new();
    sql.query(
        "SELECT DISTINCT room.name, room.domain FROM event JOIN room ON room.id = event.room
            WHERE event.id > (SELECT max(id) FROM event) - ? AND event.at >= ? AND event.kind = 0
            AND event.role IN ('user', 'customer') AND event.seq > room.said AND room.domain IS NOT NULL
            AND room.live_agent = 0",
        &[Value::Int(looked_through.into()), Value::Int(since.0)],
        &mut |row| {
            let domain = DomainId::parse(row.text(1));
            rooms.extend(domain.map(|domain| (RoomId::known(row.text(0)), domain)));
        },
    )?;
    Ok(rooms)
}

pub fn set_owner(sql: &mut dyn Sql, room: i64, owner: &str) -> Result<(), SqlError> {
    sql.run("UPDATE room SET owner = ? WHERE id = ?", &[Value::Text(owner), Value::Int(room)])
}

pub fn create_room(
    sql: &mut dyn Sql,
    name: &RoomId,
    epoch: &str,
    domain: Option<&str>,
    now: UnixMs,
) -> Result<i64, SqlError> {
    let id = first(
        sql,
        "INSERT INTO room (name, epoch, domain, created_at) VALUES (?, ?, ?, ?) RETURNING id",
        &[Value::Text(name.as_str()), Value::Text(epoch), Value::text(domain), Value::Int(now.0)],
        |row| row.int(0),
    )?;
    id.ok_or_else(|| SqlError("INSERT … RETURNING gave no row".into()))
}

/// Gives each room a name for a log that nobody has heard of, as what follows in it is not what followed once. It is made of the
/// old one and `salt`, 64 random bits, so that a room and its place in the list of its domain, which may be in another
/// database, get the same one: to the list it is still the log of which it knows what it has counted.
pub fn renew_epochs(sql: &mut dyn Sql, salt: u64) -> Result<(), SqlError> {
    let renew = [
        ("room", "SELECT id, epoch FROM room", "UPDATE room SET epoch = ? WHERE id = ?"),
        ("inbox_room", "SELECT id, epoch FROM inbox_room", "UPDATE inbox_room SET epoch = ? WHERE id = ?"),
    ];
    for (table, all, change) in renew {
        let is_there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?";
        if first(sql, is_there, &[Value::Text(table)], |_| ())?.is_none() {
            continue;
        }
        let mut rows = Vec::new();
        sql.query(all, &[], &mut |row| rows.push((row.int(0), row.text(1).to_owned())))?;
        for (id, old) in rows {
            let epoch = short_random_name(fnv1a(&format!("{salt:016x} {old}")));
            sql.run(change, &[Value::Text(&epoch), Value::Int(id)])?;
        }
    }
    Ok(())
}

pub fn note_users_due(sql: &mut dyn Sql, room: i64, due: bool) -> Result<(), SqlError> {
    sql.run("UPDATE room SET users_due = ? WHERE id = ?", &[Value::Int(due.into()), Value::Int(room)])
}

pub fn append_message(sql: &mut dyn Sql, room: i64, message: &Message) -> Result<(), SqlError> {
    let extras = extras(message);
    sql.run(
        "INSERT INTO event (room, seq, kind, at, user_id, user_name, role, socket_id, client_message_id, text,
            attachments) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        &[
            Value::Int(room),
            Value::Int(message.seq.0 as i64),
            Value::Int(Kind::Message as i64),
            Value::Int(message.timestamp.0),
            Value::Text(message.user_id.as_str()),
            Value::Text(&message.user_name),
            Value::Text(&message.role),
            Value::Text(&message.socket_id),
            Value::text(message.client_message_id.as_ref().map(ClientMessageId::as_str)),
            Value::Text(&message.message),
            Value::text(extras.as_deref()),
        ],
    )
}

/// What the column `attachments` holds: a list is what it is called; what the AI answered from is in an object. A
/// message has one of them at most, and a column of its own would be read with every message.
fn extras(message: &Message) -> Option<Cow<'_, str>> {
    let attachments = message.attachments.as_ref().map(|raw| raw.get().into());
    attachments.or_else(|| Some(format!("{{\"sources\":{}}}", message.sources.as_ref()?).into()))
}

#[derive(Deserialize)]
struct Sources {
    sources: Box<RawValue>,
}

pub fn append_change(sql: &mut dyn Sql, room: i64, change: &Change<'_>) -> Result<(), SqlError> {
    sql.run(
        "INSERT INTO event (room, seq, kind, at, user_id, user_name, role, socket_id, text, target_seq)
            VALUES (?, ?, ?, ?, ?, '', '', '', ?, ?)",
        &[
            Value::Int(room),
            Value::Int(change.seq.0 as i64),
            Value::Int(change.kind as i64),
            Value::Int(change.at.0),
            Value::Text(change.user.as_str()),
            Value::Text(change.text),
            change.target.map_or(Value::Null, |seq| Value::Int(seq.0 as i64)),
        ],
    )
}

/// Who wrote a message, unless there is none or it has been deleted.
pub fn author(sql: &mut dyn Sql, room: i64, seq: Seq) -> Result<Option<UserId>, SqlError> {
    let found = first(
        sql,
        "SELECT user_id FROM event WHERE room = ?1 AND seq = ?2 AND kind = 0
            AND NOT EXISTS (SELECT 1 FROM event AS gone WHERE gone.room = ?1 AND gone.target_seq = ?2 AND gone.kind = 2)",
        &[Value::Int(room), seq_value(seq)],
        |row| UserId::parse(row.text(0)),
    )?;
    Ok(found.flatten())
}

pub fn set_live_agent(sql: &mut dyn Sql, room: i64, enabled: bool) -> Result<(), SqlError> {
    sql.run(
        "UPDATE room SET live_agent = ? WHERE id = ?",
        &[Value::Int(i64::from(enabled)), Value::Int(room)],
    )
}

/// Where people last took over or handed back, if that was behind `after`.
pub fn last_toggle(sql: &mut dyn Sql, room: i64, after: Seq) -> Result<Seq, SqlError> {
    let statement = "SELECT max(seq) FROM event WHERE room = ? AND seq > ? AND kind = 3";
    let params = [Value::Int(room), seq_value(after)];
    Ok(Seq(first(sql, statement, &params, |row| row.count(0))?.unwrap_or_default()))
}

/// Where people last took over.
pub fn last_takeover(sql: &mut dyn Sql, room: i64) -> Result<Seq, SqlError> {
    let statement = "SELECT max(seq) FROM event WHERE room = ? AND kind = 3 AND text = '1'";
    Ok(Seq(first(sql, statement, &[Value::Int(room)], |row| row.count(0))?.unwrap_or_default()))
}

/// Where and when this user sent a message under this id of their own, if they did.
pub fn find_sent(
    sql: &mut dyn Sql,
    room: i64,
    user: &UserId,
    id: &ClientMessageId,
) -> Result<Option<(Seq, UnixMs)>, SqlError> {
    first(
        sql,
        "SELECT seq, at FROM event WHERE room = ? AND user_id = ? AND client_message_id = ?",
        &[Value::Int(room), Value::Text(user.as_str()), Value::Text(id.as_str())],
        |row| (Seq(row.count(0)), UnixMs(row.int(1))),
    )
}

/// Messages as they read now, oldest first. `+edit.seq` keeps SQLite from finding the newest edit by a walk over the room's
/// whole log, in the order of `event_by_seq`, for each message that it returns.
const AFTER: &str = "SELECT seq, at, user_id, user_name, role, socket_id, client_message_id,
        coalesce((SELECT edit.text FROM event AS edit WHERE edit.room = event.room
            AND edit.target_seq = event.seq AND edit.kind = 1 ORDER BY +edit.seq DESC LIMIT 1), text),
        attachments FROM event
    WHERE room = ? AND seq > ? AND kind = 0 AND NOT EXISTS (SELECT 1 FROM event AS gone
        WHERE gone.room = event.room AND gone.target_seq = event.seq AND gone.kind = 2)
    ORDER BY seq LIMIT ?";

/// The same from the newest back.
const BEFORE: &str = "SELECT seq, at, user_id, user_name, role, socket_id, client_message_id,
        coalesce((SELECT edit.text FROM event AS edit WHERE edit.room = event.room
            AND edit.target_seq = event.seq AND edit.kind = 1 ORDER BY +edit.seq DESC LIMIT 1), text),
        attachments FROM event
    WHERE room = ? AND seq < ? AND seq > ? AND kind = 0 AND NOT EXISTS (SELECT 1 FROM event AS gone
        WHERE gone.room = event.room AND gone.target_seq = event.seq AND gone.kind = 2)
    ORDER BY seq DESC LIMIT ?";

/// A room's log as it is read: which room, under which name and epoch its rows are told.
#[derive(Clone, Copy)]
pub struct Log<'a> {
    pub room: i64,
    pub name: &'a RoomId,
    pub epoch: &'a str,
}

impl Log<'_> {
    /// All that happened after `after`, in order, as it was told when it happened.
    pub fn missed(self, sql: &mut dyn Sql, after: Seq, limit: u32) -> Result<Vec<Event>, SqlError> {
        let mut events = Vec::new();
        sql.query(
            "SELECT seq, at, user_id, user_name, role, socket_id, client_message_id, text, attachments, kind,
                target_seq FROM event WHERE room = ? AND seq > ? ORDER BY seq LIMIT ?",
            &[Value::Int(self.room), seq_value(after), Value::Int(i64::from(limit))],
            &mut |row| events.extend(self.event(row)),
        )?;
        Ok(events)
    }

    /// Messages after `after`, oldest first, as they read now.
    pub fn after(self, sql: &mut dyn Sql, after: Seq, limit: u32) -> Result<Vec<Message>, SqlError> {
        self.read(sql, AFTER, &[Value::Int(self.room), seq_value(after), Value::Int(i64::from(limit))])
    }

    /// The newest messages between two places, both exclusive, oldest first, as they read now.
    pub fn before(
        self,
        sql: &mut dyn Sql,
        (after, before): (Seq, Option<Seq>),
        limit: u32,
    ) -> Result<Vec<Message>, SqlError> {
        let before = before.unwrap_or(Seq(u64::MAX));
        let mut newest_first = self.read(
            sql,
            BEFORE,
            &[Value::Int(self.room), seq_value(before), seq_value(after), Value::Int(i64::from(limit))],
        )?;
        newest_first.reverse();
        Ok(newest_first)
    }

    fn read(
        self,
        sql: &mut dyn Sql,
        statement: &'static str,
        params: &[Value<'_>],
    ) -> Result<Vec<Message>, SqlError> {
        let mut messages = Vec::new();
        sql.query(statement, params, &mut |row| messages.extend(self.message(row)))?;
        Ok(messages)
    }

    /// None for a row that no release of ours can have written.
    fn event(self, row: &dyn Row) -> Option<Event> {
        let (seq, timestamp, room_id) = (Seq(row.count(0)), UnixMs(row.int(1)), self.name.clone());
        let id = Message::id_of(self.epoch, Seq(row.count(10)));
        Some(match row.int(9) {
            0 => Event::NewMessage(Arc::new(self.message(row)?)),
            1 => Event::MessageUpdated { room_id, seq, id, message: row.text(7).into(), timestamp },
            2 => Event::MessageDeleted { room_id, seq, id, timestamp },
            3 => {
                let (enabled, user_id) = (row.text(7) == "1", UserId::parse(row.text(2))?);
                let epoch = Some(self.epoch.into());
                Event::LiveAgentToggled { room_id, seq, enabled, user_id, timestamp, epoch }
            }
            _ => return None,
        })
    }

    /// None for a row that no release of ours can have written.
    pub(super) fn message(self, row: &dyn Row) -> Option<Message> {
        let seq = Seq(row.count(0));
        let extras = row.opt_text(8);
        let sources = extras.filter(|json| json.starts_with('{'));
        let attachments = extras.filter(|json| !json.starts_with('{'));
        Some(Message {
            id: Message::id_of(self.epoch, seq),
            room_id: self.name.clone(),
            seq,
            timestamp: UnixMs(row.int(1)),
            user_id: UserId::parse(row.text(2))?,
            user_name: row.text(3).into(),
            role: row.text(4).into(),
            socket_id: row.text(5).into(),
            client_message_id: row.opt_text(6).and_then(ClientMessageId::parse),
            message: row.text(7).into(),
            attachments: attachments.and_then(|json| RawValue::from_string(json.into()).ok()),
            sources: sources.and_then(|json| Some(serde_json::from_str::<Sources>(json).ok()?.sources)),
        })
    }
}

/// A place may come from a client; one beyond what any host can store stands for the end.
fn seq_value(seq: Seq) -> Value<'static> {
    Value::Int(seq.0.min(1 << 52) as i64)
}

/// Keeps the furthest mark. True if this one is further.
pub fn mark_read(
    sql: &mut dyn Sql,
    room: i64,
    user: &UserId,
    seq: Seq,
    now: UnixMs,
) -> Result<bool, SqlError> {
    let moved = first(
        sql,
        "INSERT INTO read_mark (room, user_id, seq, at) VALUES (?, ?, ?, ?)
            ON CONFLICT (room, user_id) DO UPDATE SET seq = excluded.seq, at = excluded.at
            WHERE excluded.seq > read_mark.seq RETURNING seq",
        &[Value::Int(room), Value::Text(user.as_str()), Value::Int(seq.0 as i64), Value::Int(now.0)],
        |_| (),
    )?;
    Ok(moved.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;

    #[test]
    fn what_a_message_reads_as_is_looked_up_and_not_searched_for() -> Result<(), SqlError> {
        let mut store = Memory::new();
        let plans: [(&'static str, &[Value<'_>]); 2] = [
            (explained(AFTER), &[Value::Int(1), Value::Int(0), Value::Int(50)]),
            (explained(BEFORE), &[Value::Int(1), Value::Int(9), Value::Int(0), Value::Int(50)]),
        ];
        for (plan, params) in plans {
            let mut steps = Vec::new();
            store.query(plan, params, &mut |row| steps.push(row.text(3).to_owned()))?;
            let inner =
                |alias: &str| steps.iter().find(|step| step.contains(alias)).cloned().unwrap_or_default();
            for alias in ["edit", "gone"] {
                let step = inner(alias);
                assert!(step.contains("event_by_target (room=? AND target_seq=? AND kind=?)"), "{steps:?}");
            }
        }
        Ok(())
    }

    fn explained(statement: &str) -> &'static str {
        Box::leak(format!("EXPLAIN QUERY PLAN {statement}").into_boxed_str())
    }
}
