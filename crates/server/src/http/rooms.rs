//! The inbox over HTTP: the rooms of a domain, and what operators and visitors do with one.

use std::io;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;
use weeziq_core::access::identity::Identity;
use weeziq_core::ids::{ID_RULE, RoomId, UserId};
use weeziq_core::inbox::search::SearchQuery;
use weeziq_core::inbox::transcript::Transcript;
use weeziq_core::inbox::{DeskCommand, RoomsQuery};
use weeziq_core::protocol::command::{Command, VisitorsCommand, body};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;
use weeziq_core::protocol::http;
use weeziq_core::protocol::query::Query;

use super::errors::Refused;
use super::identity::Known;
use super::{App, text};
use crate::shard::wall_clock;

type Answer = Result<Json<Value>, Refused>;

pub(super) async fn list(State(app): State<App>, Known(by): Known, RawQuery(query): RawQuery) -> Answer {
    let query = RoomsQuery::parse(query.as_deref().unwrap_or_default())?;
    let domain = query.domain.clone();
    let shard = app.shards.of(domain.as_str());
    app.answer(&by, shard, Command::Visitors(domain, VisitorsCommand::Rooms(Box::new(query)))).await
}

pub(super) async fn show(
    State(app): State<App>,
    Path(room): Path<String>,
    Known(by): Known,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::parse(query.as_deref().unwrap_or_default());
    let reader = query.user("userId")?;
    let shown = app.at_desk(&room, &by, DeskCommand::Show).await?;
    Ok(Json(http::body(app.complete(shown, reader).await?)?))
}

pub(super) async fn history(
    State(app): State<App>,
    Path(room): Path<String>,
    Known(by): Known,
    RawQuery(query): RawQuery,
) -> Answer {
    let command = body::desk("history", query.as_deref().unwrap_or_default(), "")?;
    Ok(Json(http::body(app.at_desk(&room, &by, command).await?)?))
}

pub(super) async fn send(
    State(app): State<App>,
    Path(room): Path<String>,
    Known(by): Known,
    body: Body,
) -> Result<Response, Refused> {
    let command = body::desk("send", "", &text(body).await?)?;
    let reply = app.at_desk(&room, &by, command).await?;
    let status = StatusCode::from_u16(http::status_of(&reply)).unwrap_or(StatusCode::OK);
    Ok((status, Json(http::body(reply)?)).into_response())
}

/// `POST /rooms/:id/assign`, `close`, `reopen`, `rate`: the room as it stands after that.
pub(super) async fn change(
    State(app): State<App>,
    Path(room): Path<String>,
    Known(by): Known,
    uri: Uri,
    body: Body,
) -> Answer {
    let verb = uri.path().rsplit('/').next().unwrap_or_default();
    let command = body::desk(verb, "", &text(body).await?)?;
    let changed = app.at_desk(&room, &by, command).await?;
    let told = match by.is_open() || by.is_staff() {
        true => app.complete(changed, None).await?,
        // Where the customer is on the site is for those who work there.
        false => changed,
    };
    Ok(Json(http::body(told)?))
}

/// Rooms of a domain are on all shards.
pub(super) async fn search(State(app): State<App>, Known(by): Known, RawQuery(query): RawQuery) -> Answer {
    let query = SearchQuery::parse(query.as_deref().unwrap_or_default())?;
    let mut asked = Vec::new();
    for shard in 0..app.shards.count() {
        asked.push(app.ask_as(&by, shard, Command::Search(Box::new(query.clone())))?);
    }
    let (mut found, mut is_any_partial) = (Vec::new(), false);
    for mut events in asked {
        match events.recv().await.ok_or_else(ClientError::unavailable)? {
            Event::FoundHere { messages, is_partial } => {
                found.extend(messages);
                is_any_partial |= is_partial;
            }
            event => return Err(http::error_of(event).into()),
        }
    }
    Ok(Json(http::body(Event::Found(query.page(found, is_any_partial)))?))
}

/// Sent page by page as it is read.
pub(super) async fn transcript(
    State(app): State<App>,
    Path(room): Path<String>,
    Known(by): Known,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let mut transcript = Transcript::parse(query.as_deref().unwrap_or_default())?;
    let name = RoomId::parse(&room).ok_or_else(|| ClientError::invalid("roomId", ID_RULE))?;
    let Some(first) = next_page(&app, &room, &by, &mut transcript).await? else {
        return Err(ClientError::internal().into());
    };
    let begun = transcript.begin(&name, wall_clock()) + &first;
    let mut headers = HeaderMap::new();
    for (name, value) in transcript.headers(&name) {
        headers
            .extend(HeaderValue::from_str(&value).ok().map(|value| (HeaderName::from_static(name), value)));
    }
    let state = (Some(begun), app, room, by, transcript);
    let pages = stream::try_unfold(state, |(begun, app, room, by, mut transcript)| async move {
        let page = match begun {
            Some(page) => Some(page),
            // The head has been sent: a body that breaks off is all that can still say that something failed.
            None => next_page(&app, &room, &by, &mut transcript)
                .await
                .map_err(|_| io::Error::other("unavailable"))?,
        };
        Ok::<_, io::Error>(page.map(|page| (page, (None, app, room, by, transcript))))
    });
    Ok((headers, Body::from_stream(pages)).into_response())
}

async fn next_page(
    app: &App,
    room: &str,
    by: &Identity,
    transcript: &mut Transcript,
) -> Result<Option<String>, Refused> {
    let Some(query) = transcript.query() else { return Ok(None) };
    match app.at_desk(room, by, DeskCommand::Transcript(query)).await? {
        Event::MessageHistory { messages, has_more, .. } => Ok(Some(transcript.page(&messages, has_more))),
        event => Err(http::error_of(event).into()),
    }
}

impl App {
    async fn at_desk(&self, room: &str, by: &Identity, command: DeskCommand) -> Result<Event, Refused> {
        let room = RoomId::parse(room).ok_or_else(|| ClientError::invalid("roomId", ID_RULE))?;
        let shard = self.shards.of(room.as_str());
        let mut events = self.ask_as(by, shard, Command::Desk(room, command))?;
        Ok(events.recv().await.ok_or_else(ClientError::unavailable)?)
    }

    /// With what only the room's domain knows.
    async fn complete(&self, reply: Event, reader: Option<UserId>) -> Result<Event, Refused> {
        let Event::RoomUpdated { room, timestamp } = reply else { return Ok(reply) };
        let Some(domain) = room.domain_id.clone() else {
            return Ok(Event::RoomUpdated { room, timestamp });
        };
        let shard = self.shards.of(domain.as_str());
        let command = VisitorsCommand::Complete { room, reader };
        let mut events = self.ask_as(&Identity::Open, shard, Command::Visitors(domain, command))?;
        Ok(events.recv().await.ok_or_else(ClientError::unavailable)?)
    }
}
