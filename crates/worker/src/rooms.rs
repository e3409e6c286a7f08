//! The inbox over HTTP: the rooms of a domain, and what operators and visitors do with one.

use weeziq_core::access::identity::Identity;
use weeziq_core::ids::{ID_RULE, RoomId};
use weeziq_core::inbox::search::SearchQuery;
use weeziq_core::inbox::transcript::Transcript;
use weeziq_core::inbox::{RoomSummary, RoomsQuery};
use weeziq_core::protocol::command::body;
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::query::Query;
use worker::{Env, Method, Request, Response, Result};

use crate::http::{Answer, method_of, segment, text};
use crate::places::Place;
use crate::room::AtDesk;

/// The room's name as it is written, and what can be done there: with GET, with POST.
struct Route<'a> {
    room: &'a str,
    get: Option<&'static str>,
    post: Option<&'static str>,
    delete: Option<&'static str>,
}

fn route(path: &str) -> Option<Route<'_>> {
    let rest = path.strip_prefix("/rooms/")?;
    let (room, what) = rest.split_once('/').map_or((rest, None), |(room, what)| (room, Some(what)));
    let (get, post) = match what {
        None => (Some("show"), None),
        Some("transcript") => (Some("transcript"), None),
        Some("messages") => (Some("history"), Some("send")),
        Some("assign") => (None, Some("assign")),
        Some("close") => (None, Some("close")),
        Some("reopen") => (None, Some("reopen")),
        Some("rate") => (None, Some("rate")),
        Some(_) => return None,
    };
    let delete = what.is_none().then_some("erase");
    Some(Route { room, get, post, delete })
}

pub(crate) fn methods_at(path: &str) -> Option<&'static str> {
    let route = route(path)?;
    Some(match (route.get, route.post, route.delete) {
        (_, _, Some(_)) => "GET, DELETE",
        (Some(_), Some(_), None) => "GET, POST",
        (Some(_), None, None) => "GET",
        _ => "POST",
    })
}

/// What a request of that method does there.
pub(crate) fn verb(method: &Method, path: &str) -> Option<&'static str> {
    let route = route(path)?;
    match method {
        Method::Get => route.get,
        Method::Delete => route.delete,
        _ => route.post,
    }
}

pub(crate) async fn list(request: &Request, env: &Env, caller: &Identity) -> Answer {
    let query = request.url()?.query().unwrap_or_default().to_owned();
    let domain = RoomsQuery::parse(&query).and_then(|asked| {
        caller.require_staff(Some(&asked.domain))?;
        Ok(asked.domain)
    });
    match domain {
        Ok(domain) => Place::Domain(domain).post(env, "/visitors/rooms", &query).await.map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

pub(crate) async fn search(request: &Request, env: &Env, caller: &Identity) -> Answer {
    let query = request.url()?.query().unwrap_or_default().to_owned();
    let domain = SearchQuery::parse(&query).and_then(|asked| {
        caller.require_staff(Some(&asked.domain))?;
        Ok(asked.domain)
    });
    match domain {
        Ok(domain) => Place::Domain(domain).post(env, "/search", &query).await.map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

/// Whether the caller may is decided where the room's domain is known: in the room.
pub(crate) async fn at_desk(
    request: &mut Request,
    env: &Env,
    caller: &Identity,
    path: &str,
    verb: &str,
) -> Answer {
    let (room, asked, query) = match ask(request, caller, path, verb).await? {
        Ok(asked) => asked,
        Err(error) => return Ok(Err(error)),
    };
    let mut response = Place::Room(room.clone()).post(env, "/desk", &serde_json::to_string(&asked)?).await?;
    if response.status_code() != 200 || matches!(verb, "history" | "send" | "transcript") {
        return Ok(Ok(response));
    }
    if verb == "erase" {
        let erased = serde_json::from_str(&response.text().await?)?;
        crate::privacy::unlist(env, &room, &erased).await?;
        return crate::reply::json(&erased).map(Ok);
    }
    if !caller.is_open() && !caller.is_staff() {
        // Where the customer is on the site is for those who work there.
        return Ok(Ok(response));
    }
    let shown: RoomSummary = serde_json::from_str(&response.text().await?)?;
    let reader = match Query::parse(&query).user("userId") {
        Ok(reader) => reader,
        Err(error) => return Ok(Err(error)),
    };
    complete(env, shown, &reader).await.map(Ok)
}

async fn ask(
    request: &mut Request,
    caller: &Identity,
    path: &str,
    verb: &str,
) -> Result<std::result::Result<(RoomId, AtDesk, String), ClientError>> {
    let named = segment(route(path).map(|route| route.room).unwrap_or_default(), path);
    let room = named.and_then(|name| {
        name.and_then(|name| RoomId::parse(&name)).ok_or_else(|| ClientError::invalid("roomId", ID_RULE))
    });
    let query = request.url()?.query().unwrap_or_default().to_owned();
    let body = match method_of(request) {
        Method::Post => text(request).await?,
        _ => Ok(String::new()),
    };
    Ok((|| {
        let (room, by, body) = (room?, caller.clone(), body?);
        Query::parse(&query).user("userId")?;
        // What is refused anyway makes no object.
        match verb {
            "transcript" => Transcript::parse(&query).map(|_| ())?,
            verb => body::desk(verb, &query, &body).map(|_| ())?,
        }
        Ok((room, AtDesk { by, verb: verb.into(), query: query.clone(), body }, query))
    })())
}

/// With what only the room's domain knows.
async fn complete(
    env: &Env,
    room: RoomSummary,
    reader: &Option<weeziq_core::ids::UserId>,
) -> Result<Response> {
    match room.domain_id.clone() {
        Some(domain) => {
            let asked = serde_json::to_string(&(&room, reader))?;
            Place::Domain(domain).post(env, "/visitors/complete", &asked).await
        }
        None => crate::reply::json(&serde_json::to_value(&room)?),
    }
}
