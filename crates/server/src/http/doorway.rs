//! The short way in: a plain WebSocket handshake is answered from what the listener's socket shows, without the HTTP
//! stack. Whatever is not plainly fine is left untouched for that stack, which knows how to refuse it.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::upgrade::Arrival;
use super::{App, Peer};
use crate::websocket::handshake;

/// Longer heads, and those that come in pieces, go the long way.
const HEAD_BYTES_MAX: usize = 2_048;
const HEADERS_MAX: usize = 32;

/// Hands a new connection over to a shard, or back if it wants something else. None: it is handed over, or gone.
pub(crate) async fn enter(
    app: &App,
    mut stream: TcpStream,
    peer: Peer,
    within: Duration,
) -> Option<TcpStream> {
    let mut head = [0; HEAD_BYTES_MAX];
    let seen = tokio::time::timeout(within, stream.peek(&mut head)).await.ok()?.ok()?;
    let Some((len, accepted, arrival)) = app.recognise(head.get(..seen)?, peer) else {
        return Some(stream);
    };
    let answer = handshake::answer(&accepted);
    let answered = async {
        stream.read_exact(head.get_mut(..len)?).await.ok()?;
        stream.write_all(&answer).await.ok()
    };
    answered.await?;
    match stream.into_std() {
        Ok(stream) => arrival.seat(app, stream, Vec::new()),
        Err(error) => tracing::warn!(%error, "a socket cannot be handed over"),
    }
    None
}

impl App {
    /// A handshake that is whole and fine: how long it is, and how to answer.
    fn recognise(&self, seen: &[u8], peer: Peer) -> Option<(usize, HeaderValue, Arrival)> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(len) = request.parse(seen).ok()? else { return None };
        let uri: Uri = request.path?.parse().ok()?;
        let is_ours =
            request.method == Some("GET") && request.version == Some(1) && matches!(uri.path(), "/" | "/ws");
        if !is_ours {
            return None;
        }
        let mut headers = HeaderMap::with_capacity(request.headers.len());
        for field in request.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
        }
        let has_body =
            headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING);
        if has_body || !handshake::is_upgrade(&headers) || !self.allows_origin(&headers) {
            return None;
        }
        let accepted = handshake::accept(&Method::GET, &headers).ok()?;
        Some((len, accepted, Arrival::of(self, &uri, &headers, peer).ok()?))
    }
}
