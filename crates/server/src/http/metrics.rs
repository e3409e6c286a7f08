//! Numbers for whoever watches over the service: to staff of all sites on the public listener, to anyone on a listener of
//! their own (`METRICS_ADDR`), which is then the only place.

use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::errors::{Refused, no_such_route};
use super::identity::Known;
use crate::metrics::page;

pub(super) async fn to_staff(
    State(app): State<App>,
    Known(caller): Known,
    uri: Uri,
) -> Result<Response, Refused> {
    if app.watch.has_own_listener {
        return Err(no_such_route(uri).await);
    }
    caller.require_staff(None)?;
    Ok(to_all(State(app)).await)
}

pub(super) async fn to_all(State(app): State<App>) -> Response {
    let text = page::of(&app).await;
    ([(header::CONTENT_TYPE, page::CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")], text).into_response()
}
