//! The short way in: a plain WebSocket handshake is answered from what the listener's socket shows, without the HTTP
//! stack. Whatever is not plainly fine is left untouched for that stack, which knows how to refuse it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use super::upgrade::{Arrival, Speaks};
use super::{App, Peer, socketio};
use crate::websocket::handshake;

const HEADERS_MAX: usize = 32;

/// One that is whole and fine.
pub(crate) struct Handshake {
    /// Of its head, in bytes.
    pub(crate) len: usize,
    pub(crate) answer: Vec<u8>,
    pub(crate) arrival: Arrival,
}

impl App {
    pub(crate) fn recognise(&self, seen: &[u8], peer: Peer) -> Option<Handshake> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(len) = request.parse(seen).ok()? else { return None };
        let uri: Uri = request.path?.parse().ok()?;
        let speaks = match uri.path() {
            "/" | "/ws" => Speaks::Plain,
            _ if socketio::begins_web_socket(&uri) => Speaks::SocketIo { offered_to: None },
            _ => return None,
        };
        if request.method != Some("GET") || request.version != Some(1) {
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
        let arrival = Arrival::of(self, &uri, &headers, peer, speaks).ok()?;
        Some(Handshake { len, answer: handshake::answer(&accepted), arrival })
    }
}
