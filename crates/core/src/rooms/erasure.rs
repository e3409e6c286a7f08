//! What a room forgets for good: all of itself, what is older than its site keeps, or who somebody was.

use super::desk::Telling;
use super::{Room, RoomInput, Turn};
use crate::domains::Retention;
use crate::ids::{Seq, UserId};
use crate::limits::{FILES_DELETED_AFTER_MS, HISTORY_MAX};
use crate::protocol::event::Event;
use crate::store::erasure::{self, Removed};
use crate::store::{SqlError, conversations, files, publishing};
use crate::time::UnixMs;
use crate::{Caller, Output};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

impl Room {
    /// Log, memory, marks and files go, and with them the epoch: whoever stood in the old log starts afresh. Members stay, and
    /// are told which log they are in now.
    pub(super) fn erase(&mut self, turn: &mut Turn<'_>, from: &Caller) -> Result<(), SqlError> {
        // Nor may what they have said so far be the first message of the new log.
        self.running().into_iter().for_each(|run| run.text.clear());
        self.end_answers(turn)?;
        let (mut removed, domain) = (Removed::default(), self.domain.clone());
        if let Some(stored) = self.stored.take() {
            for (conversation, run) in publishing::take(turn.sql, stored.row)? {
                turn.mention(conversation, RoomInput::Silence { run });
            }
            erasure::room(turn.sql, stored.row, &self.id, &mut removed)?;
        }
        removed.add("files", files::doom_of_room(turn.sql, &self.id)?);
        self.delete_bytes(turn);
        (self.last_seq, self.cut, self.said, self.live_agent) = (Seq(0), Seq(0), Seq(0), false);
        (self.desk, self.owner, self.created_at) = (None, None, turn.cx.now);
        (self.conversation, self.users_due) = (None, false);
        self.telling = domain.is_some().then(|| Box::new(Telling::default()));
        if !self.roster.is_empty() {
            let stored = self.stored(turn, domain.as_ref())?;
            self.lie_erased(turn, &stored)?;
            turn.publish(
                Event::RoomErased {
                    room_id: self.id.clone(),
                    epoch: stored.epoch,
                    seq: self.last_seq,
                    timestamp: turn.cx.now,
                },
                None,
            );
        }
        self.receipt(turn, from, removed);
        Ok(())
    }

    /// What is older than the site keeps goes. Places in the log stay what they were.
    pub(super) fn retain(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        keep: &Retention,
    ) -> Result<(), SqlError> {
        let mut removed = Removed::default();
        let now = turn.cx.now;
        let before = |days: u32| UnixMs(now.0 - i64::from(days) * DAY_MS);
        if let (Some(before), Some(stored)) = (keep.messages_days.map(before), self.stored.clone()) {
            let counted = self.count_messages(turn, &stored)?;
            if let Some(cut) = erasure::log_before(turn.sql, stored.row, before, &mut removed)? {
                self.cut = self.cut.max(cut);
                removed.add("files", files::doom_of_messages(turn.sql, &self.id, cut)?);
                self.restate(turn, &stored, counted)?;
            }
            erasure::memory_before(turn.sql, stored.row, before, &mut removed)?;
        }
        if let Some(before) = keep.files_days.map(before) {
            removed.add("files", files::doom_before(turn.sql, &self.id, before)?);
        }
        self.delete_bytes(turn);
        self.receipt(turn, from, removed);
        Ok(())
    }

    /// Nobody is told any more that it was this user who wrote.
    pub(super) fn anonymise(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        user: &UserId,
    ) -> Result<(), SqlError> {
        let mut removed = Removed::default();
        if let Some(stored) = self.stored.clone() {
            let counted = self.count_messages(turn, &stored)?;
            erasure::anonymise(turn.sql, stored.row, user, &mut removed)?;
            removed.add("files", files::doom_of_user(turn.sql, &self.id, user)?);
            // A room that has nothing of theirs stays as it is, and where it is in the list.
            if let Some(desk) = &mut self.desk {
                desk.customer.take_if(|customer| customer.user_id == *user);
            }
            if removed.0.values().any(|count| *count > 0) {
                self.delete_bytes(turn);
                self.restate(turn, &stored, counted)?;
            }
        }
        self.receipt(turn, from, removed);
        Ok(())
    }

    /// A page of what the AI remembers here.
    pub(super) fn tell_remembered(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        after: i64,
    ) -> Result<(), SqlError> {
        let limit = HISTORY_MAX as usize;
        let turns = match &self.stored {
            Some(stored) => conversations::turns_after(turn.sql, stored.row, after, limit)?,
            None => Vec::new(),
        };
        let next = turns.last().filter(|_| turns.len() == limit).map(|last| last.at);
        turn.reply(from, Event::Remembered { turns, next });
        Ok(())
    }

    /// Those that wait first, or each would have its turn when the one before it ends.
    pub(super) fn end_answers(&mut self, turn: &mut Turn<'_>) -> Result<(), SqlError> {
        let runs = self.conversation.as_ref().map(|conversation| conversation.runs()).unwrap_or_default();
        runs.into_iter().rev().try_for_each(|run| self.silence(turn, run))
    }

    /// A host looks for bytes to delete when it is woken.
    fn delete_bytes(&self, turn: &mut Turn<'_>) {
        turn.out.push(Output::WakeAt(turn.cx.now.plus(FILES_DELETED_AFTER_MS)));
    }

    fn receipt(&self, turn: &mut Turn<'_>, from: &Caller, removed: Removed) {
        let (room_id, domain_id) = (self.id.clone(), self.domain.clone());
        turn.reply(from, Event::Erased { room_id, domain_id, removed, timestamp: turn.cx.now });
    }
}
