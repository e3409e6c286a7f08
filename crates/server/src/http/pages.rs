//! The pages, compiled in: the binary needs nothing beside it.

use std::io::Write;
use std::sync::OnceLock;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use weeziq_core::ids::fnv1a;
use weeziq_core::protocol::http::PAGE_POLICY;
use weeziq_pages::{PAGES, Page};

use super::App;

/// All but the start page, which shares its address with machines.
pub(super) fn routes() -> Router<App> {
    let route = |router: Router<App>, page: &'static Page| {
        let sent: &'static OnceLock<Sent> = Box::leak(Box::default());
        let answer = async move |headers: HeaderMap| sent.get_or_init(|| Sent::of(page)).respond(&headers);
        router.route(page.path, get(answer))
    };
    PAGES.iter().filter(|page| page.path != "/").fold(Router::new(), route)
}

pub(super) fn start(headers: &HeaderMap) -> Response {
    static SENT: OnceLock<Option<Sent>> = OnceLock::new();
    let sent = SENT.get_or_init(|| PAGES.iter().find(|page| page.path == "/").map(Sent::of));
    sent.as_ref().map_or_else(|| StatusCode::NOT_FOUND.into_response(), |sent| sent.respond(headers))
}

/// A page as it leaves, made when it is first asked for.
struct Sent {
    kind: HeaderValue,
    plain: Bytes,
    gzipped: Option<Bytes>,
    /// Of what it says: a browser asks each time whether it is still so, and is told in a line.
    tag: String,
}

impl Sent {
    fn of(page: &Page) -> Self {
        let text = page.text().into_owned();
        let tag = format!("W/\"{:016x}\"", fnv1a(&text));
        let plain = Bytes::from(text);
        let gzipped = gzip(&plain).map(Bytes::from).ok();
        Self { kind: HeaderValue::from_static(page.kind()), plain, gzipped, tag }
    }

    fn respond(&self, asked: &HeaderMap) -> Response {
        let says = |name, what: &str| {
            let all = asked.get_all(name).iter().filter_map(|value| value.to_str().ok());
            all.flat_map(|value| value.split(',')).any(|value| value.trim() == what)
        };
        let mut response = match &self.gzipped {
            _ if says(header::IF_NONE_MATCH, &self.tag) => StatusCode::NOT_MODIFIED.into_response(),
            Some(gzipped) if says(header::ACCEPT_ENCODING, "gzip") => {
                ([(header::CONTENT_ENCODING, "gzip")], Body::from(gzipped.clone())).into_response()
            }
            _ => Body::from(self.plain.clone()).into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.kind.clone());
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if let Ok(tag) = HeaderValue::from_str(&self.tag) {
            headers.insert(header::ETAG, tag);
        }
        response
    }
}

fn gzip(text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::best());
    encoder.write_all(text)?;
    encoder.finish()
}
