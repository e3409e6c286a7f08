//! The AI's side of a room: one answer at a time, the questions that wait for it, and what the AI remembers.
//!
//! An answer belongs to the conversation, not to the connection that asked: it is written to its end and remembered
//! even if nobody listens any more. Every run ends in exactly one terminal event.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Failure, Post, Room, RoomInput, Turn};
use crate::ai::context;
use crate::ai::model::{FinishReason, ModelEvent, ModelFailure, ModelRequest, Provider, Speaker, Usage};
use crate::ai::models::Route;
use crate::domains::DomainSettings;
use crate::ids::{ClientMessageId, ConnId, DomainId, RoomId, RunId, SocketId, UserId};
use crate::limits::{ANSWER_BYTES_MAX, CHUNK_EVERY_MS, QUESTIONS_WAITING_MAX};
use crate::protocol::command::{Ask, DEFAULT_ROLE};
use crate::protocol::error::{ClientError, ErrorCode};
use crate::protocol::event::{AiResponse, AiStreamComplete, Answer, Event};
use crate::store::conversations::{self, Asked, Listener, Unfinished};
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

pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) row: i64,
    from: Caller,
    streamed: bool,
    /// Who hears its chunks: whoever asked for a stream, and those who came back to it.
    pub(super) readers: Vec<Caller>,
    route: Route,
    pub(super) room: Option<RoomId>,
    context_length: usize,
    /// What is shown if no model answers.
    fallback: Box<str>,
    text: String,
    /// Where in `text` each chunk that has been told ends.
    chunks: Vec<usize>,
    told_at: UnixMs,
    usage: Usage,
}

/// How a run came to its end.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) reason: FinishReason,
    pub(super) code: Option<ErrorCode>,
}

const INTERRUPTED: End = End { reason: FinishReason::Interrupted, code: None };

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

impl Run {
    fn from_row(Unfinished { row, provider, model, asked }: Unfinished) -> Self {
        Self {
            id: RunId(asked.run),
            row,
            from: asked.by.into(),
            streamed: asked.streamed,
            readers: asked.readers.into_iter().map(Caller::from).collect(),
            route: Route {
                provider: Provider::parse(&provider).unwrap_or(Provider::Demo),
                model: model.into(),
            },
            room: asked.room,
            context_length: 0,
            fallback: context::FALLBACK.into(),
            text: String::new(),
            chunks: Vec::new(),
            told_at: UnixMs(0),
            usage: Usage::default(),
        }
    }

    pub(super) fn asked(&self) -> Asked {
        Asked {
            run: self.id.0,
            by: (&self.from).into(),
            streamed: self.streamed,
            readers: self.readers.iter().map(Listener::from).collect(),
            room: self.room.clone(),
        }
    }

    /// Whether anyone hears the chunks.
    fn is_told(&self) -> bool {
        !self.readers.is_empty() || self.room.is_some()
    }

    pub(super) fn is_heard_by(&self, conn: ConnId) -> bool {
        self.from.conn == conn || self.readers.iter().any(|reader| reader.conn == conn)
    }

    /// How much of the text has been told in chunks.
    fn told(&self) -> usize {
        self.chunks.last().copied().unwrap_or(0)
    }

    pub(super) fn next_index(&self) -> u32 {
        self.chunks.len() as u32
    }

    pub(super) fn chunk(&self, index: u32) -> &str {
        let index = index as usize;
        let from = index.checked_sub(1).and_then(|before| self.chunks.get(before)).copied().unwrap_or(0);
        self.chunks.get(index).and_then(|to| self.text.get(from..*to)).unwrap_or_default()
    }

    /// To those who read the stream, and to the room that it is published in; who asked in there hears it once.
    fn tell(&self, turn: &mut Turn<'_>, event: Event) {
        for reader in &self.readers {
            turn.reply(reader, event.clone());
        }
        self.publish(turn, event);
    }

    /// To the members of the room that it is published in, save whoever has heard it as the asker.
    fn publish(&self, turn: &mut Turn<'_>, event: Event) {
        if let Some(room) = &self.room {
            let except = self.streamed.then_some(self.from.conn);
            turn.mention(room.clone(), RoomInput::Overheard { event, except });
        }
    }

    /// The terminal event, for all who listen, and the answer for the room that it is published in.
    fn tell_end(self, turn: &mut Turn<'_>, conversation_id: RoomId, end: End) -> Result<(), SqlError> {
        let complete = self.complete(conversation_id, end, turn.cx.now);
        self.tell_complete(turn, complete)
    }

    fn tell_complete(self, turn: &mut Turn<'_>, complete: AiStreamComplete) -> Result<(), SqlError> {
        for (listener, event) in self.answers(&complete) {
            turn.reply(&listener, event);
        }
        self.publish_end(turn, complete)
    }

    fn complete(&self, conversation_id: RoomId, end: End, now: UnixMs) -> AiStreamComplete {
        let failed = end.code.is_some();
        let answer = Answer {
            model: self.route.model.as_ref().into(),
            provider: self.route.provider,
            conversation_id,
            context_length: self.context_length,
            usage: self.usage,
            finish_reason: end.reason,
            timestamp: now,
            error: failed,
            code: end.code,
            fallback: (failed && !self.text.is_empty()).then(|| self.fallback.clone()),
        };
        let full_response = match self.text.is_empty() && failed {
            true => self.fallback.clone(),
            false => self.text.as_str().into(),
        };
        AiStreamComplete { full_response, room_id: self.room.clone(), answer }
    }

    /// What those who listen are waiting for.
    fn answers(&self, complete: &AiStreamComplete) -> Vec<(Caller, Event)> {
        let streamed =
            |reader: &Caller| (reader.clone(), Event::AiStreamComplete(Box::new(complete.clone())));
        let mut answers: Vec<(Caller, Event)> = self.readers.iter().map(streamed).collect();
        if !self.streamed {
            let message = complete.full_response.clone();
            let whole = AiResponse { message, answer: complete.answer.clone() };
            answers.push((self.from.clone(), Event::AiResponse(Box::new(whole))));
        }
        answers
    }

    fn publish_end(self, turn: &mut Turn<'_>, complete: AiStreamComplete) -> Result<(), SqlError> {
        let Some(room) = self.room.clone() else { return Ok(()) };
        let (conversation, shown) = (complete.answer.conversation_id.clone(), complete.full_response.clone());
        self.publish(turn, Event::AiStreamComplete(Box::new(complete)));
        match shown.is_empty() {
            true => Ok(()),
            false => turn.post(room, said_by_ai(conversation, self.id, shown)),
        }
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

impl End {
    fn of_failure(failure: &ModelFailure) -> Self {
        let (reason, code) = match failure {
            ModelFailure::ContentFiltered => (FinishReason::ContentFilter, ErrorCode::AiContentFiltered),
            ModelFailure::Timeout => (FinishReason::Error, ErrorCode::AiTimeout),
            ModelFailure::Unavailable
            | ModelFailure::Overloaded { .. }
            | ModelFailure::Rejected { .. }
            | ModelFailure::Incomplete => (FinishReason::Error, ErrorCode::AiUnavailable),
        };
        Self { reason, code: Some(code) }
    }
}

/// No connection of its own: one that were the asker's would make pages take the answer for the asker's words.
fn said_by_ai(conversation: RoomId, run: RunId, text: Box<str>) -> Post {
    Post {
        conversation,
        run,
        is_answer: true,
        id: ClientMessageId::of_run("answer", run),
        user: UserId::ai(),
        user_name: "AI Assistant".into(),
        role: "assistant".into(),
        text,
        socket: SocketId::from_entropy(run.0.into()),
    }
}
