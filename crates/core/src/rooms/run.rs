//! One answer of a model: who hears it, what it has said, and how it ends.

use crate::Caller;
use crate::ai::model::{FinishReason, ModelFailure, Provider, Usage};
use crate::ai::models::{EndpointId, Route};
use crate::ai::{context, tokens};
use crate::ids::{ClientMessageId, ConnId, DomainId, RoomId, RunId, Seq, SocketId, UserId};
use crate::knowledge::Passage;
use crate::protocol::command::Ask;
use crate::protocol::error::ErrorCode;
use crate::protocol::event::{AiResponse, AiStreamComplete, Answer, Event};
use crate::spending::{Outcome, Reservation, Spent};
use crate::store::SqlError;
use crate::store::conversations::{Asked, Listener, Unfinished};
use crate::time::UnixMs;

use super::{Post, Purpose, RoomInput, Turn};

pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) row: i64,
    pub(super) from: Caller,
    pub(super) streamed: bool,
    /// What was asked. None: an earlier memory was writing it.
    pub(super) ask: Option<Box<Ask>>,
    /// As [`Ask::said`].
    pub(super) said: Option<Seq>,
    /// Who hears its chunks: whoever asked for a stream, and those who came back to it.
    pub(super) readers: Vec<Caller>,
    /// Who hears all of it at once, beside whoever asked for it first.
    pub(super) others: Vec<Caller>,
    pub(super) route: Route,
    pub(super) room: Option<RoomId>,
    /// As whom it speaks there.
    pub(super) name: Box<str>,
    /// The room has been told that it thinks, and nothing yet of what it says.
    pub(super) is_typing: bool,
    /// It has asked for people.
    pub(super) has_handed_over: bool,
    pub(super) context_length: usize,
    /// What is shown if no model answers.
    pub(super) fallback: Box<str>,
    pub(super) text: String,
    /// Where in `text` each chunk that has been told ends.
    pub(super) chunks: Vec<usize>,
    pub(super) told_at: UnixMs,
    /// Of the first chunk, which keeps that time for whoever reads it later: `useChat` knows an answer by it.
    pub(super) first_told_at: UnixMs,
    /// How much of the text is stored, since when.
    pub(super) kept: usize,
    pub(super) kept_at: UnixMs,
    pub(super) usage: Usage,
    /// What the model was shown of the site's documents.
    pub(super) sources: Vec<Passage>,
    pub(super) bill: Bill,
}

/// For whose account a run is.
#[derive(Default)]
pub(super) struct Bill {
    pub(super) domain: Option<DomainId>,
    pub(super) reservation: Option<Reservation>,
    pub(super) is_over_budget: bool,
    /// About how many the model was sent, should it not say.
    pub(super) input_tokens: usize,
}

/// How a run came to its end.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) reason: FinishReason,
    pub(super) code: Option<ErrorCode>,
}

pub(super) const CALLED_OFF: End = End { reason: FinishReason::Cancelled, code: None };
pub(super) const INTERRUPTED: End = End { reason: FinishReason::Interrupted, code: None };

impl Run {
    pub(super) fn from_row(Unfinished { row, provider, model, asked, text }: Unfinished) -> Self {
        Self {
            id: RunId(asked.run),
            row,
            from: asked.by.into(),
            streamed: asked.streamed,
            ask: None,
            said: asked.said,
            readers: asked.readers.into_iter().map(Caller::from).collect(),
            others: asked.others.into_iter().map(Caller::from).collect(),
            route: Route {
                provider: Provider::parse(&provider).unwrap_or(Provider::Demo),
                model: model.into(),
                endpoint: EndpointId::OPENAI, // nobody is asked any more
                has_tools: false,
            },
            // It may have been told so, and nobody knows any more.
            is_typing: asked.room.is_some(),
            room: asked.room,
            name: asked.name.unwrap_or_else(|| NAME.into()),
            has_handed_over: false,
            sources: Vec::new(),
            bill: Bill { domain: asked.domain, reservation: asked.reservation, ..Bill::default() },
            context_length: 0,
            fallback: context::FALLBACK.into(),
            kept: text.len(),
            text,
            chunks: Vec::new(),
            told_at: UnixMs(0),
            first_told_at: UnixMs(0),
            kept_at: UnixMs(0),
            usage: Usage::default(),
        }
    }

    pub(super) fn asked(&self) -> Asked {
        Asked {
            run: self.id.0,
            by: (&self.from).into(),
            streamed: self.streamed,
            said: self.said,
            readers: self.readers.iter().map(Listener::from).collect(),
            others: self.others.iter().map(Listener::from).collect(),
            room: self.room.clone(),
            name: Some(self.name.clone()),
            domain: self.bill.domain.clone(),
            reservation: self.bill.reservation,
        }
    }

    /// Whether anyone hears the chunks.
    pub(super) fn is_told(&self) -> bool {
        !self.readers.is_empty() || self.room.is_some()
    }

    pub(super) fn is_heard_by(&self, conn: ConnId) -> bool {
        self.from.conn == conn || self.readers.iter().chain(&self.others).any(|reader| reader.conn == conn)
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

    pub(super) fn chunk_event(&self, index: u32, conversation: &RoomId, now: UnixMs) -> Event {
        Event::AiStreamChunk {
            chunk: self.chunk(index).into(),
            index,
            conversation_id: conversation.clone(),
            room_id: self.room.clone(),
            timestamp: if index == 0 { self.first_told_at } else { now },
        }
    }

    /// To those who read the stream, and to the room that it is published in; who asked in there hears it once.
    pub(super) fn tell(&self, turn: &mut Turn<'_>, event: Event) {
        for reader in &self.readers {
            turn.reply(reader, event.clone());
        }
        self.publish(turn, event);
    }

    /// In the room that it is published in it is seen to think, until there is something to read.
    pub(super) fn type_text(&mut self, turn: &mut Turn<'_>, is_typing: bool) {
        if let Some(room) = self.room.as_ref().filter(|_| self.is_typing != is_typing) {
            let event = Event::UserTyping {
                room_id: room.clone(),
                user_id: UserId::ai(),
                user_name: self.name.as_ref().into(),
                is_typing,
            };
            turn.mention(room.clone(), RoomInput::Overheard { event, except: None });
            self.is_typing = is_typing;
        }
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
        let code = end.code.or(self.bill.is_over_budget.then_some(ErrorCode::RateLimited));
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
            code,
            sources: if failed { Vec::new() } else { self.sources.clone() },
            fallback: (failed && !self.text.is_empty()).then(|| self.fallback.clone()),
            offers_human: failed || self.bill.is_over_budget,
        };
        let full_response = match self.text.is_empty() && failed {
            true => self.fallback.clone(),
            false => self.text.as_str().into(),
        };
        AiStreamComplete { full_response, room_id: self.room.clone(), answer }
    }

    /// For its domain's account. A provider that was not heard to the end, or does not count, is estimated.
    pub(super) fn spent(&self, end: End, now: UnixMs) -> Spent {
        let counted = |count: u64, estimate: usize| if count == 0 { estimate as u64 } else { count };
        // One that failed without a word may not even have been reached.
        let is_nothing = end.code.is_some() && self.text.is_empty() && self.usage == Usage::default();
        let usage = match self.route.provider {
            Provider::Demo => Usage::default(),
            Provider::OpenAi | Provider::Google if is_nothing => Usage::default(),
            Provider::OpenAi | Provider::Google => Usage {
                input_tokens: counted(self.usage.input_tokens, self.bill.input_tokens),
                output_tokens: counted(self.usage.output_tokens, tokens::estimate(&self.text)),
            },
        };
        Spent {
            domain: self.bill.domain.clone(),
            reservation: self.bill.reservation,
            outcome: match (end.reason, end.code) {
                (FinishReason::Interrupted, _) => Outcome::Interrupted,
                (_, Some(_)) => Outcome::Failed,
                _ => Outcome::Answered,
            },
            provider: self.route.provider,
            model: self.route.model.as_ref().into(),
            usage,
            at: now,
        }
    }

    /// What those who listen are waiting for.
    pub(super) fn answers(&self, complete: &AiStreamComplete) -> Vec<(Caller, Event)> {
        let streamed =
            |reader: &Caller| (reader.clone(), Event::AiStreamComplete(Box::new(complete.clone())));
        let mut answers: Vec<(Caller, Event)> = self.readers.iter().map(streamed).collect();
        let first = (!self.streamed && self.said.is_none()).then_some(&self.from);
        for asker in first.into_iter().chain(&self.others) {
            let message = complete.full_response.clone();
            let whole = AiResponse { message, answer: complete.answer.clone() };
            answers.push((asker.clone(), Event::AiResponse(Box::new(whole))));
        }
        answers
    }

    pub(super) fn publish_end(self, turn: &mut Turn<'_>, complete: AiStreamComplete) -> Result<(), SqlError> {
        let Some(room) = self.room.clone() else { return Ok(()) };
        let (conversation, shown) = (complete.answer.conversation_id.clone(), complete.full_response.clone());
        let sources = Some(&complete.answer.sources).filter(|sources| !sources.is_empty());
        let sources = sources.and_then(|sources| serde_json::value::to_raw_value(sources).ok());
        self.publish(turn, Event::AiStreamComplete(Box::new(complete)));
        match shown.is_empty() {
            true => Ok(()),
            false => {
                let user_name = self.name.as_ref().into();
                turn.post(room, Post { sources, user_name, text: shown, ..said_in(conversation, self.id) })
            }
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
            | ModelFailure::Incomplete
            | ModelFailure::Empty
            | ModelFailure::Resting => (FinishReason::Error, ErrorCode::AiUnavailable),
        };
        Self { reason, code: Some(code) }
    }
}

/// As whom the AI speaks where the domain has no name.
pub(super) const NAME: &str = "Assistant";

/// An answer without words yet. No connection of its own: one that were the asker's would make pages take the answer for
/// the asker's words.
pub(super) fn said_in(conversation: RoomId, run: RunId) -> Post {
    Post {
        conversation,
        run,
        purpose: Purpose::Answer,
        id: ClientMessageId::of_run("answer", run),
        user: UserId::ai(),
        user_name: NAME.into(),
        role: "assistant".into(),
        text: "".into(),
        socket: SocketId::from_entropy(run.0.into()),
        sources: None,
    }
}
