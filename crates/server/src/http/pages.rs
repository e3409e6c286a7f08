//! The pages, as they are in `web/`, compiled in: the binary needs nothing beside it.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use weeziq_core::protocol::http::PAGE_POLICY;

use super::App;

/// A file of `web/`.
struct Page {
    path: &'static str,
    kind: &'static str,
    body: &'static str,
}

macro_rules! page {
    ($path:literal, $kind:expr) => {
        Page { path: $path, kind: $kind, body: include_str!(concat!("../../../../web", $path)) }
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const START: Page = page!("/index.html", HTML);

const ASSETS: &[Page] = &[
    page!("/start.css", CSS),
    page!("/start.js", SCRIPT),
    page!("/connection.js", SCRIPT),
    page!("/chat.js", SCRIPT),
    page!("/dom.js", SCRIPT),
    page!("/watch.js", SCRIPT),
];

pub(super) fn routes() -> Router<App> {
    let route =
        |router: Router<App>, page: &'static Page| router.route(page.path, get(async || page.respond()));
    ASSETS.iter().fold(Router::new(), route)
}

pub(super) fn start() -> Response {
    START.respond()
}

impl Page {
    fn respond(&self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(self.kind)),
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY)),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ];
        (headers, self.body).into_response()
    }
}
