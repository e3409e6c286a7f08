//! One client's connection where it is not at the end of its way: what is for elsewhere goes on over an inner socket
//! to each object that it concerns.
//!
//! The Worker holds one for every client of `/ws`; a room holds one for each client that came straight to it, for what
//! is not its own business.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use futures_util::StreamExt;
use wasm_bindgen_futures::spawn_local;
use weeziq_core::ids::{RoomId, SocketId};
use weeziq_core::limits::FRAME_BYTES_MAX;
use weeziq_core::protocol::command::{Command, Refusal, Request};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;
use weeziq_core::rooms::Farewell;
use weeziq_core::session::{Received, Session};
use worker::{Env, Result, WebSocket, WebsocketEvent, console_warn};

use crate::clock::Clock;
use crate::encode;
use crate::places::{Hello, Place, admit};
use crate::settings::Settings;

pub(crate) struct Gateway {
    env: Env,
    settings: Rc<Settings>,
    client: WebSocket,
    from: Origin,
    /// The room that holds the socket, where one does.
    home: Option<RoomId>,
    session: RefCell<Session>,
    links: RefCell<HashMap<Place, Link>>,
    clock: Clock,
    is_over: Cell<bool>,
}

/// Who is at the other end.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) socket: SocketId,
    pub(crate) user_agent: Option<String>,
    /// The name of the object that counts its address.
    pub(crate) address: String,
}

struct Link {
    socket: WebSocket,
    used_at: i64,
}

/// What came from the client.
pub(crate) enum Frame {
    Text(String),
    Binary,
}

/// Links to rooms that the client has not joined: conversations, and rooms it only sends to.
const LOOSE_LINKS_MAX: usize = 64;
/// A loose link may be closed when it has been silent for longer than any answer takes.
const LOOSE_LINK_REST_MS: i64 = 120_000;

const TOO_BIG: u16 = 1009;
const POLICY: u16 = 1008;
/// RFC 6455's registry: the service restarts, come back at once.
pub(crate) const RESTARTED: u16 = 1012;
/// Between our own objects: the client did not say goodbye.
pub(crate) const DIED: u16 = 4001;

impl Gateway {
    pub(crate) fn new(
        env: Env,
        settings: Rc<Settings>,
        client: WebSocket,
        from: Origin,
        session: Session,
        home: Option<RoomId>,
    ) -> Rc<Self> {
        Rc::new(Self {
            env,
            settings,
            client,
            from,
            home,
            session: RefCell::new(session),
            links: RefCell::default(),
            clock: Clock::default(),
            is_over: Cell::new(false),
        })
    }

    /// Whether anything that an eviction would cut hangs on this connection.
    pub(crate) fn has_links(&self) -> bool {
        self.links.borrow().keys().any(|place| *place != Place::Observed)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    pub(crate) fn observes(&self) -> bool {
        self.session.borrow().observes()
    }

    /// Watches all domains as long as the connection has not introduced itself as a visitor.
    pub(crate) async fn observe(self: &Rc<Self>) {
        let is_linked = || self.links.borrow().contains_key(&Place::Observed);
        if !self.observes() {
            let watched = self.links.borrow_mut().remove(&Place::Observed);
            watched.map(|link| link.socket.close(Some(1000), Some("no observer any more")));
        } else if !is_linked() && self.link(&Place::Observed).await.is_err() {
            console_warn!("the directory cannot be watched");
        }
    }

    /// Takes one frame to where it belongs. What is for the room at home is handed back.
    pub(crate) async fn take(self: &Rc<Self>, frame: Frame) -> Option<Request> {
        if self.is_over.get() {
            return None;
        }
        let (now, quota) = (self.clock.now(), self.settings.events);
        let (received, text) = match frame {
            Frame::Text(text) if text.len() > FRAME_BYTES_MAX => {
                self.close(TOO_BIG, "a message is at most 64 KiB");
                return None;
            }
            Frame::Text(text) => (self.session.borrow_mut().receive(now, &text, quota), text),
            Frame::Binary => (self.session.borrow_mut().receive_binary(now, quota), String::new()),
        };
        match received {
            Received::Request(request) => self.dispatch(request, &text).await,
            Received::Refused(Refusal { reply_to, error }) => {
                self.refuse(reply_to.as_deref(), &error);
                None
            }
            Received::Abusive => {
                self.close(POLICY, "too many events for too long");
                None
            }
        }
    }

    async fn dispatch(self: &Rc<Self>, request: Request, frame: &str) -> Option<Request> {
        let place = match &request.command {
            Command::Ping => {
                self.reply(request.reply_to.as_deref(), &Event::Pong);
                return None;
            }
            Command::Room(room, _) => Place::Room(room.clone()),
            Command::Visitors(domain, _) => Place::Domain(domain.clone()),
            Command::AllDomainStats => Place::Directory,
            Command::Ask(conversation, _) => {
                if let Err(error) = self.admit_question().await {
                    self.refuse(request.reply_to.as_deref(), &error);
                    return None;
                }
                let own = || RoomId::of_visitor("connection", self.from.socket.as_str());
                Place::Room(conversation.clone().unwrap_or_else(own))
            }
        };
        if matches!((&place, &self.home), (Place::Room(room), Some(home)) if room == home) {
            return Some(request);
        }
        if let Err(error) = self.forward(&place, frame).await {
            self.refuse(request.reply_to.as_deref(), &error);
        }
        self.observe().await;
        None
    }

    async fn admit_question(&self) -> std::result::Result<(), ClientError> {
        let quota = self.settings.ai_per_address;
        if quota.count == 0 {
            return Ok(());
        }
        let count = quota.count.to_string();
        match admit(&self.env, &self.from.address, &count).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(ms)) => Err(ClientError::rate_limited("AI requests from this address", ms)),
            Err(error) => {
                console_warn!("an address cannot be counted: {error}");
                Err(ClientError::unavailable())
            }
        }
    }

    async fn forward(self: &Rc<Self>, place: &Place, frame: &str) -> std::result::Result<(), ClientError> {
        let known = self.links.borrow_mut().get_mut(place).map(|link| {
            link.used_at = self.clock.now().0;
            link.socket.clone()
        });
        let socket = match known {
            Some(socket) => socket,
            None => {
                self.make_room_for(place)?;
                self.link(place).await.map_err(|error| {
                    console_warn!("an object cannot be reached: {error}");
                    ClientError::unavailable()
                })?
            }
        };
        socket.send_with_str(frame).map_err(|_| ClientError::unavailable())
    }

    async fn link(self: &Rc<Self>, place: &Place) -> Result<WebSocket> {
        let hello = Hello {
            socket: self.from.socket,
            is_direct: false,
            observes: *place == Place::Observed,
            user_agent: self.from.user_agent.clone(),
            address: None,
        };
        let socket = place.connect(&self.env, &hello).await?;
        socket.accept()?;
        let link = Link { socket: socket.clone(), used_at: self.clock.now().0 };
        self.links.borrow_mut().insert(place.clone(), link);
        let (gateway, place, inner) = (self.clone(), place.clone(), socket.clone());
        spawn_local(async move { gateway.pump(&place, &inner).await });
        Ok(socket)
    }

    /// What an object says goes to the client as it stands.
    async fn pump(&self, place: &Place, socket: &WebSocket) {
        let Ok(mut events) = socket.events() else {
            return self.lose(place);
        };
        while let Some(Ok(WebsocketEvent::Message(message))) = events.next().await {
            let is_late = *place == Place::Observed && !self.observes();
            if let Some(text) = message.text().filter(|_| !is_late) {
                let _ = self.client.send_with_str(text); // a client that is gone shows by its own close
                if let Some(link) = self.links.borrow_mut().get_mut(place) {
                    link.used_at = self.clock.now().0;
                }
            }
        }
        self.lose(place);
    }

    /// An object was reset (a new release, a crash). What the client had there is gone; a new connection resumes it.
    fn lose(&self, place: &Place) {
        let was_linked = self.links.borrow_mut().remove(place).is_some();
        if was_linked && !self.is_over.get() {
            self.close(RESTARTED, "reconnect");
        }
    }

    /// A client that asks in ever new conversations must not hold ever more sockets.
    fn make_room_for(&self, place: &Place) -> std::result::Result<(), ClientError> {
        let session = self.session.borrow();
        let is_loose = |place: &Place| match place {
            Place::Room(room) => !session.is_in(room),
            Place::Domain(domain) => !session.visits(domain),
            Place::Directory | Place::Observed => false,
        };
        let mut links = self.links.borrow_mut();
        let loose = links.iter().filter(|(place, _)| is_loose(place));
        if !is_loose(place) || loose.clone().count() < LOOSE_LINKS_MAX {
            return Ok(());
        }
        let oldest =
            loose.min_by_key(|(_, link)| link.used_at).map(|(place, link)| (place.clone(), link.used_at));
        match oldest {
            Some((place, used_at)) if self.clock.now().0 - used_at > LOOSE_LINK_REST_MS => {
                links.remove(&place).map(|link| link.socket.close(Some(1000), Some("unused")));
                Ok(())
            }
            _ => Err(ClientError::rate_limited("conversations at once on this connection", 1_000)),
        }
    }

    /// Ends everything that hangs on the connection; the objects learn how it ended.
    pub(crate) fn part(&self, how: Farewell) {
        self.is_over.set(true);
        let code = if how == Farewell::Clean { 1000 } else { DIED };
        for (_, link) in self.links.borrow_mut().drain() {
            let _ = link.socket.close(Some(code), Some("")); // one that is closed already is what we want
        }
    }

    fn close(&self, code: u16, reason: &str) {
        let _ = self.client.close(Some(code), Some(reason)); // likewise
        self.part(Farewell::Died);
    }

    fn refuse(&self, reply_to: Option<&str>, error: &ClientError) {
        self.reply(reply_to, &Event::error(error, self.clock.now()));
    }

    fn reply(&self, reply_to: Option<&str>, event: &Event) {
        let _ = self.client.send_with_str(encode(event, reply_to)); // a client that is gone shows by its own close
    }
}
