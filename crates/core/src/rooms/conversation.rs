//! The AI's side of a room: one answer at a time, the questions that wait for it, and what the AI remembers.
//!
//! An answer belongs to the conversation, not to the connection that asked: it is written to its end and remembered
//! even if nobody listens any more. Every run ends in exactly one terminal event.

use std::collections::VecDeque;
use std::sync::Arc;

use super::run::{End, INTERRUPTED, Run};
use super::{Failure, Post, Room, Turn};
use crate::ai::context;
use crate::ai::model::{FinishReason, ModelEvent, ModelRequest, Speaker, Usage};
use crate::ai::models::Route;
use crate::domains::DomainSettings;
use crate::ids::{ClientMessageId, ConnId, DomainId, RunId, UserId};
use crate::limits::{ANSWER_BYTES_MAX, CHUNK_EVERY_MS, QUESTIONS_WAITING_MAX};
use crate::protocol::command::{Ask, DEFAULT_ROLE};
use crate::protocol::error::{ClientError, ErrorCode};
use crate::protocol::event::Event;
use crate::store::conversations::{self, Asked, Listener};
use crate::store::{Sql, SqlError};
use crate::time::UnixMs;
use crate::{Caller, Output};

#[derive(Default)]
pub(super) struct Conversation {
    running: Option<Run>,
    waiting: VecDeque<Question>,
    /// The last one that ended, in case that this cannot be stored.
    ended: Option<Spoken>,
}

/// What an answer had said when its room's memory was lost.
#[derive(Clone)]
pub struct Spoken {
    pub run: RunId,
    pub text: Arc<str>,
}

struct Question {
    id: RunId,
    row: i64,
    from: Caller,
    ask: Ask,
    settings: Arc<DomainSettings>,
    route: Route,
}

impl Question {
    fn into_run(self, context_length: usize) -> Run {
        let fallback = self.settings.fallback_message.clone();
        Run {
            id: self.id,
            row: self.row,
            streamed: self.ask.streamed,
            readers: self.ask.streamed.then(|| self.from.clone()).into_iter().collect(),
            from: self.from,
            route: self.route,
            room: self.ask.room,
            context_length,
            fallback: fallback.unwrap_or_else(|| context::FALLBACK.into()),
            text: String::new(),
            chunks: Vec::new(),
            told_at: UnixMs(0),
            usage: Usage::default(),
        }
    }
}

impl Conversation {
    pub(super) fn is_quiet(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }

    pub(super) fn is_writing(&self, id: RunId) -> bool {
        self.running.as_ref().is_some_and(|run| run.id == id)
    }

    /// Whether an answer for this connection is being written or waits for its turn.
    pub(super) fn owes(&self, conn: ConnId) -> bool {
        self.running.as_ref().is_some_and(|run| run.is_heard_by(conn))
            || self.waiting.iter().any(|question| question.from.conn == conn)
    }

    /// When text that waits for company must be told.
    pub(super) fn due(&self) -> Option<UnixMs> {
        let run = self.running.as_ref()?;
        (run.told() < run.text.len() && run.is_told()).then(|| run.told_at.plus(CHUNK_EVERY_MS))
    }
}

impl Room {
    pub(super) fn ask(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        ask: Ask,
        settings: Arc<DomainSettings>,
    ) -> Result<(), Failure> {
        let model = ask.model.as_deref().or(settings.model.as_deref());
        let route = turn.cx.policy.models.route(model)?;
        let conversation = self.conversation.get_or_insert_default();
        if conversation.waiting.len() >= QUESTIONS_WAITING_MAX {
            return Err(ClientError::rate_limited("questions waiting in this conversation", 1_000).into());
        }
        self.asked
            .admit(turn.cx.now, turn.cx.policy.ai_per_user)
            .map_err(|ms| ClientError::rate_limited("AI requests", ms))?;
        let (id, row) = self.accept(turn, from, &ask, &route)?;
        let question = Question { id, row, from: from.clone(), ask, settings, route };
        let conversation = self.conversation.get_or_insert_default();
        if conversation.running.is_some() {
            conversation.waiting.push_back(question);
            return Ok(());
        }
        Ok(self.begin(turn, question)?)
    }

    /// From here on an answer is owed, whatever dies.
    fn accept(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        ask: &Ask,
        route: &Route,
    ) -> Result<(RunId, i64), SqlError> {
        let stored = self.stored(turn, ask.domain.as_ref())?;
        conversations::note_asked(turn.sql, stored.row, self.asked)?;
        let id = RunId(turn.cx.entropy);
        let readers = ask.streamed.then(|| Listener::from(from)).into_iter().collect();
        let asked =
            Asked { run: id.0, by: from.into(), streamed: ask.streamed, readers, room: ask.room.clone() };
        let names = (route.provider.as_str(), route.model.as_ref());
        let row = conversations::begin_run(turn.sql, stored.row, names, &asked, turn.cx.now)?;
        Ok((id, row))
    }

    /// The answers that a memory now gone was writing or had promised end here, so that nobody waits for ever. Askers
    /// who were `told` so when it could not be stored are not told again.
    pub(super) fn interrupt_unfinished(
        &mut self,
        turn: &mut Turn<'_>,
        told: &[Spoken],
    ) -> Result<(), SqlError> {
        for run in self.unfinished(turn.sql, told)? {
            let room = self.stored(turn, None)?.row;
            if !run.text.is_empty() {
                conversations::append_turn(turn.sql, room, Speaker::Assistant, &run.text, turn.cx.now)?;
            }
            conversations::end_run(turn.sql, run.row, INTERRUPTED.reason, Usage::default(), turn.cx.now)?;
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
    fn begin(&mut self, turn: &mut Turn<'_>, question: Question) -> Result<(), SqlError> {
        let (id, ask) = (question.id, &question.ask);
        let stored = self.stored(turn, ask.domain.as_ref())?;
        conversations::append_turn(turn.sql, stored.row, Speaker::User, &ask.message, turn.cx.now)?;
        let turns = conversations::last_turns(turn.sql, stored.row, turn.cx.policy.context_messages)?;
        let request = ModelRequest {
            provider: question.route.provider,
            model: question.route.model.to_string(),
            system: context::system_prompt(
                ask.system_prompt.as_deref().or(question.settings.system_prompt.as_deref()),
                ask.domain.as_ref().map(DomainId::as_str),
            ),
            turns,
        };
        let context_length = request.turns.len();
        if let Some(room) = &ask.room {
            turn.post(room.clone(), self.asked_by(id, &question.from, ask))?;
        }
        turn.out.push(Output::AskModel { run: id, request });
        self.conversation.get_or_insert_default().running = Some(question.into_run(context_length));
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
            ModelEvent::Usage(usage) => run.usage = usage,
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
        let end = End { reason: FinishReason::Cancelled, code: None };
        if let Some(run) = self.running().filter(|run| run.id == id) {
            // What has not been told yet would be told behind the fence.
            run.text.truncate(run.told());
            turn.out.push(Output::CancelModel { run: id });
            return self.end(turn, end);
        }
        let Some(conversation) = &mut self.conversation else { return Ok(()) };
        let Some(at) = conversation.waiting.iter().position(|question| question.id == id) else {
            return Ok(());
        };
        if let Some(question) = conversation.waiting.remove(at) {
            conversations::end_run(turn.sql, question.row, end.reason, Usage::default(), turn.cx.now)?;
            question.into_run(0).tell_end(turn, self.id.clone(), end)?;
        }
        Ok(())
    }

    fn asked_by(&self, run: RunId, from: &Caller, ask: &Ask) -> Post {
        let user = ask.user.clone().unwrap_or_else(UserId::anonymous);
        Post {
            conversation: self.id.clone(),
            run,
            is_answer: false,
            id: ClientMessageId::of_run("question", run),
            user_name: user.as_str().into(),
            user,
            role: DEFAULT_ROLE.into(),
            text: ask.message.clone(),
            socket: from.socket,
        }
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
        run.chunks.push(run.text.len());
        run.tell(turn, event);
    }

    /// The one place where a run ends: what it said is remembered, its asker is told, the next question has its turn.
    pub(super) fn end(&mut self, turn: &mut Turn<'_>, end: End) -> Result<(), SqlError> {
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
        conversations::end_run(turn.sql, run.row, end.reason, run.usage, turn.cx.now)?;
        let complete = run.complete(self.id.clone(), end, turn.cx.now);
        conversations::note_answer(turn.sql, stored.row, &complete)?;
        run.tell_complete(turn, complete)?;
        match next {
            Some(question) => self.begin(turn, question),
            None => Ok(()),
        }
    }
}
