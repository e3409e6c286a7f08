//! The pages, as they are in `web/`, compiled in: the binary needs nothing beside it.

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};

const START: &str = include_str!("../../../../web/index.html");

/// Everything comes from here, and nothing is inline.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; style-src 'self'; script-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn start() -> Response {
    let mut response = Html(START).into_response();
    harden(&mut response);
    response
}

/// One file that the start page needs.
pub(super) fn asset(content_type: &'static str, body: &'static str) -> Response {
    let mut response =
        ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], body).into_response();
    harden(&mut response);
    response
}

fn harden(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

pub(super) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("../../../../web/start.js"))
}

pub(super) async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("../../../../web/start.css"))
}
