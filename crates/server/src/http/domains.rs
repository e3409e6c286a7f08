//! Settings of domains over HTTP.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use serde_json::Value;
use weeziq_core::domains::DomainSettings;
use weeziq_core::ids::{DomainId, ID_RULE};
use weeziq_core::limits::SETTINGS_BYTES_MAX;
use weeziq_core::protocol::error::ClientError;

use super::errors::Refused;
use super::identity::Known;
use super::{App, text_of};
use crate::shard::wall_clock;
use crate::zones::TimeZones;

pub(super) async fn read(
    State(app): State<App>,
    Path(domain): Path<String>,
    Known(caller): Known,
) -> Result<Json<Value>, Refused> {
    let domain = named(&domain)?;
    caller.require_staff(Some(&domain))?;
    Ok(Json(app.environment.domains.of(Some(&domain)).body(&domain)))
}

/// What any visitor's page may know.
pub(super) async fn widget(
    State(app): State<App>,
    Path(domain): Path<String>,
) -> Result<Json<Value>, Refused> {
    let domain = named(&domain)?;
    let settings = app.environment.domains.of(Some(&domain));
    Ok(Json(settings.widget(&domain, wall_clock(), &TimeZones)))
}

pub(super) async fn write(
    State(app): State<App>,
    Path(domain): Path<String>,
    Known(caller): Known,
    body: Body,
) -> Result<Json<Value>, Refused> {
    let domain = named(&domain)?;
    caller.require_admin(Some(&domain))?;
    let settings = DomainSettings::parse(&text_of(body, SETTINGS_BYTES_MAX).await?, &TimeZones)?;
    let reply = settings.body(&domain);
    let environment = app.environment.clone();
    let stored = tokio::task::spawn_blocking(move || environment.domains.set(domain, settings)).await;
    match stored {
        Ok(Ok(())) => Ok(Json(reply)),
        Ok(Err(error)) => {
            tracing::error!(%error, "settings of a domain were not stored");
            Err(ClientError::unavailable().into())
        }
        Err(_) => Err(ClientError::internal().into()),
    }
}

pub(super) fn named(domain: &str) -> Result<DomainId, ClientError> {
    DomainId::parse(domain).ok_or_else(|| ClientError::invalid("domainId", ID_RULE))
}
