//! When people are wanted, by a visitor or by the AI, and what the AI learns of what they said.

use super::run::said_in;
use super::{Failure, Post, Purpose, Room, Stored, Turn};
use crate::ai::handover;
use crate::ai::model::Speaker;
use crate::ids::{ClientMessageId, RunId, UserId};
use crate::inbox::Person;
use crate::protocol::command::RequestHuman;
use crate::protocol::event::Event;
use crate::store::{SqlError, conversations, log, publishing};
use crate::{Caller, Output};

impl Room {
    /// A visitor asks for a person. Asking again is fine, and told to nobody again.
    pub(super) fn request_human(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        request: RequestHuman,
    ) -> Result<(), Failure> {
        self.require_membership(from)?;
        self.stored(turn, request.domain.as_ref())?;
        let request = match from.identity.is_open() {
            true => request,
            // As who it is in the room.
            false => RequestHuman { user: None, user_name: None, ..request },
        };
        let member = self.roster.get(from.conn);
        let named = member.filter(|member| request.user.as_ref().is_none_or(|user| *user == member.user));
        let user_name = request.user_name.map(Into::into).or_else(|| Some(named?.user_name.clone()));
        let user_id = request.user.or_else(|| Some(member?.user.clone())).unwrap_or_else(UserId::anonymous);
        let user_name = user_name.unwrap_or_else(|| user_id.as_str().into());
        self.want_people(turn, Person { user_id, user_name }, request.reason, true)?;
        let told = Event::HumanRequested {
            room_id: self.id.clone(),
            success: true,
            domain_id: None,
            user_id: None,
            user_name: None,
            reason: None,
            timestamp: turn.cx.now,
        };
        turn.reply(from, told);
        Ok(())
    }

    /// The room waits for a person, and those who can come learn of it.
    pub(super) fn want_people(
        &mut self,
        turn: &mut Turn<'_>,
        by: Person,
        reason: Option<Box<str>>,
        is_customer: bool,
    ) -> Result<(), SqlError> {
        let is_waiting = |room: &Self| room.desk.as_ref().is_some_and(|desk| desk.waiting_since.is_some());
        let was_waiting = is_waiting(self);
        self.wait_for_people(turn, is_customer.then(|| by.clone()))?;
        if was_waiting || !is_waiting(self) {
            return Ok(());
        }
        let event = Event::HumanRequested {
            room_id: self.id.clone(),
            success: false,
            domain_id: self.domain.clone(),
            user_id: Some(by.user_id),
            user_name: Some(by.user_name),
            reason,
            timestamp: turn.cx.now,
        };
        turn.publish(event.clone(), None);
        turn.out.push(Output::TellObservers { domain: self.domain.clone(), event });
        Ok(())
    }

    /// The AI hands over, in the room that it speaks in.
    pub(super) fn hand_over(
        &mut self,
        turn: &mut Turn<'_>,
        run: RunId,
        reason: Option<Box<str>>,
    ) -> Result<(), SqlError> {
        let own = self.id.clone();
        let Some(run) = self.running().filter(|running| running.id == run) else { return Ok(()) };
        run.has_handed_over = true;
        let room = run.room.clone().unwrap_or_else(|| own.clone());
        let by = Person { user_id: UserId::ai(), user_name: run.name.as_ref().into() };
        if room == own {
            return self.want_people(turn, by, reason, false);
        }
        let post = Post {
            purpose: Purpose::HandOver,
            id: ClientMessageId::of_run("hand-over", run.id),
            user: by.user_id,
            user_name: by.user_name,
            text: reason.unwrap_or_default(),
            ..said_in(own, run.id)
        };
        turn.post(room, post)
    }

    /// At the hand-back: the conversations that write into this room learn what was said here meanwhile.
    pub(super) fn recount(&mut self, turn: &mut Turn<'_>, stored: &Stored) -> Result<(), SqlError> {
        let mut conversations = publishing::all(turn.sql, stored.row)?;
        let has_own = conversations::has_turns(turn.sql, stored.row)?;
        conversations.retain(|conversation| *conversation != self.id);
        // Where the AI of a site has not spoken yet, it may from now on.
        let may_begin = self.domain.is_some();
        if !has_own && !may_begin && conversations.is_empty() {
            return Ok(());
        }
        let since = log::last_takeover(turn.sql, stored.row)?;
        let messages = self.log(stored).before(turn.sql, (since, None), handover::RECOUNTED_MAX)?;
        let told = handover::recount(&messages, self.last_seq);
        if has_own || (may_begin && !messages.is_empty()) {
            conversations::append_turn(turn.sql, stored.row, Speaker::Service, &told, turn.cx.now)?;
        }
        for conversation in conversations {
            let post = Post {
                purpose: Purpose::Recount,
                text: told.as_str().into(),
                ..said_in(self.id.clone(), RunId(turn.cx.entropy))
            };
            turn.post(conversation, post)?;
        }
        Ok(())
    }
}
