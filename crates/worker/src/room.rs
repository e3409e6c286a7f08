//! The object of one room: platform callbacks become inputs of the core's [`Room`], its outputs platform calls.
//!
//! The platform may drop its memory at any time while the sockets stay open. What it wakes from is its rows and its
//! sockets' attachments; nothing else that it holds is more than a cache.

mod asked;
mod desk;
mod doors;
mod files;
mod parts;
mod words;

pub(crate) use asked::{EVENTS, TEXT, UI_MESSAGES, WHOLE, asked_as, query};
pub(crate) use desk::AtDesk;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use doors::Doors;
use futures_channel::mpsc::UnboundedSender;
use futures_util::future::{AbortHandle, abortable};
use weeziq_core::access::token::expired;
use weeziq_core::ai::model::ModelRequest;
use weeziq_core::ids::{ConnId, RoomId, RunId, Seq, UserId};
use weeziq_core::inbox::Listing;
use weeziq_core::metrics::families;
use weeziq_core::protocol::command::{Ask, Command, Join, Refusal, Request as Asked, RoomCommand};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;
use weeziq_core::rooms::{Farewell, Room, RoomInput};
use weeziq_core::store;
use weeziq_core::time::UnixMs;
use weeziq_core::{Caller, Context, Output};
use worker::{
    DurableObject, Env, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage, console_error,
    durable_object,
};

use crate::ai;
use crate::alarms::Alarms;
use crate::archive::{Holder, Left, Loaded, dump, load};
use crate::clock::{Clock, entropy};
use crate::domains::brief;
use crate::enrolment::Enrolment;
use crate::gateway::{DIED, EXPIRED, EXPIRED_REASON, Frame, GO, IDENTITY, MAY_I_GO, RESTARTED};
use crate::outbox::{Outbox, Word};
use crate::places::{Hello, Place};
use crate::reply::{self, hello_of};
use crate::settings::Settings;
use crate::sockets::{Seat, Seats, answer_pings, close_back};
use crate::store::{Failed, transact};
use crate::turn::Turn;
use crate::{counts, encode};

#[durable_object]
pub struct ChatRoom {
    chat: Rc<Chat>,
}

// What a panic leaves behind is dropped: a room is out of its cell while it works.
impl std::panic::UnwindSafe for ChatRoom {}
impl std::panic::RefUnwindSafe for ChatRoom {}

struct Chat {
    state: Rc<State>,
    env: Env,
    id: RoomId,
    settings: std::result::Result<Rc<Settings>, String>,
    clock: Clock,
    seats: Seats,
    room: RefCell<Option<Room>>,
    /// Of clients that came straight to this room.
    doors: Doors,
    /// Questions over HTTP.
    requests: RefCell<HashMap<ConnId, UnboundedSender<Event>>>,
    /// Questions whose domain's settings are still to be read.
    questions: RefCell<VecDeque<(Caller, Ask)>>,
    is_reading_settings: Cell<bool>,
    /// Answers that are being written.
    runs: RefCell<HashMap<RunId, AbortHandle>>,
    alarms: Alarms,
    enrolment: Rc<Enrolment>,
    /// Whom this life of the object has looked at.
    parts: RefCell<HashSet<UserId>>,
    outbox: Rc<Outbox>,
    /// How the room stands, until its domain has it.
    unlisted: RefCell<Option<Box<Listing>>>,
    /// Up to which place of the log its domain has heard it, as far as this life knows.
    log_told: Cell<Option<Seq>>,
    /// To ask whether there are files takes a read of the whole schema, which is billed, so it is asked once.
    is_without_files: Cell<bool>,
    is_awake: Cell<bool>,
}

/// While an answer is written, or a failed turn is to be made good, the object is woken this often, even by a platform
/// that has restarted meanwhile.
const RUN_CHECK_EVERY_MS: i64 = 10_000;
const FAILED_RETRY_MS: i64 = 1_000;
/// A word that has not been taken by then is said again.
const OUTBOX_RETRY_MS: i64 = 30_000;

impl DurableObject for ChatRoom {
    fn new(state: State, env: Env) -> Self {
        answer_pings(&state);
        let name = state.id().name();
        let has_name = || name.clone().ok_or("an object does not know its name; that is a defect".to_owned());
        let settings = has_name().and_then(|_| Settings::read(&env)).map(Rc::new);
        let chat = Chat {
            id: RoomId::known(name.as_deref().unwrap_or_default()),
            seats: Seats::of(&state),
            state: Rc::new(state),
            env,
            settings,
            clock: Clock::default(),
            room: RefCell::default(),
            doors: Doors::default(),
            requests: RefCell::default(),
            questions: RefCell::default(),
            is_reading_settings: Cell::new(false),
            runs: RefCell::default(),
            alarms: Alarms::default(),
            enrolment: Rc::default(),
            parts: RefCell::default(),
            outbox: Rc::default(),
            unlisted: RefCell::default(),
            log_told: Cell::new(None),
            is_without_files: Cell::new(false),
            is_awake: Cell::new(false),
        };
        Self { chat: Rc::new(chat) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let chat = &self.chat;
        match request.path().as_str() {
            "/dump" => return dump(&chat.state.storage(), request, (Left::Nothing, true, None)).await,
            "/load" => return chat.load(request).await,
            _ => chat.wake(),
        }
        match request.path().as_str() {
            "/connect" => chat.connect(hello_of(&request)?),
            "/words" => chat.hear(request).await,
            "/missing" => chat.missing(request).await,
            "/ask" => chat.answer_request(request).await,
            "/files" => chat.hear_of_file(request).await,
            "/resume" => chat.resume_request(&request).await,
            "/cancel" => chat.cancel_request(&request).await,
            "/desk" => chat.answer_desk(request).await,
            "/log" => chat.tell_log(request).await,
            "/relist" => chat.relist().await,
            #[cfg(feature = "panic-route")]
            "/panic" => panic!("asked to"),
            _ => Response::error("there is nothing here", 404),
        }
    }

    async fn websocket_message(&self, socket: WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
        let chat = &self.chat;
        chat.wake();
        chat.tell_counts();
        let Some(seat) = chat.seats.at(&socket) else {
            return socket.close(Some(RESTARTED), Some("reconnect"));
        };
        let frame = match message {
            WebSocketIncomingMessage::String(text) => Frame::Text(text),
            WebSocketIncomingMessage::Binary(_) => Frame::Binary,
        };
        if seat.is_direct() {
            chat.receive(&seat, doors::Arrival::Frame(frame)).await;
        } else if let Frame::Text(text) = frame {
            match text.as_str() {
                MAY_I_GO => chat.let_go(&seat),
                text => match text.strip_prefix(IDENTITY) {
                    Some(identity) => seat.take_identity(identity),
                    None => chat.take(&seat, text),
                },
            }
        }
        Ok(())
    }

    async fn websocket_close(
        &self,
        socket: WebSocket,
        code: usize,
        _: String,
        was_clean: bool,
    ) -> Result<()> {
        let says_died =
            code == usize::from(DIED) && self.chat.seats.at(&socket).is_some_and(|seat| !seat.is_direct());
        let is_clean = was_clean && !says_died && code != 1006;
        let how = if is_clean { Farewell::Clean } else { Farewell::Died };
        // First of all it is noted that this one is gone: the event may come again, to a later life of the object.
        let done = self.chat.end(&socket, how).await;
        close_back(&socket, code);
        done
    }

    async fn websocket_error(&self, socket: WebSocket, _: worker::Error) -> Result<()> {
        let done = self.chat.end(&socket, Farewell::Died).await;
        close_back(&socket, 1006);
        done
    }

    async fn alarm(&self) -> Result<Response> {
        self.chat.wake();
        self.chat.alarms.fired();
        self.chat.ring();
        Response::empty()
    }
}

impl Chat {
    /// After the object's memory was lost: what hung on it is ended, what waits in storage goes on.
    fn wake(self: &Rc<Self>) {
        if self.is_awake.replace(true) {
            return;
        }
        for seat in self.seats.all().into_iter().filter(|seat| seat.attached().is_elsewhere) {
            let _ = seat.socket.close(Some(RESTARTED), Some("reconnect")); // its other half is gone
            self.part(&seat, Farewell::Died);
        }
        self.send_kept();
        self.tell_parts();
    }

    fn connect(self: &Rc<Self>, hello: Hello) -> Result<Response> {
        let (seat, response) = self.seats.accept(&self.state, hello)?;
        self.watch_expiry(&seat);
        Ok(response)
    }

    /// The gateway has no use for this link unless the room still owes its client something.
    fn let_go(self: &Rc<Self>, seat: &Seat) {
        if self.room.borrow().is_none() {
            self.tell(RoomInput::Awoken { told: Vec::new() });
        }
        let is_asking = self.questions.borrow().iter().any(|(from, _)| from.conn == seat.conn);
        let owes = self.room.borrow().as_ref().is_none_or(|room| room.owes(seat.conn));
        if !is_asking && !owes && seat.attached().member.is_none() {
            seat.send(GO);
        }
    }

    /// From the Worker's end of a connection, which has checked it.
    fn take(self: &Rc<Self>, seat: &Seat, text: &str) {
        let parsed = Asked::parse(text, Some(&self.id)).and_then(|mut request| {
            // Under the name that the Worker's end knows it by; in which rooms it is was held against that there.
            match seat.identity().authorise(&mut request.command, |_| true) {
                Ok(()) => Ok(request),
                Err(error) => Err(Refusal { reply_to: request.reply_to, error }),
            }
        });
        match parsed {
            Ok(request) => self.dispatch(seat, request),
            Err(refusal) => {
                let event = Event::error(&refusal.error, self.clock.now());
                seat.send(&encode(&event, refusal.reply_to.as_deref()));
            }
        }
    }

    fn dispatch(self: &Rc<Self>, seat: &Seat, request: Asked) {
        let from = Caller {
            conn: seat.conn,
            socket: seat.name(),
            reply_to: request.reply_to,
            identity: seat.identity(),
        };
        match request.command {
            Command::Room(_, command) => self.tell(RoomInput::Command { from, command }),
            Command::Ask(_, ask) => {
                self.ask(from, ask);
                true
            }
            Command::Ping
            | Command::Desk(..)
            | Command::Search(_)
            | Command::Visitors(..)
            | Command::AllDomainStats => false,
        };
    }

    /// In the order in which they came, each with what is known of the domain that it is asked on.
    fn ask(self: &Rc<Self>, from: Caller, ask: Ask) {
        self.questions.borrow_mut().push_back((from, ask));
        let chat = self.clone();
        self.state.wait_until(async move {
            let Some(_turn) = Turn::take(&chat.is_reading_settings) else { return };
            loop {
                let next = chat.questions.borrow_mut().pop_front();
                let Some((from, ask)) = next else { break };
                let daily_tokens = chat.settings.as_ref().map_or(0, |settings| settings.daily_tokens);
                let briefing = Box::new(brief(&chat.env, daily_tokens, &chat.id, &ask).await);
                if ask.is_unasked() && !briefing.settings.ai.auto_reply {
                    continue;
                }
                chat.tell(RoomInput::Ask { from, ask, briefing });
            }
        });
    }

    async fn end(self: &Rc<Self>, socket: &WebSocket, how: Farewell) -> Result<()> {
        self.wake();
        let Some(seat) = self.seats.at(socket) else { return Ok(()) };
        if seat.is_direct() {
            self.receive(&seat, doors::Arrival::Farewell(how)).await;
        } else {
            self.part(&seat, how);
        }
        Ok(())
    }

    fn part(self: &Rc<Self>, seat: &Rc<Seat>, how: Farewell) {
        if self.room.borrow().is_none() {
            // While the seat is still there, or the room that wakes for this would not know who goes.
            self.tell(RoomInput::Awoken { told: Vec::new() });
        }
        if self.seats.remove(seat.conn) {
            self.doors.close(seat.conn);
            let known = seat.attached();
            let domains: BTreeSet<_> = known.visits.into_iter().map(|(domain, _)| domain).collect();
            for domain in domains {
                self.say(Place::Domain(domain), Word::Parted { socket: known.socket }, None);
            }
            if known.observes && !self.seats.are_observed() {
                let word = Word::Watch { room: self.id.as_str().into(), is_watching: false };
                self.say(Place::Directory, word, None);
            }
            self.tell(RoomInput::Disconnected { conn: seat.conn, how });
        }
    }

    /// Whether people are in charge, so that no AI may be heard.
    fn has_live_agent(self: &Rc<Self>) -> bool {
        if self.room.borrow().is_none() {
            self.tell(RoomInput::Awoken { told: Vec::new() });
        }
        self.room.borrow().as_ref().is_some_and(Room::has_live_agent)
    }

    /// From its first row on.
    fn enrol(self: &Rc<Self>) {
        if !self.room.borrow().as_ref().is_some_and(Room::is_stored) || !self.enrolment.is_due() {
            return;
        }
        let chat = self.clone();
        self.state.wait_until(async move {
            if chat.enrolment.is_missing(&chat.state).await {
                // Should this life end before it is said, the next one says it.
                chat.wake_at(chat.clock.now().plus(OUTBOX_RETRY_MS));
                chat.enrolment.enrol(&chat.state, &chat.outbox, Holder::Room(chat.id.clone()));
                chat.send();
            }
        });
    }

    /// A part of an import. With the last the room is what it was elsewhere, and says so.
    async fn load(self: &Rc<Self>, request: Request) -> Result<Response> {
        match load(&self.state.storage(), request).await? {
            Loaded::Answer(response) => Ok(response),
            Loaded::Whole { .. } => {
                self.room.borrow_mut().take();
                self.parts.take();
                if let Err(error) = self.find_parts() {
                    console_error!("it is not known who writes here: {error}");
                }
                self.tell_parts();
                self.is_without_files.set(false);
                self.wake_at(self.clock.now().plus(FAILED_RETRY_MS)); // for the files that nothing mentions
                self.relist().await
            }
        }
    }

    /// One turn of the room. True if what it did is stored.
    fn tell(self: &Rc<Self>, input: RoomInput) -> bool {
        let caller = caller_of(&input);
        let comes_back = matches!(
            &input,
            RoomInput::Command { command: RoomCommand::Join(Join { resume: Some(_), .. }), .. }
        );
        if let RoomInput::Model { run, event } = &input
            && event.is_terminal()
        {
            self.runs.borrow_mut().remove(run);
        }
        match self.turn(input) {
            Ok(outputs) => {
                if comes_back {
                    count_resumed(&outputs);
                }
                // What the room says to itself is another turn: what this one has to tell is told before.
                let is_own =
                    |output: &Output| matches!(output, Output::Relay { room, .. } if *room == self.id);
                let (own, told): (Vec<_>, Vec<_>) = outputs.into_iter().partition(is_own);
                told.into_iter().chain(own).for_each(|output| self.carry_out(output));
                self.enrol();
                self.send();
                true
            }
            Err(failed) => {
                self.fail(&failed, caller);
                false
            }
        }
    }

    fn turn(&self, input: RoomInput) -> std::result::Result<Vec<Output>, Failed> {
        let settings = self.settings.clone().map_err(Failed::Panic)?;
        let (id, now, entropy) = (self.id.clone(), self.clock.now(), entropy());
        // Out of its cell: if this panics, or is rolled back, the room is rebuilt from what is stored.
        let room = self.room.borrow_mut().take();
        let members = if room.is_none() { self.seats.members() } else { Vec::new() };
        let is_new = room.is_none();
        let (room, outputs) = transact(&self.state.storage(), move |sql| {
            let cx = Context { now, entropy, policy: &settings.policy };
            let mut outputs = Vec::new();
            let mut room = match room {
                Some(room) => room,
                None => {
                    store::open(sql, &[store::Part::Rooms])?;
                    let mut room = Room::open(id.clone(), members, sql)?;
                    room.handle(cx, RoomInput::Awoken { told: Vec::new() }, sql, &mut outputs)?;
                    room
                }
            };
            #[cfg(feature = "panic-route")]
            let is_wanted = asks_to_panic(&input);
            room.handle(cx, input, sql, &mut outputs)?;
            #[cfg(feature = "panic-route")]
            assert!(!is_wanted, "asked to, with the turn half done");
            if is_new {
                // An earlier life may have died with it on its lips.
                room.handle(cx, RoomInput::List, sql, &mut outputs)?;
            }
            Ok((room, outputs))
        })?;
        *self.room.borrow_mut() = Some(room);
        Ok(outputs)
    }

    /// Nothing of the turn happened. Answers that were being written end when the room is opened again.
    fn fail(self: &Rc<Self>, failed: &Failed, caller: Option<Caller>) {
        console_error!("a turn failed and was taken back: {failed}");
        for (_, run) in self.runs.borrow_mut().drain() {
            run.abort();
        }
        self.wake_at(self.clock.now().plus(FAILED_RETRY_MS));
        let error = match failed {
            Failed::Storage(_) => ClientError::unavailable(),
            Failed::Panic(_) => ClientError::internal(),
        };
        if let Some(caller) = caller {
            self.reply(caller.conn, caller.reply_to.as_deref(), Event::error(&error, self.clock.now()));
        }
    }

    fn carry_out(self: &Rc<Self>, output: Output) {
        match output {
            Output::Reply { to, reply_to, event } => self.reply(to, reply_to.as_deref(), event),
            Output::Publish { event, except } => {
                self.note_part(&event);
                self.seats.tell_members(&encode(&event, None), except);
            }
            Output::Admit { conn, member } => {
                self.seats.get(conn).inspect(|seat| seat.amend(|attached| attached.member = Some(member)));
            }
            Output::Dismiss { conn } => {
                self.seats.get(conn).inspect(|seat| seat.amend(|attached| attached.member = None));
            }
            Output::TellObservers { domain, event } => {
                self.say(Place::Directory, Word::Observed { frame: encode(&event, None), domain }, None);
            }
            Output::WakeAt(at) => self.wake_at(at),
            Output::List(listing) => self.list(listing),
            Output::AskModel { run, request } => self.ask_model(run, request),
            Output::CancelModel { run } => {
                self.runs.borrow_mut().remove(&run).inspect(AbortHandle::abort);
            }
            Output::Spend(spent) => {
                if let Some(account) = spent.domain.clone() {
                    self.say(Place::Domain(account), Word::Spent(spent), None);
                }
            }
            Output::Said { domain, message } => {
                self.ask(Caller::unasked(&message), Ask::unasked(domain, &message));
            }
            Output::Relay { room, input, kept } if room == self.id => self.tell_myself(*input, kept),
            Output::Relay { room, input, kept } => self.relay(room, *input, kept),
        }
    }

    fn tell_counts(&self) {
        if let Some(telling) = counts::telling(&self.env) {
            self.state.wait_until(telling);
        }
    }

    fn reply(&self, to: ConnId, reply_to: Option<&str>, event: Event) {
        counts::add(&families::REPLIES, &[], 1);
        let is_last = !matches!(event, Event::AiStreamChunk { .. });
        let mut requests = self.requests.borrow_mut();
        if let Some(request) = requests.get(&to) {
            let is_gone = request.unbounded_send(event).is_err();
            if is_last || is_gone {
                requests.remove(&to);
            }
        } else if let Some(seat) = self.seats.get(to) {
            seat.send(&encode(&event, reply_to));
        }
    }

    /// When the token of a client that is held here ends, the alarm rings.
    fn watch_expiry(self: &Rc<Self>, seat: &Seat) {
        if let Some(at) = seat.identity().expires_at().filter(|_| seat.is_direct()) {
            self.wake_at(at);
        }
    }

    fn expire_tokens(self: &Rc<Self>) {
        let now = self.clock.now();
        for seat in self.seats.all().into_iter().filter(|seat| seat.is_direct()) {
            if seat.identity().has_expired(now) {
                seat.send(&encode(&Event::error(&expired(), now), None));
                let _ = seat.socket.close(Some(EXPIRED), Some(EXPIRED_REASON)); // its end is the same if it is gone
                counts::one(&families::CONNECTIONS_CLOSED, "reason", "expired");
                self.doors.part(seat.conn);
                self.part(&seat, Farewell::Died);
            } else {
                self.watch_expiry(&seat);
            }
        }
    }

    fn wake_at(self: &Rc<Self>, at: UnixMs) {
        let chat = self.clone();
        self.alarms.wake_at(&self.state, self.clock.now(), at, move || chat.ring());
    }

    /// What is due is done; what is still owed keeps the alarm going, so that a crash cannot make anybody wait for ever.
    fn ring(self: &Rc<Self>) {
        self.expire_tokens();
        self.tell(RoomInput::Alarm);
        self.list_again();
        self.send_kept();
        if self.outbox.is_empty() {
            self.tell_parts();
        }
        self.sweep_files();
        if !self.runs.borrow().is_empty() {
            self.wake_at(self.clock.now().plus(RUN_CHECK_EVERY_MS));
        }
    }

    fn ask_model(self: &Rc<Self>, run: RunId, request: ModelRequest) {
        let Ok(settings) = self.settings.clone() else { return };
        counts::one(&families::AI_QUESTIONS, "provider", request.provider().as_str());
        let chat = self.clone();
        let (task, handle) = abortable(async move {
            let tell = |event| {
                chat.tell(RoomInput::Model { run, event });
            };
            ai::ask(&settings, &request, tell).await;
        });
        self.runs.borrow_mut().insert(run, handle);
        self.wake_at(self.clock.now().plus(RUN_CHECK_EVERY_MS));
        self.state.wait_until(async move {
            let _ = task.await; // an answer that is not wanted any more ends here
        });
    }

    /// A refusal of whatever is asked while the settings are wrong.
    fn refusal(&self) -> Option<Response> {
        let why = self.settings.as_ref().err()?;
        console_error!("{why}");
        reply::refusal(&ClientError::internal()).ok()
    }
}

#[cfg(feature = "panic-route")]
fn asks_to_panic(input: &RoomInput) -> bool {
    matches!(input, RoomInput::Command { command: RoomCommand::Send(send), .. } if &*send.text == "panic, please")
}

fn count_resumed(outputs: &[Output]) {
    for output in outputs {
        if let Output::Reply { event: Event::JoinedRoom { resumed, .. }, .. } = output {
            let how = if *resumed { "resumed" } else { "history" };
            counts::one(&families::RESUMES, "result", how);
        }
    }
}

fn caller_of(input: &RoomInput) -> Option<Caller> {
    match input {
        RoomInput::Command { from, command: RoomCommand::Typing { .. } } if from.reply_to.is_none() => None,
        // Nobody waits for it.
        RoomInput::Ask { ask, .. } if ask.is_unasked() => None,
        RoomInput::Command { from, .. } | RoomInput::Ask { from, .. } | RoomInput::Desk { from, .. } => {
            Some(from.clone())
        }
        _ => None,
    }
}
