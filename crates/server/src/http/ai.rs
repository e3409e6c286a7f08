//! Questions over HTTP. Neither a status nor a byte is sent before the model's first word, so a failure can still be
//! told as one.

use std::convert::Infallible;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;
use tokio::sync::mpsc;
use weeziq_core::access::identity::Identity;
use weeziq_core::ids::{ID_RULE, RoomId};
use weeziq_core::protocol::command::body::{self, Question};
use weeziq_core::protocol::command::{Command, RoomCommand};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;
use weeziq_core::protocol::http::{self, AnswerBody, StreamAs};
use weeziq_core::protocol::resumption::Resumption;
use weeziq_core::protocol::use_chat;

use super::errors::Refused;
use super::identity::Known;
use super::{App, Peer, accepted, socket_id, text, text_of};
use crate::shard::wall_clock;

pub(super) async fn chat(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Known(caller): Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refused> {
    let (mut events, _) = question(&app, (peer, &caller), &headers, text(body).await?, false).await?;
    let event = events.recv().await.ok_or_else(ClientError::unavailable)?;
    Ok(Json(http::body(event)?))
}

/// Plain text as it is written; as server-sent events for those who ask for them, and for `useChat` as it likes them.
pub(super) async fn stream(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Known(caller): Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let asked = text_of(body, use_chat::BODY_BYTES_MAX).await?;
    let (mut events, is_use_chat) = question(&app, (peer, &caller), &headers, asked, true).await?;
    let first = events.recv().await.ok_or_else(ClientError::unavailable)?;
    let first = http::answer_begun(first)?;
    let form = if is_use_chat { StreamAs::UiMessages } else { StreamAs::accepted(accepted(&headers)) };
    Ok(streamed(first, events, form, AnswerBody::new(form)))
}

/// For whoever comes back: the answer that is being written, from its beginning or behind what has been read.
pub(super) async fn resume(
    State(app): State<App>,
    Known(caller): Known,
    Path(conversation): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let conversation =
        RoomId::parse(&conversation).ok_or_else(|| ClientError::invalid("conversationId", ID_RULE))?;
    let last_event_id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let asked = Resumption::asked(accepted(&headers), last_event_id, query.as_deref().unwrap_or_default())?;
    let Some(asked) = asked else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let shard = app.shards.of(conversation.as_str());
    let mut events = app.ask_as(&caller, shard, Command::Room(conversation, asked.command()))?;
    match http::answer_to_read(events.recv().await)? {
        Some(first) => Ok(streamed(first, events, asked.form(), asked.body())),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// For a `useChat` that stops: leaving only ends its own reading. Nothing to end, or nothing of the caller's, is fine too.
pub(super) async fn cancel(
    State(app): State<App>,
    Known(caller): Known,
    Path(conversation): Path<String>,
) -> Result<StatusCode, Refused> {
    let conversation =
        RoomId::parse(&conversation).ok_or_else(|| ClientError::invalid("conversationId", ID_RULE))?;
    let shard = app.shards.of(conversation.as_str());
    let mut events = app.ask_as(&caller, shard, Command::Room(conversation, RoomCommand::CancelAnswer))?;
    http::cancelled(events.recv().await)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The events of its answer, and whether `useChat` asks.
async fn question(
    app: &App,
    (peer, caller): (Peer, &Identity),
    headers: &HeaderMap,
    asked: String,
    streamed: bool,
) -> Result<(mpsc::Receiver<Event>, bool), Refused> {
    let Question { conversation, ask, is_use_chat } = body::ask(&asked, streamed)?;
    let mut command = Command::Ask(conversation, ask);
    caller.authorise(&mut command, |_| false)?;
    let Command::Ask(conversation, ask) = command else { return Err(ClientError::internal().into()) };
    app.environment.admit_question(caller, Some(app.address(peer, headers)), wall_clock())?;
    let conversation = conversation.unwrap_or_else(|| RoomId::of_visitor("request", socket_id().as_str()));
    let shard = app.shards.of(conversation.as_str());
    Ok((app.ask_as(caller, shard, Command::Ask(Some(conversation), ask))?, is_use_chat))
}

fn streamed(first: Event, events: mpsc::Receiver<Event>, form: StreamAs, body: AnswerBody) -> Response {
    let mut response = written(first, events, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no")); // nginx would hold the chunks back
    for (name, value) in form.headers() {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    response
}

fn written(first: Event, events: mpsc::Receiver<Event>, body: AnswerBody) -> Body {
    let state = (Some(first), events, body);
    Body::from_stream(stream::unfold(state, |(first, mut events, mut body)| async move {
        let mut next = first;
        loop {
            let event = match next.take() {
                Some(event) => event,
                None => events.recv().await?,
            };
            if let Some(bytes) = body.encode(&event) {
                return Some((Ok::<_, Infallible>(bytes), (None, events, body)));
            }
        }
    }))
}
