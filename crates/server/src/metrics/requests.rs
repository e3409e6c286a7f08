//! HTTP requests by route and status. What a shard answers itself, a plain WebSocket handshake, is a connection and none of
//! these.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

/// A lock once a request is nothing beside the request.
#[derive(Clone, Default)]
pub(crate) struct Requests(Arc<Mutex<BTreeMap<Answered, u64>>>);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Answered {
    /// As the router has it, not as it was asked: there are as many of these as routes.
    pub(super) route: String,
    pub(super) method: &'static str,
    pub(super) status: u16,
}

/// Counts each request with its answer's head.
pub(crate) async fn observe(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = known(request.method());
    let response = next.run(request).await;
    let route = route.unwrap_or_else(|| "none".into());
    requests.add(Answered { route, method, status: response.status().as_u16() });
    response
}

/// Whoever asks may name a method as they like, and each name would be kept.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

impl Requests {
    fn add(&self, answered: Answered) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(answered).or_default() += 1;
    }

    pub(super) fn all(&self) -> BTreeMap<Answered, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
