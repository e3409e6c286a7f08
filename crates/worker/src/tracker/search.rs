//! What was said in the domain's rooms, copied here to be searched: a search that asked each room would wake thousands.
//! Copying costs two rows a message; the index itself is made and kept up by those who search, so a site that never does
//! pays nothing for it.

use std::collections::BTreeSet;
use std::rc::Rc;

use weeziq_core::ids::{DomainId, RoomId, Seq};
use weeziq_core::inbox::Listing;
use weeziq_core::inbox::search::SearchQuery;
use weeziq_core::protocol::error::ClientError;
use weeziq_core::protocol::event::Event;
use weeziq_core::store::inbox;
use weeziq_core::store::search::{self, LogRow};
use worker::{Request, Response, Result, console_error, console_warn};

use super::Tracker;
use crate::places::Place;
use crate::reply;
use crate::store::transact;

/// So many steps of the index are made by one search; the rest by the next.
const STEPS_MAX: usize = 40;
/// Questions to a room for what is missing of its log, in one telling.
const QUESTIONS_MAX: usize = 20;

impl Tracker {
    /// True if the copy reaches as far as the room does, or cannot for now for lack of an answer.
    pub(super) async fn copy_log(
        self: &Rc<Self>,
        domain: &DomainId,
        listing: &Listing,
        log: Vec<LogRow>,
    ) -> bool {
        let (mut log, room) = (Rc::new(log), listing.summary.room_id.clone());
        for _ in 0..QUESTIONS_MAX {
            let known = match self.copy(domain, listing, log.clone()) {
                Ok(known) => known,
                Err(error) => {
                    console_error!("a log cannot be copied: {error}");
                    return false;
                }
            };
            if known >= listing.summary.seq {
                return true;
            }
            let answer = match Place::Room(room.clone()).post(&self.env, "/log", &known.0.to_string()).await {
                Ok(mut response) => response.text().await,
                Err(error) => Err(error),
            };
            match answer.map(|text| serde_json::from_str::<Vec<LogRow>>(&text)) {
                Ok(Ok(missing)) if !missing.is_empty() => log = Rc::new(missing),
                _ => {
                    console_warn!("a room cannot be asked for its log");
                    return true;
                }
            }
        }
        true
    }

    /// Rooms of the domain that are that user's, or in which they have written or read.
    pub(super) fn rooms_of(&self, user: String) -> Result<BTreeSet<RoomId>> {
        let rooms = transact(&self.state.storage(), move |sql| {
            search::open_copies(sql)?;
            inbox::open(sql)?;
            let wrote = search::rooms_of_author(sql, &user)?;
            Ok(inbox::rooms_of(sql, &user)?.into_iter().chain(wrote).collect())
        });
        rooms.map_err(|failed| worker::Error::RustError(failed.to_string()))
    }

    /// What was said there is no more, or reads otherwise. If the room is, how it stands is told next, which brings all of it anew.
    pub(super) fn forget_copy(&self, room: &RoomId) -> Result<()> {
        let (room, has_copies) = (room.clone(), self.has_copies.get());
        let forgotten = transact(&self.state.storage(), move |sql| {
            if !has_copies {
                search::open_copies(sql)?;
            }
            search::forget_copy(sql, &room)
        });
        self.has_copies.set(has_copies || forgotten.is_ok());
        forgotten.map_err(|failed| worker::Error::RustError(failed.to_string()))
    }

    fn copy(
        &self,
        domain: &DomainId,
        listing: &Listing,
        log: Rc<Vec<LogRow>>,
    ) -> std::result::Result<Seq, crate::store::Failed> {
        let (domain, room, epoch) = (domain.clone(), listing.summary.room_id.clone(), listing.epoch.clone());
        let has_copies = self.has_copies.get();
        let known = transact(&self.state.storage(), move |sql| {
            if !has_copies {
                search::open_copies(sql)?;
            }
            search::copy(sql, (&domain, &room, &epoch), &log)
        })?;
        self.has_copies.set(true);
        Ok(known)
    }

    pub(super) async fn search(&self, mut request: Request) -> Result<Response> {
        let query = match SearchQuery::parse(&request.text().await?) {
            Ok(query) => query,
            Err(error) => return reply::refusal(&error),
        };
        let asked = query.clone();
        let found = transact(&self.state.storage(), move |sql| {
            search::open_copies(sql)?;
            search::open(sql)?;
            let mut is_partial = true;
            for _ in 0..STEPS_MAX {
                if search::follow(sql)? {
                    is_partial = false;
                    break;
                }
            }
            Ok((search::find(sql, &query)?, is_partial))
        });
        match found {
            Ok((messages, is_partial)) => reply::body(Event::Found(asked.page(messages, is_partial))),
            Err(failed) => {
                console_error!("a search failed: {failed}");
                reply::refusal(&ClientError::unavailable())
            }
        }
    }
}
