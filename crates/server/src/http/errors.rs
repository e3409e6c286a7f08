//! Refusals over HTTP: `{error, code, retryAfterMs?}`.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::protocol::http;

pub(super) struct Refused(pub(super) ClientError);

impl From<ClientError> for Refused {
    fn from(error: ClientError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(error) = self;
        if error.code == ErrorCode::Internal {
            tracing::error!("a shard answered with an event that the route does not know");
        }
        let status =
            StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(http::refusal(&error))).into_response();
        if let Some(seconds) = http::retry_after_seconds(&error) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

pub(super) async fn no_such_route(uri: Uri) -> Refused {
    Refused(ClientError::new(ErrorCode::NotFound, format!("there is nothing at {}", uri.path())))
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Response {
    let error = ClientError::invalid(method.as_str(), &format!("is not a method of {}", uri.path()));
    (StatusCode::METHOD_NOT_ALLOWED, Refused(error)).into_response()
}
