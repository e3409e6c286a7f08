//! Visitors and their statistics over HTTP.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use weeziq_core::ids::{DomainId, ID_RULE};
use weeziq_core::protocol::command::{Command, VisitorsCommand, body};
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::protocol::event::Event;

use super::errors::Refused;
use super::{App, text, unexpected};

pub(super) async fn add(State(app): State<App>, body: Body) -> Result<Response, Refused> {
    Ok(match app.visit("visitor-joined-domain", body).await? {
        Event::VisitorJoinedDomain { visitor, active_count, total, .. } => Json(json!({
            "success": true,
            "visitor": visitor,
            "domainStats": { "activeVisitors": active_count, "totalVisitors": total },
        }))
        .into_response(),
        _ => unexpected(),
    })
}

pub(super) async fn activity(State(app): State<App>, body: Body) -> Result<Response, Refused> {
    Ok(match app.visit("visitor-activity", body).await? {
        Event::VisitorActivity { timestamp, .. } => {
            Json(json!({ "success": true, "lastActivity": timestamp })).into_response()
        }
        _ => unexpected(),
    })
}

pub(super) async fn remove(State(app): State<App>, body: Body) -> Result<Response, Refused> {
    Ok(match app.visit("visitor-left-domain", body).await? {
        Event::VisitorLeftDomain { was_here: false, visitor_id, domain_id, .. } => {
            let why = format!("visitorId {visitor_id} is not on {domain_id}");
            return Err(ClientError::new(ErrorCode::NotFound, why).into());
        }
        Event::VisitorLeftDomain { active_count, total, .. } => Json(json!({
            "success": true,
            "domainStats": { "activeVisitors": active_count, "totalVisitors": total },
        }))
        .into_response(),
        _ => unexpected(),
    })
}

pub(super) async fn stats(State(app): State<App>, Path(domain): Path<String>) -> Result<Response, Refused> {
    let domain = DomainId::parse(&domain).ok_or_else(|| ClientError::invalid("domainId", ID_RULE))?;
    let shard = app.shards.of(domain.as_str());
    Ok(match app.answer(shard, Command::Visitors(domain, VisitorsCommand::Stats)).await? {
        Event::DomainStats { active_visitors, total_visitors, visitors, .. } => Json(json!({
            "activeVisitors": active_visitors,
            "totalVisitors": total_visitors,
            "visitors": visitors,
        }))
        .into_response(),
        _ => unexpected(),
    })
}

pub(super) async fn all_stats(State(app): State<App>) -> Result<Response, Refused> {
    Ok(match app.answer(0, Command::AllDomainStats).await? {
        Event::AllDomainStats { stats, timestamp } => {
            Json(json!({ "stats": stats, "timestamp": timestamp })).into_response()
        }
        _ => unexpected(),
    })
}

impl App {
    async fn visit(&self, kind: &str, body: Body) -> Result<Event, Refused> {
        let (domain, command) = body::visitors(kind, &text(body).await?)?;
        self.answer(self.shards.of(domain.as_str()), Command::Visitors(domain, command)).await
    }
}
