//! Who has written or read in a room of no domain: nobody lists such rooms, and whoever erases or exports a visitor has to find them.
//! The registry is told of each once, which costs a request and three rows; rooms of a domain are found through its list.

use std::rc::Rc;

use weeziq_core::access::rights::ASSISTANT;
use weeziq_core::ids::UserId;
use weeziq_core::protocol::event::Event;
use weeziq_core::rooms::Room;
use weeziq_core::store::{Sql, SqlError, Value};
use worker::console_error;

use super::{Chat, OUTBOX_RETRY_MS};
use crate::outbox::{Delivered, Item, Word};
use crate::places::Place;
use crate::store::Store;

/// Made with the first of them. `told`: the registry knows.
const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS part (user_id TEXT PRIMARY KEY, told INTEGER NOT NULL) STRICT, WITHOUT ROWID";

impl Chat {
    /// In the turn that publishes it, so that no crash comes between.
    pub(super) fn note_part(self: &Rc<Self>, event: &Event) {
        let user = match event {
            Event::NewMessage(message) => &message.user_id,
            Event::MessageRead { user_id, .. } => user_id,
            _ => return,
        };
        let is_of_domain = self.room.borrow().as_ref().is_none_or(Room::has_domain);
        if is_of_domain || user.as_str() == ASSISTANT || !self.parts.borrow_mut().insert(user.clone()) {
            return;
        }
        let mut sql = Store::new(&self.state.storage());
        let is_new = sql.run(TABLE, &[]).and_then(|()| {
            let mut is_new = false;
            let params = [Value::Text(user.as_str())];
            let statement =
                "INSERT INTO part (user_id, told) VALUES (?, 0) ON CONFLICT DO NOTHING RETURNING 1";
            sql.query(statement, &params, &mut |_| is_new = true)?;
            Ok(is_new)
        });
        match is_new {
            Ok(true) => self.tell_part(user.clone(), true),
            Ok(false) => {}
            Err(error) => console_error!("it is not kept who writes here: {error}"),
        }
    }

    /// What an earlier life, or an earlier attempt, could not hand over.
    pub(super) fn tell_parts(self: &Rc<Self>) {
        let mut untold = Vec::new();
        let statement = "SELECT user_id FROM part WHERE told = 0";
        // Mostly there is no such table.
        let _ = Store::new(&self.state.storage()).query(statement, &[], &mut |row| {
            untold.extend(UserId::parse(row.text(0)));
        });
        if !untold.is_empty() {
            untold.into_iter().for_each(|user| self.tell_part(user, true));
            self.send();
        }
    }

    /// None: nobody is known here any more.
    pub(super) fn forget_parts(self: &Rc<Self>, user: Option<UserId>) {
        let mut sql = Store::new(&self.state.storage());
        match user {
            Some(user) => {
                self.parts.borrow_mut().remove(&user);
                // In a room of a domain there is no such table, and nothing to forget.
                if forget(&mut sql, &user).is_ok() {
                    self.tell_part(user, false);
                }
            }
            None => {
                self.parts.borrow_mut().clear();
                let mut known = Vec::new();
                let statement = "DELETE FROM part RETURNING user_id";
                let _ = sql.query(statement, &[], &mut |row| known.extend(UserId::parse(row.text(0)))); // likewise
                known.into_iter().for_each(|user| self.tell_part(user, false));
            }
        }
    }

    /// All that the log and the read marks name, of a room that came from elsewhere.
    pub(super) fn find_parts(&self) -> Result<(), SqlError> {
        let mut sql = Store::new(&self.state.storage());
        let mut has_none = false;
        sql.query("SELECT 1 FROM room WHERE domain IS NULL", &[], &mut |_| has_none = true)?;
        if !has_none {
            return Ok(());
        }
        sql.run(TABLE, &[])?;
        sql.run(
            "INSERT INTO part (user_id, told) SELECT user_id, 0 FROM event WHERE kind = 0 AND user_id <> ?
                UNION SELECT user_id, 0 FROM read_mark",
            &[Value::Text(ASSISTANT)],
        )
    }

    fn tell_part(self: &Rc<Self>, user: UserId, is_there: bool) {
        self.wake_at(self.clock.now().plus(OUTBOX_RETRY_MS));
        let (chat, told) = (self.clone(), user.clone());
        let then = Box::new(move |delivered| {
            if delivered == Delivered::Yes && is_there {
                let statement = "UPDATE part SET told = 1 WHERE user_id = ?";
                let _ = Store::new(&chat.state.storage()).run(statement, &[Value::Text(told.as_str())]); // else it is said again
            }
        });
        let word = Word::TookPart { room: self.id.clone(), user, is_there };
        self.outbox.push(Item { word: Some((Place::Registry, word)), then });
    }
}

fn forget(sql: &mut Store, user: &UserId) -> Result<(), SqlError> {
    sql.run("DELETE FROM part WHERE user_id = ?", &[Value::Text(user.as_str())])
}
