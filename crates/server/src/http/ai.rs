//! Questions over HTTP. Neither a status nor a byte is sent before the model's first word, so a failure can still be
//! told as one.

use std::convert::Infallible;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;
use tokio::sync::mpsc;
use weeziq_core::ids::RoomId;
use weeziq_core::protocol::command::{Command, body};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;
use weeziq_core::protocol::http::{self, StreamAs};

use super::errors::Refused;
use super::{App, Peer, accepted, socket_id, text};
use crate::shard::wall_clock;

pub(super) async fn chat(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refused> {
    let mut events = question(&app, peer, &headers, body, false).await?;
    let event = events.recv().await.ok_or_else(ClientError::unavailable)?;
    Ok(Json(http::body(event)?))
}

/// Plain text as it is written; as server-sent events for those who ask for them.
pub(super) async fn stream(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let mut events = question(&app, peer, &headers, body, true).await?;
    let first = events.recv().await.ok_or_else(ClientError::unavailable)?;
    if !matches!(first, Event::AiStreamChunk { .. } | Event::AiStreamComplete(_)) {
        return Err(http::error_of(first).into());
    }
    let form = StreamAs::accepted(accepted(&headers));
    let mut response = streamed(first, events, form).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no")); // nginx would hold the chunks back
    Ok(response)
}

async fn question(
    app: &App,
    peer: Peer,
    headers: &HeaderMap,
    body: Body,
    streamed: bool,
) -> Result<mpsc::Receiver<Event>, Refused> {
    let (conversation, ask) = body::ask(&text(body).await?, streamed)?;
    let address = app.address(peer, headers);
    app.environment
        .addresses
        .admit(address, wall_clock())
        .map_err(|ms| ClientError::rate_limited("AI requests from this address", ms))?;
    let conversation = conversation.unwrap_or_else(|| RoomId::of_visitor("request", socket_id().as_str()));
    let shard = app.shards.of(conversation.as_str());
    Ok(app.ask(shard, Command::Ask(Some(conversation), ask)))
}

fn streamed(first: Event, events: mpsc::Receiver<Event>, form: StreamAs) -> Body {
    let state = (Some(first), events, false);
    Body::from_stream(stream::unfold(state, move |(first, mut events, mut has_text)| async move {
        let mut next = first;
        loop {
            let event = match next.take() {
                Some(event) => event,
                None => events.recv().await?,
            };
            let bytes = form.encode(&event, has_text);
            has_text |= matches!(event, Event::AiStreamChunk { .. });
            if let Some(bytes) = bytes {
                return Some((Ok::<_, Infallible>(bytes), (None, events, has_text)));
            }
        }
    }))
}
