//! Questions over HTTP. Neither a status nor a byte is sent before the model's first word, so a failure can still be
//! told as one.

use std::rc::Rc;

use futures_channel::mpsc::{UnboundedReceiver, unbounded};
use futures_util::{StreamExt, stream};
use weeziq_core::Caller;
use weeziq_core::protocol::command::{RoomCommand, body};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;
use weeziq_core::protocol::http::{self, AnswerBody, StreamAs};
use weeziq_core::rooms::RoomInput;
use worker::{Request, Response, ResponseBuilder, Result};

use super::Chat;
use crate::clock::{conn_of, socket_id};
use crate::reply;

/// How the answer is wanted: the query of `/ask`.
pub(crate) const WHOLE: &str = "whole";
pub(crate) const TEXT: &str = "text";
pub(crate) const EVENTS: &str = "events";
pub(crate) const UI_MESSAGES: &str = "ui-messages";

impl Chat {
    pub(super) async fn answer_request(self: &Rc<Self>, mut request: Request) -> Result<Response> {
        if let Some(refusal) = self.refusal() {
            return Ok(refusal);
        }
        let wanted = request.url()?.query().unwrap_or(WHOLE).to_owned();
        let ask = match body::ask(&request.text().await?, wanted != WHOLE) {
            Ok(question) => question.ask,
            Err(error) => return reply::refusal(&error),
        };
        let (sender, mut events) = unbounded();
        let socket = socket_id();
        let from = Caller { conn: conn_of(socket), socket, reply_to: None };
        self.requests.borrow_mut().insert(from.conn, sender);
        self.ask(from, ask);
        let Some(first) = events.next().await else {
            return reply::refusal(&ClientError::unavailable());
        };
        match (wanted.as_str(), first) {
            (WHOLE, event) => reply::body(event),
            (_, event @ (Event::AiStreamChunk { .. } | Event::AiStreamComplete(_))) => {
                let form = match wanted.as_str() {
                    EVENTS => StreamAs::ServerSentEvents,
                    UI_MESSAGES => StreamAs::UiMessages,
                    _ => StreamAs::PlainText,
                };
                streamed(event, events, form)
            }
            (_, event) => reply::refusal(&http::error_of(event)),
        }
    }
}

impl Chat {
    /// For a `useChat` that comes back: the answer that is being written, from its beginning.
    pub(super) async fn resume_request(self: &Rc<Self>) -> Result<Response> {
        if let Some(refusal) = self.refusal() {
            return Ok(refusal);
        }
        let (sender, mut events) = unbounded();
        let socket = socket_id();
        let from = Caller { conn: conn_of(socket), socket, reply_to: None };
        self.requests.borrow_mut().insert(from.conn, sender);
        self.tell(RoomInput::Command { from, command: RoomCommand::ResumeAnswer { after: None } });
        match events.next().await {
            Some(first @ Event::AiStreamChunk { .. }) => streamed(first, events, StreamAs::UiMessages),
            _ => Ok(Response::empty()?.with_status(204)),
        }
    }
}

fn streamed(first: Event, events: UnboundedReceiver<Event>, form: StreamAs) -> Result<Response> {
    let state = (Some(first), events, AnswerBody::new(form));
    let body = stream::unfold(state, |(first, mut events, mut body)| async move {
        let mut next = first;
        loop {
            let event = match next.take() {
                Some(event) => event,
                None => events.next().await?,
            };
            if let Some(bytes) = body.encode(&event) {
                return Some((Ok::<_, worker::Error>(bytes), (None, events, body)));
            }
        }
    });
    let mut response = ResponseBuilder::new();
    for (name, value) in form.headers() {
        response = response.with_header(name, value)?;
    }
    response
        .with_header("content-type", form.content_type())?
        // Or it would be compressed on its way, and that takes more than one piece at a time.
        .with_header("cache-control", "no-cache, no-transform")?
        .with_header("content-encoding", "identity")?
        .from_stream(body)
}
