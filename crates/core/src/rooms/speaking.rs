//! What is said in a room, by its members and by conversations elsewhere; the one place where the log grows by messages.

use std::sync::Arc;

use super::message::Message;
use super::{Failure, Post, Purpose, Room, Stored, Turn};
use crate::ai::model::Speaker;
use crate::ids::{ClientMessageId, Seq};
use crate::inbox::{self, Person};
use crate::protocol::command::SendMessage;
use crate::protocol::event::Event;
use crate::store::{SqlError, conversations, files, log};
use crate::time::UnixMs;
use crate::{Caller, Output};

impl Room {
    pub(super) fn send(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        send: SendMessage,
    ) -> Result<(), Failure> {
        let stored = self.stored(turn, send.domain.as_ref())?;
        if let Some(id) = &send.client_message_id
            && let Some((seq, at)) = log::find_sent(turn.sql, stored.row, &send.user, id)?
        {
            let first_ack = self.ack(&stored, seq, at, send.client_message_id, true);
            turn.reply(from, first_ack);
            return Ok(());
        }
        if !send.files.is_empty() {
            files::attach(turn.sql, &self.id, &send.files, self.last_seq.next())??;
        }
        let client_message_id = send.client_message_id.clone();
        let message = Message {
            id: Message::id_of(&stored.epoch, self.last_seq.next()),
            room_id: self.id.clone(),
            seq: self.last_seq.next(),
            message: send.text,
            user_id: send.user,
            user_name: send.user_name.into(),
            role: send.role.into(),
            socket_id: from.socket.as_str().into(),
            client_message_id: send.client_message_id,
            attachments: send.attachments,
            sources: None,
            timestamp: turn.cx.now,
        };
        let domain = self.domain.clone().or(send.domain);
        let message = Arc::new(message);
        let seq = self.append(turn, &stored, message.clone())?;
        let ack = self.ack(&stored, seq, turn.cx.now, client_message_id, false);
        turn.reply(from, ack);
        let is_for_ai =
            !self.live_agent && inbox::is_customer(&message.role) && !message.message.trim().is_empty();
        if let Some(domain) = domain.filter(|_| is_for_ai) {
            turn.out.push(Output::Said { domain, message });
        }
        Ok(())
    }

    pub(super) fn post(&mut self, turn: &mut Turn<'_>, post: Post) -> Result<(), SqlError> {
        if post.purpose == Purpose::Answer && self.stored.is_none() {
            // The room was erased while the answer was written.
            return Ok(());
        }
        let stored = self.stored(turn, None)?;
        match post.purpose {
            Purpose::Question | Purpose::Answer => {}
            Purpose::HandOver => {
                let by = Person { user_id: post.user, user_name: post.user_name };
                return self.want_people(turn, by, Some(post.text).filter(|text| !text.is_empty()), false);
            }
            Purpose::Recount => {
                let (row, now) = (stored.row, turn.cx.now);
                if conversations::has_recount(turn.sql, row, &post.text)? {
                    return Ok(());
                }
                return conversations::append_turn(turn.sql, row, Speaker::Service, &post.text, now);
            }
        }
        let user_name = self.name_of(&post);
        if !self.may_publish(turn, &stored, &post)? {
            return Ok(());
        }
        if log::find_sent(turn.sql, stored.row, &post.user, &post.id)?.is_some() {
            return Ok(());
        }
        let message = Message {
            id: Message::id_of(&stored.epoch, self.last_seq.next()),
            room_id: self.id.clone(),
            seq: self.last_seq.next(),
            message: post.text,
            user_id: post.user,
            user_name,
            role: post.role,
            socket_id: post.socket.as_str().into(),
            client_message_id: Some(post.id),
            attachments: None,
            sources: post.sources,
            timestamp: turn.cx.now,
        };
        self.append(turn, &stored, Arc::new(message))?;
        Ok(())
    }

    /// Who asks from elsewhere is called as in here, unless the question says otherwise.
    fn name_of(&self, post: &Post) -> Arc<str> {
        if !post.user_name.is_empty() {
            return post.user_name.clone();
        }
        let members = self.roster.members();
        let asker = members.values().find(|member| member.socket == post.socket);
        // One who is here twice may have two names, and is called by the same one each time.
        let same_user =
            || members.iter().filter(|(_, member)| member.user == post.user).min_by_key(|(conn, _)| **conn);
        let member = asker.or_else(|| same_user().map(|(_, member)| member));
        member.map_or_else(|| post.user.as_str().into(), |member| member.user_name.clone())
    }

    /// The one place where the log grows.
    pub(super) fn append(
        &mut self,
        turn: &mut Turn<'_>,
        stored: &Stored,
        message: Arc<Message>,
    ) -> Result<Seq, SqlError> {
        log::append_message(turn.sql, stored.row, &message)?;
        self.last_seq = message.seq;
        if self.telling.is_some() || self.desk.is_some() {
            self.note_message(turn, &message)?;
        }
        turn.publish(Event::NewMessage(message), None);
        Ok(self.last_seq)
    }

    fn ack(
        &self,
        stored: &Stored,
        seq: Seq,
        timestamp: UnixMs,
        client_message_id: Option<ClientMessageId>,
        duplicate: bool,
    ) -> Event {
        Event::MessageSent {
            success: true,
            id: Message::id_of(&stored.epoch, seq),
            room_id: self.id.clone(),
            seq,
            client_message_id,
            duplicate,
            timestamp,
        }
    }
}
