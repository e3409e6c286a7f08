//! HTTP: the routes, and what holds for all of them.

mod ai;
mod domains;
pub(crate) mod doorway;
mod errors;
mod files;
mod identity;
mod knowledge;
mod metrics;
#[cfg(test)]
mod openapi;
mod origins;
mod pages;
mod privacy;
mod readiness;
mod rooms;
mod socketio;
mod upgrade;
mod visitors;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use axum::{Json, Router};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc, oneshot};
use weeziq_core::access::identity::Identity;
use weeziq_core::access::origins::Origins;
use weeziq_core::ids::SocketId;
use weeziq_core::limits::FRAME_BYTES_MAX;
use weeziq_core::protocol::command::Command;
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::protocol::event::Event;
use weeziq_core::protocol::http;
use weeziq_core::store::{Sql, SqlError};
use weeziq_core::time::UnixMs;
use weeziq_core::visitors::whence::{Country, Whence};

use crate::domains::Briefings;
use crate::files::Files;
use crate::geoip::GeoIp;
use crate::metrics::process::Birth;
use crate::metrics::requests::{self, Requests};
use crate::salt::DailySalt;
use crate::shard::mailbox::{Message, Rows, Shards};
use crate::shard::{Environment, wall_clock};
use errors::Refused;

/// For whoever watches over the service from inside: nobody is asked who they are.
pub(crate) fn watch_router(app: App) -> Router {
    Router::new()
        .route("/metrics", get(metrics::to_all))
        .route("/healthz", get(|| async { Json(json!({ "status": "ok" })) }))
        .route("/readyz", get(readiness::ready))
        .fallback(errors::no_such_route)
        .with_state(app)
}

/// What the routes work with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) shards: Shards,
    pub(crate) environment: Arc<Environment>,
    pub(crate) briefings: Briefings,
    pub(crate) files: Arc<Files>,
    pub(crate) origins: Arc<Origins>,
    pub(crate) trusted_proxies: Arc<[IpAddr]>,
    pub(crate) geoip: Option<Arc<GeoIp>>,
    pub(crate) salt: Arc<DailySalt>,
    pub(crate) watch: Watch,
    /// For requests that wait for something to be said: they must not take all connections that there may be.
    pub(crate) polls: Arc<Semaphore>,
}

/// What is only there to be watched.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) born: Birth,
    pub(crate) requests: Requests,
    pub(crate) data_dir: Arc<Path>,
    /// Served there and not to the public.
    pub(crate) has_own_listener: bool,
}

/// What a proxy in front says of where a visitor is. A client can say it too, so it counts from our own proxies only.
const COUNTRY_HEADER: &str = "cf-ipcountry";

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

pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/ws", get(upgrade::web_socket))
        .route(socketio::PATH, any(socketio::serve))
        .route("/socket.io/", any(socketio::serve))
        .route("/ai/chat", post(ai::chat))
        .route("/ai/stream", post(ai::stream))
        .route("/ai/stream/{conversation}/stream", get(ai::resume).delete(ai::cancel))
        .route("/visitors/add", post(visitors::add))
        .route("/visitors/activity", post(visitors::activity))
        .route("/visitors/remove", post(visitors::remove))
        .route("/stats/domain/{domain}", get(visitors::stats))
        .route("/stats/domain/{domain}/series", get(visitors::series))
        .route("/stats/domain/{domain}/pages", get(visitors::pages))
        .route("/stats/dropped", get(visitors::dropped))
        .route("/stats/domains", get(visitors::all_stats))
        .route("/search", get(rooms::search))
        .route("/rooms", get(rooms::list))
        .route("/rooms/{room}", get(rooms::show).delete(privacy::erase_room))
        .route("/rooms/{room}/messages", get(rooms::history).post(rooms::send))
        .route("/rooms/{room}/transcript", get(rooms::transcript))
        .route("/rooms/{room}/assign", post(rooms::change))
        .route("/rooms/{room}/close", post(rooms::change))
        .route("/rooms/{room}/reopen", post(rooms::change))
        .route("/rooms/{room}/rate", post(rooms::change))
        .route("/domains/{domain}", get(domains::read).put(domains::write))
        .route("/visitors/{visitor}", delete(privacy::erase_visitor))
        .route("/visitors/{visitor}/export", get(privacy::export_visitor))
        .route("/files", post(files::upload))
        .route("/files/{key}", get(files::read).delete(files::delete))
        .route("/domains/{domain}/widget", get(domains::widget))
        .route("/domains/{domain}/knowledge", get(knowledge::list))
        .route("/domains/{domain}/knowledge/search", get(knowledge::search))
        .route(
            "/domains/{domain}/knowledge/{name}",
            get(knowledge::read).put(knowledge::write).delete(knowledge::remove),
        )
        .route("/stats/domain/{domain}/ai", get(knowledge::spending))
        .route("/healthz", get(|| async { Json(json!({ "status": "ok" })) }))
        .route("/readyz", get(readiness::ready))
        .route("/metrics", get(metrics::to_staff))
        .merge(pages::routes())
        .fallback(errors::no_such_route)
        .method_not_allowed_fallback(errors::no_such_method)
        .layer(middleware::from_fn_with_state(app.clone(), origins::check))
        .layer(middleware::from_fn_with_state(app.watch.requests.clone(), requests::observe))
        .with_state(app)
}

/// Machines get JSON, browsers the start page, and applications configured with the bare host their WebSocket.
async fn root(State(app): State<App>, request: Request) -> Response {
    if crate::websocket::handshake::is_upgrade(request.headers()) {
        return upgrade::web_socket(State(app), request).await;
    }
    let mut response = match http::accepts(accepted(request.headers()), "text/html") {
        true => pages::start(request.headers()),
        false => Json(http::status(env!("CARGO_PKG_VERSION"), wall_clock())).into_response(),
    };
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept"));
    response
}

impl App {
    /// Puts a question to a shard, with no more rights than whoever asks it; what a route has checked by itself it asks as
    /// [`Identity::Open`]. The events come until the answer is whole.
    fn ask_as(
        &self,
        identity: &Identity,
        shard: usize,
        mut command: Command,
    ) -> Result<mpsc::Receiver<Event>, ClientError> {
        identity.authorise(&mut command, |_| false)?;
        self.environment.proven.refuse(identity.claimed(&command))?;
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let (identity, socket) = (identity.clone(), socket_id());
        self.shards.send(shard, Message::Request { command, identity, socket, events: sender });
        Ok(receiver)
    }

    /// Does something with rows that no state machine remembers. Returns once it is as durable as messages are.
    pub(crate) async fn rows<T: Send + 'static>(
        &self,
        shard: usize,
        work: impl FnOnce(&mut dyn Sql, UnixMs) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<T, ClientError> {
        let (sender, done) = oneshot::channel();
        let work: Rows = Box::new(move |sql, now| {
            let result = work(sql, now)?;
            Ok(Box::new(move || {
                let _ = sender.send(result); // whoever asked may be gone
            }))
        });
        self.shards.send(shard, Message::Rows(work));
        done.await.map_err(|_| ClientError::unavailable())
    }

    /// The visitor's own address: the last one in the chain that is no proxy of ours.
    fn address(&self, peer: Peer, headers: &HeaderMap) -> IpAddr {
        let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let forwarded: Vec<&str> = forwarded.flat_map(|value| value.split(',')).collect();
        seen_behind(&self.trusted_proxies, peer.0, &forwarded)
    }
}

/// Each of our proxies says whom it has seen. Where one says what is no address, it is itself the last that is known: what stands
/// before that the client may have written.
fn seen_behind(proxies: &[IpAddr], peer: IpAddr, forwarded: &[&str]) -> IpAddr {
    let mut seen = peer.to_canonical();
    for said in forwarded.iter().rev() {
        if !proxies.iter().any(|proxy| proxy.to_canonical() == seen) {
            break;
        }
        let Some(before) = address_of(said.trim()) else { break };
        seen = before.to_canonical();
    }
    seen
}

/// As proxies write one: alone, or with a port.
fn address_of(said: &str) -> Option<IpAddr> {
    said.parse().ok().or_else(|| said.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}

impl App {
    /// What is known of a visitor whatever they say. The address goes no further than this.
    fn whence(&self, peer: Peer, headers: &HeaderMap) -> Whence {
        let address = self.address(peer, headers);
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let country = match &self.geoip {
            Some(geoip) => geoip.country(address),
            None => {
                let is_trusted = self.trusted_proxies.contains(&peer.0);
                text(COUNTRY_HEADER).filter(|_| is_trusted).and_then(Country::parse)
            }
        };
        let salt = self.salt.of(wall_clock());
        let nameless = Some(salt.nameless(&address.to_string(), text(header::USER_AGENT.as_str())));
        Whence { country, nameless }
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

/// 64 bits that nobody can guess.
fn entropy() -> u64 {
    let mut bytes = [0; 8];
    let filled = getrandom::fill(&mut bytes);
    debug_assert!(filled.is_ok(), "the system has randomness");
    u64::from_ne_bytes(bytes)
}

fn accepted(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok())
}

/// A body of JSON text, at most as large as a frame.
async fn text(body: Body) -> Result<String, Refused> {
    text_of(body, FRAME_BYTES_MAX).await
}

async fn text_of(body: Body, bytes_max: usize) -> Result<String, Refused> {
    let too_large =
        || ClientError::new(ErrorCode::TooLarge, format!("the body must have {bytes_max} bytes at most"));
    let bytes = bytes_of(body, bytes_max).await?.ok_or_else(too_large)?;
    String::from_utf8(bytes)
        .map_err(|_| ClientError::new(ErrorCode::InvalidJson, "the body must be UTF-8").into())
}

/// None: it has more.
async fn bytes_of(body: Body, bytes_max: usize) -> Result<Option<Vec<u8>>, Refused> {
    tokio::time::timeout(BODY_WITHIN, whole(body, bytes_max))
        .await
        .unwrap_or_else(|_| Err(ClientError::invalid("body", "must be complete within ten seconds").into()))
}

async fn whole(mut body: Body, bytes_max: usize) -> Result<Option<Vec<u8>>, Refused> {
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
    Ok((len <= bytes_max).then_some(bytes))
}

fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key("access-control-request-method")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visitors_address_is_the_last_that_no_proxy_of_ours_has() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let proxies = [ip("127.0.0.1"), ip("10.0.0.1")];
        for (peer, forwarded, expected) in [
            ("203.0.113.7", &["198.51.100.1"][..], "203.0.113.7"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("::ffff:127.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("127.0.0.1", &["198.51.100.1", " 203.0.113.7", "10.0.0.1"], "203.0.113.7"),
            ("127.0.0.1", &["198.51.100.1", "203.0.113.7:4711"], "203.0.113.7"),
            ("127.0.0.1", &["198.51.100.1", "[2001:db8::1]:4711"], "2001:db8::1"),
            // What the client wrote before that does not count.
            ("127.0.0.1", &["198.51.100.1", "unknown"], "127.0.0.1"),
            ("127.0.0.1", &["10.0.0.1"], "10.0.0.1"),
        ] {
            assert_eq!(seen_behind(&proxies, ip(peer), forwarded), ip(expected), "{peer} {forwarded:?}");
        }
    }
}
