//! HTTP: the routes, and what holds for all of them.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::future::join3;
use weeziq_core::access::identity::Identity;
use weeziq_core::ids::{DomainId, ID_RULE, RoomId};
use weeziq_core::limits::FRAME_BYTES_MAX;
use weeziq_core::metrics::families;
use weeziq_core::protocol::command::{Command, body};
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::protocol::http::{self, CORS_HEADERS, PAGE_POLICY, StreamAs};
use weeziq_core::protocol::query::Query;
use weeziq_core::protocol::resumption::Resumption;
use weeziq_core::protocol::use_chat;
use weeziq_core::visitors::reports::ReportQuery;
use worker::{Env, Headers, Method, Request, Response, Result, console_error, console_warn};

use crate::clock::{Clock, socket_id};
use crate::places::{Place, admit_question};
use crate::reply;
use crate::settings::Settings;
use crate::upgrade::{address_of, is_upgrade, web_socket};
use crate::{archive, counts, domains, files, identity, knowledge, privacy, rooms, whence};

/// What a route comes to: a response, or a refusal of the client's.
pub(crate) type Answer = Result<std::result::Result<Response, ClientError>>;

thread_local! {
    /// Read once an isolate: a change of a var is a new deployment, which is a new isolate.
    static SETTINGS: RefCell<Option<Rc<Settings>>> = const { RefCell::new(None) };
}

/// A body that is too large is read that far all the same: whoever is still writing would not see the refusal.
const DRAINED_BYTES_MAX: usize = 32 * 1024 * 1024;

pub(crate) async fn serve(request: Request, env: Env) -> Result<Response> {
    let (path, method) = (request.path(), request.inner().method());
    let response = answer(request, env).await;
    counts::request(&path, &method, response.as_ref().map_or(500, Response::status_code));
    response
}

async fn answer(request: Request, env: Env) -> Result<Response> {
    let settings = match settings(&env) {
        Ok(settings) => settings,
        Err(why) => {
            console_error!("{why}");
            return reply::refusal(&ClientError::internal());
        }
    };
    let origin = request.headers().get("origin")?;
    let host = request.headers().get("host")?;
    if !settings.origins.allow(origin.as_deref(), host.as_deref())
        && !is_listed(&env, origin.as_deref()).await
    {
        let error = ClientError::new(ErrorCode::Forbidden, http::NOT_ALLOWED);
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
    if settings.key.is_none() {
        console_warn!(
            "open mode: neither AUTH_SECRET nor AUTH_PUBLIC_KEY is set, so anyone who can reach this Worker may do anything: read and write every room, be anybody, change settings"
        );
    }
    SETTINGS.set(Some(settings.clone()));
    Ok(settings)
}

/// By any of the domains: a handshake names none, and what a page may do with one is a matter of its token. What is kept
/// out is pages that nobody here has heard of.
async fn is_listed(env: &Env, origin: Option<&str>) -> bool {
    let Some(origin) = origin else { return false };
    domains::list_origin(env, origin).await.unwrap_or_else(|error| {
        console_error!("the origins of domains cannot be read: {error}");
        false
    })
}

async fn route(mut request: Request, env: Env, settings: Rc<Settings>) -> Answer {
    let path = request.path();
    let method = method_of(&request);
    match (&method, path.as_str()) {
        (Method::Get, "/ws") => return web_socket(&request, env, settings).await.map(Ok),
        (Method::Get, "/") if is_upgrade(&request) => {
            return web_socket(&request, env, settings).await.map(Ok);
        }
        (Method::Get, "/") => return root(request, &env).await.map(Ok),
        (Method::Get, "/healthz") => return reply::json(&serde_json::json!({ "status": "ok" })).map(Ok),
        (Method::Get, "/readyz") => return ready(&env).await,
        (Method::Get, path) if let Some(domain) = knowledge::widget_of(path) => {
            return knowledge::widget(&env, domain).await;
        }
        #[cfg(feature = "panic-route")]
        (Method::Post, "/panic") => panic!("asked to"),
        #[cfg(feature = "panic-route")]
        (Method::Post, path) if path.starts_with("/panic/") => {
            let room = RoomId::known(path.trim_start_matches("/panic/"));
            return Place::Room(room).get(&env, "/panic").await.map(Ok);
        }
        _ => {}
    }
    match methods_at(&path) {
        None => return page(request, &env).await,
        Some(methods) if !methods.split(", ").any(|known| known == method.as_ref()) => {
            let method = request.inner().method();
            let error = ClientError::invalid(&method, &format!("is not a method of {path}; use {methods}"));
            let response = reply::refusal(&error)?.with_status(405);
            response.headers().set("allow", methods)?;
            return Ok(Ok(response));
        }
        Some(_) => {}
    }
    match identity::known(&request, &env, &settings).await {
        Ok(caller) => route_known(request, &env, &settings, &caller).await,
        Err(error) => {
            // Whoever is still writing would not see the refusal.
            let _ = bytes_of(&mut request, 0).await?;
            Ok(Err(error))
        }
    }
}

/// All that is not for everybody: nobody comes here with a token that does not hold.
async fn route_known(mut request: Request, env: &Env, settings: &Settings, caller: &Identity) -> Answer {
    let path = request.path();
    match (method_of(&request), path.as_str()) {
        (Method::Post, "/ai/chat") => question(&mut request, env, settings, caller, crate::room::WHOLE).await,
        (Method::Post, "/ai/stream") => {
            let form = match StreamAs::accepted(accept(&request).iter().map(String::as_str)) {
                StreamAs::PlainText => crate::room::TEXT,
                StreamAs::ServerSentEvents => crate::room::EVENTS,
                StreamAs::UiMessages => crate::room::UI_MESSAGES,
            };
            question(&mut request, env, settings, caller, form).await
        }
        (Method::Get, path) if path.starts_with("/ai/stream/") && path.ends_with("/stream") => {
            let url = request.url()?;
            let last_event_id = request.headers().get("last-event-id")?;
            let (accept, query) = (accept(&request), url.query().unwrap_or_default());
            match Resumption::asked(accept.iter().map(String::as_str), last_event_id.as_deref(), query) {
                Ok(Some(asked)) => answer_under_way(env, caller, path, ("resume", &asked.as_word())).await,
                Ok(None) => Ok(Ok(Response::empty()?.with_status(204))),
                Err(error) => Ok(Err(error)),
            }
        }
        (Method::Delete, path) if path.starts_with("/ai/stream/") && path.ends_with("/stream") => {
            answer_under_way(env, caller, path, ("cancel", crate::room::UI_MESSAGES)).await
        }
        (Method::Post, "/visitors/add") => visit(&mut request, env, caller, "visitor-joined-domain").await,
        (Method::Post, "/visitors/activity") => visit(&mut request, env, caller, "visitor-activity").await,
        (Method::Post, "/visitors/remove") => visit(&mut request, env, caller, "visitor-left-domain").await,
        (_, path) if path.starts_with("/archive/") => archive::serve(&mut request, env, caller).await,
        (_, path) if path.starts_with("/domains/") => knowledge::serve(&mut request, env, caller).await,
        (Method::Get, "/metrics") => metrics(env, settings, caller).await,
        (Method::Get, "/search") => rooms::search(&request, env, caller).await,
        (Method::Get, "/rooms") => rooms::list(&request, env, caller).await,
        (method, path) if let Some(verb) = rooms::verb(&method, path) => {
            let path = path.to_owned();
            rooms::at_desk(&mut request, env, caller, &path, verb).await
        }
        (Method::Delete, path) if let Some(visitor) = privacy::visitor_of(path, "") => {
            privacy::erase_visitor(&request, env, caller, visitor).await
        }
        (Method::Get, path) if let Some(visitor) = privacy::visitor_of(path, "/export") => {
            privacy::export_visitor(&request, env, caller, visitor).await
        }
        (Method::Post, "/files") => files::put(request, env, settings, caller).await,
        (Method::Get, path) if path.starts_with("/files/") => {
            files::get(&request, path.trim_start_matches("/files/"), env, caller).await
        }
        (Method::Delete, path) if path.starts_with("/files/") => {
            files::delete(path.trim_start_matches("/files/"), env, caller).await
        }
        (Method::Get, "/stats/dropped") => report(&request, env, caller, "dropped", None).await,
        (Method::Get, "/stats/domains") => all_stats(env, caller).await,
        (Method::Get, path) if path.starts_with("/stats/domain/") && path.ends_with("/ai") => {
            knowledge::spending(&request, env, (settings, caller), path).await
        }
        (Method::Get, path) if path.starts_with("/stats/domain/") => {
            stats_of(&request, env, caller, path).await
        }
        (_, path) => Ok(Err(nothing_at(path))),
    }
}

/// A HEAD is a GET whose body nobody sees. What is no method of HTTP's is none of ours either.
pub(crate) fn method_of(request: &Request) -> Method {
    match request.inner().method().as_str() {
        "GET" | "HEAD" => Method::Get,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        _ => Method::Options,
    }
}

/// What a route can be asked; none where only a page may be.
fn methods_at(path: &str) -> Option<&'static str> {
    Some(match path {
        "/" | "/ws" | "/healthz" | "/readyz" | "/metrics" | "/stats/domains" | "/stats/dropped"
        | "/rooms" | "/search" => "GET",
        "/ai/chat" | "/ai/stream" | "/visitors/add" | "/visitors/activity" | "/visitors/remove"
        | "/files" => "POST",
        path if path.starts_with("/ai/stream/") && path.ends_with("/stream") => "GET, DELETE",
        path if path.starts_with("/stats/domain/") => "GET",
        path if privacy::visitor_of(path, "/export").is_some() => "GET",
        path if privacy::visitor_of(path, "").is_some() => "DELETE",
        path if path.starts_with("/files/") => "GET, DELETE",
        path if path.starts_with("/domains/") => knowledge::methods(path)?,
        path if path.starts_with("/archive/") => archive::methods(path)?,
        path => rooms::methods_at(path)?,
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
    match unready(env).await {
        None => reply::json(&serde_json::json!({ "status": "ready" })).map(Ok),
        Some(why) => Ok(Err(ClientError::new(ErrorCode::Unavailable, why))),
    }
}

/// The first of all that a chat needs that does not answer.
async fn unready(env: &Env) -> Option<&'static str> {
    let directory =
        async { Place::Directory.get(env, "/ready").await.is_ok_and(|it| it.status_code() == 200) };
    let (directory, settings, files) = join3(directory, domains::answer(env), files::answer(env)).await;
    if !directory {
        Some("the directory of all domains does not answer, or cannot store anything; the log says why")
    } else if !settings {
        Some("the KV namespace CHAT_STORAGE cannot be read; is it bound in wrangler.toml?")
    } else if !files {
        Some("the R2 bucket FILE_STORAGE cannot be read; is it bound in wrangler.toml?")
    } else {
        None
    }
}

async fn question(
    request: &mut Request,
    env: &Env,
    settings: &Settings,
    caller: &Identity,
    wanted: &str,
) -> Answer {
    let is_streamed = wanted != crate::room::WHOLE;
    let bytes_max = if is_streamed { use_chat::BODY_BYTES_MAX } else { FRAME_BYTES_MAX };
    let text = match text_of(request, bytes_max).await? {
        Ok(text) => text,
        Err(error) => return Ok(Err(error)),
    };
    let question = match body::ask(&text, is_streamed) {
        Ok(question) => question,
        Err(error) => return Ok(Err(error)),
    };
    let wanted = if question.is_use_chat && is_streamed { crate::room::UI_MESSAGES } else { wanted };
    let mut command = Command::Ask(question.conversation, question.ask);
    if let Err(error) = caller.authorise(&mut command, |_| false) {
        return Ok(Err(error));
    }
    let kind = command.kind();
    let Command::Ask(conversation, _) = command else { return Ok(Err(ClientError::internal())) };
    if let Err(error) = admit_question(env, settings, &address_of(request), caller).await? {
        return Ok(Err(error));
    }
    counts::one(&families::EVENTS, "kind", kind);
    let conversation = conversation.unwrap_or_else(|| RoomId::of_visitor("request", socket_id().as_str()));
    Place::Room(conversation)
        .post(env, &format!("/ask?{}", crate::room::query(wanted, caller)), &text)
        .await
        .map(Ok)
}

/// The answer that a conversation is writing: `/ai/stream/:conversationId/stream`.
async fn answer_under_way(env: &Env, caller: &Identity, path: &str, (verb, how): (&str, &str)) -> Answer {
    let encoded = path.strip_prefix("/ai/stream/").and_then(|rest| rest.strip_suffix("/stream"));
    match segment(encoded.unwrap_or_default(), path) {
        Ok(name) => match name.and_then(|name| RoomId::parse(&name)) {
            Some(conversation) => {
                let query = crate::room::query(how, caller);
                Place::Room(conversation).get(env, &format!("/{verb}?{query}")).await.map(Ok)
            }
            None => Ok(Err(ClientError::invalid("conversationId", ID_RULE))),
        },
        Err(error) => Ok(Err(error)),
    }
}

async fn visit(request: &mut Request, env: &Env, caller: &Identity, kind: &str) -> Answer {
    let text = match text(request).await? {
        Ok(text) => text,
        Err(error) => return Ok(Err(error)),
    };
    let whence = whence::of(request, env).await;
    let domain = body::visitors(kind, &text, &whence)
        .and_then(|(domain, _)| caller.require_domain(Some(&domain)).map(|()| domain));
    match domain {
        Ok(domain) => {
            counts::one(&families::EVENTS, "kind", kind);
            let visit = serde_json::to_string(&(whence, text))?;
            Place::Domain(domain).post(env, &format!("/visitors/{kind}"), &visit).await.map(Ok)
        }
        Err(error) => Ok(Err(error)),
    }
}

async fn metrics(env: &Env, settings: &Settings, caller: &Identity) -> Answer {
    if !settings.counts {
        let why = "nothing is counted here: set METRICS=on and deploy, and see docs/cloudflare.md for what that costs";
        return Ok(Err(ClientError::new(ErrorCode::NotFound, why)));
    }
    match caller.require_staff(None) {
        Ok(()) => Place::Directory.get(env, "/metrics").await.map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

/// The numbers of all domains that the caller may know.
async fn all_stats(env: &Env, caller: &Identity) -> Answer {
    if let Err(error) = caller.require_some_site_staff() {
        return Ok(Err(error));
    }
    let query = crate::room::query("all", caller);
    Place::Directory.get(env, &format!("/domains?{query}")).await.map(Ok)
}

async fn stats_of(request: &Request, env: &Env, caller: &Identity, path: &str) -> Answer {
    for kind in ["series", "pages"] {
        let domain = path.strip_suffix(kind).and_then(|path| path.strip_suffix('/'));
        // Of a domain that is called so, there would be nothing left.
        if let Some(domain) = domain.filter(|path| *path != "/stats/domain") {
            return report(request, env, caller, kind, Some(domain)).await;
        }
    }
    let domain = domain_of(path, "/stats/domain/");
    match domain.and_then(|domain| caller.require_staff(Some(&domain)).map(|()| domain)) {
        Ok(domain) => Place::Domain(domain).get(env, "/visitors/stats").await.map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

/// Hours of a domain: of the one that the path names, else the query.
async fn report(request: &Request, env: &Env, caller: &Identity, kind: &str, path: Option<&str>) -> Answer {
    let query = request.url()?.query().unwrap_or_default().to_owned();
    let domain = match path {
        Some(path) => domain_of(path, "/stats/domain/"),
        None => Query::parse(&query).domain(),
    };
    let checked = domain.and_then(|domain| {
        ReportQuery::parse(kind, &query)?;
        caller.require_staff(Some(&domain))?;
        Ok(domain)
    });
    match checked {
        Ok(domain) => Place::Domain(domain).post(env, &format!("/visitors/{kind}"), &query).await.map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

/// The last segment of a path, which may hold any character in its encoded form.
fn domain_of(path: &str, prefix: &str) -> std::result::Result<DomainId, ClientError> {
    domain_named(path.strip_prefix(prefix).unwrap_or_default())
}

pub(crate) fn domain_named(encoded: &str) -> std::result::Result<DomainId, ClientError> {
    let domain = segment(encoded, encoded)?.and_then(|name| DomainId::parse(&name));
    domain.ok_or_else(|| ClientError::invalid("domainId", ID_RULE))
}

/// One segment of a path as it is meant. None: its escapes mean nothing.
pub(crate) fn segment(encoded: &str, path: &str) -> std::result::Result<Option<String>, ClientError> {
    if encoded.contains('/') {
        return Err(nothing_at(path));
    }
    Ok(js_sys::decode_uri_component(encoded).ok().and_then(|name| name.as_string()))
}

/// A body of JSON text, at most as large as a frame.
pub(crate) async fn text(request: &mut Request) -> Result<std::result::Result<String, ClientError>> {
    text_of(request, FRAME_BYTES_MAX).await
}

pub(crate) async fn text_of(
    request: &mut Request,
    bytes_max: usize,
) -> Result<std::result::Result<String, ClientError>> {
    let bytes = match bytes_of(request, bytes_max).await? {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            let why = format!("the body must have {bytes_max} bytes at most");
            return Ok(Err(ClientError::new(ErrorCode::TooLarge, why)));
        }
        Err(error) => return Ok(Err(error)),
    };
    let text = String::from_utf8(bytes);
    Ok(text.map_err(|_| ClientError::new(ErrorCode::InvalidJson, "the body must be UTF-8")))
}

/// None: it has more.
pub(crate) async fn bytes_of(
    request: &mut Request,
    bytes_max: usize,
) -> Result<std::result::Result<Option<Vec<u8>>, ClientError>> {
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
    Ok(Ok((len <= bytes_max).then_some(bytes)))
}

fn accept(request: &Request) -> Vec<String> {
    request.headers().get("accept").ok().flatten().into_iter().collect()
}

pub(crate) fn nothing_at(path: &str) -> ClientError {
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
