//! Erasing and exporting over HTTP: a room, a visitor with all that is theirs. The site knows which of its rooms concern a
//! visitor, so what is asked grows with what they have done there, and not with the site.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use weeziq_core::access::identity::Identity;
use weeziq_core::ids::{DomainId, ID_RULE, RoomId, VisitorId};
use weeziq_core::inbox::{DeskCommand, RoomSummary};
use weeziq_core::limits::HISTORY_MAX;
use weeziq_core::privacy::{
    ROOMS_AT_ONCE, Receipt, belongs_to, conversation_of, erasure_in, erasure_of_conversation, is_by, is_of,
};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::query::Query;
use worker::{Delay, Env, Error, Request, Response, Result};

use crate::clock::Clock;
use crate::http::{Answer, segment};
use crate::places::Place;
use crate::reply;
use crate::room::AtDesk;

/// A room tells its site at most once a second how it stands, and needs a moment to be heard.
const LISTED_WITHIN: Duration = Duration::from_millis(1_200);

/// The visitor of `/visitors/:id` or `/visitors/:id/export`, as it is written; None for the other routes there.
pub(crate) fn visitor_of<'a>(path: &'a str, suffix: &str) -> Option<&'a str> {
    let visitor = path.strip_prefix("/visitors/")?.strip_suffix(suffix)?;
    (!visitor.is_empty() && !visitor.contains('/')).then_some(visitor)
}

pub(crate) async fn erase_visitor(request: &Request, env: &Env, caller: &Identity, name: &str) -> Answer {
    let (domain, visitor) = match named(request, caller, name)? {
        Ok(named) => named,
        Err(error) => return Ok(Err(error)),
    };
    let place = Place::Domain(domain.clone());
    let mut receipt = Receipt::default();
    receipt.add(&read(place.post(env, "/visitors/erase", visitor.as_str()).await?).await?);
    // A receipt says what was looked for, also where nothing was found.
    receipt.add(&json!({ "removed": { "messagesAnonymised": 0, "readMarks": 0 } }));
    // A room is in the list, with who writes there, within a second of whatever was said.
    Delay::from(LISTED_WITHIN).await;
    for room in rooms_of(env, &domain, &visitor).await? {
        // One that has been erased meanwhile is none.
        let Some(room) = summary(env, room).await?.filter(|room| belongs_to(room, &domain)) else { continue };
        match erasure_in(&room, &visitor) {
            Some(DeskCommand::Erase) => {
                let erased = erase_room(env, room.room_id.clone()).await?;
                receipt.add_room(room.room_id, &erased);
            }
            Some(_) => {
                let body = json!({ "userId": visitor }).to_string();
                let name = room.room_id.clone();
                let gone = at_desk(env, name, "anonymise", String::new(), body).await?;
                if count_of(&gone, "messagesAnonymised") > 0 {
                    read(place.post(env, "/visitors/uncopy", room.room_id.as_str()).await?).await?;
                    relist(env, &room.room_id).await?;
                }
                receipt.add(&gone);
            }
            None => {}
        }
    }
    for conversation in conversations_begun(env, &domain, &visitor).await? {
        let summary = summary(env, conversation.clone()).await?;
        match summary
            .map_or(Some(DeskCommand::Erase), |room| erasure_of_conversation(&room, &domain, &visitor))
        {
            Some(DeskCommand::Erase) => {
                let erased = erase_room(env, conversation.clone()).await?;
                receipt.add_conversation(conversation, &erased);
            }
            Some(_) => {
                let body = json!({ "userId": visitor }).to_string();
                receipt.add(&at_desk(env, conversation, "anonymise", String::new(), body).await?);
            }
            None => {}
        }
    }
    reply::json(&receipt.body(&domain, &visitor, &[])).map(Ok)
}

pub(crate) async fn export_visitor(request: &Request, env: &Env, caller: &Identity, name: &str) -> Answer {
    let (domain, visitor) = match named(request, caller, name)? {
        Ok(named) => named,
        Err(error) => return Ok(Err(error)),
    };
    let place = Place::Domain(domain.clone());
    let mut export = read(place.post(env, "/visitors/know", visitor.as_str()).await?).await?;
    let (mut rooms, mut elsewhere) = (Vec::new(), Vec::new());
    Delay::from(LISTED_WITHIN).await;
    for room in rooms_of(env, &domain, &visitor).await? {
        let Some(room) = summary(env, room).await?.filter(|room| belongs_to(room, &domain)) else { continue };
        let is_own = is_of(&room, &visitor);
        let is_shown = |message: &Value| is_own || is_by(message, &visitor);
        let messages = all_messages(env, &room.room_id, is_shown).await?;
        if is_own {
            let remembered = all_remembered(env, &room.room_id).await?;
            rooms.push(json!({ "room": room, "messages": messages, "aiTurns": remembered }));
        } else if !messages.is_empty() {
            elsewhere.push(json!({ "roomId": room.room_id, "messages": messages }));
        }
    }
    let mut conversations = Vec::new();
    for conversation in conversations_begun(env, &domain, &visitor).await? {
        if summary(env, conversation.clone()).await?.is_some_and(|room| !belongs_to(&room, &domain)) {
            continue;
        }
        let remembered = all_remembered(env, &conversation).await?;
        if !remembered.is_empty() {
            conversations.push(json!({ "conversationId": conversation, "aiTurns": remembered }));
        }
    }
    if let Some(export) = export.as_object_mut() {
        export.insert("visitorId".into(), json!(visitor));
        export.insert("domainId".into(), json!(domain));
        export.insert("rooms".into(), rooms.into());
        export.insert("elsewhere".into(), elsewhere.into());
        export.insert("conversations".into(), conversations.into());
        export.insert("unsearched".into(), json!([]));
        export.insert("exportedAt".into(), json!(Clock::default().now()));
    }
    reply::json(&export).map(Ok)
}

fn named(
    request: &Request,
    caller: &Identity,
    name: &str,
) -> Result<std::result::Result<(DomainId, VisitorId), ClientError>> {
    let query = request.url()?.query().unwrap_or_default().to_owned();
    Ok((|| {
        let visitor = segment(name, name)?.and_then(|name| VisitorId::parse(&name));
        let visitor = visitor.ok_or_else(|| ClientError::invalid("visitorId", ID_RULE))?;
        let domain = Query::parse(&query).domain()?;
        caller.require_staff(Some(&domain))?;
        Ok((domain, visitor))
    })())
}

/// With its place in the list of its site.
async fn erase_room(env: &Env, room: RoomId) -> Result<Value> {
    let erased = at_desk(env, room.clone(), "erase", String::new(), String::new()).await?;
    unlist(env, &room, &erased).await?;
    Ok(erased)
}

/// What a room's receipt says of its site, done there too.
pub(crate) async fn unlist(env: &Env, room: &RoomId, erased: &Value) -> Result<()> {
    let domain = erased.get("domainId").and_then(Value::as_str).and_then(DomainId::parse);
    if let Some(domain) = domain {
        read(Place::Domain(domain).post(env, "/visitors/unlist", room.as_str()).await?).await?;
    }
    Ok(())
}

/// Rooms that are the visitor's, and in which they have written or read, by what the site has heard of its rooms: to ask each of
/// them would be a request each.
async fn rooms_of(env: &Env, domain: &DomainId, visitor: &VisitorId) -> Result<Vec<RoomId>> {
    let place = Place::Domain(domain.clone());
    let concerned = read(place.post(env, "/visitors/rooms-of", visitor.as_str()).await?).await?;
    let concerned: BTreeSet<String> = serde_json::from_value(concerned)?;
    // And those of no site, which belong to whichever asks.
    let others = read(Place::Registry.post(env, "/parts", visitor.as_str()).await?).await?;
    let others: BTreeSet<String> = serde_json::from_value(others)?;
    Ok(concerned.union(&others).map(|name| RoomId::known(name)).collect())
}

/// Conversations with the AI that the visitor has begun, and the one that bears both names.
async fn conversations_begun(env: &Env, domain: &DomainId, visitor: &VisitorId) -> Result<Vec<RoomId>> {
    let place = Place::Domain(domain.clone());
    let begun = read(place.post(env, "/visitors/conversations", visitor.as_str()).await?).await?;
    let begun: Vec<String> = serde_json::from_value(begun)?;
    let own = conversation_of(domain, visitor);
    let others = begun.iter().map(|name| RoomId::known(name)).filter(|room| *room != own);
    Ok(others.chain([own.clone()]).collect())
}

/// None: there is no such room.
async fn summary(env: &Env, room: RoomId) -> Result<Option<RoomSummary>> {
    let (by, verb) = (Identity::Open, "show".into());
    let asked = AtDesk { by, verb, query: String::new(), body: String::new() };
    let response = Place::Room(room).post(env, "/desk", &serde_json::to_string(&asked)?).await?;
    match response.status_code() {
        404 => Ok(None),
        _ => Ok(Some(serde_json::from_value(read(response).await?)?)),
    }
}

async fn all_remembered(env: &Env, room: &RoomId) -> Result<Vec<Value>> {
    let (mut all, mut after) = (Vec::new(), Some(0));
    while let Some(place) = after {
        let page = at_desk(env, room.clone(), "remembered", place.to_string(), String::new()).await?;
        all.extend(page.get("turns").and_then(Value::as_array).cloned().unwrap_or_default());
        after = page.get("next").and_then(Value::as_i64);
    }
    Ok(all)
}

async fn all_messages(env: &Env, room: &RoomId, is_shown: impl Fn(&Value) -> bool) -> Result<Vec<Value>> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let query = format!("afterSeq={after}&limit={HISTORY_MAX}");
        let response = ask_desk(env, room.clone(), "history", query, String::new()).await?;
        if response.status_code() == 404 {
            return Ok(all); // erased, since it was listed
        }
        let page = read(response).await?;
        let messages = page.get("messages").and_then(Value::as_array).cloned().unwrap_or_default();
        after = messages.last().and_then(|message| message.get("seq")).and_then(Value::as_u64).unwrap_or(0);
        let is_last = messages.is_empty() || page.get("hasMore") != Some(&Value::Bool(true));
        all.extend(messages.into_iter().filter(&is_shown));
        if is_last {
            return Ok(all);
        }
    }
}

/// Asked by us, once the caller's right to it is known.
pub(crate) async fn at_desk(
    env: &Env,
    room: RoomId,
    verb: &str,
    query: String,
    body: String,
) -> Result<Value> {
    read(ask_desk(env, room, verb, query, body).await?).await
}

async fn ask_desk(env: &Env, room: RoomId, verb: &str, query: String, body: String) -> Result<Response> {
    let asked = AtDesk { by: Identity::Open, verb: verb.into(), query, body };
    Place::Room(room).post(env, "/desk", &serde_json::to_string(&asked)?).await
}

/// Has the room say how it stands, so that its site copies anew what it has forgotten.
pub(crate) async fn relist(env: &Env, room: &RoomId) -> Result<()> {
    Place::Room(room.clone()).post(env, "/relist", "").await.map(drop)
}

/// Of a receipt.
pub(crate) fn count_of(receipt: &Value, what: &str) -> u64 {
    receipt.pointer(&format!("/removed/{what}")).and_then(Value::as_u64).unwrap_or(0)
}

async fn read(mut response: Response) -> Result<Value> {
    let text = response.text().await?;
    match response.status_code() {
        200 => Ok(serde_json::from_str(&text)?),
        status => Err(Error::RustError(format!("an object answered with {status}: {text}"))),
    }
}

/// The rooms of a site, a page at a time, for the site's own object.
pub(crate) struct Pages {
    domain: DomainId,
    /// Of the next page; None behind the last.
    next: Option<Option<String>>,
}

impl Pages {
    pub(crate) fn behind(domain: &DomainId, cursor: Option<String>) -> Self {
        Self { domain: domain.clone(), next: Some(cursor) }
    }

    /// Of the next page, if there is one.
    pub(crate) fn into_cursor(self) -> Option<String> {
        self.next.flatten()
    }

    /// What to ask the domain for next.
    pub(crate) fn query(&mut self) -> Option<String> {
        let cursor = self.next.take()?;
        let domain = String::from(js_sys::encode_uri_component(self.domain.as_str()));
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        Some(format!("domainId={domain}&limit={ROOMS_AT_ONCE}{cursor}"))
    }

    pub(crate) fn read(&mut self, mut page: Value) -> Result<Vec<RoomSummary>> {
        self.next = page.get("cursor").and_then(Value::as_str).map(|cursor| Some(cursor.to_owned()));
        let rooms = page.get_mut("rooms").map(Value::take).unwrap_or_default();
        Ok(serde_json::from_value(rooms)?)
    }
}
