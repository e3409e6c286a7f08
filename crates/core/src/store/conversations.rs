//! What the AI remembers, and the answers that are being written.

use super::{Sql, SqlError, Value, first};
use crate::ai::model::{FinishReason, Speaker, Turn, Usage};
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

pub fn begin_run(
    sql: &mut dyn Sql,
    room: i64,
    (provider, model): (&str, &str),
    now: UnixMs,
) -> Result<i64, SqlError> {
    let id = first(
        sql,
        "INSERT INTO run (room, state, provider, model, started_at) VALUES (?, ?, ?, ?, ?) RETURNING id",
        &[
            Value::Int(room),
            Value::Int(RunState::Running as i64),
            Value::Text(provider),
            Value::Text(model),
            Value::Int(now.0),
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

/// A run lives in memory only: whatever is found unfinished when a store is opened died with its process.
pub(super) fn interrupt_unfinished(sql: &mut dyn Sql, now: UnixMs) -> Result<(), SqlError> {
    sql.run(
        "UPDATE run SET state = 1, finish_reason = 'interrupted', ended_at = ? WHERE state = 0",
        &[Value::Int(now.0)],
    )
}
