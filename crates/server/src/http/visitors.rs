//! Visitors and their statistics over HTTP.

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::http::request::Parts;
use serde_json::Value;
use weeziq_core::access::identity::Identity;
use weeziq_core::ids::{DomainId, ID_RULE};
use weeziq_core::protocol::command::{Command, VisitorsCommand, body};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::http;
use weeziq_core::protocol::query::Query;
use weeziq_core::visitors::reports::ReportQuery;
use weeziq_core::visitors::whence::Whence;

use super::errors::Refused;
use super::identity::Known;
use super::{App, Peer, text};

/// What is known of whoever sends the request.
pub(super) struct From(Whence);

impl FromRequestParts<App> for From {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let peer = parts.extensions.get::<Peer>().copied().ok_or_else(ClientError::internal)?;
        Ok(Self(app.whence(peer, &parts.headers)))
    }
}

type Answer = Result<Json<Value>, Refused>;

pub(super) async fn add(
    State(app): State<App>,
    Known(caller): Known,
    From(whence): From,
    body: Body,
) -> Answer {
    app.visit(&caller, &whence, "visitor-joined-domain", body).await
}

pub(super) async fn activity(
    State(app): State<App>,
    Known(caller): Known,
    From(whence): From,
    body: Body,
) -> Answer {
    app.visit(&caller, &whence, "visitor-activity", body).await
}

pub(super) async fn remove(
    State(app): State<App>,
    Known(caller): Known,
    From(whence): From,
    body: Body,
) -> Answer {
    app.visit(&caller, &whence, "visitor-left-domain", body).await
}

pub(super) async fn stats(
    State(app): State<App>,
    Known(caller): Known,
    Path(domain): Path<String>,
) -> Answer {
    let domain = DomainId::parse(&domain).ok_or_else(|| ClientError::invalid("domainId", ID_RULE))?;
    let shard = app.shards.of(domain.as_str());
    app.answer(&caller, shard, Command::Visitors(domain, VisitorsCommand::Stats)).await
}

pub(super) async fn series(
    state: State<App>,
    by: Known,
    Path(domain): Path<String>,
    query: RawQuery,
) -> Answer {
    report(state, by, DomainId::parse(&domain), "series", query).await
}

pub(super) async fn pages(
    state: State<App>,
    by: Known,
    Path(domain): Path<String>,
    query: RawQuery,
) -> Answer {
    report(state, by, DomainId::parse(&domain), "pages", query).await
}

pub(super) async fn dropped(state: State<App>, by: Known, RawQuery(query): RawQuery) -> Answer {
    let domain = Query::parse(query.as_deref().unwrap_or_default()).domain()?;
    report(state, by, Some(domain), "dropped", RawQuery(query)).await
}

async fn report(
    State(app): State<App>,
    Known(caller): Known,
    domain: Option<DomainId>,
    kind: &str,
    RawQuery(query): RawQuery,
) -> Answer {
    let domain = domain.ok_or_else(|| ClientError::invalid("domainId", ID_RULE))?;
    let query = ReportQuery::parse(kind, query.as_deref().unwrap_or_default())?;
    let shard = app.shards.of(domain.as_str());
    app.answer(&caller, shard, Command::Visitors(domain, VisitorsCommand::Report(Box::new(query)))).await
}

pub(super) async fn all_stats(State(app): State<App>, Known(caller): Known) -> Answer {
    app.answer(&caller, 0, Command::AllDomainStats).await
}

impl App {
    async fn visit(&self, caller: &Identity, whence: &Whence, kind: &str, body: Body) -> Answer {
        let (domain, command) = body::visitors(kind, &text(body).await?, whence)?;
        self.answer(caller, self.shards.of(domain.as_str()), Command::Visitors(domain, command)).await
    }

    /// The body that the one event says which answers a question.
    pub(super) async fn answer(&self, caller: &Identity, shard: usize, command: Command) -> Answer {
        let event = self.ask_as(caller, shard, command)?.recv().await.ok_or_else(ClientError::unavailable)?;
        Ok(Json(http::body(event)?))
    }
}
