//! Who is on a web site now, as a state machine: one [`Visitors`] a domain.
//!
//! Here now means: said to be here, by a connection that is alive (or died less than the grace ago) or by a request,
//! and not silent for too long. A visitor counts once however often and from however many tabs they arrive.

mod erasure;
mod inbox;
pub mod reports;
pub mod traffic;
mod user_agent;
mod visitor;
pub mod whence;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::value::RawValue;

use traffic::Traffic;
pub use visitor::VisitorRow;
use visitor::{Known, Visitor};
use whence::Country;

use crate::ids::{ConnId, DomainId, RoomId, VisitorId};
use crate::inbox::Listing;
use crate::limits::{
    VISITOR_ACTIVITY_EVERY_MS, VISITOR_GRACE_MS, VISITOR_IDLE_MS, VISITOR_STORED_EVERY_MS,
    VISITORS_LISTED_MAX,
};
use crate::protocol::command::{Page, VisitorsCommand};
use crate::protocol::error::{ClientError, ErrorCode};
use crate::protocol::event::{DomainSummary, Event};
use crate::store::erasure::Removed;
use crate::store::visitors::{self as rows, Here};
use crate::store::{Sql, SqlError};
use crate::time::UnixMs;
use crate::{Caller, Context, Output, acknowledge};

/// Everything that can happen to the visitors of a domain.
pub enum VisitorsInput {
    Command {
        from: Caller,
        via: Via,
        command: VisitorsCommand,
    },
    /// A connection that announced this visitor is gone.
    Disconnected {
        conn: ConnId,
        visitor: VisitorId,
    },
    /// A room of the domain tells how it stands.
    Listed(Box<Listing>),
    /// A room of the domain has been erased.
    Unlisted {
        room: RoomId,
    },
    Alarm,
}

/// How a visitor is announced.
pub enum Via {
    /// They are here as long as it lives. The header of its handshake stands in for a missing `userAgent`.
    Connection { user_agent: Option<Arc<str>> },
    /// Until removed or idle.
    Request,
}

pub struct Visitors {
    id: DomainId,
    row: Option<i64>,
    total: u64,
    updated_at: UnixMs,
    here: HashMap<VisitorId, Visitor>,
    /// Whose last connection ended, and when that will count. The delay is always the same, so the front is the next;
    /// an entry whose visitor has another `leave_at` by then is stale.
    leaving: VecDeque<(UnixMs, VisitorId)>,
    /// Whose activity is still to be told, likewise.
    untold: VecDeque<(UnixMs, VisitorId)>,
    /// No visitor can be idle for too long before that.
    idle_check_at: Option<UnixMs>,
    armed: Option<UnixMs>,
    /// Whether the tables of its rooms' list are there.
    has_inbox: bool,
    traffic: Traffic,
}

/// Somebody as they arrive.
struct Arriving<'a> {
    id: &'a VisitorId,
    data: Arc<RawValue>,
    country: Option<Country>,
}

struct Turn<'a> {
    cx: Context<'a>,
    sql: &'a mut dyn Sql,
    out: &'a mut Vec<Output>,
}

impl Visitors {
    /// The domain as its rows and its connections tell it. Those whom no connection speaks for any more have the
    /// grace to come back.
    pub fn open(
        id: DomainId,
        claims: impl IntoIterator<Item = (ConnId, VisitorId)>,
        now: UnixMs,
        sql: &mut dyn Sql,
    ) -> Result<Self, SqlError> {
        let row = rows::find_domain(sql, &id)?;
        let mut domain = Self {
            id,
            total: row.as_ref().map_or(0, |row| row.visitors),
            updated_at: row.as_ref().map_or(now, |row| row.updated_at),
            row: row.map(|row| row.id),
            here: HashMap::new(),
            leaving: VecDeque::new(),
            untold: VecDeque::new(),
            idle_check_at: None,
            armed: None,
            has_inbox: false,
            traffic: Traffic::default(),
        };
        let Some(row) = domain.row else { return Ok(domain) };
        for stored in rows::visitors_here(sql, row)? {
            domain.here.insert(stored.visitor.clone(), Visitor::of_row(stored));
        }
        for (conn, visitor) in claims {
            if let Some(visitor) = domain.here.get_mut(&visitor) {
                visitor.connections.push(conn);
            }
        }
        let claimed = |visitor: &Visitor| !visitor.is_unclaimed() && visitor.leave_at.is_some();
        for (id, visitor) in domain.here.iter_mut().filter(|(_, visitor)| claimed(visitor)) {
            // They came back; what was kept of their leaving must not meet whoever opens the domain next.
            visitor.leave_at = None;
            rows::set_leave_at(sql, row, id, None)?;
        }
        for (id, visitor) in domain.here.iter_mut().filter(|(_, visitor)| visitor.is_unclaimed()) {
            let leave_at = visitor.leave_at.unwrap_or(now.plus(VISITOR_GRACE_MS));
            if visitor.leave_at.is_none() {
                // Kept, so that waking again and again does not begin the grace anew.
                rows::set_leave_at(sql, row, id, Some(leave_at))?;
            }
            visitor.leave_at = Some(leave_at);
            domain.leaving.push_back((leave_at, id.clone()));
        }
        domain.leaving.make_contiguous().sort();
        domain.idle_check_at = (!domain.here.is_empty()).then_some(now);
        Ok(domain)
    }

    pub fn id(&self) -> &DomainId {
        &self.id
    }

    /// Where a visitor is, if that visitor is here.
    pub fn page_of(&self, visitor: &VisitorId) -> Option<Page> {
        self.here.get(visitor)?.page.clone().known()
    }

    /// Whether dropping the domain from memory loses nothing.
    pub fn is_idle(&self) -> bool {
        self.here.is_empty()
    }

    pub fn summary(&self) -> DomainSummary {
        DomainSummary {
            active_visitors: self.here.len(),
            total_visitors: self.total,
            last_updated: self.updated_at,
        }
    }

    /// Handles one input. After an error the host must roll back and rebuild, as with a room.
    pub fn handle(
        &mut self,
        cx: Context<'_>,
        input: VisitorsInput,
        sql: &mut dyn Sql,
        out: &mut Vec<Output>,
    ) -> Result<(), SqlError> {
        let mut turn = Turn { cx, sql, out };
        match input {
            VisitorsInput::Command { from, via, command } => {
                let said = turn.out.len();
                self.command(&mut turn, &from, &via, command)?;
                acknowledge(turn.out, said, from.wants_ack());
            }
            VisitorsInput::Disconnected { conn, visitor } => self.disconnect(&mut turn, conn, visitor)?,
            VisitorsInput::Listed(listing) => self.hear(&mut turn, &listing)?,
            VisitorsInput::Unlisted { room } => self.forget_room(&mut turn, &room)?,
            VisitorsInput::Alarm => {
                self.armed = None;
                self.expire(&mut turn)?;
            }
        }
        self.arm(&mut turn);
        Ok(())
    }

    fn command(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        via: &Via,
        command: VisitorsCommand,
    ) -> Result<(), SqlError> {
        match command {
            VisitorsCommand::Join { visitor: id, data, country } => {
                let data = data.map_or_else(|| empty_object(via), Arc::from);
                self.arrive(turn, from, via, Arriving { id: &id, data, country })
            }
            VisitorsCommand::Leave { visitor } => self.leave(turn, from, visitor),
            VisitorsCommand::Activity { visitor, page, country } => {
                self.activity(turn, from, via, visitor, page, country)
            }
            VisitorsCommand::Stats => {
                let stats = self.stats(turn.cx.now);
                turn.reply(from, stats);
                Ok(())
            }
            VisitorsCommand::Report(query) => self.report(turn, from, &query),
            VisitorsCommand::Rooms(query) => self.list_rooms(turn, from, &query),
            VisitorsCommand::Complete { room, reader } => self.complete(turn, from, *room, reader.as_ref()),
            VisitorsCommand::Unlist(room) => {
                self.forget_room(turn, &room)?;
                turn.reply(from, Event::VisitorErased { removed: Removed::default() });
                Ok(())
            }
            VisitorsCommand::Erase { visitor } => self.erase(turn, from, visitor),
            VisitorsCommand::Retain { days } => self.retain(turn, from, days),
            VisitorsCommand::Know { visitor } => self.know(turn, from, &visitor),
        }
    }

    fn arrive(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        via: &Via,
        arriving: Arriving<'_>,
    ) -> Result<(), SqlError> {
        let Arriving { id, data, country } = arriving;
        let now = turn.cx.now;
        let row = self.row(turn)?;
        let is_request = matches!(via, Via::Request);
        // Who was announced over HTTP stays so when a connection announces them too.
        let by_request = is_request || self.here.get(id).is_some_and(|visitor| visitor.by_request);
        let here = if by_request { Here::ByRequest } else { Here::ByConnection };
        let last_at = match self.here.get(id) {
            Some(visitor) => Some(visitor.last_at),
            None => rows::last_at(turn.sql, row, id)?,
        };
        let never_here = rows::arrive(turn.sql, row, id, (&data, country), here, now)?;
        if never_here {
            self.total += 1;
        }
        let is_new = !self.here.contains_key(id);
        self.count(turn, id, (&data, country), last_at)?;
        let visitor = self.here.entry(id.clone()).or_insert_with(|| Visitor::new(data.clone(), now));
        visitor.last_at = now;
        visitor.stored_at = now;
        visitor.page = Known::of(&data).page();
        visitor.data = data;
        visitor.country = country.or(visitor.country);
        visitor.by_request = by_request;
        visitor.leave_at = None;
        if !is_request && !visitor.connections.contains(&from.conn) {
            visitor.connections.push(from.conn);
        }
        let visitor_row = visitor.row(id.clone());
        let visitor_data = visitor.data.clone();
        if is_new {
            self.updated_at = now;
            rows::update_domain(turn.sql, row, self.total, now)?;
        }
        self.idle_check_at.get_or_insert(now.plus(VISITOR_IDLE_MS));
        let event = Event::VisitorJoinedDomain {
            domain_id: self.id.clone(),
            visitor_id: id.clone(),
            visitor_data,
            active_count: self.here.len(),
            timestamp: now,
            visitor: Box::new(visitor_row),
            total: self.total,
        };
        turn.reply(from, event.clone());
        if is_new {
            turn.tell_observers(&self.id, event);
        }
        if !is_request {
            self.call_again(turn, from, id);
        }
        Ok(())
    }

    /// A tab that closes does not take away the visitor's other tabs; anyone else who says so does.
    fn leave(&mut self, turn: &mut Turn<'_>, from: &Caller, id: VisitorId) -> Result<(), SqlError> {
        let was_here = self.here.contains_key(&id);
        let stays = self.here.get_mut(&id).is_some_and(|visitor| {
            let own = visitor.connections.iter().position(|conn| *conn == from.conn);
            own.map(|at| visitor.connections.swap_remove(at));
            own.is_some() && !visitor.connections.is_empty()
        });
        if was_here && !stays {
            self.forget(turn, &id)?;
        }
        let event = self.left(turn.cx.now, id, was_here);
        turn.reply(from, event.clone());
        if was_here && !stays {
            turn.tell_observers(&self.id, event);
        }
        Ok(())
    }

    fn activity(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        via: &Via,
        id: VisitorId,
        page: Page,
        country: Option<Country>,
    ) -> Result<(), SqlError> {
        let now = turn.cx.now;
        self.count_activity(turn, &id, &page)?;
        let Some(visitor) = self.here.get_mut(&id) else {
            return self.activity_of_stranger(turn, from, via, (&id, country), &page);
        };
        if matches!(via, Via::Connection { .. }) && !visitor.connections.contains(&from.conn) {
            // A page that came back on another connection, and goes on where it was.
            visitor.connections.push(from.conn);
            if let Some((_, row)) = visitor.leave_at.take().zip(self.row) {
                rows::set_leave_at(turn.sql, row, &id, None)?;
            }
        }
        visitor.last_at = now;
        visitor.page.url = page.url.or(visitor.page.url.take());
        visitor.page.title = page.title.or(visitor.page.title.take());
        if now.since(visitor.stored_at) >= VISITOR_STORED_EVERY_MS
            && let Some(row) = self.row
        {
            visitor.stored_at = now;
            rows::touch(turn.sql, row, &id, &visitor.data, visitor.here(), now)?;
        }
        if matches!(via, Via::Request) {
            let event = visitor.activity(&self.id, &id);
            turn.reply(from, event);
        }
        if now.since(visitor.told_at) >= VISITOR_ACTIVITY_EVERY_MS {
            visitor.told_at = now;
            let event = visitor.activity(&self.id, &id);
            turn.tell_observers(&self.id, event);
        } else if visitor.tell_at.is_none() {
            let tell_at = now.plus(VISITOR_ACTIVITY_EVERY_MS);
            visitor.tell_at = Some(tell_at);
            self.untold.push_back((tell_at, id));
        }
        Ok(())
    }

    /// On a connection it is a return after a long silence; a request must name someone who is here.
    fn activity_of_stranger(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        via: &Via,
        (id, country): (&VisitorId, Option<Country>),
        page: &Page,
    ) -> Result<(), SqlError> {
        let Via::Connection { .. } = via else {
            let error =
                ClientError::new(ErrorCode::NotFound, format!("visitorId {id} is not on {}", self.id));
            turn.reply(from, Event::error(&error, turn.cx.now));
            return Ok(());
        };
        let data = serde_json::json!({ "url": page.url, "title": page.title }).to_string();
        let data = RawValue::from_string(data).map_or_else(|_| empty_object(via), Arc::from);
        self.arrive(turn, from, via, Arriving { id, data, country })
    }

    fn disconnect(&mut self, turn: &mut Turn<'_>, conn: ConnId, id: VisitorId) -> Result<(), SqlError> {
        let row = self.row;
        let Some(visitor) = self.here.get_mut(&id) else {
            return Ok(());
        };
        visitor.connections.retain(|known| *known != conn);
        if visitor.is_unclaimed() && visitor.leave_at.is_none() {
            let leave_at = turn.cx.now.plus(VISITOR_GRACE_MS);
            visitor.leave_at = Some(leave_at);
            if let Some(row) = row {
                rows::set_leave_at(turn.sql, row, &id, Some(leave_at))?;
            }
            self.leaving.push_back((leave_at, id));
        }
        Ok(())
    }

    fn expire(&mut self, turn: &mut Turn<'_>) -> Result<(), SqlError> {
        let now = turn.cx.now;
        if self.traffic.due().is_some_and(|at| at <= now) {
            self.store_traffic(turn)?;
        }
        while let Some((at, id)) = take_due(&mut self.untold, now) {
            let Some(visitor) = self.here.get_mut(&id).filter(|visitor| visitor.tell_at == Some(at)) else {
                continue;
            };
            visitor.tell_at = None;
            visitor.told_at = now;
            let event = visitor.activity(&self.id, &id);
            turn.tell_observers(&self.id, event);
        }
        while let Some((at, id)) = take_due(&mut self.leaving, now) {
            if self.here.get(&id).is_some_and(|visitor| visitor.leave_at == Some(at)) {
                self.expel(turn, id)?;
            }
        }
        if self.idle_check_at.is_some_and(|at| at <= now) {
            let idle = self.here.iter().filter(|(_, visitor)| now.since(visitor.last_at) >= VISITOR_IDLE_MS);
            let idle: Vec<VisitorId> = idle.map(|(id, _)| id.clone()).collect();
            for id in idle {
                self.expel(turn, id)?;
            }
            let longest_silent = self.here.values().map(|visitor| visitor.last_at).min();
            self.idle_check_at = longest_silent.map(|last| last.plus(VISITOR_IDLE_MS));
        }
        Ok(())
    }

    fn expel(&mut self, turn: &mut Turn<'_>, id: VisitorId) -> Result<(), SqlError> {
        self.forget(turn, &id)?;
        let event = self.left(turn.cx.now, id, true);
        turn.tell_observers(&self.id, event);
        Ok(())
    }

    fn forget(&mut self, turn: &mut Turn<'_>, id: &VisitorId) -> Result<(), SqlError> {
        let Some(visitor) = self.here.remove(id) else {
            return Ok(());
        };
        let row = self.row(turn)?;
        self.updated_at = turn.cx.now;
        rows::touch(turn.sql, row, id, &visitor.data, Here::Gone, visitor.last_at)?;
        rows::update_domain(turn.sql, row, self.total, turn.cx.now)
    }

    fn left(&self, now: UnixMs, id: VisitorId, was_here: bool) -> Event {
        Event::VisitorLeftDomain {
            domain_id: self.id.clone(),
            visitor_id: id,
            active_count: self.here.len(),
            timestamp: now,
            was_here,
            total: self.total,
        }
    }

    fn stats(&self, now: UnixMs) -> Event {
        let mut visitors: Vec<(&VisitorId, &Visitor)> = self.here.iter().collect();
        visitors.sort_by(|(a_id, a), (b_id, b)| (b.last_at, a_id).cmp(&(a.last_at, b_id)));
        visitors.truncate(VISITORS_LISTED_MAX);
        Event::DomainStats {
            domain_id: self.id.clone(),
            active_visitors: self.here.len(),
            total_visitors: self.total,
            visitors: visitors.into_iter().map(|(id, visitor)| visitor.row(id.clone())).collect(),
            timestamp: now,
        }
    }

    /// The domain's row, which the first visitor makes.
    fn row(&mut self, turn: &mut Turn<'_>) -> Result<i64, SqlError> {
        if let Some(row) = self.row {
            return Ok(row);
        }
        let created = rows::create_domain(turn.sql, &self.id, turn.cx.now)?;
        Ok(*self.row.insert(created.id))
    }

    fn arm(&mut self, turn: &mut Turn<'_>) {
        let front = |queue: &VecDeque<(UnixMs, VisitorId)>| queue.front().map(|(at, _)| *at);
        let due = [front(&self.leaving), front(&self.untold), self.idle_check_at, self.traffic.due()];
        let Some(due) = due.into_iter().flatten().min() else {
            return;
        };
        if self.armed.is_none_or(|armed| due < armed) {
            self.armed = Some(due);
            turn.out.push(Output::WakeAt(due));
        }
    }
}

impl Turn<'_> {
    fn reply(&mut self, to: &Caller, event: Event) {
        self.out.push(Output::Reply { to: to.conn, reply_to: to.reply_to.clone(), event });
    }

    fn tell(&mut self, conn: ConnId, event: Event) {
        self.out.push(Output::Reply { to: conn, reply_to: None, event });
    }

    fn tell_observers(&mut self, domain: &DomainId, event: Event) {
        self.out.push(Output::TellObservers { domain: Some(domain.clone()), event });
    }
}

/// A visitor who tells nothing of themselves is known by the header of the handshake.
fn empty_object(via: &Via) -> Arc<RawValue> {
    let user_agent = match via {
        Via::Connection { user_agent } => user_agent.as_deref(),
        Via::Request => None,
    };
    let json =
        user_agent.map_or_else(|| "{}".into(), |ua| serde_json::json!({ "userAgent": ua }).to_string());
    RawValue::from_string(json).unwrap_or_default().into()
}

fn take_due(queue: &mut VecDeque<(UnixMs, VisitorId)>, now: UnixMs) -> Option<(UnixMs, VisitorId)> {
    queue.pop_front_if(|(at, _)| *at <= now)
}

#[cfg(test)]
mod tests;
