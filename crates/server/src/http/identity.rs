//! Who sends a request.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use weeziq_core::access::identity::Identity;
use weeziq_core::protocol::error::ClientError;

use super::App;
use super::errors::Refused;
use crate::shard::wall_clock;

/// An argument of every route that is not for everybody.
pub(super) struct Known(pub(super) Identity);

impl FromRequestParts<App> for Known {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        Ok(Self(app.identify(&parts.headers, &parts.uri)?))
    }
}

impl App {
    /// Whose token comes with a request: in its header, else in its address, where a browser's WebSocket has to put it.
    pub(super) fn identify(&self, headers: &HeaderMap, uri: &Uri) -> Result<Identity, ClientError> {
        let Some(key) = self.environment.key.as_deref() else { return Ok(Identity::Open) };
        let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let identity = match header.and_then(Identity::bearer) {
            Some(token) => Identity::of(Some(key), Some(token), wall_clock())?,
            None => Identity::of(Some(key), named(uri)?.as_deref(), wall_clock())?,
        };
        self.environment.proven.note(&identity);
        Ok(identity)
    }
}

fn named(uri: &Uri) -> Result<Option<String>, ClientError> {
    let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    let pairs = query.map_err(|_| ClientError::invalid("query", "must be UTF-8"))?.0;
    Ok(pairs.into_iter().find(|(name, _)| name == "token").map(|(_, token)| token))
}
