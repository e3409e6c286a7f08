//! The list of the domain's rooms, with what only the domain knows of them: where each customer is on the site now.

use super::{Turn, Visitors};
use crate::Caller;
use crate::ids::{DomainId, RoomId, UserId, VisitorId};
use crate::inbox::{Cursor, Listing, RoomSummary, RoomsQuery, is_customer};
use crate::protocol::command::Page;
use crate::protocol::event::Event;
use crate::store::{SqlError, inbox as rows};
use crate::time::UnixMs;

impl Visitors {
    pub(super) fn hear(&mut self, turn: &mut Turn<'_>, listing: &Listing) -> Result<(), SqlError> {
        self.open_inbox(turn)?;
        if let Some(news) = rows::hear(turn.sql, listing)? {
            self.count_messages(turn, news.messages, news.answers)?;
            self.call(turn, &listing.summary);
            let room = Box::new(self.with_page(listing.summary.clone()));
            turn.tell_observers(&self.id, Event::RoomUpdated { room, timestamp: turn.cx.now });
        }
        Ok(())
    }

    /// A visitor need not be in a room that is named as they are to be spoken to: a page that nobody chats on has none.
    fn call(&mut self, turn: &mut Turn<'_>, room: &RoomSummary) {
        let Some(id) = VisitorId::parse(room.room_id.as_str()) else { return };
        let Some(visitor) = self.here.get_mut(&id) else { return };
        visitor.is_called = room.last_message.as_ref().is_some_and(|last| !is_customer(&last.role));
        if visitor.is_called {
            let waiting = waiting(&self.id, &room.room_id, turn.cx.now);
            visitor.connections.iter().for_each(|conn| turn.tell(*conn, waiting.clone()));
        }
    }

    /// Who was called between two pages hears of it on the second.
    pub(super) fn call_again(&self, turn: &mut Turn<'_>, from: &Caller, id: &VisitorId) {
        let is_called = self.here.get(id).is_some_and(|visitor| visitor.is_called);
        if let (true, Some(room)) = (is_called, RoomId::parse(id.as_str())) {
            turn.tell(from.conn, waiting(&self.id, &room, turn.cx.now));
        }
    }

    pub(super) fn forget_room(&mut self, turn: &mut Turn<'_>, room: &RoomId) -> Result<(), SqlError> {
        self.open_inbox(turn)?;
        rows::forget(turn.sql, &self.id, room)
    }

    pub(super) fn list_rooms(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        query: &RoomsQuery,
    ) -> Result<(), SqlError> {
        self.open_inbox(turn)?;
        let (rooms, cursor) = rows::list(turn.sql, query)?;
        let rooms = rooms.into_iter().map(|room| self.with_page(room)).collect();
        turn.reply(from, Event::Rooms { rooms, cursor: cursor.map(Cursor::written).map(Into::into) });
        Ok(())
    }

    /// A room that has just told how it stands, with what it does not know.
    pub(super) fn complete(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        room: RoomSummary,
        reader: Option<&UserId>,
    ) -> Result<(), SqlError> {
        self.open_inbox(turn)?;
        let unread = match reader {
            Some(reader) => rows::unread(turn.sql, &self.id, &room.room_id, reader)?,
            None => None,
        };
        let room = Box::new(self.with_page(RoomSummary { unread, ..room }));
        turn.reply(from, Event::RoomUpdated { room, timestamp: turn.cx.now });
        Ok(())
    }

    fn open_inbox(&mut self, turn: &mut Turn<'_>) -> Result<(), SqlError> {
        if !self.has_inbox {
            rows::open(turn.sql)?;
            self.has_inbox = true;
        }
        Ok(())
    }

    /// A customer who is on the site under the name that they write as.
    fn with_page(&self, room: RoomSummary) -> RoomSummary {
        let visitor = room.customer.as_ref().and_then(|customer| VisitorId::parse(customer.user_id.as_str()));
        let here = visitor.and_then(|visitor| self.here.get(&visitor));
        let page = here.map(|visitor| visitor.page.clone()).filter(|page| *page != Page::default());
        RoomSummary { page, ..room }
    }
}

fn waiting(domain: &DomainId, room: &RoomId, now: UnixMs) -> Event {
    Event::MessageWaiting { room_id: room.clone(), domain_id: domain.clone(), timestamp: now }
}
