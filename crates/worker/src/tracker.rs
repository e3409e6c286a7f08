//! `VisitorTracker`: the visitors of one domain, or, by its name, the directory of all domains or the counter of one
//! address.

mod address;
mod claims;
mod counted;
mod directory;
mod registry;
mod retention;
mod salt;
mod search;
pub(crate) mod site;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_util::StreamExt;
use weeziq_core::access::identity::Identity;
use weeziq_core::ids::{ConnId, DomainId, RoomId, VisitorId};
use weeziq_core::inbox::RoomsQuery;
use weeziq_core::metrics::families;
use weeziq_core::protocol::command::{Command, Request as Asked, VisitorsCommand, body};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;
use weeziq_core::protocol::http;
use weeziq_core::store::{self, register};
use weeziq_core::time::UnixMs;
use weeziq_core::visitors::reports::ReportQuery;
use weeziq_core::visitors::whence::Whence;
use weeziq_core::visitors::{Via, Visitors, VisitorsInput};
use weeziq_core::{Caller, Context, Output};
use worker::{
    DurableObject, Env, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage, console_error,
    console_warn, durable_object,
};

use self::claims::Claim;
use crate::alarms::Alarms;
use crate::clock::{Clock, conn_of, entropy, socket_id};
use crate::enrolment::Enrolment;
use crate::gateway::{GO, IDENTITY, MAY_I_GO};
use crate::outbox::{Item, Numbers, Outbox, TRY_AGAIN, Word};
use crate::places::{Consultation, Place, Role};
use crate::reply::{self, hello_of};
use crate::room::asked_as;
use crate::settings::Settings;
use crate::sockets::{Seat, Seats, answer_pings, close_back};
use crate::store::{Failed, Store, transact};
use crate::{counts, encode};

#[durable_object]
pub struct VisitorTracker {
    tracker: Rc<Tracker>,
}

// What a panic leaves behind is dropped: a domain is out of its cell while it works.
impl std::panic::UnwindSafe for VisitorTracker {}
impl std::panic::RefUnwindSafe for VisitorTracker {}

struct Tracker {
    state: Rc<State>,
    env: Env,
    role: Option<Role>,
    settings: std::result::Result<Rc<Settings>, String>,
    clock: Clock,
    seats: Seats,
    visitors: RefCell<Option<Visitors>>,
    /// Over HTTP, and from rooms for connections that they hold.
    requests: RefCell<HashMap<ConnId, UnboundedSender<Reply>>>,
    alarms: Alarms,
    enrolment: Rc<Enrolment>,
    /// Whether the rooms that hold connections of visitors have been asked for them in this life of the object.
    has_asked_holders: Cell<bool>,
    /// Whether the tables of copied logs are there.
    has_copies: Cell<bool>,
    outbox: Rc<Outbox>,
    /// What the directory was last told: active now, ever.
    told: Cell<Option<(usize, u64)>>,
    site: site::Site,
}

type Reply = (Option<Box<str>>, Event);

/// What one turn is about.
#[derive(Default)]
struct Inputs {
    all: Vec<VisitorsInput>,
    caller: Option<Caller>,
    /// The room that holds the connection which they come from, where one does.
    room: Option<String>,
}

impl Inputs {
    fn one(input: VisitorsInput) -> Self {
        Self { all: vec![input], ..Self::default() }
    }
}

/// While a visitor is here the object looks this often whether they still are: a reset tells nobody.
const PRESENCE_CHECK_EVERY_MS: i64 = 60_000;

impl DurableObject for VisitorTracker {
    fn new(state: State, env: Env) -> Self {
        answer_pings(&state);
        let settings = Settings::read(&env).map(Rc::new);
        let tracker = Tracker {
            role: state.id().name().as_deref().and_then(Role::of),
            seats: Seats::of(&state),
            state: Rc::new(state),
            env,
            settings,
            clock: Clock::default(),
            visitors: RefCell::default(),
            requests: RefCell::default(),
            alarms: Alarms::default(),
            enrolment: Rc::default(),
            has_asked_holders: Cell::new(false),
            has_copies: Cell::new(false),
            outbox: Rc::default(),
            told: Cell::new(None),
            site: site::Site::default(),
        };
        Self { tracker: Rc::new(tracker) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let tracker = &self.tracker;
        tracker.tell_counts();
        let path = request.path();
        if let Some(Role::Domain(domain)) = tracker.role.as_ref().filter(|_| path != "/load") {
            tracker.enrol(domain);
        }
        match (path.as_str(), &tracker.role) {
            ("/connect", _) => Ok(tracker.seats.accept(&tracker.state, hello_of(&request)?)?.1),
            ("/admit", Some(Role::Address)) => tracker.admit(request).await,
            ("/origins", Some(Role::Directory)) => tracker.list_origins(request).await,
            ("/counted", Some(Role::Directory)) => tracker.add_counted(request).await,
            ("/metrics", Some(Role::Directory)) => tracker.tell_counted(),
            ("/words", Some(Role::Registry)) => tracker.hear_holders(request).await,
            ("/parts", Some(Role::Registry)) => tracker.list_parts(request).await,
            ("/holders", Some(Role::Registry)) => tracker.list_holders(request).await,
            ("/dump", Some(Role::Domain(domain))) => tracker.dump(domain, request).await,
            ("/load", Some(Role::Domain(domain))) => tracker.load(domain, request).await,
            ("/words", Some(Role::Directory)) => tracker.hear(request).await,
            ("/words", Some(Role::Domain(domain))) => tracker.hear_partings(domain, request).await,
            ("/consult", Some(Role::Domain(domain))) => tracker.consult(domain, request).await,
            ("/consult", Some(Role::Directory)) => tracker.consult_directory(request).await,
            ("/domains", Some(Role::Directory)) => {
                let url = request.url()?;
                let (_, asker) = asked_as(url.query().unwrap_or_default())?;
                reply::body(tracker.all_domains(&asker)?)
            }
            ("/search", Some(Role::Domain(_))) => tracker.search(request).await,
            ("/ready", Some(Role::Directory)) => tracker.ready(),
            ("/salt", Some(Role::Directory)) => tracker.salt().await,
            (path, Some(Role::Domain(domain))) => {
                if let Some(kind) = path.strip_prefix("/visitors/") {
                    tracker.answer_request(domain, kind, request).await
                } else if let Some(what) = path.strip_prefix("/site/") {
                    tracker.answer_site(domain, what, request).await
                } else {
                    Response::error("there is nothing here", 404)
                }
            }
            _ => Response::error("there is nothing here", 404),
        }
    }

    async fn websocket_message(&self, socket: WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
        let tracker = &self.tracker;
        tracker.tell_counts();
        if let (Some(seat), WebSocketIncomingMessage::String(text)) = (tracker.seats.at(&socket), message) {
            if text == MAY_I_GO {
                tracker.in_turn(move || seat.send(GO));
            } else if let Some(identity) = text.strip_prefix(IDENTITY) {
                seat.take_identity(identity);
            } else if let Ok(request) = Asked::parse_from(&text, None, &seat.attached().whence) {
                tracker.take(&seat, request);
            }
        }
        Ok(())
    }

    async fn websocket_close(&self, socket: WebSocket, code: usize, _: String, _: bool) -> Result<()> {
        self.tracker.end(&socket);
        close_back(&socket, code);
        Ok(())
    }

    async fn websocket_error(&self, socket: WebSocket, _: worker::Error) -> Result<()> {
        self.tracker.end(&socket);
        close_back(&socket, 1006);
        Ok(())
    }

    async fn alarm(&self) -> Result<Response> {
        let tracker = &self.tracker;
        tracker.tell_counts();
        tracker.alarms.fired();
        match &tracker.role {
            Some(Role::Domain(domain)) => {
                tracker.tell(domain, Inputs::one(VisitorsInput::Alarm));
                tracker.retain_if_due(domain).await;
            }
            Some(Role::Address) => tracker.forget_address().await?,
            Some(Role::Directory) => tracker.forget_salt().await?,
            Some(Role::Registry) | None => {}
        }
        Response::empty()
    }
}

impl Tracker {
    fn take(self: &Rc<Self>, seat: &Seat, request: Asked) {
        let known = seat.attached();
        let from = Caller {
            conn: seat.conn,
            socket: known.socket,
            reply_to: request.reply_to,
            identity: known.identity,
        };
        match (request.command, &self.role) {
            (Command::Visitors(_, command), Some(Role::Domain(domain))) => {
                let via = Via::Connection { user_agent: known.user_agent.map(Arc::from) };
                let caller = from.clone();
                let input = VisitorsInput::Command { from, via, command };
                self.tell(domain, Inputs { caller: Some(caller), ..Inputs::one(input) });
            }
            (Command::AllDomainStats, Some(Role::Directory)) => {
                let event = self.all_domains(&from.identity).unwrap_or_else(|error| {
                    console_error!("the directory cannot be read: {error}");
                    Event::error(&ClientError::unavailable(), self.clock.now())
                });
                seat.send(&encode(&event, from.reply_to.as_deref()));
            }
            _ => {}
        }
    }

    async fn answer_request(
        self: &Rc<Self>,
        domain: &DomainId,
        kind: &str,
        mut request: Request,
    ) -> Result<Response> {
        let command = match kind {
            "stats" => VisitorsCommand::Stats,
            "rooms" => match RoomsQuery::parse(&request.text().await?) {
                Ok(query) => VisitorsCommand::Rooms(Box::new(query)),
                Err(error) => return reply::refusal(&error),
            },
            "series" | "pages" | "dropped" => match ReportQuery::parse(kind, &request.text().await?) {
                Ok(query) => VisitorsCommand::Report(Box::new(query)),
                Err(error) => return reply::refusal(&error),
            },
            "complete" => {
                let (room, reader) = serde_json::from_str(&request.text().await?)?;
                VisitorsCommand::Complete { room, reader }
            }
            "erase" | "know" => match (kind, VisitorId::parse(&request.text().await?)) {
                ("erase", Some(visitor)) => VisitorsCommand::Erase { visitor },
                (_, Some(visitor)) => VisitorsCommand::Know { visitor },
                (_, None) => return Response::error("this is no visitor", 400),
            },
            "unlist" => {
                let room = RoomId::known(&request.text().await?);
                self.forget_copy(&room)?;
                let forgotten = room.clone();
                self.in_register(move |sql| register::forget(sql, &forgotten))?;
                VisitorsCommand::Unlist(room)
            }
            "conversations" => {
                let Some(visitor) = VisitorId::parse(&request.text().await?) else {
                    return Response::error("this is no visitor", 400);
                };
                let begun = self.in_register(move |sql| register::of_visitor(sql, &visitor))?;
                return Response::ok(serde_json::to_string(&begun)?);
            }
            "rooms-of" => {
                let rooms = self.rooms_of(request.text().await?)?;
                return Response::ok(serde_json::to_string(&rooms)?);
            }
            "uncopy" => {
                self.forget_copy(&RoomId::known(&request.text().await?))?;
                return Response::ok("{}");
            }
            "keep" => {
                self.keep_as_set(domain).await?;
                return Response::ok("");
            }
            kind => {
                let (whence, text): (Whence, String) = serde_json::from_str(&request.text().await?)?;
                match body::visitors(kind, &text, &whence) {
                    Ok((_, command)) => command,
                    Err(error) => return reply::refusal(&error),
                }
            }
        };
        match self.answer(domain, command).await {
            Some(event) => reply::body(event),
            None => reply::refusal(&ClientError::unavailable()),
        }
    }

    /// The last that is said to whoever asks.
    async fn answer(self: &Rc<Self>, domain: &DomainId, command: VisitorsCommand) -> Option<Event> {
        let socket = socket_id();
        let from = Caller { conn: conn_of(socket), socket, reply_to: None, identity: Identity::Open };
        let input = VisitorsInput::Command { from: from.clone(), via: Via::Request, command };
        let mut replies = self.replies_to(domain, Inputs { caller: Some(from), ..Inputs::one(input) }).await;
        replies.pop().map(|(_, event)| event)
    }

    /// As `GET /rooms` has it.
    async fn list_rooms(self: &Rc<Self>, domain: &DomainId, query: &str) -> Result<serde_json::Value> {
        let failed = |error: ClientError| worker::Error::RustError(error.message.into_owned());
        let query = RoomsQuery::parse(query).map_err(failed)?;
        let listed = self.answer(domain, VisitorsCommand::Rooms(Box::new(query))).await;
        http::body(listed.ok_or_else(|| failed(ClientError::unavailable()))?).map_err(failed)
    }

    /// From a connection that a room holds.
    async fn consult(self: &Rc<Self>, domain: &DomainId, mut request: Request) -> Result<Response> {
        let asked: Consultation = serde_json::from_str(&request.text().await?)?;
        let Ok(Asked { reply_to, command: Command::Visitors(_, command) }) =
            Asked::parse_from(&asked.frame, None, &asked.whence)
        else {
            return Response::error("this is not for a domain", 400);
        };
        let from =
            Caller { conn: conn_of(asked.socket), socket: asked.socket, reply_to, identity: asked.identity };
        let via = Via::Connection { user_agent: asked.user_agent.map(Arc::from) };
        let input = VisitorsInput::Command { from: from.clone(), via, command };
        let inputs = Inputs { all: vec![input], caller: Some(from), room: Some(asked.room) };
        let replies = self.replies_to(domain, inputs).await;
        let frames: Vec<String> =
            replies.iter().map(|(reply_to, event)| encode(event, reply_to.as_deref())).collect();
        Response::ok(serde_json::to_string(&frames)?)
    }

    /// All that a turn says to its caller.
    async fn replies_to(self: &Rc<Self>, domain: &DomainId, inputs: Inputs) -> Vec<Reply> {
        let Some(conn) = inputs.caller.as_ref().map(|caller| caller.conn) else { return Vec::new() };
        let (sender, replies) = unbounded();
        self.requests.borrow_mut().insert(conn, sender);
        self.tell(domain, inputs);
        let tracker = self.clone();
        self.in_turn(move || drop(tracker.requests.borrow_mut().remove(&conn)));
        replies.collect().await
    }

    async fn hear_partings(self: &Rc<Self>, domain: &DomainId, mut request: Request) -> Result<Response> {
        let words: Vec<Word> = serde_json::from_str(&request.text().await?)?;
        for (taken, word) in words.into_iter().enumerate() {
            match word {
                Word::Parted { socket } => self.part(domain, conn_of(socket)),
                Word::Spent(spent) => {
                    if !self.settle(domain, &spent) {
                        return Response::error(taken.to_string(), TRY_AGAIN);
                    }
                }
                Word::Listed { listing, log } => {
                    let copied = self.copy_log(domain, &listing, log).await;
                    if !copied || !self.tell(domain, Inputs::one(VisitorsInput::Listed(listing))) {
                        return Response::error(taken.to_string(), TRY_AGAIN);
                    }
                }
                Word::Post(_)
                | Word::Silence { .. }
                | Word::Overheard { .. }
                | Word::Observed { .. }
                | Word::Numbers(_)
                | Word::Enrolled { .. }
                | Word::TookPart { .. }
                | Word::Watch { .. } => {}
            }
        }
        Response::ok("")
    }

    fn end(self: &Rc<Self>, socket: &WebSocket) {
        let Some(seat) = self.seats.at(socket) else { return };
        let Some(Role::Domain(domain)) = &self.role else {
            self.seats.remove(seat.conn);
            return;
        };
        if self.seats.remove(seat.conn) {
            self.part(domain, seat.conn);
        }
    }

    fn part(self: &Rc<Self>, domain: &DomainId, conn: ConnId) {
        let claimed = claims::all(&mut Store::new(&self.state.storage())).unwrap_or_default();
        let own = claimed.into_iter().filter(|claim| claim.conn == conn);
        let parting = |Claim { conn, visitor, .. }| VisitorsInput::Disconnected { conn, visitor };
        let all: Vec<_> = own.map(parting).collect();
        if !all.is_empty() {
            self.tell(domain, Inputs { all, ..Inputs::default() });
        }
    }

    /// One turn of the domain. True if what it did is stored.
    fn tell(self: &Rc<Self>, domain: &DomainId, inputs: Inputs) -> bool {
        let caller = inputs.caller.clone();
        match self.turn(domain, inputs) {
            Ok(outputs) => {
                self.carry_out(domain, outputs);
                true
            }
            Err(failed) => {
                console_error!("a turn failed and was taken back: {failed}");
                let error = match failed {
                    Failed::Storage(_) => ClientError::unavailable(),
                    Failed::Panic(_) => ClientError::internal(),
                };
                if let Some(caller) = caller {
                    self.reply(
                        caller.conn,
                        caller.reply_to.as_deref(),
                        Event::error(&error, self.clock.now()),
                    );
                }
                false
            }
        }
    }

    fn check_presence(self: &Rc<Self>, domain: &DomainId) {
        self.wake_at(domain, self.clock.now().plus(PRESENCE_CHECK_EVERY_MS));
        if !self.has_asked_holders.replace(true) {
            self.state.wait_until(self.clone().ask_holders(domain.clone()));
        }
    }

    fn turn(self: &Rc<Self>, domain: &DomainId, inputs: Inputs) -> std::result::Result<Vec<Output>, Failed> {
        let settings = self.settings.clone().map_err(Failed::Panic)?;
        let checked = domain.clone();
        let (domain, now, entropy) = (domain.clone(), self.clock.now(), entropy());
        let visitors = self.visitors.borrow_mut().take();
        let here: Vec<ConnId> = self.seats.all().into_iter().map(|seat| seat.conn).collect();
        let (visitors, outputs) = transact(&self.state.storage(), move |sql| {
            let cx = Context { now, entropy, policy: &settings.policy };
            let mut visitors = match visitors {
                Some(visitors) => visitors,
                None => {
                    store::open(sql, &[store::Part::Visitors])?;
                    claims::open(sql)?;
                    Visitors::open(domain, claims::living(sql, &here)?, now, sql)?
                }
            };
            let mut outputs = Vec::new();
            for input in inputs.all {
                claims::note(sql, &input, inputs.room.as_deref())?;
                visitors.handle(cx, input, sql, &mut outputs)?;
            }
            Ok((visitors, outputs))
        })?;
        if !visitors.is_idle() {
            self.check_presence(&checked);
        }
        *self.visitors.borrow_mut() = Some(visitors);
        Ok(outputs)
    }

    /// The directory first, so that whoever has heard of a change finds it there too; then those who asked.
    fn carry_out(self: &Rc<Self>, domain: &DomainId, outputs: Vec<Output>) {
        let mut replies = Vec::new();
        for output in outputs {
            match output {
                Output::Reply { to, reply_to, event } => replies.push((to, reply_to, event)),
                Output::TellObservers { domain, event } => {
                    self.say(Word::Observed { frame: encode(&event, None), domain });
                }
                Output::WakeAt(at) => self.wake_at(domain, at),
                Output::List(_)
                | Output::Publish { .. }
                | Output::Admit { .. }
                | Output::Dismiss { .. }
                | Output::AskModel { .. }
                | Output::CancelModel { .. }
                | Output::Spend(_)
                | Output::Said { .. }
                | Output::Relay { .. } => {}
            }
        }
        let summary = self.visitors.borrow().as_ref().map(Visitors::summary);
        // To be asked about makes no site of a name.
        if let Some(summary) = summary.filter(|summary| summary.total_visitors > 0)
            && self.told.get() != Some((summary.active_visitors, summary.total_visitors))
        {
            self.told.set(Some((summary.active_visitors, summary.total_visitors)));
            self.say(Word::Numbers(Numbers {
                domain: domain.clone(),
                active: summary.active_visitors,
                total: summary.total_visitors,
                updated_at: summary.last_updated.0,
            }));
        }
        let tracker = self.clone();
        let reply_all = move || {
            for (to, reply_to, event) in replies {
                tracker.reply(to, reply_to.as_deref(), event);
            }
        };
        self.in_turn(reply_all);
    }

    /// After whatever has to reach the directory first.
    fn in_turn(&self, act: impl FnOnce() + 'static) {
        if self.outbox.is_empty() {
            return act();
        }
        self.outbox.push(Item { word: None, then: Box::new(move |_| act()) });
        self.send();
    }

    fn tell_counts(&self) {
        if let Some(telling) = counts::telling(&self.env) {
            self.state.wait_until(telling);
        }
    }

    fn send(&self) {
        if !self.outbox.is_empty() {
            self.state.wait_until(self.outbox.clone().drain(self.env.clone()));
        }
    }

    fn say(self: &Rc<Self>, word: Word) {
        let tracker = self.clone();
        // A directory that could not be told is told with the next change.
        let then = Box::new(move |delivered| {
            if delivered == crate::outbox::Delivered::GivenUp {
                tracker.told.set(None);
            }
        });
        self.outbox.push(Item { word: Some((Place::Directory, word)), then });
    }

    fn reply(&self, to: ConnId, reply_to: Option<&str>, event: Event) {
        counts::add(&families::REPLIES, &[], 1);
        if let Some(request) = self.requests.borrow().get(&to) {
            let _ = request.unbounded_send((reply_to.map(Into::into), event)); // a reader that is gone needs no answer
        } else if let Some(seat) = self.seats.get(to) {
            seat.send(&encode(&event, reply_to));
        }
    }

    fn wake_at(self: &Rc<Self>, domain: &DomainId, at: UnixMs) {
        let (tracker, domain) = (self.clone(), domain.clone());
        let soon = move || {
            tracker.tell(&domain, Inputs::one(VisitorsInput::Alarm));
        };
        self.alarms.wake_at(&self.state, self.clock.now(), at, soon);
    }

    /// Rooms that hold connections of visitors may have been reset with them, while nobody told this object.
    async fn ask_holders(self: Rc<Self>, domain: DomainId) {
        let claimed = claims::all(&mut Store::new(&self.state.storage())).unwrap_or_default();
        let mut held: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for Claim { conn, room, .. } in claimed {
            if let Some(room) = room {
                held.entry(room).or_default().push(conn.0);
            }
        }
        for (room, conns) in held {
            let place = Place::Room(RoomId::known(&room));
            let asked = serde_json::to_string(&conns).unwrap_or_default();
            let answer = match place.post(&self.env, "/missing", &asked).await {
                Ok(mut response) => response.text().await,
                Err(error) => Err(error),
            };
            match answer.map(|text| serde_json::from_str::<Vec<u64>>(&text)) {
                Ok(Ok(missing)) => missing.into_iter().for_each(|conn| self.part(&domain, ConnId(conn))),
                _ => console_warn!("a room cannot be asked whom it holds"),
            }
        }
    }
}
