//! Refusals over HTTP: `{error, code, retryAfterMs?}`.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use weeziq_core::protocol::error::{ClientError, ErrorCode};

pub(super) struct Refused(pub(super) ClientError);

impl From<ClientError> for Refused {
    fn from(error: ClientError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let mut body = json!({ "error": error.message, "code": error.code });
        if let (Some(ms), Some(body)) = (error.retry_after_ms, body.as_object_mut()) {
            body.insert("retryAfterMs".into(), ms.into());
        }
        let status =
            StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(body)).into_response();
        if let Some(ms) = error.retry_after_ms {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
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
