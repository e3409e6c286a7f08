//! HTTP: the routes, and what holds for all of them.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::StreamExt;
use weeziq_core::domains::DomainSettings;
use weeziq_core::ids::{DomainId, ID_RULE, RoomId};
use weeziq_core::limits::FRAME_BYTES_MAX;
use weeziq_core::protocol::command::body;
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::protocol::http::{self, CORS_HEADERS, PAGE_POLICY, StreamAs};
use weeziq_core::protocol::use_chat;
use worker::{Env, Headers, Method, Request, Response, Result, console_error};

use crate::clock::{Clock, socket_id};
use crate::places::{Place, admit};
use crate::reply;
use crate::settings::Settings;
use crate::upgrade::{address_of, is_upgrade, web_socket};
use crate::{domains, files};

/// What a route comes to: a response, or a refusal of the client's.
type Answer = Result<std::result::Result<Response, ClientError>>;

thread_local! {
    /// Read once an isolate: a change of a var is a new deployment, which is a new isolate.
    static SETTINGS: RefCell<Option<Rc<Settings>>> = const { RefCell::new(None) };
}

/// A body that is too large is read that far all the same: whoever is still writing would not see the refusal.
const DRAINED_BYTES_MAX: usize = 32 * 1024 * 1024;

pub(crate) async fn serve(request: Request, env: Env) -> Result<Response> {
    let settings = match settings(&env) {
        Ok(settings) => settings,
        Err(why) => {
            console_error!("{why}");
            return reply::refusal(&ClientError::internal());
        }
    };
    let origin = request.headers().get("origin")?;
    let host = request.headers().get("host")?;
    if !settings.origins.allow(origin.as_deref(), host.as_deref()) {
        let error =
            ClientError::new(ErrorCode::Forbidden, "this origin is not allowed; add it to ALLOWED_ORIGINS");
        return with_headers(reply::refusal(&error)?, |headers| headers.append("vary", "Origin"));
    }
    if request.method() == Method::Options && request.headers().has("access-control-request-method")? {
        return allow(Response::empty()?.with_status(204), origin.as_deref());
    }
    let is_head = request.inner().method() == "HEAD";
    let response = match route(request, env, settings).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => reply::refusal(&error)?,
        Err(error) => {
            console_error!("a request failed: {error}");
            reply::refusal(&ClientError::internal())?
        }
    };
    match response.status_code() {
        101 => Ok(response), // the headers of an upgrade are the platform's
        _ if is_head => {
            let (builder, _) = response.into_parts();
            allow(builder.empty(), origin.as_deref())
        }
        _ => allow(response, origin.as_deref()),
    }
}

fn settings(env: &Env) -> std::result::Result<Rc<Settings>, String> {
    if let Some(settings) = SETTINGS.with_borrow(Clone::clone) {
        return Ok(settings);
    }
    let settings = Rc::new(Settings::read(env)?);
    SETTINGS.set(Some(settings.clone()));
    Ok(settings)
}

async fn route(mut request: Request, env: Env, settings: Rc<Settings>) -> Answer {
    let path = request.path();
    match (method_of(&request), path.as_str()) {
        (Method::Get, "/ws") => web_socket(&request, env, settings).await.map(Ok),
        (Method::Get, "/") if is_upgrade(&request) => web_socket(&request, env, settings).await.map(Ok),
        (Method::Get, "/") => root(request, &env).await.map(Ok),
        (Method::Get, "/healthz") => reply::json(&serde_json::json!({ "status": "ok" })).map(Ok),
        (Method::Get, "/readyz") => ready(&env).await,
        (Method::Post, "/ai/chat") => question(&mut request, &env, &settings, crate::room::WHOLE).await,
        (Method::Post, "/ai/stream") => {
            let form = match StreamAs::accepted(accept(&request).iter().map(String::as_str)) {
                StreamAs::PlainText => crate::room::TEXT,
                StreamAs::ServerSentEvents => crate::room::EVENTS,
                StreamAs::UiMessages => crate::room::UI_MESSAGES,
            };
            question(&mut request, &env, &settings, form).await
        }
        (Method::Get, path) if path.starts_with("/ai/stream/") && path.ends_with("/stream") => {
            resume(&env, path).await
        }
        (Method::Post, "/visitors/add") => visit(&mut request, &env, "visitor-joined-domain").await,
        (Method::Post, "/visitors/activity") => visit(&mut request, &env, "visitor-activity").await,
        (Method::Post, "/visitors/remove") => visit(&mut request, &env, "visitor-left-domain").await,
        (Method::Get | Method::Put, path) if path.starts_with("/domains/") => {
            let path = path.to_owned();
            domain_settings(&mut request, &env, &path).await
        }
        (Method::Post, "/files") => files::put(request, &env).await,
        (Method::Get, path) if path.starts_with("/files/") => {
            files::get(&request, path.trim_start_matches("/files/"), &env).await
        }
        (Method::Get, "/stats/domains") => Place::Directory.get(&env, "/domains").await.map(Ok),
        (Method::Get, path) if path.starts_with("/stats/domain/") => stats(&env, path).await,
        #[cfg(feature = "panic-route")]
        (Method::Post, "/panic") => panic!("asked to"),
        #[cfg(feature = "panic-route")]
        (Method::Post, path) if path.starts_with("/panic/") => {
            Place::Room(RoomId::known(path.trim_start_matches("/panic/"))).get(&env, "/panic").await.map(Ok)
        }
        (_, path) => match methods_at(path) {
            Some(methods) => {
                let method = request.inner().method();
                let error =
                    ClientError::invalid(&method, &format!("is not a method of {path}; use {methods}"));
                let response = reply::refusal(&error)?.with_status(405);
                response.headers().set("allow", methods)?;
                Ok(Ok(response))
            }
            None => page(request, &env).await,
        },
    }
}

/// A HEAD is a GET whose body nobody sees. What is no method of HTTP's is none of ours either.
fn method_of(request: &Request) -> Method {
    match request.inner().method().as_str() {
        "GET" | "HEAD" => Method::Get,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        _ => Method::Options,
    }
}

/// What a route can be asked; none where only a page may be.
fn methods_at(path: &str) -> Option<&'static str> {
    Some(match path {
        "/" | "/ws" | "/healthz" | "/readyz" | "/stats/domains" => "GET",
        "/ai/chat" | "/ai/stream" | "/visitors/add" | "/visitors/activity" | "/visitors/remove"
        | "/files" => "POST",
        path if path.starts_with("/stats/domain/") || path.starts_with("/files/") => "GET",
        path if path.starts_with("/domains/") => "GET, PUT",
        _ => return None,
    })
}

/// Machines get JSON, browsers the start page.
async fn root(request: Request, env: &Env) -> Result<Response> {
    let response = if http::accepts(accept(&request).iter().map(String::as_str), "text/html") {
        asset(request, env).await?
    } else {
        reply::json(&http::status(env!("CARGO_PKG_VERSION"), Clock::default().now()))?
    };
    with_headers(response, |headers| headers.append("vary", "Accept"))
}

async fn page(request: Request, env: &Env) -> Answer {
    let path = request.path();
    if method_of(&request) != Method::Get {
        return Ok(Err(nothing_at(&path)));
    }
    let response = asset(request, env).await?;
    Ok(if response.status_code() == 404 { Err(nothing_at(&path)) } else { Ok(response) })
}

async fn asset(request: Request, env: &Env) -> Result<Response> {
    let response = env.assets("ASSETS")?.fetch_request(request).await?;
    with_headers(response, |headers| {
        headers.set("content-security-policy", PAGE_POLICY)?;
        headers.set("x-content-type-options", "nosniff")?;
        headers.set("cache-control", "no-cache")
    })
}

/// The directory has to answer, and with it the objects' storage.
async fn ready(env: &Env) -> Answer {
    let response = Place::Directory.get(env, "/ready").await;
    match response.map(|response| response.status_code()) {
        Ok(200) => reply::json(&serde_json::json!({ "status": "ready" })).map(Ok),
        _ => Ok(Err(ClientError::unavailable())),
    }
}

async fn question(request: &mut Request, env: &Env, settings: &Settings, wanted: &str) -> Answer {
    let is_streamed = wanted != crate::room::WHOLE;
    let bytes_max = if is_streamed { use_chat::BODY_BYTES_MAX } else { FRAME_BYTES_MAX };
    let text = match text_of(request, bytes_max).await? {
        Ok(text) => text,
        Err(error) => return Ok(Err(error)),
    };
    let (conversation, wanted) = match body::ask(&text, is_streamed) {
        Ok(question) if question.is_use_chat && is_streamed => {
            (question.conversation, crate::room::UI_MESSAGES)
        }
        Ok(question) => (question.conversation, wanted),
        Err(error) => return Ok(Err(error)),
    };
    let quota = settings.ai_per_address.count;
    if quota > 0
        && let Err(ms) = admit(env, &address_of(request), &quota.to_string()).await?
    {
        return Ok(Err(ClientError::rate_limited("AI requests from this address", ms)));
    }
    let conversation = conversation.unwrap_or_else(|| RoomId::of_visitor("request", socket_id().as_str()));
    Place::Room(conversation).post(env, &format!("/ask?{wanted}"), &text).await.map(Ok)
}

/// The answer that a conversation is writing: `/ai/stream/:conversationId/stream`.
async fn resume(env: &Env, path: &str) -> Answer {
    let encoded = path.strip_prefix("/ai/stream/").and_then(|rest| rest.strip_suffix("/stream"));
    match segment(encoded.unwrap_or_default(), path) {
        Ok(name) => match name.and_then(|name| RoomId::parse(&name)) {
            Some(conversation) => Place::Room(conversation).get(env, "/resume").await.map(Ok),
            None => Ok(Err(ClientError::invalid("conversationId", ID_RULE))),
        },
        Err(error) => Ok(Err(error)),
    }
}

async fn visit(request: &mut Request, env: &Env, kind: &str) -> Answer {
    let text = match text(request).await? {
        Ok(text) => text,
        Err(error) => return Ok(Err(error)),
    };
    match body::visitors(kind, &text) {
        Ok((domain, _)) => Place::Domain(domain).post(env, &format!("/visitors/{kind}"), &text).await.map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

async fn domain_settings(request: &mut Request, env: &Env, path: &str) -> Answer {
    let domain = match domain_of(path, "/domains/") {
        Ok(domain) => domain,
        Err(error) => return Ok(Err(error)),
    };
    if method_of(request) == Method::Get {
        return reply::json(&domains::read(env, &domain).await?.body(&domain)).map(Ok);
    }
    let settings = match text(request).await?.and_then(|text| DomainSettings::parse(&text)) {
        Ok(settings) => settings,
        Err(error) => return Ok(Err(error)),
    };
    match domains::write(env, &domain, &settings).await? {
        Some(()) => reply::json(&settings.body(&domain)).map(Ok),
        None => {
            Ok(Err(ClientError::invalid("domainId", "is too long to keep settings for: 505 bytes at most")))
        }
    }
}

async fn stats(env: &Env, path: &str) -> Answer {
    match domain_of(path, "/stats/domain/") {
        Ok(domain) => Place::Domain(domain).get(env, "/visitors/stats").await.map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

/// The last segment of a path, which may hold any character in its encoded form.
fn domain_of(path: &str, prefix: &str) -> std::result::Result<DomainId, ClientError> {
    let name = segment(path.strip_prefix(prefix).unwrap_or_default(), path)?;
    let domain = name.and_then(|name| DomainId::parse(&name));
    domain.ok_or_else(|| ClientError::invalid("domainId", ID_RULE))
}

/// One segment of a path as it is meant. None: its escapes mean nothing.
fn segment(encoded: &str, path: &str) -> std::result::Result<Option<String>, ClientError> {
    if encoded.contains('/') {
        return Err(nothing_at(path));
    }
    Ok(js_sys::decode_uri_component(encoded).ok().and_then(|name| name.as_string()))
}

/// A body of JSON text, at most as large as a frame.
async fn text(request: &mut Request) -> Result<std::result::Result<String, ClientError>> {
    text_of(request, FRAME_BYTES_MAX).await
}

async fn text_of(
    request: &mut Request,
    bytes_max: usize,
) -> Result<std::result::Result<String, ClientError>> {
    let (mut bytes, mut len) = (Vec::new(), 0);
    // A request without a body has no stream, and an empty body is refused where it is parsed.
    if let Ok(mut body) = request.stream() {
        while let Some(piece) = body.next().await {
            let Ok(piece) = piece else {
                return Ok(Err(ClientError::new(ErrorCode::InvalidJson, "the body broke off")));
            };
            len += piece.len();
            if len <= bytes_max {
                bytes.extend_from_slice(&piece);
            } else if len > DRAINED_BYTES_MAX {
                break;
            }
        }
    }
    if len > bytes_max {
        let why = format!("the body must have {bytes_max} bytes at most");
        return Ok(Err(ClientError::new(ErrorCode::TooLarge, why)));
    }
    let text = String::from_utf8(bytes);
    Ok(text.map_err(|_| ClientError::new(ErrorCode::InvalidJson, "the body must be UTF-8")))
}

fn accept(request: &Request) -> Vec<String> {
    request.headers().get("accept").ok().flatten().into_iter().collect()
}

fn nothing_at(path: &str) -> ClientError {
    ClientError::new(ErrorCode::NotFound, format!("there is nothing at {path}"))
}

/// For a page that may read it.
fn allow(response: Response, origin: Option<&str>) -> Result<Response> {
    let Some(origin) = origin else { return Ok(response) };
    with_headers(response, |headers| {
        headers.set("access-control-allow-origin", origin)?;
        for (name, value) in CORS_HEADERS {
            headers.set(name, value)?;
        }
        // The answer depends on who asks, and a cache in between must know.
        headers.append("vary", "Origin")
    })
}

/// A response that came from elsewhere cannot be changed, only built anew around the same body.
fn with_headers(response: Response, change: impl FnOnce(&Headers) -> Result<()>) -> Result<Response> {
    let headers = response.headers().clone();
    change(&headers)?;
    let (builder, body) = response.into_parts();
    Ok(builder.with_headers(headers).body(body))
}
