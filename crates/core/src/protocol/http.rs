//! The same protocol over HTTP: what bodies, statuses and headers say, for a host that brings the server.

use serde_json::{Value, json};

use super::error::{ClientError, ErrorCode};
use super::event::Event;
use super::resumption::END;
use super::use_chat;
use crate::limits::{PASSAGES_FOUND_MAX, PASSAGES_MAX};
use crate::store::knowledge::Found;
use crate::time::UnixMs;

/// The content security policy of the pages: everything comes from here, and nothing is inline.
pub const PAGE_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; \
                               form-action 'none'; frame-ancestors 'none'";

/// For a page of an origin that is allowed, beside the origin itself. A browser may keep a preflight's answer for two
/// hours at most, which is Chromium's own limit.
pub const CORS_HEADERS: [(&str, &str); 4] = [
    ("access-control-allow-credentials", "true"),
    ("access-control-allow-methods", "GET, POST, PUT, DELETE, OPTIONS"),
    ("access-control-allow-headers", "Content-Type, Authorization"),
    ("access-control-max-age", "7200"),
];

/// For a page whose origin nobody lists.
pub const NOT_ALLOWED: &str =
    "this origin is not allowed; add it to ALLOWED_ORIGINS, or to the allowedOrigins of its domain";

/// How an answer is sent while it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamAs {
    /// The raw text.
    PlainText,
    /// `chunk` and `complete`, with the socket's frames as data.
    ServerSentEvents,
    /// The AI SDK's UI message stream.
    UiMessages,
}

/// `GET /` for machines.
pub fn status(version: &str, now: UnixMs) -> Value {
    json!({ "status": "ok", "message": "WeeziQ is running", "timestamp": now, "version": version })
}

/// `{error, code, retryAfterMs?}`.
pub fn refusal(error: &ClientError) -> Value {
    let mut body = json!({ "error": error.message, "code": error.code });
    if let (Some(ms), Some(body)) = (error.retry_after_ms, body.as_object_mut()) {
        body.insert("retryAfterMs".into(), ms.into());
    }
    body
}

/// The value of `Retry-After`.
pub fn retry_after_seconds(error: &ClientError) -> Option<u64> {
    error.retry_after_ms.map(|ms| ms.div_ceil(1_000))
}

/// Whether an answer is being written no more: it has been ended, or there was none.
pub fn cancelled(reply: Option<Event>) -> Result<(), ClientError> {
    match reply {
        Some(Event::AiStreamComplete(_) | Event::Error { code: ErrorCode::NotFound, .. }) => Ok(()),
        Some(event) => Err(error_of(event)),
        None => Err(ClientError::unavailable()),
    }
}

/// The first of what an answer says while it is written, or why it says nothing.
pub fn answer_begun(first: Event) -> Result<Event, ClientError> {
    match first {
        Event::AiStreamChunk { .. } | Event::AiStreamComplete(_) => Ok(first),
        event => Err(error_of(event)),
    }
}

/// The same for whoever comes back. None: there is nothing to read.
pub fn answer_to_read(first: Option<Event>) -> Result<Option<Event>, ClientError> {
    match first {
        Some(Event::Error { code: ErrorCode::NotFound, .. }) => Ok(None),
        Some(first) => answer_begun(first).map(Some),
        None => Err(ClientError::unavailable()),
    }
}

/// The body that answers a request whose reply is one event.
pub fn body(reply: Event) -> Result<Value, ClientError> {
    Ok(match reply {
        Event::AiResponse(response) => {
            let message = String::from(response.message.clone());
            let mut body = serde_json::to_value(response).unwrap_or_default();
            if let Some(body) = body.as_object_mut() {
                body.insert("response".into(), message.into());
            }
            body
        }
        Event::VisitorJoinedDomain { visitor, active_count, total, .. } => json!({
            "success": true,
            "visitor": visitor,
            "domainStats": { "activeVisitors": active_count, "totalVisitors": total },
        }),
        Event::VisitorActivity { timestamp, .. } => json!({ "success": true, "lastActivity": timestamp }),
        Event::VisitorLeftDomain { was_here: false, visitor_id, domain_id, .. } => {
            let why = format!("visitorId {visitor_id} is not on {domain_id}");
            return Err(ClientError::new(ErrorCode::NotFound, why));
        }
        Event::VisitorLeftDomain { active_count, total, .. } => json!({
            "success": true,
            "domainStats": { "activeVisitors": active_count, "totalVisitors": total },
        }),
        Event::DomainStats { active_visitors, total_visitors, visitors, .. } => json!({
            "activeVisitors": active_visitors,
            "totalVisitors": total_visitors,
            "visitors": visitors,
        }),
        Event::AllDomainStats { stats, timestamp } => json!({ "stats": stats, "timestamp": timestamp }),
        Event::RoomUpdated { room, .. } => json!(room),
        Event::Report(report) => json!(report),
        Event::Found(page) => json!(page),
        Event::Rooms { rooms, cursor } => match cursor {
            Some(cursor) => json!({ "rooms": rooms, "cursor": cursor }),
            None => json!({ "rooms": rooms }),
        },
        Event::MessageHistory { messages, has_more, .. } => {
            json!({ "messages": messages, "hasMore": has_more })
        }
        Event::Remembered { turns, next } => json!({ "turns": turns, "next": next }),
        receipt @ (Event::MessageSent { .. }
        | Event::Erased { .. }
        | Event::VisitorErased { .. }
        | Event::VisitorKnown { .. }) => untyped(&receipt),
        event => return Err(error_of(event)),
    })
}

/// What `GET /domains/:domainId/knowledge/search` answers.
pub fn passages(found: &[Found]) -> Value {
    let passages = found.iter().map(|Found { passage, score_milli }| {
        json!({
            "source": passage.name,
            "title": passage.title,
            "text": passage.text,
            "score": *score_milli as f64 / 1_000.0,
        })
    });
    json!({ "passages": passages.collect::<Vec<_>>() })
}

/// Of the same.
pub fn search_limit(limit: Option<&str>) -> Result<usize, ClientError> {
    match limit.filter(|limit| !limit.is_empty()).map(str::parse::<usize>) {
        None => Ok(PASSAGES_MAX),
        Some(Ok(limit)) if limit > 0 => Ok(limit.min(PASSAGES_FOUND_MAX)),
        Some(_) => Err(ClientError::invalid("limit", "must be a whole number, 1 or more")),
    }
}

/// An event as it is told, without the name that stands for it among others.
fn untyped(event: &Event) -> Value {
    let mut body = serde_json::to_value(event).unwrap_or_default();
    body.as_object_mut().map(|body| body.remove("type"));
    body
}

/// The status of a body that answers a request.
pub fn status_of(reply: &Event) -> u16 {
    // Said once or said again, it is there.
    if matches!(reply, Event::MessageSent { .. }) { 201 } else { 200 }
}

/// The error that an event stands for. One that is none has come where it has no place: our own mistake.
pub fn error_of(event: Event) -> ClientError {
    match event {
        Event::Error { code, message, retry_after_ms, .. } => {
            ClientError { code, message: String::from(message).into(), retry_after_ms }
        }
        _ => ClientError::internal(),
    }
}

impl StreamAs {
    /// As the request's `Accept` asks for it.
    pub fn accepted<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        if accepts(accept, "text/event-stream") { Self::ServerSentEvents } else { Self::PlainText }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::PlainText => "text/plain; charset=utf-8",
            Self::ServerSentEvents | Self::UiMessages => "text/event-stream",
        }
    }

    /// Beside the content type.
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::PlainText | Self::ServerSentEvents => &[],
            Self::UiMessages => &[use_chat::HEADER],
        }
    }
}

/// The body of an answer while it is written.
pub struct AnswerBody {
    form: StreamAs,
    has_text: bool,
    /// Up to here it has been read before.
    read: Option<u32>,
}

impl AnswerBody {
    pub fn new(form: StreamAs) -> Self {
        Self::behind(form, None)
    }

    /// For a reader that has all up to this chunk.
    pub(super) fn behind(form: StreamAs, read: Option<u32>) -> Self {
        Self { form, has_text: false, read }
    }

    /// What an event adds.
    pub fn encode(&mut self, event: &Event) -> Option<Vec<u8>> {
        let had_text = self.has_text;
        self.has_text |= matches!(event, Event::AiStreamChunk { .. });
        match (self.form, event) {
            (StreamAs::PlainText, Event::AiStreamChunk { chunk, .. }) => Some(chunk.as_bytes().to_vec()),
            // An answer that failed at once is its fallback sentence.
            (StreamAs::PlainText, Event::AiStreamComplete(complete))
                if !had_text && !complete.full_response.is_empty() =>
            {
                Some(complete.full_response.as_bytes().to_vec())
            }
            // One that broke off says so below it.
            (StreamAs::PlainText, Event::AiStreamComplete(complete)) => {
                complete.answer.fallback.as_deref().map(|fallback| format!("\n\n{fallback}").into_bytes())
            }
            (StreamAs::ServerSentEvents, Event::AiStreamChunk { index, .. }) => {
                Some(record("chunk", &index.to_string(), event))
            }
            (StreamAs::ServerSentEvents, Event::AiStreamComplete(_)) => Some(record("complete", END, event)),
            (StreamAs::UiMessages, event) => use_chat::encode(event, had_text, self.read),
            _ => None,
        }
    }
}

fn record(name: &str, id: &str, event: &Event) -> Vec<u8> {
    let mut bytes = format!("event: {name}\nid: {id}\ndata: ").into_bytes();
    event.encode(None, &mut bytes);
    bytes.extend_from_slice(b"\n\n");
    bytes
}

/// Whether one of the `Accept` headers names this media type.
pub fn accepts<'a>(mut accept: impl Iterator<Item = &'a str>, kind: &str) -> bool {
    accept.any(|value| value.split(',').any(|it| it.split(';').next().is_some_and(|it| it.trim() == kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_found_among_others() {
        let accept = || ["text/html;q=0.9, */*", "text/event-stream"].into_iter();
        assert!(accepts(accept(), "text/html"));
        assert_eq!(StreamAs::accepted(accept()), StreamAs::ServerSentEvents);
        assert_eq!(StreamAs::accepted(["text/*"].into_iter()), StreamAs::PlainText);
    }

    #[test]
    fn an_event_without_a_place_is_our_mistake() {
        assert_eq!(body(Event::Pong), Err(ClientError::internal()));
    }
}
