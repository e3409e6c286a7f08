//! Questions over HTTP. Neither a status nor a byte is sent before the model's first word, so a failure can still be
//! told as one.

use std::convert::Infallible;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::mpsc;
use weeziq_core::ids::RoomId;
use weeziq_core::protocol::command::{Command, body};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;

use super::errors::Refused;
use super::{App, Peer, accepts, socket_id, text, unexpected};
use crate::shard::wall_clock;

pub(super) async fn chat(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let mut events = question(&app, peer, &headers, body, false).await?;
    match events.recv().await {
        Some(Event::AiResponse(response)) => {
            let message = String::from(response.message.clone());
            let mut body = serde_json::to_value(response).unwrap_or_default();
            if let Some(body) = body.as_object_mut() {
                body.insert("response".into(), message.into());
            }
            Ok(Json(body).into_response())
        }
        Some(event) => Err(refusal(event)),
        None => Err(ClientError::unavailable().into()),
    }
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
        return Err(refusal(first));
    }
    let (kind, encode): (_, fn(&Event, bool) -> Option<Bytes>) = match accepts(&headers, "text/event-stream")
    {
        true => ("text/event-stream", as_server_sent_event),
        false => ("text/plain; charset=utf-8", as_plain_text),
    };
    let mut response = streamed(first, events, encode).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
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

fn streamed(first: Event, events: mpsc::Receiver<Event>, encode: fn(&Event, bool) -> Option<Bytes>) -> Body {
    // Whether the reader has been given any text yet: an answer that failed at once is its fallback sentence.
    let state = (Some(first), events, false);
    Body::from_stream(stream::unfold(state, move |(first, mut events, mut has_text)| async move {
        let mut next = first;
        loop {
            let event = match next.take() {
                Some(event) => event,
                None => events.recv().await?,
            };
            let bytes = encode(&event, has_text);
            has_text |= matches!(event, Event::AiStreamChunk { .. });
            if let Some(bytes) = bytes {
                return Some((Ok::<_, Infallible>(bytes), (None, events, has_text)));
            }
        }
    }))
}

fn as_plain_text(event: &Event, has_text: bool) -> Option<Bytes> {
    match event {
        Event::AiStreamChunk { chunk, .. } => Some(Bytes::copy_from_slice(chunk.as_bytes())),
        Event::AiStreamComplete(complete) if !has_text && !complete.full_response.is_empty() => {
            Some(Bytes::copy_from_slice(complete.full_response.as_bytes()))
        }
        _ => None,
    }
}

fn as_server_sent_event(event: &Event, _: bool) -> Option<Bytes> {
    let name = match event {
        Event::AiStreamChunk { .. } => "chunk",
        Event::AiStreamComplete(_) => "complete",
        _ => return None,
    };
    let mut bytes = format!("event: {name}\ndata: ").into_bytes();
    event.encode(None, &mut bytes);
    bytes.extend_from_slice(b"\n\n");
    Some(bytes.into())
}

fn refusal(event: Event) -> Refused {
    match event {
        Event::Error { code, message, retry_after_ms, .. } => {
            Refused(ClientError { code, message: String::from(message).into(), retry_after_ms })
        }
        _ => {
            let _ = unexpected();
            Refused(ClientError::new(
                weeziq_core::protocol::error::ErrorCode::Internal,
                "this should not have happened; it is in the log",
            ))
        }
    }
}
