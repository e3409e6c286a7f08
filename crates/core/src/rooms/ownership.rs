//! Where there are tokens: whose name an event goes by, who has to be in the room for it, and whose a conversation is.

use super::{Failure, Room, Turn};
use crate::access::rights::ASSISTANT;
use crate::ids::{DomainId, RoomId, UserId};
use crate::protocol::command::{Ask, Online, SendMessage};
use crate::protocol::error::{ClientError, ErrorCode};
use crate::store::erasure::said_to_be;
use crate::store::{conversations, log};
use crate::{Caller, OF_SUBJECT};

impl Room {
    /// A message goes by the name under which its sender is here. Only who may speak as a program says so itself.
    pub(super) fn in_own_name(&self, from: &Caller, send: SendMessage) -> Result<SendMessage, ClientError> {
        if from.identity.is_open() {
            return Ok(send);
        }
        let member = self.member(from)?;
        let role = if *send.role == *ASSISTANT { send.role } else { member.role.as_ref().into() };
        let (user, user_name) = (member.user.clone(), member.user_name.as_ref().into());
        Ok(SendMessage { user, user_name, role, ..send })
    }

    pub(super) fn present_as(&self, from: &Caller, online: Online) -> Result<Online, ClientError> {
        if from.identity.is_open() {
            return Ok(online);
        }
        let member = self.member(from)?;
        Ok(Online { user: member.user.clone(), user_name: member.user_name.as_ref().into(), ..online })
    }

    pub(super) fn require_membership(&self, from: &Caller) -> Result<(), ClientError> {
        if from.identity.is_open() { Ok(()) } else { self.member(from).map(drop) }
    }

    /// That the token is for the web site that the room was made on.
    pub(super) fn require_domain(&self, from: &Caller) -> Result<(), ClientError> {
        from.identity.require_scope(&self.id, self.domain.as_ref())
    }

    /// The same, and that it is no conversation with the AI that somebody else has begun: what it is called can be guessed from
    /// their name.
    pub(super) fn require_entry(&self, from: &Caller) -> Result<(), ClientError> {
        self.require_domain(from)?;
        let Some(begun_by) = self.owner.as_deref().filter(|owner| owner.starts_with(OF_SUBJECT)) else {
            return Ok(());
        };
        let identity = &from.identity;
        if identity.is_open() || identity.is_staff() || from.owners().any(|it| it == begun_by) {
            return Ok(());
        }
        Err(ClientError::new(
            ErrorCode::Forbidden,
            "roomId names a conversation that somebody else has begun",
        ))
    }

    /// That this conversation is one that the caller may hear and go on with: begun by its subject or its connection, of
    /// a room that it is in, or of a web site that it works for. Nobody else learns that there is one.
    pub(super) fn require_conversation(&self, from: &Caller) -> Result<(), ClientError> {
        if self.stored.is_none() || from.identity.is_open() {
            return Ok(());
        }
        let begun_by = self.owner.as_deref();
        if self.roster.get(from.conn).is_some() || from.owners().any(|it| begun_by == Some(it.as_str())) {
            return Ok(());
        }
        let is_theirs =
            from.identity.is_staff() && from.identity.require_scope(&self.id, self.domain.as_ref()).is_ok();
        if is_theirs { Ok(()) } else { Err(foreign(&self.id)) }
    }

    /// The conversation that goes by a name is that of whoever proves the name, though somebody else was there before: a
    /// connection that proved nothing, or another subject. What was said until then is that stranger's: it is neither shown to
    /// the owner nor put before a model as theirs, so the AI forgets it, and what is being written ends. A room that nobody has
    /// begun as a conversation keeps its memory: that is of what was said there among members.
    pub(super) fn give_to_its_owner(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        ask: &Ask,
    ) -> Result<(), Failure> {
        let (Some(stored), Some(subject)) = (self.stored.clone(), from.identity.subject()) else {
            return Ok(());
        };
        let is_of = |domain: Option<&DomainId>, user: &UserId| RoomId::of_user(domain, user) == self.id;
        let begun_by = self.owner.as_deref().and_then(|owner| owner.strip_prefix(OF_SUBJECT));
        let is_in_good_hands = begun_by
            .and_then(UserId::parse)
            .is_some_and(|user| is_of(ask.domain.as_ref(), &user) || is_of(self.domain.as_ref(), &user));
        if is_in_good_hands || !is_of(ask.domain.as_ref(), subject) {
            return Ok(());
        }
        if self.owner.is_some() {
            self.end_answers(turn)?;
            conversations::forget(turn.sql, stored.row)?;
        }
        self.note_owner(turn, from, ask.user.as_ref())
    }

    /// Whoever asks first in a conversation has begun it. Without tokens that opens nothing to anybody: it is how the
    /// conversation is found when `user` is erased.
    pub(super) fn note_owner(
        &mut self,
        turn: &mut Turn<'_>,
        from: &Caller,
        user: Option<&UserId>,
    ) -> Result<(), Failure> {
        let owner = match from.identity.is_open() {
            true => user.map(said_to_be),
            false => from.owners().next(),
        };
        if let Some(owner) = owner {
            let stored = self.stored(turn, None)?;
            log::set_owner(turn.sql, stored.row, &owner)?;
            self.owner = Some(owner.into());
        }
        Ok(())
    }
}

fn foreign(conversation: &RoomId) -> ClientError {
    ClientError::new(
        ErrorCode::NotFound,
        format!("conversationId {conversation} is no conversation of yours"),
    )
}
