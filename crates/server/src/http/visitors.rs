//! Visitors and their statistics over HTTP.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use serde_json::Value;
use weeziq_core::ids::{DomainId, ID_RULE};
use weeziq_core::protocol::command::{Command, VisitorsCommand, body};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::http;

use super::errors::Refused;
use super::{App, text};

type Answer = Result<Json<Value>, Refused>;

pub(super) async fn add(State(app): State<App>, body: Body) -> Answer {
    app.visit("visitor-joined-domain", body).await
}

pub(super) async fn activity(State(app): State<App>, body: Body) -> Answer {
    app.visit("visitor-activity", body).await
}

pub(super) async fn remove(State(app): State<App>, body: Body) -> Answer {
    app.visit("visitor-left-domain", body).await
}

pub(super) async fn stats(State(app): State<App>, Path(domain): Path<String>) -> Answer {
    let domain = DomainId::parse(&domain).ok_or_else(|| ClientError::invalid("domainId", ID_RULE))?;
    let shard = app.shards.of(domain.as_str());
    app.answer(shard, Command::Visitors(domain, VisitorsCommand::Stats)).await
}

pub(super) async fn all_stats(State(app): State<App>) -> Answer {
    app.answer(0, Command::AllDomainStats).await
}

impl App {
    async fn visit(&self, kind: &str, body: Body) -> Answer {
        let (domain, command) = body::visitors(kind, &text(body).await?)?;
        self.answer(self.shards.of(domain.as_str()), Command::Visitors(domain, command)).await
    }

    /// The body that the one event says which answers a question.
    async fn answer(&self, shard: usize, command: Command) -> Answer {
        let event = self.ask(shard, command).recv().await.ok_or_else(ClientError::unavailable)?;
        Ok(Json(http::body(event)?))
    }
}
