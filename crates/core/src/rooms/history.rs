//! What a room tells of its past: on a join, and when asked.

use super::{Room, Stored, Turn};
use crate::Caller;
use crate::ids::Seq;
use crate::limits::{HISTORY_DEFAULT, RESUME_EVENTS_MAX};
use crate::protocol::command::{HistoryQuery, Resume};
use crate::protocol::event::Event;
use crate::rooms::message::Message;
use crate::store::SqlError;

impl Room {
    /// `joined-room`, then all that was missed or none of it.
    pub(super) fn welcome(
        &self,
        turn: &mut Turn<'_>,
        from: &Caller,
        stored: &Stored,
        resume: Option<&Resume>,
    ) -> Result<(), SqlError> {
        let missed_after =
            resume.filter(|resume| self.can_resume(stored, resume)).map(|resume| resume.last_seq);
        turn.reply(
            from,
            Event::JoinedRoom {
                room_id: self.id.clone(),
                success: true,
                epoch: stored.epoch.clone(),
                seq: self.last_seq,
                live_agent: self.live_agent,
                resumed: missed_after.is_some(),
                timestamp: turn.cx.now,
            },
        );
        match missed_after {
            Some(after) => self.replay(turn, from, stored, after),
            None => self.recent(turn, from, stored, resume.is_some()),
        }
    }

    pub(super) fn can_resume(&self, stored: &Stored, resume: &Resume) -> bool {
        let missed = self.last_seq.0.checked_sub(resume.last_seq.0);
        // What the site does not keep any more cannot be told, so nothing that is behind it is told as if it were all.
        let is_kept = resume.last_seq >= self.cut;
        is_kept
            && resume.epoch == stored.epoch.as_ref().into()
            && missed.is_some_and(|missed| missed <= RESUME_EVENTS_MAX)
    }

    /// The very frames that were sent live. They answer no `id` of the client's: each is an event of its own.
    pub(super) fn replay(
        &self,
        turn: &mut Turn<'_>,
        from: &Caller,
        stored: &Stored,
        after: Seq,
    ) -> Result<(), SqlError> {
        if after == self.last_seq {
            return Ok(());
        }
        for event in self.log(stored).missed(turn.sql, after, RESUME_EVENTS_MAX as u32)? {
            turn.out.push(crate::Output::Reply { to: from.conn, reply_to: None, event });
        }
        Ok(())
    }

    fn recent(
        &self,
        turn: &mut Turn<'_>,
        from: &Caller,
        stored: &Stored,
        even_if_empty: bool,
    ) -> Result<(), SqlError> {
        if self.last_seq == Seq(0) && !even_if_empty {
            return Ok(());
        }
        let query = HistoryQuery { before: None, after: None, limit: HISTORY_DEFAULT };
        let event = self.history(turn, Some(stored), &query)?;
        turn.out.push(crate::Output::Reply { to: from.conn, reply_to: None, event });
        Ok(())
    }

    pub(super) fn fetch_history(
        &self,
        turn: &mut Turn<'_>,
        from: &Caller,
        query: &HistoryQuery,
    ) -> Result<(), SqlError> {
        let event = self.history(turn, self.stored.as_ref(), query)?;
        turn.reply(from, event);
        Ok(())
    }

    fn history(
        &self,
        turn: &mut Turn<'_>,
        stored: Option<&Stored>,
        query: &HistoryQuery,
    ) -> Result<Event, SqlError> {
        let (messages, has_more) = match stored {
            None => (Vec::new(), false),
            Some(stored) => self.page(turn, stored, query)?,
        };
        Ok(Event::MessageHistory { room_id: self.id.clone(), messages, has_more })
    }

    /// One message more than asked for tells whether there are more.
    fn page(
        &self,
        turn: &mut Turn<'_>,
        stored: &Stored,
        query: &HistoryQuery,
    ) -> Result<(Vec<Message>, bool), SqlError> {
        let limit = query.limit as usize;
        let forward = query.after.filter(|_| query.before.is_none());
        let mut messages = match forward {
            Some(after) => self.log(stored).after(turn.sql, after, query.limit + 1)?,
            None => {
                let bounds = (query.after.unwrap_or_default(), query.before);
                self.log(stored).before(turn.sql, bounds, query.limit + 1)?
            }
        };
        let has_more = messages.len() > limit;
        if has_more && forward.is_some() {
            messages.truncate(limit);
        } else if has_more {
            messages.remove(0);
        }
        Ok((messages, has_more))
    }
}
