//! HTTP: the routes, and what holds for all of them.

mod ai;
mod domains;
pub(crate) mod doorway;
mod errors;
mod origins;
mod pages;
mod socketio;
mod upgrade;
mod visitors;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use weeziq_core::access::origins::Origins;
use weeziq_core::ids::SocketId;
use weeziq_core::limits::FRAME_BYTES_MAX;
use weeziq_core::protocol::command::Command;
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::protocol::event::Event;
use weeziq_core::protocol::http;

use crate::shard::mailbox::{Message, Shards};
use crate::shard::{Environment, wall_clock};
use errors::Refused;

/// What the routes work with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) shards: Shards,
    pub(crate) environment: Arc<Environment>,
    pub(crate) origins: Arc<Origins>,
    pub(crate) trusted_proxies: Arc<[IpAddr]>,
    /// For requests that wait for something to be said: they must not take all connections that there may be.
    pub(crate) polls: Arc<Semaphore>,
}

/// Where a request came from, as the listener saw it.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Events that one request may be behind before its reader counts as gone; more than the chunks of a minute's answer, which come
/// at once to whoever comes back to it.
const EVENTS_WAITING_MAX: usize = 4096;
/// A body that is too large is read that far all the same: whoever is still writing would not see the refusal.
const DRAINED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A body that is not complete by then is given up, so that unfinished ones cannot fill the house.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// A shard that has not answered by then is not ready.
const READY_WITHIN: Duration = Duration::from_secs(2);

pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/ws", get(upgrade::web_socket))
        .route(socketio::PATH, any(socketio::serve))
        .route("/socket.io/", any(socketio::serve))
        .route("/ai/chat", post(ai::chat))
        .route("/ai/stream", post(ai::stream))
        .route("/ai/stream/{conversation}/stream", get(ai::resume))
        .route("/visitors/add", post(visitors::add))
        .route("/visitors/activity", post(visitors::activity))
        .route("/visitors/remove", post(visitors::remove))
        .route("/stats/domain/{domain}", get(visitors::stats))
        .route("/stats/domains", get(visitors::all_stats))
        .route("/domains/{domain}", get(domains::read).put(domains::write))
        .route("/healthz", get(|| async { Json(json!({ "status": "ok" })) }))
        .route("/readyz", get(ready))
        .merge(pages::routes())
        .fallback(errors::no_such_route)
        .method_not_allowed_fallback(errors::no_such_method)
        .layer(middleware::from_fn_with_state(app.clone(), origins::check))
        .with_state(app)
}

/// Machines get JSON, browsers the start page, and applications configured with the bare host their WebSocket.
async fn root(State(app): State<App>, request: Request) -> Response {
    if crate::websocket::handshake::is_upgrade(request.headers()) {
        return upgrade::web_socket(State(app), request).await;
    }
    let mut response = match http::accepts(accepted(request.headers()), "text/html") {
        true => pages::start(),
        false => Json(http::status(env!("CARGO_PKG_VERSION"), wall_clock())).into_response(),
    };
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// Every shard has to turn its loop, and with it its storage.
async fn ready(State(app): State<App>) -> Response {
    let mut answers = Vec::new();
    for shard in 0..app.shards.count() {
        answers.push(app.ask(shard, Command::Ping));
    }
    let all = async {
        for mut events in answers {
            events.recv().await?;
        }
        Some(())
    };
    match tokio::time::timeout(READY_WITHIN, all).await {
        Ok(Some(())) => Json(json!({ "status": "ready" })).into_response(),
        _ => Refused(ClientError::unavailable()).into_response(),
    }
}

impl App {
    /// Puts a question to a shard. Its events come until the answer is whole.
    fn ask(&self, shard: usize, command: Command) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        self.shards.send(shard, Message::Request { command, socket: socket_id(), events: sender });
        receiver
    }

    /// The visitor's own address: the last one in the chain that is no proxy of ours.
    fn address(&self, peer: Peer, headers: &HeaderMap) -> IpAddr {
        let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let chain: Vec<IpAddr> = forwarded
            .flat_map(|value| value.split(','))
            .filter_map(|address| address.trim().parse().ok())
            .chain([peer.0])
            .collect();
        let is_proxy = |address: &&IpAddr| self.trusted_proxies.contains(address);
        chain.iter().rev().find(|address| !is_proxy(address)).or(chain.first()).copied().unwrap_or(peer.0)
    }
}

/// 100 bits that nobody can guess.
pub(crate) fn socket_id() -> SocketId {
    let mut bytes = [0; 16];
    // Without randomness from the system nothing here could be started in the first place.
    let filled = getrandom::fill(&mut bytes);
    debug_assert!(filled.is_ok(), "the system has randomness");
    SocketId::from_entropy(u128::from_ne_bytes(bytes))
}

fn accepted(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok())
}

/// A body of JSON text, at most as large as a frame.
async fn text(body: Body) -> Result<String, Refused> {
    text_of(body, FRAME_BYTES_MAX).await
}

async fn text_of(body: Body, bytes_max: usize) -> Result<String, Refused> {
    tokio::time::timeout(BODY_WITHIN, whole_text(body, bytes_max))
        .await
        .unwrap_or_else(|_| Err(ClientError::invalid("body", "must be complete within ten seconds").into()))
}

async fn whole_text(mut body: Body, bytes_max: usize) -> Result<String, Refused> {
    let (mut bytes, mut len) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ClientError::new(ErrorCode::InvalidJson, "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        len += data.len();
        if len <= bytes_max {
            bytes.extend_from_slice(&data);
        } else if len > DRAINED_BYTES_MAX {
            break;
        }
    }
    if len > bytes_max {
        let why = format!("the body must have {bytes_max} bytes at most");
        return Err(ClientError::new(ErrorCode::TooLarge, why).into());
    }
    String::from_utf8(bytes)
        .map_err(|_| ClientError::new(ErrorCode::InvalidJson, "the body must be UTF-8").into())
}

fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key("access-control-request-method")
}
