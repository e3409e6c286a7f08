//! `/socket.io/`: the requests of Engine.IO. A WebSocket goes to a shard as one over `/ws` does; long polling stays
//! here, and each of its requests asks the shard that the session is named after.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Query, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::oneshot;
use weeziq_core::protocol::error::ErrorCode;

use super::upgrade::{self, Arrival, Speaks};
use super::{App, Peer, socket_id, text};
use crate::shard::mailbox::{Message, Shards};
use crate::shard::polling::PollingRequest;
use crate::socketio::{EngineError, Sid};
use crate::websocket::handshake;

/// Where its clients look for it, unless they are told otherwise.
pub(super) const PATH: &str = "/socket.io";

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(rename = "EIO")]
    version: Option<String>,
    transport: Option<String>,
    sid: Option<String>,
}

enum Transport {
    Polling,
    WebSocket,
}

pub(super) async fn serve(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Response {
    let served = match asked.checked(&app, request.method()) {
        Ok((Transport::WebSocket, sid)) => web_socket(app, sid, request).await,
        Ok((Transport::Polling, Some(sid))) => match *request.method() {
            Method::GET => ask(&app, sid).await,
            Method::POST => post(&app, sid, request.into_body()).await,
            _ => Err(EngineError::BadMethod),
        },
        Ok((Transport::Polling, None)) => {
            match Arrival::of(&app, request.uri(), request.headers(), peer, Speaks::Plain) {
                Ok(arrival) => open(&app, arrival).await,
                Err(_) => Err(EngineError::BadRequest),
            }
        }
        Err(error) => Err(error),
    };
    served.unwrap_or_else(IntoResponse::into_response)
}

/// Whether this asks for a WebSocket that begins a session, and so needs no look at any other.
pub(super) fn begins_web_socket(uri: &Uri) -> bool {
    let is_ours = matches!(uri.path().strip_prefix(PATH), Some("" | "/"));
    let asked = if is_ours { Query::<Asked>::try_from_uri(uri).ok() } else { None };
    asked.is_some_and(|Query(asked)| {
        let is_plain = asked.sid.is_none() && asked.version.as_deref() == Some("4");
        is_plain && asked.transport.as_deref() == Some("websocket")
    })
}

impl Asked {
    fn checked(&self, app: &App, method: &Method) -> Result<(Transport, Option<Sid>), EngineError> {
        let transport = match self.transport.as_deref() {
            Some("polling") => Transport::Polling,
            Some("websocket") => Transport::WebSocket,
            _ => return Err(EngineError::UnknownTransport),
        };
        if self.version.as_deref() != Some("4") {
            return Err(EngineError::UnsupportedVersion);
        }
        let Some(sid) = &self.sid else {
            return if method == Method::GET { Ok((transport, None)) } else { Err(EngineError::BadMethod) };
        };
        let sid = Sid::parse(sid).filter(|sid| usize::from(sid.shard) < app.shards.count());
        Ok((transport, Some(sid.ok_or(EngineError::UnknownSession)?)))
    }
}

async fn web_socket(app: App, sid: Option<Sid>, request: Request) -> Result<Response, EngineError> {
    if !handshake::is_upgrade(request.headers()) {
        return Err(EngineError::BadRequest);
    }
    if let Some(sid) = sid {
        answer(&app.shards, sid, |answer| PollingRequest::Look { sid, answer }).await?;
    }
    Ok(upgrade::accept(app, request, Speaks::SocketIo { offered_to: sid }))
}

/// A session begins, on any shard: where its rooms will be is not known yet.
async fn open(app: &App, arrival: Arrival) -> Result<Response, EngineError> {
    if app.polls.available_permits() == 0 {
        return Err(EngineError::TooMany);
    }
    let (sender, receiver) = oneshot::channel();
    arrival.open_polling(app, socket_id(), sender);
    let opened = receiver.await.unwrap_or(Err(EngineError::BadRequest))?;
    Ok(packets(opened))
}

async fn ask(app: &App, sid: Sid) -> Result<Response, EngineError> {
    let _permit = app.polls.try_acquire().map_err(|_| EngineError::TooMany)?;
    let mut waiting = Waiting { shards: &app.shards, sid, is_answered: false };
    let heard = answer(&app.shards, sid, |answer| PollingRequest::Ask { sid, answer }).await;
    waiting.is_answered = true;
    heard.map(packets)
}

async fn post(app: &App, sid: Sid, body: Body) -> Result<Response, EngineError> {
    let packets = text(body).await.map_err(|refused| match refused.0.code {
        ErrorCode::TooLarge => EngineError::TooLarge,
        _ => EngineError::BadRequest,
    })?;
    let taken = answer(&app.shards, sid, |answer| PollingRequest::Post { sid, packets, answer }).await?;
    Ok(plain(taken))
}

async fn answer(
    shards: &Shards,
    sid: Sid,
    request: impl FnOnce(crate::shard::polling::Answer) -> PollingRequest,
) -> Result<String, EngineError> {
    let (sender, receiver) = oneshot::channel();
    shards.send(sid.shard.into(), Message::Polling(request(sender)));
    receiver.await.unwrap_or(Err(EngineError::UnknownSession))
}

/// A request that waits. Given up by its client, it takes the session with it: what would have been said to it is lost.
struct Waiting<'a> {
    shards: &'a Shards,
    sid: Sid,
    is_answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            let left = PollingRequest::Left { sid: self.sid };
            self.shards.send(self.sid.shard.into(), Message::Polling(left));
        }
    }
}

fn packets(payload: String) -> Response {
    let mut response = plain(payload);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn plain(text: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"))], text).into_response()
}

impl IntoResponse for EngineError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::BAD_REQUEST);
        (status, Json(self.told())).into_response()
    }
}
