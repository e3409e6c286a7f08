//! What a customer has said and nobody has asked of the AI, because whoever was to ask it died in between.
//!
//! Nothing is written for it: the log knows what was said, and the room's row up to where it was asked.

use std::sync::Arc;

use super::message::Message;
use super::{Room, Turn};
use crate::Output;
use crate::ids::{DomainId, RoomId};
use crate::inbox;
use crate::limits::{MESSAGE_BYTES_MAX, UNANSWERED_LOOKED_THROUGH, UNANSWERED_MAX, UNANSWERED_MS};
use crate::store::{Sql, SqlError, desk as rows, log};
use crate::time::UnixMs;

impl Room {
    /// Has it asked now, all of it as one question. The host knows whether the AI answers by itself here.
    pub(super) fn ask_unanswered(&mut self, turn: &mut Turn<'_>) -> Result<(), SqlError> {
        let (Some(stored), Some(domain)) = (self.stored.clone(), self.domain.clone()) else { return Ok(()) };
        let is_closed = self.desk.as_ref().is_some_and(|desk| desk.closed_at.is_some());
        if self.live_agent || is_closed || self.said >= self.last_seq {
            return Ok(());
        }
        let since = turn.cx.now.plus(-UNANSWERED_MS);
        if rows::time_of(turn.sql, stored.row, self.last_seq)?.is_none_or(|at| at < since) {
            return Ok(());
        }
        let newest = self.log(&stored).before(turn.sql, (self.said, None), UNANSWERED_MAX)?;
        let mut unanswered = last_words(newest, since);
        let Some(first) = unanswered.first() else { return Ok(()) };
        // What was said while people were in charge was said to them.
        let told_people = log::last_toggle(turn.sql, stored.row, first.seq)?;
        unanswered.retain(|message| message.seq > told_people);
        if let Some(message) = together(unanswered) {
            turn.out.push(Output::Said { domain, message: Arc::new(message) });
        }
        Ok(())
    }
}

/// Of the newest messages those at the end that one customer wrote.
fn last_words(newest: Vec<Message>, since: UnixMs) -> Vec<Message> {
    let author = newest.last().map(|message| message.user_id.clone());
    let is_unanswered = |message: &Message| {
        inbox::is_customer(&message.role)
            && Some(&message.user_id) == author.as_ref()
            && !is_asked_elsewhere(message)
            && message.timestamp >= since
    };
    let mut words: Vec<Message> = newest.into_iter().rev().take_while(is_unanswered).collect();
    words.reverse();
    words.retain(|message| !message.message.trim().is_empty());
    words
}

/// Published here by the conversation that it was asked in, which owes the answer.
fn is_asked_elsewhere(message: &Message) -> bool {
    message.client_message_id.as_ref().is_some_and(|id| id.is_of_run("question"))
}

/// The last of them, with the text of all as far as that makes one message.
fn together(messages: Vec<Message>) -> Option<Message> {
    let mut text = String::new();
    for message in messages.iter().rev() {
        if text.is_empty() {
            text.push_str(&message.message);
        } else if text.len() + message.message.len() < MESSAGE_BYTES_MAX {
            text.insert(0, '\n');
            text.insert_str(0, &message.message);
        } else {
            break;
        }
    }
    let last = messages.into_iter().next_back()?;
    Some(Message { message: text.into(), ..last })
}

/// Rooms in which a customer may wait for a question that nobody asked, with their domains: for a process that starts.
pub fn rooms_unanswered(sql: &mut dyn Sql, now: UnixMs) -> Result<Vec<(RoomId, DomainId)>, SqlError> {
    log::rooms_unanswered(sql, now.plus(-UNANSWERED_MS), UNANSWERED_LOOKED_THROUGH)
}
