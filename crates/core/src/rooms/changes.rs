//! What becomes of messages after they were sent, and who is in charge. Each change has a place in the log as messages
//! do.

use super::message::Message;
use super::{Failure, Member, Post, Purpose, Room, RoomInput, Stored, Turn};
use crate::ids::{Seq, UserId};
use crate::inbox;
use crate::limits::FILES_DELETED_AFTER_MS;
use crate::protocol::error::{ClientError, ErrorCode};
use crate::protocol::event::Event;
use crate::store::log::{self, Change, Kind};
use crate::store::publishing;
use crate::store::{SqlError, files};
use crate::{Caller, Output};

impl Room {
    pub(super) fn edit(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        id: &str,
        text: &str,
    ) -> Result<(), Failure> {
        let (stored, member, target) = self.changeable(turn, from, id)?;
        let seq = self.append_change(turn, &stored, Kind::Edit, &member.user, text, Some(target))?;
        self.note_change();
        let event = Event::MessageUpdated {
            room_id: self.id.clone(),
            seq,
            id: id.into(),
            message: text.into(),
            timestamp: turn.cx.now,
        };
        self.tell_change(turn, from, id, seq, event);
        Ok(())
    }

    pub(super) fn delete(&mut self, turn: &mut Turn<'_>, from: &Caller, id: &str) -> Result<(), Failure> {
        let (stored, member, target) = self.changeable(turn, from, id)?;
        let seq = self.append_change(turn, &stored, Kind::Deletion, &member.user, "", Some(target))?;
        self.note_change();
        if files::doom_of_message(turn.sql, &self.id, target)? {
            // A host looks for bytes to delete when it is woken.
            turn.out.push(Output::WakeAt(turn.cx.now.plus(FILES_DELETED_AFTER_MS)));
        }
        let event =
            Event::MessageDeleted { room_id: self.id.clone(), seq, id: id.into(), timestamp: turn.cx.now };
        self.tell_change(turn, from, id, seq, event);
        Ok(())
    }

    /// A fence in the log: after the place where people took over no AI is heard until they hand back.
    pub(super) fn toggle_live_agent(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        enabled: bool,
    ) -> Result<(), Failure> {
        let member = Member::clone(self.member(from)?);
        if !inbox::is_staff(&member.role) {
            let why = "only a member with role agent or admin takes over or hands back";
            return Err(ClientError::new(ErrorCode::Forbidden, why).into());
        }
        let stored = self.stored(turn, None)?;
        if self.live_agent == enabled {
            // As it is already: who asks is told so, and the log does not grow.
            let event = Event::LiveAgentToggled {
                room_id: self.id.clone(),
                seq: self.last_seq,
                enabled,
                user_id: member.user,
                timestamp: turn.cx.now,
                epoch: None,
            };
            turn.reply(from, event);
            return Ok(());
        }
        Ok(self.turn_over(turn, &stored, member.user, enabled)?)
    }

    /// From the AI to people, or back.
    pub(super) fn turn_over(
        &mut self,
        turn: &mut Turn<'_>,
        stored: &Stored,
        user: UserId,
        enabled: bool,
    ) -> Result<(), SqlError> {
        log::set_live_agent(turn.sql, stored.row, enabled)?;
        let text = if enabled { "1" } else { "0" };
        let seq = self.append_change(turn, stored, Kind::LiveAgent, &user, text, None)?;
        self.live_agent = enabled;
        self.note_reader(&user, seq);
        self.note_takeover(turn, enabled)?;
        let event = Event::LiveAgentToggled {
            room_id: self.id.clone(),
            seq,
            enabled,
            user_id: user,
            timestamp: turn.cx.now,
            epoch: Some(stored.epoch.clone()),
        };
        turn.publish(event, None);
        if enabled {
            for (conversation, run) in publishing::take(turn.sql, stored.row)? {
                turn.mention(conversation, RoomInput::Silence { run });
            }
            return Ok(());
        }
        self.recount(turn, stored)
    }

    /// Whether what another conversation wants to say here may be said.
    pub(super) fn may_publish(
        &mut self,
        turn: &mut Turn<'_>,
        stored: &Stored,
        post: &Post,
    ) -> Result<bool, SqlError> {
        if post.purpose == Purpose::Answer {
            // One that was taken over from, or whose room was erased meanwhile, is not being written here any more.
            return publishing::end(turn.sql, stored.row, &post.conversation, post.run);
        }
        if self.live_agent {
            turn.mention(post.conversation.clone(), RoomInput::Silence { run: post.run });
        } else {
            publishing::begin(turn.sql, stored.row, &post.conversation, post.run)?;
        }
        Ok(true)
    }

    /// The message that an id names, if this connection may change it.
    fn changeable(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        id: &str,
    ) -> Result<(Stored, Member, Seq), Failure> {
        let member = Member::clone(self.member(from)?);
        let stored = self.stored(turn, None)?;
        let not_found = || {
            ClientError::new(ErrorCode::NotFound, format!("messageId {id:?} names no message of this room"))
        };
        let seq = Message::seq_of(id, &stored.epoch).ok_or_else(not_found)?;
        let author = log::author(turn.sql, stored.row, seq)?.ok_or_else(not_found)?;
        if author != member.user && !inbox::is_staff(&member.role) {
            let why = "only its author, an agent or an admin changes a message";
            return Err(ClientError::new(ErrorCode::Forbidden, why).into());
        }
        Ok((stored, member, seq))
    }

    fn append_change(
        &mut self,
        turn: &mut Turn<'_>,
        stored: &Stored,
        kind: Kind,
        user: &UserId,
        text: &str,
        target: Option<Seq>,
    ) -> Result<Seq, SqlError> {
        let seq = self.last_seq.next();
        let change = Change { seq, kind, at: turn.cx.now, user, text, target };
        log::append_change(turn.sql, stored.row, &change)?;
        self.last_seq = seq;
        Ok(seq)
    }

    fn tell_change(&self, turn: &mut Turn<'_>, from: &Caller, id: &str, seq: Seq, event: Event) {
        turn.publish(event, None);
        let ack = Event::MessageSent {
            success: true,
            id: id.into(),
            room_id: self.id.clone(),
            seq,
            client_message_id: None,
            duplicate: false,
            timestamp: turn.cx.now,
        };
        turn.reply(from, ack);
    }
}
