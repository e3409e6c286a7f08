//! Questions over HTTP. Neither a status nor a byte is sent before the model's first word, so a failure can still be
//! told as one.

use std::rc::Rc;

use futures_channel::mpsc::{UnboundedReceiver, unbounded};
use futures_util::{StreamExt, stream};
use weeziq_core::Caller;
use weeziq_core::access::identity::Identity;
use weeziq_core::protocol::command::{Command, RoomCommand, body};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;
use weeziq_core::protocol::http::{self, AnswerBody, StreamAs};
use weeziq_core::protocol::resumption::Resumption;
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
        let url = request.url()?;
        let (wanted, identity) = asked_as(url.query().unwrap_or(WHOLE))?;
        let mut command = match body::ask(&request.text().await?, wanted != WHOLE) {
            Ok(question) => Command::Ask(question.conversation, question.ask),
            Err(error) => return reply::refusal(&error),
        };
        let Command::Ask(_, ask) = (match identity.authorise(&mut command, |_| false) {
            Ok(()) => command,
            Err(error) => return reply::refusal(&error),
        }) else {
            return reply::refusal(&ClientError::internal());
        };
        let (sender, mut events) = unbounded();
        let socket = socket_id();
        let from = Caller { conn: conn_of(socket), socket, reply_to: None, identity };
        self.requests.borrow_mut().insert(from.conn, sender);
        self.ask(from, ask);
        let Some(first) = events.next().await else {
            return reply::refusal(&ClientError::unavailable());
        };
        if wanted == WHOLE {
            return reply::body(first);
        }
        let form = match wanted {
            EVENTS => StreamAs::ServerSentEvents,
            UI_MESSAGES => StreamAs::UiMessages,
            _ => StreamAs::PlainText,
        };
        match http::answer_begun(first) {
            Ok(first) => streamed(first, events, form, AnswerBody::new(form)),
            Err(error) => reply::refusal(&error),
        }
    }
}

impl Chat {
    /// For whoever comes back: the answer that is being written, from its beginning or behind what has been read.
    pub(super) async fn resume_request(self: &Rc<Self>, request: &Request) -> Result<Response> {
        if let Some(refusal) = self.refusal() {
            return Ok(refusal);
        }
        let url = request.url()?;
        let asked = Resumption::parse(asked_as(url.query().unwrap_or_default())?.0);
        let mut events = self.command(request, asked.command())?;
        match http::answer_to_read(events.next().await) {
            Ok(Some(first)) => streamed(first, events, asked.form(), asked.body()),
            Ok(None) => Ok(Response::empty()?.with_status(204)),
            Err(error) => reply::refusal(&error),
        }
    }

    /// For one that stops: leaving only ends its own reading.
    pub(super) async fn cancel_request(self: &Rc<Self>, request: &Request) -> Result<Response> {
        if let Some(refusal) = self.refusal() {
            return Ok(refusal);
        }
        let mut events = self.command(request, RoomCommand::CancelAnswer)?;
        match http::cancelled(events.next().await) {
            Ok(()) => Ok(Response::empty()?.with_status(204)),
            Err(error) => reply::refusal(&error),
        }
    }

    fn command(self: &Rc<Self>, request: &Request, command: RoomCommand) -> Result<UnboundedReceiver<Event>> {
        let url = request.url()?;
        let (_, identity) = asked_as(url.query().unwrap_or(UI_MESSAGES))?;
        let (sender, events) = unbounded();
        let socket = socket_id();
        let from = Caller { conn: conn_of(socket), socket, reply_to: None, identity };
        self.requests.borrow_mut().insert(from.conn, sender);
        self.tell(RoomInput::Command { from, command });
        Ok(events)
    }
}

/// The query of a question: how its answer is wanted, and who asks, where that matters.
pub(crate) fn query(wanted: &str, identity: &Identity) -> String {
    if identity.is_open() {
        return wanted.to_owned();
    }
    let identity = serde_json::to_string(identity).unwrap_or_default();
    format!("{wanted}&{}", js_sys::encode_uri_component(&identity))
}

/// What [`query`] says.
pub(crate) fn asked_as(query: &str) -> Result<(&str, Identity)> {
    let Some((wanted, identity)) = query.split_once('&') else { return Ok((query, Identity::Open)) };
    let identity = js_sys::decode_uri_component(identity)?;
    Ok((wanted, serde_json::from_str(&identity.as_string().unwrap_or_default())?))
}

fn streamed(
    first: Event,
    events: UnboundedReceiver<Event>,
    form: StreamAs,
    body: AnswerBody,
) -> Result<Response> {
    let state = (Some(first), events, body);
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
