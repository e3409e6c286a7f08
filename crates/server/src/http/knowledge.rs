//! Documents of a domain over HTTP, what is found in them, and what its answers have cost.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use weeziq_core::knowledge::document::{Document, DocumentName};
use weeziq_core::limits::DOCUMENT_BYTES_MAX;
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::protocol::http;
use weeziq_core::store::SqlError;

use super::domains::named;
use super::errors::Refused;
use super::identity::Known;
use super::{App, bytes_of};
use crate::domains::Domains;

#[derive(Deserialize)]
pub(super) struct Sought {
    #[serde(default)]
    q: String,
    limit: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Span {
    from: Option<String>,
    to: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    Path(domain): Path<String>,
    Known(caller): Known,
) -> Result<Json<Value>, Refused> {
    let domain = named(&domain)?;
    caller.require_admin(Some(&domain))?;
    let documents = look_up(&app, move |domains| domains.documents(&domain)).await?;
    Ok(Json(json!({ "documents": documents })))
}

pub(super) async fn search(
    State(app): State<App>,
    Path(domain): Path<String>,
    Known(caller): Known,
    uri: Uri,
) -> Result<Json<Value>, Refused> {
    let domain = named(&domain)?;
    caller.require_staff(Some(&domain))?;
    let sought: Sought = query(&uri)?;
    let limit = http::search_limit(sought.limit.as_deref())?;
    let found = look_up(&app, move |domains| domains.search(&domain, &sought.q, limit)).await?;
    Ok(Json(http::passages(&found)))
}

pub(super) async fn write(
    State(app): State<App>,
    Path((domain, name)): Path<(String, String)>,
    Known(caller): Known,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Refused> {
    let domain = named(&domain)?;
    caller.require_admin(Some(&domain))?;
    // Before the body is read: a name that cannot be takes no megabyte.
    DocumentName::parse(&name)?;
    let bytes = bytes_of(body, DOCUMENT_BYTES_MAX).await?.ok_or_else(Document::too_large)?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let document = Document::parse(&name, content_type, bytes)?;
    let (listed, is_new) = look_up(&app, move |domains| domains.put_document(&domain, &document)).await??;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(json!(listed))))
}

pub(super) async fn read(
    State(app): State<App>,
    Path((domain, name)): Path<(String, String)>,
    Known(caller): Known,
) -> Result<Response, Refused> {
    let domain = named(&domain)?;
    caller.require_admin(Some(&domain))?;
    let name = DocumentName::parse(&name)?;
    let found = look_up(&app, move |domains| domains.document(&domain, &name)).await?;
    let (kind, text) = found.ok_or_else(no_document)?;
    Ok(([(header::CONTENT_TYPE, kind.content_type()), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], text)
        .into_response())
}

pub(super) async fn remove(
    State(app): State<App>,
    Path((domain, name)): Path<(String, String)>,
    Known(caller): Known,
) -> Result<Json<Value>, Refused> {
    let domain = named(&domain)?;
    caller.require_admin(Some(&domain))?;
    let name = DocumentName::parse(&name)?;
    match look_up(&app, move |domains| domains.remove_document(&domain, &name)).await? {
        true => Ok(Json(json!({ "success": true }))),
        false => Err(no_document().into()),
    }
}

/// What the domain's answers have cost.
pub(super) async fn spending(
    State(app): State<App>,
    Path(domain): Path<String>,
    Known(caller): Known,
    uri: Uri,
) -> Result<Json<Value>, Refused> {
    let domain = named(&domain)?;
    caller.require_staff(Some(&domain))?;
    let span: Span = query(&uri)?;
    let report =
        look_up(&app, move |domains| domains.spending(&domain, (span.from.as_deref(), span.to.as_deref())));
    Ok(Json(report.await??))
}

fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, ClientError> {
    let read =
        Query::try_from_uri(uri).map_err(|_| ClientError::invalid("query", "must be UTF-8, each name once"));
    read.map(|Query(read)| read)
}

/// Beside the runtime's own threads, since it waits for the disk.
async fn look_up<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Domains) -> Result<T, SqlError> + Send + 'static,
) -> Result<T, ClientError> {
    let domains = app.environment.domains.clone();
    match tokio::task::spawn_blocking(move || work(&domains)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            tracing::error!(%error, "the domains' database failed");
            Err(ClientError::unavailable())
        }
        Err(_) => Err(ClientError::internal()),
    }
}

fn no_document() -> ClientError {
    ClientError::new(ErrorCode::NotFound, "there is no document of that name")
}
