//! Holds the site to what its settings say it keeps: once a day, while they say so.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use weeziq_core::domains::Retention;
use weeziq_core::ids::{DomainId, RoomId};
use weeziq_core::privacy::ROOMS_AT_ONCE;
use weeziq_core::protocol::command::VisitorsCommand;
use weeziq_core::store::erasure::Removed;
use weeziq_core::store::{register, spending};
use weeziq_core::time::UnixMs;
use worker::{Error, Result, console_error};

use super::Tracker;
use crate::privacy::{Pages, at_desk, count_of, relist};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
const HOUR_MS: i64 = 60 * 60 * 1_000;
const SOON_MS: i64 = 1_000;
/// Where it is kept when to look next: beside the tables, since most sites keep everything and never write it.
const DUE: &str = "retention-due";
/// Likewise, how far a look has come.
const WALK: &str = "retention-walk";
/// So many objects are asked before the next alarm goes on: a request may ask only so many, and whoever began anew each time would
/// never come to the oldest.
const OBJECTS_A_LOOK: usize = 400;

/// Through the rooms of the list, then through the conversations with the AI.
#[derive(Serialize, Deserialize)]
struct Walk {
    at: At,
    /// One could not be held to it; the next look begins an hour later, and what is listed stays listed.
    has_failed: bool,
}

#[derive(Serialize, Deserialize)]
enum At {
    /// The cursor of the next page.
    Rooms(Option<String>),
    /// Behind that name.
    Conversations(String),
}

enum Looked {
    KeepsEverything,
    Further,
    ToTheEnd { has_failed: bool },
}

impl Tracker {
    /// The settings have changed: looks soon, at everything.
    pub(super) async fn keep_as_set(self: &Rc<Self>, domain: &DomainId) -> Result<()> {
        let due = self.clock.now().plus(SOON_MS);
        self.state.storage().delete(WALK).await?;
        self.state.storage().put(DUE, due.0).await?;
        self.retain_at(domain, due);
        Ok(())
    }

    /// Whatever the alarm was for.
    pub(super) async fn retain_if_due(self: &Rc<Self>, domain: &DomainId) {
        let due = self.state.storage().get::<i64>(DUE).await.ok().flatten();
        let Some(due) = due.map(UnixMs) else { return };
        if due > self.clock.now() {
            return self.retain_at(domain, due);
        }
        let wait = match self.look(domain).await {
            Ok(Looked::KeepsEverything) => None,
            Ok(Looked::Further) => Some(SOON_MS),
            Ok(Looked::ToTheEnd { has_failed: false }) => Some(DAY_MS),
            Ok(Looked::ToTheEnd { has_failed: true }) => Some(HOUR_MS),
            Err(error) => {
                console_error!("what a site does not keep any more is still there: {error}");
                Some(HOUR_MS)
            }
        };
        let storage = self.state.storage();
        let Some(next) = wait.map(|wait| self.clock.now().plus(wait)) else {
            return drop(storage.delete(DUE).await);
        };
        if let Err(error) = storage.put(DUE, next.0).await {
            console_error!("it is not kept when to look again at what a site keeps: {error}");
        }
        self.retain_at(domain, next);
    }

    /// An alarm that an earlier life of the object has set may come just before that: the rest is waited for in memory.
    fn retain_at(self: &Rc<Self>, domain: &DomainId, due: UnixMs) {
        let (tracker, domain) = (self.clone(), domain.clone());
        let soon = move || {
            let again = tracker.clone();
            tracker.state.wait_until(async move { again.retain_if_due(&domain).await });
        };
        self.alarms.wake_at(&self.state, self.clock.now(), due, soon);
    }

    async fn look(self: &Rc<Self>, domain: &DomainId) -> Result<Looked> {
        // Not from KV, which may be behind what has just been set, and then nothing would be looked at again.
        let settings = self.at_hand(domain).await?.settings;
        let (keep, storage) = (&settings.retention, self.state.storage());
        if *keep == Retention::default() {
            return Ok(Looked::KeepsEverything);
        }
        let stored = storage.get::<String>(WALK).await?;
        let begun = stored.and_then(|walk| serde_json::from_str(&walk).ok());
        if let (Some(days), None) = (keep.stats_days, &begun) {
            self.answer(domain, VisitorsCommand::Retain { days }).await;
            self.forget_spending(domain, days)?;
        }
        let Some(days) = keep.messages_days.into_iter().chain(keep.files_days).min() else {
            return Ok(Looked::ToTheEnd { has_failed: false });
        };
        let before_days = |days: u32| self.clock.now().plus(-i64::from(days) * DAY_MS);
        // Of a conversation with the AI only what it remembers is kept, and its name as long as that.
        let (before, before_in_memory) = (before_days(days), keep.messages_days.map(before_days));
        let mut walk = begun.unwrap_or(Walk { at: At::Rooms(None), has_failed: false });
        let (mut asked, settings) = (0, settings.to_stored());
        while asked < OBJECTS_A_LOOK {
            let (rooms, at) = match walk.at {
                At::Rooms(cursor) => self.old_rooms(domain, cursor, before).await?,
                At::Conversations(after) => {
                    let page = match before_in_memory {
                        Some(before) => self.in_register(move |sql| {
                            register::since_before(sql, before, &after, ROOMS_AT_ONCE)
                        })?,
                        None => Vec::new(),
                    };
                    let Some(last) = page.last() else {
                        if let Some(before) = before_in_memory.filter(|_| !walk.has_failed) {
                            self.in_register(move |sql| register::forget_before(sql, before))?;
                        }
                        storage.delete(WALK).await?;
                        return Ok(Looked::ToTheEnd { has_failed: walk.has_failed });
                    };
                    let at = At::Conversations(last.as_str().to_owned());
                    (page, at)
                }
            };
            walk.at = at;
            asked += rooms.len();
            for room in rooms {
                if let Err(error) = self.retain_room(&room, settings.clone()).await {
                    console_error!("{room} keeps what its site does not keep any more: {error}");
                    walk.has_failed = true;
                }
            }
        }
        storage.put(WALK, serde_json::to_string(&walk)?).await?;
        Ok(Looked::Further)
    }

    /// A page of the list, as far as there may be something old in it, and where the next one is.
    async fn old_rooms(
        self: &Rc<Self>,
        domain: &DomainId,
        cursor: Option<String>,
        before: UnixMs,
    ) -> Result<(Vec<RoomId>, At)> {
        let mut pages = Pages::behind(domain, cursor);
        let Some(query) = pages.query() else { return Ok((Vec::new(), At::Conversations(String::new()))) };
        let page = pages.read(self.list_rooms(domain, &query).await?)?;
        let old = page.into_iter().filter(|room| room.created_at < before).map(|room| room.room_id).collect();
        let at = pages.into_cursor().map_or(At::Conversations(String::new()), |next| At::Rooms(Some(next)));
        Ok((old, at))
    }

    async fn retain_room(&self, room: &RoomId, settings: String) -> Result<()> {
        let gone = at_desk(&self.env, room.clone(), "retain", String::new(), settings).await?;
        if count_of(&gone, "messages") > 0 {
            self.forget_copy(room)?;
            relist(&self.env, room).await?;
        }
        Ok(())
    }

    fn forget_spending(&self, domain: &DomainId, days: u32) -> Result<()> {
        let (site, before) = (domain.clone(), self.clock.now().plus(-i64::from(days) * DAY_MS));
        let forgotten =
            self.store(move |sql| spending::forget_before(sql, &site, before, &mut Removed::default()));
        forgotten.map_err(|failed| Error::RustError(failed.to_string()))
    }
}
