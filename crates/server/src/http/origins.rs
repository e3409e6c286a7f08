//! Cross-origin rules, for every route and for the handshake.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::protocol::http::{CORS_HEADERS, NOT_ALLOWED};

use super::errors::Refused;
use super::{App, is_preflight, socketio};
use crate::socketio::EngineError;

pub(super) async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let Some(origin) = headers.get(header::ORIGIN).cloned() else {
        return next.run(request).await;
    };
    if !app.allows_origin(headers) && request.uri().path().starts_with(socketio::PATH) {
        return vary(EngineError::Forbidden.into_response());
    }
    if !app.allows_origin(headers) {
        let error = ClientError::new(ErrorCode::Forbidden, NOT_ALLOWED);
        return vary(Refused(error).into_response());
    }
    let response = match is_preflight(request.method(), headers) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => next.run(request).await,
    };
    allow(response, origin)
}

impl App {
    /// Whether the page that asks may; whoever is no page may.
    pub(super) fn allows_origin(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        // What any of the domains lists may connect: a handshake names no domain, and what a page may do with one is a
        // matter of its token. What this keeps out is pages that nobody here has heard of.
        let listed = |origin: &str| self.environment.domains.list_origin(origin);
        origin.to_str().is_ok_and(|origin| self.origins.allow(Some(origin), host) || listed(origin))
    }
}

fn allow(mut response: Response, origin: HeaderValue) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    for (name, value) in CORS_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    vary(response)
}

/// The answer depends on who asks, and a cache in between must know.
fn vary(mut response: Response) -> Response {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    response
}
