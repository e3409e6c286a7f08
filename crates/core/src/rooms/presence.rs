//! Who is in a room: joining, leaving, typing, and the lists that tell of it.

use std::sync::Arc;

use super::{Farewell, Member, Room, Turn, Typing};
use crate::ids::ConnId;
use crate::limits::{
    MEMBER_GRACE_MS, ROOM_USERS_AT_ONCE_MAX, ROOM_USERS_EVERY_MS, ROOM_USERS_LISTED_MAX, TYPING_TTL_MS,
};
use crate::protocol::command::Online;
use crate::protocol::error::ClientError;
use crate::protocol::event::{Event, RoomUser};
use crate::store::{SqlError, departed, log};
use crate::{Caller, Output};

impl Room {
    pub(super) fn enter(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        member: &Arc<Member>,
    ) -> Result<(), SqlError> {
        let known = self.roster.seat(conn, member.clone());
        if let Some(known) = known {
            if self.typing.iter().any(|typing| typing.conn == conn) {
                self.typing.retain(|typing| typing.conn != conn);
                self.tell_typing(turn, conn, &known, false);
            }
            if (&known.user, &known.user_name, &known.role) != (&member.user, &member.user_name, &member.role)
            {
                return self.tell_users(turn);
            }
            self.tell_users_to(turn, conn);
            return Ok(());
        }
        if let Some(row) = self.roster.take_back(&member.user, turn.cx.now) {
            departed::remove(turn.sql, row)?;
            self.tell_users_to(turn, conn);
            return Ok(());
        }
        let event = Event::UserJoined {
            room_id: self.id.clone(),
            user_id: member.user.clone(),
            user_name: member.user_name.clone(),
            role: member.role.clone(),
            socket_id: member.socket,
            timestamp: turn.cx.now,
        };
        turn.publish(event, Some(conn));
        self.tell_users(turn)
    }

    pub(super) fn leave(&mut self, turn: &mut Turn<'_>, from: &Caller) -> Result<(), SqlError> {
        if let Some(member) = self.remove(turn, from.conn) {
            self.tell_left(turn, &member)?;
        }
        turn.reply(from, Event::LeftRoom { room_id: self.id.clone(), success: true });
        Ok(())
    }

    pub(super) fn disconnect(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        how: Farewell,
    ) -> Result<(), SqlError> {
        self.forget_reader(conn);
        let Some(member) = self.remove(turn, conn) else {
            return Ok(());
        };
        match (how, &self.stored) {
            (Farewell::Died, Some(stored)) => {
                let until = turn.cx.now.plus(MEMBER_GRACE_MS);
                let row = departed::add(turn.sql, stored.row, &member, until)?;
                self.roster.drop_out(member, row, until);
            }
            _ => self.tell_left(turn, &member)?,
        }
        Ok(())
    }

    fn remove(&mut self, turn: &mut Turn<'_>, conn: ConnId) -> Option<Arc<Member>> {
        let member = self.roster.unseat(conn)?;
        turn.out.push(Output::Dismiss { conn });
        if self.typing.iter().any(|typing| typing.conn == conn) {
            self.typing.retain(|typing| typing.conn != conn);
            self.tell_typing(turn, conn, &member, false);
        }
        Some(Arc::new(Member { typing_until: None, ..Member::clone(&member) }))
    }

    fn tell_left(&mut self, turn: &mut Turn<'_>, member: &Member) -> Result<(), SqlError> {
        let event = Event::UserLeft {
            room_id: self.id.clone(),
            user_id: member.user.clone(),
            user_name: member.user_name.clone(),
            socket_id: member.socket,
            timestamp: turn.cx.now,
        };
        turn.publish(event, None);
        self.tell_users(turn)
    }

    pub(super) fn type_text(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        is_typing: bool,
    ) -> Result<(), ClientError> {
        let member = self.member(from)?.clone();
        if !is_typing {
            self.stop_typing(turn, from.conn);
            return Ok(());
        }
        let until = turn.cx.now.plus(TYPING_TTL_MS);
        match self.typing.iter_mut().find(|typing| typing.conn == from.conn) {
            Some(typing) => typing.until = until,
            None => self.typing.push(Typing { conn: from.conn, until }),
        }
        self.amend(turn, from.conn, Member { typing_until: Some(until), ..Member::clone(&member) });
        self.tell_typing(turn, from.conn, &member, true);
        Ok(())
    }

    fn stop_typing(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        let typing = self.typing.iter().position(|typing| typing.conn == conn);
        if let Some((at, member)) = typing.zip(self.roster.get(conn).cloned()) {
            self.typing.swap_remove(at);
            self.amend(turn, conn, Member { typing_until: None, ..Member::clone(&member) });
            self.tell_typing(turn, conn, &member, false);
        }
    }

    /// What is known of a member has changed; the host's copy follows.
    fn amend(&mut self, turn: &mut Turn<'_>, conn: ConnId, member: Member) {
        let member = Arc::new(member);
        turn.out.push(Output::Admit { conn, member: member.clone() });
        self.roster.seat(conn, member);
    }

    fn tell_typing(&self, turn: &mut Turn<'_>, conn: ConnId, member: &Member, is_typing: bool) {
        let event = Event::UserTyping {
            room_id: self.id.clone(),
            user_id: member.user.clone(),
            user_name: member.user_name.clone(),
            is_typing,
        };
        turn.publish(event, Some(conn));
    }

    pub(super) fn set_status(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        online: Online,
    ) -> Result<(), SqlError> {
        let status: Arc<str> = online.status.into();
        if let Some(member) = self.roster.get(from.conn)
            && member.user == online.user
            && member.status != status
        {
            let member = Member { status: status.clone(), ..Member::clone(member) };
            self.amend(turn, from.conn, member);
            self.tell_users(turn)?;
        }
        let event = Event::UserPresence {
            room_id: self.id.clone(),
            user_id: online.user,
            user_name: online.user_name,
            status,
            timestamp: turn.cx.now,
        };
        turn.publish(event, Some(from.conn));
        Ok(())
    }

    /// What was to end by now ends.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) -> Result<(), SqlError> {
        let now = turn.cx.now;
        let typed_out: Vec<ConnId> =
            self.typing.iter().filter(|typing| typing.until <= now).map(|typing| typing.conn).collect();
        for conn in typed_out {
            self.stop_typing(turn, conn);
        }
        while let Some((row, member)) = self.roster.take_gone(now) {
            departed::remove(turn.sql, row)?;
            self.tell_left(turn, &member)?;
        }
        if self.users_due {
            self.tell_users(turn)?;
        }
        self.flush_chunk(turn);
        self.keep_text(turn)
    }

    /// Tells everyone who is here, at once or, if there are many and that was just told, once for all changes until it may
    /// be told again.
    fn tell_users(&mut self, turn: &mut Turn<'_>) -> Result<(), SqlError> {
        let is_due = self.roster.connections() > ROOM_USERS_AT_ONCE_MAX
            && turn.cx.now.since(self.users_told_at) < ROOM_USERS_EVERY_MS;
        let was_due = std::mem::replace(&mut self.users_due, is_due);
        if let Some(stored) = self.stored.as_ref().filter(|_| was_due != is_due) {
            // Or a room that loses its memory in between would leave its members with an old list.
            log::note_users_due(turn.sql, stored.row, is_due)?;
        }
        if !is_due {
            self.users_told_at = turn.cx.now;
            let event = self.users();
            turn.publish(event, None);
        }
        Ok(())
    }

    fn tell_users_to(&self, turn: &mut Turn<'_>, conn: ConnId) {
        turn.out.push(Output::Reply { to: conn, reply_to: None, event: self.users() });
    }

    pub(super) fn users(&self) -> Event {
        let count = self.roster.count();
        let people = if count > ROOM_USERS_LISTED_MAX { Vec::new() } else { self.roster.people() };
        let users = people.into_iter().map(|member| RoomUser {
            user_id: member.user.clone(),
            user_name: member.user_name.clone(),
            role: member.role.clone(),
            status: member.status.clone(),
        });
        Event::RoomUsers { room_id: self.id.clone(), users: users.collect(), count }
    }
}
