//! Those who read an answer without having asked for it: whoever comes back to it (`ai-resume`), and whoever ends it
//! (`ai-cancel`).

use super::run::{End, Run};
use super::{Failure, Room, Turn};
use crate::Caller;
use crate::ai::model::FinishReason;
use crate::ids::ConnId;
use crate::limits::{ANSWER_KEPT_MS, READERS_MAX};
use crate::protocol::error::{ClientError, ErrorCode};
use crate::protocol::event::Event;
use crate::store::conversations;

const CANCELLED: End = End { reason: FinishReason::Cancelled, code: None };

impl Room {
    /// What a running answer has said after that chunk, and from here on whatever it says; or how the last one ended.
    pub(super) fn resume_answer(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        after: Option<u32>,
        even_ended: bool,
    ) -> Result<(), Failure> {
        self.require_conversation(from).map_err(|_| self.nothing_told())?;
        let conversation_id = self.id.clone();
        let Some(run) = self.running() else {
            return if even_ended { self.tell_ended(turn, from) } else { Err(self.nothing_told().into()) };
        };
        run.read_by(from)?;
        let first = after.map_or(0, |index| index.saturating_add(1));
        for index in first..run.next_index() {
            turn.reply(from, run.chunk_event(index, &conversation_id, turn.cx.now));
        }
        Ok(conversations::note_readers(turn.sql, run.row, &run.asked())?)
    }

    /// Ends a running answer with what it has said. One that has ended by itself meanwhile has: that is told too. A request with
    /// a name is told by that name; one without only if its connection would not hear of the end otherwise.
    pub(super) fn cancel_answer(&mut self, turn: &mut Turn<'_>, from: &Caller) -> Result<(), Failure> {
        self.require_conversation(from).map_err(|_| self.nothing_told())?;
        self.flush_chunk(turn);
        let (is_member, own) = (self.roster.get(from.conn).is_some(), self.id.clone());
        let Some(run) = self.running() else { return self.tell_ended(turn, from) };
        let is_told_here = is_member && run.room.as_ref() == Some(&own);
        let hears = run.is_heard_by(from.conn) || is_told_here;
        if from.reply_to.is_some() || !hears {
            // Past the places of an answer's readers: this one is told once and no more.
            run.readers.push(from.clone());
        }
        let id = run.id;
        turn.out.push(crate::Output::CancelModel { run: id });
        Ok(self.end(turn, CANCELLED)?)
    }

    /// Whoever is gone reads no more, and keeps nobody else from it.
    pub(super) fn forget_reader(&mut self, conn: ConnId) {
        let Some(conversation) = &mut self.conversation else { return };
        if let Some(run) = &mut conversation.running {
            run.readers.retain(|reader| reader.conn != conn);
            run.others.retain(|reader| reader.conn != conn);
        }
        for waiting in &mut conversation.waiting {
            waiting.readers.retain(|reader| reader.conn != conn);
            waiting.others.retain(|reader| reader.conn != conn);
        }
    }

    fn tell_ended(&self, turn: &mut Turn<'_>, from: &Caller) -> Result<(), Failure> {
        let stored = self.stored.as_ref();
        let answer = stored.map_or(Ok(None), |stored| conversations::last_answer(turn.sql, stored.row))?;
        let since = turn.cx.now.plus(-ANSWER_KEPT_MS);
        match answer.filter(|complete| complete.answer.timestamp >= since) {
            Some(complete) => turn.reply(from, Event::AiStreamComplete(Box::new(complete))),
            None => return Err(self.nothing_told().into()),
        }
        Ok(())
    }

    /// Where a conversation is somebody else's, too: who asks does not learn that there is one.
    fn nothing_told(&self) -> ClientError {
        let why =
            format!("no answer is being written in {}, and none has ended in the last ten minutes", self.id);
        ClientError::new(ErrorCode::NotFound, why)
    }
}

impl Run {
    /// From here on it hears what is said, once, under the name of this request.
    fn read_by(&mut self, from: &Caller) -> Result<(), ClientError> {
        self.readers.retain(|reader| reader.conn != from.conn);
        if self.readers.len() >= READERS_MAX {
            return Err(ClientError::rate_limited("readers of this answer", 1_000));
        }
        self.readers.push(from.clone());
        Ok(())
    }
}
