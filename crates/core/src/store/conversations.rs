//! What the AI remembers, and the answers that are being written.

use serde::{Deserialize, Serialize};

use super::{Sql, SqlError, Value, first};
use crate::Caller;
use crate::access::identity::Identity;
use crate::access::rate;
use crate::ai::model::{FinishReason, Speaker, Turn, Usage};
use crate::ai::models::Route;
use crate::ids::{ConnId, DomainId, RoomId, Seq, SocketId};
use crate::protocol::event::AiStreamComplete;
use crate::spending::Reservation;
use crate::time::UnixMs;

/// Where a run stands in storage.
#[derive(Clone, Copy)]
pub enum RunState {
    Running = 0,
    Ended = 1,
}

pub fn append_turn(
    sql: &mut dyn Sql,
    room: i64,
    speaker: Speaker,
    text: &str,
    now: UnixMs,
) -> Result<(), SqlError> {
    let speaker = match speaker {
        Speaker::User => 0,
        Speaker::Assistant => 1,
        Speaker::Service => 2,
    };
    sql.run(
        "INSERT INTO turn (room, speaker, text, at) VALUES (?, ?, ?, ?)",
        &[Value::Int(room), Value::Int(speaker), Value::Text(text), Value::Int(now.0)],
    )
}

/// All that was asked and answered so far.
pub fn forget(sql: &mut dyn Sql, room: i64) -> Result<(), SqlError> {
    ["DELETE FROM turn WHERE room = ?", "UPDATE room SET answer = NULL WHERE id = ?"]
        .into_iter()
        .try_for_each(|statement| sql.run(statement, &[Value::Int(room)]))
}

/// Whether anything was ever said here.
pub fn has_turns(sql: &mut dyn Sql, room: i64) -> Result<bool, SqlError> {
    let found = first(sql, "SELECT 1 FROM turn WHERE room = ? LIMIT 1", &[Value::Int(room)], |_| ())?;
    Ok(found.is_some())
}

/// Whether this has been recounted here, of late: it is handed over until it is known to be stored.
pub fn has_recount(sql: &mut dyn Sql, room: i64, text: &str) -> Result<bool, SqlError> {
    let found = first(
        sql,
        "SELECT 1 FROM (SELECT speaker, text FROM turn WHERE room = ? ORDER BY id DESC LIMIT 100)
            WHERE speaker = 2 AND text = ? LIMIT 1",
        &[Value::Int(room), Value::Text(text)],
        |_| (),
    )?;
    Ok(found.is_some())
}

/// The newest turns, oldest first.
pub fn last_turns(sql: &mut dyn Sql, room: i64, limit: usize) -> Result<Vec<Turn>, SqlError> {
    let mut turns = Vec::with_capacity(limit);
    sql.query(
        "SELECT speaker, text FROM turn WHERE room = ? ORDER BY id DESC LIMIT ?",
        &[Value::Int(room), Value::Int(limit as i64)],
        &mut |row| {
            let speaker = match row.int(0) {
                0 => Speaker::User,
                1 => Speaker::Assistant,
                _ => Speaker::Service,
            };
            turns.push(Turn { speaker, text: row.text(1).into() });
        },
    )?;
    turns.reverse();
    Ok(turns)
}

/// Part of what is remembered, as an export has it.
#[derive(Clone, Debug, Serialize)]
pub struct Remembered {
    /// Its place in what is remembered.
    #[serde(skip)]
    pub at: i64,
    pub role: &'static str,
    pub text: Box<str>,
    pub timestamp: UnixMs,
}

/// Turns behind a place, oldest first.
pub fn turns_after(
    sql: &mut dyn Sql,
    room: i64,
    after: i64,
    limit: usize,
) -> Result<Vec<Remembered>, SqlError> {
    let mut turns = Vec::new();
    sql.query(
        "SELECT id, speaker, text, at FROM turn WHERE room = ? AND id > ? ORDER BY id LIMIT ?",
        &[Value::Int(room), Value::Int(after), Value::Int(limit as i64)],
        &mut |row| {
            let role = match row.int(1) {
                0 => "user",
                1 => "assistant",
                _ => "system",
            };
            let (text, timestamp) = (row.text(2).into(), UnixMs(row.int(3)));
            turns.push(Remembered { at: row.int(0), role, text, timestamp });
        },
    )?;
    Ok(turns)
}

/// Who waits for an answer, kept with it until it is there.
#[derive(Serialize, Deserialize)]
pub struct Asked {
    pub run: u64,
    #[serde(flatten)]
    pub by: Listener,
    pub streamed: bool,
    /// Of its chunks. Rows from before there were more than one have none: then it is `by`, if `streamed`.
    #[serde(default)]
    pub readers: Vec<Listener>,
    /// Of all of it at once, beside `by`: who has asked the same since.
    #[serde(default)]
    pub others: Vec<Listener>,
    /// Where the answer is published too.
    pub room: Option<RoomId>,
    /// Nobody asked it: it is what was said at this place of the room's log, and only the room waits for it.
    #[serde(default)]
    pub said: Option<Seq>,
    /// As whom it speaks there.
    #[serde(default)]
    pub name: Option<Box<str>>,
    /// Whose account it is for, and what is set aside there.
    #[serde(default)]
    pub domain: Option<DomainId>,
    #[serde(default)]
    pub reservation: Option<Reservation>,
}

/// A [`Caller`], as it is kept.
#[derive(Clone, Serialize, Deserialize)]
pub struct Listener {
    conn: u64,
    socket: SocketId,
    reply_to: Option<Box<str>>,
}

impl From<&Caller> for Listener {
    fn from(caller: &Caller) -> Self {
        Self { conn: caller.conn.0, socket: caller.socket, reply_to: caller.reply_to.clone() }
    }
}

impl From<Listener> for Caller {
    fn from(Listener { conn, socket, reply_to }: Listener) -> Self {
        // Nothing but an address: whoever is told by it asks for nothing.
        Self { conn: ConnId(conn), socket, reply_to, identity: Identity::Anonymous }
    }
}

/// A run whose end is not stored.
pub struct Unfinished {
    pub row: i64,
    pub provider: String,
    pub model: String,
    pub asked: Asked,
    /// What it had said when that was last stored.
    pub text: String,
}

/// A question was let in: keeps what the conversation has used of its quota, and up to where in its log it has asked.
pub fn note_asked(sql: &mut dyn Sql, room: i64, used: rate::Usage, said: Seq) -> Result<(), SqlError> {
    // An older answer is none to this question.
    sql.run(
        "UPDATE room SET asked_us = ?, answer = NULL, said = ? WHERE id = ?",
        &[Value::Int(used.to_micros()), Value::Int(said.0 as i64), Value::Int(room)],
    )
}

/// What was said up to there is not to be asked (again).
pub fn note_said(sql: &mut dyn Sql, room: i64, said: Seq) -> Result<(), SqlError> {
    sql.run("UPDATE room SET said = ? WHERE id = ?", &[Value::Int(said.0 as i64), Value::Int(room)])
}

/// An answer is owed from here on.
pub fn begin_run(
    sql: &mut dyn Sql,
    room: i64,
    (provider, model): (&str, &str),
    asked: &Asked,
    now: UnixMs,
) -> Result<i64, SqlError> {
    let asked = serde_json::to_string(asked).map_err(|error| SqlError(error.to_string()))?;
    let id = first(
        sql,
        "INSERT INTO run (room, state, provider, model, started_at, asked) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        &[
            Value::Int(room),
            Value::Int(RunState::Running as i64),
            Value::Text(provider),
            Value::Text(model),
            Value::Int(now.0),
            Value::Text(&asked),
        ],
        |row| row.int(0),
    )?;
    id.ok_or_else(|| SqlError("INSERT … RETURNING gave no row".into()))
}

/// What it has said so far.
pub fn note_text(sql: &mut dyn Sql, run: i64, text: &str) -> Result<(), SqlError> {
    sql.run_soft("UPDATE run SET text = ? WHERE id = ?", &[Value::Text(text), Value::Int(run)])
}

/// `route` is the model that answered, which may be another than the one that was asked first.
pub fn end_run(
    sql: &mut dyn Sql,
    run: i64,
    route: &Route,
    reason: FinishReason,
    usage: Usage,
    now: UnixMs,
) -> Result<(), SqlError> {
    sql.run(
        "UPDATE run SET state = ?, provider = ?, model = ?, finish_reason = ?, input_tokens = ?, output_tokens = ?,
            ended_at = ?, text = NULL WHERE id = ?",
        &[
            Value::Int(RunState::Ended as i64),
            Value::Text(route.provider.as_str()),
            Value::Text(&route.model),
            Value::Text(reason.as_str()),
            Value::Int(usage.input_tokens as i64),
            Value::Int(usage.output_tokens as i64),
            Value::Int(now.0),
            Value::Int(run),
        ],
    )
}

/// The runs that somebody may still be waiting for, in the order in which they were asked for.
pub fn unfinished(sql: &mut dyn Sql, room: i64) -> Result<Vec<Unfinished>, SqlError> {
    let mut found = Vec::new();
    sql.query(
        "SELECT id, provider, model, asked, text FROM run WHERE state = 0 AND room = ? ORDER BY id",
        &[Value::Int(room)],
        &mut |row| {
            found.extend(serde_json::from_str(row.text(3)).ok().map(|mut asked: Asked| {
                if asked.streamed && asked.readers.is_empty() {
                    asked.readers.push(asked.by.clone());
                }
                Unfinished {
                    row: row.int(0),
                    provider: row.text(1).into(),
                    model: row.text(2).into(),
                    asked,
                    text: row.text(4).into(),
                }
            }));
        },
    )?;
    Ok(found)
}

/// Others read it too from here on.
pub fn note_readers(sql: &mut dyn Sql, run: i64, asked: &Asked) -> Result<(), SqlError> {
    let asked = serde_json::to_string(asked).map_err(|error| SqlError(error.to_string()))?;
    sql.run("UPDATE run SET asked = ? WHERE id = ?", &[Value::Text(&asked), Value::Int(run)])
}

/// Keeps the last answer of a conversation as it was told, for those who come back to it.
pub fn note_answer(sql: &mut dyn Sql, room: i64, complete: &AiStreamComplete) -> Result<(), SqlError> {
    let told = serde_json::to_string(complete).map_err(|error| SqlError(error.to_string()))?;
    sql.run("UPDATE room SET answer = ? WHERE id = ?", &[Value::Text(&told), Value::Int(room)])
}

pub fn last_answer(sql: &mut dyn Sql, room: i64) -> Result<Option<AiStreamComplete>, SqlError> {
    let told = first(sql, "SELECT answer FROM room WHERE id = ?", &[Value::Int(room)], |row| {
        serde_json::from_str(row.text(0)).ok()
    })?;
    Ok(told.flatten())
}

/// Rooms with answers that are not at their end.
pub fn rooms_with_unfinished(sql: &mut dyn Sql) -> Result<Vec<RoomId>, SqlError> {
    let mut rooms = Vec::new();
    sql.query(
        "SELECT DISTINCT room.name FROM run JOIN room ON room.id = run.room WHERE run.state = 0",
        &[],
        &mut |row| rooms.push(RoomId::known(row.text(0))),
    )?;
    Ok(rooms)
}
