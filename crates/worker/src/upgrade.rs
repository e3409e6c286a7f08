//! From a handshake to a socket: straight to a room where one is named, else ended here.

use std::rc::Rc;

use futures_util::StreamExt;
use wasm_bindgen_futures::spawn_local;
use weeziq_core::access::identity::Identity;
use weeziq_core::ids::{ID_RULE, RoomId};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::rooms::Farewell;
use weeziq_core::session::Session;
use worker::{Env, Request, Response, Result, WebSocket, WebSocketPair, WebsocketEvent};

use crate::clock::{entropy, socket_id};
use crate::gateway::{Frame, Gateway, Origin};
use crate::identity;
use crate::places::{Hello, Place, address_name};
use crate::reply;
use crate::settings::Settings;
use crate::sockets::close_back;
use crate::whence;

/// A longer header is cut before it is kept.
const USER_AGENT_BYTES_MAX: usize = 512;

pub(crate) fn is_upgrade(request: &Request) -> bool {
    let upgrade = request.headers().get("upgrade").ok().flatten();
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

pub(crate) async fn web_socket(request: &Request, env: Env, settings: Rc<Settings>) -> Result<Response> {
    if !is_upgrade(request) {
        let error = ClientError::invalid("Upgrade", "is required: this address speaks WebSocket");
        let response = reply::refusal(&error)?.with_status(426);
        response.headers().set("upgrade", "websocket")?;
        return Ok(response);
    }
    let room = match room_of(request)? {
        Ok(room) => room,
        Err(error) => return reply::refusal(&error),
    };
    let identity = match identity::known(request, &env, &settings).await {
        Ok(identity) => identity,
        Err(error) => return reply::refusal(&error),
    };
    let from = Origin {
        socket: socket_id(),
        user_agent: user_agent_of(request),
        whence: whence::of(request, &env).await,
        address: address_of(request),
    };
    match room {
        Some(room) => {
            let hello = Hello {
                socket: from.socket,
                nonce: entropy(),
                is_direct: true,
                observes: false,
                user_agent: from.user_agent,
                whence: from.whence,
                address: Some(from.address),
                identity,
            };
            Place::Room(room).upgrade(&env, &hello).await
        }
        None => end_here(env, settings, from, identity).await,
    }
}

/// The client's socket ends in the Worker, which holds one to each object that the client deals with.
async fn end_here(env: Env, settings: Rc<Settings>, from: Origin, identity: Identity) -> Result<Response> {
    let pair = WebSocketPair::new()?;
    let client = pair.server;
    client.accept()?;
    let session = Session::new(from.socket, None)
        .known_as(identity, settings.key.clone())
        .come_from(from.whence.clone());
    let gateway = Gateway::new(env, settings, client.clone(), from, session, None);
    spawn_local(listen(client, gateway.clone()));
    gateway.watch_expiry();
    // Before the handshake is answered, so that a dashboard that asks for nothing misses nothing.
    gateway.observe().await;
    Response::from_websocket(pair.client)
}

async fn listen(client: WebSocket, gateway: Rc<Gateway>) {
    let mut how = Farewell::Died;
    if let Ok(mut events) = client.events() {
        while let Some(event) = events.next().await {
            match event {
                Ok(WebsocketEvent::Message(message)) => {
                    let frame = message.text().map_or(Frame::Binary, Frame::Text);
                    gateway.take(frame).await;
                }
                Ok(WebsocketEvent::Close(close)) => {
                    let is_clean = close.was_clean() && close.code() != 1006;
                    how = if is_clean { Farewell::Clean } else { Farewell::Died };
                    close_back(&client, close.code().into());
                }
                Err(_) => break,
            }
        }
    }
    gateway.part(how);
}

fn room_of(request: &Request) -> Result<std::result::Result<Option<RoomId>, ClientError>> {
    let url = request.url()?;
    let named = url.query_pairs().find(|(name, value)| name == "roomId" && !value.is_empty());
    let Some((_, room)) = named else { return Ok(Ok(None)) };
    Ok(RoomId::parse(&room).map(Some).ok_or_else(|| ClientError::invalid("roomId", ID_RULE)))
}

pub(crate) fn user_agent_of(request: &Request) -> Option<String> {
    let mut header = request.headers().get("user-agent").ok()??;
    header.truncate(header.floor_char_boundary(USER_AGENT_BYTES_MAX));
    Some(header)
}

/// The platform says who asks; a client cannot.
pub(crate) fn address_of(request: &Request) -> String {
    let address = request.headers().get("cf-connecting-ip").ok().flatten();
    address_name(address.as_deref().unwrap_or("unknown"))
}
