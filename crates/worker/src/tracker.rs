//! `VisitorTracker`: the visitors of one domain, or, by its name, the directory of all domains or the counter of one
//! address.

mod address;
mod directory;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;
use weeziq_core::ids::{ConnId, DomainId, VisitorId};
use weeziq_core::protocol::command::{Command, Request as Asked, VisitorsCommand, body};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;
use weeziq_core::store::{self, Sql, SqlError, Value};
use weeziq_core::time::UnixMs;
use weeziq_core::visitors::{Via, Visitors, VisitorsInput};
use weeziq_core::{Caller, Context, Output};
use worker::{
    Delay, DurableObject, Env, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage,
    console_error, durable_object,
};

use crate::clock::{Clock, conn_of, entropy, socket_id};
use crate::encode;
use crate::outbox::{Item, Numbers, Outbox, Word};
use crate::places::{Place, Role};
use crate::reply::{self, hello_of};
use crate::settings::Settings;
use crate::sockets::{Seat, Seats, answer_pings, close_back};
use crate::store::{Failed, Store, transact};

#[durable_object]
pub struct VisitorTracker {
    tracker: Rc<Tracker>,
}

// What a panic leaves behind is dropped: a domain is out of its cell while it works.
impl std::panic::UnwindSafe for VisitorTracker {}
impl std::panic::RefUnwindSafe for VisitorTracker {}

struct Tracker {
    state: State,
    env: Env,
    role: Option<Role>,
    settings: std::result::Result<Rc<Settings>, String>,
    clock: Clock,
    seats: Seats,
    visitors: RefCell<Option<Visitors>>,
    /// Over HTTP.
    requests: RefCell<HashMap<ConnId, oneshot::Sender<Event>>>,
    alarm_at: Cell<Option<UnixMs>>,
    outbox: Rc<Outbox>,
    /// What the directory was last told: active now, ever.
    told: Cell<Option<(usize, u64)>>,
}

/// What is due sooner is waited for in memory: an alarm costs a write and a request.
const ALARM_FROM_MS: i64 = 1_000;

/// Which visitor each connection speaks for. In rows, because one connection may speak for more than an attachment holds.
const CLAIM_TABLE: &str = "CREATE TABLE IF NOT EXISTS claim (
    conn TEXT NOT NULL,
    visitor TEXT NOT NULL,
    PRIMARY KEY (conn, visitor)
) STRICT, WITHOUT ROWID";

impl DurableObject for VisitorTracker {
    fn new(state: State, env: Env) -> Self {
        answer_pings(&state);
        let settings = Settings::read(&env).map(Rc::new);
        let tracker = Tracker {
            role: state.id().name().as_deref().and_then(Role::of),
            seats: Seats::of(&state),
            state,
            env,
            settings,
            clock: Clock::default(),
            visitors: RefCell::default(),
            requests: RefCell::default(),
            alarm_at: Cell::new(None),
            outbox: Rc::default(),
            told: Cell::new(None),
        };
        Self { tracker: Rc::new(tracker) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let tracker = &self.tracker;
        let path = request.path();
        match (path.as_str(), &tracker.role) {
            ("/connect", _) => Ok(tracker.seats.accept(&tracker.state, hello_of(&request)?)?.1),
            ("/admit", Some(Role::Address)) => tracker.admit(request).await,
            ("/words", Some(Role::Directory)) => tracker.hear(request).await,
            ("/domains", Some(Role::Directory)) => reply::body(tracker.all_domains()?),
            (path, Some(Role::Domain(domain))) => match path.strip_prefix("/visitors/") {
                Some(kind) => tracker.answer_request(domain, kind, request).await,
                None => Response::error("there is nothing here", 404),
            },
            _ => Response::error("there is nothing here", 404),
        }
    }

    async fn websocket_message(&self, socket: WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
        let tracker = &self.tracker;
        if let (Some(seat), WebSocketIncomingMessage::String(text)) = (tracker.seats.at(&socket), message)
            && let Ok(request) = Asked::parse(&text, None)
        {
            tracker.take(&seat, request);
        }
        Ok(())
    }

    async fn websocket_close(&self, socket: WebSocket, code: usize, _: String, _: bool) -> Result<()> {
        close_back(&socket, code);
        self.tracker.end(&socket);
        Ok(())
    }

    async fn websocket_error(&self, socket: WebSocket, _: worker::Error) -> Result<()> {
        close_back(&socket, 1006);
        self.tracker.end(&socket);
        Ok(())
    }

    async fn alarm(&self) -> Result<Response> {
        let tracker = &self.tracker;
        tracker.alarm_at.set(None);
        match &tracker.role {
            Some(Role::Domain(domain)) => tracker.tell(domain, vec![VisitorsInput::Alarm], None),
            Some(Role::Address) => tracker.forget_address().await?,
            Some(Role::Directory) | None => {}
        }
        Response::empty()
    }
}

impl Tracker {
    fn take(self: &Rc<Self>, seat: &Seat, request: Asked) {
        let known = seat.attached();
        let from = Caller { conn: seat.conn, socket: known.socket, reply_to: request.reply_to };
        match (request.command, &self.role) {
            (Command::Visitors(_, command), Some(Role::Domain(domain))) => {
                let via = Via::Connection { user_agent: known.user_agent.map(Arc::from) };
                let caller = from.clone();
                let input = VisitorsInput::Command { from, via, command };
                self.tell(domain, vec![input], Some(caller));
            }
            (Command::AllDomainStats, Some(Role::Directory)) => {
                let event = self.all_domains().unwrap_or_else(|error| {
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
            kind => match body::visitors(kind, &request.text().await?) {
                Ok((_, command)) => command,
                Err(error) => return reply::refusal(&error),
            },
        };
        let (sender, answer) = oneshot::channel();
        let socket = socket_id();
        let from = Caller { conn: conn_of(socket), socket, reply_to: None };
        self.requests.borrow_mut().insert(from.conn, sender);
        let input = VisitorsInput::Command { from: from.clone(), via: Via::Request, command };
        self.tell(domain, vec![input], Some(from));
        match answer.await {
            Ok(event) => reply::body(event),
            Err(_) => reply::refusal(&ClientError::unavailable()),
        }
    }

    fn end(self: &Rc<Self>, socket: &WebSocket) {
        let Some(seat) = self.seats.at(socket) else { return };
        let Some(Role::Domain(domain)) = &self.role else {
            self.seats.remove(seat.conn);
            return;
        };
        if self.seats.remove(seat.conn) {
            let gone = claims(&mut Store::new(&self.state.storage()), Some(seat.conn)).unwrap_or_default();
            let parting = |(conn, visitor)| VisitorsInput::Disconnected { conn, visitor };
            self.tell(domain, gone.into_iter().map(parting).collect(), None);
        }
    }

    /// One turn of the domain.
    fn tell(self: &Rc<Self>, domain: &DomainId, inputs: Vec<VisitorsInput>, caller: Option<Caller>) {
        match self.turn(domain, inputs) {
            Ok(outputs) => self.carry_out(domain, outputs),
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
            }
        }
    }

    fn turn(
        &self,
        domain: &DomainId,
        inputs: Vec<VisitorsInput>,
    ) -> std::result::Result<Vec<Output>, Failed> {
        let settings = self.settings.clone().map_err(Failed::Panic)?;
        let (domain, now, entropy) = (domain.clone(), self.clock.now(), entropy());
        let visitors = self.visitors.borrow_mut().take();
        let here: Vec<ConnId> = self.seats.all().into_iter().map(|seat| seat.conn).collect();
        let (visitors, outputs) = transact(&self.state.storage(), move |sql| {
            let cx = Context { now, entropy, policy: &settings.policy };
            let mut visitors = match visitors {
                Some(visitors) => visitors,
                None => {
                    store::open(sql)?;
                    sql.run(CLAIM_TABLE, &[])?;
                    Visitors::open(domain, living_claims(sql, &here)?, now, sql)?
                }
            };
            let mut outputs = Vec::new();
            for input in inputs {
                note_claim(sql, &input)?;
                visitors.handle(cx, input, sql, &mut outputs)?;
            }
            Ok((visitors, outputs))
        })?;
        *self.visitors.borrow_mut() = Some(visitors);
        Ok(outputs)
    }

    /// The directory first, so that whoever has heard of a change finds it there too; then those who asked.
    fn carry_out(self: &Rc<Self>, domain: &DomainId, outputs: Vec<Output>) {
        let mut replies = Vec::new();
        for output in outputs {
            match output {
                Output::Reply { to, reply_to, event } => replies.push((to, reply_to, event)),
                Output::TellObservers { domain: _, event } => {
                    self.say(Word::Observed { frame: encode(&event, None) });
                }
                Output::WakeAt(at) => self.wake_at(domain, at),
                Output::Publish { .. }
                | Output::Admit { .. }
                | Output::Dismiss { .. }
                | Output::AskModel { .. }
                | Output::CancelModel { .. }
                | Output::Relay { .. } => {}
            }
        }
        let summary = self.visitors.borrow().as_ref().map(Visitors::summary);
        if let Some(summary) = summary
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
        if self.outbox.is_empty() {
            return reply_all();
        }
        self.outbox.push(Item { word: None, then: Box::new(move |_| reply_all()) });
        self.state.wait_until(self.outbox.clone().drain(self.env.clone()));
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
        let request = self.requests.borrow_mut().remove(&to);
        if let Some(request) = request {
            let _ = request.send(event); // a reader that is gone needs no answer
        } else if let Some(seat) = self.seats.get(to) {
            seat.send(&encode(&event, reply_to));
        }
    }

    fn wake_at(self: &Rc<Self>, domain: &DomainId, at: UnixMs) {
        let wait_ms = at.since(self.clock.now());
        if wait_ms < ALARM_FROM_MS {
            let (tracker, domain) = (self.clone(), domain.clone());
            self.state.wait_until(async move {
                Delay::from(Duration::from_millis(wait_ms.max(0) as u64)).await;
                tracker.tell(&domain, vec![VisitorsInput::Alarm], None);
            });
        } else if self.alarm_at.get().is_none_or(|armed| at < armed) {
            self.alarm_at.set(Some(at));
            let storage = self.state.storage();
            self.state.wait_until(async move {
                if let Err(error) = storage.set_alarm(Duration::from_millis(wait_ms as u64)).await {
                    console_error!("no alarm could be set: {error}");
                }
            });
        }
    }
}

fn note_claim(sql: &mut dyn Sql, input: &VisitorsInput) -> std::result::Result<(), SqlError> {
    let (conn, visitor, is_here) = match input {
        VisitorsInput::Command {
            from,
            via: Via::Connection { .. },
            command: VisitorsCommand::Join { visitor, .. } | VisitorsCommand::Activity { visitor, .. },
        } => (from.conn, visitor, true),
        VisitorsInput::Command { from, command: VisitorsCommand::Leave { visitor }, .. } => {
            (from.conn, visitor, false)
        }
        VisitorsInput::Disconnected { conn, visitor } => (*conn, visitor, false),
        VisitorsInput::Command { .. } | VisitorsInput::Alarm => return Ok(()),
    };
    let conn = conn.0.to_string();
    let params = [Value::Text(&conn), Value::Text(visitor.as_str())];
    match is_here {
        true => sql.run("INSERT INTO claim (conn, visitor) VALUES (?, ?) ON CONFLICT DO NOTHING", &params),
        false => sql.run("DELETE FROM claim WHERE conn = ? AND visitor = ?", &params),
    }
}

fn claims(sql: &mut dyn Sql, of: Option<ConnId>) -> std::result::Result<Vec<(ConnId, VisitorId)>, SqlError> {
    let mut found = Vec::new();
    let conn = of.map(|conn| conn.0.to_string());
    let params = [Value::text(conn.as_deref()), Value::text(conn.as_deref())];
    sql.query("SELECT conn, visitor FROM claim WHERE ? IS NULL OR conn = ?", &params, &mut |row| {
        found.extend(row.text(0).parse().ok().map(ConnId).zip(VisitorId::parse(row.text(1))));
    })?;
    Ok(found)
}

/// Claims of connections that ended while the object was not there to see it are of no use.
fn living_claims(
    sql: &mut dyn Sql,
    here: &[ConnId],
) -> std::result::Result<Vec<(ConnId, VisitorId)>, SqlError> {
    let (living, dead): (Vec<_>, Vec<_>) =
        claims(sql, None)?.into_iter().partition(|(conn, _)| here.contains(conn));
    for (conn, _) in dead {
        sql.run("DELETE FROM claim WHERE conn = ?", &[Value::Text(&conn.0.to_string())])?;
    }
    Ok(living)
}
