//! The inbox's side of a room: what operators do with it over HTTP, and telling its domain how it stands.

use std::rc::Rc;

use futures_channel::mpsc::unbounded;
use futures_channel::oneshot;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use weeziq_core::Caller;
use weeziq_core::access::identity::Identity;
use weeziq_core::ids::Seq;
use weeziq_core::inbox::transcript::Transcript;
use weeziq_core::inbox::{DeskCommand, Listing};
use weeziq_core::limits::LOG_ROWS_TOLD_MAX;
use weeziq_core::metrics::families;
use weeziq_core::protocol::command::{Command, body};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;
use weeziq_core::protocol::http;
use weeziq_core::rooms::{Room, RoomInput};
use weeziq_core::store::search::{self, LogRow};
use worker::{Request, Response, ResponseBuilder, Result, console_error};

use super::{Chat, OUTBOX_RETRY_MS};
use crate::archive::Holder;
use crate::clock::{conn_of, socket_id};
use crate::counts;
use crate::outbox::{Delivered, Item, Word};
use crate::places::Place;
use crate::reply;
use crate::store::Store;

/// A life that does not know what an earlier one told tells so much of the log again; what is still missing is asked for.
const LOG_TOLD_AGAIN: u64 = 20;

/// What the Worker has been asked of a room, by whom.
#[derive(Serialize, Deserialize)]
pub(crate) struct AtDesk {
    pub(crate) by: Identity,
    pub(crate) verb: String,
    pub(crate) query: String,
    pub(crate) body: String,
}

impl Chat {
    pub(super) async fn answer_desk(self: &Rc<Self>, mut request: Request) -> Result<Response> {
        if let Some(refusal) = self.refusal() {
            return Ok(refusal);
        }
        let asked: AtDesk = serde_json::from_str(&request.text().await?)?;
        if asked.verb == "transcript" {
            return self.transcribe(asked).await;
        }
        let command = body::desk(&asked.verb, &asked.query, &asked.body).and_then(|command| {
            let mut command = Command::Desk(self.id.clone(), command);
            asked.by.authorise(&mut command, |_| false)?;
            Ok(command)
        });
        if let Ok(command) = &command {
            counts::one(&families::EVENTS, "kind", command.kind());
        }
        let command = match command {
            Ok(Command::Desk(_, command)) => command,
            Ok(_) => return reply::refusal(&ClientError::internal()),
            Err(error) => return reply::refusal(&error),
        };
        let changes_list =
            matches!(command, DeskCommand::Erase | DeskCommand::Retain(_) | DeskCommand::Anonymise(_));
        let erases = matches!(command, DeskCommand::Erase);
        let forgotten = match &command {
            DeskCommand::Anonymise(user) => Some(user.clone()),
            _ => None,
        };
        let answer = self.at_desk(asked.by, command).await;
        if erases {
            self.forget_parts(None);
        } else if forgotten.is_some() {
            self.forget_parts(forgotten);
        }
        if erases && !self.room.borrow().as_ref().is_some_and(Room::is_stored) {
            self.enrolment.strike(&self.state, &self.outbox, Holder::Room(self.id.clone()));
        }
        if changes_list {
            self.has_told_all().await;
        }
        match answer {
            Some(event) => {
                let status = http::status_of(&event);
                let response = reply::body(event)?;
                Ok(if response.status_code() == 200 { response.with_status(status) } else { response })
            }
            None => reply::refusal(&ClientError::unavailable()),
        }
    }

    async fn at_desk(self: &Rc<Self>, by: Identity, command: DeskCommand) -> Option<Event> {
        let (sender, mut events) = unbounded();
        let socket = socket_id();
        let from = Caller { conn: conn_of(socket), socket, reply_to: None, identity: by };
        self.requests.borrow_mut().insert(from.conn, sender);
        self.tell(RoomInput::Desk { from, command });
        events.next().await
    }

    /// Returns when the domain has what it was told before: a copy of the log that came behind an erasure would put back what
    /// whoever asked for it has the domain forget next.
    async fn has_told_all(self: &Rc<Self>) {
        if self.outbox.is_empty() {
            return;
        }
        let (told, is_told) = oneshot::channel();
        let then = Box::new(move |_| {
            let _ = told.send(()); // whoever asked may be gone
        });
        self.outbox.push(Item { word: None, then });
        self.send();
        let _ = is_told.await; // an outbox that was dropped has nothing under way
    }

    /// Sent page by page as it is read.
    async fn transcribe(self: &Rc<Self>, asked: AtDesk) -> Result<Response> {
        let mut transcript = match Transcript::parse(&asked.query) {
            Ok(transcript) => transcript,
            Err(error) => return reply::refusal(&error),
        };
        let first = match self.next_page(&asked.by, &mut transcript).await {
            Ok(first) => first.unwrap_or_default(),
            Err(error) => return reply::refusal(&error),
        };
        let begun = transcript.begin(&self.id, self.clock.now()) + &first;
        let mut response = ResponseBuilder::new();
        for (name, value) in transcript.headers(&self.id) {
            response = response.with_header(name, &value)?;
        }
        let state = (Some(begun), self.clone(), asked.by, transcript);
        let pages = stream::try_unfold(state, |(begun, chat, by, mut transcript)| async move {
            let page = match begun {
                Some(page) => Some(page),
                // The head has been sent: a body that breaks off is all that can still say that something failed.
                None => {
                    chat.next_page(&by, &mut transcript).await.map_err(|error| error.message.to_string())?
                }
            };
            Ok::<_, worker::Error>(page.map(|page| (page.into_bytes(), (None, chat, by, transcript))))
        });
        response.from_stream(pages)
    }

    async fn next_page(
        self: &Rc<Self>,
        by: &Identity,
        transcript: &mut Transcript,
    ) -> std::result::Result<Option<String>, ClientError> {
        let Some(query) = transcript.query() else { return Ok(None) };
        match self.at_desk(by.clone(), DeskCommand::Transcript(query)).await {
            Some(Event::MessageHistory { messages, has_more, .. }) => {
                Ok(Some(transcript.page(&messages, has_more)))
            }
            Some(event) => Err(http::error_of(event)),
            None => Err(ClientError::unavailable()),
        }
    }

    /// Kept in memory until the domain has it. Should that be lost, the alarm wakes the room, and a room that wakes says
    /// how it stands anyway: so nothing is written for it but the alarm.
    pub(super) fn list(self: &Rc<Self>, listing: Box<Listing>) {
        self.wake_at(self.clock.now().plus(OUTBOX_RETRY_MS));
        *self.unlisted.borrow_mut() = Some(listing.clone());
        let (last, revision) = (listing.summary.seq, listing.revision);
        let log = self.log_rows(self.log_told.get().unwrap_or(Seq(last.0.saturating_sub(LOG_TOLD_AGAIN))));
        let chat = self.clone();
        let then = Box::new(move |delivered| match delivered {
            Delivered::Yes | Delivered::Unwanted => {
                chat.log_told.set(chat.log_told.get().max(Some(last)));
                chat.unlisted.borrow_mut().take_if(|listing| listing.revision == revision);
            }
            Delivered::GivenUp => chat.wake_at(chat.clock.now().plus(OUTBOX_RETRY_MS)),
        });
        let place = Place::Domain(listing.domain.clone());
        self.outbox.push(Item { word: Some((place, Word::Listed { listing, log })), then });
    }

    /// The domain asks for what it lacks: something in between was lost with an earlier life.
    pub(super) async fn tell_log(&self, mut request: Request) -> Result<Response> {
        let after = request.text().await?.parse().map_err(|_| "that is no place of a log")?;
        Response::ok(serde_json::to_string(&self.log_rows(Seq(after)))?)
    }

    /// The domain has forgotten its copy of the log.
    pub(super) async fn relist(self: &Rc<Self>) -> Result<Response> {
        self.log_told.set(None);
        self.tell(RoomInput::List);
        self.has_told_all().await;
        Response::ok("")
    }

    fn log_rows(&self, after: Seq) -> Vec<LogRow> {
        let rows =
            search::log_rows(&mut Store::new(&self.state.storage()), &self.id, after, LOG_ROWS_TOLD_MAX);
        rows.unwrap_or_else(|error| {
            console_error!("a log cannot be read: {error}");
            Vec::new()
        })
    }

    pub(super) fn list_again(self: &Rc<Self>) {
        let unlisted = self.unlisted.borrow_mut().take().filter(|_| self.outbox.is_empty());
        if let Some(listing) = unlisted {
            self.list(listing);
            self.send();
        }
    }
}
