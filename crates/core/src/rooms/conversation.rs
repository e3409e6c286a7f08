//! The AI's side of a room: one answer at a time, the questions that wait for it, and what the AI remembers.
//!
//! An answer belongs to the conversation, not to the connection that asked: it is written to its end and remembered
//! even if nobody listens any more. Every run ends in exactly one terminal event.

use std::collections::VecDeque;
use std::sync::Arc;

use super::question::Question;
use super::run::{CALLED_OFF, End, INTERRUPTED, Run};
use super::{Room, Turn};
use crate::ai::context::{self, Context};
use crate::ai::handover;
use crate::ai::model::{FinishReason, ModelEvent, ModelRequest, Speaker, Usage};
use crate::ai::tokens;
use crate::ids::{ConnId, RunId};
use crate::limits::{ANSWER_BYTES_MAX, ANSWER_STORED_EVERY_MS, CHUNK_EVERY_MS, CONTEXT_TOKENS_MAX};
use crate::protocol::error::ErrorCode;
use crate::protocol::event::Event;
use crate::store::{Sql, SqlError, conversations, publishing};
use crate::time::UnixMs;
use crate::{Caller, Output};

#[derive(Default)]
pub(super) struct Conversation {
    pub(super) running: Option<Run>,
    pub(super) waiting: VecDeque<Question>,
    /// The last one that ended, in case that this cannot be stored.
    ended: Option<Spoken>,
}

/// What an answer had said when its room's memory was lost.
#[derive(Clone)]
pub struct Spoken {
    pub run: RunId,
    pub text: Arc<str>,
}

impl Conversation {
    /// The answer that is being written, and those that wait for it.
    pub(super) fn runs(&self) -> Vec<RunId> {
        let running = self.running.as_ref().map(|run| run.id);
        running.into_iter().chain(self.waiting.iter().map(|question| question.id)).collect()
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }

    pub(super) fn is_writing(&self, id: RunId) -> bool {
        self.running.as_ref().is_some_and(|run| run.id == id)
    }

    /// Whether an answer for this connection is being written or waits for its turn.
    pub(super) fn owes(&self, conn: ConnId) -> bool {
        self.running.as_ref().is_some_and(|run| run.is_heard_by(conn))
            || self.waiting.iter().any(|question| question.is_heard_by(conn))
    }

    /// When text that waits for company must be told, or stored.
    pub(super) fn due(&self) -> Option<UnixMs> {
        let run = self.running.as_ref()?;
        let told = (run.told() < run.text.len() && run.is_told()).then(|| run.told_at.plus(CHUNK_EVERY_MS));
        let kept = (run.kept < run.text.len()).then(|| run.kept_at.plus(ANSWER_STORED_EVERY_MS));
        told.into_iter().chain(kept).min()
    }
}

impl Room {
    /// The answers that a memory now gone was writing or had promised end here, so that nobody waits for ever. Askers
    /// who were `told` so when it could not be stored are not told again.
    pub(super) fn interrupt_unfinished(
        &mut self,
        turn: &mut Turn<'_>,
        told: &[Spoken],
    ) -> Result<(), SqlError> {
        for mut run in self.unfinished(turn.sql, told)? {
            run.type_text(turn, false);
            let room = self.stored(turn, None)?.row;
            if !run.text.is_empty() {
                // What it was sent is gone with the memory that sent it; what is remembered of the talk was most of it.
                let turns = conversations::last_turns(turn.sql, room, turn.cx.policy.context_messages)?;
                let sent = context::within(turns, CONTEXT_TOKENS_MAX);
                run.bill.input_tokens = sent.iter().map(|turn| tokens::estimate(&turn.text)).sum();
                conversations::append_turn(turn.sql, room, Speaker::Assistant, &run.text, turn.cx.now)?;
            }
            let (reason, usage) = (INTERRUPTED.reason, Usage::default());
            conversations::end_run(turn.sql, run.row, &run.route, reason, usage, turn.cx.now)?;
            turn.spend(run.spent(INTERRUPTED, turn.cx.now));
            let complete = run.complete(self.id.clone(), INTERRUPTED, turn.cx.now);
            conversations::note_answer(turn.sql, room, &complete)?;
            match told.iter().any(|spoken| spoken.run == run.id) {
                true => run.publish_end(turn, complete)?,
                false => run.tell_complete(turn, complete)?,
            }
        }
        Ok(())
    }

    /// After a commit that failed: what is to be told to those who wait for an answer of this room, though it cannot be
    /// stored yet that they were. The host tells [`RoomInput::Awoken`] of them when it can.
    pub fn owed(
        &self,
        spoken: &[Spoken],
        sql: &mut dyn Sql,
        now: UnixMs,
    ) -> Result<Vec<(Spoken, Vec<Output>)>, SqlError> {
        let replies = |run: Run| {
            let answers = run.answers(&run.complete(self.id.clone(), INTERRUPTED, now));
            let spoken = Spoken { run: run.id, text: run.text.into() };
            let reply =
                |(to, event): (Caller, Event)| Output::Reply { to: to.conn, reply_to: to.reply_to, event };
            (spoken, answers.into_iter().map(reply).collect())
        };
        Ok(self.unfinished(sql, spoken)?.into_iter().map(replies).collect())
    }

    /// What the answers of this room have said, of those that may not be stored.
    pub fn into_spoken(self) -> Vec<Spoken> {
        let Some(Conversation { running, ended, .. }) = self.conversation.map(|boxed| *boxed) else {
            return Vec::new();
        };
        let running = running.map(|run| Spoken { run: run.id, text: run.text.into() });
        ended.into_iter().chain(running).collect()
    }

    fn unfinished(&self, sql: &mut dyn Sql, spoken: &[Spoken]) -> Result<Vec<Run>, SqlError> {
        let rows = self.stored.as_ref().map(|stored| conversations::unfinished(sql, stored.row));
        let mut runs: Vec<Run> =
            rows.transpose()?.unwrap_or_default().into_iter().map(Run::from_row).collect();
        for run in &mut runs {
            if let Some(spoken) = spoken.iter().find(|spoken| spoken.run == run.id) {
                run.text = spoken.text.as_ref().into();
            }
        }
        Ok(runs)
    }

    /// Remembers the question, then asks the model with what is remembered.
    pub(super) fn begin(&mut self, turn: &mut Turn<'_>, question: Question) -> Result<(), SqlError> {
        let is_for_here = question.ask.is_unasked() || question.ask.room.as_ref() == Some(&self.id);
        if is_for_here && self.live_agent {
            // People are in charge: what was asked of the AI is for them to read. Another room says so by itself.
            if !question.ask.is_unasked() {
                let stored = self.stored(turn, question.ask.domain.as_ref())?;
                let (text, now) = (&question.ask.message, turn.cx.now);
                conversations::append_turn(turn.sql, stored.row, Speaker::User, text, now)?;
                turn.post(self.id.clone(), self.asked_by(question.id, &question.from, &question.ask))?;
            }
            self.call_off(turn, question)?;
            let next = self.conversation.as_mut().and_then(|conversation| conversation.waiting.pop_front());
            return next.map_or(Ok(()), |next| self.begin(turn, next));
        }
        let (id, ask) = (question.id, &question.ask);
        let stored = self.stored(turn, ask.domain.as_ref())?;
        conversations::append_turn(turn.sql, stored.row, Speaker::User, &ask.message, turn.cx.now)?;
        let turns = conversations::last_turns(turn.sql, stored.row, turn.cx.policy.context_messages)?;
        let request = ModelRequest {
            routes: question.routes.clone(),
            system: Context { ask, briefing: &question.briefing }.system(),
            turns: context::within(turns, CONTEXT_TOKENS_MAX),
            passages: question.briefing.passages.clone(),
            is_over_budget: question.is_over_budget(),
            fallback: question.fallback(),
            may_hand_over: ask.room.is_some(),
        };
        let context_length = request.turns.len();
        let bill = question.bill(context::tokens(&request));
        match &ask.room {
            // What it answers stands in this room's log already.
            Some(_) if ask.is_unasked() => publishing::begin(turn.sql, stored.row, &self.id, id)?,
            Some(room) => turn.post(room.clone(), self.asked_by(id, &question.from, ask))?,
            None => {}
        }
        let mut run = question.into_run(context_length, bill);
        run.type_text(turn, true);
        turn.out.push(Output::AskModel { run: id, request });
        self.conversation.get_or_insert_default().running = Some(run);
        Ok(())
    }

    pub(super) fn model_says(
        &mut self,
        turn: &mut Turn<'_>,
        id: RunId,
        event: ModelEvent,
    ) -> Result<(), SqlError> {
        let Some(run) = self.running().filter(|run| run.id == id) else {
            return Ok(());
        };
        match event {
            ModelEvent::Answering(route) => run.route = route,
            ModelEvent::Usage(usage) => run.usage = usage,
            ModelEvent::HandOver(reason) => self.hand_over(turn, id, reason)?,
            ModelEvent::Delta(delta) => {
                run.text.push_str(&delta);
                if run.text.len() > ANSWER_BYTES_MAX {
                    run.text.truncate(run.text.floor_char_boundary(ANSWER_BYTES_MAX));
                    turn.out.push(Output::CancelModel { run: id });
                    return self.end(turn, End { reason: FinishReason::Length, code: None });
                }
                if turn.cx.now.since(run.told_at) >= CHUNK_EVERY_MS {
                    self.flush_chunk(turn);
                }
                self.keep_text(turn)?;
            }
            ModelEvent::Finished(FinishReason::ContentFilter) => {
                let code = Some(ErrorCode::AiContentFiltered);
                self.end(turn, End { reason: FinishReason::ContentFilter, code })?;
            }
            ModelEvent::Finished(reason) => self.end(turn, End { reason, code: None })?,
            ModelEvent::Failed(failure) => self.end(turn, End::of_failure(&failure))?,
        }
        Ok(())
    }

    /// People have taken over: the run ends with what it has said so far, or before it began.
    pub(super) fn silence(&mut self, turn: &mut Turn<'_>, id: RunId) -> Result<(), SqlError> {
        if let Some(run) = self.running().filter(|run| run.id == id) {
            // What has not been told yet would be told behind the fence.
            run.text.truncate(run.told());
            turn.out.push(Output::CancelModel { run: id });
            return self.end(turn, CALLED_OFF);
        }
        let Some(conversation) = &mut self.conversation else { return Ok(()) };
        let Some(at) = conversation.waiting.iter().position(|question| question.id == id) else {
            return Ok(());
        };
        let question = conversation.waiting.remove(at);
        question.map_or(Ok(()), |question| self.call_off(turn, question))
    }

    pub(super) fn running(&mut self) -> Option<&mut Run> {
        self.conversation.as_mut()?.running.as_mut()
    }

    /// Tells the text that has come since the last chunk, if any.
    pub(super) fn flush_chunk(&mut self, turn: &mut Turn<'_>) {
        let conversation_id = self.id.clone();
        let Some(run) = self.running() else { return };
        let Some(chunk) = run.text.get(run.told()..).filter(|chunk| !chunk.is_empty() && run.is_told())
        else {
            return;
        };
        let event = Event::AiStreamChunk {
            chunk: chunk.into(),
            index: run.next_index(),
            conversation_id,
            room_id: run.room.clone(),
            timestamp: turn.cx.now,
        };
        run.told_at = turn.cx.now;
        if run.chunks.is_empty() {
            run.first_told_at = turn.cx.now;
        }
        run.chunks.push(run.text.len());
        run.type_text(turn, false);
        run.tell(turn, event);
    }

    /// Stores what has been said, now and then: a crash takes no more of it than came since.
    pub(super) fn keep_text(&mut self, turn: &mut Turn<'_>) -> Result<(), SqlError> {
        let now = turn.cx.now;
        let Some(run) = self.running() else { return Ok(()) };
        if run.kept == run.text.len() || now.since(run.kept_at) < ANSWER_STORED_EVERY_MS {
            return Ok(());
        }
        (run.kept, run.kept_at) = (run.text.len(), now);
        conversations::note_text(turn.sql, run.row, &run.text)
    }

    /// The one place where a run ends: what it said is remembered, its asker is told, the next question has its turn.
    pub(super) fn end(&mut self, turn: &mut Turn<'_>, end: End) -> Result<(), SqlError> {
        if let Some(run) = self.running() {
            if run.has_handed_over && run.text.is_empty() && end.code.is_none() {
                run.text.push_str(handover::SAID);
            }
            run.type_text(turn, false);
        }
        self.flush_chunk(turn);
        let stored = self.stored(turn, None)?;
        let Some(conversation) = &mut self.conversation else {
            return Ok(());
        };
        let Some(run) = conversation.running.take() else {
            return Ok(());
        };
        let next = conversation.waiting.pop_front();
        conversation.ended = Some(Spoken { run: run.id, text: run.text.as_str().into() });
        if !run.text.is_empty() {
            conversations::append_turn(turn.sql, stored.row, Speaker::Assistant, &run.text, turn.cx.now)?;
        }
        conversations::end_run(turn.sql, run.row, &run.route, end.reason, run.usage, turn.cx.now)?;
        turn.spend(run.spent(end, turn.cx.now));
        let complete = run.complete(self.id.clone(), end, turn.cx.now);
        conversations::note_answer(turn.sql, stored.row, &complete)?;
        run.tell_complete(turn, complete)?;
        match next {
            Some(question) => self.begin(turn, question),
            None => Ok(()),
        }
    }
}
