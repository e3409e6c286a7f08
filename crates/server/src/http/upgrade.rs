//! From an HTTP request to a socket that a shard owns.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use weeziq_core::access::identity::Identity;
use weeziq_core::ids::RoomId;
use weeziq_core::protocol::error::{ClientError, ErrorCode};
use weeziq_core::session::Session;
use weeziq_core::visitors::whence::Whence;

use super::errors::Refused;
use super::{App, Peer, socket_id};
use crate::shard::engine::Engine;
use crate::shard::mailbox::{Message, Newcomer};
use crate::shard::polling::{Answer, Opening, PollingRequest};
use crate::socketio::{Secret, Sid};
use crate::websocket::handshake;

/// A longer header is cut before it is kept.
const USER_AGENT_BYTES_MAX: usize = 512;

pub(super) async fn web_socket(State(app): State<App>, request: Request) -> Response {
    if !handshake::is_upgrade(request.headers()) {
        let error = ClientError::invalid("Upgrade", "is required: this address speaks WebSocket");
        let upgrade = [(header::UPGRADE, HeaderValue::from_static("websocket"))];
        return (StatusCode::UPGRADE_REQUIRED, upgrade, Refused(error)).into_response();
    }
    accept(app, request, Speaks::Plain)
}

/// What a WebSocket will be used for.
#[derive(Clone, Copy)]
pub(super) enum Speaks {
    Plain,
    /// On its own, or for a session that began with polling.
    SocketIo {
        offered_to: Option<Sid>,
    },
}

pub(super) fn accept(app: App, mut request: Request, speaks: Speaks) -> Response {
    let accepted = match handshake::accept(request.method(), request.headers()) {
        Ok(accepted) => accepted,
        Err((status, why)) => {
            return (status, Refused(ClientError::new(ErrorCode::InvalidRequest, why))).into_response();
        }
    };
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return Refused(ClientError::internal()).into_response();
    };
    let arrival = match Arrival::of(&app, request.uri(), request.headers(), peer, speaks) {
        Ok(arrival) => arrival,
        Err(error) => return Refused(error).into_response(),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => arrival.hand_over(&app, upgraded),
            Err(error) => tracing::debug!(%error, "an upgrade came to nothing"),
        }
    });
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accepted),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

/// What a handshake says of whoever comes.
pub(crate) struct Arrival {
    pub(crate) address: std::net::IpAddr,
    pub(crate) user_agent: Option<Arc<str>>,
    pub(crate) whence: Whence,
    /// The room of what names none.
    pub(crate) room: Option<RoomId>,
    /// Who it has proved to be.
    pub(crate) identity: Identity,
    speaks: Speaks,
}

impl Arrival {
    pub(super) fn of(
        app: &App,
        uri: &Uri,
        headers: &HeaderMap,
        peer: Peer,
        speaks: Speaks,
    ) -> Result<Self, ClientError> {
        let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let user_agent =
            user_agent.and_then(|value| value.get(..value.floor_char_boundary(USER_AGENT_BYTES_MAX)));
        Ok(Self {
            address: app.address(peer, headers),
            user_agent: user_agent.map(Arc::from),
            whence: app.whence(peer, headers),
            room: room_of(uri)?,
            identity: app.identify(headers, uri)?,
            speaks,
        })
    }

    /// What its connection begins with, if it speaks Socket.IO.
    pub(crate) fn engine(&self) -> Option<Box<Engine>> {
        match self.speaks {
            Speaks::Plain => None,
            Speaks::SocketIo { offered_to } => Some(Box::new(Engine::new(socket_id(), offered_to))),
        }
    }

    fn hand_over(self, app: &App, upgraded: Upgraded) {
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
            tracing::error!("an upgraded connection is no TCP stream");
            return;
        };
        // Taken out of this runtime's poll; from here on a shard's watches it.
        match parts.io.into_inner().into_std() {
            Ok(stream) => self.seat(app, stream, parts.read_buf.into()),
            Err(error) => tracing::warn!(%error, "a socket cannot be handed over"),
        }
    }

    /// To the shard of the room that it names, or to any: it moves with its first join.
    fn seat(self, app: &App, stream: std::net::TcpStream, unread: Vec<u8>) {
        let own = self.room.as_ref().map_or(0, |room| app.shards.of(room.as_str()));
        let shard = match self.speaks {
            Speaks::SocketIo { offered_to: Some(session) } => session.shard.into(),
            _ => own,
        };
        let engine = self.engine();
        let newcomer = Newcomer {
            stream: mio::net::TcpStream::from_std(stream),
            address: self.address,
            session: Session::new(socket_id(), self.room)
                .known_as(self.identity, app.environment.key.clone())
                .come_from(self.whence),
            user_agent: self.user_agent,
            first: None,
            unread,
            settled: false,
            engine,
        };
        app.shards.send(shard, Message::Adopt(Box::new(newcomer)));
    }

    /// A session without a socket. It stays where it begins, so they are spread over all shards.
    pub(super) fn open_polling(self, app: &App, secret: Secret, answer: Answer) {
        let spread = weeziq_core::ids::fnv1a(secret.as_str()) as usize % app.shards.count().max(1);
        let shard = self.room.as_ref().map_or(spread, |room| app.shards.of(room.as_str()));
        let opening = Opening {
            address: self.address,
            user_agent: self.user_agent,
            session: Session::new(socket_id(), self.room)
                .known_as(self.identity, app.environment.key.clone())
                .come_from(self.whence),
            secret,
            answer,
        };
        app.shards.send(shard, Message::Polling(PollingRequest::Open(Box::new(opening))));
    }
}

fn room_of(uri: &Uri) -> Result<Option<RoomId>, ClientError> {
    let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    let pairs = query.map_err(|_| ClientError::invalid("query", "must be UTF-8"))?.0;
    let named = pairs.into_iter().find(|(name, value)| name == "roomId" && !value.is_empty());
    let Some((_, room)) = named else { return Ok(None) };
    let parsed =
        RoomId::parse(&room).ok_or_else(|| ClientError::invalid("roomId", weeziq_core::ids::ID_RULE));
    parsed.map(Some)
}
