//! One client's connection where it is not at the end of its way: what is for elsewhere goes on over an inner socket
//! to each object that it concerns.
//!
//! The Worker holds one for every client of `/ws`; a room holds one for each client that came straight to it, for what
//! is not its own business.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use wasm_bindgen_futures::spawn_local;
use weeziq_core::access::identity::Identity;
use weeziq_core::fence::Sifted;
use weeziq_core::ids::{DomainId, RoomId, SocketId, VisitorId};
use weeziq_core::limits::FRAME_BYTES_MAX;
use weeziq_core::metrics::families;
use weeziq_core::protocol::command::{Command, Refusal, Request};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;
use weeziq_core::rooms::Farewell;
use weeziq_core::session::{Received, Session};
use weeziq_core::visitors::whence::Whence;
use worker::{Delay, Env, Result, WebSocket, WebsocketEvent, console_warn};

use crate::clock::{Clock, entropy, socket_id};
use crate::identity;
use crate::places::{Consultation, Hello, Place, admit_question, consult};
use crate::settings::Settings;
use crate::sockets::Seat;
use crate::{counts, encode};

pub(crate) struct Gateway {
    env: Env,
    settings: Rc<Settings>,
    client: WebSocket,
    from: Origin,
    home: Option<Home>,
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
    pub(crate) whence: Whence,
    /// The name of the object that counts its address.
    pub(crate) address: String,
}

/// The room that holds the socket, where one does.
pub(crate) struct Home {
    pub(crate) room: RoomId,
    pub(crate) seat: Rc<Seat>,
    /// Whether people are in charge of it.
    pub(crate) in_charge: Box<dyn Fn() -> bool>,
}

struct Link {
    socket: WebSocket,
    /// Tells it from one to the same place that is still closing.
    nonce: u64,
    used_at: i64,
}

/// What came from the client.
pub(crate) enum Frame {
    Text(String),
    Binary,
}

/// Links to rooms that the client has not joined: conversations, and rooms it only sends to. The next: `rate_limited`.
const LOOSE_LINKS_MAX: usize = 64;
/// A loose link that has been silent for so long is closed, if its object owes nothing. While a room holds one it
/// cannot sleep.
const LOOSE_LINK_REST_MS: i64 = 5_000;
/// A gateway asks whether it may go, and the object says so. Neither is JSON, so no client can say it.
pub(crate) const MAY_I_GO: &str = "?";
pub(crate) const GO: &str = "!";

/// What follows is who the client is from here on. No JSON either.
pub(crate) const IDENTITY: char = '=';

const TOO_BIG: u16 = 1009;
const POLICY: u16 = 1008;
/// RFC 6455's registry: the service restarts, come back at once.
pub(crate) const RESTARTED: u16 = 1012;
/// The client's token has expired.
pub(crate) const EXPIRED: u16 = 4401;
pub(crate) const EXPIRED_REASON: &str = "your token has expired; connect with a new one";
/// So long a token's end is waited for at once.
const EXPIRY_LOOK_EVERY_MS: i64 = 30_000;
/// Between our own objects: the client did not say goodbye.
pub(crate) const DIED: u16 = 4001;

impl Gateway {
    pub(crate) fn new(
        env: Env,
        settings: Rc<Settings>,
        client: WebSocket,
        from: Origin,
        session: Session,
        home: Option<Home>,
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

    /// A token that ends while nothing is said ends the connection too. A room looks after those that it holds by its alarm.
    pub(crate) fn watch_expiry(self: &Rc<Self>) {
        let gateway = self.clone();
        spawn_local(async move {
            loop {
                let expires_at = gateway.session.borrow().identity().expires_at();
                let (Some(at), false) = (expires_at, gateway.is_over()) else { return };
                let left = at.since(gateway.clock.now()).clamp(0, EXPIRY_LOOK_EVERY_MS);
                Delay::from(Duration::from_millis(left as u64)).await;
                let expired = gateway.session.borrow().expired(gateway.clock.now());
                if let Some(error) = expired.filter(|_| !gateway.is_over()) {
                    return gateway.expire(None, &error);
                }
            }
        });
    }

    fn expire(&self, reply_to: Option<&str>, error: &ClientError) {
        self.refuse(reply_to, error);
        self.close(EXPIRED, EXPIRED_REASON);
    }

    pub(crate) fn identity(&self) -> Identity {
        self.session.borrow().identity().clone()
    }

    /// It has shown a token: whatever hangs on the connection learns who it is.
    async fn tell_identity(self: &Rc<Self>) {
        let identity = self.identity();
        identity::note(&self.env, &identity).await;
        let word = format!("{IDENTITY}{}", serde_json::to_string(&identity).unwrap_or_default());
        for link in self.links.borrow().values() {
            let _ = link.socket.send_with_str(&word); // one that is closed shows by its close
        }
        match &self.home {
            Some(home) => home.seat.amend(|attached| attached.identity = identity),
            None => self.watch_expiry(),
        }
    }

    /// Whether it has introduced itself as a visitor or a customer.
    pub(crate) fn is_visitor(&self) -> bool {
        self.session.borrow().is_visitor()
    }

    /// Whom the connection speaks for.
    pub(crate) fn visits(&self) -> Vec<(DomainId, VisitorId)> {
        self.session.borrow().visits().to_vec()
    }

    /// Has the room at home remember whether anything that an eviction would cut hangs on this connection.
    fn note_links(&self) {
        let Some(home) = &self.home else { return };
        let is_elsewhere = !self.links.borrow().is_empty();
        if home.seat.attached().is_elsewhere != is_elsewhere {
            home.seat.amend(|attached| attached.is_elsewhere = is_elsewhere);
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    pub(crate) fn observes(&self) -> bool {
        self.session.borrow().observes()
    }

    /// Watches all domains as long as the connection has not introduced itself as a visitor. A room does that for the
    /// connections that it holds: a socket to the directory would keep it from sleeping.
    pub(crate) async fn observe(self: &Rc<Self>) {
        if self.home.is_some() {
            return;
        }
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
        if self.home.is_none()
            && let Some(telling) = counts::telling(&self.env)
        {
            spawn_local(telling);
        }
        match received {
            Received::Request(request) => {
                counts::one(&families::EVENTS, "kind", request.command.kind());
                self.dispatch(request, &text).await
            }
            Received::Expired(Refusal { reply_to, error }) => {
                self.expire(reply_to.as_deref(), &error);
                None
            }
            Received::Refused(Refusal { reply_to, error }) => {
                counts::one(&families::EVENTS_REFUSED, "code", error.code.as_str());
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
        let is_renewed = self.session.borrow_mut().take_renewed();
        if is_renewed {
            self.tell_identity().await;
        }
        let claimed = self.identity().claimed(&request.command).cloned();
        if let Err(error) = identity::refuse(&self.env, claimed.as_ref()).await {
            self.refuse(request.reply_to.as_deref(), &error);
            return None;
        }
        let place = match &request.command {
            Command::Ping => {
                self.reply(request.reply_to.as_deref(), &Event::Pong);
                return None;
            }
            Command::Room(room, _) | Command::Desk(room, ..) => Place::Room(room.clone()),
            Command::Visitors(domain, _) => Place::Domain(domain.clone()),
            // No event asks for a search.
            Command::Search(query) => Place::Domain(query.domain.clone()),
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
        if matches!((&place, &self.home), (Place::Room(room), Some(home)) if *room == home.room) {
            return Some(request);
        }
        let done = match (&place, &self.home) {
            (Place::Domain(_) | Place::Directory, Some(home)) => {
                self.consult(&place, &home.room, frame).await
            }
            _ => self.forward(&place, frame).await,
        };
        if let Err(error) = done {
            self.refuse(request.reply_to.as_deref(), &error);
        }
        self.observe().await;
        None
    }

    async fn admit_question(&self) -> std::result::Result<(), ClientError> {
        let identity = self.identity();
        let admitted = admit_question(&self.env, &self.settings, &self.from.address, &identity).await;
        admitted.unwrap_or_else(|error| {
            console_warn!("an address cannot be counted: {error}");
            Err(ClientError::unavailable())
        })
    }

    /// One question to a domain or the directory, in so many words: a socket would keep the room at home from sleeping.
    async fn consult(
        &self,
        place: &Place,
        home: &RoomId,
        frame: &str,
    ) -> std::result::Result<(), ClientError> {
        let question = Consultation {
            socket: self.from.socket,
            user_agent: self.from.user_agent.clone(),
            whence: self.from.whence.clone(),
            room: home.as_str().into(),
            frame: frame.into(),
            identity: self.identity(),
        };
        let replies = consult(&self.env, place, &question).await.map_err(|error| {
            console_warn!("an object cannot be reached: {error}");
            ClientError::unavailable()
        })?;
        replies.iter().for_each(|reply| drop(self.client.send_with_str(reply)));
        Ok(())
    }

    async fn forward(self: &Rc<Self>, place: &Place, frame: &str) -> std::result::Result<(), ClientError> {
        if !self.links.borrow().contains_key(place) {
            self.may_link(place)?;
            self.link(place).await.map_err(|error| {
                console_warn!("an object cannot be reached: {error}");
                ClientError::unavailable()
            })?;
        }
        let mut links = self.links.borrow_mut();
        let link = links.get_mut(place).ok_or_else(ClientError::unavailable)?;
        link.used_at = self.clock.now().0;
        let sent = link.socket.send_with_str(frame).map_err(|_| ClientError::unavailable());
        drop(links);
        self.note_links();
        sent
    }

    async fn link(self: &Rc<Self>, place: &Place) -> Result<()> {
        // Of two sockets under one name an object keeps the later: whoever watches may have questions too.
        let socket = if *place == Place::Observed { socket_id() } else { self.from.socket };
        let hello = Hello {
            socket,
            nonce: entropy(),
            is_direct: false,
            observes: *place == Place::Observed,
            user_agent: self.from.user_agent.clone(),
            whence: self.from.whence.clone(),
            address: None,
            identity: self.identity(),
        };
        let socket = place.connect(&self.env, &hello).await?;
        socket.accept()?;
        let link = Link { socket: socket.clone(), nonce: hello.nonce, used_at: self.clock.now().0 };
        self.links.borrow_mut().insert(place.clone(), link);
        let (gateway, linked, nonce) = (self.clone(), place.clone(), hello.nonce);
        spawn_local(async move { gateway.pump(&linked, nonce, &socket).await });
        let (gateway, linked) = (self.clone(), place.clone());
        spawn_local(async move { gateway.offer_to_go(&linked, nonce).await });
        Ok(())
    }

    /// For as long as the link lives: whenever it is loose and silent, its object is asked whether that is all.
    async fn offer_to_go(&self, place: &Place, nonce: u64) {
        loop {
            Delay::from(Duration::from_millis(LOOSE_LINK_REST_MS as u64)).await;
            let links = self.links.borrow();
            let Some(link) = links.get(place).filter(|link| link.nonce == nonce) else { return };
            let rests_since = self.clock.now().0 - link.used_at;
            if rests_since >= LOOSE_LINK_REST_MS && self.is_loose(place) {
                let _ = link.socket.send_with_str(MAY_I_GO); // one that is closed shows by its close
            }
        }
    }

    /// The object owes nothing; nothing may have been asked of it since.
    fn unlink(&self, place: &Place, nonce: u64) {
        let now = self.clock.now().0;
        let is_unused = |link: &mut Link| link.nonce == nonce && now - link.used_at >= LOOSE_LINK_REST_MS;
        let is_loose = self.is_loose(place);
        let mut links = self.links.borrow_mut();
        if is_loose && links.get_mut(place).is_some_and(is_unused) {
            links.remove(place).map(|link| link.socket.close(Some(1000), Some("unused")));
            drop(links);
            self.note_links();
        }
    }

    /// What an object says goes to the client as it stands.
    async fn pump(&self, place: &Place, nonce: u64, socket: &WebSocket) {
        let Ok(mut events) = socket.events() else {
            return self.lose(place, nonce);
        };
        while let Some(Ok(WebsocketEvent::Message(message))) = events.next().await {
            let is_late = *place == Place::Observed && !self.observes();
            match message.text().filter(|_| !is_late) {
                Some(text) if text == GO => self.unlink(place, nonce),
                Some(text) => {
                    self.pass_on(&text);
                    if let Some(link) = self.links.borrow_mut().get_mut(place) {
                        link.used_at = self.clock.now().0;
                    }
                }
                None => {}
            }
        }
        self.lose(place, nonce);
    }

    /// As it stands, unless people have taken over since it was said.
    fn pass_on(&self, frame: &str) {
        let home = self.home.as_ref().filter(|_| frame.starts_with(r#"{"type":"ai-stream-"#));
        let at_home = home.map(|home| (&home.room, (home.in_charge)()));
        let fence = &mut self.session.borrow_mut().fence;
        if let Some((room, in_charge)) = at_home {
            fence.note(room, in_charge);
        }
        let _ = match fence.sift(frame) {
            Sifted::Told => self.client.send_with_str(frame),
            Sifted::Amended(frame) => self.client.send_with_str(frame),
            Sifted::Kept => Ok(()),
        }; // a client that is gone shows by its own close
    }

    /// An object was reset (a new release, a crash). What the client had there is gone; a new connection resumes it.
    fn lose(&self, place: &Place, nonce: u64) {
        let is_lost = self.links.borrow().get(place).is_some_and(|link| link.nonce == nonce);
        if is_lost && !self.is_over.get() {
            self.links.borrow_mut().remove(place);
            self.close(RESTARTED, "reconnect");
        }
    }

    /// Whether the place is linked only for as long as an answer takes.
    fn is_loose(&self, place: &Place) -> bool {
        let session = self.session.borrow();
        match place {
            Place::Room(room) => !session.is_in(room),
            Place::Domain(domain) => !session.is_on(domain),
            Place::Directory | Place::Observed | Place::Registry => false,
        }
    }

    /// A client that asks in ever new conversations must not hold ever more sockets.
    fn may_link(&self, place: &Place) -> std::result::Result<(), ClientError> {
        let loose = self.links.borrow().keys().filter(|place| self.is_loose(place)).count();
        match self.is_loose(place) && loose >= LOOSE_LINKS_MAX {
            true => Err(ClientError::rate_limited(
                "rooms and conversations at once that this connection has not joined",
                LOOSE_LINK_REST_MS as u64,
            )),
            false => Ok(()),
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
        let why = match code {
            POLICY => "policy",
            TOO_BIG => "too-big",
            EXPIRED => "expired",
            _ => "restarted",
        };
        counts::one(&families::CONNECTIONS_CLOSED, "reason", why);
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
