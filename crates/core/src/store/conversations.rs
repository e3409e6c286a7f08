//! What the AI remembers, and the answers that are being written.

use serde::{Deserialize, Serialize};

use super::{Sql, SqlError, Value, first};
use crate::Caller;
use crate::access::rate;
use crate::ai::model::{FinishReason, Provider, Speaker, Turn, Usage};
use crate::ids::{ConnId, RoomId, SocketId};
use crate::protocol::event::{AiStreamComplete, Answer};
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
    let speaker = matches!(speaker, Speaker::Assistant);
    sql.run(
        "INSERT INTO turn (room, speaker, text, at) VALUES (?, ?, ?, ?)",
        &[Value::Int(room), Value::Int(i64::from(speaker)), Value::Text(text), Value::Int(now.0)],
    )
}

/// The newest turns, oldest first.
pub fn last_turns(sql: &mut dyn Sql, room: i64, limit: usize) -> Result<Vec<Turn>, SqlError> {
    let mut turns = Vec::with_capacity(limit);
    sql.query(
        "SELECT speaker, text FROM turn WHERE room = ? ORDER BY id DESC LIMIT ?",
        &[Value::Int(room), Value::Int(limit as i64)],
        &mut |row| {
            let speaker = if row.int(0) == 0 { Speaker::User } else { Speaker::Assistant };
            turns.push(Turn { speaker, text: row.text(1).into() });
        },
    )?;
    turns.reverse();
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
    /// Where the answer is published too.
    pub room: Option<RoomId>,
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
        Self { conn: ConnId(conn), socket, reply_to }
    }
}

/// A run whose end is not stored.
pub struct Unfinished {
    pub row: i64,
    pub provider: String,
    pub model: String,
    pub asked: Asked,
}

/// A question was let in: keeps what the conversation has used of its quota.
pub fn note_asked(sql: &mut dyn Sql, room: i64, used: rate::Usage) -> Result<(), SqlError> {
    // An older answer is none to this question.
    sql.run(
        "UPDATE room SET asked_us = ?, answer = NULL WHERE id = ?",
        &[Value::Int(used.to_micros()), Value::Int(room)],
    )
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

pub fn end_run(
    sql: &mut dyn Sql,
    run: i64,
    reason: FinishReason,
    usage: Usage,
    now: UnixMs,
) -> Result<(), SqlError> {
    sql.run(
        "UPDATE run SET state = ?, finish_reason = ?, input_tokens = ?, output_tokens = ?, ended_at = ? WHERE id = ?",
        &[
            Value::Int(RunState::Ended as i64),
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
        "SELECT id, provider, model, asked FROM run WHERE state = 0 AND room = ? ORDER BY id",
        &[Value::Int(room)],
        &mut |row| {
            found.extend(serde_json::from_str(row.text(3)).ok().map(|mut asked: Asked| {
                if asked.streamed && asked.readers.is_empty() {
                    asked.readers.push(asked.by.clone());
                }
                Unfinished { row: row.int(0), provider: row.text(1).into(), model: row.text(2).into(), asked }
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

/// A run lives in memory only: whatever is found unfinished when a store is opened died with its process.
/// For a host whose connections die with it: nobody is left to be told, save those who come back to ask.
pub fn interrupt_unfinished(sql: &mut dyn Sql, now: UnixMs) -> Result<(), SqlError> {
    let mut interrupted = Vec::new();
    sql.query(
        "SELECT room.id, room.name, run.provider, run.model FROM run JOIN room ON room.id = run.room
            WHERE run.state = 0 ORDER BY run.id DESC",
        &[],
        &mut |row| {
            let name = RoomId::parse(row.text(1));
            interrupted.extend(name.map(|name| (row.int(0), cut_off(name, row.text(2), row.text(3), now))));
        },
    )?;
    for (room, complete) in &interrupted {
        note_answer(sql, *room, complete)?;
    }
    sql.run(
        "UPDATE run SET state = 1, finish_reason = 'interrupted', ended_at = ? WHERE state = 0",
        &[Value::Int(now.0)],
    )
}

/// An answer of which nothing is known but that it was being written.
fn cut_off(conversation_id: RoomId, provider: &str, model: &str, now: UnixMs) -> AiStreamComplete {
    let answer = Answer {
        model: model.into(),
        provider: Provider::parse(provider).unwrap_or(Provider::Demo),
        conversation_id,
        context_length: 0,
        usage: Usage::default(),
        finish_reason: FinishReason::Interrupted,
        timestamp: now,
        error: false,
        code: None,
        fallback: None,
    };
    AiStreamComplete { full_response: "".into(), room_id: None, answer }
}
