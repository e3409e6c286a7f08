//! What an event may ask for, held against who sends it, and under whose name it goes on: the token's, whatever the event
//! says of itself.

use std::collections::BTreeMap;

use super::identity::{Identity, forbidden};
use super::token::Role;
use crate::ids::{DomainId, RoomId, UserId};
use crate::inbox::DeskCommand;
use crate::protocol::command::{Ask, Command, Join, RoomCommand, SendMessage, VisitorsCommand};
use crate::protocol::error::ClientError;

/// As what a program of the operator's speaks.
pub const ASSISTANT: &str = "assistant";

impl Identity {
    /// `is_in` says in which rooms the connection is already.
    pub fn authorise(
        &self,
        command: &mut Command,
        is_in: impl Fn(&RoomId) -> bool,
    ) -> Result<(), ClientError> {
        if self.is_open() {
            return Ok(());
        }
        match command {
            Command::Ping => Ok(()),
            Command::Room(room, command) => self.authorise_in_room(room, command),
            // The room knows whose it is.
            Command::Desk(_, DeskCommand::Send(send)) => self.authorise_message(send),
            Command::Desk(..) => Ok(()),
            Command::Search(query) => self.require_staff(Some(&query.domain)),
            Command::Visitors(
                domain,
                VisitorsCommand::Stats
                | VisitorsCommand::Rooms(_)
                | VisitorsCommand::Report(_)
                | VisitorsCommand::Unlist(_)
                | VisitorsCommand::Erase { .. }
                | VisitorsCommand::Retain { .. }
                | VisitorsCommand::Know { .. },
            ) => self.require_staff(Some(domain)),
            Command::Visitors(domain, _) => self.require_domain(Some(domain)),
            Command::AllDomainStats => self.require_some_site_staff(),
            Command::Ask(conversation, ask) => self.authorise_question(conversation, ask, is_in),
        }
    }

    /// The same for one room alone. What takes more (being in the room, having begun the conversation) the room knows.
    pub fn authorise_in_room(&self, room: &RoomId, command: &mut RoomCommand) -> Result<(), ClientError> {
        match command {
            // A conversation is whose who began it.
            RoomCommand::ResumeAnswer { .. } | RoomCommand::CancelAnswer => return Ok(()),
            // Whoever may not be there may go.
            RoomCommand::Leave => return Ok(()),
            _ => self.require_scope(room, None)?,
        }
        match command {
            RoomCommand::Join(join) => self.authorise_join(join),
            RoomCommand::Send(send) => self.authorise_message(send),
            RoomCommand::Online(online) => {
                if let Some(claims) = self.claims() {
                    (online.user, online.user_name) = (claims.subject.clone(), claims.name.as_ref().into());
                }
                Ok(())
            }
            RoomCommand::CustomerJoined(customer) => {
                self.require_domain(customer.domain.as_ref())?;
                // Whoever works here may announce others.
                if let Some(claims) = self.claims().filter(|claims| claims.role == Role::Visitor) {
                    customer.customer = claims.subject.clone();
                    customer.customer_name = claims.name.as_ref().into();
                }
                Ok(())
            }
            RoomCommand::RequestHuman(request) => self.require_domain(request.domain.as_ref()),
            // As who it is in the room.
            _ => Ok(()),
        }
    }

    /// The user that an event without a token says it is. No name that a token has proved may be taken so.
    pub fn claimed<'a>(&self, command: &'a Command) -> Option<&'a UserId> {
        match (self, command) {
            (Self::Anonymous, Command::Room(_, RoomCommand::Join(join))) => Some(&join.user),
            (Self::Anonymous, Command::Room(_, RoomCommand::CustomerJoined(it))) => Some(&it.customer),
            _ => None,
        }
    }

    /// Leaves only what concerns its domains.
    pub fn retain_observed<T>(&self, stats: &mut BTreeMap<DomainId, T>) {
        if !self.is_open() {
            stats.retain(|domain, _| self.may_observe(Some(domain)));
        }
    }

    fn authorise_join(&self, join: &mut Join) -> Result<(), ClientError> {
        self.require_domain(join.domain.as_ref())?;
        if let Some(role) = join.role.as_deref() {
            self.require_role(role)?;
        }
        if let Some(claims) = self.claims() {
            (join.user, join.user_name) = (claims.subject.clone(), claims.name.as_ref().into());
            join.role = join.role.take().or_else(|| claims.role.in_rooms().map(Into::into));
        }
        Ok(())
    }

    fn authorise_message(&self, send: &mut SendMessage) -> Result<(), ClientError> {
        self.require_domain(send.domain.as_ref())?;
        self.require_role(&send.role)?;
        if let Some(claims) = self.claims() {
            (send.user, send.user_name) = (claims.subject.clone(), claims.name.as_ref().into());
        }
        Ok(())
    }

    fn authorise_question(
        &self,
        conversation: &mut Option<RoomId>,
        ask: &mut Ask,
        is_in: impl Fn(&RoomId) -> bool,
    ) -> Result<(), ClientError> {
        let domain = ask.domain.as_ref();
        self.require_domain(domain)?;
        if ask.system_prompt.is_some() {
            self.require_some_staff()?;
        }
        if let Some(room) = ask.room.as_ref().filter(|room| !is_in(room)) {
            self.require_room(room, domain)?;
        }
        if !self.is_staff() {
            // The one that goes by a user's name is that of whoever has proved it.
            let by_name = ask.user.as_ref().map(|user| RoomId::of_user(domain, user));
            if conversation.is_none() || *conversation == by_name {
                *conversation = self.subject().map(|subject| RoomId::of_user(domain, subject));
            }
        }
        ask.user = self.subject().cloned();
        Ok(())
    }

    fn require_role(&self, role: &str) -> Result<(), ClientError> {
        let needed = match role {
            "user" | "customer" => return Ok(()),
            "admin" => Role::Admin,
            _ => Role::Agent,
        };
        match self.claims().is_some_and(|claims| claims.role >= needed) {
            true => Ok(()),
            false => Err(forbidden(format!("role {role:?} takes a token with role {}", needed.as_str()))),
        }
    }
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Visitor => "visitor",
            Self::Agent => "agent",
            Self::Admin => "admin",
        }
    }

    /// As what it joins a room that does not say; None is the contract's own default.
    fn in_rooms(self) -> Option<&'static str> {
        (self != Self::Visitor).then(|| self.as_str())
    }
}

#[cfg(test)]
#[path = "rights_tests.rs"]
mod tests;
