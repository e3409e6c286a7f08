//! One answer of a model: who hears it, what it has said, and how it ends.

use crate::Caller;
use crate::ai::context;
use crate::ai::model::{FinishReason, ModelFailure, Provider, Usage};
use crate::ai::models::Route;
use crate::ids::{ClientMessageId, ConnId, RoomId, RunId, SocketId, UserId};
use crate::protocol::error::ErrorCode;
use crate::protocol::event::{AiResponse, AiStreamComplete, Answer, Event};
use crate::store::SqlError;
use crate::store::conversations::{Asked, Listener, Unfinished};
use crate::time::UnixMs;

use super::{Post, RoomInput, Turn};

pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) row: i64,
    pub(super) from: Caller,
    pub(super) streamed: bool,
    /// Who hears its chunks: whoever asked for a stream, and those who came back to it.
    pub(super) readers: Vec<Caller>,
    pub(super) route: Route,
    pub(super) room: Option<RoomId>,
    pub(super) context_length: usize,
    /// What is shown if no model answers.
    pub(super) fallback: Box<str>,
    pub(super) text: String,
    /// Where in `text` each chunk that has been told ends.
    pub(super) chunks: Vec<usize>,
    pub(super) told_at: UnixMs,
    pub(super) usage: Usage,
}

/// How a run came to its end.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) reason: FinishReason,
    pub(super) code: Option<ErrorCode>,
}

pub(super) const INTERRUPTED: End = End { reason: FinishReason::Interrupted, code: None };

impl Run {
    pub(super) fn from_row(Unfinished { row, provider, model, asked }: Unfinished) -> Self {
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
    pub(super) fn is_told(&self) -> bool {
        !self.readers.is_empty() || self.room.is_some()
    }

    pub(super) fn is_heard_by(&self, conn: ConnId) -> bool {
        self.from.conn == conn || self.readers.iter().any(|reader| reader.conn == conn)
    }

    /// How much of the text has been told in chunks.
    pub(super) fn told(&self) -> usize {
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
    pub(super) fn tell(&self, turn: &mut Turn<'_>, event: Event) {
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
    pub(super) fn tell_end(
        self,
        turn: &mut Turn<'_>,
        conversation_id: RoomId,
        end: End,
    ) -> Result<(), SqlError> {
        let complete = self.complete(conversation_id, end, turn.cx.now);
        self.tell_complete(turn, complete)
    }

    pub(super) fn tell_complete(
        self,
        turn: &mut Turn<'_>,
        complete: AiStreamComplete,
    ) -> Result<(), SqlError> {
        for (listener, event) in self.answers(&complete) {
            turn.reply(&listener, event);
        }
        self.publish_end(turn, complete)
    }

    pub(super) fn complete(&self, conversation_id: RoomId, end: End, now: UnixMs) -> AiStreamComplete {
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
    pub(super) fn answers(&self, complete: &AiStreamComplete) -> Vec<(Caller, Event)> {
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

    pub(super) fn publish_end(self, turn: &mut Turn<'_>, complete: AiStreamComplete) -> Result<(), SqlError> {
        let Some(room) = self.room.clone() else { return Ok(()) };
        let (conversation, shown) = (complete.answer.conversation_id.clone(), complete.full_response.clone());
        self.publish(turn, Event::AiStreamComplete(Box::new(complete)));
        match shown.is_empty() {
            true => Ok(()),
            false => turn.post(room, said_by_ai(conversation, self.id, shown)),
        }
    }
}

impl End {
    pub(super) fn of_failure(failure: &ModelFailure) -> Self {
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
