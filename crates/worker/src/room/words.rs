//! What a room has to say to other objects, and what they say to it. What must not be lost is a row until it has been taken.

use std::rc::Rc;

use weeziq_core::ids::{ConnId, RoomId};
use weeziq_core::rooms::RoomInput;
use weeziq_core::store::outbox::{self, Word as Kept};
use worker::{Request, Response, Result, console_error};

use super::{Chat, OUTBOX_RETRY_MS};
use crate::clock::conn_of;
use crate::encode;
use crate::outbox::{Delivered, Item, TAKEN, TRY_AGAIN, UNWANTED, Word};
use crate::places::Place;
use crate::store::Store;

impl Chat {
    /// Words of other objects, up to the first that cannot be kept now: the sender says the rest again.
    pub(super) async fn hear(self: &Rc<Self>, mut request: Request) -> Result<Response> {
        let words: Vec<Word> = serde_json::from_str(&request.text().await?)?;
        let mut is_watched_in_vain = false;
        for (taken, word) in words.into_iter().enumerate() {
            let is_taken = match word {
                Word::Post(post) => self.tell(RoomInput::Post(*post)),
                Word::Silence { run } => self.tell(RoomInput::Silence { run }),
                Word::Overheard { .. } if self.has_live_agent() => true,
                Word::Overheard { frame, except } => {
                    self.seats.tell_members(&frame, except.map(conn_of));
                    true
                }
                Word::Observed { frame, domain } => {
                    is_watched_in_vain = !self.seats.are_observed();
                    self.seats.tell_observers(&frame, domain.as_ref());
                    true
                }
                Word::Spent(_)
                | Word::Numbers(_)
                | Word::Enrolled { .. }
                | Word::TookPart { .. }
                | Word::Watch { .. }
                | Word::Parted { .. }
                | Word::Listed { .. } => true,
            };
            if !is_taken {
                return Response::error(taken.to_string(), TRY_AGAIN);
            }
        }
        Ok(Response::ok("")?.with_status(if is_watched_in_vain { UNWANTED } else { TAKEN }))
    }

    /// Which of these connections, that another object counts on, are not here any more.
    pub(super) async fn missing(&self, mut request: Request) -> Result<Response> {
        let asked: Vec<u64> = serde_json::from_str(&request.text().await?)?;
        let missing = asked.into_iter().filter(|conn| self.seats.get(ConnId(*conn)).is_none());
        Response::ok(serde_json::to_string(&missing.collect::<Vec<_>>())?)
    }

    pub(super) fn tell_myself(self: &Rc<Self>, input: RoomInput, kept: Option<i64>) {
        let is_taken = self.tell(input);
        if let Some(row) = kept.filter(|_| is_taken) {
            self.forget_kept(row);
        }
    }

    pub(super) fn relay(self: &Rc<Self>, room: RoomId, input: RoomInput, row: Option<i64>) {
        match input {
            RoomInput::Post(post) => self.say(Place::Room(room), Word::Post(Box::new(post)), row),
            RoomInput::Overheard { event, except } => {
                let except = except.and_then(|conn| self.seats.get(conn)).map(|seat| seat.name());
                self.say(Place::Room(room), Word::Overheard { frame: encode(&event, None), except }, None);
            }
            RoomInput::Silence { run } => self.say(Place::Room(room), Word::Silence { run }, None),
            RoomInput::Command { .. }
            | RoomInput::Recover { .. }
            | RoomInput::Ask { .. }
            | RoomInput::Model { .. }
            | RoomInput::Disconnected { .. }
            | RoomInput::Desk { .. }
            | RoomInput::AskedForPeople { .. }
            | RoomInput::List
            | RoomInput::Alarm
            | RoomInput::Awoken { .. } => {}
        }
    }

    pub(super) fn say(self: &Rc<Self>, place: Place, word: Word, row: Option<i64>) {
        if row.is_some() {
            self.wake_at(self.clock.now().plus(OUTBOX_RETRY_MS));
        }
        let chat = self.clone();
        let then = Box::new(move |delivered| match (row, delivered) {
            (Some(row), Delivered::Yes | Delivered::Unwanted) => chat.forget_kept(row),
            (Some(_), Delivered::GivenUp) => chat.wake_at(chat.clock.now().plus(OUTBOX_RETRY_MS)),
            (None, _) => {}
        });
        self.outbox.push(Item { word: Some((place, word)), then });
    }

    pub(super) fn send(&self) {
        self.tell_counts();
        if !self.outbox.is_empty() {
            self.state.wait_until(self.outbox.clone().drain(self.env.clone()));
        }
    }

    /// What an earlier life of this object, or an earlier attempt, could not hand over.
    pub(super) fn send_kept(self: &Rc<Self>) {
        if !self.outbox.is_empty() {
            return;
        }
        // Before the first turn there is no such table, and nothing to send.
        for outbox::Kept { row, word } in
            outbox::all(&mut Store::new(&self.state.storage())).unwrap_or_default()
        {
            match word {
                Kept::Post(room, post) if room == self.id => {
                    self.tell_myself(RoomInput::Post(*post), Some(row));
                }
                Kept::Post(room, post) => self.say(Place::Room(room), Word::Post(post), Some(row)),
                Kept::Relist(_) => self.tell_myself(RoomInput::List, Some(row)),
                Kept::Listing(_) => {} // only where one process has several stores
            }
        }
        self.send();
    }

    pub(super) fn forget_kept(&self, row: i64) {
        if let Err(error) = outbox::remove(&mut Store::new(&self.state.storage()), row) {
            console_error!("a word that was handed over stays kept: {error}");
        }
    }
}
